"""`headrace checkpoint`: what is in a checkpoint, and how two of them differ."""

from __future__ import annotations

import argparse
import difflib
import math
import os
import re
import warnings
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np

from headrace import bundle, errors, shapes
from headrace.dtypes import DType
from headrace.train.checkpoint_state import checkpoint_exists, latest_checkpoint

_DESCRIPTION = """\
List the variables of a checkpoint with their types, shapes and sizes; or compare two.

A checkpoint is named as tf.train.Saver named it (runs/digits/model-2700), by one of its files, or
by a folder, of which the latest one is taken. TensorFlow's are read as well, of either format."""

_EPILOG = """\
Of values that differ it shows how many, and the greatest |a - b| and |a - b| / max(|a|, |b|).
NaN is equal to NaN; these are nan where only one side is. The exit status of a comparison is 0 if
all values are equal, 1 if something differs, 2 if there was trouble."""

_FILE_OF_CHECKPOINT = re.compile(r"\.(index|meta|data-\d{5}-of-\d{5})$")
_CHUNK = 1 << 20  # elements compared at a time: what that takes is small beside the tensors


def add_to(commands: Any) -> None:
    """Add the subcommand to the parser's."""
    parser = commands.add_parser(
        "checkpoint",
        help="list the variables of a checkpoint, or compare two",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("a", metavar="CHECKPOINT", help="a checkpoint, or a folder of some")
    parser.add_argument("b", metavar="OTHER", nargs="?", help="one to compare it with")
    parser.add_argument(
        "--values", metavar="NAME", action="append", default=[],
        help="print the value of this variable instead (may be repeated)",
    )  # fmt: skip
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Do what the command line asks for; the exit status. Errors of `tf.errors`."""
    if options.b is None:
        with _open(options.a) as reader:
            _print_values(reader, options.values) if options.values else _list(reader)
        return 0
    if options.values:
        raise errors.InvalidArgumentError(
            None, None, "--values prints variables of one checkpoint: leave the other out."
        )
    with _open(options.a) as a, _open(options.b) as b:
        return 0 if _compare(a, b) else 1


# -- finding it ------------------------------------------------------------------------------------


def _open(path: str) -> bundle.Reader:
    return bundle.open_checkpoint(_found(path))


def _found(path: str) -> str:
    """The checkpoint that a user means by a path. NotFoundError, which says what there is."""
    if os.path.isdir(path):
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            try:
                latest = latest_checkpoint(path)
            except ValueError as error:
                raise _not_found(f"{error}.", path, "") from None
        if latest is not None:
            return latest
        why = [str(w.message) for w in caught] or [f"{path} has no file `checkpoint`"]
        raise _not_found(f"{why[0]}, which would say which one is the latest.", path, "")
    for name in (path, _FILE_OF_CHECKPOINT.sub("", path)):
        if os.path.exists(f"{name}.index"):
            return name
    if not checkpoint_exists(path):
        directory, name = os.path.split(path)
        raise _not_found(f"There is no checkpoint {path}.", directory or ".", name)
    return path


def _not_found(why: str, directory: str, name: str) -> errors.NotFoundError:
    try:
        files = os.listdir(directory)
    except OSError as error:
        return errors.NotFoundError(None, None, f"{why} {directory}: {error.strerror}.")
    there = sorted(f.removesuffix(".index") for f in files if f.endswith(".index"))
    near = difflib.get_close_matches(name, there, 5, 0.4) or there[-5:]
    return errors.NotFoundError(
        None,
        None,
        f"{why} {directory} has {', '.join(near)}{' and others' * (len(there) > len(near))}."
        if there
        else f"{why} There is none in {directory}.",
    )


# -- one -------------------------------------------------------------------------------------------


def _list(reader: bundle.Reader) -> None:
    rows, total, elements = [], 0, 0
    for name in reader.names():
        size = _bytes(reader, name)
        rows.append((name, *_kind(reader, name), _human(size)))
        total += size
        elements += math.prod(reader.shapes[name])
    print(f"{reader.prefix}\n")
    _print_table([("name", "type", "shape", "size"), *rows])
    print(f"\n{_count(len(rows), 'variable')}, {_count(elements, 'element')}, {_human(total)}")


def _bytes(reader: bundle.Reader, name: str) -> int:
    """What the values of a variable take."""
    if reader.dtypes[name].kind == "S":
        return sum(map(len, reader.read(name).ravel()))
    return math.prod(reader.shapes[name]) * reader.dtypes[name].size


def _print_values(reader: bundle.Reader, names: Sequence[str]) -> None:
    values = [(name, reader.read(name)) for name in names]  # all are there, or nothing is printed
    for name, value in values:
        print(name, *_kind(reader, name))
        print(value)


# -- two -------------------------------------------------------------------------------------------


class _Difference(NamedTuple):
    """How two arrays of one shape and type differ; the greatest differences, if they are numbers.

    They are NaN if there is a NaN in only one of the arrays.
    """

    elements: int
    absolute: float | int | None
    relative: float | None


def _compare(a: bundle.Reader, b: bundle.Reader) -> bool:
    """Print how two checkpoints differ; whether they are equal."""
    print(f"A: {a.prefix}\nB: {b.prefix}\n")
    alone = [(one, other, letter) for one, other, letter in ((a, b, "A"), (b, a, "B"))]
    for one, other, letter in alone:
        _section(
            f"only in {letter}",
            [(n, *_kind(one, n)) for n in one.names() if n not in other.shapes],
        )
    both = [name for name in a.names() if name in b.shapes]
    same = [name for name in both if _kind(a, name) == _kind(b, name)]
    clashes = sorted(set(both) - set(same))
    _section(
        "shape or type differs",
        [(n, *_kind(a, n), "in A,", *_kind(b, n), "in B") for n in clashes],
    )
    differences = [(n, d) for n, d in ((n, _difference(a.read(n), b.read(n))) for n in same) if d]
    heading = ("name", "type", "shape", "elements", "difference", "relative")
    rows = [(n, *_kind(a, n), *_shown(d, a.shapes[n])) for n, d in differences]
    _section("values differ", [heading, *rows] if rows else [])
    equal, every = len(same) - len(differences), len({*a.shapes, *b.shapes})
    if equal == every:
        print(f"All values are equal: {_count(every, 'variable')}.")
        return True
    print(f"{every - equal:,} of {_count(every, 'variable')} differ; equal: {equal:,}.")
    return False


def _difference(a: np.ndarray, b: np.ndarray) -> _Difference | None:
    """How two arrays of one shape and type differ; None if they are equal."""
    elements = 0
    greatest: list[list[Any]] = []  # of each chunk
    for x, y in zip(_chunks(a), _chunks(b), strict=True):
        differs = x != y
        if x.dtype.kind in "fcV":  # V: bfloat16 and its like
            differs &= ~(np.isnan(x) & np.isnan(y))
        if not differs.any():
            continue
        elements += int(differs.sum())
        if x.dtype.kind not in "Ob":
            greatest.append([d.max() for d in _distances(x[differs], y[differs])])
    if not elements:
        return None
    if not greatest:
        return _Difference(elements, None, None)
    absolute, relative = (np.max(column).item() for column in zip(*greatest, strict=True))
    return _Difference(elements, absolute, relative)


def _chunks(array: np.ndarray) -> Iterator[np.ndarray]:
    flat = array.reshape(-1)
    return (flat[i : i + _CHUNK] for i in range(0, flat.size, _CHUNK))


def _distances(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """|a - b|, exact for integers, and |a - b| / max(|a|, |b|), of numbers that are not equal."""
    wide: Any = np.complex128 if a.dtype.kind == "c" else np.float64
    x, y = a.astype(wide), b.astype(wide)
    with np.errstate(all="ignore"):
        if a.dtype.kind in "iu":  # uint64 wraps around, and so comes out right
            absolute: Any = np.maximum(a, b).astype(np.uint64) - np.minimum(a, b).astype(np.uint64)
        else:
            absolute = np.abs(x - y)
        relative = absolute / np.maximum(np.abs(x), np.abs(y))
    return absolute, np.where(np.isinf(absolute), np.inf, relative)


def _shown(difference: _Difference, shape: tuple[int, ...]) -> tuple[str, str, str]:
    elements = f"{difference.elements:,} of {math.prod(shape):,}"
    if difference.absolute is None or difference.relative is None:
        return elements, "–", "–"
    whole = isinstance(difference.absolute, int)
    absolute = str(difference.absolute) if whole else f"{difference.absolute:.3g}"
    return elements, absolute, f"{difference.relative:.3g}"


# -- words -----------------------------------------------------------------------------------------


def _kind(reader: bundle.Reader, name: str) -> tuple[str, str]:
    dtype: DType = reader.dtypes[name]
    return dtype.name, shapes.brackets(reader.shapes[name])


def _human(size: int) -> str:
    """Bytes in the unit that fits: 12 B, 1.5 KiB, 1.0 GiB."""
    if size < 1024:
        return f"{size} B"
    power = min((size.bit_length() - 1) // 10, 5)
    power += power < 5 and round(size / 1024**power, 1) >= 1024
    return f"{size / 1024**power:.1f} {'KMGTP'[power - 1]}iB"


def _count(n: int, word: str) -> str:
    return f"{n:,} {word}{'' if n == 1 else 's'}"


def _section(title: str, rows: Sequence[Sequence[str]]) -> None:
    if rows:
        print(f"{title}:")
        _print_table(rows, "  ")
        print()


def _print_table(rows: Sequence[Sequence[str]], indent: str = "") -> None:
    """Columns of one width each; the last one ends where it ends."""
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        line = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        print(f"{indent}{line}".rstrip())
