"""Coordinates: gather_nd, and scatters into zeros and into tensors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from headrace import dtypes, shapes
from headrace.conversion import convert_to_tensor
from headrace.graph import name_scope
from headrace.indexed_slices import IndexedSlices
from headrace.node import Tensor
from headrace.opdef import OpDef, Spec, op
from headrace.ops import array, reduce
from headrace.ops.operands import agree, check_places, shape_operand
from headrace.shapes import Shape
from headrace.xp import numpy as host


def size_of_axes(x: Tensor, axes: Any) -> Any:
    """The product of sizes of x, whose rank is known: an int where they are, else a tensor."""
    size = shapes.count(tuple(x._dims[k] for k in axes))  # type: ignore[index]
    if size is not None:
        return size
    return reduce.reduce_prod(array.stack([array.shape(x)[k] for k in axes]))


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
        p = size_of_axes(params, range(batch_dims))
        size, place = array.shape(params), array.shape(indices)
        flat = array.reshape(params, array.concat([[p], size[batch_dims:]], 0))
        inner = array.reshape(indices, array.concat([[p], place[batch_dims:]], 0))
        ones = [1] * (len(indices._dims) - batch_dims)
        counted = array.reshape(array.range(p), [p, *ones])
        if indices.dtype.base_dtype is not dtypes.int32:
            counted = array.reshape(array.range(p, dtype=indices.dtype.base_dtype), [p, *ones])
        first = counted + array.zeros_like(inner[..., :1])
        picked = _gather_nd(flat, array.concat([first, inner], -1))
        return array.reshape(picked, array.concat([size[:batch_dims], array.shape(picked)[1:]], 0))


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
