"""The optimizers. The formulas of their steps are in `ops/training.py`, one each.

A class here says which rule, which slots, and where the rule's scalars come from.
"""

from __future__ import annotations

from typing import Any

from headrace import dtypes
from headrace.conversion import convert_to_tensor
from headrace.indexed_slices import IndexedSlices
from headrace.initializers import Constant, Initializer, Ones, Zeros
from headrace.node import Operation, Tensor
from headrace.ops import array, cast, control, math, segment, state, training
from headrace.train.optimizer import Optimizer
from headrace.variables import ResourceVariable, Variable


class RuleOptimizer(Optimizer):
    """An optimizer whose step is a rule of `ops/training.py`.

    `operands` says where each scalar of the rule comes from: operand -> (name of its tensor,
    value, or function that gives the value).
    """

    _rule: training.Rule
    _states: tuple[str, ...] = ()  # names of slots, in the rule's order

    def __init__(
        self, use_locking: bool, name: str, operands: dict[str, tuple[str, Any]], **attrs: Any
    ):
        super().__init__(use_locking, name)
        self._operands = operands
        self._attrs = attrs
        self._tensors: dict[str, Tensor] = {}

    @property
    def _lr(self) -> Any:
        return next(iter(self._operands.values()))[1]

    @property
    def _lr_t(self) -> Tensor:
        return next(iter(self._tensors.values()))

    _learning_rate = _lr
    _learning_rate_tensor = _lr_t

    def _starts(self, var: Variable) -> list[tuple[str, Initializer, str]]:
        """(slot, initializer, suffix of its variable's name), in the order of their making."""
        return [(s, Zeros(), self._name) for s in self._states]

    def _create_slots(self, var_list: list[Variable]) -> None:
        for v in var_list:
            dtype = v.dtype.base_dtype
            for slot, start, op_name in self._starts(v):
                if v.shape.is_fully_defined():
                    self._get_or_make_slot_with_initializer(v, start, v.shape, dtype, slot, op_name)
                else:
                    value = start(array.shape(v.initialized_value()), dtype)
                    self._get_or_make_slot(v, value, slot, op_name)

    def _prepare(self) -> None:
        self._tensors = {
            operand: convert_to_tensor(self._call_if_callable(value), name=name)
            for operand, (name, value) in self._operands.items()
        }

    def _values(self, var: Variable) -> dict[str, Any]:
        """The rule's scalars, of the variable's type."""
        dtype = var.dtype.base_dtype
        return {operand: cast.cast(t, dtype) for operand, t in self._tensors.items()}

    def _step(self, grad: Any, var: Variable, indices: Any = None) -> Any:
        states = [var, *(self.get_slot(var, s) for s in self._states)]
        values = {**self._values(var), "grad": grad, "delta": grad}
        return self._rule(states, values, indices, use_locking=self._use_locking, **self._attrs)

    def _apply_dense(self, grad: Tensor, var: Variable) -> Any:
        return self._step(grad, var)

    def _resource_apply_dense(self, grad: Tensor, var: Variable) -> Any:
        return self._step(grad, var)

    def _apply_sparse(self, grad: IndexedSlices, var: Variable) -> Any:
        return self._step(grad.values, var, grad.indices)

    def _resource_apply_sparse(self, grad: Tensor, var: Variable, indices: Tensor) -> Any:
        return self._step(grad, var, indices)

    # The rules add up equal rows themselves, where XLA can do it without knowing how many.
    _apply_sparse_duplicate_indices = _apply_sparse
    _resource_apply_sparse_duplicate_indices = _resource_apply_sparse


class GradientDescentOptimizer(RuleOptimizer):
    """Steps against the gradient: w - learning_rate * g."""

    _rule = training.gradient_descent

    def __init__(
        self, learning_rate: Any, use_locking: bool = False, name: str = "GradientDescent"
    ):
        super().__init__(use_locking, name, {"alpha": ("learning_rate", learning_rate)})

    def _step(self, grad: Any, var: Variable, indices: Any = None) -> Any:
        if indices is None:
            return super()._step(grad, var)
        delta = grad * self._values(var)["alpha"]
        if isinstance(var, ResourceVariable):
            return state.SCATTER["Sub"][1](var.handle, indices, delta)
        return state.scatter_sub(var, indices, delta, use_locking=self._use_locking)


class MomentumOptimizer(RuleOptimizer):
    """Momentum: a = momentum * a + g; w - learning_rate * a. Or Nesterov's."""

    _rule = training.momentum
    _states = ("momentum",)

    def __init__(
        self,
        learning_rate: Any,
        momentum: Any,
        use_locking: bool = False,
        name: str = "Momentum",
        use_nesterov: bool = False,
    ):
        operands = {"lr": ("learning_rate", learning_rate), "momentum": ("momentum", momentum)}
        super().__init__(use_locking, name, operands, use_nesterov=use_nesterov)
        self._momentum = momentum
        self._use_nesterov = use_nesterov


class AdagradOptimizer(RuleOptimizer):
    """Adagrad (Duchi et al. 2011): rates fall with the sum of squares of past gradients."""

    _rule = training.adagrad
    _states = ("accumulator",)

    def __init__(
        self,
        learning_rate: Any,
        initial_accumulator_value: float = 0.1,
        use_locking: bool = False,
        name: str = "Adagrad",
    ):
        _check_accumulator(initial_accumulator_value)
        super().__init__(use_locking, name, {"lr": ("learning_rate", learning_rate)})
        self._initial_accumulator_value = initial_accumulator_value

    def _starts(self, var: Variable) -> list[tuple[str, Initializer, str]]:
        start = Constant(self._initial_accumulator_value)
        return [("accumulator", start, self._name)]


def _check_accumulator(value: float) -> None:
    if value <= 0.0:
        raise ValueError(f"initial_accumulator_value must be positive: {value}")


class AdadeltaOptimizer(RuleOptimizer):
    """Adadelta (Zeiler 2012)."""

    _rule = training.adadelta
    _states = ("accum", "accum_update")

    def __init__(
        self,
        learning_rate: Any = 0.001,
        rho: Any = 0.95,
        epsilon: Any = 1e-8,
        use_locking: bool = False,
        name: str = "Adadelta",
    ):
        operands = {
            "lr": ("lr", learning_rate), "rho": ("rho", rho), "epsilon": ("epsilon", epsilon)
        }  # fmt: skip
        super().__init__(use_locking, name, operands)


class RMSPropOptimizer(RuleOptimizer):
    """RMSProp (Tieleman & Hinton 2012), with momentum; `centered`, by the gradient's variance."""

    def __init__(
        self,
        learning_rate: Any,
        decay: Any = 0.9,
        momentum: Any = 0.0,
        epsilon: Any = 1e-10,
        use_locking: bool = False,
        centered: bool = False,
        name: str = "RMSProp",
    ):
        operands = {
            "lr": ("learning_rate", learning_rate),
            "rho": ("decay", decay),
            "momentum": ("momentum", momentum),
            "epsilon": ("epsilon", epsilon),
        }
        super().__init__(use_locking, name, operands)
        self._centered = centered
        self._rule = training.centered_rms_prop if centered else training.rms_prop
        self._states = ("mg", "rms", "momentum") if centered else ("rms", "momentum")

    def _starts(self, var: Variable) -> list[tuple[str, Initializer, str]]:
        made = [("rms", Ones(), self._name), ("momentum", Zeros(), self._name)]
        if self._centered:
            made.insert(1, ("mg", Zeros(), self._name))
        return made


class AdamOptimizer(RuleOptimizer):
    """Adam (Kingma & Ba 2015). Sparse gradients too decay the moments of every row."""

    _rule = training.adam
    _states = ("m", "v")

    def __init__(
        self,
        learning_rate: Any = 0.001,
        beta1: Any = 0.9,
        beta2: Any = 0.999,
        epsilon: Any = 1e-8,
        use_locking: bool = False,
        name: str = "Adam",
    ):
        operands = {
            "lr": ("learning_rate", learning_rate),
            "beta1": ("beta1", beta1),
            "beta2": ("beta2", beta2),
            "epsilon": ("epsilon", epsilon),
        }
        super().__init__(use_locking, name, operands)
        self._beta1 = beta1
        self._beta2 = beta2
        self._epsilon = epsilon

    def _create_slots(self, var_list: list[Variable]) -> None:
        first = min(var_list, key=lambda v: v.name)
        for name, start in (("beta1_power", self._beta1), ("beta2_power", self._beta2)):
            self._create_non_slot_variable(self._call_if_callable(start), name, first)
        super()._create_slots(var_list)

    def _get_beta_accumulators(self, graph: Any) -> tuple[Variable, Variable]:
        powers = [self._get_non_slot_variable(f"beta{i}_power", graph) for i in (1, 2)]
        return powers[0], powers[1]  # type: ignore[return-value]

    def _values(self, var: Variable) -> dict[str, Any]:
        b1, b2 = self._get_beta_accumulators(var.graph)
        dtype = var.dtype.base_dtype
        powers = {"beta1_power": cast.cast(b1, dtype), "beta2_power": cast.cast(b2, dtype)}
        return {**powers, **super()._values(var)}

    def _step(self, grad: Any, var: Variable, indices: Any = None) -> Any:
        if indices is not None:
            rows = var.shape._dims[0] if var.shape._dims else None
            rows = array.shape(var)[0] if rows is None else rows
            grad = segment.unsorted_segment_sum(grad, indices, rows)
        return super()._step(grad, var)

    def _finish(self, update_ops: Any, name_scope: str) -> Operation:
        graph = update_ops[0].graph
        b1, b2 = self._get_beta_accumulators(graph)
        powers = []
        with graph.colocate_with(b1.op):
            for power, beta in ((b1, "beta1"), (b2, "beta2")):
                raised = power * cast.cast(self._tensors[beta], power.dtype.base_dtype)
                with graph.control_dependencies(update_ops):
                    powers.append(
                        power.assign(raised, use_locking=self._use_locking, read_value=False)
                    )
        return control.group(*update_ops, *powers, name=name_scope)


class FtrlOptimizer(RuleOptimizer):
    """FTRL-Proximal (McMahan et al. 2013); with shrinkage, a second L2 penalty on weights only."""

    _states = ("accum", "linear")

    def __init__(
        self,
        learning_rate: Any,
        learning_rate_power: Any = -0.5,
        initial_accumulator_value: float = 0.1,
        l1_regularization_strength: Any = 0.0,
        l2_regularization_strength: Any = 0.0,
        use_locking: bool = False,
        name: str = "Ftrl",
        accum_name: str | None = None,
        linear_name: str | None = None,
        l2_shrinkage_regularization_strength: Any = 0.0,
        beta: Any = None,
    ):
        for value, what, wrong in (
            (initial_accumulator_value, "initial_accumulator_value", lambda x: x < 0),
            (learning_rate_power, "learning_rate_power", lambda x: x > 0),
            (l1_regularization_strength, "l1_regularization_strength", lambda x: x < 0),
            (l2_regularization_strength, "l2_regularization_strength", lambda x: x < 0),
            (
                l2_shrinkage_regularization_strength,
                "l2_shrinkage_regularization_strength",
                lambda x: x < 0,
            ),
        ):
            if isinstance(value, (int, float)) and wrong(value):
                sign = "negative or zero" if what == "learning_rate_power" else "positive or zero"
                raise ValueError(f"{what} {value} needs to be {sign}")
        operands = {
            "lr": ("learning_rate", learning_rate),
            "l1": ("l1_regularization_strength", l1_regularization_strength),
            "l2": ("l2_regularization_strength", l2_regularization_strength),
            "lr_power": ("learning_rate_power", learning_rate_power),
        }
        shrinks = l2_shrinkage_regularization_strength
        self._rule = training.ftrl
        if not isinstance(shrinks, (int, float)) or shrinks > 0:
            operands["l2_shrinkage"] = ("l2_shrinkage_regularization_strength", shrinks)
            self._rule = training.ftrl_v2
        super().__init__(use_locking, name, operands)
        self._beta = beta
        self._initial_accumulator_value = initial_accumulator_value
        self._accum_name = accum_name or name
        self._linear_name = linear_name or name

    def _starts(self, var: Variable) -> list[tuple[str, Initializer, str]]:
        start = Constant(self._initial_accumulator_value)
        return [("accum", start, self._accum_name), ("linear", Zeros(), self._linear_name)]

    def _prepare(self) -> None:
        super()._prepare()
        if self._beta is not None:
            rate = math.maximum(self._tensors["lr"], 1e-36)
            self._tensors["l2"] = self._tensors["l2"] + self._beta / (2.0 * rate)


class ProximalGradientDescentOptimizer(RuleOptimizer):
    """Gradient descent with L1 and L2 penalties by forward-backward splitting."""

    _rule = training.proximal_gradient_descent

    def __init__(
        self,
        learning_rate: Any,
        l1_regularization_strength: Any = 0.0,
        l2_regularization_strength: Any = 0.0,
        use_locking: bool = False,
        name: str = "ProximalGradientDescent",
    ):
        operands = {
            "alpha": ("learning_rate", learning_rate),
            "l1": ("l1_regularization_strength", l1_regularization_strength),
            "l2": ("l2_regularization_strength", l2_regularization_strength),
        }
        super().__init__(use_locking, name, operands)


class ProximalAdagradOptimizer(RuleOptimizer):
    """Adagrad with L1 and L2 penalties by forward-backward splitting (Duchi & Singer 2009)."""

    _rule = training.proximal_adagrad
    _states = ("accumulator",)

    def __init__(
        self,
        learning_rate: Any,
        initial_accumulator_value: float = 0.1,
        l1_regularization_strength: Any = 0.0,
        l2_regularization_strength: Any = 0.0,
        use_locking: bool = False,
        name: str = "ProximalAdagrad",
    ):
        _check_accumulator(initial_accumulator_value)
        operands = {
            "lr": ("learning_rate", learning_rate),
            "l1": ("l1_regularization_strength", l1_regularization_strength),
            "l2": ("l2_regularization_strength", l2_regularization_strength),
        }
        super().__init__(use_locking, name, operands)
        self._initial_accumulator_value = initial_accumulator_value

    _starts = AdagradOptimizer._starts


class AdagradDAOptimizer(RuleOptimizer):
    """Adagrad by dual averaging (Duchi et al. 2011): weights start from zero, and stay sparse."""

    _rule = training.adagrad_da
    _states = ("gradient_accumulator", "gradient_squared_accumulator")

    def __init__(
        self,
        learning_rate: Any,
        global_step: Any,
        initial_gradient_squared_accumulator_value: float = 0.1,
        l1_regularization_strength: Any = 0.0,
        l2_regularization_strength: Any = 0.0,
        use_locking: bool = False,
        name: str = "AdagradDA",
    ):
        if initial_gradient_squared_accumulator_value <= 0.0:
            raise ValueError(
                "initial_gradient_squared_accumulator_value must be positive: "
                f"{initial_gradient_squared_accumulator_value}"
            )
        operands = {
            "lr": ("learning_rate", learning_rate),
            "l1": ("l1_regularization_strength", l1_regularization_strength),
            "l2": ("l2_regularization_strength", l2_regularization_strength),
        }
        super().__init__(use_locking, name, operands)
        self._global_step = global_step
        self._initial_value = initial_gradient_squared_accumulator_value

    def _starts(self, var: Variable) -> list[tuple[str, Initializer, str]]:
        first, second = self._states
        return [(first, Zeros(), self._name), (second, Constant(self._initial_value), self._name)]

    def _prepare(self) -> None:
        super()._prepare()
        self._count_t = array.identity(self._global_step) + 1

    def _values(self, var: Variable) -> dict[str, Any]:
        count = cast.cast(self._count_t, dtypes.int64)
        return {**super()._values(var), "global_step": count}
