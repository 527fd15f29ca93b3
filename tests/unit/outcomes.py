"""Jobs and policies for tests of what becomes of a run."""

from __future__ import annotations

from typing import Any

from fastq.backoff import Fixed
from fastq.ends.ending import (
    Raised,
)
from fastq.ends.outcome import (
    RetryPolicy,
    conclude,
)
from fastq.ends.settlement import LeasedJob, Settlement

POLICY = RetryPolicy(retries=3, backoff=Fixed(delay_s=7), keep_failed_s=60)


def job(attempt: int = 0, meta: dict[str, Any] | None = None) -> LeasedJob:
    """Return a job at its `attempt` + first run."""
    return LeasedJob(lease=5, ord=2, id=9, task="t", attempt=attempt, meta=meta)


def decide(error: BaseException, attempt: int = 0, *, final: bool = False, policy: RetryPolicy = POLICY) -> Settlement:
    """Decide on a failure."""
    return conclude(job(attempt, {"headers": {"h": 1}}), Raised(error, final), policy)


class Mute(Exception):
    """An error that cannot say what it is."""

    def __str__(self) -> str:
        raise RuntimeError("no words")
