"""Event files: what is to be seen in TensorBoard, written by a thread beside the training."""

from __future__ import annotations

import itertools
import os
import socket
import threading
import time
import warnings
import weakref
from collections import deque
from contextlib import suppress
from typing import Any

from headrace import errors, protos
from headrace.bundle.files import os_errors
from headrace.graph import Graph, get_default_graph
from headrace.records import framed

_MOST_PENDING = 256 << 20  # bytes; more than that waits for the disk rather than fill the memory
_numbers = itertools.count()

# -- the file and its thread -----------------------------------------------------------------------


class _EventFile:
    """One event file, and the thread that appends to it.

    Every record goes to the operating system whole and as soon as the thread comes to it, so that
    TensorBoard sees it and a process that is killed loses none that was written.
    """

    def __init__(self, logdir: str, suffix: str):
        name = f"events.out.tfevents.{int(time.time()):010d}.{socket.gethostname()}"
        name = f"{name}.{os.getpid()}.{next(_numbers)}{suffix}"
        self.path = os.path.join(logdir, name)
        with os_errors(logdir):
            os.makedirs(logdir, exist_ok=True)
        with os_errors(self.path):
            self._file = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
        self._records: deque[bytes] = deque()
        self._changed = threading.Condition()
        self._pending = 0  # bytes that are queued or being written
        self._closing = False
        self._error: errors.OpError | None = None
        first = protos.Event(
            wall_time=time.time(),
            file_version="brain.Event:2",
            source_metadata={"writer": "headrace.summary.writer"},
        )
        self._thread = threading.Thread(target=self._work, name="headrace-events", daemon=True)
        self._thread.start()
        self.add(first.SerializeToString())

    def add(self, event: bytes) -> None:
        """Queue a serialized event; raises what went wrong with earlier ones, once."""
        record = framed(event)
        with self._changed:
            while self._pending > _MOST_PENDING and self._alive():
                self._changed.wait(1)
            self._raise()
            self._records.append(record)
            self._pending += len(record)
            self._changed.notify_all()

    def flush(self) -> None:
        """Wait until all that was added is in the file."""
        with self._changed:
            while self._pending and self._alive():
                self._changed.wait(1)
            self._raise()

    def close(self) -> None:
        """Write what is pending and close the file."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        if threading.current_thread() is not self._thread:  # where a garbage collection may run
            self._thread.join()
        with self._changed:
            self._raise()

    def _alive(self) -> bool:
        return self._error is None and self._thread.is_alive()  # after a fork it is not

    def _raise(self) -> None:
        error, self._error = self._error, None
        if error is not None:
            raise error

    def _work(self) -> None:
        try:
            with os_errors(self.path):
                try:
                    while records := self._take():
                        self._write(records)
                finally:
                    os.close(self._file)  # some disks say only here that they are full
        except errors.OpError as error:
            self._end(error)
        except Exception as error:  # no memory, say: who waits must know
            self._end(errors.UnknownError(None, None, f"{self.path}; {error!r}"))

    def _end(self, error: errors.OpError) -> None:
        """Let whoever adds next, or waits, have the error."""
        error.message += "; events that were added since are not in the file"
        with self._changed:
            self._error, self._pending = error, 0
            self._changed.notify_all()

    def _take(self) -> list[bytes]:
        """All that is queued, when there is something; nothing when it is time to end."""
        with self._changed:
            while not self._records and not self._closing:
                self._changed.wait()
            taken = list(self._records)
            self._records.clear()
        return taken

    def _write(self, records: list[bytes]) -> None:
        """Append the records; if not all can be, then as many as can."""
        sizes = [len(r) for r in records]
        data, start = memoryview(b"".join(records)), os.fstat(self._file).st_size
        written = 0
        try:
            while written < len(data):
                written += os.write(self._file, data[written:])
        except OSError:
            whole = max(n for n in itertools.accumulate(sizes, initial=0) if n <= written)
            with suppress(OSError):
                os.ftruncate(self._file, start + whole)  # leave no half of a record behind
            raise
        with self._changed:
            self._pending -= written
            self._changed.notify_all()


class EventFileWriter:
    """Appends events to a file of its own in `logdir`; `FileWriter` is made of one."""

    def __init__(self, logdir: Any, filename_suffix: str | None = None):
        self._logdir = os.fsdecode(logdir)
        if "://" in self._logdir:
            scheme = self._logdir.partition("://")[0]
            raise errors.UnimplementedError(
                None,
                None,
                f"File system scheme '{scheme}' not implemented (file: '{self._logdir}'): give a "
                "directory of this machine.",
            )
        self._suffix = filename_suffix or ""
        self._open()

    def _open(self) -> None:
        self._file: _EventFile | None = _EventFile(self._logdir, self._suffix)
        # What is pending is written when the writer is forgotten, and when the program ends.
        self._finalizer = weakref.finalize(self, self._file.close)

    @property
    def closed(self) -> bool:
        """Whether what is added now goes nowhere."""
        return self._file is None

    def get_logdir(self) -> str:
        """The directory of the file."""
        return self._logdir

    def add_event(self, event: Any) -> None:
        """Append an Event proto, as it is now; nothing is done if the writer is closed."""
        self._try(_EventFile.add, event.SerializeToString())

    def flush(self) -> None:
        """Wait until all that was added is in the file."""
        self._try(_EventFile.flush)

    def close(self) -> None:
        """Write what is pending and close the file."""
        if self._file is not None:
            self._file = None
            self._finalizer()

    def reopen(self) -> None:
        """After `close`: go on, in a new file."""
        if self._file is None:
            self._open()

    def _try(self, act: Any, *arguments: Any) -> None:
        file = self._file  # another thread may be closing it
        if file is None:
            return
        try:
            act(file, *arguments)
        except errors.OpError:  # it is said once; from then on the writer is closed
            self._file = None
            self._finalizer.detach()
            raise


# -- what programs use -----------------------------------------------------------------------------


class FileWriter:
    """Writes summaries, graphs and other events to a file in `logdir`, for TensorBoard.

    A thread does the writing, at once: adding an event does not wait for the disk, whatever
    `max_queue` and `flush_secs`, which are accepted. If the file cannot be written (the disk is
    full), the next call raises one of `tf.errors`, and those after it do nothing.
    """

    def __init__(
        self,
        logdir: Any,
        graph: Any = None,
        max_queue: int = 10,
        flush_secs: float = 120,
        graph_def: Any = None,
        filename_suffix: str | None = None,
        session: Any = None,
    ):
        del max_queue, flush_secs, session
        self.event_writer = EventFileWriter(logdir, filename_suffix)
        self._tags_with_metadata: set[str] = set()
        self._run_tags: set[str] = set()
        if graph is not None or graph_def is not None:
            self.add_graph(graph, graph_def=graph_def)

    def __enter__(self) -> FileWriter:
        return self

    def __exit__(self, kind: Any, error: Any, trace: Any) -> None:
        self.close()

    def get_logdir(self) -> str:
        """The directory of the file."""
        return self.event_writer.get_logdir()

    def add_summary(self, summary: Any, global_step: Any = None) -> None:
        """Add a Summary: what running a summary op gave (bytes), or a proto made by hand.

        The metadata of a tag are written with its first value only.
        """
        serialized = summary if isinstance(summary, bytes) else summary.SerializeToString()
        own = protos.Summary.FromString(serialized)
        for value in own.value:
            if value.tag in self._tags_with_metadata:
                value.ClearField("metadata")
            elif value.HasField("metadata"):
                self._tags_with_metadata.add(value.tag)
        self._add(global_step, summary=own)

    def add_session_log(self, session_log: Any, global_step: Any = None) -> None:
        """Add a SessionLog proto: that a session started, stopped, or saved a checkpoint."""
        self._add(global_step, session_log=session_log)

    def add_graph(self, graph: Any, global_step: Any = None, graph_def: Any = None) -> None:
        """Add a Graph (or, as of old, a GraphDef): TensorBoard draws it."""
        if graph is not None and graph_def is not None:
            raise ValueError("Please pass only graph, or graph_def (deprecated), but not both.")
        given: Any = graph_def if graph is None else graph
        if isinstance(given, Graph):
            given = given.as_graph_def(add_shapes=True)
        elif not _is_proto(given, "GraphDef"):
            raise TypeError(
                "The passed graph must be an instance of `Graph` or the deprecated `GraphDef`"
            )
        self._add(global_step, graph_def=given.SerializeToString())

    def add_meta_graph(self, meta_graph_def: Any, global_step: Any = None) -> None:
        """Add a MetaGraphDef proto."""
        if not _is_proto(meta_graph_def, "MetaGraphDef"):
            raise TypeError(
                f"meta_graph_def must be type MetaGraphDef, saw type: {type(meta_graph_def)}"
            )
        self._add(global_step, meta_graph_def=meta_graph_def.SerializeToString())

    def add_run_metadata(self, run_metadata: Any, tag: str, global_step: Any = None) -> None:
        """Add the RunMetadata proto of one run, under a tag that is not used yet."""
        if tag in self._run_tags:
            raise ValueError("The provided tag was already used for this event type")
        self._run_tags.add(tag)
        tagged = {"tag": tag, "run_metadata": run_metadata.SerializeToString()}
        self._add(global_step, tagged_run_metadata=tagged)

    def add_event(self, event: Any) -> None:
        """Add an Event proto."""
        self._warn_if_closed()
        self.event_writer.add_event(event)

    def flush(self) -> None:
        """Wait until all that was added is in the file."""
        self._warn_if_closed()
        self.event_writer.flush()

    def close(self) -> None:
        """Write what is pending and close the file; what is added after is lost, with a warning."""
        self.event_writer.close()

    def reopen(self) -> None:
        """After `close`: go on, in a new file."""
        self.event_writer.reopen()

    def _add(self, step: Any, **what: Any) -> None:
        event = protos.Event(wall_time=time.time(), **what)
        if step is not None:
            event.step = int(step)
        self._warn_if_closed(4)
        self.event_writer.add_event(event)

    def _warn_if_closed(self, level: int = 3) -> None:
        if self.event_writer.closed:
            warnings.warn(
                "Attempting to use a closed FileWriter. The operation will be a noop unless the "
                "FileWriter is explicitly reopened.",
                stacklevel=level,
            )


def _is_proto(value: Any, name: str) -> bool:
    return getattr(getattr(value, "DESCRIPTOR", None), "name", None) == name


class FileWriterCache:
    """One FileWriter for each directory."""

    _writers: dict[str, FileWriter] = {}  # noqa: RUF012
    _lock = threading.RLock()

    @staticmethod
    def get(logdir: Any) -> FileWriter:
        """The writer of the directory; a new one writes the default graph."""
        key = os.fsdecode(logdir)
        with FileWriterCache._lock:
            writer = FileWriterCache._writers.get(key)
            if writer is None:
                writer = FileWriter(key, graph=get_default_graph())
                FileWriterCache._writers[key] = writer
            return writer

    @staticmethod
    def clear() -> None:
        """Close all writers and forget them."""
        with FileWriterCache._lock:
            for writer in FileWriterCache._writers.values():
                writer.close()
            FileWriterCache._writers.clear()
