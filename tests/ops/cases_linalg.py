"""Cases of products, diagonals, Einstein sums and decompositions of matrices."""

from __future__ import annotations

import itertools
import math

import ml_dtypes
import numpy as np

from tests.ops.case import Case

F32, F64, F16, BF16 = np.float32, np.float64, np.float16, ml_dtypes.bfloat16
C64, C128, I32, I64 = np.complex64, np.complex128, np.int32, np.int64
RNG = np.random.RandomState(3)


def rnd(*shape):
    return RNG.randn(*shape)


def crnd(*shape):
    return RNG.randn(*shape) + 1j * RNG.randn(*shape)


# -- products --------------------------------------------------------------------------------------


def times(a, b):
    """The product of two matrices, number by number."""
    a, b = a.tolist(), np.asarray(b).T.tolist()
    rows = [
        [sum((x * y for x, y in zip(row, column, strict=True)), 0) for column in b] for row in a
    ]
    return np.array(rows).reshape(len(a), len(b))


def batched(function):
    """A function of matrices over leading axes that broadcast."""

    def run(*stacks):
        batch = np.broadcast_shapes(*(s.shape[:-2] for s in stacks))
        stacks = [np.broadcast_to(s, batch + s.shape[-2:]) for s in stacks]
        found = [function(*(s[i] for s in stacks)) for i in np.ndindex(*batch)]
        return np.array(found).reshape(batch + np.shape(found[0]))

    return run


def turned(a, flip, adjoint=False):
    if not flip:
        return a
    a = np.swapaxes(a, -1, -2)
    return a.conj() if adjoint else a


def product(flip_a, flip_b, adjoint=False):
    return lambda a, b: batched(times)(turned(a, flip_a, adjoint), turned(b, flip_b, adjoint))


def shaped(m, n, flip, make=rnd):
    return make(n, m) if flip else make(m, n)


PLAIN = product(False, False)
CASES: dict[str, list[Case]] = {
    "MatMul": [
        *(Case((shaped(2, 3, s), shaped(3, 4, t)), {"transpose_a": s, "transpose_b": t},
               oracle=product(s, t)) for s, t in itertools.product((False, True), repeat=2)),
        *(Case((shaped(2, 3, s, crnd), shaped(3, 2, t, crnd)),
               {"transpose_a": s, "transpose_b": t}, oracle=product(s, t))
          for s, t in ((False, False), (True, True))),
        Case((np.array([[1, 2], [3, 4]], I32), np.array([[5], [6]], I32)),
             oracle=lambda a, b: [[17], [39]]),
        *(Case((np.array([[1, 2], [3, 4]], t), np.array([[5], [6]], t)),
               oracle=lambda a, b: [[17], [39]]) for t in (F16, BF16, I64)),
        Case((np.zeros((2, 0), F32), np.zeros((0, 3), F32)), oracle=lambda a, b: np.zeros((2, 3))),
        Case((np.zeros((0, 2), F32), np.zeros((2, 3), F32))),
        Case((rnd(17, 33).astype(F32), rnd(33, 9).astype(F32)), oracle=PLAIN),
    ],
    "BatchMatMulV2": [
        *(Case((RNG.randn(2, *shaped(2, 3, s).shape), RNG.randn(2, *shaped(3, 4, t).shape)),
               {"adj_x": s, "adj_y": t}, oracle=product(s, t))
          for s, t in itertools.product((False, True), repeat=2)),
        Case((crnd(2, 3, 2), crnd(2, 2, 3)), {"adj_x": True, "adj_y": True},
             oracle=product(True, True, True)),
        Case((rnd(2, 3), rnd(4, 3, 2)), oracle=PLAIN),
        Case((rnd(5, 1, 2, 3), rnd(4, 3, 2)), oracle=PLAIN),
        Case((rnd(4, 1, 3), rnd(1, 3, 1)), oracle=PLAIN),
        Case((rnd(2, 3), rnd(3, 1)), oracle=PLAIN),
        Case((rnd(2, 1, 2).astype(BF16), rnd(2, 2, 1).astype(BF16))),
    ],
    "BatchMatMul": [Case((rnd(2, 2, 3), rnd(2, 3, 4)), oracle=PLAIN)],
    "Cross": [
        Case((np.array([[1.0, 2, 3], [0.5, -1, 2]]), np.array([[4.0, 5, 6], [1, 1, -3]])),
             oracle=lambda a, b: [[-3, 6, -3], [1, 3.5, 1.5]]),
        Case((np.array([1, 0, 0], I32), np.array([0, 1, 0], I32)), oracle=lambda a, b: [0, 0, 1]),
    ],
}  # fmt: skip

# -- Einstein sums ---------------------------------------------------------------------------------


def einstein(equation):
    """The sum over all values of all letters, one term at a time."""
    before, after = equation.split("->")
    inputs = before.split(",")

    def oracle(operands):
        sizes = {}
        for letters, x in zip(inputs, operands, strict=True):
            sizes |= dict(zip(letters, x.shape, strict=True))
        made = np.zeros([sizes[d] for d in after], np.result_type(*operands))
        for values in itertools.product(*(range(n) for n in sizes.values())):
            at = dict(zip(sizes, values, strict=True))
            term = 1
            for letters, x in zip(inputs, operands, strict=True):
                term = term * x[tuple(at[d] for d in letters)]
            made[tuple(at[d] for d in after)] += term
        return made

    return oracle


def einsum(equation, *operands):
    return Case((list(operands),), {"equation": equation}, oracle=einstein(equation))


def dotted(equation, plain, *operands):
    """With an ellipsis, which stands for letters in `plain`."""

    def oracle(given):
        letters = plain.split("->")[0].split(",")
        full = [x.reshape((1,) * (len(s) - x.ndim) + x.shape)
                for s, x in zip(letters, given, strict=True)]  # fmt: skip
        sizes = {}
        for s, x in zip(letters, full, strict=True):
            for d, n in zip(s, x.shape, strict=True):
                sizes[d] = max(n, sizes.get(d, 1))
        full = [
            np.broadcast_to(x, [sizes[d] for d in s]) for s, x in zip(letters, full, strict=True)
        ]
        return einstein(plain)(full)

    return Case((list(operands),), {"equation": equation}, oracle=oracle)


CASES["Einsum"] = [
    einsum("ij,jk->ik", rnd(2, 3), rnd(3, 4)),
    einsum("ij,kj->ik", crnd(2, 3), crnd(4, 3)),
    einsum("bij,bjk->bik", rnd(2, 2, 3), rnd(2, 3, 2)),
    einsum("ij->ji", rnd(2, 3)),
    einsum("ij->", rnd(2, 3)),
    einsum("ij->i", rnd(2, 3)),
    einsum("ij,jk->k", rnd(2, 3), rnd(3, 4)),
    einsum("ii->i", rnd(3, 3)),
    einsum("ii->", rnd(3, 3)),
    einsum("iij->j", rnd(3, 3, 2)),
    einsum("i,j->ij", rnd(2), rnd(3)),
    einsum("i,i->", rnd(3), rnd(3)),
    einsum("ij,ij->i", rnd(2, 3), rnd(2, 3)),
    einsum("ijk,kl->ijl", rnd(2, 3, 2), rnd(2, 4)),
    einsum("ij,jk,kl->il", rnd(2, 3), rnd(3, 2), rnd(2, 2)),
    einsum("i->i", rnd(3)),
    einsum(",i->i", np.array(0.7), rnd(3)),
    einsum("i->ii", rnd(3)),
    einsum("ij,jk->ik", np.array([[1, 2]], I32), np.array([[3], [4]], I32)),
    Case(([rnd(2, 3).astype(BF16), rnd(3, 2).astype(BF16)],), {"equation": "ij,jk->ik"}),
    dotted("...ij,...jk->...ik", "bij,bjk->bik", rnd(2, 2, 3), rnd(2, 3, 2)),
    dotted("...ij,jk->...ik", "abij,jk->abik", rnd(2, 1, 2, 3), rnd(3, 2)),
    dotted("...ij,...jk->...ik", "abij,abjk->abik", rnd(2, 3, 2, 2), rnd(1, 2, 2)),
    dotted("i...->...", "ia->a", rnd(3, 2)),
]

# -- diagonals -------------------------------------------------------------------------------------


def on_diagonal(x):
    made = np.zeros(x.shape * 2, x.dtype)
    for i in np.ndindex(*x.shape):
        made[i * 2] = x[i]
    return made


def of_diagonal(x):
    half = x.shape[: x.ndim // 2]
    made = np.zeros(half, x.dtype)
    for i in np.ndindex(*half):
        made[i] = x[i * 2]
    return made


def int32(*values):
    return [np.array(v, I32) for v in values]


def written(x, k, rows, columns, padding):
    """One diagonal on matrices of that size."""
    made = np.full((*x.shape[:-1], rows, columns), padding, x.dtype)
    for i in range(x.shape[-1]):
        made[..., i + max(-k, 0), i + max(k, 0)] = x[..., i]
    return made


def read(x, k):
    rows, columns = x.shape[-2:]
    n = min(rows + min(k, 0), columns - max(k, 0))
    return np.stack([x[..., i + max(-k, 0), i + max(k, 0)] for i in range(n)], -1)


ZERO, SEVEN = np.array(0.0), np.array(7.0)
THREE_BY_FOUR = np.arange(1.0, 13).reshape(3, 4)
# What TensorFlow's documentation of the bands shows, aligned to the right above, left below.
BAND = np.array([[0.0, 2, 7], [1, 6, 11], [5, 10, 0]])
BAND_LEFT = np.array([[2.0, 7, 0], [1, 6, 11], [0, 5, 10]])
BAND_MATRIX = np.array([[1.0, 2, 0], [5, 6, 7], [0, 10, 11]])

CASES |= {
    "Diag": [Case((rnd(3),), oracle=on_diagonal), Case((rnd(2, 3),), oracle=on_diagonal),
             Case((np.array([1, 2], I32),), oracle=on_diagonal), Case((crnd(2),))],
    "DiagPart": [Case((rnd(3, 3),), oracle=of_diagonal),
                 Case((rnd(2, 3, 2, 3),), oracle=of_diagonal)],
    "MatrixDiagV3": [
        Case((rnd(2, 3), *int32(0, -1, -1), ZERO), oracle=lambda x, *_: written(x, 0, 3, 3, 0),
             gradient=(0,)),
        Case((rnd(3), *int32([1], -1, -1), SEVEN), oracle=lambda x, *_: written(x, 1, 4, 4, 7),
             gradient=(0,)),
        Case((rnd(2, 2), *int32(-1, 3, 4), ZERO), oracle=lambda x, *_: written(x, -1, 3, 4, 0),
             gradient=(0,)),
        Case((BAND, *int32([-1, 1], 3, 3), ZERO), oracle=lambda *_: BAND_MATRIX, gradient=(0,)),
        Case((BAND_LEFT, *int32([-1, 1], 3, 3), ZERO), {"align": "LEFT_RIGHT"},
             oracle=lambda *_: BAND_MATRIX, gradient=(0,)),
        Case((np.array([True, False]), *int32(0, -1, -1), np.array(False)),
             oracle=lambda *_: [[True, False], [False, False]]),
    ],
    "MatrixDiagPartV3": [
        Case((rnd(2, 3, 4), *int32(0), ZERO), oracle=lambda x, *_: read(x, 0), gradient=(0,)),
        Case((rnd(3, 4), *int32(2), ZERO), oracle=lambda x, *_: read(x, 2), gradient=(0,)),
        Case((rnd(3, 4), *int32([-1]), ZERO), oracle=lambda x, *_: read(x, -1), gradient=(0,)),
        Case((THREE_BY_FOUR[:, :3], *int32([-1, 1]), ZERO), oracle=lambda *_: BAND, gradient=(0,)),
        Case((THREE_BY_FOUR[:, :3], *int32([-1, 1]), ZERO), {"align": "LEFT_RIGHT"},
             oracle=lambda *_: BAND_LEFT, gradient=(0,)),
        Case((THREE_BY_FOUR, *int32([1, 3]), SEVEN), {"align": "LEFT_LEFT"},
             oracle=lambda *_: [[4, 7, 7], [3, 8, 7], [2, 7, 12]], gradient=(0,)),
    ],
    "MatrixSetDiagV3": [
        Case((rnd(2, 3, 3), rnd(2, 3), *int32(0)),
             oracle=lambda x, d, k: x + written(d - read(x, 0), 0, 3, 3, 0)),
        Case((rnd(3, 4), rnd(2), *int32(2)),
             oracle=lambda x, d, k: x + written(d - read(x, 2), 2, 3, 4, 0)),
        Case((np.zeros((3, 3)), BAND, *int32([-1, 1])), oracle=lambda *_: BAND_MATRIX),
    ],
    "MatrixDiag": [Case((rnd(2, 3),), oracle=lambda x: written(x, 0, 3, 3, 0))],
    "MatrixDiagPart": [Case((rnd(2, 3, 4),), oracle=lambda x: read(x, 0))],
    "MatrixSetDiag": [Case((rnd(2, 3, 3), rnd(2, 3)),
                           oracle=lambda x, d: x + written(d - read(x, 0), 0, 3, 3, 0))],
    "MatrixBandPart": [
        Case((THREE_BY_FOUR, np.array(lower, I64), np.array(upper, I64)),
             oracle=lambda x, a, b: [[v if (a < 0 or i - j <= a) and (b < 0 or j - i <= b) else 0
                                      for j, v in enumerate(row)] for i, row in enumerate(x)])
        for lower, upper in ((-1, 0), (0, -1), (1, 0), (0, 0), (-1, -1))
    ],
}  # fmt: skip

# -- decompositions --------------------------------------------------------------------------------

SQUARE = rnd(2, 3, 3) + 2 * np.eye(3)
COMPLEX = crnd(2, 2) + 2 * np.eye(2)
_HALF = rnd(2, 3, 3)
POSITIVE = _HALF @ np.swapaxes(_HALF, -1, -2) + np.eye(3)
_C = crnd(2, 2)
HERMITIAN = _C @ _C.conj().T + np.eye(2)
LOWER_ONLY = "only the lower triangle is read; of a change that keeps the matrix symmetric: " \
    "test_math_api"  # fmt: skip


def determinant(a):
    """By the signs of permutations (Leibniz)."""
    total = 0
    for order in itertools.permutations(range(len(a))):
        swaps = sum(x > y for i, x in enumerate(order) for y in order[i + 1 :])
        total += (-1) ** swaps * math.prod(a[i, j] for i, j in enumerate(order))
    return total


def solution(a, b):
    """By Gauss and Jordan, with the largest pivots."""
    n = len(a)
    m = np.concatenate([a, b], 1).astype(np.result_type(a, b, F64))
    for i in range(n):
        best = max(range(i, n), key=lambda r: abs(m[r, i]))
        m[[i, best]] = m[[best, i]]
        m[i] = m[i] / m[i, i]
        for r in range(n):
            if r != i:
                m[r] = m[r] - m[r, i] * m[i]
    return m[:, n:]


def inverse(a):
    return solution(a, np.eye(len(a)))


def adjoint(a):
    return np.swapaxes(a, -1, -2).conj()


def cholesky(a):
    n = len(a)
    low = np.zeros_like(a)
    for i in range(n):
        for j in range(i + 1):
            rest = a[i, j] - sum(low[i, k] * np.conj(low[j, k]) for k in range(j))
            low[i, j] = np.sqrt(rest) if i == j else rest / low[j, j]
    return low


def eigen(a):
    """Eigenvalues and vectors of a symmetric matrix by Jacobi's rotations."""
    a, v, n = np.array(a), np.eye(len(a)), len(a)
    for _ in range(60):
        for p, q in itertools.combinations(range(n), 2):
            angle = 0.5 * math.atan2(2 * a[p, q], a[q, q] - a[p, p])
            turn = np.eye(n)
            turn[p, p] = turn[q, q] = math.cos(angle)
            turn[p, q], turn[q, p] = math.sin(angle), -math.sin(angle)
            a, v = turn.T @ a @ turn, v @ turn
    order = np.argsort(np.diag(a))
    return np.diag(a)[order], upright(v[:, order])


def upright(v):
    """The largest element of each column made positive."""
    top = [v[np.argmax(np.abs(v[:, j])), j] for j in range(v.shape[1])]
    return v * np.sign(top)


def both(function, second_shape):
    """`function` gives two arrays for each matrix of a stack."""

    def oracle(a):
        found = [function(m) for m in a.reshape(-1, *a.shape[-2:])]
        return tuple(
            np.array([f[i] for f in found]).reshape(a.shape[:-2] + np.shape(found[0][i]))
            for i in range(second_shape)
        )

    return oracle


def singular(a):
    """By the eigenvalues of AᵀA."""
    e, v = eigen(a.T @ a)
    k = min(a.shape)
    s, v = np.sqrt(np.maximum(e[::-1][:k], 0)), v[:, ::-1][:, :k]
    u = a @ v / s
    signs = np.sign([u[np.argmax(np.abs(u[:, j])), j] for j in range(k)])
    return s, u * signs, v * signs


def householder(a):
    """Q and R by reflections, each of which makes a diagonal element of the other sign."""
    m, n = a.shape
    q, r = np.eye(m), np.array(a)
    for j in range(min(m - 1, n)):
        x = r[j:, j].copy()
        x[0] += math.copysign(math.sqrt(float(x @ x)), x[0])
        turn = np.eye(m)
        turn[j:, j:] -= 2 * np.outer(x, x) / (x @ x)
        q, r = q @ turn, turn @ r
    k = min(m, n)
    return q[:, :k], r[:k]


TALL, WIDE = rnd(2, 4, 3), rnd(2, 3)
RHS = rnd(2, 3, 2)
EMPTY = np.zeros(0)

CASES |= {
    "MatrixDeterminant": [
        Case((SQUARE,), oracle=batched(determinant)),
        Case((COMPLEX,), oracle=determinant),
        Case((SQUARE[0].astype(F32),), oracle=determinant),
        Case((np.array([[2, 1], [1, 3]], F16),), oracle=lambda a: 5),
    ],
    "LogMatrixDeterminant": [
        Case((np.concatenate([SQUARE, -SQUARE]),), oracle=lambda a: (
            np.sign(batched(determinant)(a)), np.log(np.abs(batched(determinant)(a))))),
    ],
    "MatrixInverse": [
        Case((SQUARE,), oracle=batched(inverse)),
        Case((SQUARE,), {"adjoint": True}, oracle=lambda a: adjoint(batched(inverse)(a))),
        Case((COMPLEX,), {"adjoint": True}, oracle=lambda a: adjoint(inverse(a))),
    ],
    "MatrixSolve": [
        Case((SQUARE, RHS), oracle=batched(solution)),
        Case((SQUARE, RHS), {"adjoint": True},
             oracle=lambda a, b: batched(solution)(adjoint(a), b)),
        Case((COMPLEX, crnd(2, 3)), {"adjoint": True},
             oracle=lambda a, b: solution(adjoint(a), b)),
        Case((SQUARE[0].astype(F32), RHS[0].astype(F32))),
    ],
    "MatrixTriangularSolve": [
        Case((SQUARE, RHS), {"lower": low, "adjoint": turn}, oracle=lambda a, b, low=low, turn=turn:
             batched(solution)(turned(np.tril(a) if low else np.triu(a), turn), b))
        for low, turn in itertools.product((True, False), repeat=2)
    ] + [
        Case((COMPLEX, crnd(2, 1)), {"adjoint": True},
             oracle=lambda a, b: solution(adjoint(np.tril(a)), b)),
        Case((SQUARE[0], RHS), oracle=lambda a, b: batched(solution)(np.tril(a), b)),
    ],
    "Cholesky": [
        Case((POSITIVE,), oracle=batched(cholesky), gradient=(), why=LOWER_ONLY),
        Case((np.tril(POSITIVE),), oracle=lambda a: batched(cholesky)(POSITIVE), gradient=(),
             why=LOWER_ONLY),
        Case((HERMITIAN,), oracle=cholesky, gradient=(), why=LOWER_ONLY),
    ],
    "SelfAdjointEigV2": [
        Case((POSITIVE,), oracle=both(eigen, 2)),
        Case((np.tril(POSITIVE),), oracle=lambda a: both(eigen, 2)(POSITIVE)),
        Case((POSITIVE,), {"compute_v": False}, oracle=lambda a: (both(eigen, 2)(a)[0], EMPTY)),
    ],
    "Svd": [
        Case((SQUARE,), oracle=both(singular, 3)),
        Case((TALL,), oracle=both(singular, 3)),
        Case((WIDE,), oracle=both(singular, 3)),
        Case((TALL,), {"compute_uv": False},
             oracle=lambda a: (both(singular, 3)(a)[0], EMPTY, EMPTY)),
        Case((TALL[0],), {"full_matrices": True}, gradient=(), why="of thin factors only"),
    ],
    "Qr": [
        Case((SQUARE,), oracle=both(householder, 2)),
        Case((TALL,), oracle=both(householder, 2)),
        Case((WIDE,), oracle=both(householder, 2), gradient=(), why="of tall matrices only"),
        Case((TALL[0],), {"full_matrices": True}, gradient=(), why="of thin factors only"),
    ],
}  # fmt: skip
