"""From one element type to another: casts, bit casts, and the parts of complex numbers."""

from __future__ import annotations

from typing import Any

import numpy as np

from headrace import dtypes, shapes
from headrace.conversion import convert_to_tensor
from headrace.dtypes import DType, as_dtype
from headrace.errors import UnimplementedError
from headrace.graph import name_scope
from headrace.indexed_slices import IndexedSlices
from headrace.node import Tensor
from headrace.opdef import NOT_DIFFERENTIABLE, REGISTRY, Spec, op, same_shape
from headrace.ops.elementwise import unary
from headrace.ops.operands import is_floating

# -- casts -----------------------------------------------------------------------------------------


@op("Cast", "x: SrcT -> y: DstT")
def _cast(xp: Any, x: Any, *, SrcT: DType, DstT: DType, Truncate: bool = False) -> Any:  # noqa: N803
    if "S" in (SrcT.kind, DstT.kind):
        raise UnimplementedError(
            None, None, f"Cast {SrcT.name} to {DstT.name} is not supported. Use tf.as_string or "
            "tf.string_to_number."
        )  # fmt: skip
    if x.dtype == object:  # sizes of which some are not known: casts between integers keep them
        return x if DstT.is_integer else x.astype(DstT.numpy)
    if DstT.is_bool:
        return x != 0
    if SrcT.is_complex and not DstT.is_complex:
        x = xp.real(x)
    if xp.traced and DstT.is_integer and is_floating(x):
        x = _as_the_processor(xp, x, DstT)
    return x.astype(DstT.numpy)


def _as_the_processor(xp: Any, x: Any, to: DType) -> Any:
    """Integers as an x86 processor makes them of floats, where XLA would saturate.

    What does not fit 32 bits (64 for the large types) becomes the smallest integer; narrower types
    keep the low bits. So a graph gives the same numbers however it is run.
    """
    wide = np.int64 if to.size == 8 or to.name == "uint32" else np.int32
    low = float(np.iinfo(wide).min)
    if x.dtype.itemsize == 2:
        x = x.astype(np.float32)
    return xp.where((x >= low) & (x < -low), x, np.asarray(low, x.dtype)).astype(wide)


_cast.infer = same_shape


@_cast.def_gradient
def _(op: Any, dy: Any) -> Any:
    source = op.inputs[0].dtype.base_dtype
    return cast(dy, source) if source.is_differentiable and dy.dtype.is_differentiable else None


def cast(x: Any, dtype: Any, name: str | None = None) -> Any:
    """The values of x as another type; x itself if it has the type already.

    Floats lose their fraction on the way to integers; of complex numbers the real part is kept.
    """
    wanted = as_dtype(dtype).base_dtype
    if type(x) is Tensor:
        return x if x.dtype is wanted else _cast(x, DstT=wanted, name=name)
    if hasattr(x, "indices") and hasattr(x, "values") and hasattr(x, "dense_shape"):
        values = cast(x.values, wanted, name)
        if isinstance(x, IndexedSlices):
            return type(x)(values, x.indices, x.dense_shape)
        return x if values is x.values else type(x)(x.indices, values, x.dense_shape)
    with name_scope(name, "Cast", [x]) as scope:
        x = convert_to_tensor(x, name="x")
        if x.dtype.base_dtype is wanted:
            return x
        return _cast(x, DstT=wanted, name=scope)


def _to(name: str, wanted: DType) -> Any:
    def to(x: Any, name: str = name) -> Any:
        return cast(x, wanted, name=name)

    to.__name__ = to.__qualname__ = "to_" + name.removeprefix("To").lower()
    to.__doc__ = f"The values of x as {wanted.name}: `tf.cast(x, tf.{wanted.name})`."
    return to


to_float = _to("ToFloat", dtypes.float32)
to_double = _to("ToDouble", dtypes.float64)
to_int32 = _to("ToInt32", dtypes.int32)
to_int64 = _to("ToInt64", dtypes.int64)
to_bfloat16 = _to("ToBFloat16", dtypes.bfloat16)
to_complex64 = _to("ToComplex64", dtypes.complex64)
to_complex128 = _to("ToComplex128", dtypes.complex128)


@op("Bitcast", "input: T -> output: type", T=dtypes.NUMBERS)
def _bitcast(xp: Any, x: Any, *, type: DType) -> Any:
    return xp.bitcast(x, type.numpy)


@_bitcast.def_infer
def _(x: Spec, *, type: DType) -> shapes.Shape:
    if x.shape is None:
        return None
    before, after = x.dtype.size, type.size
    if before == after:
        return x.shape
    if before > after:
        return (*x.shape, before // after)
    ratio = after // before
    if not x.shape or x.shape[-1] not in (None, ratio):
        raise ValueError(
            f"Cannot bitcast from {x.dtype.name} to {type.name}: the last dimension of "
            f"{shapes.brackets(x.shape)} is not {ratio}"
        )
    return x.shape[:-1]


_bitcast.gradient = NOT_DIFFERENTIABLE


def bitcast(input: Any, type: Any, name: str | None = None) -> Tensor:
    """The same bits read as another type: `[..., n]` narrower ones per element, or n for one."""
    return _bitcast(input, type=as_dtype(type), name=name)


# -- complex numbers -------------------------------------------------------------------------------


_PART = "input: T -> output: Tout"
_real = unary("Real", "real", lambda x, y, dy: complex(dy, dy * 0), dtypes.COMPLEX, _PART)
_imag = unary("Imag", "imag", lambda x, y, dy: complex(dy * 0, dy), dtypes.COMPLEX, _PART)
_conj = unary("Conj", "conj", lambda x, y, dy: conj(dy), dtypes.COMPLEX, "input: T -> output: T")


def _size_gradient(z: Any, size: Any, dy: Any) -> Any:
    no_nan = REGISTRY["DivNoNan"]
    return complex(dy, dy * 0) * no_nan(z, complex(size, size * 0))


def _angle_gradient(z: Any, angle: Any, dy: Any) -> Any:
    # of the angle of z = a + ib, by a and b: (-b, a) / |z|²
    a, b = real(z), imag(z)
    size = a * a + b * b
    return complex(-b / size * dy, a / size * dy)


complex_abs = unary("ComplexAbs", "abs", _size_gradient, dtypes.COMPLEX, "x: T -> y: Tout")
complex_angle = unary("Angle", "angle", _angle_gradient, dtypes.COMPLEX, _PART)


@op("Complex", "real: T, imag: T -> out: Tout", T=(dtypes.float32, dtypes.float64))
def _complex(xp: Any, real: Any, imag: Any) -> Any:
    return xp.join_complex(real, imag)


@_complex.def_infer
def _(real: Spec, imag: Spec) -> shapes.Shape:
    return shapes.broadcast(real.shape, imag.shape)


_complex.gradient = lambda op, dz: (real(dz), imag(dz))
_complex.broadcasts = True


def complex(real: Any, imag: Any, name: str | None = None) -> Tensor:
    """real + i·imag, of float32 or float64 parts that broadcast. TypeError for other types."""
    real = convert_to_tensor(real, name="real")
    imag = convert_to_tensor(imag, name="imag")
    kinds = real.dtype.base_dtype, imag.dtype.base_dtype
    made = {dtypes.float32: dtypes.complex64, dtypes.float64: dtypes.complex128}.get(kinds[0])
    if made is None or kinds[0] is not kinds[1]:
        raise TypeError(
            f"The `real` and `imag` components have incorrect types: {kinds[0].name} "
            f"{kinds[1].name}. They must be consistent, and one of [tf.float32, tf.float64]"
        )
    return _complex(real, imag, Tout=made, name=name)


def real(input: Any, name: str | None = None) -> Tensor:
    """The real part; a real tensor is its own."""
    with name_scope(name, "Real", [input]) as scope:
        input = convert_to_tensor(input, name="input")
        if not input.dtype.is_complex:
            return input
        return _real(input, Tout=input.dtype.real_dtype, name=scope)


def imag(input: Any, name: str | None = None) -> Tensor:
    """The imaginary part; zeros for a real tensor."""
    with name_scope(name, "Imag", [input]) as scope:
        input = convert_to_tensor(input, name="input")
        if not input.dtype.is_complex:
            return REGISTRY["ZerosLike"](input, name="zeros_like")
        return _imag(input, Tout=input.dtype.real_dtype, name=scope)


def conj(x: Any, name: str | None = None) -> Tensor:
    """The complex conjugate; a real tensor is its own. TypeError for what is no number."""
    if type(x) is Tensor and x.dtype.kind in "fiu":
        return x
    with name_scope(name, "Conj", [x]) as scope:
        x = convert_to_tensor(x, name="x")
        if x.dtype.is_complex:
            return _conj(x, name=scope)
        if x.dtype.kind in "fiu":
            return x
        raise TypeError(f"Expected numeric or variant tensor, got dtype {x.dtype!r}.")
