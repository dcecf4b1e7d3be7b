"""Learning rates that fall with the global step, composed of ordinary operations."""

from __future__ import annotations

import math as python_math
from collections.abc import Callable, Sequence
from typing import Any

from headrace.conversion import convert_to_tensor
from headrace.graph import name_scope
from headrace.node import Tensor
from headrace.ops import array, cast, curves, gather, math, random


def _need_step(global_step: Any, function: str) -> None:
    if global_step is None:
        raise ValueError(f"global_step is required for {function}.")


def _operands(learning_rate: Any, global_step: Any, *others: Any) -> list[Tensor]:
    """The rate, and the rest as tensors of its type."""
    rate = convert_to_tensor(learning_rate, name="initial_learning_rate")
    *rest, step = [cast.cast(x, rate.dtype) for x in (*others, global_step)]
    return [rate, step, *rest]


def _periods(step: Tensor, steps: Tensor, staircase: bool) -> Tensor:
    """How many periods of so many steps have passed; whole ones only if `staircase`."""
    return math.floor(step / steps) if staircase else step / steps


def exponential_decay(
    learning_rate: Any,
    global_step: Any,
    decay_steps: Any,
    decay_rate: Any,
    staircase: bool = False,
    name: str | None = None,
) -> Tensor:
    """learning_rate * decay_rate ** (global_step / decay_steps), in whole powers if `staircase`."""
    _need_step(global_step, "exponential_decay")
    with name_scope(name, "ExponentialDecay", [learning_rate, global_step]) as scope:
        rate, step, steps, base = _operands(learning_rate, global_step, decay_steps, decay_rate)
        p = _periods(step, steps, staircase)
        return math.multiply(rate, math.pow(base, p), name=scope)


def natural_exp_decay(
    learning_rate: Any,
    global_step: Any,
    decay_steps: Any,
    decay_rate: Any,
    staircase: bool = False,
    name: str | None = None,
) -> Tensor:
    """learning_rate * exp(-decay_rate * global_step / decay_steps)."""
    _need_step(global_step, "natural_exp_decay")
    with name_scope(name, "NaturalExpDecay", [learning_rate, global_step]) as scope:
        rate, step, steps, fall = _operands(learning_rate, global_step, decay_steps, decay_rate)
        p = _periods(step, steps, staircase)
        return math.multiply(rate, curves.exp(-fall * p), name=scope)


def inverse_time_decay(
    learning_rate: Any,
    global_step: Any,
    decay_steps: Any,
    decay_rate: Any,
    staircase: bool = False,
    name: str | None = None,
) -> Tensor:
    """learning_rate / (1 + decay_rate * global_step / decay_steps)."""
    _need_step(global_step, "inverse_time_decay")
    with name_scope(name, "InverseTimeDecay", [learning_rate, global_step]) as scope:
        rate, step, steps, fall = _operands(learning_rate, global_step, decay_steps, decay_rate)
        p = _periods(step, steps, staircase)
        return math.divide(rate, 1 + fall * p, name=scope)


def polynomial_decay(
    learning_rate: Any,
    global_step: Any,
    decay_steps: Any,
    end_learning_rate: Any = 0.0001,
    power: Any = 1.0,
    cycle: bool = False,
    name: str | None = None,
) -> Tensor:
    """From learning_rate to end_learning_rate in `decay_steps`, as (1 - t) ** power.

    With `cycle` it starts again, from lower, each time that it has reached the end.
    """
    _need_step(global_step, "polynomial_decay")
    with name_scope(name, "PolynomialDecay", [learning_rate, global_step]) as scope:
        rate, step, steps, end, power = _operands(
            learning_rate, global_step, decay_steps, end_learning_rate, power
        )
        if cycle:
            steps = steps * math.maximum(math.ceil(step / steps), 1.0)
        else:
            step = math.minimum(step, steps)
        return math.add((rate - end) * math.pow(1 - step / steps, power), end, name=scope)


def _wave(fraction: Any) -> Tensor:
    """From 1 at 0 to 0 at 1 as a half wave of the cosine."""
    return 0.5 * (1.0 + curves.cos(python_math.pi * fraction))


def cosine_decay(
    learning_rate: Any,
    global_step: Any,
    decay_steps: Any,
    alpha: float = 0.0,
    name: str | None = None,
) -> Tensor:
    """From learning_rate to alpha * learning_rate as half a cosine (Loshchilov & Hutter 2017)."""
    _need_step(global_step, "cosine_decay")
    with name_scope(name, "CosineDecay", [learning_rate, global_step]):
        rate, step, steps = _operands(learning_rate, global_step, decay_steps)
        fraction = math.minimum(step, steps) / steps
        return math.multiply(rate, (1 - alpha) * _wave(fraction) + alpha)


def cosine_decay_restarts(
    learning_rate: Any,
    global_step: Any,
    first_decay_steps: Any,
    t_mul: Any = 2.0,
    m_mul: Any = 1.0,
    alpha: Any = 0.0,
    name: str | None = None,
) -> Tensor:
    """`cosine_decay` again and again: each period `t_mul` times longer, from `m_mul` times as high.

    (Loshchilov & Hutter 2017.)
    """
    _need_step(global_step, "cosine_decay restarts")
    with name_scope(name, "SGDRDecay", [learning_rate, global_step]) as scope:
        rate, step, first, longer, higher, alpha = _operands(
            learning_rate, global_step, first_decay_steps, t_mul, m_mul, alpha
        )
        fraction = step / first
        equal = math.floor(fraction), fraction - math.floor(fraction)
        if isinstance(t_mul, (int, float)):
            period, fraction = equal if t_mul == 1 else _geometric(fraction, longer)
        else:
            same = math.equal(longer, 1.0)
            growing = _geometric(fraction, gather.where(same, 2.0 * longer, longer))
            period, fraction = [
                gather.where(same, a, b) for a, b in zip(equal, growing, strict=True)
            ]
        wave = math.pow(higher, period) * _wave(fraction)
        return math.multiply(rate, (1 - alpha) * wave + alpha, name=scope)


def _geometric(fraction: Tensor, longer: Tensor) -> tuple[Tensor, Tensor]:
    """Which period, and how much of it has passed, where each is `longer` times the last."""
    period = math.floor(curves.log(1.0 - fraction * (1.0 - longer)) / curves.log(longer))
    length = math.pow(longer, period)
    return period, (fraction - (1.0 - length) / (1.0 - longer)) / length


def linear_cosine_decay(
    learning_rate: Any,
    global_step: Any,
    decay_steps: Any,
    num_periods: Any = 0.5,
    alpha: Any = 0.0,
    beta: Any = 0.001,
    name: str | None = None,
) -> Tensor:
    """A line times waves of a cosine (Bello et al. 2017)."""
    _need_step(global_step, "linear_cosine_decay")
    with name_scope(name, "LinearCosineDecay", [learning_rate, global_step]) as scope:
        return _linear_cosine(
            learning_rate, global_step, decay_steps, num_periods, alpha, beta, scope
        )


def noisy_linear_cosine_decay(
    learning_rate: Any,
    global_step: Any,
    decay_steps: Any,
    initial_variance: Any = 1.0,
    variance_decay: Any = 0.55,
    num_periods: Any = 0.5,
    alpha: Any = 0.0,
    beta: Any = 0.001,
    name: str | None = None,
) -> Tensor:
    """`linear_cosine_decay` with normal noise on the line, of variance that falls."""
    _need_step(global_step, "noisy_linear_cosine_decay")

    def noise(line: Tensor, step: Tensor) -> Tensor:
        start, fall = [cast.cast(x, line.dtype) for x in (initial_variance, variance_decay)]
        stddev = curves.sqrt(start / math.pow(1.0 + step, fall))
        size = line.shape if line.shape.is_fully_defined() else array.shape(line)
        return random.random_normal(size, stddev=stddev, dtype=line.dtype)

    with name_scope(name, "NoisyLinearCosineDecay", [learning_rate, global_step]) as scope:
        return _linear_cosine(
            learning_rate, global_step, decay_steps, num_periods, alpha, beta, scope, noise
        )


def _linear_cosine(
    learning_rate: Any,
    global_step: Any,
    decay_steps: Any,
    num_periods: Any,
    alpha: Any,
    beta: Any,
    name: str,
    noise: Callable[[Tensor, Tensor], Tensor] | None = None,
) -> Tensor:
    rate, step, steps, periods, alpha, beta = _operands(
        learning_rate, global_step, decay_steps, num_periods, alpha, beta
    )
    step = math.minimum(step, steps)
    line = (steps - step) / steps
    if noise is not None:
        line = line + noise(line, step)
    wave = _wave(2.0 * periods * (step / steps))
    return math.multiply(rate, (alpha + line) * wave + beta, name=name)


def piecewise_constant(
    x: Any, boundaries: Sequence[Any], values: Sequence[Any], name: str | None = None
) -> Tensor:
    """values[i] where x is in (boundaries[i - 1], boundaries[i]].

    ValueError unless there is one boundary less than values, of the type of x.
    """
    if len(boundaries) != len(values) - 1:
        raise ValueError("The length of boundaries should be 1 less than the length of values")
    with name_scope(name, "PiecewiseConstant", [x, boundaries, values]) as scope:
        x = convert_to_tensor(x)
        kept = x.dtype.base_dtype
        edges = []
        for b in boundaries:
            edge = convert_to_tensor(b)
            if edge.dtype.base_dtype is not kept:
                if not (kept.name == "int64" and edge.dtype.base_dtype.name == "int32"):
                    raise ValueError(
                        f"Boundaries ({edge.dtype.base_dtype}) must have the same dtype as x "
                        f"({kept})."
                    )
                edge = cast.cast(edge, kept)
            edges.append(edge)
        levels = [convert_to_tensor(v) for v in values]
        for level in levels:
            if level.dtype.base_dtype is not levels[0].dtype.base_dtype:
                raise ValueError(
                    f"Values must have elements all with the same dtype ({levels[0].dtype} vs "
                    f"{level.dtype})."
                )
        found = levels[-1]
        for edge, level in zip(edges[::-1], levels[-2::-1], strict=True):
            found = gather.where(math.less_equal(x, edge), level, found)
        return array.identity(found, name=scope)


piecewise_constant_decay = piecewise_constant
