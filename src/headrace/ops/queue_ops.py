"""The operations on queues, as TensorFlow's graphs have them; `queues.py` has what users call."""

# ruff: noqa: N803  (`Tcomponents` is TensorFlow's)

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from headrace import shapes
from headrace.dtypes import DType, int64
from headrace.errors import InvalidArgumentError
from headrace.node import Operation
from headrace.opdef import NOT_DIFFERENTIABLE, OpDef, Spec, op, scalar_shape
from headrace.ops import queue_objects as objects
from headrace.shapes import Shape

_numbers = itertools.count()  # of queues without a shared name


def _refuse(message: str) -> InvalidArgumentError:
    return InvalidArgumentError(None, None, message)


# -- the queues themselves -------------------------------------------------------------------------


def _row(node: Operation) -> tuple[tuple[DType, ...], tuple[Shape, ...]]:
    """Types and shapes of a queue's components; () for shapes that are not known."""
    types, dims = node.attrs["component_types"], [s._dims for s in node.attrs["shapes"]]
    if node.type == "PriorityQueueV2":
        return (int64, *types), ((), *dims) if dims or not types else ()
    return tuple(types), tuple(dims)


def _made(
    kind: Callable[..., objects.Queue], node: Operation, capacity: int, *more: Any
) -> objects.Queue:
    shared_name = node.attrs["shared_name"]
    if shared_name.startswith("_"):
        raise _refuse(f"shared_name cannot start with '_':{shared_name}")
    queue = kind(shared_name or f"_{next(_numbers)}_{node.name}", *_row(node), capacity, *more)
    queue.node = node
    return queue


def _queue_op(name: str, kind: Callable[..., objects.Queue]) -> OpDef:
    @op(name, "-> handle: resource", resource=True, host=True, wants_op=True)
    def made(
        xp: Any,
        *,
        component_types: Any,
        shapes: Any = (),
        capacity: int = -1,
        container: str = "",
        shared_name: str = "",
        _op: Any,
    ) -> objects.Queue:
        return _made(kind, _op, capacity)

    return made


fifo_queue = _queue_op("FIFOQueueV2", objects.FIFOQueue)
padding_fifo_queue = _queue_op("PaddingFIFOQueueV2", objects.PaddingFIFOQueue)


@op("RandomShuffleQueueV2", "-> handle: resource", resource=True, host=True, wants_op=True)
def random_shuffle_queue(
    xp: Any,
    *,
    component_types: Any,
    shapes: Any = (),
    capacity: int = -1,
    min_after_dequeue: int = 0,
    seed: int = 0,
    seed2: int = 0,
    container: str = "",
    shared_name: str = "",
    _op: Any,
) -> objects.Queue:
    """A queue that gives its elements in random order."""
    kind = objects.RandomShuffleQueue
    return _made(kind, _op, capacity, min_after_dequeue, (seed, seed2))


@op("PriorityQueueV2", "-> handle: resource", resource=True, host=True, wants_op=True)
def priority_queue(
    xp: Any,
    *,
    component_types: Any = (),
    shapes: Any = (),
    capacity: int = -1,
    container: str = "",
    shared_name: str = "",
    _op: Any,
) -> objects.Queue:
    """A queue that gives the element of the least priority first."""
    return _made(objects.PriorityQueue, _op, capacity)


_KINDS = (fifo_queue, padding_fifo_queue, random_shuffle_queue, priority_queue)
_KIND_NAMES = {kind.name for kind in _KINDS}


def unwrapped(given: Any) -> Any:
    """The session's object that a handle stands for, also if the handle was chosen from a list."""
    return given.item() if isinstance(given, np.ndarray) else given


def _queue(given: Any, node: Operation) -> objects.Queue:
    """The queue that an operation was given.

    InvalidArgumentError if it has the shared name, but is not such a queue as the operation's.
    """
    if isinstance(given, np.ndarray):
        return unwrapped(given)
    asked = node.inputs[0].op
    if asked is given.node:
        return given
    made = given.node
    name = made.attrs["shared_name"]
    if made.type != asked.type:
        raise _refuse(f"Shared queue '{name}' is a {made.type}, not a {asked.type}")
    for attr, words in _SHARED.items():
        there, wanted = made.attrs.get(attr), asked.attrs.get(attr)
        if there != wanted:
            were = "were" if words.endswith("s") else "was"
            raise _refuse(
                f"Shared queue '{name}' has {words} {_shown(there)} but requested {words} {were} "
                f"{_shown(wanted)}, by {asked.name!r}"
            )
    return given


# What queues of one shared name must have in common, and how it is called.
_SHARED = {
    "capacity": "capacity", "component_types": "component types", "shapes": "component shapes",
    "min_after_dequeue": "min_after_dequeue", "seed": "seed", "seed2": "seed2",
}  # fmt: skip


def _shown(value: Any) -> str:
    if not isinstance(value, (list, tuple)):
        return str(value)
    return "[" + ", ".join(v.name if isinstance(v, DType) else str(v) for v in value) + "]"


# -- operations on them ----------------------------------------------------------------------------


def _check_timeout(timeout_ms: int) -> None:
    if timeout_ms != -1:
        raise _refuse(f"timeout_ms must be -1, none: got {timeout_ms}")


def agreed(handle: Spec, types: Sequence[DType]) -> tuple[Shape, ...]:
    """The shapes of the components as the queue's node has them; ValueError for other types."""
    node = handle.tensor.op if handle.tensor is not None else None
    if node is None or node.type not in _KIND_NAMES:
        return (None,) * len(types)
    known, dims = _row(node)
    if tuple(types) != known:
        raise ValueError(
            f"The queue {node.name!r} has components of types {_shown(known)}, not {_shown(types)}"
        )
    return dims or (None,) * len(types)


_CALL = {"host": True, "waits": True, "wants_op": True, "pure": False}


@op("QueueEnqueueV2", "handle: resource, components: *Tcomponents", **_CALL)
def enqueue(
    xp: Any, queue: Any, components: Any, *, Tcomponents: Any, timeout_ms: int = -1, _op: Any
) -> None:
    """Put an element in; waits for a place."""
    _check_timeout(timeout_ms)
    _queue(queue, _op).enqueue(components)


@op("QueueEnqueueManyV2", "handle: resource, components: *Tcomponents", **_CALL)
def enqueue_many(
    xp: Any, queue: Any, components: Any, *, Tcomponents: Any, timeout_ms: int = -1, _op: Any
) -> None:
    """Put elements in, the slices of [n, ...]; each waits for a place."""
    _check_timeout(timeout_ms)
    _queue(queue, _op).enqueue_many(components)


def _no_outputs(queue: Spec, components: Any, *, Tcomponents: Any, timeout_ms: int) -> list[Shape]:
    agreed(queue, Tcomponents)
    return []


enqueue.infer = enqueue_many.infer = _no_outputs


@op("QueueDequeueV2", "handle: resource -> components: *component_types", **_CALL)
def dequeue(xp: Any, queue: Any, *, component_types: Any, timeout_ms: int = -1, _op: Any) -> Any:
    """Take an element out; waits for one."""
    _check_timeout(timeout_ms)
    return _queue(queue, _op).dequeue()


@dequeue.def_infer
def _(queue: Spec, *, component_types: Any, timeout_ms: int) -> list[Shape]:
    return list(agreed(queue, component_types))


def _dequeue_op(name: str, fewer: bool) -> OpDef:
    @op(name, "handle: resource, n: int32 -> components: *component_types", **_CALL)
    def made(
        xp: Any, queue: Any, n: Any, *, component_types: Any, timeout_ms: int = -1, _op: Any
    ) -> Any:
        _check_timeout(timeout_ms)
        return _queue(queue, _op).dequeue_many(int(n), fewer)

    @made.def_infer
    def _(queue: Spec, n: Spec, *, component_types: Any, timeout_ms: int) -> list[Shape]:
        shapes.with_rank(n.shape, 0)
        count = None if n.value is None else int(n.value)
        if count is not None and count < 0:
            raise ValueError(f"Input 'n' must be >= 0, but is {count}")
        first = None if fewer else count
        dims = agreed(queue, component_types)
        return [None if d is None else (first, *d) for d in dims]

    return made


dequeue_many = _dequeue_op("QueueDequeueManyV2", fewer=False)
dequeue_up_to = _dequeue_op("QueueDequeueUpToV2", fewer=True)


@op("QueueCloseV2", "handle: resource", **_CALL)
def close(xp: Any, queue: Any, *, cancel_pending_enqueues: bool = False, _op: Any) -> None:
    """Let nothing in any more; waits for pending enqueues, or cancels them."""
    _queue(queue, _op).close(cancel_pending_enqueues)


@op("QueueIsClosedV2", "handle: resource -> is_closed: bool", host=True, wants_op=True, pure=False)
def is_closed(xp: Any, queue: Any, *, _op: Any) -> Any:
    """Whether the queue was closed."""
    return np.bool_(_queue(queue, _op).is_closed())


@op("QueueSizeV2", "handle: resource -> size: int32", host=True, wants_op=True, pure=False)
def size(xp: Any, queue: Any, *, _op: Any) -> Any:
    """The number of elements."""
    return np.int32(_queue(queue, _op).size())


for _op in (*_KINDS, is_closed, size):
    _op.infer = scalar_shape
for _op in (
    *_KINDS, enqueue, enqueue_many, dequeue, dequeue_many, dequeue_up_to, close, is_closed, size,
):  # fmt: skip
    _op.gradient = NOT_DIFFERENTIABLE
