"""Changing jobs that wait: queue, priority, arguments, time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from packed_jobs import pack
from scene import Conn, ask, hire, put, states, take

import fastq
from fastq.errors import FastqError, UsageError

pytestmark = pytest.mark.protocol


@pytest.fixture
def app(dsn: str) -> fastq.App:
    """Give an app with a plain task and an ordered one."""
    app = fastq.App(dsn)

    @app.task(name="t")
    async def t(n: int) -> None: ...

    @app.task(name="o", ordered=True)
    async def o(n: int) -> None: ...

    return app


async def test_everything_about_a_job_in_line(app: fastq.App, conn: Conn) -> None:
    """It keeps its id; what is not given stays."""
    async with app:
        job = await app.tasks["t"].enqueue(n=1)
        assert await app.jobs.edit(job.id, queue="mail", priority=1, args={"n": 2})
        found = await app.jobs.get(job.id)
        assert found is not None
        assert (found.state, found.queue, found.priority, found.args) == ("ready", "mail", 1, {"n": 2})
        assert await app.jobs.edit(job.id, priority=9)
        found = await app.jobs.get(job.id)
        assert found is not None
        assert (found.queue, found.priority, found.args) == ("mail", 9, {"n": 2})


async def test_when_it_runs(app: fastq.App, conn: Conn) -> None:
    """Later, and then at once."""
    async with app:
        job = await app.tasks["t"].enqueue(n=1)
        later = datetime.now(UTC) + timedelta(hours=1)
        assert await app.jobs.edit(job.id, run_at=later)
        found = await app.jobs.get(job.id)
        assert found is not None
        assert (found.state, found.run_at) == ("scheduled", later)
    with app:
        assert app.jobs.edit_sync(job.id, run_at=datetime.now(UTC))
    assert await states(conn) == {job.id: "ready"}


async def test_one_of_a_packet(app: fastq.App, conn: Conn) -> None:
    """Its neighbours stay together as they are."""
    first = await pack(conn, 5)
    async with app:
        assert await app.jobs.edit(first + 2, args={"n": 99})
        found = [await app.jobs.get(first + place) for place in range(5)]
    assert [job.args["n"] for job in found if job is not None] == [0, 1, 99, 3, 4]
    assert set((await states(conn)).values()) == {"ready"}


async def test_what_does_not_wait_is_left_alone(app: fastq.App, conn: Conn) -> None:
    """What runs, what has ended, what is gone."""
    (running,) = await put(conn, "{}")
    await take(conn, await hire(conn))
    async with app:
        assert not await app.jobs.edit(running, priority=1)
        assert not await app.jobs.edit(running + 1000, priority=1)


async def test_an_ordered_job_keeps_its_place(app: fastq.App, conn: Conn) -> None:
    """Its arguments can be changed, its queue and its priority cannot."""
    async with app:
        jobs = [await app.tasks["o"].options(group_key="g").enqueue(n=n) for n in range(3)]
        assert await app.jobs.edit(jobs[1].id, args={"n": 7})
        with pytest.raises(FastqError, match="keeps its queue"):
            await app.jobs.edit(jobs[1].id, queue="other")
        found = await app.jobs.get(jobs[1].id)
        assert found is not None
        assert (found.state, found.args) == ("waiting", {"n": 7})
    assert await ask(conn, "select id from fastq.job order by id") == [(job.id,) for job in jobs]


async def test_a_unique_job_takes_its_key_along(app: fastq.App, conn: Conn) -> None:
    """Where the key says it stands is where it stands: else it would be swept away."""
    async with app:
        job = await app.tasks["t"].options(unique_key="k").enqueue(n=1)
        assert await app.jobs.edit(job.id, queue="mail", priority=2)
        again = await app.tasks["t"].options(unique_key="k").enqueue(n=1)
        assert (again.id, again.duplicate) == (job.id, True)
    assert await ask(conn, "select queue, priority from fastq.unique_key") == [("mail", 2)]


async def test_what_cannot_be_is_refused(app: fastq.App) -> None:
    """In one sentence, and nothing is changed."""
    async with app:
        job = await app.tasks["t"].enqueue(n=1)
        for wrong in ({}, {"priority": 10}, {"queue": ""}, {"run_at": datetime(2026, 1, 1)}):
            with pytest.raises(UsageError):
                await app.jobs.edit(job.id, **wrong)
        found = await app.jobs.get(job.id)
        assert found is not None
        assert (found.queue, found.priority) == ("default", 4)
