"""Cases of readers. What each kind makes of files is in tests/test_readers.py."""

import numpy as np

from headrace import dtypes
from headrace.ops import queue_objects, reader_objects
from tests.ops.case import Case

WHY = "strings have no gradient"


def texts(*values):
    return np.array(values, object)


def names(*values):
    queue = queue_objects.FIFOQueue("names", (dtypes.string,), ((),), -1)
    for value in values:
        queue.enqueue([value])
    queue.close()  # a case that asks for more fails, and does not wait
    return np.array(queue, object)


def letters(work):
    """A record for each letter of the work."""
    for i in range(len(work)):
        yield b"%s:%d" % (work, i), work[i : i + 1]


def reader(kind=letters, whole=False, after=0):
    made = reader_objects.Reader("r", kind, whole)
    for _ in range(after):
        made.read(lambda: b"xyz")
    return np.array(made, object)


class Made:
    """Equal to a reader that takes a name like this, and is whole or is not."""

    def __init__(self, whole):
        self.whole = whole

    def __eq__(self, other):
        return type(other) is reader_objects.Reader and other._whole is self.whole

    __hash__ = None


def then_counts(produced, completed):
    def oracle(handle, *_):
        found = handle.item()
        assert (found.produced, found.completed) == (produced, completed)
        return ()

    return oracle


def c(*args, oracle, **attrs):
    return Case(args, attrs, oracle, gradient=(), why=WHY)


CASES = {
    "IdentityReaderV2": [c(oracle=lambda: Made(whole=True))],
    "WholeFileReaderV2": [c(oracle=lambda: Made(whole=True))],
    "TextLineReaderV2": [c(oracle=lambda: Made(whole=False), skip_header_lines=2)],
    "TFRecordReaderV2": [c(oracle=lambda: Made(whole=False), compression_type="GZIP")],
    "FixedLengthRecordReaderV2": [c(oracle=lambda: Made(whole=False), record_bytes=3)],
    "ReaderReadV2": [
        c(reader(), names(b"ab"), oracle=lambda r, q: (texts(b"ab:0")[0], texts(b"a")[0])),
        c(
            reader(after=3), names(b"", b"pq"),
            oracle=lambda r, q: (texts(b"pq:0")[0], texts(b"p")[0]),
        ),
    ],
    "ReaderReadUpToV2": [
        c(
            reader(after=1), names(b"ab"), np.int64(9),
            oracle=lambda r, q, n: (texts(b"xyz:1", b"xyz:2"), texts(b"y", b"z")),
        ),
        c(
            reader(), names(b"abcd"), np.int64(2),
            oracle=lambda r, q, n: (texts(b"abcd:0", b"abcd:1"), texts(b"a", b"b")),
        ),
    ],
    "ReaderNumRecordsProducedV2": [c(reader(after=2), oracle=lambda r: np.int64(2))],
    "ReaderNumWorkUnitsCompletedV2": [c(reader(after=4), oracle=lambda r: np.int64(1))],
    "ReaderSerializeStateV2": [
        c(
            reader(reader_objects.identity, whole=True, after=3),
            oracle=lambda r: np.array(b"\x08\x03\x10\x03\x18\x03", object),
        ),
    ],
    "ReaderRestoreStateV2": [
        c(
            reader(reader_objects.identity, whole=True),
            np.array(b"\x08\x05\x10\x05\x18\x05", object), oracle=then_counts(5, 5),
        ),
    ],
    "ReaderResetV2": [c(reader(after=4), oracle=then_counts(0, 0))],
}  # fmt: skip
