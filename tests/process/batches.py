"""An app with batch handlers. They tell what they got by rows in the table `probe`."""

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


@app.task(batch=100, queue="index")
async def index_all(jobs: list[fastq.BatchItem]) -> None:
    """Tell which jobs came together."""
    await _tell("together", ",".join(str(job.args["n"]) for job in jobs))


@app.task(batch=10, queue="index")
def in_thread(jobs: list[fastq.BatchItem]) -> None:
    """Take some milliseconds, without an event loop."""
    time.sleep(0.002)
    app.enqueue_many_sync(note.job(n=job.args["n"]) for job in jobs)


@app.task
async def note(n: int) -> None:
    """Tell for a thread."""
    await _tell("note", n)


@app.task(batch=10, retries=1, backoff=0.01, keep=60)
async def picky(jobs: list[fastq.BatchItem]) -> None:
    """Do with each job what its argument says."""
    for job in jobs:
        await _tell(job.args["kind"], job.attempt)
        match job.args["kind"], job.attempt:
            case "fail", _:
                job.fail("not this one")
            case "retry", 1:
                job.retry(0.01)
            case "snooze", 1 if not job.errors and not await _seen("snooze"):
                job.snooze(0.01)
            case "discard", _:
                job.discard("no use")


async def _seen(what: str) -> bool:
    async with app.client.connection() as conn:
        cur = await conn.execute("select count(*) from probe where what = %s", [what])
        row = await cur.fetchone()
    return row is not None and row[0] > 1


@app.task(batch=10, retries=0)
async def breaks(jobs: list[fastq.BatchItem]) -> None:
    """Raise; one job has been dealt with before."""
    jobs[0].discard("dealt with")
    raise RuntimeError("all of you")


@app.task(batch=10, retries=5, queue="deadly")
async def kills(jobs: list[fastq.BatchItem]) -> None:
    """Kill the worker when job 3 is among them."""
    await _tell("called", ",".join(str(job.args["n"]) for job in jobs))
    if any(job.args["n"] == 3 for job in jobs):
        os.kill(os.getpid(), signal.SIGKILL)


@app.task(batch=10, retries=0, queue="stuck", hard_timeout=0.5)
async def hangs(jobs: list[fastq.BatchItem]) -> None:
    """Block the event loop past the hard timeout."""
    await _tell("called", len(jobs))
    time.sleep(3600)  # noqa: ASYNC251


@app.task(batch=10, queue="waits")
async def waits(jobs: list[fastq.BatchItem]) -> None:
    """Wait until one of the jobs is cancelled; that one fails."""
    await _tell("called", len(jobs))
    while not any(job.cancelled for job in jobs):  # noqa: ASYNC110
        await asyncio.sleep(0.01)
    for job in jobs:
        if job.cancelled:
            job.fail("stopped")


@app.task(batch=50, batch_wait=3, queue="slowly")
async def slowly(jobs: list[fastq.BatchItem]) -> None:
    """Tell how many came together."""
    await _tell("together", len(jobs))
