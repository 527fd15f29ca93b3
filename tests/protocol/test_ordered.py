"""Ordered groups: one job of a line at a time, whatever becomes of it, and what people do to it."""

from __future__ import annotations

from typing import Any

import pytest
from ordered_groups import BLOCK, META, blocked, check, claim, done, heads, join, settle
from scene import Conn, ask, back, failed, hire, ids_of, later, states

from fastq.protocol import upkeep
from fastq.states import JobState

pytestmark = pytest.mark.protocol


async def test_only_the_head_is_ready(conn: Conn) -> None:
    """The first job of a group is ready, the others wait; other groups and other queues do not matter."""
    jobs = [await join(conn), await join(conn), await join(conn, "h"), await join(conn, queue="mail")]
    assert await states(conn) == dict(zip(jobs, ["ready", "waiting", "ready", "ready"], strict=True))
    assert await ask(conn, "select group_key, job from fastq.head order by job") == [
        ("g", jobs[0]),
        ("h", jobs[2]),
        ("g", jobs[3]),
    ]


async def test_one_after_the_other(conn: Conn) -> None:
    """Each success brings the next one up, in the order of enqueueing; at the end nothing is left of the line."""
    jobs = [await join(conn) for _ in range(4)]
    who, ran = await hire(conn), []
    while ids := ids_of(got := await claim(conn, who)):
        assert len(ids) == 1
        ran += ids
        await check(conn)
        assert await settle(conn, who, done(got)) == {(got.lease, 0)}
    assert ran == jobs
    assert await heads(conn) == {}
    assert await states(conn) == {}


async def test_a_new_job_after_the_line_ran_empty(conn: Conn) -> None:
    """A group that was idle begins anew; it cost nothing meanwhile."""
    who = await hire(conn)
    for _ in range(2):
        job = await join(conn)
        got = await claim(conn, who)
        assert ids_of(got) == [job]
        await settle(conn, who, done(got))
        assert await ask(conn, "select from fastq.head") == await ask(conn, "select from fastq.line") == []


@pytest.mark.parametrize("settlement", [back, later], ids=["returned", "retried"])
async def test_the_head_keeps_its_place(conn: Conn, settlement: Any) -> None:
    """A job that goes back, or waits for its retry, stays the head; its successors wait for it."""
    first, second = await join(conn), await join(conn)
    who = await hire(conn)
    got = await claim(conn, who)
    await settle(conn, who, settlement(got.lease, meta=META))
    assert await heads(conn) == {"g": first}
    await upkeep.promote(conn, shard=0)
    again = await claim(conn, who)
    assert ids_of(again) == [first]
    await settle(conn, who, done(again))
    assert await heads(conn) == {"g": second}


@pytest.mark.parametrize("state", [JobState.FAILED, JobState.DISCARDED, JobState.CANCELLED, JobState.SUCCEEDED])
async def test_a_head_that_is_kept(conn: Conn, state: JobState) -> None:
    """The line goes on, however its head ended."""
    first, second = await join(conn), await join(conn)
    who = await hire(conn)
    got = await claim(conn, who)
    await settle(conn, who, failed(got.lease, state=state, meta=META))
    assert await states(conn) == {first: state.value, second: "ready"}
    assert await heads(conn) == {"g": second}


async def test_a_blocked_line_goes_on_when_its_head_is_retried(conn: Conn) -> None:
    """The failed job runs again before the others."""
    who, first, second = await blocked(conn)
    await conn.execute("select fastq.retry(%s)", [first])
    got = await claim(conn, who)
    assert ids_of(got) == [first]
    await settle(conn, who, done(got, meta=BLOCK))
    assert await heads(conn) == {"g": second}


@pytest.mark.parametrize("query", ["select fastq.delete({0})", "select fastq.delete_jobs(array['failed'])"])
async def test_a_blocked_line_goes_on_when_its_head_is_deleted(conn: Conn, query: str) -> None:
    """Without the failed job there is nothing to wait for."""
    _, first, second = await blocked(conn)
    await conn.execute(query.format(first).encode())
    assert await heads(conn) == {"g": second}
    assert await states(conn) == {second: "ready"}


async def test_only_failures_block(conn: Conn) -> None:
    """A discarded or cancelled job was ended on purpose."""
    first, second = await join(conn, on_dead="block"), await join(conn)
    who = await hire(conn)
    got = await claim(conn, who)
    await settle(conn, who, failed(got.lease, state=JobState.DISCARDED, meta=BLOCK))
    assert await states(conn) == {first: "discarded", second: "ready"}


# -- steering


@pytest.mark.parametrize("bulk", [False, True])
@pytest.mark.parametrize("verb", ["cancel", "delete"])
async def test_steering_the_head(conn: Conn, verb: str, *, bulk: bool) -> None:
    """When the head is cancelled or deleted while it waits, the next one comes up."""
    first, second = await join(conn), await join(conn, queue="default")
    await conn.execute(
        (
            f"select fastq.{verb}_jobs(most => 1, states => '{{ready}}')" if bulk else f"select fastq.{verb}({first})"
        ).encode()
    )
    assert await heads(conn) == {"g": second}
    assert (await states(conn))[second] == "ready"


@pytest.mark.parametrize("bulk", [False, True])
@pytest.mark.parametrize("verb", ["cancel", "delete"])
async def test_steering_one_that_waits(conn: Conn, verb: str, *, bulk: bool) -> None:
    """A job in the line is cancelled or deleted there; the others close ranks."""
    first, second, third = [await join(conn) for _ in range(3)]
    await conn.execute(
        (
            f"select fastq.{verb}_jobs(most => 1, states => '{{waiting}}')"
            if bulk
            else f"select fastq.{verb}({second})"
        ).encode()
    )
    assert await states(conn) == {first: "ready", third: "waiting"} | (
        {second: "cancelled"} if verb == "cancel" else {}
    )
    assert await heads(conn) == {"g": first}


async def test_a_purge_leaves_nothing(conn: Conn) -> None:
    """The line goes before its head, so that nothing comes up; a running job stays."""
    jobs = [await join(conn, group) for group in "aabb"]
    who = await hire(conn)
    await claim(conn, who, "a")
    ((purged,),) = await ask(conn, "select fastq.purge('default')")
    assert purged == 3
    assert await states(conn) == {jobs[0]: "running"}
    assert await heads(conn) == {"a": jobs[0]}


async def test_a_skipped_job_that_is_retried(conn: Conn) -> None:
    """It stands where its id stands: before all that wait, after the one that is on its way."""
    first, second, third = [await join(conn) for _ in range(3)]
    who = await hire(conn)
    got = await claim(conn, who)
    await settle(conn, who, failed(got.lease, meta=META))
    await conn.execute("select fastq.retry(%s)", [first])
    assert await states(conn) == {first: "waiting", second: "ready", third: "waiting"}
    ran = []
    while ids := ids_of(got := await claim(conn, who)):
        ran += ids
        await settle(conn, who, done(got))
    assert ran == [second, first, third]


async def test_retries_in_bulk(conn: Conn) -> None:
    """Kept jobs of one line come back one after the other."""
    jobs = [await join(conn) for _ in range(3)]
    await conn.execute("select fastq.cancel_jobs()")
    assert set((await states(conn)).values()) == {"cancelled"}
    assert await heads(conn) == {}
    assert await ask(conn, "select fastq.retry_jobs()") == [(3,)]
    assert await states(conn) == dict(zip(jobs, ["ready", "waiting", "waiting"], strict=True))


async def test_one_that_waits_is_found(conn: Conn) -> None:
    """By its id, with its state and its group."""
    await join(conn)
    second = await join(conn)
    assert await ask(conn, "select state, group_key from fastq.find(%s)", second) == [("waiting", "g")]


# -- times, headers, keys


async def test_a_head_with_a_time_to_wait_for(conn: Conn) -> None:
    """A delayed job has its place from the start; once it is the head, the group waits for its time."""
    first, second = await join(conn), await join(conn, delay="1 hour")
    third = await join(conn)
    who = await hire(conn)
    await settle(conn, who, done(await claim(conn, who)))
    assert await states(conn) == {second: "scheduled", third: "waiting"}
    assert await heads(conn) == {"g": second}
    assert first < second


async def test_headers_that_json_functions_refuse(conn: Conn) -> None:
    """A \\u0000 in a header hides neither the order nor its end."""
    jobs = [await join(conn, headers='{"x": "a\\u0000b"}', on_dead="block") for _ in range(2)]
    assert await ask(conn, "select fastq.ordered_of(meta) from fastq.job") == [("block",), ("block",)]
    await conn.execute("select fastq.cancel(%s)", [jobs[0]])
    assert (await states(conn))[jobs[1]] == "ready"


async def test_ordered_and_unique(conn: Conn) -> None:
    """A duplicate joins no line; a key is free when its job has ended, and lines go on."""
    first = await join(conn, unique_key="k")
    assert await join(conn, unique_key="k") == first
    second = await join(conn)
    who = await hire(conn)
    got = await claim(conn, who)
    await settle(conn, who, done(got, meta={"unique": ["k", "finished"], **META}))
    assert await ask(conn, "select from fastq.unique_key") == []
    assert await heads(conn) == {"g": second}
