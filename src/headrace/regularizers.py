"""Regularizers: functions of a variable that give a penalty, a scalar to add to a loss."""

from __future__ import annotations

import numbers
from collections.abc import Callable, Sequence
from typing import Any

from headrace.conversion import convert_to_tensor
from headrace.graph import get_default_graph, name_scope
from headrace.keys import GraphKeys
from headrace.node import Tensor
from headrace.ops import constant, math, nn, reduce

Regularizer = Callable[[Any], Tensor | None]


def _strength(scale: Any) -> Any:
    if isinstance(scale, numbers.Integral):
        raise ValueError(f"scale cannot be an integer: {scale}")
    if isinstance(scale, numbers.Real) and scale < 0.0:
        raise ValueError(f"Setting a scale less than 0 on a regularizer: {scale}")
    return scale


def l1_regularizer(scale: float, scope: str | None = None) -> Regularizer:
    """A function of weights: `scale` times the sum of their absolute values."""
    if _strength(scale) == 0.0:
        return lambda _: None

    def l1(weights: Any, name: str | None = None) -> Tensor:
        with name_scope(name or scope, "l1_regularizer", [weights]) as made:
            weight = convert_to_tensor(scale, weights.dtype.base_dtype, name="scale")
            return math.multiply(weight, reduce.reduce_sum(math.abs(weights)), name=made)

    return l1


def l2_regularizer(scale: float, scope: str | None = None) -> Regularizer:
    """A function of weights: `scale` times half the sum of their squares."""
    if _strength(scale) == 0.0:
        return lambda _: None

    def l2(weights: Any) -> Tensor:
        with name_scope(scope, "l2_regularizer", [weights]) as made:
            weight = convert_to_tensor(scale, weights.dtype.base_dtype, name="scale")
            return math.multiply(weight, nn.l2_loss(weights), name=made)

    return l2


def l1_l2_regularizer(
    scale_l1: float = 1.0, scale_l2: float = 1.0, scope: str | None = None
) -> Regularizer:
    """The sum of `l1_regularizer` and `l2_regularizer`."""
    both = [l1_regularizer(scale_l1), l2_regularizer(scale_l2)]
    return _sum(both, scope or "l1_l2_regularizer")


def sum_regularizer(
    regularizer_list: Sequence[Regularizer | None], scope: str | None = None
) -> Regularizer | None:
    """The sum of regularizers; None if there are none."""
    functions = [r for r in regularizer_list if r is not None]
    return _sum(functions, scope) if functions else None


def _sum(functions: Sequence[Regularizer], scope: str | None) -> Regularizer:
    def total(weights: Any) -> Tensor | None:
        with name_scope(scope, "sum_regularizer", [weights]) as made:
            parts = [p for p in (f(weights) for f in functions) if p is not None]
            return math.add_n(parts, name=made) if parts else None

    return total


def apply_regularization(
    regularizer: Regularizer, weights_list: Sequence[Any] | None = None
) -> Tensor:
    """The sum of a regularizer over weights (by default the collection WEIGHTS).

    It joins REGULARIZATION_LOSSES.
    """
    graph = get_default_graph()
    weights_list = weights_list or graph.get_collection(GraphKeys.WEIGHTS)
    if not weights_list:
        raise ValueError("No weights to regularize.")
    with name_scope("get_regularization_penalty", values=list(weights_list)) as made:
        penalties = [regularizer(w) for w in weights_list]
        penalties = [constant.constant(0.0) if p is None else p for p in penalties]
        total = math.add_n(penalties, name=made)
    graph.add_to_collection(GraphKeys.REGULARIZATION_LOSSES, total)
    return total
