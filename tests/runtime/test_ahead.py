"""Long programs are compiled ahead, in another thread, and taken over after a counted run."""

import threading

import numpy as np
import pytest

import headrace as tf
from headrace.runtime import ahead, program


@pytest.fixture
def threads(monkeypatch):
    """What is long is short here; a list that grows by the thread of every compilation."""
    monkeypatch.setattr(ahead, "LONG", 20)
    monkeypatch.setattr(ahead, "_COMPILE", 1e-5)
    compile_ = program.Program._compile
    found = []

    def noted(self, *args):
        found.append(threading.current_thread())
        return compile_(self, *args)

    monkeypatch.setattr(program.Program, "_compile", noted)
    return found


def chain(n=30):
    v = tf.get_variable("v", initializer=np.zeros(4, np.float32))
    x = tf.placeholder(tf.float32, (4,))
    y = x + v
    for _ in range(n):
        y = tf.sin(y) * 1.5
    return x, v, v.assign_add(y)


def values(runs):
    """The variable after each run, and how often NumPy ran the step."""
    with tf.Graph().as_default(), tf.Session() as sess:
        x, v, step = chain()
        sess.run(v.initializer)
        seen = [sess.run(step, {x: np.ones(4)}) for _ in range(runs)]
        (made,) = [p for p in sess.graph._programs.values() if x in p.plan.feeds]
        return np.array(seen), made._waits[(4,),]


def test_xla_takes_over_after_the_wait_what_was_compiled_ahead(threads):
    _, wait = values(1)
    assert wait > 2
    assert not threads
    values(ahead.begins(1, wait) + 1)
    assert not threads
    found, _ = values(wait + 5)
    assert [t is threading.main_thread() for t in threads] == [False]
    for _ in range(3):  # to the bit, whenever the thread was done
        np.testing.assert_array_equal(values(wait + 5)[0], found)
    expected, state = [], np.zeros(4)
    for _ in range(wait + 5):
        y = np.ones(4) + state
        for _ in range(30):
            y = np.sin(y) * 1.5
        state = state + y
        expected.append(state)
    np.testing.assert_allclose(found[:10], expected[:10], rtol=1e-3)


def test_variable_that_takes_another_shape_meanwhile(threads):
    v = tf.Variable(np.ones(2, np.float32), validate_shape=False, name="v")
    y = v
    for _ in range(30):
        y = tf.sin(y) * 1.5
    longer = tf.assign(v, np.ones(3, np.float32), validate_shape=False)
    with tf.Session() as sess:
        sess.run(v.initializer)
        for _ in range(2):
            sess.run(y)
        (made,) = [p for p in sess.graph._programs.values() if p.plan.fetches == (y,)]
        wait = made._waits[()]
        for _ in range(wait // 2):
            sess.run(y)
        sess.run(longer.op)
        for _ in range(wait):
            assert sess.run(y).shape == (3,)


def test_errors_of_compiling_are_raised_where_it_is_due(threads, monkeypatch):
    def fails(self, *args):
        raise RuntimeError("no compiler today")

    monkeypatch.setattr(program.Program, "_compile", fails)
    with pytest.raises(RuntimeError, match="no compiler today"):
        values(10_000)


def test_work_that_is_large_waits_less():
    small, large = ahead.Work(), ahead.Work()
    for _ in range(2000):
        small(None, 0, [np.zeros(1)])
        large(None, 0, [np.zeros(10_000)])
    assert small.wait > 10 * large.wait >= 20
