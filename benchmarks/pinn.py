"""Suite `pinn`: a physics-informed network, by gradients of gradients (`burgers.py`)."""

from burgers import WIDTHS, Case
from programs import PINN
from report import table, verdict
from turns import compared, complaints, counted, measure, raw, workers_of

CASES = (Case("adam"), Case("L-BFGS"))
TARGETS = (("tensorflow", 1.3), ("jax", 3), ("jax-jvp", 3), ("torch", 1))


def run(settings):
    """Run the suite; give its Markdown, what failed, versions, and the raw numbers."""
    names = [name for name in PINN if name in settings.frameworks]
    with workers_of("pinn", names, settings) as (workers, versions, notes):
        results = {case: measure(workers, case, settings) for case in CASES}
    programs = {name: PINN[name] for name in workers}
    lines = []
    for rival, bound in TARGETS:
        values = [results[case].speedup(rival, "headrace") for case in CASES]
        if any(value is not None for value in values):
            cells = ["–" if v is None else verdict(v, bound, True) for v in values]
            lines.append([f"{PINN[rival].label} / headrace", *cells])
    parts = [compared("Time of", programs, results)]
    if lines:
        parts.append(table(["Time of / time of, and the target", *map(str, CASES)], lines))
    case = CASES[0]
    parts.append(
        f"{counted(results)}\nBurgers' equation, network {'-'.join(map(str, WIDTHS))} of tanh, "
        f"{case.points:,} collocation points and {case.boundary} on the boundary. "
        "An evaluation for L-BFGS feeds the parameters as NumPy and fetches loss and gradients."
    )
    return "\n\n".join(parts), [*notes, *complaints(results)], versions, {"cases": raw(results)}
