"""Checkpoints as they are, without a graph; and variables that start from one."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from headrace import bundle
from headrace.dtypes import DType
from headrace.graph import device, get_default_graph
from headrace.ops import io
from headrace.train.checkpoint_state import latest_checkpoint
from headrace.train.saveable import by_name, saveables
from headrace.variable_scope import _store
from headrace.variables import Variable


class CheckpointReader:
    """The tensors of a checkpoint, by name."""

    def __init__(self, filepattern: Any):
        self._reader = bundle.open_checkpoint(os.fspath(filepattern))

    def has_tensor(self, tensor_str: str) -> bool:
        """Whether there is a tensor of that name."""
        return tensor_str in self._reader.shapes

    def get_tensor(self, tensor_str: str) -> Any:
        """The value of a tensor: an array, or bytes for a scalar string. NotFoundError if none."""
        value = self._reader.read(tensor_str)
        return value.item() if value.dtype == object and not value.ndim else value

    def get_variable_to_shape_map(self) -> dict[str, list[int]]:
        """The shapes of the tensors, by name."""
        return {name: list(shape) for name, shape in self._reader.shapes.items()}

    def get_variable_to_dtype_map(self) -> dict[str, DType]:
        """The types of the tensors, by name."""
        return dict(self._reader.dtypes)

    def debug_string(self) -> bytes:
        """A line for each tensor: name, type, shape."""
        lines = []
        for name in self._reader.names():
            sizes = ",".join(map(str, self._reader.shapes[name]))
            lines.append(f"{name} ({_enum_name(self._reader.dtypes[name])}) [{sizes}]\n")
        return "".join(lines).encode()


def _enum_name(dtype: DType) -> str:
    name = {"float32": "float", "float64": "double", "float16": "half"}.get(dtype.name, dtype.name)
    return f"DT_{name.upper()}"


def NewCheckpointReader(filepattern: Any) -> CheckpointReader:
    """A reader of the checkpoint of that name. NotFoundError if there is none."""
    return CheckpointReader(filepattern)


def load_checkpoint(ckpt_dir_or_file: Any) -> CheckpointReader:
    """A reader of a checkpoint, or of the latest one of a directory. ValueError if it has none."""
    path = _checkpoint_of(ckpt_dir_or_file)
    if path is None:
        raise ValueError(
            "Couldn't find 'checkpoint' file or checkpoints in given directory "
            f"{os.fspath(ckpt_dir_or_file)}"
        )
    return CheckpointReader(path)


def load_variable(ckpt_dir_or_file: Any, name: str) -> Any:
    """The value that a checkpoint has for a variable; its name may end in `:0`."""
    return load_checkpoint(ckpt_dir_or_file).get_tensor(name.removesuffix(":0"))


def list_variables(ckpt_dir_or_file: Any) -> list[tuple[str, list[int]]]:
    """The names and shapes of the tensors in a checkpoint, in order of names."""
    return sorted(load_checkpoint(ckpt_dir_or_file).get_variable_to_shape_map().items())


def _checkpoint_of(path: Any) -> str | None:
    path = os.fspath(path)
    return latest_checkpoint(path) if os.path.isdir(path) else path


# -- waiting ---------------------------------------------------------------------------------------


def checkpoints_iterator(
    checkpoint_dir: Any,
    min_interval_secs: float = 0,
    timeout: float | None = None,
    timeout_fn: Callable[[], Any] | None = None,
) -> Iterator[str]:
    """The latest checkpoint of a directory, and then each newer one when it is there.

    It stops when there was none for `timeout` seconds; if there is a `timeout_fn` it stops when
    this says so.
    """
    path: str | None = None
    while True:
        found = _wait_for_other(checkpoint_dir, path, timeout)
        if found is not None:
            start = time.time()
            path = found
            yield path
            time.sleep(max(0.0, start + min_interval_secs - time.time()))
        elif timeout_fn is None:
            return
        if timeout_fn is not None and timeout_fn():
            return


def _wait_for_other(directory: Any, known: str | None, timeout: float | None) -> str | None:
    stop = None if timeout is None else time.time() + timeout
    pause = 1.0 if timeout is None else max(0.01, min(1.0, timeout))
    while True:
        path = latest_checkpoint(directory)
        if path is not None and path != known:
            return path
        if stop is not None and time.time() + pause > stop:
            return None
        time.sleep(pause)


# -- starting from a checkpoint --------------------------------------------------------------------


def init_from_checkpoint(ckpt_dir_or_file: Any, assignment_map: Any) -> None:
    """Let variables start from the values that a checkpoint has, when their initializer is run.

    `assignment_map` is a dict, or pairs: from a tensor's name in the checkpoint to a variable, its
    name or its parts; or from a scope in the checkpoint ("a/", "/" for all) to a scope ("b/", "/"
    for all). ValueError if a tensor is not in the checkpoint, or of another shape.
    """
    path = _checkpoint_of(ckpt_dir_or_file)
    reader = load_checkpoint(ckpt_dir_or_file)
    known = reader.get_variable_to_shape_map()
    pairs = assignment_map.items() if isinstance(assignment_map, Mapping) else assignment_map
    for source, target in sorted(pairs, key=lambda pair: pair[0]):
        found = _variable(target)
        if found is not None:
            _start_from(found, path, source, ckpt_dir_or_file, known)
            continue
        scope = target.rpartition("/")[0]
        if not source.endswith("/"):
            raise ValueError(
                f"Assignment map with scope only name {scope} should map to scope only {source}. "
                "Should be 'scope/': 'other_scope/'."
            )
        for name in _names_in(scope):
            rest = name[len(scope) :] if target == "/" else name[len(scope) :].removeprefix("/")
            tensor = (rest if source == "/" else source + rest).rstrip("/")
            if tensor not in known:
                raise ValueError(
                    f"Tensor {tensor} ({name[len(scope) + 1 :]} in {source}) is not found in "
                    f"{ckpt_dir_or_file} checkpoint"
                )
            _start_from(_variable(name), path, tensor, ckpt_dir_or_file, known)


def _kept() -> dict[str, Any]:
    """The variables that `get_variable` has made, by name."""
    return _store(get_default_graph()).variables


def _variable(target: Any) -> Any:
    """A variable, or the parts of one in a list; None if `target` is the name of none."""
    if isinstance(target, Variable):
        return target
    if isinstance(target, (list, tuple)) and all(isinstance(v, Variable) for v in target):
        return list(target)
    kept = _kept()
    if target in kept:
        return kept[target]
    parts = []
    while f"{target}/part_{len(parts)}" in kept:
        parts.append(kept[f"{target}/part_{len(parts)}"])
    return parts or None


def _names_in(scope: str) -> list[str]:
    names = (name for name in _kept() if not scope or name.startswith(f"{scope}/"))
    return sorted({name.partition("/part_")[0] for name in names})


def _start_from(
    variable: Any, path: Any, tensor: str, checkpoint: Any, known: dict[str, list[int]]
) -> None:
    if tensor not in known:
        raise ValueError(f"Tensor {tensor} is not found in {checkpoint} checkpoint {known}")
    if isinstance(variable, Variable):
        if not variable.shape.is_compatible_with(known[tensor]):
            raise ValueError(
                f"Shape of variable {variable.name} ({variable.shape}) doesn't match with shape of "
                f"tensor {tensor} ({known[tensor]}) from checkpoint reader."
            )
        _set_initializer(variable, path, tensor, "")
        return
    wholes = {part._save_slice_info.full_name for part in variable}
    if len(wholes) > 1:
        raise ValueError(f"Slices must all be from the same tensor: {', '.join(sorted(wholes))}")
    for part in variable:
        _set_initializer(part, path, tensor, part._save_slice_info.spec)


def _set_initializer(variable: Any, path: Any, tensor: str, spec: str) -> None:
    with device(variable.device), device("/cpu:0"):
        (value,) = io.restore_v2(
            path, [tensor], [spec], [variable.dtype.base_dtype], name="checkpoint_initializer"
        )
        (saveable,) = saveables(by_name([variable]))
    variable._initializer = saveable.restore([value], None)
    value.set_shape(variable.shape)
    variable._initial_value = value
