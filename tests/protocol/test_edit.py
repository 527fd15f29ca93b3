"""Changing jobs that wait: queue, priority, arguments, time."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from packed_jobs import pack
from scene import LANE, Conn, ask, hire, put, states, take

import fastq
from fastq.errors import FastqError, UsageError
from fastq.protocol import jobs
from fastq.protocol.asking import carry_out
from fastq.protocol.jobs import JobFilter
from fastq.protocol.upkeep import promote
from fastq.states import JobState

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


async def test_all_that_fit_are_moved(app: fastq.App, conn: Conn) -> None:
    """Single jobs and packets, ready ones and those that wait; ordered ones stay; at the end there are no more."""
    async with app:
        t, o = app.tasks["t"], app.tasks["o"]
        single = await t.enqueue(n=-1)
        first = await pack(conn, 300)
        await app.enqueue_many(t.options(delay=60).job(n=n) for n in range(30))
        later = await t.options(delay=60).enqueue(n=-2)
        ordered = await o.options(group_key="g").enqueue(n=1)
        assert await app.jobs.edit_many(queue="default", to_queue="mail", to_priority=2) == 332
        assert await app.jobs.edit_many(queue="default", to_queue="mail", to_priority=2) == 0
        rows = await ask(conn, "select distinct queue, priority, state from fastq.job order by 1, 3")
        assert rows == [("default", 4, "ready"), ("mail", 2, "ready"), ("mail", 2, "scheduled")]
        for job in (single.id, first, first + 299, later.id, ordered.id):
            assert await app.jobs.get(job) is not None
        assert (await app.jobs.get(ordered.id)).queue == "default"  # type: ignore[union-attr]
        assert await ask(conn, "select count(*)::int from fastq.job") == [(333,)]


async def test_moved_packets_are_claimed_where_they_are_now(app: fastq.App, conn: Conn) -> None:
    """By a worker that had looked past their places, with all their jobs."""
    first = await pack(conn, 5)
    worker = await hire(conn)
    async with app:
        assert await app.jobs.edit_many(state="ready", to_queue="mail") == 5
    ((pos,),) = await ask(conn, "select pos from fastq.ready")
    assert pos > first + 5
    claimed = await take(conn, worker, lane=LANE._replace(queue="mail"), low=first + 5)
    (packet,) = claimed.packets
    assert (packet.first, packet.jobs, packet.fresh) == (first, 5, False)
    assert packet.payloads is not None


async def test_all_that_wait_for_a_time_run_now(app: fastq.App, conn: Conn) -> None:
    """A few at a time; the leader makes them ready."""
    async with app:
        t = app.tasks["t"]
        for n in range(5):
            await t.options(delay=60).enqueue(n=n)
        done = [await app.jobs.edit_many(state="scheduled", now=True, limit=2) for _ in range(4)]
        assert done == [2, 2, 1, 0]
        await promote(conn, shard=0, limit=100)
        assert await ask(conn, "select state, count(*)::int from fastq.job group by 1") == [("ready", 5)]


async def test_a_moved_jobs_key_knows_where_it_is(app: fastq.App, conn: Conn) -> None:
    """As after a single change."""
    async with app:
        await app.tasks["t"].options(unique_key="k").enqueue(n=1)
        assert await app.jobs.edit_many(task="t", to_queue="mail", to_priority=7) == 1
        assert await ask(conn, "select queue, priority from fastq.unique_key") == [("mail", 7)]
        assert (await app.tasks["t"].options(unique_key="k").enqueue(n=2)).duplicate


async def test_what_cannot_be_done_to_all(app: fastq.App) -> None:
    """Nothing is to be changed, of states in which nothing can, of everything by accident."""
    async with app:
        with pytest.raises(UsageError, match="give what is to be changed"):
            await app.jobs.edit_many(task="t")
        with pytest.raises(UsageError, match="failed jobs cannot be changed"):
            await app.jobs.edit_many(state="failed", to_queue="x")
        with pytest.raises(UsageError, match="for all jobs there are"):
            await app.jobs.edit_many(to_queue="x")
        with pytest.raises(UsageError, match="priority"):
            await app.jobs.edit_many(task="t", to_priority=10)


async def test_counting_those_that_fit(app: fastq.App, conn: Conn) -> None:
    """Packets count as their jobs; it says where it stopped."""
    await pack(conn, 300)
    await put(conn, "{}", "{}")
    assert await carry_out(conn, jobs.count(JobFilter(states=(JobState.READY,)))) == (302, False)
    assert await carry_out(conn, jobs.count(JobFilter(states=(JobState.FAILED,)))) == (0, False)
    assert (await carry_out(conn, jobs.count(JobFilter(), cap=2))).more
