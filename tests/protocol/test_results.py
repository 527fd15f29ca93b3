"""Waiting for a job's result by its id, where there is none to come."""

from __future__ import annotations

import asyncio

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
