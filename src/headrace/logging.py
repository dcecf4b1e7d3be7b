"""`tf.logging`: what headrace and its programs say, on stderr as `LEVEL:headrace:message`.

It is Python's logger `headrace`: handlers and levels may be given to that as to any other. As in
TensorFlow 1, warnings and worse are seen until `set_verbosity(tf.logging.INFO)` asks for more.
"""

from __future__ import annotations

import logging
import sys
import threading
from typing import Any

DEBUG, INFO, WARN = logging.DEBUG, logging.INFO, logging.WARNING
ERROR, FATAL = logging.ERROR, logging.CRITICAL

_logger = logging.getLogger("headrace")
_calls: dict[tuple[str, int], int] = {}  # how often each line of a program has logged
_lock = threading.Lock()


class _Stderr(logging.Handler):
    """Writes to stderr, unless the program has handlers of its own: nothing is said twice."""

    def emit(self, record: logging.LogRecord) -> None:
        others = logging.getLogger().handlers if _logger.propagate else []
        if not others and _logger.handlers == [self]:
            print(self.format(record), file=sys.stderr, flush=True)


def _speak() -> None:
    handler = _Stderr()
    handler.setFormatter(logging.Formatter(logging.BASIC_FORMAT))
    _logger.addHandler(handler)


_speak()


def get_logger() -> logging.Logger:
    """Python's logger `headrace`."""
    return _logger


def get_verbosity() -> int:
    """The level from which on messages are seen."""
    return _logger.getEffectiveLevel()


def set_verbosity(v: Any) -> None:
    """Show messages from level `v` on: `tf.logging.INFO` and its like, or their names."""
    _logger.setLevel(v)


def debug(msg: Any, *args: Any, **kwargs: Any) -> None:
    """Log a message, formatted by `%` with `args`, at level DEBUG."""
    _logger.debug(msg, *args, stacklevel=2, **kwargs)


def info(msg: Any, *args: Any, **kwargs: Any) -> None:
    """Log at level INFO."""
    _logger.info(msg, *args, stacklevel=2, **kwargs)


def warning(msg: Any, *args: Any, **kwargs: Any) -> None:
    """Log at level WARN."""
    _logger.warning(msg, *args, stacklevel=2, **kwargs)


warn = warning


def error(msg: Any, *args: Any, **kwargs: Any) -> None:
    """Log at level ERROR."""
    _logger.error(msg, *args, stacklevel=2, **kwargs)


def fatal(msg: Any, *args: Any, **kwargs: Any) -> None:
    """Log at level FATAL. The program goes on."""
    _logger.critical(msg, *args, stacklevel=2, **kwargs)


def log(level: int, msg: Any, *args: Any, **kwargs: Any) -> None:
    """Log at a level."""
    _logger.log(level, msg, *args, stacklevel=2, **kwargs)


vlog = log


def log_if(level: int, msg: Any, condition: Any, *args: Any) -> None:
    """Log at a level if the condition holds."""
    if condition:
        _logger.log(level, msg, *args, stacklevel=2)


def log_every_n(level: int, msg: Any, n: int, *args: Any) -> None:
    """Log at a level at the first of every `n` calls from this line."""
    if _calls_before(sys._getframe(1)) % n == 0:
        _logger.log(level, msg, *args, stacklevel=2)


def log_first_n(level: int, msg: Any, n: int, *args: Any) -> None:
    """Log at a level at the first `n` calls from this line."""
    if _calls_before(sys._getframe(1)) < n:
        _logger.log(level, msg, *args, stacklevel=2)


def TaskLevelStatusMessage(msg: Any) -> None:
    """Log at level ERROR."""
    _logger.error(msg, stacklevel=2)


def flush() -> None:
    """Nothing to do: every message is written at once."""


def _calls_before(frame: Any) -> int:
    line = frame.f_code.co_filename, frame.f_lineno
    with _lock:
        before = _calls.get(line, 0)
        _calls[line] = before + 1
    return before
