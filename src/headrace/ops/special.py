"""Special functions (error, gamma, beta, zeta), products that take 0 · ∞ for 0, and clamped casts.

The functions of numbers are SciPy's on the host, jax.scipy's when traced.
"""

from __future__ import annotations

from collections.abc import Sequence
from math import pi
from math import sqrt as root
from typing import Any

import numpy as np

from headrace import dtypes, shapes
from headrace.conversion import convert_to_tensor
from headrace.dtypes import as_dtype
from headrace.graph import name_scope
from headrace.node import Tensor
from headrace.opdef import Spec, broadcast_shape, op
from headrace.ops import array, math, reduce
from headrace.ops.cast import cast, complex_angle
from headrace.ops.constant import constant
from headrace.ops.elementwise import binary, function, unary

_WIDE = (dtypes.float32, dtypes.float64)

# -- functions of numbers --------------------------------------------------------------------------


def _special(name: str) -> Any:
    """A kernel by SciPy's name; of 16-bit floats the function is taken in float32."""

    def kernel(xp: Any, *xs: Any) -> Any:
        f, kind = xp.special(name), xs[0].dtype
        if kind.itemsize == 2:
            xs = tuple(x.astype(np.float32) for x in xs)
        return f(*xs).astype(kind)

    return kernel


def _polygamma_kernel(xp: Any, n: Any, x: Any) -> Any:
    # ψ⁽ⁿ⁾(x) = (−1)ⁿ⁺¹ n! ζ(n + 1, x); the digamma function for n = 0
    gammaln, zeta, psi = (xp.special(f) for f in ("gammaln", "zeta", "digamma"))
    order = xp.where(n > 0, n, 1)
    sign = xp.where(order % 2 == 0, -1, 1)
    y = sign * xp.exp(gammaln(order + 1)) * zeta(order + 1, x)
    known = (n >= 0) & (n == xp.floor(n))
    return xp.where(n == 0, psi(x), xp.where(known, y, np.nan)).astype(x.dtype)


_erf = unary(
    "Erf", _special("erf"), lambda x, y, dy: dy * (2 / root(pi) * math.exp(-x * x)), dtypes.FLOATS
)
_erfc = unary(
    "Erfc",
    _special("erfc"),
    lambda x, y, dy: dy * (-2 / root(pi) * math.exp(-x * x)),
    dtypes.FLOATS,
)
_erfinv = unary(
    "Erfinv",
    _special("erfinv"),
    lambda x, y, dy: dy * (root(pi) / 2 * math.exp(y * y)),
    dtypes.FLOATS,
)
_ndtri = unary(
    "Ndtri", _special("ndtri"), lambda x, y, dy: dy * (root(2 * pi) * math.exp(y * y / 2)),
    dtypes.FLOATS,
)  # fmt: skip
_lgamma = unary("Lgamma", _special("gammaln"), lambda x, y, dy: dy * digamma(x), dtypes.FLOATS)
_digamma = unary(
    "Digamma",
    _special("digamma"),
    lambda x, y, dy: (
        dy * cast(polygamma(cast(1, _at_least_32(x)), cast(x, _at_least_32(x))), x.dtype)
    ),
    dtypes.FLOATS,
)
_polygamma = binary(
    "Polygamma", _polygamma_kernel, lambda a, x, z, dz: (None, dz * polygamma(a + 1, x)), _WIDE,
    "a: T, x: T -> z: T",
)  # fmt: skip
_zeta = binary(
    "Zeta", _special("zeta"), lambda x, q, z, dz: (None, -x * zeta(x + 1, q) * dz), _WIDE,
    "x: T, q: T -> z: T",
)  # fmt: skip


def _at_least_32(x: Any) -> Any:
    return x.dtype.base_dtype if x.dtype.base_dtype in _WIDE else dtypes.float32


def _gamma_density(a: Any, x: Any) -> Any:
    """The derivative by x of `igamma(a, x)`."""
    return math.exp(xlogy(a - 1, x) - x - lgamma(a))


_igamma = binary(
    "Igamma",
    _special("gammainc"),
    lambda a, x, z, dz: (dz * _igamma_grad_a(a, x), dz * _gamma_density(a, x)),
    dtypes.FLOATS,
    "a: T, x: T -> z: T",
)
_igammac = binary(
    "Igammac",
    _special("gammaincc"),
    lambda a, x, z, dz: (-dz * _igamma_grad_a(a, x), -dz * _gamma_density(a, x)),
    dtypes.FLOATS,
    "a: T, x: T -> z: T",
)


@op("IgammaGradA", "a: T, x: T -> z: T", T=dtypes.FLOATS)
def _igamma_grad_a(xp: Any, a: Any, x: Any) -> Any:
    """By a central difference of fourth order, in float64."""
    gammainc, kind = xp.special("gammainc"), x.dtype
    a, x = a.astype(np.float64), x.astype(np.float64)
    h = 1e-3 * xp.where(a < 1, a, xp.sqrt(a))
    near = gammainc(a + h, x) - gammainc(a - h, x)
    far = gammainc(a + 2 * h, x) - gammainc(a - 2 * h, x)
    return ((8 * near - far) / (12 * h)).astype(kind)


_igamma_grad_a.infer = broadcast_shape


@op("Betainc", "a: T, b: T, x: T -> z: T", T=_WIDE, broadcasts=True)
def _betainc(xp: Any, a: Any, b: Any, x: Any) -> Any:
    return xp.special("betainc")(a, b, x).astype(x.dtype)


@_betainc.def_infer
def _(a: Spec, b: Spec, x: Spec) -> shapes.Shape:
    return shapes.broadcast(shapes.broadcast(a.shape, b.shape), x.shape)


@_betainc.def_gradient
def _(op: Any, dz: Any) -> Any:
    a, b, x = op.inputs
    log_beta = lgamma(a) + lgamma(b) - lgamma(a + b)
    return None, None, dz * math.exp(xlog1py(b - 1, -x) + xlogy(a - 1, x) - log_beta)


erf = function(_erf, "erf", "The error function, 2/√π ∫₀ˣ e^(−t²) dt.")
erfc = function(_erfc, "erfc", "1 − erf(x), exact for large x.")
lgamma = function(_lgamma, "lgamma", "log |Γ(x)|.")
digamma = function(_digamma, "digamma", "The derivative of log Γ(x).")


def polygamma(a: Any, x: Any, name: str | None = None) -> Tensor:
    """The derivative of order a + 1 of log Γ(x), for whole a ≥ 0."""
    return _polygamma(a, x, name=name)


def zeta(x: Any, q: Any, name: str | None = None) -> Tensor:
    """Hurwitz's ζ(x, q) = Σ (q + n)^−x over n ≥ 0, for x > 1."""
    return _zeta(x, q, name=name)


def igamma(a: Any, x: Any, name: str | None = None) -> Tensor:
    """The lower incomplete gamma function, a share of Γ(a)."""
    return _igamma(a, x, name=name)


def igammac(a: Any, x: Any, name: str | None = None) -> Tensor:
    """The upper incomplete gamma function, a share of Γ(a)."""
    return _igammac(a, x, name=name)


def betainc(a: Any, b: Any, x: Any, name: str | None = None) -> Tensor:
    """The incomplete beta function, a share of B(a, b)."""
    return _betainc(a, b, x, name=name)


def erfinv(x: Any, name: str | None = None) -> Tensor:
    """The inverse of the error function."""
    with name_scope(name, "erfinv", [x]):
        return _erfinv(x)


def ndtri(x: Any, name: str | None = None) -> Tensor:
    """The quantile of the standard normal distribution."""
    with name_scope(name, "ndtri", [x]):
        return _ndtri(x)


def erfcinv(x: Any, name: str | None = None) -> Tensor:
    """The inverse of `erfc`."""
    with name_scope(name, "erfcinv", [x]):
        x = convert_to_tensor(x, name="start")
        return -ndtri(0.5 * x) * root(0.5)


def lbeta(x: Any, name: str | None = None) -> Tensor:
    """log |B(x)| of the last axis: the sum of log Γ less log Γ of the sum."""
    with name_scope(name, "lbeta", [x]):
        x = convert_to_tensor(x, name="x")
        each = reduce.reduce_sum(lgamma(x), [-1])
        return each - lgamma(reduce.reduce_sum(x, [-1]))


def polyval(coeffs: Sequence[Any], x: Any, name: str | None = None) -> Tensor:
    """The polynomial with coefficients from the highest power down, at x, by Horner's scheme."""
    if not isinstance(coeffs, (list, tuple)):
        raise ValueError(f"Argument coeffs must be list type. Received type {type(coeffs)}.")
    with name_scope(name, "polyval", [x]):
        x = convert_to_tensor(x, name="x")
        if not coeffs:
            return array.zeros_like(x, name=name)
        terms = [convert_to_tensor(c, name=f"coeff_{i}") for i, c in enumerate(coeffs)]
        p = terms[0]
        for c in terms[1:]:
            p = c + p * x
        return p


# -- products in which 0 wins ----------------------------------------------------------------------


def _zero_wins(f: Any) -> Any:
    def kernel(xp: Any, x: Any, y: Any) -> Any:
        return xp.where(x == 0, xp.zeros_like(y), f(xp, x, y))

    return kernel


def _not_zero(x: Any) -> Any:
    return cast(math.not_equal(x, 0), x.dtype)


_xlogy = binary(
    "Xlogy",
    _zero_wins(lambda xp, x, y: x * xp.log(y)),
    lambda x, y, z, dz: (dz * math.conj(xlogy(_not_zero(x), y)), dz * math.conj(_xdivy(x, y))),
    dtypes.DIFFERENTIABLE,
)
_xlog1py = binary(
    "Xlog1py",
    _zero_wins(lambda xp, x, y: x * xp.log1p(y)),
    lambda x, y, z, dz: (
        dz * math.conj(_xlog1py(_not_zero(x), y)),
        dz * math.conj(_xdivy(x, y + 1)),
    ),
    dtypes.DIFFERENTIABLE,
)
_xdivy = binary(
    "Xdivy",
    _zero_wins(lambda xp, x, y: x / y),
    lambda x, y, z, dz: (
        dz * math.conj(_xdivy(_not_zero(x), y)),
        dz * math.conj(_xdivy(-x, y * y)),
    ),
    dtypes.DIFFERENTIABLE,
)
xlogy = function(_xlogy, "xlogy", "x · log y, and 0 where x is 0 whatever y is.")


def xdivy(x: Any, y: Any, name: str | None = None) -> Tensor:
    """x / y, and 0 where x is 0 whatever y is."""
    with name_scope(name, "xdivy", [x]):
        return _xdivy(x, y)


def xlog1py(x: Any, y: Any, name: str | None = None) -> Tensor:
    """x · log(1 + y), and 0 where x is 0 whatever y is."""
    with name_scope(name, "xlog1py", [x]):
        return _xlog1py(x, y)


# -- clamping --------------------------------------------------------------------------------------


@op(
    "ClipByValue", "t: T, clip_value_min: T, clip_value_max: T -> output: T", T=dtypes.REALS,
    broadcasts=True,
)  # fmt: skip
def _clip(xp: Any, x: Any, low: Any, high: Any) -> Any:
    return xp.minimum(xp.maximum(x, low), high)


@_clip.def_infer
def _(x: Spec, low: Spec, high: Spec) -> shapes.Shape:
    return shapes.broadcast(shapes.broadcast(x.shape, low.shape), high.shape)


@_clip.def_gradient
def _(op: Any, dy: Any) -> Any:
    x, low, high = op.inputs
    under, over = cast(x < low, dy.dtype), cast(x > high, dy.dtype)
    keep = math.multiply_no_nan
    return keep(dy, 1 - math.maximum(under, over)), keep(dy, under), keep(dy, over)


def saturate_cast(value: Any, dtype: Any, name: str | None = None) -> Tensor:
    """The values as another type; those beyond its limits become its limits."""
    wanted = as_dtype(dtype)
    with name_scope(name, "saturate_cast", [value]) as scope:
        value = convert_to_tensor(value, name="value")
        held = value.dtype.base_dtype
        low, high = (_limit(held, wanted, end) for end in ("min", "max"))
        clamped = _clip(value, constant(low, held), constant(high, held), name="clamp")
        return cast(clamped, wanted, name=scope)


def _limit(held: Any, wanted: Any, end: str) -> Any:
    """The outermost number that both types can tell, as a number of the type held."""
    a, b = getattr(held, end), getattr(wanted, end)
    if held.is_integer and wanted.is_integer:
        a, b = int(a), int(b)
        return max(a, b) if end == "min" else min(a, b)
    if held.is_integer:  # into floats, all of which reach further
        return int(a)
    limit = max(float(a), float(b)) if end == "min" else min(float(a), float(b))
    number = np.asarray(limit, held.numpy)
    beyond = number.astype(np.float64) > b if end == "max" else number.astype(np.float64) < b
    if wanted.is_integer and beyond:  # rounded away from zero: the next number inside
        number = np.nextafter(number, np.zeros_like(number))
    return number


def angle(input: Any, name: str | None = None) -> Tensor:
    """The angle of a complex number in (−π, π]; of a real one 0, or π if it is negative."""
    with name_scope(name, "Angle", [input]) as scope:
        input = convert_to_tensor(input, name="input")
        if input.dtype.is_complex:
            return complex_angle(input, Tout=input.dtype.real_dtype, name=scope)
        return cast(input < 0, input.dtype) * cast(pi, input.dtype)
