"""Completing a job in the handler's own transaction, against acks and reapers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from scene import Conn, ask, back, failed, hire, later, put, states, take, until_blocked

from fastq.ends.ending import Died
from fastq.ends.outcome import conclude
from fastq.ends.settlement import LeasedJob, Settlement
from fastq.protocol import ack, completion, reap
from fastq.protocol.completion import Place
from fastq.protocol.settle import settle

pytestmark = pytest.mark.protocol


def charged(job: LeasedJob) -> Settlement:
    """Charge a dead worker's job with a crash."""
    return conclude(job, Died(ran=True, cause="SIGKILL"))


async def test_a_lease_that_is_gone_cannot_be_held(conn: Conn) -> None:
    """The handler's transaction is told before it begins."""
    await put(conn)
    who = await hire(conn)
    lease = (await take(conn, who)).lease
    assert await completion.hold(conn, Place(0, lease, 0))
    await ack.ack(conn, shard=0, worker=who, leases=[lease])
    assert not await completion.hold(conn, Place(0, lease, 0))


async def test_a_completed_job_is_not_given_back(conn: Conn) -> None:
    """What was completed in its own transaction died acknowledged; its neighbours go back."""
    places = await put(conn, "{}", "{}")
    who = await hire(conn)
    lease = (await take(conn, who)).lease
    async with conn.transaction():
        await completion.hold(conn, Place(0, lease, 0))
        await completion.complete(conn, Place(0, lease, 0))
    assert await reap.reap(conn, shard=0, worker=who, verdict=charged) == 1
    assert await states(conn) == {places[1]: "ready"}
    assert not await ask(conn, "select lease from fastq.progress")


async def test_a_completion_that_was_rolled_back_is_none(conn: Conn) -> None:
    """A handler's transaction that failed leaves its job unfinished."""
    places = await put(conn)
    who = await hire(conn)
    lease = (await take(conn, who)).lease
    async with conn.transaction(force_rollback=True):
        await completion.complete(conn, Place(0, lease, 0))
    assert await reap.reap(conn, shard=0, worker=who, verdict=charged) == 1
    assert await states(conn) == dict.fromkeys(places, "ready")


async def test_a_job_completes_once(conn: Conn, other: Conn) -> None:
    """A second run of a job that completed, however it came about, may neither begin nor commit its transaction."""
    await put(conn)
    place = Place(0, (await take(conn, await hire(conn))).lease, 0)
    async with other.transaction():
        assert await completion.hold(other, place)
        async with conn.transaction():
            assert await completion.hold(conn, place)
            assert await completion.complete(conn, place)
        assert not await completion.complete(other, place)
    assert not await completion.hold(conn, place)


async def test_a_job_that_was_settled_cannot_begin_its_transaction(conn: Conn) -> None:
    """What went elsewhere is no longer this lease's to complete."""
    await put(conn, "{}", "{}")
    who = await hire(conn)
    lease = (await take(conn, who)).lease
    await ack.ack_jobs(conn, shard=0, worker=who, jobs=[(lease, 1)])
    assert await completion.hold(conn, Place(0, lease, 0))
    assert not await completion.hold(conn, Place(0, lease, 1))


async def test_resolving_waits_for_a_commit_in_flight(conn: Conn, other: Conn, third: Conn) -> None:
    """Whether a transaction was committed is known when it has ended, one way or the other."""
    await put(conn, "{}", "{}")
    lease = (await take(conn, await hire(conn))).lease
    for ordinal, commits in ((0, True), (1, False)):
        place = Place(0, lease, ordinal)
        async with other.transaction(force_rollback=not commits):
            await completion.hold(other, place)
            await completion.complete(other, place)
            asking = asyncio.create_task(completion.resolve(third, place))
            await until_blocked(conn, third)
        assert await asking is commits
    assert not await completion.resolve(conn, Place(0, lease + 1, 0))


@pytest.mark.parametrize("late", [later, back, failed])
async def test_a_completed_job_goes_nowhere(conn: Conn, late: Callable[[int, int], Settlement]) -> None:
    """Whatever a worker that missed the answer wants to settle, a job that completed is done."""
    await put(conn, "{}", "{}")
    who = await hire(conn)
    lease = (await take(conn, who)).lease
    await completion.complete(conn, Place(0, lease, 0))
    for settlement in (late(lease, 0), back(lease, 1)):
        assert await settle(conn, shard=0, worker=who, settlements=[settlement]) == {(lease, settlement.ord)}
    assert await ask(conn, "select done from fastq.lease") == [([0, 1],)]
    assert list((await states(conn)).values()) == ["ready"]


async def test_what_a_job_made_durable_goes_with_its_lease(conn: Conn) -> None:
    """Alone or riding on a claim, the ack takes the progress rows along, and only those."""
    for ride in (False, True):
        await put(conn)
        who = await hire(conn)
        lease = (await take(conn, who)).lease
        await completion.complete(conn, Place(0, lease, 0))
        await completion.complete(conn, Place(0, -1, 0))
        if ride:
            assert (await take(conn, who, acks=[lease])).acked == [lease]
        else:
            assert await ack.ack(conn, shard=0, worker=who, leases=[lease]) == {lease}
        assert await ask(conn, "select lease from fastq.progress") == [(-1,)]


async def test_a_reaper_waits_for_a_handlers_transaction_and_sees_it_completed(
    conn: Conn, other: Conn, third: Conn
) -> None:
    """A job whose own transaction commits while the reaper waits for it is done, and does not run again."""
    places = await put(conn, "{}", "{}")
    who = await hire(conn)
    lease = (await take(conn, who)).lease
    async with other.transaction():
        assert await completion.hold(other, Place(0, lease, 0))
        await completion.complete(other, Place(0, lease, 0))
        reaping = asyncio.create_task(reap.reap(third, shard=0, worker=who, verdict=charged))
        await until_blocked(conn, third)
    await reaping
    assert await states(conn) == {places[1]: "ready"}


async def test_a_reaper_waits_for_a_handlers_transaction_and_sees_it_fail(conn: Conn, other: Conn, third: Conn) -> None:
    """A job whose own transaction fails while the reaper waits for it goes back with the others."""
    places = await put(conn, "{}", "{}")
    who = await hire(conn)
    lease = (await take(conn, who)).lease
    async with other.transaction(force_rollback=True):
        await completion.hold(other, Place(0, lease, 0))
        await completion.complete(other, Place(0, lease, 0))
        reaping = asyncio.create_task(reap.reap(third, shard=0, worker=who, verdict=charged))
        await until_blocked(conn, third)
    assert await reaping == 2
    assert await states(conn) == dict.fromkeys(places, "ready")


async def test_a_handler_that_comes_behind_the_reaper_is_refused(conn: Conn, other: Conn, third: Conn) -> None:
    """A handler's transaction that begins while the reaper is at its lease learns that the lease is lost."""
    await put(conn)
    who = await hire(conn)
    lease = (await take(conn, who)).lease
    async with third.transaction():
        await reap.reap(third, shard=0, worker=who, verdict=charged)
        holding = asyncio.create_task(completion.hold(other, Place(0, lease, 0)))
        await until_blocked(conn, other)
    assert await holding is False
