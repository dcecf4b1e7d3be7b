"""The samplers of `headrace.philox` against TensorFlow's own kernels, number for number."""

import math

import numpy as np
import pytest

from headrace import philox

tf = pytest.importorskip("tensorflow.compat.v1")
raw_ops = tf.raw_ops

SEEDS = [(87654321, 5), (0, 1), (-3, 2**40 + 7), (2**63 - 1, -(2**63))]
SHAPES = [(), (0,), (1,), (7,), (3, 5), (100_001,), (2, 0, 3)]
REAL = ["float16", "bfloat16", "float32", "float64"]
RUNS = 3


@pytest.fixture(autouse=True)
def _graph_mode():
    with tf.Graph().as_default():
        yield


def oracle(build, seeds):
    """What the op that `build(seed, seed2)` adds gives in successive runs of one session."""
    # One thread: the only kernel whose numbers depend on the number of threads is Multinomial.
    config = tf.ConfigProto(intra_op_parallelism_threads=1, inter_op_parallelism_threads=1)
    with tf.Session(config=config) as session:
        output = build(*seeds)
        return [session.run(output) for _ in range(RUNS)]


def states(op_type, shape, seeds):
    """The states before successive runs of one op."""
    state = philox.initial_state(*seeds)
    for _ in range(RUNS):
        yield state
        state = philox.advance(state, philox.blocks_used(op_type, shape))


def assert_same(ours, theirs):
    assert ours.shape == theirs.shape
    assert ours.dtype == theirs.dtype
    np.testing.assert_array_equal(ours, theirs)


def assert_close(ours, theirs, ulps):
    assert ours.shape == theirs.shape
    assert ours.dtype == theirs.dtype
    np.testing.assert_array_max_ulp(ours, theirs, ulps)


def dtype_of(name):
    return tf.as_dtype(name).as_numpy_dtype


@pytest.mark.parametrize("seeds", SEEDS)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", REAL)
@pytest.mark.parametrize(
    ("op_type", "sampler"),
    [
        ("RandomUniform", philox.uniform),
        ("RandomStandardNormal", philox.normal),
        ("TruncatedNormal", philox.truncated_normal),
    ],
)
def test_real(op_type, sampler, dtype, shape, seeds):
    def build(seed, seed2):
        op = getattr(raw_ops, op_type)
        return op(shape=np.array(shape, np.int32), dtype=dtype, seed=seed, seed2=seed2)

    for state, theirs in zip(states(op_type, shape, seeds), oracle(build, seeds), strict=True):
        ours = sampler(np, state, shape, dtype_of(dtype))
        if dtype == "float64" and op_type != "RandomUniform":
            assert_close(ours, theirs, 2)
        else:
            assert_same(ours, theirs)


@pytest.mark.parametrize("seeds", SEEDS)
@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(
    ("dtype", "low", "high"),
    [
        ("int32", 0, 10),
        ("int32", -3, 1000),
        ("int32", -(2**31), 2**31 - 1),
        ("int64", 5, 6),
        ("int64", -(2**40), 2**50),
        ("int64", -(2**63), 2**63 - 1),
    ],
)
def test_integers(dtype, low, high, shape, seeds):
    kind = dtype_of(dtype)

    def build(seed, seed2):
        return raw_ops.RandomUniformInt(
            shape=np.array(shape, np.int32),
            minval=kind(low),
            maxval=kind(high),
            seed=seed,
            seed2=seed2,
        )

    pairs = zip(states("RandomUniformInt", shape, seeds), oracle(build, seeds), strict=True)
    for state, theirs in pairs:
        assert_same(philox.uniform_int(np, state, shape, kind(low), kind(high), kind), theirs)


@pytest.mark.parametrize("seeds", SEEDS)
@pytest.mark.parametrize(
    "shape", [(0,), (1,), (2,), (5,), (1000,), (60_001,), (1, 4), (6, 3), (101, 2, 2), (4, 0)]
)
def test_shuffle(shape, seeds):
    value = np.arange(math.prod(shape)).reshape(shape)

    def build(seed, seed2):
        return raw_ops.RandomShuffle(value=value, seed=seed, seed2=seed2)

    for state, theirs in zip(
        states("RandomShuffle", shape, seeds), oracle(build, seeds), strict=True
    ):
        ours = value[philox.shuffle_permutation(np, state, shape[0])]
        if value.size > 0:
            assert_same(ours, theirs)


@pytest.mark.parametrize("seeds", SEEDS)
@pytest.mark.parametrize(
    ("batch", "classes", "samples"), [(1, 1, 1), (3, 5, 7), (2, 1000, 4), (50, 11, 33)]
)
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("output_dtype", ["int32", "int64"])
def test_multinomial(output_dtype, dtype, batch, classes, samples, seeds):
    logits = np.random.default_rng(0).normal(size=(batch, classes)).astype(dtype) * 3
    logits[:, classes // 2] = -np.inf
    logits[0, 0] = np.nan

    def build(seed, seed2):
        return raw_ops.Multinomial(
            logits=logits, num_samples=samples, seed=seed, seed2=seed2, output_dtype=output_dtype
        )

    pairs = zip(states("Multinomial", (batch, samples), seeds), oracle(build, seeds), strict=True)
    for state, theirs in pairs:
        assert_same(philox.multinomial(np, state, logits, samples, np.dtype(output_dtype)), theirs)


@pytest.mark.parametrize("seeds", SEEDS)
@pytest.mark.parametrize("shape", [(), (0,), (5,), (300, 7)])
@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
def test_gamma(dtype, shape, seeds):
    alpha = np.array([[0, 0.05, 0.5, 0.99, 1], [1.01, 3, 50, 1e4, np.nan]]).astype(dtype_of(dtype))

    def build(seed, seed2):
        shape_ = np.array(shape, np.int32)
        return raw_ops.RandomGamma(shape=shape_, alpha=alpha, seed=seed, seed2=seed2)

    full = (*shape, *alpha.shape)
    for state, theirs in zip(states("RandomGamma", full, seeds), oracle(build, seeds), strict=True):
        ours = philox.gamma(np, state, shape, alpha)
        assert ours.shape == theirs.shape
        assert ours.dtype == theirs.dtype
        if dtype == "float64":  # powers and logarithms are each within a unit in the last place
            np.testing.assert_allclose(ours, theirs, rtol=2e-15, atol=0)
        else:
            assert_same(ours, theirs)


@pytest.mark.parametrize("seeds", SEEDS)
@pytest.mark.parametrize("shape", [(), (0,), (5,), (300, 7)])
@pytest.mark.parametrize(
    ("rate_dtype", "dtype"),
    [("float32", "float32"), ("float64", "int64"), ("int32", "int32"), ("float16", "float64")],
)
def test_poisson(rate_dtype, dtype, shape, seeds):
    rate = np.array([[-1, 0, 0.5, 9.9], [10, 11, 300, 1e4]]).astype(rate_dtype)

    def build(seed, seed2):
        shape_ = np.array(shape, np.int32)
        return raw_ops.RandomPoissonV2(shape=shape_, rate=rate, dtype=dtype, seed=seed, seed2=seed2)

    full = (*shape, *rate.shape)
    pairs = zip(states("RandomPoissonV2", full, seeds), oracle(build, seeds), strict=True)
    for state, theirs in pairs:
        assert_same(philox.poisson(np, state, shape, rate, dtype), theirs)


@pytest.mark.parametrize("seed", [(1, 2), (-5, 2**40), (0, 0)])
def test_stateless(seed):
    state = philox.stateless_state(np, np.array(seed, np.int64))
    with tf.Session() as session:
        theirs = session.run(
            [
                tf.random.stateless_uniform([9], seed),
                tf.random.stateless_normal([9], seed),
                tf.random.stateless_truncated_normal([9], seed),
            ]
        )
    samplers = (philox.uniform, philox.normal, philox.truncated_normal)
    for sampler, value in zip(samplers, theirs, strict=True):
        assert_same(sampler(np, state, (9,), np.float32), value)
