"""A physics-informed network (Raissi et al., 2019) for Burgers' equation, in every framework.

u(x, t) is a dense network of tanh; its loss is the mean square of the residual
u_t + u u_x − ν u_xx, at collocation points, and of u minus what is known, on the boundary.
"""

import functools
import itertools
from dataclasses import dataclass

import numpy as np
from mlp_jax import adam
from mlp_tensorflow import limited
from mlp_torch import perceptron
from precision import AGREE, set_jax, set_tensorflow, set_torch

WIDTHS = (2, *[20] * 8, 1)
VISCOSITY = 0.01 / np.pi
BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8


@dataclass(frozen=True)
class Case:
    """How many points, and what a step is."""

    optimizer: str  # "adam", or "L-BFGS": an evaluation as SciPy asks for it, and a step downhill
    points: int = 10_000
    boundary: int = 100
    steps: int = 50  # how many a program takes in a call, if it takes many
    precision: str = ""  # of products on a GPU (`precision.py`)

    def __str__(self):
        """Show what is computed."""
        text = "Adam step" if self.optimizer == "adam" else "loss and gradients for L-BFGS"
        return text if self.points == Case.points else f"{text}, {self.points:,} points"

    @property
    def agree(self):
        """How far, relatively, the losses of programs may lie apart."""
        return AGREE

    @property
    def rate(self):
        """Learning rate: losses move, and rounding does not tell frameworks apart."""
        return 3e-4 if self.optimizer == "adam" else 1e-2


def problem(case):
    """Weights [(w [in, out], b [out]), ...]; x, t [points, 1]; x, t, u [boundary, 1]: float32."""
    rng = np.random.default_rng(22)
    weights = [
        (
            (rng.standard_normal((m, n)) * (2 / (m + n)) ** 0.5).astype(np.float32),
            np.zeros(n, np.float32),
        )
        for m, n in itertools.pairwise(WIDTHS)
    ]
    points = rng.random((4, max(case.points, case.boundary), 1), np.float32)
    x, t = 2 * points[0, : case.points] - 1, points[1, : case.points]
    x0, t0 = 2 * points[2, : case.boundary] - 1, points[3, : case.boundary]
    t0[::2] = 0  # the start; else the two ends
    x0[1::2] = np.sign(x0[1::2])
    u0 = np.where(t0 == 0, -np.sin(np.pi * x0), 0).astype(np.float32)
    return weights, (x, t), (x0, t0, u0)


def descent(case, params, evaluate):
    """Give `step()`: one evaluation at a flat vector of all parameters, then a step downhill.

    `evaluate(vector)` gives the loss and the gradient as a vector; the step moves the vector as an
    optimizer outside of the framework would, and takes next to no time.
    """
    vector = np.concatenate([np.ravel(p) for p in params])

    def step():
        nonlocal vector
        loss, gradient = evaluate(vector)
        vector = vector - np.float32(case.rate) * gradient
        return loss

    return step


def session_program(tf, case, cores, loop=False):
    """In a session; `tf` is TensorFlow's compat.v1 or headrace. `loop`: many steps in a call."""
    set_tensorflow(tf, case.precision)
    weights, points, boundary = problem(case)
    with tf.Graph().as_default() as graph:
        layers = [(tf.Variable(w), tf.Variable(b)) for w, b in weights]
        params = [p for layer in layers for p in layer]

        def u_of(x, t):
            h = tf.concat([x, t], 1)
            for w, b in layers[:-1]:
                h = tf.tanh(tf.matmul(h, w) + b)
            w, b = layers[-1]
            return tf.matmul(h, w) + b

        x, t, x0, t0, u0 = (tf.placeholder(tf.float32, [None, 1]) for _ in range(5))
        u = u_of(x, t)
        u_x, u_t = tf.gradients(u, [x, t])
        (u_xx,) = tf.gradients(u_x, x)
        residual = u_t + u * u_x - VISCOSITY * u_xx
        loss = tf.reduce_mean(tf.square(residual))
        loss += tf.reduce_mean(tf.square(u_of(x0, t0) - u0))
        grads = tf.gradients(loss, params)
        adam = tf.train.AdamOptimizer(case.rate, BETA1, BETA2, EPSILON)
        train = adam.apply_gradients(zip(grads, params, strict=True))
        packed = tf.concat([tf.reshape(g, [-1]) for g in grads], 0)
        init = tf.global_variables_initializer()
    session = tf.Session(graph=graph, config=limited(tf, cores))
    session.run(init)
    feeds = dict(zip((x, t, x0, t0, u0), (*points, *boundary), strict=True))
    if loop:
        call = session.make_loop([train, loss], feeds)
        return lambda: call(case.steps)[1]
    if case.optimizer == "adam":
        return lambda: session.run([train, loss], feeds)[1]
    arrays = [p for layer in weights for p in layer]
    ends = list(itertools.accumulate(p.size for p in arrays))

    def evaluate(vector):  # as ScipyOptimizerInterface: variables are fed, the gradient is packed
        pieces = np.split(vector, ends[:-1])
        fed = {p: v.reshape(a.shape) for p, v, a in zip(params, pieces, arrays, strict=True)}
        return session.run([loss, packed], {**feeds, **fed})

    return descent(case, arrays, evaluate)


def headrace(case, cores, loop=False):
    """`session_program` in headrace."""
    import headrace as tf

    return session_program(tf, case, cores, loop)


def tensorflow(case, cores):
    """`session_program` in TensorFlow."""
    import tensorflow.compat.v1 as tf

    tf.disable_v2_behavior()
    return session_program(tf, case, cores)


def jax(case, cores, forward=False, many=False):
    """In JAX: `vmap` of derivatives of u at one point, or `forward` derivatives of the batch.

    `many`: by a `lax.scan` over the steps, the data lying on the device.
    """
    import jax
    import jax.numpy as jnp
    from jax.flatten_util import ravel_pytree

    set_jax(case.precision)

    def u_of(params, x, t):
        h = jnp.stack([x, t], -1)
        for w, b in params[:-1]:
            h = jnp.tanh(h @ w + b)
        w, b = params[-1]
        return (h @ w + b)[..., 0]

    def by_point(params, x, t):
        def at(x, t):
            u = functools.partial(u_of, params)
            u_x = jax.grad(u, 0)
            return u(x, t), u_x(x, t), jax.grad(u, 1)(x, t), jax.grad(u_x, 0)(x, t)

        return jax.vmap(at)(x, t)

    def by_batch(params, x, t):
        ones = jnp.ones_like(x)

        def along_x(x):
            return jax.jvp(lambda x: u_of(params, x, t), [x], [ones])

        (u, u_x), (_, u_xx) = jax.jvp(along_x, [x], [ones])
        u_t = jax.jvp(lambda t: u_of(params, x, t), [t], [ones])[1]
        return u, u_x, u_t, u_xx

    def loss_of(params, points, boundary):
        u, u_x, u_t, u_xx = (by_batch if forward else by_point)(params, *points)
        x0, t0, u0 = boundary
        residual = u_t + u * u_x - VISCOSITY * u_xx
        return jnp.mean(residual**2) + jnp.mean((u_of(params, x0, t0) - u0) ** 2)

    weights, *data = problem(case)
    points, boundary = ([a[:, 0] for a in arrays] for arrays in data)
    params = jax.tree.map(jnp.asarray, weights)
    if case.optimizer != "adam":
        flat, unravel = ravel_pytree(params)
        slope = jax.jit(jax.value_and_grad(lambda flat, *data: loss_of(unravel(flat), *data)))

        def evaluate(vector):
            return map(np.asarray, slope(vector, points, boundary))

        return descent(case, [flat], evaluate)
    train, state = adam(loss_of, params, case.rate, EPSILON)
    if many:
        return scanned(train, state, case.steps, *map(jax.device_put, (points, boundary)))
    call = jax.jit(train, donate_argnums=0)

    def step():
        nonlocal state
        state, loss = call(state, points, boundary)
        return float(loss)

    return step


def scanned(train, state, steps, *data):
    """Give `step()`: so many steps by one donated `jax.jit` of a `lax.scan`, their losses."""
    import jax

    @functools.partial(jax.jit, donate_argnums=0)
    def loop(state, *data):
        return jax.lax.scan(lambda state, _: train(state, *data), state, length=steps)

    def step():
        nonlocal state
        state, losses = loop(state, *data)
        return np.asarray(losses)

    return step


def torch(case, cores):
    """In PyTorch: `torch.autograd.grad` with `create_graph`, then `backward`."""
    import torch
    from torch import nn

    torch.set_num_threads(cores)
    device = set_torch(case.precision)
    weights, points, boundary = problem(case)
    model = perceptron(weights, nn.Tanh).to(device)
    params = list(model.parameters())
    optimizer = torch.optim.Adam(params, case.rate, (BETA1, BETA2), EPSILON)

    def backward():
        x, t = (torch.from_numpy(a).to(device).requires_grad_() for a in points)
        x0, t0, u0 = (torch.from_numpy(a).to(device) for a in boundary)
        u = model(torch.cat([x, t], 1))
        u_x, u_t = torch.autograd.grad(u.sum(), [x, t], create_graph=True)
        (u_xx,) = torch.autograd.grad(u_x.sum(), x, create_graph=True)
        loss = (u_t + u * u_x - VISCOSITY * u_xx).square().mean()
        loss = loss + (model(torch.cat([x0, t0], 1)) - u0).square().mean()
        optimizer.zero_grad()
        loss.backward()
        return loss

    def adam():
        loss = backward()
        optimizer.step()
        return loss.item()

    def evaluate(vector):
        nn.utils.vector_to_parameters(torch.from_numpy(vector).to(device), params)
        loss = backward()
        return loss.item(), torch.cat([p.grad.reshape(-1) for p in params]).cpu().numpy()

    if case.optimizer == "adam":
        return adam
    return descent(case, [p.detach().cpu().numpy() for p in params], evaluate)
