"""Durations as users give them: numbers of seconds, or timedeltas."""

from __future__ import annotations

import math
from datetime import timedelta

from fastq.config import DELAY_MOST_S
from fastq.errors import UsageError


def positive_s(name: str, value: float | timedelta | None) -> float | None:
    """Return a duration in seconds.

    Raises:
        UsageError: it is not greater than 0.

    """
    if value is None:
        return None
    seconds = _number_s(name, value)
    if not 0 < seconds <= DELAY_MOST_S:
        raise UsageError(f"{name} must be greater than 0 seconds, and at most 100 years, not {value!r}")
    return seconds


def lasting_s(name: str, value: float | timedelta) -> float:
    """Return for how many seconds something is kept; infinity is for ever.

    Raises:
        UsageError: it is negative or no number.

    """
    seconds = _number_s(name, value)
    if not seconds >= 0:
        raise UsageError(f"{name} must be seconds and not negative, or math.inf, not {value!r}")
    return float(seconds) if seconds <= DELAY_MOST_S else math.inf


def _number_s(name: str, value: object) -> float:
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise UsageError(f"{name} must be a number of seconds or a timedelta, not {value!r:.80}")
    return value
