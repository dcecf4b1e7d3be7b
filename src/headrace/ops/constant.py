"""Where values enter a graph: constants, placeholders, and the conversion of Python values."""

from __future__ import annotations

from typing import Any

import numpy as np

from headrace import shapes
from headrace.conversion import register_tensor_conversion_function
from headrace.dtypes import DType, as_dtype, int32, int64
from headrace.node import Tensor
from headrace.opdef import NOT_DIFFERENTIABLE, Spec, op
from headrace.shapes import Dimension, TensorShape, as_shape

_INT32 = np.iinfo(np.int32)


@op("Const", "-> output: dtype")
def _const(xp: Any, *, value: Any) -> Any:
    return value


@_const.def_infer
def _(*, value: np.ndarray) -> shapes.Shape:
    return value.shape


@op("Placeholder", "-> output: dtype", pure=False, must_feed=True)
def _placeholder(xp: Any, *, shape: Any) -> Any:
    raise AssertionError("A placeholder is fed, not run.")


@_placeholder.def_infer
def _(*, shape: TensorShape) -> shapes.Shape:
    return shape._dims


@op("PlaceholderWithDefault", "input: dtype -> output: dtype", pure=False)
def _placeholder_with_default(xp: Any, x: Any, *, shape: Any) -> Any:
    return x


@_placeholder_with_default.def_infer
def _(x: Spec, *, shape: TensorShape) -> shapes.Shape:
    shapes.merge(x.shape, shape._dims)
    return shape._dims


@_placeholder_with_default.def_gradient
def _(op: Any, dy: Any) -> Any:
    return dy


_const.gradient = _placeholder.gradient = NOT_DIFFERENTIABLE


def constant(
    value: Any,
    dtype: Any = None,
    shape: Any = None,
    name: str = "Const",
    verify_shape: bool = False,
) -> Tensor:
    """A tensor that is the same in every run.

    Python floats become float32, ints int32 (int64 if too large); NumPy arrays keep their type.
    A `shape` larger than the value repeats its last element.
    """
    array = as_array(value, None if dtype is None else as_dtype(dtype))
    if shape is not None:
        array = _fit(array, as_shape(shape), verify_shape)
    return _const(value=array, dtype=as_dtype(array.dtype), name=name)


def _fit(array: np.ndarray, shape: shapes.Shape, verify: bool) -> np.ndarray:
    if not shapes.is_full(shape):
        raise ValueError(f"A constant's shape must be fully known, not {shapes.show(shape)}.")
    if verify and array.shape != shape:
        raise TypeError(
            f"Expected Tensor's shape: {shapes.show(shape)}, got {shapes.show(array.shape)}."
        )
    size = shapes.product(shape)
    if array.size > size:
        raise ValueError(
            f"Too many elements provided. Needed at most {size}, but received {array.size}"
        )
    if array.size < size:
        if not array.size:
            raise ValueError("Cannot fill a constant's shape from an empty value.")
        flat = array.ravel()
        array = np.concatenate([flat, np.repeat(flat[-1:], size - array.size)])
    return array.reshape(shape)


def as_array(value: Any, dtype: DType | None) -> np.ndarray:
    """The array of a constant: TensorFlow's rules for Python numbers, strings and lists.

    TypeError where the value does not suit the type asked for, ValueError for ragged lists.
    """
    if isinstance(value, (np.ndarray, np.generic)):
        array = np.asarray(value)
        if dtype is not None and array.dtype != dtype.numpy:
            if dtype.kind == "S" and array.dtype.kind in "iufb":
                raise TypeError(f"Cannot convert {array.dtype} values to a string constant.")
            array = array.astype(dtype.numpy)
        elif array.dtype.kind in "US":
            array = strings(array)
        else:
            array = array.astype(as_dtype(array.dtype).numpy)  # a copy: the user may change his
        as_dtype(array.dtype)
        return array
    if isinstance(value, TensorShape):
        value = value.as_list()
        if None in value:
            raise ValueError(f"Cannot convert a partially known TensorShape {value} to a Tensor.")
        return np.array(value, (dtype or int32).numpy)
    if isinstance(value, Dimension):
        value = int(value)
    try:
        array = np.array(value)
    except ValueError as error:
        raise ValueError(
            f"Can't convert non-rectangular Python sequence to Tensor: {error}"
        ) from None
    kind = array.dtype.kind
    if kind in "US" or (kind == "O" and array.size and isinstance(array.flat[0], (str, bytes))):
        if dtype is not None and dtype.kind != "S":
            raise TypeError(f"Expected {dtype.name}, but got {value!r} of type 'str'.")
        return strings(value)
    if kind == "O":
        if value is None:
            raise ValueError("None values not supported.")
        if dtype is not None and all(
            isinstance(v, (Dimension, int, np.integer)) for v in array.ravel().tolist()
        ):
            return np.array([int(v) for v in array.ravel().tolist()], dtype.numpy).reshape(
                array.shape
            )
        if array.size and all(
            isinstance(v, (Dimension, int, np.integer)) for v in array.ravel().tolist()
        ):
            flat = [int(v) for v in array.ravel().tolist()]
            return np.array(flat, np.int64 if max(flat) > _INT32.max else np.int32).reshape(
                array.shape
            )
        raise TypeError(
            f"Failed to convert elements of {value!r} to Tensor. Consider casting elements to a "
            "supported type."
        )
    if dtype is None:
        if kind == "f" and array.dtype == np.float64:
            return array.astype(np.float32)
        if kind == "i" and array.dtype == np.int64 and _fits_int32(array):
            return array.astype(np.int32)
        as_dtype(array.dtype)
        return array
    _refuse_lossy(value, array, dtype)
    return array.astype(dtype.numpy)


def _fits_int32(array: np.ndarray) -> bool:
    return not array.size or (array.min() >= _INT32.min and array.max() <= _INT32.max)


def _refuse_lossy(value: Any, array: np.ndarray, dtype: DType) -> None:
    kind = array.dtype.kind
    wrong = (
        (dtype.kind == "S" and array.size)
        or (dtype.is_integer and kind in "fcb" and array.size)
        or (dtype.is_bool and kind != "b" and array.size)
        or (dtype.is_floating and kind in "cb" and array.size)
        or (dtype.is_complex and kind == "b" and array.size)
    )
    if wrong:
        sample = array.ravel()[0].item()
        raise TypeError(
            f"Expected {dtype.name}, but got {sample!r} of type '{type(sample).__name__}'."
        )
    if dtype.is_integer and kind in "iu" and array.size:
        limits = np.iinfo(dtype.numpy)
        if array.min() < limits.min or array.max() > limits.max:
            raise ValueError(
                f"Value {value!r} does not fit {dtype.name} ([{limits.min}, {limits.max}])."
            )


def strings(value: Any) -> np.ndarray:
    """The texts of a list or an array as an array of bytes, which are its objects."""
    array = np.array(value, object)
    flat = [v.encode() if isinstance(v, str) else v for v in array.ravel().tolist()]
    out = np.empty(len(flat), object)
    out[:] = flat
    return out.reshape(array.shape)


def placeholder(dtype: Any, shape: Any = None, name: str | None = None) -> Tensor:
    """A tensor to be fed at every run that needs it; sizes None (or a shape None) are open."""
    return _placeholder(dtype=as_dtype(dtype), shape=TensorShape(shape), name=name)


def placeholder_with_default(input: Any, shape: Any, name: str | None = None) -> Tensor:
    """A tensor that is `input` unless it is fed."""
    return _placeholder_with_default(input, shape=TensorShape(shape), name=name)


def _convert_array(
    value: Any, dtype: Any = None, name: str | None = None, as_ref: bool = False
) -> Any:
    return constant(value, dtype, name=name or "Const")


def _convert_shape(
    value: Any, dtype: Any = None, name: str | None = None, as_ref: bool = False
) -> Any:
    sizes = as_shape(value)
    if sizes is None or None in sizes:
        raise ValueError(f"Cannot convert a partially known TensorShape {value} to a Tensor.")
    if dtype is None:
        dtype = int64 if any(d > _INT32.max for d in sizes if d) else int32
    elif dtype not in (int32, int64):
        raise TypeError(
            f"Cannot convert a TensorShape to dtype {dtype.name}: it is a list of ints."
        )
    return constant(np.array(sizes, dtype.numpy), dtype, name=name or "shape_as_tensor")


def _convert_dimension(
    value: Any, dtype: Any = None, name: str | None = None, as_ref: bool = False
) -> Any:
    if value.value is None:
        raise ValueError("Cannot convert unknown Dimension to a Tensor")
    return constant(value.value, dtype or int32, name=name or "shape_as_tensor")


register_tensor_conversion_function(TensorShape, _convert_shape, 90)
register_tensor_conversion_function(Dimension, _convert_dimension, 90)
register_tensor_conversion_function(object, _convert_array, 200)
