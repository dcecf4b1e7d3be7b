"""A framework in a process of its own: `worker.py PROBLEM NAME CORES`, JSON requests on stdin.

Each is a line and is answered by one JSON line on the real stdout, {"error": ...} if it failed;
whatever else a framework prints goes to stderr. `process.Worker` is the other end.
"""

import gc
import importlib
import json
import os
import sys
import time
import traceback
from typing import Any

import numpy as np
from peak import product
from programs import PROBLEMS


class Bench:
    """The requests, one method each; holds the program now on the bench."""

    def __init__(self, problem, name, cores):
        """Put nothing on the bench yet."""
        self.name, self.cores = name, cores
        self.case, programs = PROBLEMS[problem]
        self.program = programs[name]
        self.step: Any = None

    def hello(self):
        """Import the framework and say its version."""
        module = importlib.import_module(self.program.module)
        return {"version": str(getattr(module, "__version__", "of no version"))}

    def device(self):
        """Say what the framework computes on: the name of a GPU, or "cpu"."""
        if self.program.module == "torch":
            import torch

            cuda = torch.cuda.is_available()
            return {"device": torch.cuda.get_device_name() if cuda else "cpu"}
        import jax

        return {"device": jax.devices()[0].device_kind}

    def prepare(self, case, steps):
        """Build the program of a case anew; give the losses of its first steps."""
        self.drop()
        self.step = self.program.make(self.case(**case), self.cores)
        losses = []
        while len(losses) < steps:
            losses += np.ravel(self.step()).tolist()
        return {"losses": losses[:steps]}

    def block(self, calls, warm=0):
        """Time calls, after `warm` that do not count: seconds, steps done, the last loss."""
        step = self.step
        for _ in range(warm):
            step()
        start = time.perf_counter()
        for _ in range(calls):
            losses = step()
        seconds = time.perf_counter() - start
        return {
            "seconds": seconds,
            "steps": calls * np.size(losses),
            "loss": float(np.ravel(losses)[-1]),
        }

    def peak(self, repeats=12, n=2048, precision=""):
        """The best rate of products [n, n] by [n, n], in FLOP/s."""
        multiply = product(self.name, n, precision)
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
    serve(Bench(sys.argv[1], sys.argv[2], int(sys.argv[3])), sys.stdin, answers)
