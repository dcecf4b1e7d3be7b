"""Partial shapes: the v1 `TensorShape` and `Dimension`, and the arithmetic inside."""

import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headrace import shapes
from headrace.shapes import Dimension, TensorShape

sizes = st.none() | st.integers(0, 5)
shapes_of_any_kind = st.none() | st.lists(sizes, max_size=4).map(tuple)
full_shapes = st.lists(st.integers(0, 4), max_size=4).map(tuple)


def hide(shape, mask):
    """The shape with some sizes made unknown."""
    return tuple(None if m else d for d, m in zip(shape, mask, strict=False))


# -- Dimension -------------------------------------------------------------------------------------


def test_dimension_arithmetic():
    three, unknown = Dimension(3), Dimension(None)
    assert (three * 2).value == (2 * three).value == 6
    assert (three + three).value == 6
    assert (three - 1).value == 2
    assert (7 - three).value == 4
    assert (three // 2).value == 1
    assert (7 // three).value == 2
    assert (three % 2).value == (7 % three).value == 1
    for result in (unknown + 1, 1 + unknown, unknown * three, three // unknown, 5 % unknown):
        assert isinstance(result, Dimension)
        assert result.value is None


def test_dimension_as_a_number():
    three = Dimension(3)
    assert int(three) == 3
    assert list(range(three)) == [0, 1, 2]
    assert [0] * three == [0, 0, 0]
    assert np.zeros(three).shape == (3,)
    assert np.sqrt(2.0 * Dimension(8)) == 4
    assert float(three) == 3.0
    assert f"{three} {three:2d}" == "3  3"
    assert {three: 1}[Dimension(3)] == 1
    with pytest.raises(TypeError):
        int(Dimension(None))


def test_comparison_with_an_unknown_is_neither():
    three, unknown = Dimension(3), Dimension(None)
    assert three == 3
    assert three == Dimension(3)
    assert three != 4
    assert three < 4
    assert three >= 3
    for answer in (unknown == 3, three == unknown, unknown != 3, unknown < 3, 3 >= unknown):
        assert answer is None
    assert (three == None) is None  # noqa: E711
    assert not three == "three"  # noqa: SIM201


def test_dimensions_merge():
    assert Dimension(None).merge_with(3).value == 3
    assert Dimension(3).merge_with(None).value == 3
    assert Dimension(3).is_compatible_with(None)
    with pytest.raises(ValueError, match="not compatible"):
        Dimension(3).merge_with(4)


@pytest.mark.parametrize(("bad", "error"), [(-2, ValueError), (1.5, ValueError), ("a", ValueError)])
def test_what_is_no_size(bad, error):
    with pytest.raises(error):
        Dimension(bad)


# -- TensorShape -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("given_shape", "text", "dims"),
    [(None, "<unknown>", None), ([None, 3], "(?, 3)", [None, 3]), ([7], "(7,)", [7]),
     ([], "()", []), (5, "(5,)", [5]), ([-1, 2], "(?, 2)", [None, 2]), (Dimension(4), "(4,)", [4]),
     ((Dimension(None), np.int64(2)), "(?, 2)", [None, 2])],
)  # fmt: skip
def test_shapes_are_made_and_printed(given_shape, text, dims):
    shape = TensorShape(given_shape)
    assert str(shape) == text
    if dims is None or None not in dims:
        assert shape.dims == (None if dims is None else [Dimension(d) for d in dims])
    if dims is None:
        with pytest.raises(ValueError, match="unknown TensorShape"):
            shape.as_list()
    else:
        assert shape.as_list() == dims
        assert len(shape) == shape.ndims == len(dims)
        assert TensorShape(shape).as_list() == dims
    assert pickle.loads(pickle.dumps(shape))._dims == shape._dims
    assert TensorShape(shape.as_proto())._dims == shape._dims


def test_repr_shows_dimensions():
    assert repr(TensorShape([None, 3])) == "TensorShape([Dimension(None), Dimension(3)])"
    assert repr(TensorShape(None)) == "TensorShape(None)"


def test_indexing_and_iterating():
    shape = TensorShape([None, 3, 4])
    assert shape[-1].value == 4
    assert isinstance(shape[1], Dimension)
    assert (shape[1] * shape[2]).value == 12
    assert shape[1:].as_list() == [3, 4]
    assert [d.value for d in shape] == [None, 3, 4]
    unknown = TensorShape(None)
    assert unknown[0].value is None
    assert unknown[1:3].as_list() == [None, None]
    assert unknown[1:].ndims is None
    for use in (len, list):
        with pytest.raises(ValueError, match="unknown rank"):
            use(unknown)


def test_truth_and_equality():
    assert not TensorShape(None)
    assert TensorShape([])
    assert TensorShape([2, 3]) == [2, 3]
    assert TensorShape([2, 3]) == (2, 3)
    assert TensorShape([2]) != [3]
    assert (TensorShape([2]) == None) is False  # noqa: E711
    with pytest.raises(ValueError, match="undefined"):
        _ = TensorShape(None) != [2]


def test_methods_that_refuse():
    shape = TensorShape([None, 3])
    assert shape.with_rank(2).as_list() == [None, 3]
    assert TensorShape(None).with_rank(2).as_list() == [None, None]
    for refuse in (
        lambda: shape.with_rank(3), lambda: shape.assert_has_rank(1),
        lambda: shape.with_rank_at_least(3), lambda: shape.with_rank_at_most(1),
        lambda: shape.assert_is_fully_defined(), lambda: shape.merge_with([2, 4]),
        lambda: shape.assert_is_compatible_with([1]), lambda: shape.assert_same_rank([1]),
    ):  # fmt: skip
        with pytest.raises(ValueError, match=r"[Ss]hape"):
            refuse()
    assert shape.num_elements() is None
    assert TensorShape([2, 3]).num_elements() == 6
    assert shape.concatenate([5]).as_list() == [None, 3, 5]
    assert (shape + [5]).as_list() == ([5] + shape)[1:].as_list() + [5]
    assert shape.most_specific_compatible_shape([2, 3]).as_list() == [None, 3]
    assert shape.most_specific_compatible_shape([2]).ndims is None


@pytest.mark.parametrize("bad", ["ab", [[1]], [1.5], 2.5, [object()]])
def test_what_is_no_shape(bad):
    with pytest.raises((TypeError, ValueError)):
        TensorShape(bad)


# -- the arithmetic inside -------------------------------------------------------------------------


@given(shapes_of_any_kind, shapes_of_any_kind)
def test_merge_knows_what_either_knows(a, b):
    if not shapes.compatible(a, b):
        with pytest.raises(ValueError, match="not compatible"):
            shapes.merge(a, b)
        return
    merged = shapes.merge(a, b)
    assert shapes.merge(b, a) == merged
    assert shapes.compatible(merged, a)
    assert shapes.compatible(merged, b)
    if a is not None and b is not None:
        assert merged is not None
        for x, y, z in zip(a, b, merged, strict=True):
            assert z == (y if x is None else x)


masks = st.lists(st.booleans(), min_size=4, max_size=4)


@given(full_shapes, full_shapes, masks, masks)
def test_broadcast_is_never_wrong(a, b, mask_a, mask_b):
    """What is said of partly hidden shapes holds of the full ones."""
    try:
        truth = np.broadcast_shapes(a, b)
    except ValueError:
        with pytest.raises(ValueError, match="Dimensions must be equal"):
            shapes.broadcast(a, b)
        return
    assert shapes.broadcast(a, b) == truth
    assert shapes.compatible(shapes.broadcast(hide(a, mask_a), hide(b, mask_b)), truth)
    assert shapes.broadcast(None, b) is None


@given(st.integers(1, 12), st.integers(1, 4), st.integers(1, 4), st.integers(1, 3))
def test_windows_are_counted_as_they_are_cut(size, k, stride, dilation):
    reach = (k - 1) * dilation + 1
    before, after = shapes.same_padding(size, k, stride, dilation)
    assert 0 <= after - before <= 1
    starts = range(-before, size + after - reach + 1, stride)
    assert shapes.window(size, k, stride, "SAME", dilation) == len(starts)
    if reach <= size:
        assert shapes.window(size, k, stride, "VALID", dilation) == len(
            range(0, size - reach + 1, stride)
        )
    assert shapes.window(None, k, stride, "SAME", dilation) is None


def test_axes_are_counted_from_the_front():
    assert [shapes.normalize_axis(a, 3) for a in (0, 2, -1, -3)] == [0, 2, 2, 0]
    for bad in (3, -4):
        with pytest.raises(ValueError, match="out of range"):
            shapes.normalize_axis(bad, 3)


@given(shapes_of_any_kind)
def test_count_and_show(shape):
    if shape is None:
        assert shapes.show(shape) == shapes.brackets(shape) == "<unknown>"
        assert shapes.count(shape) is None
        return
    assert shapes.is_full(shape) == (None not in shape)
    if None not in shape:
        assert shapes.count(shape) == int(np.prod(shape, dtype=int))
        assert eval(shapes.show(shape)) == shape
    assert shapes.brackets(shape).count("?") == shape.count(None)
