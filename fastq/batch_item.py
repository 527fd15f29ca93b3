"""What a batch handler gets for each of its jobs. No I/O."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta

from fastq.flow import Discard, Retry, Snooze
from fastq.job import Job


class BatchItemFailed(Exception):
    """What a batch handler said of one job with `item.fail("why")`."""


@dataclass(slots=True)
class ItemOutcome:
    """What a batch handler said of one job, and whether somebody has cancelled it meanwhile."""

    error: BaseException | None = None
    cancelled: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchItem(Job):
    """One job of a batch handler: its arguments as they were enqueued, and what shall become of it alone.

    A job of which nothing is said has succeeded when the handler returns. What is said last counts.
    """

    outcome: ItemOutcome = field(default_factory=ItemOutcome, compare=False, repr=False)

    def fail(self, error: BaseException | str) -> None:
        """Let this job fail, as if it had raised `error`: it is tried again as its task says."""
        self.outcome.error = BatchItemFailed(error) if isinstance(error, str) else error

    def retry(self, delay: float | timedelta | None = None, reason: str = "") -> None:
        """Let this job be tried again, in `delay` seconds or after its task's backoff. Counts as a failed attempt."""
        self.outcome.error = Retry(delay, reason)

    def snooze(self, delay: float | timedelta) -> None:
        """Let this job run again in `delay` seconds. Not an attempt."""
        self.outcome.error = Snooze(delay)

    def discard(self, reason: str) -> None:
        """End this job without success and without a retry; it is kept with the reason."""
        self.outcome.error = Discard(reason)

    @property
    def cancelled(self) -> bool:
        """True once somebody has cancelled this job; if it fails now, it is kept as cancelled."""
        return self.outcome.cancelled
