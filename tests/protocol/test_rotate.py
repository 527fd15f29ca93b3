"""The ring: truncation and the head, against producers, claimers and readers."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, cast

import pytest
from scene import Conn, ask, hire, ids_of, put, put_many, states, take, until_blocked, until_blocked_or_done

from fastq.job import JobSpec, Options
from fastq.protocol import ack, discover, enqueue, rotate
from fastq.protocol.asking import carry_out
from fastq.protocol.claim import Lane
from fastq.protocol.enqueue import Line
from fastq.protocol.rotate import Emptied
from fastq.sql import SEGMENTS

pytestmark = pytest.mark.protocol


async def use_up(conn: Conn, segment: int) -> None:
    """Fill a segment and claim everything, so that it holds dead space."""
    lane = Lane(0, segment, "default", 4, "")
    await put_many(conn, 100, lane=lane)
    await take(conn, await hire(conn), lane=lane)
    assert await size(conn, segment) > 0


def ready(segment: int) -> Emptied:
    """Return a segment's table of jobs."""
    return Emptied(f"ready_{segment}", segment)


async def size(conn: Conn, segment: int, kind: str = "ready") -> int:
    """Return a segment's size on disk in bytes."""
    return int((await ask(conn, "select pg_relation_size(%s::regclass)", f"fastq.{kind}_{segment}"))[0][0])


async def head(conn: Conn) -> int:
    """Return where new jobs go."""
    return int((await ask(conn, "select head from fastq.ring where shard = 0"))[0][0])


async def test_only_used_up_segments_that_are_not_the_head(conn: Conn) -> None:
    """The head, a segment with a job, and one without space are not worth a look."""
    for segment in range(3):
        await use_up(conn, segment)
    await put(conn, lane=Lane(0, 1, "default", 4, ""))
    assert await rotate.truncatable(conn) == [ready(2)]
    assert await rotate.truncate(conn, ready(2))
    assert await size(conn, 2) == 0
    assert await rotate.truncatable(conn) == []


async def test_any_shards_head_is_a_head(conn: Conn) -> None:
    """A segment to which another shard's jobs go is not truncated."""
    await conn.execute("insert into fastq.ring (shard, head) values (1, 2)")
    await use_up(conn, 2)
    assert await rotate.truncatable(conn) == []
    assert not await rotate.truncate(conn, ready(2))


async def test_truncation_looks_again(conn: Conn) -> None:
    """A job that was committed between the look and the lock is kept, and so is a segment that became the head."""
    await use_up(conn, 1)
    await use_up(conn, 2)
    assert await rotate.truncatable(conn) == [ready(1), ready(2)]
    (place,) = await put(conn, lane=Lane(0, 1, "default", 4, ""))
    await conn.execute("update fastq.ring set head = 2")
    assert not await rotate.truncate(conn, ready(1))
    assert not await rotate.truncate(conn, ready(2))
    assert (await states(conn))[place] == "ready"


async def test_an_open_producer_is_not_waited_for(conn: Conn, other: Conn) -> None:
    """An uncommitted insert makes truncation skip at once, and the job is there after its commit."""
    await use_up(conn, 1)
    async with other.transaction():
        (place,) = await put(other, lane=Lane(0, 1, "default", 4, ""))
        assert await rotate.truncatable(conn) == [ready(1)]
        assert not await rotate.truncate(conn, ready(1))
        assert conn.info.transaction_status == 0, "the refused lock left no transaction open"
    assert (await states(conn))[place] == "ready"


@pytest.mark.parametrize("mode", ["access share", "row exclusive", "share update exclusive"])
async def test_readers_and_vacuum_are_not_waited_for(conn: Conn, other: Conn, mode: str) -> None:
    """A pg_dump, a claim in flight, a vacuum: whoever holds a lock makes truncation skip at once."""
    await use_up(conn, 1)
    async with other.transaction():
        await other.execute(f"lock table fastq.ready_1 in {mode} mode")
        assert not await rotate.truncate(conn, ready(1))
    assert await rotate.truncate(conn, ready(1))


class Interrupted:
    """A connection that lets something happen after its n-th statement."""

    def __init__(self, conn: Conn, moment: int, happen: Callable[[], Awaitable[None]]) -> None:
        self._conn = conn
        self._left = moment
        self._happen = happen
        self.transaction = conn.transaction

    async def execute(self, *args: Any) -> Any:
        """Run a statement, and wait for what is to happen then."""
        cur = await self._conn.execute(*args)
        self._left -= 1
        if not self._left:
            await self._happen()
        return cur


async def test_a_claim_between_any_two_steps_is_no_deadlock(conn: Conn, other: Conn, third: Conn) -> None:
    """Whenever a claim comes, takes its first lock and waits for its second: it goes on, and so does the truncation."""
    who, lane = await hire(conn), Lane(0, 1, "default", 4, "")
    for moment in range(1, 10):
        await use_up(conn, 1)
        claiming: list[asyncio.Task[Any]] = []

        async def come(claiming: list[asyncio.Task[Any]] = claiming) -> None:
            claiming.append(asyncio.create_task(take(third, who, lane=lane)))
            await until_blocked_or_done(conn, third, claiming[0])

        assert await rotate.truncate(cast("Conn", Interrupted(other, moment, come)), ready(1))
        if not claiming:
            break
        assert (await claiming[0]).batch is None
    assert moment > 3


async def test_a_claim_that_waits_for_truncation_goes_on(conn: Conn, other: Conn, third: Conn) -> None:
    """Claims and inserts that come while a segment is truncated wait for it, and lose nothing."""
    await use_up(conn, 1)
    lane = Lane(0, 1, "default", 4, "")
    who = await hire(conn)
    async with other.transaction():
        assert await rotate.truncate(other, ready(1))
        inserting = asyncio.create_task(put(third, lane=lane))
        claiming = asyncio.create_task(take(conn, who, lane=lane))
        await until_blocked(other, third)
        await until_blocked(other, conn)
    (place,) = await inserting
    assert ids_of(await claiming) + ids_of(await take(conn, who, lane=lane)) == [place]


async def test_an_old_snapshot_does_not_keep_space(conn: Conn, other: Conn) -> None:
    """With a pinned vacuum horizon, truncation gives the space back all the same."""
    async with other.transaction():
        await other.execute("set transaction isolation level repeatable read")
        await ask(other, "select 1 from fastq.worker")
        await use_up(conn, 1)
        assert await rotate.truncatable(conn) == [ready(1)]
        assert await rotate.truncate(conn, ready(1))
        assert await size(conn, 1) == 0


async def test_the_leases_of_a_segment_go_as_its_jobs_do(conn: Conn, other: Conn) -> None:
    """Their table is truncated when the last of them has ended, not while one is open, whatever vacuum can do."""
    lane = Lane(0, 1, "default", 4, "")
    await put_many(conn, 100, lane=lane)
    leases, who = Emptied("lease_1", 1), await hire(conn)
    async with other.transaction():
        await other.execute("set transaction isolation level repeatable read")
        await ask(other, "select 1 from fastq.worker")
        first, last = await take(conn, who, lane=lane, limit=50), await take(conn, who, lane=lane, limit=50)
        assert await ask(conn, "select count(*) from fastq.lease_1") == [(2,)]
        await ack.ack(conn, shard=0, worker=who, leases=[first.lease])
        assert await rotate.truncatable(conn) == [ready(1)]
        assert not await rotate.truncate(conn, leases)
        await ack.ack(conn, shard=0, worker=who, leases=[last.lease])
        assert await rotate.truncatable(conn) == [ready(1), leases]
        assert await rotate.truncate(conn, leases)
        assert await size(conn, 1, "lease") == 0


async def test_the_head_moves_to_an_empty_next_segment_only(conn: Conn) -> None:
    """The head moves on when it has grown, to a next segment without space in it, and round the ring."""
    assert await rotate.advance(conn, shard=0, head_bytes=1) is None
    await put(conn)
    assert await rotate.advance(conn, shard=0) is None
    assert await rotate.advance(conn, shard=0, head_bytes=1) == 1
    for segment in range(1, SEGMENTS):
        await put(conn, lane=Lane(0, segment, "default", 4, ""))
        expected = None if segment == 3 else segment + 1
        assert await rotate.advance(conn, shard=0, head_bytes=1) == expected
    assert await head(conn) == 3
    await take(conn, await hire(conn))
    assert await rotate.advance(conn, shard=0, head_bytes=1) is None
    assert await rotate.truncate(conn, ready(0))
    assert await rotate.advance(conn, shard=0, head_bytes=1) == 0


async def test_large_payloads_count(conn: Conn) -> None:
    """The head moves on when its jobs' payloads fill the space that is meant, although they stand beside its rows."""
    await conn.execute("alter table fastq.ready_0 alter column payload set storage external")
    try:
        await put(conn, *['{"text": "%s"}' % ("x" * 10_000)] * 100)
    finally:
        await conn.execute("alter table fastq.ready_0 alter column payload set storage extended")
    assert await size(conn, 0) < 20_000
    assert await rotate.advance(conn, shard=0, head_bytes=2_000_000) is None
    assert await rotate.advance(conn, shard=0, head_bytes=1_000_000) == 1
    assert await rotate.advance(conn, shard=0, head_bytes=1) is None, "the new head has nothing yet"


async def test_two_leaders_advance_once(conn: Conn, other: Conn, third: Conn) -> None:
    """A second leader that waits for the first does not move the head a second time."""
    await put(conn)
    async with other.transaction():
        assert await rotate.advance(other, shard=0, head_bytes=1) == 1
        advancing = asyncio.create_task(rotate.advance(third, shard=0, head_bytes=1))
        await until_blocked(conn, third)
    assert await advancing is None
    assert await head(conn) == 1


async def test_a_stale_head_insert_into_a_truncated_segment_is_found(conn: Conn) -> None:
    """A producer that read the head before rotation and inserts after truncation: discovery finds its job."""
    await put(conn)
    ((blocks, old_head, _),) = await ask(
        conn, "select array_agg(nextval('fastq.pos')), min(head), 0 from fastq.ring where shard = 0"
    )
    who = await hire(conn)
    await take(conn, who)
    assert await rotate.advance(conn, shard=0, head_bytes=1) == 1
    assert await rotate.truncate(conn, ready(old_head))
    await conn.execute(f"insert into fastq.ready_{old_head} (pos, task) values (%s, 't')", (blocks[0],))
    ((lane, first),) = await discover.discover(conn, shard=0, queues=[], exclude=[])
    assert (lane.segment, first) == (old_head, blocks[0])
    assert ids_of(await take(conn, who, lane=lane)) == blocks


async def test_nothing_is_lost_while_the_ring_turns(conn: Conn, other: Conn, third: Conn) -> None:
    """Producing, claiming and turning the ring as fast as it goes, until it has turned: each job is claimed once."""
    who, produced, claimed, turns = await hire(conn), [], [], 0

    def unfinished() -> bool:
        return turns <= 3 or len(produced) < 450

    async def produce() -> None:
        while unfinished():
            line = Line(JobSpec("t", {"n": len(produced)}, Options()), 1000)
            produced.extend(await carry_out(conn, enqueue.insert_lines([line] * 3)))

    async def consume() -> None:
        while unfinished() or len(claimed) < len(produced):
            for lane, first in await discover.discover(other, shard=0, queues=[], exclude=[]):
                claimed.extend(ids_of(await take(other, who, lane=lane, low=first - 1)))

    async def turn() -> None:
        nonlocal turns
        while unfinished():
            for emptied in await rotate.truncatable(third):
                turns += await rotate.truncate(third, emptied)
            await rotate.advance(third, shard=0, head_bytes=1)

    async with asyncio.timeout(20):
        await asyncio.gather(produce(), consume(), turn())
    assert sorted(claimed) == sorted(produced)
