"""Arrays made of one number: fill, zeros, ones."""

from __future__ import annotations

from typing import Any

import numpy as np

from headrace import dtypes, shapes
from headrace.conversion import convert_to_tensor
from headrace.dtypes import as_dtype
from headrace.folding import Spec
from headrace.graph import name_scope
from headrace.node import Tensor
from headrace.opdef import NOT_DIFFERENTIABLE, op, same_shape
from headrace.ops.constant import constant
from headrace.ops.operands import shape_operand
from headrace.ops.shaping import reshape, shape
from headrace.shapes import Dimension, Shape, TensorShape
from headrace.xp import numpy as host

_SMALL = 1000  # elements up to which zeros are written out as a constant


@op("Fill", "dims: index_type, value: T -> output: T", static=(0,), index_type=dtypes.INDICES)
def fill_op(xp: Any, dims: Any, value: Any) -> Any:
    """An array of shape `dims` of the scalar `value`."""
    sizes = tuple(dims.tolist())
    host.check(all(d >= 0 for d in sizes), lambda: f"Dimension {min(sizes)} must be >= 0")
    return xp.full(sizes, value, value.dtype)


@fill_op.def_infer
def _(dims: Spec, value: Spec) -> Shape:
    shapes.with_rank(value.shape, 0)
    return shape_operand(dims)


def fill(dims: Any, value: Any, name: str | None = None) -> Tensor:
    """An array of the shape `dims` in which every element is the scalar `value`."""
    return fill_op(dims, value, name=name)


def zeros(shape: Any, dtype: Any = dtypes.float32, name: str | None = None) -> Tensor:
    """Zeros: False for bool, empty strings for string."""
    return _filled(0, shape, dtype, name, "zeros")


def ones(shape: Any, dtype: Any = dtypes.float32, name: str | None = None) -> Tensor:
    """Ones; True for bool."""
    return _filled(1, shape, dtype, name, "ones")


def _filled(number: int, shape: Any, dtype: Any, name: str | None, default: str) -> Tensor:
    dtype = as_dtype(dtype).base_dtype
    value: Any = b"" if dtype.kind == "S" else bool(number) if dtype.is_bool else number
    values = list(shape) if isinstance(shape, (list, tuple)) else [shape]
    with name_scope(name, default, values) as scope:
        if not isinstance(shape, Tensor):
            sizes = _static_sizes(shape)
            if sizes is None:
                shape = convert_to_tensor(shape, dtypes.int32)
            elif not isinstance(shape, (int, np.integer, Dimension)) and (
                shapes.product(sizes) < _SMALL
            ):
                return constant(np.full(sizes, value, dtype.numpy), dtype, name=scope)
            else:
                shape = convert_to_tensor(TensorShape(sizes))
        if not shape._dims:
            shape = reshape(shape, [-1])  # a scalar stands for a vector of one
        return fill_op(shape, constant(value, dtype), name=scope)


def _static_sizes(shape: Any) -> tuple[int, ...] | None:
    try:
        sizes = shapes.as_shape(shape)
    except (TypeError, ValueError):
        return None
    return sizes if shapes.is_full(sizes) else None  # type: ignore[return-value]


@op("ZerosLike", "x: T -> y: T")
def _zeros_like(xp: Any, x: Any) -> Any:
    return xp.full(x.shape, b"", object) if x.dtype == object else xp.zeros_like(x)


@op("OnesLike", "x: T -> y: T")
def _ones_like(xp: Any, x: Any) -> Any:
    return xp.ones_like(x)


_zeros_like.infer = _ones_like.infer = same_shape
_zeros_like.gradient = _ones_like.gradient = NOT_DIFFERENTIABLE


def zeros_like(
    tensor: Any, dtype: Any = None, name: str | None = None, optimize: bool = True
) -> Tensor:
    """Zeros of the shape, and if not told otherwise the type, of `tensor`."""
    with name_scope(name, "zeros_like", [tensor]) as scope:
        x = convert_to_tensor(tensor, name="tensor")
        dtype = x.dtype.base_dtype if dtype is None else as_dtype(dtype)
        if optimize and shapes.is_full(x._dims):
            return zeros(x.shape, dtype, scope)
        if dtype is not x.dtype.base_dtype:
            return zeros(shape(x, optimize=optimize), dtype, scope)
        return _zeros_like(x, name=scope)


def ones_like(
    tensor: Any, dtype: Any = None, name: str | None = None, optimize: bool = True
) -> Tensor:
    """Ones of the shape, and if not told otherwise the type, of `tensor`."""
    with name_scope(name, "ones_like", [tensor]) as scope:
        x = convert_to_tensor(tensor, name="tensor")
        dtype = x.dtype.base_dtype if dtype is None else as_dtype(dtype)
        if optimize and shapes.is_full(x._dims):
            with name_scope("Shape"):
                sizes = convert_to_tensor(x.shape)
        else:
            sizes = shape(x, optimize=optimize)
        made = ones(sizes, dtype, scope)
        made.set_shape(x._dims)
        return made
