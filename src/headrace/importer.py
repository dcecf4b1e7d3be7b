"""Graphs from protos: `tf.import_graph_def`.

The nodes are made as if the program had made them: by the definitions of their op types, with the
checks and static shapes of these. A node of a type that is not known here is kept, if the file says
what its outputs are; it can be looked at, but not run.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from typing import Any

import numpy as np

from headrace.conversion import convert_to_tensor
from headrace.dtypes import DType, as_dtype
from headrace.errors import NotFoundError
from headrace.graph import Graph, get_default_graph, name_scope
from headrace.node import Operation, Tensor
from headrace.opdef import REGISTRY, OpDef
from headrace.shapes import TensorShape

_HINTS = ("_output_shapes", "_has_manual_control_dependencies")  # of TensorFlow to itself


def import_graph_def(
    graph_def: Any,
    input_map: Mapping[str, Any] | None = None,
    return_elements: Sequence[str] | None = None,
    name: str | None = None,
    op_dict: Any = None,
    producer_op_list: Any = None,
) -> list[Any] | None:
    """Add the nodes of a GraphDef to the default graph, under the scope `name` ("import").

    `input_map` says what takes the place of tensors named there, `return_elements` which tensors
    ("a:0") and operations ("a") to return. `producer_op_list`, an OpList, describes op types that
    may not be known here. NotFoundError for a type that is known to neither; ValueError for names
    that are not there and for nodes that do not fit together.
    """
    del op_dict
    if not hasattr(graph_def, "node") or not hasattr(graph_def, "versions"):
        raise TypeError(f"Argument `graph_def` must be a GraphDef proto. Received: {graph_def!r}.")
    if input_map is not None and not isinstance(input_map, Mapping):
        raise TypeError(
            f"Argument `input_map` must be a dictionary. Obtained {type(input_map).__name__}"
        )
    wanted = [e.decode() if isinstance(e, bytes) else e for e in return_elements or ()]
    if not all(isinstance(e, str) for e in wanted):
        raise TypeError(
            f"Argument `return_elements` must be a list of strings. Obtained {return_elements}."
        )
    graph = get_default_graph()
    mapped = dict(input_map or {})
    with name_scope(name, "import", [v for v in mapped.values() if isinstance(v, Tensor)]) as scope:
        mapped = _as_tensors(mapped, name)
        described = {op.name: op for op in getattr(producer_op_list, "op", ())}
        with graph.control_dependencies(None):
            made = _Import(graph, scope, mapped, described)
            made.add(graph_def.node)
    made.check(wanted)
    return None if return_elements is None else [made.element(e) for e in wanted]


def _as_tensors(mapped: dict[str, Any], name: str | None) -> dict[str, Any]:
    if all(isinstance(v, (Tensor, Operation)) for v in mapped.values()):
        return mapped
    if name == "":
        raise ValueError(
            "tf.import_graph_def() requires a non-empty `name` if `input_map` contains non-Tensor "
            "values. Try calling tf.convert_to_tensor() on `input_map` values before calling "
            "tf.import_graph_def()."
        )
    with name_scope("_inputs"):
        return {
            k: v if isinstance(v, Operation) else convert_to_tensor(v) for k, v in mapped.items()
        }


class _Import:
    """The nodes of one GraphDef on their way into a graph."""

    def __init__(self, graph: Graph, scope: str, mapped: dict[str, Any], described: dict[str, Any]):
        self._graph = graph
        self._scope = scope
        self._described = described
        self._mapped = {_canonical(k): v for k, v in mapped.items()}
        self._used: set[str] = set()
        self._ops: dict[str, Operation] = {}

    def add(self, nodes: Sequence[Any]) -> None:
        unknown = {n.op: n.name for n in nodes if n.op not in REGISTRY}
        unknown = {op: n for op, n in unknown.items() if op not in self._described}
        if unknown:
            listed = "".join(f"\n  {op} (node {unknown[op]!r})" for op in sorted(unknown))
            raise NotFoundError(
                None, None, f"Op type not registered: headrace does not have{listed}"
            )
        for node in _in_order(nodes, self._mapped):
            self._ops[node.name] = self._make(node)

    def check(self, wanted: Sequence[str]) -> None:
        """ValueError if a name of `input_map` or `return_elements` was not there."""
        unused = [k for k in self._mapped if k not in self._used]
        unknown = [k for k in unused if _op_name(k) not in self._ops]
        if unknown:
            raise ValueError(
                f"Attempted to map inputs that were not found in graph_def: [{', '.join(unknown)}]"
            )
        for element in wanted:
            if _op_name(element) not in self._ops:
                raise ValueError(f"Requested return_element {element!r} not found in graph_def.")

    def element(self, name: str) -> Any:
        op = self._ops[_op_name(name)]
        if ":" not in name:
            return op
        index = int(name.rpartition(":")[2])
        if index >= len(op.outputs):
            raise ValueError(f"Requested return_element {name!r} not found in graph_def.")
        return op.outputs[index]

    # -- one node ------------------------------------------------------------------------------

    def _make(self, node: Any) -> Operation:
        graph = self._graph
        inputs = [self._tensor(i, node) for i in node.input if not i.startswith("^")]
        before = [self._control(i) for i in node.input if i.startswith("^")]
        attrs = {k: _attr(v) for k, v in node.attr.items() if k not in _HINTS}
        if "_class" in attrs:
            attrs["_class"] = self._classes(attrs["_class"])
        device = graph.device(node.device) if node.device else nullcontext()
        definition = REGISTRY.get(node.op)
        with device, graph.control_dependencies(before):
            try:
                if definition is None:
                    return self._make_unknown(node, inputs, attrs)
                arguments = _grouped(definition, inputs, attrs)
                return definition.node(*arguments, name=node.name, **attrs)
            except (TypeError, ValueError) as error:
                raise ValueError(f"Node {node.name!r} (op: {node.op!r}): {error}") from error

    def _make_unknown(self, node: Any, inputs: list[Tensor], attrs: dict[str, Any]) -> Operation:
        types: list[DType] = []
        for arg in self._described[node.op].output_arg:
            kind = as_dtype(arg.type) if arg.type else None
            if arg.type_list_attr:
                types += attrs[arg.type_list_attr]
            else:
                kind = attrs[arg.type_attr] if kind is None else kind
                kind = kind.as_ref if arg.is_ref else kind
                types += [kind] * (attrs[arg.number_attr] if arg.number_attr else 1)
        return self._graph.create_op(node.op, inputs, types, name=node.name, attrs=attrs)

    def _tensor(self, name: str, node: Any) -> Tensor:
        key = _canonical(name)
        if key in self._mapped:
            self._used.add(key)
            return self._mapped[key]
        op, index = self._ops[_op_name(name)], int(key.rpartition(":")[2])
        if index >= len(op.outputs):
            raise ValueError(
                f"Node '{node.name}': Connecting to invalid output {index} of source node "
                f"{op.name} which has {len(op.outputs)} outputs."
            )
        return op.outputs[index]

    def _control(self, name: str) -> Operation:
        if name in self._mapped:
            self._used.add(name)
            found = self._mapped[name]
            return found.op if isinstance(found, Tensor) else found
        return self._ops[name[1:]]

    def _classes(self, classes: Sequence[str]) -> tuple[str, ...]:
        """The names of the ops beside which one is, as they are called here."""
        names = [c.removeprefix("loc:@") for c in classes]
        found = (self._ops[n].name if n in self._ops else self._scope + n for n in names)
        return tuple(found)


def _op_name(name: str) -> str:
    return name.removeprefix("^").partition(":")[0]


def _canonical(name: str | bytes) -> str:
    name = name.decode() if isinstance(name, bytes) else name
    return name if name.startswith("^") or ":" in name else f"{name}:0"


def _in_order(nodes: Sequence[Any], mapped: Mapping[str, Any]) -> list[Any]:
    """The nodes, each behind those that it needs. ValueError for a name that none has."""
    by_name = {node.name: node for node in nodes}
    if len(by_name) < len(nodes):
        names = [node.name for node in nodes]
        twice = next(n for n in names if names.count(n) > 1)
        raise ValueError(f"Node '{twice}' is not unique")
    ordered: list[Any] = []
    state: dict[str, int] = {}  # 1: what it needs is being put in order, 2: done
    for start in nodes:
        stack = [start]
        while stack:
            node = stack[-1]
            if state.get(node.name) == 2:
                stack.pop()
                continue
            needed = []
            for name in node.input:
                if _canonical(name) in mapped or state.get(_op_name(name)) == 2:
                    continue
                source = by_name.get(_op_name(name))
                if source is None:
                    raise ValueError(f"Node '{node.name}': Unknown input node '{name}'")
                needed.append(source)
            if not needed:
                state[node.name] = 2
                ordered.append(stack.pop())
            elif state.get(node.name) == 1:
                raise ValueError(
                    f"Node '{node.name}' is in a cycle: loops of `tf.while_loop` as TensorFlow 1 "
                    "wrote them cannot be imported."
                )
            else:
                state[node.name] = 1
                stack += reversed(needed)
    return ordered


def _grouped(definition: OpDef, inputs: list[Tensor], attrs: dict[str, Any]) -> list[Any]:
    """Flat inputs as the arguments of a signature."""
    left, grouped = list(inputs), []
    for arg in definition.inputs:
        if arg.count_attr:
            size = attrs[arg.count_attr]
        elif arg.many:
            size = len(attrs[arg.type_attr])  # type: ignore[index]
        else:
            size = None
        taken, left = left[: size or int(size is None)], left[size or int(size is None) :]
        if size is None:
            if not taken:
                raise ValueError(f"an operand is missing: {arg.name!r}")
            grouped.append(taken[0])
        else:
            grouped.append(taken)
    if left:
        raise ValueError(f"{len(inputs)} inputs are too many")
    return grouped


# -- attributes ------------------------------------------------------------------------------------


def _attr(proto: Any) -> Any:
    """The Python value of an AttrValue."""
    kind = proto.WhichOneof("value")
    if kind == "list":
        for field, convert in _LISTS.items():
            items = getattr(proto.list, field)
            if items:
                return tuple(convert(item) for item in items)
        return ()
    if kind == "func":
        return proto.func.name
    if kind is None or kind == "placeholder":
        return None
    return _LISTS[kind](getattr(proto, kind))


def _text(value: bytes) -> Any:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value


def _shape(proto: Any) -> TensorShape:
    if proto.unknown_rank:
        return TensorShape(None)
    return TensorShape([None if d.size < 0 else d.size for d in proto.dim])


def make_ndarray(proto: Any) -> np.ndarray:
    """The array of a TensorProto. TypeError or ValueError if it has no sound one."""
    dtype = as_dtype(proto.dtype)
    shape = tuple(d.size for d in proto.tensor_shape.dim)
    if proto.tensor_content:
        return np.frombuffer(proto.tensor_content, dtype.numpy).copy().reshape(shape)
    if dtype.kind == "S":
        values = np.empty(len(proto.string_val), object)
        values[:] = list(proto.string_val)
    elif dtype.name in ("float16", "bfloat16"):
        values = np.array(proto.half_val, np.uint16).view(dtype.numpy)
    elif dtype.kind == "c":
        pairs = proto.scomplex_val if dtype.name == "complex64" else proto.dcomplex_val
        values = np.array(pairs, dtype.real_dtype.numpy).view(dtype.numpy)
    else:
        values = np.array(getattr(proto, _FIELDS[dtype.name])).astype(dtype.numpy)
    size = int(np.prod(shape))
    if values.size < size:  # the last one stands for the rest; without any it is zero
        last = values[-1:] if values.size else np.zeros(1, dtype.numpy)
        values = np.concatenate([values, np.repeat(last, size - values.size)])
    return values.reshape(shape)


_FIELDS = {
    "float32": "float_val", "float64": "double_val", "int64": "int64_val", "bool": "bool_val",
    "uint32": "uint32_val", "uint64": "uint64_val",
    **dict.fromkeys(("int8", "int16", "int32", "uint8", "uint16"), "int_val"),
}  # fmt: skip
_LISTS = {
    "s": _text, "i": int, "f": float, "b": bool, "type": as_dtype, "shape": _shape,
    "tensor": make_ndarray, "func": lambda f: f.name,
}  # fmt: skip
