"""Diagonals, triangles and bands of matrices [..., rows, columns]."""

from __future__ import annotations

from typing import Any

import numpy as np

from headrace import dtypes, shapes
from headrace.conversion import convert_to_tensor
from headrace.dtypes import as_dtype
from headrace.graph import name_scope
from headrace.node import Tensor
from headrace.opdef import Spec, op, same_shape
from headrace.ops import array, math, reduce
from headrace.xp import numpy as host

# -- the diagonal of a tensor: [n] and [n, n], [m, n] and [m, n, m, n] -----------------------------

_DIAGONAL = (*dtypes.FLOATS, dtypes.int32, dtypes.int64, *dtypes.COMPLEX)


@op("Diag", "diagonal: T -> output: T", T=_DIAGONAL)
def _diag(xp: Any, x: Any) -> Any:
    n = shapes.product(x.shape)
    flat = x.reshape(-1)
    return xp.where(np.eye(n, dtype=bool), flat, xp.zeros_like(flat)).reshape(x.shape * 2)


@_diag.def_infer
def _(x: Spec) -> shapes.Shape:
    return None if x.shape is None else x.shape * 2


@op("DiagPart", "input: T -> diagonal: T", T=_DIAGONAL)
def _diag_part(xp: Any, x: Any) -> Any:
    half = x.ndim // 2
    host.check(
        x.ndim == 2 * half and x.shape[:half] == x.shape[half:],
        lambda: f"Invalid shape {list(x.shape)}: the first half of the sizes must equal the second",
    )
    n = shapes.product(x.shape[:half])
    return xp.diagonal(x.reshape(n, n)).reshape(x.shape[:half])


@_diag_part.def_infer
def _(x: Spec) -> shapes.Shape:
    if x.shape is None:
        return None
    if len(x.shape) % 2 or not x.shape:
        raise ValueError(f"Input must have even and non-zero rank, input rank is {len(x.shape)}")
    half = len(x.shape) // 2
    return tuple(
        shapes.merge_size(a, b) for a, b in zip(x.shape[:half], x.shape[half:], strict=True)
    )


_diag.gradient = lambda op, dy: _diag_part(dy)
_diag_part.gradient = lambda op, dy: _diag(dy)


def diag(diagonal: Any, name: str | None = None) -> Tensor:
    """[n] on the diagonal of [n, n]; of [m, n] likewise [m, n, m, n]."""
    return _diag(diagonal, name=name)


def diag_part(input: Any, name: str | None = None) -> Tensor:
    """The diagonal [n] of [n, n], or [m, n] of [m, n, m, n]."""
    return _diag_part(input, name=name)


# -- diagonals of matrices -------------------------------------------------------------------------


def _band(k: Any) -> tuple[int, int]:
    """The lowest and the highest diagonal that k names."""
    flat = np.ravel(k)
    host.check(
        flat.size in (1, 2), lambda: f"diag_index must have one or two elements, got {flat.size}."
    )
    low, high = int(flat[0]), int(flat[-1])
    host.check(
        low <= high, lambda: f"lower_diag_index must not be larger than upper: {low} > {high}"
    )
    return low, high


def _length(rows: int, columns: int, d: int) -> int:
    return min(rows + min(d, 0), columns - max(d, 0))


def _places(rows: int, columns: int, low: int, high: int, align: str) -> tuple[Any, ...]:
    """Where in the packed diagonals each cell of a matrix is: (in the band?, diagonal, position).

    Diagonals are packed from the highest to the lowest; short ones stand left or right as `align`
    says first for those above the main one, then for those below.
    """
    i, j = np.indices((rows, columns))
    d = j - i
    longest = max(_length(rows, columns, e) for e in range(low, high + 1))
    above, below = align.split("_")
    short = longest - np.minimum(rows + np.minimum(d, 0), columns - np.maximum(d, 0))
    to_right = np.where(d > 0, above == "RIGHT", (below == "RIGHT") & (d < 0))
    position = np.where(d >= 0, i, j) + np.where(to_right, short, 0)
    inside = (d >= low) & (d <= high)
    return inside, np.where(inside, high - d, 0), np.where(inside, position, 0)


@op(
    "MatrixDiagV3",
    "diagonal: T, k: int32, num_rows: int32, num_cols: int32, padding_value: T -> output: T",
    static=(1, 2, 3),
)
def _matrix_diag(
    xp: Any,
    x: Any,
    k: Any,
    num_rows: Any,
    num_cols: Any,
    padding: Any,
    *,
    align: str = "RIGHT_LEFT",
) -> Any:
    low, high = _band(k)
    longest = x.shape[-1]
    rows, columns = _fit_matrix(low, high, longest, int(num_rows), int(num_cols))
    if low != high:
        host.check(
            x.ndim > 1 and x.shape[-2] == high - low + 1,
            lambda: (
                f"The number of diagonals provided in the input does not match k: {low}..{high}."
            ),
        )
    elif low == 0 and rows == columns == longest:
        return xp.where(np.eye(rows, dtype=bool), x[..., None], padding)
    else:
        x = x[..., None, :]
    if not longest:
        return xp.broadcast_to(padding, (*x.shape[:-2], rows, columns))
    inside, d, at = _places(rows, columns, low, high, align)
    return xp.where(inside, x[..., d, np.minimum(at, longest - 1)], padding)


def _fit_matrix(low: int, high: int, longest: int, rows: int, columns: int) -> tuple[int, int]:
    """The size of the matrix that holds the diagonals, as small as can be where it is -1."""
    least_rows, least_columns = longest - min(high, 0), longest + max(low, 0)
    if rows == -1 and columns == -1:
        rows = columns = max(least_rows, least_columns)
    rows = least_rows if rows == -1 else rows
    columns = least_columns if columns == -1 else columns
    if rows < least_rows:
        raise ValueError(f"The number of rows is too small: {rows} < {least_rows}")
    if columns < least_columns:
        raise ValueError(f"The number of columns is too small: {columns} < {least_columns}")
    if rows != least_rows and columns != least_columns:
        raise ValueError("The number of rows or columns is not consistent with the given d_lower, "
                         f"d_upper, and longest_diag_len: {rows} and {columns}")  # fmt: skip
    return rows, columns


@_matrix_diag.def_infer
def _(
    x: Spec, k: Spec, num_rows: Spec, num_cols: Spec, padding: Spec, *, align: str
) -> shapes.Shape:
    shapes.with_rank(padding.shape, 0)
    shapes.at_least_rank(x.shape, 1)
    values = [t.value for t in (k, num_rows, num_cols)]
    if x.shape is None or values[0] is None:
        return None
    low, high = int(values[0].ravel()[0]), int(values[0].ravel()[-1])
    batch = x.shape[: -2 if low != high else -1]
    if x.shape[-1] is None or values[1] is None or values[2] is None:
        return (*batch, None, None)
    return (*batch, *_fit_matrix(low, high, x.shape[-1], int(values[1]), int(values[2])))


@_matrix_diag.def_gradient
def _(op: Any, dy: Any) -> Any:
    zero = array.zeros((), dy.dtype.base_dtype)
    dx = _matrix_diag_part(dy, op.inputs[1], zero, align=op.attrs["align"])
    return dx, None, None, None, None


@op(
    "MatrixDiagPartV3", "input: T, k: int32, padding_value: T -> diagonal: T", static=(1,)
)  # fmt: skip
def _matrix_diag_part(xp: Any, x: Any, k: Any, padding: Any, *, align: str = "RIGHT_LEFT") -> Any:
    low, high = _band(k)
    rows, columns = x.shape[-2:]
    host.check(
        -rows < low <= high < columns or (low == high == 0),
        lambda: f"diag_index {low}..{high} is out of bound: it must be in ({-rows}, {columns})",
    )
    if low == high:
        return xp.diagonal(x, low, -2, -1)
    longest = max(_length(rows, columns, d) for d in range(low, high + 1))
    above, below = align.split("_")
    index = np.zeros((high - low + 1, longest, 2), int)
    there = np.zeros((high - low + 1, longest), bool)
    for n, d in enumerate(range(high, low - 1, -1)):
        length = _length(rows, columns, d)
        right = above == "RIGHT" if d > 0 else below == "RIGHT" and d < 0
        at = np.arange(length) + (longest - length if right else 0)
        index[n, at, 0] = np.arange(length) + max(-d, 0)
        index[n, at, 1] = np.arange(length) + max(d, 0)
        there[n, at] = True
    return xp.where(there, x[..., index[..., 0], index[..., 1]], padding)


@_matrix_diag_part.def_infer
def _(x: Spec, k: Spec, padding: Spec, *, align: str) -> shapes.Shape:
    shapes.with_rank(padding.shape, 0)
    shapes.at_least_rank(x.shape, 2)
    value = k.value
    if x.shape is None or value is None:
        return None
    low, high = int(value.ravel()[0]), int(value.ravel()[-1])
    rows, columns = x.shape[-2:]
    longest = None
    if rows is not None and columns is not None:
        if not (-rows < low <= high < columns) and not low == high == 0:
            raise ValueError(f"lower_diag_index is out of bound: {low}..{high}")
        longest = max(_length(rows, columns, d) for d in range(low, high + 1))
    return (*x.shape[:-2], *([high - low + 1] if low != high else []), longest)


@_matrix_diag_part.def_gradient
def _(op: Any, dy: Any) -> Any:
    x, k, _ = op.inputs
    zeros = array.zeros_like(x)
    return _matrix_set_diag(zeros, dy, k, align=op.attrs["align"]), None, None


@op("MatrixSetDiagV3", "input: T, diagonal: T, k: int32 -> output: T", static=(2,))
def _matrix_set_diag(xp: Any, x: Any, diagonal: Any, k: Any, *, align: str = "RIGHT_LEFT") -> Any:
    low, high = _band(k)
    rows, columns = x.shape[-2:]
    if low == high:
        diagonal = diagonal[..., None, :]
    inside, d, at = _places(rows, columns, low, high, align)
    host.check(
        not inside.any() or at.max() < diagonal.shape[-1],
        lambda: (
            f"A diagonal of shape {list(diagonal.shape)} does not fit a {rows} × {columns} matrix."
        ),
    )
    return xp.where(inside, diagonal[..., d, at], x) if inside.any() else x


@_matrix_set_diag.def_infer
def _(x: Spec, diagonal: Spec, k: Spec, *, align: str) -> shapes.Shape:
    shapes.at_least_rank(x.shape, 2)
    shapes.at_least_rank(diagonal.shape, 1)
    return x.shape


@_matrix_set_diag.def_gradient
def _(op: Any, dy: Any) -> Any:
    _, diagonal, k = op.inputs
    align = op.attrs["align"]
    part = _matrix_diag_part(dy, k, array.zeros((), dy.dtype.base_dtype), align=align)
    dx = _matrix_set_diag(dy, array.zeros_like(part), k, align=align)
    part.set_shape(diagonal._dims)
    return dx, part, None


def matrix_diag(
    diagonal: Any,
    name: str = "diag",
    k: Any = 0,
    num_rows: Any = -1,
    num_cols: Any = -1,
    padding_value: Any = 0,
    align: str = "RIGHT_LEFT",
) -> Tensor:
    """Matrices [..., n, n] with [..., n] on their diagonals.

    With k = (low, high), bands from diagonals [..., high - low + 1, longest], the highest first.
    """
    with name_scope(name) as scope:
        diagonal = convert_to_tensor(diagonal, name="diagonal")
        padding = _padding(padding_value, diagonal)
        return _matrix_diag(diagonal, k, num_rows, num_cols, padding, align=align, name=scope)


def _padding(value: Any, like: Tensor) -> Any:
    return False if like.dtype.is_bool and value == 0 else value


def matrix_diag_part(
    input: Any,
    name: str = "diag_part",
    k: Any = 0,
    padding_value: Any = 0,
    align: str = "RIGHT_LEFT",
) -> Tensor:
    """The diagonals [..., min(m, n)] of matrices [..., m, n]; for k = (low, high) them stacked."""
    with name_scope(name) as scope:
        input = convert_to_tensor(input, name="input")
        return _matrix_diag_part(input, k, _padding(padding_value, input), align=align, name=scope)


def matrix_set_diag(
    input: Any, diagonal: Any, name: str = "set_diag", k: Any = 0, align: str = "RIGHT_LEFT"
) -> Tensor:
    """Matrices [..., m, n] with other numbers on their diagonals."""
    return _matrix_set_diag(input, diagonal, k, align=align, name=name)


# The ops of older graphs, which know only the main diagonal.


@op("MatrixDiag", "diagonal: T -> output: T")
def _matrix_diag_v1(xp: Any, x: Any) -> Any:
    return xp.where(np.eye(x.shape[-1], dtype=bool), x[..., None], xp.zeros_like(x[..., None]))


@op("MatrixDiagPart", "input: T -> diagonal: T")
def _matrix_diag_part_v1(xp: Any, x: Any) -> Any:
    return xp.diagonal(x, 0, -2, -1)


@op("MatrixSetDiag", "input: T, diagonal: T -> output: T")
def _matrix_set_diag_v1(xp: Any, x: Any, diagonal: Any) -> Any:
    return _matrix_set_diag.kernel(xp, x, diagonal, np.int32(0))


_matrix_diag_v1.def_infer(lambda x: None if x.shape is None else (*x.shape, x.shape[-1]))
_matrix_diag_part_v1.def_infer(
    lambda x: (
        None
        if x.shape is None
        else (*x.shape[:-2], None if None in x.shape[-2:] else min(x.shape[-2:]))
    )
)
_matrix_set_diag_v1.infer = same_shape
_matrix_diag_v1.gradient = lambda op, dy: matrix_diag_part(dy)
_matrix_diag_part_v1.gradient = lambda op, dy: matrix_set_diag(array.zeros_like(op.inputs[0]), dy)
_matrix_set_diag_v1.gradient = lambda op, dy: (
    matrix_set_diag(dy, array.zeros_like(op.inputs[1])),
    matrix_diag_part(dy),
)

# -- triangles and bands ---------------------------------------------------------------------------


@op(
    "MatrixBandPart", "input: T, num_lower: Tindex, num_upper: Tindex -> band: T",
    Tindex=dtypes.INDICES,
)  # fmt: skip
def _matrix_band_part(xp: Any, x: Any, lower: Any, upper: Any) -> Any:
    i, j = np.indices(x.shape[-2:])
    keep = ((lower < 0) | (i - j <= lower)) & ((upper < 0) | (j - i <= upper))
    return xp.where(keep, x, xp.zeros_like(x))


@_matrix_band_part.def_infer
def _(x: Spec, lower: Spec, upper: Spec) -> shapes.Shape:
    shapes.with_rank(lower.shape, 0)
    shapes.with_rank(upper.shape, 0)
    return shapes.at_least_rank(x.shape, 2)


@_matrix_band_part.def_gradient
def _(op: Any, dy: Any) -> Any:
    return _matrix_band_part(dy, *op.inputs[1:]), None, None


def matrix_band_part(input: Any, num_lower: Any, num_upper: Any, name: str | None = None) -> Tensor:
    """Matrices [..., m, n] with zeros but for so many diagonals below and above the main one.

    A negative number keeps the whole triangle.
    """
    return _matrix_band_part(input, num_lower, num_upper, name=name)


# -- identity, transpose, trace --------------------------------------------------------------------


def eye(
    num_rows: Any,
    num_columns: Any = None,
    batch_shape: Any = None,
    dtype: Any = dtypes.float32,
    name: str | None = None,
) -> Tensor:
    """Identity matrices [*batch_shape, num_rows, num_columns]; square if no columns are said."""
    with name_scope(name, default_name="eye", values=[num_rows, num_columns, batch_shape]):
        square = num_columns is None
        batch = [] if batch_shape is None else batch_shape
        columns = num_rows if square else num_columns
        dtype = as_dtype(dtype)
        if isinstance(num_rows, Tensor) or isinstance(columns, Tensor) or isinstance(batch, Tensor):
            size = math.minimum(num_rows, columns)
            if not isinstance(batch, Tensor):
                batch = convert_to_tensor(np.array(batch, np.int32), name="shape")
            diagonal_shape = array.concat((batch, [size]), 0)
            shape = None if square else array.concat((batch, [num_rows, columns]), 0)
        else:
            batch = list(batch) if not isinstance(batch, (int, np.integer)) else [batch]
            diagonal_shape = [*batch, min(num_rows, columns)]
            shape = [*batch, num_rows, columns]
        diagonal = array.ones(diagonal_shape, dtype)
        if square:
            return matrix_diag(diagonal)
        return matrix_set_diag(array.zeros(shape, dtype), diagonal)


def matrix_transpose(a: Any, name: str = "matrix_transpose", conjugate: bool = False) -> Tensor:
    """Matrices [..., m, n] as [..., n, m], conjugated if asked. ValueError for rank below 2."""
    with name_scope(name, values=[a]):
        a = convert_to_tensor(a, name="a")
        if a._dims is not None:
            n = len(a._dims)
            if n < 2:
                raise ValueError(
                    "Argument `a` should be a (batch) matrix with rank >= 2.  Received `a` = "
                    f"{a} with shape: {shapes.show(a._dims)}"
                )
            return array.transpose(a, [*range(n - 2), n - 1, n - 2], conjugate=conjugate)
        rank = array.rank(a)
        lead = array.range(0, rank - 2, name="Range")
        perm = array.concat((lead, [rank - 1, rank - 2]), 0)
        return array.transpose(a, perm, conjugate=conjugate)


def adjoint(matrix: Any, name: str | None = None) -> Tensor:
    """Matrices transposed and conjugated."""
    with name_scope(name, "adjoint", [matrix]):
        matrix = convert_to_tensor(matrix, name="matrix")
        return matrix_transpose(matrix, conjugate=True)


def trace(x: Any, name: str | None = None) -> Tensor:
    """The sum of the diagonal of each matrix [..., m, n]: [...]."""
    with name_scope(name, "Trace", [x]) as scope:
        x = convert_to_tensor(x, name="x")
        return reduce.reduce_sum(matrix_diag_part(x), [-1], name=scope)
