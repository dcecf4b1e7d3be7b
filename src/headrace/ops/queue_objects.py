"""The queues that a session owns: bounded, between threads, and fair.

Nothing here knows of graphs. A row is a tuple of arrays, one per component. Whoever waits does so
in a line, one for those who put in and one for those who take out, and only the first of a line is
served: what comes first goes first, as far as the kind of queue knows an order.
"""

from __future__ import annotations

import heapq
import itertools
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any, ClassVar

import numpy as np

from headrace import philox, shapes
from headrace.dtypes import DType
from headrace.errors import CancelledError, InvalidArgumentError, OpError, OutOfRangeError
from headrace.shapes import Shape, brackets

Row = tuple[np.ndarray, ...]

_DRAWN = 64  # blocks of random words made at a time


class _Attempt:
    """Of one caller to put rows in, or to take `left` more out."""

    __slots__ = ("advance", "done", "error", "left", "ready", "rows", "taken")

    def __init__(self, advance: Callable[[_Attempt], bool], left: int, rows: Iterator[Row]):
        self.advance = advance  # goes on as far as it can; whether that is the end
        self.left = left
        self.rows = rows  # to put in
        self.taken: list[Row] = []
        self.done = False
        self.error: OpError | None = None
        self.ready: threading.Condition | None = None  # made by a caller that has to wait


_NO_ROWS: Iterator[Row] = iter(())


class Queue:
    """A queue of rows of these types and shapes; a negative capacity is no bound.

    All methods may be called from any thread. Ctrl-C ends a wait, and `cancel` ends all of them.
    """

    kind: ClassVar[str]
    whole: ClassVar[bool] = False  # takes what is asked for together, not as it comes
    shape: ClassVar[tuple[int, ...]] = ()  # operations that hand it on take it for a scalar

    def __init__(
        self, name: str, dtypes: Sequence[DType], row_shapes: Sequence[Shape], capacity: int
    ):
        self.name = name
        self.node: Any = None  # whoever made it may note here by what
        self._dtypes = tuple(dtypes)
        self._shapes = tuple(row_shapes)  # () if they are not known
        self._capacity = capacity if capacity >= 0 else float("inf")
        self._lock = threading.Lock()
        self._enqueues: deque[_Attempt] = deque()
        self._dequeues: deque[_Attempt] = deque()
        self._closed = False
        self._cancelled = False

    # -- what a kind of queue is -----------------------------------------------------------------

    def _held(self) -> int:
        """How many rows there are."""
        raise NotImplementedError

    def _put(self, row: Row) -> None:
        """Put a row in."""
        raise NotImplementedError

    def _take(self) -> Row:
        """Take the row out whose turn it is."""
        raise NotImplementedError

    def _put_back(self, rows: list[Row]) -> None:
        """Undo the last `_take`s; `rows` are in the order in which they were taken."""
        raise NotImplementedError

    def _ready(self) -> int:
        """How many rows may be taken now."""
        return self._held()

    def _batch(self, component: int, arrays: list[np.ndarray]) -> np.ndarray:
        """Arrays of a component as one array [len(arrays), ...]."""
        batch = np.empty((len(arrays), *self._shapes[component]), self._dtypes[component].numpy)  # type: ignore[misc]
        for i, array in enumerate(arrays):
            batch[i, ...] = array  # the dots: else an array of one string is put in as it is
        return batch

    # -- use -------------------------------------------------------------------------------------

    def enqueue(self, components: Sequence[Any]) -> None:
        """Put a row in; waits for a place."""
        arrays = self._checked(components, 0)
        self._wait_in(self._enqueues, _Attempt(self._enqueue, 1, iter((arrays,))))

    def enqueue_many(self, components: Sequence[Any]) -> None:
        """Put rows in, the slices of components [n, ...]; each waits for a place."""
        arrays = self._checked(components, 1)
        n = len(arrays[0]) if arrays else 0
        if n:
            rows = (tuple(a[i, ...] for a in arrays) for i in range(n))
            self._wait_in(self._enqueues, _Attempt(self._enqueue, n, rows))

    def dequeue(self) -> Row:
        """Take a row out; waits for one."""
        return self._dequeue_rows(1, False)[0]

    def dequeue_many(self, n: int, fewer: bool = False) -> tuple[np.ndarray, ...]:
        """Take n rows out and put them together; waits for them.

        With `fewer`, what is left will do once the queue is closed.
        """
        if not self._has_shapes():
            raise InvalidArgumentError(
                None,
                None,
                f"{self.kind}'s DequeueMany and DequeueUpTo require the components to have "
                "specified shapes.",
            )
        if n < 0:
            raise InvalidArgumentError(
                None, None, f"{self.kind} '{self.name}' was asked for {n} elements."
            )
        rows = self._dequeue_rows(n, fewer) if n else []
        columns = [list(column) for column in zip(*rows, strict=True)] or [[] for _ in self._dtypes]
        return tuple(self._batch(i, column) for i, column in enumerate(columns))

    def close(self, cancel_pending_enqueues: bool = False) -> None:
        """Let nothing in any more. Pending enqueues are cancelled, or waited for."""
        if cancel_pending_enqueues:
            with self._lock:
                self._closed = True
                self._fail(self._enqueues, "Enqueue operation was cancelled")
                self._serve()
        else:
            self._wait_in(self._enqueues, _Attempt(self._close, 0, _NO_ROWS))

    def cancel(self) -> None:
        """End all waits, and those to come, with CancelledError: the session is gone."""
        with self._lock:
            self._closed = self._cancelled = True
            for attempt in self._dequeues:
                self._put_back(attempt.taken)
            self._fail(self._enqueues, "Enqueue operation was cancelled")
            self._fail(self._dequeues, "Dequeue operation was cancelled")

    def size(self) -> int:
        """How many rows there are."""
        with self._lock:
            return self._held()

    def is_closed(self) -> bool:
        """Whether it was closed."""
        with self._lock:
            return self._closed

    # -- what callers hand in --------------------------------------------------------------------

    def _has_shapes(self) -> bool:
        return bool(self._shapes) or not self._dtypes

    def _checked(self, components: Sequence[Any], axes: int) -> Row:
        """Copies of what is handed in, which may be the user's own array or a variable's."""
        if len(components) != len(self._dtypes):
            raise InvalidArgumentError(
                None,
                None,
                f"Wrong number of components in tuple. Expected {len(self._dtypes)}, got "
                f"{len(components)}",
            )
        arrays = tuple(
            np.array(c, dtype.numpy) for c, dtype in zip(components, self._dtypes, strict=True)
        )
        for i, array in enumerate(arrays):
            if axes and not array.ndim:
                raise InvalidArgumentError(
                    None, None, f"enqueue_many takes slices, and component {i} is a scalar."
                )
            if axes and len(array) != len(arrays[0]):
                raise InvalidArgumentError(
                    None,
                    None,
                    "All input tensors must have the same size in the 0th dimension. Component "
                    f"{i} has {len(array)}, and should have {len(arrays[0])}",
                )
            if self._shapes and not shapes.compatible(self._shapes[i], array.shape[axes:]):
                expected = (*array.shape[:axes], *(self._shapes[i] or ()))
                raise InvalidArgumentError(
                    None,
                    None,
                    f"Shape mismatch in tuple component {i}. Expected {brackets(expected)}, got "
                    f"{brackets(array.shape)}",
                )
        return arrays

    # -- attempts --------------------------------------------------------------------------------

    def _enqueue(self, attempt: _Attempt) -> bool:
        if self._closed:
            raise CancelledError(None, None, f"{self.kind} '{self.name}' is closed.")
        while attempt.left and self._held() < self._capacity:
            self._put(next(attempt.rows))
            attempt.left -= 1
        return not attempt.left

    def _close(self, attempt: _Attempt) -> bool:
        if self._closed:
            raise CancelledError(None, None, f"Queue '{self.name}' is already closed.")
        self._closed = True
        return True

    def _dequeue_rows(self, n: int, fewer: bool) -> list[Row]:
        attempt = _Attempt(self._dequeue_or_fewer if fewer else self._dequeue, n, _NO_ROWS)
        self._wait_in(self._dequeues, attempt)
        return attempt.taken

    def _dequeue(self, attempt: _Attempt) -> bool:
        if self._closed and self._held() < attempt.left:
            self._give_back(attempt)
            raise OutOfRangeError(
                None,
                None,
                f"{self.kind} '{self.name}' is closed and has insufficient elements (requested "
                f"{attempt.left}, current size {self._held()})",
            )
        ready = self._ready()
        if self.whole and ready < attempt.left:
            return False
        for _ in range(min(ready, attempt.left)):
            attempt.taken.append(self._take())
            attempt.left -= 1
        return not attempt.left

    def _dequeue_or_fewer(self, attempt: _Attempt) -> bool:
        if self._closed and self._held() < attempt.left:
            self._give_back(attempt)
            attempt.left = min(attempt.left, self._held() or attempt.left)
        return self._dequeue(attempt)

    def _give_back(self, attempt: _Attempt) -> None:
        self._put_back(attempt.taken)
        attempt.left += len(attempt.taken)
        attempt.taken = []

    # -- lines -----------------------------------------------------------------------------------

    def _wait_in(self, line: deque[_Attempt], attempt: _Attempt) -> None:
        """Come to an end with an attempt, in turn."""
        with self._lock:
            if self._cancelled:
                raise CancelledError(
                    None, None, f"{self.kind} '{self.name}': its session was closed."
                )
            line.append(attempt)
            self._serve()
            if not attempt.done:
                attempt.ready = threading.Condition(self._lock)
                try:
                    while not attempt.done:
                        attempt.ready.wait()
                except BaseException:  # Ctrl-C: nobody will use what was taken
                    if not attempt.done:
                        line.remove(attempt)
                    self._give_back(attempt)
                    self._serve()
                    raise
        if attempt.error is not None:
            raise attempt.error

    def _serve(self) -> None:
        """Let the first of each line go on, as long as that changes anything."""
        while self._serve_line(self._enqueues) or self._serve_line(self._dequeues):
            pass

    def _serve_line(self, line: deque[_Attempt]) -> bool:
        changed = False
        while line:
            attempt = line[0]
            before = attempt.left
            try:
                done = attempt.advance(attempt)
            except OpError as error:
                attempt.error = error
                done = True
            if not done:
                return changed or attempt.left != before
            line.popleft()
            _finish(attempt)
            changed = True
        return changed

    def _fail(self, line: deque[_Attempt], message: str) -> None:
        while line:
            attempt = line.popleft()
            attempt.taken = []
            attempt.error = CancelledError(None, None, message)
            _finish(attempt)


def _finish(attempt: _Attempt) -> None:
    attempt.done = True
    if attempt.ready is not None:
        attempt.ready.notify()


# -- kinds -----------------------------------------------------------------------------------------


class FIFOQueue(Queue):
    """First in, first out."""

    kind = "FIFOQueue"

    def __init__(
        self, name: str, dtypes: Sequence[DType], row_shapes: Sequence[Shape], capacity: int
    ):
        super().__init__(name, dtypes, row_shapes, capacity)
        self._rows: deque[Row] = deque()

    def _held(self) -> int:
        return len(self._rows)

    def _put(self, row: Row) -> None:
        self._rows.append(row)

    def _take(self) -> Row:
        return self._rows.popleft()

    def _put_back(self, rows: list[Row]) -> None:
        self._rows.extendleft(reversed(rows))


class PaddingFIFOQueue(FIFOQueue):
    """First in, first out; rows that are put together are filled up to the largest, with zeros."""

    kind = "PaddingFIFOQueue"

    def _batch(self, component: int, arrays: list[np.ndarray]) -> np.ndarray:
        wanted = self._shapes[component] or ()
        sizes = [
            max((a.shape[axis] for a in arrays), default=0) if size is None else size
            for axis, size in enumerate(wanted)
        ]
        dtype = self._dtypes[component]
        zero = b"" if dtype.kind == "S" else 0
        batch = np.full((len(arrays), *sizes), zero, dtype.numpy)
        for i, array in enumerate(arrays):
            batch[(i, *map(slice, array.shape), ...)] = array
        return batch


class RandomShuffleQueue(Queue):
    """Gives any row, but leaves `min_after_dequeue` of them in till it is closed."""

    kind = "RandomShuffleQueue"

    def __init__(
        self,
        name: str,
        dtypes: Sequence[DType],
        row_shapes: Sequence[Shape],
        capacity: int,
        min_after_dequeue: int,
        seeds: tuple[int, int],
    ):
        super().__init__(name, dtypes, row_shapes, capacity)
        if min_after_dequeue < 0:
            raise InvalidArgumentError(
                None, None, f"min_after_dequeue {min_after_dequeue} must be >= 0"
            )
        if min_after_dequeue >= self._capacity:
            raise InvalidArgumentError(
                None, None, f"min_after_dequeue {min_after_dequeue} must be < capacity {capacity}"
            )
        self._reserve = min_after_dequeue
        self._rows: list[Row] = []
        self._words = _random_words(*seeds)

    def _held(self) -> int:
        return len(self._rows)

    def _ready(self) -> int:
        return max(0, len(self._rows) - (0 if self._closed else self._reserve))

    def _put(self, row: Row) -> None:
        self._rows.append(row)

    def _take(self) -> Row:
        rows = self._rows
        i = next(self._words) % len(rows)
        rows[i], rows[-1] = rows[-1], rows[i]
        return rows.pop()

    def _put_back(self, rows: list[Row]) -> None:
        self._rows.extend(reversed(rows))


def _random_words(seed: int, seed2: int) -> Iterator[int]:
    """The 32-bit words of a Philox stream, one after the other."""
    state = philox.initial_state(seed, seed2)
    for start in itertools.count(0, _DRAWN):
        index = np.arange(start, start + _DRAWN, dtype=np.uint64)
        yield from np.stack(philox.words(np, state, index), axis=1).ravel().tolist()


class PriorityQueue(Queue):
    """Gives the row with the least first component; of equal ones that which came first."""

    kind = "PriorityQueue"
    whole = True

    def __init__(
        self, name: str, dtypes: Sequence[DType], row_shapes: Sequence[Shape], capacity: int
    ):
        super().__init__(name, dtypes, row_shapes, capacity)
        self._heap: list[tuple[int, int, Row]] = []  # priority, turn, row
        self._turns = itertools.count()
        self._earlier = itertools.count(-1, -1)

    def _held(self) -> int:
        return len(self._heap)

    def _put(self, row: Row) -> None:
        heapq.heappush(self._heap, (int(row[0]), next(self._turns), row))

    def _take(self) -> Row:
        return heapq.heappop(self._heap)[2]

    def _put_back(self, rows: list[Row]) -> None:
        for row in reversed(rows):
            heapq.heappush(self._heap, (int(row[0]), next(self._earlier), row))
