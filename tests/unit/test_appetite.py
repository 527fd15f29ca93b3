"""How many jobs to claim."""

from __future__ import annotations

import pytest

from fastq.worker.appetite import Appetite

pytestmark = pytest.mark.unit


def appetite(*, batch_size: int = 500, prefetch_s: float = 0.01) -> Appetite:
    """Return an appetite whose clock starts at 1000 seconds."""
    made = Appetite(batch_size=batch_size, prefetch_s=prefetch_s)
    made.measure(0, 1000.0)
    return made


def test_at_first_only_free_slots_count() -> None:
    """Nothing is known of the rate, so nothing is prefetched."""
    assert appetite().want(free=10, waiting=0) == 10
    assert appetite().want(free=0, waiting=0) == 0


def test_no_more_than_a_batch() -> None:
    """Whatever is free."""
    assert appetite(batch_size=50).want(free=1000, waiting=0) == 50


def test_long_jobs_are_never_hoarded() -> None:
    """With jobs of half a minute a worker claims what it can start, and not one more, however long it runs."""
    made, now, finished = appetite(), 1000.0, 0
    for _ in range(100):
        now += 30.0
        finished += 100
        made.measure(finished, now)
        assert made.want(free=3, waiting=0) == 3
        assert made.want(free=0, waiting=0) == 0
        assert made.want(free=3, waiting=3) == 0


def test_short_jobs_are_prefetched() -> None:
    """At a steady rate of 20,000 a second, ten milliseconds are 200 jobs."""
    made, now, finished = appetite(), 1000.0, 0
    for _ in range(50):
        now += 0.01
        finished += 200
        made.measure(finished, now)
    assert made.rate == pytest.approx(20_000, rel=0.01)
    assert made.want(free=10, waiting=0) in range(205, 211)


def test_a_rate_is_forgotten_when_jobs_become_long() -> None:
    """After a second without an end of a job, nothing is prefetched any more."""
    made = appetite()
    made.measure(100_000, 1000.5)
    made.measure(200_000, 1001.0)
    assert made.want(free=0, waiting=0) > 0
    made.measure(200_000, 1002.5)
    assert made.rate == 0
    assert made.want(free=0, waiting=0) == 0


def test_too_short_a_time_is_not_measured() -> None:
    """Two looks within the window are one: neither a division by zero nor an absurd rate."""
    made = appetite()
    made.measure(1000, 1000.0)
    made.measure(1000, 1000.001)
    assert made.rate == 0


def test_small_claims_are_put_off_while_jobs_wait() -> None:
    """A round trip is worth it when nothing waits, or when a quarter of the target is open."""
    made = appetite(batch_size=100)
    assert made.want(free=100, waiting=90) == 0
    assert made.want(free=100, waiting=76) == 0
    assert made.want(free=100, waiting=75) == 25
    assert made.want(free=1, waiting=0) == 1


@pytest.mark.parametrize("free", [0, 1, 7, 1000])
@pytest.mark.parametrize("waiting", [0, 1, 50, 5000])
def test_never_beyond_the_target(free: int, waiting: int) -> None:
    """What waits and what is claimed never exceed the free slots and the prefetch, nor the batch size."""
    made = appetite()
    made.measure(5000, 1000.5)
    wanted = made.want(free=free, waiting=waiting)
    assert 0 <= wanted <= 500
    assert wanted == 0 or wanted + waiting <= free + made.rate * 0.01
