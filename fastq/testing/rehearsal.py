"""One job, run for its result."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from functools import partial
from time import monotonic
from typing import Any

import orjson
from psycopg import AsyncConnection

from fastq.app import App
from fastq.errors import UsageError
from fastq.job import JobSpec
from fastq.protocol import ack, claim, enqueue
from fastq.protocol.asking import carry_out
from fastq.protocol.claim import Lane
from fastq.protocol.enqueue import Line
from fastq.protocol.packed import ATTEMPT, Row
from fastq.testing.caller import beside
from fastq.testing.crew import STATE_OF_LIFESPAN, Hand, assembled
from fastq.testing.runs import Run
from fastq.testing.statements import statement
from fastq.worker.batch import Batch
from fastq.worker.threads import Threads

_SLOT = 0


async def run_job(
    app: App, spec: JobSpec, *, attempt: int = 1, state: Any = STATE_OF_LIFESPAN, timeout: float = 30.0
) -> Any:
    """Run one job at once, whatever its delay; return what its handler returns.

    The arguments go through the database and back, are checked and converted; the handler gets its context, inside the
    app's middlewares and the task's timeout. Nothing of the job stays: it is not retried, and not kept as failed. What
    the handler enqueues or writes does stay.

    Args:
        app: the app that has the task; it need not be open.
        spec: what ``task.job(…)`` returns.
        attempt: which run it shall be, from 1.
        state: what `ctx.state` is, in place of what the app's lifespan yields.
        timeout: seconds after which it is cancelled.

    Raises:
        BaseException: whatever the handler raises, Retry, Snooze and Discard too.
        ArgumentError, UnknownTask: the job cannot be made.
        msgspec.ValidationError: the arguments do not fit the types in the task's signature.
        TimeoutError: it had not ended after `timeout` seconds, or after the task's own.

    Example:
        ``assert await run_job(app, thumbnail.job(path="a.png")) == {"width": 64}``

    """
    threads = Threads(1)
    try:
        return await _run(app, threads, _Part(spec, attempt, state, timeout))
    finally:
        threads.close()


def run_job_sync(
    app: App, spec: JobSpec, *, attempt: int = 1, state: Any = STATE_OF_LIFESPAN, timeout: float = 30.0
) -> Any:
    """As `run_job`, from synchronous code. A synchronous handler runs in this thread."""
    return beside(lambda threads: _run(app, threads, _Part(spec, attempt, state, timeout)), "run_job")


@dataclass(frozen=True, slots=True)
class _Part:
    """The parameters of `run_job`."""

    spec: JobSpec
    attempt: int
    state: Any
    timeout_s: float


async def _run(app: App, threads: Threads, part: _Part) -> Any:
    line, task = _line(app, part.spec), app.find_task(part.spec.task).name
    async with assembled(app, part.state) as crew, crew.hire(threads, 1) as hand:
        batch = await crew.link.call(partial(_take, hand=hand, spec=part.spec, line=line, attempt=part.attempt))
        hand.ledger.opened(batch)
        hand.executor.feed(batch)
        try:
            async with asyncio.timeout(part.timeout_s):
                await crew.runs.changed.wait()
        except TimeoutError:
            raise TimeoutError(f"{task} had not ended after {part.timeout_s} s") from None
        finally:
            await hand.stop()
            await crew.link.call(partial(ack.ack, shard=_SLOT, worker=hand.worker, leases=[batch.lease]))
        return _outcome(crew.runs.ended[0])


def _line(app: App, spec: JobSpec) -> Line:
    """Return the job as it is written to the database, but ready at once."""
    options = spec.options.but(delay=None) if spec.options.waits else spec.options
    if options.apart:
        options = options.but(unique_key=None, unique_until="finished", ordered=False, on_dead="skip")
    return Line(JobSpec(app.find_task(spec.task).name, spec.args, options), app.payload_limit_bytes)


async def _take(conn: AsyncConnection[Any], *, hand: Hand, spec: JobSpec, line: Line, attempt: int) -> Batch:
    """Enqueue the job and claim that one, in one transaction: nobody else sees it."""
    options = spec.options
    async with conn.transaction():
        (pos,) = await carry_out(conn, enqueue.insert_lines([line], shard=_SLOT))
        where = {
            "shard": _SLOT,
            "queue": options.queue,
            "priority": options.priority,
            "group_key": options.group_key,
            "pos": pos,
        }
        row = await (await conn.execute(statement("find_segment"), where)).fetchone()
        assert row is not None
        lane = Lane(_SLOT, row[0], options.queue, options.priority, options.group_key)
        lease = (await claim.take_lease_ids(conn))[0]
        claimed = await claim.claim(conn, lane=lane, worker=hand.worker, lease=lease, low=pos - 1, limit=1, acks=[])
        if claimed.batch is None:
            raise UsageError(f"queue {options.queue!r} gives no jobs: it is paused")
    rows: list[Row] = orjson.loads(claimed.batch)
    rows[0][ATTEMPT] = attempt - 1
    return Batch(lane, lease, rows, monotonic())


def _outcome(run: Run) -> Any:
    if run.error is not None:
        raise run.error
    return run.result
