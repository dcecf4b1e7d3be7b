"""Functions of one number that have a derivative everywhere: roots, exponentials, angles, sigmoid.

The rules use the operators of `Tensor`, which `math.py` installs.
"""

from __future__ import annotations

from typing import Any

from headrace import dtypes
from headrace.ops.cast import conj
from headrace.ops.elementwise import function, slope, unary

_CURVED = dtypes.DIFFERENTIABLE

# -- derivatives that the result gives -------------------------------------------------------------

_tanh_grad = slope(
    "TanhGrad",
    lambda xp, y, dy: dy * (1 - y * y),
    lambda y, dy, dx, g: (-2 * g * conj(dy * y), _tanh_grad(conj(y), g)),
)
_sigmoid_grad = slope(
    "SigmoidGrad",
    lambda xp, y, dy: dy * y * (1 - y),
    lambda y, dy, dx, g: (g * conj(dy) * (1 - 2 * conj(y)), _sigmoid_grad(conj(y), g)),
)
_sqrt_grad = slope(
    "SqrtGrad",
    lambda xp, y, dy: 0.5 * dy / xp.conj(y) if y.dtype.kind == "c" else 0.5 * dy / y,
    lambda y, dy, dx, g: (-conj(g / y) * dx, _sqrt_grad(conj(y), g)),
)
_rsqrt_grad = slope(
    "RsqrtGrad",
    lambda xp, y, dy: -0.5 * dy * (xp.conj(y) if y.dtype.kind == "c" else y) ** 3,
    lambda y, dy, dx, g: (-1.5 * conj(g) * dy * conj(y * y), _rsqrt_grad(conj(y), g)),
)
_reciprocal_grad = slope(
    "ReciprocalGrad",
    lambda xp, y, dy: -dy * (xp.conj(y) if y.dtype.kind == "c" else y) ** 2,
    lambda y, dy, dx, g: (-2 * conj(g) * dy * conj(y), _reciprocal_grad(conj(y), g)),
)

# -- the functions -------------------------------------------------------------------------------


def _sigmoid_kernel(xp: Any, x: Any) -> Any:
    return 1 / (1 + xp.exp(-x))


def _reciprocal_kernel(xp: Any, x: Any) -> Any:
    return 1 / x


def _rsqrt_kernel(xp: Any, x: Any) -> Any:
    return 1 / xp.sqrt(x)


_sqrt = unary("Sqrt", "sqrt", lambda x, y, dy: _sqrt_grad(y, dy), _CURVED)
_rsqrt = unary("Rsqrt", _rsqrt_kernel, lambda x, y, dy: _rsqrt_grad(y, dy), _CURVED)
_reciprocal, _inv = (
    unary(name, _reciprocal_kernel, lambda x, y, dy: _reciprocal_grad(y, dy), _CURVED)
    for name in ("Reciprocal", "Inv")
)
_exp = unary("Exp", "exp", lambda x, y, dy: dy * conj(y), _CURVED)
_expm1 = unary("Expm1", "expm1", lambda x, y, dy: dy * conj(y + 1), _CURVED)
_log = unary("Log", "log", lambda x, y, dy: dy / conj(x), _CURVED)
_log1p = unary("Log1p", "log1p", lambda x, y, dy: dy / conj(1 + x), _CURVED)
_sin = unary("Sin", "sin", lambda x, y, dy: dy * conj(cos(x)), _CURVED)
_cos = unary("Cos", "cos", lambda x, y, dy: -dy * conj(sin(x)), _CURVED)
_tan = unary("Tan", "tan", lambda x, y, dy: dy * conj(1 + y * y), _CURVED)
_asin = unary("Asin", "arcsin", lambda x, y, dy: dy * conj(rsqrt(1 - x * x)), _CURVED)
_acos = unary("Acos", "arccos", lambda x, y, dy: -dy * conj(rsqrt(1 - x * x)), _CURVED)
_atan = unary("Atan", "arctan", lambda x, y, dy: dy / conj(1 + x * x), _CURVED)
_sinh = unary("Sinh", "sinh", lambda x, y, dy: dy * conj(cosh(x)), _CURVED)
_cosh = unary("Cosh", "cosh", lambda x, y, dy: dy * conj(sinh(x)), _CURVED)
_tanh = unary("Tanh", "tanh", lambda x, y, dy: _tanh_grad(conj(y), dy), _CURVED)
_asinh = unary("Asinh", "arcsinh", lambda x, y, dy: dy / conj(cosh(y)), _CURVED)
_acosh = unary("Acosh", "arccosh", lambda x, y, dy: dy / conj(sinh(y)), _CURVED)
_atanh = unary("Atanh", "arctanh", lambda x, y, dy: dy / conj(1 - x * x), _CURVED)
_sigmoid = unary("Sigmoid", _sigmoid_kernel, lambda x, y, dy: _sigmoid_grad(conj(y), dy), _CURVED)

sqrt = function(_sqrt, "sqrt", "√x.")
rsqrt = function(_rsqrt, "rsqrt", "1 / √x.")
reciprocal = function(_reciprocal, "reciprocal", "1 / x.")
exp = function(_exp, "exp", "e to the power x.")
expm1 = function(_expm1, "expm1", "eˣ − 1, exact near 0.")
log = function(_log, "log", "The natural logarithm of x.")
log1p = function(_log1p, "log1p", "log(1 + x), exact near 0.")
sin = function(_sin, "sin", "The sine of x, in radians.")
cos = function(_cos, "cos", "The cosine of x, in radians.")
tan = function(_tan, "tan", "The tangent of x, in radians.")
asin = function(_asin, "asin", "The inverse sine of x.")
acos = function(_acos, "acos", "The inverse cosine of x.")
atan = function(_atan, "atan", "The inverse tangent of x.")
sinh = function(_sinh, "sinh", "The hyperbolic sine of x.")
cosh = function(_cosh, "cosh", "The hyperbolic cosine of x.")
tanh = function(_tanh, "tanh", "The hyperbolic tangent of x.")
asinh = function(_asinh, "asinh", "The inverse hyperbolic sine of x.")
acosh = function(_acosh, "acosh", "The inverse hyperbolic cosine of x.")
atanh = function(_atanh, "atanh", "The inverse hyperbolic tangent of x.")
sigmoid = function(_sigmoid, "sigmoid", "1 / (1 + e⁻ˣ).")
