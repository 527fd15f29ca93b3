"""What a figure was limited by, from what was spent."""

from __future__ import annotations

import pytest

from fastq.bench import limit
from fastq.bench.meter import Spent

pytestmark = pytest.mark.unit


def spent(server: float | None, workers: float | None, host: float | None = 0.5) -> Spent:
    """One second of wall time with so many CPU seconds."""
    return Spent(wall_s=1.0, wal_bytes=1, server_cpu_s=server, worker_cpu_s=workers, host_busy=host)


@pytest.mark.parametrize(
    ("stretch", "says"),
    [
        (spent(1.2, 0.75, 0.98), "CPUs of this host"),
        (spent(0.5, 1.9), "CPU of the worker processes"),
        (spent(1.8, 0.3), "PostgreSQL's CPU"),
        (spent(1.0, 0.8), "turns"),
        (spent(0.2, 0.1), "waiting for flushes"),
        (spent(None, 1.9, None), "CPU of the worker processes"),
        (spent(None, 0.2, None), "PostgreSQL or the network"),
        (spent(None, None, None), "unknown"),
    ],
)
def test_a_drain_names_its_limit(stretch: Spent, says: str) -> None:
    """Two workers on eight CPUs: whoever's CPU is used up is named."""
    assert says in limit.of_drain(stretch, processes=2, cpus=8)


def test_strangers_that_use_the_host_are_named() -> None:
    """A host that is busy with something else says so."""
    assert "other processes 1.40" in limit.of_drain(spent(0.4, 0.2, 1.0), processes=1, cpus=2)


def test_an_enqueue_is_limited_by_producer_or_server() -> None:
    """A producer that never waits is the limit itself."""
    assert "producer, 95%" in limit.of_enqueue(0.95, 1.0)
    assert "server's COPY, 60%" in limit.of_enqueue(0.4, 1.0)


def test_latency_names_its_longer_part() -> None:
    """Commit or wake-up."""
    assert "commit: 1.50 of 2.00" in limit.of_latency(1.5, 2.0)
    assert "NOTIFY and claim: 1.50 of 2.00" in limit.of_latency(0.5, 2.0)
