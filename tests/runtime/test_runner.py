"""The hot path: feeds laid for XLA, small results beside the variables, and what is declined."""

import subprocess
import sys
import threading

import numpy as np
import pytest

import headrace as tf
from headrace.runtime import memory, state

RUNS = 4


@pytest.fixture
def sess():
    with tf.Session() as opened:
        yield opened


def model(dtype=tf.float32, shape=(3,)):
    """A placeholder, a scalar placeholder, a step that adds their product up, and the sum."""
    x, k = tf.placeholder(dtype, shape, "x"), tf.placeholder(dtype, (), "k")
    v = tf.get_variable("v", shape, dtype, tf.zeros_initializer())
    step = v.assign_add(x * k)
    with tf.control_dependencies([step]):
        total = tf.reduce_sum(v.read_value())
    return x, k, v, step, total


@pytest.mark.parametrize("numpy", [np.float32, np.float64, np.float16, np.int64, np.bool])
@pytest.mark.parametrize("scalar", [2, 2.0, True, np.float32(2), np.float64(2), np.int8(2), [2][0]])
def test_feeds_come_as_they_like(sess, numpy, scalar):
    x, k, v, step, total = model()
    sess.run(v.initializer)
    fed = np.array([1, 0, 1], numpy)
    for i in range(1, RUNS + 1):
        _, found = sess.run([step, total], {x: fed, k: scalar})
        assert found == 2 * i * float(scalar)
        assert type(found) is np.float32


@pytest.mark.parametrize(
    "given", [[1, 0, 1], (1, 0, 1), np.arange(6.0)[::2] % 4, np.ones((3, 2))[:, 0]]
)
def test_feeds_of_every_layout(sess, given):
    x, k, v, step, total = model()
    sess.run(v.initializer)
    for i in range(1, RUNS + 1):
        assert sess.run([step, total], {x: given, k: 1})[1] == pytest.approx(i * np.sum(given))


@pytest.mark.parametrize("dtype", [tf.int32, tf.int64, tf.float64, tf.bfloat16, tf.complex64])
def test_feeds_of_every_type(sess, dtype):
    x, k, v, step, _ = model(dtype)
    sess.run(v.initializer)
    for fed in (np.arange(3), np.arange(3.0), np.arange(3, dtype=dtype.as_numpy_dtype), [0, 1, 2]):
        before = sess.run(v)
        for _ in range(RUNS):
            sess.run(step, {x: fed, k: 2})
        assert (
            sess.run(v).tolist() == (before + np.arange(3, dtype=before.dtype) * 2 * RUNS).tolist()
        )


def test_a_float_is_no_feed_of_an_integer_that_it_is_not(sess):
    """It is cut off, as TensorFlow does it, on every way alike."""
    x, k, v, step, total = model(tf.int32)
    sess.run(v.initializer)
    for i in range(1, RUNS + 1):
        assert sess.run([step, total], {x: np.ones(3), k: 1.9})[1] == 3 * i
    with pytest.raises(TypeError, match="not compatible with Tensor type"):
        sess.run([step, total], {x: np.ones(3), k: 2**40})


def test_other_shapes_and_things_that_are_no_numbers_are_refused_still(sess):
    x, k, v, step, total = model()
    sess.run(v.initializer)
    for _ in range(RUNS):
        sess.run([step, total], {x: np.ones(3, np.float32), k: 1.0})
    for fed in (
        np.ones(1, np.float32),
        np.ones((1, 3), np.float32),
        np.float32(1),
        1.0,
        np.ones(4),
    ):
        with pytest.raises(ValueError, match="Cannot feed value of shape"):
            sess.run([step, total], {x: fed, k: 1.0})
    with pytest.raises(ValueError, match="Cannot feed value of shape"):
        sess.run([step, total], {x: np.ones(3, np.float32), k: np.ones(1, np.float32)})
    with pytest.raises(ValueError, match="cannot be made an array of float32"):
        sess.run([step, total], {x: ["a", "b", "c"], k: 1.0})
    assert sess.run(v).tolist() == [RUNS] * 3


def test_fetched_feeds_have_the_placeholders_type_and_memory_of_their_own(sess):
    x, k, v, step, _ = model()
    sess.run(v.initializer)
    fed = np.arange(3.0)
    for _ in range(RUNS):
        _, a, b = sess.run([step, x, k], {x: fed, k: 0.5})
        assert (a.dtype, type(b)) == (np.float32, np.float32)
        assert a.tolist() == [0, 1, 2]
        a[...] = 7
        assert fed.tolist() == [0, 1, 2]


def test_feeds_may_change_as_soon_as_the_run_is_done(sess):
    x, k, v, step, _ = model(shape=(30_000,))
    sess.run(v.initializer)
    aligned = memory.aligned((30_000,), np.float32)
    for i in range(1, 2 * RUNS + 1):
        fed = aligned if i % 2 else np.empty(30_001, np.float32)[1:]
        fed[...] = i
        sess.run(step, {x: fed, k: 1.0})
        fed[...] = -1
    assert np.unique(sess.run(v)).tolist() == [i * (i + 1) / 2]


def test_small_results_are_the_callers_own():
    """They lie beside the variables in the vector that the next run writes over."""
    with tf.Graph().as_default(), tf.Session() as sess:
        v, w = (tf.get_variable(n, (2,), initializer=tf.ones_initializer()) for n in "vw")
        steps = [v.assign_add([1.0, 2.0]), w.assign_add([1.0, 1.0])]
        fetches = [*steps, v + w, tf.reduce_sum(v - w), tf.reshape(v + w, (1, 2, 1))]
        sess.run([v.initializer, w.initializer])
        kept = [sess.run(fetches) for _ in range(RUNS)]
        for i, (a, b, c, d, e) in enumerate(kept):
            assert (a.tolist(), b.tolist()) == ([2 + i, 3 + 2 * i], [2 + i, 2 + i])
            assert c.tolist() == [2 + 2 * i, 2 + 3 * i]
            assert (d, type(d)) == (i, np.float32)
            assert e.tolist() == [[[2 + 2 * i], [2 + 3 * i]]]
            for array in (a, b, c, e):
                assert array.flags.writeable
                assert array.flags.owndata
                array[...] = 0


def test_a_run_is_over_when_it_returns_however_large_its_variables(sess):
    """XLA would take large ones from NumPy later, and then all that hangs on them."""
    size, runs = 1 << 21, 12
    large = [tf.get_variable(f"large{i}", (size,), initializer=tf.ones_initializer()) for i in "ab"]
    small = [tf.get_variable(f"small{i}", (), initializer=tf.zeros_initializer()) for i in "ab"]
    x = tf.placeholder(tf.float32, (size,))
    steps = [v.assign_add(x).op for v in large]
    loss = tf.reduce_mean(large[0]) + small[0] + small[1]
    steps += [v.assign_add(loss).op for v in small]
    sess.run(tf.global_variables_initializer())
    fed, losses = np.empty(size, np.float32), []
    for i in range(runs):
        fed[...] = i
        losses.append(sess.run([steps, loss], {x: fed})[1])
        fed[...] = np.nan
    expected, now, sums = [], 1.0, 0.0
    for i in range(runs):
        expected.append(now + 2 * sums)
        now, sums = now + i, sums + now + 2 * sums
    np.testing.assert_allclose(losses, expected, rtol=1e-5)
    assert sess.run(large[1])[0] == now


def test_results_that_find_no_room_come_all_the_same(sess):
    v, w = (tf.get_variable(n, (2,), initializer=tf.zeros_initializer()) for n in "vw")
    steps = [v.assign_add(tf.ones(2)), w.assign_add(tf.ones(2))]
    many = [tf.reduce_sum(v) + float(i) for i in range(2 * state.ROOM)]
    others = [tf.cast(tf.reduce_sum(w), t) for t in (tf.int32, tf.float64, tf.bool)]
    sess.run([v.initializer, w.initializer])
    for run in range(RUNS):
        found = sess.run([steps, many, others])
        assert found[1] == [2 * run + i for i in range(2 * state.ROOM)]
        assert found[2] == [2 * run, 2 * run, run > 0]


def test_sessions_and_threads_keep_their_feeds_apart():
    x, k, v, _, _ = model()
    wrong = []

    def work(sess, seed):
        for i in range(300):
            fed = np.full(3, seed, np.float32)
            if sess.run(x * k + v * 0.0, {x: fed, k: 2.0}).tolist() != [2 * seed] * 3:
                wrong.append((seed, i))

    with tf.Session() as one, tf.Session() as other:
        for sess in (one, other):
            sess.run(v.initializer)
        threads = [
            threading.Thread(target=work, args=(sess, seed))
            for seed, sess in enumerate([one, other, one, other])
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert not wrong


def test_streams_go_on_as_they_do_for_numpy():
    def draws(compiled):
        with tf.Graph().as_default(), tf.Session() as sess:
            tf.set_random_seed(3)
            x = tf.placeholder(tf.float32, ())
            a, b = tf.random_uniform((5,)), tf.random_uniform((1000,), maxval=9, dtype=tf.int32)
            v = tf.get_variable("v", (), initializer=tf.zeros_initializer())
            fetches = [v.assign_add(x), a, b]
            sess.run(v.initializer)
            if compiled:
                return [sess.run(fetches, {x: 1.0}) for _ in range(RUNS)]
            trace = tf.RunOptions(trace_level=tf.RunOptions.FULL_TRACE)  # NumPy's runs
            return [sess.run(fetches, {x: 1.0}, trace, tf.RunMetadata()) for _ in range(RUNS)]

    for ours, numpys in zip(draws(True), draws(False), strict=True):
        for left, right in zip(ours, numpys, strict=True):
            np.testing.assert_array_equal(left, right)


def test_failed_checks_leave_everything_as_it_was_and_say_why(sess):
    i, v = tf.placeholder(tf.int32, (2,)), tf.get_variable("v", initializer=np.zeros(4, np.float32))
    w = tf.get_variable("w", initializer=np.zeros(4, np.float32))
    steps = [v.assign_add(tf.ones(4)), w.assign_add(tf.ones(4)), tf.gather(w, i)]
    sess.run([v.initializer, w.initializer])
    for _ in range(RUNS):
        sess.run(steps, {i: [0, 3]})
    for bad in ([0, 4], np.array([-1, 0], np.int32), np.array([9, 9])):
        with pytest.raises(tf.errors.InvalidArgumentError, match=r"indices\[[01]\] = "):
            sess.run(steps, {i: bad})
    assert sess.run([v, w])[0].tolist() == [RUNS] * 4


def test_a_program_that_used_jax_before_is_right_too():
    """XLA may then still compute when a call returns: nothing can be written under its eyes."""
    code = """
import jax, numpy as np
jax.numpy.ones(3).block_until_ready()
import headrace as tf
x = tf.placeholder(tf.float32, (500, 500))
v = tf.get_variable("v", (500, 500), initializer=tf.zeros_initializer())
w = tf.get_variable("w", (), initializer=tf.zeros_initializer())
step = [v.assign_add(x @ x), w.assign_add(x[0, 0])]
with tf.Session() as sess:
    sess.run(tf.global_variables_initializer())
    for i in range(8):
        fed = np.full((500, 500), i, np.float32)
        sess.run([s.op for s in step], {x: fed})
        fed[...] = 99
    print(np.unique(sess.run(v)), sess.run(w))
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == [f"[{500 * sum(i * i for i in range(8))}.]", "28.0"]
