"""Finding, cancelling, retrying and deleting jobs, wherever they stand and whoever is at them."""

from __future__ import annotations

import json
from typing import Any

import pytest
from jobs_scene import ERRORS, find, put_finished, put_scheduled
from scene import (
    Conn,
    ask,
    back,
    hire,
    put,
    take,
)

from fastq.errors import UsageError
from fastq.protocol import jobs
from fastq.protocol.asking import carry_out
from fastq.protocol.claim import Lane
from fastq.protocol.jobs import JobFilter
from fastq.protocol.settle import settle
from fastq.states import JobState

pytestmark = pytest.mark.protocol

MAIL = Lane(0, 0, "mail", 4, "")


KEPT = (JobState.FAILED, JobState.DISCARDED, JobState.CANCELLED, JobState.EXPIRED)


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


async def test_an_expiry_beside_a_header_that_json_functions_refuse(conn: Conn) -> None:
    """The retry is without it, wherever it stands."""
    for more in ("", "," + ERRORS[1:-1], ',"crashes":2'):
        job = await put_finished(conn, meta='{"headers":{"h":"\\u0000"},"expires":1e-05' + more + "}")
        assert await carry_out(conn, jobs.retry(job))
        ((meta,),) = await ask(conn, "select meta::text from fastq.job where id = %s", job)
        assert "expires" not in meta
        assert '"headers"' in meta


async def test_errors_beside_a_header_that_json_functions_refuse(conn: Conn) -> None:
    """\\u0000 in a header neither hides the errors nor breaks the search or the retry."""
    meta = '{"headers":{"h":"\\u0000"},' + ERRORS[1:-1] + ',"crashes":2}'
    job = await put_finished(conn, meta=meta)
    await put_finished(conn, meta='{"headers":{"h":"\\u0000 ValueError"}}')
    assert await carry_out(conn, jobs.retry_many(JobFilter(error="ValueError"))) == 1
    found = await find(conn, job)
    assert found is not None
    assert (found.state, found.crashes, found.headers, len(found.errors)) == ("ready", 0, {"h": "\0"}, 1)
