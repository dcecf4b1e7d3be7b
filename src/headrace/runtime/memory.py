"""Memory that NumPy and XLA share on a CPU, and the allocator that both have it from.

What is aligned, XLA takes as it is. It allocates its scratch memory anew at every call, so on Linux
with glibc the allocator is asked to keep what is freed; HEADRACE_MALLOC=system turns that off.
"""

from __future__ import annotations

import ctypes
import math
import os
import sys
from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np

_MOST_VIEWS = 64
_ALIGNED = 64  # bytes: XLA on a CPU copies what begins elsewhere


def aligned(shape: Sequence[int], dtype: Any) -> np.ndarray:
    """An array of anything, where XLA takes it as it is."""
    dtype = np.dtype(dtype)
    size = math.prod(shape) * dtype.itemsize
    memory = np.empty(size + _ALIGNED, np.uint8)
    start = -address(memory) % _ALIGNED
    return memory[start : start + size].view(dtype).reshape(shape)


def is_aligned(array: np.ndarray) -> bool:
    """Whether XLA takes the array as it is."""
    return array.flags.c_contiguous and address(array) % _ALIGNED == 0


class Views(dict[int, np.ndarray]):
    """Vectors of one size and type as NumPy sees them, by their address. To be looked at while they
    are there. Few are kept, for XLA updates in place."""

    def __init__(self, size: int, dtype: np.dtype):
        """For so many elements."""
        self._type = ctypes.c_char * (size * dtype.itemsize)
        self._dtype = dtype

    def __missing__(self, start: int) -> np.ndarray:
        if len(self) >= _MOST_VIEWS:
            self.clear()
        seen = self[start] = np.frombuffer(memoryview(self._type.from_address(start)), self._dtype)
        return seen


def address(array: np.ndarray) -> int:
    """Where the array begins."""
    return array.__array_interface__["data"][0]


def cores() -> int:
    """How many threads XLA computes with."""
    try:
        return int(os.environ.get("NPROC", "")) or len(os.sched_getaffinity(0))
    except (ValueError, AttributeError):
        return os.cpu_count() or 1


def keep_freed_memory() -> None:
    """Ask glibc to keep what is freed: to map those pages again costs more than the arithmetic of a
    middling network. And to go without fastbins, which each larger allocation has to empty: a step
    of a small model is many allocations. On one core all threads share what is free. It acts on the
    whole process."""
    library = _glibc()
    if library is not None:
        largest_fast, trim_threshold, mmap_max, arena_max = 1, -1, -4, -8  # <malloc.h>
        library.mallopt(mmap_max, 0)
        library.mallopt(trim_threshold, 2**31 - 1)
        if cores() == 1:  # several threads would wait for each other
            library.mallopt(arena_max, 1)
        library.mallopt(largest_fast, 0)


def give_back() -> None:
    """Give the system the pages of what was kept so far."""
    library = _glibc()
    if library is not None:
        library.malloc_trim(0)


@cache
def _glibc() -> Any:
    """The C library, if it is glibc and its allocator may be told what to do."""
    if sys.platform != "linux" or os.environ.get("HEADRACE_MALLOC") == "system":
        return None
    try:
        library = ctypes.CDLL("libc.so.6")
        return library if library.mallopt and library.malloc_trim else None
    except (OSError, AttributeError):
        return None
