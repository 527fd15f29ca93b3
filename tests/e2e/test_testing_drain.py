"""`fastq.testing.drain`, as the authors of applications use it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import msgspec
import pytest
from small_shop import Db, Shop, states

import fastq
from fastq import testing

pytestmark = pytest.mark.e2e


@dataclass
class Shelf:
    """What the lifespan yields."""

    label: str


# -- drain


async def test_drain_runs_what_is_ready_and_what_that_enqueues(shop: Shop, db: Db) -> None:
    """Jobs run by priority and in order, with those that they enqueue; nothing is left, not even a worker."""
    async with shop.app:
        await shop.welcome.enqueue(user_id=7)
        await shop.welcome.options(priority=0).enqueue(user_id=8)
        await shop.order.enqueue(items=2)
        runs = await testing.drain(shop.app)
    assert [run.result for run in runs.of(shop.welcome)] == ["hello 8", "hello 7"]
    assert [run.result for run in runs.of(shop.ship)] == [0, 1]
    assert len(runs) == 5
    assert states(db) == []
    assert db.execute("select id from fastq.worker").fetchall() == []


async def test_drain_finds_queues_that_its_jobs_opened(shop: Shop) -> None:
    """A job may be the first of its queue, enqueued by the last job of another."""

    @shop.app.task(queue="first")
    async def first() -> None:
        await shop.welcome.options(queue="second").enqueue(user_id=7)

    async with shop.app:
        await first.enqueue()
        assert (await testing.drain(shop.app)).tasks == [first.name, shop.welcome.name]


async def test_drain_of_nothing(shop: Shop) -> None:
    """An empty database is drained at once."""
    assert (await testing.drain(shop.app)).ended == []


async def test_an_open_app_stays_open(shop: Shop) -> None:
    """The app that a test has opened works before, during and after a drain."""
    async with shop.app:
        client = shop.app.client
        await testing.drain(shop.app)
        assert shop.app.client is client
        await shop.welcome.enqueue(user_id=1)
    with pytest.raises(fastq.NotOpen):
        _ = shop.app.client


async def test_failures_are_raised(shop: Shop, db: Db) -> None:
    """A drain raises what its jobs raised, each with a note; the jobs wait for their retries and have run once."""
    async with shop.app:
        await shop.flaky.enqueue()
        await shop.welcome.enqueue(user_id=7)
        with pytest.RaisesGroup(pytest.RaisesExc(ZeroDivisionError, match="attempt 1")) as caught:
            await testing.drain(shop.app)
    (error,) = caught.value.exceptions
    assert "attempt 1" in error.__notes__[0]
    assert "flaky" in error.__notes__[0]
    assert sorted(shop.done) == [1, 7]
    assert states(db) == ["retrying"]


async def test_failures_are_returned(shop: Shop) -> None:
    """With check=False they stand in the result."""
    async with shop.app:
        job = await shop.flaky.enqueue()
        runs = await testing.drain(shop.app, check=False)
    (failure,) = runs.failures
    assert (failure.id, failure.attempt, type(failure.error)) == (job.id, 1, ZeroDivisionError)


async def test_retries_until_it_works(shop: Shop, db: Db) -> None:
    """With retries=True a failed job runs again at once, and counts as failed only if it fails in the end."""
    async with shop.app:
        await shop.flaky.enqueue(good_at=3)
        runs = await testing.drain(shop.app, retries=True)
    assert [run.failed for run in runs.ended] == [True, True, False]
    assert runs.failures == []
    assert states(db) == []


async def test_retries_until_it_has_failed(shop: Shop, db: Db) -> None:
    """A job that never works uses up its attempts and is kept, as on a worker."""
    async with shop.app:
        await shop.flaky.enqueue()
        runs = await testing.drain(shop.app, retries=True, check=False)
    assert [run.attempt for run in runs.ended] == [1, 2, 3]
    assert len(runs.failures) == 1
    assert states(db) == ["failed"]


async def test_a_retry_without_delay_waits_too(shop: Shop, db: Db) -> None:
    """Each ready job runs once, however soon its retry would be due."""

    @shop.app.task(backoff=0)
    async def fail() -> None:
        raise ValueError

    async with shop.app:
        await fail.enqueue()
        assert len(await testing.drain(shop.app, check=False)) == 1


async def test_wanted_ends_are_no_failures(shop: Shop, db: Db) -> None:
    """Snooze, Discard and Retry are what the handler wanted; a Retry without a run left is a failure."""

    @shop.app.task(retries=1)
    async def end(how: str) -> None:
        raise {"snooze": fastq.Snooze(60), "discard": fastq.Discard("no"), "retry": fastq.Retry(60)}[how]

    async with shop.app:
        for how in ("snooze", "discard", "retry"):
            await end.enqueue(how=how)
        await testing.drain(shop.app)
        assert states(db) == ["scheduled", "discarded", "retrying"]
        with pytest.RaisesGroup(fastq.Retry):
            await testing.drain(shop.app, retries=True)


async def test_delayed_jobs_stay_unless_wanted(shop: Shop, db: Db) -> None:
    """A job with a delay waits, or runs with delayed=True; what is delayed by a run stays."""

    @shop.app.task
    async def again() -> None:
        await again.options(delay=60).enqueue()

    async with shop.app:
        await again.options(delay=60).enqueue()
        assert len(await testing.drain(shop.app)) == 0
        assert len(await testing.drain(shop.app, delayed=True)) == 1
    assert states(db) == ["scheduled"]


async def test_what_is_due_runs(shop: Shop, db: Db) -> None:
    """A job whose time has come is ready, though no steward is there to say so."""
    async with shop.app:
        await shop.welcome.options(delay=60).enqueue(user_id=7)
        db.execute("update fastq.scheduled set run_at = now() - interval '1 second'")
        assert (await testing.drain(shop.app)).tasks == [shop.welcome.name]


async def test_only_some_queues(shop: Shop, db: Db) -> None:
    """With queues=… the jobs of the others stay."""
    async with shop.app:
        await shop.welcome.enqueue(user_id=7)
        await shop.order.enqueue(items=0)
        assert (await testing.drain(shop.app, queues=["mail"])).tasks == [shop.welcome.name]
    assert states(db) == ["ready"]


async def test_unknown_tasks_and_paused_queues_stay(shop: Shop, db: Db) -> None:
    """What a worker would not run is not run."""
    db.execute("select fastq.enqueue('somebody.else')")
    db.execute("insert into fastq.queue (name, paused) values ('mail', true)")
    async with shop.app:
        await shop.welcome.enqueue(user_id=7)
        assert len(await testing.drain(shop.app)) == 0
    assert states(db) == ["ready", "ready"]


async def test_arguments_that_do_not_fit_are_a_failure(shop: Shop, db: Db) -> None:
    """A payload from elsewhere that does not fit the signature fails at once, and is raised."""
    db.execute("select fastq.enqueue(%s, '{\"user_id\": \"seven\"}', queue => 'mail')", [shop.welcome.name])
    with pytest.RaisesGroup(msgspec.ValidationError):
        await testing.drain(shop.app)
    assert states(db) == ["failed"]


async def test_a_hanging_job_ends_the_drain(shop: Shop, db: Db) -> None:
    """After its timeout a drain says what was running; the job is back in line with its attempts."""
    timeout = 0.5
    async with shop.app:
        await shop.hang.enqueue()
        while not shop.done:  # on a busy machine it may not have begun
            with pytest.raises(TimeoutError, match="not drained within") as caught:
                await testing.drain(shop.app, timeout=timeout)
            timeout *= 2
    assert shop.hang.name in str(caught.value)
    assert db.execute("select state, attempt from fastq.job").fetchall() == [("ready", 0)]
    assert db.execute("select id from fastq.worker").fetchall() == []


async def test_concurrency(shop: Shop) -> None:
    """With concurrency=2, two jobs that wait for each other both end."""
    met = asyncio.Barrier(2)

    @shop.app.task
    async def meet() -> None:
        await met.wait()

    async with shop.app:
        await shop.app.enqueue_many(meet.job() for _ in range(2))
        assert len(await testing.drain(shop.app, concurrency=2)) == 2


async def test_many(shop: Shop, db: Db) -> None:
    """Two thousand jobs are no trouble."""
    async with shop.app:
        await shop.app.enqueue_many(shop.welcome.job(user_id=number) for number in range(2000))
        await testing.drain(shop.app, concurrency=100)
    assert sorted(shop.done) == list(range(2000))
    assert states(db) == []


async def test_the_apps_database_and_no_other(dsn: str, server: str, template: str) -> None:
    """An app with a DSN of its own is drained there."""
    with testing.database(server, template) as other:
        shop = Shop(dsn=other)
        async with shop.app:
            await shop.welcome.enqueue(user_id=7)
        assert len(await testing.drain(Shop().app)) == 0
        assert len(await testing.drain(shop.app)) == 1


async def test_without_a_schema(empty_dsn: str) -> None:
    """A database without fastq is told of."""
    with pytest.raises(fastq.SchemaError, match="fastq migrate"):
        await testing.drain(Shop(dsn=empty_dsn).app)


async def test_lifespan_and_state(dsn: str) -> None:
    """The lifespan is entered around a drain as around a worker, or a state of the test's takes its place."""
    life: list[str] = []

    @asynccontextmanager
    async def lifespan(_: fastq.App) -> AsyncIterator[Shelf]:
        life.append("begins")
        yield Shelf("real")
        life.append("ends")

    app = fastq.App(lifespan=lifespan)

    @app.task
    async def look(ctx: fastq.Context, shelf: Shelf) -> str:
        assert ctx.state is shelf
        return shelf.label

    async with app:
        await look.enqueue()
        assert [run.result for run in (await testing.drain(app)).ended] == ["real"]
        assert await testing.run_job(app, look.job()) == "real"
    assert life == ["begins", "ends"] * 2
    assert await testing.run_job(app, look.job(), state=Shelf("fake")) == "fake"
    assert life == ["begins", "ends"] * 2


async def test_middlewares_and_hooks_run(shop: Shop) -> None:
    """The app's own are around the runs, and are the app's own still."""
    seen: list[str] = []

    @shop.app.middleware
    async def around(ctx: fastq.Context, call_next: Any) -> Any:
        seen.append(ctx.task)
        return await call_next()

    async with shop.app:
        await shop.welcome.enqueue(user_id=7)
        await testing.drain(shop.app)
    assert seen == [shop.welcome.name]
    assert shop.app.middlewares == [around]


async def test_effects_in_the_jobs_transaction(shop: Shop, db: Db) -> None:
    """`ctx.transaction()` commits and completes, in a drain and in a single run."""
    db.execute("create table booking (cents int)")
    async with shop.app:
        await shop.book.enqueue(cents=1)
        await testing.drain(shop.app)
    await testing.run_job(shop.app, shop.book.job(cents=2))
    assert db.execute("select cents from booking order by cents").fetchall() == [(1,), (2,)]
    assert states(db) == []
    assert db.execute("select lease from fastq.progress").fetchall() == []
