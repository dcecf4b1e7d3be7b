"""Memory that NumPy and XLA share on a CPU: what is aligned, XLA takes as it is."""

from __future__ import annotations

import ctypes
import math
from collections.abc import Sequence
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
