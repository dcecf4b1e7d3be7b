"""Measure saving and restoring beside TensorFlow: times, and how much memory they take.

    python benchmarks/checkpoint.py                     1 GiB in 10 and in 10,000 variables
    python benchmarks/checkpoint.py --mib 256 --rounds 3 --directory /tmp

Each framework runs in a process of its own, and they take turns. TensorFlow does not wait for the
disk; headrace syncs before it renames. So the table also says how long the disk takes for a plain
write of as much, with and without a sync.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import report

FRAMEWORKS = ("headrace", "tensorflow")


def memory():
    """Bytes that this process has in memory at most so far."""
    with open("/proc/self/status") as lines:
        return next(int(line.split()[1]) << 10 for line in lines if line.startswith("VmHWM"))


def forget_peak():
    """Start the count of `memory` anew."""
    Path("/proc/self/clear_refs").write_text("5")


def child(framework, mib, variables, kind):
    """Obey lines on stdin: save or restore; say how long it took and what memory it added."""
    import numpy as np

    if framework == "headrace":
        import headrace as tf
        from headrace.train.saver import Saver
    else:
        import tensorflow.compat.v1 as tf

        tf.disable_v2_behavior()
        Saver = tf.train.Saver
    rows = (mib << 20) // 4 // variables
    for i in range(variables):
        start = tf.fill([rows], np.float32(i))
        tf.Variable(start, name=f"layer_{i}/weights", use_resource=kind == "resource")
    saver = Saver(max_to_keep=1)
    session = tf.Session()
    session.run(tf.global_variables_initializer())
    names = [v.name for v in tf.global_variables()][:: max(1, variables - 1)]
    for line in sys.stdin:
        what, path = line.split()
        forget_peak()
        before, start = memory(), time.perf_counter()
        if what == "save":
            saver.save(session, path, write_meta_graph=False)
        else:
            saver.restore(session, path)
        taken = time.perf_counter() - start
        last = [float(session.run(name)[-1]) for name in names]
        assert last == [0.0, variables - 1.0][: len(last)], last
        print(json.dumps([taken, memory() - before]), flush=True)


def plain(path, mib, sync):
    """Seconds for writing as much from memory to a file."""
    data = bytes(mib << 20)
    start = time.perf_counter()
    with open(path, "wb") as file:
        file.write(data)
        if sync:
            os.fsync(file.fileno())
    taken = time.perf_counter() - start
    os.unlink(path)
    return taken


def measure(options, variables, directory):
    """A row per framework, after as many turns as are asked for."""
    children = {
        name: subprocess.Popen(
            [sys.executable, __file__, "--child", name, "--mib", str(options.mib),
             "--variables", str(variables), "--kind", options.kind],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
            env={**os.environ, "TF_CPP_MIN_LOG_LEVEL": "3", "CUDA_VISIBLE_DEVICES": "-1"},
            stderr=None if options.verbose else subprocess.DEVNULL,
        )
        for name in FRAMEWORKS
    }  # fmt: skip
    taken = {name: {"save": [], "restore": []} for name in FRAMEWORKS}
    for _ in range(options.rounds):
        for name, process in children.items():
            for what in ("save", "restore"):
                process.stdin.write(f"{what} {directory}/{name}\n")
                process.stdin.flush()
                answer = process.stdout.readline()
                if not answer:
                    raise SystemExit(f"{name} died; --verbose shows why")
                taken[name][what].append(json.loads(answer))
    for process in children.values():
        process.stdin.close()
        process.wait()
    rows = []
    for name in FRAMEWORKS:
        row = [f"{name}, {variables:,} variables"]
        for what in ("save", "restore"):
            times = [t for t, _ in taken[name][what]]
            row += [report.seconds(times[0]), report.seconds(median(times[1:] or times))]
            row.append(f"{max(m for _, m in taken[name][what]) / (1 << 20):.0f} MiB")
        rows.append(row)
        if options.verbose:
            print(name, taken[name])
    return rows


def main():
    """Measure and print a table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--mib", type=int, default=1024, help="size of all variables together")
    parser.add_argument("--variables", type=int, nargs="+", default=[10, 10_000])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--kind", choices=("ref", "resource"), default="ref")
    parser.add_argument("--directory", default=None, help="where to save")
    parser.add_argument("--verbose", action="store_true", help="show what the children say")
    parser.add_argument("--child", choices=FRAMEWORKS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.child:
        child(options.child, options.mib, options.variables[0], options.kind)
        return
    directory = tempfile.mkdtemp(prefix="checkpoint-", dir=options.directory)
    try:
        rows = []
        for variables in options.variables:
            rows += measure(options, variables, directory)
        head = ["", "first save", "save", "memory", "first restore", "restore", "memory"]
        print(report.table(head, rows))
        for sync in (False, True):
            times = [plain(f"{directory}/plain", options.mib, sync) for _ in range(3)]
            words = "written and synced" if sync else "written"
            print(f"{options.mib} MiB plainly {words}: {report.seconds(median(times))}")
    finally:
        shutil.rmtree(directory)


if __name__ == "__main__":
    main()
