"""Graphs as protos: a GraphDef with TensorFlow's op types, attributes and node names."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np

from headrace import protos
from headrace.dtypes import DType, as_dtype
from headrace.shapes import TensorShape

_PRODUCER = 2300  # the GraphDef version of TensorFlow 2.21, whose op set is the one used here


def graph_def(ops: Iterable[Any], add_shapes: bool = False) -> Any:
    """A GraphDef of operations."""
    proto = protos.GraphDef()
    proto.versions.producer = _PRODUCER
    for op in ops:
        node = proto.node.add()
        _fill(node, op)
        if add_shapes and op.outputs:
            listed = node.attr["_output_shapes"].list
            listed.shape.extend(t.shape.as_proto() for t in op.outputs)
    return proto


def node_def(op: Any) -> Any:
    """A NodeDef of one operation."""
    node = protos.NodeDef()
    _fill(node, op)
    return node


def _fill(node: Any, op: Any) -> None:
    node.name, node.op, node.device = op.name, op.type, op.device
    for t in op.inputs:
        node.input.append(t.op.name if t.value_index == 0 else t.name)
    node.input.extend(sorted("^" + c.name for c in op._control_inputs))
    for name, value in op.attrs.items():
        if name == "_class":
            listed = node.attr[name].list
            listed.s.extend(b"loc:@" + n.encode() for n in value)
        elif not callable(value) and not name.startswith("_py"):
            attr_value(node.attr[name], value)


def attr_value(proto: Any, value: Any) -> None:
    """Fill an AttrValue: its kind follows the Python type of the value."""
    if isinstance(value, bool):
        proto.b = value
    elif isinstance(value, (int, np.integer)):
        proto.i = int(value)
    elif isinstance(value, (float, np.floating)):
        proto.f = float(value)
    elif isinstance(value, DType):
        proto.type = value.as_datatype_enum
    elif isinstance(value, TensorShape):
        proto.shape.CopyFrom(value.as_proto())
    elif isinstance(value, bytes):
        proto.s = value
    elif isinstance(value, str):
        proto.s = value.encode()
    elif isinstance(value, np.ndarray):
        tensor_proto(value, proto.tensor)
    elif isinstance(value, (list, tuple)):
        listed = proto.list
        listed.SetInParent()
        for item in value:
            if isinstance(item, bool):
                listed.b.append(item)
            elif isinstance(item, (int, np.integer)):
                listed.i.append(int(item))
            elif isinstance(item, float):
                listed.f.append(item)
            elif isinstance(item, DType):
                listed.type.append(item.as_datatype_enum)
            elif isinstance(item, TensorShape):
                listed.shape.append(item.as_proto())
            else:
                listed.s.append(item if isinstance(item, bytes) else str(item).encode())
    else:
        proto.s = repr(value).encode()


def tensor_proto(array: np.ndarray, proto: Any = None) -> Any:
    """A TensorProto of an array: bytes of its elements, or its strings."""
    proto = protos.TensorProto() if proto is None else proto
    dtype = as_dtype(array.dtype)
    proto.dtype = dtype.as_datatype_enum
    proto.tensor_shape.SetInParent()
    for size in array.shape:
        proto.tensor_shape.dim.add(size=size)
    if dtype.kind == "S":
        items = (s if isinstance(s, bytes) else str(s).encode() for s in array.ravel().tolist())
        proto.string_val.extend(items)
    elif array.ndim == 0 and dtype.name in _SCALAR_FIELD:
        getattr(proto, _SCALAR_FIELD[dtype.name]).append(array.item())
    else:
        proto.tensor_content = np.ascontiguousarray(array).tobytes()
    return proto


_SCALAR_FIELD = {
    "float32": "float_val", "float64": "double_val", "int32": "int_val", "int64": "int64_val",
    "uint8": "int_val", "int8": "int_val", "int16": "int_val", "uint16": "int_val",
    "bool": "bool_val", "uint32": "uint32_val", "uint64": "uint64_val",
}  # fmt: skip
