"""What a traced run did and when, as Chrome's trace viewer (chrome://tracing, Perfetto) shows it.

options = tf.RunOptions(trace_level=tf.RunOptions.FULL_TRACE)
metadata = tf.RunMetadata()
session.run(step, options=options, run_metadata=metadata)
trace = timeline.Timeline(metadata.step_stats).generate_chrome_trace_format()
Path("step.json").write_text(trace)
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

_LABEL = re.compile(r"(.*) = (.*)\((.*)\)")  # name = Op(input, input)
_OP_TIMES = ("schedule", "gpu", "all")

Event = dict[str, Any]

# -- reading StepStats -----------------------------------------------------------------------------


class _Node(NamedTuple):
    """One run of one operation: a bar. Times are microseconds."""

    stats: Any
    name: str
    op: str
    inputs: list[str]
    start: int
    end: int
    process: int
    lane: int


def _is_kernels(device: str) -> bool:
    """Whether it is a GPU's own log, of kernels and copies, and not that of TensorFlow's ops."""
    return "/stream:" in device or "/memcpy" in device


def _kernel(stats: Any) -> tuple[str, str]:
    """The node that a kernel belongs to, and its op: from a label `... @@name:Op#...`."""
    whole = stats.node_name
    before, marked, rest = stats.timeline_label.partition("@@")
    if marked and rest.find("#") > 0 and "#" not in before:
        whole = rest.partition("#")[0]
    name, op, *_ = [*whole.split(":"), "unknown"]
    return name, op


def _parsed(stats: Any, kernels: bool) -> tuple[str, str, list[str]]:
    """Name, op and inputs of a node."""
    if kernels:
        return *_kernel(stats), []
    if stats.node_name == "RecvTensor":  # it has a label of another form
        return stats.node_name, stats.node_name, []
    found = _LABEL.match(stats.timeline_label)
    if found is None:
        return stats.node_name, "unknown", []
    return stats.node_name, found[2], found[3].split(", ") if found[3] else []


def _with_kernels(step_stats: Any, op_time: str) -> dict[str, tuple[int, int]]:
    """When the GPU began and ended its work for nodes, by name; of none for "schedule"."""
    times: dict[str, tuple[int, int]] = {}
    if op_time == "schedule":
        return times
    for device in step_stats.dev_stats:
        for stats in device.node_stats if "/stream:all" in device.device else ():
            name, _ = _kernel(stats)
            start, end = _times(stats)
            first, last = times.get(name, (start, end))
            times[name] = min(first, start), max(last, end)
    return times


def _times(stats: Any) -> tuple[int, int]:
    return stats.all_start_micros, stats.all_start_micros + stats.all_end_rel_micros


def _nodes(step_stats: Any, op_time: str) -> Iterator[_Node]:
    """The bars, device by device, laid in lanes in which none begins before another is over."""
    gpu = _with_kernels(step_stats, op_time)
    for i, device in enumerate(step_stats.dev_stats):
        kernels = _is_kernels(device.device)
        free = [0]  # when each lane is
        for stats in device.node_stats:
            start, end = _times(stats)
            if stats.node_name in gpu and "/job" in device.device and not kernels:
                begun, done = gpu[stats.node_name]
                start, end = begun if op_time == "gpu" else start, max(done, end)
            lane = next((n for n, time in enumerate(free) if start > time), len(free))
            if lane == len(free):
                free.append(end)
            free[lane] = end
            name, op, inputs = _parsed(stats, kernels)
            yield _Node(stats, name, op, inputs, start, end, _compute(i), lane)


def _compute(device: int) -> int:
    """The process that shows what a device computes; the next one shows its tensors."""
    return 1 + 2 * device


# -- tensors ---------------------------------------------------------------------------------------


class _Tensor:
    """What a node gave, and until when something takes it."""

    def __init__(self, number: int, name: str, node: _Node, output: Any):
        self.number, self.name, self.node = number, name, node
        self.description = output.tensor_description
        self.last_use = node.end

    def event(self, kind: str, time: int, lane: int, **more: Any) -> Event:
        """An event of its life: it is new (N), looked at (O), deleted (D)."""
        where = {"pid": self.node.process + 1, "tid": lane}
        return {
            "ph": kind, "cat": "Tensor", "name": self.name, **where, "ts": time, "id": self.number,
            **more,
        }  # fmt: skip


def _tensors(nodes: Iterable[_Node]) -> list[_Tensor]:
    """The tensors that nodes gave."""
    made: list[_Tensor] = []
    for node in nodes:
        for i, output in enumerate(node.stats.output):
            name = f"{node.stats.node_name}:{i}" if i else node.stats.node_name
            made.append(_Tensor(len(made), name, node, output))
    return made


def _uses(node: _Node, tensors: dict[str, _Tensor]) -> Iterator[_Tensor]:
    """The tensors that a node takes, of those that are known."""
    for name in node.inputs:
        # A transfer between devices adds a suffix to the name of what it transfers.
        found = tensors.get(name) or tensors.get(name.rpartition("/_")[0])
        if found is not None:
            found.last_use = max(found.last_use, node.end - 1)
            yield found


# -- events ----------------------------------------------------------------------------------------


class AllocationMaximum(NamedTuple):
    """When an allocator had given most: time in microseconds, bytes, names of the tensors."""

    timestamp: int
    num_bytes: int
    tensors: set[str]


class ChromeTrace:
    """A trace: dicts in the form that Chrome's trace viewer reads."""

    def __init__(self, events: list[Event]):
        self.events = events

    def format_to_string(self, pretty: bool = False) -> str:
        """It as JSON."""
        layout: Any = (
            {"indent": 4, "separators": (",", ": ")} if pretty else {"separators": (",", ":")}
        )
        return json.dumps({"traceEvents": self.events}, **layout)


class StepStatsAnalysis(NamedTuple):
    """The trace, and by allocator when it had given most."""

    chrome_trace: ChromeTrace
    allocator_maximums: dict[str, AllocationMaximum]


def _processes(step_stats: Any) -> Iterator[Event]:
    names = ["Allocators"]
    for device in step_stats.dev_stats:
        names += [f"{device.device} Compute", f"{device.device} Tensors"]
    for i, name in enumerate(names):
        yield {"name": "process_name", "ph": "M", "pid": i, "args": {"name": name}}


def _bar(node: _Node) -> Event:
    inputs = {f"input{i}": name for i, name in enumerate(node.inputs)}
    return {
        "ph": "X", "cat": "Op", "name": node.op, "pid": node.process, "tid": node.lane,
        "ts": node.start, "dur": node.end - node.start,
        "args": {"name": node.name, "op": node.op, **inputs},
    }  # fmt: skip


def _arrow(number: int, tensor: _Tensor, node: _Node) -> Iterator[Event]:
    """From where a tensor was made to a node that takes it."""
    for kind, place, time in (("s", tensor.node, tensor.node.end), ("t", node, node.start)):
        yield {
            "ph": kind, "cat": "DataFlow", "name": tensor.name, "pid": place.process,
            "tid": place.lane, "ts": time, "id": number,
        }  # fmt: skip


def _snapshots(tensor: _Tensor) -> Iterator[Event]:
    node = tensor.node
    yield tensor.event("N", node.start, node.lane)
    words = {"tensor_description": str(tensor.description).replace('"', "")}
    yield tensor.event("O", node.end - 1, node.lane, args={"snapshot": words})


def _compute_events(
    nodes: Iterable[_Node], tensors: Iterable[_Tensor], show_dataflow: bool
) -> Iterator[Event]:
    known = {tensor.name: tensor for tensor in tensors}
    arrows = 0
    for node in nodes:
        yield _bar(node)
        for tensor in _uses(node, known):
            made = tensor.node.process, tensor.node.lane
            if show_dataflow and made != (node.process, node.lane):  # else it would hide the bars
                yield from _arrow(arrows, tensor, node)
                arrows += 1


def _memory(tensors: Iterable[_Tensor]) -> tuple[list[Event], dict[str, AllocationMaximum]]:
    """Counters of what each allocator has given, and the most it had."""
    changes: dict[str, list[tuple[int, int, str, bool]]] = {}
    for tensor in tensors:
        given = tensor.description.allocation_description
        rows = changes.setdefault(given.allocator_name, [])
        rows.append((tensor.node.start, given.requested_bytes, tensor.name, False))
        rows.append((tensor.last_use, -given.requested_bytes, tensor.name, True))
    events: list[Event] = []
    most: dict[str, AllocationMaximum] = {}
    for allocator, rows in changes.items():
        total, alive = 0, set[str]()
        most[allocator] = AllocationMaximum(0, 0, set())
        for time, change, name, is_end in sorted(rows):
            total += change
            (alive.discard if is_end else alive.add)(name)
            if total > most[allocator].num_bytes:
                most[allocator] = AllocationMaximum(time, total, set(alive))
            events.append(
                {"ph": "C", "cat": "Memory", "name": allocator, "pid": 0, "tid": 0, "ts": time,
                 "args": {allocator: total}}
            )  # fmt: skip
    return events, most


# -- what programs use -----------------------------------------------------------------------------


class Timeline:
    """The operations of a run in time, from the `step_stats` of its RunMetadata.

    `graph` is accepted, and not needed. The `step_stats` are not changed.
    """

    def __init__(self, step_stats: Any, graph: Any = None):
        del graph
        if not hasattr(step_stats, "dev_stats"):
            hint = ": give its step_stats" if hasattr(step_stats, "step_stats") else ""
            raise TypeError(
                f"step_stats must be a StepStats proto, not {type(step_stats).__name__}{hint}."
            )
        self._step_stats = step_stats

    def analyze_step_stats(
        self, show_dataflow: bool = True, show_memory: bool = True, op_time: str = "schedule"
    ) -> StepStatsAnalysis:
        """The trace, and the most memory that each allocator had given.

        A process for each device has a bar for each operation, and with `show_dataflow` arrows
        from where a tensor was made to where it is taken, unless in one lane. With `show_memory`
        another has the tensors, and counters what allocators have given. `op_time` says how long
        an operation lasts that has kernels on a GPU: as long as it took to start them
        ("schedule"), while they ran ("gpu"), or both ("all"). ValueError if it is another.
        """
        if op_time not in _OP_TIMES:
            raise ValueError(f"op_time must be one of {', '.join(_OP_TIMES)}; got {op_time!r}.")
        nodes = list(_nodes(self._step_stats, op_time))
        tensors = _tensors(nodes)
        events = list(_processes(self._step_stats))
        if show_memory:
            events += [e for tensor in tensors for e in _snapshots(tensor)]
        events += _compute_events(nodes, tensors, show_dataflow)
        most: dict[str, AllocationMaximum] = {}
        if show_memory:
            events += [t.event("D", t.last_use, 0) for t in tensors]
            counters, most = _memory(tensors)
            events += counters
        return StepStatsAnalysis(ChromeTrace(events), most)

    def generate_chrome_trace_format(
        self, show_dataflow: bool = True, show_memory: bool = False, op_time: str = "schedule"
    ) -> str:
        """The trace as JSON, for a file that chrome://tracing opens; see `analyze_step_stats`."""
        made = self.analyze_step_stats(show_dataflow, show_memory, op_time)
        return made.chrome_trace.format_to_string(pretty=True)
