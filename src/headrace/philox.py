"""Random numbers from counters: TensorFlow's own streams, number for number.

Philox-4x32-10 (Salmon, Moraes, Dror & Shaw 2011) turns a 64-bit key and a 128-bit counter into
128 random bits, so that any block of a stream costs what the first one costs and no state is
hidden. The state of a stream is one array, uint32 [6]: the key in two words and the counter in
four, least significant first. A sampler is a pure function of that array; the runtime moves the
stream on with `advance(state, blocks_used(...))`, which looks at shapes and never at values.

How blocks become numbers is what TensorFlow's CPU kernels do, to the bit for integers and for
uniform, normal and truncated normal numbers of up to 32 bits. A float32 normal there goes through
the C library, so the single-precision `log` and `sincos` of glibc (since 2.28) are worked out
here, in double precision as it does; under another C library TensorFlow's own last bit moves.
Normals in float64 use `xp.log`, `xp.sin` and `xp.cos`: equal to two units in the last place.

Every function that takes `xp` runs under NumPy and can be traced by XLA, with `state` a traced
array; there 64-bit types must be enabled. What goes by rejection then needs `xp.while_loop`.
"""

from __future__ import annotations

import math
import secrets
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

Shape = tuple[int, ...]
Draw = Callable[..., Sequence[Any]]  # (xp, four words [n]) -> a few arrays [n] of numbers

_MASK, _SHIFT = np.uint64(0xFFFFFFFF), np.uint64(32)
_MULTIPLY = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
_WEYL = np.uint64(0x9E3779B9), np.uint64(0xBB67AE85)  # what each round adds to the key
_ROUNDS = 10

_RESERVED = 256  # blocks that TensorFlow sets aside for each element of an output
_PIECE = 16384  # blocks made at a time on the host, so that all of it stays in the cache


def _numbers(*text: str) -> np.ndarray:
    """Hexadecimal floats as float64 [len(text)]."""
    return np.array([float.fromhex(x) for x in text])


# log in single precision (Nagy, Arm Optimized Routines 2017; in glibc since 2.27): for sixteen
# intervals 1/c and log c, with c near the middle, and the polynomial of log(1 + r) - r.
_LOG_INVERSE = _numbers(
    *("0x1.661ec79f8f3bep+0", "0x1.571ed4aaf883dp+0", "0x1.49539f0f010bp+0"),
    *("0x1.3c995b0b80385p+0", "0x1.30d190c8864a5p+0", "0x1.25e227b0b8eap+0"),
    *("0x1.1bb4a4a1a343fp+0", "0x1.12358f08ae5bap+0", "0x1.0953f419900a7p+0"),
    *("0x1p+0", "0x1.e608cfd9a47acp-1", "0x1.ca4b31f026aap-1", "0x1.b2036576afce6p-1"),
    *("0x1.9c2d163a1aa2dp-1", "0x1.886e6037841edp-1", "0x1.767dcf5534862p-1"),
)
_LOG_CENTRE = _numbers(
    *("-0x1.57bf7808caadep-2", "-0x1.2bef0a7c06ddbp-2", "-0x1.01eae7f513a67p-2"),
    *("-0x1.b31d8a68224e9p-3", "-0x1.6574f0ac07758p-3", "-0x1.1aa2bc79c81p-3"),
    *("-0x1.a4e76ce8c0e5ep-4", "-0x1.1973c5a611cccp-4", "-0x1.252f438e10c1ep-5"),
    *("0x0p+0", "0x1.aa5aa5df25984p-5", "0x1.c5e53aa362eb4p-4", "0x1.526e57720db08p-3"),
    *("0x1.bc2860d22477p-3", "0x1.1058bc8a07ee1p-2", "0x1.4043057b6ee09p-2"),
)
_LOG = _numbers("-0x1.ffffef20a4123p-2", "0x1.5575b0be00b6ap-2", "-0x1.00ea348b88334p-2")
# sin and cos in single precision on [-pi/4, pi/4] (Dijkstra, the same 2018; glibc since 2.28):
# coefficients of x**3, x**5, x**7, and of x**2, x**4, x**6, x**8.
_SIN = _numbers("-0x1.555545995a603p-3", "0x1.1107605230bc4p-7", "-0x1.994eb3774cf24p-13")
_COS = _numbers(
    *("-0x1.ffffffd0c621cp-2", "0x1.55553e1068f19p-5"),
    *("-0x1.6c087e89a359dp-10", "0x1.99343027bf8c3p-16"),
)

# The ops that take as much off their stream for each element of their output.
_PER_ELEMENT = frozenset(
    {
        *("RandomUniform", "RandomUniformInt", "RandomStandardNormal", "TruncatedNormal"),
        *("RandomGamma", "RandomPoisson", "RandomPoissonV2"),
    }
)
_MANTISSA = {"float16": 10, "bfloat16": 7, "float32": 23}  # bits; float64 is made of two words


# --- streams ------------------------------------------------------------------------------------


def initial_state(seed: int, seed2: int) -> np.ndarray:
    """The state, uint32 [6], of an op with these attributes before it first runs.

    The key is `seed` and the upper half of the counter `seed2`, modulo 2**64. Both zero means
    unseeded, as in TensorFlow: the state then comes from the operating system.
    """
    if seed == 0 and seed2 == 0:
        seed, seed2 = secrets.randbits(64), secrets.randbits(64)
    return _split(seed % 2**64 | (seed2 % 2**64) << 128, 6)


def stateless_state(xp: Any, seed: Any) -> Any:
    """The state, uint32 [6], that a stateless op makes of its operand `seed`, int32 or int64 [2].

    Such an op scrambles its seeds with one block of a generator whose key is fixed.
    """
    s = xp.asarray(seed).astype(np.int64).view(np.uint64)
    key = np.array([0x3EC8F720, 0x02461E29], np.uint64)
    halves = [s[0] & _MASK, s[0] >> _SHIFT, s[1] & _MASK, s[1] >> _SHIFT]
    mixed = words(xp, xp.stack([*key, *halves]), xp.zeros(1, np.uint64))
    zero = xp.zeros(1, np.uint64)
    return xp.concatenate([*mixed[:2], zero, zero, *mixed[2:]]).astype(np.uint32)


def advance(state: np.ndarray, blocks: int) -> np.ndarray:
    """The state, uint32 [6], that lies this many blocks further on; on the host."""
    key, counter = state[:2].tobytes(), int.from_bytes(state[2:].tobytes(), "little")
    return np.frombuffer(key + ((counter + blocks) % 2**128).to_bytes(16, "little"), np.uint32)


def blocks_used(op_type: str, shape: Shape) -> int:
    """How many blocks one run of an op takes off its stream; `shape` is its output's."""
    size = math.prod(shape)
    if op_type == "RandomShuffle":
        return (shape[0] + 2) // 4 if size > 1 and shape[0] > 1 else 0
    if op_type == "Multinomial":
        batch, samples = shape
        return batch * ((samples + 3) // 4 * 4) * 2 * _RESERVED
    if op_type not in _PER_ELEMENT:
        raise ValueError(f"{op_type} is not an op that draws from a stream of its own")
    return size * _RESERVED


def words(xp: Any, state: Any, index: Any) -> tuple[Any, Any, Any, Any]:
    """The blocks at `index`, uint64 [n], from the counter on: four uint64 [n], below 2**32 each.

    Words are kept in 64 bits throughout because XLA's and NumPy's loops over 64-bit products are
    twice as fast so, and many times faster than products put together from 16-bit halves.
    """
    s = xp.asarray(state).astype(np.uint64)
    if s.dtype != np.uint64:
        raise TypeError("Philox needs 64-bit types: trace it within jax.enable_x64(True)")
    k0, k1 = s[0], s[1]
    start = s[2] | s[3] << _SHIFT
    low = index + start
    c2 = (low < start).astype(np.uint64) + s[4]
    c3 = ((c2 >> _SHIFT) + s[5]) & _MASK
    c0, c1, c2 = low & _MASK, low >> _SHIFT, c2 & _MASK
    for _ in range(_ROUNDS):
        p, q = c0 * _MULTIPLY[0], c2 * _MULTIPLY[1]
        c0, c1, c2, c3 = (q >> _SHIFT) ^ c1 ^ k0, q & _MASK, (p >> _SHIFT) ^ c3 ^ k1, p & _MASK
        k0, k1 = (k0 + _WEYL[0]) & _MASK, (k1 + _WEYL[1]) & _MASK
    return c0, c1, c2, c3


def _split(value: int, n: int) -> np.ndarray:
    """The n lowest 32-bit words of an integer, uint32 [n], least significant first."""
    return np.array([value >> 32 * i & 0xFFFFFFFF for i in range(n)], np.uint32)


def _on_host(xp: Any) -> bool:
    """Whether this namespace's arrays are NumPy's, so that values can be looked at."""
    return not getattr(xp, "traced", xp is not np)


def _interleave(xp: Any, lanes: Sequence[Any]) -> Any:
    """k arrays [n] as one [n, k].

    Under XLA by selection, which becomes a loop over [n, k] that computes a block once, while
    `stack` computes every block k times over.
    """
    if _on_host(xp):
        return np.stack(lanes, axis=1)
    lane = xp.arange(len(lanes), dtype=np.int32)
    result = lanes[-1][:, None]
    for i in reversed(range(len(lanes) - 1)):
        result = xp.where(lane == i, lanes[i][:, None], result)
    return result


def _fill(xp: Any, state: Any, shape: Shape, dtype: Any, lanes: int, draw: Draw) -> Any:
    """An array of this shape from the stream's blocks, `lanes` elements to a block.

    `draw(xp, a, b, c, d)` makes `lanes` arrays [n] of the four words [n] of n blocks.
    """
    size = math.prod(shape)
    count = -(-size // lanes)
    if not _on_host(xp):

        def fill(state: Any) -> Any:
            drawn = draw(xp, *words(xp, state, xp.arange(count, dtype=np.uint64)))
            return _interleave(xp, drawn).reshape(-1)[:size].reshape(shape).astype(dtype)

        return xp.apart(fill, state)
    result = np.empty((count, lanes), dtype)
    for start in range(0, count, _PIECE):
        piece = slice(start, min(start + _PIECE, count))
        index = np.arange(piece.start, piece.stop, dtype=np.uint64)
        for i, drawn in enumerate(draw(xp, *words(xp, state, index))):
            result[piece, i] = drawn
    return result.reshape(-1)[:size].reshape(shape)


def _repeat(xp: Any, count: int, start: Callable[..., Any], step: Callable[..., Any]) -> list[Any]:
    """Rejection at `count` places at once, each for as long as it takes: arrays [count].

    `start(place)` gives the first values, a list of arrays [n], for places uint64 [n];
    `step(place, turn, *values)` gives which are done, bool [n], and the next values.
    """
    place = xp.arange(count, dtype=np.uint64)
    if not _on_host(xp):

        def body(carry: Any) -> Any:
            turn, done, old = carry
            now, new = step(place, turn, *old)
            kept = [xp.where(done, x, y) for x, y in zip(old, new, strict=True)]
            return turn + np.uint64(1), done | now, kept

        first = xp.zeros((), np.uint64), xp.zeros(count, bool), start(place)
        return xp.while_loop(lambda carry: ~carry[1].all(), body, first)[2]
    result = start(place)
    for begin in range(0, count, _PIECE):
        left = place[begin : begin + _PIECE]  # the places not yet done
        values, turn = [x[left] for x in result], np.uint64(0)
        while len(left):
            done, values = step(left, turn, *values)
            for whole, part in zip(result, values, strict=True):
                whole[left] = part
            left, values, turn = left[~done], [x[~done] for x in values], turn + np.uint64(1)
    return result


# --- uniform ------------------------------------------------------------------------------------


def bits(xp: Any, state: Any, shape: Shape) -> Any:
    """Random bits, uint32 of this shape: the stream's words in order."""
    return _fill(xp, state, shape, np.uint32, 4, lambda xp, *block: _as(np.uint32, block))


def uniform(xp: Any, state: Any, shape: Shape, dtype: Any) -> Any:
    """Uniform numbers in [0, 1), of this shape and real dtype: RandomUniform.

    The mantissa is random and the exponent that of [1, 2); then 1 is taken off. So a float32 has
    23 random bits, a float64 52, a float16 10 and a bfloat16 7.
    """
    if np.dtype(dtype) == np.float64:
        return _fill(
            xp, state, shape, dtype, 2, lambda xp, a, b, c, d: (_unit64(a, b), _unit64(c, d))
        )
    mantissa = _mantissa(dtype)
    return _fill(
        xp, state, shape, dtype, 4, lambda xp, *block: [_unit32(w, mantissa) for w in block]
    )


def uniform_int(xp: Any, state: Any, shape: Shape, minval: Any, maxval: Any, dtype: Any) -> Any:
    """Integers in [minval, maxval), of this shape, int32 or int64: RandomUniformInt.

    By remainder, so the smaller ones are very slightly more likely unless the range is a power
    of two. The limits may be traced; that minval < maxval is for the caller to see to.
    """
    signed = np.dtype(dtype)
    unsigned = np.dtype(f"u{signed.name}")
    low, high = (xp.asarray(x).astype(signed).reshape(1).view(unsigned) for x in (minval, maxval))

    def draw(xp: Any, a: Any, b: Any, c: Any, d: Any) -> list[Any]:
        if signed == np.int32:
            drawn = _as(np.uint32, (a, b, c, d))
        else:
            drawn = b << _SHIFT | a, d << _SHIFT | c
        return [(low + x % (high - low)).view(signed) for x in drawn]

    return _fill(xp, state, shape, signed, 4 if signed == np.int32 else 2, draw)


def _mantissa(dtype: Any) -> int:
    """How many bits follow the point of a real dtype of up to 32 bits; refuses any other."""
    name = np.dtype(dtype).name
    if name not in _MANTISSA:
        raise TypeError(f"random numbers are float16, bfloat16, float32 or float64, not {name}")
    return _MANTISSA[name]


def _as(dtype: Any, arrays: Sequence[Any]) -> list[Any]:
    return [x.astype(dtype) for x in arrays]


def _unit32(w: Any, mantissa: int = 23) -> Any:
    """float32 in [0, 1) from this many low bits of each word."""
    fraction = w << np.uint64(23 - mantissa) & np.uint64(0x7FFFFF)
    return (fraction | np.uint64(127 << 23)).astype(np.uint32).view(np.float32) - np.float32(1)


def _unit64(high: Any, low: Any) -> Any:
    """float64 in [0, 1) from twenty low bits of one word and all of the other."""
    fraction = (high & np.uint64(0xFFFFF)) << _SHIFT | low
    return (fraction | np.uint64(1023 << 52)).view(np.float64) - 1.0


# --- normal -------------------------------------------------------------------------------------


def normal(xp: Any, state: Any, shape: Shape, dtype: Any) -> Any:
    """Standard normal numbers, of this shape and real dtype (Box & Muller 1958).

    RandomStandardNormal: two numbers from two uniform ones, in float32 also for the 16-bit types.
    """
    return _fill(xp, state, shape, dtype, *_normals(dtype))


def truncated_normal(xp: Any, state: Any, shape: Shape, dtype: Any) -> Any:
    """Standard normal numbers within (-2, 2), of this shape and real dtype: TruncatedNormal.

    By rejection, and yet any element can be found without those before it: each group of as many
    elements as a block makes has a stretch of the stream to itself, and takes from it until full.
    """
    lanes, draw = _normals(dtype)
    size = math.prod(shape)
    count = -(-size // lanes)
    stride = np.uint64(_RESERVED * lanes // 4)
    kind = np.float64 if lanes == 2 else np.float32

    def start(place: Any) -> list[Any]:
        return [xp.zeros(len(place), np.int32), *(xp.zeros(len(place), kind) for _ in range(lanes))]

    def step(place: Any, turn: Any, taken: Any, *old: Any) -> tuple[Any, list[Any]]:
        kept = list(old)
        for value in draw(xp, *words(xp, state, place * stride + turn)):
            fits = (xp.abs(value) < 2) & (taken < lanes)
            kept = [xp.where(fits & (taken == i), value, x) for i, x in enumerate(kept)]
            taken = taken + fits
        return taken == lanes, [taken, *kept]

    _, *kept = _repeat(xp, count, start, step)
    return _interleave(xp, kept).reshape(-1)[:size].reshape(shape).astype(dtype)


def _normals(dtype: Any) -> tuple[int, Draw]:
    """How many normal numbers of this dtype a block makes, and the function that makes them."""
    if np.dtype(dtype) == np.float64:
        return 2, lambda xp, a, b, c, d: _box_muller64(xp, _unit64(a, b), _unit64(c, d))
    _mantissa(dtype)
    return 4, lambda xp, a, b, c, d: (*_box_muller32(xp, a, b), *_box_muller32(xp, c, d))


def _box_muller64(xp: Any, u: Any, v: Any) -> tuple[Any, Any]:
    """Two float64 normal numbers from two uniform ones."""
    radius = xp.sqrt(-2.0 * xp.log(xp.maximum(u, 1e-7)))
    angle = 2 * math.pi * v
    return xp.sin(angle) * radius, xp.cos(angle) * radius


def _box_muller32(xp: Any, a: Any, b: Any) -> tuple[Any, Any]:
    """Two float32 normal numbers from two words, uint64 below 2**32."""
    u = xp.maximum(_unit32(a), np.float32(1e-7))
    radius = xp.sqrt(np.float32(-2) * _log32(xp, u))
    angle = (2 * math.pi * _unit32(b).astype(np.float64)).astype(np.float32)
    sin, cos = _sincos32(xp, angle)
    return sin * radius, cos * radius


def _log32(xp: Any, x: Any) -> Any:
    """log x for positive normal float32: x = 2**k z, log x = k log 2 + log c + log(z / c)."""
    b = x.view(np.uint32)
    t = b - np.uint32(0x3F330000)  # so that z is in [0.699, 1.398)
    z = (b - (t & np.uint32(0xFF800000))).view(np.float32).astype(np.float64)
    k = (t.view(np.int32) >> np.int32(23)).astype(np.float64)
    i = (t >> np.uint32(19) & np.uint32(15)).astype(np.int32)
    r = z * xp.take(_LOG_INVERSE, i, mode="clip") - 1.0
    main = xp.take(_LOG_CENTRE, i, mode="clip") + k * math.log(2) + r
    square = r * r
    rest = _LOG[2] * square + (_LOG[1] * r + _LOG[0])
    return (rest * square + main).astype(np.float32)


def _sincos32(xp: Any, angle: Any) -> tuple[Any, Any]:
    """sin and cos of float32 angles in [0, 2 pi]."""
    # The angle must not reach the polynomials unrounded, and XLA is free to drop a conversion
    # that the next one undoes: clearing a sign bit that is clear keeps the two apart.
    angle = (angle.view(np.uint32) & np.uint32(0x7FFFFFFF)).view(np.float32)
    x = angle.astype(np.float64)
    quadrant = xp.floor(x * (2 / math.pi) + 0.5)
    x = x - quadrant * (math.pi / 2)
    x2 = x * x
    x3, x4 = x2 * x, x2 * x2
    sin = (x + x3 * _SIN[0]) + x3 * x2 * (_SIN[1] + x2 * _SIN[2])
    cos = ((1.0 + x2 * _COS[0]) + x4 * _COS[1]) + x4 * x2 * (_COS[2] + x2 * _COS[3])
    sin, cos = sin.astype(np.float32), cos.astype(np.float32)
    n = quadrant.astype(np.int32)
    odd, low, high = n % 2 == 1, n // 2 % 2 == 1, (n + 1) // 2 % 2 == 1
    s, c = xp.where(odd, cos, sin), xp.where(odd, sin, cos)
    return xp.where(low, -s, s), xp.where(high, -c, c)


# --- choices ------------------------------------------------------------------------------------


def shuffle_permutation(xp: Any, state: Any, n: int) -> Any:
    """A random order of n things, int32 [n]: element i of a RandomShuffle is its operand's p[i].

    The shuffle is Fisher's and Yates's (Durstenfeld 1964): for i = 0, 1, ..., n - 2 swap place i
    with place j(i) >= i. What lands in i is what j(i) held: its own thing, or, if an earlier i'
    chose that place too, the thing that lay in i' at its turn. Following such steps back for all
    i at once is a search and log n rounds of doubling, with no swap made.
    """
    if n < 2:
        return xp.arange(n, dtype=np.int32)
    i = xp.arange(n, dtype=np.uint32)
    drawn = bits(xp, state, (n - 1,)) % (np.uint32(n) - i[:-1])
    j = (xp.concatenate([drawn, xp.zeros(1, np.uint32)]) + i).astype(np.uint64)
    i = i.astype(np.uint64)
    pairs = xp.sort(j << _SHIFT | i)

    def last(place: Any) -> Any:
        """The last step before step i that chose `place`, or -1."""
        at = xp.searchsorted(pairs, place << _SHIFT | i).astype(np.int32) - 1
        pair = xp.take(pairs, xp.maximum(at, 0), mode="clip")
        found = (at >= 0) & (pair >> _SHIFT == place)
        return xp.where(found, (pair & _MASK).astype(np.int32), -1)

    origin, before = last(i), last(j)
    origin = xp.where(origin < 0, i.astype(np.int32), origin)
    for _ in range(n.bit_length()):
        origin = xp.take(origin, origin, mode="clip")
    held = xp.take(origin, xp.maximum(before, 0), mode="clip")
    return xp.where(before < 0, j.astype(np.int32), held)


def multinomial(xp: Any, state: Any, logits: Any, num_samples: int, dtype: Any) -> Any:
    """Classes drawn by log-probability up to a constant: logits [b, c] to dtype [b, num_samples].

    A class whose logit is not finite is never drawn; a row without any other gives c. TensorFlow
    divides a large batch among threads whose streams overlap, so there, and only there, its
    numbers depend on the machine; these are those of a single thread.
    """
    logits = xp.asarray(logits).astype(np.float64)
    batch, classes = logits.shape
    finite = xp.isfinite(logits)
    most = xp.where(finite, logits, -np.finfo(np.float64).max).max(axis=1, keepdims=True)
    total = xp.cumsum(xp.exp(xp.where(finite, logits - most, -np.inf)), axis=1)
    sought = uniform(xp, state, (batch, num_samples), np.float64) * total[:, -1:]
    # How many cumulative sums are at most what is sought: a binary search in every row at once.
    found = xp.zeros((batch, num_samples), np.int32)
    for power in reversed(range(classes.bit_length())):
        next_ = found + (1 << power)
        value = xp.take_along_axis(total, xp.minimum(next_, classes) - 1, axis=1)
        found = xp.where((next_ <= classes) & (value <= sought), next_, found)
    return found.astype(dtype)


# --- gamma and Poisson --------------------------------------------------------------------------


def gamma(xp: Any, state: Any, shape: Shape, alpha: Any) -> Any:
    """Gamma numbers of mean and variance alpha [*a]: [*shape, *a], of alpha's dtype. RandomGamma.

    By rejection from a normal and a uniform number (Marsaglia & Tsang 2000), in float64; for
    alpha < 1 from alpha + 1, times a uniform number to the power of 1 / alpha. NaN where alpha is.
    """
    alpha = xp.asarray(alpha)
    samples, values = math.prod(shape), alpha.reshape(-1).astype(np.float64)

    def start(place: Any) -> list[Any]:
        counts = [xp.zeros(len(place), np.uint64) for _ in range(5)]
        return [*counts, xp.zeros(len(place), np.float64)]

    def step(place: Any, turn: Any, *old: Any) -> tuple[Any, list[Any]]:
        # Normal and uniform numbers come two to a block, of which the later is used first; either
        # kind takes the next free block whenever its own is used up.
        free, n_block, n_left, u_block, u_left, _ = old
        a = values[(place // np.uint64(samples)).astype(np.int32)]
        one, small = a == 1, a < 1

        def take(need: Any, free: Any, block: Any, left: Any) -> tuple[Any, Any, Any]:
            fresh = need & (left == 0)
            left = xp.where(fresh, np.uint64(2), left) - need
            return free + fresh, xp.where(fresh, free, block), left

        def pair(block: Any) -> tuple[Any, Any]:
            w = words(xp, state, place * np.uint64(_RESERVED) + block)
            return _unit64(*w[:2]), _unit64(*w[2:])

        def pick(numbers: tuple[Any, Any], left: Any) -> Any:
            return xp.where(left == 0, *numbers)

        free, n_block, n_left = take(~one, free, n_block, n_left)
        x = pick(_box_muller64(xp, *pair(n_block)), n_left)
        d = a + xp.where(small, 2 / 3, -1 / 3)
        v = 1 + 1 / 3 / xp.sqrt(xp.where(d > 0, d, np.nan)) * x
        inside = one | (v > 0)
        v = xp.where(one, 1.0, xp.where(v <= 0, 1.0, v * v * v))
        free, u_block, u_left = take(inside, free, u_block, u_left)
        u = pick(pair(u_block), u_left)
        bound = 0.5 * x * x + d * (1 - v + xp.log(v))
        likely = (u < 1 - 0.0331 * (x * x) * (x * x)) | (xp.log(xp.maximum(u, 5e-324)) < bound)
        done = inside & (one | likely) | xp.isnan(v)
        free, u_block, u_left = take(done & small, free, u_block, u_left)
        power = xp.where(small & (a != 0), 1 / xp.where(a == 0, 1.0, a), np.inf)
        scale = xp.where(small, pick(pair(u_block), u_left) ** power, 1.0)
        result = xp.where(one, -xp.log1p(-u), d * v * scale)
        return done, [free, n_block, n_left, u_block, u_left, result]

    *_, result = _repeat(xp, samples * len(values), start, step)
    kind = np.float64 if alpha.dtype == np.float64 else np.float32
    result = xp.where(result < np.finfo(kind).tiny, 0.0, result)  # TensorFlow has no subnormals
    return _by_sample(xp, result, shape, alpha.shape, alpha.dtype)


def poisson(xp: Any, state: Any, shape: Shape, rate: Any, dtype: Any) -> Any:
    """Poisson numbers of mean rate [*r]: [*shape, *r], of any numeric dtype. RandomPoissonV2.

    Below a rate of ten by products of uniform numbers (Knuth 1969), else by rejection (Hormann
    1993), in float64. A rate that is not a number or too large for dtype, on which TensorFlow
    never returns, gives itself, or dtype's greatest integer.
    """
    rate = xp.asarray(rate)
    samples, values = math.prod(shape), rate.reshape(-1).astype(np.float64)
    kind = np.dtype(dtype)
    integer = kind.kind in "iu"
    most = float((np.iinfo if integer else np.finfo)(kind).max)

    def start(place: Any) -> list[Any]:
        return [xp.ones(len(place), np.float64), xp.zeros(len(place), np.float64)]

    def step(place: Any, turn: Any, product: Any, count: Any) -> tuple[Any, list[Any]]:
        w = words(xp, state, place * np.uint64(_RESERVED) + turn)
        u, v = _unit64(*w[2:]), _unit64(*w[:2])
        mean = values[(place // np.uint64(samples)).astype(np.int32)]
        # Knuth: how many uniform numbers can be multiplied before the product is below exp(-mean).
        once, twice = product * u, product * u * v
        floor = xp.exp(-xp.maximum(mean, 0.0))
        few = count + xp.where(once <= floor, 0.0, xp.where(twice <= floor, 1.0, 2.0))
        # Hormann: a rational function of u looks nearly Poisson; v decides whether to keep it.
        hopeless = ~(mean <= most)
        large = xp.maximum(xp.where(hopeless, 10.0, mean), 10.0)
        b = 0.931 + 2.53 * xp.sqrt(large)
        a = -0.059 + 0.02483 * b
        inverse = 1.1239 + 1.1328 / (b - 3.4)
        u = u - 0.5
        edge = xp.maximum(0.5 - xp.abs(u), 1e-100)
        k = xp.floor((2 * a / edge + b) * u + large + 0.43)
        sure = (edge >= 0.07) & (v <= 0.9277 - 3.6224 / (b - 2))
        out = (k < 0) | ((edge < 0.013) & (v > edge))
        s = xp.log(xp.maximum(v, 1e-300) * inverse / (a / (edge * edge) + b))
        likely = s <= -large + k * xp.log(large) - _log_factorial(xp, xp.maximum(k, 0.0))
        keep = (k <= most) & (sure | (~out & likely))
        small = mean < 10
        done = hopeless | xp.where(small, twice <= floor, keep)
        whole = xp.where(small, few, k)
        return done, [twice, xp.where(hopeless, most if integer else mean, whole)]

    _, result = _repeat(xp, samples * len(values), start, step)
    return _by_sample(xp, result, shape, rate.shape, kind)


def _by_sample(xp: Any, result: Any, shape: Shape, inner: Shape, dtype: Any) -> Any:
    """What was drawn parameter by parameter, [inner * shape], as [*shape, *inner]."""
    if np.dtype(dtype).itemsize == 2:
        result = result.astype(np.float32)  # rounds twice, as TensorFlow does
    order = result.reshape(math.prod(inner), math.prod(shape)).T
    return order.reshape(*shape, *inner).astype(dtype)


def _log_factorial(xp: Any, k: Any) -> Any:
    """log k! for whole k >= 0, float64, by Stirling's series at k + 1 or, if small, at k + 9."""
    near = k < 16
    shift = xp.ones_like(k)
    for i in range(1, 9):
        shift = shift * xp.where(near, k + i, 1.0)
    z = k + xp.where(near, 9.0, 1.0)
    y = 1 / (z * z)
    series = 1 / 12 - y * (1 / 360 - y * (1 / 1260 - y * (1 / 1680 - y * (1 / 1188))))
    return (z - 0.5) * xp.log(z) - z + 0.5 * math.log(2 * math.pi) + series / z - xp.log(shift)
