"""Optimizers that live outside of the graph: SciPy's.

They see a function of one vector: all variables flattened and laid end to end, float64. Calling it
is one run of the session, with the variables fed; they change only when the optimizer is done.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import accumulate, pairwise
from typing import Any

import numpy as np

from headrace import logging
from headrace.conversion import convert_to_tensor
from headrace.gradients import UnconnectedGradients, gradients
from headrace.node import Tensor, get_default_session
from headrace.ops import array
from headrace.ops.cast import cast
from headrace.ops.constant import placeholder
from headrace.variables import trainable_variables

Function = Callable[[np.ndarray], Any]


class ExternalOptimizerInterface:
    """Minimises a loss by an algorithm that a subclass brings as `_minimize`.

    `loss` is a scalar. `var_list`: the variables to change, all trainable ones if it is None.
    `equalities` are tensors to be held at 0, `inequalities` at 0 or above. `var_to_bounds` maps
    variables to (lower, upper): numbers or arrays that broadcast to the variable's shape.
    `optimizer_kwargs` go to the algorithm.

    ValueError if there is nothing to change, if a variable's shape is not known, or if the loss has
    more than one element.
    """

    def __init__(
        self,
        loss: Any,
        var_list: Any = None,
        equalities: Sequence[Any] | None = None,
        inequalities: Sequence[Any] | None = None,
        var_to_bounds: dict[Any, tuple[Any, Any]] | None = None,
        **optimizer_kwargs: Any,
    ):
        self._loss = convert_to_tensor(loss)
        self._vars = list(trainable_variables() if var_list is None else var_list)
        self._check()
        self._shapes = [tuple(v.shape.as_list()) for v in self._vars]
        ends = list(accumulate(map(math.prod, self._shapes), initial=0))
        self._slices = [slice(*pair) for pair in pairwise(ends)]
        dtypes = {v.dtype.base_dtype for v in self._vars}
        self._dtype = dtypes.pop().as_numpy_dtype if len(dtypes) == 1 else np.float64
        self._packed_bounds = self._pack_bounds(var_to_bounds)
        self.optimizer_kwargs = optimizer_kwargs
        self._loss_and_slope = [self._loss, self._slope(self._loss)]
        self._equalities, self._inequalities = (
            [(e, self._slope(e)) for e in map(convert_to_tensor, given or ())]
            for given in (equalities, inequalities)
        )
        self._update_placeholders = [placeholder(v.dtype.base_dtype, v.shape) for v in self._vars]
        self._var_updates = [
            v.assign(p).op for v, p in zip(self._vars, self._update_placeholders, strict=True)
        ]

    def minimize(
        self,
        session: Any = None,
        feed_dict: dict[Any, Any] | None = None,
        fetches: Sequence[Any] | None = None,
        step_callback: Callable[..., Any] | None = None,
        loss_callback: Callable[..., Any] | None = None,
        **run_kwargs: Any,
    ) -> None:
        """Minimise, and give the variables the values found; if it fails they keep theirs.

        `feed_dict` is fed at every evaluation. After each one `loss_callback` is called with the
        values of `fetches`; after each iteration `step_callback` with the vector of variables.
        `run_kwargs` go to the run of the session that sets the variables.

        ValueError if neither a session is given nor one is default.
        """
        session = session or get_default_session()
        if session is None:
            raise ValueError(
                f"{type(self).__name__}.minimize needs a session: pass session=, or open one by "
                "`with tf.Session():`."
            )
        feeds = feed_dict or {}

        def function(tensors: Sequence[Any], callback: Callable[..., Any] | None = None) -> Any:
            return self._function(session, feeds, tensors, fetches or (), callback)

        found = self._minimize(
            initial_val=self._pack(session.run(self._vars)),
            loss_grad_func=function(self._loss_and_slope, loss_callback or _nothing),
            equality_funcs=[function([e]) for e, _ in self._equalities],
            equality_grad_funcs=[function([slope]) for _, slope in self._equalities],
            inequality_funcs=[function([e]) for e, _ in self._inequalities],
            inequality_grad_funcs=[function([slope]) for _, slope in self._inequalities],
            packed_bounds=self._packed_bounds,
            step_callback=step_callback or _nothing,
            optimizer_kwargs=self.optimizer_kwargs,
        )
        values = dict(zip(self._update_placeholders, self._parts(found), strict=True))
        session.run(self._var_updates, values, **run_kwargs)

    def _minimize(
        self,
        initial_val: np.ndarray,
        loss_grad_func: Function,
        equality_funcs: list[Function],
        equality_grad_funcs: list[Function],
        inequality_funcs: list[Function],
        inequality_grad_funcs: list[Function],
        packed_bounds: list[tuple[float, float]] | None,
        step_callback: Callable[..., Any],
        optimizer_kwargs: dict[str, Any],
    ) -> np.ndarray:
        """The vector that minimises; for subclasses to write.

        Functions take a vector. `loss_grad_func` gives [loss, gradient], those of constraints a
        list of one array.
        """
        raise NotImplementedError(
            "To use ExternalOptimizerInterface, subclass from it and implement the _minimize() "
            "method."
        )

    def _check(self) -> None:
        if not self._vars:
            raise ValueError("No variables to optimize.")
        for v in self._vars:
            if not v.shape.is_fully_defined():
                raise ValueError(
                    f"{v.name!r} has shape {v.shape}: to be optimized, its shape must be known "
                    "when the graph is built."
                )
        if self._loss.shape.num_elements() not in (1, None):
            raise ValueError(
                f"The loss must be a scalar; {self._loss.name!r} has shape {self._loss.shape}. Use "
                "tf.reduce_mean or tf.reduce_sum."
            )

    def _slope(self, tensor: Tensor) -> Tensor:
        """The gradient of a tensor's sum [all elements of the variables]."""
        parts = gradients(tensor, self._vars, unconnected_gradients=UnconnectedGradients.ZERO)
        flat = [array.reshape(convert_to_tensor(g), [-1]) for g in parts]
        return array.concat([cast(t, self._dtype) for t in flat], 0)

    def _pack_bounds(self, bounds: dict[Any, tuple[Any, Any]] | None) -> Any:
        if bounds is None:
            return None
        pairs = []
        for v, shape in zip(self._vars, self._shapes, strict=True):
            lower, upper = bounds.get(v, (-np.inf, np.inf))
            pairs += zip(*(np.broadcast_to(b, shape).ravel() for b in (lower, upper)), strict=True)
        return pairs

    def _pack(self, values: Sequence[np.ndarray]) -> np.ndarray:
        return np.concatenate([np.ravel(v) for v in values])

    def _parts(self, vector: np.ndarray) -> list[np.ndarray]:
        """The values of the variables in a vector."""
        vector = np.asarray(vector, self._dtype)  # all at once if they are of one type
        return [vector[s].reshape(d) for s, d in zip(self._slices, self._shapes, strict=True)]

    def _function(
        self,
        session: Any,
        feeds: dict[Any, Any],
        tensors: Sequence[Any],
        fetches: Sequence[Any],
        callback: Callable[..., Any] | None,
    ) -> Function:
        """A function of the vector: the values of tensors, the callback having had the fetches."""
        keys = [v.op.outputs[0] for v in self._vars]  # refs, and handles of resources
        wanted = [*tensors, *(() if callback is None else fetches)]

        def function(x: np.ndarray) -> Any:
            values = session.run(wanted, dict(zip(keys, self._parts(x), strict=True)) | feeds)
            if callback is not None:
                callback(*values[len(tensors) :])
            return values[: len(tensors)]

        return function


class ScipyOptimizerInterface(ExternalOptimizerInterface):
    """Minimises a loss by `scipy.optimize.minimize`.

    `method` is "L-BFGS-B" if not given ("SLSQP" and "trust-constr" take constraints). `options`
    (`maxiter`, `maxfun`, `maxcor`, `ftol`, `gtol`, ...) and `tol` go to SciPy.

    ValueError for options that are set here: `jac`, `callback`, `constraints` and `bounds`, which
    `var_to_bounds` gives.
    """

    _DEFAULT_METHOD = "L-BFGS-B"

    def _minimize(
        self,
        initial_val: np.ndarray,
        loss_grad_func: Function,
        equality_funcs: list[Function],
        equality_grad_funcs: list[Function],
        inequality_funcs: list[Function],
        inequality_grad_funcs: list[Function],
        packed_bounds: list[tuple[float, float]] | None,
        step_callback: Callable[..., Any],
        optimizer_kwargs: dict[str, Any],
    ) -> np.ndarray:
        from scipy.optimize import minimize
        from threadpoolctl import threadpool_limits

        def loss_and_gradient(x: np.ndarray) -> tuple[float, np.ndarray]:
            loss, gradient = loss_grad_func(x)
            return float(np.squeeze(loss)), gradient.astype(np.float64)

        constraints = [
            {"type": kind, "fun": function, "jac": slope}
            for kind, functions, slopes in (
                ("eq", equality_funcs, equality_grad_funcs),
                ("ineq", inequality_funcs, inequality_grad_funcs),
            )
            for function, slope in zip(functions, slopes, strict=True)
        ]
        ours: dict[str, Any] = {
            "jac": True,
            "callback": step_callback,
            "constraints": constraints,
            "bounds": packed_bounds,
        }
        if "bounds" in optimizer_kwargs:
            raise ValueError("Bounds must be set using the var_to_bounds argument")
        for key in ours.keys() & optimizer_kwargs.keys():
            raise ValueError(
                f"Optimizer keyword arg {key!r} is set automatically and cannot be injected "
                "manually"
            )
        options = {"method": self._DEFAULT_METHOD, **ours, **optimizer_kwargs}
        # SciPy's products are tiny, and their threads would wait for work on the cores XLA needs.
        with threadpool_limits(1, "blas"):
            result = minimize(loss_and_gradient, initial_val, **options)
        _report(result)
        return result.x


def _report(result: Any) -> None:
    lines = [
        "Optimization terminated with:",
        f"  Message: {result.message}",
        f"  Objective function value: {result.fun:f}",
    ]
    for key, name in (("nit", "iterations"), ("nfev", "functions evaluations")):
        if key in result:  # not every method counts both
            lines.append(f"  Number of {name}: {result[key]}")
    logging.info("%s", "\n".join(lines))


def _nothing(*_: Any) -> None:
    pass
