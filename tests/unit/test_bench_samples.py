"""What is made of the samples of a flow, of the depths, of the steps. Pure."""

from __future__ import annotations

import pytest

from benchmarks import depth, scale
from fastq.bench import flow, limit, pinned
from fastq.bench.flow import FlowStretch, Measured
from fastq.bench.meter import Spent, total
from fastq.bench.pinned import Sizes
from fastq.bench.producer import ProducerOrders

pytestmark = pytest.mark.unit


def second(run: int, at_s: float = 1.0, backlog: int = 0) -> FlowStretch:
    """One second in which so many jobs were run."""
    return FlowStretch(at_s=at_s, wall_s=1.0, enqueued=run, run=run, backlog=backlog)


def spent(server: float | None, workers: float | None, host: float | None = 0.5) -> Spent:
    """One second of wall time with so many CPU seconds."""
    return Spent(wall_s=1.0, wal_bytes=100, server_cpu_s=server, worker_cpu_s=workers, host_busy=host)


def test_a_flow_is_the_sum_of_its_samples() -> None:
    """Rates over the whole time, the slowest second, costs per job that was run."""
    measured = Measured(samples=[second(10), second(30, backlog=7)], spent=spent(0.4, None), client_cpu_s=0.2)
    figures = measured.figures()
    assert (measured.jobs, figures["jobs_per_s"], figures["slowest_jobs_per_s"], figures["most_backlog"]) == (
        40,
        20,
        10,
        7,
    )
    assert figures["server_cpu_us_per_job"] == pytest.approx(10_000)
    assert figures["worker_cpu_us_per_job"] is None
    assert figures["client_cpu_us_per_job"] == pytest.approx(5000)


def test_first_and_last_tenth_are_compared() -> None:
    """A tenth of the samples, one at least."""
    found = pinned.ends([second(100)] * 2 + [second(1)] * 16 + [second(90)] * 2)
    assert (found["first_jobs_per_s"], found["last_jobs_per_s"], found["ratio_last_to_first"]) == (100, 90, 0.9)
    assert pinned.ends([second(4), second(2)])["ratio_last_to_first"] == 0.5


def test_growth_is_that_of_the_second_half() -> None:
    """All tables count; the ring and the leases are told apart."""
    sizes = [Sizes(head=0, ring_bytes=[ring, 0, 0, 0], lease_bytes=10, other_bytes=5) for ring in (5, 85, 35, 135)]
    found = pinned.growth(sizes)
    assert found == {"most_bytes": 150, "growth": 1.5, "most_ring_bytes": 135, "most_lease_bytes": 10}


def test_producers_share_an_open_load_and_lose_no_job() -> None:
    """Rates and jobs add up to what was asked for."""
    orders = ProducerOrders(dsn="", folder="", payload_bytes=51, rate=100.0, jobs=10, warm_up=3)
    shares = flow._shares(orders, 3)
    assert sum(share.jobs for share in shares) == 10
    assert sum(share.rate for share in shares) == pytest.approx(100)


@pytest.mark.parametrize(
    ("jobs", "found"),
    [
        (10, [1, 10]),
        (50_000, [5000, 50_000]),
        (1_000_000, [10_000, 1_000_000]),
        (5_000_000, [10_000, 1_000_000, 5_000_000]),
    ],
)
def test_depths_begin_shallow_and_end_where_asked(jobs: int, found: list[int]) -> None:
    """Ten thousand, a million, and --jobs; a tenth where that is little."""
    assert depth.depths(jobs) == found


@pytest.mark.parametrize(
    ("shallow", "processes", "batch"), [(1, 4, 500), (500, 2, 500), (10_000, 2, 500), (10_000, 64, 500)]
)
def test_a_round_leaves_half_of_the_shallow_backlog(shallow: int, processes: int, batch: int) -> None:
    """Claims stay full; only where there is nothing to divide do they take one job."""
    size = depth.claim_size(shallow, processes, batch)
    assert 1 <= size <= batch
    assert size == 1 or size * processes * 5 <= shallow / 2


@pytest.mark.parametrize(
    ("processes", "found"),
    [(1, [1]), (3, [1, 2, 3]), (8, list(range(1, 9))), (20, [*range(1, 9), 16, 20]), (64, [*range(1, 9), 16, 32, 64])],
)
def test_scale_tries_every_number_at_first(processes: int, found: list[int]) -> None:
    """Then the doubles, and always the last."""
    assert scale.steps(processes) == found


def test_stretches_add_up() -> None:
    """What is unknown in one is unknown in all."""
    both = total([spent(0.2, None, 0.4), spent(0.3, 0.1, 0.6)])
    assert (both.wall_s, both.wal_bytes, both.server_cpu_s, both.worker_cpu_s) == (2.0, 200, 0.5, None)
    assert both.host_busy == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("stretch", "clients", "full", "says"),
    [
        (spent(1.0, 0.5, 0.95), 0.3, False, "CPUs of this host"),
        (spent(0.5, 1.9), 0.1, True, "the workers, producers had to pause: the CPU of the worker processes"),
        (spent(0.5, 0.5), 0.9, False, "the CPU of the producers"),
        (spent(0.5, 0.5), 0.2, False, "the producers' COPY and its commit"),
        (spent(None, 0.5), 0.2, True, "the workers"),
        (spent(0.5, 0.5), None, False, "the producers"),
    ],
)
def test_a_flow_names_its_limit(stretch: Spent, clients: float | None, full: bool, says: str) -> None:
    """Two workers and a producer on eight CPUs."""
    assert says in limit.of_flow(stretch, clients, processes=2, producers=1, cpus=8, full=full)


def test_a_load_names_what_made_jobs_late() -> None:
    """The CPUs where they are used up, the way of a job otherwise."""
    assert "CPUs of this host" in limit.of_load(spent(1.5, 0.3, 0.99), 0.1, cpus=2, pace_ms=2)
    assert "producers send every 2 ms" in limit.of_load(spent(0.5, 0.3, 0.5), 0.1, cpus=2, pace_ms=2)
    assert "unknown" in limit.of_load(spent(None, 0.3), 0.1, cpus=2, pace_ms=2)
