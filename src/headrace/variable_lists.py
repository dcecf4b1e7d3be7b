"""The variables of a graph: lists of them, and operations that initialise or ask about them.

With these, what else a session has to make ready: tables, and other resources.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from headrace.dtypes import string
from headrace.graph import get_collection, name_scope
from headrace.keys import GraphKeys
from headrace.node import Operation, Tensor
from headrace.ops import array, constant, control, gather, math, state


def global_variables(scope: str | None = None) -> list[Any]:
    """The variables that are saved and shared; with `scope`, those whose name the regex matches."""
    return get_collection(GraphKeys.GLOBAL_VARIABLES, scope)


def all_variables() -> list[Any]:
    """Old name of `global_variables`."""
    return global_variables()


def local_variables(scope: str | None = None) -> list[Any]:
    """The variables that are not saved, such as counters of an evaluation."""
    return get_collection(GraphKeys.LOCAL_VARIABLES, scope)


def model_variables(scope: str | None = None) -> list[Any]:
    """The variables of the collection MODEL_VARIABLES."""
    return get_collection(GraphKeys.MODEL_VARIABLES, scope)


def trainable_variables(scope: str | None = None) -> list[Any]:
    """The variables that optimizers take by default."""
    return get_collection(GraphKeys.TRAINABLE_VARIABLES, scope)


def moving_average_variables(scope: str | None = None) -> list[Any]:
    """The variables that have moving averages."""
    return get_collection(GraphKeys.MOVING_AVERAGE_VARIABLES, scope)


def variables_initializer(var_list: Iterable[Any] | None, name: str = "init") -> Operation:
    """An operation that gives variables their initial values."""
    return control.group(*[v.initializer for v in var_list or ()], name=name)


def global_variables_initializer() -> Operation:
    """An operation that gives all global variables their initial values."""
    return variables_initializer(global_variables())


def local_variables_initializer() -> Operation:
    """An operation that gives all local variables their initial values."""
    return variables_initializer(local_variables())


def initialize_variables(var_list: Iterable[Any], name: str = "init") -> Operation:
    """Old name of `variables_initializer`."""
    return variables_initializer(var_list, name)


def initialize_all_variables() -> Operation:
    """Old name of `global_variables_initializer`."""
    return global_variables_initializer()


def initialize_local_variables() -> Operation:
    """Old name of `local_variables_initializer`."""
    return local_variables_initializer()


def _global_and_local() -> list[Any]:
    return global_variables() + local_variables()


def assert_variables_initialized(var_list: Iterable[Any] | None = None) -> Operation | None:
    """An operation that fails if a variable has no value; None if there are no variables."""
    variables = _global_and_local() if var_list is None else list(var_list)
    if not variables:
        return None
    return control.group(*[v.read_value() for v in variables])


def report_uninitialized_variables(
    var_list: Iterable[Any] | None = None, name: str = "report_uninitialized_variables"
) -> Tensor:
    """The names of the variables without a value, as strings [n]."""
    variables = _global_and_local() if var_list is None else list(var_list)
    with name_scope(name):
        if not variables:
            return constant.constant([], dtype=string)
        missing = math.logical_not(
            array.stack([state.is_variable_initialized(v) for v in variables])
        )
        names = constant.constant([v.op.name for v in variables])
        return gather.boolean_mask(names, missing)


# -- tables and other resources --------------------------------------------------------------------


def tables_initializer(name: str = "init_all_tables") -> Operation:
    """An operation that fills all tables: what is in the collection TABLE_INITIALIZERS."""
    return control.group(*get_collection(GraphKeys.TABLE_INITIALIZERS), name=name)


def initialize_all_tables(name: str = "init_all_tables") -> Operation:
    """Old name of `tables_initializer`."""
    return tables_initializer(name)


def initialize_resources(resources: Iterable[Any], name: str = "init") -> Operation:
    """An operation that runs `create` of things in the collections of resources."""
    return control.group(*[r.create for r in resources], name=name)


def report_uninitialized_resources(
    resources: Iterable[Any], name: str = "report_uninitialized_resources"
) -> Tensor:
    """The names of the resources whose `is_initialized` is false, as strings [n]."""
    resources = list(resources)
    with name_scope(name):
        if not resources:
            return constant.constant([], dtype=string)
        missing = math.logical_not(array.stack([r.is_initialized for r in resources]))
        names = constant.constant([r.handle.name for r in resources])
        return gather.boolean_mask(names, missing)
