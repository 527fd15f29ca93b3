"""Every error fastq raises on purpose. The message says what to do; `exit_code` is what the command line returns."""

from __future__ import annotations

from typing import Any


class FastqError(Exception):
    """The root of all errors that fastq raises."""

    exit_code = 1


class UsageError(FastqError):
    """Something was called or configured in a way that cannot work."""

    exit_code = 2


class TargetError(UsageError):
    """`module:attr` could not be imported, or is not a fastq.App."""


class ArgumentError(UsageError):
    """A job's arguments do not fit its task's signature, or cannot be written as JSON. Nothing was enqueued."""


class PayloadTooLarge(ArgumentError):
    """A job's arguments are larger than the payload limit. Nothing was enqueued."""


class CheckpointTooLarge(ArgumentError):
    """A checkpoint is larger than the limit. Nothing was written."""


class ResultTooLarge(UsageError):
    """What a handler returned is larger than the limit of results that are kept: its job failed, for good."""


class UnknownTask(UsageError):
    """No task of that name is registered with this app."""


class EmbeddedError(FastqError):
    """The embedded PostgreSQL cannot be found or started."""

    exit_code = 3


class DatabaseUnreachable(FastqError):
    """No connection to PostgreSQL could be made."""

    exit_code = 3


class SchemaError(FastqError):
    """The fastq schema is missing, older or newer than this code."""

    exit_code = 4


class NotOpen(UsageError):
    """The app is not open: use `async with app:` or `with app:` around it."""


class LeaseLost(FastqError):
    """The job was taken from this worker (its lease expired), so nothing it writes under the lease counts."""


class ReservationGone(FastqError):
    """The reservation cannot be committed: it expired, or was abandoned or deleted. Its job is not enqueued."""


class JobFailed(FastqError):
    """The job whose result was awaited ended without one; `state` says how, `error` is the record of its last error."""

    def __init__(self, message: str, *, state: str, error: dict[str, Any] | None) -> None:
        super().__init__(message)
        self.state = state
        self.error = error


class JobGone(FastqError):
    """The job whose result was awaited is not there: it was deleted, or it ended and is not kept."""


class EnqueueOutcomeUnknown(FastqError):
    """The connection broke while an enqueue was being committed: the job may or may not be there."""
