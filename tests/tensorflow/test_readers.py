"""Readers beside TensorFlow's: the same nodes, and the same records of each file."""

import gzip
import struct
import zlib

import numpy as np
import pytest

from headrace import records
from tests.tensorflow.outcomes import attempt, nodes, plain


def build(tf):
    queue = tf.FIFOQueue(5, tf.string)
    for reader in (
        tf.TextLineReader(2), tf.WholeFileReader(name="whole"), tf.IdentityReader(),
        tf.FixedLengthRecordReader(3, 1, 2, 4, encoding="GZIP"), tf.TFRecordReader(),
    ):  # fmt: skip
        reader.read(queue)
        reader.read(queue.queue_ref, name="named")
        reader.read_up_to(queue, 5)
        reader.num_records_produced()
        reader.num_work_units_completed()
        reader.serialize_state()
        reader.restore_state("state")
        reader.reset()


def test_same_graph(hr, tf):
    found = []
    for module in (hr, tf):
        with module.Graph().as_default() as graph:
            build(module)
            found.append(nodes(graph))
    assert found[0] == found[1]


RECORDS = b"".join(map(records.framed, [b"one", b"", bytes(1000)]))
FILES = {
    "a.txt": b"one\ntwo\r\nth\rree",
    "empty": b"",
    "returns": b"a\r\r\n\r\nb\r",
    "lines": b"x\n\ny\n",
    "fixed": b"HHabcdefghijFFF",
    "short": b"HHabFFF",
    "zlib": zlib.compress(b"HHabcdefghijFFF"),
    "gzip": gzip.compress(b"HHabcdefghijFFF"),
    "records": RECORDS,
    "more": records.framed(struct.pack("<3f", 1, 2, 3)),
    "gzipped": gzip.compress(RECORDS),
}
READERS = {
    "text": (lambda tf: tf.TextLineReader(), ["a.txt", "empty", "returns", "lines"]),
    "headers": (lambda tf: tf.TextLineReader(skip_header_lines=2), ["a.txt", "empty", "lines"]),
    "whole": (lambda tf: tf.WholeFileReader(), ["a.txt", "empty", "lines"]),
    "identity": (lambda tf: tf.IdentityReader(), ["a.txt", "empty"]),
    "fixed": (lambda tf: tf.FixedLengthRecordReader(3, 2, 3), ["fixed", "short", "fixed"]),
    "hop": (lambda tf: tf.FixedLengthRecordReader(3, 2, 3, 2), ["fixed", "short"]),
    "far": (lambda tf: tf.FixedLengthRecordReader(3, 2, 3, 5), ["fixed", "short"]),
    "zlib": (lambda tf: tf.FixedLengthRecordReader(3, 2, 3, encoding="ZLIB"), ["zlib"]),
    "gzip": (lambda tf: tf.FixedLengthRecordReader(3, 2, 3, encoding="GZIP"), ["gzip"]),
    "records": (lambda tf: tf.TFRecordReader(), ["records", "empty", "more"]),
    "missing": (lambda tf: tf.WholeFileReader(), ["nothing"]),
}


@pytest.mark.parametrize("at_once", [None, 2])
@pytest.mark.parametrize("name", READERS)
def test_same_records(assert_alike, tmp_path, name, at_once):
    make, names = READERS[name]
    for file, data in FILES.items():
        (tmp_path / file).write_bytes(data)

    def program(tf):
        reader = make(tf)
        queue = tf.FIFOQueue(50, tf.string, shapes=[()])
        read = reader.read(queue) if at_once is None else reader.read_up_to(queue, at_once)
        counts = [reader.num_records_produced(), reader.num_work_units_completed()]
        put = queue.enqueue_many([[str(tmp_path / n) for n in names]])
        found = []
        with tf.Session() as session:
            session.run(put)
            session.run(queue.close())
            while not found or not isinstance(found[-1], tuple):
                outcome = attempt(session.run, list(read))
                found.append(plain(outcome))
                if isinstance(outcome, list):
                    found.append(session.run(counts))
            session.run(reader.reset())
            return [*found, session.run(counts)]

    assert_alike(program)


def test_gzipped_records(hr, tf, tmp_path):
    """By options, of which only TensorFlow has the class."""
    options = tf.python_io.TFRecordOptions(tf.python_io.TFRecordCompressionType.GZIP)
    path = tmp_path / "ours"
    path.write_bytes(FILES["gzipped"])
    found = []
    for module in (hr, tf):
        with module.Graph().as_default(), module.Session() as session:
            queue = module.FIFOQueue(5, module.string, shapes=[()])
            reader = module.TFRecordReader(options=options)
            session.run(queue.enqueue(str(path)))
            found.append(session.run(reader.read_up_to(queue, 9)))
    for a, b in zip(*found, strict=True):
        np.testing.assert_array_equal(a, b)
