"""Event files: written, read back, broken, and cut short."""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import struct
import subprocess
import sys
import textwrap
import threading
import time

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from tensorboard.compat.tensorflow_stub.pywrap_tensorflow import masked_crc32c as theirs

import headrace as tf
import headrace.summary
from headrace import records
from headrace.summary import writer
from headrace.summary.reader import summary_iterator


def only_file(folder):
    (name,) = os.listdir(folder)
    return folder / name


def summary(tag="a", value=1.0):
    return tf.Summary(value=[tf.Summary.Value(tag=tag, simple_value=value)])


def events(folder):
    """All events but the file's first."""
    first, *others = summary_iterator(only_file(folder))
    assert first.file_version == "brain.Event:2"
    return others


def values(folder):
    return [(e.step, v.tag, v.simple_value) for e in events(folder) for v in e.summary.value]


# what is written


def test_summaries_come_back_in_order(tmp_path):
    with tf.summary.FileWriter(tmp_path) as out:
        assert out.get_logdir() == str(tmp_path)
        out.add_summary(summary("a", 1), 0)
        out.add_summary(summary("b", 2).SerializeToString(), tf.as_dtype("int64").numpy.type(7))
        out.add_summary(summary("c", 3))
    assert values(tmp_path) == [(0, "a", 1), (7, "b", 2), (0, "c", 3)]
    times = [e.wall_time for e in events(tmp_path)]
    assert times == sorted(times)
    assert time.time() - 60 < times[0] <= time.time()


def test_name_of_the_file_is_what_tensorboard_looks_for(tmp_path):
    out = tf.summary.FileWriter(str(tmp_path / "new" / "run"), filename_suffix=".v2")
    name = only_file(tmp_path / "new" / "run").name
    assert name.startswith("events.out.tfevents.1")
    assert name.endswith(".v2")
    out.close()


def test_metadata_are_written_with_the_first_value_of_a_tag(tmp_path):
    text = tf.summary.text("t", tf.constant("x"))
    with tf.Session() as session, tf.summary.FileWriter(tmp_path) as out:
        serialized = session.run(text)
        out.add_summary(serialized, 0)
        out.add_summary(serialized, 1)
        by_hand = tf.Summary.FromString(serialized)
        out.add_summary(by_hand, 2)
        assert by_hand.value[0].HasField("metadata")
    assert [e.summary.value[0].HasField("metadata") for e in events(tmp_path)] == [
        True,
        False,
        False,
    ]


def test_graph_event_has_the_shapes(tmp_path):
    tf.placeholder(tf.float32, (None, 3), name="x")
    graph = tf.get_default_graph()
    with tf.summary.FileWriter(tmp_path, graph) as out:
        out.add_graph(graph.as_graph_def(), 5)
    one, two = events(tmp_path)
    expected = graph.as_graph_def(add_shapes=True)
    assert tf.GraphDef.FromString(one.graph_def) == expected
    assert "_output_shapes" in expected.node[0].attr
    assert two.step == 5
    assert tf.GraphDef.FromString(two.graph_def) == graph.as_graph_def()


def test_other_events(tmp_path):
    with tf.summary.FileWriter(tmp_path) as out:
        out.add_session_log(tf.SessionLog(status=tf.SessionLog.START), 3)
        out.add_run_metadata(tf.RunMetadata(), "step 3", 3)
        out.add_meta_graph(tf.MetaGraphDef(), 4)
        out.add_event(tf.summary.Event(step=9, wall_time=1.5))
        with pytest.raises(ValueError, match="tag was already used"):
            out.add_run_metadata(tf.RunMetadata(), "step 3")
        with pytest.raises(TypeError, match="must be an instance of `Graph`"):
            out.add_graph(3)
        with pytest.raises(ValueError, match="pass only graph, or graph_def"):
            out.add_graph(tf.Graph(), graph_def=tf.GraphDef())
        with pytest.raises(TypeError, match="must be type MetaGraphDef"):
            out.add_meta_graph(tf.GraphDef())
    log, run, meta, event = events(tmp_path)
    assert (log.step, log.session_log.status) == (3, tf.SessionLog.START)
    assert (run.step, run.tagged_run_metadata.tag) == (3, "step 3")
    assert meta.WhichOneof("what") == "meta_graph_def"
    assert (event.step, event.wall_time) == (9, 1.5)


def test_event_is_written_as_it_was_when_added(tmp_path):
    with tf.summary.FileWriter(tmp_path) as out:
        made = summary("a", 1)
        out.add_summary(made, 1)
        made.value[0].tag = "changed"
    assert values(tmp_path) == [(1, "a", 1)]


# the life of a writer


def test_flushed_events_are_in_the_file(tmp_path):
    out = tf.summary.FileWriter(tmp_path)
    for i in range(100):
        out.add_summary(summary("a", i), i)
    out.flush()
    assert len(values(tmp_path)) == 100
    out.close()


def test_closed_writer_warns_and_a_reopened_one_has_a_new_file(tmp_path):
    out = tf.summary.FileWriter(tmp_path)
    out.reopen()
    out.add_summary(summary("a"), 1)
    out.close()
    out.close()
    with pytest.warns(UserWarning, match="closed FileWriter") as warned:
        out.add_summary(summary("b"), 2)
    assert warned[0].filename == __file__
    with pytest.warns(UserWarning, match="closed FileWriter") as warned:
        out.flush()
    assert warned[0].filename == __file__
    assert values(tmp_path) == [(1, "a", 1)]
    out.reopen()
    out.add_summary(summary("c"), 3)
    out.close()
    assert len(os.listdir(tmp_path)) == 2


def test_forgotten_writer_writes_what_is_pending(tmp_path):
    before = threading.active_count()
    out = tf.summary.FileWriter(tmp_path)
    out.add_summary(summary("a"), 1)
    del out
    gc.collect()
    assert values(tmp_path) == [(1, "a", 1)]
    assert threading.active_count() == before


def in_python(code, *arguments, **options):
    command = [sys.executable, "-c", textwrap.dedent(code), *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, **options)


def test_program_that_ends_without_close_loses_nothing(tmp_path):
    code = """
        import sys, headrace as tf, headrace.summary
        out = tf.summary.FileWriter(sys.argv[1])
        for i in range(1000):
            out.add_summary(tf.Summary(value=[tf.Summary.Value(tag="a", simple_value=i)]), i)
    """
    done = in_python(code, tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    assert len(values(tmp_path)) == 1000


def test_killed_program_leaves_whole_records(tmp_path):
    code = """
        import os, signal, sys, headrace as tf, headrace.summary
        out = tf.summary.FileWriter(sys.argv[1])
        for i in range(50):
            out.add_summary(tf.Summary(value=[tf.Summary.Value(tag="a", simple_value=i)]), i)
        out.flush()
        for i in range(50):
            out.add_summary(tf.Summary(value=[tf.Summary.Value(tag="a", simple_value=i)]), i)
        os.kill(os.getpid(), signal.SIGKILL)
    """
    assert in_python(code, tmp_path).returncode == -signal.SIGKILL
    assert 50 <= len(values(tmp_path)) <= 100


def test_many_threads_write_to_one_file(tmp_path):
    out = tf.summary.FileWriter(tmp_path)

    def work(tag):
        for i in range(200):
            out.add_summary(summary(tag, i), i)

    threads = [threading.Thread(target=work, args=(t,)) for t in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    out.close()
    found = values(tmp_path)
    for tag in "abcd":
        assert [step for step, t, _ in found if t == tag] == list(range(200))


def test_adding_does_not_wait_for_the_disk(tmp_path, monkeypatch):
    stuck, write = threading.Event(), os.write

    def slow_write(file, data):
        stuck.wait(30)
        return write(file, data)

    monkeypatch.setattr(writer.os, "write", slow_write)
    out = tf.summary.FileWriter(tmp_path, max_queue=1)
    for i in range(100):
        out.add_summary(summary("a", i), i)
    assert os.path.getsize(only_file(tmp_path)) == 0
    stuck.set()
    out.close()
    assert len(values(tmp_path)) == 100


def test_cache_has_a_writer_for_each_directory(tmp_path):
    cache = tf.summary.FileWriterCache
    one = cache.get(str(tmp_path / "a"))
    assert cache.get(tmp_path / "a") is one
    assert cache.get(str(tmp_path / "b")) is not one
    one.add_summary(summary("a"), 1)
    cache.clear()
    assert values(tmp_path / "a") == [(1, "a", 1)]
    assert cache.get(str(tmp_path / "a")) is not one
    cache.clear()


# when the disk refuses


def test_full_disk_is_said_once_and_training_goes_on(tmp_path):
    code = """
        import os, resource, sys, headrace as tf, headrace.summary
        out = tf.summary.FileWriter(sys.argv[1])
        step = tf.assign_add(tf.get_variable("n", (), initializer=tf.zeros_initializer()), 1.0)
        tf.summary.scalar("n", step)
        tf.summary.text("t", tf.constant("x" * 1000))
        merged = tf.summary.merge_all()
        resource.setrlimit(resource.RLIMIT_FSIZE, (10_000, 10_000))
        errors = 0
        with tf.Session() as session:
            session.run(tf.global_variables_initializer())
            for i in range(50):
                n, text = session.run([step, merged])
                try:
                    out.add_summary(text, i)
                    if not out.event_writer.closed:
                        out.flush()
                except tf.errors.ResourceExhaustedError as error:
                    errors += 1
                    print(error)
        print(errors, n)
    """
    done = in_python(code, tmp_path)
    error, counts = done.stdout.strip().splitlines()
    assert counts == "1 50.0"
    assert "File too large; events that were added since are not in the file" in error
    assert str(only_file(tmp_path)) in error
    assert "Attempting to use a closed FileWriter" in done.stderr
    assert "Traceback" not in done.stderr
    assert [e.step for e in events(tmp_path)] == list(range(9))  # none of them cut short


def test_directory_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(tf.errors.AlreadyExistsError, match="file; File exists"):
        tf.summary.FileWriter(tmp_path / "file")
    with pytest.raises(tf.errors.FailedPreconditionError, match="Not a directory"):
        tf.summary.FileWriter(tmp_path / "file" / "logs")
    with pytest.raises(tf.errors.UnimplementedError, match="'gs' not implemented"):
        tf.summary.FileWriter("gs://bucket/logs")


# records and their reader


@pytest.mark.parametrize("data", [b"", b"a", b"123456789", bytes(range(256)) * 5])
def test_checksum_is_tensorboards(data):
    assert records.masked_crc32c(data) == theirs(data)


def test_reader_goes_on_when_the_file_grows(tmp_path):
    path = tmp_path / "records"
    path.write_bytes(records.framed(b"one"))
    reader = records.RecordIterator(path)
    assert list(reader) == [b"one"]
    assert list(reader) == []
    two = records.framed(b"two")
    with path.open("ab") as file:
        file.write(two[:9])
    with pytest.raises(tf.errors.DataLossError, match="truncated record at 19"):
        next(reader)
    with path.open("ab") as file:
        file.write(two[9:])
    assert list(reader) == [b"two"]


def test_no_such_file(tmp_path):
    with pytest.raises(tf.errors.NotFoundError, match="none; No such file or directory"):
        summary_iterator(tmp_path / "none")
    with pytest.raises(tf.errors.FailedPreconditionError, match="Is a directory"):
        summary_iterator(tmp_path)


def test_record_that_is_no_event(tmp_path):
    (tmp_path / "records").write_bytes(records.framed(b"\xff\xff\xff"))
    with pytest.raises(tf.errors.DataLossError, match="a record is not an Event"):
        list(summary_iterator(tmp_path / "records"))


GOOD = [b"", b"first", bytes(1000), b"last"]
WHOLE = b"".join(map(records.framed, GOOD))


@given(st.integers(0, len(WHOLE)))
def test_cut_anywhere_the_records_before_are_read(tmp_path_factory, cut):
    path = tmp_path_factory.mktemp("cut") / "records"
    path.write_bytes(WHOLE[:cut])
    found = []
    try:
        found.extend(records.RecordIterator(path))
        assert sum(len(d) + 16 for d in found) == cut
    except tf.errors.DataLossError:
        pass
    assert found == GOOD[: len(found)]


@settings(max_examples=300)
@given(st.integers(0, len(WHOLE) - 1), st.integers(1, 255))
def test_changed_anywhere_it_is_found(tmp_path_factory, at, by):
    path = tmp_path_factory.mktemp("changed") / "records"
    broken = bytearray(WHOLE)
    broken[at] ^= by
    path.write_bytes(broken)
    reader = records.RecordIterator(path)
    with pytest.raises(tf.errors.DataLossError, match=r"corrupted record at \d+"):
        assert [next(reader) for _ in GOOD] == GOOD


HUGE = struct.pack("<Q", 1 << 60)


@given(st.binary(max_size=100))
@example(HUGE + struct.pack("<I", records.masked_crc32c(HUGE)) + b"x")
def test_any_bytes_are_read_or_refused(tmp_path_factory, data):
    path = tmp_path_factory.mktemp("any") / "records"
    path.write_bytes(data)
    with contextlib.suppress(tf.errors.DataLossError):
        list(summary_iterator(path))
