"""`SessionManager`: sessions whose model is ready, initialised or restored."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np

from headrace import errors, logging
from headrace.graph import Graph, get_default_graph
from headrace.runtime.session import Session
from headrace.train.checkpoint_state import get_checkpoint_state


class SessionManager:
    """Makes sessions, and sees to it that their model is ready.

    `ready_op` and `ready_for_local_init_op` give the names of uninitialised variables, strings [n]:
    empty when the model is ready, and ready for `local_init_op`, which is run before each start
    with `local_init_feed_dict` and `local_init_run_options`. While it waits for others it looks
    again every `recovery_wait_secs` seconds.
    """

    def __init__(
        self,
        local_init_op: Any = None,
        ready_op: Any = None,
        ready_for_local_init_op: Any = None,
        graph: Graph | None = None,
        recovery_wait_secs: float = 30,
        local_init_run_options: Any = None,
        local_init_feed_dict: dict[Any, Any] | None = None,
    ):
        if ready_for_local_init_op is not None and local_init_op is None:
            raise ValueError(
                "If you pass a ready_for_local_init_op you must also pass a local_init_op , "
                f"ready_for_local_init_op [{ready_for_local_init_op}]"
            )
        self._local_init_op = local_init_op
        self._ready_op = ready_op
        self._ready_for_local_init_op = ready_for_local_init_op
        self._graph = get_default_graph() if graph is None else graph
        self._recovery_wait_secs = recovery_wait_secs
        self._local_init_run_options = local_init_run_options
        self._local_init_feed_dict = local_init_feed_dict

    def prepare_session(
        self,
        master: str,
        init_op: Any = None,
        saver: Any = None,
        checkpoint_dir: Any = None,
        checkpoint_filename_with_path: Any = None,
        wait_for_checkpoint: bool = False,
        max_wait_secs: float = 7200,
        config: Any = None,
        init_feed_dict: dict[Any, Any] | None = None,
        init_fn: Callable[[Any], Any] | None = None,
    ) -> Session:
        """A session that is restored from the latest checkpoint, or initialised if there is none.

        RuntimeError if there is nothing to initialise it with, or the model is not ready after.
        """
        sess, restored = self._restore_checkpoint(
            master, saver, checkpoint_dir, checkpoint_filename_with_path,
            wait_for_checkpoint, max_wait_secs, config,
        )  # fmt: skip
        try:
            if not restored:
                if init_op is None and init_fn is None and self._local_init_op is None:
                    raise RuntimeError(
                        "Model is not initialized and no init_op or init_fn or local_init_op was "
                        "given"
                    )
                if init_op is not None:
                    sess.run(init_op, init_feed_dict)
                if init_fn is not None:
                    init_fn(sess)
            made_by = f"Init op: {_name(init_op)}, init fn: {init_fn}"
            ready, trouble = self._try_local_init(sess)
            if not ready:
                raise RuntimeError(
                    "Init operations did not make model ready for local_init.  "
                    f"{made_by}, error: {trouble}"
                )
            ready, trouble = self._model_ready(sess)
            if not ready:
                raise RuntimeError(
                    f"Init operations did not make model ready.  {made_by}, "
                    f"local_init_op: {_name(self._local_init_op)}, error: {trouble}"
                )
        except BaseException:
            sess.close()
            raise
        return sess

    def recover_session(
        self,
        master: str,
        saver: Any = None,
        checkpoint_dir: Any = None,
        checkpoint_filename_with_path: Any = None,
        wait_for_checkpoint: bool = False,
        max_wait_secs: float = 7200,
        config: Any = None,
    ) -> tuple[Session, bool]:
        """A session, restored if there is a checkpoint; and whether its model is ready by that."""
        sess, restored = self._restore_checkpoint(
            master, saver, checkpoint_dir, checkpoint_filename_with_path,
            wait_for_checkpoint, max_wait_secs, config,
        )  # fmt: skip
        local_ready, local_trouble = self._try_local_init(sess)
        if not restored:
            return sess, False
        source = checkpoint_dir or checkpoint_filename_with_path
        if not local_ready:
            logging.info(
                "Restoring model from %s did not make model ready for local init: %s",
                source, local_trouble,
            )  # fmt: skip
            return sess, False
        ready, trouble = self._model_ready(sess)
        if not ready:
            logging.info("Restoring model from %s did not make model ready: %s", source, trouble)
            return sess, False
        logging.info("Restored model from %s", source)
        return sess, True

    def wait_for_session(
        self, master: str, config: Any = None, max_wait_secs: float | None = float("inf")
    ) -> Session:
        """A session whose model others have made ready.

        DeadlineExceededError if it is not within `max_wait_secs` seconds.
        """
        if max_wait_secs is None:
            max_wait_secs = float("inf")
        deadline = time.monotonic() + max_wait_secs
        while True:
            sess = Session(master, graph=self._graph, config=config)
            ready, trouble = False, None
            local_ready, local_trouble = self._try_local_init(sess)
            if local_ready:
                ready, trouble = self._model_ready(sess)
                if ready:
                    return sess
            sess.close()
            if time.monotonic() + self._recovery_wait_secs > deadline:
                raise errors.DeadlineExceededError(
                    None,
                    None,
                    f"Session was not ready after waiting {max_wait_secs} secs. "
                    f"{trouble or local_trouble or ''}".rstrip(),
                )
            logging.info(
                "Waiting for model to be ready.  Ready_for_local_init_op:  %s, ready: %s",
                local_trouble, trouble,
            )  # fmt: skip
            time.sleep(self._recovery_wait_secs)

    def _restore_checkpoint(
        self,
        master: str,
        saver: Any,
        checkpoint_dir: Any,
        filename: Any,
        wait: bool,
        max_wait_secs: float,
        config: Any,
    ) -> tuple[Session, bool]:
        """A new session, and whether a checkpoint was restored into it."""
        if checkpoint_dir and filename:
            raise ValueError(
                "Can not provide both checkpoint_dir and checkpoint_filename_with_path."
            )
        sess = Session(master, graph=self._graph, config=config)
        if saver is None or not (checkpoint_dir or filename):
            return sess, False
        try:
            if filename:
                saver.restore(sess, filename)
                return sess, True
            state = self._checkpoint_state(checkpoint_dir, max_wait_secs if wait else 0)
            if state is None:
                return sess, False
            saver.restore(sess, state.model_checkpoint_path)
        except BaseException:
            sess.close()
            raise
        saver.recover_last_checkpoints(state.all_model_checkpoint_paths)
        return sess, True

    def _checkpoint_state(self, checkpoint_dir: Any, max_wait_secs: float) -> Any:
        """The state file of a directory, waited for; None if there is no checkpoint."""
        waited = 0.0
        while True:
            state = get_checkpoint_state(checkpoint_dir)
            if state is not None and state.model_checkpoint_path:
                return state
            if waited >= max_wait_secs:
                return None
            logging.info("Waiting for checkpoint to be available.")
            time.sleep(self._recovery_wait_secs)
            waited += self._recovery_wait_secs

    def _try_local_init(self, sess: Any) -> tuple[bool, str | None]:
        """Run `local_init_op` if the model is ready for it; whether it is, else what is not."""
        if self._local_init_op is None:
            return True, None
        ready, trouble = _is_ready(
            self._ready_for_local_init_op, sess, "Model not ready for local init"
        )
        if not ready:
            return False, trouble
        logging.info("Running local_init_op.")
        sess.run(
            self._local_init_op,
            feed_dict=self._local_init_feed_dict,
            options=self._local_init_run_options,
        )
        logging.info("Done running local_init_op.")
        return True, None

    def _model_ready(self, sess: Any) -> tuple[bool, str | None]:
        return _is_ready(self._ready_op, sess, "Model not ready")


def _name(op: Any) -> Any:
    return op.name if hasattr(op, "name") else op


def _is_ready(op: Any, sess: Any, what: str) -> tuple[bool, str | None]:
    """Whether the op gives no names of uninitialised variables; else a text that says them."""
    if op is None:
        return True, None
    try:
        names = sess.run(op)
    except errors.FailedPreconditionError as error:
        if "uninitialized" not in str(error):
            logging.warning("%s : error [%s]", what, error)
            raise
        return False, str(error)
    # An old ready op is one of assert_variables_initialized, which gives nothing or numbers.
    if names is None or names.dtype == np.int32 or names.size == 0:
        return True, None
    return False, "Variables not initialized: " + ", ".join(name.decode() for name in names)
