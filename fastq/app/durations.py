"""Durations as users give them: numbers of seconds, or timedeltas."""

from __future__ import annotations

import math
from datetime import timedelta

from fastq.errors import UsageError
from fastq.flow import MOST_DELAY_S


def positive_s(name: str, value: float | timedelta | None) -> float | None:
    """Return a duration in seconds.

    Raises:
        UsageError: it is not greater than 0.

    """
    seconds = value.total_seconds() if isinstance(value, timedelta) else value
    if seconds is not None and not 0 < seconds < float("inf"):
        raise UsageError(f"{name} must be greater than 0 seconds, not {value!r}")
    return seconds


def lasting_s(name: str, value: float | timedelta) -> float:
    """Return for how many seconds something is kept; infinity is for ever.

    Raises:
        UsageError: it is negative or no number.

    """
    seconds = value.total_seconds() if isinstance(value, timedelta) else value
    if not seconds >= 0:
        raise UsageError(f"{name} must be seconds and not negative, or math.inf, not {value!r}")
    return float(seconds) if seconds <= MOST_DELAY_S else math.inf
