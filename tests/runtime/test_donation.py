"""What a session holds and what its caller holds are never the same memory."""

import numpy as np
import pytest

import headrace as tf
from headrace.runtime import xla
from tests.runtime.toys import on_host, views_on_host

RUNS = 5
N = 1000


@pytest.fixture
def sess():
    with tf.Session() as opened:
        yield opened


def variable(name="v", use_resource=False):
    return tf.get_variable(
        name, initializer=np.arange(N, dtype=np.float32), use_resource=use_resource
    )


def spoil(array):
    assert array.flags.writeable
    assert array.flags.owndata
    array[...] = -7


@pytest.mark.parametrize("use_resource", [False, True])
def test_fetched_arrays_are_the_callers_own(sess, use_resource):
    v = variable(use_resource=use_resource)
    c = tf.constant(np.arange(N, dtype=np.float32))
    x = tf.placeholder(tf.float32, (N,))
    step = v.assign_add(tf.ones(N))
    fetches = {
        "variable": v, "read": v.read_value(), "constant": c, "feed": x, "step": step,
        "identities": [tf.identity(t) for t in (c, x, v)], "sum": v + c + x,
        "host": [on_host(t) for t in (c, x, v)], "views": [views_on_host(t) for t in (c, x, v)],
    }  # fmt: skip
    sess.run(v.initializer)
    data = np.arange(N, dtype=np.float32)
    for i in range(1, RUNS + 1):
        fed = data.copy()
        found = sess.run(fetches, {x: fed})
        before, after = data + i - 1, data + i
        expected = {
            "variable": after, "read": before, "constant": data, "feed": data, "step": after,
            "identities": [data, data, before], "sum": before + 2 * data,
            "host": [data, data, before], "views": [data[::-1], data[::-1], before[::-1]],
        }  # fmt: skip
        for key, right in expected.items():
            rows = (
                zip(found[key], right, strict=True)
                if isinstance(right, list)
                else [(found[key], right)]
            )
            for array, values in rows:
                np.testing.assert_array_equal(array, values, err_msg=key)
                spoil(array)
        np.testing.assert_array_equal(fed, data)
        np.testing.assert_array_equal(sess.run(c), data)


def test_what_was_fetched_never_changes(sess):
    v = variable()
    step = v.assign_add(tf.ones(N))
    read = tf.identity(v)
    sess.run(v.initializer)
    kept = [sess.run([read, step, v]) for _ in range(RUNS)]
    for i, arrays in enumerate(kept):
        for array, more in zip(arrays, [i, i + 1, i + 1], strict=True):
            np.testing.assert_array_equal(array, np.arange(N) + more)


def test_host_views_of_a_variable_outlive_its_update(sess):
    """A host step's result may be a view of the variable that a later segment overwrites."""
    v = variable()
    with tf.control_dependencies([views_on_host(v)]):
        seen = views_on_host(v.read_value())
    step = v.assign_add(tf.ones(N) + 0.0 * seen)
    sess.run(v.initializer)
    kept = [sess.run([seen, step.op])[0] for _ in range(RUNS)]
    for i, array in enumerate(kept):
        np.testing.assert_array_equal(array, np.arange(N)[::-1] + i)


def test_state_between_two_segments_can_be_fetched(sess):
    """The variable after its first write goes into the last segment, and to the caller."""
    v = variable()
    first = v.assign_add(tf.ones(N))
    second = v.assign_sub(on_host(first) * 0.5)
    sess.run(v.initializer)
    value = np.arange(N, dtype=np.float32)
    for _ in range(RUNS):
        one, end, now = sess.run([first, second, v])
        np.testing.assert_array_equal(one, value + 1)
        value = (value + 1) - (value + 1) * np.float32(0.5)
        np.testing.assert_array_equal(end, value)
        np.testing.assert_array_equal(now, value)


def failures(switch):
    """Operations that fail where the switch is 1."""

    def fails(x):
        if x == 1:
            raise ValueError("as told")
        return x

    return {
        "host": lambda: tf.py_func(fails, [switch], tf.float32),
        "check": lambda: tf.gather([1.0], tf.cast(switch, tf.int32)),
        "effect": lambda: tf.check_numerics(1.0 / (1.0 - switch), "as told"),
        "assert": lambda: tf.Assert(switch < 0.5, [switch]),
        "shape": lambda: tf.reshape(tf.ones([tf.cast(switch, tf.int32) + 1]), [1]),
    }


@pytest.mark.parametrize("use_resource", [False, True])
@pytest.mark.parametrize("order", ["after", "before", "beside"])
@pytest.mark.parametrize("kind", ["host", "check", "effect", "assert", "shape"])
def test_run_that_fails_changes_nothing(sess, kind, order, use_resource):
    switch = tf.placeholder(tf.float32, ())
    v = variable(use_resource=use_resource)
    draw = tf.random_uniform((N,), 1, 2, seed=1)
    fail = failures(switch)[kind]
    if order == "after":
        step = v.assign_add(draw)
        with tf.control_dependencies([step]):
            failing = fail()
    elif order == "before":
        failing = fail()
        with tf.control_dependencies([failing]):
            step = v.assign_add(draw)
    else:
        failing, step = fail(), v.assign_add(draw)
    sess.run(v.initializer)
    for _ in range(RUNS):
        before = sess.run(v)
        with pytest.raises(tf.errors.InvalidArgumentError):
            sess.run([failing, step], {switch: 1})
        np.testing.assert_array_equal(sess.run(v), before)
        sess.run([failing, step], {switch: 0})
        after = sess.run(v)
        assert (after > before).all()


def test_failure_of_a_compiled_run_keeps_the_variable_usable(sess):
    v = variable()
    x = tf.placeholder(tf.int32, ())
    step = v.assign_add(tf.fill([N], tf.gather([1.0, 2.0], x)))
    sess.run(v.initializer)
    for _ in range(RUNS):
        sess.run(step.op, {x: 0})
    for _ in range(RUNS):
        with pytest.raises(tf.errors.InvalidArgumentError, match=r"= 5 is not in \[0, 2\)"):
            sess.run(step.op, {x: 5})
    np.testing.assert_array_equal(sess.run(v), np.arange(N) + RUNS)


def test_values_of_one_session_are_not_those_of_another():
    v = variable()
    step = v.assign_add(tf.ones(N))
    with tf.Session() as one, tf.Session(graph=v.graph) as two:
        one.run(v.initializer)
        two.run(v.initializer)
        for _ in range(RUNS):
            one.run(step.op)
        np.testing.assert_array_equal(two.run(v), np.arange(N))
        np.testing.assert_array_equal(one.run(v), np.arange(N) + RUNS)


def test_two_variables_assigned_one_value_stay_two(sess):
    a, b = variable("a"), variable("b")
    x = tf.placeholder(tf.float32, (N,))
    both = tf.group(a.assign(x), b.assign(x))
    step = a.assign_add(tf.ones(N))
    sess.run(tf.global_variables_initializer())
    for _ in range(RUNS):
        sess.run(both, {x: np.zeros(N)})
        sess.run(step.op)
        np.testing.assert_array_equal(sess.run(a), np.ones(N))
        np.testing.assert_array_equal(sess.run(b), np.zeros(N))


def test_variables_swapped(sess):
    a, b = variable("a"), variable("b")
    old_a, old_b = tf.identity(a), tf.identity(b)
    swap = tf.group(a.assign(old_b), b.assign(old_a))
    sess.run(tf.global_variables_initializer())
    sess.run(b.assign(np.zeros(N, np.float32)).op)
    full, empty = np.arange(N), np.zeros(N)
    for i in range(RUNS):
        sess.run(swap)
        found_a, found_b = sess.run([a, b])
        np.testing.assert_array_equal(found_a, full if i % 2 else empty)
        np.testing.assert_array_equal(found_b, empty if i % 2 else full)


def test_memory_of_a_donated_variable_goes_to_the_variable_itself(sess, monkeypatch):
    """JAX pairs donated arguments with results of their shape in order: ours must be the same, or
    every large variable of one shape is copied at every step."""
    made = []
    compile_segment = xla.CompiledSegment.__init__

    def noted(self, *args, **kwargs):
        compile_segment(self, *args, **kwargs)
        made.append(self)

    monkeypatch.setattr(xla.CompiledSegment, "__init__", noted)
    x = tf.placeholder(tf.float32, (None, 100))
    h = x
    for i in range(3):
        h = tf.tanh(h @ tf.get_variable(f"large{i}", (100, 100)))
    step = tf.train.AdamOptimizer().minimize(tf.reduce_sum(h))
    sess.run(tf.global_variables_initializer())
    for _ in range(3):
        sess.run(step, {x: np.ones((2, 100))})
    (segment,) = [s for s in made if s.overwritten > 3]
    donated = segment.arguments[: segment.overwritten]
    for name, result in zip(donated, segment.results, strict=False):
        assert result is name or result.variable is name.variable
    assert sum(hasattr(name, "variable") for name in donated) == 9  # weights and two slots each
