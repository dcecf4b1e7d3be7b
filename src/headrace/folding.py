"""Values known while the graph is built: what shape inference asks of its operands.

A value is found by running an op's own kernel under NumPy. For shapes with unknown sizes the same
kernels run over object arrays in which `UNKNOWN` stands for a size, so that
`tf.stack([tf.shape(x)[0], 3 * k])` keeps what is known of it.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from headrace import shapes
from headrace.dtypes import DType
from headrace.node import Tensor
from headrace.shapes import Shape
from headrace.xp import numpy as xp

_LARGEST = 4096  # elements of an operand or result that folding will touch
_SIZES = 32  # elements that an operand of no known value may have and still be read as sizes
_DEEPEST = 64  # ops between a value and the constants it comes from
_NO_VALUE = object()


class _Unknown:
    """A number that is not known: any arithmetic with it gives it back."""

    __slots__ = ()

    def _absorb(self, *_: Any) -> _Unknown:
        return self

    __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = __neg__ = __abs__ = _absorb
    __floordiv__ = __rfloordiv__ = __mod__ = __rmod__ = __pow__ = __rpow__ = _absorb

    def _refuse(self, *_: Any) -> Any:
        raise TypeError("An unknown size has no value yet.")

    __eq__ = __ne__ = __lt__ = __le__ = __gt__ = __ge__ = _refuse
    __bool__ = __int__ = __index__ = __float__ = _refuse
    __hash__ = object.__hash__

    def __repr__(self) -> str:
        return "?"


UNKNOWN = _Unknown()


class _ShapeOnly:
    """Stands in for an operand of which only the shape matters."""

    def __init__(self, dims: tuple[int | None, ...], dtype: DType):
        self.shape = tuple(UNKNOWN if d is None else d for d in dims)
        self.ndim = len(dims)
        self.dtype = dtype.numpy


class Spec:
    """What is known of an operand when the graph is built: type, shape, and perhaps its value."""

    __slots__ = ("dtype", "shape", "tensor")

    def __init__(self, dtype: DType, shape: Shape, tensor: Tensor | None = None):
        self.dtype = dtype
        self.shape = shape
        self.tensor = tensor

    @property
    def value(self) -> np.ndarray | None:
        """Its value as an array, if that is known now; else None."""
        return None if self.tensor is None else constant_value(self.tensor)

    @property
    def sizes(self) -> Shape:
        """Its value read as a shape: None for what is not known (-1 stays -1)."""
        known = None if self.tensor is None else _fold(self.tensor, 0)
        if known is _NO_VALUE or known is None:
            if self.shape is None or (len(self.shape) == 1 and self.shape[0] is None):
                return None
            shapes.with_rank(self.shape, 1)
            return (None,) * self.shape[0]  # type: ignore[operator]
        flat = np.asarray(known).ravel()
        return tuple(None if v is UNKNOWN else int(v) for v in flat.tolist())


def constant_value(tensor: Tensor, partial: bool = False) -> np.ndarray | None:
    """The value of a tensor if it is the same in every run and cheap to find; else None.

    With `partial`, unknown elements come as None in an object array.
    """
    value = _fold(tensor, 0)
    if value is _NO_VALUE:
        return None
    if value.dtype == object and tensor.dtype.kind != "S":
        if not any(v is UNKNOWN for v in value.ravel().tolist()):
            return value.astype(tensor.dtype.numpy)
        if not partial:
            return None
        return np.array([None if v is UNKNOWN else v for v in value.ravel().tolist()], object)
    return value


def _all_unknown(tensor: Tensor) -> Any:
    """An unknown number per element, so that `tf.stack([n, 3])` keeps the 3 of a fed n."""
    if not tensor.dtype.is_integer or not shapes.is_full(tensor._dims):
        return _NO_VALUE
    if shapes.count(tensor._dims) > _SIZES:  # type: ignore[operator]
        return _NO_VALUE
    return np.full(tensor._dims, UNKNOWN, object)  # type: ignore[arg-type]


def _fold(tensor: Tensor, depth: int) -> Any:
    if tensor._constant is None:
        tensor._constant = _find(tensor, depth)
    return tensor._constant


def _find(tensor: Tensor, depth: int) -> Any:
    op = tensor.op
    definition = op.definition
    if op.type == "Const":
        return op.attrs["value"]
    if definition is None or not definition.foldable or depth > _DEEPEST:
        return _NO_VALUE
    size = shapes.count(tensor._dims)
    if size is not None and size > _LARGEST:
        return _NO_VALUE
    operands = []
    for t in op.inputs:
        if definition.shape_only:
            value: Any = _NO_VALUE if t._dims is None else _ShapeOnly(t._dims, t.dtype)
        else:
            value = _fold(t, depth + 1)
        if value is _NO_VALUE:
            value = _all_unknown(t)
        if value is _NO_VALUE or getattr(value, "size", 0) > _LARGEST:
            return _NO_VALUE
        operands.append(value)
    try:
        results = definition.run(xp, op, operands)
    except Exception:  # whatever the kernel makes of it: the run will tell the user, not the build
        return _NO_VALUE
    partial = any(v.dtype == object for v in operands)
    result = np.asarray(results[tensor.value_index], object if partial else None)
    if result.dtype != tensor.dtype.numpy and result.dtype != object:
        return _NO_VALUE
    return result
