"""Losses (`tf.losses`): a number per element, weighted and reduced to one, and collected."""

from __future__ import annotations

from typing import Any

from headrace import dtypes, shapes
from headrace.conversion import convert_to_tensor
from headrace.graph import add_to_collection, control_dependencies, get_collection, name_scope
from headrace.keys import GraphKeys
from headrace.node import Operation, Tensor
from headrace.ops import array, checks, control, gather, math, nn, reduce, xent
from headrace.ops.constant import constant
from headrace.ops.operands import either


class Reduction:
    """How `tf.losses` reduce a loss per element to a number."""

    NONE = "none"
    SUM = "weighted_sum"
    SUM_OVER_BATCH_SIZE = "weighted_sum_over_batch_size"
    MEAN = "weighted_mean"
    SUM_BY_NONZERO_WEIGHTS = "weighted_sum_by_nonzero_weights"
    SUM_OVER_NONZERO_WEIGHTS = SUM_BY_NONZERO_WEIGHTS

    @classmethod
    def all(cls) -> tuple[str, ...]:
        """Every way."""
        return (
            cls.NONE,
            cls.SUM,
            cls.MEAN,
            cls.SUM_OVER_BATCH_SIZE,
            cls.SUM_OVER_NONZERO_WEIGHTS,
            cls.SUM_BY_NONZERO_WEIGHTS,
        )

    @classmethod
    def validate(cls, key: str) -> None:
        """ValueError unless this names a way."""
        if key not in cls.all():
            raise ValueError(f"Invalid Reduction Key {key}. Key should be one of {cls.all()}.")


_BY_NONZERO = Reduction.SUM_BY_NONZERO_WEIGHTS

# -- weights ---------------------------------------------------------------------------------------


def assert_broadcastable(weights: Any, values: Any) -> Operation:
    """An operation that checks the weights to be a scalar, or of the values' rank with sizes 1 or
    theirs; ValueError if they are known not to be."""
    with name_scope(None, "assert_broadcastable", [weights, values]):
        values = convert_to_tensor(values, name="values")
        weights = convert_to_tensor(weights, dtype=_float_hint(weights), name="weights")
        w, v = weights.shape._dims, values.shape._dims
        weights_shape, weights_rank = _measured(weights, "weights")
        values_shape, values_rank = _measured(values, "values")
        if w == ():
            return control.no_op("static_scalar_check_success")
        if w is not None and v is not None:
            _refuse_unless_fitting(weights, values)
            if all(a == 1 or (a is not None and a == b) for a, b in zip(w, v, strict=True)):
                return control.no_op("static_dims_check_success")
            fits = reduce.reduce_all(
                math.logical_or(
                    math.equal(weights_shape, 1), math.equal(weights_shape, values_shape)
                )
            )
        else:  # the product will find sizes that do not fit
            fits = math.logical_or(
                math.equal(weights_rank, 0), math.equal(weights_rank, values_rank)
            )
        words = ["weights can not be broadcast to values.", "weights.shape=", weights_shape]
        return checks.Assert(fits, [*words, "values.shape=", values_shape], summarize=10)


def _float_hint(weights: Any) -> Any:
    return None if hasattr(weights, "dtype") else dtypes.float32


def _measured(x: Tensor, name: str) -> tuple[Tensor, Tensor]:
    return array.shape(x, name=f"{name}/shape"), array.rank(x, name=f"{name}/rank")


def _refuse_unless_fitting(weights: Tensor, values: Tensor) -> None:
    w, v = weights.shape._dims, values.shape._dims
    assert w is not None
    assert v is not None
    why = None
    if len(w) != len(v):
        why = (
            f"values.rank={len(v)}. weights.rank={len(w)}. values.shape={values.shape}. "
            f"weights.shape={weights.shape}."
        )
    else:
        for i, (a, b) in enumerate(zip(w, v, strict=True)):
            if a not in (None, 1) and b is not None and a != b:
                why = f"Mismatch at dim {i}. values.shape={v}, weights.shape={w}."
                break
    if why:
        raise ValueError(
            f"weights can not be broadcast to values. {why} Received weights={weights}, "
            f"values={values}"
        )


def broadcast_weights(weights: Any, values: Any) -> Tensor:
    """The weights in the shape of the values."""
    with name_scope(None, "broadcast_weights", [weights, values]) as scope:
        values = convert_to_tensor(values, name="values")
        weights = convert_to_tensor(weights, dtype=values.dtype, name="weights")
        w, v = weights.shape._dims, values.shape._dims
        if shapes.is_full(w) and w == v:
            return weights
        with control_dependencies([assert_broadcastable(weights, values)]):
            return math.multiply(weights, array.ones_like(values), name=scope)


def _num_present(losses: Tensor, weights: Tensor, per_batch: bool = False) -> Tensor:
    """The number of losses whose weight is not zero; for each item of the batch if asked."""
    with name_scope(None, "num_present", [losses, weights]) as scope:
        weights = math.cast(weights, dtypes.float32)
        zero = math.equal(weights, 0.0)
        present = gather.where(zero, array.zeros_like(weights), array.ones_like(weights))
        present = broadcast_weights(present, losses)
        if not per_batch:
            return reduce.reduce_sum(present, name=scope)
        axes = array.range(1, array.rank(present))
        return reduce.reduce_sum(present, axes, keepdims=True, name=scope)


def _mean(losses: Tensor, count: Tensor) -> Tensor:
    """The sum of the losses over `count`, 0 if that is 0."""
    return math.div_no_nan(reduce.reduce_sum(losses), count, name="value")


def _num_elements(losses: Tensor) -> Tensor:
    with name_scope(None, "num_elements", [losses]) as scope:
        return math.cast(array.size(losses, name=scope), losses.dtype)


def compute_weighted_loss(
    losses: Any,
    weights: Any = 1.0,
    scope: str | None = None,
    loss_collection: str | None = GraphKeys.LOSSES,
    reduction: str = _BY_NONZERO,
) -> Tensor:
    """losses * weights, reduced, and added to a collection."""
    Reduction.validate(reduction)
    with name_scope(scope, "weighted_loss", [losses, weights]):
        with control_dependencies([assert_broadcastable(weights, losses)]):
            losses = convert_to_tensor(losses)
            dtype = losses.dtype.base_dtype
            losses = math.cast(losses, dtypes.float32)
            weights = math.cast(weights, dtypes.float32)
            weighted = math.multiply(losses, weights)
            loss = _reduced(weighted, weights, reduction)
        loss = math.cast(loss, dtype)
        add_loss(loss, loss_collection)
        return loss


def _reduced(losses: Tensor, weights: Tensor, reduction: str) -> Tensor:
    if reduction == Reduction.NONE:
        return losses
    total = reduce.reduce_sum(losses)
    if reduction == Reduction.MEAN:
        return _mean(total, reduce.reduce_sum(array.ones_like(losses) * weights))
    if reduction == _BY_NONZERO:
        return _mean(total, _num_present(losses, weights))
    if reduction == Reduction.SUM_OVER_BATCH_SIZE:
        return _mean(total, _num_elements(losses))
    return total


# -- losses ----------------------------------------------------------------------------------------


def _need(**arguments: Any) -> None:
    for name, value in arguments.items():
        if value is None:
            raise ValueError(f"Argument `{name}` must not be None.")


def _pair(labels: Any, predictions: Any) -> tuple[Tensor, Tensor]:
    predictions = math.cast(predictions, dtypes.float32)
    labels = math.cast(labels, dtypes.float32)
    predictions.shape.assert_is_compatible_with(labels.shape)
    return labels, predictions


def absolute_difference(
    labels: Any,
    predictions: Any,
    weights: Any = 1.0,
    scope: str | None = None,
    loss_collection: str | None = GraphKeys.LOSSES,
    reduction: str = _BY_NONZERO,
) -> Tensor:
    """|prediction - label|."""
    _need(labels=labels, predictions=predictions)
    with name_scope(scope, "absolute_difference", [predictions, labels, weights]) as scope:
        labels, predictions = _pair(labels, predictions)
        losses = math.abs(math.subtract(predictions, labels))
        return compute_weighted_loss(losses, weights, scope, loss_collection, reduction)


def mean_squared_error(
    labels: Any,
    predictions: Any,
    weights: Any = 1.0,
    scope: str | None = None,
    loss_collection: str | None = GraphKeys.LOSSES,
    reduction: str = _BY_NONZERO,
) -> Tensor:
    """(prediction - label)²."""
    _need(labels=labels, predictions=predictions)
    with name_scope(scope, "mean_squared_error", [predictions, labels, weights]) as scope:
        labels, predictions = _pair(labels, predictions)
        losses = math.squared_difference(predictions, labels)
        return compute_weighted_loss(losses, weights, scope, loss_collection, reduction)


def huber_loss(
    labels: Any,
    predictions: Any,
    weights: Any = 1.0,
    delta: float = 1.0,
    scope: str | None = None,
    loss_collection: str | None = GraphKeys.LOSSES,
    reduction: str = _BY_NONZERO,
) -> Tensor:
    """Half the squared error up to `delta`, and from there on straight (Huber 1964)."""
    _need(labels=labels, predictions=predictions)
    with name_scope(scope, "huber_loss", [predictions, labels, weights]) as scope:
        labels, predictions = _pair(labels, predictions)
        apart = math.abs(math.subtract(predictions, labels))
        quadratic = math.minimum(apart, delta)
        linear = math.subtract(apart, quadratic)
        half = constant(0.5, dtype=quadratic.dtype.base_dtype)
        square = math.multiply(half, math.multiply(quadratic, quadratic))
        losses = math.add(square, math.multiply(delta, linear))
        return compute_weighted_loss(losses, weights, scope, loss_collection, reduction)


def log_loss(
    labels: Any,
    predictions: Any,
    weights: Any = 1.0,
    epsilon: float = 1e-7,
    scope: str | None = None,
    loss_collection: str | None = GraphKeys.LOSSES,
    reduction: str = _BY_NONZERO,
) -> Tensor:
    """Cross-entropy of predicted probabilities, to which `epsilon` is added, with the labels."""
    _need(labels=labels, predictions=predictions)
    with name_scope(scope, "log_loss", [predictions, labels, weights]) as scope:
        labels, predictions = _pair(labels, predictions)
        hits = -math.multiply(labels, math.log(predictions + epsilon))
        misses = math.multiply(1 - labels, math.log(1 - predictions + epsilon))
        losses = hits - misses
        return compute_weighted_loss(losses, weights, scope, loss_collection, reduction)


def hinge_loss(
    labels: Any,
    logits: Any,
    weights: Any = 1.0,
    scope: str | None = None,
    loss_collection: str | None = GraphKeys.LOSSES,
    reduction: str = _BY_NONZERO,
) -> Tensor:
    """max(0, 1 - y logit) with y = ±1 for labels 1 and 0."""
    _need(labels=labels, logits=logits)
    with name_scope(scope, "hinge_loss", [logits, labels, weights]) as scope:
        labels, logits = _pair(labels, logits)
        ones = array.ones_like(labels)
        signs = math.subtract(2 * labels, ones)
        losses = nn.relu(math.subtract(ones, math.multiply(signs, logits)))
        return compute_weighted_loss(losses, weights, scope, loss_collection, reduction)


def sigmoid_cross_entropy(
    multi_class_labels: Any,
    logits: Any,
    weights: Any = 1.0,
    label_smoothing: float = 0,
    scope: str | None = None,
    loss_collection: str | None = GraphKeys.LOSSES,
    reduction: str = _BY_NONZERO,
) -> Tensor:
    """`tf.nn.sigmoid_cross_entropy_with_logits`; smoothing draws labels towards 1/2."""
    _need(multi_class_labels=multi_class_labels, logits=logits)
    values = [logits, multi_class_labels, weights]
    with name_scope(scope, "sigmoid_cross_entropy_loss", values) as scope:
        logits = convert_to_tensor(logits)
        labels = math.cast(multi_class_labels, logits.dtype)
        logits.shape.assert_is_compatible_with(labels.shape)
        if label_smoothing > 0:
            labels = labels * (1 - label_smoothing) + 0.5 * label_smoothing
        losses = xent.sigmoid_cross_entropy_with_logits(
            labels=labels, logits=logits, name="xentropy"
        )
        return compute_weighted_loss(losses, weights, scope, loss_collection, reduction)


def softmax_cross_entropy(
    onehot_labels: Any,
    logits: Any,
    weights: Any = 1.0,
    label_smoothing: float = 0,
    scope: str | None = None,
    loss_collection: str | None = GraphKeys.LOSSES,
    reduction: str = _BY_NONZERO,
) -> Tensor:
    """`tf.nn.softmax_cross_entropy_with_logits`; smoothing draws labels towards 1/classes."""
    _need(onehot_labels=onehot_labels, logits=logits)
    values = [logits, onehot_labels, weights]
    with name_scope(scope, "softmax_cross_entropy_loss", values) as scope:
        logits = convert_to_tensor(logits)
        labels = math.cast(onehot_labels, logits.dtype)
        logits.shape.assert_is_compatible_with(labels.shape)
        if label_smoothing > 0:
            classes = math.cast(array.shape(labels)[-1], logits.dtype)
            uniform = label_smoothing / classes
            labels = labels * (1 - label_smoothing) + uniform
        labels = array.stop_gradient(labels, name="labels_stop_gradient")
        losses = xent.softmax_cross_entropy_with_logits_v2(
            labels=labels, logits=logits, name="xentropy"
        )
        return compute_weighted_loss(losses, weights, scope, loss_collection, reduction)


def sparse_softmax_cross_entropy(
    labels: Any,
    logits: Any,
    weights: Any = 1.0,
    scope: str | None = None,
    loss_collection: str | None = GraphKeys.LOSSES,
    reduction: str = _BY_NONZERO,
) -> Tensor:
    """`tf.nn.sparse_softmax_cross_entropy_with_logits`; labels and weights may have a last 1."""
    _need(labels=labels, logits=logits)
    with name_scope(scope, "sparse_softmax_cross_entropy_loss", [logits, labels, weights]) as scope:
        logits = convert_to_tensor(logits)
        labels = convert_to_tensor(labels)
        if labels.shape.ndims is not None and logits.shape.ndims is not None:
            with name_scope("remove_squeezable_dimensions"):
                if labels.shape.ndims == logits.shape.ndims:
                    labels = array.squeeze(labels, [-1])
        weights = convert_to_tensor(weights, dtype=_float_hint(weights))
        if weights.shape.ndims and labels.shape.ndims == weights.shape.ndims - 1:
            weights = array.squeeze(weights, [-1])
        losses = xent.sparse_softmax_cross_entropy_with_logits(
            labels=labels, logits=logits, name="xentropy"
        )
        return compute_weighted_loss(losses, weights, scope, loss_collection, reduction)


def cosine_distance(
    labels: Any,
    predictions: Any,
    axis: int | None = None,
    weights: Any = 1.0,
    scope: str | None = None,
    loss_collection: str | None = GraphKeys.LOSSES,
    reduction: str = _BY_NONZERO,
    dim: int | None = None,
) -> Tensor:
    """1 - label · prediction along an axis; both are taken to have length 1."""
    axis = either("axis", axis, "dim", dim)
    if axis is None:
        raise ValueError("You must specify argument `axis`.")
    _need(labels=labels, predictions=predictions)
    with name_scope(scope, "cosine_distance_loss", [predictions, labels, weights]) as scope:
        labels, predictions = _pair(labels, predictions)
        product = math.multiply(predictions, labels)
        losses = 1 - reduce.reduce_sum(product, axis=(axis,), keepdims=True)
        return compute_weighted_loss(losses, weights, scope, loss_collection, reduction)


def mean_pairwise_squared_error(
    labels: Any,
    predictions: Any,
    weights: Any = 1.0,
    scope: str | None = None,
    loss_collection: str | None = GraphKeys.LOSSES,
) -> Tensor:
    """((p_i - p_j) - (l_i - l_j))², its mean over pairs of elements of an item, summed over items.

    `weights` is a number, or one for each item of the batch.
    """
    _need(labels=labels, predictions=predictions)
    with name_scope(scope, "mean_pairwise_squared_error", [predictions, labels, weights]):
        weights = math.cast(weights, dtypes.float32)
        labels = math.cast(labels, dtypes.float32)
        with control_dependencies([assert_broadcastable(weights, labels)]):
            predictions = math.cast(predictions, dtypes.float32)
            predictions.shape.assert_is_compatible_with(labels.shape)
            apart = math.subtract(predictions, labels)
            axes = array.range(1, array.rank(apart))
            squares = reduce.reduce_sum(math.square(apart), axes, keepdims=True)
            count = _num_present(apart, weights, per_batch=True)
            mean_square = _per_pair(squares, math.maximum(count - 1, 0))
            square = math.square(reduce.reduce_sum(apart, axes, keepdims=True))
            pairs = math.maximum(math.multiply(count, count - 1), 0)
            square_mean = _per_pair(square, pairs)
            weighted = math.multiply(mean_square - square_mean, weights)
            loss = reduce.reduce_sum(weighted)
            present = reduce.reduce_sum(count) > 0
            mean = gather.where(present, loss, array.zeros_like(loss), name="value")
        add_loss(mean, loss_collection)
        return mean


def _per_pair(x: Tensor, count: Tensor) -> Tensor:
    return 2.0 * math.div_no_nan(x, count, name="value")


# -- the collection --------------------------------------------------------------------------------


def add_loss(loss: Tensor, loss_collection: str | None = GraphKeys.LOSSES) -> None:
    """Add a loss to the collection, if one is named."""
    if loss_collection:
        add_to_collection(loss_collection, loss)


def get_losses(scope: str | None = None, loss_collection: str = GraphKeys.LOSSES) -> list[Tensor]:
    """The losses collected, or those whose names begin with `scope`."""
    return get_collection(loss_collection, scope)


def get_regularization_losses(scope: str | None = None) -> list[Tensor]:
    """The losses of regularizers, or those whose names begin with `scope`."""
    return get_collection(GraphKeys.REGULARIZATION_LOSSES, scope)


def get_regularization_loss(
    scope: str | None = None, name: str = "total_regularization_loss"
) -> Tensor:
    """The sum of the losses of regularizers; 0 if there are none."""
    losses = get_regularization_losses(scope)
    return math.add_n(losses, name=name) if losses else constant(0.0)


def get_total_loss(
    add_regularization_losses: bool = True, name: str = "total_loss", scope: str | None = None
) -> Tensor:
    """The sum of the losses collected, with those of regularizers unless told not to."""
    losses = get_losses(scope)
    if add_regularization_losses:
        losses += get_regularization_losses(scope)
    return math.add_n(losses, name=name)
