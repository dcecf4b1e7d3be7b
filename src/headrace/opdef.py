"""How an op is defined, in one place, and how a node of it is made.

    @op("MatMul", "a: T, b: T -> product: T", T=NUMBERS)
    def matmul(xp, a, b, *, transpose_a=False, transpose_b=False): ...    # the kernel

    @matmul.def_infer                   # Specs of the operands -> shape(s); refuses bad input
    def _(a, b, *, transpose_a, transpose_b): ...

    @matmul.def_gradient                # op, gradient per output -> gradient per input
    def _(op, dz): ...

The signature gives operand and result names and types as TensorFlow's op registry does: `T` is a
type attribute, `int32` a fixed type, `Ref(T)` a variable, `N*T` a list of one type, `*Ts` a list
of several. Attributes are the kernel's keyword arguments and the signature's type attributes;
those that start with `_` do not go into a GraphDef's kernel call.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from headrace import shapes
from headrace.conversion import convert_to_tensor
from headrace.dtypes import _BY_KEY, DType, as_dtype, int32
from headrace.folding import Spec
from headrace.graph import Graph, get_default_graph
from headrace.node import Operation, Tensor, grouped

REGISTRY: dict[str, OpDef] = {}
NOT_DIFFERENTIABLE = "no gradient by nature"


@dataclass(frozen=True, slots=True)
class Arg:
    """An operand or result in a signature."""

    name: str
    type_attr: str | None  # the type attribute that names its type(s)
    dtype: DType | None  # or its fixed type
    ref: bool = False
    count_attr: str | None = None  # N of N*T
    many: bool = False  # *Ts


_ARG = re.compile(r"^(\w+)\s*:\s*(?:(\w+)\s*\*\s*)?(\*?)(Ref\()?(\w+)\)?$")


def _parse_args(text: str) -> tuple[Arg, ...]:
    args = []
    for piece in filter(None, (p.strip() for p in text.split(","))):
        match = _ARG.match(piece)
        if match is None:
            raise ValueError(f"{piece!r} is not an operand of a signature.")
        name, count_attr, star, ref, kind = match.groups()
        dtype = _BY_KEY.get(kind) if kind[0].islower() else None
        type_attr = kind if dtype is None else None
        args.append(Arg(name, type_attr, dtype, bool(ref), count_attr, bool(star)))
    return tuple(args)


@dataclass(eq=False)
class OpDef:
    """An op, whole: signature, kernel, static shapes, gradient, traits. Calling it adds a node."""

    name: str
    inputs: tuple[Arg, ...]
    outputs: tuple[Arg, ...]
    kernel: Callable[..., Any]
    types: dict[str, tuple[DType, ...]]
    static: tuple[int, ...] = ()  # arguments whose value fixes a shape
    host: bool = False  # never traced: strings, files, Python, data-dependent shapes
    random: bool = False  # the kernel takes its Philox state first
    blocks: Callable[..., int] | None = None  # (attrs, result shape) -> Philox blocks of one run
    variable: bool = False  # stands for a variable of the session; never run
    must_feed: bool = False  # a placeholder: has no value of its own
    resource: bool = False  # stands for an object of the session, which the kernel makes once
    waits: bool = False  # may block: runs without the session's lock
    takes_uninitialized: bool = False  # the kernel gets None for a variable without a value
    writes: tuple[int, ...] = ()  # variables among the arguments; new values are returned first
    reads: tuple[int, ...] | None = None  # variables whose value is needed; None: all
    effect: Callable[..., None] | None = None  # (op, *inputs), after the segment, on the host
    shape_only: bool = False  # the kernel looks only at its arguments' shapes
    broadcasts: bool = False  # arguments broadcast: the walk sums gradients back to their shapes
    wants_op: bool = False  # the kernel also takes the node itself, as `_op`
    pure: bool = True  # the same operands give the same result, so it may be folded
    infer: Callable[..., Any] | None = None
    gradient: Any = None
    attr_defaults: dict[str, Any] = field(default_factory=dict)
    accepts: frozenset[str] = frozenset()

    def __post_init__(self) -> None:
        self.flat = not any(a.count_attr or a.many for a in self.inputs)
        self.foldable = self.pure and not (
            self.random
            or self.writes
            or self.effect
            or self.resource
            or not (self.inputs or self.name == "Const")
        )
        self._types_given = [
            a.type_attr for a in self.outputs
            if a.type_attr and a.type_attr not in {i.type_attr for i in self.inputs}
        ]  # fmt: skip

    def def_infer(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Set the static shape rule: (Spec per argument, **attributes) -> shape or list of them."""
        self.infer = function
        return function

    def def_gradient(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Set the gradient: (op, gradient per output) -> gradient, or tuple of one per input."""
        self.gradient = function
        return function

    def __call__(self, *args: Any, name: str | None = None, **attrs: Any) -> Any:
        """Add a node. Returns its Tensor; a list of Tensors; or the Operation if it has no output.

        TypeError for operands of wrong or clashing types, ValueError for clashing shapes.
        """
        op = self.node(*args, name=name, **attrs)
        outputs = self.outputs
        if not outputs:
            return op
        if len(outputs) == 1 and not outputs[0].count_attr and not outputs[0].many:
            return op.outputs[0]
        return list(op.outputs)

    def node(self, *args: Any, name: str | None = None, **attrs: Any) -> Operation:
        """Add a node and return the Operation."""
        graph = _graph_for(args)
        name = self.name if name is None else name
        name = graph.node_name(name)
        flat, groups = self._operands(graph, name, args, attrs)
        inputs = [t for _, t in flat]
        outputs = self._outputs(name, inputs, groups, attrs)
        variables = [t.op for arg, t in flat if arg.ref]
        with graph._beside(variables) if variables else nullcontext():
            make = partial(graph.add, self.name, name, inputs, outputs, attrs, self, groups)
            if self.random and graph._scopes.draw is not None:
                return graph._scopes.draw(make)  # what is computed again draws the same numbers
            return make()

    def run(
        self, xp: Any, op: Operation, values: Sequence[Any], state: Any = None
    ) -> Sequence[Any]:
        """The kernel's results for the values of the node's inputs: one per written variable, then
        one per output that is not a variable."""
        values = grouped(op._groups, values)
        attrs = {k: v for k, v in op.attrs.items() if k in self.accepts}
        if self.random:
            values = [state, *values]
        results = self.kernel(xp, *values, **attrs)
        if isinstance(results, (tuple, list)):
            return results
        return () if results is None else (results,)

    # -- making a node -------------------------------------------------------------------------

    def _operands(
        self, graph: Graph, name: str, args: tuple[Any, ...], attrs: dict[str, Any]
    ) -> tuple[list[tuple[Arg, Tensor]], tuple[int | None, ...]]:
        if len(args) != len(self.inputs):
            raise TypeError(
                f"Op {self.name!r} takes {len(self.inputs)} operands "
                f"({', '.join(a.name for a in self.inputs)}), got {len(args)}."
            )
        for key in self._types_given:
            if key in attrs:
                given = attrs[key]
                attrs[key] = (
                    tuple(map(as_dtype, given))
                    if isinstance(given, (list, tuple))
                    else as_dtype(given)
                )
        bound = self._bound_types(args, attrs)
        flat: list[tuple[Arg, Tensor]] = []
        groups: list[int | None] = []
        for arg, value in zip(self.inputs, args, strict=True):
            if not (arg.count_attr or arg.many):
                flat.append((arg, self._operand(graph, name, arg, value, bound)))
                groups.append(None)
                continue
            if not isinstance(value, (list, tuple)):
                raise TypeError(
                    f"Expected list for {arg.name!r} argument to {self.name!r} Op, not {value!r}."
                )
            tensors = [self._operand(graph, name, arg, v, bound, i) for i, v in enumerate(value)]
            flat += [(arg, t) for t in tensors]
            groups.append(len(tensors))
            if arg.count_attr:
                attrs[arg.count_attr] = len(tensors)
            elif arg.type_attr:
                attrs[arg.type_attr] = tuple(t.dtype.base_dtype for t in tensors)
        for key, (dtype, arg_name) in bound.items():
            allowed = self.types.get(key)
            if allowed and dtype not in allowed:
                raise TypeError(
                    f"Value passed to parameter {arg_name!r} has DataType {dtype.name} not in list "
                    f"of allowed values: {', '.join(d.name for d in allowed)} (op {name!r} of type "
                    f"{self.name!r}). Use tf.cast to convert it."
                )
            attrs[key] = dtype
        return flat, () if self.flat else tuple(groups)

    def _bound_types(
        self, args: tuple[Any, ...], attrs: dict[str, Any]
    ) -> dict[str, tuple[DType, str]]:
        """The type attributes that are given, or that tensors among the operands decide, each with
        the name of what decided it."""
        bound: dict[str, tuple[DType, str]] = {}
        for arg, value in zip(self.inputs, args, strict=True):
            key = arg.type_attr
            if key is None or arg.many or key in bound:
                continue
            if key in attrs and not isinstance(attrs[key], tuple):
                bound[key] = (as_dtype(attrs[key]), key)
                continue
            found = [
                dtype.base_dtype
                for dtype in (
                    getattr(v, "dtype", None) for v in (value if arg.count_attr else [value])
                )
                if isinstance(dtype, DType)
            ]
            if found:
                bound[key] = (found[0], arg.name)
            if len(set(found)) > 1:
                raise TypeError(
                    f"Tensors in list passed to {arg.name!r} of {self.name!r} Op have types "
                    f"[{', '.join(d.name for d in found)}] that don't all match."
                )
        return bound

    def _operand(
        self,
        graph: Graph,
        name: str,
        arg: Arg,
        value: Any,
        bound: dict[str, tuple[DType, str]],
        index: int | None = None,
    ) -> Tensor:
        key = arg.type_attr
        known = bound.get(key) if key and not arg.many else None
        dtype = arg.dtype if known is None else known[0]
        if type(value) is not Tensor:
            label = arg.name if index is None else f"{arg.name}_{index}"
            scopes = graph._scopes
            outer, scopes.name = scopes.name, name
            try:
                given, value = value, convert_to_tensor(value, dtype, name=label, as_ref=arg.ref)
                allowed = self.types.get(key) if dtype is None and key else None
                if allowed and value.dtype.base_dtype not in allowed and int32 in allowed:
                    value = convert_to_tensor(given, name=label, dtype_hint=int32)  # [] is a shape
            except (TypeError, ValueError) as error:
                found = getattr(value, "dtype", None)
                if isinstance(found, DType) and dtype is not None:
                    raise self._clash(arg, found, dtype, known) from None
                if dtype is not None and not hasattr(value, "_as_graph_element"):
                    raise type(error)(
                        f"Expected {dtype.name} passed to parameter {arg.name!r} of op "
                        f"{self.name!r}, got {value!r} of type {type(value).__name__!r} instead. "
                        f"Error: {error}"
                    ) from None
                raise
            finally:
                scopes.name = outer
        found = value.dtype
        if dtype is not None and found is not dtype and found.base_dtype is not dtype:
            raise self._clash(arg, found, dtype, known)
        if arg.ref and not found.is_ref:
            raise TypeError(
                f"'{self.name}' Op requires that input '{arg.name}' be a mutable tensor "
                f"(e.g.: a tf.Variable), got {value}"
            )
        if known is None and key and not arg.many:
            bound[key] = (found.base_dtype, arg.name)
        return value

    def _clash(self, arg: Arg, found: DType, wanted: DType, known: Any) -> TypeError:
        because = (
            f"expected type of {wanted.name}"
            if known is None
            else f"type {wanted.name} of argument '{known[1]}'"
        )
        return TypeError(
            f"Input '{arg.name}' of '{self.name}' Op has type {found.base_dtype.name} that does "
            f"not match {because}."
        )

    def _outputs(
        self,
        name: str,
        inputs: list[Tensor],
        groups: tuple[int | None, ...],
        attrs: dict[str, Any],
    ) -> list[tuple[DType, shapes.Shape]]:
        for key, default in self.attr_defaults.items():
            attrs.setdefault(key, default)
        dtypes: list[DType] = []
        for arg in self.outputs:
            kind = arg.dtype if arg.type_attr is None else attrs[arg.type_attr]
            if arg.many:
                dtypes += kind  # type: ignore[arg-type]
            else:
                if arg.ref:
                    kind = kind.as_ref  # type: ignore[union-attr]
                dtypes += [kind] * (attrs[arg.count_attr] if arg.count_attr else 1)  # type: ignore
        if self.infer is None:
            return [(d, None) for d in dtypes]
        specs = grouped(groups, [Spec(t.dtype.base_dtype, t._dims, t) for t in inputs])
        try:
            dims = self.infer(*specs, **{k: v for k, v in attrs.items() if k in self.accepts})
        except ValueError as error:
            listed = ", ".join(shapes.brackets(t._dims) for t in inputs)
            raise ValueError(
                f"{error} for '{name}' (op: '{self.name}') with input shapes: {listed}."
            ) from None
        if not dtypes:  # the rule was asked for its checks alone
            return []
        return list(zip(dtypes, dims if isinstance(dims, list) else [dims], strict=True))

    def __repr__(self) -> str:
        return f"<OpDef {self.name}>"


def op(name: str, signature: str, **options: Any) -> Callable[[Callable[..., Any]], OpDef]:
    """Define an op by its kernel: `kernel(xp, *operands, **attributes)`.

    Options are the traits of `OpDef`, and the allowed types of type attributes (`T=FLOATS`).
    """
    before, _, after = signature.partition("->")
    inputs, outputs = _parse_args(before), _parse_args(after)
    attrs = {a.type_attr for a in (*inputs, *outputs)}
    types = {k: options.pop(k) for k in list(options) if k[0].isupper() or k in attrs}

    def define(kernel: Callable[..., Any]) -> OpDef:
        if name in REGISTRY:
            raise ValueError(f"Op {name!r} is defined twice.")
        keywords = {
            p.name: p.default
            for p in inspect.signature(kernel).parameters.values()
            if p.kind is p.KEYWORD_ONLY
        }
        defaults = {k: v for k, v in keywords.items() if v is not inspect.Parameter.empty}
        made = OpDef(
            name, inputs, outputs, kernel, types,
            attr_defaults=defaults, accepts=frozenset(keywords), **options,
        )  # fmt: skip
        REGISTRY[name] = made
        return made

    return define


def same_shape(x: Spec, *_: Any, **__: Any) -> shapes.Shape:
    """The static shape rule of what is elementwise in one operand."""
    return x.shape


def broadcast_shape(x: Spec, y: Spec, **_: Any) -> shapes.Shape:
    """The static shape rule of what is elementwise in two operands."""
    return shapes.broadcast(x.shape, y.shape)


def scalar_shape(*_: Any, **__: Any) -> shapes.Shape:
    """The static shape rule of what gives a scalar."""
    return ()


def _graph_for(args: tuple[Any, ...]) -> Graph:
    first: Any = None
    for value in args:
        items = value if isinstance(value, (list, tuple)) else (value,)
        for item in items:
            if type(item) is Tensor or hasattr(item, "_as_graph_element"):
                if first is None:
                    first = item
                elif item.graph is not first.graph:
                    raise ValueError(f"{item} must be from the same graph as {first}.")
    return get_default_graph() if first is None else first.graph
