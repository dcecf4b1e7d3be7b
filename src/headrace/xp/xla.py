"""The array namespace of a trace: `jax.numpy`, and the few functions it lacks.

Importing this module imports jax. What is missing here is jax.numpy's (PEP 562). `check` notes
what must hold; the executor looks at the notes when the segment has run.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.core import Tracer

traced = True
_REAL = (np.float32, np.float64)
# Of products (measured on Zen 5, one core):
_FEW, _FEW_PRODUCTS = 8, 256  # terms that are better summed one by one; times the shorter side
_TINY = 1000  # multiplications from which XLA calls a library
_NARROW = 16  # columns: such a product is fastest of rows by rows
_SMALL = 1 << 12  # elements that are copied in no time
_LARGE, _TALL = 1 << 13, 256  # elements, rows from which a transposed copy pays


class _Notes(threading.local):
    flags: list[Any] | None = None  # of `check`
    plain = False  # whether XLA is not led: what is traced is still to be put into other form


notes = _Notes()  # on the trace now going on


@contextmanager
def plainly() -> Iterator[None]:
    """Lead XLA in nothing, inside: what is traced is still to be put into another form."""
    notes.plain = True
    try:
        yield
    finally:
        notes.plain = False


def on_cpu() -> bool:
    """Whether XLA computes on a CPU, where it is led in some things."""
    return jax.default_backend() == "cpu"


def check(ok: Any, message: Callable[[], str] | str, error: Any = None) -> None:
    """Note that `ok` must hold. If it does not, NumPy runs the segment again and says why."""
    if notes.flags is not None:
        notes.flags.append(jnp.all(ok))


def at_set(x: Any, index: Any, value: Any) -> Any:
    """A copy of x with x[index] = value."""
    return jnp.asarray(x).at[index].set(value)


def at_add(x: Any, index: Any, value: Any) -> Any:
    """A copy of x with `value` added at `index`, duplicates all counted."""
    return jnp.asarray(x).at[index].add(value)


def at_max(x: Any, index: Any, value: Any) -> Any:
    """A copy of x with the maximum of it and `value` at `index`."""
    return jnp.asarray(x).at[index].max(value)


def at_min(x: Any, index: Any, value: Any) -> Any:
    """A copy of x with the minimum of it and `value` at `index`."""
    return jnp.asarray(x).at[index].min(value)


def at_multiply(x: Any, index: Any, value: Any) -> Any:
    """A copy of x multiplied by `value` at `index`, duplicates all counted."""
    return jnp.asarray(x).at[index].multiply(value)


def bitcast(x: Any, dtype: Any) -> Any:
    """The same bits as another type: [..., n] narrower ones per element, or n to make a wider."""
    return lax.bitcast_convert_type(x, dtype)


def join_complex(real: Any, imag: Any) -> Any:
    """real + i·imag, infinities and all."""
    return lax.complex(*jnp.broadcast_arrays(real, imag))


def while_loop(going: Callable[[Any], Any], body: Callable[[Any], Any], carry: Any) -> Any:
    """The carry after as many turns of the body as `going(carry)` is true for."""
    return lax.while_loop(going, body, carry)


def top_k(x: Any, k: int) -> tuple[Any, Any]:
    """(values, indices) of the k largest along the last axis; equal ones in their order."""
    return lax.top_k(x, k)


def special(name: str) -> Any:
    """A function of jax.scipy.special, by scipy's name."""
    import jax.scipy.special

    return getattr(jax.scipy.special, name)


def product(a: Any, b: Any, turn_a: bool, turn_b: bool) -> Any:
    """[..., m, k] by [..., k, n]; one to be turned is given as [..., k, m] or [..., n, k]."""
    if on_cpu() and a.ndim == b.ndim == 2 and a.dtype in _REAL:
        if notes.plain:
            return lax.dot_general(a, b, (((1 - turn_a,), (0 + turn_b,)), ((), ())))
        return _product_on_cpu(a, b, turn_a, turn_b)
    return jnp.matmul(*_upright(a, b, turn_a, turn_b))


def _upright(a: Any, b: Any, turn_a: bool, turn_b: bool) -> tuple[Any, Any]:
    return jnp.swapaxes(a, -1, -2) if turn_a else a, jnp.swapaxes(b, -1, -2) if turn_b else b


def _product_on_cpu(a: Any, b: Any, turn_a: bool, turn_b: bool) -> Any:
    """The product of two matrices, led where XLA on a CPU loses."""
    x, y = _upright(a, b, turn_a, turn_b)
    (m, k), (rows, n) = x.shape, y.shape
    if 0 < k == rows and k <= _FEW and k * min(m, n) <= _FEW_PRODUCTS:
        return functools.reduce(jnp.add, [x[:, i : i + 1] * y[i : i + 1] for i in range(k)])
    if not turn_a or turn_b:
        return x @ y
    # Its products with the first operand turned are slow, and for what is small a call of any other
    # is, unless it is tiny and so written out. A barrier makes it copy what is turned first.
    small = m * k * n >= _TINY
    if max(m, n) <= _NARROW and (small or min(m, n) == 1):
        x, b = lax.optimization_barrier((x, b.T))
        return lax.dot_general(x, b, (((1,), (1,)), ((), ())))
    if n > 1 and small and x.size <= _SMALL:
        return lax.optimization_barrier(x) @ y
    # Rows that lie whole lines of the cache apart push each other out.
    collide = m % 128 == 0 or (m % 32 == 0 and k >= _TALL)
    if n == 1 or not collide or x.size < _LARGE:
        return x @ y

    # What makes `a` must not be fused into the copy, which would be slower still.
    return apart(lambda a, b: lax.optimization_barrier(a.T) @ b, a, b)


def apart(make: Callable[..., Any], *arrays: Any) -> Any:
    """make(*arrays), an array that is computed once and that XLA on a CPU fuses nothing with."""
    if not on_cpu() or notes.plain:
        return make(*arrays)
    made = jax.eval_shape(make, *arrays)
    return lax.cond(_always(arrays), make, lambda *_: jnp.zeros(made.shape, made.dtype), *arrays)


def hold_back(xs: Sequence[Any]) -> list[Any]:
    """The arrays, none to be had before all are, and nothing else's to the compiler.

    XLA on a CPU drops its own barrier before it finds out what is computed twice.
    """
    if notes.plain:
        return list(xs)
    if not on_cpu():
        return list(lax.optimization_barrier(tuple(xs)))
    always = _always(xs)
    return [jnp.where(always, x, jnp.zeros((), x.dtype)) for x in xs]


def after(x: Any, others: Sequence[Any]) -> Any:
    """x, to be had when the others are: what is made of it may then take its memory."""
    if notes.plain or not on_cpu():
        return x
    others = [getattr(o, "side", o) for o in others]  # of a Turned: what is computed
    firsts = [o[(0,) * o.ndim] for o in others if isinstance(o, Tracer) and o.size]
    if not firsts:
        return x
    there = apart(lambda *firsts: _always(firsts), *firsts)  # by itself, or it would keep them
    return jnp.where(there, x, jnp.zeros((), x.dtype))


def _always(xs: Sequence[Any]) -> Any:
    """True, which XLA does not see through: it hangs on an element of each array."""
    first = [jnp.real(x[(0,) * x.ndim]) for x in xs if np.size(x)]
    bits = [lax.convert_element_type(f, jnp.int32) for f in first]
    return functools.reduce(lax.bitwise_or, bits, jnp.int32(1)) != 0


def __getattr__(name: str) -> Any:
    return getattr(jnp, name)  # and not kept in the globals, where `max` would be this module's own
