"""The steps of optimizers as operations: one formula each, from which four op types are made.

A formula takes the variable and its slots, then scalars and the gradient, and gives the new
variable and slots. From it come `Apply*` and `SparseApply*` for refs, and `ResourceApply*` and
`ResourceSparseApply*` for handles. The sparse ones run the same formula on the rows named by
`indices`, in which equal indices count once, with the sum of their gradients.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from headrace import dtypes, shapes
from headrace.errors import InvalidArgumentError
from headrace.opdef import NOT_DIFFERENTIABLE, OpDef, Spec, op
from headrace.ops.operands import agree, check_indices, is_known
from headrace.ops.state import variable_shape_of
from headrace.shapes import Shape, brackets

_GRADIENTS = ("grad", "delta")
_TYPES = {"indices": "Tindices", "global_step": "int64"}


class Rule:
    """An update rule: its operands' names and its op types, by kind of variable and gradient."""

    def __init__(self, name: str, states: Sequence[str], operands: Sequence[str], formula: Any):
        self.name = name
        self.states = tuple(states)
        self.operands = tuple(operands)
        self.formula = formula
        self.ops: dict[tuple[bool, bool], OpDef] = {}  # (resource, sparse)

    def __call__(
        self, states: Sequence[Any], operands: dict[str, Any], indices: Any = None, **attrs: Any
    ) -> Any:
        """Add a step of this rule for Variables `states`; the updated variable or the operation.

        `operands` has a tensor for each of the rule's operands; `indices` are the rows of a sparse
        gradient.
        """
        resource = not states[0].dtype._is_ref_dtype
        args: list[Any] = [s.handle if resource else s for s in states]
        for name in self.operands:
            args.append(operands[name])
            if name in _GRADIENTS and indices is not None:
                args.append(indices)
        return self.ops[resource, indices is not None](*args, **attrs)


def rule(name: str, operands: str, sparse: bool = True) -> Callable[[Callable[..., Any]], Rule]:
    """Define a rule by its formula `(xp, *states, *operands, **attributes) -> states`.

    `operands` lists the names: the variable and its slots, a bar, scalars and the gradient.
    Without `sparse` there are no op types for rows.
    """
    states, _, rest = operands.partition("|")

    def define(formula: Callable[..., Any]) -> Rule:
        made = Rule(name, states.split(), rest.split(), formula)
        made.ops = {
            (resource, by_row): _make(made, resource, by_row)
            for resource in (False, True)
            for by_row in ((False, True) if sparse else (False,))
        }
        return made

    return define


def _make(r: Rule, resource: bool, sparse: bool) -> OpDef:
    kind, out = ("resource", "") if resource else ("Ref(T)", "out: Ref(T)")
    names = [*r.operands]
    at = next(i for i, n in enumerate(names) if n in _GRADIENTS)
    if sparse:
        names[at] = "grad"
        names.insert(at + 1, "indices")
    declared = [f"{n}: {kind}" for n in r.states]
    declared += [f"{n}: {_TYPES.get(n, 'T')}" for n in names]
    count = len(r.states)
    at += count
    formula = r.formula

    def dense(xp: Any, *args: Any, use_locking: bool = False, **attrs: Any) -> Any:
        if np.shape(args[0]) != np.shape(args[at]):
            raise _mismatch(r.states[0], names[at - count], args[0], args[at])
        return formula(xp, *args, **attrs)

    def rows(xp: Any, *args: Any, use_locking: bool = False, **attrs: Any) -> Any:
        states, g, ids = args[:count], args[at], args[at + 1]
        if ids.ndim != 1 or g.shape != ids.shape + states[0].shape[1:]:
            raise InvalidArgumentError(
                None, None,
                f"indices must be [n] and grad [n, *a row of var], got {brackets(ids.shape)} and "
                f"{brackets(g.shape)} for var {brackets(states[0].shape)}",
            )  # fmt: skip
        n = states[0].shape[0]
        check_indices(xp, ids, n)
        if not ids.size:
            return states
        ids, g = sum_equal_rows(xp, ids, g, n)
        taken = [xp.take(s, ids, axis=0, mode="clip") for s in states]
        new = formula(xp, *taken, *args[count:at], g, *args[at + 2 :], **attrs)
        return tuple(xp.at_set(s, ids, x) for s, x in zip(states, new, strict=True))

    options: dict[str, Any] = {"T": dtypes.DIFFERENTIABLE, "writes": tuple(range(count))}
    if sparse:
        options["Tindices"] = dtypes.INDICES
    made = op(
        f"{'Resource' * resource}{'Sparse' * sparse}Apply{r.name}",
        f"{', '.join(declared)} -> {out}",
        **options,
    )(_with_attributes(rows if sparse else dense, formula))
    made.gradient = NOT_DIFFERENTIABLE

    @made.def_infer
    def _(*specs: Spec, **_: Any) -> Any:
        shape: Shape = variable_shape_of(specs[0])
        for s in specs[1:count]:
            shape = agree(shape, variable_shape_of(s))
        for i, s in enumerate(specs[count:], count):
            if i == at and not sparse:
                shape = agree(shape, s.shape)
            elif not at <= i <= at + sparse:
                shapes.with_rank(s.shape, 0)
        return [] if resource else shape

    return made


def _with_attributes(kernel: Callable[..., Any], formula: Callable[..., Any]) -> Any:
    """The kernel with the formula's own keyword arguments in its signature, where `op` looks."""
    own = [p for p in inspect.signature(formula).parameters.values() if p.kind is p.KEYWORD_ONLY]
    first, *most = inspect.signature(kernel).parameters.values()
    kept = [p for p in most if p.kind is not p.VAR_KEYWORD]
    kernel.__signature__ = inspect.Signature([first, *kept, *own])  # type: ignore[attr-defined]
    return kernel


def _mismatch(name: str, other: str, a: Any, b: Any) -> InvalidArgumentError:
    return InvalidArgumentError(
        None, None,
        f"{name} and {other} do not have the same shape{brackets(np.shape(a))} "
        f"{brackets(np.shape(b))}",
    )  # fmt: skip


def sum_equal_rows(xp: Any, ids: Any, g: Any, n: int) -> tuple[Any, Any]:
    """Distinct ids [k] and the sums of their rows of g [k, ...]; ids [m] are in [0, n).

    Traced ids do not tell k: then it is m, and what is left over has the id n, which updates drop.
    """
    if isinstance(ids, np.ndarray):
        distinct, group = np.unique(ids, return_inverse=True)
        return distinct, xp.at_add(xp.zeros((len(distinct), *g.shape[1:]), g.dtype), group, g)
    order = xp.argsort(ids, stable=True)
    ordered = ids[order]
    first = xp.concatenate([xp.ones(1, bool), ordered[1:] != ordered[:-1]])
    group = xp.cumsum(first) - 1
    distinct = xp.at_set(xp.full(ids.shape, n, ids.dtype), group, ordered)
    return distinct, xp.at_add(xp.zeros(g.shape, g.dtype), group, xp.asarray(g)[order])


# -- the formulas ----------------------------------------------------------------------------------


@rule("GradientDescent", "var | alpha delta", sparse=False)
def gradient_descent(xp: Any, w: Any, lr: Any, g: Any) -> Any:
    """A step against the gradient."""
    return (w - lr * g,)


@rule("Momentum", "var accum | lr grad momentum")
def momentum(
    xp: Any, w: Any, a: Any, lr: Any, g: Any, mu: Any, *, use_nesterov: bool = False
) -> Any:
    """Momentum (Polyak 1964), or Nesterov's as by Sutskever et al. 2013."""
    a = mu * a + g
    return w - (lr * g + lr * mu * a if use_nesterov else lr * a), a


@rule("Adagrad", "var accum | lr grad")
def adagrad(xp: Any, w: Any, a: Any, lr: Any, g: Any, *, update_slots: bool = True) -> Any:
    """Adagrad (Duchi et al. 2011)."""
    a = a + g * g if update_slots else a
    return w - lr * g / xp.sqrt(a), a


@rule("Adadelta", "var accum accum_update | lr rho epsilon grad")
def adadelta(xp: Any, w: Any, a: Any, u: Any, lr: Any, rho: Any, epsilon: Any, g: Any) -> Any:
    """Adadelta (Zeiler 2012)."""
    a = rho * a + (1 - rho) * (g * g)
    step = xp.sqrt(u + epsilon) / xp.sqrt(a + epsilon) * g
    return w - lr * step, a, rho * u + (1 - rho) * (step * step)


@rule("RMSProp", "var ms mom | lr rho momentum epsilon grad")
def rms_prop(
    xp: Any, w: Any, ms: Any, mom: Any, lr: Any, rho: Any, mu: Any, epsilon: Any, g: Any
) -> Any:
    """RMSProp (Tieleman and Hinton 2012) with momentum."""
    ms = ms + (g * g - ms) * (1 - rho)
    mom = mu * mom + lr * g / xp.sqrt(ms + epsilon)
    return w - mom, ms, mom


@rule("CenteredRMSProp", "var mg ms mom | lr rho momentum epsilon grad")
def centered_rms_prop(
    xp: Any, w: Any, mg: Any, ms: Any, mom: Any, lr: Any, rho: Any, mu: Any, epsilon: Any, g: Any
) -> Any:
    """RMSProp by an estimate of the variance of the gradient (Graves 2013)."""
    ms = ms + (g * g - ms) * (1 - rho)
    mg = mg + (g - mg) * (1 - rho)
    mom = mu * mom + lr * g / xp.sqrt(ms - mg * mg + epsilon)
    return w - mom, mg, ms, mom


@rule("Adam", "var m v | beta1_power beta2_power lr beta1 beta2 epsilon grad", sparse=False)
def adam(
    xp: Any, w: Any, m: Any, v: Any, b1_power: Any, b2_power: Any, lr: Any, b1: Any, b2: Any,
    epsilon: Any, g: Any, *, use_nesterov: bool = False,
) -> Any:  # fmt: skip
    """Adam (Kingma and Ba 2015), with the bias corrections in the rate; or Nadam (Dozat 2016)."""
    rate = lr * xp.sqrt(1 - b2_power) / (1 - b1_power)
    m = m + (g - m) * (1 - b1)
    v = v + (g * g - v) * (1 - b2)
    ahead = g * (1 - b1) + b1 * m if use_nesterov else m
    return w - ahead * rate / (xp.sqrt(v) + epsilon), m, v


def _is_minus_half(power: Any) -> bool:
    return is_known(power) and bool(power == -0.5)


def _ftrl(
    xp: Any, w: Any, a: Any, z: Any, g: Any, lr: Any, l1: Any, l2: Any, shrinkage: Any, power: Any
) -> Any:
    def root(x: Any) -> Any:
        return xp.sqrt(x) if _is_minus_half(power) else x**-power

    new = a + g * g
    z = z + g - (root(new) - root(a)) / lr * w
    if shrinkage is not None:
        z = z + 2 * shrinkage * w
    w = (xp.maximum(xp.minimum(z, l1), -l1) - z) / (root(new) / lr + 2 * l2)
    return w, new, z


@rule("Ftrl", "var accum linear | grad lr l1 l2 lr_power")
def ftrl(xp: Any, w: Any, a: Any, z: Any, g: Any, lr: Any, l1: Any, l2: Any, power: Any) -> Any:
    """FTRL-Proximal (McMahan et al. 2013)."""
    return _ftrl(xp, w, a, z, g, lr, l1, l2, None, power)


@rule("FtrlV2", "var accum linear | grad lr l1 l2 l2_shrinkage lr_power")
def ftrl_v2(
    xp: Any, w: Any, a: Any, z: Any, g: Any, lr: Any, l1: Any, l2: Any, shrinkage: Any, power: Any
) -> Any:
    """FTRL-Proximal with a second L2 penalty that shrinks weights and not accumulators."""
    return _ftrl(xp, w, a, z, g, lr, l1, l2, shrinkage, power)


def _proximal(xp: Any, w: Any, rate: Any, l1: Any, l2: Any) -> Any:
    return xp.sign(w) * xp.maximum(xp.abs(w) - rate * l1, 0) / (1 + rate * l2)


@rule("ProximalGradientDescent", "var | alpha l1 l2 delta")
def proximal_gradient_descent(xp: Any, w: Any, lr: Any, l1: Any, l2: Any, g: Any) -> Any:
    """Forward-backward splitting (Duchi and Singer 2009)."""
    return (_proximal(xp, w - lr * g, lr, l1, l2),)


@rule("ProximalAdagrad", "var accum | lr l1 l2 grad")
def proximal_adagrad(xp: Any, w: Any, a: Any, lr: Any, l1: Any, l2: Any, g: Any) -> Any:
    """Adagrad with forward-backward splitting (Duchi and Singer 2009)."""
    a = a + g * g
    rate = lr / xp.sqrt(a)
    return _proximal(xp, w - rate * g, rate, l1, l2), a


@rule(
    "AdagradDA",
    "var gradient_accumulator gradient_squared_accumulator | grad lr l1 l2 global_step",
)
def adagrad_da(xp: Any, w: Any, a: Any, s: Any, g: Any, lr: Any, l1: Any, l2: Any, t: Any) -> Any:
    """Adagrad by dual averaging (Duchi et al. 2011); `t` counts the steps."""
    a, s = a + g, s + g * g
    t = t.astype(w.dtype)
    shrunk = xp.sign(a) * xp.maximum(xp.abs(a) - l1 * t, 0)
    return -lr * shrunk / (l2 * t * lr + xp.sqrt(s)), a, s
