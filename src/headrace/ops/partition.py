"""Arrays as sets: unique elements, differences, taking apart by number and putting together."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from headrace import dtypes, shapes
from headrace.dtypes import DType, as_dtype
from headrace.folding import Spec
from headrace.node import Tensor
from headrace.opdef import NOT_DIFFERENTIABLE, op
from headrace.ops import array, gather
from headrace.ops.operands import agree, check_indices
from headrace.shapes import Shape
from headrace.xp import numpy as host

# -- unique elements -------------------------------------------------------------------------------


def _first_seen(x: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Unique elements in order of first occurrence, where each x is among them, and counts."""
    host.check(x.ndim == 1, "unique expects a 1D vector.")
    options = {} if x.dtype == object else {"equal_nan": False}
    _, first, inverse, counts = np.unique(
        x, return_index=True, return_inverse=True, return_counts=True, **options
    )
    order = np.argsort(first)
    place = np.empty_like(order)
    place[order] = np.arange(len(order))
    return x[first[order]], place[inverse], counts[order]


@op("Unique", "x: T -> y: T, idx: out_idx", host=True)
def _unique(xp: Any, x: Any, *, out_idx: DType = dtypes.int32) -> Any:
    y, idx, _ = _first_seen(x)
    return y, idx.astype(out_idx.numpy)


@op("UniqueWithCounts", "x: T -> y: T, idx: out_idx, count: out_idx", host=True)
def _unique_with_counts(xp: Any, x: Any, *, out_idx: DType = dtypes.int32) -> Any:
    y, idx, count = _first_seen(x)
    return y, idx.astype(out_idx.numpy), count.astype(out_idx.numpy)


@_unique.def_infer
def _(x: Spec, *, out_idx: DType) -> list[Shape]:
    return [(None,), shapes.with_rank(x.shape, 1)]


@_unique_with_counts.def_infer
def _(x: Spec, *, out_idx: DType) -> list[Shape]:
    return [(None,), shapes.with_rank(x.shape, 1), (None,)]


class Unique(NamedTuple):
    """What `unique` gives."""

    y: Tensor
    idx: Tensor


class UniqueWithCounts(NamedTuple):
    """What `unique_with_counts` gives."""

    y: Tensor
    idx: Tensor
    count: Tensor


class ListDiff(NamedTuple):
    """What `setdiff1d` gives."""

    out: Tensor
    idx: Tensor


def unique(x: Any, out_idx: Any = dtypes.int32, name: str | None = None) -> Unique:
    """The unique elements y of a vector in the order they occur, and idx with x = y[idx]."""
    return Unique(*_unique(x, out_idx=as_dtype(out_idx), name=name))


def unique_with_counts(
    x: Any, out_idx: Any = dtypes.int32, name: str | None = None
) -> UniqueWithCounts:
    """`unique`, and how often each of the unique elements occurs."""
    return UniqueWithCounts(*_unique_with_counts(x, out_idx=as_dtype(out_idx), name=name))


@op("ListDiff", "x: T, y: T -> out: T, idx: out_idx", host=True)
def _list_diff(xp: Any, x: Any, y: Any, *, out_idx: DType = dtypes.int32) -> Any:
    kept = np.flatnonzero(~np.isin(x, y))
    return x[kept], kept.astype(out_idx.numpy)


@_list_diff.def_infer
def _(x: Spec, y: Spec, *, out_idx: DType) -> list[Shape]:
    shapes.with_rank(x.shape, 1)
    shapes.with_rank(y.shape, 1)
    return [(None,), (None,)]


def setdiff1d(x: Any, y: Any, index_dtype: Any = dtypes.int32, name: str | None = None) -> ListDiff:
    """The elements of vector x that are not in vector y, in their order, and their places in x."""
    return ListDiff(*_list_diff(x, y, out_idx=as_dtype(index_dtype), name=name))


_list_diff.gradient = NOT_DIFFERENTIABLE

# -- taking apart and putting together -------------------------------------------------------------


@op("DynamicPartition", "data: T, partitions: int32 -> outputs: num_partitions*T", host=True)
def _dynamic_partition(xp: Any, data: Any, partitions: Any, *, num_partitions: int) -> Any:
    host.check(
        data.shape[: partitions.ndim] == partitions.shape,
        lambda: (
            "data.shape must start with partitions.shape, got data.shape = "
            f"{shapes.brackets(data.shape)}, partitions.shape = {shapes.brackets(partitions.shape)}"
        ),
    )
    check_indices(xp, partitions, num_partitions, "partitions")
    return [data[partitions == i] for i in range(num_partitions)]


@_dynamic_partition.def_infer
def _(data: Spec, partitions: Spec, *, num_partitions: int) -> list[Shape]:
    if partitions.shape is None or data.shape is None:
        return [None] * num_partitions
    rank = len(partitions.shape)
    agree(data.shape[:rank], partitions.shape)
    return [(None, *data.shape[rank:])] * num_partitions


@_dynamic_partition.def_gradient
def _(op: Any, *dys: Any) -> Any:
    data, partitions = op.inputs
    extent = array.shape(partitions)
    places = array.reshape(array.range(array.size(partitions)), extent)
    parts = dynamic_partition(places, partitions, op.attrs["num_partitions"])
    whole = _parallel_dynamic_stitch(parts, list(dys))
    return array.reshape(whole, array.shape(data)), None


def dynamic_partition(
    data: Any, partitions: Any, num_partitions: int, name: str | None = None
) -> list[Tensor]:
    """`data` as one array per number: the i-th has the data[j] for which partitions[j] is i."""
    return _dynamic_partition(data, partitions, num_partitions=int(num_partitions), name=name)


def _stitch(xp: Any, indices: Any, data: Any) -> Any:
    tail: tuple[int, ...] = ()
    for i, d in zip(indices, data, strict=True):
        host.check(
            d.shape[: i.ndim] == i.shape,
            lambda i=i, d=d: (
                f"data.shape = {shapes.brackets(d.shape)} does not start with indices.shape = "
                f"{shapes.brackets(i.shape)}"
            ),
        )
        host.check(not i.size or i.min() >= 0, "indices is out of range")
        tail = d.shape[i.ndim :]
    length = max((int(i.max()) + 1 for i in indices if i.size), default=0)
    whole = np.zeros((length, *tail), data[0].dtype)
    for i, d in zip(indices, data, strict=True):
        whole[i.ravel()] = d.reshape(-1, *tail) if d.size else d.reshape(i.size, *tail)
    return whole


def _stitched_shape(indices: Sequence[Spec], data: Sequence[Spec]) -> Shape:
    tail: Shape = None
    for i, d in zip(indices, data, strict=True):
        if i.shape is not None and d.shape is not None:
            agree(i.shape, d.shape[: len(i.shape)])
            tail = agree(tail, d.shape[len(i.shape) :])
    values = [i.value for i in indices if i.value is not None]
    known = len(values) == len(indices)
    length = max((int(v.max()) + 1 for v in values if v.size), default=0) if known else None
    return None if tail is None else (length, *tail)


_dynamic_stitch, _parallel_dynamic_stitch = (
    op(name, "indices: N*int32, data: N*T -> merged: T", host=True)(_stitch)
    for name in ("DynamicStitch", "ParallelDynamicStitch")
)
_dynamic_stitch.infer = _parallel_dynamic_stitch.infer = _stitched_shape


def _unstitched(op: Any, dy: Any) -> Any:
    indices, _ = op.arguments
    return (*(None for _ in indices), *(gather.gather(dy, i) for i in indices))


_dynamic_stitch.gradient = _parallel_dynamic_stitch.gradient = _unstitched


def dynamic_stitch(indices: Sequence[Any], data: Sequence[Any], name: str | None = None) -> Tensor:
    """One array with data[k][i] in row indices[k][i]; where two are given for a row, the later."""
    return _dynamic_stitch(list(indices), list(data), name=name)


def parallel_dynamic_stitch(
    indices: Sequence[Any], data: Sequence[Any], name: str | None = None
) -> Tensor:
    """`dynamic_stitch` where no row is given twice."""
    return _parallel_dynamic_stitch(list(indices), list(data), name=name)


# -- places in sorted rows -------------------------------------------------------------------------


def _bound(below: str) -> Any:
    def kernel(xp: Any, rows: Any, values: Any, *, out_type: DType = dtypes.int32) -> Any:
        smaller = getattr(xp, below)(rows[:, None, :], values[:, :, None])
        return xp.sum(smaller, axis=-1, dtype=out_type.numpy)

    return kernel


_lower_bound = op("LowerBound", "sorted_inputs: T, values: T -> output: out_type")(_bound("less"))
_upper_bound = op("UpperBound", "sorted_inputs: T, values: T -> output: out_type")(
    _bound("less_equal")
)


def _bounds_shape(rows: Spec, values: Spec, *, out_type: DType) -> Shape:
    shapes.with_rank(rows.shape, 2)
    return shapes.with_rank(values.shape, 2)


for _made in (_lower_bound, _upper_bound):
    _made.infer, _made.gradient = _bounds_shape, NOT_DIFFERENTIABLE


def searchsorted(
    sorted_sequence: Any,
    values: Any,
    side: str = "left",
    out_type: Any = dtypes.int32,
    name: str | None = None,
) -> Tensor:
    """Where in its sorted row each value would go in: [..., n], [..., m] give [..., m] of int32.

    Before equal elements for side "left", behind them for "right".
    """
    if side not in ("left", "right"):
        raise ValueError(
            f"Argument `side` must be either 'right' or 'left'. Received: `side` = '{side}'."
        )
    rows = array.reshape(sorted_sequence, [-1, array.shape(sorted_sequence)[-1]])
    flat = array.reshape(values, [-1, array.shape(values)[-1]])
    bound = _lower_bound if side == "left" else _upper_bound
    found = bound(rows, flat, out_type=as_dtype(out_type), name=name)
    return array.reshape(found, array.shape(values))
