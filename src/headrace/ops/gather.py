"""Picking by index or condition: gather, where, masks, one-hot codes (and `scatter.py`)."""

from __future__ import annotations

from typing import Any

import numpy as np

from headrace import dtypes, shapes
from headrace.conversion import convert_to_tensor
from headrace.dtypes import as_dtype
from headrace.folding import Spec
from headrace.graph import name_scope
from headrace.indexed_slices import IndexedSlices
from headrace.node import Tensor
from headrace.opdef import NOT_DIFFERENTIABLE, OpDef, op
from headrace.ops import array, math, reduce
from headrace.ops.operands import agree, axis_of, check_indices, checked_axis
from headrace.ops.scatter import gather_nd as gather_nd
from headrace.ops.scatter import scatter_nd as scatter_nd
from headrace.ops.scatter import size_of_axes
from headrace.ops.scatter import tensor_scatter_nd_add as tensor_scatter_nd_add
from headrace.ops.scatter import tensor_scatter_nd_max as tensor_scatter_nd_max
from headrace.ops.scatter import tensor_scatter_nd_min as tensor_scatter_nd_min
from headrace.ops.scatter import tensor_scatter_nd_sub as tensor_scatter_nd_sub
from headrace.ops.scatter import tensor_scatter_nd_update as tensor_scatter_nd_update
from headrace.shapes import Shape
from headrace.xp import numpy as host

# -- gather ----------------------------------------------------------------------------------------


@op(
    "GatherV2", "params: Tparams, indices: Tindices, axis: Taxis -> output: Tparams",
    static=(2,), Tindices=(dtypes.int16, *dtypes.INDICES), Taxis=dtypes.INDICES,
)  # fmt: skip
def _gather(xp: Any, x: Any, indices: Any, axis: Any, *, batch_dims: int = 0) -> Any:
    at = checked_axis(int(axis), x.ndim)
    n = x.shape[at]
    check_indices(xp, indices, n)
    if not batch_dims:
        picked = xp.take(x, indices, axis=at, mode="clip")
        return np.asarray(picked, object) if x.dtype == object else picked
    batch = batch_dims + indices.ndim if batch_dims < 0 else batch_dims
    lead, before, after = x.shape[:batch], x.shape[batch:at], x.shape[at + 1 :]
    host.check(
        lead == indices.shape[:batch],
        lambda: (
            f"params.shape[0]: {lead[0]} should be equal to indices.shape[0]: {indices.shape[0]}"
        ),
    )
    p, a, c = (shapes.product(s) for s in (lead, before, after))
    rows = xp.transpose(xp.reshape(x, (p, a, n, c)), (0, 2, 1, 3)).reshape(p * n, a, c)
    first = np.arange(p, dtype=indices.dtype)[:, None] * n
    places = xp.reshape(indices, (p, -1 if p else 0)) + first
    picked = xp.transpose(xp.take(rows, places, axis=0, mode="clip"), (0, 2, 1, 3))
    return xp.reshape(picked, (*lead, *before, *indices.shape[batch:], *after))


@_gather.def_infer
def _(x: Spec, indices: Spec, axis: Spec, *, batch_dims: int) -> Shape:
    at = axis_of(axis)
    if at is not None:
        shapes.at_least_rank(x.shape, at + 1 if at >= 0 else -at)
    if x.shape is None or indices.shape is None:
        return None
    batch = batch_dims + len(indices.shape) if batch_dims < 0 else batch_dims
    if not 0 <= batch <= min(len(indices.shape), len(x.shape) - 1):
        raise ValueError(
            f"batch_dims {batch_dims} does not suit params of rank {len(x.shape)} and indices of "
            f"rank {len(indices.shape)}"
        )
    if at is None:
        return (None,) * (len(x.shape) + len(indices.shape) - 1 - batch)
    at %= len(x.shape)
    if at < batch:
        raise ValueError(f"batch_dims ({batch}) must be less than or equal to axis ({at})")
    lead = agree(x.shape[:batch], indices.shape[:batch])
    return (*lead, *x.shape[batch:at], *indices.shape[batch:], *x.shape[at + 1 :])  # type: ignore


@_gather.def_gradient
def _(op: Any, dy: Any) -> Any:
    params, indices, axis = op.inputs
    at = axis_of(axis)
    if at == 0 and not op.attrs["batch_dims"]:
        return _rows_of(params, indices, dy), None, None
    return _ungathered(op, dy, at), None, None


def _rows_of(params: Tensor, indices: Tensor, dy: Tensor) -> IndexedSlices:
    """The gradient of gathered rows: dy, one row per index."""
    whole = array.shape(params)
    if indices._dims is None or len(indices._dims) != 1:
        n = shapes.count(indices._dims)
        tail = None if params._dims is None else params._dims[1:]
        if n is not None and shapes.is_full(tail):
            dy = array.reshape(dy, [n, *tail])  # type: ignore[misc]
        else:
            rows = array.reshape(array.size(indices), [1])
            dy = array.reshape(dy, array.concat([rows, whole[1:]], 0))
        indices = array.reshape(indices, [-1])
    return IndexedSlices(dy, indices, whole)


def _ungathered(op: Any, dy: Tensor, at: int | None) -> Tensor:
    """The dense gradient of a gather along any axis, in batches or not."""
    params, indices, _ = op.inputs
    if at is None or params._dims is None or indices._dims is None:
        raise ValueError(
            f"The gradient of {op.name!r} (op: 'GatherV2') needs the axis and the ranks of params "
            f"and indices when the graph is built."
        )
    at %= len(params._dims)
    batch = op.attrs["batch_dims"]
    batch += len(indices._dims) if batch < 0 else 0
    p, a, n, c = (
        size_of_axes(params, part)
        for part in (range(batch), range(batch, at), (at,), range(at + 1, len(params._dims)))
    )
    i = size_of_axes(indices, range(batch, len(indices._dims)))
    rows = array.transpose(array.reshape(dy, [p, a, i, c]), [0, 2, 1, 3])
    places = array.reshape(indices, [p, i])
    if batch:
        kind = indices.dtype.base_dtype
        first = array.reshape(array.range(p), [-1, 1]) * n
        places = places + math.cast(first, kind)
    summed = scatter_nd(
        array.reshape(places, [-1, 1]),
        array.reshape(rows, [_times(p, i), a, c]),
        [_times(p, n), a, c],
    )
    back = array.transpose(array.reshape(summed, [p, n, a, c]), [0, 2, 1, 3])
    return array.reshape(back, array.shape(params))


def _times(a: Any, b: Any) -> Any:
    return b * a if isinstance(a, int) else a * b


def gather(
    params: Any,
    indices: Any,
    validate_indices: bool | None = None,
    name: str | None = None,
    axis: Any = None,
    batch_dims: int = 0,
) -> Tensor:
    """The slices of `params` along `axis` that `indices` names: shape of params, with that of
    indices in place of the axis; leading `batch_dims` axes are gone through together.

    InvalidArgumentError in the run for an index that is not in [0, n); negative ones are not.
    """
    del validate_indices
    if axis is None:
        axis = batch_dims
    along = axis_of(axis) if isinstance(axis, Tensor) else axis
    if along is not None and int(along) == 0 and not batch_dims and hasattr(params, "handle"):
        return params.sparse_read(indices, name=name)
    return _gather(params, indices, axis, batch_dims=int(batch_dims), name=name)


def batch_gather(params: Any, indices: Any, name: str | None = None) -> Tensor:
    """`gather` in batches: params [*b, n, ...], indices [*b, m]: [*b, m, ...]."""
    indices = convert_to_tensor(indices)
    if indices._dims is None:
        raise ValueError("batch_gather does not allow indices with unknown shape.")
    batch = len(indices._dims) - 1
    return _gather(params, indices, batch, batch_dims=batch, name=name or "BatchGather")


# -- choosing by a condition -----------------------------------------------------------------------


@op("Where", "input: T -> index: int64", host=True)
def _where(xp: Any, x: Any) -> Any:
    return np.argwhere(x).astype(np.int64)


@_where.def_infer
def _(x: Spec) -> Shape:
    return (None, None if x.shape is None else len(x.shape))


_where.gradient = NOT_DIFFERENTIABLE


@op("Select", "condition: bool, t: T, e: T -> output: T")
def _select(xp: Any, c: Any, t: Any, e: Any) -> Any:
    host.check(
        t.shape == e.shape,
        lambda: (
            f"'then' and 'else' must have the same size.  but received: {shapes.brackets(t.shape)} "
            f"vs. {shapes.brackets(e.shape)}"
        ),
    )
    if c.ndim == 1 and t.ndim != 1:
        host.check(
            t.ndim > 0 and c.shape[0] == t.shape[0],
            lambda: (
                "Number of batches of 'then' must match size of 'cond', but saw: "
                f"{t.shape[0] if t.ndim else 'a scalar'} vs. {c.shape[0]}"
            ),
        )
        c = xp.reshape(c, (-1, *(1,) * (t.ndim - 1)))
    else:
        host.check(
            c.ndim == 0 or c.shape == t.shape,
            lambda: (
                f"'cond' must be a scalar, a vector or of the shape of 'then': "
                f"{shapes.brackets(c.shape)} vs. {shapes.brackets(t.shape)}"
            ),
        )
    return xp.where(c, t, e)


@_select.def_infer
def _(c: Spec, t: Spec, e: Spec) -> Shape:
    shape = agree(t.shape, e.shape)
    if c.shape is None or shape is None or not c.shape:
        return shape
    if len(c.shape) == 1 and len(shape) != 1:
        if not shape:
            raise ValueError("Shape must be at least rank 1 but is rank 0")
        return (*agree(c.shape, shape[:1]), *shape[1:])  # type: ignore[misc]
    return agree(c.shape, shape)


@_select.def_gradient
def _(op: Any, dy: Any) -> Any:
    condition, zero = op.inputs[0], array.zeros_like(op.inputs[1])
    return None, _select(condition, dy, zero), _select(condition, zero, dy)


@op("SelectV2", "condition: bool, t: T, e: T -> output: T", broadcasts=True)
def _select_v2(xp: Any, c: Any, t: Any, e: Any) -> Any:
    try:
        np.broadcast_shapes(c.shape, t.shape, e.shape)
    except ValueError:
        listed = [shapes.brackets(a.shape) for a in (c, t, e)]
        host.check(
            False,
            f"condition {listed[0]}, then {listed[1]}, and else {listed[2]} must be broadcastable",
        )
    return xp.where(c, t, e)


@_select_v2.def_infer
def _(c: Spec, t: Spec, e: Spec) -> Shape:
    return shapes.broadcast(c.shape, shapes.broadcast(t.shape, e.shape))


@_select_v2.def_gradient
def _(op: Any, dy: Any) -> Any:
    condition, zero = op.inputs[0], convert_to_tensor(0, dy.dtype.base_dtype)
    return None, _select_v2(condition, dy, zero), _select_v2(condition, zero, dy)


def where(condition: Any, x: Any = None, y: Any = None, name: str | None = None) -> Tensor:
    """Elements of x where the condition holds, of y elsewhere, all of one shape.

    The condition may also be a scalar, or a vector that chooses whole x[i] or y[i]. Without x and
    y: the coordinates of the true elements, [n, rank] of int64.
    """
    return _choose(_select, condition, x, y, name)


def where_v2(condition: Any, x: Any = None, y: Any = None, name: str | None = None) -> Tensor:
    """Elements of x where the condition holds, of y elsewhere, broadcasting all three.

    Without x and y: the coordinates of the true elements, [n, rank] of int64.
    """
    return _choose(_select_v2, condition, x, y, name)


def _choose(select: OpDef, condition: Any, x: Any, y: Any, name: str | None) -> Tensor:
    if x is None and y is None:
        with name_scope(name, "Where", [condition]) as scope:
            found = convert_to_tensor(condition, name="condition", preferred_dtype=dtypes.bool_)
            return _where(found, name=scope)
    if x is None or y is None:
        raise ValueError("x and y must both be non-None or both be None.")
    return select(condition, x, y, name=name)


def boolean_mask(tensor: Any, mask: Any, name: str = "boolean_mask", axis: Any = None) -> Tensor:
    """The elements, or slices, of `tensor` at which `mask` is true, along one new axis.

    The mask's axes are those of the tensor from `axis` (0) on; its rank must be known.
    """
    with name_scope(name, None, [tensor, mask]):
        tensor = convert_to_tensor(tensor, name="tensor")
        mask = convert_to_tensor(mask, name="mask")
        n = None if mask._dims is None else len(mask._dims)
        if n == 0:
            raise ValueError("mask cannot be scalar.")
        if n is None:
            raise ValueError(
                "Number of mask dimensions must be specified, even if some dimensions are None.  "
                "E.g. shape=[None] is ok, but shape=None is not."
            )
        at = 0 if axis is None else axis
        if isinstance(at, Tensor):
            known = axis_of(at)
            at = at if known is None else known
        dims = None if isinstance(at, Tensor) else tensor._dims
        if dims is not None:
            tensor.shape[at : at + n].assert_is_compatible_with(mask.shape)
        leading = reduce.reduce_prod(array.shape(tensor)[at : at + n], [0])
        sizes = [array.shape(tensor)[:at], [leading], array.shape(tensor)[at + n :]]
        flat = array.reshape(tensor, array.concat(sizes, 0))
        if dims is not None:
            flat.set_shape([*dims[:at], shapes.count(dims[at : at + n]), *dims[at + n :]])
        found = array.squeeze(where_v2(array.reshape(mask, [-1])), [1])
        return gather(flat, found, axis=at)


# -- one-hot ---------------------------------------------------------------------------------------


@op(
    "OneHot", "indices: TI, depth: int32, on_value: T, off_value: T -> output: T",
    static=(1,), TI=(dtypes.uint8, dtypes.int8, *dtypes.INDICES),
)  # fmt: skip
def _one_hot(xp: Any, indices: Any, depth: Any, on: Any, off: Any, *, axis: int = -1) -> Any:
    n, at = int(depth), indices.ndim if axis == -1 else axis
    host.check(n >= 0, lambda: f"depth must be non-negative, got: {n}")
    wide = np.int64 if indices.dtype == np.int64 else np.int32  # a narrow type may not hold depth
    codes = np.arange(n, dtype=wide).reshape(-1, *(1,) * (indices.ndim - at))
    return xp.where(xp.expand_dims(indices, at) == codes, on, off)


@_one_hot.def_infer
def _(indices: Spec, depth: Spec, on: Spec, off: Spec, *, axis: int) -> Shape:
    for operand in (depth, on, off):
        shapes.with_rank(operand.shape, 0)
    if axis < -1:
        raise ValueError(f"axis must be >= -1 but is {axis}")
    if indices.shape is None:
        return None
    rank = len(indices.shape)
    if axis > rank:
        raise ValueError(f"Expected axis to be -1 or between [0, {rank}].  But received: {axis}")
    at, n = rank if axis == -1 else axis, axis_of(depth)
    if n is not None and n < 0:
        raise ValueError(f"depth must be non-negative, got: {n}")
    return (*indices.shape[:at], n, *indices.shape[at:])


_one_hot.gradient = NOT_DIFFERENTIABLE


def one_hot(
    indices: Any,
    depth: Any,
    on_value: Any = None,
    off_value: Any = None,
    axis: int | None = None,
    dtype: Any = None,
    name: str | None = None,
) -> Tensor:
    """`on_value` (1) at each index, `off_value` (0) elsewhere, along a new axis of size `depth`.

    An index that is not in [0, depth) gives `off_value` throughout. float32 if nothing says else.
    """
    with name_scope(name, "one_hot", [indices, depth, on_value, off_value]) as scope:
        dtype = None if dtype is None else as_dtype(dtype).base_dtype
        given = {
            what: convert_to_tensor(value, dtype_hint=dtype)
            for what, value in (("on_value", on_value), ("off_value", off_value))
            if value is not None
        }
        for what, value in given.items():
            if dtype is not None and value.dtype.base_dtype is not dtype:
                raise TypeError(
                    f"dtype {value.dtype.base_dtype} of {what} does not match dtype parameter "
                    f"{dtype}"
                )
        if dtype is None:
            dtype = next((v.dtype.base_dtype for v in given.values()), dtypes.float32)
        on, off = (
            given.get(what) if what in given else convert_to_tensor(number, dtype, name=what)
            for what, number in (("on_value", 1), ("off_value", 0))
        )
        if on.dtype.base_dtype is not off.dtype.base_dtype:  # type: ignore[union-attr]
            raise TypeError(
                f"dtype {on.dtype.base_dtype} of on_value does not match dtype "  # type: ignore
                f"{off.dtype.base_dtype} of off_value"  # type: ignore[union-attr]
            )
        return _one_hot(indices, depth, on, off, axis=-1 if axis is None else int(axis), name=scope)
