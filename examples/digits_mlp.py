"""Teach a dense network to read handwritten digits, then show how it learnt and what it got wrong.

An ordinary TensorFlow 1 program: only the import is headrace's. Run it with `make run`, or

    pip install -e '.[examples]'
    python examples/digits_mlp.py --epochs 60 --out runs/digits
"""

import argparse
import time
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from tqdm import trange

import headrace as tf

plt.switch_backend("Agg")  # pictures go to files: no display is needed

DATA = Path(__file__).parent / "data" / "digits.csv.gz"
LAYERS = (64, 256, 128, 10)
KEEP = 0.7  # the part of a hidden layer that dropout leaves on while training
BATCH = 32
HELD_OUT = 357  # which leaves 1,440 images to learn from: 45 whole batches


def read_digits():
    """Images [n, 64] with pixels in 0..1 and labels [n], to learn from; and the same, held out.

    Neighbours in the file are by one hand, so both parts are drawn from all over it; always alike.
    """
    table = np.loadtxt(DATA, delimiter=",", skiprows=1, dtype=np.int32)
    table = np.random.RandomState(0).permutation(table)
    images, labels = table[:, :64].astype(np.float32) / 16, table[:, 64]
    return (images[HELD_OUT:], labels[HELD_OUT:]), (images[:HELD_OUT], labels[:HELD_OUT])


def dense(x, units, name, activation=None):
    """One layer, activation(x w + b): [batch, inputs] to [batch, units]."""
    with tf.variable_scope(name):
        w = tf.get_variable("w", shape=(x.shape[1], units))
        b = tf.get_variable("b", shape=(units,), initializer=tf.zeros_initializer())
        z = tf.matmul(x, w) + b
        return z if activation is None else activation(z)


def network(x, keep):
    """Logits [batch, 10] of images [batch, 64]; dropout keeps the part `keep` of a hidden layer."""
    for i, units in enumerate(LAYERS[1:-1], start=1):
        x = tf.nn.dropout(dense(x, units, f"hidden{i}", tf.nn.relu), keep_prob=keep)
    return dense(x, LAYERS[-1], "logits")


def draw_curves(curves, path):
    """Draw curves [epochs, (training, held out), (loss, accuracy)]."""
    epochs = np.arange(1, len(curves) + 1)
    train, test = np.moveaxis(np.array(curves) * (1, 100), 0, 2)  # [2, epochs] each
    figure, axes = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
    for i, (axis, title) in enumerate(zip(axes, ("loss", "accuracy, %"), strict=True)):
        axis.plot(epochs, train[i], ".-", color="#4477aa", label="training")
        axis.plot(epochs, test[i], ".-", color="#cc6644", label="held out")
        axis.set(title=title, xlabel="epoch", xlim=(0, 1.03 * len(curves)))
        axis.spines[["top", "right"]].set_visible(False)
        axis.grid(axis="y", alpha=0.3)
    axes[0].set_yscale("log")
    axes[0].legend(frameon=False)
    save(figure, path)


def draw_mistakes(images, labels, probabilities, path, most=24):
    """Draw the digits that were read wrongly, the most surely wrong first."""
    guesses, sureness = probabilities.argmax(1), probabilities.max(1)
    wrong = np.flatnonzero(guesses != labels)
    wrong = wrong[np.argsort(-sureness[wrong])][:most]
    if not wrong.size:
        print("no digit was read wrongly: nothing to draw")
        return
    columns = min(6, wrong.size)
    rows = -(-wrong.size // columns)
    figure = plt.figure(figsize=(1.7 * columns, 2.1 * rows), layout="constrained")
    for place, i in enumerate(wrong, start=1):
        axis = figure.add_subplot(rows, columns, place, xticks=(), yticks=())
        axis.imshow(images[i].reshape(8, 8), cmap="gray_r", vmin=0, vmax=1)
        axis.set_title(f"{labels[i]}, read as {guesses[i]}\n{sureness[i]:.0%} sure", fontsize=9)
        axis.spines[:].set_color("lightgrey")
    save(figure, path)


def save(figure, path):
    """Write a figure and say where."""
    figure.get_layout_engine().set(w_pad=0.1, h_pad=0.1)
    figure.savefig(path, dpi=120)
    plt.close(figure)
    print(f"wrote {path}")


def main():
    """Read the digits, build the graph, train, report, draw."""
    parser = argparse.ArgumentParser(
        description=(__doc__ or "").partition("\n")[0],
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--epochs", type=int, default=60, help="passes over the training images")
    parser.add_argument("--seed", type=int, default=0, help="of the weights and the batches")
    parser.add_argument("--out", type=Path, default="runs/digits", help="folder for the pictures")
    args = parser.parse_args()
    if args.epochs < 1:
        parser.error("--epochs must be at least 1")

    (images, labels), (test_images, test_labels) = read_digits()
    print(f"{len(images)} digits to learn from, {len(test_images)} held out")

    tf.set_random_seed(args.seed)
    x = tf.placeholder(tf.float32, shape=(None, LAYERS[0]), name="images")
    y = tf.placeholder(tf.int32, shape=(None,), name="labels")
    keep = tf.placeholder_with_default(1.0, shape=(), name="keep")
    logits = network(x, keep)
    loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels=y, logits=logits))
    hits = tf.equal(tf.argmax(logits, axis=1, output_type=tf.int32), y)
    accuracy = tf.reduce_mean(tf.cast(hits, tf.float32))
    step = tf.train.AdamOptimizer(1e-3).minimize(loss)

    shuffle = np.random.RandomState(args.seed)
    train, test = {x: images, y: labels}, {x: test_images, y: test_labels}
    curves = []  # a row for every epoch
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        started = time.perf_counter()
        with trange(args.epochs, desc="training", unit="epoch") as epochs:
            for _ in epochs:
                for batch in shuffle.permutation(len(images)).reshape(-1, BATCH):
                    session.run(step, {x: images[batch], y: labels[batch], keep: KEEP})
                curves.append([session.run([loss, accuracy], part) for part in (train, test)])
                epochs.set_postfix_str(f"held out {curves[-1][1][1]:.2%}", refresh=False)
        seconds = time.perf_counter() - started
        probabilities = session.run(tf.nn.softmax(logits), test)

    print(f"{' → '.join(map(str, LAYERS))} network, {args.epochs} epochs in {seconds:.1f} s")
    for name, (final_loss, final_accuracy) in zip(("train", "test"), curves[-1], strict=True):
        print(f"{name:5}  loss {final_loss:.4f}  accuracy {final_accuracy:.2%}")
    args.out.mkdir(parents=True, exist_ok=True)
    draw_curves(curves, args.out / "curves.png")
    draw_mistakes(test_images, test_labels, probabilities, args.out / "mistakes.png")


if __name__ == "__main__":
    main()
