"""Rows in blocks: what a loop over blocks gives is what all rows at once give."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax

import headrace as tf
from headrace.runtime import blocks, xla_loop
from headrace.runtime.xla import compiling

ROWS = (300, 307)  # blocks alike; a prime number, with blocks that are not
SIZE = 100
WIDE = 5


@pytest.fixture(autouse=True)
def small(monkeypatch):
    """Let small things be worth it, whatever the cores of this machine."""
    monkeypatch.setattr("headrace.runtime.xla.MANY", 50)
    monkeypatch.setattr("headrace.runtime.state._SMALL_FEED", 50)  # smaller ones are put together
    monkeypatch.setattr(blocks, "_WORTH", 0)
    monkeypatch.setattr(blocks, "_FEWEST", SIZE)
    monkeypatch.setattr(blocks, "_MOST", SIZE)
    monkeypatch.setattr(blocks, "cores", lambda: 1)


def arrays(rows):
    """x [rows, WIDE], y [rows], w [WIDE, 3], whole numbers all."""
    rng = np.random.RandomState(0)
    x = rng.randint(-4, 5, (rows, WIDE)).astype(np.float32)
    return x, rng.randint(0, 3, rows).astype(np.int32), rng.randint(-2, 3, (WIDE, 3)).astype("f")


def softmax(z):
    e = jnp.exp(z - z.max(1, keepdims=True))
    return e / e.sum(1, keepdims=True)


IN_BLOCKS = {
    "sum": lambda x, y, w: x.sum(),
    "sum over rows": lambda x, y, w: (x * x).sum(0),
    "sum over columns is given": lambda x, y, w: x.sum(1) * 2,
    "means, and what is made of them": lambda x, y, w: jnp.sqrt(jnp.abs(x.mean(0))) + w.sum(1),
    "smallest, largest": lambda x, y, w: (x.min(0), x.max(0), y.min(), y.max(), (x @ w).max()),
    "all, any": lambda x, y, w: ((x > -5).all(0), (x > 3).any(0), (x > 4).any(), (y < 3).all()),
    "product of whole numbers": lambda x, y, w: jnp.prod(jnp.where(x > 2, -1.0, 1.0), 0),
    "layer": lambda x, y, w: jnp.maximum(x @ w, 0),
    "layer turned": lambda x, y, w: jnp.maximum(w.T @ x.T, 0),
    "slopes": lambda x, y, w: x.T @ (x @ w - y[:, None]),
    "slopes of what is turned": lambda x, y, w: lax.dot_general(x.T, x, (((1,), (0,)), ((), ()))),
    "a batch of products": lambda x, y, w: jnp.einsum("ni,ni->n", x, x),
    "products with constants of as many rows": lambda x, y, w: x.T @ np.ones((len(x), 2), "f"),
    "labels one-hot": lambda x, y, w: (y[:, None] == jnp.arange(3)).astype("f").sum(0),
    "cross-entropy": lambda x, y, w: (
        -(jnp.log(softmax(x @ w * 0.1)) * (y[:, None] == jnp.arange(3))).sum()
    ),
    "rows along the last axis": lambda x, y, w: jnp.tanh(x.T * 0.1)[:, None, :].sum((0, 1)),
    "shapes": lambda x, y, w: jnp.squeeze(x[None, :, None, :], (0, 2)).reshape(len(x), 1, WIDE),
    "parts of columns": lambda x, y, w: jnp.concatenate([x[:, 1:3], x[:, :1]], 1)[:, ::2],
    "padded columns": lambda x, y, w: jnp.pad(x, ((0, 0), (1, 2))),
    "an element of each row": lambda x, y, w: jnp.take_along_axis(x, y[:, None], 1),
    "rows of a table": lambda x, y, w: w[y].sum(0) + w[y, y % 3].sum(),
    "columns turned round": lambda x, y, w: x[:, ::-1],
    "columns in order": lambda x, y, w: (jnp.sort(x, 1), jnp.cumsum(x, 1), jnp.argmax(x, 1)),
    "split": lambda x, y, w: jnp.split(x, [2], 1),
    "constants and inputs given back": lambda x, y, w: (x, x + 1, w, y),
    "what depends on weights only": lambda x, y, w: (x @ (w @ w.T), w @ w.T),
    "what is drawn is whole": lambda x, y, w: x * lax.top_k(jnp.zeros((len(x), 9)), WIDE)[0],
    "rows in an order of their own": lambda x, y, w: x * jnp.flip(np.ones((len(x), 1), "f"), 0),
    "sums are read with inputs that are whole": lambda x, y, w: x - x.mean(0),
    "a function that JAX calls": lambda x, y, w: jax.nn.relu(jnp.logaddexp(x, 0.0)).sum(0),
    "two losses": lambda x, y, w: ((x @ w).sum() / len(x), jnp.square(x @ w).sum(0)),
}

AS_IT_WAS = {
    "rows that hang on a sum": lambda x, y, w: jnp.tanh(x @ w) - jnp.tanh(x @ w).mean(0),
    "sums along the rows": lambda x, y, w: jnp.cumsum(x @ w, 0),
    "rows in order": lambda x, y, w: jnp.sort(x @ w, 0),
    "the first of the rows": lambda x, y, w: (x @ w)[0],
    "rows turned round": lambda x, y, w: (x @ w)[::-1],
    "rows by their number": lambda x, y, w: (x @ w)[y],
    "columns by their number": lambda x, y, w: (x @ w)[:, np.array([2, 0])],
    "which row": lambda x, y, w: jnp.argmax(x @ w, 0),
    "each row with each": lambda x, y, w: (x @ w) @ (x @ w).T,
    "rows and columns made one": lambda x, y, w: (x @ w).reshape(-1),
    "neighbours": lambda x, y, w: (x @ w)[1:] - (x @ w)[:-1],
    "rows of different arrays": lambda x, y, w: (x @ w)[:, :, None] * (x @ w).T[None],
    "what there is no rule for": lambda x, y, w: lax.while_loop(
        lambda z: z.sum() < 9, lambda z: z + 1, x @ w
    ),
    "sums too coarse to be added up": lambda x, y, w: lax.dot_general(
        *[x.astype(jnp.bfloat16)] * 2, (((0,), (0,)), ((), ()))
    ),
}


def traced(f, rows):
    with compiling():
        return jax.make_jaxpr(f)(*arrays(rows))


@pytest.mark.parametrize("rows", ROWS)
@pytest.mark.parametrize("name", IN_BLOCKS)
def test_in_blocks_all_is_as_it_was(name, rows):
    f = IN_BLOCKS[name]
    blocked = blocks.in_blocks(traced(f, rows), {rows})
    assert blocked is not None
    with compiling():
        expected = jax.tree.leaves(jax.jit(f)(*arrays(rows)))
        found = jax.jit(blocked)(*arrays(rows))
    assert len(found) == len(expected)
    for a, b in zip(found, expected, strict=True):
        assert (a.dtype, a.shape) == (b.dtype, b.shape)
        if np.issubdtype(a.dtype, np.floating):
            np.testing.assert_allclose(a, b, rtol=1e-5, atol=1e-5)
        else:
            np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("name", AS_IT_WAS)
def test_what_cannot_be_in_blocks_is_left_as_it_was(name):
    assert blocks.in_blocks(traced(AS_IT_WAS[name], ROWS[0]), {ROWS[0]}) is None


def test_a_loop_has_blocks_and_not_all_rows():
    rows = ROWS[0]
    f = blocks.in_blocks(traced(IN_BLOCKS["slopes"], rows), {rows})
    with compiling():
        text = jax.jit(f).lower(*arrays(rows)).compile().as_text()
    assert f"f32[{SIZE},3]" in text
    assert f"f32[{rows},3]" not in text


def test_blocks_are_of_a_size_that_is_worth_it(monkeypatch):
    closed = traced(IN_BLOCKS["slopes"], ROWS[0])
    assert blocks.in_blocks(closed, {ROWS[0]}) is not None
    for name, value in {"_WORTH": 1 << 30, "_MOST": 151, "cores": lambda: 2}.items():
        with monkeypatch.context() as patch:
            patch.setattr(blocks, name, value)
            if name == "_MOST":
                patch.setattr(blocks, "_FEWEST", value)
            assert blocks.in_blocks(closed, {ROWS[0]}) is None


# -- programs --------------------------------------------------------------------------------------


def perceptron(x, widths):
    rng = np.random.RandomState(3)
    for i, n in enumerate(widths):
        m = int(x.shape[1])
        w = tf.get_variable(f"w{i}", initializer=(rng.randn(m, n) / m**0.5).astype(np.float32))
        x = tf.matmul(x, w) + tf.get_variable(f"b{i}", (n,), initializer=tf.zeros_initializer())
        x = tf.tanh(x) if i + 1 < len(widths) else x
    return x


def classifier(rows):
    rng = np.random.RandomState(1)
    x, y = tf.placeholder(tf.float32, (None, 8)), tf.placeholder(tf.int32, (None,))
    z = perceptron(x, (32, 16, 3))
    losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=y, logits=z)
    loss = tf.reduce_mean(losses)
    right = tf.reduce_mean(tf.cast(tf.equal(tf.argmax(z, 1, output_type=tf.int32), y), tf.float32))
    step = tf.train.AdamOptimizer(0.01).minimize(loss)
    feeds = {x: rng.randn(rows, 8), y: rng.randint(0, 3, rows)}
    return [step, loss, right, losses], feeds


def physics(rows):
    rng = np.random.RandomState(1)
    x, t, x0 = (tf.placeholder(tf.float32, (None, 1)) for _ in range(3))
    with tf.variable_scope("u"):
        u = perceptron(tf.concat([x, t], 1), (20, 20, 1))
    u_x, u_t = tf.gradients(u, [x, t])
    (u_xx,) = tf.gradients(u_x, x)
    with tf.variable_scope("u", reuse=True):
        start = perceptron(tf.concat([x0, x0 * 0.0], 1), (20, 20, 1))
    loss = tf.reduce_mean(tf.square(u_t + u * u_x - 0.01 * u_xx))
    loss += tf.reduce_mean(tf.square(start - tf.sin(x0)))
    step = tf.train.AdamOptimizer(0.01).minimize(loss)
    feeds = {x: rng.rand(rows, 1), t: rng.rand(rows, 1), x0: rng.rand(40, 1)}
    return [step, loss, u], feeds


def dropping(rows):
    rng = np.random.RandomState(1)
    x = tf.placeholder(tf.float32, (None, 8))
    h = tf.nn.dropout(perceptron(x, (32, 16)), keep_prob=0.5, seed=4)
    loss = tf.reduce_mean(tf.square(h - 1.0))
    step = tf.train.GradientDescentOptimizer(0.1).minimize(loss)
    return [step, loss], {x: rng.randn(rows, 8)}


def constants(rows):
    rng = np.random.RandomState(1)
    z = perceptron(tf.constant(rng.randn(rows, 8).astype(np.float32)), (32, 1))
    loss = tf.reduce_mean(tf.square(z - tf.constant(rng.randn(rows, 1).astype(np.float32))))
    return [tf.train.MomentumOptimizer(0.1, 0.9).minimize(loss), loss], {}


def wide(rows):
    """Weights too large to be packed, whose updates wait for what reads them."""
    rng = np.random.RandomState(1)
    x = tf.placeholder(tf.float32, (None, 120))
    loss = tf.reduce_mean(tf.square(perceptron(x, (120, 120, 120)) - x))
    return [tf.train.AdamOptimizer().minimize(loss), loss], {x: rng.randn(rows, 120)}


def recomputing(rows):
    rng = np.random.RandomState(1)
    x = tf.placeholder(tf.float32, (None, 8))
    h = tf.recompute_grad(lambda h: perceptron(h, (32, 16)))(x)
    loss = tf.reduce_mean(tf.square(h))
    return [tf.train.GradientDescentOptimizer(0.1).minimize(loss), loss], {x: rng.randn(rows, 8)}


def normalised(rows):
    """By mean and variance of the batch: not in blocks."""
    rng = np.random.RandomState(1)
    x = tf.placeholder(tf.float32, (None, 8))
    h = perceptron(x, (32, 16))
    mean, variance = tf.nn.moments(h, [0])
    loss = tf.reduce_mean(tf.square((h - mean) * tf.rsqrt(variance + 1.0) - 0.5))
    return [tf.train.GradientDescentOptimizer(0.1).minimize(loss), loss], {x: rng.randn(rows, 8)}


PROGRAMS = [classifier, physics, dropping, constants, wide, recomputing]


def results(program, rows, run):
    with tf.Graph().as_default(), tf.Session() as sess:
        tf.set_random_seed(1)
        fetches, feeds = program(rows)
        sess.run(tf.global_variables_initializer())
        return run(sess, fetches, feeds), [sess.run(v) for v in tf.global_variables()]


def steps(sess, fetches, feeds):
    return [sess.run(fetches, feeds)[1:] for _ in range(6)]


@pytest.mark.parametrize("rows", ROWS)
@pytest.mark.parametrize("program", [*PROGRAMS, normalised])
def test_programs_learn_the_same(program, rows, monkeypatch):
    used = []
    in_blocks = blocks.in_blocks

    def noted(closed, among):
        used.append(in_blocks(closed, among))
        return used[-1]

    monkeypatch.setattr("headrace.runtime.xla.in_blocks", noted)
    found = results(program, rows, steps)
    assert {u is not None for u in used} == {program is not normalised}
    monkeypatch.setattr("headrace.runtime.xla.in_blocks", lambda *_: None)
    expected = results(program, rows, steps)
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=2e-4, atol=2e-5)


@pytest.mark.parametrize("program", PROGRAMS)
def test_loops_give_the_bits_of_single_steps(program):
    one_by_one = results(program, ROWS[1], steps)
    rows = results(program, ROWS[1], lambda s, fetches, feeds: s.run_steps(fetches, feeds, 6)[1:])
    looped = [[column[i] for column in rows[0]] for i in range(6)], rows[1]
    for a, b in zip(jax.tree.leaves(looped), jax.tree.leaves(one_by_one), strict=True):
        np.testing.assert_array_equal(a, b)


def test_a_call_of_a_loop_takes_no_longer_for_rows_in_blocks(monkeypatch):
    """XLA counts the work of one block: so many times as many steps would be held to be short."""
    found, most_turns = [], xla_loop._most_turns
    monkeypatch.setattr(
        xla_loop, "_most_turns", lambda *args: found.append(most_turns(*args)) or found[-1]
    )
    for in_blocks in (blocks.in_blocks, lambda *_: None):
        monkeypatch.setattr("headrace.runtime.xla.in_blocks", in_blocks)
        results(wide, 32 * SIZE, lambda s, fetches, feeds: s.run_steps(fetches, feeds, 4))
    assert 1 / 2 <= found[0] / found[1] <= 2


def test_failed_checks_are_found_in_every_block():
    with tf.Session() as sess:
        fetches, feeds = classifier(ROWS[1])
        y = next(k for k in feeds if k.dtype == tf.int32)
        sess.run(tf.global_variables_initializer())
        steps(sess, fetches, feeds)
        before = [sess.run(v) for v in tf.trainable_variables()]
        for place in (0, SIZE + 1, ROWS[1] - 1):
            wrong = np.array(feeds[y])
            wrong[place] = 3
            with pytest.raises(tf.errors.InvalidArgumentError, match="label value of 3"):
                sess.run(fetches, {**feeds, y: wrong})
        for v, value in zip(tf.trainable_variables(), before, strict=True):
            np.testing.assert_array_equal(sess.run(v), value)
