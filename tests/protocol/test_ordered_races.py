"""Ordered groups: whoever meets whom, on real connections."""

from __future__ import annotations

import asyncio

import psycopg
import pytest
from ordered_groups import META, check, claim, done, heads, join, settle
from scene import Conn, back, failed, hire, ids_of, later, states, take_groups, until_blocked

from fastq.protocol import ordered, upkeep
from fastq.protocol.asking import carry_out

pytestmark = pytest.mark.protocol


# -- who meets whom


async def test_a_producer_holds_nobody_up(conn: Conn, other: Conn) -> None:
    """While a transaction that joined the line is open, the head ends all the same, and others join."""
    await join(conn)
    who = await hire(conn)
    got = await claim(conn, who)
    async with other.transaction():
        last = await join(other)
        await conn.execute("set lock_timeout = '5s'")
        assert await settle(conn, who, done(got)) == {(got.lease, 0)}
        assert await heads(conn) == {"g": None}
        third = await join(conn)
        assert await ordered.advance_idle(conn, shard=0) == 1
        assert await heads(conn) == {"g": third}
    assert await states(conn) == {last: "waiting", third: "ready"}


async def test_what_was_left_open_is_brought_up_by_the_leader(conn: Conn, other: Conn) -> None:
    """The job of a producer who committed after the head had ended comes up with the leader's next round."""
    await join(conn)
    who = await hire(conn)
    got = await claim(conn, who)
    async with other.transaction():
        job = await join(other)
        await settle(conn, who, done(got))
        assert await ordered.advance_idle(conn, shard=0) == 0
    assert await states(conn) == {job: "waiting"}
    assert await ordered.advance_idle(conn, shard=0) == 1
    assert await states(conn) == {job: "ready"}


async def test_what_was_left_open_for_nothing(conn: Conn, other: Conn) -> None:
    """When the producer rolled back, the leader gives the line up."""
    await join(conn)
    who = await hire(conn)
    got = await claim(conn, who)
    async with other.transaction(force_rollback=True):
        await join(other)
        await settle(conn, who, done(got))
    assert await ordered.advance_idle(conn, shard=0) == 0
    assert await heads(conn) == {}


@pytest.mark.parametrize("rolled_back", [False, True])
async def test_two_producers_begin_a_line(conn: Conn, other: Conn, third: Conn, *, rolled_back: bool) -> None:
    """The second one waits for the first: behind it if it commits, as the head if it does not."""
    async with other.transaction(force_rollback=rolled_back):
        await join(other)
        joining = asyncio.create_task(join(conn))
        await until_blocked(third, conn)
    job = await joining
    assert (await states(conn))[job] == ("ready" if rolled_back else "waiting")
    await check(conn)


async def test_a_producer_meets_the_end_of_a_line(conn: Conn, other: Conn, third: Conn) -> None:
    """Who joins a line that is just being given up waits for that, and begins it anew."""
    await join(conn)
    who = await hire(conn)
    got = await claim(conn, who)
    async with other.transaction():
        await settle(other, who, done(got))
        joining = asyncio.create_task(join(conn))
        await until_blocked(third, conn)
    job = await joining
    assert await heads(conn) == {"g": job}
    assert await states(conn) == {job: "ready"}


async def test_a_producer_joins_while_the_head_changes(conn: Conn, other: Conn) -> None:
    """A line that goes on in another's open transaction can be joined without waiting."""
    _, second = await join(conn), await join(conn)
    who = await hire(conn)
    got = await claim(conn, who)
    async with other.transaction():
        await settle(other, who, done(got))
        await conn.execute("set lock_timeout = '5s'")
        job = await join(conn)
    assert await heads(conn) == {"g": second}
    assert (await states(conn))[job] == "waiting"


@pytest.mark.parametrize("rolled_back", [False, True])
async def test_the_next_one_is_just_being_cancelled(conn: Conn, other: Conn, *, rolled_back: bool) -> None:
    """The head ends without waiting for that; who comes next is known when it is decided, and nobody overtakes."""
    _, second, third = [await join(conn) for _ in range(3)]
    who = await hire(conn)
    got = await claim(conn, who)
    async with other.transaction(force_rollback=rolled_back):
        await other.execute("select fastq.cancel(%s)", [second])
        await conn.execute("set lock_timeout = '5s'")
        await settle(conn, who, done(got))
        assert await ordered.advance_idle(conn, shard=0) == 0
    assert await ordered.advance_idle(conn, shard=0) == 1
    assert await heads(conn) == {"g": second if rolled_back else third}


async def test_producers_in_a_tangle(dsn: str) -> None:
    """Transactions that join many lines, in orders of their own and all at once, end without a deadlock."""

    async def produce(keys: list[str]) -> None:
        async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as conn:
            for _ in range(10):
                async with conn.transaction(force_rollback=True):
                    await conn.execute(
                        "insert into fastq.line (shard, pos, queue, group_key, task)"
                        " select 0, nextval('fastq.pos'), 'q', g, 't' from unnest(%s::text[]) g",
                        [keys],
                    )
                    await carry_out(conn, ordered.begin(shard=0, lines=[("q", key) for key in keys]))

    groups = [f"g{n}" for n in range(20)]
    await asyncio.gather(*(produce(groups[n:] + groups[:n]) for n in range(0, 20, 4)), produce(groups[::-1]))


async def test_a_frozen_snapshot_gives_no_line_up(conn: Conn, other: Conn) -> None:
    """A cancellation in repeatable read, which cannot see who joined since, leaves the line to the leader."""
    first = await join(conn)
    async with other.transaction():
        await other.execute("set transaction isolation level repeatable read")
        await other.execute("select from fastq.head")
        second = await join(conn)
        await other.execute("select fastq.cancel(%s)", [first])
    assert await heads(conn) == {"g": None}
    assert await ordered.advance_idle(conn, shard=0) == 1
    assert await heads(conn) == {"g": second}


async def work(dsn: str, who: int, groups: list[str], ran: list[int], left: set[int]) -> None:
    """Claim, and let jobs succeed, go back, wait for a retry or fail, until all jobs are through."""
    async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as conn:
        turn = who
        while left:
            turn += 1
            await upkeep.promote(conn, shard=0)
            await ordered.advance_idle(conn, shard=0)
            got = await take_groups(conn, who, groups)
            ends = []
            for ordinal, job in enumerate(ids_of(got)):
                match (turn + ordinal) % 5:
                    case 0:
                        ends.append(back(got.lease, ordinal, meta=META))
                    case 1:
                        ends.append(later(got.lease, ordinal, meta=META))
                    case end:
                        ran.append(job)
                        left.discard(job)
                        ends.append(failed(got.lease, ordinal, meta=META) if end == 2 else done(got, ordinal))
            await check(conn)
            if ends:
                assert len(await settle(conn, who, *ends)) == len(ends)


async def test_a_crowd(conn: Conn, dsn: str) -> None:
    """With producers, some of whom roll back, and workers all at once: each job runs once, a producer's in order."""
    groups, ran, left = list("abc"), [], set()
    made: dict[tuple[int, str], list[int]] = {}

    async def produce(number: int) -> None:
        async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as mine:
            for n in range(20):
                async with mine.transaction(force_rollback=n % 4 == 3):
                    jobs = [(group, await join(mine, group)) for group in sorted(groups[: 1 + n % 3])]
                for group, job in jobs if n % 4 != 3 else ():
                    made.setdefault((number, group), []).append(job)
                    if job not in ran:
                        left.add(job)

    sentinel = -1
    left.add(sentinel)
    workers = [await hire(conn) for _ in range(3)]
    working = [asyncio.create_task(work(dsn, who, groups, ran, left)) for who in workers]
    await asyncio.gather(*(produce(number) for number in range(4)))
    left.discard(sentinel)
    await asyncio.wait_for(asyncio.gather(*working), 60)
    assert sorted(ran) == sorted(job for jobs in made.values() for job in jobs)
    places = {job: place for place, job in enumerate(ran)}
    for jobs in made.values():
        assert sorted(jobs, key=places.__getitem__) == jobs
    await ordered.advance_idle(conn, shard=0)
    assert await heads(conn) == {}
