"""Reading event files."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from headrace import errors, protos
from headrace.records import RecordIterator


class _EventIterator(Iterator[Any]):
    def __init__(self, path: Any):
        from google.protobuf.message import DecodeError

        self._records = RecordIterator(path)
        self._parse, self._broken = protos.Event.FromString, DecodeError

    def __next__(self) -> Any:
        record = next(self._records)
        try:
            return self._parse(record)
        except self._broken as error:
            raise errors.DataLossError(
                None, None, f"{self._records.path}: a record is not an Event: {error}"
            ) from None


def summary_iterator(path: Any) -> Iterator[Any]:
    """The Event protos of an event file, in order.

    At the end it stops, and goes on if asked again when the file has grown. NotFoundError if there
    is no such file; DataLossError where it is cut off or broken.
    """
    return _EventIterator(path)
