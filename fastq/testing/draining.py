"""Running what is ready, in this process."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any

from psycopg import AsyncConnection

from fastq.app import App
from fastq.config import WorkerConfig
from fastq.protocol import upkeep
from fastq.states import JobState
from fastq.testing.caller import beside
from fastq.testing.crew import STATE_OF_LIFESPAN, InProcessFleet, assembled
from fastq.testing.runs import Runs
from fastq.testing.statements import statement
from fastq.worker.threads import Threads

_THREADS_MOST = 8
_POLL_S = 0.05


@dataclass(frozen=True, slots=True)
class _Wishes:
    """The parameters of `drain`."""

    delayed: bool
    retries: bool
    queues: Iterable[str]
    concurrency: int
    state: Any
    check: bool
    timeout_s: float


async def drain(
    app: App,
    *,
    delayed: bool = False,
    retries: bool = False,
    queues: Iterable[str] = (),
    concurrency: int = 1,
    state: Any = STATE_OF_LIFESPAN,
    check: bool = True,
    timeout: float = 30.0,
) -> Runs:
    """Run every ready job of the app's database, and those that they enqueue, until none is ready.

    A job that fails is not run again: it waits for its retry, or is kept as failed. Jobs of tasks that the app does not
    have, and of paused queues, stay where they are.

    Args:
        app: the app that has the tasks; it need not be open.
        delayed: first, let jobs that wait for their time wait no longer. What is delayed meanwhile stays.
        retries: let failed jobs be retried at once, until they succeed or have failed for good.
        queues: only of these; none means all.
        concurrency: how many at once. With 1 they run strictly by priority and in the order of the line.
        state: what `ctx.state` is, in place of what the app's lifespan yields.
        check: raise the errors of failed jobs; False returns them in `Runs.failures`.
        timeout: seconds after which what runs is cancelled and goes back into line.

    Raises:
        ExceptionGroup: jobs failed, each with its own exception and a note saying which job it was.
        TimeoutError: there was still something to run after `timeout` seconds.

    """
    threads = Threads(min(concurrency, _THREADS_MOST))
    try:
        return await _drain(app, threads, _Wishes(delayed, retries, queues, concurrency, state, check, timeout))
    finally:
        threads.close()


def drain_sync(
    app: App,
    *,
    delayed: bool = False,
    retries: bool = False,
    queues: Iterable[str] = (),
    concurrency: int = 1,
    state: Any = STATE_OF_LIFESPAN,
    check: bool = True,
    timeout: float = 30.0,
) -> Runs:
    """As `drain`, from synchronous code. Synchronous handlers run in this thread, one at a time."""
    wishes = _Wishes(delayed, retries, queues, concurrency, state, check, timeout)
    return beside(lambda threads: _drain(app, threads, wishes), "drain")


async def _drain(app: App, threads: Threads, wishes: _Wishes) -> Runs:
    async with assembled(app, wishes.state) as crew:
        scope = asyncio.timeout(wishes.timeout_s)
        try:
            async with scope:
                await _rounds(crew, threads, wishes)
        except TimeoutError:
            if not scope.expired():
                raise
            running = ", ".join(f"job {job} of {task}" for job, task in crew.runs.running.items()) or "none"
            raise TimeoutError(
                f"not drained within {wishes.timeout_s} s: {len(crew.runs)} run(s) had ended, running: {running}"
            ) from None
    if wishes.check:
        crew.runs.check()
    return crew.runs


async def _rounds(crew: InProcessFleet, threads: Threads, wishes: _Wishes) -> None:
    config = WorkerConfig(
        target="",
        dsn="",
        concurrency=wishes.concurrency,
        threads=threads.size,
        prefetch_ms=0,
        queues=dict.fromkeys(wishes.queues, 1),
        poll_interval_s=_POLL_S,
        shards=crew.shards,
        burst=True,
    )
    waiting = [JobState.SCHEDULED] * wishes.delayed + [JobState.RETRYING] * wishes.retries
    await _hasten(crew, waiting)
    await _promote(crew)
    await crew.burst(config, threads)
    while wishes.retries and await _hasten(crew, [JobState.RETRYING]):
        await _promote(crew)
        await crew.burst(config, threads)


async def _hasten(crew: InProcessFleet, reasons: list[JobState]) -> int:
    """Let jobs that wait for these reasons be due; returns how many there are."""
    return sum(
        [await crew.link.call(partial(_hasten_shard, shard=shard, reasons=reasons)) for shard in range(crew.shards)]
    )


async def _hasten_shard(conn: AsyncConnection[Any], *, shard: int, reasons: list[JobState]) -> int:
    params = {"shard": shard, "reasons": [reason.value for reason in reasons]}
    row = await (await conn.execute(statement("hasten_jobs"), params)).fetchone()
    return int(row[0]) if row else 0


async def _promote(crew: InProcessFleet) -> None:
    """Do what the steward does: what is due becomes ready."""
    for shard in range(crew.shards):
        while (await crew.link.call(partial(upkeep.promote, shard=shard))).jobs:
            pass
