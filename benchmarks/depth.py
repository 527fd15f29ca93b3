"""What a claim costs with 10 thousand jobs waiting, a million, and as many as asked for. It should not matter.

At each depth the same: rounds of refill, checkpoint, and a few timed claims by as many claimants as there are workers.
The checkpoint makes every round alike: each page that is touched is logged in full once, be it the front of a long
backlog or the end of a short one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean

from fastq.bench import ceiling, limit, machine, summary
from fastq.bench.bench import Bench
from fastq.bench.ceiling import Ceiling
from fastq.bench.claimant import ClaimantOrders
from fastq.bench.jobs import QUEUE, app, email_for, noop_job
from fastq.bench.meter import Spent, between, total
from fastq.bench.result import Result

_SHALLOW, _MIDDLE = 10_000, 1_000_000
_ROUNDS = 40
_CLAIMS = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Claims:
    """What was measured at one depth: jobs claimed, what each claim took in µs, and what was spent on all of them."""

    depth: int
    jobs: int
    took_us: Sequence[float]
    spent: Spent

    def sample(self, claimants: int) -> dict[str, object]:
        """Return the figures; the rate is that of the time in claims alone, by all claimants at once."""
        return {
            "depth": self.depth,
            "jobs_per_s": self.jobs * claimants / sum(self.took_us) * 1e6,
            "claim_us": fmean(self.took_us),
            "claim_p50_us": summary.percentile(self.took_us, 50),
            "claim_p99_us": summary.percentile(self.took_us, 99),
            **self.spent.per_job(self.jobs),
        }


def depths(jobs: int) -> list[int]:
    """Return the backlogs that are compared, the shallow one first."""
    return sorted({min(_SHALLOW, jobs // 10), *((_MIDDLE,) if jobs > _MIDDLE else ()), jobs})


def claim_size(shallow: int, processes: int, batch_size: int) -> int:
    """Return how many jobs a claim takes: a round may take half of the shallow backlog at most."""
    return max(1, min(batch_size, shallow // (2 * _CLAIMS * processes)))


def run(bench: Bench) -> Result:
    """Go from shallow to deep, `repeat` times."""
    jobs = bench.jobs
    found: list[Claims] = []
    for number in range(bench.plan.repeat):
        bench.ground.clean()
        bench.ground.unpause()
        here = 0
        for depth in depths(jobs):
            place = f"depth {number + 1}/{bench.plan.repeat}, {depth:,} jobs:"
            fill(bench, depth - here, f"{place} enqueuing")
            here = depth
            bench.ground.tidy()
            found.append(
                at(bench, depth, claim_size(depths(jobs)[0], bench.plan.processes, bench.plan.batch_size), place)
            )
    bench.progress.say("depth: cleaning up")
    bench.ground.clean()
    return _result(bench, jobs, found)


def fill(bench: Bench, jobs: int, text: str) -> None:
    email = email_for(bench.plan.payload_bytes)
    with app:
        app.enqueue_many_sync((noop_job(i, email) for i in range(jobs)), progress=bench.progress.counting(text, jobs))


def at(bench: Bench, depth: int, size: int, place: str) -> Claims:
    """Measure at one depth, and leave the backlog as deep as it was."""
    orders = ClaimantOrders(
        dsn=bench.dsn, queue=QUEUE, segments=bench.ground.segments(), batch_size=size, claims=_CLAIMS
    )
    rounds: list[Claims] = []
    with ceiling.ready(orders, bench.plan.processes) as claimants:
        for number in range(_ROUNDS):
            bench.progress.say(f"{place} round {number + 1}/{_ROUNDS}")
            rounds.append(_round(bench, depth, claimants))
            fill(bench, rounds[-1].jobs, place)
    return _together(depth, rounds)


def _round(bench: Bench, depth: int, claimants: Ceiling) -> Claims:
    bench.ground.checkpoint()
    before = bench.meter.read(claimants.pids)
    jobs, took_us = claimants.claim()
    return Claims(depth=depth, jobs=jobs, took_us=took_us, spent=between(before, bench.meter.read(claimants.pids)))


def _together(depth: int, rounds: Sequence[Claims]) -> Claims:
    return Claims(
        depth=depth,
        jobs=sum(one.jobs for one in rounds),
        took_us=[took for one in rounds for took in one.took_us],
        spent=total([one.spent for one in rounds]),
    )


def _result(bench: Bench, jobs: int, found: Sequence[Claims]) -> Result:
    processes = bench.plan.processes
    by_depth = {depth: [claims for claims in found if claims.depth == depth] for depth in depths(jobs)}
    points = [summary.medians([claims.sample(processes) for claims in same]) for same in by_depth.values()]
    for point in points:
        point["ratio_to_shallow"] = summary.ratio(point["jobs_per_s"], points[0]["jobs_per_s"])
    deepest = by_depth[jobs][-1]
    return Result(
        scenario="depth",
        jobs=jobs,
        figures={**{name: value for name, value in points[-1].items() if name != "depth"}, "points": points},
        limit=limit.of_drain(deepest.spent, processes=processes, cpus=machine.cpus()),
        lines=[_line(point) for point in points],
        samples=[{**claims.sample(processes), "took_us": claims.took_us} for claims in found],
        notes=bench.notes,
    )


def _line(point: dict[str, float | None]) -> tuple[str, str]:
    shown = summary.shown
    return (
        f"{shown(point['depth'])} waiting",
        (
            f"{shown(point['jobs_per_s'])} jobs/s claimed, {shown(point['ratio_to_shallow'], '.1%')} of the shallow; a "
            f"claim {shown(point['claim_us'])} µs, p99 {shown(point['claim_p99_us'])} µs; per job "
            f"{shown(point['server_cpu_us_per_job'], '.2f')} µs server CPU, "
            f"{shown(point['worker_cpu_us_per_job'], '.2f')} µs client CPU, "
            f"{shown(point['wal_bytes_per_job'], '.0f')} B of WAL"
        ),
    )
