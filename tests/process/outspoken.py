"""An app whose handlers log, as an app does that has set up nothing. Its batch handler says what `jobs` are."""

from __future__ import annotations

import asyncio
import logging
import os
import threading

import fastq

log = logging.getLogger("myapp")
app = fastq.App()
lasting: list[asyncio.Task[None]] = []


async def tell(what: str) -> None:
    """Write a row that the test waits for."""
    async with app.client.connection() as conn:
        await conn.execute("insert into probe (what, value, pid) values (%s, '', %s)", [what, os.getpid()])


@app.task(queue="talk")
async def plain(n: int) -> None:
    """Log from the fast path."""
    log.info("plain %s", n, extra={"customer": {"id": n}})


@app.task(queue="talk", retries=1, backoff=0)
async def rich(ctx: fastq.Context, n: int) -> None:
    """Log from a run with a context, twice, and from the tasks and threads that it starts."""
    log.info("rich %s", n)
    await asyncio.gather(_child(n), asyncio.to_thread(log.info, "thread %s", n))
    if ctx.attempt == 1:
        raise ValueError("once more")


async def _child(n: int) -> None:
    await asyncio.sleep(0)
    log.info("child %s", n)


@app.task(queue="talk")
def sync(n: int) -> None:
    """Log from a thread."""
    log.info("sync %s", n)
    bare = threading.Thread(target=log.info, args=("bare %s", n))
    bare.start()
    bare.join()


@app.task(queue="talk", batch=10)
async def together(jobs: list[fastq.BatchItem]) -> None:
    """Log for many jobs at once."""
    log.info("together %s", len(jobs))


@app.task(queue="talk")
async def leaves(n: int) -> None:
    """Start something that logs when this job is long over, in a shard that runs others by then."""
    lasting.append(asyncio.get_running_loop().create_task(_later(n)))


async def _later(n: int) -> None:
    await _over.wait()
    log.info("later %s", n)


_over = asyncio.Event()


@app.task(queue="talk")
async def over() -> None:
    """Let those log that were left behind."""
    _over.set()
    await asyncio.gather(*lasting)


@app.on_dead
async def mourn(ctx: fastq.Context, error: BaseException) -> None:
    """Log from a hook."""
    log.info("mourned")


@app.task(queue="talk", retries=0)
async def hopeless() -> None:
    """Fail."""
    log.debug("not shown at info")
    raise RuntimeError("no")
