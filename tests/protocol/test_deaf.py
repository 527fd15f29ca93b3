"""A server that falls silent: its kernel, or a proxy in between, still holds the line, and nobody is told."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from line import Line

from fastq.client.pool import AsyncPool
from fastq.client.shared import Use
from fastq.config import PoolConfig
from fastq.postgres import database
from fastq.postgres.link import Link

pytestmark = pytest.mark.protocol

HOLD = "select value from fastq.setting where name = 'shards' for update"


@pytest.fixture
def line(dsn: str) -> Iterator[Line]:
    """Give a line that hears."""
    with Line(dsn) as opened:
        yield opened


def test_a_synchronous_statement_without_an_answer_fails(line: Line) -> None:
    """The caller gets an error instead of waiting for ever, and the connection is not used again."""
    with database.connect(line.dsn) as conn:
        with database.answering(conn, 60.0):
            assert conn.execute("select 1").fetchone() == (1,)
        line.deafen()
        with pytest.raises(psycopg.OperationalError, match="did not answer"), database.answering(conn, 0.05):
            conn.execute("select 1")
        assert conn.info.transaction_status == psycopg.pq.TransactionStatus.ACTIVE
        conn.close()


async def test_an_asynchronous_statement_without_an_answer_fails(line: Line) -> None:
    """The same, by cutting the line."""
    async with await database.connect_async(line.dsn) as conn:
        with database.answering(conn, 60.0):
            await (await conn.execute("select 1")).fetchone()
        line.deafen()
        with pytest.raises(psycopg.OperationalError), database.answering(conn, 0.05):
            await conn.execute("select 1")
        assert conn.closed


async def test_a_session_that_was_given_up_holds_its_locks_no_longer(line: Line, dsn: str) -> None:
    """Its client is gone and cannot tell; whoever comes next ends it, and nobody waits for its locks."""
    pool = AsyncPool(line.dsn, PoolConfig(most=3))

    async def be_cut_off() -> None:
        async with pool.connection(Use.HELD) as conn, conn.transaction():
            await conn.execute(HOLD)
            line.deafen()
            with database.answering(conn, 0.05):
                await conn.execute("select 1")

    async with await database.connect_async(dsn) as other:
        with pytest.raises(psycopg.OperationalError):
            await be_cut_off()
        with database.answering(other, 30.0):
            await other.execute(HOLD)
    await pool.close()


async def test_a_link_ends_the_session_that_it_lost(line: Line) -> None:
    """As the pool does: what a lost operation holds locked is free for its second try."""
    link = Link(line.dsn, "fastq test", "set jit = off")
    link.answer_s = 0.2
    tries = 0

    async def operation(conn: psycopg.AsyncConnection[Any]) -> None:
        nonlocal tries
        tries += 1
        async with conn.transaction():
            await conn.execute(HOLD)
            if tries == 1:
                line.deafen()
            await conn.execute("select 1")

    await link.call(operation)
    assert tries == 2
    await link.close()


async def test_a_link_loses_its_patience_in_each_of_the_operations_that_wait_for_it(line: Line) -> None:
    """One that ended well while another one waited its turn does not make that wait for ever."""
    link = Link(line.dsn, "fastq test", "set jit = off")
    link.answer_s = 0.2
    tries = 0

    async def well(conn: psycopg.AsyncConnection[Any]) -> None:
        await conn.execute("select 1")

    async def unheard(conn: psycopg.AsyncConnection[Any]) -> None:
        nonlocal tries
        tries += 1
        if tries == 1:
            line.deafen()
        await conn.execute("select 1")

    await asyncio.gather(link.call(well), link.call(unheard))
    assert tries == 2
    await link.close()
