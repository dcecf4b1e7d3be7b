"""Readers: `tf.TextLineReader` and its kind, which give the records of files named by a queue."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

import numpy as np

from headrace import shapes
from headrace.dtypes import string
from headrace.errors import InvalidArgumentError
from headrace.node import Operation, Tensor
from headrace.opdef import NOT_DIFFERENTIABLE, Spec, op, scalar_shape
from headrace.ops import reader_objects as objects
from headrace.ops.queue_ops import agreed, unwrapped
from headrace.ops.queues import QueueBase

_numbers = itertools.count()  # of readers without a shared name

# -- the readers themselves ------------------------------------------------------------------------

_MADE = {"resource": True, "host": True, "wants_op": True}


def _made(
    node: Operation, kind: Callable[[bytes], Iterator[objects.Record]], whole: bool = False
) -> objects.Reader:
    name = node.attrs["shared_name"] or f"_{next(_numbers)}_{node.name}"
    return objects.Reader(name, kind, whole)


@op("IdentityReaderV2", "-> reader_handle: resource", **_MADE)
def _identity_reader(
    xp: Any, *, container: str = "", shared_name: str = "", _op: Any
) -> objects.Reader:
    return _made(_op, objects.identity, whole=True)


@op("WholeFileReaderV2", "-> reader_handle: resource", **_MADE)
def _whole_file_reader(
    xp: Any, *, container: str = "", shared_name: str = "", _op: Any
) -> objects.Reader:
    return _made(_op, objects.whole_file, whole=True)


@op("TextLineReaderV2", "-> reader_handle: resource", **_MADE)
def _text_line_reader(
    xp: Any, *, skip_header_lines: int = 0, container: str = "", shared_name: str = "", _op: Any
) -> objects.Reader:
    objects.checked(skip_header_lines=skip_header_lines)
    return _made(_op, partial(objects.text_lines, skip_header_lines=skip_header_lines))


@op("TFRecordReaderV2", "-> reader_handle: resource", **_MADE)
def _tf_record_reader(
    xp: Any, *, container: str = "", shared_name: str = "", compression_type: str = "", _op: Any
) -> objects.Reader:
    return _made(_op, partial(objects.tf_records, compression=compression_type))


@op("FixedLengthRecordReaderV2", "-> reader_handle: resource", **_MADE)
def _fixed_length_record_reader(
    xp: Any,
    *,
    record_bytes: int,
    header_bytes: int = 0,
    footer_bytes: int = 0,
    hop_bytes: int = 0,
    container: str = "",
    shared_name: str = "",
    encoding: str = "",
    _op: Any,
) -> objects.Reader:
    objects.checked(header_bytes=header_bytes, footer_bytes=footer_bytes, hop_bytes=hop_bytes)
    if record_bytes <= 0:
        raise InvalidArgumentError(None, None, f"record_bytes must be > 0 not {record_bytes}")
    kind = partial(
        objects.fixed_length, record=record_bytes, header=header_bytes, footer=footer_bytes,
        hop=hop_bytes or record_bytes, compression=encoding,
    )  # fmt: skip
    return _made(_op, kind)


# -- operations on them ----------------------------------------------------------------------------

_CALL = {"host": True, "waits": True, "pure": False}


def _names(queue: Any) -> Callable[[], bytes]:
    """What takes the next name out of a queue of strings."""
    return lambda: unwrapped(queue).dequeue()[0].item()


def _strings(values: list[bytes]) -> np.ndarray:
    return np.array(values, object)


@op(
    "ReaderReadV2",
    "reader_handle: resource, queue_handle: resource -> key: string, value: string",
    **_CALL,
)
def _read(xp: Any, reader: Any, queue: Any) -> tuple[np.ndarray, ...]:
    key, value = unwrapped(reader).read(_names(queue))
    return np.array(key, object), np.array(value, object)


@_read.def_infer
def _(reader: Spec, queue: Spec) -> list[shapes.Shape]:
    agreed(queue, (string,))
    return [(), ()]


@op(
    "ReaderReadUpToV2",
    "reader_handle: resource, queue_handle: resource, num_records: int64"
    " -> keys: string, values: string",
    **_CALL,
)
def _read_up_to(xp: Any, reader: Any, queue: Any, count: Any) -> tuple[np.ndarray, ...]:
    if count <= 0:
        raise InvalidArgumentError(None, None, f"num_records must be > 0 not {int(count)}")
    found = unwrapped(reader).read_up_to(_names(queue), int(count))
    return _strings([key for key, _ in found]), _strings([value for _, value in found])


@_read_up_to.def_infer
def _(reader: Spec, queue: Spec, count: Spec) -> list[shapes.Shape]:
    agreed(queue, (string,))
    shapes.with_rank(count.shape, 0)
    return [(None,), (None,)]


@op("ReaderNumRecordsProducedV2", "reader_handle: resource -> records_produced: int64",
    host=True, pure=False)  # fmt: skip
def _num_records_produced(xp: Any, reader: Any) -> np.int64:
    return np.int64(unwrapped(reader).produced)


@op("ReaderNumWorkUnitsCompletedV2", "reader_handle: resource -> units_completed: int64",
    host=True, pure=False)  # fmt: skip
def _num_work_units_completed(xp: Any, reader: Any) -> np.int64:
    return np.int64(unwrapped(reader).completed)


@op("ReaderSerializeStateV2", "reader_handle: resource -> state: string", **_CALL)
def _serialize_state(xp: Any, reader: Any) -> np.ndarray:
    return np.array(unwrapped(reader).state(), object)


@op("ReaderRestoreStateV2", "reader_handle: resource, state: string", **_CALL)
def _restore_state(xp: Any, reader: Any, state: Any) -> None:
    unwrapped(reader).restore(np.asarray(state).item())


@op("ReaderResetV2", "reader_handle: resource", **_CALL)
def _reset(xp: Any, reader: Any) -> None:
    unwrapped(reader).reset()


_KINDS = (
    _identity_reader, _whole_file_reader, _text_line_reader, _tf_record_reader,
    _fixed_length_record_reader,
)  # fmt: skip
for _op in (*_KINDS, _num_records_produced, _num_work_units_completed, _serialize_state):
    _op.infer = scalar_shape
for _op in (
    *_KINDS, _read, _read_up_to, _num_records_produced, _num_work_units_completed,
    _serialize_state, _restore_state, _reset,
):  # fmt: skip
    _op.gradient = NOT_DIFFERENTIABLE


# -- readers ---------------------------------------------------------------------------------------


def _handle(queue: Any) -> Tensor:
    return queue.queue_ref if isinstance(queue, QueueBase) else queue


class ReaderBase:
    """What all readers have: records [key, value] of the files whose names a queue gives."""

    def __init__(self, reader_ref: Tensor, supports_serialize: bool = False):
        self._reader_ref = reader_ref
        self._supports_serialize = supports_serialize

    @property
    def reader_ref(self) -> Tensor:
        """The handle by which operations know the reader."""
        return self._reader_ref

    @property
    def supports_serialize(self) -> bool:
        """Whether its state can be taken and restored."""
        return self._supports_serialize

    def read(self, queue: Any, name: str | None = None) -> tuple[Tensor, Tensor]:
        """The key and value of the next record, string scalars.

        Takes the next name from the queue of strings when a file is at its end. OutOfRangeError
        when the queue is closed and empty.
        """
        key, value = _read(self._reader_ref, _handle(queue), name=name)
        return key, value

    def read_up_to(
        self, queue: Any, num_records: Any, name: str | None = None
    ) -> tuple[Tensor, Tensor]:
        """Keys and values [<=num_records] of the next records of one file; at least one."""
        keys, values = _read_up_to(self._reader_ref, _handle(queue), num_records, name=name)
        return keys, values

    def num_records_produced(self, name: str | None = None) -> Tensor:
        """How many records it has given, an int64 scalar."""
        return _num_records_produced(self._reader_ref, name=name)

    def num_work_units_completed(self, name: str | None = None) -> Tensor:
        """How many files it has come to the end of, an int64 scalar."""
        return _num_work_units_completed(self._reader_ref, name=name)

    def serialize_state(self, name: str | None = None) -> Tensor:
        """What `restore_state` makes it go on from, a string; UnimplementedError for most kinds."""
        return _serialize_state(self._reader_ref, name=name)

    def restore_state(self, state: Any, name: str | None = None) -> Operation:
        """Go on from what `serialize_state` gave."""
        return _restore_state(self._reader_ref, state, name=name)

    def reset(self, name: str | None = None) -> Operation:
        """Be as it was in the beginning."""
        return _reset(self._reader_ref, name=name)


class IdentityReader(ReaderBase):
    """Gives what the queue gives, as key and value."""

    def __init__(self, name: str | None = None):
        super().__init__(_identity_reader(name=name), supports_serialize=True)


class WholeFileReader(ReaderBase):
    """Gives each file whole: its name as key, its contents as value."""

    def __init__(self, name: str | None = None):
        super().__init__(_whole_file_reader(name=name), supports_serialize=True)


class TextLineReader(ReaderBase):
    """Gives the lines of files, without their ends; keys are `name:line`."""

    def __init__(self, skip_header_lines: int | None = None, name: str | None = None):
        super().__init__(_text_line_reader(skip_header_lines=skip_header_lines or 0, name=name))


class TFRecordReader(ReaderBase):
    """Gives the records of TFRecord files; keys are `name:offset`.

    `options` says how they are compressed: "", "ZLIB" or "GZIP", or something with such a
    `compression_type`.
    """

    def __init__(self, name: str | None = None, options: Any = None):
        compression = getattr(options, "compression_type", options) or ""
        if isinstance(compression, int):  # TFRecordCompressionType
            compression = ("", "ZLIB", "GZIP")[compression]
        super().__init__(_tf_record_reader(compression_type=compression, name=name))


class FixedLengthRecordReader(ReaderBase):
    """Gives the records of `record_bytes` each between header and footer of files.

    One begins every `hop_bytes` (`record_bytes` if not given). Keys are `name:number`. `encoding`
    says how files are compressed: "ZLIB" or "GZIP".
    """

    def __init__(
        self,
        record_bytes: int,
        header_bytes: int | None = None,
        footer_bytes: int | None = None,
        hop_bytes: int | None = None,
        name: str | None = None,
        encoding: str | None = None,
    ):
        handle = _fixed_length_record_reader(
            record_bytes=record_bytes, header_bytes=header_bytes or 0,
            footer_bytes=footer_bytes or 0, hop_bytes=hop_bytes or 0, encoding=encoding or "",
            name=name,
        )  # fmt: skip
        super().__init__(handle)
