"""The public random functions: nodes, seeds, and TensorFlow's numbers for them."""

from __future__ import annotations

import numpy as np
import pytest

import headrace as tf

# (function, results of two runs in TensorFlow 2.21 under the graph seed 42)
STREAMS = {
    "uniform": (
        lambda: tf.random_uniform([3], -1.0, 1.0, seed=3),
        [[0.2757992744445801, -0.6790425777435303, -0.61289381980896],
         [0.8491110801696777, 0.2585592269897461, -0.5153157711029053]],
    ),
    "uniform below a tensor": (
        lambda: tf.random_uniform([2, 2], maxval=tf.constant(5.0), seed=3),
        [[[3.18949818611145, 0.8023935556411743], [0.9677654504776001, 1.264004111289978]],
         [[0.7186651229858398, 1.2454891204833984], [2.969357967376709, 0.8223289251327515]]],
    ),
    "uniform in float64": (
        lambda: tf.random_uniform([2], 1, 3, dtype=tf.float64, seed=3),
        [[1.2063950455206585, 2.096850582408908], [2.406842586257481, 2.1930114470601505]],
    ),
    "int32": (
        lambda: tf.random_uniform([4], -5, 5, dtype=tf.int32, seed=3),
        [[-5, 2, -4, 0], [-1, -1, -3, 0]],
    ),
    "int64": (
        lambda: tf.random_uniform([4], maxval=1000, dtype=tf.int64, seed=3),
        [[82, 321, 420, 596], [568, 772, 762, 187]],
    ),
    "normal": (
        lambda: tf.random_normal([3], 1.0, 2.0, seed=7),
        [[0.09451687335968018, 0.3991849422454834, 0.842342734336853],
         [-0.008455157279968262, 3.7317681312561035, 0.44817984104156494]],
    ),
    "truncated normal": (
        lambda: tf.truncated_normal([3], 0.0, 0.1, seed=7),
        [[-0.04527415707707405, -0.03004075400531292, -0.007882862351834774],
         [-0.05042275786399841, 0.13658840954303741, -0.027591008692979813]],
    ),
    "shuffle": (
        lambda: tf.random_shuffle(tf.range(6), seed=1),
        [[3, 1, 2, 5, 0, 4], [3, 2, 4, 0, 5, 1]],
    ),
    "crop": (
        lambda: tf.random_crop(tf.reshape(tf.range(20), [4, 5]), [2, 2], seed=1),
        [[[3, 4], [8, 9]], [[12, 13], [17, 18]]],
    ),
    "multinomial": (
        lambda: tf.multinomial([[0.0, 1.0, 2.0]], 6, seed=1),
        [[[1, 2, 2, 2, 2, 2]], [[1, 2, 1, 2, 2, 2]]],
    ),
    "categorical": (
        lambda: tf.random.categorical([[0.0, 1.0, 2.0]], 6, seed=1, dtype=tf.int32),
        [[[1, 2, 2, 2, 2, 2]], [[1, 2, 1, 2, 2, 2]]],
    ),
    "dropout": (
        lambda: tf.nn.dropout(tf.ones([8]), 0.5, seed=2),
        [[2, 0, 2, 0, 2, 0, 0, 0], [2, 0, 0, 2, 0, 0, 0, 2]],
    ),
    "dropout of rows": (
        lambda: tf.nn.dropout(tf.ones([2, 2]), rate=0.25, noise_shape=[2, 1], seed=2),
        [[[4 / 3, 4 / 3], [4 / 3, 4 / 3]], [[0, 0], [4 / 3, 4 / 3]]],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", STREAMS)
def test_numbers_are_those_of_tensorflow(name):
    build, want = STREAMS[name]
    tf.set_random_seed(42)
    x = build()
    for _ in range(2):  # a stream begins again in every session
        with tf.Session() as session:
            for expected in want:
                found = session.run(x)
                np.testing.assert_allclose(found, expected, rtol=1e-6)
                assert found.dtype == x.dtype.as_numpy_dtype


def made_by(build):
    graph = tf.get_default_graph()
    before = len(graph.get_operations())
    build()
    return [(o.name, o.type) for o in graph.get_operations()[before:]]


def test_nodes_of_random_uniform():
    assert made_by(lambda: tf.random_uniform([2])) == [
        ("random_uniform/shape", "Const"),
        ("random_uniform/RandomUniform", "RandomUniform"),
    ]
    assert made_by(lambda: tf.random_uniform([2], -1, 1, name="u")) == [
        ("u/shape", "Const"),
        ("u/min", "Const"),
        ("u/max", "Const"),
        ("u/RandomUniform", "RandomUniform"),
        ("u/sub", "Sub"),
        ("u/mul", "Mul"),
        ("u", "AddV2"),
    ]
    assert made_by(lambda: tf.random_uniform([2], maxval=9, dtype=tf.int32, name="i")) == [
        ("i/shape", "Const"),
        ("i/min", "Const"),
        ("i/max", "Const"),
        ("i", "RandomUniformInt"),
    ]


@pytest.mark.parametrize(
    ("function", "name", "kind"),
    [
        (tf.random_normal, "random_normal", "RandomStandardNormal"),
        (tf.truncated_normal, "truncated_normal", "TruncatedNormal"),
    ],
)
def test_nodes_of_normals(function, name, kind):
    assert made_by(lambda: function([2])) == [
        (f"{name}/shape", "Const"),
        (f"{name}/mean", "Const"),
        (f"{name}/stddev", "Const"),
        (f"{name}/{kind}", kind),
        (f"{name}/mul", "Mul"),
        (name, "AddV2"),
    ]


def test_static_shapes():
    n = tf.placeholder(tf.int32, [])
    assert tf.random_uniform(()).shape.as_list() == []
    assert tf.random_normal([n, 7]).shape.as_list() == [None, 7]
    assert tf.random_normal(tf.placeholder(tf.int32, [2])).shape.as_list() == [None, None]
    assert tf.random_normal(tf.placeholder(tf.int32)).shape.ndims is None
    logits = tf.placeholder(tf.float32, [None, 3])
    assert tf.multinomial(logits, 4).shape.as_list() == [None, 4]
    assert tf.random_shuffle(logits).shape.as_list() == [None, 3]
    assert tf.random_crop(tf.zeros([5, 6]), [2, 3]).shape.as_list() == [2, 3]


@pytest.mark.parametrize(
    ("graph_seed", "op_seed", "pair"),
    [
        (None, None, (None, None)),
        (None, 7, (87654321, 7)),
        (3, 7, (3, 7)),
        (0, 0, (0, 2**31 - 1)),
        (None, 0, (87654321, 0)),
        (2**31 - 1, 2**31, (0, 1)),
        (-1, -5, (2**31 - 2, 2**31 - 6)),
        (2**40, 2**50, (512, 524288)),
    ],
)
def test_pairs_of_seeds(graph_seed, op_seed, pair):
    tf.set_random_seed(graph_seed)
    assert tf.get_seed(op_seed) == pair
    op = tf.random_uniform([], seed=op_seed).op
    assert (op.get_attr("seed"), op.get_attr("seed2")) == tuple(s or 0 for s in pair)


def test_streams_stand_apart():
    tf.set_random_seed(1)
    a, b, c = (tf.random_uniform([4], seed=s) for s in (5, 5, 6))
    with tf.Session() as session:
        for _ in range(3):
            x, y, z = session.run([a, b, c])
            np.testing.assert_array_equal(x, y)
            assert not np.array_equal(x, z)


@pytest.mark.parametrize(
    ("build", "error", "words"),
    [
        (lambda: tf.random_uniform(5), ValueError, "Shape must be rank 1 but is rank 0"),
        (lambda: tf.random_uniform([2], dtype=tf.int32), ValueError, "Must specify maxval for int"),
        (lambda: tf.random_uniform([2], dtype=tf.int8, maxval=3), ValueError, "got invalid value"),
        (lambda: tf.random_normal([2], dtype=tf.int32), TypeError, "Expected int32"),
        (lambda: tf.multinomial(tf.zeros([3]), 1), ValueError, "Shape must be rank 2"),
        (lambda: tf.multinomial(tf.zeros([1, 3]), -1), ValueError, "must be non-negative"),
    ],
)
def test_what_cannot_be_is_refused_when_built(build, error, words):
    with pytest.raises(error, match=words):
        build()


@pytest.mark.parametrize(
    ("build", "words"),
    [
        (lambda: tf.random_uniform([2], 3, 3, dtype=tf.int32), "Need minval < maxval, got 3 >= 3"),
        (lambda: tf.random_uniform(tf.placeholder_with_default([-2], [1])), "-2 must be >= 0"),
        (lambda: tf.random_uniform(tf.placeholder_with_default(3, None)), "must be a vector"),
        (lambda: tf.multinomial(tf.zeros([2, 0]), 3), "num_classes should be positive, got 0"),
        (
            lambda: tf.random_crop(tf.zeros([2, 2]), [3, 1]),
            r"assertion failed: \[Need value.shape >= size, got \] \[2 2\] \[3 1\]",
        ),
    ],
)
def test_what_is_only_known_in_the_run_is_checked_there(build, words):
    x = build()
    with tf.Session() as session:
        for _ in range(3):
            with pytest.raises(tf.errors.InvalidArgumentError, match=words):
                session.run(x)
