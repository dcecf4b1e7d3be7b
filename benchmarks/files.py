"""What writes files, in a process of its own: `files.py PROBLEM NAME CORES`.

It is asked as `worker.py` is. PROBLEM is "checkpoint" or "events", and NAME is "headrace" or
"tensorflow": the program is the same.
"""

import importlib
import os
import shutil
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from worker import serve

MODULES = {"headrace": "headrace", "tensorflow": "tensorflow.compat.v1"}
VERSIONS = {"headrace": "headrace", "tensorflow": "tensorflow"}


class Files:
    """What both problems begin with."""

    def __init__(self, name):
        """Import the framework."""
        self.name = name
        self.tf = importlib.import_module(MODULES[name])
        if name == "tensorflow":
            self.tf.disable_v2_behavior()

    def hello(self):
        """Say its version."""
        return {"version": importlib.import_module(VERSIONS[self.name]).__version__}


def most_memory():
    """Bytes that this process had in memory at most since `forget_most_memory`."""
    with open("/proc/self/status") as lines:
        return next(int(line.split()[1]) << 10 for line in lines if line.startswith("VmHWM"))


def forget_most_memory():
    """Start counting anew."""
    Path("/proc/self/clear_refs").write_text("5")


class Checkpoint(Files):
    """Saves and restores variables."""

    def build(self, mib, variables):
        """Make so many variables of so many MiB together, number i filled with i."""
        tf = self.tf
        rows = (mib << 20) // 4 // variables
        made = [
            tf.Variable(tf.fill([rows], np.float32(i)), name=f"layer_{i}/weights")
            for i in range(variables)
        ]
        self.ends = [made[0][-1], made[-1][-1]]
        self.clear = [tf.assign(v, tf.zeros_like(v)) for v in (made[0], made[-1])]
        self.wanted = [0.0, variables - 1.0]
        self.saver = tf.train.Saver(max_to_keep=1)
        self.session = tf.Session()
        self.session.run(tf.global_variables_initializer())
        return {}

    def save(self, path):
        """Save; give the seconds, those of them on a CPU, and the bytes that it took besides."""
        return self._time(lambda: self.saver.save(self.session, path, write_meta_graph=False))

    def restore(self, path):
        """Restore; give the same."""
        self.session.run(self.clear)
        taken = self._time(lambda: self.saver.restore(self.session, path))
        found = [float(end) for end in self.session.run(self.ends)]
        if found != self.wanted:
            raise ValueError(f"{path} gave {found}, not {self.wanted}")
        return taken

    def _time(self, act):
        forget_most_memory()
        memory, cpu, start = most_memory(), time.process_time(), time.perf_counter()
        act()
        return {
            "seconds": time.perf_counter() - start,
            "cpu": time.process_time() - cpu,
            "bytes": most_memory() - memory,
        }


class Events(Files):
    """Logs, in a folder that is empty each time."""

    LAYERS, BATCH, SCALARS = (64, 64, 10), 32, 10

    def build(self):
        """A network in training with a summary, and scalars alone."""
        tf, numbers = self.tf, np.random.RandomState(0)
        x = numbers.randn(self.BATCH, self.LAYERS[0]).astype(np.float32)
        labels = numbers.randint(0, self.LAYERS[-1], self.BATCH).astype(np.int32)
        self.x, self.y = tf.placeholder(tf.float32, x.shape), tf.placeholder(tf.int32, labels.shape)
        self.feeds, h = {self.x: x, self.y: labels}, self.x
        shown = []
        for i, (m, n) in enumerate(zip(self.LAYERS, self.LAYERS[1:], strict=False)):
            start = (numbers.randn(m, n) / np.sqrt(m)).astype(np.float32)
            w, b = tf.Variable(start, name=f"w{i}"), tf.Variable(tf.zeros([n]), name=f"b{i}")
            shown.append(tf.summary.histogram(f"weights{i}", w))
            h = tf.matmul(tf.nn.relu(h) if i else h, w) + b
        self.loss = tf.reduce_mean(
            tf.nn.sparse_softmax_cross_entropy_with_logits(labels=self.y, logits=h)
        )
        shown.append(tf.summary.scalar("loss", self.loss))
        self.step = tf.train.GradientDescentOptimizer(0.1).minimize(self.loss)
        self.merged = tf.summary.merge(shown)
        value = tf.placeholder(tf.float32, ())
        self.value, self.scalars = value, tf.summary.merge(
            [tf.summary.scalar(f"scalar{i}", value + float(i)) for i in range(self.SCALARS)]
        )  # fmt: skip
        self.session = tf.Session()
        self.session.run(tf.global_variables_initializer())
        losses = [self.session.run([self.step, self.loss], self.feeds)[1] for _ in range(5)]
        for _ in range(20):  # until all is compiled
            self.session.run([self.step, self.merged], self.feeds)
            self.session.run(self.scalars, {value: 1.0})
        return {"losses": [float(loss) for loss in losses]}

    def by_hand(self, events):
        """Add Summaries that are there already; give the seconds until all are in the file."""
        tf = self.tf
        made = [
            tf.Summary(value=[tf.Summary.Value(tag="loss", simple_value=1 / (i + 1))])
            for i in range(events)
        ]

        def act(out):
            for i, summary in enumerate(made):
                out.add_summary(summary, i)

        return self._log(act, events)

    def by_run(self, events):
        """Run a merge of ten scalars and add it, again and again; give the same."""
        session, scalars, value = self.session, self.scalars, self.value

        def act(out):
            for i in range(events):
                out.add_summary(session.run(scalars, {value: i}), i)

        return self._log(act, events)

    def steps(self, steps, logged):
        """Train, with or without summaries that are fetched and added; give the seconds."""
        session, feeds = self.session, self.feeds

        def with_summaries(out):
            for i in range(steps):
                out.add_summary(session.run([self.step, self.merged], feeds)[1], i)

        def without(out):
            for _ in range(steps):
                session.run([self.step, self.loss], feeds)

        return self._log(with_summaries if logged else without, steps if logged else 0)

    def _log(self, act, events):
        folder = tempfile.mkdtemp(prefix="events-")
        try:
            out = self.tf.summary.FileWriter(folder)
            start = time.perf_counter()
            act(out)
            out.flush()
            seconds = time.perf_counter() - start
            out.close()
            for name in os.listdir(folder):  # TensorFlow makes none for no events
                found = list(self.tf.train.summary_iterator(os.path.join(folder, name)))
                if len(found) != 1 + events:
                    raise ValueError(f"{len(found)} events in the file, {1 + events} were added")
            return {"seconds": seconds}
        finally:
            shutil.rmtree(folder)


if __name__ == "__main__":
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    made = {"checkpoint": Checkpoint, "events": Events}[sys.argv[1]]
    serve(made(sys.argv[2]), sys.stdin, answers)
