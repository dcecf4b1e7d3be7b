"""Suite `memory`: what a training step takes at most; `memory.py NAME CORES` is one fresh run."""

import itertools
import json
import resource
import sys
import time

from mlp import Case
from programs import MLP

NAMES = ("headrace", "jax", "tensorflow", "torch", "numpy")
CASE = Case((2048,) * 5, 4096, "adam")  # a layer's output is twice as large as its weights
STEPS = 4  # NumPy interprets headrace's first, XLA compiles the second
MIB = 1 << 20


def resident():
    """Bytes of memory that this process had at most so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10


def needed(case):
    """Bytes of parameters and their moments, of inputs and labels, and of all layers' outputs."""
    parameters = sum((m + 1) * n for m, n in itertools.pairwise(case.layers))
    held = 3 if case.optimizer == "adam" else 1
    return 4 * (held * parameters + case.batch * (sum(case.layers) + case.layers[-1]))


def once(name, cores):
    """Import, build and do the steps: the bytes after each, at most so far."""
    __import__(MLP[name].module)
    imported = resident()
    step = MLP[name].make(CASE, cores)
    marks, losses, spent = [resident()], [], []
    for _ in range(STEPS):
        start = time.perf_counter()
        losses.append(float(step()))
        spent.append(time.perf_counter() - start)
        marks.append(resident())
    return {
        "import": imported,
        "built": marks[0],
        "step 1": marks[1],
        "peak": marks[-1],
        "seconds": spent[-1],
        "losses": losses,
    }


def run(settings):
    """Run the suite; give its Markdown, what failed, versions, and the raw numbers."""
    from process import ChildError, fresh
    from report import seconds, table, verdict
    from turns import DisagreementError, check

    runs, notes = {}, []
    for name in NAMES:
        if name in settings.frameworks:
            try:
                runs[name] = fresh(
                    "memory.py", name, settings.cores,
                    python=settings.python(name), cores=settings.cores,
                )  # fmt: skip
            except ChildError as e:
                notes.append(f"{name}: {e}")
    try:
        if runs:
            check({name: run["losses"] for name, run in runs.items()})
    except DisagreementError as e:
        return "", [*notes, f"memory is not shown, {e}"], {}, runs
    rows = []
    for name, run in runs.items():
        sizes = [f"{run[key] / MIB:,.0f} MiB" for key in ("import", "built", "step 1", "peak")]
        share = f"{run['peak'] / needed(CASE):.2f}"
        rows.append([MLP[name].label, *sizes, share, seconds(run["seconds"])])
    head = [
        f"Adam, {CASE}", "after import", "when built", "after step 1", f"after step {STEPS}",
        "times the needed", "a step",
    ]  # fmt: skip
    words = [
        "Most resident memory so far, in a fresh process, libraries and all (headrace's import "
        "does not load XLA, which comes with the second step). Needed are the parameters, their "
        f"moments, the batch and the layers' outputs: {needed(CASE) / MIB:,.0f} MiB."
    ]
    for rival in ("jax", "tensorflow"):
        if {rival, "headrace"} <= set(runs):
            value = runs[rival]["peak"] / runs["headrace"]["peak"]
            words.append(f"Peak of {rival} / headrace: {verdict(value, 1, True)}.")
    return table(head, rows) + "\n\n" + "\n".join(words), notes, {}, runs


if __name__ == "__main__":
    print(json.dumps(once(sys.argv[1], int(sys.argv[2]))))
