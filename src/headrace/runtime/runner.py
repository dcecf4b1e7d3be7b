"""The hot path: one compiled segment without effects, called, its results put in their places.

What is taken from where and given to whom is known when a program has been compiled, so it is
written out as a function of Python: to go through lists of it at every run would take longer than
to do it. For two feeds, variables in a pack and a loss it reads about so:

    def quick(state, values):
        [fed0, fed1] = values
        if not (type(fed0) is ndarray and fed0.dtype is float32 and ...): return None
        try:
            held0 = state.held[pack]
        except KeyError: ...
        [room0, to0, to1] = state.rooms[compiled]
        to0[...] = fed0
        to1[...] = fed1
        state.replaced_by = get_ident()
        got = call(held0, room0)
        [got0] = got
        seen0 = views[got0.unsafe_buffer_pointer()]
        fetched = [None, seen0[13]]
        state.held[pack] = got0
        return fetched
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from threading import get_ident
from typing import Any

import numpy as np

from headrace.node import Tensor
from headrace.runtime.memory import Views
from headrace.runtime.plan import Version
from headrace.runtime.state import Pack, State, holder_of

Runner = Callable[[State, list[Any]], list[Any]]
Quick = Callable[[State, Iterable[Any]], list[Any] | None]

# What else than an array of its type a small feed may come as: to be copied is to be converted.
_WIDER = {np.dtype(np.float32): np.dtype(np.float64), np.dtype(np.int32): np.dtype(np.int64)}
_SCALARS: dict[str, frozenset[type]] = {
    "f": frozenset({float, np.float32, np.float64}),
    "b": frozenset({bool, np.bool}),
}


def make_runner(program: Any, compiled: Any, signature: Any) -> tuple[Runner, Quick] | None:
    """A function of session state and fed arrays; and one that takes what is fed as it comes, of
    the shapes of `signature`, and gives None for what is not its business. None if the program
    needs more than a call."""
    writers = [_Writer(program, compiled, quick) for quick in (False, True)]
    if not all(writer.write(signature) for writer in writers):
        return None
    run, quick = (writer.function() for writer in writers)
    return run, quick


class _Writer:
    """Writes the function: its lines, and what their names stand for."""

    def __init__(self, program: Any, compiled: Any, quick: bool):
        self._program, self._plan, self._compiled = program, program.plan, compiled
        self._quick = quick
        self._lines: list[str] = []
        self._names: dict[int, str] = {}
        self._values: dict[str, Any] = {}
        self._position = {t: i for i, t in enumerate(self._plan.feeds)}
        self._index = {n: f"got{i}" for i, n in enumerate(compiled.results)}

    def function(self) -> Any:
        """What was written."""
        exec("\n    ".join(["def run(state, values):", *self._lines]), self._values)
        return self._values["run"]

    def _add(self, *lines: str) -> None:
        self._lines += lines

    def _name(self, value: Any) -> str:
        """What the value is called."""
        name = self._names.setdefault(id(value), f"c{len(self._names)}")
        self._values[name] = value
        return name

    def _leave(self, way: Any) -> str:
        """Let the program run another way."""
        return "return None" if self._quick else f"return {self._name(way)}(state, values)"

    def write(self, signature: Any) -> bool:
        """Write the function; False if a call does not do it."""
        program, compiled = self._program, self._compiled
        fed = [t for n in compiled.fed for t in _tensors(n)]
        if not self._position.keys() >= set(fed):
            return False
        if self._position:
            self._add(f"[{', '.join(f'fed{i}' for i in self._position.values())}] = values")
        if self._quick and self._position:
            fits = map(self._fits, self._position, signature)
            self._add(f"if not ({' and '.join(fits)}): return None")
        arguments = [*self._take_state(), *self._take_feeds()]
        self._add(
            f"state.replaced_by = {self._name(get_ident)}()",
            "try:",
            f"    got = {self._name(compiled.call)}({', '.join(arguments)})",
            "except TypeError:",  # a variable has taken another shape: the general way knows it
            f"    {self._leave(program.stages.run)}",
        )
        if compiled.checks:  # NumPy says what was wrong
            ok = f"{self._name(np.asarray)}(got.pop())"
            self._add(f"if not {ok}: {self._leave(program.interpret)}")
        if self._index:
            self._add(f"[{', '.join(self._index.values())}] = got")
        fetched = self._fetch()
        self._add(f"fetched = [{', '.join(map(str, fetched))}]")
        whole = self._put_state()
        self._add("return fetched")
        return whole and None not in fetched

    # -- arguments -------------------------------------------------------------------------------

    def _fits(self, tensor: Tensor, shape: tuple[int, ...]) -> str:
        """A condition: whether what is fed has the right shape and type, or can be given it."""
        dtype, fed = tensor.dtype.base_dtype.numpy, f"fed{self._position[tensor]}"
        types = f"{fed}.dtype is {self._name(dtype)}"
        copied = tensor not in self._plan.fetches and self._is_copied(tensor)
        if copied and dtype in _WIDER:
            types = f"({types} or {fed}.dtype is {self._name(_WIDER[dtype])})"
        fits = f"type({fed}) is {self._name(np.ndarray)} and {types} and {fed}.shape == {shape}"
        if copied and shape == () and dtype.kind in _SCALARS:
            return f"(type({fed}) in {self._name(_SCALARS[dtype.kind])} or {fits})"
        return fits

    def _is_copied(self, tensor: Tensor) -> bool:
        """Whether a feed is copied to memory of ours."""
        from headrace.runtime.xla import is_large

        fed = self._compiled.fed
        argument = next((n for n in fed if tensor in _tensors(n)), None)
        return self._has_rooms and argument is not None and not is_large(fed[argument])

    @property
    def _has_rooms(self) -> bool:
        """Whether feeds are laid where XLA takes them as they are: a lock keeps others away."""
        from headrace.runtime.xla import shares_memory

        return self._program.locks and shares_memory()

    def _take_state(self) -> list[str]:
        """Bind packs and variables."""
        arguments, again = [], []
        for n in self._compiled.arguments:
            if n in self._compiled.fed:
                continue
            held, holder = f"held{len(arguments)}", holder_of(n)
            key, written = self._name(holder), holder in self._plan.final
            self._add(*["try:"] * (not arguments))
            self._add(f"    {held} = state.held[{key}]")
            again.append(f"        {held} = state.take({key}, {written})")
            arguments.append(held)
        if arguments:
            leave = self._leave(self._program.interpret)
            self._add("except KeyError:", "    try:", *again)
            self._add("    except (KeyError, TypeError):", f"        {leave}")
        return arguments

    def _take_feeds(self) -> list[str]:
        """Bind feeds and random streams."""
        compiled, position = self._compiled, self._position
        streams = [f"state.stream({self._name(op)})" for op in compiled.random]
        if not self._has_rooms:
            together = [f"{self._name(np.stack)}([{', '.join(streams)}])"] * bool(streams)
            return [*(f"fed{position[n]}" for n in compiled.fed), *together]
        names, arguments, copies = [], [], []
        for i, n in enumerate(compiled.fed):
            names.append(f"room{i}")
            if not self._is_copied(_tensors(n)[0]):
                arguments.append(f"room{i}.take(fed{position[n]})")
                continue
            arguments.append(f"room{i}")
            for place in (position[t] for t in _tensors(n)):
                names.append(f"to{place}")
                copies.append(f"to{place}[...] = fed{place}")
        if streams:
            names += ["streams", "to_streams"]
            arguments.append("streams")
            copies += [f"to_streams[{i}] = {stream}" for i, stream in enumerate(streams)]
        if names:
            key = self._name(compiled)
            self._add(f"rooms = state.rooms.get({key})")
            self._add(f"if rooms is None: rooms = state.keep_rooms({key}, {key}.rooms())")
            self._add(f"[{', '.join(names)}] = rooms", *copies)
        return arguments

    # -- results ---------------------------------------------------------------------------------

    def _fetch(self) -> list[str | None]:
        """What stands for each fetch; None for one that the call does not give."""
        plan, beside, owned = self._plan, self._compiled.beside, self._name(own)
        seen: dict[Pack, str] = {}  # the memory of a vector
        for pack in {beside[n][0]: None for n in plan.fetches if n in beside}:
            got, seen[pack] = self._index[pack], f"seen{len(seen)}"
            views = self._name(Views(pack.size, pack.dtype))
            self._add(f"{seen[pack]} = {views}[{got}.unsafe_buffer_pointer()]")

        def found(n: Any) -> str | None:
            if n is None:
                return "None"
            if n in beside:
                pack, where, shape = beside[n]
                if not shape:
                    return f"{seen[pack]}[{where.start}]"
                return f"{seen[pack]}[{where.start}:{where.stop}].reshape({shape}).copy()"
            if n in self._index:
                return f"{owned}({self._index[n]})"
            if n in self._position:
                return f"{owned}(fed{self._position[n]})"
            if n in plan.constants:
                return f"{owned}({self._name(plan.constants[n])})"
            if isinstance(n, Version) and n.n == 0:
                return f"{owned}(state.get({self._name(n.variable)}))"
            return None

        return [found(n) for n in plan.fetches]

    def _put_state(self) -> bool:
        """Give variables and packs their new values, and move random streams on; False if the call
        does not give them all."""
        compiled, index = self._compiled, self._index
        in_pack = {v for pack in compiled.written for v in pack.parts}
        for variable, version in self._plan.final.items():
            if variable in in_pack:
                continue
            if version not in index:
                return False
            name, taken = self._name(variable), Version(variable, 0) in compiled.arguments
            place = f"state.held[{name}] = {{}}" if taken else f"state.set({name}, {{}})"
            self._add(place.format(index[version]))
        self._add(*[f"state.held[{self._name(p)}] = {index[p]}" for p in compiled.written])
        if compiled.random:
            random, drawn = self._name(compiled.random), self._name(compiled.drawn)
            self._add(f"state.advance({random}, {drawn})")
        return True


def _tensors(fed: Tensor | Pack) -> list[Tensor]:
    """The tensors for which an argument is fed."""
    return list(fed.parts) if isinstance(fed, Pack) else [fed]


def own(value: Any) -> Any:
    """The value as the caller's own: a NumPy scalar, or an array that nothing else holds."""
    array = np.asarray(value)
    if array.ndim == 0:
        return array[()]
    flags = array.flags  # JAX keeps the copy of what lies on a GPU, and lets nobody write it
    return array if array is not value and flags.owndata and flags.writeable else array.copy()
