"""`recompute_grad`: the same bits, less memory; and f called twice as if it were once."""

import tracemalloc

import numpy as np
import pytest

import headrace as tf

BATCH, WIDTH, BLOCKS, PER_BLOCK = 512, 64, 8, 4
ACTIVATION = BATCH * WIDTH * 4  # bytes


@pytest.fixture
def sess():
    with tf.Session() as opened:
        yield opened


def constant(*values):
    return tf.constant(np.array(values, np.float64))


def block(h, i):
    with tf.variable_scope(f"block{i}"):
        for j in range(PER_BLOCK):
            spread = tf.random_normal_initializer(stddev=0.15, seed=10 * i + j)
            h = tf.tanh(tf.matmul(h, tf.get_variable(f"w{j}", [WIDTH, WIDTH], initializer=spread)))
    return h


def network(recompute):
    """(placeholder, loss, training step) of a deep chain of layers."""
    x = tf.placeholder(tf.float32, [BATCH, WIDTH])
    h = x
    for i in range(BLOCKS):

        def f(h, i=i):
            return block(h, i)

        h = (tf.recompute_grad(f) if recompute else f)(h)
    loss = tf.reduce_mean(tf.square(h))
    return x, loss, tf.train.GradientDescentOptimizer(0.5).minimize(loss)


def train(recompute, steps):
    """Losses, and the variables after the last step."""
    with tf.Graph().as_default(), tf.Session() as sess:
        x, loss, step = network(recompute)
        data = np.random.default_rng(0).standard_normal((BATCH, WIDTH), np.float32)
        sess.run(tf.global_variables_initializer())
        losses = [sess.run([loss, step], {x: data})[0] for _ in range(steps)]
        return losses, sess.run(tf.trainable_variables())


# -- the same, with less memory --------------------------------------------------------------------


@pytest.mark.parametrize("steps", [1, 4])  # NumPy's, and three of XLA's after it
def test_same_bits_as_without(steps):
    losses, variables = train(False, steps)
    again_losses, again_variables = train(True, steps)
    assert losses == again_losses
    for v, w in zip(variables, again_variables, strict=True):
        np.testing.assert_array_equal(v, w)


def test_xla_needs_less_memory(monkeypatch):
    import jax

    compiled = []
    compile = jax.stages.Lowered.compile

    def remember(self, *args, **kwargs):
        compiled.append(compile(self, *args, **kwargs))
        return compiled[-1]

    monkeypatch.setattr(jax.stages.Lowered, "compile", remember)
    needed, tanhs = [], []
    for recompute in (False, True):
        train(recompute, 2)
        needed.append(compiled[-1].memory_analysis().temp_size_in_bytes / ACTIVATION)
        tanhs.append(compiled[-1].as_text().count(" tanh("))
    # Every activation is alive at the end of the forward pass; or those between blocks, and of one
    # block what its gradient needs.
    assert needed[0] > BLOCKS * PER_BLOCK - 1
    assert needed[1] < BLOCKS + 3 * PER_BLOCK
    assert tanhs[1] >= tanhs[0] + BLOCKS * (PER_BLOCK - 1)


def test_numpy_needs_less_memory():
    peaks = []
    for recompute in (False, True):
        with tf.Graph().as_default(), tf.Session() as sess:
            x, _, step = network(recompute)
            data = np.zeros((BATCH, WIDTH), np.float32)
            sess.run(tf.global_variables_initializer())
            tracemalloc.start()
            sess.run(step, {x: data})
            peaks.append(tracemalloc.get_traced_memory()[1] / ACTIVATION)
            tracemalloc.stop()
    assert peaks[0] > BLOCKS * PER_BLOCK - 1
    assert peaks[1] < BLOCKS + PER_BLOCK + 8


def test_function_is_called_again_once_for_each_gradient():
    calls = []

    @tf.recompute_grad
    def f(x):
        calls.append(x)
        return tf.exp(x)

    x = constant(1.0)
    y = f(x)
    assert len(calls) == 1
    tf.gradients(y, x)
    assert len(calls) == 2
    tf.gradients(y, x)
    assert len(calls) == 3


# -- gradients -------------------------------------------------------------------------------------


def same_gradients(sess, f, *args, wrt):
    """Whether f recomputed has the gradients of f, of the first order and of the second."""
    found = []
    for function in (f, tf.recompute_grad(f)):
        y = tf.nest.flatten(function(*args))
        first = tf.gradients([tf.sin(t) for t in y], wrt)
        second = tf.gradients([tf.sin(g) for g in first], wrt)
        found.append([*y, *map(tf.convert_to_tensor, first), *map(tf.convert_to_tensor, second)])
    sess.run(tf.global_variables_initializer())
    for _ in range(3):
        plain, recomputed = sess.run(found)
        for a, b in zip(plain, recomputed, strict=True):
            np.testing.assert_allclose(a, b, rtol=1e-12)


def test_of_arguments_and_variables(sess):
    v = tf.get_variable("v", initializer=np.array([0.3, -0.2]))
    r = tf.get_variable("r", initializer=np.array([1.3, 0.2]), use_resource=True)
    x = constant(0.5, 2.0)
    same_gradients(sess, lambda x: tf.tanh(x * v) + tf.exp(r * x), x, wrt=[x, v, r])


def test_of_structures_and_integers(sess):
    x, y, n = constant(0.5, 2.0), constant(1.0, 3.0), tf.constant([3, 4])

    def f(pair, n):
        wide = tf.tile(pair["x"], [n[0]]) * 2.0
        return {"a": tf.tanh(wide) * tf.cast(n[1], tf.float64), "b": (pair["y"] ** 2 * pair["x"],)}

    same_gradients(sess, f, {"x": x, "y": y}, n, wrt=[x, y])


def test_of_rows_of_a_table(sess):
    table = tf.get_variable("table", initializer=np.arange(6.0).reshape(3, 2))
    x = constant(0.5, 2.0)

    def f(x, rows):
        return tf.tanh(tf.gather(table, rows) * x)

    y = tf.recompute_grad(f)(x, tf.constant([2, 0, 2]))
    (slices,) = tf.gradients(y, table)
    assert isinstance(slices, tf.IndexedSlices)
    same_gradients(sess, f, x, tf.constant([2, 0, 2]), wrt=[x, table])


def test_one_within_another(sess):
    v = tf.get_variable("v", initializer=np.array([0.3, -0.2]))

    def outer(x):
        return tf.recompute_grad(lambda x: tf.tanh(x * v))(tf.exp(x)) * x

    x = constant(0.5, 0.2)
    same_gradients(sess, outer, x, wrt=[x, v])


def test_as_a_method(sess):
    class Layer:
        def __init__(self):
            self.w = tf.get_variable("w", initializer=np.array([2.0]))

        @tf.recompute_grad
        def apply(self, x):
            return tf.tanh(self.w * x)

    layer, x = Layer(), constant(0.5)
    slopes = tf.gradients(layer.apply(x), [x, layer.w])
    sess.run(tf.global_variables_initializer())
    np.testing.assert_allclose(
        np.ravel(sess.run(slopes)), np.array([2.0, 0.5]) / np.cosh(1.0) ** 2, rtol=1e-12
    )


def test_a_result_that_no_gradient_comes_to(sess):
    x = constant(0.5, 2.0)
    y, _ = tf.recompute_grad(lambda x: (tf.tanh(x), tf.exp(x)))(x)
    (slope,) = tf.gradients(y, x)
    np.testing.assert_allclose(sess.run(slope), 1 / np.cosh([0.5, 2.0]) ** 2, rtol=1e-12)


def test_it_is_named_and_documented_as_the_function():
    def f(x):
        """Of x."""
        return x

    made = tf.recompute_grad(f)
    assert (made.__name__, made.__doc__, made.__wrapped__) == ("f", "Of x.", f)


# -- the second call is as the first ---------------------------------------------------------------


def dense(x):
    with tf.variable_scope(None, "dense"):
        w = tf.get_variable(
            "w", [2, 2], tf.float64, tf.random_normal_initializer(),
            regularizer=lambda v: tf.reduce_sum(v * v),
        )  # fmt: skip
    return tf.tanh(tf.matmul(x, w))


def test_variables_of_numbered_scopes_are_found_again(sess):
    x = constant([0.5, 2.0])
    y = tf.recompute_grad(lambda x: dense(dense(x)))(x)
    slopes = tf.gradients(y, tf.trainable_variables())
    y = dense(y)
    names = ["dense/w:0", "dense_1/w:0", "dense_2/w:0"]
    assert [v.name for v in tf.trainable_variables()] == names
    assert len(tf.get_collection(tf.GraphKeys.REGULARIZATION_LOSSES)) == 3
    sess.run(tf.global_variables_initializer())
    assert all(np.all(np.isfinite(g)) for g in sess.run(slopes[:2]))


def test_collections_grow_once():
    def f(x):
        tf.add_to_collection("seen", x)
        return tf.tanh(x)

    x = constant(1.0)
    tf.gradients(tf.recompute_grad(f)(x), x)
    assert len(tf.get_collection("seen")) == 1


@pytest.mark.parametrize("depth", [1, 2])
def test_dropped_units_stay_dropped(sess, depth):
    n, keep = 1000, 0.6

    def f(x):
        kept = tf.cast(tf.random_uniform([n]) < keep, tf.float32)
        return x * kept / keep

    for _ in range(depth):
        f = tf.recompute_grad(f)
    x = tf.ones([n])
    y = f(x)
    (slope,) = tf.gradients(y, x)
    for _ in range(4):
        found, slopes = sess.run([y, slope])
        assert 0 < np.count_nonzero(found) < n
        np.testing.assert_array_equal(found, slopes)


# -- what is refused -------------------------------------------------------------------------------


def test_a_variable_made_at_every_call():
    x = constant(1.0)
    y = tf.recompute_grad(lambda x: x * tf.Variable(np.float64(2.0), name="w"))(x)
    with pytest.raises(ValueError, match=r"made the variable '.*/w:0' when it was called again"):
        tf.gradients(y, x)


@pytest.mark.parametrize("counts", [(1, 2), (2, 1)])
def test_other_random_numbers(counts):
    todo = iter(counts)

    def noisy(x):
        for _ in range(next(todo)):
            x = x + tf.random_normal([], dtype=tf.float64)
        return x

    x = constant(1.0)
    y = tf.recompute_grad(noisy)(x)
    with pytest.raises(ValueError, match=f"'noisy' drew other random.* made {counts[0]} random"):
        tf.gradients(y, x)


def test_another_number_of_results():
    todo = iter((1, 2))
    x = constant(1.0)
    y = tf.recompute_grad(lambda x: [tf.exp(x)] * next(todo))(x)
    with pytest.raises(ValueError, match="returned 1 results, and 2 when it was called again"):
        tf.gradients(y, x)


def test_an_error_of_the_function_leaves_scopes_as_they_were():
    todo = iter((False, True))

    def f(x):
        if next(todo):
            raise RuntimeError("the second time")
        return tf.exp(x)

    x = constant(1.0)
    y = tf.recompute_grad(f)(x)
    with pytest.raises(RuntimeError, match="the second time"):
        tf.gradients(y, x)
    scopes = tf.get_default_graph()._scopes
    assert (scopes.draw, scopes.name, tf.get_variable_scope().reuse) == (None, "", False)
