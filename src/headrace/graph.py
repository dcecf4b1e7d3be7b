"""The graph: operations, the tensors between them, and the scopes they are made in.

A `Graph` only grows. It knows names, edges, scopes and collections; what the ops mean is in
`opdef.py` (how one is defined and made) and in `ops/` (which there are).
"""

from __future__ import annotations

import linecache
import re
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from headrace import shapes
from headrace.dtypes import DType, as_dtype
from headrace.graph_def import graph_def, node_def
from headrace.shapes import Shape, TensorShape

_PACKAGE = __name__.rpartition(".")[0]


class GraphKeys:
    """The standard names of collections."""

    GLOBAL_VARIABLES = "variables"
    VARIABLES = "variables"
    LOCAL_VARIABLES = "local_variables"
    METRIC_VARIABLES = "metric_variables"
    MODEL_VARIABLES = "model_variables"
    TRAINABLE_VARIABLES = "trainable_variables"
    SUMMARIES = "summaries"
    QUEUE_RUNNERS = "queue_runners"
    TABLE_INITIALIZERS = "table_initializer"
    ASSET_FILEPATHS = "asset_filepaths"
    MOVING_AVERAGE_VARIABLES = "moving_average_variables"
    REGULARIZATION_LOSSES = "regularization_losses"
    CONCATENATED_VARIABLES = "concatenated_variables"
    SAVERS = "savers"
    WEIGHTS = "weights"
    BIASES = "biases"
    ACTIVATIONS = "activations"
    UPDATE_OPS = "update_ops"
    LOSSES = "losses"
    SAVEABLE_OBJECTS = "saveable_objects"
    RESOURCES = "resources"
    LOCAL_RESOURCES = "local_resources"
    TRAINABLE_RESOURCE_VARIABLES = "trainable_resource_variables"
    INIT_OP = "init_op"
    LOCAL_INIT_OP = "local_init_op"
    READY_OP = "ready_op"
    READY_FOR_LOCAL_INIT_OP = "ready_for_local_init_op"
    SUMMARY_OP = "summary_op"
    GLOBAL_STEP = "global_step"
    EVAL_STEP = "eval_step"
    TRAIN_OP = "train_op"
    COND_CONTEXT = "cond_context"
    WHILE_CONTEXT = "while_context"


class Tensor:
    """An output of an operation: a symbol for the array that a run will make.

    The arithmetic operators and `[]` are installed by `ops/`.
    """

    __slots__ = ("__weakref__", "_constant", "_dims", "_shape_object", "dtype", "op", "value_index")
    __array_priority__ = 100

    def __init__(self, op: Operation, value_index: int, dtype: DType, dims: Shape):
        self.op = op
        self.value_index = value_index
        self.dtype = dtype
        self._dims = dims
        self._shape_object: TensorShape | None = None
        self._constant: Any = None  # folding.py's memory

    @property
    def name(self) -> str:
        """`op name:output index`."""
        return f"{self.op.name}:{self.value_index}"

    @property
    def graph(self) -> Graph:
        """The graph it belongs to."""
        return self.op.graph

    @property
    def device(self) -> str:
        """The device asked for its operation."""
        return self.op.device

    @property
    def shape(self) -> TensorShape:
        """What is known of its shape when the graph is built."""
        if self._shape_object is None or self._shape_object._dims is not self._dims:
            self._shape_object = TensorShape(self._dims)
        return self._shape_object

    def get_shape(self) -> TensorShape:
        """What is known of its shape when the graph is built."""
        return self.shape

    def set_shape(self, shape: Any) -> None:
        """Add to what is known of its shape; ValueError if it contradicts."""
        self._dims = shapes.merge(self._dims, shapes.as_shape(shape))
        self._constant = None

    def consumers(self) -> list[Operation]:
        """The operations that take it as an input, in the order of their making."""
        return [op for op in self.graph._ops if any(t is self for t in op.inputs)]

    def eval(self, feed_dict: dict[Any, Any] | None = None, session: Any = None) -> Any:
        """Its value, from `session` or the default session."""
        return _session_for(self, session, "eval()").run(self, feed_dict)

    def experimental_ref(self) -> Any:
        """A hashable handle on this tensor: itself."""
        return self

    ref = experimental_ref

    def __bool__(self) -> bool:
        raise TypeError(
            f"Using a `tf.Tensor` as a Python `bool` is not allowed (tensor {self.name!r}). "
            "Use `if t is not None:` instead of `if t:` to test if a tensor is defined, and "
            "use TensorFlow ops such as tf.cond to execute subgraphs conditioned on the value "
            "of a tensor."
        )

    def __iter__(self) -> Iterator[Any]:
        raise TypeError(
            f"'Tensor' object is not iterable: {self.name!r} has no values until it is run. "
            "Use tf.unstack(t) for its rows, or session.run(t) for its value."
        )

    def __len__(self) -> int:
        raise TypeError(
            f"len is not well defined for a symbolic Tensor. ({self.name}) Please call "
            "`x.shape` rather than `len(x)` for shape information."
        )

    def __array__(self, *args: Any, **kwargs: Any) -> Any:
        raise NotImplementedError(
            f"Cannot convert a symbolic tf.Tensor ({self.name}) to a numpy array: it has no value "
            "until it is run. Use session.run(t), or a TensorFlow op in place of the NumPy one."
        )

    def _as_graph_element(self) -> Tensor:
        return self

    def __repr__(self) -> str:
        shape, dtype = shapes.show(self._dims), self.dtype.name
        return f"<tf.Tensor {self.name!r} shape={shape} dtype={dtype}>"

    def __str__(self) -> str:
        return "Tensor({}{}{}{})".format(
            f'"{self.name}"',
            "" if self._dims is None else f", shape={shapes.show(self._dims)}",
            f", dtype={self.dtype.name}",
            f", device={self.device}" if self.device else "",
        )


class Operation:
    """A node: a type, inputs, outputs, and what must run before it."""

    __slots__ = (
        "__weakref__",
        "_control_inputs",
        "_device",
        "_frames",
        "_groups",
        "_id",
        "_original_op",
        "attrs",
        "definition",
        "graph",
        "inputs",
        "name",
        "outputs",
        "type",
    )

    def __init__(
        self,
        graph: Graph,
        type: str,
        name: str,
        inputs: Sequence[Tensor],
        outputs: Sequence[tuple[DType, Shape]],
        control_inputs: Sequence[Operation],
        attrs: dict[str, Any],
        definition: Any = None,
        groups: tuple[int | None, ...] = (),
    ):
        self.graph = graph
        self.type = type
        self.name = name
        self.inputs: tuple[Tensor, ...] = tuple(inputs)
        self.outputs = [Tensor(self, i, dtype, dims) for i, (dtype, dims) in enumerate(outputs)]
        self._control_inputs = tuple(control_inputs)
        self.attrs = attrs
        self.definition = definition
        self._groups = groups  # lengths of list arguments; None for a single one
        self._device = ""
        self._id = 0
        self._original_op = graph._scopes.original  # of which it is in the gradient
        self._frames = _user_frames()

    @property
    def control_inputs(self) -> list[Operation]:
        """The operations that run before this one without feeding it."""
        return list(self._control_inputs)

    @property
    def device(self) -> str:
        """The device asked for; kept, and shown, but the session places ops by itself."""
        return self._device

    @property
    def arguments(self) -> list[Any]:
        """The inputs as its definition names them: a Tensor each, a tuple for a list argument."""
        if not self._groups:
            return list(self.inputs)
        flat, grouped = iter(self.inputs), []
        for size in self._groups:
            grouped.append(
                next(flat) if size is None else tuple(next(flat) for _ in range(size))
            )
        return grouped

    @property
    def traceback(self) -> list[tuple[str, int, str, None]]:
        """(file, line, function, None) of the user's calls that made it, outermost first."""
        return [(code.co_filename, line, code.co_name, None) for code, line in self._frames[::-1]]

    @property
    def node_def(self) -> Any:
        """It as a NodeDef proto."""
        return node_def(self)

    @property
    def op_def(self) -> Any:
        """An OpDef proto with its name; the signature is in `definition`."""
        from tensorboard.compat.proto.op_def_pb2 import OpDef

        return OpDef(name=self.type)

    def get_attr(self, name: str) -> Any:
        """The attribute; ValueError if it has none of that name."""
        if name == "_class":
            return [b"loc:@" + n.encode() for n in self.attrs["_class"]]
        try:
            value = self.attrs[name]
        except KeyError:
            raise ValueError(f"Operation {self.name!r} has no attr named {name!r}.") from None
        if isinstance(value, str):
            return value.encode()
        return value

    def colocation_groups(self) -> list[bytes]:
        """The colocation groups it belongs to, `loc:@name` each."""
        return [b"loc:@" + n.encode() for n in self.attrs.get("_class", (self.name,))]

    def run(self, feed_dict: dict[Any, Any] | None = None, session: Any = None) -> None:
        """Run it in `session` or the default session."""
        _session_for(self, session, "run()").run(self, feed_dict)

    def _add_control_inputs(self, ops: Sequence[Operation]) -> None:
        self._control_inputs += tuple(o for o in ops if o not in self._control_inputs)
        self.graph._rewired = True

    def _add_control_input(self, op: Operation) -> None:
        self._add_control_inputs([op])

    def _set_attr(self, name: str, value: Any) -> None:
        self.attrs[name] = value

    def _set_device(self, device: str) -> None:
        self._device = canonical_device(device)

    def _as_graph_element(self) -> Operation:
        return self

    def values(self) -> tuple[Tensor, ...]:
        """Its outputs."""
        return tuple(self.outputs)

    def __repr__(self) -> str:
        return f"<tf.Operation {self.name!r} type={self.type}>"

    def __str__(self) -> str:
        return str(self.node_def)


def where(element: Tensor | Operation) -> str:
    """The tail of an error message: which node it is, and the user's line that made it."""
    op = element if isinstance(element, Operation) else element.op
    text = f"{NODE_MARK}{op.name} (op: {op.type}){_made_at(op)}]]"
    if op._original_op is not None:
        source = op._original_op
        text += f"\n\t [[in the gradient of {source.name} (op: {source.type}){_made_at(source)}]]"
    return text


NODE_MARK = "\n\t [[node "


def _made_at(op: Operation) -> str:
    if not op._frames:
        return ""
    code, line = op._frames[0]
    source = linecache.getline(code.co_filename, line).strip()
    place = f", defined at {code.co_filename}:{line} in {code.co_name}"
    return f"{place}\n\t\t{source}" if source else place


def _user_frames(limit: int = 6) -> list[tuple[Any, int]]:
    """(code, line) of the calls outside headrace that led here, innermost first."""
    frame, found = sys._getframe(2), []
    while frame is not None and len(found) < limit:
        module = frame.f_globals.get("__name__", "")
        if not (module == _PACKAGE or module.startswith(_PACKAGE + ".")) and module != "contextlib":
            found.append((frame.f_code, frame.f_lineno))
        frame = frame.f_back
    return found


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
        return self.add(op_type, self.unique_name(name or op_type), inputs, outputs, attrs or {})

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
        kinds = " or ".join(
            ["Tensor"] * bool(allow_tensor) + ["Operation"] * bool(allow_operation)
        )
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
            raise KeyError(
                f"The name {name!r} refers to an Operation not in the graph."
            )
        return op

    # -- names and scopes --------------------------------------------------------------------

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
        ops: list[Operation] = []
        for item in control_inputs or ():
            if isinstance(item, IndexedSlicesBase):
                item = item.op
            element = self.as_graph_element(item)
            op = element.op if isinstance(element, Tensor) else element
            if op not in ops:
                ops.append(op)
        saved = scopes.controllers
        colocated = scopes.colocated
        if control_inputs is None:
            scopes.colocated = []
        scopes.controllers = [*saved, _Controller(ops, control_inputs is None)]
        try:
            yield
        finally:
            scopes.controllers, scopes.colocated = saved, colocated

    def _control_context(self) -> tuple[Operation, ...]:
        """The ops that anything made now would wait for, as a key for what is shared per context."""
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


class IndexedSlicesBase:
    """What `IndexedSlices` is to the graph; it is defined whole in `indexed_slices.py`."""

    op: Operation


# -- devices -------------------------------------------------------------------------------------

_DEVICE_PART = re.compile(r"(job|replica|task|device|cpu|gpu|tpu|xla_cpu|xla_gpu)\b:?(.*)", re.I)


def _parse_device(name: str) -> dict[str, str]:
    parts: dict[str, str] = {}
    for piece in name.split("/"):
        if not piece:
            continue
        match = _DEVICE_PART.fullmatch(piece)
        if match is None:
            raise ValueError(f"Unknown attribute {piece!r} is encountered while parsing {name!r}.")
        key, value = match[1].lower(), match[2]
        if key in ("job", "replica", "task"):
            parts[key] = value
        elif key == "device":
            kind, _, number = value.partition(":")
            parts["device"] = f"{kind.upper()}:{number or '*'}"
        else:
            parts["device"] = f"{key.upper()}:{value or '*'}"
    return parts


def canonical_device(name: str) -> str:
    """`/gpu:0` as `/device:GPU:0`; ValueError for what is no device name."""
    parts = _parse_device(name)
    keys = ("job", "replica", "task", "device")
    return "".join(f"/{k}:{parts[k]}" for k in keys if k in parts)


def merge_devices(outer: str, inner: str) -> str:
    """The inner device's parts over the outer's."""
    if not outer or not inner:
        return canonical_device(inner or outer)
    parts = {**_parse_device(outer), **_parse_device(inner)}
    return canonical_device("".join(f"/{k}:{v}" for k, v in parts.items()))


# -- the default graph and session ---------------------------------------------------------------


class _DefaultStack(threading.local):
    def __init__(self) -> None:
        self.stack: list[Any] = []


_graphs = _DefaultStack()
_sessions = _DefaultStack()
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


def get_default_session() -> Any:
    """The innermost session that was made default in this thread; None if there is none."""
    stack = _sessions.stack
    return stack[-1] if stack else None


def push_session(session: Any) -> None:
    """Make a session the default one."""
    _sessions.stack.append(session)


def pop_session(session: Any) -> None:
    """Undo the last `push_session` of it."""
    stack = _sessions.stack
    for i in range(len(stack) - 1, -1, -1):
        if stack[i] is session:
            del stack[i]
            return


def _session_for(element: Any, session: Any, what: str) -> Any:
    if session is not None:
        if session.graph is not element.graph:
            raise ValueError(
                f"Cannot use the given session to evaluate {element.name!r}: the tensor's graph is "
                "different from the session's graph."
            )
        return session
    session = get_default_session()
    if session is None:
        doing = "execute operation" if isinstance(element, Operation) else "evaluate tensor"
        raise ValueError(
            f"Cannot {doing} using `{what}`: No default session is registered ({element.name}). "
            "Use `with sess.as_default()` or pass an explicit session to "
            f"`{what.replace('()', '(session=sess)')}`"
        )
    if session.graph is not element.graph:
        raise ValueError(
            f"Cannot use the default session to evaluate {element.name!r}: the tensor's graph is "
            "different from the session's graph. Pass an explicit session to "
            f"`{what.replace('()', '(session=sess)')}`."
        )
    return session


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
        if getattr(value, "graph", None) is None:
            continue
        if first is None:
            first = value
        elif value.graph is not first.graph:
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


# -- conversion to tensors -------------------------------------------------------------------------

_Converter = Callable[..., Any]
_converters: list[tuple[int, Any, _Converter]] = []
_converter_of: dict[type, list[_Converter]] = {}


def register_tensor_conversion_function(
    base_type: Any, conversion_func: _Converter, priority: int = 100
) -> None:
    """Convert instances of `base_type` by `conversion_func(value, dtype, name, as_ref)`.

    The function may return NotImplemented, and then the next one is asked; lower priorities first.
    """
    _converters.append((priority, base_type, conversion_func))
    _converters.sort(key=lambda row: row[0])
    _converter_of.clear()


def convert_to_tensor(
    value: Any,
    dtype: Any = None,
    name: str | None = None,
    preferred_dtype: Any = None,
    dtype_hint: Any = None,
    *,
    as_ref: bool = False,
) -> Tensor:
    """A Tensor for a Tensor, Variable, array, number, string, or nested list of these.

    `dtype` is demanded, `preferred_dtype` tried. Python floats become float32, ints int32; NumPy
    arrays keep their type. TypeError or ValueError if there is no way.
    """
    if isinstance(value, Tensor):
        if dtype is not None and not as_dtype(dtype).is_compatible_with(value.dtype):
            raise ValueError(
                f"Tensor conversion requested dtype {as_dtype(dtype).name} for Tensor with dtype "
                f"{value.dtype.name}: {str(value)!r}"
            )
        return value
    dtype = None if dtype is None else as_dtype(dtype).base_dtype
    hint = preferred_dtype if preferred_dtype is not None else dtype_hint
    kind = type(value)
    functions = _converter_of.get(kind)
    if functions is None:
        functions = [f for _, base, f in _converters if issubclass(kind, base)]
        _converter_of[kind] = functions
    for function in functions:
        result: Any = NotImplemented
        if dtype is None and hint is not None:
            try:
                result = function(value, dtype=as_dtype(hint), name=name, as_ref=as_ref)
            except (TypeError, ValueError):
                result = NotImplemented
        if result is NotImplemented:
            result = function(value, dtype=dtype, name=name, as_ref=as_ref)
        if result is not NotImplemented:
            return result
    raise TypeError(
        f"Cannot convert {value!r} with type {type(value)} to Tensor: no conversion function "
        "registered."
    )


def is_tensor(x: Any) -> bool:
    """Whether `x` is a tensor or something that stands for one (Variable, IndexedSlices)."""
    return isinstance(x, (Tensor, IndexedSlicesBase)) or hasattr(x, "_as_graph_element") and not (
        isinstance(x, Operation)
    )
