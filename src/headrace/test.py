"""`tf.test`: test cases, and gradients checked against differences."""

from __future__ import annotations

import os
import tempfile
import unittest
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from headrace.conversion import convert_to_tensor
from headrace.gradients import gradients
from headrace.graph import Graph, reset_default_graph
from headrace.node import Tensor, get_default_session
from headrace.ops.constant import placeholder
from headrace.runtime.session import Session


def compute_gradient(
    x: Any,
    x_shape: Sequence[int],
    y: Tensor,
    y_shape: Sequence[int],
    x_init_value: Any = None,
    delta: float = 1e-3,
    init_targets: Any = None,
    extra_feed_dict: dict[Any, Any] | None = None,
) -> Any:
    """(theoretical, numerical) Jacobians dy/dx [size of x, size of y]; a list for a list of x.

    The theoretical one is what `gradients` gives, row by row; the numerical one is of central
    differences of width 2 `delta`. Needs a default session. x starts at `x_init_value`, by default
    at random numbers.
    """
    session = get_default_session()
    if session is None:
        raise ValueError("compute_gradient() needs a default session: use `with tf.Session():`.")
    for target in _listed(init_targets):
        session.run(target)
    feeds = dict(extra_feed_dict or {})
    several = isinstance(x, (list, tuple))
    xs = list(x) if several else [x]
    sizes: list[Any] = list(x_shape) if several else [x_shape]
    starts = list(x_init_value) if several and x_init_value is not None else [x_init_value]
    starts = starts * len(xs) if len(starts) < len(xs) else starts
    generator = np.random.default_rng(0)
    values = []
    for one, size, start in zip(xs, sizes, starts, strict=True):
        numpy = one.dtype.base_dtype.numpy
        made = generator.random(tuple(size)) if start is None else start
        values.append(np.array(made, numpy))
    feeds.update(zip(xs, values, strict=True))
    found = [
        _jacobians(session, one, value, y, tuple(y_shape), delta, feeds)
        for one, value in zip(xs, values, strict=True)
    ]
    return found if several else found[0]


def _jacobians(
    session: Any,
    x: Any,
    value: np.ndarray,
    y: Tensor,
    y_shape: tuple[int, ...],
    delta: float,
    feeds: dict[Any, Any],
) -> tuple[np.ndarray, np.ndarray]:
    dtype = y.dtype.base_dtype
    if dtype.is_complex or x.dtype.is_complex:
        raise TypeError("compute_gradient() takes real tensors; take tf.real and tf.imag apart.")
    with session.graph.as_default():
        seed = placeholder(dtype, y_shape)
        dx = gradients(y, x, seed)[0]
        if dx is None:
            raise ValueError(f"{y.name!r} does not depend on {x.name!r}: there is no gradient.")
        dx = convert_to_tensor(dx)
    outputs = int(np.prod(y_shape))
    theoretical = np.zeros((value.size, outputs), dtype.numpy)
    numerical = np.zeros_like(theoretical)
    for j in range(outputs):
        unit = np.zeros(outputs, dtype.numpy)
        unit[j] = 1
        theoretical[:, j] = session.run(dx, {**feeds, seed: unit.reshape(y_shape)}).ravel()
    for i in range(value.size):
        ends = []
        for sign in (1, -1):
            moved = value.copy()
            moved.reshape(-1)[i] += sign * delta
            ends.append(np.asarray(session.run(y, {**feeds, x: moved}), np.float64).ravel())
        numerical[i] = (ends[0] - ends[1]) / (2 * delta)
    return theoretical, numerical


def compute_gradient_error(
    x: Any,
    x_shape: Sequence[int],
    y: Tensor,
    y_shape: Sequence[int],
    x_init_value: Any = None,
    delta: float = 1e-3,
    init_targets: Any = None,
    extra_feed_dict: dict[Any, Any] | None = None,
) -> float:
    """The largest difference between the theoretical and the numerical Jacobian."""
    found = compute_gradient(
        x, x_shape, y, y_shape, x_init_value, delta, init_targets, extra_feed_dict
    )
    pairs = found if isinstance(found, list) else [found]
    return max(float(np.abs(t - n).max(initial=0)) for t, n in pairs)


def _listed(value: Any) -> list[Any]:
    if value is None:
        return []
    return list(value) if isinstance(value, (list, tuple)) else [value]


class TestCase(unittest.TestCase):
    """A unittest case with a fresh default graph for every test, and comparisons of arrays."""

    def setUp(self) -> None:
        """Start from an empty default graph."""
        reset_default_graph()

    def get_temp_dir(self) -> str:
        """A directory of this test's own."""
        return get_temp_dir()

    @contextmanager
    def test_session(
        self, graph: Graph | None = None, config: Any = None, **_: Any
    ) -> Iterator[Session]:
        """A session that is the default one inside."""
        with Session(graph=graph, config=config) as session:
            yield session

    session = cached_session = test_session

    def evaluate(self, tensors: Any) -> Any:
        """The values of tensors in the default session."""
        return get_default_session().run(tensors)

    def assertAllClose(
        self, a: Any, b: Any, rtol: float = 1e-6, atol: float = 1e-6, msg: str | None = None
    ) -> None:
        """Fail unless two arrays (or structures of them) are alike to the tolerances."""
        if isinstance(a, dict):
            self.assertEqual(set(a), set(b), msg)
            for k in a:
                self.assertAllClose(a[k], b[k], rtol, atol, msg)
            return
        np.testing.assert_allclose(a, b, rtol=rtol, atol=atol, err_msg=msg or "")

    def assertAllEqual(self, a: Any, b: Any, msg: str | None = None) -> None:
        """Fail unless two arrays are equal."""
        np.testing.assert_array_equal(a, b, err_msg=msg or "")

    def assertShapeEqual(self, array: Any, tensor: Tensor, msg: str | None = None) -> None:
        """Fail unless an array has the static shape of a tensor."""
        self.assertEqual(list(np.shape(array)), tensor.get_shape().as_list(), msg)

    def assertNear(self, a: float, b: float, err: float, msg: str | None = None) -> None:
        """Fail unless two numbers are within `err`."""
        self.assertTrue(abs(a - b) <= err, msg or f"{a} and {b} are not within {err}")


def main(argv: Any = None) -> None:
    """Run the tests of the calling module."""
    unittest.main(argv=argv)


def get_temp_dir() -> str:
    """A directory for what tests write."""
    return os.environ.get("TEST_TMPDIR") or tempfile.mkdtemp(prefix="headrace-test-")


def is_built_with_cuda() -> bool:
    """Whether JAX was installed with CUDA: see the extra `headrace[cuda]`."""
    from importlib.util import find_spec

    return any(find_spec(f"jax_cuda{n}_plugin") is not None for n in (12, 13))


def is_gpu_available(cuda_only: bool = False, min_cuda_compute_capability: Any = None) -> bool:
    """Whether XLA sees a GPU."""
    from headrace.runtime.xla import gpu_available

    return gpu_available()


def gpu_device_name() -> str:
    """`/device:GPU:0` if there is a GPU, else the empty string."""
    return "/device:GPU:0" if is_gpu_available() else ""
