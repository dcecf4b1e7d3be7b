"""Philox: known answers (its authors' and TensorFlow's), NumPy against XLA, and statistics."""

import math
import random

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ml_dtypes import bfloat16

from headrace import philox
from headrace.xp import xla

U32 = np.uint32
SEEDS = [(87654321, 5), (-3, 2**40 + 7)]
LOGITS = np.array([[0, 1, 2, 0], [-1, 3, 0, 2]], np.float32)


def by_xla(sampler, state, *args):
    """The sampler traced with its state unknown, and run by XLA."""
    with jax.enable_x64(True):
        return np.asarray(jax.jit(lambda state: sampler(xla, state, *args))(state))


# --- the generator ------------------------------------------------------------------------------


@pytest.mark.parametrize(  # Random123's own table of known answers, philox4x32 10
    ("counter", "key", "expected"),
    [
        ("00000000 00000000 00000000 00000000", "00000000 00000000",
         "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
        ("ffffffff ffffffff ffffffff ffffffff", "ffffffff ffffffff",
         "408f276d 41c83b0e a20bc7c6 6d5451fd"),
        ("243f6a88 85a308d3 13198a2e 03707344", "a4093822 299f31d0",
         "d16cfe09 94fdcceb 5001e420 24126ea1"),
    ],
)  # fmt: skip
def test_known_blocks(counter, key, expected):
    counter, key, expected = ([int(x, 16) for x in t.split()] for t in (counter, key, expected))
    state = np.array(key + counter, U32)
    assert philox.bits(np, state, (4,)).tolist() == expected
    assert by_xla(philox.bits, state, (4,)).tolist() == expected


def test_initial_state_is_the_key_and_the_upper_counter():
    state = philox.initial_state(0x1_0000_0002, -1)
    assert state.dtype == U32
    assert state.tolist() == [2, 1, 0, 0, 2**32 - 1, 2**32 - 1]


def test_unseeded_states_differ():
    assert philox.initial_state(0, 0).tolist() != philox.initial_state(0, 0).tolist()


words_of_state = st.lists(st.integers(0, 2**32 - 1) | st.just(2**32 - 1), min_size=6, max_size=6)


@given(words_of_state, st.integers(0, 20))
def test_advance_is_where_the_stream_goes_on(state, blocks):
    """Also where the counter carries into its next words, or wraps."""
    state = np.array(state, U32)
    later = philox.advance(state, blocks)
    assert later.dtype == U32
    whole = philox.bits(np, state, (4 * (blocks + 1),))
    assert philox.bits(np, later, (4,)).tolist() == whole[4 * blocks :].tolist()


@given(words_of_state, st.integers(0, 2**62), st.integers(0, 2**62))
def test_advance_adds(state, m, n):
    state = np.array(state, U32)
    twice = philox.advance(philox.advance(state, m), n)
    assert twice.tolist() == philox.advance(state, m + n).tolist()


def test_narrow_types_are_refused():
    state = philox.initial_state(1, 2)
    with (
        jax.enable_x64(False),
        pytest.warns(UserWarning, match="float64|int64|uint64"),
        pytest.raises(TypeError, match="64-bit"),
    ):
        philox.bits(xla, jnp.asarray(state), (4,))


@pytest.mark.parametrize(
    ("op_type", "shape", "blocks"),
    [
        ("RandomUniform", (3, 5), 15 * 256),
        ("RandomUniformInt", (), 256),
        ("RandomStandardNormal", (2, 0), 0),
        ("TruncatedNormal", (7,), 7 * 256),
        ("RandomShuffle", (10, 3), 3),
        ("RandomShuffle", (9,), 2),
        ("RandomShuffle", (2,), 1),
        ("RandomShuffle", (1, 8), 0),
        ("RandomShuffle", (8, 0), 0),
        ("Multinomial", (3, 5), 3 * 8 * 2 * 256),
        ("Multinomial", (3, 0), 0),
    ],
)
def test_blocks_used(op_type, shape, blocks):
    assert philox.blocks_used(op_type, shape) == blocks


def test_blocks_used_by_what_draws_nothing():
    with pytest.raises(ValueError, match="MatMul"):
        philox.blocks_used("MatMul", (2, 2))


# --- TensorFlow's numbers -----------------------------------------------------------------------
# Two successive runs of five elements each, by TensorFlow 2.21 on a CPU.

REAL = {"RandomUniform": philox.uniform, "RandomStandardNormal": philox.normal,
        "TruncatedNormal": philox.truncated_normal}  # fmt: skip

# fmt: off
KNOWN_REAL = [
    ("RandomUniform", "float16", SEEDS[0],
     [0.0458984375, 0.8896484375, 0.1328125, 0.9833984375, 0.3984375],
     [0.431640625, 0.189453125, 0.986328125, 0.4873046875, 0.8876953125]),
    ("RandomUniform", "bfloat16", SEEDS[0],
     [0.3671875, 0.1171875, 0.0625, 0.8671875, 0.1875],
     [0.453125, 0.515625, 0.890625, 0.8984375, 0.1015625]),
    ("RandomUniform", "float32", SEEDS[0],
     [0.3883112668991089, 0.6636828184127808, 0.1919107437133789, 0.7060526609420776,
      0.9631834030151367],
     [0.49199604988098145, 0.9406969547271729, 0.3201887607574463, 0.17291104793548584,
      0.31456148624420166]),
    ("RandomUniform", "float64", SEEDS[0],
     [0.10649075668991137, 0.5352865750082818, 0.7054680331168384, 0.6770410754680747,
      0.06823822776504307],
     [0.9359690508631933, 0.5615107438953799, 0.5164928312529158, 0.5501894704356542,
      0.5696306761577403]),
    ("RandomStandardNormal", "float16", SEEDS[0],
     [-1.177734375, -0.7099609375, -1.748046875, -0.495361328125, 0.2430419921875],
     [-0.43359375, 1.109375, 1.3359375, 0.70263671875, 1.1943359375]),
    ("RandomStandardNormal", "bfloat16", SEEDS[0],
     [-1.1796875, -0.7109375, -1.75, -0.49609375, 0.2431640625],
     [-0.43359375, 1.109375, 1.3359375, 0.703125, 1.1953125]),
    ("RandomStandardNormal", "float32", SEEDS[0],
     [-1.178082823753357, -0.7099413871765137, -1.7481579780578613, -0.4953722655773163,
      0.24303887784481049],
     [-0.4335961937904358, 1.1093077659606934, 1.3355998992919922, 0.7027533650398254,
      1.1945992708206177]),
    ("RandomStandardNormal", "float64", SEEDS[0],
     [-0.46540936664254984, -2.0646521014272525, -0.7490927202357748, -0.36965894530492355,
      -1.0471234980003954],
     [-0.13712598455419608, -0.336960236669958, -0.3565213179801008, -1.0928313180937268,
      -0.6144752917527354]),
    ("TruncatedNormal", "float16", SEEDS[0],
     [-1.177734375, -0.7099609375, -1.748046875, -0.495361328125, -0.8642578125],
     [-0.43359375, 1.109375, 1.3359375, 0.70263671875, 1.2158203125]),
    ("TruncatedNormal", "bfloat16", SEEDS[0],
     [-1.1796875, -0.7109375, -1.75, -0.49609375, -0.86328125],
     [-0.43359375, 1.109375, 1.3359375, 0.703125, 1.21875]),
    ("TruncatedNormal", "float32", SEEDS[0],
     [-1.178082823753357, -0.7099413871765137, -1.7481579780578613, -0.4953722655773163,
      -0.864153265953064],
     [-0.4335961937904358, 1.1093077659606934, 1.3355998992919922, 0.7027533650398254,
      1.2154991626739502]),
    ("TruncatedNormal", "float64", SEEDS[0],
     [-0.46540936664254984, -0.7490927202357748, -0.49661495908212616, 0.8547184961461154,
      0.09091473149702428],
     [-0.13712598455419608, -0.336960236669958, -0.032426121313370984, 0.43665983357053323,
      1.5773576668181952]),
    ("RandomUniform", "float32", SEEDS[1],
     [0.3487975597381592, 0.33695685863494873, 0.7396433353424072, 0.3390752077102661,
      0.06281852722167969],
     [0.6465752124786377, 0.5356168746948242, 0.6673108339309692, 0.35242629051208496,
      0.42281126976013184]),
    ("RandomUniform", "float64", SEEDS[1],
     [0.7903806312698067, 0.9171473446098626, 0.5025484810600775, 0.04149301508188019,
      0.386516266739094],
     [0.17260217021334334, 0.3384872495241953, 0.3824904956910862, 0.9405068782798489,
      0.15270212747629874]),
    ("RandomStandardNormal", "float32", SEEDS[1],
     [1.240092396736145, -0.7541206479072571, 0.6581484079360962, -0.41232889890670776,
      1.8951539993286133],
     [-0.20725049078464508, -0.9105925559997559, 0.719521164894104, -0.5397109389305115,
      1.3118860721588135]),
    ("RandomStandardNormal", "float64", SEEDS[1],
     [-0.34116257139105743, 0.5950540946200807, 0.30238000670498466, 1.1334428346888734,
      1.1784577022910325],
     [1.5921183620839567, -0.9892881150722124, -0.5062596790109614, 1.290660329129675,
      1.9329090120061805]),
    ("TruncatedNormal", "float32", SEEDS[1],
     [1.240092396736145, -0.7541206479072571, 0.6581484079360962, -0.41232889890670776,
      -1.5230152606964111],
     [-0.20725049078464508, -0.9105925559997559, 0.719521164894104, -0.5397109389305115,
      0.8016491532325745]),
    ("TruncatedNormal", "float64", SEEDS[1],
     [-0.34116257139105743, 0.5950540946200807, 0.41148026992351, 0.02050987858220345,
      -0.8373612577445917],
     [1.5921183620839567, -0.9892881150722124, -0.09897196001846402, -1.4225743063513778,
      1.9733949136644178]),
]
KNOWN_INTEGERS = [
    ("int32", -3, 1000, SEEDS[0],
     [562, 30, 695, 427, 800],
     [119, 122, 422, 803, 824]),
    ("int32", -(2**31), 2**31 - 1, SEEDS[0],
     [1420932143, 651490191, 328765576, 668622831, 360401304],
     [406780346, 788031682, 749272050, 815145459, 11027341]),
    ("int64", -(2**40), 2**50, SEEDS[0],
     [924207516070959, 126373298999432, 992474960710040, 418767471039785, 990518755530624],
     [198747870919098, 570593596996594, 699789769982861, 1035462388534675, 776750202690869]),
    ("int64", -(2**63), 2**63 - 1, SEEDS[0],
     [2798129067578209327, 2871713194980184200, 6424881463660595608, -8803708386201119447,
      8631544368820459392],
     [3384570304956135866, 3501023090784664562, 8984004457816146829, -476819987624309357,
      -8192516718658511563]),
    ("int32", -3, 1000, SEEDS[1],
     [207, 574, 99, 554, 139],
     [38, 35, 145, 932, 101]),
    ("int32", -(2**31), 2**31 - 1, SEEDS[1],
     [-2127780506, -1456791193, -1621185374, 833316561, 621283952],
     [1414710010, -29061352, -1621792143, 455941198, -21619026]),
    ("int64", -(2**40), 2**50, SEEDS[1],
     [237936912934246, 851920174361762, 919804374944368, 1000773371603444, 203698655866667],
     [287079176258298, 662241533061745, 492016399425198, 526683348077648, 671998916325751]),
    ("int64", -(2**63), 2**63 - 1, SEEDS[1],
     [-6256870531016120986, 3579067377236487330, -4130667760318936464, 1471727317894081012,
      3337241280165326635],
     [-124817552855350534, 1958252534834752113, -2693044290326225234, 8123930795101326416,
      5276148580194873719]),
]
KNOWN_SHUFFLES = [
    (SEEDS[0],
     [1, 3, 2, 7, 6, 9, 0, 5, 8, 4],
     [8, 4, 7, 1, 9, 6, 0, 5, 3, 2]),
    (SEEDS[1],
     [2, 0, 4, 5, 8, 9, 6, 1, 3, 7],
     [2, 3, 4, 5, 8, 7, 9, 1, 6, 0]),
]
KNOWN_MULTINOMIALS = [
    (SEEDS[0],
     [1, 2, 2, 2, 0, 2, 1, 3, 3, 3, 3, 1],
     [3, 2, 2, 2, 2, 1, 1, 1, 1, 1, 1, 1]),
    (SEEDS[1],
     [2, 2, 2, 0, 2, 2, 1, 1, 1, 1, 1, 1],
     [2, 2, 2, 2, 2, 2, 1, 1, 1, 3, 1, 1]),
]
STATELESS = [0.8440604209899902, 0.19204533100128174, 0.9962232112884521, 0.16038739681243896]
# fmt: on


def successive(op_type, shape, seeds, sampler, *args):
    state = philox.initial_state(*seeds)
    first = sampler(np, state, *args)
    state = philox.advance(state, philox.blocks_used(op_type, shape))
    return first, sampler(np, state, *args)


@pytest.mark.parametrize(("op_type", "dtype", "seeds", "first", "second"), KNOWN_REAL)
def test_known_real(op_type, dtype, seeds, first, second):
    kind = np.dtype({"bfloat16": bfloat16}.get(dtype, dtype))
    found = successive(op_type, (5,), seeds, REAL[op_type], (5,), kind)
    for ours, theirs in zip(found, (first, second), strict=True):
        assert ours.dtype == kind
        if dtype == "float64" and op_type != "RandomUniform":
            np.testing.assert_array_max_ulp(ours, np.array(theirs), 2)
        else:
            assert ours.astype(np.float64).tolist() == theirs


@pytest.mark.parametrize(("dtype", "low", "high", "seeds", "first", "second"), KNOWN_INTEGERS)
def test_known_integers(dtype, low, high, seeds, first, second):
    found = successive("RandomUniformInt", (5,), seeds, philox.uniform_int, (5,), low, high, dtype)
    assert [x.tolist() for x in found] == [first, second]
    assert {x.dtype.name for x in found} == {dtype}


@pytest.mark.parametrize(("seeds", "first", "second"), KNOWN_SHUFFLES)
def test_known_shuffles(seeds, first, second):
    found = successive("RandomShuffle", (10,), seeds, philox.shuffle_permutation, 10)
    assert [x.tolist() for x in found] == [first, second]


@pytest.mark.parametrize(("seeds", "first", "second"), KNOWN_MULTINOMIALS)
def test_known_multinomials(seeds, first, second):
    found = successive("Multinomial", (2, 6), seeds, philox.multinomial, LOGITS, 6, np.int64)
    assert [x.ravel().tolist() for x in found] == [first, second]


def test_known_stateless():
    """TensorFlow's stateless_uniform([4], seed=[1, 2])."""
    state = philox.stateless_state(np, np.array([1, 2]))
    assert philox.uniform(np, state, (4,), np.float32).tolist() == STATELESS
    with jax.enable_x64(True):
        traced = jax.jit(lambda seed: philox.stateless_state(xla, seed))(np.array([1, 2]))
    assert np.asarray(traced).tolist() == state.tolist()


# --- NumPy and XLA ------------------------------------------------------------------------------

SHAPES = [(), (0,), (3, 5), (4, 1000)]
KINDS = [np.dtype(x) for x in (np.float16, bfloat16, np.float32, np.float64)]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("dtype", KINDS, ids=lambda dtype: dtype.name)
@pytest.mark.parametrize("sampler", REAL.values(), ids=lambda sampler: sampler.__name__)
def test_real_agree(sampler, dtype, shape):
    state = philox.initial_state(*SEEDS[1])
    host, device = sampler(np, state, shape, dtype), by_xla(sampler, state, shape, dtype)
    assert host.shape == device.shape == shape
    assert host.dtype == device.dtype == dtype
    if dtype == np.float64 and sampler is not philox.uniform:
        np.testing.assert_array_max_ulp(host, device, 4)
    else:
        assert host.tobytes() == device.tobytes()


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize(
    ("dtype", "low", "high"), [("int32", -3, 1000), ("int64", -(2**63), 2**63 - 1)]
)
def test_integers_agree(dtype, low, high, shape):
    state = philox.initial_state(*SEEDS[1])
    host = philox.uniform_int(np, state, shape, low, high, dtype)
    device = by_xla(philox.uniform_int, state, shape, low, high, dtype)
    assert host.shape == device.shape == shape
    assert host.dtype == device.dtype == dtype
    assert host.tobytes() == device.tobytes()


@pytest.mark.parametrize("n", [0, 1, 2, 3, 64, 1001])
def test_shuffles_agree(n):
    state = philox.initial_state(*SEEDS[0])
    host = philox.shuffle_permutation(np, state, n)
    device = by_xla(philox.shuffle_permutation, state, n)
    assert host.dtype == device.dtype == np.int32
    assert host.tolist() == device.tolist()


@pytest.mark.parametrize("dtype", ["int32", "int64"])
@pytest.mark.parametrize("samples", [0, 1, 50])
def test_multinomials_agree(samples, dtype):
    state = philox.initial_state(*SEEDS[0])
    logits = np.random.default_rng(0).normal(size=(7, 13)).astype(np.float32)
    logits[0, 0], logits[1] = -np.inf, np.nan
    host = philox.multinomial(np, state, logits, samples, dtype)
    device = by_xla(philox.multinomial, state, logits, samples, dtype)
    assert host.shape == device.shape == (7, samples)
    assert host.dtype == device.dtype == dtype
    assert host.tolist() == device.tolist()
    assert (host[1] == 13).all()  # a row without a single finite logit


ALPHA = np.array([[0, 0.05, 0.99, 1], [1.01, 50, 1e4, math.nan]])
RATE = np.array([[-1, 0, 0.5, 9.9], [10, 11, 300, 1e4]])


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_gammas_agree(dtype):
    state = philox.initial_state(*SEEDS[0])
    host = philox.gamma(np, state, (500,), ALPHA.astype(dtype))
    device = by_xla(philox.gamma, state, (500,), ALPHA.astype(dtype))
    assert host.shape == device.shape == (500, 2, 4)
    assert host.dtype == device.dtype == dtype
    # XLA's log1p in float64 is right to some hundred units in the last place.
    rtol = 1e-13 if dtype == np.float64 else np.finfo(dtype).eps
    np.testing.assert_allclose(host, device, rtol=rtol, atol=0)


@pytest.mark.parametrize("dtype", ["float32", "int32", "int64"])
def test_poissons_agree(dtype):
    state = philox.initial_state(*SEEDS[0])
    host = philox.poisson(np, state, (500,), RATE, dtype)
    device = by_xla(philox.poisson, state, (500,), RATE, dtype)
    assert host.shape == device.shape == (500, 2, 4)
    assert host.dtype == device.dtype == dtype
    assert host.tolist() == device.tolist()


def test_truncated_normals_agree_far_into_the_stream_of_a_group():
    """Enough groups that some need four blocks or more, and several pieces on the host."""
    state = philox.initial_state(11, 12)
    host = philox.truncated_normal(np, state, (400_001,), np.float32)
    assert (
        host.tobytes() == by_xla(philox.truncated_normal, state, (400_001,), np.float32).tobytes()
    )


# --- what must hold whatever the numbers --------------------------------------------------------


@settings(max_examples=30)
@given(st.integers(0, 300), st.integers(0, 2**64 - 1))
def test_shuffle_is_the_swaps_one_by_one(n, seed):
    state = philox.initial_state(seed, 1)
    drawn = philox.bits(np, state, (max(n - 1, 0),)).tolist()
    order = list(range(n))
    for i, word in enumerate(drawn):
        j = i + word % (n - i)
        order[i], order[j] = order[j], order[i]
    assert philox.shuffle_permutation(np, state, n).tolist() == order


@settings(max_examples=30)
@given(st.integers(1, 40), st.integers(0, 2**64 - 1))
def test_multinomial_is_a_search_of_cumulative_sums(classes, seed):
    state = philox.initial_state(seed, 1)
    logits = np.random.default_rng(seed).normal(size=(3, classes)) * 5
    u = philox.uniform(np, state, (3, 8), np.float64)
    sums = np.cumsum(np.exp(logits - logits.max(1, keepdims=True)), axis=1)
    expected = [np.searchsorted(c, x * c[-1], side="right") for c, x in zip(sums, u, strict=True)]
    found = philox.multinomial(np, state, logits, 8, np.int32)
    assert found.tolist() == np.array(expected).tolist()


@pytest.mark.parametrize("sampler", REAL.values(), ids=lambda sampler: sampler.__name__)
def test_integer_dtypes_are_refused(sampler):
    with pytest.raises(TypeError, match="int32"):
        sampler(np, philox.initial_state(1, 2), (3,), np.int32)


@pytest.mark.parametrize("sampler", REAL.values(), ids=lambda sampler: sampler.__name__)
def test_a_shape_only_folds_the_stream(sampler):
    state = philox.initial_state(3, 4)
    flat = sampler(np, state, (24,), np.float32)
    assert sampler(np, state, (2, 3, 4), np.float32).ravel().tolist() == flat.tolist()
    assert sampler(np, state, (21,), np.float32).tolist() == flat[:21].tolist()


def test_single_precision_functions():
    """log and sincos to less than one unit in the last place, for every uniform number there is."""
    u = philox._unit32(np.arange(1, 2**23, 7, dtype=np.uint64))
    log = np.log(u.astype(np.float64))
    assert (abs(philox._log32(np, u) - log) <= 0.82 * np.spacing(abs(log).astype(np.float32))).all()
    angle = (2 * math.pi * u.astype(np.float64)).astype(np.float32)
    for found, function in zip(philox._sincos32(np, angle), (np.sin, np.cos), strict=True):
        value = function(angle.astype(np.float64))
        assert (abs(found - value) <= 0.57 * np.spacing(abs(value).astype(np.float32))).all()


N = 200_000


def erf_cdf(x):
    return np.array([0.5 * math.erfc(-v / math.sqrt(2)) for v in x])


def kolmogorov(sample, cdf):
    """The greatest distance between a sample's distribution and `cdf`, times sqrt n."""
    x = np.sort(sample.astype(np.float64))
    step = np.arange(1, len(x) + 1) / len(x)
    return max((step - cdf(x)).max(), (cdf(x) - step + 1 / len(x)).max()) * math.sqrt(len(x))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize(
    ("sampler", "cdf"),
    [
        (philox.uniform, lambda x: x),
        (philox.normal, erf_cdf),
        (
            philox.truncated_normal,
            lambda x: (erf_cdf(x) - erf_cdf([-2])) / (erf_cdf([2]) - erf_cdf([-2])),
        ),
    ],
    ids=["uniform", "normal", "truncated_normal"],
)
def test_distributions(sampler, cdf, dtype):
    sample = sampler(np, philox.initial_state(2024, 7), (N,), dtype)
    assert kolmogorov(sample, cdf) < 1.63  # the one per cent level
    assert abs(np.corrcoef(sample[:-1], sample[1:])[0, 1]) < 4 / math.sqrt(N)


def test_gamma_moments():
    alpha = np.array([0.3, 1.0, 4.0])
    sample = philox.gamma(np, philox.initial_state(5, 7), (N,), alpha)
    z = (sample.mean(axis=0) - alpha) / np.sqrt(alpha / N)
    assert (abs(z) < 3).all()
    kurtosis = 3 + 6 / alpha
    z = (sample.var(axis=0) - alpha) / (alpha * np.sqrt((kurtosis - 1) / N))
    assert (abs(z) < 3).all()


@pytest.mark.parametrize("rate", [0.5, 9.0, 12.0])
def test_poisson_probabilities(rate):
    sample = philox.poisson(np, philox.initial_state(5, 7), (N,), rate, np.int32)
    k = np.arange(30)
    expected = N * np.exp(k * math.log(rate) - rate - [math.lgamma(x + 1) for x in k])
    likely = expected > 20
    counts = np.bincount(sample, minlength=30)[:30]
    chi = ((counts - expected) ** 2 / expected)[likely].sum()
    assert chi < likely.sum() + 4 * math.sqrt(2 * likely.sum())


def test_poisson_always_returns():
    rate = np.array([math.nan, math.inf, 1e30])
    state = philox.initial_state(1, 1)
    found = philox.poisson(np, state, (), rate, np.float64)
    np.testing.assert_array_equal(found[:2], rate[:2])
    assert abs(found[2] / 1e30 - 1) < 1e-14
    with np.errstate(invalid="ignore"):  # that the greatest int64 is no float64
        philox.poisson(np, state, (), rate, np.int64)


def test_log_factorial():
    k = np.arange(200.0)
    expected = [math.lgamma(x + 1) for x in k]
    np.testing.assert_allclose(philox._log_factorial(np, k), expected, rtol=1e-14, atol=1e-13)


@pytest.mark.parametrize("dtype", ["int32", "int64"])
def test_integers_are_even(dtype):
    counts = np.bincount(philox.uniform_int(np, philox.initial_state(1, 1), (N,), 0, 10, dtype))
    assert len(counts) == 10
    assert ((counts - N / 10) ** 2 / (N / 10)).sum() < 21.7  # chi squared, 9 degrees: one per cent


def test_multinomial_follows_the_softmax():
    p = np.exp(LOGITS.astype(np.float64))
    p /= p.sum(axis=1, keepdims=True)
    found = philox.multinomial(np, philox.initial_state(1, 1), LOGITS, N, np.int32)
    for row, expected in zip(found, p * N, strict=True):
        counts = np.bincount(row, minlength=4)
        assert ((counts - expected) ** 2 / expected).sum() < 11.3  # 3 degrees


def test_shuffle_moves_every_thing_everywhere():
    counts = np.zeros((5, 5))
    for seed in random.Random(0).sample(range(10**9), 2000):
        order = philox.shuffle_permutation(np, philox.initial_state(seed, 1), 5)
        counts[np.arange(5), order] += 1
    assert ((counts - 400) ** 2 / 400).sum() < 32  # 16 degrees
