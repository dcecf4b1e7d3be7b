"""Joining arrays, cutting them apart, and setting them into zeros."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from headrace import dtypes, shapes
from headrace.conversion import convert_to_tensor, register_tensor_conversion_function
from headrace.dtypes import DType
from headrace.folding import Spec, constant_value
from headrace.graph import name_scope
from headrace.node import Tensor
from headrace.opdef import NOT_DIFFERENTIABLE, op
from headrace.ops import math
from headrace.ops.constant import constant
from headrace.ops.operands import agree, agree_all, axis_of, checked_axis, divide_size
from headrace.ops.shaping import expand_dims, identity, reshape, shape, shape_n
from headrace.shapes import Dimension, Shape, TensorShape
from headrace.xp import numpy as host

# -- joining ---------------------------------------------------------------------------------------


@op("ConcatV2", "values: N*T, axis: Tidx -> output: T", static=(1,), Tidx=dtypes.INDICES)
def _concat(xp: Any, xs: Any, axis: Any) -> Any:
    rank = max(x.ndim for x in xs)
    axis = int(np.reshape(axis, ()))
    host.check(
        -rank <= axis < rank,
        lambda: (
            "ConcatOp : Expected concatenating dimensions in the range "
            f"[{-rank}, {rank}), but got {axis}"
        ),
    )
    axis %= rank
    first = xs[0]
    for i, x in enumerate(xs):
        host.check(
            shapes.drop(x.shape, [axis]) == shapes.drop(first.shape, [axis]),
            lambda i=i, x=x: (
                f"ConcatOp : {_clash(first.shape, x.shape, axis)}: shape[0] = "
                f"{shapes.brackets(first.shape)} vs. shape[{i}] = {shapes.brackets(x.shape)}"
            ),
        )
    return xp.concatenate(xs, axis)


def _clash(a: Any, b: Any, axis: int) -> str:
    if len(a) != len(b):
        return "Ranks of all input tensors should match"
    i = next(i for i in range(len(a)) if i != axis and a[i] != b[i])
    return f"Dimension {i} in both shapes must be equal"


@_concat.def_infer
def _(xs: list[Spec], axis: Spec) -> Shape:
    shapes.with_rank(axis.shape, 0)
    at = axis_of(axis)
    if at is None:
        ranks = {len(x.shape) for x in xs if x.shape is not None}
        if len(ranks) > 1:
            low, high = min(ranks), max(ranks)
            raise ValueError(f"Shape must be rank {high} but is rank {low}")
        return (None,) * ranks.pop() if ranks else None
    around: Shape = None  # what all have in common, with an unknown size at the axis
    total: int | None = 0
    for x in xs:
        if x.shape is None:
            total = None
            continue
        rank = len(x.shape)
        if not -rank <= at < rank:
            least = at + 1 if at >= 0 else -at
            raise ValueError(f"Shape must be at least rank {least} but is rank {rank}")
        if around is not None:
            shapes.with_rank(x.shape, len(around))
        i = at % rank
        d = x.shape[i]
        total = None if total is None or d is None else total + d
        rest = agree(
            None if around is None else shapes.drop(around, [i]), shapes.drop(x.shape, [i])
        )
        around = (*rest[:i], None, *rest[i:])  # type: ignore[index]
    if around is None:
        return None
    i = at % len(around)
    return (*around[:i], total, *around[i + 1 :])


@_concat.def_gradient
def _(op: Any, dy: Any) -> Any:
    xs, axis = op.arguments
    at = axis_of(axis)
    rank = next((len(x._dims) for x in xs if x._dims is not None), None)
    if at is not None and rank is not None:
        sizes = [None if x._dims is None else x._dims[at % rank] for x in xs]
        if len(xs) == 1:
            return dy, None
        if None not in sizes:
            return (*split(dy, sizes, at), None)
    extents = shape_n(list(xs))
    offsets = _concat_offset(math.cast(axis, dtypes.int32), extents)
    return (*(slice_op(dy, b, n) for b, n in zip(offsets, extents, strict=True)), None)


def concat(values: Any, axis: Any, name: str = "concat") -> Tensor:
    """The arrays joined along an axis that they have.

    ValueError if they differ along another axis.
    """
    if not isinstance(values, (list, tuple)):
        values = [values]
    if len(values) == 1:
        with name_scope(name, "concat", values):
            along = convert_to_tensor(axis, dtypes.int32, name="concat_dim")
            along.shape.assert_has_rank(0)
            return identity(values[0], name=name)
    return _concat(list(values), axis, name=name)


@op("ConcatOffset", "concat_dim: int32, shape: N*int32 -> offset: N*int32", static=(0, 1))
def _concat_offset(xp: Any, axis: Any, extents: Any) -> Any:
    """Where each of the arrays that were joined begins in the whole."""
    at = int(axis) % len(extents[0])
    starts = np.cumsum([0, *(e[at] for e in extents[:-1])])
    offsets = np.zeros((len(extents), len(extents[0])), np.int32)
    offsets[:, at] = starts
    return list(offsets)


@_concat_offset.def_infer
def _(axis: Spec, extents: list[Spec]) -> list[Shape]:
    return [shapes.with_rank(agree_all(extents), 1)] * len(extents)


_concat_offset.gradient = NOT_DIFFERENTIABLE


@op("Pack", "values: N*T -> output: T")
def _pack(xp: Any, xs: Any, *, axis: int = 0) -> Any:
    for i, x in enumerate(xs):
        host.check(
            x.shape == xs[0].shape,
            lambda i=i, x=x: (
                "Shapes of all inputs must match: values[0].shape = "
                f"{shapes.brackets(xs[0].shape)} != values[{i}].shape = {shapes.brackets(x.shape)}"
            ),
        )
    return xp.stack(xs, axis)


@_pack.def_infer
def _(xs: list[Spec], *, axis: int) -> Shape:
    shape = agree_all(xs)
    if shape is None:
        return None
    rank = len(shape) + 1
    if not -rank <= axis < rank:
        raise ValueError(f"Invalid axis {axis}; must be in [{-rank},{rank})")
    at = axis % rank
    return (*shape[:at], len(xs), *shape[at:])


@_pack.def_gradient
def _(op: Any, dy: Any) -> Any:
    return tuple(unstack(dy, op.attrs["N"], op.attrs["axis"]))


def stack(values: Any, axis: int = 0, name: str = "stack") -> Tensor:
    """Arrays of one shape joined along a new axis: n of [a, b] give [n, a, b] for axis 0.

    ValueError if their shapes differ.
    """
    if axis == 0:
        try:
            return convert_to_tensor(values, name=name)
        except (TypeError, ValueError):
            pass  # `_pack` says what is wrong
    first = convert_to_tensor(values[0], name=name)
    if first._dims is not None:
        rank = len(first._dims) + 1
        if not -rank <= axis < rank:
            raise ValueError(f"Argument `axis` = {axis} not in range [{-rank}, {rank})")
    return _pack(list(values), axis=int(axis), name=name)


def _convert_list(
    value: Any, dtype: Any = None, name: str | None = None, as_ref: bool = False
) -> Any:
    """A nested list with tensors in it, stacked; what is no tensor becomes a constant.

    TypeError if the tensors are of two types.
    """
    found = _dtype_within(value)
    if found is None:
        return constant(value, dtype, name=name or "Const")
    if dtype is None:
        dtype = found
    elif found is not dtype:
        value = _cast_within(value, dtype)
    return _stack_nested(value, dtype, name or "packed")  # TensorFlow's name for it


register_tensor_conversion_function((list, tuple), _convert_list, 100)


def _dtype_within(value: Any) -> DType | None:
    if isinstance(value, (list, tuple)):
        return next((d for d in map(_dtype_within, value) if d is not None), None)
    return value.dtype.base_dtype if hasattr(value, "_as_graph_element") else None


def _cast_within(value: Any, dtype: DType) -> Any:
    if isinstance(value, (list, tuple)):
        return [_cast_within(v, dtype) for v in value]
    return math.cast(value, dtype) if hasattr(value, "_as_graph_element") else value


def _stack_nested(value: Sequence[Any], dtype: DType, name: str) -> Any:
    with name_scope(name, None, value) as scope:
        items: list[Any] = []
        for i, item in enumerate(value):
            if isinstance(item, (list, tuple)):
                items.append(_stack_nested(item, dtype, str(i)))
                continue
            if hasattr(item, "_as_graph_element") and item.dtype.base_dtype is not dtype:
                raise TypeError(
                    f"Cannot convert a list containing a tensor of dtype {item.dtype} to {dtype} "
                    f"(Tensor is: {item!r})"
                )
            items.append(item)
        if not any(hasattr(item, "_as_graph_element") for item in items):
            return items
        return _pack(
            [
                item if hasattr(item, "_as_graph_element") else constant(item, dtype, name=str(i))
                for i, item in enumerate(items)
            ],
            name=scope,
        )


@op("ParallelConcat", "values: N*T -> output: T")
def _parallel_concat(xp: Any, xs: Any, *, shape: TensorShape) -> Any:
    return xp.concatenate(xs, 0)


@_parallel_concat.def_infer
def _(xs: list[Spec], *, shape: TensorShape) -> Shape:
    return shape._dims


_parallel_concat.gradient = NOT_DIFFERENTIABLE


def parallel_stack(values: Sequence[Any], name: str = "parallel_stack") -> Tensor:
    """Arrays of one known shape joined along a new first axis; has no gradient (see `stack`)."""
    with name_scope(name):
        first = convert_to_tensor(values[0])
        whole = TensorShape([len(values)]).concatenate(first.shape)
        rows = [expand_dims(v, 0) for v in values]
        return _parallel_concat(rows, shape=whole)


# -- cutting ---------------------------------------------------------------------------------------


@op("Unpack", "value: T -> output: num*T")
def _unpack(xp: Any, x: Any, *, num: int, axis: int = 0) -> Any:
    at = checked_axis(axis, x.ndim)
    host.check(
        x.shape[at] == num,
        lambda: f"Input shape axis {axis} must equal {num}, got shape {shapes.brackets(x.shape)}",
    )
    before = (np.s_[:],) * at
    return [x[(*before, i)] for i in range(num)]


@_unpack.def_infer
def _(x: Spec, *, num: int, axis: int) -> list[Shape]:
    if x.shape is None:
        return [None] * num
    rank = len(x.shape)
    if not -rank <= axis < rank:
        raise ValueError(f"Invalid axis {axis}; must be in [{-rank},{rank})")
    at = axis % rank
    if x.shape[at] not in (None, num):
        raise ValueError(f"Dimension must be {num} but is {x.shape[at]}")
    return [shapes.drop(x.shape, [at])] * num


@_unpack.def_gradient
def _(op: Any, *dys: Any) -> Any:
    return _pack(list(dys), axis=op.attrs["axis"], name="stack")


def unstack(
    value: Any, num: int | None = None, axis: int = 0, name: str = "unstack"
) -> list[Tensor]:
    """The arrays that lie along an axis: n of [a, b] from [n, a, b] for axis 0.

    ValueError if there is no telling how many they are.
    """
    if num is None:
        value = convert_to_tensor(value)
        if value._dims is not None:
            rank = len(value._dims)
            if not -rank <= axis < rank:
                raise ValueError(f"Argument `axis` = {axis} not in range [{-rank}, {rank})")
            num = value._dims[axis]
        if num is None:
            raise ValueError(f"Cannot infer argument `num` from shape {shapes.show(value._dims)}")
    return _unpack(value, num=int(num), axis=int(axis), name=name)


@op("Split", "split_dim: int32, value: T -> output: num_split*T", static=(0,))
def _split(xp: Any, axis: Any, x: Any, *, num_split: int) -> Any:
    at = checked_axis(int(np.reshape(axis, ())), x.ndim)
    host.check(
        x.shape[at] % num_split == 0,
        lambda: (
            "Number of ways to split should evenly divide the split dimension, but got split_dim "
            f"{at} (size = {x.shape[at]}) and num_split {num_split}"
        ),
    )
    return xp.split(x, num_split, at)


@_split.def_infer
def _(split_dim: Spec, x: Spec, *, num_split: int) -> list[Shape]:
    axis = axis_of(split_dim)
    if x.shape is None:
        return [None] * num_split
    if axis is None:
        return [(None,) * len(x.shape)] * num_split
    at = _axis_within(axis, len(x.shape))
    try:
        part = divide_size(x.shape[at], num_split)
    except ValueError as error:
        raise ValueError(
            f"{error}\n\tNumber of ways to split should evenly divide the split dimension"
        ) from None
    return [(*x.shape[:at], part, *x.shape[at + 1 :])] * num_split


def _axis_within(axis: int, rank: int) -> int:
    if not -rank <= axis < rank:
        raise ValueError(
            f"Dimension size, given by scalar input {axis}, must be in range [{-rank}, {rank})"
        )
    return axis % rank


@_split.def_gradient
def _(op: Any, *dys: Any) -> Any:
    return None, concat(list(dys), op.inputs[0])


@op(
    "SplitV", "value: T, size_splits: Tlen, split_dim: int32 -> output: num_split*T",
    static=(1, 2), Tlen=dtypes.INTS,
)  # fmt: skip
def _split_v(xp: Any, x: Any, sizes: Any, axis: Any, *, num_split: int) -> Any:
    at = checked_axis(int(np.reshape(axis, ())), x.ndim)
    parts = sizes.tolist()
    total = x.shape[at]
    rest = total - sum(n for n in parts if n != -1)
    host.check(
        parts.count(-1) <= 1 and (rest >= 0 if -1 in parts else rest == 0),
        lambda: (
            "Determined shape must either match input shape along split_dim exactly if fully "
            f"specified, or be less than the size of the input along split_dim if not fully "
            f"specified.  Got: {total - rest}"
        ),
    )
    ends = np.cumsum([rest if n == -1 else n for n in parts[:-1]], dtype=np.int64)
    return xp.split(x, ends, at)


@_split_v.def_infer
def _(x: Spec, size_splits: Spec, split_dim: Spec, *, num_split: int) -> list[Shape]:
    axis, sizes = axis_of(split_dim), size_splits.sizes
    if x.shape is None:
        return [None] * num_split
    rank = len(x.shape)
    if axis is None:
        return [(None,) * rank] * num_split
    at = _axis_within(axis, rank)
    parts: list[int | None] = [None] * num_split if sizes is None else list(sizes)
    total = x.shape[at]
    if total is not None and None not in parts:
        known = sum(d for d in parts if d != -1)  # type: ignore[misc]
        if known > total or (known < total and -1 not in parts):
            listed = ",".join(str(d) for d in parts)
            raise ValueError(f"can't split axis of size {total} into pieces of size [{listed}]")
        parts = [total - known if d == -1 else d for d in parts]  # type: ignore[operator]
    parts = [None if d == -1 else d for d in parts]
    return [(*x.shape[:at], d, *x.shape[at + 1 :]) for d in parts]


@_split_v.def_gradient
def _(op: Any, *dys: Any) -> Any:
    return concat(list(dys), op.inputs[2]), None, None


def split(
    value: Any,
    num_or_size_splits: Any,
    axis: Any = 0,
    num: int | None = None,
    name: str = "split",
) -> list[Tensor]:
    """The array cut along an axis into so many equal parts, or into parts of the sizes given.

    One size may be -1. ValueError if the sizes do not add up.
    """
    if isinstance(num_or_size_splits, (int, np.integer, Dimension)):
        return _split(axis, value, num_split=int(num_or_size_splits), name=name)
    sizes = convert_to_tensor(num_or_size_splits)
    if sizes._dims == ():
        raise ValueError(
            "Rank-0 tensors are not supported as the num_or_size_splits argument to split. "
            f"Argument provided: {num_or_size_splits}"
        )
    if num is None:
        num = None if sizes._dims is None else sizes._dims[0]
        if num is None:
            raise ValueError(f"Cannot infer argument `num` from shape {num_or_size_splits}")
    return _split_v(value, sizes, axis, num_split=num, name=name)


@op(
    "Slice", "input: T, begin: Index, size: Index -> output: T",
    static=(1, 2), Index=dtypes.INDICES,
)  # fmt: skip
def slice_op(xp: Any, x: Any, begin: Any, size: Any) -> Any:
    """The block of x that starts at `begin` [rank], of `size` [rank]; -1 for all that follow."""
    if not isinstance(begin, np.ndarray):
        return _traced_slice(xp, x, begin, size.tolist())
    starts, sizes = begin.tolist(), size.tolist()
    host.check(
        len(starts) == x.ndim == len(sizes),
        lambda: (
            "Expected begin and size arguments to be 1-D tensors of size "
            f"{x.ndim}, but got shapes [{len(starts)}] and [{len(sizes)}] instead."
        ),
    )
    cut = []
    for i, (b, n, d) in enumerate(zip(starts, sizes, x.shape, strict=True)):
        host.check(
            0 <= b <= d, lambda i=i, b=b, d=d: f"Expected begin[{i}] in [0, {d}], but got {b}"
        )
        n = d - b if n == -1 else n
        host.check(
            0 <= n <= d - b,
            lambda i=i, n=n, most=d - b: f"Expected size[{i}] in [0, {most}], but got {n}",
        )
        cut.append(np.s_[b : b + n])
    return x[tuple(cut)]


def _traced_slice(xp: Any, x: Any, begin: Any, sizes: list[int]) -> Any:
    """The block where a traced loop says: its size must be known."""
    host.check(-1 not in sizes, "A slice from a place that a loop computes needs a known size.")
    xp.check(xp.all((begin >= 0) & (begin + np.array(sizes) <= np.array(x.shape))), "out of bounds")
    for axis, n in enumerate(sizes):
        if n != x.shape[axis]:
            x = xp.take(x, begin[axis] + np.arange(n), axis=axis, mode="clip")
    return x


@slice_op.def_infer
def _(x: Spec, begin: Spec, size: Spec) -> Shape:
    starts, sizes = begin.sizes, size.sizes
    (length,) = shapes.with_rank(agree(begin.shape, size.shape), 1)
    if x.shape is None:
        rank = length
    else:
        rank = len(x.shape)
        if length not in (None, rank):
            raise ValueError(f"Shape must be rank {length} but is rank {rank}")
    if rank is None:
        return None
    out: list[int | None] = []
    have = (None,) * rank if x.shape is None else x.shape
    for b, n, d in zip(starts or (None,) * rank, sizes or (None,) * rank, have, strict=True):
        if (n is not None and n < -1) or (b is not None and b < 0):
            raise ValueError(f"Cannot slice from {b} so many as {n}")
        if n == -1:
            n = None if b is None or d is None else d - b
            if n is not None and n < 0:
                raise ValueError(f"Negative dimension size caused by subtracting {b} from {d}")
        elif b is not None and n is not None and d is not None and b + n > d:
            raise ValueError(f"Expected size[{len(out)}] in [0, {d - b}], but got {n}")
        out.append(n)
    return tuple(out)


@slice_op.def_gradient
def _(op: Any, dy: Any) -> Any:
    x, begin, _ = op.inputs
    room = _room_around(op)
    if room is None:
        before = reshape(begin, [-1, 1])
        after = reshape(
            shape(x, out_type=begin.dtype) - begin - shape(dy, out_type=begin.dtype), [-1, 1]
        )
        room = concat([before, after], 1)
    return pad_op(dy, room), None, None


def _room_around(op: Any) -> np.ndarray | None:
    """What the gradient of a Slice is padded with, if it is known already."""
    begin = constant_value(op.inputs[1])
    whole, part = op.inputs[0]._dims, op.outputs[0]._dims
    if begin is None or not shapes.is_full(whole) or not shapes.is_full(part):
        return None
    pairs = [(b, d - b - n) for b, d, n in zip(begin.tolist(), whole, part, strict=True)]
    return np.array(pairs, begin.dtype).reshape(-1, 2)


# -- setting into a margin -------------------------------------------------------------------------


def checked_room(x: Any, paddings: Any) -> list[tuple[int, int]]:
    """Paddings as pairs; InvalidArgumentError if they do not suit x."""
    host.check(
        paddings.shape == (x.ndim, 2),
        lambda: (
            "The first dimension of paddings must be the rank of inputs"
            f"{shapes.brackets(paddings.shape)} {shapes.brackets(x.shape)}"
        ),
    )
    room = [(int(a), int(b)) for a, b in paddings]
    for a, b in room:
        host.check(a >= 0 and b >= 0, lambda a=a, b=b: f"Paddings must be non-negative: {a} {b}")
    return room


def padded(xp: Any, x: Any, room: list[tuple[int, int]], value: Any = 0) -> Any:
    """x in a margin of `value`."""
    if not any(a or b for a, b in room):
        return x
    return xp.pad(x, room, constant_values=value)


@op("Pad", "input: T, paddings: Tpaddings -> output: T", static=(1,), Tpaddings=dtypes.INDICES)
def pad_op(xp: Any, x: Any, paddings: Any) -> Any:
    """x in zeros: paddings [rank, 2] are the cells before and after along each axis."""
    return padded(xp, x, checked_room(x, paddings))


def padded_shape(x: Spec, paddings: Spec, *_: Spec, **__: Any) -> Shape:
    """The static shape rule of padding."""
    sides = shapes.with_rank(paddings.shape, 2)
    if sides[1] not in (2, None):
        raise ValueError(f"Dimension must be 2 but is {sides[1]}")
    rank = sides[0]
    if x.shape is not None:
        if rank is not None:
            shapes.with_rank(x.shape, rank)
        rank = len(x.shape)
    if rank is None:
        return None
    room = constant_value(paddings.tensor, partial=True) if paddings.tensor is not None else None
    if x.shape is None or room is None:
        return (None,) * rank
    flat = room.ravel().tolist()
    if any(n is not None and n < 0 for n in flat):
        raise ValueError("Paddings must be non-negative")
    return tuple(
        None if None in (d, a, b) else d + a + b
        for d, a, b in zip(x.shape, flat[::2], flat[1::2], strict=True)
    )


pad_op.infer = padded_shape


@pad_op.def_gradient
def _(op: Any, dy: Any) -> Any:
    return unpadded(op, dy), None


def unpadded(op: Any, dy: Any) -> Tensor:
    """What a padded array keeps of x: the gradient of Pad, PadV2."""
    x, paddings = op.inputs[:2]
    room = constant_value(paddings)
    begin = reshape(slice_op(paddings, [0, 0], [-1, 1]), [-1]) if room is None else room[:, 0]
    return slice_op(dy, begin, shape(x, out_type=paddings.dtype))
