"""no_op, group, tuple, printing, assertions and Python functions, as programs use them."""

from __future__ import annotations

import sys

import numpy as np
import pytest

import headrace as tf
from headrace.ops.printing import show, summarize

RUNS = 3


@pytest.fixture
def session():
    with tf.Session() as session:
        yield session


def made_by(build):
    graph = tf.get_default_graph()
    before = len(graph.get_operations())
    build()
    return [
        (o.name, o.type, sorted(c.name for c in o.control_inputs))
        for o in graph.get_operations()[before:]
    ]


# -- order -----------------------------------------------------------------------------------------


def test_group_is_one_node_that_waits():
    x, y = tf.placeholder(tf.float32, name="x"), tf.placeholder(tf.float32, name="y")
    assert made_by(lambda: tf.group(x, [y.op])) == [("group_deps", "NoOp", ["x", "y"])]
    assert made_by(lambda: tf.group(x, name="g")) == [("g", "NoOp", ["x"])]
    assert made_by(tf.group) == [("group_deps_1", "NoOp", [])]
    assert made_by(tf.no_op) == [("NoOp", "NoOp", [])]
    with pytest.raises(TypeError, match=r"zero or more \(nested\) Tensors. Received '1'"):
        tf.group(x, 1)


def test_group_makes_a_node_for_each_device():
    with tf.device("/cpu:0"):
        x = tf.constant(1.0, name="x")
    with tf.device("/cpu:1"):
        y = tf.constant(1.0, name="y")
    assert made_by(lambda: tf.group(x, y)) == [
        ("group_deps/NoOp", "NoOp", ["x"]),
        ("group_deps/NoOp_1", "NoOp", ["y"]),
        ("group_deps", "NoOp", ["group_deps/NoOp", "group_deps/NoOp_1"]),
    ]


def test_group_runs_all(session):
    a, b = tf.Variable(0.0), tf.Variable(0.0)
    both = tf.group(a.assign_add(1.0), b.assign_add(2.0))
    session.run(tf.global_variables_initializer())
    for i in range(1, RUNS + 1):
        assert session.run(both) is None
        assert session.run([a, b]) == [i, 2 * i]


def test_tuple_is_had_together():
    x, y = tf.placeholder(tf.float32, name="x"), tf.placeholder(tf.float32, name="y")
    assert made_by(lambda: tf.tuple([x, None, y])) == [
        ("tuple/group_deps", "NoOp", ["x", "y"]),
        ("tuple/control_dependency", "Identity", ["tuple/group_deps"]),
        ("tuple/control_dependency_1", "Identity", ["tuple/group_deps"]),
    ]
    assert tf.tuple([x, None])[1] is None
    with pytest.raises(ValueError, match="must have at least one Tensor"):
        tf.tuple([None])
    with pytest.raises(TypeError, match="must only contain Operation or Tensor"):
        tf.tuple([x], control_inputs=[3])


def test_tuple_waits_for_what_it_is_told(session):
    v = tf.Variable(0.0)
    session.run(tf.global_variables_initializer())
    (one,) = tf.tuple([tf.constant(1.0)], control_inputs=[v.assign_add(1.0).op])
    for i in range(RUNS):
        assert session.run(one) == 1
        assert session.run(v) == i + 1


# -- printing --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("value", "limit", "text"),
    [
        (np.float32(0.1), 3, "0.1"),
        (np.float32(1 / 3), 3, "0.33333334"),
        (np.float32(0.0709768906), 3, "0.070976891"),
        (np.float32(1e10), 3, "1e+10"),
        (np.float32(16777216), 3, "16777216"),
        (np.float32(np.nan), 3, "nan"),
        (np.float32(-np.inf), 3, "-inf"),
        (np.float32(-0.0), 3, "-0"),
        (1 / 3, 3, "0.33333333333333331"),
        (123456789.123, 3, "123456789.123"),
        (np.float16(0.1), 3, "0.099975586"),
        (np.array([True, False]), 3, "1 0"),
        (np.array([b"a", b'\n"q"'], object), 3, 'a \\n\\"q\\"'),
        (np.arange(24).reshape(2, 3, 4), None, "[[0 1 2...]]..."),
        (np.arange(24).reshape(2, 3, 4), 0, "..."),
        (np.arange(24).reshape(2, 3, 4), 1, "[[0...]]..."),
        (np.arange(24).reshape(2, 3, 4), 5, "[[0 1 2 3][4...]]..."),
        (np.arange(24).reshape(2, 3, 4), 7, "[[0 1 2 3][4 5 6...]]..."),
        (np.arange(4).reshape(2, 2), 3, "[0 1][2...]..."),
        (np.arange(4).reshape(2, 2), -1, "[0 1][2 3]"),
        (np.arange(2), 3, "0 1"),
        (np.zeros((2, 0)), 3, ""),
        (np.zeros((0, 2)), 3, ""),
        (np.int64(-7), 3, "-7"),
    ],
)
def test_summaries_are_those_of_tensorflow(value, limit, text):
    assert summarize(value, limit) == text


@pytest.mark.parametrize(
    ("value", "edge", "text"),
    [
        (np.arange(7), 3, "[0 1 2 ... 4 5 6]"),
        (np.arange(6), 3, "[0 1 2 3 4 5]"),
        (np.arange(7), 1, "[0 ... 6]"),
        (np.arange(7), -1, "[0 1 2 3 4 5 6]"),
        (np.array([[1.0, 2.0], [3.0, 4.0]], np.float32), 3, "[[1 2]\n [3 4]]"),
        (np.arange(8).reshape(2, 2, 2), 3, "[[[0 1]\n  [2 3]]\n\n [[4 5]\n  [6 7]]]"),
        (np.array(b"abc", object), 3, '"abc"'),
        (np.zeros(0), 3, "[]"),
    ],
)
def test_values_are_shown_as_by_tensorflow(value, edge, text):
    assert show(value, edge) == text


def test_print_shows_and_passes_on(session, capfd):
    x = tf.placeholder(tf.float32, [None])
    y = tf.Print(x, [x, tf.shape(x), "text"], "message ", summarize=2)
    assert (y.op.type, y.name) == ("Print", "Print:0")
    dx = tf.gradients(y * y, x)[0]
    for _ in range(RUNS):
        np.testing.assert_array_equal(session.run(dx, {x: [1, 2, 3]}), [2, 4, 6])
    assert capfd.readouterr().err == "message [1 2...][3][text]\n" * RUNS


def test_print_stops_after_the_first_n(session, capfd):
    y = tf.Print(1.0, [2.5], "n ", first_n=2)
    for _ in range(5):
        session.run(y)
    assert capfd.readouterr().err == "n [2.5]\n" * 2


def test_print_of_a_string_tensor(session, capfd):
    session.run(tf.Print(tf.constant("a"), [tf.constant(["b c", "d"])], "s "))
    assert capfd.readouterr().err == "s [b c d]\n"


@pytest.mark.parametrize(
    ("inputs", "options", "text"),
    [
        (("a", 1, 2.5, None, True, [1, 2], (3,)), {}, "a 1 2.5 None True [1, 2] (3,)\n"),
        (("a", "b"), {"sep": ",", "end": "!"}, "a,b!"),
        ((np.arange(3.0),), {}, "[0. 1. 2.]\n"),
    ],
)
def test_print_of_python_values(session, capfd, inputs, options, text):
    session.run(tf.print(*inputs, **options))
    assert capfd.readouterr().err in (text, text.replace("[0. 1. 2.]", "array([0., 1., 2.])"))


def test_print_of_tensors_within_structures(session, capfd):
    x = tf.placeholder(tf.float32, [2, 2])
    op = tf.print("hi {}", x, {"b": x[0], "a": [tf.constant("s"), 1]}, x[0, 0], summarize=-1)
    assert isinstance(op, tf.Operation)
    for _ in range(RUNS):
        session.run(op, {x: [[1, 2], [3, 4]]})
    text = "hi {} [[1 2]\n [3 4]] {'a': [\"s\", 1], 'b': [1 2]} 1\n"
    assert capfd.readouterr().err == text * RUNS


def test_print_goes_where_it_is_told(session, capfd, tmp_path):
    session.run(tf.print("out", output_stream=sys.stdout))
    captured = capfd.readouterr()
    assert (captured.out, captured.err) == ("out\n", "")
    file = tmp_path / "log"
    for _ in range(2):
        session.run(tf.print("line", output_stream=f"file://{file}"))
    assert file.read_text() == "line\nline\n"
    with pytest.raises(ValueError, match="Unsupported output stream"):
        tf.print("x", output_stream=3)


def test_print_runs_before_what_depends_on_it(session, capfd):
    x = tf.placeholder(tf.float32, [])
    with tf.control_dependencies([tf.print("x is", x)]):
        y = x * 2
    for _ in range(RUNS):
        assert session.run(y, {x: 3}) == 6
    assert capfd.readouterr().err == "x is 3\n" * RUNS


# -- assertions ------------------------------------------------------------------------------------


def test_assert_stops_the_run_and_changes_nothing(session):
    x = tf.placeholder(tf.float32, [2], name="x")
    v = tf.Variable(0.0)
    session.run(tf.global_variables_initializer())
    check = tf.Assert(tf.reduce_all(x > 0), [x, "and", 1])
    with tf.control_dependencies([check]):
        step = v.assign_add(1.0)
    for i in range(1, RUNS + 1):
        session.run(step, {x: [1, 2]})
        with pytest.raises(
            tf.errors.InvalidArgumentError, match=r"assertion failed: \[-1 2\] \[and\] \[1\]"
        ) as info:
            session.run(step, {x: [-1, 2]})
        assert info.value.op is check
        assert session.run(v) == i


def test_assert_takes_a_single_condition(session):
    with pytest.raises(tf.errors.InvalidArgumentError, match=r"should be a scalar: \[1\]"):
        session.run(tf.Assert([True], [3]))


@pytest.mark.parametrize(
    ("check", "good", "bad", "words"),
    [
        (lambda x: tf.assert_equal(x, [1.0, 2.0]), [1, 2], [1, 3],
         r"\[Condition x == y did not hold element-wise:\] \[x \(x:0\) = \] \[1 3\]"),
        (lambda x: tf.assert_none_equal(x, 0.0), [1, 2], [0, 1], "x != y"),
        (lambda x: tf.assert_less(x, 3.0), [1, 2], [1, 3], "x < y"),
        (lambda x: tf.assert_less_equal(x, 3.0), [1, 3], [1, 4], "x <= y"),
        (lambda x: tf.assert_greater(x, 1.0), [2, 3], [1, 3], "x > y"),
        (lambda x: tf.assert_greater_equal(x, 1.0), [1, 3], [0, 3], "x >= y"),
        (lambda x: tf.assert_positive(x, message="why"), [1, 3], [0, 3],
         r"\[why.  \] \[Condition x > 0"),
        (lambda x: tf.assert_negative(x), [-1, -3], [0, -3], "x < 0"),
        (lambda x: tf.assert_non_negative(x), [0, 3], [-1, 3], "x >= 0"),
        (lambda x: tf.assert_non_positive(x), [0, -3], [1, -3], "x <= 0"),
        (lambda x: tf.assert_near(x, [1.0, 2.0]), [1, 2], [1, 2.1], "not equal to tolerance"),
        (lambda x: tf.assert_rank(x, 1), [1, 2], [[1, 2]],
         r"\[Tensor x:0 must have rank\] \[1\] \[Received shape: \] \[1 2\]"),
        (lambda x: tf.assert_rank_at_least(x, 1), [1, 2], 1.0, "must have rank at least"),
        (lambda x: tf.assert_rank_in(x, [0, 2]), 1.0, [1, 2], "must have rank in"),
    ],
)  # fmt: skip
def test_checks_of_values(session, check, good, bad, words):
    x = tf.placeholder(tf.float32, name="x")
    op = check(x)
    for _ in range(RUNS):
        session.run(op, {x: good})
        with pytest.raises(tf.errors.InvalidArgumentError, match=words):
            session.run(op, {x: bad})


@pytest.mark.parametrize(
    ("build", "error", "words"),
    [
        (lambda: tf.assert_equal([1, 2], [1, 3], message="mm"), tf.errors.InvalidArgumentError,
         r"^mm\nCondition x == y did not hold element-wise:\nx \(.*\) = \n\[1 2\]"),
        (lambda: tf.assert_less([1, 5], [1, 3], data=["z"]), tf.errors.InvalidArgumentError, "^z$"),
        (lambda: tf.assert_rank(tf.zeros([2]), 2, message="mm"), ValueError,
         r"mm.  Tensor zeros:0 must have rank 2.  Received rank 1, shape \(2,\)"),
        (lambda: tf.assert_rank_at_least(tf.zeros([2]), 2), ValueError, "rank at least 2.  Rece"),
        (lambda: tf.assert_rank_in(tf.zeros([2]), [0, 2]), ValueError, r"rank in \(0, 2\)"),
        (lambda: tf.assert_rank(tf.zeros([2]), [1]), ValueError, "Rank must be a scalar"),
        (lambda: tf.assert_rank(tf.zeros([2]), 1.0), TypeError, "must be of type tf.int32"),
        (lambda: tf.assert_type(tf.zeros([2]), tf.int32), TypeError,
         "zeros:0 must be of type tf.int32; got tf.float32"),
        (lambda: tf.assert_integer(tf.zeros([2])), TypeError, 'Expected "x" to be integer type'),
        (lambda: tf.assert_scalar(tf.zeros([2])), ValueError, "Expected scalar shape for zeros:0"),
        (lambda: tf.assert_proper_iterable(tf.zeros([2])), TypeError, '"proper" iterable'),
        (lambda: tf.assert_proper_iterable(3), TypeError, "to be iterable"),
        (lambda: tf.Assert(True, []), ValueError, "less than minimum 1"),
        (lambda: tf.Assert(True, 3), TypeError, "values must be a sequence"),
    ],
)  # fmt: skip
def test_what_is_known_is_checked_when_built(build, error, words):
    with pytest.raises(error, match=words):
        build()


def test_checks_that_are_known_to_hold_do_nothing(session):
    x = tf.zeros([2])
    assert tf.assert_rank(x, 1).name == "assert_rank/static_checks_determined_all_ok"
    assert tf.assert_type(x, tf.float32).name == "assert_type/statically_determined_correct_type"
    assert tf.assert_scalar(x[0]) is not None
    assert tf.is_numeric_tensor(x)
    assert not tf.is_numeric_tensor(tf.constant("a"))
    assert session.run([tf.is_non_decreasing([1, 1, 2]), tf.is_strictly_increasing([1, 1])]) == [
        True, False,
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("value", "what"),
    [
        ([np.nan], "NaN"), ([np.inf], "Inf"), ([-np.inf], "Inf"), ([np.nan, np.inf], "Inf and NaN"),
    ],
)  # fmt: skip
def test_check_numerics(session, value, what):
    x = tf.placeholder(tf.float32)
    checks = [
        tf.check_numerics(x, "mine"),
        tf.verify_tensor_all_finite(x, "mine"),
        tf.debugging.check_numerics(x, message="mine"),
    ]
    for check in checks:
        for _ in range(RUNS):
            np.testing.assert_array_equal(session.run(check, {x: [1.0]}), [1])
            with pytest.raises(
                tf.errors.InvalidArgumentError, match=f"mine : Tensor had {what} values"
            ):
                session.run(check, {x: value})


def test_check_numerics_checks_the_gradient_too(session):
    x = tf.placeholder(tf.float32)
    dx = tf.gradients(tf.sqrt(tf.check_numerics(x, "here")), x)[0]
    assert session.run(dx, {x: 4.0}) == 0.25
    with pytest.raises(tf.errors.InvalidArgumentError, match="here : Tensor had Inf values"):
        session.run(dx, {x: 0.0})


def test_every_floating_tensor_is_checked(session):
    x = tf.placeholder(tf.float32, [], "x")
    y = tf.log(x, name="y")
    check = tf.add_check_numerics_ops()
    session.run([y, check], {x: 1.0})
    with pytest.raises(tf.errors.InvalidArgumentError, match="y:0 : Tensor had Inf values"):
        session.run([y, check], {x: 0.0})


# -- Python functions ------------------------------------------------------------------------------


def test_py_func_gives_tensors(session):
    x = tf.placeholder(tf.float32, [None])
    one = tf.py_func(lambda a: a * 2, [x], tf.float32)
    two = tf.py_func(lambda a: (a + 1, np.int64(a.size)), [x], [tf.float32, tf.int64], name="p")
    none = tf.py_func(lambda: None, [], [])
    assert (one.op.type, one.name, [t.name for t in two]) == ("PyFunc", "PyFunc:0", ["p:0", "p:1"])
    assert isinstance(none, tf.Operation)
    assert tf.py_func(len, [x], tf.int64, stateful=False).op.type == "PyFuncStateless"
    for _ in range(RUNS):
        a, (b, n) = session.run([one, two], {x: [1, 2]})
        np.testing.assert_array_equal([a, b], [[2, 4], [2, 3]])
        assert n == 2
        assert session.run(none) is None


def test_what_a_python_function_gets(session):
    got = []
    values = [1.0, [1, 2], "text", ["a"], True]
    session.run(tf.py_func(lambda *a: got.extend(a), values, []))
    assert type(got[0]) is np.float32
    assert type(got[2]) is bytes
    assert got[2] == b"text"
    assert got[3].tolist() == [b"a"]
    assert type(got[4]) is np.bool_
    got[1][0] = 7  # it is the function's own
    assert type(got[1]) is np.ndarray


@pytest.mark.parametrize(
    ("function", "types", "words"),
    [
        (lambda: 1.0, tf.float32, "0-th value returned by pyfunc_.* is double, but expects float"),
        (lambda: 1, tf.bool, "is int64, but expects bool"),
        (lambda: (1.0, 2.0), tf.float64, "returns 2 values, but expects to see 1 values"),
        (lambda: 1.0, [tf.float64, tf.float64], "returns 1 values, but expects to see 2 values"),
        (lambda: None, tf.float64, "returns 0 values, but expects to see 1 values"),
    ],
)
def test_results_of_other_types_are_refused(session, function, types, words):
    with pytest.raises(tf.errors.InvalidArgumentError, match=words):
        session.run(tf.py_func(function, [], types))


def test_strings_from_python(session):
    assert session.run(tf.py_func(lambda: "abc", [], tf.string)) == b"abc"
    made = session.run(tf.py_func(lambda: np.array(["a", "bc"]), [], tf.string))
    assert made.tolist() == [b"a", b"bc"]


def test_an_error_in_a_python_function_shows_where(session):
    def breaks():
        raise ValueError("bad value")

    y = tf.py_func(breaks, [], tf.float32)
    with pytest.raises(tf.errors.InvalidArgumentError, match="ValueError: bad value") as info:
        session.run(y)
    assert "in breaks" in info.value.message
    assert info.value.op is y.op

    def not_found():
        raise tf.errors.NotFoundError(None, None, "no such file")

    with pytest.raises(tf.errors.NotFoundError, match="no such file"):
        session.run(tf.py_func(not_found, [], tf.float32))


def test_py_function_has_numpy_and_converts(session):
    x = tf.placeholder(tf.float32, [2])
    y = tf.py_function(lambda a: a.numpy().sum(), [x], tf.float64)
    assert session.run(y, {x: [1, 2]}) == 3
    with pytest.raises(ValueError, match=r"Expected func to be callable. Received func=3"):
        tf.py_func(3, [], tf.float32)  # pyright: ignore[reportArgumentType]


# -- numpy_op --------------------------------------------------------------------------------------


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def sigmoid_backward(x, dy):
    return sigmoid(x) * (1 - sigmoid(x)) * dy


def dense(x, w):
    return x.dot(w)


def dense_backward(x, w, dz):
    return dz.dot(w.T), x.T.dot(dz)


def test_numpy_op_is_a_node_with_a_gradient(session):
    x = tf.placeholder(tf.float32, [None, 3])
    w = tf.Variable(np.ones((3, 2), np.float32))
    layer = tf.numpy_op(dense, dense_backward)
    activate = tf.numpy_op(sigmoid, sigmoid_backward, shape=lambda shape: shape)
    z = layer(x, w)
    assert (z.name, z.dtype, z.shape.ndims) == ("dense:0", tf.float32, None)
    assert activate(x).shape.as_list() == [None, 3]
    y = activate(z, name="y")
    assert y.name == "y:0"
    dx, dw = tf.gradients(y, [x, w])
    assert dx.shape.as_list() == [None, 3]
    assert dw.shape.as_list() == [3, 2]
    built_in = tf.gradients(tf.sigmoid(tf.matmul(x, w)), [x, w])
    session.run(tf.global_variables_initializer())
    feed = {x: np.random.RandomState(0).randn(4, 3)}
    for _ in range(RUNS):
        for a, b in zip(*session.run([[dx, dw], built_in], feed), strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-5)
            assert a.dtype == np.float32


def test_numpy_op_checks_its_gradients():
    rng = np.random.RandomState(0)
    assert tf.numpy_op(sigmoid, sigmoid_backward).check(rng.randn(2, 3)) < 1e-8
    assert tf.numpy_op(dense, dense_backward).check(rng.randn(2, 3), rng.randn(3, 2)) < 1e-8
    wrong = tf.numpy_op(dense, lambda x, w, dz: (dz.dot(w.T), 2 * x.T.dot(dz)))
    with pytest.raises(AssertionError, match=r"wrong: for input 1 at \[0, 0\] it gives"):
        wrong.check(rng.randn(2, 3), rng.randn(3, 2))


@pytest.mark.parametrize(
    ("backward", "words"),
    [
        (lambda x, w, dz: dz, "returned 1 gradient.s. for 2 inputs"),
        (lambda x, w, dz: (x, w, dz), "returned 3 gradient.s. for 2 inputs"),
        (lambda x, w, dz: (x, x), r"a gradient of shape \(2, 3\) for input 1, which has shape \(3"),
    ],
)
def test_gradients_of_wrong_number_or_shape_are_told(session, backward, words):
    x, w = tf.constant(np.ones((2, 3))), tf.constant(np.ones((3, 2)))
    dx = tf.gradients(tf.numpy_op(dense, backward)(x, w), x)[0]
    with pytest.raises(tf.errors.InvalidArgumentError, match=words):
        session.run(dx)


def test_numpy_op_leaves_integers_out_and_takes_none(session):
    scale = tf.numpy_op(lambda x, n: x * n, lambda x, n, dy: (n * dy, None), "scale")
    x, n = tf.constant([1.0, 2.0]), tf.constant(3)
    y = scale(x, n)
    dx, dn = tf.gradients(y, [x, n])
    assert dn is None
    np.testing.assert_array_equal(session.run(dx), [3, 3])
    first = tf.numpy_op(lambda x, y: x, lambda x, y, dz: (dz, None))
    np.testing.assert_array_equal(session.run(tf.gradients(first(x, x + 0), x)[0]), [1, 1])


def test_a_wrong_declared_shape_is_told(session):
    bad = tf.numpy_op(lambda x: x[:1], lambda x, dy: dy, "bad", shape=[2])
    y = bad(tf.constant([1.0, 2.0]))
    assert y.shape.as_list() == [2]
    with pytest.raises(
        tf.errors.InvalidArgumentError, match=r"bad returned an array of shape \(1,\)"
    ):
        session.run(y)


def test_numpy_op_has_no_second_derivative():
    x = tf.constant([1.0])
    dx = tf.gradients(tf.numpy_op(sigmoid, sigmoid_backward)(x), x)[0]
    with pytest.raises(LookupError, match="has no second derivative"):
        tf.gradients(dx, x)
