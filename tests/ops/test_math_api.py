"""Arithmetic, reductions and matrices: names of nodes, shapes, errors, spellings."""

from __future__ import annotations

import math

import numpy as np
import pytest

import headrace as tf
from headrace.indexed_slices import IndexedSlices
from headrace.ops import bitwise, cast, decompose, einsum, linalg, matrix, reduce, segment, special
from headrace.ops import math as ops

SHAPES = {
    "x": (None, 3), "y": (None, 3), "m": (4, 4), "b": (2, 3, 4), "c": (2, 4, 5), "v": (3,),
}  # fmt: skip


@pytest.fixture(autouse=True)
def graph():
    with tf.Graph().as_default() as g:
        yield g


@pytest.fixture
def t(graph):
    """Placeholders by name: floats x, y, m, b, c, v, integers i, bools p, complex z, any u."""

    class Named:
        i = tf.placeholder(tf.int32, [None, 3], name="i")
        p = tf.placeholder(tf.bool, [None, 3], name="p")
        z = tf.placeholder(tf.complex64, [2, 3], name="z")
        u = tf.placeholder(tf.float32, None, name="u")

    for name, shape in SHAPES.items():
        setattr(Named, name, tf.placeholder(tf.float32, shape, name=name))
    return Named


def run(tensor, feeds=None, times=2):
    """Its value, by NumPy at first and then by XLA: they must agree."""
    with tf.Session() as session:
        values = [session.run(tensor, feeds) for _ in range(times)]
    for value in values[1:]:
        np.testing.assert_allclose(values[0], value, rtol=1e-6)
    return values[0]


def made(function):
    """(name, type) of the nodes that a call makes."""
    g = tf.get_default_graph()
    before = len(g.get_operations())
    function()
    return [(op.name, op.type) for op in g.get_operations()[before:]]


# -- operators -------------------------------------------------------------------------------------

OPERATORS = [
    (lambda t: t.x + 1, [("add/y", "Const"), ("add", "AddV2")]),
    (lambda t: 1 + t.x, [("add/x", "Const"), ("add", "AddV2")]),
    (lambda t: t.x - t.y, [("sub", "Sub")]),
    (lambda t: 2 * t.x, [("mul/x", "Const"), ("mul", "Mul")]),
    (lambda t: np.ones(3) * t.x, [("mul/x", "Const"), ("mul", "Mul")]),
    (lambda t: np.float32(2) * t.x, [("mul/x", "Const"), ("mul", "Mul")]),
    (lambda t: t.x / 2, [("truediv/y", "Const"), ("truediv", "RealDiv")]),
    (lambda t: t.i / 2, [
        ("truediv/y", "Const"), ("truediv/Cast", "Cast"), ("truediv/Cast_1", "Cast"),
        ("truediv", "RealDiv")]),
    (lambda t: t.i // 2, [("floordiv/y", "Const"), ("floordiv", "FloorDiv")]),
    (lambda t: 2 % t.i, [("mod/x", "Const"), ("mod", "FloorMod")]),
    (lambda t: t.x**2, [("pow/y", "Const"), ("pow", "Pow")]),
    (lambda t: -t.x, [("Neg", "Neg")]),
    (lambda t: abs(t.x), [("Abs", "Abs")]),
    (lambda t: abs(t.z), [("Abs", "ComplexAbs")]),
    (lambda t: 1 < t.x, [("Greater/y", "Const"), ("Greater", "Greater")]),
    (lambda t: t.x >= t.y, [("GreaterEqual", "GreaterEqual")]),
    (lambda t: t.p & t.p, [("and", "LogicalAnd")]),
    (lambda t: True | t.p, [("or/x", "Const"), ("or", "LogicalOr")]),
    (lambda t: t.p ^ t.p, [
        ("xor/LogicalOr", "LogicalOr"), ("xor/LogicalAnd", "LogicalAnd"),
        ("xor/LogicalNot", "LogicalNot"), ("xor", "LogicalAnd")]),
    (lambda t: ~t.p, [("LogicalNot", "LogicalNot")]),
    (lambda t: t.i & t.i, [("and/BitwiseAnd", "BitwiseAnd")]),
    (lambda t: ~t.i, [("Invert", "Invert")]),
    (lambda t: t.m @ t.m, [("matmul", "MatMul")]),
    (lambda t: t.b @ t.c, [("matmul", "BatchMatMulV2")]),
    (lambda t: t.x @ np.ones((3, 2)), [("matmul/b", "Const"), ("matmul", "MatMul")]),
    (lambda t: np.ones((2, 2)) @ t.x, [("matmul/x", "Const"), ("matmul", "MatMul")]),
]  # fmt: skip


@pytest.mark.parametrize("case", range(len(OPERATORS)))
def test_operators_name_their_nodes(case, t):
    function, expected = OPERATORS[case]
    assert made(lambda: function(t)) == expected


FUNCTIONS = [
    (lambda t: tf.add(t.x, 1), [("Add/y", "Const"), ("Add", "AddV2")]),
    (lambda t: tf.divide(3, 2), [
        ("Const", "Const"), ("truediv/y", "Const"), ("truediv/Cast", "Cast"),
        ("truediv/Cast_1", "Cast"), ("truediv", "RealDiv")]),
    (lambda t: tf.div(t.i, 2), [("div/y", "Const"), ("div", "FloorDiv")]),
    (lambda t: tf.cast(t.x, tf.float32), []),
    (lambda t: tf.cast(3, tf.float32), [("Cast/x", "Const"), ("Cast", "Cast")]),
    (lambda t: tf.to_float(t.i), [("ToFloat", "Cast")]),
    (lambda t: tf.reduce_sum(t.x), [("Const", "Const"), ("Sum", "Sum")]),
    (lambda t: tf.reduce_mean(t.x, 0), [("Mean/reduction_indices", "Const"), ("Mean", "Mean")]),
    (lambda t: tf.reduce_sum(t.u), [
        ("Rank", "Rank"), ("range/start", "Const"), ("range/delta", "Const"), ("range", "Range"),
        ("Sum", "Sum")]),
    (lambda t: tf.argmax(t.x, 1), [("ArgMax/dimension", "Const"), ("ArgMax", "ArgMax")]),
    (lambda t: tf.add_n([t.x]), []),
    (lambda t: tf.add_n([t.x], name="only"), [("only", "Identity")]),
    (lambda t: tf.scalar_mul(2, t.x), [("scalar", "Const"), ("Mul", "Mul")]),
    (lambda t: tf.matmul(t.z, t.z, adjoint_b=True), [
        ("MatMul/Conj", "Conj"), ("MatMul", "MatMul")]),
    (lambda t: tf.tensordot(t.m, t.m, 1), [("Tensordot/MatMul", "MatMul")]),
    (lambda t: tf.einsum("ij,jk", t.m, t.m), [("einsum/Einsum", "Einsum")]),
    (lambda t: tf.trace(t.m), [
        ("Trace/diag_part/k", "Const"), ("Trace/diag_part/padding_value", "Const"),
        ("Trace/diag_part", "MatrixDiagPartV3"), ("Trace/reduction_indices", "Const"),
        ("Trace", "Sum")]),
]  # fmt: skip


@pytest.mark.parametrize("case", range(len(FUNCTIONS)))
def test_functions_name_their_nodes(case, t):
    function, expected = FUNCTIONS[case]
    assert made(lambda: function(t)) == expected


def test_equality_is_of_identity(t):
    assert (t.x == t.y) is False
    assert t.x == t.x


# -- static shapes ---------------------------------------------------------------------------------

PRINTED = [
    (lambda t: t.x @ np.ones((3, 20)), 'Tensor("matmul:0", shape=(?, 20), dtype=float32)'),
    (lambda t: tf.matmul(t.u, t.m), 'Tensor("MatMul:0", dtype=float32)'),
    (lambda t: tf.matmul(t.m, t.c), 'Tensor("MatMul:0", shape=(2, 4, 5), dtype=float32)'),
    (lambda t: tf.reduce_sum(t.x, -1, keepdims=True),
     'Tensor("Sum:0", shape=(?, 1), dtype=float32)'),
    (lambda t: tf.reduce_sum(t.u), 'Tensor("Sum:0", shape=(), dtype=float32)'),
    (lambda t: tf.reduce_sum(t.u, 1), 'Tensor("Sum:0", dtype=float32)'),
    (lambda t: tf.reduce_sum(t.x, []), 'Tensor("Sum:0", shape=(?, 3), dtype=float32)'),
    (lambda t: tf.argmax(t.x, 1), 'Tensor("ArgMax:0", shape=(?,), dtype=int64)'),
    (lambda t: t.i / t.i, 'Tensor("truediv:0", shape=(?, 3), dtype=float64)'),
    (lambda t: tf.tensordot(t.x, t.v, 1), 'Tensor("Tensordot:0", shape=(?,), dtype=float32)'),
    (lambda t: tf.einsum("ij,jk->ik", t.u, t.m),
     'Tensor("einsum/Einsum:0", shape=(?, 4), dtype=float32)'),
    (lambda t: tf.norm(t.x, axis=1), 'Tensor("norm/Squeeze:0", shape=(?,), dtype=float32)'),
    (lambda t: tf.matrix_diag([1.0, 2.0], k=1), 'Tensor("diag:0", shape=(3, 3), dtype=float32)'),
    (lambda t: tf.unsorted_segment_sum(t.m, [0, 1, 0, 2], 3),
     'Tensor("UnsortedSegmentSum:0", shape=(3, 4), dtype=float32)'),
]  # fmt: skip


@pytest.mark.parametrize("case", range(len(PRINTED)))
def test_what_is_known_when_built(case, t):
    function, expected = PRINTED[case]
    assert str(function(t)) == expected


def test_sizes_fold_through_arithmetic(t):
    batch = tf.shape(t.x)[0]
    assert tf.reshape(t.x, [batch, 3 * 1]).shape.as_list() == [None, 3]
    assert tf.reshape(t.x, [-1, tf.shape(t.x)[1] * 2 // 2]).shape.as_list() == [None, 3]
    assert tf.reshape(t.m, [tf.reduce_prod(tf.shape(t.m)[:1]), 4]).shape.as_list() == [4, 4]


# -- errors ----------------------------------------------------------------------------------------

REFUSED = [
    (lambda t: t.x + t.i, TypeError, "Input 'y' of 'AddV2' Op has type int32 that does not match "
     "type float32 of argument 'x'."),
    (lambda t: t.x + t.m, ValueError, "Dimensions must be equal, but are 3 and 4 for 'add' "
     "(op: 'AddV2') with input shapes: [?,3], [4,4]."),
    (lambda t: t.x / t.i, TypeError, "`x` and `y` must have the same dtype, got tf.float32 != "
     "tf.int32."),
    (lambda t: t.x * None, ValueError, "None values not supported."),
    (lambda t: tf.tanh(t.i), TypeError, "DataType int32 not in list of allowed values: bfloat16, "
     "float16, float32, float64, complex64, complex128"),
    (lambda t: tf.logical_and(t.x, t.x), TypeError, "Input 'x' of 'LogicalAnd' Op has type float32 "
     "that does not match expected type of bool."),
    (lambda t: t.x & t.x, TypeError, "DataType float32 not in list of allowed values: int8"),
    (lambda t: tf.add_n([]), ValueError, "Inputs must be an iterable of at least one"),
    (lambda t: tf.add_n([t.x, t.m]), ValueError, "Dimension 1 in both shapes must be equal, but "
     "are 3 and 4. Shapes are [?,3] and [4,4]."),
    (lambda t: tf.accumulate_n([t.x], shape=[4, 4]), ValueError,
     "Shapes (4, 4) and (?, 3) are not compatible"),
    (lambda t: tf.scalar_mul(t.v, t.x), ValueError, "The input scalar must be a 0-D value. "
     "Received shape (3,)."),
    (lambda t: tf.complex(t.x, t.i), TypeError, "The `real` and `imag` components have incorrect "
     "types: float32 int32."),
    (lambda t: tf.bitcast(t.b, tf.float64), ValueError, "Cannot bitcast from float32 to float64"),
    (lambda t: tf.cast(None, tf.int32), ValueError, "None values not supported."),
    (lambda t: tf.reduce_sum(t.x, 2), ValueError, "Invalid reduction dimension 2 for input with 2 "
     "dimensions. for 'Sum' (op: 'Sum') with input shapes: [?,3], []."),
    (lambda t: tf.reduce_sum(t.x, -3), ValueError, "Invalid reduction dimension -3"),
    (lambda t: tf.reduce_sum(t.x, 1.5), TypeError, "'reduction_indices' has DataType float32"),
    (lambda t: tf.reduce_sum(t.p), TypeError, "DataType bool not in list of allowed values"),
    (lambda t: tf.reduce_all(t.x), TypeError, "Input 'input' of 'All' Op has type float32"),
    (lambda t: tf.argmax(t.x, 2), ValueError, "Dimension (2) must be in the range [-2, 2)"),
    (lambda t: tf.matmul(t.v, t.m), ValueError, "Shape must be rank 2 but is rank 1 for 'MatMul'"),
    (lambda t: tf.matmul(t.x, t.m), ValueError, "Dimensions must be equal, but are 3 and 4"),
    (lambda t: tf.matmul(t.m, t.m, True, adjoint_a=True), ValueError, "Only one of "
     "`transpose_a` and `adjoint_a` can be True. Received `transpose_a`=True, "
     "`adjoint_a`=True."),
    (lambda t: tf.tensordot(t.m, t.m, 3), ValueError, "`axes` must not be larger than the number "
     "of dimensions of tensor"),
    (lambda t: tf.tensordot(t.m, t.m, [[0], [0, 1]]), ValueError, "Different number "
     "of contraction axes `a` and `b`, 1 != 2."),
    (lambda t: tf.einsum("ij,jk->iz", t.m, t.m), ValueError, "Output subscripts contain the label "
     "z not present in the input subscripts."),
    (lambda t: tf.einsum("ij,jk->ik", t.m, t.b), ValueError, "Shape must be rank 2 but is rank 3"),
    (lambda t: tf.einsum("ij,jk->ik", t.m), ValueError, "Got 1 arguments for equation"),
    (lambda t: tf.norm(t.x, "bad"), ValueError, "'ord' must be a supported vector norm, got bad"),
    (lambda t: tf.matrix_determinant(t.b), ValueError, "Dimensions must be equal, but are 3 and 4"),
    (lambda t: tf.matrix_transpose(t.v), ValueError, "Argument `a` should be a (batch) matrix"),
]  # fmt: skip


@pytest.mark.parametrize("case", range(len(REFUSED)))
def test_what_is_refused_when_built(case, t, graph):
    function, error, text = REFUSED[case]
    with pytest.raises(error) as caught:
        function(t)
    assert text in str(caught.value)


RUN_ERRORS = [
    (lambda t: t.i // 0, "Integer division by zero"),
    (lambda t: 7 % (t.i - t.i), "Integer division by zero"),
    (lambda t: t.i ** (t.i - 9), "Integers to negative integer powers are not allowed"),
    (lambda t: segment.segment_sum(t.i, t.i[:, 0]), "segment ids are not increasing"),
    (lambda t: segment.unsorted_segment_sum(t.i, t.i[:, 0], 3),
     "segment_ids[0] = 3 is out of range [0, 3)"),
]  # fmt: skip


@pytest.mark.parametrize("case", range(len(RUN_ERRORS)))
def test_what_is_refused_when_run(case, t):
    function, text = RUN_ERRORS[case]
    y = function(t)
    with tf.Session() as session:
        for _ in range(3):
            with pytest.raises(tf.errors.InvalidArgumentError) as caught:
                session.run(y, {t.i: [[3, 1, 2], [1, 0, 1]]})
            assert text in str(caught.value)


def test_singular_matrices_are_refused(t):
    for y in (decompose.matrix_inverse(t.m), decompose.matrix_solve(t.m, t.m)):
        with tf.Session() as session:
            for _ in range(3):
                with pytest.raises(tf.errors.InvalidArgumentError, match="not invertible"):
                    session.run(y, {t.m: np.zeros((4, 4))})
    with tf.Session() as session:
        for _ in range(3):
            with pytest.raises(tf.errors.InvalidArgumentError, match="was not successful"):
                session.run(decompose.cholesky(t.m), {t.m: -np.eye(4)})


# -- old spellings ---------------------------------------------------------------------------------


def test_old_names_of_arguments(t):
    assert tf.reduce_sum(t.x, reduction_indices=[1], keep_dims=True).shape.as_list() == [None, 1]
    assert tf.argmax(t.x, dimension=1).shape.as_list() == [None]
    assert tf.count_nonzero(t.x, keep_dims=True).shape.as_list() == [1, 1]
    assert tf.norm(t.x, axis=1, keep_dims=True).shape.as_list() == [None, 1]
    for wrong in (
        lambda: tf.reduce_sum(t.x, axis=0, reduction_indices=1),
        lambda: tf.reduce_sum(t.x, keep_dims=True, keepdims=True),
        lambda: tf.argmax(t.x, 1, dimension=1),
    ):
        with pytest.raises(ValueError, match="Cannot specify both"):
            wrong()


def test_positional_order_of_arguments(t):
    assert tf.reduce_sum(t.x, 0, True, "total").name == "total:0"
    assert tf.argmax(t.x, 1, "best").name == "best:0"
    assert tf.cumsum(t.x, 1, True, True, "run").op.attrs["reverse"] is True
    assert tf.matmul(t.x, t.y, True).shape.as_list() == [3, 3]


# -- values ----------------------------------------------------------------------------------------


def test_division_as_python_divides(t):
    feeds = {t.i: [[7, -7, 6]]}
    np.testing.assert_array_equal(run(t.i / 2, feeds), [[3.5, -3.5, 3]])
    np.testing.assert_array_equal(run(t.i // 2, feeds), [[3, -4, 3]])
    np.testing.assert_array_equal(run(t.i % 4, feeds), [[3, 1, 2]])
    np.testing.assert_array_equal(run(tf.div(t.i, 2), feeds), [[3, -4, 3]])
    np.testing.assert_array_equal(run(ops.truncatediv(t.i, 2), feeds), [[3, -3, 3]])
    assert run(tf.truediv(np.array([1], np.int8), np.array([2], np.int8))).dtype == np.float32


def test_casts_saturate_only_when_asked(t):
    x = {t.x: [[-5.5, 300.0, 7.9]]}
    np.testing.assert_array_equal(run(special.saturate_cast(t.x, tf.uint8), x), [[0, 255, 7]])
    np.testing.assert_array_equal(run(tf.cast(t.x, tf.uint8), x), [[251, 44, 7]])
    big = {t.x: [[-1e30, 1e30, 7]]}
    found = run(special.saturate_cast(t.x, tf.int32), big)
    np.testing.assert_array_equal(found, [[-(2**31), 2**31 - 128, 7]])


def test_sums_of_slices(t):
    rows = IndexedSlices(t.x, tf.constant([2, 0]), tf.constant([4, 3]))
    feeds = {t.x: [[1, 2, 3], [4, 5, 6]]}
    dense = [[4, 5, 6], [0, 0, 0], [1, 2, 3], [0, 0, 0]]
    np.testing.assert_array_equal(run(tf.add_n([rows, rows]), feeds), 2 * np.array(dense))
    scaled = tf.scalar_mul(3.0, rows)
    assert isinstance(scaled, IndexedSlices)
    np.testing.assert_array_equal(run(tf.convert_to_tensor(scaled), feeds), 3 * np.array(dense))
    wide = tf.cast(rows, tf.float64)
    assert isinstance(wide, IndexedSlices)
    assert wide.dtype is tf.float64


def test_einstein_sums_without_an_arrow(t):
    rng = np.random.RandomState(0)
    b, c = rng.randn(2, 3, 4), rng.randn(2, 4, 5)
    feeds = {t.b: b, t.c: c}
    for equation in ("bij,bjk", "bij,bjk->bki", "aij,bjk->abik", "...ij,...jk->...ik"):
        found = run(einsum.einsum(equation, t.b, t.c), feeds)
        np.testing.assert_allclose(found, np.einsum(equation, b, c), rtol=1e-5, atol=1e-6)
    m = rng.randn(4, 4)
    found = run(tf.einsum("ij,jk,kl->il", t.m, t.m, t.m), {t.m: m})
    np.testing.assert_allclose(found, m @ m @ m, rtol=1e-4, atol=1e-5)


def test_logsumexp_does_not_overflow(t):
    feeds = {t.x: [[1000.0, 1000, -np.inf], [-np.inf, -np.inf, -np.inf]]}
    found = run(tf.reduce_logsumexp(t.x, 1), feeds)
    np.testing.assert_allclose(found, [1000 + math.log(2), -np.inf], rtol=1e-6)


def test_bincount_and_histogram(t):
    feeds = {t.i: [[1, 1, 4]]}
    np.testing.assert_array_equal(run(segment.bincount(t.i), feeds), [0, 2, 0, 0, 1])
    counts = segment.bincount(t.i, minlength=6, maxlength=7)
    np.testing.assert_array_equal(run(counts, feeds), [0, 2, 0, 0, 1, 0])
    weighted = segment.bincount([1, 0, 1], weights=[0.5, 2.0, 1.0])
    np.testing.assert_array_equal(run(weighted), [2.0, 1.5])
    bins = segment.histogram_fixed_width([-1.0, 0.5, 9.0], [0.0, 2.0], nbins=2)
    np.testing.assert_array_equal(run(bins), [2, 1])


def test_identity_matrices(t):
    np.testing.assert_array_equal(run(tf.eye(3)), np.eye(3))
    np.testing.assert_array_equal(run(tf.eye(2, 3, dtype=tf.int32)), np.eye(2, 3))
    np.testing.assert_array_equal(run(matrix.eye(2, batch_shape=[2])), np.stack([np.eye(2)] * 2))
    found = run(matrix.eye(tf.shape(t.x)[0]), {t.x: np.zeros((2, 3))})
    np.testing.assert_array_equal(found, np.eye(2))


def test_bits(t):
    feeds = {t.i: [[6, 1, -1]]}
    np.testing.assert_array_equal(run(t.i & 3, feeds), [[2, 1, 3]])
    np.testing.assert_array_equal(run(bitwise.left_shift(t.i, 2), feeds), [[24, 4, -4]])
    np.testing.assert_array_equal(run(t.i ^ t.i, feeds), [[0, 0, 0]])


def test_complex_parts(t):
    z = cast.complex(t.x, t.y)
    feeds = {t.x: [[3, 0, -1]], t.y: [[4, 2, 0]]}
    np.testing.assert_allclose(run(tf.abs(z), feeds), [[5, 2, 1]])
    np.testing.assert_allclose(
        run(special.angle(z), feeds)[0, 1:], [math.pi / 2, math.pi], rtol=1e-6
    )
    np.testing.assert_array_equal(run(tf.imag(tf.conj(z)), feeds), [[-4, -2, 0]])
    assert tf.conj(t.x) is t.x
    assert tf.real(t.x) is t.x


# -- gradients that the table cannot try -----------------------------------------------------------


def gradient(y, x, feeds):
    return run(tf.gradients(y, x)[0], feeds)


def test_root_of_a_maximum_keeps_nan_out(t):
    """sqrt(maximum(x, 0)): the infinite slope at 0 is not multiplied by 0, but left out."""
    y = tf.sqrt(tf.maximum(t.x, 0.0))
    found = gradient(y, t.x, {t.x: [[-1.0, 4.0, -2.0]]})
    np.testing.assert_array_equal(found, [[0, 0.25, 0]])


def test_products_with_zeros(t):
    feeds = {t.x: [[2, 0, 5], [0, 0, 7], [1, 2, 3]]}
    expected = [[0, 10, 0], [0, 0, 0], [6, 3, 2]]
    np.testing.assert_allclose(gradient(tf.reduce_prod(t.x, 1), t.x, feeds), expected)
    runs = gradient(tf.cumprod(t.x, 1), t.x, feeds)
    np.testing.assert_allclose(runs, [[1, 12, 0], [1, 0, 0], [9, 4, 2]])


def test_extremes_share_their_gradient(t):
    feeds = {t.x: [[1, 3, 3], [2, 2, 2]]}
    expected = [[0, 0.5, 0.5], [1 / 3] * 3]
    np.testing.assert_allclose(gradient(tf.reduce_max(t.x, 1), t.x, feeds), expected, rtol=1e-6)


def test_powers_of_zero_and_of_negative_numbers(t):
    feeds = {t.x: [[0, -2, 3]], t.y: [[2, 3, 2]]}
    dx, dy = tf.gradients(t.x**t.y, [t.x, t.y])
    np.testing.assert_allclose(run(dx, feeds), [[0, 12, 6]])
    np.testing.assert_allclose(run(dy, feeds), [[0, 0, 9 * math.log(3)]], rtol=1e-6)


def test_gradient_of_matmul_is_matmul(t, graph):
    for a, b, transpose_a, transpose_b in (
        (t.x, t.m[:3], False, False),
        (t.x, t.y, True, False),
        (t.x, t.y, False, True),
    ):
        before = len(graph.get_operations())
        tf.gradients(linalg.matmul(a, b, transpose_a, transpose_b), [a, b])
        types = {op.type for op in graph.get_operations()[before:]}
        assert "MatMul" in types
        assert not types & {"Transpose", "ConjugateTranspose"}


def test_broadcast_batches_of_unknown_size(t):
    x = tf.placeholder(tf.float32, [None, None, None])
    y = tf.placeholder(tf.float32, [None, None, None])
    rng = np.random.RandomState(0)
    feeds = {x: rng.randn(1, 2, 3), y: rng.randn(4, 3, 5)}
    dx, dy = tf.gradients(linalg.matmul(x, y), [x, y])
    sums = feeds[y].sum((0, 2))
    np.testing.assert_allclose(run(dx, feeds), np.tile(sums, (1, 2, 1)), atol=1e-5)
    np.testing.assert_allclose(
        run(dy, feeds), np.tile(feeds[x].sum(1).reshape(1, 3, 1), (4, 1, 5)), atol=1e-5
    )


def test_reductions_of_unknown_rank_differentiate(t):
    feeds = {t.u: np.arange(6.0).reshape(2, 3)}
    np.testing.assert_allclose(gradient(tf.reduce_mean(t.u), t.u, feeds), np.full((2, 3), 1 / 6))
    by_rows = gradient(tf.reduce_mean(t.u, 1), t.u, feeds)
    np.testing.assert_allclose(by_rows, np.full((2, 3), 1 / 3), rtol=1e-6)
    top = gradient(reduce.reduce_max(t.u, 1), t.u, feeds)
    np.testing.assert_allclose(top, [[0, 0, 1], [0, 0, 1]])


def test_cholesky_of_a_symmetric_change(t):
    """d/dB of Σ c·chol(B Bᵀ + 1): of a matrix that stays symmetric, by differences."""
    rng = np.random.RandomState(2)
    c = tf.constant(np.tril(rng.randn(3, 3)))
    b = tf.placeholder(tf.float64, [3, 3])
    y = tf.reduce_sum(
        c * decompose.cholesky(tf.matmul(b, b, transpose_b=True) + tf.eye(3, dtype=tf.float64))
    )
    slope = tf.gradients(y, b)[0]
    curve = tf.gradients(tf.reduce_sum(slope * slope), b)[0]
    at, h = rng.randn(3, 3), 1e-5
    with tf.Session() as session:
        for f, df in ((y, slope), (tf.reduce_sum(slope * slope), curve)):
            found = session.run(df, {b: at})
            for i in np.ndindex(3, 3):
                step = np.zeros((3, 3))
                step[i] = h
                ahead, behind = (session.run(f, {b: at + s * step}) for s in (1, -1))
                assert abs(found[i] - (ahead - behind) / (2 * h)) < 1e-5 * (1 + abs(found[i]))


def test_incomplete_gamma_by_both_arguments():
    a, x = (tf.placeholder(tf.float64, [3]) for _ in range(2))
    y = special.igamma(a, x)
    at = {a: np.array([0.7, 1.5, 4.0]), x: np.array([0.4, 1.2, 5.0])}
    slopes = tf.gradients(y, [a, x])
    h = 1e-5
    with tf.Session() as session:
        found = session.run(slopes, at)
        for g, v in zip(found, (a, x), strict=True):
            ahead, behind = (session.run(y, {**at, v: at[v] + s * h}) for s in (1, -1))
            np.testing.assert_allclose(g, (ahead - behind) / (2 * h), rtol=1e-7)
