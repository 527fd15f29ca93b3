"""How many jobs to claim."""

from __future__ import annotations

import pytest

from fastq.worker.demand import Demand

pytestmark = pytest.mark.unit


def demand(*, batch_size: int = 500, prefetch_s: float = 0.01) -> Demand:
    """Return an demand whose clock starts at 1000 seconds."""
    made = Demand(batch_size=batch_size, prefetch_s=prefetch_s)
    made.measure(0, 1000.0)
    return made


def test_at_first_only_free_slots_count() -> None:
    """Nothing is known of the rate, so nothing is prefetched."""
    assert demand().want(free=10, waiting=0) == 10
    assert demand().want(free=0, waiting=0) == 0


def test_no_more_than_a_batch() -> None:
    """Whatever is free."""
    assert demand(batch_size=50).want(free=1000, waiting=0) == 50


def test_long_jobs_are_never_hoarded() -> None:
    """With jobs of half a minute a worker claims what it can start, and not one more, however long it runs."""
    made, now, finished = demand(), 1000.0, 0
    for _ in range(100):
        now += 30.0
        finished += 100
        made.measure(finished, now)
        assert made.want(free=3, waiting=0) == 3
        assert made.want(free=0, waiting=0) == 0
        assert made.want(free=3, waiting=3) == 0


def test_short_jobs_are_prefetched() -> None:
    """At a steady rate of 20,000 a second, ten milliseconds are 200 jobs."""
    made, now, finished = demand(), 1000.0, 0
    for _ in range(50):
        now += 0.01
        finished += 200
        made.measure(finished, now)
    assert made.rate == pytest.approx(20_000, rel=0.01)
    assert made.want(free=10, waiting=0) in range(205, 211)


def test_a_rate_is_forgotten_when_jobs_become_long() -> None:
    """After a second without an end of a job, nothing is prefetched any more."""
    made = demand()
    made.measure(100_000, 1000.5)
    made.measure(200_000, 1001.0)
    assert made.want(free=0, waiting=0) > 0
    made.measure(200_000, 1002.5)
    assert made.rate == 0
    assert made.want(free=0, waiting=0) == 0


def test_too_short_a_time_is_not_measured() -> None:
    """Two looks within the window are one: neither a division by zero nor an absurd rate."""
    made = demand()
    made.measure(1000, 1000.0)
    made.measure(1000, 1000.001)
    assert made.rate == 0


def test_small_claims_are_put_off_while_jobs_wait() -> None:
    """A round trip is worth it when nothing waits, or when a quarter of the target is open."""
    made = demand(batch_size=100)
    assert made.want(free=100, waiting=90) == 0
    assert made.want(free=100, waiting=76) == 0
    assert made.want(free=100, waiting=75) == 25
    assert made.want(free=1, waiting=0) == 1


@pytest.mark.parametrize("free", [0, 1, 7, 1000])
@pytest.mark.parametrize("waiting", [0, 1, 50, 5000])
def test_never_beyond_the_target(free: int, waiting: int) -> None:
    """What waits and what is claimed never exceed the free slots and the prefetch, nor the batch size."""
    made = demand()
    made.measure(5000, 1000.5)
    wanted = made.want(free=free, waiting=waiting)
    assert 0 <= wanted <= 500
    assert wanted == 0 or wanted + waiting <= free + made.rate * 0.01


def drain(trip_s: float, *, job_s: float = 0.001, slots: int = 32, seconds: float = 20.0) -> tuple[float, int, int]:
    """Work off an endless queue at a distance, by a clock of our own, a millisecond a step.

    Returns the share of the slots that were busy in the second half, the most jobs that waited here, the largest claim.
    """
    made, now, finished, waiting, most_waiting, largest = demand(), 1000.0, 0.0, 0, 0, 0
    running: list[float] = []
    coming: tuple[float, int] | None = None
    busy = steps = 0
    while now < 1000.0 + seconds:
        now += 0.001
        ended = [end for end in running if end <= now + 1e-9]
        finished += len(ended)
        running = [end for end in running if end > now + 1e-9]
        if coming is not None and coming[0] <= now + 1e-9:
            made.claimed(trip_s)
            waiting, coming = waiting + coming[1], None
        started = min(slots - len(running), waiting)
        waiting -= started
        running += [now + job_s] * started
        most_waiting = max(most_waiting, waiting)
        made.measure(int(finished), now, busy=len(running))
        if coming is None and (want := made.want(free=slots - len(running), waiting=waiting, busy=len(running))):
            coming, largest = (now + trip_s, want), max(largest, want)
        if now > 1000.0 + seconds / 2:
            busy, steps = busy + len(running), steps + slots
    return busy / steps, most_waiting, largest


@pytest.mark.parametrize("trip_s", [0.001, 0.005, 0.03, 0.1])
def test_distance_does_not_cost_throughput(trip_s: float) -> None:
    """Jobs of a millisecond keep all slots busy, however far the database is: claims bring what their trip needs."""
    share, waiting, largest = drain(trip_s)
    assert share > 0.95
    assert waiting <= 32_000 * (0.01 + 3 * trip_s) + 500, "what waits here is bounded by the trip"
    assert largest <= max(500, 500 * trip_s / 0.01)


@pytest.mark.parametrize("trip_s", [0.001, 0.03, 0.1])
def test_distance_does_not_make_hoarders(trip_s: float) -> None:
    """Jobs of ten seconds are claimed one for each free slot, and at most a few for those that end in the meantime."""
    _, waiting, largest = drain(trip_s, job_s=10.0, seconds=60.0)
    assert waiting <= 4
    assert largest <= 32


def test_trouble_is_no_distance() -> None:
    """One claim that took half a minute, because the server was away, does not fill this process with jobs."""
    made = demand()
    made.claimed(30.0)
    made.measure(10_000, 1001.0)
    assert made.want(free=0, waiting=0) <= 10_000 * (0.01 + 3 * 0.25)
    assert made.distance_s == 0.25
    made.claimed(0.001)
    assert made.distance_s == 0.001


def test_nothing_is_claimed_ahead_where_nothing_is_wanted() -> None:
    """Without prefetch, only free slots count, at any distance."""
    made = demand(prefetch_s=0.0)
    made.claimed(0.1)
    made.measure(10_000, 1001.0)
    assert made.want(free=3, waiting=0) == 3
