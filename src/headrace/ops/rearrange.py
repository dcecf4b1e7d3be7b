"""Moving elements around: tile, pad, reverse, roll, blocks of space to and from other axes."""

from __future__ import annotations

from typing import Any

import numpy as np

from headrace import dtypes, shapes
from headrace.folding import Spec, constant_value
from headrace.node import Tensor
from headrace.opdef import op
from headrace.ops import array, reduce
from headrace.ops.filling import fill_op
from headrace.ops.joining import checked_room, padded, padded_shape, unpadded
from headrace.ops.operands import divide_size, shape_operand
from headrace.ops.shaping import broadcast_to_op
from headrace.shapes import Shape
from headrace.xp import numpy as host

# -- gradients that need sums ----------------------------------------------------------------------


@fill_op.def_gradient
def _(op: Any, dy: Any) -> Any:
    return None, reduce.reduce_sum(dy)


@broadcast_to_op.def_gradient
def _(op: Any, dy: Any) -> Any:
    x = op.inputs[0]
    have, want = x._dims, op.outputs[0]._dims
    if shapes.is_full(have) and shapes.is_full(want):
        padded = (1,) * (len(want) - len(have)) + have
        axes: Any = [i for i, (m, n) in enumerate(zip(padded, want, strict=True)) if m != n]
        axes += [i for i in range(len(want) - len(have)) if i not in axes]
        summed = reduce.reduce_sum(dy, axes) if axes else dy
    else:
        axes, _ = array.broadcast_gradient_args(array.shape(x), array.shape(dy))
        summed = reduce.reduce_sum(dy, axes)
    return array.reshape(summed, array.shape(x)), None


# -- repeating -------------------------------------------------------------------------------------


@op("Tile", "input: T, multiples: Tmultiples -> output: T", static=(1,),
    Tmultiples=dtypes.INDICES)  # fmt: skip
def _tile(xp: Any, x: Any, multiples: Any) -> Any:
    times = multiples.tolist()
    host.check(
        len(times) == x.ndim,
        lambda: (
            f"Expected multiples argument to be a vector of length {x.ndim} but got length "
            f"{len(times)}"
        ),
    )
    for i, n in enumerate(times):
        host.check(n >= 0, lambda i=i, n=n: f"Expected multiples[{i}] >= 0, but got {n}")
    return xp.tile(x, times)


@_tile.def_infer
def _(x: Spec, multiples: Spec) -> Shape:
    (n,) = shapes.with_rank(multiples.shape, 1)
    times = shape_operand(multiples)
    if x.shape is not None and n is not None:
        shapes.with_rank((None,) * n, len(x.shape))
    have = x.shape if x.shape is not None else None if n is None else (None,) * n
    if have is None:
        return None
    if times is None:
        return (None,) * len(have)
    return tuple(
        0 if 0 in (d, k) else None if d is None or k is None else d * k
        for d, k in zip(have, times, strict=True)
    )


@_tile.def_gradient
def _(op: Any, dy: Any) -> Any:
    x, multiples = op.inputs
    times = constant_value(multiples)
    if shapes.is_full(x._dims) and times is not None:
        pairs = [int(v) for k, d in zip(times, x._dims, strict=True) for v in (k, d)]
        split = array.reshape(dy, pairs)
        axes: Any = list(range(0, len(pairs), 2))
    else:
        extent = array.shape(x, out_type=multiples.dtype)
        pairs = array.reshape(array.transpose(array.stack([multiples, extent])), [-1])
        split = array.reshape(dy, pairs)
        axes = array.range(0, array.size(pairs), 2)
    return array.reshape(reduce.reduce_sum(split, axes), array.shape(x)), None


def tile(input: Any, multiples: Any, name: str | None = None) -> Tensor:
    """The array repeated multiples[i] times along each axis i."""
    return _tile(input, multiples, name=name)


# -- padding ---------------------------------------------------------------------------------------


@op(
    "PadV2", "input: T, paddings: Tpaddings, constant_values: T -> output: T",
    static=(1,), Tpaddings=dtypes.INDICES,
)  # fmt: skip
def _pad_v2(xp: Any, x: Any, paddings: Any, value: Any) -> Any:
    return padded(xp, x, checked_room(x, paddings), value)


_pad_v2.infer = padded_shape


@_pad_v2.def_gradient
def _(op: Any, dy: Any) -> Any:
    dx = unpadded(op, dy)
    return dx, None, reduce.reduce_sum(dy) - reduce.reduce_sum(dx)


_MODES = {"REFLECT": "reflect", "SYMMETRIC": "symmetric"}


@op("MirrorPad", "input: T, paddings: Tpaddings -> output: T", static=(1,),
    Tpaddings=dtypes.INDICES)  # fmt: skip
def _mirror_pad(xp: Any, x: Any, paddings: Any, *, mode: str) -> Any:
    room = _mirror_room(x, paddings, mode)
    return xp.pad(x, room, _MODES[mode]) if any(a or b for a, b in room) else x


def _mirror_room(x: Any, paddings: Any, mode: str) -> list[tuple[int, int]]:
    room = checked_room(x, paddings)
    for (a, b), d in zip(room, x.shape, strict=True):
        if mode == "REFLECT":
            text = f"paddings must be less than the dimension size: {a}, {b} not less than {d}"
            host.check(max(a, b) < d or a == b == 0, text)
        else:
            text = f"paddings must be no greater than the dimension size: {a}, {b} greater than {d}"
            host.check(max(a, b) <= d, text)
    return room


@_mirror_pad.def_infer
def _(x: Spec, paddings: Spec, *, mode: str) -> Shape:
    return padded_shape(x, paddings)


@_mirror_pad.def_gradient
def _(op: Any, dy: Any) -> Any:
    return _mirror_pad_grad(dy, op.inputs[1], mode=op.attrs["mode"]), None


@op("MirrorPadGrad", "input: T, paddings: Tpaddings -> output: T", static=(1,),
    Tpaddings=dtypes.INDICES)  # fmt: skip
def _mirror_pad_grad(xp: Any, dy: Any, paddings: Any, *, mode: str) -> Any:
    """The margin of `dy` folded back on what it mirrors."""
    edge = 1 if mode == "REFLECT" else 0
    for axis, (a, b) in enumerate(paddings.tolist()):
        if not a and not b:
            continue
        n = dy.shape[axis] - a - b
        before = (np.s_[:],) * axis
        inner = dy[(*before, np.s_[a : a + n])]
        rest = [(0, 0)] * dy.ndim
        if a:
            left = dy[(*before, np.s_[:a])][(*before, np.s_[::-1])]
            rest[axis] = (edge, n - a - edge)
            inner = inner + xp.pad(left, rest)
        if b:
            right = dy[(*before, np.s_[a + n :])][(*before, np.s_[::-1])]
            rest[axis] = (n - b - edge, edge)
            inner = inner + xp.pad(right, rest)
        dy = inner
    return dy


@_mirror_pad_grad.def_infer
def _(dy: Spec, paddings: Spec, *, mode: str) -> Shape:
    room = paddings.value
    if dy.shape is None or room is None:
        return None if dy.shape is None else (None,) * len(dy.shape)
    return tuple(
        None if d is None else d - int(a) - int(b) for d, (a, b) in zip(dy.shape, room, strict=True)
    )


@_mirror_pad_grad.def_gradient
def _(op: Any, ddx: Any) -> Any:
    return _mirror_pad(ddx, op.inputs[1], mode=op.attrs["mode"]), None


def pad(
    tensor: Any,
    paddings: Any,
    mode: str = "CONSTANT",
    name: str | None = None,
    constant_values: Any = 0,
) -> Tensor:
    """The array in a margin: paddings [rank, 2] are the cells before and after along each axis.

    The margin is `constant_values`, or with mode REFLECT or SYMMETRIC the array mirrored, without
    or with its edge.
    """
    kind = mode.upper()
    if kind == "CONSTANT":
        if not isinstance(constant_values, Tensor) and np.all(np.equal(constant_values, 0)):
            return array.pad_op(tensor, paddings, name=name)
        return _pad_v2(tensor, paddings, constant_values, name=name)
    if kind not in _MODES:
        raise ValueError(
            'Value of argument `mode` expected to be one of "CONSTANT", "REFLECT", or "SYMMETRIC". '
            f"Received `mode` = {mode}"
        )
    return _mirror_pad(tensor, paddings, mode=kind, name=name)


# -- reversing and rolling -------------------------------------------------------------------------


@op("ReverseV2", "tensor: T, axis: Tidx -> output: T", static=(1,), Tidx=dtypes.INDICES)
def _reverse(xp: Any, x: Any, axis: Any) -> Any:
    axes = axis.tolist()
    for i, a in enumerate(axes):
        host.check(
            -x.ndim <= a < x.ndim,
            lambda i=i, a=a: f"'axis'[{i}] = {a} is out of valid range [0, {x.ndim - 1}]",
        )
        at = a % x.ndim
        host.check(
            at not in (b % x.ndim for b in axes[:i]),
            lambda at=at: f"axis {at} specified more than once.",
        )
    return xp.flip(x, tuple(axes))


@_reverse.def_infer
def _(x: Spec, axis: Spec) -> Shape:
    shapes.with_rank(axis.shape, 1)
    axes = axis.value
    if x.shape is not None and axes is not None:
        n = len(x.shape)
        for i, a in enumerate(axes.tolist()):
            if not -n <= a < n:
                raise ValueError(f"'axis'[{i}] = {a} is out of valid range [0, {n - 1}]")
    return x.shape


@_reverse.def_gradient
def _(op: Any, dy: Any) -> Any:
    return reverse(dy, op.inputs[1]), None


def reverse(tensor: Any, axis: Any, name: str | None = None) -> Tensor:
    """The array backwards along each axis that the vector `axis` names."""
    return _reverse(tensor, axis, name=name)


reverse_v2 = reverse


@op("ReverseSequence", "input: T, seq_lengths: Tlen -> output: T", Tlen=dtypes.INDICES)
def _reverse_sequence(xp: Any, x: Any, lengths: Any, *, seq_dim: int, batch_dim: int = 0) -> Any:
    n, batch = x.shape[seq_dim], x.shape[batch_dim]
    host.check(
        lengths.shape == (batch,),
        lambda: (
            f"Length of seq_lengths != input.dims({batch_dim}), ({lengths.shape[0]} vs. {batch})"
        ),
    )
    xp.check(
        xp.all((lengths >= 0) & (lengths <= n)),
        lambda: (
            f"seq_lens({int(np.argmax((lengths > n) | (lengths < 0)))}) "
            + ("< 0" if lengths.min() < 0 else f"> input.dims({seq_dim})")
        ),
    )
    steps = np.arange(n, dtype=lengths.dtype)
    ends = lengths[:, None]
    order = xp.where(steps < ends, ends - 1 - steps, steps)
    if batch_dim > seq_dim:
        order = order.T
    around = [1] * x.ndim
    around[seq_dim], around[batch_dim] = n, batch
    return xp.take_along_axis(x, xp.reshape(order, around), axis=seq_dim)


@_reverse_sequence.def_infer
def _(x: Spec, lengths: Spec, *, seq_dim: int, batch_dim: int) -> Shape:
    (n,) = shapes.with_rank(lengths.shape, 1)
    if x.shape is None:
        return None
    for axis, what in ((batch_dim, "batch_dim"), (seq_dim, "seq_dim")):
        if axis >= len(x.shape):
            raise ValueError(f"{what} must be < input rank: {axis} vs. {len(x.shape)}")
    out = list(x.shape)
    out[batch_dim] = shapes.merge_size(out[batch_dim], n)
    return tuple(out)


@_reverse_sequence.def_gradient
def _(op: Any, dy: Any) -> Any:
    at = {k: op.attrs[k] for k in ("seq_dim", "batch_dim")}
    return _reverse_sequence(dy, op.inputs[1], **at), None


def reverse_sequence(
    input: Any,
    seq_lengths: Any,
    seq_axis: int | None = None,
    batch_axis: int | None = None,
    name: str | None = None,
    seq_dim: int | None = None,
    batch_dim: int | None = None,
) -> Tensor:
    """The first seq_lengths[i] steps of each sequence i backwards, the others as they are."""
    along = seq_axis if seq_dim is None else seq_dim
    batch = batch_axis if batch_dim is None else batch_dim
    if along is None:
        raise ValueError("reverse_sequence needs seq_axis.")
    return _reverse_sequence(
        input, seq_lengths, seq_dim=along, batch_dim=0 if batch is None else batch, name=name
    )


@op("Roll", "input: T, shift: Tshift, axis: Taxis -> output: T", static=(1, 2),
    Tshift=dtypes.INDICES, Taxis=dtypes.INDICES)  # fmt: skip
def _roll(xp: Any, x: Any, shift: Any, axis: Any) -> Any:
    steps, axes = np.ravel(shift).tolist(), np.ravel(axis).tolist()
    host.check(len(steps) == len(axes), "shift and axis must have the same size")
    for a in axes:
        host.check(-x.ndim <= a < x.ndim, lambda a=a: f"axis {a} is out of range")
    return xp.roll(x, steps, axes)


@_roll.def_infer
def _(x: Spec, shift: Spec, axis: Spec) -> Shape:
    return shapes.at_least_rank(x.shape, 1)


@_roll.def_gradient
def _(op: Any, dy: Any) -> Any:
    return roll(dy, -op.inputs[1], op.inputs[2]), None, None


def roll(input: Any, shift: Any, axis: Any, name: str | None = None) -> Tensor:
    """Elements moved `shift` places along `axis`, those pushed out coming in at the other end."""
    return _roll(input, shift, axis, name=name)


# -- blocks of space -------------------------------------------------------------------------------


def _channels_last(xp: Any, x: Any, data_format: str) -> Any:
    return x if data_format == "NHWC" else xp.transpose(x, (0, 2, 3, 1))


def _as_given(xp: Any, y: Any, data_format: str) -> Any:
    return y if data_format == "NHWC" else xp.transpose(y, (0, 3, 1, 2))


def _sizes_nhwc(x: Spec, data_format: str) -> tuple[int | None, ...]:
    sizes = shapes.with_rank(x.shape, 4)
    return sizes if data_format == "NHWC" else tuple(sizes[i] for i in (0, 2, 3, 1))


def _sizes_given(sizes: tuple[int | None, ...], data_format: str) -> Shape:
    return sizes if data_format == "NHWC" else tuple(sizes[i] for i in (0, 3, 1, 2))


def _divides(x: Any, k: int) -> None:
    _, h, w, _ = x.shape
    host.check(
        not (h % k or w % k),
        lambda: f"Image width {w} and height {h} should be divisible by block_size: {k}",
    )


@op("SpaceToDepth", "input: T -> output: T")
def _space_to_depth(xp: Any, x: Any, *, block_size: int, data_format: str = "NHWC") -> Any:
    x, k = _channels_last(xp, x, data_format), block_size
    _divides(x, k)
    n, h, w, c = x.shape
    y = xp.transpose(xp.reshape(x, (n, h // k, k, w // k, k, c)), (0, 1, 3, 2, 4, 5))
    return _as_given(xp, xp.reshape(y, (n, h // k, w // k, k * k * c)), data_format)


@_space_to_depth.def_infer
def _(x: Spec, *, block_size: int, data_format: str) -> Shape:
    n, h, w, c = _sizes_nhwc(x, data_format)
    deep = None if c is None else c * block_size**2
    return _sizes_given(
        (n, divide_size(h, block_size), divide_size(w, block_size), deep), data_format
    )


@op("DepthToSpace", "input: T -> output: T")
def _depth_to_space(xp: Any, x: Any, *, block_size: int, data_format: str = "NHWC") -> Any:
    x, k = _channels_last(xp, x, data_format), block_size
    n, h, w, c = x.shape
    host.check(
        c % (k * k) == 0, lambda: f"Input depth dimension {c} should be divisible by: {k * k}"
    )
    y = xp.transpose(xp.reshape(x, (n, h, w, k, k, c // (k * k))), (0, 1, 3, 2, 4, 5))
    return _as_given(xp, xp.reshape(y, (n, h * k, w * k, c // (k * k))), data_format)


@_depth_to_space.def_infer
def _(x: Spec, *, block_size: int, data_format: str) -> Shape:
    n, h, w, c = _sizes_nhwc(x, data_format)
    high, wide = (None if d is None else d * block_size for d in (h, w))
    return _sizes_given((n, high, wide, divide_size(c, block_size**2)), data_format)


def _blocks(op: Any) -> dict[str, Any]:
    return {k: op.attrs[k] for k in ("block_size", "data_format")}


@_space_to_depth.def_gradient
def _(op: Any, dy: Any) -> Any:
    return _depth_to_space(dy, **_blocks(op))


@_depth_to_space.def_gradient
def _(op: Any, dy: Any) -> Any:
    return _space_to_depth(dy, **_blocks(op))


def space_to_depth(
    input: Any, block_size: int, name: str | None = None, data_format: str = "NHWC"
) -> Tensor:
    """Blocks of k×k pixels as channels: [n, h, w, c] to [n, h/k, w/k, k²c]."""
    return _space_to_depth(input, block_size=block_size, data_format=data_format, name=name)


def depth_to_space(
    input: Any, block_size: int, name: str | None = None, data_format: str = "NHWC"
) -> Tensor:
    """Channels as blocks of k×k pixels: [n, h, w, k²c] to [n, kh, kw, c]."""
    return _depth_to_space(input, block_size=block_size, data_format=data_format, name=name)


@op(
    "SpaceToBatchND", "input: T, block_shape: Tblock_shape, paddings: Tpaddings -> output: T",
    static=(1, 2), Tblock_shape=dtypes.INDICES, Tpaddings=dtypes.INDICES,
)  # fmt: skip
def _space_to_batch(xp: Any, x: Any, block_shape: Any, paddings: Any) -> Any:
    block = block_shape.tolist()
    m = len(block)
    room = [(0, 0), *map(tuple, paddings.tolist()), *[(0, 0)] * (x.ndim - 1 - m)]
    if any(a or b for a, b in room):
        x = xp.pad(x, room)
    n, space, rest = x.shape[0], x.shape[1 : 1 + m], x.shape[1 + m :]
    parts: list[int] = []
    for i, (d, k) in enumerate(zip(space, block, strict=True)):
        host.check(
            d % k == 0,
            lambda i=i, d=d, k=k: f"padded_shape[{i}]={d} is not divisible by block_shape[{i}]={k}",
        )
        parts += [d // k, k]
    inner, outer = range(2, 2 * m + 2, 2), range(1, 2 * m + 1, 2)
    y = xp.reshape(x, (n, *parts, *rest))
    y = xp.transpose(y, (*inner, 0, *outer, *range(2 * m + 1, y.ndim)))
    return xp.reshape(y, (n * shapes.product(block), *parts[::2], *rest))


@_space_to_batch.def_infer
def _(x: Spec, block_shape: Spec, paddings: Spec) -> Shape:
    (m,) = shapes.with_rank(block_shape.shape, 1)
    block, room = block_shape.value, paddings.value
    if x.shape is None or m is None:
        return None
    shapes.at_least_rank(x.shape, m + 1)
    if block is None:
        return (*(None,) * (m + 1), *x.shape[m + 1 :])
    times = shapes.product(block.tolist())
    out = [None if x.shape[0] is None else x.shape[0] * times]
    for i, (d, k) in enumerate(zip(x.shape[1 : m + 1], block.tolist(), strict=True)):
        known = d is not None and room is not None
        out.append(divide_size(d + int(room[i].sum()), k) if known else None)  # type: ignore
    return (*out, *x.shape[m + 1 :])


@op(
    "BatchToSpaceND", "input: T, block_shape: Tblock_shape, crops: Tcrops -> output: T",
    static=(1, 2), Tblock_shape=dtypes.INDICES, Tcrops=dtypes.INDICES,
)  # fmt: skip
def _batch_to_space(xp: Any, x: Any, block_shape: Any, crops: Any) -> Any:
    block = block_shape.tolist()
    m, times = len(block), shapes.product(block)
    n, space, rest = x.shape[0], x.shape[1 : 1 + m], x.shape[1 + m :]
    host.check(
        n % times == 0,
        lambda: f"Input batch dimension ({n}) is not divisible by product of block sizes ({times})",
    )
    y = xp.reshape(x, (*block, n // times, *space, *rest))
    order = [m] + [k for i in range(m) for k in (m + 1 + i, i)]
    y = xp.transpose(y, (*order, *range(2 * m + 1, y.ndim)))
    whole = [d * k for d, k in zip(space, block, strict=True)]
    y = xp.reshape(y, (n // times, *whole, *rest))
    cut = [np.s_[:]]
    for i, (d, (a, b)) in enumerate(zip(whole, crops.tolist(), strict=True)):
        host.check(
            d - a - b >= 0,
            lambda i=i, left=d - a - b: f"cropped_shape[{i}]={left} must be non-negative",
        )
        cut.append(np.s_[a : d - b])
    return y[tuple(cut)]


@_batch_to_space.def_infer
def _(x: Spec, block_shape: Spec, crops: Spec) -> Shape:
    (m,) = shapes.with_rank(block_shape.shape, 1)
    block, cut = block_shape.value, crops.value
    if x.shape is None or m is None:
        return None
    shapes.at_least_rank(x.shape, m + 1)
    if block is None:
        return (*(None,) * (m + 1), *x.shape[m + 1 :])
    out = [divide_size(x.shape[0], shapes.product(block.tolist()))]
    for i, (d, k) in enumerate(zip(x.shape[1 : m + 1], block.tolist(), strict=True)):
        if d is None or cut is None:
            out.append(None)
            continue
        gone = int(cut[i].sum())
        if gone > d * k:
            raise ValueError(f"Negative dimension size caused by subtracting {gone} from {d * k}")
        out.append(d * k - gone)
    return (*out, *x.shape[m + 1 :])


@_space_to_batch.def_gradient
def _(op: Any, dy: Any) -> Any:
    return _batch_to_space(dy, *op.inputs[1:]), None, None


@_batch_to_space.def_gradient
def _(op: Any, dy: Any) -> Any:
    return _space_to_batch(dy, *op.inputs[1:]), None, None


def space_to_batch_nd(
    input: Any, block_shape: Any, paddings: Any, name: str | None = None
) -> Tensor:
    """Blocks of space, after padding with zeros, as items of the batch."""
    return _space_to_batch(input, block_shape, paddings, name=name)


def batch_to_space_nd(input: Any, block_shape: Any, crops: Any, name: str | None = None) -> Tensor:
    """Items of the batch as blocks of space, which is then cropped."""
    return _batch_to_space(input, block_shape, crops, name=name)


def space_to_batch(
    input: Any,
    paddings: Any,
    block_size: int | None = None,
    name: str | None = None,
    block_shape: Any = None,
) -> Tensor:
    """`space_to_batch_nd` with square blocks: [n, h, w, c] to [nk², h/k, w/k, c]."""
    return _space_to_batch(input, _square(block_size, block_shape), paddings, name=name)


def batch_to_space(
    input: Any,
    crops: Any,
    block_size: int | None = None,
    name: str | None = None,
    block_shape: Any = None,
) -> Tensor:
    """`batch_to_space_nd` with square blocks: [nk², h, w, c] to [n, kh, kw, c]."""
    return _batch_to_space(input, _square(block_size, block_shape), crops, name=name)


def _square(size: int | None, shape: Any) -> Any:
    return shape if size is None else np.array([size, size], np.int64)
