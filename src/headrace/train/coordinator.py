"""`Coordinator`: threads that stop together, and an error in one of them brought to the others."""

from __future__ import annotations

import atexit
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from headrace import logging
from headrace.errors import OutOfRangeError

_SOON, _LATER = 0.001, 0.1  # seconds between looks at whether threads have ended
_PATIENCE = 5.0  # seconds that the process waits for its daemon threads when it ends


# -- the end of the process ------------------------------------------------------------------------

_at_exit: dict[threading.Thread, Callable[[], Any]] = {}  # what stops each
_exiting = threading.Event()


@contextmanager
def stopped_at_exit(stop: Callable[[], Any]) -> Iterator[None]:
    """Inside, should the process end, `stop` is called, and the end of this thread waited for.

    A daemon thread that Python cuts off while it is within XLA takes the process down with it.
    """
    thread = threading.current_thread()
    _at_exit[thread] = stop
    try:
        yield
    finally:
        _at_exit.pop(thread, None)


def is_exiting() -> bool:
    """Whether the process ends, and threads are to do so without a word."""
    return _exiting.is_set()


@atexit.register
def _stop_threads() -> None:
    _exiting.set()
    running = list(_at_exit.items())
    for _, stop in running:
        stop()
    deadline = time.monotonic() + _PATIENCE
    for thread, _ in running:
        thread.join(max(0.0, deadline - time.monotonic()))


# -- coordinators ----------------------------------------------------------------------------------


class Coordinator:
    """Asks threads to stop, waits for them, and raises what the first of them reported.

    Any thread may call `request_stop`; each looks at `should_stop` between its steps; the main
    thread waits in `join`. What is reported of a kind in `clean_stop_exception_types` (by default
    `tf.errors.OutOfRangeError`, the end of the data) is a reason to stop and no error.
    """

    def __init__(self, clean_stop_exception_types: Any = None):
        if clean_stop_exception_types is None:
            clean_stop_exception_types = (OutOfRangeError,)
        self._clean: tuple[type[BaseException], ...] = tuple(clean_stop_exception_types)
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._error: BaseException | None = None  # the first that was reported
        self._joined = False
        self._threads: set[threading.Thread] = set()

    @property
    def joined(self) -> bool:
        """Whether `join` has come to its end, with or without an error."""
        return self._joined

    def request_stop(self, ex: Any = None) -> None:
        """Ask the threads to stop; the first error given (or exc_info triple) is raised by `join`.

        After `join` it is raised here, for nobody would hear of it.
        """
        error = _as_exception(ex)
        if isinstance(error, self._clean):
            error = None
        with self._lock:
            if self._joined and error is not None:
                raise error
            if self._stop.is_set():
                return
            if error is not None:
                logging.info("Error reported to Coordinator: %s, %s", type(error), error)
                self._error = error
            self._stop.set()

    def clear_stop(self) -> None:
        """Begin anew: nobody is asked to stop, and no error is remembered."""
        with self._lock:
            self._joined = False
            self._error = None
            self._stop.clear()

    def should_stop(self) -> bool:
        """Whether the threads were asked to stop."""
        return self._stop.is_set()

    @contextmanager
    def stop_on_exception(self) -> Iterator[None]:
        """Report what is raised inside, and go on after the block."""
        try:
            yield
        except BaseException as error:  # a thread that is interrupted ends for the others as well
            self.request_stop(error)

    def wait_for_stop(self, timeout: float | None = None) -> bool:
        """Wait till the threads are asked to stop, or for `timeout` seconds; whether they were."""
        return self._stop.wait(timeout)

    def register_thread(self, thread: threading.Thread) -> None:
        """Let `join` wait for this thread."""
        with self._lock:
            self._threads.add(thread)

    def join(
        self,
        threads: Iterable[threading.Thread] | None = None,
        stop_grace_period_secs: float = 120,
        ignore_live_threads: bool = False,
    ) -> None:
        """Wait for these threads and the registered ones; raise the error that was reported.

        Once they are asked to stop they have `stop_grace_period_secs` for it. RuntimeError if some
        have not ended by then, unless `ignore_live_threads`.
        """
        with self._lock:
            awaited = list(self._threads.union(threads or ()))
        pause = _SOON
        while any(t.is_alive() for t in awaited) and not self._stop.wait(pause):
            pause = min(2 * pause, _LATER)
        deadline = time.monotonic() + stop_grace_period_secs
        for thread in awaited:
            if thread.is_alive() and thread is not threading.current_thread():
                thread.join(max(0.0, deadline - time.monotonic()))
        live = " ".join(sorted(t.name for t in awaited if t.is_alive()))
        with self._lock:
            self._joined = True
            self._threads.clear()
            error = self._error
        if error is not None:
            raise error
        if live:
            message = f"Coordinator stopped with threads still running: {live}"
            if not ignore_live_threads:
                raise RuntimeError(message)
            logging.info(message)

    def raise_requested_exception(self) -> None:
        """Raise the error that was given to `request_stop`, if any."""
        with self._lock:
            error = self._error
        if error is not None:
            raise error


def _as_exception(ex: Any) -> BaseException | None:
    given = ex
    if isinstance(ex, tuple):
        ex = ex[1] if len(ex) == 3 else ex
        if ex is None and isinstance(given[0], type) and issubclass(given[0], BaseException):
            ex = given[0]()
    if ex is not None and not isinstance(ex, BaseException):
        raise TypeError(
            f"request_stop takes an exception or what sys.exc_info() gives, not {given!r}."
        )
    return ex


# -- loopers ---------------------------------------------------------------------------------------


class LooperThread(threading.Thread):
    """A daemon thread that calls `target` (or its own `run_loop`) till its coordinator stops.

    Every `timer_interval_secs` seconds, or without a pause if that is None. An error asks all
    threads of the coordinator to stop.
    """

    def __init__(
        self,
        coord: Coordinator,
        timer_interval_secs: float | None,
        target: Callable[..., Any] | None = None,
        args: Sequence[Any] | None = None,
        kwargs: dict[str, Any] | None = None,
    ):
        if not isinstance(coord, Coordinator):
            raise ValueError(f"'coord' argument must be a Coordinator: {coord}")
        if target is None and (args or kwargs):
            raise ValueError("'args' and 'kwargs' argument require that you also pass 'target'")
        super().__init__(daemon=True)
        self._coord = coord
        self._timer_interval_secs = timer_interval_secs
        self._called = target
        self._call_args = tuple(args or ())
        self._call_kwargs = dict(kwargs or {})
        coord.register_thread(self)

    @staticmethod
    def loop(
        coord: Coordinator,
        timer_interval_secs: float | None,
        target: Callable[..., Any],
        args: Sequence[Any] | None = None,
        kwargs: dict[str, Any] | None = None,
    ) -> LooperThread:
        """Start a thread that calls `target(*args, **kwargs)`; returns it."""
        looper = LooperThread(coord, timer_interval_secs, target, args, kwargs)
        looper.start()
        return looper

    def run(self) -> None:
        """Call in turns; `start()` runs this in the thread."""
        with self._coord.stop_on_exception(), stopped_at_exit(self._coord.request_stop):
            self.start_loop()
            if self._timer_interval_secs is None:
                while not self._coord.should_stop():
                    self.run_loop()
            else:
                due = time.monotonic()
                while not self._coord.wait_for_stop(due - time.monotonic()):
                    due += self._timer_interval_secs
                    self.run_loop()
            self.stop_loop()

    def start_loop(self) -> None:
        """Called in the thread before the first turn; for subclasses."""

    def stop_loop(self) -> None:
        """Called in the thread after the last turn, if none failed; for subclasses."""

    def run_loop(self) -> None:
        """One turn: calls `target`; for subclasses to replace."""
        if self._called is not None:
            self._called(*self._call_args, **self._call_kwargs)
