"""What a traced run tells: when each operation ran, for how long, and what it made."""

from __future__ import annotations

import threading
import time
from collections.abc import Sequence
from typing import Any

import numpy as np

from headrace.dtypes import as_dtype
from headrace.runtime.plan import Step

_FULL_TRACE = 3  # RunOptions.FULL_TRACE
_DEVICE = "/job:localhost/replica:0/task:0/device:CPU:0"


def wants_trace(options: Any) -> bool:
    """Whether RunOptions ask for the times of single operations."""
    return options is not None and options.trace_level == _FULL_TRACE


class Trace:
    """Collects the steps of one run for a RunMetadata proto."""

    def __init__(self) -> None:
        self._rows: list[tuple[Step, int, int, list[tuple[tuple[int, ...], Any, int]]]] = []
        self._epoch = time.time_ns() - time.perf_counter_ns()

    def observe(self, step: Step, start: int, results: Sequence[Any]) -> None:
        """Note a step that began at `start` (ns) and is done now."""
        end = time.perf_counter_ns()
        made = [np.asarray(r) for r in results]
        made = [(a.shape, a.dtype, a.nbytes) for a in made]
        self._rows.append((step, start, end, made))

    def fill(self, run_metadata: Any) -> None:
        """Put what was noted into the proto, in place of what it held."""
        run_metadata.Clear()
        device = run_metadata.step_stats.dev_stats.add(device=_DEVICE)
        thread = threading.get_native_id()
        for step, start, end, made in self._rows:
            node = device.node_stats.add(node_name=step.op.name, thread_id=thread)
            node.all_start_micros = (self._epoch + start) // 1000
            node.op_end_rel_micros = node.all_end_rel_micros = max(1, (end - start) // 1000)
            node.op_end_rel_nanos = node.all_end_rel_nanos = end - start
            inputs = ", ".join(t.name.removesuffix(":0") for t in step.op.inputs)
            node.timeline_label = f"{step.op.name} = {step.op.type}({inputs})"
            for slot, (shape, dtype, size) in enumerate(made):
                described = node.output.add(slot=slot).tensor_description
                described.dtype = as_dtype(dtype).as_datatype_enum
                described.shape.SetInParent()
                for n in shape:
                    described.shape.dim.add(size=n)
                described.allocation_description.requested_bytes = size
                described.allocation_description.allocator_name = "cpu"
