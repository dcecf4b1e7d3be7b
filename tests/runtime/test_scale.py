"""Nothing quadratic: large graphs, and graphs that grow between runs.

Work is counted in lines of Python, which says the same on every machine. The slow tests time as
well, with bounds wide enough for a busy one, for the sake of loops inside of C.
"""

import sys
import time

import numpy as np
import pytest

import headrace as tf


def lines(function, *args):
    """How many lines of Python a call takes."""
    count = 0

    def trace(frame, event, arg):
        nonlocal count
        count += event == "line"
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        function(*args)
    finally:
        sys.settrace(before)
    return count


def chain(n):
    """(placeholder, result) of n operations one upon the other."""
    x = h = tf.placeholder(tf.float32, [4])
    for _ in range(n):
        h = tf.sin(h)
    return x, h


def chain_and_its_gradient(n):
    x, h = chain(n)
    (g,) = tf.gradients(h, x)
    with tf.Session() as sess:
        for _ in range(2):
            sess.run([h, g], {x: np.ones(4)})


def fan(n):
    x = tf.placeholder(tf.float32, [2])
    rows = [tf.sin(x) for _ in range(n)]
    y = tf.add_n(rows) + tf.reduce_sum(tf.stack(rows), 0)
    (g,) = tf.gradients(y, x)
    with tf.Session() as sess:
        sess.run(g, {x: np.ones(2)})


def training_of_many_variables(n):
    loss = tf.add_n([tf.square(tf.Variable(np.float32(i))) for i in range(n)])
    step = tf.train.AdamOptimizer().minimize(loss)
    with tf.Session() as sess:
        sess.run(tf.global_variables_initializer())
        sess.run(step)


def many_scopes(n):
    for i in range(n):
        with tf.variable_scope(None, "layer"), tf.variable_scope(f"inner{i}") as scope:
            tf.get_variable("v", initializer=np.float32(0))
        with tf.variable_scope(scope, reuse=True):
            tf.get_variable("v")


def one_waits_for_the_other(n):
    v = tf.Variable(np.float32(0))
    done = tf.no_op()
    for _ in range(n):
        with tf.control_dependencies([done]):
            done = v.assign_add(1.0)
    with tf.Session() as sess:
        sess.run(v.initializer)
        assert sess.run(done) == n


def recomputed_blocks(n):
    x = h = tf.constant(np.ones(2))
    v = tf.Variable(np.ones(2))
    for _ in range(n):
        h = tf.recompute_grad(lambda h: tf.tanh(h * v))(h)
    tf.gradients(h, [x, v])


@pytest.mark.parametrize(
    "work",
    [
        chain_and_its_gradient, fan, training_of_many_variables, many_scopes,
        one_waits_for_the_other, recomputed_blocks,
    ],
)  # fmt: skip
def test_work_grows_as_the_graph_does(work):
    work(10)  # what is done once is done
    tf.reset_default_graph()
    few = lines(work, 100)
    tf.reset_default_graph()
    assert lines(work, 400) < 4.5 * few


def test_a_run_of_something_new_costs_the_same_in_a_large_graph():
    x = tf.placeholder(tf.float32, [4])
    v = tf.Variable(np.ones(4, np.float32))

    def grow_and_run(sess, n):
        for i in range(n):
            sess.run(tf.add(x, float(i)), {x: np.ones(4)})
            sess.run(v.assign_add(np.ones(4)))
            sess.run(tf.gradients(tf.reduce_sum(tf.tanh(x * v)), v), {x: np.ones(4)})

    with tf.Session() as sess:
        sess.run(v.initializer)
        grow_and_run(sess, 10)
        first = lines(grow_and_run, sess, 20)
        chain(2000)
        grow_and_run(sess, 300)
        assert lines(grow_and_run, sess, 20) < 1.1 * first


@pytest.mark.slow
def test_a_hundred_thousand_operations():
    seconds = []
    for n in (10_000, 100_000):
        tf.reset_default_graph()
        start = time.thread_time()
        x, h = chain(n // 2)
        (g,) = tf.gradients(h, x)
        assert len(tf.get_default_graph().get_operations()) > n
        data = np.float32([0.0, 0.1, -0.2, 3.0])
        with tf.Session() as sess:
            results = [sess.run([h, g], {x: data}) for _ in range(2)]
        seconds.append(time.thread_time() - start)
        expected, slope = data, np.float32(1)
        for _ in range(n // 2):
            expected, slope = np.sin(expected), slope * np.cos(expected)
        for found, slopes in results:
            np.testing.assert_allclose(found, expected, rtol=1e-4)
            np.testing.assert_allclose(slopes, slope, rtol=1e-3, atol=1e-30)
    assert seconds[1] < 25 * seconds[0]


@pytest.mark.slow
def test_ten_thousand_runs_of_a_growing_graph():
    x = tf.placeholder(tf.float32, [4])
    data = np.ones(4, np.float32)
    seconds = []
    with tf.Session() as sess:
        for start in range(0, 10_000, 2000):
            before = time.thread_time()
            for i in range(start, start + 2000):
                assert sess.run(tf.add(x, float(i)), {x: data})[0] == i + 1
            seconds.append(time.thread_time() - before)
    assert seconds[-1] < 4 * min(seconds)
