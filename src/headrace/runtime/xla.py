"""A device segment as one XLA computation: the execution loop traced once by `jax.jit`.

This, `xla_loop.py`, `blocks.py` and those of `xp/` are the only modules that import jax. Types of
64 bits are enabled around our own calls alone.
"""

from __future__ import annotations

import math
import os
import warnings
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext, suppress
from functools import cache
from typing import Any

import jax
import numpy as np
from jax._src import xla_bridge
from jax.core import Tracer, eval_jaxpr
from jax.interpreters.partial_eval import dce_jaxpr

from headrace.config.experimental import tensor_float_32_execution_enabled
from headrace.node import Operation
from headrace.runtime.blocks import MANY, in_blocks
from headrace.runtime.execute import execute
from headrace.runtime.in_place import Order
from headrace.runtime.memory import address, aligned, give_back, is_aligned, keep_freed_memory
from headrace.runtime.plan import Name, Segment, Version
from headrace.runtime.state import Pack, State, holder_of
from headrace.xp import numpy as numpy_namespace
from headrace.xp import turned
from headrace.xp import xla as xla_namespace
from headrace.xp.turned import Turned, plain

_CACHE_SIZE = 1 << 30  # bytes on disk; what was not used for longest goes first
_WORTH_KEEPING = 0.1  # seconds of compiling
_WORTH_DONATING = 1 << 18  # bytes of variables: then a copy costs more than to check beforehand
_LARGE_FEED = 1 << 16  # bytes
_MUCH = 1 << 26  # bytes of arguments: such a computation needs the memory for itself
LARGE_CONSTANT = 1 << 16  # bytes; a larger one is an argument and not part of the computation


def _keep_compiled() -> None:
    """Let JAX keep on disk what it compiles, so that a program's next start need not compile.

    HEADRACE_CACHE names another folder, or is "off". A cache that the user gave JAX stays.
    """
    asked = os.environ.get("HEADRACE_CACHE", "")
    if asked == "off" or getattr(jax.config, "jax_compilation_cache_dir", None):
        return
    home = os.environ.get("XDG_CACHE_HOME") or os.path.expanduser("~/.cache")
    folder = asked or os.path.join(home, "headrace")
    try:
        os.makedirs(folder, exist_ok=True)
    except OSError:  # no home to write to: then without
        return
    if not os.access(folder, os.W_OK):
        return
    jax.config.update("jax_compilation_cache_dir", folder)
    jax.config.update("jax_compilation_cache_max_size", _CACHE_SIZE)
    jax.config.update("jax_persistent_cache_min_compile_time_secs", _WORTH_KEEPING)


def _is_started() -> bool:
    """Whether JAX has computed already; if that is unknown, it has."""
    try:
        return xla_bridge.backends_are_initialized()
    except AttributeError:
        return True


def _start() -> bool:
    """Make the settings that count before the backend starts; whether XLA computes on a CPU while
    it is called, and not after: a session waits for its results anyway."""
    in_time = not _is_started()
    jax.config.update("jax_cpu_enable_async_dispatch", False)
    keep_freed_memory()
    _keep_compiled()
    return in_time


_synchronous = _start()


def namespace_of(args: Sequence[Any]) -> Any:
    """XLA's namespace if any argument is being traced, else NumPy's: so shapes fold."""
    for a in args:
        if isinstance(a, (Tracer, Turned)):
            return turned if xla_namespace.on_cpu() else xla_namespace
    return numpy_namespace


class TracedSegment:
    """A segment as a function that XLA can trace, for the static values of its inputs.

    It takes the arrays of `arguments` (packs, then versions and tensors) and `large` constants,
    then the Philox states [n, 6] if `random`; it gives the arrays of `results` (packs written to,
    then versions and tensors), then a flag if it has `checks`.
    """

    def __init__(
        self,
        segment: Segment,
        constants: dict[Name, Any],
        values: dict[Name, Any],
        final: dict[Operation, Version],
        packs: Sequence[Pack] = (),
        fetched: Sequence[Name | None] = (),
        fed: Sequence[Pack] = (),
        hot: bool = False,
    ):
        """For inputs like `values`; the static ones by their value. `packs` are of variables, `fed`
        of feeds. `hot`, for the hot path: small results are given in a pack that is written.
        """
        self.static = {n: np.asarray(values[n]) for n in segment.static}
        in_pack = {n for p in (*packs, *fed) for n in p.names}
        self.packs = tuple(packs)
        self.written = tuple(p for p in packs if any(v in final for v in p.parts))
        packed = {final[v] for p in packs for v in p.parts if v in final} - set(fetched)
        outputs = [n for n in segment.outputs if n not in packed]
        inputs = [n for n in segment.inputs if n not in self.static and n not in in_pack]
        used = {a for s in segment.steps for a in s.args}
        self.large = {
            n: c for n, c in constants.items()
            if n in used and c.nbytes > LARGE_CONSTANT and c.dtype != object
        }  # fmt: skip
        overwritten: set[Any] = set(self.written) | {
            n for n in inputs
            if isinstance(n, Version) and n not in fetched
            and n.variable in final and final[n.variable] in outputs
        }  # fmt: skip
        self.overwritten = len(overwritten)  # so many arguments come first
        self.arguments: list[Any] = sorted(
            [*self.packs, *inputs, *fed],
            key=lambda n: (n not in overwritten, n not in packs and not isinstance(n, Version)),
        )
        # JAX gives a donated argument's memory to the first result of its shape: in this order each
        # variable's goes to the variable itself, and nothing need be copied.
        renewed = [
            n if isinstance(n, Pack) else final[n.variable]
            for n in self.arguments[: self.overwritten]
        ]
        self.results: list[Any] = [*renewed, *(n for n in outputs if n not in renewed)]
        self.beside: dict[Name, tuple[Pack, slice, tuple[int, ...]]] = {}  # known when traced
        self._movable = [n for n in outputs if n not in renewed and n in fetched] if hot else []
        self.random = [s.op for s in segment.steps if s.op.definition.random]
        self.drawn: list[int] = [0] * len(self.random)  # blocks a run takes; known when traced
        self.checks = False
        self.blocks = 1  # that rows are computed in
        self._segment, self._final = segment, final
        self._constants = {n: c for n, c in constants.items() if n not in self.large}

    def like(self, values: dict[Name, Any]) -> list[Any]:
        """Arrays, or their shapes and types, as `trace` takes them."""
        arrays = [like(n, values) for n in self.arguments]
        arrays += self.large.values()
        if self.random:
            arrays.append(np.zeros((len(self.random), 6), np.uint32))
        return arrays

    def forget(self) -> None:
        """Let go of what only tracing needs."""
        del self._segment, self._constants, self._final

    def trace(self, *arrays: Any) -> list[Any]:
        """The results, to be called by XLA with tracers."""
        rows = self._rows(arrays) if xla_namespace.on_cpu() else ()
        if rows:
            with xla_namespace.plainly():
                closed = jax.make_jaxpr(self._trace)(*arrays)
            blocks = in_blocks(closed, rows)
            if blocks is not None:
                self.blocks = blocks.count
                return blocks(*arrays)
        return self._trace(*arrays)

    def _rows(self, arrays: Sequence[Any]) -> set[int]:
        """How many rows there may be: sizes of large feeds and constants, and of no variable."""
        held = [n in self.packs or isinstance(n, Version) for n in self.arguments]
        state, fed = arrays[: sum(held)], arrays[sum(held) :]
        many = {n for a in (*fed, *self._constants.values()) for n in np.shape(a) if n >= MANY}
        return many - {n for a in state for n in a.shape} - {
            n for p in self.packs for _, shape in p.parts.values() for n in shape
        }  # fmt: skip

    def _trace(self, *arrays: Any) -> list[Any]:
        env: dict[Any, Any] = dict(self._constants)
        env.update(self.static)
        for name, array in zip([*self.arguments, *self.large], arrays, strict=False):
            if isinstance(name, Pack):
                env.update(name.split(array))
            else:
                env[name] = array
        given = {id(a) for a in arrays}
        overwritten = self.arguments[: self.overwritten]
        order = Order(env, [n for n in overwritten if isinstance(n, Version)])
        position = {op: i for i, op in enumerate(self.random)}

        def state_of(op: Operation) -> Any:
            return arrays[-1][position[op]]

        def drew(op: Operation, shape: tuple[int, ...]) -> None:
            self.drawn[position[op]] = op.definition.blocks(op.attrs, shape)

        notes = xla_namespace.notes
        outer, notes.flags = notes.flags, []
        try:
            for steps in order.parts(self._segment.steps):
                order.settle(steps[0])
                execute(steps, env, state_of, namespace_of, False, drew, order.note)
            flags = notes.flags
        finally:
            notes.flags = outer
        self._place_beside(env)
        results = []
        for name in self.results:
            if isinstance(name, Pack):
                last = [env[self._final.get(v, Version(v, 0))] for v in name.parts]
                others = [env[n] for n, (pack, *_) in self.beside.items() if pack is name]
                results.append(name.join(plain(last), plain(others), xla_namespace))
            else:
                # An input given back as it is must be a copy: the caller's, or donated.
                r = plain(env[name])
                results.append(xla_namespace.array(r, copy=True) if id(r) in given else r)
        self.checks = bool(flags)
        if flags:
            results.append(xla_namespace.all(xla_namespace.stack(flags)))
        return results

    def _place_beside(self, env: dict[Any, Any]) -> None:
        """Find room in packs for small results."""
        used = {pack: pack.room for pack in self.written}
        for name in self._movable:
            r = plain(env[name])
            size, dtype = np.size(r), np.result_type(r)
            for pack, start in used.items():
                if pack.dtype == dtype and start + size <= pack.size:
                    used[pack] = start + size
                    self.beside[name] = pack, slice(start, start + size), np.shape(r)
                    break
        self.results = [n for n in self.results if n not in self.beside]


class CompiledSegment(TracedSegment):
    """A segment compiled for the shapes, types and static values of its inputs.

    Call it with the arrays of `arguments`, then the Philox states [n, 6] if `random`.
    """

    def __init__(
        self,
        segment: Segment,
        constants: dict[Name, Any],
        values: dict[Name, Any],
        final: dict[Operation, Version],
        donate: bool,
        packs: Sequence[Pack] = (),
        fetched: Sequence[Name | None] = (),
        fed: Sequence[Pack] = (),
        hot: bool = False,
    ):
        """Trace and compile for inputs like `values`; the static ones by their value."""
        super().__init__(segment, constants, values, final, packs, fetched, fed, hot)
        arrays = self.like(values)
        donated = tuple(range(self.overwritten)) if donate else ()
        self.call = for_each_setting(lambda: self._compile(arrays, donated, hot))
        held = sum(isinstance(n, Version) or n in packs for n in self.arguments)
        given = zip(self.arguments[held:], arrays[held:], strict=False)
        self.fed: dict[Any, Any] = dict(given)  # arguments that are fed, and what is like them
        self._takes_much = sum(map(_size, arrays)) > _MUCH
        if xla_namespace.on_cpu():
            self.forget()

    def _compile(
        self, arrays: list[Any], donated: tuple[int, ...], hot: bool
    ) -> Callable[..., Sequence[Any]]:
        with compiling():
            traced = jax.jit(self.trace, donate_argnums=donated).trace(*arrays)
            checked: Callable[..., Any] | None = None
            if self.checks and donated:  # a run that fails must leave the variables as they were
                if sum(_size(a) for a in arrays[: self.overwritten]) >= _WORTH_DONATING:
                    checked = self._checked_before(traced.jaxpr, arrays)
                if checked is None:
                    traced = jax.jit(self.trace).trace(*arrays)
            compiled = traced.lower().compile()
            large = [jax.device_put(c).block_until_ready() for c in self.large.values()]
        function = function_of(compiled, hot)
        return _caller(function, large, bool(self.random), is_wide(arrays), checked)

    def take_over(self, state: State) -> None:
        """Take large variables from NumPy, one by one; the memory is given back before scratch
        memory is needed, and so is what compiling has left."""
        if not self._takes_much:
            return
        with suppress(KeyError, TypeError):  # it does not fit: a run will find out
            for i, n in enumerate(self.arguments):
                if n not in self.fed:
                    state.take(holder_of(n), i < self.overwritten)
        give_back()

    def rooms(self) -> list[Any]:
        """Memory for what is fed run after run. For each argument that is fed (in order) an array
        of it, then one of NumPy's for each tensor in it; or a `Room` if it is large. Last such two
        for the Philox states."""
        laid = []
        for name, like in self.fed.items():
            room = Room(like)
            if is_large(like):
                laid.append(room)
            else:
                parts = (
                    name.split(room.memory).values() if isinstance(name, Pack) else [room.memory]
                )
                laid += [room.array, *parts]
        if self.random:
            room = Room(np.zeros((len(self.random), 6), np.uint32))
            laid += [room.array, room.memory]
        return laid

    def _checked_before(self, whole: Any, arrays: list[Any]) -> Callable[..., Any] | None:
        """What the checks hang on as a small computation, to be asked before any variable is
        donated: a function of `arrays`. None if they hang on a variable."""
        least, used = dce_jaxpr(whole.jaxpr, [False] * len(self.results) + [True])
        places = [i for i, needed in enumerate(used) if needed]
        state = [isinstance(n, (Pack, Version)) for n in self.arguments]
        if any(state[i] for i in places if i < len(state)):
            return None
        check = jax.jit(lambda *some: eval_jaxpr(least, whole.consts, *some))
        compiled = function_of(check.lower(*(arrays[i] for i in places)).compile())
        return lambda given: compiled(*(given[i] for i in places))[0]


@contextmanager
def compiling() -> Iterator[None]:
    """JAX as it is to trace and compile for us, inside."""
    exact = not (tensor_float_32_execution_enabled() or xla_namespace.on_cpu())
    products = jax.default_matmul_precision("highest") if exact else nullcontext()
    with jax.enable_x64(True), products, warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Some donated buffers were not usable")
        yield


def for_each_setting(make: Callable[[], Callable[..., Any]]) -> Callable[..., Any]:
    """The function that `make` compiles; on a GPU one for each setting of TensorFloat-32, compiled
    when it is first called with that."""
    setting, first = tensor_float_32_execution_enabled(), make()
    if xla_namespace.on_cpu():
        return first
    made = {setting: first}

    def call(*arrays: Any) -> Any:
        setting = tensor_float_32_execution_enabled()
        if setting not in made:
            made[setting] = make()
        return made[setting](*arrays)

    return call


def is_wide(arrays: Iterable[Any]) -> bool:
    """Whether a computation that takes such arrays is to be called with types of 64 bits."""
    return any(np.dtype(a.dtype).itemsize >= 8 for a in arrays)


def like(name: Any, values: Mapping[Any, Any]) -> Any:
    """What has the shape and type of a pack's vector, or of one of `values`."""
    if isinstance(name, Pack):
        return jax.ShapeDtypeStruct((name.size,), name.dtype)
    return jax.ShapeDtypeStruct(values[name].shape, values[name].dtype)


def _size(a: Any) -> int:
    return math.prod(a.shape) * np.dtype(a.dtype).itemsize


def _caller(
    function: Callable[..., Any], large: list[Any], random: bool, wide: bool,
    checked: Callable[..., Any] | None,
) -> Callable[..., Sequence[Any]]:  # fmt: skip
    call = function
    if large or checked is not None:

        def call(*arrays: Any) -> Any:
            if large:
                at = len(arrays) - random  # the Philox states come last
                arrays = *arrays[:at], *large, *arrays[at:]
            if checked is not None:
                ok = checked(arrays)
                if not np.asarray(ok):
                    return [ok]
            return function(*arrays)

    if not wide:
        return call

    def call_wide(*arrays: Any) -> Any:
        with jax.enable_x64(True):
            return call(*arrays)

    return call_wide


def function_of(compiled: Any, ready: bool = False) -> Callable[..., Any]:
    """What JAX compiled as a function, which has computed when it returns: then feeds may change,
    and variables be written over. If what it takes is always `ready`, XLA on a CPU does so itself.
    """
    try:  # what a call of it comes to, a frame of Python less
        function = compiled._executable.create_cpp_call(compiled._params) or compiled
    except AttributeError:  # another version of JAX
        function = compiled
    if ready and _synchronous and xla_namespace.on_cpu():
        return function
    return lambda *arrays: jax.block_until_ready(function(*arrays))


def put(array: Any) -> Any:
    """A copy of an array where XLA computes, done when it is returned."""
    with jax.enable_x64(True):
        return jax.numpy.array(array, copy=True).block_until_ready()  # device_put may share it


def is_large(like: Any) -> bool:
    """Whether XLA had better take such a feed as it is than have it copied, if it is aligned."""
    return _size(like) > _LARGE_FEED


class Room:
    """Memory for what is fed run after run: NumPy writes it, and XLA reads it as it is."""

    __slots__ = ("array", "memory")

    def __init__(self, like: Any):
        """For arrays of that shape and type."""
        self.memory = aligned(like.shape, like.dtype)
        with jax.enable_x64(True):
            self.array = jax.device_put(self.memory).block_until_ready()

    def take(self, value: Any) -> Any:
        """A large value as XLA is best given it."""
        if type(value) is not np.ndarray:
            return value.block_until_ready()
        if is_aligned(value):
            return value
        self.memory[...] = value
        return self.array


@cache
def shares_memory() -> bool:
    """Whether XLA computes where NumPy does, and takes what is aligned as it is."""
    room = Room(np.zeros(1))
    return room.array.unsafe_buffer_pointer() == address(room.memory)


def gpu_available() -> bool:
    """Whether XLA runs on a GPU here."""
    return jax.default_backend() == "gpu"


def device_names() -> list[str]:
    """The devices there are, as TensorFlow names them: `/device:CPU:0`."""
    return [f"/device:{d.platform.upper()}:{d.id}" for d in jax.devices()]
