"""Arithmetic of `IndexedSlices`: to a dense tensor, and sums of several."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

from headrace import shapes
from headrace.conversion import convert_to_tensor, register_tensor_conversion_function
from headrace.graph import name_scope
from headrace.indexed_slices import IndexedSlices
from headrace.node import Tensor
from headrace.ops import array, math, segment

_LARGE = 100_000_000  # elements from which turning rows into a dense tensor deserves a warning


def to_dense(slices: IndexedSlices, name: str | None = None) -> Tensor:
    """The whole tensor, zero where there are no rows; ValueError if its shape is not known."""
    if slices.dense_shape is None:
        raise ValueError(
            f"Tensor conversion requested for IndexedSlices without dense_shape: {slices}"
        )
    size = shapes.count(slices.shape._dims)
    if size is not None and size >= _LARGE:
        warnings.warn(
            f"Converting IndexedSlices {slices.name!r} to a dense tensor of {size} elements. This "
            "may take much memory.",
            stacklevel=2,
        )
    with name_scope(name, "IndexedSlicesToDense", [slices.values]):
        rows = slices.dense_shape[0]
        dense = segment.unsorted_segment_sum(slices.values, slices.indices, rows)
        dense.set_shape(slices.shape)
        return dense


def _convert(value: Any, dtype: Any = None, name: str | None = None, as_ref: bool = False) -> Any:
    if dtype is not None and not dtype.is_compatible_with(value.dtype):
        raise ValueError(
            f"Tensor conversion requested dtype {dtype.name} for IndexedSlices with dtype "
            f"{value.dtype.name}"
        )
    return to_dense(value, name)


register_tensor_conversion_function(IndexedSlices, _convert, 50)


def convert_to_tensor_or_indexed_slices(
    value: Any, dtype: Any = None, name: str | None = None
) -> Any:
    """IndexedSlices as they are, anything else as a tensor; None stays None."""
    if value is None or isinstance(value, IndexedSlices):
        return value
    return convert_to_tensor(value, dtype, name)


def add(parts: Sequence[Any]) -> Any:
    """The sum of tensors and IndexedSlices: slices if all are, with their rows put together."""
    if len(parts) == 1:
        return parts[0]
    if all(isinstance(p, IndexedSlices) for p in parts):
        values = array.concat([p.values for p in parts], 0)
        kind = "int64" if any(p.indices.dtype.name == "int64" for p in parts) else "int32"
        indices = array.concat([math.cast(p.indices, kind) for p in parts], 0)
        dense_shape = next((p.dense_shape for p in parts if p.dense_shape is not None), None)
        return IndexedSlices(values, indices, dense_shape)
    dense = [to_dense(p) if isinstance(p, IndexedSlices) else p for p in parts]
    return math.add_n(dense)
