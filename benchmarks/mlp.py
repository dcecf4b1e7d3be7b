"""One training step of a dense network, written once for every framework.

`PROGRAMS` is the table of them. A program's `make(case, cores)` builds the network of a `Case` from
the same initial weights and returns `step()`: feed the same NumPy batch, update the weights, fetch
the loss of before the update. Nothing is imported here but NumPy: each `make` imports its own.
"""

import functools
import itertools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-10


@dataclass(frozen=True)
class Case:
    """Widths of the layers (relu between, cross-entropy after), examples a batch, optimizer."""

    layers: tuple[int, ...]
    batch: int
    optimizer: str  # "gradient descent" or "adam"

    def __str__(self):
        """Show layers and batch."""
        return f"{'-'.join(map(str, self.layers))}, batch {self.batch}"

    @property
    def rate(self):
        """Learning rate: large enough that five steps tell optimizers apart, yet stable."""
        return 0.05 if self.optimizer == "gradient descent" else min(0.01, 0.1 / max(self.layers))

    @property
    def flops(self):
        """Arithmetic of the matrix products: X W, Xᵀ dZ and, but for the first layer, dZ Wᵀ."""
        products = [m * n for m, n in itertools.pairwise(self.layers)]
        return 2 * self.batch * (3 * sum(products) - products[0])


@dataclass(frozen=True)
class Program:
    """A row of the table: label, the module whose presence decides, and `make(case, cores)`."""

    label: str
    module: str
    make: Callable


def problem(case):
    """Initial weights [(w [in, out], b [out]), ...], inputs x [batch, in], labels y [batch, out].

    All float32 from a fixed seed. Labels are one-hot; for a single output they are 0 or 1. Inputs
    come twice, with labels of their own each time: however many steps are timed, the loss stays
    away from zero and no gradient fades into denormal numbers.
    """
    rng = np.random.default_rng(20)
    weights = [
        (
            (rng.standard_normal((m, n)) * (2 / m) ** 0.5).astype(np.float32),
            (rng.standard_normal(n) * 0.1).astype(np.float32),
        )
        for m, n in itertools.pairwise(case.layers)
    ]
    x = rng.standard_normal((case.batch, case.layers[0])).astype(np.float32)
    x[case.batch // 2 :] = x[: case.batch // 2]
    classes = rng.integers(max(case.layers[-1], 2), size=case.batch)
    if case.layers[-1] == 1:
        return weights, x, classes[:, None].astype(np.float32)
    return weights, x, np.eye(case.layers[-1], dtype=np.float32)[classes]


def session_program(tf, case, cores, callable_=False):
    """Run a TensorFlow-1 program; `tf` is TensorFlow's compat.v1 or headrace."""
    weights, inputs, labels = problem(case)
    with tf.Graph().as_default() as graph:
        x = tf.placeholder(tf.float32, [None, case.layers[0]], name="x")
        y = tf.placeholder(tf.float32, [None, case.layers[-1]], name="y")
        h = x
        for i, (w, b) in enumerate(weights):
            z = tf.matmul(h, tf.Variable(w, name=f"w{i}")) + tf.Variable(b, name=f"b{i}")
            h = tf.nn.relu(z)
        if case.layers[-1] == 1:
            losses = tf.nn.sigmoid_cross_entropy_with_logits(labels=y, logits=z)
        else:
            losses = tf.nn.softmax_cross_entropy_with_logits_v2(labels=y, logits=z)
        loss = tf.reduce_mean(losses)
        if case.optimizer == "adam":
            optimizer = tf.train.AdamOptimizer(case.rate, BETA1, BETA2, EPSILON)
        else:
            optimizer = tf.train.GradientDescentOptimizer(case.rate)
        train = optimizer.minimize(loss)
        init = tf.global_variables_initializer()
    session = tf.Session(
        graph=graph,
        config=tf.ConfigProto(
            intra_op_parallelism_threads=cores, inter_op_parallelism_threads=cores
        ),
    )
    session.run(init)
    if callable_:
        run = session.make_callable([train, loss], feed_list=[x, y])
        return lambda: run(inputs, labels)[1]
    fetches, feeds = [train, loss], {x: inputs, y: labels}
    return lambda: session.run(fetches, feeds)[1]


def headrace(case, cores, callable_=False):
    """`session_program` in headrace."""
    import headrace as tf

    return session_program(tf, case, cores, callable_)


def tensorflow(case, cores, callable_=False):
    """`session_program` in TensorFlow, with its second version's behaviour off."""
    import tensorflow.compat.v1 as tf

    tf.disable_v2_behavior()
    return session_program(tf, case, cores, callable_)


def jax(case, cores, fetch: Callable = float):
    """JAX's ordinary idiom: one donated `jax.jit` call a step, then the loss as a float."""
    import jax
    import jax.numpy as jnp

    def loss_of(params, x, y):
        h = x
        for w, b in params:
            z = h @ w + b
            h = jax.nn.relu(z)
        if case.layers[-1] == 1:
            return jnp.mean(jax.nn.softplus(z) - z * y)
        return -jnp.mean(jnp.sum(y * jax.nn.log_softmax(z), axis=-1))

    @functools.partial(jax.jit, donate_argnums=0)
    def descend(params, x, y):
        loss, grads = jax.value_and_grad(loss_of)(params, x, y)
        return jax.tree.map(lambda p, g: p - case.rate * g, params, grads), loss

    @functools.partial(jax.jit, donate_argnums=0)
    def adam(state, x, y):
        params, m, v, t = state
        loss, grads = jax.value_and_grad(loss_of)(params, x, y)
        t = t + 1
        rate = case.rate * jnp.sqrt(1 - BETA2**t) / (1 - BETA1**t)
        m = jax.tree.map(lambda m, g: m + (1 - BETA1) * (g - m), m, grads)
        v = jax.tree.map(lambda v, g: v + (1 - BETA2) * (g * g - v), v, grads)
        params = jax.tree.map(lambda p, m, v: p - rate * m / (jnp.sqrt(v) + EPSILON), params, m, v)
        return (params, m, v, t), loss

    weights, x, y = problem(case)
    train, state = descend, jax.tree.map(jnp.asarray, weights)
    if case.optimizer == "adam":
        zeros = functools.partial(jax.tree.map, jnp.zeros_like)
        train, state = adam, (state, zeros(state), zeros(state), jnp.float32(0))

    def step():
        nonlocal state
        state, loss = train(state, x, y)
        return fetch(loss)

    return step


def torch(case, cores):
    """PyTorch, eagerly: `nn.Sequential`, `torch.optim` as they come, `loss.item()`."""
    import torch
    from torch import nn

    torch.set_num_threads(cores)
    weights, x, y = problem(case)
    layers = []
    for w, b in weights:
        layer = nn.Linear(*w.shape)
        layer.weight.data = torch.from_numpy(w.T.copy())
        layer.bias.data = torch.from_numpy(b)
        layers += [layer, nn.ReLU()]
    model = nn.Sequential(*layers[:-1])
    binary = case.layers[-1] == 1
    loss_of = nn.BCEWithLogitsLoss() if binary else nn.CrossEntropyLoss()
    if case.optimizer == "adam":
        optimizer = torch.optim.Adam(model.parameters(), case.rate, (BETA1, BETA2), EPSILON)
    else:
        optimizer = torch.optim.SGD(model.parameters(), case.rate)

    def step():
        optimizer.zero_grad()
        loss = loss_of(model(torch.from_numpy(x)), torch.from_numpy(y))
        loss.backward()
        optimizer.step()
        return loss.item()

    return step


def numpy(case, cores):
    """NumPy by hand: the forward pass, the backward pass and the update written out."""
    weights, inputs, labels = problem(case)
    params = [p for layer in weights for p in layer]
    moments = [(np.zeros_like(p), np.zeros_like(p)) for p in params]
    updates = 0

    def gradients():
        outputs = [inputs]
        for w, b in weights:
            z = outputs[-1] @ w
            z += b
            outputs.append(np.maximum(z, 0))
        if case.layers[-1] == 1:
            e = np.exp(-np.abs(z))
            loss = np.mean(np.maximum(z, 0) - z * labels + np.log1p(e))
            dz = np.where(z >= 0, 1, e) / (1 + e) - labels
        else:
            z -= z.max(axis=1, keepdims=True)
            e = np.exp(z)
            total = e.sum(axis=1, keepdims=True)
            loss = np.mean((np.log(total) - z)[labels == 1])
            dz = e / total - labels
        dz /= len(inputs)
        grads = []
        for i in reversed(range(len(weights))):
            grads = [outputs[i].T @ dz, dz.sum(axis=0), *grads]
            if i:
                dz = dz @ weights[i][0].T
                dz *= outputs[i] > 0
        return loss, grads

    def step():
        nonlocal updates
        loss, grads = gradients()
        updates += 1
        if case.optimizer == "adam":
            rate = case.rate * (1 - BETA2**updates) ** 0.5 / (1 - BETA1**updates)
            for p, g, (m, v) in zip(params, grads, moments, strict=True):
                m += (1 - BETA1) * (g - m)
                v += (1 - BETA2) * (g * g - v)
                p -= rate * m / (np.sqrt(v) + EPSILON)
        else:
            for p, g in zip(params, grads, strict=True):
                g *= case.rate
                p -= g
        return loss

    return step


def sklearn(case, cores):
    """scikit-learn's `partial_fit`, started from our weights; its labels are class numbers."""
    from sklearn.neural_network import MLPClassifier

    weights, x, y = problem(case)
    model = MLPClassifier(
        case.layers[1:-1], alpha=0, batch_size=case.batch, shuffle=False, momentum=0,
        learning_rate_init=case.rate, beta_1=BETA1, beta_2=BETA2, epsilon=EPSILON,
        solver="adam" if case.optimizer == "adam" else "sgd", nesterovs_momentum=False,
    )  # fmt: skip
    labels = y[:, 0].astype(int) if case.layers[-1] == 1 else y.argmax(axis=1)
    classes = range(max(case.layers[-1], 2))
    model.partial_fit(x, labels, classes=classes)  # only to make the arrays
    for (w, b), coef, intercept in zip(weights, model.coefs_, model.intercepts_, strict=True):
        coef[...], intercept[...] = w, b
    del model._optimizer  # its moments have seen other weights; it is made anew

    def step():
        nonlocal classes
        model.partial_fit(x, labels, classes=classes)
        classes = None  # wanted only by the call that makes the optimizer
        return model.loss_

    return step


def product(name, n=2048):
    """How often framework `name` multiplies two float32 matrices [n, n]: a step without a loss."""
    a = np.random.default_rng(0).standard_normal((n, n)).astype(np.float32)
    if name == "tensorflow":
        import tensorflow.compat.v1 as tf

        with tf.Graph().as_default() as graph:
            x = tf.Variable(a)
            run, init = tf.matmul(x, x).op, tf.global_variables_initializer()
        session = tf.Session(graph=graph)
        session.run(init)
        return lambda: session.run(run)
    if name == "jax":
        import jax

        x, multiply = jax.device_put(a), jax.jit(lambda x: x @ x)
        return lambda: multiply(x).block_until_ready()
    if name == "torch":
        import torch

        x = torch.from_numpy(a)
        return lambda: x @ x
    return lambda: a @ a


PROGRAMS = {
    "headrace": Program("headrace, Session.run", "headrace", headrace),
    "jax": Program("JAX, jax.jit and float(loss)", "jax", jax),
    "tensorflow": Program("TensorFlow, Session.run", "tensorflow", tensorflow),
    "torch": Program("PyTorch, eager", "torch", torch),
    "numpy": Program("NumPy by hand", "numpy", numpy),
    "headrace-callable": Program(
        "headrace, make_callable", "headrace", functools.partial(headrace, callable_=True)
    ),
    "jax-asarray": Program(
        "JAX, jax.jit and np.asarray(loss)", "jax", functools.partial(jax, fetch=np.asarray)
    ),
    "tensorflow-callable": Program(
        "TensorFlow, make_callable", "tensorflow", functools.partial(tensorflow, callable_=True)
    ),
    "sklearn": Program("scikit-learn, partial_fit", "sklearn", sklearn),
}
