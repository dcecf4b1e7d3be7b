"""Cases of control, printing, assertions and Python functions."""

from __future__ import annotations

import ml_dtypes
import numpy as np

from headrace import dtypes
from headrace.ops.py import NumpyOp
from tests.ops.case import Case

X = np.array([[0.25, -1.5], [3.0, 0.5]])
TEXT = np.array(b"abc", object)
NO = "a Python function of its own has no gradient"
INFINITE = "differences of infinities say nothing"


def first(x, *_):
    return x


def nothing(*_):
    return ()


def text(value):
    return lambda *_: np.array(value.encode(), object)


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def sigmoid_backward(x, dy):
    return sigmoid(x) * (1 - sigmoid(x)) * dy


def dense(x, w):
    return x.dot(w)


def dense_backward(x, w, dz):
    return dz.dot(w.T), x.T.dot(dz)


def scale(x, n):
    return x * n


def scale_backward(x, n, dy):
    return n * dy, None


SIGMOID = NumpyOp(sigmoid, sigmoid_backward, "sigmoid", lambda x: x)
DENSE = NumpyOp(dense, dense_backward, "dense")
SCALE = NumpyOp(scale, scale_backward, "scale", lambda x, n: x)
W = np.array([[1.0, -2.0, 0.5], [0.25, 4.0, -1.0]])
DZ = np.array([[1.0, 2.0, -1.0], [0.5, -0.25, 3.0]])
F64 = dtypes.float64


def python(function, *types):
    return {"token": "pyfunc_0", "Tout": types, "_py_function": function}


def numpy_node(node, **more):
    return {"_py_node": node, **more}


PYTHON_CASES = [
    Case(([X],), python(lambda x: x + 1, F64), lambda xs: xs[0] + 1, (), NO),
    Case(
        ([X, np.array(2)],), python(lambda x, n: (x * n, n), F64, dtypes.int64),
        lambda xs: (xs[0] * 2, 2), (), NO,
    ),
    Case(([TEXT],), python(lambda s: s.upper(), dtypes.string), text("ABC"), (), NO),
    Case(([],), python(lambda: np.float64(3), F64), lambda xs: 3.0, (), NO),
    Case(([X],), python(lambda x: None), nothing, (), NO),
]  # fmt: skip

CASES = {
    "NoOp": [Case(oracle=nothing)],
    "XlaOptimizationBarrier": [
        Case(([X, np.array([1, 2]), np.array(True), np.zeros((0, 2))],), oracle=lambda xs: (*xs,)),
        Case(([np.array([-0.0, np.inf])],), oracle=lambda xs: (*xs,), gradient=(), why=INFINITE),
        Case(([np.array([0j, 1 - 2j])],), oracle=lambda xs: (*xs,)),
    ],
    "Print": [
        Case((X, [X, np.array([1, 2])]), {"message": "", "first_n": 0}, first),
        Case((np.array([1, 2]), [TEXT]), {"first_n": 0}, first),
    ],
    "StringFormat": [
        Case(([X, np.array(3)],), {"template": "x: %s n: %s!"},
             text("x: [[0.25 -1.5]\n [3 0.5]] n: 3!")),
        Case(([],), {"template": "nothing"}, text("nothing")),
        Case(([np.arange(8)],), {"template": "{}", "placeholder": "{}"},
             text("[0 1 2 ... 5 6 7]")),
        Case(([np.arange(8)],), {"template": "%s", "summarize": -1}, text("[0 1 2 3 4 5 6 7]")),
        Case(([np.array([b"a", b"b"], object)],), {"template": "%s"}, text('["a" "b"]')),
    ],
    "PrintV2": [Case((np.array(b"", object),), {"end": ""}, nothing)],
    "Assert": [
        Case((np.array(True), [X, TEXT]), {}, nothing),
        Case((np.array(True), [X]), {}, nothing),
    ],
    "CheckNumerics": [
        Case((X.astype(np.float32),), {"message": "m"}, first),
        Case((X,), {"message": "m"}, first),
        Case((X.astype(np.float16),), {"message": "m"}, first),
        Case((X.astype(ml_dtypes.bfloat16),), {"message": "m"}, first),
        Case((np.zeros((0, 2)),), {"message": "m"}, first),
    ],
    "PyFunc": PYTHON_CASES,
    "PyFuncStateless": PYTHON_CASES,
    "EagerPyFunc": [
        Case(([X],), python(lambda x: x.numpy().sum(), F64), lambda xs: xs[0].sum(), (), NO),
        Case(([np.array(2.0)],), python(lambda x: 3 if type(x.numpy()) is np.float64 else 0, F64),
             lambda xs: 3.0, (), NO),
    ],
    "NumpyOp": [
        Case(([X],), numpy_node(SIGMOID, Tout=F64), lambda xs: 1 / (1 + np.exp(-xs[0]))),
        Case(([X.astype(np.float32)],), numpy_node(SIGMOID, Tout=dtypes.float32),
             lambda xs: 1 / (1 + np.exp(-xs[0].astype(F64.numpy)))),
        Case(([X, W],), numpy_node(DENSE, Tout=F64), lambda xs: np.einsum("ij,jk->ik", *xs)),
        Case(([X, np.array(3)],), numpy_node(SCALE, Tout=F64), lambda xs: xs[0] * 3),
    ],
    "NumpyOpGrad": [
        Case(([X, W], DZ), numpy_node(DENSE, Tout=(F64, F64), places=(0, 1)),
             lambda xs, dz: (np.einsum("ik,jk->ij", dz, W), np.einsum("ij,ik->jk", X, dz)),
             (), "a backward_pass has no gradient"),
        Case(([X, np.array(3)], X), numpy_node(SCALE, Tout=(F64,), places=(0,)),
             lambda xs, dy: 3 * dy, (), "a backward_pass has no gradient"),
    ],
}  # fmt: skip
