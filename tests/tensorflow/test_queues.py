"""Queues, producers and batches beside TensorFlow's: the same nodes, elements, order and errors."""

import threading

import numpy as np
import pytest

from tests.tensorflow.outcomes import attempt, nodes, plain

LIMIT = 30.0  # seconds, which only a broken test takes


# -- graphs ----------------------------------------------------------------------------------------

BUILDS = {
    "fifo": lambda tf: use(tf.FIFOQueue(5, [tf.int32, tf.string], shapes=[(), (2,)])),
    "fifo unknown": lambda tf: use(tf.FIFOQueue(5, [tf.int32, tf.string], name="scope/mine")),
    "shared": lambda tf: use(tf.FIFOQueue(-1, [tf.int32, tf.string], shared_name="s")),
    "padding": lambda tf: use(tf.PaddingFIFOQueue(5, [tf.int32, tf.string], [(), (None,)])),
    "random": lambda tf: use(tf.RandomShuffleQueue(5, 2, [tf.int32, tf.string], seed=3)),
    "random by graph": lambda tf: (
        tf.set_random_seed(4),
        use(tf.RandomShuffleQueue(5, 2, [tf.int32, tf.string], shared_name="shared")),
    ),
    "priority": lambda tf: tf.PriorityQueue(5, [tf.float32], [()]).enqueue([1, 2.0]),
    "named": lambda tf: tf.FIFOQueue(5, [tf.int32] * 2, names=["b", "a"]).enqueue({"a": 1, "b": 2}),
    "chosen": lambda tf: tf.QueueBase.from_list(
        1, [tf.FIFOQueue(3, tf.int32, shapes=[(k,)]) for k in (2, 3)]
    ).dequeue(),
    "limit_epochs": lambda tf: tf.train.limit_epochs(tf.constant([1.0]), 3),
    "input_producer": lambda tf: tf.train.input_producer(
        [1, 2, 3], num_epochs=2, seed=4, summary_name="fullness"
    ),
    "producer of anything": lambda tf: tf.train.input_producer(
        tf.placeholder(tf.int32), element_shape=[2], shuffle=False
    ),
    "string": lambda tf: tf.train.string_input_producer(["a", "b"], shuffle=False, capacity=5),
    "string fed": lambda tf: tf.train.string_input_producer(
        tf.placeholder(tf.string, [None]), name="files", shared_name="s", num_epochs=1
    ),
    "range": lambda tf: tf.train.range_input_producer(5, num_epochs=1, seed=1, name="r"),
    "slice": lambda tf: tf.train.slice_input_producer(
        [np.arange(3), np.ones((3, 2), np.float32)], num_epochs=1, seed=2
    ),
    "slice fed": lambda tf: tf.train.slice_input_producer(
        [tf.placeholder(tf.float32, [None, 3])], shuffle=False
    ),
    "slice of a variable": lambda tf: tf.train.slice_input_producer([tf.Variable([1.0, 2.0])]),
    "batch": lambda tf: tf.train.batch([tf.constant(1), [2.0, 3.0]], 4),
    "batch named": lambda tf: tf.train.batch(
        [tf.constant(1)], 4, num_threads=2, name="b", shared_name="s"
    ),
    "batch of a dict": lambda tf: tf.train.batch(
        {"b": tf.constant(1), "a": tf.constant(2.0)}, 4, allow_smaller_final_batch=True
    ),
    "batch of many": lambda tf: tf.train.batch([[1, 2], [[2.0], [4.0]]], 4, enqueue_many=True),
    "batch padded": lambda tf: tf.train.batch(
        [tf.placeholder(tf.int32, [None])], 4, dynamic_pad=True
    ),
    "batch shapes": lambda tf: tf.train.batch([tf.placeholder(tf.int32)], 4, shapes=[[2]]),
    "batch size fed": lambda tf: tf.train.batch([1], tf.placeholder(tf.int32, [])),
    "batch_join": lambda tf: tf.train.batch_join([[1, "a"], [2, "b"]], 4),
    "batch_join of dicts": lambda tf: tf.train.batch_join(
        [{"x": 1}, {"x": 2}], 4, dynamic_pad=True, allow_smaller_final_batch=True
    ),
    "shuffle_batch": lambda tf: tf.train.shuffle_batch([1, [2.0]], 4, 99, 50, 2, seed=3),
    "shuffle_batch by graph": lambda tf: (
        tf.set_random_seed(7),
        tf.train.shuffle_batch({"a": [1, 2]}, 4, 99, 0, enqueue_many=True, shared_name="q"),
    ),
    "shuffle_batch_join": lambda tf: tf.train.shuffle_batch_join([[1], [2]], 4, 99, 50, seed=1),
    "maybe_batch": lambda tf: tf.train.maybe_batch([1], True, 4),
    "maybe_batch never": lambda tf: tf.train.maybe_batch([1], False, 4),
    "maybe_batch of many": lambda tf: tf.train.maybe_batch(
        [[1, 2]], [True, False], 4, enqueue_many=True
    ),
    "maybe_batch_join": lambda tf: tf.train.maybe_batch_join([[1], [2]], True, 4),
    "maybe_shuffle_batch": lambda tf: tf.train.maybe_shuffle_batch([1], 4, 99, 50, True),
    "maybe_shuffle_batch_join": lambda tf: tf.train.maybe_shuffle_batch_join(
        [[1], [2]], 4, 99, 50, True
    ),
    "match_filenames_once": lambda tf: tf.train.match_filenames_once(["*.x", "b"], name="files"),
    "files": lambda tf: (tf.read_file("a"), tf.write_file("b", "c"), tf.matching_files("d")),
}


def use(queue):
    """Every operation on a queue of an int32 and a string, with and without a name."""
    known = None not in queue.shapes[1].as_list() if queue.shapes[1].ndims else False
    text = ["a", "b"] if known else ["a"]
    queue.enqueue([1, text])
    queue.enqueue([1, text], name="put")
    queue.enqueue_many([[1, 2], [text, text]])
    queue.dequeue()
    queue.dequeue_many(2, name="many")
    queue.dequeue_up_to(3)
    queue.size()
    queue.is_closed()
    queue.close()
    queue.close(cancel_pending_enqueues=True, name="cancel")


@pytest.mark.parametrize("name", BUILDS)
def test_same_graph_and_collections(hr, tf, name):
    found = []
    for module in (hr, tf):
        with module.Graph().as_default() as graph:
            BUILDS[name](module)
            collections = {
                key: [item.name for item in graph.get_collection(key)]
                for key in sorted(graph.get_all_collection_keys())
            }
            runners = graph.get_collection(module.GraphKeys.QUEUE_RUNNERS)
            found.append((nodes(graph), collections, [r.to_proto() for r in runners]))
    (our_nodes, ours, our_runners), (their_nodes, theirs, their_runners) = found
    assert [n[:3] for n in our_nodes] == [n[:3] for n in their_nodes]
    for a, b in zip(our_nodes, their_nodes, strict=True):
        assert a == b
    assert ours == theirs
    assert [r.SerializeToString() for r in our_runners] == [
        r.SerializeToString() for r in their_runners
    ]


@pytest.mark.parametrize("name", ["string", "shuffle_batch", "batch_join", "random"])
def test_theirs_runs_here(hr, tf, name):
    """A meta graph with queues that TensorFlow wrote is read, and gives the same again."""
    with tf.Graph().as_default():
        BUILDS[name](tf)
        theirs = tf.train.export_meta_graph()
    with hr.Graph().as_default() as graph:
        hr.train.import_meta_graph(hr.MetaGraphDef.FromString(theirs.SerializeToString()))
        ours = hr.train.export_meta_graph()
        queues = [op for op in graph.get_operations() if op.type.endswith("QueueV2")]
        with hr.Session() as session:
            for op in queues:
                (size,) = [o for o in op.outputs[0].consumers() if o.type == "QueueSizeV2"]
                assert session.run(size.outputs[0]) == 0
    key = "queue_runners"
    assert ours.collection_def[key].bytes_list == ours.collection_def[key].bytes_list
    assert list(ours.collection_def[key].bytes_list.value) == list(
        theirs.collection_def[key].bytes_list.value
    )


# -- elements --------------------------------------------------------------------------------------


def run_all(module, operations):
    with module.Session() as session:
        return [plain(attempt(session.run, op)) for op in operations]


def fifo(tf):
    q = tf.FIFOQueue(10, tf.int32, shapes=[()])
    return run_all(tf, [
        q.enqueue_many([[1, 2, 3]]), q.dequeue(), q.size(), q.is_closed(), q.dequeue_many(0),
        q.close(), q.is_closed(), q.dequeue_many(3), q.size(), q.dequeue_up_to(5), q.dequeue(),
        q.dequeue_up_to(1), q.enqueue(3), q.enqueue_many([[4]]), q.close(),
        q.close(cancel_pending_enqueues=True),
    ])  # fmt: skip


def padding(tf):
    q = tf.PaddingFIFOQueue(10, [tf.int32, tf.string, tf.bool], [(None, 2), (None,), (None,)])
    put = [
        q.enqueue([np.ones((k, 2)), ["text"] * (3 - k), [True] * k]) for k in (0, 2, 1, 1)
    ]  # fmt: skip
    return run_all(tf, [*put, q.dequeue_many(3), q.close(), q.dequeue_up_to(2), q.dequeue_many(1)])


def priority(tf):
    q = tf.PriorityQueue(10, [tf.string], [()])
    return run_all(tf, [
        q.enqueue_many([[3, -1, 2**40, 0], ["c", "a", "d", "b"]]), q.dequeue(), q.enqueue([1, "e"]),
        q.dequeue_many(2), q.size(), q.close(), q.dequeue_many(3), q.dequeue_many(2), q.dequeue(),
    ])  # fmt: skip


def shuffled(seed, graph_seed):
    def program(tf):
        tf.set_random_seed(graph_seed)
        q = tf.RandomShuffleQueue(60, 2, tf.int32, shapes=[()], seed=seed)
        return run_all(tf, [
            q.enqueue_many([list(range(40))]), q.dequeue(), q.dequeue(), q.dequeue_many(13),
            q.enqueue_many([[100, 101, 102]]), q.dequeue_many(20), q.size(), q.close(),
            q.dequeue_many(99), q.dequeue(), q.dequeue_up_to(99), q.size(), q.dequeue(),
        ])  # fmt: skip

    return program


def refused(tf):
    def given(build, value):
        with tf.Graph().as_default(), tf.Session() as session:
            fed = tf.placeholder(tf.int32)
            return attempt(lambda: session.run(build(fed), {fed: value}))

    return [
        given(lambda x: tf.FIFOQueue(3, tf.int32).dequeue_many(2), 0),
        given(lambda x: tf.FIFOQueue(3, tf.int32, [(2,)]).enqueue(x), [1, 2, 3]),
        given(lambda x: tf.FIFOQueue(3, tf.int32, [(2,)]).enqueue_many(x), [[1, 2, 3]]),
        given(lambda x: tf.FIFOQueue(3, [tf.int32] * 2).enqueue_many([x, [1, 2]]), [1, 2, 3]),
        given(lambda x: tf.PaddingFIFOQueue(3, [tf.int32], [(None, 2)]).enqueue(x), [1, 2]),
        given(lambda x: tf.RandomShuffleQueue(4, 5, tf.int32).size(), 0),
        given(lambda x: tf.RandomShuffleQueue(4, -1, tf.int32).size(), 0),
        given(lambda x: tf.FIFOQueue(3, tf.int32, shared_name="_x").size(), 0),
    ]


@pytest.mark.parametrize(
    "program",
    [fifo, padding, priority, refused, shuffled(7, None), shuffled(9, 5), shuffled(None, 5)],
    ids=["fifo", "padding", "priority", "refused", "op seed", "both seeds", "graph seed"],
)
def test_same_elements_and_errors(assert_alike, program):
    assert_alike(program)


# -- threads ---------------------------------------------------------------------------------------


class Waiting(threading.Thread):
    """A run in a thread of its own."""

    def __init__(self, session, fetches):
        super().__init__(daemon=True)
        self.session, self.fetches, self.outcome = session, fetches, "waiting"
        self.start()

    def run(self):
        self.outcome = attempt(self.session.run, self.fetches)

    def result(self):
        self.join(LIMIT)
        return self.outcome

    def still(self):
        self.join(0.2)
        return self.outcome


def waits(tf):
    found = []
    with tf.Session() as session:
        q = tf.FIFOQueue(2, tf.int32, shapes=[()])
        filling = Waiting(session, q.enqueue_many([list(range(7))]))
        found += [filling.still(), session.run(q.size()), session.run(q.dequeue_many(5))]
        found += [filling.result(), session.run(q.size())]
        filling = Waiting(session, q.enqueue_many([[7, 8]]))
        closing = (filling.still(), Waiting(session, q.close()))
        found += [closing[1].still(), session.run(q.is_closed()), session.run(q.dequeue_many(2))]
        found += [filling.result(), closing[1].result(), session.run(q.is_closed())]
    return found


def cancelled(tf):
    found = []
    with tf.Session() as session:
        full, empty = tf.FIFOQueue(1, tf.int32, [()]), tf.FIFOQueue(1, tf.int32, [()])
        put, take = full.enqueue_many([[1, 2]]), empty.dequeue_many(3)
        cancel = full.close(cancel_pending_enqueues=True)
        waiting = Waiting(session, put)
        found.append(waiting.still())
        session.run(cancel)
        found += [waiting.result(), session.run(full.size())]
        waiting = Waiting(session, take)
        found.append(waiting.still())
    return [*found, waiting.result()]


def taken_as_they_come(kind):
    def program(tf):
        queue = {
            "random": lambda: tf.RandomShuffleQueue(20, 1, tf.int32, shapes=[()], seed=3),
            "fifo": lambda: tf.FIFOQueue(20, tf.int32, shapes=[()]),
            "priority": lambda: tf.PriorityQueue(20, tf.int32, [()]),
        }[kind]()
        values = [[5, 3, 4, 1, 2]] * len(queue.dtypes)
        found = []
        takes = [queue.dequeue_many(4)]
        if kind != "priority":  # there TensorFlow loses what is fewer
            takes.append(queue.dequeue_up_to(8))
        for take in takes:
            with tf.Session() as session:
                waiting = Waiting(session, take)
                found.append(waiting.still())
                session.run(queue.enqueue_many(values))
                found += [waiting.still(), session.run(queue.size())]
                session.run(queue.close())
                found += [waiting.result(), attempt(session.run, queue.dequeue_many(1))]
        return found

    return program


@pytest.mark.parametrize(
    "program",
    [waits, cancelled, *map(taken_as_they_come, ("fifo", "random", "priority"))],
    ids=["waits", "cancelled", "fifo", "random", "priority"],
)
def test_same_waits(assert_alike, program):
    assert_alike(program)


# -- pipelines -------------------------------------------------------------------------------------


def pipeline(tf, fetches):
    """What a pipeline gives till its data ends, and how it ends."""
    found = []
    with tf.Session() as session:
        session.run([tf.global_variables_initializer(), tf.local_variables_initializer()])
        coord = tf.train.Coordinator()
        threads = tf.train.start_queue_runners(session, coord)
        while not found or not isinstance(found[-1], tuple):
            found.append(attempt(session.run, fetches))
        kind, words = found[-1]  # what there was of a batch depends on when the queue is closed
        found[-1] = kind, words.partition(" (requested")[0]
        coord.request_stop()
        found.append(attempt(coord.join, threads))
    return found


PIPELINES = {
    "strings": lambda tf: tf.train.string_input_producer(
        list("abcdefgh"), num_epochs=3, seed=2
    ).dequeue(),
    "slices": lambda tf: tf.train.slice_input_producer(
        [np.arange(10), np.arange(10.0)], num_epochs=2, seed=3
    ),
    "by the graph's seed": lambda tf: (
        tf.set_random_seed(4),
        tf.train.range_input_producer(20, num_epochs=2).dequeue(),
    )[1],
    "batches": lambda tf: tf.train.batch(
        [tf.train.range_input_producer(11, num_epochs=1, seed=1).dequeue()], 4,
        allow_smaller_final_batch=True,
    ),
    "padded": lambda tf: tf.train.batch(
        [tf.range(tf.train.range_input_producer(7, num_epochs=1, seed=1).dequeue())], 3,
        dynamic_pad=True,
    ),
    "kept": lambda tf: tf.train.maybe_batch(
        [tf.constant([1, 2, 3]) * tf.train.range_input_producer(4, 1, seed=1).dequeue()],
        [True, False, True], 3, enqueue_many=True,
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", PIPELINES)
def test_same_data_in_the_same_order(assert_alike, name):
    assert_alike(lambda tf: pipeline(tf, PIPELINES[name](tf)))
