"""Counting what the runtime does."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from headrace.runtime import program
from headrace.runtime import xla as runtime_xla


@contextmanager
def compilations() -> Iterator[list[Any]]:
    """A list that grows by a segment with every computation compiled inside."""
    made: list[Any] = []
    original = runtime_xla.CompiledSegment

    class Counted(original):
        def __init__(self, segment: Any, *args: Any, **kwargs: Any):
            made.append(segment)
            super().__init__(segment, *args, **kwargs)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(runtime_xla, "CompiledSegment", Counted)
        yield made


@contextmanager
def plans() -> Iterator[list[Any]]:
    """A list that grows by each plan made inside."""
    made: list[Any] = []
    original = program.make_plan

    def counted(*args: Any) -> Any:
        made.append(original(*args))
        return made[-1]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(program, "make_plan", counted)
        yield made
