"""Headrace (`hr`) and TensorFlow (`tf`) side by side."""

import os

import numpy as np
import pytest

# The threads of a process are those of its first session, and the numbers of TensorFlow's
# Multinomial depend on how many there are.
os.environ["TF_NUM_INTRAOP_THREADS"] = "1"


def get_seed_of_tensorflow_1(tf):
    """How TensorFlow 1 paired seeds: without an op seed, by the last operation's id.

    TensorFlow 2 counts the calls instead, so programs with a graph seed alone differ from what
    they were.
    """
    default_graph_seed, largest = 87654321, 2**31 - 1

    def get_seed(op_seed):
        graph = tf.get_default_graph()
        if graph.seed is None:
            return (None, None) if op_seed is None else (default_graph_seed, op_seed % largest)
        if op_seed is None:
            op_seed = graph.version
        pair = graph.seed % largest, op_seed % largest
        return (0, largest) if pair == (0, 0) else pair

    return get_seed


@pytest.fixture
def tf(monkeypatch):
    tensorflow = pytest.importorskip("tensorflow.compat.v1")
    tensorflow.disable_v2_behavior()
    random_seed = pytest.importorskip("tensorflow.python.framework.random_seed")
    monkeypatch.setattr(random_seed, "get_seed", get_seed_of_tensorflow_1(tensorflow))
    return tensorflow


@pytest.fixture
def hr():
    import headrace

    return headrace


@pytest.fixture
def assert_alike(hr, tf):
    """Runs program(module, *arguments) in both, in a new graph, and compares what it returns.

    Lists and dicts are compared item by item, arrays of reals within the tolerances, all else by
    equality.
    """

    def alike(ours, theirs, where, rtol, atol):
        if isinstance(theirs, dict):
            assert list(ours) == list(theirs), where
            for key in theirs:
                alike(ours[key], theirs[key], f"{where}[{key!r}]", rtol, atol)
        elif isinstance(theirs, list | tuple):
            assert len(ours) == len(theirs), where
            for i, (x, y) in enumerate(zip(ours, theirs, strict=True)):
                alike(x, y, f"{where}[{i}]", rtol, atol)
        elif isinstance(theirs, np.ndarray | np.generic):
            assert type(ours) is type(theirs), where
            assert ours.dtype == theirs.dtype, where
            real = np.issubdtype(theirs.dtype, np.inexact)
            within = (rtol, atol) if real else (0, 0)
            np.testing.assert_allclose(ours, theirs, *within, err_msg=where)  # pyright: ignore[reportArgumentType, reportCallIssue]
            assert ours.shape == theirs.shape, where
        else:
            assert ours == theirs, where

    def run(program, *arguments, rtol=1e-5, atol=1e-6):
        results = []
        for module in (hr, tf):
            with module.Graph().as_default():
                results.append(program(module, *arguments))
        alike(results[0], results[1], program.__name__, rtol, atol)

    return run
