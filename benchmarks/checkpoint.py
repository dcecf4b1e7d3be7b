"""Suite `checkpoint`: save and restore a gigabyte, in few variables and in many.

headrace waits until its files are on the disk before it gives them their names, and TensorFlow does
not; so a plain write of as much, with and without that wait, is measured as well.
"""

import os
import random
import shutil
import statistics
import sys
import tempfile
import time

from process import ChildError, Worker
from report import seconds, table, verdict

NAMES = ("headrace", "tensorflow")
MIB, VARIABLES = 1024, (10, 10_000)
TURNS = 3  # at most; the first is shown by itself, for TensorFlow prepares its graph in it


def plain(path, sync):
    """Seconds for writing as much from memory to a file."""
    data = bytes(MIB << 20)
    start = time.perf_counter()
    with open(path, "wb") as file:
        file.write(data)
        if sync:
            os.fsync(file.fileno())
    taken = time.perf_counter() - start
    os.unlink(path)
    return taken


def measure(workers, variables, turns, directory):
    """What each turn took: {name: {"save" or "restore": [answers]}}.

    As in training, each save has a name of its own, and the one before is deleted. Each has read
    the other's checkpoint before a turn counts.
    """
    for worker in workers.values():
        worker.ask("build", mib=MIB, variables=variables)
    taken = {name: {"save": [], "restore": []} for name in workers}
    order = random.Random(0)
    for turn in range(turns):
        for name in order.sample(list(workers), len(workers)):
            for what in ("save", "restore"):
                answer = workers[name].ask(what, path=f"{directory}/{name}-{turn}")
                taken[name][what].append(answer)
        if not turn:
            for name, worker in workers.items():
                for other in set(workers) - {name}:
                    worker.ask("restore", path=f"{directory}/{other}-{turn}")
    return taken


def rows_of(taken, variables):
    """The table's rows of one number of variables."""
    rows = []
    for name, acts in taken.items():
        row = [f"{name}, {variables:,} variables"]
        for answers in acts.values():
            later = answers[1:]
            row += [
                seconds(answers[0]["seconds"]),
                seconds(statistics.median(a["seconds"] for a in later)),
                seconds(statistics.median(a["cpu"] for a in later)),
                f"{max(0, *(a['bytes'] for a in later)) / (1 << 20):,.0f} MiB",
            ]
        rows.append(row)
    return rows


def targets(taken, variables):
    """TensorFlow's time over ours, of saving and of restoring, beside the target."""
    lines = []
    for what in ("save", "restore"):
        theirs, ours = (
            statistics.median(a["seconds"] for a in taken[name][what][1:])
            for name in ("tensorflow", "headrace")
        )
        lines.append(
            f"TensorFlow / headrace, {what} of {variables:,}: {verdict(theirs / ours, 1, True)}."
        )
    return lines


def run(settings):
    """Run the suite; give its Markdown, what failed, versions, and the raw numbers."""
    names = [name for name in NAMES if name in settings.frameworks]
    turns = 1 + min(settings.rounds, TURNS - 1)
    rows, lines, notes, versions, raw = [], [], [], {}, {}
    directory = tempfile.mkdtemp(prefix="checkpoint-")
    try:
        for variables in VARIABLES:
            workers = {
                name: Worker(
                    "checkpoint", name, settings.python(name), settings.cores, script="files.py"
                )
                for name in names
            }
            try:
                for name, worker in workers.items():
                    versions[name] = worker.ask("hello")["version"]
                taken = raw[variables] = measure(workers, variables, turns, directory)
            except ChildError as e:
                notes.append(f"{variables:,} variables: {e}")
                continue
            finally:
                for worker in workers.values():
                    worker.close()
            rows += rows_of(taken, variables)
            lines += targets(taken, variables) if len(taken) == len(NAMES) else []
            print(f"checkpoint: {rows[-len(taken) :]}", file=sys.stderr)
        for sync in (False, True):
            times = [plain(f"{directory}/plain", sync) for _ in range(2)]
            words = "written and synced" if sync else "written"
            lines.append(f"{MIB:,} MiB plainly {words}: {seconds(statistics.median(times))}.")
    finally:
        shutil.rmtree(directory)
    act = ("", ", later", "CPU", "memory")
    head = [f"{MIB:,} MiB of float32", *(
        f"first {what}" if not word else f"{what}{word}" if word[0] == "," else f"{what}, {word}"
        for what in ("save", "restore") for word in act
    )]  # fmt: skip
    words = (
        f"Medians of the turns after the first, of {turns}; memory: what it took besides the "
        "variables, at most. headrace syncs its files to the disk, TensorFlow does not."
    )
    return "\n\n".join([table(head, rows), "  \n".join([words, *lines])]), notes, versions, raw
