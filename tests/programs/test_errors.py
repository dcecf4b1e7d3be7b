"""Each error's class, and the words by which people know it.

`tf` may be TensorFlow itself under our name. What headrace's messages say beyond TensorFlow's is in
`test_errors_headrace.py`.
"""

import re

import numpy as np
import pytest

import headrace as tf

RUNS = 4  # the first run is interpreted, later ones are compiled: the errors are the same


@pytest.fixture(autouse=True)
def fresh_graph():
    tf.reset_default_graph()


@pytest.fixture
def session():
    with tf.Session() as session:
        yield session


def raises(error, words):
    """Expects an error of the class, in whose message the words occur as they are."""
    return pytest.raises(error, match=re.escape(words))


# The classes themselves


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("CancelledError", 1),
        ("UnknownError", 2),
        ("InvalidArgumentError", 3),
        ("DeadlineExceededError", 4),
        ("NotFoundError", 5),
        ("AlreadyExistsError", 6),
        ("PermissionDeniedError", 7),
        ("ResourceExhaustedError", 8),
        ("FailedPreconditionError", 9),
        ("AbortedError", 10),
        ("OutOfRangeError", 11),
        ("UnimplementedError", 12),
        ("InternalError", 13),
        ("UnavailableError", 14),
        ("DataLossError", 15),
        ("UnauthenticatedError", 16),
    ],
)
def test_every_error_is_an_op_error_with_its_code(name, code):
    error = getattr(tf.errors, name)(None, None, "the message")
    assert isinstance(error, tf.errors.OpError)
    assert isinstance(error, Exception)
    assert error.error_code == code
    assert error.message == "the message"
    assert error.op is None
    assert error.node_def is None


def test_codes_have_names():
    assert tf.errors.OK == 0
    assert tf.errors.INVALID_ARGUMENT == 3
    assert tf.errors.OUT_OF_RANGE == 11
    assert tf.OpError is tf.errors.OpError


# Uninitialised variables


@pytest.mark.parametrize("fetch", ["variable", "read", "expression", "update"])
def test_uninitialised_variable(session, fetch):
    w = tf.Variable([1.0], name="w")
    fetched = {
        "variable": w,
        "read": w.read_value(),
        "expression": w + 1,
        "update": w.assign_add([1.0]),
    }[fetch]
    for _ in range(RUNS):
        with raises(tf.errors.FailedPreconditionError, "Attempting to use uninitialized value w"):
            session.run(fetched)
    session.run(w.initializer)
    session.run(fetched)


def test_uninitialised_variable_in_a_scope(session):
    with tf.variable_scope("layer"):
        w = tf.get_variable("kernel", (2, 2))
    with raises(
        tf.errors.FailedPreconditionError, "Attempting to use uninitialized value layer/kernel"
    ):
        session.run(w * 2)


def test_uninitialised_slot(session):
    w = tf.Variable(1.0, name="w")
    step = tf.train.MomentumOptimizer(0.1, 0.9).minimize(w**2)
    session.run(w.initializer)
    with raises(
        tf.errors.FailedPreconditionError, "Attempting to use uninitialized value w/Momentum"
    ):
        session.run(step)


# Feeds


@pytest.mark.parametrize(
    ("dtype", "shape", "words"),
    [
        (tf.float32, (2, 2), "with dtype float and shape [2,2]"),
        (tf.float64, (None, 3), "with dtype double and shape [?,3]"),
        (tf.int32, (), "with dtype int32"),
        (tf.int64, None, "with dtype int64"),
        (tf.bool, (1,), "with dtype bool and shape [1]"),
        (tf.string, (1,), "with dtype string and shape [1]"),
    ],
)
def test_missing_feed(session, dtype, shape, words):
    x = tf.placeholder(dtype, shape, name="x")
    y = tf.identity(x)
    for _ in range(RUNS):
        with raises(
            tf.errors.InvalidArgumentError,
            f"You must feed a value for placeholder tensor 'x' {words}",
        ):
            session.run(y)


def test_missing_feed_after_it_was_given_once(session):
    x, y = tf.placeholder(tf.float32, name="x"), tf.placeholder(tf.float32, name="y")
    z = x + y
    for _ in range(RUNS):
        assert session.run(z, {x: 1, y: 2}) == 3
        with pytest.raises(tf.errors.InvalidArgumentError, match="placeholder tensor 'y'"):
            session.run(z, {x: 1})


@pytest.mark.parametrize("value", [np.ones((3, 2)), np.ones(3), 1.0, [[1, 2]]])
def test_feed_of_a_wrong_shape(session, value):
    x = tf.placeholder(tf.float32, (None, 3), name="x")
    shape = re.escape(str(np.shape(value)))
    words = rf"Cannot feed value of shape {shape} for Tensor '?x:0'?, which has shape '?\(.*, 3\)"
    for _ in range(RUNS):
        with pytest.raises(ValueError, match=words):
            session.run(x * 1, {x: value})


def test_ragged_feed(session):
    x = tf.placeholder(tf.float32)
    with pytest.raises(ValueError, match=r"inhomogeneous|sequence"):
        session.run(x, {x: [[1, 2], [3]]})


def test_string_fed_for_a_float(session):
    x = tf.placeholder(tf.float32, name="x")
    for value in ("abc", ["a", "b"]):
        for _ in range(RUNS):
            with pytest.raises(ValueError, match="could not convert"):
                session.run(x * 1, {x: value})


def test_integer_too_big_for_its_placeholder(session):
    i = tf.placeholder(tf.int32, name="i")
    for _ in range(RUNS):
        with pytest.raises(
            TypeError,
            match=r"Type of feed value 1099511627776 with type <class 'int'> is not compatible "
            r"with Tensor type .*int32",
        ):
            session.run(i + 1, {i: 2**40})


def test_none_as_a_fed_value(session):
    x = tf.placeholder(tf.float32, (2,))
    with pytest.raises((TypeError, ValueError)):
        session.run(x, {x: None})


def test_tensor_as_a_fed_value(session):
    x = tf.placeholder(tf.float32)
    with raises(TypeError, "The value of a feed cannot be a tf.Tensor object"):
        session.run(x, {x: tf.constant(1.0)})


@pytest.mark.parametrize(
    ("key", "words"),
    [
        ("nowhere:0", "The name 'nowhere:0' refers to a Tensor which does not exist"),
        ("x", "The name 'x' refers to an Operation, not a Tensor"),
        (3, "Can not convert a int into a Tensor"),
    ],
)
def test_unknown_feed_key(session, key, words):
    x = tf.placeholder(tf.float32, name="x")
    with raises(TypeError, "Cannot interpret feed_dict key as Tensor") as info:
        session.run(x, {key: 1.0})
    assert words in str(info.value)


def test_feed_of_another_graph(session):
    x = tf.constant(1.0)
    with tf.Graph().as_default():
        alien = tf.placeholder(tf.float32)
    with raises(TypeError, "is not an element of this graph"):
        session.run(x, {alien: 1.0})


def test_list_instead_of_a_feed_dict(session):
    x = tf.placeholder(tf.float32)
    with pytest.raises(TypeError, match="must be a dictionary"):
        session.run(x, [1.0])


def test_operation_that_cannot_be_fed(session):
    x = tf.constant(1.0)
    tf.get_default_graph().prevent_feeding(x)
    with pytest.raises(ValueError, match="may not be fed"):
        session.run(x, {x: 2.0})
    assert session.run(x) == 1


# Fetches


def test_run_of_none(session):
    tf.constant(1)
    for fetches in (None, [None], {"a": None}):
        with pytest.raises(TypeError, match=r"None has invalid type .*NoneType"):
            session.run(fetches)


def test_fetch_of_a_wrong_type(session):
    tf.constant(1)
    words = "has invalid type .*int.* must be a string or Tensor"
    with pytest.raises(TypeError, match=words) as info:
        session.run(3)
    assert "Can not convert a int into a Tensor or Operation" in str(info.value)


@pytest.mark.parametrize(
    ("fetch", "words"),
    [
        ("nope", "The name 'nope' refers to an Operation not in the graph."),
        (
            "nope:0",
            "The name 'nope:0' refers to a Tensor which does not exist. "
            "The operation, 'nope', does not exist in the graph.",
        ),
        (
            "x:3",
            "The name 'x:3' refers to a Tensor which does not exist. "
            "The operation, 'x', exists but only has 1 outputs.",
        ),
    ],
)
def test_fetch_of_a_name_that_is_not_there(session, fetch, words):
    tf.constant(1, name="x")
    with raises(ValueError, "cannot be interpreted as a Tensor") as info:
        session.run(fetch)
    assert words in str(info.value)


def test_fetch_of_another_graph(session):
    tf.constant(1.0)
    with tf.Graph().as_default():
        alien = tf.constant(1.0, name="alien")
    with raises(ValueError, "is not an element of this graph"):
        session.run(alien)


def test_fetch_that_may_not_be_fetched(session):
    x = tf.constant(1.0)
    tf.get_default_graph().prevent_fetching(x.op)
    with pytest.raises(ValueError, match="has been marked as not fetchable"):
        session.run(x)


# Looking up by name


def test_lookup_of_names():
    graph = tf.get_default_graph()
    x = tf.constant(1, name="x")
    assert graph.get_tensor_by_name("x:0") is x
    with pytest.raises(KeyError, match="does not exist"):
        graph.get_tensor_by_name("nope:0")
    with pytest.raises(ValueError, match="refers to an Operation, not a Tensor"):
        graph.get_tensor_by_name("x")
    with pytest.raises(KeyError, match="refers to an Operation not in the graph"):
        graph.get_operation_by_name("nope")
    with pytest.raises(ValueError, match="appears to refer to a Tensor, not a Operation"):
        graph.get_operation_by_name("x:0")
    with pytest.raises(TypeError, match="Tensor names are strings"):
        graph.get_tensor_by_name(x)  # pyright: ignore[reportArgumentType]


# Sessions


def test_closed_session():
    x = tf.constant(1)
    session = tf.Session()
    session.run(x)
    session.close()
    session.close()
    for _ in range(2):
        with raises(RuntimeError, "Attempted to use a closed Session."):
            session.run(x)


def test_empty_graph():
    with tf.Session(graph=tf.Graph()) as session:
        for fetches in ([], "x"):
            with raises(RuntimeError, "The Session graph is empty."):
                session.run(fetches)


def test_no_default_session():
    x, op, v = tf.constant(1), tf.no_op(), tf.Variable(1)
    with pytest.raises(
        ValueError, match=r"Cannot evaluate .* using `eval\(\)`: No default session"
    ):
        x.eval()
    with raises(ValueError, "Cannot execute operation using `run()`: No default session"):
        op.run()
    with pytest.raises(ValueError, match="No default session is registered"):
        v.eval()
    with pytest.raises(ValueError, match="session"):
        v.load(2)


def test_default_session_of_another_graph():
    x = tf.constant(1)
    with (
        tf.Session(graph=tf.Graph()),
        pytest.raises(ValueError, match="the tensor's graph is different from the session's graph"),
    ):
        x.eval()


# TensorFlow's own session fails when it is deleted half made.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_sessions_take_only_graphs_and_configurations():
    with pytest.raises(TypeError, match=r"graph`? must be a tf\.Graph"):
        tf.Session(graph="graph")  # pyright: ignore[reportArgumentType]
    with pytest.raises(TypeError, match=r"config`? must be a tf\.ConfigProto"):
        tf.Session(config={"allow_growth": True})


def test_finalised_graph():
    w = tf.Variable(1.0)
    tf.get_default_graph().finalize()
    for build in (
        lambda: tf.constant(1),
        lambda: w + 1,
        lambda: tf.train.GradientDescentOptimizer(0.1).minimize(w),
    ):
        with raises(RuntimeError, "Graph is finalized and cannot be modified."):
            build()


# Clashes when an operation is built


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (lambda a: a @ a, "Dimensions must be equal, but are 3 and 2"),
        (lambda a: a + tf.zeros((2,)), "Dimensions must be equal, but are 3 and 2"),
        (lambda a: tf.reshape(a, (4,)), "Cannot reshape a tensor with 6 elements to shape [4]"),
        (lambda a: tf.reshape(a, (4, -1)), "Dimension size must be evenly divisible by 4 but is 6"),
        (
            lambda a: tf.concat([a, tf.zeros((2, 2))], 0),
            "in both shapes must be equal, but are 3 and 2",
        ),
        (
            lambda a: tf.stack([a, tf.zeros((3, 3))]),
            "Dimension 0 in both shapes must be equal, but are 2 and 3",
        ),
        (lambda a: tf.matmul(a, tf.zeros((3,))), "Shape must be rank 2 but is rank 1"),
        (lambda a: tf.assign(tf.Variable([1.0]), a), "Shapes must be equal rank, but are 1 and 2"),
        (
            lambda a: tf.nn.sigmoid_cross_entropy_with_logits(labels=tf.zeros((2,)), logits=a),
            "must have the same shape",
        ),
        (lambda a: tf.reduce_sum(a, 2), "Invalid reduction dimension 2 for input with 2 dim"),
        (lambda a: tf.nn.bias_add(a, tf.zeros((2,))), "must be equal, but are 3 and 2"),
        (lambda a: tf.boolean_mask(a, [True, False, True]), "are incompatible"),
    ],
)
def test_clash_of_shapes_is_a_value_error_when_built(build, words):
    a = tf.zeros((2, 3))
    with raises(ValueError, words):
        build(a)


def test_labels_of_the_rank_of_the_logits_are_refused():
    with pytest.raises(ValueError, match=r"(?i)rank.* of logits minus 1|labels.*logits.shape.rank"):
        tf.nn.sparse_softmax_cross_entropy_with_logits(
            labels=tf.zeros((2, 3), tf.int32), logits=tf.zeros((2, 3))
        )


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (
            lambda x, i: x + i,
            "Input 'y' of 'AddV2' Op has type int32 that does not match type float32 of "
            "argument 'x'",
        ),
        (
            lambda x, i: tf.matmul(x, i),
            "Input 'b' of 'MatMul' Op has type int32 that does not match type float32 of "
            "argument 'a'",
        ),
        (lambda x, i: tf.concat([x, i], 0), "have types [float32, int32] that don't all match"),
        (lambda x, i: tf.logical_and(x, i), "has type float32 that does not match expected type"),
        (lambda x, i: tf.assign(tf.Variable(1.0), i), "does not match type float32"),
        (lambda x, i: tf.exp(i), "not in list of allowed values"),
        (lambda x, i: tf.reshape(x, [1.5]), "not in list of allowed values: int32, int64"),
        (lambda x, i: tf.convert_to_tensor(x, tf.float64), "Tensor conversion requested dtype"),
    ],
)
def test_clash_of_dtypes_is_a_type_error_when_built(build, words):
    x, i = tf.zeros((2, 2)), tf.zeros((2, 2), tf.int32)
    with raises((TypeError, ValueError), words):
        build(x, i)


def test_string_for_a_number():
    with pytest.raises(TypeError, match=r"Expected float32, (but )?got '?a'? of type 'str'"):
        tf.constant("a", tf.float32)


def test_python_number_of_the_wrong_kind():
    i = tf.constant(1)
    with pytest.raises(TypeError, match="int32"):
        _ = i + 1.5
    with pytest.raises(TypeError, match="float32"):
        _ = tf.constant(1.0) + "a"


def test_tensor_of_another_graph():
    a = tf.constant(1.0)
    with tf.Graph().as_default():
        b = tf.constant(1.0)
    with raises(ValueError, "must be from the same graph as"):
        _ = a + b


def test_control_dependency_of_another_graph():
    a = tf.constant(1.0)
    with (
        tf.Graph().as_default(),
        pytest.raises(ValueError, match=r"not an element of this graph|same graph"),
        tf.control_dependencies([a]),
    ):
        tf.constant(1.0)


def test_tensor_is_no_boolean():
    x = tf.constant(True)
    with pytest.raises(TypeError, match=r"as a Python `bool` is not allowed"):
        bool(x)
    with pytest.raises(TypeError, match=r"as a Python `bool` is not allowed"):
        assert x


def test_tensor_of_unknown_length_is_not_iterated():
    with pytest.raises(TypeError, match=r"(?i)itera"):
        list(tf.placeholder(tf.float32, (None, 2)))
    with pytest.raises(TypeError, match="len"):
        len(tf.placeholder(tf.float32, (2, 2)))


def test_value_that_is_no_tensor():
    with pytest.raises((TypeError, ValueError), match=r"(?i)convert"):
        tf.convert_to_tensor(object())
    with pytest.raises((TypeError, ValueError), match="None"):
        tf.convert_to_tensor(None)


# Variables


def test_get_variable_twice():
    with tf.variable_scope("s"):
        tf.get_variable("v", (2,))
    with (
        tf.variable_scope("s"),
        raises(
            ValueError,
            "Variable s/v already exists, disallowed. "
            "Did you mean to set reuse=True or reuse=tf.AUTO_REUSE in VarScope?",
        ),
    ):
        tf.get_variable("v", (2,))
    assert len(tf.global_variables()) == 1


def test_reuse_of_a_variable_that_is_not_there():
    with (
        tf.variable_scope("s", reuse=True),
        raises(
            ValueError,
            "Variable s/v does not exist, or was not created with tf.get_variable(). "
            "Did you mean to set reuse=tf.AUTO_REUSE in VarScope?",
        ),
    ):
        tf.get_variable("v", (2,))


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (((3,),), "but specified shape (3,) and found shape (2,)."),
        (((2,), tf.float64), "but specified dtype float64 and found dtype float32_ref."),
    ],
)
def test_reuse_with_another_shape_or_dtype(arguments, words):
    tf.get_variable("v", (2,))
    with (
        tf.variable_scope(tf.get_variable_scope(), reuse=True),
        raises(ValueError, f"Trying to share variable v, {words}"),
    ):
        tf.get_variable("v", *arguments)


def test_variable_without_a_shape():
    with raises(
        ValueError, "Variable v did not get an initializer, so its `shape` argument must be"
    ):
        tf.get_variable("v")


def test_variable_with_a_partial_shape():
    with pytest.raises(ValueError, match="fully defined"):
        tf.get_variable("v", (None, 2), initializer=tf.zeros_initializer())
    with raises(ValueError, "initial_value must have a shape specified: Tensor("):
        tf.Variable(tf.placeholder(tf.float32, (None,)))


def test_variable_without_a_value():
    with pytest.raises(ValueError, match="initial_value must be specified"):
        tf.Variable(None)


def test_variable_is_not_assigned_by_python_operators():
    v = tf.Variable(1.0)
    with pytest.raises(TypeError, match=r"(?i)itera"):
        iter(v)
    with pytest.raises((TypeError, NotImplementedError), match="assign"):
        v[0] = 2.0


# Numbers


@pytest.mark.parametrize(("value", "words"), [(-1.0, "NaN"), (0.0, "Inf")])
def test_check_numerics(session, value, words):
    x = tf.placeholder(tf.float32, (None,))
    y = tf.check_numerics(tf.log(x), "loss is broken")
    for _ in range(RUNS):
        assert session.run(y, {x: [1.0]}) == [0]
        with raises(tf.errors.InvalidArgumentError, f"loss is broken : Tensor had {words} values"):
            session.run(y, {x: [1.0, value]})


def test_add_check_numerics_ops(session):
    x = tf.placeholder(tf.float32)
    y = tf.sqrt(x)
    check = tf.add_check_numerics_ops()
    for _ in range(RUNS):
        assert session.run([y, check], {x: 4.0})[0] == 2
        with pytest.raises(tf.errors.InvalidArgumentError, match="Tensor had NaN values"):
            session.run([y, check], {x: -1.0})


def test_assert(session):
    x = tf.placeholder(tf.float32, (None,))
    with tf.control_dependencies([tf.Assert(tf.reduce_all(x > 0), ["x is", x])]):
        y = tf.identity(x)
    for _ in range(RUNS):
        assert session.run(y, {x: [1.0]}) == [1]
        with raises(tf.errors.InvalidArgumentError, "assertion failed: [x is] [1 -1]"):
            session.run(y, {x: [1.0, -1.0]})


def test_integer_division_by_zero(session):
    i = tf.placeholder(tf.int32)
    y = 7 // i
    for _ in range(RUNS):
        assert session.run(y, {i: 2}) == 3
        with pytest.raises(tf.errors.InvalidArgumentError, match="Integer division by zero"):
            session.run(y, {i: 0})


@pytest.mark.parametrize("op", ["gather", "gather_nd", "scatter", "labels"])
def test_index_out_of_range(session, op):
    i = tf.placeholder(tf.int32, (1,))
    v = tf.Variable(tf.zeros((3, 2)))
    session.run(v.initializer)
    y, words = {
        "gather": (tf.gather(v, i), "indices[0] = 3 is not in [0, 3)"),
        "gather_nd": (tf.gather_nd(v, i[None]), "does not index into param shape [3,2]"),
        "scatter": (tf.scatter_add(v, i, tf.ones((1, 2))), "indices[0] = 3 is not in [0, 3)"),
        "labels": (
            tf.nn.sparse_softmax_cross_entropy_with_logits(labels=i, logits=tf.zeros((1, 3))),
            "Received a label value of 3 which is outside the valid range of [0, 3)",
        ),
    }[op]
    for _ in range(RUNS):
        session.run(y, {i: [2]})
        with raises(tf.errors.InvalidArgumentError, words):
            session.run(y, {i: [3]})


# Gradients


def test_integer_placeholder_has_no_gradient():
    i = tf.placeholder(tf.int32, ())
    x = tf.placeholder(tf.float32, ())
    assert tf.gradients(i * i, i) == [None]
    assert tf.gradients(x * tf.cast(i, tf.float32), i) == [None]


def test_operation_without_a_gradient():
    x = tf.placeholder(tf.float32, (3,))
    values, _ = tf.unique(x, name="distinct")
    with pytest.raises(LookupError, match="No gradient defined for operation") as info:
        tf.gradients(values, x)
    assert "'distinct' (op type: Unique)" in str(info.value)


def test_gradients_by_what_is_no_tensor():
    y = tf.constant(1.0) * 2
    with pytest.raises((TypeError, ValueError), match=r"convert|None"):
        tf.gradients(y, object())


def test_grad_ys_must_be_as_many_as_ys():
    x = tf.constant(1.0)
    with pytest.raises(ValueError, match="Passed 1 grad_ys for 2 ys"):
        tf.gradients([x, x], x, grad_ys=[x])


def test_gradient_registered_twice():
    tf.RegisterGradient("RegisteredTwice")(lambda op, g: g)
    with pytest.raises(KeyError, match="Registering two gradient with name 'RegisteredTwice'"):
        tf.RegisterGradient("RegisteredTwice")(lambda op, g: g)


def test_training_without_anything_to_train():
    v = tf.Variable(1.0, name="v")
    optimizer = tf.train.GradientDescentOptimizer(0.1)
    with pytest.raises(ValueError, match="No gradients provided for any variable") as info:
        optimizer.minimize(tf.constant(1.0))
    assert "v:0" in str(info.value)
    with pytest.raises(ValueError, match="No variables to optimize"):
        optimizer.minimize(v**2, var_list=[])
    with pytest.raises(ValueError, match="No variables provided"):
        optimizer.apply_gradients([])


def test_integer_variable_is_not_trained():
    v = tf.Variable(1)
    with pytest.raises(ValueError, match=r"Invalid type .*int32.* for "):
        tf.train.GradientDescentOptimizer(0.1).minimize(v * 2)


# What fails must not spoil what comes after it


def test_session_goes_on_after_an_error(session):
    x = tf.placeholder(tf.float32, (None,))
    w = tf.Variable(1.0)
    step = w.assign_add(tf.reduce_sum(tf.check_numerics(x, "x")))
    session.run(w.initializer)
    for i in range(1, 1 + RUNS):
        with pytest.raises(tf.errors.InvalidArgumentError):
            session.run(step, {x: [np.inf]})
        assert session.run(step, {x: [1.0]}) == i + 1
