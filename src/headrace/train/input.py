"""Input by queues: producers of file names or slices, and batches put together by threads.

Each function adds a queue and a `QueueRunner` that fills it, and returns what is taken out. The
threads are started by `tf.train.start_queue_runners`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import reduce
from typing import Any

from headrace import dtypes
from headrace.conversion import convert_to_tensor
from headrace.folding import constant_value
from headrace.graph import control_dependencies, name_scope
from headrace.keys import GraphKeys
from headrace.node import Tensor
from headrace.ops import array, cast, checks, control, counting, files, filling, math, summaries
from headrace.ops.constant import constant
from headrace.ops.gather import gather
from headrace.ops.partition import dynamic_partition
from headrace.ops.queues import FIFOQueue, PaddingFIFOQueue, QueueBase, RandomShuffleQueue
from headrace.ops.random import random_shuffle
from headrace.shapes import TensorShape, as_tensor_shape
from headrace.train.queue_runner import QueueRunner, add_queue_runner
from headrace.variables import Variable

# -- producers -------------------------------------------------------------------------------------


def match_filenames_once(pattern: Any, name: str | None = None) -> Variable:
    """The names of the files that match, as a local variable: looked up when it is initialised.

    `pattern` is a glob or several, [n].
    """
    with name_scope(name, "matching_filenames", [pattern]) as scope:
        return Variable(
            files.matching_files(pattern), trainable=False, name=scope, validate_shape=False,
            collections=[GraphKeys.LOCAL_VARIABLES],
        )  # fmt: skip


def limit_epochs(tensor: Any, num_epochs: int | None = None, name: str | None = None) -> Any:
    """The tensor, `num_epochs` times; then OutOfRangeError.

    The count is a local variable: run `tf.local_variables_initializer()` first.
    """
    if num_epochs is None:
        return tensor
    if num_epochs <= 0:
        raise ValueError(f"num_epochs must be > 0 not {num_epochs}.")
    with name_scope(name, "limit_epochs", [tensor]) as scope:
        epochs = Variable(
            constant(0, dtypes.int64), name="epochs", trainable=False,
            collections=[GraphKeys.LOCAL_VARIABLES],
        )  # fmt: skip
        with control_dependencies([epochs.count_up_to(num_epochs)]):
            return array.identity(tensor, name=scope)


def input_producer(
    input_tensor: Any,
    element_shape: Any = None,
    num_epochs: int | None = None,
    shuffle: bool = True,
    seed: int | None = None,
    capacity: int = 32,
    shared_name: str | None = None,
    summary_name: str | None = None,
    name: str | None = None,
    cancel_op: Any = None,
) -> FIFOQueue:
    """A queue of the rows of a tensor [n, ...], again and again or for `num_epochs`.

    In a new order each time if `shuffle`. `element_shape` is wanted if the shape is not known.
    """
    with name_scope(name, "input_producer", _graph_elements([input_tensor])):
        input_tensor = convert_to_tensor(input_tensor, name="input_tensor")
        element_shape = input_tensor.shape[1:].merge_with(as_tensor_shape(element_shape))
        if not element_shape.is_fully_defined():
            raise ValueError(
                "Either `input_tensor` must have a fully defined shape or `element_shape` must be "
                "specified"
            )
        if shuffle:
            input_tensor = random_shuffle(input_tensor, seed=seed)
        input_tensor = limit_epochs(input_tensor, num_epochs)
        queue = FIFOQueue(
            capacity, [input_tensor.dtype.base_dtype], [element_shape],
            shared_name=shared_name, name=name,  # type: ignore[arg-type]
        )  # fmt: skip
        add_queue_runner(
            QueueRunner(queue, [queue.enqueue_many([input_tensor])], cancel_op=cancel_op)
        )
        if summary_name is not None:
            _summarize_fullness(queue, summary_name, capacity)
        return queue


def string_input_producer(
    string_tensor: Any,
    num_epochs: int | None = None,
    shuffle: bool = True,
    seed: int | None = None,
    capacity: int = 32,
    shared_name: str | None = None,
    name: str | None = None,
    cancel_op: Any = None,
) -> FIFOQueue:
    """A queue of strings [n] (file names), again and again or for `num_epochs`."""
    nothing = "string_input_producer requires a non-null input tensor"
    if isinstance(string_tensor, (list, tuple)) and not string_tensor:
        raise ValueError(nothing)
    with name_scope(name, "input_producer", _graph_elements([string_tensor])) as scope:
        string_tensor = convert_to_tensor(string_tensor, dtype=dtypes.string)
        with control_dependencies([checks.Assert(array.size(string_tensor) > 0, [nothing])]):
            string_tensor = array.identity(string_tensor)
        return input_producer(
            string_tensor, [], num_epochs, shuffle, seed, capacity, shared_name,
            f"fraction_of_{capacity}_full", scope, cancel_op,
        )  # fmt: skip


def range_input_producer(
    limit: Any,
    num_epochs: int | None = None,
    shuffle: bool = True,
    seed: int | None = None,
    capacity: int = 32,
    shared_name: str | None = None,
    name: str | None = None,
) -> FIFOQueue:
    """A queue of the integers from 0 up to `limit`, again and again or for `num_epochs`."""
    with name_scope(name, "input_producer", _graph_elements([limit])) as scope:
        return input_producer(
            counting.range(limit), [], num_epochs, shuffle, seed, capacity, shared_name,
            f"fraction_of_{capacity}_full", scope,
        )  # fmt: skip


def slice_input_producer(
    tensor_list: Sequence[Any],
    num_epochs: int | None = None,
    shuffle: bool = True,
    seed: int | None = None,
    capacity: int = 32,
    shared_name: str | None = None,
    name: str | None = None,
) -> list[Tensor]:
    """The same row of each of the tensors [n, ...], another one in each run."""
    with name_scope(name, "input_producer", _graph_elements(tensor_list)):
        tensors = [convert_to_tensor(t) for t in tensor_list]
        if not tensors:
            raise ValueError("Expected at least one tensor in slice_input_producer().")
        queue = range_input_producer(
            array.shape(tensors[0])[0], num_epochs, shuffle, seed, capacity, shared_name
        )
        index = queue.dequeue()
        return [gather(t, index) for t in tensors]


def _graph_elements(values: Sequence[Any]) -> list[Any]:
    return [v for v in values if hasattr(v, "graph")]


def _summarize_fullness(queue: QueueBase, name: str, capacity: int, reserve: int = 0) -> None:
    size = queue.size()
    if isinstance(queue, RandomShuffleQueue):
        size = math.maximum(0, size - reserve)
    summaries.scalar(name, cast.cast(size, dtypes.float32) * (1.0 / (capacity - reserve)))


# -- batches ---------------------------------------------------------------------------------------


def batch(
    tensors: Any,
    batch_size: Any,
    num_threads: int = 1,
    capacity: int = 32,
    enqueue_many: bool = False,
    shapes: Any = None,
    dynamic_pad: bool = False,
    allow_smaller_final_batch: bool = False,
    shared_name: str | None = None,
    name: str | None = None,
) -> Any:
    """Examples put together: tensors (a list or dict of them) [...] become [batch_size, ...].

    With `enqueue_many` a run of `tensors` gives many examples [n, ...]. `dynamic_pad` fills
    examples of different sizes up with zeros. At the end of the data what does not fill a batch is
    left out, or comes as a smaller one if `allow_smaller_final_batch`.
    """
    return maybe_batch(
        tensors, True, batch_size, num_threads, capacity, enqueue_many, shapes, dynamic_pad,
        allow_smaller_final_batch, shared_name, name,
    )  # fmt: skip


def maybe_batch(
    tensors: Any,
    keep_input: Any,
    batch_size: Any,
    num_threads: int = 1,
    capacity: int = 32,
    enqueue_many: bool = False,
    shapes: Any = None,
    dynamic_pad: bool = False,
    allow_smaller_final_batch: bool = False,
    shared_name: str | None = None,
    name: str | None = None,
) -> Any:
    """`batch` of those examples for which `keep_input` (bool; [n] if `enqueue_many`) is true."""
    return _batch(
        [tensors], num_threads, keep_input, batch_size, capacity, _fifo(dynamic_pad, capacity),
        0, enqueue_many, shapes, allow_smaller_final_batch, shared_name, name, "batch",
    )  # fmt: skip


def batch_join(
    tensors_list: Sequence[Any],
    batch_size: Any,
    capacity: int = 32,
    enqueue_many: bool = False,
    shapes: Any = None,
    dynamic_pad: bool = False,
    allow_smaller_final_batch: bool = False,
    shared_name: str | None = None,
    name: str | None = None,
) -> Any:
    """`batch` of examples from several sources, each run by a thread of its own."""
    return maybe_batch_join(
        tensors_list, True, batch_size, capacity, enqueue_many, shapes, dynamic_pad,
        allow_smaller_final_batch, shared_name, name,
    )  # fmt: skip


def maybe_batch_join(
    tensors_list: Sequence[Any],
    keep_input: Any,
    batch_size: Any,
    capacity: int = 32,
    enqueue_many: bool = False,
    shapes: Any = None,
    dynamic_pad: bool = False,
    allow_smaller_final_batch: bool = False,
    shared_name: str | None = None,
    name: str | None = None,
) -> Any:
    """`batch_join` of those examples for which `keep_input` is true."""
    return _batch(
        tensors_list, 1, keep_input, batch_size, capacity, _fifo(dynamic_pad, capacity),
        0, enqueue_many, shapes, allow_smaller_final_batch, shared_name, name, "batch_join",
    )  # fmt: skip


def shuffle_batch(
    tensors: Any,
    batch_size: Any,
    capacity: int,
    min_after_dequeue: int,
    num_threads: int = 1,
    seed: int | None = None,
    enqueue_many: bool = False,
    shapes: Any = None,
    allow_smaller_final_batch: bool = False,
    shared_name: str | None = None,
    name: str | None = None,
) -> Any:
    """`batch` of examples in random order, out of at least `min_after_dequeue` more."""
    return maybe_shuffle_batch(
        tensors, batch_size, capacity, min_after_dequeue, True, num_threads, seed, enqueue_many,
        shapes, allow_smaller_final_batch, shared_name, name,
    )  # fmt: skip


def maybe_shuffle_batch(
    tensors: Any,
    batch_size: Any,
    capacity: int,
    min_after_dequeue: int,
    keep_input: Any,
    num_threads: int = 1,
    seed: int | None = None,
    enqueue_many: bool = False,
    shapes: Any = None,
    allow_smaller_final_batch: bool = False,
    shared_name: str | None = None,
    name: str | None = None,
) -> Any:
    """`shuffle_batch` of those examples for which `keep_input` is true."""
    return _batch(
        [tensors], num_threads, keep_input, batch_size, capacity,
        _shuffling(capacity, min_after_dequeue, seed), min_after_dequeue, enqueue_many, shapes,
        allow_smaller_final_batch, shared_name, name, "shuffle_batch",
    )  # fmt: skip


def shuffle_batch_join(
    tensors_list: Sequence[Any],
    batch_size: Any,
    capacity: int,
    min_after_dequeue: int,
    seed: int | None = None,
    enqueue_many: bool = False,
    shapes: Any = None,
    allow_smaller_final_batch: bool = False,
    shared_name: str | None = None,
    name: str | None = None,
) -> Any:
    """`shuffle_batch` of examples from several sources, each run by a thread of its own."""
    return maybe_shuffle_batch_join(
        tensors_list, batch_size, capacity, min_after_dequeue, True, seed, enqueue_many, shapes,
        allow_smaller_final_batch, shared_name, name,
    )  # fmt: skip


def maybe_shuffle_batch_join(
    tensors_list: Sequence[Any],
    batch_size: Any,
    capacity: int,
    min_after_dequeue: int,
    keep_input: Any,
    seed: int | None = None,
    enqueue_many: bool = False,
    shapes: Any = None,
    allow_smaller_final_batch: bool = False,
    shared_name: str | None = None,
    name: str | None = None,
) -> Any:
    """`shuffle_batch_join` of those examples for which `keep_input` is true."""
    return _batch(
        tensors_list, 1, keep_input, batch_size, capacity,
        _shuffling(capacity, min_after_dequeue, seed), min_after_dequeue, enqueue_many, shapes,
        allow_smaller_final_batch, shared_name, name, "shuffle_batch_join",
    )  # fmt: skip


_MakeQueue = Callable[..., QueueBase]  # (types, shapes, shared_name=) -> queue


def _fifo(dynamic_pad: bool, capacity: int) -> _MakeQueue:
    kind = PaddingFIFOQueue if dynamic_pad else FIFOQueue

    def make(types: Any, shapes: Any, shared_name: str | None) -> QueueBase:
        return kind(capacity, types, shapes, shared_name=shared_name)

    return make


def _shuffling(capacity: int, min_after_dequeue: int, seed: int | None) -> _MakeQueue:
    if capacity <= min_after_dequeue:
        raise ValueError(
            f"capacity {capacity} must be bigger than min_after_dequeue {min_after_dequeue}."
        )

    def make(types: Any, shapes: Any, shared_name: str | None) -> QueueBase:
        return RandomShuffleQueue(
            capacity, min_after_dequeue, types, shapes, seed=seed, shared_name=shared_name
        )

    return make


def _batch(
    sources: Sequence[Any],
    threads: int,
    keep_input: Any,
    batch_size: Any,
    capacity: int,
    make_queue: _MakeQueue,
    reserve: int,
    enqueue_many: bool,
    shapes: Any,
    allow_smaller_final_batch: bool,
    shared_name: str | None,
    name: str | None,
    default_name: str,
) -> Any:
    """Examples from each source, `threads` threads a source, through a queue."""
    keys, listed = _take_apart(sources, default_name)
    flat = [t for source in listed for t in source]
    with name_scope(name, default_name, _graph_elements([*flat, keep_input])) as scope:
        listed = [[convert_to_tensor(t) for t in source] for source in listed]
        keep = _checked_keep_input(keep_input, enqueue_many)
        types = _common_types(listed)
        shapes = _common_shapes(listed, enqueue_many) if shapes is None else shapes
        queue = make_queue(types, shapes, shared_name=shared_name)
        enqueues = [_enqueue(queue, source, keep, enqueue_many) for source in listed]
        add_queue_runner(QueueRunner(queue, [op for op in enqueues for _ in range(threads)]))
        if isinstance(queue, RandomShuffleQueue):
            full = f"fraction_over_{reserve}_of_{capacity - reserve}_full"
        else:
            full = f"fraction_of_{capacity}_full"
        _summarize_fullness(queue, full, capacity, reserve)
        take = queue.dequeue_up_to if allow_smaller_final_batch else queue.dequeue_many
        taken = take(batch_size, name=scope)
    if keys is None:
        return taken
    return dict(zip(keys, taken if isinstance(taken, list) else [taken], strict=True))


def _take_apart(sources: Any, function: str) -> tuple[list[Any] | None, list[list[Any]]]:
    """The keys, if the sources are dicts, and the tensors of each."""
    if not isinstance(sources, (list, tuple)):
        raise TypeError(f"{function} takes a list of lists or dicts of tensors, not {sources!r}.")
    if not sources:
        raise ValueError("Expected at least one set of tensors")
    keys = sorted(sources[0]) if isinstance(sources[0], dict) else None
    for source in sources:
        if not isinstance(source, (list, tuple, dict)):
            raise TypeError(f"{function} takes lists or dicts of tensors, not {source!r}.")
        if isinstance(source, dict) != (keys is not None) or len(source) != len(sources[0]):
            raise ValueError(
                f"{function}: all sources must give as many tensors: {sources[0]!r} and {source!r}."
            )
        if keys is not None and sorted(source) != keys:
            raise ValueError(
                f"{function}: all sources must have the same keys: {keys} and {sorted(source)}."
            )
    if not sources[0]:
        raise ValueError(f"Expected at least one tensor in {function}().")
    return keys, [list(s) if keys is None else [s[key] for key in keys] for s in sources]


def _common_types(sources: list[list[Tensor]]) -> list[Any]:
    types = [t.dtype.base_dtype for t in sources[0]]
    for source in sources:
        others = [t.dtype.base_dtype for t in source]
        if others != types:
            a, b = (", ".join(d.name for d in ds) for ds in (types, others))
            raise TypeError(f"Expected types to be consistent: {a} vs. {b}.")
    return types


def _common_shapes(sources: list[list[Tensor]], enqueue_many: bool) -> list[TensorShape]:
    for tensor in (t for source in sources for t in source):
        if tensor.shape.ndims is None:
            raise ValueError(f"Cannot infer Tensor's rank: {tensor}")
    shapes = [
        [t.shape.with_rank_at_least(1)[1:] if enqueue_many else t.shape for t in source]
        for source in sources
    ]
    return [reduce(TensorShape.merge_with, column) for column in zip(*shapes, strict=True)]


# -- some of the examples --------------------------------------------------------------------------


def _checked_keep_input(keep_input: Any, enqueue_many: bool) -> Tensor:
    keep = convert_to_tensor(keep_input)
    if keep.shape.ndims is None:
        raise ValueError("`keep_input` dimensions must be known at graph construction.")
    if keep.shape.ndims == 1 and not enqueue_many:
        raise ValueError("`keep_input` cannot be a vector when `enqueue_many=False`.")
    if keep.shape.ndims > 1:
        raise ValueError("`keep_input` must be 0 or 1 dimensions.")
    return keep


def _enqueue(queue: QueueBase, tensors: list[Tensor], keep: Tensor, enqueue_many: bool) -> Any:
    """The operation that puts examples into the queue if they are to be kept."""
    if keep.shape.ndims == 1:
        return queue.enqueue_many(_kept(tensors, keep))
    known = constant_value(keep)
    if known is None:  # none or all of the examples
        rows = tensors if enqueue_many else [array.expand_dims(t, 0) for t in tensors]
        each = filling.fill(array.shape(rows[0])[:1], keep)
        return queue.enqueue_many(_kept(rows, each))
    if not known:
        return control.no_op()
    return queue.enqueue_many(tensors) if enqueue_many else queue.enqueue(tensors)


def _kept(tensors: list[Tensor], keep: Tensor) -> list[Tensor]:
    where = cast.cast(keep, dtypes.int32)
    return [dynamic_partition(t, where, 2)[1] for t in tensors]
