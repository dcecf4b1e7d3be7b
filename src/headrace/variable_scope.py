"""Variables shared by name: `get_variable`, and the scopes that prefix and configure them.

Names of variables depend on variable scopes only, and are what sharing goes by; a variable scope
also opens a name scope, for the operations made in it, which is made unique each time.
"""

from __future__ import annotations

import enum
import inspect
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

from headrace import initializers, partitioned
from headrace.conversion import convert_to_tensor
from headrace.dtypes import DType, as_dtype, float32
from headrace.graph import Graph, get_default_graph, graph_of
from headrace.keys import GraphKeys
from headrace.shapes import TensorShape
from headrace.variables import Variable, VariableAggregation, VariableSynchronization

_STORE = ("__variable_store",)


class _ReuseMode(enum.Enum):
    AUTO_REUSE = 1


AUTO_REUSE = _ReuseMode.AUTO_REUSE


class _Store:
    """The variables of a graph that `get_variable` made, by name."""

    def __init__(self) -> None:
        self.variables: dict[str, Variable] = {}
        self.partitioned: dict[str, Any] = {}


def _store(graph: Graph) -> _Store:
    kept = graph.get_collection_ref(_STORE)
    if not kept:
        kept.append(_Store())
    return kept[0]


class VariableScope:
    """What `get_variable` does here: a prefix for names, whether to share, and defaults."""

    if TYPE_CHECKING:  # installed below, a row a default
        set_regularizer: Callable[[Any], None]
        set_partitioner: Callable[[Any], None]

    def __init__(
        self,
        reuse: Any,
        name: str = "",
        initializer: Any = None,
        regularizer: Any = None,
        caching_device: Any = None,
        partitioner: Any = None,
        custom_getter: Any = None,
        name_scope: str = "",
        dtype: Any = float32,
        use_resource: bool | None = None,
        constraint: Any = None,
    ):
        self._name = name
        self._reuse = reuse
        self._name_scope = name_scope
        self._initializer = initializer
        self._regularizer = regularizer
        self._caching_device = caching_device
        self._partitioner = partitioner
        self._custom_getter = custom_getter
        self._dtype = dtype
        self._use_resource = use_resource
        self._constraint = constraint

    def _copy(self, **changes: Any) -> VariableScope:
        made = VariableScope(self._reuse)
        made.__dict__.update(self.__dict__)
        made.__dict__.update({f"_{k}": v for k, v in changes.items()})
        return made

    @property
    def name(self) -> str:
        """The prefix of variables' names, without a `/` behind it."""
        return self._name

    @property
    def original_name_scope(self) -> str:
        """The name scope that was opened with it first."""
        return self._name_scope

    @property
    def reuse(self) -> Any:
        """Whether variables must exist (True), must not (False), or may (AUTO_REUSE)."""
        return self._reuse

    def reuse_variables(self) -> None:
        """From now on until this scope ends, variables must exist."""
        self._reuse = True

    def global_variables(self) -> list[Any]:
        """The global variables of this scope."""
        return self.get_collection(GraphKeys.GLOBAL_VARIABLES)

    def local_variables(self) -> list[Any]:
        """The local variables of this scope."""
        return self.get_collection(GraphKeys.LOCAL_VARIABLES)

    def trainable_variables(self) -> list[Any]:
        """The trainable variables of this scope."""
        return self.get_collection(GraphKeys.TRAINABLE_VARIABLES)

    def get_collection(self, name: Any) -> list[Any]:
        """The items of a collection whose names begin with this scope's."""
        return get_default_graph().get_collection(name, f"{self._name}/" if self._name else "")

    def get_variable(
        self,
        var_store: Any,
        name: str,
        shape: Any = None,
        dtype: Any = None,
        initializer: Any = None,
        regularizer: Any = None,
        reuse: Any = None,
        trainable: bool | None = None,
        collections: Any = None,
        caching_device: Any = None,
        partitioner: Any = None,
        validate_shape: bool = True,
        use_resource: bool | None = None,
        custom_getter: Any = None,
        constraint: Any = None,
        synchronization: Any = VariableSynchronization.AUTO,
        aggregation: Any = VariableAggregation.NONE,
    ) -> Any:
        """`tf.get_variable` in this scope; `var_store` is accepted for TensorFlow's sake."""
        graph = get_default_graph()
        name = f"{self._name}/{name}" if self._name else name
        with graph.name_scope(None):
            if dtype is not None and initializer is not None and not callable(initializer):
                _check_same_type(initializer, as_dtype(dtype).base_dtype)
            options = {
                "shape": shape,
                "dtype": as_dtype(self._dtype if dtype is None else dtype).base_dtype,
                "initializer": self._initializer if initializer is None else initializer,
                "regularizer": self._regularizer if regularizer is None else regularizer,
                "reuse": self._reuse if reuse is None else reuse,
                "trainable": trainable,
                "collections": collections,
                "caching_device": caching_device,
                "partitioner": self._partitioner if partitioner is None else partitioner,
                "validate_shape": validate_shape,
                "use_resource": self._use_resource if use_resource is None else use_resource,
                "synchronization": synchronization,
                "aggregation": aggregation,
                "constraint": self._constraint if constraint is None else constraint,
            }
            getter = partial(_get, _store(graph))
            custom = self._custom_getter if custom_getter is None else custom_getter
            if custom is None:
                return getter(name, **options)
            if not callable(custom):
                raise ValueError(f"Passed a custom_getter which is not callable: {custom}")
            if not _takes(custom, "constraint"):
                del options["constraint"]
            return custom(getter=getter, name=name, **options)


def _scope_property(field: str, about: str) -> None:
    def get(self: VariableScope) -> Any:
        return getattr(self, f"_{field}")

    def put(self: VariableScope, value: Any) -> None:
        setattr(self, f"_{field}", value)

    get.__doc__ = f"The default {about} of variables made here."
    put.__doc__ = f"Set the default {about} of variables made here."
    setattr(VariableScope, field, property(get))
    setattr(VariableScope, f"set_{field}", put)


for _field, _about in (
    ("initializer", "initializer"), ("regularizer", "regularizer"), ("dtype", "type"),
    ("caching_device", "caching device (kept, without effect)"), ("partitioner", "partitioner"),
    ("custom_getter", "function that is called in place of `get_variable`"),
    ("use_resource", "kind"), ("constraint", "constraint"),
):  # fmt: skip
    _scope_property(_field, _about)


def _takes(function: Callable[..., Any], name: str) -> bool:
    """Whether a function can be given an argument of that name."""
    try:
        parameters = inspect.signature(function).parameters.values()
    except (TypeError, ValueError):
        return True
    return any(p.name == name or p.kind is p.VAR_KEYWORD for p in parameters)


def _check_same_type(initializer: Any, dtype: DType) -> None:
    given = convert_to_tensor(initializer).dtype.base_dtype
    if given is not dtype:
        raise ValueError(f"Initializer type '{given}' and explicit dtype '{dtype}' don't match.")


# -- finding and making a variable -----------------------------------------------------------------


def _get(
    store: _Store,
    name: str,
    shape: Any = None,
    dtype: Any = float32,
    initializer: Any = None,
    regularizer: Any = None,
    reuse: Any = None,
    trainable: bool | None = None,
    collections: Any = None,
    caching_device: Any = None,
    partitioner: Any = None,
    validate_shape: bool = True,
    use_resource: bool | None = None,
    synchronization: Any = None,
    aggregation: Any = None,
    constraint: Any = None,
    partition_info: Any = None,
) -> Any:
    """The variable of that full name: found, or made."""
    dtype = as_dtype(dtype).base_dtype
    shape = None if shape is None else TensorShape(shape)
    if partitioner is not None and not (shape is not None and shape.ndims == 0):
        get_part = partial(
            _get, store, dtype=dtype, regularizer=regularizer, reuse=reuse, trainable=trainable,
            collections=collections, validate_shape=validate_shape, use_resource=use_resource,
            constraint=constraint,
        )  # fmt: skip
        if name in store.variables:
            raise ValueError(
                "A partitioner was provided, but an unpartitioned version of the variable was "
                f"found: {name}.  Perhaps a variable of the same name was already created without "
                "partitioning?"
            )
        return partitioned.get_partitioned(
            store.partitioned, name, shape, dtype, initializer, partitioner, reuse, get_part
        )
    found = store.variables.get(name)
    if found is not None:
        return _shared(found, name, shape, dtype, reuse)
    if name in store.partitioned:
        raise ValueError(
            f"A partitioned variable with this name ({name}) already exists; give the partitioner "
            "to share it."
        )
    if reuse is True:
        raise ValueError(
            f"Variable {name} does not exist, or was not created with tf.get_variable(). Did you "
            "mean to set reuse=tf.AUTO_REUSE in VarScope?"
        )
    value, demanded = _initial_value(name, shape, dtype, initializer, partition_info)
    made = Variable(
        value, trainable=trainable, collections=collections, validate_shape=validate_shape,
        caching_device=caching_device, name=name, dtype=demanded, constraint=constraint,
        use_resource=use_resource,
    )  # fmt: skip
    store.variables[name] = made
    if regularizer is not None:
        _regularize(made, name, regularizer)
    return made


def _shared(found: Variable, name: str, shape: TensorShape | None, dtype: DType, reuse: Any) -> Any:
    if not reuse:
        lines = "".join(
            f'  File "{file}", line {line}, in {function}\n'
            for file, line, function, _ in found.op.traceback[::-1]
        )
        raise ValueError(
            f"Variable {name} already exists, disallowed. Did you mean to set reuse=True or "
            f"reuse=tf.AUTO_REUSE in VarScope? Originally defined at:\n\n{lines}"
        )
    if shape is not None and not shape.is_compatible_with(found.shape):
        raise ValueError(
            f"Trying to share variable {name}, but specified shape {shape} and found shape "
            f"{found.shape}."
        )
    if not dtype.is_compatible_with(found.dtype):
        raise ValueError(
            f"Trying to share variable {name}, but specified dtype {dtype.name} and found dtype "
            f"{found.dtype.name}."
        )
    return found


def _initial_value(
    name: str, shape: TensorShape | None, dtype: DType, initializer: Any, partition_info: Any
) -> tuple[Any, DType | None]:
    """What to give `Variable`: a value or a function, and a type to demand of it."""
    if initializer is None:
        if shape is None:
            raise ValueError(
                f"Variable {name} did not get an initializer, so its `shape` argument must be "
                "specified."
            )
        initializer = initializers.default_for(name, dtype)
    if not callable(initializer):
        if shape is not None:
            raise ValueError("If initializer is a constant, do not specify shape.")
        return initializer, None
    if inspect.isclass(initializer):
        initializer = initializer()
    if shape is not None and shape.is_fully_defined():
        options = {"dtype": dtype}
        if partition_info is not None and _takes(initializer, "partition_info"):
            options["partition_info"] = partition_info
        return partial(initializer, shape.as_list(), **options), dtype
    if _needs_nothing(initializer):
        return initializer, None
    raise ValueError(
        "The initializer passed is not valid. It should be a callable with no arguments and the "
        "shape should not be provided or an instance of `tf.keras.initializers.*' and `shape` "
        "should be fully defined."
    )


def _needs_nothing(function: Callable[..., Any]) -> bool:
    try:
        inspect.signature(function).bind()
    except (TypeError, ValueError):
        return False
    return True


def _regularize(variable: Variable, name: str, regularizer: Callable[[Any], Any]) -> None:
    graph = variable.graph
    scope = graph.name_scope(f"{name}/Regularizer/")
    with graph.control_dependencies(None), graph.colocate_with(variable.op), scope:
        loss = regularizer(variable)
    if loss is not None:
        graph.add_to_collection(GraphKeys.REGULARIZATION_LOSSES, loss)


def get_variable(
    name: str,
    shape: Any = None,
    dtype: Any = None,
    initializer: Any = None,
    regularizer: Any = None,
    trainable: bool | None = None,
    collections: Any = None,
    caching_device: Any = None,
    partitioner: Any = None,
    validate_shape: bool = True,
    use_resource: bool | None = None,
    custom_getter: Any = None,
    constraint: Any = None,
    synchronization: Any = VariableSynchronization.AUTO,
    aggregation: Any = VariableAggregation.NONE,
) -> Any:
    """The variable of that name in the current variable scope: made, or shared if it exists.

    `initializer` is an initializer (a function of shape and dtype), a function of no arguments, or
    a value (then without `shape`); by default Glorot's uniform one for floats, and zeros for
    integers, booleans and strings. ValueError if the scope's `reuse` and the existence of the
    variable disagree, or shape and type differ from those of the one found.
    """
    return get_variable_scope().get_variable(
        None, name, shape=shape, dtype=dtype, initializer=initializer, regularizer=regularizer,
        trainable=trainable, collections=collections, caching_device=caching_device,
        partitioner=partitioner, validate_shape=validate_shape, use_resource=use_resource,
        custom_getter=custom_getter, constraint=constraint, synchronization=synchronization,
        aggregation=aggregation,
    )  # fmt: skip


def get_local_variable(
    name: str,
    shape: Any = None,
    dtype: Any = None,
    initializer: Any = None,
    regularizer: Any = None,
    trainable: bool | None = False,
    collections: Any = None,
    **options: Any,
) -> Any:
    """`get_variable` of a variable that is not saved nor trained: it is in LOCAL_VARIABLES."""
    del trainable
    collections = [*(collections or ()), GraphKeys.LOCAL_VARIABLES]
    return get_variable(name, shape, dtype, initializer, regularizer, False, collections, **options)


def no_regularizer(_: Any) -> None:
    """A regularizer that gives no loss: for a scope inside one that has another."""


# -- scopes ----------------------------------------------------------------------------------------


def get_variable_scope() -> VariableScope:
    """The variable scope that `get_variable` is in."""
    return _current(get_default_graph())


def _current(graph: Graph) -> VariableScope:
    scopes: Any = graph._scopes
    scope = getattr(scopes, "variable_scope", None)
    if scope is None:
        scope = scopes.variable_scope = VariableScope(False)
        scopes.opened = _Opened({})
    return scope


class _Opened:
    """How often a variable scope of each full name was opened, to number the next one."""

    def __init__(self, counts: dict[str, int]):
        self._counts = dict(counts)
        self._before: list[tuple[str, int]] = []  # each change since the outermost one was opened
        self._depth = 0

    def unused(self, outer: str, name: str) -> str:
        """The name, numbered if a scope of that name was opened in `outer` before."""
        prefix = f"{outer}/" if outer else ""
        tried = f"{prefix}{name}:"  # no scope's name; up to where all are in use
        i = self._counts.get(tried, 0)
        unique = f"{name}_{i}" if i else name
        while self._counts.get(prefix + unique):
            i += 1
            unique = f"{name}_{i}"
        self._set(tried, i)
        return unique

    @contextmanager
    def open(self, name: str, again: bool) -> Iterator[None]:
        """Count a scope. After it those inside of it count no more; none does if it was `again`."""
        start = len(self._before)
        self._set(name, self._counts.get(name, 0) + 1)
        self._depth += 1
        try:
            yield
        finally:
            self._depth -= 1
            inside = self._before[start:]
            if again:
                self._counts.update(reversed(inside))
            else:
                self._counts.update((n, 0) for n, _ in inside if n.startswith(f"{name}/"))
            if not self._depth:
                self._before.clear()

    def _set(self, name: str, times: int) -> None:
        self._before.append((name, self._counts.get(name, 0)))
        self._counts[name] = times

    def copy(self) -> _Opened:
        """The same counts, to go on with apart."""
        return _Opened(self._counts)


class Replay:
    """Where a function is called: what is made there again is found again, under the same names."""

    def __init__(self) -> None:
        self._scope = get_variable_scope()
        self._opened = get_default_graph()._scopes.opened.copy()

    @contextmanager
    def __call__(self) -> Iterator[None]:
        """Inside, `get_variable` finds what it made there, and scopes are numbered as they were."""
        opened = self._opened.copy()
        with variable_scope(self._scope, reuse=True), get_default_graph()._set("opened", opened):
            yield


class variable_scope:  # noqa: N801
    """A context that prefixes the names of `get_variable`, and sets what it does.

    `name_or_scope` is a name, or a VariableScope to enter again; where it is None, `default_name`
    is taken, numbered if the current scope has it already. `reuse` True demands that variables
    exist, AUTO_REUSE makes those that do not; None and False inherit. It opens a name scope too,
    unless `auxiliary_name_scope` is False.
    """

    def __init__(
        self,
        name_or_scope: Any,
        default_name: str | None = None,
        values: Sequence[Any] | None = None,
        initializer: Any = None,
        regularizer: Any = None,
        caching_device: Any = None,
        partitioner: Any = None,
        custom_getter: Any = None,
        reuse: Any = None,
        dtype: Any = None,
        use_resource: bool | None = None,
        constraint: Any = None,
        auxiliary_name_scope: bool = True,
    ):
        if default_name is None and name_or_scope is None:
            raise TypeError("If default_name is None then name_or_scope is required")
        if reuse not in (True, False, None, AUTO_REUSE):
            raise ValueError("The reuse parameter must be True or False or None.")
        if not isinstance(auxiliary_name_scope, bool):
            raise TypeError(
                "The auxiliary_name_scope must be `True` or `False`, while get "
                f"{auxiliary_name_scope}"
            )
        if name_or_scope is None and reuse:
            raise ValueError("reuse=True cannot be used without a name_or_scope")
        self._name_or_scope = name_or_scope
        self._default_name = default_name
        self._values = values
        self._reuse = reuse or None
        self._custom_getter = custom_getter
        self._with_name_scope = auxiliary_name_scope
        self._changes = {
            k: v
            for k, v in {
                "initializer": initializer, "regularizer": regularizer,
                "caching_device": caching_device, "partitioner": partitioner,
                "dtype": dtype, "use_resource": use_resource, "constraint": constraint,
            }.items()
            if v is not None
        }  # fmt: skip
        self._stack: ExitStack | None = None

    def __enter__(self) -> VariableScope:
        given = self._name_or_scope
        if given is not None and not isinstance(given, (VariableScope, str)):
            raise TypeError("VariableScope: name_or_scope must be a string or VariableScope.")
        graph = graph_of(self._values) if self._values else get_default_graph()
        with ExitStack() as stack:
            if graph is not get_default_graph():
                stack.enter_context(graph.as_default())
            opened = self._open_name_scope(graph, stack)
            scope = stack.enter_context(self._open(graph, opened))
            self._stack = stack.pop_all()
        return scope

    def __exit__(self, *error: Any) -> Any:
        stack, self._stack = self._stack, None
        return stack.__exit__(*error) if stack is not None else None

    def _open_name_scope(self, graph: Graph, stack: ExitStack) -> str | None:
        given = self._name_or_scope
        if not self._with_name_scope:
            current = graph.get_name_scope()
            return f"{current}/" if current else ""
        if given is None:
            name = self._default_name
        else:
            name = given if isinstance(given, str) else given.name.rpartition("/")[2]
        if not name:
            return None
        return stack.enter_context(graph.name_scope(name))

    @contextmanager
    def _open(self, graph: Graph, opened: str | None) -> Iterator[VariableScope]:
        outer = _current(graph)
        scopes: Any = graph._scopes
        opened_scopes: _Opened = scopes.opened
        given = self._name_or_scope
        again = isinstance(given, VariableScope)
        if again:
            base, name = given, given.name
            original = given._name_scope
        else:
            if given is None:
                given = opened_scopes.unused(outer.name, self._default_name or "")
            base = outer
            name = f"{outer.name}/{given}" if outer.name else given
            original = given if opened is None else opened
        changes = dict(self._changes)
        if self._custom_getter is not None:
            changes["custom_getter"] = _compose(self._custom_getter, base._custom_getter)
        scope = base._copy(
            name=name, name_scope=original, reuse=self._reuse or base.reuse, **changes
        )
        scopes.variable_scope = scope
        with opened_scopes.open(name, again):
            try:
                yield scope
            finally:
                if scopes.variable_scope is not scope:
                    raise RuntimeError("Improper nesting of variable_scope.")
                scopes.variable_scope = outer


def _compose(inner: Callable[..., Any], outer: Callable[..., Any] | None) -> Callable[..., Any]:
    """Custom getters of nested scopes: the inner one's `getter` is the outer one."""
    if outer is None:
        return inner

    def getter(getter: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        return inner(partial(outer, getter), *args, **kwargs)

    return getter


def variable_op_scope(
    values: Sequence[Any], name_or_scope: Any, default_name: str | None = None, **options: Any
) -> variable_scope:
    """Old form of `variable_scope`."""
    return variable_scope(name_or_scope, default_name, values, **options)
