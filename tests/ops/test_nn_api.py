"""The functions of `tf.nn`, clipping, ranking and `tf.losses`: nodes, shapes, errors, values.

Names of nodes and numbers are TensorFlow 2.21's (compat.v1).
"""

from __future__ import annotations

import numpy as np
import pytest

import headrace as tf

RUNS = 3


@pytest.fixture
def session():
    with tf.Session() as session:
        yield session


@pytest.fixture
def x():
    return tf.placeholder(tf.float32, [2, 3], "x")


@pytest.fixture
def y():
    return tf.placeholder(tf.float32, [2, 3], "y")


def made_by(build):
    """(name, type, inputs) of what a function adds to the graph."""
    graph = tf.get_default_graph()
    before = len(graph.get_operations())
    build()
    return [
        (o.name, o.type, [t.name.removesuffix(":0") for t in o.inputs])
        for o in graph.get_operations()[before:]
    ]


def nodes(build):
    """The same without constants, as text."""
    return [
        f"{name} {kind} {' '.join(inputs)}"
        for name, kind, inputs in made_by(build)
        if kind != "Const"
    ]


# -- nodes -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("function", "kind"),
    [
        (tf.nn.relu, "Relu"), (tf.nn.relu6, "Relu6"), (tf.nn.elu, "Elu"), (tf.nn.selu, "Selu"),
        (tf.nn.softplus, "Softplus"), (tf.nn.softsign, "Softsign"), (tf.nn.softmax, "Softmax"),
        (tf.nn.log_softmax, "LogSoftmax"), (tf.nn.leaky_relu, "LeakyRelu"),
        (tf.nn.l2_loss, "L2Loss"),
    ],
)  # fmt: skip
def test_an_activation_is_one_node(x, function, kind):
    assert nodes(lambda: function(x)) == [f"{kind} {kind} x"]
    assert nodes(lambda: function(x, name="h")) == [f"h {kind} x"]


def test_leaky_relu_keeps_its_slope(x):
    assert tf.nn.leaky_relu(x).op.get_attr("alpha") == pytest.approx(0.2)
    assert tf.nn.leaky_relu(x, 0.3).op.get_attr("alpha") == pytest.approx(0.3)
    assert tf.nn.leaky_relu(tf.constant([1, 2])).dtype == tf.float32


def test_nodes_of_crelu_and_log_sigmoid(x):
    assert nodes(lambda: tf.nn.crelu(x)) == [
        "CRelu/Neg Neg x",
        "CRelu ConcatV2 x CRelu/Neg CRelu/axis",
        "CRelu/Relu Relu CRelu",
    ]
    assert nodes(lambda: tf.math.log_sigmoid(x)) == [
        "LogSigmoid/Neg Neg x",
        "LogSigmoid/Softplus Softplus LogSigmoid/Neg",
        "LogSigmoid Neg LogSigmoid/Softplus",
    ]


def test_nodes_of_bias_add(x):
    b = tf.placeholder(tf.float32, [3], "b")
    assert nodes(lambda: tf.nn.bias_add(x, b)) == ["BiasAdd BiasAdd x b"]
    w = tf.placeholder(tf.float32, [3, 3], "w")
    assert nodes(lambda: tf.nn.xw_plus_b(x, w, b)) == [
        "xw_plus_b/MatMul MatMul x w",
        "xw_plus_b BiasAdd xw_plus_b/MatMul b",
    ]
    assert nodes(lambda: tf.nn.relu_layer(x, w, b, name="layer")) == [
        "layer/MatMul MatMul x w",
        "layer/BiasAdd BiasAdd layer/MatMul b",
        "layer Relu layer/BiasAdd",
    ]


def test_softmax_of_another_axis_swaps_it_with_the_last(x):
    made = made_by(lambda: tf.nn.softmax(x, axis=0, name="s"))
    assert [kind for _, kind, _ in made if kind in ("Transpose", "Softmax")] == [
        "Transpose", "Softmax", "Transpose",
    ]  # fmt: skip
    assert made[-1][0] == "s"
    assert nodes(lambda: tf.nn.softmax(x, dim=1)) == ["Softmax_1 Softmax x"]


def test_nodes_of_cross_entropies(x, y):
    loss = tf.nn.softmax_cross_entropy_with_logits(labels=x, logits=y)
    assert loss.name == "softmax_cross_entropy_with_logits_sg/Reshape_2:0"
    graph = tf.get_default_graph()
    inner = graph.get_operation_by_name("softmax_cross_entropy_with_logits_sg")
    assert inner.type == "SoftmaxCrossEntropyWithLogits"
    stopped = "softmax_cross_entropy_with_logits_sg/labels_stop_gradient"
    assert graph.get_operation_by_name(stopped).type == "StopGradient"
    second = tf.nn.softmax_cross_entropy_with_logits_v2(labels=x, logits=y)
    assert second.name == "softmax_cross_entropy_with_logits/Reshape_2:0"
    i = tf.placeholder(tf.int32, [2], "i")
    sparse = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=i, logits=x)
    assert sparse.name == (
        "SparseSoftmaxCrossEntropyWithLogits/SparseSoftmaxCrossEntropyWithLogits:0"
    )
    named = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=i, logits=x, name="xe")
    assert named.name == "xe/xe:0"


def test_nodes_of_sigmoid_cross_entropy(x, y):
    assert nodes(lambda: tf.nn.sigmoid_cross_entropy_with_logits(labels=x, logits=y)) == [
        "logistic_loss/GreaterEqual GreaterEqual y logistic_loss/zeros_like",
        "logistic_loss/Select Select logistic_loss/GreaterEqual y logistic_loss/zeros_like",
        "logistic_loss/Neg Neg y",
        "logistic_loss/Select_1 Select logistic_loss/GreaterEqual logistic_loss/Neg y",
        "logistic_loss/mul Mul y x",
        "logistic_loss/sub Sub logistic_loss/Select logistic_loss/mul",
        "logistic_loss/Exp Exp logistic_loss/Select_1",
        "logistic_loss/Log1p Log1p logistic_loss/Exp",
        "logistic_loss AddV2 logistic_loss/sub logistic_loss/Log1p",
    ]


def test_nodes_of_moments_and_batch_normalization(x):
    assert nodes(lambda: tf.nn.moments(x, [0])) == [
        "moments/mean Mean x moments/mean/reduction_indices",
        "moments/StopGradient StopGradient moments/mean",
        "moments/SquaredDifference SquaredDifference x moments/StopGradient",
        "moments/variance Mean moments/SquaredDifference moments/variance/reduction_indices",
        "moments/Squeeze Squeeze moments/mean",
        "moments/Squeeze_1 Squeeze moments/variance",
    ]
    b = tf.placeholder(tf.float32, [3], "b")
    assert nodes(lambda: tf.nn.batch_normalization(x, b, b, b, b, 1e-3)) == [
        "batchnorm/add AddV2 b batchnorm/add/y",
        "batchnorm/Rsqrt Rsqrt batchnorm/add",
        "batchnorm/mul Mul batchnorm/Rsqrt b",
        "batchnorm/mul_1 Mul x batchnorm/mul",
        "batchnorm/mul_2 Mul b batchnorm/mul",
        "batchnorm/sub Sub b batchnorm/mul_2",
        "batchnorm/add_1 AddV2 batchnorm/mul_1 batchnorm/sub",
    ]


def test_nodes_of_dropout(x):
    assert made_by(lambda: tf.nn.dropout(x, 0.5)) == [
        ("dropout/Const", "Const", []),
        ("dropout/Mul", "Mul", ["x", "dropout/Const"]),
        ("dropout/Shape", "Const", []),
        ("dropout/random_uniform/RandomUniform", "RandomUniform", ["dropout/Shape"]),
        ("dropout/GreaterEqual/y", "Const", []),
        ("dropout/GreaterEqual", "GreaterEqual",
         ["dropout/random_uniform/RandomUniform", "dropout/GreaterEqual/y"]),
        ("dropout/Const_1", "Const", []),
        ("dropout/SelectV2", "SelectV2",
         ["dropout/GreaterEqual", "dropout/Mul", "dropout/Const_1"]),
    ]  # fmt: skip
    rate = tf.placeholder(tf.float32, [], "rate")
    assert nodes(lambda: tf.nn.dropout(x, rate=rate, name="drop")) == [
        "drop/Sub Sub drop/Const rate",
        "drop/RealDiv RealDiv x drop/Sub",
        "drop/random_uniform/RandomUniform RandomUniform drop/Shape",
        "drop/GreaterEqual GreaterEqual drop/random_uniform/RandomUniform rate",
        "drop/SelectV2 SelectV2 drop/GreaterEqual drop/RealDiv drop/Const_1",
    ]
    assert tf.nn.dropout(x, keep_prob=1.0) is x
    assert tf.nn.dropout(x, rate=0.0) is x


def test_nodes_of_clipping(x, y):
    assert nodes(lambda: tf.clip_by_value(x, 0.0, 1.0)) == [
        "clip_by_value/Minimum Minimum x clip_by_value/Minimum/y",
        "clip_by_value Maximum clip_by_value/Minimum clip_by_value/y",
    ]
    clipped, norm = tf.clip_by_global_norm([x, None, y], 5.0)
    assert norm.name == "global_norm/global_norm:0"
    assert clipped[1] is None
    assert [clipped[0].name, clipped[2].name] == [
        "clip_by_global_norm/clip_by_global_norm/_0:0",
        "clip_by_global_norm/clip_by_global_norm/_2:0",
    ]
    assert tf.clip_by_norm(x, 2.0, name="c").name == "c:0"


# -- static shapes ---------------------------------------------------------------------------------


def test_static_shapes():
    p = tf.placeholder(tf.float32, [None, 3])
    unknown = tf.placeholder(tf.float32)
    assert tf.nn.softmax(p, axis=0).shape.as_list() == [None, 3]
    assert tf.nn.softmax_cross_entropy_with_logits(labels=p, logits=p).shape.as_list() == [None]
    assert tf.nn.softmax_cross_entropy_with_logits(
        labels=unknown, logits=unknown
    ).shape.ndims is None  # fmt: skip
    images = tf.placeholder(tf.float32, [2, None, 4, 3])
    assert tf.nn.softmax_cross_entropy_with_logits_v2(
        labels=images, logits=images, axis=1
    ).shape.as_list() == [2, 4, 3]
    assert tf.nn.bias_add(images, tf.zeros([3])).shape.as_list() == [2, None, 4, 3]
    assert tf.nn.bias_add(images, tf.zeros([5]), "NCHW").shape.as_list() == [2, 5, 4, 3]
    values, indices = tf.nn.top_k(p, 2)
    assert values.shape.as_list() == indices.shape.as_list() == [None, 2]
    assert tf.nn.top_k(p, tf.placeholder(tf.int32, [])).values.shape.as_list() == [None, None]
    assert tf.nn.in_top_k(p, tf.placeholder(tf.int32, [4]), 1).shape.as_list() == [4]
    assert tf.nn.dropout(p, 0.5).shape.as_list() == [None, 3]
    assert [t.shape.as_list() for t in tf.nn.moments(p, [0], keep_dims=True)] == [[1, 3]] * 2


# -- errors ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("build", "error", "words"),
    [
        (lambda: tf.nn.relu(True), TypeError, "has DataType bool not in list of allowed values"),
        (lambda: tf.nn.softmax([1, 2]), TypeError, "has DataType int32 not in list"),
        (lambda: tf.nn.softmax(3.0), ValueError, "Shape must be at least rank 1 but is rank 0"),
        (lambda: tf.nn.softmax(tf.zeros([2, 3]), axis=2), tf.errors.InvalidArgumentError,
         r"`dim` must be in the range \[-2, 2\)"),
        (lambda: tf.nn.softmax(tf.zeros([2]), axis=0, dim=0), ValueError, "Cannot specify both"),
        (lambda: tf.nn.bias_add(tf.zeros([3]), tf.zeros([3])), ValueError,
         "Shape must be at least rank 2 but is rank 1 for 'BiasAdd'"),
        (lambda: tf.nn.bias_add(tf.zeros([2, 3]), tf.zeros([4])), ValueError,
         r"Dimensions must be equal, but are 3 and 4 .* input shapes: \[2,3\], \[4\]"),
        (lambda: tf.nn.bias_add(tf.zeros([2, 3]), tf.zeros([3]), "foo"), ValueError,
         "Received: data_format=foo"),
        (lambda: tf.nn.softmax_cross_entropy_with_logits(tf.zeros([1, 2]), tf.zeros([1, 2])),
         ValueError, "with named arguments"),
        (lambda: tf.nn.sparse_softmax_cross_entropy_with_logits(logits=[[1.0]]), ValueError,
         "Both `labels` and `logits` must be provided"),
        (lambda: tf.nn.softmax_cross_entropy_with_logits(
            logits=tf.zeros([2, 3]), labels=tf.zeros([2, 4])),
         ValueError, "Dimensions must be equal, but are 3 and 4"),
        (lambda: tf.nn.sparse_softmax_cross_entropy_with_logits(
            logits=tf.zeros([2, 3]), labels=[0, 1, 2]),
         ValueError, "must equal `logits.shape` except for the last dimension"),
        (lambda: tf.nn.sparse_softmax_cross_entropy_with_logits(
            logits=tf.zeros([2, 3]), labels=[[0, 1]]),
         ValueError, "`labels.shape.rank` must equal `logits.shape.rank - 1`"),
        (lambda: tf.nn.sparse_softmax_cross_entropy_with_logits(logits=3.0, labels=0),
         ValueError, "`logits` cannot be a scalar"),
        (lambda: tf.nn.sparse_softmax_cross_entropy_with_logits(
            logits=tf.zeros([2, 3]), labels=[0.0, 1.0]),
         TypeError, "'labels' has DataType float32 not in list of allowed values: int32, int64"),
        (lambda: tf.nn.sigmoid_cross_entropy_with_logits(
            logits=tf.zeros([2]), labels=tf.zeros([3])),
         ValueError, r"must have the same shape, received \(\(2,\) vs \(3,\)\)"),
        (lambda: tf.nn.dropout(tf.zeros([2]), keep_prob=0.0), ValueError,
         r"in the range \[0, 1\). Received: rate=1.0"),
        (lambda: tf.nn.dropout(tf.zeros([2])), ValueError, "`rate` must be provided"),
        (lambda: tf.nn.dropout(tf.zeros([2]), 0.5, rate=0.5), ValueError,
         "Cannot specify both 'keep_prob' and 'rate'"),
        (lambda: tf.nn.dropout(tf.constant([1]), 0.5), ValueError, "must be a floating point"),
        (lambda: tf.nn.dropout(tf.zeros([2]), rate=tf.zeros([2])), ValueError,
         r"Shape \(2,\) must have rank 0"),
        (lambda: tf.nn.top_k(tf.zeros([2, 3]), 4), ValueError,
         "input must have last dimension >= k = 4 but is 3"),
        (lambda: tf.nn.top_k(tf.zeros([2, 3]), -1), ValueError, "must be non-negative but is -1"),
        (lambda: tf.nn.in_top_k(tf.zeros([2, 3]), [0], 1), ValueError,
         "Dimensions must be equal, but are 2 and 1"),
        (lambda: tf.clip_by_value(tf.zeros([1]), tf.zeros([3]), 1.0), ValueError,
         r"Shapes \(1,\) and \(3,\) are incompatible"),
        (lambda: tf.clip_by_global_norm(tf.zeros([1]), 1.0), TypeError,
         "`t_list` should be a sequence of tensors"),
        (lambda: tf.sort([1.0], direction="UP"), ValueError, "one of 'ASCENDING' or 'DESCENDING'"),
        (lambda: tf.losses.mean_squared_error(tf.zeros([2]), tf.zeros([3])), ValueError,
         r"Shapes \(3,\) and \(2,\) are incompatible"),
        (lambda: tf.losses.mean_squared_error(None, tf.zeros([3])), ValueError,
         "`labels` must not be None"),
        (lambda: tf.losses.mean_squared_error([1.0], [1.0], reduction="foo"), ValueError,
         "Invalid Reduction Key foo"),
        (lambda: tf.losses.mean_squared_error([[1.0]], [[1.0]], weights=[1.0]), ValueError,
         "weights can not be broadcast to values. values.rank=2. weights.rank=1."),
        (lambda: tf.losses.cosine_distance([1.0], [1.0]), ValueError, "specify argument `axis`"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_when_built(build, error, words):
    with pytest.raises(error, match=words):
        build()


def test_a_label_out_of_range_stops_the_run(session, x):
    labels = tf.placeholder(tf.int32, [None])
    loss = tf.nn.sparse_softmax_cross_entropy_with_logits(labels=labels, logits=x)
    good = {labels: [0, 2], x: np.zeros((2, 3))}
    for _ in range(RUNS):
        session.run(loss, good)
        with pytest.raises(
            tf.errors.InvalidArgumentError,
            match=r"Received a label value of 7 which is outside the valid range of \[0, 3\).  "
            "Label values: 0 7",
        ):
            session.run(loss, {**good, labels: [0, 7]})


def test_shapes_fed_are_checked_in_the_run(session):
    p, q = tf.placeholder(tf.float32), tf.placeholder(tf.float32)
    labels = tf.placeholder(tf.int32)
    for fetch, feeds, words in (
        (tf.nn.bias_add(p, q), {p: np.zeros((2, 3)), q: np.zeros(1)}, "as many biases as the last"),
        (tf.nn.bias_add(p, q), {p: np.zeros(3), q: np.zeros(3)}, "must be at least 2D"),
        (
            tf.nn.softmax_cross_entropy_with_logits(logits=p, labels=q),
            {p: np.zeros((2, 3)), q: np.zeros((3, 3))},
            "logits and labels must be broadcastable",
        ),
        (
            tf.nn.sparse_softmax_cross_entropy_with_logits(logits=p, labels=labels),
            {p: np.zeros((2, 3)), labels: [0, 1, 2]},
            "Condition x == y did not hold element-wise",
        ),
        (tf.nn.top_k(p, 4), {p: np.zeros((2, 3))}, "at least k columns. Had 3, needed 4"),
    ):
        for _ in range(RUNS):
            with pytest.raises(tf.errors.InvalidArgumentError, match=words):
                session.run(fetch, feeds)


# -- values ----------------------------------------------------------------------------------------


def test_softmax_along_each_axis(session):
    a = np.random.RandomState(0).randn(2, 3, 4)
    for axis in (-3, -2, -1, 0, 1, 2):
        e = np.exp(a)
        want = e / e.sum(axis, keepdims=True)
        got, log = session.run([tf.nn.softmax(a, axis), tf.nn.log_softmax(a, axis)])
        np.testing.assert_allclose(got, want, rtol=1e-12)
        np.testing.assert_allclose(log, np.log(want), rtol=1e-12)


def test_cross_entropies_of_many_axes(session):
    rng = np.random.RandomState(0)
    logits, classes = rng.randn(2, 3, 4), rng.randint(4, size=(2, 3))
    want = -np.log(np.exp(logits) / np.exp(logits).sum(-1, keepdims=True))
    want = np.take_along_axis(want, classes[..., None], -1)[..., 0]
    hot = np.eye(4)[classes]
    got = session.run([
        tf.nn.sparse_softmax_cross_entropy_with_logits(labels=classes, logits=logits),
        tf.nn.softmax_cross_entropy_with_logits(labels=hot, logits=logits),
        tf.nn.softmax_cross_entropy_with_logits(
            labels=hot.swapaxes(1, 2), logits=logits.swapaxes(1, 2), dim=1
        ),
    ])  # fmt: skip
    for one in got:
        np.testing.assert_allclose(one, want, rtol=1e-12)


def test_labels_get_a_gradient_only_from_the_second_version(x, y):
    first = tf.nn.softmax_cross_entropy_with_logits(labels=x, logits=y)
    assert tf.gradients(first, x) == [None]
    second = tf.nn.softmax_cross_entropy_with_logits_v2(labels=x, logits=y)
    assert tf.gradients(second, x)[0].shape.as_list() == [2, 3]


def test_half_precision_is_worked_out_in_single(session):
    logits = tf.constant([[1.0, 2.0]], tf.float16)
    for loss in (
        tf.nn.softmax_cross_entropy_with_logits(
            labels=tf.constant([[1.0, 0.0]], tf.float16), logits=logits
        ),
        tf.nn.sparse_softmax_cross_entropy_with_logits(labels=[0], logits=logits),
    ):
        assert loss.dtype == tf.float16
        assert session.run(loss) == pytest.approx(1.3133, abs=1e-3)


def test_clipping(session):
    pair = [tf.constant([3.0, 4.0]), None, tf.constant([0.0])]
    clipped, norm = tf.clip_by_global_norm(pair, 1.0)
    (a, _, b), n = session.run([[clipped[0], tf.no_op(), clipped[2]], norm])
    np.testing.assert_allclose(a, [0.6, 0.8], rtol=1e-6)
    np.testing.assert_array_equal(b, [0.0])
    assert n == 5
    np.testing.assert_allclose(session.run(tf.clip_by_norm(pair[0], 10.0)), [3, 4], rtol=1e-6)
    np.testing.assert_allclose(session.run(tf.clip_by_norm(pair[0], 1.0)), [0.6, 0.8], rtol=1e-6)
    assert np.isnan(session.run(tf.clip_by_global_norm([tf.constant(np.inf)], 1.0)[0])).all()
    zero = tf.constant([0.0, 0.0])
    np.testing.assert_array_equal(
        session.run(tf.gradients(tf.clip_by_norm(zero, 1.0), zero)[0]), [1, 1]
    )


def test_rankings(session):
    values, indices = session.run(tf.nn.top_k([[1.0, 3.0, 3.0], [2.0, 2.0, 1.0]], 2))
    np.testing.assert_array_equal(values, [[3, 3], [2, 2]])
    np.testing.assert_array_equal(indices, [[1, 2], [0, 1]])
    a = np.random.RandomState(0).permutation(12).reshape(3, 4)
    for kind in (np.int32, np.float64, np.uint8, np.int8):
        b = a.astype(kind)
        for axis in (0, 1, -1):
            up, down, order = session.run([
                tf.sort(b, axis), tf.sort(b, axis, "DESCENDING"), tf.argsort(b, axis),
            ])  # fmt: skip
            np.testing.assert_array_equal(up, np.sort(b, axis))
            np.testing.assert_array_equal(down, np.flip(np.sort(b, axis), axis))
            np.testing.assert_array_equal(order, np.argsort(b, axis))
    smallest = np.array([3, -128, 127], np.int8)
    np.testing.assert_array_equal(session.run(tf.sort(smallest)), [-128, 3, 127])
    matrix = tf.math.confusion_matrix([0, 1, 2, 1], [0, 2, 2, 1])
    np.testing.assert_array_equal(session.run(matrix), [[1, 0, 0], [0, 1, 1], [0, 0, 1]])
    bad = tf.math.confusion_matrix(tf.placeholder_with_default([0, 3], [2]), [0, 1], num_classes=2)
    with pytest.raises(tf.errors.InvalidArgumentError, match="`labels` out of bound"):
        session.run(bad)


def test_moments_of_any_axes(session):
    a = np.random.RandomState(0).randn(3, 4, 5)
    for axes in ([0], [1, 2], [0, 1, 2], [-1]):
        mean, variance = session.run(tf.nn.moments(tf.constant(a), axes))
        np.testing.assert_allclose(mean, a.mean(tuple(axes)), rtol=1e-10, atol=1e-12)
        np.testing.assert_allclose(variance, a.var(tuple(axes)), rtol=1e-10)
    statistics = tf.nn.sufficient_statistics(tf.constant(a), [0, 2])
    mean, variance = session.run(tf.nn.normalize_moments(*statistics))
    np.testing.assert_allclose(mean, a.mean((0, 2)), rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(variance, a.var((0, 2)), rtol=1e-8)


# -- losses ----------------------------------------------------------------------------------------

LABELS = np.array([[0.2, 0.9, 0.4], [0.6, 0.1, 0.8]])
GUESSES = np.array([[0.3, 0.7, 0.5], [0.2, 0.2, 0.9]])
WEIGHTS = np.array([[0.0], [2.0]])


@pytest.mark.parametrize(
    ("reduction", "want"),
    [
        ("none", lambda e, w: e * w),
        ("weighted_sum", lambda e, w: (e * w).sum()),
        ("weighted_mean", lambda e, w: (e * w).sum() / (w * np.ones_like(e)).sum()),
        ("weighted_sum_over_batch_size", lambda e, w: (e * w).sum() / e.size),
        ("weighted_sum_by_nonzero_weights",
         lambda e, w: (e * w).sum() / ((w != 0) * np.ones_like(e)).sum()),
    ],
)  # fmt: skip
@pytest.mark.parametrize("weights", [1.0, 2.5, WEIGHTS, np.ones((2, 3)), 0.0])
def test_reductions(session, reduction, want, weights):
    squares = (LABELS - GUESSES) ** 2
    with np.errstate(invalid="ignore"):
        expected = want(squares, np.asarray(weights))
    expected = np.where(np.isnan(expected), 0.0, expected)  # 0 / 0 is no loss
    unknown = tf.placeholder_with_default(np.asarray(weights, np.float32), None)
    for given in (weights, unknown):
        loss = tf.losses.mean_squared_error(LABELS, GUESSES, given, reduction=reduction)
        np.testing.assert_allclose(session.run(loss), expected, rtol=1e-5, atol=1e-7)


def test_each_loss(session):
    apart = np.abs(LABELS - GUESSES)
    huber = np.where(apart < 0.15, apart**2 / 2, 0.15 * apart - 0.15**2 / 2)
    signs, logits = np.array([[1, -1], [-1, 1]]), np.array([[0.5, 2.0], [-3.0, 0.25]])
    classes = (signs + 1) // 2
    e = np.exp(logits)
    pairs = [
        ((a[i] - a[j]) ** 2) for a in GUESSES - LABELS for i in range(3) for j in range(3) if i != j
    ]
    for loss, want in (
        (tf.losses.absolute_difference(LABELS, GUESSES), apart.mean()),
        (tf.losses.huber_loss(LABELS, GUESSES, delta=0.15), huber.mean()),
        (
            tf.losses.log_loss(LABELS, GUESSES),
            -(LABELS * np.log(GUESSES) + (1 - LABELS) * np.log(1 - GUESSES)).mean(),
        ),
        (tf.losses.hinge_loss(classes, logits), np.maximum(0, 1 - signs * logits).mean()),
        (
            tf.losses.sigmoid_cross_entropy(classes, logits),
            np.log1p(np.exp(-signs * logits)).mean(),
        ),
        (
            tf.losses.softmax_cross_entropy(classes, logits),
            -np.log((e * classes).sum(1) / e.sum(1)).mean(),
        ),
        (
            tf.losses.sparse_softmax_cross_entropy([[0], [1]], logits),
            -np.log(np.diag(e) / e.sum(1)).mean(),
        ),
        (
            tf.losses.cosine_distance(LABELS, GUESSES, axis=1),
            (1 - (LABELS * GUESSES).sum(1)).mean(),
        ),
        (tf.losses.mean_pairwise_squared_error(LABELS, GUESSES), np.sum(pairs) / 6),
    ):
        assert session.run(loss) == pytest.approx(want, rel=1e-5)


def test_losses_are_collected(session):
    a = tf.losses.mean_squared_error([1.0], [3.0], scope="a")
    b = tf.losses.absolute_difference([1.0], [3.0], weights=0.5, scope="b")
    tf.losses.mean_squared_error([1.0], [3.0], loss_collection=None)
    assert tf.losses.get_losses() == [a, b]
    assert tf.losses.get_losses("b") == [b]
    assert a.name == "a/value:0"
    tf.add_to_collection(tf.GraphKeys.REGULARIZATION_LOSSES, tf.constant(10.0))
    total = tf.losses.get_total_loss()
    assert (total.op.type, total.name) == ("AddN", "total_loss:0")
    assert session.run(total) == 15
    assert session.run(tf.losses.get_total_loss(add_regularization_losses=False)) == 5
    assert session.run(tf.losses.get_regularization_loss()) == 10
    with tf.Graph().as_default():
        assert tf.losses.get_losses() == []
        assert tf.losses.get_regularization_loss().name == "Const:0"
