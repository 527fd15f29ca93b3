"""Finding, cancelling, retrying and deleting jobs, wherever they stand and whoever is at them."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
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

import fastq
from fastq.errors import FastqError, NotOpen, SchemaError, UsageError
from fastq.jobs import told
from fastq.protocol import ack, jobs
from fastq.protocol.asking import carry_out
from fastq.protocol.claim import Lane
from fastq.protocol.jobs import Cancelled, JobFilter, JobInfo, Mark
from fastq.protocol.settle import settle
from fastq.sql import statement
from fastq.states import JobState

pytestmark = pytest.mark.protocol

MAIL = Lane(0, 0, "mail", 4, "")

ERRORS = '{"errors":[{"type":"ValueError","message":"no \\"such\\" file","traceback":"tb","attempt":1,"at":"2026"}]}'
KEPT = (JobState.FAILED, JobState.DISCARDED, JobState.CANCELLED)


@pytest.fixture(autouse=True)
async def _no_marks(conn: Conn) -> None:
    await conn.execute("truncate fastq.cancellation")


async def find(conn: Conn, job: int) -> JobInfo | None:
    """Find a job."""
    return await carry_out(conn, jobs.find(job))


async def put_scheduled(
    conn: Conn, reason: str = "scheduled", *, queue: str = "default", meta: str | None = None
) -> int:
    """Insert a job that waits for a time."""
    ((job,),) = await ask(
        conn,
        "insert into fastq.scheduled (shard, run_at, reason, queue, task, payload, meta)"
        " values (0, now() + interval '1 hour', %s, %s, 't', '{\"n\": 1}', %s) returning id",
        reason,
        queue,
        meta,
    )
    return int(job)


async def put_finished(
    conn: Conn, state: str = "failed", *, queue: str = "default", task: str = "t", meta: str | None = ERRORS
) -> int:
    """Insert a job that is kept."""
    ((job,),) = await ask(
        conn,
        "insert into fastq.finished (shard, id, state, priority, attempt, enqueued_ms, queue, group_key, task, payload,"
        " meta) values (0, nextval('fastq.pos'), %s, 2, 4, 1000, %s, 'g', %s, '{\"n\": 1}', %s) returning id",
        state,
        queue,
        task,
        meta,
    )
    return int(job)


async def marks(conn: Conn) -> set[int]:
    """Return the ids of the marked jobs."""
    return {row[0] for row in await ask(conn, "select job from fastq.cancellation")}


# -- finding


async def test_every_job_is_found_in_its_state(conn: Conn) -> None:
    """Ready, running, scheduled, retrying, reserved, waiting, and each in which jobs are kept: by its id."""
    who = await hire(conn)
    placed = {JobState.RUNNING: (await put(conn))[0]}
    await take(conn, who)
    placed[JobState.READY] = (await put(conn))[0]
    for state in (JobState.SCHEDULED, JobState.RETRYING, JobState.RESERVED):
        placed[state] = await put_scheduled(conn, state)
    for state in (JobState.SUCCEEDED, *KEPT):
        placed[state] = await put_finished(conn, state)
    ordered = [await ask(conn, "select fastq.enqueue('t', ordered => true)") for _ in "12"]
    placed[JobState.WAITING] = ordered[1][0][0]

    assert set(placed) == set(JobState)
    for state, job in placed.items():
        found = await find(conn, job)
        assert found is not None
        assert (found.id, found.state, found.task) == (job, state, "t")
    assert await find(conn, 1 << 40) is None


async def test_all_that_is_known_of_a_job(conn: Conn) -> None:
    """Arguments, errors, times, place and worker; ready and running."""
    meta = json.dumps({"headers": {"h": 1}, **json.loads(ERRORS), "crashes": 2})
    (job,) = await put(conn, '{"a": [1, "é"]}', lane=Lane(0, 2, "mail", 3, "g"), attempt=2)
    await conn.execute("update fastq.ready set id = pos, meta = %s::json", [meta])  # as when a worker has put it back
    who = await hire(conn)
    for state in ("ready", "running"):
        found = await find(conn, job)
        assert found is not None
        assert (found.state, found.queue, found.priority, found.group_key, found.attempt) == (state, "mail", 3, "g", 2)
        assert (found.args, found.headers, found.crashes) == ({"a": [1, "é"]}, {"h": 1}, 2)
        assert found.errors[-1]["message"] == 'no "such" file'
        assert found.enqueued_at is not None
        assert (found.claimed_at is not None, found.worker) == ((True, who) if state == "running" else (False, None))
        await take(conn, who, lane=Lane(0, 2, "mail", 3, "g"))


async def test_a_job_that_came_back_is_found_by_its_id(conn: Conn) -> None:
    """In its new place in line, and again in a lease; its place is nobody's id."""
    who = await hire(conn)
    (job,) = await put(conn)
    first = await take(conn, who)
    await settle(conn, shard=0, worker=who, settlements=[back(first.lease)])
    ((pos,),) = await ask(conn, "select pos from fastq.ready")
    assert pos != job
    assert (await find(conn, job) or None) is not None
    assert await find(conn, pos) is None
    await take(conn, who)
    found = await find(conn, job)
    assert found is not None
    assert found.state == "running"
    assert await find(conn, pos) is None


async def test_digits_inside_other_jobs_are_no_jobs(conn: Conn) -> None:
    """A number in a payload, in an error's text or in a longer id is not taken for an id."""
    await put(conn, '{"n": 77777}')
    await take(conn, await hire(conn))
    assert await find(conn, 77777) is None


@pytest.mark.parametrize("lanes", [1, 1999, 2000, 2500])
async def test_jobs_of_many_lanes_are_found(conn: Conn, lanes: int) -> None:
    """By a probe of each lane, or by one pass when there are too many; in each segment; what is not there is not."""
    await conn.execute(
        "insert into fastq.ready (segment, pos, queue, priority, group_key, task)"
        " select n %% 4, n, 'q' || n %% 7, n %% 3, 'g' || n %% %s, 't' from generate_series(1, 6000) n",
        [lanes],
    )
    for job in (1, 2, 3, 4, 2999, 6000):
        found = await find(conn, job)
        assert found is not None
        assert found.state == "ready"
    assert await find(conn, 6001) is None


async def test_jobs_of_other_shards_are_found(conn: Conn) -> None:
    """All shards are looked at, and jobs there can be cancelled and retried."""
    await conn.execute("update fastq.setting set value = '3' where name = 'shards'")
    await conn.execute("insert into fastq.ring (shard, head) values (1, 1), (2, 2)")
    (job,) = await put(conn, lane=Lane(2, 0, "default", 4, ""))
    assert (await find(conn, job) or None) is not None
    assert await carry_out(conn, jobs.cancel(job)) == "cancelled"
    assert await carry_out(conn, jobs.retry(job)) is True
    assert await ask(conn, "select shard, segment, id from fastq.ready") == [(2, 2, job)]


async def test_payloads_that_cannot_be_read(conn: Conn) -> None:
    """A lone surrogate becomes a question mark; an escaped null stays; what nobody can read is left out."""
    for payload, args in (
        ('{"a": "\\ud800"}', {"a": "?"}),
        ('{"a": "\\u0000"}', {"a": "\0"}),
        ("[1]", {}),
        ("[" * 2000 + "]" * 2000, {}),
    ):
        (job,) = await put(conn, payload)
        found = await find(conn, job)
        assert found is not None
        assert found.args == args


@pytest.mark.parametrize("job", [0, -1, 1 << 63, "7", None])
async def test_what_is_no_id(job: Any) -> None:
    """It is a usage error, before anything is asked."""
    with pytest.raises(UsageError, match="a job's id"):
        jobs.find(job)


# -- listing


async def test_jobs_are_listed_by_state_in_order(conn: Conn) -> None:
    """Running first, then in line, then by time, then what finished last; up to the limit."""
    who = await hire(conn)
    running = (await put(conn))[0]
    await take(conn, who)
    ready = await put(conn, "{}", "{}")
    waiting = [await put_scheduled(conn, "retrying"), await put_scheduled(conn, "reserved")]
    kept = [await put_finished(conn, state) for state in (*KEPT, "succeeded")]
    order = [running, *ready, *waiting, *reversed(kept)]

    async def listed(wanted: JobFilter, limit: int = 100) -> list[int]:
        return [job.id for job in await carry_out(conn, jobs.survey(wanted, limit))]

    assert await listed(JobFilter()) == order
    for limit in (0, 1, 2, 5):
        assert await listed(JobFilter(), limit) == order[:limit]
    assert await listed(JobFilter(states=(JobState.RETRYING,))) == waiting[:1]
    assert await listed(JobFilter(states=(JobState.CANCELLED, JobState.READY))) == [*ready, kept[2]]


async def test_jobs_are_listed_by_queue_task_and_error(conn: Conn) -> None:
    """All that is given has to fit; an error's text may have quotes in it."""
    (mail,) = await put(conn, lane=MAIL)
    (other,) = await put(conn, task="other")
    wrong = await put_finished(conn, task="other")
    await put_finished(conn, task="other", meta='{"headers":{"x":"ValueError"},"errors":[]}')
    cases = [
        (JobFilter(queue="mail"), [mail]),
        (JobFilter(task="other", states=(JobState.READY,)), [other]),
        (JobFilter(error="ValueError"), [wrong]),
        (JobFilter(error='"such"', task="other"), [wrong]),
        (JobFilter(error="ValueError", queue="mail"), []),
    ]
    for wanted, expected in cases:
        assert [job.id for job in await carry_out(conn, jobs.survey(wanted, 10))] == expected, wanted


async def test_errors_beside_a_header_that_json_functions_refuse(conn: Conn) -> None:
    """\\u0000 in a header neither hides the errors nor breaks the search or the retry."""
    meta = '{"headers":{"h":"\\u0000"},' + ERRORS[1:-1] + ',"crashes":2}'
    job = await put_finished(conn, meta=meta)
    await put_finished(conn, meta='{"headers":{"h":"\\u0000 ValueError"}}')
    assert await carry_out(conn, jobs.retry_many(JobFilter(error="ValueError"))) == 1
    found = await find(conn, job)
    assert found is not None
    assert (found.state, found.crashes, found.headers, len(found.errors)) == ("ready", 0, {"h": "\0"}, 1)


# -- retry


@pytest.mark.parametrize("state", KEPT)
async def test_retry_starts_the_attempts_again(conn: Conn, other: Conn, state: str) -> None:
    """The same job, in the head segment, its past errors kept, its crashes forgotten; the workers are woken."""
    await conn.execute("update fastq.ring set head = 3")
    await other.execute("listen fastq")
    job = await put_finished(conn, state, meta=ERRORS[:-1] + ',"crashes":3}')
    assert await carry_out(conn, jobs.retry(job)) is True
    rows = await ask(conn, "select segment, id, attempt, priority, group_key, enqueued_ms, payload from fastq.ready")
    assert rows == [(3, job, 0, 2, "g", 1000, {"n": 1})]
    found = await find(conn, job)
    assert found is not None
    assert (found.crashes, len(found.errors)) == (0, 1)
    assert [note.payload async for note in other.notifies(timeout=5, stop_after=1)] == [""]


@pytest.mark.parametrize("state", ["succeeded", "ready", "running", "retrying", None])
async def test_only_what_ended_without_success_is_retried(conn: Conn, state: str | None) -> None:
    """Nothing happens to any other job."""
    job = 1 << 40
    if state == "succeeded":
        job = await put_finished(conn, state)
    elif state == "retrying":
        job = await put_scheduled(conn, state)
    elif state is not None:
        (job,) = await put(conn)
        if state == "running":
            await take(conn, await hire(conn))
    before = await states(conn)
    assert await carry_out(conn, jobs.retry(job)) is False
    assert await states(conn) == before


async def test_two_retries_at_once_give_one_job(conn: Conn, other: Conn, third: Conn) -> None:
    """The second waits for the first; when that is rolled back, it is the one."""
    for commit in (True, False):
        job = await put_finished(conn)
        async with conn.transaction(force_rollback=not commit):
            assert await carry_out(conn, jobs.retry(job)) is True
            second = asyncio.create_task(carry_out(other, jobs.retry(job)))
            await until_blocked(third, other)
        assert await second is not commit
        assert (await states(conn))[job] == "ready"


async def test_many_are_retried_the_oldest_first(conn: Conn) -> None:
    """A filter, a limit, then the rest; what somebody holds is left out."""
    failures = [await put_finished(conn, queue="mail") for _ in range(4)]
    discarded = await put_finished(conn, "discarded", queue="mail")
    elsewhere = await put_finished(conn)
    done = await put_finished(conn, "succeeded", queue="mail")
    assert await carry_out(conn, jobs.retry_many(JobFilter(queue="mail"), 2)) == 2
    rows = await ask(conn, "select id from fastq.ready order by pos")
    assert [row[0] for row in rows] == failures[:2]
    assert await carry_out(conn, jobs.retry_many(JobFilter(queue="mail", states=(JobState.FAILED,)))) == 2
    assert await carry_out(conn, jobs.retry_many(JobFilter(queue="mail"))) == 1
    assert await states(conn) == dict.fromkeys([*failures, discarded], "ready") | {
        elsewhere: "failed",
        done: "succeeded",
    }
    with pytest.raises(UsageError, match="ready jobs cannot be retried"):
        jobs.retry_many(JobFilter(states=(JobState.READY,)))


async def test_two_bulk_retries_share_the_jobs(conn: Conn, other: Conn) -> None:
    """Each job is put back once, whoever comes first, and nobody waits."""
    failures = [await put_finished(conn) for _ in range(6)]
    async with conn.transaction():
        first = await carry_out(conn, jobs.retry_many(JobFilter(), 2))
        second = await carry_out(other, jobs.retry_many(JobFilter()))
    assert (first, second) == (2, 4)
    assert await states(conn) == dict.fromkeys(failures, "ready")


# -- cancel


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
    assert await jobs.cancellations(conn, shard=0, workers=[stranger]) == []
    assert await jobs.cancellations(conn, shard=0, workers=[stranger, who]) == [Mark(who, claimed.lease, 1, placed[1])]
    assert await jobs.sweep_cancellations(conn) == 0
    await settle(conn, shard=0, worker=who, settlements=[failed(claimed.lease, 1, state=JobState.CANCELLED)])
    assert await jobs.cancellations(conn, shard=0, workers=[who]) == []
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
    assert await jobs.cancellations(conn, shard=0, workers=[who]) == [Mark(who, again.lease, 0, placed["again"])]


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


# -- delete


async def test_what_does_not_run_is_deleted(conn: Conn) -> None:
    """From line, from those that wait and from those that are kept; what runs stays, what is gone is gone."""
    (running,) = await put(conn)
    await take(conn, await hire(conn))
    others = [
        (await put(conn))[0],
        await put_scheduled(conn),
        await put_finished(conn),
        await put_finished(conn, "succeeded"),
    ]
    for job in others:
        assert await carry_out(conn, jobs.delete(job)) is True
        assert await carry_out(conn, jobs.delete(job)) is False
    with pytest.raises(FastqError, match="is running and cannot be deleted"):
        await carry_out(conn, jobs.delete(running))
    assert await states(conn) == {running: "running"}


async def test_delete_waits_for_a_claim_and_leaves_what_it_took(conn: Conn, other: Conn, third: Conn) -> None:
    """The job runs by then, so it is not deleted."""
    who = await hire(conn)
    (job,) = await put(conn)
    async with conn.transaction():
        await take(conn, who)
        asked = asyncio.create_task(carry_out(other, jobs.delete(job)))
        await until_blocked(third, other)
    with pytest.raises(FastqError, match="is running"):
        await asked
    assert await states(conn) == {job: "running"}


async def test_many_are_deleted(conn: Conn) -> None:
    """By filter, up to a limit, and never what runs."""
    (running,) = await put(conn)
    await take(conn, await hire(conn))
    await put(conn, "{}", "{}")
    scheduled = await put_scheduled(conn, "retrying")
    done = await put_finished(conn, "succeeded")
    await put_finished(conn, queue="mail")
    assert await carry_out(conn, jobs.delete_many(JobFilter(queue="mail"))) == 1
    assert await carry_out(conn, jobs.delete_many(JobFilter(states=(JobState.READY,)), 1)) == 1
    assert await carry_out(conn, jobs.delete_many(JobFilter(states=(JobState.READY,)))) == 1
    assert await states(conn) == {running: "running", scheduled: "retrying", done: "succeeded"}
    assert await carry_out(conn, jobs.delete_many(JobFilter())) == 2
    with pytest.raises(UsageError, match="running jobs cannot be deleted"):
        jobs.delete_many(JobFilter(states=(JobState.RUNNING,)))


# -- app.jobs


async def test_the_app_and_its_synchronous_twin_do_the_same(conn: Conn, dsn: str) -> None:
    """get, list, retry, cancel, delete and their many, both ways."""
    app = fastq.App(dsn)
    async with app:
        job = (await put(conn))[0]
        assert await app.jobs.get(1 << 40) is None
        found = await app.jobs.get(job)
        assert found is not None
        assert await app.jobs.list(state="ready") == [found]
        assert await app.jobs.cancel(job) == "cancelled"
        assert await app.jobs.retry(job) is True
        assert await app.jobs.cancel_many(queue="default") == (1, 0)
        assert await app.jobs.retry_many(state=["cancelled"], limit=9) == 1
        assert await app.jobs.delete_many(everything=True) == 1
        assert await app.jobs.delete(job) is False

    def sync() -> None:
        with app:
            assert app.jobs.get_sync(again) is not None
            assert [job.id for job in app.jobs.list_sync(task="t", limit=1)] == [again]
            assert app.jobs.cancel_sync(again) == "cancelled"
            assert app.jobs.retry_sync(again) is True
            assert app.jobs.cancel_many_sync(task="t") == (1, 0)
            assert app.jobs.retry_many_sync(task="t") == 1
            assert app.jobs.delete_sync(again) is True
            assert app.jobs.delete_many_sync(everything=True) == 0

    again = (await put(conn))[0]
    await asyncio.to_thread(sync)
    with pytest.raises(NotOpen):
        await app.jobs.get(1)


async def test_all_jobs_must_be_meant(dsn: str) -> None:
    """Without a filter nothing is changed by accident; unknown states and negative limits are told."""
    async with fastq.App(dsn) as app:
        for method in (app.jobs.retry_many, app.jobs.cancel_many, app.jobs.delete_many):
            with pytest.raises(UsageError, match="everything=True"):
                await method(limit=1)
        with pytest.raises(UsageError, match="'asleep' is not a valid JobState; there are ready, running"):
            await app.jobs.list(state="asleep")
        with pytest.raises(UsageError, match="limit"):
            await app.jobs.list(limit=-1)


async def test_an_older_schema_says_what_to_do(conn: Conn) -> None:
    """The function is missing: migrate."""
    async with conn.transaction(force_rollback=True):
        await conn.execute("alter function fastq.find(int8) rename to found")
        with pytest.raises(SchemaError, match="run `fastq migrate`"), told():
            await carry_out(conn, jobs.find(1))
