"""A plan made ready to run, and the rule of tiers.

The first time that fetches, feeds and shapes are run together NumPy interprets them; the second
time XLA compiles. The rule depends on counts and shapes only, never on the clock, so that equal
programs give equal bits.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from headrace import errors
from headrace.node import Operation, Tensor, where
from headrace.runtime.execute import execute
from headrace.runtime.plan import Plan, Segment, Step, Version, make_plan
from headrace.runtime.runner import Runner, make_runner
from headrace.runtime.state import MISSING, Pack, State, layouts

_MOST_COMPILED = 64  # computations kept per program and segment
_STATIC_TRIES = 8  # static values compiled for before they are held to change at every run
_MOST_COUNTED = 10_000  # signatures of which a session remembers how often they were run
_STEPS_PER_WAIT = 1000  # a run of so many steps more waits one run longer before it is compiled

Observer = Callable[[Step, int, Sequence[Any]], None]  # of a step, when it began, its results


class Program:
    """A plan with what was compiled for it. Shared by the sessions of a graph."""

    def __init__(
        self,
        fetches: Sequence[Tensor | Operation],
        feeds: Sequence[Tensor],
        packs: dict[Operation, Pack],
    ):
        """Plan; `packs` is the graph's record of which variable lies in which pack."""
        self.plan: Plan = make_plan(fetches, feeds)
        self._graph_packs = packs
        self.touches_state = bool(self.plan.required or self.plan.optional or self.plan.final)
        self.locks = self.touches_state or any(s.op.definition.random for s in self.plan.steps)
        self._effects = self.plan.has_effects
        self._device = any(not s.host for s in self.plan.segments)
        self._wait = 1 + len(self.plan.steps) // _STEPS_PER_WAIT
        self._compiled: dict[Segment, OrderedDict[Any, Any]] = {
            s: OrderedDict() for s in self.plan.segments if not s.host
        }
        self.fast: dict[Any, Runner] = {}  # by signature
        self._lock = threading.Lock()  # several sessions may compile at once
        self._single = len(self.plan.segments) == 1 and self._device

    def run(self, state: State, values: list[Any], signature: Any) -> list[Any]:
        """The fetched arrays. Variables change only if everything succeeded."""
        plan = self.plan
        if not self._device:
            return self._run_general(state, values, False)
        key = (self, signature)
        if state.count(key, _MOST_COUNTED) <= self._wait:
            return self._run_general(state, values, False)
        if self._single and not self._effects and not plan.segments[0].static and not plan.optional:
            made = self._make_fast(state, values, signature)
            if made is not None:
                return made(state, values)
        return self._run_general(state, values, True)

    # -- the general way -------------------------------------------------------------------------

    def run_traced(self, state: State, values: list[Any], observe: Observer) -> list[Any]:
        """Interpret, whatever the tier, and tell `observe` of every step."""
        return self._run_general(state, values, False, observe)

    def _run_general(
        self, state: State, values: list[Any], compiled: bool, observe: Observer | None = None
    ) -> list[Any]:
        plan = self.plan
        env: dict[Any, Any] = dict(plan.constants)
        env.update(zip(plan.feeds, values, strict=True))
        self._gather(state, env)
        advances: dict[Operation, int] = {}
        for segment in plan.segments:
            if segment.host or not compiled:
                self._interpret(segment, state, env, advances, observe)
            else:
                self._run_compiled(segment, state, env, advances)
        fetched = [None if n is None else own(env[n]) for n in plan.fetches]
        for variable, version in plan.final.items():
            new = env[version]
            if type(new) is np.ndarray or not hasattr(new, "addressable_shards"):
                new = np.array(new)  # what a kernel gave may be a view of a feed or a constant
            state.set(variable, new)
        state.advance(advances, advances.values())
        return fetched

    def _gather(self, state: State, env: dict[Any, Any]) -> None:
        for version in self.plan.required:
            value = state.get(version.variable)
            if value is MISSING:
                raise self._uninitialized(version)
            env[version] = value
        for version in self.plan.optional:
            value = state.get(version.variable)
            env[version] = None if value is MISSING else value

    def _uninitialized(self, version: Version) -> errors.FailedPreconditionError:
        name = version.variable.name
        reader = next((s.op for s in self.plan.steps if version in s.args), version.variable)
        return errors.FailedPreconditionError(
            None,
            reader,
            f"Attempting to use uninitialized value {name}: run its initializer first, as "
            f"session.run(tf.global_variables_initializer()) does.{where(version.variable)}",
        )

    def _interpret(
        self,
        segment: Segment,
        state: State,
        env: dict[Any, Any],
        advances: dict[Operation, int],
        observe: Observer | None = None,
    ) -> None:
        for name in segment.inputs:
            value = env[name]
            if value is not None and not isinstance(value, (np.ndarray, np.generic)):
                env[name] = np.asarray(value)

        def drew(op: Operation, shape: tuple[int, ...]) -> None:
            advances[op] = op.definition.blocks(op.attrs, shape)

        with np.errstate(all="ignore"):
            execute(segment.steps, env, state.stream, drew=drew, observe=observe)

    def _run_compiled(
        self,
        segment: Segment,
        state: State,
        env: dict[Any, Any],
        advances: dict[Operation, int],
    ) -> None:
        compiled = self._compile(segment, state, env)
        if compiled is None:
            self._interpret(segment, state, env, advances)
            return
        arrays = [env[n] for n in compiled.arguments]
        if compiled.random:
            arrays.append(np.stack([state.stream(op) for op in compiled.random]))
        results = compiled.call(*arrays)
        if compiled.checks and not results[-1]:
            self._interpret(segment, state, dict(env), {})  # raises, and says why
        env.update(zip(compiled.results, results, strict=False))
        advances.update(zip(compiled.random, compiled.drawn, strict=True))
        for step in segment.steps:
            effect = step.op.definition.effect
            if effect:
                args = [np.asarray(env[a]) for a in step.args]
                try:
                    effect(step.op, *args)
                except errors.OpError as error:
                    error.op = step.op
                    error.message += where(step.op)
                    raise

    def _compile(self, segment: Segment, state: State, env: dict[Any, Any]) -> Any:
        """The segment compiled for these inputs; None if it is better interpreted."""
        with self._lock:
            return self._compile_alone(segment, state, env)

    def _compile_alone(self, segment: Segment, state: State, env: dict[Any, Any]) -> Any:
        from headrace.runtime.xla import CompiledSegment

        cache = self._compiled[segment]
        shapes = tuple((np.shape(env[n]), env[n].dtype) for n in segment.inputs)
        static = tuple(np.asarray(env[n]).tobytes() for n in segment.static)
        key = (shapes, static)
        found = cache.get(key)
        if found is None:
            seen = state.count((segment, key), _MOST_COUNTED)
            tried = sum(k[0] == shapes for k in cache)
            if static and tried >= _STATIC_TRIES and seen < 3:
                return None
            if not segment.static and segment is not self.plan.segments[0] and seen < 2:
                return None  # shapes that come from the host may change at every run
            plan, donate = self.plan, segment.last and not self._effects
            found = CompiledSegment(
                segment, plan.constants, env, plan.final, donate, (), plan.fetches
            )
            cache[key] = found
            if len(cache) > _MOST_COMPILED:
                cache.popitem(last=False)
        else:
            cache.move_to_end(key)
        return found

    # -- the fast way ----------------------------------------------------------------------------

    def _make_fast(self, state: State, values: list[Any], signature: Any) -> Runner | None:
        from headrace.runtime.xla import CompiledSegment

        plan = self.plan
        env: dict[Any, Any] = dict(zip(plan.feeds, values, strict=True))
        self._gather(state, env)
        used = [(n.variable, env[n]) for n in plan.required]
        used += [(v, state.get(v)) for v in plan.final if Version(v, 0) not in env]
        if any(value is MISSING for _, value in used):
            return None  # an initializer, say: it writes what has no value yet
        with self._lock:
            made = self.fast.get(signature)
            if made is not None:  # another thread's
                return made
            packs = layouts(self._graph_packs, used, plan.final)
            compiled = CompiledSegment(
                plan.segments[0], plan.constants, env, plan.final, True, packs, plan.fetches
            )
            made = make_runner(self, compiled)
            if made is not None:
                if len(self.fast) >= _MOST_COMPILED:
                    self.fast.clear()
                self.fast[signature] = made
            return made


def own(value: Any) -> Any:
    """The value as the caller's own: a NumPy scalar, or an array that nothing else holds."""
    array = np.asarray(value)
    if array.ndim == 0:
        return array[()]
    return array.copy() if array is value or not array.flags.owndata else array
