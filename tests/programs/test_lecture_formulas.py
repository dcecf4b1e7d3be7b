"""The formulas that the lectures derive, in NumPy, beside what `gradients` gives.

Everything is in float64, so that only the formula is tested. `tf` may be TensorFlow itself under
our name: all but the tests marked `headrace_only` pass there too.
"""

import itertools

import numpy as np
import pytest

import headrace as tf

headrace_only = pytest.mark.skipif(
    tf.__name__ != "headrace", reason="headrace promises more than TensorFlow"
)


@pytest.fixture(autouse=True)
def session():
    tf.reset_default_graph()
    with tf.Session() as session:
        yield session


@pytest.fixture
def rng():
    return np.random.RandomState(0)


def sigmoid(s):
    return 1 / (1 + np.exp(-s))


def assert_same(actual, desired):
    np.testing.assert_allclose(actual, desired, rtol=1e-12, atol=1e-14)


def gradient_check(y, *parameters):
    """Central differences of every element of y by every element of each parameter."""
    for x in parameters:
        error = tf.test.compute_gradient_error(
            x, x.shape.as_list(), y, y.shape.as_list(), x_init_value=x.eval(), delta=1e-5
        )
        assert error < 1e-8


def jacobian(y, x):
    """dy[i]/dx[j] for a vector y and a vector x: [len(y), len(x)]."""
    return tf.stack([tf.gradients(y[i], x)[0] for i in range(y.shape.as_list()[0])])


# Functions whose derivatives we know, and the chain rule


@pytest.mark.parametrize(
    ("function", "derivative"),
    [
        (tf.square, lambda x: 2 * x),
        (tf.exp, np.exp),
        (tf.log, lambda x: 1 / x),
        (tf.sigmoid, lambda x: sigmoid(x) * (1 - sigmoid(x))),
    ],
)
def test_derivative_of_a_simple_function(session, function, derivative):
    value = np.linspace(0.3, 3, 7)
    x = tf.constant(value)
    y = function(x)
    assert_same(session.run(tf.gradients(y, x)[0]), derivative(value))
    gradient_check(y, x)


def two_layers(x1, x2):
    z1 = x1 * x2
    z2 = tf.sin(x1) + x2**2
    p = z1 * tf.exp(z2)
    return z1, z2, p


def test_chain_rule_sums_over_the_two_arguments(session):
    v1, v2 = 0.7, -0.4
    x1, x2 = tf.constant(v1, tf.float64), tf.constant(v2, tf.float64)
    z1, z2, p = two_layers(x1, x2)
    dp_dz1, dp_dz2, dp_dx1, dp_dx2 = session.run(tf.gradients(p, [z1, z2, x1, x2]))
    e = np.exp(np.sin(v1) + v2**2)
    assert_same(dp_dz1, e)
    assert_same(dp_dz2, v1 * v2 * e)
    assert_same(dp_dx1, dp_dz1 * v2 + dp_dz2 * np.cos(v1))
    assert_same(dp_dx2, dp_dz1 * v1 + dp_dz2 * 2 * v2)
    gradient_check(p, x1, x2)


def test_product_rule(session):
    value = np.array([-1.3, 0.2, 0.9])
    x = tf.constant(value)
    f, g = tf.sin(x), x**3
    h = f * g
    dh_df, dh_dg, dh_dx = session.run(tf.gradients(h, [f, g, x]))
    assert_same(dh_df, value**3)
    assert_same(dh_dg, np.sin(value))
    assert_same(dh_dx, value**3 * np.cos(value) + np.sin(value) * 3 * value**2)
    gradient_check(h, x)


def three_layers(x1, x2):
    z1 = x1 * x2
    z2 = tf.sin(x1) + x2**2
    h1 = z1 * z2
    h2 = z1 + tf.exp(z2)
    p = h1**2 * h2
    return {"x1": x1, "x2": x2, "z1": z1, "z2": z2, "h1": h1, "h2": h2, "p": p}


def edges_of_three_layers(v1, v2):
    """The derivative on each edge of the graph of derivatives, by hand."""
    z1, z2 = v1 * v2, np.sin(v1) + v2**2
    h1, h2 = z1 * z2, z1 + np.exp(z2)
    return {
        ("p", "h1"): 2 * h1 * h2,
        ("p", "h2"): h1**2,
        ("h1", "z1"): z2,
        ("h1", "z2"): z1,
        ("h2", "z1"): 1.0,
        ("h2", "z2"): np.exp(z2),
        ("z1", "x1"): v2,
        ("z1", "x2"): v1,
        ("z2", "x1"): np.cos(v1),
        ("z2", "x2"): 2 * v2,
    }


@pytest.mark.parametrize("x", ["x1", "x2"])
def test_derivative_is_the_sum_over_the_four_paths_of_the_product_of_the_edges(session, x):
    v1, v2 = 0.7, -0.4
    node = three_layers(tf.constant(v1, tf.float64), tf.constant(v2, tf.float64))
    edge = edges_of_three_layers(v1, v2)
    paths = list(itertools.product(["h1", "h2"], ["z1", "z2"]))
    assert len(paths) == 4
    by_paths = sum(edge["p", h] * edge[h, z] * edge[z, x] for h, z in paths)
    assert_same(session.run(tf.gradients(node["p"], node[x])[0]), by_paths)
    gradient_check(node["p"], node[x])


def test_each_edge_is_the_derivative_of_its_origin_by_its_destination(session):
    v1, v2 = 0.7, -0.4
    node = three_layers(tf.constant(v1, tf.float64), tf.constant(v2, tf.float64))
    edge = edges_of_three_layers(v1, v2)
    got = session.run({(a, b): tf.gradients(node[a], node[b])[0] for a, b in edge})
    assert got.keys() == edge.keys()
    for ends, value in edge.items():
        assert_same(got[ends], value)


def test_reverse_mode_reuses_the_derivatives_of_the_layer_above(session):
    v1, v2 = 0.7, -0.4
    node = three_layers(tf.constant(v1, tf.float64), tf.constant(v2, tf.float64))
    edge = edges_of_three_layers(v1, v2)
    names = ["h1", "h2", "z1", "z2", "x1", "x2"]
    dp = dict(
        zip(names, session.run(tf.gradients(node["p"], [node[n] for n in names])), strict=True)
    )
    for h in ("h1", "h2"):
        assert_same(dp[h], edge["p", h])
    for z in ("z1", "z2"):
        assert_same(dp[z], dp["h1"] * edge["h1", z] + dp["h2"] * edge["h2", z])
    for x in ("x1", "x2"):
        assert_same(dp[x], dp["z1"] * edge["z1", x] + dp["z2"] * edge["z2", x])


# A logistic neuron


def test_logistic_neuron(session):
    x1, x2, target = 0.5, -1.5, 1.0
    alpha, beta = tf.constant(0.8, tf.float64), tf.constant(0.3, tf.float64)
    s = alpha * x1 + beta * x2
    z = tf.sigmoid(s)
    loss = (z - target) ** 2
    dl_dz, dl_ds, dl_dalpha, dl_dbeta = session.run(tf.gradients(loss, [z, s, alpha, beta]))
    prediction = sigmoid(0.8 * x1 + 0.3 * x2)
    dz_ds = prediction * (1 - prediction)
    assert_same(dl_dz, 2 * (prediction - target))
    assert_same(dl_ds, dl_dz * dz_ds)
    assert_same(dl_dalpha, dl_dz * dz_ds * x1)
    assert_same(dl_dbeta, dl_dz * dz_ds * x2)
    gradient_check(loss, alpha, beta)


def test_weight_in_the_middle_of_a_perceptron(session):
    # dL/dw1 = dL/dp dp/dh2 dh2/dw1, where h2 = sigmoid(w0 + w1 z1 + w2 z2) and p = v1 h1 + v2 h2
    z1, z2, h1, v1, v2 = 0.4, 0.9, 0.2, 1.1, -0.6
    w0, w1, w2 = (tf.constant(w, tf.float64) for w in (0.1, -0.5, 0.7))
    h2 = tf.sigmoid(w0 + w1 * z1 + w2 * z2)
    p = v1 * h1 + v2 * h2
    loss = (p - 1) ** 2
    got = session.run(tf.gradients(loss, [w0, w1, w2]))
    h = sigmoid(0.1 - 0.5 * z1 + 0.7 * z2)
    dl_dh2 = 2 * (v1 * h1 + v2 * h - 1) * v2
    assert_same(got, [dl_dh2 * h * (1 - h) * dh2 for dh2 in (1, z1, z2)])
    gradient_check(loss, w0, w1, w2)


def test_sigmoid_node_passes_its_incoming_gradient(session, rng):
    inputs, incoming_gradient = rng.randn(2, 3), rng.randn(2, 3)
    s = tf.constant(inputs)
    z = tf.sigmoid(s)
    (ds,) = tf.gradients(z, s, grad_ys=tf.constant(incoming_gradient))
    assert_same(session.run(z), sigmoid(inputs))
    assert_same(session.run(ds), sigmoid(inputs) * (1 - sigmoid(inputs)) * incoming_gradient)
    gradient_check(z, s)


# The triangle problem


def test_three_neurons_and_a_neuron_on_top_of_them(session, rng):
    x, w, w0 = rng.randn(5, 2), rng.randn(2, 3), rng.randn(3)
    u, u0 = rng.randn(3), rng.randn()
    z = tf.sigmoid(tf.constant(w0) + tf.matmul(x, w))
    a = tf.sigmoid(u0 + tf.reduce_sum(u * z, 1))
    by_hand = [
        sigmoid(u0 + sum(u[i] * sigmoid(w0[i] + w[0, i] * x1 + w[1, i] * x2) for i in range(3)))
        for x1, x2 in x
    ]
    assert_same(session.run(a), by_hand)


def test_without_activation_it_turns_into_a_linear_function(session, rng):
    v1, v2 = rng.randn(2)
    w, (w1, w2) = rng.randn(2, 2), rng.randn(2)
    x1, x2 = tf.constant(v1), tf.constant(v2)
    z1 = w[0, 0] * x1 + w[1, 0] * x2
    z2 = w[0, 1] * x1 + w[1, 1] * x2
    a = w1 * z1 + w2 * z2
    slopes = [w1 * w[0, 0] + w2 * w[0, 1], w1 * w[1, 0] + w2 * w[1, 1]]
    assert_same(session.run(a), slopes[0] * v1 + slopes[1] * v2)
    assert_same(session.run(tf.gradients(a, [x1, x2])), slopes)


# A dense layer, samples in rows: XW = Z


def loss_of_rows(z):
    """A loss L(z1, z2) for every sample: [n, 2] -> [n]."""
    return z[:, 0] ** 2 * z[:, 1] + tf.sin(z[:, 1])


def dloss_of_rows(z):
    return np.stack([2 * z[:, 0] * z[:, 1], z[:, 0] ** 2 + np.cos(z[:, 1])], 1)


def test_dense_layer_of_one_sample(session, rng):
    x, w = rng.randn(1, 3), rng.randn(3, 2)
    weights = tf.constant(w)
    z = tf.matmul(x, weights)
    assert_same(session.run(z)[0, 0], x[0, 0] * w[0, 0] + x[0, 1] * w[1, 0] + x[0, 2] * w[2, 0])
    assert_same(session.run(z)[0, 1], x[0, 0] * w[0, 1] + x[0, 1] * w[1, 1] + x[0, 2] * w[2, 1])
    loss = tf.reduce_sum(loss_of_rows(z))
    dz, dw = session.run(tf.gradients(loss, [z, weights]))
    assert_same(dz, dloss_of_rows(x @ w))
    assert_same(dw, x.T @ dz)
    for i, j in np.ndindex(3, 2):
        assert_same(dw[i, j], dz[0, j] * x[0, i])
    gradient_check(loss, weights)


def test_dense_layer_of_a_mini_batch(session, rng):
    x, w = rng.randn(2, 3), rng.randn(3, 2)
    inputs, weights = tf.constant(x), tf.constant(w)
    z = inputs @ weights
    assert_same(session.run(z)[1, 0], x[1, 0] * w[0, 0] + x[1, 1] * w[1, 0] + x[1, 2] * w[2, 0])
    loss = tf.reduce_sum(loss_of_rows(z))
    dz, dw, dx = session.run(tf.gradients(loss, [z, weights, inputs]))
    assert_same(dz, dloss_of_rows(x @ w))
    assert_same(dw, x.T @ dz)
    assert_same(dw[2, 1], dz[0, 1] * x[0, 2] + dz[1, 1] * x[1, 2])
    assert_same(dx, dz @ w.T)
    for i, j in np.ndindex(2, 3):
        assert_same(dx[i, j], sum(dz[i, k] * w[j, k] for k in range(2)))
    gradient_check(loss, weights, inputs)


def test_gradient_of_the_batch_is_the_sum_over_its_samples(session, rng):
    inputs, weights = tf.constant(rng.randn(4, 3)), tf.constant(rng.randn(3, 2))
    losses = loss_of_rows(inputs @ weights)
    whole = tf.gradients(tf.reduce_sum(losses), weights)[0]
    parts = [tf.gradients(losses[i], weights)[0] for i in range(4)]
    whole, parts = session.run([whole, parts])
    assert_same(whole, np.sum(parts, axis=0))


def test_each_sample_contributes_one_non_zero_row_to_the_gradient_by_x(session, rng):
    inputs, weights = tf.constant(rng.randn(4, 3)), tf.constant(rng.randn(3, 2))
    losses = loss_of_rows(inputs @ weights)
    whole = tf.gradients(tf.reduce_sum(losses), inputs)[0]
    parts = [tf.gradients(losses[i], inputs)[0] for i in range(4)]
    whole, parts = session.run([whole, parts])
    for i, part in enumerate(parts):
        assert_same(part[i], whole[i])
        assert not np.any(np.delete(part, i, axis=0))


def test_step_subtracts_the_gradient_times_the_rate(session, rng):
    x, w = rng.randn(2, 3), rng.randn(3, 2)
    rate = 1 / 16  # exact in float32, in which an optimizer keeps its rate
    weights = tf.Variable(w)
    loss = tf.reduce_sum(loss_of_rows(tf.matmul(x, weights)))
    step = tf.train.GradientDescentOptimizer(rate).minimize(loss)
    session.run(tf.global_variables_initializer())
    for _ in range(4):
        session.run(step)
        w = w - rate * x.T @ dloss_of_rows(x @ w)
        assert_same(session.run(weights), w)


# A network with samples in columns: H = W I + b, and half the squared error


def column_network(rng, n):
    value = {
        "i": rng.randn(3, n),
        "w_h": rng.randn(4, 3),
        "b_h": rng.randn(4, 1),
        "w_o": rng.randn(2, 4),
        "b_o": rng.randn(2, 1),
    }
    y = rng.randn(2, n)
    node = {name: tf.constant(array) for name, array in value.items()}
    node["h"] = node["w_h"] @ node["i"] + node["b_h"]
    node["h_hat"] = tf.sigmoid(node["h"])
    node["o"] = node["w_o"] @ node["h_hat"] + node["b_o"]
    loss = tf.reduce_sum((node["o"] - y) ** 2) / 2

    h_hat = sigmoid(value["w_h"] @ value["i"] + value["b_h"])
    d_o = value["w_o"] @ h_hat + value["b_o"] - y
    d_h_hat = value["w_o"].T @ d_o
    d_h = d_h_hat * h_hat * (1 - h_hat)
    by_hand = {
        "o": d_o,
        "h_hat": d_h_hat,
        "w_o": d_o @ h_hat.T,
        "b_o": d_o.sum(1, keepdims=True),  # over the one column of the lecture, d_o itself
        "h": d_h,
        "w_h": d_h @ value["i"].T,
        "b_h": d_h.sum(1, keepdims=True),
        "i": value["w_h"].T @ d_h,
    }
    return node, loss, by_hand


@pytest.mark.parametrize("n", [1, 5])
def test_every_partial_derivative_of_the_column_network(session, rng, n):
    node, loss, by_hand = column_network(rng, n)
    got = session.run({name: tf.gradients(loss, node[name])[0] for name in by_hand})
    for name, derivative in by_hand.items():
        assert_same(got[name], derivative)
    gradient_check(loss, *(node[name] for name in ("w_h", "b_h", "w_o", "b_o", "i")))


def test_bias_gradients_of_one_sample_are_the_gradients_of_the_layers(session, rng):
    node, loss, _ = column_network(rng, 1)
    d_o, d_b_o, d_h, d_b_h = session.run(
        tf.gradients(loss, [node["o"], node["b_o"], node["h"], node["b_h"]])
    )
    assert_same(d_b_o, d_o)
    assert_same(d_b_h, d_h)


def test_rows_and_columns_are_the_same_network_transposed(session, rng):
    x, w, b, y = rng.randn(5, 3), rng.randn(3, 2), rng.randn(2), rng.randn(5, 2)
    weights, bias = tf.constant(w), tf.constant(b)
    rows = tf.reduce_sum((tf.matmul(x, weights) + bias - y) ** 2) / 2
    weights_t, bias_t = tf.constant(w.T), tf.constant(b[:, np.newaxis])
    columns = tf.reduce_sum((tf.matmul(weights_t, x.T) + bias_t - y.T) ** 2) / 2
    rows, dw, db = session.run([rows, *tf.gradients(rows, [weights, bias])])
    columns, dw_t, db_t = session.run([columns, *tf.gradients(columns, [weights_t, bias_t])])
    assert_same(rows, columns)
    assert_same(dw, dw_t.T)
    assert_same(db, db_t[:, 0])


def test_matrix_product_of_cs231n(session, rng):
    w, x = rng.randn(5, 10), rng.randn(10, 3)
    weights, inputs = tf.constant(w), tf.constant(x)
    d = weights @ inputs
    d_d = rng.randn(*d.shape.as_list())
    dw, dx = session.run(tf.gradients(d, [weights, inputs], grad_ys=tf.constant(d_d)))
    assert_same(session.run(d), w.dot(x))
    assert_same(dw, d_d.dot(x.T))
    assert_same(dx, w.T.dot(d_d))
    gradient_check(d, weights, inputs)


# Jacobians, and the derivative of a matrix by a matrix


def test_jacobian_of_a_composition_is_the_product_of_the_jacobians(session, rng):
    a, b = rng.randn(4, 3), rng.randn(2, 4)
    v = rng.randn(3)
    x = tf.constant(v)
    g = tf.tanh(tf.reduce_sum(a * x, 1))
    f = tf.reduce_sum(b * g**2, 1)
    j_f, j_g, j_h = session.run([jacobian(f, g), jacobian(g, x), jacobian(f, x)])
    gv = np.tanh(a @ v)
    assert_same(j_g, (1 - gv**2)[:, np.newaxis] * a)
    assert_same(j_f, b * 2 * gv)
    assert_same(j_h, j_f @ j_g)
    gradient_check(f, g, x)


def matrix_by_matrix(c, a):
    """dc[i,j]/da[k,l]: [2, 2, 2, 2]."""
    return tf.stack([tf.stack([tf.gradients(c[i, j], a)[0] for j in range(2)]) for i in range(2)])


def dc_da_of_the_slide(b):
    row = b[:, 0], b[:, 1]
    zero = np.zeros(2)
    return np.array(
        [
            [[row[0], zero], [row[1], zero]],
            [[zero, row[0]], [zero, row[1]]],
        ]
    )


def test_matrix_by_matrix_derivative_is_a_tensor_of_four_indices(session, rng):
    b = rng.randn(2, 2)
    a = tf.constant(rng.randn(2, 2))
    c = tf.matmul(a, b)
    assert_same(session.run(matrix_by_matrix(c, a)), dc_da_of_the_slide(b))
    gradient_check(c, a)


def test_scalar_loss_skips_the_tensor_of_four_indices(session, rng):
    b, d_c = rng.randn(2, 2), rng.randn(2, 2)
    (alpha, beta), (gamma, eta) = d_c
    a = tf.constant(rng.randn(2, 2))
    c = tf.matmul(a, b)
    loss = tf.reduce_sum(d_c * c)
    dl_dc, dl_da, dc_da = session.run([*tf.gradients(loss, [c, a]), matrix_by_matrix(c, a)])
    assert_same(dl_dc, d_c)
    assert_same(dl_da, np.einsum("ij,ijkl->kl", d_c, dc_da))
    assert_same(dl_da, d_c @ b.T)
    assert_same(
        dl_da,
        [
            [alpha * b[0, 0] + beta * b[0, 1], alpha * b[1, 0] + beta * b[1, 1]],
            [gamma * b[0, 0] + eta * b[0, 1], gamma * b[1, 0] + eta * b[1, 1]],
        ],
    )
    gradient_check(loss, a)


@headrace_only  # an extension: TensorFlow 1 has no public function for it
def test_jacobian_has_the_indices_of_y_and_then_those_of_x(session, rng):
    b = rng.randn(2, 2)
    a = tf.constant(rng.randn(2, 2))
    j = tf.jacobian(tf.matmul(a, b), a)
    assert j.shape.as_list() == [2, 2, 2, 2]
    assert_same(session.run(j), dc_da_of_the_slide(b))


@headrace_only
def test_jacobian_of_vectors_is_the_stack_of_the_gradients(session, rng):
    weights = rng.randn(4, 3)
    x = tf.constant(rng.randn(3))
    y = tf.tanh(tf.reduce_sum(weights * x, 1))
    assert_same(*session.run([tf.jacobian(y, x), jacobian(y, x)]))


# The lecture's interface for a new node


def sigmoid_forward_pass(inputs):
    return 1.0 / (1 + np.exp(-inputs))


def sigmoid_backward_pass(inputs, incoming_gradient):
    sigmoid = 1.0 / (1 + np.exp(-inputs))
    return sigmoid * (1 - sigmoid) * incoming_gradient


def dense_forward_pass(X, W):
    return X.dot(W)


def dense_backward_pass(X, W, dZ):
    dX = dZ.dot(W.T)
    dW = X.T.dot(dZ)
    return dX, dW


@headrace_only
def test_sigmoid_node_of_the_slide_is_like_the_built_in_one(session, rng):
    node = tf.numpy_op(sigmoid_forward_pass, sigmoid_backward_pass)
    s = tf.constant(rng.randn(2, 3))
    incoming_gradient = tf.constant(rng.randn(2, 3))
    z, built_in = node(s), tf.sigmoid(s)
    for _ in range(4):
        assert_same(*session.run([z, built_in]))
        assert_same(
            *session.run([tf.gradients(y, s, grad_ys=incoming_gradient)[0] for y in (z, built_in)])
        )


@headrace_only
def test_dense_layer_of_the_slide_is_like_the_built_in_one(session, rng):
    dense = tf.numpy_op(dense_forward_pass, dense_backward_pass)
    x, w = tf.constant(rng.randn(5, 3)), tf.constant(rng.randn(3, 2))
    incoming_gradient = tf.constant(rng.randn(5, 2))
    z, built_in = dense(x, w), tf.matmul(x, w)
    for _ in range(4):
        assert_same(*session.run([z, built_in]))
        got, want = session.run(
            [tf.gradients(y, [x, w], grad_ys=incoming_gradient) for y in (z, built_in)]
        )
        assert_same(got[0], want[0])
        assert_same(got[1], want[1])


@headrace_only
def test_gradient_check_passes_for_the_nodes_of_the_slides(rng):
    s = tf.constant(rng.randn(2, 3))
    z = tf.numpy_op(sigmoid_forward_pass, sigmoid_backward_pass)(s)
    assert tf.test.compute_gradient_error(s, [2, 3], z, [2, 3], delta=1e-5) < 1e-8
    x, w = tf.constant(rng.randn(5, 3)), tf.constant(rng.randn(3, 2))
    z = tf.numpy_op(dense_forward_pass, dense_backward_pass)(x, w)
    assert tf.test.compute_gradient_error(x, [5, 3], z, [5, 2], delta=1e-5) < 1e-8
    assert tf.test.compute_gradient_error(w, [3, 2], z, [5, 2], delta=1e-5) < 1e-8


@headrace_only
def test_gradient_check_finds_a_wrong_backward_pass(rng):
    def forgets_the_incoming_gradient(inputs, incoming_gradient):
        return sigmoid_backward_pass(inputs, np.ones_like(incoming_gradient))

    s = tf.constant(rng.randn(2, 3))
    z = 3 * tf.numpy_op(sigmoid_forward_pass, forgets_the_incoming_gradient)(s)
    z.set_shape([2, 3])
    assert tf.test.compute_gradient_error(s, [2, 3], z, [2, 3], delta=1e-5) > 0.1


@headrace_only
def test_nodes_of_the_slides_train_a_network_like_the_built_in_ones(session, rng):
    sigmoid_node = tf.numpy_op(sigmoid_forward_pass, sigmoid_backward_pass)
    dense_node = tf.numpy_op(dense_forward_pass, dense_backward_pass)
    x, y = tf.constant(rng.randn(8, 3)), tf.constant(rng.randn(8, 1))
    initial = rng.randn(3, 4), rng.randn(4, 1)

    def train(dense, activation):
        w1, w2 = (tf.Variable(w) for w in initial)
        loss = tf.reduce_mean((dense(activation(dense(x, w1)), w2) - y) ** 2)
        step = tf.train.GradientDescentOptimizer(0.1).minimize(loss)
        session.run(tf.global_variables_initializer())
        return [session.run([step, loss])[1] for _ in range(6)]

    assert_same(train(dense_node, sigmoid_node), train(tf.matmul, tf.sigmoid))


@headrace_only
def test_float32_stays_float32_through_a_numpy_node(session):
    s = tf.constant([0.0, 1.0])
    z = tf.numpy_op(sigmoid_forward_pass, sigmoid_backward_pass)(s)
    assert z.dtype == tf.float32
    value, ds = session.run([z, tf.gradients(z, s)[0]])
    assert value.dtype == np.float32
    assert ds.dtype == np.float32
