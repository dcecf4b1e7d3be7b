"""Queues: `tf.FIFOQueue` and its kind, which hand tensors from run to run."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from functools import reduce
from typing import Any

from headrace.conversion import convert_to_tensor
from headrace.dtypes import DType, as_dtype, int64
from headrace.graph import name_scope
from headrace.node import Operation, Tensor
from headrace.opdef import OpDef
from headrace.ops import joining, queue_ops
from headrace.ops.gather import gather
from headrace.ops.random import get_seed
from headrace.shapes import Dimension, Shape, TensorShape, as_tensor_shape

# -- what is asked for -----------------------------------------------------------------------------


def _as_types(dtypes: Any) -> list[DType]:
    return [as_dtype(d) for d in (dtypes if isinstance(dtypes, (list, tuple)) else [dtypes])]


def _as_shapes(given: Any) -> list[TensorShape] | None:
    """One shape, or one per component; all sizes known."""
    if given is None:
        return None
    if isinstance(given, TensorShape):
        given = [given]
    if not isinstance(given, (list, tuple)):
        raise TypeError(
            "Shapes must be a TensorShape or a list or tuple of TensorShapes, got "
            f"{type(given)} instead."
        )
    if all(s is None or isinstance(s, int) for s in given):
        given = [given]
    listed = [as_tensor_shape(s) for s in given]
    if not all(s.is_fully_defined() for s in listed):
        raise ValueError(f"All shapes must be fully defined: {listed}")
    return listed


def _as_partial_shapes(given: Any, dtypes: Sequence[DType]) -> list[TensorShape]:
    """A shape per component, of known rank."""
    if not isinstance(given, (list, tuple)) or any(s is None or isinstance(s, int) for s in given):
        raise ValueError("When providing partial shapes, a list of shapes must be provided.")
    listed = [as_tensor_shape(s) for s in given]
    if len(listed) != len(dtypes):
        raise ValueError(
            f"Shapes must be provided for all components, but received {len(dtypes)} dtypes and "
            f"{len(listed)} shapes."
        )
    if any(s.ndims is None for s in listed):
        raise ValueError(f"All shapes must have a defined rank: {listed}")
    return listed


def _as_names(names: Any, count: int) -> list[str] | None:
    if names is None:
        return None
    names = list(names) if isinstance(names, (list, tuple)) else [names]
    if len(names) != count:
        raise ValueError(
            "List of names must have the same length as the list of dtypes, received "
            f"len(names)={len(names)},len(dtypes)={count}"
        )
    return names


def _one_row(x: Tensor) -> TensorShape:
    return x.shape


def _rows(x: Tensor) -> TensorShape:
    return x.shape.with_rank_at_least(1)[1:]


# -- queues ----------------------------------------------------------------------------------------


class QueueBase:
    """What all queues have: elements are tuples of tensors, which runs put in and take out.

    A run that finds no place, or no element, waits. The elements belong to a session and are gone
    with it. With `names` an element is a dict.
    """

    def __init__(
        self, dtypes: Sequence[Any], shapes: Sequence[Any] | None, names: Any, queue_ref: Tensor
    ):
        self._dtypes = [as_dtype(d) for d in dtypes]
        if shapes is None:
            self._shapes = [TensorShape(None)] * len(self._dtypes)
        elif len(shapes) == len(self._dtypes):
            self._shapes = [as_tensor_shape(s) for s in shapes]
        else:
            raise ValueError(
                "Queue shapes must have the same length as dtypes, received "
                f"len(shapes)={len(shapes)}, len(dtypes)={len(dtypes)}"
            )
        self._names = _as_names(names, len(self._dtypes))
        self._queue_ref = queue_ref
        self._name = queue_ref.op.name.rpartition("/")[2]  # what its operations' names begin with

    @staticmethod
    def from_list(index: Any, queues: Sequence[QueueBase]) -> QueueBase:
        """The queue with the number `index`, an integer scalar, of queues of the same types."""
        if not isinstance(queues, (list, tuple)) or not queues or not all(
            isinstance(q, QueueBase) for q in queues
        ):  # fmt: skip
            raise TypeError("A list of queues expected")
        first = queues[0]
        if any(q.dtypes != first.dtypes for q in queues):
            raise TypeError("Queues do not have matching component dtypes.")
        if any(q.names != first.names for q in queues):
            raise TypeError("Queues do not have matching component names.")
        common = [
            reduce(TensorShape.most_specific_compatible_shape, column)
            for column in zip(*(q.shapes for q in queues), strict=True)
        ]
        chosen = gather(joining.stack([q.queue_ref for q in queues]), index)
        return QueueBase(first.dtypes, common, first.names, chosen)

    @property
    def queue_ref(self) -> Tensor:
        """The handle by which operations know the queue."""
        return self._queue_ref

    @property
    def name(self) -> str:
        """The name of the queue's node."""
        return self._queue_ref.op.name

    @property
    def dtypes(self) -> list[DType]:
        """The type of each component."""
        return self._dtypes

    @property
    def shapes(self) -> list[TensorShape]:
        """What is known of the shape of each component."""
        return self._shapes

    @property
    def names(self) -> list[str] | None:
        """The keys of the elements, if these are dicts."""
        return self._names

    # -- in --------------------------------------------------------------------------------------

    def enqueue(self, vals: Any, name: str | None = None) -> Operation:
        """Put an element in: a tensor, a tuple of them, or a dict if the queue has names.

        CancelledError if the queue is closed, or is closed while the run waits for a place.
        """
        with name_scope(name, f"{self._name}_enqueue", _tensors(vals)) as scope:
            tensors = self._converted(vals)
            self._check(tensors, _one_row)
            return queue_ops.enqueue(self._queue_ref, tensors, name=scope)

    def enqueue_many(self, vals: Any, name: str | None = None) -> Operation:
        """Put n elements in, the slices of tensors [n, ...]; each waits for a place."""
        with name_scope(name, f"{self._name}_EnqueueMany", _tensors(vals)) as scope:
            tensors = self._converted(vals)
            n = Dimension(None)
            for tensor in tensors:
                n = n.merge_with(tensor.shape.with_rank_at_least(1)[0])
            self._check(tensors, _rows)
            return queue_ops.enqueue_many(self._queue_ref, tensors, name=scope)

    def _converted(self, vals: Any) -> list[Tensor]:
        if isinstance(vals, dict):
            if self._names is None:
                raise ValueError("Queue must have names to enqueue a dictionary")
            if sorted(self._names) != sorted(vals):
                raise ValueError(
                    "Keys in dictionary to enqueue do not match names of Queue.  Dictionary: "
                    f"{sorted(vals)},Queue: {sorted(self._names)}"
                )
            vals = [vals[key] for key in self._names]
        elif self._names is not None:
            raise ValueError("You must enqueue a dictionary in a Queue with names")
        elif not isinstance(vals, (list, tuple)):
            vals = [vals]
        if len(vals) != len(self._dtypes):
            raise ValueError(
                f"An element of the queue {self.name!r} has {len(self._dtypes)} components, got "
                f"{len(vals)}."
            )
        return [
            convert_to_tensor(value, dtype=dtype, name=f"component_{i}")
            for i, (value, dtype) in enumerate(zip(vals, self._dtypes, strict=True))
        ]

    def _check(self, tensors: list[Tensor], row: Callable[[Tensor], TensorShape]) -> None:
        for tensor, shape in zip(tensors, self._shapes, strict=True):
            row(tensor).assert_is_compatible_with(shape)

    # -- out -------------------------------------------------------------------------------------

    def dequeue(self, name: str | None = None) -> Any:
        """Take an element out: a tensor, a list of them, or a dict if the queue has names.

        OutOfRangeError if the queue is closed and empty.
        """
        name = f"{self._name}_Dequeue" if name is None else name
        found = queue_ops.dequeue(self._queue_ref, component_types=self._dtypes, name=name)
        return self._element(found, [s._dims for s in self._shapes])

    def dequeue_many(self, n: Any, name: str | None = None) -> Any:
        """Take n elements out and put them together: components [n, ...].

        OutOfRangeError if the queue is closed and has fewer.
        """
        name = f"{self._name}_DequeueMany" if name is None else name
        return self._elements(queue_ops.dequeue_many, n, name)

    def dequeue_up_to(self, n: Any, name: str | None = None) -> Any:
        """Take n elements out, or what is left once the queue is closed: components [<=n, ...].

        OutOfRangeError if the queue is closed and empty.
        """
        name = f"{self._name}_DequeueUpTo" if name is None else name
        return self._elements(queue_ops.dequeue_up_to, n, name)

    def _elements(self, definition: OpDef, n: Any, name: str) -> Any:
        found = definition(self._queue_ref, n, component_types=self._dtypes, name=name)
        dims = [None if s._dims is None else (None, *s._dims) for s in self._shapes]
        return self._element(found, dims)

    def _element(self, tensors: list[Tensor], dims: Sequence[Shape]) -> Any:
        for tensor, known in zip(tensors, dims, strict=True):
            tensor.set_shape(TensorShape(known))  # of a chosen queue the handle does not tell
        if self._names is not None:
            return dict(zip(self._names, tensors, strict=True))
        return tensors[0] if len(tensors) == 1 else tensors

    # -- state -----------------------------------------------------------------------------------

    def close(self, cancel_pending_enqueues: bool = False, name: str | None = None) -> Operation:
        """Let nothing in any more; what is in can be taken out.

        Pending enqueues are waited for, or cancelled. Closed twice without that it is a
        CancelledError.
        """
        name = f"{self._name}_Close" if name is None else name
        return queue_ops.close(
            self._queue_ref, cancel_pending_enqueues=cancel_pending_enqueues, name=name
        )

    def is_closed(self, name: str | None = None) -> Tensor:
        """Whether it is closed, as a bool scalar."""
        name = f"{self._name}_Is_Closed" if name is None else name
        return queue_ops.is_closed(self._queue_ref, name=name)

    def size(self, name: str | None = None) -> Tensor:
        """The number of elements, an int32 scalar."""
        name = f"{self._name}_Size" if name is None else name
        return queue_ops.size(self._queue_ref, name=name)


def _tensors(vals: Any) -> list[Any]:
    listed = list(vals.values()) if isinstance(vals, dict) else vals
    listed = listed if isinstance(listed, (list, tuple)) else [listed]
    return [v for v in listed if hasattr(v, "graph")]


class FIFOQueue(QueueBase):
    """First in, first out; at most `capacity` elements, any number if that is negative."""

    def __init__(
        self,
        capacity: int,
        dtypes: Any,
        shapes: Any = None,
        names: Any = None,
        shared_name: str | None = None,
        name: str = "fifo_queue",
    ):
        types, listed = _as_types(dtypes), _as_shapes(shapes)
        names = _as_names(names, len(types))
        handle = queue_ops.fifo_queue(
            component_types=types, shapes=tuple(listed or ()), capacity=int(capacity),
            shared_name=shared_name or "", name=name,
        )  # fmt: skip
        super().__init__(types, listed, names, handle)


class PaddingFIFOQueue(QueueBase):
    """First in, first out; `dequeue_many` fills elements up to the largest, with zeros.

    `shapes` has a shape for each component, of known rank, with None where sizes differ.
    """

    def __init__(
        self,
        capacity: int,
        dtypes: Any,
        shapes: Any,
        names: Any = None,
        shared_name: str | None = None,
        name: str = "padding_fifo_queue",
    ):
        types = _as_types(dtypes)
        listed = _as_partial_shapes(shapes, types)
        names = _as_names(names, len(types))
        handle = queue_ops.padding_fifo_queue(
            component_types=types, shapes=tuple(listed), capacity=int(capacity),
            shared_name=shared_name or "", name=name,
        )  # fmt: skip
        super().__init__(types, listed, names, handle)


class RandomShuffleQueue(QueueBase):
    """Gives its elements in random order; till it is closed `min_after_dequeue` stay in.

    The order follows from the seeds and the order in which elements came and went; it is
    TensorFlow's.
    """

    def __init__(
        self,
        capacity: int,
        min_after_dequeue: int,
        dtypes: Any,
        shapes: Any = None,
        names: Any = None,
        seed: int | None = None,
        shared_name: str | None = None,
        name: str = "random_shuffle_queue",
    ):
        types, listed = _as_types(dtypes), _as_shapes(shapes)
        names = _as_names(names, len(types))
        seed1, seed2 = get_seed(seed)
        if seed is None and seed1 is not None and shared_name is not None:
            # the same in every process that shares it, however many ops each has made before
            digest = hashlib.md5(f"{seed1}{shared_name}".encode()).hexdigest()
            seed2 = int(digest[:8], 16) & 0x7FFFFFFF
        handle = queue_ops.random_shuffle_queue(
            component_types=types, shapes=tuple(listed or ()), capacity=int(capacity),
            min_after_dequeue=int(min_after_dequeue), seed=seed1 or 0, seed2=seed2 or 0,
            shared_name=shared_name or "", name=name,
        )  # fmt: skip
        super().__init__(types, listed, names, handle)


class PriorityQueue(QueueBase):
    """Gives the element with the least priority first: its first component, int64, is added here.

    Of equal priorities that which came first. (TensorFlow gives those in any order.)
    """

    def __init__(
        self,
        capacity: int,
        types: Any,
        shapes: Any = None,
        names: Any = None,
        shared_name: str | None = None,
        name: str = "priority_queue",
    ):
        types, listed = _as_types(types), _as_shapes(shapes)
        names = _as_names(names, 1 + len(types))
        handle = queue_ops.priority_queue(
            component_types=types, shapes=tuple(listed or ()), capacity=int(capacity),
            shared_name=shared_name or "", name=name,
        )  # fmt: skip
        row_shapes = None if listed is None else [TensorShape(()), *listed]
        super().__init__([int64, *types], row_shapes, names, handle)
