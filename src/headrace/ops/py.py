"""Python inside the graph: functions of arrays, and new nodes written in NumPy."""

# ruff: noqa: N803  (`Tout` is TensorFlow's)

from __future__ import annotations

import itertools
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from headrace import dtypes, errors, shapes
from headrace.conversion import convert_to_tensor
from headrace.graph import name_scope
from headrace.node import Operation, Tensor
from headrace.opdef import NOT_DIFFERENTIABLE, OpDef, Spec, op
from headrace.ops.constant import strings
from headrace.shapes import Shape, TensorShape, as_shape

_counter = itertools.count()

# -- calling ---------------------------------------------------------------------------------------

_ERRORS: tuple[tuple[Any, type[errors.OpError]], ...] = (
    ((TypeError, ValueError), errors.InvalidArgumentError),
    (StopIteration, errors.OutOfRangeError),
    (MemoryError, errors.ResourceExhaustedError),
    (NotImplementedError, errors.UnimplementedError),
    (Exception, errors.UnknownError),
)


def _call(function: Callable[..., Any], arguments: Sequence[Any]) -> Any:
    """The function's result; what it raises comes as one of `tf.errors`, with its traceback."""
    try:
        return function(*arguments)
    except errors.OpError:
        raise
    except Exception as error:
        kind = next(kind for classes, kind in _ERRORS if isinstance(error, classes))
        trace = error.__traceback__
        frames = traceback.format_tb(trace.tb_next if trace else None)
        text = f"{type(error).__name__}: {error}\n" + "".join(frames)
        raise kind(None, None, text.rstrip()) from error


def _own(value: Any) -> Any:
    """A copy that the function may change; of a scalar the NumPy scalar, of a string the bytes."""
    array = np.array(value)
    return array if array.ndim else array[()]


def _as_array(value: Any) -> np.ndarray:
    array = np.asarray(value)
    return strings(array) if array.dtype.kind in "SU" else array


def _listed(result: Any) -> list[Any]:
    if result is None:
        return []
    return list(result) if isinstance(result, (list, tuple)) else [result]


_C_NAMES = {"float32": "float", "float64": "double", "float16": "half"}


def _c_name(dtype: Any) -> str:
    name = dtypes.as_dtype(dtype).name
    return _C_NAMES.get(name, name)


# -- py_func ---------------------------------------------------------------------------------------


def _python_op(name: str, *, exact: bool) -> OpDef:
    """A host op that calls a Python function; `exact` asks for results of exactly the types."""

    @op(name, "input: *Tin -> output: *Tout", host=True, pure=False)
    def made(
        xp: Any, inputs: Any, *, token: str, Tout: Any, _py_function: Any
    ) -> tuple[np.ndarray, ...]:
        arguments = [_own(v) for v in inputs]
        if not exact:
            arguments = [np.asarray(a).view(_EagerArray) for a in arguments]
        results = _listed(_call(_py_function, arguments))
        if len(results) != len(Tout) and Tout:
            raise errors.InvalidArgumentError(
                None,
                None,
                f"{token} returns {len(results)} values, but expects to see {len(Tout)} values.",
            )
        pairs = zip(results, Tout, strict=False)
        return tuple(convert(i, r, d, token) for i, (r, d) in enumerate(pairs))

    convert = _exactly if exact else _converted
    made.gradient = NOT_DIFFERENTIABLE
    return made


def _exactly(i: int, result: Any, dtype: dtypes.DType, token: str) -> np.ndarray:
    array = _as_array(result)
    if array.dtype != dtype.numpy:
        raise errors.InvalidArgumentError(
            None,
            None,
            f"{i}-th value returned by {token} is {_c_name(array.dtype)}, but expects "
            f"{_c_name(dtype)}",
        )
    return array


def _converted(i: int, result: Any, dtype: dtypes.DType, token: str) -> np.ndarray:
    del i, token
    array = _as_array(result)
    return array if array.dtype == object else np.asarray(array).astype(dtype.numpy)


class _EagerArray(np.ndarray):
    """What the function of `py_function` gets: an array with `numpy()`."""

    def numpy(self) -> Any:
        """The plain array, or its scalar."""
        array = np.asarray(self)
        return array if array.ndim else array[()]


_py_func = _python_op("PyFunc", exact=True)
_py_func_stateless = _python_op("PyFuncStateless", exact=True)
_eager_py_func = _python_op("EagerPyFunc", exact=False)


def _apply(
    definition: OpDef, function: Any, inputs: Any, types: Any, name: str | None
) -> Tensor | list[Tensor] | Operation:
    if not callable(function):
        raise ValueError(
            f"Expected func to be callable. Received func={function} of type {type(function)}."
        )
    several = isinstance(types, (list, tuple))
    made = definition.node(
        list(inputs),
        Tout=tuple(types) if several else (types,),
        token=f"pyfunc_{next(_counter)}",
        _py_function=function,
        name=name,
    )
    if several:
        return list(made.outputs) or made
    return made.outputs[0]


def py_func(
    func: Callable[..., Any], inp: Any, Tout: Any, stateful: bool = True, name: str | None = None
) -> Any:
    """What a Python function of arrays returns: a tensor, or a list of them if `Tout` is a list.

    Scalars arrive as NumPy scalars and strings as bytes. The results must have exactly the types
    `Tout`. ValueError and TypeError become InvalidArgumentError, StopIteration OutOfRangeError,
    MemoryError ResourceExhaustedError, NotImplementedError UnimplementedError, others UnknownError.
    """
    return _apply(_py_func if stateful else _py_func_stateless, func, inp, Tout, name)


def numpy_function(
    func: Callable[..., Any], inp: Any, Tout: Any, stateful: bool = True, name: str | None = None
) -> Any:
    """`py_func` under its later name."""
    return py_func(func, inp, Tout, stateful, name)


def py_function(func: Callable[..., Any], inp: Any, Tout: Any, name: str | None = None) -> Any:
    """`py_func` of arrays that also have `.numpy()`; the results are converted to `Tout`."""
    return _apply(_eager_py_func, func, inp, Tout, name)


# -- new nodes -------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class NumpyOp:
    """A function on tensors made of two NumPy functions: see `numpy_op`."""

    forward_pass: Callable[..., Any]
    backward_pass: Callable[..., Any]
    name: str
    shape: Any = None
    dtype: dtypes.DType | None = None

    def __call__(self, *inputs: Any, name: str | None = None) -> Tensor:
        """The tensor that `forward_pass` makes of the inputs."""
        if not inputs:
            raise ValueError(f"{self.name} needs at least one input.")
        name = name or self.name
        with name_scope(None, name, list(inputs)) as scope:
            tensors = [convert_to_tensor(x, name=f"input_{i}") for i, x in enumerate(inputs)]
            dtype = self.dtype or tensors[0].dtype.base_dtype
            return _numpy_op(tensors, Tout=dtype, _py_node=self, name=scope)

    def check(self, *arrays: Any, delta: float = 1e-5, tolerance: float = 1e-5) -> float:
        """The largest error of `backward_pass` against numerical derivatives at these inputs.

        All in float64, for an incoming gradient drawn at random. AssertionError, with the numbers,
        if an error exceeds `tolerance` times max(1, |derivative|).
        """
        inputs = [np.array(a) for a in arrays]
        inputs = [a.astype(np.float64) if a.dtype.kind == "f" else a for a in inputs]
        result = np.asarray(self.forward_pass(*inputs), np.float64)
        incoming = np.random.RandomState(0).randn(*result.shape)
        given = self._gradients(inputs, np.asarray(incoming))
        worst = 0.0
        for i, (x, gradient) in enumerate(zip(inputs, given, strict=True)):
            if x.dtype.kind == "f":
                worst = max(worst, self._check_one(inputs, i, gradient, incoming, delta, tolerance))
        return worst

    def _check_one(
        self,
        inputs: list[np.ndarray],
        i: int,
        gradient: np.ndarray,
        incoming: Any,
        delta: float,
        tolerance: float,
    ) -> float:
        worst = 0.0
        for place in np.ndindex(inputs[i].shape):
            values = []
            for step in (delta, -delta):
                moved = list(inputs)
                moved[i] = inputs[i].copy()
                moved[i][place] += step
                values.append(np.sum(incoming * self.forward_pass(*moved)))
            numerical = float(values[0] - values[1]) / (2 * delta)
            error = abs(float(gradient[place]) - numerical)
            if not error <= tolerance * max(1.0, abs(numerical)):
                raise AssertionError(
                    f"backward_pass of {self.name} is wrong: for input {i} at {list(place)} it "
                    f"gives {float(gradient[place]):.9g}, but the numerical derivative of "
                    f"sum(incoming_gradient * forward_pass(...)) is {numerical:.9g} "
                    f"(error {error:.3g})."
                )
            worst = max(worst, error)
        return worst

    def _gradients(self, inputs: Sequence[Any], incoming: Any) -> list[np.ndarray]:
        """A gradient for each input; InvalidArgumentError if their number or shapes are wrong."""
        result = _call(self.backward_pass, [*map(_own, inputs), _own(incoming)])
        one = len(inputs) == 1 and not isinstance(result, tuple)
        gradients = [result] if one else _listed(result)
        if len(gradients) != len(inputs):
            raise errors.InvalidArgumentError(
                None,
                None,
                f"backward_pass of {self.name} returned {len(gradients)} gradient(s) for "
                f"{len(inputs)} inputs: return a tuple with one for each, in order.",
            )
        arrays = []
        for i, (x, g) in enumerate(zip(inputs, gradients, strict=True)):
            array = np.zeros(np.shape(x)) if g is None else np.asarray(g)
            if array.shape != np.shape(x):
                raise errors.InvalidArgumentError(
                    None,
                    None,
                    f"backward_pass of {self.name} returned a gradient of shape {array.shape} for "
                    f"input {i}, which has shape {np.shape(x)}.",
                )
            arrays.append(array)
        return arrays

    def _result_shape(self, inputs: Sequence[Spec]) -> Shape:
        if callable(self.shape):
            return as_shape(self.shape(*(TensorShape(s.shape) for s in inputs)))
        return as_shape(self.shape)


@op("NumpyOp", "inputs: *Tin -> output: Tout", host=True, pure=False)
def _numpy_op(xp: Any, inputs: Any, *, Tout: Any, _py_node: NumpyOp) -> np.ndarray:
    result = np.asarray(_call(_py_node.forward_pass, [_own(v) for v in inputs]))
    declared = _py_node._result_shape([Spec(Tout, np.shape(v)) for v in inputs])
    if not shapes.compatible(declared, result.shape):
        raise errors.InvalidArgumentError(
            None,
            None,
            f"forward_pass of {_py_node.name} returned an array of shape {result.shape}, but the "
            f"shape declared for it is {shapes.show(declared)}.",
        )
    return result.astype(Tout.numpy)


@_numpy_op.def_infer
def _(inputs: list[Spec], *, Tout: Any, _py_node: NumpyOp) -> Shape:
    return _py_node._result_shape(inputs)


@op("NumpyOpGrad", "inputs: *Tin, incoming: T -> gradients: *Tout", host=True, pure=False)
def _numpy_op_grad(
    xp: Any, inputs: Any, incoming: Any, *, Tout: Any, places: tuple[int, ...], _py_node: NumpyOp
) -> list[np.ndarray]:
    gradients = _py_node._gradients(inputs, incoming)
    return [gradients[i].astype(d.numpy) for i, d in zip(places, Tout, strict=True)]


@_numpy_op_grad.def_infer
def _(
    inputs: list[Spec], incoming: Spec, *, Tout: Any, places: tuple[int, ...], _py_node: NumpyOp
) -> list[Shape]:
    return [inputs[i].shape for i in places]


@_numpy_op.def_gradient
def _(node: Any, dy: Any) -> Any:
    places = tuple(i for i, t in enumerate(node.inputs) if t.dtype.is_differentiable)
    made = _numpy_op_grad(
        list(node.inputs),
        dy,
        Tout=tuple(node.inputs[i].dtype.base_dtype for i in places),
        places=places,
        _py_node=node.attrs["_py_node"],
    )
    gradients: list[Any] = [None] * len(node.inputs)
    for i, g in zip(places, made, strict=True):
        gradients[i] = g
    return tuple(gradients)


@_numpy_op_grad.def_gradient
def _(node: Any, *dys: Any) -> Any:
    raise LookupError(
        f"{node.attrs['_py_node'].name} has no second derivative: its backward_pass is a Python "
        "function. Build backward_pass of TensorFlow ops with tf.custom_gradient to have one."
    )


def numpy_op(
    forward_pass: Callable[..., Any],
    backward_pass: Callable[..., Any],
    name: str | None = None,
    shape: Any = None,
    dtype: Any = None,
) -> NumpyOp:
    """A new kind of node: a function on tensors, differentiable, made of two NumPy functions.

    `forward_pass(*inputs)` gives an array; `backward_pass(*inputs, incoming_gradient)` the gradient
    of the loss for each input, one array or a tuple, from that for the result. The result has the
    first input's type, or `dtype`; its static shape is unknown unless `shape` is one, or a function
    of the inputs' shapes (`lambda x: x`). `check(*arrays)` compares the gradients with numerical
    ones.
    """
    called: str = name or getattr(forward_pass, "__name__", "numpy_op").strip("<>_") or "numpy_op"
    kind = None if dtype is None else dtypes.as_dtype(dtype)
    return NumpyOp(forward_pass, backward_pass, called, shape, kind)
