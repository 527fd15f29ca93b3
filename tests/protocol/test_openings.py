"""An app that is open more than once: around itself, and in several event loops; and what it keeps open meanwhile."""

from __future__ import annotations

import asyncio
import gc
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import psycopg
import pytest

import fastq
from fastq.client import Use

pytestmark = pytest.mark.protocol

Db = psycopg.Connection[Any]
PATIENCE_S = 20.0
OPEN = "select pid from pg_stat_activity where application_name = 'fastq producer' and datname = current_database()"


@pytest.fixture(autouse=True)
def _alone(db: Db) -> None:
    """Let no test count what the one before has just closed."""
    gc.collect()  # what the one before has let go of is closed with it
    try:
        wait("the connections of earlier tests to be closed", lambda: not sessions(db))
    except AssertionError as exc:
        left = db.execute(f"select to_json(a) from pg_stat_activity a where a.pid in ({OPEN})".encode()).fetchall()
        raise AssertionError(f"an earlier test has left {left}") from exc


def sessions(db: Db) -> set[int]:
    """Return the sessions of all producers."""
    return {row[0] for row in db.execute(OPEN).fetchall()}


def wait(what: str, check: Callable[[], Any]) -> None:
    """Wait until `check()` holds."""
    deadline = time.monotonic() + PATIENCE_S
    while not check():
        assert time.monotonic() < deadline, f"waited for {what}"
        time.sleep(0.005)  # the pause of a poll with a deadline


def jobs(db: Db) -> list[int]:
    """Return the arguments of all jobs."""
    return [row[0] for row in db.execute("select (payload->>'n')::int from fastq.job order by 1").fetchall()]


def app_of(dsn: str, **options: Any) -> tuple[fastq.App, fastq.Task[..., Any]]:
    """Return an app with one task."""
    app = fastq.App(dsn, **options)

    @app.task(name="t")
    async def t(n: int) -> None: ...

    return app, t


# -- more than once


async def test_leaving_an_inner_opening_leaves_the_outer_one_open(dsn: str, db: Db) -> None:
    """In asynchronous code: a function that opens the app for itself may be called where it is open."""
    app, t = app_of(dsn)
    async with app:
        async with app:
            await t.enqueue(n=1)
        await t.enqueue(n=2)
    assert jobs(db) == [1, 2]
    wait("the connection to be closed", lambda: not sessions(db))
    with pytest.raises(fastq.NotOpen):
        await t.enqueue(n=3)


def test_leaving_an_inner_opening_leaves_the_outer_one_open_in_synchronous_code(dsn: str, db: Db) -> None:
    """The same with `with`."""
    app, t = app_of(dsn)
    with app:
        with app:
            t.enqueue_sync(n=1)
        t.enqueue_sync(n=2)
    assert jobs(db) == [1, 2]
    wait("the connection to be closed", lambda: not sessions(db))
    with pytest.raises(fastq.NotOpen):
        t.enqueue_sync(n=3)


async def test_openings_that_overlap_close_with_the_last_one(dsn: str, db: Db) -> None:
    """Two tasks of one event loop open it, and the first to come is the first to leave."""
    app, t = app_of(dsn)
    inside, left = asyncio.Event(), asyncio.Event()

    async def first() -> None:
        async with app:
            await inside.wait()
        left.set()

    async def second() -> None:
        async with app:
            inside.set()
            await left.wait()
            await t.enqueue(n=1)

    async with asyncio.timeout(PATIENCE_S):
        await asyncio.gather(first(), second())
    assert jobs(db) == [1]
    wait("the connection to be closed", lambda: not sessions(db))


async def test_an_opening_that_fails_leaves_the_app_closed(dsn: str) -> None:
    """Nobody answers: the error comes, and the app is as if nothing had been tried."""
    app, t = app_of("postgresql://nobody@127.0.0.1:1/nothing")
    for _ in range(2):
        with pytest.raises(fastq.DatabaseUnreachable):
            await app.__aenter__()
        with pytest.raises(fastq.NotOpen):
            await t.enqueue(n=1)
        with pytest.raises(fastq.DatabaseUnreachable):
            app.__enter__()
        with pytest.raises(fastq.NotOpen):
            t.enqueue_sync(n=1)


# -- several event loops


def test_several_event_loops_open_one_app(dsn: str, db: Db) -> None:
    """Three threads, each with a loop of its own, have the app open at the same time: each job is enqueued once."""
    app, t = app_of(dsn)
    together = threading.Barrier(3)

    async def use(number: int) -> list[int]:
        async with asyncio.timeout(PATIENCE_S), app:
            await asyncio.to_thread(together.wait, PATIENCE_S)
            refs = await asyncio.gather(*(t.enqueue(n=number * 100 + n) for n in range(50)))
            await app.enqueue_many([t.job(n=number * 100 + 50)])
            return [ref.id for ref in refs]

    with ThreadPoolExecutor(3) as pool:
        ids = list(pool.map(lambda number: asyncio.run(use(number)), range(3)))
    assert len({job for some in ids for job in some}) == 150
    assert jobs(db) == [number * 100 + n for number in range(3) for n in range(51)]
    wait("the connections to be closed", lambda: not sessions(db))


async def test_an_open_app_serves_loops_that_have_not_opened_it(dsn: str, db: Db) -> None:
    """A synchronous function in a thread that calls `asyncio.run`; its connections are closed with its loop."""
    app, t = app_of(dsn)
    async with asyncio.timeout(PATIENCE_S), app:
        before = sessions(db)
        for n in range(3):
            await asyncio.to_thread(lambda n=n: asyncio.run(t.enqueue(n=n)))
        wait("the connections of ended loops to be closed", lambda: sessions(db) == before)
        await t.enqueue(n=3)
    assert jobs(db) == [0, 1, 2, 3]


async def test_an_asynchronous_call_without_a_loop_says_so(dsn: str) -> None:
    """Nothing hangs, and the sentence names what is missing."""
    app, _ = app_of(dsn)
    async with app:
        with pytest.raises(fastq.NotOpen, match="needs a running event loop"):
            await asyncio.to_thread(lambda: app.client)


# -- connections


async def test_connections_that_nobody_wants_are_given_back(dsn: str, db: Db) -> None:
    """Many are open while many are wanted, one stays, and the next burst opens them again."""
    app, _ = app_of(dsn, connection_idle_s=0.05)
    async with app:
        for _ in range(2):
            await burst(app)
            await asyncio.to_thread(wait, "one connection to be left", lambda: len(sessions(db)) == 1)


async def burst(app: fastq.App) -> None:
    """Use four connections at once."""
    together = asyncio.Barrier(4)

    async def use() -> None:
        async with app.client.connection(Use.HELD) as conn:
            await together.wait()
            await conn.execute("select 1")

    async with asyncio.timeout(PATIENCE_S):
        await asyncio.gather(*(use() for _ in range(4)))


def test_connections_that_no_thread_wants_are_given_back(dsn: str, db: Db) -> None:
    """The same for synchronous calls."""
    app, _ = app_of(dsn, connection_idle_s=0.05)
    together = threading.Barrier(4)

    def use(_: int) -> None:
        with app.sync_client.connection(Use.HELD) as conn:
            together.wait(PATIENCE_S)
            conn.execute("select 1")

    with app, ThreadPoolExecutor(4) as pool:
        for _ in range(2):
            list(pool.map(use, range(4)))
            wait("one connection to be left", lambda: len(sessions(db)) == 1)


async def test_a_served_app_keeps_no_connection(dsn: str, db: Db) -> None:
    """As in a worker: none before the first use, and none when nobody wants one any more."""
    app, t = app_of(dsn, connection_idle_s=0.05)
    async with app.serving(dsn):
        assert not sessions(db)
        await burst(app)
        await asyncio.to_thread(t.enqueue_sync, n=1)
        await asyncio.to_thread(wait, "all connections to be given back", lambda: not sessions(db))
        await t.enqueue(n=2)
    assert jobs(db) == [1, 2]


async def test_there_are_never_more_connections_than_allowed(dsn: str, db: Db) -> None:
    """Handlers that hold one, those that wait for a key, and plain enqueues share them, and nobody waits for ever."""
    app, t = app_of(dsn, max_connections=3)
    seen: list[int] = []

    async def handler(n: int) -> None:
        async with app.client.connection() as conn, conn.transaction():
            await conn.execute("select 1")
            await t.options(unique_key=f"k{n % 5}").enqueue(n=n)
            await t.enqueue(n=n)
            seen.append(len(await asyncio.to_thread(sessions, db)))

    async with asyncio.timeout(PATIENCE_S), app:
        await asyncio.gather(*(handler(n) for n in range(20)))
    assert max(seen) == 3
    assert len(jobs(db)) == 25


def test_threads_never_have_more_connections_than_allowed(dsn: str, db: Db) -> None:
    """The same in threads: streams whose generators enqueue, too."""
    app, t = app_of(dsn, max_connections=3)
    lock = threading.Lock()
    seen: list[int] = []

    def handler(n: int) -> None:
        def specs() -> Iterator[fastq.JobSpec]:
            t.options(unique_key=f"k{n % 5}").enqueue_sync(n=n)
            with lock:
                seen.append(len(sessions(db)))
            yield t.job(n=n)

        app.enqueue_many_sync(specs())

    with app, ThreadPoolExecutor(8) as pool:
        list(pool.map(handler, range(20)))
    assert max(seen) <= 3
    assert len(jobs(db)) == 25


@pytest.mark.parametrize("options", [{"max_connections": 2}, {"connection_idle_s": 0}, {"max_connections": 4.5}])
def test_bounds_that_cannot_work_are_refused(options: dict[str, Any]) -> None:
    """With a sentence that says what can."""
    with pytest.raises(fastq.UsageError, match=next(iter(options))):
        fastq.App(**options)
