"""Moving scheduled jobs whose time has come into ready."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator

import psycopg
import pytest
from scene import DEADLINE_S, Conn, ask, hire, ids_of, jobs_of, past_the_door, states, take, until_blocked

from fastq.postgres.link import Link
from fastq.protocol import upkeep
from fastq.protocol.shards import Shards
from fastq.sql import BY_INDEX, text_of
from fastq.steward.duty import Duties
from fastq.steward.leader import Leader
from fastq.steward.promoter import Promoter

pytestmark = pytest.mark.protocol


async def schedule(conn: Conn, job: int, in_s: float, *, reason: str = "scheduled", shard: int = 0) -> None:
    """Insert a scheduled job by raw SQL."""
    await conn.execute(
        "insert into fastq.scheduled (shard, id, run_at, reason, task) values"
        " (%s, %s, now() + %s * interval '1 second', %s, 't')",
        (shard, job, in_s, reason),
    )


async def test_due_jobs_in_due_order(conn: Conn) -> None:
    """Jobs are put into line in the order of their times, whatever their ids."""
    for job, in_s in ((1, -1), (2, -3), (3, -2)):
        await schedule(conn, job, in_s)
    assert (await upkeep.promote(conn, shard=0)).jobs == 3
    assert ids_of(await take(conn, await hire(conn))) == [2, 3, 1]


async def test_not_yet_due_stays(conn: Conn) -> None:
    """A job whose time has not come, or that is reserved, or of another shard, is left alone."""
    await schedule(conn, 1, 60)
    await schedule(conn, 2, -60, reason="reserved")
    await schedule(conn, 3, -60, shard=1)
    done = await upkeep.promote(conn, shard=0)
    assert done.jobs == 0
    assert await states(conn) == {1: "scheduled", 2: "reserved", 3: "scheduled"}


async def test_when_the_next_one_is_due(conn: Conn) -> None:
    """`next_due_s` counts to the earliest job that waits, and is None when none does; reserved ones don't count."""
    assert (await upkeep.promote(conn, shard=0)).next_due_s is None
    await schedule(conn, 1, 5, reason="reserved")
    assert (await upkeep.promote(conn, shard=0)).next_due_s is None
    await schedule(conn, 2, 600)
    await schedule(conn, 3, 300)
    async with conn.transaction():
        due_s = (await upkeep.promote(conn, shard=0)).next_due_s
    assert due_s is not None
    assert 290 < due_s <= 300


async def test_limit(conn: Conn) -> None:
    """At most `limit` jobs move at once, the longest due first; the rest with the next call."""
    for job in range(1, 6):
        await schedule(conn, job, -job)
    assert (await upkeep.promote(conn, shard=0, limit=2)).jobs == 2
    assert {job for job, state in (await states(conn)).items() if state == "ready"} == {4, 5}
    assert [(await upkeep.promote(conn, shard=0, limit=2)).jobs for _ in range(3)] == [2, 1, 0]


async def test_everything_is_carried_along(conn: Conn) -> None:
    """A promoted job is as it was scheduled, in the head segment."""
    await conn.execute("update fastq.ring set head = 1")
    await conn.execute(
        "insert into fastq.scheduled (shard, id, run_at, reason, priority, attempt, enqueued_ms, queue, group_key,"
        " task, payload, meta)"
        " values (0, 77, now(), 'retrying', 2, 3, 456, 'mail', 'g', 'tt', '{ \"a\":1e999}', '{\"x\":1}')"
    )
    await upkeep.promote(conn, shard=0)
    columns = "segment, id, priority, attempt, enqueued_ms, queue, group_key, task, payload::text, meta::text"
    assert await ask(conn, f"select {columns} from fastq.ready") == [
        (1, 77, 2, 3, 456, "mail", "g", "tt", '{ "a":1e999}', '{"x":1}')
    ]


async def test_concurrent_promoters_never_duplicate(conn: Conn, other: Conn, third: Conn) -> None:
    """Several stewards at once move every job once."""
    await conn.execute(
        "insert into fastq.scheduled (shard, id, run_at, task) select 0, n, now() - n * interval '1 ms', 't'"
        " from generate_series(1, 1000) n"
    )

    async def promote(own: Conn, limit: int) -> int:
        moved = 0
        while jobs := (await upkeep.promote(own, shard=0, limit=limit)).jobs:
            moved += jobs
        return moved

    shares = await asyncio.gather(promote(conn, 17), promote(other, 23), promote(third, 100))
    assert sum(shares) + await promote(conn, 1000) == 1000
    assert list((await states(conn)).values()) == ["ready"] * 1000


async def test_a_promoter_passes_by_what_another_holds(conn: Conn, other: Conn) -> None:
    """Jobs in another's open transaction are skipped; rolled back, they are promoted the next time."""
    await schedule(conn, 1, -2)
    await schedule(conn, 2, -1)
    await conn.execute("set lock_timeout = '10s'")  # whoever waits here waits for ever
    async with other.transaction(force_rollback=True):
        assert (await upkeep.promote(other, shard=0, limit=1)).jobs == 1
        assert (await upkeep.promote(conn, shard=0)).jobs == 1
    assert await states(conn) == {1: "scheduled", 2: "ready"}
    assert (await upkeep.promote(conn, shard=0)).jobs == 1


async def test_promoted_behind_every_mark(conn: Conn) -> None:
    """A promoted job's position is beyond all that were taken, so that low marks do not hide it."""
    await schedule(conn, 1, -1)
    await conn.execute("insert into fastq.ready_0 (task) select 't' from generate_series(1, 10)")
    who = await hire(conn)
    low = (await take(conn, who)).hi
    await upkeep.promote(conn, shard=0)
    assert [row[5] for row in jobs_of(await take(conn, who, low=low))] == [1]


async def test_prune(conn: Conn, other: Conn) -> None:
    """Kept jobs go when their time is over, up to the limit, each to one pruner; those kept for ever stay."""
    await conn.execute(
        "insert into fastq.finished (shard, id, state, priority, attempt, enqueued_ms, queue, group_key, task,"
        " expires_at)"
        " select 0, n, 'failed', 4, 1, 0, 'q', '', 't', now() + case when n > 7 then null when n > 5 then"
        " interval '1 h' else interval '-1 h' end from generate_series(1, 10) n"
    )
    async with other.transaction():
        assert await upkeep.prune(other, shard=0, limit=2) == 2
        assert await upkeep.prune(conn, shard=0) == 3
    assert await upkeep.prune(conn, shard=0) == 0
    assert set(await states(conn)) == {6, 7, 8, 9, 10}


async def test_pruning_waits_for_nobody(conn: Conn, other: Conn) -> None:
    """A row that somebody holds is left for the next time, which finds it changed."""
    await conn.execute(
        "insert into fastq.finished (shard, id, state, priority, attempt, enqueued_ms, queue, group_key, task,"
        " expires_at)"
        " values (0, 1, 'failed', 4, 1, 0, 'q', '', 't', now())"
    )
    async with other.transaction():
        await other.execute("update fastq.finished set expires_at = null")
        assert await upkeep.prune(conn, shard=0) == 0
    assert await upkeep.prune(conn, shard=0) == 0
    assert await states(conn) == {1: "failed"}


async def test_somebody_who_postpones_a_job_wins(conn: Conn, other: Conn, third: Conn) -> None:
    """A job whose time is moved while promotion is at it is either promoted or postponed, never both."""
    await schedule(conn, 1, -1)
    async with other.transaction():
        assert (await upkeep.promote(other, shard=0)).jobs == 1
        postponing = asyncio.create_task(third.execute("update fastq.scheduled set run_at = now() + interval '1 h'"))
        await until_blocked(conn, third)
    assert (await postponing).rowcount == 0
    assert await states(conn) == {1: "ready"}


async def test_from_the_mark_on(conn: Conn) -> None:
    """What is due behind the mark waits for a look from the beginning; the mark stays a second behind the clock."""
    await schedule(conn, 1, -60)
    await schedule(conn, 2, -2)
    first = await upkeep.promote(conn, shard=0, limit=1)
    assert await states(conn) == {1: "ready", 2: "scheduled"}
    assert await ask(conn, "select now() - %s::timestamptz > interval '60 s'", first.mark) == [(True,)]
    rest = await upkeep.promote(conn, shard=0, since=first.mark)
    assert rest.jobs == 1
    query = "select %s::timestamptz between %s::timestamptz + interval '30 s' and now() - interval '1 s'"
    assert await ask(conn, query, rest.mark, first.mark) == [(True,)]
    await schedule(conn, 3, -60)
    await schedule(conn, 4, -1)
    assert (await upkeep.promote(conn, shard=0, since=rest.mark)).jobs == 1
    assert (await states(conn))[3] == "scheduled"
    assert (await upkeep.promote(conn, shard=0)).jobs == 1


@pytest.fixture
async def promoter(dsn: str) -> AsyncIterator[Promoter]:
    """Give the promoter of one shard."""
    link = Link(dsn, "fastq test")
    yield Promoter(link, Leader(link, holder="here"), shards=Shards(1))
    await link.close()


async def test_the_leader_looks_from_the_beginning_again(conn: Conn, promoter: Promoter) -> None:
    """A job committed long after its time, behind the mark, is promoted soon all the same."""
    await schedule(conn, 1, -1)
    await promoter.step()
    await schedule(conn, 2, -3600)
    async with asyncio.timeout(DEADLINE_S):
        while (await states(conn))[2] != "ready":
            await promoter.step()


async def test_what_vacuum_cannot_remove_is_not_walked_again(conn: Conn, other: Conn, promoter: Promoter) -> None:
    """While a transaction pins the horizon, a look from the mark on reads few pages, one from the beginning many."""
    await conn.execute("alter table fastq.scheduled set (autovacuum_enabled = off)")
    await conn.execute(
        "insert into fastq.scheduled (shard, id, run_at, task)"
        " select 0, n, now() - interval '1 hour' + n * interval '1 ms', 't' from generate_series(1, 20000) n"
    )
    async with other.transaction():
        await other.execute("set transaction isolation level repeatable read")
        await other.execute("select count(*) from fastq.ready")
        while (done := await upkeep.promote(conn, shard=0)).jobs:
            pass

        async def pages(since: str) -> int:
            text = text_of("promote_due_jobs").replace("%(shard)s", "0").replace("%(limit)s", "100")
            text = text.replace("%(since)s", f"'{since}'")
            await conn.execute(BY_INDEX)
            ((found,),) = await ask(conn, f"explain (analyze, buffers, format json) {text}")
            return int(found[0]["Plan"]["Shared Hit Blocks"] + found[0]["Plan"]["Shared Read Blocks"])

        assert await pages(done.mark) * 20 < await pages("-infinity")
    await conn.execute("alter table fastq.scheduled reset (autovacuum_enabled)")


# -- what strangers have put there


@pytest.mark.parametrize("when", ["infinity", "22000-01-01", "294000-01-01"])
async def test_what_is_never_due_keeps_nobody_waiting(conn: Conn, when: str) -> None:
    """Before version 17 PostgreSQL subtracts nothing from infinity: the next look is within a day."""
    async with past_the_door(conn, "scheduled"):
        await conn.execute("insert into fastq.scheduled (shard, id, run_at, task) values (0, 1, %s, 't')", [when])
    done = await upkeep.promote(conn, shard=0)
    assert done.jobs == 0
    assert done.next_due_s == 86400
    await schedule(conn, 2, -1)
    assert (await upkeep.promote(conn, shard=0)).jobs == 1
    assert await states(conn) == {1: "scheduled", 2: "ready"}


async def test_what_was_always_due_is_promoted(conn: Conn) -> None:
    """A time before all others is over."""
    async with past_the_door(conn, "scheduled"):
        await conn.execute("insert into fastq.scheduled (shard, id, run_at, task) values (0, 1, '-infinity', 't')")
    assert (await upkeep.promote(conn, shard=0)).jobs == 1
    assert (await upkeep.promote(conn, shard=0)).jobs == 0


async def test_a_due_job_that_is_refused_is_kept_as_failed(conn: Conn) -> None:
    """Those before and behind it are promoted; a constraint of the table of ready jobs refuses this one."""
    for job in range(1, 8):
        await schedule(conn, job, job - 10)
    await conn.execute("update fastq.scheduled set task = 'bad' where id = 4")
    await conn.execute("alter table fastq.ready add constraint refuse check (task <> 'bad') not valid")
    try:
        while (await upkeep.promote(conn, shard=0, limit=100)).jobs:
            pass
    finally:
        await conn.execute("alter table fastq.ready drop constraint refuse")
    assert await states(conn) == {**dict.fromkeys(range(1, 8), "ready"), 4: "failed"}
    ((message,),) = await ask(conn, "select meta->'errors'->0->>'message' from fastq.finished")
    assert message.startswith("due, and could not be put into line: new row for relation")


async def test_a_duty_that_a_row_makes_fail_is_tried_again(caplog: pytest.LogCaptureFixture) -> None:
    """The steward does not end for it, and its other duties go on; what no row can do ends it loudly."""
    tries: list[Exception] = [psycopg.DataError("1"), TypeError("2"), psycopg.errors.StatementTooComplex("3")]

    class Sweeper:
        async def run(self) -> None:
            if tries:
                raise tries.pop(0)

    duties = Duties(again_s=0.001)
    with caplog.at_level(logging.ERROR):
        await duties.keep_up(Sweeper())
    assert len(caplog.records) == 3
    assert duties.failing == ["sweeper failed: StatementTooComplex: 3"]
    tries.append(psycopg.errors.InsufficientPrivilege("no"))
    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        await duties.keep_up(Sweeper())
