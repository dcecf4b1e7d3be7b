"""Graphs with all that belongs to them as MetaGraphDef protos, to files and from files."""

from __future__ import annotations

import os
import re
import warnings
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from headrace import protos
from headrace.bundle import files
from headrace.graph import Graph, get_default_graph
from headrace.importer import import_graph_def
from headrace.keys import GraphKeys
from headrace.variables import Variable

_UNBOUND = "$unbound_inputs_"
_VARIABLES = (
    GraphKeys.GLOBAL_VARIABLES,
    GraphKeys.TRAINABLE_VARIABLES,
    GraphKeys.LOCAL_VARIABLES,
    GraphKeys.MODEL_VARIABLES,
    GraphKeys.METRIC_VARIABLES,
    GraphKeys.MOVING_AVERAGE_VARIABLES,
    GraphKeys.GLOBAL_STEP,
)
_SAVE_OPS = ("SaveV2", "Save", "SaveSlices", "RestoreV2", "Restore", "RestoreSlice")


# -- kinds of collections --------------------------------------------------------------------------


# collection -> (the class of its protos, item to proto, proto to item)
_KINDS: dict[str, tuple[Callable[[], Any], Callable[..., Any], Callable[..., Any]]] = {
    key: (lambda: protos.VariableDef, Variable.to_proto, Variable.from_proto) for key in _VARIABLES
}


def register_proto_function(
    collection_name: str,
    proto_type: Any = None,
    to_proto: Callable[..., Any] | None = None,
    from_proto: Callable[..., Any] | None = None,
) -> None:
    """Say how the items of a collection are written to meta graphs, and read from them.

    `to_proto(item, export_scope=)` gives a `proto_type` (a class, or a function that gives one) or
    None, `from_proto(proto, import_scope=)` gives the item.
    """
    if proto_type is None or to_proto is None or from_proto is None:
        raise TypeError("A kind of collection needs a proto_type, a to_proto and a from_proto.")
    get_type = (lambda: proto_type) if isinstance(proto_type, type) else proto_type
    _KINDS[collection_name] = (get_type, to_proto, from_proto)


# -- export ----------------------------------------------------------------------------------------


def export_meta_graph(
    filename: str | None = None,
    meta_info_def: Any = None,
    graph_def: Any = None,
    saver_def: Any = None,
    collection_list: Sequence[str] | None = None,
    as_text: bool = False,
    graph: Graph | None = None,
    export_scope: str | None = None,
    clear_devices: bool = False,
    clear_extraneous_savers: bool = False,
    strip_default_attrs: bool = False,
    save_debug_info: bool = False,
) -> Any:
    """A graph (the default one) as a MetaGraphDef: nodes, collections, saver; to a file if named.

    With `export_scope` only what is in there, without the scope's name; what comes in from outside
    is in the collection `unbound_inputs`. Collections whose items cannot be written are left out,
    with a warning.
    """
    del strip_default_attrs, save_debug_info
    graph = graph or get_default_graph()
    made = protos.MetaGraphDef()
    if meta_info_def is not None:
        made.meta_info_def.CopyFrom(meta_info_def)
    nodes = graph.as_graph_def(add_shapes=True) if graph_def is None else graph_def
    left_out = _of_other_savers(nodes, saver_def) if clear_extraneous_savers else set()
    if export_scope or clear_devices or left_out:
        nodes = _cut(graph, nodes, export_scope, clear_devices, left_out)
    made.graph_def.CopyFrom(nodes)
    if saver_def is not None:
        made.saver_def.CopyFrom(saver_def)
    for key in graph.get_all_collection_keys() if collection_list is None else collection_list:
        items: Iterable[Any] = graph.get_collection(key)
        if clear_extraneous_savers and key == GraphKeys.SAVERS:
            items = [_KINDS[key][2](saver_def)] if saver_def is not None else []
        items = [i for i in items if _is_within(i, export_scope, left_out)]
        if items:
            _add_collection(made, key, items, export_scope)
    if filename is not None:
        _write(made, os.fspath(filename), as_text)
    return made


def _is_within(item: Any, scope: str | None, left_out: set[str]) -> bool:
    name = item if isinstance(item, str) else getattr(item, "name", None)
    if not isinstance(name, str):
        return True
    if name.partition(":")[0] in left_out:
        return False
    return not scope or name.startswith((f"{scope.rstrip('/')}/", _UNBOUND))


def _without(name: str, scope: str | None) -> str:
    """A name (also `^name`, `loc:@name`) without the scope before it."""
    if not scope:
        return name
    return re.sub(rf"^(\^|loc:@|){re.escape(scope.rstrip('/'))}/", r"\1", name)


def _cut(
    graph: Graph, nodes: Any, scope: str | None, clear_devices: bool, left_out: set[str]
) -> Any:
    cut = type(nodes)(versions=nodes.versions)
    unbound: list[str] = []
    for node in nodes.node:
        if not _is_within(node.name, scope, left_out):
            continue
        new = cut.node.add()
        new.CopyFrom(node)
        new.name = _without(node.name, scope)
        for i, name in enumerate(node.input):
            if scope and not name.lstrip("^").startswith(f"{scope.rstrip('/')}/"):
                new.input[i] = ("^" if name[0] == "^" else "") + _UNBOUND + name.lstrip("^")
                unbound.append(new.input[i])
            else:
                new.input[i] = _without(name, scope)
        if scope and "_class" in node.attr:
            classes = [c.decode() for c in node.attr["_class"].list.s]
            inside = [c for c in classes if _is_within(c.removeprefix("loc:@"), scope, set())]
            del new.attr["_class"].list.s[:]
            new.attr["_class"].list.s.extend(_without(c, scope).encode() for c in inside)
        if clear_devices:
            new.device = ""
    graph.clear_collection("unbound_inputs")
    for name in unbound:
        graph.add_to_collection("unbound_inputs", name)
    return cut


def _of_other_savers(nodes: Any, saver_def: Any) -> set[str]:
    """The nodes in the scopes of savers, except of the one that is to stay."""

    def scope_of(name: str) -> str:
        return name.partition(":")[0].rpartition("/")[0] + "/"

    kept = set()
    if saver_def is not None:
        kept = {scope_of(saver_def.save_tensor_name), scope_of(saver_def.restore_op_name)}
    scopes = {scope_of(n.name) for n in nodes.node if n.op in _SAVE_OPS} - kept - {"/"}
    return {n.name for n in nodes.node if n.name.startswith(tuple(scopes))} if scopes else set()


def _add_collection(made: Any, key: str, items: list[Any], scope: str | None) -> None:
    target = made.collection_def[key]
    try:
        first = items[0]
        if key in _KINDS:
            encoded = (_KINDS[key][1](item, export_scope=scope) for item in items)
            target.bytes_list.value.extend(p.SerializeToString() for p in encoded if p is not None)
        elif isinstance(first, (str, bytes)):
            texts = (i.encode() if isinstance(i, str) else i for i in items)
            target.bytes_list.value.extend(texts)
        elif isinstance(first, int):
            target.int64_list.value.extend(items)
        elif isinstance(first, float):
            target.float_list.value.extend(items)
        else:
            target.node_list.value.extend(_without(item.name, scope) for item in items)
    except Exception as error:  # whatever an item of the user's may raise
        del made.collection_def[key]
        warnings.warn(
            f"The collection {key!r} is not in the meta graph: {type(error).__name__}: {error}",
            stacklevel=4,
        )


def _write(proto: Any, path: str, as_text: bool) -> None:
    from google.protobuf import text_format

    try:
        data = text_format.MessageToString(proto).encode() if as_text else proto.SerializeToString()
    except Exception as error:
        raise ValueError(f"A graph of more than 2 GiB cannot be written: {error}") from error
    with files.os_errors(path):
        files.write_whole(path, data)


def write_graph(graph_or_graph_def: Any, logdir: Any, name: str, as_text: bool = True) -> str:
    """Write a Graph or GraphDef to `logdir/name`, as text or binary; returns the path."""
    graph_def = graph_or_graph_def
    if isinstance(graph_def, Graph):
        graph_def = graph_def.as_graph_def()
    directory = os.fspath(logdir)
    os.makedirs(directory or ".", exist_ok=True)
    path = os.path.join(directory, name)
    _write(graph_def, path, as_text)
    return path


# -- import ----------------------------------------------------------------------------------------


def read_meta_graph_file(filename: Any) -> Any:
    """The MetaGraphDef in a file, binary or text. OSError if there is none."""
    from google.protobuf import text_format
    from google.protobuf.message import DecodeError

    path = os.fspath(filename)
    if not os.path.exists(path):
        raise OSError(f"File does not exist. Received: {path}.")
    with open(path, "rb") as file:
        data = file.read()
    try:
        return protos.MetaGraphDef.FromString(data)
    except DecodeError:
        pass
    try:
        return text_format.Parse(data.decode(), protos.MetaGraphDef())
    except (text_format.ParseError, UnicodeDecodeError) as error:
        raise OSError(f"Cannot parse file {path}: {error}.") from None


def import_scoped_meta_graph(
    meta_graph_or_file: Any,
    clear_devices: bool = False,
    graph: Graph | None = None,
    import_scope: str | None = None,
    input_map: Any = None,
    unbound_inputs_col_name: str = "unbound_inputs",
    restore_collections_predicate: Callable[[str], bool] = lambda key: True,
    return_elements: Sequence[str] | None = None,
) -> tuple[dict[str, Any], list[Any] | None]:
    """Add a meta graph's nodes and collections to a graph (the default one).

    Returns the variables by their names in the file, and the `return_elements`. ValueError if it
    has unbound inputs that `input_map` does not give.
    """
    made = meta_graph_or_file
    if not hasattr(made, "graph_def"):
        made = read_meta_graph_file(made)
    unbound = [v.decode() for v in made.collection_def[unbound_inputs_col_name].bytes_list.value] \
        if unbound_inputs_col_name in made.collection_def else []  # fmt: skip
    if unbound and sorted(unbound) != sorted(input_map or {}):
        missing = ",".join(v for v in unbound if v not in (input_map or {}))
        raise ValueError(
            f"Graph contains unbound inputs: {missing}. Must provide these inputs through "
            "input_map."
        )
    graph = graph or get_default_graph()
    with graph.as_default():
        nodes = made.graph_def
        if clear_devices:
            nodes = type(nodes).FromString(nodes.SerializeToString())
            for node in nodes.node:
                node.device = ""
        scope = graph.unique_name(import_scope or "", mark_as_used=False)
        elements = import_graph_def(
            nodes, input_map, return_elements, import_scope or scope,
            producer_op_list=made.meta_info_def.stripped_op_list,
        )  # fmt: skip
        known: dict[bytes, Any] = {}
        for key in sorted(made.collection_def):
            if key != unbound_inputs_col_name and restore_collections_predicate(key):
                for item in _items(graph, key, made.collection_def[key], scope, known):
                    graph.add_to_collection(key, item)
        start = f"{scope}/" if scope else ""
        variables = graph.get_collection(GraphKeys.GLOBAL_VARIABLES, re.escape(start))
    return {v.name[len(start) :]: v for v in variables}, elements


def _items(
    graph: Graph, key: str, listed: Any, scope: str, known: dict[bytes, Any]
) -> Iterable[Any]:
    start = f"{scope}/" if scope else ""
    kind = listed.WhichOneof("kind")
    if kind == "node_list":
        return [graph.as_graph_element(start + name) for name in listed.node_list.value]
    if kind == "bytes_list" and key in _KINDS:
        proto_type, _, from_proto = _KINDS[key]
        items = []
        for data in listed.bytes_list.value:
            item = known.get(data) if key in _VARIABLES else None
            if item is None:
                proto = _parsed(proto_type(), data, key)
                item = known[data] = from_proto(proto, import_scope=scope)
            items.append(item)
        return items
    if kind == "bytes_list":
        return [start + _text(value) if scope else _text(value) for value in
                listed.bytes_list.value]  # fmt: skip
    return [] if kind is None else list(getattr(listed, kind).value)


def _parsed(proto_type: Any, data: bytes, key: str) -> Any:
    """A proto of a collection. ValueError if the bytes are none."""
    from google.protobuf.message import DecodeError

    try:
        return proto_type.FromString(data)
    except DecodeError:
        raise ValueError(
            f"An item of the meta graph's collection {key!r} is no {proto_type.__name__}: "
            f"{data[:40]!r}. The file is damaged, or the proto function registered for {key!r} is "
            "not the one it was written with."
        ) from None


def _text(value: bytes) -> Any:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return value
