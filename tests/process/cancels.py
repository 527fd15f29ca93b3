"""An app whose handlers are cancelled while they run. They tell what they saw by rows in the table `probe`."""

from __future__ import annotations

import asyncio
import os
import signal
import time

import fastq

app = fastq.App()


async def _tell(what: str, value: object) -> None:
    async with app.client.connection() as conn:
        await conn.execute("insert into probe (what, value, pid) values (%s, %s, %s)", [what, str(value), os.getpid()])


@app.task
async def sleeps(n: int) -> None:
    """Run until it is cancelled, and clean up."""
    await _tell("started", n)
    try:
        await asyncio.sleep(3600)
    finally:
        await _tell("cleaned", n)


@app.task
async def stubborn(n: int, ctx: fastq.Context) -> None:
    """Take no notice, but of the flag."""
    await _tell("started", n)
    try:
        await asyncio.sleep(3600)
    except asyncio.CancelledError:
        await _tell("cancelled", ctx.cancelled)


@app.task
async def spiteful(n: int) -> None:
    """Fail instead of ending."""
    await _tell("started", n)
    try:
        await asyncio.sleep(3600)
    except asyncio.CancelledError:
        raise ValueError("I was not done") from None


@app.task
async def dies(n: int) -> None:
    """Kill its worker once it is told to end, before it could tell."""
    await _tell("started", n)
    try:
        await asyncio.sleep(3600)
    except asyncio.CancelledError:
        os.kill(os.getpid(), signal.SIGKILL)


@app.task
def threaded(n: int, ctx: fastq.Context) -> None:
    """Look at the flag, which is all that a thread gets, and go on to the end, or give up."""
    app.enqueue_sync(notes.job(what="started", n=n))
    while not ctx.cancelled:
        time.sleep(0.01)
    if n:
        raise RuntimeError("given up")


@app.task(priority=0)
async def notes(what: str, n: int) -> None:
    """Tell for a thread."""
    await _tell(what, n)
