"""`tf.config.experimental` as TensorFlow has it."""

import numpy as np

VALUES = (
    False, True, 0, 2, None, 1.5, 0.0, np.bool_(False), np.int32(3), np.array(0), np.array([1, 2]),
    "", "x", b"x", [], [1], (), {}, object(),
)  # fmt: skip


def switch(tf):
    """What the switch gives and is after each value, and the class of what it refuses."""
    experimental = tf.config.experimental
    found = [experimental.tensor_float_32_execution_enabled()]
    try:
        for value in VALUES:
            experimental.enable_tensor_float_32_execution(True)
            try:
                given = experimental.enable_tensor_float_32_execution(value)
            except Exception as error:
                given = type(error).__name__
            found += [given, experimental.tensor_float_32_execution_enabled()]
        experimental.enable_tensor_float_32_execution(enabled=False)
        found.append(experimental.tensor_float_32_execution_enabled())
    finally:
        experimental.enable_tensor_float_32_execution(True)
    return found


def test_the_switch_of_tensor_float_32(assert_alike):
    assert_alike(switch)
