"""The array namespace of a trace for a CPU: XLA's, with tall narrow matrices laid on their side.

The rows of a matrix [n, m] with m of a few dozen (thousands of points through a narrow network) are
too short for a processor's vectors. Here the product that makes such a matrix gives a `Turned`,
which holds [m, n]; products and elementwise functions compute with that and give a Turned again,
and all else turns it back. Kernels need not know.
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from functools import cache, partial, wraps
from types import ModuleType
from typing import Any

import jax.numpy as jnp
import numpy as np

from headrace.xp import xla

_NARROW = 64  # columns from which rows are long enough
_TALL = 16  # times as many rows as columns
_LARGE = 1 << 13  # elements
_ALSO_ELEMENTWISE = {"where", "zeros_like", "ones_like", "full_like", "clip"}
_REDUCTIONS = {"sum", "mean", "prod", "max", "min", "all", "any"}


class Turned:
    """An array [n, m] that lies as [m, n] in `side`. What it lacks is the array's."""

    __slots__ = ("side",)
    __array_ufunc__ = None  # so that NumPy's operators leave the work to ours
    ndim = 2

    def __init__(self, side: Any):
        self.side = side

    @property
    def shape(self) -> tuple[int, int]:
        """[n, m]."""
        return self.side.shape[::-1]

    @property
    def dtype(self) -> Any:
        """Of the elements."""
        return self.side.dtype

    @property
    def size(self) -> int:
        """The number of elements."""
        return self.side.size

    @property
    def T(self) -> Any:
        """[m, n]: what lies here."""
        return self.side

    def astype(self, dtype: Any) -> Turned:
        """With elements of another type."""
        return Turned(self.side.astype(dtype))

    def __getitem__(self, index: Any) -> Any:
        return self.side.T[index]

    def __getattr__(self, name: str) -> Any:
        return getattr(self.side.T, name)


def plain(x: Any) -> Any:
    """x with every Turned in it an array again."""
    if type(x) is Turned:
        return x.side.T
    if type(x) in (list, tuple):
        return type(x)(plain(e) for e in x)
    return x


def product(a: Any, b: Any, turn_a: bool, turn_b: bool) -> Any:
    """[..., m, k] by [..., k, n]; one to be turned is given as [..., k, m] or [..., n, k]."""
    sideways = Turned in (type(a), type(b))
    if sideways and turn_a and not turn_b and a.ndim == b.ndim == 2:  # Xᵀ dZ
        return xla.product(_side(a), _side(b), False, True)
    if turn_a or type(b) is Turned or not _stays_narrow(a, b):
        return xla.product(plain(a), plain(b), turn_a, turn_b)
    made = xla.product(b, _side(a), not turn_b, False)
    return Turned(made) if made.shape[0] > 1 else made.reshape(-1, 1)


def _stays_narrow(a: Any, b: Any) -> bool:
    """Whether [n, k] by [k, m] or [m, k] is worth laying on its side."""
    if a.ndim != 2 or b.ndim != 2 or a.dtype not in (np.float32, np.float64):
        return False
    n, columns = a.shape[0], max(b.shape)
    return columns < _NARROW and n >= _TALL * columns and n * columns >= _LARGE


def _side(x: Any) -> Any:
    """[m, n] of [n, m]: for a single column the same memory."""
    return x.reshape(1, -1) if x.shape[1] == 1 and type(x) is not Turned else x.T


def _elementwise(function: Callable[..., Any], *args: Any, **options: Any) -> Any:
    shape = next((a.shape for a in args if type(a) is Turned), None)
    options = {k: plain(v) for k, v in options.items()}
    if shape is None:
        return function(*args, **options)
    ranks = [np.ndim(a) for a in args]
    if max(ranks) > 2 or np.broadcast_shapes(*[np.shape(a) for a in args]) != shape:
        return function(*plain(args), **options)
    sides = [
        a if rank == 0 else a[:, None] if rank == 1 else _side(a)
        for a, rank in zip(args, ranks, strict=True)
    ]
    return Turned(function(*sides, **options))


def _reduction(function: Callable[..., Any], x: Any, axis: Any = None, **options: Any) -> Any:
    if type(x) is not Turned or options.get("keepdims"):
        return function(plain(x), axis, **options)
    axes = (0, 1) if axis is None else tuple(1 - a % 2 for a in np.atleast_1d(axis).tolist())
    made = function(x.side, axes, **options)
    return made if axes else Turned(made)


def reshape(x: Any, shape: Any) -> Any:
    """x in another shape; often it is the one that it has."""
    if type(x) is Turned and tuple(np.atleast_1d(shape)) in ((-1, x.shape[1]), x.shape):
        return x
    return jnp.reshape(plain(x), shape)


def swapaxes(x: Any, axis1: int, axis2: int) -> Any:
    """x with two axes exchanged."""
    if type(x) is Turned:
        return x.side if axis1 % 2 != axis2 % 2 else x
    return jnp.swapaxes(x, axis1, axis2)


def special(name: str) -> Any:
    """A function of jax.scipy.special, by scipy's name."""
    return partial(_elementwise, xla.special(name))


def _plainly(function: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(function)
    def call(*args: Any, **options: Any) -> Any:
        return function(*plain(args), **{k: plain(v) for k, v in options.items()})

    return call


class _Plainly:
    """A module whose functions take plain arrays."""

    def __init__(self, module: ModuleType):
        self._module = module

    def __getattr__(self, name: str) -> Any:
        return _plainly(getattr(self._module, name))


def _operators() -> None:
    """Give `Turned` Python's operators, each the function of its name."""
    for name, symbol in {
        "add": "add", "subtract": "sub", "multiply": "mul", "divide": "truediv",
        "floor_divide": "floordiv", "remainder": "mod", "power": "pow", "bitwise_and": "and",
        "bitwise_or": "or", "bitwise_xor": "xor",
    }.items():  # fmt: skip
        function = partial(_elementwise, getattr(jnp, name))
        setattr(Turned, f"__{symbol}__", lambda x, y, f=function: f(x, y))
        setattr(Turned, f"__r{symbol}__", lambda x, y, f=function: f(y, x))
    for symbol in ("lt", "le", "gt", "ge", "eq", "ne"):
        function = partial(_elementwise, getattr(operator, symbol))
        setattr(Turned, f"__{symbol}__", lambda x, y, f=function: f(x, y))
    for name, symbol in {"negative": "neg", "absolute": "abs", "invert": "invert"}.items():
        function = partial(_elementwise, getattr(jnp, name))
        setattr(Turned, f"__{symbol}__", lambda x, f=function: f(x))


_operators()


@cache  # and not among the globals, where `max` would be this module's own
def __getattr__(name: str) -> Any:
    value = getattr(xla, name)
    ufunc = getattr(np, name, None)
    if isinstance(value, ModuleType):
        value = _Plainly(value)
    elif callable(value) and not isinstance(value, type):
        if name in _REDUCTIONS:
            value = partial(_reduction, value)
        elif name in _ALSO_ELEMENTWISE or (isinstance(ufunc, np.ufunc) and not ufunc.signature):
            value = partial(_elementwise, value)
        else:
            value = _plainly(value)
    return value
