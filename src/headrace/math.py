"""`tf.math`: elementwise functions, reductions and segments."""

from headrace.ops.special import angle
from headrace.ops.cast import conj, imag, real
from headrace.ops.checks import is_non_decreasing, is_strictly_increasing
from headrace.ops.curves import (
    acos, acosh, asin, asinh, atan, atanh, cos, cosh, exp, expm1, log, log1p, reciprocal, rsqrt,
    sigmoid, sin, sinh, sqrt, tan, tanh,
)
from headrace.ops.math import (
    abs, accumulate_n, add, add_n, atan2, ceil, div_no_nan as divide_no_nan, divide, equal,
    floor, floordiv, floormod, floormod as mod, greater, greater_equal, is_finite, is_inf, is_nan,
    less, less_equal, logical_and, logical_not, logical_or, logical_xor, maximum, minimum,
    multiply, multiply_no_nan, negative, not_equal, pow, reciprocal_no_nan, rint, round,
    scalar_mul, sign, square, squared_difference, subtract, truediv,
)
from headrace.ops.nn import log_sigmoid, softplus, softsign, zero_fraction
from headrace.ops.normalize import l2_normalize
from headrace.ops.shaping import invert_permutation
from headrace.ops.ranking import confusion_matrix, in_top_k, top_k
from headrace.ops.reduce import (
    argmax, argmin, count_nonzero, cumprod, cumsum, reduce_all, reduce_any,
    reduce_euclidean_norm, reduce_logsumexp, reduce_max, reduce_mean, reduce_min, reduce_prod,
    reduce_std, reduce_sum, reduce_variance,
)
from headrace.ops.segment import (
    bincount, segment_max, segment_mean, segment_min, segment_prod, segment_sum,
    unsorted_segment_max, unsorted_segment_mean, unsorted_segment_min, unsorted_segment_prod,
    unsorted_segment_sqrt_n, unsorted_segment_sum,
)
from headrace.ops.special import (
    betainc, digamma, erf, erfc, erfcinv, erfinv, igamma, igammac, lbeta, lgamma, ndtri, polygamma,
    polyval, xdivy, xlog1py, xlogy, zeta,
)
from headrace.ops.xent import log_softmax, softmax
