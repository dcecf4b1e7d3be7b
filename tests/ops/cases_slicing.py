"""Cases of slices and of their gradients: Python's own indexing is the oracle."""

from __future__ import annotations

from typing import Any

import ml_dtypes
import numpy as np

from tests.ops.case import Case

I32, I64 = np.int32, np.int64
RNG = np.random.RandomState(5)
X = RNG.randn(3, 4)
CUBE = RNG.randn(2, 3, 4)
WORDS = np.array([b"a", b"bc", b"d"], object)


def i32(*values):
    return np.array(values, I32)


def block(x, begin, size):
    return x[
        tuple(
            slice(b, None if n == -1 else b + n)
            for b, n in zip(begin.tolist(), size.tolist(), strict=True)
        )
    ]


def strided(x, *bounds, dtype: Any = I32, key, **masks):
    """A case that must give x[key]."""
    arrays = tuple(np.array(b, dtype) for b in bounds)
    return Case((x, *arrays), masks, oracle=lambda x, *_: np.asarray(x[key]))


def back(shape, *bounds, key, dtype: Any = I32, **masks):
    """A case whose result is dy put at `key` in zeros."""
    dy = RNG.randn(*np.zeros(shape)[key].shape)

    def oracle(*args):
        out = np.zeros(shape)
        out[key] = args[-1]
        return out

    arrays = tuple(np.array(b, dtype) for b in bounds)
    return Case((np.array(shape, dtype), *arrays, dy), masks, oracle=oracle)


S = np.s_
ALL = {"begin_mask": 1, "end_mask": 1}
CASES = {
    "Slice": [
        Case((X, i32(0, 1), i32(2, 2)), oracle=block),
        Case((CUBE, np.array([1, 0, 2]), np.array([-1, 2, -1])), oracle=block),
        Case((X, i32(3, 0), i32(0, 4)), oracle=block),
        Case((np.array(2.0), i32(), i32()), oracle=lambda x, *_: x),
        Case((WORDS, i32(1), i32(-1)), oracle=lambda x, *_: x[1:]),
        Case((X.astype(ml_dtypes.bfloat16), i32(0, 1), i32(2, 2)), oracle=block),
    ],
    "StridedSlice": [
        strided(X, [1], [2], [1], key=S[1], shrink_axis_mask=1),
        strided(X, [-1, 2], [0, 3], [1, 1], key=S[-1, 2], shrink_axis_mask=3),
        strided(X, [1], [3], [1], key=S[1:3]),
        strided(X, [1, -3], [100, -1], [1, 1], key=S[1:100, -3:-1]),
        strided(X, [0], [0], [-1], key=S[::-1], **ALL),
        strided(X, [0, 3], [0, 0], [2, -2], key=S[::2, 3:0:-2], **ALL),
        strided(X, [-1, 0], [-100, 0], [-1, 2], key=S[-1:-100:-1, ::2], begin_mask=2, end_mask=2),
        strided(X, [2], [1], [1], key=S[2:1]),
        strided(X, [0], [0], [1], key=S[...], ellipsis_mask=1),
        strided(CUBE, [0, 0, 1], [0, 0, 2], [1, 1, 1], key=S[None, ..., 1], new_axis_mask=1,
                ellipsis_mask=2, shrink_axis_mask=4),
        strided(CUBE, [1, 0, 0, 0], [2, 0, 0, 2], [1, 1, 1, 1], key=S[1, None, ..., :2],
                shrink_axis_mask=1, new_axis_mask=2, ellipsis_mask=4, begin_mask=8),
        strided(CUBE, [0, 0, 0], [0, 0, 0], [1, 1, -1], key=S[..., None, ::-1], ellipsis_mask=1,
                new_axis_mask=2, begin_mask=4, end_mask=4),
        strided(CUBE, [1, 0, 0], [2, 1, 1], [1, 1, 1], key=S[1, 0, 0], shrink_axis_mask=7),
        strided(CUBE, [0, 1], [1, 3], [1, 1], dtype=I64, key=S[0:1, 1:3]),
        strided(X, [], [], [], key=S[()]),
        strided(i32(4, 5, 6), [1], [2], [1], key=S[1], shrink_axis_mask=1),
        strided(WORDS, [1], [2], [1], key=S[1], shrink_axis_mask=1),
        strided(WORDS, [1], [3], [1], key=S[1:3]),
        strided(X.astype(np.float16), [1], [3], [1], key=S[1:3]),
    ],
    "StridedSliceGrad": [
        back((3, 4), [1], [2], [1], key=S[1], shrink_axis_mask=1),
        back((3, 4), [-1, 2], [0, 3], [1, 1], key=S[-1, 2], shrink_axis_mask=3),
        back((3, 4), [1, 0], [3, 2], [1, 1], key=S[1:3, :2]),
        back((3, 4), [0], [0], [-1], key=S[::-1], **ALL),
        back((3, 4), [0, 3], [0, 0], [2, -2], key=S[::2, 3:0:-2], **ALL),
        back((5,), [0], [0], [3], key=S[::3], **ALL),
        back((5,), [4], [0], [-3], key=S[4:0:-3]),
        back((3, 4), [2], [1], [1], key=S[2:1]),
        back((2, 3, 4), [0, 0, 1], [0, 0, 2], [1, 1, 1], key=S[None, ..., 1], new_axis_mask=1,
             ellipsis_mask=2, shrink_axis_mask=4),
        back((2, 3, 4), [0, 0, 0], [0, 0, 0], [1, 1, -2], key=S[..., None, ::-2], ellipsis_mask=1,
             new_axis_mask=2, begin_mask=4, end_mask=4),
        back((2, 3, 4), [1, 2, 3], [2, 3, 4], [1, 1, 1], key=S[1, 2, 3], shrink_axis_mask=7,
             dtype=I64),
        back((3, 4), [0], [3], [1], key=S[0:3]),
        back((3, 4), [1, 0], [2, 4], [1, 2], key=S[1, 0:4:2], shrink_axis_mask=1),
    ],
}  # fmt: skip
