"""The dense network in JAX: a call a step, and a scan over many."""

import functools
from collections.abc import Callable

import numpy as np
from mlp import BETA1, BETA2, EPSILON, batches, orders, problem
from precision import set_jax


def adam(loss_of, params, rate, epsilon=EPSILON):
    """Give `train(state, *data)` -> (state, loss), a step of Adam, and the first state."""
    import jax
    import jax.numpy as jnp

    def train(state, *data):
        params, m, v, t = state
        loss, grads = jax.value_and_grad(loss_of)(params, *data)
        t = t + 1
        now = rate * jnp.sqrt(1 - BETA2**t) / (1 - BETA1**t)
        m = jax.tree.map(lambda m, g: m + (1 - BETA1) * (g - m), m, grads)
        v = jax.tree.map(lambda v, g: v + (1 - BETA2) * (g * g - v), v, grads)
        params = jax.tree.map(lambda p, m, v: p - now * m / (jnp.sqrt(v) + epsilon), params, m, v)
        return (params, m, v, t), loss

    zeros = functools.partial(jax.tree.map, jnp.zeros_like)
    return train, (params, zeros(params), zeros(params), jnp.float32(0))


def training(case, weights):
    """Give `train(state, x, y)` -> (state, loss) and the first state."""
    import jax
    import jax.numpy as jnp

    set_jax(case.precision)

    def product(h, w):
        if case.precision != "bfloat16":
            return h @ w
        return (h.astype(jnp.bfloat16) @ w.astype(jnp.bfloat16)).astype(jnp.float32)

    def loss_of(params, x, y):
        h = x
        for w, b in params:
            z = product(h, w) + b
            h = jax.nn.relu(z)
        if case.layers[-1] == 1:
            return jnp.mean(jax.nn.softplus(z) - z * y)
        return -jnp.mean(jnp.sum(y * jax.nn.log_softmax(z), axis=-1))

    def descend(params, x, y):
        loss, grads = jax.value_and_grad(loss_of)(params, x, y)
        return jax.tree.map(lambda p, g: p - case.rate * g, params, grads), loss

    params = jax.tree.map(jnp.asarray, weights)
    return adam(loss_of, params, case.rate) if case.optimizer == "adam" else (descend, params)


def jax(case, cores, fetch: Callable = float, ahead=False):
    """JAX's ordinary idiom: one donated `jax.jit` call a step, then the loss as a float.

    With `ahead` the next batch is on its way to the device while the step is computed.
    """
    import jax

    weights, inputs, labels = problem(case)
    train, state = training(case, weights)
    call, stream = jax.jit(train, donate_argnums=0), batches(case, inputs, labels)

    def step():
        nonlocal state
        state, loss = call(state, *next(stream))
        return fetch(loss)

    if not ahead:
        return step
    fed = jax.device_put(next(stream))

    def step_ahead():
        nonlocal state, fed
        state, loss = call(state, *fed)
        fed = jax.device_put(next(stream))
        return fetch(loss)

    return step_ahead


def scan(case, cores):
    """A `lax.scan` over the steps in one donated `jax.jit`, the data lying on the device."""
    import jax

    weights, *data = problem(case)
    train, state = training(case, weights)
    x, y = map(jax.device_put, data)

    def turn(state, rows, x, y):
        return train(state, x, y) if rows is None else train(state, x[rows], y[rows])

    @functools.partial(jax.jit, donate_argnums=0)
    def loop(state, x, y, order):
        return jax.lax.scan(
            lambda state, rows: turn(state, rows, x, y), state, order, length=case.steps
        )

    shuffled = orders(case)

    def step():
        nonlocal state
        state, losses = loop(state, x, y, next(shuffled) if case.examples else None)
        return np.asarray(losses)

    return step
