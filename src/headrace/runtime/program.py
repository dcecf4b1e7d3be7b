"""A plan made ready to run, and the rule of tiers.

The first time that fetches, feeds and shapes are run together NumPy interprets them; the second
time XLA compiles. The rule depends on counts and shapes only, never on the clock, so that equal
programs give equal bits.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Container, Iterable, Sequence
from sys import getrefcount
from typing import Any

import numpy as np

from headrace import errors
from headrace.node import Operation, Tensor, where
from headrace.runtime.execute import execute
from headrace.runtime.plan import Plan, Segment, Step, Version, make_plan
from headrace.runtime.runner import Runner, make_runner, own
from headrace.runtime.state import MISSING, Pack, State, layouts

_OURS_ALONE = 3  # references to an array that only `env` has: there, as a local, as an argument
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
        plan = self.plan
        self.locks = bool(plan.required or plan.optional or plan.final) or any(
            s.op.definition.random for s in plan.steps
        )
        self._effects = self.plan.has_effects
        self._device = any(not s.host for s in self.plan.segments)
        self._wait = 1 + len(self.plan.steps) // _STEPS_PER_WAIT
        self._compiled: dict[Segment, OrderedDict[Any, Any]] = {
            s: OrderedDict() for s in self.plan.segments if not s.host
        }
        self.fast: dict[Any, Runner] = {}  # by signature
        self.loops: OrderedDict[Any, Any] = OrderedDict()  # compiled ones, by what they are for
        self._looped: set[Any] = set()  # signatures
        self._lock = threading.Lock()  # several sessions may compile at once
        single = len(self.plan.segments) == 1 and self._device
        self._is_plain = single and not self._effects and not self.plan.optional

    def run(self, state: State, values: list[Any], signature: Any) -> list[Any]:
        """The fetched arrays. Variables change only if everything succeeded."""
        plan = self.plan
        if not self._device:
            return self._run_general(state, values, False)
        if self.is_interpreted(state, signature):
            return self.interpret(state, values)
        if self._is_plain and not plan.segments[0].static:
            made = self._make_fast(state, values, signature)
            if made is not None:
                return made(state, values)
        return self._run_general(state, values, True)

    def is_interpreted(self, state: State, signature: Any) -> bool:
        """Whether the run that is due is NumPy's. It is counted."""
        if signature in self.fast or signature in self._looped:
            return False
        return state.count((self, signature), _MOST_COUNTED) <= self._wait

    def interpret(
        self, state: State, values: list[Any], observe: Observer | None = None
    ) -> list[Any]:
        """Run by NumPy, whatever the tier, and tell `observe` of every step."""
        return self._run_general(state, values, False, observe)

    # -- the general way -------------------------------------------------------------------------

    def _run_general(
        self, state: State, values: list[Any], compiled: bool, observe: Observer | None = None
    ) -> list[Any]:
        plan = self.plan
        env: dict[Any, Any] = dict(plan.constants)
        env.update(zip(plan.feeds, values, strict=True))
        for handle, make in plan.resources.items():
            env[handle] = state.resource(handle.op.attrs.get("shared_name") or handle.op, make)
        self._gather(state, env)
        advances: dict[Operation, int] = {}
        for segment in plan.segments:
            if segment.waits:
                self._wait_in(segment, state, env, advances, observe)
            elif segment.host or not compiled:
                self._interpret(segment, state, env, advances, observe)
            else:
                self._run_compiled(segment, state, env, advances)
        fetched = [None if n is None else own(env[n]) for n in plan.fetches]
        _commit(state, env, plan.final, advances)
        return fetched

    def _wait_in(
        self,
        segment: Segment,
        state: State,
        env: dict[Any, Any],
        advances: dict[Operation, int],
        observe: Observer | None,
    ) -> None:
        """Run what may block while other runs go on: what was written so far is committed first,
        and what variables hold is looked at again after."""
        if not self.locks:
            self._interpret(segment, state, env, advances, observe)
            return
        latest: dict[Operation, Version] = {}
        for version in sorted((n for n in env if isinstance(n, Version)), key=lambda n: n.n):
            latest[version.variable] = version
        _commit(state, env, {v: n for v, n in latest.items() if n.n}, advances)
        state.replaced_by = None
        with state.unlocked():
            self._interpret(segment, state, env, advances, observe)
        for variable, version in latest.items():
            value = state.get(variable)
            env[version] = None if value is MISSING else value

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
            if hasattr(value, "addressable_shards"):  # XLA's
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
        state.replaced_by = threading.get_ident()
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
        env = self._inputs(state, values)
        if env is None:
            return None
        with self._lock:
            made = self.fast.get(signature)
            if made is not None:  # another thread's
                return made
            packs = self._packs(env)
            compiled = CompiledSegment(
                plan.segments[0], plan.constants, env, plan.final, True, packs, plan.fetches
            )
            made = make_runner(self, compiled)
            if made is not None:
                if len(self.fast) >= _MOST_COMPILED:
                    self.fast.clear()
                self.fast[signature] = made
            return made

    def _inputs(self, state: State, values: list[Any]) -> dict[Any, Any] | None:
        """Feeds and variables, those only written to as well; None if such a one has no value."""
        env: dict[Any, Any] = dict(zip(self.plan.feeds, values, strict=True))
        self._gather(state, env)
        for variable in self.plan.final:
            version = Version(variable, 0)
            if version not in env:
                env[version] = state.get(variable)
                if env[version] is MISSING:
                    return None  # an initializer, say: it writes what has no value yet
        return env

    def _packs(self, env: dict[Any, Any]) -> list[Pack]:
        used = [(n.variable, value) for n, value in env.items() if isinstance(n, Version)]
        return layouts(self._graph_packs, used, self.plan.final)

    # -- whole loops -----------------------------------------------------------------------------

    def can_loop(self, same: Container[Any]) -> bool:
        """Whether runs can be one computation, if what feeds `same` does not change from run to
        run. Whether variables keep their shapes is not seen here."""
        plan = self.plan
        return (
            self._is_plain
            and all(n in same for n in plan.segments[0].static)
            and not any(n in plan.constants for n in plan.fetches)
        )

    def is_unsettled(self, state: State, values: list[Any]) -> bool:
        """Whether the run that is due is NumPy's because a static value was too often another."""
        segment = self.plan.segments[0]
        env = self._inputs(state, values) if segment.static else None
        return env is not None and self._compile(segment, state, self.plan.constants | env) is None

    def make_loop(
        self,
        state: State,
        values: list[Any],
        signature: Any,
        each: Iterable[Tensor],
        rows: dict[Tensor, Any],
        stacked: bool,
        steps: int,
    ) -> Any:
        """Runs like one of `values` as a `CompiledLoop`; None if they must be run one by one."""
        plan = self.plan
        static = plan.segments[0].static
        fetched = [n for n in plan.fetches if n is not None]
        data = tuple((a.shape, a.dtype) for a in rows.values())
        fixed = tuple(np.asarray(values[plan.feeds.index(n)]).tobytes() for n in static)
        key = (signature, tuple(each), tuple(rows), data, fixed, stacked)
        with self._lock:
            if key in self.loops:
                found = self.loops[key]
                if found is None or found.length >= min(steps, found.most):
                    self.loops.move_to_end(key)
                    return found
            env = self._inputs(state, values)
            if env is None:
                return None
            if (
                static
                and self._compile_alone(plan.segments[0], state, plan.constants | env) is None
            ):
                return None  # one by one they would stay interpreted as well
            return self._compile_loop(key, env, fetched, tuple(each), rows, stacked, steps)

    def _compile_loop(self, key: Any, env: dict[Any, Any], *args: Any) -> Any:
        from headrace.runtime.xla import CompiledLoop

        plan = self.plan
        try:
            made = CompiledLoop(
                plan.segments[0], plan.constants, env, plan.final, self._packs(env), *args
            )
        except ValueError:
            made = None
        self.loops[key] = made
        self._looped.add(key[0])
        if len(self.loops) > _MOST_COMPILED:
            forgotten, _ = self.loops.popitem(last=False)
            self._looped.discard(forgotten[0])
        return made


def _commit(
    state: State,
    env: dict[Any, Any],
    written: dict[Operation, Version],
    advances: dict[Operation, int],
) -> None:
    """Give variables the values of these versions, and move random streams on."""
    state.replaced_by = threading.get_ident()
    for variable, version in written.items():
        new = env[version]
        if new is state.alone.get(variable):
            continue
        if not hasattr(new, "addressable_shards") and (
            getrefcount(new) > _OURS_ALONE or not new.flags.owndata
        ):
            new = np.array(new)  # what a kernel gave may be a feed, a constant, or a view of one
        state.set(variable, new)
    state.advance(advances, advances.values())
    advances.clear()
