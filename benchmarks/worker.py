"""A framework in a process of its own: `worker.py NAME CORES`, a JSON request a line on stdin.

Each request is answered by one JSON line on the real stdout, {"error": ...} if it failed; whatever
else a framework prints goes to stderr. `process.Worker` is the other end.
"""

import gc
import importlib
import json
import os
import sys
import time
import traceback
from typing import Any

from mlp import PROGRAMS, Case, product


class Bench:
    """The requests, one method each; holds the program now on the bench."""

    def __init__(self, name, cores):
        """Put nothing on the bench yet."""
        self.name, self.cores = name, cores
        self.step: Any = None

    def hello(self):
        """Import the framework and say its version."""
        module = importlib.import_module(PROGRAMS[self.name].module)
        return {"version": str(getattr(module, "__version__", "of no version"))}

    def prepare(self, layers, batch, optimizer, steps):
        """Build the program of a case anew; give the losses of its first steps."""
        self.drop()
        case = Case(tuple(layers), batch, optimizer)
        self.step = PROGRAMS[self.name].make(case, self.cores)
        return {"losses": [float(self.step()) for _ in range(steps)]}

    def block(self, steps, warm=0):
        """Run `steps` steps after `warm` ones that do not count; give the seconds."""
        step = self.step
        for _ in range(warm):
            step()
        start = time.perf_counter()
        for _ in range(steps):
            loss = step()
        seconds = time.perf_counter() - start
        return {"seconds": seconds, "loss": None if loss is None else float(loss)}

    def peak(self, repeats, n=2048):
        """The best rate of `repeats` float32 products [n, n] by [n, n], in FLOP/s."""
        multiply = product(self.name, n)
        multiply()
        seconds = []
        for _ in range(repeats):
            start = time.perf_counter()
            multiply()
            seconds.append(time.perf_counter() - start)
        return {"flops": 2 * n**3 / min(seconds)}

    def drop(self):
        """Free the program and all that it holds."""
        self.step = None
        gc.collect()
        return {}


def serve(bench, requests, channel):
    """Answer requests until there are no more."""
    for line in requests:
        request = json.loads(line)
        try:
            answer = getattr(bench, request.pop("do"))(**request)
        except Exception as e:
            traceback.print_exc()
            answer = {"error": f"{type(e).__name__}: {e}"}
        print(json.dumps(answer), file=channel, flush=True)


if __name__ == "__main__":
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    serve(Bench(sys.argv[1], int(sys.argv[2])), sys.stdin, answers)
