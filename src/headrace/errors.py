"""The exceptions of a run: TensorFlow's classes under `tf.errors`, with its error codes."""

from __future__ import annotations

from typing import Any

OK, CANCELLED, UNKNOWN, INVALID_ARGUMENT, DEADLINE_EXCEEDED, NOT_FOUND, ALREADY_EXISTS = range(7)
PERMISSION_DENIED, RESOURCE_EXHAUSTED, FAILED_PRECONDITION, ABORTED, OUT_OF_RANGE = range(7, 12)
UNIMPLEMENTED, INTERNAL, UNAVAILABLE, DATA_LOSS, UNAUTHENTICATED = range(12, 17)


class OpError(Exception):
    """What went wrong while an op ran.

    `op` is the failing `Operation` (None if none is to blame), `node_def` its proto.
    """

    code = UNKNOWN

    def __init__(self, node_def: Any, op: Any, message: str, error_code: int | None = None):
        super().__init__(node_def, op, message)
        self._node_def = node_def
        self.op = op
        self.message = message
        self.error_code = self.code if error_code is None else error_code

    @property
    def node_def(self) -> Any:
        """The NodeDef of the op that failed, or None."""
        if self._node_def is None and self.op is not None:
            return self.op.node_def
        return self._node_def

    def __str__(self) -> str:
        return self.message

    def __reduce__(self) -> tuple[Any, ...]:
        return type(self), (None, None, self.message)


class CancelledError(OpError):
    """The operation was cancelled, as when its session or queue was closed."""

    code = CANCELLED


class UnknownError(OpError):
    """Nothing better is known, as when a Python function raised an unusual error."""

    code = UNKNOWN


class InvalidArgumentError(OpError):
    """A value that the op cannot take."""

    code = INVALID_ARGUMENT


class DeadlineExceededError(OpError):
    """The time given was not enough."""

    code = DEADLINE_EXCEEDED


class NotFoundError(OpError):
    """A file or key that is not there."""

    code = NOT_FOUND


class AlreadyExistsError(OpError):
    """What was to be made is there already."""

    code = ALREADY_EXISTS


class PermissionDeniedError(OpError):
    """The caller may not do this."""

    code = PERMISSION_DENIED


class UnauthenticatedError(OpError):
    """The caller is not known."""

    code = UNAUTHENTICATED


class ResourceExhaustedError(OpError):
    """Memory, disk or another resource has run out."""

    code = RESOURCE_EXHAUSTED


class FailedPreconditionError(OpError):
    """The state is not ready for this, as when a variable is uninitialised."""

    code = FAILED_PRECONDITION


class AbortedError(OpError):
    """The operation was given up, as a transaction is."""

    code = ABORTED


class OutOfRangeError(OpError):
    """Past the end, as of an input pipeline."""

    code = OUT_OF_RANGE


class UnimplementedError(OpError):
    """Not supported here."""

    code = UNIMPLEMENTED


class InternalError(OpError):
    """Something that must hold does not: a defect."""

    code = INTERNAL


class UnavailableError(OpError):
    """Not to be had at the moment."""

    code = UNAVAILABLE


class DataLossError(OpError):
    """Data is broken or cut off."""

    code = DATA_LOSS


_CLASSES = {
    cls.code: cls
    for cls in (
        CancelledError, UnknownError, InvalidArgumentError, DeadlineExceededError, NotFoundError,
        AlreadyExistsError, PermissionDeniedError, UnauthenticatedError, ResourceExhaustedError,
        FailedPreconditionError, AbortedError, OutOfRangeError, UnimplementedError, InternalError,
        UnavailableError, DataLossError,
    )
}  # fmt: skip


def exception_type_from_error_code(code: int) -> type[OpError]:
    """The class for one of the codes of this module (`tf.errors.NOT_FOUND`...)."""
    return _CLASSES[code]


def error_code_from_exception_type(cls: type[OpError]) -> int:
    """The code of one of the classes of this module."""
    return cls.code
