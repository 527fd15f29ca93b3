"""Waiting for a job's result by its id, where there is none to come."""

from __future__ import annotations

import asyncio

import psycopg
import pytest

import fastq
from fastq.protocol import results

pytestmark = pytest.mark.protocol


@pytest.fixture
def app(dsn: str, monkeypatch: pytest.MonkeyPatch) -> fastq.App:
    """Give an app with one task; whoever waits looks soon whether the job is there."""
    monkeypatch.setattr(results, "_LOOKS", 3)
    app = fastq.App(dsn)

    @app.task(name="t", keep=60)
    async def t() -> None: ...

    return app


async def test_a_job_that_is_deleted_meanwhile_is_not_waited_for(app: fastq.App) -> None:
    """Whoever waits is told, in asynchronous code and in synchronous; one that waits in line is waited for."""
    async with asyncio.timeout(20), app:
        job = await app.tasks["t"].enqueue()
        waiting = asyncio.create_task(app.jobs.result(job.id))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.shield(waiting), 0.2)
        await app.jobs.delete(job.id)
        with pytest.raises(fastq.JobGone, match=f"job {job.id} is not there"):
            await waiting
        with pytest.raises(fastq.JobGone), app:
            await asyncio.to_thread(app.jobs.result_sync, job.id)


async def test_what_is_no_id_is_refused(app: fastq.App) -> None:
    """With a sentence."""
    async with app:
        with pytest.raises(fastq.UsageError, match="a job's id is a number"):
            await app.jobs.result("x")  # type: ignore[arg-type]


async def ended(dsn: str, job: int, state: str, result: str | None) -> None:
    """Write down how a job ended."""
    async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as conn:
        await conn.execute(
            "with gone as (delete from fastq.ready where pos = %s) insert into fastq.finished (shard, id, state,"
            " priority, attempt, enqueued_ms, queue, group_key, task, result, meta)"
            " values (0, %s, %s, 4, 1, 0, 'default', '', 't', %s, %s)",
            [job, job, state, result, '{"errors":[{"type":"E","message":"no"}]}' if state == "failed" else None],
        )


async def test_many_are_waited_for_at_once(app: fastq.App, dsn: str) -> None:
    """In the order that was asked for, twice where one is asked for twice; also from synchronous code."""
    await ended(dsn, 7, "succeeded", '"seven"')
    await ended(dsn, 5, "succeeded", "5")
    async with asyncio.timeout(20), app:
        assert await app.jobs.results([]) == []
        assert await app.jobs.results([5, 7, 5]) == [5, "seven", 5]
        job = (await app.tasks["t"].enqueue()).id
        waiting = asyncio.create_task(app.jobs.results(iter([7, job])))
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(asyncio.shield(waiting), 0.2)
        await ended(dsn, job, "succeeded", "[9]")
        assert await waiting == ["seven", [9]]
        with app:
            assert await asyncio.to_thread(app.jobs.results_sync, [job, 7]) == [[9], "seven"]


async def test_those_that_failed_or_are_gone(app: fastq.App, dsn: str) -> None:
    """The first one is raised, or each stands in its place."""
    await ended(dsn, 1, "succeeded", "1")
    await ended(dsn, 2, "failed", None)
    async with asyncio.timeout(20), app:
        with pytest.raises(fastq.JobFailed, match="job 2 failed: E: no"):
            await app.jobs.results([1, 2])
        one, two, three = await app.jobs.results([1, 2, 3], return_exceptions=True)
        assert one == 1
        assert isinstance(two, fastq.JobFailed)
        assert isinstance(three, fastq.JobGone)
        with pytest.raises(fastq.JobGone, match="job 3 is not there"):
            await app.jobs.results([1, 3])
        with pytest.raises(fastq.UsageError, match="a job's id is a number"):
            await app.jobs.results([1, "x"])  # type: ignore[list-item]


async def test_one_that_is_gone_is_found_behind_those_that_wait(
    app: fastq.App, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However few are looked for at once."""
    monkeypatch.setattr(results, "_ASKED_MOST", 1)
    async with asyncio.timeout(20), app:
        waiting = [(await app.tasks["t"].enqueue()).id for _ in range(3)]
        with pytest.raises(fastq.JobGone, match="job 1 is not there"):
            await app.jobs.results([*waiting, 1])
