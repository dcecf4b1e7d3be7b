"""Numbers in equal steps."""

from __future__ import annotations

from typing import Any

import numpy as np

from headrace import dtypes, shapes
from headrace.conversion import convert_to_tensor
from headrace.dtypes import as_dtype
from headrace.errors import InvalidArgumentError
from headrace.folding import Spec
from headrace.graph import name_scope
from headrace.node import Tensor
from headrace.opdef import NOT_DIFFERENTIABLE, op
from headrace.ops import math
from headrace.shapes import Shape
from headrace.xp import numpy as host


@op("Range", "start: Tidx, limit: Tidx, delta: Tidx -> output: Tidx", static=(0, 1, 2),
    Tidx=dtypes.REALS)  # fmt: skip
def range_op(xp: Any, start: Any, limit: Any, delta: Any) -> Any:
    """start + i delta, for as many i as it stays before `limit`."""
    n = _range_length(start, limit, delta)
    return (start + np.arange(n).astype(start.dtype) * delta).astype(start.dtype)


def _range_length(start: Any, limit: Any, delta: Any) -> int:
    a, b, step = start.item(), limit.item(), delta.item()
    host.check(step, "Requires delta != 0")
    if step > 0:
        host.check(a <= b, lambda: f"Requires start <= limit when delta > 0: {a}/{b}")
    else:
        host.check(a >= b, lambda: f"Requires start >= limit when delta < 0: {a}/{b}")
    return -((a - b) // step) if isinstance(step, int) else int(np.ceil(abs((b - a) / step)))


@range_op.def_infer
def _(start: Spec, limit: Spec, delta: Spec) -> Shape:
    for operand in (start, limit, delta):
        shapes.with_rank(operand.shape, 0)
    values = start.value, limit.value, delta.value
    if any(v is None for v in values):
        return (None,)
    try:
        return (_range_length(*values),)
    except InvalidArgumentError as error:
        raise ValueError(error.message) from None


range_op.gradient = NOT_DIFFERENTIABLE


_WIDER = (
    dtypes.int32,
    dtypes.int64,
    dtypes.float16,
    dtypes.bfloat16,
    dtypes.float32,
    dtypes.float64,
)


def range(
    start: Any, limit: Any = None, delta: Any = 1, dtype: Any = None, name: str | None = "range"
) -> Tensor:
    """start, start + delta, … up to but without `limit`; from 0 if only `limit` is given.

    The type is the widest of the three numbers'. ValueError for a delta of 0 or of the wrong sign.
    """
    if limit is None:
        start, limit = 0, start
    with name_scope(name, "Range", [start, limit, delta]) as scope:
        ends = [
            v if isinstance(v, Tensor) else convert_to_tensor(v, dtype, name=what)
            for v, what in ((start, "start"), (limit, "limit"), (delta, "delta"))
        ]
        if dtype is None:
            kinds = [t.dtype.base_dtype for t in ends]
            for kind in kinds:
                if kind not in _WIDER:
                    raise TypeError(f"tf.range makes no numbers of type {kind.name}.")
            dtype = max(kinds, key=_WIDER.index)
        return range_op(*(math.cast(t, as_dtype(dtype)) for t in ends), name=scope)
