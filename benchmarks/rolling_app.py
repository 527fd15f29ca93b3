"""The app of rolling.py: what the fleets of both versions run. Each run writes a line into the file that RUNS names.

Nothing is imported that only one of the versions has.
"""

from __future__ import annotations

import asyncio
import json
import os
import time

import fastq
from fastq.schema.files import newest

app = fastq.App()
ON_PURPOSE = "on purpose"
_out = os.open(os.environ["RUNS"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)


def ran(ctx: fastq.Context, job: str, began: float, *, well: bool = True) -> None:
    """Write down one run, and whose code it was; one write, so that lines of several processes do not mix."""
    line = {"kind": ctx.task.rpartition(".")[2], "job": job, "id": ctx.id, "attempt": ctx.attempt, "schema": newest()}
    text = json.dumps({**line, "began": began, "ended": time.monotonic(), "well": well, "pid": os.getpid()})
    os.write(_out, f"{text}\n".encode())


def fails(ctx: fastq.Context, job: str, began: float) -> None:
    """Fail at the first attempt."""
    if ctx.attempt == 1:
        ran(ctx, job, began, well=False)
        raise RuntimeError(ON_PURPOSE)


@app.task
async def plain(ctx: fastq.Context, job: str) -> None:
    """Take a moment."""
    began = time.monotonic()
    await asyncio.sleep(0.002)
    ran(ctx, job, began)


@app.task
def thread(ctx: fastq.Context, job: str) -> None:
    """As `plain`, in a thread."""
    began = time.monotonic()
    time.sleep(0.002)
    ran(ctx, job, began)


@app.task
async def later(ctx: fastq.Context, job: str) -> None:
    """Run after a delay."""
    ran(ctx, job, time.monotonic())


@app.task(retries=3, backoff=0.2)
async def flaky(ctx: fastq.Context, job: str) -> None:
    """Fail once."""
    began = time.monotonic()
    fails(ctx, job, began)
    ran(ctx, job, began)


@app.task(ordered=True, retries=3, backoff=0.05)
async def line(ctx: fastq.Context, job: str, trips: bool) -> None:
    """Run in turn; some fail once, and the others have to wait for them."""
    began = time.monotonic()
    if trips:
        fails(ctx, job, began)
    await asyncio.sleep(0.002)
    ran(ctx, job, began)


@app.task
async def once(ctx: fastq.Context, job: str) -> None:
    """Write a row in the transaction that completes the job."""
    began = time.monotonic()
    async with ctx.transaction() as conn:
        await conn.execute("insert into public.written (job) values (%s)", [job])
    ran(ctx, job, began)


@app.task
async def only(ctx: fastq.Context, job: str) -> None:
    """Hold a unique key until it has run."""
    ran(ctx, job, time.monotonic())


@app.cron("* * * * * *", catch_up="all")
@app.task
async def tick(ctx: fastq.Context) -> None:
    """Be there by the clock, whichever version leads."""
    ran(ctx, str(ctx.headers["scheduled_for"]), time.monotonic())
