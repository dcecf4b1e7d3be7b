"""`tf.linalg`: matrices."""

from headrace.ops.linalg import cross, matmul, matvec, norm, normalize, tensordot
from headrace.ops.decompose import (
    cholesky, cholesky_solve, logdet, matrix_determinant as det, matrix_inverse as inv,
    matrix_solve as solve, matrix_solve_ls as lstsq, matrix_triangular_solve as triangular_solve,
    qr, self_adjoint_eig as eigh, self_adjoint_eigvals as eigvalsh, slogdet, svd,
)
from headrace.ops.einsum import einsum
from headrace.ops.matrix import adjoint, eye, matrix_band_part as band_part
from headrace.ops.matrix import matrix_diag as diag
from headrace.ops.matrix import matrix_diag_part as diag_part
from headrace.ops.matrix import matrix_set_diag as set_diag
from headrace.ops.matrix import matrix_transpose, diag_part as tensor_diag_part
from headrace.ops.matrix import diag as tensor_diag
from headrace.ops.matrix import matrix_transpose as transpose
from headrace.ops.matrix import trace
from headrace.ops.normalize import global_norm, l2_normalize
