"""Ordered groups: one job of a line at a time, whatever becomes of it, and whoever meets whom."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import psycopg
import pytest
from scene import LANE, Conn, ask, back, failed, hire, ids_of, later, states, take, take_groups, until_blocked

from fastq.outcome import after_death
from fastq.protocol import ack, completion, ordered, reap, reserve, upkeep
from fastq.protocol.claim import Claimed
from fastq.protocol.completion import Place
from fastq.settlement import LeasedJob, Settlement
from fastq.states import Goes, JobState

pytestmark = pytest.mark.protocol

META = {"ordered": "skip"}
BLOCK = {"ordered": "block"}


async def join(conn: Conn, group: str = "g", **named: Any) -> int:
    """Enqueue one ordered job from SQL."""
    extra = "".join(f", {name} => %({name})s" for name in named)
    query = f"select fastq.enqueue('t', group_key => %(group)s, ordered => true{extra})"
    ((job,),) = await (await conn.execute(query.encode(), {"group": group, **named})).fetchall()
    return int(job)


async def claim(conn: Conn, who: int, group: str = "g") -> Claimed:
    """Claim what a group has ready."""
    return await take(conn, who, lane=replace(LANE, group_key=group))


def done(claimed: Claimed, ordinal: int = 0, **changes: Any) -> Settlement:
    """Return the settlement of an ordered job that succeeded."""
    return back(claimed.lease, ordinal, **{"goes": Goes.DONE, "meta": META, "attempt": 1, **changes})


async def settle(conn: Conn, who: int, *settlements: Settlement) -> set[tuple[int, int]]:
    """Settle jobs of a worker."""
    return await ack.settle(conn, slot=0, worker=who, settlements=list(settlements))


async def heads(conn: Conn) -> dict[str, int | None]:
    """Return the heads by group, after checking the rules on everything that can be seen."""
    await check(conn)
    return dict(await ask(conn, "select group_key, job from fastq.head"))


async def check(conn: Conn) -> None:
    """Of a line at most one job is on its way, the one that its head names; each job that waits in it has a head."""
    strays = await ask(
        conn,
        "select j.id, j.state from fastq.job j where fastq.ordered_of(j.meta) is not null"
        " and j.state in ('ready', 'running', 'scheduled', 'retrying')"
        " and not exists (select from fastq.head h where h.job = j.id and h.group_key = j.group_key)",
    )
    assert strays == []
    headless = (
        "select l.pos from fastq.line l where not exists (select from fastq.head h"
        " where (h.slot, h.queue, h.group_key) = (l.slot, l.queue, l.group_key))"
    )
    assert await ask(conn, headless) == []


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
    await upkeep.promote(conn, slot=0)
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


# -- a line that blocks


async def blocked(conn: Conn) -> tuple[int, int, int]:
    """Give a worker, a job that failed for good, and the one that waits for it."""
    first, second = await join(conn, on_dead="block"), await join(conn, on_dead="block")
    who = await hire(conn)
    got = await claim(conn, who)
    await settle(conn, who, failed(got.lease, meta=BLOCK))
    await ack.ack(conn, slot=0, worker=who, leases=[got.lease])
    assert await states(conn) == {first: "failed", second: "waiting"}
    assert await heads(conn) == {"g": first}
    return who, first, second


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


# -- crashes


def given_back(job: LeasedJob) -> Settlement:
    """Give a dead worker's job back uncharged."""
    return after_death(job, running=False, cause="SIGKILL")


async def test_a_reaped_head_stays_the_head(conn: Conn) -> None:
    """A job whose worker died goes back to ready and nobody overtakes it."""
    first, second = await join(conn), await join(conn)
    who = await hire(conn)
    await claim(conn, who)
    await reap.reap(conn, slot=0, worker=who, verdict=given_back)
    assert await states(conn) == {first: "ready", second: "waiting"}
    assert await heads(conn) == {"g": first}


async def test_a_late_settlement_of_a_reaped_head(conn: Conn) -> None:
    """The fence refuses it: the line does not go on twice."""
    first, second = await join(conn), await join(conn)
    who = await hire(conn)
    got = await claim(conn, who)
    await reap.reap(conn, slot=0, worker=who, verdict=given_back)
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
    await reap.reap(conn, slot=0, worker=who, verdict=given_back)
    assert await heads(conn) == {"g": second}
    assert await states(conn) == {second: "ready"}


async def test_a_commit_that_the_reaper_waits_for(conn: Conn, other: Conn, third: Conn) -> None:
    """A handler whose worker is being reaped commits in the last moment: its line goes on, once."""
    _, second = await join(conn), await join(conn)
    who = await hire(conn)
    got = await claim(conn, who)
    async with other.transaction():
        assert await completion.hold(other, Place(0, got.lease, 0))
        reaping = asyncio.create_task(reap.reap(conn, slot=0, worker=who, verdict=given_back))
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
        conn, slot=0, worker=who, verdict=lambda job: after_death(job, running=True, cause="x", max_crashes=1)
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
        assert await ordered.advance_idle(conn, slot=0) == 1
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
        assert await ordered.advance_idle(conn, slot=0) == 0
    assert await states(conn) == {job: "waiting"}
    assert await ordered.advance_idle(conn, slot=0) == 1
    assert await states(conn) == {job: "ready"}


async def test_what_was_left_open_for_nothing(conn: Conn, other: Conn) -> None:
    """When the producer rolled back, the leader gives the line up."""
    await join(conn)
    who = await hire(conn)
    got = await claim(conn, who)
    async with other.transaction(force_rollback=True):
        await join(other)
        await settle(conn, who, done(got))
    assert await ordered.advance_idle(conn, slot=0) == 0
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
        assert await ordered.advance_idle(conn, slot=0) == 0
    assert await ordered.advance_idle(conn, slot=0) == 1
    assert await heads(conn) == {"g": second if rolled_back else third}


async def test_producers_in_a_tangle(dsn: str) -> None:
    """Transactions that join many lines, in orders of their own and all at once, end without a deadlock."""

    async def produce(keys: list[str]) -> None:
        async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as conn:
            for _ in range(10):
                async with conn.transaction(force_rollback=True):
                    await conn.execute(
                        "insert into fastq.line (slot, pos, queue, group_key, task)"
                        " select 0, nextval('fastq.pos'), 'q', g, 't' from unnest(%s::text[]) g",
                        [keys],
                    )
                    await ordered.begin(conn, slot=0, lines=[("q", key) for key in keys])

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
    assert await ordered.advance_idle(conn, slot=0) == 1
    assert await heads(conn) == {"g": second}


async def work(dsn: str, who: int, groups: list[str], ran: list[int], left: set[int]) -> None:
    """Claim, and let jobs succeed, go back, wait for a retry or fail, until all jobs are through."""
    async with await psycopg.AsyncConnection.connect(dsn, autocommit=True) as conn:
        turn = who
        while left:
            turn += 1
            await upkeep.promote(conn, slot=0)
            await ordered.advance_idle(conn, slot=0)
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
            for n in range(40):
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
    await ordered.advance_idle(conn, slot=0)
    assert await heads(conn) == {}


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
    assert (await ordered.mend(conn, slot=0)).lines == 1
    assert await ordered.advance_idle(conn, slot=0) == 1
    assert await heads(conn) == {"g": second, **placed}
    assert lost not in await states(conn)


async def test_a_fresh_head_is_left_alone(conn: Conn) -> None:
    """Only what has named its job for a minute is looked at."""
    await join(conn)
    await conn.execute("delete from fastq.ready")
    assert await ordered.mend(conn, slot=0) == ordered.Mended(0, None)


async def test_a_line_that_lost_its_head(conn: Conn) -> None:
    """A line without a row in head gets one, and goes on."""
    jobs = [await join(conn, group) for group in "aabb"]
    await conn.execute("delete from fastq.head; delete from fastq.ready")
    assert (await ordered.mend(conn, slot=0)).lines == 2
    assert await ordered.advance_idle(conn, slot=0) == 2
    assert await heads(conn) == {"a": jobs[1], "b": jobs[3]}


async def test_the_net_in_windows(conn: Conn) -> None:
    """Many lines are looked at in turn, from where the last look ended."""
    for n in range(5):
        await join(conn, f"g{n}")
        await join(conn, f"g{n}")
    await conn.execute("delete from fastq.ready")
    await age(conn)
    first = await ordered.mend(conn, slot=0, limit=3)
    assert first == ordered.Mended(3, ("default", "g2"))
    assert await ordered.mend(conn, slot=0, after=first.after or ("", ""), limit=3) == ordered.Mended(2, None)
    assert await ordered.advance_idle(conn, slot=0) == 5


async def test_a_blocking_job_that_was_pruned(conn: Conn) -> None:
    """When the kept job's time is over, its line goes on."""
    _, first, second = await blocked(conn)
    await conn.execute("update fastq.finished set expires_at = now() - interval '1 s'")
    assert await upkeep.prune(conn, slot=0) == 1
    await age(conn)
    await ordered.mend(conn, slot=0)
    await ordered.advance_idle(conn, slot=0)
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
        assert await reserve.expire(conn, slot=0) == 1
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
    assert await ordered.advance_idle(conn, slot=0) == 1
    assert await states(conn) == {held: "ready"}
