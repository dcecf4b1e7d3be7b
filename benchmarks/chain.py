"""Suite `chain`: 10,000 elementwise ops one after another; `chain.py NAME CORES OPS` is one run."""

import importlib
import itertools
import json
import math
import statistics
import sys
import time

NAMES = {"headrace": "headrace", "tensorflow": "tensorflow.compat.v1"}
OPS, X, SCALE, SHIFT = 10_000, 0.5, 1.0001, 1e-6


def oracle(ops):
    """Value and derivative of the chain at X, in float64 by the chain rule."""
    y, dy = X, 1.0
    for i in range(ops):
        if i % 4 == 0:
            y, dy = math.sin(y), dy * math.cos(y)
        elif i % 4 == 1:
            y, dy = y * SCALE, dy * SCALE
        elif i % 4 == 2:
            y = math.tanh(y)
            dy *= 1 - y * y
        else:
            y += SHIFT
    return y, dy


def once(name, cores, ops):
    """Build the chain and its gradient and run them three times; seconds for each."""
    tf = importlib.import_module(NAMES[name])
    if name == "tensorflow":
        tf.disable_v2_behavior()
    marks = [time.perf_counter()]
    x = tf.placeholder(tf.float32, [10])
    scale, shift = tf.constant(SCALE), tf.constant(SHIFT)
    y = x
    for i in range(ops):
        if i % 4 == 0:
            y = tf.sin(y)
        elif i % 4 == 1:
            y = y * scale
        elif i % 4 == 2:
            y = tf.tanh(y)
        else:
            y = y + shift
    marks.append(time.perf_counter())
    (g,) = tf.gradients(y, x)
    marks.append(time.perf_counter())
    config = tf.ConfigProto(intra_op_parallelism_threads=cores, inter_op_parallelism_threads=cores)
    with tf.Session(config=config) as session:
        for _ in range(3):
            value, slope = session.run([y, g], {x: [X] * 10})
            marks.append(time.perf_counter())
    names = ("build", "gradients", "run 1", "run 2", "run 3")
    spent = [b - a for a, b in itertools.pairwise(marks)]
    return {**dict(zip(names, spent, strict=True)),
            "value": float(value[0]), "slope": float(slope[-1])}  # fmt: skip


def run(settings):
    """Run the suite; give its Markdown, what failed, versions, and the raw numbers."""
    from process import ChildError, fresh
    from report import ratio, seconds, table, verdict

    names = [name for name in NAMES if name in settings.frameworks]
    samples, notes = {}, []
    expected = oracle(OPS)
    for _ in range(settings.chains):
        for name in tuple(names):
            try:
                sample = fresh(
                    "chain.py", name, settings.cores, OPS,
                    python=settings.python(name), cores=settings.cores,
                )  # fmt: skip
                got = sample["value"], sample["slope"]
                if any(abs(a - b) > 1e-3 * abs(b) for a, b in zip(got, expected, strict=True)):
                    raise ChildError(f"value and slope are {got} and should be {expected}")
            except ChildError as e:
                names.remove(name)
                samples.pop(name, None)
                notes.append(f"{name}: {e}")
                continue
            samples.setdefault(name, []).append(sample)
    columns = ("build", "gradients", "run 1", "run 2", "run 3")
    medians = {
        name: {key: statistics.median(run[key] for run in runs) for key in columns}
        for name, runs in samples.items()
    }
    rows = [[name, *(seconds(medians[name][key]) for key in columns)] for name in medians]
    if set(NAMES) <= set(medians):
        ours, theirs = medians["headrace"], medians["tensorflow"]
        first = [sum(m[key] for key in columns[:3]) for m in (theirs, ours)]
        ratios = [ratio(theirs[key] / ours[key]) for key in columns]
        rows.append(["TensorFlow / headrace", *ratios])
        sooner = verdict(first[0] / first[1], 1, True)
        total = f"\n\nTo the end of run 1, TensorFlow / headrace: {sooner}."
    else:
        total = ""
    body = table([f"{OPS:,} ops and their gradient", *columns], rows) + total
    return body, notes, {}, samples


if __name__ == "__main__":
    print(json.dumps(once(sys.argv[1], *map(int, sys.argv[2:4]))))
