"""Variables as operations: the two kinds of them (refs and resources), reads, writes, scatters.

A kernel is given the current value of a variable where its signature says `Ref(T)` or `resource`,
and gives back the new value of each that it writes, before its other results. An output of type
`Ref(T)` stands for the variable after the write and is no result of the kernel.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from headrace import dtypes, shapes
from headrace.errors import InvalidArgumentError, OutOfRangeError
from headrace.indexed_slices import IndexedSlices
from headrace.node import Tensor
from headrace.opdef import NOT_DIFFERENTIABLE, OpDef, Spec, op
from headrace.ops import array
from headrace.ops.constant import constant
from headrace.ops.operands import agree, check_indices, check_places
from headrace.shapes import Shape, TensorShape, brackets


def variable_shape_of(variable: Spec) -> Shape:
    """The static shape of the variable that a ref or a resource handle stands for."""
    if variable.dtype is not dtypes.resource:
        return variable.shape
    maker = None if variable.tensor is None else variable.tensor.op
    if maker is None or maker.definition is None or not maker.definition.variable:
        return None
    return maker.attrs["shape"]._dims


def _refuse(message: str) -> InvalidArgumentError:
    return InvalidArgumentError(None, None, message)


# -- the variable itself ---------------------------------------------------------------------------


@op("VariableV2", "-> ref: Ref(dtype)", variable=True)
def variable_v2(xp: Any, *, shape: Any, container: str = "", shared_name: str = "") -> Any:
    """A variable of the session, as a tensor that refers to it."""
    raise AssertionError("A variable is held by the session, not run.")


@variable_v2.def_infer
def _(*, shape: TensorShape, container: str, shared_name: str) -> Shape:
    return shape._dims


@op("VarHandleOp", "-> resource: resource", variable=True)
def var_handle(
    xp: Any, *, dtype: Any, shape: Any, container: str = "", shared_name: str = ""
) -> Any:
    """A variable of the session, as a handle."""
    raise AssertionError("A variable is held by the session, not run.")


var_handle.infer = lambda **_: ()
variable_v2.gradient = var_handle.gradient = NOT_DIFFERENTIABLE


@op("ReadVariableOp", "resource: resource -> value: dtype", pure=False)
def read_variable(xp: Any, value: Any) -> Any:
    """The value of a variable, from its handle."""
    return value


@read_variable.def_infer
def _(resource: Spec) -> Shape:
    return variable_shape_of(resource)


@read_variable.def_gradient
def _(op: Any, dy: Any) -> Any:
    return dy


@op("VariableShape", "input: resource -> output: out_type", pure=False)
def _variable_shape(xp: Any, value: Any, *, out_type: Any) -> Any:
    return np.array(value.shape, out_type.numpy)


@_variable_shape.def_infer
def _(variable: Spec, *, out_type: Any) -> Shape:
    shape = variable_shape_of(variable)
    return (None if shape is None else len(shape),)


_variable_shape.gradient = NOT_DIFFERENTIABLE


def _initialized(name: str, signature: str) -> OpDef:
    @op(name, signature, host=True, takes_uninitialized=True, pure=False)
    def made(xp: Any, value: Any) -> Any:
        return np.array(value is not None)

    made.infer = lambda *_: ()
    made.gradient = NOT_DIFFERENTIABLE
    return made


is_variable_initialized_op = _initialized(
    "IsVariableInitialized", "ref: Ref(dtype) -> is_initialized: bool"
)
var_is_initialized = _initialized(
    "VarIsInitializedOp", "resource: resource -> is_initialized: bool"
)


def _value_or(name: str, signature: str) -> OpDef:
    @op(name, signature, host=True, takes_uninitialized=True, pure=False)
    def made(xp: Any, value: Any, initial: Any) -> Any:
        return initial if value is None else value

    made.infer = lambda variable, initial: initial.shape
    made.gradient = NOT_DIFFERENTIABLE
    return made


# The value of a variable if it has one, else its initial value. (TensorFlow builds a `cond` of
# three ops for this; no op type of its says it in one.)
initialized_value = _value_or("InitializedValue", "ref: Ref(T), initial_value: T -> value: T")
resource_initialized_value = _value_or(
    "ResourceInitializedValue", "resource: resource, initial_value: T -> value: T"
)


# -- assignment ------------------------------------------------------------------------------------


@op(
    "Assign", "ref: Ref(T), value: T -> output_ref: Ref(T)",
    writes=(0,), reads=(), wants_op=True,
)  # fmt: skip
def assign_op(
    xp: Any,
    ref: Any,
    value: Any,
    *,
    validate_shape: bool = True,
    use_locking: bool = True,
    _op: Any,
) -> Any:
    """Set a variable."""
    if validate_shape:
        _check_assigned(_op.inputs[0]._dims, np.shape(value))
    return value


@assign_op.def_infer
def _(ref: Spec, value: Spec, *, validate_shape: bool, use_locking: bool) -> Shape:
    return agree(ref.shape, value.shape) if validate_shape else value.shape


@op("AssignVariableOp", "resource: resource, value: dtype", writes=(0,), reads=(), wants_op=True)
def assign_variable(
    xp: Any, resource: Any, value: Any, *, validate_shape: bool = False, _op: Any
) -> Any:
    """Set a variable by its handle."""
    _check_assigned(variable_shape_of(_spec(_op.inputs[0])), np.shape(value))
    return value


@assign_variable.def_infer
def _(resource: Spec, value: Spec, *, validate_shape: bool) -> list[Shape]:
    agree(variable_shape_of(resource), value.shape)
    return []


def _spec(t: Tensor) -> Spec:
    return Spec(t.dtype, t._dims, t)


def _check_assigned(declared: Shape, given: tuple[int, ...]) -> None:
    if not shapes.compatible(declared, given):
        raise _refuse(
            "Assign requires shapes of both tensors to match. lhs shape= "
            f"{brackets(declared)} rhs shape= {brackets(given)}"
        )


def _step(kernel: Callable[[Any, Any], Any], name: str, resource_name: str) -> tuple[OpDef, OpDef]:
    """The ops that add to a variable, or subtract from it: for a ref, and for a resource."""

    def run(xp: Any, variable: Any, value: Any) -> Any:
        if np.shape(variable) != np.shape(value):
            raise _refuse("Parameters and update must be the same size")
        return kernel(variable, value)

    @op(name, "ref: Ref(T), value: T -> output_ref: Ref(T)", T=dtypes.NUMBERS, writes=(0,))
    def ref(xp: Any, ref: Any, value: Any, *, use_locking: bool = False) -> Any:
        return run(xp, ref, value)

    @op(resource_name, "resource: resource, value: dtype", writes=(0,))
    def resource(xp: Any, resource: Any, value: Any) -> Any:
        return run(xp, resource, value)

    ref.infer = lambda ref, value, use_locking: agree(ref.shape, value.shape)
    resource.infer = lambda v, value: [agree(variable_shape_of(v), value.shape)][1:]
    return ref, resource


assign_add_op, assign_add_variable = _step(lambda v, x: v + x, "AssignAdd", "AssignAddVariableOp")
assign_sub_op, assign_sub_variable = _step(lambda v, x: v - x, "AssignSub", "AssignSubVariableOp")


def _count_up_to(name: str, signature: str) -> OpDef:
    @op(name, signature, T=(dtypes.int32, dtypes.int64), writes=(0,))
    def made(xp: Any, value: Any, *, limit: int) -> Any:
        xp.check(value < limit, lambda: f"Reached limit of {limit}", OutOfRangeError)
        return value + value.dtype.type(1), value

    @made.def_infer
    def _(variable: Spec, *, limit: int) -> Shape:
        return agree(variable_shape_of(variable), ())

    made.gradient = NOT_DIFFERENTIABLE
    return made


count_up_to_op = _count_up_to("CountUpTo", "ref: Ref(T) -> output: T")
resource_count_up_to = _count_up_to("ResourceCountUpTo", "resource: resource -> output: T")


# -- rows ------------------------------------------------------------------------------------------


def _divide(xp: Any, x: Any, index: Any, updates: Any) -> Any:
    by = xp.at_multiply(xp.ones_like(x), index, updates)
    if not np.issubdtype(x.dtype, np.integer):
        return x / by
    return (xp.abs(x) // xp.abs(by)) * (xp.sign(x) * xp.sign(by))


# How a scatter combines what is there with what is given: (xp, x, index, updates) -> x.
_COMBINE: dict[str, Callable[..., Any]] = {
    "Update": lambda xp, x, index, updates: xp.at_set(x, index, updates),
    "Add": lambda xp, x, index, updates: xp.at_add(x, index, updates),
    "Sub": lambda xp, x, index, updates: xp.at_add(x, index, -updates),
    "Mul": lambda xp, x, index, updates: xp.at_multiply(x, index, updates),
    "Div": _divide,
    "Min": lambda xp, x, index, updates: xp.at_min(x, index, updates),
    "Max": lambda xp, x, index, updates: xp.at_max(x, index, updates),
}


def _rows_shape(variable: Spec, indices: Spec, updates: Spec, **_: Any) -> Shape:
    shape = variable_shape_of(variable)
    if shape is None:
        return None
    shapes.at_least_rank(shape, 1)
    if updates.shape != () and indices.shape is not None:
        agree(updates.shape, indices.shape + shape[1:])
    return shape


def _nd_shape(variable: Spec, indices: Spec, updates: Spec, **_: Any) -> Shape:
    shape = variable_shape_of(variable)
    if shape is None or indices.shape is None or not indices.shape or indices.shape[-1] is None:
        return shape
    outer, depth = indices.shape[:-1], indices.shape[-1]
    if depth > len(shape):
        raise ValueError(f"indices.shape[-1] must be <= ref.rank, but got {depth} and {len(shape)}")
    agree(updates.shape, outer + shape[depth:])
    return shape


def _scatter_rows(combine: Callable[..., Any], xp: Any, x: Any, indices: Any, updates: Any) -> Any:
    wanted = indices.shape + x.shape[1:]
    if updates.shape not in ((), wanted):
        raise _refuse(
            "Must have updates.shape = indices.shape + params.shape[1:] or updates.shape = [], got "
            f"updates.shape {brackets(updates.shape)}, indices.shape {brackets(indices.shape)}, "
            f"params.shape {brackets(x.shape)}"
        )
    check_indices(xp, indices, x.shape[0])
    return combine(xp, x, indices, updates)


def _scatter_nd(combine: Callable[..., Any], xp: Any, x: Any, indices: Any, updates: Any) -> Any:
    depth = indices.shape[-1]
    if updates.shape != indices.shape[:-1] + x.shape[depth:]:
        raise _refuse(
            "Must have updates.shape = indices.shape[:-1] + params.shape[indices.shape[-1]:], got "
            f"updates.shape {brackets(updates.shape)}, indices.shape {brackets(indices.shape)}, "
            f"params.shape {brackets(x.shape)}"
        )
    check_places(xp, indices, x.shape, f"shape {brackets(x.shape)}")
    index = tuple(indices[..., i] for i in range(depth))
    return combine(xp, x, index or (Ellipsis,), updates)


def _scatter(kind: str, types: Any, nd: bool = False) -> tuple[OpDef, OpDef]:
    """The ops that combine rows (or slices) of a variable with updates: by ref, by resource."""
    combine, run = _COMBINE[kind], _scatter_nd if nd else _scatter_rows
    infer = _nd_shape if nd else _rows_shape
    name = f"Scatter{'Nd' * nd}{kind}"

    @op(
        name, "ref: Ref(T), indices: Tindices, updates: T -> output_ref: Ref(T)",
        T=types, Tindices=dtypes.INDICES, writes=(0,),
    )  # fmt: skip
    def ref(xp: Any, ref: Any, indices: Any, updates: Any, *, use_locking: bool = nd) -> Any:
        return run(combine, xp, ref, indices, updates)

    @op(
        f"Resource{name}", "resource: resource, indices: Tindices, updates: dtype",
        Tindices=dtypes.INDICES, writes=(0,),
    )  # fmt: skip
    def resource(xp: Any, resource: Any, indices: Any, updates: Any) -> Any:
        return run(combine, xp, resource, indices, updates)

    ref.infer = infer
    resource.infer = lambda *specs: [infer(*specs)][1:]
    return ref, resource


# kind -> (op for a ref, op for a resource)
SCATTER = {
    kind: _scatter(kind, types)
    for kind, types in (
        ("Update", dtypes.ALL), ("Add", dtypes.NUMBERS), ("Sub", dtypes.NUMBERS),
        ("Mul", dtypes.NUMBERS), ("Div", dtypes.NUMBERS), ("Min", dtypes.REALS),
        ("Max", dtypes.REALS),
    )
}  # fmt: skip
SCATTER_ND = {
    kind: _scatter(kind, types, nd=True)
    for kind, types in (("Update", dtypes.ALL), ("Add", dtypes.NUMBERS), ("Sub", dtypes.NUMBERS))
}


@op("ResourceGather", "resource: resource, indices: Tindices -> output: dtype", pure=False,
    Tindices=dtypes.INDICES)  # fmt: skip
def resource_gather(
    xp: Any, x: Any, indices: Any, *, batch_dims: int = 0, validate_indices: bool = True
) -> Any:
    """Rows of a variable by its handle: x [n, ...], indices [...]: [*indices.shape, ...]."""
    if batch_dims:
        raise NotImplementedError("ResourceGather of batches: read the variable, then tf.gather.")
    check_indices(xp, indices, x.shape[0])
    return xp.take(x, indices, axis=0, mode="clip")


@resource_gather.def_infer
def _(variable: Spec, indices: Spec, *, batch_dims: int, validate_indices: bool) -> Shape:
    shape = variable_shape_of(variable)
    if shape is None or indices.shape is None:
        return None
    return indices.shape + shape[1:]


@resource_gather.def_gradient
def _(op: Any, dy: Any) -> Any:
    handle, indices = op.inputs
    known = variable_shape_of(_spec(handle))
    if known is None or None in known:
        whole = _variable_shape(handle, out_type=dtypes.int32)
        rows = array.concat([array.reshape(array.size(indices), [1]), whole[1:]], 0)
    else:
        whole = constant(known, dtypes.int32)
        rows = (-1 if 0 not in known[1:] else array.size(indices), *known[1:])
    if indices._dims is None or len(indices._dims) != 1:
        dy, indices = array.reshape(dy, rows), array.reshape(indices, [-1])
    return IndexedSlices(dy, indices, whole), None


for _op in (
    assign_op, assign_variable, assign_add_op, assign_add_variable, assign_sub_op,
    assign_sub_variable, *(o for row in SCATTER.values() for o in row),
    *(o for row in SCATTER_ND.values() for o in row),
):  # fmt: skip
    _op.gradient = NOT_DIFFERENTIABLE


# -- functions -------------------------------------------------------------------------------------


def _is_ref(ref: Any) -> bool:
    return ref.dtype._is_ref_dtype


def _need_ref(ref: Any, what: str) -> None:
    if not hasattr(ref, "_variable") and not _is_ref(ref):
        raise TypeError(
            f"tf.{what} changes a tf.Variable; {ref!r} is none. Use tf.tensor_scatter_nd_update or "
            "arithmetic for a new tensor."
        )


def assign(
    ref: Any,
    value: Any,
    validate_shape: bool | None = None,
    use_locking: bool | None = None,
    name: str | None = None,
) -> Any:
    """Set a variable to `value`; gives the variable after it.

    With `validate_shape=False` the shape may change.
    """
    _need_ref(ref, "assign")
    if not _is_ref(ref):
        return ref.assign(value, name=name)
    return assign_op(
        ref, value, validate_shape=validate_shape is None or bool(validate_shape),
        use_locking=use_locking is None or bool(use_locking), name=name,
    )  # fmt: skip


def assign_add(
    ref: Any, value: Any, use_locking: bool | None = None, name: str | None = None
) -> Any:
    """Add `value` to a variable; gives the variable after it."""
    _need_ref(ref, "assign_add")
    if not _is_ref(ref):
        return ref.assign_add(value, name=name)
    return assign_add_op(ref, value, use_locking=bool(use_locking), name=name)


def assign_sub(
    ref: Any, value: Any, use_locking: bool | None = None, name: str | None = None
) -> Any:
    """Subtract `value` from a variable; gives the variable after it."""
    _need_ref(ref, "assign_sub")
    if not _is_ref(ref):
        return ref.assign_sub(value, name=name)
    return assign_sub_op(ref, value, use_locking=bool(use_locking), name=name)


def count_up_to(ref: Any, limit: int, name: str | None = None) -> Tensor:
    """The value of an integer variable, which grows by 1; OutOfRangeError once it is at `limit`."""
    _need_ref(ref, "count_up_to")
    if _is_ref(ref):
        return count_up_to_op(ref, limit=limit, name=name)
    return resource_count_up_to(ref.handle, limit=limit, T=ref.dtype, name=name)


def _run_scatter(
    ops: tuple[OpDef, OpDef],
    ref: Any,
    indices: Any,
    updates: Any,
    use_locking: bool,
    name: str | None,
) -> Any:
    _need_ref(ref, "scatter_*")
    if _is_ref(ref):
        return ops[0](ref, indices, updates, use_locking=use_locking, name=name)
    return ref._after(ops[1](ref.handle, indices, ref._as_value(updates), name=name))


def _scatter_function(kind: str, does: str, locking: bool = False) -> Callable[..., Any]:
    def function(
        ref: Any, indices: Any, updates: Any, use_locking: bool = locking, name: str | None = None
    ) -> Any:
        return _run_scatter(SCATTER[kind], ref, indices, updates, use_locking, name)

    function.__name__ = function.__qualname__ = f"scatter_{kind.lower()}"
    function.__doc__ = f"""{does} rows `indices` [...] of a variable; gives the variable after it.

    `updates` is [*indices.shape, *the shape of a row], or a scalar.
    """
    return function


def _scatter_nd_function(kind: str, does: str) -> Callable[..., Any]:
    def function(
        ref: Any, indices: Any, updates: Any, use_locking: bool = True, name: str | None = None
    ) -> Any:
        return _run_scatter(SCATTER_ND[kind], ref, indices, updates, use_locking, name)

    function.__name__ = function.__qualname__ = f"scatter_nd_{kind.lower()}"
    function.__doc__ = f"""{does} slices `indices` [..., k] of a variable; gives it after that.

    `updates` is [*indices.shape[:-1], *the variable's shape behind its first k axes].
    """
    return function


scatter_update = _scatter_function("Update", "Set", locking=True)
scatter_add = _scatter_function("Add", "Add to")
scatter_sub = _scatter_function("Sub", "Subtract from")
scatter_mul = _scatter_function("Mul", "Multiply")
scatter_div = _scatter_function("Div", "Divide")
scatter_min = _scatter_function("Min", "Take the minimum with")
scatter_max = _scatter_function("Max", "Take the maximum with")
scatter_nd_update = _scatter_nd_function("Update", "Set")
scatter_nd_add = _scatter_nd_function("Add", "Add to")
scatter_nd_sub = _scatter_nd_function("Sub", "Subtract from")


def is_variable_initialized(ref: Any, name: str | None = None) -> Tensor:
    """Whether a variable has a value, as a bool scalar."""
    _need_ref(ref, "is_variable_initialized")
    if _is_ref(ref):
        return is_variable_initialized_op(ref, name=name)
    return var_is_initialized(ref.handle, name=name)
