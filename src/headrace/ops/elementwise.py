"""What makes the rows of the tables of elementwise ops: `unary`, `binary`, `compare`, `slope`."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from headrace import dtypes, shapes
from headrace.node import Tensor
from headrace.opdef import NOT_DIFFERENTIABLE, OpDef, Spec, broadcast_shape, op, same_shape

SIGNED = (*dtypes.FLOATS, dtypes.int8, dtypes.int16, dtypes.int32, dtypes.int64)


def unary(
    name: str,
    kernel: Any,
    gradient: Any,
    types: Any = dtypes.NUMBERS,
    signature: str = "x: T -> y: T",
) -> OpDef:
    """An elementwise op of one operand: `gradient(x, y, dy)` -> dx, with y the result.

    A kernel given as a string is the function of that name in `xp`.
    """
    made = op(name, signature, T=types)(_kernel(kernel))
    made.infer = same_shape
    if isinstance(gradient, str):
        made.gradient = gradient
    else:
        made.gradient = lambda op, dy: gradient(op.inputs[0], op.outputs[0], dy)
    return made


def binary(
    name: str,
    kernel: Any,
    gradient: Any,
    types: Any = dtypes.NUMBERS,
    signature: str = "x: T, y: T -> z: T",
) -> OpDef:
    """An elementwise op of two operands that broadcast: `gradient(x, y, z, dz)` -> (dx, dy).

    The rule need not care for broadcasting: the walk sums its results to the operands' shapes.
    """
    made = op(name, signature, T=types)(_kernel(kernel))
    made.infer = broadcast_shape
    if isinstance(gradient, str):
        made.gradient = gradient
    else:
        made.gradient = lambda op, dz: gradient(*op.inputs, op.outputs[0], dz)
        made.broadcasts = True
    return made


def compare(name: str, kernel: str, types: Any = dtypes.REALS) -> OpDef:
    """An elementwise op of two operands that broadcast, to bool."""
    return binary(name, kernel, NOT_DIFFERENTIABLE, types, "x: T, y: T -> z: bool")


def slope(name: str, kernel: Any, gradient: Any, types: Any = dtypes.DIFFERENTIABLE) -> OpDef:
    """The backward pass of a function by its result: kernel(xp, y, dy) -> dx, all of one shape.

    `gradient(y, dy, dx, g)` -> (gradient for y, gradient for dy).
    """
    made = op(name, "y: T, dy: T -> z: T", T=types)(kernel)
    made.infer = _merged_shape
    made.gradient = lambda op, g: gradient(*op.inputs, op.outputs[0], g)
    return made


def _merged_shape(y: Spec, dy: Spec) -> shapes.Shape:
    return shapes.merge(y.shape, dy.shape)


def _kernel(kernel: Any) -> Callable[..., Any]:
    return kernel if callable(kernel) else _of_namespace(kernel)


def _of_namespace(function: str) -> Callable[..., Any]:
    def kernel(xp: Any, *args: Any) -> Any:
        return getattr(xp, function)(*args)

    return kernel


def function(definition: OpDef, name: str, doc: str, default: str | None = None) -> Any:
    """The public function of an elementwise op; `default` names its node if not the op's type."""
    if len(definition.inputs) == 1:

        def one(x: Any, name: str | None = None) -> Tensor:
            return definition(x, name=name or default)

        made: Any = one
    else:

        def two(x: Any, y: Any, name: str | None = None) -> Tensor:
            return definition(x, y, name=name or default)

        made = two
    made.__name__ = made.__qualname__ = name
    made.__doc__ = doc
    return made
