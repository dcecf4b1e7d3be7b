"""Partition into host and device segments: few of them, the right ones, and right in their sum."""

import numpy as np
import pytest

import headrace as tf
from headrace.runtime.plan import check_plan, make_plan
from tests.runtime.counting import compilations
from tests.runtime.toys import on_host

RUNS = 4
SHOWN = {True: "host", False: "device"}


@pytest.fixture
def sess():
    with tf.Session() as opened:
        yield opened


def segments_of(fetches, feeds=()):
    """host | device | ..., as a list of words."""
    made = make_plan(fetches, list(feeds))
    check_plan(made)
    return [SHOWN[segment.host] for segment in made.segments]


def same_in_every_run(sess, fetch, feeds=None):
    """What each of several runs gives, once it is seen to be the same."""
    first = np.asarray(sess.run(fetch, feeds))
    for _ in range(RUNS):
        again = np.asarray(sess.run(fetch, feeds))
        assert again.dtype == first.dtype
        if first.dtype.kind in "fc":
            np.testing.assert_allclose(again, first, rtol=1e-6)
        else:
            np.testing.assert_array_equal(again, first)
    return first


# -- where things run ------------------------------------------------------------------------------


def test_nothing_to_run():
    x = tf.placeholder(tf.float32, ())
    c = tf.constant(2.0)
    assert segments_of([x, c], [x]) == []


def test_one_device_segment():
    x = tf.placeholder(tf.float32, (2, 2))
    assert segments_of([tf.reduce_sum(tf.exp(x) @ x)], [x]) == ["device"]


def test_host_op_in_the_middle_makes_three():
    x = tf.placeholder(tf.float32, (2,))
    assert segments_of([tf.exp(on_host(tf.exp(x)))], [x]) == ["device", "host", "device"]


def test_host_ops_side_by_side_share_a_segment():
    x = tf.placeholder(tf.float32, (2,))
    y = tf.exp(x)
    z = on_host(y) + on_host(y * 2.0) + on_host(on_host(y))
    assert segments_of([z], [x]) == ["device", "host", "device"]


def test_host_ops_one_behind_the_other_share_a_segment():
    x = tf.placeholder(tf.float32, (2,))
    assert segments_of([on_host(on_host(on_host(x)))], [x]) == ["host"]


def test_independent_device_work_does_not_split():
    x = tf.placeholder(tf.float32, (2,))
    ys = [tf.exp(x), on_host(x), tf.exp(on_host(x)), x * 2.0]
    assert segments_of(ys, [x]) == ["host", "device"]


@pytest.mark.parametrize("resource", [False, True])
def test_variables_are_given_there_what_the_host_made(sess, resource):
    """XLA would have nothing to compute."""
    x = tf.placeholder(tf.float32, (2,))
    v = tf.get_variable("v", (2,), initializer=tf.zeros_initializer(), use_resource=resource)
    step = v.assign(on_host(x), read_value=False)
    step = getattr(step, "op", step)
    assert segments_of([step], [x]) == ["host"]
    assert segments_of([tf.exp(v.assign(on_host(x)))], [x]) == ["host", "device"]
    assert segments_of([v.assign(x)], [x]) == ["device"]
    assert segments_of([v.assign(on_host(x) * 2.0)], [x]) == ["host", "device"]
    assert segments_of([v.assign_add(on_host(x))], [x]) == ["host", "device"]
    with compilations() as compiled:
        for i in range(4):
            sess.run(step, {x: [i, 1]})
            np.testing.assert_array_equal(sess.run(v), [i, 1])
    assert not [s for s in compiled if any(step.op.definition.writes for step in s.steps)]


def test_effects_do_not_split():
    x = tf.placeholder(tf.float32, (2,))
    y = tf.check_numerics(tf.exp(tf.Print(tf.exp(x), [x], "x is ")), "y")
    with tf.control_dependencies([tf.Assert(tf.reduce_all(x > 0), [x])]):
        z = y * 2.0
    assert segments_of([z], [x]) == ["device"]


def test_training_step_is_one_segment():
    x = tf.placeholder(tf.float32, (None, 3))
    w = tf.Variable(tf.ones((3, 2)))
    loss = tf.reduce_mean(tf.nn.relu(x @ w) ** 2)
    step = tf.train.AdamOptimizer(0.1).minimize(loss)
    assert segments_of([step, loss], [x]) == ["device"]


def test_strings_stay_on_the_host():
    x = tf.placeholder(tf.string, (2,))
    assert segments_of([tf.identity(x)], [x]) == ["host"]


# -- values ----------------------------------------------------------------------------------------


def test_py_func_in_the_middle(sess):
    x = tf.placeholder(tf.float32, (3,))
    y = tf.py_func(lambda a: np.sort(a)[::-1].copy(), [x * 2.0], tf.float32)
    z = tf.reduce_sum(tf.reshape(y, [3]) * [1.0, 10.0, 100.0])
    assert same_in_every_run(sess, z, {x: [1, 3, 2]}) == 6 + 40 + 200


def test_py_func_of_several_results_of_which_one_is_used(sess):
    x = tf.placeholder(tf.int64, ())
    _, b = tf.py_func(lambda a: (a + 1, np.float32(a) / 2), [x], [tf.int64, tf.float32])
    assert same_in_every_run(sess, b * 4.0, {x: 3}) == 6


def test_py_func_within_a_training_step(sess):
    w = tf.Variable(1.0)
    target = tf.py_func(lambda a: np.float32(a + 1), [w], tf.float32)
    target.set_shape(())
    step = tf.train.GradientDescentOptimizer(0.5).minimize((w - tf.stop_gradient(target)) ** 2)
    sess.run(tf.global_variables_initializer())
    for i in range(RUNS):
        assert sess.run(w) == 1 + i
        sess.run(step)


def test_strings_go_through(sess):
    x = tf.placeholder(tf.string, (None,))
    fetches = [x, tf.identity(x), tf.shape(x), tf.constant(["a", "b"]), tf.constant("c")]
    for _ in range(RUNS):
        fed, same, shape, listed, scalar = sess.run(fetches, {x: ["é", b"b", "c"]})
        assert fed.tolist() == same.tolist() == ["é".encode(), b"b", b"c"]
        assert shape.tolist() == [3]
        assert listed.tolist() == [b"a", b"b"]
        assert scalar == b"c"
        assert isinstance(scalar, bytes)


@pytest.mark.parametrize("source", ["feed", "variable", "host", "shape", "mixed", "random"])
def test_static_operands_from_anywhere(sess, source):
    x = tf.placeholder(tf.float32, (None, 2))
    n = tf.placeholder(tf.int32, ())
    v = tf.Variable(2)
    sess.run(v.initializer)
    size = {
        "feed": lambda: n,
        "variable": lambda: v + 0,
        "host": lambda: on_host(n) * 1,
        "shape": lambda: tf.shape(x)[1],
        "mixed": lambda: tf.shape(x)[1] * n // v,
        "random": lambda: tf.random_uniform((), 2, 3, tf.int32, seed=1),
    }[source]()
    y = tf.reshape(x * 2.0, [size, -1])
    z = tf.reduce_sum(y, 1)
    for rows in (1, 3):
        data = np.arange(2 * rows, dtype=np.float32).reshape(rows, 2)
        expected = (2 * data).reshape(2, -1).sum(1)
        np.testing.assert_allclose(same_in_every_run(sess, z, {x: data, n: 2}), expected)


def test_static_operand_of_a_variable_that_changes(sess):
    v = tf.Variable(1)
    x = tf.placeholder(tf.float32, ())
    with tf.control_dependencies([v.assign_add(1)]):
        y = tf.fill([v.read_value(), 2], x)
    sess.run(v.initializer)
    for i in range(12):
        assert sess.run(y, {x: 1.0}).shape == (i + 2, 2)


def test_shapes_fold_while_tracing(sess):
    x = tf.placeholder(tf.float32, (None, None))
    n = tf.shape(x)[0] * 2
    y = tf.reshape(tf.concat([x, x], 0), [n // 2, 2, tf.shape(x)[1]])
    z = y / tf.cast(tf.size(x), tf.float32)
    assert segments_of([z], [x]) == ["device"]
    for shape in [(2, 3), (4, 1), (1, 1)]:
        data = np.random.default_rng(0).normal(size=shape).astype(np.float32)
        expected = np.concatenate([data, data]).reshape(shape[0], 2, shape[1]) / data.size
        np.testing.assert_allclose(same_in_every_run(sess, z, {x: data}), expected, rtol=1e-6)


def test_shape_of_what_is_computed_folds(sess):
    x = tf.placeholder(tf.float32, (None,))
    y = tf.exp(x)
    assert segments_of([tf.zeros(tf.shape(y)) + y], [x]) == ["device"]
    assert same_in_every_run(sess, tf.zeros(tf.shape(y)) + y, {x: np.zeros(5)}).tolist() == [1] * 5


def test_data_dependent_shapes_run_on_the_host(sess):
    x = tf.placeholder(tf.float32, (None,))
    positive = tf.boolean_mask(x * 2.0, x > 0)
    where = tf.where(x > 0)
    unique, index = tf.unique(x)
    total = tf.reduce_sum(positive) + tf.cast(tf.size(where), tf.float32) + tf.reduce_sum(unique)
    data = np.array([1, -1, 2, 2, -5], np.float32)
    for _ in range(RUNS):
        found = sess.run([positive, where, unique, index, total], {x: data})
        assert found[0].tolist() == [2, 4, 4]
        assert found[1].tolist() == [[0], [2], [3]]
        assert found[2].tolist() == [1, -1, 2, -5]
        assert found[3].tolist() == [0, 1, 2, 2, 3]
        assert found[4] == 10 + 3 - 3


def test_shapes_that_change_at_every_run_behind_a_host_op(sess):
    x = tf.placeholder(tf.float32, (None,))
    y = tf.reduce_sum(tf.exp(tf.boolean_mask(x, x > 0)) * 0.0 + 1.0)
    rng = np.random.default_rng(1)
    for _ in range(30):
        data = rng.normal(size=20)
        assert sess.run(y, {x: data}) == (data > 0).sum()


def test_feed_cuts_off_what_lies_behind_it(sess):
    x = tf.placeholder(tf.float32, ())
    y = on_host(x)
    z = tf.exp(y)
    assert segments_of([z], [y]) == ["device"]
    assert same_in_every_run(sess, z, {y: 0.0}) == 1


def test_empty_arrays_go_through(sess):
    x = tf.placeholder(tf.float32, (None, 3))
    fetches = [tf.exp(x), tf.reduce_sum(x, 1), tf.reduce_sum(x), on_host(x)]
    for _ in range(RUNS):
        found = sess.run(fetches, {x: np.zeros((0, 3))})
        assert [f.shape for f in found] == [(0, 3), (0,), (), (0, 3)]


def test_large_constants_are_not_part_of_the_computation(sess):
    data = np.arange(100_000, dtype=np.float32)
    c = tf.constant(data)
    r = tf.random_uniform((), seed=1)
    x = tf.placeholder(tf.float32, ())
    for y in (tf.reduce_max(c * x), tf.reduce_max(c * x) + 0.0 * r):
        for i in range(RUNS):
            assert sess.run(y, {x: i}) == data[-1] * i


def test_checks_fail_alike_on_both_tiers(sess):
    x = tf.placeholder(tf.int32, ())
    y = tf.gather([1.0, 2.0, 3.0], x)
    texts = set()
    for i in range(RUNS):
        assert sess.run(y, {x: i % 3}) == i % 3 + 1
        with pytest.raises(tf.errors.InvalidArgumentError) as caught:
            sess.run(y, {x: 7})
        texts.add(str(caught.value))
        assert caught.value.op is y.op
    assert len(texts) == 1


def test_host_op_between_two_writes_sees_the_first(sess):
    v = tf.Variable(np.zeros(4, np.float32))
    first = v.assign_add(tf.ones(4))
    with tf.control_dependencies([first]):
        seen = on_host(v.read_value())
    second = v.assign_add(seen * 10.0)
    sess.run(v.initializer)
    value = 0.0
    for _ in range(RUNS):
        found = sess.run([first, seen, second, v])
        one = value + 1
        value = one + 10 * one
        for array, expected in zip(found, [one, one, value, value], strict=True):
            np.testing.assert_array_equal(array, np.full(4, expected))


def test_segments_are_compiled_each_once(sess):
    x = tf.placeholder(tf.float32, (3,))
    y = tf.exp(on_host(tf.exp(x)))
    with compilations() as made:
        for _ in range(6):
            sess.run(y, {x: np.zeros(3)})
    assert len(made) == 2
