"""Queues through sessions: what goes in and comes out, who waits, what is refused."""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

import headrace as tf
from headrace import errors
from tests.train.threads import LIMIT, Running, blocked

KINDS = {
    "fifo": lambda capacity=10, **more: tf.FIFOQueue(capacity, tf.int32, shapes=[()], **more),
    "padding": lambda capacity=10, **more: tf.PaddingFIFOQueue(
        capacity, [tf.int32], shapes=[()], **more
    ),
    "random": lambda capacity=10, **more: tf.RandomShuffleQueue(
        capacity, 0, tf.int32, shapes=[()], seed=1, **more
    ),
    "priority": lambda capacity=10, **more: Prioritized(capacity, **more),
}


class Prioritized(tf.PriorityQueue):
    """A priority queue of integers whose element is its own priority."""

    def __init__(self, capacity, **more):
        super().__init__(capacity, [tf.int32], shapes=[()], **more)

    def enqueue(self, vals, name=None):
        return super().enqueue([tf.cast(vals, tf.int64), vals], name)

    def enqueue_many(self, vals, name=None):
        return super().enqueue_many([tf.cast(vals[0], tf.int64), vals[0]], name)

    def dequeue(self, name=None):
        return super().dequeue(name)[1]

    def dequeue_many(self, n, name=None):
        return super().dequeue_many(n, name)[1]

    def dequeue_up_to(self, n, name=None):
        return super().dequeue_up_to(n, name)[1]


@pytest.fixture(params=list(KINDS))
def make(request):
    return KINDS[request.param]


@pytest.fixture
def session():
    with tf.Session() as session:
        yield session


# -- in and out ------------------------------------------------------------------------------------


def test_fifo_gives_in_the_order_of_coming(session):
    queue = tf.FIFOQueue(10, tf.float32)
    for x in (3.0, 1.0, 2.0):
        session.run(queue.enqueue(x))
    out = queue.dequeue()
    assert [session.run(out) for _ in range(3)] == [3.0, 1.0, 2.0]
    assert session.run(queue.size()) == 0


def test_priority_queue_gives_the_least_first_and_equals_in_order(session):
    queue = tf.PriorityQueue(10, [tf.string], shapes=[()])
    session.run(queue.enqueue_many([[3, 1, 2, 1], ["c", "a", "b", "z"]]))
    priorities, values = session.run(queue.dequeue_many(4))
    assert priorities.dtype == np.int64
    assert priorities.tolist() == [1, 1, 2, 3]
    assert values.tolist() == [b"a", b"z", b"b", b"c"]


def test_random_queue_gives_all_in_another_order(session):
    queue = tf.RandomShuffleQueue(100, 0, tf.int32, shapes=[()], seed=3)
    session.run(queue.enqueue_many([list(range(50))]))
    found = session.run(queue.dequeue_many(50)).tolist()
    assert sorted(found) == list(range(50))
    assert found != list(range(50))


@pytest.mark.parametrize("seeds", [(None, 5), (7, None), (7, 5)])
def test_random_queue_is_seeded(seeds):
    def draw():
        with tf.Graph().as_default(), tf.Session() as session:
            tf.set_random_seed(seeds[0])
            queue = tf.RandomShuffleQueue(100, 0, tf.int32, shapes=[()], seed=seeds[1])
            session.run(queue.enqueue_many([list(range(50))]))
            return session.run(queue.dequeue_many(50)).tolist()

    assert draw() == draw()


def test_random_queue_without_a_seed_differs_from_session_to_session():
    queue = tf.RandomShuffleQueue(100, 0, tf.int32, shapes=[()])
    put, take = queue.enqueue_many([list(range(50))]), queue.dequeue_many(50)
    found = []
    for _ in range(2):
        with tf.Session() as session:
            session.run(put)
            found.append(session.run(take).tolist())
    assert found[0] != found[1]


def test_random_queue_keeps_a_reserve_till_it_is_closed(session):
    queue = tf.RandomShuffleQueue(10, 3, tf.int32, shapes=[()], seed=1)
    session.run(queue.enqueue_many([[1, 2, 3, 4]]))
    out = queue.dequeue()
    first = session.run(out)
    waiting = Running(session.run, out)
    blocked(session)
    session.run(queue.close())
    rest = [waiting.result(), session.run(out), session.run(out)]
    assert sorted([first, *rest]) == [1, 2, 3, 4]


def test_padding_queue_fills_up_with_zeros(session):
    queue = tf.PaddingFIFOQueue(10, [tf.int32, tf.string], shapes=[(None, 2), (None,)])
    session.run(queue.enqueue([[[1, 2]], ["a", "b"]]))
    session.run(queue.enqueue([[[3, 4], [5, 6]], ["c"]]))
    numbers, texts = queue.dequeue_many(2)
    assert numbers.shape.as_list() == [2, None, 2]
    numbers, texts = session.run([numbers, texts])
    assert numbers.tolist() == [[[1, 2], [0, 0]], [[3, 4], [5, 6]]]
    assert texts.tolist() == [[b"a", b"b"], [b"c", b""]]


@pytest.mark.parametrize(
    ("dtype", "value"),
    [
        (tf.float64, np.pi), (tf.int64, 2**40), (tf.bool, True), (tf.complex64, 1 + 2j),
        (tf.string, b"\x00text"), (tf.float16, 0.5), (tf.uint8, 255), (tf.bfloat16, 0.25),
    ],
)  # fmt: skip
def test_types_go_through_unchanged(session, dtype, value):
    queue = tf.FIFOQueue(10, dtype, shapes=[()])
    session.run([queue.enqueue(tf.constant(value, dtype)), queue.size()])
    session.run(queue.enqueue_many([tf.constant([value, value], dtype)]))
    one, many = session.run(queue.dequeue()), session.run(queue.dequeue_many(2))
    assert one == value
    assert many.dtype == dtype.as_numpy_dtype
    assert many.tolist() == [value, value]


def test_elements_may_be_dicts(session):
    queue = tf.FIFOQueue(10, [tf.int32, tf.float32], shapes=[(), (2,)], names=["n", "x"])
    session.run(queue.enqueue({"x": [1.0, 2.0], "n": 7}))
    session.run(queue.enqueue_many({"x": [[3.0, 4.0]], "n": [8]}))
    one, many = session.run(queue.dequeue()), session.run(queue.dequeue_many(1))
    assert one["n"] == 7
    assert one["x"].tolist() == [1.0, 2.0]
    assert many["n"].tolist() == [8]
    assert many["x"].tolist() == [[3.0, 4.0]]


def test_what_was_put_in_is_not_changed_by_what_comes_after(session):
    queue = tf.FIFOQueue(10, tf.float32, shapes=[(2,)])
    fed = tf.placeholder(tf.float32, (2,))
    w = tf.get_variable("w", (2,), initializer=tf.zeros_initializer())
    session.run(w.initializer)
    array = np.array([1.0, 2.0], np.float32)
    put_fed, put_w, step = queue.enqueue(fed), queue.enqueue(w), w.assign_add([5.0, 5.0])
    session.run(put_fed, {fed: array})
    array[:] = 9.0
    session.run(put_w)
    for _ in range(3):
        session.run(step)
    one = session.run(queue.dequeue())
    one[:] = 8.0
    assert session.run(queue.dequeue()).tolist() == [0.0, 0.0]


def test_each_session_has_its_own_elements():
    queue = tf.FIFOQueue(10, tf.int32)
    put, size = queue.enqueue(1), queue.size()
    with tf.Session() as first, tf.Session() as second:
        first.run(put)
        assert (first.run(size), second.run(size)) == (1, 0)


def test_queues_of_one_shared_name_are_one(session):
    first = tf.FIFOQueue(10, tf.int32, shared_name="both")
    second = tf.FIFOQueue(10, tf.int32, shared_name="both")
    session.run(first.enqueue(4))
    assert session.run(second.dequeue()) == 4


def test_a_queue_may_be_chosen_from_a_list(session):
    queues = [tf.FIFOQueue(3, tf.int32, shapes=[(2,)]) for _ in range(2)]
    which = tf.placeholder(tf.int32, ())
    chosen = tf.QueueBase.from_list(which, queues)
    session.run([queues[0].enqueue([[1, 2]]), queues[1].enqueue([[3, 4]])])
    out = chosen.dequeue()
    assert out.shape.as_list() == [2]
    assert session.run(out, {which: 1}).tolist() == [3, 4]
    assert session.run(out, {which: 0}).tolist() == [1, 2]


def test_elements_flow_into_a_compiled_step(session):
    queue = tf.FIFOQueue(100, tf.float32, shapes=[(3,)])
    w = tf.get_variable("w", (), initializer=tf.zeros_initializer())
    step = w.assign_add(tf.reduce_sum(queue.dequeue_many(2)))
    session.run(w.initializer)
    session.run(queue.enqueue_many([np.ones((12, 3), np.float32)]))
    assert [session.run(step) for _ in range(6)] == [6.0 * i for i in range(1, 7)]


# -- capacity, closing -----------------------------------------------------------------------------


def test_enqueue_waits_for_a_place(session, make):
    queue = make(capacity=2)
    waiting = Running(session.run, queue.enqueue_many([[0, 1, 2, 3, 4]]))
    blocked(session)
    assert session.run(queue.size()) == 2
    out = queue.dequeue()
    found = [session.run(out) for _ in range(3)]
    waiting.result()
    found += [session.run(out) for _ in range(2)]
    assert sorted(found) == [0, 1, 2, 3, 4]


def test_dequeue_waits_for_an_element(session, make):
    queue = make()
    waiting = Running(session.run, queue.dequeue())
    blocked(session)
    session.run(queue.enqueue(3))
    assert waiting.result() == 3


def test_dequeue_many_waits_for_all(session, make):
    queue = make()
    waiting = Running(session.run, queue.dequeue_many(3))
    blocked(session)
    session.run(queue.enqueue_many([[1, 2]]))
    assert waiting.is_waiting()
    session.run(queue.enqueue(3))
    assert sorted(waiting.result()) == [1, 2, 3]


def test_fifo_gives_more_at_once_than_it_holds(session):
    queue = tf.FIFOQueue(2, tf.int32, shapes=[()])
    filling = Running(session.run, queue.enqueue_many([list(range(7))]))
    assert session.run(queue.dequeue_many(5)).tolist() == [0, 1, 2, 3, 4]
    filling.result()
    assert session.run(queue.size()) == 2


def test_who_comes_first_is_served_first(session):
    queue = tf.FIFOQueue(10, tf.int32, shapes=[()])
    first = Running(session.run, queue.dequeue_many(3))
    blocked(session)
    second = Running(session.run, queue.dequeue())
    blocked(session, 2)
    session.run(queue.enqueue_many([[1, 2]]))
    assert second.is_waiting()
    session.run(queue.enqueue_many([[3, 4]]))
    assert first.result().tolist() == [1, 2, 3]
    assert second.result() == 4


def test_close_lets_what_is_in_come_out(session, make):
    queue = make()
    session.run(queue.enqueue_many([[1, 2, 3]]))
    assert not session.run(queue.is_closed())
    session.run(queue.close())
    assert session.run(queue.is_closed())
    assert len(session.run(queue.dequeue_many(2))) == 2
    session.run(queue.dequeue())
    with pytest.raises(errors.OutOfRangeError, match=r"is closed and has insufficient elements "
                       r"\(requested 1, current size 0\)"):  # fmt: skip
        session.run(queue.dequeue())
    with pytest.raises(errors.CancelledError, match="is closed"):
        session.run(queue.enqueue(4))
    with pytest.raises(errors.CancelledError, match="is already closed"):
        session.run(queue.close())
    session.run(queue.close(cancel_pending_enqueues=True))


def test_errors_name_the_queue_and_the_node(session):
    queue = tf.FIFOQueue(10, tf.int32, shared_name="mine")
    session.run(queue.close())
    with pytest.raises(errors.OutOfRangeError, match="FIFOQueue 'mine'") as caught:
        session.run(queue.dequeue(name="out"))
    assert caught.value.op.name == "out"
    assert "out" in caught.value.message


def test_dequeue_many_of_a_closed_queue_takes_nothing_if_there_is_too_little(session, make):
    queue = make()
    session.run(queue.enqueue_many([[1, 2, 3]]))
    session.run(queue.close())
    with pytest.raises(errors.OutOfRangeError, match="requested 5, current size 3"):
        session.run(queue.dequeue_many(5))
    assert sorted(session.run(queue.dequeue_up_to(5))) == [1, 2, 3]
    with pytest.raises(errors.OutOfRangeError, match="requested 5, current size 0"):
        session.run(queue.dequeue_up_to(5))


def test_what_a_waiting_dequeue_many_took_is_put_back_when_it_fails(session, make):
    queue = make()
    session.run(queue.enqueue_many([[1, 2]]))
    waiting = Running(session.run, queue.dequeue_many(5))
    blocked(session)
    session.run(queue.close())
    with pytest.raises(errors.OutOfRangeError, match="requested 5, current size 2"):
        waiting.result()
    found = session.run(queue.dequeue_up_to(5)).tolist()
    assert found == [1, 2] if not isinstance(queue, tf.RandomShuffleQueue) else sorted(found)


def test_a_waiting_dequeue_up_to_gets_what_is_left(session, make):
    queue = make()
    session.run(queue.enqueue_many([[1, 2]]))
    waiting = Running(session.run, queue.dequeue_up_to(5))
    blocked(session)
    session.run(queue.enqueue(3))
    session.run(queue.close())
    assert sorted(waiting.result()) == [1, 2, 3]


def test_a_waiting_dequeue_up_to_of_nothing_is_at_the_end(session, make):
    queue = make()
    waiting = Running(session.run, queue.dequeue_up_to(5))
    blocked(session)
    session.run(queue.close())
    with pytest.raises(errors.OutOfRangeError, match="requested 5, current size 0"):
        waiting.result()


def test_close_waits_for_pending_enqueues(session, make):
    queue = make(capacity=2)
    filling = Running(session.run, queue.enqueue_many([[0, 1, 2, 3]]))
    blocked(session)
    closing = Running(session.run, queue.close())
    blocked(session, 2)
    assert not session.run(queue.is_closed())
    out = queue.dequeue()
    found = [session.run(out) for _ in range(2)]
    filling.result()
    closing.result()
    assert session.run(queue.is_closed())
    found += [session.run(out) for _ in range(2)]
    assert sorted(found) == [0, 1, 2, 3]


def test_close_may_cancel_pending_enqueues(session, make):
    queue = make(capacity=2)
    filling = Running(session.run, queue.enqueue_many([[0, 1, 2, 3]]))
    blocked(session)
    session.run(queue.close(cancel_pending_enqueues=True))
    with pytest.raises(errors.CancelledError, match="Enqueue operation was cancelled"):
        filling.result()
    assert session.run(queue.size()) == 2


# -- the session's end, and Ctrl-C -----------------------------------------------------------------


def test_closing_the_session_wakes_who_waits(make):
    full, empty = make(capacity=1), make()
    put, take, many = full.enqueue_many([[1, 2, 3]]), empty.dequeue(), empty.dequeue_many(2)
    session = tf.Session()
    waiting = [Running(session.run, op) for op in (put, take, many)]
    blocked(session, 3)
    session.close()
    with pytest.raises(errors.CancelledError, match="Enqueue operation was cancelled"):
        waiting[0].result()
    for one in waiting[1:]:
        with pytest.raises(errors.CancelledError, match="Dequeue operation was cancelled"):
            one.result()


def test_while_one_run_waits_others_go_on_and_it_sees_what_they_wrote(session):
    queue = tf.FIFOQueue(10, tf.float32, shapes=[()])
    w = tf.get_variable("w", (), initializer=tf.zeros_initializer())
    out = queue.dequeue()
    with tf.control_dependencies([out]):
        step = w.assign_add(out)
    session.run(w.initializer)
    waiting = Running(session.run, step)
    blocked(session)
    session.run(w.assign(10.0))
    assert session.run(w) == 10.0
    session.run(queue.enqueue(1.0))
    assert waiting.result() == 11.0


@pytest.mark.skipif(os.name != "posix", reason="signals as POSIX has them")
def test_ctrl_c_ends_a_wait_and_puts_back_what_was_taken():
    program = """
import headrace as tf
queue = tf.FIFOQueue(10, tf.int32, shapes=[()])
take, size, few = queue.dequeue_many(5), queue.size(), queue.dequeue_many(2)
with tf.Session() as session:
    session.run(queue.enqueue_many([[1, 2]]))
    try:
        print("waiting", flush=True)
        session.run(take)
    except KeyboardInterrupt:
        print("interrupted", session.run(size), session.run(few).tolist())
"""
    with subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout.readline() == "waiting\n"
            time.sleep(0.3)  # it must be in the wait by then
            process.send_signal(signal.SIGINT)
            output, _ = process.communicate(timeout=LIMIT)
        finally:
            process.kill()
    assert output == "interrupted 2 [1, 2]\n"


def test_many_threads_lose_and_double_nothing(session, make):
    queue = make(capacity=7)
    fed = tf.placeholder(tf.int32, ())
    put, take = queue.enqueue(fed), queue.dequeue()
    found = []

    def fill(k):
        for i in range(50):
            session.run(put, {fed: 100 * k + i})

    def drain():
        while True:
            try:
                found.append(int(session.run(take)))
            except errors.OutOfRangeError:
                return

    drains = [Running(drain) for _ in range(3)]
    fills = [Running(fill, k) for k in range(4)]
    for one in fills:
        one.result()
    session.run(queue.close())
    for one in drains:
        one.result()
    assert sorted(found) == [100 * k + i for k in range(4) for i in range(50)]


# -- what is refused -------------------------------------------------------------------------------


REFUSED = [
    (lambda: tf.FIFOQueue(3, [tf.int32], shapes=[(None,)]), ValueError, "must be fully defined"),
    (lambda: tf.FIFOQueue(3, [tf.int32] * 2, shapes=[()]), ValueError, r"len\(shapes\)=1"),
    (lambda: tf.FIFOQueue(3, tf.int32, shapes=3), TypeError, "Shapes must be a TensorShape"),
    (lambda: tf.FIFOQueue(3, [tf.int32] * 2, names=["a"]), ValueError, r"len\(names\)=1"),
    (lambda: tf.PaddingFIFOQueue(3, [tf.int32], shapes=None), ValueError, "a list of shapes"),
    (lambda: tf.PaddingFIFOQueue(3, [tf.int32] * 2, shapes=[()]), ValueError, "2 dtypes and 1"),
    (
        lambda: tf.PaddingFIFOQueue(3, [tf.int32], shapes=[tf.TensorShape(None)]),
        ValueError,
        "defined rank",
    ),
    (lambda: tf.FIFOQueue(3, [tf.int32] * 2).enqueue([1]), ValueError, "2 components, got 1"),
    (lambda: tf.FIFOQueue(3, tf.int32).enqueue(1.5), TypeError, "int32"),
    (lambda: tf.FIFOQueue(3, tf.int32, (2,)).enqueue([[1, 2, 3]]), ValueError, "incompatible"),
    (lambda: tf.FIFOQueue(3, tf.int32).enqueue_many([1]), ValueError, "rank at least 1"),
    (lambda: tf.FIFOQueue(3, [tf.int32] * 2).enqueue_many([[1], [2, 3]]), ValueError, "1 and 2"),
    (lambda: tf.FIFOQueue(3, tf.int32).enqueue({"a": 1}), ValueError, "must have names"),
    (lambda: tf.FIFOQueue(3, tf.int32, names=["a"]).enqueue(1), ValueError, "a dictionary"),
    (lambda: tf.FIFOQueue(3, tf.int32, names=["a"]).enqueue({"b": 1}), ValueError, "do not match"),
    (lambda: tf.FIFOQueue(3, tf.int32, [()]).dequeue_many(-1), ValueError, "must be >= 0"),
    (lambda: tf.FIFOQueue(3, tf.int32, [()]).dequeue_many([1, 2]), ValueError, "rank 0"),
    (lambda: tf.QueueBase.from_list(0, []), TypeError, "list of queues"),
    (
        lambda: tf.QueueBase.from_list(0, [tf.FIFOQueue(3, t) for t in (tf.int32, tf.int64)]),
        TypeError,
        "component dtypes",
    ),
    (
        lambda: tf.QueueBase.from_list(0, [tf.FIFOQueue(3, tf.int32, names=n) for n in "ab"]),
        TypeError,
        "component names",
    ),
]


@pytest.mark.parametrize(("build", "kind", "words"), REFUSED)
def test_bad_queues_are_refused_when_built(build, kind, words):
    with pytest.raises(kind, match=words):
        build()


RUNS_REFUSED = [
    (lambda p: tf.FIFOQueue(3, tf.int32).dequeue_many(2), "to have specified shapes"),
    (lambda p: tf.FIFOQueue(3, tf.int32, [(2,)]).enqueue(p), r"Expected \[2\], got \[3\]"),
    (
        lambda p: tf.FIFOQueue(3, tf.int32, [(2,)]).enqueue_many(p),
        r"Expected \[3,2\], got \[3\]",
    ),
    (
        lambda p: tf.FIFOQueue(3, [tf.int32] * 2).enqueue_many([p, [1, 2]]),
        "same size in the 0th dimension. Component 1 has 2, and should have 3",
    ),
    (lambda p: tf.FIFOQueue(3, tf.int32).enqueue_many(p[0]), "component 0 is a scalar"),
    (lambda p: tf.FIFOQueue(3, tf.int32, [()]).dequeue_many(-p[0]), "asked for -1"),
    (
        lambda p: tf.PaddingFIFOQueue(3, [tf.int32], [(None, 2)]).enqueue(p),
        r"Expected \[\?,2\], got \[3\]",
    ),
    (lambda p: tf.RandomShuffleQueue(4, 5, tf.int32).size(), "5 must be < capacity 4"),
    (lambda p: tf.RandomShuffleQueue(4, -1, tf.int32).size(), "-1 must be >= 0"),
    (lambda p: tf.FIFOQueue(3, tf.int32, shared_name="_x").size(), "cannot start with '_'"),
]


@pytest.mark.parametrize(("build", "words"), RUNS_REFUSED)
def test_bad_uses_are_refused_when_run(session, build, words):
    fed = tf.placeholder(tf.int32)
    with pytest.raises(errors.InvalidArgumentError, match=words):
        session.run(build(fed), {fed: [1, 2, 3]})


SHARED = [
    (lambda: tf.FIFOQueue(4, tf.int32, shared_name="s"), "capacity 3 but requested capacity was 4"),
    (lambda: tf.FIFOQueue(3, tf.int64, shared_name="s"), r"types \[int32\] but requested"),
    (lambda: tf.FIFOQueue(3, tf.int32, [()], shared_name="s"), "component shapes"),
    (lambda: tf.RandomShuffleQueue(3, 1, tf.int32, shared_name="s"), "is a FIFOQueueV2"),
]


@pytest.mark.parametrize(("other", "words"), SHARED)
def test_queues_that_share_a_name_must_be_alike(session, other, words):
    session.run(tf.FIFOQueue(3, tf.int32, shared_name="s").size())
    with pytest.raises(errors.InvalidArgumentError, match=words):
        session.run(other().size())
