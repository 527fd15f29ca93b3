"""Throughput for one process, two, and so on up to `--processes`: what each of them adds."""

from __future__ import annotations

from fastq.bench import summary, throughput
from fastq.bench.bench import Bench
from fastq.bench.result import Result
from fastq.bench.throughput import Series

_EACH_UP_TO = 8


def steps(processes: int) -> list[int]:
    """Return how many processes are tried: each number up to 8, then the doubles, and the last one always."""
    doubles = [_EACH_UP_TO << n for n in range(1, 8) if _EACH_UP_TO << n < processes]
    return sorted({*range(1, min(processes, _EACH_UP_TO) + 1), *doubles, processes})


def run(bench: Bench) -> Result:
    """Measure throughput at each step, `repeat` times."""
    jobs = bench.jobs
    found: dict[int, Series] = {}
    for processes in steps(bench.plan.processes):
        found[processes] = throughput.measure(
            bench.with_plan(processes=processes), jobs, f"scale, {processes} of {bench.plan.processes},"
        )
    points = [{"processes": processes, **series.figures()} for processes, series in found.items()]
    one, most = points[0]["jobs_per_s"], points[-1]["jobs_per_s"]
    times = summary.ratio(most, one)
    return Result(
        scenario="scale",
        jobs=jobs,
        figures={
            **{name: value for name, value in points[-1].items() if name != "processes"},
            "times_one_process": times,
            "points": points,
        },
        limit=found[bench.plan.processes].limit(bench.plan.processes),
        lines=[_line(point, one) for point in points],
        samples=[
            {"processes": processes, **sample} for processes, series in found.items() for sample in series.samples()
        ],
        notes=bench.notes,
    )


def _line(point: dict[str, float | None], one: float | None) -> tuple[str, str]:
    shown = summary.shown
    return (
        f"{point['processes']} process(es)",
        (
            f"{shown(point['jobs_per_s'])} jobs/s, {shown(summary.ratio(point['jobs_per_s'], one), '.2f')} times one, "
            f"{shown(point['ratio_to_ceiling'], '.0%')} of the ceiling; per job "
            f"{shown(point['server_cpu_us_per_job'], '.2f')} µs server CPU, "
            f"{shown(point['worker_cpu_us_per_job'], '.2f')} µs worker CPU, "
            f"{shown(point['wal_bytes_per_job'], '.0f')} B of WAL"
        ),
    )
