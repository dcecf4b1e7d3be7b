"""Checkpoints as operations: tensors to files, and from files."""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from typing import Any

import numpy as np

from headrace import bundle, shapes
from headrace.bundle import slices
from headrace.errors import InvalidArgumentError
from headrace.node import Operation, Tensor
from headrace.opdef import NOT_DIFFERENTIABLE, Spec, op, scalar_shape


def _text(value: Any) -> str:
    return value.decode("utf-8", "surrogateescape")


def _texts(array: Any) -> list[str]:
    return [_text(v) for v in np.ravel(array).tolist()]


def _prefix(prefix: Any) -> str:
    if np.size(prefix) != 1:
        raise _refuse(f"Input prefix should have a single element, got {np.size(prefix)} instead.")
    return _texts(prefix)[0]


def _check(names: list[str], specs: list[str], n: int, what: str) -> None:
    if len(names) != len(specs):
        raise _refuse(
            "tensor_names and shape_and_slices have different number of elements: "
            f"{len(names)} vs. {len(specs)}"
        )
    if len(names) != n:
        raise _refuse(f"Got {len(names)} tensor names but {n} {what}.")


def _refuse(message: str) -> InvalidArgumentError:
    return InvalidArgumentError(None, None, message)


@op(
    "SaveV2",
    "prefix: string, tensor_names: string, shape_and_slices: string, tensors: *dtypes",
    host=True,
    pure=False,
)
def _save(xp: Any, prefix: Any, names: Any, specs: Any, tensors: list[Any]) -> None:
    texts, cuts = _texts(names), _texts(specs)
    _check(texts, cuts, len(tensors), "tensors")
    with bundle.BundleWriter(_prefix(prefix)) as writer:
        for i in sorted(range(len(texts)), key=texts.__getitem__):
            if cuts[i]:
                writer.add_slice(texts[i], *slices.parse_spec(cuts[i]), tensors[i])
            else:
                writer.add(texts[i], tensors[i])
        writer.finish()


@op(
    "RestoreV2",
    "prefix: string, tensor_names: string, shape_and_slices: string -> tensors: *dtypes",
    host=True,
    pure=False,
)
def _restore(xp: Any, prefix: Any, names: Any, specs: Any, *, dtypes: Any) -> tuple[Any, ...]:
    texts, cuts = _texts(names), _texts(specs)
    _check(texts, cuts, len(dtypes), "expected dtypes")
    with bundle.open_checkpoint(_prefix(prefix)) as reader:
        missing = [n for n in texts if n not in reader.shapes]
        if missing:
            raise reader.missing(missing)
        return tuple(_read(reader, *row) for row in zip(texts, cuts, dtypes, strict=True))


def _read(reader: bundle.Reader, name: str, spec: str, dtype: Any) -> Any:
    if reader.dtypes[name] is not dtype:
        raise _refuse(
            f"tensor_name = {name}; expected dtype {dtype.name} does not equal original dtype "
            f"{reader.dtypes[name].name}"
        )
    if not spec:
        return reader.read(name)
    shape, box = slices.parse_spec(spec)
    if shape != reader.shapes[name]:
        raise _refuse(
            f"tensor_name = {name}; shape in shape_and_slice spec {shapes.brackets(shape)} does "
            f"not match the shape stored in checkpoint: {shapes.brackets(reader.shapes[name])}"
        )
    return reader.read_slice(name, box)


@_restore.def_infer
def _(prefix: Spec, names: Spec, specs: Spec, *, dtypes: Any) -> list[shapes.Shape]:
    cuts = None if specs.value is None else _texts(specs.value)
    if cuts is None or len(cuts) != len(dtypes):
        return [None] * len(dtypes)
    return [_spec_shape(cut) for cut in cuts]


def _spec_shape(spec: str) -> shapes.Shape:
    if not spec:
        return None
    try:
        shape, box = slices.parse_spec(spec)
    except InvalidArgumentError as error:
        raise ValueError(error.message) from None
    return slices.shape_of(slices.within(box, shape))


@op("ShardedFilename", "basename: string, shard: int32, num_shards: int32 -> filename: string",
    host=True)  # fmt: skip
def _sharded_filename(xp: Any, basename: Any, shard: Any, num_shards: Any) -> Any:
    return _string(f"{_prefix(basename)}-{int(shard):05d}-of-{int(num_shards):05d}")


@op("ShardedFilespec", "basename: string, num_shards: int32 -> filename: string", host=True)
def _sharded_filespec(xp: Any, basename: Any, num_shards: Any) -> Any:
    return _string(f"{_prefix(basename)}-?????-of-{int(num_shards):05d}")


_sharded_filename.infer = _sharded_filespec.infer = scalar_shape


def _string(text: str) -> np.ndarray:
    return np.array(text.encode("utf-8", "surrogateescape"), object)


@op(
    "MergeV2Checkpoints",
    "checkpoint_prefixes: string, destination_prefix: string",
    host=True,
    pure=False,
)
def _merge(
    xp: Any,
    prefixes: Any,
    destination: Any,
    *,
    delete_old_dirs: bool = True,
    allow_missing_files: bool = False,
) -> None:
    parts, whole = _texts(prefixes), _prefix(destination)
    if allow_missing_files:
        parts = [p for p in parts if os.path.exists(f"{p}.index")]
    bundle.merge(parts, whole)
    if delete_old_dirs:
        for directory in {os.path.dirname(p) for p in parts} - {os.path.dirname(whole)}:
            with suppress(OSError):  # another save may still be using it
                os.rmdir(directory)


for _op in (_save, _restore, _sharded_filename, _sharded_filespec, _merge):
    _op.gradient = NOT_DIFFERENTIABLE


def save_v2(
    prefix: Any,
    tensor_names: Sequence[str],
    shape_and_slices: Sequence[str],
    tensors: Sequence[Any],
    name: str | None = None,
) -> Operation:
    """Write tensors to the checkpoint `prefix`, under names; a spec says which part one is.

    FailedPreconditionError if a variable has no value, NotFoundError if there is no such directory.
    """
    return _save(prefix, tensor_names, shape_and_slices, list(tensors), name=name)


def restore_v2(
    prefix: Any,
    tensor_names: Sequence[str],
    shape_and_slices: Sequence[str],
    dtypes: Sequence[Any],
    name: str | None = None,
) -> list[Tensor]:
    """Tensors from the checkpoint `prefix` (of either format), by name; a spec asks for a part.

    NotFoundError if there is none of a name, DataLossError if the files are broken,
    InvalidArgumentError if a type is not that of the file.
    """
    return _restore(prefix, tensor_names, shape_and_slices, dtypes=tuple(dtypes), name=name)


def sharded_filename(basename: Any, shard: Any, num_shards: Any, name: str | None = None) -> Tensor:
    """The name of a shard: `basename-00000-of-00002`."""
    return _sharded_filename(basename, shard, num_shards, name=name)


def sharded_filespec(basename: Any, num_shards: Any, name: str | None = None) -> Tensor:
    """The pattern of the names of all shards: `basename-?????-of-00002`."""
    return _sharded_filespec(basename, num_shards, name=name)


def merge_v2_checkpoints(
    checkpoint_prefixes: Any,
    destination_prefix: Any,
    delete_old_dirs: bool = True,
    allow_missing_files: bool = False,
    name: str | None = None,
) -> Operation:
    """Make one checkpoint of several, which are gone then, with their directories if empty."""
    return _merge(
        checkpoint_prefixes, destination_prefix, delete_old_dirs=delete_old_dirs,
        allow_missing_files=allow_missing_files, name=name,
    )  # fmt: skip
