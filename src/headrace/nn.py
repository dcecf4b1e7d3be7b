"""`tf.nn`: what neural networks are made of."""

from headrace.missing import explain as _explain
from headrace.ops.curves import sigmoid, tanh
from headrace.ops.embedding import embedding_lookup
from headrace.ops.nn import (
    bias_add, crelu, dropout, elu, l2_loss, leaky_relu, log_sigmoid, relu, relu6, relu_layer, selu,
    silu, softplus, softsign, swish, xw_plus_b, zero_fraction,
)
from headrace.ops.normalize import (
    batch_norm_with_global_normalization, batch_normalization, l2_normalize, moments,
    normalize_moments, sufficient_statistics, weighted_moments,
)
from headrace.ops.ranking import in_top_k, top_k
from headrace.ops.xent import (
    log_poisson_loss, log_softmax, sigmoid_cross_entropy_with_logits, softmax,
    softmax_cross_entropy_with_logits, softmax_cross_entropy_with_logits_v2,
    sparse_softmax_cross_entropy_with_logits, weighted_cross_entropy_with_logits,
)  # isort: skip


def __getattr__(name: str) -> object:
    """Not there: say so, and what to use instead."""
    raise AttributeError(_explain("tf.nn", name))
