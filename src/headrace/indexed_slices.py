"""`IndexedSlices`: rows of a tensor, which is what the gradient of a gather is."""

from __future__ import annotations

from typing import Any

from headrace.folding import Spec
from headrace.graph import Graph
from headrace.node import IndexedSlicesBase, Operation, Tensor
from headrace.shapes import TensorShape


class IndexedSlices(IndexedSlicesBase):
    """`values[i]` belongs to row `indices[i]` of a tensor of shape `dense_shape`; rows add up."""

    def __init__(self, values: Tensor, indices: Tensor, dense_shape: Tensor | None = None):
        self.values = values
        self.indices = indices
        self.dense_shape = dense_shape

    @property
    def dtype(self) -> Any:
        """The element type."""
        return self.values.dtype

    @property
    def shape(self) -> TensorShape:
        """What is known of the whole tensor's shape."""
        if self.dense_shape is None:
            return TensorShape(None)
        t = self.dense_shape
        return TensorShape(Spec(t.dtype, t._dims, t).sizes)

    def get_shape(self) -> TensorShape:
        """What is known of the whole tensor's shape."""
        return self.shape

    @property
    def graph(self) -> Graph:
        """The graph it belongs to."""
        return self.values.graph

    @property
    def op(self) -> Operation:  # type: ignore[override]
        """The operation that makes the values."""
        return self.values.op

    @property
    def name(self) -> str:
        """The name of the values."""
        return self.values.name

    @property
    def device(self) -> str:
        """The device asked for the values."""
        return self.values.device

    def consumers(self) -> list[Operation]:
        """The operations that take the values as an input."""
        return self.values.consumers()

    def __repr__(self) -> str:
        dense = "" if self.dense_shape is None else f", dense_shape={self.dense_shape}"
        return f"IndexedSlices(indices={self.indices}, values={self.values}{dense})"
