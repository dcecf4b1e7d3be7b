"""Passing on, shapes, and the same elements in another shape or order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from headrace import dtypes, shapes
from headrace.conversion import convert_to_tensor
from headrace.dtypes import DType, as_dtype
from headrace.folding import UNKNOWN, Spec, constant_value
from headrace.graph import name_scope
from headrace.node import Tensor
from headrace.opdef import NOT_DIFFERENTIABLE, op, same_shape
from headrace.ops.constant import constant
from headrace.ops.counting import range_op
from headrace.ops.operands import agree, axis_of, checked_axis, divide_size, either, shape_operand
from headrace.shapes import Shape, TensorShape
from headrace.xp import numpy as host

# -- passing on ------------------------------------------------------------------------------------


def _same(xp: Any, x: Any) -> Any:
    return x


def _pass_on(op: Any, dy: Any) -> Any:
    return dy


_identity = op("Identity", "input: T -> output: T")(_same)
_guarantee_const = op("GuaranteeConst", "input: T -> output: T")(_same)
_stop_gradient = op("StopGradient", "input: T -> output: T")(_same)
_identity.infer = _guarantee_const.infer = _stop_gradient.infer = same_shape
_identity.gradient = _guarantee_const.gradient = _pass_on
_stop_gradient.gradient = NOT_DIFFERENTIABLE


def identity(input: Any, name: str | None = None) -> Tensor:
    """The input, as a tensor of its own."""
    return _identity(input, name=name)


def guarantee_const(input: Any, name: str | None = None) -> Tensor:
    """The input, which the caller promises not to change."""
    return _guarantee_const(input, name=name)


def stop_gradient(input: Any, name: str | None = None) -> Tensor:
    """The input, which gradients take for a constant."""
    return _stop_gradient(input, name=name)


@op("PreventGradient", "input: T -> output: T")
def _prevent_gradient(xp: Any, x: Any, *, message: str = "") -> Any:
    return x


_prevent_gradient.infer = same_shape


@_prevent_gradient.def_gradient
def _(op: Any, dy: Any) -> Any:
    raise LookupError(f"Gradient explicitly disabled. Reason: {op.attrs['message']!r}")


def prevent_gradient(input: Any, message: str = "", name: str | None = None) -> Tensor:
    """The input; asking for a gradient through it is a LookupError that says `message`."""
    return _prevent_gradient(input, message=message, name=name)


@op("IdentityN", "input: *T -> output: *T")
def _identity_n(xp: Any, xs: Any) -> Any:
    return list(xs)


@_identity_n.def_infer
def _(xs: list[Spec]) -> list[Shape]:
    return [x.shape for x in xs]


@_identity_n.def_gradient
def _(op: Any, *dys: Any) -> Any:
    return dys


def identity_n(input: Sequence[Any], name: str | None = None) -> list[Tensor]:
    """The inputs, as tensors of one op."""
    return _identity_n(list(input), name=name)


@op("EnsureShape", "input: T -> output: T")
def _ensure_shape(xp: Any, x: Any, *, shape: TensorShape) -> Any:
    host.check(
        shapes.compatible(x.shape, shape._dims),
        lambda: (
            f"Shape of tensor input {shapes.brackets(x.shape)} is not compatible with expected "
            f"shape {shapes.brackets(shape._dims)}."
        ),
    )
    return x


@_ensure_shape.def_infer
def _(x: Spec, *, shape: TensorShape) -> Shape:
    return agree(shape._dims, x.shape)


_ensure_shape.gradient = _pass_on


def ensure_shape(x: Any, shape: Any, name: str | None = None) -> Tensor:
    """x; what is not of the (partly unknown) shape is refused, in the build or in the run."""
    return _ensure_shape(x, shape=TensorShape(shape), name=name or "EnsureShape")


# -- shape, size, rank -----------------------------------------------------------------------------


def _sizes(sizes: Sequence[Any], dtype: DType) -> np.ndarray:
    unknown = any(d is UNKNOWN for d in sizes)
    return np.array(sizes, object if unknown else dtype.numpy)


@op("Shape", "input: T -> output: out_type", shape_only=True)
def _shape(xp: Any, x: Any, *, out_type: DType = dtypes.int32) -> Any:
    return _sizes(x.shape, out_type)


@op("ShapeN", "input: N*T -> output: N*out_type", shape_only=True)
def _shape_n(xp: Any, xs: Any, *, out_type: DType = dtypes.int32) -> Any:
    return [_sizes(x.shape, out_type) for x in xs]


@op("Size", "input: T -> output: out_type", shape_only=True)
def _size(xp: Any, x: Any, *, out_type: DType = dtypes.int32) -> Any:
    size = shapes.product(x.shape)
    return np.array(size, object if size is UNKNOWN else out_type.numpy)


@op("Rank", "input: T -> output: int32", shape_only=True)
def _rank(xp: Any, x: Any) -> Any:
    return np.array(len(x.shape), np.int32)


@_shape.def_infer
def _(x: Spec, *, out_type: DType) -> Shape:
    return (None if x.shape is None else len(x.shape),)


@_shape_n.def_infer
def _(xs: list[Spec], *, out_type: DType) -> list[Shape]:
    return [(None if x.shape is None else len(x.shape),) for x in xs]


@_size.def_infer
def _(x: Spec, *, out_type: DType) -> Shape:
    return ()


@_rank.def_infer
def _(x: Spec) -> Shape:
    return ()


for _made in (_shape, _shape_n, _size, _rank):
    _made.gradient = NOT_DIFFERENTIABLE


def shape(
    input: Any, name: str | None = None, out_type: Any = dtypes.int32, optimize: bool = True
) -> Tensor:
    """The sizes of `input`: [rank]. A constant where they are all known now."""
    with name_scope(name, "Shape", [input]) as scope:
        x = convert_to_tensor(input)
        if optimize and shapes.is_full(x._dims):
            return constant(np.array(x._dims, as_dtype(out_type).numpy), name=scope)
        return _shape(x, out_type=out_type, name=scope)


def shape_n(
    input: Sequence[Any], out_type: Any = dtypes.int32, name: str | None = None
) -> list[Tensor]:
    """The sizes of each input."""
    return _shape_n(list(input), out_type=as_dtype(out_type), name=name)


def size(
    input: Any, name: str | None = None, out_type: Any = dtypes.int32, optimize: bool = True
) -> Tensor:
    """The number of elements of `input`. A constant where it is known now."""
    with name_scope(name, "Size", [input]) as scope:
        x = convert_to_tensor(input)
        if optimize and shapes.is_full(x._dims):
            return constant(np.array(shapes.count(x._dims), as_dtype(out_type).numpy), name=scope)
        return _size(x, out_type=out_type, name=scope)


def rank(input: Any, name: str | None = None, optimize: bool = True) -> Tensor:
    """The number of axes of `input`. A constant where it is known now."""
    with name_scope(name, "Rank", [input]) as scope:
        x = convert_to_tensor(input)
        if optimize and x._dims is not None:
            return constant(np.array(len(x._dims), np.int32), name=scope)
        return _rank(x, name=scope)


# -- the same elements in another shape ------------------------------------------------------------


@op("Reshape", "tensor: T, shape: Tshape -> output: T", static=(1,), Tshape=dtypes.INDICES)
def _reshape(xp: Any, x: Any, shape: Any) -> Any:
    sizes = tuple(shape.tolist())
    for i, d in enumerate(sizes):
        host.check(d >= -1, lambda i=i, d=d: f"Size {i} must be non-negative, not {d}")
    if sizes.count(-1) > 1:
        first = sizes.index(-1)
        host.check(
            False,
            f"Only one input size may be -1, not both {first} and {sizes.index(-1, first + 1)}",
        )
    have = shapes.product(x.shape)
    if -1 in sizes:
        sizes = _with_the_missing(x.shape, sizes)
    host.check(
        shapes.product(sizes) == have,
        lambda: (
            f"Input to reshape is a tensor with {have} values, but the requested shape has "
            f"{shapes.product(sizes)}"
        ),
    )
    return xp.reshape(x, sizes)


def _with_the_missing(shape: tuple[int, ...], sizes: tuple[int, ...]) -> tuple[int, ...]:
    """Sizes with the -1 found out; sizes of 0 are left aside where both shapes have one."""
    known = shapes.product(d for d in sizes if d not in (-1, 0))
    have = shapes.product(d for d in shape if d or 0 not in sizes)
    host.check(
        have % known == 0 or (0 in sizes and 0 in shape),
        lambda: (
            f"Input to reshape is a tensor with {have} values, but the requested shape requires a "
            f"multiple of {known}"
        ),
    )
    return tuple(have // known if d == -1 else d for d in sizes)


@_reshape.def_infer
def _(x: Spec, shape: Spec) -> Shape:
    out = shape_operand(shape)
    if out is None or x.shape is None:
        return out
    lacking = [i for i, d in enumerate(out) if d is None]
    open_in = x.shape.count(None)
    if len(lacking) > 1 or open_in > 1:
        return out
    want = shapes.product(d for d in out if d is not None)
    have = shapes.product(d for d in x.shape if d is not None)
    if not lacking and not open_in:
        if want != have:
            raise ValueError(
                f"Cannot reshape a tensor with {have} elements to shape {shapes.brackets(out)} "
                f"({want} elements)"
            )
    elif lacking and not open_in:
        if want:
            i = lacking[0]
            return (*out[:i], divide_size(have, want), *out[i + 1 :])
        if not have and -1 in shape.sizes:  # type: ignore[operator]
            return _with_the_missing(x.shape, shape.sizes)  # type: ignore[arg-type]
    elif open_in and not lacking and have:
        divide_size(want, have)
    return out


def _unshape(op: Any, dy: Any) -> Any:
    """The gradient of what only gives another shape to its first operand."""
    dx = reshape(dy, shape(op.inputs[0]))
    return dx if len(op.inputs) == 1 else (dx, None)


_reshape.gradient = _unshape


def reshape(tensor: Any, shape: Any, name: str | None = None) -> Tensor:
    """The same elements in row-major order as another shape, in which one size may be -1.

    ValueError if the numbers of elements clash, InvalidArgumentError if only the run shows it.
    """
    return _reshape(tensor, shape, name=name)


@op("ExpandDims", "input: T, dim: Tdim -> output: T", static=(1,), Tdim=dtypes.INDICES)
def _expand_dims(xp: Any, x: Any, axis: Any) -> Any:
    rank = x.ndim
    axis = int(np.reshape(axis, ()))
    host.check(
        -rank - 1 <= axis <= rank,
        lambda: f"Tried to expand dim index {axis} for tensor with {rank} dimensions.",
    )
    return xp.expand_dims(x, axis)


@_expand_dims.def_infer
def _(x: Spec, dim: Spec) -> Shape:
    axis = axis_of(dim)
    if x.shape is None or axis is None:
        return None
    rank = len(x.shape)
    if not -rank - 1 <= axis <= rank:
        raise ValueError(f"dim {axis} not in the interval [{-rank - 1}, {rank}].")
    at = axis % (rank + 1)
    return (*x.shape[:at], 1, *x.shape[at:])


_expand_dims.gradient = _unshape


def expand_dims(input: Any, axis: Any = None, name: str | None = None, dim: Any = None) -> Tensor:
    """The input with an axis of size 1 put in at `axis`."""
    axis = either("axis", axis, "dim", dim)
    if axis is None:
        raise ValueError("Must specify an axis argument to tf.expand_dims()")
    return _expand_dims(input, axis, name=name)


@op("Squeeze", "input: T -> output: T")
def _squeeze(xp: Any, x: Any, *, squeeze_dims: Sequence[int] = ()) -> Any:
    axes = tuple(checked_axis(a, x.ndim) for a in squeeze_dims)
    for a in axes:
        host.check(
            x.shape[a] == 1,
            lambda a=a: f"Can not squeeze dim[{a}], expected a dimension of 1, got {x.shape[a]}",
        )
    return xp.squeeze(x, axes or None)


@_squeeze.def_infer
def _(x: Spec, *, squeeze_dims: Sequence[int]) -> Shape:
    if x.shape is None:
        return None
    if not squeeze_dims:
        return None if None in x.shape else tuple(d for d in x.shape if d != 1)
    rank = len(x.shape)
    axes = set()
    for axis in squeeze_dims:
        if not -rank <= axis < rank:
            raise ValueError(f"squeeze_dims[0] not in [{-rank},{rank}).")
        axes.add(axis % rank)
    for a in sorted(axes):
        if x.shape[a] not in (1, None):
            raise ValueError(
                f"Can not squeeze dim[{a}], expected a dimension of 1, got {x.shape[a]}"
            )
    return shapes.drop(x.shape, axes)


_squeeze.gradient = _unshape


def squeeze(
    input: Any, axis: Any = None, name: str | None = None, squeeze_dims: Any = None
) -> Tensor:
    """The input without its axes of size 1, or without those of them that `axis` names."""
    axis = either("axis", axis, "squeeze_dims", squeeze_dims)
    axes = () if axis is None else tuple(int(a) for a in np.ravel(axis))
    return _squeeze(input, squeeze_dims=axes, name=name)


@op("BroadcastTo", "input: T, shape: Tidx -> output: T", static=(1,), Tidx=dtypes.INDICES)
def broadcast_to_op(xp: Any, x: Any, shape: Any) -> Any:
    """x repeated along its axes of size 1 and along new leading ones."""
    sizes = tuple(shape.tolist())
    host.check(
        x.ndim <= len(sizes),
        lambda: (
            f"Rank of input ({x.ndim}) must be no greater than rank of output shape ({len(sizes)})."
        ),
    )
    padded = (1,) * (len(sizes) - x.ndim) + tuple(x.shape)
    host.check(
        all(a in (1, b) for a, b in zip(padded, sizes, strict=True)),
        lambda: f"Incompatible shapes: {shapes.brackets(x.shape)} vs. {shapes.brackets(sizes)}",
    )
    return xp.broadcast_to(x, sizes)


@broadcast_to_op.def_infer
def _(x: Spec, shape: Spec) -> Shape:
    out = shape_operand(shape)
    if out is None or x.shape is None:
        return out
    if len(x.shape) > len(out):
        raise ValueError(f"Shape must be at most rank {len(out)} but is rank {len(x.shape)}")
    for have, want in zip(reversed(x.shape), reversed(out), strict=False):
        if have != 1:
            shapes.merge_size(have, want)
    return out


def broadcast_to(input: Any, shape: Any, name: str | None = None) -> Tensor:
    """The input repeated along its axes of size 1, and along new leading axes, to `shape`."""
    return broadcast_to_op(input, shape, name=name)


def _left_padded(s0: Any, s1: Any) -> tuple[list[Any], list[Any]]:
    """Two shapes made of one length; InvalidArgumentError if they do not broadcast."""
    a, b = s0.tolist(), s1.tolist()
    n = max(len(a), len(b))
    a, b = [1] * (n - len(a)) + a, [1] * (n - len(b)) + b
    host.check(
        all(
            x is UNKNOWN or y is UNKNOWN or x == y or 1 in (x, y) for x, y in zip(a, b, strict=True)
        ),
        lambda: (
            f"Incompatible shapes: {shapes.brackets(s0.tolist())} vs. "
            f"{shapes.brackets(s1.tolist())}"
        ),
    )
    return a, b


def _broadcast_size(a: Any, b: Any) -> Any:
    """What two sizes broadcast to; against an unknown one, a known one other than 1 wins."""
    if a is UNKNOWN:
        return a if b is UNKNOWN or b == 1 else b
    return b if a == 1 else a


@op("BroadcastArgs", "s0: T, s1: T -> r0: T", T=dtypes.INDICES, static=(0, 1))
def _broadcast_args(xp: Any, s0: Any, s1: Any) -> Any:
    a, b = _left_padded(s0, s1)
    return np.array(
        [_broadcast_size(x, y) for x, y in zip(a, b, strict=True)], np.result_type(s0, s1)
    )


@_broadcast_args.def_infer
def _(s0: Spec, s1: Spec) -> Shape:
    (m,), (n,) = shapes.with_rank(s0.shape, 1), shapes.with_rank(s1.shape, 1)
    return (None if m is None or n is None else max(m, n),)


@op("BroadcastGradientArgs", "s0: T, s1: T -> r0: T, r1: T", T=dtypes.INDICES, static=(0, 1))
def _broadcast_gradient_args(xp: Any, s0: Any, s1: Any) -> Any:
    """The axes along which the gradient of each of two operands that broadcast is summed."""
    a, b = _left_padded(s0.astype(np.int64), s1.astype(np.int64))
    if s0.tolist() == s1.tolist():
        a = b = []
    return [np.array([i for i, d in enumerate(c) if d == 1], s0.dtype) for c in (a, b)]


@_broadcast_gradient_args.def_infer
def _(s0: Spec, s1: Spec) -> list[Shape]:
    shapes.with_rank(s0.shape, 1)
    shapes.with_rank(s1.shape, 1)
    a, b = s0.value, s1.value
    if a is None or b is None:
        return [(None,), (None,)]
    return [axes.shape for axes in _broadcast_gradient_args.kernel(host, a, b)]


_broadcast_args.gradient = _broadcast_gradient_args.gradient = NOT_DIFFERENTIABLE


def broadcast_dynamic_shape(shape_x: Any, shape_y: Any) -> Tensor:
    """The shape of an elementwise operation on arrays of two shapes, as a tensor."""
    return _broadcast_args(shape_x, shape_y)


def broadcast_gradient_args(s0: Any, s1: Any, name: str | None = None) -> list[Tensor]:
    """For each of two shapes, the axes over which the gradient of an elementwise op is summed."""
    return _broadcast_gradient_args(s0, s1, name=name)


def broadcast_static_shape(shape_x: TensorShape, shape_y: TensorShape) -> TensorShape:
    """The shape of an elementwise operation on arrays of two shapes; ValueError for none."""
    a, b = shapes.as_shape(shape_x), shapes.as_shape(shape_y)
    try:
        return TensorShape(shapes.broadcast(a, b))
    except ValueError:
        raise ValueError(
            "Incompatible shapes for broadcasting. Two shapes are compatible if for each dimension "
            f"pair they are either equal or one of them is 1. Received: {shapes.show(a)} and "
            f"{shapes.show(b)}."
        ) from None


# -- transposing -----------------------------------------------------------------------------------


def _permutation(x: Any, perm: Any) -> tuple[int, ...]:
    axes = tuple(perm.tolist())
    host.check(
        len(axes) == x.ndim,
        lambda: (
            f"transpose expects a vector of size {x.ndim}. But input(1) is a vector of size "
            f"{len(axes)}"
        ),
    )
    n = x.ndim
    for a in axes:
        host.check(-n <= a < n, lambda a=a: f"{a} is out of range [0 .. {n})")
    axes = tuple(a % n for a in axes)
    for i in range(n):
        host.check(i in axes, lambda i=i: f"{i} is missing from {{{','.join(map(str, axes))}}}.")
    return axes


@op("Transpose", "x: T, perm: Tperm -> y: T", static=(1,), Tperm=dtypes.INDICES)
def _transpose(xp: Any, x: Any, perm: Any) -> Any:
    return xp.transpose(x, _permutation(x, perm))


@op("ConjugateTranspose", "x: T, perm: Tperm -> y: T", static=(1,), Tperm=dtypes.INDICES)
def _conjugate_transpose(xp: Any, x: Any, perm: Any) -> Any:
    return xp.conj(xp.transpose(x, _permutation(x, perm)))


def _transposed_shape(x: Spec, perm: Spec) -> Shape:
    (length,) = shapes.with_rank(perm.shape, 1)
    if x.shape is not None and length is not None and len(x.shape) != length:
        raise ValueError(f"Dimension must be {len(x.shape)} but is {length}")
    rank = length if x.shape is None else len(x.shape)
    if rank is None:
        return None
    axes = perm.value
    if axes is None or x.shape is None:
        return (None,) * rank
    for a in axes.tolist():
        if not -rank <= a < rank:
            raise ValueError(f"perm dim {a} is out of range of input rank {rank}")
    return tuple(x.shape[a] for a in axes.tolist())


_transpose.infer = _conjugate_transpose.infer = _transposed_shape


@_transpose.def_gradient
def _(op: Any, dy: Any) -> Any:
    return transpose(dy, _inverse(op.inputs[1])), None


@_conjugate_transpose.def_gradient
def _(op: Any, dy: Any) -> Any:
    return transpose(dy, _inverse(op.inputs[1]), conjugate=True), None


def _inverse(perm: Tensor) -> Any:
    axes = constant_value(perm)
    if axes is None:
        return invert_permutation(perm)
    return np.argsort(axes % max(len(axes), 1)).astype(axes.dtype)


def transpose(
    a: Any, perm: Any = None, name: str | None = "transpose", conjugate: bool = False
) -> Tensor:
    """The array with axis `perm[i]` as its i-th; without `perm`, with its axes reversed."""
    with name_scope(name, "transpose", [a]) as scope:
        a = convert_to_tensor(a, name="a")
        if perm is None:
            if a._dims is None:
                n = _rank(a)
                perm = range_op(n - 1, -1, -1)
            else:
                perm = np.arange(len(a._dims), dtype=np.int32)[::-1]
        turn = _conjugate_transpose if conjugate and a.dtype.is_complex else _transpose
        return turn(a, perm, name=scope)


@op("InvertPermutation", "x: T -> y: T", T=dtypes.INDICES, static=(0,))
def _invert_permutation(xp: Any, x: Any) -> Any:
    n = len(x)
    inverse: list[int] = [-1] * n
    for i, a in enumerate(x.tolist()):
        host.check(0 <= a < n, lambda a=a: f"{a} is not between 0 and {n}")
        host.check(inverse[a] < 0, lambda a=a: f"{a} is duplicated in the input.")
        inverse[a] = i
    return np.array(inverse, x.dtype)


@_invert_permutation.def_infer
def _(x: Spec) -> Shape:
    return shapes.with_rank(x.shape, 1)


_invert_permutation.gradient = NOT_DIFFERENTIABLE


def invert_permutation(x: Any, name: str | None = None) -> Tensor:
    """y with y[x[i]] = i, for x an order of 0 … n−1: [n]."""
    return _invert_permutation(x, name=name)
