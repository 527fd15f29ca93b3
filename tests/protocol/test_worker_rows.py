"""The life of a worker row, and the lead of the fleet."""

from __future__ import annotations

import asyncio
import json

import pytest
from scene import Conn, ask, hire, ids_of, put, take, until_blocked

from fastq.protocol import reap, upkeep, worker
from fastq.protocol.shards import Shards

pytestmark = pytest.mark.protocol


async def test_register_in_every_shard(conn: Conn) -> None:
    """One process has one id in all shards, never used before, and its lease of life."""
    first = await worker.register(conn, host="h", pid=7, name="n", lease_s=60, shards=3)
    rows = await ask(conn, "select shard, id, host, pid, name from fastq.worker order by shard")
    assert rows == [(shard, first, "h", 7, "n") for shard in range(3)]
    assert await ask(conn, "select distinct expires_at = started_at + interval '60 s' from fastq.worker") == [(True,)]
    assert await worker.unregister(conn, worker=first, shards=Shards(3))
    assert not await ask(conn, "select id from fastq.worker")
    assert await hire(conn) > first


async def test_renewal_prolongs_and_notes_counters(conn: Conn) -> None:
    """A renewed worker lives on from now, with its latest counters; others are left alone."""
    who, neighbour = await hire(conn, lease_s=1), await hire(conn, lease_s=1)
    assert (await worker.renew(conn, shard=0, workers={who: '{"claimed":3}'}, lease_s=600)).keys() == {who}
    rows = await ask(conn, "select id, counters, expires_at > now() + interval '5 min' from fastq.worker order by id")
    assert rows == [(who, {"claimed": 3}, True), (neighbour, None, False)]


async def test_an_expired_worker_is_revived_until_it_is_reaped(conn: Conn) -> None:
    """After an outage everybody's time has run out: who speaks first decides. Unknown ones are not made."""
    late, alive, dead = await hire(conn, lease_s=-1), await hire(conn), await hire(conn, lease_s=-1)
    workers = {late: "{}", alive: "{}", 9999: "{}"}
    assert await reap.expired_workers(conn, shards=[0]) == [(0, late), (0, dead)]
    assert (await worker.renew(conn, shard=0, workers=workers, lease_s=30)).keys() == {late, alive}
    for who, outcome in ((late, None), (dead, 0)):
        verdict = lambda _: pytest.fail("it had no jobs")  # noqa: E731
        assert await reap.reap(conn, shard=0, worker=who, verdict=verdict, expired=True) == outcome
    assert (await worker.renew(conn, shard=0, workers={dead: "{}"}, lease_s=30)).keys() == set()


async def test_who_is_late_claims_nothing_and_may_come_back(conn: Conn) -> None:
    """Between the end of its time and its renewal or its end a worker holds what it holds, and takes no more."""
    who = await hire(conn, lease_s=-1)
    (place,) = await put(conn)
    got = await take(conn, who)
    assert (got.batch, got.alive) == (None, True)
    assert await worker.standing(conn, worker=who, shards=Shards(1)) is worker.Standing.LATE
    await worker.renew(conn, shard=0, workers={who: "{}"}, lease_s=30)
    assert await worker.standing(conn, worker=who, shards=Shards(1)) is worker.Standing.IN_TIME
    assert ids_of(await take(conn, who)) == [place]
    await conn.execute("delete from fastq.worker")
    assert await worker.standing(conn, worker=who, shards=Shards(1)) is worker.Standing.GONE


async def test_renewing_nobody(conn: Conn) -> None:
    """A host without workers asks nothing of the database."""
    assert await worker.renew(conn, shard=0, workers={}, lease_s=30) == {}


async def test_many_renewals_at_once(conn: Conn) -> None:
    """A whole host's workers are renewed with one statement, whatever stands in their counters."""
    many = {await hire(conn): json.dumps({"n": n, "s": 'ü"\\,{}'}) for n in range(50)}
    assert (await worker.renew(conn, shard=0, workers=many, lease_s=30)).keys() == set(many)
    rows = await ask(conn, "select id, counters from fastq.worker")
    assert dict(rows) == {who: json.loads(text) for who, text in many.items()}


async def test_a_renewal_in_flight_saves_no_worker_from_a_reaper(conn: Conn, other: Conn, third: Conn) -> None:
    """A reaper that waits for a heartbeat takes the worker all the same; the next heartbeat hears of it."""
    who = await hire(conn)
    async with other.transaction():
        assert (await worker.renew(other, shard=0, workers={who: "{}"}, lease_s=30)).keys() == {who}
        reaping = asyncio.create_task(
            reap.reap(third, shard=0, worker=who, verdict=lambda _: pytest.fail("it had no jobs"))
        )
        await until_blocked(conn, third)
    assert await reaping == 0
    assert (await worker.renew(conn, shard=0, workers={who: "{}"}, lease_s=30)).keys() == set()


async def test_unregister_of_one_that_is_gone(conn: Conn) -> None:
    """Signing off twice, or after the reaper came, does nothing."""
    who = await hire(conn)
    assert await worker.unregister(conn, worker=who, shards=Shards(1))
    assert await worker.unregister(conn, worker=who, shards=Shards(2))


# -- the lead


async def test_one_holder(conn: Conn, other: Conn) -> None:
    """While one host leads, another is refused, and the first may renew as often as it likes."""
    assert (await upkeep.lead(conn, holder="a", lease_s=30)).won
    assert not (await upkeep.lead(other, holder="b", lease_s=30)).won
    assert (await upkeep.lead(conn, holder="a", lease_s=60)).won
    rows = await ask(conn, "select holder, expires_at > now() + interval '45 s' from fastq.leader")
    assert rows == [("a", True)]


async def test_an_expired_lead_is_vacant(conn: Conn) -> None:
    """Another host takes over when the time has run out; the old one is refused then."""
    assert (await upkeep.lead(conn, holder="a", lease_s=-1)).won
    assert (await upkeep.lead(conn, holder="b", lease_s=30)).won
    assert not (await upkeep.lead(conn, holder="a", lease_s=30)).won


async def test_resigning(conn: Conn) -> None:
    """A leader that resigns is followed at once; a host that does not lead cannot resign for the one that does."""
    assert (await upkeep.lead(conn, holder="a", lease_s=30)).won
    await upkeep.resign(conn, holder="b")
    assert not (await upkeep.lead(conn, holder="b", lease_s=30)).won
    await upkeep.resign(conn, holder="a")
    await upkeep.resign(conn, holder="a")
    assert (await upkeep.lead(conn, holder="b", lease_s=30)).won


async def test_two_candidates_at_once(conn: Conn, other: Conn, third: Conn) -> None:
    """Of two that stand for a vacant lead at the same time one wins, the other hears so."""
    for _ in range(2):
        async with other.transaction():
            assert (await upkeep.lead(other, holder="a", lease_s=30)).won
            standing = asyncio.create_task(upkeep.lead(third, holder="b", lease_s=30))
            await until_blocked(conn, third)
        assert not (await standing).won
        await conn.execute("update fastq.leader set expires_at = now() - interval '1 s'")


async def test_a_candidate_behind_a_renewal_that_failed(conn: Conn, other: Conn, third: Conn) -> None:
    """When the first's statement is rolled back, the second has the lead."""
    async with other.transaction(force_rollback=True):
        assert (await upkeep.lead(other, holder="a", lease_s=30)).won
        standing = asyncio.create_task(upkeep.lead(third, holder="b", lease_s=30))
        await until_blocked(conn, third)
    assert (await standing).won


async def test_notify(conn: Conn, other: Conn) -> None:
    """A notification reaches who listens."""
    await other.execute("listen fastq")
    await upkeep.notify(conn)
    heard = [note.channel async for note in other.notifies(timeout=5, stop_after=1)]
    assert heard == ["fastq"]


async def test_whoever_does_not_lead_writes_nothing(conn: Conn, other: Conn) -> None:
    """And learns for how long the other one does."""
    assert (await upkeep.lead(conn, holder="a", lease_s=30)).won
    async with other.transaction():
        stand = await upkeep.lead(other, holder="b", lease_s=30)
        assert await ask(other, "select pg_current_xact_id_if_assigned()") == [(None,)]
    assert not stand.won
    assert stand.left_s is not None
    assert 0 < stand.left_s <= 30


async def test_a_lead_that_is_given_up_is_told(conn: Conn, other: Conn) -> None:
    """The others need not wait until it is over."""
    await other.execute("listen fastq")
    assert (await upkeep.lead(conn, holder="a", lease_s=30)).won
    await upkeep.resign(conn, holder="a")
    assert [note.payload async for note in other.notifies(timeout=20, stop_after=1)] == ["lead"]


async def test_orders_to_a_supervisor(conn: Conn) -> None:
    """The latest of those in its workers' rows; what a stranger wrote there is none."""
    one, two = await hire(conn), await hire(conn)

    async def orders() -> worker.Orders:
        return await worker.orders(conn, workers=[one, two])

    assert await orders() == worker.Orders(draining=False, resize=None)
    for told in (
        "[]",
        "7",
        '"x"',
        "{}",
        '{"number": true}',
        '{"number": "0x7", "processes": "٣"}',
        '{"number": 1e400}',
    ):
        await conn.execute("update fastq.worker set resize = %s", [told])
        assert await orders() == worker.Orders(
            draining=False, resize=worker.Resize(number=0, processes=0, concurrency=0)
        )
    await conn.execute(
        "update fastq.worker set resize = %s",
        [f'{{"number": {10**18}, "processes": 1025, "concurrency": {"9" * 5000}}}'],
    )
    assert (await orders()).resize == worker.Resize(number=10**18, processes=0, concurrency=0)
    await conn.execute("select fastq.resize(processes => 3)")
    await hire(conn)
    await conn.execute("select fastq.resize(concurrency => 9)")
    latest = (await orders()).resize
    assert latest is not None
    assert (latest.processes, latest.concurrency) == (0, 9)
    await conn.execute("select fastq.drain()")
    assert (await orders()).draining
