"""The messages in checkpoint files, of which tensorboard has no protos.

They are described here and made when first asked for, in a pool of their own: a process that has
loaded TensorFlow too has messages of the same names. Enumerations are plain integers, which are
written alike.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from typing import Any

from headrace.bundle.table import varint

# message -> (field, number, type); `*` after a type: repeated, `?`: present even if zero
_MESSAGES: dict[str, tuple[tuple[str, int, str], ...]] = {
    "VersionDef": (
        ("producer", 1, "int32"),
        ("min_consumer", 2, "int32"),
        ("bad_consumers", 3, "int32*"),
    ),
    "Dim": (("size", 1, "int64"), ("name", 2, "string")),
    "TensorShapeProto": (("dim", 2, "Dim*"), ("unknown_rank", 3, "bool")),
    "Extent": (("start", 1, "int64"), ("length", 2, "int64?")),
    "TensorSliceProto": (("extent", 1, "Extent*"),),
    "BundleHeaderProto": (
        ("num_shards", 1, "int32"),
        ("endianness", 2, "int32"),
        ("version", 3, "VersionDef"),
    ),
    "BundleEntryProto": (
        ("dtype", 1, "int32"),
        ("shape", 2, "TensorShapeProto"),
        ("shard_id", 3, "int32"),
        ("offset", 4, "int64"),
        ("size", 5, "int64"),
        ("crc32c", 6, "fixed32"),
        ("slices", 7, "TensorSliceProto*"),
    ),
    "BundleEntries": (("entry", 1, "BundleEntryProto*"),),  # our own: see `entries_together`
    # the first format, `SavedTensorSlices`
    "TensorProto": (
        ("tensor_content", 4, "bytes"),
        ("float_val", 5, "float*"),
        ("double_val", 6, "double*"),
        ("int_val", 7, "int32*"),
        ("string_val", 8, "bytes*"),
        ("scomplex_val", 9, "float*"),
        ("int64_val", 10, "int64*"),
        ("bool_val", 11, "bool*"),
        ("dcomplex_val", 12, "double*"),
        ("half_val", 13, "int32*"),
        ("uint32_val", 16, "uint32*"),
        ("uint64_val", 17, "uint64*"),
    ),
    "SavedSliceMeta": (
        ("name", 1, "string"),
        ("shape", 2, "TensorShapeProto"),
        ("type", 3, "int32"),
        ("slice", 4, "TensorSliceProto*"),
    ),
    "SavedTensorSliceMeta": (("tensor", 1, "SavedSliceMeta*"), ("versions", 2, "VersionDef")),
    "SavedSlice": (
        ("name", 1, "string"),
        ("slice", 2, "TensorSliceProto"),
        ("data", 3, "TensorProto"),
    ),
    "SavedTensorSlices": (("meta", 1, "SavedTensorSliceMeta"), ("data", 2, "SavedSlice")),
    # the file `checkpoint`
    "CheckpointState": (
        ("model_checkpoint_path", 1, "string"),
        ("all_model_checkpoint_paths", 2, "string*"),
        ("all_model_checkpoint_timestamps", 3, "double*"),
        ("last_preserved_timestamp", 4, "double"),
    ),
    # the state of a reader
    "ReaderBaseState": (
        ("work_started", 1, "int64"),
        ("work_finished", 2, "int64"),
        ("num_records_produced", 3, "int64"),
        ("current_work", 4, "bytes"),
    ),
    # in the collections of a meta graph
    "QueueRunnerDef": (
        ("queue_name", 1, "string"),
        ("enqueue_op_name", 2, "string*"),
        ("close_op_name", 3, "string"),
        ("cancel_op_name", 4, "string"),
        ("queue_closed_exception_types", 5, "int32*"),
    ),
}


_ENTRY = b"\x0a"  # the tag of field 1 of BundleEntries


def entries_together(entries: Iterable[bytes]) -> bytes:
    """A BundleEntries of serialized BundleEntryProtos.

    A message that is parsed, made or serialized takes an arena, and a field that is looked at and
    not there another; and protobuf gives all free memory back to the system (`malloc_trim`) at
    every ten-thousandth that it frees. The values that are read next then cost a page fault every
    4 KiB, which is more than the reading. So thousands of entries are parsed as one message.
    """
    return b"".join([_ENTRY + varint(len(entry)) + entry for entry in entries])


@cache
def message(name: str) -> Any:
    """The class of a message."""
    from google.protobuf.message_factory import GetMessageClass

    return GetMessageClass(_pool().FindMessageTypeByName(f"tensorflow.{name}"))


@cache
def _pool() -> Any:
    from google.protobuf.descriptor_pb2 import FieldDescriptorProto, FileDescriptorProto
    from google.protobuf.descriptor_pool import DescriptorPool

    file = FileDescriptorProto(name="checkpoint.proto", package="tensorflow", syntax="proto3")
    for name, fields in _MESSAGES.items():
        made = file.message_type.add(name=name)
        for field, number, kind in fields:
            described = made.field.add(name=field, number=number)
            base = kind.rstrip("*?")
            described.label = (
                FieldDescriptorProto.LABEL_REPEATED
                if kind.endswith("*")
                else FieldDescriptorProto.LABEL_OPTIONAL
            )
            if kind.endswith("?"):
                made.oneof_decl.add(name=f"has_{field}")
                described.oneof_index = 0
            if base in _MESSAGES:
                described.type = FieldDescriptorProto.TYPE_MESSAGE
                described.type_name = f".tensorflow.{base}"
            else:
                described.type = getattr(FieldDescriptorProto, f"TYPE_{base.upper()}")
    pool = DescriptorPool()
    pool.Add(file)
    return pool
