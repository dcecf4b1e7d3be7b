"""Whole programs in headrace and in TensorFlow: from the same seeds, the same way through training.

A program is a function of the module, and returns what is to be the same.
"""

import numpy as np
import pytest

STEPS = 10


def trajectory(tf, step, loss, feeds=None):
    """The variables after initialisation; then the loss before, the variables after each step.

    Two runs, as in one TensorFlow may compute the loss from variables half updated.
    """
    feeds = feeds or [None] * STEPS
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        states = []
        for feed in [None, *feeds]:
            state = {}
            if states:
                state["loss"] = session.run(loss, feed)
                session.run(step, feed)
            state |= session.run({v.name: v for v in tf.global_variables()})
            states.append(state)
    return states


def samples(n, features, classes=2):
    rng = np.random.RandomState(0)
    x = rng.randn(n, features).astype(np.float32)
    return x, (x @ rng.randn(features, classes)).argmax(1)


def batches(size, *arrays):
    """A feed of each step, taken from arrays by key, of rows drawn at random."""
    rng = np.random.RandomState(1)
    for _ in range(STEPS):
        rows = rng.randint(len(arrays[0][1]), size=size)
        yield {key: array[rows] for key, array in arrays}


# Programs


def logistic_regression(tf):
    tf.set_random_seed(42)
    data, labels = samples(100, 5)
    x, y = tf.placeholder(tf.float32, (None, 5)), tf.placeholder(tf.float32, (None, 1))
    w = tf.get_variable("w", (5, 1))
    b = tf.get_variable("b", (1,), initializer=tf.zeros_initializer())
    loss = tf.reduce_mean(tf.nn.sigmoid_cross_entropy_with_logits(labels=y, logits=x @ w + b))
    step = tf.train.GradientDescentOptimizer(0.5).minimize(loss)
    feeds = list(batches(20, (x, data), (y, labels[:, np.newaxis])))
    return trajectory(tf, step, loss, feeds)


def perceptron(tf):
    tf.set_random_seed(42)
    data, labels = samples(100, 8, 3)
    x, y = tf.placeholder(tf.float32, (None, 8)), tf.placeholder(tf.int64, (None,))
    h = x
    for i, (n, m) in enumerate([(8, 16), (16, 12)]):
        with tf.variable_scope(f"hidden{i + 1}"):
            w = tf.get_variable("kernel", (n, m))
            b = tf.get_variable("bias", (m,), initializer=tf.zeros_initializer())
            h = tf.nn.relu(tf.nn.bias_add(tf.matmul(h, w), b))
    logits = tf.matmul(h, tf.get_variable("out", (12, 3)))
    loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels=y, logits=logits))
    accuracy = tf.reduce_mean(tf.cast(tf.equal(tf.argmax(logits, 1), y), tf.float32))
    step = tf.train.AdamOptimizer(0.01).minimize(loss, tf.train.get_or_create_global_step())
    feeds = list(batches(32, (x, data), (y, labels)))
    return trajectory(tf, step, [loss, accuracy], feeds)


def dropout(tf):
    tf.set_random_seed(42)
    data, labels = samples(100, 8, 3)
    x, y = tf.placeholder(tf.float32, (None, 8)), tf.placeholder(tf.int32, (None,))
    keep = tf.placeholder_with_default(0.8, ())
    w1 = tf.Variable(tf.truncated_normal((8, 16), stddev=0.3))
    w2 = tf.Variable(tf.random_normal((16, 3), stddev=0.3))
    h = tf.nn.dropout(tf.nn.elu(tf.matmul(tf.nn.dropout(x, keep), w1)), keep)
    loss = tf.reduce_mean(
        tf.nn.softmax_cross_entropy_with_logits_v2(labels=tf.one_hot(y, 3), logits=tf.matmul(h, w2))
    )
    step = tf.train.MomentumOptimizer(0.1, 0.9).minimize(loss)
    return trajectory(tf, step, loss, list(batches(32, (x, data), (y, labels))))


def normalised_by_batches(tf):
    tf.set_random_seed(42)
    data, labels = samples(100, 8, 3)
    x, y = tf.placeholder(tf.float32, (None, 8)), tf.placeholder(tf.int64, (None,))
    h = tf.matmul(x, tf.get_variable("w1", (8, 16)))
    mean, variance = tf.nn.moments(h, [0])
    moving = tf.get_variable(
        "moving_mean", (16,), initializer=tf.zeros_initializer(), trainable=False
    )
    tf.add_to_collection(tf.GraphKeys.UPDATE_OPS, tf.assign_sub(moving, 0.1 * (moving - mean)))
    gamma = tf.get_variable("gamma", (16,), initializer=tf.ones_initializer())
    beta = tf.get_variable("beta", (16,), initializer=tf.zeros_initializer())
    h = tf.nn.leaky_relu(tf.nn.batch_normalization(h, mean, variance, beta, gamma, 1e-3))
    logits = tf.matmul(h, tf.get_variable("w2", (16, 3)))
    loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels=y, logits=logits))
    with tf.control_dependencies(tf.get_collection(tf.GraphKeys.UPDATE_OPS)):
        step = tf.train.RMSPropOptimizer(0.01).minimize(loss)
    return trajectory(tf, step, loss, list(batches(32, (x, data), (y, labels))))


def skip_gram(tf, optimizer):
    tf.set_random_seed(42)
    rng = np.random.RandomState(0)
    words, context = tf.placeholder(tf.int32, (None,)), tf.placeholder(tf.int32, (None,))
    table = tf.Variable(tf.random_uniform((30, 8), -1, 1), name="table")
    weights = tf.Variable(tf.truncated_normal((30, 8), stddev=0.4), name="weights")
    biases = tf.Variable(tf.zeros((30,)), name="biases")
    embedded = tf.nn.embedding_lookup(table, words)
    logits = tf.matmul(embedded, weights, transpose_b=True) + biases
    loss = tf.reduce_mean(
        tf.nn.sparse_softmax_cross_entropy_with_logits(labels=context, logits=logits)
    )
    step = {
        "Adagrad": tf.train.AdagradOptimizer(0.5),
        "Momentum": tf.train.MomentumOptimizer(0.5, 0.9),
        "Adam": tf.train.AdamOptimizer(0.1),
    }[optimizer].minimize(loss)
    drawn = rng.zipf(1.5, 200) % 30
    feeds = list(batches(16, (words, drawn), (context, np.roll(drawn, 1))))
    return trajectory(tf, step, loss, feeds)


def tied_embeddings(tf):
    # The table gets a sparse gradient by the look-up and a dense one by the product.
    tf.set_random_seed(42)
    table = tf.get_variable("table", (12, 5))
    words = tf.constant([[1, 2, 3], [3, 3, 7]])
    h = tf.reduce_mean(tf.nn.embedding_lookup(table, words), 1)
    loss = tf.reduce_mean(
        tf.nn.sparse_softmax_cross_entropy_with_logits(
            labels=[4, 8], logits=tf.matmul(h, table, transpose_b=True)
        )
    )
    return trajectory(tf, tf.train.AdamOptimizer(0.05).minimize(loss), loss)


def matrix_factorisation(tf):
    tf.set_random_seed(42)
    rng = np.random.RandomState(0)
    rows, columns = (tf.placeholder(tf.int32, (None,)) for _ in range(2))
    ratings = tf.placeholder(tf.float32, (None,))
    # TensorFlow 2.21 calls the regularizer twice, which would shift the seed of what comes after.
    initial = [tf.random_normal((n, 3), stddev=0.5) for n in (10, 8)]
    with tf.variable_scope("model", regularizer=tf.nn.l2_loss):
        u, v = (tf.get_variable(n, initializer=x) for n, x in zip("uv", initial, strict=True))
    predicted = tf.reduce_sum(tf.gather(u, rows) * tf.gather(v, columns), 1)
    penalty = tf.add_n(tf.get_collection(tf.GraphKeys.REGULARIZATION_LOSSES))
    loss = tf.reduce_mean(tf.abs(predicted - ratings)) + 0.01 * penalty
    step = tf.train.FtrlOptimizer(0.1).minimize(loss)
    data = rng.randint(10, size=200), rng.randint(8, size=200), rng.randn(200)
    feeds = list(batches(20, *zip((rows, columns, ratings), data, strict=True)))
    return trajectory(tf, step, loss, feeds)


def physics_informed_network(tf):
    # The heat equation u_t = u_xx, by collocation
    tf.set_random_seed(42)
    rng = np.random.RandomState(0)
    x, t = (tf.constant(rng.rand(40, 1).astype(np.float32)) for _ in range(2))
    h = tf.concat([x, t], 1)
    for n, m in [(2, 10), (10, 10), (10, 1)]:
        w = tf.Variable(tf.random_normal((n, m), stddev=np.sqrt(2 / (n + m))))
        b = tf.Variable(tf.zeros((1, m)))
        h = tf.matmul(h, w) + b
        h = tf.tanh(h) if m > 1 else h
    u_t = tf.gradients(h, t)[0]
    u_x = tf.gradients(h, x)[0]
    u_xx = tf.gradients(u_x, x)[0]
    loss = tf.reduce_mean(tf.square(u_t - u_xx)) + tf.reduce_mean(tf.square(h - tf.sin(np.pi * x)))
    return trajectory(tf, tf.train.AdamOptimizer(0.01).minimize(loss), loss)


def critic_with_gradient_penalty(tf):
    tf.set_random_seed(42)
    rng = np.random.RandomState(0)
    real = tf.constant(rng.randn(16, 2).astype(np.float32) + 2)
    noise = tf.random_uniform((16, 3), -1, 1)
    with tf.variable_scope("generator"):
        h = tf.nn.tanh(tf.matmul(noise, tf.get_variable("w1", (3, 8))))
        fake = tf.matmul(h, tf.get_variable("w2", (8, 2)))

    def critic(x):
        with tf.variable_scope("critic", reuse=tf.AUTO_REUSE):
            h = tf.nn.softplus(tf.matmul(x, tf.get_variable("w1", (2, 8))))
            return tf.matmul(h, tf.get_variable("w2", (8, 1)))

    mix = tf.random_uniform((16, 1))
    between = mix * real + (1 - mix) * fake
    slopes = tf.sqrt(tf.reduce_sum(tf.square(tf.gradients(critic(between), between)[0]), 1))
    penalty = tf.reduce_mean((slopes - 1) ** 2)
    d_loss = tf.reduce_mean(critic(fake)) - tf.reduce_mean(critic(real)) + 10 * penalty
    g_loss = -tf.reduce_mean(critic(fake))
    d_vars = [v for v in tf.trainable_variables() if "critic" in v.name]
    g_vars = [v for v in tf.trainable_variables() if "generator" in v.name]
    optimizer = tf.train.AdamOptimizer(0.01, beta1=0.5, beta2=0.9)
    d_step = optimizer.minimize(d_loss, var_list=d_vars)
    g_step = optimizer.minimize(g_loss, var_list=g_vars)
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        states = []
        for _ in range(STEPS):
            states.append([session.run([d_loss, g_loss])])
            session.run(d_step)
            session.run(g_step)
            states[-1] += session.run(tf.global_variables())
    return states


def recurrent_network_by_hand(tf):
    tf.set_random_seed(42)
    rng = np.random.RandomState(0)
    x, y = tf.placeholder(tf.float32, (None, 6, 2)), tf.placeholder(tf.float32, (None,))
    state = tf.zeros((tf.shape(x)[0], 5))
    for inputs in tf.unstack(x, axis=1):
        with tf.variable_scope("cell", reuse=tf.AUTO_REUSE):
            w = tf.get_variable("kernel", (7, 5))
            b = tf.get_variable("bias", (5,), initializer=tf.constant_initializer(0.1))
            state = tf.tanh(tf.matmul(tf.concat([inputs, state], 1), w) + b)
    error = tf.reduce_sum(state, 1) - y
    huber = tf.where(tf.abs(error) < 1, error**2 / 2, tf.abs(error) - 0.5)
    loss = tf.reduce_mean(huber)
    global_step = tf.train.get_or_create_global_step()
    rate = tf.train.piecewise_constant(global_step, [3, 6], [0.2, 0.1, 0.05])
    optimizer = tf.train.GradientDescentOptimizer(rate)
    gradients, variables = zip(*optimizer.compute_gradients(loss), strict=True)
    clipped, _ = tf.clip_by_global_norm(gradients, 0.5)
    step = optimizer.apply_gradients(zip(clipped, variables, strict=True), global_step)
    data = rng.randn(50, 6, 2), rng.randn(50)
    return trajectory(tf, step, loss, list(batches(10, (x, data[0]), (y, data[1]))))


def batches_shuffled_in_the_graph(tf):
    tf.set_random_seed(42)
    data, labels = samples(30, 4)
    order = tf.random_shuffle(tf.range(30))[:8]
    x, y = tf.gather(data, order), tf.cast(tf.gather(labels, order), tf.float32)
    w = tf.Variable(tf.random_uniform((4,), seed=3))
    b = tf.Variable(0.0)
    margin = (2 * y - 1) * (tf.reduce_sum(x * w, 1) + b)
    loss = tf.reduce_mean(tf.maximum(0.0, 1 - margin)) + 0.01 * tf.nn.l2_loss(w)
    return trajectory(tf, tf.train.AdagradOptimizer(0.3).minimize(loss), loss)


def attention(tf):
    tf.set_random_seed(42)
    rng = np.random.RandomState(0)
    x = tf.constant(rng.randn(3, 4, 6).astype(np.float32))
    q, k, v = (
        tf.tensordot(x, tf.get_variable(name, (6, 5)), [[2], [0]]) for name in ("q", "k", "v")
    )
    scores = tf.matmul(q, k, transpose_b=True) / np.sqrt(5).astype(np.float32)
    mask = tf.matrix_band_part(tf.ones((4, 4)), -1, 0)
    weights = tf.nn.softmax(scores - 1e9 * (1 - mask))
    out = tf.einsum("bij,bjk->bik", weights, v)
    mean, variance = tf.nn.moments(out, [-1], keep_dims=True)
    out = (out - mean) * tf.rsqrt(variance + 1e-6)
    loss = tf.reduce_mean(tf.square(out - rng.randn(3, 4, 5).astype(np.float32)))
    return trajectory(tf, tf.train.AdamOptimizer(0.02).minimize(loss), loss)


def triplets(tf):
    tf.set_random_seed(42)
    data, labels = samples(12, 6, 3)
    embedded = tf.nn.l2_normalize(tf.matmul(data, tf.get_variable("w", (6, 4))), 1)
    distance = 2 - 2 * tf.matmul(embedded, embedded, transpose_b=True)
    same = tf.cast(tf.equal(labels[:, np.newaxis], labels[np.newaxis, :]), tf.float32)
    furthest = tf.reduce_max(distance * same, 1)
    nearest = tf.reduce_min(distance + 4 * same, 1)
    loss = tf.reduce_mean(tf.nn.softplus(furthest - nearest))
    return trajectory(tf, tf.train.RMSPropOptimizer(0.01).minimize(loss), loss)


@pytest.mark.parametrize(
    "program",
    [
        logistic_regression,
        perceptron,
        dropout,
        normalised_by_batches,
        tied_embeddings,
        matrix_factorisation,
        physics_informed_network,
        critic_with_gradient_penalty,
        recurrent_network_by_hand,
        batches_shuffled_in_the_graph,
        attention,
        triplets,
    ],
)
def test_program(assert_alike, program):
    assert_alike(program)


@pytest.mark.parametrize("optimizer", ["Adagrad", "Momentum", "Adam"])
def test_skip_gram(assert_alike, optimizer):
    assert_alike(skip_gram, optimizer)


# Optimizers

OPTIMIZERS = {
    "GradientDescent": lambda tf: tf.train.GradientDescentOptimizer(0.1),
    "Momentum": lambda tf: tf.train.MomentumOptimizer(0.1, 0.9),
    "Nesterov": lambda tf: tf.train.MomentumOptimizer(0.1, 0.9, use_nesterov=True),
    "Adagrad": lambda tf: tf.train.AdagradOptimizer(0.3),
    "Adagrad from 0.5": lambda tf: tf.train.AdagradOptimizer(0.3, 0.5),
    "Adadelta": lambda tf: tf.train.AdadeltaOptimizer(1.0, 0.9, 1e-4),
    "default Adadelta": lambda tf: tf.train.AdadeltaOptimizer(),
    "RMSProp": lambda tf: tf.train.RMSPropOptimizer(0.1),
    "RMSProp with momentum": lambda tf: tf.train.RMSPropOptimizer(0.1, 0.8, 0.5, 1e-3),
    "centered RMSProp": lambda tf: tf.train.RMSPropOptimizer(0.1, centered=True),
    "centered RMSProp with momentum": lambda tf: tf.train.RMSPropOptimizer(
        0.1, momentum=0.5, centered=True
    ),
    "Adam": lambda tf: tf.train.AdamOptimizer(0.1),
    "Adam with a large epsilon": lambda tf: tf.train.AdamOptimizer(0.1, 0.5, 0.9, 0.1),
    "Ftrl": lambda tf: tf.train.FtrlOptimizer(0.5),
    "Ftrl with all its terms": lambda tf: tf.train.FtrlOptimizer(
        0.5,
        learning_rate_power=-0.6,
        initial_accumulator_value=0.2,
        l1_regularization_strength=0.05,
        l2_regularization_strength=0.02,
        l2_shrinkage_regularization_strength=0.01,
    ),
}


def dense_training(tf, optimizer, dtype, use_resource):
    w = tf.get_variable(
        "w",
        initializer=np.array([[1, -2, 0.5], [0.1, 0, 3]], dtype),
        use_resource=use_resource,
    )
    b = tf.get_variable("b", initializer=np.array([0.3], dtype), use_resource=use_resource)
    loss = tf.reduce_sum(tf.tanh(w) ** 4 + (w + 0.2) ** 2 / 2) + tf.reduce_sum(tf.cos(b))
    return trajectory(tf, OPTIMIZERS[optimizer](tf).minimize(loss), loss)


def sparse_training(tf, optimizer, dtype, use_resource):
    initial = np.linspace(-2, 2, 12).reshape(6, 2).astype(dtype)
    w = tf.get_variable("w", initializer=initial, use_resource=use_resource)
    rows = tf.placeholder(tf.int32, (None,))
    used = tf.nn.embedding_lookup(w, rows)
    loss = tf.reduce_sum(tf.tanh(used) ** 4 + (used + 0.2) ** 2 / 2)
    feeds = [{rows: [0, i % 3, 4]} for i in range(STEPS)]  # with repeated rows, never 3 and 5
    return trajectory(tf, OPTIMIZERS[optimizer](tf).minimize(loss), loss, feeds)


@pytest.mark.parametrize("use_resource", [False, True], ids=["ref", "resource"])
@pytest.mark.parametrize("training", [dense_training, sparse_training], ids=["dense", "sparse"])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_optimizer(assert_alike, optimizer, training, use_resource):
    assert_alike(training, optimizer, np.float32, use_resource)


@pytest.mark.parametrize("training", [dense_training, sparse_training], ids=["dense", "sparse"])
@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_optimizer_in_double_precision(assert_alike, optimizer, training):
    assert_alike(training, optimizer, np.float64, False, rtol=1e-12, atol=1e-14)


def fed_hyperparameters(tf, optimizer):
    rate, momentum = tf.placeholder(tf.float32, ()), tf.placeholder(tf.float32, ())
    w = tf.Variable([1.0, -2.0])
    loss = tf.reduce_sum(w**2)
    step = {
        "GradientDescent": lambda: tf.train.GradientDescentOptimizer(rate),
        "Momentum": lambda: tf.train.MomentumOptimizer(rate, momentum),
        "Adam": lambda: tf.train.AdamOptimizer(rate),
        "RMSProp": lambda: tf.train.RMSPropOptimizer(rate, momentum=momentum),
    }[optimizer]().minimize(loss)
    feeds = [{rate: 0.1 / (i + 1), momentum: 0.9 - i / 20} for i in range(STEPS)]
    return trajectory(tf, step, loss, feeds)


@pytest.mark.parametrize("optimizer", ["GradientDescent", "Momentum", "Adam", "RMSProp"])
def test_fed_hyperparameters(assert_alike, optimizer):
    assert_alike(fed_hyperparameters, optimizer)


def two_optimizers_of_one_kind(tf):
    a, b = tf.get_variable("a", initializer=1.0), tf.get_variable("b", initializer=2.0)
    loss = a**2 + b**2 + a * b
    with tf.name_scope("training"):
        first = tf.train.AdamOptimizer(0.1).minimize(loss, var_list=[a])
        second = tf.train.AdamOptimizer(0.2).minimize(loss, var_list=[a, b])
    return trajectory(tf, first, loss) + trajectory(tf, second, loss)


def test_two_optimizers_of_one_kind_keep_slots_of_their_own(assert_alike):
    assert_alike(two_optimizers_of_one_kind)


def slots(tf, optimizer):
    with tf.variable_scope("layer"):
        w = tf.get_variable("w", initializer=[1.0, 2.0])
    built = OPTIMIZERS[optimizer](tf)
    built.minimize(tf.reduce_sum(w**2))
    return [
        built.get_name(),
        built.get_slot_names(),
        [built.get_slot(w, name).name for name in built.get_slot_names()],
        [v.name for v in built.variables()],
        [v.name for v in tf.global_variables()],
        [v.name for v in tf.trainable_variables()],
    ]


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
def test_names_of_slots(assert_alike, optimizer):
    assert_alike(slots, optimizer)


# Learning-rate schedules

SCHEDULES = {
    "exponential": lambda tf, n: tf.train.exponential_decay(0.1, n, 5, 0.9),
    "exponential in stairs": lambda tf, n: tf.train.exponential_decay(0.1, n, 5, 0.9, True),
    "piecewise constant": lambda tf, n: tf.train.piecewise_constant(n, [3, 7], [0.1, 0.05, 0.01]),
    "polynomial": lambda tf, n: tf.train.polynomial_decay(0.1, n, 7, 0.01),
    "quadratic": lambda tf, n: tf.train.polynomial_decay(0.1, n, 7, 0.01, power=2.0),
    "polynomial in cycles": lambda tf, n: tf.train.polynomial_decay(0.1, n, 5, 0.01, cycle=True),
    "natural exponential": lambda tf, n: tf.train.natural_exp_decay(0.1, n, 5, 0.5),
    "natural exponential in stairs": lambda tf, n: tf.train.natural_exp_decay(
        0.1, n, 5, 0.5, staircase=True
    ),
    "inverse time": lambda tf, n: tf.train.inverse_time_decay(0.1, n, 5, 0.5),
    "inverse time in stairs": lambda tf, n: tf.train.inverse_time_decay(0.1, n, 5, 0.5, True),
    "cosine": lambda tf, n: tf.train.cosine_decay(0.1, n, 7),
    "cosine with a floor": lambda tf, n: tf.train.cosine_decay(0.1, n, 7, alpha=0.1),
    "cosine with restarts": lambda tf, n: tf.train.cosine_decay_restarts(0.1, n, 3),
    "cosine with restarts that shrink": lambda tf, n: tf.train.cosine_decay_restarts(
        0.1, n, 3, t_mul=1.5, m_mul=0.8, alpha=0.1
    ),
    "linear cosine": lambda tf, n: tf.train.linear_cosine_decay(0.1, n, 7),
    "linear cosine with several periods": lambda tf, n: tf.train.linear_cosine_decay(
        0.1, n, 7, num_periods=2, alpha=0.1, beta=0.01
    ),
}


def schedule(tf, name, dtype):
    n = tf.placeholder(dtype, ())
    rate = SCHEDULES[name](tf, n)
    with tf.Session() as session:
        return [session.run(rate, {n: i}) for i in range(13)]


@pytest.mark.parametrize("dtype", [np.int32, np.int64])
@pytest.mark.parametrize("name", SCHEDULES)
def test_schedule(assert_alike, name, dtype):
    assert_alike(schedule, name, dtype, rtol=1e-6, atol=1e-9)


# Moving averages


def moving_average(tf, decay, options, with_num_updates):
    v = tf.Variable([1.0, 2.0], name="v")
    w = tf.Variable(3.0, name="w", trainable=False)
    t = tf.multiply(v, 2.0, name="t")
    n = tf.Variable(0, name="n") if with_num_updates else None
    ema = tf.train.ExponentialMovingAverage(decay, num_updates=n, **options)
    grow = [v.assign_add([1.0, -1.0]), w.assign(w * 1.5)]
    if n is not None:
        grow.append(n.assign_add(1))
    with tf.control_dependencies(grow):
        step = tf.group(ema.apply([v, w]))
    tensors = tf.train.ExponentialMovingAverage(decay, num_updates=n)
    tensor_step = tensors.apply([t])
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        states = []
        for _ in range(STEPS):
            session.run(step)
            session.run(tensor_step)
            states.append(session.run([v, w, ema.average(v), ema.average(w), tensors.average(t)]))
        names = [ema.average(v).name, ema.average_name(w)]
        names += sorted(ema.variables_to_restore())
        names += [v.name for v in tf.moving_average_variables()]
        return [*states, *names, [v.name for v in tf.global_variables()]]


@pytest.mark.parametrize("with_num_updates", [False, True])
@pytest.mark.parametrize("options", [{}, {"zero_debias": True}, {"name": "Averages"}], ids=str)
@pytest.mark.parametrize("decay", [0.5, 0.99])
def test_moving_average(assert_alike, decay, options, with_num_updates):
    assert_alike(moving_average, decay, options, with_num_updates)


# Initialisers

INITIALIZERS = {
    "zeros": lambda tf: tf.zeros_initializer(),
    "ones": lambda tf: tf.ones_initializer(),
    "constant": lambda tf: tf.constant_initializer(0.3),
    "constant list": lambda tf: tf.constant_initializer(list(range(24))),
    "uniform": lambda tf: tf.random_uniform_initializer(-1, 2),
    "normal": lambda tf: tf.random_normal_initializer(1, 2),
    "truncated normal": lambda tf: tf.truncated_normal_initializer(0, 0.5),
    "uniform unit scaling": lambda tf: tf.uniform_unit_scaling_initializer(1.2),
    "variance scaling": lambda tf: tf.variance_scaling_initializer(),
    "variance scaling, average, uniform": lambda tf: tf.variance_scaling_initializer(
        2.0, "fan_avg", "uniform"
    ),
    "variance scaling, out, untruncated": lambda tf: tf.variance_scaling_initializer(
        2.0, "fan_out", "untruncated_normal"
    ),
    "glorot normal": lambda tf: tf.glorot_normal_initializer(),
    "glorot uniform": lambda tf: tf.glorot_uniform_initializer(),
    "he normal": lambda tf: tf.initializers.he_normal(),
    "lecun uniform": lambda tf: tf.initializers.lecun_uniform(),
    "identity": lambda tf: tf.initializers.identity(2.0),
    "seeded": lambda tf: tf.random_normal_initializer(seed=7),
}


def initialised(tf, name, shape):
    tf.set_random_seed(5)
    v = tf.get_variable("v", shape, initializer=INITIALIZERS[name](tf))
    w = tf.get_variable("w", shape, initializer=INITIALIZERS[name](tf))
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        return session.run([v, w])


@pytest.mark.parametrize("name", INITIALIZERS)
def test_initializer_of_a_matrix(assert_alike, name):
    assert_alike(initialised, name, (4, 6))


@pytest.mark.parametrize("shape", [(2, 3, 2, 2), (24,)], ids=str)
@pytest.mark.parametrize("name", sorted(INITIALIZERS.keys() - {"identity"}))
def test_initializer_of_other_ranks(assert_alike, name, shape):
    assert_alike(initialised, name, shape)
