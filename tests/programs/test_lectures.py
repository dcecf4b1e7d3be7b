"""The TensorFlow lines on the lectures' slides, and what the slides print for them.

`tf` may be TensorFlow itself under our name: all but the tests marked `headrace_only` pass there
too.
"""

import numpy as np
import pytest

import headrace as tf

headrace_only = pytest.mark.skipif(
    tf.__name__ != "headrace", reason="headrace promises more than TensorFlow"
)


@pytest.fixture(autouse=True)
def notebook():
    """A fresh default graph; sessions which the slide leaves open are closed after it."""
    tf.reset_default_graph()
    yield
    while (session := tf.get_default_session()) is not None:
        session.close()


def on_one_line(array):
    """What the notebook shows for an array, without NumPy's line breaks."""
    return " ".join(repr(array).split())


def rows(output):
    """The first two and the last two lines printed: the others are dots on the slides."""
    lines = output.splitlines()
    assert len(lines) == 10
    return lines[:2] + lines[-2:]


# How the input looks like


def test_placeholder_prints_as_a_tensor_with_an_unknown_batch(capsys):
    x = tf.placeholder(tf.float32, (None, 10))
    print(x)
    assert capsys.readouterr().out == 'Tensor("Placeholder:0", shape=(?, 10), dtype=float32)\n'


def test_variable_made_by_get_variable(capsys):
    w = tf.get_variable("w", shape=(10, 20), dtype=tf.float32)
    print(w)
    assert capsys.readouterr().out == "<tf.Variable 'w:0' shape=(10, 20) dtype=float32_ref>\n"


def test_variable_made_from_a_random_tensor(capsys):
    w = tf.Variable(tf.random_uniform((10, 20)), name="w")
    print(w)
    assert capsys.readouterr().out == "<tf.Variable 'w:0' shape=(10, 20) dtype=float32_ref>\n"


def test_random_uniform_initial_value_is_drawn_from_zero_to_one():
    w = tf.Variable(tf.random_uniform((10, 20)), name="w")
    s = tf.InteractiveSession()
    s.run(tf.global_variables_initializer())
    value = s.run(w)
    assert value.shape == (10, 20)
    assert value.dtype == np.float32
    assert 0 <= value.min() < 0.1 < 0.9 < value.max() < 1


def test_constant_takes_the_dtype_of_its_array(capsys):
    c = tf.constant(np.ones((4, 4)))
    print(c)
    assert capsys.readouterr().out == 'Tensor("Const:0", shape=(4, 4), dtype=float64)\n'


def test_constant_gives_its_array_back():
    c = tf.constant(np.ones((4, 4)))
    s = tf.InteractiveSession()
    np.testing.assert_array_equal(s.run(c), np.ones((4, 4)), strict=True)


# Operation example


def test_matrix_product_by_the_operator(capsys):
    x = tf.placeholder(tf.float32, (None, 10))
    w = tf.Variable(tf.random_uniform((10, 20)), name="w")
    z = x @ w
    print(z)
    assert capsys.readouterr().out == 'Tensor("matmul:0", shape=(?, 20), dtype=float32)\n'


def test_matrix_product_by_the_function(capsys):
    x = tf.placeholder(tf.float32, (None, 10))
    w = tf.Variable(tf.random_uniform((10, 20)), name="w")
    z = tf.matmul(x, w)
    print(z)
    assert capsys.readouterr().out == 'Tensor("MatMul:0", shape=(?, 20), dtype=float32)\n'


# Computational graph


def test_default_graph_is_a_graph():
    assert isinstance(tf.get_default_graph(), tf.Graph)


def test_operations_go_to_the_default_graph():
    c = tf.constant(1.0)
    assert c.graph is tf.get_default_graph()
    assert tf.get_default_graph().get_operations() == [c.op]


def test_own_graph_is_the_default_one_inside_with():
    outer = tf.get_default_graph()
    g = tf.Graph()
    with g.as_default():
        assert tf.get_default_graph() is g
        inside = tf.constant(1.0)
    assert tf.get_default_graph() is outer
    assert inside.graph is g
    assert g.get_operations() == [inside.op]
    assert outer.get_operations() == []


def test_reset_default_graph_clears_it():
    tf.constant(1.0)
    before = tf.get_default_graph()
    tf.reset_default_graph()
    assert tf.get_default_graph() is not before
    assert tf.get_default_graph().get_operations() == []
    assert tf.constant(1.0).name == "Const:0"


def test_a_cell_run_three_times_clutters_the_graph(capsys):
    for _ in range(3):
        x = tf.placeholder(tf.float32, (None, 10))
    print(tf.get_default_graph().get_operations())
    assert capsys.readouterr().out == (
        "[<tf.Operation 'Placeholder' type=Placeholder>, "
        "<tf.Operation 'Placeholder_1' type=Placeholder>, "
        "<tf.Operation 'Placeholder_2' type=Placeholder>]\n"
    )
    assert x.name == "Placeholder_2:0"


# Operations and tensors


def test_every_node_is_an_operation(capsys):
    tf.placeholder(tf.float32, (None, 10), name="x")
    print(tf.get_default_graph().get_operations())
    assert capsys.readouterr().out == "[<tf.Operation 'x' type=Placeholder>]\n"


def test_output_tensors_of_an_operation(capsys):
    tf.placeholder(tf.float32, (None, 10), name="x")
    print(tf.get_default_graph().get_operations()[0].outputs)
    assert capsys.readouterr().out == "[<tf.Tensor 'x:0' shape=(?, 10) dtype=float32>]\n"


# Running a graph


def test_looking_at_a_tensor_and_running_it(capsys):
    s = tf.InteractiveSession()
    a = tf.constant(5.0)
    b = tf.constant(6.0)
    c = a * b
    print(c)
    print(s.run(c))
    assert capsys.readouterr().out == 'Tensor("mul:0", shape=(), dtype=float32)\n30.0\n'


def test_interactive_session_is_the_default_one_for_eval():
    tf.InteractiveSession()
    a = tf.constant(5.0)
    b = tf.constant(6.0)
    assert (a * b).eval() == 30.0


def test_session_has_the_default_graph():
    s = tf.InteractiveSession()
    assert s.graph is tf.get_default_graph()


def test_closed_session_runs_no_more():
    c = tf.constant(5.0)
    s = tf.Session()
    s.run(c)
    s.close()
    with pytest.raises(RuntimeError, match="Attempted to use a closed Session"):
        s.run(c)


# Initialization of variables


def test_uninitialised_variable_is_an_error_until_the_initialiser_ran():
    a = tf.constant(np.ones((2, 2), dtype=np.float32))
    b = tf.Variable(tf.ones((2, 2)))
    c = a @ b

    s = tf.InteractiveSession()
    with pytest.raises(
        tf.errors.FailedPreconditionError, match="Attempting to use uninitialized value Variable"
    ):
        s.run(c)

    s.run(tf.global_variables_initializer())
    assert on_one_line(s.run(c)) == "array([[2., 2.], [2., 2.]], dtype=float32)"


# Feeding placeholder values


def test_placeholder_must_be_fed():
    a = tf.placeholder(np.float32, (2, 2))
    b = tf.Variable(tf.ones((2, 2)))
    c = a @ b

    s = tf.InteractiveSession()
    s.run(tf.global_variables_initializer())
    with pytest.raises(
        tf.errors.InvalidArgumentError,
        match=r"You must feed a value for placeholder tensor 'Placeholder' "
        r"with dtype float and shape \[2,2\]",
    ):
        s.run(c)

    s.run(tf.global_variables_initializer())
    assert (
        on_one_line(s.run(c, feed_dict={a: np.ones((2, 2))}))
        == "array([[2., 2.], [2., 2.]], dtype=float32)"
    )


# Optimizers, trainable variables


def test_trainable_variables_print_as_on_the_slide(capsys):
    tf.get_variable("x", shape=(), dtype=tf.float32)
    print(tf.trainable_variables())
    assert capsys.readouterr().out == "[<tf.Variable 'x:0' shape=() dtype=float32_ref>]\n"


@pytest.mark.parametrize("trainable", [True, False])
def test_only_trainable_variables_are_listed(trainable):
    x = tf.get_variable("x", shape=(), dtype=tf.float32, trainable=trainable)
    assert tf.trainable_variables() == ([x] if trainable else [])
    assert tf.global_variables() == [x]


@pytest.mark.parametrize("given", [True, False])
def test_minimize_takes_all_trainable_variables_unless_told(given):
    x = tf.get_variable("x", shape=(), dtype=tf.float32, initializer=tf.ones_initializer())
    y = tf.get_variable("y", shape=(), dtype=tf.float32, initializer=tf.ones_initializer())
    f = x**2 + y**2
    optimizer = tf.train.GradientDescentOptimizer(0.1)
    step = optimizer.minimize(f, var_list=[x]) if given else optimizer.minimize(f)
    s = tf.InteractiveSession()
    s.run(tf.global_variables_initializer())
    s.run(step)
    after = np.float32(1) - np.float32(0.1) * np.float32(2)
    assert s.run([x, y]) == [after, 1 if given else after]


# Making gradient descent steps


def gradient_descent_on_a_square(initial_value):
    x = tf.get_variable(
        "x", shape=(), dtype=tf.float32, initializer=tf.constant_initializer(initial_value)
    )
    f = x**2
    step = tf.train.GradientDescentOptimizer(0.1).minimize(f, var_list=[x])
    return x, f, step


def test_default_initial_value_of_a_scalar_is_drawn_by_glorot():
    x = tf.get_variable("x", shape=(), dtype=tf.float32)
    s = tf.InteractiveSession()
    s.run(tf.global_variables_initializer())
    assert 0 < abs(s.run(x)) < np.sqrt(3)


def test_ten_steps_print_the_numbers_of_the_slide(capsys):
    # TensorFlow leaves to chance whether the fetched x and f are from before or after the step.
    # Here it is promised as the slide has it: x after the step, f from before it.
    x, f, step = gradient_descent_on_a_square(0.5611606)
    s = tf.InteractiveSession()
    s.run(tf.global_variables_initializer())
    for _ in range(10):
        _, curr_x, curr_f = s.run([step, x, f])
        print(f"{curr_x:.6g} {curr_f:.6g}")
    assert rows(capsys.readouterr().out) == [
        "0.448929 0.314901",
        "0.359143 0.201537",
        "0.0753177 0.00886368",
        "0.0602542 0.00567276",
    ]


def test_each_step_takes_a_fifth_away_and_f_lags_behind_x():
    x, f, step = gradient_descent_on_a_square(1.0)
    s = tf.InteractiveSession()
    s.run(tf.global_variables_initializer())
    for i in range(10):
        nothing, curr_x, curr_f = s.run([step, x, f])
        assert nothing is None
        assert curr_x == pytest.approx(0.8 ** (i + 1), rel=1e-6)
        assert curr_f == pytest.approx(0.64**i, rel=1e-6)


def test_fetched_scalars_are_numpy_float32():
    x, f, step = gradient_descent_on_a_square(1.0)
    s = tf.InteractiveSession()
    s.run(tf.global_variables_initializer())
    for _ in range(3):
        _, curr_x, curr_f = s.run([step, x, f])
        assert type(curr_x) is np.float32
        assert type(curr_f) is np.float32


# Logging with tf.Print


def printing_gradient_descent(initial_value):
    x = tf.get_variable(
        "x", shape=(), dtype=tf.float32, initializer=tf.constant_initializer(initial_value)
    )
    f = x**2
    f = tf.Print(f, [x, f], "x, f:")
    step = tf.train.GradientDescentOptimizer(0.1).minimize(f)
    s = tf.InteractiveSession()
    s.run(tf.global_variables_initializer())
    for _ in range(10):
        s.run([step, f])


def printed(capfd):
    return [line for line in capfd.readouterr().err.splitlines() if line.startswith("x, f:")]


@headrace_only  # TensorFlow 2.21 prints nine digits, and now and then an x from after the step
def test_print_shows_the_lines_of_the_slide(capfd):
    printing_gradient_descent(1.5879565)
    assert rows("\n".join(printed(capfd))) == [
        "x, f:[1.5879565][2.521606]",
        "x, f:[1.2703652][1.6138278]",
        "x, f:[0.26641488][0.070976891]",
        "x, f:[0.2131319][0.04542521]",
    ]


def test_print_goes_to_stderr_once_a_run_and_passes_its_input_on(capfd):
    x = tf.constant(2.0)
    f = tf.Print(x**2, [x, x**2], "x, f:")
    s = tf.InteractiveSession()
    for _ in range(4):
        assert s.run(f) == 4
    captured = capfd.readouterr()
    assert captured.err.count("x, f:[2][4]\n") == 4
    assert "x, f:" not in captured.out


def test_print_is_silent_where_nothing_fetched_needs_it(capfd):
    x = tf.constant(2.0)
    f = x**2
    tf.Print(f, [x, f], "x, f:")
    s = tf.InteractiveSession()
    for _ in range(4):
        s.run(f)
    assert printed(capfd) == []


# Solving a linear regression

N = 1000
D = 3


def model_dataset():
    rng = np.random.RandomState(0)
    x = rng.random_sample((N, D))
    w = rng.random_sample((D, 1))
    y = x @ w + rng.randn(N, 1) * 0.20
    return x, w, y


def linear_regression():
    features = tf.placeholder(tf.float32, shape=(None, D))
    target = tf.placeholder(tf.float32, shape=(None, 1))
    weights = tf.get_variable("w", shape=(D, 1), dtype=tf.float32)
    predictions = features @ weights
    loss = tf.reduce_mean((target - predictions) ** 2)
    optimizer = tf.train.GradientDescentOptimizer(0.1)
    step = optimizer.minimize(loss)
    return features, target, weights, loss, step


def test_linear_regression_finds_the_ground_truth(capsys):
    x, w, y = model_dataset()
    features, target, weights, loss, step = linear_regression()
    s = tf.InteractiveSession()
    s.run(tf.global_variables_initializer())
    s.run(weights.assign([[0.0], [0.0], [0.0]]))
    for i in range(300):
        _, curr_loss, curr_weights = s.run(
            [step, loss, weights], feed_dict={features: x, target: y}
        )
        if i % 50 == 0:
            print(curr_loss)
    losses = [float(line) for line in capsys.readouterr().out.splitlines()]
    assert len(losses) == 6
    assert losses == sorted(losses, reverse=True)
    assert losses[-1] == pytest.approx(0.2**2, rel=0.05)
    # The slide's own found weights are within 0.032 of its ground truth.
    np.testing.assert_allclose(curr_weights, w, atol=0.032)


def test_linear_regression_follows_the_formula_step_by_step():
    x, _, y = model_dataset()
    features, target, weights, loss, step = linear_regression()
    s = tf.InteractiveSession()
    s.run(tf.global_variables_initializer())
    w = s.run(weights).astype(np.float64)
    for _ in range(20):
        residual = y - x @ w
        w = w + 0.1 * 2 / N * x.T @ residual
        _, curr_loss, curr_weights = s.run(
            [step, loss, weights], feed_dict={features: x, target: y}
        )
        assert curr_loss == pytest.approx(np.mean(residual**2), rel=1e-5)
        np.testing.assert_allclose(curr_weights, w, rtol=1e-5, atol=1e-6)


def test_gradients_are_a_part_of_the_graph():
    linear_regression()
    names = [op.name for op in tf.get_default_graph().get_operations()]
    assert any(name.startswith("gradients/") for name in names)
    assert "GradientDescent" in names
