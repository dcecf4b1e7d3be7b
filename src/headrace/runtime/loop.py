"""Many runs in a few calls of XLA: `Session.run_steps` and `Session.make_loop`.

The steps of a loop are cut into calls of about a tenth of a second, by an estimate that looks at
counts and shapes and never at the clock; results are those of `Session.run` called as often. A
program that cannot be looped whole (operations on the host, Print, a variable that changes its
shape) is run step by step instead.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from functools import cached_property
from typing import Any

import numpy as np

from headrace.node import Tensor, where
from headrace.runtime.interrupts import held_back
from headrace.runtime.memory import aligned
from headrace.runtime.state import State, holder_of

Arrays = dict[Tensor, Any]
Callback = Callable[[int, Any], Any]
_NO_BAR = nullcontext(lambda _: None)


# -- what is fed -----------------------------------------------------------------------------------


class Rows:
    """Data of which each step takes `batch` rows, epoch after epoch.

    With a seed the order of epoch after epoch is `np.random.RandomState(shuffle).permutation(n)`,
    called once for each; without one rows come as they lie. Rows that do not fill a batch at the
    end of an epoch are left out of it.
    """

    def __init__(self, arrays: Arrays, batch: int | None, shuffle: int | None):
        """Arrays [n, ...], all of one n."""
        if batch is None or isinstance(batch, bool) or int(batch) != batch or batch < 1:
            raise ValueError(
                f"`data` needs batch_size, a whole number of at least 1, and got {batch!r}: as "
                "many rows are fed at every step."
            )
        if isinstance(shuffle, bool) or not isinstance(shuffle, (int, np.integer, type(None))):
            raise TypeError(
                f"`shuffle` is the seed of the order, a whole number, or None for rows in the "
                f"order they lie in; got {shuffle!r}."
            )
        self.size = _common_length(arrays, "data", "rows")
        if self.size < batch:
            raise ValueError(f"batch_size is {batch}, and `data` has only {self.size} rows.")
        self.arrays, self.batch = arrays, int(batch)
        self.like: Arrays = {  # a batch without the memory of one
            t: np.broadcast_to(np.zeros((), a.dtype), (self.batch, *a.shape[1:]))
            for t, a in arrays.items()
        }
        self.epoch = self.size // self.batch  # steps
        self._random = None if shuffle is None else np.random.RandomState(shuffle)
        self._left = np.empty((0, self.batch), np.int32)

    def ahead(self, steps: int) -> np.ndarray:
        """The rows of the next steps: int32 [steps, batch]."""
        epochs = [self._left]
        missing = steps - len(self._left)
        for _ in range(-(-missing // self.epoch)):
            order = np.arange(self.size) if self._random is None else self._permutation()
            order = order[: self.epoch * self.batch].astype(np.int32)
            epochs.append(order.reshape(self.epoch, self.batch))
        if len(epochs) > 1:
            self._left = np.concatenate(epochs)
        return self._left[:steps]

    def skip(self, steps: int) -> None:
        """So many steps are done."""
        self._left = self._left[steps:]

    def _permutation(self) -> np.ndarray:
        assert self._random is not None
        return self._random.permutation(self.size)


def _common_length(arrays: Arrays, argument: str, what: str) -> int:
    """The leading size that all have; ValueError if they have none or several."""
    first: tuple[Tensor, int] | None = None
    for tensor, array in arrays.items():
        if not np.ndim(array):
            raise ValueError(
                f"`{argument}` for {tensor.name!r} is a scalar: it needs a leading axis of {what}. "
                f"What is the same at every step belongs into feed_dict.{where(tensor)}"
            )
        size = np.shape(array)[0]
        if first is not None and size != first[1]:
            raise ValueError(
                f"`{argument}` for {tensor.name!r} has {size} {what} along its leading axis, and "
                f"for {first[0].name!r} it has {first[1]}.{where(tensor)}"
            )
        first = first or (tensor, size)
    assert first is not None
    return first[1]


class _Feeds:
    """What calls of a loop feed: the same at every step, an element for each, rows of data."""

    def __init__(self, same: Arrays, each: Arrays, rows: Rows | None):
        self.same, self.each, self.rows = same, each, rows
        self.data: Arrays = {} if rows is None else rows.arrays
        self.route: Any = None  # to the program that takes such feeds
        self.compiled: Any = None  # the loop that took them the last time
        for tensor in (*same, *each, *self.data):
            if sum(tensor in part for part in (same, each, self.data)) > 1:
                raise ValueError(
                    f"{tensor.name!r} is fed twice: a tensor has its place in one of feed_dict, "
                    f"batches and data.{where(tensor)}"
                )

    @cached_property
    def like(self) -> Arrays:
        """Arrays of the shapes and types of what a step is fed, by tensor."""
        return self._with_each(0) | (self.rows.like if self.rows is not None else {})

    def at(self, i: int) -> Arrays:
        """What step `i` is fed, by tensor."""
        values = self._with_each(i)
        if self.rows is not None:
            rows = self.rows.ahead(1)[0]
            values.update((t, np.asarray(a)[rows]) for t, a in self.data.items())
        return values

    def _with_each(self, i: int) -> Arrays:
        each = {t: a[i : i + 1].reshape(a.shape[1:]) for t, a in self.each.items()}
        return {**self.same, **each}

    def chunk(self, tensor: Tensor, i: int, steps: int, length: int) -> Any:
        """The elements for `steps` steps from `i` on, in an array [length, ...]."""
        return _padded(np.asarray(self.each[tensor])[i : i + steps], length)


def _padded(array: np.ndarray, length: int) -> np.ndarray:
    """The array with so many elements, the last ones anything: no turn is fed them.

    It is laid so that XLA takes it as it is.
    """
    if len(array) == length:
        return array
    longer = aligned((length, *array.shape[1:]), array.dtype)
    longer[: len(array)] = array
    return longer


# -- what comes back -------------------------------------------------------------------------------


class _Kept:
    """The values of some fetches, of every step or of the last."""

    def __init__(self, count: int, stacked: bool):
        self._stacked = stacked
        self._pieces: list[list[Any]] = [[] for _ in range(count)]  # arrays [steps, ...]
        self._last: list[Any] = [None] * count

    def add(self, values: Sequence[Any]) -> None:
        """What one step gave."""
        if not self._stacked:
            self._last = list(values)
            return
        for pieces, value in zip(self._pieces, values, strict=True):
            pieces.append(None if value is None else _lone(value))

    def add_stacks(self, stacks: Sequence[Any]) -> None:
        """What several steps gave, arrays [steps, ...]."""
        for pieces, stack in zip(self._pieces, stacks, strict=True):
            pieces.append(stack)

    def last(self) -> list[Any]:
        """What the last step gave."""
        if not self._stacked:
            return self._last
        return [None if p[-1] is None else _element(p[-1][-1]) for p in self._pieces]

    def all(self) -> list[Any]:
        """An array [steps, ...] each, a list where shapes differ from step to step; or the last."""
        return [_joined(pieces) for pieces in self._pieces] if self._stacked else self._last


def _lone(value: Any) -> np.ndarray:
    """A value as an array [1, ...]."""
    if isinstance(value, np.ndarray):
        return value[None]
    made = np.empty(1, getattr(value, "dtype", object))
    made[0] = value
    return made


def _element(value: Any) -> Any:
    return value.copy() if isinstance(value, np.ndarray) else value


def _joined(pieces: list[Any]) -> Any:
    if pieces[0] is None:
        return None
    if len(pieces) == 1:
        return pieces[0]
    if len({p.shape[1:] for p in pieces}) > 1:
        return [_element(value) for piece in pieces for value in piece]
    return np.concatenate(pieces)


# -- the loop --------------------------------------------------------------------------------------


class Loop:
    """Steps of training, many to a call of XLA; made by `Session.make_loop`. Call it to run some.

    It goes on in its data where the last call of it left off.
    """

    def __init__(
        self,
        session: Any,
        fetches: Any,
        feed_dict: dict[Any, Any] | None = None,
        data: dict[Any, Any] | None = None,
        batch_size: int | None = None,
        shuffle: int | None = None,
        output: str = "stack",
    ):
        """See `Session.make_loop`."""
        if output not in ("stack", "last"):
            raise ValueError(f'`output` must be "stack" or "last", and got {output!r}.')
        if not data and (batch_size is not None or shuffle is not None):
            raise ValueError("batch_size and shuffle are for `data`, which is not given.")
        self._session = session
        self._elements, self._rebuild = session._take_apart(fetches)
        self._stacked = output == "stack"
        rows: Rows | None = None
        if data:
            arrays = session._feed_arrays(data)
            rows = Rows(arrays, batch_size, shuffle)
            rows.arrays = {t: _kept(a) for t, a in arrays.items()}
        same = {t: _kept(a) for t, a in session._feed_arrays(feed_dict).items()}
        self._feeds = _Feeds(same, {}, rows)

    def __call__(
        self,
        steps: int | None = None,
        *,
        epochs: int | None = None,
        feed_dict: dict[Any, Any] | None = None,
        batches: dict[Any, Any] | None = None,
        every: int | None = None,
        callback: Callback | None = None,
        progress: bool = False,
    ) -> Any:
        """Run `steps` steps, or `epochs` of the data, and give the fetches; see `run_steps`.

        What `feed_dict` feeds counts for this call, and before what the loop was made with.
        """
        feeds = self._feeds
        if feed_dict or batches:
            arrays = self._session._feed_arrays
            feeds = _Feeds({**feeds.same, **arrays(feed_dict)}, arrays(batches), feeds.rows)
        total = self._total(steps, epochs, feeds)
        if (every is None) != (callback is None):
            raise ValueError("`every` and `callback` go together: callback(step, values).")
        every = total if every is None else _whole(every, "every")
        if feeds.route is None:
            self._check(feeds)
            feeds.route = self._session._route(self._elements, feeds.like)
        kept, done = _Kept(len(self._elements), self._stacked), 0
        with _bar(total) if progress else _NO_BAR as show:
            while done < total:
                most = min(total, done + every - done % every) - done
                with held_back(self._session._state):
                    now = self._advance(feeds, done, most, kept)
                    if feeds.rows is not None:
                        feeds.rows.skip(now)
                done += now
                show(now)
                if callback is not None and done % every == 0:
                    callback(done, self._rebuild(kept.last()))
        return self._rebuild(kept.all())

    def _total(self, steps: int | None, epochs: int | None, feeds: _Feeds) -> int:
        """How many steps this call is to run."""
        said = {} if steps is None else {"steps": _whole(steps, "steps")}
        if epochs is not None:
            if feeds.rows is None:
                raise ValueError("`epochs` is for `data`, which is not given: say `steps`.")
            said["epochs"] = _whole(epochs, "epochs") * feeds.rows.epoch
        if feeds.each:
            said["batches"] = _common_length(feeds.each, "batches", "steps")
        if not said:
            raise ValueError(
                "How many steps? Give `steps`, `epochs` of `data`, or `batches`, whose leading "
                "axis says it."
            )
        if len(set(said.values())) > 1:
            words = " and ".join(f"`{k}` means {n}" for k, n in said.items())
            raise ValueError(f"The number of steps is said twice, and differently: {words}.")
        total = next(iter(said.values()))
        if not total:
            raise ValueError("`batches` has a leading axis of 0: there is no step to run.")
        return total

    def _check(self, feeds: _Feeds) -> None:
        """ValueError if what a step is fed has not the shape that it should have."""
        try:
            self._session._check_feeds(feeds.like)
        except ValueError as error:
            if not feeds.each:
                raise
            raise ValueError(
                f"{error}\nA step is fed one element of `batches` along its leading axis."
            ) from None

    def _advance(self, feeds: _Feeds, i: int, most: int, kept: _Kept) -> int:
        """Run up to `most` steps from step `i` on; how many it were."""
        session, program = self._session, feeds.route.program
        if session._closed:
            raise RuntimeError("Attempted to use a closed Session.")
        state, compiled = session._state, feeds.compiled
        if compiled is not None or program.can_loop(feeds.same):
            with state.lock:
                if compiled is None or compiled.length < min(most, compiled.most):
                    like = list(feeds.like.values())
                    signature = tuple([np.shape(v) for v in like])
                    early = program.is_interpreted(state, signature)
                    if early or program.is_unsettled(state, like):
                        kept.add(program.interpret(state, list(feeds.at(i).values())))
                        return 1
                    compiled = feeds.compiled = program.make_loop(
                        state, like, signature, feeds.each, feeds.data, self._stacked, most
                    )
                if compiled is not None:
                    done = _run(compiled, program, state, feeds, i, most, kept)
                    if done == 0:  # a check fails: NumPy says why
                        kept.add(program.interpret(state, list(feeds.at(i).values())))
                    if done is not None:
                        return done or 1
        kept.add(session._run(feeds.route, feeds.at(i)))
        return 1


def _run(
    compiled: Any, program: Any, state: State, feeds: _Feeds, i: int, most: int, kept: _Kept
) -> int | None:
    """Run up to `most` steps from step `i` on, as far as checks hold; how many it were.

    None if variables are not there, or not of the shapes this was compiled for.
    """
    steps = min(most, compiled.length)
    each = [feeds.chunk(t, i, steps, compiled.length) for t in compiled.each]
    rows = [feeds.data[t] for t in compiled.rows]
    index = streams = None
    if feeds.rows is not None and rows:
        index = _padded(feeds.rows.ahead(steps), compiled.length)
    if compiled.random:
        streams = np.stack([state.stream(op) for op in compiled.random])
    while True:
        try:
            before = [state.take(holder_of(n), written=True) for n in compiled.state]
            fed = feeds.same
            same = [fed[n] if n in fed else state.take(holder_of(n)) for n in compiled.same]
            state.replaced_by = threading.get_ident()
            done, after, fetched = compiled.call(steps, before, same, each, rows, index, streams)
        except (KeyError, TypeError):
            return None
        if done == steps or not done:
            break
        steps = done  # once more, as far as the step that fails a check
    if done:
        for name, array in zip(compiled.state, after, strict=True):
            state.held[holder_of(name)] = array
        if compiled.random:
            state.advance(compiled.random, [n * done for n in compiled.drawn])
        arrays = dict(zip(compiled.fetched, fetched, strict=True))
        taken = [None if n is None else arrays[n] for n in program.plan.fetches]
        if compiled.stacked:
            kept.add_stacks([None if a is None else np.array(np.asarray(a)[:done]) for a in taken])
        else:
            kept.add([None if a is None else np.array(a)[()] for a in taken])
    return done


def _kept(array: Any) -> Any:
    """A copy of what is fed again and again where XLA computes; of strings, here."""
    from headrace.runtime.xla import put

    if not hasattr(array, "dtype"):  # an object that stands for a resource
        return array
    return np.array(array) if array.dtype == object else put(array)


def _whole(n: Any, name: str) -> int:
    if isinstance(n, bool) or not isinstance(n, (int, np.integer)) or n < 1:
        raise ValueError(f"`{name}` must be a whole number of at least 1, and got {n!r}.")
    return int(n)


@contextmanager
def _bar(total: int) -> Iterator[Callable[[int], Any]]:
    """A function to be told of steps done: it moves a bar of tqdm's, if that is installed."""
    try:
        from tqdm.auto import tqdm
    except ImportError:
        yield lambda _: None
    else:
        with tqdm(total=total, unit="step") as bar:
            yield bar.update
