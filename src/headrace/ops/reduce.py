"""Reductions along axes, and what is built of them: means, norms of deviations, log-sum-exp."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from headrace import dtypes, shapes
from headrace.conversion import convert_to_tensor
from headrace.dtypes import DType, as_dtype
from headrace.folding import constant_value
from headrace.graph import name_scope
from headrace.node import Tensor
from headrace.opdef import NOT_DIFFERENTIABLE, REGISTRY, OpDef, Spec, op
from headrace.ops import array, math
from headrace.ops.constant import constant
from headrace.ops.operands import checked_axis, either, wide
from headrace.xp import numpy as host

# -- what reductions share -------------------------------------------------------------------------


def _axes_of(x: Any, axes: Any) -> tuple[int, ...]:
    """The axes to reduce, counted from the front, in order, each once."""
    rank = x.ndim
    found = {int(a) for a in np.ravel(axes)}
    for a in found:
        host.check(
            -rank <= a < rank,
            lambda a=a: f"Invalid reduction dimension ({a} for input with {rank} dimension(s)",
        )
    return tuple(sorted(a % rank for a in found))


def _reduced_shape(x: Spec, axes: Spec, keep_dims: bool) -> shapes.Shape:
    if axes.shape is not None and len(axes.shape) > 1:
        raise ValueError(f"Shape must be at most rank 1 but is rank {len(axes.shape)}")
    value = axes.value
    if x.shape is None or value is None:
        return None if x.shape is None or not keep_dims else (None,) * len(x.shape)
    rank = len(x.shape)
    gone = set()
    for a in np.ravel(value).tolist():
        if not -rank <= a < rank:
            raise ValueError(f"Invalid reduction dimension {a} for input with {rank} dimensions.")
        gone.add(a % rank)
    if keep_dims:
        return tuple(1 if i in gone else d for i, d in enumerate(x.shape))
    return shapes.drop(x.shape, gone)


def _reduction(
    name: str, kernel: Callable[..., Any], gradient: Any, types: Any = dtypes.NUMBERS
) -> OpDef:
    """An op that reduces along static axes: `kernel(xp, x, axes, keep_dims)`."""

    def run(xp: Any, x: Any, axes: Any, *, keep_dims: bool = False) -> Any:
        y = kernel(xp, x, _axes_of(x, axes), keep_dims)
        return y if y.dtype == x.dtype else y.astype(x.dtype)

    kind = {"T": types} if isinstance(types, tuple) else {}
    t = "T" if kind else types
    made = op(
        name,
        f"input: {t}, reduction_indices: Tidx -> output: {t}",
        static=(1,),
        Tidx=dtypes.INDICES,
        **kind,
    )(run)
    made.def_infer(lambda x, axes, *, keep_dims: _reduced_shape(x, axes, keep_dims))
    made.gradient = gradient if isinstance(gradient, str) else _along_first(gradient)
    return made


def _along_first(gradient: Any) -> Callable[..., Any]:
    return lambda op, dy: (gradient(op, dy), None)


def _static_axes(op: Any) -> tuple[int, ...] | None:
    """The reduced axes counted from the front, if they are known when the graph is built."""
    x, axes = op.inputs
    value = constant_value(axes)
    if value is None or x._dims is None:
        return None
    return tuple(sorted({int(a) % len(x._dims) for a in value.ravel()}))


def _aligned(op: Any, y: Any) -> Any:
    """A tensor of the op's result shape with the reduced axes put back, of size 1."""
    x = op.inputs[0]
    axes = _static_axes(op)
    if op.attrs["keep_dims"] or y._dims == () == x._dims:
        return y
    if axes is None:
        kept = _sum(x, op.inputs[1], keep_dims=True)
        return array.reshape(y, array.shape(kept))
    if len(axes) == len(x._dims):
        return array.reshape(y, [1] * len(axes))
    for a in axes:
        y = array.expand_dims(y, a)
    return y


def _spread(op: Any, y: Any) -> Any:
    """A tensor of the op's result shape, repeated along the reduced axes to the operand's shape."""
    x = op.inputs[0]
    if y._dims != () or op.attrs["keep_dims"]:
        y = _aligned(op, y)
    return array.broadcast_to(y, x._dims if shapes.is_full(x._dims) else array.shape(x))


def _reduced_count(op: Any) -> Any:
    """How many elements went into each of the result: an int, or a tensor of the result's type."""
    x, y = op.inputs[0], op.outputs[0]
    axes = _static_axes(op)
    sizes = None if axes is None else [x._dims[a] for a in axes]
    if sizes is not None and None not in sizes:
        return shapes.product(sizes)
    count = array.size(x) // math.maximum(array.size(y), 1)
    return math.cast(count, y.dtype.base_dtype)


# -- the reductions --------------------------------------------------------------------------------


def _sum_kernel(xp: Any, x: Any, axes: Any, keep: bool) -> Any:
    x = wide(x)
    return xp.sum(x, axis=axes, keepdims=keep, dtype=x.dtype)


def _mean_kernel(xp: Any, x: Any, axes: Any, keep: bool) -> Any:
    x = wide(x)
    total = xp.sum(x, axis=axes, keepdims=keep, dtype=x.dtype)
    n = shapes.product(x.shape[a] for a in axes)
    if x.dtype.kind not in "iu":
        return total / n
    return xp.sign(total) * (xp.abs(total) // max(n, 1))  # towards zero, as C divides


def _prod_kernel(xp: Any, x: Any, axes: Any, keep: bool) -> Any:
    x = wide(x)
    y = xp.prod(x, axis=axes, keepdims=keep, dtype=x.dtype)
    return np.asarray(y, object) if x.dtype == object else y


def _extreme_kernel(function: str, sign: int) -> Callable[..., Any]:
    def kernel(xp: Any, x: Any, axes: Any, keep: bool) -> Any:
        if x.size:
            return getattr(xp, function)(x, axis=axes, keepdims=keep)
        return getattr(xp, function)(x, axis=axes, keepdims=keep, initial=_extreme(x.dtype, sign))

    return kernel


def _extreme(dtype: Any, sign: int) -> Any:
    """The largest value of a type (sign 1) or the smallest (-1): what nothing has for minimum."""
    if dtype.kind in "fV":
        return np.asarray(sign * np.inf, dtype)[()]
    limits = np.iinfo(dtype)
    return np.asarray(limits.max if sign > 0 else limits.min, dtype)[()]


def _euclidean_kernel(xp: Any, x: Any, axes: Any, keep: bool) -> Any:
    return xp.sqrt(_sum_kernel(xp, xp.square(xp.abs(wide(x))), axes, keep))


def _prod_gradient(op: Any, dy: Any) -> Any:
    """Of each element the product of the others: of those before and after it along each axis."""
    x, axes = op.inputs[0], _static_axes(op)
    if axes is None:
        raise NotImplementedError(
            f"The gradient of {op.name!r} (op: 'Prod') needs axes that are constant and an operand "
            f"of known rank, not {x}. Give the axes as Python numbers."
        )
    others: Any = None
    for a in axes:
        before = cumprod(x, a, exclusive=True)
        rest = before * cumprod(x, a, exclusive=True, reverse=True)
        others = rest if others is None else others * rest
        x = _prod(x, a, keep_dims=True)
    return dy if others is None else _aligned(op, dy) * math.conj(others)


def _extreme_gradient(op: Any, dy: Any) -> Any:
    """The gradient is shared equally by the elements that attain the extreme."""
    x, axes = op.inputs
    chosen = math.cast(math.equal(x, _aligned(op, op.outputs[0])), dy.dtype.base_dtype)
    return chosen * (_aligned(op, dy) / _sum(chosen, axes, keep_dims=True))


def _euclidean_gradient(op: Any, dy: Any) -> Any:
    x, y = op.inputs[0], op.outputs[0]
    if dy.dtype.is_complex:  # the norm is real, whatever its type
        dy = math.cast(math.real(dy), dy.dtype)
    return x * _aligned(op, dy / math.conj(y))


_sum = _reduction("Sum", _sum_kernel, _spread)
_mean = _reduction("Mean", _mean_kernel, lambda op, dy: _spread(op, dy / _reduced_count(op)))
_prod = _reduction("Prod", _prod_kernel, _prod_gradient)
_max = _reduction("Max", _extreme_kernel("max", -1), _extreme_gradient, dtypes.REALS)
_min = _reduction("Min", _extreme_kernel("min", 1), _extreme_gradient, dtypes.REALS)
_all = _reduction(
    "All", lambda xp, x, axes, keep: xp.all(x, axis=axes, keepdims=keep), NOT_DIFFERENTIABLE, "bool"
)
_any = _reduction(
    "Any", lambda xp, x, axes, keep: xp.any(x, axis=axes, keepdims=keep), NOT_DIFFERENTIABLE, "bool"
)
_euclidean_norm = _reduction(
    "EuclideanNorm",
    _euclidean_kernel,
    _euclidean_gradient,
    dtypes.DIFFERENTIABLE,
)


def _axes(x: Any, axis: Any) -> Any:
    """The axes as an operand: all there are if none is given."""
    if axis is not None:
        return axis
    shape = getattr(x, "shape", None) if hasattr(x, "_as_graph_element") else None
    if shape is not None and shape.ndims:  # TensorFlow counts the axes of a scalar in the run
        return constant(np.arange(shape.ndims, dtype=np.int32))
    return array.range(0, array.rank(x))


def _function(definition: OpDef, name: str, doc: str) -> Callable[..., Tensor]:
    def reduce(
        input_tensor: Any,
        axis: Any = None,
        keepdims: Any = None,
        name: str | None = None,
        reduction_indices: Any = None,
        keep_dims: Any = None,
    ) -> Tensor:
        axis = either("axis", axis, "reduction_indices", reduction_indices)
        keep = bool(either("keepdims", keepdims, "keep_dims", keep_dims))
        y = definition(input_tensor, _axes(input_tensor, axis), keep_dims=keep, name=name)
        if axis is None and not keep:
            y.set_shape(())
        return y

    reduce.__name__ = reduce.__qualname__ = name
    reduce.__doc__ = f"{doc}\n\nWithout `axis`, along all axes; `keepdims` leaves them, of size 1."
    return reduce


reduce_sum = _function(_sum, "reduce_sum", "The sum along axes.")
reduce_mean = _function(_mean, "reduce_mean", "The mean along axes; of integers an integer.")
reduce_prod = _function(_prod, "reduce_prod", "The product along axes.")
reduce_max = _function(_max, "reduce_max", "The greatest element along axes.")
reduce_min = _function(_min, "reduce_min", "The smallest element along axes.")
reduce_all = _function(_all, "reduce_all", "Whether all elements along axes are true.")
reduce_any = _function(_any, "reduce_any", "Whether any element along axes is true.")


def reduce_euclidean_norm(
    input_tensor: Any, axis: Any = None, keepdims: bool = False, name: str | None = None
) -> Tensor:
    """The root of the sum of squares along axes, or of all elements."""
    axes = _axes(input_tensor, axis)
    return _euclidean_norm(input_tensor, axes, keep_dims=bool(keepdims), name=name)


# -- built of reductions ---------------------------------------------------------------------------


def reduce_logsumexp(
    input_tensor: Any,
    axis: Any = None,
    keepdims: Any = None,
    name: str | None = None,
    reduction_indices: Any = None,
    keep_dims: Any = None,
) -> Tensor:
    """log Σ eˣ along axes, or of all elements, without overflow."""
    axis = either("axis", axis, "reduction_indices", reduction_indices)
    keep = bool(either("keepdims", keepdims, "keep_dims", keep_dims))
    with name_scope(name, "ReduceLogSumExp", [input_tensor]) as scope:
        x = convert_to_tensor(input_tensor)
        top = reduce_max(x, axis, keepdims=True)
        finite = math.is_finite(top)
        top = array.stop_gradient(REGISTRY["SelectV2"](finite, top, 0))
        total = reduce_sum(math.exp(math.subtract(x, top)), axis, keepdims=keep)
        result = math.log(total)
        if not keep:
            top = array.reshape(top, array.shape(result, optimize=False))
        return math.add(result, top, name=scope)


def reduce_variance(
    input_tensor: Any, axis: Any = None, keepdims: bool = False, name: str | None = None
) -> Tensor:
    """The mean square of the deviations from the mean along axes. TypeError for integers."""
    with name_scope(name, "reduce_variance"):
        x = convert_to_tensor(input_tensor)
        mean = reduce_mean(x, axis=axis, keepdims=True)
        if mean.dtype.is_integer:
            raise TypeError(
                f"Input must be either real or complex. Received integer type {mean.dtype}."
            )
        diff = x - mean
        if diff.dtype.is_complex:
            square = math.cast(math.real(diff * math.conj(diff)), diff.dtype.real_dtype)
        else:
            square = math.square(diff)
        return reduce_mean(square, axis=axis, keepdims=keepdims)


def reduce_std(
    input_tensor: Any, axis: Any = None, keepdims: bool = False, name: str | None = None
) -> Tensor:
    """The standard deviation along axes, the root of `reduce_variance`."""
    with name_scope(name, "reduce_std"):
        x = convert_to_tensor(input_tensor)
        return math.sqrt(reduce_variance(x, axis=axis, keepdims=keepdims))


def count_nonzero(
    input_tensor: Any = None,
    axis: Any = None,
    keepdims: Any = None,
    dtype: Any = dtypes.int64,
    name: str | None = None,
    reduction_indices: Any = None,
    keep_dims: Any = None,
    input: Any = None,
) -> Tensor:
    """How many elements along axes are not zero (not empty, for strings)."""
    axis = either("axis", axis, "reduction_indices", reduction_indices)
    keep = bool(either("keepdims", keepdims, "keep_dims", keep_dims))
    x = either("input", input, "input_tensor", input_tensor)
    with name_scope(name, "count_nonzero", [x]):
        x = convert_to_tensor(x, name="input")
        if not x.dtype.is_bool:
            x = math.not_equal(x, array.zeros((), x.dtype.base_dtype))
        count = reduce_sum(math.cast(x, dtypes.int64), axis, keepdims=keep)
        return math.cast(count, as_dtype(dtype))


# -- where the extreme is --------------------------------------------------------------------------


def _position(name: str) -> OpDef:
    def run(xp: Any, x: Any, axis: Any, *, output_type: DType = dtypes.int64) -> Any:
        a = checked_axis(int(np.reshape(axis, ())), x.ndim)
        return getattr(xp, name.lower())(x, axis=a).astype(output_type.numpy)

    made = op(
        name,
        "input: T, dimension: Tidx -> output: output_type",
        static=(1,),
        T=(*dtypes.REALS, dtypes.bool_),
        Tidx=(dtypes.int16, *dtypes.INDICES),
    )(run)
    made.def_infer(_position_shape)
    made.gradient = NOT_DIFFERENTIABLE
    return made


def _position_shape(x: Spec, axis: Spec, *, output_type: DType) -> shapes.Shape:
    shapes.with_rank(axis.shape, 0)
    if x.shape is None:
        return None
    rank, value = len(x.shape), axis.value
    if value is None:
        return (None,) * (rank - 1)
    a = int(value)
    if not -rank <= a < rank:
        raise ValueError(
            f"Dimension ({a}) must be in the range [{-rank}, {rank}), where {rank} is the number "
            "of dimensions in the input."
        )
    return shapes.drop(x.shape, (a % rank,))


_arg_max = _position("ArgMax")
_arg_min = _position("ArgMin")


def _position_function(definition: OpDef, name: str, doc: str) -> Callable[..., Tensor]:
    def find(
        input: Any,
        axis: Any = None,
        name: str | None = None,
        dimension: Any = None,
        output_type: Any = dtypes.int64,
    ) -> Tensor:
        axis = either("axis", axis, "dimension", dimension)
        axis = 0 if axis is None else axis
        return definition(input, axis, output_type=as_dtype(output_type), name=name)

    find.__name__ = find.__qualname__ = name
    find.__doc__ = doc
    return find


argmax = _position_function(_arg_max, "argmax", "Where along an axis the greatest element is.")
argmin = _position_function(_arg_min, "argmin", "Where along an axis the smallest element is.")


def arg_max(
    input: Any, dimension: Any, output_type: Any = dtypes.int64, name: str | None = None
) -> Tensor:
    """`argmax` under its old name."""
    return argmax(input, dimension, name=name, output_type=output_type)


def arg_min(
    input: Any, dimension: Any, output_type: Any = dtypes.int64, name: str | None = None
) -> Tensor:
    """`argmin` under its old name."""
    return argmin(input, dimension, name=name, output_type=output_type)


# -- running totals --------------------------------------------------------------------------------


def _scan(name: str, kernel: str, start: int) -> OpDef:
    def run(xp: Any, x: Any, axis: Any, *, exclusive: bool = False, reverse: bool = False) -> Any:
        a, rank = int(np.reshape(axis, ())), x.ndim
        host.check(
            -rank <= a < rank,
            lambda: f"ScanOp: Expected scan axis in the range [{-rank}, {rank}), but got {a}",
        )
        summed = wide(x)
        if reverse:
            summed = xp.flip(summed, a)
        if exclusive and x.shape[a]:
            shape = list(x.shape)
            shape[a] = 1
            first = xp.full(shape, start, summed.dtype)
            summed = xp.concatenate([first, xp.take(summed, np.arange(x.shape[a] - 1), a)], a)
        y = getattr(xp, kernel)(summed, axis=a, dtype=summed.dtype)
        return (xp.flip(y, a) if reverse else y).astype(x.dtype)

    made = op(
        name, "x: T, axis: Tidx -> out: T", static=(1,), T=dtypes.NUMBERS, Tidx=dtypes.INDICES
    )(run)
    made.def_infer(_scan_shape)
    return made


def _scan_shape(x: Spec, axis: Spec, *, exclusive: bool, reverse: bool) -> shapes.Shape:
    shapes.with_rank(axis.shape, 0)
    return x.shape


_cumsum = _scan("Cumsum", "cumsum", 0)
_cumprod = _scan("Cumprod", "cumprod", 1)


@_cumsum.def_gradient
def _(op: Any, dy: Any) -> Any:
    exclusive, reverse = op.attrs["exclusive"], op.attrs["reverse"]
    return _cumsum(dy, op.inputs[1], exclusive=exclusive, reverse=not reverse), None


@_cumprod.def_gradient
def _(op: Any, dy: Any) -> Any:
    # Σ dy conj(y) from here on, over x. Where x is the first zero of its row, the products that
    # leave it out are those of the row with 1 in its place; after a second zero they are all 0.
    x, axis = op.inputs
    exclusive, reverse = op.attrs["exclusive"], op.attrs["reverse"]

    def sums(y: Any) -> Any:
        return _cumsum(math.conj(y) * dy, axis, exclusive=exclusive, reverse=not reverse)

    zero = math.cast(math.equal(x, 0), x.dtype.base_dtype)
    first = zero * math.cast(math.equal(_cumsum(zero, axis, reverse=reverse), 1), zero.dtype)
    full = x + first
    without = sums(_cumprod(full, axis, exclusive=exclusive, reverse=reverse)) / math.conj(x + zero)
    return math.div_no_nan(sums(op.outputs[0]), math.conj(x)) + first * without, None


def cumsum(
    x: Any, axis: Any = 0, exclusive: bool = False, reverse: bool = False, name: str | None = None
) -> Tensor:
    """The running sum along an axis: [a, a + b, a + b + c].

    `exclusive` leaves each element out of its own sum; `reverse` runs from the end.
    """
    return _cumsum(x, axis, exclusive=exclusive, reverse=reverse, name=name)


def cumprod(
    x: Any, axis: Any = 0, exclusive: bool = False, reverse: bool = False, name: str | None = None
) -> Tensor:
    """The running product along an axis: [a, ab, abc]; the flags are those of `cumsum`."""
    return _cumprod(x, axis, exclusive=exclusive, reverse=reverse, name=name)
