"""The file `checkpoint`: which checkpoints a directory has, and which is the latest."""

from __future__ import annotations

import glob
import os
import re
import warnings
from collections.abc import Iterable, Sequence
from typing import Any

from headrace.bundle import files
from headrace.bundle.protos import message

V1, V2 = 1, 2  # SaverDef.CheckpointFormatVersion


def _state_file(directory: str, latest_filename: str | None) -> str:
    return os.path.join(directory, latest_filename or "checkpoint")


def generate_checkpoint_state_proto(
    save_dir: str,
    model_checkpoint_path: str,
    all_model_checkpoint_paths: Iterable[str] | None = None,
    all_model_checkpoint_timestamps: Sequence[float] | None = None,
    last_preserved_timestamp: float | None = None,
) -> Any:
    """A CheckpointState proto of the paths, oldest first, with relative ones seen from `save_dir`.

    ValueError if there are timestamps, but not one for each path.
    """
    paths = list(all_model_checkpoint_paths or ())
    if not paths or paths[-1] != model_checkpoint_path:
        paths.append(model_checkpoint_path)
    times = list(all_model_checkpoint_timestamps or ())
    if times and len(times) != len(paths):
        raise ValueError(
            f"Checkpoint timestamps, if provided, must match checkpoint paths (got paths {paths} "
            f"and timestamps {times})"
        )

    def seen(path: str) -> str:
        if os.path.isabs(save_dir) or os.path.isabs(path):
            return path
        return os.path.relpath(path, save_dir or ".")

    return message("CheckpointState")(
        model_checkpoint_path=seen(model_checkpoint_path),
        all_model_checkpoint_paths=[seen(p) for p in paths],
        all_model_checkpoint_timestamps=times,
        last_preserved_timestamp=last_preserved_timestamp,
    )


def update_checkpoint_state(
    save_dir: str,
    model_checkpoint_path: str,
    all_model_checkpoint_paths: Iterable[str] | None = None,
    latest_filename: str | None = None,
    all_model_checkpoint_timestamps: Sequence[float] | None = None,
    last_preserved_timestamp: float | None = None,
) -> None:
    """Write the state file: at every moment it is the old one or the new one.

    RuntimeError if a checkpoint has the name of the state file.
    """
    from google.protobuf import text_format

    path = _state_file(save_dir, latest_filename)
    state = generate_checkpoint_state_proto(
        save_dir,
        model_checkpoint_path,
        all_model_checkpoint_paths,
        all_model_checkpoint_timestamps,
        last_preserved_timestamp,
    )
    if path == state.model_checkpoint_path:
        raise RuntimeError(
            f"Save path '{model_checkpoint_path}' conflicts with path used for checkpoint state.  "
            "Please use a different save path."
        )
    with files.os_errors(path):
        files.write_whole(path, text_format.MessageToString(state).encode())
        files.sync_directory(path)


def get_checkpoint_state(checkpoint_dir: Any, latest_filename: str | None = None) -> Any:
    """The CheckpointState proto of a directory, with paths seen from here; None if there is none.

    It has `model_checkpoint_path`, the latest, and `all_model_checkpoint_paths`. What is no state
    file is ignored with a warning; ValueError if it names no latest checkpoint.
    """
    from google.protobuf import text_format

    directory = os.fspath(checkpoint_dir)
    path = _state_file(directory, latest_filename)
    state = message("CheckpointState")()
    try:
        with open(path, "rb") as file:
            text_format.Merge(file.read().decode(), state)
    except FileNotFoundError:
        return None
    except (OSError, UnicodeDecodeError, text_format.ParseError) as error:
        warnings.warn(f"{path}: Checkpoint ignored: {error}", stacklevel=2)
        return None
    if not state.model_checkpoint_path:
        raise ValueError(f"Invalid checkpoint state loaded from {directory}")
    state.model_checkpoint_path = os.path.join(directory, state.model_checkpoint_path)
    for i, other in enumerate(state.all_model_checkpoint_paths):
        state.all_model_checkpoint_paths[i] = os.path.join(directory, other)
    return state


def latest_checkpoint(checkpoint_dir: Any, latest_filename: str | None = None) -> str | None:
    """The prefix of the latest checkpoint of a directory; None if there is none."""
    state = get_checkpoint_state(checkpoint_dir, latest_filename)
    if state is None:
        return None
    if not checkpoint_exists(state.model_checkpoint_path):
        warnings.warn(
            f"Couldn't match files for checkpoint {state.model_checkpoint_path}", stacklevel=2
        )
        return None
    return state.model_checkpoint_path


def checkpoint_exists(checkpoint_prefix: Any) -> bool:
    """Whether there is a checkpoint of that name, of either format (of the first, or a pattern)."""
    return bool(_file_of(os.fspath(checkpoint_prefix)))


def get_checkpoint_mtimes(checkpoint_prefixes: Iterable[Any]) -> list[float]:
    """When the checkpoints were written, in seconds since 1970; those that are missing are left
    out."""
    found = (_file_of(os.fspath(p)) for p in checkpoint_prefixes)
    return [os.path.getmtime(path) for path in found if path]


def _file_of(prefix: str) -> str | None:
    """The file that stands for a checkpoint."""
    for path in (files.index_name(prefix), prefix):
        if os.path.isfile(path):
            return path
        matching = [p for p in sorted(glob.glob(path)) if os.path.isfile(p)]
        if matching:
            return matching[0]
    return None


def remove_checkpoint(
    checkpoint_prefix: str, checkpoint_format_version: int = V2, meta_graph_suffix: str = "meta"
) -> None:
    """Delete a checkpoint and its meta graph. What stands for it goes first."""
    if checkpoint_format_version == V2:
        files.remove(files.index_name(checkpoint_prefix))
        for path in files.data_files(checkpoint_prefix, unfinished=True):
            files.remove(path)
    else:
        for path in glob.glob(checkpoint_prefix):
            files.remove(path)
    files.remove(meta_graph_filename(checkpoint_prefix, meta_graph_suffix))


def meta_graph_filename(checkpoint_filename: str, meta_graph_suffix: str = "meta") -> str:
    """The name of the meta graph beside a checkpoint: the same for all its shards."""
    return f"{re.sub(r'-[0-9?]+-of-[0-9]+$', '', checkpoint_filename)}.{meta_graph_suffix}"
