"""Shards: where jobs go, and what holds them together while shards are added."""

from __future__ import annotations

import asyncio
from collections import Counter
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from scene import Conn, hire, until_blocked

import fastq
from fastq.client import fate
from fastq.client.writing import layout_seen, layout_seen_sync
from fastq.host.board import Board
from fastq.job import JobSpec, Options
from fastq.postgres.link import Link
from fastq.protocol import claim, discover, limits, reserve, upkeep, worker
from fastq.protocol.asking import carry_out
from fastq.protocol.claim import Lane
from fastq.protocol.shards import Layout, Shards, read_layout, tie_of
from fastq.schema import migrator
from fastq.sql import statement
from fastq.steward.listener import shards_in
from fastq.steward.pruner import Pruner

pytestmark = pytest.mark.protocol
Db = psycopg.Connection[Any]
TIES = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), min_size=1, max_size=40)


def grow(db: Db, shards: int) -> None:
    """Add shards, as `fastq migrate --shards` does."""
    migrator.set_shards(db, shards)


def app_of(dsn: str) -> tuple[fastq.App, Any]:
    """Return an app and a task of its."""
    app = fastq.App(dsn)

    @app.task(name="t")
    async def t(n: int = 0) -> None: ...

    return app, t


def places(db: Db) -> dict[int, int]:
    """Return the shards of all jobs that wait, by their ids."""
    return dict(
        db.execute(
            "select coalesce(id, pos), shard from fastq.ready union all select id, shard from fastq.scheduled"
            " union all select pos, shard from fastq.line"
        ).fetchall()
    )


# -- ties


@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(tie=TIES, keyed=st.integers(1, 1024))
def test_producers_and_the_database_reckon_alike(db: Db, tie: str, keyed: int) -> None:
    """A key has one shard, whoever asks."""
    row = db.execute("select fastq.shard_of(%s, %s)", [tie, keyed]).fetchone()
    assert row == (Layout(keyed, keyed).of(tie),)


@pytest.mark.parametrize(
    ("options", "tie"),
    [
        (Options(), None),
        (Options(group_key="g"), None),
        (Options(unique_key="k", group_key="g"), "k"),
        (Options(queue="q", group_key="g", ordered=True, unique_key="k"), "q\ng"),
    ],
)
def test_what_ties_a_job(db: Db, options: Options, tie: str | None) -> None:
    """A fair group does not; an ordered one comes before the key."""
    assert tie_of(options) == tie
    meta = options.meta().decode() or None
    assert db.execute("select fastq.tie_of(%s, %s, %s::json)", [options.queue, options.group_key, meta]).fetchone() == (
        tie,
    )


def test_without_ties_all_shards_are_used_at_once(db: Db) -> None:
    """Also for what is tied from then on."""
    grow(db, 4)
    assert db.execute("select fastq.shards(), fastq.keyed_shards()").fetchone() == (4, 4)
    grow(db, 4)
    with pytest.raises(fastq.UsageError, match="can only grow"):
        grow(db, 3)


@pytest.mark.parametrize("options", [Options(unique_key="k"), Options(group_key="g", ordered=True)])
async def test_while_jobs_are_tied_others_follow_them(dsn: str, db: Db, options: Options) -> None:
    """They would not be found elsewhere; when the last one has gone the leader spreads them."""
    app, _ = app_of(dsn)
    async with app:
        held = await app.enqueue(JobSpec("t", {"n": 1}, options))
        grow(db, 8)
        assert db.execute("select fastq.keyed_shards()").fetchone() == (1,)
        other = await app.enqueue(JobSpec("t", {"n": 1}, options))
        assert places(db)[other.id] == 0
        assert options.unique_key is None or other.id == held.id
    link = Link(dsn, "fastq test")
    pruner = Pruner(link, None, shards=Shards(8))  # type: ignore[arg-type]
    try:
        await pruner.step()
        assert db.execute("select fastq.keyed_shards()").fetchone() == (1,)
        db.execute("select fastq.delete(j) from unnest(%s::int8[]) j", [list(places(db))])
        await pruner.step()
        assert db.execute("select fastq.keyed_shards()").fetchone() == (8,)
    finally:
        await link.close()


async def test_spreading_waits_for_nobody_for_long(db: Db, conn: Conn) -> None:
    """A producer is just taking a key: it is left to the next time."""
    grow(db, 4)
    db.execute("delete from fastq.setting where name = 'keyed_shards'")
    async with conn.transaction():
        await conn.execute("select fastq.enqueue('t', unique_key => 'k')")
        assert db.execute("select fastq.spread_ties()").fetchone() == (False,)
    assert db.execute("select fastq.keyed_shards()").fetchone() == (1,)


async def test_a_producer_that_is_just_too_late_is_refused(db: Db, conn: Conn, other: Conn) -> None:
    """It waits for the one that spreads, and then sees what it did."""
    grow(db, 4)
    db.execute("delete from fastq.setting where name = 'keyed_shards'")
    line = "\tk\tfinished\t\t\tq\t4\tt\t\t" + '{"unique":["k","finished"]}' + "\t{}"
    assert Layout(4, 4).of("k") != 0
    async with other.transaction():
        assert await (await other.execute("select fastq.spread_ties()")).fetchone() == (True,)
        late = asyncio.create_task(conn.execute("select * from fastq.put_lines(0, %s)", [line]))
        await until_blocked(other, conn)
    with pytest.raises(psycopg.Error) as refused:
        await late
    assert refused.value.sqlstate == "FQ001"
    assert isinstance(fate.of(refused.value), fate.ShardsChanged)
    assert places(db) == {}


@pytest.mark.parametrize("how", ["unique", "ordered", "reserved", "in_sql"])
async def test_one_that_has_an_old_number_in_mind_asks_again(dsn: str, db: Db, how: str) -> None:
    """It is told that nothing was enqueued, learns how many there are, and enqueues."""
    app, t = app_of(dsn)
    async with app:
        await t.enqueue()  # learns that there is one
        grow(db, 16)
        if how == "unique":
            ids = [(await t.options(unique_key=f"k{n}").enqueue()).id for n in range(8)]
            wanted = [Layout(16, 16).of(f"k{n}") for n in range(8)]
        elif how == "ordered":
            ids = [(await t.options(group_key=f"k{n}", ordered=True).enqueue()).id for n in range(8)]
            wanted = [Layout(16, 16).of(f"default\nk{n}") for n in range(8)]
        elif how == "reserved":
            ids = [(await app.reserve(t.options(unique_key=f"k{n}").job())).id for n in range(8)]
            wanted = [Layout(16, 16).of(f"k{n}") for n in range(8)]
        else:
            rows = db.execute(
                "select fastq.enqueue('t', unique_key => 'k' || n) from generate_series(0, 7) n"
            ).fetchall()
            ids, wanted = [id_ for (id_,) in rows], [Layout(16, 16).of(f"k{n}") for n in range(8)]
    found = places(db)
    assert [found[id_] for id_ in ids] == wanted
    assert len(set(wanted)) > 3


async def test_a_stale_snapshot_does_not_help_a_producer(db: Db, conn: Conn) -> None:
    """In its old snapshot there is one shard; what it enqueues would stand where nobody looks."""
    grow(db, 4)
    db.execute("delete from fastq.setting where name = 'keyed_shards'")
    await conn.set_isolation_level(psycopg.IsolationLevel.REPEATABLE_READ)
    await conn.set_autocommit(False)
    await conn.execute("select 1 from fastq.setting")
    db.execute("select fastq.spread_ties()")
    with pytest.raises(psycopg.errors.SerializationFailure):
        await conn.execute("select fastq.enqueue('t', unique_key => 'k')")
    await conn.rollback()
    assert places(db) == {}


async def test_a_stream_sends_its_ties_to_their_shards(dsn: str, db: Db) -> None:
    """All others stand together, in one shard."""
    grow(db, 8)
    app, t = app_of(dsn)
    jobs = [t.options(unique_key=f"k{n}").job(n=n) if n % 2 else t.job(n=n) for n in range(40)]
    async with app:
        ids = list(await app.enqueue_many(jobs))
        again = await app.enqueue_many(jobs)
    found = places(db)
    assert [found[id_] for id_ in ids[1::2]] == [Layout(8, 8).of(f"k{n}") for n in range(1, 40, 2)]
    plain = {found.get(id_) for id_ in ids[::2]} - {None}
    assert len(plain) == 1
    assert list(again.duplicates) == list(range(1, 40, 2))


async def test_streams_take_turns(dsn: str, db: Db) -> None:
    """Each goes to another shard than the one before."""
    grow(db, 4)
    app, t = app_of(dsn)
    async with app:
        for _ in range(8):
            await app.enqueue_many(t.job(n=n) for n in range(600))
    counts = Counter(
        dict(db.execute("select shard, sum(coalesce(jobs, 1))::int from fastq.ready group by 1").fetchall())
    )
    assert counts == dict.fromkeys(range(4), 1200)


async def test_a_role_that_may_not_look_uses_the_first_shard(dsn: str, db: Db) -> None:
    """As producers of old did; its transaction goes on."""
    grow(db, 4)
    with psycopg.connect(dsn) as theirs:
        theirs.execute("set role pg_monitor")
        assert layout_seen_sync(theirs) == Layout(1, 1)
        assert theirs.execute("select current_user::text").fetchone() == ("pg_monitor",)
    async with await psycopg.AsyncConnection.connect(dsn) as theirs_too:
        await theirs_too.execute("set role pg_monitor")
        assert await layout_seen(theirs_too) == Layout(1, 1)
        assert await (await theirs_too.execute("select current_user::text")).fetchone() == ("pg_monitor",)


def test_a_retried_job_goes_where_its_key_is_looked_for(db: Db) -> None:
    """It failed when there was one shard."""
    failed = db.execute("select fastq.enqueue('t', unique_key => 'k') from generate_series(1, 1)").fetchall()
    db.execute("select fastq.cancel(%s)", failed[0])
    grow(db, 16)
    home = Layout(16, 16).of("k")
    assert home != 0
    assert db.execute("select fastq.retry(%s)", failed[0]).fetchone() == (True,)
    assert places(db) == {failed[0][0]: home}
    assert db.execute("select fastq.enqueue('t', unique_key => 'k')").fetchone() == failed[0]
    db.execute("select fastq.cancel(%s)", failed[0])
    db.execute("update fastq.finished set shard = 3")
    assert db.execute("select fastq.retry_jobs()").fetchone() == (1,)
    assert places(db) == {failed[0][0]: home}


# -- workers and stewards


async def test_a_limit_counts_all_shards(db: Db, conn: Conn) -> None:
    """Whatever shard the running ones are in."""
    grow(db, 4)
    limits.set_queue(db, "q", max_running=3)
    who = await hire(conn, shards=4)
    leases = iter(await claim.take_lease_ids(conn))
    taken = 0
    for shard in range(4):
        db.execute(
            "insert into fastq.ready (segment, shard, queue, task) select 0, %s, 'q', 't' from generate_series(1, 2)",
            [shard],
        )

        async def take(conn: Conn, *, limit: int, acks: list[int], shard: int = shard) -> claim.Claimed:
            lane = Lane(shard, 0, "q", 4, "")
            return await claim.claim(conn, lane=lane, worker=who, lease=next(leases), low=0, limit=limit, acks=acks)

        bounded = await limits.claim_within(
            conn, take, lane=Lane(shard, 0, "q", 4, ""), limit=10, acks=[], shards=range(4)
        )
        taken += len(bounded.claimed.leases)
    assert db.execute("select sum(fastq.jobs_left(l))::int from fastq.lease l").fetchone() == (3,)


async def test_looks_at_many_shards_are_those_at_each(db: Db, conn: Conn) -> None:
    """The same lanes, in one statement."""
    grow(db, 8)
    for shard in (1, 4, 7):
        db.execute(
            "insert into fastq.ready (segment, shard, queue, task) values (0, %s, 'q', 't'), (0, %s, 'r', 't')",
            [shard, shard],
        )
    singly = [
        found for shard in range(8) for found in await discover.discover(conn, shard=shard, queues=[], exclude=[])
    ]
    windows = {shard: discover.Window() for shard in range(8)}
    together = await discover.discover_many(conn, windows=windows, queues=[], exclude=[])
    assert sorted(together) == sorted(singly)
    assert len(together) == 6
    named = await discover.discover_many(conn, windows=windows, queues=["r"], exclude=[])
    beyond = await discover.discover_beyond(conn, shards=[4, 5], queues=["r"], exclude=[], known={})
    assert [lane.shard for lane, _ in sorted(named)] == [1, 4, 7]
    assert [lane.shard for lane, _ in beyond] == [4]


async def test_a_worker_joins_shards_that_were_added(db: Db, conn: Conn) -> None:
    """It is renewed there, and a reaper finds it there; one that was given up does not join."""
    who, gone = await hire(conn), await hire(conn)
    grow(db, 3)
    assert await worker.join(conn, worker=who, since=1, shards=3)
    assert await worker.standing(conn, worker=who, shards=Shards(3)) is worker.Standing.IN_TIME
    assert await worker.standing(conn, worker=gone, shards=Shards(3)) is worker.Standing.GONE
    renewed = await worker.renew_all(conn, shards=Shards(3), workers={who: "{}", gone: "{}"}, lease_s=60)
    assert {one: renewed[one].shards for one in renewed} == {who: 3, gone: 1}
    db.execute("delete from fastq.worker where id = %s", [gone])
    assert not await worker.join(conn, worker=gone, since=1, shards=3)


async def test_due_jobs_of_all_shards(db: Db, conn: Conn) -> None:
    """One look says where jobs are due, and how long the others wait."""
    grow(db, 4)
    db.execute(
        "insert into fastq.scheduled (shard, id, run_at, task) values (1, 1, now(), 't'), (2, 2, now() + '1 hour', 't')"
    )
    due = await upkeep.due_shards(conn, since=dict.fromkeys(range(4), upkeep.FROM_THE_BEGINNING))
    assert due[1] <= 0
    assert 3500 < due[2] <= 3600
    assert due.keys() == {1, 2}


async def test_a_reservation_is_committed_in_whatever_shard(dsn: str, db: Db) -> None:
    """And abandoned."""
    grow(db, 8)
    app, t = app_of(dsn)
    async with app:
        first, second = await app.reserve(t.job()), await app.reserve(t.job(n=2))
        assert await app.commit(first)
        assert await app.abandon(second)
    assert list(places(db)) == [first.id]


def test_what_a_notification_names() -> None:
    """Anybody may have sent it."""
    assert shards_in("3,17") == [3, 17]
    for odd in ("", "x", "3,", "-1", "1024", "99999999999999999999", "²"):
        assert shards_in(odd) == []


def test_a_board_says_where_new_jobs_are() -> None:
    """To each worker what it has not heard yet."""
    board = Board(cells=1, running=1)
    board.stir([3])
    seen, shards = board.stirred(0, 8)
    assert shards == {3}
    board.stir([5])
    board.stir([3, 6])
    assert board.stirred(seen, 8) == (seen + 2, {3, 5, 6})
    board.stir()
    assert board.stirred(seen, 8) == (seen + 3, None)
    assert board.stirred(seen + 3, 8) == (seen + 3, None)


async def test_the_layout_is_read(db: Db, conn: Conn) -> None:
    """Of a database where nothing was said of ties, they are all in the first shard."""
    grow(db, 4)
    assert await carry_out(conn, read_layout()) == Layout(4, 4)
    db.execute("delete from fastq.setting where name = 'keyed_shards'")
    assert await carry_out(conn, read_layout()) == Layout(4, 1)


def test_old_commits_are_looked_for_after_as_many_days_as_they_are_kept() -> None:
    """The look and what it is for say the same number."""
    assert f"interval '{reserve.REMEMBERED_DAYS} days'" in statement("look_prunable")
