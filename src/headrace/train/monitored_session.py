"""Supervised runs: sessions that hooks take part in, and that start, recover and end by themselves.

with tf.train.MonitoredTrainingSession(checkpoint_dir="runs/a", hooks=hooks) as session:
    while not session.should_stop():
        session.run(train_op)
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

from headrace import errors, logging, protos
from headrace.graph import Graph, get_default_graph
from headrace.keys import GraphKeys
from headrace.train.coordinator import Coordinator
from headrace.train.hooks import StepCounterHook, as_list
from headrace.train.queue_runner import start_queue_runners
from headrace.train.saving_hooks import CheckpointSaverHook, SummarySaverHook
from headrace.train.scaffold import Scaffold
from headrace.train.session_creator import ChiefSessionCreator, WorkerSessionCreator
from headrace.train.session_run_hook import SessionRunArgs, SessionRunContext, SessionRunValues

USE_DEFAULT: Any = object()
_LOST = (errors.AbortedError, errors.UnavailableError)  # the session is gone, and not by our fault
_CLEAN = (errors.OutOfRangeError, StopIteration)  # the data is at an end


class StepContext:
    """What the function given to `run_step_fn` works with."""

    def __init__(self, session: Any, run_with_hooks_fn: Callable[..., Any]):
        self._session = session
        self._run_with_hooks_fn = run_with_hooks_fn

    @property
    def session(self) -> Any:
        """The plain session: what it runs goes past the hooks."""
        return self._session

    def run_with_hooks(self, *args: Any, **kwargs: Any) -> Any:
        """Run as `MonitoredSession.run` does."""
        return self._run_with_hooks_fn(*args, **kwargs)

    def request_stop(self) -> None:
        """End the run, by StopIteration."""
        raise StopIteration("step_fn has requested the iterations to stop.")


class _Supervised:
    """A session with its hooks and threads; `MonitoredSession` says what it does."""

    StepContext = StepContext

    def __init__(
        self,
        session_creator: Any,
        hooks: Sequence[Any] | None,
        should_recover: bool,
        stop_grace_period_secs: float = 120,
    ):
        self._graph = get_default_graph()
        self._graph_was_finalized = self._graph.finalized
        self._hooks = as_list(hooks)
        self._session_creator = session_creator or ChiefSessionCreator()
        self._recovers = should_recover
        self._stop_grace_period_secs = stop_grace_period_secs
        self._sess: Any = None
        self._closed = False
        self._stop_requested = False
        for hook in self._hooks:
            hook.begin()
        try:
            self._start()
        except BaseException:
            self._thaw()
            raise

    @property
    def graph(self) -> Graph | None:
        """The graph that is run; None after `close`."""
        return None if self._closed else self._sess.graph

    def run(
        self,
        fetches: Any,
        feed_dict: dict[Any, Any] | None = None,
        options: Any = None,
        run_metadata: Any = None,
    ) -> Any:
        """`Session.run`, with the hooks' fetches, feeds and options joined to the caller's.

        RuntimeError if a hook has asked to stop, or a feed is given twice.
        """
        return self._recovering(lambda: self._step(fetches, feed_dict, options, run_metadata))

    def run_step_fn(self, step_fn: Callable[[StepContext], Any]) -> Any:
        """What `step_fn(step_context)` returns: a step that is made of several runs.

        ValueError if it does not take just that argument, by that name.
        """
        names = [name for name in inspect.signature(step_fn).parameters if name != "self"]
        if names != ["step_context"]:
            raise ValueError(
                "`step_fn` may either have one `step_context` argument, or two arguments: `self` "
                f"and `step_context` if it's an instance method. Got {names} instead."
            )
        return self._recovering(lambda: step_fn(StepContext(self._sess, self._step)))

    def should_stop(self) -> bool:
        """Whether the run is to end: a hook or a thread asks for it, or it is closed."""
        if self._closed:
            return True
        try:
            self._coordinator.raise_requested_exception()
        except _LOST as error:
            if not self._recovers:
                raise
            self._recreate(error)
            return False
        except Exception:
            if not self._recovers:
                raise
            return True  # `close` will raise it
        return self._coordinator.should_stop() or self._stop_requested

    def close(self) -> None:
        """End the run: hooks, threads, session. Raises what a thread reported."""
        self._end(None)

    def __enter__(self) -> Any:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: Any, trace: Any) -> bool:
        if kind in _CLEAN:
            kind = None
        self._end(kind)
        return kind is None

    # -- the life of the session inside ----------------------------------------------------------

    def _tf_sess(self) -> Any:
        return self._sess

    def _start(self) -> None:
        """Make the session, and start what goes with it."""
        while True:
            try:
                self._create()
                return
            except BaseException as error:
                self._release()
                if not (self._recovers and isinstance(error, _LOST)):
                    raise
                logging.info("The session could not be made, and is made again: %s", error)

    def _create(self) -> None:
        self._sess = self._session_creator.create_session()
        self._coordinator = Coordinator(clean_stop_exception_types=[])
        self._stop_requested = False
        if self._sess.graph.get_collection(GraphKeys.QUEUE_RUNNERS):
            start_queue_runners(self._sess, self._coordinator)
        for hook in self._hooks:
            hook.after_create_session(self._sess, self._coordinator)

    def _recreate(self, error: BaseException) -> None:
        logging.info("The session is lost, and is made again: %s", error)
        self._release()
        self._start()

    def _release(self) -> None:
        """Stop the threads and close the session; raises what a thread reported."""
        session, self._sess = self._sess, None
        if session is None:
            return
        self._coordinator.request_stop()
        try:
            self._coordinator.join(
                stop_grace_period_secs=self._stop_grace_period_secs, ignore_live_threads=True
            )
        except _LOST:
            if not self._recovers:
                raise
        finally:
            session.close()

    def _end(self, kind: type[BaseException] | None) -> None:
        """Close; the hooks are told unless an error of this kind has ended the run."""
        if self._closed:
            raise RuntimeError("Session is already closed.")
        try:
            if kind is None:
                for hook in self._hooks:
                    hook.end(self._sess)
            elif issubclass(kind, KeyboardInterrupt):
                self._keep_what_was_done()
        finally:
            self._closed = True
            try:
                self._release()
            finally:
                self._thaw()

    def _thaw(self) -> None:
        """Let the graph grow again, if it could before."""
        if not self._graph_was_finalized:
            self._graph._unsafe_unfinalize()

    def _keep_what_was_done(self) -> None:
        """Tell all hooks of Ctrl-C, whether or not one fails; raises the first error."""
        first = None
        for hook in self._hooks:
            try:
                if hasattr(hook, "interrupt"):  # it may only look like a SessionRunHook
                    hook.interrupt(self._sess)
            except Exception as error:
                logging.error("%s failed after Ctrl-C: %s", type(hook).__name__, error)
                first = first or error
        if first is not None:
            raise first

    # -- steps -----------------------------------------------------------------------------------

    def _recovering(self, step: Callable[[], Any]) -> Any:
        """The step's result; it is done again in a new session if this one is lost."""
        if self._closed:
            raise RuntimeError("Session is already closed.")
        while True:
            try:
                return step()
            except _LOST as error:
                if not self._recovers:
                    raise
                self._recreate(error)
            except Exception as error:
                lost = self._reason_of_loss()
                if lost is None:
                    raise
                if not self._recovers:
                    raise lost from error
                self._recreate(lost)

    def _reason_of_loss(self) -> BaseException | None:
        """What a thread reported, if that is why the session is gone; else None."""
        try:
            self._coordinator.raise_requested_exception()
        except _LOST as error:
            return error
        except Exception:
            return None
        return None

    def _step(
        self,
        fetches: Any,
        feed_dict: dict[Any, Any] | None = None,
        options: Any = None,
        run_metadata: Any = None,
    ) -> Any:
        """One run, with the hooks before and after it."""
        if self._stop_requested:
            raise RuntimeError("Run called even after should_stop requested.")
        session = self._sess
        context = SessionRunContext(SessionRunArgs(fetches, feed_dict), session)
        # The hooks' fetches come in a list after the caller's, in the hooks' own order: the same
        # from step to step, so that the session knows it again.
        wanted: list[Any] = [fetches]
        slots: list[int] = []  # which of them is each hook's; the one behind all for none
        feeds: dict[Any, Any] = {}
        of_the_caller = options is not None
        options = protos.RunOptions() if options is None else options
        for hook in self._hooks:
            request = hook.before_run(context)
            if request is None or request.fetches is None:
                slots.append(-1)
            else:
                slots.append(len(wanted))
                wanted.append(request.fetches)
            if request is None:
                continue
            if request.feed_dict:
                _refuse_clash(feeds, request.feed_dict, "Same tensor is fed by two hooks.")
                feeds.update(request.feed_dict)
            if request.options is not None:
                options = _merged_options(options, request.options, of_the_caller)
                of_the_caller = False
        if feeds and feed_dict:
            _refuse_clash(feeds, feed_dict, "Same tensor is fed by a SessionRunHook and user.")
            feeds.update(feed_dict)
        run_metadata = protos.RunMetadata() if run_metadata is None else run_metadata
        values = session.run(wanted, feeds or feed_dict, options, run_metadata)
        values.append(None)
        for hook, slot in zip(self._hooks, slots, strict=True):
            hook.after_run(context, SessionRunValues(values[slot], options, run_metadata))
        self._stop_requested = context.stop_requested
        return values[0]


def _refuse_clash(feeds: dict[Any, Any], more: dict[Any, Any], message: str) -> None:
    clash = [key for key in more if key in feeds]
    if clash:
        names = ", ".join(getattr(key, "name", str(key)) for key in clash)
        raise RuntimeError(f"{message} Conflict(s): {names}")


def _merged_options(options: Any, more: Any, of_the_caller: bool) -> Any:
    """RunOptions that ask for what both ask for; the caller's own stay as they are."""
    if of_the_caller:
        options, given = type(options)(), options
        options.CopyFrom(given)
    options.trace_level = max(options.trace_level, more.trace_level)
    options.timeout_in_ms = max(options.timeout_in_ms, more.timeout_in_ms)
    options.inter_op_thread_pool = max(options.inter_op_thread_pool, more.inter_op_thread_pool)
    options.output_partition_graphs |= more.output_partition_graphs
    options.debug_options.debug_tensor_watch_opts.extend(more.debug_options.debug_tensor_watch_opts)
    return options


class MonitoredSession(_Supervised):
    """A session that hooks take part in.

    Made, it calls the hooks' `begin`, lets `session_creator` (by default a ChiefSessionCreator)
    make a session, which finalizes the graph, starts queue runners and calls the hooks'
    `after_create_session`. Each `run` joins what the hooks ask for. At the end of the `with` block,
    also if OutOfRangeError or StopIteration ends it, it calls their `end`, stops the threads, for
    which it waits `stop_grace_period_secs`, and closes; what a thread reported is raised then. If
    a run fails by AbortedError or UnavailableError, a new session is made and the run is repeated.

    Ctrl-C leaves whole steps, and the hooks save what was done (ours).
    """

    def __init__(
        self,
        session_creator: Any = None,
        hooks: Sequence[Any] | None = None,
        stop_grace_period_secs: float = 120,
    ):
        super().__init__(session_creator, hooks, True, stop_grace_period_secs)


class SingularMonitoredSession(_Supervised):
    """A MonitoredSession that raises AbortedError and UnavailableError as any other error.

    `raw_session()` is the plain session inside.
    """

    def __init__(
        self,
        hooks: Sequence[Any] | None = None,
        scaffold: Scaffold | None = None,
        master: str = "",
        config: Any = None,
        checkpoint_dir: Any = None,
        stop_grace_period_secs: float = 120,
        checkpoint_filename_with_path: Any = None,
    ):
        creator = ChiefSessionCreator(
            scaffold, master, config, checkpoint_dir, checkpoint_filename_with_path
        )
        super().__init__(creator, hooks, False, stop_grace_period_secs)

    def raw_session(self) -> Any:
        """The plain session inside; None after `close`."""
        return self._sess


def MonitoredTrainingSession(
    master: str = "",
    is_chief: bool = True,
    checkpoint_dir: Any = None,
    scaffold: Scaffold | None = None,
    hooks: Sequence[Any] | None = None,
    chief_only_hooks: Sequence[Any] | None = None,
    save_checkpoint_secs: Any = USE_DEFAULT,
    save_summaries_steps: Any = USE_DEFAULT,
    save_summaries_secs: Any = USE_DEFAULT,
    config: Any = None,
    stop_grace_period_secs: float = 120,
    log_step_count_steps: int | None = 100,
    max_wait_secs: float = 7200,
    save_checkpoint_steps: Any = USE_DEFAULT,
    summary_dir: Any = None,
    save_graph_def: bool = True,
) -> MonitoredSession:
    """A MonitoredSession that restores itself from `checkpoint_dir`, saves there and logs.

    It saves every `save_checkpoint_secs` seconds (600) or `save_checkpoint_steps` steps, writes
    summaries every `save_summaries_steps` steps (100) or `save_summaries_secs` seconds to
    `summary_dir` or `checkpoint_dir`, and how many steps a second are done every
    `log_step_count_steps` steps; None or 0 turns these off, and without a directory none is done.
    Besides these it has `chief_only_hooks`, then `hooks`. Not `is_chief`, it does none of that, and
    waits `max_wait_secs` seconds for a chief.
    """
    if not is_chief:
        creator = WorkerSessionCreator(scaffold, master, config, max_wait_secs)
        return MonitoredSession(creator, hooks, stop_grace_period_secs)
    scaffold = scaffold or Scaffold()
    summaries = _steps_or_secs(save_summaries_steps, save_summaries_secs, (100, None))
    checkpoints = _steps_or_secs(save_checkpoint_steps, save_checkpoint_secs, (None, 600))
    all_hooks = as_list(chief_only_hooks)
    directory = summary_dir or checkpoint_dir
    if directory and log_step_count_steps and log_step_count_steps > 0:
        all_hooks.append(StepCounterHook(output_dir=directory, every_n_steps=log_step_count_steps))
    if directory and any(summaries):
        steps, secs = summaries
        all_hooks.append(SummarySaverHook(steps, secs, directory, scaffold=scaffold))
    if checkpoint_dir and any(checkpoints):
        steps, secs = checkpoints
        all_hooks.append(
            CheckpointSaverHook(
                checkpoint_dir, secs, steps, scaffold=scaffold, save_graph_def=save_graph_def
            )
        )
    creator = ChiefSessionCreator(scaffold, master, config, checkpoint_dir)
    return MonitoredSession(creator, [*all_hooks, *as_list(hooks)], stop_grace_period_secs)


def _steps_or_secs(steps: Any, secs: Any, default: tuple[Any, Any]) -> tuple[Any, Any]:
    """What is due when: None for what was left out or turned off."""
    if steps is USE_DEFAULT and secs is USE_DEFAULT:
        return default
    return _or_none(steps), _or_none(secs)


def _or_none(number: Any) -> Any:
    return None if number is USE_DEFAULT or not number or number < 0 else number
