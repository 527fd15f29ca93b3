"""Unique keys: when one is free again."""

from __future__ import annotations

import asyncio

import pytest
from scene import Conn, ask, failed, later, states, until_blocked
from unique_jobs import add, claimed, keys, run, settle, spec

from fastq.ends.ending import Died, Stepped, Succeeded
from fastq.ends.outcome import RetryPolicy, conclude, done
from fastq.ends.settlement import Settlement
from fastq.protocol import completion, reap, unique
from fastq.protocol import settle as settling
from fastq.protocol.asking import carry_out
from fastq.protocol.completion import Place
from fastq.protocol.unique import Placed
from fastq.states import Goes, JobState

pytestmark = pytest.mark.protocol


# -- when it is free again: until finished


ENDS = {
    "success": done,
    "a success that is kept": lambda job: conclude(job, Succeeded("1"), RetryPolicy(keep_s=60.0)),
    "failed": lambda job: failed(job.lease, meta=job.meta),
    "discarded": lambda job: failed(job.lease, meta=job.meta, state=JobState.DISCARDED),
    "cancelled": lambda job: failed(job.lease, meta=job.meta, state=JobState.CANCELLED),
    "three crashes": lambda job: conclude(job, Died(ran=True, cause="x", max_crashes=1)),
}


@pytest.mark.parametrize("until", ["finished", "started"])
@pytest.mark.parametrize("end", ENDS)
async def test_free_with_the_last_settlement(conn: Conn, end: str, until: str) -> None:
    """Whatever the end is, it frees the key; a failed job never blocks it."""
    job = await run(conn, unique_until=until)
    assert await settle(conn, job, ENDS[end](job))
    assert await keys(conn) == {}
    assert not (await add(conn))[0].duplicate


GOES_ON = {
    "a retry": lambda job: later(job.lease, meta=job.meta),
    "a return": lambda job: Settlement(lease=job.lease, ord=0, goes=Goes.READY, meta=job.meta),
    "a next step": lambda job: conclude(job, Stepped("t2", "{}", None)),
    "a delayed step": lambda job: conclude(job, Stepped("t2", "{}", 60.0)),
    "a crash": lambda job: conclude(job, Died(ran=True, cause="x")),
}


@pytest.mark.parametrize("what", GOES_ON)
async def test_kept_while_the_job_goes_on(conn: Conn, what: str) -> None:
    """The job still has its key in its meta, and holds it."""
    job = await run(conn)
    assert await settle(conn, job, GOES_ON[what](job))
    assert await keys(conn) == {"k": job.id}
    assert await ask(conn, "select unique_key from fastq.job where id = %s", job.id) == [("k",)]
    assert (await add(conn))[0] == Placed(job.id, True)


async def test_a_settlement_that_is_refused_frees_nothing(conn: Conn) -> None:
    """When the lease was reaped, its job stands in line again, with its key."""
    job = await run(conn)
    ((worker,),) = await ask(conn, "select worker from fastq.lease")
    back = await reap.reap(conn, shard=0, worker=worker, verdict=lambda one: conclude(one, Died(ran=False, cause="x")))
    assert back == 1
    assert not await settling.settle(conn, shard=0, worker=worker, settlements=[done(job)])
    assert await keys(conn) == {"k": job.id}
    again = await claimed(conn, job.id)
    assert await settle(conn, again, done(again))
    assert await keys(conn) == {}


async def test_freed_with_the_handlers_own_transaction(conn: Conn, other: Conn) -> None:
    """Its commit frees the key, and whoever reaps the lease later finds nothing to do; a rollback keeps it."""
    job = await run(conn)
    place = Place(0, job.lease, 0)
    for commits in (False, True):
        async with conn.transaction(force_rollback=not commits):
            assert await completion.hold(conn, place)
            await carry_out(conn, completion.free(place, job.id))
            assert await completion.complete(conn, place)
        assert (await keys(conn) == {}) is commits
    (new,) = await add(other)
    ((worker,),) = await ask(conn, "select worker from fastq.lease")
    await reap.reap(conn, shard=0, worker=worker, verdict=lambda one: conclude(one, Died(ran=False, cause="x")))
    assert await states(conn) == {new.id: "ready"}
    assert await keys(conn) == {"k": new.id}


async def test_a_key_that_somebody_is_at_holds_up_no_settlement(conn: Conn, other: Conn) -> None:
    """The settlement goes on at once; what it left behind is swept later."""
    job = await run(conn)
    async with other.transaction():
        await other.execute("select from fastq.unique_key for update")
        assert await settle(conn, job, done(job))
    assert await keys(conn) == {"k": job.id}


# -- until started, and for a time


async def test_until_started(conn: Conn) -> None:
    """The lease's worker frees it before the run; who lost the lease neither frees nor runs it."""
    job = await run(conn, unique_until="started")
    ((worker,),) = await ask(conn, "select worker from fastq.lease")
    place = Place(0, job.lease, 0)
    assert not await unique.free_started(conn, place=place, worker=worker + 1, job=job.id)
    assert (await add(conn))[0].duplicate
    assert await unique.free_started(conn, place=place, worker=worker, job=job.id)
    (new,) = await add(conn, spec(unique_until="started"))
    assert not new.duplicate
    assert await unique.free_started(conn, place=place, worker=worker, job=job.id)
    assert await settle(conn, job, done(job))
    assert await keys(conn) == {"k": new.id}


async def test_until_finished_is_not_freed_by_the_start(conn: Conn) -> None:
    """Only those that are held until then."""
    job = await run(conn)
    ((worker,),) = await ask(conn, "select worker from fastq.lease")
    assert await unique.free_started(conn, place=Place(0, job.lease, 0), worker=worker, job=job.id)
    assert await keys(conn) == {"k": job.id}


async def test_for_a_time_also_when_the_handlers_own_transaction_ends_the_job(conn: Conn) -> None:
    """Its commit completes the job and leaves the key, which is held whatever becomes of the job."""
    job = await run(conn, unique_until=60)
    place = Place(0, job.lease, 0)
    async with conn.transaction():
        assert await completion.hold(conn, place)
        await carry_out(conn, completion.free(place, job.id))
        assert await completion.complete(conn, place)
    assert await keys(conn) == {"k": job.id}
    assert (await add(conn))[0].duplicate


async def test_for_a_time(conn: Conn) -> None:
    """Held although the job has ended; free when its time is over, although the job still waits."""
    job = await run(conn, unique_until=60)
    assert await settle(conn, job, done(job))
    assert await add(conn) == [Placed(job.id, True)]
    await conn.execute("update fastq.unique_key set expires_at = now()")
    (second,) = await add(conn, spec(unique_until=60))
    assert not second.duplicate
    await conn.execute("update fastq.unique_key set expires_at = now()")
    (third,) = await add(conn)
    assert not third.duplicate
    assert await states(conn) == {second.id: "ready", third.id: "ready"}
    assert await ask(conn, "select job, held_until, expires_at from fastq.unique_key") == [(third.id, "finished", None)]


@pytest.mark.parametrize("commits", [True, False])
async def test_one_takes_over_what_is_over(conn: Conn, other: Conn, third: Conn, commits: bool) -> None:
    """Of two enqueues that find the time over, the second waits for the first."""
    await add(conn, spec(unique_until=60))
    await conn.execute("update fastq.unique_key set expires_at = now()")
    async with conn.transaction(force_rollback=not commits):
        (first,) = await add(conn, spec(unique_until=60))
        waiting = asyncio.create_task(add(other, spec(unique_until=60)))
        await until_blocked(third, other)
    assert ((await waiting)[0].id == first.id) is commits
