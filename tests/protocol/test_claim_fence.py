"""Nobody claims but a worker that is registered and in time, whatever reapers do at that moment."""

from __future__ import annotations

import asyncio

import pytest
from scene import Conn, ask, hire, ids_of, put, states, take, take_groups, until_blocked

from fastq.ends.ending import Died
from fastq.ends.outcome import conclude
from fastq.ends.settlement import LeasedJob, Settlement
from fastq.protocol import reap

pytestmark = pytest.mark.protocol


def untouched(job: LeasedJob) -> Settlement:
    """Give a dead worker's job back uncharged."""
    return conclude(job, Died(ran=False, cause="SIGKILL"))


async def test_without_a_worker_row_nothing_is_claimed(conn: Conn) -> None:
    """A worker that was given up claims nothing, leases nothing, and is told so."""
    (place,) = await put(conn)
    got = await take(conn, 12345)
    assert (got.alive, got.batch, got.lease) == (False, None, 0)
    assert await states(conn) == {place: "ready"}
    assert not await ask(conn, "select id from fastq.lease")


async def test_a_worker_whose_time_is_over_claims_nothing_until_it_is_renewed(conn: Conn) -> None:
    """Its row is still there, so it is not told that it was given up; anybody may reap it at any moment."""
    (place,) = await put(conn)
    who = await hire(conn, lease_s=-1)
    got = await take(conn, who)
    assert (got.alive, got.batch, got.lease) == (True, None, 0)
    assert (await take_groups(conn, who, ("",))).batch is None
    assert await states(conn) == {place: "ready"}
    await conn.execute("update fastq.worker set expires_at = now() + interval '1 hour'")
    assert ids_of(await take(conn, who)) == [place]


async def test_a_reaper_waits_for_a_claim_in_flight(conn: Conn, other: Conn, third: Conn) -> None:
    """The jobs of a claim that commits while the reaper waits are given back with the others."""
    places = await put(conn, "{}", "{}")
    who = await hire(conn)
    await take(conn, who, limit=1)
    async with other.transaction():
        await take(other, who)
        reaping = asyncio.create_task(reap.reap(third, shard=0, worker=who, verdict=untouched))
        await until_blocked(conn, third)
    assert await reaping == 2
    assert await states(conn) == dict.fromkeys(places, "ready")
    assert not await ask(conn, "select id from fastq.lease")


async def test_a_claim_behind_the_reaper_claims_nothing(conn: Conn, other: Conn, third: Conn) -> None:
    """A claim that waits for the reaper finds its worker row gone, and its acks refused."""
    places = await put(conn, "{}", "{}")
    who = await hire(conn)
    held = await take(conn, who, limit=1)
    async with third.transaction():
        await reap.reap(third, shard=0, worker=who, verdict=untouched)
        claiming = asyncio.create_task(take(other, who, acks=[held.lease]))
        await until_blocked(conn, other)
    got = await claiming
    assert (got.alive, got.batch, got.acked) == (False, None, [])
    assert await states(conn) == dict.fromkeys(places, "ready")


async def test_a_claim_behind_a_reaper_that_gave_up_goes_on(conn: Conn, other: Conn, third: Conn) -> None:
    """When the reaper's transaction fails, the claim that waited for it is as good as ever."""
    places = await put(conn, "{}", "{}")
    who = await hire(conn)
    held = await take(conn, who, limit=1)
    async with third.transaction(force_rollback=True):
        await reap.reap(third, shard=0, worker=who, verdict=untouched)
        claiming = asyncio.create_task(take(other, who, acks=[held.lease]))
        await until_blocked(conn, other)
    got = await claiming
    assert (got.alive, got.acked, ids_of(got)) == (True, [held.lease], places[1:])


async def test_a_renewal_does_not_hold_up_claims(conn: Conn, other: Conn) -> None:
    """A heartbeat in an open transaction lets the claims of its workers pass."""
    await put(conn)
    who = await hire(conn)
    async with other.transaction():
        await other.execute("update fastq.worker set expires_at = now() + interval '1 hour'")
        await conn.execute("set lock_timeout = '5s'")
        assert len(ids_of(await take(conn, who))) == 1
