"""Cases of activations, biases, softmax, cross-entropies and rankings."""

from __future__ import annotations

import math

import ml_dtypes
import numpy as np

from headrace import dtypes
from tests.ops.case import Case

F32, F64, F16, BF16 = np.float32, np.float64, np.float16, ml_dtypes.bfloat16
RNG = np.random.RandomState(7)

SPREAD = np.array([[-30.0, -2.5, -0.75], [0.25, 1.5, 30.0]])
ROWS = RNG.randn(4, 3)
EDGES = np.array([-np.inf, np.inf, np.nan, 0.0, -0.0], F32)
FEW = np.array([-3.0, -0.5, 0.5, 2.0])
EMPTY = np.zeros((0, 3), F32)


def each(function):
    """The oracle of an elementwise function of Python floats."""

    def oracle(*arrays):
        arrays = [np.asarray(a, F64) for a in arrays]
        flat = [function(*row) for row in zip(*(a.ravel().tolist() for a in arrays), strict=True)]
        return np.array(flat).reshape(arrays[0].shape)

    return oracle


# -- activations -----------------------------------------------------------------------------------

SCALE, ALPHA = 1.0507009873554805, 1.6732632423543772


def relu(x):
    return x if not x < 0 else 0.0


def relu6(x):
    return x if x != x else min(max(x, 0.0), 6.0)


def elu(x):
    return math.expm1(x) if x < 0 else x


def selu(x):
    return SCALE * ALPHA * math.expm1(x) if x < 0 else SCALE * x


def softplus(x):
    return x + math.log1p(math.exp(-x)) if x > 0 else math.log1p(math.exp(x))


def softsign(x):
    return x / (1 + abs(x))


def leaky(x):
    return x if x > 0 else 0.3 * x


def sigmoid(x):
    return 1 / (1 + math.exp(-x)) if x > 0 else math.exp(x) / (1 + math.exp(x))


ACTIVATIONS = {
    "Relu": (relu, lambda g, y: g if y > 0 else 0.0),
    "Relu6": (relu6, lambda g, y: g if 0 < y < 6 else 0.0),
    "Elu": (elu, lambda g, y: g * (y + 1) if y < 0 else g),
    "Selu": (selu, lambda g, y: g * (y + SCALE * ALPHA) if y < 0 else g * SCALE),
    "Softplus": (softplus, lambda g, x: g * sigmoid(x)),
    "Softsign": (softsign, lambda g, x: g / (1 + abs(x)) ** 2),
    "LeakyRelu": (leaky, lambda g, x: g if x > 0 else 0.3 * g),
}
# Where the gradient op takes the result, its operand must be one that can be a result.
SLOPES_AT = {
    "Elu": np.array([[-0.9, -0.3, -0.01], [0.25, 1.5, 30.0]]),
    "Selu": np.array([[-1.7, -0.3, -0.01], [0.25, 1.5, 30.0]]),
}
NARROW = np.array([-1.5, -0.25, 0.5, 3.0])


def activation_cases(name):
    forward, backward = ACTIVATIONS[name]
    attrs = {"alpha": 0.3} if name == "LeakyRelu" else {}
    at = SLOPES_AT.get(name, SPREAD)
    weights = np.array([[1.0, -2.0, 0.5], [3.0, 0.25, -1.0]])
    values = Case((SPREAD.astype(F32),), attrs, each(forward))
    forwards = [
        values,
        Case((SPREAD,), attrs, each(forward)),
        Case((NARROW.astype(F16),), attrs, each(forward)),
        Case((NARROW.astype(BF16),), attrs, each(forward)),
        Case((np.array(-0.5, F32),), attrs, each(forward)),
        Case((EMPTY,), attrs),
        Case((EDGES[2:],), attrs, each(forward), (), "at the kink"),
    ]
    backwards = [
        Case((weights.astype(F32), at.astype(F32)), attrs, each(backward)),
        Case((weights[0].astype(F16), at[0].astype(F16)), attrs, each(backward)),
        Case((weights[0].astype(BF16), at[0].astype(BF16)), attrs, each(backward)),
        Case((EMPTY, EMPTY), attrs),
    ]
    return {name: forwards, f"{name}Grad": backwards}


CASES = {}
for _name in ACTIVATIONS:
    CASES |= activation_cases(_name)
for _kind in (np.int8, np.int32, np.uint8, np.int64):
    _x = np.array([[0, 3, 7], [250, 5, 6]]).astype(_kind)
    CASES["Relu"].append(Case((_x,), oracle=each(relu)))
    CASES["Relu6"].append(Case((_x,), oracle=each(relu6)))
    CASES["ReluGrad"].append(Case((_x, _x), oracle=each(ACTIVATIONS["Relu"][1])))

# -- biases ----------------------------------------------------------------------------------------


def bias_first(x, b):
    return np.stack([x[:, i] + b[i] for i in range(len(b))], 1)


def bias_last(x, b):
    return np.stack([x[..., i] + b[i] for i in range(len(b))], -1)


def bias_grad_last(dy):
    return np.array([dy[..., i].astype(F64).sum() for i in range(dy.shape[-1])])


def bias_grad_first(dy):
    return np.array([dy[:, i].astype(F64).sum() for i in range(dy.shape[1])])


FIRST, LAST = {"data_format": "NCHW"}, {"data_format": "NHWC"}
IMAGES = RNG.randn(2, 3, 4, 3).astype(F32)
BIAS = np.array([0.5, -1.0, 2.0], F32)
CASES |= {
    "BiasAdd": [
        Case((ROWS.astype(F32), BIAS), LAST, bias_last),
        Case((IMAGES, BIAS), LAST, bias_last),
        Case((IMAGES, BIAS), FIRST, bias_first),
        Case((IMAGES[:, :, 0], BIAS), FIRST, bias_first),
        Case((ROWS.astype(F16), BIAS.astype(F16)), LAST),
        Case((ROWS.astype(BF16), BIAS.astype(BF16)), LAST),
        Case((np.arange(6).reshape(2, 3), np.array([1, 2, 3])), LAST, bias_last),
        Case((EMPTY, BIAS), LAST),
        Case((ROWS.astype(np.complex64), BIAS.astype(np.complex64)), LAST, bias_last),
    ],
    "BiasAddGrad": [
        Case((ROWS.astype(F32),), LAST, bias_grad_last),
        Case((IMAGES,), LAST, bias_grad_last),
        Case((IMAGES,), FIRST, bias_grad_first),
        Case((RNG.uniform(0.5, 1, (5000, 2)).astype(F16),), LAST, bias_grad_last),
        Case((RNG.uniform(0.5, 1, (5000, 2)).astype(BF16),), LAST, bias_grad_last),
        Case((np.arange(6, dtype=np.int32).reshape(2, 3),), LAST, lambda dy: dy.sum(0)),
        Case((EMPTY,), LAST, lambda dy: np.zeros(3)),
    ],
    "L2Loss": [
        Case((ROWS.astype(F32),), oracle=lambda x: (x.astype(F64) ** 2).sum() / 2),
        Case((np.array(3.0),), oracle=lambda x: 4.5),
        Case((np.full(3000, 0.5, F16),), oracle=lambda x: 375.0),
        Case((np.full(3000, 0.5, BF16),), oracle=lambda x: 375.0),
        Case((EMPTY,), oracle=lambda x: 0.0),
    ],
}

# -- softmax ---------------------------------------------------------------------------------------


def softmax_row(x):
    top = max(x, default=0.0)
    e = [math.exp(v - top) for v in x]
    return [v / math.fsum(e) for v in e]


def by_rows(function):
    def oracle(x):
        x = np.asarray(x, F64)
        rows = [function(row) for row in x.reshape(-1, x.shape[-1]).tolist()]
        return np.array(rows).reshape(x.shape)

    return oracle


def log_softmax_row(x):
    top = max(x)
    rest = math.log(math.fsum(math.exp(v - top) for v in x))
    return [v - top - rest for v in x]


LARGE = np.array([[1000.0, 1001.0, 999.0], [-1000.0, -1000.0, -1003.0]])
MASKED = np.array([[-np.inf, 0.0, 1.0]], F32)


def softmax_cases(row):
    oracle = by_rows(row)
    return [
        Case((ROWS.astype(F32),), oracle=oracle),
        Case((LARGE,), oracle=oracle),
        Case((IMAGES,), oracle=oracle),
        Case((FEW,), oracle=oracle),
        Case((ROWS.astype(F16),), oracle=oracle),
        Case((ROWS.astype(BF16),), oracle=oracle),
        Case((EMPTY,)),
        Case((np.zeros((3, 0), F32),)),
        Case((np.full((2, 2), np.nan, F32),), gradient=(), why="NaN"),
    ]


CASES |= {"Softmax": softmax_cases(softmax_row), "LogSoftmax": softmax_cases(log_softmax_row)}
CASES["Softmax"].append(Case((MASKED,), oracle=by_rows(
    lambda row: [0.0, 1 / (1 + math.e), math.e / (1 + math.e)]), gradient=(), why="infinite",
))  # fmt: skip

# -- cross-entropies -------------------------------------------------------------------------------


def xent(logits, labels):
    logits, labels = np.broadcast_arrays(np.asarray(logits, F64), np.asarray(labels, F64))
    losses, slopes = [], []
    for x, p in zip(logits.tolist(), labels.tolist(), strict=True):
        logs = log_softmax_row(x)
        losses.append(-math.fsum(a * b for a, b in zip(p, logs, strict=True)))
        slopes.append([math.exp(a) - b for a, b in zip(logs, p, strict=True)])
    return np.array(losses), np.array(slopes).reshape(logits.shape)


def sparse_xent(logits, labels):
    hot = np.zeros(logits.shape)
    for i, k in enumerate(labels):
        hot[i, k] = 1
    return xent(logits, hot)


DISTRIBUTIONS = np.exp(RNG.randn(4, 3))
DISTRIBUTIONS /= DISTRIBUTIONS.sum(1, keepdims=True)
CLASSES = np.array([0, 2, 1, 2])
ROUNDED = "the gradient takes labels to add up to 1, and these do not quite"
NO_CLASSES = (np.zeros(2, F32), np.zeros((2, 0), F32))
CASES |= {
    "SoftmaxCrossEntropyWithLogits": [
        Case((ROWS.astype(F32), DISTRIBUTIONS.astype(F32)), oracle=xent),
        Case((ROWS, DISTRIBUTIONS), oracle=xent),
        Case((LARGE, DISTRIBUTIONS[:2]), oracle=xent),
        Case((ROWS, DISTRIBUTIONS[:1]), oracle=xent),
        Case((ROWS[:1], DISTRIBUTIONS), oracle=xent),
        Case((ROWS.astype(F16), DISTRIBUTIONS.astype(F16)), {}, xent, (), ROUNDED),
        Case((ROWS.astype(BF16), DISTRIBUTIONS.astype(BF16)), {}, xent, (), ROUNDED),
        Case((EMPTY, EMPTY)),
        Case((np.zeros((2, 0), F32),) * 2, oracle=lambda x, p: NO_CLASSES),
    ],
    "SparseSoftmaxCrossEntropyWithLogits": [
        Case((ROWS.astype(F32), CLASSES.astype(np.int32)), oracle=sparse_xent),
        Case((ROWS, CLASSES), oracle=sparse_xent),
        Case((LARGE, CLASSES[:2]), oracle=sparse_xent),
        Case((ROWS.astype(F16), CLASSES.astype(np.int32)), oracle=sparse_xent),
        Case((ROWS.astype(BF16), CLASSES), oracle=sparse_xent),
        Case((EMPTY, CLASSES[:0])),
    ],
}

# -- rankings --------------------------------------------------------------------------------------


def top_k(x, k):
    """By Python's stable sort, which leaves equal elements as they are."""
    values, places = [], []
    for row in x.reshape(-1, x.shape[-1]).tolist():
        order = sorted(range(len(row)), key=lambda i: -row[i])[: int(k)]
        places.append(order)
        values.append([row[i] for i in order])
    shape = (*x.shape[:-1], int(k))
    return np.array(values).reshape(shape), np.array(places).reshape(shape)


def in_top_k(predictions, targets, k):
    found = []
    for row, t in zip(predictions.tolist(), targets.tolist(), strict=True):
        fine = 0 <= t < len(row) and all(map(math.isfinite, row))
        found.append(fine and sum(v > row[t] for v in row) < k)
    return np.array(found, bool)


DISTINCT = np.array([[1.0, 4.0, 3.0, 2.0], [0.5, -1.0, -2.0, 0.25]])
TIES = np.array([[1.0, 3.0, 3.0, 2.0], [5.0, 5.0, 5.0, 5.0]], F32)
PREDICTIONS = np.array(
    [
        [1, 2, 3], [1, 2, np.nan], [1, np.inf, 0], [3, 3, 3], [1, 2, 3], [1, 2, 3], [2, 1, 3],
    ], F32,
)  # fmt: skip
TARGETS = np.array([2, 1, 0, 1, 5, -1, 1])
TWO, ONE = np.array(2, np.int32), np.array(1, np.int32)
CASES |= {
    "TopKV2": [
        Case((DISTINCT, TWO), oracle=top_k),
        Case((DISTINCT.astype(F32), ONE), oracle=top_k),
        Case((DISTINCT[0], np.array(4, np.int32)), oracle=top_k),
        Case((DISTINCT.reshape(2, 2, 2), ONE), oracle=top_k),
        Case((TIES, np.array(3, np.int32)), oracle=top_k, gradient=(), why="ties"),
        Case((TIES, ONE), oracle=top_k, gradient=(), why="ties"),
        Case((DISTINCT, np.array(0, np.int32)), oracle=top_k),
        Case((np.array([3, -128, 127, 0], np.int8), TWO), oracle=top_k),
        Case((np.array([3, 255, 0], np.uint8), TWO), oracle=top_k),
        Case((DISTINCT.astype(F16), TWO), oracle=top_k),
        Case((DISTINCT.astype(BF16), TWO), oracle=top_k),
        Case((DISTINCT, TWO), {"index_type": dtypes.int64}, oracle=top_k),
        Case((EMPTY, TWO), oracle=lambda x, k: (np.zeros((0, 2)), np.zeros((0, 2)))),
    ],
    "InTopKV2": [
        Case((PREDICTIONS, TARGETS.astype(np.int32), TWO), oracle=in_top_k),
        Case((PREDICTIONS, TARGETS, np.array(1)), oracle=in_top_k),
        Case((PREDICTIONS, TARGETS, np.array(0)), oracle=in_top_k),
        Case((EMPTY, TARGETS[:0], np.array(1)), oracle=in_top_k),
    ],
}  # fmt: skip
