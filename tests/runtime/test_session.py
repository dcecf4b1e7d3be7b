"""`Session`: forms of fetches and feeds, callables, partial runs, closing, default sessions."""

import collections
import gc
import threading
import weakref

import numpy as np
import pytest

import headrace as tf
from headrace.runtime import session as session_module

RUNS = 3
Pair = collections.namedtuple("Pair", "first second")
Other = collections.namedtuple("Other", "a b")


@pytest.fixture
def sess():
    with tf.Session() as opened:
        yield opened


# -- fetches ---------------------------------------------------------------------------------------


def test_structures_come_back_as_they_went_in(sess):
    a, b = tf.constant(1.0), tf.constant([2, 3])
    nested = {"x": [a, (b, Pair(a, b))], "y": a, "z": collections.OrderedDict(p=b, q=[])}
    for _ in range(RUNS):
        found = sess.run(nested)
        assert list(found) == ["x", "y", "z"]
        assert type(found["x"]) is list
        assert type(found["x"][1]) is tuple
        assert type(found["x"][1][1]) is Pair
        assert type(found["z"]) is collections.OrderedDict
        assert found["z"]["q"] == []
        assert found["y"] == found["x"][0] == found["x"][1][1].first == 1
        assert found["x"][1][0].tolist() == found["z"]["p"].tolist() == [2, 3]


def test_structures_of_equal_elements_are_told_apart(sess):
    a, b = tf.constant(1.0), tf.constant(2.0)
    forms = [
        [a, b], (a, b), Pair(a, b), Other(a, b), [[a, b]], [(a, b)], [Pair(a, b)], [Other(a, b)],
        ((a, b),), (Pair(a, b),), (Other(a, b),), {"k": (a, b)}, {"k": Pair(a, b)},
    ]  # fmt: skip

    def shape(value):
        if isinstance(value, dict):
            return (dict, *[shape(v) for v in value.values()])
        if isinstance(value, (list, tuple)):
            return (type(value), *[shape(v) for v in value])
        return "leaf"

    for _ in range(RUNS):
        for form in forms:
            assert shape(sess.run(form)) == shape(form)


def test_names_are_fetched(sess):
    a = tf.constant(1.0, name="a")
    tf.group(a, name="nothing")
    for _ in range(RUNS):
        assert sess.run("a:0") == 1
        assert sess.run(["a:0", "nothing", {"k": "a:0"}]) == [1, None, {"k": 1}]
        assert sess.run("a") is None


def test_operations_and_variables_are_fetched(sess):
    v = tf.Variable([1.0, 2.0])
    assert sess.run(v.initializer) is None
    assert sess.run([v.initializer, v])[1].tolist() == [1, 2]
    assert sess.run(v.op) is None


def test_indexed_slices_are_fetched(sess):
    slices = tf.IndexedSlices(tf.constant([[1.0], [2.0]]), tf.constant([3, 0]), tf.constant([4, 1]))
    for _ in range(RUNS):
        found = sess.run([slices])[0]
        assert found.values.tolist() == [[1], [2]]
        assert found.indices.tolist() == [3, 0]
        assert found.dense_shape.tolist() == [4, 1]


def test_scalars_are_numpy_scalars(sess):
    x = tf.placeholder(tf.float32, ())
    v = tf.Variable(1)
    sess.run(v.initializer)
    for _ in range(RUNS):
        fetched = sess.run([x, x * 2.0, v, tf.constant(3.0), x > 0], {x: 1})
        assert [type(f) for f in fetched] == [
            np.float32, np.float32, np.int32, np.float32, np.bool_
        ]  # fmt: skip
        assert type(sess.run(x[tf.newaxis], {x: 1})) is np.ndarray


def test_empty_structures(sess):
    tf.constant(1.0)
    assert sess.run([]) == []
    assert sess.run({}) == {}
    assert sess.run(()) == ()


@pytest.mark.parametrize(
    ("fetch", "error", "text"),
    [
        (lambda c: None, TypeError, "None"),
        (lambda c: [c, None], TypeError, "None"),
        (lambda c: 1, TypeError, "invalid type"),
        (lambda c: "nowhere:0", ValueError, "nowhere"),
        (lambda c: "nowhere", ValueError, "nowhere"),
        (lambda c: c.name + "1", ValueError, "cannot be interpreted"),
    ],
)
def test_fetches_that_are_none(sess, fetch, error, text):
    c = tf.constant(1.0)
    with pytest.raises(error, match=text):
        sess.run(fetch(c))


def test_fetches_of_another_graph(sess):
    tf.constant(1.0)
    with tf.Graph().as_default():
        alien = tf.constant(1.0)
    for fetch in (alien, [alien], alien.op):
        with pytest.raises(ValueError, match="not an element of this graph"):
            sess.run(fetch)


# -- feeds -----------------------------------------------------------------------------------------


def test_any_tensor_is_fed(sess):
    c = tf.constant(1.0)
    y = c + 1.0
    z = y * 10.0
    v = tf.Variable(5.0)
    w = tf.identity(v) * 2.0
    for _ in range(RUNS):
        assert sess.run(z) == 20
        assert sess.run(z, {c: 2}) == 30
        assert sess.run(z, {y: 7}) == 70
        assert sess.run([c, y, z], {y: 7}) == [1, 7, 70]
        assert sess.run([y, z], {z: 1}) == [2, 1]
        assert sess.run(w, {v: 4}) == 8  # it need not be initialised
        assert sess.run(z, {"Const:0": 3}) == 40


def test_operation_whose_output_is_fed_still_runs_where_it_is_wanted(sess):
    v = tf.Variable(0.0)
    x = tf.placeholder(tf.float32, ())
    with tf.control_dependencies([v.assign_add(1.0)]):
        y = tf.identity(x)
    with tf.control_dependencies([y, x]):
        z = x * 2.0
    sess.run(v.initializer)
    for i in range(RUNS):
        assert sess.run([z, y], {x: 3, y: 50}) == [6, 50]
        assert sess.run([y.op, x.op], {x: 3, y: 50}) == [None, None]
        assert sess.run(v) == 2 * (i + 1)


def test_output_beside_the_fed_one_is_computed(sess):
    x = tf.placeholder(tf.float32, (2, 3))
    a, b = tf.unstack(x)
    for _ in range(RUNS):
        found = sess.run([a, b, a + b], {x: np.ones((2, 3)), a: [5, 5, 5]})
        assert [f.tolist() for f in found] == [[5] * 3, [1] * 3, [6] * 3]


def test_tuples_are_keys(sess):
    a, b = tf.placeholder(tf.float32, ()), tf.placeholder(tf.float32, ())
    for _ in range(RUNS):
        assert sess.run(a - b, {(a, b): (5, 3)}) == 2
        assert sess.run(a - b, {Pair(a, b): Pair(3, 5)}) == -2
        assert sess.run(a - b, {(a, b): [5, 3]}) == 2
        assert sess.run(a - b, {((a,), b): ((5,), 3)}) == 2
    with pytest.raises((ValueError, TypeError)):
        sess.run(a - b, {(a, b): (5,)})


def test_default_of_a_placeholder(sess):
    x = tf.placeholder_with_default(tf.constant([1.0, 2.0]), (None,))
    for _ in range(RUNS):
        assert sess.run(x * 2.0).tolist() == [2, 4]
        assert sess.run(x * 2.0, {x: [3]}).tolist() == [6]


def test_order_of_feeds_does_not_matter(sess):
    a, b = tf.placeholder(tf.float32, ()), tf.placeholder(tf.float32, ())
    for _ in range(RUNS):
        assert sess.run(a - b, {a: 5, b: 3}) == 2
        assert sess.run(a - b, {b: 3, a: 5}) == 2


def test_what_is_not_reached_may_be_fed_and_need_not(sess):
    x, y = tf.placeholder(tf.float32, ()), tf.placeholder(tf.float32, ())
    uninitialised = tf.Variable(1.0)
    z, _ = x * 2.0, uninitialised * y
    for _ in range(RUNS):
        assert sess.run(z, {x: 1}) == 2
        assert sess.run(z, {x: 1, y: 1}) == 2


@pytest.mark.parametrize(
    ("feed", "error", "text"),
    [
        (lambda x: {}, tf.errors.InvalidArgumentError, "You must feed a value for placeholder"),
        (lambda x: {x: [1, 2, 3]}, ValueError, r"Cannot feed value of shape \(3,\)"),
        (lambda x: {x: tf.constant([1.0, 2.0])}, TypeError, "cannot be a tf.Tensor"),
        (lambda x: {x: "ab"}, ValueError, "could not convert"),
        (lambda x: {x: None}, (ValueError, TypeError), "Cannot feed value"),
        (lambda x: {"nowhere:0": 1}, TypeError, "Cannot interpret feed_dict key"),
        (lambda x: {x.op: [1, 2]}, TypeError, "Cannot interpret feed_dict key"),
        (lambda x: {3: 1}, TypeError, "Cannot interpret feed_dict key"),
        (lambda x: [x], TypeError, "feed_dict"),
    ],
)
def test_feeds_that_do_not_suit(sess, feed, error, text):
    x = tf.placeholder(tf.float32, (2,))
    y = x * 2.0
    for _ in range(RUNS):
        with pytest.raises(error, match=text):
            sess.run(y, feed(x))
    assert sess.run(y, {x: [1, 2]}).tolist() == [2, 4]


def test_integer_too_big_is_refused(sess):
    x = tf.placeholder(tf.int32, ())
    for _ in range(RUNS):
        with pytest.raises(TypeError, match="not compatible with Tensor type"):
            sess.run(x + 1, {x: 2**40})
    assert sess.run(x + 1, {x: 2**31 - 2}) == 2**31 - 1


def test_feeds_of_many_forms(sess):
    x = tf.placeholder(tf.float32, (2,))
    y = tf.reduce_sum(x)
    forms = [
        [1, 2], (1.0, 2.0), np.array([1, 2]), np.array([1, 2], np.float64), np.array([1, 2], ">f4"),
        [np.float32(1), np.int64(2)], range(1, 3), np.array([[1, 0], [2, 0]], np.float32)[:, 0],
    ]  # fmt: skip
    for _ in range(RUNS):
        for form in forms:
            assert sess.run(y, {x: form}) == 3


# -- make_callable, partial_run --------------------------------------------------------------------


def test_callables(sess):
    x, y = tf.placeholder(tf.float32, ()), tf.placeholder(tf.float32, ())
    difference = sess.make_callable(x - y, [x, y])
    structure = sess.make_callable({"d": x - y, "x": [x]}, [y, x])
    nothing = sess.make_callable(tf.constant(3.0))
    op = sess.make_callable(tf.no_op())
    for _ in range(RUNS):
        assert difference(5, 3) == 2
        assert structure(5, 3) == {"d": -2, "x": [3]}
        assert nothing() == 3
        assert op() is None
    with pytest.raises(TypeError):
        difference(5)
    with pytest.raises(TypeError, match="feed_list"):
        sess.make_callable(x, {x: 1})


def test_partial_runs_take_feeds_bit_by_bit(sess):
    a, b, c = (tf.placeholder(tf.float32, ()) for _ in range(3))
    first = a + b
    second = first * c
    handle = sess.partial_run_setup([first, second], [a, b, c])
    assert sess.partial_run(handle, first, {a: 1, b: 2}) == 3
    assert sess.partial_run(handle, second, {c: 17}) == 51


def test_partial_run_gives_a_tensor_once_computed_again(sess):
    a, b = tf.placeholder(tf.float32, ()), tf.placeholder(tf.float32, ())
    draw = tf.random_uniform(()) + a
    later = draw * b
    handle = sess.partial_run_setup([draw, later], [a, b])
    first = sess.partial_run(handle, draw, {a: 0})
    assert sess.partial_run(handle, later, {b: 2}) == first * 2


def test_partial_run_refuses_what_was_not_set_up(sess):
    a = tf.placeholder(tf.float32, ())
    handle = sess.partial_run_setup([a + 1.0], [a])
    with pytest.raises((tf.errors.InvalidArgumentError, ValueError)):
        sess.partial_run(handle, a * 2.0, {a: 1})


# -- closing, default sessions ---------------------------------------------------------------------


def test_closed_sessions_refuse_to_run():
    c = tf.constant(1.0)
    sess = tf.Session()
    call = sess.make_callable(c)
    assert sess.run(c) == call() == 1
    sess.close()
    sess.close()
    for attempt in (lambda: sess.run(c), call, lambda: sess.make_callable(c)):
        with pytest.raises(RuntimeError, match="Attempted to use a closed Session"):
            attempt()


def test_session_closes_at_the_end_of_its_block():
    c = tf.constant(1.0)
    with tf.Session() as sess:
        assert tf.get_default_session() is sess
        assert c.eval() == 1
    assert tf.get_default_session() is None
    with pytest.raises(RuntimeError, match="closed Session"):
        sess.run(c)


def test_block_closes_when_left_by_an_error():
    c = tf.constant(1.0)
    with pytest.raises(KeyError), tf.Session() as sess:
        raise KeyError
    assert tf.get_default_session() is None
    with pytest.raises(RuntimeError, match="closed Session"):
        sess.run(c)


def test_as_default_does_not_close():
    c = tf.constant(1.0)
    sess = tf.Session()
    with sess.as_default():
        assert c.eval() == 1
        assert tf.get_default_session() is sess
    assert tf.get_default_session() is None
    assert sess.run(c) == 1
    sess.close()


def test_sessions_nest():
    c = tf.constant(1.0)
    with tf.Session() as outer:
        with tf.Session() as inner:
            assert tf.get_default_session() is inner
        assert tf.get_default_session() is outer
        assert c.eval() == 1


def test_block_makes_the_graph_the_default_too():
    graph = tf.Graph()
    with tf.Session(graph=graph) as sess:
        assert tf.get_default_graph() is graph
        assert sess.run(tf.constant(1.0)) == 1
    assert tf.get_default_graph() is not graph


def test_eval_and_run_need_a_session():
    c, op = tf.constant(1.0), tf.no_op()
    with pytest.raises(ValueError, match="No default session is registered"):
        c.eval()
    with pytest.raises(ValueError, match="No default session is registered"):
        op.run()
    with tf.Session() as sess:
        pass
    with tf.Session(graph=tf.Graph()) as alien, pytest.raises(ValueError, match="different"):
        c.eval(session=alien)
    del sess


def test_interactive_session_is_the_default_until_closed():
    c = tf.constant(1.0)
    sess = tf.InteractiveSession()
    assert c.eval() == 1
    assert tf.get_default_session() is sess
    sess.close()
    assert tf.get_default_session() is None
    with pytest.raises(RuntimeError, match="closed Session"):
        sess.run(c)


def test_interactive_session_of_a_graph_makes_it_the_default():
    graph = tf.Graph()
    sess = tf.InteractiveSession(graph=graph)
    assert tf.constant(2.0).eval() == 2
    assert tf.get_default_graph() is graph
    sess.close()
    assert tf.get_default_graph() is not graph


def test_empty_graph_is_said_to_be_empty():
    with tf.Session() as sess, pytest.raises(RuntimeError, match="The Session graph is empty"):
        sess.run([])


def test_sessions_are_made_with_all_that_programs_give():
    graph = tf.Graph()
    config = tf.ConfigProto(allow_soft_placement=True, gpu_options=tf.GPUOptions(allow_growth=True))
    sess = tf.Session("", graph, config)
    assert sess.graph is graph
    sess.close()
    for bad in ({"graph": 3}, {"target": 3}):
        with pytest.raises(TypeError):
            tf.Session(**bad)


def test_closing_forgets_the_variables():
    v = tf.Variable(1.0)
    with tf.Session() as sess:
        sess.run(v.initializer)
    with tf.Session() as sess, pytest.raises(tf.errors.FailedPreconditionError, match="Variable"):
        sess.run(v)


def test_graphs_can_be_collected_after_running():
    def work():
        graph = tf.Graph()
        with graph.as_default(), tf.Session(graph=graph) as sess:
            v = tf.Variable(tf.ones((3,)))
            step = tf.train.GradientDescentOptimizer(0.1).minimize(tf.reduce_sum(v**2))
            sess.run(tf.global_variables_initializer())
            for _ in range(RUNS):
                sess.run(step)
        return weakref.ref(v.op)  # a Graph has no weak references of its own kind to lose

    gone = work()
    gc.collect()
    assert gone() is None


# -- errors ----------------------------------------------------------------------------------------


def test_uninitialised_variable_is_named_with_the_line_that_made_it(sess):
    v = tf.Variable(1.0, name="weights")
    y = v * 2.0
    for _ in range(RUNS):
        with pytest.raises(tf.errors.FailedPreconditionError) as caught:
            sess.run(y)
        text = str(caught.value)
        assert "Attempting to use uninitialized value weights" in text
        assert 'v = tf.Variable(1.0, name="weights")' in text


def test_failing_operation_is_named_with_the_line_that_made_it(sess):
    x = tf.placeholder(tf.float32, (None,))
    y = tf.reshape(x, [2, 2], name="square")
    for _ in range(RUNS):
        with pytest.raises(tf.errors.InvalidArgumentError) as caught:
            sess.run(y, {x: [1, 2, 3]})
        assert caught.value.op is y.op
        assert "{{node square}}" in str(caught.value) or "[[node square" in str(caught.value)
        assert 'y = tf.reshape(x, [2, 2], name="square")' in str(caught.value)


def test_op_type_nobody_defined_can_be_made_but_not_run(sess):
    op = tf.get_default_graph().create_op("Mystery", [], [tf.float32], name="what")
    with pytest.raises(tf.errors.NotFoundError, match="Mystery"):
        sess.run(op.outputs[0])


def test_gpu_that_is_not_there_is_done_without_and_said_once(monkeypatch, caplog):
    monkeypatch.setattr(session_module, "find_spec", lambda name: None)
    monkeypatch.setattr(session_module, "_said", threading.Event())
    with tf.device("/gpu:0"):
        x = tf.constant(2.0) * 3.0
    with tf.Session() as sess:
        assert sess.run(x) == 6
        assert sess.run(x + 1.0) == 7
    assert [r.name for r in caplog.records] == ["headrace"]
    assert "runs on the CPU" in caplog.text
