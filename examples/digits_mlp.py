"""Teach a dense network to read handwritten digits, then show how it learnt and what it got wrong.

A TensorFlow 1 program in which two things are headrace's: the import, and `run_steps`, which runs
an epoch in one call of XLA. Run it with `make run`, or

    pip install -e '.[examples]'
    python examples/digits_mlp.py --epochs 60 --out runs/digits

It logs for TensorBoard and saves after every epoch. When it is started again it goes on after the
last whole epoch, however it was stopped. The images come in the order in which they would have
come; a checkpoint holds no random numbers, though, so dropout draws its own anew.
"""

import argparse
import os
import sys
import time
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from tqdm import tqdm

import headrace as tf

plt.switch_backend("Agg")  # pictures go to files: no display is needed

DATA = Path(__file__).parent / "data" / "digits.csv.gz"
LAYERS = (64, 256, 128, 10)
KEEP = 0.7  # the part of a hidden layer that dropout leaves on while training
BATCH = 32
HELD_OUT = 357  # which leaves 1,440 images to learn from: 45 whole batches
PARTS = ("training", "held_out")  # folders of the logs, and so TensorBoard's names of the curves


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


def read_curve(folder, epochs):
    """Loss and accuracy [2, epochs] as they were logged in a folder; NaN where they were not."""
    logged = {}
    for file in sorted(folder.glob("events.*")):  # one for each start, the latest last
        for event in tf.train.summary_iterator(file):
            for value in event.summary.value:
                logged[value.tag, event.step] = value.simple_value
    return np.array(
        [[logged.get((tag, i), np.nan) for i in epochs] for tag in ("loss", "accuracy")]
    )


def draw_curves(out, done, path):
    """Draw loss and accuracy of `done` epochs, of this start and of those before."""
    epochs = range(1, done + 1)
    train, test = (read_curve(out / part, epochs) * [[1], [100]] for part in PARTS)
    figure, axes = plt.subplots(1, 2, figsize=(10, 4), layout="constrained")
    for i, (axis, title) in enumerate(zip(axes, ("loss", "accuracy, %"), strict=True)):
        axis.plot(epochs, train[i], ".-", color="#4477aa", label="training")
        axis.plot(epochs, test[i], ".-", color="#cc6644", label="held out")
        axis.set(title=title, xlabel="epoch", xlim=(0, 1.03 * done))
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
    """Read the digits, build the graph, train or go on training, report, draw."""
    parser = argparse.ArgumentParser(
        description=(__doc__ or "").partition("\n")[0],
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--epochs", type=int, default=60, help="passes over the training images")
    parser.add_argument("--seed", type=int, default=0, help="of the weights and the batches")
    parser.add_argument("--out", type=Path, default="runs/digits", help="folder for all it writes")
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
    epochs_done = tf.Variable(0, trainable=False, name="epochs_done")
    end_epoch = epochs_done.assign_add(1)
    seed = tf.Variable(args.seed, trainable=False, name="seed")
    tf.summary.scalar("loss", loss)
    tf.summary.scalar("accuracy", accuracy)
    summaries = tf.summary.merge_all()
    saver = tf.train.Saver()

    train, test = {x: images, y: labels}, {x: test_images, y: test_labels}
    args.out.mkdir(parents=True, exist_ok=True)
    with tf.Session() as session:
        checkpoint = tf.train.latest_checkpoint(args.out)
        if checkpoint is None:
            session.run(tf.global_variables_initializer())
        else:
            saver.restore(session, checkpoint)
            if session.run(seed) != args.seed:
                parser.error(f"{args.out} is of --seed {session.run(seed)}: choose another --out")
            print(f"going on from {checkpoint}")
        first = done = session.run(epochs_done)
        shuffle = np.random.RandomState(args.seed)
        for _ in range(done):
            shuffle.permutation(len(images))  # as the starts before did
        logs = [tf.summary.FileWriter(args.out / part, session.graph) for part in PARTS]
        started = time.perf_counter()
        try:
            epochs = range(done, args.epochs)
            with tqdm(epochs, "training", args.epochs, unit="epoch", initial=done) as bar:
                for epoch in bar:
                    rows = shuffle.permutation(len(images)).reshape(-1, BATCH)
                    session.run_steps(
                        step, {keep: KEEP}, batches={x: images[rows], y: labels[rows]}
                    )
                    session.run(end_epoch)
                    for log, part in zip(logs, (train, test), strict=True):
                        log.add_summary(session.run(summaries, part), epoch + 1)
                    saver.save(session, args.out / "model", global_step=epoch + 1)
                    done = epoch + 1
        except KeyboardInterrupt:
            saved = tf.train.latest_checkpoint(args.out) or "the start"
            print(f"stopped: the same command goes on from {saved}")
            return 130  # as shells say it
        finally:
            for log in logs:
                log.close()
        seconds = time.perf_counter() - started
        reached = [session.run([loss, accuracy], part) for part in (train, test)]
        probabilities = session.run(tf.nn.softmax(logits), test)

    if done > first:
        print(f"{' → '.join(map(str, LAYERS))} network, {done - first} epochs in {seconds:.1f} s")
    else:
        print(f"all {done} epochs were done before: --epochs {2 * done} goes on")
    for name, (final_loss, final_accuracy) in zip(("train", "test"), reached, strict=True):
        print(f"{name:5}  loss {final_loss:.4f}  accuracy {final_accuracy:.2%}")
    draw_curves(args.out, done, args.out / "curves.png")
    draw_mistakes(test_images, test_labels, probabilities, args.out / "mistakes.png")
    python = os.path.relpath(sys.executable)
    print(f"to see it in TensorBoard: {python} -m tensorboard.main --logdir {args.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
