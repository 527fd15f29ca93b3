"""The app under chaos. Every run of a job is written to a file of its process, where no database fault reaches it.

A line is `<mark> <number> <monotonic seconds> …`: S started, E ended, F failed on purpose, X ended by an exception.
"""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path

import fastq

app = fastq.App()

KINDS = (("instant", 50), ("nap", 20), ("threaded", 10), ("booked", 12), ("stumble", 8))
LIGHT_KINDS = (("instant", 92), ("nap", 2), ("threaded", 2), ("booked", 2), ("stumble", 2))
LIGHT = 10**12
"""Numbers from here on are mostly instant jobs."""

RUNS = "FASTQ_CHAOS_RUNS"
"""The environment variable that names the folder to write to."""

_files: dict[int, int] = {}


def kind_of(number: int) -> str:
    """Return what kind of job a number stands for; the same everywhere."""
    place = number * 2654435761 % 2**32 % 100
    for kind, share in LIGHT_KINDS if number >= LIGHT else KINDS:
        if place < share:
            return kind
        place -= share
    raise AssertionError("the shares are less than 100")


def note(mark: str, number: int, rest: str = "") -> None:
    """Append one line about a run; it is in the kernel when this returns, so that kill -9 does not lose it."""
    pid = os.getpid()
    if pid not in _files:
        path = Path(os.environ[RUNS]) / f"runs-{pid}-{time.monotonic_ns()}.log"
        _files[pid] = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    os.write(_files[pid], f"{mark} {number} {time.monotonic():.6f} {rest}\n".encode())


def _began(ctx: fastq.Context, number: int) -> None:
    place = getattr(ctx, "place", "")  # not public: only for those who look for the interleaving
    note("S", number, f"attempt {ctx.attempt} of {ctx.id} {place}".replace(", ", ","))


class Stumbled(Exception):
    """What `stumble` raises at its first attempt."""


@app.task(retries=1000, backoff=0.05)
async def instant(number: int) -> None:
    """Do nothing, without a context: the fast path."""
    note("S", number)
    note("E", number)


@app.task(retries=1000, backoff=0.05)
async def nap(number: int, ctx: fastq.Context) -> None:
    """Sleep a few milliseconds."""
    _began(ctx, number)
    try:
        await asyncio.sleep(0.002 + number % 7 / 1000)
    except BaseException as exc:
        note("X", number, type(exc).__name__)
        raise
    note("E", number)


@app.task(retries=1000, backoff=0.05)
def threaded(number: int, ctx: fastq.Context) -> None:
    """Sleep in a thread."""
    _began(ctx, number)
    time.sleep(0.003)
    note("E", number)


@app.task(retries=1000, backoff=0.05, timeout=15)
async def booked(number: int, ctx: fastq.Context) -> None:
    """Write a row in the transaction that completes the job; nothing keeps a second row out but fastq."""
    _began(ctx, number)
    try:
        async with ctx.transaction() as conn:
            await conn.execute("insert into effect (number, pid) values (%s, %s)", [number, os.getpid()])
    except BaseException as exc:
        note("X", number, type(exc).__name__)
        raise
    note("E", number)


@app.task(retries=1000, backoff=0.05)
async def stumble(number: int, ctx: fastq.Context) -> None:
    """Fail at the first attempt."""
    _began(ctx, number)
    if ctx.attempt == 1:
        note("F", number)
        raise Stumbled
    note("E", number)


TASKS = {"instant": instant, "nap": nap, "threaded": threaded, "booked": booked, "stumble": stumble}
