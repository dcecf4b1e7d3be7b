"""Suite `loop`: whole loops in one call; `loop.py NAME CORES CASE` is one fresh process's turn.

The same batch again and again at two small sizes, and an epoch of 60,000 shuffled examples, whose
data lie on the device. Plain gradient descent, the losses of all steps fetched.
"""

import json
import statistics
import sys
import time

import numpy as np
from mlp import PROGRAMS, Case, problem

RATE = "gradient descent"
CASES = {
    "2-3-1": (Case((2, 3, 1), 20, RATE), 50_000),
    "64-64-10": (Case((64, 64, 10), 32, RATE), 10_000),
    "epoch": (Case((784, 256, 128, 10), 128, RATE), 468),
}
EXAMPLES, TURNS, AGREE, CHECKED = 60_000, 5, 1e-4, 5
WAYS = {"headrace": "headrace, run_steps", "scan": "JAX, lax.scan", "jax": "JAX, a call a step"}
TARGETS = {"2-3-1": ("jax", 10), "64-64-10": ("jax", 3), "epoch": ("scan", 1.2)}


def data(case):
    """Inputs [EXAMPLES, in] and one-hot labels [EXAMPLES, out] from a fixed seed."""
    rng = np.random.default_rng(21)
    x = rng.standard_normal((EXAMPLES, case.layers[0]), np.float32)
    return x, np.eye(case.layers[-1], dtype=np.float32)[rng.integers(case.layers[-1], size=len(x))]


def rows(case, random):
    """Which examples each step of an epoch takes, int32 [steps, batch]."""
    whole = EXAMPLES // case.batch * case.batch
    return random.permutation(EXAMPLES)[:whole].reshape(-1, case.batch).astype(np.int32)


def headrace(case, steps, shuffled):
    """Give a function that runs the steps in whole loops: the losses [steps]."""
    import headrace as tf

    weights, inputs, labels = problem(case)
    x = tf.placeholder(tf.float32, [None, case.layers[0]])
    y = tf.placeholder(tf.float32, [None, case.layers[-1]])
    h = x
    for w, b in weights:
        z = tf.matmul(h, tf.Variable(w)) + tf.Variable(b)
        h = tf.nn.relu(z)
    if case.layers[-1] == 1:
        losses = tf.nn.sigmoid_cross_entropy_with_logits(labels=y, logits=z)
    else:
        losses = tf.nn.softmax_cross_entropy_with_logits_v2(labels=y, logits=z)
    loss = tf.reduce_mean(losses)
    train = tf.train.GradientDescentOptimizer(case.rate).minimize(loss)
    session = tf.Session()
    session.run(tf.global_variables_initializer())
    if shuffled:
        inputs, labels = data(case)
        loop = session.make_loop(
            [train, loss], data={x: inputs, y: labels}, batch_size=case.batch, shuffle=0
        )
    else:
        loop = session.make_loop([train, loss], {x: inputs, y: labels})
    return lambda: loop(steps)[1]


def scan(case, steps, shuffled):
    """Give the same of a `lax.scan` by hand, under one donated `jax.jit`."""
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

    def descend(params, x, y):
        loss, grads = jax.value_and_grad(loss_of)(params, x, y)
        return jax.tree.map(lambda p, g: p - case.rate * g, params, grads), loss

    def loop(params, x, y, index):
        def turn(params, i):
            return descend(params, x[i], y[i]) if shuffled else descend(params, x, y)

        return jax.lax.scan(turn, params, index, length=steps)

    weights, x, y = problem(case)
    if shuffled:
        x, y = map(jax.device_put, data(case))
    params, random = jax.tree.map(jnp.asarray, weights), np.random.RandomState(0)
    call = jax.jit(loop, donate_argnums=0)

    def run():
        nonlocal params
        params, losses = call(params, x, y, rows(case, random) if shuffled else None)
        return np.asarray(losses)

    return run


def jax(case, steps, shuffled):
    """Give the same, a call of `jax.jit` a step, as `benchmarks/step.py` times it."""
    step = PROGRAMS["jax"].make(case, 1)
    return lambda: np.array([step() for _ in range(steps)])


def once(way, case_name):
    """Run the steps TURNS times after a first time; seconds a step of each, and first losses."""
    case, steps = CASES[case_name]
    run = {"headrace": headrace, "scan": scan, "jax": jax}[way](case, steps, case_name == "epoch")
    start = time.perf_counter()
    losses = run()
    first = time.perf_counter() - start
    run()  # what was compiled for the first may have been told of a step less
    spent = []
    for _ in range(TURNS):
        start = time.perf_counter()
        run()
        spent.append((time.perf_counter() - start) / steps)
    return {"first": first, "seconds": spent, "losses": losses[:CHECKED].tolist()}


def run(settings):
    """Run the suite; give its Markdown, what failed, versions, and the raw numbers."""
    from process import ChildError, fresh
    from report import ratio, seconds, table, verdict

    samples, notes = {}, []
    for _ in range(settings.starts):
        for name in CASES:
            for way in WAYS:
                if (name, way) == ("epoch", "jax"):
                    continue  # it has no data on the device; the scan is the one to beat
                try:
                    python = settings.python("headrace" if way == "headrace" else "jax")
                    sample = fresh("loop.py", way, settings.cores, name,
                                   python=python, cores=settings.cores)  # fmt: skip
                    samples.setdefault(name, {}).setdefault(way, []).append(sample)
                except ChildError as e:
                    notes.append(f"{name}, {way}: {e}")
    rows_, medians = [], {}
    for name, ways in samples.items():
        firsts = [np.array(s["losses"]) for runs in ways.values() for s in runs]
        if any(np.abs(a / firsts[0] - 1).max() > AGREE for a in firsts):
            notes.append(f"{name}: the losses do not agree: not shown")
            continue
        for way, runs in ways.items():
            medians[name, way] = statistics.median(t for run in runs for t in run["seconds"])
    for way, label in WAYS.items():
        cells = [medians.get((name, way)) for name in CASES]
        rows_.append([label, *("–" if c is None else seconds(c) for c in cells)])
    last = ["times as fast as JAX, target"]
    for name, (rival, bound) in TARGETS.items():
        pair = medians.get((name, rival)), medians.get((name, "headrace"))
        last.append("–" if None in pair else verdict(pair[0] / pair[1], bound, True))
    body = table(["Seconds a step in a loop", *(str(c) for c, _ in CASES.values())], [*rows_, last])
    hand = [medians[n, "scan"] / medians[n, "headrace"] for n in CASES if (n, "scan") in medians]
    body += f"\n\nThe scan's time over ours: {', '.join(map(ratio, hand))}. The last column: "
    body += f"{EXAMPLES:,} examples, shuffled by epoch, on the device; its target is of the scan."
    return body, notes, {}, samples


if __name__ == "__main__":
    print(json.dumps(once(sys.argv[1], sys.argv[3])))
