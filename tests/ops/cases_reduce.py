"""Cases of reductions, positions of extremes, running totals and segments."""

from __future__ import annotations

import itertools
import math
from typing import Any

import ml_dtypes
import numpy as np

from headrace import dtypes
from tests.ops.case import Case

F32, F64, F16, BF16 = np.float32, np.float64, np.float16, ml_dtypes.bfloat16
C128, I32, I64, I8, U8 = np.complex128, np.int32, np.int64, np.int8, np.uint8
RNG = np.random.RandomState(5)

X = RNG.uniform(0.4, 2.0, (2, 3, 4))
ROW = RNG.permutation(6) + 0.25
Z = RNG.randn(2, 3) + 1j * RNG.randn(2, 3)
WHOLE = np.array([[7, -2, 3], [-9, 4, 4]], I32)


def axes(*which, dtype: Any = I32):
    return np.array(which, dtype)


def along(join, keep=False):
    """The oracle of a reduction: `join` of the list of elements that meet, cell by cell."""

    def oracle(x, over):
        x = np.asarray(x)
        gone = {int(a) % x.ndim for a in np.ravel(over)} if x.ndim else set()
        left = [() if i in gone else range(n) for i, n in enumerate(x.shape)]
        shape = [1 if i in gone else n for i, n in enumerate(x.shape)]
        cells = []
        for place in itertools.product(*([0] if i in gone else r for i, r in enumerate(left))):
            ranges = [range(n) if i in gone else [place[i]] for i, n in enumerate(x.shape)]
            cells.append(join([x[index].item() for index in itertools.product(*ranges)]))
        found = np.array(cells).reshape(shape)
        return found if keep else found.reshape([n for i, n in enumerate(shape) if i not in gone])

    return oracle


def reductions(join, xs=X, *more):
    """Cases over one axis, two, none, all; kept or not; and of a scalar and of no rows."""
    kept = {"keep_dims": True}
    return [
        Case((xs, np.array(1, I32)), oracle=along(join)),
        Case((xs, axes(-1, 0)), oracle=along(join)),
        Case((xs, axes(0, 1, 2)), oracle=along(join)),
        Case((xs, axes(2, dtype=I64)), kept, oracle=along(join, True)),
        Case((xs, axes(0, 1, 2)), kept, oracle=along(join, True)),
        Case((xs, axes()), oracle=along(join)),
        Case((np.asarray(xs[0, 0, 0]), axes()), oracle=along(join)),
        Case((np.zeros((0, 3), F32), np.array(1, I32)), oracle=along(join)),
        *more,
    ]


def total(values):
    result = 0
    for v in values:
        result = result + v
    return result


def product(values):
    result = 1
    for v in values:
        result = result * v
    return result


def mean(values):
    return total(values) / len(values) if values else math.nan


def root_of_squares(values):
    return math.sqrt(total(abs(v) ** 2 for v in values))


def small(join, *types):
    return [
        Case((np.array([[1, 2, 3], [4, 1, 5]], t), np.array(0, I32)),
             oracle=lambda x, a, t=t: np.array(along(join)(x.astype(F64), a), t))
        for t in types
    ]  # fmt: skip


MANY_HALVES = np.full((4096,), 0.1, F16)
TIES = np.array([[1.0, 3, 3], [2, 2, 2]])

CASES: dict[str, list[Case]] = {
    "Sum": [
        *reductions(total), *small(total, I32, I64, I8, U8, F16, BF16),
        Case((Z, np.array(0, I32)), oracle=along(total)),
        Case((MANY_HALVES, axes(0)), oracle=lambda x, a: 4096 * float(F16(0.1)), gradient=(),
             why="the step of a difference is below what 16 bits tell"),
        Case((np.zeros((0, 3)), np.array(0, I32)), oracle=along(total)),
    ],
    "Mean": [
        *reductions(mean), *small(mean, F16, BF16),
        Case((WHOLE, np.array(0, I32)), oracle=lambda x, a: [-1, 1, 3]),
        Case((WHOLE, np.array(1, I32)), oracle=lambda x, a: [2, 0]),
        Case((Z, np.array(0, I32)), oracle=along(mean)),
    ],
    "Prod": [
        *reductions(product), *small(product, I32, I64, F16, BF16),
        Case((np.array([[2.0, 0, 3], [0, 6, 5], [1, 2, 4]]), np.array(1, I32)),
             oracle=along(product)),
        Case((np.array([[2.0, 0, 3], [0, 6, 5]]), axes(0, 1)), oracle=along(product), gradient=(),
             why="of two zeros only the first derivative is exact; the API's test has it"),
        Case((Z, np.array(1, I32)), oracle=along(product)),
        Case((np.zeros((2, 0)), np.array(1, I32)), oracle=along(product)),
    ],
    "Max": [
        *reductions(max), *small(max, I32, U8, F16, BF16),
        Case((TIES, np.array(1, I32)), oracle=along(max), gradient=(), why="ties: a corner"),
        Case((np.zeros((2, 0)), np.array(1, I32)), oracle=lambda x, a: [-math.inf] * 2,
             gradient=(), why="infinite"),
        Case((np.zeros((2, 0), I32), np.array(1, I32)), oracle=lambda x, a: [-(2**31)] * 2),
        Case((np.array([1, math.nan, 2], F32), axes(0)), oracle=lambda x, a: math.nan, gradient=(),
             why="not a number"),
    ],
    "Min": [
        *reductions(min), *small(min, I64, I8, F16, BF16),
        Case((TIES, np.array(1, I32)), oracle=along(min), gradient=(), why="ties: a corner"),
        Case((np.zeros((2, 0), U8), np.array(1, I32)), oracle=lambda x, a: [255, 255]),
    ],
    "All": [Case((X > 0.6, np.array(2, I32)), oracle=along(all)),
            Case((X > 0.1, axes(0, 1, 2)), {"keep_dims": True}, oracle=along(all, True)),
            Case((np.zeros((2, 0), bool), axes(1)), oracle=along(all))],
    "Any": [Case((X > 1.8, np.array(2, I32)), oracle=along(any)),
            Case((X > 9, axes(0, 1, 2)), oracle=along(any)),
            Case((np.zeros((2, 0), bool), axes(1)), oracle=along(any))],
    "EuclideanNorm": [
        Case((X, np.array(1, I32)), oracle=along(root_of_squares)),
        Case((X, axes(0, 2)), {"keep_dims": True}, oracle=along(root_of_squares, True)),
        Case((Z, np.array(0, I32)), oracle=lambda x, a: np.array(
            [root_of_squares(column) for column in x.T], C128)),
        *small(root_of_squares, F16, BF16),
    ],
}  # fmt: skip

# -- positions -------------------------------------------------------------------------------------


def position(better, axis, dtype: Any = I64):
    """Where along the axis the first of the best elements is."""

    def oracle(x, _):
        moved = np.moveaxis(np.asarray(x), axis, -1)
        found = []
        for row in moved.reshape(-1, moved.shape[-1]).tolist():
            best = 0
            for i, v in enumerate(row):
                best = i if better(v, row[best]) else best
            found.append(best)
        return np.array(found, dtype).reshape(moved.shape[:-1])

    return oracle


def positions(better):
    int32 = {"output_type": dtypes.int32}
    return [
        Case((X, np.array(0, I32)), oracle=position(better, 0)),
        Case((X, np.array(-1, I64)), oracle=position(better, -1)),
        Case((X, np.array(1, I32)), int32, oracle=position(better, 1, I32)),
        Case((TIES, np.array(1, I32)), oracle=position(better, 1)),
        Case((WHOLE, np.array(1, I32)), oracle=position(better, 1)),
        Case((ROW.astype(BF16), np.array(0, I32)), oracle=position(better, 0)),
        Case((np.array([False, True, True]), np.array(0, I32)), oracle=position(better, 0)),
    ]


CASES |= {
    "ArgMax": positions(lambda a, b: a > b),
    "ArgMin": positions(lambda a, b: a < b),
}

# -- running totals --------------------------------------------------------------------------------


def running(join, start, axis, exclusive=False, reverse=False):
    def oracle(x, _):
        moved = np.moveaxis(np.array(x), axis, 0)
        order = range(len(moved))[:: -1 if reverse else 1]
        made, so_far = np.empty_like(moved), np.full(moved.shape[1:], start, moved.dtype)
        for i in order:
            after = join(so_far, moved[i])
            made[i] = so_far if exclusive else after
            so_far = after
        return np.moveaxis(made, 0, axis)

    return oracle


def scans(join, start):
    cases = []
    for axis, exclusive, reverse in itertools.product((0, 1, -1), (False, True), (False, True)):
        attrs = {"exclusive": exclusive, "reverse": reverse}
        oracle = running(join, start, axis, exclusive, reverse)
        cases.append(Case((X, np.array(axis, I32)), attrs, oracle=oracle))
    oracle = running(join, start, 0)
    cases += [
        Case((np.array([1, 2, 3, 4], t), np.array(0, I32)), oracle=oracle) for t in (I32, F16, BF16)
    ]
    exclusive = {"exclusive": True}
    cases.append(Case((np.zeros((0, 2), F32), np.array(0, I32)), exclusive))
    cases.append(Case((Z, np.array(1, I32)), oracle=running(join, start, 1)))
    cases.append(Case((np.array([2.0, 3, 0, 5, 4]), np.array(0, I32)), oracle=oracle))
    return cases


CASES |= {
    "Cumsum": scans(lambda a, b: a + b, 0),
    "Cumprod": scans(lambda a, b: a * b, 1),
}

# -- segments --------------------------------------------------------------------------------------

DATA = RNG.uniform(0.5, 2.0, (5, 2))
STEPS = RNG.permutation(10).reshape(5, 2) + 1
SORTED = np.array([0, 0, 2, 2, 2], I32)  # segment 1 has no rows
UNSORTED = np.array([2, 0, -1, 2, 0], I32)
GRID = np.array([[1, 0], [0, -3], [1, 1]], I32)
INTEGERS = np.array([[7, -2], [3, -3], [2, 2], [9, 0], [4, 4]], I32)
WITH_ZEROS = np.array([[0.0, 2], [3, 0], [5, 0], [2, 4], [6, 3]])


def grouped(join, empty, ids=None, n=None):
    """The oracle of a segment op: `join` of the rows of each segment, element by element."""

    def oracle(data, given, *more):
        data, given = np.asarray(data), np.asarray(given)
        inner = data.shape[given.ndim :]
        rows = data.reshape(-1, *inner)
        flat = given.ravel().tolist()
        count = n if n is not None else int(more[0]) if more else max(flat, default=-1) + 1
        made = np.full((count, *inner), empty, data.dtype)
        for s in range(count):
            mine = [rows[i] for i, k in enumerate(flat) if k == s]
            if mine:
                for index in np.ndindex(*inner):
                    made[(s, *index)] = join([r[index].item() for r in mine])
        return made

    return oracle


def sorted_segments(join, empty, *more):
    return [
        Case((DATA, SORTED), oracle=grouped(join, empty)),
        Case((DATA[:, 0], SORTED.astype(I64)), oracle=grouped(join, empty)),
        Case((DATA[:0], SORTED[:0]), oracle=grouped(join, empty)),
        Case((STEPS.astype(BF16), SORTED)),
        *more,
    ]


def unsorted_segments(join, empty, *more):
    three = np.array(3, I32)
    return [
        Case((DATA, UNSORTED, three), oracle=grouped(join, empty)),
        Case((DATA, UNSORTED.astype(I64), np.array(4, I64)), oracle=grouped(join, empty)),
        Case((X[0, :, :2], GRID, np.array(2, I32)), oracle=grouped(join, empty)),
        Case((RNG.uniform(1, 2, (3, 2, 2)), GRID, np.array(2, I32)), oracle=grouped(join, empty)),
        Case((DATA[:0], UNSORTED[:0], three), oracle=grouped(join, empty)),
        Case((STEPS.astype(F16), UNSORTED, three)),
        *more,
    ]  # fmt: skip


def of_integers(join, empty):
    return Case((INTEGERS, SORTED), oracle=grouped(join, empty))


def truncated_mean(values):
    return math.trunc(total(values) / len(values))


F64_LIMITS = np.finfo(F64)
INDICES, PARTS = np.array([4, 0, 4, 1], I32), np.array([0, 0, 1, 1], I32)
COUNT = np.array(3, I32)


def picked(join, n=None):
    def oracle(data, indices, ids, *_):
        return grouped(join, 0, n=n)(np.asarray(data)[indices], ids)

    return oracle


def root_mean(values):
    return total(values) / math.sqrt(len(values))


NO_POSITION = "counts"
CASES |= {
    "SegmentSum": sorted_segments(total, 0, of_integers(total, 0)),
    "SegmentMean": sorted_segments(mean, 0, of_integers(truncated_mean, 0)),
    "SegmentProd": sorted_segments(
        product, 1, of_integers(product, 1), Case((WITH_ZEROS, SORTED), oracle=grouped(product, 1))
    ),
    "SegmentMax": sorted_segments(max, 0, of_integers(max, 0)),
    "SegmentMin": sorted_segments(min, 0, of_integers(min, 0)),
    "UnsortedSegmentSum": unsorted_segments(total, 0),
    "UnsortedSegmentProd": unsorted_segments(
        product, 1,
        Case((WITH_ZEROS, UNSORTED, np.array(3, I32)), oracle=grouped(product, 1)),
    ),
    "UnsortedSegmentMax": unsorted_segments(max, F64_LIMITS.min),
    "UnsortedSegmentMin": unsorted_segments(
        min, F64_LIMITS.max,
        Case((INTEGERS, UNSORTED, np.array(4, I32)), oracle=grouped(min, 2**31 - 1)),
    ),
    "SparseSegmentSum": [Case((DATA, INDICES, PARTS), oracle=picked(total)),
                         Case((INTEGERS, INDICES, PARTS), oracle=picked(total))],
    "SparseSegmentMean": [Case((DATA, INDICES, PARTS), oracle=picked(mean))],
    "SparseSegmentSqrtN": [Case((DATA, INDICES, PARTS), oracle=picked(root_mean))],
    "SparseSegmentSumWithNumSegments": [
        Case((DATA, INDICES, PARTS, COUNT), oracle=picked(total, 3))],
    "SparseSegmentMeanWithNumSegments": [
        Case((DATA, INDICES, PARTS, COUNT), oracle=picked(mean, 3))],
    "SparseSegmentSqrtNWithNumSegments": [
        Case((DATA, INDICES, PARTS, COUNT), oracle=picked(root_mean, 3))],
    "DenseBincount": [
        Case((np.array([1, 3, 1, 9], I32), np.array(4, I32), np.zeros(0, I32)),
             oracle=lambda *_: [0, 2, 0, 1]),
        Case((np.array([1, 3, 1], I64), np.array(4, I64), np.array([0.5, 1, 2])),
             oracle=lambda *_: [0, 2.5, 0, 1], gradient=(), why=NO_POSITION),
    ],
    "HistogramFixedWidth": [
        Case((np.array([-1.0, 0.0, 1.5, 2.0, 5.0, 15], F32), np.array([0.0, 5.0], F32),
              np.array(5, I32)), oracle=lambda *_: [2, 1, 1, 0, 2]),
        Case((np.array([[1, 2], [9, 4]], I32), np.array([0, 10], I32), np.array(2, I32)),
             {"dtype": dtypes.int64}, oracle=lambda *_: [3, 1]),
    ],
}  # fmt: skip
