"""The readers that a session owns: each takes the names of files and gives their records.

Nothing here knows of graphs. A kind of reader is a function from a name to the keys and values of
its records.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from typing import Any, ClassVar

from headrace import records
from headrace.bundle.files import os_errors
from headrace.bundle.protos import message
from headrace.errors import DataLossError, InvalidArgumentError, UnimplementedError

Record = tuple[bytes, bytes]  # key, value


class Reader:
    """Records out of one piece of work (a file's name) after the other.

    `whole` says that a piece of work is one record; such a reader's state can be written down.
    """

    shape: ClassVar[tuple[int, ...]] = ()  # operations that hand it on take it for a scalar

    def __init__(self, name: str, kind: Callable[[bytes], Iterator[Record]], whole: bool = False):
        self.name = name
        self._kind = kind
        self._whole = whole
        self._lock = threading.Lock()  # held while it waits for work, too: readers take turns
        self._records: Iterator[Record] | None = None
        self._error: Exception | None = None  # for the next to be told: this one got records
        self.produced = 0
        self.completed = 0

    def read(self, take: Callable[[], bytes]) -> Record:
        """The next record; `take` gives the next piece of work, and may wait."""
        return self.read_up_to(take, 1)[0]

    def read_up_to(self, take: Callable[[], bytes], count: int) -> list[Record]:
        """The next records of one piece of work: at least one, at most `count`."""
        found: list[Record] = []
        with self._lock:
            if self._error is not None:
                error, self._error = self._error, None
                raise error
            while len(found) < count:
                if self._records is None:
                    if found:
                        break
                    self._records = self._kind(take())
                try:
                    record = next(self._records, None)
                except Exception as error:
                    self._records = None  # what is broken is left, and the next is taken
                    if not found:
                        raise
                    self._error = error
                    break
                if record is None:
                    self._finish()
                    continue
                found.append(record)
                self.produced += 1
                if self._whole:
                    self._finish()
        return found

    def _finish(self) -> None:
        self._records = None
        self.completed += 1

    def reset(self) -> None:
        """Be as it was in the beginning."""
        with self._lock:
            self._records = self._error = None
            self.produced = self.completed = 0

    def state(self) -> bytes:
        """What `restore` makes it go on from."""
        self._check_has_state("SerializeState")
        with self._lock:
            return message("ReaderBaseState")(
                work_started=self.completed,
                work_finished=self.completed,
                num_records_produced=self.produced,
            ).SerializeToString()

    def restore(self, state: bytes) -> None:
        """Go on from a `state`."""
        from google.protobuf.message import DecodeError

        self._check_has_state("RestoreState")
        try:
            proto = message("ReaderBaseState").FromString(state)
        except DecodeError:
            proto = None
        counts = (
            (0, -1, 0)
            if proto is None
            else (proto.work_started, proto.work_finished, proto.num_records_produced)
        )
        if min(counts) < 0 or counts[0] != counts[1]:
            raise InvalidArgumentError(
                None, None, f"Could not parse state for the reader '{self.name}': {state!r}"
            )
        with self._lock:
            self._records = self._error = None
            self.completed, self.produced = counts[1:]

    def _check_has_state(self, what: str) -> None:
        if not self._whole:
            raise UnimplementedError(None, None, f"Reader {what}: not of the reader '{self.name}'")


# -- kinds -----------------------------------------------------------------------------------------


def identity(work: bytes) -> Iterator[Record]:
    """The work itself, as key and value."""
    yield work, work


def whole_file(work: bytes) -> Iterator[Record]:
    """A file's name, and all that is in it."""
    path = os.fsdecode(work)
    with os_errors(path), open(path, "rb") as file:
        data = file.read()
    yield work, data


def text_lines(work: bytes, skip_header_lines: int) -> Iterator[Record]:
    """The lines of a file, without their ends; keys are `name:line`, counted from 1."""
    path = os.fsdecode(work)
    with os_errors(path), open(path, "rb") as file:
        for number, line in enumerate(file, 1):
            if number > skip_header_lines:
                text = line.removesuffix(b"\n").removesuffix(b"\r")
                yield b"%s:%d" % (work, number), text


def tf_records(work: bytes, compression: str) -> Iterator[Record]:
    """The records of a TFRecord file; keys are `name:offset`."""
    found = records.RecordIterator(os.fsdecode(work), compression)
    try:
        offset = found.offset
        for record in found:
            yield b"%s:%d" % (work, offset), record
            offset = found.offset
    finally:
        found.close()


def fixed_length(
    work: bytes, record: int, header: int, footer: int, hop: int, compression: str
) -> Iterator[Record]:
    """Every `hop` bytes the next `record` bytes of what is between header and footer.

    What does not fill a record is left out. Keys are `name:number`, counted from 0.
    """
    path = os.fsdecode(work)
    with records.open_file(path, compression) as file, os_errors(path):
        if len(file.read(header)) < header:
            raise DataLossError(None, None, f"{path}: it is shorter than its header, {header}")
        window, number = b"", 0
        while True:
            window += file.read(record + footer - len(window))
            if len(window) < record + footer:
                return
            yield b"%s:%d" % (work, number), window[:record]
            number += 1
            file.read(max(0, hop - len(window)))
            window = window[hop:]


def checked(**sizes: Any) -> None:
    """InvalidArgumentError for a size below 0."""
    for name, size in sizes.items():
        if size < 0:
            raise InvalidArgumentError(None, None, f"{name} must be >= 0 not {size}")
