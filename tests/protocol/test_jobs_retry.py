"""Jobs that ended are put back into line."""

from __future__ import annotations

import asyncio

import pytest
from jobs_scene import ERRORS, find, put_finished, put_scheduled
from scene import (
    Conn,
    ask,
    hire,
    put,
    states,
    take,
    until_blocked,
)

from fastq.errors import UsageError
from fastq.protocol import jobs
from fastq.protocol.asking import carry_out
from fastq.protocol.jobs import JobFilter
from fastq.states import JobState

pytestmark = pytest.mark.protocol

KEPT = (JobState.FAILED, JobState.DISCARDED, JobState.CANCELLED)


@pytest.mark.parametrize("state", KEPT)
async def test_retry_starts_the_attempts_again(conn: Conn, other: Conn, state: str) -> None:
    """The same job, in the head segment, its past errors kept, its crashes forgotten; the workers are woken."""
    await conn.execute("update fastq.ring set head = 3")
    await other.execute("listen fastq")
    job = await put_finished(conn, state, meta=ERRORS[:-1] + ',"crashes":3}')
    assert await carry_out(conn, jobs.retry(job)) is True
    rows = await ask(conn, "select segment, id, attempt, priority, group_key, enqueued_ms, payload from fastq.ready")
    assert rows == [(3, job, 0, 2, "g", 1000, {"n": 1})]
    found = await find(conn, job)
    assert found is not None
    assert (found.crashes, len(found.errors)) == (0, 1)
    assert [note.payload async for note in other.notifies(timeout=5, stop_after=1)] == ["0"]


@pytest.mark.parametrize("state", ["succeeded", "ready", "running", "retrying", None])
async def test_only_what_ended_without_success_is_retried(conn: Conn, state: str | None) -> None:
    """Nothing happens to any other job."""
    job = 1 << 40
    if state == "succeeded":
        job = await put_finished(conn, state)
    elif state == "retrying":
        job = await put_scheduled(conn, state)
    elif state is not None:
        (job,) = await put(conn)
        if state == "running":
            await take(conn, await hire(conn))
    before = await states(conn)
    assert await carry_out(conn, jobs.retry(job)) is False
    assert await states(conn) == before


async def test_two_retries_at_once_give_one_job(conn: Conn, other: Conn, third: Conn) -> None:
    """The second waits for the first; when that is rolled back, it is the one."""
    for commit in (True, False):
        job = await put_finished(conn)
        async with conn.transaction(force_rollback=not commit):
            assert await carry_out(conn, jobs.retry(job)) is True
            second = asyncio.create_task(carry_out(other, jobs.retry(job)))
            await until_blocked(third, other)
        assert await second is not commit
        assert (await states(conn))[job] == "ready"


async def test_many_are_retried_the_oldest_first(conn: Conn) -> None:
    """A filter, a limit, then the rest; what somebody holds is left out."""
    failures = [await put_finished(conn, queue="mail") for _ in range(4)]
    discarded = await put_finished(conn, "discarded", queue="mail")
    elsewhere = await put_finished(conn)
    done = await put_finished(conn, "succeeded", queue="mail")
    assert await carry_out(conn, jobs.retry_many(JobFilter(queue="mail"), 2)) == 2
    rows = await ask(conn, "select id from fastq.ready order by pos")
    assert [row[0] for row in rows] == failures[:2]
    assert await carry_out(conn, jobs.retry_many(JobFilter(queue="mail", states=(JobState.FAILED,)))) == 2
    assert await carry_out(conn, jobs.retry_many(JobFilter(queue="mail"))) == 1
    assert await states(conn) == dict.fromkeys([*failures, discarded], "ready") | {
        elsewhere: "failed",
        done: "succeeded",
    }
    with pytest.raises(UsageError, match="ready jobs cannot be retried"):
        jobs.retry_many(JobFilter(states=(JobState.READY,)))


async def test_two_bulk_retries_share_the_jobs(conn: Conn, other: Conn) -> None:
    """Each job is put back once, whoever comes first, and nobody waits."""
    failures = [await put_finished(conn) for _ in range(6)]
    async with conn.transaction():
        first = await carry_out(conn, jobs.retry_many(JobFilter(), 2))
        second = await carry_out(other, jobs.retry_many(JobFilter()))
    assert (first, second) == (2, 4)
    assert await states(conn) == dict.fromkeys(failures, "ready")
