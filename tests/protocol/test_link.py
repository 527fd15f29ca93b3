"""The connection of a long-lived process, through everything that can happen to it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import psycopg
import pytest
from psycopg import AsyncConnection, sql
from scene import Conn, ask

from fastq.postgres.link import Link

pytestmark = pytest.mark.protocol


@pytest.fixture
async def link(dsn: str) -> AsyncIterator[Link]:
    """Give a link that is not connected yet."""
    made = Link(dsn, "fastq test", "set jit = off")
    yield made
    await made.close()


async def pid(conn: AsyncConnection[Any]) -> int:
    """Return the server process of a connection."""
    ((found,),) = await ask(conn, "select pg_backend_pid()")
    return int(found)


async def test_a_lost_connection_is_made_again(link: Link, conn: Conn) -> None:
    """The operation is repeated on a new connection with the same setup, and the break is counted."""
    first = await link.call(pid)
    await conn.execute("select pg_terminate_backend(%s)", [first])
    assert await link.call(pid) != first
    assert link.breaks == 1
    assert await ask(await link.open_or_kept(), "show jit") == [("off",)]


@pytest.mark.parametrize("query", ["select * from no_such_table", "select 1/0", "select '{'::json"])
async def test_what_is_ours_to_fix_is_raised(link: Link, query: str) -> None:
    """A statement that can never work is not tried for ever."""

    async def wrong(opened: AsyncConnection[Any]) -> None:
        await opened.execute(query.encode())

    with pytest.raises(psycopg.Error):
        await link.call(wrong)
    assert link.breaks == 0


async def test_a_server_that_turned_read_only_is_left(link: Link, conn: Conn) -> None:
    """It may have handed over: each try asks for a connection anew, and the first that can write goes on."""
    await conn.execute("create table if not exists written (n int)")
    (name,) = (await ask(conn, "select current_database()"))[0]
    switch = sql.SQL("alter database {} set default_transaction_read_only = {}")
    tries: list[int] = []

    async def write(opened: AsyncConnection[Any]) -> None:
        tries.append(await pid(opened))
        await opened.execute("insert into written values (1)")

    await conn.execute(switch.format(sql.Identifier(name), sql.SQL("on")))
    try:
        writing = asyncio.create_task(link.call(write))
        while len(tries) < 2:  # noqa: ASYNC110 - it counts what the link does
            await asyncio.sleep(0.001)
    finally:
        await conn.execute(switch.format(sql.Identifier(name), sql.SQL("off")))
    await writing
    assert len(set(tries)) == len(tries)
    assert await ask(conn, "select count(*) from written") == [(1,)]
