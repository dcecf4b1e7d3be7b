"""Cases of random ops: the numbers are what TensorFlow 2.21's kernels gave for the same seeds."""

from __future__ import annotations

import numpy as np

from headrace import dtypes
from tests.ops.case import Case

SEEDS = {"seed": 12, "seed2": 34}
SHAPE = np.array([2, 3], np.int32)
DRAWN = {
    "RandomUniform": {
        dtypes.float32: [0.7685678, 0.96784055, 0.062479854, 0.9603753, 0.9320179, 0.79355764],
        dtypes.float64: [
            0.1485424208787094, 0.4998395106948452, 0.4561434682338641, 0.35766436486626696,
            0.6979831397085405, 0.21684072748865324,
        ],
        dtypes.float16: [0.107421875, 0.5498046875, 0.8349609375, 0.39453125, 0.0908203125,
                         0.82421875],
    },
    "RandomStandardNormal": {
        dtypes.float32: [-0.14561598, 0.7108087, -0.58027375, 2.2823462, -0.36127636, 0.10141923],
        dtypes.float64: [
            0.001969260212262035, -1.9528864585824532, 0.9770344770862817, -0.7844102382347892,
            0.8296711034553124, 0.17540388651614522,
        ],
    },
    "TruncatedNormal": {
        dtypes.float32: [-0.14561598, 0.7108087, -0.58027375, -0.36127636, 1.1077994, -1.1417007],
        dtypes.float64: [
            0.001969260212262035, -1.9528864585824532, -0.3274050101838082, 0.388193897437449,
            0.43071439357501884, 1.5908732989271483,
        ],
    },
}  # fmt: skip


def given(values):
    return lambda *_: values


def sampler_cases(drawn):
    cases = [
        Case((SHAPE,), {"dtype": dtype, **SEEDS}, given(np.reshape(values, (2, 3))))
        for dtype, values in drawn.items()
    ]
    for dtype in (dtypes.float16, dtypes.bfloat16, dtypes.float32, dtypes.float64):
        for shape in ([], [0], [7], [3, 0, 2], [1030]):
            cases.append(Case((np.array(shape, np.int64),), {"dtype": dtype, **SEEDS}))
    return cases


def between(kind, low, high):
    return np.array(low, kind), np.array(high, kind)


LOGITS = np.log(np.array([[0.1, 0.2, 0.3, 0.4], [0.97, 0.01, 0.01, 0.01]], np.float32))
CHOSEN = np.array([[1, 2, 2, 2, 3, 1], [0, 0, 0, 0, 0, 0]])
SIX = np.array(6, np.int32)
CASES = {name: sampler_cases(drawn) for name, drawn in DRAWN.items()}
CASES |= {
    "RandomUniformInt": [
        Case(
            (np.array([5], np.int32), *between(np.int32, -3, 100)), SEEDS,
            given([71, -2, 38, 21, 44]),
        ),
        Case(
            (np.array([5], np.int32), *between(np.int64, -3, 100)), SEEDS,
            given([31, 5, 61, 73, 61]),
        ),
        Case((np.array([], np.int32), *between(np.int32, 0, 2**31 - 1)), SEEDS),
        Case((np.array([0, 4]), *between(np.int64, -(2**62), 2**62)), SEEDS),
    ],
    "RandomShuffle": [
        Case((np.arange(10, dtype=np.int32),), SEEDS, given([2, 3, 9, 1, 5, 4, 8, 0, 6, 7])),
        Case((np.arange(8.0).reshape(4, 2),), SEEDS, given([[4, 5], [6, 7], [2, 3], [0, 1]])),
        Case((np.array(3.0),), SEEDS, given(3.0)),
        Case((np.zeros((0, 2)),), SEEDS),
        Case((np.zeros((2, 0)),), SEEDS),
        Case((np.zeros((1, 2)),), SEEDS),
    ],
    "Multinomial": [
        Case((LOGITS, SIX), SEEDS, given(CHOSEN)),
        Case((LOGITS, SIX), {"output_dtype": dtypes.int32, **SEEDS}, given(CHOSEN)),
        Case((LOGITS.astype(np.float64), SIX), SEEDS, given(CHOSEN)),
        Case((LOGITS, np.array(0, np.int32)), SEEDS),
        Case((LOGITS[:0], SIX), SEEDS),
        Case((np.array([[0, 3, 1]], np.int32), SIX), SEEDS),
    ],
}  # fmt: skip
