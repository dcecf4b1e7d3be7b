"""Looking up embeddings: rows of a table, or of a table in several parts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from headrace import dtypes
from headrace.conversion import convert_to_tensor
from headrace.graph import get_default_graph, name_scope
from headrace.node import Tensor
from headrace.ops import array, gather, math, normalize, partition, reduce
from headrace.ops.constant import constant


def embedding_lookup(
    params: Any,
    ids: Any,
    partition_strategy: str = "mod",
    name: str | None = None,
    validate_indices: bool = True,
    max_norm: float | None = None,
) -> Tensor:
    """The rows `ids` of a table: params [n, ...], ids [...] give [*shape of ids, ...].

    A table in k parts has row i in part i mod k, or with the strategy "div" in even runs of rows.
    Rows longer than `max_norm` are scaled to it. The gradient is `IndexedSlices`.
    """
    del validate_indices
    if params is None:
        raise ValueError("params must be specified")
    parts = list(params) if isinstance(params, (list, tuple)) else _parts_of(params)
    if not parts:
        raise ValueError("Length of params is currently 0. Need at least one parameter.")
    with name_scope(name, "embedding_lookup", [*parts, ids]) as scope:
        if not any(hasattr(p, "handle") for p in parts):
            parts = [convert_to_tensor(p, name=f"params_{i}") for i, p in enumerate(parts)]
        ids = convert_to_tensor(ids, name="ids")
        if len(parts) == 1:
            with get_default_graph().colocate_with(parts[0]):
                rows = _clipped(gather.gather(parts[0], ids, name=scope), ids, max_norm)
            return array.identity(rows)
        return _clipped(_lookup_in_parts(parts, ids, partition_strategy, scope), ids, max_norm)


def _parts_of(params: Any) -> list[Any]:
    """The parts of a partitioned variable; anything else is one part."""
    listed = getattr(params, "_get_variable_list", None)
    return [params] if listed is None else list(listed())


def _lookup_in_parts(parts: Sequence[Any], ids: Tensor, strategy: str, scope: str) -> Tensor:
    flat = array.reshape(ids, [-1])
    places = array.range(array.size(flat))
    if strategy == "mod":
        part, row = flat % len(parts), flat // len(parts)
    elif strategy == "div":
        part, row = _in_runs(parts, flat)
    else:
        raise ValueError(
            f"Unrecognized partition strategy: {strategy}.Must be one of either `mod` or `div`."
        )
    part = math.cast(part, dtypes.int32)
    rows = partition.dynamic_partition(row, part, len(parts))
    where = partition.dynamic_partition(places, part, len(parts))
    found = []
    for table, wanted in zip(parts, rows, strict=True):
        with get_default_graph().colocate_with(table):
            found.append(gather.gather(table, wanted))
    whole = partition.parallel_dynamic_stitch(where, found, name=scope)
    element = parts[0].shape[1:]
    for table in parts[1:]:
        element = element.merge_with(table.shape[1:])
    tail = element if element.is_fully_defined() else array.shape(parts[0])[1:]
    result = array.reshape(whole, array.concat([array.shape(ids), tail], 0))
    result.set_shape(ids.shape.concatenate(element))
    return result


def _in_runs(parts: Sequence[Any], ids: Tensor) -> tuple[Tensor, Tensor]:
    """(part, row in it) of each id where the parts hold even runs, the first ones a row more."""
    k, kind = len(parts), ids.dtype.base_dtype
    sizes = [p.shape[0].value for p in parts]
    if None not in sizes and sum(sizes):
        total = constant(sum(sizes), kind)
    else:
        lengths = [array.shape(p)[0] if n is None else n for p, n in zip(parts, sizes, strict=True)]
        total = reduce.reduce_sum(math.cast(array.stack(lengths), kind))
    run, extra = total // k, total % k
    part = math.maximum(ids // (run + 1), (ids - extra) // run)
    return part, gather.where(part < extra, ids % (run + 1), (ids - extra) % run)


def _clipped(rows: Tensor, ids: Tensor, max_norm: float | None) -> Tensor:
    if max_norm is None:
        return rows
    if rows._dims is None or ids._dims is None:
        axes: Any = array.range(array.rank(ids), array.rank(rows))
    else:
        axes = list(range(len(ids._dims), len(rows._dims)))
    return normalize.clip_by_norm(rows, max_norm, axes=axes)
