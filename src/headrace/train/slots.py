"""Slots: variables that an optimizer or an average keeps beside another variable."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Any

from headrace.initializers import Zeros
from headrace.node import Tensor
from headrace.ops import array
from headrace.variable_scope import get_variable, get_variable_scope, variable_scope
from headrace.variables import ResourceVariable, Variable


def create_slot(
    primary: Any, value: Any, name: str, colocate_with_primary: bool = True
) -> Variable:
    """A variable `primary/name` that starts as `value`, a tensor."""
    return _make(primary, name, colocate_with_primary, initializer=value,
                 validate_shape=value.shape.is_fully_defined())  # fmt: skip


def create_slot_with_initializer(
    primary: Any,
    initializer: Any,
    shape: Any,
    dtype: Any,
    name: str,
    colocate_with_primary: bool = True,
) -> Variable:
    """A variable `primary/name` of that shape and type, started by an initializer."""
    return _make(primary, name, colocate_with_primary, initializer=initializer, shape=shape,
                 dtype=dtype)  # fmt: skip


def create_zeros_slot(
    primary: Any, name: str, dtype: Any = None, colocate_with_primary: bool = True
) -> Variable:
    """A variable `primary/name` of zeros, of the shape of `primary`."""
    dtype = primary.dtype.base_dtype if dtype is None else dtype
    if primary.shape.is_fully_defined():
        return create_slot_with_initializer(
            primary, Zeros(), primary.shape, dtype, name, colocate_with_primary
        )
    start = primary.initialized_value() if isinstance(primary, Variable) else primary
    value = array.zeros(array.shape(start), dtype=dtype)
    return create_slot(primary, value, name, colocate_with_primary)


def _make(primary: Any, name: str, colocate: bool, **options: Any) -> Variable:
    use_resource = isinstance(primary, ResourceVariable) if isinstance(primary, Variable) else None
    graph = primary.graph
    with variable_scope(None, f"{primary.op.name}/{name}"):
        scope = get_variable_scope()
        scope.set_partitioner(None)
        scope.set_regularizer(None)
        with graph.colocate_with(primary.op) if colocate else nullcontext():
            slot = get_variable("", trainable=False, use_resource=use_resource, **options)
    whole = getattr(primary, "_save_slice_info", None)
    if whole is not None and not isinstance(primary, Tensor):
        slot_name = slot.op.name[len(primary.op.name) + 1 :]
        slot._save_slice_info = type(whole)(
            f"{whole.full_name}/{slot_name}", whole.full_shape, whole.var_offset, whole.var_shape
        )
    return slot
