"""The order of elements: top-k, sorting, and what is counted by class."""

from __future__ import annotations

from collections import namedtuple
from typing import Any

import numpy as np

from headrace import dtypes, shapes
from headrace.conversion import convert_to_tensor
from headrace.errors import InvalidArgumentError
from headrace.folding import constant_value
from headrace.graph import control_dependencies, name_scope
from headrace.node import Tensor
from headrace.opdef import NOT_DIFFERENTIABLE, Spec, op
from headrace.ops import array, checks, gather, math, reduce
from headrace.ops.constant import constant
from headrace.shapes import Shape

TopKV2 = namedtuple("TopKV2", ["values", "indices"])


@op(
    "TopKV2",
    "input: T, k: Tk -> values: T, indices: index_type",
    T=dtypes.REALS,
    Tk=(dtypes.int16, dtypes.int32, dtypes.int64),
    static=(1,),
)
def _top_k(xp: Any, x: Any, k: Any, *, sorted: bool = True, index_type: Any = dtypes.int32) -> Any:
    k = int(k)
    if x.ndim < 1:
        raise InvalidArgumentError(None, None, "input must be >= 1-D, got shape []")
    if k < 0:
        raise InvalidArgumentError(None, None, f"Need k >= 0, got {k}")
    if x.shape[-1] < k:
        raise InvalidArgumentError(
            None, None, f"input must have at least k columns. Had {x.shape[-1]}, needed {k}"
        )
    values, indices = xp.top_k(x, k)
    return values, indices.astype(index_type.numpy)


@_top_k.def_infer
def _(x: Spec, k: Spec, *, sorted: bool, index_type: Any) -> list[Shape]:
    shape = shapes.at_least_rank(x.shape, 1)
    shapes.with_rank(k.shape, 0)
    value = k.value
    size = None if value is None else int(value)
    if size is not None and size < 0:
        raise ValueError(
            f"Dimension size, given by scalar input 1, must be non-negative but is {size}"
        )
    if shape is None:
        return [None, None]
    if size is not None and shape[-1] is not None and shape[-1] < size:
        raise ValueError(f"input must have last dimension >= k = {size} but is {shape[-1]}")
    return [(*shape[:-1], size)] * 2


@_top_k.def_gradient
def _(node: Any, d_values: Any, d_indices: Any) -> Any:
    x, indices = node.inputs[0], node.outputs[1]
    columns = array.shape(x)[-1]
    count = reduce.reduce_prod(array.shape(x)[:-1])
    rows = array.reshape(indices, array.stack([count, array.shape(indices)[-1]]))
    starts = array.expand_dims(array.range(count) * columns, 1)
    places = array.reshape(math.cast(rows, dtypes.int32) + starts, [-1, 1])
    flat = gather.scatter_nd(places, array.reshape(d_values, [-1]), [array.size(x)])
    return array.reshape(flat, array.shape(x)), None


def top_k(
    input: Any,
    k: Any = 1,
    sorted: bool = True,
    index_type: Any = dtypes.int32,
    name: str | None = None,
) -> TopKV2:
    """(values, indices) of the k largest along the last axis, largest first.

    Of equal elements the one with the lower index comes first.
    """
    index_type = dtypes.as_dtype(index_type)
    return TopKV2(*_top_k(input, k, sorted=sorted, index_type=index_type, name=name))


@op("InTopKV2", "predictions: float32, targets: T, k: T -> precision: bool", T=dtypes.INDICES)
def _in_top_k(xp: Any, predictions: Any, targets: Any, k: Any) -> Any:
    rows, classes = predictions.shape
    if targets.shape != (rows,):
        raise InvalidArgumentError(
            None,
            None,
            f"First dimension of predictions {rows} must match length of targets "
            f"{targets.shape[0] if targets.ndim else 0}",
        )
    if not classes:
        return xp.zeros(rows, bool)
    inside = (targets >= 0) & (targets < classes)
    column = xp.where(inside, targets, 0)[:, None]
    own = xp.take_along_axis(predictions, column, axis=1)
    ahead = xp.sum(predictions > own, axis=1)
    return inside & xp.all(xp.isfinite(predictions), axis=1) & (ahead < k)


@_in_top_k.def_infer
def _(predictions: Spec, targets: Spec, k: Spec) -> Shape:
    rows = shapes.with_rank(predictions.shape, 2)[0]
    shapes.with_rank(k.shape, 0)
    return (shapes.merge_size(rows, shapes.with_rank(targets.shape, 1)[0]),)


_in_top_k.gradient = NOT_DIFFERENTIABLE


def in_top_k(predictions: Any, targets: Any, k: Any, name: str | None = None) -> Tensor:
    """Whether each row's prediction of its target is among its k highest: bool [n].

    predictions [n, c], targets [n]. Ties with the k-th count as in. A row that is not finite, or
    a target outside [0, c), gives False.
    """
    with name_scope(name, "in_top_k"):
        return _in_top_k(predictions, targets, k, name=name)


# -- sorting ---------------------------------------------------------------------------------------


def sort(
    values: Any, axis: int = -1, direction: str = "ASCENDING", name: str | None = None
) -> Tensor:
    """The values in order along an axis."""
    with name_scope(name, "sort"):
        return _ordered(values, axis, direction, 0)


def argsort(
    values: Any,
    axis: int = -1,
    direction: str = "ASCENDING",
    stable: bool = False,
    name: str | None = None,
) -> Tensor:
    """The indices that put the values in order along an axis, int32. It is always stable."""
    del stable
    with name_scope(name, "argsort"):
        return _ordered(values, axis, direction, 1)


def _ordered(values: Any, axis: Any, direction: str, which: int) -> Tensor:
    axis = convert_to_tensor(axis, name="axis")
    position = constant_value(axis)
    if position is None:
        raise ValueError("The axis to sort along must be known when the graph is built.")
    values = convert_to_tensor(values, name="values")
    if direction == "DESCENDING":
        return _descending(values, int(position), which)
    if direction != "ASCENDING":
        raise ValueError(
            f"Argument `direction` should be one of 'ASCENDING' or 'DESCENDING'. "
            f"Received: direction={direction}"
        )
    turn = _turned(values.dtype)
    found = _descending(turn(values), int(position), which)
    return found if which else turn(found)


def _turned(dtype: Any) -> Any:
    """A function that turns the order of numbers round, and is its own inverse."""
    if dtype.is_unsigned:
        return lambda x: constant(dtype.max, dtype.base_dtype) - x
    if dtype.is_integer:
        return lambda x: math.negative(x) - 1  # and not -x, which the least number lacks
    return math.negative


def _descending(values: Tensor, axis: int, which: int) -> Tensor:
    k = array.shape(values)[axis]
    array.rank(values)  # of no use, but TensorFlow's graph has it
    rank = values.shape.ndims
    if axis == -1 or (rank is not None and axis == rank - 1):
        return top_k(values, k)[which]
    if rank is None:
        raise ValueError("Only the last axis can be sorted of a tensor of unknown rank.")
    order = np.arange(rank, dtype=np.int64)
    axis = shapes.normalize_axis(axis, rank)
    order[axis], order[-1] = order[-1], order[axis]
    order = constant(order, name="transposition")
    return array.transpose(top_k(array.transpose(values, order), k)[which], order)


# -- counting --------------------------------------------------------------------------------------


def confusion_matrix(
    labels: Any,
    predictions: Any,
    num_classes: Any = None,
    dtype: Any = dtypes.int32,
    name: str | None = None,
    weights: Any = None,
) -> Tensor:
    """How often each class [row] was predicted as each class [column]: [num_classes, num_classes].

    InvalidArgumentError in the run for negative classes and for those not below `num_classes`.
    """
    dtype = dtypes.as_dtype(dtype)
    with name_scope(name, "confusion_matrix", [predictions, labels, num_classes, weights]):
        labels = convert_to_tensor(labels, name="labels")
        predictions = convert_to_tensor(predictions, name="predictions")
        if predictions.shape.ndims is not None and labels.shape.ndims is not None:
            apart = predictions.shape.ndims - labels.shape.ndims
            predictions = array.squeeze(predictions, [-1]) if apart == 1 else predictions
            labels = array.squeeze(labels, [-1]) if apart == -1 else labels
        predictions = math.cast(predictions, dtypes.int64)
        labels = math.cast(labels, dtypes.int64)
        labels = _checked(
            labels,
            checks.assert_non_negative(labels, message="`labels` contains negative values"),
        )
        predictions = _checked(
            predictions,
            checks.assert_non_negative(
                predictions, message="`predictions` contains negative values"
            ),
        )
        if num_classes is None:
            largest = math.maximum(reduce.reduce_max(predictions), reduce.reduce_max(labels))
            num_classes = largest + 1
        else:
            num_classes = math.cast(num_classes, dtypes.int64)
            labels = _checked(
                labels, checks.assert_less(labels, num_classes, message="`labels` out of bound")
            )
            predictions = _checked(
                predictions,
                checks.assert_less(predictions, num_classes, message="`predictions` out of bound"),
            )
        if weights is None:
            values = array.ones_like(predictions, dtype=dtype)
        else:
            weights = convert_to_tensor(weights)
            predictions.shape.assert_is_compatible_with(weights.shape)
            values = math.cast(weights, dtype)
        size = array.stack([num_classes, num_classes])
        cells = array.stack([labels, predictions], axis=1)
        return gather.scatter_nd(cells, values, size)


def _checked(x: Tensor, check: Any) -> Tensor:
    with control_dependencies([check]):
        return array.identity(x)
