"""What a hook of a supervised run is: what it may do, what it is given and what it may ask for."""

from __future__ import annotations

from typing import Any, NamedTuple


class SessionRunArgs(NamedTuple):
    """What is asked of a run: fetches, feeds and RunOptions."""

    fetches: Any
    feed_dict: dict[Any, Any] | None = None
    options: Any = None


class SessionRunValues(NamedTuple):
    """What a run gave a hook: the values of its fetches (None if it asked for none), the RunOptions
    that the run had and its RunMetadata."""

    results: Any
    options: Any
    run_metadata: Any


class SessionRunContext:
    """One call of `run`, as its hooks see it."""

    def __init__(self, original_args: SessionRunArgs, session: Any):
        self._original_args = original_args
        self._session = session
        self._stop_requested = False

    @property
    def original_args(self) -> SessionRunArgs:
        """What the caller of `run` asked for: fetches and feeds."""
        return self._original_args

    @property
    def session(self) -> Any:
        """The plain session inside: what it runs goes past the hooks."""
        return self._session

    @property
    def stop_requested(self) -> bool:
        """Whether a hook has asked to stop."""
        return self._stop_requested

    def request_stop(self) -> None:
        """Let `should_stop` be true from now on."""
        self._stop_requested = True


class SessionRunHook:
    """Something that takes part in every step of a supervised run; each method may be left out."""

    def begin(self) -> None:
        """Called once, while operations can still be added to the graph."""

    def after_create_session(self, session: Any, coord: Any) -> None:
        """Called when variables are initialised or restored; again if the session is recreated."""

    def before_run(self, run_context: SessionRunContext) -> SessionRunArgs | None:
        """Called before each run; may ask for more fetches, feeds and options."""
        return None

    def after_run(self, run_context: SessionRunContext, run_values: SessionRunValues) -> None:
        """Called after each run that did not fail."""

    def end(self, session: Any) -> None:
        """Called at the end, with the session still open; not if an error ended the run."""

    def interrupt(self, session: Any) -> None:
        """Called in place of `end` when Ctrl-C ended the run. (TensorFlow has no such method.)"""
