"""Slices: `tf.slice`, `tf.strided_slice`, and everything Python's `[]` allows on a Tensor."""

from __future__ import annotations

import builtins
import numbers
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from headrace import dtypes, shapes
from headrace.dtypes import as_dtype
from headrace.folding import UNKNOWN, Spec
from headrace.graph import name_scope
from headrace.node import Tensor
from headrace.opdef import op
from headrace.ops import array, gather, math
from headrace.ops.constant import constant
from headrace.ops.operands import agree
from headrace.shapes import Dimension, Shape
from headrace.xp import numpy as host

newaxis = None

# -- what a strided slice takes, axis by axis ------------------------------------------------------


@dataclass(frozen=True, slots=True)
class _Piece:
    """What becomes of one axis: `axis` None is a new axis of size 1; `drop` takes one element."""

    axis: int | None
    begin: Any = None  # None: from the first (the last, for a negative stride)
    end: Any = None
    stride: Any = 1
    drop: bool = False


def _pieces(
    rank: int,
    begin: Sequence[Any],
    end: Sequence[Any],
    strides: Sequence[Any],
    masks: dict[str, int],
) -> Iterator[_Piece]:
    """The pieces of a slice, its ellipsis written out; ValueError if there are too many."""
    n = len(begin)

    def bit(mask: str, i: int) -> bool:
        return bool(masks[mask] >> i & 1)

    dots = [i for i in range(n) if bit("ellipsis_mask", i)]
    if len(dots) > 1:
        raise ValueError("Multiple ellipses in slice spec not allowed")
    taken = sum(not bit("ellipsis_mask", i) and not bit("new_axis_mask", i) for i in range(n))
    if rank == 0 and taken:
        raise ValueError("Attempting to slice scalar input.")
    if taken > rank:
        raise ValueError(f"Index out of range using input dim {rank}; input has only {rank} dims")
    axis = 0
    for i in [*range(n), *([] if dots else [n])]:
        if i == n or i in dots:
            for _ in range(rank - taken):
                yield _Piece(axis)
                axis += 1
        elif bit("new_axis_mask", i):
            yield _Piece(None)
        else:
            drop = bit("shrink_axis_mask", i)
            yield _Piece(
                axis,
                None if bit("begin_mask", i) and not drop else begin[i],
                None if bit("end_mask", i) else end[i],
                strides[i],
                drop,
            )
            axis += 1


def _checked(piece: _Piece, size: int | None) -> None:
    """ValueError for a stride of 0, and for an element that the axis does not have."""
    if isinstance(piece.stride, int) and piece.stride == 0:
        raise ValueError(f"strides[{piece.axis}] must be non-zero")
    if piece.drop:
        if isinstance(piece.stride, int) and piece.stride < 0:
            raise ValueError("only stride 1 allowed on non-range indexing.")
        at = piece.begin
        if size is not None and isinstance(at, int):
            at = at + size if at < 0 else at
            if not 0 <= at < size:
                raise ValueError(f"slice index {at} of dimension {piece.axis} out of bounds.")


def _length(piece: _Piece, size: int | None) -> int | None:
    if size is None or any(v is UNKNOWN for v in (piece.begin, piece.end, piece.stride)):
        return None
    return len(range(size)[piece.begin : piece.end : piece.stride])


@op(
    "StridedSlice", "input: T, begin: Index, end: Index, strides: Index -> output: T",
    static=(1, 2, 3), Index=(dtypes.int16, *dtypes.INDICES),
)  # fmt: skip
def _strided_slice(
    xp: Any,
    x: Any,
    begin: Any,
    end: Any,
    strides: Any,
    *,
    begin_mask: int = 0,
    end_mask: int = 0,
    ellipsis_mask: int = 0,
    new_axis_mask: int = 0,
    shrink_axis_mask: int = 0,
) -> Any:
    masks = _masks(begin_mask, end_mask, ellipsis_mask, new_axis_mask, shrink_axis_mask)
    cut: list[Any] = []
    for piece in _cut(xp, x.shape, begin, end, strides, masks):
        if piece.axis is None:
            cut.append(None)
        elif piece.drop:
            cut.append(piece.begin)
        else:
            cut.append(np.s_[piece.begin : piece.end : piece.stride])
    return (x if x.dtype == object else xp.asarray(x))[(*cut, ...)]


def _cut(
    xp: Any, shape: Any, begin: Any, end: Any, strides: Any, masks: dict[str, int]
) -> list[_Piece]:
    """The checked pieces for an array of the shape. InvalidArgumentError for what it has not.

    In a traced loop `begin` and `end` may be tracers; only single indices can use them then.
    """
    first, last = (v.tolist() if isinstance(v, np.ndarray) else list(v) for v in (begin, end))
    try:
        pieces = list(_pieces(len(shape), first, last, strides.tolist(), masks))
        for piece in pieces:
            if piece.axis is not None:
                _checked(piece, shape[piece.axis])
    except ValueError as error:
        host.check(False, str(error))
    for piece in pieces:
        if piece.axis is None:
            continue
        if piece.drop and not isinstance(piece.begin, int):
            size = shape[piece.axis]
            xp.check((piece.begin >= -size) & (piece.begin < size), "slice index out of bounds.")
        elif not piece.drop:
            host.check(
                all(v is None or isinstance(v, int) for v in (piece.begin, piece.end)),
                f"The bounds of a slice of dimension {piece.axis} are computed by a loop, so that "
                "its size is not known. Use tf.slice with a constant size, or tf.gather.",
            )
    return pieces


def _masks(begin: int, end: int, ellipsis: int, new_axis: int, shrink_axis: int) -> dict[str, int]:
    return {
        "begin_mask": begin, "end_mask": end, "ellipsis_mask": ellipsis,
        "new_axis_mask": new_axis, "shrink_axis_mask": shrink_axis,
    }  # fmt: skip


@_strided_slice.def_infer
def _(x: Spec, begin: Spec, end: Spec, strides: Spec, **masks: int) -> Shape:
    (n,) = shapes.with_rank(agree(agree(begin.shape, end.shape), strides.shape), 1)
    if x.shape is None or n is None:
        return None
    unknown = (None,) * n
    first, last, steps = (
        [UNKNOWN if v is None else v for v in (spec.sizes or unknown)]
        for spec in (begin, end, strides)
    )
    out: list[int | None] = []
    for piece in _pieces(len(x.shape), first, last, steps, masks):
        if piece.axis is None:
            out.append(1)
            continue
        _checked(piece, x.shape[piece.axis])
        if not piece.drop:
            out.append(_length(piece, x.shape[piece.axis]))
    return tuple(out)


@_strided_slice.def_gradient
def _(op: Any, dy: Any) -> Any:
    x, begin, end, strides = op.inputs
    masks = {k: v for k, v in op.attrs.items() if k.endswith("_mask")}
    extent = array.shape(x, out_type=begin.dtype.base_dtype)
    return _strided_slice_grad(extent, begin, end, strides, dy, **masks), None, None, None


@op(
    "StridedSliceGrad",
    "shape: Index, begin: Index, end: Index, strides: Index, dy: T -> output: T",
    static=(0, 1, 2, 3), Index=dtypes.INDICES,
)  # fmt: skip
def _strided_slice_grad(
    xp: Any,
    shape: Any,
    begin: Any,
    end: Any,
    strides: Any,
    dy: Any,
    *,
    begin_mask: int = 0,
    end_mask: int = 0,
    ellipsis_mask: int = 0,
    new_axis_mask: int = 0,
    shrink_axis_mask: int = 0,
) -> Any:
    """`dy` where a strided slice took from, in zeros of `shape`."""
    masks = _masks(begin_mask, end_mask, ellipsis_mask, new_axis_mask, shrink_axis_mask)
    extent = shape.tolist()
    pieces = _cut(xp, extent, begin, end, strides, masks)
    index: list[Any] = []
    sizes: list[int] = []
    for piece in pieces:
        if piece.axis is None:
            continue
        size = extent[piece.axis]
        if piece.drop:
            index.append(piece.begin)
        else:
            taken = range(size)[piece.begin : piece.end : piece.stride]
            sizes.append(len(taken))
            index.append(_forward(taken))
    dy = xp.reshape(dy, sizes)
    kept = [p for p in pieces if p.axis is not None and not p.drop]
    back = [np.s_[::-1] if p.stride < 0 else np.s_[:] for p in kept]
    if any(b.step for b in back):
        dy = dy[tuple(back)]
    if not any(_is_tracer_index(i) for i in index) and all(
        not isinstance(i, builtins.slice) or i.step in (None, 1) for i in index
    ):
        return _padded(xp, dy, index, extent)
    return xp.at_set(xp.zeros(extent, dy.dtype), (*index, ...), dy)


def _forward(taken: range) -> builtins.slice:
    """The same places, counted upwards."""
    if not taken:
        return np.s_[0:0]
    if taken.step < 0:
        taken = taken[::-1]
    return np.s_[taken.start : taken[-1] + 1 : taken.step]


def _is_tracer_index(i: Any) -> bool:
    return not isinstance(i, (int, builtins.slice))


def _padded(xp: Any, dy: Any, index: list[Any], extent: list[int]) -> Any:
    """`dy` as a block of zeros around it: cheaper than a scatter."""
    room, sizes = [], []
    for i, size in zip(index, extent, strict=True):
        first, last = (i % size, i % size + 1) if isinstance(i, int) else (i.start, i.stop)
        room.append((first, size - last))
        sizes.append(last - first)
    dy = xp.reshape(dy, sizes)
    return xp.pad(dy, room) if any(a or b for a, b in room) else dy


@_strided_slice_grad.def_infer
def _(shape: Spec, begin: Spec, end: Spec, strides: Spec, dy: Spec, **masks: int) -> Shape:
    return shape.sizes


@_strided_slice_grad.def_gradient
def _(op: Any, ddx: Any) -> Any:
    _, begin, end, strides, _ = op.inputs
    masks = {k: v for k, v in op.attrs.items() if k.endswith("_mask")}
    return None, None, None, None, _strided_slice(ddx, begin, end, strides, **masks)


# -- functions -------------------------------------------------------------------------------------


def slice(input_: Any, begin: Any, size: Any, name: str | None = None) -> Tensor:
    """The block that starts at `begin` [rank], of `size` [rank]; -1 for all that follow."""
    return array.slice_op(input_, begin, size, name=name)


def strided_slice(
    input_: Any,
    begin: Any,
    end: Any,
    strides: Any = None,
    begin_mask: int = 0,
    end_mask: int = 0,
    ellipsis_mask: int = 0,
    new_axis_mask: int = 0,
    shrink_axis_mask: int = 0,
    var: Any = None,
    name: str | None = None,
) -> Tensor:
    """input_[begin[0]:end[0]:strides[0], …]; bit i of a mask changes what place i means.

    begin_mask, end_mask: from the start, to the end; ellipsis_mask: `...`; new_axis_mask: a new
    axis; shrink_axis_mask: an integer index. ValueError for an index that is out of bounds.
    """
    if strides is None:
        strides = array.ones_like(begin)
    masks = _masks(begin_mask, end_mask, ellipsis_mask, new_axis_mask, shrink_axis_mask)
    return _strided_slice(input_, begin, end, strides, **masks, name=name)


_INDEX_TYPES = (dtypes.int16, dtypes.int32, dtypes.int64)
_WRONG = (
    "Only integers, slices (`:`), ellipsis (`...`), tf.newaxis (`None`) and scalar "
    "tf.int32/tf.int64 tensors are valid indices, got {!r}"
)


def _check_index(index: Any) -> None:
    if isinstance(index, (numbers.Integral, Dimension)):
        return
    dtype = getattr(index, "dtype", None)
    integer = dtype is not None and as_dtype(dtype).base_dtype in _INDEX_TYPES
    if not integer or (index.shape and len(index.shape) == 1):
        raise TypeError(_WRONG.format(index))


def _is_mask(key: Any) -> bool:
    dtype = getattr(key, "dtype", None)
    return dtype is not None and not isinstance(key, np.bool_) and as_dtype(dtype).is_bool


def get_item(tensor: Any, key: Any) -> Tensor:
    """`tensor[key]` for all that NumPy's basic indexing allows, and for one boolean mask.

    Indices and bounds may be scalar integer tensors. TypeError for other indices, ValueError for
    one that is out of bounds.
    """
    if _is_mask(key):
        return gather.boolean_mask(tensor, key)
    begin: list[Any] = []
    end: list[Any] = []
    strides: list[Any] = []
    masks = _masks(0, 0, 0, 0, 0)
    for i, k in enumerate(key if isinstance(key, (list, tuple)) else [key]):
        first, last, step = 0, 0, 1
        if isinstance(k, builtins.slice):
            parts = [None if _is_open(v) else v for v in (k.start, k.stop, k.step)]
            kinds = {v.dtype.base_dtype for v in parts if isinstance(v, Tensor)}
            kind = next((k for k in reversed(_INDEX_TYPES) if k in kinds), None)
            for part, mask in enumerate(("begin_mask", "end_mask", None)):
                if parts[part] is not None:
                    _check_index(parts[part])
                    continue
                if mask:
                    masks[mask] |= 1 << i
                default = 0 if mask else 1
                parts[part] = default if kind is None else constant(default, kind)
            first, last, step = parts
        elif k is Ellipsis:
            masks["ellipsis_mask"] |= 1 << i
        elif k is None:
            masks["new_axis_mask"] |= 1 << i
        else:
            _check_index(k)
            first, last = k, k + 1
            if isinstance(k, Tensor) and k.dtype.base_dtype is not dtypes.int32:
                step = constant(1, k.dtype.base_dtype)
            masks["shrink_axis_mask"] |= 1 << i
        begin.append(first)
        end.append(last)
        strides.append(step)
    with name_scope(None, "strided_slice", [tensor, *begin, *end, *strides]) as scope:
        if begin:
            bounds = [array.stack(v) for v in (begin, end, strides)]
            if any(b.dtype is dtypes.int64 for b in bounds):
                bounds = [math.cast(b, dtypes.int64) for b in bounds]
        else:
            bounds = [constant([], dtypes.int32)] * 3
        return _strided_slice(tensor, *bounds, **masks, name=scope)


def _is_open(bound: Any) -> bool:
    return bound is None or (isinstance(bound, Dimension) and bound.value is None)


Tensor.__getitem__ = get_item  # type: ignore[attr-defined]
