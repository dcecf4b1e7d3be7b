"""Strings: joining them, and whether they match."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from headrace import shapes
from headrace.opdef import NOT_DIFFERENTIABLE, Spec, op, same_shape


@op("StringJoin", "inputs: N*string -> output: string", host=True)
def _string_join(xp: Any, inputs: list[Any], *, separator: str = "") -> Any:
    by = separator.encode()
    joined = np.frompyfunc(lambda *parts: by.join(parts), len(inputs), 1)(*inputs)
    return np.asarray(joined, object)


@_string_join.def_infer
def _(inputs: list[Spec], *, separator: str) -> shapes.Shape:
    shape: shapes.Shape = ()
    for spec in inputs:
        if spec.shape is None:
            return None
        if spec.shape != ():
            shape = spec.shape
    return shape


@op("StaticRegexFullMatch", "input: string -> output: bool", host=True)
def _static_regex_full_match(xp: Any, text: Any, *, pattern: str) -> Any:
    match = re.compile(pattern.encode()).fullmatch
    return np.asarray(np.frompyfunc(lambda s: match(s) is not None, 1, 1)(text), np.bool_)


_static_regex_full_match.infer = same_shape
_string_join.gradient = _static_regex_full_match.gradient = NOT_DIFFERENTIABLE


def string_join(inputs: Sequence[Any], separator: str = "", name: str | None = None) -> Any:
    """The strings put together, elementwise, with the separator between; scalars go to all."""
    return _string_join(list(inputs), separator=separator, name=name)


def regex_full_match(input: Any, pattern: str, name: str | None = None) -> Any:
    """Whether each string is, as a whole, what the pattern (Python's `re`) says."""
    return _static_regex_full_match(input, pattern=pattern, name=name)
