"""Reductions of groups of rows: the rows of one segment id become one row.

Sorted ids make as many segments as the last one says; unsorted ids go with a number of segments,
and rows whose id is negative are left out.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from headrace import dtypes, shapes
from headrace.conversion import convert_to_tensor
from headrace.dtypes import as_dtype
from headrace.graph import name_scope
from headrace.node import Tensor
from headrace.opdef import NOT_DIFFERENTIABLE, OpDef, Spec, op
from headrace.ops import array, math, reduce
from headrace.ops.gather import gather
from headrace.ops.operands import is_floating, is_known
from headrace.xp import numpy as host

_SEGMENT_IDS = (dtypes.int16, dtypes.int32, dtypes.int64)

# -- kernels ---------------------------------------------------------------------------------------


def _extreme(dtype: Any, sign: int) -> Any:
    """The largest finite value of a type (sign 1) or the smallest (-1)."""
    limits = dtypes.as_dtype(dtype)
    return np.asarray(limits.max if sign > 0 else limits.min, dtype)


_REDUCE: dict[str, tuple[str, Callable[[Any], Any]]] = {  # how rows meet, and what none of them are
    "Sum": ("at_add", lambda dtype: 0),
    "Prod": ("at_multiply", lambda dtype: 1),
    "Max": ("at_max", lambda dtype: _extreme(dtype, -1)),
    "Min": ("at_min", lambda dtype: _extreme(dtype, 1)),
}


def _gathered(xp: Any, how: str, data: Any, ids: Any, n: int) -> Any:
    """[n, ...] of data [*ids, ...]: rows that share an id are joined, negative ids left out."""
    meet, empty = _REDUCE[how]
    inner = data.shape[ids.ndim :]
    half = is_floating(data) and data.dtype.itemsize == 2 and how in ("Sum", "Prod")
    rows = data.reshape((-1, *inner) if data.size else (shapes.product(ids.shape), *inner))
    rows = rows.astype(np.float32) if half else rows
    flat = ids.reshape(-1)
    flat = (np if is_known(ids) else xp).where(flat < 0, n, flat)  # into a row too many, cut below
    made = xp.full((n + 1, *inner), empty(data.dtype), rows.dtype)
    made = getattr(xp, meet)(made, flat, rows)[:n]
    return made.astype(data.dtype) if half else made


def _sorted_count(data: Any, ids: Any) -> int:
    """The number of segments of sorted ids."""
    host.check(ids.ndim == 1, "segment_ids should be a vector.")
    host.check(
        data.ndim > 0 and ids.shape[0] == data.shape[0],
        "segment_ids should be the same size as dimension 0 of input.",
    )
    if not ids.size:
        return 0
    host.check(bool(np.all(np.diff(ids) >= 0)), "segment ids are not increasing")
    host.check(ids[0] >= 0, "segment ids must be >= 0")
    return int(ids[-1]) + 1


def _rows_per_segment(ids: Any, n: int, data: Any) -> np.ndarray:
    """How many rows each segment has, at least 1, to divide rows shaped like those of data."""
    counts = np.maximum(np.bincount(ids, minlength=n), 1)[:n]
    return counts.reshape((n,) + (1,) * (data.ndim - 1))


def _checked_ids(xp: Any, data: Any, ids: Any, n: int) -> None:
    host.check(n >= 0, lambda: f"Input num_segments == {n} must not be negative.")
    host.check(
        data.shape[: ids.ndim] == ids.shape,
        lambda: (
            f"data.shape = {list(data.shape)} does not start with segment_ids.shape = "
            f"{list(ids.shape)}"
        ),
    )
    xp.check(xp.all(ids < n), lambda: _first_outside(ids, n))


def _first_outside(ids: Any, n: int) -> str:
    flat = np.ravel(ids)
    at = np.unravel_index(int(np.argmax(flat >= n)), ids.shape)
    return f"segment_ids{[int(i) for i in at]} = {flat.max()} is out of range [0, {n})"


# -- sorted ids ------------------------------------------------------------------------------------


def _sorted_shape(data: Spec, ids: Spec) -> shapes.Shape:
    shapes.with_rank(ids.shape, 1)
    if data.shape is None:
        return None
    shapes.at_least_rank(data.shape, 1)
    known = ids.value
    n = None if known is None else (int(known[-1]) + 1 if known.size else 0)
    return (n, *data.shape[1:])


def _by_sorted_ids(how: str, types: Any) -> OpDef:
    def kernel(xp: Any, data: Any, ids: Any) -> Any:
        n = _sorted_count(data, ids)
        if how != "Mean":
            made = _gathered(xp, how, data, ids, n)
            # a segment without rows is 0 here (1 for a product), also of Max and Min
            if how in ("Max", "Min") and n:
                present = (np.bincount(ids, minlength=n) > 0).reshape((n,) + (1,) * (data.ndim - 1))
                made = xp.where(present, made, xp.zeros_like(made))
            return made
        total = _gathered(xp, "Sum", data, ids, n)
        counts = _rows_per_segment(ids, n, data)
        if data.dtype.kind in "iu":
            return xp.sign(total) * (xp.abs(total) // counts.astype(data.dtype))
        return total / counts.astype(data.dtype)

    made = op(
        f"Segment{how}", "data: T, segment_ids: Tindices -> output: T", static=(1,), T=types,
        Tindices=dtypes.INDICES,
    )(kernel)  # fmt: skip
    made.infer = _sorted_shape
    return made


_segment_sum = _by_sorted_ids("Sum", dtypes.NUMBERS)
_segment_mean = _by_sorted_ids("Mean", dtypes.NUMBERS)
_segment_prod = _by_sorted_ids("Prod", dtypes.NUMBERS)
_segment_max = _by_sorted_ids("Max", dtypes.REALS)
_segment_min = _by_sorted_ids("Min", dtypes.REALS)


@_segment_sum.def_gradient
def _(op: Any, dy: Any) -> Any:
    return gather(dy, op.inputs[1]), None


@_segment_mean.def_gradient
def _(op: Any, dy: Any) -> Any:
    x, ids = op.inputs
    ones = array.ones(array.expand_dims(array.shape(ids)[0], 0), dy.dtype.base_dtype)
    counts = math.maximum(_segment_sum(ones, ids), 1)
    return gather(dy / _as_column(counts, x), ids), None


def _as_column(per_segment: Any, data: Any) -> Any:
    """[n] as [n, 1, ...], to stand beside rows like those of data."""
    if data._dims is not None:
        return array.reshape(per_segment, [-1] + [1] * (len(data._dims) - 1))
    ones = array.ones(array.expand_dims(array.rank(data) - 1, 0), dtypes.int32)
    return array.reshape(per_segment, array.concat([array.shape(per_segment), ones], 0))


def _share_of_extreme(op: Any, dy: Any) -> Any:
    """The gradient of a segment, shared equally by the rows that attain its extreme."""
    x, ids = op.inputs
    chosen = math.cast(math.equal(x, gather(op.outputs[0], ids)), dy.dtype.base_dtype)
    count = math.maximum(_segment_sum(chosen, ids), 1)
    return chosen * gather(dy / count, ids), None


_segment_max.gradient = _segment_min.gradient = _share_of_extreme


@_segment_prod.def_gradient
def _(op: Any, dy: Any) -> Any:
    x, ids = op.inputs
    return _others(x, dy, lambda t: _segment_sum(t, ids), lambda t: _segment_prod(t, ids),
                   lambda t: gather(t, ids)), None  # fmt: skip


def _others(x: Any, dy: Any, total: Any, product: Any, back: Any) -> Any:
    """dy times the product of the other rows of each row's segment, zeros among them and all."""
    zero = math.cast(math.equal(x, 0), x.dtype.base_dtype)
    full = x + zero  # 1 in place of 0
    alone = math.cast(math.equal(back(total(zero)), 1), x.dtype.base_dtype)  # the only zero
    rest = math.div_no_nan(back(product(x)), x) + zero * alone * (back(product(full)) / full)
    return back(dy) * math.conj(rest)


def _sorted_function(definition: OpDef, name: str, doc: str) -> Callable[..., Tensor]:
    def reduce(data: Any, segment_ids: Any, name: str | None = None) -> Tensor:
        return definition(data, segment_ids, name=name)

    reduce.__name__ = reduce.__qualname__ = name
    reduce.__doc__ = f"{doc} of the rows of each segment; `segment_ids` [n] ascend."
    return reduce


segment_sum = _sorted_function(_segment_sum, "segment_sum", "The sum")
segment_mean = _sorted_function(_segment_mean, "segment_mean", "The mean")
segment_prod = _sorted_function(_segment_prod, "segment_prod", "The product")
segment_max = _sorted_function(_segment_max, "segment_max", "The greatest elements")
segment_min = _sorted_function(_segment_min, "segment_min", "The smallest elements")

# -- unsorted ids ----------------------------------------------------------------------------------


def _unsorted_shape(data: Spec, ids: Spec, n: Spec) -> shapes.Shape:
    shapes.with_rank(n.shape, 0)
    if data.shape is None or ids.shape is None:
        return None
    k = len(ids.shape)
    shapes.at_least_rank(data.shape, k)
    shapes.merge(data.shape[:k], ids.shape)
    sizes = None if n.value is None else int(n.value)
    return (sizes, *data.shape[k:])


def _by_unsorted_ids(how: str, types: Any) -> OpDef:
    def kernel(xp: Any, data: Any, ids: Any, num_segments: Any) -> Any:
        n = int(np.reshape(num_segments, ()))
        _checked_ids(xp, data, ids, n)
        return _gathered(xp, how, data, ids, n)

    made = op(
        f"UnsortedSegment{how}",
        "data: T, segment_ids: Tindices, num_segments: Tnumsegments -> output: T",
        static=(2,),
        T=types,
        Tindices=_SEGMENT_IDS,
        Tnumsegments=dtypes.INDICES,
    )(kernel)
    made.infer = _unsorted_shape
    return made


_unsorted_sum = _by_unsorted_ids("Sum", dtypes.NUMBERS)
_unsorted_prod = _by_unsorted_ids("Prod", dtypes.NUMBERS)
_unsorted_max = _by_unsorted_ids("Max", dtypes.REALS)
_unsorted_min = _by_unsorted_ids("Min", dtypes.REALS)


def _gather_or_zero(params: Any, ids: Any, like: Any) -> Any:
    """Rows of params by id; zeros for negative ids. `like` has the shape of the result."""
    rows = gather(params, math.maximum(ids, 0))
    there = math.cast(ids >= 0, params.dtype.base_dtype)
    if ids._dims is not None and like._dims is not None:
        extra = len(like._dims) - len(ids._dims)
    else:
        extra = None
    if extra is None:
        ones = array.ones(array.expand_dims(array.rank(like) - array.rank(ids), 0), dtypes.int32)
        there = array.reshape(there, array.concat([array.shape(ids), ones], 0))
    for _ in range(extra or 0):
        there = array.expand_dims(there, -1)
    return rows * there


@_unsorted_sum.def_gradient
def _(op: Any, dy: Any) -> Any:
    x, ids, _n = op.inputs
    return _gather_or_zero(dy, ids, x), None, None


def _share_of_unsorted_extreme(op: Any, dy: Any) -> Any:
    x, ids, n = op.inputs
    chosen = math.cast(math.equal(x, _gather_or_zero(op.outputs[0], ids, x)), dy.dtype.base_dtype)
    count = math.maximum(_unsorted_sum(chosen, ids, n), 1)
    return chosen * _gather_or_zero(dy / count, ids, x), None, None


_unsorted_max.gradient = _unsorted_min.gradient = _share_of_unsorted_extreme


@_unsorted_prod.def_gradient
def _(op: Any, dy: Any) -> Any:
    x, ids, n = op.inputs
    return _others(x, dy, lambda t: _unsorted_sum(t, ids, n), lambda t: _unsorted_prod(t, ids, n),
                   lambda t: _gather_or_zero(t, ids, x)), None, None  # fmt: skip


def _unsorted_function(definition: OpDef, name: str, doc: str) -> Callable[..., Tensor]:
    def reduce(data: Any, segment_ids: Any, num_segments: Any, name: str | None = None) -> Tensor:
        return definition(data, segment_ids, num_segments, name=name)

    reduce.__name__ = reduce.__qualname__ = name
    reduce.__doc__ = (
        f"{doc} of the rows of each segment: [num_segments, ...]. Negative ids are left out."
    )
    return reduce


unsorted_segment_sum = _unsorted_function(_unsorted_sum, "unsorted_segment_sum", "The sum")
unsorted_segment_prod = _unsorted_function(_unsorted_prod, "unsorted_segment_prod", "The product")
unsorted_segment_max = _unsorted_function(_unsorted_max, "unsorted_segment_max", "The greatest")
unsorted_segment_min = _unsorted_function(_unsorted_min, "unsorted_segment_min", "The smallest")


def _counts(data: Tensor, ids: Tensor, n: Any) -> Tensor:
    """The number of rows of each segment, at least 1, with axes to stand beside the segments."""
    n = convert_to_tensor(n)
    ones = array.ones(array.shape(ids), data.dtype.base_dtype)
    found = _unsorted_sum(ones, ids, n)
    head = n[None]
    tail = array.ones([array.rank(data) - array.rank(ids)], dtypes.int32)
    found = array.reshape(found, array.concat([head, tail], 0))
    return math.maximum(found, 1)


def unsorted_segment_mean(
    data: Any, segment_ids: Any, num_segments: Any, name: str | None = None
) -> Tensor:
    """The mean of the rows of each segment: [num_segments, ...]."""
    with name_scope(name, "UnsortedSegmentMean"):
        data, ids = convert_to_tensor(data), convert_to_tensor(segment_ids)
        counts = _counts(data, ids, num_segments)
        return _unsorted_sum(data, ids, num_segments) / counts


def unsorted_segment_sqrt_n(
    data: Any, segment_ids: Any, num_segments: Any, name: str | None = None
) -> Tensor:
    """The sum of the rows of each segment over the root of their number: [num_segments, ...]."""
    with name_scope(name, "UnsortedSegmentSqrtN"):
        data, ids = convert_to_tensor(data), convert_to_tensor(segment_ids)
        counts = _counts(data, ids, num_segments)
        return _unsorted_sum(data, ids, num_segments) / math.sqrt(counts)


# -- rows picked by indices, then joined -----------------------------------------------------------


def _picked(how: str, xp: Any, data: Any, indices: Any, ids: Any, n: int) -> Any:
    """Rows data[indices] joined by sorted ids into n segments."""
    size = data.shape[0]
    xp.check(
        xp.all((indices >= 0) & (indices < size)),
        lambda: f"Segment ids point at rows that are not in [0, {size}): {np.ravel(indices)[:10]}",
    )
    rows = xp.take(data, indices, 0)
    total = _gathered(xp, "Sum", rows, ids, n)
    if how == "Sum":
        return total
    counts = _rows_per_segment(ids, n, data)
    return total / (counts if how == "Mean" else np.sqrt(counts)).astype(data.dtype)


def _by_indices(how: str) -> tuple[OpDef, OpDef]:
    """The op, and the one that is told how many segments there are."""

    def without(
        xp: Any, data: Any, indices: Any, ids: Any, *, sparse_gradient: bool = False
    ) -> Any:
        host.check(ids.shape == indices.shape, "segment_ids and indices should have same size.")
        n = _sorted_count(ids, ids)
        return _picked(how, xp, data, indices, ids, n)

    def given(
        xp: Any, data: Any, indices: Any, ids: Any, num: Any, *, sparse_gradient: bool = False
    ) -> Any:
        host.check(ids.shape == indices.shape, "segment_ids and indices should have same size.")
        n = int(np.reshape(num, ()))
        found = _sorted_count(ids, ids)
        host.check(found <= n, lambda: f"Segment id {found - 1} out of range [0, {n})")
        return _picked(how, xp, data, indices, ids, n)

    types: dict[str, Any] = {
        "T": dtypes.REALS if how == "Sum" else dtypes.FLOATS,
        "Tidx": dtypes.INDICES,
        "Tsegmentids": dtypes.INDICES,
    }
    operands = "data: T, indices: Tidx, segment_ids: Tsegmentids"
    plain = op(f"SparseSegment{how}", f"{operands} -> output: T", static=(2,), **types)(without)
    numbered = op(
        f"SparseSegment{how}WithNumSegments",
        f"{operands}, num_segments: Tnumsegments -> output: T",
        static=(2, 3),
        Tnumsegments=dtypes.INDICES,
        **types,
    )(given)
    plain.def_infer(lambda data, indices, ids, *, sparse_gradient: _sorted_shape(data, ids))
    numbered.def_infer(
        lambda data, indices, ids, n, *, sparse_gradient: (
            None
            if data.shape is None
            else (None if n.value is None else int(n.value), *data.shape[1:])
        )
    )

    def gradient(op: Any, dy: Any) -> Any:
        x, indices, ids = op.inputs[:3]
        if how != "Sum":
            ones = array.ones(array.expand_dims(array.shape(ids)[0], 0), dy.dtype.base_dtype)
            counts = math.maximum(_unsorted_sum(ones, ids, array.shape(op.outputs[0])[0]), 1)
            counts = counts if how == "Mean" else math.sqrt(counts)
            dy = dy / _as_column(counts, x)
        dx = _unsorted_sum(gather(dy, ids), indices, array.shape(x)[0])
        return (dx, *[None] * (len(op.inputs) - 1))

    plain.gradient = numbered.gradient = gradient
    return plain, numbered


def _indices_function(how: str, name: str, doc: str) -> Callable[..., Tensor]:
    plain, numbered = _by_indices(how)

    def reduce(
        data: Any, indices: Any, segment_ids: Any, name: str | None = None, num_segments: Any = None
    ) -> Tensor:
        if num_segments is None:
            return plain(data, indices, segment_ids, name=name)
        return numbered(data, indices, segment_ids, num_segments, name=name)

    reduce.__name__ = reduce.__qualname__ = name
    reduce.__doc__ = f"{doc} of the rows data[indices] of each segment; `segment_ids` ascend."
    return reduce


sparse_segment_sum = _indices_function("Sum", "sparse_segment_sum", "The sum")
sparse_segment_mean = _indices_function("Mean", "sparse_segment_mean", "The mean")
sparse_segment_sqrt_n = _indices_function(
    "SqrtN", "sparse_segment_sqrt_n", "The sum over the root of the number"
)

# -- counts ----------------------------------------------------------------------------------------


@op(
    "DenseBincount", "input: Tidx, size: Tidx, weights: T -> output: T", static=(1,),
    Tidx=dtypes.INDICES, T=(dtypes.int32, dtypes.int64, dtypes.float32, dtypes.float64),
)  # fmt: skip
def _dense_bincount(
    xp: Any, x: Any, size: Any, weights: Any, *, binary_output: bool = False
) -> Any:
    n = int(np.reshape(size, ()))
    xp.check(xp.all(x >= 0), "Input arr must be non-negative!")
    flat = x.reshape(-1)
    flat = xp.where(flat < n, flat, n)
    weight = weights.reshape(-1) if weights.size else xp.ones(flat.shape, weights.dtype)
    return xp.at_add(xp.zeros(n + 1, weights.dtype), flat, weight)[:n]


@_dense_bincount.def_infer
def _(x: Spec, size: Spec, weights: Spec, *, binary_output: bool) -> shapes.Shape:
    shapes.with_rank(size.shape, 0)
    return (None if size.value is None else int(size.value),)


_dense_bincount.gradient = NOT_DIFFERENTIABLE


def bincount(
    arr: Any,
    weights: Any = None,
    minlength: Any = None,
    maxlength: Any = None,
    dtype: Any = dtypes.int32,
    name: str | None = None,
) -> Tensor:
    """How often each number from 0 occurs in `arr`, or the sum of its `weights`.

    As long as the greatest number asks, but at least `minlength` and at most `maxlength`.
    """
    with name_scope(name, "bincount"):
        arr = convert_to_tensor(arr, name="arr", dtype=dtypes.int32)
        if weights is not None:
            weights = convert_to_tensor(weights, name="weights")
        some = math.greater(array.size(arr), 0)
        size = math.cast(some, dtypes.int32) * (reduce.reduce_max(arr) + 1)
        if minlength is not None:
            least = convert_to_tensor(minlength, dtypes.int32, name="minlength")
            size = math.maximum(least, size)
        if maxlength is not None:
            most = convert_to_tensor(maxlength, dtypes.int32, name="maxlength")
            size = math.minimum(most, size)
        if weights is None:
            flat = array.reshape(arr, [-1])
            weights = convert_to_tensor(np.zeros(0, as_dtype(dtype).numpy), name="Const")
        else:
            weights = array.reshape(weights, [-1])
            flat = array.reshape(arr, [-1])
        return _dense_bincount(flat, size, weights)


@op(
    "HistogramFixedWidth", "values: T, value_range: T, nbins: int32 -> out: dtype", static=(2,),
    T=(dtypes.int32, dtypes.int64, dtypes.float32, dtypes.float64),
)  # fmt: skip
def _histogram(
    xp: Any, values: Any, limits: Any, nbins: Any, *, dtype: dtypes.DType = dtypes.int32
) -> Any:
    n = int(np.reshape(nbins, ()))
    host.check(n > 0, lambda: f"nbins should be a positive number, but got '{n}'")
    low, high = limits[0], limits[1]
    xp.check(low < high, lambda: f"value_range should satisfy value_range[0] < value_range[1], "
             f"but got '[{low}, {high}]'")  # fmt: skip
    real = values.dtype if is_floating(values) else np.float64
    at = xp.floor((values - low).astype(real) / (high - low).astype(real) * n)
    at = xp.clip(at, 0, n - 1).astype(np.int32).reshape(-1)
    return xp.at_add(xp.zeros(n, dtype.numpy), at, 1)


@_histogram.def_infer
def _(
    values: Spec, limits: Spec, nbins: Spec, *, dtype: dtypes.DType = dtypes.int32
) -> shapes.Shape:
    shapes.with_rank(limits.shape, 1)
    shapes.with_rank(nbins.shape, 0)
    return (None if nbins.value is None else int(nbins.value),)


_histogram.gradient = NOT_DIFFERENTIABLE


def histogram_fixed_width(
    values: Any,
    value_range: Any,
    nbins: Any = 100,
    dtype: Any = dtypes.int32,
    name: str | None = None,
) -> Tensor:
    """How many values fall into each of `nbins` equal parts of a range [2]; the outer ones take all
    that lies beyond."""
    return _histogram(
        values, value_range, nbins, dtype=as_dtype(dtype), name=name or "histogram_fixed_width"
    )
