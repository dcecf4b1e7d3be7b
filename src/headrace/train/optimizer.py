"""`Optimizer`: from a loss to an operation that trains.

`minimize` is `compute_gradients` then `apply_gradients`; users subclass it, and its hooks have
TensorFlow's names: `_create_slots`, `_prepare`, `_apply_dense`, `_apply_sparse`, their `_resource_`
forms, `_finish`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from headrace import dtypes
from headrace.conversion import convert_to_tensor
from headrace.gradients import gradients
from headrace.graph import get_default_graph, name_scope
from headrace.indexed_slices import IndexedSlices
from headrace.keys import GraphKeys
from headrace.node import Operation, Tensor
from headrace.ops import array, control, partition, segment, state
from headrace.train import slots
from headrace.variables import ResourceVariable, Variable, trainable_variables

GATE_NONE, GATE_OP, GATE_GRAPH = range(3)


class Optimizer:
    """Minimises a loss by steps along gradients; a subclass says what a step is."""

    GATE_NONE, GATE_OP, GATE_GRAPH = GATE_NONE, GATE_OP, GATE_GRAPH

    def __init__(self, use_locking: bool, name: str):
        if not name:
            raise ValueError("Must specify the optimizer name")
        self._use_locking = use_locking
        self._name = name
        self._slots: dict[str, dict[Any, Variable]] = {}
        self._non_slot_dict: dict[Any, Variable] = {}

    def get_name(self) -> str:
        """Its name, which prefixes its operations."""
        return self._name

    def minimize(
        self,
        loss: Any,
        global_step: Variable | None = None,
        var_list: Any = None,
        gate_gradients: int = GATE_OP,
        aggregation_method: Any = None,
        colocate_gradients_with_ops: bool = False,
        name: str | None = None,
        grad_loss: Any = None,
    ) -> Operation:
        """An operation that makes one step; it also adds 1 to `global_step`.

        `var_list` is a Variable or any collection of them; by default all trainable ones. `loss`
        may be a function that gives one. ValueError if there are no variables, or no gradient for
        any.
        """
        loss = self._call_if_callable(loss)
        pairs = self.compute_gradients(
            loss, var_list=var_list, gate_gradients=gate_gradients,
            aggregation_method=aggregation_method,
            colocate_gradients_with_ops=colocate_gradients_with_ops, grad_loss=grad_loss,
        )  # fmt: skip
        if all(g is None for g, _ in pairs):
            raise ValueError(
                "No gradients provided for any variable, check your graph for ops that do not "
                f"support gradients, between variables {[str(v) for _, v in pairs]} and loss "
                f"{loss}."
            )
        return self.apply_gradients(pairs, global_step=global_step, name=name)

    def compute_gradients(
        self,
        loss: Any,
        var_list: Any = None,
        gate_gradients: int = GATE_OP,
        aggregation_method: Any = None,
        colocate_gradients_with_ops: bool = False,
        grad_loss: Any = None,
    ) -> list[tuple[Any, Any]]:
        """(gradient, variable) for each variable; None where the loss does not depend on it."""
        if gate_gradients not in (GATE_NONE, GATE_OP, GATE_GRAPH):
            raise ValueError(
                "gate_gradients must be one of: Optimizer.GATE_NONE, Optimizer.GATE_OP, "
                f"Optimizer.GATE_GRAPH.  Not {gate_gradients}"
            )
        loss = self._call_if_callable(loss)
        self._assert_valid_dtypes([loss])
        if grad_loss is not None:
            self._assert_valid_dtypes([grad_loss])
        if var_list is None:
            variables = trainable_variables() + get_default_graph().get_collection(
                GraphKeys.TRAINABLE_RESOURCE_VARIABLES
            )
        else:
            variables = _flat(var_list)
        if not variables:
            raise ValueError("No variables to optimize.")
        for v in variables:
            _check_optimizable(v)
        found = gradients(
            loss, variables, grad_ys=grad_loss, aggregation_method=aggregation_method,
            gate_gradients=gate_gradients == GATE_OP,
            colocate_gradients_with_ops=colocate_gradients_with_ops,
        )  # fmt: skip
        if gate_gradients == GATE_GRAPH:
            found = control.tuple(found)
        pairs = list(zip(found, variables, strict=True))
        self._assert_valid_dtypes([v for g, v in pairs if g is not None])
        return pairs

    def apply_gradients(
        self,
        grads_and_vars: Iterable[tuple[Any, Any]],
        global_step: Variable | None = None,
        name: str | None = None,
    ) -> Operation:
        """An operation that makes one step by the gradients given; it joins TRAIN_OP."""
        pairs = [(_as_gradient(g), v) for g, v in grads_and_vars]
        if not pairs:
            raise ValueError("No variables provided.")
        for _, v in pairs:
            _check_optimizable(v)
        given = [(g, v) for g, v in pairs if g is not None]
        if not given:
            raise ValueError(
                f"No gradients provided for any variable: {[str(v) for _, v in pairs]}."
            )
        for _, v in given:
            if isinstance(v, Tensor):
                raise NotImplementedError("Trying to update a Tensor ", v)
        graph = given[0][1].graph
        with graph.as_default():
            with graph.control_dependencies(None):
                self._create_slots([v for _, v in given])
            updates = []
            with name_scope(name, self._name) as scope:
                self._prepare()
                for g, v in given:
                    with graph.name_scope(f"update_{v.op.name}"), graph.colocate_with(v.op):
                        updates.append(self._update(g, v))
                if global_step is None:
                    step = self._finish(updates, scope)
                else:
                    step = self._count(self._finish(updates, "update"), global_step, scope)
            if isinstance(step, Tensor):
                step = step.op
            train_ops = graph.get_collection_ref(GraphKeys.TRAIN_OP)
            if step not in train_ops:
                train_ops.append(step)
        return step

    def _update(self, g: Any, v: Variable) -> Any:
        resource = isinstance(v, ResourceVariable)
        if isinstance(g, IndexedSlices):
            if v.constraint is not None:
                raise RuntimeError("Cannot use a constraint function on a sparse variable.")
            if resource:
                return self._resource_apply_sparse_duplicate_indices(g.values, v, g.indices)
            return self._apply_sparse_duplicate_indices(g, v)
        update = (self._resource_apply_dense if resource else self._apply_dense)(g, v)
        if v.constraint is None:
            return update
        with v.graph.control_dependencies([update]):
            return v.assign(v.constraint(v))

    def _count(self, updated: Operation, global_step: Any, scope: str) -> Any:
        graph = updated.graph
        with graph.control_dependencies([updated]), graph.colocate_with(global_step.op):
            if isinstance(global_step, ResourceVariable):
                one = convert_to_tensor(1, global_step.dtype)
                return state.assign_add_variable(global_step.handle, one, name=scope)
            return state.assign_add(global_step, 1, name=scope)

    # -- slots -----------------------------------------------------------------------------------

    def get_slot(self, var: Variable, name: str) -> Variable | None:
        """The variable kept beside `var` under that name; None if there is none."""
        return self._slots.get(name, {}).get(_key(var))

    def get_slot_names(self) -> list[str]:
        """The names of slots."""
        return sorted(self._slots)

    def variables(self) -> list[Variable]:
        """All variables that it keeps in the current graph, by name."""
        graph = get_default_graph()
        kept = [v for v in self._non_slot_dict.values() if v.graph is graph]
        kept += [v for named in self._slots.values() for v in named.values() if v.graph is graph]
        return sorted(kept, key=lambda v: v.name)

    def _slot_dict(self, slot_name: str) -> dict[Any, Variable]:
        return self._slots.setdefault(slot_name, {})

    def _get_or_make_slot(self, var: Variable, val: Any, slot_name: str, op_name: str) -> Variable:
        """The slot, made as a variable `var/op_name` that starts as the tensor `val`."""
        return self._kept(var, slot_name, lambda: slots.create_slot(var, val, op_name))

    def _get_or_make_slot_with_initializer(
        self, var: Variable, initializer: Any, shape: Any, dtype: Any, slot_name: str, op_name: str
    ) -> Variable:
        """The slot, made as a variable `var/op_name` by an initializer."""
        return self._kept(
            var,
            slot_name,
            lambda: slots.create_slot_with_initializer(var, initializer, shape, dtype, op_name),
        )

    def _zeros_slot(self, var: Variable, slot_name: str, op_name: str) -> Variable:
        """The slot, made as a variable `var/op_name` of zeros."""
        return self._kept(var, slot_name, lambda: slots.create_zeros_slot(var, op_name))

    def _kept(self, var: Variable, slot_name: str, make: Callable[[], Variable]) -> Variable:
        named = self._slot_dict(slot_name)
        key = _key(var)
        if key not in named:
            named[key] = make()
        return named[key]

    def _create_non_slot_variable(
        self, initial_value: Any, name: str, colocate_with: Variable
    ) -> Variable:
        """A variable that belongs to no other, made once in each graph."""
        graph = colocate_with.graph
        key = (name, graph)
        if key not in self._non_slot_dict:
            with graph.colocate_with(colocate_with.op):
                self._non_slot_dict[key] = Variable(
                    initial_value, name=name, trainable=False,
                    use_resource=isinstance(colocate_with, ResourceVariable),
                )  # fmt: skip
        return self._non_slot_dict[key]

    def _get_non_slot_variable(self, name: str, graph: Any = None) -> Variable | None:
        return self._non_slot_dict.get((name, graph))

    def _non_slot_variables(self) -> Iterable[Variable]:
        return self._non_slot_dict.values()

    # -- hooks -----------------------------------------------------------------------------------

    def _valid_dtypes(self) -> set[Any]:
        """The types that a loss and variables may have."""
        return set(dtypes.FLOATS)

    def _assert_valid_dtypes(self, tensors: Iterable[Any]) -> None:
        valid = self._valid_dtypes()
        for t in tensors:
            dtype = t.dtype.base_dtype
            if dtype not in valid:
                expected = sorted(valid, key=lambda d: d.as_datatype_enum)
                raise ValueError(f"Invalid type {dtype!r} for {t.name}, expected: {expected}.")

    def _call_if_callable(self, param: Any) -> Any:
        return param() if callable(param) and not isinstance(param, (Tensor, Variable)) else param

    def _create_slots(self, var_list: list[Variable]) -> None:
        """Make the slots of these variables."""

    def _prepare(self) -> None:
        """Make the tensors that all updates share."""

    def _apply_dense(self, grad: Tensor, var: Variable) -> Any:
        """An operation that updates a ref variable."""
        raise NotImplementedError

    def _resource_apply_dense(self, grad: Tensor, var: Any) -> Any:
        """An operation that updates a resource variable."""
        raise NotImplementedError

    def _apply_sparse(self, grad: IndexedSlices, var: Variable) -> Any:
        """An operation that updates rows of a ref variable; each row comes once."""
        raise NotImplementedError

    def _resource_apply_sparse(self, grad: Tensor, var: Any, indices: Tensor) -> Any:
        """An operation that updates rows of a resource variable; each row comes once."""
        raise NotImplementedError

    def _apply_sparse_duplicate_indices(self, grad: IndexedSlices, var: Variable) -> Any:
        """An operation that updates rows of a ref variable; a row may come several times."""
        values, indices = _deduplicate_indexed_slices(grad.values, grad.indices)
        return self._apply_sparse(IndexedSlices(values, indices, grad.dense_shape), var)

    def _resource_apply_sparse_duplicate_indices(
        self, grad: Tensor, var: Any, indices: Tensor
    ) -> Any:
        """An operation that updates rows of a resource variable; a row may come several times."""
        values, indices = _deduplicate_indexed_slices(grad, indices)
        return self._resource_apply_sparse(values, var, indices)

    def _finish(self, update_ops: Sequence[Any], name_scope: str) -> Operation:
        """An operation of that name that runs all updates."""
        return control.group(*update_ops, name=name_scope)


def _deduplicate_indexed_slices(values: Any, indices: Any) -> tuple[Tensor, Tensor]:
    """(sums, distinct indices): the rows of equal indices added up."""
    distinct, positions = partition.unique(indices)
    return segment.unsorted_segment_sum(values, positions, array.shape(distinct)[0]), distinct


def _key(var: Any) -> tuple[Any, str]:
    return var.op.graph, var.op.name


def _flat(var_list: Any) -> list[Any]:
    if isinstance(var_list, (Variable, Tensor)):
        return [var_list]
    if isinstance(var_list, dict):
        var_list = var_list.values()
    return [v for item in var_list for v in _flat(item)]


def _check_optimizable(v: Any) -> None:
    if not isinstance(v, (Variable, Tensor)):
        raise NotImplementedError("Trying to optimize unsupported type ", v)


def _as_gradient(g: Any) -> Any:
    if g is None or isinstance(g, (Tensor, IndexedSlices)):
        return g
    try:
        return convert_to_tensor(g)
    except TypeError:
        raise TypeError(
            f"Gradient must be convertible to a Tensor or IndexedSlices, or None: {g}"
        ) from None
