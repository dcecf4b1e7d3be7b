"""Cases of checkpoints as operations, and of strings."""

from __future__ import annotations

import atexit
import shutil
import tempfile

import numpy as np

from headrace import dtypes
from headrace.bundle import BundleWriter
from tests.ops.case import Case

DIRECTORY = tempfile.mkdtemp(prefix="headrace-cases-")
atexit.register(shutil.rmtree, DIRECTORY, ignore_errors=True)
X = np.array([[1.5, -2.0], [0.25, 4.0]], np.float32)
N = np.array(7, np.int64)
WORDS = np.array([b"ab", b"", b"c"], object)

with BundleWriter(f"{DIRECTORY}/there") as _writer:
    _writer.add("n", N)
    _writer.add("x", X)
    _writer.finish()


def text(value):
    return np.array(value.encode(), object)


def texts(*values):
    return np.array([v.encode() for v in values], object)


def nothing(*_):
    return ()


def whole_and_part(*_):
    return X, N, X[:, 1:]


CASES = {
    "SaveV2": [
        Case((text(f"{DIRECTORY}/new"), texts("x", "n", "x2"), texts("", "", "4 2 0,2:-"),
              [X, N, X]), {}, nothing),
        Case((text(f"{DIRECTORY}/words"), texts("words"), texts(""), [WORDS]), {}, nothing),
    ],
    "RestoreV2": [
        Case((text(f"{DIRECTORY}/there"), texts("x", "n", "x"), texts("", "", "2 2 -:1,1")),
             {"dtypes": (dtypes.float32, dtypes.int64, dtypes.float32)}, whole_and_part),
    ],
    "ShardedFilename": [
        Case((text("a/b"), np.array(3, np.int32), np.array(12, np.int32)), {},
             lambda *_: text("a/b-00003-of-00012")),
    ],
    "ShardedFilespec": [
        Case((text("a/b"), np.array(12, np.int32)), {}, lambda *_: text("a/b-?????-of-00012")),
    ],
    "MergeV2Checkpoints": [
        Case((np.array([], object), text(f"{DIRECTORY}/merged")), {}, nothing),
    ],
    "StringJoin": [
        Case(([WORDS, texts("1", "2", "3")],), {}, lambda _: texts("ab1", "2", "c3")),
        Case(([text("x"), WORDS],), {"separator": "/"}, lambda _: texts("x/ab", "x/", "x/c")),
        Case(([text("x"), text("y")],), {}, lambda _: text("xy")),
    ],
    "StaticRegexFullMatch": [
        Case((WORDS,), {"pattern": "[a-c]+"}, lambda _: np.array([True, False, True])),
        Case((text("s3://bucket"),), {"pattern": "^s3://.*"}, lambda _: np.array(True)),
    ],
}  # fmt: skip
