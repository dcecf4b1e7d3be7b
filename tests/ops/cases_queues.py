"""Cases of queues. A queue holds what a case says before; what it holds after is in the oracle."""

import numpy as np

from headrace import dtypes
from headrace.ops import queue_objects as objects
from headrace.shapes import TensorShape
from tests.ops.case import Case

WHY = "what goes through a queue has no gradient"
TYPES = {"component_types": (dtypes.int32, dtypes.string)}
SHAPES = {"shapes": (TensorShape(()), TensorShape((2,)))}


def holding(*numbers, closed=False, kind=objects.FIFOQueue, capacity=10, **more):
    """A handle of a queue of integers, and of strings [2] that spell them."""
    queue = kind("q", TYPES["component_types"], ((), (2,)), capacity, *more.values())
    for n in numbers:
        queue.enqueue([n, spelled(n)])
    if closed:
        queue.close()
    return np.array(queue, object)


def spelled(n):
    return np.array([b"%d" % n, b"+%d" % n], object)


def row(n):
    return np.int32(n), spelled(n)


def rows(*numbers):
    return np.array(numbers, np.int32), np.array([spelled(n) for n in numbers], object)


def then_holds(*numbers):
    def oracle(queue, *_):
        queue = queue.item()
        held = queue.size()
        found = queue.dequeue_many(held)
        for a, b in zip(found, rows(*numbers), strict=True):
            np.testing.assert_array_equal(a, b)
        return ()

    return oracle


class Made:
    """Equal to a queue of this kind with these ways."""

    def __init__(self, kind, capacity, name=None):
        self.kind, self.capacity, self.name = kind, capacity, name

    def __eq__(self, queue):
        if type(queue) is not self.kind or (self.name and queue.name != self.name):
            return False
        for n in range(self.capacity):
            queue.enqueue([n, spelled(n)])
        queue.close(cancel_pending_enqueues=True)
        taken = [int(queue.dequeue()[0]) for _ in range(self.capacity)]
        return sorted(taken) == list(range(self.capacity)) and queue.size() == 0

    __hash__ = None


def made(kind, name=None):
    return lambda: Made(kind, 3, name)


def c(*args, oracle, **attrs):
    return Case(args, attrs, oracle, gradient=(), why=WHY)


CASES = {
    "FIFOQueueV2": [
        c(oracle=made(objects.FIFOQueue), **TYPES, **SHAPES, capacity=3),
        c(oracle=made(objects.FIFOQueue, "shared"), **TYPES, capacity=-1, shared_name="shared"),
    ],
    "PaddingFIFOQueueV2": [
        c(oracle=made(objects.PaddingFIFOQueue), **TYPES, **SHAPES, capacity=3),
    ],
    "RandomShuffleQueueV2": [
        c(
            oracle=made(objects.RandomShuffleQueue), **TYPES, **SHAPES, capacity=3,
            min_after_dequeue=2, seed=1, seed2=2,
        ),
    ],
    "PriorityQueueV2": [
        c(
            oracle=lambda: MadePriority(), component_types=(dtypes.int32,),
            shapes=(TensorShape(()),), capacity=3,
        ),
    ],
    "QueueEnqueueV2": [
        c(holding(1), list(row(2)), oracle=then_holds(1, 2)),
        c(holding(), list(row(7)), oracle=then_holds(7)),
    ],
    "QueueEnqueueManyV2": [
        c(holding(1), list(rows(5, 6, 7)), oracle=then_holds(1, 5, 6, 7)),
        c(
            holding(1),
            [np.zeros(0, np.int32), np.zeros((0, 2), object)],
            oracle=then_holds(1),
        ),
    ],
    "QueueDequeueV2": [
        c(holding(4, 5, closed=True), oracle=lambda q: row(4), **TYPES),
        c(holding(4), oracle=lambda q: row(4), **TYPES),
    ],
    "QueueDequeueManyV2": [
        c(holding(4, 5, 6), np.int32(2), oracle=lambda q, n: rows(4, 5), **TYPES),
        c(
            holding(4), np.int32(0), **TYPES,
            oracle=lambda q, n: (np.zeros(0, np.int32), np.zeros((0, 2), object)),
        ),
        c(
            holding(4, 5, 6, 7, kind=objects.RandomShuffleQueue, min_after_dequeue=1, seeds=(3, 4)),
            np.int32(3), **TYPES, oracle=lambda q, n: rows(*shuffled([4, 5, 6, 7], 3, (3, 4))),
        ),
    ],
    "QueueDequeueUpToV2": [
        c(holding(4, 5, 6), np.int32(2), oracle=lambda q, n: rows(4, 5), **TYPES),
        c(holding(4, 5, closed=True), np.int32(9), oracle=lambda q, n: rows(4, 5), **TYPES),
    ],
    "QueueCloseV2": [
        c(holding(1), oracle=lambda q: then_closed(q)),
        c(holding(1), oracle=lambda q: then_closed(q), cancel_pending_enqueues=True),
    ],
    "QueueIsClosedV2": [
        c(holding(1), oracle=lambda q: np.array(False)),
        c(holding(1, closed=True), oracle=lambda q: np.array(True)),
    ],
    "QueueSizeV2": [
        c(holding(), oracle=lambda q: np.int32(0)),
        c(holding(1, 2, closed=True), oracle=lambda q: np.int32(2)),
    ],
}  # fmt: skip


class MadePriority:
    """Equal to a queue that gives the least first."""

    def __eq__(self, queue):
        for priority, value in ((2, 20), (1, 10), (2, 21)):
            queue.enqueue([np.int64(priority), value])
        priorities, values = queue.dequeue_many(3)
        return priorities.tolist() == [1, 2, 2] and values.tolist() == [10, 20, 21]

    __hash__ = None


def then_closed(queue):
    assert queue.item().is_closed()
    return ()


def shuffled(values, n, seeds):
    """n of the values by the words of Philox, taken from the last place after a swap."""
    from headrace import philox

    state = philox.initial_state(*seeds)
    blocks = philox.words(np, state, np.arange(8, dtype=np.uint64))
    words = [int(blocks[i % 4][i // 4]) for i in range(n)]
    values, taken = list(values), []
    for word in words:
        i = word % len(values)
        taken.append(values[i])
        values[i] = values[-1]
        values.pop()
    return taken
