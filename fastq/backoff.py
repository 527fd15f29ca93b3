"""How long to wait before trying again. Pure.

The default is made for an outage of ten minutes: whatever chance does, the fifth retry comes no sooner than 11 minutes
and 22 seconds after the first failure; and the first after two seconds, for a mishap that is over by then.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from itertools import starmap

from fastq.errors import UsageError

RETRIES = 5
"""How often a failed job is tried again, unless its task says otherwise."""

_MOST_SHOWN = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Exponential:
    """`base_s`, `factor` times that, `factor` times that… up to `cap_s`, and up to `jitter` of it on top, by chance.

    By default 2 s, 8 s, 32 s, 2 min 8 s, 8 min 32 s, 34 min, then an hour each, or up to half as much again: jobs that
    failed together do not come back together, and none comes sooner.
    """

    base_s: float = 2.0
    factor: float = 4.0
    cap_s: float = 3600.0
    jitter: float = 0.5

    def __post_init__(self) -> None:
        """Refuse what cannot be waited for."""
        for name, least in (("base_s", 0.0), ("factor", 1.0), ("cap_s", 0.0), ("jitter", 0.0)):
            _check(f"Exponential({name}=…)", getattr(self, name), least)

    def bounds(self, attempt: int) -> tuple[float, float]:
        """Return the shortest and the longest wait after the `attempt`-th failure, in seconds."""
        try:
            delay_s = min(self.cap_s, self.base_s * self.factor ** (attempt - 1))
        except OverflowError:
            delay_s = self.cap_s if self.base_s else 0.0
        return delay_s, delay_s * (1 + self.jitter)

    def __call__(self, attempt: int) -> float:
        """Return the seconds to wait after the `attempt`-th failure."""
        return random.uniform(*self.bounds(attempt))  # noqa: S311 - spreading load, not a secret


@dataclass(frozen=True, slots=True, kw_only=True)
class Fixed:
    """Always `delay_s`."""

    delay_s: float

    def __post_init__(self) -> None:
        """Refuse what cannot be waited for."""
        _check("backoff", self.delay_s)

    def bounds(self, attempt: int) -> tuple[float, float]:  # noqa: ARG002 - the number does not matter
        """Return the shortest and the longest wait after any failure, in seconds."""
        return self.delay_s, self.delay_s

    def __call__(self, attempt: int) -> float:
        """Return the seconds to wait after any failure."""
        return self.bounds(attempt)[0]


@dataclass(frozen=True, slots=True, kw_only=True)
class Linear:
    """`step_s`, two steps, three… up to `cap_s`."""

    step_s: float
    cap_s: float = 3600.0

    def __post_init__(self) -> None:
        """Refuse what cannot be waited for."""
        _check("Linear(step_s=…)", self.step_s)
        _check("Linear(cap_s=…)", self.cap_s)

    def bounds(self, attempt: int) -> tuple[float, float]:
        """Return the shortest and the longest wait after the `attempt`-th failure, in seconds."""
        delay_s = min(self.cap_s, self.step_s * attempt)
        return delay_s, delay_s

    def __call__(self, attempt: int) -> float:
        """Return the seconds to wait after the `attempt`-th failure."""
        return self.bounds(attempt)[0]


Backoff = Callable[[int], float]


def _check(name: str, value: object, least: float = 0.0) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not least <= value < math.inf:
        raise UsageError(f"{name} must be a number from {least:g} on, not {value!r}")
    return float(value)


def as_backoff(value: Backoff | timedelta | float) -> Backoff:
    """Return a backoff from a delay, in seconds or as a timedelta, or from a function of the attempt.

    Raises:
        UsageError: that is none, or cannot be waited for.

    """
    if callable(value):
        return value
    return Fixed(delay_s=value.total_seconds() if isinstance(value, timedelta) else value)


def in_words(retries: int, backoff: Backoff) -> str:
    """Return when a task's failed jobs are tried again, and when they are given up, for people."""
    if not retries:
        return "none"
    if not isinstance(backoff, (Exponential, Fixed, Linear)):
        return f"{retries}, when {getattr(backoff, '__qualname__', type(backoff).__qualname__)} says"
    waits = [backoff.bounds(attempt) for attempt in range(1, retries + 1)]
    shown = ", ".join(starmap(_span, waits[:_MOST_SHOWN]))
    total = _span(*map(sum, zip(*waits, strict=True)))
    return f"{retries}, after {shown}{', …' if retries > _MOST_SHOWN else ''}; given up after {total}"


def _span(least_s: float, most_s: float) -> str:
    """Return a span of time in the largest unit of which it has two at least."""
    unit, size = next(((u, s) for u, s in (("d", 86400), ("h", 3600), ("min", 60)) if most_s >= 2 * s), ("s", 1))
    least, most = f"{least_s / size:.3g}", f"{most_s / size:.3g}"
    return f"{least} {unit}" if least == most else f"{least}-{most} {unit}"


def full_jitter_s(failures: int, *, base_s: float = 0.05, cap_s: float = 1.0) -> float:
    """Return how long to wait before reconnecting: anywhere up to base · 2^failures, at most `cap_s`."""
    return random.uniform(0, min(cap_s, base_s * 2.0 ** min(failures, 30)))  # noqa: S311
