"""Enqueues in a transaction of asyncpg's: its own, of its pool, or SQLAlchemy's over it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import psycopg
import pytest
from sqlalchemy.engine import URL
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, create_async_engine

import fastq
from fastq.errors import ArgumentError

pytestmark = pytest.mark.protocol

app = fastq.App()


@app.task(queue="mail")
async def welcome(user_id: int, note: str = "") -> None:
    """Do nothing."""


def parts(dsn: str) -> dict[str, Any]:
    """Return what asyncpg wants of a DSN."""
    known = psycopg.conninfo.conninfo_to_dict(dsn)
    named = {"host": "host", "port": "port", "user": "user", "password": "password", "dbname": "database"}
    return {new: int(known[old]) if old == "port" else known[old] for old, new in named.items() if known.get(old)}


@pytest.fixture
async def conn(dsn: str) -> AsyncIterator[asyncpg.Connection[Any]]:
    """Give a connection whose owner writes JSON in a way of his own."""
    opened = await asyncpg.connect(**parts(dsn))
    await opened.set_type_codec("json", encoder=json.dumps, decoder=json.loads, schema="pg_catalog")
    yield opened
    await opened.close()


@pytest.fixture
async def engine(dsn: str) -> AsyncIterator[AsyncEngine]:
    """Give SQLAlchemy's engine over asyncpg."""
    given = parts(dsn)
    url = URL.create("postgresql+asyncpg", database=given["database"], username=given["user"])
    engine = create_async_engine(url, connect_args={"host": given["host"], "port": given["port"]})
    yield engine
    await engine.dispose()


def found(db: psycopg.Connection[Any]) -> list[tuple[Any, ...]]:
    """Return what others see."""
    return db.execute("select (payload ->> 'user_id')::int, queue, state from fastq.job order by id").fetchall()


async def test_every_way_to_enqueue(conn: Any, db: psycopg.Connection[Any]) -> None:
    """Nothing is there before the commit, and everything is after it, as any producer would have written it."""
    async with app:
        transaction = conn.transaction()
        await transaction.start()
        first = await app.enqueue(welcome.job(1, note="ä\t\n\"'"), conn=conn)
        unique = welcome.options(unique_key="k", headers={"h": [1]}).job(2)
        second = await app.enqueue(unique, conn=conn)
        assert (await app.enqueue(unique, conn=conn)) == fastq.JobRef(second.id, duplicate=True)
        await app.enqueue(welcome.options(delay=3600, retries=2).job(3), conn=conn)
        reserved = await app.reserve(welcome.options(headers={"a": 1}).job(4), conn=conn)
        dropped = await app.reserve(welcome.job(5), conn=conn)
        assert await app.commit(reserved, conn=conn)
        assert await app.abandon(dropped, conn=conn)
        many = await app.enqueue_many([welcome.job(n) for n in range(6, 9)], conn=conn)
        assert found(db) == []
        await transaction.commit()
        assert sorted(found(db)) == [
            (1, "mail", "ready"),
            (2, "mail", "ready"),
            (3, "mail", "scheduled"),
            (4, "mail", "ready"),
            *((n, "mail", "ready") for n in range(6, 9)),
        ]
        assert len(many) == 3
        job = await app.jobs.get(first.id)
        assert job is not None
        assert job.args["note"] == "ä\t\n\"'"
        kept = await app.jobs.get(second.id)
        assert kept is not None
        assert kept.headers == {"h": [1]}


async def test_a_stream(conn: Any, db: psycopg.Connection[Any]) -> None:
    """It goes by COPY, of several chunks and kinds; what fails in it takes nothing with it but itself."""
    specs = [welcome.options(unique_key=f"k{n}").job(n) if n % 997 == 0 else welcome.job(n) for n in range(20_000)]
    async with app:
        async with conn.transaction():
            ids = await app.enqueue_many((spec for spec in specs), conn=conn)
        assert len(set(ids)) == 20_000
        assert db.execute("select count(*) from fastq.job").fetchone() == (20_000,)

        def broken() -> Any:
            yield from (welcome.job(n) for n in range(5000))
            yield welcome.job(object())

        with pytest.raises(ArgumentError):
            async with conn.transaction():
                await app.enqueue_many(broken(), conn=conn)
        assert db.execute("select count(*) from fastq.job").fetchone() == (20_000,)


async def test_a_session(engine: AsyncEngine, db: psycopg.Connection[Any]) -> None:
    """SQLAlchemy's: with their commit, gone with their rollback, also as their first statement."""
    async with app, AsyncSession(engine) as session:
        await app.enqueue(welcome.job(1), conn=session)
        await session.rollback()
        assert found(db) == []
        await app.enqueue(welcome.job(2), conn=session)
        await app.enqueue_many([welcome.job(3)] * 2, conn=session)
        assert found(db) == []
        await session.commit()
        assert [n for n, _, _ in found(db)] == [2, 3, 3]
        async with engine.begin() as connection:
            await app.enqueue(welcome.job(4), conn=connection)
            assert len(found(db)) == 3
        assert len(found(db)) == 4
        async with engine.connect() as connection:
            await app.enqueue(welcome.job(5), conn=connection)
        assert len(found(db)) == 4


async def test_a_pool(dsn: str, db: psycopg.Connection[Any]) -> None:
    """What a pool lends is a connection, too."""
    async with app, asyncpg.create_pool(**parts(dsn), min_size=1) as pool, pool.acquire() as lent:
        async with lent.transaction():
            await app.enqueue(welcome.job(1), conn=lent)
            assert found(db) == []
        assert found(db) == [(1, "mail", "ready")]


async def test_what_the_server_refuses(conn: Any, db: psycopg.Connection[Any]) -> None:
    """It is asyncpg's error, and the transaction is what it is after any."""
    db.execute("alter table fastq.ready add constraint refuse check (task <> 'test_asyncpg.welcome')")
    try:
        async with app:
            with pytest.raises(asyncpg.PostgresError):
                async with conn.transaction():
                    await app.enqueue(welcome.job(1), conn=conn)
    finally:
        db.execute("alter table fastq.ready drop constraint refuse")
    assert found(db) == []
