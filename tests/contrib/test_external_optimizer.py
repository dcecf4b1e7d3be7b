"""`tf.contrib.opt`: SciPy's optimizers over graphs, and optimizers of one's own."""

import logging
import sys

import numpy as np
import pytest
from scipy.optimize import rosen, rosen_der
from threadpoolctl import threadpool_info, threadpool_limits

import headrace as tf
from headrace.contrib.opt import ExternalOptimizerInterface, ScipyOptimizerInterface


@pytest.fixture
def sess():
    with tf.Session() as opened:
        yield opened


def start(sess):
    sess.run(tf.global_variables_initializer())


def rosenbrock(x, y):
    return (1.0 - x) ** 2 + 100.0 * (y - x**2) ** 2


class Records(ExternalOptimizerInterface):
    """Evaluates at a few points, and says that the last is the minimum."""

    def _minimize(self, **given):
        self.given = given
        x = given["initial_val"]
        self.seen = [given["loss_grad_func"](x + i) for i in range(4)]
        self.equal = [f(x) for f in given["equality_funcs"] + given["equality_grad_funcs"]]
        self.unequal = [f(x) for f in given["inequality_funcs"] + given["inequality_grad_funcs"]]
        given["step_callback"](x + 3)
        return x + 3


# -- what an optimizer of one's own is given -------------------------------------------------------


@pytest.mark.parametrize("use_resource", [False, True])
def test_the_loss_is_a_function_of_one_vector(sess, use_resource):
    a = tf.get_variable("a", initializer=np.array([[1.0, 2.0]]), use_resource=use_resource)
    b = tf.get_variable("b", initializer=np.float64(3.0), use_resource=use_resource)
    unused = tf.get_variable("unused", initializer=np.zeros(2), use_resource=use_resource)
    k = tf.placeholder(tf.float64)
    loss = tf.reduce_sum(a * a) * k + b**3
    optimizer = Records(loss, equalities=[b - 2.0], inequalities=[tf.reduce_prod(a)], color="red")
    start(sess)
    found, steps = [], []
    optimizer.minimize(
        sess, {k: 10.0}, [a, loss], steps.append, lambda *values: found.append(values)
    )
    for i, (loss_value, gradient) in enumerate(optimizer.seen):
        x, y, z = 1.0 + i, 2.0 + i, 3.0 + i
        assert loss_value == 10 * (x * x + y * y) + z**3
        np.testing.assert_array_equal(gradient, [20 * x, 20 * y, 3 * z * z, 0, 0])
        np.testing.assert_array_equal(found[i][0], [[x, y]])
        assert found[i][1] == loss_value
    assert len(found) == 4
    np.testing.assert_array_equal(steps, [[4, 5, 6, 3, 3]])
    (value,), (slope,) = optimizer.equal
    np.testing.assert_array_equal([value, *slope], [1, 0, 0, 1, 0, 0])
    (value,), (slope,) = optimizer.unequal
    np.testing.assert_array_equal([value, *slope], [2, 2, 1, 0, 0, 0])
    assert optimizer.given["optimizer_kwargs"] == {"color": "red"}
    np.testing.assert_array_equal(sess.run(a), [[4, 5]])
    np.testing.assert_array_equal(sess.run(unused), [3, 3])
    assert sess.run(b) == 6


def test_variables_keep_their_values_until_it_is_done(sess):
    v = tf.get_variable("v", initializer=np.float32(1.0))
    seen = []
    optimizer = Records(v * v)
    start(sess)
    optimizer.minimize(sess, loss_callback=lambda: seen.append(sess.run(v)))
    assert seen == [1, 1, 1, 1]
    assert sess.run(v) == 4

    class Fails(Records):
        def _minimize(self, **given):
            super()._minimize(**given)
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Fails(v * v).minimize(sess)
    assert sess.run(v) == 4


def test_types_are_those_of_the_variables(sess):
    single = tf.get_variable("single", initializer=np.float32(1.5))
    double = tf.get_variable("double", initializer=np.array([0.1, 0.2]))
    loss = tf.cast(single**2, tf.float64) + tf.reduce_sum(double)
    mixed, alone = Records(loss), Records(loss, var_list=[single])
    start(sess)
    alone.minimize(sess)
    assert [g.dtype for _, g in alone.seen] == [np.float32] * 4
    mixed.minimize(sess)
    assert [g.dtype for _, g in mixed.seen] == [np.float64] * 4
    np.testing.assert_array_equal(sess.run(double), np.array([0.1, 0.2]) + 3)
    assert sess.run(single) == 7.5


def test_one_evaluation_is_one_run(sess, monkeypatch):
    v = tf.get_variable("v", initializer=np.ones(3))
    optimizer = Records(tf.reduce_sum(v))
    start(sess)
    runs = []
    run = tf.Session.run
    monkeypatch.setattr(tf.Session, "run", lambda *a, **k: runs.append(a) or run(*a, **k))
    operations = len(sess.graph.get_operations())
    optimizer.minimize(sess, fetches=[v])
    assert len(runs) == 1 + 4 + 1  # to begin with, at the four points, at the end
    assert len(sess.graph.get_operations()) == operations


def test_run_kwargs_go_to_the_run_that_sets_the_variables(sess):
    v = tf.get_variable("v", initializer=np.ones(3))
    optimizer = Records(tf.reduce_sum(v))
    start(sess)
    options, metadata = tf.RunOptions(trace_level=tf.RunOptions.FULL_TRACE), tf.RunMetadata()
    optimizer.minimize(sess, options=options, run_metadata=metadata)
    names = [n.node_name for d in metadata.step_stats.dev_stats for n in d.node_stats]
    assert names == ["Assign"]


def test_bounds_broadcast_and_are_packed(sess):
    a = tf.get_variable("a", initializer=np.zeros((2, 2)))
    b = tf.get_variable("b", initializer=np.zeros(2))
    loss = tf.reduce_sum(a) + tf.reduce_sum(b)
    optimizer = Records(loss, var_to_bounds={a: ([-1, -2], 5)})
    start(sess)
    optimizer.minimize()
    free = (-np.inf, np.inf)
    assert optimizer.given["packed_bounds"] == [(-1, 5), (-2, 5), (-1, 5), (-2, 5), free, free]


# -- SciPy -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("use_resource", [False, True])
def test_lbfgs_finds_the_minimum(sess, use_resource):
    v = tf.get_variable("v", initializer=np.array([-1.2, 1.0]), use_resource=use_resource)
    loss = rosenbrock(v[0], v[1])
    optimizer = tf.contrib.opt.ScipyOptimizerInterface(loss, options={"maxiter": 100})
    start(sess)
    points, losses = [], []
    optimizer.minimize(sess, None, [loss], points.append, losses.append)
    np.testing.assert_allclose(sess.run(v), [1, 1], atol=1e-4)
    assert len(losses) >= len(points) > 10
    np.testing.assert_allclose(losses[0], rosen([-1.2, 1.0]))


def test_same_path_as_scipy_alone(sess):
    from scipy.optimize import minimize

    v = tf.get_variable("v", initializer=np.array([-1.2, 1.0]))
    optimizer = ScipyOptimizerInterface(rosenbrock(v[0], v[1]), method="CG")
    start(sess)
    ours, theirs = [], []
    optimizer.minimize(sess, step_callback=lambda x: ours.append(x.copy()))
    minimize(
        rosen, [-1.2, 1.0], jac=rosen_der, method="CG", callback=lambda x: theirs.append(x.copy())
    )
    np.testing.assert_allclose(ours[:5], theirs[:5], rtol=1e-6)


def test_float32_variables_and_a_loss_of_one_element(sess):
    v = tf.get_variable("v", initializer=np.float32([[3.0], [4.0]]))
    optimizer = ScipyOptimizerInterface(tf.reshape(tf.reduce_sum((v - 1.0) ** 2), [1]))
    start(sess)
    optimizer.minimize(sess)
    found = sess.run(v)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, [[1], [1]], atol=1e-5)


def test_bounds_hold(sess):
    v = tf.get_variable("v", initializer=np.array([0.5, 0.5]))
    optimizer = ScipyOptimizerInterface(
        tf.reduce_sum((v - [3.0, -3.0]) ** 2), var_to_bounds={v: ([-np.inf, -1.0], 2.0)}
    )
    start(sess)
    optimizer.minimize(sess)
    np.testing.assert_allclose(sess.run(v), [2, -1])


def test_constraints_hold(sess):
    v = tf.get_variable("v", initializer=np.array([7.0, 7.0]))
    optimizer = ScipyOptimizerInterface(
        tf.reduce_sum(v**2), equalities=[v[1] - 1.0], inequalities=[v[0] - 2.0], method="SLSQP"
    )
    start(sess)
    optimizer.minimize(sess)
    np.testing.assert_allclose(sess.run(v), [2, 1], atol=1e-8)


def test_what_came_of_it_is_logged(sess, caplog):
    v = tf.get_variable("v", initializer=np.array(3.0))
    optimizer = ScipyOptimizerInterface(v**2)
    start(sess)
    with caplog.at_level(logging.INFO, "headrace"):
        optimizer.minimize(sess)
    lines = caplog.messages[-1].splitlines()
    assert lines[0] == "Optimization terminated with:"
    assert lines[1].startswith("  Message: CONVERGENCE")
    assert lines[2] == "  Objective function value: 0.000000"
    assert lines[3].startswith("  Number of iterations: ")
    assert lines[4].startswith("  Number of functions evaluations: ")


def test_scipy_computes_on_one_thread(sess):
    v = tf.get_variable("v", initializer=np.array(3.0))
    optimizer = ScipyOptimizerInterface(v**2)
    start(sess)

    def threads(*_):
        return {lib["num_threads"] for lib in threadpool_info() if lib["user_api"] == "blas"}

    seen = []
    with threadpool_limits(2, "blas"):
        optimizer.minimize(sess, step_callback=lambda x: seen.append(threads()))
        assert threads() == {2}
    assert seen
    assert all(s == {1} for s in seen)


def test_an_error_of_a_callback_comes_through(sess):
    v = tf.get_variable("v", initializer=np.array(3.0))
    optimizer = ScipyOptimizerInterface(v**2)
    start(sess)

    def stop(*_):
        raise ArithmeticError("enough")

    with pytest.raises(ArithmeticError, match="enough"):
        optimizer.minimize(sess, loss_callback=stop)
    assert sess.run(v) == 3


# -- what is refused -------------------------------------------------------------------------------


def test_the_graph_must_suit():
    x = tf.placeholder(tf.float32, [3])
    with pytest.raises(ValueError, match="No variables to optimize"):
        ScipyOptimizerInterface(tf.reduce_sum(x))
    v = tf.get_variable("v", initializer=np.ones(3))
    with pytest.raises(ValueError, match=r"loss must be a scalar; 'mul:0' has shape \(3,\)"):
        ScipyOptimizerInterface(v * 2.0)
    open_shape = tf.Variable(x, validate_shape=False, name="open")
    with pytest.raises(ValueError, match="'open:0' has shape <unknown>"):
        ScipyOptimizerInterface(tf.reduce_sum(open_shape), var_list=[open_shape])


def test_a_session_is_needed():
    v = tf.get_variable("v", initializer=np.ones(3))
    with pytest.raises(ValueError, match=r"ScipyOptimizerInterface.minimize needs a session"):
        ScipyOptimizerInterface(tf.reduce_sum(v)).minimize()


def test_variables_must_have_values(sess):
    v = tf.get_variable("v", initializer=np.ones(3))
    with pytest.raises(tf.errors.FailedPreconditionError, match="uninitialized value v"):
        ScipyOptimizerInterface(tf.reduce_sum(v)).minimize(sess)


@pytest.mark.parametrize(
    ("option", "text"),
    [
        ({"bounds": []}, "Bounds must be set using the var_to_bounds argument"),
        ({"jac": False}, "'jac' is set automatically and cannot be injected manually"),
    ],
)
def test_options_that_are_set_here(sess, option, text):
    v = tf.get_variable("v", initializer=np.ones(3))
    start(sess)
    with pytest.raises(ValueError, match=text):
        ScipyOptimizerInterface(tf.reduce_sum(v), **option).minimize(sess)


def test_the_interface_needs_an_algorithm(sess):
    v = tf.get_variable("v", initializer=np.ones(3))
    start(sess)
    with pytest.raises(NotImplementedError, match="subclass from it and implement the _minimize"):
        ExternalOptimizerInterface(tf.reduce_sum(v)).minimize(sess)


# -- names -----------------------------------------------------------------------------------------


def test_names_of_contrib():
    assert tf.contrib.opt.ScipyOptimizerInterface is ScipyOptimizerInterface
    with pytest.raises(AttributeError, match=r"headrace has no tf.contrib.slim"):
        _ = tf.contrib.slim
    with pytest.raises(AttributeError, match=r"headrace has no tf.contrib.opt.NadamOptimizer"):
        _ = tf.contrib.opt.NadamOptimizer


def test_scipy_optimize_is_loaded_when_it_is_used():
    import subprocess

    code = "import sys, headrace as tf; tf.contrib.opt; assert 'scipy.optimize' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)
