"""Enqueueing through an app: shared commits, what an error says about the jobs, connections that the server closed."""

from __future__ import annotations

import asyncio
import traceback
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from scene import Conn, ask

import fastq
from fastq.client import synchronous
from fastq.client.pool import AsyncPool
from fastq.client.shared import Use
from fastq.config import PoolConfig

pytestmark = pytest.mark.protocol

SECRET = "the password is swordfish"
SHUT = "select pg_terminate_backend(pid, 10000) from pg_stat_activity where application_name = 'fastq producer'"
REFUSE = """
create function fastq.refuse() returns trigger language plpgsql as $$ begin {} end $$;
create trigger refuse before insert on fastq.ready_0 for each row execute function fastq.refuse()
"""
FORGIVE = "drop function if exists fastq.refuse() cascade"


def app_of(dsn: str, **options: Any) -> tuple[fastq.App, fastq.Task[..., Any]]:
    """Return an app with one task."""
    app = fastq.App(dsn, **options)

    @app.task(name="t")
    async def t(n: object) -> None: ...

    return app, t


@pytest.fixture
async def refuse(conn: Conn) -> Any:
    """Give a function that makes every insert of a job do something first; undone afterwards."""

    async def make(body: str) -> None:
        await conn.execute(REFUSE.format(body).encode())

    yield make
    await conn.execute(FORGIVE.encode())


# -- many callers


@pytest.mark.parametrize("callers", [1, 100])
async def test_callers_that_enqueue_again_at_once(dsn: str, conn: Conn, callers: int) -> None:
    """Each caller enqueues its next job the moment it has the last one's id; none waits for ever, each has its job."""
    app, t = app_of(dsn)
    jobs = 60

    async def call(caller: int) -> list[tuple[int, int]]:
        return [((await t.enqueue(n=caller * jobs + n)).id, caller * jobs + n) for n in range(jobs)]

    async with app, asyncio.timeout(60):
        found = await asyncio.gather(*(call(caller) for caller in range(callers)))
    rows = await ask(conn, "select id, (payload->>'n')::int from fastq.job")
    assert sorted(rows) == sorted(pair for pairs in found for pair in pairs)
    assert len(rows) == callers * jobs


async def test_bursts_larger_than_a_statement(dsn: str, conn: Conn) -> None:
    """Thousands at once, scheduled ones among them, again and again."""
    app, t = app_of(dsn)
    later = t.options(delay=60)
    async with app, asyncio.timeout(60):
        for _ in range(3):
            refs = await asyncio.gather(*((later if n % 7 == 0 else t).enqueue(n=n) for n in range(3000)))
            assert len({ref.id for ref in refs}) == 3000
    assert await ask(conn, "select count(*) from fastq.job") == [(9000,)]


async def test_a_caller_that_gave_up_before_its_turn_enqueues_nothing(dsn: str, conn: Conn) -> None:
    """Of callers that are cancelled while others' jobs are sent, nothing is sent."""
    app, t = app_of(dsn)
    async with app, asyncio.timeout(60):
        first = asyncio.create_task(t.enqueue(n=0))
        await asyncio.sleep(0)  # the flush has begun with the first caller's job
        late = [asyncio.create_task(t.enqueue(n=n)) for n in range(1, 5)]
        await asyncio.sleep(0)
        for task in late[:-1]:
            task.cancel()
        await first
        await late[-1]
    assert {row[0] for row in await ask(conn, "select (payload->>'n')::int from fastq.job")} == {0, 4}


async def test_closing_sends_what_waits(dsn: str, conn: Conn) -> None:
    """Leaving the app with enqueues under way answers them."""
    app, t = app_of(dsn)
    async with app:
        tasks = [asyncio.create_task(t.enqueue(n=n)) for n in range(2000)]
        await asyncio.sleep(0)
    assert len({ref.id for ref in await asyncio.gather(*tasks)}) == 2000


# -- what an error says


async def test_a_refusal_says_that_nothing_was_enqueued(dsn: str, conn: Conn, refuse: Any) -> None:
    """PostgreSQL's reason is told, none of the arguments is, and the client goes on."""
    app, t = app_of(dsn)
    await refuse("raise exception 'no more jobs today';")
    async with app:
        for attempt in (t.enqueue(n=SECRET), app.enqueue_many([t.job(n=SECRET)])):
            with pytest.raises(fastq.FastqError, match="no more jobs today; nothing was enqueued") as caught:
                await attempt
            assert SECRET not in "".join(traceback.format_exception(caught.value))
        await conn.execute(FORGIVE.encode())
        await t.enqueue(n=1)
    assert await ask(conn, "select count(*) from fastq.job") == [(1,)]


@pytest.mark.parametrize("many", [False, True], ids=["one", "a stream"])
async def test_a_bell_that_went_with_a_refused_statement_is_rung_again(
    dsn: str, conn: Conn, other: Conn, refuse: Any, many: bool
) -> None:
    """Whoever has enqueued just before has relied on it."""
    app, t = app_of(dsn)
    await refuse("raise 'no';")
    await other.execute("listen fastq")
    async with app:
        with pytest.raises(fastq.FastqError, match="nothing was enqueued"):
            await (app.enqueue_many(t.job(n=n) for n in range(5)) if many else t.enqueue(n=1))
        assert [note.payload async for note in other.notifies(timeout=20, stop_after=1)] == ["0"]


async def test_a_stream_that_cannot_be_enqueued_takes_no_bell_along(dsn: str) -> None:
    """It asks for the bell when it is written, not before."""
    app, t = app_of(dsn)
    async with app:
        client = app.client
        client._unrung = {0}
        with pytest.raises(fastq.ArgumentError):
            await app.enqueue_many(t.job(n=n) for n in [1, object()])
        assert client._unrung
        await app.enqueue_many(t.job(n=n) for n in range(5))
        assert not client._unrung


def test_when_a_synchronous_job_did_not_ring_a_thread_does(
    dsn: str, db: psycopg.Connection[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As somebody has rung a moment ago: the job is there when the bell rings again."""
    monkeypatch.setattr(synchronous, "NOTIFY_EVERY_S", 3600.0)
    app, t = app_of(dsn)
    db.execute("listen fastq")
    with app:
        t.enqueue_sync(n=1)  # rings
        t.enqueue_sync(n=2)
        assert len(list(db.notifies(timeout=20, stop_after=1))) == 1
        monkeypatch.setattr(synchronous, "NOTIFY_EVERY_S", 0.0)
        assert len(list(db.notifies(timeout=20, stop_after=1))) == 1


def test_closing_rings_for_what_did_not(dsn: str, db: psycopg.Connection[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """A program that ends after its last job does not leave it to the workers' next look."""
    monkeypatch.setattr(synchronous, "NOTIFY_EVERY_S", 3600.0)
    app, t = app_of(dsn)
    db.execute("listen fastq")
    with app:
        t.enqueue_sync(n=1)
        t.enqueue_sync(n=2)
    assert len(list(db.notifies(timeout=20, stop_after=2))) == 2


def test_a_refusal_of_a_synchronous_call(dsn: str, db: psycopg.Connection[Any]) -> None:
    """The same."""
    app, t = app_of(dsn)
    db.execute(REFUSE.format("raise exception 'no more jobs today';").encode())
    try:
        with app:
            for attempt in (lambda: t.enqueue_sync(n=SECRET), lambda: app.enqueue_many_sync([t.job(n=SECRET)])):
                with pytest.raises(fastq.FastqError, match="no more jobs today; nothing was enqueued") as caught:
                    attempt()
                assert SECRET not in "".join(traceback.format_exception(caught.value))
    finally:
        db.execute(FORGIVE.encode())
    assert db.execute("select count(*) from fastq.job").fetchone() == (0,)


async def test_a_cancelled_statement_is_no_unknown_outcome(dsn: str, conn: Conn, refuse: Any) -> None:
    """A statement that was cancelled, a deadlock and the like are OperationalErrors too, but the connection lives."""
    app, t = app_of(dsn)
    await refuse("perform pg_cancel_backend(pg_backend_pid()); perform pg_sleep(60); return new;")
    async with app:
        with pytest.raises(fastq.FastqError, match="user request; nothing was enqueued") as caught:
            await t.enqueue(n=1)
    assert not isinstance(caught.value, fastq.EnqueueOutcomeUnknown)
    assert await ask(conn, "select count(*) from fastq.job") == [(0,)]


async def test_a_connection_that_breaks_during_the_statement_is_unknown(dsn: str, conn: Conn, refuse: Any) -> None:
    """The server ends the connection under the insert; nobody can know, and the next enqueue works."""
    app, t = app_of(dsn, enqueue_retry_s=30)
    await refuse("perform pg_terminate_backend(pg_backend_pid()); perform pg_sleep(1); return new;")
    async with app:
        with pytest.raises(fastq.EnqueueOutcomeUnknown, match="may or may not be there"):
            await t.enqueue(n=SECRET)
        await conn.execute(FORGIVE.encode())
        await t.enqueue(n=1)
    assert await ask(conn, "select count(*) from fastq.job") == [(1,)]


async def test_a_stream_that_breaks_before_its_end_is_known(dsn: str, conn: Conn) -> None:
    """The connection is cut in the middle of the rows: no commit was sent."""
    app, t = app_of(dsn)
    with psycopg.connect(dsn, autocommit=True) as other:

        def cut() -> Iterator[fastq.JobSpec]:
            for n in range(100_000):
                if n == 50_000:
                    other.execute(SHUT.encode())
                yield t.job(n=n)

        async with app:
            with pytest.raises(fastq.DatabaseUnreachable, match=r"before the commit .* nothing was enqueued"):
                await app.enqueue_many(cut())
            assert len(await app.enqueue_many([t.job(n=1)])) == 1
        with app, pytest.raises(fastq.DatabaseUnreachable, match=r"before the commit .* nothing was enqueued"):
            app.enqueue_many_sync(cut())
    assert await ask(conn, "select count(*) from fastq.job") == [(1,)]


async def test_an_iterables_own_database_error_comes_out(dsn: str, conn: Conn) -> None:
    """What a caller reads its jobs from may be a database too, and its errors are the caller's."""
    app, t = app_of(dsn)

    def stream() -> Iterator[fastq.JobSpec]:
        yield t.job(n=1)
        raise psycopg.OperationalError("theirs")

    async with app:
        with pytest.raises(psycopg.OperationalError, match="theirs"):
            await app.enqueue_many(stream())
    with app, pytest.raises(psycopg.OperationalError, match="theirs"):
        app.enqueue_many_sync(stream())
    assert await ask(conn, "select count(*) from fastq.job") == [(0,)]


async def test_no_schema_says_what_to_run(empty_dsn: str) -> None:
    """A database that was never migrated: the app does not open."""
    app, _ = app_of(empty_dsn)
    with pytest.raises(fastq.SchemaError, match="run `fastq migrate`"):
        async with app:
            pass
    with pytest.raises(fastq.SchemaError, match="run `fastq migrate`"), app:
        pass


# -- connections


async def test_connections_that_the_server_closed_are_not_used(dsn: str, conn: Conn) -> None:
    """A restart, or an administrator, closed them while they were idle: nobody notices."""
    app, t = app_of(dsn)
    async with app:
        for n in range(5):
            await t.enqueue(n=n)
            await ask(conn, SHUT)
    with app:
        for n in range(5):
            t.enqueue_sync(n=n)
            await ask(conn, SHUT)
    assert await ask(conn, "select count(*) from fastq.job") == [(10,)]


async def test_a_read_only_server_is_left_for_another(dsn: str, conn: Conn) -> None:
    """A connection to what has become a standby is given up, so that the next one may find the primary."""
    app, t = app_of(dsn)
    async with app:
        await t.enqueue(n=0)
        async with app.client.connection(Use.BRIEF) as own:
            await own.execute("set default_transaction_read_only = on")
        with pytest.raises(fastq.DatabaseUnreachable, match=r"read-only.*; nothing was enqueued"):
            await t.enqueue(n=1)
        await t.enqueue(n=2)
        app.client._retry_s = 30.0
        async with app.client.connection(Use.BRIEF) as own:
            await own.execute("set default_transaction_read_only = on")
        await t.enqueue(n=3)
    assert sorted(await ask(conn, "select (payload->>'n')::int from fastq.job")) == [(0,), (2,), (3,)]


async def test_handlers_that_enqueue_in_their_transactions_do_not_lock_each_other_out(dsn: str) -> None:
    """With all long connections in use, a single enqueue has one left."""
    app, t = app_of(dsn)
    ready = asyncio.Barrier(4)

    async def handler(n: int) -> None:
        async with app.client.connection():
            await ready.wait()
            await t.enqueue(n=n)

    async with app, asyncio.timeout(20):
        await asyncio.gather(*(handler(n) for n in range(4)))


async def test_a_pool_gives_a_connection_to_one_at_a_time(dsn: str) -> None:
    """Never more than its size, whatever becomes of those who have them, and none is left open."""
    pool = AsyncPool(dsn, PoolConfig(most=4))
    held: list[object] = []
    pids: set[int] = set()

    async def use(n: int) -> None:
        async with pool.connection(Use.HELD) as own:
            held.append(own)
            assert held.count(own) == 1
            assert len(held) <= 2
            try:
                if n % 3 == 0:
                    raise ValueError
                if n % 3 == 1:
                    await asyncio.wait_for(own.execute("select pg_sleep(60)"), 0.001)
                pids.add(own.info.backend_pid)
                await own.execute("begin" if n % 2 else "select 1")
            finally:
                held.remove(own)

    async with asyncio.timeout(60):
        await asyncio.gather(*(use(n) for n in range(40)), return_exceptions=True)
        assert pids
        async with pool.connection(Use.HELD) as first, pool.connection(Use.HELD) as second:
            assert first is not second
            assert (await (await first.execute("select 1")).fetchone()) == (1,)
            await pool.close()
    assert first.closed
    assert second.closed
