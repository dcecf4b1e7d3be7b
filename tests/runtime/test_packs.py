"""Small variables that lie together in one vector: nothing of it shows."""

import numpy as np
import pytest

import headrace as tf
from headrace.runtime.state import SMALL

RUNS = 4


@pytest.fixture
def sess():
    with tf.Session() as opened:
        yield opened


def variables(*shapes, use_resource=False):
    return [
        tf.get_variable(f"v{i}", initializer=np.zeros(s, np.float32), use_resource=use_resource)
        for i, s in enumerate(shapes)
    ]


def often(sess, *fetches, **kwargs):
    for _ in range(RUNS):
        sess.run(list(fetches), **kwargs)


@pytest.mark.parametrize("use_resource", [False, True])
def test_assignment_compiled_before_the_pack_is_seen_by_the_step(sess, use_resource):
    v, w = variables((), (3,), use_resource=use_resource)
    x = tf.placeholder(tf.float32, ())
    put = v.assign(x).op
    step = tf.group(v.assign_add(1.0), w.assign_add(tf.ones(3)))
    sess.run(tf.global_variables_initializer())
    often(sess, put, feed_dict={x: 5.0})
    often(sess, step)
    assert sess.run(v) == 5 + RUNS
    sess.run(put, {x: 100.0})
    assert sess.run(v) == 100
    sess.run(step)
    assert sess.run(v) == 101
    assert sess.run(w).tolist() == [RUNS + 1] * 3


def test_assignment_compiled_after_the_pack_is_seen_by_the_step(sess):
    v, w = variables((), (3,))
    x = tf.placeholder(tf.float32, ())
    put = v.assign(x).op
    step = tf.group(v.assign_add(1.0), w.assign_add(tf.ones(3)))
    sess.run(tf.global_variables_initializer())
    often(sess, step)
    for i in range(RUNS):
        sess.run(put, {x: 10.0 * i})
        sess.run(step)
        assert sess.run(v) == 10 * i + 1
    assert sess.run(w).tolist() == [2 * RUNS] * 3


def test_steps_with_packs_that_overlap(sess):
    a, b, c = variables((), (2,), (2, 2))
    ones = [v.assign_add(tf.ones(v.shape)) for v in (a, b, c)]
    steps = [tf.group(*ones[:2]), tf.group(*ones[1:]), tf.group(ones[0], ones[2]), tf.group(*ones)]
    sess.run(tf.global_variables_initializer())
    counts = np.zeros(3)
    for _ in range(RUNS):
        for step, parts in zip(steps, ([0, 1], [1, 2], [0, 2], [0, 1, 2]), strict=True):
            sess.run(step)
            counts[parts] += 1
            found = sess.run([a, b, c])
            for value, n, v in zip(found, counts, (a, b, c), strict=True):
                assert value.shape == tuple(v.shape.as_list())
                np.testing.assert_array_equal(value, np.full(value.shape, n))


def test_parts_may_be_read_alone_and_all_together(sess):
    vs = variables((), (3,), (2, 2), (SMALL + 1,))
    step = tf.group(*[v.assign_add(tf.ones(v.shape) * (i + 1.0)) for i, v in enumerate(vs)])
    total = tf.add_n([tf.reduce_sum(v) for v in vs])
    doubled = [tf.identity(v) * 2.0 for v in vs]
    sess.run(tf.global_variables_initializer())
    for n in range(1, RUNS + 1):
        sess.run(step)
        for i, v in enumerate(vs):
            np.testing.assert_array_equal(sess.run(v), np.full(v.shape.as_list(), n * (i + 1)))
            np.testing.assert_array_equal(
                sess.run(doubled[i]), np.full(v.shape.as_list(), 2.0 * n * (i + 1))
            )
        assert sess.run(total) == n * (1 + 3 * 2 + 4 * 3 + 4 * (SMALL + 1))


def test_types_do_not_mix(sess):
    kinds = (tf.float32, tf.float64, tf.int32, tf.int64, tf.float32, tf.int64)
    vs = [tf.get_variable(f"v{i}", (2,), k, tf.zeros_initializer()) for i, k in enumerate(kinds)]
    step = tf.group(*[v.assign_add(tf.ones((2,), v.dtype.base_dtype)) for v in vs])
    sess.run(tf.global_variables_initializer())
    for n in range(1, RUNS + 1):
        sess.run(step)
        for v, found in zip(vs, sess.run(vs), strict=True):
            assert found.dtype == v.dtype.as_numpy_dtype
            assert found.tolist() == [n, n]


def test_variable_may_take_another_shape(sess):
    v = tf.Variable(np.zeros(2, np.float32), validate_shape=False)
    w = tf.Variable(np.zeros(3, np.float32))
    x = tf.placeholder(tf.float32, None)
    put = tf.assign(v, x, validate_shape=False).op
    step = tf.group(tf.assign(v, v + 1.0, validate_shape=False), w.assign_add(tf.ones(3)))
    sess.run(tf.global_variables_initializer())
    often(sess, step)
    for size in (2, 5, 2, 0, 7, 7, 7):
        sess.run(put, {x: np.zeros(size)})
        often(sess, step)
        np.testing.assert_array_equal(sess.run(v), np.full(size, RUNS))
    assert sess.run(w).tolist() == [8 * RUNS] * 3


def test_initialising_again_after_steps(sess):
    vs = variables((), (3,), (2, 2))
    init = tf.global_variables_initializer()
    step = tf.group(*[v.assign_add(tf.ones(v.shape)) for v in vs])
    for _ in range(RUNS):
        sess.run(init)
        assert sess.run(vs)[1].tolist() == [0, 0, 0]
        for n in range(1, RUNS):
            sess.run(step)
            assert sess.run(vs)[1].tolist() == [n, n, n]


def test_sessions_with_some_variables_uninitialised(sess):
    v, w = variables((), (3,))
    both = tf.group(v.assign_add(1.0), w.assign_add(tf.ones(3)))
    one = v.assign_add(1.0)
    sess.run(tf.global_variables_initializer())
    often(sess, both)
    with tf.Session(graph=v.graph) as other:
        other.run(v.initializer)
        for n in range(1, RUNS):
            with pytest.raises(tf.errors.FailedPreconditionError, match="uninitialized value v1"):
                other.run(both)
            assert other.run(one) == n
        other.run(w.initializer)
        other.run(both)
        assert other.run(v) == RUNS
    assert sess.run(v) == RUNS


def test_failing_run_leaves_the_pack(sess):
    v, w = variables((), (3,))
    x = tf.placeholder(tf.int32, ())
    by = tf.gather([1.0, 2.0], x)
    step = tf.group(v.assign_add(by), w.assign_add(tf.fill([3], by)))
    plain = tf.group(v.assign_add(1.0), w.assign_add(tf.ones(3)))
    sess.run(tf.global_variables_initializer())
    often(sess, plain)
    often(sess, step, feed_dict={x: 1})
    for _ in range(RUNS):
        with pytest.raises(tf.errors.InvalidArgumentError):
            sess.run(step, {x: 9})
        assert sess.run(v) == 3 * RUNS
        assert sess.run(w).tolist() == [3 * RUNS] * 3
