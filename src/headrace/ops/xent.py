"""Softmax and the cross-entropies."""

from __future__ import annotations

from typing import Any

import numpy as np

from headrace import dtypes, shapes
from headrace.conversion import convert_to_tensor
from headrace.errors import InvalidArgumentError
from headrace.folding import constant_value
from headrace.graph import control_dependencies, name_scope
from headrace.node import Tensor
from headrace.opdef import Spec, op
from headrace.ops import array, checks, gather, math, nn, reduce, slicing
from headrace.ops.constant import constant
from headrace.ops.operands import either, wide
from headrace.shapes import Shape

# -- softmax ---------------------------------------------------------------------------------------


def _shifted(xp: Any, x: Any) -> Any:
    """x less its maximum along the last axis."""
    return x - xp.max(x, axis=-1, keepdims=True, initial=-np.inf)


@op("Softmax", "logits: T -> softmax: T", T=dtypes.FLOATS)
def _softmax(xp: Any, x: Any) -> Any:
    e = xp.exp(_shifted(xp, wide(x)))
    return (e / xp.sum(e, axis=-1, keepdims=True)).astype(x.dtype)


@op("LogSoftmax", "logits: T -> logsoftmax: T", T=dtypes.FLOATS)
def _log_softmax(xp: Any, x: Any) -> Any:
    shifted = _shifted(xp, wide(x))
    log_sum = xp.log(xp.sum(xp.exp(shifted), axis=-1, keepdims=True))
    return (shifted - log_sum).astype(x.dtype)


def _vectors(x: Spec) -> Shape:
    return shapes.at_least_rank(x.shape, 1)


_softmax.infer = _log_softmax.infer = _vectors


@_softmax.def_gradient
def _(node: Any, dy: Any) -> Any:
    return _through(node.outputs[0], dy)


def _through(y: Tensor, dy: Tensor) -> Tensor:
    """The gradient for the operand of a softmax with the result y."""
    return (dy - reduce.reduce_sum(dy * y, -1, keepdims=True)) * y


@_log_softmax.def_gradient
def _(node: Any, dy: Any) -> Any:
    y = node.outputs[0]
    return dy - reduce.reduce_sum(dy, -1, keepdims=True) * math.exp(y)


def softmax(
    logits: Any, axis: int | None = None, name: str | None = None, dim: int | None = None
) -> Tensor:
    """exp(x) / sum exp(x) along an axis, the last by default."""
    return _along(_softmax, logits, _axis(axis, dim), name)


def log_softmax(
    logits: Any, axis: int | None = None, name: str | None = None, dim: int | None = None
) -> Tensor:
    """x - log(sum exp(x)) along an axis, the last by default."""
    return _along(_log_softmax, logits, _axis(axis, dim), name)


def _axis(axis: Any, dim: Any) -> Any:
    axis = either("axis", axis, "dim", dim)
    return -1 if axis is None else axis


def _along(function: Any, logits: Any, axis: Any, name: str | None) -> Tensor:
    """The function of the last axis applied to another one, by swapping the two."""
    logits = convert_to_tensor(logits)
    known = logits.shape.ndims
    value = constant_value(axis) if isinstance(axis, Tensor) else axis
    if isinstance(value, np.ndarray):
        value = int(value)
    if value == -1 or (known is not None and value == known - 1):
        return function(logits, name=name)
    if value is not None and known is not None and not -known <= value < known:
        raise InvalidArgumentError(
            None,
            None,
            f"`dim` must be in the range [{-known}, {known}) where {known} is the number of "
            f"dimensions in the input. Received: dim={value}",
        )
    rank = array.rank(logits)
    if not isinstance(axis, Tensor) and axis < 0:
        axis = axis + known if known is not None else rank + axis
    last_of = array.rank(logits)
    swapped = _swap_last(logits, axis, math.subtract(last_of, 1))
    result = _swap_last(function(swapped), axis, math.subtract(last_of, 1), name)
    result.set_shape(logits.shape)
    return result


def _swap_last(x: Tensor, axis: Any, last: Tensor, name: str | None = None) -> Tensor:
    parts = [array.range(axis), [last], array.range(axis + 1, last), [axis]]
    return array.transpose(x, array.concat(parts, 0), name=name)


# -- cross-entropy with distributions --------------------------------------------------------------


@op(
    "SoftmaxCrossEntropyWithLogits",
    "features: T, labels: T -> loss: T, backprop: T",
    T=dtypes.FLOATS,
    broadcasts=True,
)
def _softmax_xent(xp: Any, x: Any, labels: Any) -> Any:
    try:
        shape = np.broadcast_shapes(x.shape, labels.shape)
    except ValueError:
        raise InvalidArgumentError(
            None,
            None,
            "logits and labels must be broadcastable: "
            f"logits_size={shapes.brackets(x.shape)} labels_size={shapes.brackets(labels.shape)}",
        ) from None
    dtype, x, labels = x.dtype, wide(xp.broadcast_to(x, shape)), wide(labels)
    shifted = _shifted(xp, x)
    e = xp.exp(shifted)
    total = xp.sum(e, axis=-1, keepdims=True)
    loss = xp.sum(labels * (xp.log(total) - shifted), axis=-1)
    return loss.astype(dtype), (e / total - labels).astype(dtype)


@_softmax_xent.def_infer
def _(x: Spec, labels: Spec) -> list[Shape]:
    shape = shapes.broadcast(shapes.with_rank(x.shape, 2), shapes.with_rank(labels.shape, 2))
    assert shape is not None
    return [shape[:1], shape]


@_softmax_xent.def_gradient
def _(node: Any, d_loss: Any, d_backprop: Any) -> Any:
    logits = node.inputs[0]
    column = array.expand_dims(d_loss, -1)
    d_logits = column * node.outputs[1]
    d_labels = -column * log_softmax(logits)
    if not _is_zero(d_backprop):
        d_logits += _through(softmax(logits), d_backprop)
        d_labels -= d_backprop
    return d_logits, d_labels


def _is_zero(x: Tensor | None) -> bool:
    """Whether a gradient is known to be zero, as for an output that nobody used."""
    if x is None or x.op.type == "ZerosLike":
        return True
    value = constant_value(x.op.inputs[1] if x.op.type == "Fill" else x)
    return value is not None and not value.any()


def softmax_cross_entropy_with_logits(
    _sentinel: Any = None,
    labels: Any = None,
    logits: Any = None,
    dim: int = -1,
    name: str | None = None,
    axis: int | None = None,
) -> Tensor:
    """Cross-entropy of softmax(logits) with the distributions `labels`, a number for each.

    Labels are taken as constants: no gradient flows into them (`..._v2` lets it).
    """
    _need("softmax_cross_entropy_with_logits", _sentinel, labels, logits)
    axis = dim if axis is None else axis
    with name_scope(name, "softmax_cross_entropy_with_logits_sg", [logits, labels]) as scope:
        labels = array.stop_gradient(labels, name="labels_stop_gradient")
        return softmax_cross_entropy_with_logits_v2(labels, logits, axis, scope)


def softmax_cross_entropy_with_logits_v2(
    labels: Any, logits: Any, axis: int | None = None, name: str | None = None, dim: Any = None
) -> Tensor:
    """Cross-entropy of softmax(logits) with the distributions `labels`, a number for each."""
    _need("softmax_cross_entropy_with_logits", None, labels, logits)
    at = _axis(axis, dim)
    with name_scope(name, "softmax_cross_entropy_with_logits", [logits, labels]) as scope:
        logits = convert_to_tensor(logits, name="logits")
        labels = convert_to_tensor(labels, name="labels", dtype=logits.dtype)
        dtype = logits.dtype.base_dtype
        if dtype in (dtypes.float16, dtypes.bfloat16):
            logits = math.cast(logits, dtypes.float32)
            labels = math.cast(labels, dtypes.float32)
        rank = array.rank(logits)
        static = logits.shape._dims
        if at != -1:
            logits, labels = (_axis_last(x, at, rank) for x in (logits, labels))
        full = array.shape(logits)
        loss, _ = _softmax_xent(_as_rows(logits), _as_rows(labels), name=scope)
        loss = array.reshape(loss, slicing.slice(full, [0], [math.subtract(rank, 1)]))
        if static is not None:
            loss.set_shape(shapes.drop(static, [at % len(static)]))
        return loss if dtype is logits.dtype.base_dtype else math.cast(loss, dtype)


def _axis_last(x: Tensor, axis: int, rank: Tensor) -> Tensor:
    parts = [array.range(axis), array.range(axis + 1, rank), [axis]]
    return array.transpose(x, array.concat(parts, 0))


def _as_rows(x: Tensor) -> Tensor:
    """x [..., n] as a matrix [-1, n]."""
    rank = array.rank(x)
    last = slicing.slice(array.shape(x), [math.subtract(rank, 1)], [1])
    rows = array.reshape(x, array.concat([[-1], last], 0))
    if x.shape._dims is not None:
        sizes = x.shape._dims
        rows.set_shape((shapes.count(sizes[:-1]), sizes[-1]))
    return rows


def _need(function: str, sentinel: Any, labels: Any, logits: Any) -> None:
    if sentinel is not None:
        raise ValueError(
            f"Only call `{function}` with named arguments (labels=..., logits=..., ...): the order "
            "of positional ones has changed between versions."
        )
    if labels is None or logits is None:
        raise ValueError(
            f"Both `labels` and `logits` must be provided for {function}. "
            f"Received: labels={labels} and logits={logits}"
        )


# -- cross-entropy with classes --------------------------------------------------------------------


@op(
    "SparseSoftmaxCrossEntropyWithLogits",
    "features: T, labels: Tlabels -> loss: T, backprop: T",
    T=dtypes.FLOATS,
    Tlabels=dtypes.INDICES,
)
def _sparse_xent(xp: Any, x: Any, labels: Any) -> Any:
    rows, classes = x.shape
    if labels.shape != (rows,):
        raise InvalidArgumentError(
            None,
            None,
            "labels must be 1-D with one label per row of logits, got shapes "
            f"{shapes.brackets(labels.shape)} and {shapes.brackets(x.shape)}",
        )
    inside = (labels >= 0) & (labels < classes)
    xp.check(xp.all(inside), lambda: _outside(labels, inside, classes))
    dtype, x = x.dtype, wide(x)
    shifted = _shifted(xp, x)
    e = xp.exp(shifted)
    total = xp.sum(e, axis=-1, keepdims=True)
    column = labels[:, None]
    if not classes:
        return xp.zeros(rows, dtype), xp.zeros((rows, 0), dtype)
    picked = xp.take_along_axis(shifted, xp.where(inside[:, None], column, 0), axis=1)
    loss = (xp.log(total) - picked)[:, 0]
    hot = xp.arange(classes, dtype=labels.dtype) == column
    return loss.astype(dtype), (e / total - hot.astype(e.dtype)).astype(dtype)


def _outside(labels: Any, inside: Any, classes: int) -> str:
    first = labels[np.argmin(inside)]
    listed = " ".join(str(v) for v in labels.tolist())
    return (
        f"Received a label value of {first} which is outside the valid range of [0, {classes}).  "
        f"Label values: {listed}"
    )


@_sparse_xent.def_infer
def _(x: Spec, labels: Spec) -> list[Shape]:
    rows, classes = shapes.with_rank(x.shape, 2)
    rows = shapes.merge_size(rows, shapes.with_rank(labels.shape, 1)[0])
    return [(rows,), (rows, classes)]


@_sparse_xent.def_gradient
def _(node: Any, d_loss: Any, d_backprop: Any) -> Any:
    d_logits = array.expand_dims(d_loss, -1) * node.outputs[1]
    if not _is_zero(d_backprop):
        d_logits += _through(softmax(node.inputs[0]), d_backprop)
    return d_logits, None


def sparse_softmax_cross_entropy_with_logits(
    _sentinel: Any = None, labels: Any = None, logits: Any = None, name: str | None = None
) -> Tensor:
    """Cross-entropy of softmax(logits [..., c]) with the classes `labels` [...], in [0, c)."""
    _need("sparse_softmax_cross_entropy_with_logits", _sentinel, labels, logits)
    with name_scope(name, "SparseSoftmaxCrossEntropyWithLogits", [labels, logits]):
        labels = convert_to_tensor(labels)
        logits = convert_to_tensor(logits)
        dtype = logits.dtype.base_dtype
        if dtype in (dtypes.float16, dtypes.bfloat16):
            logits = math.cast(logits, dtypes.float32)
        labels_shape = array.shape(labels)
        known = _check_class_shapes(labels, logits)
        if logits.shape.ndims == 2:
            loss = _sparse_xent(logits, labels, name=name)[0]
        else:
            first = []
            if not known:
                of_labels = array.shape(labels)
                first = [checks.assert_equal(of_labels, array.shape(logits)[:-1])]
            with control_dependencies(first):
                classes = array.shape(logits)[array.rank(logits) - 1]
                rows = array.reshape(logits, [-1, classes])
                loss = _sparse_xent(rows, array.reshape(labels, [-1]), name=name)[0]
                loss = array.reshape(loss, labels_shape)
                loss.set_shape(labels.shape)
        return loss if dtype is logits.dtype.base_dtype else math.cast(loss, dtype)


def _check_class_shapes(labels: Tensor, logits: Tensor) -> bool:
    """Whether the shapes are known, and fit; ValueError if they are known not to."""
    a, b = labels.shape._dims, logits.shape._dims
    if b == ():
        raise ValueError(f"`logits` cannot be a scalar. Received logits={logits}`")
    if a is None or b is None:
        return False
    if len(a) != len(b) - 1:
        raise ValueError(
            "`labels.shape.rank` must equal `logits.shape.rank - 1`. Received: "
            f"labels.shape={labels.shape} of rank {len(a)} and logits.shape={logits.shape} of "
            f"rank {len(b)}"
        )
    if not shapes.compatible(a, b[:-1]):
        raise ValueError(
            "`labels.shape` must equal `logits.shape` except for the last dimension. Received: "
            f"labels.shape={labels.shape} and logits.shape={logits.shape}"
        )
    return shapes.is_full(a) and shapes.is_full(b[:-1])


# -- cross-entropy with independent classes --------------------------------------------------------


def sigmoid_cross_entropy_with_logits(
    _sentinel: Any = None, labels: Any = None, logits: Any = None, name: str | None = None
) -> Tensor:
    """Cross-entropy of sigmoid(logits) with `labels`, elementwise, without overflow."""
    _need("sigmoid_cross_entropy_with_logits", _sentinel, labels, logits)
    with name_scope(name, "logistic_loss", [logits, labels]) as scope:
        logits = convert_to_tensor(logits, name="logits")
        labels = convert_to_tensor(labels, name="labels")
        _one_shape(logits, labels)
        zeros = array.zeros_like(logits, dtype=logits.dtype)
        positive = math.greater_equal(logits, zeros)
        relu_logits = gather.where(positive, logits, zeros)
        minus_abs = gather.where(positive, -logits, logits)
        return math.add(relu_logits - logits * labels, math.log1p(math.exp(minus_abs)), name=scope)


def weighted_cross_entropy_with_logits(
    labels: Any = None,
    logits: Any = None,
    pos_weight: Any = None,
    name: str | None = None,
    targets: Any = None,
) -> Tensor:
    """`sigmoid_cross_entropy_with_logits` with the term of positive labels times `pos_weight`."""
    labels = either("labels", labels, "targets", targets)
    with name_scope(name, "logistic_loss", [logits, labels]) as scope:
        logits = convert_to_tensor(logits, name="logits")
        labels = convert_to_tensor(labels, name="targets")
        _one_shape(logits, labels)
        weight = 1 + (pos_weight - 1) * labels
        negative = (1 - labels) * logits
        loss = math.log1p(math.exp(-math.abs(logits))) + nn.relu(-logits)
        return math.add(negative, weight * loss, name=scope)


def _one_shape(x: Tensor, y: Tensor, names: str = "`logits` and `labels`") -> None:
    if not shapes.compatible(x._dims, y._dims):
        raise ValueError(f"{names} must have the same shape, received ({x.shape} vs {y.shape}).")


def log_poisson_loss(
    targets: Any, log_input: Any, compute_full_loss: bool = False, name: str | None = None
) -> Tensor:
    """exp(c) - z c, elementwise: minus the log-likelihood of counts z, Poisson with log-rate c.

    It lacks log(z!), a constant; `compute_full_loss` adds Stirling's approximation of it.
    """
    with name_scope(name, "log_poisson_loss", [log_input, targets]):
        log_input = convert_to_tensor(log_input, name="log_input")
        targets = convert_to_tensor(targets, name="targets")
        _one_shape(log_input, targets, "`log_input` and `targets`")
        loss = math.exp(log_input) - log_input * targets
        if not compute_full_loss:
            return loss
        half = constant(0.5, dtype=targets.dtype)
        two_pi = constant(2 * np.pi, dtype=targets.dtype)
        stirling = (targets * math.log(targets)) - targets + half * math.log(two_pi * targets)
        zeros = array.zeros_like(targets, dtype=targets.dtype)
        ones = array.ones_like(targets, dtype=targets.dtype)
        small = math.logical_and(targets >= zeros, targets <= ones)
        return loss + gather.where(small, zeros, stirling)
