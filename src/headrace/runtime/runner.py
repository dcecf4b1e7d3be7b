"""The hot path: one compiled segment without effects, called, its results put in their places."""

from __future__ import annotations

from collections.abc import Callable
from threading import get_ident
from typing import Any

import numpy as np

from headrace.runtime.plan import Version
from headrace.runtime.state import Pack, State

Runner = Callable[[State, list[Any]], list[Any]]
_NONE, _RESULT, _FEED, _CONSTANT, _VARIABLE, _PACK = range(6)


def make_runner(program: Any, compiled: Any) -> Runner | None:
    """A function of session state and fed arrays; None if the program needs more than a call."""
    plan = program.plan
    position = {t: i for i, t in enumerate(plan.feeds)}
    takes: list[tuple[int, Any]] = []
    for name in compiled.arguments:
        if isinstance(name, Pack):
            takes.append((_PACK, name))
        elif isinstance(name, Version):
            takes.append((_VARIABLE, name.variable))
        elif name in position:
            takes.append((_FEED, position[name]))
        else:
            return None
    index = {n: i for i, n in enumerate(compiled.results)}
    in_pack = {v for p in compiled.written for v in p.parts}
    writes = [(v, index[n]) for v, n in plan.final.items() if n in index and v not in in_pack]
    taken = {name for kind, name in takes if kind == _VARIABLE}
    unseen = [v for v, _ in writes if v not in taken]  # written only: they may lie in a pack
    repacks = [(p, index[p]) for p in compiled.written]
    if any(v not in in_pack and n not in index for v, n in plan.final.items()):
        return None
    gives: list[tuple[int, Any]] = []
    for name in plan.fetches:
        if name is None:
            gives.append((_NONE, None))
        elif name in index:
            gives.append((_RESULT, index[name]))
        elif name in position:
            gives.append((_FEED, position[name]))
        elif name in plan.constants:
            gives.append((_CONSTANT, plan.constants[name]))
        elif isinstance(name, Version) and name.n == 0:
            gives.append((_VARIABLE, name.variable))
        else:
            return None
    state_takes = [take for take in takes if take[0] != _FEED]  # arguments begin with the state
    feeds = [i for kind, i in takes if kind == _FEED]
    all_feeds = feeds == list(range(len(plan.feeds)))
    call, random, drawn, checks = compiled.call, compiled.random, compiled.drawn, compiled.checks

    def run(state: State, values: list[Any]) -> list[Any]:
        packs, alone = state.packs, state.alone
        try:
            arrays = [packs[key] if kind == _PACK else alone[key] for kind, key in state_takes]
        except KeyError:
            try:
                arrays = [state.take(key, key in plan.final) for _, key in state_takes]
            except (KeyError, TypeError):
                return program.interpret(state, values)
        arrays += values if all_feeds else [values[i] for i in feeds]
        if random:
            arrays.append(np.stack([state.stream(op) for op in random]))
        try:
            state.replaced_by = get_ident()
            got = call(*arrays)
        except TypeError:  # a variable has taken another shape: rare, and the general way knows it
            return program.stages.run(state, values)
        if checks and not np.asarray(got[-1]):
            return program.interpret(state, values)  # raises, and says why
        fetched: list[Any] = []
        for kind, source in gives:
            if kind == _RESULT:
                array = np.asarray(got[source])
                fetched.append(array.copy() if array.ndim else array[()])
            elif kind == _NONE:
                fetched.append(None)
            elif kind == _FEED:
                fetched.append(own(values[source]))
            elif kind == _CONSTANT:
                fetched.append(own(source))
            else:
                fetched.append(own(state.get(source)))
        for v in unseen:
            if v in state.pack_of:
                state.unpack(state.pack_of[v])
        for v, i in writes:
            alone[v] = got[i]
        for p, i in repacks:
            packs[p] = got[i]
        if random:
            state.advance(random, drawn)
        return fetched

    return run


def own(value: Any) -> Any:
    """The value as the caller's own: a NumPy scalar, or an array that nothing else holds."""
    array = np.asarray(value)
    if array.ndim == 0:
        return array[()]
    return array.copy() if array is value or not array.flags.owndata else array
