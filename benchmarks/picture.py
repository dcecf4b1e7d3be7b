"""Draw the page's numbers: how many times headrace's time every other program takes.

`picture.py docs/benchmarks.md` redraws docs/images/benchmarks.png from docs/benchmarks.json.
"""

import argparse
import json
import math
from pathlib import Path

from programs import MLP, PINN

PAGE = Path(__file__).parent.parent / "docs" / "benchmarks.md"
COLOURS = {1: "#0072B2", 2: "#D55E00"}  # by cores; of Okabe and Ito's palette, told apart by all
SUITES = (  # suite, its title, table of its programs, whom the others are measured by
    ("step", "One training step", MLP, "headrace"),
    ("loop", "Loops", MLP, "headrace-loop"),
    ("pinn", "Physics-informed network", PINN, "headrace"),
)


def panels(kept, suite, base):
    """Give {case: [(program, cores, optimizer, ratio)]} of a suite."""
    found = {}
    for cores in COLOURS:
        for entry in kept.get(f"{suite}, {cores}", []):
            spent = entry["seconds"]
            if base in spent:
                points = found.setdefault(entry["case"], [])
                points += [(n, cores, entry["optimizer"], spent[n] / spent[base]) for n in spent]
    return found


def order(found, base):
    """The programs of some panels but the one they are measured by, the fastest on top."""
    ratios = {}
    for points in found.values():
        for name, _, _, ratio in points:
            ratios.setdefault(name, []).append(math.log(ratio))
    ratios.pop(base, None)
    return sorted(ratios, key=lambda name: -sum(ratios[name]) / len(ratios[name]))


def panel(ax, case, points, place, base):
    """Draw one case: a mark for each program, number of cores and optimizer."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    apart = 0.12 if len({optimizer for _, _, optimizer, _ in points}) > 1 else 0
    for name, cores, optimizer, ratio in points:
        if name != base:
            plain = optimizer == "gradient descent"
            ax.plot(
                ratio, place[name] + (apart if plain else -apart),
                marker="o" if plain else "D", markersize=5.5 if plain else 4.8, alpha=0.85,
                color=COLOURS[cores], markerfacecolor="none" if cores > 1 else None,
            )  # fmt: skip
    ax.set_xscale("log")
    low, high = ax.get_xlim()
    low, high = min(low, 0.8), max(high, 2.2)
    ax.axvspan(low, 1, color="0.95", zorder=0)
    ax.axvline(1, color="black", linewidth=1.2)
    ax.set_xlim(low, high)
    ax.set_title(case.replace(", ", "\n", 1), fontsize=9)
    ax.xaxis.set_major_locator(LogLocator(10, (1, 2, 5) if high / low < 100 else (1,)))
    ax.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}"))
    ax.xaxis.set_minor_formatter(NullFormatter())
    ax.tick_params(axis="y", length=0)
    ax.grid(color="0.88")
    ax.set_axisbelow(True)
    ax.spines[["top", "right", "left"]].set_visible(False)


def block(figure, title, programs, base, found, height):
    """Draw the panels of a suite, `height` rows high, with the programs' names to their left."""
    names = order(found, base)
    place = {name: i for i, name in enumerate(names)}
    axes = figure.subplots(1, len(found), sharey=True, squeeze=False)[0]
    for ax, (case, points) in zip(axes, found.items(), strict=True):
        panel(ax, case, points, place, base)
    axes[0].set_ylim(len(names) - height - 0.6, len(names) - 0.4)
    axes[0].set_yticks(list(place.values()), [programs[n].label for n in names], fontsize=9)
    figure.supxlabel(f"{title}: time / time of {programs[base].label}", fontsize=9, color="0.3")


def draw(kept, path):
    """Draw what there is of {"suite, cores": entries} into a PNG; nothing if there is nothing."""
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib import pyplot as plt
    from matplotlib.lines import Line2D

    blocks = [(*words, base, panels(kept, suite, base)) for suite, *words, base in SUITES]
    lines = [[b for b in line if b[3]] for line in (blocks[:1], blocks[1:])]
    lines = [line for line in lines if line]
    if not lines:
        return
    rows = [max(len(order(found, base)) for *_, base, found in line) for line in lines]
    heights = [1.3 + 0.27 * n for n in rows]
    counts = [[len(b[3]) for b in line] for line in lines]
    size = 2.9 + 2.3 * max(sum(c) + len(c) - 1 for c in counts), 0.5 + sum(heights)
    figure = plt.figure(figsize=size, layout="constrained")
    parts = figure.subfigures(len(lines), 1, height_ratios=heights, squeeze=False)[:, 0]
    for part, line, widths, height in zip(parts, lines, counts, rows, strict=True):
        sides = part.subfigures(1, len(line), width_ratios=[w + 1 for w in widths], squeeze=False)
        for side, chosen in zip(sides[0], line, strict=True):
            block(side, *chosen, height)
    marks = [
        Line2D([], [], linestyle="", marker=marker, color=colour, label=words,
               markerfacecolor="none" if hollow else None)
        for words, marker, colour, hollow in (
            ("gradient descent", "o", "0.5", False), ("Adam; L-BFGS", "D", "0.5", False),
            ("1 core", "s", COLOURS[1], False), ("2 cores", "s", COLOURS[2], True),
        )
    ]  # fmt: skip
    figure.legend(handles=marks, loc="outside upper right", ncols=4, frameon=False, fontsize=9)
    title = "Time of a step in times that of headrace, the line: in the grey others are faster"
    figure.suptitle(title, x=0.01, ha="left", fontsize=12)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=100)
    plt.close(figure)


def place_of(page):
    """Where the picture of a page belongs."""
    return page.parent / "images" / f"{page.stem}.png"


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("page", nargs="?", type=Path, default=PAGE, help="beside which lies .json")
    page = parser.parse_args().page
    draw(json.loads(page.with_suffix(".json").read_text()), place_of(page))
