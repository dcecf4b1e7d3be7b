"""Many runs of a segment as one XLA computation: its trace as the body of a loop."""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import nullcontext
from typing import Any

import jax
import numpy as np
from jax import lax

from headrace.node import Operation, Tensor
from headrace.runtime.plan import Name, Segment, Version
from headrace.runtime.state import Pack
from headrace.runtime.xla import (
    TracedSegment,
    compiling,
    for_each_setting,
    function_of,
    is_wide,
    like,
)
from headrace.xp import xla as xla_namespace

_MOST_TURNS = 1 << 16
_LOOP_SECONDS, _LOOP_BYTES = 0.1, 1 << 26  # of one call of a loop; of what it stacks and is fed
_TURN, _FLOP, _BYTE = 1e-6, 5e-12, 1e-11  # seconds: what each is held to cost


class CompiledLoop:
    """Many runs of a segment as one computation: a loop of as many turns as it is told.

    Packs and variables that a turn writes go round in the loop, and so do the Philox states, moved
    on as the host would. Of a fed tensor in `each` there is an array [length, ...], an element for
    each turn; of one in `rows` an array [n, ...], of which turn i takes the rows `index[i]`; all
    else is the same in every turn.

    `call(turns, state, same, each, rows, index, streams)` takes the number of turns, int32 and at
    most `length`; the arrays of `state`, `same`, `each` and `rows`; int32 [length, batch] if there
    are `rows`; and Philox states [n, 6] if there are any. It gives how many turns went well (one
    that fails a check ends the loop, and what else is given is of no use then), the arrays of
    `state` after them, and for each of `fetched` an array [length, ...] if `stacked`, else that of
    the last turn. State is donated unless there are checks.

    The code is the same whatever the number of turns. What a turn is fed is cut out in a branch,
    and what it gives is put in place in the turn after: XLA would fuse either with the work of the
    turn, and so round otherwise than in a single run.
    """

    def __init__(
        self,
        segment: Segment,
        constants: dict[Name, Any],
        values: dict[Name, Any],
        final: dict[Operation, Version],
        packs: Sequence[Pack],
        fetched: Sequence[Name],
        each: Sequence[Tensor],
        rows: dict[Tensor, Any],
        stacked: bool,
        steps: int,
    ):
        """Compile for turns with inputs like `values`; some `steps` are wanted.

        ValueError if a turn leaves a variable in another shape or type than it found it.
        """
        self._step = step = TracedSegment(segment, constants, values, final, packs, fetched)
        self.random, self.drawn = step.random, step.drawn
        self.fetched, self.stacked = list(dict.fromkeys(fetched)), stacked
        packed = {n for p in packs for n in p.names}
        lone = [v for v in final if Version(v, 0) not in packed]
        self.state: list[Any] = [*step.written, *(Version(v, 0) for v in lone)]
        self._after: list[Any] = [*step.written, *(final[v] for v in lone)]
        known = {*self.state, *packed, *step.results}
        taken = [n for n in dict.fromkeys([*step.arguments, *self.fetched]) if n not in known]
        self.each = [n for n in taken if n in each]
        self.rows = [n for n in taken if n in rows]
        self.same = [n for n in taken if n not in each and n not in rows]
        index = next((values[n].shape[:1] for n in self.rows), ())
        with compiling():
            self._turn = jax.jit(step.trace, inline=True)  # traced here, and in the loop not again
            one = self._turn.lower(*step.like(values))
            self.checks = step.checks
            made = dict(zip(step.results, one.out_info, strict=False))
            before = [like(n, values) for n in self.state]
            if any(_kind(a) != _kind(made[n]) for a, n in zip(before, self._after, strict=True)):
                raise ValueError("A variable does not keep its shape.")
            self._outs = [_kind(made[n] if n in made else values[n]) for n in self.fetched]
            fed = [_kind(values[n]) for n in self.each]
            self.most = _most_turns(one, step.blocks, [*fed, *(self._outs if stacked else ())])
            self.length = min(self.most, 1 << (steps - 1).bit_length())
            inputs = (
                before,
                [like(n, values) for n in self.same],
                [jax.ShapeDtypeStruct((self.length, *shape), dtype) for shape, dtype in fed],
                [like(n, rows) for n in self.rows],
                jax.ShapeDtypeStruct((self.length, *index), np.int32) if self.rows else None,
                jax.ShapeDtypeStruct((len(step.random), 6), np.uint32) if step.random else None,
                list(step.large.values()),
            )
            self._large = [jax.device_put(c) for c in step.large.values()]
        self._wide = is_wide(jax.tree.leaves(inputs))
        self._function = for_each_setting(lambda: self._compile(inputs))
        if xla_namespace.on_cpu():
            step.forget()
            del self._turn

    def _compile(self, inputs: Any) -> Any:
        donated = () if self.checks else 1
        with compiling():
            lowered = jax.jit(self._trace, donate_argnums=donated).lower(np.int32(0), *inputs)
            self._compiled = lowered.compile()
        return function_of(self._compiled)

    def call(self, turns: int, *inputs: Any) -> Any:
        """Run so many turns: how many went well, state, what is fetched."""
        with jax.enable_x64(True) if self._wide else nullcontext():
            done, state, fetched = self._function(np.int32(turns), *inputs, self._large)
        return turns if done is None else int(np.asarray(done)), state, fetched

    def _trace(
        self, turns: Any, state: Any, same: Any, each: Any, rows: Any, index: Any, streams: Any,
        constants: Any,
    ) -> Any:  # fmt: skip
        step, jnp = self._step, xla_namespace

        def fed(i: Any) -> list[Any]:
            elements = [lax.dynamic_index_in_dim(a, i, keepdims=False) for a in each]
            if not rows:
                return elements
            now = lax.dynamic_index_in_dim(index, i, keepdims=False)
            return [*elements, *(jnp.take(a, now, axis=0, mode="clip") for a in rows)]

        def put(outs: list[Any], values: list[Any], i: Any) -> list[Any]:
            pairs = zip(outs, values, strict=True) if self.stacked else ()
            return [lax.dynamic_update_index_in_dim(o, value, i, 0) for o, value in pairs]

        def none(i: Any) -> list[Any]:
            return [jnp.zeros(f.shape, f.dtype) for f in jax.eval_shape(fed, 0)]

        def turn(carry: Any) -> Any:
            i, _, state, streams, new, outs = carry
            if xla_namespace.on_cpu():
                given = lax.cond(i < turns, fed, none, i)  # always; nothing fuses into a branch
            else:  # where to choose a branch is to wait for the device
                given = lax.optimization_barrier(fed(i))
            outs = put(outs, new, i - 1)
            i, fixed = lax.optimization_barrier((i, same))
            env = dict(zip(self.state, state, strict=True))
            env.update(zip([*self.same, *self.each, *self.rows], [*fixed, *given], strict=True))
            args = [env[n] for n in step.arguments]
            made = self._turn(*args, *constants, *([streams] if self.random else ()))
            for pack in step.packs:
                env.update(pack.split(env[pack]))
            env.update(zip(step.results, made, strict=False))
            ok = made[-1] if step.checks else np.bool_(True)
            state, new = ([env[n] for n in names] for names in (self._after, self.fetched))
            if self.random:
                streams = _moved(streams, self.drawn)
            return i + ok.astype(np.int32), ok, state, streams, new, outs

        new = [jnp.zeros(shape, dtype) for shape, dtype in self._outs]
        outs = [jnp.zeros((self.length, *shape), dtype) for shape, dtype in self._outs]
        outs = outs if self.stacked else []
        start = np.int32(0), np.bool_(True), state, streams, new, outs
        end = lax.while_loop(lambda c: c[1] & (c[0] < turns), turn, start)
        done, _, state, _, new, outs = end
        fetched = put(outs, new, done - 1) if self.stacked else new
        return done if step.checks else None, state, fetched


def _kind(a: Any) -> tuple[tuple[int, ...], Any]:
    return tuple(np.shape(a)), np.dtype(a.dtype)


def _moved(streams: Any, blocks: Sequence[int]) -> Any:
    """Philox states [n, 6], each moved on by so many blocks, as `philox.advance` does it."""
    low, mask = np.uint64(32), np.uint64(0xFFFFFFFF)
    words = [xla_namespace.asarray(streams[:, i]) for i in range(6)]
    carry = np.uint64(0)
    for i in range(4):
        added = np.array([n >> 32 * i & 0xFFFFFFFF for n in blocks], np.uint64)
        total = words[2 + i].astype(np.uint64) + added + carry
        words[2 + i], carry = (total & mask).astype(np.uint32), total >> low
    return xla_namespace.stack(words, axis=1)


def _most_turns(one: Any, blocks: int, kept: Sequence[tuple[tuple[int, ...], Any]]) -> int:
    """How many turns one call may take, a power of two: by the estimated work of a run, and the
    shapes and types of what is kept of each. XLA counts the work of one block of rows only."""
    cost = one.cost_analysis() or {}
    work = _FLOP * cost.get("flops", 0) + _BYTE * cost.get("bytes accessed", 0)
    size = sum(math.prod(shape) * dtype.itemsize for shape, dtype in kept)
    most = min(_LOOP_SECONDS / (_TURN + work * blocks), _LOOP_BYTES / max(size, 1), _MOST_TURNS)
    return 1 << max(int(most).bit_length() - 1, 0)
