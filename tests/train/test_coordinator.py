"""Coordinators: stopping together, waiting, and errors that reach the thread that waits."""

import sys
import threading
import time

import pytest

import headrace as tf
from tests.train.threads import LIMIT, Running


def started(target, *args, name=None):
    thread = threading.Thread(target=target, args=args, name=name, daemon=True)
    thread.start()
    return thread


# -- stopping --------------------------------------------------------------------------------------


def test_threads_stop_when_asked():
    coord, turns = tf.train.Coordinator(), []

    def work():
        while not coord.should_stop():
            turns.append(1)
            time.sleep(0.001)

    threads = [started(work) for _ in range(3)]
    assert not coord.wait_for_stop(0.01)
    coord.request_stop()
    coord.join(threads)
    assert coord.should_stop()
    assert coord.joined
    assert coord.wait_for_stop(0)
    assert turns
    assert not any(t.is_alive() for t in threads)


def test_join_waits_for_threads_that_end_by_themselves():
    coord, done = tf.train.Coordinator(), []
    coord.join([started(lambda: (time.sleep(0.02), done.append(1)))])
    assert done
    assert not coord.should_stop()


def test_join_waits_for_registered_threads():
    coord, done = tf.train.Coordinator(), []
    coord.register_thread(started(lambda: (time.sleep(0.02), done.append(1))))
    coord.join()
    assert done


def test_a_thread_that_was_never_started_is_not_waited_for():
    coord = tf.train.Coordinator()
    coord.join([threading.Thread(target=print)])
    assert coord.joined


def test_wait_for_stop_wakes_at_once():
    coord = tf.train.Coordinator()
    waiting = Running(coord.wait_for_stop, LIMIT)
    coord.request_stop()
    assert waiting.result() is True


def test_clear_stop_begins_anew():
    coord = tf.train.Coordinator()
    coord.request_stop(ValueError("first"))
    with pytest.raises(ValueError, match="first"):
        coord.join()
    coord.clear_stop()
    assert not coord.should_stop()
    assert not coord.joined
    coord.raise_requested_exception()
    coord.join()


# -- threads that do not stop ----------------------------------------------------------------------


@pytest.fixture
def stubborn():
    release = threading.Event()
    thread = started(release.wait, LIMIT, name="stubborn")
    yield thread
    release.set()
    thread.join(LIMIT)


def test_threads_that_do_not_stop_are_named(stubborn):
    coord = tf.train.Coordinator()
    coord.request_stop()
    begin = time.monotonic()
    with pytest.raises(RuntimeError, match="threads still running: stubborn"):
        coord.join([stubborn], stop_grace_period_secs=0.05)
    assert time.monotonic() - begin < LIMIT / 2
    assert coord.joined


def test_threads_that_do_not_stop_may_be_ignored(stubborn):
    coord = tf.train.Coordinator()
    coord.request_stop()
    coord.join([stubborn], stop_grace_period_secs=0.05, ignore_live_threads=True)
    assert stubborn.is_alive()


def test_a_thread_that_joins_itself_is_told(stubborn):
    coord = tf.train.Coordinator()

    def work():
        coord.request_stop()
        coord.join([threading.current_thread()], stop_grace_period_secs=0.05)

    with pytest.raises(RuntimeError, match="threads still running"):
        Running(work).result()


# -- errors ----------------------------------------------------------------------------------------


def test_the_first_error_is_raised_by_join():
    coord = tf.train.Coordinator()
    coord.request_stop(ValueError("first"))
    coord.request_stop(KeyError("second"))
    with pytest.raises(ValueError, match="first"):
        coord.raise_requested_exception()
    with pytest.raises(ValueError, match="first"):
        coord.join()


def test_an_error_after_a_clean_stop_is_not_raised():
    coord = tf.train.Coordinator()
    coord.request_stop()
    coord.request_stop(ValueError("late"))
    coord.join()


def test_an_error_in_a_thread_reaches_join_with_its_traceback():
    coord = tf.train.Coordinator()

    def fails_here():
        raise ValueError("in a thread")

    def work():
        with coord.stop_on_exception():
            fails_here()

    thread = started(work)
    with pytest.raises(ValueError, match="in a thread") as caught:
        coord.join([thread])
    assert "fails_here" in [entry.name for entry in caught.traceback]


def test_an_error_may_come_as_exc_info():
    coord = tf.train.Coordinator()
    try:
        raise ValueError("raised")
    except ValueError:
        coord.request_stop(sys.exc_info())
    with pytest.raises(ValueError, match="raised"):
        coord.join()


def test_exc_info_of_no_error_is_a_clean_stop():
    coord = tf.train.Coordinator()
    coord.request_stop(sys.exc_info())
    assert coord.should_stop()
    coord.join()


@pytest.mark.parametrize("ex", [3, ValueError, (1, 2), "stop"])
def test_what_is_no_error_is_refused(ex):
    coord = tf.train.Coordinator()
    with pytest.raises(TypeError, match="takes an exception"):
        coord.request_stop(ex)
    assert not coord.should_stop()


def test_the_end_of_data_is_no_error():
    coord = tf.train.Coordinator()
    with coord.stop_on_exception():
        raise tf.errors.OutOfRangeError(None, None, "end")
    assert coord.should_stop()
    coord.join()


def test_what_is_no_error_may_be_chosen():
    coord = tf.train.Coordinator(clean_stop_exception_types=[KeyError])
    coord.request_stop(KeyError("x"))
    coord.join()
    coord = tf.train.Coordinator(clean_stop_exception_types=())
    coord.request_stop(tf.errors.OutOfRangeError(None, None, "end"))
    with pytest.raises(tf.errors.OutOfRangeError, match="end"):
        coord.join()


def test_after_join_an_error_is_raised_where_it_is_reported():
    coord = tf.train.Coordinator()
    coord.request_stop()
    coord.join()
    with pytest.raises(ValueError, match="late"):
        coord.request_stop(ValueError("late"))
    coord.request_stop()
    coord.request_stop(tf.errors.OutOfRangeError(None, None, "end"))


# -- loopers ---------------------------------------------------------------------------------------


def test_looper_calls_till_it_is_stopped():
    coord, calls, enough = tf.train.Coordinator(), [], threading.Event()

    def turn(a, b):
        calls.append((a, b))
        if len(calls) == 5:
            enough.set()

    looper = tf.train.LooperThread.loop(coord, 0.001, turn, args=(1,), kwargs={"b": 2})
    assert looper.daemon
    assert enough.wait(LIMIT)
    coord.request_stop()
    coord.join()
    assert set(calls) == {(1, 2)}
    assert not looper.is_alive()


def test_looper_without_interval_runs_without_a_pause():
    coord, calls = tf.train.Coordinator(), []

    def turn():
        calls.append(1)
        if len(calls) == 1000:
            coord.request_stop()

    tf.train.LooperThread.loop(coord, None, turn)
    coord.join()
    assert len(calls) == 1000


def test_looper_of_ones_own():
    coord, seen = tf.train.Coordinator(), []

    class Mine(tf.train.LooperThread):
        def start_loop(self):
            seen.append("start")

        def run_loop(self):
            seen.append("turn")
            coord.request_stop()

        def stop_loop(self):
            seen.append("stop")

    Mine(coord, 0.001).start()
    coord.join()
    assert seen == ["start", "turn", "stop"]


def test_an_error_in_a_looper_reaches_join():
    coord = tf.train.Coordinator()

    def turn():
        raise ValueError("in a turn")

    tf.train.LooperThread.loop(coord, 60, turn)
    with pytest.raises(ValueError, match="in a turn"):
        coord.join()


def test_looper_is_told_what_it_lacks():
    with pytest.raises(ValueError, match="must be a Coordinator"):
        tf.train.LooperThread(3, 1)
    with pytest.raises(ValueError, match="also pass 'target'"):
        tf.train.LooperThread(tf.train.Coordinator(), 1, args=(1,))
