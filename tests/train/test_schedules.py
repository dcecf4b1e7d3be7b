"""Learning rates, the global step, moving averages: numbers of TensorFlow 2.21."""

import numpy as np
import pytest

import headrace as tf

train = tf.train

SCHEDULES = {
    "exponential": lambda s: train.exponential_decay(0.1, s, 10, 0.5),
    "staircase": lambda s: train.exponential_decay(0.1, s, 10, 0.5, staircase=True),
    "natural": lambda s: train.natural_exp_decay(0.1, s, 10, 0.5),
    "inverse": lambda s: train.inverse_time_decay(0.1, s, 10, 0.5, staircase=True),
    "polynomial": lambda s: train.polynomial_decay(0.1, s, 10, 0.01, 2.0),
    "cycle": lambda s: train.polynomial_decay(0.1, s, 10, 0.01, cycle=True),
    "cosine": lambda s: train.cosine_decay(0.1, s, 30, 0.1),
    "restarts": lambda s: train.cosine_decay_restarts(0.1, s, 5),
    "equal restarts": lambda s: train.cosine_decay_restarts(0.1, s, 5, 1.0, 0.5),
    "linear cosine": lambda s: train.linear_cosine_decay(0.1, s, 30, 2.0),
    "piecewise": lambda s: train.piecewise_constant(s, [10, 25], [0.1, 0.2, 0.3]),
}

STEPS = (0, 7, 10, 25, 40)
RATES = {
    "exponential": [0.1, 0.0615572, 0.05, 0.0176777, 0.00625],
    "staircase": [0.1, 0.1, 0.05, 0.025, 0.00625],
    "natural": [0.1, 0.0704688, 0.0606531, 0.0286505, 0.0135335],
    "inverse": [0.1, 0.1, 0.0666667, 0.05, 0.0333333],
    "polynomial": [0.1, 0.0181, 0.01, 0.01, 0.01],
    "cycle": [0.1, 0.037, 0.01, 0.025, 0.01],
    "cosine": [0.1, 0.0884415, 0.0775, 0.0160289, 0.01],
    "restarts": [0.1, 0.0904508, 0.05, 0.05, 0.096194],
    "equal restarts": [0.1, 0.0327254, 0.025, 0.003125, 0.000390625],
    "linear cosine": [0.1001, 0.000937672, 0.0167667, 0.00426667, 0.0001],
    "piecewise": [0.1, 0.1, 0.1, 0.2, 0.3],
}


@pytest.mark.parametrize("name", SCHEDULES)
def test_rates_are_tensorflows(name):
    step = tf.placeholder(tf.int64, [])
    rate = SCHEDULES[name](step)
    with tf.Session() as session:
        found = [session.run(rate, {step: i}) for i in STEPS]
    assert found[0].dtype == np.float32
    np.testing.assert_allclose(found, RATES[name], rtol=2e-5, atol=1e-7)


def test_growing_restarts_by_a_tensor():
    step, growth = tf.placeholder(tf.int64, []), tf.placeholder(tf.float32, [])
    rate = train.cosine_decay_restarts(0.1, step, 5, growth)
    with tf.Session() as session:
        for i, a, b in zip(STEPS, RATES["restarts"], (0.1, 0.0654508, 0.1, 0.1, 0.1), strict=True):
            assert session.run(rate, {step: i, growth: 2.0}) == pytest.approx(a, rel=1e-4)
            assert session.run(rate, {step: i, growth: 1.0}) == pytest.approx(b, rel=1e-4)


def test_noise_is_on_the_line():
    step = tf.placeholder(tf.int64, [])
    rate = train.noisy_linear_cosine_decay(0.1, step, 30)
    with tf.Session() as session:
        found = [session.run(rate, {step: 3}) for _ in range(20)]
    assert np.std(found) > 0


def test_what_schedules_refuse():
    with pytest.raises(ValueError, match="global_step is required"):
        train.exponential_decay(0.1, None, 1, 1)
    x = tf.constant(1.0)
    with pytest.raises(ValueError, match="1 less than the length of values"):
        train.piecewise_constant(x, [1.0], [1.0, 2.0, 3.0])
    with pytest.raises(ValueError, match="must have the same dtype as x"):
        train.piecewise_constant(x, [1], [1.0, 2.0])


def test_schedule_is_named_by_its_class():
    step = train.get_or_create_global_step()
    assert train.exponential_decay(0.1, step, 10, 0.5).op.name == "ExponentialDecay"
    assert train.exponential_decay(0.1, step, 10, 0.5, name="rate").op.name == "rate"


def test_global_step_is_made_once():
    assert train.get_global_step() is None
    step = train.create_global_step()
    assert (step.op.name, step.dtype.base_dtype, step.shape) == ("global_step", tf.int64, ())
    assert train.get_or_create_global_step() is step
    with pytest.raises(ValueError, match='"global_step" already exists'):
        train.create_global_step()
    with pytest.raises(TypeError, match="does not have integer type"):
        train.assert_global_step(tf.Variable(1.0))
    with pytest.raises(TypeError, match="is not scalar"):
        train.assert_global_step(tf.Variable([1]))


def test_moving_average_of_a_tensor_starts_from_zero_or_is_corrected():
    x = tf.constant(4.0, name="x")
    plain = train.ExponentialMovingAverage(0.5)
    corrected = train.ExponentialMovingAverage(0.5, zero_debias=True, name="corrected")
    updates = [plain.apply([x]), corrected.apply([x])]
    assert corrected.average_name(x) == "x/corrected"
    assert [v.op.name for v in tf.global_variables()] == [
        "x/ExponentialMovingAverage", "x/corrected", "x/corrected/biased",
        "x/corrected/local_step",
    ]  # fmt: skip
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        for expected in (2, 3, 3.5):
            session.run(updates)
            assert session.run([plain.average(x), corrected.average(x)]) == [expected, 4]


def test_number_of_updates_quickens_the_average():
    v = tf.Variable(0.0, name="v")
    n = tf.placeholder(tf.int32, [])
    average = train.ExponentialMovingAverage(0.9, num_updates=n)
    update = average.apply()
    assert update.name == "ExponentialMovingAverage"
    with tf.Session() as session:
        session.run(tf.global_variables_initializer())
        session.run(v.assign(11.0))
        session.run(update, {n: 1})
        assert session.run(average.average(v)) == pytest.approx(11 * (1 - 2 / 11))
    assert tf.moving_average_variables() == [v]


def test_averages_are_restored_into_their_variables():
    v, w = tf.Variable(0.0, name="v"), tf.Variable(0.0, name="w", trainable=False)
    average = train.ExponentialMovingAverage(0.9)
    average.apply([v])
    assert average.variables_to_restore() == {"v/ExponentialMovingAverage": v, "w": w}
    assert average.average(w) is None
    with pytest.raises(TypeError, match="must be half, float, or double"):
        average.apply([tf.Variable(1)])
