"""`tf.nest`: structures taken apart and put together, and what does not fit."""

import collections

import pytest

import headrace as tf

Point = collections.namedtuple("Point", "x y")
nest = tf.nest


@pytest.mark.parametrize(
    ("structure", "leaves"),
    [
        (5, [5]),
        (None, [None]),
        ("ab", ["ab"]),
        ([], []),
        ({"b": 1, "a": [2, (3,)]}, [2, 3, 1]),
        ([None, Point(1, {"z": 2})], [None, 1, 2]),
        (collections.OrderedDict([("b", 1), ("a", 2)]), [2, 1]),
    ],
)
def test_flatten_and_pack_undo_each_other(structure, leaves):
    assert nest.flatten(structure) == leaves
    packed = nest.pack_sequence_as(structure, leaves)
    assert packed == structure
    assert type(packed) is type(structure)
    if isinstance(structure, dict):
        assert list(packed) == list(structure)


def test_is_nested():
    assert [nest.is_nested(s) for s in (1, "a", None, [1], (), {}, Point(1, 2))] == [
        False, False, False, True, True, True, True,
    ]  # fmt: skip


def test_map_structure():
    assert nest.map_structure(lambda x, y: x + y, Point(1, [2]), Point(3, [4])) == Point(4, [6])
    assert nest.map_structure(max, [1, 2], (2, 1), check_types=False) == [2, 2]


@pytest.mark.parametrize(
    ("one", "two", "kind", "text"),
    [
        ([1, (2,)], [1, 2], ValueError, r"\(2,\) is a structure, 2 is not"),
        (1, [1], ValueError, r"\[1\] is a structure, 1 is not"),
        ([1, (2,)], [1, [2]], TypeError, "The first is a tuple, the second list"),
        (Point(1, 2), (1, 2), TypeError, "The first is a Point, the second tuple"),
        ([1, 2], [1], ValueError, "The first has 2 elements, the second 1"),
        ({"a": 1}, {"b": 1}, ValueError, r"has the keys \['a'\], the second \['b'\]"),
    ],
)
def test_structures_that_differ(one, two, kind, text):
    with pytest.raises(kind, match=f"don't have the same nested structure(.|\\n)*{text}"):
        nest.assert_same_structure(one, two)
    with pytest.raises(kind, match=text):
        nest.map_structure(lambda x, y: x, one, two)


def test_dictionaries_of_any_kind_are_alike():
    nest.assert_same_structure({"a": 1}, collections.OrderedDict(a=1))


def test_what_cannot_be_packed_or_mapped():
    with pytest.raises(ValueError, match="Structure had 2 atoms, but flat_sequence had 1 items"):
        nest.pack_sequence_as([1, 2], [10])
    with pytest.raises(TypeError, match="must be a list or tuple"):
        nest.pack_sequence_as([1, 2], 10)
    with pytest.raises(TypeError, match="func must be callable"):
        nest.map_structure(5, [1])
    with pytest.raises(ValueError, match="at least one structure"):
        nest.map_structure(max)
