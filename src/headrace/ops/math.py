"""Elementwise arithmetic, comparison and logic, and the operators of `Tensor`.

Casts and complex numbers are in `cast.py`, bits in `bitwise.py`, erf and its like in `special.py`.
"""

from __future__ import annotations

from typing import Any

from headrace import dtypes, shapes
from headrace.conversion import convert_to_tensor
from headrace.folding import UNKNOWN
from headrace.graph import name_scope
from headrace.node import Tensor
from headrace.opdef import NOT_DIFFERENTIABLE, REGISTRY, OpDef, op
from headrace.ops import bitwise
from headrace.ops.cast import cast, complex_abs, conj
from headrace.ops.cast import imag as imag
from headrace.ops.cast import real as real
from headrace.ops.curves import acos as acos
from headrace.ops.curves import acosh as acosh
from headrace.ops.curves import asin as asin
from headrace.ops.curves import asinh as asinh
from headrace.ops.curves import atan as atan
from headrace.ops.curves import atanh as atanh
from headrace.ops.curves import cos as cos
from headrace.ops.curves import cosh as cosh
from headrace.ops.curves import exp as exp
from headrace.ops.curves import expm1 as expm1
from headrace.ops.curves import log as log
from headrace.ops.curves import log1p as log1p
from headrace.ops.curves import reciprocal as reciprocal
from headrace.ops.curves import rsqrt as rsqrt
from headrace.ops.curves import sigmoid as sigmoid
from headrace.ops.curves import sin as sin
from headrace.ops.curves import sinh as sinh
from headrace.ops.curves import sqrt as sqrt
from headrace.ops.curves import tan as tan
from headrace.ops.curves import tanh as tanh
from headrace.ops.elementwise import SIGNED, binary, compare, function, unary
from headrace.ops.operands import demand, is_floating
from headrace.ops.sums import accumulate_n as accumulate_n
from headrace.ops.sums import add_n as add_n

_CURVED = dtypes.DIFFERENTIABLE

# -- arithmetic ------------------------------------------------------------------------------------


def _whole(xp: Any, y: Any) -> None:
    demand(xp, y != 0, "Integer division by zero")


def _floor_div_kernel(xp: Any, x: Any, y: Any) -> Any:
    if is_floating(x):
        return xp.floor(x / y)
    _whole(xp, y)
    return xp.floor_divide(x, y)


def _floor_mod_kernel(xp: Any, x: Any, y: Any) -> Any:
    if not is_floating(x):
        _whole(xp, y)
    return xp.mod(x, y)


def _truncate_div_kernel(xp: Any, x: Any, y: Any) -> Any:
    if is_floating(x):
        return xp.trunc(x / y)
    _whole(xp, y)
    q = xp.floor_divide(x, y)
    return q if x.dtype.kind == "u" else q + (((x < 0) != (y < 0)) & (q * y != x)).astype(q.dtype)


def _truncate_mod_kernel(xp: Any, x: Any, y: Any) -> Any:
    if is_floating(x) and x.dtype.itemsize == 2:
        return xp.fmod(x.astype("float32"), y.astype("float32")).astype(x.dtype)
    if not is_floating(x):
        _whole(xp, y)
    return xp.fmod(x, y)


def _div_no_nan_kernel(xp: Any, x: Any, y: Any) -> Any:
    zero = y == 0
    return xp.where(zero, xp.zeros_like(x), x / xp.where(zero, xp.ones_like(y), y))


def _mul_no_nan_kernel(xp: Any, x: Any, y: Any) -> Any:
    return xp.where(y == 0, xp.zeros_like(x), x * y)


def _pow_kernel(xp: Any, x: Any, y: Any) -> Any:
    if x.dtype.kind == "i":
        demand(xp, y >= 0, "Integers to negative integer powers are not allowed")
    return xp.power(x, y)


def _squared_difference_kernel(xp: Any, x: Any, y: Any) -> Any:
    d = x - y
    return xp.real(d * xp.conj(d)).astype(d.dtype) if d.dtype.kind == "c" else d * d


def _quotient_gradient(x: Any, y: Any, z: Any, dz: Any) -> Any:
    dx = dz / conj(y)
    return dx, -dx * conj(z)


def _power_gradient(x: Any, y: Any, z: Any, dz: Any) -> Any:
    # log x counts only where x > 0 (x ≠ 0 if complex); elsewhere it is replaced by log 1
    off = cast(equal(x, 0) if x.dtype.is_complex else x <= 0, x.dtype)
    inside = x + off * (1 - x)
    return dz * conj(y * x ** (y - 1)), dz * conj(z * log(inside))


def _extreme(chosen: Any) -> Any:
    """The gradient goes to the operand that was chosen, and to x where they are equal."""

    def gradient(x: Any, y: Any, z: Any, dz: Any) -> Any:
        mask = cast(chosen(x, y), dz.dtype)
        return _mul_no_nan(dz, mask), _mul_no_nan(dz, 1 - mask)

    return gradient


def _truncated_rest_gradient(x: Any, y: Any, z: Any, dz: Any) -> Any:
    return dz, -dz * truncatediv(x, y)


def _difference_gradient(x: Any, y: Any, z: Any, dz: Any) -> Any:
    dx = 2 * dz * (x - y)
    return dx, -dx


_add = binary("AddV2", "add", lambda x, y, z, dz: (dz, dz))
_sub = binary("Sub", "subtract", lambda x, y, z, dz: (dz, -dz))
_mul = binary("Mul", "multiply", lambda x, y, z, dz: (dz * conj(y), dz * conj(x)))
_real_div = binary("RealDiv", "divide", _quotient_gradient, _CURVED)
_floor_div = binary("FloorDiv", _floor_div_kernel, NOT_DIFFERENTIABLE, dtypes.REALS)
_truncate_div = binary("TruncateDiv", _truncate_div_kernel, NOT_DIFFERENTIABLE, dtypes.REALS)
_floor_mod = binary(
    "FloorMod", _floor_mod_kernel, lambda x, y, z, dz: (dz, -dz * floordiv(x, y)), dtypes.REALS
)
_truncate_mod = binary(
    "TruncateMod",
    _truncate_mod_kernel,
    _truncated_rest_gradient,
    dtypes.REALS,
)
_div_no_nan = binary(
    "DivNoNan",
    _div_no_nan_kernel,
    lambda x, y, z, dz: (_div_no_nan(dz, conj(y)), dz * conj(_div_no_nan(-z, y))),
    _CURVED,
)
_mul_no_nan = binary(
    "MulNoNan",
    _mul_no_nan_kernel,
    lambda x, y, z, dz: (_mul_no_nan(dz, conj(y)), _mul_no_nan(conj(x), dz)),
    _CURVED,
)
_pow = binary("Pow", _pow_kernel, _power_gradient, (*SIGNED, *dtypes.COMPLEX))
_maximum = binary("Maximum", "maximum", _extreme(lambda x, y: x >= y), dtypes.REALS)
_minimum = binary("Minimum", "minimum", _extreme(lambda x, y: x <= y), dtypes.REALS)
_squared_difference = binary(
    "SquaredDifference", _squared_difference_kernel, _difference_gradient,
)  # fmt: skip
_atan2 = binary(
    "Atan2",
    "arctan2",
    lambda y, x, z, dz: (x * dz / (x * x + y * y), -y * dz / (x * x + y * y)),
    dtypes.FLOATS,
    "y: T, x: T -> z: T",
)
# What only graphs from elsewhere hold: the first TensorFlow's Add (that of strings too), Div, Mod.
_add_v1 = binary(
    "Add", "add", lambda x, y, z, dz: (dz, dz), (*dtypes.NUMBERS, dtypes.string)
)  # fmt: skip
_div_v1 = binary(
    "Div",
    lambda xp, x, y: _truncate_div_kernel(xp, x, y) if x.dtype.kind in "iu" else x / y,
    _quotient_gradient,
)
_mod_v1 = binary("Mod", _truncate_mod_kernel, _truncated_rest_gradient, dtypes.REALS)

# -- functions of one number -----------------------------------------------------------------------


def _round_kernel(xp: Any, x: Any) -> Any:
    return xp.rint(x) if is_floating(x) else x


_flat: Any = NOT_DIFFERENTIABLE
_neg = unary("Neg", "negative", lambda x, y, dy: -dy, (*SIGNED, *dtypes.COMPLEX))
_abs = unary("Abs", "abs", lambda x, y, dy: dy * sign(x), SIGNED)
_sign = unary("Sign", "sign", lambda x, y, dy: REGISTRY["ZerosLike"](x), (*SIGNED, *dtypes.COMPLEX))
_square = unary("Square", "square", lambda x, y, dy: dy * (2 * conj(x)))
_floor = unary("Floor", "floor", _flat, dtypes.FLOATS)
_ceil = unary("Ceil", "ceil", _flat, dtypes.FLOATS)
_round = unary("Round", _round_kernel, _flat, SIGNED)
_rint = unary("Rint", "rint", _flat, dtypes.FLOATS)

# -- comparison and logic --------------------------------------------------------------------------

_less = compare("Less", "less")
_less_equal = compare("LessEqual", "less_equal")
_greater = compare("Greater", "greater")
_greater_equal = compare("GreaterEqual", "greater_equal")
_is_nan, _is_inf, _is_finite = (
    unary(name, kernel, NOT_DIFFERENTIABLE, dtypes.FLOATS, "x: T -> y: bool")
    for name, kernel in (("IsNan", "isnan"), ("IsInf", "isinf"), ("IsFinite", "isfinite"))
)
_BOOLS = "x: bool, y: bool -> z: bool"
_logical_and = binary("LogicalAnd", "logical_and", NOT_DIFFERENTIABLE, (), _BOOLS)
_logical_or = binary("LogicalOr", "logical_or", NOT_DIFFERENTIABLE, (), _BOOLS)
_logical_not = unary("LogicalNot", "logical_not", NOT_DIFFERENTIABLE, (), "x: bool -> y: bool")


def _equality(name: str, kernel: str) -> OpDef:
    def run(xp: Any, x: Any, y: Any, *, incompatible_shape_error: bool = True) -> Any:
        if x.dtype == object and any(v is UNKNOWN for v in (*x.flat, *y.flat)):
            raise TypeError("Whether an unknown size equals another is not known.")
        return getattr(xp, kernel)(x, y)

    made = op(name, "x: T, y: T -> z: bool")(run)
    made.def_infer(lambda x, y, *, incompatible_shape_error: shapes.broadcast(x.shape, y.shape))
    made.gradient = NOT_DIFFERENTIABLE
    return made


_equal = _equality("Equal", "equal")
_not_equal = _equality("NotEqual", "not_equal")

# -- the public functions --------------------------------------------------------------------------

subtract = function(_sub, "subtract", "x − y.")
multiply = function(_mul, "multiply", "x · y, element by element.")
realdiv = function(_real_div, "realdiv", "x / y of floating or complex numbers.")
floor_div = function(_floor_div, "floor_div", "⌊x / y⌋.")
truncatediv = function(_truncate_div, "truncatediv", "x / y rounded towards zero.")
floormod = mod = function(_floor_mod, "floormod", "x − y⌊x / y⌋: of the sign of y.")
truncatemod = function(_truncate_mod, "truncatemod", "The rest of `truncatediv`: of the sign of x.")
div_no_nan = function(_div_no_nan, "div_no_nan", "x / y, and 0 where y is 0.", "div_no_nan")
multiply_no_nan = function(
    _mul_no_nan, "multiply_no_nan", "x · y, and 0 where y is 0 whatever x is.", "multiply_no_nan"
)
pow = function(_pow, "pow", "x to the power y. Integers refuse negative powers when run.")
maximum = function(_maximum, "maximum", "The greater of x and y.")
minimum = function(_minimum, "minimum", "The smaller of x and y.")
squared_difference = function(_squared_difference, "squared_difference", "(x − y)².")

negative = function(_neg, "negative", "−x.")
square = function(_square, "square", "x².")
floor = function(_floor, "floor", "The largest whole number that is not greater than x.")
ceil = function(_ceil, "ceil", "The smallest whole number that is not less than x.")
rint = function(_rint, "rint", "The whole number nearest to x, the even one of two.")

less = function(_less, "less", "Whether x < y.")
less_equal = function(_less_equal, "less_equal", "Whether x ≤ y.")
greater = function(_greater, "greater", "Whether x > y.")
greater_equal = function(_greater_equal, "greater_equal", "Whether x ≥ y.")
equal = function(_equal, "equal", "Whether x = y, element by element.")
not_equal = function(_not_equal, "not_equal", "Whether x ≠ y, element by element.")
is_nan = function(_is_nan, "is_nan", "Whether x is not a number.")
is_inf = function(_is_inf, "is_inf", "Whether x is infinite.")
is_finite = function(_is_finite, "is_finite", "Whether x is neither infinite nor NaN.")
logical_and = function(_logical_and, "logical_and", "Whether both x and y.")
logical_or = function(_logical_or, "logical_or", "Whether x or y.")
logical_not = function(_logical_not, "logical_not", "Whether not x.")


def add(x: Any, y: Any, name: str | None = None) -> Tensor:
    """x + y; strings are joined."""
    return _sum_of(x, y)(x, y, name=name or "Add")


def _sum_of(x: Any, y: Any) -> OpDef:
    kind = getattr(x, "dtype", None) or getattr(y, "dtype", None)
    return _add_v1 if isinstance(kind, dtypes.DType) and kind.kind == "S" else _add


def atan2(y: Any, x: Any, name: str | None = None) -> Tensor:
    """The angle of the point (x, y), in (−π, π]."""
    return _atan2(y, x, name=name)


def abs(x: Any, name: str | None = None) -> Tensor:
    """|x|: of a complex number its size, as a real number."""
    with name_scope(name, "Abs", [x]) as scope:
        x = convert_to_tensor(x, name="x")
        if x.dtype.is_complex:
            return complex_abs(x, Tout=x.dtype.real_dtype, name=scope)
        return _abs(x, name=scope)


def sign(x: Any, name: str | None = None) -> Tensor:
    """−1, 0 or 1 as x is negative, zero or positive; of a complex number z / |z|."""
    x = convert_to_tensor(x, name="x")
    if x.dtype.is_complex:
        size = complex_abs(x, Tout=x.dtype.real_dtype)
        return _div_no_nan(x, cast(size, x.dtype), name=name)
    return _sign(x, name=name)


def round(x: Any, name: str | None = None) -> Tensor:
    """The whole number nearest to x, the even one of two; an integer tensor is its own."""
    x = convert_to_tensor(x, name="x")
    return x if x.dtype.is_integer else _round(x, name=name)


def reciprocal_no_nan(x: Any, name: str | None = None) -> Tensor:
    """1 / x, and 0 where x is 0."""
    with name_scope(name, "reciprocal_no_nan", [x]) as scope:
        x = convert_to_tensor(x, name="x")
        one = convert_to_tensor(1, x.dtype.base_dtype, name="one")
        return _div_no_nan(one, x, name=scope)


def logical_xor(x: Any, y: Any, name: str | None = "LogicalXor") -> Tensor:
    """Whether one of x and y, and not both."""
    either, both = logical_or(x, y), logical_and(x, y)
    return logical_and(either, logical_not(both), name=name)


# -- division as Python means it -------------------------------------------------------------------

_TRUE_QUOTIENT = dict.fromkeys((dtypes.int8, dtypes.int16, dtypes.uint8, dtypes.uint16),
                               dtypes.float32)  # fmt: skip
_TRUE_QUOTIENT |= dict.fromkeys((dtypes.int32, dtypes.int64, dtypes.uint32, dtypes.uint64),
                                dtypes.float64)  # fmt: skip


def truediv(x: Any, y: Any, name: str | None = None) -> Tensor:
    """x / y as Python 3 divides: integers become float64 (those of 8 or 16 bits float32).

    TypeError if the types differ.
    """
    name = name or "truediv"
    if type(x) is Tensor and x.dtype.is_differentiable and not isinstance(y, Tensor):
        return _real_div(x, y, name=name)
    with name_scope(name, values=[x, y]) as scope:
        x, y = _alike(x, y)
        if x.dtype.base_dtype is not y.dtype.base_dtype:
            raise TypeError(
                f"`x` and `y` must have the same dtype, got {x.dtype!r} != {y.dtype!r}."
            )
        wider = _TRUE_QUOTIENT.get(x.dtype.base_dtype)
        if wider is not None:
            x, y = cast(x, wider), cast(y, wider)
        return _real_div(x, y, name=scope)


def _alike(x: Any, y: Any) -> tuple[Tensor, Tensor]:
    """The two as tensors, a Python number as the type of the tensor beside it."""
    hint = getattr(y, "dtype", None)
    if not isinstance(hint, dtypes.DType):
        hint = None
    x = convert_to_tensor(x, name="x", dtype_hint=None if hint is None else hint.base_dtype)
    return x, convert_to_tensor(y, name="y", dtype_hint=x.dtype.base_dtype)


def div(x: Any, y: Any, name: str | None = None) -> Tensor:
    """x / y as Python 2 divides: ⌊x / y⌋ for integers."""
    with name_scope(name, "div", [x, y]) as scope:
        x, y = _alike(x, y)
        by = _floor_div if x.dtype.is_integer else _real_div
        return by(x, y, name=scope)


def divide(x: Any, y: Any, name: str | None = None) -> Tensor:
    """x / y as Python 3 divides."""
    if name is None and not isinstance(x, Tensor) and not isinstance(y, Tensor):
        x = convert_to_tensor(x)
    return truediv(x, y, name)


def floordiv(x: Any, y: Any, name: str | None = None) -> Tensor:
    """⌊x / y⌋, as Python's // gives."""
    return _floor_div(x, y, name=name or "floordiv")


# -- scaling ---------------------------------------------------------------------------------------


def scalar_mul(scalar: Any, x: Any, name: str | None = None) -> Any:
    """A number times x, which may be IndexedSlices. ValueError if `scalar` is no scalar."""
    scalar = convert_to_tensor(scalar, x.dtype.base_dtype, name="scalar")
    if scalar._dims is not None and scalar._dims != ():
        raise ValueError(
            f"The input scalar must be a 0-D value. Received shape {shapes.show(scalar._dims)}."
        )
    if hasattr(x, "indices") and hasattr(x, "dense_shape"):
        return type(x)(_mul(scalar, x.values, name=name), x.indices, x.dense_shape)
    return _mul(scalar, x, name=name)


# -- the operators of Tensor -----------------------------------------------------------------------


def _operator(symbol: str, calculate: Any, name: str) -> None:
    def forward(x: Any, y: Any) -> Any:
        return calculate(x, y, name=name)

    def reverse(y: Any, x: Any) -> Any:
        return calculate(x, y, name=name)

    setattr(Tensor, f"__{symbol}__", forward)
    setattr(Tensor, f"__r{symbol}__", reverse)


def _of_bits_or_bools(on_bools: Any, on_bits: Any) -> Any:
    def calculate(x: Any, y: Any, name: str) -> Any:
        kind = x.dtype if isinstance(x, Tensor) else y.dtype
        if kind.is_bool and on_bools is not logical_xor:
            return on_bools(x, y, name=name)
        with name_scope(name, values=[x, y]) as scope:
            if not kind.is_bool:
                return on_bits(x, y)
            return logical_xor(*_alike(x, y), name=scope)

    return calculate


def _joined(x: Any, y: Any, name: str) -> Tensor:
    return _sum_of(x, y)(x, y, name=name)


for _row in (
    ("add", _joined, "add"),
    ("sub", _sub, "sub"),
    ("mul", _mul, "mul"),
    ("truediv", truediv, "truediv"),
    ("div", div, "div"),
    ("floordiv", _floor_div, "floordiv"),
    ("mod", _floor_mod, "mod"),
    ("pow", _pow, "pow"),
    ("and", _of_bits_or_bools(logical_and, bitwise.bitwise_and), "and"),
    ("or", _of_bits_or_bools(logical_or, bitwise.bitwise_or), "or"),
    ("xor", _of_bits_or_bools(logical_xor, bitwise.bitwise_xor), "xor"),
):
    _operator(*_row)

for _symbol, _calculate in (
    ("neg", negative),
    ("abs", abs),
    ("lt", less),
    ("le", less_equal),
    ("gt", greater),
    ("ge", greater_equal),
):
    # a new function each, so that `self` binds and no `name` can be given
    setattr(Tensor, f"__{_symbol}__", (lambda f: lambda *operands: f(*operands))(_calculate))
Tensor.__invert__ = lambda x: logical_not(x) if x.dtype.is_bool else bitwise.invert(x)  # type: ignore[attr-defined]
