"""Threads for tests, which never hang: what is not over in time fails."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

from headrace.ops.queue_objects import Queue

LIMIT = 20.0  # seconds, which only a broken test takes


class Running:
    """A call in a thread of its own."""

    def __init__(self, function: Callable[..., Any], *args: Any):
        self._outcome: list[Any] = []
        self._error: BaseException | None = None

        def run() -> None:
            try:
                self._outcome.append(function(*args))
            except BaseException as error:
                self._error = error

        self.thread = threading.Thread(target=run, daemon=True)
        self.thread.start()

    def is_waiting(self) -> bool:
        return self.thread.is_alive()

    def result(self) -> Any:
        """What the call gave; raises what it raised."""
        self.thread.join(LIMIT)
        assert not self.thread.is_alive(), "it still waits"
        if self._error is not None:
            raise self._error
        return self._outcome[0]


def until(condition: Callable[[], Any]) -> None:
    """Wait till a condition holds."""
    end = time.monotonic() + LIMIT
    while not condition():
        assert time.monotonic() < end, "it does not come to hold"
        time.sleep(0.001)


def blocked(session: Any, count: int = 1) -> None:
    """Wait till as many operations as this wait for the queues of a session."""

    def waiting() -> int:
        owned = list(session._state._resources.values())
        return sum(len(q._enqueues) + len(q._dequeues) for q in owned if isinstance(q, Queue))

    until(lambda: waiting() == count)
