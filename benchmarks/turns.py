"""Programs in turns: workers side by side, equal losses, interleaved blocks, tables of medians."""

import math
import random
import statistics
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import asdict

from precision import AGREE
from process import ChildError, Worker
from programs import PROBLEMS
from report import ratio, seconds, table

CHECKED = 5  # steps whose losses are compared
MOVED = 30 * AGREE  # which they have to change the loss by, relatively
BLOCK = 0.02  # seconds; a turn is as many calls as take this long, an epoch, or one call
FEWEST = 3  # turns of a case, however long they take
NEAR = 1.25  # times the fastest, up to which a program is given more turns than those


class DisagreementError(Exception):
    """The frameworks do not compute the same: nothing to time."""


def check(losses, agree=AGREE):
    """Check {framework: losses of the first steps}; give the largest relative difference.

    Where they need not be equal enough to tell training from none, each has to fall as others do.
    """
    spread = 0.0
    for step, values in enumerate(zip(*losses.values(), strict=True), 1):
        middle = statistics.median(values)
        worst = max(abs(v - middle) if math.isfinite(v) else math.inf for v in values)
        spread = max(spread, worst / abs(middle))
        if not spread <= agree:
            said = ", ".join(f"{n} {v:.7g}" for n, v in zip(losses, values, strict=True))
            raise DisagreementError(f"losses differ at step {step}: {said}")
    first, last = (statistics.median(v[i] for v in losses.values()) for i in (0, -1))
    if abs(last - first) < MOVED * abs(first):
        raise DisagreementError(f"{CHECKED} steps move the loss only from {first} to {last}")
    for name, values in losses.items():
        ratio = (values[-1] - values[0]) / (last - first)
        if agree > AGREE and not 0.5 < ratio < 2:
            raise DisagreementError(f"{name} moves the loss {ratio:.2g} times as far as others")
    return spread


def astray(losses, agree=AGREE):
    """Name those whose losses are not the median's."""
    middle = [statistics.median(values) for values in zip(*losses.values(), strict=True)]
    return [
        name
        for name, values in losses.items()
        if not all(abs(v - m) <= agree * abs(m) for v, m in zip(values, middle, strict=True))
    ]


@contextmanager
def workers_of(problem, names, settings):
    """Give (workers by name, versions by module, notes): a process for each program, all alive."""
    programs = PROBLEMS[problem][1]
    workers, versions, notes = {}, {}, []
    started = [Worker(problem, name, settings.python(name), settings.cores) for name in names]
    try:
        with ThreadPoolExecutor(max(len(started), 1) if settings.abreast else 1) as pool:
            hellos = [(worker, pool.submit(worker.ask, "hello")) for worker in started]
        for worker, hello in hellos:
            try:
                version = hello.result()["version"]
            except ChildError as e:
                notes.append(str(e))
                continue
            versions[programs[worker.name].module] = version
            workers[worker.name] = worker
        yield workers, versions, notes
    finally:
        for worker in started:
            worker.close()


def calibrate(worker, least):
    """Find how many calls make a turn of BLOCK seconds and `least` steps: (calls, seconds)."""
    worker.ask("block", calls=1)  # in which a loop may still be compiled
    calls = 1
    while True:
        answer = worker.ask("block", calls=calls)
        spent, steps = answer["seconds"], answer["steps"]
        if spent >= BLOCK and steps >= least:
            return calls, spent
        calls = math.ceil(min(8 * calls, 1.1 * calls * max(BLOCK / spent, least / steps) + 1))


class Times:
    """What `measure` found of a case: by name, seconds a step of each turn, and what failed."""

    def __init__(self):
        """Nothing yet."""
        self.turns: dict[str, list[float]] = {}
        self.failed: dict[str, str] = {}  # under "" what holds of all

    def fail(self, name, why):
        """Say why a program has no times; it loses those that it had."""
        self.failed[name] = str(why).partition("\n")[0]
        self.turns.pop(name, None)

    def median(self, name):
        """Seconds a step; None if the program has none."""
        return statistics.median(self.turns[name]) if name in self.turns else None

    def speedup(self, slow, fast):
        """Give the median over rounds that both took of how many times longer `slow` took."""
        if slow not in self.turns or fast not in self.turns:
            return None
        pairs = zip(self.turns[slow], self.turns[fast], strict=False)
        return statistics.median(a / b for a, b in pairs)

    def fastest(self, names):
        """Of the names, the one with the smallest median; None if none was timed."""
        timed = [name for name in names if name in self.turns]
        return min(timed, key=lambda name: statistics.median(self.turns[name]), default=None)


def program_of(worker):
    """Give the program that a worker is."""
    return PROBLEMS[worker.problem][1][worker.name]


def prepared(workers, case, times, abreast=False):
    """Have all build a case; name those whose losses agree. What fails goes into `times`.

    One after the other; if `abreast`, PyTorch's programs and the others side by side: two of XLA's
    would disturb each other when it times kernels to choose from.
    """
    losses, spent = {}, {}
    patience = 120 if abreast else 300  # seconds

    def prepare(worker):
        start = time.perf_counter()
        try:
            answer = worker.ask("prepare", patience, case=asdict(case), steps=CHECKED)
            losses[worker.name] = answer["losses"]
        except ChildError as e:
            times.fail(worker.name, e)
        spent[worker.name] = time.perf_counter() - start

    lines = {}
    for worker in workers.values():
        if worker.alive():  # else it was said when it died
            is_of_torch = program_of(worker).module == "torch"
            lines.setdefault(abreast and is_of_torch, []).append(worker)
    with ThreadPoolExecutor(2) as pool:
        for done in [pool.submit(list, map(prepare, line)) for line in lines.values()]:
            done.result()
    losses = {name: losses[name] for name in workers if name in losses}
    wrong = astray(losses, case.agree)
    if len(wrong) < len(losses) / 2:
        for name in wrong:
            times.fail(name, f"{name} is not timed, its losses are astray: {losses.pop(name)}")
    try:
        spread = check(losses, case.agree) if losses else 0
    except DisagreementError as e:
        times.fail("", f"not timed: {e}")
        return []
    words = f"losses within {spread:.0e}, ready in {sum(spent.values()):.0f} s"
    slowest = max(spent, key=lambda name: spent[name], default="none")
    print(f"{case}, {case.optimizer}: {words}, {slowest} the longest", file=sys.stderr)
    return list(losses)


def measure(workers, case, settings, least=1):
    """Time a case: all prepare it, their losses are compared, and they take turns."""
    times = Times()
    plan = {}  # calls in a turn and calls before it that do not count
    for name in prepared(workers, case, times, settings.abreast):
        try:
            calls, spent = calibrate(workers[name], least)
        except ChildError as e:
            times.fail(name, e)
            continue
        warm = math.ceil(calls / 10) if spent / calls < 20 * BLOCK else 0  # a long one warms itself
        plan[name] = calls, warm
        times.turns[name] = []
    order, start = random.Random(0), 0.0
    for turn in range(max(FEWEST, settings.rounds)):
        if turn == FEWEST:
            start = time.perf_counter()
        if turn >= FEWEST and time.perf_counter() - start >= settings.seconds:
            break
        names = list(times.turns) if turn < FEWEST else contenders(workers, times)
        for name in order.sample(names, len(names)):
            calls, warm = plan[name]
            try:
                answer = workers[name].ask("block", calls=calls, warm=warm)
                if not math.isfinite(answer["loss"]):
                    raise ChildError(f"{name} has come to a loss of {answer['loss']}")
            except ChildError as e:
                times.fail(name, e)
                continue
            times.turns[name].append(answer["seconds"] / answer["steps"])
    for worker in workers.values():
        if worker.alive():
            worker.ask("drop")
    shown = "  ".join(f"{n} {seconds(statistics.median(t))}" for n, t in times.turns.items())
    most = max(map(len, times.turns.values()), default=0)
    print(f"    {most} turns: {shown}", file=sys.stderr)
    return times


def contenders(workers, times):
    """Name those near the fastest that take as many steps a call: they take more turns."""
    near = []
    for many in (False, True):
        alike = [n for n in times.turns if program_of(workers[n]).many == many]
        best = times.median(times.fastest(alike))
        near += [name for name in alike if times.median(name) <= NEAR * best]
    return near


def compared(head, programs, cases, note=lambda case, seconds: ""):
    """Lay out {case: Times} as a table: a row for each program, those of many steps last.

    In brackets: times the fastest of the column that does one step, or many, in a call. `note` adds
    to a cell.
    """
    rows, several = [], len({program.many for program in programs.values()}) > 1
    for many in (False, True):
        group = [name for name, program in programs.items() if program.many == many]
        if group and several:
            if many:
                rows.append(["*many steps a call:*", *(f"*{case.steps:,}*" for case in cases)])
            else:
                rows.append(["*one step a call*", *("" for _ in cases)])
        for name in group:
            cells = []
            for case, times in cases.items():
                mine, best = times.median(name), times.median(times.fastest(group))
                if mine is None or best is None:
                    cells.append("failed" if {name, ""} & set(times.failed) else "–")
                else:
                    cells.append(f"{seconds(mine)} ({ratio(mine / best)}){note(case, mine)}")
            rows.append([programs[name].label, *cells])
    return table([head, *map(str, cases)], rows)


def counted(cases):
    """Words on how many turns were taken, and on the brackets."""
    counts = {len(turns) for times in cases.values() for turns in times.turns.values()}
    if not counts:
        return "Nothing was timed."
    least, most = min(counts), max(counts)
    number = f"{least}" if least == most else f"{least} to {most}"
    return (
        "In brackets: times the fastest of the column with as many steps a call.\n"
        f"Medians of {number} turns of {BLOCK * 1e3:.0f} ms or one call."
    )


def raw(cases):
    """What to keep of {case: Times}."""
    return [
        {"case": str(case), "optimizer": case.optimizer, "seconds": times.turns}
        for case, times in cases.items()
    ]


def complaints(cases):
    """What failed, of {case: Times}."""
    return [
        f"{case}, {case.optimizer}: {why}"
        for case, times in cases.items()
        for why in times.failed.values()
    ]
