"""`get_variable` and variable scopes, beyond what programs/test_habits.py tries."""

import numpy as np
import pytest

import headrace as tf


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: tf.get_variable("w", [2, 4]), "specified shape (2, 4) and found shape (2, 3)"),
        (
            lambda: tf.get_variable("w", [2, 3], tf.float64),
            "specified dtype float64 and found dtype float32_ref",
        ),
        (lambda: tf.get_variable("q", [2]), "Variable q does not exist, or was not created with"),
    ],
)
def test_sharing_that_does_not_fit_is_refused(make, words):
    tf.get_variable("w", [2, 3])
    with tf.variable_scope("", reuse=True), pytest.raises(ValueError) as caught:  # noqa: PT011
        make()
    assert words in str(caught.value)


def test_making_twice_is_refused_and_says_where_the_first_was():
    tf.get_variable("w", [2])
    with pytest.raises(ValueError, match="Variable w already exists, disallowed") as caught:
        tf.get_variable("w", [2])
    assert "reuse=tf.AUTO_REUSE in VarScope? Originally defined at:" in str(caught.value)
    assert "test_variable_scope.py" in str(caught.value)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({}, "did not get an initializer, so its `shape` argument must be specified"),
        ({"shape": [None, 2]}, "The initializer passed is not valid"),
        ({"shape": [2], "initializer": 3.0}, "If initializer is a constant, do not specify shape"),
        ({"shape": [], "dtype": tf.complex64}, "An initializer for variable a of"),
        ({"initializer": [1, 2], "dtype": tf.float32}, "don't match"),
    ],
)
def test_what_get_variable_refuses(options, words):
    with pytest.raises(ValueError, match=words):
        tf.get_variable("a", **options)


@pytest.mark.parametrize(
    ("options", "shape", "dtype"),
    [
        ({"initializer": 3}, (), tf.int32),
        ({"initializer": np.zeros((2, 3))}, (2, 3), tf.float64),
        ({"initializer": lambda: tf.zeros([4])}, (4,), tf.float32),
        ({"shape": 2, "initializer": tf.zeros_initializer}, (2,), tf.float32),
        ({"shape": (tf.Dimension(2), 3), "dtype": "float64"}, (2, 3), tf.float64),
        ({"shape": [], "dtype": tf.string}, (), tf.string),
    ],
)
def test_what_get_variable_takes(options, shape, dtype):
    v = tf.get_variable("a", **options)
    assert v.shape == shape
    assert v.dtype.base_dtype == dtype


@pytest.mark.parametrize(
    ("make", "error"),
    [
        (lambda: tf.variable_scope(None), TypeError),
        (lambda: tf.variable_scope(3).__enter__(), TypeError),
        (lambda: tf.variable_scope("a", reuse="yes"), ValueError),
        (lambda: tf.variable_scope(None, "a", reuse=True), ValueError),
    ],
)
def test_what_a_scope_refuses(make, error):
    with pytest.raises(error):
        make()


def test_custom_getters_nest_outside_in():
    calls = []

    def named(who):
        def getter(getter, name, *args, **kwargs):
            calls.append((who, name))
            return getter(name, *args, **kwargs)

        return getter

    outer = tf.variable_scope("a", custom_getter=named("outer"))
    with outer, tf.variable_scope("b", custom_getter=named("inner")):
        v = tf.get_variable("v", [])
    assert calls == [("inner", "a/b/v"), ("outer", "a/b/v")]
    assert v.op.name == "a/b/v"


def test_regularizer_is_named_under_the_variable():
    with tf.variable_scope("s", regularizer=tf.nn.l2_loss):
        tf.get_variable("w", [2])
        with tf.variable_scope("t", regularizer=tf.no_regularizer):
            tf.get_variable("w", [2])
    (loss,) = tf.get_collection(tf.GraphKeys.REGULARIZATION_LOSSES)
    assert loss.name == "s/w/Regularizer/L2Loss:0"


def test_without_an_auxiliary_name_scope():
    with tf.variable_scope("a"), tf.variable_scope("b", auxiliary_name_scope=False) as scope:
        assert tf.identity(1.0, name="op").op.name == "a/op"
        assert tf.get_variable("v", []).op.name == "a/b/v"
        assert scope.original_name_scope == "a/"


def test_threads_begin_at_the_root():
    import threading

    graph, names = tf.get_default_graph(), []

    def work():
        with graph.as_default():
            names.append(tf.get_variable("v", []).op.name)

    with tf.variable_scope("s"):
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
    assert names == ["v"]


def test_partitioned_variable_is_its_parts_as_one():
    start = np.arange(15, dtype=np.float32).reshape(5, 3)
    w = tf.get_variable("w", initializer=start, partitioner=tf.fixed_size_partitioner(2))
    assert [v.op.name for v in w] == ["w/part_0", "w/part_1"]
    assert [v.shape.as_list() for v in w] == [[3, 3], [2, 3]]
    assert [v._save_slice_info.spec for v in w] == ["5 3 0,3:0,3", "5 3 3,2:0,3"]
    step = tf.train.GradientDescentOptimizer(0.5).minimize(tf.reduce_sum(tf.square(w)) / 2)
    with tf.variable_scope("", reuse=True):
        again = tf.get_variable("w", [5, 3], partitioner=tf.fixed_size_partitioner(2))
    assert again is w
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        np.testing.assert_array_equal(session.run(tf.identity(w)), start)
        session.run(step)
        np.testing.assert_array_equal(session.run(tf.identity(w)), start / 2)


def test_partitioners():
    shape = tf.TensorShape([8, 4])
    bytes_of_row = tf.variable_axis_size_partitioner(32)
    assert tf.fixed_size_partitioner(3, axis=1)(shape=shape, dtype=tf.float32) == [1, 3]
    assert bytes_of_row(shape=shape, dtype=tf.float32) == [4, 1]
    few = tf.min_max_variable_partitioner(max_partitions=3, min_slice_size=64)
    assert few(shape=shape, dtype=tf.float32) == [2, 1]
