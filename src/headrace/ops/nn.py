"""Activations, biases and the small pieces of networks.

Softmax and the cross-entropies are in `xent.py`, moments, normalisation and clipping in
`normalize.py`, sorting and top-k in `ranking.py`.
"""

from __future__ import annotations

import numbers
from collections.abc import Callable
from typing import Any

from headrace import dtypes, shapes
from headrace.conversion import convert_to_tensor
from headrace.errors import InvalidArgumentError
from headrace.graph import name_scope
from headrace.node import Tensor
from headrace.opdef import OpDef, Spec, op, same_shape, scalar_shape
from headrace.ops import array, gather, linalg, math, reduce
from headrace.ops.constant import constant
from headrace.ops.operands import wide
from headrace.ops.random import random_uniform
from headrace.shapes import Shape, TensorShape

# -- activations -----------------------------------------------------------------------------------

_SELU_SCALE = 1.0507009873554804934193349852946  # Klambauer, Unterthiner, Mayr & Hochreiter 2017
_SELU_SCALE_ALPHA = 1.7580993408473768599402175208123


def _activation(
    name: str,
    kernel: Callable[..., Any],
    slope: Callable[..., Any],
    of: str,
    second: Callable[..., Any] | None = None,
    types: Any = dtypes.FLOATS,
) -> OpDef:
    """An activation and its gradient op `slope(xp, dy, v)`, where v is the activation's operand
    ("features") or result ("outputs"); `second(g, v, d)` is what flows back to v from it."""
    made = op(name, "features: T -> activations: T", T=types)(kernel)
    made.infer = same_shape
    operand = "outputs" if of == "outputs" else "features"
    back = op(f"{name}Grad", f"gradients: T, {operand}: T -> backprops: T", T=types)(slope)
    back.infer = _merged

    def gradient(node: Any, dy: Any) -> Any:
        return back(dy, node.inputs[0] if of == "features" else node.outputs[0])

    def gradient_again(node: Any, d: Any) -> Any:
        g, v = node.inputs
        return back(d, v), None if second is None else second(g, v, d)

    made.gradient, back.gradient = gradient, gradient_again
    return made


def _merged(a: Spec, b: Spec, **_: Any) -> Shape:
    return shapes.merge(a.shape, b.shape)


def _zero(x: Any) -> Any:
    return x.dtype.type(0)


def _relu_kernel(xp: Any, x: Any) -> Any:
    return xp.maximum(x, _zero(x))


def _relu_slope(xp: Any, dy: Any, y: Any) -> Any:
    return xp.where(y > 0, dy, _zero(dy))


def _relu6_kernel(xp: Any, x: Any) -> Any:
    return xp.minimum(xp.maximum(x, _zero(x)), x.dtype.type(6))


def _relu6_slope(xp: Any, dy: Any, y: Any) -> Any:
    return xp.where((y > 0) & (y < 6), dy, _zero(dy))


def _elu_kernel(xp: Any, x: Any) -> Any:
    return xp.where(x < 0, xp.expm1(xp.minimum(x, _zero(x))), x)


def _elu_slope(xp: Any, dy: Any, y: Any) -> Any:
    return xp.where(y < 0, (y + 1) * dy, dy)


def _selu_kernel(xp: Any, x: Any) -> Any:
    scale, both = x.dtype.type(_SELU_SCALE), x.dtype.type(_SELU_SCALE_ALPHA)
    return xp.where(x < 0, both * xp.expm1(xp.minimum(x, _zero(x))), scale * x)


def _selu_slope(xp: Any, dy: Any, y: Any) -> Any:
    scale, both = y.dtype.type(_SELU_SCALE), y.dtype.type(_SELU_SCALE_ALPHA)
    return xp.where(y < 0, dy * (y + both), dy * scale)


def _softplus_kernel(xp: Any, x: Any) -> Any:
    return xp.maximum(x, _zero(x)) + xp.log1p(xp.exp(-xp.abs(x)))


def _softplus_slope(xp: Any, dy: Any, x: Any) -> Any:
    small = xp.exp(-xp.abs(x))  # of the two ways to write a sigmoid, the one that cannot overflow
    return dy * xp.where(x < 0, small, x.dtype.type(1)) / (1 + small)


def _softsign_kernel(xp: Any, x: Any) -> Any:
    return x / (xp.abs(x) + 1)


def _softsign_slope(xp: Any, dy: Any, x: Any) -> Any:
    return dy / xp.square(xp.abs(x) + 1)


def _where_negative(g: Any, y: Any, d: Any) -> Any:
    return d * g * math.cast(y < 0, g.dtype)


def _softplus_second(g: Any, x: Any, d: Any) -> Any:
    s = math.sigmoid(x)
    return d * g * s * (1 - s)


def _softsign_second(g: Any, x: Any, d: Any) -> Any:
    return -2 * d * g * math.sign(x) / (1 + math.abs(x)) ** 3


_relu = _activation("Relu", _relu_kernel, _relu_slope, "result", types=dtypes.REALS)
_relu6 = _activation("Relu6", _relu6_kernel, _relu6_slope, "result", types=dtypes.REALS)
_elu = _activation("Elu", _elu_kernel, _elu_slope, "outputs", _where_negative)
_selu = _activation("Selu", _selu_kernel, _selu_slope, "outputs", _where_negative)
_softplus = _activation("Softplus", _softplus_kernel, _softplus_slope, "features", _softplus_second)
_softsign = _activation("Softsign", _softsign_kernel, _softsign_slope, "features", _softsign_second)


@op("LeakyRelu", "features: T -> activations: T", T=dtypes.FLOATS)
def _leaky_relu(xp: Any, x: Any, *, alpha: float = 0.2) -> Any:
    return xp.where(x > 0, x, x * x.dtype.type(alpha))


@op("LeakyReluGrad", "gradients: T, features: T -> backprops: T", T=dtypes.FLOATS)
def _leaky_relu_grad(xp: Any, dy: Any, x: Any, *, alpha: float = 0.2) -> Any:
    return xp.where(x > 0, dy, dy * dy.dtype.type(alpha))


_leaky_relu.infer, _leaky_relu_grad.infer = same_shape, _merged


@_leaky_relu.def_gradient
def _(node: Any, dy: Any) -> Any:
    return _leaky_relu_grad(dy, node.inputs[0], alpha=node.attrs["alpha"])


@_leaky_relu_grad.def_gradient
def _(node: Any, d: Any) -> Any:
    return _leaky_relu_grad(d, node.inputs[1], alpha=node.attrs["alpha"]), None


def relu(features: Any, name: str | None = None) -> Tensor:
    """max(x, 0), elementwise."""
    return _relu(features, name=name)


def relu6(features: Any, name: str | None = None) -> Tensor:
    """min(max(x, 0), 6), elementwise (Krizhevsky 2010)."""
    with name_scope(name, "Relu6", [features]) as scope:
        return _relu6(convert_to_tensor(features, name="features"), name=scope)


def elu(features: Any, name: str | None = None) -> Tensor:
    """x where positive, exp(x) - 1 elsewhere (Clevert, Unterthiner & Hochreiter 2015)."""
    return _elu(features, name=name)


def selu(features: Any, name: str | None = None) -> Tensor:
    """The self-normalising exponential unit (Klambauer and others 2017)."""
    return _selu(features, name=name)


def leaky_relu(features: Any, alpha: float = 0.2, name: str | None = None) -> Tensor:
    """x where positive, alpha x elsewhere (Maas, Hannun & Ng 2013). Integers become float32."""
    with name_scope(name, "LeakyRelu", [features, alpha]) as scope:
        features = convert_to_tensor(features, name="features")
        if features.dtype.is_integer:
            features = math.cast(features, dtypes.float32)
        if isinstance(alpha, Tensor):
            return math.maximum(alpha * features, features, name=scope)
        return _leaky_relu(features, alpha=float(alpha), name=scope)


def crelu(features: Any, name: str | None = None, axis: int = -1) -> Tensor:
    """relu of x beside relu of -x along an axis (Shang and others 2016)."""
    with name_scope(name, "CRelu", [features]) as scope:
        features = convert_to_tensor(features, name="features")
        return relu(array.concat([features, -features], axis, name=scope))


def swish(features: Any, beta: Any = 1.0) -> Tensor:
    """x sigmoid(beta x), elementwise (Ramachandran, Zoph & Le 2017); with beta 1 also `silu`."""
    features = convert_to_tensor(features, name="features")
    beta = math.cast(convert_to_tensor(beta, name="beta"), features.dtype)
    return features * math.sigmoid(beta * features)


silu = swish


def softplus(features: Any, name: str | None = None) -> Tensor:
    """log(1 + exp x), elementwise, without overflow."""
    return _softplus(features, name=name)


def softsign(features: Any, name: str | None = None) -> Tensor:
    """x / (1 + |x|), elementwise."""
    return _softsign(features, name=name)


def log_sigmoid(x: Any, name: str | None = None) -> Tensor:
    """log of the sigmoid, elementwise: -softplus(-x)."""
    with name_scope(name, "LogSigmoid", [x]) as scope:
        x = convert_to_tensor(x, name="x")
        return math.negative(softplus(-x), name=scope)


# -- biases ----------------------------------------------------------------------------------------


def _channel_axis(rank: int, data_format: Any) -> int:
    return 1 if data_format in ("NCHW", b"NCHW") else rank - 1


@op("BiasAdd", "value: T, bias: T -> output: T", T=dtypes.NUMBERS)
def _bias_add(xp: Any, x: Any, b: Any, *, data_format: str = "NHWC") -> Any:
    if x.ndim < 2:
        raise InvalidArgumentError(
            None, None, f"Input tensor must be at least 2D: {shapes.brackets(x.shape)}"
        )
    if b.ndim != 1:
        raise InvalidArgumentError(None, None, f"Biases must be 1D: {shapes.brackets(b.shape)}")
    axis = _channel_axis(x.ndim, data_format)
    if b.shape[0] != x.shape[axis]:
        which = "last" if axis == x.ndim - 1 else "channel"
        raise InvalidArgumentError(
            None,
            None,
            f"Must provide as many biases as the {which} dimension of the input tensor: "
            f"{shapes.brackets(b.shape)} vs. {shapes.brackets(x.shape)}",
        )
    return x + b.reshape(b.shape + (1,) * (x.ndim - 1 - axis))


@_bias_add.def_infer
def _(x: Spec, b: Spec, *, data_format: str) -> Shape:
    channels_first = data_format in ("NCHW", b"NCHW")
    (size,) = shapes.with_rank(b.shape, 1)
    shape = shapes.at_least_rank(x.shape, 3 if channels_first else 2)
    if shape is None:
        return None
    axis = _channel_axis(len(shape), data_format)
    return (*shape[:axis], shapes.merge_size(shape[axis], size), *shape[axis + 1 :])


@op("BiasAddGrad", "out_backprop: T -> output: T", T=dtypes.NUMBERS)
def _bias_add_grad(xp: Any, dy: Any, *, data_format: str = "NHWC") -> Any:
    channel = _channel_axis(dy.ndim, data_format)
    axes = tuple(i for i in range(dy.ndim) if i != channel)
    y = wide(dy)
    return xp.sum(y, axes, dtype=y.dtype).astype(dy.dtype)


@_bias_add_grad.def_infer
def _(dy: Spec, *, data_format: str) -> Shape:
    shape = shapes.at_least_rank(dy.shape, 3 if data_format in ("NCHW", b"NCHW") else 2)
    return (None,) if shape is None else (shape[_channel_axis(len(shape), data_format)],)


@_bias_add.def_gradient
def _(node: Any, dy: Any) -> Any:
    return dy, _bias_add_grad(dy, data_format=node.attrs["data_format"])


@_bias_add_grad.def_gradient
def _(node: Any, d: Any) -> Any:
    dy, data_format = node.inputs[0], node.attrs["data_format"]
    return _bias_add(array.zeros_like(dy), d, data_format=data_format)


def bias_add(
    value: Any, bias: Any, data_format: str | None = None, name: str | None = None
) -> Tensor:
    """value [n, ..., c] + bias [c]; with `data_format` "NC..." value is [n, c, ...]."""
    with name_scope(name, "BiasAdd", [value, bias]) as scope:
        text = data_format or "NHWC"
        first = text.startswith("NC")
        if not first and not (text.startswith("N") and text.endswith("C")):
            raise ValueError(
                "`data_format` must be of the form `N...C` or `NC...`. "
                f"Received: data_format={data_format}"
            )
        value = convert_to_tensor(value, name="input")
        bias = convert_to_tensor(bias, dtype=value.dtype, name="bias")
        return _bias_add(value, bias, data_format="NCHW" if first else "NHWC", name=scope)


def xw_plus_b(x: Any, weights: Any, biases: Any, name: str | None = None) -> Tensor:
    """x [n, k] weights [k, m] + biases [m]."""
    with name_scope(name, "xw_plus_b", [x, weights, biases]) as scope:
        x = convert_to_tensor(x, name="x")
        weights = convert_to_tensor(weights, name="weights")
        biases = convert_to_tensor(biases, name="biases")
        return bias_add(linalg.matmul(x, weights), biases, name=scope)


def relu_layer(x: Any, weights: Any, biases: Any, name: str | None = None) -> Tensor:
    """relu(x weights + biases): x [n, k], weights [k, m], biases [m]."""
    with name_scope(name, "relu_layer", [x, weights, biases]) as scope:
        x = convert_to_tensor(x, name="x")
        weights = convert_to_tensor(weights, name="weights")
        biases = convert_to_tensor(biases, name="biases")
        return relu(bias_add(linalg.matmul(x, weights), biases), name=scope)


# -- the rest --------------------------------------------------------------------------------------


@op("L2Loss", "t: T -> output: T", T=dtypes.FLOATS)
def _l2_loss(xp: Any, x: Any) -> Any:
    flat = wide(x.reshape(-1))
    return (xp.dot(flat, flat) / 2).astype(x.dtype)


_l2_loss.infer = scalar_shape


@_l2_loss.def_gradient
def _(node: Any, dy: Any) -> Any:
    return node.inputs[0] * dy


def l2_loss(t: Any, name: str | None = None) -> Tensor:
    """Half the sum of the squares of all elements."""
    return _l2_loss(t, name=name)


def zero_fraction(value: Any, name: str | None = None) -> Tensor:
    """The share of elements that are zero, float32."""
    with name_scope(name, "zero_fraction", [value]):
        value = convert_to_tensor(value, name="value")
        size = array.size(value, out_type=dtypes.int64)
        zero = constant(0, dtype=value.dtype, name="zero")
        nonzero = reduce.reduce_sum(math.cast(math.not_equal(value, zero), dtypes.int64))
        with name_scope("counts_to_fraction"):
            zeros = math.cast(size - nonzero, dtypes.float32)
            fraction = zeros / math.cast(size, dtypes.float32)
        return array.identity(fraction, "fraction")


def dropout(
    x: Any,
    keep_prob: Any = None,
    noise_shape: Any = None,
    seed: int | None = None,
    name: str | None = None,
    rate: Any = None,
) -> Tensor:
    """x with each element kept with probability `keep_prob` = 1 - `rate` and scaled by its
    inverse, else zero (Srivastava and others 2014).

    Along a size 1 of `noise_shape` elements are kept or dropped together.
    """
    if keep_prob is not None:
        if rate is not None:
            raise ValueError("Cannot specify both 'keep_prob' and 'rate'.")
        rate = 1 - keep_prob
    if rate is None:
        raise ValueError("`rate` must be provided. Received: rate=None")
    return dropout_v2(x, rate, noise_shape, seed, name)


def dropout_v2(
    x: Any, rate: Any, noise_shape: Any = None, seed: int | None = None, name: str | None = None
) -> Tensor:
    """`dropout` by the probability of dropping."""
    with name_scope(name, "dropout", [x]):
        number = isinstance(rate, numbers.Real)
        if number and (rate < 0 or not rate < 1):  # not a number: refused too
            raise ValueError(
                "`rate` must be a scalar tensor or a float in the range [0, 1). "
                f"Received: rate={rate}"
            )
        x = convert_to_tensor(x, name="x")
        if not x.dtype.is_floating:
            raise ValueError(
                "`x.dtype` must be a floating point tensor as `x` will be scaled. "
                f"Received: x_dtype={x.dtype}"
            )
        if number and rate == 0:
            return x
        scaled = _scaled(x, rate, number)
        noise = random_uniform(_noise_shape(x, noise_shape), seed=seed, dtype=x.dtype)
        kept = noise >= rate
        made = gather.where_v2(kept, scaled, constant(0, dtype=x.dtype.base_dtype))
        if noise_shape is None:
            made.set_shape(x.shape)
        return made


def _scaled(x: Tensor, rate: Any, number: bool) -> Tensor:
    if number:
        return math.multiply(x, constant(1 / (1 - rate), dtype=x.dtype.base_dtype))
    if not isinstance(rate, Tensor) and not hasattr(rate, "_as_graph_element"):
        raise ValueError(f"`rate` must be a scalar or scalar tensor. Received: rate={rate}")
    rate = convert_to_tensor(rate)
    rate.shape.assert_has_rank(0)
    if rate.dtype.base_dtype is not x.dtype.base_dtype:
        raise ValueError(
            "`x.dtype` must be compatible with `rate.dtype`. Received: "
            f"x.dtype={x.dtype} and rate.dtype={rate.dtype}"
        )
    one = constant(1, dtype=x.dtype.base_dtype)
    return math.realdiv(x, math.subtract(one, rate))


def _noise_shape(x: Tensor, noise_shape: Any) -> Any:
    if noise_shape is None:
        return array.shape(x)
    try:
        asked = TensorShape(noise_shape)._dims
    except (TypeError, ValueError):
        return noise_shape
    known = x.shape._dims
    if asked is not None and known is not None and len(asked) == len(known):
        asked = tuple(k if a is None else a for a, k in zip(asked, known, strict=True))
        return TensorShape(asked)
    return noise_shape
