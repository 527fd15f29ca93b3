"""Jobs in every state, put there for tests of finding and steering them."""

from __future__ import annotations

from scene import (
    Conn,
    ask,
)

from fastq.protocol import jobs
from fastq.protocol.asking import carry_out
from fastq.protocol.jobs import JobInfo

ERRORS = '{"errors":[{"type":"ValueError","message":"no \\"such\\" file","traceback":"tb","attempt":1,"at":"2026"}]}'


async def find(conn: Conn, job: int) -> JobInfo | None:
    """Find a job."""
    return await carry_out(conn, jobs.find(job))


async def put_scheduled(
    conn: Conn, reason: str = "scheduled", *, queue: str = "default", meta: str | None = None
) -> int:
    """Insert a job that waits for a time."""
    ((job,),) = await ask(
        conn,
        "insert into fastq.scheduled (shard, run_at, reason, queue, task, payload, meta)"
        " values (0, now() + interval '1 hour', %s, %s, 't', '{\"n\": 1}', %s) returning id",
        reason,
        queue,
        meta,
    )
    return int(job)


async def put_finished(
    conn: Conn, state: str = "failed", *, queue: str = "default", task: str = "t", meta: str | None = ERRORS
) -> int:
    """Insert a job that is kept."""
    ((job,),) = await ask(
        conn,
        "insert into fastq.finished (shard, id, state, priority, attempt, enqueued_ms, queue, group_key, task, payload,"
        " meta) values (0, nextval('fastq.pos'), %s, 2, 4, 1000, %s, 'g', %s, '{\"n\": 1}', %s) returning id",
        state,
        queue,
        task,
        meta,
    )
    return int(job)
