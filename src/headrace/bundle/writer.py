"""Writing a checkpoint: values straight from the arrays' memory to the disk, then the index."""

from __future__ import annotations

import os
import struct
from collections.abc import Sequence
from functools import lru_cache
from typing import Any

import google_crc32c
import numpy as np

from headrace.bundle import files, slices
from headrace.bundle.protos import message
from headrace.bundle.reader import BundleReader
from headrace.bundle.slices import Box
from headrace.bundle.table import mask, varint, write_table
from headrace.dtypes import DType, as_dtype
from headrace.errors import InvalidArgumentError, UnimplementedError

_CHUNK = 1 << 20  # bytes checksummed, then written: so that they are read from memory once
_BUFFER = 1 << 20  # small arrays are gathered; a larger one is written from where it is
_SYNCED = 1 << 23  # bytes after which the disk begins to write them
_VERSION = 1


class BundleWriter:
    """A checkpoint in the making, of one data file. Nothing is there before `finish`.

    As a context manager it leaves nothing behind if it was not finished. Errors of `tf.errors`.
    """

    def __init__(self, prefix: str):
        self._prefix = prefix
        self._path = files.temporary_name(files.data_name(prefix, 0, 1))
        self._entries: dict[bytes, Any] = {}  # serialized; of a tensor in parts its proto
        self._offset = 0
        self._written = self._synced = 0  # bytes, as far as the buffer has let them go
        parent = os.path.dirname(prefix)
        with files.os_errors(self._path):
            if parent and not os.path.isdir(parent):
                os.mkdir(parent)
            self._file = open(self._path, "xb", buffering=_BUFFER)  # noqa: SIM115

    def __enter__(self) -> BundleWriter:
        return self

    def __exit__(self, *_: Any) -> None:
        if not self._file.closed:
            try:
                self._file.close()
            except OSError:  # it wanted to write what is left
                pass
            finally:
                files.remove(self._path)

    def add(self, name: str, array: np.ndarray) -> None:
        """Write a tensor. InvalidArgumentError if the name is there already."""
        self._add(_encode(name), array)

    def add_slice(self, name: str, shape: Sequence[int], box: Box, array: np.ndarray) -> None:
        """Write a part of the tensor `name` of `shape`: `array`, which lies there at `box`."""
        filled = slices.within(box, shape)
        if slices.shape_of(filled) != np.shape(array):
            raise InvalidArgumentError(
                None,
                None,
                "Slice in shape_and_slice specification does not match the shape of the tensor to "
                f"save: {slices.show(box)} of {list(shape)}, tensor: {list(np.shape(array))}",
            )
        if slices.shape_of(filled) == tuple(shape):
            self.add(name, array)
            return
        key = _encode(name)
        entry = self._entries.get(key)
        if entry is None:
            start = _start_of_entry(as_dtype(array.dtype), tuple(shape))
            entry = self._entries[key] = message("BundleEntryProto").FromString(start)
        elif isinstance(entry, bytes) or (entry.dtype, _sizes(entry)) != (
            as_dtype(array.dtype).as_datatype_enum, tuple(shape),
        ):  # fmt: skip
            raise InvalidArgumentError(None, None, f"Parts of {name} are of different tensors.")
        slices.fill_proto(entry.slices.add(), box)
        self._add(slices.slice_key(key, box), array)

    def finish(self) -> None:
        """Make it the checkpoint of its prefix; what was there before is replaced at once."""
        with files.os_errors(self._path):
            files.sync(self._file)
            self._file.close()
            try:
                files.install(self._prefix, [self._path], lambda n: _index(self._entries, n))
            finally:
                files.remove(self._path)

    def _add(self, key: bytes, array: np.ndarray) -> None:
        if key in self._entries:
            raise InvalidArgumentError(None, None, f"Adding duplicate key: {key.decode()}")
        dtype = as_dtype(array.dtype)
        with files.os_errors(self._path):
            size, crc = self._write(dtype, array)
        self._entries[key] = _start_of_entry(dtype, array.shape) + _rest_of_entry(
            self._offset, size, mask(crc)
        )
        self._offset += size

    def _write(self, dtype: DType, array: np.ndarray) -> tuple[int, int]:
        """Bytes written, and their CRC."""
        if dtype.kind == "S":
            return self._write_strings(array)
        if dtype.kind == "X":
            raise UnimplementedError(None, None, f"Cannot save a tensor of type {dtype.name}.")
        data = np.ascontiguousarray(array).reshape(-1).view(np.uint8)
        crc = 0
        for start in range(0, data.size, _CHUNK):
            chunk = data[start : start + _CHUNK]
            crc = google_crc32c.extend(crc, chunk)
            self._put(chunk)
        return data.size, crc

    def _put(self, data: Any) -> None:
        self._written += self._file.write(data)
        if self._written - self._synced >= _SYNCED:
            start = max(0, self._synced - _BUFFER)  # what was in the buffer then
            files.start_sync(self._file, start, self._written - start)
            self._synced = self._written

    def _write_strings(self, array: np.ndarray) -> tuple[int, int]:
        """Lengths as varints, a checksum of the lengths, the strings.

        The checksums take a length as 4 bytes (8 if it needs them), not as it is written.
        """
        strings: list[bytes] = array.ravel().tolist()
        lengths = [len(s) for s in strings]
        crc = google_crc32c.value(
            b"".join(struct.pack("<I" if n < 1 << 32 else "<Q", n) for n in lengths)
        )
        head = b"".join(map(varint, lengths))
        check = struct.pack("<I", mask(crc))
        body = b"".join(strings)
        self._put(head + check)
        self._put(body)
        crc = google_crc32c.extend(google_crc32c.extend(crc, check), body)
        return len(head) + len(check) + len(body), crc


def merge(prefixes: Sequence[str], merged_prefix: str) -> None:
    """Make one checkpoint of several, each of which had its own part of the tensors.

    The parts are gone then. InvalidArgumentError if a tensor is in two of them.
    """
    entries: dict[bytes, Any] = {}
    shard_of: dict[str, int] = {}
    for prefix in prefixes:
        with BundleReader(prefix) as reader:
            for key, entry in reader.entries():
                known = entries.get(key)
                if known is not None:
                    if not known.slices or not entry.slices:
                        raise InvalidArgumentError(
                            None,
                            None,
                            f"Duplicate tensor keyed by {key.decode(errors='replace')} "
                            f"encountered, when merging prefix: {prefix}",
                        )
                    known.slices.extend(entry.slices)
                    continue
                if not entry.slices:
                    path = files.data_name(prefix, entry.shard_id, reader.shards)
                    entry.shard_id = shard_of.setdefault(path, len(shard_of))
                entries[key] = entry
    with files.os_errors(merged_prefix):
        parent = os.path.dirname(merged_prefix)
        if parent and not os.path.isdir(parent):
            os.mkdir(parent)
        files.install(merged_prefix, list(shard_of), lambda n: _index(entries, n))
    for prefix in prefixes:
        files.remove(files.index_name(prefix))


def _index(entries: dict[bytes, Any], shards: int) -> bytes:
    header = message("BundleHeaderProto")(num_shards=shards)
    header.version.producer = _VERSION
    rows = [
        (key, entry if isinstance(entry, bytes) else entry.SerializeToString())
        for key, entry in sorted(entries.items())
    ]
    return write_table([(b"", header.SerializeToString()), *rows])


@lru_cache(1000)
def _start_of_entry(dtype: DType, shape: tuple[int, ...]) -> bytes:
    """The fields of a serialized BundleEntryProto that tensors have in common."""
    sizes = {"dim": [{"size": size} for size in shape]}
    made = message("BundleEntryProto")(dtype=dtype.as_datatype_enum, shape=sizes)
    return made.SerializeToString()


def _rest_of_entry(offset: int, size: int, crc32c: int) -> bytes:
    """The fields that follow, of the first shard: as protobuf writes them, without zeros. By hand,
    for see `entries_together`."""
    made = b""
    if offset:
        made += b"\x20" + varint(offset)
    if size:
        made += b"\x28" + varint(size)
    if crc32c:
        made += b"\x35" + struct.pack("<I", crc32c)
    return made


def _sizes(entry: Any) -> tuple[int, ...]:
    return tuple(d.size for d in entry.shape.dim)


def _encode(name: str) -> bytes:
    key = name.encode("utf-8", "surrogateescape")
    if not key:
        raise InvalidArgumentError(None, None, "A saved tensor must have a name.")
    return key
