"""`fastq.testing` as the authors of applications use it: drain, run_job, assert_enqueued."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any
from unittest.mock import ANY

import msgspec
import psycopg
import pytest

import fastq
from fastq import testing

pytestmark = pytest.mark.e2e

Db = psycopg.Connection[Any]


@dataclass(frozen=True)
class Address:
    """Where a parcel goes."""

    street: str
    number: int


@dataclass
class Shelf:
    """What the lifespan yields."""

    label: str


class Shop:
    """An application with a few tasks that write down what they did."""

    def __init__(self, **options: Any) -> None:
        self.app = app = fastq.App(**options)
        self.done: list[Any] = []

        @app.task(queue="mail")
        async def welcome(user_id: int, template: str = "hello") -> str:
            self.done.append(user_id)
            return f"{template} {user_id}"

        @app.task
        async def order(items: int) -> None:
            self.done.append(f"order of {items}")
            for item in range(items):
                await ship.enqueue(item=item)

        @app.task
        def ship(item: int) -> int:
            self.done.append((item, threading.get_ident()))
            return item

        @app.task(retries=2, backoff=3600)
        async def flaky(ctx: fastq.Context, good_at: int = 99) -> int:
            self.done.append(ctx.attempt)
            if ctx.attempt < good_at:
                raise ZeroDivisionError(f"attempt {ctx.attempt}")
            return ctx.attempt

        @app.task
        async def send(to: Address, at: datetime) -> tuple[Address, datetime]:
            return to, at

        @app.task
        async def book(ctx: fastq.Context, cents: int) -> None:
            async with ctx.transaction() as conn:
                await conn.execute("insert into booking values (%s)", [cents])

        @app.task
        async def hang() -> None:
            self.done.append("hanging")
            await asyncio.Event().wait()

        self.welcome, self.order, self.ship, self.flaky = welcome, order, ship, flaky
        self.send, self.book, self.hang = send, book, hang


@pytest.fixture
def shop(dsn: str) -> Shop:
    """Give the application; FASTQ_DSN names its database."""
    return Shop()


def states(db: Db) -> list[str]:
    """Return the states of all jobs."""
    return [row[0] for row in db.execute("select state from fastq.job order by id")]


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


# -- from synchronous code


def test_drain_sync(shop: Shop) -> None:
    """Without an event loop; synchronous handlers run in the test's own thread."""
    with shop.app:
        shop.order.enqueue_sync(items=2)
        runs = testing.drain_sync(shop.app)
        shop.welcome.enqueue_sync(user_id=7)  # the app is open as before
    assert shop.done[1:] == [(0, threading.get_ident()), (1, threading.get_ident())]
    assert len(runs) == 3


def test_drain_sync_raises(shop: Shop) -> None:
    """Failures of synchronous handlers are raised as those of coroutines are."""

    @shop.app.task
    def fail() -> None:
        raise LookupError("gone")

    with shop.app:
        fail.enqueue_sync()
        with pytest.RaisesGroup(LookupError):
            testing.drain_sync(shop.app)


async def test_sync_calls_are_refused_in_a_loop(shop: Shop) -> None:
    """Where an event loop runs, the error names the coroutine."""
    with pytest.raises(fastq.UsageError, match=r"await drain"):
        testing.drain_sync(shop.app)
    with pytest.raises(fastq.UsageError, match=r"await run_job"):
        testing.run_job_sync(shop.app, shop.welcome.job(user_id=7))


def test_run_job_sync(shop: Shop) -> None:
    """Returns the result; a synchronous handler runs in this thread, and its interrupt is the test's."""

    @shop.app.task
    def interrupt() -> None:
        raise KeyboardInterrupt

    assert testing.run_job_sync(shop.app, shop.ship.job(item=3)) == 3
    assert shop.done == [(3, threading.get_ident())]
    assert testing.run_job_sync(shop.app, shop.welcome.job(user_id=3)) == "hello 3"
    with pytest.raises(KeyboardInterrupt):
        testing.run_job_sync(shop.app, interrupt.job())


# -- run_job


async def test_run_job_converts_as_a_worker_does(shop: Shop) -> None:
    """Arguments go out as JSON and come back as what the signature says."""
    to, at = Address("High Street", 7), datetime(2026, 1, 2, tzinfo=UTC)
    assert await testing.run_job(shop.app, shop.send.job(to=to, at=at)) == (to, at)


async def test_run_job_refuses_what_a_worker_would(shop: Shop) -> None:
    """Arguments of a wrong type, that cannot be written, or of a task that the app does not have."""
    with pytest.raises(msgspec.ValidationError, match="user_id"):
        await testing.run_job(shop.app, shop.welcome.job(user_id="seven"))  # type: ignore[arg-type]
    with pytest.raises(fastq.ArgumentError, match="JSON"):
        await testing.run_job(shop.app, shop.welcome.job(user_id=object()))  # type: ignore[arg-type]
    with pytest.raises(fastq.UsageError, match="no task"):
        await testing.run_job(fastq.App(), shop.welcome.job(user_id=7))


async def test_run_job_raises_what_the_handler_raises(shop: Shop, db: Db) -> None:
    """Also in a later attempt; nothing of the job is left, and a good attempt returns."""
    with pytest.raises(ZeroDivisionError, match="attempt 2"):
        await testing.run_job(shop.app, shop.flaky.job(), attempt=2)
    assert await testing.run_job(shop.app, shop.flaky.job(good_at=3), attempt=3) == 3
    assert states(db) == []
    assert db.execute("select id from fastq.worker").fetchall() == []


async def test_run_job_runs_that_one_only(shop: Shop, db: Db) -> None:
    """Other jobs in the same lane stay, and a delay does not count."""
    async with shop.app:
        await shop.welcome.enqueue(user_id=1)
        assert await testing.run_job(shop.app, shop.welcome.options(delay=60).job(user_id=2)) == "hello 2"
    assert shop.done == [2]
    assert states(db) == ["ready"]


async def test_run_job_keeps_what_the_handler_enqueues(shop: Shop) -> None:
    """A handler's own jobs are enqueued for real."""
    await testing.run_job(shop.app, shop.order.job(items=1))
    assert testing.assert_enqueued(shop.ship, item=0).state == "ready"


async def test_run_job_ends_in_time(shop: Shop, db: Db) -> None:
    """A handler that hangs is cancelled; a task's own timeout is kept."""

    @shop.app.task(timeout=0.05)
    async def slow() -> None:
        await asyncio.Event().wait()

    with pytest.raises(TimeoutError, match=r"longer than its timeout of 0.05"):
        await testing.run_job(shop.app, slow.job())
    with pytest.raises(TimeoutError, match=r"hang had not ended after 0.1 s"):
        await testing.run_job(shop.app, shop.hang.job(), timeout=0.1)
    assert states(db) == []


async def test_run_job_of_a_paused_queue(shop: Shop, db: Db) -> None:
    """It says why there is nothing to run."""
    db.execute("insert into fastq.queue (name, paused) values ('mail', true)")
    with pytest.raises(fastq.UsageError, match="paused"):
        await testing.run_job(shop.app, shop.welcome.job(user_id=7))
    assert states(db) == []


# -- assert_enqueued


async def test_enqueued_lists_jobs(shop: Shop) -> None:
    """All of the app's, those of a task, those with some arguments; in order, with what they are."""
    async with shop.app:
        await shop.welcome.options(priority=2, headers={"by": "me"}).enqueue(user_id=7)
        await shop.order.options(delay=60).enqueue(items=1)
    first, second = testing.enqueued(shop.app)
    assert (first.args, first.queue, first.priority, first.headers) == ({"user_id": 7}, "mail", 2, {"by": "me"})
    assert (second.state, second.task) == ("scheduled", shop.order.name)
    assert second.run_at is not None
    assert second.enqueued_at is not None
    assert testing.enqueued(shop.order, items=1) == [second]
    assert testing.enqueued(shop.order, items=2) == []


async def test_assert_enqueued_compares_as_handlers_get_it(shop: Shop) -> None:
    """Values in Python's types or JSON's, defaults included; arguments that are not named don't matter."""
    to, at = Address("High Street", 7), datetime(2026, 1, 2, tzinfo=UTC)
    async with shop.app:
        await shop.send.enqueue(to=to, at=at)
        await shop.welcome.enqueue(user_id=7)
    testing.assert_enqueued(shop.send, to=to)
    testing.assert_enqueued(shop.send, to={"street": "High Street", "number": 7}, at=ANY)
    testing.assert_enqueued(shop.welcome, user_id=7, template="hello")
    with pytest.raises(AssertionError):
        testing.assert_enqueued(shop.welcome, template="bye")


async def test_assert_enqueued_says_what_is_there(shop: Shop) -> None:
    """Its error shows what was looked for and what was found instead; a misspelt argument is an error of its own."""
    with pytest.raises(AssertionError, match=r"no job is enqueued \(with conn="):
        testing.assert_enqueued(shop.welcome)
    async with shop.app:
        job = await shop.welcome.enqueue(user_id=7)
    with pytest.raises(AssertionError) as caught:
        testing.assert_enqueued(shop.welcome, user_id=8)
    assert "welcome(user_id=8)" in str(caught.value)
    assert f"job {job.id} {shop.welcome.name}(user_id=7), ready" in str(caught.value)
    with pytest.raises(fastq.ArgumentError, match="usr_id"):
        testing.assert_enqueued(shop.welcome, usr_id=7)


async def test_what_failed_is_still_there(shop: Shop) -> None:
    """A job that failed is listed with its errors; one that succeeded is gone."""
    async with shop.app:
        await shop.flaky.enqueue()
        await shop.welcome.enqueue(user_id=7)
        await testing.drain(shop.app, check=False)
    (job,) = testing.enqueued(shop.app)
    assert (job.state, job.errors[0]["type"], job.attempt) == ("retrying", "ZeroDivisionError", 1)


async def test_an_open_transaction_of_a_coroutine(shop: Shop, conn: psycopg.AsyncConnection[Any]) -> None:
    """With conn=… a job is seen that nobody else sees, before it is rolled back."""
    async with shop.app, conn.transaction(force_rollback=True):
        await shop.app.enqueue(shop.welcome.job(user_id=7), conn=conn)
        assert testing.assert_enqueued(shop.welcome, conn=conn, user_id=7).queue == "mail"
        assert testing.enqueued(shop.app) == []
    assert testing.enqueued(shop.app, conn=conn) == []


def test_an_open_transaction(shop: Shop, dsn: str) -> None:
    """The same on a synchronous connection, whose transaction is neither ended nor begun by looking."""
    with shop.app, psycopg.connect(dsn) as conn:
        assert testing.enqueued(shop.app, conn=conn) == []
        assert conn.info.transaction_status == psycopg.pq.TransactionStatus.IDLE
        shop.app.enqueue_sync(shop.welcome.job(user_id=7), conn=conn)
        testing.assert_enqueued(shop.welcome, conn=conn)
        conn.rollback()
        assert testing.enqueued(shop.app, conn=conn) == []


def test_a_connection_inside_another(shop: Shop, db: Db) -> None:
    """Django's and SQLAlchemy's connections hold one of psycopg's; what holds none is refused."""

    class Held:
        """As SQLAlchemy's Connection."""

        connection = type("Fairy", (), {"driver_connection": db})

    assert testing.enqueued(shop.app, conn=Held()) == []
    with pytest.raises(fastq.UsageError, match="psycopg"):
        testing.enqueued(shop.app, conn=object())


def test_a_transaction_that_failed(shop: Shop, dsn: str) -> None:
    """PostgreSQL's own words for why it cannot be looked at."""
    with psycopg.connect(dsn) as conn:
        with pytest.raises(psycopg.Error):
            conn.execute("nonsense")
        with pytest.raises(fastq.UsageError, match="aborted"):
            testing.enqueued(shop.app, conn=conn)
