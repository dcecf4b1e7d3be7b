"""Moments, normalisation and clipping: compositions of other ops."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from headrace import dtypes, shapes
from headrace.conversion import convert_to_tensor
from headrace.graph import colocate_with, name_scope
from headrace.indexed_slices import IndexedSlices
from headrace.node import Tensor
from headrace.ops import array, gather, math, nn, reduce
from headrace.ops.constant import constant
from headrace.ops.operands import either

# -- moments ---------------------------------------------------------------------------------------


def moments(
    x: Any,
    axes: Any,
    shift: Any = None,
    name: str | None = None,
    keep_dims: bool | None = None,
    keepdims: bool | None = None,
) -> tuple[Tensor, Tensor]:
    """Mean and variance over `axes`; in float16 worked out in float32. `shift` does nothing."""
    del shift
    keep = either("keepdims", keepdims, "keep_dims", keep_dims)
    with name_scope(name, "moments", [x, axes]):
        x = convert_to_tensor(x, name="x")
        narrow = x.dtype.base_dtype is dtypes.float16
        y = math.cast(x, dtypes.float32) if narrow else x
        mean = reduce.reduce_mean(y, axes, keepdims=True, name="mean")
        apart = math.squared_difference(y, array.stop_gradient(mean))
        variance = reduce.reduce_mean(apart, axes, keepdims=True, name="variance")
        return _finish(x, axes, keep, mean, variance)


def weighted_moments(
    x: Any,
    axes: Any,
    frequency_weights: Any,
    name: str | None = None,
    keep_dims: bool | None = None,
    keepdims: bool | None = None,
) -> tuple[Tensor, Tensor]:
    """Mean and variance over `axes`, each element counted `frequency_weights` times."""
    keep = either("keepdims", keepdims, "keep_dims", keep_dims)
    with name_scope(name, "weighted_moments", [x, frequency_weights, axes]):
        x = convert_to_tensor(x, name="x")
        weights = convert_to_tensor(frequency_weights, name="frequency_weights")
        narrow = x.dtype.base_dtype is dtypes.float16
        y = math.cast(x, dtypes.float32) if narrow else x
        weights = math.cast(weights, y.dtype)
        total = reduce.reduce_sum(weights * y, axes, keepdims=True, name="weighted_input_sum")
        # The weights may broadcast: each counts once for every element that it stands for.
        whole = weights + array.zeros_like(y)
        count = reduce.reduce_sum(whole, axes, keepdims=True, name="sum_of_weights")
        mean = math.div_no_nan(total, count)
        apart = math.squared_difference(y, mean)
        spread = reduce.reduce_sum(weights * apart, axes, keepdims=True, name="weighted_distsq")
        return _finish(x, axes, keep, mean, math.div_no_nan(spread, count))


def _finish(
    x: Tensor, axes: Any, keep: bool | None, mean: Tensor, variance: Tensor
) -> tuple[Tensor, Tensor]:
    if not keep:
        mean, variance = array.squeeze(mean, axes), array.squeeze(variance, axes)
    if x.dtype.base_dtype is dtypes.float16:
        mean, variance = math.cast(mean, x.dtype), math.cast(variance, x.dtype)
    return mean, variance


def sufficient_statistics(
    x: Any,
    axes: Any,
    shift: Any = None,
    keep_dims: bool | None = None,
    name: str | None = None,
    keepdims: bool | None = None,
) -> tuple[Tensor, Tensor, Tensor, Tensor | None]:
    """(number of elements, sum, sum of squares, shift) over `axes`; the sums are of x - shift."""
    keep = either("keepdims", keepdims, "keep_dims", keep_dims)
    axes = sorted(set(axes))
    with name_scope(name, "sufficient_statistics", [x, shift]):
        x = convert_to_tensor(x, name="x")
        sizes = x.shape._dims
        if sizes is not None and all(sizes[a] is not None for a in axes):
            count = constant(shapes.product(sizes[a] for a in axes), dtype=x.dtype.base_dtype)
        else:
            rank = array.rank(x)
            positive = [rank + a if a < 0 else a for a in axes]
            along = gather.gather(math.cast(array.shape(x), x.dtype), positive)
            count = reduce.reduce_prod(along, name="count")
        if shift is None:
            values, squares = x, math.square(x)
        else:
            shift = convert_to_tensor(shift, name="shift")
            values, squares = math.subtract(x, shift), math.squared_difference(x, shift)
        total = reduce.reduce_sum(values, axes, keepdims=keep, name="mean_ss")
        total_squares = reduce.reduce_sum(squares, axes, keepdims=keep, name="var_ss")
        return count, total, total_squares, shift


def normalize_moments(
    counts: Any, mean_ss: Any, variance_ss: Any, shift: Any, name: str | None = None
) -> tuple[Tensor, Tensor]:
    """Mean and variance from what `sufficient_statistics` gives."""
    with name_scope(name, "normalize", [counts, mean_ss, variance_ss, shift]):
        divisor = math.reciprocal(counts, name="divisor")
        if shift is None:
            mean = shifted = math.multiply(mean_ss, divisor, name="mean")
        else:
            shifted = math.multiply(mean_ss, divisor, name="shifted_mean")
            mean = math.add(shifted, shift, name="mean")
        mean_square = math.multiply(variance_ss, divisor)
        return mean, math.subtract(mean_square, math.square(shifted), name="variance")


# -- normalisation ---------------------------------------------------------------------------------


def batch_normalization(
    x: Any,
    mean: Any,
    variance: Any,
    offset: Any,
    scale: Any,
    variance_epsilon: float,
    name: str | None = None,
) -> Tensor:
    """scale (x - mean) / sqrt(variance + epsilon) + offset (Ioffe & Szegedy 2015).

    `scale` and `offset` may be None; the others broadcast against x.
    """
    with name_scope(name, "batchnorm", [x, mean, variance, scale, offset]):
        inverse = math.rsqrt(variance + variance_epsilon)
        if scale is not None:
            inverse *= scale
        x = convert_to_tensor(x, name="x")
        scaled = x * math.cast(inverse, x.dtype)
        rest = -mean * inverse if offset is None else offset - mean * inverse
        return scaled + math.cast(rest, x.dtype)


def batch_norm_with_global_normalization(
    t: Any = None,
    m: Any = None,
    v: Any = None,
    beta: Any = None,
    gamma: Any = None,
    variance_epsilon: float | None = None,
    scale_after_normalization: bool | None = None,
    name: str | None = None,
    input: Any = None,
    mean: Any = None,
    variance: Any = None,
) -> Tensor:
    """`batch_normalization` under its old name, scaled only if asked."""
    t = input if t is None else t
    m = mean if m is None else m
    v = variance if v is None else v
    gamma = gamma if scale_after_normalization else None
    return batch_normalization(t, m, v, beta, gamma, variance_epsilon or 0.0, name)


def l2_normalize(
    x: Any, axis: Any = None, epsilon: float = 1e-12, name: str | None = None, dim: Any = None
) -> Tensor:
    """x / sqrt(max(sum x², epsilon)) along an axis, or over all of x."""
    axis = either("axis", axis, "dim", dim)
    with name_scope(name, "l2_normalize", [x]) as scope:
        x = convert_to_tensor(x, name="x")
        total = reduce.reduce_sum(math.square(x), axis, keepdims=True)
        return math.multiply(x, math.rsqrt(math.maximum(total, epsilon)), name=scope)


# -- clipping --------------------------------------------------------------------------------------


def clip_by_value(t: Any, clip_value_min: Any, clip_value_max: Any, name: str | None = None) -> Any:
    """t with what is below the minimum or above the maximum put there; of IndexedSlices, those."""
    with name_scope(name, "clip_by_value", [_dense(t), clip_value_min, clip_value_max]) as scope:
        values = convert_to_tensor(_dense(t), name="t")
        below = math.minimum(values, clip_value_max)
        _same_shape(values, below)
        clipped = math.maximum(below, clip_value_min, name=scope)
        _same_shape(values, clipped)
        return _like(t, clipped)


def clip_by_norm(t: Any, clip_norm: Any, axes: Any = None, name: str | None = None) -> Any:
    """t scaled down to an L2 norm of `clip_norm` where it has more, over `axes` or all of it."""
    with name_scope(name, "clip_by_norm", [_dense(t), clip_norm]) as scope:
        values = convert_to_tensor(_dense(t), name="t")
        squares = reduce.reduce_sum(values * values, axes, keepdims=True)
        # Where the norm is zero the root's gradient is infinite: take the root of something else.
        positive = squares > 0
        safe = gather.where(positive, squares, array.ones_like(squares))
        norm = gather.where(positive, math.sqrt(safe), squares)
        scaled = values * clip_norm
        _same_shape(values, scaled)
        return _like(t, array.identity(scaled / math.maximum(norm, clip_norm), name=scope))


def clip_by_average_norm(t: Any, clip_norm: Any, name: str | None = None) -> Tensor:
    """t scaled down to an L2 norm of `clip_norm` for each element on average."""
    with name_scope(name, "clip_by_average_norm", [t, clip_norm]) as scope:
        t = convert_to_tensor(t, name="t")
        count = math.cast(array.size(t), dtypes.float32)
        inverse = math.rsqrt(reduce.reduce_sum(t * t, array.range(array.rank(t))))
        raised = t * clip_norm
        limit = constant(1.0, dtype=t.dtype.base_dtype) / clip_norm
        return array.identity(raised * math.minimum(inverse * count, limit), name=scope)


def global_norm(t_list: Any, name: str | None = None) -> Tensor | None:
    """The L2 norm of all elements of all tensors together; None in the list is passed over."""
    tensors = _listed(t_list)
    with name_scope(name, "global_norm", [_dense(t) for t in tensors]):
        values = _values(tensors)
        halves = []
        for v in values:
            if v is not None:
                with colocate_with(v):
                    halves.append(nn.l2_loss(v))
        half = reduce.reduce_sum(array.stack(halves))
        return math.sqrt(half * constant(2.0, dtype=half.dtype), name="global_norm")


def clip_by_global_norm(
    t_list: Any, clip_norm: Any, use_norm: Any = None, name: str | None = None
) -> tuple[list[Any], Tensor]:
    """(tensors scaled down to a global norm of `clip_norm`, their global norm).

    If the norm is infinite or NaN so is all of the result (Pascanu, Mikolov & Bengio 2012).
    """
    tensors = _listed(t_list)
    if use_norm is None:
        use_norm = global_norm(tensors, name)
    with name_scope(name, "clip_by_global_norm", [*map(_dense, tensors), clip_norm]) as scope:
        inverse = 1.0 / use_norm
        limit = constant(1.0, dtype=use_norm.dtype.base_dtype) / clip_norm
        scale = clip_norm * math.minimum(inverse, limit)
        scale = scale + (use_norm - use_norm)  # NaN, and not 0, for an infinite norm
        clipped: list[Any] = []
        for i, (t, v) in enumerate(zip(tensors, _values(tensors), strict=True)):
            if v is None:
                clipped.append(None)
                continue
            with colocate_with(v):
                clipped.append(_like(t, array.identity(v * scale, name=f"{scope}_{i}")))
        return clipped, use_norm


def _listed(t_list: Any) -> list[Any]:
    if not isinstance(t_list, Sequence) or isinstance(t_list, str):
        raise TypeError(f"`t_list` should be a sequence of tensors. Received {type(t_list)}.")
    return list(t_list)


def _values(tensors: list[Any]) -> list[Any]:
    return [
        None if t is None else convert_to_tensor(_dense(t), name=f"t_{i}")
        for i, t in enumerate(tensors)
    ]


def _dense(t: Any) -> Any:
    return t.values if isinstance(t, IndexedSlices) else t


def _like(t: Any, values: Tensor) -> Any:
    if isinstance(t, IndexedSlices):
        return IndexedSlices(values, t.indices, t.dense_shape)
    return values


def _same_shape(values: Tensor, result: Tensor) -> None:
    """ValueError if a limit has broadcast the values to another shape."""
    values.shape.assert_is_compatible_with(result.shape)
