"""How fast jobs get in: a stream through `enqueue_many` beside a raw COPY, many callers at once, one caller alone."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine
from dataclasses import dataclass
from itertools import islice
from typing import Any, TypeVar

import uvloop

from fastq.bench import limit, summary
from fastq.bench.bench import Bench
from fastq.bench.jobs import app, email_for, noop_job
from fastq.bench.meter import Spent, between
from fastq.bench.plan import BenchError
from fastq.bench.result import Result
from fastq.protocol.packing import BEGINS, ENDS, Packer
from fastq.sql import statement

CALLERS = 100
_SINGLE_SHARE = 10
_SEQUENTIAL_MOST = 1000
_PATIENCE_S = 120.0
"""An enqueue that does not return would keep the bench for ever; nothing here takes so long on a working database."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class RawRows:
    """The rows that enqueue_many would write, rendered beforehand, and the COPY statement that takes them."""

    command: str
    blocks: list[bytes]


def run(bench: Bench) -> Result:
    """Measure all three, `repeat` times; the one of the streams that goes first changes."""
    jobs = bench.jobs
    samples: list[dict[str, object]] = []
    for number in range(bench.plan.repeat):
        place = f"enqueue {number + 1}/{bench.plan.repeat}:"
        sample = streams(bench, jobs, place, product_first=number % 2 == 0)
        bench.progress.say(f"{place} {CALLERS} callers at once")
        sample |= _on_loop(_gathered(bench, max(CALLERS, jobs // _SINGLE_SHARE)))
        bench.progress.say(f"{place} one caller")
        sample |= _on_loop(_sequential(bench, min(jobs, _SEQUENTIAL_MOST)))
        samples.append(sample)
    return _result(bench, jobs, samples)


def streams(bench: Bench, jobs: int, place: str, *, product_first: bool) -> dict[str, object]:
    """Measure enqueue_many and a raw COPY once; leaves the queue empty."""
    sample: dict[str, object] = {}
    for measure in (_bulk, _raw_copy) if product_first else (_raw_copy, _bulk):
        bench.ground.clean()
        sample |= measure(bench, jobs, place)
    bench.ground.clean()
    return sample


def _on_loop(work: Coroutine[Any, Any, T]) -> T:
    """Run on uvloop, as the workers do."""
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_in_time(work))


async def _in_time(work: Coroutine[Any, Any, T]) -> T:
    try:
        async with asyncio.timeout(_PATIENCE_S):
            return await work
    except TimeoutError:
        raise BenchError(f"enqueuing did not come to an end within {_PATIENCE_S:.0f} s") from None


def _bulk(bench: Bench, jobs: int, place: str) -> dict[str, object]:
    """One `enqueue_many` over a generator of task.job(…), until its commit has returned."""
    count = bench.progress.counting(f"{place} enqueue_many", jobs)
    email = email_for(bench.plan.payload_bytes)

    async def stream() -> tuple[float, float, Spent]:
        async with app:
            before = bench.meter.read()
            cpu, started = time.process_time(), time.monotonic()
            await app.enqueue_many((noop_job(i, email) for i in range(jobs)), progress=count)
            wall_s, cpu_s = time.monotonic() - started, time.process_time() - cpu
            return wall_s, cpu_s, between(before, bench.meter.read())

    wall_s, cpu_s, stretch = _on_loop(stream())
    spent = stretch.per_job(jobs)
    return {
        "jobs_per_s": jobs / wall_s,
        "wal_bytes_per_job": spent["wal_bytes_per_job"],
        "server_cpu_us_per_job": spent["server_cpu_us_per_job"],
        "client_cpu_us_per_job": cpu_s / jobs * 1e6,
        "wall_s": wall_s,
    }


def _raw_copy(bench: Bench, jobs: int, place: str) -> dict[str, object]:
    """The ceiling of a stream: the same rows as ready-made bytes, one COPY, one commit."""
    bench.progress.say(f"{place} raw COPY")
    rows = _render(bench, jobs)
    conn = bench.ground.conn
    started = time.monotonic()
    with conn.transaction(), conn.cursor() as cur, cur.copy(rows.command.encode()) as copy:
        for block in rows.blocks:
            copy.write(block)
    return {"ceiling_jobs_per_s": jobs / (time.monotonic() - started)}


def _render(bench: Bench, jobs: int) -> RawRows:
    email = email_for(bench.plan.payload_bytes)
    text = Packer(limit_bytes=app.payload_limit_bytes)
    blocks = {"shard": 0, "blocks": -(-jobs // text.block)}
    row = bench.ground.conn.execute(statement("take_positions"), blocks).fetchone()
    assert row is not None
    text.begin(row[0], row[1], row[2])
    specs = (noop_job(i, email) for i in range(jobs))
    packets = [text.encode(block) for block in iter(lambda: list(islice(specs, text.block)), [])]
    return RawRows(text.packets_copy, [BEGINS, *packets, ENDS])


async def _gathered(bench: Bench, jobs: int) -> dict[str, object]:
    """Single enqueues from many coroutines of one process; each awaits its own job's commit."""
    email = email_for(bench.plan.payload_bytes)
    numbers = iter(range(jobs))

    async def call() -> None:
        for number in numbers:
            await app.enqueue(noop_job(number, email))

    async with app:
        await app.enqueue(noop_job(jobs, email))
        cpu, started = time.process_time(), time.monotonic()
        async with asyncio.TaskGroup() as callers:
            for _ in range(CALLERS):
                callers.create_task(call())
        wall_s = time.monotonic() - started
    return {
        "single_jobs_per_s": jobs / wall_s,
        "single_jobs": jobs,
        "single_callers": CALLERS,
        "single_client_cpu_us_per_job": (time.process_time() - cpu) / jobs * 1e6,
    }


async def _sequential(bench: Bench, jobs: int) -> dict[str, object]:
    """Single enqueues of one caller, one after the other."""
    email = email_for(bench.plan.payload_bytes)
    took_ms: list[float] = []
    async with app:
        for number in range(-(jobs // 10), jobs):
            started = time.perf_counter()
            await app.enqueue(noop_job(number, email))
            if number >= 0:
                took_ms.append((time.perf_counter() - started) * 1e3)
    return {**summary.latencies(took_ms), "sequential_jobs": jobs}


def _result(bench: Bench, jobs: int, samples: list[dict[str, object]]) -> Result:
    figures = summary.medians(samples)
    figures["ratio_to_ceiling"] = summary.ratio(figures["jobs_per_s"], figures["ceiling_jobs_per_s"])
    client_us, wall_s = figures["client_cpu_us_per_job"] or 0.0, figures["wall_s"] or 0.0
    return Result(
        scenario="enqueue",
        jobs=jobs,
        figures=figures,
        limit=limit.of_enqueue(client_us * jobs / 1e6, wall_s),
        lines=_lines(figures),
        samples=samples,
        notes=bench.notes,
    )


def _lines(figures: dict[str, float | None]) -> list[tuple[str, str]]:
    shown = summary.shown
    return [
        ("enqueue_many", f"{shown(figures['jobs_per_s'])} jobs/s from a generator, one process"),
        ("ceiling", f"{shown(figures['ceiling_jobs_per_s'])} rows/s, raw COPY of the same rows"),
        ("ratio", f"{shown(figures['ratio_to_ceiling'], '.0%')} of the ceiling"),
        ("enqueue", f"{shown(figures['single_jobs_per_s'])} jobs/s singly from {CALLERS} coroutines, each durable"),
        ("one caller", f"p50 {shown(figures['p50_ms'], '.2f')} ms, p99 {shown(figures['p99_ms'], '.2f')} ms"),
        (
            "per job",
            (
                f"{shown(figures['server_cpu_us_per_job'], '.2f')} µs server CPU, "
                f"{shown(figures['client_cpu_us_per_job'], '.2f')} µs client CPU, "
                f"{shown(figures['wal_bytes_per_job'], '.0f')} B of WAL (enqueue_many)"
            ),
        ),
    ]
