"""The suites on a GPU: `run.py --device gpu`, or `--dry-run` to try them in tiny sizes on a CPU.

One step a call is fed from the host at every step, as a program that reads data is; many steps a
call find their data on the device. Every call ends with its losses fetched as numbers, so nothing
is timed that the device has yet to do. Cases come in the order of their worth, for when the time is
up those left are left out.
"""

import subprocess
import sys
import time
from dataclasses import replace

import burgers
import mlp
from precision import WORDS
from process import ChildError, environment
from programs import MLP_GPU, PINN_GPU
from report import table, verdict
from turns import compared, complaints, counted, measure, raw, workers_of

LOOK = """
import importlib.util
import sys

if not any(importlib.util.find_spec(f"jax_cuda{n}_plugin") for n in (12, 13)):
    sys.exit("its plugin for CUDA is not installed.")
import jax

print(jax.devices()[0].device_kind)
"""
PRODUCT = 8192  # rows and columns of the matrices whose product is held to be the peak
WIDE, MIDDLE = (4096,) * 4, (2048,) * 4
STEPS = (
    *(mlp.Case(WIDE, 4096, "adam", steps=10, precision=p) for p in ("tf32", "bfloat16", "float32")),
    mlp.Case(MIDDLE, 512, "adam", precision="tf32"),
    mlp.Case((784, 256, 128, 10), 128, "adam", precision="tf32"),
    mlp.Case((64, 64, 10), 32, "adam", precision="float32"),
)
MORE_STEPS = (  # if the suite is asked for by its name
    mlp.Case(MIDDLE, 512, "adam", precision="bfloat16"),
    mlp.Case(MIDDLE, 512, "adam", precision="float32"),
)
LOOPS = (
    mlp.Case((64, 64, 10), 32, "gradient descent", steps=2_000, precision="float32"),
    mlp.Case(
        (784, 256, 128, 10), 128, "gradient descent", examples=60_000, steps=468, precision="tf32"
    ),
)
PHYSICS = (
    burgers.Case("adam", precision="float32"),
    burgers.Case("adam", points=200_000, boundary=1_000, precision="float32"),
    burgers.Case("L-BFGS", precision="float32"),
)


def tiny(case):
    """A case like this one that a CPU does in no time; different ones stay different."""
    if isinstance(case, burgers.Case):
        return replace(case, points=case.points // 200, boundary=10, steps=4)
    batch, examples = max(case.batch // 64, 4), min(case.examples, 40)
    few = {"batch": batch, "examples": examples, "steps": examples // batch or 4}
    return replace(case, layers=tuple(max(n // 128, 2) for n in case.layers), **few)


def found(python=None):
    """The name of the GPU that JAX computes on. SystemExit if there is none."""
    child = subprocess.run(
        [python or sys.executable, "-c", LOOK],
        env={**environment(1), "JAX_PLATFORMS": "cuda"},  # so that it says why, and takes no CPU
        capture_output=True, text=True,
    )  # fmt: skip
    if child.returncode:
        why = (child.stderr.strip().splitlines() or ["it does not say why"])[-1]
        raise SystemExit(
            f"--device gpu: JAX finds no GPU here that it can use: {why}\n"
            "An NVIDIA GPU needs `pip install 'headrace[cuda]'`. With --dry-run the suites are "
            "tried in tiny sizes on the CPU."
        )
    return child.stdout.strip()


def on_device(workers, settings, notes):
    """Leave out who computes on a CPU though there is a GPU."""
    for name, worker in list(workers.items()):
        try:
            device = worker.ask("device")["device"]
        except ChildError as e:
            device, words = None, str(e)
        else:
            words = f"{name} is left out: its framework finds no GPU"
        if device is None or (device == "cpu") != settings.tiny:
            notes.append(words)
            del workers[name]


def peaks(workers, cases, settings, notes):
    """The best rate of a large matrix product in each precision [FLOP/s], and words of them."""
    rates, words = {}, []
    size = 64 if settings.tiny else PRODUCT
    for precision in dict.fromkeys(c.precision for c in cases if isinstance(c, mlp.Case)):
        tried = {}
        for name in {"jax", "torch"} & set(workers):
            try:
                answer = workers[name].ask("peak", n=size, precision=precision)
                tried[name] = answer["flops"]
            except ChildError as e:
                notes.append(str(e))
        if tried:
            best = max(tried, key=lambda name: tried[name])
            rates[precision] = tried[best]
            words.append(f"{WORDS[precision]} {tried[best] / 1e12:.3g} TFLOP/s by {best}")
    if not words:
        return rates, ""
    return rates, f"Percent: of the best matrix product [{size:,}, {size:,}], {', '.join(words)}."


def targets(results, programs):
    """A table: the fastest rival's time over ours, each fed in the same way."""
    ways = {
        "headrace": ("fed when due", lambda n, p: not p.many and not n.endswith("-ahead")),
        "headrace-ahead": ("fed ahead", lambda n, p: n.endswith("-ahead")),
        "headrace-loop": ("many steps a call", lambda n, p: p.many),
    }
    lines = []
    for ours, (words, is_like) in ways.items():
        rivals = [n for n, p in programs.items() if p.module != "headrace" and is_like(n, p)]
        cells = []
        for times in results.values():
            best = times.fastest(rivals)
            value = best and times.speedup(best, ours)
            cells.append("–" if value is None else f"{verdict(value, 1, True)} {best}")
        if set(cells) - {"–"}:
            lines.append([f"fastest rival / {ours}, {words}", *cells])
    return table(["Time of / time of, and the target", *map(str, results)], lines) if lines else ""


def run(head, problem, programs, cases, settings, fits=lambda program, case: True):
    """Time the cases; give Markdown, what failed, versions, and the raw numbers."""
    programs = {n: p for n, p in programs.items() if n in settings.frameworks}
    cases = [tiny(case) for case in cases] if settings.tiny else cases
    results, late = {}, []
    with workers_of(problem, programs, settings) as (workers, versions, notes):
        on_device(workers, settings, notes)
        rates, words = peaks(workers, cases, settings, notes)
        for case in cases:
            if time.monotonic() > settings.until:
                late.append(f"{case}, {case.optimizer}")
                continue
            fit = {n: w for n, w in workers.items() if fits(programs[n], case)}
            results[case] = measure(fit, case, settings, least=getattr(case, "epoch", 1))
    if late:
        notes.append(f"left out, for the time was up: {'; '.join(late)}")
    programs = {name: programs[name] for name in workers}

    def percent(case, seconds):
        peak, flops = rates.get(case.precision), getattr(case, "flops", 0)
        return f", {flops / seconds / peak:.0%}" if peak and flops > 1e9 else ""

    parts = [
        compared(head, programs, results, percent) if results else "",
        targets(results, programs),
        f"{counted(results)}\nOn {'a CPU' if settings.tiny else f'one {settings.device}'}. {words}",
    ]
    body = "\n\n".join(part.strip() for part in parts if part)
    raws = {"cases": raw(results), "peaks": rates, "device": settings.device}
    return body, [*notes, *complaints(results)], versions, raws


def step(settings):
    """One training step, fed from the host, the loss fetched."""
    cases = (*STEPS, *MORE_STEPS) if settings.whole else STEPS
    return run("Adam step", "mlp on a GPU", MLP_GPU, cases, settings)


def loop(settings):
    """Many steps of gradient descent; one after the other they are fed from the host."""
    programs = {n: p for n, p in MLP_GPU.items() if not n.endswith("-ahead")}
    return run("Time a step", "mlp on a GPU", programs, LOOPS, settings)


def pinn(settings):
    """A physics-informed network, fed its points from the host at every step."""

    def fits(program, case):
        return case.optimizer == "adam" or not program.many

    body, *others = run("Time of", "pinn on a GPU", PINN_GPU, PHYSICS, settings, fits)
    widths, points = "-".join(map(str, burgers.WIDTHS)), PHYSICS[0].points
    body += f"\nNetwork {widths}, products in full float32, "
    return f"{body}{points:,} collocation points where no other number is said.", *others
