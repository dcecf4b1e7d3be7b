"""Suite `step`: one training step with the loss fetched, all frameworks in interleaved turns."""

import math
import random
import statistics
import sys

from mlp import PROGRAMS, Case
from process import ChildError, Worker
from report import ratio, seconds, table, verdict

SIZES = (
    ((2, 3, 1), 20),
    ((64, 64, 10), 32),
    ((784, 256, 128, 10), 128),
    ((1024, 1024, 1024, 10), 256),
    ((2048, 2048, 2048, 2048), 512),
)
PEAKS = ("jax", "tensorflow", "torch", "numpy")  # whose matrix products to try
OPTIMIZERS = ("gradient descent", "adam")
TARGETS = (  # dividend, divisor, bound at each of SIZES, whether it is a lower bound
    ("headrace", "jax", (1.15,) * 5, False),
    ("tensorflow", "headrace", (4, 4, 0.9, 0.9, 0.9), True),
)
AGREE, CHECKED = 1e-4, 5  # relative difference allowed between losses, over how many steps
BLOCK = 0.02  # seconds; a turn is as many steps as take this long


class DisagreementError(Exception):
    """The frameworks do not compute the same: nothing to time."""


def check(losses):
    """Check {framework: losses of the first steps}; give the largest relative difference."""
    spread = 0.0
    for step, values in enumerate(zip(*losses.values(), strict=True), 1):
        middle = statistics.median(values)
        worst = max(abs(v - middle) if math.isfinite(v) else math.inf for v in values)
        spread = max(spread, worst / abs(middle))
        if not spread <= AGREE:
            said = ", ".join(f"{n} {v:.7g}" for n, v in zip(losses, values, strict=True))
            raise DisagreementError(f"losses differ at step {step}: {said}")
    first, last = (statistics.median(v[i] for v in losses.values()) for i in (0, -1))
    if abs(last - first) < 30 * AGREE * abs(first):
        raise DisagreementError(f"{CHECKED} steps move the loss only from {first} to {last}")
    return spread


def calibrate(worker):
    """Find how many steps make a turn of about BLOCK seconds; warms up on the way."""
    steps = 1
    while True:
        taken = worker.ask("block", steps=steps)["seconds"]
        if taken >= BLOCK or steps >= 1 << 20:
            return steps
        steps = math.ceil(min(8 * steps, 1.1 * steps * BLOCK / taken + 1))


def measure(workers, case, rounds):
    """Time a case: {framework: seconds a step, of each round}, and {framework: why not}."""
    losses, failed = {}, {}
    request = {"layers": case.layers, "batch": case.batch, "optimizer": case.optimizer}
    for name, worker in workers.items():
        if not worker.alive():
            continue  # said when it died
        try:
            losses[name] = worker.ask("prepare", steps=CHECKED, **request)["losses"]
        except ChildError as e:
            failed[name] = str(e)
    if not losses:
        return {}, failed
    spread = check(losses)
    turns = {name: calibrate(workers[name]) for name in losses}
    times = {name: [] for name in losses}
    order = random.Random(0)
    for _ in range(rounds):
        for name in order.sample(list(times), len(times)):
            steps = turns[name]
            answer = workers[name].ask("block", steps=steps, warm=math.ceil(steps / 10))
            if not math.isfinite(answer["loss"]):
                raise DisagreementError(f"{name} has come to a loss of {answer['loss']}")
            times[name].append(answer["seconds"] / steps)
    for name in losses:
        workers[name].ask("drop")
    shown = "  ".join(f"{n} {seconds(statistics.median(t))}" for n, t in times.items())
    print(f"{case}, {case.optimizer}: {shown}  (losses within {spread:.0e})", file=sys.stderr)
    return times, failed


def speedup(slow, fast):
    """Give the median over the rounds of how many times longer `slow` took than `fast`."""
    return statistics.median(a / b for a, b in zip(slow, fast, strict=True))


def cell(times, name, case, peak):
    """Show a median, its ratio to the fastest and, for large products, percent of the peak."""
    if name not in times:
        return "failed"
    medians = {n: statistics.median(t) for n, t in times.items()}
    mine = medians[name]
    text = f"{seconds(mine)} ({ratio(mine / min(medians.values()))})"
    if peak and case.flops > 1e9:
        text += f", {case.flops / mine / peak:.0%}"
    return text


def tables(results, names, peak):
    """Lay out {case: times} in Markdown: a table for each optimizer, and one of the targets."""
    parts = []
    for optimizer in OPTIMIZERS:
        cases = [case for case in results if case.optimizer == optimizer]
        rows = [
            [PROGRAMS[name].label, *(cell(results[case], name, case, peak) for case in cases)]
            for name in names
        ]
        parts.append(table([f"{optimizer.capitalize()} step", *map(str, cases)], rows))
    sizes = [Case(layers, batch, "") for layers, batch in SIZES]
    rows = []
    for slow, fast, bounds, at_least in TARGETS:
        for optimizer in OPTIMIZERS if {slow, fast} <= set(names) else ():
            row = [f"{slow} / {fast}, {optimizer}"]
            for (layers, batch), bound in zip(SIZES, bounds, strict=True):
                times = results.get(Case(layers, batch, optimizer), {})
                known = slow in times and fast in times
                value = speedup(times[slow], times[fast]) if known else None
                row.append(verdict(value, bound, at_least) if known else "–")
            rows.append(row)
    if rows:
        parts.append(table(["Time of / time of, and the target", *map(str, sizes)], rows))
    return "\n\n".join(parts)


def run(settings):
    """Run the suite; give its Markdown, what failed, versions, and the raw numbers."""
    workers, notes, versions, peaks, results = {}, [], {}, {}, {}
    started = [(name, Worker(name, settings.python(name), settings.cores))
               for name in settings.frameworks]  # fmt: skip
    try:
        for name, worker in started:
            try:
                versions[PROGRAMS[name].module] = worker.ask("hello")["version"]
                if name in PEAKS:
                    peaks[name] = worker.ask("peak", repeats=12)["flops"]
            except ChildError as e:
                notes.append(str(e))
                continue
            workers[name] = worker
        for layers, batch in SIZES:
            for optimizer in OPTIMIZERS:
                case = Case(layers, batch, optimizer)
                try:
                    results[case], failed = measure(workers, case, settings.rounds)
                except DisagreementError as e:
                    results[case], failed = {}, {"": f"not timed, {e}"}
                except ChildError as e:
                    results[case], failed = {}, {"": str(e)}
                notes += [f"{case}, {optimizer}: {why}" for why in failed.values()]
    finally:
        for _, worker in started:
            worker.close()
    peak = max(peaks.values(), default=0)
    words = ["In brackets: times the fastest of the column."]
    if peaks:
        words.append(
            f"Percent: of the best float32 matrix product seen, {peak / 1e9:.0f} GFLOP/s "
            f"by {max(peaks, key=lambda name: peaks[name])}."
        )
    words.append(f"Medians of {settings.rounds} turns of {BLOCK * 1e3:.0f} ms or one step.")
    body = tables(results, list(workers), peak) + "\n\n" + "\n".join(words)
    raw = [
        {"case": str(c), "optimizer": c.optimizer, "seconds": times} for c, times in results.items()
    ]
    return body, notes, versions, {"cases": raw, "peaks": peaks}
