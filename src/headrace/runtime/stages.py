"""The general way: the segments of a plan one after the other, those of the device compiled or not.

What is one device segment and no more has a shorter way, `runner.py`. Here are the others: with a
summary, a Python function or a queue before or behind, with something to print, with an operand
whose value enters what is compiled. NumPy's runs of any plan go this way too.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterable, Sequence
from sys import getrefcount
from typing import Any

import numpy as np

from headrace import errors
from headrace.node import Operation, where
from headrace.runtime.execute import execute
from headrace.runtime.plan import Name, Plan, Segment, Step, Version
from headrace.runtime.runner import own
from headrace.runtime.state import MISSING, Pack, State, is_of_xla, layouts

MOST_COMPILED = 64  # computations kept per program and segment
MOST_COUNTED = 10_000  # signatures of which a session remembers how often they were run
_OURS_ALONE = 3  # references to an array that only `env` has: there, as a local, as an argument
_STATIC_TRIES = 8  # static values compiled for before they are held to change at every run

Observer = Callable[[Step, int, Sequence[Any]], None]  # of a step, when it began, its results


class Run:
    """What one run knows: arrays by name, how far random streams go, packs with new values.

    A variable's value at the start is looked up in the session when a stage asks for it.
    """

    __slots__ = ("advances", "compiled", "env", "packs", "state")

    def __init__(self, state: State, env: dict[Any, Any], compiled: bool = False):
        """For this state, with what is known at first."""
        self.state, self.env, self.compiled = state, env, compiled
        self.advances: dict[Operation, int] = {}
        self.packs: list[Pack] = []

    def bind(self, versions: Iterable[Version]) -> None:
        """Look up values that variables have at the start; None for one that has none yet."""
        env = self.env
        for version in versions:
            if version not in env:
                value = self.state.get(version.variable)
                env[version] = None if value is MISSING else value

    def on_host(self, names: Iterable[Name]) -> None:
        """Let these be NumPy's arrays, which stay as they are whoever donates what XLA holds."""
        env = self.env
        for name in names:
            value = env[name]
            if is_of_xla(value):
                env[name] = np.asarray(value)

    def commit(self, written: dict[Operation, Version]) -> None:
        """Give variables the values of these versions, and move random streams on."""
        state, env = self.state, self.env
        if not (written or self.advances):
            return
        state.replaced_by = threading.get_ident()
        packed: set[Operation] = set()
        for pack in self.packs:
            state.held[pack] = env[pack]
            packed.update(pack.parts)
        for variable, version in written.items():
            if variable in packed:
                continue
            new = env[version]
            if new is state.lone(variable):
                continue
            # What a kernel gave may be a feed, a constant, or a view of one.
            if not is_of_xla(new) and (getrefcount(new) > _OURS_ALONE or not new.flags.owndata):
                new = np.array(new)
            state.set(variable, new)
        state.advance(self.advances, self.advances.values())
        self.advances.clear()


class Stages:
    """The segments of a plan, ready to run. Shared by the sessions of a graph."""

    def __init__(self, plan: Plan, packs: dict[Operation, Pack], locks: bool):
        """`packs` is the graph's record of which variable lies in which pack; `locks` says whether
        a run holds the lock of its state."""
        self._plan, self._locks = plan, locks
        self._required = [v.variable for v in plan.required]
        self._fetched_starts = _starts(plan.fetches)
        self._resources = [
            (handle, handle.op.attrs.get("shared_name") or handle.op, make)
            for handle, make in plan.resources.items()
        ]
        self.stages: list[HostStage | DeviceStage] = []
        seen = {n for n in plan.fetches if n is not None}
        for i in reversed(range(len(plan.segments))):
            stage = (HostStage if plan.segments[i].host else DeviceStage)(plan, i, seen, packs)
            self.stages.insert(0, stage)
            seen = seen | set(plan.segments[i].inputs)
        shown = {a for s in self.stages if isinstance(s, DeviceStage) for a in s.shown}
        on_host = {a for s in plan.steps if s.host for a in s.args} | shown
        self._constants = {
            n: c for n, c in plan.constants.items() if n in on_host or n in plan.fetches
        }

    def run(self, state: State, values: list[Any]) -> list[Any]:
        """The fetched arrays, by XLA as far as that is worth while."""
        return self._run(Run(state, dict(self._constants), True), values, None)

    def interpret(
        self, state: State, values: list[Any], observe: Observer | None = None
    ) -> list[Any]:
        """The fetched arrays, by NumPy; `observe` is told of every step."""
        return self._run(Run(state, dict(self._plan.constants)), values, observe)

    def admits(self, state: State, values: list[Any]) -> bool:
        """Whether XLA is to run what is due, and not NumPy. It is counted."""
        run = Run(state, dict(zip(self._plan.feeds, values, strict=True)))
        return all(s.admits(run) for s in self.stages if isinstance(s, DeviceStage))

    def _run(self, run: Run, values: list[Any], observe: Observer | None) -> list[Any]:
        plan, state, env = self._plan, run.state, run.env
        self.demand(state)
        env.update(zip(plan.feeds, values, strict=True))
        for handle, key, make in self._resources:
            env[handle] = state.resource(key, make)
        for stage in self.stages:
            if stage.waits and self._locks:
                self._wait_in(stage, run, observe)
            else:
                stage.run(run, observe)
        run.bind(self._fetched_starts)
        fetched = [None if n is None else own(env[n]) for n in plan.fetches]
        run.commit(plan.final)
        return fetched

    def _wait_in(self, stage: Any, run: Run, observe: Observer | None) -> None:
        """Run what may block while other runs go on: what was written so far is committed first,
        and what variables hold is looked at again after."""
        state, env, segment = run.state, run.env, stage.segment
        run.bind(stage.superseded)
        run.bind(stage.starts)
        latest: dict[Operation, Version] = {}
        for version in sorted((n for n in env if isinstance(n, Version)), key=lambda n: n.n):
            latest[version.variable] = version
        run.commit({v: n for v, n in latest.items() if n.n})
        run.packs.clear()
        state.replaced_by = None
        run.on_host(segment.inputs)
        run.on_host([n for n in env if isinstance(n, Version)])
        with state.unlocked():
            stage.run(run, observe)
        for version in latest.values():
            del env[version]
        run.bind(latest.values())

    def demand(self, state: State) -> None:
        """FailedPreconditionError if a variable that is read has no value."""
        for variable in self._required:
            if not state.has(variable):
                raise self._uninitialized(variable)

    def _uninitialized(self, variable: Operation) -> errors.FailedPreconditionError:
        version = Version(variable, 0)
        reader = next((s.op for s in self._plan.steps if version in s.args), variable)
        return errors.FailedPreconditionError(
            None,
            reader,
            f"Attempting to use uninitialized value {variable.name}: run its initializer first, as "
            f"session.run(tf.global_variables_initializer()) does.{where(variable)}",
        )


class HostStage:
    """A segment that NumPy runs."""

    def __init__(self, plan: Plan, index: int, seen: set[Any], packs: dict[Operation, Pack]):
        """The segment of the plan at this index; `seen` are names that are needed after it."""
        self.segment = plan.segments[index]
        self.waits = self.segment.waits
        self.starts = _starts(self.segment.inputs)
        # Values from the start that later stages need though a stage before has given new ones:
        before = {n.variable for n in _made(plan.segments[:index]) if isinstance(n, Version)}
        self.superseded = [n for n in _starts(seen) if n.variable in before]

    def run(self, run: Run, observe: Observer | None) -> None:
        """Bind what the segment makes."""
        run.bind(self.starts)
        interpret(self.segment, run, observe)


class DeviceStage:
    """A segment that XLA runs, compiled for each shape and static value of what reaches it."""

    waits = False

    def __init__(self, plan: Plan, index: int, seen: set[Any], packs: dict[Operation, Pack]):
        """The segment of the plan at this index; `seen` are names that are needed after it."""
        self.segment = segment = plan.segments[index]
        self._constants, self._packs = plan.constants, packs
        self._has_known_shapes = all(_is_known(n, plan) for n in segment.inputs)
        made = _made([segment])
        self._final = {v: n for v, n in plan.final.items() if n in made}
        self._effects = [s for s in segment.steps if s.op.definition.effect]
        self.shown = [a for s in self._effects for a in s.args if a is not None]
        self._shown_starts = _starts(self.shown)
        self._seen = tuple(seen | set(self.shown))
        self._donates = segment.last and not self._effects  # what comes after may fail
        self._kept = _starts(seen) if self._donates else []  # variables as they were, to be fetched
        self._starts = _starts(segment.inputs)
        self._others = [n for n in segment.inputs if n not in self._starts]
        # A variable may lie in a pack here if it is written in no other segment, and none waits
        # between its writing and the end. One that a waiting segment has committed is not read
        # from the session any more.
        waits = [i for i, s in enumerate(plan.segments) if s.waits]
        self._apart = {v for v in plan.final if v not in self._final} | (
            set(self._final) if any(i > index for i in waits) else set()
        )
        before = _made(plan.segments[: max((i for i in waits if i < index), default=0)])
        self._superseded = {n.variable for n in before if isinstance(n, Version)}
        self._by_shape = [
            n for n in self._starts if n in segment.static or not _is_known(n, plan)
        ]  # fmt: skip
        self.compiled: OrderedDict[Any, Any] = OrderedDict()  # by shapes and static values
        self._lock = threading.Lock()  # several sessions may compile at once

    def run(self, run: Run, observe: Observer | None) -> None:
        """Bind what the segment makes."""
        if not run.compiled or not self._call(run):
            run.env.update(self._constants)
            run.bind(self._starts)
            interpret(self.segment, run, observe)
            return
        if self._effects:
            run.bind(self._shown_starts)
            self._show(run.env)

    def admits(self, run: Run) -> bool:
        """Whether XLA is to run the segment."""
        with self._lock:
            return self._admit(run) is not None

    def _call(self, run: Run) -> bool:
        """Run by XLA; False if NumPy is to do it, for good or to say what is wrong."""
        state, env = run.state, run.env
        for _ in range(2):
            with self._lock:
                key = self._admit(run)
                if key is None:
                    return False
                compiled = self.compiled[key] or self._compile(key, run)
            try:
                arrays = [self._find(run, name) for name in compiled.arguments]
                if compiled.random:
                    arrays.append(np.stack([state.stream(op) for op in compiled.random]))
                run.bind(self._kept)
                state.replaced_by = threading.get_ident()  # Ctrl-C lets a compiled step be done
                got = compiled.call(*arrays)
                break
            except KeyError:  # a pack that this session has no values for
                return False
            except TypeError:  # a variable has taken another shape
                self._by_shape = self._starts
        else:
            return False
        if compiled.checks and not np.asarray(got[-1]):
            return False
        env.update(zip(compiled.results, got, strict=False))
        run.packs += compiled.written
        if compiled.random:
            run.advances.update(zip(compiled.random, compiled.drawn, strict=True))
        return True

    def _find(self, run: Run, name: Any) -> Any:
        if isinstance(name, Pack):
            return run.state.take(name)
        if not isinstance(name, Version) or name.n or name.variable in self._superseded:
            return run.env[name]
        return run.state.take(name.variable)

    def _admit(self, run: Run) -> Any:
        """What the due run is compiled by; None if it is better interpreted."""
        env, segment = run.env, self.segment
        run.bind(self._by_shape)
        named = [env[n] for n in self._others] + [env[n] for n in self._by_shape]
        shapes = tuple([(a.shape, a.dtype) for a in named])
        static = tuple([np.asarray(env[n]).tobytes() for n in segment.static])
        key = (shapes, static)
        if key in self.compiled:
            self.compiled.move_to_end(key)
            return key
        if static or not self._has_known_shapes:
            seen = run.state.count(segment, key, MOST_COUNTED)
            tried = sum(k[0] == shapes for k in self.compiled)
            if static and tried >= _STATIC_TRIES and seen < 3:
                return None
            if not static and seen < 2:
                return None  # shapes that come from the host may change at every run
        self.compiled[key] = None
        if len(self.compiled) > MOST_COMPILED:
            self.compiled.popitem(last=False)
        return key

    def _compile(self, key: Any, run: Run) -> Any:
        from headrace.runtime.xla import CompiledSegment

        state = run.state
        env = {n: run.env[n] for n in self._others}
        used = [(n.variable, state.get(n.variable)) for n in self._starts]
        used += [(v, state.get(v)) for v in self._final if Version(v, 0) not in self._starts]
        env.update((Version(v, 0), value) for v, value in used)
        packable = [
            (v, a) for v, a in used
            if a is not MISSING and v not in self._apart and v not in self._superseded
        ]  # fmt: skip
        packs = [
            p for p in layouts(self._packs, packable, self._final)
            if self._apart.isdisjoint(p.parts) and self._superseded.isdisjoint(p.parts)
        ]  # fmt: skip
        made = CompiledSegment(
            self.segment, self._constants, env, self._final, self._donates, packs, self._seen
        )
        self.compiled[key] = made
        return made

    def _show(self, env: dict[Any, Any]) -> None:
        """Let happen what the segment's steps do besides computing."""
        for step in self._effects:
            args = [None if a is None else np.asarray(env[a]) for a in step.args]
            try:
                step.op.definition.effect(step.op, *args)
            except errors.OpError as error:
                error.op = step.op
                error.message += where(step.op)
                raise


def interpret(segment: Segment, run: Run, observe: Observer | None) -> None:
    """Run a segment by NumPy, for what is bound."""
    run.on_host(segment.inputs)

    def drew(op: Operation, shape: tuple[int, ...]) -> None:
        run.advances[op] = op.definition.blocks(op.attrs, shape)

    with np.errstate(all="ignore"):
        execute(segment.steps, run.env, run.state.stream, drew=drew, observe=observe)


def _starts(names: Iterable[Any]) -> list[Version]:
    """Those of the names that are the value of a variable at the start of a run."""
    return [n for n in names if isinstance(n, Version) and n.n == 0]


def _is_known(name: Name, plan: Plan) -> bool:
    """Whether shapes that a session has seen fed are all that the name's shape hangs on."""
    if isinstance(name, Version):
        return name.n == 0 and _is_full(name.variable.outputs[0]._dims)
    return name in plan.feeds or _is_full(name._dims)


def _is_full(dims: Any) -> bool:
    return dims is not None and None not in dims


def _made(segments: Sequence[Segment]) -> set[Any]:
    return {n for s in segments for step in s.steps for n in step.outs}
