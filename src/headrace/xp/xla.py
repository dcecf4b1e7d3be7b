"""The array namespace of a trace: `jax.numpy`, and the few functions it lacks.

Importing this module imports jax. What is missing here is jax.numpy's (PEP 562). `check` notes
what must hold; the executor looks at the notes when the segment has run.
"""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.core import Tracer

traced = True
_LARGE, _TALL = 1 << 13, 256  # elements, rows from which a transposed copy pays


class _Notes(threading.local):
    flags: list[Any] | None = None


notes = _Notes()  # the flags of the trace now going on


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
    if turn_b:
        b = jnp.swapaxes(b, -1, -2)
    if not turn_a:
        return jnp.matmul(a, b)
    if turn_b or b.shape[-1] == 1 or not _collides(a) or jax.default_backend() != "cpu":
        return jnp.matmul(jnp.swapaxes(a, -1, -2), b)

    # A barrier makes XLA copy what is turned, and a branch keeps it from fusing what makes `a` into
    # the copy, which would be slower still.
    def multiply(a: Any, b: Any) -> Any:
        return jnp.matmul(lax.optimization_barrier(jnp.swapaxes(a, -1, -2)), b)

    made = jax.eval_shape(multiply, a, b)
    return lax.cond(_always((a, b)), multiply, lambda *_: jnp.zeros(made.shape, made.dtype), a, b)


def _collides(a: Any) -> bool:
    """Whether XLA on a CPU is slow to go down the columns of [..., k, m]: rows that lie whole lines
    of the cache apart (multiples of 128 elements above all) push each other out of it."""
    rows, columns = a.shape[-2:]
    apart = columns % 128 == 0 or (columns % 32 == 0 and rows >= _TALL)
    return apart and a.size >= _LARGE


def hold_back(xs: Sequence[Any]) -> list[Any]:
    """The arrays, none to be had before all are, and nothing else's to the compiler.

    XLA on a CPU drops its own barrier before it finds out what is computed twice.
    """
    if jax.default_backend() != "cpu":
        return list(lax.optimization_barrier(tuple(xs)))
    always = _always(xs)
    return [jnp.where(always, x, jnp.zeros((), x.dtype)) for x in xs]


def after(x: Any, others: Sequence[Any]) -> Any:
    """x, to be had when the others are: what is made of it may then take its memory."""
    others = [getattr(o, "side", o) for o in others]  # of a Turned: what is computed
    others = [o for o in others if isinstance(o, Tracer)]
    if not others or jax.default_backend() != "cpu":
        return x
    return jnp.where(_always(others), x, jnp.zeros((), x.dtype))


def _always(xs: Sequence[Any]) -> Any:
    """True, which XLA does not see through: it hangs on an element of each array."""
    first = [jnp.real(x[(0,) * x.ndim]) for x in xs if np.size(x)]
    bits = [lax.convert_element_type(f, jnp.int32) for f in first]
    return functools.reduce(lax.bitwise_or, bits, jnp.int32(1)) != 0


def __getattr__(name: str) -> Any:
    value = getattr(jnp, name)
    globals()[name] = value
    return value
