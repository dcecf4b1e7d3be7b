"""Gradients of the user's own: `custom_gradient`, and `recompute_grad`, which saves memory."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from functools import update_wrapper, wraps
from typing import Any

from headrace import nest
from headrace.conversion import convert_to_tensor
from headrace.gradients import UnconnectedGradients, carries, gradient_function, gradients
from headrace.graph import Graph, get_default_graph
from headrace.keys import GraphKeys
from headrace.node import Operation, Tensor
from headrace.ops import array, control
from headrace.variable_scope import Replay


def custom_gradient(f: Callable[..., Any] | None = None) -> Any:
    """Decorator: `f(*args)` returns (results, grad_fn), and grad_fn is the gradient of f.

    Arguments and results are tensors, or structures of them. `grad_fn(*gradients of results)`
    returns a gradient per tensor among the arguments; None where there is none. If f uses trainable
    variables, grad_fn is also given `variables=`, a list of them sorted by name, and returns
    (gradients of arguments, list of gradients of variables). A gradient of the gradient is that of
    the operations that grad_fn makes.

    TypeError if f uses variables and grad_fn takes no `variables`, ValueError for keyword arguments
    and for gradients of wrong number.
    """
    return _CustomGradient if f is None else _CustomGradient(f)


class _CustomGradient:
    """A function that brings its own gradient; as a method it is bound like one."""

    def __init__(self, function: Callable[..., Any]):
        self._function = function
        update_wrapper(self, function)

    def __get__(self, instance: Any, owner: Any) -> _CustomGradient:
        if instance is None:
            return self
        return _CustomGradient(self._function.__get__(instance, owner))

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """The results of the function, with its gradient."""
        name = getattr(self, "__name__", repr(self._function))
        if kwargs:
            raise ValueError(
                f"{name!r} has a custom gradient and takes no keyword arguments (it was given "
                f"{', '.join(kwargs)}): each argument must have its place among the gradients."
            )
        # Arguments as tensors of this call alone: f may reach the same tensors in other ways too.
        operands = [array.identity(a) for a in nest.flatten(args)]
        results, grad_fn = _pair(name, self._function(*nest.pack_sequence_as(args, operands)))
        outputs = [convert_to_tensor(r) for r in nest.flatten(results)]
        variables = _trainable_between(operands, outputs)
        if variables and not _takes_variables(grad_fn):
            raise TypeError(
                "@tf.custom_gradient grad_fn must accept keyword argument 'variables', since "
                f"function {name!r} uses variables: {variables}"
            )
        count = len(outputs)

        def rule(_: Operation, *incoming: Any) -> list[Any]:
            found = _gradients(name, grad_fn, incoming[:count], len(operands), variables)
            return [None] * count + found

        # One operation that all results come through, with all that gets a gradient as its input.
        bundle = array.identity_n([*outputs, *operands, *map(convert_to_tensor, variables)])
        bundle[0].op.attrs["_py_gradient"] = rule
        return nest.pack_sequence_as(results, bundle[:count])


def _pair(name: str, made: Any) -> tuple[Any, Callable[..., Any]]:
    if not isinstance(made, (list, tuple)) or len(made) != 2 or not callable(made[1]):
        raise TypeError(
            f"{name!r}, decorated with custom_gradient, must return a pair (results, grad_fn), not "
            f"{made!r}."
        )
    return made[0], made[1]


def _takes_variables(grad_fn: Callable[..., Any]) -> bool:
    parameters = inspect.signature(grad_fn).parameters
    return "variables" in parameters or any(p.kind is p.VAR_KEYWORD for p in parameters.values())


def _gradients(
    name: str,
    grad_fn: Callable[..., Any],
    incoming: Sequence[Any],
    operands: int,
    variables: list[Any],
) -> list[Any]:
    """What grad_fn gives, a gradient per operand and then one per variable."""
    if variables:
        made = grad_fn(*incoming, variables=variables)
        if not isinstance(made, (list, tuple)) or len(made) != 2:
            raise ValueError(
                f"The gradient function of {name!r} must return a pair, (gradients of arguments, "
                f"list of gradients of variables), as it uses variables; it returned {made!r}."
            )
        given, of_variables = made[0], nest.flatten(made[1])
        if len(of_variables) != len(variables):
            raise ValueError(
                "Must return gradient for each variable from @custom_gradient grad_fn. That of "
                f"{name!r} returned {len(of_variables)} for {len(variables)} variables."
            )
    else:
        given, of_variables = grad_fn(*incoming), []
    of_operands = nest.flatten(given)
    if len(of_operands) != operands:
        raise ValueError(
            f"The gradient function of {name!r} returned {len(of_operands)} gradients for "
            f"{operands} arguments."
        )
    return [*of_operands, *of_variables]


def _trainable_between(operands: Sequence[Tensor], outputs: Sequence[Tensor]) -> list[Any]:
    """The trainable variables that gradients of the outputs reach other than by the operands."""
    found: set[Operation] = set()
    seen: set[Tensor] = set(operands)
    stack = list(outputs)
    while stack:
        tensor = stack.pop()
        if tensor in seen or not carries(tensor):
            continue
        seen.add(tensor)
        op = tensor.op
        if op.definition is not None and op.definition.variable:
            found.add(op)
        elif op.inputs and _differentiates(op):
            stack.extend(op.inputs)
    if not found:
        return []
    known = outputs[0].graph.get_collection(GraphKeys.GLOBAL_VARIABLES)
    return sorted((v for v in known if v.op in found and v.trainable), key=lambda v: v.name)


def _differentiates(op: Operation) -> bool:
    try:
        return gradient_function(op) is not None
    except LookupError:  # it says so when a gradient is asked for
        return True


# -- computing again -------------------------------------------------------------------------------


def recompute_grad(f: Callable[..., Any]) -> Any:
    """Decorator: what `f(*args)` computes on the way to its results is not kept for the gradient,
    but computed again from `args` when that is taken: less memory for more time.

    f takes tensors (or structures of them) and gives such. It is called once more, in the variable
    scope of the first time, when a gradient is taken: `get_variable` finds the variables of the
    first call, random operations give the same numbers (they alone are kept), and what f adds to
    collections counts once. What f writes or prints, it writes or prints again. What depends on no
    floating-point argument of f is kept, and not computed again.

    ValueError if f does something else when it is called again: makes a `tf.Variable`, draws other
    random numbers, returns another number of results.
    """

    @wraps(f)
    def inner(*args: Any) -> Any:
        again = _Again(f)
        results = again.first(*args)

        def grad_fn(*dys: Any, variables: Sequence[Any] = ()) -> Any:
            inputs, held = _held_back(args, dys)
            outputs = nest.flatten(again(*inputs))
            if len(outputs) != len(dys):
                raise ValueError(
                    f"{again.name!r} returned {len(dys)} results, and {len(outputs)} when it was "
                    "called again for its gradient."
                )
            flat = [t for t in nest.flatten(inputs) if isinstance(t, Tensor)]
            found = iter(
                gradients(
                    outputs, [*held, *variables], list(dys), stop_gradients=held,
                    unconnected_gradients=UnconnectedGradients.ZERO,
                )
            )  # fmt: skip
            of_inputs = [next(found) if carries(t) else None for t in flat]
            return (of_inputs, list(found)) if variables else of_inputs

        return results, grad_fn

    return update_wrapper(custom_gradient(inner), f)


def _held_back(args: Any, dys: Sequence[Any]) -> tuple[Any, list[Tensor]]:
    """The arguments with their tensors as they are once `dys` are known; and these tensors.

    Integers stay: they may give shapes, which must be known before anything is computed.
    """
    flat = nest.flatten(args)
    places = [i for i, a in enumerate(flat) if isinstance(a, Tensor) and carries(a)]
    known = [convert_to_tensor(dy) for dy in dys if dy is not None]
    held = control.hold_back([flat[i] for i in places], known)
    for i, tensor in zip(places, held, strict=True):
        flat[i] = tensor
    return nest.pack_sequence_as(args, flat), held


class _Again:
    """A function that is called twice, the second time as if it were the first."""

    def __init__(self, function: Callable[..., Any]):
        self.name = getattr(function, "__name__", repr(function))
        self._function = function
        self._replay = Replay()
        self._drawn: list[Operation] = []

    def first(self, *args: Any) -> Any:
        """Call the function, and remember which random operations it makes."""
        scopes = get_default_graph()._scopes
        outer = scopes.draw

        def draw(make: Callable[[], Operation]) -> Operation:
            made = make() if outer is None else outer(make)
            self._drawn.append(made)
            return made

        with get_default_graph()._set("draw", draw):
            return self._function(*args)

    def __call__(self, *args: Any) -> Any:
        """Call it again: with the same random operations, and no trace in collections."""
        graph = get_default_graph()
        left = iter(self._drawn)

        def draw(make: Callable[[], Operation]) -> Operation:
            del make
            for op in left:
                return op
            raise self._other_numbers()

        with _collections_kept(graph, self.name), self._replay(), graph._set("draw", draw):
            made = self._function(*args)
        if next(left, None) is not None:
            raise self._other_numbers()
        return made

    def _other_numbers(self) -> ValueError:
        return ValueError(
            f"{self.name!r} drew other random numbers when it was called again for its gradient: "
            f"it made {len(self._drawn)} random operations the first time. What it does may depend "
            "on its arguments only."
        )


@contextmanager
def _collections_kept(graph: Graph, name: str) -> Iterator[None]:
    """Take out of collections what was added inside; ValueError if that is a variable."""
    before = {key: len(items) for key, items in graph._collections.items()}
    yield
    for key, items in graph._collections.items():
        added = items[before.get(key, 0) :]
        del items[before.get(key, 0) :]
        if added and key in (GraphKeys.GLOBAL_VARIABLES, GraphKeys.LOCAL_VARIABLES):
            raise ValueError(
                f"{name!r} made the variable {added[0].name!r} when it was called again for its "
                "gradient. Make variables outside of it, or by tf.get_variable, which finds those "
                "of the first call."
            )
