"""Cases of variables' ops: reads, writes, scatters, and the steps of optimizers."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import ml_dtypes
import numpy as np

from headrace import dtypes
from tests.ops.case import Case

F, H, B, D = np.float32, np.float16, ml_dtypes.bfloat16, np.float64
STATE = "writes a variable"


def case(*args: Any, oracle: Any = None, **attrs: Any) -> Case:
    return Case(args, attrs, oracle, (), STATE)


V = np.array([[1, 2], [3, 4], [5, 6.5]], F)
N = np.array([[7, -2], [3, 4], [-5, 6]], np.int32)
Z = np.zeros((0, 2), F)

CASES: dict[str, list[Case]] = {
    "ReadVariableOp": [Case((V,)), Case((np.array([b"a"], object),)), Case((np.array(True),))],
    "VariableShape": [
        case(V, oracle=lambda v: np.array([3, 2], np.int32), out_type=dtypes.int32),
        case(F(3), oracle=lambda v: np.zeros(0, np.int64), out_type=dtypes.int64),
    ],
    "IsVariableInitialized": [
        case(V, oracle=lambda v: np.array(True)), case(None, oracle=lambda v: np.array(False)),
    ],
    "InitializedValue": [
        case(V, V + 1, oracle=lambda v, i: v), case(None, V + 1, oracle=lambda v, i: i),
    ],
    "CountUpTo": [
        case(np.int32(4), oracle=lambda v: (np.int32(5), np.int32(4)), limit=5),
        case(np.int64(-3), oracle=lambda v: (np.int64(-2), np.int64(-3)), limit=1),
    ],
    "Assign": [
        case(V, V * 2, oracle=lambda v, x: x),
        case(V, V[:2], oracle=lambda v, x: x, validate_shape=False),
        case(Z, Z, oracle=lambda v, x: x),
        case(np.array([b"a"], object), np.array([b"b"], object), oracle=lambda v, x: x),
    ],
    "AssignVariableOp": [case(V, V * 2, oracle=lambda v, x: x), case(N, -N, oracle=lambda v, x: x)],
}  # fmt: skip
CASES["VarIsInitializedOp"] = CASES["IsVariableInitialized"]
CASES["ResourceInitializedValue"] = CASES["InitializedValue"]
CASES["ResourceCountUpTo"] = CASES["CountUpTo"]

for _name, _sign in (("Add", 1), ("Sub", -1)):
    CASES[f"Assign{_name}"] = CASES[f"Assign{_name}VariableOp"] = [
        case(v, x, oracle=(lambda v, x: v + x) if _sign > 0 else lambda v, x: v - x)
        for v, x in (
            (V, V * V), (N, N), (Z, Z), (D(2), D(0.5)), (V.astype(H), V.astype(H)),
            (V.astype(B), V.astype(B)), (V + 1j * V, V * 1j), (np.uint8(250), np.uint8(5)),
        )
    ]  # fmt: skip


# -- scatters --------------------------------------------------------------------------------------


def _truncated(a: Any, b: Any) -> Any:
    return a / b if isinstance(a, float) else math.trunc(a / b)


_MEET: dict[str, Callable[[Any, Any], Any]] = {
    "Update": lambda a, b: b,
    "Add": lambda a, b: a + b,
    "Sub": lambda a, b: a - b,
    "Mul": lambda a, b: a * b,
    "Div": _truncated,
    "Min": min,
    "Max": max,
}


def by_rows(kind: str) -> Callable[..., Any]:
    """Row after row, element after element."""

    def oracle(v: Any, indices: Any, updates: Any) -> Any:
        out = v.astype(object)
        updates = np.broadcast_to(updates, indices.shape + v.shape[1:])
        for at in np.ndindex(indices.shape):
            for rest in np.ndindex(v.shape[1:]):
                i = (int(indices[at]), *rest)
                out[i] = _MEET[kind](v.dtype.type(out[i]).item(), updates[at + rest].item())
        return out.astype(v.dtype)

    return oracle


def by_places(kind: str) -> Callable[..., Any]:
    """Slice after slice, element after element."""

    def oracle(v: Any, indices: Any, updates: Any) -> Any:
        out = v.astype(object)
        for at in np.ndindex(indices.shape[:-1]):
            place = tuple(indices[at].tolist())
            for rest in np.ndindex(v.shape[len(place) :]):
                i = place + rest
                out[i] = _MEET[kind](v.dtype.type(out[i]).item(), updates[at + rest].item())
        return out.astype(v.dtype)

    return oracle


ROWS = np.array([2, 0, 2], np.int32)
UPDATES = np.array([[2, 4], [-2, 8], [0.5, 1]], F)

for _kind in _MEET:
    _rows = ROWS if _kind != "Update" else np.array([2, 0, 1], np.int32)  # one of two would win
    CASES[f"Scatter{_kind}"] = CASES[f"ResourceScatter{_kind}"] = [
        case(v, i, u, oracle=by_rows(_kind))
        for v, i, u in (
            (V, _rows, UPDATES),
            (V.astype(D), _rows.astype(np.int64), UPDATES.astype(D)),
            (V.astype(H), _rows[:2], UPDATES[:2].astype(H)),
            (N, _rows, np.array([[3, 2], [-4, 3], [5, -1]], np.int32)),
            (V, np.int32(1), UPDATES[0]),
            (V, _rows, F(2)),
            (V, _rows[None, :2], UPDATES[None, :2]),
            (V[:, 0], _rows, UPDATES[:, 0]),
            (V, np.zeros(0, np.int32), np.zeros((0, 2), F)),
        )
    ]

for _kind in ("Update", "Add", "Sub"):
    CASES[f"ScatterNd{_kind}"] = CASES[f"ResourceScatterNd{_kind}"] = [
        case(v, i, u, oracle=by_places(_kind))
        for v, i, u in (
            (V, np.array([[2], [0]], np.int32), UPDATES[:2]),
            (V, np.array([[2, 1], [0, 0], [1, 1]], np.int64), UPDATES[:, 0]),
            (V, np.array([[[2, 1]], [[0, 0]]], np.int32), UPDATES[:2, :1]),
            (N, np.array([[1, 0]], np.int32), np.array([9], np.int32)),
            (V, np.zeros((0, 2), np.int32), np.zeros(0, F)),
        )
    ]
CASES["ScatterNdAdd"].append(
    case(V, np.array([[1], [1]], np.int32), UPDATES[:2], oracle=by_places("Add"))
)

CASES["ResourceGather"] = [
    Case((v, i), oracle=lambda v, i: np.array([v[j] for j in i.ravel()]).reshape(
        i.shape + v.shape[1:]
    ))
    for v, i in (
        (V.astype(D), ROWS), (V, np.array([[1, 1], [0, 2]], np.int64)), (N, ROWS),
        (V[:, 0], np.int32(1)), (V, np.zeros(0, np.int32)),
    )
]  # fmt: skip


# -- steps of optimizers ---------------------------------------------------------------------------
# The formulas as the papers and TensorFlow's documentation write them, number by number.


def _gd(w, lr, g):
    return (w - lr * g,)


def _momentum(w, a, lr, g, mu):
    a = a * mu + g
    return w - a * lr, a


def _nesterov(w, a, lr, g, mu):
    a = a * mu + g
    return w - (g + a * mu) * lr, a


def _adagrad(w, a, lr, g):
    a += g**2
    return w - g * lr * a**-0.5, a


def _adagrad_kept(w, a, lr, g):
    return w - g * lr * a**-0.5, a


def _adadelta(w, a, u, lr, rho, eps, g):
    a = a * rho + g**2 * (1 - rho)
    step = math.sqrt((u + eps) / (a + eps)) * g
    return w - step * lr, a, u * rho + step**2 * (1 - rho)


def _rms(w, ms, mom, lr, rho, mu, eps, g):
    ms = rho * ms + (1 - rho) * g**2
    mom = mu * mom + lr * g / math.sqrt(ms + eps)
    return w - mom, ms, mom


def _rms_centered(w, mg, ms, mom, lr, rho, mu, eps, g):
    ms = rho * ms + (1 - rho) * g**2
    mg = rho * mg + (1 - rho) * g
    mom = mu * mom + lr * g / math.sqrt(ms - mg**2 + eps)
    return w - mom, mg, ms, mom


def _adam(w, m, v, p1, p2, lr, b1, b2, eps, g):
    m, v = b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * g**2
    return w - lr * math.sqrt(1 - p2) / (1 - p1) * m / (math.sqrt(v) + eps), m, v


def _nadam(w, m, v, p1, p2, lr, b1, b2, eps, g):
    m, v = b1 * m + (1 - b1) * g, b2 * v + (1 - b2) * g**2
    rate = lr * math.sqrt(1 - p2) / (1 - p1)
    return w - rate * (b1 * m + (1 - b1) * g) / (math.sqrt(v) + eps), m, v


def _ftrl_v2(w, a, z, g, lr, l1, l2, shrink, power):
    new = a + g**2
    z += g + 2 * shrink * w - (new**-power - a**-power) / lr * w
    quadratic = new**-power / lr + 2 * l2
    w = (math.copysign(l1, z) - z) / quadratic if abs(z) > l1 else 0.0
    return w, new, z


def _ftrl(w, a, z, g, lr, l1, l2, power):
    return _ftrl_v2(w, a, z, g, lr, l1, l2, 0.0, power)


def _shrunk(w, rate, l1, l2):
    return math.copysign(max(abs(w) - rate * l1, 0.0), w) / (1 + rate * l2)


def _proximal(w, lr, l1, l2, g):
    return (_shrunk(w - lr * g, lr, l1, l2),)


def _proximal_adagrad(w, a, lr, l1, l2, g):
    a += g**2
    rate = lr / math.sqrt(a)
    return _shrunk(w - rate * g, rate, l1, l2), a


def _adagrad_da(w, a, s, g, lr, l1, l2, t):
    a, s = a + g, s + g**2
    return -lr * _shrunk(a, t, l1, 0.0) / (l2 * t * lr + math.sqrt(s)), a, s


def dense(formula: Callable[..., Any], states: int) -> Callable[..., Any]:
    def oracle(*args: Any) -> Any:
        shape = args[0].shape
        new = [np.empty(shape) for _ in range(states)]
        for i in np.ndindex(shape):
            values = [float(x[i]) if x.shape else float(x) for x in args]
            for out, value in zip(new, formula(*values), strict=True):
                out[i] = value
        return tuple(x.astype(args[0].dtype) for x in new)

    return oracle


def sparse(formula: Callable[..., Any], states: int, at: int) -> Callable[..., Any]:
    """Rows by `indices`, which is behind the gradient (argument `at`); equal ones summed first."""

    def oracle(*args: Any) -> Any:
        g, indices = args[at].astype(D), args[at + 1]
        scalars = [float(x) for x in args[states:at]], [float(x) for x in args[at + 2 :]]
        new = [x.astype(D) for x in args[:states]]
        for row in sorted(set(indices.tolist())):
            same = [g[k] for k in range(len(indices)) if indices[k] == row]
            total = np.sum(same, axis=0)
            for j in np.ndindex(new[0].shape[1:]):
                i = (row, *j)
                before = [float(x[i]) for x in args[:states]]
                after = formula(*before, *scalars[0], float(total[j]), *scalars[1])
                for x, value in zip(new, after, strict=True):
                    x[i] = value
        return tuple(x.astype(args[0].dtype) for x in new)

    return oracle


W = np.array([[1, -2], [0.5, 0.25], [-0.75, 3]], D)
G = np.array([[0.5, -1], [2, 0.125], [-0.25, 0.75]], D)
S = np.array([[0.25, 0.5], [1, 0.75], [0.5, 0.125]], D)
Q = np.array([[2, 3], [4, 2.5], [3.5, 2]], D)
U = np.array([[0.5, 0.125], [0.25, 1], [0.375, 0.5]], D)
INDICES = np.array([2, 0, 2], np.int32)

# op -> (formula, variable and slots, operands with "g" for the gradient, attributes)
_STEPS: dict[str, list[tuple[Any, list[Any], list[Any], dict[str, Any]]]] = {
    "GradientDescent": [(_gd, [W], [0.125, "g"], {})],
    "Momentum": [
        (_momentum, [W, S], [0.125, "g", 0.5], {}),
        (_nesterov, [W, S], [0.125, "g", 0.75], {"use_nesterov": True}),
    ],
    "Adagrad": [
        (_adagrad, [W, S], [0.125, "g"], {}),
        (_adagrad_kept, [W, S], [0.125, "g"], {"update_slots": False}),
    ],
    "Adadelta": [(_adadelta, [W, S, U], [0.5, 0.75, 0.125, "g"], {})],
    "RMSProp": [(_rms, [W, S, U], [0.125, 0.75, 0.5, 0.0625, "g"], {})],
    "CenteredRMSProp": [(_rms_centered, [W, S, Q, U], [0.125, 0.75, 0.5, 0.0625, "g"], {})],
    "Adam": [
        (_adam, [W, S, U], [0.5, 0.75, 0.125, 0.5, 0.75, 0.0625, "g"], {}),
        (_nadam, [W, S, U], [0.5, 0.75, 0.125, 0.5, 0.75, 0.0625, "g"], {"use_nesterov": True}),
    ],
    "Ftrl": [
        (_ftrl, [W, S, U], ["g", 0.125, 0.5, 0.25, -0.5], {}),
        (_ftrl, [W, S, U], ["g", 0.125, 20.0, 0.25, -0.75], {}),
    ],
    "FtrlV2": [(_ftrl_v2, [W, S, U], ["g", 0.125, 0.5, 0.25, 0.125, -0.5], {})],
    "ProximalGradientDescent": [(_proximal, [W], [0.5, 1.0, 0.25, "g"], {})],
    "ProximalAdagrad": [(_proximal_adagrad, [W, S], [0.5, 1.0, 0.25, "g"], {})],
    "AdagradDA": [(_adagrad_da, [W, S, U], ["g", 0.125, 0.25, 0.5, np.int64(2)], {})],
}


def _step_cases(steps: Any, by_row: bool) -> list[Case]:
    made = []
    for formula, states, operands, attrs in steps:
        n, place = len(states), operands.index("g")
        for dtype in (F, D, B) if formula is _momentum else (D, F):
            given: list[Any] = [x.astype(dtype) for x in states]
            for x in operands:
                if isinstance(x, str):
                    given += [G.astype(dtype), INDICES] if by_row else [G.astype(dtype)]
                else:
                    given.append(x if isinstance(x, np.integer) else dtype(x))
            oracle = sparse(formula, n, n + place) if by_row else dense(formula, n)
            made.append(case(*given, oracle=oracle, **attrs))
    if by_row:  # no rows, and no rows that are equal
        formula, states, operands, attrs = steps[0]
        n, place = len(states), operands.index("g")
        for rows in ([], [1, 0]):
            given = [*states]
            for x in operands:
                if isinstance(x, str):
                    given += [G[: len(rows)], np.array(rows, np.int64)]
                else:
                    given.append(x if isinstance(x, np.integer) else D(x))
            made.append(case(*given, oracle=sparse(formula, n, n + place), **attrs))
    return made


for _name, _steps in _STEPS.items():
    for _kind in ("", "Resource"):
        CASES[f"{_kind}Apply{_name}"] = _step_cases(_steps, False)
        if _name not in ("GradientDescent", "Adam"):
            CASES[f"{_kind}SparseApply{_name}"] = _step_cases(_steps, True)
