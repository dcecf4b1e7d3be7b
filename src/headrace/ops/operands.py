"""What definitions ask of their operands: shapes that agree, sizes and axes given as values, what
must hold of values; and of arguments that have an old name too.

ValueErrors are for shape rules, which `opdef.py` completes with the op's name and input shapes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from headrace import shapes
from headrace.folding import Spec, constant_value
from headrace.node import Tensor
from headrace.shapes import Shape
from headrace.xp import numpy as host


def agree(a: Shape, b: Shape) -> Shape:
    """What is known of either; ValueError in the words of TensorFlow's rules if they clash."""
    if a is None or b is None:
        return b if a is None else a
    if len(a) != len(b):
        raise ValueError(f"Shapes must be equal rank, but are {len(a)} and {len(b)}")
    for i, (x, y) in enumerate(zip(a, b, strict=True)):
        if x is not None and y is not None and x != y:
            raise ValueError(
                f"Dimension {i} in both shapes must be equal, but are {x} and {y}. "
                f"Shapes are {shapes.brackets(a)} and {shapes.brackets(b)}."
            )
    return tuple(y if x is None else x for x, y in zip(a, b, strict=True))


def agree_all(specs: Sequence[Spec]) -> Shape:
    """What is known of the one shape that all have; ValueError if two clash."""
    shape = specs[-1].shape
    for i in range(len(specs) - 2, -1, -1):
        try:
            shape = agree(specs[i].shape, shape)
        except ValueError as error:
            raise ValueError(f"{error}\n\tFrom merging shape {i} with other shapes.") from None
    return shape


def shape_operand(shape: Spec) -> Shape:
    """The shape that an operand's value gives, -1 standing for an unknown size."""
    shapes.with_rank(shape.shape, 1)
    sizes = shape.sizes
    if sizes is None:
        return None
    for d in sizes:
        if d is not None and d < -1:
            raise ValueError(f"Dimension size {d} must be >= -1")
    return tuple(None if d == -1 else d for d in sizes)


def divide_size(size: int | None, by: int) -> int | None:
    """A size cut into equal parts; ValueError in TensorFlow's words if it leaves a rest."""
    if size is None:
        return None
    if by <= 0 or size % by:
        raise ValueError(f"Dimension size must be evenly divisible by {by} but is {size}")
    return size // by


def axis_of(axis: Spec | Tensor) -> int | None:
    """The number that an axis operand holds; None if it is not known yet."""
    value = axis.value if isinstance(axis, Spec) else constant_value(axis)
    return None if value is None else int(value.reshape(()))


def checked_axis(axis: int, rank: int) -> int:
    """The axis counted from the front; InvalidArgumentError if the array has no such."""
    host.check(
        -rank <= axis < rank,
        lambda: f"Expected dimension in the range [{-rank}, {rank}), but got {axis}",
    )
    return axis % rank


def is_floating(x: Any) -> bool:
    """Whether an array's elements are real floating numbers (bfloat16's kind is V)."""
    return x.dtype.kind in "fV"


def wide(x: Any) -> Any:
    """Sixteen-bit floats as float32, in which they are added up; anything else as it is."""
    return x.astype(np.float32) if is_floating(x) and x.dtype.itemsize == 2 else x


def is_known(x: Any) -> bool:
    """Whether an operand is an array of the host, which may be looked into, rather than traced."""
    return isinstance(x, (np.ndarray, np.generic))


def demand(xp: Any, holds: Any, message: Callable[[], str] | str) -> None:
    """Refuse unless all of `holds`; at once if it does not depend on what is traced."""
    place = host if is_known(holds) else xp
    place.check(place.all(holds), message)


def check_indices(xp: Any, indices: Any, n: int, what: str = "indices") -> None:
    """InvalidArgumentError unless all indices are in [0, n)."""

    def message() -> str:
        i, at = _first_bad((indices < 0) | (indices >= n))
        return f"{what}{at} = {np.ravel(indices)[i]} is not in [0, {n})"

    demand(xp, (indices >= 0) & (indices < n), message)


def check_places(xp: Any, indices: Any, sizes: Sequence[int], what: str) -> None:
    """InvalidArgumentError unless each indices[..., :] is a place in an array of the sizes."""

    def message() -> str:
        i, at = _first_bad(((indices < 0) | (indices >= limits)).any(-1))
        place = ", ".join(map(str, indices.reshape(-1, indices.shape[-1])[i].tolist()))
        return f"indices{at} = [{place}] does not index into {what}"

    limits = np.array(sizes[: indices.shape[-1]], np.int64)
    demand(xp, (indices >= 0) & (indices < limits), message)


def _first_bad(bad: Any) -> tuple[int, str]:
    i = int(np.argmax(bad))
    at = ",".join(str(k) for k in np.unravel_index(i, bad.shape))
    return i, f"[{at}]" if at else ""


def either(name: str, value: Any, old_name: str, old: Any) -> Any:
    """The argument that was given under its name or its old one; ValueError if under both."""
    if value is not None and old is not None:
        raise ValueError(f"Cannot specify both '{old_name}' and '{name}'.")
    return old if value is None else value
