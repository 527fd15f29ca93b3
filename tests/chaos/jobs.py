"""The app under chaos. Every run of a job is written to a file of its process, where no database fault reaches it.

A line is `<mark> <number> <monotonic seconds> …`: S started, with attempt, job and lease where the handler knows them,
E ended, F failed on purpose, X ended by an exception, whose class follows.
"""

from __future__ import annotations

import asyncio
import os
import threading
import time
from datetime import datetime
from pathlib import Path
from typing import Any

import fastq
from chaos.kinds import STRANGE, TICK, stumbles

RETRY = "FASTQ_CHAOS_RETRY_S"
"""The environment variable with the producers' `enqueue_retry_s`."""

app = fastq.App(enqueue_retry_s=float(os.environ.get(RETRY, "0")))

LIMITED = "limited"
"""The queue that runs a few at a time."""

RUNS = "FASTQ_CHAOS_RUNS"
"""The environment variable that names the folder to write to."""

_files: dict[int, int] = {}
_opening = threading.Lock()  # a process has one file, though threads write their first lines at once


def note(mark: str, number: int, rest: str = "") -> None:
    """Append one line about a run; it is in the kernel when this returns, so that kill -9 does not lose it."""
    pid = os.getpid()
    with _opening:
        if pid not in _files:
            path = Path(os.environ[RUNS]) / f"runs-{pid}-{time.monotonic_ns()}.log"
            _files[pid] = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
    os.write(_files[pid], f"{mark} {number} {time.monotonic():.6f} {rest}\n".encode())


def _began(ctx: fastq.Context, number: int) -> None:
    note("S", number, f"{ctx.attempt} {ctx.id} {ctx.place.lease}")  # the lease is not public: only the verdict asks


class Stumbled(Exception):
    """What `stumble` raises at its first attempt."""


@app.task(retries=1000, backoff=0.05)
async def instant(number: int) -> None:
    """Do nothing, without a context: the fast path."""
    note("S", number)
    note("E", number)


@app.task(retries=1000, backoff=0.05)
def hopped(number: int) -> None:
    """Do nothing in a thread, without a context: threads take such jobs out of their packet themselves."""
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


# -- kinds with rules of their own: rules.py


async def _paced(number: int, ctx: fastq.Context) -> None:
    """Take some milliseconds; fail at the first attempt now and then."""
    _began(ctx, number)
    try:
        await asyncio.sleep(0.002 + number % 5 / 1000)
    except BaseException as exc:
        note("X", number, type(exc).__name__)
        raise
    if ctx.attempt == 1 and stumbles(number):
        note("F", number)
        raise Stumbled
    note("E", number)


@app.task(retries=1000, backoff=0.05, ordered=True)
async def ordered(number: int, ctx: fastq.Context) -> None:
    """Run after the one before in its group, and no sooner for failing."""
    await _paced(number, ctx)


@app.task(retries=1000, backoff=0.05)
async def unique(number: int, ctx: fastq.Context) -> None:
    """Hold a key until it ends."""
    await _paced(number, ctx)


@app.task(retries=1000, backoff=0.05, queue=LIMITED)
async def limited(number: int, ctx: fastq.Context) -> None:
    """Be one of a few."""
    await _paced(number, ctx)


@app.task(retries=1000, backoff=0.05)
async def reserved(number: int, ctx: fastq.Context) -> None:
    """Run only if it was committed."""
    await _paced(number, ctx)


@app.task(retries=1000, backoff=0.05, batch=50, queue="batches")
async def batched(jobs: list[fastq.BatchItem]) -> None:
    """Do many at once; some of them fail at their first attempt."""
    for job in jobs:
        note("S", job.args["number"], f"{job.attempt} {job.id} 0")
    try:
        await asyncio.sleep(0.005)
    except BaseException as exc:
        for job in jobs:
            note("X", job.args["number"], type(exc).__name__)
        raise
    for job in jobs:
        number = job.args["number"]
        if job.attempt == 1 and stumbles(number):
            note("F", number)
            job.fail("stumbled")
        else:
            note("E", number)


@app.cron("*/2 * * * * *")
@app.task(retries=1000, backoff=0.05)
async def tick(ctx: fastq.Context) -> None:
    """Every two seconds, once."""
    number = TICK + round(datetime.fromisoformat(ctx.headers["scheduled_for"]).timestamp())
    _began(ctx, number)
    note("E", number)


@app.task(retries=1, backoff=0.05)
async def stranger(tag: int, ctx: fastq.Context, value: Any = None) -> None:
    """What strangers enqueue: every second one fails, so that what they wrote beside it is written again."""
    _began(ctx, STRANGE + tag)
    if tag % 2:
        note("F", STRANGE + tag)
        raise Stumbled
    note("E", STRANGE + tag)


TASKS = {"instant": instant, "hopped": hopped, "nap": nap, "threaded": threaded, "booked": booked, "stumble": stumble}
RULED = {"ordered": ordered, "unique": unique, "limited": limited, "batched": batched, "reserved": reserved}
