"""How long an idle fleet takes from the call of `enqueue` to the handler's first line."""

from __future__ import annotations

import asyncio
import random
import socket
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import uvloop

from fastq.bench import fleet, floor, limit, summary
from fastq.bench.bench import Bench
from fastq.bench.jobs import ANSWER, SOCKET_VARIABLE, app, probe
from fastq.bench.plan import BenchError
from fastq.bench.result import Result

_ANSWER_S = 10.0
_WARM_UP = 20
_FLOOR_SAMPLES = 100
_LONGEST_PATH = 100


@contextmanager
def answers() -> Iterator[tuple[socket.socket, str]]:
    """Give a datagram socket and its path, short enough for the system."""
    with tempfile.TemporaryDirectory(prefix="fastq-bench-") as folder:
        path = Path(folder) / "answers"
        if len(str(path)) > _LONGEST_PATH:
            raise BenchError(f"TMPDIR is too long for a socket: {folder}; set TMPDIR=/tmp")
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sock:
            sock.setblocking(False)
            sock.bind(str(path))
            yield sock, str(path)


def run(bench: Bench) -> Result:
    """Take the samples in `repeat` rounds, each with a new fleet; percentiles are over all of them."""
    jobs = bench.jobs
    rounds = min(bench.plan.repeat, jobs)
    samples: list[dict[str, object]] = []
    starts_ms: list[float] = []
    commits_ms: list[float] = []
    floors_ms: list[float] = []
    took_s = 0.0
    for number in range(rounds):
        share = jobs * (number + 1) // rounds - jobs * number // rounds
        bench.progress.say(f"latency {number + 1}/{rounds}: the floor")
        floors = floor.sample(bench, min(share, _FLOOR_SAMPLES))
        bench.progress.say(f"latency {number + 1}/{rounds}: starting workers")
        with answers() as (sock, path), fleet.running(bench.ground, bench.plan, bench.dsn, {SOCKET_VARIABLE: path}):
            bench.ground.unpause()
            started = time.monotonic()
            with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
                starts, commits = runner.run(_round(bench, sock, share, f"latency {number + 1}/{rounds}:"))
            took_s += time.monotonic() - started
        starts_ms += starts
        commits_ms += commits
        floors_ms += floors
        samples.append({**summary.latencies(starts), "start_ms": starts, "enqueue_ms": commits, "floor_ms": floors})
    return _result(bench, jobs, starts_ms, commits_ms, floors_ms, samples, took_s)


async def _round(bench: Bench, sock: socket.socket, jobs: int, place: str) -> tuple[list[float], list[float]]:
    """Return, per job in ms, enqueue call to handler start, and enqueue call to its return."""
    starts_ms: list[float] = []
    commits_ms: list[float] = []
    count = bench.progress.counting(f"{place} sample", jobs)
    async with app:
        for number in range(-_WARM_UP, jobs):
            await asyncio.sleep(random.uniform(*floor.PAUSE_S))  # noqa: S311 - no secret
            t0_ns = time.monotonic_ns()
            await probe.enqueue(number=number, t0_ns=t0_ns)
            returned_ns = time.monotonic_ns()
            took_ns = await _answer(sock, number)
            if number >= 0:
                starts_ms.append(took_ns / 1e6)
                commits_ms.append((returned_ns - t0_ns) / 1e6)
                count(number)
    return starts_ms, commits_ms


async def _answer(sock: socket.socket, number: int) -> int:
    """Wait for the answer of one sample; return its nanoseconds. Those of earlier ones are passed over."""
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(_ANSWER_S):
            while True:
                found, took_ns = ANSWER.unpack(await _receive(loop, sock))
                if found == number:
                    return int(took_ns)
    except TimeoutError:
        raise BenchError(f"job {number} did not start within {_ANSWER_S:.0f} s of its enqueue") from None


async def _receive(loop: asyncio.AbstractEventLoop, sock: socket.socket) -> bytes:
    """Return the next datagram."""
    while True:
        try:
            return sock.recv(ANSWER.size)
        except BlockingIOError:
            ready = loop.create_future()
            loop.add_reader(sock, ready.set_result, None)
            ready.add_done_callback(lambda _: loop.remove_reader(sock))
            await ready


def _result(
    bench: Bench,
    jobs: int,
    starts_ms: list[float],
    commits_ms: list[float],
    floors_ms: list[float],
    samples: list[dict[str, object]],
    took_s: float,
) -> Result:
    found = summary.latencies(starts_ms)
    enqueue_p50_ms = summary.percentile(commits_ms, 50)
    enqueue_p99_ms = summary.percentile(commits_ms, 99)
    floor_p50_ms = summary.percentile(floors_ms, 50)
    floor_p99_ms = summary.percentile(floors_ms, 99)
    return Result(
        scenario="latency",
        jobs=jobs,
        figures={
            **found,
            "jobs_per_s": jobs / took_s,
            "enqueue_p50_ms": enqueue_p50_ms,
            "enqueue_p99_ms": enqueue_p99_ms,
            "floor_p50_ms": floor_p50_ms,
            "floor_p99_ms": floor_p99_ms,
            "ratio_to_floor": summary.ratio(found["p50_ms"], floor_p50_ms),
        },
        limit=limit.of_latency(enqueue_p50_ms, found["p50_ms"]),
        lines=[
            (
                "enqueue to start",
                (
                    f"p50 {found['p50_ms']:.2f} ms, p90 {found['p90_ms']:.2f} ms, p99 {found['p99_ms']:.2f} ms, "
                    f"worst {found['max_ms']:.2f} ms ({bench.plan.processes} idle process(es))"
                ),
            ),
            ("of that, enqueue", f"p50 {enqueue_p50_ms:.2f} ms, p99 {enqueue_p99_ms:.2f} ms until its commit returned"),
            (
                "floor",
                f"p50 {floor_p50_ms:.2f} ms, p99 {floor_p99_ms:.2f} ms: insert, NOTIFY and claim by bare connections",
            ),
        ],
        samples=samples,
        notes=bench.notes,
    )
