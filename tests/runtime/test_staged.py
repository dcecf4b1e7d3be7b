"""Programs of several segments, or with effects: packs stay packs; what fails changes nothing."""

import threading

import numpy as np
import pytest

import headrace as tf
from headrace.runtime import stages
from headrace.runtime import xla as runtime_xla
from headrace.runtime.state import State
from tests.runtime.counting import compilations
from tests.runtime.toys import on_host

RUNS = 5


@pytest.fixture
def sess():
    with tf.Session() as opened:
        yield opened


@pytest.fixture
def unpacked(monkeypatch):
    """A list that grows by each pack taken apart."""
    seen, unpack = [], State.unpack

    def counted(self, pack):
        seen.append(pack)
        unpack(self, pack)

    monkeypatch.setattr(State, "unpack", counted)
    return seen


@pytest.fixture
def interpreted(monkeypatch):
    """A list that grows by each segment for the device that NumPy runs."""
    seen, interpret = [], stages.interpret

    def counted(segment, run, observe):
        if not segment.host:
            seen.append(segment)
        interpret(segment, run, observe)

    monkeypatch.setattr(stages, "interpret", counted)
    return seen


def counters():
    """Two small variables, which share a pack, and the step that adds 1 to either."""
    v = tf.get_variable("v", initializer=np.zeros(3, np.float32))
    w = tf.get_variable("w", initializer=np.zeros((), np.float32))
    return v, w, lambda by: tf.group(v.assign_add(by * tf.ones(3)), w.assign_add(by))


def values(sess, v, w):
    found = sess.run([v, w])
    assert (found[0] == found[1]).all()
    return found[1]


# -- packs -----------------------------------------------------------------------------------------


def kinds(x, v):
    """Ways in which a step is more than one pure segment: (what it adds, what is fetched too)."""
    by = x + 0.0
    with tf.control_dependencies([tf.Assert(by < 100, ["too much:", by])]):
        asserted = tf.identity(by)
    summaries = [tf.summary.scalar("x", by), tf.summary.histogram("v", v)]
    return {
        "summary": (by, [tf.summary.merge(summaries)]),
        "host_before": (on_host(x), []),
        "host_after": (by, [on_host(v.read_value() * by)]),
        "print": (tf.Print(by, ["x is", by, v], first_n=1), []),
        "assert": (asserted, []),
        "static": (by * tf.reduce_mean(tf.ones([tf.cast(x, tf.int32)])), []),
    }  # fmt: skip


@pytest.mark.parametrize(
    "kind", ["summary", "host_before", "host_after", "print", "assert", "static"]
)
def test_steps_of_every_kind_share_a_pack_with_the_plain_one(sess, unpacked, kind):
    v, w, add = counters()
    x = tf.placeholder(tf.float32, ())
    plain = add(x)
    by, more = kinds(x, v)[kind]
    step = [add(by), *more]
    sess.run(tf.global_variables_initializer())
    total = 0
    for i in range(3 * RUNS):
        sess.run(plain, {x: 1.0})
        sess.run(step, {x: 2.0})
        total += 3
        if i == 3:  # both are compiled by now
            assert sess._state.pack_of
            unpacked.clear()
    assert not unpacked
    assert values(sess, v, w) == total


def test_host_step_reads_parts_of_a_pack_as_they_were(sess, unpacked):
    v, w, add = counters()
    before = on_host(tf.identity(v))
    step = add(1.0)
    with tf.control_dependencies([step]):
        after = on_host(v.read_value())
    sess.run(tf.global_variables_initializer())
    kept = []
    for _ in range(3 * RUNS):
        kept.append(sess.run([before, after, step])[:2])
    assert not unpacked
    for i, (first, last) in enumerate(kept):
        assert first.tolist() == [i] * 3
        assert last.tolist() == [i + 1] * 3
    assert values(sess, v, w) == 3 * RUNS


# -- one computation -------------------------------------------------------------------------------


def test_assertion_with_words_does_not_split_a_step(sess, interpreted):
    v, w, add = counters()
    x = tf.placeholder(tf.float32, ())
    with tf.control_dependencies([tf.assert_less(x, 10.0, message="x is large")]):
        step = add(tf.identity(x))
    sess.run(tf.global_variables_initializer())
    with compilations() as made:
        sess.run(step, {x: 1.0})
        interpreted.clear()
        for _ in range(RUNS):
            sess.run(step, {x: 1.0})
    assert len(made) == 1
    assert not interpreted
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"x is large.*\[10\]"):
        sess.run(step, {x: 10.0})
    assert values(sess, v, w) == RUNS + 1


def test_host_results_of_known_shape_are_compiled_for_at_once(sess):
    queue = tf.FIFOQueue(100, tf.float32, shapes=[()])
    v, w, add = counters()
    fill, step = queue.enqueue_many([tf.ones([50])]), add(queue.dequeue())
    sess.run([tf.global_variables_initializer(), fill])
    with compilations() as made:
        sess.run(step)
        assert not made
        for _ in range(RUNS):
            sess.run(step)
    assert len(made) == 1
    assert values(sess, v, w) == RUNS + 1


def test_variable_that_takes_another_shape_is_compiled_for_again(sess):
    v = tf.get_variable("v", initializer=np.zeros(2, np.float32), validate_shape=False)
    x = tf.placeholder(tf.float32, None)
    put = tf.assign(v, x, validate_shape=False).op
    y = on_host(tf.reduce_sum(v) + 1.0)
    for size in (2, 5, 2, 5, 5, 2):
        sess.run(put, {x: np.ones(size)})
        for _ in range(3):
            assert sess.run(y) == size + 1


# -- failures --------------------------------------------------------------------------------------


def test_summary_that_fails_after_the_step_leaves_the_pack(sess, unpacked):
    v, w, add = counters()
    x = tf.placeholder(tf.float32, ())
    step = [add(1.0), tf.summary.histogram("h", 1.0 / x)]
    sess.run(tf.global_variables_initializer())
    for n in range(1, 2 * RUNS):
        sess.run(step, {x: 1.0})
        with pytest.raises(tf.errors.InvalidArgumentError, match="Infinity in Histogram for: h"):
            sess.run(step, {x: 0.0})
        assert values(sess, v, w) == n
    assert not unpacked


def test_uninitialised_variable_is_seen_before_anything_is_dequeued(sess):
    queue = tf.FIFOQueue(10, tf.float32, shapes=[()])
    _, _, add = counters()
    step, size = add(queue.dequeue()), queue.size()
    sess.run(queue.enqueue(1.0))
    for _ in range(RUNS):
        with pytest.raises(tf.errors.FailedPreconditionError, match="uninitialized value"):
            sess.run(step)
        assert sess.run(size) == 1


def test_failing_check_behind_a_queue_dequeues_once(sess):
    queue = tf.FIFOQueue(100, tf.int32, shapes=[()])
    v, w, add = counters()
    step, size = add(tf.gather([1.0, 2.0], queue.dequeue())), queue.size()
    x = tf.placeholder(tf.int32, (None,))
    fill = queue.enqueue_many([x])
    sess.run(tf.global_variables_initializer())
    for n in range(1, 2 * RUNS):
        sess.run(fill, {x: [0, 7, 1]})
        sess.run(step)
        with pytest.raises(tf.errors.InvalidArgumentError, match=r"= 7 is not in \[0, 2\)"):
            sess.run(step)
        assert sess.run(size) == 1
        sess.run(step)
        assert values(sess, v, w) == 3 * n


def test_what_was_written_before_a_wait_is_there_while_it_lasts(sess):
    queue = tf.FIFOQueue(1, tf.float32, shapes=[()])
    v, w, add = counters()
    first = add(1.0)
    with tf.control_dependencies([first]):
        taken = queue.dequeue()
    with tf.control_dependencies([taken]):
        seen = v.read_value() * 1.0
        second = v.assign_add(seen * 0.0 + taken)
    sess.run(tf.global_variables_initializer())
    put = queue.enqueue(10.0)
    for n in range(1, RUNS + 1):
        found = []
        thread = threading.Thread(target=lambda f=found: f.append(sess.run([seen, second, v])))
        thread.start()
        while sess.run(w) < n:
            pass
        sess.run(w.assign_add(0.0))
        sess.run(put)
        thread.join()
        ((before, one, end),) = found
        assert before.tolist() == [11.0 * n - 10] * 3
        assert one.tolist() == end.tolist() == [11.0 * n] * 3


# -- checks and donation ---------------------------------------------------------------------------


@pytest.fixture
def separate(monkeypatch):
    """For each computation whose checks could be made beforehand, whether they are."""
    made, original = [], runtime_xla.CompiledSegment._checked_before

    def noted(self, *args):
        made.append(original(self, *args))
        return made[-1]

    monkeypatch.setattr(runtime_xla.CompiledSegment, "_checked_before", noted)
    return made


def table(rows=5000):
    return tf.get_variable("table", initializer=np.ones((rows, 64), np.float32))


@pytest.mark.parametrize("optimizer", ["GradientDescent", "Adam", "Adagrad"])
def test_embedding_is_updated_in_place_and_a_bad_index_changes_nothing(sess, separate, optimizer):
    ids = tf.placeholder(tf.int32, (None,))
    v = table()
    loss = tf.reduce_sum(tf.nn.embedding_lookup(v, ids) ** 2)
    step = getattr(tf.train, f"{optimizer}Optimizer")(0.1).minimize(loss)
    sess.run(tf.global_variables_initializer())
    for _ in range(RUNS):
        sess.run(step, {ids: [1, 2, 2]})
    (check,) = separate
    assert check is not None
    address = sess._state.held[v.op].unsafe_buffer_pointer()
    sess.run(step, {ids: [1, 2, 2]})
    assert sess._state.held[v.op].unsafe_buffer_pointer() == address
    before = sess.run(tf.global_variables())
    for _ in range(RUNS):
        with pytest.raises(tf.errors.InvalidArgumentError, match=r"= 5000 is not in \[0, 5000\)"):
            sess.run(step, {ids: [1, 5000, 2]})
    for one, other in zip(before, sess.run(tf.global_variables()), strict=True):
        np.testing.assert_array_equal(one, other)


def test_checks_that_hang_on_variables_are_made_in_the_step(sess, separate):
    ids = tf.placeholder(tf.int32, (None,))
    v = table()
    rows = tf.check_numerics(tf.log(tf.nn.embedding_lookup(v, ids)), "log")
    step = tf.scatter_sub(v, ids, rows * 0.0 + 1.0)
    sess.run(v.initializer)
    expected = np.ones((5000, 64), np.float32)
    sess.run(step.op, {ids: [0]})
    sess.run(step.op, {ids: [1]})
    expected[:2] = 0
    assert separate == [None]
    for _ in range(RUNS):
        with pytest.raises(tf.errors.InvalidArgumentError, match="log : Tensor had Inf"):
            sess.run(step.op, {ids: [1]})
        np.testing.assert_array_equal(sess.run(v), expected)


def test_checks_of_small_variables_are_made_in_the_step(sess, separate):
    v, w, add = counters()
    x = tf.placeholder(tf.int32, ())
    step = add(tf.gather([1.0, 2.0], x))
    sess.run(tf.global_variables_initializer())
    for _ in range(RUNS):
        sess.run(step, {x: 0})
    assert not separate
    assert values(sess, v, w) == RUNS
