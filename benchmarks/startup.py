"""Suite `startup`: from an empty process to a trained step; `startup.py NAME CORES` is one run."""

import importlib
import json
import statistics
import sys
import time

NAMES = ("headrace", "tensorflow", "jax", "torch", "numpy")
MODULES = {"tensorflow": "tensorflow.compat.v1"}
LAYERS, BATCH, OPTIMIZER, STEPS = (784, 256, 128, 10), 128, "adam", 100
IMPORT_TARGET = 0.35  # seconds, `import headrace`


def once(name, cores):
    """Import, build and differentiate, run 100 steps; seconds since the import for each."""
    start = time.perf_counter()
    importlib.import_module(MODULES.get(name) or name)
    marks = [time.perf_counter() - start]
    from mlp import Case, problem  # after, for these import NumPy
    from programs import MLP

    case = Case(LAYERS, BATCH, OPTIMIZER)
    problem(case)
    start = time.perf_counter()
    problem(case)  # again, for the first loads numpy.random
    spent_on_data = time.perf_counter() - start
    start = time.perf_counter()
    step = MLP[name].make(case, cores)
    marks.append(max(time.perf_counter() - start - spent_on_data, 0))
    losses = []
    for _ in range(STEPS):
        start = time.perf_counter()
        losses.append(float(step()))
        marks.append(time.perf_counter() - start)
    return {
        "import": marks[0],
        "build": marks[1],
        "step 1": marks[2],
        "step 2": marks[3],
        "step 3": marks[4],
        "import to step 1": sum(marks[:3]),
        f"import to step {STEPS}": sum(marks),
        "losses": losses[:5],
    }


def run(settings):
    """Run the suite; give its Markdown, what failed, versions, and the raw numbers."""
    from process import ChildError, fresh
    from report import seconds, table, verdict
    from turns import DisagreementError, check

    names = [name for name in NAMES if name in settings.frameworks]
    samples, notes = {}, []
    for turn in range(1 + settings.starts):  # the first only fills the page cache
        for name in tuple(names):
            try:
                sample = fresh(
                    "startup.py", name, settings.cores,
                    python=settings.python(name), cores=settings.cores,
                )  # fmt: skip
            except ChildError as e:
                names.remove(name)
                samples.pop(name, None)
                notes.append(f"{name}: {e}")
                continue
            if turn:
                samples.setdefault(name, []).append(sample)
    try:
        if samples:
            check({name: runs[0]["losses"] for name, runs in samples.items()})
    except DisagreementError as e:
        return "", [*notes, f"startup is not shown, {e}"], {}, {}
    columns = [key for key in next(iter(samples.values()), [{}])[0] if key != "losses"]
    medians = {
        name: {key: statistics.median(run[key] for run in runs) for key in columns}
        for name, runs in samples.items()
    }
    rows = [[name, *(seconds(medians[name][key]) for key in columns)] for name in medians]
    body = table([f"Adam, {'-'.join(map(str, LAYERS))}, batch {BATCH}", *columns], rows)
    body += f"\n\nMedians of {settings.starts} fresh processes each, files in the page cache."
    if "headrace" in medians:
        ours = medians["headrace"]
        lines = [f"Import of headrace in s: {verdict(ours['import'], IMPORT_TARGET, False)}."]
        if "tensorflow" in medians:
            theirs = medians["tensorflow"]
            build, ours_build = (m["build"] + m["step 1"] for m in (theirs, ours))
            lines.append(
                "Build, gradients and first step, TensorFlow / headrace: "
                f"{verdict(build / ours_build, 1, True)}."
            )
        body += "\n" + "\n".join(lines)
    return body, notes, {}, samples


if __name__ == "__main__":
    print(json.dumps(once(sys.argv[1], int(sys.argv[2]))))
