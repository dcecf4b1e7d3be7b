"""Picking by index: gather, scatter, select, masks, one-hot codes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from headrace import dtypes, shapes
from headrace.dtypes import as_dtype
from headrace.folding import Spec
from headrace.graph import Tensor, convert_to_tensor, name_scope
from headrace.indexed_slices import IndexedSlices
from headrace.opdef import NOT_DIFFERENTIABLE, OpDef, op
from headrace.ops import array, reduce
from headrace.ops.operands import (
    agree, axis_of, check_indices, check_places, checked_axis, shape_operand,
)  # fmt: skip
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
    batch = batch_dims % indices.ndim if batch_dims < 0 else batch_dims
    lead, before, after = x.shape[:batch], x.shape[batch:at], x.shape[at + 1 :]
    host.check(
        lead == indices.shape[:batch],
        lambda: (
            f"params.shape[0]: {lead[0]} should be equal to indices.shape[0]: {indices.shape[0]}"
        ),
    )
    p, a, c = (shapes.product(s) for s in (lead, before, after))
    rows = xp.transpose(xp.reshape(x, (p, a, n, c)), (0, 2, 1, 3)).reshape(p * n, a, c)
    places = xp.reshape(indices, (p, -1 if p else 0)) + np.arange(p, dtype=indices.dtype)[:, None] * n
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
    at = axis_of(Spec(axis.dtype, axis._dims, axis))
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
    batch = op.attrs["batch_dims"] % max(len(indices._dims), 1)
    p, a, n, c = (
        _product(params, part)
        for part in (range(batch), range(batch, at), (at,), range(at + 1, len(params._dims)))
    )
    i = _product(indices, range(batch, len(indices._dims)))
    rows = array.transpose(array.reshape(dy, [p, a, i, c]), [0, 2, 1, 3])
    kind = indices.dtype.base_dtype
    first = array.reshape(array.range(p) if kind is dtypes.int32 else array.range(p, dtype=kind), [-1, 1])
    places = array.reshape(indices, [p, i])
    if batch:
        places = places + first * (n if isinstance(n, int) else convert_to_tensor(n, kind))
    summed = scatter_nd(
        array.reshape(places, [-1, 1]), array.reshape(rows, [_times(p, i), a, c]), [_times(p, n), a, c]
    )
    back = array.transpose(array.reshape(summed, [p, n, a, c]), [0, 2, 1, 3])
    return array.reshape(back, array.shape(params))


def _product(x: Tensor, axes: Any) -> Any:
    """The product of sizes of x: an int where they are known, else a tensor."""
    size = shapes.count(tuple(x._dims[k] for k in axes))  # type: ignore[index]
    if size is not None:
        return size
    return reduce.reduce_prod(array.stack([array.shape(x)[k] for k in axes]))


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
    along = axis if not isinstance(axis, Tensor) else axis_of(Spec(axis.dtype, axis._dims, axis))
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


# -- gather and scatter by coordinates -------------------------------------------------------------


def _flat_places(xp: Any, indices: Any, sizes: Any) -> Any:
    """Coordinates [..., k] as row numbers in an array whose first k axes are flattened: [...]."""
    k = indices.shape[-1]
    if k == 1:
        return indices[..., 0]
    steps = np.cumprod([1, *sizes[1:k][::-1]], dtype=np.int64)[::-1][:k]
    return xp.sum(indices * steps.astype(indices.dtype), axis=-1, dtype=indices.dtype)


@op("GatherNd", "params: Tparams, indices: Tindices -> output: Tparams", Tindices=dtypes.INDICES)
def _gather_nd(xp: Any, x: Any, indices: Any) -> Any:
    k = indices.shape[-1]
    host.check(
        k <= x.ndim,
        lambda: f"index innermost dimension length must be <= params rank; saw: {k} vs. {x.ndim}",
    )
    check_places(xp, indices, x.shape, f"param shape {shapes.brackets(x.shape)}")
    flat = xp.reshape(x, (shapes.product(x.shape[:k]), *x.shape[k:]))
    picked = xp.take(flat, _flat_places(xp, indices, x.shape), axis=0, mode="clip")
    return np.asarray(picked, object) if x.dtype == object else picked


@_gather_nd.def_infer
def _(x: Spec, indices: Spec) -> Shape:
    shapes.at_least_rank(indices.shape, 1)
    if x.shape is None or indices.shape is None or indices.shape[-1] is None:
        return None
    k = indices.shape[-1]
    if k > len(x.shape):
        raise ValueError(
            "indices.shape[-1] must be <= params.rank, but saw indices shape: "
            f"{shapes.brackets(indices.shape)} and params shape: {shapes.brackets(x.shape)}"
        )
    return (*indices.shape[:-1], *x.shape[k:])


@_gather_nd.def_gradient
def _(op: Any, dy: Any) -> Any:
    params, indices = op.inputs
    whole = array.shape(params, out_type=indices.dtype)
    if indices._dims is not None and len(indices._dims) == 2 and indices._dims[-1] == 1:
        return IndexedSlices(dy, array.squeeze(indices, -1), whole), None
    return scatter_nd(indices, dy, whole), None


def gather_nd(params: Any, indices: Any, name: str | None = None, batch_dims: int = 0) -> Tensor:
    """Elements or slices by coordinates: indices [..., k] give [..., *shape of params[k:]].

    Leading `batch_dims` axes are gone through together. InvalidArgumentError in the run for
    coordinates that params does not have.
    """
    if not batch_dims:
        return _gather_nd(params, indices, name=name)
    with name_scope(name, "BatchGatherND", [params, indices]):
        params, indices = convert_to_tensor(params), convert_to_tensor(indices)
        if params._dims is None or indices._dims is None:
            raise ValueError("gather_nd with batch_dims needs the ranks of params and indices.")
        p = _product(params, range(batch_dims))
        size, place = array.shape(params), array.shape(indices)
        flat = array.reshape(params, array.concat([[p], size[batch_dims:]], 0))
        inner = array.reshape(indices, array.concat([[p], place[batch_dims:]], 0))
        ones = [1] * (len(indices._dims) - batch_dims)
        counted = array.reshape(array.range(p), [p, *ones])
        if indices.dtype.base_dtype is not dtypes.int32:
            counted = array.reshape(array.range(p, dtype=indices.dtype.base_dtype), [p, *ones])
        first = counted + array.zeros_like(inner[..., :1])
        picked = _gather_nd(flat, array.concat([first, inner], -1))
        return array.reshape(
            picked, array.concat([size[:batch_dims], array.shape(picked)[1:]], 0)
        )


def _checked_updates(indices: Any, updates: Any, sizes: Any, what: str) -> None:
    k = indices.shape[-1]
    host.check(
        k <= len(sizes),
        lambda: (
            f"The inner {k} dimensions of indices must not exceed the rank of "
            f"{what}={shapes.brackets(sizes)}"
        ),
    )
    n = indices.ndim - 1
    host.check(
        indices.shape[:-1] == updates.shape[:n],
        lambda: (
            f"Dimensions [0,{n}) of indices[shape={shapes.brackets(indices.shape)}] must match "
            f"dimensions [0,{n}) of updates[shape={shapes.brackets(updates.shape)}]"
        ),
    )
    host.check(
        tuple(sizes[k:]) == updates.shape[n:],
        lambda: (
            f"Dimensions [{k},{len(sizes)}) of {what}[shape={shapes.brackets(sizes)}] must match "
            f"dimensions [{n},{updates.ndim}) of updates[shape={shapes.brackets(updates.shape)}]"
        ),
    )


def _agreed_updates(indices: Spec, updates: Spec, whole: Shape) -> Shape:
    """`whole`; ValueError if the shapes of indices and updates do not suit it."""
    if indices.shape is None or updates.shape is None:
        return whole
    shapes.at_least_rank(indices.shape, 1)
    n = len(indices.shape) - 1
    try:
        agree(indices.shape[:-1], updates.shape[:n])
    except ValueError as error:
        raise ValueError(
            f"Dimensions [0,{n}) of indices[shape={shapes.brackets(indices.shape)}] = "
            f"{shapes.brackets(indices.shape[:-1])} must match dimensions [0,{n}) of "
            f"updates[shape={shapes.brackets(updates.shape)}] = "
            f"{shapes.brackets(updates.shape[:n])}: {error}"
        ) from None
    k = indices.shape[-1]
    if whole is not None and k is not None:
        if k > len(whole):
            raise ValueError(f"Coordinates of length {k} in an array of rank {len(whole)}")
        try:
            agree(whole[k:], updates.shape[n:])
        except ValueError as error:
            raise ValueError(
                f"Dimensions [{k},{len(whole)}) of input[shape={shapes.brackets(whole)}] = "
                f"{shapes.brackets(whole[k:])} must match dimensions [{n},{len(updates.shape)}) of "
                f"updates[shape={shapes.brackets(updates.shape)}] = "
                f"{shapes.brackets(updates.shape[n:])}: {error}"
            ) from None
    return whole


def _combined(xp: Any, x: Any, indices: Any, updates: Any, how: str) -> Any:
    """x with updates set or combined in at coordinates: `how` is a function of the namespace."""
    k = indices.shape[-1]
    check_places(xp, indices, x.shape, f"shape {shapes.brackets(x.shape)}")
    flat = xp.reshape(x, (shapes.product(x.shape[:k]), *x.shape[k:]))
    rows = _flat_places(xp, indices, x.shape)
    return xp.reshape(getattr(xp, how)(flat, rows, updates), x.shape)


@op(
    "ScatterNd", "indices: Tindices, updates: T, shape: Tindices -> output: T",
    static=(2,), Tindices=(dtypes.int16, *dtypes.INDICES),
)  # fmt: skip
def _scatter_nd(xp: Any, indices: Any, updates: Any, shape: Any) -> Any:
    sizes = tuple(shape.tolist())
    _checked_updates(indices, updates, sizes, "shape")
    return _combined(xp, xp.zeros(sizes, updates.dtype), indices, updates, "at_add")


@_scatter_nd.def_infer
def _(indices: Spec, updates: Spec, shape: Spec) -> Shape:
    return _agreed_updates(indices, updates, shape_operand(shape))


@_scatter_nd.def_gradient
def _(op: Any, dy: Any) -> Any:
    return None, gather_nd(dy, op.inputs[0]), None


def scatter_nd(indices: Any, updates: Any, shape: Any, name: str | None = None) -> Tensor:
    """Zeros of `shape` with each updates[i] added at the coordinates indices[i, :]."""
    return _scatter_nd(indices, updates, shape, name=name)


def _tensor_scatter(kind: str, how: str, sign: int = 1) -> OpDef:
    @op(f"TensorScatter{kind}", "tensor: T, indices: Tindices, updates: T -> output: T",
        Tindices=(dtypes.int16, *dtypes.INDICES))  # fmt: skip
    def kernel(xp: Any, x: Any, indices: Any, updates: Any) -> Any:
        _checked_updates(indices, updates, x.shape, "tensor")
        return _combined(xp, x, indices, updates if sign > 0 else -updates, how)

    @kernel.def_infer
    def _(x: Spec, indices: Spec, updates: Spec) -> Shape:
        return _agreed_updates(indices, updates, x.shape)

    return kernel


_tensor_update = _tensor_scatter("Update", "at_set")
_tensor_add = _tensor_scatter("Add", "at_add")
_tensor_sub = _tensor_scatter("Sub", "at_add", -1)
_tensor_max = _tensor_scatter("Max", "at_max")
_tensor_min = _tensor_scatter("Min", "at_min")


@_tensor_update.def_gradient
def _(op: Any, dy: Any) -> Any:
    _, indices, updates = op.inputs
    return _tensor_update(dy, indices, array.zeros_like(updates)), None, gather_nd(dy, indices)


@_tensor_add.def_gradient
def _(op: Any, dy: Any) -> Any:
    return dy, None, gather_nd(dy, op.inputs[1])


@_tensor_sub.def_gradient
def _(op: Any, dy: Any) -> Any:
    return dy, None, -gather_nd(dy, op.inputs[1])


def _tensor_scatter_function(definition: OpDef, what: str) -> Callable[..., Tensor]:
    def function(tensor: Any, indices: Any, updates: Any, name: str | None = None) -> Tensor:
        return definition(tensor, indices, updates, name=name)

    function.__name__ = f"tensor_scatter_nd_{definition.name[13:].lower()}"
    function.__doc__ = f"`tensor` with each updates[i] {what} the coordinates indices[i, :]."
    return function


tensor_scatter_nd_update = _tensor_scatter_function(_tensor_update, "set at")
tensor_scatter_nd_add = _tensor_scatter_function(_tensor_add, "added at")
tensor_scatter_nd_sub = _tensor_scatter_function(_tensor_sub, "subtracted at")
tensor_scatter_nd_max = _tensor_scatter_function(_tensor_max, "or what is there, if larger, at")
tensor_scatter_nd_min = _tensor_scatter_function(_tensor_min, "or what is there, if smaller, at")

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


def boolean_mask(
    tensor: Any, mask: Any, name: str = "boolean_mask", axis: Any = None
) -> Tensor:
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
            known = axis_of(Spec(at.dtype, at._dims, at))
            at = at if known is None else known
        static = not isinstance(at, Tensor) and tensor._dims is not None
        if static:
            tensor.shape[at : at + n].assert_is_compatible_with(mask.shape)
        leading = reduce.reduce_prod(array.shape(tensor)[at : at + n], [0])
        sizes = [array.shape(tensor)[:at], [leading], array.shape(tensor)[at + n :]]
        flat = array.reshape(tensor, array.concat(sizes, 0))
        if static:
            dims = tensor._dims
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
                    f"dtype {value.dtype.base_dtype} of {what} does not match dtype parameter {dtype}"
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
