"""headrace: define a graph, differentiate it, run it, as TensorFlow 1 does, on NumPy and XLA.

`import headrace as tf`, and a TensorFlow-1 program runs. This module only gives names.
"""

from importlib import import_module as _import_module
from typing import Any as _Any

from headrace import (  # isort: skip
    config, debugging, dtypes, errors, initializers, linalg, logging, losses, math, nest, nn,
    protos as _protos, random, summary, train,
)
from headrace.custom_gradients import custom_gradient, recompute_grad
from headrace.dtypes import (
    DType, as_dtype, bfloat16, bool_ as bool, complex64, complex128, double, float16, float32,
    float64, half, int8, int16, int32, int64, resource, string, uint8, uint16, uint32, uint64,
    variant,
)
from headrace.errors import OpError
from headrace.gradients import (
    AggregationMethod, NoGradient, NotDifferentiable, RegisterGradient, UnconnectedGradients,
    gradients, hessians, jacobian,
)
from headrace.graph import (
    Graph, add_to_collection, add_to_collections, colocate_with, control_dependencies, device,
    get_collection, get_collection_ref, get_default_graph, name_scope, reset_default_graph,
)
from headrace.keys import GraphKeys
from headrace.node import Operation, Tensor, get_default_session
from headrace.conversion import convert_to_tensor, is_tensor, register_tensor_conversion_function
from headrace.importer import import_graph_def, make_ndarray
from headrace.indexed_slices import IndexedSlices
from headrace.initializers import (
    constant_initializer, glorot_normal_initializer, glorot_uniform_initializer,
    ones_initializer, orthogonal_initializer,
    random_normal_initializer, random_uniform_initializer, truncated_normal_initializer,
    uniform_unit_scaling_initializer, variance_scaling_initializer, zeros_initializer,
)
from headrace.logging import get_logger
from headrace.missing import explain as _explain
from headrace.ops import bitwise
from headrace.ops.cast import (
    bitcast, cast, complex, conj, imag, real, to_bfloat16,
    to_complex64, to_complex128, to_double, to_float, to_int32, to_int64,
)
from headrace.ops.checks import (
    Assert, add_check_numerics_ops, assert_equal, assert_greater, assert_greater_equal,
    assert_integer, assert_less, assert_less_equal, assert_near, assert_negative,
    assert_non_negative, assert_non_positive, assert_none_equal, assert_positive,
    assert_proper_iterable, assert_rank, assert_rank_at_least, assert_rank_in,
    assert_same_float_dtype, assert_scalar, assert_type, check_numerics, is_non_decreasing,
    is_numeric_tensor, is_strictly_increasing, verify_tensor_all_finite,
)
from headrace.ops.constant import constant, placeholder, placeholder_with_default
from headrace.ops.control import group, no_op, tuple
from headrace.ops.counting import range
from headrace.ops.curves import (
    acos, acosh, asin, asinh, atan, atanh, cos, cosh, exp, expm1, log, log1p, reciprocal, rsqrt,
    sigmoid, sin, sinh, sqrt, tan, tanh,
)
from headrace.ops.decompose import (
    cholesky, cholesky_solve, matrix_determinant, matrix_inverse, matrix_solve,
    matrix_solve_ls, matrix_triangular_solve, qr, self_adjoint_eig, self_adjoint_eigvals, svd,
)
from headrace.ops.files import matching_files, read_file, write_file
from headrace.ops.filling import fill, ones, ones_like, zeros, zeros_like
from headrace.ops.gather import (
    tensor_scatter_nd_max, tensor_scatter_nd_max as tensor_scatter_max, tensor_scatter_nd_min,
    tensor_scatter_nd_min as tensor_scatter_min,
    batch_gather, boolean_mask, gather, gather_nd, one_hot, scatter_nd, tensor_scatter_nd_add,
    tensor_scatter_nd_add as tensor_scatter_add, tensor_scatter_nd_sub,
    tensor_scatter_nd_sub as tensor_scatter_sub, tensor_scatter_nd_update,
    tensor_scatter_nd_update as tensor_scatter_update, where, where_v2,
)
from headrace.ops.indexed import convert_to_tensor_or_indexed_slices
from headrace.ops.joining import concat, parallel_stack, split, stack, unstack
from headrace.ops.linalg import cross, matmul, norm, tensordot
from headrace.ops.einsum import einsum
from headrace.ops.math import (
    abs, accumulate_n, add, add_n, atan2, ceil, div, div_no_nan, divide, equal, floor, floor_div,
    floordiv, floormod, floormod as mod, greater, greater_equal, is_finite, is_inf, is_nan, less,
    less_equal, logical_and, logical_not, logical_or, logical_xor, maximum, minimum, multiply,
    negative, not_equal, pow, realdiv, rint, round, scalar_mul, sign, square, squared_difference,
    subtract, truediv, truncatediv, truncatemod,
)
from headrace.ops.matrix import (
    diag, diag_part, eye, matrix_band_part, matrix_diag, matrix_diag_part, matrix_set_diag,
    matrix_transpose, trace,
)
from headrace.ops.nn import log_sigmoid
from headrace.ops.normalize import clip_by_average_norm, clip_by_global_norm, clip_by_norm
from headrace.ops.normalize import clip_by_value, global_norm
from headrace.ops.partition import (
    dynamic_partition, dynamic_stitch,
    searchsorted, setdiff1d, unique, unique_with_counts,
)
from headrace.ops.printing import Print, print
from headrace.ops.py import numpy_function, numpy_op, py_func, py_function
from headrace.ops.queues import (
    FIFOQueue, PaddingFIFOQueue, PriorityQueue, QueueBase, RandomShuffleQueue,
)
from headrace.ops.random import (
    get_seed, multinomial, random_crop, random_normal, random_shuffle, random_uniform,
    set_random_seed, truncated_normal,
)
from headrace.ops.ranking import argsort, confusion_matrix, sort
from headrace.ops.readers import (
    FixedLengthRecordReader, IdentityReader, ReaderBase, TextLineReader, TFRecordReader,
    WholeFileReader,
)
from headrace.ops.rearrange import (
    batch_to_space, batch_to_space_nd, depth_to_space, pad, reverse, reverse_sequence, reverse_v2,
    roll, space_to_batch, space_to_batch_nd, space_to_depth, tile,
)
from headrace.ops.reduce import (
    arg_max, arg_min, argmax, argmin, count_nonzero, cumprod, cumsum, reduce_all, reduce_any,
    reduce_logsumexp, reduce_max, reduce_mean, reduce_min, reduce_prod, reduce_sum,
)
from headrace.ops.segment import (
    bincount, histogram_fixed_width, segment_max, segment_mean, segment_min, segment_prod,
    segment_sum, sparse_segment_mean, sparse_segment_sqrt_n, sparse_segment_sum,
    unsorted_segment_max, unsorted_segment_mean, unsorted_segment_min, unsorted_segment_prod,
    unsorted_segment_sqrt_n, unsorted_segment_sum,
)
from headrace.ops.sequences import lin_space, linspace, meshgrid, repeat, sequence_mask
from headrace.ops.shaping import (
    broadcast_dynamic_shape, broadcast_static_shape, broadcast_to, ensure_shape, expand_dims,
    guarantee_const, identity, identity_n, invert_permutation, rank, reshape, shape, shape_n, size,
    squeeze, stop_gradient, transpose,
)
from headrace.ops.slicing import newaxis, slice, strided_slice
from headrace.ops.state import (
    assign, assign_add, assign_sub, count_up_to, is_variable_initialized, scatter_add, scatter_div,
    scatter_max, scatter_min, scatter_mul, scatter_nd_add, scatter_nd_sub, scatter_nd_update,
    scatter_sub, scatter_update,
)
from headrace.ops.special import (
    angle, betainc, digamma, erf, erfc, igamma, igammac, lbeta, lgamma, polygamma, saturate_cast,
    zeta,
)
from headrace.ops.strings import string_join
from headrace.partitioned import (
    fixed_size_partitioner, min_max_variable_partitioner, variable_axis_size_partitioner,
)
from headrace.runtime.session import InteractiveSession, Session
from headrace.shapes import Dimension, TensorShape, dimension_value
from headrace.variable_lists import initialize_all_tables, tables_initializer
from headrace.variable_scope import (
    AUTO_REUSE, VariableScope, get_local_variable, get_variable, get_variable_scope, no_regularizer,
    variable_op_scope, variable_scope,
)
from headrace.variables import (
    Variable, VariableAggregation, VariableSynchronization, all_variables,
    assert_variables_initialized, disable_resource_variables, enable_resource_variables,
    global_variables, global_variables_initializer, initialize_all_variables,
    initialize_local_variables, initialize_variables, local_variables, local_variables_initializer,
    model_variables, moving_average_variables, report_uninitialized_variables,
    resource_variables_enabled, trainable_variables, variables_initializer,
)  # isort: skip

__version__ = "0.1.0"

_LATER = ("contrib", "test", "timeline")  # few programs need them


def __getattr__(name: str) -> _Any:
    """What is loaded when asked for; anything else is not there, and says so."""
    if name in _protos.NAMES:
        return getattr(_protos, name)
    if name in _LATER:
        return _import_module(f"{__name__}.{name}")
    raise AttributeError(_explain("tf", name))


def __dir__() -> list[str]:
    return sorted([*globals(), *_protos.NAMES, *_LATER])
