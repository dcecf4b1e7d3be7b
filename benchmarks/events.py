"""Suite `events`: how fast events are logged, and what a step with summaries costs."""

import random
import statistics
import sys

from process import ChildError, Worker
from report import ratio, seconds, table
from turns import DisagreementError, check

NAMES = ("headrace", "tensorflow")
EVENTS, STEPS = 5_000, 1_000
WAYS = {  # what is asked of a worker; how many of what that is
    "Summaries made before, an event": ("by_hand", {"events": EVENTS}),
    "Run of ten scalars, added, an event": ("by_run", {"events": STEPS}),
    "Training step without summaries": ("steps", {"steps": STEPS, "logged": False}),
    "with two histograms and a scalar, added": ("steps", {"steps": STEPS, "logged": True}),
}


def measure(workers, rounds):
    """Seconds an event or step: {way: {name: [of each turn]}}."""
    times = {way: {name: [] for name in workers} for way in WAYS}
    order = random.Random(0)
    for way, (do, request) in WAYS.items():
        each = request.get("events") or request["steps"]
        for turn in range(1 + rounds):  # the first only warms up
            for name in order.sample(list(workers), len(workers)):
                taken = workers[name].ask(do, **request)["seconds"] / each
                if turn:
                    times[way][name].append(taken)
        shown = "  ".join(f"{n} {seconds(statistics.median(t))}" for n, t in times[way].items())
        print(f"{way}: {shown}", file=sys.stderr)
    return times


def run(settings):
    """Run the suite; give its Markdown, what failed, versions, and the raw numbers."""
    names = [name for name in NAMES if name in settings.frameworks]
    workers = {
        name: Worker("events", name, settings.python(name), settings.cores, script="files.py")
        for name in names
    }
    try:
        versions = {name: worker.ask("hello")["version"] for name, worker in workers.items()}
        check({name: worker.ask("build")["losses"] for name, worker in workers.items()})
        times = measure(workers, settings.rounds)
    except (ChildError, DisagreementError) as e:
        return "", [f"events are not shown, {e}"], {}, {}
    finally:
        for worker in workers.values():
            worker.close()
    medians = {w: {n: statistics.median(t) for n, t in by.items()} for w, by in times.items()}
    plain, logged = list(medians.values())[2:]
    medians["so the summaries cost"] = {n: logged[n] - plain[n] for n in names}
    rows = []
    for way, by in medians.items():
        row = [way, *(seconds(by[name]) for name in names)]
        if len(names) == len(NAMES):
            row.append(ratio(by["tensorflow"] / by["headrace"]))
        rows.append(row)
    head = ["", *names, *["TensorFlow / headrace"] * (len(names) == len(NAMES))]
    words = (
        f"Medians of {settings.rounds} turns of {EVENTS:,} events or {STEPS:,} steps, each until "
        "all is in the file. The network is 64-64-10, batch 32."
    )
    return f"{table(head, rows)}\n\n{words}", [], versions, times
