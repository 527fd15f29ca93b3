"""What a claim costs before and after --jobs jobs were enqueued in a caller's transaction that was rolled back.

The backlog that is claimed from is the same: 10,000 jobs. Their dead neighbours lie in the same segment, behind them.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

from benchmarks import depth
from fastq.bench import limit, machine, summary
from fastq.bench.bench import Bench
from fastq.bench.jobs import app, email_for, noop_job
from fastq.bench.result import Result
from fastq.postgres import database

_BACKLOG = 10_000
_WHEN = ("before", "after", "after a vacuum")


def run(bench: Bench) -> Result:
    """Claim, roll back, claim, vacuum, claim: `repeat` times, each on emptied tables."""
    found: list[tuple[str, depth.Claims]] = []
    size = depth.claim_size(_BACKLOG, bench.plan.processes, bench.plan.batch_size)
    for number in range(bench.plan.repeat):
        place = f"rollback {number + 1}/{bench.plan.repeat}:"
        bench.ground.clean()
        bench.ground.unpause()
        depth.fill(bench, _BACKLOG, f"{place} enqueuing")
        bench.ground.tidy()
        between = (lambda: None, partial(_roll_back, bench, place), bench.ground.tidy)
        for when, prepare in zip(_WHEN, between, strict=True):
            prepare()
            found.append((when, depth.at(bench, _BACKLOG, size, f"{place} claims {when},")))
    bench.ground.clean()
    return _result(bench, found)


def _roll_back(bench: Bench, place: str) -> None:
    email, jobs = email_for(bench.plan.payload_bytes), bench.jobs
    counting = bench.progress.counting(f"{place} enqueuing for nothing", jobs)
    with app, database.connect(bench.dsn, "fastq bench rollback") as conn:
        conn.autocommit = False
        app.enqueue_many_sync((noop_job(i, email) for i in range(jobs)), conn=conn, progress=counting)
        conn.rollback()


def _result(bench: Bench, found: Sequence[tuple[str, depth.Claims]]) -> Result:
    processes = bench.plan.processes
    points: list[dict[str, Any]] = []
    for when in _WHEN:
        point = summary.medians([claims.sample(processes) for name, claims in found if name == when])
        points.append({"when": when, **point})
    for point in points:
        point["ratio_to_before"] = summary.ratio(point["claim_p50_us"], points[0]["claim_p50_us"])
    shown = summary.shown
    return Result(
        scenario="rollback",
        jobs=bench.jobs,
        figures={"ratio_to_before": points[1]["ratio_to_before"], "points": points},
        limit=limit.of_drain(found[-1][1].spent, processes=processes, cpus=machine.cpus()),
        lines=[
            (
                str(point["when"]),
                (
                    f"a claim p50 {shown(point['claim_p50_us'])} µs, p99 {shown(point['claim_p99_us'])} µs: "
                    f"{shown(point['ratio_to_before'], '.1%')} of before"
                ),
            )
            for point in points
        ],
        samples=[{"when": when, **claims.sample(processes)} for when, claims in found],
        notes=bench.notes,
    )
