"""What a handler raises to say what should become of its job."""

from __future__ import annotations

from datetime import timedelta
from math import isnan

MOST_DELAY_S = 100 * 365.25 * 86400.0


class Flow(Exception):
    """Raised by a handler to say what should become of its job."""


def bounded_s(delay: float | timedelta) -> float:
    """Return a delay as seconds that the database can add to its time; what is not a number means at once."""
    seconds = delay.total_seconds() if isinstance(delay, timedelta) else float(delay)
    return 0.0 if isnan(seconds) else min(max(0.0, seconds), MOST_DELAY_S)


class Retry(Flow):
    """Try again, in `delay` seconds or after the task's own backoff. Counts as a failed attempt."""

    def __init__(self, delay: float | timedelta | None = None, reason: str = "") -> None:
        super().__init__(reason or "the handler asked for a retry")
        self.delay_s = None if delay is None else bounded_s(delay)


class Snooze(Flow):
    """Run again in `delay` seconds. Not an attempt."""

    def __init__(self, delay: float | timedelta) -> None:
        super().__init__(f"snoozed for {delay}")
        self.delay_s = bounded_s(delay)


class Discard(Flow):
    """End the job without success and without a retry; it is kept with the reason."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
