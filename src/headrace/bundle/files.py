"""The names of a checkpoint's files, and how they come to be there: whole, or not at all.

A file is written under a temporary name, synced, and renamed. A new checkpoint of a name that is in
use already must replace two files, data and index, and a kill may come between. So the data first
lies under other names too: at every moment the index that is there fits the data that is there.
"""

from __future__ import annotations

import ctypes
import errno
import glob
import os
import re
import secrets
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import cache
from typing import Any

from headrace import errors


def index_name(prefix: str) -> str:
    """The file that stands for the checkpoint."""
    return f"{prefix}.index"


def data_name(prefix: str, shard: int, shards: int) -> str:
    """A file of values."""
    return f"{prefix}.data-{shard:05d}-of-{shards:05d}"


def temporary_name(path: str) -> str:
    """A name for a file that is not complete yet."""
    return f"{path}.tempstate{secrets.randbits(64)}"


_ERRORS: dict[int, type[errors.OpError]] = {
    errno.ENOENT: errors.NotFoundError,
    errno.EEXIST: errors.AlreadyExistsError,
    errno.EACCES: errors.PermissionDeniedError,
    errno.EPERM: errors.PermissionDeniedError,
    errno.EROFS: errors.PermissionDeniedError,
    errno.ENOSPC: errors.ResourceExhaustedError,
    errno.EDQUOT: errors.ResourceExhaustedError,
    errno.EFBIG: errors.ResourceExhaustedError,
    errno.EMFILE: errors.ResourceExhaustedError,
    errno.ENOTDIR: errors.FailedPreconditionError,
    errno.EISDIR: errors.FailedPreconditionError,
}


class os_errors:  # noqa: N801  (it reads as a function; a generator would take thrice the time)
    """What the system refuses inside, as an error of `tf.errors` that names the file."""

    __slots__ = ("_path",)

    def __init__(self, path: str):
        self._path = path

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if isinstance(error, OSError):
            fitting = _ERRORS.get(error.errno or 0, errors.UnknownError)
            raise fitting(
                None, None, f"{error.filename or self._path}; {error.strerror}"
            ) from error


def write_whole(path: str, data: bytes) -> None:
    """Write a file that is there with all of `data`, or as it was."""
    temporary = temporary_name(path)
    try:
        with open(temporary, "xb") as file:
            file.write(data)
            sync(file)
        os.replace(temporary, path)
    except BaseException:
        remove(temporary)
        raise


def sync(file: Any) -> None:
    """Wait until what was written to an open file is on the disk."""
    file.flush()
    os.fsync(file.fileno())


@cache
def _sync_file_range() -> Any:
    """The call of Linux of that name; None elsewhere."""
    try:
        found = ctypes.CDLL(None).sync_file_range
    except (OSError, AttributeError, TypeError):
        return None
    found.argtypes = (ctypes.c_int, ctypes.c_int64, ctypes.c_int64, ctypes.c_uint)
    return found


def start_sync(file: Any, offset: int, size: int) -> None:
    """Let the disk begin with a part of an open file, so that `sync` has less to wait for."""
    call = _sync_file_range()
    if call is not None:
        call(file.fileno(), offset, size, 2)  # SYNC_FILE_RANGE_WRITE; what fails, `sync` will say


def sync_directory(path: str) -> None:
    """Wait until the renames in the directory of `path` are on the disk."""
    with suppress(OSError):  # not all systems can
        handle = os.open(os.path.dirname(path) or ".", os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


def remove(path: str) -> None:
    """Remove a file if it is there."""
    with suppress(OSError):
        os.unlink(path)


def install(prefix: str, data: Sequence[str], index: Callable[[int], bytes]) -> None:
    """Make synced data files the checkpoint `prefix`. `index(n)` is its index for n shards.

    If it fails what was there before is still there, and `data` is not.
    """
    fresh = not os.path.exists(index_name(prefix))
    usual, shards = [data_name(prefix, i, len(data)) for i in range(len(data))], len(data)
    first = usual
    if not fresh:
        shards = next(n for n in (99999, 99998) if not os.path.exists(data_name(prefix, 0, n)))
        first = [data_name(prefix, i, shards) for i in range(len(data))]
    try:
        for path, name in zip(data, first, strict=True):
            os.replace(path, name)
        write_whole(index_name(prefix), index(shards))
    except BaseException:
        for path in (*data, *first):
            remove(path)
        raise
    kept = first if fresh else _rename(prefix, first, usual, index)
    for path in set(data_files(prefix, unfinished=True)) - set(kept):
        remove(path)
    sync_directory(prefix)


def _rename(
    prefix: str, names: Sequence[str], usual: Sequence[str], index: Callable[[int], bytes]
) -> Sequence[str]:
    """Give a checkpoint's data files their usual names. Returns the names that they have then."""
    try:
        for name, final in zip(names, usual, strict=True):
            temporary = temporary_name(final)
            os.link(name, temporary)
            os.replace(temporary, final)
        write_whole(index_name(prefix), index(len(usual)))
    except OSError:  # no links here, or no space: it is a checkpoint under these names as well
        return names
    return usual


def data_files(prefix: str, unfinished: bool = False) -> list[str]:
    """The files of values that are there; with those that a kill left under temporary names."""
    tail = r"(\.tempstate\d+)?" if unfinished else ""
    name = re.compile(rf"{re.escape(prefix)}\.data-\d{{5,}}-of-\d{{5,}}{tail}")
    return [path for path in glob.glob(f"{glob.escape(prefix)}.data-*") if name.fullmatch(path)]
