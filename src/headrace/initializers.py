"""`tf.initializers`: functions of a shape and a type that give a variable's initial value."""

from __future__ import annotations

import math as _python_math
from typing import Any

import numpy as np

from headrace.dtypes import DType, as_dtype, float32
from headrace.node import Tensor
from headrace.ops import array as _array
from headrace.ops import constant as _constant
from headrace.ops import decompose as _decompose
from headrace.ops import math as _math
from headrace.ops import matrix as _matrix
from headrace.ops import random as _random
from headrace.ops import slicing as _slicing


class Initializer:
    """A function (shape, dtype) -> tensor that can be written down as a dict.

    A subclass keeps its arguments under their names with `_` before, and computes in `__call__`.
    """

    _arguments: tuple[str, ...] = ()
    dtype: DType

    def __call__(self, shape: Any, dtype: Any = None, partition_info: Any = None) -> Tensor:
        """The initial value, of `shape`; of the initializer's own type if none is given."""
        raise NotImplementedError

    def get_config(self) -> dict[str, Any]:
        """The arguments that make an equal one: `from_config` takes them."""
        config = {name: getattr(self, name) for name in self._arguments}
        if hasattr(self, "dtype"):
            config["dtype"] = self.dtype.name
        return config

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Initializer:
        """The initializer of a dict that `get_config` gave."""
        return cls(**config)

    def _type(self, dtype: Any) -> DType:
        return self.dtype if dtype is None else as_dtype(dtype).base_dtype


def _real(dtype: Any) -> DType:
    dtype = as_dtype(dtype).base_dtype
    if not dtype.is_floating:
        raise ValueError(f"Argument `dtype` expected to be numeric or boolean. Received {dtype}.")
    return dtype


class Zeros(Initializer):
    """Zeros; empty strings, False."""

    def __init__(self, dtype: Any = float32):
        self.dtype = as_dtype(dtype)

    def __call__(self, shape: Any, dtype: Any = None, partition_info: Any = None) -> Tensor:
        """Zeros of that shape."""
        return _array.zeros(shape, self._type(dtype))


class Ones(Initializer):
    """Ones."""

    def __init__(self, dtype: Any = float32):
        self.dtype = as_dtype(dtype)

    def __call__(self, shape: Any, dtype: Any = None, partition_info: Any = None) -> Tensor:
        """Ones of that shape."""
        return _array.ones(shape, self._type(dtype))


class Constant(Initializer):
    """A value, the last element of which is repeated to fill the shape."""

    _arguments = ("value",)

    def __init__(self, value: Any = 0, dtype: Any = float32, verify_shape: bool = False):
        if not (np.isscalar(value) or isinstance(value, (list, tuple, np.ndarray))):
            raise TypeError(
                f"Invalid type for initial value: {type(value)}. Expected Python scalar, list or "
                "tuple of values, or numpy.ndarray."
            )
        self.value = value
        self.dtype = as_dtype(dtype)
        self._verify_shape = verify_shape

    def __call__(
        self, shape: Any, dtype: Any = None, partition_info: Any = None, verify_shape: Any = None
    ) -> Tensor:
        """The value, of that shape; with `verify_shape` it must have it already."""
        verify = self._verify_shape if verify_shape is None else verify_shape
        return _constant.constant(self.value, self._type(dtype), shape, verify_shape=verify)


class RandomUniform(Initializer):
    """Uniform in [minval, maxval); maxval is 1 by default, and needed for integers."""

    _arguments = ("minval", "maxval", "seed")

    def __init__(
        self, minval: Any = 0.0, maxval: Any = None, seed: int | None = None, dtype: Any = float32
    ):
        self.minval = minval
        self.maxval = maxval
        self.seed = seed
        self.dtype = as_dtype(dtype)

    def __call__(self, shape: Any, dtype: Any = None, partition_info: Any = None) -> Tensor:
        """Uniform random numbers of that shape."""
        return _random.random_uniform(
            shape, self.minval, self.maxval, self._type(dtype), seed=self.seed
        )


class RandomNormal(Initializer):
    """Normal, of a mean and a standard deviation."""

    _arguments = ("mean", "stddev", "seed")

    def __init__(
        self, mean: Any = 0.0, stddev: Any = 1.0, seed: int | None = None, dtype: Any = float32
    ):
        self.mean = mean
        self.stddev = stddev
        self.seed = seed
        self.dtype = _real(dtype)

    def __call__(self, shape: Any, dtype: Any = None, partition_info: Any = None) -> Tensor:
        """Normal random numbers of that shape."""
        return _random.random_normal(
            shape, self.mean, self.stddev, self._type(dtype), seed=self.seed
        )


class TruncatedNormal(RandomNormal):
    """Normal, drawn again when further than two standard deviations from the mean."""

    def __call__(self, shape: Any, dtype: Any = None, partition_info: Any = None) -> Tensor:
        """Truncated normal random numbers of that shape."""
        return _random.truncated_normal(
            shape, self.mean, self.stddev, self._type(dtype), seed=self.seed
        )


def _whole(shape: Any, partition_info: Any) -> list[int]:
    """The shape by which to scale: that of the whole variable if this is a part of one."""
    full = shape if partition_info is None else partition_info.full_shape
    return [int(d) for d in full]


class UniformUnitScaling(Initializer):
    """Uniform, so that a product with unit inputs keeps their variance (Sussillo & Abbott 2014)."""

    _arguments = ("factor", "seed")

    def __init__(self, factor: float = 1.0, seed: int | None = None, dtype: Any = float32):
        self.factor = factor
        self.seed = seed
        self.dtype = _real(dtype)

    def __call__(self, shape: Any, dtype: Any = None, partition_info: Any = None) -> Tensor:
        """Random numbers of that shape; all but the last axis are inputs."""
        inputs = max(float(_python_math.prod(_whole(shape, partition_info)[:-1])), 1.0)
        limit = _python_math.sqrt(3 / inputs) * self.factor
        return _random.random_uniform(shape, -limit, limit, self._type(dtype), seed=self.seed)


class VarianceScaling(Initializer):
    """Random numbers of variance `scale / n`; n inputs, outputs or their mean, as `mode` says.

    `distribution` is "truncated_normal", "untruncated_normal" or "uniform".
    """

    _arguments = ("scale", "mode", "distribution", "seed")

    def __init__(
        self,
        scale: float = 1.0,
        mode: str = "fan_in",
        distribution: str = "truncated_normal",
        seed: int | None = None,
        dtype: Any = float32,
    ):
        if scale <= 0.0:
            raise ValueError(f"Argument `scale` must be a positive float. Received: {scale}")
        if mode not in {"fan_in", "fan_out", "fan_avg"}:
            raise ValueError(
                "Argument `mode` should be one of ('fan_in', 'fan_out', 'fan_avg'). Received: "
                f"{mode}"
            )
        distribution = distribution.lower()
        if distribution not in {"normal", "uniform", "truncated_normal", "untruncated_normal"}:
            raise ValueError(
                "Argument `distribution` should be one of ('normal', 'uniform', "
                f"'truncated_normal', 'untruncated_normal'). Received: {distribution}"
            )
        self.scale = scale
        self.mode = mode
        self.distribution = distribution
        self.seed = seed
        self.dtype = _real(dtype)

    def __call__(self, shape: Any, dtype: Any = None, partition_info: Any = None) -> Tensor:
        """Random numbers of that shape."""
        dtype = self._type(dtype)
        fan_in, fan_out = _fans(_whole(shape, partition_info))
        n = {"fan_in": fan_in, "fan_out": fan_out, "fan_avg": (fan_in + fan_out) / 2}[self.mode]
        variance = self.scale / max(1.0, n)
        if self.distribution == "uniform":
            limit = _python_math.sqrt(3 * variance)
            return _random.random_uniform(shape, -limit, limit, dtype, seed=self.seed)
        if self.distribution == "untruncated_normal":
            return _random.random_normal(
                shape, 0.0, _python_math.sqrt(variance), dtype, seed=self.seed
            )
        stddev = _python_math.sqrt(variance) / _STDDEV_OF_TRUNCATED
        return _random.truncated_normal(shape, 0.0, stddev, dtype, seed=self.seed)


_STDDEV_OF_TRUNCATED = 0.87962566103423978  # of a unit normal cut at two standard deviations


def _fans(shape: list[int]) -> tuple[int, int]:
    """How many inputs and outputs a unit has by weights [..., in, out]."""
    if len(shape) < 2:
        n = shape[0] if shape else 1
        return n, n
    field = _python_math.prod(shape[:-2])
    return shape[-2] * field, shape[-1] * field


class GlorotUniform(VarianceScaling):
    """Uniform, of variance 2 / (inputs + outputs) (Glorot & Bengio 2010)."""

    _arguments = ("seed",)

    def __init__(self, seed: int | None = None, dtype: Any = float32):
        super().__init__(1.0, "fan_avg", "uniform", seed, dtype)


class GlorotNormal(VarianceScaling):
    """Truncated normal, of variance 2 / (inputs + outputs) (Glorot & Bengio 2010)."""

    _arguments = ("seed",)

    def __init__(self, seed: int | None = None, dtype: Any = float32):
        super().__init__(1.0, "fan_avg", "truncated_normal", seed, dtype)


def he_normal(seed: int | None = None) -> VarianceScaling:
    """Truncated normal, of variance 2 / inputs (He et al. 2015)."""
    return VarianceScaling(2.0, "fan_in", "truncated_normal", seed)


def he_uniform(seed: int | None = None) -> VarianceScaling:
    """Uniform, of variance 2 / inputs (He et al. 2015)."""
    return VarianceScaling(2.0, "fan_in", "uniform", seed)


def lecun_normal(seed: int | None = None) -> VarianceScaling:
    """Truncated normal, of variance 1 / inputs (LeCun et al. 1998)."""
    return VarianceScaling(1.0, "fan_in", "truncated_normal", seed)


def lecun_uniform(seed: int | None = None) -> VarianceScaling:
    """Uniform, of variance 1 / inputs (LeCun et al. 1998)."""
    return VarianceScaling(1.0, "fan_in", "uniform", seed)


def _need_matrix(holds: bool, shape: Any) -> None:
    if not holds:
        raise ValueError(
            "The tensor to initialize, specified by argument `shape` must be at least "
            f"two-dimensional. Received shape={shape}"
        )


class Orthogonal(Initializer):
    """A matrix with orthonormal columns (or rows, if they are fewer), times `gain`.

    More axes than two are taken as a matrix of all but the last by the last. (Saxe et al. 2014.)
    """

    _arguments = ("gain", "seed")

    def __init__(self, gain: float = 1.0, seed: int | None = None, dtype: Any = float32):
        self.gain = gain
        self.seed = seed
        self.dtype = _real(dtype)

    def __call__(self, shape: Any, dtype: Any = None, partition_info: Any = None) -> Tensor:
        """A random orthogonal matrix of that shape: Q of the QR decomposition of a normal one."""
        shape = [int(d) for d in shape]
        _need_matrix(len(shape) >= 2, shape)
        rows, columns = _python_math.prod(shape[:-1]), shape[-1]
        size = (max(rows, columns), min(rows, columns))
        a = _random.random_normal(size, dtype=self._type(dtype), seed=self.seed)
        q, r = _decompose.qr(a, full_matrices=False)
        q = q * _math.sign(_matrix.diag_part(r))
        if rows < columns:
            q = _array.transpose(q)
        return self.gain * _array.reshape(q, shape)


class Identity(Initializer):
    """The identity matrix, times `gain`; for two axes only."""

    _arguments = ("gain",)

    def __init__(self, gain: float = 1.0, dtype: Any = float32):
        self.gain = gain
        self.dtype = _real(dtype)

    def __call__(self, shape: Any, dtype: Any = None, partition_info: Any = None) -> Tensor:
        """The identity matrix of that shape."""
        full = _whole(shape, partition_info)
        _need_matrix(len(full) == 2, shape)
        whole = _matrix.eye(*full, dtype=self._type(dtype))
        if partition_info is not None:
            whole = _slicing.slice(whole, partition_info.var_offset, shape)
        return self.gain * whole


def default_for(name: str, dtype: DType) -> Initializer:
    """What `get_variable` takes by default: Glorot's for floats, else zeros."""
    if dtype.is_floating:
        return GlorotUniform()
    if dtype.is_integer or dtype.is_bool or dtype.kind == "S":
        return Zeros()
    raise ValueError(f"An initializer for variable {name} of {dtype} is required")


zeros = zeros_initializer = Zeros
ones = ones_initializer = Ones
constant = constant_initializer = Constant
random_uniform = random_uniform_initializer = RandomUniform
random_normal = random_normal_initializer = RandomNormal
truncated_normal = truncated_normal_initializer = TruncatedNormal
uniform_unit_scaling = uniform_unit_scaling_initializer = UniformUnitScaling
variance_scaling = variance_scaling_initializer = VarianceScaling
orthogonal = orthogonal_initializer = Orthogonal
identity = identity_initializer = Identity
glorot_uniform = glorot_uniform_initializer = GlorotUniform
glorot_normal = glorot_normal_initializer = GlorotNormal
