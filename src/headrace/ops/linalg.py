"""Products of matrices and of tensors, and norms.

Diagonals and triangles are in `matrix.py`, decompositions in `decompose.py`, Einstein sums in
`einsum.py`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from headrace import dtypes, shapes
from headrace.conversion import convert_to_tensor
from headrace.graph import name_scope
from headrace.node import Tensor
from headrace.opdef import REGISTRY, Spec, op
from headrace.ops import array, gather, math, partition, reduce
from headrace.ops.operands import either

# -- products of matrices --------------------------------------------------------------------------


@op("MatMul", "a: T, b: T -> product: T", T=dtypes.NUMBERS)
def _matmul(
    xp: Any,
    a: Any,
    b: Any,
    *,
    transpose_a: bool = False,
    transpose_b: bool = False,
    grad_a: bool = False,
    grad_b: bool = False,
) -> Any:
    return xp.product(a, b, transpose_a, transpose_b)


@_matmul.def_infer
def _(a: Spec, b: Spec, *, transpose_a: bool, transpose_b: bool, **_: Any) -> shapes.Shape:
    m, k = shapes.with_rank(a.shape, 2)[:: -1 if transpose_a else 1]
    k2, n = shapes.with_rank(b.shape, 2)[:: -1 if transpose_b else 1]
    shapes.merge_size(k, k2)
    return (m, n)


@_matmul.def_gradient
def _(op: Any, dz: Any) -> Any:
    def multiply(x: Any, y: Any, turn_x: bool, turn_y: bool, dz_is_x: bool) -> Tensor:
        return _matmul(
            x, y, transpose_a=turn_x, transpose_b=turn_y, grad_a=not dz_is_x, grad_b=dz_is_x
        )

    a, b = (math.conj(t) for t in op.inputs)
    return _factors(multiply, a, b, dz, op.attrs["transpose_a"], op.attrs["transpose_b"])


def _factors(
    multiply: Callable[..., Tensor], a: Any, b: Any, dz: Any, turn_a: bool, turn_b: bool
) -> tuple[Tensor, Tensor]:
    """The gradients for the factors of a product, dz by b and a by dz, turned as the factors are.

    They are made by `multiply(x, y, turn_x, turn_y, whether x is dz)`.
    """
    da = (
        multiply(b, dz, turn_b, True, False) if turn_a else multiply(dz, b, False, not turn_b, True)
    )
    db = (
        multiply(dz, a, True, turn_a, True) if turn_b else multiply(a, dz, not turn_a, False, False)
    )
    return da, db


def _batch_matmul_kernel(
    xp: Any,
    x: Any,
    y: Any,
    *,
    adj_x: bool = False,
    adj_y: bool = False,
    grad_x: bool = False,
    grad_y: bool = False,
) -> Any:
    if x.dtype.kind == "c":
        x, y = xp.conj(x) if adj_x else x, xp.conj(y) if adj_y else y
    return xp.product(x, y, adj_x, adj_y)


_batch_matmul, _batch_matmul_v1 = (
    op(name, "x: T, y: T -> output: T", T=dtypes.NUMBERS)(_batch_matmul_kernel)
    for name in ("BatchMatMulV2", "BatchMatMul")
)


def _batch_matmul_shape(x: Spec, y: Spec, *, adj_x: bool, adj_y: bool, **_: Any) -> shapes.Shape:
    for t in (x, y):
        shapes.at_least_rank(t.shape, 2)
    if x.shape is None or y.shape is None:
        return None
    m, k = x.shape[-2:][:: -1 if adj_x else 1]
    k2, n = y.shape[-2:][:: -1 if adj_y else 1]
    shapes.merge_size(k, k2)
    batch = shapes.broadcast(x.shape[:-2], y.shape[:-2])
    return None if batch is None else (*batch, m, n)


def _batch_matmul_gradient(op: Any, dz: Any) -> Any:
    def multiply(x: Any, y: Any, turn_x: bool, turn_y: bool, dz_is_x: bool) -> Tensor:
        return _batch_matmul(x, y, adj_x=turn_x, adj_y=turn_y, grad_x=not dz_is_x, grad_y=dz_is_x)

    x, y = op.inputs
    dx, dy = _factors(multiply, x, y, dz, op.attrs["adj_x"], op.attrs["adj_y"])
    return sum_batch(dx, x, y), sum_batch(dy, y, x)


for _made in (_batch_matmul, _batch_matmul_v1):
    _made.infer, _made.gradient = _batch_matmul_shape, _batch_matmul_gradient


def sum_batch(g: Tensor, x: Tensor, other: Tensor, inner: int = 2) -> Tensor:
    """A gradient summed over the leading axes along which x was broadcast to match `other`.

    The last `inner` axes are no part of the batch.
    """
    mine = None if x._dims is None else x._dims[:-inner]
    theirs = None if other._dims is None else other._dims[:-inner]
    if mine is not None and (theirs == () or (mine == theirs and None not in mine)):
        return g
    if mine == ():
        return reduce.reduce_sum(g, np.arange(len(theirs))) if theirs is not None else (
            reduce.reduce_sum(g, array.range(0, array.rank(g) - inner))
        )  # fmt: skip
    target = array.shape(x)
    axes, _ = array.broadcast_gradient_args(target[:-inner], array.shape(other)[:-inner])
    return array.reshape(reduce.reduce_sum(g, axes), target)


def matmul(
    a: Any,
    b: Any,
    transpose_a: bool = False,
    transpose_b: bool = False,
    adjoint_a: bool = False,
    adjoint_b: bool = False,
    a_is_sparse: bool = False,
    b_is_sparse: bool = False,
    output_type: Any = None,
    grad_a: bool = False,
    grad_b: bool = False,
    name: str | None = None,
) -> Tensor:
    """The product of matrices [..., m, k] by [..., k, n]: [..., m, n].

    Either may be given transposed, or transposed and conjugated (`adjoint`). Leading axes
    broadcast. That an operand holds many zeros may be said, and changes nothing.
    """
    for letter, turned, both in (("a", transpose_a, adjoint_a), ("b", transpose_b, adjoint_b)):
        if turned and both:
            raise ValueError(
                f"Only one of `transpose_{letter}` and `adjoint_{letter}` can be True. Received "
                f"`transpose_{letter}`=True, `adjoint_{letter}`=True."
            )
    name = name or "MatMul"
    if not (type(a) is Tensor and type(b) is Tensor) or adjoint_a or adjoint_b or output_type:
        with name_scope(name, values=[a, b]) as scope:
            a, b = _operands(a, b)
            if _is_batch(a, b):
                return _multiply_batch(a, b, transpose_a, transpose_b, adjoint_a, adjoint_b, scope)
            if adjoint_a:
                a, transpose_a = math.conj(a), True
            if adjoint_b:
                b, transpose_b = math.conj(b), True
            y = _matmul(a, b, transpose_a=transpose_a, transpose_b=transpose_b, name=scope)
        return y if output_type is None else math.cast(y, output_type)
    if _is_batch(a, b):
        return _multiply_batch(a, b, transpose_a, transpose_b, False, False, name)
    return _matmul(a, b, transpose_a=bool(transpose_a), transpose_b=bool(transpose_b), name=name)


def _operands(a: Any, b: Any) -> tuple[Tensor, Tensor]:
    hint = getattr(b, "dtype", None) if not isinstance(a, Tensor) else None
    hint = hint.base_dtype if isinstance(hint, dtypes.DType) else None
    a = convert_to_tensor(a, name="a", dtype_hint=hint)
    return a, convert_to_tensor(b, name="b", dtype_hint=a.dtype.base_dtype)


def _is_batch(a: Tensor, b: Tensor) -> bool:
    return a._dims is None or b._dims is None or len(a._dims) > 2 or len(b._dims) > 2


def _multiply_batch(
    a: Any, b: Any, turn_a: bool, turn_b: bool, adj_a: bool, adj_b: bool, name: str
) -> Tensor:
    a = math.conj(a) if turn_a else a
    b = math.conj(b) if turn_b else b
    return _batch_matmul(a, b, adj_x=bool(turn_a or adj_a), adj_y=bool(turn_b or adj_b), name=name)


def matvec(
    a: Any,
    b: Any,
    transpose_a: bool = False,
    adjoint_a: bool = False,
    a_is_sparse: bool = False,
    b_is_sparse: bool = False,
    name: str | None = None,
) -> Tensor:
    """The product of matrices [..., m, k] by vectors [..., k]: [..., m]."""
    with name_scope(name, "MatVec", [a, b]):
        column = array.expand_dims(b, axis=-1)
        y = matmul(a, column, transpose_a=transpose_a, adjoint_a=adjoint_a)
        return array.squeeze(y, axis=-1)


def _at(a: Any, b: Any) -> Tensor:
    return matmul(a, b, name="matmul")


def _reversed_at(b: Any, a: Any) -> Tensor:
    with name_scope("matmul", values=[a, b]) as scope:
        a = convert_to_tensor(a, name="x", dtype_hint=b.dtype.base_dtype)
        return matmul(a, b, name=scope)


Tensor.__matmul__ = _at  # type: ignore[attr-defined]
Tensor.__rmatmul__ = _reversed_at  # type: ignore[attr-defined]

# -- products of tensors ---------------------------------------------------------------------------


def tensordot(a: Any, b: Any, axes: Any, name: str | None = None) -> Tensor:
    """Σ over pairs of axes of a and b: the other axes of a, followed by those of b.

    `axes` is n for the last n of a with the first n of b, or a list of axes for each. ValueError
    if the lists differ in length.
    """
    with name_scope(name, "Tensordot", [a, b]) as scope:
        a = convert_to_tensor(a, name="a")
        b = convert_to_tensor(b, name="b")
        a_axes, b_axes = _contracted(a, axes)
        left, a_free, a_known = _as_matrix(a, a_axes, False)
        right, b_free, b_known = _as_matrix(b, b_axes, True)
        ab = matmul(left, right)
        if isinstance(a_free, list) and isinstance(b_free, list):
            if ab._dims == tuple(a_free + b_free):
                return ab
            return array.reshape(ab, a_free + b_free, name=scope)
        a_free = convert_to_tensor(a_free, dtype=dtypes.int32)
        b_free = convert_to_tensor(b_free, dtype=dtypes.int32)
        y = array.reshape(ab, array.concat([a_free, b_free], 0), name=scope)
        if a_known is not None and b_known is not None:
            y.set_shape(a_known + b_known)
        return y


def _contracted(a: Tensor, axes: Any) -> tuple[Any, Any]:
    rank = None if a._dims is None else len(a._dims)
    if isinstance(axes, (int, np.integer)):
        if axes < 0:
            raise ValueError(f"`axes` must be at least 0. Received: {axes}.")
        if rank is None:
            n = array.rank(a)
            return array.range(n - axes, n, dtype=dtypes.int32), array.range(
                axes, dtype=dtypes.int32
            )
        if axes > rank:
            raise ValueError(
                f"`axes` must not be larger than the number of dimensions of tensor {a}.  Received "
                f"{axes}, vs tensor dimensions {rank}."
            )
        return list(range(rank - axes, rank)), list(range(axes))
    if isinstance(axes, (list, tuple, np.ndarray)):
        if len(axes) != 2:
            raise ValueError(f"`axes` must be an integer or have length 2. Received {axes}.")
        first, second = (
            [int(p)] if np.ndim(p) == 0 else [int(i) for i in p] if not isinstance(p, Tensor) else p
            for p in axes
        )
        if len(first) != len(second):
            raise ValueError(
                f"Different number of contraction axes `a` and `b`, {len(first)} != {len(second)}."
            )
        return first, second
    axes = convert_to_tensor(axes, name="axes", dtype=dtypes.int32)
    return axes[0], axes[1]


def _as_matrix(a: Tensor, axes: Any, second: bool) -> tuple[Tensor, Any, Any]:
    """a as a matrix [free, contracted] (the other way round if it is the second operand).

    Also the free sizes, a list if they are known now and else a tensor, and what is known of them.
    """
    dims = a._dims
    if dims is not None and isinstance(axes, list):
        rank = len(dims)
        axes = [i if i >= 0 else i + rank for i in axes]
        free = [i for i in range(rank) if i not in axes]
        known = tuple(dims[i] for i in free)
        if None not in dims:
            order = axes + free if second else free + axes
            inner, outer = (shapes.product(dims[i] for i in part) for part in (axes, free))  # type: ignore[misc]
            wanted = [inner, outer] if second else [outer, inner]
            turned = a if order == list(range(rank)) else array.transpose(a, order)
            flat = turned if turned._dims == tuple(wanted) else array.reshape(turned, wanted)
            return flat, list(known), known
        axes = convert_to_tensor(axes, dtype=dtypes.int32, name="axes")
        free = convert_to_tensor(free, dtype=dtypes.int32, name="free")
        shape = array.shape(a)
    else:
        known = None
        shape = array.shape(a)
        rank = array.rank(a)
        axes = convert_to_tensor(axes, dtype=dtypes.int32, name="axes")
        axes = gather.where(math.greater_equal(axes, 0), axes, axes + rank)
        free, _ = partition.setdiff1d(array.range(rank), axes)
    outer_sizes = gather.gather(shape, free)
    inner_sizes = gather.gather(shape, axes)
    outer, inner = reduce.reduce_prod(outer_sizes), reduce.reduce_prod(inner_sizes)
    order = array.concat([axes, free] if second else [free, axes], 0)
    wanted = array.stack([inner, outer] if second else [outer, inner])
    return array.reshape(array.transpose(a, order), wanted), outer_sizes, known


@op("Cross", "a: T, b: T -> product: T", T=dtypes.REALS)
def _cross(xp: Any, a: Any, b: Any) -> Any:
    x, y, z = (a[..., i] for i in range(3))
    u, v, w = (b[..., i] for i in range(3))
    return xp.stack([y * w - z * v, z * u - x * w, x * v - y * u], -1)


@_cross.def_infer
def _(a: Spec, b: Spec) -> shapes.Shape:
    shape = shapes.at_least_rank(shapes.merge(a.shape, b.shape), 1)
    if shape is not None:
        shapes.merge_size(shape[-1], 3)
    return shape


@_cross.def_gradient
def _(op: Any, dz: Any) -> Any:
    a, b = op.inputs
    return _cross(b, dz), _cross(dz, a)


def cross(a: Any, b: Any, name: str | None = None) -> Tensor:
    """The vector product of vectors [..., 3]."""
    return _cross(a, b, name=name)


# -- norms -----------------------------------------------------------------------------------------

_VECTOR_NORMS = ("euclidean", 1, 2, np.inf)
_MATRIX_NORMS = ("euclidean", "fro", 1, 2, np.inf)


def norm(
    tensor: Any,
    ord: Any = "euclidean",
    axis: Any = None,
    keepdims: Any = None,
    name: str | None = None,
    keep_dims: Any = None,
) -> Tensor:
    """The norm of all elements, of vectors along an axis, or of matrices along two.

    `ord` is "euclidean", 1, 2, inf or another positive number; of matrices "euclidean" or "fro",
    1, 2 or inf.
    """
    keep = bool(either("keepdims", keepdims, "keep_dims", keep_dims))
    of_matrix = isinstance(axis, (list, tuple)) and len(axis) == 2
    if of_matrix:
        axis = tuple(axis)
        if axis[0] == axis[1] or not all(isinstance(a, (int, np.integer)) for a in axis):
            raise ValueError(
                "'axis' must be None, an integer, or a tuple of 2 unique integers, got "
                f"{list(axis)}"
            )
        if ord not in _MATRIX_NORMS:
            raise ValueError(
                f"'ord' must be a supported matrix norm in {list(_MATRIX_NORMS)}, got {ord}"
            )
    else:
        if ord not in _VECTOR_NORMS and (isinstance(ord, str) or ord <= 0):
            raise ValueError(f"'ord' must be a supported vector norm, got {ord}")
        axis = None if axis is None else tuple(np.ravel(axis).tolist())
        if axis is not None and len(axis) != 1:
            raise ValueError("'axis' must be None, an integer, or a tuple of 2 unique integers")
    with name_scope(name, "norm", [tensor]):
        x = convert_to_tensor(tensor)
        if of_matrix and ord == 2:
            y = _spectral_norm(x, axis)  # type: ignore[arg-type]
        elif ord in ("fro", "euclidean", 2):
            y = math.sqrt(reduce.reduce_sum(x * math.conj(x), axis, keepdims=True))
        else:
            y = _power_norm(math.abs(x), ord, axis, of_matrix)
        if keep:
            return y
        return array.squeeze(y, axis)


def _power_norm(size: Tensor, ord: Any, axis: Any, of_matrix: bool) -> Tensor:
    if ord == 1:
        if of_matrix:
            y = reduce.reduce_sum(size, axis[0], keepdims=True)
            return reduce.reduce_max(y, axis[1], keepdims=True)
        return reduce.reduce_sum(size, None if axis is None else axis[0], keepdims=True)
    if ord == np.inf:
        if of_matrix:
            size = reduce.reduce_sum(size, axis[1], keepdims=True)
        return reduce.reduce_max(size, None if axis is None else axis[0], keepdims=True)
    return math.pow(reduce.reduce_sum(math.pow(size, ord), axis, keepdims=True), 1.0 / ord)


def _spectral_norm(x: Tensor, axis: tuple[int, ...]) -> Tensor:
    """The largest singular value of the matrices along two axes, which stay, of size 1."""
    if x._dims is None:
        raise ValueError("The 2-norm of matrices needs a tensor of known rank.")
    rank = len(x._dims)
    a, b = (i % rank for i in axis)
    order = [i for i in range(rank) if i not in (a, b)] + [a, b]
    s, _, _ = REGISTRY["Svd"](array.transpose(x, order), compute_uv=False)
    top = array.expand_dims(reduce.reduce_max(math.abs(s), -1, keepdims=True), -1)
    return array.transpose(top, [order.index(i) for i in range(rank)])


def normalize(
    tensor: Any, ord: Any = "euclidean", axis: Any = None, name: str | None = None
) -> tuple[Tensor, Tensor]:
    """The tensor over its norm along an axis (or of all), and the norm, its axes kept."""
    with name_scope(name, "normalize", [tensor]):
        x = convert_to_tensor(tensor)
        size = norm(x, ord, axis, keepdims=True)
        return x / math.cast(size, x.dtype.base_dtype), size
