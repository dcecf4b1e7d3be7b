"""Small programs whose way through training TensorFlow 2.21 (compat.v1, on a CPU) has gone before.

The numbers are TensorFlow's. Every random operation has a seed of its own, beside the graph's: how
an operation without one finds its seed changed between TensorFlow 1 and 2. `tf` may be TensorFlow
itself under our name.
"""

import numpy as np
import pytest

import headrace as tf

STEPS = 10


@pytest.fixture(autouse=True)
def session():
    tf.reset_default_graph()
    tf.set_random_seed(1234)
    with tf.Session() as session:
        yield session


def digits(n, features, classes):
    """Samples and labels that a network can learn: [n, features], [n]."""
    rng = np.random.RandomState(0)
    x = rng.randn(n, features).astype(np.float32)
    return x, (x @ rng.randn(features, classes)).argmax(1)


def train(session, step, loss, feeds=None):
    """The loss before each step."""
    session.run(tf.global_variables_initializer())
    return [session.run([loss, step], feeds)[0] for _ in range(STEPS)]


def assert_trajectory(losses, expected):
    np.testing.assert_allclose(losses, expected, rtol=1e-5)


def test_logistic_regression(session):
    data, labels = digits(40, 5, 2)
    x, y = tf.placeholder(tf.float32, (None, 5)), tf.placeholder(tf.float32, (None,))
    w = tf.get_variable("w", (5, 1), initializer=tf.glorot_uniform_initializer(seed=1))
    b = tf.Variable(tf.zeros((1,)))
    logits = tf.squeeze(tf.matmul(x, w) + b, 1)
    loss = tf.reduce_mean(tf.nn.sigmoid_cross_entropy_with_logits(labels=y, logits=logits))
    step = tf.train.GradientDescentOptimizer(0.5).minimize(loss)
    assert_trajectory(train(session, step, loss, {x: data, y: labels}), EXPECTED["logistic"])


def test_perceptron_with_adam(session):
    data, labels = digits(32, 8, 3)
    x, y = tf.placeholder(tf.float32, (None, 8)), tf.placeholder(tf.int64, (None,))
    with tf.variable_scope("mlp", initializer=tf.glorot_uniform_initializer(seed=2)):
        w1, w2 = tf.get_variable("w1", (8, 16)), tf.get_variable("w2", (16, 3))
    b1, b2 = tf.Variable(tf.zeros((16,))), tf.Variable(tf.zeros((3,)))
    logits = tf.matmul(tf.nn.relu(tf.matmul(x, w1) + b1), w2) + b2
    loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels=y, logits=logits))
    step = tf.train.AdamOptimizer(0.05).minimize(loss)
    assert_trajectory(train(session, step, loss, {x: data, y: labels}), EXPECTED["perceptron"])


def test_network_with_dropout(session):
    data, labels = digits(32, 8, 3)
    x, y = tf.placeholder(tf.float32, (None, 8)), tf.one_hot(labels, 3)
    w1 = tf.Variable(tf.truncated_normal((8, 16), stddev=0.3, seed=3))
    w2 = tf.Variable(tf.random_normal((16, 3), stddev=0.3, seed=4))
    hidden = tf.nn.dropout(tf.nn.tanh(tf.matmul(x, w1)), keep_prob=0.7, seed=5)
    logits = tf.matmul(hidden, w2)
    loss = tf.reduce_mean(tf.nn.softmax_cross_entropy_with_logits_v2(labels=y, logits=logits))
    step = tf.train.MomentumOptimizer(0.1, 0.9).minimize(loss)
    assert_trajectory(train(session, step, loss, {x: data}), EXPECTED["dropout"])


def test_noisy_inputs_and_a_decaying_rate(session):
    data, _ = digits(16, 4, 2)
    x = tf.constant(data) + tf.random_normal((16, 4), stddev=0.1, seed=6)
    w = tf.get_variable("w", (4, 2), initializer=tf.truncated_normal_initializer(seed=7))
    decoded = tf.matmul(tf.matmul(x, w), w, transpose_b=True)
    loss = tf.reduce_sum((decoded - data) ** 2) / 2 / 16
    global_step = tf.train.get_or_create_global_step()
    rate = tf.train.exponential_decay(0.05, global_step, 3, 0.5, staircase=True)
    step = tf.train.RMSPropOptimizer(rate, momentum=0.5).minimize(loss, global_step)
    assert_trajectory(train(session, step, loss), EXPECTED["noise"])
    assert session.run(rate) == np.float32(0.05 / 8)


@pytest.mark.parametrize("optimizer", ["Adagrad", "Momentum", "Adam"])
def test_word_embeddings_by_sparse_gradients(session, optimizer):
    rng = np.random.RandomState(0)
    words, next_words = rng.randint(20, size=(2, 12))
    x, y = tf.placeholder(tf.int32, (None,)), tf.placeholder(tf.int32, (None,))
    table = tf.Variable(tf.random_uniform((20, 6), -1, 1, seed=8))
    weights = tf.Variable(tf.truncated_normal((20, 6), stddev=0.4, seed=9))
    logits = tf.matmul(tf.nn.embedding_lookup(table, x), weights, transpose_b=True)
    loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels=y, logits=logits))
    step = {
        "Adagrad": tf.train.AdagradOptimizer(0.5),
        "Momentum": tf.train.MomentumOptimizer(0.5, 0.9),
        "Adam": tf.train.AdamOptimizer(0.1),
    }[optimizer].minimize(loss)
    losses = train(session, step, loss, {x: words, y: next_words})
    assert_trajectory(losses, EXPECTED[f"embedding {optimizer}"])


def test_physics_informed_network_with_second_derivatives(session):
    # u'' + u = 0, u(0) = 0, u'(0) = 1, by collocation
    t = tf.constant(np.linspace(0, 2, 15, dtype=np.float32)[:, np.newaxis])
    w1 = tf.Variable(tf.random_normal((1, 10), seed=10))
    b1 = tf.Variable(tf.zeros((10,)))
    w2 = tf.Variable(tf.random_normal((10, 1), stddev=0.3, seed=11))
    u = tf.matmul(tf.tanh(tf.matmul(t, w1) + b1), w2)
    du = tf.gradients(u, t)[0]
    d2u = tf.gradients(du, t)[0]
    loss = tf.reduce_mean(tf.square(d2u + u)) + u[0, 0] ** 2 + (du[0, 0] - 1) ** 2
    step = tf.train.AdamOptimizer(0.05).minimize(loss)
    assert_trajectory(train(session, step, loss), EXPECTED["pinn"])


OPTIMIZERS = {
    "GradientDescent": lambda: tf.train.GradientDescentOptimizer(0.1),
    "Momentum": lambda: tf.train.MomentumOptimizer(0.1, 0.9),
    "Nesterov": lambda: tf.train.MomentumOptimizer(0.1, 0.9, use_nesterov=True),
    "Adagrad": lambda: tf.train.AdagradOptimizer(0.1),
    "Adadelta": lambda: tf.train.AdadeltaOptimizer(1.0, 0.9, 1e-4),
    "RMSProp": lambda: tf.train.RMSPropOptimizer(0.1, momentum=0.5),
    "centered RMSProp": lambda: tf.train.RMSPropOptimizer(0.1, centered=True),
    "Adam": lambda: tf.train.AdamOptimizer(0.1),
    "Ftrl": lambda: tf.train.FtrlOptimizer(0.5, l1_regularization_strength=0.1),
}


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_optimizer_on_a_dense_variable(session, optimizer):
    w = tf.Variable([1.0, -2.0, 0.5])
    step = OPTIMIZERS[optimizer]().minimize(tf.reduce_sum(w**4 / 4 + w))
    session.run(tf.global_variables_initializer())
    for _ in range(STEPS):
        session.run(step)
    np.testing.assert_allclose(session.run(w), EXPECTED[f"dense {optimizer}"], rtol=1e-5)


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_optimizer_on_a_sparse_variable(session, optimizer):
    w = tf.Variable([[1.0], [-2.0], [0.5], [3.0]])
    rows = tf.placeholder(tf.int32, (None,))
    used = tf.gather(w, rows)
    step = OPTIMIZERS[optimizer]().minimize(tf.reduce_sum(used**4 / 4 + used))
    session.run(tf.global_variables_initializer())
    for i in range(STEPS):
        session.run(step, {rows: [0, 2, 0] if i % 2 else [1, 2]})
    value = session.run(w)[:, 0]
    np.testing.assert_allclose(value, EXPECTED[f"sparse {optimizer}"], rtol=1e-5)
    assert value[3] == 3  # never looked up


# fmt: off
EXPECTED = {
    "logistic": [
        1.311808, 1.144099, 0.9976648, 0.87334, 0.7705561,
        0.6873389, 0.620752, 0.5675603, 0.5247882, 0.489988,
    ],
    "perceptron": [
        1.176524, 0.8938712, 0.7236722, 0.6007355, 0.4952161,
        0.4060383, 0.3332025, 0.2716197, 0.2167958, 0.1689612,
    ],
    "dropout": [
        1.314777, 1.096311, 1.046518, 0.9380109, 0.8071151,
        0.6105056, 0.5467938, 0.5055743, 0.3557846, 0.4148708,
    ],
    "noise": [
        2.976974, 1.783889, 1.233606, 1.060099, 1.014739,
        0.9985318, 0.9704447, 0.9541344, 0.9443491, 0.9272647,
    ],
    "embedding Adagrad": [
        3.021294, 2.668589, 2.356316, 2.067796, 1.799117,
        1.553209, 1.335185, 1.147823, 0.9896416, 0.8566847,
    ],
    "embedding Momentum": [
        3.021294, 2.905094, 2.69306, 2.408923, 2.077437,
        1.725317, 1.383109, 1.08503, 0.8567132, 0.6913082,
    ],
    "embedding Adam": [
        3.021294, 2.548975, 2.13539, 1.768103, 1.438564,
        1.149326, 0.9097455, 0.7245982, 0.5857257, 0.4776807,
    ],
    "pinn": [
        2.460621, 0.9949973, 0.329772, 0.2156396, 0.3687365,
        0.5468171, 0.6378556, 0.6306987, 0.5570691, 0.4564967,
    ],
    "dense GradientDescent": [-0.2029211, -1.008222, -0.5094149],
    "dense Momentum": [-0.7629156, -0.1044679, -0.9046793],
    "dense Nesterov": [-0.9366282, -0.98013, -0.9505258],
    "dense Adagrad": [0.5568383, -1.582148, 0.01930161],
    "dense Adadelta": [0.7042141, -1.715916, 0.1768386],
    "dense RMSProp": [-0.8311521, -0.9629207, -1.046134],
    "dense centered RMSProp": [-0.2002012, -1.089164, -0.6181332],
    "dense Adam": [0.04625043, -1.116812, -0.4933614],
    "dense Ftrl": [-0.9307995, -1.034283, -0.9999399],
    "sparse GradientDescent": [-0.2528996, -1.052028, -0.5094149, 3.0],
    "sparse Momentum": [-1.720009, 0.7517611, -0.9046793, 3.0],
    "sparse Nesterov": [-1.031382, 0.1922613, -0.9505258, 3.0],
    "sparse Adagrad": [0.7024553, -1.710564, 0.01930163, 3.0],
    "sparse Adadelta": [0.8445956, -1.84651, 0.1768386, 3.0],
    "sparse RMSProp": [-0.2825868, -0.9756252, -1.046134, 3.0],
    "sparse centered RMSProp": [0.1522002, -1.269811, -0.6181331, 3.0],
    "sparse Adam": [0.3977916, -1.314144, -0.4933614, 3.0],
    "sparse Ftrl": [-0.3673042, -1.117925, -0.9999398, 3.0],
}
