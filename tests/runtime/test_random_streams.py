"""Random streams: where they start, that they go on, and that the tier does not show."""

import numpy as np
import pytest

import headrace as tf

RUNS = 5


def ops_of_one_seed():
    return {
        "uniform": tf.random_uniform((3,), seed=7),
        "normal": tf.random_normal((3,), seed=7),
        "truncated": tf.truncated_normal((3,), seed=7),
        "integers": tf.random_uniform((3,), 0, 1000, tf.int32, seed=7),
        "shuffle": tf.random_shuffle(np.arange(20), seed=7),
        "multinomial": tf.multinomial(np.zeros((1, 5), np.float32), 6, seed=7),
    }


def draws(element, runs=RUNS):
    with tf.Session() as sess:
        return [sess.run(element) for _ in range(runs)]


@pytest.mark.parametrize("kind", list(ops_of_one_seed()))
def test_stream_goes_on_within_a_session_and_starts_again_in_the_next(kind):
    with tf.Graph().as_default():
        x = ops_of_one_seed()[kind]
        first, second = draws(x), draws(x)
    for a, b in zip(first, second, strict=True):
        np.testing.assert_array_equal(a, b)
    assert len({a.tobytes() for a in first}) == RUNS


@pytest.mark.parametrize("kind", list(ops_of_one_seed()))
def test_two_ops_with_one_seed_draw_equal_streams(kind):
    with tf.Graph().as_default():
        x, y = ops_of_one_seed()[kind], ops_of_one_seed()[kind]
        for a, b in draws([x, y]):
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("kind", list(ops_of_one_seed()))
def test_tiers_continue_one_stream(kind):
    """NumPy alone, by a new fetch at every run; and XLA from the second run on."""
    with tf.Graph().as_default():
        x = ops_of_one_seed()[kind]
        compiled = draws(x)
        with tf.Session() as sess:
            interpreted = [sess.run([x, tf.identity(x)])[0] for _ in range(RUNS)]
    for a, b in zip(compiled, interpreted, strict=True):
        np.testing.assert_array_equal(a, b)


def test_programs_share_the_stream_of_an_op():
    x = tf.random_uniform((), seed=3)
    y = x * 2.0
    with tf.Session() as sess:
        mixed = [sess.run(x), sess.run(y) / 2, sess.run(x), sess.run(y) / 2, *sess.run([x, y])[:1]]
    np.testing.assert_array_equal(mixed, draws(x))


def test_stream_moves_by_what_was_drawn_whatever_the_shape():
    n = tf.placeholder(tf.int32, ())
    x = tf.random_uniform([n], seed=11)
    sizes = [3, 3, 1, 5, 3, 3, 1]
    with tf.Session() as sess:
        first = [sess.run(x, {n: k}) for k in sizes]
    with tf.Session() as sess:
        second = [sess.run([x, tf.identity(x)], {n: k})[0] for k in sizes]  # NumPy alone
    for a, b in zip(first, second, strict=True):
        np.testing.assert_array_equal(a, b)


def test_op_not_fetched_does_not_draw():
    x, y = tf.random_uniform((), seed=1), tf.random_uniform((), seed=1)
    with tf.Session() as sess:
        for _ in range(RUNS):
            sess.run(x)
        assert sess.run(y) == draws(x, 1)[0]


def test_drawn_once_per_run_however_often_used():
    x = tf.random_uniform((4,), seed=1)
    y = x - x
    for found in draws(y):
        np.testing.assert_array_equal(found, np.zeros(4))


def test_seeds_of_graph_and_op():
    """An op seed alone, a graph seed alone, neither: equal, equal, different."""

    def draw(graph_seed, op_seed):
        with tf.Graph().as_default():
            if graph_seed is not None:
                tf.set_random_seed(graph_seed)
            return float(draws(tf.random_uniform((), seed=op_seed), 1)[0])

    assert draw(None, 5) == draw(None, 5)
    assert draw(9, None) == draw(9, None)
    assert draw(9, None) != draw(10, None)
    assert draw(9, 5) != draw(None, 5)
    assert draw(None, None) != draw(None, None)


def test_seed_set_after_an_op_does_not_touch_it():
    before = tf.random_uniform((), seed=5)
    tf.set_random_seed(77)
    after = tf.random_uniform((), seed=5)
    a, b = draws([before, after], 1)[0]
    assert a != b


def test_variables_initialised_again_go_on_with_the_stream():
    v = tf.Variable(tf.random_normal((3,), seed=2))
    with tf.Session() as sess:
        values = []
        for _ in range(4):
            sess.run(v.initializer)
            values.append(sess.run(v).tobytes())
    assert len(set(values)) == 4


def test_run_that_fails_does_not_move_streams_apart():
    x, y = tf.random_uniform((), seed=1), tf.random_uniform((), seed=1)
    bad = tf.placeholder(tf.bool, ())
    with tf.control_dependencies([tf.Assert(bad, [x])]):
        fails = tf.identity(x)
    with tf.Session() as sess:
        for _ in range(RUNS):
            with pytest.raises(tf.errors.InvalidArgumentError):
                sess.run([fails, y], {bad: False})
            a, b = sess.run([fails, y], {bad: True})
            assert a == b
