"""Jobs are cancelled: at once where they wait, by a mark for their worker where they run."""

from __future__ import annotations

import asyncio

import pytest
from jobs_scene import ERRORS, find, put_finished, put_scheduled
from scene import (
    Conn,
    ask,
    back,
    failed,
    hire,
    ids_of,
    jobs_of,
    later,
    put,
    put_many,
    states,
    take,
    until_blocked,
)

from fastq.protocol import ack, jobs
from fastq.protocol.asking import carry_out
from fastq.protocol.claim import Lane
from fastq.protocol.jobs import Cancelled, JobFilter, Mark
from fastq.protocol.settle import settle
from fastq.sql import statement
from fastq.states import JobState

pytestmark = pytest.mark.protocol

MAIL = Lane(0, 0, "mail", 4, "")


async def marks(conn: Conn) -> set[int]:
    """Return the ids of the marked jobs."""
    return {row[0] for row in await ask(conn, "select job from fastq.cancellation")}


async def test_a_waiting_job_is_cancelled_at_once(conn: Conn) -> None:
    """Ready or waiting for a time: kept as cancelled, with its arguments; a second time says the same."""
    waiting = [(await put(conn, '{"n": 1}'))[0]]
    waiting += [await put_scheduled(conn, reason) for reason in ("scheduled", "retrying", "reserved")]
    for job in waiting:
        for _ in range(2):
            assert await carry_out(conn, jobs.cancel(job)) == "cancelled"
        found = await find(conn, job)
        assert found is not None
        assert (found.state, found.args, found.finished_at is not None) == ("cancelled", {"n": 1}, True)
    assert jobs_of(await take(conn, await hire(conn))) == []


@pytest.mark.parametrize("state", ["succeeded", "failed", "discarded", None])
async def test_what_ended_is_not_cancelled(conn: Conn, state: str | None) -> None:
    """Nor what is gone."""
    job = await put_finished(conn, state) if state else 1 << 40
    assert await carry_out(conn, jobs.cancel(job)) is None
    assert await states(conn) == ({job: state} if state else {})


async def test_a_running_job_is_marked_for_its_worker(conn: Conn) -> None:
    """The steward reads the marks of its own workers, until the job has left the lease."""
    who, stranger = await hire(conn), await hire(conn)
    placed = await put(conn, "{}", "{}", "{}")
    claimed = await take(conn, who)
    for _ in range(2):
        assert await carry_out(conn, jobs.cancel(placed[1])) == "cancelling"
    found = await find(conn, placed[1])
    assert found is not None
    assert (found.state, found.cancelling) == ("running", True)
    assert await jobs.cancellations(conn, shards=[0], workers=[stranger]) == []
    assert await jobs.cancellations(conn, shards=[0], workers=[stranger, who]) == [
        Mark(who, claimed.lease, 1, placed[1])
    ]
    assert await jobs.sweep_cancellations(conn) == 0
    await settle(conn, shard=0, worker=who, settlements=[failed(claimed.lease, 1, state=JobState.CANCELLED)])
    assert await jobs.cancellations(conn, shards=[0], workers=[who]) == []
    assert await jobs.sweep_cancellations(conn) == 1
    assert await marks(conn) == set()
    assert (await states(conn))[placed[1]] == "cancelled"


async def test_a_mark_follows_its_job(conn: Conn) -> None:
    """A marked job that waits again is cancelled, one that runs again is marked there, what ended is forgotten."""
    who = await hire(conn)
    names = ("ready", "retrying", "again", "failed", "acked", "untouched")
    placed = dict(zip(names, await put(conn, *["{}"] * len(names)), strict=True))
    claimed = await take(conn, who)
    for name in names[:-1]:
        assert await carry_out(conn, jobs.cancel(placed[name])) == "cancelling"
    await settle(conn, shard=0, worker=who, settlements=[back(claimed.lease, 2)])
    again = await take(conn, who)
    assert ids_of(again) == [placed["again"]]
    moves = [back(claimed.lease, 0), later(claimed.lease, 1, delay_s=60), failed(claimed.lease, 3)]
    await settle(conn, shard=0, worker=who, settlements=moves)
    await ack.ack_jobs(conn, shard=0, worker=who, jobs=[(claimed.lease, 4)])

    assert await jobs.sweep_cancellations(conn, limit=2) == 2
    assert await jobs.sweep_cancellations(conn) == 3
    assert await jobs.sweep_cancellations(conn) == 0

    assert await states(conn) == {
        placed["ready"]: "cancelled", placed["retrying"]: "cancelled", placed["failed"]: "failed",
        placed["again"]: "running", placed["untouched"]: "running",
    }  # fmt: skip
    assert await jobs.cancellations(conn, shards=[0], workers=[who]) == [Mark(who, again.lease, 0, placed["again"])]


async def test_a_retry_forgets_the_mark(conn: Conn) -> None:
    """A job that was marked, failed and is retried by hand shall run."""
    who = await hire(conn)
    placed = await put(conn, "{}", "{}")
    claimed = await take(conn, who)
    for job in placed:
        await carry_out(conn, jobs.cancel(job))
    await settle(conn, shard=0, worker=who, settlements=[failed(claimed.lease, 0), failed(claimed.lease, 1)])
    assert await carry_out(conn, jobs.retry(placed[0])) is True
    assert await carry_out(conn, jobs.retry_many(JobFilter())) == 1
    assert await jobs.sweep_cancellations(conn) == 0
    assert await states(conn) == dict.fromkeys(placed, "ready")


async def test_cancel_waits_for_a_claim_and_marks_what_it_took(conn: Conn, other: Conn, third: Conn) -> None:
    """The claim committed while cancel waited for the row: the job runs, so it is marked."""
    who = await hire(conn)
    (job,) = await put(conn)
    async with conn.transaction():
        await take(conn, who)
        asked = asyncio.create_task(carry_out(other, jobs.cancel(job)))
        await until_blocked(third, other)
    assert await asked == "cancelling"
    assert (await states(conn), await marks(conn)) == ({job: "running"}, {job})


async def test_cancel_wins_when_the_claim_is_rolled_back(conn: Conn, other: Conn, third: Conn) -> None:
    """The job is still in line, and is cancelled there."""
    who = await hire(conn)
    (job,) = await put(conn)
    async with conn.transaction(force_rollback=True):
        await take(conn, who)
        asked = asyncio.create_task(carry_out(other, jobs.cancel(job)))
        await until_blocked(third, other)
    assert await asked == "cancelled"
    assert (await states(conn), await marks(conn)) == ({job: "cancelled"}, set())


async def test_a_claim_passes_over_what_is_being_cancelled(conn: Conn, other: Conn) -> None:
    """It neither waits nor takes the job; after a rollback the next claim has it."""
    who = await hire(conn)
    first, second = await put(conn, "{}", "{}")
    async with conn.transaction(force_rollback=True):
        assert await carry_out(conn, jobs.cancel(first)) == "cancelled"
        assert ids_of(await take(other, who)) == [second]
    assert ids_of(await take(other, who)) == [first]


async def test_cancel_against_the_promotion_of_a_due_job(conn: Conn, other: Conn, third: Conn) -> None:
    """The job is found in its new place."""
    job = await put_scheduled(conn)
    await conn.execute("update fastq.scheduled set run_at = now()")
    async with conn.transaction():
        await conn.execute(statement("promote_due_jobs"), {"shard": 0, "limit": 10, "since": "-infinity"})
        asked = asyncio.create_task(carry_out(other, jobs.cancel(job)))
        await until_blocked(third, other)
    assert await asked == "cancelled"
    assert await states(conn) == {job: "cancelled"}


async def test_workers_and_cancels_at_once_lose_no_job(conn: Conn, other: Conn, third: Conn) -> None:
    """Every job is either acknowledged or cancelled at once; nothing is left, doubled, or marked for ever."""
    await put_many(conn, 300)
    placed = [row[0] for row in await ask(conn, "select pos from fastq.ready")]
    who = await hire(conn)
    answers: dict[int, str | None] = {}
    done: set[int] = set()

    async def work() -> None:
        while (claimed := await take(other, who, limit=7)).batch is not None:
            done.update(ids_of(claimed))
            await ack.ack(other, shard=0, worker=who, leases=[claimed.lease])

    async def cancel() -> None:
        for job in reversed(placed):
            answers[job] = await carry_out(third, jobs.cancel(job))

    await asyncio.gather(work(), cancel())
    await jobs.sweep_cancellations(conn)

    cancelled = {job for job, answer in answers.items() if answer == "cancelled"}
    assert cancelled | done == set(placed)
    assert not cancelled & done
    assert await states(conn) == dict.fromkeys(cancelled, "cancelled")
    assert await marks(conn) == set()


async def test_many_are_cancelled(conn: Conn, other: Conn) -> None:
    """Those that wait at once, those that run by a mark; what a claim holds is left out; a limit counts both."""
    who = await hire(conn)
    running = await put(conn, "{}", "{}")
    await take(conn, who)
    waiting = [*await put(conn, "{}", "{}"), await put_scheduled(conn, meta=ERRORS)]
    (mail,) = await put(conn, lane=MAIL)
    kept = await put_finished(conn)
    assert await carry_out(conn, jobs.cancel_many(JobFilter(error="such"))) == Cancelled(1, 0)
    assert await carry_out(conn, jobs.cancel_many(JobFilter(queue="default"), 1)) == Cancelled(1, 0)
    async with other.transaction():
        await other.execute("select from fastq.ready where queue = 'mail' for update")
        assert await carry_out(conn, jobs.cancel_many(JobFilter())) == Cancelled(1, 2)
    assert await carry_out(conn, jobs.cancel_many(JobFilter(states=(JobState.READY,)))) == Cancelled(1, 0)
    assert await marks(conn) == set(running)
    expected = dict.fromkeys([*waiting, mail], "cancelled") | dict.fromkeys(running, "running") | {kept: "failed"}
    assert await states(conn) == expected
