"""The graph: operations, the tensors between them, and the scopes they are made in.

A `Graph` only grows. It knows names, edges, scopes and collections; what the ops mean is in
`opdef.py` (how one is defined and made) and in `ops/` (which there are).
"""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from headrace.devices import canonical_device, merge_devices
from headrace.dtypes import DType, as_dtype
from headrace.graph_def import graph_def
from headrace.node import (
    DefaultStack,
    IndexedSlicesBase,
    Operation,
    Tensor,
    where,
)
from headrace.shapes import Shape

_VALID_NAME = re.compile(r"^[A-Za-z0-9.][A-Za-z0-9_.\\/>-]*$")
_VALID_SCOPE = re.compile(r"^[A-Za-z0-9_.\\/>-]*$")


class _Controller:
    """One level of `control_dependencies`: what must run first, and which ops were made inside."""

    __slots__ = ("clears", "inside", "ops")

    def __init__(self, ops: list[Operation], clears: bool):
        self.ops = ops
        self.clears = clears
        self.inside: set[Operation] = set()


class _Scopes(threading.local):
    """What a `with` has open on a graph, in this thread."""

    def __init__(self) -> None:
        self.name = ""
        self.controllers: list[_Controller] = []
        self.devices: list[Any] = []
        self.colocated: list[Operation] = []
        self.attrs: dict[str, Any] = {}
        self.gradients: dict[str, str] = {}
        self.original: Operation | None = None
        self.draw: Callable[[Callable[[], Operation]], Operation] | None = None  # see OpDef.node


class Graph:
    """A set of operations, their names, and named collections of anything."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._ops: list[Operation] = []
        self._by_name: dict[str, Operation] = {}
        self._names_in_use: dict[str, int] = {}
        self._collections: dict[Any, list[Any]] = {}
        self._scopes = _Scopes()
        self._finalized = False
        self._rewired = False  # a control edge was added to an older op
        self._asks_for_gpu = False  # by `device`
        self.seed: int | None = None
        self._programs: dict[Any, Any] = {}  # the runtime's, by fetches and feeds
        self._unfeedable: set[Tensor] = set()
        self._unfetchable: set[Tensor | Operation] = set()
        self._packs: dict[Operation, Any] = {}  # the runtime's: small variables that lie together

    # -- operations --------------------------------------------------------------------------

    def add(
        self,
        type: str,
        name: str,
        inputs: Sequence[Tensor],
        outputs: Sequence[tuple[DType, Shape]],
        attrs: dict[str, Any],
        definition: Any = None,
        groups: tuple[int | None, ...] = (),
    ) -> Operation:
        """Append an operation under a name that `unique_name` gave, in the scopes now open."""
        if self._finalized:
            raise RuntimeError("Graph is finalized and cannot be modified.")
        scopes = self._scopes
        control: Sequence[Operation] = ()
        if scopes.controllers:
            control = self._control_inputs({t.op for t in inputs})
        if scopes.attrs:
            attrs = {**scopes.attrs, **attrs}
        if scopes.gradients and type in scopes.gradients:
            attrs["_gradient_op_type"] = scopes.gradients[type]
        op = Operation(self, type, name, inputs, outputs, control, attrs, definition, groups)
        for controller in scopes.controllers:
            controller.inside.add(op)
        if scopes.devices:
            self._place(op)
        if scopes.colocated:
            leader = scopes.colocated[-1]
            op._device = leader._device
            op.attrs["_class"] = tuple(
                dict.fromkeys(
                    n for o in reversed(scopes.colocated) for n in o.attrs.get("_class", (o.name,))
                )
            )
        with self._lock:
            self._ops.append(op)
            op._id = len(self._ops)
            self._by_name[name] = op
        return op

    def create_op(
        self,
        op_type: str,
        inputs: Sequence[Tensor],
        dtypes: Sequence[Any] | None = None,
        input_types: Any = None,
        name: str | None = None,
        attrs: dict[str, Any] | None = None,
        op_def: Any = None,
        compute_shapes: bool = True,
        compute_device: bool = True,
    ) -> Operation:
        """Add a bare operation of any type, known or not, with outputs of `dtypes`.

        It can be looked at, exported and looked up; running one that no op defines is an error.
        """
        del input_types, op_def, compute_shapes, compute_device
        for t in inputs:
            if not isinstance(t, Tensor):
                raise TypeError(f"Input #{list(inputs).index(t)} is not a tensor: {t!r}")
            if t.graph is not self:
                raise ValueError(f"{t} is not from this graph.")
        outputs = [(as_dtype(d), None) for d in dtypes or ()]
        return self.add(op_type, self.node_name(name or op_type), inputs, outputs, attrs or {})

    def _control_inputs(self, input_ops: set[Operation]) -> list[Operation]:
        found: dict[Operation, None] = {}
        for controller in reversed(self._scopes.controllers):
            if not any(op in controller.inside for op in input_ops):
                found.update((op, None) for op in controller.ops if op not in input_ops)
            if controller.clears:
                break
        return list(found)

    def _place(self, op: Operation) -> None:
        for device in self._scopes.devices:
            if callable(device):
                asked = device(op)
                op._device = merge_devices(op._device, "" if asked is None else str(asked))
            else:
                op._device = "" if device is None else merge_devices(op._device, device)
        self._asks_for_gpu = self._asks_for_gpu or "GPU" in op._device

    def get_operations(self) -> list[Operation]:
        """All operations, in the order of their making."""
        return list(self._ops)

    def get_operation_by_name(self, name: str) -> Operation:
        """The operation; KeyError if there is none of that name."""
        if not isinstance(name, str):
            raise TypeError(f"Operation names are strings (or similar), not {type(name).__name__}.")
        return self.as_graph_element(name, allow_tensor=False, allow_operation=True)

    def get_tensor_by_name(self, name: str) -> Tensor:
        """The tensor `op:index`; KeyError if there is none of that name."""
        if not isinstance(name, str):
            raise TypeError(f"Tensor names are strings (or similar), not {type(name).__name__}.")
        return self.as_graph_element(name, allow_tensor=True, allow_operation=False)

    def as_graph_element(
        self, obj: Any, allow_tensor: bool = True, allow_operation: bool = True
    ) -> Any:
        """The Tensor or Operation that a name, a Variable or the thing itself stands for."""
        if hasattr(obj, "_as_graph_element"):
            obj = obj._as_graph_element()
        kinds = " or ".join(["Tensor"] * bool(allow_tensor) + ["Operation"] * bool(allow_operation))
        if isinstance(obj, str):
            return self._lookup(obj, allow_tensor, allow_operation)
        if (isinstance(obj, Tensor) and allow_tensor) or (
            isinstance(obj, Operation) and allow_operation
        ):
            if obj.graph is not self:
                what = "Tensor" if isinstance(obj, Tensor) else "Operation"
                raise ValueError(f"{what} {obj!r} is not an element of this graph.{where(obj)}")
            return obj
        raise TypeError(f"Can not convert a {type(obj).__name__} into a {kinds}.")

    def _lookup(self, name: str, allow_tensor: bool, allow_operation: bool) -> Any:
        if ":" in name:
            if not allow_tensor:
                raise ValueError(
                    f"Name {name!r} appears to refer to a Tensor, not a Operation: an Operation "
                    f"is named without ':'."
                )
            op_name, _, index = name.rpartition(":")
            if not index.isdigit() or ":" in op_name:
                raise ValueError(
                    f"The name {name!r} looks a like a Tensor name, but is not a valid one. "
                    'Tensor names must be of the form "<op_name>:<output_index>".'
                )
            op = self._by_name.get(op_name)
            if op is None:
                raise KeyError(
                    f"The name {name!r} refers to a Tensor which does not exist. The operation, "
                    f"{op_name!r}, does not exist in the graph."
                )
            if int(index) >= len(op.outputs):
                raise KeyError(
                    f"The name {name!r} refers to a Tensor which does not exist. The operation, "
                    f"{op_name!r}, exists but only has {len(op.outputs)} outputs."
                )
            return op.outputs[int(index)]
        op = self._by_name.get(name)
        if not allow_operation:
            if op is not None:
                raise ValueError(
                    f"The name {name!r} refers to an Operation, not a Tensor. Perhaps you meant "
                    f"{name + ':0'!r}?"
                )
            raise ValueError(
                f"The name {name!r} looks like an (invalid) Operation name, not a Tensor."
                ' Tensor names must be of the form "<op_name>:<output_index>".'
            )
        if op is None:
            raise KeyError(f"The name {name!r} refers to an Operation not in the graph.")
        return op

    # -- names and scopes --------------------------------------------------------------------

    def node_name(self, name: str) -> str:
        """The name for a node: made unique, or as it is if it ends in `/`; ValueError if bad."""
        if name.endswith("/"):
            return name[:-1]
        if not (_VALID_SCOPE if self._scopes.name else _VALID_NAME).match(name):
            raise ValueError(f"{name!r} is not a valid node name.")
        return self.unique_name(name)

    def unique_name(self, name: str, mark_as_used: bool = True) -> str:
        """The name in the current scope, numbered if it is taken (whatever the case)."""
        if self._scopes.name:
            name = f"{self._scopes.name}/{name}"
        with self._lock:
            taken = self._names_in_use
            key = name.lower()
            i = taken.get(key, 0)
            if not i:
                if mark_as_used:
                    taken[key] = 1
                return name
            base = key
            while key in taken:
                key = f"{base}_{i}"
                i += 1
            if mark_as_used:
                taken[base] = i
                taken[key] = 1
            return f"{name}_{i - 1}"

    @contextmanager
    def name_scope(self, name: str | None) -> Iterator[str]:
        """Prefix what is made inside with `name/` (made unique); yields that prefix.

        A name that ends in `/` is re-entered as it is; None and "" lead back to the root.
        """
        scopes = self._scopes
        if name:
            if not isinstance(name, str):
                raise TypeError(f"A scope's name is a string, not {name!r}.")
            if not (_VALID_SCOPE if scopes.name else _VALID_NAME).match(name):
                raise ValueError(f"{name!r} is not a valid scope name.")
        outer = scopes.name
        if not name:
            scopes.name = ""
        elif name.endswith("/"):
            scopes.name = name[:-1]
        else:
            scopes.name = self.unique_name(name)
        try:
            yield scopes.name + "/" if scopes.name else ""
        finally:
            scopes.name = outer

    def get_name_scope(self) -> str:
        """The current name scope, without the `/` behind it."""
        return self._scopes.name

    @contextmanager
    def control_dependencies(self, control_inputs: Sequence[Any] | None) -> Iterator[None]:
        """Ops made inside run after those given; None clears what is open around."""
        scopes = self._scopes
        ops: dict[Operation, None] = {}
        for item in control_inputs or ():
            if isinstance(item, IndexedSlicesBase):
                item = item.op
            element = self.as_graph_element(item)
            ops[element.op if isinstance(element, Tensor) else element] = None
        saved = scopes.controllers
        colocated = scopes.colocated
        if control_inputs is None:
            scopes.colocated = []
        scopes.controllers = [*saved, _Controller(list(ops), control_inputs is None)]
        try:
            yield
        finally:
            scopes.controllers, scopes.colocated = saved, colocated

    def _control_context(self) -> tuple[Operation, ...]:
        """The ops that anything made now would wait for: a key for what is shared per context."""
        if not self._scopes.controllers:
            return ()
        return tuple(self._control_inputs(set()))

    @contextmanager
    def device(self, device_name_or_function: Any) -> Iterator[None]:
        """Ask for a device for what is made inside: a name, a function of the op, or None."""
        asked = device_name_or_function
        if asked is not None and not callable(asked):
            asked = canonical_device(str(asked))
        scopes = self._scopes
        saved = scopes.devices
        scopes.devices = [*saved, asked]
        try:
            yield
        finally:
            scopes.devices = saved

    @contextmanager
    def colocate_with(self, op: Any, ignore_existing: bool = False) -> Iterator[None]:
        """Put what is made inside where `op` is; None clears. Beats `device`."""
        scopes = self._scopes
        saved = scopes.colocated
        if op is None:
            scopes.colocated = []
        else:
            element = self.as_graph_element(op.op if hasattr(op, "op") else op)
            leader = element.op if isinstance(element, Tensor) else element
            scopes.colocated = [leader] if ignore_existing else [*saved, leader]
        try:
            yield
        finally:
            scopes.colocated = saved

    def _beside(self, ops: Sequence[Operation]) -> Any:
        """Put what is made inside where all of these are: the variables it takes."""
        return self._set("colocated", [*self._scopes.colocated, *ops])

    @contextmanager
    def gradient_override_map(self, op_type_map: dict[str, str]) -> Iterator[None]:
        """Inside, ops of the types named get the gradient functions registered under new names."""
        if not isinstance(op_type_map, dict) or not all(
            isinstance(x, str) for pair in op_type_map.items() for x in pair
        ):
            raise TypeError("op_type_map must be a dictionary mapping strings to strings")
        with self._set("gradients", {**self._scopes.gradients, **op_type_map}):
            yield

    @contextmanager
    def _attr_scope(self, attrs: dict[str, Any]) -> Iterator[None]:
        with self._set("attrs", {**self._scopes.attrs, **attrs}):
            yield

    @contextmanager
    def _set(self, field: str, value: Any) -> Iterator[None]:
        saved = getattr(self._scopes, field)
        setattr(self._scopes, field, value)
        try:
            yield
        finally:
            setattr(self._scopes, field, saved)

    @contextmanager
    def as_default(self) -> Iterator[Graph]:
        """Make this the default graph inside."""
        _graphs.stack.append(self)
        try:
            yield self
        finally:
            if _graphs.stack.pop() is not self:
                raise AssertionError("Nesting violated for default stack of graphs.")

    # -- collections -------------------------------------------------------------------------

    def add_to_collection(self, name: Any, value: Any) -> None:
        """Append to a collection."""
        if self._finalized:
            raise RuntimeError("Graph is finalized and cannot be modified.")
        self._collections.setdefault(name, []).append(value)

    def add_to_collections(self, names: Any, value: Any) -> None:
        """Append to one collection (a string) or to several."""
        for name in (names,) if isinstance(names, str) else dict.fromkeys(names or ()):
            self.add_to_collection(name, value)

    def get_collection_ref(self, name: Any) -> list[Any]:
        """The collection itself: a change of the list changes the collection."""
        return self._collections.setdefault(name, [])

    def get_collection(self, name: Any, scope: str | None = None) -> list[Any]:
        """A copy of the collection; with `scope`, of items whose name the regex matches at 0."""
        items = self._collections.get(name, [])
        if scope is None:
            return list(items)
        match = re.compile(scope).match
        return [item for item in items if hasattr(item, "name") and match(item.name)]

    def get_all_collection_keys(self) -> list[Any]:
        """The names of collections."""
        return [name for name in self._collections if isinstance(name, str)]

    @property
    def collections(self) -> list[Any]:
        """The names of collections."""
        return list(self._collections)

    def clear_collection(self, name: Any) -> None:
        """Empty a collection."""
        self._collections.pop(name, None)

    # -- the whole -----------------------------------------------------------------------------

    def finalize(self) -> None:
        """Refuse new operations from now on."""
        self._finalized = True

    def _unsafe_unfinalize(self) -> None:
        self._finalized = False

    @property
    def finalized(self) -> bool:
        """Whether it refuses new operations."""
        return self._finalized

    @property
    def version(self) -> int:
        """The number of operations made: grows with the graph."""
        return len(self._ops)

    _last_id = version

    @property
    def building_function(self) -> bool:
        """Whether this is the body of a function."""
        return False

    def as_graph_def(self, from_version: int | None = None, add_shapes: bool = False) -> Any:
        """The graph as a GraphDef proto with TensorFlow's op types, attributes and names."""
        return graph_def(self._ops[from_version or 0 :], add_shapes)

    @property
    def graph_def_versions(self) -> Any:
        """The VersionDef that `as_graph_def` gives."""
        return graph_def([]).versions

    def is_feedable(self, tensor: Any) -> bool:
        """Whether it may be fed: every tensor may for which it was not prevented."""
        return tensor not in self._unfeedable

    def is_fetchable(self, element: Any) -> bool:
        """Whether it may be fetched: all may for which it was not prevented."""
        op = element.op if isinstance(element, Tensor) else element
        return element not in self._unfetchable and op not in self._unfetchable

    def prevent_feeding(self, tensor: Any) -> None:
        """Refuse to feed a tensor from now on."""
        self._unfeedable.add(tensor)

    def prevent_fetching(self, op: Any) -> None:
        """Refuse to fetch an operation and its outputs from now on."""
        self._unfetchable.add(op)


# -- the default graph and session ---------------------------------------------------------------


_graphs = DefaultStack()
_global_graph = Graph()


def get_default_graph() -> Graph:
    """The graph that new operations go to."""
    stack = _graphs.stack
    return stack[-1] if stack else _global_graph


def reset_default_graph() -> None:
    """Replace the global default graph by an empty one; refused inside `graph.as_default()`."""
    global _global_graph
    if _graphs.stack:
        raise AssertionError(
            "Do not use tf.reset_default_graph() to clear nested graphs. If you need a cleared "
            "graph, exit the nesting and create a new graph."
        )
    _global_graph = Graph()


def graph_of(values: Any) -> Graph:
    """The graph that the tensors among `values` share; the default graph if there are none.

    ValueError if they are of two graphs.
    """
    first: Any = None
    for value in values:
        if isinstance(value, (list, tuple)):
            if not value:
                continue
            value = next((v for v in value if getattr(v, "graph", None) is not None), None)
        if not (isinstance(value, (Tensor, Operation)) or hasattr(value, "_as_graph_element")):
            continue
        graph = getattr(value, "graph", None)
        if graph is None:
            continue
        if first is None:
            first = value
        elif graph is not first.graph:
            raise ValueError(f"{value} must be from the same graph as {first}.")
    return get_default_graph() if first is None else first.graph


@contextmanager
def name_scope(
    name: str | None, default_name: str | None = None, values: Sequence[Any] | None = None
) -> Iterator[str]:
    """Prefix the names of what is made inside; yields the prefix, ending in `/`.

    `default_name` serves where `name` is None; the graph is that of `values`. Given without a
    default, None and "" lead to the root scope.
    """
    graph = graph_of(values) if values else get_default_graph()
    if name is None and values is not None and default_name is None:
        raise ValueError("At least one of name and default_name must be given for these values.")
    with _enter(graph), graph.name_scope(default_name if name is None else name) as scope:
        yield scope


@contextmanager
def _enter(graph: Graph) -> Iterator[None]:
    if graph is get_default_graph():
        yield
    else:
        with graph.as_default():
            yield


def control_dependencies(control_inputs: Any) -> Any:
    """`Graph.control_dependencies` of the default graph."""
    return get_default_graph().control_dependencies(control_inputs)


def device(device_name_or_function: Any) -> Any:
    """`Graph.device` of the default graph."""
    return get_default_graph().device(device_name_or_function)


def colocate_with(op: Any, ignore_existing: bool = False) -> Any:
    """`Graph.colocate_with` of the default graph."""
    return get_default_graph().colocate_with(op, ignore_existing)


def add_to_collection(name: Any, value: Any) -> None:
    """`Graph.add_to_collection` of the default graph."""
    get_default_graph().add_to_collection(name, value)


def add_to_collections(names: Any, value: Any) -> None:
    """`Graph.add_to_collections` of the default graph."""
    get_default_graph().add_to_collections(names, value)


def get_collection(key: Any, scope: str | None = None) -> list[Any]:
    """`Graph.get_collection` of the default graph."""
    return get_default_graph().get_collection(key, scope)


def get_collection_ref(key: Any) -> list[Any]:
    """`Graph.get_collection_ref` of the default graph."""
    return get_default_graph().get_collection_ref(key)
