"""Producers and batches: what comes out, in which order, how often, and what is refused."""

import numpy as np
import pytest

import headrace as tf
from headrace import errors
from tests.train.threads import LIMIT, until

NAMES = ["a", "b", "c", "d"]


class Pipeline:
    """A session with the queue runners of its graph started."""

    def __init__(self):
        self.session = tf.Session()
        self.coord = tf.train.Coordinator()
        self.session.run([tf.global_variables_initializer(), tf.local_variables_initializer()])
        self.threads = tf.train.start_queue_runners(self.session, self.coord)
        self.run = self.session.run

    def drain(self, fetches):
        """What the fetches give till the data ends."""
        found = []
        while True:
            try:
                found.append(self.run(fetches))
            except errors.OutOfRangeError:
                return found

    def __enter__(self):
        return self

    def __exit__(self, kind, *_):
        self.coord.request_stop()
        if kind is None:
            self.coord.join(self.threads, stop_grace_period_secs=LIMIT)
        self.session.close()


def drained(fetches):
    with Pipeline() as pipeline:
        return pipeline.drain(fetches)


# -- epochs ----------------------------------------------------------------------------------------


def test_limit_epochs_counts_in_a_local_variable():
    tensor = tf.train.limit_epochs(tf.constant([1.0, 2.0]), 2)
    (epochs,) = tf.local_variables()
    assert tf.global_variables() == []
    with tf.Session() as session:
        with pytest.raises(errors.FailedPreconditionError, match="uninitialized value"):
            session.run(tensor)
        session.run(tf.local_variables_initializer())
        assert session.run(tensor).tolist() == [1.0, 2.0]
        assert session.run(tensor).tolist() == [1.0, 2.0]
        with pytest.raises(errors.OutOfRangeError, match="Reached limit of 2"):
            session.run(tensor)
        assert session.run(epochs) == 2


def test_no_limit_leaves_the_tensor_alone():
    tensor = tf.constant(1.0)
    assert tf.train.limit_epochs(tensor) is tensor
    with pytest.raises(ValueError, match="num_epochs must be > 0 not 0"):
        tf.train.limit_epochs(tensor, 0)


# -- producers -------------------------------------------------------------------------------------


def test_strings_in_order():
    queue = tf.train.string_input_producer(NAMES, num_epochs=2, shuffle=False)
    assert drained(queue.dequeue()) == [n.encode() for n in NAMES * 2]


def test_strings_are_shuffled_anew_each_epoch():
    names = [f"f{i:02d}".encode() for i in range(30)]
    queue = tf.train.string_input_producer(names, num_epochs=2, seed=5)
    found = drained(queue.dequeue())
    first, second = found[:30], found[30:]
    assert sorted(first) == sorted(second) == names
    assert len({tuple(first), tuple(second), tuple(names)}) == 3


def test_no_strings_are_refused():
    with pytest.raises(ValueError, match="string_input_producer requires a non-null input tensor"):
        tf.train.string_input_producer([])
    none = tf.placeholder_with_default(np.zeros(0, object), [None])
    queue = tf.train.string_input_producer(none)
    with Pipeline() as pipeline:
        with pytest.raises(errors.OutOfRangeError):
            pipeline.run(queue.dequeue())
        with pytest.raises(errors.InvalidArgumentError, match="requires a non-null input tensor"):
            pipeline.coord.join(pipeline.threads)
        pipeline.coord.clear_stop()


def test_range():
    queue = tf.train.range_input_producer(5, num_epochs=1, shuffle=False)
    assert drained(queue.dequeue()) == [0, 1, 2, 3, 4]


def test_slices_stay_together():
    x = np.arange(12, dtype=np.float32).reshape(6, 2)
    slices = tf.train.slice_input_producer([x, np.arange(6)], num_epochs=1, seed=1)
    assert [t.shape.as_list() for t in slices] == [[2], []]
    found = drained(slices)
    assert sorted(int(i) for _, i in found) == list(range(6))
    for row, i in found:
        assert row.tolist() == x[i].tolist()


def test_producer_of_rows_of_any_shape():
    queue = tf.train.input_producer(
        tf.constant([[1, 2], [3, 4]]), num_epochs=1, shuffle=False, summary_name="fullness"
    )
    assert [row.tolist() for row in drained(queue.dequeue())] == [[1, 2], [3, 4]]
    assert [s.op.name for s in tf.get_collection(tf.GraphKeys.SUMMARIES)] == [
        "input_producer/fullness"
    ]


def test_what_a_producer_must_know():
    with pytest.raises(ValueError, match="must have a fully defined shape"):
        tf.train.input_producer(tf.placeholder(tf.int32))
    with pytest.raises(ValueError, match="at least one tensor in slice_input_producer"):
        tf.train.slice_input_producer([])


def test_file_names_are_looked_up_when_initialised(tmp_path):
    found = tf.train.match_filenames_once(str(tmp_path / "*.csv"))
    for name in ("2.csv", "1.csv", "other.txt"):
        (tmp_path / name).write_text("")
    with tf.Session() as session:
        session.run(tf.local_variables_initializer())
        (tmp_path / "3.csv").write_text("")
        names = [str(tmp_path / n).encode() for n in ("1.csv", "2.csv")]
        assert session.run(found).tolist() == names


# -- batches ---------------------------------------------------------------------------------------


def numbers(n, **more):
    """An int32 scalar that counts from 0 to n - 1 once."""
    return tf.train.range_input_producer(n, num_epochs=1, shuffle=False, **more).dequeue()


def test_batches_in_order_and_the_rest_left_out():
    i = numbers(10)
    both = tf.train.batch([i, tf.cast(i, tf.float32) * [1.0, 2.0]], 4)
    assert [t.shape.as_list() for t in both] == [[4], [4, 2]]
    found = drained(both)
    assert [ints.tolist() for ints, _ in found] == [[0, 1, 2, 3], [4, 5, 6, 7]]
    assert found[1][1].tolist() == [[k, 2.0 * k] for k in (4.0, 5.0, 6.0, 7.0)]


def test_a_smaller_last_batch():
    out = tf.train.batch([numbers(10)], 4, allow_smaller_final_batch=True)
    assert out.shape.as_list() == [None]
    assert [b.tolist() for b in drained(out)] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]


def test_several_threads_lose_nothing():
    out = tf.train.batch([numbers(100)], 10, num_threads=4)
    found = drained(out)
    assert sorted(np.concatenate(found).tolist()) == list(range(100))


def test_batches_of_dicts():
    i = numbers(4)
    out = tf.train.batch({"i": i, "half": i / 2}, 2)
    found = drained(out)
    assert [{k: v.tolist() for k, v in b.items()} for b in found] == [
        {"half": [0.0, 0.5], "i": [0, 1]},
        {"half": [1.0, 1.5], "i": [2, 3]},
    ]
    single = tf.train.batch({"x": tf.constant(1)}, 2)
    assert list(single) == ["x"]


def test_batches_of_many_at_once():
    i = numbers(5)
    out = tf.train.batch([tf.stack([10 * i, 10 * i + 1, 10 * i + 2])], 5, enqueue_many=True)
    assert [b.tolist() for b in drained(out)] == [
        [0, 1, 2, 10, 11], [12, 20, 21, 22, 30], [31, 32, 40, 41, 42],
    ]  # fmt: skip


def test_batches_filled_up():
    i = numbers(6)
    out = tf.train.batch([tf.range(i)], 3, dynamic_pad=True)
    assert out.shape.as_list() == [3, None]
    assert [b.tolist() for b in drained(out)] == [
        [[0, 0], [0, 0], [0, 1]],
        [[0, 1, 2, 0, 0], [0, 1, 2, 3, 0], [0, 1, 2, 3, 4]],
    ]


def test_joined_sources():
    sources = [[numbers(6), tf.constant("first")], [numbers(4), tf.constant("second")]]
    ints, names = tf.train.batch_join(sources, 5)
    found = drained([ints, names])
    pairs = [(int(i), n) for b in found for i, n in zip(*b, strict=True)]
    assert sorted(i for i, n in pairs if n == b"first") == list(range(6))
    assert sorted(i for i, n in pairs if n == b"second") == list(range(4))


def test_shuffled_batches():
    out = tf.train.shuffle_batch([numbers(100)], 10, 50, 20, seed=3)
    found = np.concatenate(drained(out)).tolist()
    assert sorted(found) == list(range(100))
    assert found != list(range(100))
    assert max(found[:10]) < 50, "no further ahead than the queue holds and one that waits"


def test_joined_shuffled_batches():
    out = tf.train.shuffle_batch_join([[numbers(30)], [numbers(30)]], 10, 40, 10, seed=3)
    assert sorted(np.concatenate(drained(out)).tolist()) == sorted([*range(30), *range(30)])


@pytest.mark.parametrize("many", [False, True])
def test_kept_examples(many):
    i = numbers(10)
    even = tf.equal(i % 2, 0)
    out = tf.train.maybe_batch([i[None] if many else i], even, 2, enqueue_many=many)
    assert [b.tolist() for b in drained(out)] == [[0, 2], [4, 6]]


def test_kept_examples_out_of_many():
    i = numbers(4)
    rows = tf.stack([i, 10 + i, 20 + i])
    out = tf.train.maybe_batch([rows], tf.not_equal(rows, 11), 11, enqueue_many=True)
    assert drained(out)[0].tolist() == [0, 10, 20, 1, 21, 2, 12, 22, 3, 13, 23]


def test_kept_examples_of_shuffled_and_joined():
    i = numbers(10)
    out = tf.train.maybe_shuffle_batch([i], 5, 20, 5, i < 5, seed=1)
    assert sorted(drained(out)[0].tolist()) == [0, 1, 2, 3, 4]
    tf.reset_default_graph()
    out = tf.train.maybe_batch_join([[numbers(4)], [numbers(4)]], True, 8)
    assert sorted(drained(out)[0].tolist()) == [0, 0, 1, 1, 2, 2, 3, 3]
    tf.reset_default_graph()
    out = tf.train.maybe_shuffle_batch_join([[numbers(4)], [numbers(4)]], 8, 20, 5, True)
    assert sorted(drained(out)[0].tolist()) == [0, 0, 1, 1, 2, 2, 3, 3]


REFUSED = [
    (lambda t: t.batch([], 4), ValueError, "at least one tensor in batch"),
    (lambda t: t.batch(tf.constant(1), 4), TypeError, "lists or dicts of tensors"),
    (lambda t: t.batch([tf.placeholder(tf.int32)], 4), ValueError, "Cannot infer Tensor's rank"),
    (lambda t: t.batch([tf.placeholder(tf.int32, [None])], 4), ValueError, "fully defined"),
    (lambda t: t.batch_join([], 4), ValueError, "at least one set of tensors"),
    (lambda t: t.batch_join(3, 4), TypeError, "a list of lists or dicts"),
    (lambda t: t.batch_join([[1], [2.0]], 4), TypeError, "int32 vs. float32"),
    (lambda t: t.batch_join([[1], [2, 3]], 4), ValueError, "as many tensors"),
    (lambda t: t.batch_join([{"a": 1}, {"b": 1}], 4), ValueError, "the same keys"),
    (lambda t: t.batch_join([[[1]], [[2, 3]]], 4), ValueError, "not compatible"),
    (lambda t: t.shuffle_batch([1], 4, 10, 10), ValueError, "must be bigger than min_after"),
    (lambda t: t.maybe_batch([1], [True, False], 4), ValueError, "cannot be a vector"),
    (lambda t: t.maybe_batch([1], tf.placeholder(tf.bool), 4), ValueError, "must be known"),
    (lambda t: t.maybe_batch([[1]], [[True]], 4, enqueue_many=True), ValueError, "0 or 1"),
]


@pytest.mark.parametrize(("build", "kind", "words"), REFUSED)
def test_bad_batches_are_refused(build, kind, words):
    with pytest.raises(kind, match=words):
        build(tf.train)


# -- whole programs --------------------------------------------------------------------------------


def test_a_model_is_trained_from_queues():
    rng = np.random.default_rng(0)
    x = rng.normal(size=(500, 4)).astype(np.float32)
    w = np.array([[1.0], [-2.0], [3.0], [0.5]], np.float32)
    example, label = tf.train.slice_input_producer([x, x @ w], seed=1)
    examples, labels = tf.train.shuffle_batch([example, label], 32, 200, 100, seed=2)
    weights = tf.get_variable("w", (4, 1), initializer=tf.zeros_initializer())
    loss = tf.reduce_mean(tf.square(examples @ weights - labels))
    train = tf.train.GradientDescentOptimizer(0.1).minimize(loss)
    with Pipeline() as pipeline:
        for _ in range(150):
            if pipeline.coord.should_stop():
                break
            pipeline.run(train)
        np.testing.assert_allclose(pipeline.run(weights), w, atol=1e-3)
    assert not any(t.is_alive() for t in pipeline.threads)


def test_the_loop_of_the_guides_ends_with_the_data():
    seen = []
    out = tf.train.shuffle_batch([numbers(25)], 5, 20, 5)
    with tf.Session() as session:
        session.run(tf.local_variables_initializer())
        coord = tf.train.Coordinator()
        threads = tf.train.start_queue_runners(sess=session, coord=coord)
        try:
            while not coord.should_stop():
                seen += session.run(out).tolist()
        except tf.errors.OutOfRangeError:
            pass
        finally:
            coord.request_stop()
        coord.join(threads)
    assert sorted(seen) == list(range(25))


def test_an_error_in_the_pipeline_reaches_join():
    def decode(i):
        if i == 7:
            raise ValueError("example 7 is broken")
        return np.float32(i)

    out = tf.train.batch([tf.reshape(tf.py_func(decode, [numbers(20)], tf.float32), ())], 2)
    with tf.Session() as session:
        session.run(tf.local_variables_initializer())
        coord = tf.train.Coordinator()
        threads = tf.train.start_queue_runners(session, coord)
        for _ in range(3):
            session.run(out)
        with pytest.raises(errors.OutOfRangeError):
            session.run(out)
        coord.request_stop()
        with pytest.raises(errors.InvalidArgumentError, match="example 7 is broken"):
            coord.join(threads)


def test_fullness_is_summarised():
    out = tf.train.shuffle_batch([tf.constant(1.0)], 4, 20, 10)
    (full,) = [s for s in tf.get_collection(tf.GraphKeys.SUMMARIES) if "over" in s.op.name]
    assert full.op.name == "shuffle_batch/fraction_over_10_of_10_full"
    queue_size = tf.get_default_graph().get_tensor_by_name(
        "shuffle_batch/random_shuffle_queue_Size:0"
    )
    with Pipeline() as pipeline:
        pipeline.run(out)
        until(lambda: pipeline.run(queue_size) == 20)
        summary = tf.Summary.FromString(pipeline.run(full))
        assert summary.value[0].simple_value == 1.0
