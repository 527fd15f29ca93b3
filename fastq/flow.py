"""What a handler raises to say what should become of its job."""

from __future__ import annotations

from datetime import timedelta
from math import isnan

from fastq.config import DELAY_MOST_S, RETRIES_MOST
from fastq.errors import UsageError


class Flow(Exception):
    """Raised by a handler to say what should become of its job."""


def bounded_s(delay: float | timedelta) -> float:
    """Return a delay as seconds that the database can add to its time; nan means at once.

    Raises:
        UsageError: it is neither a number of seconds nor a timedelta.

    """
    try:
        seconds = delay.total_seconds() if isinstance(delay, timedelta) else float(delay)
    except OverflowError:
        return DELAY_MOST_S
    except (TypeError, ValueError):
        raise UsageError(f"delay must be seconds or a timedelta, not {delay!r:.80}") from None
    return 0.0 if isnan(seconds) else min(max(0.0, seconds), DELAY_MOST_S)


def counted(extra_retries: int) -> int:
    """Return a number of retries that a job gets besides those that it has.

    Raises:
        UsageError: it is none.

    """
    if type(extra_retries) is not int or not 0 <= extra_retries <= RETRIES_MOST:
        raise UsageError(f"extra_retries must be 0 to {RETRIES_MOST}, not {extra_retries!r:.80}")
    return extra_retries


class Retry(Flow):
    """Try again, in `delay` seconds or after the task's own backoff. Counts as a failed attempt.

    `extra_retries`: so many more retries the job has from now on.
    """

    def __init__(self, delay: float | timedelta | None = None, reason: str = "", *, extra_retries: int = 0) -> None:
        super().__init__(reason or "the handler asked for a retry")
        self.delay_s = None if delay is None else bounded_s(delay)
        self.extra_retries = counted(extra_retries)


class Snooze(Flow):
    """Run again in `delay` seconds. Not an attempt."""

    def __init__(self, delay: float | timedelta) -> None:
        super().__init__(f"snoozed for {delay}")
        self.delay_s = bounded_s(delay)


class Discard(Flow):
    """End the job without success and without a retry; it is kept with the reason."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
