"""The dense network that every framework trains: its cases, its numbers, its batches.

The programs are in `mlp_*.py`, in `programs.py` is the table of them. Nothing is imported here but
NumPy, for `startup.py` times what a framework imports.
"""

import itertools
import operator
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from precision import WORDS, agreement

BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-10


@dataclass(frozen=True)
class Case:
    """A network (relu between layers, cross-entropy after), its batches and its optimizer."""

    layers: Sequence[int]  # widths
    batch: int
    optimizer: str  # "gradient descent" or "adam"
    examples: int = 0  # rows of the data, shuffled by epoch; 0: the same batch at every step
    steps: int = 50  # how many a program takes in a call, if it takes many
    precision: str = ""  # of products on a GPU (`precision.py`)

    def __str__(self):
        """Show what computes the same."""
        text = f"{'-'.join(map(str, self.layers))}, batch {self.batch}"
        text = f"{text}, of {self.examples:,} shuffled" if self.examples else text
        return f"{text}, {WORDS[self.precision]}" if self.precision else text

    @property
    def agree(self):
        """How far, relatively, the losses of programs may lie apart."""
        return agreement(self.precision, len(self.layers) - 1)

    @property
    def rate(self):
        """Learning rate: large enough that five steps tell optimizers apart, yet stable."""
        return 0.05 if self.optimizer == "gradient descent" else min(0.01, 0.1 / max(self.layers))

    @property
    def flops(self):
        """Arithmetic of the matrix products: X W, Xᵀ dZ and, but for the first layer, dZ Wᵀ."""
        products = [m * n for m, n in itertools.pairwise(self.layers)]
        return 2 * self.batch * (3 * sum(products) - products[0])

    @property
    def epoch(self):
        """Steps of an epoch; rows that do not fill a batch are left out of it."""
        return self.examples // self.batch or 1


def problem(case):
    """Initial weights [(w [in, out], b [out]), ...], inputs x [rows, in], labels y [rows, out].

    All float32 from a fixed seed; rows are the examples, or else one batch. Labels are one-hot; for
    a single output they are 0 or 1. Inputs come twice, with labels of their own each time: however
    many steps are timed, the loss stays away from zero and no gradient fades into denormal numbers.
    """
    rng = np.random.default_rng(21)
    rows = case.examples or case.batch
    weights = [
        (
            (rng.standard_normal((m, n)) * (2 / m) ** 0.5).astype(np.float32),
            (rng.standard_normal(n) * 0.1).astype(np.float32),
        )
        for m, n in itertools.pairwise(case.layers)
    ]
    x = rng.standard_normal((rows, case.layers[0]), np.float32)
    x[rows // 2 :] = x[: rows // 2]
    classes = rng.integers(max(case.layers[-1], 2), size=rows)
    if case.layers[-1] == 1:
        return weights, x, classes[:, None].astype(np.float32)
    return weights, x, np.eye(case.layers[-1], dtype=np.float32)[classes]


def orders(case):
    """Which rows the steps of an epoch take, int32 [steps, batch]: for one epoch after another."""
    random = np.random.RandomState(0)  # as headrace's loops shuffle
    while True:
        order = random.permutation(case.examples)[: case.epoch * case.batch]
        yield order.reshape(-1, case.batch).astype(np.int32)


def batches(case, *arrays, take=operator.getitem):
    """What step after step is fed of arrays [rows, ...]: all of them, or `take(array, rows)`."""
    if not case.examples:
        return itertools.repeat(arrays)
    return (tuple(take(a, rows) for a in arrays) for order in orders(case) for rows in order)
