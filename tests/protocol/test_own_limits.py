"""Retries and timeouts that a job has for itself, and those that its handler adds."""

from __future__ import annotations

import asyncio

import pytest

import fastq
from fastq import testing

pytestmark = pytest.mark.protocol


@pytest.fixture
def app(dsn: str) -> fastq.App:
    """Give an app whose tasks have limits of their own."""
    app = fastq.App(dsn)

    @app.task(name="fails", retries=0)
    async def fails(n: int) -> None:
        raise ValueError(n)

    @app.task(name="waits", retries=0)
    async def waits(s: float) -> None:
        await asyncio.sleep(s)

    @app.task(name="asks", retries=0)
    async def asks(ctx: fastq.Context) -> None:
        if ctx.attempt < 3:
            raise fastq.Retry(0, extra_retries=1)
        assert ctx.retries_left == 0

    @app.task(name="batched", batch=10)
    async def batched(items: list[fastq.BatchItem]) -> None: ...

    return app


async def test_a_job_is_tried_as_often_as_it_says(app: fastq.App) -> None:
    """More often than its task, or less; the others of the task as ever."""
    fails = app.tasks["fails"]
    async with app:
        refs = [await fails.options(retries=retries).enqueue(n=1) for retries in (2, 0, None)]
        runs = await testing.drain(app, retries=True, check=False)
        assert [sum(run.id == ref.id for run in runs.ended) for ref in refs] == [3, 1, 1]
        found = [await app.jobs.get(ref.id) for ref in refs]
    assert [job and (job.state, job.attempt) for job in found] == [("failed", 3), ("failed", 1), ("failed", 1)]


async def test_a_job_runs_no_longer_than_it_says(app: fastq.App) -> None:
    """Although its task has no timeout, and whatever stands beside it in line."""
    waits = app.tasks["waits"]
    async with app:
        await app.enqueue_many([waits.job(s=0.0)] * 20)
        slow = await waits.options(timeout=0.05).enqueue(s=3600)
        await app.enqueue_many([waits.job(s=0.0)] * 20)
        runs = await testing.drain(app, check=False)
        found = await app.jobs.get(slow.id)
    assert len(runs) == 41
    assert found is not None
    assert found.errors[-1]["message"] == "ran longer than its timeout of 0.05 s"


async def test_a_handler_asks_for_more_retries(app: fastq.App) -> None:
    """Of a task that has none."""
    async with app:
        await app.tasks["asks"].enqueue()
        runs = await testing.drain(app, retries=True)
    assert [run.attempt for run in runs.ended] == [1, 2, 3]


def test_a_batch_has_one_timeout(app: fastq.App) -> None:
    """That of its task; retries are each job's."""
    assert app.tasks["batched"].options(retries=2).job().options.retries == 2
    with pytest.raises(fastq.UsageError, match="for the whole call"):
        app.tasks["batched"].options(timeout=2)
