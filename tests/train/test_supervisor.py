"""Supervisor, where tests/tensorflow/test_supervision.py does not compare it with TensorFlow's."""

import os
import threading
import time

import numpy as np
import pytest

import headrace as tf


def train_op():
    step = tf.train.get_or_create_global_step()
    tf.summary.scalar("twice", tf.cast(step, tf.float32) * 2)
    return step.assign_add(1)


def events(directory):
    for name in sorted(os.listdir(directory)):
        if "tfevents" in name:
            yield from tf.train.summary_iterator(os.path.join(directory, name))


def run_until(supervisor, session, op, done):
    """Steps until there is what is waited for; a failure after ten seconds."""
    end = time.monotonic() + 10
    while not done():
        assert time.monotonic() < end
        session.run(op)
        time.sleep(0.001)
    supervisor.request_stop()


def test_threads_save_and_log_beside_the_training(tmp_path):
    op = train_op()
    supervisor = tf.train.Supervisor(
        logdir=str(tmp_path), save_summaries_secs=0.05, save_model_secs=0.1
    )
    assert supervisor.save_path == str(tmp_path / "model.ckpt")
    with supervisor.managed_session() as session:
        run_until(supervisor, session, op, lambda: len(supervisor.saver.last_checkpoints) == 3)
        assert supervisor.should_stop()
    tags, logs = set(), []
    for event in events(tmp_path):
        for value in event.summary.value:
            tags.add(value.tag)
            if value.tag == "twice":
                assert value.simple_value == 2 * event.step
        if event.WhichOneof("what") == "session_log":
            logs.append(event.session_log.status)
    assert tags == {"twice", "global_step/sec"}
    assert (logs[0], logs[-1]) == (1, 2)  # it started, and stopped
    assert logs.count(3) >= 3  # checkpoints
    assert "graph.pbtxt" in os.listdir(tmp_path)
    latest = int(tf.train.load_variable(str(tmp_path), "global_step"))
    with tf.Graph().as_default():
        op = train_op()
        supervisor = tf.train.Supervisor(logdir=str(tmp_path))
        with supervisor.managed_session() as session:
            assert session.run(op) == latest + 1


def test_ctrl_c_saves(tmp_path):
    op = train_op()
    supervisor = tf.train.Supervisor(logdir=str(tmp_path), save_model_secs=1000)

    def work():
        with supervisor.managed_session() as session:
            for _ in range(7):
                session.run(op)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        work()
    assert tf.train.load_variable(str(tmp_path), "global_step") == 7
    assert not [t for t in threading.enumerate() if isinstance(t, tf.train.LooperThread)]


def test_without_a_directory(caplog):
    op = train_op()
    supervisor = tf.train.Supervisor()
    assert (supervisor.summary_writer, supervisor.save_path) == (None, None)
    with supervisor.managed_session() as session:
        assert session.run(op) == 1
    assert "Standard services need a 'logdir'" in caplog.text


def test_an_error_of_the_block_and_of_a_thread():
    op = train_op()
    supervisor = tf.train.Supervisor(stop_grace_secs=5)
    done = threading.Event()

    def fail():
        raise tf.errors.DataLossError(None, None, "of the thread")

    def work():
        with supervisor.managed_session() as session:
            thread = supervisor.loop(0.01, fail)
            supervisor.wait_for_stop()
            thread.join(5)
            done.set()
            session.run(op)
            raise ValueError("of the block")

    with pytest.raises(tf.errors.DataLossError, match="of the thread"):
        work()
    assert done.is_set()


def test_looping_threads():
    op = train_op()
    supervisor = tf.train.Supervisor()
    calls = []
    with supervisor.managed_session() as session:

        def work(a, b=None):
            calls.append((a, b, int(session.run(op))))
            if len(calls) == 3:
                supervisor.RequestStop()

        supervisor.Loop(0.001, work, args=(1,), kwargs={"b": 2})
        supervisor.WaitForStop()
        assert supervisor.ShouldStop()
    assert calls == [(1, 2, 1), (1, 2, 2), (1, 2, 3)]


def test_queue_runners_are_started():
    values = tf.train.input_producer(np.arange(4), shuffle=False, num_epochs=1).dequeue()
    supervisor = tf.train.Supervisor(ready_op=None)
    got = []
    with supervisor.managed_session() as session:
        while not supervisor.should_stop():
            got.append(int(session.run(values)))  # OutOfRangeError ends the block
    assert got == [0, 1, 2, 3]


def test_what_is_given_is_used(tmp_path):
    op = train_op()
    writer = tf.summary.FileWriter(str(tmp_path / "w"))
    initialised = []

    def init(session):
        initialised.append(session)
        session.run(tf.get_default_graph().get_operation_by_name("global_step/Assign"))

    supervisor = tf.train.Supervisor(
        logdir=str(tmp_path), summary_writer=writer, init_op=None, init_fn=init, saver=None,
        checkpoint_basename="x", save_summaries_secs=0,
        session_manager=tf.train.SessionManager(ready_op=tf.report_uninitialized_variables()),
    )  # fmt: skip
    assert supervisor.save_path.endswith("/x")
    assert supervisor.saver is None
    session = supervisor.PrepareSession()
    assert initialised == [session]
    supervisor.SummaryComputed(session, session.run(supervisor.summary_op))
    supervisor.SummaryComputed(session, session.run(supervisor.summary_op), 5)
    session.run(op)
    supervisor.Stop()
    session.close()
    steps = [e.step for e in events(tmp_path / "w") if e.WhichOneof("what") == "summary"]
    assert steps == [0, 5]


def test_a_summary_writer_of_none_writes_nothing(tmp_path):
    op = train_op()
    supervisor = tf.train.Supervisor(logdir=str(tmp_path), summary_writer=None, save_model_secs=0)
    with supervisor.managed_session() as session:
        session.run(op)
        assert supervisor.start_standard_services(session) == []
    assert os.listdir(tmp_path) == ["graph.pbtxt"]


def test_one_that_is_not_the_chief():
    with tf.device("/job:worker"):
        v = tf.Variable(1.0, collections=[tf.GraphKeys.LOCAL_VARIABLES])
    supervisor = tf.train.Supervisor(is_chief=False, logdir="never_made")
    assert (supervisor.summary_writer, supervisor.save_model_secs) == (None, None)
    with supervisor.managed_session() as session:
        assert session.run(v) == 1.0
    with pytest.raises(RuntimeError, match="Only chief supervisor"):
        supervisor.start_standard_services(None)
    assert not os.path.exists("never_made")


def test_another_graph():
    graph = tf.Graph()
    with graph.as_default():
        op = train_op()
    supervisor = tf.train.Supervisor(graph)
    assert graph.finalized
    assert not tf.get_default_graph().finalized
    with supervisor.managed_session() as session:
        assert session.run(op) == 1
