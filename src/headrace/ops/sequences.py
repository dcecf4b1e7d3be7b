"""Sequences and grids: linspace, sequence masks, meshgrid, repeat."""

from __future__ import annotations

from typing import Any

import numpy as np

from headrace import dtypes, shapes
from headrace.conversion import convert_to_tensor
from headrace.dtypes import as_dtype
from headrace.folding import Spec
from headrace.graph import name_scope
from headrace.node import Tensor
from headrace.opdef import REGISTRY, op
from headrace.ops import array, gather, math, rearrange, reduce
from headrace.ops.constant import constant
from headrace.ops.counting import range_op
from headrace.ops.operands import axis_of
from headrace.shapes import Shape
from headrace.xp import numpy as host


@op("LinSpace", "start: T, stop: T, num: Tidx -> output: T", static=(2,), T=dtypes.FLOATS,
    Tidx=dtypes.INDICES)  # fmt: skip
def _lin_space(xp: Any, start: Any, stop: Any, num: Any) -> Any:
    n = int(num)
    host.check(n > 0, lambda: f"Requires num > 0: {n}")
    if n == 1:
        return xp.reshape(start, (1,))
    steps = np.arange(n).astype(start.dtype)
    inner = start + (stop - start) / np.asarray(n - 1, start.dtype) * steps[:-1]
    return xp.concatenate([inner, xp.reshape(stop, (1,))])  # the last one exactly


@_lin_space.def_infer
def _(start: Spec, stop: Spec, num: Spec) -> Shape:
    for operand in (start, stop, num):
        shapes.with_rank(operand.shape, 0)
    n = axis_of(num)
    if n is not None and n <= 0:
        raise ValueError(f"Requires num > 0: {n}")
    return (n,)


@_lin_space.def_gradient
def _(op: Any, dy: Any) -> Any:
    _, _, num = op.inputs
    kind = dy.dtype.base_dtype
    part = linspace(convert_to_tensor(0, kind), convert_to_tensor(1, kind), num)
    return reduce.reduce_sum(dy * (1 - part)), reduce.reduce_sum(dy * part), None


def linspace(start: Any, stop: Any, num: Any, name: str | None = None) -> Tensor:
    """`num` numbers from `start` to `stop` in equal steps, both included: [num]."""
    return _lin_space(start, stop, num, name=name)


lin_space = linspace


def sequence_mask(
    lengths: Any, maxlen: Any = None, dtype: Any = dtypes.bool_, name: str | None = None
) -> Tensor:
    """True for the first lengths[i] of `maxlen` steps: lengths [...] give [..., maxlen].

    `maxlen` is the largest length if not given.
    """
    with name_scope(name, "SequenceMask", [lengths, maxlen]):
        lengths = convert_to_tensor(lengths)
        kind = lengths.dtype.base_dtype
        if maxlen is None:
            rank = None if lengths._dims is None else len(lengths._dims)
            axes = None if rank is None else constant(np.arange(rank, dtype=np.int32))
            longest = reduce.reduce_max(lengths, axes)
            maxlen = math.maximum(constant(0, kind), longest)
        else:
            maxlen = convert_to_tensor(maxlen)
        if maxlen._dims not in (None, ()):
            raise ValueError(
                f"Argument `maxlen` must be scalar for sequence_mask, received `maxlen` = {maxlen} "
                f"with shape '{maxlen.shape}' instead"
            )
        steps_kind = maxlen.dtype.base_dtype
        steps = range_op(constant(0, steps_kind), maxlen, constant(1, steps_kind))
        ends = array.expand_dims(lengths, -1)
        result = math.less(steps, _cast_always(ends, steps_kind))
        dtype = as_dtype(dtype)
        return result if dtype is dtypes.bool_ else math.cast(result, dtype)


def meshgrid(*args: Any, indexing: str = "xy", name: str = "meshgrid") -> list[Tensor]:
    """The coordinates of a grid: one array per vector, each of shape [n₂, n₁, n₃, …].

    With `indexing="ij"` the axes are in the order of the vectors.
    """
    if indexing not in ("xy", "ij"):
        raise ValueError(
            "Argument `indexing` parameter must be either 'xy' or 'ij', got '" + str(indexing) + "'"
        )
    with name_scope(name, "meshgrid", list(args)):
        n = len(args)
        around = (1,) * n
        rows = [
            array.reshape(array.stack(x), (*around[:i], -1, *around[i + 1 :]))
            for i, x in enumerate(args)
        ]
        sizes = [array.size(x) for x in args]
        kind = convert_to_tensor(args[0]).dtype.base_dtype
        if indexing == "xy" and n > 1:
            rows[0] = array.reshape(rows[0], (1, -1, *around[2:]))
            rows[1] = array.reshape(rows[1], (-1, 1, *around[2:]))
            sizes[0], sizes[1] = sizes[1], sizes[0]
        whole = array.ones(sizes, kind)
        return [row * whole for row in rows]


def repeat(input: Any, repeats: Any, axis: int | None = None, name: str | None = None) -> Tensor:
    """Each element repeated: along `axis`, or of the flattened array if there is none.

    `repeats` is one number for all, or one per element of the axis.
    """
    if axis is None:
        input, axis = array.reshape(input, [-1]), 0
    with name_scope(name, "Repeat", [input, repeats]):
        times = _cast_always(convert_to_tensor(repeats, name="repeats"), dtypes.int32)
        data = convert_to_tensor(input, name="data")
        if data._dims is None or times._dims is None:
            raise ValueError("tf.repeat needs the ranks of the input and of repeats.")
        at = shapes.normalize_axis(axis, len(data._dims))
        extent = array.shape(data)
        if len(times._dims) == 0:
            times = array.reshape(times, [])
            stretched = rearrange.tile(array.expand_dims(data, at + 1), _along(data, at, times))
            whole = array.concat([extent[:at], [times * extent[at]], extent[at + 1 :]], 0)
            return array.reshape(stretched, whole)
        times = array.broadcast_to(times, [extent[at]])
        longest = reduce.reduce_max(times)
        most = math.maximum(constant(0, name="zero"), longest)
        mask = sequence_mask(times, most)
        stretched = rearrange.tile(array.expand_dims(data, at + 1), _along(data, at, most))
        return gather.boolean_mask(stretched, mask, axis=at)


def _along(data: Tensor, at: int, times: Tensor) -> list[Any]:
    return [1] * (at + 1) + [times] + [1] * (len(data._dims) - at - 1)  # type: ignore[arg-type]


def _cast_always(x: Tensor, kind: Any) -> Tensor:
    """`cast` with a node of its own even where the type is right, as TensorFlow makes it here."""
    return REGISTRY["Cast"](x, DstT=kind)
