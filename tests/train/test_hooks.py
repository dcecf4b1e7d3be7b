"""The hooks, where tests/tensorflow/test_supervision.py does not compare them with TensorFlow's."""

import json
import logging
import os
import threading

import numpy as np
import pytest

import headrace as tf
from headrace.train import hooks as hooks_module


@pytest.fixture(autouse=True)
def no_writer_stays():
    yield
    tf.summary.FileWriterCache.clear()


@pytest.fixture
def said(caplog):
    """What is logged, line by line."""
    caplog.set_level(logging.INFO, "headrace")
    return lambda: [f"{r.levelname} {r.getMessage()}" for r in caplog.records]


@pytest.fixture
def clock(monkeypatch):
    """A clock to be set by hand: `clock[0]`, in seconds."""
    now = [1000.0]
    monkeypatch.setattr(hooks_module.time, "time", lambda: now[0])
    return now


def step_op():
    return tf.train.get_or_create_global_step().assign_add(1)


@pytest.fixture
def op(fresh_default_graph):
    """A step, which gives its number."""
    return step_op()


def events(directory):
    for name in sorted(os.listdir(directory)):
        if "tfevents" in name:
            yield from tf.train.summary_iterator(os.path.join(directory, name))


def scalars(directory):
    """(step, tag, value) of the summaries."""
    return [(e.step, v.tag, v.simple_value) for e in events(directory) for v in e.summary.value]


def run(op, hooks, steps, **arguments):
    with tf.train.SingularMonitoredSession(hooks=hooks, **arguments) as session:
        for _ in range(steps):
            if session.should_stop():
                break
            session.run(op)


# -- timers ----------------------------------------------------------------------------------------


def test_a_timer_of_seconds(clock):
    timer = tf.train.SecondOrStepTimer(every_secs=10)
    assert timer.should_trigger_for_step(1)
    assert timer.update_last_triggered_step(1) == (None, None)
    clock[0] += 9.9
    assert not timer.should_trigger_for_step(2)
    clock[0] += 0.1
    assert not timer.should_trigger_for_step(1)  # that step had its turn
    assert timer.should_trigger_for_step(2)
    assert timer.update_last_triggered_step(5) == (pytest.approx(10), 4)
    assert timer.last_triggered_step() == 5


# -- logging ---------------------------------------------------------------------------------------


def test_values_are_logged_as_numpy_shows_them(said):
    tf.constant(0.1, name="a")
    tf.constant(np.float32([1e-9, 0.5]), name="b")
    hook = tf.train.LoggingTensorHook(["a:0", "b"], every_n_iter=1)
    run(step_op(), [hook], 1)
    assert said()[-1] == "INFO a:0 = 0.1, b = [0.  0.5]"
    with np.printoptions(suppress=False):
        assert "e-09" in str(np.float32([1e-9, 0.5]))  # the program's own way is as it was


def test_logging_by_seconds(said, clock, op):
    hook = tf.train.LoggingTensorHook(
        {"loss": tf.constant(0.5), "at": "global_step"}, every_n_secs=5
    )
    with tf.train.SingularMonitoredSession(hooks=[hook]) as session:
        for _ in range(7):
            session.run(op)
            clock[0] += 2.5
    assert [line for line in said() if "loss" in line] == [
        "INFO at = 1, loss = 0.5",
        "INFO at = 3, loss = 0.5 (5.000 sec)",
        "INFO at = 5, loss = 0.5 (5.000 sec)",
        "INFO at = 7, loss = 0.5 (5.000 sec)",
    ]


def test_tensors_of_another_graph_are_refused():
    with tf.Graph().as_default():
        other = tf.constant(1.0)
    with pytest.raises(ValueError, match="equal to current graph"):
        tf.train.LoggingTensorHook([other], every_n_iter=1).begin()


def test_steps_a_second(tmp_path, said, clock, op):
    hook = tf.train.StepCounterHook(every_n_steps=4, output_dir=str(tmp_path))
    with tf.train.SingularMonitoredSession(hooks=[hook]) as session:
        for _ in range(10):
            session.run(op)
            clock[0] += 0.5
    tf.summary.FileWriterCache.clear()
    assert [line for line in said() if "/sec" in line] == ["INFO global_step/sec: 2"] * 2
    assert scalars(tmp_path) == [(5, "global_step/sec", 2.0), (9, "global_step/sec", 2.0)]


def test_steps_a_second_by_seconds(said, clock, op):
    hook = tf.train.StepCounterHook(every_n_steps=None, every_n_secs=2)
    with tf.train.SingularMonitoredSession(hooks=[hook]) as session:
        for _ in range(10):
            session.run(op)
            clock[0] += 0.5
    assert [line for line in said() if "/sec" in line] == ["INFO global_step/sec: 2"] * 2


def test_a_subclass_may_record_steps_a_second_itself(clock, op):
    rates = []

    class Hook(tf.train.StepCounterHook):
        def _log_and_record(self, elapsed_steps, elapsed_time, global_step):
            rates.append((elapsed_steps, elapsed_time, global_step))

    with tf.train.SingularMonitoredSession(hooks=[Hook(every_n_steps=2)]) as session:
        for _ in range(5):
            session.run(op)
            clock[0] += 1
    assert rates == [(2, 2.0, 3), (2, 2.0, 5)]


def test_a_global_step_that_stands_still_is_wondered_at(said, op):
    run(tf.constant(1.0), [tf.train.StepCounterHook(every_n_steps=100)], 100)
    wondering = [line for line in said() if line.startswith("WARNING")]
    assert len(wondering) == 5  # and no more
    assert "global step (tf.train.get_global_step) has not been increased: it is 0" in wondering[0]


def test_a_step_that_goes_on_is_not_wondered_at(said, op):
    run(op, [tf.train.StepCounterHook(every_n_steps=100)], 50)
    assert not any(line.startswith("WARNING") for line in said())


# -- stopping --------------------------------------------------------------------------------------


def test_steps_from_where_training_stands(tmp_path, op):
    for last in (3, 6):
        with tf.train.MonitoredTrainingSession(
            checkpoint_dir=str(tmp_path), hooks=[tf.train.StopAtStepHook(num_steps=3)]
        ) as session:
            while not session.should_stop():
                now = session.run(op)
        assert now == last


def test_nan_is_found_with_its_hook_after_others(said, op):
    bad = tf.log(tf.cast(3 - op, tf.float32))
    with pytest.raises(tf.train.NanLossDuringTrainingError, match=r"^NaN loss during training\.$"):
        run(op, [tf.train.NanTensorHook(bad)], 10)
    assert said()[-1] == "ERROR Model diverged with loss = NaN."


def test_final_ops_that_need_input(said):
    v = tf.Variable(0)
    limited = v.count_up_to(2)
    hook = tf.train.FinalOpsHook(limited)
    with pytest.raises(tf.errors.OutOfRangeError):
        run(limited, [hook], 2)
    assert any("which is at its end" in line for line in said())


def test_waiting_for_a_step_of_others(said, monkeypatch, op):
    monkeypatch.setattr(tf.train.GlobalStepWaiterHook, "_PAUSE", 0.01)
    begun = threading.Event()

    class Others(tf.train.SessionRunHook):
        def after_create_session(self, session, coord):
            def work():
                begun.wait(10)
                for _ in range(5):
                    session.run(op)

            self.thread = threading.Thread(target=work)
            self.thread.start()

        def before_run(self, run_context):
            begun.set()

    others, waiter = Others(), tf.train.GlobalStepWaiterHook(5)
    with tf.train.SingularMonitoredSession(hooks=[others, waiter]) as session:
        assert session.run(op) == 6
        assert session.run(op) == 7
    others.thread.join(10)
    waits = [line for line in said() if "Waiting for global step 5 before starting" in line]
    assert len(waits) == 1


# -- saving ----------------------------------------------------------------------------------------


def test_summaries_at_every_so_many_steps(tmp_path, op):
    tf.summary.scalar("half", tf.cast(op, tf.float32) / 2)
    with tf.train.MonitoredTrainingSession(
        summary_dir=str(tmp_path), save_summaries_steps=3, log_step_count_steps=None
    ) as session:
        for _ in range(8):
            session.run(op)
    assert scalars(tmp_path) == [(1, "half", 0.5), (4, "half", 2.0), (7, "half", 3.5)]
    starts = [e.step for e in events(tmp_path) if e.session_log.status == 1]
    assert starts == [1]


def test_summaries_by_seconds_of_a_list_of_ops_to_a_writer(tmp_path, clock, op):
    ops = [tf.summary.scalar(name, tf.cast(op, tf.float32)) for name in "ab"]
    with tf.summary.FileWriter(str(tmp_path)) as writer:
        hook = tf.train.SummarySaverHook(save_secs=3, summary_writer=writer, summary_op=ops)
        with tf.train.SingularMonitoredSession(hooks=[hook]) as session:
            for _ in range(5):
                session.run(op)
                clock[0] += 1
    assert scalars(tmp_path) == [(s, t, float(s)) for s in (1, 4) for t in "ab"]


def test_without_summaries_or_a_writer(tmp_path, op):
    nowhere = tf.train.SummarySaverHook(1, summary_op=tf.constant(b""))
    with tf.train.MonitoredTrainingSession(summary_dir=str(tmp_path), hooks=[nowhere]) as session:
        for _ in range(3):
            session.run(op)
    assert scalars(tmp_path) == []


def test_checkpoints_at_every_so_many_steps(tmp_path, said, op):
    hook = tf.train.CheckpointSaverHook(str(tmp_path), save_steps=4, saver=tf.train.Saver())
    run(op, [hook], 8)
    saves = [line.split()[4] for line in said() if "Saving checkpoints" in line]
    assert saves == ["0", "4", "8"]  # the last at its step, and not at the end again
    graph = (tmp_path / "graph.pbtxt").read_text()
    assert 'name: "global_step"' in graph
    assert "AssignAdd" in graph
    tf.summary.FileWriterCache.clear()
    kinds = {e.WhichOneof("what") for e in events(tmp_path)}
    assert kinds == {"file_version", "graph_def", "meta_graph_def", "session_log"}


def test_ctrl_c_right_after_a_checkpoint_saves_no_other(tmp_path, said, op):
    hook = tf.train.CheckpointSaverHook(str(tmp_path), save_steps=4, saver=tf.train.Saver())
    session = tf.train.SingularMonitoredSession(hooks=[hook])

    def work(steps):
        with session:
            for _ in range(steps):
                session.run(op)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        work(4)
    assert sum("Saving checkpoints" in line for line in said()) == 2


def test_which_saver_saves(tmp_path):
    for savers in (0, 2):
        with tf.Graph().as_default():
            op = step_op()
            for _ in range(savers):
                tf.add_to_collection(tf.GraphKeys.SAVERS, tf.train.Saver())
            hook = tf.train.CheckpointSaverHook(str(tmp_path), save_steps=4)
            scaffold = tf.train.Scaffold(saver=tf.train.Saver())
            words = "More than one item in" if savers else "No items in"
            with pytest.raises(RuntimeError, match=f"{words} collection savers"):
                run(op, [hook], 1, scaffold=scaffold)


def test_profiles(tmp_path, op):
    x = tf.add(tf.ones([3], name="one"), 1.0, name="two")
    hook = tf.train.ProfilerHook(save_steps=3, output_dir=str(tmp_path))
    run([op, x], [hook], 8)
    tf.summary.FileWriterCache.clear()
    files = sorted(name for name in os.listdir(tmp_path) if name.endswith("json"))
    assert files == ["timeline-4.json", "timeline-7.json"]
    trace = json.loads((tmp_path / files[0]).read_text())
    names = {event["args"].get("name") for event in trace["traceEvents"] if "args" in event}
    assert "two" in names
    tags = [e.tagged_run_metadata.tag for e in events(tmp_path)]
    assert [tag for tag in tags if tag] == ["step_4", "step_7"]


def test_hooks_need_a_global_step():
    with pytest.raises(RuntimeError, match=r"to use StopAtStepHook\. .*get_or_create_global"):
        tf.train.StopAtStepHook(num_steps=1).begin()
