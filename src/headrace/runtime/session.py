"""`Session`: feeds in, fetches out, and the state that lives between runs."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import partial
from importlib.util import find_spec
from typing import Any

from headrace import errors, logging
from headrace.graph import Graph, get_default_graph
from headrace.node import Tensor, pop_session, push_session
from headrace.runtime.interrupts import deliver, held_back, hold, pending
from headrace.runtime.loop import Loop
from headrace.runtime.route import (
    MOST_PROGRAMS,
    Fetch,
    Route,
    check_shape,
    feed_array,
    feed_pairs,
    is_flat,
    structure_key,
)
from headrace.runtime.state import State
from headrace.runtime.trace import Trace, wants_trace

_said = threading.Event()  # that there is no GPU


def _say_there_is_no_gpu() -> None:
    """Once in a process, if so: a graph asks for a GPU, and runs all the same."""
    if not _said.is_set() and not any(find_spec(f"jax_cuda{n}_plugin") for n in (12, 13)):
        _said.set()
        logging.warning(
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
        self._routes: dict[Any, Route] = {}
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
            key = (kind, structure_key(fetches), tuple(feeds))
            route = self._routes.get(key)
        if route is None:
            route = self._find_route(key, fetches, feeds)
        else:
            route.used = True
        if run_metadata is not None and wants_trace(options):
            return self._run_traced(route, feeds, run_metadata)
        return self._run(route, feeds)

    def _run_traced(self, route: Route, feeds: dict[Any, Any], run_metadata: Any) -> Any:
        values, _ = route.arrays(self._graph, feeds)
        route.check_shapes(values)
        trace = Trace()
        state = self._state
        with held_back(state), state.lock:
            results = route.program.interpret(state, values, trace.observe)
        trace.fill(run_metadata)
        return route.rebuild(results)

    def _find_route(self, key: Any, fetches: Any, feeds: dict[Any, Any]) -> Route:
        if self._graph.version == 0:
            raise RuntimeError(
                "The Session graph is empty. Add operations to the graph before calling run()."
            )
        if not isinstance(feeds, dict) and not hasattr(feeds, "items"):
            raise TypeError(f"feed_dict must be a dictionary, not {type(feeds).__name__}.")
        if self._graph._asks_for_gpu:
            _say_there_is_no_gpu()
        if not is_flat(fetches):  # tuples of different kinds are equal, and are told apart here
            key = (None, structure_key(fetches), tuple(feeds))
        with self._routes_lock:
            route = self._routes.get(key)
            if route is None:
                route = Route(self._graph, fetches, feeds)
                while len(self._routes) >= MOST_PROGRAMS:
                    oldest = next(iter(self._routes))
                    passed = self._routes.pop(oldest)
                    if passed.used:  # it gets a second chance
                        passed.used = False
                        self._routes[oldest] = passed
                self._routes[key] = route
        return route

    def _run(self, route: Route, feeds: dict[Any, Any]) -> Any:
        program, state = route.program, self._state
        run, values = route.quick, feeds.values()
        if run is None:
            run, values = self._prepare(route, feeds)
        while True:
            if program.locks:
                hold()
                try:
                    with state.lock:
                        try:
                            results = run(state, values)
                        finally:
                            state.replaced_by = None
                finally:
                    if pending:
                        deliver()
            else:
                results = run(state, values)
            if results is not None:
                break
            run, values = self._prepare(route, feeds)  # these feeds are unlike the last run's
        if route.single:
            return results[0]
        return results if route.plain else route.rebuild(results)

    def _prepare(self, route: Route, feeds: dict[Any, Any]) -> tuple[Callable[..., Any], Any]:
        """What runs the program for such feeds, and the feeds as it takes them."""
        values, signature = route.arrays(self._graph, feeds)
        run = route.program.fast.get(signature)
        if run is None:
            route.check_shapes(values)
            return partial(route.program.run, signature=signature), values
        route.quick = None if route.weird else route.program.quick.get(signature)
        return run, values

    def make_callable(
        self, fetches: Any, feed_list: Sequence[Any] | None = None, accept_options: bool = False
    ) -> Callable[..., Any]:
        """A function of the values of `feed_list`, in order, that runs `fetches`."""
        if feed_list is not None and not isinstance(feed_list, (list, tuple)):
            raise TypeError("Argument `feed_list` must be a list or tuple.")
        if self._closed:
            raise RuntimeError("Attempted to use a closed Session.")
        feed_list = list(feed_list or ())
        route = Route(self._graph, fetches, dict.fromkeys(feed_list))

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
            fetches, data=data, batch_size=batch_size, shuffle=shuffle, output=output
        )
        return loop(
            steps, epochs=epochs, feed_dict=feed_dict, batches=batches, every=every,
            callback=callback, progress=progress,
        )  # fmt: skip

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

        `loop(steps, epochs=, feed_dict=, batches=, every=, callback=, progress=)`. Copies of
        `feed_dict` and `data` stay where XLA computes, and each call goes on in the data where the
        last one left off.
        """
        if self._closed:
            raise RuntimeError("Attempted to use a closed Session.")
        return Loop(self, fetches, feed_dict, data, batch_size, shuffle, output)

    def _take_apart(self, fetches: Any) -> tuple[list[Any], Callable[[list[Any]], Any]]:
        """The elements of a structure of fetches, and how to put values back."""
        fetch = Fetch(self._graph, fetches)
        return fetch.elements, fetch.rebuild

    def _feed_arrays(self, feeds: dict[Any, Any] | None) -> dict[Tensor, Any]:
        """Feeds as arrays of the right types, by tensor; their shapes are not looked at."""
        if not hasattr(feeds or {}, "items"):
            raise TypeError(f"feeds must be a dictionary, not {type(feeds).__name__}.")
        pairs = [p for k, v in (feeds or {}).items() for p in feed_pairs(self._graph, k, v)]
        return {tensor: feed_array(tensor, value) for tensor, value in pairs}

    def _check_feeds(self, feeds: dict[Tensor, Any]) -> None:
        for tensor, array in feeds.items():
            check_shape(tensor, array)

    def _route(self, elements: list[Any], feeds: dict[Any, Any]) -> Route:
        """The way of a list of fetches and of feeds by tensor."""
        key = (list, tuple(elements), tuple(feeds))
        return self._routes.get(key) or self._find_route(key, elements, feeds)

    def partial_run_setup(self, fetches: Any, feeds: Sequence[Any] | None = None) -> Any:
        """A handle for running parts of `fetches` as their feeds become known."""
        return _Partial(Fetch(self._graph, fetches).elements, list(feeds or ()))

    def partial_run(self, handle: Any, fetches: Any, feed_dict: Any = None) -> Any:
        """Go on with a handle of `partial_run_setup`: feeds given earlier count still.

        Each operation is run once per handle.
        """
        if not isinstance(handle, _Partial):
            raise errors.InvalidArgumentError(None, None, f"No such partial run: {handle!r}")
        fetch = Fetch(self._graph, fetches)
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
        self._forget()
        self._routes.clear()

    def _forget(self) -> None:
        before, self._state = self._state, State()
        before.close()

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
        self._forget()


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
