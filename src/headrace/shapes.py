"""Partial shapes, their arithmetic, and the v1 `TensorShape` and `Dimension` that users see.

Inside headrace a shape is a tuple of `int | None`, or None when not even the rank is known;
`TensorShape` only appears at the surface.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, TypeGuard

import numpy as np

from headrace import protos

Shape = tuple[int | None, ...] | None


class Dimension:
    """A size that may be unknown (`value` None). Arithmetic with unknowns gives unknowns;
    comparison with an unknown gives None, neither true nor false."""

    __slots__ = ("value",)

    def __init__(self, value: Any):
        if isinstance(value, Dimension):
            value = value.value
        if value is not None:
            number = value.__index__() if hasattr(value, "__index__") else int(value)
            if number != value:
                raise ValueError(f"Ambiguous dimension: {value!r}")
            if number < 0:
                raise ValueError(f"Dimension {number} must be >= 0")
            value = number
        self.value: int | None = value

    def is_compatible_with(self, other: Any) -> bool:
        """Whether the two may be equal."""
        other = as_dimension(other).value
        return self.value is None or other is None or self.value == other

    def assert_is_compatible_with(self, other: Any) -> None:
        """ValueError unless the two may be equal."""
        if not self.is_compatible_with(other):
            raise ValueError(f"Dimensions {self} and {other} are not compatible")

    def merge_with(self, other: Any) -> Dimension:
        """The more known of the two; ValueError if they clash."""
        other = as_dimension(other)
        self.assert_is_compatible_with(other)
        return other if self.value is None else self

    if TYPE_CHECKING:  # installed by _install_dimension_operators

        def __add__(self, other: Any) -> Any: ...
        def __radd__(self, other: Any) -> Any: ...
        def __sub__(self, other: Any) -> Any: ...
        def __rsub__(self, other: Any) -> Any: ...
        def __mul__(self, other: Any) -> Any: ...
        def __rmul__(self, other: Any) -> Any: ...
        def __truediv__(self, other: Any) -> Any: ...
        def __rtruediv__(self, other: Any) -> Any: ...
        def __floordiv__(self, other: Any) -> Any: ...
        def __rfloordiv__(self, other: Any) -> Any: ...
        def __mod__(self, other: Any) -> Any: ...
        def __rmod__(self, other: Any) -> Any: ...
        def __lt__(self, other: Any) -> Any: ...
        def __le__(self, other: Any) -> Any: ...
        def __gt__(self, other: Any) -> Any: ...
        def __ge__(self, other: Any) -> Any: ...

    def __int__(self) -> int:
        return self.value  # type: ignore[return-value]  # int(Dimension(None)) is a TypeError

    def __index__(self) -> int:
        return self.value  # type: ignore[return-value]

    def __float__(self) -> float:
        return float(int(self))

    def __hash__(self) -> int:
        return hash(self.value)

    def __bool__(self) -> bool:
        return self.value is not None and bool(self.value)

    def __repr__(self) -> str:
        return f"Dimension({self.value})"

    def __str__(self) -> str:
        return "?" if self.value is None else str(self.value)

    def __format__(self, spec: str) -> str:
        return format("?" if self.value is None else self.value, spec)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        return np.asarray(int(self), dtype)

    def __reduce__(self) -> tuple[Any, ...]:
        return Dimension, (self.value,)


def _install_dimension_operators() -> None:
    """Lift int's operators over unknowns: anything with an unknown is unknown."""

    def lift(function: Any, wrap: Any, swap: bool) -> Any:
        def method(self: Dimension, other: Any) -> Any:
            if isinstance(other, (float, np.ndarray)) or hasattr(other, "dtype"):
                if isinstance(other, np.integer):
                    other = int(other)
                elif (self.value is not None and hasattr(other, "__array__")) or (
                    self.value is not None and isinstance(other, float)
                ):
                    return function(other, self.value) if swap else function(self.value, other)
                else:
                    return NotImplemented
            try:
                b = as_dimension(other).value
            except (TypeError, ValueError):
                return NotImplemented
            if self.value is None or b is None:
                return wrap(None)
            return wrap(function(b, self.value) if swap else function(self.value, b))

        return method

    def same(value: Any) -> Any:
        return value

    import operator as o

    for name in ("add", "sub", "mul", "floordiv", "mod"):
        function = getattr(o, name)
        setattr(Dimension, f"__{name}__", lift(function, Dimension, False))
        setattr(Dimension, f"__r{name}__", lift(function, Dimension, True))
    Dimension.__truediv__ = lift(o.truediv, same, False)  # type: ignore[attr-defined]
    Dimension.__rtruediv__ = lift(o.truediv, same, True)  # type: ignore[attr-defined]
    for name in ("eq", "ne", "lt", "le", "gt", "ge"):
        setattr(Dimension, f"__{name}__", lift(getattr(o, name), same, False))


def as_dimension(value: Any) -> Dimension:
    """`value` as a Dimension."""
    return value if isinstance(value, Dimension) else Dimension(value)


_install_dimension_operators()


def dimension_value(dimension: Any) -> int | None:
    """The int or None behind a Dimension or an int (tf.dimension_value)."""
    return dimension.value if isinstance(dimension, Dimension) else dimension


def as_shape(value: Any) -> Shape:
    """A tuple-or-None shape from whatever a user may write for one.

    An int n stands for (n,); None for an unknown rank; -1 and None in a list for unknown sizes.
    """
    if value is None:
        return None
    if isinstance(value, TensorShape):
        return value._dims
    if isinstance(value, (Dimension, int, np.integer)):
        return (_as_size(value),)
    if hasattr(value, "dim") and hasattr(value, "unknown_rank"):  # a TensorShapeProto
        if value.unknown_rank:
            return None
        return tuple(None if d.size == -1 else d.size for d in value.dim)
    if isinstance(value, str):
        raise TypeError(f"A shape is a list of sizes, not {value!r}.")
    try:
        sizes = list(value)
    except TypeError:
        raise TypeError(
            f"Dimension value must be integer or None, got {value!r} of type {type(value).__name__}"
        ) from None
    return tuple(_as_size(v) for v in sizes)


def _as_size(value: Any) -> int | None:
    if value is None or value is Ellipsis:
        return None
    if isinstance(value, Dimension):
        return value.value
    try:
        size = value.__index__()
    except (AttributeError, TypeError):
        if isinstance(value, float) and value.is_integer():
            size = int(value)
        else:
            raise TypeError(
                f"Dimension value must be integer or None or have an __index__ method, got value "
                f"'{value!r}' with type '{type(value)!r}'"
            ) from None
    if size == -1:
        return None
    if size < 0:
        raise ValueError(f"Dimension {size} must be >= 0")
    return size


class TensorShape:
    """A shape of which sizes, or even the rank, may be unknown: TensorFlow 1's, with Dimensions."""

    __slots__ = ("_dims",)

    def __init__(self, dims: Any):
        self._dims: Shape = as_shape(dims)

    @property
    def dims(self) -> list[Dimension] | None:
        """The Dimensions; None if the rank is unknown."""
        return None if self._dims is None else [Dimension(d) for d in self._dims]

    @property
    def ndims(self) -> int | None:
        """The rank; None if unknown."""
        return None if self._dims is None else len(self._dims)

    rank = ndims

    def as_list(self) -> list[int | None]:
        """The sizes, None where unknown; ValueError if the rank is unknown."""
        if self._dims is None:
            raise ValueError("as_list() is not defined on an unknown TensorShape.")
        return list(self._dims)

    def is_fully_defined(self) -> bool:
        """Whether every size is known."""
        return is_full(self._dims)

    def assert_is_fully_defined(self) -> None:
        """ValueError unless every size is known."""
        if not self.is_fully_defined():
            raise ValueError(f"Shape {self} is not fully defined")

    def num_elements(self) -> int | None:
        """The number of elements, None if not fully known."""
        return count(self._dims)

    def is_compatible_with(self, other: Any) -> bool:
        """Whether one array could have both shapes."""
        return compatible(self._dims, as_shape(other))

    def assert_is_compatible_with(self, other: Any) -> None:
        """ValueError unless one array could have both shapes."""
        if not self.is_compatible_with(other):
            raise ValueError(f"Shapes {self} and {as_tensor_shape(other)} are incompatible")

    def merge_with(self, other: Any) -> TensorShape:
        """What is known of either; ValueError if they clash."""
        return TensorShape(merge(self._dims, as_shape(other)))

    def concatenate(self, other: Any) -> TensorShape:
        """The sizes of this followed by those of the other."""
        other = as_shape(other)
        return TensorShape(None if self._dims is None or other is None else self._dims + other)

    def with_rank(self, rank: int) -> TensorShape:
        """This shape, known to have the rank; ValueError if it has another."""
        try:
            return self.merge_with((None,) * rank)
        except ValueError:
            raise ValueError(f"Shape {self} must have rank {rank}") from None

    def assert_has_rank(self, rank: int) -> None:
        """ValueError if the rank is known to be another."""
        if self.ndims not in (None, rank):
            raise ValueError(f"Shape {self} must have rank {rank}")

    def with_rank_at_least(self, rank: int) -> TensorShape:
        """This shape; ValueError if its rank is less."""
        if self.ndims is not None and self.ndims < rank:
            raise ValueError(f"Shape {self} must have rank at least {rank}")
        return self

    def with_rank_at_most(self, rank: int) -> TensorShape:
        """This shape; ValueError if its rank is more."""
        if self.ndims is not None and self.ndims > rank:
            raise ValueError(f"Shape {self} must have rank at most {rank}")
        return self

    def assert_same_rank(self, other: Any) -> None:
        """ValueError if both ranks are known and differ."""
        other = as_tensor_shape(other)
        if None not in (self.ndims, other.ndims) and self.ndims != other.ndims:
            raise ValueError(f"Shapes {self} and {other} must have the same rank")

    def most_specific_compatible_shape(self, other: Any) -> TensorShape:
        """The most specific shape that both are cases of."""
        a, b = self._dims, as_shape(other)
        if a is None or b is None or len(a) != len(b):
            return TensorShape(None)
        return TensorShape([x if x == y else None for x, y in zip(a, b, strict=True)])

    def as_proto(self) -> Any:
        """As a TensorShapeProto."""
        if self._dims is None:
            return protos.TensorShapeProto(unknown_rank=True)
        dim = protos.TensorShapeProto.Dim
        return protos.TensorShapeProto(dim=[dim(size=-1 if d is None else d) for d in self._dims])

    def __len__(self) -> int:
        if self._dims is None:
            raise ValueError("Cannot take the length of shape with unknown rank.")
        return len(self._dims)

    def __iter__(self) -> Iterator[Dimension]:
        if self._dims is None:
            raise ValueError("Cannot iterate over a shape with unknown rank.")
        return iter([Dimension(d) for d in self._dims])

    def __getitem__(self, key: Any) -> Any:
        if self._dims is not None:
            if isinstance(key, slice):
                return TensorShape(self._dims[key])
            return Dimension(self._dims[key])
        if isinstance(key, slice):
            start = key.start or 0
            if key.step is not None or key.stop is None or start < 0 or key.stop < 0:
                return TensorShape(None)
            return TensorShape((None,) * max(0, key.stop - start))
        return Dimension(None)

    def __bool__(self) -> bool:
        return self._dims is not None

    def __eq__(self, other: Any) -> Any:
        try:
            other = as_shape(other)
        except TypeError:
            return NotImplemented
        return self._dims == other

    def __ne__(self, other: Any) -> Any:
        try:
            b = as_shape(other)
        except TypeError:
            return NotImplemented
        if self._dims is None or b is None:
            raise ValueError("The inequality of unknown TensorShapes is undefined.")
        return self._dims != b

    def __hash__(self) -> int:
        return hash(self._dims)

    def __add__(self, other: Any) -> TensorShape:
        return self.concatenate(other)

    def __radd__(self, other: Any) -> TensorShape:
        return as_tensor_shape(other).concatenate(self)

    def __repr__(self) -> str:
        return f"TensorShape({self.dims})"

    def __str__(self) -> str:
        return show(self._dims)

    def __reduce__(self) -> tuple[Any, ...]:
        return TensorShape, (None if self._dims is None else list(self._dims),)


def as_tensor_shape(value: Any) -> TensorShape:
    """`value` as a TensorShape."""
    return value if isinstance(value, TensorShape) else TensorShape(value)


# -- the arithmetic of shapes as tuples ---------------------------------------------------------


def show(shape: Shape) -> str:
    """As TensorFlow 1 prints it: `(?, 3)`, `(7,)`, `<unknown>`."""
    if shape is None:
        return "<unknown>"
    sizes = ["?" if d is None else str(d) for d in shape]
    return f"({sizes[0]},)" if len(sizes) == 1 else f"({', '.join(sizes)})"


def brackets(shape: Shape) -> str:
    """As TensorFlow's shape errors print it: `[?,3]`."""
    if shape is None:
        return "<unknown>"
    return "[" + ",".join("?" if d is None else str(d) for d in shape) + "]"


def is_full(shape: Shape) -> TypeGuard[tuple[int, ...]]:
    """Whether rank and all sizes are known."""
    return shape is not None and None not in shape


def count(shape: Shape) -> int | None:
    """The number of elements; None if not known."""
    if shape is None:
        return None
    total = 1
    for d in shape:
        if d is None:
            return None
        total *= d
    return total


def compatible(a: Shape, b: Shape) -> bool:
    """Whether one array could have both shapes."""
    if a is None or b is None:
        return True
    if len(a) != len(b):
        return False
    return all(x is None or y is None or x == y for x, y in zip(a, b, strict=True))


def merge(a: Shape, b: Shape) -> Shape:
    """What is known of either; ValueError if they clash."""
    if a is None or b is None:
        return b if a is None else a
    if not compatible(a, b):
        raise ValueError(f"Shapes {show(a)} and {show(b)} are not compatible")
    return tuple(y if x is None else x for x, y in zip(a, b, strict=True))


def with_rank(shape: Shape, rank: int) -> tuple[int | None, ...]:
    """The shape, known to have the rank; ValueError in TensorFlow's words if it has another."""
    if shape is None:
        return (None,) * rank
    if len(shape) != rank:
        raise ValueError(f"Shape must be rank {rank} but is rank {len(shape)}")
    return shape


def at_least_rank(shape: Shape, rank: int) -> Shape:
    """The shape; ValueError in TensorFlow's words if its rank is known to be less."""
    if shape is not None and len(shape) < rank:
        raise ValueError(f"Shape must be at least rank {rank} but is rank {len(shape)}")
    return shape


def merge_size(a: int | None, b: int | None) -> int | None:
    """The known one of two sizes that must be equal; ValueError in TensorFlow's words if not."""
    if a is not None and b is not None and a != b:
        raise ValueError(f"Dimensions must be equal, but are {a} and {b}")
    return b if a is None else a


def broadcast(a: Shape, b: Shape) -> Shape:
    """The shape of an elementwise operation; ValueError in TensorFlow's words if there is none.

    An unknown size against a known one other than 1 gives the known one.
    """
    if a == b and a is not None and None not in a:
        return a
    if a is None or b is None:
        return None
    n = max(len(a), len(b))
    sizes: list[int | None] = []
    padded = zip((1,) * (n - len(a)) + a, (1,) * (n - len(b)) + b, strict=True)
    for x, y in padded:
        if x == 1:
            sizes.append(y)
        elif y == 1:
            sizes.append(x)
        else:
            sizes.append(merge_size(x, y))
    return tuple(sizes)


def normalize_axis(axis: int, rank: int, what: str = "axis") -> int:
    """The axis counted from the front; ValueError if it is out of range."""
    if not -rank <= axis < rank:
        raise ValueError(f"{what} {axis} is out of range [{-rank}, {rank})")
    return axis % rank if rank else 0


def window(size: int | None, k: int, stride: int, padding: str, dilation: int = 1) -> int | None:
    """Number of windows of `k` taps along a size; `padding` is b"SAME"/b"VALID" or their str."""
    if size is None:
        return None
    if padding == "SAME":
        return -(-size // stride)
    n = -(-(size - (k - 1) * dilation) // stride)
    if n < 0:
        raise ValueError(
            f"Negative dimension size caused by subtracting {(k - 1) * dilation + 1} from {size}"
        )
    return n


def same_padding(size: int, k: int, stride: int, dilation: int = 1) -> tuple[int, int]:
    """Cells to add before and after for SAME windows: the odd one goes after."""
    reach = (k - 1) * dilation + 1
    total = max((-(-size // stride) - 1) * stride + reach - size, 0)
    return total // 2, total - total // 2


def product(sizes: Iterable[int]) -> int:
    """The product of ints."""
    total = 1
    for s in sizes:
        total *= s
    return total


def drop(shape: Sequence[int | None], axes: Iterable[int]) -> tuple[int | None, ...]:
    """The shape without the axes."""
    gone = set(axes)
    return tuple(d for i, d in enumerate(shape) if i not in gone)
