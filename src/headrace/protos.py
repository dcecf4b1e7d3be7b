"""Protocol buffers (`tf.ConfigProto`, `tf.GraphDef`...), loaded when asked for.

The classes are tensorboard's copies of TensorFlow's. They are heavy to import, so `headrace`
gives them by `__getattr__` (PEP 562).
"""

from __future__ import annotations

from importlib import import_module
from typing import Any

_PACKAGE = "tensorboard.compat.proto."
_MODULES = {
    "config_pb2": ("ConfigProto", "GPUOptions", "GraphOptions", "OptimizerOptions", "RunMetadata",
                   "RunOptions"),
    "graph_pb2": ("GraphDef",),
    "node_def_pb2": ("NodeDef",),
    "op_def_pb2": ("OpDef",),
    "attr_value_pb2": ("AttrValue", "NameAttrList"),
    "event_pb2": ("Event", "SessionLog", "LogMessage"),
    "summary_pb2": ("Summary", "SummaryMetadata", "HistogramProto", "SummaryDescription"),
    "meta_graph_pb2": ("MetaGraphDef",),
    "tensor_pb2": ("TensorProto",),
    "tensor_shape_pb2": ("TensorShapeProto",),
    "variable_pb2": ("VariableDef",),
    "cluster_pb2": ("ClusterDef", "JobDef"),
    "saver_pb2": ("SaverDef",),
}  # fmt: skip
_MODULE_OF = {name: module for module, names in _MODULES.items() for name in names}
NAMES = tuple(_MODULE_OF)


def __getattr__(name: str) -> Any:
    module = _MODULE_OF.get(name)
    if module is None:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(_PACKAGE + module), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return [*NAMES, "NAMES"]
