"""Rows in blocks: what is computed for each row by itself is computed for some rows at a time.

A network that is run over thousands of points makes dozens of arrays of thousands of rows, each of
them written to memory and read again. Here its equations are sorted: those that hang on weights
alone come first; then, in a loop over blocks of rows, all that is computed row by row, and sums
over rows, added up from block to block; then what is made of the sums. So the arrays of a block
stay in the caches, and scratch memory is that of a block.

It works on JAX's equations. What it has no rule for is left as it is, and so are rows that hang on
a sum over all of them, as in batch normalisation.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jax import lax
from jax.extend.core import ClosedJaxpr, Literal

from headrace.runtime.memory import cores
from headrace.xp import xla

MANY = 2048  # rows from which there may be something to gain
_WORTH = 1 << 24  # bytes that all arrays of rows have to have
_CACHED = 80_000  # bytes that an array of a block may have: a dozen are in use at a time
_FEWEST, _MOST = 1024, 8192  # rows of a block
_SHARED = 1 << 20  # bytes of a block's widest array from which several cores gain by sharing it
_COARSE = ("float16", "bfloat16")  # to add up sums in


class _UnknownError(Exception):
    """There is no rule for an equation, or rows do not stay apart."""


@dataclass(slots=True, eq=False)
class _Value:
    """An array of the trace."""

    shape: tuple[int, ...]
    dtype: Any
    given: bool = False  # an input or a constant
    constant: Any = None
    axis: int | None = None  # that of the rows
    looped: bool = False  # made in the loop, so that it is not there whole
    late: bool = False  # hangs on a sum over rows, so that it is there after the loop only

    @property
    def nbytes(self) -> int:
        """Size in bytes."""
        return math.prod(self.shape) * self.dtype.itemsize


@dataclass(slots=True, eq=False)
class _Equation:
    """An application of a primitive."""

    primitive: Any
    params: dict[str, Any]
    ins: list[_Value]
    outs: list[_Value]

    @property
    def name(self) -> str:
        """The primitive's."""
        return self.primitive.name


Env = dict[_Value, Any]


def in_blocks(closed: ClosedJaxpr, among: Collection[int]) -> Blocks | None:
    """The same function with rows in blocks, where rows are as many as one of `among` says. None if
    that cannot be done or is not worth it."""
    ins, equations, outs = _written_out(closed)
    sizes: Counter[int] = Counter()
    for v in {v for e in equations for v in e.outs}:
        sizes.update(dict.fromkeys(v.shape, v.nbytes))
    rows = max(among, key=lambda n: sizes[n])
    if sizes[rows] < _WORTH:
        return None
    try:
        blocks = Blocks(rows, ins, equations, outs)
    except _UnknownError:
        return None
    return blocks if blocks.count > 1 else None


def _written_out(closed: ClosedJaxpr) -> tuple[list[_Value], list[_Equation], list[_Value]]:
    """Inputs, equations and outputs of a trace, its calls replaced by what they call."""
    equations: list[_Equation] = []

    def write(closed: ClosedJaxpr, ins: Sequence[_Value]) -> list[_Value]:
        jaxpr = closed.jaxpr
        values: dict[Any, _Value] = dict(zip(jaxpr.invars, ins, strict=True))
        for v, constant in zip(jaxpr.constvars, closed.consts, strict=True):
            values[v] = _Value(*_kind(v.aval), True, constant)

        def value(atom: Any) -> _Value:
            if isinstance(atom, Literal):
                return _Value(*_kind(atom.aval), True, atom.val)
            return values[atom]

        for e in jaxpr.eqns:
            args = [value(a) for a in e.invars]
            called = e.params.get("jaxpr") or e.params.get("call_jaxpr")
            if e.primitive.name in _CALLS and called is not None:
                outs = write(called, args)
            else:
                outs = [_Value(*_kind(v.aval)) for v in e.outvars]
                equations.append(_Equation(e.primitive, e.params, args, outs))
            values.update(zip(e.outvars, outs, strict=True))
        return [value(a) for a in jaxpr.outvars]

    ins = [_Value(*_kind(a), True) for a in closed.in_avals]
    return ins, equations, write(closed, ins)


def _kind(aval: Any) -> tuple[tuple[int, ...], Any]:
    return aval.shape, aval.dtype


_CALLS = frozenset({"jit", "pjit", "closed_call", "core_call", "custom_jvp_call"})


# -- sorting ---------------------------------------------------------------------------------------


class Blocks:
    """A function of arrays: equations sorted into those before, in and after a loop over blocks.

    A block has `size` rows, the last may have fewer; there are `count` of them.
    """

    def __init__(
        self, rows: int, ins: list[_Value], equations: list[_Equation], outs: list[_Value]
    ):
        """For so many rows. _UnknownError if these do not stay apart."""
        self._rows, self._ins, self._outs = rows, ins, outs
        self._before: list[_Equation] = []
        self._looped: list[_Equation] = []
        self._after: list[_Equation] = []
        self._read: dict[_Value, int] = {}  # in the loop, though they are whole: along which axis
        self._makers: dict[_Value, _Equation] = {}  # of what is repeated, perhaps for each row
        self._sums: dict[_Value, str] = {}  # and how they are added up
        for v in {v for e in equations for v in e.ins if v.given}:
            if v.shape.count(rows) == 1:
                v.axis = v.shape.index(rows)
        for e in equations:
            if any(v.late for v in e.ins):
                self._put_after(e)
            elif all(v.axis is None for v in e.ins) or not self._loop(e):
                self._before.append(e)
                if e.name == "broadcast_in_dim":
                    self._makers[e.outs[0]] = e
        self._kept = [v for v in dict.fromkeys(outs) if v.looped]
        self.size = self._block_size()
        self.count = math.ceil(rows / self.size)

    def _put_after(self, e: _Equation) -> None:
        if any(v.looped for v in e.ins):
            raise _UnknownError
        self._after.append(e)
        for out in e.outs:
            out.late = True

    def _loop(self, e: _Equation) -> bool:
        """Put an equation into the loop; False if it need not be there: its operands are whole."""
        try:
            needed, made = _rule_of(e)(e, [v.axis for v in e.ins])
            for v, axis in zip(e.ins, needed, strict=True):
                known = self._read.get(v, axis) if v.axis is None else v.axis
                if axis != known or (axis is not None and v.shape[axis] != self._rows):
                    raise _UnknownError
            for out, axis in zip(e.outs, made, strict=True):
                if isinstance(axis, int) and out.shape[axis] != self._rows:
                    raise _UnknownError
                if isinstance(axis, str) and out.dtype.name in _COARSE:
                    raise _UnknownError
        except _UnknownError:
            if any(v.looped for v in e.ins):
                raise
            return False
        for v, axis in zip(e.ins, needed, strict=True):
            if axis is not None and not v.looped:
                self._read[v] = axis
        for out, axis in zip(e.outs, made, strict=True):
            if isinstance(axis, str):
                self._sums[out] = axis
                out.late = True
            else:
                out.axis, out.looped = axis, True
        self._looped.append(e)
        return True

    def _block_size(self) -> int:
        """The rows of a block: no more than keep its arrays in the caches, and if it can be so many
        that all blocks are alike. As many as there are if that is not worth it."""
        row = max(
            (v.nbytes / self._rows for e in self._looped for v in e.outs if v.looped), default=1
        )
        wanted = min(max(int(_CACHED / row), _FEWEST), _MOST)
        if 2 * wanted > self._rows or (cores() > 1 and wanted * row < _SHARED):
            return self._rows
        even = [n for n in range(wanted // 2, wanted * 3 // 2 + 1) if self._rows % n == 0]
        return min(even, key=lambda n: abs(n - wanted), default=wanted)

    # -- computing -------------------------------------------------------------------------------

    def __call__(self, *args: Any) -> list[Any]:
        """The results for these arguments."""
        whole: Env = dict(zip(self._ins, args, strict=True))
        self._compute(self._before, whole)

        def block(start: Any, size: int, carry: Any) -> Any:
            env = dict(whole)
            for v, axis in self._read.items():
                if self._is_alike(v, axis):
                    self._compute([self._makers[v]], env, size, axis)
                else:
                    env[v] = lax.dynamic_slice_in_dim(_get(v, whole), start, size, axis)
            self._compute(self._looped, env, size)
            sums, given = carry
            sums = [
                _ADDED_UP[how][0](total, env[v])
                for total, (v, how) in zip(sums, self._sums.items(), strict=True)
            ]
            given = [
                lax.dynamic_update_slice_in_dim(array, env[v], start, v.axis or 0)
                for array, v in zip(given, self._kept, strict=True)
            ]
            return sums, given

        nothing = [
            np.full(v.shape, _ADDED_UP[how][1](v.dtype), v.dtype) for v, how in self._sums.items()
        ]
        carry = nothing, [np.zeros(v.shape, v.dtype) for v in self._kept]
        size, (count, rest) = self.size, divmod(self._rows, self.size)
        carry = lax.fori_loop(0, count, lambda i, c: block(i * size, size, c), carry)
        if rest:
            carry = block(self._rows - rest, rest, carry)
        whole.update(zip(self._sums, carry[0], strict=True))
        whole.update(zip(self._kept, carry[1], strict=True))
        self._compute(self._after, whole)
        return [_get(v, whole) for v in self._outs]

    def _is_alike(self, v: _Value, axis: int) -> bool:
        """Whether all rows are the same, repeated: then it is made as long as is needed."""
        return v in self._makers and axis not in self._makers[v].params["broadcast_dimensions"]

    def _compute(
        self, equations: Iterable[_Equation], env: Env, size: int | None = None,
        axis: int | None = None,
    ) -> None:  # fmt: skip
        """Compute equations, of so many rows (along an axis, if it is not the value's own)."""
        for e in equations:
            args = [_get(v, env) for v in e.ins]
            out = e.outs[0]
            params = _sized(e, size, out.axis if axis is None else axis)
            if e.name == "dot_general" and size is not None:
                made = _dot(e, args)
            else:
                made = e.primitive.bind(*args, **params)
            env.update(zip(e.outs, made if e.primitive.multiple_results else [made], strict=True))


def _get(v: _Value, env: Env) -> Any:
    return env.get(v, v.constant)


def _sized(e: _Equation, size: int | None, axis: int | None) -> dict[str, Any]:
    """The parameters of an equation for so many rows along an axis of what it makes."""
    key = _SIZES.get(e.name)
    if key is None or size is None or axis is None:
        return e.params
    shape = list(e.params[key])
    shape[axis] = size
    return {**e.params, key: tuple(shape)}


_SIZES = {"broadcast_in_dim": "shape", "reshape": "new_sizes", "slice": "limit_indices"}


def _dot(e: _Equation, args: Sequence[Any]) -> Any:
    """A product, led as those are that are not in blocks."""
    (lhs, rhs), batch = e.params["dimension_numbers"]
    if batch != ((), ()) or len(lhs) != 1 or any(v.ndim != 2 for v in args):
        return e.primitive.bind(*args, **e.params)
    a, b = args
    return xla.product(a, b, lhs[0] == 0, rhs[0] == 1)


def _largest(dtype: Any, sign: int) -> Any:
    """The largest value of a type, or with sign -1 the smallest."""
    if dtype.kind == "b":
        return sign > 0
    if np.issubdtype(dtype, np.integer):
        return np.iinfo(dtype).max if sign > 0 else np.iinfo(dtype).min
    return sign * np.inf


# By what a sum over rows is added to another, and what is nothing for it, for a type.
_ADDED_UP: dict[str, tuple[Callable[[Any, Any], Any], Callable[[Any], Any]]] = {
    "reduce_sum": (lax.add, lambda dtype: 0),
    "reduce_prod": (lax.mul, lambda dtype: 1),
    "reduce_and": (lax.bitwise_and, lambda dtype: dtype.kind == "b" or -1),
    "reduce_or": (lax.bitwise_or, lambda dtype: 0),
    "reduce_max": (lax.max, lambda dtype: _largest(dtype, -1)),
    "reduce_min": (lax.min, lambda dtype: _largest(dtype, 1)),
}


# -- rules -----------------------------------------------------------------------------------------

# A rule gives, for the axes that the operands' rows lie along (None: it has none), those that the
# operands' must lie along, and for each result its own, or if it is a sum over rows its name.
Axes = Sequence[int | None]
Rule = Callable[[_Equation, Axes], tuple[Sequence[int | None], Sequence[int | str]]]

_ELEMENTWISE = frozenset((
    "abs", "acos", "acosh", "add", "and", "asin", "asinh", "atan", "atan2", "atanh", "cbrt", "ceil",
    "clamp", "clz", "complex", "conj", "convert_element_type", "copy", "cos", "cosh", "digamma",
    "div", "eq", "erf", "erf_inv", "erfc", "exp", "exp2", "expm1", "floor", "ge", "gt", "igamma",
    "igammac", "imag", "integer_pow", "is_finite", "le", "lgamma", "log", "log1p", "logistic", "lt",
    "max", "min", "mul", "ne", "neg", "nextafter", "not", "or", "polygamma", "population_count",
    "pow", "real", "reduce_precision", "rem", "round", "rsqrt", "select_n", "shift_left",
    "shift_right_arithmetic", "shift_right_logical", "sign", "sin", "sinh", "sqrt", "square",
    "stop_gradient", "sub", "tan", "tanh", "xor", "zeta",
))  # fmt: skip


def _rule_of(e: _Equation) -> Rule:
    if e.name in _ELEMENTWISE:
        return _elementwise
    if e.name not in _RULES:
        raise _UnknownError
    return _RULES[e.name]


def _only(axes: Axes) -> int:
    """The axis, if it is one."""
    (axis, *others) = {a for a in axes if a is not None}
    if others:
        raise _UnknownError
    return axis


def _elementwise(e: _Equation, axes: Axes) -> Any:
    axis = _only(axes)
    alike = [not v.shape or v.shape[axis] == 1 for v in e.ins]
    return [None if a else axis for a in alike], [axis] * len(e.outs)


def _along(parameter: str) -> Rule:
    """The rule of what is done along an axis, or several, that a parameter names."""

    def rule(e: _Equation, axes: Axes) -> Any:
        axis, along = _only(axes), e.params[parameter]
        if axis in (along if isinstance(along, tuple) else [along]):
            raise _UnknownError
        return [axis] * len(e.ins), [axis] * len(e.outs)

    return rule


def _reduce(e: _Equation, axes: Axes) -> Any:
    axis, gone = _only(axes), e.params["axes"]
    if axis not in gone:
        return axes, [axis - sum(a < axis for a in gone)]
    if e.name not in _ADDED_UP:
        raise _UnknownError
    return axes, [e.name]


def _broadcast(e: _Equation, axes: Axes) -> Any:
    axis = _only(axes)
    return axes, [e.params["broadcast_dimensions"][axis]]


def _reshape(e: _Equation, axes: Axes) -> Any:
    axis, old, new = _only(axes), e.ins[0].shape, e.params["new_sizes"]
    for i, n in enumerate(new):
        if (
            n == old[axis]
            and np.prod(new[:i]) == np.prod(old[:axis])
            and not e.params["dimensions"]
        ):
            return axes, [i]
    raise _UnknownError


def _transpose(e: _Equation, axes: Axes) -> Any:
    return axes, [e.params["permutation"].index(_only(axes))]


def _squeeze(e: _Equation, axes: Axes) -> Any:
    axis = _only(axes)
    return axes, [axis - sum(d < axis for d in e.params["dimensions"])]


def _slice(e: _Equation, axes: Axes) -> Any:
    axis, strides = _only(axes), e.params["strides"]
    if e.outs[0].shape[axis] != e.ins[0].shape[axis] or (
        strides is not None and strides[axis] != 1
    ):
        raise _UnknownError
    return axes, axes


def _pad(e: _Equation, axes: Axes) -> Any:
    axis = _only(axes)
    if e.params["padding_config"][axis] != (0, 0, 0):
        raise _UnknownError
    return [axis, None], [axis]


def _gather(e: _Equation, axes: Axes) -> Any:
    """Elements of each row, or rows of a table, by indices of which each row has its own."""
    numbers, (operand, index) = e.params["dimension_numbers"], axes
    together = (numbers.operand_batching_dims, numbers.start_indices_batching_dims)
    if index is None or index == len(e.ins[1].shape) - 1:
        raise _UnknownError
    if operand is not None and (operand, index) not in zip(*together, strict=True):
        raise _UnknownError
    others = [i for i in range(len(e.outs[0].shape)) if i not in numbers.offset_dims]
    return axes, [others[index]]


def _barrier(e: _Equation, axes: Axes) -> Any:
    if None in axes:
        raise _UnknownError
    return axes, axes


def _product(e: _Equation, axes: Axes) -> Any:
    contracted, batch = e.params["dimension_numbers"]
    for pairs, made in ((contracted, "reduce_sum"), (batch, None)):
        for i, pair in enumerate(zip(*pairs, strict=True)):
            if any(axis == mine for axis, mine in zip(axes, pair, strict=True)):
                return pair, [i if made is None else made]
    if None not in axes:
        raise _UnknownError
    place = len(batch[0])  # free axes come after those of the batch
    for side, (v, axis) in enumerate(zip(e.ins, axes, strict=True)):
        free = [i for i in range(len(v.shape)) if i not in (*contracted[side], *batch[side])]
        if axis is not None:
            return axes, [place + free.index(axis)]
        place += len(free)
    raise _UnknownError


_RULES: dict[str, Rule] = {
    "broadcast_in_dim": _broadcast, "concatenate": _along("dimension"), "dot_general": _product,
    "gather": _gather, "optimization_barrier": _barrier, "pad": _pad, "reshape": _reshape,
    "rev": _along("dimensions"), "slice": _slice, "sort": _along("dimension"),
    "split": _along("axis"), "squeeze": _squeeze, "transpose": _transpose,
    **dict.fromkeys(("cumlogsumexp", "cummax", "cummin", "cumprod", "cumsum"), _along("axis")),
    **dict.fromkeys((*_ADDED_UP, "argmax", "argmin"), _reduce),
}  # fmt: skip
