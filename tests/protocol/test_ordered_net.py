"""Ordered groups: what the leader mends, and places that are reserved."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from ordered_groups import BLOCK, META, blocked, claim, done, heads, join, settle
from scene import Conn, ask, failed, hire, ids_of, later, states, until_blocked

from fastq.protocol import ordered, reserve, upkeep

pytestmark = pytest.mark.protocol


# -- the net


async def age(conn: Conn) -> None:
    """Let all heads be old."""
    await conn.execute("update fastq.head set since = now() - interval '1 hour'")


async def test_a_head_that_was_deleted_by_hand(conn: Conn) -> None:
    """A line whose head is nowhere goes on; the others are left alone, wherever their heads stand."""
    lost, second = await join(conn), await join(conn)
    placed = {key: await join(conn, key) for key in ("ready", "running", "scheduled", "blocking")}
    who = await hire(conn)
    await claim(conn, who, "running")
    await settle(conn, who, later((await claim(conn, who, "scheduled")).lease, meta=META, delay_s=60))
    await settle(conn, who, failed((await claim(conn, who, "blocking")).lease, meta=BLOCK))
    await conn.execute("delete from fastq.ready where group_key = 'g'")
    await age(conn)
    assert (await ordered.mend(conn, shard=0)).lines == 1
    assert await ordered.advance_idle(conn, shard=0) == 1
    assert await heads(conn) == {"g": second, **placed}
    assert lost not in await states(conn)


async def test_a_fresh_head_is_left_alone(conn: Conn) -> None:
    """Only what has named its job for a minute is looked at."""
    await join(conn)
    await conn.execute("delete from fastq.ready")
    assert await ordered.mend(conn, shard=0) == ordered.Mended(0, None)


async def test_a_line_that_lost_its_head(conn: Conn) -> None:
    """A line without a row in head gets one, and goes on."""
    jobs = [await join(conn, group) for group in "aabb"]
    await conn.execute("delete from fastq.head; delete from fastq.ready")
    assert (await ordered.mend(conn, shard=0)).lines == 2
    assert await ordered.advance_idle(conn, shard=0) == 2
    assert await heads(conn) == {"a": jobs[1], "b": jobs[3]}


async def test_the_net_in_windows(conn: Conn) -> None:
    """Many lines are looked at in turn, from where the last look ended."""
    for n in range(5):
        await join(conn, f"g{n}")
        await join(conn, f"g{n}")
    await conn.execute("delete from fastq.ready")
    await age(conn)
    first = await ordered.mend(conn, shard=0, limit=3)
    assert first == ordered.Mended(3, ("default", "g2"))
    assert await ordered.mend(conn, shard=0, after=first.after or ("", ""), limit=3) == ordered.Mended(2, None)
    assert await ordered.advance_idle(conn, shard=0) == 5


async def test_a_blocking_job_that_was_pruned(conn: Conn) -> None:
    """When the kept job's time is over, its line goes on."""
    _, first, second = await blocked(conn)
    await conn.execute("update fastq.finished set expires_at = now() - interval '1 s'")
    assert await upkeep.prune(conn, shard=0) == 1
    await age(conn)
    await ordered.mend(conn, shard=0)
    await ordered.advance_idle(conn, shard=0)
    assert await states(conn) == {second: "ready"}
    assert first != second


# -- reserved places


async def hold_place(conn: Conn, **named: Any) -> int:
    """Reserve an ordered job from SQL."""
    extra = "".join(f", {name} => %({name})s" for name in named)
    query = f"select fastq.reserve('t', group_key => 'g', ordered => true{extra})"
    ((job,),) = await (await conn.execute(query.encode(), named)).fetchall()
    return int(job)


async def run(conn: Conn, who: int) -> int:
    """Claim the only job of the group that is ready, let it succeed, and return its id."""
    got = await claim(conn, who)
    (job,) = ids_of(got)
    await settle(conn, who, done(got))
    return int(job)


async def test_a_reserved_place_is_kept(conn: Conn) -> None:
    """Those that were enqueued later wait for the reserved job; it is committed and runs at its place."""
    first, held, third = await join(conn), await hold_place(conn), await join(conn)
    who = await hire(conn)
    assert await run(conn, who) == first
    assert await states(conn) == {held: "reserved", third: "waiting"}
    assert await heads(conn) == {"g": held}
    await conn.execute("select fastq.commit(%s)", [held])
    assert await states(conn) == {held: "ready", third: "waiting"}
    assert [await run(conn, who), await run(conn, who)] == [held, third]
    assert await heads(conn) == {}


async def test_a_place_that_is_committed_early(conn: Conn) -> None:
    """A job that is committed while others are before it waits in the line, with its arguments and its delay."""
    first, held = await join(conn), await hold_place(conn, payload='{"a": 1}', delay="1 hour")
    await conn.execute("select fastq.commit(%s)", [held])
    assert await states(conn) == {first: "ready", held: "waiting"}
    await run(conn, await hire(conn))
    assert await ask(conn, "select state, payload ->> 'a' from fastq.job") == [("scheduled", "1")]
    assert await heads(conn) == {"g": held}


@pytest.mark.parametrize("head", [True, False])
@pytest.mark.parametrize("end", ["abandon", "cancel", "delete", "expire"])
async def test_a_place_that_is_given_up(conn: Conn, end: str, *, head: bool) -> None:
    """When the reservation is abandoned, cancelled, deleted or expires, its place is gone, and the line goes on."""
    held = await hold_place(conn) if head else await join(conn)
    second = await join(conn) if head else await hold_place(conn)
    third = await join(conn)
    gone, left = (held, second) if head else (second, held)
    if end == "expire":
        await conn.execute("update fastq.scheduled set run_at = now() - interval '1 s'")
        assert await reserve.expire(conn, shard=0) == 1
    else:
        await conn.execute(f"select fastq.{end}({gone})".encode())
    found = await states(conn)
    found.pop(gone, None)
    assert found == {left: "ready", third: "waiting"}
    assert await heads(conn) == {"g": left}
    assert await ask(conn, "select pos from fastq.line") == [(third,)]


@pytest.mark.parametrize("rolled_back", [False, True])
async def test_a_commit_while_its_place_comes_up(conn: Conn, other: Conn, third: Conn, *, rolled_back: bool) -> None:
    """A commit waits for a settlement that is just making its job the head, and is right in both cases."""
    first, held = await join(conn), await hold_place(conn)
    who = await hire(conn)
    got = await claim(conn, who)
    async with other.transaction(force_rollback=rolled_back):
        await settle(other, who, done(got))
        committing = asyncio.create_task(ask(conn, "select fastq.commit(%s)", held))
        await until_blocked(third, conn)
    await committing
    assert await heads(conn) == {"g": first if rolled_back else held}
    assert (await states(conn))[held] == ("waiting" if rolled_back else "ready")


async def test_a_head_ends_while_the_next_one_is_being_committed(conn: Conn, other: Conn) -> None:
    """The settlement does not wait for the producer; the leader brings the job up when it is decided."""
    _, held = await join(conn), await hold_place(conn)
    who = await hire(conn)
    got = await claim(conn, who)
    async with other.transaction():
        await other.execute("select fastq.commit(%s)", [held])
        await conn.execute("set lock_timeout = '5s'")
        await settle(conn, who, done(got))
        assert await heads(conn) == {"g": None}
    assert await ordered.advance_idle(conn, shard=0) == 1
    assert await states(conn) == {held: "ready"}


async def test_a_line_that_no_table_takes_keeps_no_other_waiting(conn: Conn) -> None:
    """A line whose next job is refused goes behind the others, which go on; once it is taken, it goes on too."""
    for group in "aabbcc":
        await join(conn, group)
    await conn.execute("delete from fastq.ready; update fastq.head set job = null")
    await conn.execute("create function refuse() returns trigger language plpgsql as $$ begin raise 'no'; end $$")
    await conn.execute(
        "create trigger refuse before insert on fastq.ready"
        " for each row when (new.group_key = 'a') execute function refuse()"
    )
    try:
        assert await ordered.advance_idle(conn, shard=0) == 2
    finally:
        await conn.execute("drop trigger refuse on fastq.ready; drop function refuse()")
    assert await ordered.advance_idle(conn, shard=0) == 1
    assert [group for (group,) in await ask(conn, "select group_key from fastq.ready order by 1")] == ["a", "b", "c"]
