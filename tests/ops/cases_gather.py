"""Cases of gathers, scatters, choices and sets: plain loops are the oracles."""

from __future__ import annotations

import ml_dtypes
import numpy as np

from headrace import dtypes
from tests.ops.case import Case

F32, F16, BF16 = np.float32, np.float16, ml_dtypes.bfloat16
I32, I64 = np.int32, np.int64
RNG = np.random.RandomState(11)
X = RNG.randn(4, 3)
CUBE = RNG.randn(2, 3, 4)
WORDS = np.array([b"a", b"bc", b"d"], object)
EMPTY = np.zeros((0, 3), F32)


def i32(*values):
    return np.array(values, I32)


def n32(value):
    return np.array(value, I32)


def gathered(batch=0):
    def oracle(x, indices, axis):
        axis = int(axis) % x.ndim
        before, after = x.shape[batch:axis], x.shape[axis + 1 :]
        shape = (*x.shape[:batch], *before, *indices.shape[batch:], *after)
        out = np.zeros(shape, x.dtype)
        for b in np.ndindex(*x.shape[:batch]):
            for p in np.ndindex(*before):
                for i in np.ndindex(*indices.shape[batch:]):
                    for q in np.ndindex(*after):
                        out[(*b, *p, *i, *q)] = x[(*b, *p, int(indices[(*b, *i)]), *q)]
        return out

    return oracle


def gathered_nd(x, indices):
    k = indices.shape[-1]
    out = np.zeros((*indices.shape[:-1], *x.shape[k:]), x.dtype)
    for i in np.ndindex(*indices.shape[:-1]):
        out[i] = x[tuple(indices[i].tolist())]
    return out


def scattered(x, indices, updates, combine):
    out = x.copy()
    for i in np.ndindex(*indices.shape[:-1]):
        at = tuple(indices[i].tolist())
        out[at] = combine(out[at], updates[i])
    return out


def scattered_nd(indices, updates, shape):
    return scattered(np.zeros(shape, updates.dtype), indices, updates, lambda a, b: a + b)


def into(combine):
    return lambda x, indices, updates: scattered(x, indices, updates, combine)


ROWS = i32(0, 2).reshape(2, 1)
PLACES = i32(0, 1, 3, 2).reshape(2, 2)
TWICE = i32(1, 1, 3).reshape(3, 1)
UPDATES = RNG.randn(3, 3)
CASES = {
    "GatherV2": [
        Case((X, i32(0, 3, 3), n32(0)), oracle=gathered()),
        Case((X, np.array([[2], [1]]), n32(0)), oracle=gathered()),
        Case((X, n32(1), n32(0)), oracle=gathered()),
        Case((X, i32(2, 0), n32(1)), oracle=gathered()),
        Case((CUBE, i32(1, 0, 3, 1).reshape(2, 2), np.array(-1)), oracle=gathered()),
        Case((CUBE, i32(1, 1), n32(1)), oracle=gathered()),
        Case((CUBE, i32(0, 2, 1, 1).reshape(2, 2), n32(1)), {"batch_dims": 1}, oracle=gathered(1)),
        Case((CUBE, i32(0, 3).reshape(2, 1), n32(2)), {"batch_dims": 1}, oracle=gathered(1)),
        Case((CUBE, i32(0, 3), n32(2)), {"batch_dims": 1}, oracle=gathered(1)),
        Case((CUBE, i32(0, 3, 1, 2, 2, 2).reshape(2, 3), n32(2)), {"batch_dims": 2},
             oracle=gathered(2)),
        Case((X, np.zeros((0,), I64), n32(0)), oracle=gathered()),
        Case((WORDS, i32(2, 0), n32(0)), oracle=lambda *_: [b"d", b"a"]),
        Case((WORDS, n32(1), n32(0)), oracle=lambda *_: np.array(b"bc", object)),
        Case((X.astype(BF16), i32(1), n32(0)), oracle=gathered()),
        Case((i32(4, 5), np.array([1], np.int16), n32(0)), oracle=lambda *_: [5]),
    ],
    "GatherNd": [
        Case((X, PLACES), oracle=gathered_nd),
        Case((X, ROWS), oracle=gathered_nd),
        Case((CUBE, np.array([[[1, 2], [0, 0]]])), oracle=gathered_nd),
        Case((CUBE, i32(1, 2, 3)), oracle=gathered_nd),
        Case((X, np.zeros((2, 0), I32)), oracle=lambda x, _: np.stack([x, x])),
        Case((WORDS, ROWS), oracle=lambda *_: [b"a", b"d"]),
        Case((X.astype(F16), PLACES), oracle=gathered_nd),
    ],
    "ScatterNd": [
        Case((ROWS, RNG.randn(2), i32(4)), oracle=scattered_nd),
        Case((TWICE, UPDATES, i32(4, 3)), oracle=scattered_nd),
        Case((PLACES, RNG.randn(2), np.array([4, 3], I32)), oracle=scattered_nd),
        Case((PLACES.astype(I64), RNG.randn(2, 5), np.array([4, 3, 5])), oracle=scattered_nd),
        Case((np.zeros((0, 1), I32), np.zeros((0, 3), F32), i32(2, 3)), oracle=scattered_nd),
        Case((TWICE, i32(1, 2, 3), i32(5)), oracle=scattered_nd),
        Case((TWICE, UPDATES.astype(BF16), i32(4, 3)), oracle=scattered_nd),
        Case((TWICE, UPDATES.astype(F16), i32(4, 3)), oracle=scattered_nd),
    ],
    "TensorScatterUpdate": [
        Case((X, ROWS, UPDATES[:2]), oracle=into(lambda a, b: b)),
        Case((X, PLACES, RNG.randn(2)), oracle=into(lambda a, b: b)),
        Case((CUBE, i32(1, 2).reshape(1, 2), RNG.randn(1, 4)), oracle=into(lambda a, b: b)),
    ],
    "TensorScatterAdd": [
        Case((X, TWICE, UPDATES), oracle=into(lambda a, b: a + b)),
        Case((X, PLACES, RNG.randn(2)), oracle=into(lambda a, b: a + b)),
    ],
    "TensorScatterSub": [Case((X, TWICE, UPDATES), oracle=into(lambda a, b: a - b))],
    "TensorScatterMax": [Case((X, TWICE, UPDATES), oracle=into(np.maximum))],
    "TensorScatterMin": [Case((X, TWICE, UPDATES), oracle=into(np.minimum))],
}  # fmt: skip

# -- choosing --------------------------------------------------------------------------------------


def selected(c, t, e):
    out = e.copy()
    for i in np.ndindex(*t.shape):
        if c[i[: c.ndim]]:
            out[i] = t[i]
    return out


def selected_v2(c, t, e):
    c, t, e = np.broadcast_arrays(c, t, e)
    return selected(c, t, e)


def true_places(x):
    found = [i for i in np.ndindex(*x.shape) if x[i]]
    return np.array(found, I64).reshape(len(found), x.ndim)


def one_hot(axis=-1):
    def oracle(indices, depth, on, off):
        at = indices.ndim if axis == -1 else axis
        shape = (*indices.shape[:at], int(depth), *indices.shape[at:])
        out = np.full(shape, off)
        for i in np.ndindex(*shape):
            if i[at] == indices[(*i[:at], *i[at + 1 :])]:
                out[i] = on
        return out

    return oracle


A, B = RNG.randn(4, 3), RNG.randn(4, 3)
MASK = RNG.rand(4, 3) > 0.5
ON, OFF = np.array(2.0, F32), np.array(-1.0, F32)
CASES |= {
    "Where": [
        Case((MASK,), oracle=true_places),
        Case((np.array([[0.0, np.nan], [-1.0, 0.0]]),), oracle=true_places),
        Case((np.zeros((2, 2), bool),), oracle=true_places),
        Case((i32(0, 3, -2),), oracle=true_places),
        Case((np.array(True),), oracle=lambda x: np.zeros((1, 0))),
    ],
    "Select": [
        Case((MASK, A, B), oracle=selected),
        Case((MASK[:, 0], A, B), oracle=selected),
        Case((np.array(True), A, B), oracle=selected),
        Case((np.array([True, False]), i32(1, 2), i32(3, 4)), oracle=selected),
        Case((MASK, A.astype(BF16), B.astype(BF16)), oracle=selected),
        Case((np.array([True, False, True]), WORDS, WORDS[::-1]),
             oracle=lambda *_: [b"a", b"bc", b"d"]),
    ],
    "SelectV2": [
        Case((MASK, A, B), oracle=selected_v2),
        Case((MASK[:, :1], A, np.array(0.0)), oracle=selected_v2),
        Case((MASK[0], A, B[:1]), oracle=selected_v2),
        Case((np.array(False), A[:1], B[:, :1]), oracle=selected_v2),
        Case((MASK, A.astype(F16), np.array(0, F16)), oracle=selected_v2),
    ],
    "OneHot": [
        Case((i32(0, 2, -1, 5), n32(3), ON, OFF), oracle=one_hot()),
        Case((n32(1), n32(3), ON, OFF), oracle=one_hot()),
        Case((i32(0, 1, 2, 0).reshape(2, 2), n32(3), ON, OFF), {"axis": 1}, oracle=one_hot(1)),
        Case((np.array([1, 0]), n32(4), ON, OFF), {"axis": 0}, oracle=one_hot(0)),
        Case((np.array([1, 200], np.uint8), n32(300), n32(1), n32(0)), oracle=one_hot()),
        Case((i32(1), n32(2), np.array(True), np.array(False)), oracle=one_hot()),
        Case((i32(), n32(3), ON, OFF), oracle=one_hot()),
        Case((i32(1), n32(0), ON, OFF), oracle=one_hot()),
    ],
}  # fmt: skip

# -- sets ------------------------------------------------------------------------------------------


def counted(x):
    seen = []
    for v in x.tolist():
        if v not in seen:
            seen.append(v)
    places = [seen.index(v) for v in x.tolist()]
    return np.array(seen, x.dtype), places, [x.tolist().count(v) for v in seen]


def uniques(x):
    return counted(x)[:2]


def apart(n):
    def oracle(data, partitions):
        parts = []
        for k in range(n):
            rows = [data[i] for i in np.ndindex(*partitions.shape) if partitions[i] == k]
            parts.append(np.array(rows, data.dtype).reshape(-1, *data.shape[partitions.ndim :]))
        return tuple(parts)

    return oracle


def together(indices, data):
    rows = {}
    for i, d in zip(indices, data, strict=True):
        for at in np.ndindex(*i.shape):
            rows[int(i[at])] = d[at]
    return [rows[k] for k in range(max(rows) + 1)]


def places(below):
    def oracle(rows, values):
        return [
            [sum(below(r, v) for r in row) for v in vs]
            for row, vs in zip(rows.tolist(), values.tolist(), strict=True)
        ]

    return oracle


NUMBERS = i32(3, 1, 3, 2, 1, 7)
NANS = np.array([3, np.nan, 1, np.nan, 3], F32)
PARTS = i32(1, 0, 2, 1)
SORTED = np.array([[1.0, 2.0, 2.0, 4.0], [0.0, 3.0, 5.0, 9.0]])
SOUGHT = np.array([[2.0, 0.5, 9.0], [3.0, 4.0, -1.0]])
CASES |= {
    "Unique": [
        Case((NUMBERS,), oracle=uniques),
        Case((WORDS[[0, 1, 0]],), {"out_idx": dtypes.int64},
             oracle=lambda x: (np.array([b"a", b"bc"], object), [0, 1, 0])),
        # as TensorFlow gives them: a NaN is equal to no other
        Case((NANS,), oracle=lambda x: ([3, np.nan, 1, np.nan], [0, 1, 2, 3, 0])),
        Case((np.zeros(0, F32),), oracle=lambda x: (np.zeros(0), np.zeros(0))),
        Case((NUMBERS.astype(BF16),), oracle=uniques),
    ],
    "UniqueWithCounts": [Case((NUMBERS,), oracle=counted)],
    "ListDiff": [
        Case((i32(3, 1, 1, 2, 5), i32(2, 3)), oracle=lambda x, y: ([1, 1, 5], [1, 2, 4])),
        Case((WORDS, WORDS[:1]), {"out_idx": dtypes.int64},
             oracle=lambda x, y: (np.array([b"bc", b"d"], object), [1, 2])),
    ],
    "DynamicPartition": [
        Case((X, PARTS), {"num_partitions": 3}, oracle=apart(3)),
        Case((RNG.randn(2, 2, 3), i32(0, 1, 1, 1).reshape(2, 2)), {"num_partitions": 2},
             oracle=apart(2)),
        Case((X.astype(F32), i32(0, 0, 0, 0)), {"num_partitions": 2}, oracle=apart(2)),
        Case((RNG.randn(3), n32(1)), {"num_partitions": 2}, oracle=apart(2)),
    ],
    "DynamicStitch": [
        Case(([i32(0, 2), i32(1)], [X[:2], X[2:3]]), oracle=together),
        Case(([n32(1), i32(0, 3, 1, 2).reshape(2, 2)], [RNG.randn(3), RNG.randn(2, 2, 3)]),
             oracle=together, gradient=(), why="row 1 is given twice"),
        Case(([i32(1, 0)], [i32(5, 6)]), oracle=together),
    ],
    "ParallelDynamicStitch": [Case(([i32(0, 2), i32(1)], [X[:2], X[2:3]]), oracle=together)],
    "LowerBound": [
        Case((SORTED, SOUGHT), oracle=places(lambda r, v: r < v)),
        Case((SORTED.astype(I32), SOUGHT.astype(I32)), {"out_type": dtypes.int64},
             oracle=places(lambda r, v: r < v)),
    ],
    "UpperBound": [Case((SORTED, SOUGHT), oracle=places(lambda r, v: r <= v))],
}  # fmt: skip
