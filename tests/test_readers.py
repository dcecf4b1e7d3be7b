"""Readers: the records of files that a queue names, and what is refused."""

import gzip
import zlib

import pytest

import headrace as tf
from headrace import errors, records
from tests.train.threads import Running, blocked


@pytest.fixture
def session():
    with tf.Session() as session:
        yield session


class Files:
    """A folder, and a queue of the names of files in it."""

    def __init__(self, folder):
        self.folder = folder
        self.queue = tf.FIFOQueue(100, tf.string, shapes=[()])

    def queue_up(self, session, **files):
        for name, data in files.items():
            (self.folder / name).write_bytes(data)
            session.run(self.queue.enqueue(str(self.folder / name)))
        session.run(self.queue.close())

    def short(self, key):
        """A key without the folder."""
        return key.decode().removeprefix(f"{self.folder}/")


@pytest.fixture
def files(tmp_path):
    return Files(tmp_path)


def drain(session, reader, files):
    key, value = reader.read(files.queue)
    assert key.shape.as_list() == value.shape.as_list() == []
    found = []
    while True:
        try:
            k, v = session.run([key, value])
        except errors.OutOfRangeError:
            return found
        found.append((files.short(k), v))


# -- kinds -----------------------------------------------------------------------------------------


def test_lines(session, files):
    files.queue_up(session, a=b"one\ntwo\r\nthree", empty=b"", c=b"x\n\ny\n")
    assert drain(session, tf.TextLineReader(), files) == [
        ("a:1", b"one"), ("a:2", b"two"), ("a:3", b"three"),
        ("c:1", b"x"), ("c:2", b""), ("c:3", b"y"),
    ]  # fmt: skip


def test_lines_without_headers(session, files):
    files.queue_up(session, a=b"head\none\ntwo\n", short=b"head\n", c=b"head\nx\n")
    found = drain(session, tf.TextLineReader(skip_header_lines=1), files)
    assert found == [("a:2", b"one"), ("a:3", b"two"), ("c:2", b"x")]


def test_whole_files(session, files):
    files.queue_up(session, a=b"one\ntwo\x00", empty=b"")
    assert drain(session, tf.WholeFileReader(), files) == [("a", b"one\ntwo\x00"), ("empty", b"")]


def test_names_themselves(session, files):
    files.queue_up(session, a=b"", b=b"")
    names = [str(files.folder / n).encode() for n in "ab"]
    assert drain(session, tf.IdentityReader(), files) == list(zip("ab", names, strict=True))


@pytest.mark.parametrize(
    ("hop", "expected"),
    [(None, ["abc", "def", "ghi"]), (2, ["abc", "cde", "efg", "ghi"]), (5, ["abc", "fgh"])],
)
def test_records_of_fixed_length(session, files, hop, expected):
    files.queue_up(session, r=b"HHabcdefghijFFF", headers_only=b"HHFFF", short=b"HHabFFF")
    reader = tf.FixedLengthRecordReader(3, 2, 3, hop)
    found = drain(session, reader, files)
    assert found == [(f"r:{i}", v.encode()) for i, v in enumerate(expected)]


@pytest.mark.parametrize(("encoding", "pack"), [("ZLIB", zlib.compress), ("GZIP", gzip.compress)])
def test_compressed_records_of_fixed_length(session, files, encoding, pack):
    data = bytes(range(256)) * 1000
    files.queue_up(session, r=pack(b"H" + data + b"F"))
    found = drain(session, tf.FixedLengthRecordReader(64_000, 1, 1, encoding=encoding), files)
    assert b"".join(v for _, v in found) == data


@pytest.mark.parametrize(
    ("options", "pack"), [(None, bytes), ("GZIP", gzip.compress), ("ZLIB", zlib.compress)]
)
def test_tf_records(session, files, options, pack):
    data = [b"one", b"", bytes(200_000)]
    files.queue_up(session, t=pack(b"".join(map(records.framed, data))), empty=pack(b""))
    found = drain(session, tf.TFRecordReader(options=options), files)
    assert found == [("t:0", data[0]), ("t:19", data[1]), ("t:35", data[2])]


# -- several at once, counts, state ----------------------------------------------------------------


def test_read_up_to_stays_within_a_file(session, files):
    files.queue_up(session, a=b"1\n2\n3\n4\n", empty=b"", c=b"x\n")
    reader = tf.TextLineReader()
    keys, values = reader.read_up_to(files.queue, 3)
    assert keys.shape.as_list() == values.shape.as_list() == [None]
    found = [session.run(values).tolist() for _ in range(3)]
    assert found == [[b"1", b"2", b"3"], [b"4"], [b"x"]]
    with pytest.raises(errors.OutOfRangeError):
        session.run(values)


def test_counts_and_reset(session, files):
    files.queue_up(session, a=b"1\n2\n", b=b"3\n")
    reader = tf.TextLineReader()
    counts = reader.num_records_produced(), reader.num_work_units_completed()
    _, value = reader.read(files.queue)
    seen = []
    for _ in range(3):
        session.run(value)
        seen.append(tuple(session.run(counts)))
    assert seen == [(1, 0), (2, 0), (3, 1)]
    session.run(reader.reset())
    assert session.run(counts) == (0, 0)


def test_state_of_readers_of_whole_files(session, files):
    files.queue_up(session, a=b"1", b=b"2")
    reader = tf.WholeFileReader()
    assert reader.supports_serialize
    session.run(reader.read(files.queue))
    state = session.run(reader.serialize_state())
    session.run(reader.reset())
    session.run(reader.restore_state(state))
    assert session.run([reader.num_records_produced(), reader.num_work_units_completed()]) == [1, 1]
    with pytest.raises(errors.InvalidArgumentError, match="Could not parse state"):
        session.run(reader.restore_state("junk"))
    with pytest.raises(errors.InvalidArgumentError, match="Could not parse state"):
        session.run(reader.restore_state(b"\x08\x02\x10\x01"))


def test_other_readers_have_no_state_to_take(session):
    reader = tf.TextLineReader()
    assert not reader.supports_serialize
    with pytest.raises(errors.UnimplementedError, match="SerializeState"):
        session.run(reader.serialize_state())
    with pytest.raises(errors.UnimplementedError, match="RestoreState"):
        session.run(reader.restore_state(""))


def test_a_reader_waits_for_a_name_and_goes_with_its_session(files):
    session = tf.Session()
    reader = tf.IdentityReader()
    waiting = Running(session.run, reader.read(files.queue)[1])
    counts = reader.num_records_produced()
    blocked(session)
    assert session.run(counts) == 0
    session.close()
    with pytest.raises(errors.CancelledError, match="Dequeue operation was cancelled"):
        waiting.result()


def test_a_pipeline_of_lines(tmp_path):
    for name in "abc":
        (tmp_path / f"{name}.csv").write_text("".join(f"{name}{i}\n" for i in range(4)))
    names = tf.train.match_filenames_once(str(tmp_path / "*.csv"))
    queue = tf.train.string_input_producer(names, num_epochs=1, seed=1)
    _, line = tf.TextLineReader().read(queue)
    lines = tf.train.batch([line], 4, num_threads=2)
    found = []
    with tf.Session() as session:
        session.run(tf.local_variables_initializer())
        coord = tf.train.Coordinator()
        threads = tf.train.start_queue_runners(session, coord)
        for _ in range(3):
            found += session.run(lines).tolist()
        coord.request_stop()
        coord.join(threads)
    assert sorted(found) == [f"{name}{i}".encode() for name in "abc" for i in range(4)]


# -- what is refused -------------------------------------------------------------------------------


def test_a_missing_file_is_named_and_the_next_one_read(session, files):
    session.run(files.queue.enqueue(str(files.folder / "none")))
    files.queue_up(session, b=b"1\n")
    _, value = tf.TextLineReader().read(files.queue)
    with pytest.raises(errors.NotFoundError, match="none; No such file") as caught:
        session.run(value)
    assert caught.value.op.type == "ReaderReadV2"
    assert session.run(value) == b"1"


TWO = records.framed(b"one") + records.framed(b"two")
BROKEN = [
    (lambda: tf.TFRecordReader(), TWO[:-3], "truncated record at 19"),
    (lambda: tf.TFRecordReader(), TWO[:22], "truncated record at 19"),
    (lambda: tf.TFRecordReader(), TWO[:-5] + b"x" + TWO[-4:], "corrupted record at 19"),
    (lambda: tf.TFRecordReader(), b"no records, but text", "Is this even a TFRecord file"),
    (lambda: tf.TFRecordReader(options="GZIP"), TWO, "not compressed, or broken"),
    (lambda: tf.TFRecordReader(options="ZLIB"), zlib.compress(TWO)[:-6], "cut off"),
    (lambda: tf.FixedLengthRecordReader(3, 9), b"short", "shorter than its header, 9"),
    (lambda: tf.FixedLengthRecordReader(3, encoding="ZLIB"), b"text", "not compressed"),
]


@pytest.mark.parametrize(("build", "data", "words"), BROKEN)
def test_broken_files_are_data_loss(session, files, build, data, words):
    files.queue_up(session, broken=data)
    with pytest.raises(errors.DataLossError, match=words) as caught:
        drain(session, build(), files)
    assert "broken" in caught.value.message


def test_records_before_the_broken_one_are_not_lost(session, files):
    files.queue_up(session, broken=TWO + b"rest", good=TWO)
    _, values = tf.TFRecordReader().read_up_to(files.queue, 9)
    assert session.run(values).tolist() == [b"one", b"two"]
    with pytest.raises(errors.DataLossError, match="truncated record at 38"):
        session.run(values)
    assert session.run(values).tolist() == [b"one", b"two"]


REFUSED = [
    (lambda: tf.FixedLengthRecordReader(0), "record_bytes must be > 0 not 0"),
    (lambda: tf.FixedLengthRecordReader(3, -1), "header_bytes must be >= 0 not -1"),
    (lambda: tf.FixedLengthRecordReader(3, hop_bytes=-2), "hop_bytes must be >= 0 not -2"),
    (lambda: tf.FixedLengthRecordReader(3, encoding="LZW"), "'ZLIB' or 'GZIP', not 'LZW'"),
    (lambda: tf.TextLineReader(-1), "skip_header_lines must be >= 0 not -1"),
    (lambda: tf.TFRecordReader(options="ZIP"), "'ZLIB' or 'GZIP', not 'ZIP'"),
]


@pytest.mark.parametrize(("build", "words"), REFUSED)
def test_bad_readers_are_refused_when_run(session, files, build, words):
    files.queue_up(session, a=b"abc")
    with pytest.raises(errors.InvalidArgumentError, match=words):
        session.run(build().read(files.queue))


def test_readers_want_a_queue_of_strings():
    with pytest.raises(ValueError, match=r"components of types \[int32\], not \[string\]"):
        tf.TextLineReader().read(tf.FIFOQueue(3, tf.int32))


def test_no_records_cannot_be_asked_for(session, files):
    files.queue_up(session, a=b"abc")
    with pytest.raises(errors.InvalidArgumentError, match="num_records must be > 0 not 0"):
        session.run(tf.TextLineReader().read_up_to(files.queue, 0))
