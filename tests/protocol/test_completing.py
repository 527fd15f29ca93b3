"""`ctx.transaction()` when the answer to its commit is lost: it finds out, whatever it takes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import psycopg
import pytest
from psycopg import AsyncConnection
from psycopg.pq import TransactionStatus
from scene import Conn, ask, hire, put, take

from fastq.app.completing import completing
from fastq.postgres import database
from fastq.protocol.completion import Place

pytestmark = pytest.mark.protocol


class Cut(database.AsyncConnection):
    """A connection that breaks once armed: before its transaction ends, or when it has ended but before the answer."""

    armed = ""

    async def wait(self, gen: Any, interval: float = 0.1) -> Any:
        """Wait as ever, but lose the answer."""
        if self.armed == "before":
            self.pgconn.finish()
            raise psycopg.OperationalError("the connection was cut")
        answer = await super().wait(gen, interval)
        if self.armed == "after" and self.info.transaction_status == TransactionStatus.IDLE:
            self.pgconn.finish()
            raise psycopg.OperationalError("the connection was cut")
        return answer


class Connections:
    """Gives out connections, the first of which breaks; counts them."""

    def __init__(self, dsn: str) -> None:
        self.dsn = dsn
        self.given = 0
        self.refused = 0

    @asynccontextmanager
    async def __call__(self) -> AsyncIterator[AsyncConnection[Any]]:
        """Give a new connection, or refuse."""
        if self.given and self.refused:
            self.refused -= 1
            raise psycopg.OperationalError("the server is away")
        self.given += 1
        conn = await Cut.connect(self.dsn, autocommit=True)
        try:
            yield conn
        finally:
            await conn.close()


@pytest.fixture
async def place(conn: Conn) -> Place:
    """Give the place of a job that is running."""
    await conn.execute("create table if not exists effect (n int)")
    await conn.execute("truncate effect")
    await put(conn)
    return Place(0, (await take(conn, await hire(conn))).lease, 0)


async def run(connections: Connections, place: Place, cut: str) -> None:
    """Be a handler whose connection is cut when it commits."""
    async with completing(connections, place) as conn:
        await conn.execute("insert into effect values (1)")
        assert isinstance(conn, Cut)
        conn.armed = cut


@pytest.mark.parametrize("away", [0, 3])
async def test_a_commit_without_answer_is_a_success(dsn: str, conn: Conn, place: Place, away: int) -> None:
    """The effects are there once, and the handler goes on, also when the server is away for a while."""
    connections = Connections(dsn)
    connections.refused = away
    await run(connections, place, "after")
    assert await ask(conn, "select count(*) from effect") == [(1,)]
    assert await ask(conn, "select completed from fastq.progress") == [(True,)]
    assert (connections.given, connections.refused) == (2, 0)


async def test_a_commit_that_did_not_happen_is_a_failure(dsn: str, conn: Conn, place: Place) -> None:
    """The connection broke before: no effect, the error is raised, the job can run again."""
    with pytest.raises(psycopg.OperationalError, match="cut"):
        await run(Connections(dsn), place, "before")
    assert await ask(conn, "select count(*) from effect") == [(0,)]
    async with completing(Connections(dsn), place) as other:
        await other.execute("insert into effect values (2)")
    assert await ask(conn, "select n from effect") == [(2,)]


async def test_a_cancelled_run_does_not_guess(dsn: str, conn: Conn, place: Place) -> None:
    """Cancelled while it finds out, it still finds out."""
    connections = Connections(dsn)
    async with conn.transaction():
        await conn.execute("lock table fastq.lease in access exclusive mode")
        running = asyncio.create_task(run(Connections(dsn), place, "after"))
        await asyncio.sleep(0)
        running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running  # it had not begun: cancelled as anything else is
    running = asyncio.create_task(run(connections, place, "after"))
    while connections.given < 2:  # noqa: ASYNC110 - it counts what the code under test asks for
        await asyncio.sleep(0)
    running.cancel()
    await running
    assert await ask(conn, "select count(*) from effect") == [(1,)]
