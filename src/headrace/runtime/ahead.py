"""Compiling ahead: NumPy goes on with a long program while XLA compiles it in another thread.

How long NumPy goes on follows from the length of the plan and the size of what a run makes, never
from the clock, so that equal programs give equal bits: about as long as compiling is held to take.
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any

from headrace.runtime.plan import Step

LONG = 1000  # steps from which compiling takes so long that nobody should wait for it
_COMPILE, _MORE = 3e-4, 8000  # seconds for a step; steps that make it twice as long for each
_STEP, _BYTE = 1.2e-6, 2e-9  # seconds of NumPy for a step, for a byte that it makes
_SURE = 4  # a program that has come to such a part of the wait will likely come to its end


class Work:
    """An observer of an interpreted run, which adds up what the run makes."""

    def __init__(self) -> None:
        self.steps = self.size = 0

    def __call__(self, step: Step, start: int, results: Sequence[Any]) -> None:
        """Count a step and its results [bytes]."""
        self.steps += 1
        self.size += sum(getattr(r, "nbytes", 0) for r in results)

    @property
    def wait(self) -> int:
        """After how many runs XLA's turn comes."""
        compiling = _COMPILE * self.steps * (1 + self.steps / _MORE)
        return max(2, math.ceil(compiling / (_STEP * self.steps + _BYTE * self.size)))


def begins(run: int, wait: int) -> bool:
    """Whether compiling begins at this run: not at once, for a program that soon ends would have
    to wait for it."""
    return run == min(wait, 2 + wait // _SURE)


def start(make: Callable[[], Any]) -> Future[Any]:
    """What `make()` gives, made in a thread."""
    made: Future[Any] = Future()

    def work() -> None:
        try:
            made.set_result(make())
        except BaseException as error:  # it is raised where the result is asked for
            made.set_exception(error)

    threading.Thread(target=work, name="headrace-compile").start()
    return made
