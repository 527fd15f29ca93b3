"""Giving back what a dead worker held, once, whoever else is at it."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import pytest
from scene import Conn, ask, back, expire, hire, ids_of, jobs_of, later, put, states, take, until_blocked

from fastq.ends.ending import MAX_CRASHES, Died
from fastq.ends.outcome import conclude
from fastq.ends.settlement import LeasedJob, Settlement
from fastq.host.board import Board
from fastq.postgres.link import Link
from fastq.protocol import ack, completion, reap, worker
from fastq.protocol.completion import Place
from fastq.protocol.settle import settle
from fastq.protocol.shards import Shards
from fastq.steward.reaper import Reaper

pytestmark = pytest.mark.protocol


def uncharged(job: LeasedJob) -> Settlement:
    """Give a job back as it was."""
    return conclude(job, Died(ran=False, cause="SIGKILL"))


def charged(job: LeasedJob) -> Settlement:
    """Charge a job with a crash."""
    return conclude(job, Died(ran=True, cause="SIGKILL"))


async def test_expired_workers_are_found(conn: Conn) -> None:
    """Those whose time has run out, and no others."""
    await hire(conn)
    dead = [await hire(conn, lease_s=-1), await hire(conn, lease_s=-1)]
    assert await reap.expired_workers(conn, shards=[0]) == [(0, worker) for worker in dead]
    assert await reap.expired_workers(conn, shards=[1]) == []


async def test_unfinished_jobs_go_back_and_done_ones_do_not(conn: Conn) -> None:
    """Done, settled and acknowledged jobs stay where they are; the rest of all leases goes back."""
    places = await put(conn, *["{}"] * 6)
    who, neighbour = await hire(conn), await hire(conn)
    first, second, third = [await take(conn, who, limit=2) for _ in range(3)]
    await ack.ack_jobs(conn, shard=0, worker=who, jobs=[(first.lease, 0)])
    await settle(conn, shard=0, worker=who, settlements=[later(second.lease, 1)])
    await ack.ack(conn, shard=0, worker=who, leases=[third.lease])
    (kept,) = await put(conn)
    await take(conn, neighbour)
    assert await reap.reap(conn, shard=0, worker=who, verdict=uncharged) == 2
    assert await states(conn) == {places[1]: "ready", places[2]: "ready", places[3]: "retrying", kept: "running"}
    assert await ask(conn, "select worker from fastq.lease") == [(neighbour,)]
    assert await ask(conn, "select id from fastq.worker") == [(neighbour,)]


async def test_a_worker_without_leases(conn: Conn) -> None:
    """Its row goes; 0 jobs is not the same as nobody there."""
    who = await hire(conn)
    assert await reap.reap(conn, shard=0, worker=who, verdict=uncharged) == 0
    assert await reap.reap(conn, shard=0, worker=who, verdict=uncharged) is None


async def test_charged_and_uncharged(conn: Conn) -> None:
    """What ran is charged a crash and no attempt; what waited goes back as it was."""
    meta = '{"headers":{"h":1}}'
    places = await put(conn, "{}", "{}", attempt=2, meta=meta)
    who = await hire(conn)
    await take(conn, who)
    await reap.reap(
        conn, shard=0, worker=who, verdict=lambda job: conclude(job, Died(ran=job.ord == 0, cause="SIGSEGV"))
    )
    ran, waited = jobs_of(await take(conn, await hire(conn)))
    assert (ran[5], ran[2], ran[6]["crashes"], ran[6]["headers"]) == (places[0], 2, 1, {"h": 1})
    assert "SIGSEGV" in ran[6]["errors"][0]["message"]
    assert (waited[5], waited[2], waited[6]) == (places[1], 2, {"headers": {"h": 1}})


async def test_a_job_that_kills_its_workers_is_failed(conn: Conn) -> None:
    """After as many crashes as are allowed it is kept as failed, with all of them in its errors."""
    (place,) = await put(conn, '{"a":1}')
    for crash in range(MAX_CRASHES):
        assert (await states(conn))[place] == "ready", crash
        who = await hire(conn)
        assert ids_of(await take(conn, who)) == [place]
        await reap.reap(conn, shard=0, worker=who, verdict=charged)
    assert await states(conn) == {place: "failed"}
    ((payload, crashes, errors),) = await ask(
        conn, "select payload::text, meta->>'crashes', json_array_length(meta->'errors') from fastq.finished"
    )
    assert (payload, crashes, errors) == ('{"a":1}', str(MAX_CRASHES), MAX_CRASHES)


@pytest.mark.parametrize("payload", [r'{"a":"\u0000"}', r'{"a":"\ud800"}', '{"a":1e999}', "[[null]]"])
async def test_odd_payloads_can_be_reaped(conn: Conn, payload: str) -> None:
    """A payload that cannot be decoded does not keep its neighbours from going back."""
    places = await put(conn, "{}", payload)
    who = await hire(conn)
    await take(conn, who)
    assert await reap.reap(conn, shard=0, worker=who, verdict=charged) == 2
    assert await states(conn) == dict.fromkeys(places, "ready")
    assert await ask(conn, "select payload::text from fastq.ready order by pos") == [("{}",), (payload,)]


async def test_a_failing_verdict_changes_nothing(conn: Conn) -> None:
    """One transaction: when a decision fails, the worker is still there to be reaped."""
    (place,) = await put(conn)
    who = await hire(conn)
    await take(conn, who)

    def broken(job: LeasedJob) -> Settlement:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await reap.reap(conn, shard=0, worker=who, verdict=broken)
    assert await states(conn) == {place: "running"}
    assert await reap.reap(conn, shard=0, worker=who, verdict=uncharged) == 1


# -- races


async def test_two_reapers_at_once(conn: Conn, other: Conn, third: Conn) -> None:
    """The second waits for the first and finds nobody."""
    places = await put(conn, "{}", "{}")
    who = await hire(conn)
    await take(conn, who)
    async with other.transaction():
        assert await reap.reap(other, shard=0, worker=who, verdict=charged) == 2
        reaping = asyncio.create_task(reap.reap(third, shard=0, worker=who, verdict=charged))
        await until_blocked(conn, third)
    assert await reaping is None
    assert await states(conn) == dict.fromkeys(places, "ready")
    assert await ask(conn, "select meta->>'crashes' from fastq.ready") == [("1",), ("1",)]


async def test_many_reapers_at_once(conn: Conn, other: Conn, third: Conn) -> None:
    """Of three simultaneous reapers exactly one gives the jobs back."""
    places = await put(conn, *["{}"] * 50)
    who = await hire(conn)
    await take(conn, who)
    back_ = await asyncio.gather(
        *(reap.reap(each, shard=0, worker=who, verdict=uncharged) for each in (conn, other, third))
    )
    assert sorted(back_, key=str) == [50, None, None]
    assert await states(conn) == dict.fromkeys(places, "ready")


async def test_ack_first(conn: Conn, other: Conn, third: Conn) -> None:
    """An ack in flight when the reaper comes counts: the reaper waits for it and gives nothing back twice."""
    places = await put(conn, "{}", "{}", "{}")
    who = await hire(conn)
    first, second = await take(conn, who, limit=1), await take(conn, who)
    async with other.transaction():
        await ack.ack(other, shard=0, worker=who, leases=[first.lease])
        await ack.ack_jobs(other, shard=0, worker=who, jobs=[(second.lease, 0)])
        reaping = asyncio.create_task(reap.reap(third, shard=0, worker=who, verdict=charged))
        await until_blocked(conn, third)
    await reaping
    assert await states(conn) == {places[2]: "ready"}
    assert not await ask(conn, "select id from fastq.lease")


async def test_the_count_is_of_those_that_went_back(conn: Conn, other: Conn, third: Conn) -> None:
    """A job that was acknowledged while the reaper waited is not counted as given back."""
    await put(conn, "{}", "{}")
    who = await hire(conn)
    lease = (await take(conn, who)).lease
    async with other.transaction():
        await ack.ack_jobs(other, shard=0, worker=who, jobs=[(lease, 0)])
        reaping = asyncio.create_task(reap.reap(third, shard=0, worker=who, verdict=charged))
        await until_blocked(conn, third)
    assert await reaping == 1


async def test_settlement_first(conn: Conn, other: Conn, third: Conn) -> None:
    """A settlement in flight when the reaper comes counts; the job moves once."""
    places = await put(conn, "{}", "{}")
    who = await hire(conn)
    lease = (await take(conn, who)).lease
    async with other.transaction():
        await settle(other, shard=0, worker=who, settlements=[later(lease, 0)])
        reaping = asyncio.create_task(reap.reap(third, shard=0, worker=who, verdict=charged))
        await until_blocked(conn, third)
    await reaping
    assert await states(conn) == {places[0]: "retrying", places[1]: "ready"}


@pytest.mark.parametrize("what", ["ack", "ack_jobs", "settle"])
async def test_reap_first(conn: Conn, other: Conn, third: Conn, what: str) -> None:
    """Whatever comes while the reaper is at it waits, finds the lease gone and reports it as lost."""
    (place,) = await put(conn)
    who = await hire(conn)
    lease = (await take(conn, who)).lease
    async with third.transaction():
        assert await reap.reap(third, shard=0, worker=who, verdict=uncharged) == 1
        if what == "ack":
            late = asyncio.create_task(ack.ack(other, shard=0, worker=who, leases=[lease]))
        elif what == "ack_jobs":
            late = asyncio.create_task(ack.ack_jobs(other, shard=0, worker=who, jobs=[(lease, 0)]))
        else:
            late = asyncio.create_task(settle(other, shard=0, worker=who, settlements=[back(lease)]))
        await until_blocked(conn, other)
    assert await late == set()
    assert await states(conn) == {place: "ready"}


async def test_a_renewal_behind_the_reaper_renews_nothing(conn: Conn, other: Conn, third: Conn) -> None:
    """A heartbeat that waits for the reaper reports the worker as gone."""
    who = await hire(conn)
    async with third.transaction():
        await reap.reap(third, shard=0, worker=who, verdict=uncharged)
        beating = asyncio.create_task(worker.renew(other, shard=0, workers={who: "{}"}, lease_s=30))
        await until_blocked(conn, other)
    assert await beating == {}


async def test_a_lease_left_behind_by_unregister_is_given_back(conn: Conn) -> None:
    """A worker that signs off while the database holds a lease of its leaves no job behind for ever."""
    (place,) = await put(conn)
    who = await hire(conn)
    await take(conn, who)
    assert not await worker.unregister(conn, worker=who, shards=Shards(1))
    await conn.execute("update fastq.worker set expires_at = now() - interval '1 s'")
    for _, dead in await reap.expired_workers(conn, shards=[0]):
        await reap.reap(conn, shard=0, worker=dead, verdict=uncharged)
    assert await states(conn) == {place: "ready"}


async def test_a_worker_that_was_renewed_meanwhile_is_not_reaped_for_its_time(conn: Conn) -> None:
    """Its time had run out when it was looked for, and its heartbeat came before the reaper."""
    (place,) = await put(conn)
    who = await hire(conn)
    await take(conn, who)
    assert await reap.reap(conn, shard=0, worker=who, verdict=uncharged, expired=True) is None
    assert await states(conn) == {place: "running"}
    await expire(conn, who)
    assert await reap.reap(conn, shard=0, worker=who, verdict=uncharged, expired=True) == 1


async def test_one_worker_that_cannot_be_reaped_does_not_hold_up_the_others(conn: Conn, other: Conn, dsn: str) -> None:
    """While a transaction nobody ends holds one dead worker's lease, the next dead worker's jobs go back."""
    stuck, free = await put(conn), await put(conn)
    first, second = await hire(conn), await hire(conn)
    lease, _ = (await take(conn, first, limit=1)).lease, await take(conn, second)
    await expire(conn, first, second)
    link = Link(dsn, "fastq test", "set lock_timeout = '50ms'")
    reaper = Reaper(Board(cells=1, running=1), link, lease_s=30.0, shards=Shards(1))
    async with other.transaction():
        await completion.hold(other, Place(0, lease, 0))
        with suppress(TimeoutError):
            async with asyncio.timeout(1.0):
                await reaper.step_expired()
        await link.close()
        assert await states(conn) == {stuck[0]: "running", free[0]: "ready"}
