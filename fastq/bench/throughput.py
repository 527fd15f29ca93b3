"""How many jobs a second the workers drain from a filled queue, beside what their claims alone could."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

from fastq.bench import ceiling, fleet, limit, machine, proc, summary
from fastq.bench.bench import Bench
from fastq.bench.claimant import ClaimantOrders
from fastq.bench.jobs import MAKERS, QUEUE, app, email_for
from fastq.bench.meter import Spent, between
from fastq.bench.plan import BenchError
from fastq.bench.result import Result
from fastq.config import PacketConfig
from fastq.job_ids import JobIds
from fastq.protocol import copying
from fastq.protocol.asking import carry_out_sync
from fastq.protocol.packing import Packer


@dataclass(frozen=True, slots=True, kw_only=True)
class DrainBench:
    """One repetition of the product: `start_s` from the release of the queue to its first job being claimed."""

    spent: Spent
    start_s: float
    rss_mb: float | None
    enqueue_wal_bytes: int | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """All repetitions with one setting."""

    jobs: int
    drains: Sequence[DrainBench]
    ceilings: Sequence[Spent]

    def samples(self) -> list[dict[str, object]]:
        """Return the raw figures of each repetition."""
        return [_sample(self.jobs, drain, spent) for drain, spent in zip(self.drains, self.ceilings, strict=True)]

    def figures(self) -> dict[str, float | None]:
        """Return the medians, and the ratio of the two that matter."""
        found = summary.medians(self.samples())
        found["ratio_to_ceiling"] = summary.ratio(found["jobs_per_s"], found["ceiling_jobs_per_s"])
        return found

    def limit(self, processes: int) -> str:
        """Return what the repetition of median length was limited by."""
        typical = sorted(self.drains, key=lambda drain: drain.spent.wall_s)[len(self.drains) // 2].spent
        return limit.of_drain(typical, processes=processes, cpus=machine.cpus())


def run(bench: Bench) -> Result:
    """Measure as `plan` says."""
    jobs = bench.jobs
    series = measure(bench, jobs, "throughput")
    figures = series.figures()
    return Result(
        scenario="throughput",
        jobs=jobs,
        figures=figures,
        limit=series.limit(bench.plan.processes),
        lines=_lines(bench, figures),
        samples=series.samples(),
        notes=bench.notes,
    )


def measure(bench: Bench, jobs: int, name: str) -> Series:
    """Measure ceiling and product in turn, `repeat` times; the one that goes first changes."""
    drains: list[DrainBench] = []
    ceilings: list[Spent] = []
    for number in range(bench.plan.repeat):
        place = f"{name} {number + 1}/{bench.plan.repeat}:"
        for what in ("ceiling", "workers") if number % 2 == 0 else ("workers", "ceiling"):
            if what == "ceiling":
                ceilings.append(_ceiling(bench, jobs, place))
            else:
                drains.append(_drain(bench, jobs, place))
    return Series(jobs=jobs, drains=drains, ceilings=ceilings)


def _fill(bench: Bench, jobs: int, place: str) -> tuple[JobIds, Spent]:
    """Fill the paused queue; return the jobs' ids and what that took."""
    bench.ground.clean()
    count = bench.progress.counting(f"{place} enqueuing", jobs)
    make, email = MAKERS[bench.plan.job], email_for(bench.plan.payload_bytes)
    before = bench.meter.read()
    specs = (make(i, email) for i in range(jobs))
    if bench.plan.singles:
        packer = Packer(limit_bytes=app.payload_limit_bytes, packet=PacketConfig(jobs=1))
        ids = carry_out_sync(bench.ground.conn, copying.copy_jobs(specs, packer, progress=count))
    else:
        with app:
            ids = app.enqueue_many_sync(specs, progress=count)
    spent = between(before, bench.meter.read())
    bench.ground.settle()
    return ids, spent


def _ceiling(bench: Bench, jobs: int, place: str) -> Spent:
    _fill(bench, jobs, place)
    orders = ClaimantOrders(
        dsn=bench.dsn, queue=QUEUE, segments=bench.ground.segments(), batch_size=bench.plan.batch_size
    )
    with ceiling.ready(orders, bench.plan.processes) as claimants:
        bench.progress.say(f"{place} claims alone")
        before = bench.meter.read(claimants.pids)
        bench.ground.unpause()
        started = time.monotonic()
        done_at = claimants.run()
        spent = between(before, bench.meter.read(claimants.pids))
    if left := bench.ground.segments():
        raise BenchError(f"the ceiling was not measured: jobs were left in {len(left)} segment(s)")
    return _timed(spent, done_at - started)


def _drain(bench: Bench, jobs: int, place: str) -> DrainBench:
    ids, filled = _fill(bench, jobs, place)
    bench.progress.say(f"{place} starting workers")
    with fleet.running(bench.ground, bench.plan, bench.dsn) as workers:
        pids = list(workers.workers.values())
        bench.progress.say(f"{place} draining")
        before = bench.meter.read(pids)
        started = time.monotonic()
        bench.ground.unpause()
        begun, done = bench.ground.wait_until_done(ids, list(workers.workers), workers.check)
        spent = between(before, bench.meter.read(pids))
        memory = [mb for pid in pids if (mb := proc.peak_rss_mb(pid)) is not None]
    bench.ground.check_all_ran()
    return DrainBench(
        spent=_timed(spent, done - started),
        start_s=begun - started,
        rss_mb=max(memory, default=None),
        enqueue_wal_bytes=filled.wal_bytes,
    )


def _timed(spent: Spent, wall_s: float) -> Spent:
    """Return the same with the time that was really measured: the meters were read a little before and after."""
    return Spent(
        wall_s=wall_s,
        wal_bytes=spent.wal_bytes,
        server_cpu_s=spent.server_cpu_s,
        worker_cpu_s=spent.worker_cpu_s,
        host_busy=spent.host_busy,
    )


def _sample(jobs: int, drain: DrainBench, ceiling_spent: Spent) -> dict[str, object]:
    return {
        "jobs_per_s": jobs / drain.spent.wall_s,
        "ceiling_jobs_per_s": jobs / ceiling_spent.wall_s,
        **drain.spent.per_job(jobs),
        "wall_s": drain.spent.wall_s,
        "start_ms": drain.start_s * 1e3,
        "host_busy": drain.spent.host_busy,
        "worker_peak_rss_mb": drain.rss_mb,
        "enqueue_wal_bytes_per_job": None if drain.enqueue_wal_bytes is None else drain.enqueue_wal_bytes / jobs,
        "ceiling": {
            **ceiling_spent.per_job(jobs),
            "wall_s": ceiling_spent.wall_s,
            "host_busy": ceiling_spent.host_busy,
        },
    }


def _lines(bench: Bench, figures: dict[str, float | None]) -> list[tuple[str, str]]:
    plan, shown = bench.plan, summary.shown
    return [
        (
            "drained",
            (
                f"{shown(figures['jobs_per_s'])} {plan.job} jobs/s by {plan.processes} process(es), "
                f"batches of {plan.batch_size}"
            ),
        ),
        ("ceiling", f"{shown(figures['ceiling_jobs_per_s'])} jobs/s, the same claims without running anything"),
        ("ratio", f"{shown(figures['ratio_to_ceiling'], '.0%')} of the ceiling"),
        (
            "per job",
            (
                f"{shown(figures['server_cpu_us_per_job'], '.2f')} µs server CPU, "
                f"{shown(figures['worker_cpu_us_per_job'], '.2f')} µs worker CPU, "
                f"{shown(figures['wal_bytes_per_job'], '.0f')} B of WAL "
                f"(and {shown(figures['enqueue_wal_bytes_per_job'], '.0f')} B at its enqueue)"
            ),
        ),
        ("memory", f"{shown(figures['worker_peak_rss_mb'], '.0f')} MB at most in a worker process"),
    ]
