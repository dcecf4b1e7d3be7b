"""Whole programs for the tests about GPUs: a step of each is a training step of its own kind.

Sizes are such that XLA on a CPU is led in them (`xp/xla.py`, `xp/turned.py`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

import headrace as tf

WIDTH, BATCH, POINTS, NARROW = 128, 64, 1000, 20


@dataclass(frozen=True)
class Program:
    """`build()` gives what a step fetches, an Operation and then the loss among it, and its feeds.

    `near`: how far, relatively, losses may lie from NumPy's after a few steps.
    """

    build: Callable[[], tuple[list[Any], dict[Any, Any]]]
    near: float = 2e-5


def network(optimizer: Any, dtype: Any = tf.float32, wrap: Any = None, drop: float = 0) -> Any:
    """A dense network of three layers."""
    rng = np.random.RandomState(7)
    x = tf.placeholder(dtype, (None, WIDTH))
    kind = dtype.as_numpy_dtype

    def layer(h: Any, i: int) -> Any:
        w = tf.get_variable(
            f"w{i}", initializer=(rng.randn(WIDTH, WIDTH) / WIDTH**0.5).astype(kind)
        )
        b = tf.get_variable(f"b{i}", (WIDTH,), dtype, initializer=tf.zeros_initializer())
        return tf.nn.relu(tf.matmul(h, w) + b)

    h = x
    for i in range(3):
        h = wrap(lambda h, i=i: layer(h, i))(h) if wrap else layer(h, i)
        if drop:
            h = tf.nn.dropout(h, 1 - drop, seed=5)
    loss = tf.reduce_mean(tf.square(h - 1))
    return [optimizer.minimize(loss), loss], {x: rng.randn(BATCH, WIDTH).astype(kind)}


def bfloat16() -> Any:
    """Products in bfloat16, variables and all else in float32."""
    rng = np.random.RandomState(7)
    x = tf.placeholder(tf.float32, (None, WIDTH))
    h = x
    for i in range(2):
        w = tf.get_variable(
            f"w{i}", initializer=(rng.randn(WIDTH, WIDTH) / WIDTH**0.5).astype(np.float32)
        )
        product = tf.matmul(tf.cast(h, tf.bfloat16), tf.cast(w, tf.bfloat16))
        h = tf.nn.relu(tf.cast(product, tf.float32))
    loss = tf.reduce_mean(tf.square(h - 1))
    return [tf.train.AdamOptimizer(0.01).minimize(loss), loss], {x: rng.randn(BATCH, WIDTH)}


def embedding() -> Any:
    """Rows of a table, updated alone, and classes as whole numbers: indices that are checked."""
    rng = np.random.RandomState(3)
    words, labels = tf.placeholder(tf.int32, (None, 4)), tf.placeholder(tf.int64, (None,))
    table = tf.get_variable("table", initializer=rng.randn(50, 8).astype(np.float32))
    w = tf.get_variable("w", initializer=rng.randn(8, 5).astype(np.float32))
    h = tf.reduce_mean(tf.nn.embedding_lookup(table, words), 1)
    losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=tf.matmul(h, w))
    loss = tf.reduce_mean(losses)
    optimizer = tf.train.MomentumOptimizer(0.1, 0.9, use_nesterov=True)
    return [optimizer.minimize(loss), loss], {
        words: rng.randint(50, size=(20, 4)),
        labels: rng.randint(5, size=20),
    }


def physics() -> Any:
    """A physics-informed network: derivatives of derivatives, of tall narrow matrices."""
    rng = np.random.RandomState(3)
    x, t = (tf.placeholder(tf.float32, (None, 1)) for _ in range(2))
    h = tf.concat([x, t], 1)
    for i, (m, n) in enumerate([(2, NARROW), (NARROW, NARROW), (NARROW, NARROW), (NARROW, 1)]):
        w = tf.get_variable(f"w{i}", initializer=(rng.randn(m, n) / m**0.5).astype(np.float32))
        h = tf.matmul(h, w) + tf.get_variable(f"b{i}", (1, n), initializer=tf.zeros_initializer())
        h = tf.tanh(h) if i < 3 else h
    h_x, h_t = tf.gradients(h, [x, t])
    residual = h_t + h * h_x - 0.1 * tf.gradients(h_x, x)[0]
    loss = tf.reduce_mean(tf.square(residual)) + tf.reduce_mean(tf.square(h))
    feeds = {x: rng.uniform(-1, 1, (POINTS, 1)), t: rng.uniform(size=(POINTS, 1))}
    return [tf.train.AdamOptimizer(0.01).minimize(loss), loss], feeds


def decompositions() -> Any:
    """The likelihood of a Gaussian process: Cholesky, triangular solves, eigenvalues."""
    rng = np.random.RandomState(4)
    points, values = rng.uniform(size=(30, 2)), rng.randn(30, 1)
    x = tf.placeholder(tf.float64, (None, 2))
    scale = tf.get_variable("scale", initializer=np.float64(0.3))
    squares = tf.reduce_sum(tf.square(x[:, None] - x[None]) / scale**2, 2)
    covariance = tf.exp(-squares) + 0.1 * tf.eye(30, dtype=tf.float64)
    half = tf.cholesky(covariance)
    loss = tf.reduce_sum(tf.square(tf.matrix_triangular_solve(half, values)))
    loss += 2 * tf.reduce_sum(tf.log(tf.matrix_diag_part(half)))
    loss += tf.reduce_max(tf.self_adjoint_eigvals(covariance)) / 30
    return [tf.train.GradientDescentOptimizer(1e-4).minimize(loss), loss], {x: points}


PROGRAMS = {
    "gradient descent": Program(lambda: network(tf.train.GradientDescentOptimizer(0.1))),
    "momentum": Program(lambda: network(tf.train.MomentumOptimizer(0.1, 0.9))),
    "Adam": Program(lambda: network(tf.train.AdamOptimizer())),
    "dropout": Program(lambda: network(tf.train.AdamOptimizer(), drop=0.5)),
    "float64": Program(lambda: network(tf.train.AdamOptimizer(), tf.float64), near=1e-12),
    "bfloat16": Program(bfloat16, near=5e-3),  # sums of products rounded to eight bits
    "embedding": Program(embedding),
    "physics": Program(physics, near=1e-4),  # second derivatives: differences of what is large
    "recompute_grad": Program(
        lambda: network(tf.train.MomentumOptimizer(0.1, 0.9), wrap=tf.recompute_grad)
    ),
    "decompositions": Program(decompositions, near=1e-10),
}


def losses(name: str, steps: int = 5, loop: bool = False) -> list[float]:
    """The losses of a program's first steps: run by run, or in one call; the first is NumPy's."""
    with tf.Graph().as_default(), tf.Session() as session:
        fetches, feeds = PROGRAMS[name].build()
        session.run(tf.global_variables_initializer())
        if loop:
            batches = {x: np.stack([value] * steps) for x, value in feeds.items()}
            return list(session.run_steps(fetches, batches=batches)[1])
        return [session.run(fetches, feeds)[1] for _ in range(steps)]


def losses_by_numpy(name: str, steps: int = 5) -> list[float]:
    """The losses of a program's first steps, each run interpreted."""
    options = tf.RunOptions(trace_level=tf.RunOptions.FULL_TRACE)
    with tf.Graph().as_default(), tf.Session() as session:
        fetches, feeds = PROGRAMS[name].build()
        session.run(tf.global_variables_initializer())
        return [session.run(fetches, feeds, options, tf.RunMetadata())[1] for _ in range(steps)]
