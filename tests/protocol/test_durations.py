"""When the last run of a kept job started, and how long it took: in the view, in Python, for people."""

from __future__ import annotations

import asyncio
import time
from datetime import timedelta

import pytest
from click.testing import CliRunner
from scene import Conn, ask

import fastq
from fastq import testing
from fastq.cli.main import cli

pytestmark = pytest.mark.protocol

LEAST_S = 0.05
CLOCK_S = 0.002
"""An event loop counts in milliseconds, from when it last looked at the clock."""


@pytest.fixture
def app(dsn: str) -> fastq.App:
    """Give an app with a task of each kind, all of which take their time."""
    app = fastq.App(dsn)

    @app.task(name="fails", retries=0)
    async def fails() -> None:
        await asyncio.sleep(LEAST_S)
        raise ValueError

    @app.task(name="kept", keep=60)
    async def kept() -> int:
        await asyncio.sleep(LEAST_S)
        return 1

    @app.task(name="with_context", keep=60)
    async def with_context(ctx: fastq.Context) -> None:
        await asyncio.sleep(LEAST_S)

    @app.task(name="in_thread", keep=60)
    def in_thread() -> None:
        time.sleep(LEAST_S)

    @app.task(name="batched", batch=10, keep=60)
    async def batched(items: list[fastq.BatchItem]) -> None:
        await asyncio.sleep(LEAST_S)

    @app.task(name="discarded")
    async def discarded() -> None:
        await asyncio.sleep(LEAST_S)
        raise fastq.Discard("no use")

    return app


async def test_it_is_known_of_every_kind_of_run(app: fastq.App, conn: Conn) -> None:
    """It began after the job was enqueued, took no less than it must have, and ended when the job did."""
    async with app:
        refs = [await task.enqueue() for task in app.tasks.values()]
        await testing.drain(app, check=False)
        for ref in refs:
            job = await app.jobs.get(ref.id)
            assert job is not None
            assert job.duration_s is not None
            assert job.duration_s >= LEAST_S - CLOCK_S, job.task
            assert job.started_at is not None
            assert job.finished_at is not None
            assert job.enqueued_at is not None
            assert job.enqueued_at - timedelta(milliseconds=2) <= job.started_at
            assert job.started_at + timedelta(seconds=job.duration_s) == job.finished_at
        listed = await app.jobs.list(task="kept")
        assert listed[0].duration_s is not None
    seen = await ask(conn, "select bool_and(duration = finished_at - started_at), count(duration) from fastq.job")
    assert seen == [(True, len(refs))]


async def test_jobs_show_tells(app: fastq.App) -> None:
    """In a line of its own."""
    async with app:
        job = await app.tasks["fails"].enqueue()
        await testing.drain(app, check=False)
    shown = CliRunner().invoke(cli, ["jobs", "show", str(job.id)], catch_exceptions=False).stdout
    assert "started" in shown
    assert "took      0." in shown


async def test_a_job_that_never_ran_took_no_time(app: fastq.App) -> None:
    """It was cancelled while it waited."""
    async with app:
        job = await app.tasks["kept"].enqueue()
        await app.jobs.cancel(job.id)
        found = await app.jobs.get(job.id)
    assert found is not None
    assert (found.state, found.started_at, found.duration_s) == ("cancelled", None, None)
