"""How long to wait before trying again."""

from __future__ import annotations

import random

import pytest

from fastq.backoff import Exponential, Fixed, Linear, as_backoff, full_jitter_s
from fastq.errors import UsageError

pytestmark = pytest.mark.unit


def test_exponential_doubles_up_to_its_cap() -> None:
    """Without jitter: base, twice that, four times, and never more than the cap."""
    backoff = Exponential(base_s=2, cap_s=10, jitter=False)
    assert [backoff(n) for n in range(1, 6)] == [2, 4, 8, 10, 10]
    assert backoff(30_000) == 10


def test_full_jitter_picks_anywhere_below() -> None:
    """With jitter the delay is spread over the whole range."""
    random.seed(1)
    delays = [Exponential(base_s=1, cap_s=8)(10) for _ in range(500)]
    assert 0 <= min(delays) < 1
    assert 7 < max(delays) <= 8


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
    with pytest.raises(UsageError, match="negative"):
        as_backoff(-1)


def test_reconnecting_waits_at_most_a_second() -> None:
    """However often it failed."""
    assert all(0 <= full_jitter_s(n) <= 1.0 for n in (0, 1, 5, 100, 10**6))
    assert full_jitter_s(0) <= 0.05


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_delay_must_be_a_number(value: float) -> None:
    """Nan and infinity are no delays."""
    with pytest.raises(UsageError):
        as_backoff(value)
