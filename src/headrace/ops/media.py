"""Pixels as PNG and samples as WAV: the files that summaries carry."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

import numpy as np

# -- PNG (ISO/IEC 15948) ---------------------------------------------------------------------------

_COLOR_TYPES = {1: 0, 2: 4, 3: 2, 4: 6}  # channels -> grey, grey and alpha, RGB, RGB and alpha


def encode_png(pixels: np.ndarray) -> bytes:
    """A PNG file of uint8 pixels [h, w, c], c = 1 (grey), 2, 3 (RGB) or 4 (RGB and alpha)."""
    height, width, channels = pixels.shape
    header = struct.pack(">IIBBBBB", width, height, 8, _COLOR_TYPES[channels], 0, 0, 0)
    rows = _filtered(np.ascontiguousarray(pixels).reshape(height, width * channels), channels)
    packer = zlib.compressobj(-1, zlib.DEFLATED, _window(rows.size), 9, zlib.Z_FILTERED)
    data = _with_least_window(packer.compress(rows.tobytes()) + packer.flush(), rows.size)
    parts = [data[i : i + 8192] for i in range(0, len(data), 8192)]
    chunks = [_chunk(b"IHDR", header), *(_chunk(b"IDAT", p) for p in parts), _chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(chunks)


def _chunk(kind: bytes, data: bytes) -> bytes:
    checksum = zlib.crc32(kind + data)
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", checksum)


def _filtered(rows: np.ndarray, step: int) -> np.ndarray:
    """Each row less what is predicted of it, by the filter that leaves least; its number first.

    Least is the sum of absolute differences; the filter of the lower number wins a draw. These
    are libpng's choices, so that the files are TensorFlow's to the byte where the zlibs agree.
    """
    height, size = rows.shape
    best = np.empty((height, size + 1), np.uint8)
    least = np.full(height, np.iinfo(np.int64).max)
    for number, predicted in _predictions(rows, step):
        left_over = rows - predicted
        cost = np.minimum(left_over, -left_over).sum(axis=1, dtype=np.int64)
        better = cost < least
        best[better, 0] = number
        best[better, 1:] = left_over[better]
        least = np.minimum(cost, least)
    return best


def _predictions(rows: np.ndarray, step: int) -> Iterator[tuple[int, np.ndarray]]:
    """(number of the filter, what it predicts): nothing, left, above, their mean, Paeth's."""
    height, size = rows.shape
    left, above, corner = np.zeros_like(rows), np.zeros_like(rows), np.zeros_like(rows)
    left[:, step:] = rows[:, :-step]
    above[1:] = rows[:-1]
    corner[1:, step:] = rows[:-1, :-step]
    yield 0, np.zeros_like(rows)
    if size > step:
        yield 1, left
    if height > 1:
        yield 2, above
    if size > step and height > 1:
        a, b, c = (x.astype(np.int16) for x in (left, above, corner))
        yield 3, ((a + b) // 2).astype(np.uint8)
        to_a, to_b, to_c = abs(b - c), abs(a - c), abs(a + b - 2 * c)
        nearest = np.where((to_a <= to_b) & (to_a <= to_c), a, np.where(to_b <= to_c, b, c))
        yield 4, nearest.astype(np.uint8)


def _window(size: int) -> int:
    """The bits of zlib's window that `size` bytes need."""
    bits = 15
    while bits > 9 and size + 262 <= 1 << (bits - 1):
        bits -= 1
    return bits


def _with_least_window(data: bytes, size: int) -> bytes:
    """A zlib stream whose header asks its reader for no more window than `size` bytes fill."""
    bits = data[0] >> 4
    while bits > 0 and size <= 1 << (bits + 7):
        bits -= 1
    first, flags = bits << 4 | 8, data[1] & 0xE0
    flags += 31 - (first << 8 | flags) % 31
    return bytes([first, flags]) + data[2:]


# -- WAV -------------------------------------------------------------------------------------------


def encode_wav(samples: np.ndarray, rate: int) -> bytes:
    """A WAV file, 16-bit PCM, of samples [frames, channels] in [-1, 1], `rate` frames a second."""
    channels = samples.shape[1]
    scaled = samples.astype(np.float64) * 32768
    rounded = np.copysign(np.floor(np.abs(scaled) + 0.5), scaled)  # halves away from zero
    data = np.nan_to_num(np.clip(rounded, -32768, 32767)).astype("<i2").tobytes()
    header = struct.pack(
        "<4sI4s4sIHHIIHH4sI", b"RIFF", 36 + len(data), b"WAVE",
        b"fmt ", 16, 1, channels, rate, rate * 2 * channels, 2 * channels, 16,
        b"data", len(data),
    )  # fmt: skip
    return header + data
