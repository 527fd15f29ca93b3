"""How long to wait before trying again."""

from __future__ import annotations

import random
from datetime import timedelta
from typing import Any

import pytest

from fastq.backoff import RETRIES, Backoff, Exponential, Fixed, Linear, as_backoff, full_jitter_s, in_words
from fastq.ends.outcome import RetryPolicy
from fastq.errors import UsageError

pytestmark = pytest.mark.unit


def test_the_default_outlasts_ten_minutes() -> None:
    """Five retries, the default, end later than that whatever chance does; the first is there within three seconds."""
    backoff = Exponential()
    assert RETRIES == RetryPolicy().retries == 5
    assert [backoff.bounds(n)[0] for n in range(1, 6)] == [2, 8, 32, 128, 512]
    assert sum(backoff.bounds(n)[0] for n in range(1, 6)) == 682 > 600
    assert backoff.bounds(1)[1] == 3
    assert sum(backoff.bounds(n)[1] for n in range(1, 6)) == 1023


def test_exponential_multiplies_up_to_its_cap() -> None:
    """Without jitter: base, factor times that, and never more than the cap, whatever the attempt."""
    backoff = Exponential(base_s=2, factor=2, cap_s=10, jitter=0)
    assert [backoff(n) for n in range(1, 6)] == [2, 4, 8, 10, 10]
    assert backoff(30_000) == 10
    assert Exponential(base_s=0, factor=1e9)(30_000) == 0


def test_jitter_only_adds() -> None:
    """The delay is spread evenly from what the schedule says to so much more."""
    random.seed(1)
    delays = [Exponential(base_s=8, jitter=0.5)(1) for _ in range(500)]
    assert 8 <= min(delays) < 8.1
    assert 11.9 < max(delays) <= 12


@pytest.mark.parametrize(
    ("retries", "backoff", "words"),
    [
        (0, Exponential(), "none"),
        (1, Exponential(), "1, after 2-3 s; given up after 2-3 s"),
        (
            5,
            Exponential(),
            "5, after 2-3 s, 8-12 s, 32-48 s, 2.13-3.2 min, 8.53-12.8 min; given up after 11.4-17.1 min",
        ),
        (
            7,
            Exponential(jitter=0),
            "7, after 2 s, 8 s, 32 s, 2.13 min, 8.53 min, 34.1 min, …; given up after 106 min",
        ),
        (2, Fixed(delay_s=10), "2, after 10 s, 10 s; given up after 20 s"),
        (2, Linear(step_s=86400, cap_s=1e9), "2, after 24 h, 2 d; given up after 3 d"),
        (3, lambda attempt: 0.0, "3, when <lambda> says"),
    ],
)
def test_a_schedule_in_words(retries: int, backoff: Backoff, words: str) -> None:
    """Each wait with its bounds, and how long a job lasts at least and at most."""
    assert in_words(retries, backoff) == words


def test_fixed_and_linear() -> None:
    """Always the same; or one step more each time, up to the cap."""
    assert [Fixed(delay_s=3)(n) for n in (1, 9)] == [3, 3]
    assert [Linear(step_s=2, cap_s=5)(n) for n in (1, 2, 3)] == [2, 4, 5]


def test_as_backoff() -> None:
    """A number is a fixed delay; a function is taken as it is; a negative number is refused."""
    double = lambda attempt: attempt * 2.0  # noqa: E731
    assert as_backoff(double) is double
    assert as_backoff(1.5)(7) == 1.5
    assert as_backoff(0)(1) == 0
    assert as_backoff(timedelta(minutes=1))(3) == 60


def test_reconnecting_waits_at_most_a_second() -> None:
    """However often it failed."""
    assert all(0 <= full_jitter_s(n) <= 1.0 for n in (0, 1, 5, 100, 10**6))
    assert full_jitter_s(0) <= 0.05


@pytest.mark.parametrize("value", [float("nan"), float("inf"), -1, "x", True, None])
def test_a_delay_must_be_a_number(value: Any) -> None:
    """What cannot be waited for is refused when the task is declared, in a sentence."""
    with pytest.raises(UsageError, match="must be a number from 0 on, not"):
        as_backoff(value)
    with pytest.raises(UsageError, match=r"Exponential\(base_s=…\) must be a number from 0 on, not"):
        Exponential(base_s=value)
    with pytest.raises(UsageError, match=r"Exponential\(factor=…\) must be a number from 1 on, not 0.5"):
        Exponential(factor=0.5)
    with pytest.raises(UsageError, match="step_s"):
        Linear(step_s=value)
