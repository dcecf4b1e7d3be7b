"""A device segment as one XLA computation: the execution loop traced once by `jax.jit`.

This and `xp/xla.py` are the only modules that import jax. Types of 64 bits are enabled around our
own calls alone.
"""

from __future__ import annotations

import ctypes
import math
import os
import sys
import warnings
from collections.abc import Callable, Sequence
from typing import Any

import jax
import numpy as np
from jax import lax
from jax.core import Tracer

from headrace import errors
from headrace.node import Operation, Tensor
from headrace.runtime.execute import execute
from headrace.runtime.in_place import Order
from headrace.runtime.plan import Name, Segment, Version
from headrace.runtime.state import Pack
from headrace.xp import numpy as numpy_namespace
from headrace.xp import turned
from headrace.xp import xla as xla_namespace
from headrace.xp.turned import Turned, plain

_CACHE_SIZE = 1 << 30  # bytes on disk; what was not used for longest goes first
_WORTH_KEEPING = 0.1  # seconds of compiling
LARGE_CONSTANT = 1 << 16  # bytes; a larger one is an argument and not part of the computation
EACH, ROWS = 1, 2  # how a loop takes a fed tensor: an element for each turn; rows of data
_MOST_TURNS = 1 << 16
_LARGE_FEED = 1 << 16  # bytes
_LOOP_SECONDS, _LOOP_BYTES = 0.1, 1 << 26  # of one call of a loop; of what it stacks and is fed
_TURN, _FLOP, _BYTE = 1e-6, 5e-12, 1e-11  # seconds: what each is held to cost


def _keep_freed_memory() -> None:
    """Ask glibc to keep what XLA frees: it allocates its scratch memory anew at every call.

    Mapping those pages again costs more than the arithmetic of a middling network. It acts on the
    whole process; HEADRACE_MALLOC=system turns it off.
    """
    if sys.platform != "linux" or os.environ.get("HEADRACE_MALLOC") == "system":
        return
    try:
        mallopt = ctypes.CDLL("libc.so.6").mallopt
    except (OSError, AttributeError):  # another C library
        return
    trim_threshold, mmap_max, arena_max = -1, -4, -8  # <malloc.h>
    mallopt(mmap_max, 0)
    mallopt(trim_threshold, 2**31 - 1)
    mallopt(arena_max, 1)


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


def _start() -> None:
    """Settings that count before the backend starts: a session waits for its results anyway."""
    jax.config.update("jax_cpu_enable_async_dispatch", False)
    _keep_freed_memory()
    _keep_compiled()


_start()


def namespace_of(args: Sequence[Any]) -> Any:
    """XLA's namespace if any argument is being traced, else NumPy's: so shapes fold."""
    for a in args:
        if isinstance(a, (Tracer, Turned)):
            return turned if jax.default_backend() == "cpu" else xla_namespace
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
    ):
        """For inputs like `values`; the static ones by their value."""
        self.static = {n: np.asarray(values[n]) for n in segment.static}
        in_pack = {Version(v, 0): p for p in packs for v in p.parts}
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
        self._overwritten = overwritten
        self.overwritten = len(overwritten)  # so many arguments come first
        self.arguments: list[Any] = sorted(
            [*self.packs, *inputs],
            key=lambda n: (n not in overwritten, not isinstance(n, (Pack, Version))),
        )
        # JAX gives a donated argument's memory to the first result of its shape: in this order each
        # variable's goes to the variable itself, and nothing need be copied.
        renewed = [
            n if isinstance(n, Pack) else final[n.variable]
            for n in self.arguments[: self.overwritten]
        ]
        self.results: list[Any] = [*renewed, *(n for n in outputs if n not in renewed)]
        self.random = [s.op for s in segment.steps if s.op.definition.random]
        self.drawn: list[int] = [0] * len(self.random)  # blocks a run takes; known when traced
        self.checks = False
        self._segment, self._final = segment, final
        self._constants = {n: c for n, c in constants.items() if n not in self.large}

    def like(self, values: dict[Name, Any]) -> list[Any]:
        """Arrays, or their shapes and types, as `trace` takes them."""
        arrays = [_like(n, values) for n in self.arguments]
        arrays += self.large.values()
        if self.random:
            arrays.append(np.zeros((len(self.random), 6), np.uint32))
        return arrays

    def forget(self) -> None:
        """Let go of what only tracing needs."""
        del self._segment, self._constants, self._final, self._overwritten

    def trace(self, *arrays: Any) -> list[Any]:
        """The results, to be called by XLA with tracers."""
        env: dict[Any, Any] = dict(self._constants)
        env.update(self.static)
        for name, array in zip([*self.arguments, *self.large], arrays, strict=False):
            if isinstance(name, Pack):
                env.update((Version(v, 0), name.part(array, v)) for v in name.parts)
            else:
                env[name] = array
        given = {id(a) for a in arrays}
        order = Order(env, [n for n in self._overwritten if isinstance(n, Version)])
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
        results = []
        for name in self.results:
            if isinstance(name, Pack):
                last = [self._final.get(v, Version(v, 0)) for v in name.parts]
                parts = [plain(env[n]).reshape(-1) for n in last]
                results.append(xla_namespace.concatenate(parts))
            else:
                # An input given back as it is must be a copy: the caller's, or donated.
                r = plain(env[name])
                results.append(xla_namespace.array(r, copy=True) if id(r) in given else r)
        self.checks = bool(flags)
        if flags:
            results.append(xla_namespace.all(xla_namespace.stack(flags)))
        return results


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
    ):
        """Trace and compile for inputs like `values`; the static ones by their value."""
        super().__init__(segment, constants, values, final, packs, fetched)
        arrays = self.like(values)
        donated = tuple(range(self.overwritten)) if donate else ()
        with jax.enable_x64(True), warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Some donated buffers were not usable")
            lowered = jax.jit(self.trace, donate_argnums=donated).lower(*arrays)
            if self.checks and donated:  # a run that fails must leave the variables as they were
                lowered = jax.jit(self.trace).lower(*arrays)
            compiled = lowered.compile()
            large = [jax.device_put(c) for c in self.large.values()]
        wide = any(np.dtype(a.dtype).itemsize >= 8 for a in arrays)
        self.call: Callable[..., Sequence[Any]] = _caller(compiled, large, bool(self.random), wide)
        self.forget()


def _like(name: Any, values: dict[Name, Any]) -> Any:
    return (
        jax.ShapeDtypeStruct((name.size,), name.dtype) if isinstance(name, Pack) else values[name]
    )


class CompiledLoop:
    """Many runs of a segment as one computation: a loop of as many turns as it is told.

    Packs and variables that a turn writes go round in the loop, and so do the Philox states, moved
    on as the host would. Of a fed tensor in `each` there is an array [length, ...], an element for
    each turn; of one in `rows` an array [n, ...], of which turn i takes the rows `index[i]`; all
    else is the same in every turn.

    `call(turns, state, same, each, rows, index, streams)` takes the number of turns, int32 and at
    most `length`; the arrays of `state`, `same`, `each` and `rows`; int32 [length, batch]; and
    Philox states [n, 6]. It gives how many turns went well (one that fails a check ends the loop,
    and what else is given is of no use then), the arrays of `state` after them, and for each of
    `fetched` an array [length, ...] if `stacked`, else that of the last turn. State is donated
    unless there are checks.

    The code is the same whatever the number of turns. What a turn is fed is cut out in the turn
    before (or, if large, in a branch), and what it gives is put in place in the turn after: XLA
    would fuse either with the work of the turn, and so round otherwise than in a single run.
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
        packed = {Version(v, 0) for p in packs for v in p.parts}
        lone = [v for v in final if Version(v, 0) not in packed]
        self.state: list[Any] = [*step.written, *(Version(v, 0) for v in lone)]
        self._after: list[Any] = [*step.written, *(final[v] for v in lone)]
        known = {*self.state, *packed, *step.results}
        taken = [n for n in dict.fromkeys([*step.arguments, *self.fetched]) if n not in known]
        self.each = [n for n in taken if n in each]
        self.rows = [n for n in taken if n in rows]
        self.same = [n for n in taken if n not in each and n not in rows]
        index = next((values[n].shape[:1] for n in self.rows), ())
        with jax.enable_x64(True), warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Some donated buffers were not usable")
            self._turn = jax.jit(step.trace, inline=True)  # traced here, and in the loop not again
            one = self._turn.lower(*step.like(values))
            self.checks = step.checks
            made = dict(zip(step.results, one.out_info, strict=False))
            before = [_like(n, values) for n in self.state]
            if any(_kind(a) != _kind(made[n]) for a, n in zip(before, self._after, strict=True)):
                raise ValueError("A variable does not keep its shape.")
            self._outs = [_kind(made[n] if n in made else values[n]) for n in self.fetched]
            fed = [_kind(values[n]) for n in self.each]
            self.most = _most_turns(one, [*fed, *(self._outs if stacked else ())])
            self.length = min(self.most, 1 << (steps - 1).bit_length())
            lowered = jax.jit(self._trace, donate_argnums=() if step.checks else 1).lower(
                np.int32(0),
                before,
                [_like(n, values) for n in self.same],
                [jax.ShapeDtypeStruct((self.length, *shape), dtype) for shape, dtype in fed],
                [rows[n] for n in self.rows],
                jax.ShapeDtypeStruct((self.length, *index), np.int32),
                jax.ShapeDtypeStruct((len(step.random), 6), np.uint32),
                list(step.large.values()),
            )
            self._compiled = lowered.compile()
            self._large = [jax.device_put(c) for c in step.large.values()]
        step.forget()
        del self._turn

    def call(self, turns: int, *inputs: Any) -> Any:
        """Run so many turns: how many went well, state, what is fetched."""
        with jax.enable_x64(True):
            done, state, fetched = self._compiled(np.int32(turns), *inputs, self._large)
            return int(done), state, fetched

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

        like = jax.eval_shape(fed, 0)
        large = sum(math.prod(f.shape) * f.dtype.itemsize for f in like) > _LARGE_FEED

        def none(i: Any) -> list[Any]:
            return [jnp.zeros(f.shape, f.dtype) for f in like]

        def turn(carry: Any) -> Any:
            i, _, state, streams, given, new, outs = carry
            if large:  # no fusion goes into a branch either, and it takes no copy
                given = lax.cond(i < turns, fed, none, i)
            outs = put(outs, new, i - 1)
            i, fixed = lax.optimization_barrier((i, same))
            env = dict(zip(self.state, state, strict=True))
            env.update(zip([*self.same, *self.each, *self.rows], [*fixed, *given], strict=True))
            args = [env[n] for n in step.arguments]
            made = self._turn(*args, *constants, *([streams] if self.random else ()))
            for pack in step.packs:
                env.update((Version(v, 0), pack.part(env[pack], v)) for v in pack.parts)
            env.update(zip(step.results, made, strict=False))
            ok = made[-1] if step.checks else np.bool_(True)
            state, new = ([env[n] for n in names] for names in (self._after, self.fetched))
            streams = _moved(streams, self.drawn)
            return (
                i + ok.astype(np.int32),
                ok,
                state,
                streams,
                [] if large else fed(i + 1),
                new,
                outs,
            )

        new = [jnp.zeros(shape, dtype) for shape, dtype in self._outs]
        outs = [jnp.zeros((self.length, *shape), dtype) for shape, dtype in self._outs]
        outs = outs if self.stacked else []
        start = np.int32(0), np.bool_(True), state, streams, [] if large else fed(0), new, outs
        end = lax.while_loop(lambda c: c[1] & (c[0] < turns), turn, start)
        done, _, state, _, _, new, outs = end
        return done, state, put(outs, new, done - 1) if self.stacked else new


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


def _most_turns(one: Any, kept: Sequence[tuple[tuple[int, ...], Any]]) -> int:
    """How many turns one call may take, a power of two: by the estimated work of a run, and the
    shapes and types of what is kept of each."""
    cost = one.cost_analysis() or {}
    seconds = _TURN + _FLOP * cost.get("flops", 0) + _BYTE * cost.get("bytes accessed", 0)
    size = sum(math.prod(shape) * dtype.itemsize for shape, dtype in kept)
    most = min(_LOOP_SECONDS / seconds, _LOOP_BYTES / max(size, 1), _MOST_TURNS)
    return 1 << max(int(most).bit_length() - 1, 0)


def _caller(
    compiled: Any, large: list[Any], random: bool, wide: bool
) -> Callable[..., Sequence[Any]]:
    call = compiled
    if large:

        def call(*arrays: Any) -> Any:
            if random:
                return compiled(*arrays[:-1], *large, arrays[-1])
            return compiled(*arrays, *large)

    if not wide:
        return call

    def call_wide(*arrays: Any) -> Any:
        with jax.enable_x64(True):
            return call(*arrays)

    return call_wide


def put(array: Any) -> Any:
    """A copy of an array where XLA computes."""
    with jax.enable_x64(True):
        return jax.device_put(np.array(array))  # what XLA may take as it is, and is not the user's


def gpu_available() -> bool:
    """Whether XLA runs on a GPU here."""
    return jax.default_backend() == "gpu"


def device_names() -> list[str]:
    """The devices there are, as TensorFlow names them: `/device:CPU:0`."""
    return [f"/device:{d.platform.upper()}:{d.id}" for d in jax.devices()]


def runtime_error(error: Exception) -> Exception:
    """XLA's own error as one of `tf.errors`."""
    text = str(error)
    for word, kind in (
        ("RESOURCE_EXHAUSTED", errors.ResourceExhaustedError),
        ("INVALID_ARGUMENT", errors.InvalidArgumentError),
    ):
        if word in text:
            return kind(None, None, text)
    return errors.InternalError(None, None, text)
