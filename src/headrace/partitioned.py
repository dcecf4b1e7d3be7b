"""Variables in parts: one large variable kept as several along an axis, and how to cut it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from headrace.conversion import convert_to_tensor, register_tensor_conversion_function
from headrace.dtypes import DType
from headrace.graph import get_default_graph
from headrace.node import Tensor
from headrace.ops import array, control, slicing
from headrace.shapes import TensorShape, is_full
from headrace.variables import Variable

Partitioner = Callable[..., Sequence[int]]


@dataclass(frozen=True)
class PartitionInfo:
    """Which part of a variable an initializer is to fill."""

    full_shape: list[int]
    var_offset: list[int]


@dataclass(frozen=True)
class SaveSliceInfo:
    """Which part of a variable this one is, for a checkpoint, where they are one tensor."""

    full_name: str
    full_shape: list[int]
    var_offset: list[int]
    var_shape: list[int]

    @property
    def spec(self) -> str:
        """The part as checkpoints write it: the full shape, then offset,size for each axis."""
        sizes = " ".join(str(d) for d in self.full_shape)
        cuts = zip(self.var_offset, self.var_shape, strict=True)
        return f"{sizes} {':'.join(f'{o},{n}' for o, n in cuts)}"


Variable.SaveSliceInfo = SaveSliceInfo  # type: ignore[attr-defined]


class PartitionedVariable:
    """Several variables that are one along an axis; as a tensor, their concatenation."""

    def __init__(
        self,
        name: str,
        shape: Any,
        dtype: DType,
        variable_list: Sequence[Variable],
        partitions: Sequence[int],
    ):
        self._name = name
        self._shape = TensorShape(shape)
        self._dtype = dtype
        self._variable_list = list(variable_list)
        cut = [i for i, n in enumerate(partitions) if n > 1]
        self._axis = cut[0] if cut else 0

    @property
    def name(self) -> str:
        """The name, of which the parts' names are `name/part_0`..."""
        return self._name

    @property
    def dtype(self) -> DType:
        """The element type."""
        return self._dtype

    @property
    def shape(self) -> TensorShape:
        """The shape of the whole."""
        return self._shape

    def get_shape(self) -> TensorShape:
        """The shape of the whole."""
        return self._shape

    @property
    def graph(self) -> Any:
        """The graph that it belongs to."""
        return self._variable_list[0].graph

    def as_tensor(self) -> Tensor:
        """The whole, as one tensor."""
        graph = self.graph
        with graph.name_scope(None):
            if len(self._variable_list) == 1:
                return array.identity(self._variable_list[0], name=self._name)
            with graph.name_scope(f"{self._name}/ConcatPartitions/"):
                whole = array.concat([v.value() for v in self._variable_list], self._axis)
            return array.identity(whole, name=self._name)

    def assign(self, value: Any, use_locking: bool = False, name: str | None = None) -> Any:
        """Set all parts."""
        value = convert_to_tensor(value, self._dtype)
        assigned = [
            v.assign(
                slicing.slice(value, v._save_slice_info.var_offset, v._save_slice_info.var_shape),
                use_locking,
            )
            for v in self._variable_list
        ]
        return control.group(*assigned, name=name)

    def _get_variable_list(self) -> list[Variable]:
        return self._variable_list

    def _as_graph_element(self) -> Tensor:
        return self.as_tensor()

    def __iter__(self) -> Iterator[Variable]:
        return iter(self._variable_list)

    def __len__(self) -> int:
        return len(self._variable_list)


def _convert(
    value: PartitionedVariable, dtype: Any = None, name: str | None = None, as_ref: bool = False
) -> Tensor:
    if dtype is not None and dtype is not value.dtype:
        raise ValueError(
            f"Incompatible type conversion requested to type '{dtype.name}' for variable of type "
            f"'{value.dtype.name}'"
        )
    return value.as_tensor()


register_tensor_conversion_function(PartitionedVariable, _convert)


def get_partitioned(
    kept: dict[str, PartitionedVariable],
    name: str,
    shape: TensorShape | None,
    dtype: DType,
    initializer: Any,
    partitioner: Partitioner,
    reuse: Any,
    get_part: Callable[..., Variable],
) -> PartitionedVariable:
    """The partitioned variable of that name: found in `kept`, or made part by part."""
    found = kept.get(name)
    if found is not None:
        if not reuse:
            raise ValueError(
                f"Partitioned variable with name {name} already exists. Did you mean to set "
                "reuse=True or reuse=tf.AUTO_REUSE in VarScope?"
            )
        if shape is not None and not shape.is_compatible_with(found.shape):
            raise ValueError(
                f"Trying to reuse partitioned variable {name}, but specified shape {shape} and "
                f"found shape {found.shape}."
            )
        return found
    if reuse is True:
        raise ValueError(
            f"PartitionedVariable {name} does not exist, or was not created with "
            "tf.get_variable(). Did you mean to set reuse=False or reuse=tf.AUTO_REUSE in VarScope?"
        )
    if initializer is not None and not callable(initializer):
        if shape is not None:
            raise ValueError("If initializer is a constant, do not specify shape.")
        initializer = convert_to_tensor(initializer)
        shape, dtype = initializer.shape, initializer.dtype.base_dtype
    dims = None if shape is None else shape._dims
    if not is_full(dims):
        raise ValueError(
            f"Shape of a new partitioned variable must be fully defined, but instead was {shape}."
        )
    sizes = list(dims)
    partitions = list(partitioner(shape=shape, dtype=dtype))
    cut = [i for i, n in enumerate(partitions) if n > 1]
    if len(partitions) != len(sizes) or len(cut) > 1 or any(n < 1 for n in partitions):
        raise ValueError(
            f"Partitioner must give a number of parts for each axis of {shape}, and more than 1 "
            f"for one axis only, but gave {partitions}."
        )
    axis = cut[0] if cut else 0
    parts = []
    for i, (offset, size) in enumerate(_slices(sizes, partitions[axis], axis)):
        if isinstance(initializer, Tensor):
            with get_default_graph().name_scope(f"{name}/part_{i}/PartitionedInitializer"):
                start = slicing.slice(initializer, offset, size)
            part = get_part(f"{name}/part_{i}", initializer=start)
        else:
            part = get_part(
                f"{name}/part_{i}", shape=size, initializer=initializer,
                partition_info=PartitionInfo(sizes, offset),
            )  # fmt: skip
        part._save_slice_info = SaveSliceInfo(name, sizes, offset, size)
        parts.append(part)
    made = kept[name] = PartitionedVariable(name, shape, dtype, parts, partitions)
    return made


def _slices(sizes: list[int], n: int, axis: int) -> Iterator[tuple[list[int], list[int]]]:
    """Offsets and sizes of n parts along an axis; the first ones take what is left over."""
    at = 0
    for i in range(n):
        offset, part = [0] * len(sizes), list(sizes)
        offset[axis] = at
        part[axis] = sizes[axis] // n + (i < sizes[axis] % n)
        at += part[axis]
        yield offset, part


def fixed_size_partitioner(num_shards: int, axis: int = 0) -> Partitioner:
    """A partitioner that cuts an axis into `num_shards` parts, or as many as it has elements."""

    def partitioner(shape: Any, **_: Any) -> list[int]:
        sizes = TensorShape(shape).as_list()
        parts = [1] * len(sizes)
        parts[axis] = min(num_shards, sizes[axis])  # type: ignore[type-var]
        return parts

    return partitioner


def variable_axis_size_partitioner(
    max_shard_bytes: int,
    axis: int = 0,
    bytes_per_string_element: int = 16,
    max_shards: int | None = None,
) -> Partitioner:
    """A partitioner that cuts an axis into parts of at most `max_shard_bytes`."""
    if max_shard_bytes < 1 or bytes_per_string_element < 1:
        raise ValueError("max_shard_bytes and bytes_per_string_element must be positive.")
    if max_shards is not None and max_shards < 1:
        raise ValueError("max_shards must be positive.")

    def partitioner(shape: Any, dtype: DType) -> list[int]:
        sizes = TensorShape(shape).as_list()
        element = bytes_per_string_element if dtype.kind == "S" else dtype.size
        row = math.prod(d for i, d in enumerate(sizes) if i != axis) * element  # type: ignore[misc]
        rows = max(1, max_shard_bytes // max(1, row))
        n = max(1, -(-sizes[axis] // rows))  # type: ignore[operator]
        parts = [1] * len(sizes)
        parts[axis] = n if max_shards is None else min(n, max_shards)
        return parts

    return partitioner


def min_max_variable_partitioner(
    max_partitions: int = 1,
    axis: int = 0,
    min_slice_size: int = 256 << 10,
    bytes_per_string_element: int = 16,
) -> Partitioner:
    """A partitioner into at most `max_partitions` parts of at least `min_slice_size` bytes."""

    def partitioner(shape: Any, dtype: DType) -> list[int]:
        sizes = TensorShape(shape).as_list()
        element = bytes_per_string_element if dtype.kind == "S" else dtype.size
        whole = math.prod(sizes) * element  # type: ignore[arg-type]
        n = min(max_partitions, max(1, -(-whole // min_slice_size)))
        parts = [1] * len(sizes)
        parts[axis] = max(1, min(n, sizes[axis]))  # type: ignore[type-var]
        return parts

    return partitioner
