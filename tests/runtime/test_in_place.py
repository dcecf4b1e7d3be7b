"""How XLA is led: weights updated without a copy, wide products made of arrays that lie in memory."""

import re

import jax
import numpy as np
import pytest

import headrace as tf
from headrace.ops import linalg
from headrace.runtime import in_place

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
    monkeypatch.setattr(linalg, "_WIDE", 1 << 40)
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
