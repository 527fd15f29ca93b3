"""Two-phase enqueue on real connections: reserve, then commit, abandon or expire, also all at once."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import psycopg
import pytest
from psycopg import AsyncConnection, Connection
from scene import Conn, ask, hire, ids_of, put, states, take, until_blocked

import fastq
from fastq.errors import UsageError
from fastq.job import JobSpec, Options
from fastq.protocol import enqueue, reserve, unique, upkeep
from fastq.protocol.asking import carry_out

pytestmark = pytest.mark.protocol

LIMIT = 10_000


async def book(conn: Conn, expires_s: float = 60.0, **options: Any) -> int:
    """Reserve a job; returns its id."""
    spec = JobSpec("t", {"n": 1}, Options(**options))
    request = reserve.reserve(spec, enqueue.payload(spec, LIMIT), expires_s=expires_s)
    return (await carry_out(conn, request)).id


async def commit(conn: Conn, job: int) -> str:
    """Commit a reservation."""
    return await carry_out(conn, reserve.commit(job))


async def lapse(conn: Conn) -> None:
    """Let the time of all reservations run out."""
    await conn.execute("update fastq.scheduled set run_at = now() - interval '1 s' where reason = 'reserved'")


async def test_a_reserved_job_waits_for_its_commit(conn: Conn) -> None:
    """It stands in scheduled, is promoted by nobody even when its time is over, and is claimed after the commit."""
    job = await book(conn, headers={"a": "\0"})
    assert await states(conn) == {job: "reserved"}
    assert (await ask(conn, "select run_at - now() <= interval '60 s', run_at > now() from fastq.job"))[0] == (
        True,
        True,
    )
    await lapse(conn)
    assert (await upkeep.promote(conn, shard=0)).jobs == 0
    await conn.execute("update fastq.scheduled set run_at = now() + interval '1 min'")
    assert await commit(conn, job) == "committed"
    assert await states(conn) == {job: "ready"}
    assert ids_of(await take(conn, await hire(conn))) == [job]


async def test_it_keeps_its_place(conn: Conn) -> None:
    """Committed, it stands before what was enqueued after its reservation, with all that it was reserved with."""
    (first,) = await put(conn)
    job = await book(conn, headers={"h": 1})
    (last,) = await put(conn)
    assert await commit(conn, job) == "committed"
    assert ids_of(await take(conn, await hire(conn))) == [first, job, last]
    assert await ask(conn, "select meta->'headers'->>'h', payload->>'n' from fastq.job where id = %s", job) == [
        ("1", "1")
    ]


async def test_a_commit_may_be_repeated(conn: Conn) -> None:
    """Also when the job has run meanwhile, and is gone."""
    job = await book(conn)
    assert [await commit(conn, job), await commit(conn, job)] == ["committed", "before"]
    await conn.execute("delete from fastq.ready")
    assert await commit(conn, job) == "before"
    await conn.execute("update fastq.committed set committed_at = now() - interval '8 days'")
    assert await reserve.prune(conn, shard=0) == 1


@pytest.mark.parametrize("waits", [{"delay_s": 60.0}, {"run_at": "later"}])
async def test_a_delay_counts_from_the_commit(conn: Conn, waits: dict[str, Any]) -> None:
    """The committed job waits for its own time, and is promoted then."""
    if "run_at" in waits:
        waits = {"run_at": (await ask(conn, "select now() + interval '1 hour'"))[0][0]}
    job = await book(conn, **waits)
    assert await commit(conn, job) == "committed"
    assert await states(conn) == {job: "scheduled"}
    assert await ask(conn, "select run_at > now() + interval '55 s', reason from fastq.scheduled") == [
        (True, "scheduled")
    ]
    await conn.execute("update fastq.scheduled set run_at = now()")
    assert (await upkeep.promote(conn, shard=0)).jobs == 1
    assert ids_of(await take(conn, await hire(conn))) == [job]


async def test_expired(conn: Conn) -> None:
    """A commit that comes too late is told so, before and after the expiry; only what is over expires."""
    late, living = await book(conn), await book(conn)
    await conn.execute("update fastq.scheduled set run_at = now() where id = %s", (late,))
    assert await commit(conn, late) == "gone"
    assert await reserve.expire(conn, shard=0) == 1
    assert await commit(conn, late) == "gone"
    assert await states(conn) == {living: "reserved"}


async def test_abandoned(conn: Conn) -> None:
    """Deleted at once; a second time there is nothing to delete, and nothing to commit. A ready job is left alone."""
    job, other = await book(conn), await book(conn)
    assert await carry_out(conn, reserve.abandon(job))
    assert not await carry_out(conn, reserve.abandon(job))
    assert await commit(conn, job) == "gone"
    assert await commit(conn, other) == "committed"
    assert not await carry_out(conn, reserve.abandon(other))
    assert await states(conn) == {other: "ready"}


async def test_deleted_by_somebody_who_steers(conn: Conn) -> None:
    """A commit then says that the reservation is gone."""
    jobs = [await book(conn) for _ in range(3)]
    await ask(conn, "select fastq.delete(%s), fastq.cancel(%s)", *jobs[:2])
    await ask(conn, "select fastq.purge('default')")
    assert [await commit(conn, job) for job in jobs] == ["gone"] * 3


# -- at the same time


@pytest.mark.parametrize("commits", [True, False])
async def test_expiry_leaves_alone_what_is_being_committed(conn: Conn, other: Conn, commits: bool) -> None:
    """Its row is locked: the expiry does not wait, and takes it afterwards only if the commit was rolled back."""
    job = await book(conn)
    async with conn.transaction(force_rollback=not commits):
        assert await commit(conn, job) == "committed"
        await other.execute("set lock_timeout = '5s'")
        assert await reserve.expire(other, shard=0) == 0
    await lapse(conn)
    assert await reserve.expire(other, shard=0) == (0 if commits else 1)
    assert await states(conn) == ({job: "ready"} if commits else {})


@pytest.mark.parametrize("happens", [True, False])
async def test_a_commit_waits_for_the_expiry(conn: Conn, other: Conn, third: Conn, happens: bool) -> None:
    """A commit that meets an expiry in flight learns what became of it."""
    job = await book(conn)
    async with conn.transaction(force_rollback=not happens):
        await conn.execute("savepoint before")
        await lapse(conn)
        assert await reserve.expire(conn, shard=0) == 1
        waiting = asyncio.create_task(commit(other, job))
        await until_blocked(third, other)
    assert await waiting == ("gone" if happens else "committed")
    assert await states(conn) == ({} if happens else {job: "ready"})


async def test_commits_abandons_and_expiries_at_once(conn: Conn, other: Conn, third: Conn) -> None:
    """Whoever comes first: each job is ready exactly when its commit said so, and nothing is left reserved."""
    jobs = [await book(conn, unique_key=f"k{n}") for n in range(90)]
    await conn.execute("update fastq.scheduled set run_at = now() where id %% 2 = %s", (jobs[0] % 2,))
    answers: dict[int, str] = {}

    async def commit_all() -> None:
        for job in jobs:
            answers[job] = await commit(conn, job)

    async def abandon_all() -> None:
        for job in jobs[::-3]:
            await carry_out(other, reserve.abandon(job))

    async def expire_all() -> None:
        while await reserve.expire(third, shard=0, limit=5):
            pass

    await asyncio.gather(commit_all(), abandon_all(), expire_all())
    await lapse(conn)
    await reserve.expire(third, shard=0)
    assert await states(conn) == {job: "ready" for job in jobs if answers[job] == "committed"}
    held = await ask(conn, "select job from fastq.unique_key")
    assert {row[0] for row in held} == set(await states(conn))


# -- unique keys


@pytest.mark.parametrize("until", ["finished", "started", 60])
@pytest.mark.parametrize("end", ["expire", "abandon"])
async def test_a_reservation_holds_its_key(conn: Conn, until: Any, end: str) -> None:
    """Others are duplicates of it while it lasts; its end without a commit frees the key, whatever it was held for."""
    job = await book(conn, unique_key="k", unique_until=until)
    assert await book(conn, unique_key="k") == job
    assert await commit(conn, await book(conn, unique_key="other")) == "committed"
    if end == "expire":
        await lapse(conn)
        assert await reserve.expire(conn, shard=0) == 1
    else:
        assert await carry_out(conn, reserve.abandon(job))
    assert await ask(conn, "select key from fastq.unique_key") == [("other",)]
    assert await book(conn, unique_key="k") != job


async def test_a_committed_job_still_holds_its_key(conn: Conn) -> None:
    """Its worker sees the key in its meta."""
    job = await book(conn, unique_key="k")
    assert await commit(conn, job) == "committed"
    assert await ask(conn, "select unique_key from fastq.job") == [("k",)]
    assert (await book(conn, unique_key="k")) == job
    await conn.execute("update fastq.unique_key set taken_at = now() - interval '1 hour'")
    assert (await unique.sweep(conn, shard=0, after="")).keys == 0


# -- what users call


async def test_the_app(conn: Conn, dsn: str) -> None:
    """`reserve`, `commit`, `abandon` and their twins, with a connection and without."""
    app = fastq.App(dsn)

    @app.task(name="t")
    async def task(n: int) -> None: ...

    async with app:
        one = await task.reserve(expires=60, n=1)
        two = await task.options(unique_key="k").reserve(timedelta(minutes=1), n=2)
        again = await task.options(unique_key="k").reserve(n=2)
        assert again == fastq.JobRef(two.id, duplicate=True)
        assert not await app.commit(again)
        assert not await app.abandon(again)
        assert await app.commit(one)
        assert not await app.commit(one.id)
        assert await app.abandon(two)
        with pytest.raises(fastq.ReservationGone, match=f"reservation {two.id} is gone: it expired"):
            await app.commit(two)
        async with await AsyncConnection.connect(dsn) as own:
            three = await app.reserve(task.job(n=3), conn=own)
            with pytest.raises(fastq.ReservationGone):
                await app.commit(two, conn=own)
            assert await app.commit(three, conn=own)
            four = await app.reserve(task.job(n=4), conn=own)
            assert await app.abandon(four, conn=own)
            await own.commit()
        with pytest.raises(fastq.PayloadTooLarge):
            await app.reserve(JobSpec("t", {"a": "x" * 2_000_000}, Options()))
    with app:
        five = task.reserve_sync(expires=60, n=5)
        assert app.commit_sync(five)
        six = task.options(delay=60).reserve_sync(n=6)
        assert app.abandon_sync(six.id)
        with pytest.raises(fastq.ReservationGone):
            app.commit_sync(six)
        with Connection.connect(dsn) as own_sync:
            seven = app.reserve_sync(task.job(n=7), conn=own_sync)
            assert app.commit_sync(seven, conn=own_sync)
            own_sync.rollback()
    assert await states(conn) == {one.id: "ready", three.id: "ready", five.id: "ready"}


@pytest.mark.parametrize("expires", [0, -1, float("inf"), float("nan"), 1e12])
async def test_expires_that_cannot_work(dsn: str, expires: float) -> None:
    """Refused in one sentence."""
    app = fastq.App(dsn)
    async with app:
        with pytest.raises(UsageError, match="expires must be"):
            await app.reserve(JobSpec("t", {}, Options()), expires=expires)
        with pytest.raises(UsageError, match="a reservation is"):
            await app.commit("7")  # type: ignore[arg-type]


# -- SQL


async def test_from_sql(conn: Conn) -> None:
    """The same from any language; a commit that comes too late is an error there."""
    ((job,),) = await ask(
        conn, "select fastq.reserve('t', '{\"n\": 1}', expires => '1 hour', delay => '1 min', unique_key => 'k')"
    )
    assert await ask(conn, "select fastq.reserve('t', unique_key => 'k')") == [(job,)]
    assert await ask(conn, "select fastq.commit(%s), fastq.commit(%s)", job, job) == [(True, False)]
    assert await states(conn) == {job: "scheduled"}
    ((other,),) = await ask(conn, "select fastq.reserve('t')")
    assert await ask(conn, "select fastq.abandon(%s), fastq.abandon(%s)", other, other) == [(True, False)]
    with pytest.raises(psycopg.errors.NoDataFound, match=f"reservation {other} is gone"):
        await ask(conn, "select fastq.commit(%s)", other)
    for call in ("reserve('t', '[]')", "reserve('t', expires => '0')", "reserve('t', unique_key => '')"):
        with pytest.raises(psycopg.errors.InvalidParameterValue):
            await conn.execute(f"select fastq.{call}".encode())
