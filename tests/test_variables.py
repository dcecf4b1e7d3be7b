"""Variables: their nodes, their reads in a control context, and what is refused."""

import numpy as np
import pytest

import headrace as tf

KINDS = pytest.mark.parametrize("use_resource", [False, True])


def nodes():
    return [
        (op.name, op.type, [t.name for t in op.inputs])
        for op in tf.get_default_graph().get_operations()
    ]


@pytest.fixture
def session():
    with tf.Session() as made:
        yield made


def test_nodes_of_a_ref_variable():
    v = tf.Variable(1.0, name="x")
    assert nodes() == [
        ("x/initial_value", "Const", []),
        ("x", "VariableV2", []),
        ("x/Assign", "Assign", ["x:0", "x/initial_value:0"]),
        ("x/read", "Identity", ["x:0"]),
    ]
    assert repr(v) == str(v) == "<tf.Variable 'x:0' shape=() dtype=float32_ref>"
    assert v.op.get_attr("dtype") == tf.float32
    assert v.initializer.get_attr("_class") == [b"loc:@x"]


def test_nodes_of_a_resource_variable():
    v = tf.Variable(1.0, name="x", use_resource=True)
    assert nodes() == [
        ("x/Initializer/initial_value", "Const", []),
        ("x", "VarHandleOp", []),
        ("x/IsInitialized/VarIsInitializedOp", "VarIsInitializedOp", ["x:0"]),
        ("x/Assign", "AssignVariableOp", ["x:0", "x/Initializer/initial_value:0"]),
        ("x/Read/ReadVariableOp", "ReadVariableOp", ["x:0"]),
    ]
    assert repr(v) == "<tf.Variable 'x:0' shape=() dtype=float32>"


def test_a_function_makes_its_nodes_under_initializer():
    tf.Variable(lambda: tf.zeros([2]), name="x")
    assert nodes()[0][0] == "x/Initializer/zeros"


def test_updates_are_named_by_their_op():
    v = tf.Variable([1.0, 2.0], name="v")
    assert v.assign([3.0, 4.0]).op.name == "Assign"
    assert v.assign_add([3.0, 4.0]).op.name == "AssignAdd"
    assert tf.assign(v, [1.0, 1.0], name="set").name == "set:0"
    assert tf.scatter_update(v, [0], [1.0]).op.name == "ScatterUpdate"
    assert isinstance(v.assign([0.0, 0.0], read_value=False), tf.Operation)


def test_bare_reads_are_one_and_each_control_context_has_its_own():
    v = tf.Variable(1.0, name="v")
    assert tf.convert_to_tensor(v).name == tf.convert_to_tensor(v).name == "v/read:0"
    step = v.assign_add(1.0)
    with tf.name_scope("elsewhere"), tf.control_dependencies([step]):
        after = tf.convert_to_tensor(v)
        assert tf.convert_to_tensor(v) is after
    assert after.name == "v/read_1:0"
    assert after.op.control_inputs == [step.op]
    with tf.control_dependencies([step]):
        assert tf.convert_to_tensor(v) is after


@KINDS
def test_read_after_a_write_sees_it(session, use_resource):
    v = tf.Variable(1.0, use_resource=use_resource)
    before = v + 0.0
    with tf.control_dependencies([v.assign_add(1.0)]):
        after = v + 0.0
        again = v.assign(v * 10)
    session.run(v.initializer)
    for start in (1, 20, 210):
        assert session.run([before, after, again]) == [start, start + 1, 10 * (start + 1)]


@KINDS
def test_scatter_methods_take_indexed_slices(session, use_resource):
    v = tf.Variable(np.ones((3, 2), np.float32), use_resource=use_resource)
    delta = tf.IndexedSlices(tf.constant([[2.0, 3.0]]), tf.constant([1]))
    session.run(v.initializer)
    for method, expected in (
        ("add", [3, 4]), ("sub", [1, 1]), ("mul", [2, 3]), ("div", [1, 1]), ("max", [2, 3]),
        ("update", [2, 3]), ("min", [2, 3]),
    ):  # fmt: skip
        assert session.run(getattr(v, f"scatter_{method}")(delta))[1].tolist() == expected
    with pytest.raises(TypeError, match="sparse_delta is not IndexedSlices"):
        v.scatter_add(1.0)
    assert session.run(v.scatter_nd_update([[0, 1]], [7.0]))[0].tolist() == [1, 7]
    assert session.run(v)[2].tolist() == [1, 1]


@KINDS
def test_rows_out_of_range_are_refused(session, use_resource):
    v = tf.Variable(np.ones((3, 2), np.float32), use_resource=use_resource)
    i = tf.placeholder(tf.int32, [None])
    add = tf.scatter_add(v, i, tf.ones([2, 2]))
    session.run(v.initializer)
    for _ in range(3):
        with pytest.raises(tf.errors.InvalidArgumentError, match=r"indices\[1\] = 3 is not in"):
            session.run(add, {i: [0, 3]})
        assert session.run(v).tolist() == [[1, 1]] * 3


def test_assigned_shape_is_checked_when_run(session):
    v = tf.Variable([1.0, 2.0])
    x = tf.placeholder(tf.float32)
    put = tf.assign(v, x)
    with pytest.raises(tf.errors.InvalidArgumentError, match="shapes of both tensors to match"):
        session.run(put, {x: [1.0]})
    assert session.run(put, {x: [5.0, 6.0]}).tolist() == [5, 6]


def test_all_variables_start_in_one_run(session):
    a = tf.Variable(tf.random_normal([2]), name="a")
    b = tf.Variable(a * 2, name="b")
    c = tf.Variable(b.initialized_value() + 1, name="c")
    session.run(tf.global_variables_initializer())
    x, y, z = session.run([a, b, c])
    np.testing.assert_array_equal([y, z], [x * 2, x * 2 + 1])
    session.run(a.assign([5.0, 6.0]))
    session.run(c.initializer)  # what has a value keeps it, and is what others start from
    assert session.run([a, c])[0].tolist() == [5, 6]
    assert session.run(c).tolist() == (x * 2 + 1).tolist()


def test_proto_and_back(session):
    for use_resource in (False, True):
        v = tf.Variable([1.0, 2.0], trainable=False, use_resource=use_resource)
        w = tf.Variable.from_proto(v.to_proto())
        assert (type(w), w.name, w.shape, w.dtype) == (type(v), v.name, v.shape, v.dtype)
        assert not w.trainable
        session.run(w.initializer)
        assert session.run(w + 1.0).tolist() == [2, 3]


def test_switch_of_the_default_kind():
    tf.enable_resource_variables()
    try:
        assert tf.Variable(1.0).op.type == "VarHandleOp"
    finally:
        tf.disable_resource_variables()
    assert tf.Variable(1.0).op.type == "VariableV2"


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda: tf.Variable(), ValueError, "initial_value must be specified"),
        (
            lambda: tf.Variable(tf.placeholder(tf.float32)),
            ValueError,
            "must have a shape specified",
        ),
        (lambda: tf.Variable(1.0, collections="abc"), ValueError, "must be a list, tuple, or set"),
        (
            lambda: tf.Variable(1.0, constraint=3),  # pyright: ignore[reportArgumentType]
            ValueError,
            "must be a callable",
        ),
        (lambda: list(tf.Variable([1.0])), TypeError, "not iterable"),
        (
            lambda: tf.Variable(1.0).assign(tf.constant(1)),
            TypeError,
            "has type int32 that does not",
        ),
        (lambda: tf.Variable(1.0).assign([1.0]), ValueError, "Shapes must be equal rank"),
        (lambda: tf.Variable(1.0) + tf.constant(1), TypeError, "type"),
        (lambda: tf.assign(tf.constant(1.0), 2.0), TypeError, "changes a tf.Variable"),
        (
            lambda: tf.Variable([1.0], use_resource=True).assign([1.0, 2.0]),
            ValueError,
            "Shape mismatch",
        ),
    ],
)
def test_what_is_refused(make, error, words):
    with pytest.raises(error, match=words):
        make()
