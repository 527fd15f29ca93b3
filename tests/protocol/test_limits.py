"""Claims within limits: how many run in all and of a group, how many start per time, whoever claims at once."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from functools import partial
from typing import Any

import psycopg
import pytest
from scene import LANE, Conn, ask, back, hire, ids_of, put, take, until_blocked

from fastq.postgres.link import Link
from fastq.protocol import ack, claim, limits
from fastq.protocol.claim import Lane
from fastq.protocol.limits import Bounded, QueueSettings
from fastq.protocol.settle import settle
from fastq.worker.limits import QueueLimits

pytestmark = pytest.mark.protocol

Db = psycopg.Connection[Any]


@pytest.fixture
async def other(dsn: str) -> AsyncIterator[Conn]:
    """Give a second connection."""
    async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as opened:
        yield opened


async def bounded(conn: Conn, who: int, *, limit: int = 100, lane: Lane = LANE, acks: tuple[int, ...] = ()) -> Bounded:
    """Claim within the limits of the lane's queue."""
    lease = (await claim.take_lease_ids(conn)).start
    take = partial(claim.claim, lane=lane, worker=who, lease=lease, low=0)
    return await limits.claim_within(conn, take, lane=lane, limit=limit, acks=list(acks))


def count(done: Bounded) -> int:
    """Return how many jobs came."""
    return len(ids_of(done.claimed))


async def test_no_more_run_than_the_queue_allows(conn: Conn, db: Db) -> None:
    """All leases count, of all workers, less what is done, settled or acknowledged on the way."""
    limits.set_queue(db, "default", max_running=3)
    await put(conn, *["{}"] * 9)
    one, two = await hire(conn), await hire(conn)
    first = await bounded(conn, one, limit=2)
    assert (count(first), first.again_s) == (2, None)
    second = await bounded(conn, two)
    assert count(second) == 1
    full = await bounded(conn, one)
    assert (count(full), full.again_s, full.queue_full, full.ends) == (0, limits.FULL_AGAIN_S, True, True)
    await ack.ack_jobs(conn, shard=0, worker=one, jobs=[(first.claimed.lease, 0)])
    await settle(conn, shard=0, worker=two, settlements=[back(second.claimed.lease)])
    assert count(await bounded(conn, two)) == 2
    third = await bounded(conn, one, acks=(first.claimed.lease,))
    assert (count(third), third.claimed.acked) == (1, [first.claimed.lease])


async def test_acks_are_done_although_there_is_no_room(conn: Conn, db: Db) -> None:
    """A claim that may take nothing still takes its acks along."""
    limits.set_queue(db, "default", max_running=0)
    limits.set_queue(db, "free")
    await put(conn, "{}", lane=LANE._replace(queue="free"))
    await put(conn)
    who = await hire(conn)
    held = await take(conn, who, lane=LANE._replace(queue="free"))
    done = await bounded(conn, who, acks=(held.lease,))
    assert (count(done), done.claimed.acked) == (0, [held.lease])


async def test_other_queues_do_not_count(conn: Conn, db: Db) -> None:
    """What runs of another queue is of no account."""
    limits.set_queue(db, "default", max_running=1)
    await put(conn, "{}", lane=LANE._replace(queue="mail"))
    await put(conn)
    who = await hire(conn)
    await take(conn, who, lane=LANE._replace(queue="mail"))
    assert count(await bounded(conn, who)) == 1


async def test_no_more_of_a_group_run_than_the_queue_allows(conn: Conn, db: Db) -> None:
    """One group that is full leaves the others alone; jobs without a group are not counted as one."""
    limits.set_queue(db, "default", max_running_per_group=1)
    lanes = [LANE._replace(group_key=key) for key in ("a", "b", "")]
    for lane in lanes:
        await put(conn, "{}", "{}", lane=lane)
    who = await hire(conn)
    assert [count(await bounded(conn, who, lane=lane)) for lane in lanes] == [1, 1, 2]
    full = await bounded(conn, who, lane=lanes[0])
    assert (count(full), full.queue_full, full.ends) == (0, False, True)


async def test_a_lease_of_many_groups_counts_for_each(conn: Conn, db: Db) -> None:
    """What was claimed together before the limit was set is counted by its own group."""
    lanes = [LANE._replace(group_key=key) for key in ("a", "b", "c")]
    for lane, jobs in zip(lanes, (1, 2, 3), strict=True):
        await put(conn, *["{}"] * jobs, lane=lane)
    who = await hire(conn)
    lease = (await claim.take_lease_ids(conn)).start
    await claim.claim_groups(
        conn, groups=[(lane, 0) for lane in lanes], share=2, worker=who, lease=lease, limit=9, acks=[]
    )
    await ack.ack_jobs(conn, shard=0, worker=who, jobs=[(lease, 0)])
    limits.set_queue(db, "default", max_running_per_group=3)
    await put(conn, *["{}"] * 4, lane=lanes[0])
    assert [count(await bounded(conn, who, lane=lane)) for lane in (lanes[0], lanes[2])] == [3, 1]


async def test_a_claim_that_does_not_go_on_holds_up_no_other(conn: Conn, other: Conn, db: Db) -> None:
    """Its worker is frozen with the queue's allowance locked: others do their acks, and ask again later."""
    limits.set_queue(db, "default", max_running=3)
    await put(conn, *["{}"] * 9)
    one, two = await hire(conn), await hire(conn)
    first = await bounded(conn, one, limit=2)
    async with other.transaction():
        await ask(other, "select from fastq.allowance where queue = 'default' for update")
        held = await bounded(conn, two, acks=())
        assert (count(held), held.again_s, held.queue_full) == (0, limits.FULL_AGAIN_S, True)
        await bounded(conn, one, acks=(first.claimed.lease,))
        assert await ask(conn, "select from fastq.lease") == []
    assert count(await bounded(conn, two)) == 3


async def test_a_second_claim_waits_and_counts_the_first(
    conn: Conn, other: Conn, db: Db, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two claims at once do not both see the room that there is for one."""
    monkeypatch.setitem(limits.WAITS, "patience", "30s")
    limits.set_queue(db, "default", max_running=2)
    await put(conn, *["{}"] * 5)
    who = await hire(conn)
    await bounded(conn, who, limit=0)
    async with conn.transaction():
        await bounded(conn, who, limit=2)
        second = asyncio.create_task(bounded(other, who))
        await until_blocked(conn, other)
    assert count(await second) == 0


async def test_a_rate_gives_a_second_at_once_and_then_its_share(conn: Conn, db: Db) -> None:
    """Not more than one second's worth is saved up; a slow rate gives one, and says when the next is due."""
    limits.set_queue(db, "default", rate=5.0)
    limits.set_queue(db, "slow", rate=1 / 3600)
    slow = LANE._replace(queue="slow")
    await put(conn, *["{}"] * 9)
    await put(conn, *["{}"] * 9, lane=slow)
    who = await hire(conn)
    assert count(await bounded(conn, who)) == 5
    assert count(await bounded(conn, who, lane=slow)) == 1
    refused = await bounded(conn, who, lane=slow)
    assert (count(refused), refused.queue_full, refused.ends) == (0, True, False)
    assert refused.again_s is not None
    assert 0 < refused.again_s <= 3600
    await conn.execute("update fastq.allowance set filled_at = filled_at - interval '400 ms' where queue = 'default'")
    assert count(await bounded(conn, who)) in range(2, 6)
    await conn.execute("update fastq.allowance set filled_at = filled_at + interval '1 h'")
    assert count(await bounded(conn, who)) in range(6)  # a clock that was set back takes nothing away


async def test_what_a_rate_gives_is_what_came(conn: Conn, db: Db) -> None:
    """A claim that found fewer jobs than it may take leaves the rest of the rate for the next."""
    limits.set_queue(db, "default", rate=1e-9)
    await conn.execute("insert into fastq.allowance (shard, queue, tokens) values (0, 'default', 1)")
    who = await hire(conn)
    assert count(await bounded(conn, who)) == 0
    await put(conn, "{}", "{}")
    assert count(await bounded(conn, who)) == 1
    assert count(await bounded(conn, who)) == 0


async def test_settings_are_changed_one_by_one(conn: Conn, db: Db) -> None:
    """What is not given stays; None takes away; pausing is something else."""
    limits.set_queue(db, "mail", max_running=3, rate=2.5)
    limits.set_queue(db, "mail", max_running_per_group=1, weight=7)
    db.execute("select fastq.pause('mail'), fastq.pause('other')")
    (mail,) = await limits.read_settings(conn)
    assert mail == QueueSettings(name="mail", max_running=3, max_running_per_group=1, rate=2.5, weight=7)
    for name in ("max_running", "max_running_per_group", "rate"):
        assert mail.limited
        mail = limits.set_queue(db, "mail", **{name: None})
    assert mail == QueueSettings(name="mail", weight=7)
    assert not mail.limited
    assert await ask(conn, "select paused from fastq.queue where name = 'mail'") == [(True,)]


async def test_what_a_worker_knows(dsn: str, conn: Conn, db: Db) -> None:
    """Weights of the database over its own, until they are taken away; lanes that have to wait, and until when."""
    limits.set_queue(db, "mail", weight=7)
    limits.set_queue(db, "slow", max_running_per_group=0)
    known, link = QueueLimits({"mail": 2, "other": 3}), Link(dsn, "fastq test")
    await known.refresh_if_due(link)
    assert known.weights == {"mail": 7, "other": 3}
    assert (known.one_by_one("slow"), known.one_by_one("mail")) == (True, False)
    a, b = (LANE._replace(queue="slow", group_key=key) for key in "ab")
    assert known.within(LANE, claim.claim) is claim.claim
    await put(conn, lane=a)
    who, lease = await hire(conn), (await claim.take_lease_ids(conn)).start
    take = known.within(a, claim.claim)
    assert known.pause_s is None
    refused = await take(conn, lane=a, worker=who, lease=lease, low=0, limit=5, acks=[])
    assert (refused.batch, known.waits(a), known.waits(b)) == (None, True, False)
    assert list(known.open([(a, 1), (b, 1)])) == [(b, 1)]
    known.rest("other", 60)
    known.ended()
    assert not known.waits(a)
    assert known.waits(LANE._replace(queue="other", group_key="x"))
    assert known.pause_s is not None
    assert 0 < known.pause_s <= 60
    limits.set_queue(db, "mail", weight=None)
    known = QueueLimits({"mail": 2})
    await known.refresh_if_due(link)
    assert known.weights == {"mail": 2}
    await link.close()
