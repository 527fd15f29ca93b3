"""How long to wait before trying again. Pure."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import dataclass

from fastq.errors import UsageError


@dataclass(frozen=True, slots=True, kw_only=True)
class Exponential:
    """`base_s`, twice that, four times… up to `cap_s`; full jitter picks anywhere between 0 and that."""

    base_s: float = 1.0
    cap_s: float = 3600.0
    jitter: bool = True

    def __call__(self, attempt: int) -> float:
        """Return the seconds to wait after the `attempt`-th failure."""
        delay_s = min(self.cap_s, self.base_s * 2.0 ** min(attempt - 1, 62))
        return random.uniform(0, delay_s) if self.jitter else delay_s  # noqa: S311 - spreading load, not a secret


@dataclass(frozen=True, slots=True, kw_only=True)
class Fixed:
    """Always `delay_s`."""

    delay_s: float

    def __call__(self, attempt: int) -> float:  # noqa: ARG002 - the number does not matter
        """Return the seconds to wait after any failure."""
        return self.delay_s


@dataclass(frozen=True, slots=True, kw_only=True)
class Linear:
    """`step_s`, two steps, three… up to `cap_s`."""

    step_s: float
    cap_s: float = 3600.0

    def __call__(self, attempt: int) -> float:
        """Return the seconds to wait after the `attempt`-th failure."""
        return min(self.cap_s, self.step_s * attempt)


Backoff = Callable[[int], float]


def as_backoff(value: Backoff | float) -> Backoff:
    """Return a backoff from a number of seconds or from a function of the attempt.

    Raises:
        UsageError: the number is none that can be waited for.

    """
    if callable(value):
        return value
    if not 0 <= value < math.inf:
        raise UsageError(f"backoff must be a number of seconds and not negative, not {value}")
    return Fixed(delay_s=float(value))


def full_jitter_s(failures: int, *, base_s: float = 0.05, cap_s: float = 1.0) -> float:
    """Return how long to wait before reconnecting: anywhere up to base · 2^failures, at most `cap_s`."""
    return random.uniform(0, min(cap_s, base_s * 2.0 ** min(failures, 30)))  # noqa: S311
