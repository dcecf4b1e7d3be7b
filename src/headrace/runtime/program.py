"""A plan made ready to run, and the rule of tiers.

The first time that fetches, feeds and shapes are run together NumPy interprets them; the second
time XLA compiles. What takes long to compile NumPy runs some more times, and XLA compiles ahead.
The rule depends on counts and shapes only, never on the clock, so that equal programs give equal
bits.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Container, Iterable, Sequence
from concurrent.futures import Future
from typing import Any, NamedTuple

import numpy as np

from headrace.node import Operation, Tensor
from headrace.runtime import ahead
from headrace.runtime.plan import Plan, Version, make_plan
from headrace.runtime.runner import Quick, Runner, make_runner
from headrace.runtime.stages import MOST_COMPILED, MOST_COUNTED, Observer, Stages
from headrace.runtime.state import MISSING, Pack, State, lay_feeds, layouts


class _Like(NamedTuple):
    """What is like an array, to compile for."""

    shape: tuple[int, ...]
    dtype: Any


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
        self._device = any(not s.host for s in self.plan.segments)
        self._is_long = self._device and len(plan.steps) > ahead.LONG
        self._waits: dict[Any, int] = {}  # runs of a long program before XLA's turn, by signature
        self._begun: dict[Any, Future[Any]] = {}  # what is being compiled ahead
        self.stages = Stages(plan, packs, self.locks)
        self.fast: dict[Any, Runner] = {}  # by signature
        self.quick: dict[Any, Quick] = {}  # the same, where there is such a one
        self.loops: OrderedDict[Any, Any] = OrderedDict()  # compiled ones, by what they are for
        self._looped: set[Any] = set()  # signatures
        self._lock = threading.Lock()  # several sessions may compile at once
        single = len(self.plan.segments) == 1 and self._device
        self._is_plain = single and not plan.has_effects and not plan.optional
        self._is_simple = self._is_plain and not plan.segments[0].static

    def run(self, state: State, values: list[Any], signature: Any) -> list[Any]:
        """The fetched arrays. Variables change only if everything succeeded."""
        if self._device and self.is_interpreted(state, signature):
            if self._is_long:
                self._compile_ahead(state, values, signature)
            return self.interpret(state, values)
        made: Runner | None = None
        if self._is_simple:
            env = self._inputs(state, values)
            if env is None:
                return self.stages.run(state, values)
            made = self._make_fast(state, env, signature)
        if made is None:
            made = self._remember(signature, self.stages.run)
        return made(state, values)

    def _remember(self, signature: Any, runner: Runner, quick: Quick | None = None) -> Runner:
        if len(self.fast) >= MOST_COMPILED:
            self.fast.clear()
            self.quick.clear()
        self.fast[signature] = runner
        if quick is not None:
            self.quick[signature] = quick
        return runner

    def is_interpreted(self, state: State, signature: Any) -> bool:
        """Whether the run that is due is NumPy's. It is counted."""
        if signature in self.fast or signature in self._looped:
            return False
        return state.count(self, signature, MOST_COUNTED) <= self._waits.get(signature, 1)

    def interpret(
        self, state: State, values: list[Any], observe: Observer | None = None
    ) -> list[Any]:
        """Run by NumPy, whatever the tier, and tell `observe` of every step."""
        if self._is_long and observe is None:
            signature = tuple([np.shape(v) for v in values])
            if signature not in self._waits:
                work = ahead.Work()
                results = self.stages.interpret(state, values, work)
                if len(self._waits) >= MOST_COUNTED:
                    self._waits.clear()
                self._waits[signature] = work.wait
                return results
        return self.stages.interpret(state, values, observe)

    # -- the fast way ----------------------------------------------------------------------------

    def _make_fast(self, state: State, env: dict[Any, Any], signature: Any) -> Runner | None:
        with self._lock:
            made = self.fast.get(signature)
            if made is not None:  # another thread's
                return made
            begun = self._begun.pop(signature, None)
            compiled = self._compile(env, self._packs(env)) if begun is None else begun.result()
            env.clear()
            compiled.take_over(state)
            made = make_runner(self, compiled, signature)
            return None if made is None else self._remember(signature, *made)

    def _compile(self, env: dict[Any, Any], packs: Sequence[Pack]) -> Any:
        from headrace.runtime.xla import CompiledSegment, shares_memory

        plan, shared = self.plan, shares_memory()
        segment = plan.segments[0]
        feeds = {n: env[n] for n in segment.inputs if isinstance(n, Tensor)}
        fed = lay_feeds(feeds) if shared and self.locks else ()
        return CompiledSegment(
            segment, plan.constants, env, plan.final, True, packs, plan.fetches, fed, shared
        )

    def _compile_ahead(self, state: State, values: list[Any], signature: Any) -> None:
        """Begin to compile for runs like this one, if it is time to."""
        wait = self._waits.get(signature)
        if (
            wait is None
            or not self._is_simple
            or not ahead.begins(state.counted(self, signature), wait)
        ):
            return
        with self._lock:
            env = None if signature in self._begun else self._inputs(state, values)
            if env is not None:  # by shapes alone: values change hands meanwhile
                packs = self._packs(env)
                like = {n: _Like(np.shape(a), a.dtype) for n, a in env.items()}
                self._begun[signature] = ahead.start(lambda: self._compile(like, packs))

    def _inputs(self, state: State, values: list[Any]) -> dict[Any, Any] | None:
        """Feeds and variables, those only written to as well; None if such a one has no value."""
        env: dict[Any, Any] = dict(zip(self.plan.feeds, values, strict=True))
        self.stages.demand(state)
        written = (Version(v, 0) for v in self.plan.final)
        for version in (*self.plan.required, *written):
            if version not in env:
                env[version] = state.get(version.variable)
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
        return bool(self.plan.segments[0].static) and not self.stages.admits(state, values)

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
            if self.is_unsettled(state, values):
                return None  # one by one they would stay interpreted as well
            return self._compile_loop(key, env, fetched, tuple(each), rows, stacked, steps)

    def _compile_loop(self, key: Any, env: dict[Any, Any], *args: Any) -> Any:
        from headrace.runtime.xla_loop import CompiledLoop

        plan = self.plan
        try:
            made = CompiledLoop(
                plan.segments[0], plan.constants, env, plan.final, self._packs(env), *args
            )
        except ValueError:
            made = None
        self.loops[key] = made
        self._looped.add(key[0])
        if len(self.loops) > MOST_COMPILED:
            forgotten, _ = self.loops.popitem(last=False)
            self._looped.discard(forgotten[0])
        return made
