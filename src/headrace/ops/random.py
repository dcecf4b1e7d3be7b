"""Random numbers: TensorFlow's streams, by `philox.py`, from a graph seed and a seed per op."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from headrace import dtypes, philox, shapes
from headrace.conversion import convert_to_tensor
from headrace.errors import InvalidArgumentError
from headrace.graph import control_dependencies, get_default_graph, name_scope
from headrace.node import Tensor
from headrace.opdef import NOT_DIFFERENTIABLE, OpDef, Spec, op, same_shape
from headrace.ops import array, checks, math, reduce, slicing
from headrace.ops.operands import shape_operand
from headrace.shapes import Shape

# -- seeds -----------------------------------------------------------------------------------------

DEFAULT_GRAPH_SEED = 87654321
_MODULUS = 2**31 - 1


def get_seed(op_seed: int | None) -> tuple[int | None, int | None]:
    """The pair (graph seed, op seed) for an op; (None, None) if neither was set.

    An op without a seed of its own takes the number of ops made so far if its graph has one.
    """
    graph = get_default_graph()
    seed = graph.seed
    if seed is None and op_seed is None:
        return None, None
    if seed is None:
        seed = DEFAULT_GRAPH_SEED
    if op_seed is None:
        op_seed = graph._last_id
    pair = int(seed) % _MODULUS, int(op_seed) % _MODULUS
    return pair if pair != (0, 0) else (0, _MODULUS)  # a pair of zeros would mean: none


def set_random_seed(seed: int | None) -> None:
    """Seed the random ops that will be added to the default graph."""
    get_default_graph().seed = seed


def _seeds(seed: int | None) -> dict[str, Any]:
    graph_seed, op_seed = get_seed(seed)
    return {"seed": graph_seed or 0, "seed2": op_seed or 0}


# -- ops -------------------------------------------------------------------------------------------


def _sizes(shape: Any) -> tuple[int, ...]:
    """The operand `shape` as a tuple; InvalidArgumentError if it is none."""
    if shape.ndim != 1:
        raise InvalidArgumentError(
            None,
            None,
            "shape must be a vector of {int32,int64}, got shape " + shapes.brackets(shape.shape),
        )
    sizes = tuple(shape.tolist())
    for d in sizes:
        if d < 0:
            raise InvalidArgumentError(None, None, f"Dimension {d} must be >= 0")
    return sizes


def _blocks(op_type: str) -> Callable[..., int]:
    return lambda attrs, shape: philox.blocks_used(op_type, shape)


def _sampler(name: str, sample: Callable[..., Any]) -> OpDef:
    """An op that fills a shape with numbers `sample(xp, state, shape, dtype)`."""

    @op(
        name,
        "shape: T -> output: dtype",
        T=dtypes.INDICES,
        random=True,
        static=(0,),
        blocks=_blocks(name),
    )
    def made(xp: Any, state: Any, shape: Any, *, dtype: Any, seed: int = 0, seed2: int = 0) -> Any:
        return sample(xp, state, _sizes(shape), dtype.numpy)

    made.infer = lambda shape, **_: shape_operand(shape)
    made.gradient = NOT_DIFFERENTIABLE
    return made


_uniform = _sampler("RandomUniform", philox.uniform)
_normal = _sampler("RandomStandardNormal", philox.normal)
_truncated = _sampler("TruncatedNormal", philox.truncated_normal)


@op(
    "RandomUniformInt",
    "shape: T, minval: Tout, maxval: Tout -> output: Tout",
    T=dtypes.INDICES,
    Tout=dtypes.INDICES,
    random=True,
    static=(0,),
    blocks=_blocks("RandomUniformInt"),
)
def _uniform_int(
    xp: Any, state: Any, shape: Any, low: Any, high: Any, *, seed: int = 0, seed2: int = 0
) -> Any:
    xp.check(low < high, lambda: f"Need minval < maxval, got {low} >= {high}")
    return philox.uniform_int(xp, state, _sizes(shape), low, high, low.dtype)


@_uniform_int.def_infer
def _(shape: Spec, low: Spec, high: Spec, **_: Any) -> Shape:
    shapes.with_rank(low.shape, 0)
    shapes.with_rank(high.shape, 0)
    return shape_operand(shape)


@op("RandomShuffle", "value: T -> output: T", random=True, blocks=_blocks("RandomShuffle"))
def _shuffle(xp: Any, state: Any, x: Any, *, seed: int = 0, seed2: int = 0) -> Any:
    if x.ndim == 0 or x.size == 0:
        return x
    return xp.take(x, philox.shuffle_permutation(xp, state, x.shape[0]), axis=0)


_shuffle.infer = same_shape


@op(
    "Multinomial",
    "logits: T, num_samples: int32 -> output: output_dtype",
    T=dtypes.REALS,
    random=True,
    static=(1,),
    blocks=_blocks("Multinomial"),
)
def _multinomial(
    xp: Any,
    state: Any,
    logits: Any,
    samples: Any,
    *,
    output_dtype: Any = dtypes.int64,
    seed: int = 0,
    seed2: int = 0,
) -> Any:
    if logits.ndim != 2:
        raise InvalidArgumentError(
            None, None, f"logits should be a matrix, got shape {shapes.brackets(logits.shape)}"
        )
    if samples < 0:
        raise InvalidArgumentError(
            None, None, f"num_samples should be nonnegative, got {int(samples)}"
        )
    if not logits.shape[1]:
        raise InvalidArgumentError(None, None, "num_classes should be positive, got 0")
    return philox.multinomial(xp, state, logits, int(samples), output_dtype.numpy)


@_multinomial.def_infer
def _(logits: Spec, samples: Spec, **_: Any) -> Shape:
    shapes.with_rank(samples.shape, 0)
    value = samples.value
    if value is not None and value < 0:
        raise ValueError(
            f"Dimension size, given by scalar input 1, must be non-negative but is {int(value)}"
        )
    return shapes.with_rank(logits.shape, 2)[0], None if value is None else int(value)


_uniform_int.gradient = _multinomial.gradient = NOT_DIFFERENTIABLE

# -- public functions ------------------------------------------------------------------------------


def random_uniform(
    shape: Any,
    minval: Any = 0,
    maxval: Any = None,
    dtype: Any = dtypes.float32,
    seed: int | None = None,
    name: str | None = None,
) -> Tensor:
    """Uniform numbers in [minval, maxval), of this shape; integers need a `maxval`."""
    dtype = dtypes.as_dtype(dtype)
    if dtype not in (*dtypes.FLOATS, dtypes.int32, dtypes.int64):
        raise ValueError(
            f"Argument `dtype` got invalid value {dtype}. Accepted dtypes are "
            "(tf.float16, tf.bfloat16, tf.float32, tf.float64, tf.int32, tf.int64)."
        )
    if maxval is None:
        if dtype.is_integer:
            raise ValueError(f"Must specify maxval for integer dtype {dtype!r}")
        maxval = 1
    with name_scope(name, "random_uniform", [shape, minval, maxval]) as scope:
        shape = _shape_tensor(shape)
        # Against the limits 0 and 1 there is nothing to scale; TensorFlow leaves them out too.
        from_zero = isinstance(minval, int) and minval == 0
        to_one = isinstance(maxval, int) and maxval == 1
        if from_zero and to_one and not dtype.is_integer:
            return _uniform(shape, dtype=dtype, **_seeds(seed))
        low = convert_to_tensor(minval, dtype, name="min")
        high = convert_to_tensor(maxval, dtype, name="max")
        if dtype.is_integer:
            return _uniform_int(shape, low, high, name=scope, **_seeds(seed))
        numbers = _uniform(shape, dtype=dtype, **_seeds(seed))
        if from_zero:
            return math.multiply(numbers, high)
        return math.add(numbers * (high - low), low, name=scope)


def random_normal(
    shape: Any,
    mean: Any = 0.0,
    stddev: Any = 1.0,
    dtype: Any = dtypes.float32,
    seed: int | None = None,
    name: str | None = None,
) -> Tensor:
    """Normal numbers of this mean and deviation, of this shape."""
    return _scaled(_normal, "random_normal", shape, mean, stddev, dtype, seed, name)


def truncated_normal(
    shape: Any,
    mean: Any = 0.0,
    stddev: Any = 1.0,
    dtype: Any = dtypes.float32,
    seed: int | None = None,
    name: str | None = None,
) -> Tensor:
    """Normal numbers of which those two deviations or more from the mean are drawn again."""
    return _scaled(_truncated, "truncated_normal", shape, mean, stddev, dtype, seed, name)


def _scaled(
    sample: OpDef,
    default: str,
    shape: Any,
    mean: Any,
    stddev: Any,
    dtype: Any,
    seed: int | None,
    name: str | None,
) -> Tensor:
    dtype = dtypes.as_dtype(dtype)
    with name_scope(name, default, [shape, mean, stddev]) as scope:
        shape = _shape_tensor(shape)
        mean = convert_to_tensor(mean, dtype, name="mean")
        stddev = convert_to_tensor(stddev, dtype, name="stddev")
        numbers = sample(shape, dtype=dtype, **_seeds(seed))
        return math.add(numbers * stddev, mean, name=scope)


def _shape_tensor(shape: Any) -> Tensor:
    """A shape as an operand; an empty list is a scalar's shape and not a list of floats."""
    empty = isinstance(shape, (list, tuple)) and not shape
    return convert_to_tensor(shape, dtypes.int32 if empty else None, name="shape")


def random_shuffle(value: Any, seed: int | None = None, name: str | None = None) -> Tensor:
    """The value with its first axis in a random order."""
    return _shuffle(value, name=name, **_seeds(seed))


def random_crop(value: Any, size: Any, seed: int | None = None, name: str | None = None) -> Tensor:
    """A part of this size from a random place of the value."""
    with name_scope(name, "random_crop", [value, size]) as scope:
        value = convert_to_tensor(value, name="value")
        size = convert_to_tensor(size, dtypes.int32, name="size")
        shape = array.shape(value)
        check = checks.Assert(
            reduce.reduce_all(math.greater_equal(shape, size)),
            ["Need value.shape >= size, got ", shape, size],
            summarize=1000,
        )
        with control_dependencies([check]):
            shape = array.identity(shape, "control_dependency")
        limit = shape - size + 1
        offset = random_uniform(
            array.shape(shape), dtype=size.dtype, maxval=size.dtype.max, seed=seed
        )
        return slicing.slice(value, offset % limit, size, name=scope)


def multinomial(
    logits: Any,
    num_samples: Any,
    seed: int | None = None,
    name: str | None = None,
    output_dtype: Any = None,
) -> Tensor:
    """Classes drawn by unnormalised log-probabilities: logits [b, c] to int64 [b, num_samples]."""
    with name_scope(name, "multinomial", [logits]):
        return _drawn(logits, num_samples, output_dtype, seed)


def categorical(
    logits: Any,
    num_samples: Any,
    dtype: Any = None,
    seed: int | None = None,
    name: str | None = None,
) -> Tensor:
    """`multinomial` under its later name."""
    with name_scope(name, "categorical", [logits]):
        return _drawn(logits, num_samples, dtype, seed)


def _drawn(logits: Any, num_samples: Any, dtype: Any, seed: int | None) -> Tensor:
    logits = convert_to_tensor(logits, name="logits")
    dtype = dtypes.int64 if dtype is None else dtypes.as_dtype(dtype)
    return _multinomial(logits, num_samples, output_dtype=dtype, **_seeds(seed))
