"""From the form of a call to a program: structures of fetches, and feeds made arrays."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from headrace import shapes
from headrace.graph import Graph
from headrace.indexed_slices import IndexedSlices
from headrace.node import Operation, Tensor, where
from headrace.runtime.program import Program

MOST_PROGRAMS = 512  # plans kept per graph, and forms of call per session


# -- structures of fetches -------------------------------------------------------------------------


class Fetch:
    """A structure of fetches, taken apart: its elements, and how to put values back."""

    def __init__(self, graph: Graph, fetches: Any):
        self.elements: list[Tensor | Operation] = []
        self._index: dict[Any, int] = {}
        self.rebuild: Callable[[list[Any]], Any] = self._take(graph, fetches)

    def _take(self, graph: Graph, fetch: Any) -> Callable[[list[Any]], Any]:
        if fetch is None:
            raise TypeError("Fetch argument None has invalid type <class 'NoneType'>")
        if isinstance(fetch, (list, tuple)):
            parts = [self._take(graph, f) for f in fetch]
            kind = type(fetch)
            if kind is list:
                return lambda values: [p(values) for p in parts]
            if hasattr(fetch, "_fields"):
                return lambda values: kind(*[p(values) for p in parts])
            return lambda values: kind([p(values) for p in parts])
        if hasattr(fetch, "items") and hasattr(fetch, "keys"):
            keys = list(fetch.keys())
            parts = [self._take(graph, fetch[k]) for k in keys]
            try:
                kind = type(fetch)
                kind()
            except TypeError:
                kind = dict

            def rebuild(values: list[Any]) -> Any:
                built = kind()
                for k, p in zip(keys, parts, strict=True):
                    built[k] = p(values)
                return built

            return rebuild
        if isinstance(fetch, IndexedSlices):
            components = [fetch.values, fetch.indices]
            if fetch.dense_shape is not None:
                components.append(fetch.dense_shape)
            parts = [self._take(graph, c) for c in components]
            return lambda values: IndexedSlicesValue(*[p(values) for p in parts])
        return self._leaf(graph, fetch)

    def _leaf(self, graph: Graph, fetch: Any) -> Callable[[list[Any]], Any]:
        try:
            element = graph.as_graph_element(fetch)
        except TypeError as error:
            raise TypeError(
                f"Fetch argument {fetch!r} has invalid type {type(fetch)}, must be a string or "
                f"Tensor. ({error})"
            ) from None
        except ValueError as error:
            raise ValueError(
                f"Fetch argument {fetch!r} cannot be interpreted as a Tensor. ({error})"
            ) from None
        except KeyError as error:
            raise ValueError(
                f"Fetch argument {fetch!r} cannot be interpreted as a Tensor. ({error})"
            ) from None
        if not graph.is_fetchable(element):
            raise ValueError(
                f"Operation {element.name!r} has been marked as not fetchable.{where(element)}"
            )
        i = self._index.setdefault(element, len(self.elements))
        if i == len(self.elements):
            self.elements.append(element)
        return lambda values: values[i]


class IndexedSlicesValue:
    """The value of an `IndexedSlices`: arrays."""

    __slots__ = ("dense_shape", "indices", "values")

    def __init__(self, values: Any, indices: Any, dense_shape: Any = None):
        self.values = values
        self.indices = indices
        self.dense_shape = dense_shape

    def __iter__(self) -> Iterator[Any]:
        return iter((self.values, self.indices, self.dense_shape))

    def __getitem__(self, i: int) -> Any:
        return (self.values, self.indices, self.dense_shape)[i]

    def __repr__(self) -> str:
        return (
            f"IndexedSlicesValue(values={self.values!r}, indices={self.indices!r}, "
            f"dense_shape={self.dense_shape!r})"
        )


def structure_key(fetch: Any) -> Any:
    """A hashable key that is equal for equal structures of the same elements."""
    if isinstance(fetch, (list, tuple)):
        return (type(fetch), *[structure_key(f) for f in fetch])
    if hasattr(fetch, "items") and hasattr(fetch, "keys"):
        return (type(fetch), tuple(fetch.keys()), *[structure_key(f) for f in fetch.values()])
    return fetch


def is_flat(fetches: Any) -> bool:
    """Whether fetches are one element, or a list or tuple of such."""
    if type(fetches) in (list, tuple):
        return not any(isinstance(f, tuple) for f in fetches)
    return not isinstance(fetches, tuple)


# -- feeds -----------------------------------------------------------------------------------------


def feed_pairs(graph: Graph, key: Any, value: Any) -> list[tuple[Tensor, Any]]:
    """The tensors that a feed's key stands for, each with its value."""
    if isinstance(key, (list, tuple)):
        values = list(value) if isinstance(value, (list, tuple, np.ndarray)) else None
        if values is None or len(values) != len(key):
            raise ValueError(f"The feed of {key!r} needs {len(key)} values, got {value!r}.")
        return [p for k, v in zip(key, values, strict=True) for p in feed_pairs(graph, k, v)]
    if isinstance(key, IndexedSlices):
        return [
            p for k, v in zip((key.values, key.indices), value, strict=False)
            for p in feed_pairs(graph, k, v)
        ]  # fmt: skip
    if hasattr(key, "_feed_components"):
        return [
            p for k, v in zip(key._feed_components(), value, strict=True)
            for p in feed_pairs(graph, k, v)
        ]  # fmt: skip
    try:
        tensor = graph.as_graph_element(key, allow_operation=False)
    except (TypeError, ValueError, KeyError) as error:
        raise TypeError(f"Cannot interpret feed_dict key as Tensor: {error}") from None
    return [(tensor, value)]


def feed_array(tensor: Tensor, value: Any) -> Any:
    """The array that feeds a tensor. TypeError or ValueError if the value does not suit it."""
    if isinstance(value, Tensor) or hasattr(value, "_as_graph_element"):
        raise TypeError(
            f"The value of a feed cannot be a tf.Tensor object (got {value!r} for "
            f"{tensor.name!r}). Acceptable feed values include Python scalars, strings, lists, "
            "numpy ndarrays, or TensorHandles."
        )
    dtype = tensor.dtype.base_dtype
    if dtype.kind == "S":
        return _string_array(value)
    if dtype.kind == "X":
        return value
    numpy = dtype.numpy
    if isinstance(value, int) and not isinstance(value, bool) and dtype.is_integer:
        limits = np.iinfo(numpy)
        if not limits.min <= value <= limits.max:
            raise TypeError(
                f"Type of feed value {value} with type {type(value)} is not compatible with Tensor "
                f"type {dtype.as_numpy_dtype}. Try explicitly setting the type of the feed tensor "
                "to a larger type (e.g. int64)."
            )
    if hasattr(value, "addressable_shards") and getattr(value, "dtype", None) == numpy:
        return value  # a jax array: it may stay on its device
    try:
        array = np.asarray(value)
        if array.dtype == object:
            array = np.array(value, numpy)
        elif array.dtype != numpy:
            if array.dtype.kind in "SU":
                raise ValueError(f"could not convert {value!r} to {dtype.name}")
            array = array.astype(numpy)
    except (TypeError, ValueError) as error:
        raise ValueError(
            f"The feed of {tensor.name!r} cannot be made an array of {dtype.name}: {error}"
            f"{where(tensor)}"
        ) from None
    return array


def _string_array(value: Any) -> np.ndarray:
    array = np.asarray(value, object)
    flat = [
        v.encode() if isinstance(v, str) else v if isinstance(v, bytes) else str(v).encode()
        for v in array.ravel().tolist()
    ]
    made = np.empty(len(flat), object)
    made[:] = flat
    return made.reshape(array.shape)


def check_shape(tensor: Tensor, array: Any) -> None:
    """ValueError unless an array has a shape that the tensor may have.

    The handle of a variable stands for the variable: fed an array, it is read as having that value.
    """
    if tensor.dtype.kind != "X" and not shapes.compatible(tensor._dims, np.shape(array)):
        raise ValueError(
            f"Cannot feed value of shape {np.shape(array)} for Tensor {tensor.name!r}, which has "
            f"shape {shapes.show(tensor._dims)!r}{where(tensor)}"
        )


class Route:
    """From one form of call (structure of fetches, keys of feeds) to its program."""

    __slots__ = (
        "dtypes",
        "plain",
        "program",
        "quick",
        "rebuild",
        "single",
        "tensors",
        "used",
        "weird",
    )

    def __init__(self, graph: Graph, fetches: Any, feed_dict: dict[Any, Any]):
        fetch = Fetch(graph, fetches)
        self.tensors: list[Tensor] = []
        self.quick: Any = None  # what ran the last run, and declines what is unlike it
        self.used = False  # again, since the last look for what to forget
        self.weird = False
        for key, value in feed_dict.items():
            if isinstance(key, (list, tuple)) or not isinstance(key, (Tensor, str)):
                self.weird = True
            self.tensors += [t for t, _ in feed_pairs(graph, key, value)]
        for tensor in self.tensors:
            if not graph.is_feedable(tensor):
                raise ValueError(f"Tensor {tensor} may not be fed.{where(tensor)}")
        if len(set(self.tensors)) < len(self.tensors):
            raise ValueError("A tensor is fed twice in one feed_dict.")
        self.rebuild = fetch.rebuild
        self.single = isinstance(fetches, (Tensor, Operation))
        self.plain = (
            type(fetches) is list
            and len(fetch.elements) == len(fetches)
            and all(isinstance(f, str) or hasattr(f, "_as_graph_element") for f in fetches)
        )
        key = (tuple(fetch.elements), tuple(self.tensors))
        programs = graph._programs
        with graph._lock:
            program = programs.get(key)
            if program is None:
                program = Program(fetch.elements, self.tensors, graph._packs)
                while len(programs) >= MOST_PROGRAMS:
                    del programs[next(iter(programs))]
                programs[key] = program
        self.program: Program = program
        kinds = [t.dtype.base_dtype.numpy for t in self.tensors]
        self.dtypes = [None if k.hasobject else k for k in kinds]

    def check_shapes(self, values: list[Any]) -> None:
        """ValueError unless the fed arrays have shapes that their tensors may have."""
        for tensor, value in zip(self.tensors, values, strict=True):
            check_shape(tensor, value)

    def arrays(self, graph: Graph, feed_dict: dict[Any, Any]) -> tuple[list[Any], tuple[Any, ...]]:
        """The fed arrays, of the right types, and their shapes, at which nobody looks here."""
        given: list[Any]
        if self.weird:
            given = []
            for key, value in feed_dict.items():
                given += [v for _, v in feed_pairs(graph, key, value)]
        else:
            given = [*feed_dict.values()]
        shapes = []
        for value, dtype in zip(given, self.dtypes):  # noqa: B905 # of one length; the hot path
            if type(value) is not np.ndarray or value.dtype is not dtype:
                break
            shapes.append(value.shape)
        else:
            return given, tuple(shapes)
        given = [feed_array(t, v) for t, v in zip(self.tensors, given, strict=True)]
        return given, tuple([v.shape for v in given])
