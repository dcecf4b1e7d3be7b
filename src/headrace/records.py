"""Records in a file: how event files and TFRecord files are framed.

Each is its length (8 bytes), the checksum of that (4), the data, the checksum of the data (4), all
little-endian. A checksum is a masked CRC-32C. The file may be compressed as a whole.
"""

from __future__ import annotations

import io
import os
import struct
import zlib
from collections.abc import Iterator
from typing import Any, BinaryIO

import google_crc32c

from headrace import errors
from headrace.bundle.files import os_errors
from headrace.bundle.table import mask

_HEAD = 12  # bytes before the data
_TAIL = 4
_PIECE = 1 << 16  # bytes taken from a compressed file at a time
_LARGE = 1 << 26  # bytes taken at once from a file that may have fewer
_EITHER = 47  # zlib's word for: a gzip or a zlib header, whichever is there


def masked_crc32c(data: bytes) -> int:
    """The CRC-32C (Castagnoli) of the data, as it is stored."""
    return mask(google_crc32c.value(data))


def framed(data: bytes) -> bytes:
    """The data as a record."""
    size = struct.pack("<Q", len(data))
    ends = struct.pack("<I", masked_crc32c(size)), struct.pack("<I", masked_crc32c(data))
    return b"".join((size, ends[0], data, ends[1]))


def open_file(path: str, compression: str = "") -> BinaryIO:
    """A file opened for reading; `compression` is "", "ZLIB" or "GZIP".

    DataLossError while reading if it is not compressed like that.
    """
    if compression not in ("", "ZLIB", "GZIP"):
        raise ValueError(f"A file is compressed as '', 'ZLIB' or 'GZIP', not {compression!r}.")
    with os_errors(path):
        file = open(path, "rb")  # noqa: SIM115
    return io.BufferedReader(_Inflated(file, path)) if compression else file


class _Inflated(io.RawIOBase):
    """What a compressed file holds, from the first byte to the last."""

    def __init__(self, file: BinaryIO, path: str):
        super().__init__()
        self._file, self._path = file, path
        self._inflate = zlib.decompressobj(_EITHER)
        self._waiting = b""
        self._begun = False

    def readable(self) -> bool:
        """That it is for reading."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill a buffer as far as one step goes; 0 at the end."""
        room = memoryview(buffer).cast("B")
        while True:
            try:
                found = self._inflate.decompress(self._waiting, len(room))
            except zlib.error as error:
                raise self._lost(f"it is not compressed, or broken: {error}") from None
            self._waiting = self._inflate.unconsumed_tail
            if self._inflate.eof:  # another may follow
                self._waiting = self._inflate.unused_data
                self._inflate = zlib.decompressobj(_EITHER)
                self._begun = bool(self._waiting)
            if found:
                room[: len(found)] = found
                return len(found)
            if not self._waiting:
                with os_errors(self._path):
                    self._waiting = self._file.read(_PIECE)
                if not self._waiting:
                    if self._begun:
                        raise self._lost("what is compressed is cut off")
                    return 0
                self._begun = True

    def _lost(self, what: str) -> errors.DataLossError:
        return errors.DataLossError(None, None, f"{self._path}: {what}")

    def close(self) -> None:
        """Close the file."""
        self._file.close()
        super().close()


class RecordIterator(Iterator[bytes]):
    """The data of the records of a file, in order.

    At the end it stops, and goes on when the file has grown. DataLossError for a record that is
    cut off or broken; it stays in front of that.
    """

    def __init__(self, path: Any, compression: str = ""):
        self.path = os.fspath(path)
        self.offset = 0  # of the next record, in what is not compressed
        self._compressed = bool(compression)
        self._file = open_file(self.path, compression)

    def __next__(self) -> bytes:
        at = self.offset
        with os_errors(self.path):
            if not self._compressed:
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
            if not self._compressed:
                end = os.fstat(self._file.fileno()).st_size
                if at + _HEAD + size + _TAIL > end:
                    raise self._lost("truncated record at", at)
            data, tail = self._take(size), self._file.read(_TAIL)
        if len(data) + len(tail) < size + _TAIL:
            raise self._lost("truncated record at", at)
        if masked_crc32c(data) != struct.unpack("<I", tail)[0]:
            raise self._lost("corrupted record at", at)
        self.offset = at + _HEAD + size + _TAIL
        return data

    def _take(self, size: int) -> bytes:
        """So many bytes, or those that are left; no room is made for what is not there."""
        pieces = []
        while size:
            piece = self._file.read(min(size, _LARGE))
            if not piece:
                break
            pieces.append(piece)
            size -= len(piece)
        return pieces[0] if len(pieces) == 1 else b"".join(pieces)

    def _lost(self, what: str, at: int, hint: str = "") -> errors.DataLossError:
        return errors.DataLossError(None, None, f"{self.path}: {what} {at}{hint}")

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def __del__(self) -> None:
        if hasattr(self, "_file"):
            self._file.close()
