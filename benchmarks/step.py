"""Suite `step`: one training step of a dense network, the loss fetched."""

import itertools

from mlp import Case
from peak import measured
from programs import MLP
from report import table, verdict
from turns import compared, complaints, counted, measure, raw, workers_of

SIZES = (  # layers, batch, and steps in a call where a call takes many: the largest gain nothing
    ((2, 3, 1), 20, 50),
    ((64, 64, 10), 32, 50),
    ((784, 256, 128, 10), 128, 50),
    ((1024, 1024, 1024, 10), 256, 10),
    ((2048, 2048, 2048, 2048), 512, 2),
)
FAR = ("numpy", "pytensor", "sklearn", "torch-compiled")  # a selection has them up to the fourth
OPTIMIZERS = ("gradient descent", "adam")
WIDE = 0.8  # of the peak, at the last size


def cases_of(optimizer):
    """The sizes, smallest first."""
    return [Case(layers, batch, optimizer, steps=steps) for layers, batch, steps in SIZES]


def targets(results, programs, peak):
    """A table: the fastest rival's time over ours, and at the last size the share of the peak."""
    lines = []
    for optimizer in OPTIMIZERS if "headrace" in programs else ():
        columns = {case: results[case] for case in cases_of(optimizer)}
        for many, ours in ((False, "headrace"), (True, "headrace-loop")):
            rivals = [n for n, p in programs.items() if p.many == many and p.module != "headrace"]
            if ours not in programs or not rivals:
                continue
            cells = []
            for times in columns.values():
                best = times.fastest(rivals)
                value = best and times.speedup(best, ours)
                cells.append("–" if value is None else f"{verdict(value, 1, True)} {best}")
            words = "many steps a call" if many else "one step a call"
            lines.append([f"fastest rival / headrace, {optimizer}, {words}", *cells])
        widest, times = columns.popitem()
        if peak and times.median("headrace"):
            reached = widest.flops / times.median("headrace") / peak
            lines.append([f"of the peak, {optimizer}", *["" for _ in columns],
                          verdict(reached, WIDE, True)])  # fmt: skip
    head = ["Time of / time of, and the target", *map(str, cases_of(""))]
    return table(head, lines) if lines else ""


def run(settings):
    """Run the suite; give its Markdown, what failed, versions, and the raw numbers."""
    programs = {n: p for n, p in MLP.items() if n in settings.frameworks and not p.epochs}
    results = {}
    with workers_of("mlp", programs, settings) as (workers, versions, notes):
        peak, words, unmeasured = measured(settings, workers)
        for case in itertools.chain(*zip(*map(cases_of, OPTIMIZERS), strict=True)):
            few = case.layers == SIZES[-1][0] and not settings.whole
            near = {n: w for n, w in workers.items() if not (few and n in FAR)}
            results[case] = measure(near, case, settings)
    programs = {name: programs[name] for name in workers}

    def percent(case, seconds):
        return f", {case.flops / seconds / peak:.0%}" if peak and case.flops > 1e9 else ""

    parts = []
    for optimizer in OPTIMIZERS:
        columns = {case: results[case] for case in cases_of(optimizer)}
        parts.append(compared(f"{optimizer.capitalize()} step", programs, columns, percent))
    parts.append(targets(results, programs, peak))
    parts.append(f"{counted(results)}\n{words}".strip())
    body = "\n\n".join(part for part in parts if part)
    notes = [*notes, *unmeasured, *complaints(results)]
    return body, notes, versions, {"cases": raw(results), "peak": peak}
