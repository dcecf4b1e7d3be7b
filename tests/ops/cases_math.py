"""Cases of arithmetic, functions of numbers, comparison, logic, bits and casts."""

from __future__ import annotations

import cmath
import math
from fractions import Fraction
from typing import Any

import ml_dtypes
import numpy as np

from headrace import dtypes
from tests.ops.case import Case

F32, F64, F16, BF16 = np.float32, np.float64, np.float16, ml_dtypes.bfloat16
C64, C128, I32, I64, I8, U8 = np.complex64, np.complex128, np.int32, np.int64, np.int8, np.uint8
NAN, INF = math.nan, math.inf
RNG = np.random.RandomState(11)


def each(function, dtype=None):
    """The oracle of an elementwise function of Python numbers; operands broadcast."""

    def oracle(*arrays):
        arrays = np.broadcast_arrays(*(np.asarray(a) for a in arrays))
        kinds = [complex if a.dtype.kind == "c" else int if a.dtype.kind in "iu" else float
                 for a in arrays]  # fmt: skip
        rows = zip(*(a.ravel().tolist() for a in arrays), strict=True)
        flat = [function(*(k(v) for k, v in zip(kinds, row, strict=True))) for row in rows]
        return np.array(flat, dtype).reshape(arrays[0].shape)

    return oracle


def f(*values, dtype: Any = F64):
    return np.array(values, dtype)


# -- two operands ----------------------------------------------------------------------------------

A = RNG.uniform(0.5, 2.5, (2, 3))
B = RNG.uniform(0.7, 1.9, 3)
COLUMN = RNG.uniform(-2, 2, (2, 1))
Z = A + 1j * RNG.uniform(-1, 1, (2, 3))
WHOLE = np.array([[7, -7, 7, -7, 0]], I32)
BY = np.array([3, 3, -3, -3, 5], I32)
NO = "steps: the derivative is zero where there is one"


def floor_div(x, y):
    return x // y if isinstance(x, int) else float(math.floor(x / y))


def floor_mod(x, y):
    return x - y * math.floor(Fraction(x) / Fraction(y))


def truncate_div(x, y):
    return math.trunc(Fraction(x) / Fraction(y))


def truncate_mod(x, y):
    return x - y * truncate_div(x, y)


def plain(function, *more, types=(F32, F16, BF16, I32, I64, U8, C64)):
    """Cases of an operator that all numbers have: one of each type, broadcast, empty, scalar."""
    oracle = each(function)
    cases = [Case((A, B), oracle=oracle), Case((A, COLUMN)), Case((B, np.array(2.5)))]
    for t in types:
        if t is BF16 or t is F16:
            cases.append(
                Case((f(1, 2, 3, dtype=t), f(0.5, 4, 2, dtype=t)), oracle=each(function, t))
            )
        else:
            cases.append(Case((f(1, 2, 3, dtype=t), np.array([[4], [2]], t)), oracle=oracle))
    return [*cases, Case((np.zeros((0, 3), F32), f(1, dtype=F32))), *more]


CASES: dict[str, list[Case]] = {
    "AddV2": plain(lambda x, y: x + y, Case((Z, Z[0]))),
    "Sub": plain(lambda x, y: x - y, types=(F32, F16, BF16, I32, I64, C64)),
    "Mul": plain(lambda x, y: x * y, Case((Z, Z[1]))),
    "RealDiv": plain(
        lambda x, y: x / y,
        Case((Z, Z[1])),
        Case((f(1, -1, 0), f(0, 0, 0)), oracle=lambda x, y: f(INF, -INF, NAN),
             gradient=(), why="poles"),
        types=(F32, F16, BF16, C64),
    ),
    "FloorDiv": [
        Case((WHOLE, BY), oracle=each(floor_div)),
        Case((f(7, -7, 7.5, -0.5), f(2, 2, -2, 3)), oracle=each(floor_div)),
        Case((f(7, 200, 255, dtype=U8), f(2, 7, 16, dtype=U8)), oracle=each(floor_div)),
        Case((f(7, -7, 3, dtype=BF16), f(2, 2, 2, dtype=BF16)), oracle=each(floor_div, BF16)),
    ],
    "FloorMod": [
        Case((WHOLE, BY), oracle=each(floor_mod)),
        Case((WHOLE.astype(I64), np.array(4, I64)), oracle=each(floor_mod)),
        Case((f(7, -7, 7.5, -0.5), f(2, 2, -2, 3)), oracle=each(floor_mod)),
        Case((f(7, -7, dtype=F32), f(2, 2, dtype=F32)), oracle=each(floor_mod)),
        Case((f(7, 200, dtype=U8), f(2, 7, dtype=U8)), oracle=each(floor_mod)),
    ],
    "TruncateDiv": [
        Case((WHOLE, BY), oracle=each(truncate_div)),
        Case((f(7, -7, 7.5, -0.5), f(2, 2, -2, 3)), oracle=each(truncate_div)),
        Case((f(7, 200, dtype=U8), f(2, 7, dtype=U8)), oracle=each(truncate_div)),
    ],
    "TruncateMod": [
        Case((WHOLE, BY), oracle=each(truncate_mod)),
        Case((f(7, -7, 7.5, -0.5), f(2, 2, -2, 3)), oracle=each(truncate_mod)),
        Case((f(7, -7, dtype=BF16), f(2, 2, dtype=BF16)), oracle=each(truncate_mod, BF16)),
    ],
    "DivNoNan": [
        Case((A, B), oracle=each(lambda x, y: x / y)),
        Case((Z, Z[0]), oracle=each(lambda x, y: x / y)),
        Case((f(1, INF, 0, 2, dtype=F32), f(0, 0, 0, 4, dtype=F32)),
             oracle=lambda x, y: f(0, 0, 0, 0.5), gradient=(), why="poles"),
    ],
    "MulNoNan": [
        Case((A, B), oracle=each(lambda x, y: x * y)),
        Case((f(NAN, INF, 3, dtype=F32), f(0, 0, 2, dtype=F32)), oracle=lambda x, y: f(0, 0, 6),
             gradient=(), why="a step at zero"),
    ],
    "Pow": [
        Case((A, B), oracle=each(lambda x, y: x**y)),
        Case((A, np.array(2.0)), oracle=each(lambda x, y: x**y)),
        Case((f(-2, -0.5, 0), np.array(2.0)), oracle=lambda x, y: f(4, 0.25, 0), gradient=(0,),
             why="real powers of negative numbers have no derivative by the exponent"),
        Case((Z, Z[0]), oracle=each(lambda x, y: x**y)),
        Case((f(2, -3, 0, 5, dtype=I32), f(10, 3, 0, 1, dtype=I32)),
             oracle=lambda x, y: [1024, -27, 1, 5]),
        Case((f(2, -3, dtype=I64), np.array(3, I64)), oracle=lambda x, y: [8, -27]),
        Case((f(2, 3, dtype=F16), f(3, 2, dtype=F16)), oracle=lambda x, y: [8, 9]),
    ],
    "Maximum": [
        Case((A, COLUMN), oracle=each(max)),
        Case((f(1, 5, dtype=I32), f(4, 2, dtype=I32)), oracle=lambda x, y: [4, 5]),
        Case((f(NAN, 1, dtype=F32), f(1, NAN, dtype=F32)), oracle=lambda x, y: [NAN, NAN],
             gradient=(), why="not numbers"),
        Case((f(1, 5, dtype=BF16), f(4, 2, dtype=BF16))),
    ],
    "Minimum": [
        Case((A, COLUMN), oracle=each(min)),
        Case((f(1, 5, dtype=U8), f(4, 2, dtype=U8)), oracle=lambda x, y: [1, 2]),
        Case((f(1, 5, dtype=F16), f(4, 2, dtype=F16))),
    ],
    "SquaredDifference": [
        Case((A, B), oracle=each(lambda x, y: (x - y) ** 2)),
        Case((f(1, -5, dtype=I32), np.array(2, I32)), oracle=lambda x, y: [1, 49]),
        Case((Z, Z[0]), oracle=each(lambda x, y: abs(x - y) ** 2, C128), gradient=(),
             why="|z|² has no complex derivative"),
    ],
    "Atan2": [
        Case((A - 1.5, B), oracle=each(math.atan2)),
        Case((f(1, -1, 0, 0, dtype=F32), f(0, 0, -1, 1, dtype=F32)), oracle=each(math.atan2),
             gradient=(), why="a branch"),
    ],
    "Add": [
        Case((A, B), oracle=each(lambda x, y: x + y)),
        Case((np.array([b"ab", b"c"], object), np.array(b"x", object)),
             oracle=lambda x, y: np.array([b"abx", b"cx"], object)),
    ],
    "Div": [
        Case((A, B), oracle=each(lambda x, y: x / y)),
        Case((WHOLE, BY), oracle=each(truncate_div)),
    ],
    "Mod": [
        Case((f(7, -7, 7.5), f(2, 2, -2)), oracle=each(truncate_mod)),
        Case((WHOLE, BY), oracle=each(truncate_mod)),
    ],
}  # fmt: skip

# -- one operand -----------------------------------------------------------------------------------

POSITIVE = RNG.uniform(0.3, 3.0, (2, 3))
INNER = RNG.uniform(-0.8, 0.8, (2, 3))
ANY = RNG.uniform(-2.0, 2.0, (2, 3))
ZS = INNER + 1j * RNG.uniform(-0.6, 0.6, (2, 3))


def smooth(function, xs, *more, of_complex=None, halves=True):
    """Cases of a differentiable function: float64, 16 bits, a scalar, none, and complex."""
    oracle = each(function)
    cases = [Case((xs,), oracle=oracle), Case((xs[0].astype(F32),), oracle=oracle)]
    cases += [Case((np.asarray(xs[0, 1]),)), Case((np.zeros((2, 0), F32),))]
    if halves:
        cases += [Case((xs[:1].astype(t),)) for t in (F16, BF16)]
    if of_complex:
        cases.append(Case((ZS if of_complex is True else ZS + of_complex,),
                          oracle=each(getattr(cmath, function.__name__, function))))  # fmt: skip
    return [*cases, *more]


def sigmoid(x):
    return 1 / (1 + cmath.exp(-x)) if isinstance(x, complex) else 1 / (1 + math.exp(-x))


def square(x):
    return x * x


def reciprocal(x):
    return 1 / x


def rsqrt(x):
    return 1 / cmath.sqrt(x) if isinstance(x, complex) else 1 / math.sqrt(x)


def expm1(x):
    return cmath.exp(x) - 1 if isinstance(x, complex) else math.expm1(x)


def log1p(x):
    return cmath.log(1 + x) if isinstance(x, complex) else math.log1p(x)


def steps(function, xs, *types):
    return [Case((np.array(xs, t),), oracle=each(function, t), gradient=(), why=NO) for t in types]


def sign(x):
    return (x > 0) - (x < 0)


def neg(x):
    return -x


EXTREMES = np.array([-1e4, -100.0, 0.0, 100.0, 1e4], F32)

CASES |= {
    "Neg": smooth(neg, ANY, Case((np.array([3, -4], I32),), oracle=each(neg)), of_complex=True),
    "Abs": smooth(abs, ANY, Case((np.array([3, -4], I8),), oracle=each(abs))),
    "Sign": [
        *steps(sign, [-2.5, 0.0, 3.0], F32, BF16), *steps(sign, [-2, 0, 3], I32),
        Case((ZS,), oracle=each(lambda z: z / abs(z)), gradient=(), why=NO),
    ],
    "Square": smooth(square, ANY, Case((np.array([3, -4], I64),), oracle=each(square)),
                     of_complex=True),
    "Sqrt": smooth(math.sqrt, POSITIVE, of_complex=1),
    "Rsqrt": smooth(rsqrt, POSITIVE, of_complex=1),
    "Reciprocal": smooth(reciprocal, POSITIVE, of_complex=1),
    "Inv": smooth(reciprocal, POSITIVE),
    "Exp": smooth(math.exp, ANY, of_complex=True),
    "Expm1": smooth(expm1, ANY, Case((f(1e-9, -1e-9),), oracle=each(expm1)), of_complex=True),
    "Log": smooth(math.log, POSITIVE, Case((f(0, -1, dtype=F32),), oracle=lambda x: f(-INF, NAN),
                  gradient=(), why="a pole"), of_complex=1),
    "Log1p": smooth(log1p, INNER, Case((f(1e-9, -1e-9),), oracle=each(log1p)), of_complex=True),
    "Sin": smooth(math.sin, ANY, of_complex=True),
    "Cos": smooth(math.cos, ANY, of_complex=True),
    "Tan": smooth(math.tan, INNER, of_complex=True),
    "Asin": smooth(math.asin, INNER, of_complex=True),
    "Acos": smooth(math.acos, INNER, of_complex=True),
    "Atan": smooth(math.atan, ANY, of_complex=True),
    "Sinh": smooth(math.sinh, ANY, of_complex=True),
    "Cosh": smooth(math.cosh, ANY, of_complex=True),
    "Tanh": smooth(math.tanh, ANY, Case((EXTREMES,), oracle=lambda x: f(-1, -1, 0, 1, 1)),
                   of_complex=True),
    "Asinh": smooth(math.asinh, ANY, of_complex=True),
    "Acosh": smooth(math.acosh, POSITIVE + 1, of_complex=2),
    "Atanh": smooth(math.atanh, INNER, of_complex=True),
    "Sigmoid": smooth(sigmoid, ANY, Case((EXTREMES,), oracle=lambda x: f(0, 0, 0.5, 1, 1)),
                      of_complex=True),
    "Floor": steps(math.floor, [-1.5, -0.2, 0.0, 1.7], F32, F64, F16, BF16),
    "Ceil": steps(math.ceil, [-1.5, -0.2, 0.0, 1.7], F32, F64, F16, BF16),
    "Round": [*steps(round, [-2.5, -1.5, -0.5, 0.5, 1.5, 2.5, 2.51], F32, F64, BF16),
              *steps(round, [3, -4], I32)],
    "Rint": steps(round, [-2.5, -1.5, -0.5, 0.5, 1.5, 2.5, 2.51], F32, F64, F16),
    "TanhGrad": [Case((INNER, ANY), oracle=each(lambda y, d: d * (1 - y * y))),
                 Case((ZS, ZS[::-1]), gradient=(1,))],
    "SigmoidGrad": [Case((POSITIVE / 4, ANY), oracle=each(lambda y, d: d * y * (1 - y)))],
    "SqrtGrad": [Case((POSITIVE, ANY), oracle=each(lambda y, d: d / (2 * y))),
                 Case((ZS, ZS[::-1]), oracle=each(lambda y, d: d / (2 * y.conjugate())),
                      gradient=(1,))],
    "RsqrtGrad": [Case((POSITIVE, ANY), oracle=each(lambda y, d: -d * y**3 / 2)),
                  Case((ZS, ZS[::-1]), oracle=each(lambda y, d: -d * y.conjugate() ** 3 / 2),
                       gradient=(1,))],
    "ReciprocalGrad": [Case((POSITIVE, ANY), oracle=each(lambda y, d: -d * y * y)),
                       Case((ZS, ZS[::-1]), oracle=each(lambda y, d: -d * y.conjugate() ** 2),
                            gradient=(1,))],
}  # fmt: skip

# -- comparison, logic, bits -----------------------------------------------------------------------

LEFT, RIGHT = f(1, 2, 3, NAN, dtype=F32), f(2, 2, 2, NAN, dtype=F32)
P, Q = np.array([[True], [False]]), np.array([True, False])
BITS, MASK = np.array([0b1100, -1, 0], I32), np.array([0b1010, 0b0110, 7], I32)


def orders(function):
    oracle = each(function)
    return [
        Case((LEFT, RIGHT), oracle=oracle),
        Case((np.array([[1], [3]], I32), np.array([2, 3], I32)), oracle=oracle),
        Case((f(1, 2, dtype=BF16), f(2, 2, dtype=BF16)), oracle=oracle),
        Case((np.zeros((0,), F64), np.zeros((1,), F64))),
    ]


def equalities(function):
    return [
        *orders(function),
        Case((P, Q), oracle=lambda p, q: [[function(a, b) for b in q] for a in p[:, 0]]),
        Case((np.array([b"a", b"b"], object), np.array(b"b", object)),
             oracle=lambda x, y: [function(v, b"b") for v in x]),
        Case((Z, Z.conj()), oracle=each(function)),
    ]  # fmt: skip


def classes(function):
    return [
        Case((np.array([1, NAN, INF, -INF, 0], t),), oracle=each(function))
        for t in (F32, F16, BF16)
    ]


CASES |= {
    "Less": orders(lambda x, y: x < y),
    "LessEqual": orders(lambda x, y: x <= y),
    "Greater": orders(lambda x, y: x > y),
    "GreaterEqual": orders(lambda x, y: x >= y),
    "Equal": equalities(lambda x, y: x == y),
    "NotEqual": equalities(lambda x, y: x != y),
    "IsNan": classes(math.isnan),
    "IsInf": classes(math.isinf),
    "IsFinite": classes(math.isfinite),
    "LogicalAnd": [Case((P, Q), oracle=lambda p, q: [[True, False], [False, False]])],
    "LogicalOr": [Case((P, Q), oracle=lambda p, q: [[True, True], [True, False]])],
    "LogicalNot": [Case((P,), oracle=lambda p: [[False], [True]])],
    "BitwiseAnd": [Case((BITS, MASK), oracle=each(lambda x, y: x & y))],
    "BitwiseOr": [Case((BITS, MASK), oracle=each(lambda x, y: x | y))],
    "BitwiseXor": [Case((BITS, MASK), oracle=each(lambda x, y: x ^ y))],
    "Invert": [Case((BITS,), oracle=each(lambda x: ~x)),
               Case((np.array([0, 5], U8),), oracle=lambda x: [255, 250])],
    "LeftShift": [Case((np.array([1, -3, 5], I32), np.array([4, 1, 0], I32)),
                       oracle=each(lambda x, y: x << y)),
                  Case((np.array([1, 1], I8), np.array([9, -2], I8)),
                       oracle=lambda x, y: [-128, 1])],
    "RightShift": [Case((np.array([17, -3, -1], I32), np.array([2, 1, 40], I32)),
                        oracle=each(lambda x, y: x >> min(y, 31))),
                   Case((np.array([200], U8), np.array([3], U8)), oracle=lambda x, y: [25])],
}  # fmt: skip

# -- casts and complex numbers ---------------------------------------------------------------------

REALS = np.array([[-1.75, 0.0], [2.5, 100.9]])


def cast(x, source, target, expected=None):
    oracle = None if expected is None else lambda _: np.array(expected, target.numpy)
    return Case((np.array(x, source.numpy),), {"DstT": target}, oracle=oracle)


CASES |= {
    "Cast": [
        cast(REALS, dtypes.float64, dtypes.float32, REALS),
        cast(REALS, dtypes.float32, dtypes.int32, [[-1, 0], [2, 100]]),
        cast(REALS, dtypes.float32, dtypes.int64, [[-1, 0], [2, 100]]),
        cast(REALS, dtypes.float32, dtypes.bool_, [[True, False], [True, True]]),
        cast(REALS, dtypes.bfloat16, dtypes.int8, [[-1, 0], [2, 101]]),
        cast(REALS, dtypes.float16, dtypes.complex64),
        cast([1, 0, -3], dtypes.int32, dtypes.bool_, [True, False, True]),
        cast([1, 300, -1], dtypes.int32, dtypes.uint8, [1, 44, 255]),
        cast([1.0, 300.0, 255.0], dtypes.float32, dtypes.uint8, [1, 44, 255]),
        cast([1, 2], dtypes.int32, dtypes.float16, [1, 2]),
        cast([True, False], dtypes.bool_, dtypes.float32, [1, 0]),
        cast([True, False], dtypes.bool_, dtypes.int64, [1, 0]),
        Case((np.array([1.5 + 2j, -2.5j]),), {"DstT": dtypes.float64},
             oracle=lambda z: [1.5, 0.0], gradient=(),
             why="the real part has no complex derivative"),
        Case((np.array([1.5 + 2j, 2j, 0]),), {"DstT": dtypes.bool_},
             oracle=lambda z: [True, True, False]),
        # as an x86 processor rounds what does not fit, and TensorFlow with it
        cast([NAN, INF, 3e9, -3e9], dtypes.float32, dtypes.int32, [-(2**31)] * 4),
        cast([NAN, 1e19, -1e19, 2.0**62], dtypes.float64, dtypes.int64, [-(2**63)] * 3 + [2**62]),
        cast(7, dtypes.int32, dtypes.float32, 7),
        cast(np.zeros((0, 2)), dtypes.float32, dtypes.int32),
    ],
    "Bitcast": [
        Case((np.array([1.0, -2.0], F32),), {"type": dtypes.int32},
             oracle=lambda x: [0x3F800000, -0x40000000]),
        Case((np.array([[1, 256]], I32),), {"type": dtypes.uint8},
             oracle=lambda x: [[[1, 0, 0, 0], [0, 1, 0, 0]]]),
        Case((np.array([[1, 0], [0, 1]], I32),), {"type": dtypes.int64},
             oracle=lambda x: [1, 2**32]),
        Case((np.array(1.0, F64),), {"type": dtypes.int64}, oracle=lambda x: 0x3FF0000000000000),
    ],
    "Real": [Case((Z,), {"Tout": dtypes.float64}, oracle=lambda z: z.real)],
    "Imag": [Case((Z,), {"Tout": dtypes.float64}, oracle=lambda z: z.imag)],
    "Conj": [Case((Z,), oracle=lambda z: z.real - 1j * z.imag), Case((Z.astype(C64),))],
    "ComplexAbs": [Case((Z,), {"Tout": dtypes.float64}, oracle=each(abs)),
                   Case((Z.astype(C64),), {"Tout": dtypes.float32}, gradient=(), why="as above")],
    "Angle": [Case((Z,), {"Tout": dtypes.float64}, oracle=each(cmath.phase))],
    "Complex": [
        Case((A, B), {"Tout": dtypes.complex128}, oracle=lambda a, b: a + 1j * b),
        Case((f(INF, 1, dtype=F32), f(0, INF, dtype=F32)), {"Tout": dtypes.complex64},
             oracle=lambda a, b: np.array([complex(INF, 0), complex(1, INF)]), gradient=(),
             why="infinite"),
    ],
    "AddN": [
        Case(([A, A[::-1], 2 * A],), oracle=lambda xs: [
            [xs[0][i, j] + xs[1][i, j] + xs[2][i, j] for j in range(3)] for i in range(2)]),
        Case(([f(1, 2, dtype=I32), f(3, 4, dtype=I32)],), oracle=lambda xs: [4, 6]),
        Case(([f(1, 2, dtype=BF16)],), oracle=lambda xs: [1, 2]),
    ],
    "ClipByValue": [
        Case((f(-3, 0.4, 3), np.array(-1.5), np.array(2.5)), oracle=lambda *_: f(-1.5, 0.4, 2.5)),
        Case((A, B - 1, B + 0.05), oracle=lambda x, a, b: np.array(
            [[sorted((v, a[j], b[j]))[1] for j, v in enumerate(row)] for row in x])),
        Case((f(-3, 300, dtype=I32), np.array(0, I32), np.array(255, I32)),
             oracle=lambda *_: [0, 255]),
    ],
}  # fmt: skip

# -- special functions -----------------------------------------------------------------------------


def gamma_share(a, x, n=400):
    """The lower incomplete gamma function by its series (Abramowitz & Stegun 6.5.29)."""
    term = total = 1 / a
    for i in range(1, n):
        term *= x / (a + i)
        total += term
    return total * math.exp(a * math.log(x) - x - math.lgamma(a))


def hurwitz(s, q, n=30):
    """ζ(s, q) by the sum of Euler and Maclaurin."""
    m = n + q
    total = sum((q + k) ** -s for k in range(n))
    bernoulli = (1 / 6, -1 / 30, 1 / 42, -1 / 30, 5 / 66)
    rising, tail = s, m ** (1 - s) / (s - 1) + 0.5 * m**-s
    for k, b in enumerate(bernoulli, 1):
        tail += b * rising / math.factorial(2 * k) * m ** (-s - 2 * k + 1)
        rising *= (s + 2 * k - 1) * (s + 2 * k)
    return total + tail


def psi(x):
    """The digamma function by its asymptotic series, moved up to where that holds."""
    down = 0.0
    while x < 20:
        down, x = down + 1 / x, x + 1
    inverse = 1 / (x * x)
    series = inverse * (1 / 12 - inverse * (1 / 120 - inverse * (1 / 252 - inverse / 240)))
    return math.log(x) - 0.5 / x - series - down


def polygamma(n, x):
    return psi(x) if n == 0 else (-1) ** int(n + 1) * math.factorial(int(n)) * hurwitz(n + 1, x)


def beta_share(a, b, x, n=2000):
    """The incomplete beta function by its power series."""
    term, total = 1.0, 1 / a
    for k in range(1, n):
        term *= (k - b) * x / k
        total += term / (a + k)
    return x**a * total * math.gamma(a + b) / (math.gamma(a) * math.gamma(b))


def inverse(function, low, high):
    """The inverse of an increasing function, by halving."""

    def solve(y):
        a, b = low, high
        for _ in range(200):
            middle = (a + b) / 2
            a, b = (middle, b) if function(middle) < y else (a, middle)
        return (a + b) / 2

    return solve


def normal(x):
    return 0.5 * math.erfc(-x / math.sqrt(2))


def zero_wins(function):
    return lambda x, y: 0.0 if x == 0 else function(x, y)


def derivative_by_a(a, x, h=1e-4):
    near, far = (gamma_share(a + k * h, x) - gamma_share(a - k * h, x) for k in (1, 2))
    return (8 * near - far) / (12 * h)


ORDER = f(1, 2, 0, 3)
GAMMA_A, GAMMA_X = f(0.7, 1.5, 3.0), f(0.4, 1.2, 4.0)
GAMMA_WHY = "the derivative by a is IgammaGradA, which has none; the API's test has it"
ZEROS, LOGS = f(0, 0.5, 2), f(-1, 1.5, 0.25)

CASES |= {
    "Erf": smooth(math.erf, ANY),
    "Erfc": smooth(math.erfc, ANY, Case((f(5, 8),), oracle=each(math.erfc))),
    "Erfinv": [Case((f(-0.7, 0.1, 0.9),), oracle=each(inverse(math.erf, -6, 6))),
               Case((f(-0.5, 0.5, dtype=BF16),))],
    "Ndtri": [Case((f(0.3, 0.5, 0.8),), oracle=each(inverse(normal, -9, 9)))],
    "Lgamma": smooth(math.lgamma, POSITIVE, Case((f(-0.5, -2.3),), oracle=each(math.lgamma))),
    "Digamma": [Case((POSITIVE,), oracle=each(psi)), Case((POSITIVE.astype(F32),)),
                Case((POSITIVE[:1].astype(F16),))],
    "Polygamma": [Case((ORDER, f(0.5, 1.5, 2.5, 4)), oracle=each(polygamma), gradient=(1,))],
    "Zeta": [Case((f(1.5, 3, 6), f(0.5, 1.0, 2.5)), oracle=each(hurwitz), gradient=(1,))],
    "Igamma": [Case((GAMMA_A, GAMMA_X), oracle=each(gamma_share), gradient=(1,), why=GAMMA_WHY)],
    "Igammac": [Case((GAMMA_A, GAMMA_X), oracle=each(lambda a, x: 1 - gamma_share(a, x)),
                     gradient=(1,), why=GAMMA_WHY)],
    "IgammaGradA": [Case((GAMMA_A.astype(F32), GAMMA_X.astype(F32)),
                         oracle=each(derivative_by_a))],
    "Betainc": [Case((f(1.5, 2, 3), f(2, 2.5, 1.5), f(0.3, 0.5, 0.8)), oracle=each(beta_share),
                     gradient=(2,))],
    "Xlogy": [
        Case((A, B), oracle=each(lambda x, y: x * math.log(y))),
        Case((ZEROS, LOGS), oracle=each(zero_wins(lambda x, y: x * math.log(y))), gradient=(),
             why="log of a negative number"),
    ],
    "Xlog1py": [
        Case((A, B), oracle=each(lambda x, y: x * math.log1p(y))),
        Case((f(0, 2), f(-1, 0.5)), oracle=each(zero_wins(lambda x, y: x * math.log1p(y))),
             gradient=(), why="a pole"),
    ],
    "Xdivy": [
        Case((A, B), oracle=each(lambda x, y: x / y)),
        Case((f(0, 2), f(0, 4)), oracle=each(zero_wins(lambda x, y: x / y)), gradient=(),
             why="a pole"),
    ],
}  # fmt: skip
