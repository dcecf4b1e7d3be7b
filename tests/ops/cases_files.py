"""Cases of files: what they read is written first, below a folder of the process's own."""

import tempfile
from pathlib import Path

import numpy as np

from tests.ops.case import Case

WHY = "strings have no gradient"
_keep = tempfile.TemporaryDirectory()  # till the process ends
FOLDER = Path(_keep.name)
for _name in ("b.txt", "a.txt", "[x].txt", "c.dat"):
    (FOLDER / _name).write_bytes(b"of " + _name.encode() + b"\n\x00")


def text(value):
    return np.array(str(value).encode(), object)


def paths(*names):
    return np.array([str(FOLDER / n).encode() for n in names], object)


def c(*args, oracle):
    return Case(args, {}, oracle, gradient=(), why=WHY)


def then_holds(path, contents):
    def oracle(*_):
        assert path.read_bytes() == contents
        return ()

    return oracle


CASES = {
    "MatchingFiles": [
        c(text(FOLDER / "*.txt"), oracle=lambda p: paths("[x].txt", "a.txt", "b.txt")),
        c(text(FOLDER / r"\[x\]*"), oracle=lambda p: paths("[x].txt")),
        c(paths("*.dat", "[ab].txt"), oracle=lambda p: paths("a.txt", "b.txt", "c.dat")),
        c(paths("nothing*"), oracle=lambda p: np.zeros(0, object)),
    ],
    "ReadFile": [
        c(text(FOLDER / "a.txt"), oracle=lambda p: np.array(b"of a.txt\n\x00", object)),
    ],
    "WriteFile": [
        c(
            text(FOLDER / "new" / "w"),
            np.array(b"\x00written", object),
            oracle=then_holds(FOLDER / "new" / "w", b"\x00written"),
        ),
    ],
}
