"""Values as text: Print, print, and the summaries of arrays that they and Assert show."""

from __future__ import annotations

import sys
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np

from headrace import dtypes
from headrace.conversion import convert_to_tensor
from headrace.node import Operation, Tensor
from headrace.opdef import NOT_DIFFERENTIABLE, Spec, op, scalar_shape
from headrace.shapes import Shape

# -- one element -----------------------------------------------------------------------------------


def _float_text(value: float, few: int, many: int, narrow: Callable[[str], Any]) -> str:
    """In `few` digits if they say it exactly, else in `many`: as the C++ of TensorFlow 1 did."""
    text = f"{value:.{few}g}"
    return text if value != value or narrow(text) == value else f"{value:.{many}g}"


def _element_text(dtype: Any) -> Callable[[Any], str]:
    """A function that writes an element of the dtype."""
    if dtype.kind in "OSU":
        return _escaped
    kind = dtypes.as_dtype(dtype)
    if kind.is_bool:
        return lambda v: str(int(v))
    if kind.is_floating and dtype.itemsize == 8:
        return lambda v: _float_text(float(v), 15, 17, float)
    if kind.is_floating:
        return lambda v: _float_text(float(v), 6, 8, np.float32)
    return str


def _escaped(value: Any) -> str:
    text = value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else str(value)
    for plain, written in (("\\", "\\\\"), ("\n", "\\n"), ("\t", "\\t"), ("\r", "\\r")):
        text = text.replace(plain, written)
    return text.replace('"', '\\"').replace("'", "\\'")


# -- arrays ----------------------------------------------------------------------------------------


def summarize(value: Any, limit: int | None = 3) -> str:
    """The first `limit` elements (None: 3, negative: all) in nested brackets, none outermost."""
    array = np.asarray(value)
    limit = 3 if limit is None else limit
    count = array.size if limit < 0 else min(limit, array.size)
    write = _element_text(array.dtype)
    texts = [write(v) for v in array.ravel()[:count].tolist()]
    body = _nested(texts, array.shape, 0) if array.ndim else "".join(texts)
    return body + ("..." if count < array.size else "")


def _nested(texts: list[str], shape: tuple[int, ...], depth: int) -> str:
    """`texts`, of which there may be too few, arranged by shape."""
    if len(shape) == 1:
        row = texts[: shape[0]]
        return " ".join(row) + ("..." if depth and len(row) < shape[0] else "")
    size = int(np.prod(shape[1:]))
    starts = range(0, min(shape[0] * size, len(texts)), size) if size else ()
    return "".join(f"[{_nested(texts[i:], shape[1:], depth + 1)}]" for i in starts)


def show(value: Any, edge: int = 3) -> str:
    """The array in nested brackets, on lines; of a long axis `edge` elements at both ends.

    -1 shows all.
    """
    array = np.asarray(value)
    write = _element_text(array.dtype)
    if write is _escaped:
        return _shown(array, edge, lambda v: f'"{_escaped(v)}"', array.ndim)
    return _shown(array, edge, write, array.ndim)


def _shown(array: np.ndarray, edge: int, write: Callable[[Any], str], rank: int) -> str:
    if not array.ndim:
        return write(array.item())
    n = len(array)
    ends = range(n) if edge < 0 or n <= 2 * edge else [*range(edge), *range(n - edge, n)]
    parts = [_shown(array[i, ...], edge, write, rank) for i in ends]
    if len(parts) < n:
        parts.insert(edge, "...")
    depth = rank - array.ndim
    apart = " " if array.ndim == 1 else "\n" * (array.ndim - 1) + " " * (depth + 1)
    return f"[{apart.join(parts)}]"


# -- Print -----------------------------------------------------------------------------------------

_printed: weakref.WeakKeyDictionary[Operation, int] = weakref.WeakKeyDictionary()


def _print_values(node: Operation, value: Any, *data: Any) -> None:
    first_n = node.attrs["first_n"]
    if first_n >= 0:
        seen = _printed.get(node, 0)
        if seen >= first_n:
            return
        _printed[node] = seen + 1
    limit = node.attrs["summarize"]
    text = "".join(f"[{summarize(d, limit)}]" for d in data)
    _write("stderr", f"{node.attrs['message']}{text}\n")


def _write(stream: str, text: str) -> None:
    out = sys.stdout if stream == "stdout" else sys.stderr
    out.write(text)
    out.flush()


@op("Print", "input: T, data: *U -> output: T", effect=_print_values)
def _print_op(
    xp: Any, x: Any, data: Any, *, message: str = "", first_n: int = -1, summarize: int = 3
) -> Any:
    return x


@_print_op.def_infer
def _(x: Spec, data: Any, **_: Any) -> Shape:
    return x.shape


@_print_op.def_gradient
def _(node: Any, dy: Any) -> Any:
    return (dy, *[None] * (len(node.inputs) - 1))


def Print(
    input_: Any,
    data: Any,
    message: str | None = None,
    first_n: int | None = None,
    summarize: int | None = None,
    name: str | None = None,
) -> Tensor:
    """The input; whenever it is worked out, the message and `data` go to stderr, on one line.

    Of each of `data` the first `summarize` elements (3; -1: all), and only the first `first_n`
    times if that is given.
    """
    return _print_op(
        input_,
        list(data),
        message=message or "",
        first_n=-1 if first_n is None else first_n,
        summarize=3 if summarize is None else summarize,
        name=name,
    )


# -- print -----------------------------------------------------------------------------------------


@op("StringFormat", "inputs: *T -> output: string", host=True)
def _string_format(
    xp: Any,
    inputs: Any,
    *,
    template: str = "%s",
    placeholder: str = "%s",
    summarize: int = 3,
) -> Any:
    first, *rest = template.split(placeholder)
    values = [show(v, summarize) for v in inputs]
    text = first + "".join(v + r for v, r in zip(values, rest, strict=True))
    return np.array(text.encode(), object)


_string_format.infer = scalar_shape
_string_format.gradient = NOT_DIFFERENTIABLE


def string_format(
    template: str,
    inputs: Any,
    placeholder: str = "{}",
    summarize: int = 3,
    name: str | None = None,
) -> Tensor:
    """The template with the values of the inputs in place of the placeholders: a scalar string."""
    inputs = list(inputs) if isinstance(inputs, (list, tuple)) else [inputs]
    if template.count(placeholder) != len(inputs):
        raise ValueError(
            f"The template expects {template.count(placeholder)} tensors, but the inputs only has "
            f"{len(inputs)}. Please ensure the number of placeholders in template matches inputs "
            "length."
        )
    return _string_format(
        inputs, template=template, placeholder=placeholder, summarize=summarize, name=name
    )


def _print_text(node: Operation, text: Any) -> None:
    stream, end = node.attrs["output_stream"], node.attrs["end"]
    line = np.asarray(text).item()
    line = (line.decode("utf-8", "replace") if isinstance(line, bytes) else line) + end
    if stream.startswith("file://"):
        with open(stream.removeprefix("file://"), "a") as file:
            file.write(line)
    else:
        _write(stream, line)


@op("PrintV2", "input: string", host=True, effect=_print_text)
def _print_v2(xp: Any, text: Any, *, output_stream: str = "stderr", end: str = "\n") -> Any:
    return ()


_print_v2.gradient = NOT_DIFFERENTIABLE


def print(
    *inputs: Any,
    output_stream: Any = None,
    summarize: int | None = None,
    sep: str = " ",
    end: str = "\n",
    name: str | None = None,
) -> Operation:
    """An operation that prints its inputs, tensors by their values, when it is run.

    To `output_stream`: sys.stderr unless it is sys.stdout or "file://" with a path. `summarize` is
    the number of elements shown at both ends of an axis (-1: all).
    """
    tensors: list[Any] = []
    mark = "{}"
    while any(mark in text for text in _literals(inputs)):
        mark = f"{{{mark}}}"
    parts = [i if isinstance(i, str) else _template(i, mark, tensors) for i in inputs]
    text = string_format(
        sep.join(parts),
        tensors,
        mark,
        3 if summarize is None else summarize,
        name=None if name is None else f"{name}_format",
    )
    return _print_v2(text, output_stream=_stream(output_stream), end=end, name=name)


def _stream(stream: Any) -> str:
    if stream is None or stream is sys.stderr:
        return "stderr"
    if stream is sys.stdout:
        return "stdout"
    if isinstance(stream, str) and (stream in ("stdout", "stderr") or stream.startswith("file://")):
        return stream
    raise ValueError(
        f"Unsupported output stream, logging level, or file. {stream}. Supported are sys.stdout, "
        "sys.stderr and 'file://' with a path."
    )


def _is_tensor(value: Any) -> bool:
    return isinstance(value, Tensor) or hasattr(value, "_as_graph_element")


def _literals(value: Any) -> list[str]:
    """The texts within a structure, in which the mark for a tensor must not occur."""
    if isinstance(value, (list, tuple)):
        return [text for v in value for text in _literals(v)]
    if isinstance(value, dict):
        return [text for pair in value.items() for text in _literals(pair)]
    return [] if _is_tensor(value) else [str(value)]


def _template(value: Any, mark: str, tensors: list[Any]) -> str:
    """A structure as Python writes it, with a mark for each tensor, which is noted."""
    if _is_tensor(value):
        tensors.append(convert_to_tensor(value))
        return mark
    if isinstance(value, dict):
        items = sorted(value.items(), key=lambda pair: str(pair[0]))
        return "{" + ", ".join(f"{k!r}: {_template(v, mark, tensors)}" for k, v in items) + "}"
    fields = getattr(value, "_fields", None) if isinstance(value, tuple) else None
    if fields is not None:
        pairs = zip(fields, value, strict=True)
        inside = ", ".join(f"{k}={_template(v, mark, tensors)}" for k, v in pairs)
        return f"{type(value).__name__}({inside})"
    if isinstance(value, (list, tuple)):
        inside = ", ".join(_template(v, mark, tensors) for v in value)
        if isinstance(value, list):
            return f"[{inside}]"
        return f"({inside},)" if len(value) == 1 else f"({inside})"
    return repr(value)
