"""Initialisers: the numbers are TensorFlow's for the same seeds (written down from 2.21)."""

import numpy as np
import pytest

import headrace as tf

# For a variable [2, 3], with the graph seed 7.
EXPECTED = {
    "zeros": (lambda: tf.zeros_initializer(), [0.0, 0.0, 0.0, 0.0, 0.0, 0.0]),
    "ones": (lambda: tf.ones_initializer(), [1.0, 1.0, 1.0, 1.0, 1.0, 1.0]),
    "constant": (
        lambda: tf.constant_initializer([1.0, 2.0]), [1.0, 2.0, 2.0, 2.0, 2.0, 2.0],
    ),
    "random_uniform": (
        lambda: tf.random_uniform_initializer(-1, 1, seed=5),
        [0.733862, -0.995665, 0.838904, -0.147805, 0.636133, -0.911259],
    ),
    "random_normal": (
        lambda: tf.random_normal_initializer(1.0, 2.0, seed=5),
        [1.01456, 2.06872, 1.36707, 0.267141, 1.3488, 2.21854],
    ),
    "truncated_normal": (
        lambda: tf.truncated_normal_initializer(stddev=0.1, seed=5),
        [0.000727805, 0.0534358, 0.0183533, -0.0366429, -0.0350792, 0.00180304],
    ),
    "uniform_unit_scaling": (
        lambda: tf.uniform_unit_scaling_initializer(seed=5),
        [0.898794, -1.21944, 1.02744, -0.181023, 0.7791, -1.11606],
    ),
    "variance_scaling": (
        lambda: tf.variance_scaling_initializer(seed=5),
        [0.00585062, 0.429556, 0.147537, -0.294562, -0.281992, 0.0144941],
    ),
    "variance_scaling, uniform": (
        lambda: tf.variance_scaling_initializer(2.0, "fan_out", "uniform", seed=5),
        [1.03784, -1.40808, 1.18639, -0.209028, 0.899628, -1.28871],
    ),
    "variance_scaling, untruncated": (
        lambda: tf.variance_scaling_initializer(1.0, "fan_avg", "untruncated_normal", seed=5),
        [0.00460304, 0.337958, 0.116077, -0.23175, 0.1103, 0.385335],
    ),
    "glorot_uniform": (
        lambda: tf.glorot_uniform_initializer(seed=5),
        [0.803906, -1.0907, 0.918973, -0.161912, 0.696849, -0.998234],
    ),
    "glorot_normal": (
        lambda: tf.glorot_normal_initializer(seed=1),
        [-0.388842, 0.806748, 0.844237, -0.62123, 0.719455, -0.400682],
    ),
    "identity": (lambda: tf.initializers.identity(2.0), [2.0, 0.0, 0.0, 0.0, 2.0, 0.0]),
    "he_normal": (
        lambda: tf.initializers.he_normal(5),
        [0.00827403, 0.607484, 0.208649, -0.416574, -0.398797, 0.0204978],
    ),
    "lecun_uniform": (
        lambda: tf.initializers.lecun_uniform(5),
        [0.898794, -1.21944, 1.02744, -0.181023, 0.7791, -1.11606],
    ),
    "orthogonal": (
        lambda: tf.orthogonal_initializer(2.0, seed=5),
        [0.0574696, 1.44923, 1.37711, 1.21287, -1.12045, 1.12851],
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", EXPECTED)
def test_numbers_are_tensorflows(name):
    make, expected = EXPECTED[name]
    tf.set_random_seed(7)
    v = tf.get_variable("v", [2, 3], initializer=make())
    with tf.Session() as session:
        session.run(v.initializer)
        np.testing.assert_allclose(session.run(v).ravel(), expected, rtol=2e-5, atol=1e-6)


@pytest.mark.parametrize("name", EXPECTED)
def test_config_makes_an_equal_one(name):
    made = EXPECTED[name][0]()
    again = type(made).from_config({k: v for k, v in made.get_config().items() if k != "dtype"})
    assert again.get_config() == made.get_config()


@pytest.mark.parametrize("shape", [[4, 4], [2, 6], [3, 2, 4]])
def test_orthogonal_has_orthonormal_rows_or_columns(shape):
    v = tf.get_variable("v", shape, tf.float64, tf.orthogonal_initializer(3.0))
    with tf.Session() as session:
        session.run(v.initializer)
        q = session.run(v).reshape(-1, shape[-1]) / 3
    product = q.T @ q if q.shape[0] >= q.shape[1] else q @ q.T
    np.testing.assert_allclose(product, np.eye(len(product)), atol=1e-12)


def test_nodes_are_tensorflows():
    tf.get_variable("w", [2, 3])
    assert [op.name for op in tf.get_default_graph().get_operations()] == [
        "w/Initializer/random_uniform/shape",
        "w/Initializer/random_uniform/min",
        "w/Initializer/random_uniform/max",
        "w/Initializer/random_uniform/RandomUniform",
        "w/Initializer/random_uniform/sub",
        "w/Initializer/random_uniform/mul",
        "w/Initializer/random_uniform",
        "w",
        "w/Assign",
        "w/read",
    ]


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda: tf.variance_scaling_initializer(0.0), ValueError, "must be a positive float"),
        (lambda: tf.variance_scaling_initializer(mode="x"), ValueError, "fan_in"),
        (lambda: tf.variance_scaling_initializer(distribution="x"), ValueError, "untruncated"),
        (lambda: tf.constant_initializer({}), TypeError, "Invalid type for initial value"),
        (lambda: tf.orthogonal_initializer()([3]), ValueError, "at least two-dimensional"),
        (lambda: tf.random_normal_initializer(dtype=tf.int32), ValueError, "dtype"),
    ],
)
def test_bad_arguments_are_refused(make, error, words):
    with pytest.raises(error, match=words):
        make()
