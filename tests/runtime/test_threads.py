"""Threads: no update is lost, and sessions and builders do not disturb each other."""

import subprocess
import sys
import textwrap
import threading

import numpy as np
import pytest

import headrace as tf

THREADS = 8
STEPS = 30


def in_threads(function, n=THREADS):
    """Run function(i) in n threads at once; raise what any of them raised."""
    errors, start = [], threading.Barrier(n)

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


@pytest.mark.parametrize("use_resource", [False, True])
def test_no_addition_is_lost(use_resource):
    with tf.Session() as sess:
        v = tf.get_variable("v", (50,), tf.int64, tf.zeros_initializer(), use_resource=use_resource)
        add = v.assign_add(tf.ones((50,), tf.int64))
        sess.run(v.initializer)
        in_threads(lambda i: [sess.run(add.op) for _ in range(STEPS)])
        np.testing.assert_array_equal(sess.run(v), np.full(50, THREADS * STEPS))


def test_additions_by_different_programs_are_not_lost():
    with tf.Session() as sess:
        v = tf.Variable(0)
        adds = [v.assign_add(i + 1) for i in range(THREADS)]
        sess.run(v.initializer)
        in_threads(lambda i: [sess.run(adds[i]) for _ in range(STEPS)])
        assert sess.run(v) == STEPS * sum(range(1, THREADS + 1))


def test_host_steps_between_reading_and_writing_lose_no_addition():
    with tf.Session() as sess:
        v = tf.Variable(0.0)
        value = tf.py_func(lambda x: np.float32(x + 1), [v], tf.float32)
        value.set_shape(())
        step = v.assign(value)
        sess.run(v.initializer)
        in_threads(lambda i: [sess.run(step.op) for _ in range(STEPS)])
        assert sess.run(v) == THREADS * STEPS


def test_sessions_of_one_graph_have_their_own_values():
    x = tf.placeholder(tf.float32, (None,))
    v = tf.Variable(0.0)
    step = v.assign_add(tf.reduce_sum(x))
    init = v.initializer

    def work(i):
        with tf.Session(graph=v.graph) as sess:
            sess.run(init)
            for k in range(STEPS):
                sess.run(step.op, {x: np.ones(1 + k % 4)})
            assert sess.run(v) == sum(1 + k % 4 for k in range(STEPS))

    in_threads(work)


def test_sessions_of_one_graph_compile_for_static_values_at_once():
    n = tf.placeholder(tf.int32, ())
    y = tf.reduce_sum(tf.fill([n], 1.0))

    def work(i):
        with tf.Session(graph=n.graph) as sess:
            for k in range(40):
                size = 1 + (i + k) % 20
                assert sess.run(y, {n: size}) == size

    in_threads(work)


def test_graphs_are_built_by_several_threads():
    graph = tf.Graph()

    def work(i):
        with graph.as_default(), tf.name_scope(f"thread{i}"), tf.Session(graph=graph) as sess:
            total = tf.constant(0.0)
            for k in range(20):
                with tf.control_dependencies([total]):
                    total = total + float(k)
            assert total.name.startswith(f"thread{i}/")
            assert len(total.op.control_inputs) == 0  # it takes the op as an input already
            assert sess.run(total) == 190

    in_threads(work)
    operations = graph.get_operations()
    assert len({op.name for op in operations}) == len(operations)
    assert [op._id for op in operations] == sorted({op._id for op in operations})


def test_one_name_asked_for_by_all_is_made_unique():
    graph = tf.Graph()

    def work(i):
        with graph.as_default():
            for _ in range(20):
                tf.constant(1.0, name="same")

    in_threads(work)
    assert len({op.name for op in graph.get_operations()}) == 20 * THREADS


def test_callables_are_used_by_all():
    with tf.Session() as sess:
        x = tf.placeholder(tf.float32, (None,))
        call = sess.make_callable(tf.reduce_sum(x), [x])

        def work(i):
            for k in range(STEPS):
                assert call(np.full(1 + k % 5, i)) == i * (1 + k % 5)

        in_threads(work)


def test_default_session_and_scopes_belong_to_the_thread():
    seen = []
    with tf.Session() as sess, tf.name_scope("outer"):
        thread = threading.Thread(
            target=lambda: seen.append((tf.get_default_session(), sess.graph.get_name_scope()))
        )
        thread.start()
        thread.join()
    assert seen == [(None, "")]


def test_program_ends_while_a_daemon_thread_runs():
    """The interpreter cuts daemon threads off, and inside XLA that would abort the process."""
    program = """
        import threading, time
        import headrace as tf

        w = tf.Variable(tf.random_normal([300, 300], seed=1))
        step = w.assign(tf.tanh(tf.matmul(w, w)))
        session = tf.Session()
        session.run(tf.global_variables_initializer())
        compiled = threading.Event()

        def work():
            while True:
                for _ in range(3):
                    session.run(step.op)
                compiled.set()

        threading.Thread(target=work, daemon=True).start()
        assert compiled.wait(60)
        time.sleep(0.1)
        print("end")
    """
    for _ in range(3):
        done = subprocess.run(
            [sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True
        )
        assert (done.returncode, done.stdout) == (0, "end\n"), done.stderr
