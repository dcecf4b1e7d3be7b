"""Moving averages of variables and tensors."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from headrace import dtypes
from headrace.conversion import convert_to_tensor
from headrace.graph import name_scope
from headrace.initializers import Zeros
from headrace.keys import GraphKeys
from headrace.node import Operation, Tensor
from headrace.ops import cast, control, math, state
from headrace.train import slots
from headrace.variable_scope import get_variable, variable_scope
from headrace.variables import (
    Variable,
    global_variables,
    moving_average_variables,
    trainable_variables,
)


class ExponentialMovingAverage:
    """Averages that keep `decay` of the old and take 1 - decay of the new at each update.

    `num_updates` makes the decay min(decay, (1 + n) / (10 + n)), so that it is quick at first.
    Averages of variables start from their initial values, those of tensors from zero, for which
    `zero_debias` corrects.
    """

    def __init__(
        self,
        decay: Any,
        num_updates: Any = None,
        zero_debias: bool = False,
        name: str = "ExponentialMovingAverage",
    ):
        self._decay = decay
        self._num_updates = num_updates
        self._zero_debias = zero_debias
        self._name = name
        self._averages: dict[Any, Variable] = {}

    @property
    def name(self) -> str:
        """What its variables' names end in."""
        return self._name

    def apply(self, var_list: Iterable[Any] | None = None) -> Operation:
        """An operation that updates the averages of variables and tensors (all trainable ones).

        TypeError if one is not of a floating type.
        """
        var_list = trainable_variables() if var_list is None else list(var_list)
        biased = set()
        for v in var_list:
            if v.dtype.base_dtype not in dtypes.FLOATS:
                raise TypeError(f"The variables must be half, float, or double: {v.name}")
            if v not in self._averages:
                self._averages[v] = self._make(v)
                if self._zero_debias and not isinstance(v, Variable):
                    biased.add(v)
        with name_scope(self._name) as scope:
            decay = convert_to_tensor(self._decay, dtypes.float32, name="decay")
            if self._num_updates is not None:
                n = cast.cast(self._num_updates, dtypes.float32, name="num_updates")
                decay = math.minimum(decay, (1.0 + n) / (10.0 + n))
            updates = [
                assign_moving_average(self._averages[v], v, decay, zero_debias=v in biased)
                for v in var_list
            ]
            return control.group(*updates, name=scope)

    def _make(self, v: Any) -> Variable:
        graph = v.graph
        with graph.as_default(), graph.control_dependencies(None):
            if isinstance(v, Variable):
                made = slots.create_slot(v, v.initialized_value(), self._name)
                graph.add_to_collection(GraphKeys.MOVING_AVERAGE_VARIABLES, v)
                return made
            return slots.create_zeros_slot(v, self._name, colocate_with_primary=False)

    def average(self, var: Any) -> Variable | None:
        """The variable that holds the average; None if `apply` was not given `var`."""
        return self._averages.get(var)

    def average_name(self, var: Any) -> str:
        """The name of the variable that holds the average, or would."""
        if var in self._averages:
            return self._averages[var].op.name
        return var.op.graph.unique_name(f"{var.op.name}/{self._name}", mark_as_used=False)

    def variables_to_restore(self, moving_avg_variables: Any = None) -> dict[str, Any]:
        """Names in a checkpoint -> variables, so that a Saver restores averages into variables."""
        if moving_avg_variables is None:
            moving_avg_variables = trainable_variables() + moving_average_variables()
        averaged = list(dict.fromkeys(moving_avg_variables))
        names = {self.average_name(v): v for v in averaged}
        taken = {v.op.name for v in averaged}
        for v in global_variables():
            if v.op.name not in taken and v.op.name not in names:
                names[v.op.name] = v
        return names


def assign_moving_average(
    variable: Variable,
    value: Any,
    decay: Any,
    zero_debias: bool = True,
    name: str | None = None,
) -> Any:
    """Move a variable towards `value`: v - (1 - decay) * (v - value).

    With `zero_debias` it holds the average as if it had not started from zero (Kingma & Ba 2015).
    """
    with name_scope(name, "AssignMovingAvg", [variable, value, decay]) as scope:
        rate = cast.cast(convert_to_tensor(1.0 - decay, name="decay"), variable.dtype.base_dtype)
        if zero_debias:
            return state.assign(variable, _debiased(variable, value, rate), name=scope)
        return state.assign_sub(variable, (variable - value) * rate, name=scope)


def _debiased(variable: Variable, value: Any, rate: Tensor) -> Tensor:
    """The average as if it had not started from zero; its biased form and count are kept."""
    graph = variable.graph
    dtype = variable.dtype.base_dtype
    scope = variable_scope(variable.op.name, auxiliary_name_scope=False)
    with scope, graph.colocate_with(variable.op):
        biased = get_variable("biased", variable.shape, dtype, initializer=Zeros(), trainable=False)
        count = get_variable("local_step", [], dtype, initializer=Zeros(), trainable=False)
    moved = state.assign_sub(biased, (biased - value) * rate)
    counted = state.assign_add(count, 1)
    return moved / (1.0 - math.pow(1.0 - rate, counted))
