"""Measure headrace beside its peers and write the tables and the picture of docs/benchmarks.md.

    python benchmarks/run.py --cores 1 2             what `make bench` does: a selection
    python benchmarks/run.py step --cores 2          one suite with all programs, on two cores
    python benchmarks/run.py step --seconds 60       more turns: a minute for each case
    python benchmarks/run.py loop --quick            a look
    python benchmarks/run.py step --frameworks headrace,jax --output /tmp/here.md
    python benchmarks/run.py --device gpu            what `make bench-gpu` does: suites of `gpu.py`
    python benchmarks/run.py --device gpu --dry-run  the same, tiny, on the CPU: whether all works

The selection is all suites on the first number of cores, without programs that come close to
another's, that are far behind at a size before, or whose single steps `step` has shown, and on
further ones those that gain from cores, with the main programs.
The status is 1 if a framework failed or the losses did not agree; one that is not installed is
named in the page and passed over, and so is a target that was missed.
"""

import argparse
import atexit
import json
import math
import os
import shlex
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import chain
import checkpoint
import events
import gpu
import loop
import memory
import picture
import pinn
import process
import report
import startup
import step
from precision import DEVICE
from programs import MLP, MLP_GPU, PINN, PINN_GPU

PROGRAMS = {**PINN, **MLP}
CLOSE = ("headrace-callable", "jax-asarray", "tensorflow-callable")
IN_STEP = ("tensorflow-function", "tensorflow-xla", "torch-compiled", "keras", "sklearn", "numpy")
MAIN = ("headrace", "headrace-loop", "jax", "jax-jvp", "jax-scan", "tensorflow", "torch")
PROGRAMS_ON_GPU = {**PINN_GPU, **MLP_GPU}


@dataclass(frozen=True)
class Suite:
    """What runs it, its title, whether it gains from cores, and its programs on a GPU."""

    run: Callable
    title: str
    scales: bool = False
    programs: Sequence[str] = ()


SUITES = {
    "step": Suite(step.run, "One training step, loss fetched, float32", scales=True),
    "loop": Suite(loop.run, "Loops of gradient descent, losses fetched, float32"),
    "pinn": Suite(pinn.run, "A physics-informed network, float32", scales=True),
    "startup": Suite(startup.run, "Before the first step"),
    "chain": Suite(chain.run, "A chain of 10,000 elementwise ops"),
    "memory": Suite(memory.run, "Memory of a training step"),
    "checkpoint": Suite(checkpoint.run, "A gigabyte saved and restored"),
    "events": Suite(events.run, "Logging for TensorBoard"),
}
SUITES_ON_GPU = {
    "step": Suite(gpu.step, "One training step on a GPU, loss fetched", programs=(*MLP_GPU,)),
    "pinn": Suite(gpu.pinn, "A physics-informed network on a GPU", programs=(*PINN_GPU,)),
    "loop": Suite(gpu.loop, "Loops on a GPU, losses fetched", programs=(*MLP_GPU,)),
}


@dataclass(frozen=True)
class Settings:
    """What a suite is told: cores, turns at most and seconds for them, fresh starts, and whom.

    And whether the suite is wanted whole. On a GPU also its name, until when (of `time.monotonic`)
    cases are begun, whether they are to be tiny, and whether workers may prepare side by side.
    """

    cores: int
    rounds: int
    seconds: float
    starts: int
    chains: int
    frameworks: tuple[str, ...]
    interpreters: dict[str, str]
    whole: bool = False
    device: str = ""
    until: float = math.inf
    tiny: bool = False
    abreast: bool = False

    def python(self, name):
        """Give the interpreter of a program; None is this one."""
        return self.interpreters.get(name)


def arguments():
    """Read the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("suites", nargs="*", metavar="suite", help=f"of {', '.join(SUITES)}")
    parser.add_argument("--cores", nargs="+", type=int, help="cores to pin, each; on a GPU all")
    parser.add_argument("--rounds", type=int, default=15, help="turns of a case at most")
    parser.add_argument(
        "--seconds", type=float, default=3, help="for turns of a case after the first 3"
    )
    parser.add_argument("--quick", action="store_true", help="few turns: a look, not a result")
    parser.add_argument("--frameworks", help=f"of {','.join({**PROGRAMS, **PROGRAMS_ON_GPU})}")
    parser.add_argument(
        "--python", action="append", default=[], metavar="NAME=PATH",
        help="interpreter of one framework",
    )  # fmt: skip
    parser.add_argument("--device", choices=("cpu", "gpu"), default="cpu", help="to compute on")
    parser.add_argument(
        "--minutes", type=float, default=7, help="on a GPU: no case is begun after so many"
    )
    parser.add_argument(
        "--dry-run", action="store_true", help="the suites of a GPU, tiny, on the CPU"
    )
    parser.add_argument("--output", type=Path, help="the page to write; of a dry run in /tmp")
    parser.add_argument("--json", type=Path, help="also keep every raw number here")
    options = parser.parse_args()
    on_gpu = options.device == "gpu"
    if options.dry_run and not on_gpu:
        parser.error("--dry-run goes with --device gpu")
    unknown = set(options.suites) - set(SUITES_ON_GPU if on_gpu else SUITES)
    programs = PROGRAMS_ON_GPU if on_gpu else PROGRAMS
    unknown |= set((options.frameworks or "headrace").split(",")) - set(programs)
    if unknown:
        parser.error(f"unknown: {', '.join(sorted(unknown))}")
    options.cores = options.cores or [len(os.sched_getaffinity(0)) if on_gpu else 1]
    process.cpus(max(options.cores))  # better now than after the suites on fewer
    if options.output is None:
        trial = Path(tempfile.gettempdir()) / "headrace-dry-run" / "benchmarks.md"
        options.output = trial if options.dry_run else picture.PAGE
    return options


def selected(options):
    """Which suites run on how many cores with which programs: [(cores, suite, names)]."""
    if options.device == "gpu":
        chosen = (options.frameworks or ",".join(PROGRAMS_ON_GPU)).split(",")
        return [
            (options.cores[0], name, tuple(n for n in chosen if n in SUITES_ON_GPU[name].programs))
            for name in options.suites or SUITES_ON_GPU
        ]
    if options.frameworks:
        names = tuple(options.frameworks.split(","))
        whole = dict.fromkeys(options.cores, names)
    elif options.suites:
        whole = dict.fromkeys(options.cores, tuple(PROGRAMS))
    else:
        whole = dict.fromkeys(options.cores, MAIN)
        whole[options.cores[0]] = tuple(name for name in PROGRAMS if name not in CLOSE)
    shown_once = () if options.suites or options.frameworks else IN_STEP
    return [
        (cores, suite, tuple(n for n in names if suite != "loop" or n not in shown_once))
        for cores, names in whole.items()
        for suite in options.suites or SUITES
        if options.suites or cores == options.cores[0] or SUITES[suite].scales
    ]


def absent(names, interpreters):
    """Which of the programs have no framework here: {name: words about it}."""
    found, known = {}, {}
    for name in names:
        program = {**PROGRAMS_ON_GPU, **PROGRAMS}[name]
        where = program.module, interpreters.get(name)
        if where not in known:
            known[where] = process.missing(*where)
        if known[where]:
            found[name] = f"{program.label} is left out: {program.module} is not installed."
    return found


def medians(raw):
    """What the picture needs of a suite's raw numbers."""
    return [
        {**entry, "seconds": {n: statistics.median(t) for n, t in entry["seconds"].items()}}
        for entry in raw["cases"]
    ]


def prepare_gpu(options):
    """Let children compute on a GPU, or in a dry run on the CPU; what settings say of that."""
    if options.dry_run:
        device = ""
    else:
        os.environ[DEVICE] = "gpu"
        # XLA times kernels to choose from: once for all programs, so that they get the same ones.
        kept = os.environ["JAX_COMPILATION_CACHE_DIR"] = tempfile.mkdtemp(prefix="headrace-jax-")
        atexit.register(shutil.rmtree, kept, ignore_errors=True)
        device = gpu.found()
    return {
        "device": device,
        "until": time.monotonic() + 60 * options.minutes,
        "tiny": options.dry_run,
        "abreast": True,
    }


def main():
    """Run what is asked for, write a section of the page for each suite, and draw the picture."""
    options = arguments()
    on_gpu = options.device == "gpu"
    command = shlex.join(["python", "benchmarks/run.py", *sys.argv[1:]])
    interpreters = dict(pair.split("=", 1) for pair in options.python)
    work, suites = selected(options), SUITES_ON_GPU if on_gpu else SUITES
    more = prepare_gpu(options) if on_gpu else {}
    missing = absent({name: None for *_, names in work for name in names}, interpreters)
    numbers = options.output.with_suffix(".json")
    drawn = json.loads(numbers.read_text()) if numbers.exists() else {}
    kept, status = {}, 0
    for cores, name, names in work:
        settings = Settings(
            cores=cores,
            rounds=3 if options.quick or options.dry_run else options.rounds,
            seconds=options.seconds,
            starts=1 if options.quick else 5 if options.suites else 3,
            chains=3 if options.suites and not options.quick else 1,
            frameworks=tuple(n for n in names if n not in missing),
            interpreters=interpreters,
            whole=bool(options.suites),
            **more,
        )
        suite, before = suites[name], report.clock()
        body, notes, versions, raw = suite.run(settings)
        status |= bool(notes)
        after = report.clock()
        words = [f"{module} {version}" for module, version in versions.items()]
        foot = [
            *(missing[n] for n in names if n in missing),
            *notes,
            "; ".join([report.machine(cores, before, after), *words]) + ".",
            f"Made by `{command}` in {after[0] - before[0]:.0f} s.",
        ]
        whole = body + "\n\n" + "\n".join(f"- {line}" for line in foot)
        title = f"{suite.title}, {cores} core{'s' * (cores > 1)}"
        section = f"{name}, {cores}"
        if on_gpu:
            title, section = suite.title, f"{name}, GPU"
        if options.dry_run:
            title = f"{title}: a dry run on a CPU, and no result"
        report.write(options.output, section, title, whole)
        print(f"## {title}\n\n{whole}\n", flush=True)
        kept[section] = raw
        if "cases" in raw:
            drawn[section] = medians(raw)
        numbers.write_text(json.dumps(drawn, indent=1) + "\n")
    if options.json:
        options.json.write_text(json.dumps(kept, indent=1))
    if not on_gpu:  # of which there is no picture
        picture.draw(drawn, picture.place_of(options.output))
    return status


if __name__ == "__main__":
    sys.exit(main())
