"""Suite `loop`: many steps in one call, on the same batch and through an epoch of shuffled data.

Plain gradient descent, the losses of all steps fetched. The examples of the epoch lie where the
framework keeps data; those that take one step a call are fed each batch.
"""

from mlp import Case
from programs import MLP
from report import table, verdict
from turns import compared, complaints, counted, measure, raw, workers_of

RATE = "gradient descent"
EXAMPLES = 60_000
TINY = Case((2, 3, 1), 20, RATE, steps=20_000)
SMALL = Case((64, 64, 10), 32, RATE, steps=5_000)
EPOCH = Case((784, 256, 128, 10), 128, RATE, examples=EXAMPLES, steps=EXAMPLES // 128)
TARGETS = (  # the rival, and how many times its time ours has to be at least
    (TINY, "jax", 10),
    (SMALL, "jax", 3),
    (EPOCH, "jax-scan", 1.2),
)


def targets(results, programs):
    """A table: times of rivals over ours, beside what they should be."""
    ours, lines = "headrace-loop", []
    others = [name for name, program in programs.items() if program.module != "headrace"]
    for case, rival, bound in TARGETS:
        times = results[case]
        best = times.fastest(others)
        for words, name, least in (("", rival, bound), ("the fastest, ", best, 1)):
            value = times.speedup(name, ours)
            if value is not None:
                words = f"{case}: {words}{MLP[name].label}"
                lines.append([words, verdict(value, least, True)])
    head = [f"Time of / time of {MLP[ours].label}", "and the target"]
    return table(head, lines) if lines else ""


def run(settings):
    """Run the suite; give its Markdown, what failed, versions, and the raw numbers."""
    programs = {name: p for name, p in MLP.items() if name in settings.frameworks}
    results = {}
    with workers_of("mlp", programs, settings) as (workers, versions, notes):
        for case, _, _ in TARGETS:
            fit = {n: w for n, w in workers.items() if case.examples or not programs[n].epochs}
            results[case] = measure(fit, case, settings, least=case.epoch)
    programs = {name: programs[name] for name in workers}
    parts = [
        compared("Time a step", programs, results),
        targets(results, programs),
        counted(results),
    ]
    body = "\n\n".join(part for part in parts if part)
    return body, [*notes, *complaints(results)], versions, {"cases": raw(results)}
