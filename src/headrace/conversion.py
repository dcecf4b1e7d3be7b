"""From Python values to tensors: `convert_to_tensor` and the functions it asks, by type."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from headrace.dtypes import as_dtype
from headrace.node import IndexedSlicesBase, Operation, Tensor

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
    return isinstance(x, (Tensor, IndexedSlicesBase)) or (
        hasattr(x, "_as_graph_element") and not (isinstance(x, Operation))
    )
