"""What headrace's messages say beyond TensorFlow's words: type and name of the operation, and the
line of the user's own file that made it.
"""

import re
import sys

import numpy as np
import pytest

import headrace as tf

pytestmark = pytest.mark.skipif(
    tf.__name__ != "headrace", reason="headrace promises more than TensorFlow"
)

RUNS = 4  # the first run is interpreted, later ones are compiled: the messages are the same


@pytest.fixture(autouse=True)
def fresh_graph():
    tf.reset_default_graph()


@pytest.fixture
def session():
    with tf.Session() as session:
        yield session


def here():
    """The line that calls this, as (file, number)."""
    frame = sys._getframe(1)
    return frame.f_code.co_filename, frame.f_lineno


def assert_names_line(message, line):
    """The message holds the file and the number of the line, whatever stands between them."""
    file, number = line
    assert re.search(rf"{re.escape(file)}\D{{1,10}}{number}\b", message), message


def assert_names_operation(message, op):
    assert op.type in message
    assert re.search(rf"(?<![\w/]){re.escape(op.name)}(?![\w/])", message), message


def failing_runs(session, error, fetches, feed_dict=None):
    """The messages of several runs that fail alike."""
    for _ in range(RUNS):
        with pytest.raises(error) as info:
            session.run(fetches, feed_dict)
        yield str(info.value)


# In a run


def test_missing_feed_names_the_line_of_the_placeholder(session):
    x, line = tf.placeholder(tf.float32, (2, 2), name="features"), here()
    y = x * 2
    for message in failing_runs(session, tf.errors.InvalidArgumentError, y):
        assert "You must feed a value for placeholder tensor 'features'" in message
        assert_names_operation(message, x.op)
        assert_names_line(message, line)


def test_uninitialised_value_names_the_line_of_the_variable(session):
    w, line = tf.Variable([1.0], name="weights"), here()
    y = w * 2
    for message in failing_runs(session, tf.errors.FailedPreconditionError, y):
        assert "Attempting to use uninitialized value weights" in message
        assert_names_line(message, line)


def test_uninitialised_value_says_what_to_run(session):
    y = tf.Variable([1.0]) * 2
    for message in failing_runs(session, tf.errors.FailedPreconditionError, y):
        assert "global_variables_initializer" in message


def test_nan_names_the_line_of_check_numerics(session):
    x = tf.placeholder(tf.float32)
    y, line = tf.check_numerics(tf.log(x), "loss", name="watch"), here()
    for message in failing_runs(session, tf.errors.InvalidArgumentError, y, {x: -1.0}):
        assert "loss : Tensor had NaN values" in message
        assert_names_operation(message, y.op)
        assert_names_line(message, line)


def test_failed_assertion_names_its_line(session):
    x = tf.placeholder(tf.float32, ())
    check, line = tf.Assert(x > 0, [x], name="positive"), here()
    for message in failing_runs(session, tf.errors.InvalidArgumentError, check, {x: -1.0}):
        assert "assertion failed: [-1]" in message
        assert "positive" in message
        assert_names_line(message, line)


@pytest.mark.parametrize(
    "build",
    [
        lambda x: tf.reshape(x, (4,), name="culprit"),
        lambda x: tf.add(x, tf.zeros((4,)), name="culprit"),
        lambda x: tf.matmul(x, tf.zeros((4, 4)), name="culprit"),
        lambda x: tf.gather(x, [[7]], name="culprit"),
        lambda x: tf.concat([x, tf.zeros((4, 4))], 0, name="culprit"),
    ],
)
def test_shapes_that_clash_when_fed_name_operation_line_and_both_facts(session, build):
    x = tf.placeholder(tf.float32)
    y, line = build(x), (build.__code__.co_filename, build.__code__.co_firstlineno)
    for message in failing_runs(
        session, tf.errors.InvalidArgumentError, y * 2, {x: np.ones((2, 3))}
    ):
        assert_names_operation(message, y.op)
        assert_names_line(message, line)


def test_failing_python_function_names_its_line(session):
    def fails():
        raise ValueError("no such thing")

    y, line = tf.py_func(fails, [], tf.float32, name="hook"), here()
    for message in failing_runs(session, tf.errors.InvalidArgumentError, y * 2):
        assert "ValueError: no such thing" in message
        assert "hook" in message
        assert_names_line(message, line)


def test_operation_of_a_gradient_names_the_line_of_the_forward_operation(session):
    x = tf.placeholder(tf.float32)
    y, line = tf.reshape(x, (2, 2), name="forward"), here()
    (dx,) = tf.gradients(y, x, grad_ys=tf.placeholder_with_default(tf.ones((3,)), None))
    for message in failing_runs(session, tf.errors.InvalidArgumentError, dx, {x: np.ones((2, 2))}):
        assert "gradients/" in message
        assert_names_line(message, line)


# In a feed


def test_wrong_feed_names_the_line_of_the_placeholder(session):
    x, line = tf.placeholder(tf.float32, (None, 3), name="features"), here()
    for value in (np.ones((2, 4)), "abc"):
        for message in failing_runs(session, ValueError, x * 2, {x: value}):
            assert "features" in message
            assert_names_line(message, line)


# While building


def raised(error, build, *arguments):
    with pytest.raises(error) as info:
        build(*arguments)
    return str(info.value)


def test_clash_of_shapes_names_type_name_and_shapes():
    a, b = tf.zeros((2, 3)), tf.zeros((2, 3))
    message = raised(ValueError, lambda: tf.matmul(a, b, name="product"))
    assert "MatMul" in message
    assert "product" in message
    assert "[2,3], [2,3]" in message


def test_clash_of_dtypes_names_both():
    a, b = tf.zeros((2,)), tf.zeros((2,), tf.int32)
    message = raised(TypeError, lambda: a + b)
    assert "AddV2" in message
    assert "int32" in message
    assert "float32" in message


def test_tensor_of_another_graph_is_named_with_both_tensors():
    a = tf.constant(1.0, name="here")
    with tf.Graph().as_default():
        b = tf.constant(1.0, name="elsewhere")
    message = raised(ValueError, lambda: a + b)
    assert "here:0" in message
    assert "elsewhere:0" in message


def test_second_get_variable_names_the_line_of_the_first():
    _, line = tf.get_variable("v", (2,)), here()
    message = raised(ValueError, tf.get_variable, "v", (2,))
    assert "Variable v already exists" in message
    assert_names_line(message, line)


def test_operation_without_a_gradient_names_its_line():
    x = tf.placeholder(tf.float32, (3,))
    (values, _), line = tf.unique(x, name="distinct"), here()
    message = raised(LookupError, tf.gradients, values, x)
    assert_names_operation(message, values.op)
    assert_names_line(message, line)


def test_fetch_of_another_graph_names_the_line_of_the_tensor(session):
    tf.constant(1.0)
    with tf.Graph().as_default():
        alien, line = tf.constant(1.0, name="alien"), here()
    message = raised(ValueError, session.run, alien)
    assert "alien" in message
    assert_names_line(message, line)


def test_what_is_not_there_fails_at_the_name_with_what_to_use_instead():
    with pytest.raises(AttributeError, match="concat_v2"):
        tf.concat_v2  # noqa: B018
    with pytest.raises(AttributeError, match="summary_writer"):
        tf.summary_writer  # noqa: B018


def test_wrong_backward_pass_is_named(session):
    def forward_pass(x):
        return x * 2

    def backward_pass(x, incoming_gradient):
        return incoming_gradient[:1]

    x = tf.placeholder(tf.float32, (3,))
    y, line = tf.numpy_op(forward_pass, backward_pass)(x), here()
    (dx,) = tf.gradients(y, x)
    for message in failing_runs(session, tf.errors.InvalidArgumentError, dx, {x: np.ones(3)}):
        assert "backward_pass" in message
        assert_names_line(message, line)
