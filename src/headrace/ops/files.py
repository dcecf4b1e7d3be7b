"""Files as operations: reading one, writing one, and finding them by name."""

from __future__ import annotations

import glob
import os
import re
from typing import Any

import numpy as np

from headrace import shapes
from headrace.bundle.files import os_errors
from headrace.node import Operation, Tensor
from headrace.opdef import NOT_DIFFERENTIABLE, Spec, op


def _path(name: Any) -> str:
    return os.fsdecode(np.asarray(name).item())


@op("MatchingFiles", "pattern: string -> filenames: string", host=True, pure=False)
def _matching_files(xp: Any, pattern: Any) -> np.ndarray:
    found: list[bytes] = []
    for text in np.ravel(pattern).tolist():
        # a backslash takes the meaning of the next sign away; Python writes that as a set of one
        plain = re.sub(rb"\\(.)", rb"[\1]", text)
        found += glob.glob(plain, include_hidden=True)
    return np.array(sorted(found), object)


@_matching_files.def_infer
def _(pattern: Spec) -> shapes.Shape:
    if pattern.shape is not None and len(pattern.shape) > 1:
        raise ValueError(f"Shape must be at most rank 1 but is rank {len(pattern.shape)}")
    return (None,)


@op("ReadFile", "filename: string -> contents: string", host=True, pure=False)
def _read_file(xp: Any, filename: Any) -> np.ndarray:
    path = _path(filename)
    with os_errors(path), open(path, "rb") as file:
        return np.array(file.read(), object)


@_read_file.def_infer
def _(filename: Spec) -> shapes.Shape:
    shapes.with_rank(filename.shape, 0)
    return ()


@op("WriteFile", "filename: string, contents: string", host=True, pure=False)
def _write_file(xp: Any, filename: Any, contents: Any) -> None:
    path = _path(filename)
    with os_errors(path):
        os.makedirs(os.path.dirname(path) or ".", exist_ok=True)
        with open(path, "wb") as file:
            file.write(np.asarray(contents).item())


@_write_file.def_infer
def _(filename: Spec, contents: Spec) -> list[shapes.Shape]:
    shapes.with_rank(filename.shape, 0)
    shapes.with_rank(contents.shape, 0)
    return []


for _op in (_matching_files, _read_file, _write_file):
    _op.gradient = NOT_DIFFERENTIABLE


def matching_files(pattern: Any, name: str | None = None) -> Tensor:
    """The names [n] of the files that match a glob, or one of several, [k]; in order."""
    return _matching_files(pattern, name=name)


def read_file(filename: Any, name: str | None = None) -> Tensor:
    """All of a file, as a string scalar. NotFoundError if there is none."""
    return _read_file(filename, name=name)


def write_file(filename: Any, contents: Any, name: str | None = None) -> Operation:
    """Write a string to a file, and make its directory if there is none."""
    return _write_file(filename, contents, name=name)
