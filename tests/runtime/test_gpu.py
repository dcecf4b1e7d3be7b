"""What only a GPU can show; `test_gpu_lowering.py` has what can be seen without one.

`XLA_PYTHON_CLIENT_PREALLOCATE=false python -m pytest -m gpu -n 8` where there is one.
"""

import jax
import numpy as np
import pytest

import headrace as tf
from headrace.runtime.xla import gpu_available
from tests.ops.test_every_op import USES, assert_close, by_xla, forward, is_traceable
from tests.runtime.gpu_programs import PROGRAMS, losses, losses_by_numpy

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not gpu_available(), reason="there is no GPU here that XLA can use"),
]

WIDE = 2048


@pytest.fixture(autouse=True)
def exact():
    """Products in full float32, that they may be compared."""
    before = tf.config.experimental.tensor_float_32_execution_enabled()
    tf.config.experimental.enable_tensor_float_32_execution(False)
    yield
    tf.config.experimental.enable_tensor_float_32_execution(before)


# What is determined up to a sign of each vector, or a phase: cuSOLVER may choose another.
UP_TO_SIGNS = {"SelfAdjointEigV2", "Svd", "Qr"}


OPS = sorted({use.name for use in USES if is_traceable(use)})


@pytest.mark.parametrize("names", [OPS[i::16] for i in range(16)], ids=range(16))
def test_ops_agree_with_numpy(names):
    wrong = {}
    for name in names:
        with jax.default_matmul_precision("highest"):
            results = by_xla(name)
        for use, found in results.items():
            try:
                agree(use, found)
            except Exception as error:
                wrong[str(use)] = f"{type(error).__name__}: {error}"
    assert not wrong, "\n\n".join(f"{use}: {words}" for use, words in wrong.items())


def agree(use, found):
    """Raise what went wrong, or unless the results are NumPy's."""
    if isinstance(found, Exception):
        raise found
    for a, b in zip(found, forward(use)[2], strict=True):
        b = np.asarray(b)
        assert a.dtype == b.dtype
        if use.name in UP_TO_SIGNS:
            a, b = np.abs(a), np.abs(b)
        assert_close(a, b, ulps=4)  # its functions round a little otherwise


@pytest.mark.parametrize("loop", [False, True], ids=["runs", "loop"])
@pytest.mark.parametrize("name", PROGRAMS)
def test_programs_agree_with_numpy(name, loop):
    expected = losses_by_numpy(name)
    np.testing.assert_allclose(losses(name, loop=loop), expected, rtol=PROGRAMS[name].near)


def counter():
    """A variable [WIDE, WIDE], what is added to it, and the step that adds."""
    w = tf.get_variable("w", (WIDE, WIDE), initializer=tf.zeros_initializer())
    x = tf.placeholder(tf.float32, (WIDE, WIDE))
    return w, x, w.assign_add(x).op


def test_variables_stay_on_the_device_and_are_updated_in_place():
    w = tf.get_variable("w", (WIDE, WIDE), initializer=tf.zeros_initializer())
    small = [tf.get_variable(f"b{i}", (3,), initializer=tf.zeros_initializer()) for i in range(2)]
    step = tf.group(*[v.assign_add(tf.ones_like(v)) for v in (w, *small)])
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        for _ in range(3):
            session.run(step)
        held = session._state.held
        places = {k: a.unsafe_buffer_pointer() for k, a in held.items()}
        assert {d.platform for a in held.values() for d in a.devices()} == {"gpu"}
        with jax.transfer_guard("disallow"):  # nothing is carried either way
            session.run(step)
        assert {k: a.unsafe_buffer_pointer() for k, a in held.items()} == places
        np.testing.assert_array_equal(session.run(w), np.full((WIDE, WIDE), 4))
        np.testing.assert_array_equal(session.run(small[1]), np.full(3, 4))


def test_feeds_may_be_changed_right_after_a_run():
    w, x, step = counter()
    batch = np.empty((WIDE, WIDE), np.float32)
    with tf.Session() as session:
        session.run(w.initializer)
        for i in range(20):
            batch[...] = i
            session.run(step, {x: batch})  # which fetches nothing, for which it had to wait
            batch[...] = np.nan
        np.testing.assert_array_equal(session.run(w), np.full((WIDE, WIDE), sum(range(20))))


def test_what_is_fetched_is_the_callers_own():
    w, x, step = counter()
    y = w + x
    ones = np.ones((WIDE, WIDE), np.float32)
    with tf.Session() as session:
        session.run(w.initializer)
        for i in range(4):
            found, also, _ = session.run([y, w, step], {x: ones})
            np.testing.assert_array_equal(also, np.full((WIDE, WIDE), i + 1))
            found[...] = -1
            also[...] = -1
        again, value = session.run([y, w], {x: ones}), session.run(w)
        for array in (*again, value):
            assert array.flags.writeable
            array[...] = -1
        np.testing.assert_array_equal(session.run(w), np.full((WIDE, WIDE), 4))


def test_a_run_that_fails_leaves_variables_as_they_were():
    table = tf.get_variable("table", initializer=np.zeros((100_000, 8), np.float32))
    index = tf.placeholder(tf.int32, (None,))
    step = tf.scatter_add(table, index, tf.ones((tf.size(index), 8)))
    with tf.Session() as session:
        session.run(table.initializer)
        for _ in range(3):
            session.run(step.op, {index: [1, 1, 5]})
        with pytest.raises(tf.errors.InvalidArgumentError, match="100000"):
            session.run(step.op, {index: [1, 100_000, 5]})
        np.testing.assert_array_equal(session.run(table)[[0, 1, 5], 0], [0, 6, 3])


def test_tensor_float_32_is_used_when_it_may_be():
    (device,) = jax.devices()[:1]
    if float(device.compute_capability) < 8:
        pytest.skip("this GPU is older than TensorFloat-32")
    rng = np.random.RandomState(0)
    x = tf.placeholder(tf.float32, (WIDE, WIDE))
    y = tf.matmul(x, x)
    data = rng.randn(WIDE, WIDE).astype(np.float32)
    wide = data.astype(np.float64) @ data
    errors = []
    with tf.Session() as session:
        for enabled in (False, False, True, False):  # the first is NumPy's
            tf.config.experimental.enable_tensor_float_32_execution(enabled)
            found = session.run(y, {x: data})
            errors.append(np.linalg.norm(found - wide) / np.linalg.norm(wide))
    assert max(errors[1], errors[3]) < 1e-5
    assert 1e-5 < errors[2] < 2e-3
