"""Ordered groups: what crashes, repeated settlements and completions leave of a line."""

from __future__ import annotations

import asyncio

import pytest
from ordered_groups import META, claim, done, heads, join, settle
from scene import Conn, back, hire, ids_of, later, states, take_groups, until_blocked

from fastq.ends.ending import Died
from fastq.ends.outcome import conclude
from fastq.ends.settlement import LeasedJob, Settlement
from fastq.protocol import completion, reap
from fastq.protocol.claim import Claimed
from fastq.protocol.completion import Place

pytestmark = pytest.mark.protocol


# -- crashes


def given_back(job: LeasedJob) -> Settlement:
    """Give a dead worker's job back uncharged."""
    return conclude(job, Died(ran=False, cause="SIGKILL"))


async def test_a_reaped_head_stays_the_head(conn: Conn) -> None:
    """A job whose worker died goes back to ready and nobody overtakes it."""
    first, second = await join(conn), await join(conn)
    who = await hire(conn)
    await claim(conn, who)
    await reap.reap(conn, shard=0, worker=who, verdict=given_back)
    assert await states(conn) == {first: "ready", second: "waiting"}
    assert await heads(conn) == {"g": first}


async def test_a_late_settlement_of_a_reaped_head(conn: Conn) -> None:
    """The fence refuses it: the line does not go on twice."""
    first, second = await join(conn), await join(conn)
    who = await hire(conn)
    got = await claim(conn, who)
    await reap.reap(conn, shard=0, worker=who, verdict=given_back)
    assert await settle(conn, who, done(got)) == set()
    assert await heads(conn) == {"g": first}
    assert await states(conn) == {first: "ready", second: "waiting"}


async def test_a_settlement_that_is_sent_twice(conn: Conn) -> None:
    """The second one, whose answer had been lost, finds the job done, and brings nobody up beside its next run."""
    jobs = [await join(conn) for _ in range(3)]
    who = await hire(conn)
    got = await claim(conn, who)
    assert await settle(conn, who, back(got.lease, meta=META)) != set()
    again = await claim(conn, who)
    assert ids_of(again) == jobs[:1]
    assert await settle(conn, who, done(got)) == set()
    assert await heads(conn) == {"g": jobs[0]}


async def complete(conn: Conn, claimed: Claimed, ordinal: int = 0) -> None:
    """Complete a job in a transaction of its own."""
    async with conn.transaction():
        assert await completion.hold(conn, Place(0, claimed.lease, ordinal))
        assert await completion.complete(conn, Place(0, claimed.lease, ordinal))


async def test_a_completion_of_its_own(conn: Conn) -> None:
    """The line goes on when the run that completed has ended, whatever was made of it; not before, and once."""
    first, second, third = [await join(conn) for _ in range(3)]
    who = await hire(conn)
    got = await claim(conn, who)
    await complete(conn, got)
    assert await heads(conn) == {"g": first}
    await settle(conn, who, later(got.lease, meta=META))
    assert await heads(conn) == {"g": second}
    assert await states(conn) == {second: "ready", third: "waiting"}


async def test_a_crash_after_a_completion_of_its_own(conn: Conn) -> None:
    """The reaper lets the line go on, and runs nothing twice."""
    _, second = await join(conn), await join(conn)
    who = await hire(conn)
    got = await claim(conn, who)
    await complete(conn, got)
    await reap.reap(conn, shard=0, worker=who, verdict=given_back)
    assert await heads(conn) == {"g": second}
    assert await states(conn) == {second: "ready"}


async def test_a_commit_that_the_reaper_waits_for(conn: Conn, other: Conn, third: Conn) -> None:
    """A handler whose worker is being reaped commits in the last moment: its line goes on, once."""
    _, second = await join(conn), await join(conn)
    who = await hire(conn)
    got = await claim(conn, who)
    async with other.transaction():
        assert await completion.hold(other, Place(0, got.lease, 0))
        reaping = asyncio.create_task(reap.reap(conn, shard=0, worker=who, verdict=given_back))
        await until_blocked(third, conn)
        assert await completion.complete(other, Place(0, got.lease, 0))
    await reaping
    assert await heads(conn) == {"g": second}
    assert await states(conn) == {second: "ready"}


async def test_a_job_that_died_too_often_ends_and_its_line_goes_on(conn: Conn) -> None:
    """A reap that fails a job for good is its end like any other."""
    first, second = await join(conn), await join(conn)
    who = await hire(conn)
    await claim(conn, who)
    await reap.reap(
        conn, shard=0, worker=who, verdict=lambda job: conclude(job, Died(ran=True, cause="x", max_crashes=1))
    )
    assert await states(conn) == {first: "failed", second: "ready"}
    assert await heads(conn) == {"g": second}


async def test_heads_of_many_lines_in_one_lease(conn: Conn) -> None:
    """Heads are claimed together; each line goes on by itself."""
    firsts = {group: await join(conn, group) for group in "abc"}
    seconds = {group: await join(conn, group) for group in "abc"}
    who = await hire(conn)
    got = await take_groups(conn, who, "abc")
    assert ids_of(got) == list(firsts.values())
    await settle(conn, who, done(got, 0), back(got.lease, 1, meta=META), done(got, 2))
    assert await heads(conn) == {"a": seconds["a"], "b": firsts["b"], "c": seconds["c"]}
