"""The hooks that watch a run: that log values, count steps, end it, feed it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from headrace import logging, protos
from headrace.errors import OutOfRangeError
from headrace.graph import get_default_graph
from headrace.summary import FileWriterCache
from headrace.train.global_step import get_global_step
from headrace.train.session_run_hook import (
    SessionRunArgs,
    SessionRunContext,
    SessionRunHook,
    SessionRunValues,
)

_STILL = 5  # runs in a row without a step, after which a StepCounterHook wonders


def required_global_step(hook: Any) -> Any:
    """The global step of the default graph; RuntimeError if there is none.

    To fetch it gives what it is after the run, so that hooks need not run it once more.
    """
    found = get_global_step()
    if found is None:
        raise RuntimeError(
            f"Global step should be created to use {type(hook).__name__}. "
            "tf.train.get_or_create_global_step() makes it; give it to the optimizer's minimize."
        )
    return found


class SecondOrStepTimer:
    """Says when something is due: every so many seconds or every so many steps.

    ValueError unless just one of these is given.
    """

    def __init__(self, every_secs: float | None = None, every_steps: int | None = None):
        if every_secs is None and every_steps is None:
            raise ValueError("Either every_secs or every_steps should be provided.")
        if every_secs is not None and every_steps is not None:
            raise ValueError("Can not provide both every_secs and every_steps.")
        self._every_secs = every_secs
        self._every_steps = every_steps
        self.reset()

    def reset(self) -> None:
        """Begin anew: it is due at once."""
        self._last_triggered_step: int | None = None
        self._last_triggered_time: float | None = None

    def should_trigger_for_step(self, step: int) -> bool:
        """Whether it is due at this step; never twice at one."""
        if self._last_triggered_step is None or self._last_triggered_time is None:
            return True
        if step == self._last_triggered_step:
            return False
        if self._every_secs is not None:
            return time.time() >= self._last_triggered_time + self._every_secs
        return self._every_steps is not None and step >= (
            self._last_triggered_step + self._every_steps
        )

    def update_last_triggered_step(self, step: int) -> tuple[float | None, int | None]:
        """Note that it was done at this step; seconds and steps since the time before."""
        now = time.time()
        seconds = steps = None
        if self._last_triggered_step is not None and self._last_triggered_time is not None:
            seconds = now - self._last_triggered_time
            steps = step - self._last_triggered_step
        self._last_triggered_time, self._last_triggered_step = now, step
        return seconds, steps

    def last_triggered_step(self) -> int | None:
        """The step at which it was done last."""
        return self._last_triggered_step


class LoggingTensorHook(SessionRunHook):
    """Logs values every `every_n_iter` runs, or `every_n_secs` seconds, and `at_end`.

    `tensors` is a dict of tensors (or their names) by what they are called in the log, or a list;
    `formatter` makes the text of a dict of values. It is logged at INFO:
    `tf.logging.set_verbosity(tf.logging.INFO)` shows it.
    """

    def __init__(
        self,
        tensors: Any,
        every_n_iter: int | None = None,
        every_n_secs: float | None = None,
        at_end: bool = False,
        formatter: Callable[[dict[Any, Any]], str] | None = None,
    ):
        only_at_end = at_end and every_n_iter is None and every_n_secs is None
        if not only_at_end and (every_n_iter is None) == (every_n_secs is None):
            raise ValueError(
                "either at_end and/or exactly one of every_n_iter and every_n_secs must be "
                "provided."
            )
        if every_n_iter is not None and every_n_iter <= 0:
            raise ValueError(f"invalid every_n_iter={every_n_iter}.")
        if isinstance(tensors, dict):
            self._tag_order = sorted(tensors)
            self._tensors = dict(tensors)
        else:
            self._tag_order = list(tensors)
            self._tensors = {tensor: tensor for tensor in self._tag_order}
        self._formatter = formatter
        self._timer = None if only_at_end else SecondOrStepTimer(every_n_secs, every_n_iter)
        self._log_at_end = at_end

    def begin(self) -> None:
        """Find the tensors in the default graph; KeyError or ValueError if they are not there."""
        if self._timer is not None:
            self._timer.reset()
        self._iter_count = 0
        self._should_trigger = False
        self._current_tensors = {tag: _tensor(tensor) for tag, tensor in self._tensors.items()}

    def before_run(self, run_context: SessionRunContext) -> SessionRunArgs | None:
        """Ask for the values when they are due."""
        timer = self._timer
        self._should_trigger = timer is not None and timer.should_trigger_for_step(self._iter_count)
        return SessionRunArgs(self._current_tensors) if self._should_trigger else None

    def after_run(self, run_context: SessionRunContext, run_values: SessionRunValues) -> None:
        """Log what was asked for."""
        if self._should_trigger:
            self._log_tensors(run_values.results)
        self._iter_count += 1

    def end(self, session: Any) -> None:
        """Log once more, `at_end`."""
        if self._log_at_end:
            self._log_tensors(session.run(self._current_tensors))

    def _log_tensors(self, tensor_values: dict[Any, Any]) -> None:
        seconds = None
        if self._timer is not None:
            seconds, _ = self._timer.update_last_triggered_step(self._iter_count)
        with np.printoptions(suppress=True):
            if self._formatter is not None:
                logging.info(self._formatter(tensor_values))
                return
            # Not an f-string: that would show a float32 with all the digits of a float64.
            text = ", ".join("%s = %s" % (tag, tensor_values[tag]) for tag in self._tag_order)  # noqa: UP031
        if seconds is None:
            logging.info("%s", text)
        else:
            logging.info("%s (%.3f sec)", text, seconds)


def _tensor(given: Any) -> Any:
    """A tensor of the default graph, by itself or by its name, in which `:0` may be left out."""
    graph = get_default_graph()
    if not isinstance(given, str):
        if getattr(given, "graph", None) is not graph:
            raise ValueError(
                f"Passed {given} should have graph attribute that is equal to current graph "
                f"{graph}."
            )
        return given
    if ":" in given:
        return graph.as_graph_element(given)
    element = graph.as_graph_element(f"{given}:0")
    if len(element.op.outputs) > 1:
        raise ValueError(
            f"Name {given} is ambiguous, as this `Operation` has multiple outputs (at least 2)."
        )
    return element


class StopAtStepHook(SessionRunHook):
    """Ends the run after `num_steps` more steps, or when the global step is `last_step`."""

    def __init__(self, num_steps: int | None = None, last_step: int | None = None):
        if num_steps is None and last_step is None:
            raise ValueError("One of num_steps or last_step must be specified.")
        if num_steps is not None and last_step is not None:
            raise ValueError("Only one of num_steps or last_step can be specified.")
        self._num_steps = num_steps
        self._last_step = last_step

    def begin(self) -> None:
        """Find the global step; RuntimeError if there is none."""
        self._global_step_tensor = required_global_step(self)
        self._request = SessionRunArgs(self._global_step_tensor)

    def after_create_session(self, session: Any, coord: Any) -> None:
        """Count `num_steps` from where training stands now."""
        if self._last_step is None:
            self._last_step = int(session.run(self._global_step_tensor)) + (self._num_steps or 0)

    def before_run(self, run_context: SessionRunContext) -> SessionRunArgs:
        """Ask for the global step."""
        return self._request

    def after_run(self, run_context: SessionRunContext, run_values: SessionRunValues) -> None:
        """Ask to stop when the last step is done."""
        if self._last_step is not None and run_values.results >= self._last_step:
            run_context.request_stop()


class StepCounterHook(SessionRunHook):
    """Logs and records (`global_step/sec`) how many steps a second are done.

    Every `every_n_steps` steps or `every_n_secs` seconds; recorded by `summary_writer`, or in the
    directory `output_dir`.
    """

    def __init__(
        self,
        every_n_steps: int | None = 100,
        every_n_secs: float | None = None,
        output_dir: Any = None,
        summary_writer: Any = None,
    ):
        if (every_n_steps is None) == (every_n_secs is None):
            raise ValueError("exactly one of every_n_steps and every_n_secs should be provided.")
        self._timer = SecondOrStepTimer(every_n_secs, every_n_steps)
        self._summary_writer = summary_writer
        self._output_dir = output_dir
        self._last_global_step: int | None = None
        self._still = 0
        self._warned = 0

    def begin(self) -> None:
        """Find the global step; RuntimeError if there is none."""
        self._global_step_tensor = required_global_step(self)
        self._request = SessionRunArgs(self._global_step_tensor)
        self._summary_tag = f"{self._global_step_tensor.op.name}/sec"
        if self._summary_writer is None and self._output_dir:
            self._summary_writer = FileWriterCache.get(self._output_dir)

    def before_run(self, run_context: SessionRunContext) -> SessionRunArgs:
        """Ask for the global step."""
        return self._request

    def after_run(self, run_context: SessionRunContext, run_values: SessionRunValues) -> None:
        """Log and record, when it is due."""
        global_step = int(run_values.results)
        if self._timer.should_trigger_for_step(global_step):
            seconds, steps = self._timer.update_last_triggered_step(global_step)
            if seconds is not None and steps is not None:
                self._log_and_record(steps, seconds, global_step)
        self._look_for_progress(global_step)

    def _log_and_record(self, elapsed_steps: int, elapsed_time: float, global_step: int) -> None:
        rate = elapsed_steps / elapsed_time if elapsed_time > 0 else float("inf")
        if self._summary_writer is not None:
            value = protos.Summary.Value(tag=self._summary_tag, simple_value=rate)
            self._summary_writer.add_summary(protos.Summary(value=[value]), global_step)
        logging.info("%s: %g", self._summary_tag, rate)

    def _look_for_progress(self, global_step: int) -> None:
        self._still = self._still + 1 if global_step == self._last_global_step else 0
        self._last_global_step = global_step
        if self._still > _STILL and self._warned < _STILL:
            self._still = 0
            self._warned += 1
            logging.warning(
                "It seems that global step (tf.train.get_global_step) has not been increased: it "
                "is %d still. Pass tf.train.get_global_step() to Optimizer.apply_gradients or "
                "Optimizer.minimize.",
                global_step,
            )


class NanLossDuringTrainingError(RuntimeError):
    """The loss is not a number any more."""

    def __str__(self) -> str:
        return "NaN loss during training."


class NanTensorHook(SessionRunHook):
    """Ends the run when the loss is NaN: by NanLossDuringTrainingError, or without an error."""

    def __init__(self, loss_tensor: Any, fail_on_nan_loss: bool = True):
        self._request = SessionRunArgs(loss_tensor)
        self._fail_on_nan_loss = fail_on_nan_loss

    def before_run(self, run_context: SessionRunContext) -> SessionRunArgs:
        """Ask for the loss."""
        return self._request

    def after_run(self, run_context: SessionRunContext, run_values: SessionRunValues) -> None:
        """Look at the loss."""
        if not np.isnan(run_values.results):
            return
        if self._fail_on_nan_loss:
            logging.error("Model diverged with loss = NaN.")
            raise NanLossDuringTrainingError
        logging.warning("Model diverged with loss = NaN.")
        run_context.request_stop()


class FinalOpsHook(SessionRunHook):
    """Runs `final_ops` at the end of the run; `final_ops_values` has what they gave."""

    def __init__(self, final_ops: Any, final_ops_feed_dict: dict[Any, Any] | None = None):
        self._final_ops = final_ops
        self._final_ops_feed_dict = final_ops_feed_dict
        self._final_ops_values: Any = None

    @property
    def final_ops_values(self) -> Any:
        """The values; None before the end."""
        return self._final_ops_values

    def end(self, session: Any) -> None:
        """Run them."""
        if self._final_ops is None:
            return
        try:
            self._final_ops_values = session.run(self._final_ops, self._final_ops_feed_dict)
        except (OutOfRangeError, StopIteration):
            logging.warning(
                "The final operations of a FinalOpsHook need input, which is at its end: let them "
                "depend on variables only."
            )
            raise


class FeedFnHook(SessionRunHook):
    """Feeds every run what `feed_fn()` gives: a dict of values by tensor."""

    def __init__(self, feed_fn: Callable[[], dict[Any, Any]]):
        self.feed_fn = feed_fn

    def before_run(self, run_context: SessionRunContext) -> SessionRunArgs:
        """Ask for the feeds."""
        return SessionRunArgs(fetches=None, feed_dict=self.feed_fn())


class GlobalStepWaiterHook(SessionRunHook):
    """Lets the first run wait until the global step, which others move on, is `wait_until_step`."""

    _PAUSE, _NEWS = 0.5, 1000  # seconds between looks; steps between messages

    def __init__(self, wait_until_step: int):
        self._wait_until_step = wait_until_step

    def begin(self) -> None:
        """Find the global step; RuntimeError if there is none."""
        self._worker_is_started = False
        self._global_step_tensor = required_global_step(self)

    def before_run(self, run_context: SessionRunContext) -> SessionRunArgs | None:
        """Wait, the first time."""
        if self._worker_is_started:
            return None
        last_logged = None
        while self._wait_until_step > 0:
            step = int(run_context.session.run(self._global_step_tensor))
            if step >= self._wait_until_step:
                break
            if last_logged is None or step - last_logged > self._NEWS:
                last_logged = step
                logging.info(
                    "Waiting for global step %d before starting training. Current step is %d.",
                    self._wait_until_step, step,
                )  # fmt: skip
            time.sleep(self._PAUSE)
        self._worker_is_started = True
        return None


def as_list(hooks: Sequence[Any] | None) -> list[Any]:
    """Hooks as a list of one's own; TypeError for what is no list of them."""
    if hooks is not None and (isinstance(hooks, SessionRunHook) or not hasattr(hooks, "__iter__")):
        raise TypeError(f"hooks is a list of SessionRunHooks, not {hooks!r}.")
    return list(hooks or ())
