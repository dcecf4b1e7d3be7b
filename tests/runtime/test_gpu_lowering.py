"""What a GPU would be given, as far as that can be seen without one.

Here everything is traced as on a GPU and lowered for CUDA: what JAX hands to XLA there. XLA's own
compiler for GPUs is not part of that; `test_gpu.py` has what needs a device.
"""

import re
from itertools import groupby

import jax
import numpy as np
import pytest

import headrace as tf
from headrace.runtime import xla as runtime_xla
from headrace.runtime.runner import own
from headrace.xp import turned, xla
from tests.ops.test_every_op import USES, is_traceable, to_be_traced
from tests.runtime.gpu_programs import PROGRAMS, WIDTH, losses, losses_by_numpy

# What JAX calls on an NVIDIA GPU besides what XLA compiles: cuSOLVER, and kernels of its own.
LIBRARIES = {
    "cu_lu_pivots_to_permutation", "cusolver_geqrf_ffi", "cusolver_gesvdj_ffi",
    "cusolver_getrf_ffi", "cusolver_orgqr_ffi", "cusolver_potrf_ffi", "cusolver_syevd_ffi",
}  # fmt: skip


@pytest.fixture
def on_gpu(monkeypatch):
    """Let headrace take the device for a GPU: it is led in nothing, and has memory of its own."""
    monkeypatch.setattr(xla, "on_cpu", lambda: False)
    monkeypatch.setattr(runtime_xla, "shares_memory", lambda: False)


@pytest.fixture
def texts(monkeypatch):
    """A list that grows by the text, lowered for CUDA, of all that is lowered; it runs here."""
    made = []
    lower = jax.stages.Traced.lower

    def noted(self, **options):
        made.append(lower(self, lowering_platforms=("cuda",)).as_text())
        return lower(self, **options)

    monkeypatch.setattr(jax.stages.Traced, "lower", noted)
    return made


@pytest.fixture
def branches(monkeypatch):
    """A list that grows by how many choices of a branch there are in what is compiled: a GPU is
    waited for at each. (That it is compiled for a CPU makes no difference to them.)"""
    counts = []
    compile_ = jax.stages.Lowered.compile

    def noted(self, *args, **kwargs):
        compiled = compile_(self, *args, **kwargs)
        counts.append(compiled.as_text().count(" conditional("))
        return compiled

    monkeypatch.setattr(jax.stages.Lowered, "compile", noted)
    return counts


@pytest.fixture
def led(monkeypatch):
    """A list that grows by the name of each way in which XLA on a CPU is led."""
    ways = []

    def watch(module, name):
        original = getattr(module, name)

        def noted(*args, **options):
            ways.append(name)
            return original(*args, **options)

        monkeypatch.setattr(module, name, noted)

    watch(xla, "_always")
    watch(xla, "_product_on_cpu")
    watch(turned.Turned, "__init__")
    return ways


def lowered(uses):
    """The text, for CUDA, of the kernels of some cases."""
    ready = [to_be_traced(use) for use in uses]
    given = [args for _, args in ready]

    def trace(given):
        return [function(*args) for (function, _), args in zip(ready, given, strict=True)]

    with runtime_xla.compiling():
        return jax.jit(trace).trace(given).lower(lowering_platforms=("cuda",)).as_text()


def libraries(text):
    return set(re.findall(r"custom_call @(\w+)", text))


TRACEABLE = [use for use in USES if is_traceable(use)]
BY_OP = {name: list(uses) for name, uses in groupby(TRACEABLE, lambda use: use.name)}


@pytest.mark.parametrize("name", BY_OP)
def test_ops_are_lowered_for_cuda(name, on_gpu, led):
    assert libraries(lowered(BY_OP[name])) <= LIBRARIES
    assert led == []


def test_what_a_gpu_cannot_do_would_be_seen():
    traced = jax.jit(jax.lax.linalg.schur).trace(np.eye(3, dtype=np.float32))
    assert libraries(traced.lower().as_text())
    with pytest.raises(NotImplementedError, match="'schur' not found for platform cuda"):
        traced.lower(lowering_platforms=("cuda",))


# -- whole programs --------------------------------------------------------------------------------


@pytest.mark.parametrize("loop", [False, True], ids=["runs", "loop"])
@pytest.mark.parametrize("name", PROGRAMS)
def test_programs_are_those_of_a_gpu_and_right(name, loop, on_gpu, texts, branches, led):
    expected = losses_by_numpy(name)
    assert texts == []
    found = losses(name, loop=loop)
    assert texts
    for text in texts:
        assert libraries(text) <= LIBRARIES
        if name not in ("float64", "decompositions"):  # which are meant to be wide
            assert not re.search(r"xf64>|tensor<f64>", text)
    assert set(branches) == {0}
    assert led == []
    np.testing.assert_allclose(found, expected, rtol=PROGRAMS[name].near)
    assert abs(found[-1] - found[0]) > 100 * PROGRAMS[name].near * abs(found[0])


@pytest.mark.parametrize(
    ("name", "way"),
    [
        ("Adam", "_product_on_cpu"), ("Adam", "_always"), ("dropout", "_always"),
        ("physics", "__init__"),
    ],
)  # fmt: skip
def test_on_a_cpu_the_same_programs_are_led(name, way, branches, led):
    """So that what is not seen above could be seen."""
    losses(name, steps=2)
    assert way in led
    if name == "Adam":
        assert branches[-1]
    losses(name, steps=2, loop=True)
    assert branches[-1]


def test_a_step_with_print_and_assertions_is_a_gpus(on_gpu, texts, led, capfd):
    x = tf.placeholder(tf.float32, (None, WIDTH))
    w = tf.get_variable("w", initializer=np.eye(WIDTH, dtype=np.float32))
    with tf.control_dependencies([tf.assert_positive(x)]):
        loss = tf.Print(tf.reduce_sum(tf.matmul(x, w)), [tf.shape(x)], "shape ")
    fetches = [tf.train.GradientDescentOptimizer(0.5).minimize(loss), loss]
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        found = [session.run(fetches, {x: np.ones((8, WIDTH))})[1] for _ in range(3)]
        before = session.run(w)
        with pytest.raises(tf.errors.InvalidArgumentError, match="positive"):
            session.run(fetches, {x: -np.ones((8, WIDTH))})
        np.testing.assert_array_equal(session.run(w), before)
    assert found == [8 * WIDTH, 8 * WIDTH * (1 - 4 * WIDTH), 8 * WIDTH * (1 - 8 * WIDTH)]
    assert capfd.readouterr().err.count("shape [8 128]") == 3
    assert texts
    assert led == []


def test_what_jax_keeps_a_copy_of_is_still_the_callers_own():
    """JAX keeps the copy it makes of an array elsewhere; of int4 it makes one on a CPU too."""
    array = jax.jit(lambda: jax.numpy.arange(4, dtype=jax.numpy.int4))()
    kept = np.asarray(array)
    assert kept is np.asarray(array)
    assert not kept.flags.writeable
    found = own(array)
    found[0] = 7
    np.testing.assert_array_equal(np.asarray(array), np.arange(4))


def test_a_run_on_a_gpu_is_over_when_it_returns(on_gpu, monkeypatch):
    """Else what was fed might be changed before it has been read."""
    waited = []
    monkeypatch.setattr(jax, "block_until_ready", lambda got: waited.append(got) or got)
    w = tf.get_variable("w", (WIDTH, WIDTH), initializer=tf.zeros_initializer())
    x = tf.placeholder(tf.float32, (WIDTH, WIDTH))
    step = w.assign_add(x).op
    with tf.Session() as session:
        session.run(w.initializer)
        for run in range(3):
            assert session.run(step, {x: np.ones((WIDTH, WIDTH))}) is None
            assert len(waited) == run  # the first is NumPy's
        session.run_steps(step, {x: np.ones((WIDTH, WIDTH))}, 2)
        assert len(waited) > 2


# -- TensorFloat-32 --------------------------------------------------------------------------------


@pytest.fixture
def tensor_float_32():
    """The switch; it is as before after the test."""
    before = tf.config.experimental.tensor_float_32_execution_enabled()
    yield tf.config.experimental.enable_tensor_float_32_execution
    tf.config.experimental.enable_tensor_float_32_execution(before)


def precisions(text):
    return set(re.findall(r"precision = \[(\w+), \w+\]", text))


def products(x, w):
    """A product of each kind: of matrices, of batches, an Einstein sum, a contraction."""
    batch = tf.reshape(tf.tile(x, [2, 1]), (2, 4, 4))
    return [
        tf.matmul(x, w), tf.matmul(batch, batch, transpose_b=True), tf.einsum("ij,kj->ki", x, w),
        tf.tensordot(batch, w, [[1], [0]]),
    ]  # fmt: skip


def test_tensor_float_32_is_on_at_first_and_takes_what_tensorflow_takes(tensor_float_32):
    enabled = tf.config.experimental.tensor_float_32_execution_enabled
    assert enabled() is True
    for value, expected in (
        (False, False), (True, True), (0, False), (2, True), (None, False), (1.5, True),
        (np.bool_(False), False), (np.int32(1), True), (np.array(0), False),
    ):  # fmt: skip
        assert tensor_float_32(value) is None
        assert enabled() is expected
    tensor_float_32(enabled=True)
    for value in ("x", b"x", [], [1], {}, object(), np.array([1, 2]), tf.constant(1)):
        with pytest.raises(TypeError, match="takes a bool, and got"):
            tensor_float_32(value)
    assert enabled() is True
    with pytest.raises(AttributeError, match=r"headrace has no tf\.config\.experimental\.nothing"):
        tf.config.experimental.nothing  # noqa: B018
    with pytest.raises(AttributeError, match=r"headrace has no tf\.config\.nothing"):
        tf.config.nothing  # noqa: B018


def test_products_are_traced_as_the_switch_says(on_gpu, texts, tensor_float_32):
    x, w = (tf.placeholder(tf.float32, (4, 4)) for _ in range(2))
    made = products(x, w)
    fetches = [*made, *tf.gradients(made, [x, w])]
    feeds = {x: np.ones((4, 4)), w: np.ones((4, 4))}
    with tf.Session() as session:
        for _ in range(2):
            session.run(fetches, feeds)
        assert [precisions(t) for t in texts] == [{"DEFAULT"}]
        tensor_float_32(False)
        session.run(fetches, feeds)
        assert [precisions(t) for t in texts] == [{"DEFAULT"}, {"HIGHEST"}]
    assert jax.config.jax_default_matmul_precision is None  # the user's own is left alone


@pytest.mark.parametrize("way", ["run", "callable", "loop", "staged"])
def test_what_was_compiled_before_the_switch_is_not_used_after(way, on_gpu, texts, tensor_float_32):
    x = tf.placeholder(tf.float32, (4, 4))
    w = tf.get_variable("w", initializer=np.eye(4, dtype=np.float32))
    y = tf.matmul(x, w)
    if way == "staged":
        y = tf.Print(y, [])
    with tf.control_dependencies([y]):
        step = w.assign_add(tf.ones((4, 4)))
    fetches, feeds = [step.op, y], {x: np.eye(4)}
    with tf.Session() as session:
        session.run(w.initializer)
        if way == "callable":
            made = session.make_callable(fetches, [x])
            call = lambda: made(np.eye(4))[1]  # noqa: E731
        elif way == "loop":
            loop = session.make_loop(fetches, feeds, output="last")
            call = lambda: loop(2)[1]  # noqa: E731
        else:
            call = lambda: session.run(fetches, feeds)[1]  # noqa: E731
        seen, values = [], []
        for enabled in (True, True, True, False, False, True, False):
            tensor_float_32(enabled)
            del texts[:]
            values.append(call()[0, 1])
            seen.append(set().union(*map(precisions, texts)))
    assert seen[-4:] == [{"HIGHEST"}, set(), set(), set()]
    assert {"DEFAULT"} in seen[:3]
    assert values == [a * (2 if way == "loop" else 1) + (way == "loop") for a in range(7)]


def test_on_a_cpu_the_switch_changes_nothing(texts, tensor_float_32):
    x, w = (tf.placeholder(tf.float32, (4, 4)) for _ in range(2))
    y = products(x, w)
    feeds = {x: np.ones((4, 4)), w: np.ones((4, 4))}
    with tf.Session() as session:
        for enabled in (False, False, True, False):
            tensor_float_32(enabled)
            session.run(y, feeds)
    assert [precisions(t) for t in texts] == [{"DEFAULT"}]


def test_asking_for_tensor_float_32_loads_no_jax():
    import subprocess
    import sys

    code = (
        "import sys, headrace as tf; tf.config.experimental.enable_tensor_float_32_execution(0);"
        "sys.exit('jax' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
