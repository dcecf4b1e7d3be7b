"""Updates in place: who reads a variable is done with it before it is written over.

XLA gives a variable's new value the memory of the old one, and copies the old one first if anything
may still read it. It looks at dependence alone and not at an order of execution, so where there is
none (`W - dW` does not hang on `dZ Wᵀ`) it copies, weights and all. Here the update is made to hang
on what was last made of the variable.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any

from headrace.runtime.plan import Step, Version
from headrace.xp import xla

_READERS = 4  # the last ones: those before are nearly always what these were made from


class Order:
    """Knows, while steps are traced, what was made of each variable that is to be written over."""

    def __init__(self, env: dict[Any, Any], variables: Collection[Version]):
        """For these variables of `env`, each in memory of its own."""
        self._env = env
        self._variables = set(variables)
        self._made: dict[int, list[Any]] = {id(env[v]): [] for v in variables}

    def parts(self, steps: Sequence[Step]) -> list[Sequence[Step]]:
        """The steps, cut before each that writes over a variable: `settle` is due there."""
        cuts = [i for i, step in enumerate(steps) if i and self._overwritten(step)]
        return [steps[i:j] for i, j in zip([0, *cuts], [*cuts, len(steps)], strict=True)]

    def settle(self, step: Step) -> None:
        """Let the variables that the step writes over hang on what was made of them."""
        for version in self._overwritten(step):
            array = self._env[version]
            made = self._made[id(array)]
            if len(made) > 1:  # if it is one, the update is made from it
                self._env[version] = xla.after(array, made[-_READERS:])

    def note(self, step: Step, _: int, results: Sequence[Any]) -> None:
        """Take down what a step made of variables: an observer of `execute`."""
        for a in step.args:
            array = id(self._env.get(a))
            if array in self._made:
                self._made[array] += [r for r in results if id(r) != array]

    def _overwritten(self, step: Step) -> list[Version]:
        if not step.op.definition.writes:
            return []
        return [a for a in step.args if isinstance(a, Version) and a in self._variables]
