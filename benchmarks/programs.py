"""The tables of programs: who takes part, under which name, and what makes its step.

A program's `make(case, cores)` builds its problem's `Case` from the same initial weights as the
others and returns `step()`: do a step, or many in one call, and give the losses from before each
update. Nothing is imported here but NumPy: each `make` imports its own framework.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass

import burgers
import mlp
import mlp_jax
import mlp_numpy
import mlp_tensorflow
import mlp_torch
import numpy as np


@dataclass(frozen=True)
class Program:
    """A row of a table."""

    label: str
    module: str  # without which it is left out
    make: Callable
    many: bool = False  # steps in a call
    epochs: bool = False  # only for data shuffled by epoch


def _with(make, **options):
    return functools.partial(make, **options)


MLP = {
    "headrace": Program("headrace, Session.run", "headrace", mlp_tensorflow.headrace),
    "headrace-callable": Program(
        "headrace, make_callable", "headrace", _with(mlp_tensorflow.headrace, way="callable")
    ),
    "jax": Program("JAX, jax.jit and float(loss)", "jax", mlp_jax.jax),
    "jax-asarray": Program(
        "JAX, jax.jit and np.asarray(loss)", "jax", _with(mlp_jax.jax, fetch=np.asarray)
    ),
    "pytensor": Program("PyTensor, Numba mode", "pytensor", mlp_numpy.pytensor),
    "tensorflow": Program("TensorFlow, Session.run", "tensorflow", mlp_tensorflow.tensorflow),
    "tensorflow-callable": Program(
        "TensorFlow, make_callable", "tensorflow", _with(mlp_tensorflow.tensorflow, way="callable")
    ),
    "tensorflow-function": Program(
        "TensorFlow, tf.function", "tensorflow", mlp_tensorflow.function
    ),
    "tensorflow-xla": Program(
        "TensorFlow, tf.function by XLA", "tensorflow", _with(mlp_tensorflow.function, jit=True)
    ),
    "torch": Program("PyTorch, eager", "torch", mlp_torch.torch),
    "torch-compiled": Program(
        "PyTorch, torch.compile", "torch", _with(mlp_torch.torch, compiled=True)
    ),
    "keras": Program("Keras, train_on_batch", "keras", mlp_tensorflow.keras),
    "sklearn": Program("scikit-learn, partial_fit", "sklearn", mlp_numpy.sklearn),
    "numpy": Program("NumPy by hand", "numpy", mlp_numpy.numpy),
    "headrace-loop": Program(
        "headrace, make_loop", "headrace", _with(mlp_tensorflow.headrace, way="loop"), many=True
    ),
    "jax-scan": Program("JAX, lax.scan", "jax", mlp_jax.scan, many=True),
    "tensorflow-loop": Program(
        "TensorFlow, tf.function by XLA, tf.range", "tensorflow",
        _with(mlp_tensorflow.function, jit=True, many=True), many=True,
    ),
    "keras-fit": Program(
        "Keras, fit", "keras", mlp_tensorflow.keras_fit, many=True, epochs=True
    ),
}  # fmt: skip

PINN = {
    "headrace": Program("headrace, Session.run", "headrace", burgers.headrace),
    "tensorflow": Program("TensorFlow, Session.run", "tensorflow", burgers.tensorflow),
    "jax": Program("JAX, vmap of grad of grad", "jax", burgers.jax),
    "jax-jvp": Program("JAX, jvp of jvp", "jax", _with(burgers.jax, forward=True)),
    "torch": Program("PyTorch, autograd", "torch", burgers.torch),
}

# On a GPU: the idiom that feeds each step when it is due, and the one that sends it ahead.
MLP_GPU = {
    "headrace": MLP["headrace"],
    "headrace-ahead": Program(
        "headrace, Session.run, fed by jax.device_put ahead", "headrace",
        _with(mlp_tensorflow.headrace, way="ahead"),
    ),
    "jax": MLP["jax"],
    "jax-ahead": Program(
        "JAX, jax.jit, fed by jax.device_put ahead", "jax", _with(mlp_jax.jax, ahead=True)
    ),
    "torch": MLP["torch"],
    "torch-ahead": Program(
        "PyTorch, eager, fed ahead", "torch", _with(mlp_torch.torch, ahead=True)
    ),
    "torch-compiled": MLP["torch-compiled"],
    "headrace-loop": MLP["headrace-loop"],
    "jax-scan": MLP["jax-scan"],
}  # fmt: skip

PINN_GPU = {
    **{name: PINN[name] for name in ("headrace", "jax", "jax-jvp", "torch")},
    "headrace-loop": Program(
        "headrace, make_loop", "headrace", _with(burgers.headrace, loop=True), many=True
    ),
    "jax-scan": Program(
        "JAX, jvp of jvp, lax.scan", "jax", _with(burgers.jax, forward=True, many=True), many=True
    ),
}

PROBLEMS = {
    "mlp": (mlp.Case, MLP),
    "pinn": (burgers.Case, PINN),
    "mlp on a GPU": (mlp.Case, MLP_GPU),
    "pinn on a GPU": (burgers.Case, PINN_GPU),
}
