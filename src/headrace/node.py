"""Operations and tensors: the nodes of a graph and what flows between them."""

from __future__ import annotations

import linecache
import sys
import threading
from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from headrace import protos, shapes
from headrace.devices import canonical_device
from headrace.dtypes import DType
from headrace.graph_def import node_def
from headrace.shapes import Shape, TensorShape

if TYPE_CHECKING:
    from headrace.graph import Graph

_PACKAGE = __name__.rpartition(".")[0]


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

    if TYPE_CHECKING:  # installed by ops/math.py, ops/linalg.py and ops/slicing.py

        def __add__(self, other: Any) -> Tensor: ...
        def __radd__(self, other: Any) -> Tensor: ...
        def __sub__(self, other: Any) -> Tensor: ...
        def __rsub__(self, other: Any) -> Tensor: ...
        def __mul__(self, other: Any) -> Tensor: ...
        def __rmul__(self, other: Any) -> Tensor: ...
        def __truediv__(self, other: Any) -> Tensor: ...
        def __rtruediv__(self, other: Any) -> Tensor: ...
        def __div__(self, other: Any) -> Tensor: ...
        def __rdiv__(self, other: Any) -> Tensor: ...
        def __floordiv__(self, other: Any) -> Tensor: ...
        def __rfloordiv__(self, other: Any) -> Tensor: ...
        def __mod__(self, other: Any) -> Tensor: ...
        def __rmod__(self, other: Any) -> Tensor: ...
        def __pow__(self, other: Any) -> Tensor: ...
        def __rpow__(self, other: Any) -> Tensor: ...
        def __matmul__(self, other: Any) -> Tensor: ...
        def __rmatmul__(self, other: Any) -> Tensor: ...
        def __and__(self, other: Any) -> Tensor: ...
        def __rand__(self, other: Any) -> Tensor: ...
        def __or__(self, other: Any) -> Tensor: ...
        def __ror__(self, other: Any) -> Tensor: ...
        def __xor__(self, other: Any) -> Tensor: ...
        def __rxor__(self, other: Any) -> Tensor: ...
        def __lt__(self, other: Any) -> Tensor: ...
        def __le__(self, other: Any) -> Tensor: ...
        def __gt__(self, other: Any) -> Tensor: ...
        def __ge__(self, other: Any) -> Tensor: ...
        def __neg__(self) -> Tensor: ...
        def __abs__(self) -> Tensor: ...
        def __invert__(self) -> Tensor: ...
        def __pos__(self) -> Tensor: ...
        def __getitem__(self, key: Any) -> Tensor: ...

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
        """The inputs as its definition names them: a Tensor each, a list for a list argument."""
        return grouped(self._groups, self.inputs)

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
        return protos.OpDef(name=self.type)

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


def grouped(groups: Sequence[int | None], flat: Sequence[Any]) -> list[Any]:
    """Values of a node's inputs as its definition names them: a list for a list argument.

    `groups` has the length of each list argument, None for a single one; it is empty if all are.
    """
    if not groups:
        return list(flat)
    values = iter(flat)
    return [next(values) if n is None else [next(values) for _ in range(n)] for n in groups]


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


def _user_frames(limit: int = 6) -> tuple[tuple[Any, int], ...]:
    """(code, line) of the calls outside headrace that led here, innermost first."""
    frame, found = sys._getframe(2), []
    while frame is not None and len(found) < limit:
        module = frame.f_globals.get("__name__", "")
        if not (module == _PACKAGE or module.startswith(_PACKAGE + ".")) and module != "contextlib":
            found.append((frame.f_code, frame.f_lineno))
        frame = frame.f_back
    return tuple(found)  # which the garbage collector need not look into


class IndexedSlicesBase:
    """What `IndexedSlices` is to the graph; it is defined whole in `indexed_slices.py`."""

    op: Operation


# -- the default session, for eval() and run() ---------------------------------------------------


class DefaultStack(threading.local):
    """What is the default one, in this thread, innermost last."""

    def __init__(self) -> None:
        self.stack: list[Any] = []


_sessions = DefaultStack()


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
