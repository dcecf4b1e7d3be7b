"""`custom_gradient`, `recompute_grad` and `tf.nest` as TensorFlow has them."""

import collections

import numpy as np
import pytest

Pair = collections.namedtuple("Pair", "a b")
X = np.float32([[0.5, -1.0], [2.0, 0.25]])


def run(tf, fetches):
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        return [session.run(fetches) for _ in range(3)]


def slope_of_variables_too(tf):
    a = tf.get_variable("a", initializer=np.float32([2.0, 3.0]), use_resource=True)
    b = tf.get_variable("b", initializer=np.float32(5.0), use_resource=True)
    tf.get_variable("c", initializer=np.float32(5.0), use_resource=True)
    given = []

    @tf.custom_gradient
    def f(pair, y):
        def grad(d_sum, d_product, variables):
            given.extend(v.name for v in variables)
            of_arguments = Pair(d_sum * 2.0, d_product), d_sum + 1.0
            return of_arguments, [d_product[0], tf.reduce_sum(d_sum)]

        return [pair.a + pair.b + b, y * tf.stop_gradient(b) * a], grad

    x, y, z = (tf.constant(X * k) for k in (1.0, 2.0, 3.0))
    s, p = f(Pair(x, y), z)
    slopes = tf.gradients([tf.square(s), tf.sin(p)], [x, y, z, a, b])
    return {"values": run(tf, [s, p, slopes]), "given": given}


def second_slope(tf):
    @tf.custom_gradient
    def log1pexp(x):
        e = tf.exp(x)
        return tf.log(1.0 + e), lambda dy: dy * (1.0 - 1.0 / (1.0 + e))

    x = tf.constant(X)
    (first,) = tf.gradients(log1pexp(x), x)
    return run(tf, [first, tf.gradients(first, x)])


def recomputed(tf):
    def layer(x):
        with tf.variable_scope("layer", reuse=tf.AUTO_REUSE):
            w = tf.get_variable("w", initializer=X, use_resource=True)
            table = tf.get_variable("table", initializer=X * 2.0, use_resource=True)
        return tf.tanh(tf.matmul(x, w)) * tf.gather(table, [1, 0]), tf.exp(x)

    x = tf.constant(X)
    y, z = tf.recompute_grad(layer)(x)
    slopes = tf.gradients([y, z], [x, *tf.trainable_variables()])
    return run(tf, [y, z, *map(tf.convert_to_tensor, slopes)])


def keyword(tf):
    return tf.custom_gradient(lambda x, k=1: (x, lambda dy: dy))(tf.constant(X), k=2)


def no_place_for_variables(tf):
    v = tf.get_variable("v", initializer=X, use_resource=True)
    return tf.custom_gradient(lambda x: (x * v, lambda dy: dy))(tf.constant(X))


def too_few_for_variables(tf):
    v = tf.get_variable("v", initializer=X, use_resource=True)
    y = tf.custom_gradient(lambda x: (x * v, lambda dy, variables: (dy, [])))(tf.constant(X))
    return tf.gradients(y, v)


@pytest.mark.parametrize("program", [slope_of_variables_too, second_slope, recomputed])
def test_program(assert_alike, program):
    assert_alike(program, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(
    ("program", "kind", "words"),
    [
        (keyword, ValueError, "keyword"),
        (no_place_for_variables, TypeError, "grad_fn must accept keyword argument 'variables'"),
        (too_few_for_variables, ValueError, "Must return gradient for each variable from"),
    ],
)
def test_refusal(hr, tf, program, kind, words):
    for module in (hr, tf):
        with module.Graph().as_default(), pytest.raises(kind, match=words):
            program(module)


@pytest.mark.parametrize(
    "structure",
    [1, None, [], {"b": 1, "a": [2, (3,)]}, Pair(1, {"z": 2}), collections.OrderedDict(b=1, a=2)],
    ids=str,
)
def test_structure(hr, tf, structure):
    flat = tf.nest.flatten(structure)
    assert hr.nest.flatten(structure) == flat
    assert hr.nest.is_nested(structure) == tf.nest.is_nested(structure)
    ours, theirs = (m.nest.pack_sequence_as(structure, flat[::-1]) for m in (hr, tf))
    assert (ours, type(ours)) == (theirs, type(theirs))
    ours, theirs = (m.nest.map_structure(str, structure) for m in (hr, tf))
    assert (ours, type(ours)) == (theirs, type(theirs))


@pytest.mark.parametrize(
    "pair",
    [([1, (2,)], [1, 2]), ([1], (1,)), ([1, 2], [1]), ({"a": 1}, {"b": 1}), (Pair(1, 2), (1, 2))],
    ids=str,
)
def test_structures_that_differ(hr, tf, pair):
    with pytest.raises((TypeError, ValueError)) as theirs:
        tf.nest.assert_same_structure(*pair)
    with pytest.raises(theirs.type, match="don't have the same nested structure"):
        hr.nest.assert_same_structure(*pair)
