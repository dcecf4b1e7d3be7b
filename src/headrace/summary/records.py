"""Records in a file: how event files and TFRecord files are framed.

Each is its length (8 bytes), the checksum of that (4), the data, the checksum of the data (4), all
little-endian. A checksum is a masked CRC-32C.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from typing import Any

import google_crc32c

from headrace import errors
from headrace.bundle.files import os_errors
from headrace.bundle.table import mask

_HEAD = 12  # bytes before the data
_TAIL = 4


def masked_crc32c(data: bytes) -> int:
    """The CRC-32C (Castagnoli) of the data, as it is stored."""
    return mask(google_crc32c.value(data))


def framed(data: bytes) -> bytes:
    """The data as a record."""
    size = struct.pack("<Q", len(data))
    ends = struct.pack("<I", masked_crc32c(size)), struct.pack("<I", masked_crc32c(data))
    return b"".join((size, ends[0], data, ends[1]))


class RecordIterator(Iterator[bytes]):
    """The data of the records of a file, in order.

    At the end it stops, and goes on when the file has grown. DataLossError for a record that is
    cut off or broken; it stays in front of that.
    """

    def __init__(self, path: Any):
        self.path = os.fspath(path)
        self._offset = 0
        with os_errors(self.path):
            self._file = open(self.path, "rb")  # noqa: SIM115

    def __next__(self) -> bytes:
        at = self._offset
        with os_errors(self.path):
            self._file.seek(at)
            head = self._file.read(_HEAD)
            if not head:
                raise StopIteration
            if len(head) < _HEAD:
                raise self._lost("truncated record at", at)
            size, crc = struct.unpack("<QI", head)
            if masked_crc32c(head[:8]) != crc:
                hint = "" if at else " (Is this even a TFRecord file?)"
                raise self._lost("corrupted record at", at, hint)
            if at + _HEAD + size + _TAIL > os.fstat(self._file.fileno()).st_size:
                raise self._lost("truncated record at", at)
            data, tail = self._file.read(size), self._file.read(_TAIL)
        if len(data) + len(tail) < size + _TAIL:
            raise self._lost("truncated record at", at)
        if masked_crc32c(data) != struct.unpack("<I", tail)[0]:
            raise self._lost("corrupted record at", at)
        self._offset = at + _HEAD + size + _TAIL
        return data

    def _lost(self, what: str, at: int, hint: str = "") -> errors.DataLossError:
        return errors.DataLossError(None, None, f"{self.path}: {what} {at}{hint}")

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __del__(self) -> None:
        if hasattr(self, "_file"):
            self._file.close()
