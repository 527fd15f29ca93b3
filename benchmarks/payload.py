"""Throughput and enqueue with small and large payloads: 100 bytes, 1 kB, 10 kB."""

from __future__ import annotations

from fastq.bench import enqueue, summary, throughput
from fastq.bench.bench import Bench
from fastq.bench.result import Result

SIZES = (100, 1_000, 10_000)
MOST_BYTES = 256_000_000
"""Payloads of one repetition in all: fewer jobs where they are large."""


def run(bench: Bench) -> Result:
    """Measure both at each size, `repeat` times."""
    most = bench.jobs
    points: list[dict[str, float | None]] = []
    samples: list[dict[str, object]] = []
    limits: list[str] = []
    for size in SIZES:
        jobs = max(10, min(most, MOST_BYTES // size))
        sized = bench.with_plan(payload_bytes=size)
        series = throughput.measure(sized, jobs, f"payload {size} B, throughput")
        places = [f"payload {size} B, enqueue {number + 1}/{bench.plan.repeat}:" for number in range(bench.plan.repeat)]
        streams = [enqueue.streams(sized, jobs, place, product_first=n % 2 == 0) for n, place in enumerate(places)]
        points.append({"payload_bytes": size, "jobs": jobs, **series.figures(), **_enqueue_figures(streams)})
        limits.append(f"{size:,} B: {series.limit(bench.plan.processes)}")
        samples += [
            {"payload_bytes": size, **sample, "enqueue": stream}
            for sample, stream in zip(series.samples(), streams, strict=True)
        ]
    return Result(
        scenario="payload",
        jobs=most,
        figures={"jobs_per_s": points[0]["jobs_per_s"], "points": points},
        limit="; ".join(limits),
        lines=[line for point in points for line in _lines(point)],
        samples=samples,
        notes=bench.notes,
    )


def _enqueue_figures(streams: list[dict[str, object]]) -> dict[str, float | None]:
    found = summary.medians(streams)
    found["ratio_to_ceiling"] = summary.ratio(found["jobs_per_s"], found["ceiling_jobs_per_s"])
    return {f"enqueue_{name}": value for name, value in found.items()}


def _lines(point: dict[str, float | None]) -> list[tuple[str, str]]:
    shown = summary.shown
    return [
        (f"{shown(point['payload_bytes'])} B, {what}", _line(point, prefix, client))
        for what, prefix, client in (("drain", "", "worker"), ("enqueue", "enqueue_", "client"))
    ]


def _line(point: dict[str, float | None], prefix: str, client: str) -> str:
    shown = summary.shown
    return (
        f"{shown(point[f'{prefix}jobs_per_s'])} jobs/s, {shown(point[f'{prefix}ratio_to_ceiling'], '.0%')} of the "
        f"ceiling; per job {shown(point[f'{prefix}server_cpu_us_per_job'], '.2f')} µs server CPU, "
        f"{shown(point[f'{prefix}{client}_cpu_us_per_job'], '.2f')} µs {client} CPU, "
        f"{shown(point[f'{prefix}wal_bytes_per_job'], '.0f')} B of WAL"
    )
