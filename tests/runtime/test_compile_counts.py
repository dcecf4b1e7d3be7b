"""The rule of tiers, counted: when XLA compiles, when it does not, and what is kept."""

import gc

import numpy as np
import pytest

import headrace as tf
from headrace.runtime import program, route, session, stages
from tests.runtime.counting import compilations, plans


@pytest.fixture
def sess():
    with tf.Session() as opened:
        yield opened


def test_second_run_compiles_once(sess):
    x = tf.placeholder(tf.float32, (3,))
    y = tf.reduce_sum(x * 2.0)
    with compilations() as made:
        for i, expected in enumerate([0, 1, 1, 1, 1]):
            assert sess.run(y, {x: [i, 0, 1]}) == 2 * i + 2
            assert len(made) == expected


def test_one_off_evaluations_and_initialisers_compile_nothing(sess):
    v = tf.Variable(tf.random_normal((4, 4), seed=1))
    with compilations() as made:
        sess.run(tf.global_variables_initializer())
        for k in range(5):
            sess.run(v * float(k))
    assert not made


def test_each_shape_is_interpreted_once_and_compiled_once(sess):
    x = tf.placeholder(tf.float32, (None,))
    y = tf.reduce_sum(tf.exp(x))
    with compilations() as made:
        for _ in range(4):
            for n in (1, 2, 3):
                assert sess.run(y, {x: np.zeros(n)}) == n
    assert len(made) == 3


def test_other_sessions_share_what_was_compiled():
    x = tf.placeholder(tf.float32, ())
    y = x + 1.0
    with compilations() as made:
        for _ in range(3):
            with tf.Session() as sess:
                for i in range(3):
                    assert sess.run(y, {x: i}) == i + 1
    assert len(made) == 1


def test_same_fetches_in_another_structure_share_what_was_compiled(sess):
    x = tf.placeholder(tf.float32, ())
    y = x + 1.0
    with compilations() as made, plans() as planned:
        for i in range(3):
            assert sess.run(y, {x: i}) == i + 1
            assert sess.run([y], {x: i}) == [i + 1]
            assert sess.run({"y": y}, {x: i}) == {"y": i + 1}
            assert sess.run(y.name, {x.name: i}) == i + 1
    assert len(planned) == 1
    assert len(made) == 1


def test_training_step_compiles_once(sess):
    x = tf.placeholder(tf.float32, (None, 3))
    w = tf.Variable(tf.ones((3, 1)))
    loss = tf.reduce_mean((x @ w) ** 2)
    step = tf.train.GradientDescentOptimizer(0.1).minimize(loss)
    sess.run(tf.global_variables_initializer())
    with compilations() as made:
        for _ in range(6):
            sess.run([step, loss], {x: np.ones((5, 3))})
    assert len(made) == 1


def test_fed_static_operand_compiles_once_per_value(sess):
    n = tf.placeholder(tf.int32, ())
    x = tf.placeholder(tf.float32, (6,))
    y = tf.reshape(x, [n, -1]) * 2.0
    with compilations() as made:
        for _ in range(4):
            for k in (2, 3):
                assert sess.run(y, {x: np.ones(6), n: k}).shape == (k, 6 // k)
    assert len(made) == 2


def test_static_value_that_changes_at_every_run_stays_interpreted(sess):
    n = tf.placeholder(tf.int32, ())
    y = tf.reduce_sum(tf.fill([n], 2.0))
    with compilations() as made:
        for k in range(1, 60):
            assert sess.run(y, {n: k}) == 2 * k
    assert len(made) <= stages._STATIC_TRIES


def test_static_value_from_a_variable_that_changes_at_every_run_stays_interpreted(sess):
    v = tf.Variable(0)
    x = tf.placeholder(tf.float32, (None,))
    with tf.control_dependencies([v.assign_add(1)]):
        y = tf.reduce_sum(tf.fill([v.read_value()], 2.0) * x[0])
    sess.run(v.initializer)
    with compilations() as made:
        for k in range(1, 60):
            assert sess.run(y, {x: [1, 2]}) == 2 * k
    # what stands before and behind the value may compile as well, each for its few shapes
    assert len(made) <= 3 * stages._STATIC_TRIES


def test_static_value_that_comes_back_compiles_in_the_end(sess):
    n = tf.placeholder(tf.int32, ())
    x = tf.placeholder(tf.float32, ())
    y = tf.reduce_sum(tf.fill([n], x))
    for k in range(1, 40):
        sess.run(y, {n: k, x: 1.0})
    with compilations() as made:
        for _ in range(6):
            assert sess.run(y, {n: 50, x: 2.0}) == 100
    assert len(made) == 1


def test_caches_are_bounded(sess):
    n = tf.placeholder(tf.int32, ())
    x = tf.placeholder(tf.float32, (None,))
    y = tf.reduce_sum(tf.fill([n], 2.0)) + tf.reduce_sum(x)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(stages, "MOST_COMPILED", 4)
        for size in range(1, 12):
            for _ in range(3):
                assert sess.run(y, {n: 1, x: np.zeros(size)}) == 2
    (made,) = [p for p in tf.get_default_graph()._programs.values() if p.plan.feeds]
    assert all(len(stage.compiled) <= 4 for stage in made.stages.stages)


def test_counts_of_runs_are_bounded(sess):
    n = tf.placeholder(tf.int32, ())
    x = tf.placeholder(tf.float32, (None,))
    y = tf.reduce_sum(tf.fill([n], 2.0)) + tf.reduce_sum(x)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(program, "MOST_COUNTED", 20)
        patch.setattr(stages, "MOST_COUNTED", 20)
        for k in range(1, 100):
            sess.run(y, {n: k, x: np.zeros(k % 40)})
    assert sum(map(len, sess._state.runs.values())) <= 20


def test_plans_that_nothing_leads_to_are_forgotten(sess):
    x = tf.placeholder(tf.float32)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(route, "MOST_PROGRAMS", 10)
        patch.setattr(session, "MOST_PROGRAMS", 10)
        for i in range(50):
            assert sess.run(x + float(i), {x: 1.0}) == i + 1
    gc.collect()
    assert len(sess._state.runs) <= 20


def test_plans_are_bounded_and_those_in_use_stay(sess):
    x = tf.placeholder(tf.float32, ())
    y = x * 3.0
    graph = tf.get_default_graph()
    with pytest.MonkeyPatch.context() as patch, compilations() as made:
        patch.setattr(session, "MOST_PROGRAMS", 8)
        patch.setattr(route, "MOST_PROGRAMS", 8)
        for k in range(40):
            assert sess.run(y, {x: k}) == 3 * k
            assert sess.run(x + float(k), {x: 1}) == k + 1
    assert len(made) == 1
    assert len(graph._programs) <= 8
    assert len(sess._routes) <= 2 * 8


def test_growing_graph_between_runs_stays_linear(sess):
    """The work of a run does not grow with the graph: counted in operations looked at."""
    x = tf.placeholder(tf.float32, ())
    with plans() as planned, compilations() as made:
        for k in range(300):
            assert sess.run(x + float(k), {x: 1.0}) == k + 1
    assert len(planned) == 300
    assert not made
    assert {len(p.steps) for p in planned} == {1}


def test_growing_graph_in_a_training_loop_does_not_plan_or_compile_the_step_anew(sess):
    w = tf.Variable(1.0)
    step = w.assign_sub(0.01)
    sess.run(w.initializer)
    with plans() as planned, compilations() as made:
        for k in range(50):
            sess.run(step.op)
            sess.run(w * float(k))
    assert len(planned) == 51
    assert len(made) == 1


def test_equal_programs_give_equal_bits():
    """The tier depends on counts and shapes alone, so two runs of a program agree to the bit."""

    def program_text():
        with tf.Graph().as_default(), tf.Session() as sess:
            x = tf.placeholder(tf.float32, (None, 5))
            w = tf.Variable(tf.random_normal((5, 4), seed=3))
            loss = tf.reduce_mean(tf.tanh(x @ w) ** 2)
            step = tf.train.GradientDescentOptimizer(0.3).minimize(loss)
            sess.run(tf.global_variables_initializer())
            data = np.linspace(-1, 1, 70).reshape(14, 5)
            return [sess.run([loss, step], {x: data[: 7 + i % 3]})[0] for i in range(12)]

    assert program_text() == program_text()


def test_results_of_64_bits_come_from_operands_of_32(sess):
    x = tf.placeholder(tf.float32, (2,))
    ys = [tf.cast(x, t) for t in (tf.int64, tf.float64, tf.complex128, tf.int32)]
    for _ in range(3):
        for y, found in zip(ys, sess.run(ys, {x: [1.0, 2.0]}), strict=True):
            assert found.dtype == y.dtype.as_numpy_dtype
            assert found.tolist() == [1, 2]


@pytest.mark.parametrize(
    "dtype",
    ["float16", "bfloat16", "float32", "float64", "int8", "int16", "int32", "int64", "uint8",
     "uint16", "uint32", "uint64", "complex64", "complex128", "bool"],
)  # fmt: skip
def test_every_type_goes_through_both_tiers(sess, dtype):
    x = tf.placeholder(dtype, (3,))
    v = tf.get_variable("v", initializer=tf.zeros((3,), dtype))
    assign = v.assign(x)
    sess.run(v.initializer)
    given = np.array([1, 0, 1], tf.as_dtype(dtype).as_numpy_dtype)
    for _ in range(4):
        for found in sess.run([tf.identity(x), assign, v], {x: given}):
            assert found.dtype == given.dtype
            np.testing.assert_array_equal(found, given)


@pytest.mark.parametrize("kind", ["inference", "check", "string", "effect", "host", "initializer"])
def test_nothing_is_compiled_twice(sess, kind):
    x = tf.placeholder(tf.float32, (3,))
    n = tf.placeholder(tf.int32, ())
    v, w = tf.Variable(tf.ones(3)), tf.Variable(1.0)
    fetch, most = {
        "inference": (lambda: x * v + w, 1),
        "check": (lambda: tf.gather(x * v, n) + w, 1),
        "string": (lambda: [x * v, tf.constant("a")], 1),
        "effect": (lambda: tf.check_numerics(x * v, "x") + w, 1),
        "host": (lambda: tf.py_func(lambda a: a, [x * v], tf.float32) * w, 2),
        "initializer": (lambda: tf.global_variables_initializer(), 1),
    }[kind]
    fetch = fetch()
    sess.run(tf.global_variables_initializer())
    with compilations() as made:
        for _ in range(6):
            sess.run(fetch, {x: [1, 2, 3], n: 1})
    assert len(made) <= most


def test_check_that_fails_compiles_nothing_more(sess):
    x, n = tf.placeholder(tf.float32, (3,)), tf.placeholder(tf.int32, ())
    y = tf.gather(x, n)
    with compilations() as made:
        for i in range(8):
            if i % 2:
                with pytest.raises(tf.errors.InvalidArgumentError):
                    sess.run(y, {x: [1, 2, 3], n: 7})
            else:
                assert sess.run(y, {x: [1, 2, 3], n: 2}) == 3
    assert len(made) == 1
