"""Measure headrace beside its peers and write the tables of docs/benchmarks.md.

    python benchmarks/run.py                         all suites on one core, some six minutes
    python benchmarks/run.py step --cores 1 2        one suite, on one core, then on two
    python benchmarks/run.py --quick                 a look, some two minutes
    python benchmarks/run.py step --frameworks headrace,jax --output /tmp/here.md

The status is 1 if a framework failed or the losses did not agree; one that is not installed is
named in the page and passed over, and so is a target that was missed.
"""

import argparse
import json
import shlex
import sys
from dataclasses import dataclass
from pathlib import Path

import chain
import process
import report
import startup
import step
from mlp import PROGRAMS

SUITES = {
    "step": (step.run, "One training step, loss fetched, float32"),
    "startup": (startup.run, "Before the first step"),
    "chain": (chain.run, "A chain of 10,000 elementwise ops"),
}
USUAL = ("headrace", "jax", "tensorflow", "torch", "numpy")


@dataclass(frozen=True)
class Settings:
    """What a suite is told: how many cores, turns, fresh starts and chains, and with whom."""

    cores: int
    rounds: int
    starts: int
    chains: int
    frameworks: tuple[str, ...]
    interpreters: dict[str, str]

    def python(self, name):
        """Give the interpreter of a framework; None is this one."""
        return self.interpreters.get(name)


def arguments():
    """Read the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("suites", nargs="*", metavar="suite", help=f"of {', '.join(SUITES)}")
    parser.add_argument("--cores", nargs="+", type=int, default=[1], help="cores to pin, each")
    parser.add_argument("--rounds", type=int, help="turns of each framework and case")
    parser.add_argument("--quick", action="store_true", help="few turns: a look, not a result")
    parser.add_argument("--frameworks", default=",".join(USUAL), help=f"of {','.join(PROGRAMS)}")
    parser.add_argument(
        "--python", action="append", default=[], metavar="NAME=PATH",
        help="interpreter of one framework",
    )  # fmt: skip
    page = Path(__file__).parent.parent / "docs" / "benchmarks.md"
    parser.add_argument("--output", type=Path, default=page, help="the page to write")
    parser.add_argument("--json", type=Path, help="also keep every raw number here")
    options = parser.parse_args()
    unknown = set(options.suites) - set(SUITES)
    unknown |= set(options.frameworks.split(",")) - set(PROGRAMS)
    if unknown:
        parser.error(f"unknown: {', '.join(sorted(unknown))}")
    return options


def main():
    """Run the suites asked for and write a section of the page for each."""
    options = arguments()
    command = shlex.join(["python", "benchmarks/run.py", *sys.argv[1:]])
    kept, status = {}, 0
    interpreters = dict(pair.split("=", 1) for pair in options.python)
    present, absent = [], []
    for name in options.frameworks.split(","):
        module = PROGRAMS[name].module
        if process.missing(module, interpreters.get(name)):
            absent.append(f"{PROGRAMS[name].label} is absent: {module} is not installed.")
        else:
            present.append(name)
    for cores in options.cores:
        settings = Settings(
            cores=cores,
            rounds=options.rounds or (3 if options.quick else 15),
            starts=1 if options.quick else 5,
            chains=1 if options.quick else 3,
            frameworks=tuple(present),
            interpreters=interpreters,
        )
        for name in options.suites or SUITES:
            suite, title = SUITES[name]
            before = report.clock()
            body, notes, versions, kept[f"{name}, {cores}"] = suite(settings)
            status |= bool(notes)
            words = [f"{module} {version}" for module, version in versions.items()]
            foot = [
                *absent,
                *notes,
                "; ".join([report.machine(cores, before, report.clock()), *words]) + ".",
                f"Made by `{command}`.",
            ]
            plural = "s" if cores > 1 else ""
            whole = body + "\n\n" + "\n".join(f"- {line}" for line in foot)
            title = f"{title}, {cores} core{plural}"
            report.write(options.output, f"{name}, {cores}", title, whole)
            print(f"## {title}\n\n{whole}\n")
    if options.json:
        options.json.write_text(json.dumps(kept, indent=1))
    return status


if __name__ == "__main__":
    sys.exit(main())
