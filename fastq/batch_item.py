"""What a batch handler gets for each of its jobs. No I/O."""

from __future__ import annotations

from datetime import timedelta

from msgspec.structs import force_setattr

from fastq.flow import Discard, Retry, Snooze
from fastq.job import Job


class BatchItemFailed(Exception):
    """What a batch handler said of one job with `item.fail("why")`."""


class BatchItem(Job, frozen=True, kw_only=True, repr_omit_defaults=True):
    """One job of a batch handler: its arguments as they were enqueued, and what shall become of it alone.

    A job of which nothing is said has succeeded when the handler returns. What is said last counts.
    """

    _error: BaseException | None = None
    _cancelled: bool = False

    def fail(self, error: BaseException | str) -> None:
        """Let this job fail, as if it had raised `error`: it is tried again as its task says."""
        self._say(BatchItemFailed(error) if isinstance(error, str) else error)

    def retry(self, delay: float | timedelta | None = None, reason: str = "") -> None:
        """Let this job be tried again, in `delay` seconds or after its task's backoff. Counts as a failed attempt."""
        self._say(Retry(delay, reason))

    def snooze(self, delay: float | timedelta) -> None:
        """Let this job run again in `delay` seconds. Not an attempt."""
        self._say(Snooze(delay))

    def discard(self, reason: str) -> None:
        """End this job without success and without a retry; it is kept with the reason."""
        self._say(Discard(reason))

    @property
    def cancelled(self) -> bool:
        """True once somebody has cancelled this job; if it fails now, it is kept as cancelled."""
        return self._cancelled

    def _say(self, error: BaseException) -> None:
        force_setattr(self, "_error", error)


def end_of(item: BatchItem) -> BaseException | None:
    """Return what its handler said of a job, if anything."""
    return item._error  # noqa: SLF001 - ours


def cancel(item: BatchItem) -> None:
    """Tell its handler that somebody has cancelled a job."""
    force_setattr(item, "_cancelled", True)
