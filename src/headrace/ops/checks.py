"""Assertions: of shapes and types when the graph is built, of values in the run."""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from headrace import dtypes, shapes
from headrace.conversion import convert_to_tensor
from headrace.errors import InvalidArgumentError
from headrace.folding import constant_value
from headrace.graph import colocate_with, control_dependencies, get_default_graph, name_scope
from headrace.node import IndexedSlicesBase, Operation, Tensor
from headrace.opdef import NOT_DIFFERENTIABLE, op, same_shape
from headrace.ops import array, control, math, reduce
from headrace.ops.printing import summarize as summary

# -- Assert ----------------------------------------------------------------------------------------


@op("Assert", "condition: bool, data: *T")
def _assert(xp: Any, condition: Any, data: Any, *, summarize: int = 3) -> Any:
    if condition.ndim:
        shape = shapes.brackets(condition.shape)
        raise InvalidArgumentError(None, None, f"In[0] should be a scalar: {shape}")
    xp.check(
        condition,
        lambda: "assertion failed: " + " ".join(f"[{summary(d, summarize)}]" for d in data),
    )
    return ()


_assert.gradient = NOT_DIFFERENTIABLE


def Assert(
    condition: Any, data: Any, summarize: int | None = None, name: str | None = None
) -> Operation:
    """An operation that raises InvalidArgumentError, showing `data`, unless the condition holds."""
    if not isinstance(data, (list, tuple)):
        raise TypeError("values must be a sequence.")
    if not data:
        raise ValueError("Attr 'T' of 'Assert' Op passed list of length 0 less than minimum 1.")
    with name_scope(name, "Assert", [condition, data]):
        tensors = [convert_to_tensor(d) for d in data]
        # TensorFlow converts these twice, and guards others by a conditional, which is not needed.
        twice = all(t.dtype.base_dtype in (dtypes.string, dtypes.int32) for t in tensors)
        shown = 3 if summarize is None else summarize
        return _assert(condition, list(data) if twice else tensors, summarize=shown, name="Assert")


# -- comparisons -----------------------------------------------------------------------------------


def _texts(data: Sequence[Any]) -> str:
    """What an assertion says that is known to fail when the graph is built."""
    lines = []
    for d in data:
        value = constant_value(d) if isinstance(d, Tensor) else d
        lines.append(str(d if value is None else value))
    return "\n".join(lines)


def _comparison(name: str, sign: str, compare: Callable[..., Any], known: Any) -> Any:
    def check(
        x: Any,
        y: Any,
        data: Any = None,
        summarize: int | None = None,
        message: str | None = None,
        name: str | None = None,
    ) -> Operation:
        if sign == "==":
            with name_scope(name, default, [x, y, data]):  # TensorFlow opens it twice
                if x is y:
                    return control.no_op()
        with name_scope(name, default, [x, y, data]):
            x = convert_to_tensor(x, name="x")
            y = convert_to_tensor(y, name="y")
            if data is None:
                data = [
                    f"Condition x {sign} y did not hold element-wise:",
                    f"x ({x.name}) = ",
                    x,
                    f"y ({y.name}) = ",
                    y,
                ]
            if message is not None:
                data = [message, *data]
            a, b = constant_value(x), constant_value(y)
            if a is not None and b is not None and not np.all(known(a, b)):
                raise InvalidArgumentError(None, None, _texts(data))
            return Assert(reduce.reduce_all(compare(x, y)), data, summarize=summarize)

    default = name
    check.__name__ = check.__qualname__ = name
    check.__doc__ = (
        f"An operation that raises InvalidArgumentError unless x {sign} y in every element.\n\n"
        "Raised at once if x and y are known when the graph is built."
    )
    return check


assert_equal = _comparison("assert_equal", "==", math.equal, np.equal)
assert_none_equal = _comparison("assert_none_equal", "!=", math.not_equal, np.not_equal)
assert_less = _comparison("assert_less", "<", math.less, np.less)
assert_less_equal = _comparison("assert_less_equal", "<=", math.less_equal, np.less_equal)
assert_greater = _comparison("assert_greater", ">", math.greater, np.greater)
assert_greater_equal = _comparison(
    "assert_greater_equal", ">=", math.greater_equal, np.greater_equal
)


def _sign_check(name: str, sign: str, check: Callable[..., Operation], zero_first: bool) -> Any:
    def checked(
        x: Any,
        data: Any = None,
        summarize: int | None = None,
        message: str | None = None,
        name: str | None = None,
    ) -> Operation:
        with name_scope(name, default, [x, data]):
            x = convert_to_tensor(x, name="x")
            if data is None:
                data = [
                    _prefix(message),
                    f"Condition x {sign} 0 did not hold element-wise:",
                    f"x ({x.name}) = ",
                    x,
                ]
            zero = convert_to_tensor(0, dtype=x.dtype)
            pair = (zero, x) if zero_first else (x, zero)
            return check(*pair, data=data, summarize=summarize)

    default = name
    checked.__name__ = checked.__qualname__ = name
    checked.__doc__ = f"An operation that raises InvalidArgumentError unless all of x {sign} 0."
    return checked


def _prefix(message: str | None) -> str:
    return "" if not message else f"{message}.  "


assert_positive = _sign_check("assert_positive", ">", assert_less, True)
assert_negative = _sign_check("assert_negative", "<", assert_less, False)
assert_non_negative = _sign_check("assert_non_negative", ">=", assert_less_equal, True)
assert_non_positive = _sign_check("assert_non_positive", "<=", assert_less_equal, False)


def assert_near(
    x: Any,
    y: Any,
    rtol: Any = None,
    atol: Any = None,
    data: Any = None,
    summarize: int | None = None,
    message: str | None = None,
    name: str | None = None,
) -> Operation:
    """An operation that raises InvalidArgumentError unless |x - y| < atol + rtol |y| everywhere.

    Both tolerances are ten times the precision of the type unless given.
    """
    with name_scope(name, "assert_near", [x, y, rtol, atol, data]):
        x = convert_to_tensor(x, name="x")
        y = convert_to_tensor(y, dtype=x.dtype, name="y")
        default = 10 * float(np.spacing(np.ones((), x.dtype.numpy)))
        real = x.dtype.real_dtype
        rtol = convert_to_tensor(default if rtol is None else rtol, name="rtol", dtype=real)
        atol = convert_to_tensor(default if atol is None else atol, name="atol", dtype=real)
        if data is None:
            data = [
                _prefix(message),
                f"x and y not equal to tolerance rtol = {rtol}, atol = {atol}",
                f"x ({x.name}) = ",
                x,
                f"y ({y.name}) = ",
                y,
            ]
        tolerance = atol + rtol * math.abs(y)
        near = reduce.reduce_all(math.less(math.abs(x - y), tolerance))
        return Assert(near, data, summarize=summarize)


def is_non_decreasing(x: Any, name: str | None = None) -> Tensor:
    """Whether no element, in the order of the flat tensor, is less than the one before it: bool."""
    with name_scope(name, "is_non_decreasing", [x]):
        flat = array.reshape(x, [-1])
        return reduce.reduce_all(math.greater_equal(flat[1:], flat[:-1]))


def is_strictly_increasing(x: Any, name: str | None = None) -> Tensor:
    """Whether every element, in the order of the flat tensor, exceeds the one before it: bool."""
    with name_scope(name, "is_strictly_increasing", [x]):
        flat = array.reshape(x, [-1])
        return reduce.reduce_all(math.greater(flat[1:], flat[:-1]))


# -- ranks -----------------------------------------------------------------------------------------


def _rank_check(
    x: Any,
    ranks: Sequence[Any],
    default: str,
    words: str,
    known: Callable[..., bool],
    compare: Callable[..., Tensor],
    data: Any,
    summarize: int | None,
    message: str | None,
    name: str | None,
) -> Operation:
    with name_scope(name, default, [x, *ranks, data]):
        if not isinstance(x, Tensor):
            x = convert_to_tensor(x, name="x")
        ranks = [convert_to_tensor(r, name="rank") for r in ranks]
        shape = array.shape(x)
        for r in ranks:
            assert_type(r, dtypes.int32)
            if r.shape.ndims not in (None, 0):
                raise ValueError("Rank must be a scalar.")
        values = [constant_value(r) for r in ranks]
        rank = x.shape.ndims
        if rank is not None and all(v is not None for v in values):
            wanted = [int(v) for v in values]  # type: ignore[arg-type]
            if not known(rank, *wanted):
                asked = wanted[0] if "in" not in words.split() else tuple(wanted)
                raise ValueError(
                    f"{_prefix(message)}Tensor {x.name} {words} {asked}.  Received rank {rank}, "
                    f"shape {x.shape}"
                )
            return control.no_op(name="static_checks_determined_all_ok")
        if data is None:
            data = [_prefix(message), f"Tensor {x.name} {words}", *ranks]
            data += ["Received shape: ", shape]
        return Assert(compare(array.rank(x), *ranks), data, summarize=summarize)


def assert_rank(
    x: Any,
    rank: Any,
    data: Any = None,
    summarize: int | None = None,
    message: str | None = None,
    name: str | None = None,
) -> Operation:
    """An operation that checks x to have this rank; ValueError if it is known to have another."""
    return _rank_check(
        x, [rank], "assert_rank", "must have rank", lambda have, want: have == want, math.equal,
        data, summarize, message, name,
    )  # fmt: skip


def assert_rank_at_least(
    x: Any,
    rank: Any,
    data: Any = None,
    summarize: int | None = None,
    message: str | None = None,
    name: str | None = None,
) -> Operation:
    """An operation that checks x to have this rank or more; ValueError if known to have less."""
    return _rank_check(
        x, [rank], "assert_rank_at_least", "must have rank at least",
        lambda have, want: have >= want, math.greater_equal, data, summarize, message, name,
    )  # fmt: skip


def assert_rank_in(
    x: Any,
    ranks: Any,
    data: Any = None,
    summarize: int | None = None,
    message: str | None = None,
    name: str | None = None,
) -> Operation:
    """An operation that checks x to have one of these ranks; ValueError if known to have none."""

    def compare(rank: Tensor, *wanted: Tensor) -> Tensor:
        return functools.reduce(math.logical_or, [math.equal(w, rank) for w in wanted])

    return _rank_check(
        x, list(ranks), "assert_rank_in", "must have rank in", lambda have, *want: have in want,
        compare, data, summarize, message, name,
    )  # fmt: skip


def assert_scalar(tensor: Any, name: str | None = None, message: str | None = None) -> Tensor:
    """The tensor; ValueError if it is known not to be a scalar."""
    with name_scope(name, "assert_scalar", [tensor]):
        tensor = convert_to_tensor(tensor, name=name or "tensor")
        if tensor.shape.ndims not in (None, 0):
            raise ValueError(
                f"{_prefix(message)}Expected scalar shape for {tensor.name}, saw shape: "
                f"{tensor.shape}."
            )
        return tensor


# -- types -----------------------------------------------------------------------------------------


def assert_type(
    tensor: Any, tf_type: Any, message: str | None = None, name: str | None = None
) -> Operation:
    """An operation that does nothing; TypeError unless the tensor has the type."""
    tf_type = dtypes.as_dtype(tf_type)
    with name_scope(name, "assert_type", [tensor]):
        tensor = convert_to_tensor(tensor, name="tensor")
        if tensor.dtype.base_dtype is not tf_type:
            raise TypeError(
                f"{_prefix(message)}{tensor.name} must be of type {tf_type!r}; got {tensor.dtype!r}"
            )
        return control.no_op("statically_determined_correct_type")


def assert_integer(x: Any, message: str | None = None, name: str | None = None) -> Operation:
    """An operation that does nothing; TypeError unless x is of an integer type."""
    with name_scope(name, "assert_integer", [x]):
        x = convert_to_tensor(x, name="x")
        if not x.dtype.is_integer:
            raise TypeError(
                f'{_prefix(message)}Expected "x" to be integer type.  Found: {x.name} of dtype '
                f"{x.dtype}"
            )
        return control.no_op("statically_determined_was_integer")


def is_numeric_tensor(tensor: Any) -> bool:
    """Whether this is a tensor of numbers."""
    return isinstance(tensor, Tensor) and tensor.dtype.base_dtype in dtypes.NUMBERS


def assert_proper_iterable(values: Any) -> None:
    """TypeError unless `values` can be gone through, and is no tensor, array or string."""
    wrong = (IndexedSlicesBase, Tensor, np.ndarray, bytes, str)
    if isinstance(values, wrong):
        raise TypeError(
            'Expected argument "values" to be a "proper" iterable.  Found: ' + str(type(values))
        )
    if not hasattr(values, "__iter__"):
        raise TypeError('Expected argument "values" to be iterable.  Found: ' + str(type(values)))


def assert_same_float_dtype(tensors: Any = None, dtype: Any = None) -> Any:
    """The floating type that all tensors have (float32 if there are none); ValueError otherwise."""
    wanted = None if dtype is None else dtypes.as_dtype(dtype)
    for t in tensors or ():
        if t is None:
            continue
        if wanted is None:
            wanted = t.dtype.base_dtype
        elif t.dtype.base_dtype is not wanted:
            raise ValueError(
                f"Tensor {t.name} must be of type {wanted!r}, but is {t.dtype.base_dtype!r}."
            )
    wanted = wanted or dtypes.float32
    if not wanted.is_floating:
        raise ValueError(f"Expected floating point type, got {wanted!r}.")
    return wanted


# -- numbers that are none -------------------------------------------------------------------------


@op("CheckNumerics", "tensor: T -> output: T", T=dtypes.FLOATS)
def _check_numerics(xp: Any, x: Any, *, message: str) -> Any:
    xp.check(xp.all(xp.isfinite(x)), lambda: f"{message} : Tensor had {_what(x)} values")
    return x


def _what(x: Any) -> str:
    found = (["Inf"] if np.isinf(x).any() else []) + (["NaN"] if np.isnan(x).any() else [])
    return " and ".join(found)


_check_numerics.infer = same_shape


@_check_numerics.def_gradient
def _(node: Any, dy: Any) -> Any:
    before = f"Infinite or NaN gradient of {node.name}: {node.attrs['message']}"
    return check_numerics(dy, before)


def check_numerics(tensor: Any, message: str, name: str | None = None) -> Tensor:
    """The tensor; InvalidArgumentError with the message in a run in which it is not all finite."""
    return _check_numerics(tensor, message=message, name=name)


def verify_tensor_all_finite(
    t: Any = None,
    msg: str | None = None,
    name: str | None = None,
    x: Any = None,
    message: str | None = None,
) -> Tensor:
    """`check_numerics` under another name."""
    x = t if x is None else x
    message = msg if message is None else message
    with name_scope(name, "VerifyFinite", [x]):
        x = convert_to_tensor(x, name="x")
        with colocate_with(x):
            checked = check_numerics(x, message or "")
            return control.with_dependencies([checked], x)


def assert_all_finite(x: Any, message: str, name: str | None = None) -> Tensor:
    """`check_numerics` under yet another name."""
    return verify_tensor_all_finite(x=x, message=message, name=name)


def add_check_numerics_ops() -> Operation:
    """An operation that checks every floating tensor of the graph, in the order of their making."""
    last: list[Any] = []
    for node in get_default_graph().get_operations():
        for t in node.outputs:
            if t.dtype in dtypes.FLOATS:
                with control_dependencies(last):
                    last = [check_numerics(t, t.name)]
    return control.group(*last)
