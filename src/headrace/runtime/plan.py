"""From fetches and feeds to a plan: prune, rename state, partition. Pure; nothing runs here.

State is a value with versions, not a place: every array of a run has a name that is bound once, a
`Tensor` or a `Version(variable, n)`: the variable after its n-th write of this run.

- Writes to one variable chain in the order of their making: none is lost.
- A read sees the last write that it depends on (by data or control edges), else the value at the
  start of the run.
- Fetching a variable gives its value after the run.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, NamedTuple

from headrace import errors, shapes
from headrace.dtypes import DType
from headrace.node import Operation, Tensor, grouped, where
from headrace.xp import numpy as numpy_namespace


class Version(NamedTuple):
    """A variable (its operation) after `n` writes of this run; 0 is its value at the start."""

    variable: Operation
    n: int


Name = Tensor | Version


@dataclass(slots=True, eq=False)
class Step:
    """One operation of a run, with the names it takes and binds."""

    op: Operation
    args: tuple[Name | None, ...]  # None: a variable whose value the op does not need
    outs: tuple[Name | None, ...]  # None: the tensor is fed, and what the op makes of it not used
    call: Callable[..., Any]  # (xp, [random state,] *argument values)
    host: bool
    depends: tuple[Step, ...] = ()
    segment: int = 0
    dead: tuple[Name, ...] = ()  # names that nothing after this step needs

    @property
    def kind(self) -> int:
        """Of the segment it goes into: 0 waiting, 1 on the host, 2 on the device."""
        return 0 if self.op.definition.waits else 1 if self.host else 2


@dataclass(slots=True, eq=False, weakref_slot=True)
class Segment:
    """Steps that run together, on the host or traced into one XLA computation."""

    host: bool
    waits: bool
    steps: list[Step] = field(default_factory=list)
    inputs: list[Name] = field(default_factory=list)
    outputs: list[Name] = field(default_factory=list)
    static: list[Name] = field(default_factory=list)  # inputs whose value enters the compile key
    last: bool = False


@dataclass(slots=True, eq=False)
class Plan:
    """What to do for these fetches and feeds."""

    feeds: tuple[Tensor, ...]
    fetches: tuple[Name | None, ...]  # None for an operation
    steps: list[Step]
    segments: list[Segment]
    constants: dict[Name, Any]
    resources: dict[Tensor, Callable[[], Any]]  # objects of the session, and how each is made
    required: tuple[Version, ...]  # versions 0 that must be there
    optional: tuple[Version, ...]  # versions 0 that may be missing
    final: dict[Operation, Version]  # the last version of each written variable

    @property
    def has_effects(self) -> bool:
        """Whether something happens on the host besides computing."""
        return any(s.op.definition.effect for s in self.steps)


def make_plan(fetches: Sequence[Tensor | Operation], feeds: Sequence[Tensor]) -> Plan:
    """The plan of a run. Errors of `tf.errors` for what cannot run at all."""
    fed = set(feeds)
    ops = _prune(fetches, fed)
    constants: dict[Name, Any] = {}
    resources: dict[Tensor, Callable[[], Any]] = {}
    steps, final, seen = _rename(ops, fed, constants, resources)
    names = tuple(_fetched(f, fed, final, seen) for f in fetches)
    segments = _partition(steps, names, final, fed, constants)
    required, optional = _initial(steps, names)
    plan = Plan(
        tuple(feeds), names, steps, segments, constants, resources, required, optional, final
    )
    _find_dead(plan)
    return plan


# -- prune -----------------------------------------------------------------------------------------


def _prune(fetches: Iterable[Tensor | Operation], fed: set[Tensor]) -> list[Operation]:
    """The operations needed, in an order of execution."""
    stack: list[Operation] = []
    for fetch in fetches:
        if isinstance(fetch, Operation):
            stack.append(fetch)
        elif fetch not in fed:
            stack.append(fetch.op)
    needed: set[Operation] = set()
    rewired = False
    while stack:
        op = stack.pop()
        if op in needed:
            continue
        needed.add(op)
        rewired = rewired or op.graph._rewired
        for t in op.inputs:
            if t not in fed:
                stack.append(t.op)
        if not _is_fed_placeholder(op, fed):
            stack.extend(op._control_inputs)
    ordered = sorted(needed, key=_id)
    return _topological(ordered, fed) if rewired else ordered


def _is_fed_placeholder(op: Operation, fed: set[Tensor]) -> bool:
    """Whether there is nothing to run here: what is fed waits for nothing."""
    return op.definition is not None and op.definition.must_feed and op.outputs[0] in fed


def _id(op: Operation) -> int:
    return op._id


def _topological(ops: list[Operation], fed: set[Tensor]) -> list[Operation]:
    """Creation order as far as the edges allow: needed when edges to older ops were added."""
    waiting: dict[Operation, int] = {}
    after: dict[Operation, list[Operation]] = {op: [] for op in ops}
    for op in ops:
        before = {t.op for t in op.inputs if t not in fed}
        if not _is_fed_placeholder(op, fed):
            before.update(op._control_inputs)
        waiting[op] = len(before)
        for b in before:
            after[b].append(op)
    ready = [(op._id, i) for i, op in enumerate(ops) if not waiting[op]]
    index = {op: i for i, op in enumerate(ops)}
    heapq.heapify(ready)
    ordered = []
    while ready:
        op = ops[heapq.heappop(ready)[1]]
        ordered.append(op)
        for a in after[op]:
            waiting[a] -= 1
            if not waiting[a]:
                heapq.heappush(ready, (a._id, index[a]))
    if len(ordered) < len(ops):
        stuck = next(op for op in ops if waiting[op])
        raise errors.InvalidArgumentError(
            None, stuck, f"The graph has a cycle through {stuck.name!r} (op: {stuck.type!r})."
        )
    return ordered


# -- rename ----------------------------------------------------------------------------------------

_NOTHING: dict[Operation, int] = {}


def variable_of(tensor: Tensor) -> Operation | None:
    """The variable that a ref or handle stands for; None if it stands for none."""
    while True:
        op = tensor.op
        definition = op.definition
        if definition is not None and definition.variable:
            return op
        if not tensor.dtype.is_ref or not op.inputs:
            return None
        writes = definition.writes if definition is not None else ()
        index = writes[tensor.value_index] if tensor.value_index < len(writes) else 0
        tensor = op.inputs[index]


def _stands_for_variable(tensor: Tensor) -> bool:
    return tensor.dtype.kind == "X" or tensor.dtype._is_ref_dtype


def _rename(
    ops: list[Operation],
    fed: set[Tensor],
    constants: dict[Name, Any],
    resources: dict[Tensor, Callable[[], Any]],
) -> tuple[list[Step], dict[Operation, Version], dict[Operation, dict[Operation, int]]]:
    latest: dict[Operation, int] = {}
    seen: dict[Operation, dict[Operation, int]] = {}
    step_of: dict[Operation, Step] = {}
    writer: dict[Version, Step] = {}
    steps: list[Step] = []
    for op in ops:
        definition = op.definition
        if definition is None:
            raise errors.NotFoundError(
                None, op, f"Op type not registered {op.type!r}: {op.name!r} cannot be run."
            )
        if definition.must_feed and op.outputs[0] not in fed:
            raise _not_fed(op)
        if not op.inputs and not op._control_inputs and op.type == "Const":
            if op.outputs[0] not in fed:
                constants[op.outputs[0]] = op.attrs["value"]
            seen[op] = _NOTHING
            continue
        if definition.resource:
            resources[op.outputs[0]] = partial(_caller(definition, op), numpy_namespace)
        if definition.variable or definition.must_feed or definition.resource:
            seen[op] = _NOTHING
            continue
        sees = _merge_seen(op, fed, seen)
        depends = [step_of[t.op] for t in op.inputs if t not in fed and t.op in step_of]
        depends += [step_of[c] for c in op._control_inputs if c in step_of]
        written = _flat_positions(op, definition.writes)
        args: list[Name | None] = []
        new: list[Version] = []
        for i, t in enumerate(op.inputs):
            variable = variable_of(t) if _stands_for_variable(t) and t not in fed else None
            if variable is None:
                args.append(t)
                continue
            n = latest.get(variable, 0) if i in written else sees.get(variable, 0)
            version = Version(variable, n)
            if version in writer:
                depends.append(writer[version])
            needed = i not in written or definition.reads is None or i in definition.reads
            args.append(version if needed else None)
        for i in written:
            variable = variable_of(op.inputs[i])
            if variable is None:
                raise errors.InvalidArgumentError(
                    None, op, f"{op.name!r} (op: {op.type!r}) must be given a variable to write."
                )
            latest[variable] = latest.get(variable, 0) + 1
            new.append(Version(variable, latest[variable]))
            sees = {**sees, variable: latest[variable]}
        made = [t for t in op.outputs if not t.dtype._is_ref_dtype or not written]
        outs = (*new, *(None if t in fed else t for t in made))
        seen[op] = sees
        call = _caller(definition, op)
        host = definition.host or _is_host_only(op, constants)
        step = Step(op, tuple(args), outs, call, host, tuple(dict.fromkeys(depends)))
        for version in new:
            writer[version] = step
        step_of[op] = step
        steps.append(step)
    return steps, {v: Version(v, n) for v, n in latest.items()}, seen


def _caller(definition: Any, op: Operation) -> Callable[..., Any]:
    attrs = {k: v for k, v in op.attrs.items() if k in definition.accepts}
    kernel = partial(definition.kernel, **attrs) if attrs else definition.kernel
    if definition.wants_op:
        kernel = partial(kernel, _op=op)
    if not op._groups:
        return kernel
    groups, lead = op._groups, int(definition.random)

    def call(xp: Any, *values: Any) -> Any:
        return kernel(xp, *values[:lead], *grouped(groups, values[lead:]))

    return call


def _flat_positions(op: Operation, arguments: Sequence[int]) -> tuple[int, ...]:
    """Positions among the op's inputs of arguments of its signature."""
    if not op._groups:
        return tuple(arguments)
    starts, at = [], 0
    for size in op._groups:
        starts.append((at, at + (1 if size is None else size)))
        at = starts[-1][1]
    return tuple(i for a in arguments for i in range(*starts[a]))


def _merge_seen(
    op: Operation, fed: set[Tensor], seen: dict[Operation, dict[Operation, int]]
) -> dict[Operation, int]:
    merged, ours = _NOTHING, False
    for source in (*(t.op for t in op.inputs if t not in fed), *op._control_inputs):
        other = seen[source]
        if not other or other is merged:
            continue
        if not merged:
            merged = other
            continue
        if not ours:  # one copy, however many there are to merge
            merged, ours = dict(merged), True
        for variable, n in other.items():
            if n > merged.get(variable, 0):
                merged[variable] = n
    return merged


def _is_host_only(op: Operation, constants: dict[Name, Any]) -> bool:
    """Whether XLA has no type for something here. Words that go with a check or an effect, and
    with nothing that is computed, are no hindrance."""
    words = constants if not op.outputs or op.definition.effect else ()
    return any(_opaque(t.dtype) for t in op.outputs) or any(
        _opaque(t.dtype) and t not in words and variable_of(t) is None for t in op.inputs
    )


def _opaque(dtype: DType) -> bool:
    return dtype.kind in "SX"


def _not_fed(op: Operation) -> errors.InvalidArgumentError:
    t = op.outputs[0]
    name = {"float32": "float", "float64": "double", "float16": "half"}.get(
        t.dtype.name, t.dtype.name
    )
    shape = "" if t._dims is None else f" and shape {shapes.brackets(t._dims)}"
    return errors.InvalidArgumentError(
        None,
        op,
        f"You must feed a value for placeholder tensor {op.name!r} with dtype {name}{shape}"
        f"{where(op)}",
    )


def _fetched(
    fetch: Tensor | Operation,
    fed: set[Tensor],
    final: dict[Operation, Version],
    seen: dict[Operation, dict[Operation, int]],
) -> Name | None:
    if isinstance(fetch, Operation):
        return None
    if fetch in fed or not _stands_for_variable(fetch):
        return fetch
    variable = variable_of(fetch)
    if variable is None:
        return fetch
    if fetch.op is variable:
        return final.get(variable, Version(variable, 0))
    return Version(variable, seen[fetch.op].get(variable, 0))


def _initial(
    steps: list[Step], fetched: Iterable[Name | None]
) -> tuple[tuple[Version, ...], tuple[Version, ...]]:
    required: dict[Version, None] = {}
    optional: dict[Version, None] = {}
    for step in steps:
        group = optional if step.op.definition.takes_uninitialized else required
        for a in step.args:
            if isinstance(a, Version) and a.n == 0:
                group[a] = None
    for name in fetched:
        if isinstance(name, Version) and name.n == 0:
            required[name] = None
    return tuple(required), tuple(v for v in optional if v not in required)


# -- partition -------------------------------------------------------------------------------------


def _partition(
    steps: list[Step],
    fetched: Sequence[Name | None],
    final: dict[Operation, Version],
    fed: set[Tensor],
    constants: dict[Name, Any],
) -> list[Segment]:
    """Waiting, host and device segments in turn, and what each takes and gives."""
    maker = {n: s for s in steps for n in s.outs}
    static = _static_names(steps, maker)
    _place_on_host(steps, maker)
    for step in steps:
        first = max((d.segment for d in step.depends), default=0)
        step.segment = first + (step.kind - first) % 3  # the next that is of its kind
    by_level: dict[int, Segment] = {}
    for step in steps:
        segment = by_level.get(step.segment)
        if segment is None:
            segment = by_level[step.segment] = Segment(step.host, step.kind == 0)
        segment.steps.append(step)
    segments = [by_level[level] for level in sorted(by_level)]
    if segments:
        segments[-1].last = True
    steps[:] = [step for segment in segments for step in segment.steps]
    wanted: set[Name] = {n for n in fetched if n is not None} | set(final.values())
    for segment in reversed(segments):
        made = {n for s in segment.steps for n in s.outs}
        taken = dict.fromkeys(
            a for s in segment.steps for a in s.args
            if a is not None and a not in made and a not in constants
        )  # fmt: skip
        effects = {a for s in segment.steps if s.op.definition.effect for a in s.args}
        segment.inputs = list(taken)
        segment.outputs = [
            n
            for s in segment.steps
            for n in s.outs
            if n is not None and (n in wanted or n in effects)
        ]
        segment.static = [] if segment.host else [n for n in taken if n in static]
        wanted = (wanted - made) | set(taken)
    return segments


def _static_names(steps: list[Step], maker: dict[Name | None, Step]) -> set[Name]:
    """Names whose value must be known when a segment is traced.

    A step that makes one from a variable, from random numbers or from a host step's result goes to
    the host, and its result enters the compile key by value. One that makes it from feeds alone
    folds in the trace, and then the feeds enter by value.
    """
    static: set[Name] = set()
    stack: list[Name] = []
    for step in steps:
        if not step.host and step.op.definition.static:
            for i in _flat_positions(step.op, step.op.definition.static):
                if step.args[i] is not None:
                    stack.append(step.args[i])  # type: ignore[arg-type]
    while stack:
        name = stack.pop()
        if name in static:
            continue
        static.add(name)
        step = maker.get(name)
        if step is not None and not step.host and not step.op.definition.shape_only:
            stack.extend(a for a in step.args if a is not None)
    if static:
        tainted: set[Name | None] = set()
        for step in steps:
            definition = step.op.definition
            if step.host:
                tainted.update(step.outs)
                continue
            if not any(n in static for n in step.outs) or definition.shape_only:
                continue
            if definition.random or any(
                (isinstance(a, Version) or (a is not None and a in tainted)) for a in step.args
            ):
                step.host = True
                tainted.update(step.outs)
    return static


def _place_on_host(steps: list[Step], maker: dict[Name | None, Step]) -> None:
    """Let steps that only give variables what was made on the host be there, as when a checkpoint
    is restored: XLA would copy it, and compile for that."""
    for step in steps:
        if step.op.definition.writes and step.op.definition.reads == ():
            makers = [maker.get(a) for a in step.args if a is not None]
            step.host = step.host or all(m is not None and m.host for m in makers)


def _find_dead(plan: Plan) -> None:
    kept = {n for n in plan.fetches if n is not None} | set(plan.final.values())
    kept |= set(plan.constants)
    for segment in plan.segments:
        kept.update(segment.inputs)
        kept.update(segment.outputs)
    for segment in plan.segments:
        last: set[Name] = set()
        for step in reversed(segment.steps):
            dead = [n for n in dict.fromkeys((*step.outs, *step.args)) if n not in last]
            step.dead = tuple(n for n in dead if n is not None and n not in kept)
            last.update(n for n in dead if n is not None)


# -- the law ---------------------------------------------------------------------------------------


def check_plan(plan: Plan) -> None:
    """AssertionError unless every name is bound once and before its use, and ops are where they may
    run. On in the tests."""
    bound: set[Name] = set(plan.feeds) | set(plan.constants)
    bound |= set(plan.required) | set(plan.optional) | set(plan.resources)
    for segment in plan.segments:
        for step in segment.steps:
            definition = step.op.definition
            assert step.host == segment.host, f"{step.op} in a wrong segment"
            assert segment.host or not definition.host, f"host op {step.op} on the device"
            for a in step.args:
                assert a is None or a in bound, f"{step.op} uses {a} before it is bound"
            for n in step.outs:
                assert n is None or n not in bound, f"{n} is bound twice"
                bound.add(n)
        if not segment.host:
            traced = _traced(segment)
            for step in segment.steps:
                for i in _flat_positions(step.op, step.op.definition.static):
                    assert step.args[i] not in traced, f"static operand {i} of {step.op} is traced"
    for name in plan.fetches:
        assert name is None or name in bound, f"fetch {name} is never bound"


def _traced(segment: Segment) -> set[Name]:
    traced: set[Any] = {n for n in segment.inputs if n not in segment.static}
    for step in segment.steps:
        definition = step.op.definition
        if definition.random or (not definition.shape_only and any(a in traced for a in step.args)):
            traced.update(step.outs)
    return traced
