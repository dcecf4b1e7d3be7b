"""Reading a checkpoint, of this format or of the first one; every byte used is checked."""

from __future__ import annotations

import difflib
import math
import os
import struct
from collections.abc import Iterator, Sequence
from typing import Any, BinaryIO

import google_crc32c
import numpy as np

from headrace.bundle import files, slices
from headrace.bundle.protos import entries_together, message
from headrace.bundle.slices import Box
from headrace.bundle.table import Table, mask, read_varint
from headrace.dtypes import DType, as_dtype
from headrace.errors import (
    DataLossError,
    InvalidArgumentError,
    NotFoundError,
    UnimplementedError,
)

_CHUNK = 1 << 20  # bytes read, then checksummed: so that they come from memory once
_MOST_PARTS = 10_000
_MOST_AXES = 64  # NumPy's
_MOST_ELEMENTS = 1 << 58
_LISTED = 20  # names of a checkpoint that an error shows


class Reader:
    """A checkpoint that is read: what both formats share. A context manager that closes its files.

    NotFoundError if there is none, DataLossError if it is broken.
    """

    dtypes: dict[str, DType]
    shapes: dict[str, tuple[int, ...]]

    def __init__(self, prefix: str):
        self.prefix = prefix

    def __enter__(self) -> Any:
        return self

    def __exit__(self, *_: Any) -> None:
        self.close()

    def __del__(self) -> None:
        self.close()

    def close(self) -> None:
        """Close its files."""

    def names(self) -> list[str]:
        """The tensors in it, in order."""
        return sorted(self.shapes)

    def read(self, name: str) -> np.ndarray:
        """A tensor. NotFoundError if it is not there."""
        self._must_have(name)
        return self.read_slice(name, (slices.WHOLE,) * len(self.shapes[name]))

    def read_slice(self, name: str, box: Box) -> np.ndarray:
        """A part of a tensor, however it was cut when it was saved."""
        self._must_have(name)
        shape = self.shapes[name]
        wanted = slices.within(box, shape)
        parts = self._parts(name)
        filled = [_checked(self, name, part, shape) for part in parts]
        for part, place in zip(parts, filled, strict=True):
            if place == wanted:
                return self._read_part(name, part, slices.shape_of(place))
        shared = [(part, place, slices.intersection(place, wanted)) for part, place in
                  zip(parts, filled, strict=True)]  # fmt: skip
        covered = sum(math.prod(slices.shape_of(s)) for _, _, s in shared if s is not None)
        size = math.prod(slices.shape_of(wanted))
        if covered != size or len(parts) > _MOST_PARTS or slices.overlap(filled):
            raise InvalidArgumentError(
                None,
                None,
                f"Does not have sufficient slices for partitioned tensor {name} to restore in "
                f"slice_spec: {slices.show(box)}",
            )
        out = np.empty(slices.shape_of(wanted), self.dtypes[name].numpy)
        for part, place, both in shared:
            if both is not None:
                whole = self._read_part(name, part, slices.shape_of(place))
                out[slices.index(both, wanted)] = whole[slices.index(both, place)]
        return out

    def missing(self, names: Sequence[str]) -> NotFoundError:
        """The error for tensors that are not there: what is there, and what is nearest."""
        lines = [f"Key {names[0]} not found in checkpoint", f"{self.prefix} has:"]
        have = self.names()
        for name in have[:_LISTED]:
            lines.append(f"  {name}: {self.dtypes[name].name} {list(self.shapes[name])}")
        if len(have) > _LISTED:
            lines.append(f"  and {len(have) - _LISTED} more")
        if len(names) > 1:
            more = ", ".join(names[1:_LISTED]) + (", ..." if len(names) > _LISTED else "")
            lines.append(f"Not found either: {more}")
        for name in names[:_LISTED]:
            near = difflib.get_close_matches(name, have, 3, 0.5) if len(have) < 5000 else []
            if near:
                lines.append(f"Nearest to {name}: {', '.join(near)}")
        return NotFoundError(None, None, "\n".join(lines))

    def _must_have(self, name: str) -> None:
        if name not in self.shapes:
            raise self.missing([name])

    def _parts(self, name: str) -> list[Box]:
        raise NotImplementedError

    def _read_part(self, name: str, part: Box, shape: tuple[int, ...]) -> np.ndarray:
        raise NotImplementedError


def _checked(reader: Reader, name: str, part: Box, shape: tuple[int, ...]) -> Box:
    try:
        return slices.within(part, shape)
    except InvalidArgumentError as error:
        raise broken(reader.prefix, f"{name}: {error.message}") from None


def broken(where: str, why: str) -> DataLossError:
    """The error for a file that is not as it must be."""
    return DataLossError(None, None, f"Checkpoint {where} is broken: {why}")


def parse(where: str, kind: str, data: bytes) -> Any:
    """The message in some bytes. DataLossError if there is none."""
    from google.protobuf.message import DecodeError

    try:
        return message(kind).FromString(data)
    except DecodeError:
        raise broken(where, f"a {kind} is not parseable") from None


def shape_of(where: str, name: str, proto: Any) -> tuple[int, ...]:
    """The shape in a TensorShapeProto. DataLossError if no array can have it."""
    shape = tuple(d.size for d in proto.dim)
    if (
        proto.unknown_rank
        or any(n < 0 for n in shape)
        or len(shape) > _MOST_AXES
        or math.prod(max(n, 1) for n in shape) > _MOST_ELEMENTS
    ):
        raise broken(where, f"Invalid tensor shape: {name} {list(shape)}")
    return shape


def dtype_of(enum: int) -> DType:
    """The type that a file names. UnimplementedError if it is not known here."""
    try:
        return as_dtype(enum)
    except TypeError:
        raise UnimplementedError(
            None, None, f"Data type {enum} of TensorFlow's DataType is not supported."
        ) from None


class BundleReader(Reader):
    """A checkpoint of the second format: `prefix.index` and `prefix.data-...-of-...`."""

    def __init__(self, prefix: str):
        super().__init__(prefix)
        self._data: dict[int, tuple[BinaryIO, int]] = {}
        path = files.index_name(prefix)
        with files.os_errors(path), open(path, "rb") as file:
            table = dict(Table(file, path))
        if b"" not in table:
            raise broken(path, "failed to seek to header entry")
        header = parse(path, "BundleHeaderProto", table.pop(b""))
        if header.endianness != 0:
            raise UnimplementedError(None, None, f"{path} was written by a big-endian machine.")
        if header.version.min_consumer > 1:
            raise UnimplementedError(
                None,
                None,
                f"{path} is of version {header.version.producer}, and wants a reader of at least "
                f"{header.version.min_consumer}; this one is of 1.",
            )
        self.shards: int = header.num_shards
        entries = parse(prefix, "BundleEntries", entries_together(table.values())).entry
        self._entries: dict[bytes, Any] = dict(zip(table, entries, strict=True))
        self._good_shapes: set[tuple[int, ...]] = set()
        self.shapes, self.dtypes = {}, {}
        for key, entry in self._entries.items():
            if key[0]:  # else it is a part
                name = key.decode("utf-8", "surrogateescape")
                self.shapes[name] = self._shape(name, entry)
                self.dtypes[name] = dtype_of(entry.dtype)

    def close(self) -> None:
        """Close its files."""
        for file, _ in self._data.values():
            file.close()
        self._data.clear()

    def read(self, name: str) -> np.ndarray:
        """A tensor. NotFoundError if it is not there."""
        entry = self._entries.get(name.encode("utf-8", "surrogateescape"))
        if entry is None or (not entry.size and entry.slices):  # looking at what is not there costs
            return super().read(name)
        return self._load(name, entry, self.shapes[name], self.dtypes[name])

    def entries(self) -> Iterator[tuple[bytes, Any]]:
        """Keys and BundleEntryProtos, of tensors and of parts."""
        return iter(self._entries.items())

    def _shape(self, name: str, entry: Any) -> tuple[int, ...]:
        shape = tuple([d.size for d in entry.shape.dim])
        if shape not in self._good_shapes or entry.shape.unknown_rank:
            self._good_shapes.add(shape_of(self.prefix, name, entry.shape))
        return shape

    def _parts(self, name: str) -> list[Box]:
        entry = self._entries[name.encode("utf-8", "surrogateescape")]
        if not entry.slices:
            return [(slices.WHOLE,) * len(self.shapes[name])]
        return [slices.from_proto(s) for s in entry.slices]

    def _read_part(self, name: str, part: Box, shape: tuple[int, ...]) -> np.ndarray:
        key = name.encode("utf-8", "surrogateescape")
        if self._entries[key].slices:
            key = slices.slice_key(key, part)
        entry = self._entries.get(key)
        if entry is None:
            raise broken(self.prefix, f"a part of a tensor is missing: {key!r}")
        if self._shape(name, entry) != shape or dtype_of(entry.dtype) is not self.dtypes[name]:
            raise broken(self.prefix, f"a part of {name} is not of its shape and type")
        return self._load(name, entry, shape, self.dtypes[name])

    # -- values --------------------------------------------------------------------------------

    def _load(self, name: str, entry: Any, shape: tuple[int, ...], dtype: DType) -> np.ndarray:
        if dtype.kind == "X":
            raise UnimplementedError(None, None, f"{name}: cannot read a tensor of {dtype.name}.")
        count = math.prod(shape)
        wanted = count * dtype.size if dtype.kind != "S" else None
        if wanted is not None and entry.size != wanted:
            raise broken(
                self.prefix,
                f"Invalid size in bundle entry: key {name}; stored size {entry.size}; expected "
                f"size {wanted}",
            )
        file, length = self._open(entry.shard_id)
        if entry.offset < 0 or entry.size < 0 or entry.offset + entry.size > length:
            raise broken(
                self.prefix,
                f"{file.name} is cut off: {name} should be bytes {entry.offset} to "
                f"{entry.offset + entry.size} of {length}",
            )
        if wanted is None and count > entry.size:
            raise broken(self.prefix, f"Invalid size in bundle entry: key {name}")
        with files.os_errors(file.name):
            file.seek(entry.offset)
            if wanted is None:
                data = file.read(entry.size)
                crc, strings = self._strings(name, data, count)
                out = np.empty(count, object)
                out[:] = strings
                out = out.reshape(shape)
            else:
                out = np.empty(shape, dtype.numpy)
                crc = self._read_into(file, out.reshape(-1).view(np.uint8))
        if mask(crc) != entry.crc32c:
            raise DataLossError(
                None,
                None,
                f"TensorBundle at {self.prefix} shard {entry.shard_id} ({entry.size} bytes): "
                f"Checksum does not match: {name} in {file.name} is broken",
            )
        return out

    def _open(self, shard: int) -> tuple[BinaryIO, int]:
        found = self._data.get(shard)
        if found is None:
            path = files.data_name(self.prefix, shard, self.shards)
            if not 0 <= shard < self.shards:
                raise broken(self.prefix, f"shard {shard} of {self.shards}")
            with files.os_errors(path):
                file = open(path, "rb", buffering=0)  # noqa: SIM115
                found = self._data[shard] = (file, file.seek(0, os.SEEK_END))
        return found

    def _read_into(self, file: Any, data: np.ndarray) -> int:
        """Fill `data`; the CRC of it."""
        crc = at = 0
        while at < data.size:
            n = file.readinto(data[at : at + _CHUNK])
            if not n:
                raise broken(self.prefix, f"{file.name} is cut off")
            crc = google_crc32c.extend(crc, data[at : at + n])
            at += n
        return crc

    def _strings(self, name: str, data: bytes, count: int) -> tuple[int, list[bytes]]:
        """The CRC of strings as `_write_strings` wrote them, and the strings."""
        if not data and not count:
            return 0, []
        lengths, at = [], 0
        try:
            for _ in range(count):
                n, at = read_varint(data, at)
                lengths.append(n)
        except IndexError:
            raise broken(self.prefix, f"{name}: bad string lengths") from None
        start = at + 4
        if start + sum(lengths) != len(data):
            raise broken(self.prefix, f"{name}: string lengths longer than expected")
        crc = google_crc32c.value(
            b"".join(struct.pack("<I" if n < 1 << 32 else "<Q", n) for n in lengths)
        )
        check = data[at:start]
        if check != struct.pack("<I", mask(crc)):
            raise broken(self.prefix, f"{name}: the length checksum does not match")
        crc = google_crc32c.extend(google_crc32c.extend(crc, check), data[start:])
        strings = []
        for n in lengths:
            strings.append(data[start : start + n])
            start += n
        return crc, strings
