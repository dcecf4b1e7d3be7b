"""The public functions on shapes, joining, slicing and gathering: names, static shapes, errors."""

from __future__ import annotations

import re

import numpy as np
import pytest

import headrace as tf


@pytest.fixture(autouse=True)
def graph():
    with tf.Graph().as_default() as g:
        yield g


def nodes(graph):
    return [(o.name, o.type) for o in graph.get_operations() if o.type != "Placeholder"]


def names(graph):
    return [o.name for o in graph.get_operations() if o.type != "Placeholder"]


def floats(*shape):
    return tf.placeholder(tf.float32, shape)


def run(fetches, feeds=None, times=1):
    """What the last of several runs gives: from the second on XLA has a say."""
    with tf.Session() as session:
        for _ in range(times):
            result = session.run(fetches, feeds)
    return result


# -- names, as TensorFlow 2.21 (compat.v1) gives them ----------------------------------------------


@pytest.mark.parametrize(
    ("build", "expected"),
    [
        (lambda x, u, v, i: tf.shape(x), ["Shape"]),
        (lambda x, u, v, i: tf.reshape(u, [i, -1]),
         ["Reshape/shape/1", "Reshape/shape", "Reshape"]),
        (lambda x, u, v, i: tf.reshape(x[0, 0], []),
         ["strided_slice/stack", "strided_slice/stack_1", "strided_slice/stack_2", "strided_slice",
          "Reshape/shape", "Reshape/shape_1", "Reshape"]),
        (lambda x, u, v, i: tf.transpose(v),
         ["transpose/Rank", "transpose/sub/y", "transpose/sub", "transpose/Range/limit",
          "transpose/Range/delta", "transpose/Range", "transpose"]),
        (lambda x, u, v, i: tf.concat([x, [[1, 2, 3]]], 0),
         ["concat/values_1", "concat/axis", "concat"]),
        (lambda x, u, v, i: tf.concat([x], 0), ["concat/concat_dim", "concat/concat"]),
        (lambda x, u, v, i: tf.stack([i, 2]), ["stack/1", "stack"]),
        (lambda x, u, v, i: tf.convert_to_tensor([[i, 1], [2, 3]]),
         ["packed/0/1", "packed/0", "packed/1_1", "packed"]),
        (lambda x, u, v, i: tf.split(u, [1, 2], 1), ["Const", "split/split_dim", "split"]),
        (lambda x, u, v, i: tf.zeros([2, 3]), ["zeros"]),
        (lambda x, u, v, i: tf.zeros([2000]), ["zeros/shape_as_tensor", "zeros/Const", "zeros"]),
        (lambda x, u, v, i: tf.zeros([i, 3]),
         ["zeros/packed/1", "zeros/packed", "zeros/Const", "zeros"]),
        (lambda x, u, v, i: tf.ones_like(x),
         ["ones_like/Shape/shape_as_tensor", "ones_like/Const", "ones_like"]),
        (lambda x, u, v, i: tf.range(tf.cast(i, tf.int64)),
         ["Cast", "range/start", "range/delta", "range/Cast", "range/Cast_1", "range"]),
        (lambda x, u, v, i: x[i],
         ["add/y", "add", "strided_slice/stack", "strided_slice/stack_1", "strided_slice/stack_2",
          "strided_slice"]),
        (lambda x, u, v, i: x[:i],
         ["Const", "Const_1", "strided_slice/stack", "strided_slice/stack_1",
          "strided_slice/stack_2", "strided_slice"]),
        (lambda x, u, v, i: tf.gather(x, [0]), ["GatherV2/indices", "GatherV2/axis", "GatherV2"]),
        (lambda x, u, v, i: tf.one_hot(i, 3),
         ["one_hot/on_value", "one_hot/off_value", "one_hot/depth", "one_hot"]),
        (lambda x, u, v, i: tf.nn.embedding_lookup(x, [0]),
         ["embedding_lookup/ids", "embedding_lookup/axis", "embedding_lookup",
          "embedding_lookup/Identity"]),
    ],
)  # fmt: skip
def test_names_of_nodes(graph, build, expected):
    i = tf.placeholder(tf.int32, [])
    build(floats(2, 3), floats(None, 3), tf.placeholder(tf.float32), i)
    assert names(graph) == expected


def test_boolean_mask_is_built_as_in_tensorflow(graph):
    tf.boolean_mask(floats(None, 3), tf.placeholder(tf.bool, [None]))
    kinds = [kind for _, kind in nodes(graph)]
    assert [k for k in kinds if k != "Const"] == [
        "Shape", "StridedSlice", "Prod", "Shape", "StridedSlice", "Shape", "StridedSlice", "Pack",
        "ConcatV2", "Reshape", "Reshape", "Where", "Squeeze", "GatherV2",
    ]  # fmt: skip


def test_masks_of_a_strided_slice():
    x = floats(2, 3, 4)
    assert {k: v for k, v in x[1, None, ..., ::2].op.attrs.items() if k.endswith("mask")} == {
        "begin_mask": 8, "end_mask": 8, "ellipsis_mask": 4, "new_axis_mask": 2,
        "shrink_axis_mask": 1,
    }  # fmt: skip


# -- static shapes ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("build", "expected"),
    [
        (lambda x, u, v, i: tf.reshape(x, [-1, 1]), [6, 1]),
        (lambda x, u, v, i: tf.reshape(u, [tf.shape(u)[0], 3, 1]), [None, 3, 1]),
        (lambda x, u, v, i: tf.zeros([i, 3]), [None, 3]),
        (lambda x, u, v, i: tf.zeros([tf.shape(x)[0], i]), [2, None]),
        (lambda x, u, v, i: tf.fill(tf.shape(u), 0.0), [None, 3]),
        (lambda x, u, v, i: tf.concat([x, u], 1), [2, 6]),
        (lambda x, u, v, i: tf.concat([x, u], 0), [None, 3]),
        (lambda x, u, v, i: tf.stack([x, u], 1), [2, 2, 3]),
        (lambda x, u, v, i: tf.tile(x, [i, 2]), [None, 6]),
        (lambda x, u, v, i: tf.pad(x, [[0, 0], [i, 1]]), [2, None]),
        (lambda x, u, v, i: u[1:], [None, 3]),
        (lambda x, u, v, i: u[:, ::2], [None, 2]),
        (lambda x, u, v, i: x[i:, 1:], [None, 2]),
        (lambda x, u, v, i: u[..., None, 0], [None, 1]),
        (lambda x, u, v, i: tf.slice(u, [0, 1], [-1, -1]), [None, 2]),
        (lambda x, u, v, i: tf.gather(u, [[0, 1]], axis=1), [None, 1, 2]),
        (lambda x, u, v, i: tf.expand_dims(u, -1), [None, 3, 1]),
        (lambda x, u, v, i: tf.range(2, 11, 3), [3]),
        (lambda x, u, v, i: tf.where(u > 0), [None, 2]),
        (lambda x, u, v, i: tf.boolean_mask(x, [True, False]), [None, 3]),
        (lambda x, u, v, i: tf.broadcast_to(1.0, [i, 2]), [None, 2]),
        (lambda x, u, v, i: tf.sequence_mask(tf.shape(u), 7), [2, 7]),
        (lambda x, u, v, i: tf.one_hot(tf.cast(u, tf.int32), 5, axis=0), [5, None, 3]),
        (lambda x, u, v, i: tf.unstack(u, axis=1)[0], [None]),
        (lambda x, u, v, i: tf.transpose(u), [3, None]),
        (lambda x, u, v, i: tf.ensure_shape(v, [None, 3]), [None, 3]),
    ],
)  # fmt: skip
def test_static_shapes(build, expected):
    i = tf.placeholder(tf.int32, [])
    made = build(floats(2, 3), floats(None, 3), tf.placeholder(tf.float32), i)
    assert made.shape.as_list() == expected


def test_unknown_ranks_stay_unknown():
    v = tf.placeholder(tf.float32)
    for made in (v[0], tf.squeeze(v), tf.transpose(v), tf.reshape(v, tf.shape(v)), v[..., None]):
        assert made.shape.ndims is None


def test_an_unknown_size_is_not_equal_to_a_number():
    """Folding must not make a False of what nobody knows."""
    n = tf.shape(floats(None, 3))[0]
    assert run(tf.equal(n, 5), {n: 5}) is np.True_


# -- errors ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda x: tf.reshape(x, [4, 2]),
         "Cannot reshape a tensor with 6 elements to shape [4,2] (8 elements) for 'Reshape'"),
        (lambda x: tf.reshape(x, [4, -1]), "Dimension size must be evenly divisible by 4 but is 6"),
        (lambda x: tf.transpose(x, [0]), "Dimension must be 2 but is 1"),
        (lambda x: tf.transpose(x, [0, 2]), "perm dim 2 is out of range of input rank 2"),
        (lambda x: tf.expand_dims(x, 3), "dim 3 not in the interval [-3, 2]."),
        (lambda x: tf.squeeze(x, [0]),
         "Can not squeeze dim[0], expected a dimension of 1, got 2"),
        (lambda x: tf.concat([x, tf.zeros([2, 4])], 0),
         "Dimension 0 in both shapes must be equal, but are 3 and 4. Shapes are [3] and [4]."),
        (lambda x: tf.concat([x, tf.zeros([2])], 0), "Shape must be rank 2 but is rank 1"),
        (lambda x: tf.stack([x, tf.zeros([3])]),
         "Shapes must be equal rank, but are 2 and 1\n\tFrom merging shape 0 with other shapes."),
        (lambda x: tf.stack([x, x], 5), "Argument `axis` = 5 not in range [-3, 3)"),
        (lambda x: tf.unstack(tf.placeholder(tf.float32, [None, 3])),
         "Cannot infer argument `num` from shape (?, 3)"),
        (lambda x: tf.split(x, 2, 1), "Dimension size must be evenly divisible by 2 but is 3"),
        (lambda x: tf.split(x, [1, 1], 1), "can't split axis of size 3 into pieces of size [1,1]"),
        (lambda x: tf.range(5, 0), "Requires start <= limit when delta > 0: 5/0"),
        (lambda x: x[5], "slice index 5 of dimension 0 out of bounds."),
        (lambda x: x[-3], "slice index -1 of dimension 0 out of bounds."),
        (lambda x: x[0, 0, 0], "Index out of range using input dim 2; input has only 2 dims"),
        (lambda x: x[::0], "strides[0] must be non-zero"),
        (lambda x: x[..., ...], "Multiple ellipses in slice spec not allowed"),
        (lambda x: tf.constant(1.0)[0], "Attempting to slice scalar input."),
        (lambda x: tf.where(x > 0, x, 1.0), "Shapes must be equal rank, but are 2 and 0"),
        (lambda x: tf.where(x > 0, x), "x and y must both be non-None or both be None."),
        (lambda x: tf.boolean_mask(x, [True] * 3), "Shapes (2,) and (3,) are incompatible"),
        (lambda x: tf.boolean_mask(x, True), "mask cannot be scalar."),
        (lambda x: tf.unique(x), "Shape must be rank 1 but is rank 2"),
        (lambda x: tf.gather(x, [0], axis=3), "Shape must be at least rank 4 but is rank 2"),
        (lambda x: tf.pad(x, [[1, 1]] * 2, mode="FOO"), "Received `mode` = FOO"),
        (lambda x: tf.broadcast_static_shape(x.shape, tf.TensorShape([4])),
         "Incompatible shapes for broadcasting."),
    ],
)  # fmt: skip
def test_shapes_that_clash_are_refused_when_built(graph, build, message):
    x = floats(2, 3)
    with pytest.raises(ValueError, match=re.escape(message)):
        build(x)
    assert not [name for name, kind in nodes(graph) if kind not in ("Const", "Greater")]


@pytest.mark.parametrize("index", ["a", 1.0, [0.5]])
def test_wrong_indices_are_type_errors(index):
    with pytest.raises(TypeError, match="Only integers, slices"):
        floats(2, 3)[index]


def test_one_hot_refuses_two_types():
    with pytest.raises(TypeError, match="on_value does not match dtype"):
        tf.one_hot([1], 3, on_value=1, off_value=0.0)


@pytest.mark.parametrize("times", [1, 4])
@pytest.mark.parametrize(
    ("build", "feed", "message"),
    [
        (lambda x, i: tf.reshape(x, i), [4, 2],
         "Input to reshape is a tensor with 6 values, but the requested shape has 8"),
        (lambda x, i: x[i[0]], [5], "slice index 5 of dimension 0 out of bounds."),
        (lambda x, i: tf.gather(x, [i]), [7], "indices[0,0] = 7 is not in [0, 2)"),
        (lambda x, i: tf.gather(x, i), [-1], "indices[0] = -1 is not in [0, 2)"),
        (lambda x, i: tf.gather_nd(x, [i]), [0, 5],
         "indices[0] = [0, 5] does not index into param shape [2,3]"),
        (lambda x, i: tf.scatter_nd([i], [1.0], [3]), [5],
         "indices[0] = [5] does not index into shape [3]"),
        (lambda x, i: tf.slice(x, i, [1, 1]), [3, 0], "Expected begin[0] in [0, 2], but got 3"),
        (lambda x, i: tf.nn.embedding_lookup(x, i), [9], "indices[0] = 9 is not in [0, 2)"),
    ],
)  # fmt: skip
def test_what_only_the_feeds_show_is_refused_in_the_run(build, feed, message, times):
    x, i = tf.placeholder(tf.float32), tf.placeholder(tf.int32, [None])
    y = build(x, i)
    feeds = {x: np.arange(6.0).reshape(2, 3), i: np.array(feed)}
    with tf.Session() as session:
        for _ in range(times):
            with pytest.raises(tf.errors.InvalidArgumentError) as error:
                session.run(y, feeds)
            assert message in str(error.value)


# -- values ----------------------------------------------------------------------------------------


def test_everything_that_brackets_take():
    a = np.arange(24.0, dtype=np.float32).reshape(2, 3, 4)
    x, i = tf.constant(a), tf.placeholder(tf.int32, [])
    mask = a[:, :, 0] > 5
    ys = [
        x[1], x[-1, ..., 2], x[:, 1:, ::-1], x[None, 0, :, None], x[i], x[:, i, i:], x[mask],
        x[i : i + 1, :2], x[np.int64(1)], x[tf.constant(1, tf.int64)], x[...], x[:, :, -2:],
    ]  # fmt: skip
    found = run(ys, {i: 1}, times=3)
    expected = [
        a[1], a[-1, ..., 2], a[:, 1:, ::-1], a[None, 0, :, None], a[1], a[:, 1, 1:], a[mask],
        a[1:2, :2], a[1], a[1], a, a[:, :, -2:],
    ]  # fmt: skip
    for f, e in zip(found, expected, strict=True):
        np.testing.assert_array_equal(f, e)


def test_a_gathers_gradient_is_of_rows():
    w = tf.Variable(np.ones((5, 2), np.float32))
    ids = tf.placeholder(tf.int32, [None, 2])
    (g,) = tf.gradients(tf.nn.embedding_lookup(w, ids), [w])
    assert isinstance(g, tf.IndexedSlices)
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        found = session.run(g, {ids: [[0, 4], [4, 1]]})
        dense = session.run(tf.convert_to_tensor(g), {ids: [[0, 4], [4, 1]]})
    np.testing.assert_array_equal(found.indices, [0, 4, 4, 1])
    np.testing.assert_array_equal(found.values, np.ones((4, 2)))
    np.testing.assert_array_equal(found.dense_shape, [5, 2])
    np.testing.assert_array_equal(dense, [[1, 1], [1, 1], [0, 0], [0, 0], [2, 2]])


def test_rows_pass_on_through_arithmetic():
    w = tf.Variable(np.ones((3, 2), np.float32))
    (g,) = tf.gradients(tf.gather(w * 3.0, [0, 2, 2]), [w])
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        np.testing.assert_array_equal(session.run(g), [[3, 3], [0, 0], [6, 6]])


@pytest.mark.parametrize("strategy", ["mod", "div"])
def test_an_embedding_in_parts(strategy):
    whole = np.arange(10.0, dtype=np.float32).reshape(5, 2)
    parts = {"mod": [whole[::2], whole[1::2]], "div": [whole[:3], whole[3:]]}[strategy]
    tables = [tf.constant(p) for p in parts]
    ids = np.array([[4, 0], [3, 1]], np.int32)
    rows = tf.nn.embedding_lookup(tables, ids, partition_strategy=strategy)
    assert rows.shape.as_list() == [2, 2, 2]
    grads = tf.gradients(rows, tables)
    found, dense = run([rows, [tf.convert_to_tensor(g) for g in grads]], times=3)
    np.testing.assert_array_equal(found, whole[ids])
    assert sum(d.sum() for d in dense) == 8


def test_an_embedding_of_bounded_norm():
    rows = tf.nn.embedding_lookup(np.array([[3.0, 4.0], [0.3, 0.4]]), [0, 1], max_norm=1.0)
    np.testing.assert_allclose(run(rows), [[0.6, 0.8], [0.3, 0.4]])


def test_partition_and_stitch_are_inverse():
    x, parts = tf.placeholder(tf.float64, [None]), tf.placeholder(tf.int32, [None])
    places = tf.dynamic_partition(tf.range(tf.size(parts)), parts, 3)
    y = tf.dynamic_stitch(places, tf.dynamic_partition(x * x, parts, 3))
    (g,) = tf.gradients(y, [x])
    feeds = {x: [1.0, 2.0, 3.0], parts: [2, 0, 2]}
    a, b = run([y, g], feeds, times=3)
    np.testing.assert_array_equal(a, [1, 4, 9])
    np.testing.assert_array_equal(b, [2, 4, 6])


def test_unique_is_a_named_tuple():
    found = run(tf.unique([b"b", b"a", b"b"]))
    assert found.y.tolist() == [b"b", b"a"]
    assert found.idx.tolist() == [0, 1, 0]
    assert tf.unique_with_counts([1]).count.dtype is tf.int32


def test_zeros_of_every_type():
    for dtype, zero in ((tf.bool, False), (tf.string, b""), (tf.int8, 0), (tf.complex64, 0)):
        for shape in ([2], [2000]):
            z = tf.zeros(shape, dtype)
            assert z.dtype is dtype
            assert run(z)[0] == zero
    assert run(tf.zeros([0])).shape == (0,)
    assert run(tf.zeros([])) == 0


def test_old_spellings():
    x = floats(2, 1)
    assert tf.expand_dims(x, dim=0).shape.as_list() == [1, 2, 1]
    assert tf.squeeze(x, squeeze_dims=[1]).shape.as_list() == [2]
    assert tf.reverse_v2(x, [0]).shape.as_list() == [2, 1]
    assert tf.concat(axis=1, values=[x, x]).shape.as_list() == [2, 2]
    assert tf.reverse_sequence(x, [1, 1], seq_dim=1, batch_dim=0).shape.as_list() == [2, 1]
    with pytest.raises(ValueError, match="Cannot specify both"):
        tf.expand_dims(x, 0, dim=0)


def test_grids_masks_and_steps():
    a, b = run(tf.meshgrid([1, 2], [3, 4, 5]))
    expected = np.meshgrid([1, 2], [3, 4, 5])
    np.testing.assert_array_equal([a, b], expected)
    c, d = run(tf.meshgrid([1, 2], [3, 4, 5], indexing="ij"))
    np.testing.assert_array_equal([c, d], np.meshgrid([1, 2], [3, 4, 5], indexing="ij"))
    mask = run(tf.sequence_mask([[1, 0], [3, 2]], dtype=tf.int32))
    np.testing.assert_array_equal(mask, [[[1, 0, 0], [0, 0, 0]], [[1, 1, 1], [1, 1, 0]]])
    np.testing.assert_array_equal(run(tf.repeat([1, 2, 3], [1, 0, 2])), [1, 3, 3])
    np.testing.assert_array_equal(run(tf.repeat([[1, 2]], 2, axis=1)), [[1, 1, 2, 2]])
    np.testing.assert_array_equal(run(tf.linspace(0.0, 1.0, 3)), [0, 0.5, 1])
    np.testing.assert_array_equal(run(tf.searchsorted([1.0, 2.0, 3.0], [2.0, 0.0, 9.0])), [1, 0, 3])


def test_gathers_in_batches():
    a = np.arange(12).reshape(2, 3, 2)
    found = run(
        [
            tf.batch_gather(a, [[2, 0], [1, 1]]),
            tf.gather_nd(a, [[[2, 0]], [[1, 1]]], batch_dims=1),
            tf.gather_nd(a, tf.constant([[2], [0]]), batch_dims=1),
        ]
    )
    np.testing.assert_array_equal(found[0], [a[0, [2, 0]], a[1, [1, 1]]])
    np.testing.assert_array_equal(found[1], [[a[0, 2, 0]], [a[1, 1, 1]]])
    np.testing.assert_array_equal(found[2], [a[0, 2], a[1, 0]])


@pytest.mark.parametrize("shape", [[2, 3], [None, 3], [None, None], None])
@pytest.mark.parametrize(
    ("build", "expected"),
    [
        (lambda p: tf.concat([p * 2, p], 0), np.full((2, 3), 3.0)),
        (lambda p: tf.tile(p, [2, 2]), np.full((2, 3), 4.0)),
        (lambda p: tf.pad(p, [[1, 1], [0, 2]]), np.ones((2, 3))),
        (lambda p: tf.slice(p, [0, 1], [1, -1]), [[0, 1, 1], [0, 0, 0]]),
        (lambda p: p[:, ::-2], [[1, 0, 1], [1, 0, 1]]),
        (lambda p: tf.broadcast_to(p, [4, 2, 3]), np.full((2, 3), 4.0)),
        (lambda p: tf.fill(tf.shape(p), tf.reduce_sum(p)), np.full((2, 3), 6.0)),
        (lambda p: tf.transpose(p) * [[1.0], [2.0], [3.0]], [[1, 2, 3], [1, 2, 3]]),
        (lambda p: tf.unstack(p, num=2)[1], [[0, 0, 0], [1, 1, 1]]),
    ],
)  # fmt: skip
def test_gradients_whatever_is_known_of_the_shape(build, expected, shape):
    p = tf.placeholder(tf.float64, shape)
    (g,) = tf.gradients(build(p), [p])
    found = run(g, {p: np.arange(6.0).reshape(2, 3)}, times=3)
    np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("kind", ["S1", "U1"])
def test_a_constant_of_no_strings_keeps_its_shape(kind):
    assert tf.constant(np.zeros((0, 3), kind)).shape == (0, 3)
