"""The same building program gives the same graph in headrace and in TensorFlow: node by node, its
name, type, inputs and attributes. And the same static shapes, as far as they are known.
"""

import numpy as np
import pytest

# TensorFlow's own hints to itself, new since TensorFlow 1.
NEW_ATTRIBUTES = {
    "_has_manual_control_dependencies",
    "allowed_devices",
    "bad_indices_policy",
    "debug_name",
    "grad_a",
    "grad_b",
}


@pytest.fixture
def assert_same_graph(hr, tf):
    """Builds with build(module) in both, and compares the graphs' nodes in order."""

    def attribute(value):
        value = tf.AttrValue.FromString(value.SerializeToString())
        if value.WhichOneof("value") == "tensor":  # there are several ways to write one down
            array = tf.make_ndarray(value.tensor)
            return array.dtype, array.shape, array.tolist()
        return str(value)

    def nodes(module, build):
        with module.Graph().as_default() as graph:
            build(module)
        return [
            (
                node.name,
                node.op,
                list(node.input),
                {
                    key: attribute(node.attr[key])
                    for key in sorted(node.attr)
                    if key not in NEW_ATTRIBUTES
                },
            )
            for node in graph.as_graph_def().node
        ]

    def run(build):
        ours, theirs = nodes(hr, build), nodes(tf, build)
        assert [node[:2] for node in ours] == [node[:2] for node in theirs]
        for our_node, their_node in zip(ours, theirs, strict=True):
            assert our_node == their_node

    return run


# The operands of the expressions. The default graph holds all of them, before what is built.

OPERANDS = {
    "x": lambda tf: tf.placeholder(tf.float32, (None, 3), name="x"),
    "y": lambda tf: tf.placeholder(tf.float32, (None, 3), name="y"),
    "m": lambda tf: tf.placeholder(tf.float32, (3, 3), name="m"),
    "s": lambda tf: tf.placeholder(tf.float32, (), name="s"),
    "i": lambda tf: tf.placeholder(tf.int32, (None,), name="i"),
    "b": lambda tf: tf.placeholder(tf.bool, (None, 3), name="b"),
    "t": lambda tf: tf.placeholder(tf.float32, (None, 4, None), name="t"),
    "u": lambda tf: tf.placeholder(tf.float32, name="u"),
    "v": lambda tf: tf.Variable([0.0, 0.0], name="v"),
}

EXPRESSIONS = [
    # constants
    "tf.constant(1.0)",
    "tf.constant([1, 2, 3])",
    "tf.constant(np.ones((4, 4)))",
    "tf.constant(0.0, shape=(2, 3))",
    'tf.constant("a")',
    'tf.constant(["a", "b"])',
    "tf.constant(True)",
    'tf.constant(1, tf.float64, name="named")',
    # placeholders
    "tf.placeholder(tf.float32)",
    "tf.placeholder(tf.int64, ())",
    "tf.placeholder(tf.string, (None,))",
    "tf.placeholder_with_default(1.0, ())",
    'tf.placeholder_with_default([1.0, 2.0], (None,), name="given")',
    # filled
    "tf.zeros((2, 3))",
    "tf.ones((2,), tf.int32)",
    "tf.zeros_like(x)",
    "tf.ones_like(x)",
    "tf.zeros_like(m)",
    "tf.ones_like(m, dtype=tf.int32)",
    "tf.fill([2, 3], 7.0)",
    "tf.zeros(tf.shape(x))",
    "tf.range(5)",
    "tf.range(1.0, 3.0, 0.5)",
    "tf.eye(3)",
    # arithmetic
    "x + y",
    "x - 1",
    "2 * x",
    "x / y",
    "1 / x",
    "x // 2",
    "x % 2",
    "x ** 2",
    "2 ** x",
    "-x",
    "abs(x)",
    "i / 2",
    "i // 2",
    "m @ m",
    # named arithmetic
    'tf.add(x, y, name="sum")',
    "tf.subtract(x, y)",
    "tf.multiply(x, y)",
    "tf.divide(x, y)",
    "tf.div(i, 2)",
    "tf.truediv(x, y)",
    "tf.floordiv(x, y)",
    "tf.mod(x, y)",
    "tf.pow(x, y)",
    "tf.maximum(x, 0.0)",
    "tf.minimum(x, y)",
    "tf.squared_difference(x, y)",
    "tf.add_n([x, y])",
    "tf.negative(x)",
    # comparisons
    "x < 1",
    "x <= y",
    "x > y",
    "x >= 0",
    "tf.equal(x, y)",
    "tf.not_equal(i, 3)",
    "tf.less(x, y)",
    "tf.logical_and(b, b)",
    "tf.logical_or(b, True)",
    "tf.logical_not(b)",
    "b & b",
    "b | b",
    "~b",
    "tf.logical_xor(b, b)",
    # elementwise
    "tf.exp(x)",
    "tf.log(x)",
    "tf.log1p(x)",
    "tf.expm1(x)",
    "tf.sqrt(x)",
    "tf.rsqrt(x)",
    "tf.square(x)",
    "tf.sin(x)",
    "tf.cos(x)",
    "tf.tan(x)",
    "tf.asin(x)",
    "tf.acos(x)",
    "tf.atan(x)",
    "tf.sinh(x)",
    "tf.cosh(x)",
    "tf.tanh(x)",
    "tf.sigmoid(x)",
    "tf.abs(x)",
    "tf.sign(x)",
    "tf.floor(x)",
    "tf.ceil(x)",
    "tf.round(x)",
    "tf.reciprocal(x)",
    "tf.erf(x)",
    "tf.lgamma(x)",
    "tf.digamma(x)",
    "tf.is_nan(x)",
    "tf.is_inf(x)",
    "tf.is_finite(x)",
    # activations
    "tf.nn.relu(x)",
    "tf.nn.relu6(x)",
    "tf.nn.elu(x)",
    "tf.nn.selu(x)",
    "tf.nn.softplus(x)",
    "tf.nn.softsign(x)",
    "tf.nn.sigmoid(x)",
    "tf.nn.tanh(x)",
    "tf.nn.leaky_relu(x)",
    "tf.nn.softmax(x)",
    "tf.nn.log_softmax(x)",
    "tf.nn.crelu(x)",
    "tf.log_sigmoid(x)",
    # reductions
    "tf.reduce_sum(x)",
    "tf.reduce_mean(x, 0)",
    "tf.reduce_max(x, axis=1)",
    "tf.reduce_min(x, [0, 1])",
    "tf.reduce_prod(x, -1, keepdims=True)",
    "tf.reduce_all(b)",
    "tf.reduce_any(b, 1)",
    "tf.reduce_logsumexp(x, 1)",
    "tf.reduce_sum(u)",
    "tf.argmax(x, 1)",
    "tf.argmin(x, 0, output_type=tf.int32)",
    "tf.cumsum(x, 1, exclusive=True)",
    "tf.cumprod(x)",
    "tf.norm(x)",
    "tf.norm(x, axis=1)",
    # products
    "tf.matmul(x, m)",
    "tf.matmul(x, y, transpose_b=True)",
    "tf.matmul(t, t, transpose_a=True)",
    "tf.matmul(u, u)",
    "tf.tensordot(x, m, 1)",
    "tf.tensordot(x, m, [[1], [0]])",
    "tf.matrix_band_part(m, -1, 0)",
    "tf.matrix_transpose(m)",
    "tf.trace(m)",
    "tf.diag(i)",
    "tf.matrix_diag(x)",
    "tf.matrix_diag_part(m)",
    # shapes
    "tf.shape(x)",
    "tf.shape(m)",
    "tf.shape(x, out_type=tf.int64)",
    "tf.size(x)",
    "tf.size(m)",
    "tf.rank(x)",
    "tf.rank(u)",
    "tf.reshape(x, (-1,))",
    "tf.reshape(x, [tf.shape(x)[0], 3, 1])",
    "tf.expand_dims(x, 1)",
    "tf.squeeze(tf.expand_dims(x, 1), 1)",
    "tf.squeeze(u)",
    "tf.transpose(x)",
    "tf.transpose(t, [2, 0, 1])",
    "tf.transpose(u)",
    # joining and splitting
    "tf.concat([x, y], 0)",
    'tf.concat([x, y, x], axis=-1, name="joined")',
    "tf.concat([x], 0)",
    "tf.stack([s, 1.0])",
    "tf.stack([x, y], 1)",
    "tf.unstack(m)",
    "tf.unstack(x, axis=1)",
    "tf.split(m, 3)",
    "tf.split(x, [1, 2], 1)",
    "tf.tile(x, [2, 1])",
    "tf.pad(x, [[1, 1], [0, 2]])",
    'tf.pad(x, [[1, 1], [0, 2]], "REFLECT")',
    "tf.pad(x, [[1, 1], [0, 2]], constant_values=3.0)",
    "tf.reverse(x, [0])",
    # slicing
    "x[0]",
    "x[:, 1]",
    "x[1:3, ::2]",
    "x[..., -1]",
    "x[:, tf.newaxis]",
    "x[i[0]:]",
    "t[:, 1:, None, 0]",
    "m[::-1]",
    "tf.slice(x, [0, 1], [-1, 2])",
    "tf.strided_slice(x, [0], [2])",
    # gathering
    "tf.gather(x, i)",
    "tf.gather(x, [0, 2], axis=1)",
    "tf.gather_nd(x, [[0, 1]])",
    "tf.scatter_nd(i[:, None], x, [10, 3])",
    "tf.one_hot(i, 5)",
    "tf.one_hot(i, 5, on_value=2.0, off_value=-1.0, axis=0)",
    "tf.boolean_mask(x, b)",
    "tf.where(b)",
    "tf.where(b, x, y)",
    "tf.unique(i)",
    "tf.nn.embedding_lookup(x, i)",
    "tf.nn.top_k(x, 2)",
    "tf.nn.in_top_k(x, i, 1)",
    "tf.sequence_mask(i, 5)",
    "tf.dynamic_stitch([[0], [1]], [x, y])",
    "tf.dynamic_partition(x, i, 2)",
    # casts
    "tf.cast(x, tf.int32)",
    "tf.cast(x, tf.float32)",
    "tf.to_float(i)",
    "tf.to_int32(x)",
    "tf.identity(x)",
    "tf.stop_gradient(x)",
    "tf.saturate_cast(x, tf.uint8)",
    "tf.bitcast(x, tf.int32)",
    # clipping
    "tf.clip_by_value(x, -1.0, 1.0)",
    "tf.clip_by_norm(x, 2.0)",
    "tf.clip_by_global_norm([x, y], 5.0)[0]",
    "tf.global_norm([x, y])",
    # losses
    "tf.nn.sigmoid_cross_entropy_with_logits(labels=x, logits=y)",
    "tf.nn.softmax_cross_entropy_with_logits_v2(labels=x, logits=y)",
    "tf.nn.softmax_cross_entropy_with_logits(labels=x, logits=y)",
    "tf.nn.sparse_softmax_cross_entropy_with_logits(labels=i, logits=y)",
    "tf.nn.weighted_cross_entropy_with_logits(targets=x, logits=y, pos_weight=2.0)",
    "tf.nn.l2_loss(x)",
    "tf.nn.l2_normalize(x, 1)",
    "tf.nn.moments(x, [0])",
    "tf.nn.bias_add(x, tf.zeros((3,)))",
    "tf.nn.xw_plus_b(x, m, tf.zeros((3,)))",
    # random
    "tf.random_uniform((2, 3))",
    "tf.random_uniform([tf.shape(x)[0], 2], -1, 1, seed=3)",
    "tf.random_uniform((4,), maxval=5, dtype=tf.int32)",
    "tf.random_normal((2,), 1.0, 2.0, seed=4)",
    "tf.truncated_normal((2,))",
    "tf.random_shuffle(x)",
    "tf.multinomial(x, 2)",
    # seeded random
    "[tf.set_random_seed(7), tf.random_uniform((2, 3))]",
    "[tf.set_random_seed(7), tf.random_normal((2,))]",
    "[tf.set_random_seed(7), tf.truncated_normal((2,), seed=1)]",
    # dropout
    "tf.nn.dropout(x, 0.5, seed=1)",
    "tf.nn.dropout(x, rate=0.25)",
    "tf.nn.dropout(x, s)",
    "tf.nn.dropout(x, 0.5, noise_shape=[tf.shape(x)[0], 1])",
    # control
    "tf.no_op()",
    "tf.group(x, y)",
    'tf.group(x.op, name="all")',
    "tf.tuple([x, y])",
    'tf.Print(x, [x, y], "values:", first_n=2, summarize=5)',
    'tf.check_numerics(x, "bad")',
    # ref variables
    "tf.Variable(1.0)",
    'tf.Variable([1, 2], name="v", trainable=False)',
    'tf.Variable(tf.random_uniform((2, 3)), name="w", dtype=tf.float32)',
    'tf.Variable(lambda: tf.zeros((2,)), name="f", dtype=tf.float32)',
    "tf.Variable(np.zeros((2, 2)))",
    # get_variable
    'tf.get_variable("glorot", (2, 3))',
    'tf.get_variable("zeros", (2,), initializer=tf.zeros_initializer())',
    'tf.get_variable("ones", (2,), initializer=tf.ones_initializer())',
    'tf.get_variable("constant", (2,), initializer=tf.constant_initializer(0.5))',
    'tf.get_variable("uniform", (2,), initializer=tf.random_uniform_initializer(-1, 1))',
    'tf.get_variable("normal", (2,), initializer=tf.random_normal_initializer(seed=1))',
    'tf.get_variable("cut", (2,), initializer=tf.truncated_normal_initializer())',
    'tf.get_variable("scaled", (2, 3), initializer=tf.variance_scaling_initializer())',
    'tf.get_variable("ints", (2,), tf.int32)',
    'tf.get_variable("given", initializer=tf.ones((2, 2)))',
    'tf.get_variable("number", initializer=3.0)',
    # resource variables
    'tf.get_variable("r", (2, 3), use_resource=True) + 1',
    'tf.Variable(1.0, use_resource=True, name="s").assign_add(2.0)',
    # assignments
    "v.assign([1.0, 2.0])",
    "v.assign_add([1.0, 2.0])",
    "tf.assign_sub(v, [1.0, 2.0], use_locking=True)",
    "v + 1",
    "v[0]",
    "v.read_value()",
    "tf.scatter_add(v, [0], [1.0])",
    "tf.scatter_update(v, [1], [1.0])",
    "tf.is_variable_initialized(v)",
    "tf.gather(v, i)",
    "tf.global_variables_initializer()",
]


@pytest.mark.parametrize("expression", EXPRESSIONS)
def test_expression(assert_same_graph, expression):
    def build(tf):
        operands = {name: make(tf) for name, make in OPERANDS.items()}
        eval(expression, {"tf": tf, "np": np, **operands})

    assert_same_graph(build)


# Scopes, dependencies, devices


def scopes(tf):
    x = tf.placeholder(tf.float32, (None, 3), name="x")
    for _ in range(2):
        with tf.name_scope("outer"):
            x = tf.identity(x, name="inner")
            with tf.name_scope("deeper", values=[x]):
                x = x + 1
            with tf.variable_scope("vars", reuse=tf.AUTO_REUSE) as scope:
                x = x @ tf.get_variable("w", (3, 3))
    with tf.variable_scope(scope, reuse=True):
        x = x * tf.get_variable("w", (3, 3))
    with tf.variable_scope(scope, auxiliary_name_scope=False):
        tf.identity(x)
    for _ in range(2):
        with tf.variable_scope(None, "block"):
            tf.get_variable("v", (3,))
            tf.reduce_sum(x)
    with tf.name_scope(None):
        tf.constant(1)
    with tf.name_scope("outer/"):
        tf.constant(1)


def dependencies(tf):
    a, b = tf.constant(1.0, name="a"), tf.constant(2.0, name="b")
    with tf.control_dependencies([a, b]):
        c = tf.identity(a)
        v = tf.Variable(3.0)
        with tf.control_dependencies([c]):
            d = a + b
        with tf.control_dependencies(None):
            tf.constant(4.0)
    with tf.control_dependencies([d.op, v.initializer]):
        tf.no_op(name="end")
    with tf.colocate_with(a):
        tf.constant(5.0)
    with tf.colocate_with(v):
        tf.constant(6.0)


def devices(tf):
    with tf.device("/cpu:0"):
        v = tf.Variable(1.0)
        with tf.device("/job:ps/task:3"):
            tf.constant(1.0)
        with tf.device(None):
            tf.constant(2.0)
    with tf.device(lambda op: "/gpu:1" if op.type == "Const" else "/cpu:0"):
        _ = v + 1.0


def lecture(tf):
    x = tf.placeholder(tf.float32, (None, 10))
    w = tf.Variable(tf.random_uniform((10, 20)), name="w")
    z = x @ w
    return tf.reduce_mean((z - 1) ** 2)


def perceptron(tf):
    x = tf.placeholder(tf.float32, (None, 784), name="X")
    y = tf.placeholder(tf.int32, (None,), name="y")

    def layer(inputs, size, name, activation=None):
        with tf.name_scope(name):
            n = int(inputs.get_shape()[1])
            stddev = 2 / np.sqrt(n)
            init = tf.truncated_normal((n, size), stddev=stddev)
            w = tf.Variable(init, name="weights")
            b = tf.Variable(tf.zeros([size]), name="biases")
            z = tf.matmul(inputs, w) + b
            return activation(z) if activation else z

    with tf.name_scope("dnn"):
        h = layer(x, 30, "hidden1", tf.nn.relu)
        h = layer(h, 20, "hidden2", tf.nn.relu)
        logits = layer(h, 10, "outputs")
    with tf.name_scope("loss"):
        entropy = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=y, logits=logits)
        loss = tf.reduce_mean(entropy, name="loss")
    with tf.name_scope("eval"):
        correct = tf.nn.in_top_k(logits, y, 1)
        tf.reduce_mean(tf.cast(correct, tf.float32))
    return loss


@pytest.mark.parametrize("build", [scopes, dependencies, devices, lecture, perceptron])
def test_forward_graph(assert_same_graph, build):
    assert_same_graph(build)


# Training graphs: the nodes of the gradients may differ, what people find by name may not.

OPTIMIZERS = {
    "GradientDescent": lambda tf: tf.train.GradientDescentOptimizer(0.1),
    "Momentum": lambda tf: tf.train.MomentumOptimizer(0.1, 0.9),
    "Adagrad": lambda tf: tf.train.AdagradOptimizer(0.1),
    "Adadelta": lambda tf: tf.train.AdadeltaOptimizer(0.1),
    "RMSProp": lambda tf: tf.train.RMSPropOptimizer(0.1),
    "centered RMSProp": lambda tf: tf.train.RMSPropOptimizer(0.1, centered=True),
    "Adam": lambda tf: tf.train.AdamOptimizer(0.1),
    "Ftrl": lambda tf: tf.train.FtrlOptimizer(0.1),
}


def found_by_name(tf, build, optimizer):
    loss = build(tf)
    global_step = tf.train.get_or_create_global_step()
    step = OPTIMIZERS[optimizer](tf).minimize(loss, global_step)
    init = tf.global_variables_initializer()
    graph = tf.get_default_graph()
    stateful = {"VariableV2", "Assign", "AssignAdd"}
    return [
        step.name,
        init.name,
        sorted(op.name for op in init.control_inputs),
        [(v.name, str(v.shape), v.dtype.name, v.initializer.name) for v in tf.global_variables()],
        [v.name for v in tf.trainable_variables()],
        [op.name for op in graph.get_operations() if op.type in stateful],
        [op.name for op in graph.get_operations() if op.type.startswith("Apply")],
        sorted(graph.get_all_collection_keys()),
    ]


@pytest.mark.parametrize("optimizer", OPTIMIZERS)
@pytest.mark.parametrize("build", [lecture, perceptron])
def test_what_is_found_by_name_in_a_training_graph(assert_alike, build, optimizer):
    assert_alike(found_by_name, build, optimizer)


def gradient_names(tf):
    x = tf.placeholder(tf.float32, (None, 3), name="x")
    w = tf.get_variable("w", (3, 2))
    with tf.name_scope("loss"):
        loss = tf.reduce_mean(tf.nn.relu(tf.matmul(x, w)) ** 2)
    (dw,) = tf.gradients(loss, w)
    (dx,) = tf.gradients(loss, x, name="by_x")
    return [dw.name, dw.op.type, str(dw.shape), dx.name, dx.op.type, str(dx.shape)]


def test_names_of_gradients(assert_alike):
    assert_alike(gradient_names)


# TensorFlow takes over a graph that headrace has built, gradients and all, and trains on with it.


def test_tensorflow_trains_on_a_graph_of_headrace(hr, tf):
    with hr.Graph().as_default() as ours:
        hr.set_random_seed(3)
        hr.train.AdamOptimizer().minimize(perceptron(hr))
        hr.global_variables_initializer()
    graph_def = tf.GraphDef.FromString(ours.as_graph_def().SerializeToString())
    with tf.Graph().as_default() as theirs:
        tf.import_graph_def(graph_def, name="")

    rng = np.random.RandomState(0)
    feed = {"X:0": rng.rand(16, 784), "y:0": rng.randint(10, size=16)}
    losses = []
    for session in (hr.Session(graph=ours), tf.Session(graph=theirs)):
        with session:
            session.run("init")
            losses.append([session.run(["loss/loss:0", "Adam"], feed)[0] for _ in range(5)])
    np.testing.assert_allclose(*losses, rtol=1e-5)


# Static shapes


# p, i and b make placeholders of a shape, of float32, int32 and bool; p_any and i_any have no known
# rank.

SHAPED = [
    # broadcasting
    "p(None, 3) + p(3)",
    "p(None, 3) + p(None, 1)",
    "p(None, 1) * p(1, None)",
    "p(2, None) - p(None, None)",
    "p(None, 3) + p(5, 1, 3)",
    "p(None) / p(4)",
    "p(None) < p(1)",
    "p(2, 3) ** 2",
    "p_any + p(3)",
    "tf.maximum(p(None, 3), 0.0)",
    "tf.where(b(None, 3), p(2, None), p(None, 3))",
    "tf.where(b(None), p(4, 3), p(4, 3))",
    "tf.where(b(None, 3))",
    "tf.add_n([p(None, 3), p(2, None)])",
    # products
    "tf.matmul(p(None, 3), p(3, 4))",
    "tf.matmul(p(3, None), p(3, 4), transpose_a=True)",
    "tf.matmul(p(None, None), p(None, None))",
    "tf.matmul(p(None, 2, 3), p(7, 3, 4))",
    "tf.matmul(p(7, 2, 3), p(7, None, 3), transpose_b=True)",
    "tf.matmul(p_any, p(3, 4))",
    "tf.matmul(p_any, p_any)",
    "tf.tensordot(p(None, 3), p(3, 4, 5), 1)",
    "tf.tensordot(p(2, 3, 4), p(4, 3, 5), [[1, 2], [1, 0]])",
    "tf.tensordot(p(None, 2, 3), p(3, 5), [[2], [0]])",
    'tf.einsum("bij,bjk->bik", p(None, 2, 3), p(None, 3, 4))',
    'tf.einsum("ij->ji", p(None, 3))',
    'tf.einsum("bi,bi->b", p(None, 3), p(None, 3))',
    # reductions
    "tf.reduce_sum(p(None, 3))",
    "tf.reduce_sum(p(None, 3), 0)",
    "tf.reduce_sum(p(None, 3), -1)",
    "tf.reduce_mean(p(None, 3, 4), [0, 2])",
    "tf.reduce_mean(p(None, 3, 4), 1, keepdims=True)",
    "tf.reduce_max(p(2, 3), i())",
    "tf.reduce_max(p(2, 3), i(1), keepdims=True)",
    "tf.reduce_sum(p_any, 0)",
    "tf.reduce_sum(p_any)",
    "tf.reduce_logsumexp(p(None, 3), 1)",
    "tf.argmax(p(None, 3), 1)",
    "tf.argmin(p(None, 3), i())",
    "tf.cumsum(p(None, 3), 1)",
    "tf.nn.moments(p(None, 3), [0])",
    "tf.nn.moments(p(None, 3, 4), [1, 2], keep_dims=True)",
    "tf.nn.l2_loss(p(None))",
    "tf.norm(p(None, 3), axis=1)",
    # reshaping
    "tf.reshape(p(None, 3), (-1,))",
    "tf.reshape(p(4, 3), (-1, 2))",
    "tf.reshape(p(None, 4), (-1, 2))",
    "tf.reshape(p(None, 4), (2, -1))",
    "tf.reshape(p(None, 4), tf.shape(p(None, 2)))",
    "tf.reshape(p(None, 4), i(3))",
    "tf.reshape(p(None, 4), i_any)",
    "tf.reshape(p(None, 4), tf.stack([tf.shape(p(None, 4))[0], 2, -1]))",
    "tf.reshape(p(None, 4), [-1])",
    "tf.expand_dims(p(None, 3), 0)",
    "tf.expand_dims(p(None, 3), -1)",
    "tf.expand_dims(p(None, 3), i())",
    "tf.squeeze(p(None, 1, 3))",
    "tf.squeeze(p(2, 1, 3))",
    "tf.squeeze(p(None, 1, 3), 1)",
    "tf.squeeze(p(None, 1, 3), [0, -2])",
    "tf.transpose(p(None, 3, 4))",
    "tf.transpose(p(None, 3, 4), (1, 0, 2))",
    "tf.transpose(p(None, 3, 4), i(3))",
    "tf.transpose(p_any)",
    "tf.transpose(p_any, (1, 0))",
    "tf.tile(p(None, 3), (2, 2))",
    "tf.tile(p(None, 3), i(2))",
    "tf.pad(p(None, 3), ((1, 1), (2, 0)))",
    'tf.pad(p(4, 3), ((1, 1), (2, 0)), "SYMMETRIC")',
    "tf.pad(p(4, 3), i(2, 2))",
    "tf.reverse(p(None, 3), [1])",
    "tf.broadcast_to(p(1, 3), (4, 3))",
    "tf.roll(p(None, 3), 1, 0)",
    # joining and splitting
    "tf.concat([p(None, 3), p(2, 3)], 0)",
    "tf.concat([p(2, 3), p(4, 3)], 0)",
    "tf.concat([p(None, 3), p(5, 4)], 1)",
    "tf.concat([p(None, 3), p(None, None)], -1)",
    "tf.concat([p(2, 3), p(2, 3)], i())",
    "tf.concat([p_any, p(2, 3)], 0)",
    "tf.stack([p(None, 3), p(2, None)])",
    "tf.stack([p(None, 3), p(2, None)], 1)",
    "tf.stack([p(3), p(3)], -1)",
    "tf.unstack(p(2, None))",
    "tf.unstack(p(None, 2, 3), axis=1)",
    "tf.unstack(p(None, 3), 2)",
    "tf.split(p(4, None), 2)",
    "tf.split(p(None, 6), 3, 1)",
    "tf.split(p(None, 6), [1, 5], 1)",
    "tf.split(p(None, 6), [1, -1], 1)",
    "tf.split(p(None, 6), 2)",
    # indexing
    "p(None, 3)[0]",
    "p(None, 3)[:, 1:]",
    "p(None, 3)[2:]",
    "p(5, 3)[1:-1]",
    "p(5, 3)[::2, ::-1]",
    "p(5, None)[..., 0]",
    "p(5, 3)[tf.newaxis, ..., tf.newaxis]",
    "p(5, 3)[i()]",
    "p(5, 3)[i():]",
    "p_any[0]",
    "p_any[..., 0]",
    "tf.slice(p(None, 3), [0, 1], [-1, 2])",
    "tf.slice(p(5, 3), [1, 0], [-1, -1])",
    "tf.slice(p(5, 3), i(2), [2, 2])",
    "tf.slice(p(5, 3), [0, 0], i(2))",
    "tf.gather(p(5, 3), i(None, 2))",
    "tf.gather(p(5, None), i(), axis=1)",
    "tf.gather(p(5, 3), i_any)",
    "tf.gather(p(5, 3, 4), [0, 1], axis=1)",
    "tf.gather_nd(p(5, 3, 4), i(None, 2))",
    "tf.gather_nd(p(5, 3, 4), i(None, None))",
    "tf.scatter_nd(i(None, 1), p(None, 3), (7, 3))",
    "tf.one_hot(i(None), 5)",
    "tf.one_hot(i(None, 2), 5, axis=0)",
    "tf.one_hot(i(2), i())",
    "tf.boolean_mask(p(None, 3), b(None))",
    "tf.boolean_mask(p(4, 3), b(4, 3))",
    "tf.unique(p(None))",
    "tf.nn.embedding_lookup(p(5, 3), i(None, 4))",
    "tf.nn.top_k(p(None, 5), 2)",
    "tf.nn.in_top_k(p(None, 5), i(3), 2)",
    "tf.sequence_mask(i(None), 5)",
    "tf.sequence_mask(i(3))",
    "tf.dynamic_partition(p(None, 3), i(None), 2)",
    # made from numbers
    "tf.shape(p(None, 3))",
    "tf.shape(p_any)",
    "tf.size(p(None, 3))",
    "tf.rank(p(None, 3))",
    "tf.zeros(tf.shape(p(None, 3)))",
    "tf.zeros_like(p(None, 3))",
    "tf.ones([tf.shape(p(None, 3))[0], 4])",
    "tf.fill(i(2), 1.0)",
    "tf.fill(tf.shape(p(None, 3))[1:], 1.0)",
    "tf.fill(tf.concat([tf.shape(p(None, 3)), [7]], 0), 1.0)",
    "tf.fill(tf.shape(p(2, 3)) * 2, 1.0)",
    "tf.fill(tf.cast(tf.shape(p(None, 3), out_type=tf.int64), tf.int32), 1.0)",
    "tf.range(5)",
    "tf.range(1, 10, 3)",
    "tf.range(i())",
    "tf.range(tf.shape(p(None, 3))[1])",
    "tf.linspace(0.0, 1.0, 5)",
    "tf.eye(3)",
    "tf.random_uniform((2, 3))",
    "tf.random_normal([tf.shape(p(None, 3))[0], 4])",
    "tf.truncated_normal(i(3))",
    "tf.random_shuffle(p(None, 3))",
    "tf.multinomial(p(None, 5), 2)",
    # networks
    "tf.nn.softmax(p(None, 3))",
    "tf.nn.log_softmax(p(None, 4, 3))",
    "tf.nn.bias_add(p(None, 3), p(3))",
    "tf.nn.dropout(p(None, 3), 0.5)",
    "tf.nn.l2_normalize(p(None, 3), 1)",
    "tf.nn.softmax_cross_entropy_with_logits_v2(labels=p(None, 3), logits=p(None, 3))",
    "tf.nn.sparse_softmax_cross_entropy_with_logits(labels=i(None), logits=p(5, 3))",
    "tf.nn.sparse_softmax_cross_entropy_with_logits(labels=i(None, None), logits=p(None, 7, 3))",
    "tf.nn.sigmoid_cross_entropy_with_logits(labels=p(None, 3), logits=p(None, 3))",
    "tf.clip_by_value(p(None, 3), -1.0, 1.0)",
    "tf.clip_by_norm(p(None, 3), 1.0)",
    "tf.py_func(lambda x: x, [p(None, 3)], tf.float32)",
    "tf.identity(p(None, 3))",
    "tf.cast(p(None, 3), tf.int64)",
    "tf.matrix_diag(p(None, 3))",
    "tf.matrix_diag_part(p(None, 3, 4))",
    "tf.diag(p(3))",
    "tf.matrix_transpose(p(None, 3, 4))",
    'tf.placeholder_with_default(np.zeros((2, 3), "float32"), (None, 3))',
    'tf.get_variable("v", (2, 3)).assign(p(2, 3))',
    "tf.gradients(tf.reduce_sum(p(2, 3) @ (w := p(3, 4))), w)",
]


def static_shapes(tf, expression):
    def placeholders(dtype):
        return lambda *shape: tf.placeholder(dtype, shape)

    names = {
        "tf": tf,
        "np": np,
        "p_any": tf.placeholder("float32"),
        "i_any": tf.placeholder("int32"),
    }
    names |= {"p": placeholders("float32"), "i": placeholders("int32"), "b": placeholders("bool")}
    results = eval(expression, names)
    results = results if isinstance(results, list | tuple) else [results]
    return [(str(t.shape), t.dtype.name) for t in results]


@pytest.mark.parametrize("expression", SHAPED)
def test_static_shape(assert_alike, expression):
    assert_alike(static_shapes, expression)
