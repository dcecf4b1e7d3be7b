"""`Supervisor`: the older way to supervised runs, by threads beside the loop of the program.

supervisor = tf.train.Supervisor(logdir="runs/a")
with supervisor.managed_session() as session:
    while not supervisor.should_stop():
        session.run(train_op)
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from headrace import logging, protos
from headrace.graph import Graph, add_to_collection, get_collection, get_default_graph
from headrace.keys import GraphKeys
from headrace.node import Operation
from headrace.ops import control
from headrace.ops.summaries import merge_all
from headrace.runtime.session import Session
from headrace.summary import FileWriter
from headrace.train.coordinator import Coordinator, LooperThread
from headrace.train.global_step import get_global_step
from headrace.train.meta_graph import export_meta_graph, write_graph
from headrace.train.saver import Saver
from headrace.train.session_manager import SessionManager
from headrace.variable_lists import (
    global_variables,
    global_variables_initializer,
    local_variables_initializer,
    report_uninitialized_variables,
    tables_initializer,
)

_DEFAULT = 0  # what TensorFlow's USE_DEFAULT is


class Supervisor:
    """Initialises or restores a model, and saves, logs and fills queues beside its training.

    With a `logdir` the chief writes there: summaries and steps a second every `save_summaries_secs`
    seconds, checkpoints every `save_model_secs`, each by a thread of its own. What is left at
    USE_DEFAULT is taken from the collection of its name, else made, else None where there is
    nothing to make it of; None turns it off. The graph is finalized.
    """

    USE_DEFAULT = _DEFAULT

    def __init__(
        self,
        graph: Graph | None = None,
        ready_op: Any = USE_DEFAULT,
        ready_for_local_init_op: Any = USE_DEFAULT,
        is_chief: bool = True,
        init_op: Any = USE_DEFAULT,
        init_feed_dict: dict[Any, Any] | None = None,
        local_init_op: Any = USE_DEFAULT,
        logdir: Any = None,
        summary_op: Any = USE_DEFAULT,
        saver: Any = USE_DEFAULT,
        global_step: Any = USE_DEFAULT,
        save_summaries_secs: float = 120,
        save_model_secs: float = 600,
        recovery_wait_secs: float = 30,
        stop_grace_secs: float = 120,
        checkpoint_basename: str = "model.ckpt",
        session_manager: SessionManager | None = None,
        summary_writer: Any = USE_DEFAULT,
        init_fn: Callable[[Any], Any] | None = None,
        local_init_run_options: Any = None,
    ):
        self._graph = get_default_graph() if graph is None else graph
        with self._graph.as_default():
            self._ready_op = _found_or_made(
                ready_op, GraphKeys.READY_OP, report_uninitialized_variables
            )
            self._ready_for_local_init_op = _found_or_made(
                ready_for_local_init_op, GraphKeys.READY_FOR_LOCAL_INIT_OP
            )
            self._init_op = _found_or_made(init_op, GraphKeys.INIT_OP, global_variables_initializer)
            self._local_init_op = _found_or_made(
                local_init_op, GraphKeys.LOCAL_INIT_OP, _make_local_init_op
            )
            self._saver = _found_or_made(saver, GraphKeys.SAVERS, _make_saver)
            self._summary_op = _found_or_made(summary_op, GraphKeys.SUMMARY_OP, merge_all)
            self._global_step = _found_or_made(
                global_step, GraphKeys.GLOBAL_STEP, _named_global_step
            )
        self._init_feed_dict = init_feed_dict
        self._init_fn = init_fn
        self._is_chief = is_chief
        self._coord = Coordinator()
        self._stop_grace_secs = stop_grace_secs
        self._logdir = os.fspath(logdir) if logdir and is_chief else None
        self._save_summaries_secs = save_summaries_secs if is_chief else None
        self._save_model_secs = save_model_secs if is_chief else None
        self._save_path = self._logdir and os.path.join(self._logdir, checkpoint_basename)
        self._graph_was_written = False
        self._summary_writer: Any = None
        if is_chief and summary_writer is not _DEFAULT:
            self._summary_writer = summary_writer
        elif self._logdir:
            self._summary_writer = FileWriter(self._logdir)
        self._session_manager = session_manager or SessionManager(
            local_init_op=self._local_init_op,
            ready_op=self._ready_op,
            ready_for_local_init_op=self._ready_for_local_init_op,
            graph=self._graph,
            recovery_wait_secs=recovery_wait_secs,
            local_init_run_options=local_init_run_options,
        )
        if not is_chief:
            _refuse_variables_without_device(self._graph)
        self._graph.finalize()

    # -- what it has -----------------------------------------------------------------------------

    @property
    def is_chief(self) -> bool:
        """Whether it is the one that initialises, saves and logs."""
        return self._is_chief

    @property
    def session_manager(self) -> SessionManager:
        """What makes its sessions."""
        return self._session_manager

    @property
    def coord(self) -> Coordinator:
        """The Coordinator of its threads."""
        return self._coord

    @property
    def init_op(self) -> Any:
        """What initialises the model if there is no checkpoint."""
        return self._init_op

    @property
    def init_feed_dict(self) -> dict[Any, Any] | None:
        """What `init_op` is fed."""
        return self._init_feed_dict

    @property
    def ready_op(self) -> Any:
        """The names of what is not initialised, strings [n]."""
        return self._ready_op

    @property
    def ready_for_local_init_op(self) -> Any:
        """The names of what is not initialised and `local_init_op` may need, strings [n]."""
        return self._ready_for_local_init_op

    @property
    def summary_writer(self) -> Any:
        """The FileWriter of `logdir`; None without one, and if it is not the chief."""
        return self._summary_writer

    @property
    def summary_op(self) -> Any:
        """All summaries merged; None if there are none."""
        return self._summary_op

    @property
    def save_summaries_secs(self) -> float | None:
        """Seconds between summaries; None if it is not the chief."""
        return self._save_summaries_secs

    @property
    def global_step(self) -> Any:
        """The global step; None if there is none."""
        return self._global_step

    @property
    def saver(self) -> Any:
        """The Saver; None if there is nothing to save."""
        return self._saver

    @property
    def save_model_secs(self) -> float | None:
        """Seconds between checkpoints; None if it is not the chief."""
        return self._save_model_secs

    @property
    def save_path(self) -> str | None:
        """Where checkpoints go, without the number of the step; None without `logdir`."""
        return self._save_path

    # -- sessions --------------------------------------------------------------------------------

    @contextmanager
    def managed_session(
        self,
        master: str = "",
        config: Any = None,
        start_standard_services: bool = True,
        close_summary_writer: bool = True,
    ) -> Iterator[Any]:
        """A session from `prepare_or_wait_for_session`; at the end all is stopped and closed.

        The first error of the block or of a thread is raised then; OutOfRangeError, the end of the
        data, is none. Ctrl-C saves what was done (ours), and is raised.
        """
        sess: Any = None
        try:
            sess = self.prepare_or_wait_for_session(
                master, config, start_standard_services=start_standard_services
            )
            yield sess
        except Exception as error:
            self.request_stop(error)
        except KeyboardInterrupt:
            if sess is not None and start_standard_services and self._saves():
                self._save(sess)
            raise
        finally:
            try:
                self.stop(close_summary_writer=close_summary_writer)
            finally:
                if sess is not None:
                    sess.close()

    def prepare_or_wait_for_session(
        self,
        master: str = "",
        config: Any = None,
        wait_for_checkpoint: bool = False,
        max_wait_secs: float = 7200,
        start_standard_services: bool = True,
    ) -> Session:
        """A session whose model is ready; the threads for it are started, and queue runners."""
        self._coord.clear_stop()
        if self._summary_writer is not None:
            self._summary_writer.reopen()
        if self._is_chief:
            sess = self._session_manager.prepare_session(
                master,
                init_op=self._init_op,
                saver=self._saver,
                checkpoint_dir=self._logdir,
                wait_for_checkpoint=wait_for_checkpoint,
                max_wait_secs=max_wait_secs,
                config=config,
                init_feed_dict=self._init_feed_dict,
                init_fn=self._init_fn,
            )
            self._write_graph()
            if start_standard_services:
                logging.info("Starting standard services.")
                self.start_standard_services(sess)
        else:
            sess = self._session_manager.wait_for_session(master, config, max_wait_secs)
        if start_standard_services:
            logging.info("Starting queue runners.")
            self.start_queue_runners(sess)
        return sess

    def _write_graph(self) -> None:
        if self._logdir:
            write_graph(self._graph.as_graph_def(add_shapes=True), self._logdir, "graph.pbtxt")
        if self._summary_writer is not None and not self._graph_was_written:
            saver_def = None if self._saver is None else self._saver.saver_def
            self._summary_writer.add_graph(self._graph)
            self._summary_writer.add_meta_graph(
                export_meta_graph(saver_def=saver_def, graph=self._graph)
            )
            self._graph_was_written = True

    def _saves(self) -> bool:
        return bool(self._saver is not None and self._save_model_secs and self._save_path)

    def _save(self, sess: Any) -> None:
        """Save a checkpoint, and note it among the events."""
        logging.info("Saving checkpoint to path %s", self._save_path)
        self._saver.save(sess, self._save_path, global_step=self._global_step)
        if self._summary_writer is not None and self._global_step is not None:
            log = protos.SessionLog(
                status=protos.SessionLog.CHECKPOINT, checkpoint_path=self._save_path
            )
            self._summary_writer.add_session_log(log, int(sess.run(self._global_step)))

    # -- threads ---------------------------------------------------------------------------------

    def start_standard_services(self, sess: Any) -> list[LooperThread] | None:
        """Start the threads that write summaries, count steps and save; gives them.

        None without a `logdir`. RuntimeError if it is not the chief.
        """
        if not self._is_chief:
            raise RuntimeError(
                "Only chief supervisor can start standard services. Because only chief "
                "supervisors can write events."
            )
        if not self._logdir:
            logging.warning("Standard services need a 'logdir' passed to the SessionManager")
            return None
        threads: list[LooperThread] = []
        if self._summary_writer is not None:
            if self._global_step is not None:
                log = protos.SessionLog(status=protos.SessionLog.START)
                self._summary_writer.add_session_log(log, int(sess.run(self._global_step)))
            if self._save_summaries_secs and self._summary_op is not None:
                threads.append(SVSummaryThread(self, sess))
            if self._save_summaries_secs and self._global_step is not None:
                threads.append(SVStepCounterThread(self, sess))
        if self._saves():
            threads.append(SVTimerCheckpointThread(self, sess))
        for thread in threads:
            thread.start()
        return threads

    def start_queue_runners(
        self, sess: Any, queue_runners: Sequence[Any] | None = None
    ) -> list[threading.Thread]:
        """Start the threads of these queue runners, or of all in the graph; gives them."""
        if queue_runners is None:
            queue_runners = self._graph.get_collection(GraphKeys.QUEUE_RUNNERS)
        return [
            thread
            for runner in queue_runners
            for thread in runner.create_threads(sess, coord=self._coord, daemon=True, start=True)
        ]

    def loop(
        self,
        timer_interval_secs: float | None,
        target: Callable[..., Any],
        args: Sequence[Any] | None = None,
        kwargs: dict[str, Any] | None = None,
    ) -> LooperThread:
        """Start a thread that calls `target` every so many seconds until the stop; gives it."""
        return LooperThread.loop(self._coord, timer_interval_secs, target, args, kwargs)

    def request_stop(self, ex: Any = None) -> None:
        """Ask all threads to stop; `ex` is raised by `stop`."""
        self._coord.request_stop(ex)

    def should_stop(self) -> bool:
        """Whether the run is to end."""
        return self._coord.should_stop()

    def stop_on_exception(self) -> Any:
        """A context: what is raised inside is reported, and stops the run."""
        return self._coord.stop_on_exception()

    def wait_for_stop(self) -> None:
        """Wait until the run is to end."""
        self._coord.wait_for_stop()

    def stop(
        self,
        threads: Sequence[threading.Thread] | None = None,
        close_summary_writer: bool = True,
        ignore_live_threads: bool = False,
    ) -> None:
        """Stop the threads, wait for them and close the files; raises what was reported.

        RuntimeError if threads have not ended in time, unless `ignore_live_threads`.
        """
        self._coord.request_stop()
        try:
            self._coord.join(
                threads,
                stop_grace_period_secs=self._stop_grace_secs,
                ignore_live_threads=ignore_live_threads,
            )
        finally:
            if close_summary_writer and self._summary_writer is not None:
                log = protos.SessionLog(status=protos.SessionLog.STOP)
                self._summary_writer.add_session_log(log)
                self._summary_writer.close()
                self._graph_was_written = False

    def summary_computed(self, sess: Any, summary: Any, global_step: Any = None) -> None:
        """Write a summary, of the present step if none is given.

        RuntimeError if there is no summary writer.
        """
        if self._summary_writer is None:
            raise RuntimeError("Writing a summary requires a summary writer.")
        if global_step is None and self._global_step is not None:
            global_step = int(sess.run(self._global_step))
        self._summary_writer.add_summary(summary, global_step)

    # Their names of old.
    PrepareSession = prepare_or_wait_for_session
    StartStandardServices = start_standard_services
    StartQueueRunners = start_queue_runners
    Loop = loop
    RequestStop = request_stop
    ShouldStop = should_stop
    StopOnException = stop_on_exception
    WaitForStop = wait_for_stop
    Stop = stop
    SummaryComputed = summary_computed


# -- what is made where nothing is given -----------------------------------------------------------


def _found_or_made(given: Any, key: str, make: Callable[[], Any] | None = None) -> Any:
    """What is given; at USE_DEFAULT the first of the collection, or what is made and put there."""
    if given is not _DEFAULT:
        return given
    found = get_collection(key)
    if found:
        return found[0]
    made = None if make is None else make()
    if made is not None:
        add_to_collection(key, made)
    return made


def _make_local_init_op() -> Operation:
    return control.group(local_variables_initializer(), tables_initializer())


def _make_saver() -> Saver | None:
    return Saver() if global_variables() else None


def _named_global_step() -> Any:
    """The tensor `global_step:0`, if it can be one."""
    try:
        return get_global_step()
    except TypeError:
        return None


def _refuse_variables_without_device(graph: Graph) -> None:
    for op in graph.get_operations():
        if op.type in ("Variable", "VariableV2") and not op.device:
            raise ValueError(f"When using replicas, all Variables must have their device set: {op}")


# -- the threads -----------------------------------------------------------------------------------


class SVSummaryThread(LooperThread):
    """Writes a Supervisor's summaries every `save_summaries_secs` seconds."""

    def __init__(self, sv: Supervisor, sess: Any):
        super().__init__(sv.coord, sv.save_summaries_secs)
        self._sv, self._sess = sv, sess

    def run_loop(self) -> None:
        """Run the summary op, and write what it gives."""
        if self._sv.global_step is None:
            summary, step = self._sess.run(self._sv.summary_op), None
        else:
            summary, step = self._sess.run([self._sv.summary_op, self._sv.global_step])
        if self._sv.summary_writer is not None:
            logging.info("Recording summary at step %s.", step)
            self._sv.summary_writer.add_summary(summary, step)


class SVStepCounterThread(LooperThread):
    """Writes and logs a Supervisor's steps a second every `save_summaries_secs` seconds."""

    def __init__(self, sv: Supervisor, sess: Any, step_counter: Any = None):
        super().__init__(sv.coord, sv.save_summaries_secs)
        self._sv, self._sess = sv, sess
        self._step_counter = sv.global_step if step_counter is None else step_counter
        self._last_time, self._last_step = 0.0, 0
        self._summary_tag = f"{self._step_counter.op.name}/sec"

    def start_loop(self) -> None:
        """Count from here."""
        self._last_time = time.time()
        self._last_step = int(self._sess.run(self._step_counter))

    def run_loop(self) -> None:
        """Count the steps since the last time."""
        step = int(self._sess.run(self._step_counter))
        now = time.time()
        steps, seconds = step - self._last_step, now - self._last_time
        self._last_time, self._last_step = now, step
        rate = steps / seconds if seconds > 0 else float("inf")
        if self._sv.summary_writer is not None:
            value = protos.Summary.Value(tag=self._summary_tag, simple_value=rate)
            self._sv.summary_writer.add_summary(protos.Summary(value=[value]), step)
        logging.info("%s: %g", self._summary_tag, rate)


class SVTimerCheckpointThread(LooperThread):
    """Saves a Supervisor's model every `save_model_secs` seconds."""

    def __init__(self, sv: Supervisor, sess: Any):
        super().__init__(sv.coord, sv.save_model_secs)
        self._sv, self._sess = sv, sess

    def run_loop(self) -> None:
        """Save."""
        self._sv._save(self._sess)
