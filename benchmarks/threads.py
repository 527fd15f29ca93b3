"""Measures what threads cost those that compute: synchronous functions in a worker's threads, on one CPU.

    python benchmarks/threads.py --rounds 3 --output bench_results

`fixed` lets all threads take jobs, whatever those do; `chosen` is what a worker does. All times are CPU time of this
process, so that what else runs on the machine does not count: `job_ms` per job (the throughput), `run_p99_ms` from a
function's first line to its last, `late_p99_ms` how late the event loop comes to a timer of 1 ms. No database.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import time
from pathlib import Path
from statistics import median
from typing import NamedTuple

import uvloop

from fastq import testing
from fastq.bench import machine, result
from fastq.postgres import database
from fastq.worker.threads import Threads

TIMER_S = 0.001


class ThreadSetting(NamedTuple):
    """Functions of so many milliseconds, in at most so many threads."""

    ms: float
    threads: int
    fixed: bool

    @property
    def name(self) -> str:
        return f"{self.ms:g} ms, {self.threads} threads{', fixed' if self.fixed else ', chosen'}"


def options() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=2.0, help="CPU time of each measurement")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--output", type=Path, help="write <date>-<commit>-threads.json there")
    return parser.parse_args()


def compute(turns: int) -> int:
    """Keep the interpreter busy."""
    total = 0
    for turn in range(turns):
        total += turn * turn
    return total


def turns_per_ms() -> float:
    """Return how much of it is a millisecond of CPU time."""
    started = time.process_time()
    compute(1_000_000)
    return 1000 / (time.process_time() - started)


def p99(seconds: list[float]) -> float:
    """Return the 99th percentile in milliseconds."""
    return round(sorted(seconds)[int(len(seconds) * 0.99)] * 1000, 2)


async def measure(setting: ThreadSetting, turns: int, jobs: int) -> dict[str, float]:
    """Return the figures of one setting."""
    threads = Threads(setting.threads, least=setting.threads if setting.fixed else 1)
    runs: list[float] = []
    late: list[float] = []

    def work() -> None:
        started = time.process_time()
        compute(turns)
        runs.append(time.process_time() - started)

    async def look() -> None:
        while True:
            started = time.process_time()
            await asyncio.sleep(TIMER_S)
            late.append(time.process_time() - started)

    left = iter(range(jobs))

    async def shard() -> None:
        for _ in left:
            await threads.run(work, lambda: None)

    looking, started = asyncio.create_task(look()), time.process_time()
    await asyncio.gather(*(shard() for _ in range(2 * setting.threads)))
    took_s = time.process_time() - started
    looking.cancel()
    threads.close()
    return {"job_ms": round(took_s / jobs * 1000, 3), "run_p99_ms": p99(runs), "late_p99_ms": p99(late)}


def main() -> None:
    """Measure each setting in turn, print the medians, write the file."""
    given = options()
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
    per_ms = turns_per_ms()
    settings = [ThreadSetting(ms, n, fixed) for ms in (20, 200) for n, fixed in ((1, True), (8, True), (8, False))]
    samples: dict[str, list[dict[str, float]]] = {setting.name: [] for setting in settings}
    for _ in range(given.rounds):
        for setting in settings:
            jobs = max(3 * setting.threads, int(given.seconds * 1000 / setting.ms))
            samples[setting.name].append(uvloop.run(measure(setting, int(setting.ms * per_ms), jobs)))
    points = [
        {"setting": name, **{field: median(sample[field] for sample in found) for field in found[0]}}
        for name, found in samples.items()
    ]
    for point in points:
        print("{setting:24} {job_ms:8.2f} ms/job  run {run_p99_ms:8.1f} ms  late {late_p99_ms:8.1f} ms".format(**point))
    if given.output is not None:
        with testing.server() as server, database.connect(server, "fastq threads benchmark") as conn:
            conditions = machine.describe(conn)
        command = f"python benchmarks/threads.py --rounds {given.rounds} --seconds {given.seconds:g}"
        found = {"scenario": "threads", "jobs": 0, "points": points, **conditions, "command": command}
        print(f"wrote {result.save({**found, 'samples': samples}, given.output)}")


if __name__ == "__main__":
    main()
