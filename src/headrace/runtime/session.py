"""`Session`: feeds in, fetches out, and the state that lives between runs."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from importlib.util import find_spec
from typing import Any

import numpy as np

from headrace import errors, shapes
from headrace.graph import Graph, get_default_graph
from headrace.indexed_slices import IndexedSlices
from headrace.node import Operation, Tensor, pop_session, push_session, where
from headrace.runtime.loop import Loop
from headrace.runtime.program import Program
from headrace.runtime.state import State
from headrace.runtime.trace import Trace, wants_trace

_MOST_PROGRAMS = 512  # plans kept per graph


# -- structures of fetches -------------------------------------------------------------------------


class _Fetch:
    """A structure of fetches, taken apart: its elements, and how to put values back."""

    def __init__(self, graph: Graph, fetches: Any):
        self.elements: list[Tensor | Operation] = []
        self._index: dict[Any, int] = {}
        self.rebuild: Callable[[list[Any]], Any] = self._take(graph, fetches)

    def _take(self, graph: Graph, fetch: Any) -> Callable[[list[Any]], Any]:
        if fetch is None:
            raise TypeError("Fetch argument None has invalid type <class 'NoneType'>")
        if isinstance(fetch, (list, tuple)):
            parts = [self._take(graph, f) for f in fetch]
            kind = type(fetch)
            if kind is list:
                return lambda values: [p(values) for p in parts]
            if hasattr(fetch, "_fields"):
                return lambda values: kind(*[p(values) for p in parts])
            return lambda values: kind([p(values) for p in parts])
        if hasattr(fetch, "items") and hasattr(fetch, "keys"):
            keys = list(fetch.keys())
            parts = [self._take(graph, fetch[k]) for k in keys]
            try:
                kind = type(fetch)
                kind()
            except TypeError:
                kind = dict

            def rebuild(values: list[Any]) -> Any:
                built = kind()
                for k, p in zip(keys, parts, strict=True):
                    built[k] = p(values)
                return built

            return rebuild
        if isinstance(fetch, IndexedSlices):
            components = [fetch.values, fetch.indices]
            if fetch.dense_shape is not None:
                components.append(fetch.dense_shape)
            parts = [self._take(graph, c) for c in components]
            return lambda values: IndexedSlicesValue(*[p(values) for p in parts])
        return self._leaf(graph, fetch)

    def _leaf(self, graph: Graph, fetch: Any) -> Callable[[list[Any]], Any]:
        try:
            element = graph.as_graph_element(fetch)
        except TypeError as error:
            raise TypeError(
                f"Fetch argument {fetch!r} has invalid type {type(fetch)}, must be a string or "
                f"Tensor. ({error})"
            ) from None
        except ValueError as error:
            raise ValueError(
                f"Fetch argument {fetch!r} cannot be interpreted as a Tensor. ({error})"
            ) from None
        except KeyError as error:
            raise ValueError(
                f"Fetch argument {fetch!r} cannot be interpreted as a Tensor. ({error})"
            ) from None
        if not graph.is_fetchable(element):
            raise ValueError(
                f"Operation {element.name!r} has been marked as not fetchable.{where(element)}"
            )
        i = self._index.setdefault(element, len(self.elements))
        if i == len(self.elements):
            self.elements.append(element)
        return lambda values: values[i]


class IndexedSlicesValue:
    """The value of an `IndexedSlices`: arrays."""

    __slots__ = ("dense_shape", "indices", "values")

    def __init__(self, values: Any, indices: Any, dense_shape: Any = None):
        self.values = values
        self.indices = indices
        self.dense_shape = dense_shape

    def __iter__(self) -> Iterator[Any]:
        return iter((self.values, self.indices, self.dense_shape))

    def __getitem__(self, i: int) -> Any:
        return (self.values, self.indices, self.dense_shape)[i]

    def __repr__(self) -> str:
        return (
            f"IndexedSlicesValue(values={self.values!r}, indices={self.indices!r}, "
            f"dense_shape={self.dense_shape!r})"
        )


def _structure_key(fetch: Any) -> Any:
    """A hashable key that is equal for equal structures of the same elements."""
    if isinstance(fetch, (list, tuple)):
        return (type(fetch), *[_structure_key(f) for f in fetch])
    if hasattr(fetch, "items") and hasattr(fetch, "keys"):
        return (type(fetch), tuple(fetch.keys()), *[_structure_key(f) for f in fetch.values()])
    return fetch


def _is_flat(fetches: Any) -> bool:
    """Whether fetches are one element, or a list or tuple of such."""
    if type(fetches) in (list, tuple):
        return not any(isinstance(f, tuple) for f in fetches)
    return not isinstance(fetches, tuple)


# -- feeds -----------------------------------------------------------------------------------------


def _feed_pairs(graph: Graph, key: Any, value: Any) -> list[tuple[Tensor, Any]]:
    """The tensors that a feed's key stands for, each with its value."""
    if isinstance(key, (list, tuple)):
        values = list(value) if isinstance(value, (list, tuple, np.ndarray)) else None
        if values is None or len(values) != len(key):
            raise ValueError(f"The feed of {key!r} needs {len(key)} values, got {value!r}.")
        return [p for k, v in zip(key, values, strict=True) for p in _feed_pairs(graph, k, v)]
    if isinstance(key, IndexedSlices):
        return [
            p for k, v in zip((key.values, key.indices), value, strict=False)
            for p in _feed_pairs(graph, k, v)
        ]  # fmt: skip
    if hasattr(key, "_feed_components"):
        return [
            p for k, v in zip(key._feed_components(), value, strict=True)
            for p in _feed_pairs(graph, k, v)
        ]  # fmt: skip
    try:
        tensor = graph.as_graph_element(key, allow_operation=False)
    except (TypeError, ValueError, KeyError) as error:
        raise TypeError(f"Cannot interpret feed_dict key as Tensor: {error}") from None
    return [(tensor, value)]


def _feed_array(tensor: Tensor, value: Any) -> Any:
    """The array that feeds a tensor. TypeError or ValueError if the value does not suit it."""
    if isinstance(value, Tensor) or hasattr(value, "_as_graph_element"):
        raise TypeError(
            f"The value of a feed cannot be a tf.Tensor object (got {value!r} for "
            f"{tensor.name!r}). Acceptable feed values include Python scalars, strings, lists, "
            "numpy ndarrays, or TensorHandles."
        )
    dtype = tensor.dtype.base_dtype
    if dtype.kind == "S":
        return _string_array(value)
    if dtype.kind == "X":
        return value
    numpy = dtype.numpy
    if isinstance(value, int) and not isinstance(value, bool) and dtype.is_integer:
        limits = np.iinfo(numpy)
        if not limits.min <= value <= limits.max:
            raise TypeError(
                f"Type of feed value {value} with type {type(value)} is not compatible with Tensor "
                f"type {dtype.as_numpy_dtype}. Try explicitly setting the type of the feed tensor "
                "to a larger type (e.g. int64)."
            )
    if hasattr(value, "addressable_shards") and getattr(value, "dtype", None) == numpy:
        return value  # a jax array: it may stay on its device
    try:
        array = np.asarray(value)
        if array.dtype == object:
            array = np.array(value, numpy)
        elif array.dtype != numpy:
            if array.dtype.kind in "SU":
                raise ValueError(f"could not convert {value!r} to {dtype.name}")
            array = array.astype(numpy)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"The feed of {tensor.name!r} cannot be made an array of {dtype.name}: {error}"
            f"{where(tensor)}"
        ) from None
    return array


def _string_array(value: Any) -> np.ndarray:
    array = np.asarray(value, object)
    flat = [
        v.encode() if isinstance(v, str) else v if isinstance(v, bytes) else str(v).encode()
        for v in array.ravel().tolist()
    ]
    made = np.empty(len(flat), object)
    made[:] = flat
    return made.reshape(array.shape)


def _check_shape(tensor: Tensor, array: Any) -> None:
    if not shapes.compatible(tensor._dims, np.shape(array)):
        raise ValueError(
            f"Cannot feed value of shape {np.shape(array)} for Tensor {tensor.name!r}, which has "
            f"shape {shapes.show(tensor._dims)!r}{where(tensor)}"
        )


class _Route:
    """From one form of call (structure of fetches, keys of feeds) to its program."""

    __slots__ = ("convert", "plain", "program", "rebuild", "single", "tensors", "used", "weird")

    def __init__(self, graph: Graph, fetches: Any, feed_dict: dict[Any, Any]):
        fetch = _Fetch(graph, fetches)
        self.tensors: list[Tensor] = []
        self.used = False  # again, since the last look for what to forget
        self.weird = False
        for key, value in feed_dict.items():
            if isinstance(key, (list, tuple)) or not isinstance(key, (Tensor, str)):
                self.weird = True
            self.tensors += [t for t, _ in _feed_pairs(graph, key, value)]
        for tensor in self.tensors:
            if not graph.is_feedable(tensor):
                raise ValueError(f"Tensor {tensor} may not be fed.{where(tensor)}")
        if len(set(self.tensors)) < len(self.tensors):
            raise ValueError("A tensor is fed twice in one feed_dict.")
        self.rebuild = fetch.rebuild
        self.single = isinstance(fetches, (Tensor, Operation))
        self.plain = (
            type(fetches) is list
            and len(fetch.elements) == len(fetches)
            and all(isinstance(f, str) or hasattr(f, "_as_graph_element") for f in fetches)
        )
        key = (tuple(fetch.elements), tuple(self.tensors))
        programs = graph._programs
        with graph._lock:
            program = programs.get(key)
            if program is None:
                program = Program(fetch.elements, self.tensors, graph._packs)
                while len(programs) >= _MOST_PROGRAMS:
                    del programs[next(iter(programs))]
                programs[key] = program
        self.program: Program = program
        self.convert: list[tuple[Tensor, np.dtype]] = [
            (t, t.dtype.base_dtype.numpy) for t in self.tensors
        ]

    def arrays(self, graph: Graph, feed_dict: dict[Any, Any]) -> list[Any]:
        """The fed arrays, of the right types; their shapes are not looked at here."""
        if self.weird:
            given: list[Any] = []
            for key, value in feed_dict.items():
                given += [v for _, v in _feed_pairs(graph, key, value)]
        else:
            given = list(feed_dict.values())
        for i, (tensor, numpy) in enumerate(self.convert):
            value = given[i]
            if type(value) is not np.ndarray or value.dtype is not numpy or numpy.hasobject:
                given[i] = _feed_array(tensor, value)
        return given


_said = threading.Event()  # that there is no GPU


def _say_there_is_no_gpu() -> None:
    """Once in a process, if so: a graph asks for a GPU, and runs all the same."""
    if not _said.is_set() and not any(find_spec(f"jax_cuda{n}_plugin") for n in (12, 13)):
        _said.set()
        logging.getLogger("headrace").warning(
            "The graph asks for a GPU by tf.device, and JAX has none here: it runs on the CPU. "
            "pip install 'headrace[cuda]' brings what an NVIDIA GPU needs."
        )


# -- sessions --------------------------------------------------------------------------------------


class BaseSession:
    """Runs a graph and holds the values of its variables."""

    def __init__(self, target: str = "", graph: Graph | None = None, config: Any = None):
        if graph is not None and not isinstance(graph, Graph):
            raise TypeError(
                f"Argument `graph` must be a tf.Graph, but got {type(graph).__name__!r}"
            )
        if not isinstance(target, (str, bytes)):
            raise TypeError(f"Argument `target` must be a string, but got {target!r}")
        if config is not None and not hasattr(
            config, "gpu_options"
        ):  # the proto is heavy to import
            raise TypeError(f"Argument `config` must be a tf.ConfigProto, but got {config!r}")
        self._graph = get_default_graph() if graph is None else graph
        self._config = config
        self._target = target
        self._state = State()
        self._lock = threading.RLock()
        self._routes: dict[Any, _Route] = {}
        self._routes_lock = threading.Lock()
        self._closed = False

    @property
    def graph(self) -> Graph:
        """The graph that is run here."""
        return self._graph

    @property
    def graph_def(self) -> Any:
        """The graph as a GraphDef proto."""
        return self._graph.as_graph_def()

    @property
    def sess_str(self) -> str:
        """The address it was made for."""
        return self._target if isinstance(self._target, str) else self._target.decode()

    def run(
        self,
        fetches: Any,
        feed_dict: dict[Any, Any] | None = None,
        options: Any = None,
        run_metadata: Any = None,
    ) -> Any:
        """The values of `fetches`, in the structure they came in; None for an Operation.

        `feed_dict` maps tensors (any, or names, or tuples of them) to values. Variables change
        only if the whole run succeeds. With `options.trace_level` FULL_TRACE the run is interpreted
        and `run_metadata` takes the time and shapes of every operation.

        RuntimeError if the session is closed, TypeError and ValueError for fetches and feeds that
        do not fit the graph, `tf.errors.OpError` for what fails while running.
        """
        if self._closed:
            raise RuntimeError("Attempted to use a closed Session.")
        feeds = {} if feed_dict is None else feed_dict
        kind = type(fetches)
        try:
            if kind is list or kind is tuple:
                key = (kind, tuple(fetches), tuple(feeds))
            else:
                key = (None, fetches, tuple(feeds))
            route = self._routes.get(key)
        except TypeError:
            key = (kind, _structure_key(fetches), tuple(feeds))
            route = self._routes.get(key)
        if route is None:
            route = self._find_route(key, fetches, feeds)
        else:
            route.used = True
        if run_metadata is not None and wants_trace(options):
            return self._run_traced(route, feeds, run_metadata)
        return self._run(route, feeds)

    def _run_traced(self, route: _Route, feeds: dict[Any, Any], run_metadata: Any) -> Any:
        values = route.arrays(self._graph, feeds)
        for tensor, value in zip(route.tensors, values, strict=True):
            _check_shape(tensor, value)
        trace = Trace()
        with self._lock:
            results = route.program.run_traced(self._state, values, trace.observe)
        trace.fill(run_metadata)
        return route.rebuild(results)

    def _find_route(self, key: Any, fetches: Any, feeds: dict[Any, Any]) -> _Route:
        if self._graph.version == 0:
            raise RuntimeError(
                "The Session graph is empty. Add operations to the graph before calling run()."
            )
        if not isinstance(feeds, dict) and not hasattr(feeds, "items"):
            raise TypeError(f"feed_dict must be a dictionary, not {type(feeds).__name__}.")
        if self._graph._asks_for_gpu:
            _say_there_is_no_gpu()
        if not _is_flat(fetches):  # tuples of different kinds are equal, and are told apart here
            key = (None, _structure_key(fetches), tuple(feeds))
        with self._routes_lock:
            route = self._routes.get(key)
            if route is None:
                route = _Route(self._graph, fetches, feeds)
                while len(self._routes) >= _MOST_PROGRAMS:
                    oldest = next(iter(self._routes))
                    passed = self._routes.pop(oldest)
                    if passed.used:  # it gets a second chance
                        passed.used = False
                        self._routes[oldest] = passed
                self._routes[key] = route
        return route

    def _run(self, route: _Route, feeds: dict[Any, Any]) -> Any:
        values = route.arrays(self._graph, feeds) if feeds else []
        signature = tuple([v.shape for v in values])
        program = route.program
        run = program.fast.get(signature)
        if run is None:
            for tensor, value in zip(route.tensors, values, strict=True):
                _check_shape(tensor, value)
            run = partial(program.run, signature=signature)
        if program.locks:
            with self._lock:
                results = run(self._state, values)
        else:
            results = run(self._state, values)
        if route.single:
            return results[0]
        return results if route.plain else route.rebuild(results)

    def make_callable(
        self, fetches: Any, feed_list: Sequence[Any] | None = None, accept_options: bool = False
    ) -> Callable[..., Any]:
        """A function of the values of `feed_list`, in order, that runs `fetches`."""
        if feed_list is not None and not isinstance(feed_list, (list, tuple)):
            raise TypeError("Argument `feed_list` must be a list or tuple.")
        if self._closed:
            raise RuntimeError("Attempted to use a closed Session.")
        feed_list = list(feed_list or ())
        route = _Route(self._graph, fetches, dict.fromkeys(feed_list))

        def call(*values: Any, options: Any = None, run_metadata: Any = None) -> Any:
            if self._closed:
                raise RuntimeError("Attempted to use a closed Session.")
            if len(values) != len(feed_list):
                raise TypeError(f"This callable takes {len(feed_list)} values, got {len(values)}.")
            return self._run(route, dict(zip(feed_list, values, strict=True)))

        return call

    def run_steps(
        self,
        fetches: Any,
        feed_dict: dict[Any, Any] | None = None,
        steps: int | None = None,
        *,
        batches: dict[Any, Any] | None = None,
        data: dict[Any, Any] | None = None,
        batch_size: int | None = None,
        epochs: int | None = None,
        shuffle: int | None = None,
        output: str = "stack",
        every: int | None = None,
        callback: Callable[[int, Any], Any] | None = None,
        progress: bool = False,
    ) -> Any:
        """What `run(fetches, ...)` gives when called `steps` times, in a few calls of XLA.

        `feed_dict` is fed at every step. `batches` maps tensors to arrays [steps, ...], of which
        each step is fed one element; `data` to arrays [n, ...], of which it is fed `batch_size`
        rows, in order or, with a seed as `shuffle`, in a new order each epoch. `steps` may be
        left to `batches`, or said as `epochs` of `data`; what does not fill a batch is left out.

        Fetches come in their structure as arrays [steps, ...], or as the last step gave them if
        `output` is "last"; None for an Operation. After every `every` steps `callback` is called
        with the number of steps done and the values of the last one. `progress` shows a bar, if
        tqdm is installed. If a step fails, the error is that of `run`, and variables are as the
        steps before it left them; Ctrl-C stops after a call of XLA, with its steps done.
        """
        loop = self.make_loop(
            fetches, feed_dict, data=data, batch_size=batch_size, shuffle=shuffle, output=output
        )
        return loop(
            steps, epochs=epochs, batches=batches, every=every, callback=callback, progress=progress
        )

    def make_loop(
        self,
        fetches: Any,
        feed_dict: dict[Any, Any] | None = None,
        *,
        data: dict[Any, Any] | None = None,
        batch_size: int | None = None,
        shuffle: int | None = None,
        output: str = "stack",
    ) -> Loop:
        """A function that runs steps as `run_steps` does, to be called many times.

        `loop(steps, epochs=, feed_dict=, batches=, every=, callback=, progress=)`. A copy of
        `data` stays where XLA computes, and each call goes on in it where the last one left off.
        """
        if self._closed:
            raise RuntimeError("Attempted to use a closed Session.")
        return Loop(self, fetches, feed_dict, data, batch_size, shuffle, output)

    def _take_apart(self, fetches: Any) -> tuple[list[Any], Callable[[list[Any]], Any]]:
        """The elements of a structure of fetches, and how to put values back."""
        fetch = _Fetch(self._graph, fetches)
        return fetch.elements, fetch.rebuild

    def _feed_arrays(self, feeds: dict[Any, Any] | None) -> dict[Tensor, Any]:
        """Feeds as arrays of the right types, by tensor; their shapes are not looked at."""
        if not hasattr(feeds or {}, "items"):
            raise TypeError(f"feeds must be a dictionary, not {type(feeds).__name__}.")
        pairs = [p for k, v in (feeds or {}).items() for p in _feed_pairs(self._graph, k, v)]
        return {tensor: _feed_array(tensor, value) for tensor, value in pairs}

    def _check_feeds(self, feeds: dict[Tensor, Any]) -> None:
        for tensor, array in feeds.items():
            _check_shape(tensor, array)

    def _route(self, elements: list[Any], feeds: dict[Any, Any]) -> _Route:
        """The way of a list of fetches and of feeds by tensor."""
        key = (list, tuple(elements), tuple(feeds))
        return self._routes.get(key) or self._find_route(key, elements, feeds)

    def partial_run_setup(self, fetches: Any, feeds: Sequence[Any] | None = None) -> Any:
        """A handle for running parts of `fetches` as their feeds become known."""
        return _Partial(_Fetch(self._graph, fetches).elements, list(feeds or ()))

    def partial_run(self, handle: Any, fetches: Any, feed_dict: Any = None) -> Any:
        """Go on with a handle of `partial_run_setup`: feeds given earlier count still.

        Each operation is run once per handle.
        """
        if not isinstance(handle, _Partial):
            raise errors.InvalidArgumentError(None, None, f"No such partial run: {handle!r}")
        fetch = _Fetch(self._graph, fetches)
        for element in fetch.elements:
            if element not in handle.allowed:
                raise errors.InvalidArgumentError(
                    None, None, f"{element.name} was not in the fetches of partial_run_setup."
                )
        handle.values.update(feed_dict or {})
        todo = [e for e in fetch.elements if e not in handle.done]
        if todo:
            known = {e: v for e, v in handle.done.items() if isinstance(e, Tensor)}
            results = self.run(todo, {**known, **handle.values})
            handle.done.update(zip(todo, results, strict=True))
        return fetch.rebuild([handle.done[e] for e in fetch.elements])

    def list_devices(self) -> list[Any]:
        """The names of the devices there are, such as `/device:CPU:0`."""
        from headrace.runtime.xla import device_names

        return device_names()

    def close(self) -> None:
        """Release the variables' values; nothing can be run after."""
        self._closed = True
        with self._lock:
            self._state = State()
            self._routes.clear()

    @contextmanager
    def as_default(self) -> Iterator[Any]:
        """Make this the default session inside; closing is left to the caller."""
        push_session(self)
        try:
            yield self
        finally:
            pop_session(self)

    def reset(self) -> None:
        """Forget the variables' values."""
        with self._lock:
            self._state = State()


class _Partial:
    def __init__(self, allowed: Sequence[Any], feeds: Sequence[Any]):
        self.allowed = set(allowed)
        self.feeds = feeds
        self.values: dict[Any, Any] = {}
        self.done: dict[Any, Any] = {}


class Session(BaseSession):
    """Runs a graph; as a context manager it is the default session, with its graph, and closes."""

    def __init__(self, target: str = "", graph: Graph | None = None, config: Any = None):
        super().__init__(target, graph, config)
        self._contexts: list[Any] = []

    def __enter__(self) -> Session:
        context = self.graph.as_default()
        context.__enter__()
        push_session(self)
        self._contexts.append(context)
        return self

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        pop_session(self)
        self._contexts.pop().__exit__(None, None, None)
        self.close()

    @staticmethod
    def reset(target: str = "", containers: Any = None, config: Any = None) -> None:  # type: ignore[override]
        """Accepted; there are no containers to clear."""


class InteractiveSession(BaseSession):
    """A session that makes itself the default one, until it is closed; for notebooks."""

    def __init__(self, target: str = "", graph: Graph | None = None, config: Any = None):
        super().__init__(target, graph, config)
        self._graph_context = None if graph is None else graph.as_default()
        if self._graph_context is not None:
            self._graph_context.__enter__()
        push_session(self)

    def close(self) -> None:
        """Release the variables' values, and stop being the default session."""
        if not self._closed:
            super().close()
            pop_session(self)
            if self._graph_context is not None:
                self._graph_context.__exit__(None, None, None)
                self._graph_context = None
