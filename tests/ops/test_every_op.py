"""Every property on every op: the table of `cases.py` against the registry.

Both namespaces run the same kernel text, so that they agree proves little: an oracle is asked for
wherever a kernel is more than one call.
"""

from __future__ import annotations

import dis
import importlib
import pkgutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import jax
import ml_dtypes
import numpy as np
import pytest

import headrace
from headrace import dtypes, philox, shapes
from headrace.conversion import convert_to_tensor
from headrace.dtypes import DType, as_dtype
from headrace.graph import Graph
from headrace.node import Operation, Tensor
from headrace.opdef import NOT_DIFFERENTIABLE, REGISTRY, OpDef
from headrace.runtime import blocks
from headrace.runtime.plan import _caller, _flat_positions
from headrace.xp import numpy as numpy_namespace
from headrace.xp import xla as xla_namespace
from headrace.xp.turned import Turned, plain
from tests.ops.case import Case
from tests.ops.cases import CASES

for _module in pkgutil.walk_packages(headrace.__path__, "headrace."):
    if not _module.name.endswith("__main__"):
        importlib.import_module(_module.name)

from headrace.gradients import gradients  # noqa: E402
from headrace.indexed_slices import IndexedSlices  # noqa: E402
from headrace.ops.constant import as_array, constant, placeholder  # noqa: E402
from headrace.ops.state import assign_op, assign_variable, var_handle, variable_v2  # noqa: E402
from headrace.runtime.session import Session  # noqa: E402
from headrace.runtime.xla import namespace_of  # noqa: E402

OPS = dict(REGISTRY)  # as the package leaves it: other tests define ops of their own

# What cannot have a case. Placeholders and variables, which are never run, need not be named.
WITHOUT_CASES: dict[str, str] = {}

# Outputs through which no gradient flows by TensorFlow's own rules, so that the others are tested.
ONLY_OUTPUTS: dict[str, tuple[int, ...]] = {}

# Ops whose gradient has none itself.
ONCE_DIFFERENTIABLE: dict[str, str] = {"NumpyOp": "its backward_pass is a Python function"}


@dataclass(frozen=True)
class Use:
    """An op and one of its cases."""

    name: str
    index: int

    @property
    def definition(self) -> OpDef:
        return OPS[self.name]

    @property
    def case(self) -> Case:
        return CASES[self.name][self.index]

    def __str__(self) -> str:
        return f"{self.name}-{self.index}"


USES = [Use(name, i) for name, cases in CASES.items() if name in OPS for i in range(len(cases))]


def each_use(uses: Sequence[Use]) -> Any:
    return pytest.mark.parametrize("use", uses, ids=str)


# -- nodes of cases --------------------------------------------------------------------------------


def arrays(use: Use) -> list[Any]:
    """The flat operands: arrays, and None for a variable without a value."""
    flat: list[Any] = []
    for arg, given in zip(use.definition.inputs, use.case.args, strict=True):
        for value in given if arg.count_attr or arg.many else [given]:
            if value is None or isinstance(value, (np.ndarray, np.generic)):
                flat.append(None if value is None else np.asarray(value))
            else:
                flat.append(as_array(value, arg.dtype))
    return flat


Dims = Callable[[tuple[int, ...]], shapes.Shape]


def as_it_is(shape: tuple[int, ...]) -> shapes.Shape:
    return shape


def unknown_sizes(shape: tuple[int, ...]) -> shapes.Shape:
    return (None,) * len(shape)


def unknown_rank(shape: tuple[int, ...]) -> shapes.Shape:
    return None


def node(
    use: Use, values: Sequence[Any], attrs: dict[str, Any], seen: Dims = as_it_is, fold: bool = True
) -> Operation:
    """The case as a node: static operands as constants if `fold`, the others as placeholders."""
    definition = use.definition
    attrs = dict(attrs)
    flat, operands = iter(values), []
    for i, (arg, given) in enumerate(zip(definition.inputs, use.case.args, strict=True)):
        constants = fold and i in definition.static
        listed = arg.count_attr or arg.many
        tensors = [
            _operand(arg, next(flat), attrs, definition, seen, constants)
            for _ in (given if listed else [given])
        ]
        operands.append(tensors if listed else tensors[0])
    return definition.node(*operands, **attrs)


def _operand(
    arg: Any, value: Any, attrs: dict[str, Any], definition: OpDef, seen: Dims, constants: bool
) -> Tensor:
    dtype = dtypes.float32 if value is None else as_dtype(value.dtype)
    shape = shapes.TensorShape(() if value is None else seen(value.shape))
    if arg.ref:
        return variable_v2(shape=shape, dtype=dtype)
    if arg.dtype is dtypes.resource:
        for key in definition._types_given:
            attrs.setdefault(key, dtype)
        return var_handle(shape=shape, dtype=dtype)
    if constants:
        return constant(value, dtype)
    return placeholder(dtype, shape)


def is_written(op: Operation) -> tuple[int, ...]:
    return _flat_positions(op, op.definition.writes)


def result_names(op: Operation) -> list[tuple[DType, shapes.Shape]]:
    """What a kernel gives: the new value of each written variable, then the other outputs."""
    written = [op.inputs[i] for i in is_written(op)]
    new = []
    for t in written:
        kind = t.op.attrs["dtype"] if t.dtype is dtypes.resource else t.dtype.base_dtype
        new.append((as_dtype(kind), None))
    others = [t for t in op.outputs if not written or not t.dtype.is_ref]
    return new + [(t.dtype.base_dtype, t._dims) for t in others]


def random_state(use: Use) -> np.ndarray:
    seeds = use.case.attrs.get("seed", 0), use.case.attrs.get("seed2", 0)
    return philox.initial_state(*(seeds if any(seeds) else (12, 34)))


def run_kernel(op: Operation, values: Sequence[Any], state: Any, namespace: Any) -> list[Any]:
    definition = op.definition
    needed = None if definition.reads is None else _flat_positions(op, definition.reads)
    values = [
        None if needed is not None and _is_variable(t) and i not in needed else v
        for i, (t, v) in enumerate(zip(op.inputs, values, strict=True))
    ]
    if definition.random:
        values = [state, *values]
    results = _caller(definition, op)(namespace(values), *values)
    if isinstance(results, (tuple, list)):
        return list(results)
    return [] if results is None else [results]


def _is_variable(t: Tensor) -> bool:
    return t.dtype.is_ref or t.dtype is dtypes.resource


@cache
def forward(use: Use) -> tuple[Operation, list[Any], list[Any]]:
    """The case as a node, its operands, and the kernel's results under NumPy."""
    values = arrays(use)
    with Graph().as_default():
        op = node(use, values, use.case.attrs)
    with np.errstate(all="ignore"):
        results = run_kernel(op, values, random_state(use), lambda _: numpy_namespace)
    return op, values, results


# -- the table -------------------------------------------------------------------------------------


def test_every_op_has_a_case_and_every_case_an_op():
    missing = [
        name for name, definition in OPS.items()
        if not CASES.get(name) and name not in WITHOUT_CASES
        and not definition.variable and not definition.must_feed
    ]  # fmt: skip
    assert not missing, f"{len(missing)} ops without a case: {missing}"
    unknown = [name for name in CASES if name not in OPS]
    assert not unknown, f"cases of ops that are not defined: {unknown}"
    needless = [name for name in WITHOUT_CASES if CASES.get(name) or name not in OPS]
    assert not needless, f"exempt without need: {needless}"


def _is_single_call(kernel: Callable[..., Any]) -> bool:
    """Whether a kernel does nothing but call one function on its arguments, or pass one on."""
    if kernel.__qualname__.startswith("_of_namespace."):
        return True
    calls = 0
    for instruction in dis.get_instructions(kernel):
        name = instruction.opname
        if name.startswith("CALL"):
            calls += 1
        elif not name.startswith(_PASSIVE):
            return False
    return calls <= 1


_PASSIVE = (
    "LOAD_FAST", "LOAD_ATTR", "LOAD_METHOD", "PUSH_NULL", "RESUME", "RETURN_VALUE", "PRECALL",
    "KW_NAMES", "NOP",
)  # fmt: skip


@pytest.mark.parametrize("name", [name for name in OPS if CASES.get(name)])
def test_table_is_strict(name):
    cases = CASES[name]
    if not _is_single_call(OPS[name].kernel):
        assert any(c.oracle for c in cases), f"{name} is more than one call, and has no oracle"
    for c in cases:
        assert c.gradient != () or c.why, f"{name}: gradient=() wants a reason in `why`"


# -- NumPy and XLA ---------------------------------------------------------------------------------

# How far, in units in the last place of the largest element, two ways to compute may lie apart.
_ULPS = {"float16": 4, "bfloat16": 4, "float32": 16, "float64": 32}


def tolerance(dtype: np.dtype, ulps: float = 1) -> float:
    real = {np.dtype("complex64"): "float32", np.dtype("complex128"): "float64"}.get(
        dtype, dtype.name
    )
    return ulps * _ULPS[real] * float(ml_dtypes.finfo(real).eps)


def is_inexact(dtype: np.dtype) -> bool:
    return dtype.kind in "fc" or dtype == ml_dtypes.bfloat16


def assert_close(found: Any, expected: Any, *, exact: bool = False, ulps: float = 1) -> None:
    """Equal in shape and value: to the bit, or within what the type of `found` can tell."""
    found = np.asarray(found)
    if found.dtype == object:
        expected = np.asarray(expected, object)
        assert found.shape == expected.shape
        assert [_bytes(v) for v in found.ravel()] == [_bytes(v) for v in expected.ravel()]
        return
    expected = np.asarray(expected)
    assert found.shape == expected.shape
    if exact or not is_inexact(found.dtype):
        np.testing.assert_array_equal(found, expected)
        return
    wide = np.complex128 if found.dtype.kind == "c" else np.float64
    near = tolerance(found.dtype, ulps)
    a, b = found.astype(wide), expected.astype(wide)
    finite = np.abs(b[np.isfinite(b)])
    largest = float(finite.max()) if finite.size else 0.0
    tiny = float(ml_dtypes.finfo(found.dtype).smallest_subnormal)
    np.testing.assert_allclose(a, b, rtol=near, atol=near * largest + tiny)


def _bytes(value: Any) -> Any:
    return value.encode() if isinstance(value, str) else value


def is_traceable(use: Use) -> bool:
    if use.definition.host:
        return False
    op, values, _ = forward(use)
    strings = [t for t in (*op.inputs, *op.outputs) if t.dtype.kind == "S"]
    return not strings and all(v is not None for v in values)


def has_matrices(use: Use) -> bool:
    """Whether an operand that is traced is a matrix of floats."""
    op, values, _ = forward(use)
    static = _flat_positions(op, use.definition.static)
    return any(
        v is not None and v.ndim == 2 and v.dtype.kind == "f" and i not in static
        for i, v in enumerate(values)
    )


def _on_its_side(x: Any) -> Any:
    return Turned(x.T) if x.ndim == 2 and x.dtype.kind == "f" else x


def to_be_traced(use: Use, turn: Callable[[Any], Any] = lambda x: x) -> tuple[Any, list[Any]]:
    """A case's kernel as a function of a random state and operands, and these."""
    op, values, _ = forward(use)
    static = _flat_positions(op, use.definition.static)

    def function(state: Any, *traced: Any) -> list[Any]:
        left = map(turn, traced)
        operands = [v if i in static else next(left) for i, v in enumerate(values)]
        return [plain(r) for r in run_kernel(op, operands, state, namespace_of)]

    return function, [random_state(use), *(v for i, v in enumerate(values) if i not in static)]


def _run_by_xla(
    uses: Sequence[Use], turn: Callable[[Any], Any]
) -> tuple[list[list[np.ndarray]], bool]:
    ready = [to_be_traced(use, turn) for use in uses]

    def trace(*given: Any) -> Any:
        results = [function(*args) for (function, _), args in zip(ready, given, strict=True)]
        return results, xla_namespace.notes.flags

    notes = xla_namespace.notes
    outer, notes.flags = notes.flags, []
    try:
        with jax.enable_x64(True):
            results, flags = jax.jit(trace)(*[args for _, args in ready])
            return [[np.asarray(r) for r in rs] for rs in results], all(map(bool, flags))
    finally:
        notes.flags = outer


@cache
def in_blocks(name: str) -> list[tuple[Use, int, list[np.ndarray]]]:
    """XLA's results for those cases of an op that can be computed in blocks of so many rows."""
    found = []
    with jax.enable_x64(True):
        for use in USES:
            if use.name != name or not is_traceable(use):
                continue
            function, args = to_be_traced(use)
            with xla_namespace.plainly():
                closed = jax.make_jaxpr(function)(*args)
            for rows in {n for a in args[1:] for n in np.shape(a) if n > 1}:
                blocked = blocks.in_blocks(closed, {rows})
                if blocked is not None:
                    found.append((use, rows, blocked, args))
        results = jax.jit(
            lambda args: [f(*a) for (_, _, f, _), a in zip(found, args, strict=True)]
        )([args for *_, args in found])
    return [
        (use, rows, [np.asarray(r) for r in rs])
        for (use, rows, *_), rs in zip(found, results, strict=True)
    ]


@cache
def by_xla(name: str, on_its_side: bool = False) -> dict[Use, Any]:
    """XLA's results for the cases of an op, or what went wrong: compiled together if possible."""
    uses = [use for use in USES if use.name == name and is_traceable(use)]
    turn: Callable[[Any], Any] = lambda x: x  # noqa: E731
    if on_its_side:
        uses, turn = [use for use in uses if has_matrices(use)], _on_its_side
    try:
        results, lawful = _run_by_xla(uses, turn)
        if lawful:
            return dict(zip(uses, results, strict=True))
    except Exception:  # it is found out, and told, for each alone
        pass
    alone: dict[Use, Any] = {}
    for use in uses:
        try:
            results, lawful = _run_by_xla([use], turn)
            alone[use] = results[0] if lawful else AssertionError("xp.check failed under XLA alone")
        except Exception as error:
            alone[use] = error
    return alone


@each_use(USES)
def test_kernel_gives_what_its_signature_says(use):
    op, _, results = forward(use)
    expected = result_names(op)
    assert len(results) == len(expected)
    for result, (dtype, _) in zip(results, expected, strict=True):
        assert np.asarray(result).dtype == dtype.numpy


@each_use([use for use in USES if not use.definition.host])
def test_numpy_and_xla_agree(use):
    if not is_traceable(use):
        pytest.skip("strings and missing values stay on the host")
    found = by_xla(use.name)[use]
    if isinstance(found, Exception):
        raise found
    _, _, expected = forward(use)
    assert len(found) == len(expected)
    for a, b in zip(found, expected, strict=True):
        b = np.asarray(b)
        assert a.dtype == b.dtype
        assert_close(a, b, exact=use.definition.random and b.dtype != np.float64)


@each_use([use for use in USES if is_traceable(use) and has_matrices(use)])
def test_matrices_that_lie_on_their_side_make_no_difference(use):
    found = by_xla(use.name, on_its_side=True)[use]
    if isinstance(found, Exception):
        raise found
    for a, b in zip(found, forward(use)[2], strict=True):
        b = np.asarray(b)
        assert a.dtype == b.dtype
        assert_close(a, b, exact=use.definition.random and b.dtype != np.float64)


_SURELY_IN_BLOCKS = {
    *("Add", "BiasAdd", "BiasAddGrad", "Cast", "Concat", "ConcatV2", "Equal", "Log", "MatMul"),
    *("Max", "Mean", "Mul", "Neg", "OneHot", "Pack", "Relu", "ReluGrad", "Reshape", "Select"),
    *("Sigmoid", "SigmoidGrad", "Softmax", "SoftmaxCrossEntropyWithLogits", "Square", "Sub", "Sum"),
    *("SparseSoftmaxCrossEntropyWithLogits", "Tanh", "TanhGrad", "Tile", "Transpose", "GatherV2"),
}


@pytest.mark.parametrize("name", [name for name in OPS if CASES.get(name)])
def test_rows_in_blocks_make_no_difference(name, monkeypatch):
    monkeypatch.setattr(blocks, "_WORTH", 0)
    monkeypatch.setattr(blocks.Blocks, "_block_size", lambda self: -(-self._rows // 2))
    cases = in_blocks(name)
    assert cases or name not in _SURELY_IN_BLOCKS
    for use, _, found in cases:
        for a, b in zip(found, forward(use)[2], strict=True):
            b = np.asarray(b)
            assert a.dtype == b.dtype
            assert_close(a, b, exact=use.definition.random and b.dtype != np.float64)


@each_use([use for use in USES if use.case.oracle])
def test_value_equals_its_oracle(use):
    _, _, results = forward(use)
    expected = use.case.oracle(*use.case.args)
    if len(results) != 1 or isinstance(expected, tuple):
        assert len(results) == len(expected)
    else:
        expected = (expected,)
    for found, right in zip(results, expected, strict=True):
        assert_close(found, right, ulps=2)


# -- static shapes ---------------------------------------------------------------------------------


@each_use(USES)
def test_static_shape_is_what_comes_out(use):
    op, _, results = forward(use)
    for (_, dims), result in zip(result_names(op), results, strict=True):
        if not use.definition.host:
            assert dims in (np.shape(result), None if op.definition.writes else np.shape(result))
        assert shapes.compatible(dims, np.shape(result))


@each_use(USES)
def test_static_shape_of_what_is_unknown_is_not_wrong(use):
    _, values, results = forward(use)
    variables = any(a.ref or a.dtype is dtypes.resource for a in use.definition.inputs)
    for seen in (as_it_is, unknown_sizes, unknown_rank):
        for fold in (True, False):
            if variables and seen is not as_it_is:
                continue  # a variable's own shape is known
            with Graph().as_default():
                op = node(use, values, use.case.attrs, seen, fold)
            for (_, dims), result in zip(result_names(op), results, strict=True):
                assert shapes.compatible(dims, np.shape(result)), (seen.__name__, fold)


# -- variables -------------------------------------------------------------------------------------


@each_use([use for use in USES if use.definition.writes])
def test_writes_reach_the_session(use):
    """Under NumPy, the first time, and by XLA later: that for one case an op, for it takes time."""
    with Graph().as_default() as graph:
        values = arrays(use)
        op = node(use, values, use.case.attrs)
        variables = {
            i: t for i, t in enumerate(op.inputs) if _is_variable(t) and values[i] is not None
        }
        feeds = {
            t: values[i] for i, t in enumerate(op.inputs)
            if i not in variables and t.op.definition.must_feed
        }  # fmt: skip
        initial = [
            assign_op(t, values[i]) if t.dtype.is_ref else assign_variable(t, values[i])
            for i, t in variables.items()
        ]
        written = is_written(op)
        fetches = [op.inputs[i] for i in written], op
    _, _, expected = forward(use)
    with Session(graph=graph) as session:
        for _ in range(1 if use.index else 3):
            if initial:
                session.run(initial)
            found, _ = session.run(fetches, feeds)
            for a, b in zip(found, expected, strict=False):
                b = np.asarray(b)
                assert a.dtype == b.dtype
                assert_close(a, b)


# -- gradients -------------------------------------------------------------------------------------


def _wide(dtype: DType, allowed: Any) -> DType:
    wide = {"f": dtypes.float64, "c": dtypes.complex128}.get(dtype.kind, dtype)
    return wide if not allowed or wide in allowed else dtype


def widened(use: Use) -> tuple[list[Any], dict[str, Any]]:
    """Operands and attributes with every type made float64 (complex128) that may be."""
    definition, flat = use.definition, iter(arrays(use))
    values = []
    for arg, given in zip(definition.inputs, use.case.args, strict=True):
        for _ in given if arg.count_attr or arg.many else [given]:
            value = next(flat)
            if arg.type_attr and value.dtype != object:
                wide = _wide(as_dtype(value.dtype), definition.types.get(arg.type_attr))
                value = value.astype(wide.numpy)
            values.append(value)
    attrs = dict(use.case.attrs)
    for key, value in attrs.items():
        if key in definition._types_given:
            allowed = definition.types.get(key)
            if isinstance(value, (tuple, list)):
                attrs[key] = tuple(_wide(as_dtype(v), allowed) for v in value)
            else:
                attrs[key] = _wide(as_dtype(value), allowed)
    return values, attrs


def has_gradient(use: Use) -> bool:
    definition = use.definition
    return (
        definition.gradient is not None
        and definition.gradient is not NOT_DIFFERENTIABLE
        and use.case.gradient != ()
        and not any(a.ref or a.dtype is dtypes.resource for a in definition.inputs)
    )


def numbers(rng: np.random.Generator, dtype: DType, shape: tuple[int, ...]) -> np.ndarray:
    x = rng.uniform(-1, 1, shape)
    if dtype.is_complex:
        x = x + 1j * rng.uniform(-1, 1, shape)
    return np.asarray(x, dtype.numpy)


def inner(a: Sequence[np.ndarray], b: Sequence[np.ndarray]) -> float:
    return float(sum(np.real(np.vdot(x, y)) for x, y in zip(a, b, strict=True)))


def norm(a: Sequence[np.ndarray]) -> float:
    return inner(a, a) ** 0.5


def evaluate(graph: Graph, tensors: list[Tensor], feeds: dict[Tensor, Any]) -> list[np.ndarray]:
    """By a session of its own, so that NumPy runs it: that kernels agree is tested elsewhere."""
    return [np.asarray(r) for r in Session(graph=graph).run(tensors, feeds)]


def assert_adjoint(
    graph: Graph,
    ys: list[Tensor],
    xs: list[Tensor],
    us: list[Tensor],
    gs: list[Tensor | None],
    values: dict[Tensor, np.ndarray],
    rng: np.random.Generator,
) -> None:
    """⟨u, Jv⟩ = ⟨Jᵀu, v⟩, with J v from a central difference of fourth order along v."""
    narrow = any(t.dtype in (dtypes.float32, dtypes.complex64) for t in (*xs, *ys))
    step, near = (1e-2, 2e-3) if narrow else (1e-3, 1e-6)
    v = [numbers(rng, x.dtype, values[x].shape) for x in xs]

    def moved(by: float) -> list[np.ndarray]:
        places = {
            x: (values[x] + by * d).astype(values[x].dtype) for x, d in zip(xs, v, strict=True)
        }
        return evaluate(graph, ys, {**values, **places})

    far, close = (
        [(a - b) for a, b in zip(moved(h), moved(-h), strict=True)] for h in (2 * step, step)
    )
    jv = [(8 * c - f) / (12 * step) for c, f in zip(close, far, strict=True)]
    weights = [values[u] for u in us]
    connected = [(g, d) for g, d in zip(gs, v, strict=True) if g is not None]
    jtu = evaluate(graph, [g for g, _ in connected], values) if connected else []
    left, right = inner(weights, jv), inner(jtu, [d for _, d in connected])
    scale = norm(weights) * norm(jv) + norm(jtu) * norm(v)
    assert abs(left - right) <= near * (scale + 1e-3), (left, right)


@each_use([use for use in USES if has_gradient(use)])
def test_gradient_is_the_adjoint_of_the_derivative(use):
    rng = np.random.default_rng(0)
    arrays, attrs = widened(use)
    with Graph().as_default() as graph:
        op = node(use, arrays, attrs)
        values = {t: v for t, v in zip(op.inputs, arrays, strict=True) if t.op.definition.must_feed}
        positions = range(len(op.inputs)) if use.case.gradient is None else use.case.gradient
        xs = [op.inputs[i] for i in positions if op.inputs[i].dtype.is_differentiable]
        xs = [x for x in xs if x in values]
        kept = ONLY_OUTPUTS.get(use.name, range(len(op.outputs)))
        ys = [op.outputs[i] for i in kept if op.outputs[i].dtype.is_differentiable]
        if not xs or not ys:
            pytest.skip("no gradient between these types")
        us = _weights(graph, ys, values, rng)
        gs = [_dense(g) for g in gradients(ys, xs, us)]
        for x, g in zip(xs, gs, strict=True):
            if g is not None:
                assert g.dtype is x.dtype
                assert shapes.compatible(g._dims, x._dims)
        _shaped_like(graph, gs, xs, values)
        assert_adjoint(graph, ys, xs, us, gs, values, rng)
        found = [g for g in gs if g is not None]
        if use.name in ONCE_DIFFERENTIABLE or not found:
            return
        ws = _weights(graph, found, values, rng)
        hs = [_dense(h) for h in gradients(found, [*xs, *us], ws)]
        _shaped_like(graph, hs, [*xs, *us], values)
        assert_adjoint(graph, found, [*xs, *us], ws, hs, values, rng)


def _weights(
    graph: Graph, ys: list[Tensor], values: dict[Tensor, Any], rng: np.random.Generator
) -> list[Tensor]:
    us = []
    for y, result in zip(ys, evaluate(graph, ys, values), strict=True):
        us.append(placeholder(y.dtype, result.shape))
        values[us[-1]] = numbers(rng, y.dtype, result.shape)
    return us


def _dense(g: Any) -> Tensor | None:
    return convert_to_tensor(g) if isinstance(g, IndexedSlices) else g


def _shaped_like(
    graph: Graph, gs: list[Tensor | None], xs: list[Tensor], values: dict[Tensor, Any]
) -> None:
    pairs = [(g, x) for g, x in zip(gs, xs, strict=True) if g is not None]
    if pairs:
        for (_, x), found in zip(
            pairs, evaluate(graph, [g for g, _ in pairs], values), strict=True
        ):
            assert found.shape == values[x].shape
