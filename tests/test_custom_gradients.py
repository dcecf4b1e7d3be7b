"""`custom_gradient`: whatever structure, method or variables; and what it refuses."""

import collections
import gc
import weakref

import numpy as np
import pytest

import headrace as tf

Pair = collections.namedtuple("Pair", "a b")


@pytest.fixture
def sess():
    with tf.Session() as opened:
        yield opened


def constant(*values):
    return tf.constant(np.array(values, np.float64))


def test_custom_gradient(sess):
    @tf.custom_gradient
    def log1pexp(x):
        e = tf.exp(x)
        return tf.log(1.0 + e), lambda dy: dy * (1.0 - 1.0 / (1.0 + e))

    x = constant(0.5, 100.0)
    y = log1pexp(x)
    (g,) = tf.gradients(y, x)
    (h,) = tf.gradients(g, x)
    for _ in range(3):
        found = sess.run([g, h])
        s = 1 / (1 + np.exp(-np.array([0.5, 100.0])))
        np.testing.assert_allclose(found[0], s)
        np.testing.assert_allclose(found[1][0], s[0] * (1 - s[0]))


def test_custom_gradient_of_several(sess):
    @tf.custom_gradient
    def swap_sign(a, b):
        return [a * b, a + b], lambda da, db: [-da * b, -db]

    a, b = constant(2.0), constant(3.0)
    p, q = swap_sign(a, b)
    ga, gb = tf.gradients([p, q], [a, b])
    assert sess.run([p, q, ga, gb]) == [[6], [5], [-3], [-1]]


def test_custom_gradient_with_variables(sess):
    @tf.custom_gradient
    def scaled(x):
        v = tf.get_variable("scale", initializer=np.float64(3.0), use_resource=True)

        def grad(dy, variables=None):
            assert [u.op.name for u in variables or ()] == ["scale"]
            return dy * 10.0, [tf.reduce_sum(dy * 100.0)]

        return x * v, grad

    x = constant(2.0)
    y = scaled(x)
    gx, gv = tf.gradients(y, [x, *tf.trainable_variables()])
    sess.run(tf.global_variables_initializer())
    assert sess.run([y, gx]) == [[6], [10]]
    assert sess.run(gv) == 100


def test_graphs_with_custom_gradients_can_be_collected():
    def work():
        with tf.Graph().as_default():

            @tf.custom_gradient
            def twice(x):
                return x * 2.0, lambda dy: dy * 2.0

            x = constant(1.0)
            tf.gradients(twice(x), x)
            return weakref.ref(x.op)

    gone = work()
    gc.collect()
    assert gone() is None


def test_structures_go_in_and_come_out_as_they_are(sess):
    @tf.custom_gradient
    def scaled(pair, more):
        result = {"sum": pair.a + pair.b, "product": (pair.a * more[0],)}
        return result, lambda d_product, d_sum: (Pair(d_product, d_sum), [d_sum * 7.0])

    a, b, c = constant(1.0), constant(2.0), constant(3.0)
    found = scaled(Pair(a, b), [c])
    slopes = tf.gradients([found["sum"], found["product"][0] * 10.0], [a, b, c])
    assert sess.run(found) == {"sum": [3], "product": ([3],)}
    assert sess.run(slopes) == [[10], [1], [7]]


def test_methods_and_the_decorator_with_parentheses(sess):
    class Layer:
        slope = 5.0

        @tf.custom_gradient()
        def apply(self, x):
            return x * 2.0, lambda dy: dy * self.slope

    x = constant(1.0)
    assert sess.run(tf.gradients(Layer().apply(x), x)) == [[5]]
    assert Layer.apply.__name__ == "apply"


def test_name_and_documentation_are_those_of_the_function():
    def square(x):
        """Of x."""
        return x * x, lambda dy: dy

    made = tf.custom_gradient(square)
    assert (made.__name__, made.__doc__, made.__wrapped__) == ("square", "Of x.", square)


def test_an_argument_and_the_same_tensor_by_another_way(sess):
    v = tf.get_variable("v", initializer=np.array([3.0]))

    @tf.custom_gradient
    def times_v(x):
        return x * v, lambda dy, variables: (dy * 100.0, [dy * 10.0])

    slope = tf.gradients(times_v(v), v)[0]
    sess.run(tf.global_variables_initializer())
    assert sess.run(slope) == [110]


def test_variables_are_sorted_and_only_trainable_ones_that_matter(sess):
    b = tf.get_variable("b", initializer=np.array([1.0]))
    a = tf.get_variable("a", initializer=np.array([1.0]))
    fixed = tf.get_variable("fixed", initializer=np.array([1.0]), trainable=False)
    stopped = tf.get_variable("stopped", initializer=np.array([1.0]))
    tf.get_variable("unused", initializer=np.array([1.0]))
    double = b * 2.0
    given = []

    @tf.custom_gradient
    def f(x):
        def grad(dy, *, variables):
            given.extend(variables)
            return dy, [dy * 2.0, dy * 3.0]

        return x * double * a * fixed * tf.stop_gradient(stopped), grad

    x = constant(1.0)
    slopes = tf.gradients(f(x), [x, a, b])
    sess.run(tf.global_variables_initializer())
    assert given == [a, b]
    assert sess.run(slopes) == [[1], [2], [3]]


def test_gradients_of_rows_of_a_variable(sess):
    table = tf.get_variable("table", initializer=np.eye(3))

    @tf.custom_gradient
    def look_up(scale):
        rows = tf.gather(table, [2, 0, 2])

        def grad(dy, variables):
            return tf.reduce_sum(dy * rows), tf.gradients(rows, variables, dy * scale)

        return rows * scale, grad

    scale = tf.constant(np.float64(2.0))
    ds, dt = tf.gradients(look_up(scale), [scale, table])
    assert isinstance(dt, tf.IndexedSlices)
    sess.run(tf.global_variables_initializer())
    assert sess.run(ds) == 3
    np.testing.assert_array_equal(sess.run(tf.convert_to_tensor(dt))[:, 0], [2, 0, 4])


def test_a_result_that_is_the_argument(sess):
    x = constant(1.0)
    y = tf.custom_gradient(lambda x: (x, lambda dy: dy * 5.0))(x)
    assert sess.run(tf.gradients(y, x)) == [[5]]


def no_pair(x):
    return x


def too_few(x, y):
    return x * y, lambda dy: dy


def no_variables(x):
    return x * tf.get_variable("v", initializer=np.array([3.0])), lambda dy: dy


def too_few_of_variables(x):
    return (
        x * tf.get_variable("v", initializer=np.array([3.0])),
        lambda dy, variables: (dy, []),
    )


def no_pair_of_gradients(x):
    return x * tf.get_variable("v", initializer=np.array([3.0])), lambda dy, variables: dy


@pytest.mark.parametrize(
    ("function", "count", "kind", "text"),
    [
        (no_pair, 1, TypeError, r"'no_pair'.* must return a pair \(results, grad_fn\)"),
        (too_few, 2, ValueError, "'too_few' returned 1 gradients for 2 arguments"),
        (no_variables, 1, TypeError, r"accept keyword argument 'variables'.*'no_variables'.*v:0"),
        (no_pair_of_gradients, 1, ValueError, "'no_pair_of_gradients' must return a pair"),
        (too_few_of_variables, 1, ValueError, "Must return gradient for each variable.* 0 for 1"),
    ],
)
def test_what_is_refused(function, count, kind, text):
    xs = [constant(1.0) for _ in range(count)]
    with pytest.raises(kind, match=text):
        tf.gradients(tf.custom_gradient(function)(*xs), xs)


def test_keyword_arguments_are_refused():
    @tf.custom_gradient
    def power(x, k=2.0):
        return x**k, lambda dy: dy

    with pytest.raises(ValueError, match=r"'power' .*no keyword arguments \(it was given k\)"):
        power(constant(1.0), k=3.0)
