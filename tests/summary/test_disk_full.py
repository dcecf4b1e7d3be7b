"""A disk that is full, or broken, while a run logs and saves: a clear error, and nothing lost."""

from __future__ import annotations

import errno
import os
import subprocess
import sys
import textwrap
import threading
import time

import numpy as np
import pytest

import headrace as tf
from headrace.summary import writer
from headrace.summary.reader import summary_iterator
from headrace.train.checkpoint_reader import load_checkpoint
from headrace.train.saver import Saver

SIZE = 256 << 10


@pytest.fixture
def small_disk(tmp_path):
    """A folder on a disk of its own, of 256 KiB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", str(folder)]
    try:
        mounted = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        pytest.skip("there is no `mount` here")
    if mounted.returncode:
        pytest.skip(f"mounting needs a privilege that this process lacks: {mounted.stderr}")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(folder):
    """Leave no byte on a disk free. Returns the file that takes them."""
    path = folder / "filler"
    with path.open("wb", buffering=0) as file:
        for size in (4096, 1):
            try:
                while file.write(bytes(size)):
                    pass
            except OSError as error:
                assert error.errno == errno.ENOSPC  # noqa: PT017
    return path


def event_files(folder):
    return [folder / name for name in sorted(os.listdir(folder)) if name.startswith("events")]


def steps(path):
    """The steps of the summaries in an event file, all of it whole."""
    return [event.step for event in summary_iterator(path) if event.summary.value]


def train_step(size=1000):
    """An operation that adds 1 to a variable [size], and a summary of it."""
    v = tf.get_variable("v", (size,), initializer=tf.zeros_initializer())
    step = v.assign_add(tf.ones((size,)))
    tf.summary.histogram("v", step)
    return v, step, tf.summary.merge_all()


def summary(value=1.0, size=0):
    return tf.Summary(value=[tf.Summary.Value(tag="a" + size * "x", simple_value=value)])


# -- a real disk -----------------------------------------------------------------------------------


def test_training_goes_on_when_the_disk_of_its_logs_is_full(small_disk):
    v, step, merged = train_step()
    out = tf.summary.FileWriter(small_disk, flush_secs=1)
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        said, after = [], 0
        for i in range(400):
            _, text = session.run([step, merged])
            if out.event_writer.closed:
                after += 1
                continue
            try:
                out.add_summary(text, i)
                out.flush()
            except tf.errors.ResourceExhaustedError as error:
                said.append(error.message)
            if i == 5:
                filler = fill(small_disk)
        (path,) = event_files(small_disk)
        assert said == [
            f"{path}; No space left on device; events that were added since are not in the file"
        ]
        assert after > 300
        np.testing.assert_array_equal(session.run(v), np.full(1000, 400, np.float32))
        kept = steps(path)
        assert kept == list(range(len(kept)))
        assert len(kept) >= 6

        filler.unlink()  # there is space again: the same writer goes on, in a file of its own
        out.close()
        out.reopen()
        out.add_summary(session.run(merged), 1000)
        out.close()
    assert [steps(p) for p in event_files(small_disk)] == [kept, [1000]]


def test_a_save_on_a_full_disk_leaves_the_checkpoint_before(small_disk):
    v, step, _ = train_step()
    saver = Saver()
    prefix = str(small_disk / "model")
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        session.run(step)
        old = saver.save(session, prefix, global_step=1)
        session.run(step)
        filler = fill(small_disk)
        with pytest.raises(tf.errors.ResourceExhaustedError, match="No space left on device"):
            saver.save(session, prefix, global_step=2)
        assert tf.train.latest_checkpoint(str(small_disk)) == old
        np.testing.assert_array_equal(load_checkpoint(old).get_tensor("v"), np.ones(1000))
        assert not [n for n in os.listdir(small_disk) if "model-2" in n or "temp" in n]
        np.testing.assert_array_equal(session.run(v), np.full(1000, 2, np.float32))
        filler.unlink()
        new = saver.save(session, prefix, global_step=2)
        assert saver.last_checkpoints == [old, new]
        saver.restore(session, new)
        np.testing.assert_array_equal(session.run(v), np.full(1000, 2, np.float32))


def test_a_disk_too_full_for_a_new_event_file(small_disk):
    command = ["mount", "-o", "remount,nr_inodes=2", str(small_disk)]
    assert subprocess.run(command, check=False).returncode == 0
    (small_disk / "file").touch()
    with pytest.raises(tf.errors.ResourceExhaustedError, match="No space left") as caught:
        tf.summary.FileWriter(small_disk)
    assert str(small_disk / "events.out.tfevents.") in str(caught.value)


# -- /dev/full: every write fails ------------------------------------------------------------------


@pytest.fixture
def full(tmp_path):
    """A FileWriter whose file is /dev/full from now on."""
    if not os.path.exists("/dev/full"):
        pytest.skip("there is no /dev/full here")
    out = tf.summary.FileWriter(tmp_path)
    out.flush()
    device = os.open("/dev/full", os.O_WRONLY)
    os.dup2(device, out.event_writer._file._file)
    os.close(device)
    return out


def threads():
    return [t for t in threading.enumerate() if t.name == "headrace-events"]


def within(seconds, act, *arguments):
    """What `act` raises; it must not take longer."""
    raised = []

    def run():
        try:
            act(*arguments)
        except tf.errors.OpError as error:
            raised.append(error)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    thread.join(seconds)
    assert not thread.is_alive(), f"{act} hangs"
    return raised


@pytest.mark.parametrize("act", ["flush", "close"])
def test_flush_and_close_return_and_say_it(full, tmp_path, act):
    full.add_summary(summary(), 1)
    (error,) = within(20, getattr(full, act))
    assert isinstance(error, tf.errors.ResourceExhaustedError)
    assert str(event_files(tmp_path)[0]) in error.message
    assert full.event_writer.closed
    assert within(20, full.close) == []  # it was said
    assert threads() == []


def test_the_next_event_says_it(full):
    full.add_summary(summary(), 1)
    full.event_writer._file._thread.join(20)
    with pytest.raises(tf.errors.ResourceExhaustedError, match="No space left on device"):
        full.add_summary(summary(), 1)
    with pytest.warns(UserWarning, match="closed FileWriter"):
        full.add_summary(summary(), 2)
    assert within(20, full.close) == []


def test_threads_that_wait_for_the_disk_are_woken(full, monkeypatch):
    monkeypatch.setattr(writer, "_MOST_PENDING", 0)
    stuck, write = threading.Event(), os.write

    def slow_write(file, data):
        stuck.wait(20)
        return write(file, data)

    monkeypatch.setattr(writer.os, "write", slow_write)
    full.add_summary(summary(), 0)
    said = []
    waiting = [
        threading.Thread(target=lambda: said.extend(within(30, full.event_writer.flush)))
        for _ in range(4)
    ]
    for thread in waiting:
        thread.start()
    time.sleep(0.2)
    stuck.set()
    for thread in waiting:
        thread.join(30)
        assert not thread.is_alive()
    assert len(said) == 1  # once
    assert within(20, full.close) == []


def test_a_writer_that_is_never_closed_says_it_when_the_program_ends(tmp_path):
    code = """
        import os, sys, headrace as tf
        out = tf.summary.FileWriter(sys.argv[1])
        out.flush()
        os.dup2(os.open("/dev/full", os.O_WRONLY), out.event_writer._file._file)
        out.add_summary(tf.Summary(value=[tf.Summary.Value(tag="a", simple_value=1)]), 1)
        print("done")
    """
    command = [sys.executable, "-c", textwrap.dedent(code), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.stdout == "done\n"
    assert f"{event_files(tmp_path)[0]}; No space left on device" in done.stderr


# -- what else can fail ----------------------------------------------------------------------------


def test_a_broken_disk_is_said(tmp_path, monkeypatch):
    out = tf.summary.FileWriter(tmp_path)
    out.add_summary(summary(), 1)
    out.flush()

    def fail(file, data):
        raise OSError(errno.EIO, os.strerror(errno.EIO))

    monkeypatch.setattr(writer.os, "write", fail)
    out.add_summary(summary(), 2)
    with pytest.raises(tf.errors.UnknownError, match="Input/output error") as caught:
        out.flush()
    (path,) = event_files(tmp_path)
    assert str(path) in str(caught.value)
    assert steps(path) == [1]
    out.close()


def test_of_many_records_those_that_fit_are_kept(tmp_path, monkeypatch):
    stuck, write, left = threading.Event(), os.write, [1000]

    def small_write(file, data):
        """Stop for a while, and then take a thousand bytes and a few at a time, and no more."""
        stuck.wait(20)
        size = min(len(data), 300, left[0])
        if not size:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        left[0] -= size
        return write(file, data[:size])

    monkeypatch.setattr(writer.os, "write", small_write)
    out = tf.summary.FileWriter(tmp_path)
    for i in range(50):
        out.add_summary(summary(size=50), i)
    stuck.set()
    with pytest.raises(tf.errors.ResourceExhaustedError):
        out.close()
    (path,) = event_files(tmp_path)
    kept = steps(path)
    assert kept == list(range(len(kept)))
    assert 5 < len(kept) < 12  # a record has about 100 bytes


def test_a_failure_of_close_is_said(tmp_path, monkeypatch):
    out = tf.summary.FileWriter(tmp_path)
    out.flush()
    ours, close = out.event_writer._file._file, os.close

    def fail(file):
        close(file)
        if file == ours:
            raise OSError(errno.EDQUOT, os.strerror(errno.EDQUOT))

    monkeypatch.setattr(writer.os, "close", fail)
    with pytest.raises(tf.errors.ResourceExhaustedError, match="quota exceeded"):
        out.close()


def test_what_the_writing_thread_did_not_expect_is_said(tmp_path, monkeypatch):
    out = tf.summary.FileWriter(tmp_path)
    out.flush()

    def fail(file, data):
        raise MemoryError("no memory")

    monkeypatch.setattr(writer.os, "write", fail)
    out.add_summary(summary(), 1)
    (error,) = within(20, out.flush)
    assert "no memory" in error.message
    assert within(20, out.close) == []
