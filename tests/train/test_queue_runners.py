"""Queue runners: threads that fill queues, their end, their errors, and their protos."""

import subprocess
import sys

import pytest

import headrace as tf
from headrace import errors
from tests.train.threads import LIMIT, blocked, until


@pytest.fixture
def session():
    with tf.Session() as session:
        yield session


def counting_runner(limit=None, capacity=5, ops=1, **more):
    """A queue of numbers, counted by a variable of its own, and what fills it."""
    queue = tf.FIFOQueue(capacity, tf.int64, shapes=[()])
    counter = tf.get_variable("n", (), tf.int64, initializer=tf.zeros_initializer())
    count = counter.count_up_to(limit or 10**9)
    runner = tf.train.QueueRunner(queue, [queue.enqueue(count)] * ops, **more)
    tf.train.add_queue_runner(runner)
    return queue, runner


@pytest.mark.parametrize("ops", [1, 3])
def test_runner_fills_till_the_data_ends_and_closes(session, ops):
    queue, runner = counting_runner(limit=20, ops=ops)
    session.run(tf.global_variables_initializer())
    coord = tf.train.Coordinator()
    threads = tf.train.start_queue_runners(session, coord)
    assert len(threads) == ops + 1
    assert all(t.daemon for t in threads)
    out = queue.dequeue()
    assert sorted(session.run(out) for _ in range(20)) == list(range(20))
    with pytest.raises(errors.OutOfRangeError, match="is closed and has insufficient elements"):
        session.run(out)
    assert not coord.should_stop()
    coord.request_stop()
    coord.join(threads)
    assert runner.exceptions_raised == []


def test_stop_ends_threads_that_wait_for_a_place(session):
    queue, _ = counting_runner()
    session.run(tf.global_variables_initializer())
    coord = tf.train.Coordinator()
    threads = tf.train.start_queue_runners(session, coord)
    until(lambda: session.run(queue.size()) == 5)
    coord.request_stop()
    coord.join(threads, stop_grace_period_secs=LIMIT)
    assert session.run(queue.is_closed())


def test_an_error_in_a_queue_thread_reaches_join(session):
    def fail():
        raise ValueError("no such example")

    queue = tf.FIFOQueue(5, tf.float32)
    example = tf.py_func(fail, [], tf.float32)
    tf.train.add_queue_runner(tf.train.QueueRunner(queue, [queue.enqueue(example)]))
    coord = tf.train.Coordinator()
    threads = tf.train.start_queue_runners(session, coord)
    with pytest.raises(errors.OutOfRangeError, match="is closed and has insufficient elements"):
        session.run(queue.dequeue())
    with pytest.raises(errors.InvalidArgumentError, match="no such example"):
        coord.join(threads)


def test_without_a_coordinator_errors_are_kept(session, monkeypatch):
    told = []
    monkeypatch.setattr("threading.excepthook", lambda args: told.append(args.exc_value))
    full = tf.FIFOQueue(1, tf.int32)
    runner = tf.train.QueueRunner(full, [full.enqueue(1)])
    threads = runner.create_threads(session, daemon=True, start=True)
    blocked(session)
    session.run(full.close(cancel_pending_enqueues=True))
    for thread in threads:
        thread.join(LIMIT)
    (error,) = runner.exceptions_raised
    assert isinstance(error, errors.CancelledError)
    assert told == [error]


def test_other_errors_may_mean_the_end_of_data(session):
    queue = tf.FIFOQueue(1, tf.int32)
    runner = tf.train.QueueRunner(
        queue, [queue.enqueue(1)], queue_closed_exception_types=(errors.CancelledError,)
    )
    threads = runner.create_threads(session, daemon=True, start=True)
    blocked(session)
    session.run(queue.close(cancel_pending_enqueues=True))
    for thread in threads:
        thread.join(LIMIT)
    assert runner.exceptions_raised == []


def test_a_runner_runs_once_a_session(session):
    _, runner = counting_runner(limit=3)
    session.run(tf.global_variables_initializer())
    coord = tf.train.Coordinator()
    threads = runner.create_threads(session, coord)
    assert [t.daemon for t in threads] == [False, False]
    assert [t.name for t in threads] == [
        "QueueRunnerThread-fifo_queue-fifo_queue_enqueue",
        "QueueRunnerThread-fifo_queue-close_on_stop",
    ]
    assert runner.create_threads(session, coord) == []
    with tf.Session() as other:
        assert len(runner.create_threads(other, coord)) == 2
    for thread in threads:
        thread.start()
    until(lambda: not threads[0].is_alive())
    assert len(runner.create_threads(session)) == 1
    coord.request_stop()
    coord.join(threads)


def test_runners_own_close_and_cancel(session):
    queue = tf.FIFOQueue(1, tf.int32)
    close, cancel = tf.no_op("mine"), tf.no_op("mine_too")
    runner = tf.train.QueueRunner(queue, [queue.enqueue(1)], close, cancel)
    assert (runner.close_op, runner.cancel_op) == (close, cancel)
    assert runner.queue is queue
    assert runner.name == queue.name == "fifo_queue"
    default = tf.train.QueueRunner(queue, [queue.enqueue(1)])
    assert not default.close_op.get_attr("cancel_pending_enqueues")
    assert default.cancel_op.get_attr("cancel_pending_enqueues")


def test_runners_that_lack_something_are_refused():
    queue = tf.FIFOQueue(1, tf.int32)
    put = queue.enqueue(1)
    with pytest.raises(ValueError, match="Must provide queue and enqueue_ops"):
        tf.train.QueueRunner(queue, [])
    with pytest.raises(ValueError, match="mutually exclusive"):
        tf.train.QueueRunner(queue, [put], queue_runner_def=tf.train.QueueRunnerDef())
    for types in ((), [errors.OutOfRangeError], (ValueError,), (3,)):
        with pytest.raises(TypeError, match="queue_closed_exception_types"):
            tf.train.QueueRunner(queue, [put], queue_closed_exception_types=types)


def test_starting_wants_a_session():
    with pytest.raises(ValueError, match="No default session is registered"):
        tf.train.start_queue_runners()


def test_starting_refuses_what_is_no_session():
    with pytest.raises(TypeError, match=r"must be a `tf\.Session` object"):
        tf.train.start_queue_runners("session")


def test_starting_nothing_warns(session, caplog):
    assert tf.train.start_queue_runners(session) == []
    assert "no queue runners were defined" in caplog.text


def test_runners_survive_a_meta_graph():
    queue, runner = counting_runner(
        limit=7, ops=2, queue_closed_exception_types=(errors.OutOfRangeError, errors.AbortedError)
    )
    out = queue.dequeue(name="out")
    meta = tf.train.export_meta_graph()
    names = runner.to_proto()
    with tf.Graph().as_default() as graph:
        tf.train.import_meta_graph(meta, import_scope="again")
        (again,) = graph.get_collection(tf.GraphKeys.QUEUE_RUNNERS)
        assert again.name == "again/fifo_queue"
        assert [op.name for op in again.enqueue_ops] == ["again/fifo_queue_enqueue"] * 2
        assert again.queue_closed_exception_types == runner.queue_closed_exception_types
        assert again.to_proto("again") == names
        assert again.to_proto("elsewhere") is None
        assert graph.get_tensor_by_name("again/" + out.name).shape == out.shape
        with tf.Session() as session:
            session.run(tf.global_variables_initializer())
            coord = tf.train.Coordinator()
            threads = tf.train.start_queue_runners(session, coord)
            found = [session.run("again/" + out.name) for _ in range(7)]
            assert sorted(found) == list(range(7))
            coord.request_stop()
            coord.join(threads)


def test_a_proto_without_types_means_the_end_of_data():
    queue, runner = counting_runner()
    proto = runner.to_proto()
    del proto.queue_closed_exception_types[:]
    again = tf.train.QueueRunner.from_proto(proto)
    assert again.queue_closed_exception_types == (errors.OutOfRangeError,)
    assert again.queue is queue.queue_ref.op


@pytest.mark.parametrize("coordinated", [False, True])
def test_a_program_may_end_without_stopping_its_threads(coordinated):
    """Threads that are busy in XLA, one that waits for a place, and a looper."""
    program = f"""
import numpy as np
import headrace as tf
(row,) = tf.train.slice_input_producer([np.ones((100, 10), np.float32)])
out = tf.train.shuffle_batch([row * 2 + 1], 4, 40, 10, num_threads=2)
session = tf.Session()
coord = tf.train.Coordinator()
tf.train.start_queue_runners(session, coord if {coordinated} else None)
tf.train.LooperThread.loop(coord, None, lambda: session.run(out))
for _ in range(20):
    session.run(out)
print("at its end")
"""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=2 * LIMIT,
        check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout, done.stderr) == (0, "at its end\n", "")
