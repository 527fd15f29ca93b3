"""The connections that the handlers of all workers of a host share."""

from __future__ import annotations

import asyncio
import os
import signal
import threading

import pytest
from scene import Conn, ask

from fastq.client import pool as pools
from fastq.client.pool import AsyncPool, SyncPool
from fastq.client.shared import Use
from fastq.config import PoolConfig
from fastq.errors import DatabaseUnreachable
from fastq.host.seats import Seats

pytestmark = pytest.mark.protocol

OPEN = """
select count(*)::int from pg_stat_activity where application_name = 'fastq producer' and datname = current_database()
"""


def config(seats: Seats) -> PoolConfig:
    """Give what a worker's pool has."""
    return PoolConfig(keep=0, idle_s=60, seats=seats)


def test_a_seat_is_free_again_when_its_process_has_died() -> None:
    """However it dies; the seats of others stay theirs."""
    seats, (told, tell) = Seats(2), os.pipe()
    mine = seats.take()
    child = os.fork()
    if not child:
        os.write(tell, b"%d" % (seats.take() or 0))
        signal.pause()
    assert os.read(told, 8) == b"1"
    assert (mine, seats.take()) == (0, None)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    assert seats.take() == 1
    seats.give(0)
    assert (seats.take(leave=1), seats.take()) == (0, None)
    os.close(told)
    os.close(tell)


async def test_two_pools_have_no_more_than_there_are_seats(dsn: str, conn: Conn) -> None:
    """Whoever waits gets one as soon as another is free; what is brief finds one though others hold theirs."""
    seats = Seats(3)
    one, two = AsyncPool(dsn, config(seats)), SyncPool(dsn, config(seats))
    try:
        async with one.connection(Use.HELD):
            waiting = asyncio.create_task(hold(one))
            assert await asyncio.to_thread(brief, two, Use.SLOW) == 1
            assert await asyncio.to_thread(brief, two, Use.BRIEF) == 1
            assert await ask(conn, OPEN) == [(2,)]  # the brief use had the slow one's
            assert not waiting.done()
            async with one.connection(Use.BRIEF):
                assert await ask(conn, OPEN) == [(3,)]
        await waiting
        assert await ask(conn, OPEN) == [(3,)]
    finally:
        await one.close()
        two.close()
    assert [seats.take() for _ in range(4)] == [0, 1, 2, None]


async def hold(pool: AsyncPool) -> None:
    """Use a connection as a handler's transaction does."""
    async with pool.connection(Use.HELD):
        pass


def brief(pool: SyncPool, use: Use) -> int:
    """Use a connection of another process."""
    with pool.connection(use) as conn:
        return int((conn.execute("select 1").fetchone() or (0,))[0])


async def test_who_waits_in_vain_is_told(dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """In one sentence, from coroutines and threads."""
    monkeypatch.setattr(pools, "BUSY_S", 0.05)
    seats = Seats(3)
    assert [seats.take() for _ in range(3)] == [0, 1, 2]
    one, two = AsyncPool(dsn, config(seats)), SyncPool(dsn, config(seats))
    with pytest.raises(DatabaseUnreachable, match="all 3 connections of this host's handlers were in use for 0 s"):
        await hold(one)
    with pytest.raises(DatabaseUnreachable, match="all 3 connections of this host's handlers were in use for 0 s"):
        await asyncio.to_thread(brief, two, Use.BRIEF)
    seats.give(2)
    assert await asyncio.to_thread(brief, two, Use.BRIEF) == 1
    assert seats.take() is None
    two.close()
    assert seats.take() == 2


async def test_a_connection_that_cannot_be_made_keeps_no_seat(dsn: str) -> None:
    """Nobody answers there."""
    seats = Seats(3)
    for pool in (AsyncPool("host=127.0.0.1 port=1", config(seats)), SyncPool("host=127.0.0.1 port=1", config(seats))):
        with pytest.raises(DatabaseUnreachable):
            await hold(pool) if isinstance(pool, AsyncPool) else await asyncio.to_thread(brief, pool, Use.BRIEF)
    assert [seats.take() for _ in range(3)] == [0, 1, 2]


def test_threads_take_different_seats() -> None:
    """The kernel tells processes apart, not threads."""
    seats, found = Seats(8), []
    threads = [threading.Thread(target=lambda: found.append(seats.take())) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == list(range(8))
