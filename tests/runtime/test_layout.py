"""How XLA is led: weights updated in place, wide products apart, tall matrices turned."""

import re

import jax
import numpy as np
import pytest

import headrace as tf
from headrace.runtime import in_place
from headrace.xp import turned, xla

WIDTH, BATCH, LAYERS = 128, 64, 3  # products of 2 MFLOP


@pytest.fixture
def texts(monkeypatch):
    """A list that grows by the optimised text of every computation compiled."""
    made = []
    compile_ = jax.stages.Lowered.compile

    def noted(self, *args, **kwargs):
        compiled = compile_(self, *args, **kwargs)
        made.append(compiled.as_text())
        return compiled

    monkeypatch.setattr(jax.stages.Lowered, "compile", noted)
    return made


def network(optimizer):
    """Fetches of a training step and what it is fed."""
    rng = np.random.RandomState(7)
    x = tf.placeholder(tf.float32, (None, WIDTH))
    h = x
    for i in range(LAYERS):
        start = (rng.randn(WIDTH, WIDTH) / WIDTH**0.5).astype(np.float32)
        h = tf.nn.relu(h @ tf.get_variable(f"w{i}", initializer=start))
    loss = tf.reduce_mean(tf.square(h - 1))
    return [optimizer.minimize(loss), loss], {x: rng.randn(BATCH, WIDTH)}


def losses(optimizer, steps=5):
    with tf.Graph().as_default(), tf.Session() as sess:
        fetches, feeds = network(optimizer())
        sess.run(tf.global_variables_initializer())
        return [sess.run(fetches, feeds)[1] for _ in range(steps)]


def copies_of_weights(text):
    return re.findall(rf"= f32\[{WIDTH},{WIDTH}\]\S* copy\(", text)


@pytest.mark.parametrize(
    "optimizer",
    [
        lambda: tf.train.GradientDescentOptimizer(0.1),
        lambda: tf.train.AdamOptimizer(),
        lambda: tf.train.MomentumOptimizer(0.1, 0.9),
    ],
)
def test_weights_are_updated_without_a_copy(texts, optimizer, monkeypatch):
    in_order = losses(optimizer)
    assert copies_of_weights(texts[-1]) == []
    monkeypatch.setattr(in_place.Order, "settle", lambda *_: None)
    assert losses(optimizer) == in_order  # to the bit
    assert len(copies_of_weights(texts[-1])) == LAYERS - 1  # what there would be without


def test_weights_that_are_read_after_their_update_are_right(texts):
    """A copy is due here: the old value is fetched beside the new one."""
    with tf.Graph().as_default() as graph, tf.Session() as sess:
        fetches, feeds = network(tf.train.GradientDescentOptimizer(0.1))
        w = graph.get_tensor_by_name("w1/read:0")
        sess.run(tf.global_variables_initializer())
        (now,) = sess.run(["w1:0"])
        for _ in range(5):
            before = now
            _, _, old, now = sess.run([*fetches, w, "w1:0"], feeds)
            np.testing.assert_array_equal(old, before)
            assert (now != before).any()


def test_wide_products_with_a_turned_operand_are_branches(texts, monkeypatch):
    rng = np.random.RandomState(1)
    x = tf.placeholder(tf.float32, (BATCH, WIDTH))
    h = tf.nn.relu(x)
    product = tf.matmul(h, h + 1.0, transpose_a=True)
    feeds = {x: rng.randn(BATCH, WIDTH).astype(np.float32)}
    with tf.Session() as sess:
        first, *_, last = [sess.run(product, feeds) for _ in range(3)]
    assert "conditional(" in texts[-1]
    np.testing.assert_allclose(last, first, rtol=1e-5)  # the first is NumPy's
    monkeypatch.setattr(xla, "_LARGE", 1 << 40)
    with tf.Session(graph=tf.Graph()) as sess, sess.graph.as_default():
        x = tf.placeholder(tf.float32, (BATCH, WIDTH))
        h = tf.nn.relu(x)
        product = tf.matmul(h, h + 1.0, transpose_a=True)
        *_, plain = [sess.run(product, {x: next(iter(feeds.values()))}) for _ in range(3)]
    assert "conditional(" not in texts[-1]
    np.testing.assert_allclose(last, plain, rtol=1e-5)


def test_loops_give_the_bits_of_single_steps():
    optimizer = tf.train.AdamOptimizer
    with tf.Graph().as_default(), tf.Session() as sess:
        fetches, feeds = network(optimizer())
        sess.run(tf.global_variables_initializer())
        _, looped = sess.run_steps(fetches, feeds, 5)
    assert list(looped) == losses(optimizer)


POINTS, NARROW = 1000, 20


def physics():
    """Fetches of a step that takes second derivatives of a narrow network, and what it is fed."""
    rng = np.random.RandomState(3)
    x = tf.placeholder(tf.float32, (None, 1))
    t = tf.placeholder(tf.float32, (None, 1))
    h = tf.concat([x, t], 1)
    for i, (m, n) in enumerate([(2, NARROW), (NARROW, NARROW), (NARROW, NARROW), (NARROW, 1)]):
        w = tf.get_variable(f"w{i}", initializer=(rng.randn(m, n) / m**0.5).astype(np.float32))
        h = h @ w + tf.get_variable(f"b{i}", (1, n), initializer=tf.zeros_initializer())
        h = tf.tanh(h) if i < 3 else h
    (h_x,) = tf.gradients(h, x)
    residual = tf.gradients(h, t)[0] + h * h_x - 0.1 * tf.gradients(h_x, x)[0]
    loss = tf.reduce_mean(tf.square(residual)) + tf.reduce_mean(tf.square(h))
    step = tf.train.AdamOptimizer(0.01).minimize(loss)
    feeds = {x: rng.uniform(-1, 1, (POINTS, 1)), t: rng.uniform(size=(POINTS, 1))}
    return [step, loss, residual], feeds


def physics_losses(run):
    with tf.Graph().as_default(), tf.Session() as sess:
        fetches, feeds = physics()
        sess.run(tf.global_variables_initializer())
        return run(sess, fetches, feeds)


def one_by_one(sess, fetches, feeds):
    return [sess.run(fetches, feeds)[1] for _ in range(6)]


def test_tall_networks_are_laid_on_their_side(texts, monkeypatch):
    on_their_side = physics_losses(one_by_one)
    assert f"f32[{NARROW},{POINTS}]" in texts[-1]
    assert f"f32[{POINTS},{NARROW}]" not in texts[-1]
    monkeypatch.setattr(turned, "_NARROW", 0)
    upright = physics_losses(one_by_one)
    assert f"f32[{POINTS},{NARROW}]" in texts[-1]
    np.testing.assert_allclose(on_their_side, upright, rtol=1e-5)


def test_loops_of_tall_networks_give_the_bits_of_single_steps():
    looped = physics_losses(lambda sess, fetches, feeds: sess.run_steps(fetches, feeds, 6)[1])
    assert list(looped) == physics_losses(one_by_one)


def test_tall_arrays_are_fetched_upright(texts):
    x = tf.placeholder(tf.float32, (None, 2))
    h = tf.nn.relu(x @ tf.ones((2, NARROW)) * tf.range(20.0))
    fetches = [h, h[:3], tf.reduce_sum(h, 1), tf.reduce_sum(h, 0, keepdims=True), tf.reduce_max(h)]
    data = np.random.RandomState(0).randn(POINTS, 2)
    with tf.Session() as sess:
        first, *_, last = [sess.run(fetches, {x: data}) for _ in range(3)]
    assert f"f32[{NARROW},{POINTS}]" in texts[-1]
    for a, b in zip(last, first, strict=True):
        assert a.shape == b.shape
        np.testing.assert_allclose(a, b, rtol=1e-5)


SHAPES = [  # m, k, n of [m, k] by [k, n]: each way that a product can go
    *((1, 1, 1), (20, 2, 3), (3, 20, 2), (7, 0, 5), (0, 3, 4), (20, 8, 32), (100, 3, 200)),
    *((1, 60, 60), (60, 60, 1), (16, 500, 16), (3, 1000, 1), (1, 1000, 20), (64, 32, 10)),
    *((10, 64, 32), (63, 65, 17), (128, 64, 128), (96, 300, 50)),
]


@pytest.mark.parametrize(("turn_a", "turn_b"), [(0, 0), (0, 1), (1, 0), (1, 1)])
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int32, np.complex64])
def test_products_of_every_shape(shape, dtype, turn_a, turn_b):
    m, k, n = shape
    rng = np.random.RandomState(1)
    a, b = rng.randint(-9, 9, (m, k)), rng.randint(-9, 9, (k, n))
    x, y = (a.T if turn_a else a).astype(dtype), (b.T if turn_b else b).astype(dtype)
    with jax.enable_x64(True):
        found = np.asarray(jax.jit(xla.product, static_argnums=(2, 3))(x, y, turn_a, turn_b))
    assert found.dtype == dtype
    np.testing.assert_array_equal(found, a @ b)  # whole numbers: exactly


def test_products_of_few_terms_are_written_out(texts):
    x, w = (tf.placeholder(tf.float32, s) for s in ((500, 2), (2, 3)))
    feeds = {x: np.ones((500, 2)), w: np.ones((2, 3))}
    y = tf.tanh(x @ w)
    gradient = tf.gradients(y, x)[0]
    with tf.Session() as sess:
        for _ in range(2):
            sess.run([y, gradient], feeds)
    (text,) = texts
    assert " dot(" not in text


def test_what_is_drawn_is_drawn_once(texts):
    """Fused into all that reads it, a mask would be drawn for each of them."""
    x = tf.placeholder(tf.float32, (40, 8))
    y = tf.nn.dropout(tf.sigmoid(x), 0.5, seed=1)
    fetches = [tf.reduce_sum(y), tf.gradients(y, x)[0], tf.reduce_max(y, 0), y * 2.0]
    with tf.Session() as sess:
        for _ in range(2):
            total, slope, most, twice = sess.run(fetches, {x: np.zeros((40, 8))})
    np.testing.assert_array_equal(slope > 0, twice > 0)
    np.testing.assert_array_equal(most, twice.max(0) / 2)
    assert total == twice.sum() / 2
    (text,) = texts
    rounds = 10  # of Philox, two multiplications each
    assert len(re.findall(r"u64\[80\]\S* multiply\(", text)) == 2 * rounds
