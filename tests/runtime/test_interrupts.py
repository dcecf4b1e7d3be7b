"""Ctrl-C, wherever it falls, leaves the variables of a plain session as some whole number of runs
made them."""

import os
import signal
import threading

import numpy as np
import pytest

import headrace as tf
from headrace.runtime import interrupts, runner
from headrace.runtime.state import State

RUNS = 4


@pytest.fixture(autouse=True)
def pythons_handler():
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    assert not interrupts.pending
    signal.signal(signal.SIGINT, before)


@pytest.fixture
def sess():
    with tf.Session() as opened:
        yield opened


def interrupt():
    os.kill(os.getpid(), signal.SIGINT)


def counter(sess):
    v = tf.get_variable("v", initializer=np.zeros(100, np.float32))
    sess.run(v.initializer)
    return v, v.assign_add(tf.ones(100))


def interrupt_after_compiled_calls(monkeypatch, times=1):
    """Let Ctrl-C fall between XLA's call and the place where its results go."""
    make = runner.make_runner

    def made(program, compiled, signature):
        call = compiled.call

        def interrupted(*arrays):
            results = call(*arrays)
            for _ in range(times):
                interrupt()
            return results

        compiled.call = interrupted
        return make(program, compiled, signature)

    monkeypatch.setattr("headrace.runtime.program.make_runner", made)


def test_ctrl_c_waits_until_donated_variables_are_back(sess, monkeypatch):
    interrupt_after_compiled_calls(monkeypatch)
    v, step = counter(sess)
    sess.run(step)
    for i in range(2, 2 + RUNS):
        with pytest.raises(KeyboardInterrupt):
            sess.run(step)
        np.testing.assert_array_equal(sess.run(v), np.full(100, i))


def test_second_ctrl_c_is_not_held_back(sess, monkeypatch):
    interrupt_after_compiled_calls(monkeypatch, times=2)
    _, step = counter(sess)
    sess.run(step)
    with pytest.raises(KeyboardInterrupt):
        sess.run(step)
    assert not interrupts.pending


def test_ctrl_c_while_numpy_computes_acts_at_once(sess):
    v, _ = counter(sess)
    reached = []

    def body(x):
        interrupt()
        reached.append(1)
        return x

    step = v.assign_add(tf.py_func(body, [tf.ones(100)], tf.float32))
    with pytest.raises(KeyboardInterrupt):
        sess.run(step)
    assert not reached
    np.testing.assert_array_equal(sess.run(v), np.zeros(100))


def test_ctrl_c_while_a_run_waits_acts_at_once(sess):
    queue = tf.FIFOQueue(1, tf.float32, shapes=[(100,)])
    v, _ = counter(sess)
    step = v.assign_add(queue.dequeue())
    timer = threading.Timer(0.2, interrupt)
    timer.start()
    with pytest.raises(KeyboardInterrupt):
        sess.run(step)
    timer.join()
    sess.run(queue.enqueue(np.ones(100)))
    np.testing.assert_array_equal(sess.run(step), np.ones(100))


def test_programs_own_handler_is_left_alone(sess, monkeypatch):
    interrupt_after_compiled_calls(monkeypatch)
    seen = []
    signal.signal(signal.SIGINT, lambda *_: seen.append(1))
    v, step = counter(sess)
    for _ in range(RUNS):
        sess.run(step)
    assert len(seen) == RUNS - 1
    np.testing.assert_array_equal(sess.run(v), np.full(100, RUNS))


def test_other_threads_runs_do_not_hold_ctrl_c_back(sess):
    gate, inside = threading.Event(), threading.Event()

    def body(x):
        inside.set()
        gate.wait(10)
        return x

    v, _ = counter(sess)
    step = v.assign_add(tf.py_func(body, [tf.ones(100)], tf.float32))
    thread = threading.Thread(target=sess.run, args=[step])
    thread.start()
    assert inside.wait(10)

    def interrupted():
        interrupt()
        threading.Event().wait(5)

    try:
        with pytest.raises(KeyboardInterrupt):
            interrupted()
    finally:
        gate.set()
        thread.join()
    np.testing.assert_array_equal(sess.run(v), np.ones(100))


def test_ctrl_c_as_the_lock_comes_back_does_not_take_it_twice():
    class Interrupted:
        """A lock that is taken, and then Ctrl-C falls, once."""

        def __init__(self):
            self.lock, self.signals = threading.RLock(), [KeyboardInterrupt()]
            self.release, self._is_owned = self.lock.release, self.lock._is_owned

        def acquire(self, **how):
            self.lock.acquire(**how)
            if self.signals:
                raise self.signals.pop()

    state = State()
    state.lock = Interrupted()
    with state.lock.lock, pytest.raises(KeyboardInterrupt), state.unlocked():
        assert not state.lock._is_owned()
    assert not state.lock._is_owned()


def test_traced_run_holds_nothing_back_when_it_is_done(sess):
    v, step = counter(sess)
    options = tf.RunOptions(trace_level=tf.RunOptions.FULL_TRACE)
    sess.run(step, options=options, run_metadata=tf.RunMetadata())
    with pytest.raises(KeyboardInterrupt):
        interrupt()
    np.testing.assert_array_equal(sess.run(v), np.ones(100))
