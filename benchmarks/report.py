"""Words and tables: numbers with units, Markdown, the page whose tables are replaced in place."""

import os
import platform
import re
import time
from datetime import date
from pathlib import Path

INTRODUCTION = """# Benchmarks

Every program runs in a process of its own, all alive at once and pinned to the same cores, their
threads limited to those cores, and they take turns in an order shuffled each round; what is shown
is the median of the turns. All start from the same weights and see the same batches, and none is
timed whose losses are not those of the others to 1e-4. `benchmarks/` holds the programs; `make
bench` writes this page, and each table is replaced in place by the command beneath it.

The sections on a GPU are written by `make bench-gpu`, or where JAX for CUDA and PyTorch are there
already by `python benchmarks/run.py --device gpu`; `benchmarks/gpu.py` says what they measure.

![How many times headrace's time others take for a step, by program and size](images/benchmarks.png)
"""


def seconds(value):
    """Three digits and the unit that fits: 24.8 µs, 1.46 ms, 8.02 s."""
    for unit, scale in (("µs", 1e6), ("ms", 1e3)):
        if value * scale < 999.5:
            return f"{value * scale:#.3g}".rstrip(".") + f" {unit}"
    return f"{value:#.3g}".rstrip(".") + " s"


def ratio(value):
    """Give two or three digits: 1.04, 12.3, 123."""
    return f"{value:.2f}" if value < 10 else f"{value:.1f}" if value < 100 else f"{value:.0f}"


def verdict(value, target, at_least):
    """Show a ratio beside its target: "1.02 (≤ 1.15)", and in bold by how much it is missed."""
    reached = value >= target if at_least else value <= target
    words = f"{ratio(value)} ({'≥' if at_least else '≤'} {target})"
    return words if reached else f"**{words} missed**"


def table(head, rows):
    """Lay out a Markdown table; the first column left, the others right."""
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def clock():
    """Seconds now: of the wall, of all CPUs busy (0 if unknown), of our processes that ended."""
    try:
        fields = Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]
    except OSError:
        fields = ["0"] * 8
    user, nice, system, _idle, _wait, irq, soft, stolen = map(int, fields)
    busy = (user + nice + system + irq + soft + stolen) / os.sysconf("SC_CLK_TCK")
    return time.perf_counter(), busy, sum(os.times()[:4])


def machine(cores, before, after):
    """Describe the machine, and how busy others kept it between two readings of `clock()`."""
    model = platform.processor() or platform.machine()
    with open("/proc/cpuinfo") as lines:
        for line in lines:
            if line.startswith("model name"):
                model = line.split(":", 1)[1].strip()
                break
    wall, busy, ours = (b - a for a, b in zip(before, after, strict=True))
    others = max(busy - ours, 0) / wall
    quiet = "" if others < 0.1 else ", so **not quiet**"
    return (
        f"{model}, {cores} of {os.cpu_count()} cores, {platform.system()} {platform.release()}, "
        f"Python {platform.python_version()}, {date.today()}; "
        f"meanwhile others used {others:.2f} cores{quiet}"
    )


def write(path, name, title, body):
    """Put a section into the page, where its markers are or else at the end; renew the top."""
    begin, end = f"<!-- begin {name} -->", f"<!-- end {name} -->"
    _, first, rest = (path.read_text() if path.exists() else "").partition("<!-- begin ")
    page = f"{INTRODUCTION}\n{first}{rest}"
    section = f"{begin}\n## {title}\n\n{body}\n{end}"
    found = re.compile(re.escape(begin) + ".*?" + re.escape(end), re.DOTALL)
    if found.search(page):
        page = found.sub(lambda _: section, page)
    else:  # behind the others, and before what was written by hand
        others, end, words = page.rpartition("<!-- end ")
        last, _, words = words.partition("\n")
        parts = [f"{others}{end}{last}" if end else page, section, words if end else ""]
        page = "\n\n".join(part.strip("\n") for part in parts if part.strip()) + "\n"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(page)
