"""What a session holds between runs: values of variables, and where each random stream stands.

Small variables of one type lie together in a `Pack`, one vector: XLA's cost of a call grows with
the number of arrays, and a step of a small model is little else.
"""

from __future__ import annotations

import atexit
import math
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any
from weakref import WeakKeyDictionary, WeakSet

import numpy as np

from headrace import philox
from headrace.node import Operation, Tensor
from headrace.runtime.plan import Name, Version

SMALL = 8192  # elements; a larger variable stays by itself
_SMALL_FEED = 512  # elements; to cut a larger feed out of a vector takes as long as an array more
MOST_ROOMS = 64  # computations of which a session keeps memory for feeds
ROOM = 16  # elements of a pack's vector behind its variables
MISSING = object()
_EXIT = 60  # seconds that the end of the program waits for a run of another thread


class Pack:
    """Where each of some variables, or of some tensors that are fed, lies in one vector.

    Behind them is some room, where a run can give small results: an array fewer. Belongs to a
    graph, as variables do.
    """

    __slots__ = ("dtype", "names", "parts", "room", "size")

    def __init__(self, members: Sequence[tuple[Any, tuple[int, ...]]], dtype: np.dtype):
        self.dtype = dtype
        self.parts: dict[Any, tuple[slice, tuple[int, ...]]] = {}
        start = 0
        for member, shape in members:
            stop = start + int(np.prod(shape))
            self.parts[member] = (slice(start, stop), shape)
            start = stop
        self.room = start  # where it begins
        self.size = start + ROOM
        self.names: list[Name] = [m if isinstance(m, Tensor) else Version(m, 0) for m in self.parts]

    def part(self, vector: Any, member: Any) -> Any:
        """The member's value in a vector of this layout."""
        where, shape = self.parts[member]
        return vector[where].reshape(shape)

    def split(self, vector: Any) -> dict[Name, Any]:
        """What lies in a vector of this layout, by name."""
        return {n: self.part(vector, m) for n, m in zip(self.names, self.parts, strict=True)}

    def join(self, values: Iterable[Any], others: Iterable[Any], xp: Any) -> Any:
        """A vector of this layout: the values of all members, and others to lie in the room."""
        laid = [xp.reshape(v, (-1,)) for v in (*values, *others)]
        rest = self.size - sum(v.size for v in laid)
        return xp.concatenate([*laid, np.zeros(rest, self.dtype)])


class State:
    """Values of variables, alone or packed, and Philox states of random ops.

    A variable's value is in `alone` as NumPy's array, in `held` as XLA's, or in the vector of a
    pack there. What is in `held` has been computed: a call that takes nothing else computes at
    once.
    """

    def __init__(self) -> None:
        self.lock = threading.RLock()  # held by a run that reads or writes state
        self.replaced_by: int | None = None  # the thread in which values now change hands
        self.alone: dict[Operation, Any] = {}
        self.held: dict[Operation | Pack, Any] = {}
        self.pack_of: dict[Operation, Pack] = {}
        self.streams: dict[Operation, np.ndarray] = {}  # uint32[6]: Philox key and counter
        # How often each signature of a program or segment was run, the latest last. What no route
        # leads to any more is forgotten: a program that makes operations as it goes would pile up.
        self.runs: WeakKeyDictionary[Any, dict[Any, int]] = WeakKeyDictionary()
        self.rooms: dict[Any, list[Any]] = {}  # memory for feeds, by what is compiled
        self._resources: dict[Any, Any] = {}
        self._closed = False
        self._small_lock = threading.Lock()
        LIVE.add(self)

    def count(self, owner: Any, key: Any, most: int) -> int:
        """How often a signature was run, with this time; those not run for long are forgotten."""
        with self._small_lock:
            runs = self.runs.setdefault(owner, {})
            times = runs.pop(key, 0) + 1
            if len(runs) >= most:
                del runs[next(iter(runs))]
            runs[key] = times
            return times

    def counted(self, owner: Any, key: Any) -> int:
        """How often a signature was run."""
        return self.runs.get(owner, {}).get(key, 0)

    def has(self, variable: Operation) -> bool:
        """Whether a variable has a value."""
        return variable in self.held or variable in self.pack_of or variable in self.alone

    def lone(self, variable: Operation) -> Any:
        """The value of a variable as it is stored; `MISSING` if it has none, or is packed."""
        return self.held[variable] if variable in self.held else self.alone.get(variable, MISSING)

    def get(self, variable: Operation) -> Any:
        """The value of a variable; `MISSING` if it has none yet."""
        pack = self.pack_of.get(variable)
        if pack is None:
            return self.lone(variable)
        return np.array(pack.part(np.asarray(self.held[pack]), variable))

    def set(self, variable: Operation, value: Any) -> None:
        """Give a variable a value."""
        if variable in self.pack_of:
            self.unpack(self.pack_of[variable])
        here, there = (self.held, self.alone) if is_of_xla(value) else (self.alone, self.held)
        here[variable] = value
        there.pop(variable, None)

    def unpack(self, pack: Pack) -> None:
        """Let the variables of a pack stand alone again."""
        vector = np.asarray(self.held.pop(pack))
        for variable in pack.parts:
            self.alone[variable] = np.array(pack.part(vector, variable))
            del self.pack_of[variable]

    def take(self, key: Pack | Operation, written: bool = False) -> Any:
        """XLA's array of a pack or of a variable; one that is to be written comes to stand alone.

        KeyError if there is no value, TypeError if a packed variable has taken another shape.
        """
        from headrace.runtime.xla import put

        if key in self.held:
            return self.held[key]
        if isinstance(key, Pack):
            found = self.held[key] = put(self._pack(key))
            return found
        pack = self.pack_of.get(key)
        if pack is not None and not written:
            return put(self.get(key))
        if pack is not None:
            self.unpack(pack)
        found = self.held[key] = put(self.alone[key])
        del self.alone[key]
        return found

    def _pack(self, pack: Pack) -> Any:
        """A vector of the values of the pack's variables, which are in it from now on."""
        values = [self.lone(v) for v in pack.parts]
        if any(v is MISSING for v in values):
            raise KeyError(pack)
        values = [np.asarray(v) for v in values]
        for value, (_, shape) in zip(values, pack.parts.values(), strict=True):
            if value.shape != shape or value.dtype != pack.dtype:
                raise TypeError("A packed variable has taken another shape.")
        vector = pack.join(values, (), np)
        for variable in pack.parts:
            self.alone.pop(variable, None)
            self.held.pop(variable, None)
            self.pack_of[variable] = pack
        return vector

    def keep_rooms(self, compiled: Any, rooms: list[Any]) -> list[Any]:
        """Keep memory for feeds, for further runs of what is compiled."""
        if len(self.rooms) >= MOST_ROOMS:
            self.rooms.clear()
        self.rooms[compiled] = rooms
        return rooms

    @contextmanager
    def unlocked(self) -> Iterator[None]:
        """Give the lock away inside, so that other runs go on."""
        self.lock.release()
        try:
            yield
        finally:
            interrupted = None
            while True:
                try:
                    # The signal may have come when the lock was just taken.
                    if not self.lock._is_owned():  # type: ignore[attr-defined]
                        self.lock.acquire()
                    break
                except KeyboardInterrupt as error:  # it must be held again, come what may
                    interrupted = error
            if interrupted is not None:
                raise interrupted

    def resource(self, key: Any, make: Callable[[], Any]) -> Any:
        """The object of the session that goes by this key; made when first asked for."""
        with self._small_lock:
            if key not in self._resources:
                self._resources[key] = make()
                if self._closed:
                    _cancel(self._resources[key])
            return self._resources[key]

    def close(self) -> None:
        """Wake what waits for the session's objects: it ends with CancelledError."""
        with self._small_lock:
            self._closed = True
            for resource in self._resources.values():
                _cancel(resource)

    def stream(self, op: Operation) -> np.ndarray:
        """The Philox state of a random op; made when first asked for."""
        found = self.streams.get(op)
        if found is None:
            seeds = op.attrs["seed"], op.attrs["seed2"]
            found = self.streams[op] = philox.initial_state(*seeds)
        return found

    def advance(self, ops: Iterable[Operation], blocks: Iterable[int]) -> None:
        """Move the streams of random ops on."""
        for op, n in zip(ops, blocks, strict=True):
            self.streams[op] = philox.advance(self.stream(op), n)


def holder_of(name: Pack | Version) -> Pack | Operation:
    """What holds the array of a name at the start of a run: the pack, or the variable."""
    return name.variable if isinstance(name, Version) else name


def is_of_xla(value: Any) -> bool:
    """Whether an array is XLA's."""
    return hasattr(type(value), "addressable_shards")  # of the value itself it makes them


LIVE: WeakSet[State] = WeakSet()


@atexit.register
def _let_no_run_begin() -> None:
    """And wait for those under way: a daemon thread that the interpreter cuts off inside XLA takes
    the process down with it."""
    for state in list(LIVE):
        state.lock.acquire(timeout=_EXIT)


def _cancel(resource: Any) -> None:
    cancel = getattr(resource, "cancel", None)
    if cancel is not None:
        cancel()


def layouts(
    known: dict[Operation, Pack],
    used: Iterable[tuple[Operation, Any]],
    written: Iterable[Operation],
) -> list[Pack]:
    """The packs that a computation of these variables (with their values) takes; new ones are noted
    in `known`, the graph's. Small written variables that are in none yet form one a type."""
    with _laying_out:
        return _layouts(known, used, set(written))


def lay_feeds(values: dict[Tensor, Any]) -> list[Pack]:
    """The packs in which feeds like these are best given: one for the small ones of a type."""
    small: dict[np.dtype, list[tuple[Tensor, tuple[int, ...]]]] = {}
    for tensor, value in values.items():
        if math.prod(value.shape) <= _SMALL_FEED:
            small.setdefault(value.dtype, []).append((tensor, value.shape))
    return [Pack(members, dtype) for dtype, members in small.items() if len(members) > 1]


_laying_out = threading.Lock()


def _layouts(
    known: dict[Operation, Pack], used: Iterable[tuple[Operation, Any]], written: set[Operation]
) -> list[Pack]:
    found: dict[Pack, None] = {}
    fresh: dict[np.dtype, list[tuple[Operation, tuple[int, ...]]]] = {}
    for variable, value in used:
        pack = known.get(variable)
        if pack is not None:
            if pack.parts[variable][1] == np.shape(value) and pack.dtype == value.dtype:
                found[pack] = None
        elif variable in written and value.size <= SMALL:
            fresh.setdefault(value.dtype, []).append((variable, np.shape(value)))
    for dtype, members in fresh.items():
        if len(members) > 1:
            pack = Pack(members, dtype)
            known.update(dict.fromkeys(pack.parts, pack))
            found[pack] = None
    return list(found)
