"""The hooks that keep something of a run: checkpoints, summaries, traces."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

from headrace import logging, protos, timeline
from headrace.graph import get_collection
from headrace.keys import GraphKeys
from headrace.summary import FileWriterCache
from headrace.train.hooks import SecondOrStepTimer, required_global_step
from headrace.train.meta_graph import export_meta_graph, write_graph
from headrace.train.session_run_hook import (
    SessionRunArgs,
    SessionRunContext,
    SessionRunHook,
    SessionRunValues,
)


class CheckpointSaverListener:
    """Something that is told of the checkpoints of a CheckpointSaverHook."""

    def begin(self) -> None:
        """Called once, while operations can still be added to the graph."""

    def before_save(self, session: Any, global_step_value: int) -> None:
        """Called before each checkpoint."""

    def after_save(self, session: Any, global_step_value: int) -> bool | None:
        """Called after each checkpoint; True asks to stop."""

    def end(self, session: Any, global_step_value: int) -> None:
        """Called at the end of the run, after the last checkpoint."""


class CheckpointSaverHook(SessionRunHook):
    """Saves a checkpoint at the start, every `save_secs` seconds or `save_steps` steps, at the end.

    By `saver`, or the Saver of `scaffold`, or that of the collection SAVERS; the files are
    `checkpoint_dir/checkpoint_basename-step`. With `save_graph_def` also the graph, as
    `graph.pbtxt` and beside each checkpoint. Ctrl-C counts as an end: the last step that was done
    is saved (ours; TensorFlow loses what came after the last checkpoint).
    """

    def __init__(
        self,
        checkpoint_dir: Any,
        save_secs: float | None = None,
        save_steps: int | None = None,
        saver: Any = None,
        checkpoint_basename: str = "model.ckpt",
        scaffold: Any = None,
        listeners: Sequence[Any] | None = None,
        save_graph_def: bool = True,
    ):
        if saver is not None and scaffold is not None:
            raise ValueError("You cannot provide both saver and scaffold.")
        self._timer = SecondOrStepTimer(save_secs, save_steps)
        self._saver = saver
        self._checkpoint_dir = os.fspath(checkpoint_dir)
        self._save_path = os.path.join(self._checkpoint_dir, checkpoint_basename)
        self._scaffold = scaffold
        self._listeners = list(listeners or ())
        self._save_graph_def = save_graph_def

    def begin(self) -> None:
        """Find the global step; RuntimeError if there is none."""
        self._summary_writer = FileWriterCache.get(self._checkpoint_dir)
        self._global_step_tensor = required_global_step(self)
        self._request = SessionRunArgs(self._global_step_tensor)
        for listener in self._listeners:
            listener.begin()

    def after_create_session(self, session: Any, coord: Any) -> None:
        """Write the graph, and the checkpoint of where training starts."""
        global_step = int(session.run(self._global_step_tensor))
        if self._save_graph_def:
            nodes = session.graph.as_graph_def(add_shapes=True)
            write_graph(nodes, self._checkpoint_dir, "graph.pbtxt")
        self._summary_writer.add_graph(session.graph)
        with session.graph.as_default():
            saver_def = self._get_saver().saver_def
            self._summary_writer.add_meta_graph(export_meta_graph(saver_def=saver_def))
        self._save(session, global_step)
        self._timer.update_last_triggered_step(global_step)

    def before_run(self, run_context: SessionRunContext) -> SessionRunArgs:
        """Ask for the global step."""
        return self._request

    def after_run(self, run_context: SessionRunContext, run_values: SessionRunValues) -> None:
        """Save, when it is due."""
        global_step = int(run_values.results)
        if self._timer.should_trigger_for_step(global_step):
            self._timer.update_last_triggered_step(global_step)
            if self._save(run_context.session, global_step):
                run_context.request_stop()

    def end(self, session: Any) -> None:
        """Save what was done since the last checkpoint."""
        last_step = self.interrupt(session)
        for listener in self._listeners:
            listener.end(session, last_step)

    def interrupt(self, session: Any) -> int:
        """Save what was done since the last checkpoint; at which step that is."""
        last_step = int(session.run(self._global_step_tensor))
        if last_step != self._timer.last_triggered_step():
            self._timer.update_last_triggered_step(last_step)
            self._save(session, last_step)
        return last_step

    def _save(self, session: Any, step: int) -> bool:
        """Save a checkpoint; whether a listener asks to stop."""
        for listener in self._listeners:
            listener.before_save(session, step)
        logging.info("Saving checkpoints for %d into %s.", step, self._save_path)
        self._get_saver().save(
            session, self._save_path, global_step=step, write_meta_graph=self._save_graph_def
        )
        log = protos.SessionLog(
            status=protos.SessionLog.CHECKPOINT, checkpoint_path=self._save_path
        )
        self._summary_writer.add_session_log(log, step)
        stopping = [entry for entry in self._listeners if entry.after_save(session, step)]
        for listener in stopping:
            logging.info(
                "A CheckpointSaverListener requested that training be stopped. listener: %s",
                listener,
            )
        return bool(stopping)

    def _get_saver(self) -> Any:
        if self._saver is None and self._scaffold is not None:
            return self._scaffold.saver
        if self._saver is None:
            self._saver = _saver_of_collection()
        return self._saver


def _saver_of_collection() -> Any:
    savers = get_collection(GraphKeys.SAVERS)
    if not savers:
        raise RuntimeError(
            f"No items in collection {GraphKeys.SAVERS}. Please add a saver to the collection or "
            "provide a saver or scaffold."
        )
    if len(savers) > 1:
        raise RuntimeError(
            f"More than one item in collection {GraphKeys.SAVERS}. Please indicate which one to "
            "use by passing it to the constructor."
        )
    return savers[0]


class SummarySaverHook(SessionRunHook):
    """Writes summaries every `save_steps` steps or `save_secs` seconds, the first run's as well.

    Those of `summary_op`, a tensor or a list of them, or of `scaffold`; to `summary_writer`, or to
    the directory `output_dir`.
    """

    def __init__(
        self,
        save_steps: int | None = None,
        save_secs: float | None = None,
        output_dir: Any = None,
        summary_writer: Any = None,
        scaffold: Any = None,
        summary_op: Any = None,
    ):
        if (scaffold is None) == (summary_op is None):
            raise ValueError("Exactly one of scaffold or summary_op must be provided.")
        self._summary_op = summary_op
        self._summary_writer = summary_writer
        self._output_dir = output_dir
        self._scaffold = scaffold
        self._timer = SecondOrStepTimer(save_secs, save_steps)

    def begin(self) -> None:
        """Find the global step; RuntimeError if there is none."""
        if self._summary_writer is None and self._output_dir:
            self._summary_writer = FileWriterCache.get(self._output_dir)
        self._next_step: int | None = None
        self._global_step_tensor = required_global_step(self)
        self._step_only = SessionRunArgs({"global_step": self._global_step_tensor})

    def before_run(self, run_context: SessionRunContext) -> SessionRunArgs:
        """Ask for the global step, and for summaries when they are due."""
        self._request_summary = self._next_step is None or self._timer.should_trigger_for_step(
            self._next_step
        )
        wanted = self._summaries() if self._request_summary else []
        if not wanted:
            return self._step_only
        return SessionRunArgs({"global_step": self._global_step_tensor, "summary": wanted})

    def after_run(self, run_context: SessionRunContext, run_values: SessionRunValues) -> None:
        """Write what was asked for."""
        writer = self._summary_writer
        if writer is None:
            return
        global_step = int(run_values.results["global_step"])
        if self._next_step is None:
            writer.add_session_log(protos.SessionLog(status=protos.SessionLog.START), global_step)
        if self._request_summary:
            self._timer.update_last_triggered_step(global_step)
            for summary in run_values.results.get("summary", ()):
                writer.add_summary(summary, global_step)
        self._next_step = global_step + 1

    def end(self, session: Any) -> None:
        """Wait until all is in the file."""
        if self._summary_writer is not None:
            self._summary_writer.flush()

    interrupt = end

    def _summaries(self) -> list[Any]:
        op = self._summary_op if self._scaffold is None else self._scaffold.summary_op
        if op is None:
            return []
        return op if isinstance(op, list) else [op]


class ProfilerHook(SessionRunHook):
    """Traces a run every `save_steps` steps or `save_secs` seconds, into `timeline-step.json`.

    Chrome (chrome://tracing) shows that file, and TensorBoard the event file beside it. A traced
    run is interpreted, so it is slow, and says how long operations take one by one.
    """

    def __init__(
        self,
        save_steps: int | None = None,
        save_secs: float | None = None,
        output_dir: Any = "",
        show_dataflow: bool = True,
        show_memory: bool = False,
    ):
        self._output_dir = os.fspath(output_dir)
        self._timer = SecondOrStepTimer(save_secs, save_steps)
        self._show_dataflow = show_dataflow
        self._show_memory = show_memory

    def begin(self) -> None:
        """Find the global step; RuntimeError if there is none."""
        self._next_step: int | None = None
        self._global_step_tensor = required_global_step(self)
        self._writer = FileWriterCache.get(self._output_dir or os.curdir)
        self._step_only = SessionRunArgs(self._global_step_tensor)

    def before_run(self, run_context: SessionRunContext) -> SessionRunArgs:
        """Ask for the global step, and for a trace when it is due; not in the first run."""
        self._request_summary = self._next_step is not None and self._timer.should_trigger_for_step(
            self._next_step
        )
        if not self._request_summary:
            return self._step_only
        options = protos.RunOptions(trace_level=protos.RunOptions.FULL_TRACE)
        return SessionRunArgs(self._global_step_tensor, options=options)

    def after_run(self, run_context: SessionRunContext, run_values: SessionRunValues) -> None:
        """Write the trace that was asked for."""
        global_step = int(run_values.results)
        if self._next_step is None:
            self._timer.update_last_triggered_step(global_step)
        if self._request_summary:
            self._timer.update_last_triggered_step(global_step)
            self._save(global_step, run_values.run_metadata)
        self._next_step = global_step + 1

    def _save(self, step: int, run_metadata: Any) -> None:
        path = os.path.join(self._output_dir, f"timeline-{step}.json")
        logging.info("Saving timeline for %d into '%s'.", step, path)
        trace = timeline.Timeline(run_metadata.step_stats).generate_chrome_trace_format(
            self._show_dataflow, self._show_memory
        )
        with open(path, "w", encoding="utf-8") as file:
            file.write(trace)
        self._writer.add_run_metadata(run_metadata, f"step_{step}")

    def end(self, session: Any) -> None:
        """Wait until all is in the file."""
        self._writer.flush()

    interrupt = end
