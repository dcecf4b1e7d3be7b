"""`tf.train.Saver`: the variables of a session to and from checkpoint files."""

from __future__ import annotations

import math
import os
import time
import warnings
from collections.abc import Sequence
from typing import Any

from headrace import bundle, errors, protos, shapes
from headrace.graph import control_dependencies, device, name_scope
from headrace.keys import GraphKeys
from headrace.node import Operation, Tensor
from headrace.ops import array, constant, control, gather, io, strings
from headrace.train import meta_graph
from headrace.train.checkpoint_state import (
    V2,
    checkpoint_exists,
    get_checkpoint_mtimes,
    meta_graph_filename,
    remove_checkpoint,
    update_checkpoint_state,
)
from headrace.train.global_step import global_step as value_of_step
from headrace.train.saveable import SaveableObject, all_saveables, by_device, by_name, on_cpu
from headrace.train.saveable import saveables as make_saveables


class Saver:
    """Saves variables to checkpoints, keeps the latest `max_to_keep` of these, and restores.

    `var_list` is a list of variables, or a dict of them by the names that they have in the file; by
    default all global variables. The operations are under the scope `name` ("save"). With
    `reshape` a variable may have another shape in the file; with `sharded` the variables of each
    device go to a file of their own. Of what is old enough to be deleted one checkpoint every
    `keep_checkpoint_every_n_hours` is kept. With `defer_build` the operations are made by `build`.
    ValueError if there are no variables and not `allow_empty`, or equal names; TypeError for what
    is no variable.
    """

    def __init__(
        self,
        var_list: Any = None,
        reshape: bool = False,
        sharded: bool = False,
        max_to_keep: int | None = 5,
        keep_checkpoint_every_n_hours: float = 10000.0,
        name: str | None = None,
        restore_sequentially: bool = False,
        saver_def: Any = None,
        builder: Any = None,
        defer_build: bool = False,
        allow_empty: bool = False,
        write_version: int = V2,
        pad_step_number: bool = False,
        save_relative_paths: bool = False,
        filename: str | None = None,
    ):
        del builder, restore_sequentially  # it always is
        if defer_build and var_list:
            raise ValueError(
                "If `var_list` is provided then build cannot be deferred. Either set "
                "defer_build=False or var_list=None."
            )
        if write_version != V2:
            raise NotImplementedError(
                "headrace reads checkpoints of TensorFlow's first format, but writes only the "
                "second: leave out write_version."
            )
        self._var_list = var_list
        self._reshape = reshape
        self._sharded = sharded
        self._max_to_keep = max_to_keep or 0
        self._keep_every = keep_checkpoint_every_n_hours
        self._name = name
        self._allow_empty = allow_empty
        self._pad_step_number = pad_step_number
        self._save_relative_paths = save_relative_paths
        self._filename = filename
        self._is_built = False
        self._is_empty = False
        self._variables: list[SaveableObject] = []
        self._last_checkpoints: list[tuple[str, float]] = []
        self._to_be_deleted: list[tuple[str, float]] = []
        self._next_checkpoint_time = math.inf
        self.saver_def = saver_def
        if not defer_build:
            self.build()

    # -- the operations ------------------------------------------------------------------------

    def build(self) -> None:
        """Make the operations, unless that has been done."""
        if self._is_built:
            return
        self._is_built = True
        if self.saver_def is not None:
            if self._name:
                self.saver_def = _in_scope(self.saver_def, self._name)
        else:
            variables = all_saveables() if self._var_list is None else self._var_list
            if not variables:
                if not self._allow_empty:
                    raise ValueError("No variables to save")
                self._is_empty = True
                return
            named = variables if isinstance(variables, dict) else by_name(variables)
            self._variables = make_saveables(named)
            self.saver_def = self._make()
        for field in ("save_tensor_name", "restore_op_name"):
            if not getattr(self.saver_def, field):
                raise ValueError(f"saver_def must specify the {field}: {self.saver_def}")
        every = self.saver_def.keep_checkpoint_every_n_hours
        self._next_checkpoint_time = time.time() + every * 3600

    def _make(self) -> Any:
        with name_scope(self._name, "save", [v.op for v in self._variables if v.op is not None]):
            filename = constant.placeholder_with_default(self._filename or "model", (), "filename")
            filename = constant.placeholder_with_default(filename, (), "Const")
            if self._sharded:
                shards = by_device(self._variables)
                saved = _save_shards(filename, shards)
                restored = control.group(
                    *[
                        _on(where, _restore, filename, items, self._reshape, "restore_shard")
                        for where, items in shards
                    ],
                    name="restore_all",
                )
            else:
                saved = _save(filename, self._variables)
                restored = _restore(filename, self._variables, self._reshape, "restore_all")
        return protos.SaverDef(
            filename_tensor_name=filename.name,
            save_tensor_name=saved.name,
            restore_op_name=restored.name,
            max_to_keep=self._max_to_keep,
            sharded=self._sharded,
            keep_checkpoint_every_n_hours=self._keep_every,
            version=V2,
        )

    def as_saver_def(self) -> Any:
        """It as a SaverDef proto."""
        return self.saver_def

    def to_proto(self, export_scope: str | None = None) -> Any:
        """It as a SaverDef proto; None if it is not inside `export_scope`."""
        if export_scope is None:
            return self.saver_def
        made = type(self.saver_def)()
        made.CopyFrom(self.saver_def)
        for field in _NAMES:
            name = getattr(made, field)
            if not name.startswith(f"{export_scope}/"):
                return None
            setattr(made, field, name[len(export_scope) + 1 :])
        return made

    @staticmethod
    def from_proto(saver_def: Any, import_scope: str | None = None) -> Saver:
        """The Saver of a SaverDef proto, whose operations are in the graph already."""
        return Saver(saver_def=saver_def, name=import_scope)

    # -- the files there are -------------------------------------------------------------------

    @property
    def last_checkpoints(self) -> list[str]:
        """The checkpoints that were saved and not deleted, the oldest first."""
        return [path for path, _ in self._last_checkpoints]

    def set_last_checkpoints(self, last_checkpoints: list[str]) -> None:
        """Say which checkpoints there are; these are never deleted."""
        self.set_last_checkpoints_with_time([(path, math.inf) for path in last_checkpoints])

    def set_last_checkpoints_with_time(self, last_checkpoints: list[tuple[str, float]]) -> None:
        """Say which checkpoints there are, and when they were saved, in seconds since 1970."""
        if not isinstance(last_checkpoints, list):
            raise TypeError(f"last_checkpoints is a list, not {last_checkpoints!r}.")
        self._last_checkpoints = list(last_checkpoints)

    def recover_last_checkpoints(self, checkpoint_paths: Sequence[str]) -> None:
        """Say which checkpoints there are after a restart; those that are missing are left out."""
        found = [(path, get_checkpoint_mtimes([path])) for path in checkpoint_paths]
        self.set_last_checkpoints_with_time([(path, times[0]) for path, times in found if times])

    def _record(self, path: str) -> None:
        if not self.saver_def.max_to_keep:
            return
        kept = [row for row in self._last_checkpoints if row[0] != path]
        kept.append((path, time.time()))
        if len(kept) > self.saver_def.max_to_keep:
            self._to_be_deleted.append(kept.pop(0))
        self._last_checkpoints = kept

    def _delete_old(self, meta_graph_suffix: str) -> None:
        if not self._to_be_deleted:
            return
        path, saved = self._to_be_deleted.pop(0)
        if saved > self._next_checkpoint_time:
            self._next_checkpoint_time += self.saver_def.keep_checkpoint_every_n_hours * 3600
            return
        try:
            remove_checkpoint(path, self.saver_def.version, meta_graph_suffix)
        except OSError as error:
            warnings.warn(f"An old checkpoint stays: {error}", stacklevel=3)

    # -- saving --------------------------------------------------------------------------------

    def save(
        self,
        sess: Any,
        save_path: Any,
        global_step: Any = None,
        latest_filename: str | None = None,
        meta_graph_suffix: str = "meta",
        write_meta_graph: bool = True,
        write_state: bool = True,
        strip_default_attrs: bool = False,
        save_debug_info: bool = False,
    ) -> str | None:
        """Save the variables' values in `sess` to `save_path`, or `save_path-step`; returns that.

        `global_step` is a number, or a tensor or variable (or its name) that has one. The state
        file `latest_filename` ("checkpoint") is written last. A kill at any moment leaves the
        checkpoint before as it was. Nothing to save gives None.
        ValueError if the directory does not exist, FailedPreconditionError if a variable has no
        value, ResourceExhaustedError if the disk is full.
        """
        del save_debug_info
        if not self._is_built:
            raise RuntimeError("`build()` should be called before save if defer_build==True")
        latest_filename = latest_filename or "checkpoint"
        if os.path.dirname(latest_filename):
            raise ValueError("'latest_filename' must not contain path components")
        if not (hasattr(sess, "run") and hasattr(sess, "graph")):
            raise TypeError(f"'sess' must be a Session; {sess}")
        save_path = os.fspath(save_path)
        if global_step is not None:
            if not hasattr(global_step, "__index__"):
                global_step = value_of_step(sess, global_step)
            width = 8 if self._pad_step_number else 1
            path = f"{save_path}-{int(global_step):0{width}d}"
        else:
            path = save_path
            if os.path.basename(save_path) == latest_filename and not self._sharded:
                raise ValueError(
                    f"'latest_filename' collides with 'save_path': '{latest_filename}' and "
                    f"'{save_path}'"
                )
        written = None if self._is_empty else self._run_save(sess, save_path, path)
        if written is not None and write_state:
            self._record(written)
            directory = os.path.dirname(save_path)
            update_checkpoint_state(
                directory, *self._as_in_state(directory, written), latest_filename=latest_filename
            )
            self._delete_old(meta_graph_suffix)
        if write_meta_graph:
            with sess.graph.as_default():
                self.export_meta_graph(
                    meta_graph_filename(path, meta_graph_suffix),
                    strip_default_attrs=strip_default_attrs,
                )
        return written

    def _run_save(self, sess: Any, save_path: str, path: str) -> str:
        try:
            feed = {self.saver_def.filename_tensor_name: path}
            return sess.run(self.saver_def.save_tensor_name, feed).decode()
        except (errors.FailedPreconditionError, errors.NotFoundError) as error:
            if not os.path.isdir(os.path.dirname(save_path) or "."):
                raise ValueError(
                    f"Parent directory of {save_path} doesn't exist, can't save."
                ) from error
            raise

    def _as_in_state(self, directory: str, path: str) -> tuple[str, list[str]]:
        paths = [path, *self.last_checkpoints]
        if self._save_relative_paths:
            paths = [os.path.relpath(p, directory) if os.path.isabs(p) else p for p in paths]
        return paths[0], paths[1:]

    def export_meta_graph(
        self,
        filename: str | None = None,
        collection_list: Sequence[str] | None = None,
        as_text: bool = False,
        export_scope: str | None = None,
        clear_devices: bool = False,
        clear_extraneous_savers: bool = False,
        strip_default_attrs: bool = False,
        save_debug_info: bool = False,
    ) -> Any:
        """The default graph with its collections and this saver as a MetaGraphDef; see
        `tf.train.export_meta_graph`."""
        return meta_graph.export_meta_graph(
            filename, None, None, self.saver_def, collection_list, as_text, None, export_scope,
            clear_devices, clear_extraneous_savers, strip_default_attrs, save_debug_info,
        )  # fmt: skip

    # -- restoring -----------------------------------------------------------------------------

    def restore(self, sess: Any, save_path: Any) -> None:
        """Give the variables the values that a checkpoint has for them; none need be initialised.

        ValueError if there is no such checkpoint, NotFoundError if it lacks a variable,
        InvalidArgumentError if one has another shape or type there, DataLossError if the files are
        broken. No variable changes then.
        """
        if self._is_empty:
            return
        if save_path is None:
            raise ValueError("Can't load save_path when it is None.")
        if self.saver_def is None:
            raise RuntimeError("`build()` should be called before restore if defer_build==True")
        path = os.fspath(save_path)
        if not checkpoint_exists(path):
            raise ValueError(f"The passed save_path is not a valid checkpoint: {path}")
        try:
            feed = {self.saver_def.filename_tensor_name: path}
            sess.run(self.saver_def.restore_op_name, feed)
        except errors.NotFoundError as error:
            if "not found in checkpoint" not in error.message:
                raise
            raise _explained(
                error, "a Variable name or other graph key that is missing", ""
            ) from error
        except errors.InvalidArgumentError as error:
            raise _explained(
                error, "a mismatch between the current graph and the graph", self._clashes(path)
            ) from error

    def _clashes(self, path: str) -> str:
        """The variables that are of another shape or type in a checkpoint."""
        lines = []
        with bundle.open_checkpoint(path) as reader:
            for spec in (s for v in self._variables for s in v.specs):
                if spec.slice_spec or spec.name not in reader.shapes:
                    continue
                shape, dtype = reader.shapes[spec.name], reader.dtypes[spec.name]
                here, kind = spec.tensor.shape._dims, spec.dtype.base_dtype
                if kind is not dtype or not (self._reshape or shapes.compatible(here, shape)):
                    lines.append(
                        f"{spec.name} is {kind.name} {shapes.brackets(here)} in the graph and "
                        f"{dtype.name} {shapes.brackets(shape)} in the checkpoint"
                    )
        return "\n".join(lines[:20])


_NAMES = ("filename_tensor_name", "save_tensor_name", "restore_op_name")


def _in_scope(saver_def: Any, scope: str) -> Any:
    made = type(saver_def)()
    made.CopyFrom(saver_def)
    for field in _NAMES:
        setattr(made, field, f"{scope.rstrip('/')}/{getattr(made, field)}")
    return made


def _explained(error: errors.OpError, reason: str, more: str) -> errors.OpError:
    message = (
        f"Restoring from checkpoint failed. This is most likely due to {reason} from the "
        "checkpoint. Please ensure that you have not altered the graph expected based on the "
        f"checkpoint. Original error:\n\n{error.message}"
    )
    return type(error)(None, error.op, f"{message}\n\n{more}" if more else message)


meta_graph.register_proto_function(
    GraphKeys.SAVERS, lambda: protos.SaverDef, Saver.to_proto, Saver.from_proto
)


def import_meta_graph(
    meta_graph_or_file: Any,
    clear_devices: bool = False,
    import_scope: str | None = None,
    **kwargs: Any,
) -> Saver | None:
    """Add the nodes and collections of a MetaGraphDef (or of a file of one) to the default graph.

    Returns a Saver of its variables; None if there are none. With `clear_devices` without the
    devices; `import_scope` goes before all names. Other arguments are those of
    `tf.import_graph_def`. NotFoundError if an op type is not known, OSError if there is no file.
    """
    made = meta_graph_or_file
    if not hasattr(made, "graph_def"):
        made = meta_graph.read_meta_graph_file(made)
    variables, _ = meta_graph.import_scoped_meta_graph(
        made, clear_devices, import_scope=import_scope, **kwargs
    )
    if made.HasField("saver_def"):
        scope = import_scope
        for name, variable in variables.items():  # it may have got a number
            scope = variable.name[: -len(name)].rstrip("/")
            break
        return Saver(saver_def=made.saver_def, name=scope)
    return Saver() if all_saveables(import_scope) else None


# -- the operations of a saver ---------------------------------------------------------------------


def _on(where: str, make: Any, *args: Any) -> Any:
    with device(where):
        return make(*args)


def _save(filename: Tensor, items: Sequence[SaveableObject]) -> Tensor:
    """The file name, to be had when the variables are in the file."""
    specs = [(spec.name, spec.slice_spec, spec.tensor) for item in items for spec in item.specs]
    names, cuts, tensors = zip(*specs, strict=True)
    saved = io.save_v2(filename, list(names), list(cuts), tensors)
    return control.with_dependencies([saved], filename)


def _save_shards(prefix: Tensor, shards: Sequence[tuple[str, Sequence[SaveableObject]]]) -> Tensor:
    """Each device's variables to a checkpoint of its own, and then these put together."""
    with device("CPU"):
        suffix = gather.where(
            strings.regex_full_match(prefix, "^s3://.*"),
            constant.constant(".part"),
            constant.constant("_temp/part"),
        )
        temporary = strings.string_join([prefix, suffix])
    n = constant.constant(len(shards), name="num_shards")
    names, saved = [], []
    for i, (where, items) in enumerate(shards):
        with device(on_cpu(where)):
            names.append(io.sharded_filename(temporary, i, n))
            saved.append(_save(names[-1], items))
    with control_dependencies([t.op for t in saved]), device(on_cpu(shards[-1][0])):
        merged = io.merge_v2_checkpoints(names, prefix, delete_old_dirs=True)
        with control_dependencies([merged]):
            return array.identity(prefix)


def _restore(
    filename: Tensor, items: Sequence[SaveableObject], reshape: bool, name: str
) -> Operation:
    specs = [spec for item in items for spec in item.specs]
    with device("cpu:0"):
        tensors = io.restore_v2(
            filename,
            [spec.name for spec in specs],
            [spec.slice_spec for spec in specs],
            [spec.dtype.base_dtype for spec in specs],
        )
    left, assigned = iter(tensors), []
    for item in items:
        own = [next(left) for _ in item.specs]
        wanted = [_shape_of(spec.tensor) for spec in item.specs] if reshape else None
        assigned.append(item.restore(own, wanted))
    return control.group(*assigned, name=name)


def _shape_of(tensor: Tensor) -> Any:
    return tensor.shape if tensor.shape.is_fully_defined() else array.shape(tensor)
