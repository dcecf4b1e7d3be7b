"""Ctrl-C in the middle of a run: it counts when variables are whole again.

It comes as a signal between any two instructions, also where variables have been handed to XLA and
what comes of them is not yet in its place: a program that saves after Ctrl-C would find them gone.
So while the main thread replaces values of a session the signal is only noted, and acts right
after; a second one is not held back. It is Python's own handler that this one stands in for; a
program that has set another is left alone.
"""

from __future__ import annotations

import _signal  # pyright: ignore[reportMissingImports] # signal without enums: 1.5 us each
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from headrace.runtime.state import LIVE, State

_MAIN = threading.main_thread().ident
_NUMBER, _PYTHONS = int(signal.SIGINT), signal.default_int_handler
pending: list[Any] = []


def hold() -> None:
    """Be the one that hears of Ctrl-C, in place of Python's own handler."""
    if _signal.getsignal(_NUMBER) is _PYTHONS and threading.get_ident() == _MAIN:
        _signal.signal(_NUMBER, _handle)


def deliver() -> None:
    """Raise KeyboardInterrupt if one was held back, in the main thread."""
    if pending and threading.get_ident() == _MAIN:
        _PYTHONS(_NUMBER, pending.pop())


@contextmanager
def held_back(state: State) -> Iterator[None]:
    """Whatever replaces values of the state inside, Ctrl-C counts at the end."""
    hold()
    try:
        yield
    finally:
        state.replaced_by = None
        deliver()


def _handle(number: int, frame: Any) -> None:
    if not pending and any(state.replaced_by == _MAIN for state in LIVE):
        pending.append(frame)
    else:
        pending.clear()
        _PYTHONS(number, frame)
