"""Reverse-mode differentiation: more operations in the graph, one backward rule per operation.

Each operation between the xs and the ys is visited once, newest first, when the gradients of all
that use its outputs have been added up; its rule gives gradients for its inputs (Linnainmaa 1970;
Rumelhart, Hinton & Williams 1986). There is no recursion: a chain of any length differentiates.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from typing import Any

from headrace import shapes
from headrace.conversion import convert_to_tensor
from headrace.graph import get_default_graph, name_scope
from headrace.indexed_slices import IndexedSlices
from headrace.node import Operation, Tensor, where
from headrace.opdef import NOT_DIFFERENTIABLE
from headrace.ops import array, control, indexed, reduce

_registered: dict[str, Any] = {}


class UnconnectedGradients:
    """What `gradients` gives for an x that no y depends on: NONE, or ZERO."""

    NONE = "none"
    ZERO = "zero"


class AggregationMethod:
    """Accepted by `gradients`; sums are always made by AddN."""

    ADD_N = 0
    DEFAULT = ADD_N
    EXPERIMENTAL_TREE = 1
    EXPERIMENTAL_ACCUMULATE_N = 2


class RegisterGradient:
    """Decorator: the gradient of ops of a type, or the one a `gradient_override_map` names.

    The function takes (op, gradient per output) and returns a gradient (or None) per input.
    KeyError if the name has one already.
    """

    def __init__(self, op_type: str):
        if not isinstance(op_type, str):
            raise TypeError("op_type must be a string")
        self._op_type = op_type

    def __call__(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Register the function, and give it back."""
        if self._op_type in _registered:
            raise KeyError(f"Registering two gradient with name {self._op_type!r}!")
        _registered[self._op_type] = function
        return function


def NotDifferentiable(op_type: str) -> None:
    """Declare that ops of a type stop gradients."""
    if not isinstance(op_type, str):
        raise TypeError("op_type must be a string")
    _registered[op_type] = NOT_DIFFERENTIABLE


NoGradient = NotDifferentiable


def gradient_function(op: Operation) -> Any:
    """The rule for an operation; None if it stops gradients. LookupError if it has none."""
    own = op.attrs.get("_py_gradient")
    if own is not None:
        return own
    name = op.attrs.get("_gradient_op_type")
    if name is not None:
        if name not in _registered:
            raise LookupError(
                f"No gradient is registered under {name!r}, which gradient_override_map gave "
                f"operation {op.name!r} (op type: {op.type})."
            )
        rule = _registered[name]
    elif op.type in _registered:
        rule = _registered[op.type]
    else:
        rule = getattr(op.definition, "gradient", None)
        if rule is None:
            raise LookupError(
                f"No gradient defined for operation {op.name!r} (op type: {op.type}). Use "
                f"@tf.RegisterGradient({op.type!r}) to give it one, or tf.stop_gradient.{where(op)}"
            )
    return None if rule is NOT_DIFFERENTIABLE else rule


def gradients(
    ys: Any,
    xs: Any,
    grad_ys: Any = None,
    name: str = "gradients",
    colocate_gradients_with_ops: bool = False,
    gate_gradients: bool = False,
    aggregation_method: Any = None,
    stop_gradients: Any = None,
    unconnected_gradients: Any = UnconnectedGradients.NONE,
) -> list[Any]:
    """The derivatives of the sum of all `ys` with respect to each x, as new operations.

    One entry per x, shaped like it: a Tensor, `IndexedSlices` if x was gathered from, or None if
    no y depends on it (zeros with `UnconnectedGradients.ZERO`). `grad_ys` weighs the ys (ones by
    default); `stop_gradients` are held constant. `gate_gradients` ties an op's gradients together,
    so that none is used before all are there: headrace needs no such guard against updates of
    variables (docs/running.md), TensorFlow running the graph does. LookupError if an op
    on the way has no gradient, ValueError for grad_ys of wrong number, TypeError for ones of wrong
    type.
    """
    if aggregation_method not in (None, 0, 1, 2):
        raise ValueError(f"Invalid aggregation_method specified {aggregation_method}.")
    unconnected = getattr(unconnected_gradients, "value", unconnected_gradients)
    if unconnected not in ("none", "zero"):
        raise ValueError(f"Unknown value for unconnected_gradients: {unconnected_gradients!r}")
    ys, xs = ([None] if v is None else _flat(v) for v in (ys, xs))
    stops = _flat(stop_gradients)
    given = _flat(grad_ys) if grad_ys is not None else [None] * len(ys)
    if len(given) != len(ys):
        raise ValueError(f"Passed {len(given)} grad_ys for {len(ys)} ys: one each is needed.")
    with name_scope(name, "gradients", [*ys, *xs]) as scope:
        ys = [_element(y, "y") for y in ys]
        asked, xs = xs, [_element(x, "x") for x in xs]
        stopped = {_element(s, "stop_gradient") for s in stops}
        sums: dict[Tensor, list[Any]] = {}
        for i, (y, g) in enumerate(zip(ys, given, strict=True)):
            weight = _seed(y, g, i)
            if weight is not None:
                sums.setdefault(y, []).append(weight)
        _walk(ys, xs, stopped, sums, scope, colocate_gradients_with_ops, gate_gradients)
        found = [_total(sums, x) for x in xs]
        if unconnected == "zero":
            found = [
                array.zeros_like(convert_to_tensor(x)) if g is None else g
                for x, g in zip(asked, found, strict=True)
            ]
        return found


def _flat(value: Any) -> list[Any]:
    if value is None:
        return []
    if isinstance(value, (list, tuple)):
        return [v for item in value for v in (_flat(item) if item is not None else [None])]
    if callable(getattr(value, "values", None)) and hasattr(value, "keys"):
        return list(value.values())
    return [value]


def _element(value: Any, what: str) -> Tensor:
    if value is None:
        raise TypeError(f"gradients() was given None as a {what}.")
    if isinstance(value, IndexedSlices):
        return convert_to_tensor(value)
    if isinstance(value, Operation):
        raise TypeError(f"gradients() needs tensors; {value.name!r}, given as a {what}, is an op.")
    if hasattr(value, "handle") and not isinstance(value, Tensor):
        return value.handle if what != "y" else convert_to_tensor(value)
    if hasattr(value, "_as_graph_element"):
        element = value._as_graph_element()
        return convert_to_tensor(value) if what == "y" and element.dtype.is_ref else element
    return convert_to_tensor(value)


def _seed(y: Tensor, given: Any, i: int) -> Any:
    """The gradient to start from at y; None if no gradient can flow through its type."""
    if given is None:
        if y.dtype.is_complex:
            raise TypeError(
                f"Gradients of complex tensors must set grad_ys (y.dtype = {y.dtype.name}, "
                f"{y.name!r})"
            )
        if not y.dtype.is_differentiable:
            return None
        one = 1 if y.dtype.is_integer else 1.0
        dims = y._dims if shapes.is_full(y._dims) else array.shape(y)
        return array.fill(dims, convert_to_tensor(one, y.dtype.base_dtype), name=f"grad_ys_{i}")
    if isinstance(given, IndexedSlices):
        return given
    try:
        weight = convert_to_tensor(given, name=f"grad_ys_{i}", dtype_hint=y.dtype.base_dtype)
    except (TypeError, ValueError) as error:
        raise type(error)(f"grad_ys[{i}] does not suit {y.name!r}: {error}") from None
    if weight.dtype.base_dtype is not y.dtype.base_dtype and (
        y.dtype.is_differentiable or weight.dtype.is_differentiable
    ):
        raise TypeError(
            f"Gradient type {weight.dtype.name} generated for tensor {y.name!r} with type "
            f"{y.dtype.name} must be of that type."
        )
    if not shapes.compatible(weight._dims, y._dims):
        raise ValueError(
            f"grad_ys[{i}] has shape {shapes.show(weight._dims)}, {y.name!r} has "
            f"{shapes.show(y._dims)}."
        )
    return weight


def _between(ys: Sequence[Tensor], xs: Sequence[Tensor], stopped: set[Tensor]) -> list[Operation]:
    """The operations on a differentiable path from an x to a y, newest first."""
    wanted = set(xs)
    stack = [y.op for y in ys]
    needed: set[Operation] = set()
    while stack:
        op = stack.pop()
        if op not in needed:
            needed.add(op)
            stack.extend(t.op for t in op.inputs if t not in stopped)
    reached: set[Operation] = set()
    ordered = sorted(needed, key=lambda op: op._id)
    for op in ordered:
        for t in op.inputs:
            if not carries(t):
                continue
            if t in wanted or (t.op in reached and t not in stopped):
                reached.add(op)
                break
    return [op for op in reversed(ordered) if op in reached]


def carries(tensor: Tensor) -> bool:
    """Whether a gradient can flow through a tensor: a float, or the handle of a variable."""
    return tensor.dtype.is_differentiable or tensor.dtype.kind == "X"


def _walk(
    ys: Sequence[Tensor],
    xs: Sequence[Tensor],
    stopped: set[Tensor],
    sums: dict[Tensor, list[Any]],
    scope: str,
    colocate: bool,
    gate: bool,
) -> None:
    graph = get_default_graph()
    path = _between(ys, xs, stopped)
    wanted = {*xs, *(t for op in path for t in op.outputs if t not in stopped)}
    for op in path:
        incoming = [None if t in stopped else _total(sums, t) for t in op.outputs]
        if all(g is None for g in incoming):
            continue
        rule = gradient_function(op)
        if rule is None:
            continue
        if len(incoming) > 1:
            incoming = [
                array.zeros_like(t) if g is None and t.dtype.is_differentiable else g
                for g, t in zip(incoming, op.outputs, strict=True)
            ]
        place = graph.colocate_with(op, ignore_existing=True) if colocate else nullcontext()
        with graph.name_scope(f"{scope}{op.name}_grad/"), place, graph._set("original", op):
            outgoing = rule(op, *incoming)
            if not isinstance(outgoing, (list, tuple)):
                outgoing = (outgoing,)
            if len(outgoing) != len(op.inputs):
                raise ValueError(
                    f"Num gradients {len(outgoing)} generated for op {op.name!r} (op type: "
                    f"{op.type}) do not match num inputs {len(op.inputs)}"
                )
            found = {
                i: _fit(op, g, t)
                for i, (g, t) in enumerate(zip(outgoing, op.inputs, strict=True))
                if g is not None and t in wanted and carries(t)
            }
            if gate and len(found) > 1:
                found = dict(zip(found, control.tuple(list(found.values())), strict=True))
        for i, g in found.items():
            sums.setdefault(op.inputs[i], []).append(g)


def _fit(op: Operation, g: Any, x: Tensor) -> Any:
    """A gradient as its operand needs it: summed over what was broadcast, of its shape."""
    if isinstance(g, IndexedSlices):
        return g
    if not isinstance(g, Tensor):
        g = convert_to_tensor(g, x.dtype.base_dtype)
    if op.definition is not None and op.definition.broadcasts:
        g = _sum_to(g, x, op)
    if x.dtype.kind == "X":
        return g
    if g._dims != x._dims:
        if not shapes.compatible(g._dims, x._dims):
            raise ValueError(
                "Incompatible shapes between op input and calculated input gradient. Forward "
                f"operation: {op.name}. Input {x.name!r}: {shapes.show(x._dims)}. Gradient: "
                f"{shapes.show(g._dims)}"
            )
        g.set_shape(x._dims)
    return g


def _sum_to(g: Tensor, x: Tensor, op: Operation) -> Tensor:
    """The gradient of an operand that was broadcast: summed over the axes that were stretched."""
    target = x._dims
    if shapes.is_full(target) and target == g._dims:
        return g
    axes = _stretched(x, op, g)
    if axes is not None:
        if axes:
            g = reduce.reduce_sum(g, axes)
            if g._dims is None or len(g._dims) != len(target):  # type: ignore[arg-type]
                g = array.reshape(g, target if shapes.is_full(target) else array.shape(x))
        return g
    axes_op, _ = array.broadcast_gradient_args(array.shape(x), array.shape(g))
    return array.reshape(reduce.reduce_sum(g, axes_op), array.shape(x))


def _stretched(x: Tensor, op: Operation, g: Tensor) -> list[int] | None:
    """The axes of the result along which x was stretched; None if the shapes do not tell."""
    others = [t._dims for t in op.inputs if t is not x]
    if x._dims is None or any(d is None for d in others):
        return None
    rank = max(len(x._dims), *(len(d) for d in others), 0)  # type: ignore[arg-type]
    axes = []
    for axis in range(rank):
        size = _aligned(x._dims, axis, rank)
        sizes = [_aligned(d, axis, rank) for d in others]  # type: ignore[arg-type]
        if size in (_ABSENT, 1):
            if size == _ABSENT or any(s not in (1, _ABSENT) for s in sizes):
                axes.append(axis)
        elif size is None and any(s not in (1, _ABSENT) for s in sizes):
            return None
    return axes


_ABSENT = -1


def _aligned(dims: tuple[int | None, ...], axis: int, rank: int) -> int | None:
    i = axis - (rank - len(dims))
    return _ABSENT if i < 0 else dims[i]


def _total(sums: dict[Tensor, list[Any]], tensor: Tensor) -> Any:
    """The sum of the gradients that arrived at a tensor; None if there is none."""
    parts = sums.get(tensor)
    if not parts:
        return None
    if len(parts) > 1:
        sums[tensor] = parts = [indexed.add(parts)]
    return parts[0]


# -- derivatives of vector functions ---------------------------------------------------------------


def jacobian(ys: Any, xs: Any, name: str = "jacobian") -> Any:
    """The derivative of every element of y by every element of x: [*shape of y, *shape of x].

    `xs` may be a list, and the result then is. The number of elements of y must be known when the
    graph is built, because each gets gradients of its own; ValueError if not.
    """
    listed = isinstance(xs, (list, tuple))
    with name_scope(name, "jacobian", [ys]):
        y = convert_to_tensor(ys)
        size = shapes.count(y._dims)
        if size is None:
            raise ValueError(
                f"jacobian() needs the full shape of y when the graph is built; {y.name!r} has "
                f"{shapes.show(y._dims)}. Give the sizes, or take a batch apart with tf.unstack."
            )
        flat = array.reshape(y, [-1])
        rows = [
            gradients(flat[i], xs, unconnected_gradients=UnconnectedGradients.ZERO)
            for i in range(size)
        ]
        results = []
        for i, x in enumerate(xs if listed else [xs]):
            tail = array.shape(_element(x, "y"))
            stacked = array.stack([convert_to_tensor(row[i]) for row in rows])
            lead = convert_to_tensor(list(y._dims), "int32")  # type: ignore[arg-type]
            whole = array.reshape(stacked, array.concat([lead, tail], 0))
            results.append(whole)
        return results if listed else results[0]


def hessians(
    ys: Any,
    xs: Any,
    name: str = "hessians",
    colocate_gradients_with_ops: bool = False,
    gate_gradients: bool = False,
    aggregation_method: Any = None,
) -> list[Tensor]:
    """The second derivatives of the sum of `ys`, one per x: [*shape of x, *shape of x].

    The size of each x must be known when the graph is built.
    """
    options = (colocate_gradients_with_ops, gate_gradients, aggregation_method)
    with name_scope(name, "hessians"):
        firsts = gradients(ys, xs, None, "gradients", *options)
        return [jacobian(convert_to_tensor(g), x) for g, x in zip(firsts, _flat(xs), strict=True)]
