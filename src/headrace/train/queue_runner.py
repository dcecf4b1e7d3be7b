"""`QueueRunner`: threads that fill a queue by running its enqueue operations again and again."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any
from weakref import WeakKeyDictionary

from headrace import logging
from headrace.bundle.protos import message
from headrace.errors import (
    OpError,
    OutOfRangeError,
    error_code_from_exception_type,
    exception_type_from_error_code,
)
from headrace.graph import add_to_collection, get_default_graph
from headrace.keys import GraphKeys
from headrace.node import get_default_session
from headrace.runtime.session import BaseSession
from headrace.train.coordinator import Coordinator, is_exiting, stopped_at_exit
from headrace.train.meta_graph import register_proto_function


class QueueRunner:
    """Fills a queue from threads, one for each of `enqueue_ops`.

    When an enqueue operation ends with one of `queue_closed_exception_types` (by default
    OutOfRangeError) its thread is done, and after the last of them `close_op` is run. Any other
    error stops the coordinator, if there is one. When a coordinator stops `cancel_op` is run.
    By default `close_op` is `queue.close()`, and `cancel_op` cancels pending enqueues as well.
    """

    def __init__(
        self,
        queue: Any = None,
        enqueue_ops: Sequence[Any] | None = None,
        close_op: Any = None,
        cancel_op: Any = None,
        queue_closed_exception_types: Any = None,
        queue_runner_def: Any = None,
        import_scope: str | None = None,
    ):
        self._lock = threading.Lock()
        self._running: WeakKeyDictionary[Any, int] = WeakKeyDictionary()  # threads by session
        self._exceptions_raised: list[Exception] = []
        if queue_runner_def is not None:
            if queue is not None or enqueue_ops:
                raise ValueError("queue_runner_def and queue are mutually exclusive.")
            self._restore(queue_runner_def, import_scope)
            return
        if queue is None or not enqueue_ops:
            raise ValueError("Must provide queue and enqueue_ops.")
        self._closed_types = _error_types(queue_closed_exception_types)
        self._queue = queue
        self._enqueue_ops = list(enqueue_ops)
        self._close_op = queue.close() if close_op is None else close_op
        self._cancel_op = (
            queue.close(cancel_pending_enqueues=True) if cancel_op is None else cancel_op
        )

    @property
    def queue(self) -> Any:
        """The queue that is filled."""
        return self._queue

    @property
    def enqueue_ops(self) -> list[Any]:
        """The operations that fill it."""
        return self._enqueue_ops

    @property
    def close_op(self) -> Any:
        """The operation that closes the queue when its data is at an end."""
        return self._close_op

    @property
    def cancel_op(self) -> Any:
        """The operation that closes the queue when the threads are asked to stop."""
        return self._cancel_op

    @property
    def queue_closed_exception_types(self) -> tuple[type[OpError], ...]:
        """The errors by which an enqueue operation says that its data is at an end."""
        return self._closed_types

    @property
    def exceptions_raised(self) -> list[Exception]:
        """The errors of threads that were started without a coordinator."""
        return self._exceptions_raised

    @property
    def name(self) -> str:
        """The name of the queue's node."""
        return self._queue.name

    # -- threads ---------------------------------------------------------------------------------

    def create_threads(
        self,
        sess: Any,
        coord: Coordinator | None = None,
        daemon: bool = False,
        start: bool = False,
    ) -> list[threading.Thread]:
        """Threads that run the enqueue operations in `sess`; none if it has some already.

        With a coordinator one more, which runs `cancel_op` when the threads are asked to stop.
        """
        with self._lock:
            if self._running.get(sess, 0) > 0:
                return []
            self._running[sess] = len(self._enqueue_ops)
            self._exceptions_raised = []
        start_of_name = f"QueueRunnerThread-{self.name}"
        threads = [
            threading.Thread(
                target=self._run, args=(sess, op, coord), name=f"{start_of_name}-{op.name}"
            )
            for op in self._enqueue_ops
        ]
        if coord is not None:
            name = f"{start_of_name}-close_on_stop"
            threads.append(
                threading.Thread(target=self._close_on_stop, args=(sess, coord), name=name)
            )
        for thread in threads:
            thread.daemon = thread.daemon or daemon
            if coord is not None:
                coord.register_thread(thread)
            if start:
                thread.start()
        return threads

    def _run(self, sess: Any, enqueue_op: Any, coord: Coordinator | None) -> None:
        try:
            with stopped_at_exit(sess.close):
                enqueue = sess.make_callable(enqueue_op)
                while not (is_exiting() or (coord is not None and coord.should_stop())):
                    enqueue()
        except self._closed_types:
            if self._count_down(sess) == 0:
                _run_quietly(sess, self._close_op)
        except Exception as error:
            self._count_down(sess)
            if is_exiting():
                return
            if coord is not None:
                coord.request_stop(error)
                return
            logging.error("Exception in QueueRunner: %s", error)
            with self._lock:
                self._exceptions_raised.append(error)
            raise
        else:
            self._count_down(sess)

    def _count_down(self, sess: Any) -> int:
        with self._lock:
            self._running[sess] -= 1
            return self._running[sess]

    def _close_on_stop(self, sess: Any, coord: Coordinator) -> None:
        coord.wait_for_stop()
        _run_quietly(sess, self._cancel_op)

    # -- protos ----------------------------------------------------------------------------------

    @staticmethod
    def from_proto(queue_runner_def: Any, import_scope: str | None = None) -> QueueRunner:
        """The QueueRunner of a QueueRunnerDef proto whose operations are in the graph already."""
        return QueueRunner(queue_runner_def=queue_runner_def, import_scope=import_scope)

    def to_proto(self, export_scope: str | None = None) -> Any:
        """It as a QueueRunnerDef proto; None if it is not inside `export_scope`."""
        prefix = f"{export_scope}/" if export_scope else ""
        if not self.name.startswith(prefix):
            return None
        cut = len(prefix)
        return message("QueueRunnerDef")(
            queue_name=self.name[cut:],
            enqueue_op_name=[op.name[cut:] for op in self._enqueue_ops],
            close_op_name=self._close_op.name[cut:],
            cancel_op_name=self._cancel_op.name[cut:],
            queue_closed_exception_types=map(error_code_from_exception_type, self._closed_types),
        )

    def _restore(self, proto: Any, import_scope: str | None) -> None:
        graph = get_default_graph()
        prefix = f"{import_scope}/" if import_scope else ""

        def find(name: str) -> Any:
            return graph.as_graph_element(prefix + name)

        self._queue = find(proto.queue_name)
        self._enqueue_ops = [find(name) for name in proto.enqueue_op_name]
        self._close_op = find(proto.close_op_name)
        self._cancel_op = find(proto.cancel_op_name)
        codes = proto.queue_closed_exception_types
        self._closed_types = (
            tuple(map(exception_type_from_error_code, codes)) or (OutOfRangeError,)
        )  # fmt: skip


def _error_types(given: Any) -> tuple[type[OpError], ...]:
    if given is None:
        return (OutOfRangeError,)
    if (
        not isinstance(given, tuple)
        or not given
        or not all(isinstance(t, type) and issubclass(t, OpError) for t in given)
    ):
        raise TypeError(
            "queue_closed_exception_types, when provided, must be a tuple of tf.error types, but "
            f"saw: {given}"
        )
    return given


def _run_quietly(sess: Any, op: Any) -> None:
    """Close a queue, which may be closed already, with its session too."""
    try:
        sess.run(op)
    except (OpError, RuntimeError) as error:
        logging.debug("Ignored exception: %s", error)


def add_queue_runner(qr: QueueRunner, collection: str = GraphKeys.QUEUE_RUNNERS) -> None:
    """Let `start_queue_runners` start this one too."""
    add_to_collection(collection, qr)


def start_queue_runners(
    sess: Any = None,
    coord: Coordinator | None = None,
    daemon: bool = True,
    start: bool = True,
    collection: str = GraphKeys.QUEUE_RUNNERS,
) -> list[threading.Thread]:
    """Start the threads of all queue runners of the session's graph; returns them.

    ValueError if no session is given and none is the default; TypeError for what is no session. A
    MonitoredSession has started them itself: nothing is done then.
    """
    if sess is None:
        sess = get_default_session()
        if sess is None:
            raise ValueError(
                "Cannot start queue runners: No default session is registered. Use `with "
                "sess.as_default()` or pass an explicit session to "
                "tf.start_queue_runners(sess=sess)"
            )
    if not isinstance(sess, BaseSession):
        if type(sess).__name__ in ("MonitoredSession", "SingularMonitoredSession"):
            return []
        raise TypeError(f"sess must be a `tf.Session` object. Given class: {type(sess)}")
    runners = sess.graph.get_collection(collection)
    if not runners:
        logging.warning(
            "`tf.train.start_queue_runners()` was called when no queue runners were defined. You "
            "can safely remove the call to this deprecated function."
        )
    with sess.graph.as_default():
        return [
            thread
            for runner in runners
            for thread in runner.create_threads(sess, coord, daemon, start)
        ]


register_proto_function(
    GraphKeys.QUEUE_RUNNERS,
    proto_type=lambda: message("QueueRunnerDef"),
    to_proto=QueueRunner.to_proto,
    from_proto=QueueRunner.from_proto,
)
