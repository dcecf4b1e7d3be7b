"""Cases of what brings values into a graph."""

from __future__ import annotations

import numpy as np

from headrace import dtypes
from headrace.shapes import TensorShape
from tests.ops.case import Case


def same(x):
    return x


CASES = {
    "Const": [
        Case((), {"value": np.array([1.0, 2.0], np.float32), "dtype": dtypes.float32}),
        Case((), {"value": np.array(3, np.int64), "dtype": dtypes.int64}),
        Case((), {"value": np.array([b"a", b""], object), "dtype": dtypes.string}),
        Case((), {"value": np.zeros((0, 2), bool), "dtype": dtypes.bool_}),
    ],
    "PlaceholderWithDefault": [
        Case((np.array([1.0, 2.0], np.float32),), {"shape": TensorShape([2])}, same),
        Case((np.array([[1, 2]], np.int32),), {"shape": TensorShape([1, 2])}, same),
        Case((np.array(1.5),), {"shape": TensorShape([])}, same),
    ],
}
