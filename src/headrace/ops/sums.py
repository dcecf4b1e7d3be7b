"""Sums of many tensors."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

from headrace import dtypes, shapes
from headrace.conversion import convert_to_tensor
from headrace.node import Tensor
from headrace.opdef import REGISTRY, op
from headrace.ops.operands import agree_all


@op("AddN", "inputs: N*T -> sum: T", T=dtypes.NUMBERS)
def _add_n(xp: Any, xs: Sequence[Any]) -> Any:
    return functools.reduce(xp.add, xs)


_add_n.infer = agree_all


@_add_n.def_gradient
def _(op: Any, dy: Any) -> Any:
    return [dy] * len(op.inputs)


def add_n(inputs: Any, name: str | None = None) -> Tensor:
    """The sum of a list of tensors of one shape and type, added in order.

    A single tensor is its own sum. ValueError for an empty list or for shapes that clash.
    """
    parts = list(inputs)
    if not parts:
        raise ValueError(
            "Inputs must be an iterable of at least one Tensor/IndexedSlices with the same dtype "
            "and shape."
        )
    if len(parts) > 1:
        return _add_n(parts, name=name)
    only = convert_to_tensor(parts[0])
    return REGISTRY["Identity"](only, name=name) if name else only


def accumulate_n(
    inputs: Any, shape: Any = None, tensor_dtype: Any = None, name: str | None = None
) -> Tensor:
    """The sum of a list of tensors, whose shape and type may be said."""
    if not isinstance(inputs, (list, tuple)) or not inputs:
        raise ValueError(
            "inputs must be a list of at least one Tensor with the same dtype and shape"
        )
    tensors = [convert_to_tensor(x) for x in inputs]
    if any(t.dtype.base_dtype is not tensors[0].dtype.base_dtype for t in tensors):
        raise ValueError(
            "inputs must be a list of at least one Tensor with the same dtype and shape"
        )
    wanted = shapes.as_shape(shape)
    for t in tensors:
        wanted = shapes.merge(wanted, t._dims)
    if tensor_dtype is not None and tensors[0].dtype.base_dtype != tensor_dtype:
        raise TypeError(
            f"tensor_dtype is {tensor_dtype}, but input is of type {tensors[0].dtype.name}"
        )
    return add_n(tensors, name=name)
