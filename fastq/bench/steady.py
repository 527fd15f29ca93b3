"""Enqueue and run at the same time, for a while: what a second's work is when nobody waits for anybody to finish."""

from __future__ import annotations

from fastq.bench import flow, limit, machine, summary
from fastq.bench.bench import Bench
from fastq.bench.flow import Measured
from fastq.bench.result import Result

WARM_UP_S = 2.0


def run(bench: Bench) -> Result:
    """Measure for `seconds`, after two that are not counted."""
    seconds = bench.seconds
    bench.progress.say("steady: starting workers")
    with flow.flowing(bench, flow.closed(bench)) as flowing:
        flowing.start()
        flowing.wait(WARM_UP_S)
        measured = flow.measure(bench, flowing, seconds, "steady:")
        flowing.stop()
    figures = measured.figures()
    return Result(
        scenario="steady",
        jobs=measured.jobs,
        figures={**figures, **settings(bench)},
        limit=limit_of(bench, measured),
        lines=lines(bench, figures),
        samples=[sample.sample() for sample in measured.samples],
        notes=bench.notes,
    )


def settings(bench: Bench) -> dict[str, int]:
    """Return what belongs to a flow beside the plan."""
    plan = bench.plan
    return {
        "producers": flow.producers_for(plan.processes),
        "enqueue_batch": flow.BATCH,
        "backlog_limit": flow.backlog_for(plan.processes, plan.batch_size),
    }


def limit_of(bench: Bench, measured: Measured) -> str:
    """Return what kept the flow from being faster."""
    plan = bench.plan
    full = flow.backlog_for(plan.processes, plan.batch_size) - flow.producers_for(plan.processes) * flow.BATCH
    return limit.of_flow(
        measured.spent,
        measured.client_cpu_s,
        processes=plan.processes,
        producers=flow.producers_for(plan.processes),
        cpus=machine.cpus(),
        full=sum(sample.backlog >= full for sample in measured.samples) > len(measured.samples) / 2,
    )


def lines(bench: Bench, figures: dict[str, float | None]) -> list[tuple[str, str]]:
    """Return what people read of a flow."""
    shown, plan = summary.shown, bench.plan
    return [
        (
            "enqueue and run",
            (
                f"{shown(figures['jobs_per_s'])} jobs/s for {shown(figures['wall_s'])} s, slowest second "
                f"{shown(figures['slowest_jobs_per_s'])}, by {plan.processes} worker(s) and "
                f"{flow.producers_for(plan.processes)} producer(s) with batches of {flow.BATCH:,}"
            ),
        ),
        (
            "per job",
            (
                f"{shown(figures['server_cpu_us_per_job'], '.2f')} µs server CPU, "
                f"{shown(figures['worker_cpu_us_per_job'], '.2f')} µs worker CPU, "
                f"{shown(figures['client_cpu_us_per_job'], '.2f')} µs producer CPU, "
                f"{shown(figures['wal_bytes_per_job'], '.0f')} B of WAL, in and out"
            ),
        ),
        ("backlog", f"{shown(figures['most_backlog'])} jobs at most"),
    ]
