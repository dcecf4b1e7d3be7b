"""Cases of what changes shapes, joins, cuts, fills and moves around."""

from __future__ import annotations

import itertools

import ml_dtypes
import numpy as np

from headrace import dtypes
from headrace.shapes import TensorShape
from tests.ops.case import Case

F32, F64, F16, BF16 = np.float32, np.float64, np.float16, ml_dtypes.bfloat16
I32, I64 = np.int32, np.int64
RNG = np.random.RandomState(3)

X = RNG.randn(2, 3)
Y = RNG.randn(2, 3)
CUBE = RNG.randn(2, 3, 4)
SCALAR = np.array(1.5)
EMPTY = np.zeros((0, 3), F32)
COMPLEX = np.array([[1 + 2j, 3 - 1j], [0.5j, 2]])
WORDS = np.array([[b"a", b"bc"], [b"", b"d"]], object)
PREVENTED = "raises LookupError, which is its purpose"


def i32(*values):
    return np.array(values, I32)


def n32(value):
    return np.array(value, I32)


def filled(shape, x, place):
    """An array of a shape whose element at `index` is x at `place(index)`."""
    out = np.zeros(shape, x.dtype)
    for index in itertools.product(*map(range, shape)):
        out[index] = x[place(index)]
    return out


# -- passing on and shapes -------------------------------------------------------------------------

CASES = {
    "Identity": [Case((X,)), Case((WORDS,)), Case((EMPTY,)), Case((np.array(True),))],
    "GuaranteeConst": [Case((X,))],
    "StopGradient": [Case((X,))],
    "PreventGradient": [Case((X,), {"message": "no"}, gradient=(), why=PREVENTED)],
    "IdentityN": [Case(([X, i32(1, 2)],), oracle=lambda xs: tuple(xs))],
    "EnsureShape": [
        Case((X,), {"shape": TensorShape([2, None])}, oracle=lambda x: x),
        Case((X,), {"shape": TensorShape(None)}, oracle=lambda x: x),
    ],
    "Shape": [
        Case((X,), oracle=lambda x: [2, 3]),
        Case((SCALAR,), oracle=lambda x: np.zeros(0)),
        Case((EMPTY,), {"out_type": dtypes.int64}, oracle=lambda x: [0, 3]),
    ],
    "ShapeN": [Case(([X, CUBE],), oracle=lambda xs: ([2, 3], [2, 3, 4]))],
    "Size": [
        Case((CUBE,), oracle=lambda x: 24),
        Case((SCALAR,), {"out_type": dtypes.int64}, oracle=lambda x: 1),
        Case((EMPTY,), oracle=lambda x: 0),
    ],
    "Rank": [Case((CUBE,), oracle=lambda x: 3), Case((SCALAR,), oracle=lambda x: 0)],
}


def reshaped(shape):
    def oracle(x, _):
        return np.array(x.ravel().tolist(), x.dtype).reshape(shape)

    return oracle


def permuted(x, perm):
    perm = [int(p) % x.ndim for p in perm]
    shape = tuple(x.shape[p] for p in perm)
    return filled(shape, x, lambda at: tuple(at[perm.index(k)] for k in range(x.ndim)))


def broadcasted(x, shape):
    def place(at):
        tail = at[len(at) - x.ndim :]
        return tuple(0 if n == 1 else i for i, n in zip(tail, x.shape, strict=True))

    return filled(tuple(shape), x, place)


def both(s0, s1):
    return np.array(np.broadcast_shapes(tuple(s0), tuple(s1)))


CASES |= {
    "Reshape": [
        Case((X, i32(3, 2)), oracle=reshaped((3, 2))),
        Case((X, i32(-1)), oracle=reshaped((6,))),
        Case((CUBE, np.array([4, -1, 2])), oracle=reshaped((4, 3, 2))),
        Case((SCALAR, i32(1, 1)), oracle=reshaped((1, 1))),
        Case((X[:1, :1], i32()), oracle=reshaped(())),
        Case((EMPTY, i32(3, 0)), oracle=reshaped((3, 0))),
        Case((EMPTY, i32(-1, 3)), oracle=reshaped((0, 3))),
        Case((EMPTY, i32(0, -1)), oracle=reshaped((0, 3))),  # as TensorFlow finds the -1
        Case((X.astype(BF16), i32(6)), oracle=reshaped((6,))),
        Case((WORDS, i32(4)), oracle=lambda x, _: x.ravel()),
    ],
    "ExpandDims": [
        Case((X, n32(0)), oracle=lambda x, _: x.reshape(1, 2, 3)),
        Case((X, n32(-1)), oracle=lambda x, _: x.reshape(2, 3, 1)),
        Case((SCALAR, np.array(0)), oracle=lambda x, _: x.reshape(1)),
        Case((X, n32(1)), oracle=lambda x, _: x.reshape(2, 1, 3)),
    ],
    "Squeeze": [
        Case((X.reshape(1, 2, 1, 3),), oracle=lambda x: x.reshape(2, 3)),
        Case((X.reshape(1, 2, 1, 3),), {"squeeze_dims": (0,)}, oracle=lambda x: x[0]),
        Case((X.reshape(1, 2, 3, 1),), {"squeeze_dims": (-1, 0)}, oracle=lambda x: x[0, :, :, 0]),
        Case((X[:1, :1],), oracle=lambda x: x[0, 0]),
    ],
    "BroadcastTo": [
        Case((X[:1], i32(4, 3)), oracle=broadcasted),
        Case((X, np.array([2, 2, 3])), oracle=broadcasted),
        Case((X[:, :1], i32(1, 2, 5)), oracle=broadcasted),
        Case((SCALAR, i32(2, 2)), oracle=broadcasted),
        Case((X, i32(2, 3)), oracle=broadcasted),
        Case((X[:1].astype(F32), i32(0, 3)), oracle=broadcasted),
    ],
    "BroadcastArgs": [
        Case((i32(2, 1, 3), i32(4, 1)), oracle=both),
        Case((np.zeros(0, I64), np.array([5])), oracle=both),
        Case((i32(0, 3), i32(1)), oracle=both),
    ],
    "BroadcastGradientArgs": [
        Case((i32(2, 3), i32(3)), oracle=lambda a, b: (np.zeros(0), np.array([0]))),
        Case((i32(2, 1, 4), i32(3, 1)), oracle=lambda a, b: (np.array([1]), np.array([0, 2]))),
        Case((i32(1, 3), i32(1, 1)), oracle=lambda a, b: (np.array([0]), np.array([0, 1]))),
        Case((i32(2, 3), i32(2, 3)), oracle=lambda a, b: (np.zeros(0), np.zeros(0))),
    ],
    "Transpose": [
        Case((X, i32(1, 0)), oracle=permuted),
        Case((CUBE, np.array([2, 0, 1])), oracle=permuted),
        Case((CUBE, i32(-1, 0, -2)), oracle=permuted),
        Case((SCALAR, i32()), oracle=lambda x, _: x),
        Case((EMPTY, i32(1, 0)), oracle=permuted),
        Case((X.astype(F16), i32(1, 0)), oracle=permuted),
    ],
    "ConjugateTranspose": [
        Case((COMPLEX, i32(1, 0)), oracle=lambda x, p: permuted(x.conj(), p)),
        Case((COMPLEX.astype(np.complex64), i32(0, 1)), oracle=lambda x, p: x.conj()),
    ],
    "InvertPermutation": [
        Case((i32(2, 0, 3, 1),), oracle=lambda x: [list(x).index(i) for i in range(4)]),
        Case((np.array([0, 1]),), oracle=lambda x: [0, 1]),
        Case((i32(),), oracle=lambda x: np.zeros(0)),
    ],
}

# -- joining and cutting ---------------------------------------------------------------------------


def joined(xs, axis):
    axis = int(axis) % xs[0].ndim
    rows = [np.moveaxis(x, axis, 0) for x in xs]
    return np.moveaxis(np.array([r for x in rows for r in x], xs[0].dtype), 0, axis)


def stacked(axis):
    def oracle(xs):
        return np.moveaxis(np.array([x.tolist() for x in xs], xs[0].dtype), 0, axis)

    return oracle


def unstacked(axis):
    def oracle(x):
        return tuple(x[(slice(None),) * axis + (i,)] for i in range(x.shape[axis]))

    return oracle


def cut_at(ends, axis):
    def oracle(x):
        starts = [0, *ends]
        where = (slice(None),) * axis
        return tuple(x[(*where, slice(a, b))] for a, b in zip(starts, [*ends, None], strict=True))

    return oracle


CASES |= {
    "ConcatV2": [
        Case(([X, Y], n32(0)), oracle=joined),
        Case(([X, Y[:, :1], X], np.array(-1)), oracle=joined),
        Case(([CUBE, CUBE[:, :1]], n32(1)), oracle=joined),
        Case(([EMPTY, X.astype(F32)], n32(0)), oracle=joined),
        Case(([i32(1, 2), i32(3)], n32(0)), oracle=joined),
        Case(([X.astype(BF16), Y.astype(BF16)], n32(0)), oracle=joined),
        Case(([WORDS, WORDS], n32(0)), oracle=lambda xs, _: [*xs[0].tolist(), *xs[1].tolist()]),
    ],
    "ConcatOffset": [
        Case((n32(1), [i32(2, 3), i32(2, 1), i32(2, 5)]),
             oracle=lambda axis, s: ([0, 0], [0, 3], [0, 4])),
        Case((n32(-2), [i32(2, 3), i32(4, 3)]), oracle=lambda axis, s: ([0, 0], [2, 0])),
    ],
    "Pack": [
        Case(([X, Y],), oracle=stacked(0)),
        Case(([X, Y, X],), {"axis": -1}, oracle=stacked(2)),
        Case(([X, Y],), {"axis": 1}, oracle=stacked(1)),
        Case(([n32(4), n32(5)],), oracle=lambda xs: [4, 5]),
        Case(([X.astype(BF16)],), oracle=stacked(0)),
        Case(([EMPTY, EMPTY],), oracle=lambda xs: np.zeros((2, 0, 3))),
    ],
    "ParallelConcat": [
        Case(([X[:1], Y[:1]],), {"shape": TensorShape([2, 3])}, oracle=lambda xs: joined(xs, 0)),
    ],
    "Unpack": [
        Case((X,), {"num": 2}, oracle=unstacked(0)),
        Case((CUBE,), {"num": 4, "axis": -1}, oracle=unstacked(2)),
        Case((CUBE,), {"num": 3, "axis": 1}, oracle=unstacked(1)),
        Case((i32(3, 4),), {"num": 2}, oracle=lambda x: (3, 4)),
        Case((EMPTY,), {"num": 0}, oracle=lambda x: ()),
        Case((WORDS,), {"num": 2}, oracle=unstacked(0)),
    ],
    "Split": [
        Case((n32(0), X), {"num_split": 2}, oracle=lambda _, x: cut_at([1], 0)(x)),
        Case((n32(-1), CUBE), {"num_split": 2}, oracle=lambda _, x: cut_at([2], 2)(x)),
        Case((n32(1), X.astype(F16)), {"num_split": 3}, oracle=lambda _, x: cut_at([1, 2], 1)(x)),
        Case((n32(0), EMPTY), {"num_split": 2}, oracle=lambda _, x: (x, x)),
    ],
    "SplitV": [
        Case((CUBE, i32(1, 3), n32(2)), {"num_split": 2},
             oracle=lambda x, *_: cut_at([1], 2)(x)),
        Case((CUBE, np.array([1, -1, 0]), n32(1)), {"num_split": 3},
             oracle=lambda x, *_: cut_at([1, 3], 1)(x)),
        Case((X, i32(2), n32(-2)), {"num_split": 1}, oracle=lambda x, *_: (x,)),
    ],
}  # fmt: skip

# -- filling and counting --------------------------------------------------------------------------

CASES |= {
    "Fill": [
        Case((i32(2, 3), SCALAR), oracle=lambda d, v: [[1.5] * 3] * 2),
        Case((np.array([2]), np.array(7, I64)), oracle=lambda d, v: [7, 7]),
        Case((i32(), SCALAR), oracle=lambda d, v: 1.5),
        Case((i32(0, 2), np.array(1, F16)), oracle=lambda d, v: np.zeros((0, 2))),
        Case((i32(2), np.array(b"z", object)), oracle=lambda d, v: [b"z", b"z"]),
        Case((i32(2), np.array(1.5, BF16)), oracle=lambda d, v: [1.5, 1.5]),
        Case((i32(1), np.array(True)), oracle=lambda d, v: [True]),
    ],
    "ZerosLike": [
        Case((X,), oracle=lambda x: [[0.0] * 3] * 2),
        Case((WORDS,), oracle=lambda x: [[b"", b""]] * 2),
        Case((np.array([True]),), oracle=lambda x: [False]),
        Case((X.astype(BF16),), oracle=lambda x: [[0.0] * 3] * 2),
    ],
    "OnesLike": [Case((X,), oracle=lambda x: [[1.0] * 3] * 2), Case((i32(4),))],
    "Range": [
        Case((n32(0), n32(5), n32(2)), oracle=lambda *_: [0, 2, 4]),
        Case((n32(3), n32(0), n32(-1)), oracle=lambda *_: [3, 2, 1]),
        Case((np.array(2), np.array(2), np.array(1)), oracle=lambda *_: np.zeros(0)),
        Case(tuple(np.array(v, F32) for v in (0, 1, 0.25)), oracle=lambda *_: [0, 0.25, 0.5, 0.75]),
        # as TensorFlow gives them: 0.1 times 9, in float32
        Case(tuple(np.array(v, F32) for v in (0, 1, 0.1)),
             oracle=lambda *_: [F32(i) * F32(0.1) for i in range(10)]),
        Case(tuple(np.array(v, F16) for v in (1, 3, 0.5)), oracle=lambda *_: [1, 1.5, 2, 2.5]),
    ],
    "LinSpace": [
        Case((np.array(0.0), np.array(1.0), n32(5)), oracle=lambda *_: [0, 0.25, 0.5, 0.75, 1]),
        Case((np.array(2.0), np.array(-1.0), np.array(3)), oracle=lambda *_: [2, 0.5, -1]),
        Case((np.array(4.0, F32), np.array(9.0, F32), n32(1)), oracle=lambda *_: [4]),
        Case((np.array(0, F16), np.array(1, F16), n32(3)), oracle=lambda *_: [0, 0.5, 1]),
    ],
}  # fmt: skip

# -- moving around ---------------------------------------------------------------------------------


def tiled(x, times):
    shape = [n * int(k) for n, k in zip(x.shape, times, strict=True)]
    return filled(shape, x, lambda at: tuple(i % n for i, n in zip(at, x.shape, strict=True)))


def padded(x, paddings, value=0.0):
    out = np.full([n + a + b for n, (a, b) in zip(x.shape, paddings, strict=True)], value, x.dtype)
    for at in np.ndindex(*x.shape):
        out[tuple(i + a for i, (a, _) in zip(at, paddings, strict=True))] = x[at]
    return out


def fold_symmetric(i, n):
    return -i - 1 if i < 0 else 2 * n - 1 - i if i >= n else i


def fold_reflect(i, n):
    return -i if i < 0 else 2 * n - 2 - i if i >= n else i


def mirror(fold):
    def oracle(x, paddings):
        shape = [n + a + b for n, (a, b) in zip(x.shape, paddings, strict=True)]
        return filled(shape, x, lambda at: _source(fold, at, x.shape, paddings))

    return oracle


def _source(fold, at, shape, paddings):
    return tuple(fold(i - a, n) for i, n, (a, _) in zip(at, shape, paddings, strict=True))


def unmirror(fold):
    def oracle(dy, paddings):
        shape = [n - a - b for n, (a, b) in zip(dy.shape, paddings, strict=True)]
        out = np.zeros(shape)
        for at in np.ndindex(*dy.shape):
            out[_source(fold, at, shape, paddings)] += dy[at]
        return out

    return oracle


def reversed_along(x, axes):
    axes = [int(a) % x.ndim for a in axes]

    def place(at):
        return tuple(x.shape[k] - 1 - i if k in axes else i for k, i in enumerate(at))

    return filled(x.shape, x, place)


def reversed_steps(seq, batch):
    def oracle(x, lengths):
        def place(at):
            n, at = int(lengths[at[batch]]), list(at)
            if at[seq] < n:
                at[seq] = n - 1 - at[seq]
            return tuple(at)

        return filled(x.shape, x, place)

    return oracle


def rolled(x, shift, axis):
    steps = dict.fromkeys(range(x.ndim), 0)
    for s, a in zip(np.ravel(shift), np.ravel(axis), strict=True):
        steps[int(a) % x.ndim] += int(s)
    return filled(
        x.shape, x, lambda at: tuple((i - steps[k]) % x.shape[k] for k, i in enumerate(at))
    )


def to_depth(k):
    def oracle(x):
        n, h, w, c = x.shape

        def place(at):
            b, i, j, d = at
            block, channel = divmod(d, c)
            return b, i * k + block // k, j * k + block % k, channel

        return filled((n, h // k, w // k, k * k * c), x, place)

    return oracle


def from_depth(k):
    def oracle(x):
        n, h, w, c = x.shape
        few = c // k**2

        def place(at):
            b, i, j, d = at
            return b, i // k, j // k, ((i % k) * k + j % k) * few + d

        return filled((n, h * k, w * k, few), x, place)

    return oracle


def channels_first(oracle):
    return lambda x: oracle(x.transpose(0, 2, 3, 1)).transpose(0, 3, 1, 2)


def to_batch(x, block, paddings):
    m, n = len(block), x.shape[0]
    x = padded(x, [(0, 0), *paddings.tolist(), *[(0, 0)] * (x.ndim - m - 1)])
    small = [d // k for d, k in zip(x.shape[1:], block.tolist(), strict=False)]

    def place(at):
        within, b = divmod(at[0], n)
        offsets = np.unravel_index(within, block)
        space = (i * k + o for i, k, o in zip(at[1:], block.tolist(), offsets, strict=False))
        return (b, *space, *at[m + 1 :])

    return filled((n * int(np.prod(block)), *small, *x.shape[m + 1 :]), x, place)


def from_batch(x, block, crops):
    m, n = len(block), x.shape[0] // int(np.prod(block))
    large = [
        d * k - a - b
        for d, k, (a, b) in zip(x.shape[1 : m + 1], block.tolist(), crops.tolist(), strict=True)
    ]

    def place(at):
        whole = [i + a for i, (a, _) in zip(at[1:], crops.tolist(), strict=False)]
        parts = [divmod(i, k) for i, k in zip(whole, block.tolist(), strict=True)]
        within = int(np.ravel_multi_index([p[1] for p in parts], block))
        return (within * n + at[0], *(p[0] for p in parts), *at[m + 1 :])

    return filled((n, *large, *x.shape[m + 1 :]), x, place)


ROOM = i32(1, 1, 0, 2).reshape(2, 2)
NO_ROOM = np.zeros((2, 2), I32)
IMAGE = RNG.randn(2, 4, 6, 2)
DEEP = RNG.randn(1, 2, 3, 8)
REFLECT, SYMMETRIC = {"mode": "REFLECT"}, {"mode": "SYMMETRIC"}
WIDE = i32(1, 0, 2, 1).reshape(2, 2)
CASES |= {
    "Tile": [
        Case((X, i32(2, 1)), oracle=tiled),
        Case((CUBE, np.array([1, 2, 3])), oracle=tiled),
        Case((X, i32(0, 2)), oracle=tiled),
        Case((SCALAR, i32()), oracle=lambda x, _: x),
        Case((X.astype(BF16), i32(1, 2)), oracle=tiled),
        Case((WORDS, i32(1, 2)), oracle=lambda x, _: np.concatenate([x, x], 1)),
    ],
    "Pad": [
        Case((X, ROOM), oracle=padded),
        Case((X, ROOM.astype(I64)), oracle=padded),
        Case((X, NO_ROOM), oracle=padded),
        Case((SCALAR, np.zeros((0, 2), I32)), oracle=lambda x, _: x),
        Case((EMPTY, ROOM), oracle=padded),
        Case((X.astype(BF16), ROOM), oracle=padded),
        Case((np.array([True]), i32(1, 1).reshape(1, 2)), oracle=lambda *_: [False, True, False]),
    ],
    "PadV2": [
        Case((X, ROOM, SCALAR), oracle=padded),
        Case((X.astype(F16), ROOM, np.array(-1, F16)), oracle=padded),
        Case((SCALAR, np.zeros((0, 2), I32), SCALAR), oracle=lambda x, *_: x),
        Case((i32(1, 2), i32(1, 0).reshape(1, 2), n32(9)), oracle=lambda *_: [9, 1, 2]),
    ],
    "MirrorPad": [
        Case((X, WIDE), REFLECT, oracle=mirror(fold_reflect)),
        Case((X, WIDE), SYMMETRIC, oracle=mirror(fold_symmetric)),
        Case((CUBE, i32(0, 1, 2, 0, 3, 3).reshape(3, 2)), REFLECT, oracle=mirror(fold_reflect)),
        Case((CUBE, i32(2, 2, 0, 3, 1, 4).reshape(3, 2)), SYMMETRIC, oracle=mirror(fold_symmetric)),
        Case((X, NO_ROOM), REFLECT, oracle=lambda x, _: x),
        Case((X.astype(BF16), WIDE), SYMMETRIC, oracle=mirror(fold_symmetric)),
    ],
    "MirrorPadGrad": [
        Case((RNG.randn(3, 6), WIDE), REFLECT, oracle=unmirror(fold_reflect)),
        Case((RNG.randn(3, 6), WIDE), SYMMETRIC, oracle=unmirror(fold_symmetric)),
        Case((RNG.randn(9), i32(2, 2).reshape(1, 2)), REFLECT, oracle=unmirror(fold_reflect)),
        Case((X, NO_ROOM), SYMMETRIC, oracle=lambda x, _: x),
    ],
    "ReverseV2": [
        Case((X, i32(0)), oracle=reversed_along),
        Case((CUBE, np.array([-1, 0])), oracle=reversed_along),
        Case((X, i32()), oracle=reversed_along),
        Case((WORDS, i32(1)), oracle=lambda x, _: x[:, ::-1]),
        Case((X.astype(BF16), i32(1)), oracle=reversed_along),
    ],
    "ReverseSequence": [
        Case((X, i32(1, 3)), {"seq_dim": 1}, oracle=reversed_steps(1, 0)),
        Case((CUBE, np.array([0, 2, 1])), {"seq_dim": 0, "batch_dim": 1},
             oracle=reversed_steps(0, 1)),
        Case((CUBE, i32(4, 1, 2)), {"seq_dim": 2, "batch_dim": 1}, oracle=reversed_steps(2, 1)),
        Case((X.astype(F16), i32(2, 2)), {"seq_dim": 1}, oracle=reversed_steps(1, 0)),
    ],
    "Roll": [
        Case((X, n32(1), n32(0)), oracle=rolled),
        Case((CUBE, i32(1, -2, 5), i32(0, -1, 2)), oracle=rolled),
        Case((X, i32(7), np.array([1])), oracle=rolled),
    ],
    "SpaceToDepth": [
        Case((IMAGE,), {"block_size": 2}, oracle=to_depth(2)),
        Case((IMAGE.transpose(0, 3, 1, 2),), {"block_size": 2, "data_format": "NCHW"},
             oracle=channels_first(to_depth(2))),
    ],
    "DepthToSpace": [
        Case((DEEP,), {"block_size": 2}, oracle=from_depth(2)),
        Case((DEEP.transpose(0, 3, 1, 2),), {"block_size": 2, "data_format": "NCHW"},
             oracle=channels_first(from_depth(2))),
    ],
    "SpaceToBatchND": [
        Case((IMAGE, i32(2, 3), NO_ROOM), oracle=to_batch),
        Case((IMAGE, i32(2, 2), i32(1, 1, 2, 0).reshape(2, 2)), oracle=to_batch),
        Case((IMAGE, i32(3), i32(1, 1).reshape(1, 2)), oracle=to_batch),
    ],
    "BatchToSpaceND": [
        Case((RNG.randn(8, 2, 3, 2), i32(2, 2), NO_ROOM), oracle=from_batch),
        Case((RNG.randn(6, 2, 3), np.array([3, 2]), ROOM), oracle=from_batch),
    ],
}  # fmt: skip
