"""States that must not come about: half a run, lost updates, results that change afterwards.

`tf` may be TensorFlow itself under our name: all but the tests marked `headrace_only` pass there
too. Each scenario is repeated, as the first run is interpreted and later ones are compiled.
"""

import itertools
import threading

import numpy as np
import pytest

import headrace as tf

headrace_only = pytest.mark.skipif(
    tf.__name__ != "headrace", reason="headrace promises more than TensorFlow"
)

RUNS = 5


@pytest.fixture(autouse=True)
def fresh_graph():
    tf.reset_default_graph()


@pytest.fixture
def session():
    with tf.Session() as session:
        yield session


# A run that fails changes no variable. TensorFlow leaves this to the order of its operations.


def failing(kind, after, switch):
    """An operation that runs after `after` and fails where `switch` is 1."""
    with tf.control_dependencies(after):
        value = tf.identity(switch)
        if kind == "py_func":

            def fails(x):
                if x == 1:
                    raise ValueError("as told")
                return x

            return tf.py_func(fails, [value], tf.float32)
        if kind == "assert":
            return tf.Assert(tf.not_equal(value, 1), [value])
        if kind == "check_numerics":
            return tf.check_numerics(1 / (1 - value), "as told")
        if kind == "reshape":
            return tf.reshape(tf.ones([tf.cast(value, tf.int32) + 1]), [1])
        return tf.gather([1.0], tf.cast(value, tf.int32))


KINDS = ["py_func", "assert", "check_numerics", "reshape", "gather"]


@headrace_only
@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("good_runs", [0, 1, 3])
def test_run_that_fails_after_its_writes_changes_no_variable(session, kind, good_runs):
    switch = tf.placeholder(tf.float32, ())
    a, b = tf.Variable([1.0, 2.0]), tf.Variable(3)
    writes = [a.assign_add([1.0, 1.0]), b.assign(b * 2)]
    fails = failing(kind, writes, switch)
    session.run(tf.global_variables_initializer())
    for _ in range(good_runs):
        session.run([writes, fails], {switch: 0})
    before = session.run([a, b])
    for _ in range(RUNS):
        with pytest.raises(tf.errors.InvalidArgumentError):
            session.run([writes, fails], {switch: 1})
        after = session.run([a, b])
        np.testing.assert_array_equal(after[0], before[0])
        assert after[1] == before[1]
    session.run([writes, fails], {switch: 0})
    np.testing.assert_array_equal(session.run(a), before[0] + 1)
    assert session.run(b) == 2 * before[1]


@headrace_only
@pytest.mark.parametrize("kind", KINDS)
def test_training_step_that_fails_leaves_weights_and_slots(session, kind):
    switch = tf.placeholder(tf.float32, ())
    w = tf.Variable(tf.ones((4, 3)))
    global_step = tf.train.get_or_create_global_step()
    loss = tf.reduce_sum(w**2)
    step = tf.train.AdamOptimizer(0.1).minimize(loss, global_step=global_step)
    fails = failing(kind, [step], switch)
    session.run(tf.global_variables_initializer())
    for _ in range(RUNS):
        session.run([step, fails], {switch: 0})
        before = session.run(tf.global_variables())
        with pytest.raises(tf.errors.InvalidArgumentError):
            session.run([step, loss, fails], {switch: 1})
        for x, y in zip(session.run(tf.global_variables()), before, strict=True):
            np.testing.assert_array_equal(x, y)
    assert session.run(global_step) == RUNS


@headrace_only
def test_initialisers_that_fail_together_initialise_nothing(session):
    ok = tf.Variable(1.0)
    broken = tf.Variable(tf.check_numerics(tf.log(-1.0 * tf.ones(())), "broken"))
    ready = [tf.is_variable_initialized(v) for v in (ok, broken)]
    for _ in range(RUNS):
        with pytest.raises(tf.errors.InvalidArgumentError):
            session.run(tf.global_variables_initializer())
        assert session.run(ready) == [False, False]
        with pytest.raises(tf.errors.FailedPreconditionError):
            session.run([ok.assign(3.0), broken.read_value()])
        assert session.run(ready) == [False, False]


@headrace_only
def test_count_that_reaches_its_limit_takes_nothing_else_along(session):
    count, other = tf.Variable(0), tf.Variable(0)
    up, add = count.count_up_to(2), other.assign_add(1)
    session.run(tf.global_variables_initializer())
    for _ in range(2):
        session.run([add, up])
    for _ in range(RUNS):
        with pytest.raises(tf.errors.OutOfRangeError):
            session.run([add, up])
        assert session.run([count, other]) == [2, 2]


def test_run_refused_for_its_feeds_changes_nothing(session):
    x = tf.placeholder(tf.float32, (2,), name="x")
    v = tf.Variable(0.0)
    add = v.assign_add(1.0)
    y = x * 2
    session.run(v.initializer)
    for i in range(1, 1 + RUNS):
        for bad in ({}, {x: [1.0]}, {x: "a"}, {"nowhere:0": 1.0}):
            with pytest.raises((ValueError, TypeError, tf.errors.InvalidArgumentError)):
                session.run([add, y], bad)
        # TensorFlow finds a missing feed while it runs, so there v may have been counted up.
        counted = session.run(v)
        if tf.__name__ == "headrace":
            assert counted == i - 1
        session.run([add, y], {x: [1, 1]})
        assert session.run(v) == counted + 1


@headrace_only
def test_random_streams_go_on_after_a_run_that_failed(session):
    # A failed run may or may not have drawn: what counts is that streams of one seed stay equal.
    switch = tf.placeholder(tf.float32, ())
    a, b = tf.random_uniform((), seed=1), tf.random_uniform((), seed=1)
    v = tf.Variable(0.0)
    fails = failing("assert", [v.assign_add(a)], switch)
    session.run(v.initializer)
    seen = set()
    for _ in range(RUNS):
        session.run([a, b])
        with pytest.raises(tf.errors.InvalidArgumentError):
            session.run([a, b, fails], {switch: 1})
        x, y = session.run([a, b])
        assert x == y
        seen.add(float(x))
    assert len(seen) == RUNS


# Threads


def in_threads(function, n=8):
    """Runs function(i) in n threads at once; raises what any of them raised."""
    errors = []
    start = threading.Barrier(n)

    def target(i):
        try:
            start.wait()
            function(i)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=target, args=(i,)) for i in range(n)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if errors:
        raise errors[0]


STEPS = 50


@pytest.mark.parametrize("use_resource", [False, True])
def test_eight_threads_adding_lose_no_update(session, use_resource):
    # TensorFlow promises this of `assign_add` with `use_locking`.
    v = tf.get_variable("v", (100,), tf.float64, tf.zeros_initializer(), use_resource=use_resource)
    add = tf.assign_add(v, tf.ones((100,), tf.float64), use_locking=True)
    session.run(v.initializer)
    in_threads(lambda i: [session.run(add.op) for _ in range(STEPS)])
    np.testing.assert_array_equal(session.run(v), np.full(100, 8 * STEPS))


@headrace_only  # by default TensorFlow does not lock
def test_eight_threads_training_lose_no_step(session):
    w = tf.Variable(tf.zeros((10,)))
    global_step = tf.train.get_or_create_global_step()
    loss = -tf.reduce_sum(w)
    step = tf.train.GradientDescentOptimizer(1.0).minimize(loss, global_step=global_step)
    session.run(tf.global_variables_initializer())
    in_threads(lambda i: [session.run(step) for _ in range(STEPS)])
    assert session.run(global_step) == 8 * STEPS
    np.testing.assert_array_equal(session.run(w), np.full(10, 8 * STEPS))


@headrace_only
def test_each_thread_sees_the_value_of_its_own_addition(session):
    v = tf.Variable(0)
    add = v.assign_add(1)
    session.run(v.initializer)
    seen = [[] for _ in range(8)]
    in_threads(lambda i: [seen[i].append(int(session.run(add))) for _ in range(STEPS)])
    assert sorted(itertools.chain(*seen)) == list(range(1, 8 * STEPS + 1))
    assert all(mine == sorted(mine) for mine in seen)


@headrace_only
def test_reader_never_sees_half_a_step(session):
    # Both variables are written by one run: whoever reads them in one run sees them equal.
    a, b = tf.Variable(tf.zeros((50,))), tf.Variable(tf.zeros((50,)))
    both = tf.group(a.assign_add(tf.ones((50,))), b.assign_add(tf.ones((50,))))
    session.run(tf.global_variables_initializer())

    def work(i):
        for _ in range(STEPS):
            if i % 2:
                session.run(both)
            else:
                x, y = session.run([a, b])
                np.testing.assert_array_equal(x, y)

    in_threads(work)
    np.testing.assert_array_equal(session.run(a), np.full(50, 4 * STEPS))


def test_threads_with_feeds_of_their_own_get_their_own_results(session):
    x = tf.placeholder(tf.float32, (None,))
    y = tf.reduce_sum(x) * 2

    def work(i):
        for n in range(1, 8):
            assert session.run(y, {x: np.full(n, i)}) == 2 * n * i

    in_threads(work)


def test_threads_may_make_operations_while_others_run(session):
    v = tf.Variable(1.0)
    session.run(v.initializer)
    graph = tf.get_default_graph()

    def work(i):
        with graph.as_default():
            for k in range(10):
                assert session.run(v * i + k) == i + k

    in_threads(work)
    names = [op.name for op in graph.get_operations()]
    assert len(names) == len(set(names))


def test_as_default_holds_for_its_own_thread():
    seen = []
    with tf.Graph().as_default() as mine:
        thread = threading.Thread(target=lambda: seen.append(tf.get_default_graph()))
        thread.start()
        thread.join()
        assert tf.get_default_graph() is mine
    assert seen[0] is not mine


# What was fetched never changes afterwards


@pytest.mark.parametrize("use_resource", [False, True])
def test_fetched_variable_stays_while_the_variable_goes_on(session, use_resource):
    v = tf.get_variable("v", initializer=np.zeros(1000, np.float32), use_resource=use_resource)
    add = v.assign_add(np.ones(1000, np.float32))
    read = v.read_value()
    session.run(v.initializer)
    fetched = []
    for _ in range(RUNS):
        fetched += [session.run(v), session.run(read), *session.run([v.value(), tf.identity(v)])]
        session.run(add.op)
    for i, array in enumerate(fetched):
        np.testing.assert_array_equal(array, np.full(1000, i // 4))


def test_result_of_an_assignment_stays(session):
    v = tf.Variable(np.zeros(1000, np.float32))
    add = v.assign_add(np.ones(1000, np.float32))
    session.run(v.initializer)
    fetched = [session.run(add) for _ in range(RUNS)]
    for i, array in enumerate(fetched):
        np.testing.assert_array_equal(array, np.full(1000, i + 1))


@headrace_only  # TensorFlow may hand out the variable's own memory
def test_variable_fetched_along_with_its_step_stays(session):
    w = tf.Variable(np.ones(1000, np.float32))
    step = tf.train.GradientDescentOptimizer(0.25).minimize(tf.reduce_sum(w**2))
    session.run(tf.global_variables_initializer())
    fetched = [session.run([step, w])[1] for _ in range(RUNS)]
    for i, array in enumerate(fetched):
        np.testing.assert_array_equal(array, np.full(1000, 0.5 ** (i + 1)))


def mutate(array):
    """Overwrites what the caller holds; a read-only array is as good an answer as a copy."""
    if array.flags.writeable:
        array[...] = -7


@headrace_only  # TensorFlow hands out its own memory where it can
def test_mutating_what_was_fetched_changes_nothing_inside(session):
    v = tf.Variable(np.arange(1000, dtype=np.float32))
    c = tf.constant(np.arange(1000, dtype=np.float32))
    x = tf.placeholder(tf.float32, (1000,))
    fetches = [v, v.read_value(), c, tf.identity(c), c + v, v.assign(c), x, tf.identity(x)]
    session.run(v.initializer)
    for _ in range(RUNS):
        fed = np.arange(1000, dtype=np.float32)
        for array in session.run(fetches, {x: fed}):
            mutate(array)
        np.testing.assert_array_equal(fed, np.arange(1000))
        np.testing.assert_array_equal(session.run(v), np.arange(1000))
        np.testing.assert_array_equal(session.run(c), np.arange(1000))
        np.testing.assert_array_equal(session.run(c + v), 2 * np.arange(1000))


@headrace_only
def test_fetched_constant_does_not_share_memory_with_the_array_it_was_made_of(session):
    array = np.zeros(1000, np.float32)
    c = tf.constant(array)
    for _ in range(RUNS):
        assert not np.shares_memory(session.run(c), array)


def test_constant_does_not_follow_the_array_it_was_made_of(session):
    array = np.zeros(1000, np.float32)
    c = tf.constant(array)
    v = tf.Variable(array)
    array[...] = 5
    for _ in range(RUNS):
        session.run(v.initializer)
        np.testing.assert_array_equal(session.run(c), np.zeros(1000))
        np.testing.assert_array_equal(session.run(v), np.zeros(1000))


@pytest.mark.parametrize("aligned", [True, False])
def test_feed_array_mutated_after_a_run_does_not_change_the_variable(session, aligned):
    x = tf.placeholder(tf.float32, (1000,))
    v = tf.Variable(np.zeros(1000, np.float32))
    assign = v.assign(x)
    session.run(v.initializer)
    memory = np.zeros(1064, np.float32)
    offset = -(memory.ctypes.data // 4) % 16 + (not aligned)
    fed = memory[offset : offset + 1000]
    assert (fed.ctypes.data % 64 == 0) == aligned
    for i in range(RUNS):
        fed[...] = i
        session.run(assign.op, {x: fed})
        fed[...] = -1
        np.testing.assert_array_equal(session.run(v), np.full(1000, i))


@headrace_only  # TensorFlow may pass the caller's own memory through
def test_feed_array_mutated_after_a_run_does_not_change_what_was_fetched(session):
    x = tf.placeholder(tf.float32, (1000,))
    y = tf.reshape(tf.identity(x), (10, 100))
    fed = np.zeros(1000, np.float32)
    fetched = []
    for i in range(RUNS):
        fed[...] = i
        fetched += session.run([x, y], {x: fed})
    fed[...] = -1
    for i, array in enumerate(fetched):
        np.testing.assert_array_equal(array.ravel(), np.full(1000, i // 2))


def test_feed_array_is_not_written_to(session):
    x = tf.placeholder(tf.float32, (1000,))
    v = tf.Variable(np.zeros(1000, np.float32))
    assign = v.assign(x)
    with tf.control_dependencies([assign]):
        add = v.assign_add(np.ones(1000, np.float32))
    session.run(v.initializer)
    fed = np.full(1000, 3, np.float32)
    for _ in range(RUNS):
        session.run(add.op, {x: fed})
        np.testing.assert_array_equal(fed, np.full(1000, 3))
        np.testing.assert_array_equal(session.run(v), np.full(1000, 4))


def test_read_only_and_strided_arrays_are_fed(session):
    x = tf.placeholder(tf.float32, (None, 2))
    y = tf.reduce_sum(x, 0)
    array = np.arange(20, dtype=np.float32).reshape(10, 2)
    read_only = array.copy()
    read_only.flags.writeable = False
    forms = [array, read_only, np.asfortranarray(array), np.repeat(array, 2, 0)[::2]]
    for _ in range(RUNS):
        for form in forms:
            assert session.run(y, {x: form}).tolist() == [90, 100]
        assert session.run(y, {x: array[::-1]}).tolist() == [90, 100]


@headrace_only
def test_py_func_that_keeps_and_overwrites_its_arrays_changes_no_variable(session):
    kept = []

    def keeps(a):
        kept.append(a)
        mutate(a)
        return np.float32(0)

    v = tf.Variable(np.arange(1000, dtype=np.float32))
    call = tf.py_func(keeps, [v], tf.float32)
    session.run(v.initializer)
    for _ in range(RUNS):
        session.run(call)
        np.testing.assert_array_equal(session.run(v), np.arange(1000))
        mutate(kept[-1])
        np.testing.assert_array_equal(session.run(v), np.arange(1000))


@headrace_only
def test_what_py_func_returned_and_overwrites_later_changes_no_variable(session):
    buffer = np.zeros(1000, np.float32)

    def fills():
        buffer[...] = 3
        return buffer

    v = tf.Variable(np.zeros(1000, np.float32))
    assign = v.assign(tf.py_func(fills, [], tf.float32))
    session.run(v.initializer)
    for _ in range(RUNS):
        fetched = session.run(assign)
        buffer[...] = -1
        np.testing.assert_array_equal(session.run(v), np.full(1000, 3))
        np.testing.assert_array_equal(fetched, np.full(1000, 3))


# The order of reads and writes, which TensorFlow leaves to chance


@headrace_only
def test_writes_of_one_run_happen_in_the_order_they_were_made(session):
    v = tf.Variable(1.0)
    double = v.assign(v * 2)  # reads v from the start of the run
    add = v.assign_add(10.0)
    session.run(v.initializer)
    value = 1.0
    for _ in range(RUNS):
        got = session.run([add, double, v])
        value = value * 2 + 10
        assert got == [value, value - 10, value]


@headrace_only
def test_bare_read_sees_the_value_at_the_start_of_the_run(session):
    v = tf.Variable(0)
    y = v * 1
    add = v.assign_add(1)
    session.run(v.initializer)
    for i in range(RUNS):
        assert session.run([add, y, v]) == [i + 1, i, i + 1]


@headrace_only
def test_two_additions_in_one_run_are_both_kept(session):
    v = tf.Variable(0)
    adds = [v.assign_add(1), v.assign_add(10), v.assign_sub(3)]
    session.run(v.initializer)
    for i in range(RUNS):
        session.run([a.op for a in adds])
        assert session.run(v) == 8 * (i + 1)


@headrace_only
def test_read_sees_the_last_write_that_it_depends_on(session):
    v = tf.Variable(1.0)
    add = v.assign_add(10.0)
    with tf.control_dependencies([add]):
        between = v.read_value()
        double = v.assign(v * 2)
    session.run(v.initializer)
    value = 1.0
    for _ in range(RUNS):
        got = session.run([double, between, add, v])
        assert got == [2 * (value + 10), value + 10, value + 10, 2 * (value + 10)]
        value = got[-1]


@headrace_only
def test_data_dependency_is_enough_to_see_a_write(session):
    v, w = tf.Variable(1.0), tf.Variable(0.0)
    add = v.assign_add(1.0)
    with tf.control_dependencies([w.assign(add * 10)]):
        after = v.read_value() + w.read_value()
    session.run(tf.global_variables_initializer())
    for i in range(2, 2 + RUNS):
        assert session.run(after) == 11 * i
