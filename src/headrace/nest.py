"""Structures of values: lists, tuples, named tuples and dictionaries, one within another.

What is none of these is a leaf, None too. Dictionaries are gone through by their keys in order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any


def is_nested(structure: Any) -> bool:
    """Whether it is a list, a tuple or a dictionary, and not a leaf."""
    return isinstance(structure, (list, tuple, Mapping))


def flatten(structure: Any) -> list[Any]:
    """The leaves; [structure] if it is one. TypeError for keys that cannot be sorted."""
    if not is_nested(structure):
        return [structure]
    return [leaf for part in _parts(structure) for leaf in flatten(part)]


def pack_sequence_as(structure: Any, flat_sequence: Sequence[Any]) -> Any:
    """The values in the place of the structure's leaves. ValueError if they are not as many."""
    if not isinstance(flat_sequence, (list, tuple)):
        raise TypeError(
            f"The values to pack must be a list or tuple, one for each leaf of {structure!r}; got "
            f"{flat_sequence!r}."
        )
    count = len(flatten(structure))
    if count != len(flat_sequence):
        raise ValueError(
            f"Could not pack sequence. Structure had {count} atoms, but flat_sequence had "
            f"{len(flat_sequence)} items. Structure: {structure}, flat_sequence: {flat_sequence}."
        )
    return _pack(structure, iter(flat_sequence))


def map_structure(func: Callable[..., Any], *structure: Any, check_types: bool = True) -> Any:
    """The results of `func` for leaves in the same place, in the structure of the first.

    ValueError or TypeError unless they are alike, as `assert_same_structure` says.
    """
    if not callable(func):
        raise TypeError(f"func must be callable, got: {func}")
    if not structure:
        raise ValueError("Must provide at least one structure")
    for other in structure[1:]:
        assert_same_structure(structure[0], other, check_types)
    columns = zip(*map(flatten, structure), strict=True)
    return _pack(structure[0], iter([func(*leaves) for leaves in columns]))


def assert_same_structure(nest1: Any, nest2: Any, check_types: bool = True) -> None:
    """ValueError unless leaves are in the same places, TypeError unless the types around them are
    the same (with `check_types`; dictionaries of any kind count as the same)."""
    if is_nested(nest1) != is_nested(nest2):
        inner, leaf = (nest1, nest2) if is_nested(nest1) else (nest2, nest1)
        raise _differ(ValueError, nest1, nest2, f"{inner} is a structure, {leaf} is not")
    if not is_nested(nest1):
        return
    if check_types and _kind(nest1) is not _kind(nest2):
        names = f"{type(nest1).__name__}, the second {type(nest2).__name__}"
        raise _differ(TypeError, nest1, nest2, f"The first is a {names}")
    if isinstance(nest1, Mapping) and isinstance(nest2, Mapping) and set(nest1) != set(nest2):
        keys = f"{sorted(nest1)}, the second {sorted(nest2)}"
        raise _differ(ValueError, nest1, nest2, f"The first has the keys {keys}")
    if len(nest1) != len(nest2):
        counts = f"{len(nest1)} elements, the second {len(nest2)}"
        raise _differ(ValueError, nest1, nest2, f"The first has {counts}")
    for one, two in zip(_parts(nest1), _parts(nest2), strict=True):
        assert_same_structure(one, two, check_types)


def _differ(kind: type[Exception], one: Any, two: Any, how: str) -> Exception:
    return kind(
        "The two structures don't have the same nested structure.\n\n"
        f"First structure: {one}\n\nSecond structure: {two}\n\nMore specifically: {how}."
    )


def _kind(structure: Any) -> type:
    return Mapping if isinstance(structure, Mapping) else type(structure)


def _parts(structure: Any) -> list[Any]:
    if isinstance(structure, Mapping):
        return [structure[key] for key in sorted(structure)]
    return list(structure)


def _pack(structure: Any, values: Iterator[Any]) -> Any:
    if not is_nested(structure):
        return next(values)
    if isinstance(structure, Mapping):
        found = {key: _pack(structure[key], values) for key in sorted(structure)}
        return type(structure)((key, found[key]) for key in structure)  # type: ignore[call-arg]
    parts = [_pack(part, values) for part in structure]
    if hasattr(structure, "_fields"):
        return type(structure)(*parts)
    return type(structure)(parts)
