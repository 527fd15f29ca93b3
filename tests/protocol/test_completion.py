"""Completing a job in the handler's own transaction, against acks and reapers."""

from __future__ import annotations

import asyncio

import pytest
from scene import Conn, ask, hire, put, states, take, until_blocked

from fastq.outcome import after_death
from fastq.protocol import ack, completion, reap
from fastq.settlement import LeasedJob, Settlement

pytestmark = pytest.mark.protocol


def charged(job: LeasedJob) -> Settlement:
    """Charge a dead worker's job with a crash."""
    return after_death(job, running=True, cause="SIGKILL")


async def test_a_lease_that_is_gone_cannot_be_held(conn: Conn) -> None:
    """The handler's transaction is told before it begins."""
    await put(conn)
    who = await hire(conn)
    lease = (await take(conn, who)).lease
    assert await completion.hold(conn, slot=0, lease=lease)
    await ack.ack(conn, slot=0, worker=who, leases=[lease])
    assert not await completion.hold(conn, slot=0, lease=lease)


async def test_a_completed_job_is_not_given_back(conn: Conn) -> None:
    """What was completed in its own transaction died acknowledged; its neighbours go back."""
    places = await put(conn, "{}", "{}")
    who = await hire(conn)
    lease = (await take(conn, who)).lease
    async with conn.transaction():
        await completion.hold(conn, slot=0, lease=lease)
        await completion.complete(conn, slot=0, lease=lease, ordinal=0)
    assert await reap.reap(conn, slot=0, worker=who, verdict=charged) == 1
    assert await states(conn) == {places[1]: "ready"}
    assert not await ask(conn, "select lease from fastq.progress")


async def test_a_completion_that_was_rolled_back_is_none(conn: Conn) -> None:
    """A handler's transaction that failed leaves its job unfinished."""
    places = await put(conn)
    who = await hire(conn)
    lease = (await take(conn, who)).lease
    async with conn.transaction(force_rollback=True):
        await completion.complete(conn, slot=0, lease=lease, ordinal=0)
    assert await reap.reap(conn, slot=0, worker=who, verdict=charged) == 1
    assert await states(conn) == dict.fromkeys(places, "ready")


async def test_completing_twice_is_completing(conn: Conn) -> None:
    """A handler may open two transactions, one after the other."""
    await completion.complete(conn, slot=0, lease=1, ordinal=0)
    await completion.complete(conn, slot=0, lease=1, ordinal=0)
    await completion.complete(conn, slot=0, lease=2, ordinal=0)
    await completion.forget(conn, slot=0, leases=[1])
    assert await ask(conn, "select lease, completed from fastq.progress") == [(2, True)]


async def test_a_reaper_waits_for_a_handlers_transaction_and_sees_it_completed(
    conn: Conn, other: Conn, third: Conn
) -> None:
    """A job whose own transaction commits while the reaper waits for it is done, and does not run again."""
    places = await put(conn, "{}", "{}")
    who = await hire(conn)
    lease = (await take(conn, who)).lease
    async with other.transaction():
        assert await completion.hold(other, slot=0, lease=lease)
        await completion.complete(other, slot=0, lease=lease, ordinal=0)
        reaping = asyncio.create_task(reap.reap(third, slot=0, worker=who, verdict=charged))
        await until_blocked(conn, third)
    await reaping
    assert await states(conn) == {places[1]: "ready"}


async def test_a_reaper_waits_for_a_handlers_transaction_and_sees_it_fail(conn: Conn, other: Conn, third: Conn) -> None:
    """A job whose own transaction fails while the reaper waits for it goes back with the others."""
    places = await put(conn, "{}", "{}")
    who = await hire(conn)
    lease = (await take(conn, who)).lease
    async with other.transaction(force_rollback=True):
        await completion.hold(other, slot=0, lease=lease)
        await completion.complete(other, slot=0, lease=lease, ordinal=0)
        reaping = asyncio.create_task(reap.reap(third, slot=0, worker=who, verdict=charged))
        await until_blocked(conn, third)
    assert await reaping == 2
    assert await states(conn) == dict.fromkeys(places, "ready")


async def test_a_handler_that_comes_behind_the_reaper_is_refused(conn: Conn, other: Conn, third: Conn) -> None:
    """A handler's transaction that begins while the reaper is at its lease learns that the lease is lost."""
    await put(conn)
    who = await hire(conn)
    lease = (await take(conn, who)).lease
    async with third.transaction():
        await reap.reap(third, slot=0, worker=who, verdict=charged)
        holding = asyncio.create_task(completion.hold(other, slot=0, lease=lease))
        await until_blocked(conn, other)
    assert await holding is False
