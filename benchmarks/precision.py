"""In which format matrices are multiplied on a GPU, and how each framework is told.

`float32` in full, `tf32` with factors rounded to 10 bits, `bfloat16` with factors and products cast
to it and variables, sums and all else in float32. On the CPU the format is "", and nobody is told.
"""

import os

WORDS = {"float32": "float32", "tf32": "TF32", "bfloat16": "bfloat16"}
AGREE = 1e-4  # between losses in float32, relatively
SHORT = 2**-10  # for each product with shorter factors
DEVICE = "BENCH_DEVICE"  # environment variable: "gpu" where the programs are to use one


def on_gpu():
    """Whether this process is to compute on a GPU."""
    return os.environ.get(DEVICE) == "gpu"


def agreement(precision, products):
    """How far losses may lie apart, relatively, behind so many products one after the other.

    With shorter factors programs do not compute quite the same. In TF32 one kernel rounds to 11
    bits where another cuts off, which takes 2^-11 off a factor on average, 2^-10 off a product. In
    bfloat16 XLA may keep the product in float32 that PyTorch rounds to 8 bits; up to 2^-8, but
    either way, and the loss is the mean over a batch.
    """
    return SHORT * products if precision in ("tf32", "bfloat16") else AGREE


def set_tensorflow(tf, precision):
    """Tell headrace, or TensorFlow."""
    if precision:
        tf.config.experimental.enable_tensor_float_32_execution(precision != "float32")


def set_jax(precision):
    """Tell JAX, for this process."""
    import jax

    if precision:
        jax.config.update(
            "jax_default_matmul_precision", "highest" if precision == "float32" else None
        )


def set_torch(precision):
    """Tell PyTorch; give the device to compute on."""
    import torch

    if precision:
        torch.set_float32_matmul_precision("highest" if precision == "float32" else "high")
    return torch.device("cuda" if on_gpu() else "cpu")
