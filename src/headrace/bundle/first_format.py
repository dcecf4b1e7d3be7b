"""Checkpoints of TensorFlow's first format: one sorted table a file, values in it as protos."""

from __future__ import annotations

import glob
import math
import os
from typing import BinaryIO

import numpy as np

from headrace.bundle import files, slices
from headrace.bundle.reader import BundleReader, Reader, broken, dtype_of, parse, shape_of
from headrace.bundle.slices import Box
from headrace.bundle.table import Table
from headrace.errors import NotFoundError, UnimplementedError

# Where a TensorProto has the values, and how they lie there.
_FIELDS = {
    "float32": ("float_val", np.float32),
    "float64": ("double_val", np.float64),
    "complex64": ("scomplex_val", np.float32),
    "complex128": ("dcomplex_val", np.float64),
    "int64": ("int64_val", np.int64),
    "uint32": ("uint32_val", np.uint32),
    "uint64": ("uint64_val", np.uint64),
    "bool": ("bool_val", np.bool_),
    "float16": ("half_val", np.uint16),
    "bfloat16": ("half_val", np.uint16),
    **dict.fromkeys(("int8", "int16", "int32", "uint8", "uint16"), ("int_val", np.int32)),
}


class FirstFormatReader(Reader):
    """A checkpoint of the first format: the file `prefix`, or those that it is a pattern for."""

    def __init__(self, prefix: str):
        super().__init__(prefix)
        self._files: list[BinaryIO] = []
        paths = [prefix] if os.path.isfile(prefix) else sorted(glob.glob(prefix))
        if not paths:
            raise NotFoundError(
                None,
                None,
                "Unsuccessful TensorSliceReader constructor: Failed to find any matching files for "
                f"{prefix}",
            )
        self._found: dict[str, list[tuple[Box, Table]]] = {}
        self.shapes, self.dtypes = {}, {}
        try:
            for path in paths:
                self._take(path)
        except BaseException:
            self.close()
            raise

    def _take(self, path: str) -> None:
        with files.os_errors(path):
            file = open(path, "rb")  # noqa: SIM115
        self._files.append(file)
        with files.os_errors(path):
            table = Table(file, path)
            meta = table.get(b"")
        if meta is None:
            raise broken(path, "it has no table of contents")
        for tensor in parse(path, "SavedTensorSlices", meta).meta.tensor:
            shape = shape_of(path, tensor.name, tensor.shape)
            dtype = dtype_of(tensor.type)
            known = self.shapes.setdefault(tensor.name, shape), self.dtypes.setdefault(
                tensor.name, dtype
            )  # fmt: skip
            if known != (shape, dtype):
                raise broken(path, f"{tensor.name} is of several shapes or types")
            found = self._found.setdefault(tensor.name, [])
            for part in tensor.slice:
                box = slices.from_proto(part)
                if all(box != other for other, _ in found):
                    found.append((box, table))

    def close(self) -> None:
        """Close its files."""
        for file in self._files:
            file.close()

    def _parts(self, name: str) -> list[Box]:
        return [box for box, _ in self._found[name]]

    def _read_part(self, name: str, part: Box, shape: tuple[int, ...]) -> np.ndarray:
        table = next(t for box, t in self._found[name] if box == part)
        with files.os_errors(self.prefix):
            value = table.get(slices.slice_key(name.encode(), part))
        if value is None:
            raise broken(self.prefix, f"a part of {name} is missing")
        data = parse(self.prefix, "SavedTensorSlices", value).data.data
        dtype = self.dtypes[name]
        count = math.prod(shape)
        if dtype.kind == "S":
            out = np.empty(len(data.string_val), object)
            out[:] = list(data.string_val)
        elif dtype.name not in _FIELDS:
            raise UnimplementedError(None, None, f"{name}: cannot read a tensor of {dtype.name}.")
        else:
            field, kind = _FIELDS[dtype.name]
            raw = np.array(getattr(data, field), kind)
            if dtype.kind == "c" or kind == np.uint16:
                raw = raw.view(dtype.numpy) if raw.size % 2 == 0 or dtype.kind != "c" else raw[:0]
            out = raw.astype(dtype.numpy, copy=False)
        if out.size != count:
            raise broken(self.prefix, f"{name}: {out.size} values for {count}")
        return out.reshape(shape)


def open_checkpoint(prefix: str) -> Reader:
    """The checkpoint of that name, of whichever format."""
    if os.path.exists(files.index_name(prefix)):
        return BundleReader(prefix)
    return FirstFormatReader(prefix)
