"""Order without data: no_op, group, tuple."""

from __future__ import annotations

import builtins
from collections.abc import Iterator, Sequence
from typing import Any

from headrace.conversion import convert_to_tensor
from headrace.folding import Spec
from headrace.graph import colocate_with, control_dependencies, device, name_scope
from headrace.indexed_slices import IndexedSlices
from headrace.node import IndexedSlicesBase, Operation, Tensor
from headrace.opdef import NOT_DIFFERENTIABLE, op
from headrace.ops import array
from headrace.shapes import Shape


@op("NoOp", "")
def _no_op(xp: Any) -> Any:
    return ()


_no_op.gradient = NOT_DIFFERENTIABLE


def no_op(name: str | None = None) -> Operation:
    """An operation that does nothing: something for others to wait for, or to wait in."""
    return _no_op(name=name)


def group(*inputs: Any, name: str | None = None) -> Operation:
    """An operation that has run when all of these have: tensors, operations, lists of them."""
    if not inputs:
        return no_op(name=name or "group_deps")
    by_device: dict[str, list[Operation]] = {}
    for item in _flattened(inputs):
        made = item if isinstance(item, Operation) else item.op
        by_device.setdefault(made.device, []).append(made)
    with name_scope(name, "group_deps", list(_flattened(inputs))) as scope:
        if len(by_device) == 1:
            ((where, ops),) = by_device.items()
            return _after(where, ops, scope)
        return _after("", [_after(d, by_device[d], None) for d in sorted(by_device)], scope)


def _after(where: str, ops: Sequence[Operation], name: str | None) -> Operation:
    with control_dependencies(ops):
        if not where:
            return no_op(name=name)
        with device(where):
            return no_op(name=name)


def _flattened(value: Any) -> Iterator[Any]:
    if isinstance(value, (Operation, Tensor, IndexedSlicesBase)):
        yield value
    elif hasattr(value, "_as_graph_element"):
        yield value._as_graph_element()
    elif isinstance(value, dict):
        yield from _flattened([value[k] for k in sorted(value)])
    elif isinstance(value, (list, builtins.tuple)):
        for item in value:
            yield from _flattened(item)
    elif hasattr(value, "op"):
        yield value.op
    else:
        raise TypeError(
            "'inputs' should be zero or more (nested) Tensors. "
            f"Received '{value}' with type '{type(value)}'."
        )


@op("XlaOptimizationBarrier", "input: *T -> output: *T")
def _optimization_barrier(xp: Any, xs: Any) -> Any:
    return xp.hold_back(xs)


@_optimization_barrier.def_infer
def _(xs: list[Spec]) -> list[Shape]:
    return [x.shape for x in xs]


@_optimization_barrier.def_gradient
def _(op: Any, *dys: Any) -> Any:
    return dys


def hold_back(tensors: Sequence[Tensor], until: Sequence[Tensor]) -> list[Tensor]:
    """The tensors as they are once others are known: what is computed of them is computed then,
    even if the same was computed of them before."""
    return _optimization_barrier([*tensors, *until])[: len(tensors)]


def with_dependencies(dependencies: Sequence[Any], output_tensor: Any, name: Any = None) -> Any:
    """The tensor (or IndexedSlices), to be had only when the dependencies have run."""
    slices = output_tensor if isinstance(output_tensor, IndexedSlices) else None
    values = convert_to_tensor(output_tensor) if slices is None else slices.values
    with (
        name_scope(name, "control_dependency", [values]) as scope,
        colocate_with(values),
        control_dependencies(dependencies),
    ):
        if slices is None:
            return array.identity(values, name=scope)
        later = array.identity(values)
        return IndexedSlices(later, slices.indices, slices.dense_shape)


def tuple(tensors: Any, name: str | None = None, control_inputs: Any = None) -> list[Any]:
    """The tensors, none to be had before all are worked out; None in the list stays None."""
    tensors = list(tensors)
    with name_scope(name, "tuple", [t for t in tensors if t is not None]):
        tensors = [
            t if t is None or isinstance(t, IndexedSlices) else convert_to_tensor(t)
            for t in tensors
        ]
        gates = [t.op for t in tensors if t is not None]
        for c in control_inputs or ():
            if not isinstance(c, (Tensor, Operation)):
                raise TypeError(
                    f"'control_inputs' must only contain Operation or Tensor. Received: {type(c)}"
                )
            gates.append(c.op if isinstance(c, Tensor) else c)
        if not gates:
            raise ValueError(f"'tensors' must have at least one Tensor. Received: {tensors}.")
        gate = group(*sorted(set(gates), key=lambda o: o._id))
        return [None if t is None else with_dependencies([gate], t) for t in tensors]
