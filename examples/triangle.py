"""The triangle problem: tell points inside a triangle (+1) from points outside it (-1) by neurons.

One neuron draws one line, and no line cuts out a triangle. Three sigmoid neurons draw three lines,
and a fourth neuron combines what they say. Throw the sigmoid away, and the same network is a linear
function again: it fails. Run it by

    pip install -e '.[examples]'
    python examples/triangle.py --out runs/triangle
"""

import argparse
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from tqdm import trange

import headrace as tf

plt.switch_backend("Agg")  # pictures go to files: no display is needed

CORNERS = np.array([(-0.9, -0.8), (0.9, -0.8), (0.0, 0.9)])  # anticlockwise, in the square -1..1


def random_points(n, random):
    """Points x [n, 2] of the square, and y [n, 1]: +1 inside the triangle, -1 outside."""
    x = random.uniform(-1, 1, (n, 2))
    side, to_x = np.roll(CORNERS, -1, axis=0) - CORNERS, x[:, None] - CORNERS
    left_of_side = side[:, 0] * to_x[..., 1] > side[:, 1] * to_x[..., 0]  # [n, 3]
    y = np.where(left_of_side.all(axis=1, keepdims=True), 1, -1)
    return x.astype(np.float32), y.astype(np.float32)


def solve(activation, x, y, questions, steps, seed):
    """Train three hidden neurons and one of output to give d the sign of y; x [n, 2], y [n, 1].

    Returns the hidden neurons' weights w [2, 3], b [3], the output's v [3, 1], c [1], and d [m, 1]
    for each array [m, 2] of points in `questions`.
    """
    with tf.Graph().as_default(), tf.Session() as session:
        tf.set_random_seed(seed)
        points = tf.placeholder(tf.float32, shape=(None, 2))
        target = tf.placeholder(tf.float32, shape=(None, 1))
        w = tf.get_variable("w", shape=(2, 3))
        b = tf.get_variable("b", shape=(3,), initializer=tf.zeros_initializer())
        v = tf.get_variable("v", shape=(3, 1))
        c = tf.get_variable("c", shape=(1,), initializer=tf.zeros_initializer())
        z = activation(points @ w + b)
        d = z @ v + c
        loss = tf.reduce_mean(tf.nn.softplus(-target * d))  # the log loss, -log sigmoid(target * d)
        step = tf.train.AdamOptimizer(0.1).minimize(loss)

        session.run(tf.global_variables_initializer())
        for _ in trange(steps, desc="training", unit="step"):
            session.run(step, {points: x, target: y})
        return session.run([w, b, v, c]), [session.run(d, {points: q}) for q in questions]


def draw(axis, title, x, y, grid, d, lines):
    """Draw the points, the sign of d [k, k] over grid [k, k, 2], where lines [k, k, 3] are zero."""
    axis.set(title=title, aspect="equal", xlabel="$x_1$", ylabel="$x_2$")
    axis.set(xticks=(-1, 0, 1), yticks=(-1, 0, 1))
    axis.contourf(*grid.T, d.T, levels=[-np.inf, 0, np.inf], colors=["#f7e3da", "#d9e6f5"])
    axis.fill(*CORNERS.T, fill=False, ec="#7fb69a", lw=4, label="the triangle")
    for line in lines.T:
        axis.contour(*grid.T, line, levels=[0], colors="black", linestyles="--")
    axis.plot([], [], "k--", label="a hidden neuron's line")
    for sign, marker, colour in ((1, "+", "#1f4e8c"), (-1, "_", "#b04a28")):
        axis.scatter(
            *x[y[:, 0] == sign].T, s=25, lw=1, marker=marker, color=colour, label=f"{sign:+}"
        )


def main():
    """Solve the triangle with the sigmoid and without it, compare, draw."""
    parser = argparse.ArgumentParser(
        description=(__doc__ or "").partition("\n")[0],
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--steps", type=int, default=1000, help="of training")
    parser.add_argument("--seed", type=int, default=1, help="of the points and the weights")
    parser.add_argument("--out", type=Path, default="runs/triangle", help="folder for the picture")
    args = parser.parse_args()

    random = np.random.RandomState(args.seed)
    (x, y), (new_x, new_y) = random_points(1000, random), random_points(5000, random)
    ticks = np.linspace(-1, 1, 301, dtype=np.float32)
    grid = np.stack(np.meshgrid(ticks, ticks), axis=-1)
    questions = new_x, grid.reshape(-1, 2)
    networks = {
        "three sigmoid neurons": solve(tf.sigmoid, x, y, questions, args.steps, args.seed),
        "no activation": solve(tf.identity, x, y, questions, args.steps, args.seed),
    }

    figure, axes = plt.subplots(1, 2, figsize=(10, 5.6), layout="constrained")
    for axis, (name, ((w, b, _, _), (new_d, grid_d))) in zip(axes, networks.items(), strict=True):
        accuracy = np.mean(np.sign(new_d) == new_y)
        print(f"{name + ':':22} accuracy {accuracy:.2%} on {len(new_x)} new points")
        title = f"{name}: {accuracy:.1%} right"
        draw(axis, title, x, y, grid, grid_d.reshape(grid.shape[:2]), grid @ w + b)
    print(f"{'always -1:':22} accuracy {np.mean(new_y < 0):.2%}")

    (w, b, v, c), (new_d, _) = networks["no activation"]
    (a1, a2), a0 = (w @ v)[:, 0], (b @ v + c)[0]  # a1 = w11 v1 + w12 v2 + w13 v3, as on the slide
    difference = np.abs(new_d[:, 0] - (a0 + new_x @ (a1, a2))).max()
    print(f"No activation is a linear model: d = {a0:.4f} {a1:+.4f} x1 {a2:+.4f} x2,")
    print(f"which differs from what the network computes by {difference:.0e} at most.")

    figure.legend(
        *axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=4, frameon=False
    )
    args.out.mkdir(parents=True, exist_ok=True)
    figure.savefig(args.out / "triangle.png", dpi=120)
    print(f"wrote {args.out / 'triangle.png'}")


if __name__ == "__main__":
    main()
