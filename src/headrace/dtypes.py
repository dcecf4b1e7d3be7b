"""Element types: TensorFlow's `DType`s, their numbers in a GraphDef, and their NumPy types."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np

_REF_OFFSET = 100  # DT_FLOAT_REF = DT_FLOAT + 100


class DType:
    """An element type; one object each, so that `is` and `==` agree.

    A *ref* type (`float32_ref`) is that of a tensor which stands for a variable itself.
    """

    __slots__ = ("_ref", "as_datatype_enum", "base_dtype", "kind", "name", "numpy")

    def __init__(self, name: str, enum: int, numpy: Any, kind: str, base: DType | None = None):
        self.name = name
        self.as_datatype_enum = enum
        self.numpy: np.dtype = numpy
        self.kind = kind
        self.base_dtype = self if base is None else base
        self._ref: DType | None = None if base is None else self

    @property
    def as_ref(self) -> DType:
        """The ref type of this type (tf.DType._as_ref)."""
        if self._ref is None:
            self._ref = DType(
                self.name + "_ref", self.as_datatype_enum + _REF_OFFSET, self.numpy, self.kind, self
            )
        return self._ref

    _as_ref = as_ref

    @property
    def _is_ref_dtype(self) -> bool:
        return self.base_dtype is not self

    is_ref = _is_ref_dtype

    @property
    def as_numpy_dtype(self) -> Any:
        """The NumPy scalar type, such as `np.float32`; `object` for strings."""
        return self.numpy.type if self.kind not in "SX" else np.object_

    @property
    def real_dtype(self) -> DType:
        """The type of the real part: float32 for complex64, itself for a real type."""
        return {"complex64": float32, "complex128": float64}.get(
            self.base_dtype.name, self.base_dtype
        )

    @property
    def is_floating(self) -> bool:
        """Whether a real floating type (float16, bfloat16, float32, float64)."""
        return self.kind == "f"

    @property
    def is_integer(self) -> bool:
        """Whether an integer type, signed or not; bool is none."""
        return self.kind in "iu"

    @property
    def is_complex(self) -> bool:
        """Whether complex64 or complex128."""
        return self.kind == "c"

    @property
    def is_bool(self) -> bool:
        """Whether bool."""
        return self.kind == "b"

    @property
    def is_unsigned(self) -> bool:
        """Whether an unsigned integer type."""
        return self.kind == "u"

    @property
    def is_numpy_compatible(self) -> bool:
        """Whether NumPy has arrays of it."""
        return self.kind != "X"

    @property
    def is_differentiable(self) -> bool:
        """Whether derivatives flow through tensors of this type: floats and complex numbers."""
        return self.kind in "fc"

    @property
    def size(self) -> int:
        """Bytes an element takes."""
        return 1 if self.kind in "SX" else self.numpy.itemsize

    @property
    def min(self) -> Any:
        """The smallest finite value."""
        return self._limits().min

    @property
    def max(self) -> Any:
        """The largest finite value."""
        return self._limits().max

    def _limits(self) -> Any:
        if self.is_floating:
            return ml_dtypes.finfo(self.numpy)
        if self.is_integer:
            return ml_dtypes.iinfo(self.numpy)
        raise TypeError(f"{self!r} has no smallest or largest value.")

    @property
    def limits(self) -> tuple[Any, Any]:
        """Smallest and largest value of an image of this type: (0, 1) for floats."""
        return (0, 1) if self.is_floating else (self.min, self.max)

    def is_compatible_with(self, other: Any) -> bool:
        """Whether a tensor of `other` may be used where this type is asked for (refs may)."""
        return as_dtype(other).base_dtype is self.base_dtype

    def __eq__(self, other: Any) -> bool:
        if other is None:
            return False
        try:
            return self is as_dtype(other)
        except TypeError:
            return False

    def __ne__(self, other: Any) -> bool:
        return not self == other

    def __hash__(self) -> int:
        return self.as_datatype_enum

    def __int__(self) -> int:
        return self.as_datatype_enum

    def __reduce__(self) -> tuple[Any, ...]:
        return as_dtype, (self.name,)

    def __repr__(self) -> str:
        return "tf." + self.name

    def __str__(self) -> str:
        return f"<dtype: {self.name!r}>"


def _make(name: str, enum: int, numpy: Any, kind: str) -> DType:
    return DType(name, enum, np.dtype(numpy), kind)


float32 = _make("float32", 1, np.float32, "f")
float64 = double = _make("float64", 2, np.float64, "f")
int32 = _make("int32", 3, np.int32, "i")
uint8 = _make("uint8", 4, np.uint8, "u")
int16 = _make("int16", 5, np.int16, "i")
int8 = _make("int8", 6, np.int8, "i")
string = _make("string", 7, np.object_, "S")
complex64 = _make("complex64", 8, np.complex64, "c")
int64 = _make("int64", 9, np.int64, "i")
bool_ = _make("bool", 10, np.bool_, "b")
bfloat16 = _make("bfloat16", 14, ml_dtypes.bfloat16, "f")
uint16 = _make("uint16", 17, np.uint16, "u")
complex128 = _make("complex128", 18, np.complex128, "c")
float16 = half = _make("float16", 19, np.float16, "f")
resource = _make("resource", 20, np.object_, "X")
variant = _make("variant", 21, np.object_, "X")
uint32 = _make("uint32", 22, np.uint32, "u")
uint64 = _make("uint64", 23, np.uint64, "u")

ALL = (
    float32, float64, int32, uint8, int16, int8, string, complex64, int64, bool_, bfloat16,
    uint16, complex128, float16, resource, variant, uint32, uint64,
)  # fmt: skip

# Sets that op signatures name.
FLOATS = (bfloat16, float16, float32, float64)
COMPLEX = (complex64, complex128)
INTS = (int8, int16, int32, int64, uint8, uint16, uint32, uint64)
REALS = FLOATS + INTS
NUMBERS = REALS + COMPLEX
DIFFERENTIABLE = FLOATS + COMPLEX
INDICES = (int32, int64)

_BY_KEY: dict[Any, DType] = {}
for _dtype in ALL:
    _BY_KEY[_dtype.name] = _BY_KEY[_dtype.as_datatype_enum] = _dtype
    _BY_KEY[_dtype.name + "_ref"] = _BY_KEY[_dtype.as_datatype_enum + _REF_OFFSET] = _dtype.as_ref
    if _dtype.kind not in "SX":
        _BY_KEY[_dtype.numpy] = _BY_KEY[_dtype.numpy.type] = _dtype
_BY_KEY |= {
    "float": float32, "double": float64, "half": float16, float: float32, bool: bool_, str: string,
    bytes: string, object: string, np.object_: string, np.dtype(object): string,
}  # fmt: skip


def as_dtype(value: Any) -> DType:
    """The `DType` that `value` names: a DType, name, enum number, NumPy or Python type.

    TypeError if it names none.
    """
    if isinstance(value, DType):
        return value
    try:
        found = _BY_KEY.get(value)
    except TypeError:
        found = None
    if found is not None:
        return found
    try:
        numpy = np.dtype(value).newbyteorder("=")
    except (TypeError, ValueError):
        numpy = None
    if numpy is not None and value is not None:
        if numpy.kind in "SU":
            return string
        if numpy in _BY_KEY:
            return _BY_KEY[numpy]
    raise TypeError(f"Cannot convert value {value!r} to a TensorFlow DType.")
