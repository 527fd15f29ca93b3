"""One enqueue wakes one host; the others when that one does not do."""

from __future__ import annotations

import asyncio
import os
import signal
from typing import Any

import handlers
import psycopg
import pytest
from fleet import Fleet, until
from probe import Db, enqueue, told, wait_empty, wait_told

from fastq.postgres.link import Link
from fastq.protocol.shards import Shards
from fastq.steward import relay
from fastq.steward.relay import Relay, place_in

pytestmark = pytest.mark.process


def test_all_hosts_agree_who_is_first() -> None:
    """Whatever the session is that calls; who is in no line stands first, to be sure."""
    line = [1001, 1004, 1010]
    for caller in range(100):
        assert sorted(place_in(line, own, caller) for own in line) == [0, 1, 2]
    assert place_in(line, 7, 5) == place_in([], 7, 5) == 0


class Calls:
    """A relay, how often it woke a worker, and what it called."""

    def __init__(self, dsn: str, *, idle: bool) -> None:
        self.woken = 0
        self.idle = idle
        self.link = Link(dsn, "fastq test")
        self.relay = Relay(self.link, Shards(1), wake=self._wake)

    def _wake(self) -> bool:
        self.woken += 1
        return self.idle


async def heard(calls: Calls, conn: psycopg.AsyncConnection[Any], patience_s: float) -> list[str]:
    """Return what the relay calls within a while, at most one."""
    await conn.execute("listen fastq")
    running = asyncio.create_task(calls.relay.run())
    try:
        return [note.payload async for note in conn.notifies(timeout=patience_s, stop_after=1)]
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
        await calls.link.close()


@pytest.mark.parametrize(
    ("place", "idle", "jobs", "woken", "called"),
    [
        (0, True, 1, 1, False),
        (0, False, 1, 1, True),
        (1, True, 1, 0, True),
        (1, True, 0, 0, False),
        (2, True, 1, 0, True),
        (3, True, 1, 0, False),
    ],
)
async def test_who_calls(dsn: str, db: Db, place: int, idle: bool, jobs: int, woken: int, called: bool) -> None:
    """The first where nobody is idle; the next two where jobs are left; no other."""
    if jobs:
        enqueue(handlers.quick.job(n=1))
    calls = Calls(dsn, idle=idle)
    calls.relay.heard(place, all_hands=False)
    async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as conn:
        assert await heard(calls, conn, 20.0 if called else 3 * relay.LOOK_AFTER_S) == (["!"] if called else [])
    assert calls.woken == woken


async def test_what_is_for_others_is_called_at_once(dsn: str) -> None:
    """The worker that was woken has found nothing; what it finds in vain later is another matter."""
    calls = Calls(dsn, idle=True)
    calls.relay.vain(3)
    calls.relay.heard(0, all_hands=False)
    calls.relay.vain(4)
    async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as conn:
        assert await heard(calls, conn, 20.0) == ["!"]
    calls.relay.heard(1, all_hands=True)
    assert calls.woken == 2


def test_a_few_jobs_wake_one_of_three_hosts(dsn: str, db: Db) -> None:
    """All run, and most of them without a claim of the other hosts; those are called when the first is frozen."""
    with Fleet(dsn) as one, Fleet(dsn) as two, Fleet(dsn) as three:
        fleets = [fleet.ready() for fleet in (one, two, three)]
        until("all to hear", lambda: db.execute(LISTENERS).fetchone() == (3,))
        for n in range(5):
            enqueue(handlers.quick.job(n=n))
            wait_told(db, "quick", n + 1)
        for fleet in fleets[:2]:
            os.killpg(fleet.process.pid, signal.SIGSTOP)
        try:
            for n in range(5, 10):
                enqueue(handlers.quick.job(n=n))
                wait_told(db, "quick", n + 1)
        finally:
            for fleet in fleets[:2]:
                os.killpg(fleet.process.pid, signal.SIGCONT)
        wait_empty(db)
    assert sorted(map(int, told(db, "quick"))) == list(range(10))


LISTENERS = """
select count(*) from pg_stat_activity where application_name = 'fastq listener' and datname = current_database()
"""
