"""Determinants, inverses, linear systems, and the decompositions of matrices [..., m, n].

Both array libraries call LAPACK. Where the answer's sign is free (eigenvectors, singular vectors)
it is fixed, so that a graph gives the same numbers however it is run.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from headrace import dtypes, shapes
from headrace.conversion import convert_to_tensor
from headrace.graph import name_scope
from headrace.node import Tensor
from headrace.opdef import OpDef, Spec, op
from headrace.ops import array, linalg, math, reduce
from headrace.ops import matrix as matrices

_TYPES = (dtypes.float16, dtypes.float32, dtypes.float64, *dtypes.COMPLEX)
_SINGULAR = "Input matrix is not invertible."

# -- what they share -------------------------------------------------------------------------------


def _solved(xp: Any, run: Callable[..., Any], *operands: Any, message: str = _SINGULAR) -> Any:
    """`run` of the operands, float16 as float32; if it cannot be done, an error with `message`."""
    kind = operands[0].dtype
    if kind == np.float16:
        operands = tuple(x.astype(np.float32) for x in operands)
    try:
        y = run(*operands)
    except np.linalg.LinAlgError:
        xp.check(False, message)
        raise
    if xp.traced:
        xp.check(xp.all(xp.isfinite(y)), message)
    return y.astype(kind)


def _square(x: Spec) -> shapes.Shape:
    """The shape of square matrices; ValueError in TensorFlow's words if they are not."""
    shapes.at_least_rank(x.shape, 2)
    if x.shape is None:
        return None
    n = shapes.merge_size(x.shape[-2], x.shape[-1])
    return (*x.shape[:-2], n, n)


def _h(x: Any) -> Tensor:
    return matrices.adjoint(x)


def _mul(a: Any, b: Any, **flags: Any) -> Tensor:
    return linalg.matmul(a, b, **flags)


def _adjoint_array(xp: Any, a: Any) -> Any:
    a = xp.swapaxes(a, -1, -2)
    return xp.conj(a) if a.dtype.kind == "c" else a


def _from_lower(xp: Any, a: Any) -> Any:
    """Self-adjoint matrices from their lower triangles, which alone are read."""
    return xp.tril(a) + _adjoint_array(xp, xp.tril(a, -1))


def _unary(
    name: str, kernel: Callable[..., Any], signature: str = "input: T -> output: T"
) -> OpDef:
    made = op(name, signature, T=_TYPES)(kernel)
    made.def_infer(lambda x, **_: _square(x))
    return made


# -- determinants ----------------------------------------------------------------------------------


@op("MatrixDeterminant", "input: T -> output: T", T=_TYPES)
def _determinant(xp: Any, a: Any) -> Any:
    wide = a.astype(np.float32) if a.dtype == np.float16 else a
    return xp.linalg.det(wide).astype(a.dtype)


@op("LogMatrixDeterminant", "input: T -> sign: T, log_abs_determinant: T", T=_TYPES)
def _log_determinant(xp: Any, a: Any) -> Any:
    wide = a.astype(np.float32) if a.dtype == np.float16 else a
    sign, log = xp.linalg.slogdet(wide)
    return sign.astype(a.dtype), log.astype(a.dtype)


@_determinant.def_infer
def _(a: Spec) -> shapes.Shape:
    shape = _square(a)
    return None if shape is None else shape[:-2]


@_log_determinant.def_infer
def _(a: Spec) -> Any:
    shape = _square(a)
    return [None if shape is None else shape[:-2]] * 2


def _as_factor(x: Any) -> Tensor:
    """[...] as [..., 1, 1], to stand beside matrices."""
    return array.expand_dims(array.expand_dims(x, -1), -1)


@_determinant.def_gradient
def _(op: Any, dy: Any) -> Any:
    inverse = matrix_inverse(op.inputs[0], adjoint=True)
    return _as_factor(dy * math.conj(op.outputs[0])) * inverse


@_log_determinant.def_gradient
def _(op: Any, dsign: Any, dlog: Any) -> Any:
    return _as_factor(dlog) * matrix_inverse(op.inputs[0], adjoint=True)


def matrix_determinant(input: Any, name: str | None = None) -> Tensor:
    """The determinants [...] of matrices [..., n, n]."""
    return _determinant(input, name=name)


def slogdet(input: Any, name: str | None = None) -> list[Tensor]:
    """The signs of determinants and the logarithms of their sizes, [...] each."""
    return _log_determinant(input, name=name)


def logdet(matrix_: Any, name: str | None = None) -> Tensor:
    """The logarithms of the determinants of positive definite matrices [..., n, n]."""
    with name_scope(name, "logdet", [matrix_]):
        diagonal = matrices.matrix_diag_part(cholesky(matrix_))
        return 2.0 * reduce.reduce_sum(math.log(math.real(diagonal)), axis=[-1])


# -- inverses and linear systems -------------------------------------------------------------------


def _inverse_kernel(xp: Any, a: Any, *, adjoint: bool = False) -> Any:
    return _solved(xp, xp.linalg.inv, _adjoint_array(xp, a) if adjoint else a)


_inverse = _unary("MatrixInverse", _inverse_kernel)


@_inverse.def_gradient
def _(op: Any, dy: Any) -> Any:
    y = op.outputs[0]
    turned = op.attrs["adjoint"]
    da = -_mul(y, _mul(dy, y, adjoint_b=True), adjoint_a=True)
    return _h(da) if turned else da


def matrix_inverse(input: Any, adjoint: bool = False, name: str | None = None) -> Tensor:
    """The inverses of matrices [..., n, n], or of their adjoints."""
    return _inverse(input, adjoint=adjoint, name=name)


@op("MatrixSolve", "matrix: T, rhs: T -> output: T", T=_TYPES)
def _solve(xp: Any, a: Any, b: Any, *, adjoint: bool = False) -> Any:
    return _solved(xp, xp.linalg.solve, _adjoint_array(xp, a) if adjoint else a, b)


@op(
    "MatrixTriangularSolve", "matrix: T, rhs: T -> output: T", T=_TYPES
)  # fmt: skip
def _triangular_solve(xp: Any, a: Any, b: Any, *, lower: bool = True, adjoint: bool = False) -> Any:
    a = xp.tril(a) if lower else xp.triu(a)
    return _solved(xp, xp.linalg.solve, _adjoint_array(xp, a) if adjoint else a, b)


def _solution_shape(a: Spec, b: Spec, **_: Any) -> shapes.Shape:
    square = _square(a)
    shapes.at_least_rank(b.shape, 2)
    if square is None or b.shape is None:
        return None
    n = shapes.merge_size(square[-1], b.shape[-2])
    batch = shapes.broadcast(square[:-2], b.shape[:-2])
    return None if batch is None else (*batch, n, b.shape[-1])


_solve.infer = _triangular_solve.infer = _solution_shape


@_solve.def_gradient
def _(op: Any, dx: Any) -> Any:
    a, b = op.inputs
    x, turned = op.outputs[0], op.attrs["adjoint"]
    db = _solve(a, dx, adjoint=not turned)
    da = -_mul(x, db, adjoint_b=True) if turned else -_mul(db, x, adjoint_b=True)
    return linalg.sum_batch(da, a, b), linalg.sum_batch(db, b, a)


@_triangular_solve.def_gradient
def _(op: Any, dx: Any) -> Any:
    a, b = op.inputs
    x, turned, lower = op.outputs[0], op.attrs["adjoint"], op.attrs["lower"]
    db = _triangular_solve(a, dx, lower=lower, adjoint=not turned)
    da = -_mul(x, db, adjoint_b=True) if turned else -_mul(db, x, adjoint_b=True)
    da = matrices.matrix_band_part(da, -1, 0) if lower else matrices.matrix_band_part(da, 0, -1)
    return linalg.sum_batch(da, a, b), linalg.sum_batch(db, b, a)


def matrix_solve(matrix: Any, rhs: Any, adjoint: bool = False, name: str | None = None) -> Tensor:
    """The X [..., n, k] of A X = B, for A [..., n, n] (or its adjoint) and B [..., n, k]."""
    return _solve(matrix, rhs, adjoint=adjoint, name=name)


def matrix_triangular_solve(
    matrix: Any, rhs: Any, lower: bool = True, adjoint: bool = False, name: str | None = None
) -> Tensor:
    """`matrix_solve` for triangular matrices, of which the other triangle is not read."""
    with name_scope(name, "triangular_solve", [matrix, rhs]):
        return _triangular_solve(matrix, rhs, lower=lower, adjoint=adjoint)


# -- Cholesky --------------------------------------------------------------------------------------


def _cholesky_kernel(xp: Any, a: Any) -> Any:
    return _solved(
        xp, xp.linalg.cholesky, _from_lower(xp, a),
        message="Cholesky decomposition was not successful. The input might not be valid.",
    )  # fmt: skip


_cholesky = _unary("Cholesky", _cholesky_kernel)


@_cholesky.def_gradient
def _(op: Any, dl: Any) -> Any:
    """As of a change that keeps the matrix self-adjoint (Murray 2016)."""
    l = op.outputs[0]  # noqa: E741
    middle = _mul(l, dl, adjoint_a=True)
    middle = matrices.matrix_set_diag(middle, 0.5 * matrices.matrix_diag_part(middle))
    middle = matrices.matrix_band_part(middle, -1, 0)
    left = _triangular_solve(l, middle, adjoint=True)
    da = _h(_triangular_solve(l, _h(left), adjoint=True))
    return 0.5 * (da + _h(da))


def cholesky(input: Any, name: str | None = None) -> Tensor:
    """The lower triangular L with L Lᴴ = A, for positive definite A [..., n, n].

    Only the lower triangle of A is read.
    """
    return _cholesky(input, name=name)


def cholesky_solve(chol: Any, rhs: Any, name: str | None = None) -> Tensor:
    """The X of A X = B [..., n, k], given the Cholesky factor of A."""
    with name_scope(name, "cholesky_solve", [chol, rhs]):
        y = _triangular_solve(chol, rhs, adjoint=False, lower=True)
        return _triangular_solve(chol, y, adjoint=True, lower=True)


def matrix_solve_ls(
    matrix: Any, rhs: Any, l2_regularizer: float = 0.0, fast: bool = True, name: str | None = None
) -> Tensor:
    """The X [..., n, k] that makes ‖A X − B‖² + λ‖X‖² least, for A [..., m, n] and B [..., m, k].

    By the normal equations; of more unknowns than equations, the X of least norm. The sizes m and
    n must be known when the graph is built.
    """
    with name_scope(name, "matrix_solve_ls", [matrix, rhs, l2_regularizer]):
        a, b = convert_to_tensor(matrix), convert_to_tensor(rhs)
        dims = a._dims
        if dims is None or None in dims[-2:]:
            raise ValueError(f"matrix_solve_ls needs the sizes of the matrix, which is {a}.")
        tall = dims[-2] >= dims[-1]  # type: ignore[operator]
        gram = _mul(a, a, adjoint_a=True) if tall else _mul(a, a, adjoint_b=True)
        if l2_regularizer:
            ridge = array.ones(array.shape(gram)[:-1], a.dtype.base_dtype)
            factor = math.cast(l2_regularizer, a.dtype.base_dtype)
            gram = gram + factor * matrices.matrix_diag(ridge)
        chol = cholesky(gram)
        if tall:
            return cholesky_solve(chol, _mul(a, b, adjoint_a=True))
        return _mul(a, cholesky_solve(chol, b), adjoint_a=True)


# -- eigenvalues and singular values ---------------------------------------------------------------


def _sign_of_columns(xp: Any, v: Any) -> Any:
    """[..., 1, n]: the factor of size 1 that makes the largest element of each column positive."""
    at = xp.argmax(xp.round(xp.abs(v), 4), axis=-2)
    top = xp.take_along_axis(v, at[..., None, :], -2)
    return xp.where(top == 0, xp.ones_like(top), xp.conj(top) / xp.abs(top))


@op("SelfAdjointEigV2", "input: T -> e: T, v: T", T=_TYPES)
def _eig(xp: Any, a: Any, *, compute_v: bool = True) -> Any:
    kind = a.dtype
    a = _from_lower(xp, a.astype(np.float32) if kind == np.float16 else a)
    if not compute_v:
        return xp.linalg.eigvalsh(a).astype(kind), xp.zeros(0, kind)
    e, v = xp.linalg.eigh(a)
    return e.astype(kind), (v * _sign_of_columns(xp, v)).astype(kind)


@_eig.def_infer
def _(a: Spec, *, compute_v: bool) -> Any:
    square = _square(a)
    if square is None:
        return [None, None if compute_v else (0,)]
    return [square[:-1], square if compute_v else (0,)]


def _off_diagonal_inverse(gaps: Tensor) -> Tensor:
    """1 / gaps with zeros on the diagonal."""
    n = array.shape(gaps)[-1]
    one = matrices.eye(n, dtype=gaps.dtype.base_dtype)
    return (1 - one) / (gaps + one)


@_eig.def_gradient
def _(op: Any, de: Any, dv: Any) -> Any:
    a = op.inputs[0]
    if op.attrs["compute_v"]:
        e, v = op.outputs
        gaps = array.expand_dims(e, -2) - array.expand_dims(e, -1)
        inner = _off_diagonal_inverse(gaps) * _mul(v, dv, adjoint_a=True)
        da = _mul(v, _mul(matrices.matrix_diag(de) + inner, v, adjoint_b=True))
    else:
        _, v = _eig(a)
        da = _mul(v * array.expand_dims(de, -2), v, adjoint_b=True)
    # only the lower triangle is read, and stands for the upper one too
    da = matrices.matrix_band_part(da + _h(da), -1, 0)
    return matrices.matrix_set_diag(da, 0.5 * matrices.matrix_diag_part(da))


def self_adjoint_eig(tensor: Any, name: str | None = None) -> tuple[Tensor, Tensor]:
    """The eigenvalues [..., n], ascending, and eigenvectors [..., n, n] in columns.

    Of self-adjoint matrices, of which the lower triangles are read.
    """
    e, v = _eig(tensor, compute_v=True, name=name)
    return e, v


def self_adjoint_eigvals(tensor: Any, name: str | None = None) -> Tensor:
    """The eigenvalues [..., n], ascending, of self-adjoint matrices."""
    e, _ = _eig(tensor, compute_v=False, name=name)
    return e


@op("Svd", "input: T -> s: T, u: T, v: T", T=_TYPES)
def _svd(xp: Any, a: Any, *, compute_uv: bool = True, full_matrices: bool = False) -> Any:
    kind = a.dtype
    a = a.astype(np.float32) if kind == np.float16 else a
    if not compute_uv:
        empty = xp.zeros(0, kind)
        return xp.linalg.svd(a, compute_uv=False).astype(kind), empty, empty
    u, s, vh = xp.linalg.svd(a, full_matrices=full_matrices)
    v = _adjoint_array(xp, vh)
    sign = _sign_of_columns(xp, u)
    k = s.shape[-1]
    u = u * sign
    v = xp.concatenate([v[..., :k] * sign[..., :k], v[..., k:]], -1)
    return s.astype(kind), u.astype(kind), v.astype(kind)


@_svd.def_infer
def _(a: Spec, *, compute_uv: bool, full_matrices: bool) -> Any:
    shapes.at_least_rank(a.shape, 2)
    if a.shape is None:
        return [None, *([None, None] if compute_uv else [(0,), (0,)])]
    *batch, m, n = a.shape
    k = None if m is None or n is None else min(m, n)
    if not compute_uv:
        return [(*batch, k), (0,), (0,)]
    left, right = (m, n) if full_matrices else (k, k)
    return [(*batch, k), (*batch, m, left), (*batch, n, right)]


@_svd.def_gradient
def _(op: Any, ds: Any, du: Any, dv: Any) -> Any:
    """Of distinct singular values (Ionescu, Vantzos & Sminchisescu 2015; real matrices)."""
    a = op.inputs[0]
    if not op.attrs["compute_uv"]:
        _, u, v = _svd(a)
        return _mul(u * array.expand_dims(ds, -2), v, adjoint_b=True)
    if a.dtype.is_complex:
        raise NotImplementedError("The gradient of the vectors of complex matrices' svd.")
    if op.attrs["full_matrices"]:
        raise NotImplementedError(
            f"The gradient of {op.name!r} (op: 'Svd') needs full_matrices=False."
        )
    s, u, v = op.outputs
    row, column = array.expand_dims(s, -2), array.expand_dims(s, -1)
    f = _off_diagonal_inverse(row * row - column * column)
    uu, vv = _mul(u, du, adjoint_a=True), _mul(v, dv, adjoint_a=True)
    core = f * (uu - _h(uu)) * row + column * (f * (vv - _h(vv))) + matrices.matrix_diag(ds)
    da = _mul(_mul(u, core), v, adjoint_b=True)
    da += _mul((du - _mul(u, uu)) / row, v, adjoint_b=True)  # outside the space that u spans
    return da + _mul(u, (dv - _mul(v, vv)) / row, adjoint_b=True)


def svd(
    tensor: Any, full_matrices: bool = False, compute_uv: bool = True, name: str | None = None
) -> Any:
    """Singular values s [..., k], descending, and vectors u [..., m, k], v [..., n, k]: u s vᴴ.

    The whole bases with `full_matrices`; s alone without `compute_uv`.
    """
    s, u, v = _svd(tensor, compute_uv=compute_uv, full_matrices=full_matrices, name=name)
    return (s, u, v) if compute_uv else s


# -- QR --------------------------------------------------------------------------------------------


@op("Qr", "input: T -> q: T, r: T", T=_TYPES)
def _qr(xp: Any, a: Any, *, full_matrices: bool = False) -> Any:
    kind = a.dtype
    a = a.astype(np.float32) if kind == np.float16 else a
    q, r = xp.linalg.qr(a, mode="complete" if full_matrices else "reduced")
    return q.astype(kind), r.astype(kind)


@_qr.def_infer
def _(a: Spec, *, full_matrices: bool) -> Any:
    shapes.at_least_rank(a.shape, 2)
    if a.shape is None:
        return [None, None]
    *batch, m, n = a.shape
    k = m if full_matrices else None if m is None or n is None else min(m, n)
    return [(*batch, m, k), (*batch, k, n)]


@_qr.def_gradient
def _(op: Any, dq: Any, dr: Any) -> Any:
    """Of tall or square matrices of full rank (Walter & Lehmann 2010)."""
    q, r = op.outputs
    a = op.inputs[0]
    if a._dims is None or None in a._dims[-2:] or a._dims[-2] < a._dims[-1]:  # type: ignore[operator]
        raise NotImplementedError(
            f"The gradient of {op.name!r} (op: 'Qr') needs a matrix known to be tall, not {a}."
        )
    if op.attrs["full_matrices"] and a._dims[-2] != a._dims[-1]:
        raise NotImplementedError(
            f"The gradient of {op.name!r} (op: 'Qr') needs full_matrices=False."
        )

    def over_r(x: Tensor) -> Tensor:  # x R⁻ᴴ
        return _h(_triangular_solve(r, _h(x), lower=False))

    qdq, rdr = _mul(q, dq, adjoint_a=True), _mul(r, dr, adjoint_b=True)
    inner = matrices.matrix_band_part(qdq - _h(qdq) + rdr - _h(rdr), -1, 0)
    if a.dtype.is_complex:
        inner = matrices.matrix_set_diag(inner, 0.5 * matrices.matrix_diag_part(inner))
    da = _mul(q, dr + over_r(inner))
    return da + over_r(dq - _mul(q, qdq))


def qr(input: Any, full_matrices: bool = False, name: str | None = None) -> Any:
    """Unitary q [..., m, k] and upper triangular r [..., k, n] with q r = input."""
    return tuple(_qr(input, full_matrices=full_matrices, name=name))
