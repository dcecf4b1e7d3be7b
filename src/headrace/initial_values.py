"""Initial values that read other variables."""

from __future__ import annotations

from collections.abc import Sequence

from headrace.graph import Graph
from headrace.keys import GraphKeys
from headrace.node import Operation, Tensor


def guarded(value: Tensor, name: str) -> Tensor:
    """An initial value in which reads of other variables fall back on their initial values.

    So all variables can be initialised in one run, whatever the order.
    """
    ops = _ops_behind(value)
    if not any(op.definition is not None and op.definition.variable for op in ops):
        return value
    graph = value.graph
    known = {
        v.op: v
        for key in (GraphKeys.GLOBAL_VARIABLES, GraphKeys.LOCAL_VARIABLES)
        for v in graph.get_collection(key)
        if hasattr(v, "initialized_value")
    }
    instead: dict[Tensor, Tensor] = {}
    for op in ops:
        if op in known:
            instead[op.outputs[0]] = known[op].initialized_value()
        elif op.type == "ReadVariableOp":
            if op.inputs[0] in instead:
                instead[op.outputs[0]] = instead[op.inputs[0]]
        elif any(t in instead for t in op.inputs) and not (
            op.definition is None or op.definition.writes
        ):
            copy = _copy(graph, op, [instead.get(t, t) for t in op.inputs], name)
            instead.update(zip(op.outputs, copy.outputs, strict=True))
    return instead.get(value, value)


def _ops_behind(value: Tensor) -> list[Operation]:
    """The operations that a tensor is computed from, in the order of their making.

    What copes with variables without a value is not looked behind.
    """
    found = {value.op}
    stack = [value.op]
    while stack:
        op = stack.pop()
        if op.definition is not None and op.definition.takes_uninitialized:
            continue
        for t in op.inputs:
            if t.op not in found:
                found.add(t.op)
                stack.append(t.op)
    return sorted(found, key=lambda op: op._id)


def _copy(graph: Graph, op: Operation, inputs: Sequence[Tensor], name: str) -> Operation:
    with graph.name_scope(None), graph.control_dependencies(None):
        unique = graph.unique_name(f"{op.name}_{name}")
        outputs = [(t.dtype.base_dtype, t._dims) for t in op.outputs]
        return graph.add(
            op.type, unique, inputs, outputs, dict(op.attrs), op.definition, op._groups
        )
