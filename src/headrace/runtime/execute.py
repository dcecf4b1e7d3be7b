"""The one loop over steps. NumPy runs it on the host; XLA's trace runs it once, over tracers."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from headrace import errors
from headrace.node import NODE_MARK, Operation, where
from headrace.runtime.plan import Step
from headrace.xp import numpy as numpy_namespace


def execute(
    steps: Sequence[Step],
    env: dict[Any, Any],
    state_of: Callable[[Operation], Any],
    namespace_of: Callable[[Sequence[Any]], Any] | None = None,
    effects: bool = True,
    drew: Callable[[Operation, tuple[int, ...]], None] | None = None,
    observe: Callable[[Step, int, Sequence[Any]], None] | None = None,
) -> None:
    """Run the steps: take arguments from `env` and bind results there.

    `state_of(op)` is the Philox state of a random op, `drew(op, shape)` is told what it gave.
    `observe(step, start in ns, results)` is called when a step is done, to trace a run.
    `namespace_of(arguments)` chooses the array namespace; NumPy is it if not given. A step's
    names that nothing needs any more are dropped.
    """
    env[None] = None  # stands for what a step does not need, or nobody needs of a step
    value_of, xp = env.__getitem__, numpy_namespace
    for step in steps:
        definition = step.op.definition
        args = [*map(value_of, step.args)]
        if definition.random:
            args.insert(0, state_of(step.op))
        if namespace_of is not None:
            xp = namespace_of(args)
        start = 0 if observe is None else time.perf_counter_ns()
        try:
            results = step.call(xp, *args)
            if effects and definition.effect:
                definition.effect(step.op, *args)
        except Exception as error:
            raise blame(error, step.op) from error
        outs = step.outs
        if len(outs) == 1 and not isinstance(results, (tuple, list)):
            env[outs[0]] = results
        elif outs:
            env.update(zip(outs, results, strict=True))
        if definition.random and drew is not None:
            drew(step.op, np.shape(env[outs[0]]))
        if observe is not None:
            observe(step, start, [env[n] for n in outs if n is not None])
        for name in step.dead:
            del env[name]


def blame(error: Exception, op: Operation) -> Exception:
    """The error as an OpError that names the op and the user's line that made it."""
    if isinstance(error, errors.OpError):
        if error.op is None or error.op is op:
            error.op = op
            if NODE_MARK not in error.message:
                error.message += where(op)
        return error
    return errors.InvalidArgumentError(None, op, f"{error}{where(op)}")
