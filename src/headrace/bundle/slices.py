"""Slices of tensors, as partitioned variables are saved: a box in the shape of the whole.

A box has an extent (start, length) for each axis; a length of -1 stands for the whole axis. A
checkpoint keeps each part under a key that orders names, then boxes.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from headrace.errors import InvalidArgumentError

Box = tuple[tuple[int, int], ...]
WHOLE = (0, -1)


def parse_spec(spec: str) -> tuple[tuple[int, ...], Box]:
    """Shape and box of a spec such as `5 2 0,3:-` (sizes, then start,length or - an axis).

    InvalidArgumentError if it is none.
    """
    *sizes, extents = spec.split(" ")
    if not sizes:
        raise _refuse(f"Need least two elements in shape_and_slice specification: {spec}")
    try:
        shape = tuple(int(s) for s in sizes)
    except ValueError:
        raise _refuse(f"Non numerical dimension in shape_and_slice: {spec}") from None
    box = []
    for extent in extents.split(":"):
        try:
            start, length = WHOLE if extent == "-" else map(int, extent.split(","))
        except ValueError:
            raise _refuse(
                f"Expected a pair of numbers or '-' but got '{extent}': string = {extents}"
            ) from None
        if extent != "-" and (start < 0 or length <= 0):
            raise _refuse(
                "Expected non-negative start and positive length but got start = "
                f"{start}, length = {length}: string = {extents}"
            )
        box.append((start, length))
    within(tuple(box), shape)
    return shape, tuple(box)


def within(box: Box, shape: Sequence[int]) -> Box:
    """The box with its lengths filled in. InvalidArgumentError if it is not inside the shape."""
    if len(box) != len(shape):
        raise _refuse(
            f"Mismatching ranks: shape = {list(shape)}, slice = {show(box)}: a slice has an extent "
            "for each dimension"
        )
    filled = tuple((0, n) if length < 0 else (start, length) for (start, length), n in
                   zip(box, shape, strict=True))  # fmt: skip
    if any(start < 0 or start + length > n for (start, length), n in zip(filled, shape)):  # noqa: B905
        raise _refuse(f"Extent in slice {show(box)} is out of bounds: shape = {list(shape)}")
    return filled


def shape_of(box: Box) -> tuple[int, ...]:
    """The shape of a box with lengths filled in."""
    return tuple(length for _, length in box)


def index(box: Box, origin: Box | None = None) -> tuple[slice, ...]:
    """A NumPy index of a box with lengths filled in; within `origin`, if it is given."""
    starts = [0] * len(box) if origin is None else [start for start, _ in origin]
    return tuple(slice(a - o, a - o + n) for (a, n), o in zip(box, starts, strict=True))


def intersection(a: Box, b: Box) -> Box | None:
    """What two boxes share; None if nothing."""
    box = []
    for (i, m), (j, n) in zip(a, b, strict=True):
        start, stop = max(i, j), min(i + m, j + n)
        if stop <= start:
            return None
        box.append((start, stop - start))
    return tuple(box)


def overlap(boxes: Sequence[Box]) -> bool:
    """Whether any two boxes share something."""
    if not boxes or not boxes[0]:
        return len(boxes) > 1
    edges = np.array(boxes, np.int64)  # [n, axes, 2]
    starts, stops = edges[..., 0], edges.sum(-1)
    return any(
        ((starts[i] < stops[i + 1 :]) & (starts[i + 1 :] < stops[i])).all(-1).any()
        for i in range(len(boxes) - 1)
    )


def show(box: Box) -> str:
    """The box as in a spec."""
    return ":".join("-" if length < 0 else f"{start},{length}" for start, length in box)


def from_proto(proto: Any) -> Box:
    """The box of a TensorSliceProto."""
    return tuple((e.start, e.length) if e.HasField("length") else WHOLE for e in proto.extent)


def fill_proto(proto: Any, box: Box) -> None:
    """Write a box into a TensorSliceProto."""
    for start, length in box:
        extent = proto.extent.add()
        if length >= 0:
            extent.start, extent.length = start, length


# -- keys ------------------------------------------------------------------------------------------


def slice_key(name: bytes, box: Box) -> bytes:
    """The key of a part: the order of keys is that of names, ranks, starts and lengths."""
    key = _number(0) + _string(name) + _number(len(box))
    for start, length in box:
        key += _signed(start) + _signed(length)
    return key


def _string(text: bytes) -> bytes:
    """Its bytes, then 0 1; a 0 among them is written 0 255, and a 255 is 255 0."""
    return re.sub(rb"[\0\xff]", lambda m: m[0] + bytes([m[0][0] ^ 0xFF]), text) + b"\0\1"


def _number(n: int) -> bytes:
    """Its length in bytes, then its bytes, highest first."""
    size = (n.bit_length() + 7) // 8
    return bytes([size]) + n.to_bytes(size, "big")


def _signed(n: int) -> bytes:
    """n bytes hold [-2^(7n-1), 2^(7n-1)): n times the sign bit's contrary, then the number."""
    size = ((~n if n < 0 else n).bit_length() + 7) // 7
    header = (1 << size) - 1 << 7 * size  # n ones, highest first, over the 7n bits of the number
    return ((n & (1 << 8 * size) - 1) ^ header).to_bytes(size, "big")


def _refuse(message: str) -> InvalidArgumentError:
    return InvalidArgumentError(None, None, message)
