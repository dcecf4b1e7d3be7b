"""`gradients` and what stands on it: sums over paths, weights, stops, slices, second order."""

import numpy as np
import pytest

import headrace as tf
from headrace.gradients import _registered, jacobian


@pytest.fixture
def sess():
    with tf.Session() as opened:
        yield opened


def constant(*values):
    return tf.constant(np.array(values, np.float64))


@pytest.fixture
def registry():
    """The registered gradients are put back afterwards."""
    saved = dict(_registered)
    yield _registered
    _registered.clear()
    _registered.update(saved)


# -- the walk --------------------------------------------------------------------------------------


def test_derivative_of_a_chain(sess):
    x = constant(0.5, -1.0)
    (g,) = tf.gradients(tf.tanh(x * 3.0) ** 2, x)
    t = np.tanh([1.5, -3.0])
    np.testing.assert_allclose(sess.run(g), 2 * t * (1 - t**2) * 3)


def test_gradients_add_up_over_paths(sess):
    x = constant(2.0, 3.0)
    a, b = x * 2.0, tf.exp(x)
    y = a * b + a + x * x
    (g,) = tf.gradients(y, x)
    v = np.array([2.0, 3.0])
    np.testing.assert_allclose(sess.run(g), 2 * np.exp(v) * (1 + v) + 2 + 2 * v)


def test_gradients_add_up_over_ys(sess):
    x = constant(2.0)
    both = tf.gradients([x * 3.0, x * x], x)[0]
    assert sess.run(both).tolist() == [3 + 4]


def test_y_that_is_also_on_the_way(sess):
    x = constant(2.0)
    y = x * x
    z = y * 5.0
    assert sess.run(tf.gradients([y, z], x)[0]).tolist() == [4 + 20]
    assert sess.run(tf.gradients([z, y], [y])[0]).tolist() == [5 + 1]


def test_same_y_twice_counts_twice(sess):
    x = constant(2.0)
    y = x * x
    assert sess.run(tf.gradients([y, y], x)[0]).tolist() == [8]


def test_gradient_of_itself_is_one(sess):
    x = constant(2.0, 5.0)
    assert sess.run(tf.gradients(x, x)[0]).tolist() == [1, 1]


def test_x_that_is_not_a_leaf(sess):
    x = constant(2.0)
    y = x * x
    z = tf.exp(y) + x
    gy, gx = tf.gradients(z, [y, x])
    assert sess.run(gy).tolist() == [np.exp(4.0)]
    np.testing.assert_allclose(sess.run(gx), [np.exp(4.0) * 4 + 1])


def test_one_operand_twice(sess):
    x = constant(3.0)
    assert sess.run(tf.gradients(x * x, x)[0]).tolist() == [6]
    assert sess.run(tf.gradients(tf.add_n([x, x, x]), x)[0]).tolist() == [3]


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize(
    ("left", "right"),
    [((3,), ()), ((2, 3), (3,)), ((2, 1), (1, 3)), ((1, 1), (4, 1)), ((2, 1, 3), (5, 1)),
     ((0, 3), (3,)), ((1,), (1,)), ((), (2, 2)), ((1,), ()), ((1, 3), (0, 3))],
)  # fmt: skip
def test_broadcasting_is_undone(sess, left, right, known):
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=left), rng.normal(size=right)
    x = tf.placeholder(tf.float64, left if known else None)
    y = tf.placeholder(tf.float64, right if known else [None] * len(right))
    gx, gy = tf.gradients(x * y, [x, y])
    for _ in range(3):
        found = sess.run([gx, gy], {x: a, y: b})
        full = np.ones(np.broadcast_shapes(left, right))

        def undone(g, shape):
            g = g.sum(tuple(range(g.ndim - len(shape))))
            return g.sum(tuple(i for i, n in enumerate(shape) if n == 1), keepdims=True)

        np.testing.assert_allclose(found[0], undone(full * b, left), atol=1e-12)
        np.testing.assert_allclose(found[1], undone(full * a, right), atol=1e-12)
        assert found[0].shape == left
        assert found[1].shape == right


# -- grad_ys, stop_gradients, what is not connected ------------------------------------------------


def test_grad_ys_weigh(sess):
    x = constant(1.0, 2.0)
    w = constant(10.0, 100.0)
    assert sess.run(tf.gradients(x * x, x, grad_ys=w)[0]).tolist() == [20, 400]
    assert sess.run(tf.gradients(x * x, x, grad_ys=[w])[0]).tolist() == [20, 400]
    mixed = tf.gradients([x * x, x], x, grad_ys=[w, None])[0]
    assert sess.run(mixed).tolist() == [21, 401]
    assert sess.run(tf.gradients(x * x, x, np.array([10.0, 100.0]))[0]).tolist() == [20, 400]


def test_grad_ys_that_do_not_suit():
    x = constant(1.0, 2.0)
    y = x * x
    with pytest.raises(ValueError, match="grad_ys"):
        tf.gradients([y, y], x, grad_ys=[x])
    with pytest.raises(TypeError, match="float"):
        tf.gradients(y, x, grad_ys=tf.constant([1.0, 2.0]))
    with pytest.raises(ValueError, match="grad_ys"):
        tf.gradients(y, x, grad_ys=constant(1.0, 2.0, 3.0))


def test_grad_ys_are_themselves_differentiable(sess):
    x, w = constant(3.0), constant(2.0)
    (g,) = tf.gradients(x * x, x, grad_ys=w)
    assert sess.run(tf.gradients(g, w)[0]).tolist() == [6]


def test_stop_gradients_are_held_constant(sess):
    x = constant(2.0)
    a = x * 2.0
    b = a * x
    assert sess.run(tf.gradients(b, x)[0]).tolist() == [8]
    assert sess.run(tf.gradients(b, x, stop_gradients=a)[0]).tolist() == [4]
    ga, gx = tf.gradients(a + x, [x, a], stop_gradients=[x, a])
    assert sess.run([ga, gx]) == [[1], [1]]


def test_stop_gradient_op(sess):
    x = constant(2.0)
    y = tf.stop_gradient(x * x) * x
    assert sess.run(tf.gradients(y, x)[0]).tolist() == [4]
    assert tf.gradients(tf.stop_gradient(x), x) == [None]


def test_unconnected_is_none_or_zero(sess):
    x, other = constant(1.0, 2.0), constant(5.0, 6.0, 7.0)
    assert tf.gradients(x * 2.0, other) == [None]
    gx, none = tf.gradients(x * 2.0, [x, other])
    assert none is None
    zeros = tf.gradients(x * 2.0, [x, other], unconnected_gradients=tf.UnconnectedGradients.ZERO)
    assert [g.tolist() for g in sess.run(zeros)] == [[2, 2], [0, 0, 0]]
    assert sess.run(gx).tolist() == [2, 2]
    with pytest.raises(ValueError, match="unconnected_gradients"):
        tf.gradients(x, other, unconnected_gradients="often")


@pytest.mark.parametrize("use_resource", [False, True])
def test_unconnected_variable_is_zero_in_its_own_type_and_shape(sess, use_resource):
    v = tf.get_variable("v", initializer=np.float64([3.0, 4.0]), use_resource=use_resource)
    (zeros,) = tf.gradients(constant(1.0), v, unconnected_gradients=tf.UnconnectedGradients.ZERO)
    sess.run(v.initializer)
    assert zeros.dtype == tf.float64
    assert sess.run(zeros).tolist() == [0, 0]


def test_x_behind_y_is_not_connected():
    x = constant(1.0)
    y = x * 2.0
    assert tf.gradients(x, y) == [None]


def test_integers_carry_no_gradient():
    n = tf.placeholder(tf.int32, (2,))
    x = tf.cast(n, tf.float32)
    assert tf.gradients(x * 2.0, n) == [None]
    assert tf.gradients(n * 2, n) == [None]
    gx, gn = tf.gradients(x * 2.0, [x, n])
    assert gx is not None
    assert gn is None
    y = tf.placeholder(tf.float32, (2,))
    assert tf.gradients(tf.cast(y, tf.int32), y) == [None]
    assert tf.gradients(tf.argmax(y), y) == [None]


def test_complex_ys_need_weights(sess):
    z = tf.constant(1 + 2j)
    with pytest.raises(TypeError, match="must set grad_ys"):
        tf.gradients(z * z, z)
    (g,) = tf.gradients(z * z, z, grad_ys=tf.ones_like(z))
    np.testing.assert_allclose(sess.run(g), np.conj(2 * (1 + 2j)))


def test_ops_are_refused_as_xs_and_ys():
    x = constant(1.0)
    for ys, xs in ((x.op, x), (x, x.op), (None, x), (x, None), ([x, None], x)):
        with pytest.raises((TypeError, ValueError)):
            tf.gradients(ys, xs)


# -- structure in the graph ------------------------------------------------------------------------


def test_gradients_are_named_under_their_scope():
    x = constant(1.0)
    y = tf.exp(x, name="e") * 2.0
    before = len(tf.get_default_graph().get_operations())
    (g,) = tf.gradients(y, x)
    tf.gradients(y, x)
    with tf.name_scope("train"):
        tf.gradients(y, x)
    tf.gradients(y, x, name="mine")
    made = [op.name for op in tf.get_default_graph().get_operations()[before:]]
    scopes = {name.split("/")[0] for name in made}
    assert scopes == {"gradients", "gradients_1", "train", "mine"}
    assert all(n.startswith("train/gradients/") for n in made if n.startswith("train/"))
    assert g.name.startswith("gradients/e_grad/")


def test_matmul_gradients_are_matmuls_with_transposes():
    x, w = tf.placeholder(tf.float32, (5, 3)), tf.placeholder(tf.float32, (3, 2))
    gx, gw = tf.gradients(x @ w, [x, w])
    assert (gx.op.type, gw.op.type) == ("MatMul", "MatMul")
    assert gx.op.get_attr("transpose_b") is True
    assert gx.op.get_attr("transpose_a") is False
    assert gw.op.get_attr("transpose_a") is True
    assert gw.op.get_attr("transpose_b") is False


def test_gradients_are_in_the_graph_of_the_tensors():
    with tf.Graph().as_default() as graph:
        x = constant(1.0)
        y = x * x
    (g,) = tf.gradients(y, x)
    assert g.graph is graph
    assert not tf.get_default_graph().get_operations()


def test_gradients_have_the_shapes_of_their_xs():
    x = tf.placeholder(tf.float32, (None, 3))
    w = tf.Variable(tf.ones((3, 2)))
    b = tf.Variable(tf.ones((2,)))
    gx, gw, gb = tf.gradients(tf.reduce_sum(tf.nn.relu(x @ w + b)), [x, w, b])
    assert gx.shape.as_list() == [None, 3]
    assert gw.shape.as_list() == [3, 2]
    assert gb.shape.as_list() == [2]


def test_colocation_with_the_forward_op():
    x = constant(1.0)
    y = tf.exp(x, name="forward")
    (g,) = tf.gradients(y, x, colocate_gradients_with_ops=True)
    assert g.op.colocation_groups() == [b"loc:@forward"]


def test_building_twice_gives_the_same_graph():
    def build():
        with tf.Graph().as_default() as graph:
            x = tf.placeholder(tf.float32, (None, 3))
            w = tf.Variable(tf.ones((3, 2)))
            tf.gradients(tf.reduce_mean(tf.tanh(x @ w) ** 2), [x, w])
            return graph.as_graph_def()

    assert build() == build()


@pytest.mark.parametrize("use_resource", [False, True])
def test_variables_are_xs(sess, use_resource):
    v = tf.get_variable("v", initializer=[1.0, 2.0], use_resource=use_resource)
    w = tf.get_variable("w", initializer=3.0, use_resource=use_resource)
    gv, gw = tf.gradients(v * v * w, [v, w])
    sess.run(tf.global_variables_initializer())
    for _ in range(3):
        a, b = sess.run([gv, gw])
        assert a.tolist() == [6, 12]
        assert b == 5


# -- long and wide graphs --------------------------------------------------------------------------


def operations_for_a_chain(n):
    with tf.Graph().as_default() as graph:
        x = tf.placeholder(tf.float32, ())
        y = x
        for _ in range(n):
            y = tf.tanh(y)
        before = len(graph.get_operations())
        (g,) = tf.gradients(y, x)
        return len(graph.get_operations()) - before, g


def test_long_chain_differentiates_without_recursion_and_linearly():
    small, _ = operations_for_a_chain(100)
    large, g = operations_for_a_chain(10_000)
    assert g is not None
    assert large <= 100 * small


def test_diamonds_one_behind_the_other_are_walked_once(sess):
    """2^60 paths, and as many operations as there are nodes."""
    x = constant(1.0)
    y = x
    for _ in range(60):
        y = y * 0.5 + y * 0.5
    before = len(tf.get_default_graph().get_operations())
    (g,) = tf.gradients(y, x)
    assert len(tf.get_default_graph().get_operations()) - before < 60 * 12
    assert sess.run(g).tolist() == [1]


def test_only_what_lies_between_is_visited():
    x = constant(1.0)
    y = x * 2.0
    z = tf.py_func(lambda a: a, [y], tf.float64)  # no gradient, and not on the way
    z.set_shape((1,))
    (g,) = tf.gradients(tf.exp(y) + tf.stop_gradient(z), x)
    assert g is not None


# -- slices ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("use_resource", [False, True])
def test_gradient_of_a_gather_is_slices(sess, use_resource):
    table = tf.get_variable(
        "t", initializer=np.arange(8.0).reshape(4, 2), use_resource=use_resource
    )
    rows = tf.gather(table, [1, 3, 1])
    (g,) = tf.gradients(tf.reduce_sum(rows * [[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]), table)
    assert isinstance(g, tf.IndexedSlices)
    sess.run(tf.global_variables_initializer())
    for _ in range(3):
        value = sess.run(g)
        assert value.indices.tolist() == [1, 3, 1]
        assert value.values.tolist() == [[1, 2], [3, 4], [5, 6]]
        assert list(value.dense_shape) == [4, 2]
        dense = sess.run(tf.convert_to_tensor(g))
        assert dense.tolist() == [[0, 0], [6, 8], [0, 0], [3, 4]]


def test_slices_and_slices_make_slices(sess):
    table = tf.Variable(np.arange(8.0).reshape(4, 2))
    y = tf.reduce_sum(tf.gather(table, [1])) + tf.reduce_sum(tf.gather(table, [[2, 1]]) * 10.0)
    (g,) = tf.gradients(y, table)
    assert isinstance(g, tf.IndexedSlices)
    sess.run(tf.global_variables_initializer())
    assert sess.run(tf.convert_to_tensor(g)).tolist() == [[0, 0], [11, 11], [10, 10], [0, 0]]


def test_slices_and_a_dense_gradient_make_a_dense_one(sess):
    table = tf.Variable(np.ones((3, 2)))
    y = tf.reduce_sum(tf.gather(table, [1, 1])) + tf.reduce_sum(table * 10.0)
    (g,) = tf.gradients(y, table)
    assert isinstance(g, tf.Tensor)
    sess.run(tf.global_variables_initializer())
    assert sess.run(g).tolist() == [[10, 10], [12, 12], [10, 10]]


def test_slices_go_on_through_what_was_computed(sess):
    x = constant(1.0, 2.0, 3.0)
    rows = tf.gather(x * x, [2, 0, 2])
    (g,) = tf.gradients(rows, x)
    assert sess.run(tf.convert_to_tensor(g)).tolist() == [2, 0, 12]


def test_embedding_lookup_has_slices(sess):
    table = tf.Variable(np.ones((5, 2)))
    (g,) = tf.gradients(tf.nn.embedding_lookup(table, [[0, 4], [4, 1]]), table)
    assert isinstance(g, tf.IndexedSlices)
    sess.run(tf.global_variables_initializer())
    assert sess.run(tf.convert_to_tensor(g))[:, 0].tolist() == [1, 1, 0, 0, 2]


# -- gradients of gradients ------------------------------------------------------------------------


def test_derivatives_of_every_order(sess):
    x = constant(0.7)
    found, y = [], tf.sin(x)
    for _ in range(4):
        (y,) = tf.gradients(y, x)
        found.append(y)
    s, c = np.sin(0.7), np.cos(0.7)
    np.testing.assert_allclose(np.ravel(sess.run(found)), [c, -s, -c, s], atol=1e-12)


def test_gradient_penalty(sess):
    """As in WGAN-GP: the norm of a gradient by the input, differentiated by a weight."""
    x, w = constant(1.0, 2.0), tf.Variable(np.array([0.5, -1.0]))
    score = tf.reduce_sum(tf.tanh(x * w))
    (gx,) = tf.gradients(score, x)
    penalty = tf.reduce_sum(gx**2)
    (gw,) = tf.gradients(penalty, w)
    sess.run(tf.global_variables_initializer())

    def value(w):
        return ((w * (1 - np.tanh(np.array([1.0, 2.0]) * w) ** 2)) ** 2).sum()

    w0, h = np.array([0.5, -1.0]), 1e-6
    numeric = [(value(w0 + h * e) - value(w0 - h * e)) / (2 * h) for e in np.eye(2)]
    for _ in range(3):
        np.testing.assert_allclose(sess.run(gw), numeric, rtol=1e-6)


def test_hessians(sess):
    x = constant(1.0, 2.0, -1.0)
    a = np.array([[2.0, 1.0, 0.0], [1.0, 3.0, -1.0], [0.0, -1.0, 5.0]])
    y = tf.reduce_sum(x * tf.reshape(tf.matmul(a, tf.reshape(x, [3, 1])), [3])) + x[0] ** 3
    (h,) = tf.hessians(y, x)
    expected = a + a.T
    expected[0, 0] += 6
    np.testing.assert_allclose(sess.run(h), expected)
    assert h.shape.as_list() == [3, 3]


def test_hessians_of_several(sess):
    x, m = constant(1.0, 2.0), tf.constant(np.array([[1.0, 2.0], [3.0, 4.0]]))
    hx, hm = tf.hessians(tf.reduce_sum(x**3) + tf.reduce_sum(m**2), [x, m])
    np.testing.assert_allclose(sess.run(hx), np.diag([6.0, 12.0]))
    np.testing.assert_allclose(sess.run(hm), 2 * np.eye(4).reshape(2, 2, 2, 2))


def test_jacobian(sess):
    x = constant(1.0, 2.0, 3.0)
    y = tf.stack([x[0] * x[1], tf.exp(x[2])])
    j = jacobian(y, x)
    np.testing.assert_allclose(sess.run(j), [[2, 1, 0], [0, 0, np.exp(3.0)]])
    both = jacobian(y, [x, y])
    np.testing.assert_allclose(sess.run(both[1]), np.eye(2))
    open_ended = tf.placeholder(tf.float64, (None,))
    with pytest.raises(ValueError, match="full shape"):
        jacobian(open_ended * 2.0, open_ended)


def test_jacobian_of_matrices_has_all_axes(sess):
    a = np.random.default_rng(0).normal(size=(2, 3))
    x = tf.constant(np.random.default_rng(1).normal(size=(3, 2)))
    j = jacobian(tf.matmul(a, x), x)
    np.testing.assert_allclose(sess.run(j), np.einsum("ik,jl->ijkl", a, np.eye(2)))


# -- gradients of the user's own -------------------------------------------------------------------


def test_registered_gradient_replaces_by_map(sess, registry):
    @tf.RegisterGradient("Clipped")
    def clipped(op, dy):
        return tf.clip_by_value(dy, -1.0, 1.0) * 100.0

    x = constant(3.0)
    with tf.get_default_graph().gradient_override_map({"Identity": "Clipped"}):
        y = tf.identity(x)
    z = tf.identity(x)
    assert sess.run(tf.gradients(y * 5.0, x)[0]).tolist() == [100]
    assert sess.run(tf.gradients(z * 5.0, x)[0]).tolist() == [5]
    with pytest.raises(KeyError, match="two gradient"):
        tf.RegisterGradient("Clipped")(clipped)


def test_registered_gradient_of_a_type(sess, registry):
    x = constant(3.0)
    y = tf.py_func(lambda a: a * 2, [x], tf.float64, name="double")
    y.set_shape((1,))
    assert tf.gradients(y, x) == [None]  # a Python function has none by nature

    @tf.RegisterGradient("PyFunc")
    def rule(op, dy):
        return [dy * 2.0]

    assert sess.run(tf.gradients(y, x)[0]).tolist() == [2]


def test_override_to_what_is_not_registered():
    x = constant(3.0)
    with tf.get_default_graph().gradient_override_map({"Identity": "NeverRegistered"}):
        y = tf.identity(x)
    with pytest.raises(LookupError, match="NeverRegistered"):
        tf.gradients(y, x)


def test_not_differentiable_types_stop_gradients(registry):
    tf.NotDifferentiable("ToyIdentity")
    x = constant(3.0)
    op = tf.get_default_graph().create_op("ToyIdentity", [x], [tf.float64])
    op.outputs[0].set_shape((1,))
    assert tf.gradients(op.outputs[0] * 2.0, x) == [None]


def test_op_nobody_defined_has_no_gradient():
    x = constant(3.0)
    op = tf.get_default_graph().create_op("Mystery", [x], [tf.float64], name="what")
    op.outputs[0].set_shape((1,))
    with pytest.raises(LookupError, match=r"No gradient defined for operation 'what'.*Mystery"):
        tf.gradients(op.outputs[0] * 2.0, x)


def test_rules_that_do_not_fit(registry):
    x = constant(3.0)

    @tf.RegisterGradient("TooMany")
    def too_many(op, dy):
        return dy, dy

    @tf.RegisterGradient("WrongShape")
    def wrong_shape(op, dy):
        return tf.concat([dy, dy], 0)

    for name, text in (("TooMany", "do not match num inputs"), ("WrongShape", "Incompatible shap")):
        with tf.get_default_graph().gradient_override_map({"Identity": name}):
            y = tf.identity(x)
        with pytest.raises(ValueError, match=text):
            tf.gradients(y, x)
