"""The array namespace of the host: NumPy, and the few functions it lacks.

What is missing here is NumPy's (PEP 562). `check` refuses at once.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from headrace.errors import InvalidArgumentError

traced = False


def check(ok: Any, message: Callable[[], str] | str, error: type = InvalidArgumentError) -> None:
    """Raise `error` with `message` unless `ok`; under XLA the check is made after the segment."""
    if not ok:
        raise error(None, None, message if isinstance(message, str) else message())


def at_set(x: Any, index: Any, value: Any) -> Any:
    """A copy of x with x[index] = value."""
    x = np.array(x)
    x[index] = value
    return x


def at_add(x: Any, index: Any, value: Any) -> Any:
    """A copy of x with `value` added at `index`, duplicates all counted."""
    x = np.array(x)
    np.add.at(x, index, value)
    return x


def at_max(x: Any, index: Any, value: Any) -> Any:
    """A copy of x with the maximum of it and `value` at `index`."""
    x = np.array(x)
    np.maximum.at(x, index, value)
    return x


def at_min(x: Any, index: Any, value: Any) -> Any:
    """A copy of x with the minimum of it and `value` at `index`."""
    x = np.array(x)
    np.minimum.at(x, index, value)
    return x


def at_multiply(x: Any, index: Any, value: Any) -> Any:
    """A copy of x multiplied by `value` at `index`, duplicates all counted."""
    x = np.array(x)
    np.multiply.at(x, index, value)
    return x


def bitcast(x: Any, dtype: Any) -> Any:
    """The same bits as another type: [..., n] narrower ones per element, or n to make a wider."""
    x = np.asarray(x, order="C")
    before, after = x.dtype.itemsize, np.dtype(dtype).itemsize
    if before > after:
        return x[..., None].view(dtype)
    return x.view(dtype) if before == after else x.view(dtype)[..., 0]


def join_complex(real: Any, imag: Any) -> Any:
    """real + i·imag, infinities and all."""
    real, imag = np.broadcast_arrays(real, imag)
    z = np.empty(real.shape, np.result_type(real, np.complex64))
    z.real, z.imag = real, imag
    return z


def while_loop(going: Callable[[Any], Any], body: Callable[[Any], Any], carry: Any) -> Any:
    """The carry after as many turns of the body as `going(carry)` is true for."""
    while going(carry):
        carry = body(carry)
    return carry


def top_k(x: Any, k: int) -> tuple[Any, Any]:
    """(values, indices) of the k largest along the last axis; equal ones in their order."""
    if k == 1:
        indices = np.argmax(x, axis=-1, keepdims=True)
    else:  # sorted backwards and then turned round, the first of equal ones comes first
        back = np.argsort(x[..., ::-1], axis=-1, stable=True)[..., ::-1]
        indices = x.shape[-1] - 1 - back[..., :k]
    return np.take_along_axis(x, indices, axis=-1), indices


def special(name: str) -> Any:
    """A function of scipy.special, which is imported only when one is needed."""
    import scipy.special

    return getattr(scipy.special, name)


def product(a: Any, b: Any, turn_a: bool, turn_b: bool) -> Any:
    """[..., m, k] by [..., k, n]; one to be turned is given as [..., k, m] or [..., n, k]."""
    if turn_a:
        a = np.swapaxes(a, -1, -2)
    if turn_b:
        b = np.swapaxes(b, -1, -2)
    if a.dtype.itemsize == 2 and a.dtype.kind not in "iu":  # there is no BLAS for half floats
        return np.matmul(a.astype(np.float32), b.astype(np.float32)).astype(a.dtype)
    return np.matmul(a, b)


def hold_back(xs: Sequence[Any]) -> list[Any]:
    """The arrays, none to be had before all are, and nothing else's to the compiler."""
    return list(xs)


def __getattr__(name: str) -> Any:
    value = getattr(np, name)
    globals()[name] = value
    return value
