"""`tf.Variable`: a value that a session keeps between runs.

There are two kinds. A *ref* variable (the default) is a tensor of a ref type that other operations
read and write; a *resource* variable is a handle, read by explicit operations. Converting either
to a tensor makes a read that runs after what the current control dependencies name.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from headrace import protos, shapes
from headrace.conversion import convert_to_tensor, register_tensor_conversion_function
from headrace.dtypes import DType, as_dtype, resource
from headrace.graph import Graph, get_default_graph, graph_of, name_scope
from headrace.indexed_slices import IndexedSlices
from headrace.initial_values import guarded
from headrace.keys import GraphKeys
from headrace.node import Operation, Tensor, get_default_session
from headrace.ops import array, gather, state
from headrace.shapes import TensorShape, as_shape
from headrace.variable_lists import all_variables as all_variables
from headrace.variable_lists import assert_variables_initialized as assert_variables_initialized
from headrace.variable_lists import global_variables as global_variables
from headrace.variable_lists import global_variables_initializer as global_variables_initializer
from headrace.variable_lists import initialize_all_variables as initialize_all_variables
from headrace.variable_lists import initialize_local_variables as initialize_local_variables
from headrace.variable_lists import initialize_variables as initialize_variables
from headrace.variable_lists import local_variables as local_variables
from headrace.variable_lists import local_variables_initializer as local_variables_initializer
from headrace.variable_lists import model_variables as model_variables
from headrace.variable_lists import moving_average_variables as moving_average_variables
from headrace.variable_lists import report_uninitialized_variables as report_uninitialized_variables
from headrace.variable_lists import trainable_variables as trainable_variables
from headrace.variable_lists import variables_initializer as variables_initializer

_resource_by_default = False


def enable_resource_variables() -> None:
    """Make variables resources from now on where nothing else is said."""
    global _resource_by_default
    _resource_by_default = True


def disable_resource_variables() -> None:
    """Make variables refs from now on where nothing else is said, as is the default."""
    global _resource_by_default
    _resource_by_default = False


def resource_variables_enabled() -> bool:
    """Whether variables are resources where nothing else is said."""
    return _resource_by_default


def _wants_resource(asked: bool | None) -> bool:
    if asked is None:
        scope = getattr(get_default_graph()._scopes, "variable_scope", None)
        asked = None if scope is None else scope.use_resource
    return _resource_by_default if asked is None else bool(asked)


class VariableSynchronization:
    """Accepted where TensorFlow takes it; variables live in one place here."""

    AUTO, NONE, ON_WRITE, ON_READ = range(4)


class VariableAggregation:
    """Accepted where TensorFlow takes it; variables live in one place here."""

    NONE, SUM, MEAN, ONLY_FIRST_REPLICA = range(4)


class Variable:
    """A value that a session keeps: it starts as `initial_value`, and `assign` changes it.

    `initial_value` is anything that makes a tensor, or a function of no arguments that gives that;
    its shape is the variable's unless `validate_shape` is False. The variable joins `collections`
    (by default GLOBAL_VARIABLES), and TRAINABLE_VARIABLES if `trainable`. Optimizers apply
    `constraint` to it after an update. ValueError if there is no initial value, or one of which
    the shape is not known.
    """

    __array_priority__ = 100
    _save_slice_info: Any = None

    _variable: Tensor  # the ref tensor, or the handle
    _snapshot: Tensor  # its value, read without regard to control dependencies
    _initial_value: Tensor
    _initializer: Operation
    _dtype: DType

    def __new__(cls, *args: Any, use_resource: bool | None = None, **kwargs: Any) -> Variable:
        """A RefVariable or a ResourceVariable, as asked for here, by the scope or by default."""
        if cls is Variable:
            cls = ResourceVariable if _wants_resource(use_resource) else RefVariable
        return object.__new__(cls)

    def __init__(
        self,
        initial_value: Any = None,
        trainable: bool | None = None,
        collections: Any = None,
        validate_shape: bool = True,
        caching_device: Any = None,
        name: str | None = None,
        variable_def: Any = None,
        dtype: Any = None,
        expected_shape: Any = None,
        import_scope: str | None = None,
        constraint: Callable[[Tensor], Tensor] | None = None,
        use_resource: bool | None = None,
        synchronization: Any = VariableSynchronization.AUTO,
        aggregation: Any = VariableAggregation.NONE,
        shape: Any = None,
    ):
        del caching_device, expected_shape, use_resource, synchronization, aggregation
        if variable_def is not None:
            if initial_value is not None:
                raise ValueError("variable_def and initial_value are mutually exclusive.")
            self._restore(variable_def, import_scope)
            return
        if initial_value is None:
            raise ValueError("initial_value must be specified.")
        if constraint is not None and not callable(constraint):
            raise ValueError("The `constraint` argument must be a callable.")
        if collections is None:
            collections = [GraphKeys.GLOBAL_VARIABLES]
        if not isinstance(collections, (list, tuple, set)):
            raise ValueError(
                "collections argument to Variable constructor must be a list, tuple, or set. Got "
                f"{collections} of type {type(collections)}"
            )
        self._trainable = trainable is None or bool(trainable)
        self._constraint = constraint
        if self._trainable and GraphKeys.TRAINABLE_VARIABLES not in collections:
            collections = [*collections, GraphKeys.TRAINABLE_VARIABLES]
        made_by = initial_value if callable(initial_value) else None
        values = [] if made_by else [initial_value]
        graph = graph_of(values)
        colocated = graph._scopes.colocated
        undrawn = graph._set("draw", None)  # what is made here is made once, whatever is made again
        with graph.as_default(), graph.control_dependencies(None), undrawn:
            graph._scopes.colocated = colocated
            with name_scope(name, "Variable", values) as scope:
                self._make(
                    graph, scope, made_by, initial_value,
                    None if dtype is None else as_dtype(dtype).base_dtype,
                    validate_shape, shape,
                )  # fmt: skip
        self._graph = graph
        self._reads: dict[tuple[Operation, ...], Tensor] = {(): self._snapshot}
        graph.add_to_collections(collections, self)

    def _make(
        self,
        graph: Graph,
        scope: str,
        made_by: Callable[[], Any] | None,
        given: Any,
        dtype: DType | None,
        validate_shape: bool,
        shape: Any,
    ) -> None:
        raise NotImplementedError

    # What the two kinds do differently.

    def _read(self) -> Tensor:
        """The value in the current control context."""
        raise NotImplementedError

    def _initialized(self, initial: Tensor) -> Tensor:
        """The value if there is one, else `initial`."""
        raise NotImplementedError

    def _after(self, op: Any) -> Any:
        """What an update gives: the variable after it."""
        raise NotImplementedError

    def _as_value(self, value: Any) -> Any:
        """A value to be written, as an operand of the op that writes it."""
        raise NotImplementedError

    # -- what it is ----------------------------------------------------------------------------

    @property
    def name(self) -> str:
        """The name of its tensor or handle, as in `w:0`."""
        return self._variable.name

    @property
    def op(self) -> Operation:
        """The operation that stands for it."""
        return self._variable.op

    @property
    def graph(self) -> Graph:
        """The graph it belongs to."""
        return self._graph

    @property
    def device(self) -> str:
        """The device asked for."""
        return self._variable.op.device

    @property
    def dtype(self) -> DType:
        """The element type: a ref type for the ref kind (`dtype.base_dtype` is the bare one)."""
        return self._dtype

    @property
    def shape(self) -> TensorShape:
        """Its static shape."""
        return self._variable.shape

    def get_shape(self) -> TensorShape:
        """Its static shape."""
        return self.shape

    @property
    def initializer(self) -> Operation:
        """The operation that gives it its initial value."""
        return self._initializer

    @property
    def initial_value(self) -> Tensor:
        """The tensor of its initial value."""
        return self._initial_value

    @property
    def trainable(self) -> bool:
        """Whether optimizers take it by default."""
        return self._trainable

    @property
    def constraint(self) -> Any:
        """The function applied to it after an optimizer's update, or None."""
        return self._constraint

    @property
    def synchronization(self) -> Any:
        """Accepted for TensorFlow's sake."""
        return VariableSynchronization.AUTO

    @property
    def aggregation(self) -> Any:
        """Accepted for TensorFlow's sake."""
        return VariableAggregation.NONE

    def experimental_ref(self) -> Variable:
        """A hashable handle on this variable: itself."""
        return self

    ref = experimental_ref

    def deref(self) -> Variable:
        """The variable of a handle that `ref` gave."""
        return self

    def _as_graph_element(self) -> Tensor:
        return self._variable

    def __repr__(self) -> str:
        shape = shapes.show(self.shape._dims)
        return f"<tf.Variable {self.name!r} shape={shape} dtype={self.dtype.name}>"

    def __iter__(self) -> Any:
        raise TypeError(
            "'Variable' object is not iterable: it has no values until it is run. Use "
            "tf.unstack(v) for its rows, or session.run(v) for its value."
        )

    # -- reading -------------------------------------------------------------------------------

    def value(self) -> Tensor:
        """Its value after what the current control dependencies name."""
        return self._read()

    def read_value(self) -> Tensor:
        """Its value, by a read of its own in the current name scope."""
        return array.identity(self._variable, name="read")

    def initialized_value(self) -> Tensor:
        """Its value if it has one, else its initial value: for other variables' initial values."""
        return self._initialized(self._initializer.inputs[1])

    def eval(self, session: Any = None) -> Any:
        """Its value in `session` or the default session."""
        return self._variable.eval(session=session)

    def load(self, value: Any, session: Any = None) -> None:
        """Give it a value in `session` or the default session, without new operations."""
        session = session or get_default_session()
        if session is None:
            raise ValueError(
                "Either session argument should be provided or default session should be "
                "established"
            )
        session.run(self._initializer, {self._initializer.inputs[1]: value})

    def sparse_read(self, indices: Any, name: str | None = None) -> Tensor:
        """Its rows `indices`."""
        return gather.gather(self, indices, name=name)

    def gather_nd(self, indices: Any, name: str | None = None) -> Tensor:
        """Its slices `indices` [..., k]."""
        return gather.gather_nd(self, indices, name=name)

    # -- writing -------------------------------------------------------------------------------

    def assign(
        self,
        value: Any,
        use_locking: bool = False,
        name: str | None = None,
        read_value: bool = True,
    ) -> Any:
        """Set it; gives it after that (an Operation if `read_value` is False)."""
        made = state.assign(self, value, use_locking=use_locking, name=name)
        return made if read_value else made.op

    def assign_add(
        self,
        delta: Any,
        use_locking: bool = False,
        name: str | None = None,
        read_value: bool = True,
    ) -> Any:
        """Add to it; gives it after that (an Operation if `read_value` is False)."""
        made = state.assign_add(self, delta, use_locking=use_locking, name=name)
        return made if read_value else made.op

    def assign_sub(
        self,
        delta: Any,
        use_locking: bool = False,
        name: str | None = None,
        read_value: bool = True,
    ) -> Any:
        """Subtract from it; gives it after that (an Operation if `read_value` is False)."""
        made = state.assign_sub(self, delta, use_locking=use_locking, name=name)
        return made if read_value else made.op

    def count_up_to(self, limit: int) -> Tensor:
        """Its value, and it grows by 1; OutOfRangeError once it is at `limit`."""
        return state.count_up_to(self, limit)

    def set_shape(self, shape: Any) -> None:
        """Add to what is known of its shape."""
        self._variable.set_shape(shape)
        self._snapshot.set_shape(shape)

    @staticmethod
    def from_proto(variable_def: Any, import_scope: str | None = None) -> Variable:
        """The Variable of a VariableDef proto whose operations are in the graph already."""
        kind = ResourceVariable if variable_def.is_resource else RefVariable
        return kind(variable_def=variable_def, import_scope=import_scope)

    def to_proto(self, export_scope: str | None = None) -> Any:
        """It as a VariableDef proto; None if it is not inside `export_scope`."""
        prefix = f"{export_scope}/" if export_scope else ""
        if not self.name.startswith(prefix):
            return None
        cut = len(prefix)
        return protos.VariableDef(
            variable_name=self._variable.name[cut:],
            initial_value_name=self._initial_value.name[cut:],
            initializer_name=self._initializer.name[cut:],
            snapshot_name=self._snapshot.name[cut:],
            trainable=self._trainable,
            is_resource=isinstance(self, ResourceVariable),
        )

    def _restore(self, proto: Any, import_scope: str | None) -> None:
        graph = self._graph = get_default_graph()
        prefix = f"{import_scope}/" if import_scope else ""

        def find(name: str) -> Any:
            return graph.as_graph_element(prefix + name)

        self._variable = find(proto.variable_name)
        self._initializer = find(proto.initializer_name)
        self._initial_value = (
            find(proto.initial_value_name)
            if proto.initial_value_name
            else self._initializer.inputs[1]
        )
        self._snapshot = find(proto.snapshot_name)
        self._reads = {(): self._snapshot}
        self._dtype = (
            self._variable.dtype
            if self._variable.dtype._is_ref_dtype
            else self._variable.op.attrs["dtype"]
        )
        self._trainable = proto.trainable
        self._constraint = None


class RefVariable(Variable):
    """A variable of the ref kind: `VariableV2`."""

    def _make(
        self,
        graph: Graph,
        scope: str,
        made_by: Callable[[], Any] | None,
        given: Any,
        dtype: DType | None,
        validate_shape: bool,
        shape: Any,
    ) -> None:
        name = scope[:-1]
        if made_by is not None:
            with graph._attr_scope({"_class": (name,)}):
                with graph.name_scope("Initializer"), graph.device(None):
                    value = convert_to_tensor(made_by(), dtype, name="initial_value")
                self._variable = _variable_op(value, validate_shape, shape, scope)
        else:
            value = convert_to_tensor(given, dtype, name="initial_value")
            self._variable = _variable_op(value, validate_shape, shape, scope)
        self._initial_value = value
        self._dtype = self._variable.dtype
        with graph.colocate_with(self._variable.op):
            self._initializer = state.assign_op(
                self._variable, guarded(value, name), validate_shape=validate_shape, name="Assign"
            ).op
            self._snapshot = array.identity(self._variable, name="read")

    def _read(self) -> Tensor:
        graph = self._graph
        if not graph._scopes.controllers:
            return self._snapshot
        context = graph._control_context()
        found = self._reads.get(context)
        if found is None:
            with graph.name_scope(f"{self.op.name}/"), graph.colocate_with(None):
                found = self._reads[context] = array.identity(self._variable, name="read")
        return found

    def _initialized(self, initial: Tensor) -> Tensor:
        return state.initialized_value(self._variable, initial)

    def _after(self, op: Any) -> Any:
        return op

    def _as_value(self, value: Any) -> Any:
        return value


def _variable_op(value: Tensor, validate_shape: bool, shape: Any, scope: str) -> Tensor:
    return state.variable_v2(
        shape=_declared(value, validate_shape, shape),
        dtype=value.dtype.base_dtype,
        name=scope or None,
    )


def _declared(value: Tensor, validate_shape: bool, shape: Any) -> TensorShape:
    """The shape that a variable is declared to have."""
    if shape is not None:
        return TensorShape(shape)
    if not validate_shape:
        return TensorShape(None)
    if not shapes.is_full(value._dims):
        raise ValueError(f"initial_value must have a shape specified: {value}")
    return value.shape


class ResourceVariable(Variable):
    """A variable of the resource kind: `VarHandleOp`."""

    def _make(
        self,
        graph: Graph,
        scope: str,
        made_by: Callable[[], Any] | None,
        given: Any,
        dtype: DType | None,
        validate_shape: bool,
        shape: Any,
    ) -> None:
        name = scope[:-1]
        with graph._attr_scope({"_class": (name,)}):
            with graph.name_scope("Initializer"), graph.device(None):
                value = convert_to_tensor(
                    given if made_by is None else made_by(), dtype, name="initial_value"
                )
            self._dtype = value.dtype.base_dtype
            self._variable = state.var_handle(
                dtype=self._dtype, shape=_declared(value, validate_shape, shape), shared_name=name,
                name=scope or None,
            )  # fmt: skip
        self._initial_value = value
        with graph.name_scope("IsInitialized"):
            state.var_is_initialized(self._variable)
        with graph.name_scope("Assign") as assign_scope, graph.colocate_with(None):
            self._initializer = state.assign_variable(
                self._variable, guarded(value, name), name=assign_scope
            )
        with graph.name_scope("Read"), graph.colocate_with(None):
            self._snapshot = state.read_variable(self._variable, dtype=self._dtype)

    @property
    def handle(self) -> Tensor:
        """The handle, a scalar of type `tf.resource`."""
        return self._variable

    @property
    def create(self) -> Operation:
        """The operation that gives it its initial value."""
        return self._initializer

    @property
    def shape(self) -> TensorShape:
        """Its static shape."""
        return self._variable.op.attrs["shape"]

    def set_shape(self, shape: Any) -> None:
        """Refused if it contradicts: a resource has the shape it was made with."""
        shapes.merge(self.shape._dims, as_shape(shape))

    def is_initialized(self, name: str | None = None) -> Tensor:
        """Whether it has a value."""
        return state.var_is_initialized(self._variable, name=name)

    def _read(self) -> Tensor:
        graph = self._graph
        if graph._scopes.colocated:
            with graph.colocate_with(None):
                return state.read_variable(self._variable, dtype=self._dtype)
        return state.read_variable(self._variable, dtype=self._dtype)

    def read_value(self) -> Tensor:
        """Its value, by a read of its own in the current name scope."""
        with self._graph.name_scope("Read"):
            value = state.read_variable(self._variable, dtype=self._dtype)
        return array.identity(value)

    def sparse_read(self, indices: Any, name: str | None = None) -> Tensor:
        """Its rows `indices`."""
        return state.resource_gather(
            self._variable, indices, dtype=self._dtype, name=name or "Gather"
        )

    def assign(
        self,
        value: Any,
        use_locking: bool = False,
        name: str | None = None,
        read_value: bool = True,
    ) -> Any:
        """Set it; gives it after that (an Operation if `read_value` is False)."""
        value = self._as_value(value)
        if not shapes.compatible(self.shape._dims, value._dims):
            raise ValueError(
                f"Cannot assign value to variable {self.name!r}: Shape mismatch. The variable "
                f"shape {self.shape}, and the assigned value shape {value.shape} are incompatible."
            )
        made = state.assign_variable(self._variable, value, validate_shape=True, name=name)
        return self._after(made) if read_value else made

    def assign_add(
        self,
        delta: Any,
        use_locking: bool = False,
        name: str | None = None,
        read_value: bool = True,
    ) -> Any:
        """Add to it; gives it after that (an Operation if `read_value` is False)."""
        made = state.assign_add_variable(self._variable, self._as_value(delta), name=name)
        return self._after(made) if read_value else made

    def assign_sub(
        self,
        delta: Any,
        use_locking: bool = False,
        name: str | None = None,
        read_value: bool = True,
    ) -> Any:
        """Subtract from it; gives it after that (an Operation if `read_value` is False)."""
        made = state.assign_sub_variable(self._variable, self._as_value(delta), name=name)
        return self._after(made) if read_value else made

    def _initialized(self, initial: Tensor) -> Tensor:
        return state.resource_initialized_value(self._variable, initial)

    def _after(self, op: Any) -> Any:
        with self._graph.control_dependencies([op]):
            return state.read_variable(self._variable, dtype=self._dtype)

    def _as_value(self, value: Any) -> Tensor:
        return convert_to_tensor(value, self._dtype)


def _convert(
    value: Variable, dtype: DType | None = None, name: str | None = None, as_ref: bool = False
) -> Tensor:
    if dtype is resource and isinstance(value, ResourceVariable):
        return value._variable
    if dtype is not None and value._dtype.base_dtype is not dtype:
        raise ValueError(
            f"Incompatible type conversion requested to type '{dtype.name}' for variable of type "
            f"'{value.dtype.name}'"
        )
    if as_ref and value._dtype._is_ref_dtype:
        return value._variable
    return value._read()


register_tensor_conversion_function(Variable, _convert)


# Operators are those of Tensor, on the value.
_OPERATORS = (
    "abs", "add", "radd", "sub", "rsub", "mul", "rmul", "truediv", "rtruediv", "div", "rdiv",
    "floordiv", "rfloordiv", "mod", "rmod", "pow", "rpow", "matmul", "rmatmul", "neg", "invert",
    "and", "rand", "or", "ror", "xor", "rxor", "lt", "le", "gt", "ge", "getitem",
)  # fmt: skip


def _operator(name: str) -> Callable[..., Any]:
    def run(self: Variable, *args: Any) -> Any:
        return getattr(Tensor, name)(self._read(), *args)

    return run


for _name in _OPERATORS:
    setattr(Variable, f"__{_name}__", _operator(f"__{_name}__"))


def _scatter_method(kind: str) -> Callable[..., Any]:
    function = getattr(state, f"scatter_{kind}")

    def run(
        self: Variable, sparse_delta: Any, use_locking: bool = False, name: str | None = None
    ) -> Any:
        if not isinstance(sparse_delta, IndexedSlices):
            raise TypeError(f"sparse_delta is not IndexedSlices: {sparse_delta}")
        return function(self, sparse_delta.indices, sparse_delta.values, use_locking, name)

    run.__name__ = run.__qualname__ = f"scatter_{kind}"
    run.__doc__ = f"""`tf.scatter_{kind}` by the indices and values of an IndexedSlices."""
    return run


def _scatter_nd_method(kind: str) -> Callable[..., Any]:
    function = getattr(state, f"scatter_nd_{kind}")

    def run(self: Variable, indices: Any, updates: Any, name: str | None = None) -> Any:
        return function(self, indices, updates, name=name)

    run.__name__ = run.__qualname__ = f"scatter_nd_{kind}"
    run.__doc__ = f"""`tf.scatter_nd_{kind}` of this variable."""
    return run


for _name in ("update", "add", "sub", "mul", "div", "min", "max"):
    setattr(Variable, f"scatter_{_name}", _scatter_method(_name))
for _name in ("update", "add", "sub"):
    setattr(Variable, f"scatter_nd_{_name}", _scatter_nd_method(_name))
