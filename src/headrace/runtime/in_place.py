"""Updates in place: who reads a variable is done with it before it is written over.

XLA gives a variable's new value the memory of the old one, and copies the old one first if anything
may still read it. It looks at dependence alone and not at an order of execution, so where there is
none (`W - dW` does not hang on `dZ Wᵀ`) it copies, weights and all. Here the update is made to hang
on what was last made of the variable.
"""

from __future__ import annotations

import functools
import operator
from collections.abc import Collection, Sequence
from typing import Any

from headrace.runtime.plan import Name, Step, Version
from headrace.xp import xla


class Order:
    """Knows, while steps are traced, what was made of each variable that is to be written over."""

    def __init__(self, env: dict[Any, Any], variables: Collection[Version]):
        """For these variables of `env`, each in memory of its own."""
        self._env = env
        self._variables = set(variables)
        # What was made of each, with a bit of its own; and by name the bits of all it is made from.
        self._made: dict[int, list[tuple[Any, int, int]]] = {id(env[v]): [] for v in variables}
        self._from: dict[Name | None, int] = {}
        self._bit = 1

    def parts(self, steps: Sequence[Step]) -> list[Sequence[Step]]:
        """The steps, cut before each that writes over a variable: `settle` is due there."""
        cuts = [i for i, step in enumerate(steps) if i and self._overwritten(step)]
        return [steps[i:j] for i, j in zip([0, *cuts], [*cuts, len(steps)], strict=True)]

    def settle(self, step: Step) -> None:
        """Let the variables that the step writes over hang on what was made of them.

        Not on what the step or something later is made from anyway: it would be kept until then.
        """
        for version in self._overwritten(step):
            array, last = self._env[version], []
            seen = self._sources(step)
            for made, own, sources in reversed(self._made[id(array)]):
                if not seen & own:
                    last.append(made)
                seen |= sources
            if last:
                self._env[version] = xla.after(array, last)

    def note(self, step: Step, _: int, results: Sequence[Any]) -> None:
        """Take down what a step made of variables: an observer of `execute`."""
        sources = self._sources(step)
        tracked = {id(self._env.get(a)) for a in step.args} & self._made.keys()
        for name, r in zip([n for n in step.outs if n is not None], results, strict=True):
            self._from[name] = sources
            if tracked and id(r) not in tracked:
                self._from[name] |= self._bit
                for array in tracked:
                    self._made[array].append((r, self._bit, self._from[name]))
                self._bit <<= 1
        for name in step.dead:
            self._from.pop(name, None)

    def _sources(self, step: Step) -> int:
        """The bits of all that the step's results are made from."""
        return functools.reduce(operator.or_, [self._from.get(a, 0) for a in step.args], 0)

    def _overwritten(self, step: Step) -> list[Version]:
        if not step.op.definition.writes:
            return []
        return [a for a in step.args if isinstance(a, Version) and a in self._variables]
