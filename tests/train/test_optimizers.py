"""Optimizers: steps equal to TensorFlow's (2.21, written down), dense and sparse, both kinds."""

import numpy as np
import pytest

import headrace as tf

MAKE = {
    "GradientDescent": lambda: tf.train.GradientDescentOptimizer(0.1),
    "Momentum": lambda: tf.train.MomentumOptimizer(0.1, 0.9),
    "Nesterov": lambda: tf.train.MomentumOptimizer(0.1, 0.9, use_nesterov=True),
    "Adagrad": lambda: tf.train.AdagradOptimizer(0.1),
    "Adadelta": lambda: tf.train.AdadeltaOptimizer(0.5),
    "RMSProp": lambda: tf.train.RMSPropOptimizer(0.1, momentum=0.5),
    "RMSProp centered": lambda: tf.train.RMSPropOptimizer(0.1, momentum=0.5, centered=True),
    "Adam": lambda: tf.train.AdamOptimizer(0.1),
    "Ftrl": lambda: tf.train.FtrlOptimizer(
        0.1, l1_regularization_strength=0.01, l2_regularization_strength=0.02
    ),
    "Ftrl power": lambda: tf.train.FtrlOptimizer(0.1, -0.7),
    "Ftrl shrinkage": lambda: tf.train.FtrlOptimizer(0.1, l2_shrinkage_regularization_strength=0.1),
    "ProximalGradientDescent": lambda: tf.train.ProximalGradientDescentOptimizer(0.1, 0.01, 0.02),
    "ProximalAdagrad": lambda: tf.train.ProximalAdagradOptimizer(0.1, 0.1, 0.01, 0.02),
    "AdagradDA": lambda: tf.train.AdagradDAOptimizer(
        0.1, tf.train.get_or_create_global_step(), l1_regularization_strength=0.001
    ),
}

# (optimizer, sparse) -> the variable after four steps
AFTER = {
    ("GradientDescent", False): [0.984264, -0.838052, 0.545357, 2.8193, -0.395199, 0.350825],
    ("GradientDescent", True): [0.969306, -0.234039, 0.5, 3.0, -0.395199, 0.350825],
    ("Momentum", False): [0.964429, 0.618102, 0.602484, 2.59099, 0.370001, 0.477848],
    ("Momentum", True): [0.930712, 2.17142, 0.5, 3.0, 0.370001, 0.477848],
    ("Nesterov", False): [0.953294, 0.797194, 0.62903, 2.49919, 0.522095, 0.53007],
    ("Nesterov", True): [0.911218, 2.01667, 0.5, 3.0, 0.522095, 0.53007],
    ("Adagrad", False): [0.953676, -1.72904, 0.611213, 2.76924, -0.736856, 0.435179],
    ("Adagrad", True): [0.917975, -1.72864, 0.5, 3.0, -0.736856, 0.435179],
    ("Adadelta", False): [0.999092, -1.99909, 0.500907, 2.99909, -0.999092, 0.250908],
    ("Adadelta", True): [0.999092, -1.99909, 0.5, 3.0, -0.999092, 0.250908],
    ("RMSProp", False): [0.97296, -0.875204, 0.576997, 2.70258, -0.193737, 0.419001],
    ("RMSProp", True): [0.94761, -0.754394, 0.5, 3.0, -0.193737, 0.419001],
    ("RMSProp centered", False): [0.972959, -0.795651, 0.577029, 2.70081, -0.163444, 0.419329],
    ("RMSProp centered", True): [0.9476, -0.650406, 0.5, 3.0, -0.163444, 0.419329],
    ("Adam", False): [0.70999, -1.6015, 0.858502, 2.60721, -0.603373, 0.633281],
    ("Adam", True): [0.709989, -1.6015, 0.5, 3.0, -0.603373, 0.633281],
    ("Ftrl", False): [0.182031, -1.57286, 0.242663, 1.29031, -0.588763, 0.281759],
    ("Ftrl", True): [0.206008, -1.65018, 0.5, 3.0, -0.588763, 0.281759],
    ("Ftrl power", False): [0.206804, -1.80067, 0.311143, 1.62955, -0.743176, 0.35549],
    ("Ftrl power", True): [0.193291, -1.87049, 0.5, 3.0, -0.743176, 0.35549],
    ("Ftrl shrinkage", False): [0.125067, -1.54861, 0.212069, 1.08692, -0.567298, 0.261079],
    ("Ftrl shrinkage", True): [0.14992, -1.63787, 0.5, 3.0, -0.567298, 0.261079],
    ("ProximalGradientDescent", False): [
        0.972695,
        -0.828359,
        0.537751,
        2.79525,
        -0.388543,
        0.344963,
    ],
    ("ProximalGradientDescent", True): [0.958112, -0.229066, 0.5, 3.0, -0.388543, 0.344963],
    ("ProximalAdagrad", False): [0.920522, -1.72575, 0.591326, 2.73681, -0.733131, 0.422946],
    ("ProximalAdagrad", True): [0.889182, -1.72699, 0.5, 3.0, -0.733131, 0.422946],
    ("AdagradDA", False): [0.153573, 0.127925, 0.170812, 0.0943206, 0.149121, 0.18132],
    ("AdagradDA", True): [0.162381, 0.128261, 0.5, 3.0, 0.149121, 0.18132],
}


@pytest.mark.parametrize("use_resource", [False, True])
@pytest.mark.parametrize(("name", "sparse"), AFTER)
def test_steps_are_tensorflows(name, sparse, use_resource):
    start = np.array([[1, -2], [0.5, 3], [-1, 0.25]], np.float32)
    w = tf.get_variable("w", initializer=start, use_resource=use_resource)
    y = tf.gather(w, [0, 2, 0]) if sparse else w
    loss = tf.reduce_sum(tf.square(y - 1.5)) / 2 + tf.reduce_sum(tf.sin(y))
    step = MAKE[name]().minimize(loss, global_step=tf.train.get_or_create_global_step())
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        for _ in range(4):
            session.run(step)
        expected = np.array(AFTER[name, sparse]).reshape(3, 2)
        np.testing.assert_allclose(session.run(w), expected, rtol=2e-5, atol=2e-6)


@pytest.mark.parametrize("name", MAKE)
def test_float64_variables_train(name):
    w = tf.get_variable("w", initializer=np.array([[1.0, -2.0]]))
    step = MAKE[name]().minimize(
        tf.reduce_sum(w**2), global_step=tf.train.get_or_create_global_step()
    )
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        before = session.run(w)
        session.run(step)
        assert session.run(w).dtype == np.float64
        assert not np.array_equal(session.run(w), before)


@pytest.mark.parametrize("traced", [False, True])
def test_rows_given_many_times_are_summed_first(traced):
    w = tf.Variable(np.ones((4, 2), np.float32))
    indices = tf.placeholder(tf.int32, [None])
    feed = {indices: [3, 1, 3, 3]}
    if not traced:
        indices, feed = tf.constant([3, 1, 3, 3]), {}
    grad = tf.IndexedSlices(tf.ones([4, 2]), indices)
    optimizer = tf.train.AdagradOptimizer(1.0, initial_accumulator_value=1.0)
    step = optimizer.apply_gradients([(grad, w)])
    with tf.Session() as session:
        for _ in range(3):
            session.run(tf.global_variables_initializer())
            session.run(step, feed)
            slot = session.run(optimizer.get_slot(w, "accumulator"))
            assert slot[:, 0].tolist() == [1, 2, 1, 10]
            np.testing.assert_allclose(
                session.run(w)[:, 0], [1, 1 - 1 / np.sqrt(2), 1, 1 - 3 / np.sqrt(10)], rtol=1e-6
            )


def test_nodes_of_a_step():
    w = tf.get_variable("layer/w", initializer=[1.0, 2.0])
    step = tf.train.AdamOptimizer().minimize(
        tf.reduce_sum(w), global_step=tf.train.get_or_create_global_step()
    )
    graph = tf.get_default_graph()
    assert step.type == "AssignAdd"
    assert step.inputs[1].op.control_inputs == [graph.get_operation_by_name("Adam/update")]
    apply = graph.get_operation_by_name("Adam/update_layer/w/ApplyAdam")
    assert [t.name for t in apply.inputs[:9]] == [
        "layer/w:0", "layer/w/Adam:0", "layer/w/Adam_1:0", "beta1_power/read:0",
        "beta2_power/read:0", "Adam/learning_rate:0", "Adam/beta1:0", "Adam/beta2:0",
        "Adam/epsilon:0",
    ]  # fmt: skip
    assert apply.get_attr("_class") == [b"loc:@layer/w"]
    assert graph.get_operation_by_name("layer/w/Adam/Initializer/zeros").type == "Const"


def test_second_optimizer_of_a_kind_has_slots_of_its_own():
    w = tf.Variable([1.0], name="w")
    first, second = tf.train.AdamOptimizer(), tf.train.AdamOptimizer()
    first.minimize(tf.reduce_sum(w))
    second.minimize(tf.reduce_sum(w))
    assert [v.op.name for v in second.variables()] == [
        "beta1_power_1", "beta2_power_1", "w/Adam_2", "w/Adam_3",
    ]  # fmt: skip
    assert [v.op.name for v in first.variables()] == [
        "beta1_power", "beta2_power", "w/Adam", "w/Adam_1",
    ]  # fmt: skip


def test_sparse_hooks_of_a_subclass_get_each_row_once():
    class Rows(tf.train.Optimizer):
        def __init__(self):
            super().__init__(False, "Rows")

        def _apply_sparse(self, grad, var):
            return tf.scatter_update(var, grad.indices, grad.values)

        def _resource_apply_sparse(self, grad, var, indices):
            return tf.scatter_update(var, indices, grad)

    for use_resource in (False, True):
        w = tf.Variable(np.zeros((4, 1), np.float32), use_resource=use_resource)
        grad = tf.IndexedSlices(tf.ones([3, 1]), tf.constant([2, 0, 2]))
        step = Rows().apply_gradients([(grad, w)])
        with tf.Session() as session:
            session.run(w.initializer)
            session.run(step)
            assert session.run(w).ravel().tolist() == [1, 0, 2, 0]


@pytest.mark.parametrize(
    ("make", "error", "words"),
    [
        (lambda o, v, c: o.minimize(c), ValueError, "No gradients provided for any variable"),
        (lambda o, v, c: o.minimize(tf.constant(1)), ValueError, "Invalid type tf.int32 for"),
        (lambda o, v, c: o.apply_gradients([]), ValueError, "No variables provided"),
        (lambda o, v, c: o.apply_gradients([(None, v)]), ValueError, "No gradients provided"),
        (lambda o, v, c: o.compute_gradients(v, gate_gradients=5), ValueError, "Not 5"),
        (lambda o, v, c: o.minimize(v * v, var_list=[]), ValueError, "No variables to optimize"),
        (lambda o, v, c: o.apply_gradients([(c, c)]), NotImplementedError, "update a Tensor"),
        (lambda o, v, c: tf.train.MomentumOptimizer(1, 1, name=""), ValueError, "name"),
        (lambda o, v, c: tf.train.AdagradOptimizer(1.0, 0.0), ValueError, "must be positive"),
        (lambda o, v, c: tf.train.FtrlOptimizer(1.0, 1.0), ValueError, "negative or zero"),
    ],
)
def test_what_is_refused(make, error, words):
    v, c = tf.Variable(3.0), tf.constant(1.0)
    with pytest.raises(error, match=words):
        make(tf.train.GradientDescentOptimizer(0.1), v, c)


def test_gradients_of_tensors_are_computed():
    x = tf.constant(2.0)
    ((g, t),) = tf.train.GradientDescentOptimizer(0.1).compute_gradients(x * x, [x])
    assert t is x
    with tf.Session() as session:
        assert session.run(g) == 4


def test_constraint_and_sparse_gradient_do_not_go_together():
    w = tf.get_variable("w", [3, 2], constraint=tf.abs)
    with pytest.raises(RuntimeError, match="Cannot use a constraint function on a sparse"):
        tf.train.GradientDescentOptimizer(0.1).minimize(tf.reduce_sum(tf.gather(w, [0])))
