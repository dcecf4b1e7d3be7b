"""The sorted table (leveldb's format) that indexes a checkpoint: keys in order, to values.

    block*  metaindex block  index block  footer
    block   = entry*, uint32 restart offsets, uint32 their number; then a byte for its compression
              and the masked CRC32C of all that
    entry   = varint: bytes shared with the key before, bytes of key that follow, bytes of value;
              the key's rest; the value
    footer  = handle of metaindex, handle of index (varint offset and size), zeros up to 40 bytes,
              the magic number

The index block has for each block a key not before its last and not after the next one's first.
"""

from __future__ import annotations

import struct
from bisect import bisect_left
from collections.abc import Iterable, Iterator
from typing import Any, BinaryIO

import google_crc32c

from headrace.errors import DataLossError

_MAGIC = 0xDB4775248B80FB57
_FOOTER = 48
_TRAILER = 5
_BLOCK_SIZE = 1 << 18  # the sizes that TensorFlow writes, so that equal contents are equal files
_RESTART_INTERVAL = 16
_UNCOMPRESSED, _SNAPPY = 0, 1
_BYTES = [bytes([n]) for n in range(0x80)]


def mask(crc: int) -> int:
    """A CRC as it is stored, so that the CRC of bytes that hold one stays meaningful."""
    return ((crc >> 15 | crc << 17) + 0xA282EAD8) & 0xFFFFFFFF


def varint(n: int) -> bytes:
    """A number, 7 bits a byte, the lowest first; the top bit says that more follow."""
    if n < 0x80:
        return _BYTES[n]
    out = bytearray()
    while n >= 0x80:
        out.append(n & 0x7F | 0x80)
        n >>= 7
    out.append(n)
    return bytes(out)


def read_varint(data: Any, at: int) -> tuple[int, int]:
    """The number that starts at a place, and the place behind it. IndexError if it is cut off."""
    n = shift = 0
    while True:
        byte = data[at]
        at += 1
        n |= (byte & 0x7F) << shift
        if byte < 0x80:
            return n, at
        shift += 7
        if shift > 63:
            raise IndexError("a varint of more than 10 bytes")


# -- writing ---------------------------------------------------------------------------------------


class _Block:
    def __init__(self, restart_interval: int):
        self.interval = restart_interval
        self.data = bytearray()
        self.restarts = [0]
        self.since_restart = 0
        self.last = b""

    def add(self, key: bytes, value: bytes) -> None:
        shared = 0
        if self.since_restart < self.interval:
            shared = _shared(self.last, key)
        else:
            self.restarts.append(len(self.data))
            self.since_restart = 0
        rest = key[shared:]
        self.data += varint(shared) + varint(len(rest)) + varint(len(value)) + rest + value
        self.last = key
        self.since_restart += 1

    def size(self) -> int:
        return len(self.data) + 4 * len(self.restarts) + 4

    def finish(self) -> bytes:
        numbers = (*self.restarts, len(self.restarts))
        return bytes(self.data) + struct.pack(f"<{len(numbers)}I", *numbers)


def write_table(items: Iterable[tuple[bytes, bytes]]) -> bytes:
    """The table of (key, value) pairs in strictly growing order of keys."""
    out = bytearray()

    def write(block: _Block) -> bytes:
        body = block.finish() + bytes([_UNCOMPRESSED])
        handle = varint(len(out)) + varint(len(body) - 1)
        out.extend(body + struct.pack("<I", mask(google_crc32c.value(body))))
        return handle

    block, index = _Block(_RESTART_INTERVAL), _Block(1)
    handle: bytes | None = None  # of a block that has no entry in the index yet
    for key, value in items:
        if block.data and len(key) + len(value) >= 2 * _BLOCK_SIZE:
            handle, last, block = write(block), block.last, _Block(_RESTART_INTERVAL)
        if handle is not None:
            index.add(_between(last, key), handle)
            handle = None
        block.add(key, value)
        if block.size() >= _BLOCK_SIZE:
            handle, last, block = write(block), block.last, _Block(_RESTART_INTERVAL)
    if block.data:
        handle, last = write(block), block.last
    metaindex = write(_Block(1))
    if handle is not None:
        index.add(_after(last), handle)
    handles = metaindex + write(index)
    return bytes(out) + handles.ljust(_FOOTER - 8, b"\0") + struct.pack("<Q", _MAGIC)


def _shared(a: bytes, b: bytes) -> int:
    n = min(len(a), len(b))
    differing = int.from_bytes(a[:n]) ^ int.from_bytes(b[:n])
    return n - (differing.bit_length() + 7) // 8


def _between(last: bytes, following: bytes) -> bytes:
    """A short key that is not before `last` and is before `following`."""
    i = _shared(last, following)
    if i < min(len(last), len(following)) and last[i] + 1 < following[i]:
        return last[:i] + bytes([last[i] + 1])
    return last


def _after(last: bytes) -> bytes:
    """A short key that is not before `last`."""
    for i, byte in enumerate(last):
        if byte != 0xFF:
            return last[:i] + bytes([byte + 1])
    return last


# -- reading ---------------------------------------------------------------------------------------


class Table:
    """A table in an open file, read block by block. DataLossError for what is not as it must be."""

    def __init__(self, file: BinaryIO, path: str):
        self._file = file
        self._path = path
        self._size = file.seek(0, 2)
        if self._size < _FOOTER:
            raise self._broken("file is too short to be an sstable")
        footer = self._pread(self._size - _FOOTER, _FOOTER)
        if struct.unpack("<Q", footer[-8:])[0] != _MAGIC:
            raise self._broken("not an sstable (bad magic number)")
        try:
            at = 0
            for _ in range(2):  # the handle of metaindex, which is not needed, then that of index
                offset, at = read_varint(footer, at)
                size, at = read_varint(footer, at)
            self._blocks: list[tuple[bytes, int, int]] = []
            for key, handle in self._entries(offset, size):
                offset, at = read_varint(handle, 0)
                self._blocks.append((key, offset, read_varint(handle, at)[0]))
        except IndexError:
            raise self._broken("bad block handle") from None

    def __iter__(self) -> Iterator[tuple[bytes, bytes]]:
        last: bytes | None = None
        for _, offset, size in self._blocks:
            for key, value in self._entries(offset, size):
                if last is not None and key <= last:
                    raise self._broken("keys are out of order")
                last = key
                yield key, value

    def get(self, key: bytes) -> bytes | None:
        """The value of a key; None if it is not there."""
        i = bisect_left(self._blocks, (key,))
        if i == len(self._blocks):
            return None
        _, offset, size = self._blocks[i]
        return next((v for k, v in self._entries(offset, size) if k == key), None)

    def _entries(self, offset: int, size: int) -> Iterator[tuple[bytes, bytes]]:
        block = self._block(offset, size)
        try:
            yield from _entries(block)
        except IndexError as error:
            raise self._broken(f"bad entry in block: {error}") from None

    def _block(self, offset: int, size: int) -> bytes:
        if offset + size + _TRAILER > self._size:
            raise self._broken("truncated block read")
        raw = self._pread(offset, size + _TRAILER)
        body, (crc,) = raw[:-4], struct.unpack("<I", raw[-4:])
        if mask(google_crc32c.value(body)) != crc:
            raise self._broken("block checksum mismatch")
        if body[-1] == _SNAPPY:
            try:
                return unsnap(body[:-1])
            except (IndexError, ValueError) as error:
                raise self._broken(f"corrupted compressed block contents: {error}") from None
        if body[-1] != _UNCOMPRESSED:
            raise self._broken("bad block type")
        return body[:-1]

    def _pread(self, offset: int, size: int) -> bytes:
        self._file.seek(offset)
        data = self._file.read(size)
        if len(data) < size:
            raise self._broken("truncated block read")
        return data

    def _broken(self, why: str) -> DataLossError:
        return DataLossError(
            None,
            None,
            f"Unable to read file ({self._path}). Perhaps the file is corrupt or was produced by a "
            f"newer version of TensorFlow with format changes: {why}",
        )


def _entries(block: bytes) -> Iterator[tuple[bytes, bytes]]:
    """Keys and values of a block. IndexError if they are not within it."""
    if len(block) < 4:
        raise IndexError("no restart points")
    (restarts,) = struct.unpack("<I", block[-4:])
    end = len(block) - 4 - 4 * restarts
    if end < 0:
        raise IndexError("too many restart points")
    at, key, keys = 0, b"", 0
    while at < end:
        if block[at] < 0x80 and block[at + 1] < 0x80 and block[at + 2] < 0x80:
            shared, rest, size = block[at : at + 3]
            at += 3
        else:
            shared, at = read_varint(block, at)
            rest, at = read_varint(block, at)
            size, at = read_varint(block, at)
        if shared > len(key) or at + rest + size > end:
            raise IndexError("lengths are out of bounds")
        key = key[:shared] + block[at : at + rest]
        at += rest
        keys += len(key)
        if keys > 64 * len(block):  # a small block could stand for any number of long keys
            raise IndexError("keys are too long")
        yield key, block[at : at + size]
        at += size


def unsnap(data: bytes) -> bytes:
    """Bytes that Snappy compressed. IndexError or ValueError if they are none."""
    size, at = read_varint(data, 0)
    if size > 64 * len(data):  # three bytes stand for at most 64
        raise ValueError("the length is out of bounds")
    out = bytearray()
    while at < len(data):
        tag = data[at]
        at += 1
        kind, length = tag & 3, (tag >> 2) + 1
        if kind == 0:
            if length > 60:
                wide = length - 60
                length = int.from_bytes(data[at : at + wide], "little") + 1
                at += wide
            if at + length > len(data):
                raise IndexError("a literal is cut off")
            out += data[at : at + length]
            at += length
        else:
            if kind == 1:
                length, offset = (tag >> 2 & 7) + 4, tag >> 5 << 8 | data[at]
                at += 1
            else:
                wide = 2 if kind == 2 else 4
                offset = int.from_bytes(data[at : at + wide], "little")
                at += wide
            if not 0 < offset <= len(out):
                raise IndexError("a copy from before the start")
            if len(out) + length > size:
                raise ValueError("more than the length says")
            start = len(out) - offset
            piece = bytes(out[start : start + length])
            out += (piece * (length // offset + 1))[:length]  # it may overlap what it makes
    if len(out) != size:
        raise ValueError("not the length that it says")
    return bytes(out)
