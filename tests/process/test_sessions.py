"""Transactions of the user's own: SQLAlchemy's and Django's connections and sessions."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import engines
import handlers
import psycopg
import pytest
from fleet import Fleet, until
from probe import Db, enqueue, states, told
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.orm import Session

import fastq

pytestmark = pytest.mark.process


@pytest.fixture(autouse=True)
def _engines(dsn: str) -> Iterator[None]:
    """Let each test have engines on its own database."""
    yield
    engines.synchronous.cache_clear()
    engines.asynchronous.cache_clear()


@pytest.mark.parametrize(
    "task", [handlers.booked_by_session, handlers.booked_by_asyncpg, handlers.booked_by_session_in_thread]
)
def test_a_session_completes_the_job_with_its_commit(dsn: str, db: Db, task: Any) -> None:
    """Committed once: also when the handler raises afterwards. Rolled back: run again, and nothing was written."""
    db.execute("create table booked (n int)")
    plain, after, before = enqueue(
        *(task.job(n=n, how=how) for n, how in enumerate(["", "raise after", "raise before"]))
    )
    with Fleet(dsn):
        until("the last to fail for good", lambda: states(db) == {"failed": 1})
    assert db.execute("select n, count(*) from booked group by n order by n").fetchall() == [(0, 1), (1, 1)]
    assert sorted(told(db, "booked")) == ["0", "1"]
    assert db.execute("select id, attempt from fastq.job").fetchall() == [(before, 3)]
    assert plain < after < before


async def test_enqueue_is_part_of_an_asynchronous_session(dsn: str, db: Db) -> None:
    """And of SQLAlchemy's connection, begun or not: rolled back with it, visible with its commit."""
    async with handlers.app, AsyncSession(engines.asynchronous()) as session:
        await handlers.app.enqueue(handlers.noted.job(n=1), conn=session)
        await session.rollback()
        assert states(db) == {}
        await handlers.app.enqueue_many([handlers.noted.job(n=1)] * 2, conn=session)
        await session.commit()
        assert states(db) == {"ready": 2}
        async with engines.asynchronous().connect() as conn:
            await handlers.app.enqueue(handlers.noted.job(n=1), conn=conn)
            await conn.commit()
        assert states(db) == {"ready": 3}
        with pytest.raises(fastq.UsageError, match="nothing was enqueued"):
            await handlers.app.enqueue(handlers.noted.job(n=1), conn="no connection")  # type: ignore[arg-type]
        await engines.asynchronous().dispose()


def test_enqueue_is_part_of_a_session(dsn: str, db: Db) -> None:
    """The same from synchronous code."""
    with handlers.app:
        with Session(engines.synchronous()) as session:
            handlers.app.enqueue_sync(handlers.noted.job(n=1), conn=session)
            session.rollback()
            assert states(db) == {}
            session.execute(text("select 1"))
            handlers.app.enqueue_many_sync([handlers.noted.job(n=1)] * 2, conn=session)
            session.commit()
        assert states(db) == {"ready": 2}
        with engines.synchronous().connect() as conn:
            handlers.app.enqueue_sync(handlers.noted.job(n=1), conn=conn)
            conn.commit()
        assert states(db) == {"ready": 3}
    engines.synchronous().dispose()


def test_enqueue_is_part_of_djangos_transaction(dsn: str, db: Db) -> None:
    """`transaction.atomic()` on Django's connection."""
    from django.conf import settings
    from django.db import connection, transaction

    parts = psycopg.conninfo.conninfo_to_dict(dsn)
    database = {"ENGINE": "django.db.backends.postgresql", "NAME": parts["dbname"], "USER": parts["user"]}
    database |= {"HOST": parts["host"], "PORT": parts["port"]}
    if not settings.configured:
        settings.configure(DATABASES={"default": database})
    with handlers.app:
        with transaction.atomic():
            handlers.app.enqueue_sync(handlers.noted.job(n=1), conn=connection)
            transaction.set_rollback(True)
        assert states(db) == {}
        with transaction.atomic():
            handlers.app.enqueue_sync(handlers.noted.job(n=1), conn=connection)
            assert states(db) == {}
        assert states(db) == {"ready": 1}
    connection.close()
