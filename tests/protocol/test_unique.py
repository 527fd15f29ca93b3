"""Unique keys: who gets one, who is told of the holder, and when it is free again, on real connections."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from psycopg import AsyncConnection, Connection
from scene import Conn, ask, failed, hire, ids_of, later, put, states, take, until_blocked

import fastq
from fastq.errors import UsageError
from fastq.job import JobSpec, Options
from fastq.jobs import told
from fastq.outcome import RetryPolicy, after_death, done, next_step, succeeded
from fastq.protocol import ack, completion, copying, enqueue, jobs, reap, unique
from fastq.protocol.claim import Lane
from fastq.protocol.completion import Place
from fastq.protocol.copying import CopyText
from fastq.protocol.enqueue import Apart
from fastq.protocol.unique import Placed
from fastq.settlement import LeasedJob, Settlement
from fastq.states import Goes, JobState

pytestmark = pytest.mark.protocol

LIMIT = 10_000


def spec(key: str | None = "k", n: int = 0, **options: Any) -> JobSpec:
    """Return a job with a unique key."""
    return JobSpec("t", {"n": n}, Options(unique_key=key, **options))


def lines(*specs: JobSpec) -> list[str]:
    """Return them as lines."""
    return [unique.line(one, enqueue.payload(one, LIMIT)) for one in specs]


async def add(conn: Conn, *specs: JobSpec) -> list[Placed]:
    """Enqueue in one statement."""
    return await unique.insert(conn, lines(*(specs or (spec(),))))


async def keys(conn: Conn) -> dict[str, int]:
    """Return who holds which key."""
    return dict(await ask(conn, "select key, job from fastq.unique_key"))


async def run(conn: Conn, **options: Any) -> LeasedJob:
    """Enqueue a unique job and claim it."""
    ((job, _),) = await add(conn, spec(**options))
    return await claimed(conn, job)


async def claimed(conn: Conn, job: int, who: int | None = None) -> LeasedJob:
    """Claim a job, alone."""
    got = await take(conn, await hire(conn) if who is None else who)
    assert ids_of(got) == [job]
    ((meta,),) = await ask(conn, "select meta from fastq.job where id = %s", job)
    return LeasedJob(lease=got.lease, ord=0, id=job, task="t", attempt=0, meta=meta)


async def settle(conn: Conn, job: LeasedJob, settlement: Settlement) -> bool:
    """Carry out a settlement for the worker that has the lease; True if it was."""
    rows = await ask(conn, "select worker from fastq.lease where id = %s", job.lease)
    return bool(await ack.settle(conn, slot=0, worker=rows[0][0], settlements=[settlement]))


# -- who gets the key


async def test_one_job_at_a_time(conn: Conn) -> None:
    """The second enqueue gets the first one's id, and enqueues nothing."""
    (first,) = await add(conn)
    assert not first.duplicate
    assert await add(conn, spec(n=1)) == [Placed(first.id, True)]
    assert await states(conn) == {first.id: "ready"}
    assert await keys(conn) == {"k": first.id}


async def test_many_in_one_statement(conn: Conn) -> None:
    """Answers come in the order of the lines; of equal keys the first one counts; each lands where its options say."""
    (held,) = await add(conn, spec("b"))
    soon = datetime.now(UTC) + timedelta(hours=1)
    answers = await add(
        conn,
        spec("c", 1, delay_s=60.0),
        spec("b", 2),
        spec("a\\", 3, queue="mail", priority=1, group_key="g", headers={"h": "\0"}),
        spec("c", 4),
        spec("d", 5, run_at=soon),
    )
    assert [answer.duplicate for answer in answers] == [False, True, False, True, False]
    assert answers[1].id == held.id
    assert answers[3].id == answers[0].id
    rows = await ask(
        conn, "select payload->>'n', state, queue, priority, group_key, unique_key from fastq.job order by 1"
    )
    assert rows[1:] == [
        ("1", "scheduled", "default", 4, "", "c"),
        ("3", "ready", "mail", 1, "g", "a\\"),
        ("5", "scheduled", "default", 4, "", "d"),
    ]


async def test_a_duplicate_leaves_the_callers_transaction_alone(conn: Conn) -> None:
    """What was written before and after it is committed."""
    (first,) = await add(conn)
    async with conn.transaction():
        (other,) = await add(conn, spec("other"))
        assert await add(conn) == [Placed(first.id, True)]
        (third,) = await add(conn, spec("third"))
    assert await keys(conn) == {"k": first.id, "other": other.id, "third": third.id}


async def test_rolled_back_with_the_callers_transaction(conn: Conn) -> None:
    """Neither the job nor the key stays."""
    async with conn.transaction(force_rollback=True):
        await add(conn)
    assert (await states(conn), await keys(conn)) == ({}, {})


@pytest.mark.parametrize("commits", [True, False])
async def test_the_second_waits_for_the_firsts_commit(conn: Conn, other: Conn, third: Conn, commits: bool) -> None:
    """It learns the holder's id if that one commits, and gets the key if not."""
    async with conn.transaction(force_rollback=not commits):
        (first,) = await add(conn)
        waiting = asyncio.create_task(add(other, spec(n=1)))
        await until_blocked(third, other)
    (second,) = await waiting
    assert second.duplicate is commits
    assert (second.id == first.id) is commits
    assert await states(conn) == {second.id: "ready"}


async def test_a_duplicate_locks_nothing(conn: Conn, other: Conn) -> None:
    """The holder ends although the transaction of one that was refused is still open."""
    job = await run(conn)
    async with other.transaction():
        assert (await add(other))[0].duplicate
        assert await settle(conn, job, done(job))
        assert await keys(conn) == {}


async def test_who_waits_for_the_end_of_the_holder_gets_the_key(conn: Conn, other: Conn, third: Conn) -> None:
    """An enqueue that meets a key that is just given back waits for that, and takes it."""
    job = await run(conn)
    async with conn.transaction():
        await settle(conn, job, done(job))
        waiting = asyncio.create_task(add(other))
        await until_blocked(third, other)
    assert not (await waiting)[0].duplicate


async def test_keys_in_any_order_do_not_deadlock(conn: Conn, other: Conn) -> None:
    """Two lists with the same keys in opposite orders, again and again: each key has one holder."""
    names = [f"k{n}" for n in range(50)]
    for _ in range(20):
        answers = await asyncio.gather(
            add(conn, *(spec(name) for name in names)), add(other, *(spec(name) for name in reversed(names)))
        )
        held = await keys(conn)
        assert [answer.id for answer in answers[0]] == [held[name] for name in names]
        assert sum(not answer.duplicate for answer in (*answers[0], *answers[1])) == 50
        await conn.execute("delete from fastq.unique_key")
        await conn.execute("delete from fastq.ready")


async def test_patience(conn: Conn, other: Conn) -> None:
    """A bounded wait ends with an error, and the connection's own bound is what it was."""
    async with conn.transaction():
        await add(conn)
        with pytest.raises(psycopg.errors.LockNotAvailable):
            await unique.insert(other, lines(spec()), patience="10ms")
    assert await ask(other, "show lock_timeout") == [("0",)]


# -- streams


async def copy(conn: Conn, specs: Iterable[JobSpec]) -> Any:
    """Enqueue a stream."""
    return await copying.copy_jobs(conn, specs, CopyText(slot=0, limit_bytes=LIMIT), slot=0)


async def test_streams(conn: Conn) -> None:
    """Unique jobs leave the COPY for a statement of their own; the ids come in the order of the list all the same."""
    (held,) = await add(conn, spec("k7", 7))
    stream = [
        spec(None if n % 3 else f"k{n % 600}", n, delay_s=60.0 if n % 2 else None, headers={"a": "\\\n\t"})
        for n in range(5000)
    ]
    stream[1] = spec("k7", 1)
    ids = await copy(conn, stream)
    rows = await ask(conn, "select id, (payload->>'n')::int, unique_key, state from fastq.job where id <> %s", held.id)
    found = {row[0]: row[1:] for row in rows}
    assert ids[1] == held.id
    assert ids.duplicates[0] == 1
    assert [ids[n] for n in (0, 1, 600, 4999)] == [list(ids)[n] for n in (0, 1, 600, 4999)]
    for n, job in enumerate(ids):
        if n == 1:
            continue
        first = n % 600 if n % 3 == 0 else n
        assert found[job] == (first, stream[n].options.unique_key, "scheduled" if first % 2 else "ready")
        assert (n in ids.duplicates) is (first != n)
    assert len(found) == 5000 - len(ids.duplicates)
    assert len(await keys(conn)) == 201


async def test_a_stream_of_unique_jobs_only(conn: Conn) -> None:
    """Twice the same: the second stream's ids are those of the first."""
    first = list(await copy(conn, [spec(f"k{n}") for n in range(2500)]))
    again = await copy(conn, [spec(f"k{n}") for n in reversed(range(2500))])
    assert list(again) == first[::-1]
    assert again.duplicates == list(range(2500))
    assert len(await states(conn)) == 2500


def test_streams_without_an_event_loop(dsn: str) -> None:
    """The synchronous twin does the same."""
    text = CopyText(slot=0, limit_bytes=LIMIT)
    with Connection.connect(dsn, autocommit=True) as conn:
        (held,) = unique.insert_sync(conn, lines(spec("b")))
        ids = copying.copy_jobs_sync(conn, [spec("a"), spec("b"), spec(None), spec("a")], text, slot=0)
    assert (list(ids)[1], ids[3]) == (held.id, ids[0])
    assert ids.duplicates == [1, 3]


# -- what users call


async def test_the_app(conn: Conn, dsn: str) -> None:
    """`enqueue` and its twins tell of duplicates; `conn=` makes it part of a transaction; options are checked."""
    app = fastq.App(dsn)

    @app.task(name="t", keep=60)
    async def task(n: int) -> int:
        return n

    bound = task.options(unique_key="u7")
    async with app:
        one = await bound.enqueue(n=1)
        two = await bound.enqueue(n=2)
        assert (one.duplicate, two) == (False, fastq.JobRef(one.id, duplicate=True))
        async with await AsyncConnection.connect(dsn) as own:
            assert (await app.enqueue(bound.job(n=3), conn=own)).duplicate
            new = await app.enqueue(task.options(unique_key="u8").job(n=4), conn=own)
            assert (await app.enqueue_many([bound.job(n=1), task.job(n=2)], conn=own))[0] == one.id
            await own.rollback()
        assert list(await app.enqueue_many([task.options(unique_key="u8").job(n=5)])) != [new.id]
        info = await app.jobs.get(one.id)
        assert info is not None
        assert (info.unique_key, info.unique_until) == ("u7", "finished")
        with pytest.raises(fastq.PayloadTooLarge):
            await app.enqueue(JobSpec("t", {"a": "x" * 2_000_000}, Options(unique_key="z")))
    with app:
        assert bound.enqueue_sync(n=3) == fastq.JobRef(one.id, duplicate=True)
        assert not task.options(unique_key="u9", delay=60).enqueue_sync(n=3).duplicate
        with Connection.connect(dsn) as own_sync:
            assert app.enqueue_sync(bound.job(n=3), conn=own_sync).duplicate
            assert not app.enqueue_sync(task.options(unique_key="u10").job(n=3), conn=own_sync).duplicate
    assert sorted(await keys(conn)) == ["u10", "u7", "u8", "u9"]


async def test_the_app_does_not_wait_for_ever(conn: Conn, dsn: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """An open transaction that is taking the key is waited for with patience; then nothing was enqueued, in words."""
    monkeypatch.setattr(unique, "PATIENCE", "20ms")
    app = fastq.App(dsn)
    words = "another transaction is taking the same unique key"
    async with conn.transaction(force_rollback=True):
        await add(conn)
        async with app:
            for ask_app in (app.enqueue(spec()), app.enqueue_many([spec(None), spec()]), app.reserve(spec())):
                with pytest.raises(fastq.FastqError, match=words):
                    await ask_app
        with app:
            for ask_sync in (app.enqueue_sync, lambda one: app.enqueue_many_sync([one]), app.reserve_sync):
                with pytest.raises(fastq.FastqError, match=words):
                    ask_sync(spec())
    assert await states(conn) == {}
    async with app:
        assert not (await app.enqueue(spec())).duplicate


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"unique_key": ""}, "unique_key must be"),
        ({"unique_key": "a\tb"}, "unique_key must be"),
        ({"unique_key": 7}, "unique_key must be"),
        ({"unique_until": "started"}, "needs a unique_key"),
        ({"unique_key": "k", "unique_until": "sometime"}, "unique_until must be"),
        ({"unique_key": "k", "unique_until": 0}, "unique_until must be"),
        ({"unique_key": "k", "unique_until": float("inf")}, "unique_until must be"),
    ],
)
def test_options_that_cannot_work(options: dict[str, Any], words: str) -> None:
    """Each is refused in one sentence."""
    with pytest.raises(UsageError, match=words):
        Options().but(**options)


# -- when it is free again: until finished


ENDS = {
    "success": done,
    "a success that is kept": lambda job: succeeded(job, "1", RetryPolicy(keep_s=60.0)),
    "failed": lambda job: failed(job.lease, meta=job.meta),
    "discarded": lambda job: failed(job.lease, meta=job.meta, state=JobState.DISCARDED),
    "cancelled": lambda job: failed(job.lease, meta=job.meta, state=JobState.CANCELLED),
    "three crashes": lambda job: after_death(job, running=True, cause="x", max_crashes=1),
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
    "a next step": lambda job: next_step(job, "t2", "{}", None),
    "a delayed step": lambda job: next_step(job, "t2", "{}", 60.0),
    "a crash": lambda job: after_death(job, running=True, cause="x"),
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
    back = await reap.reap(conn, slot=0, worker=worker, verdict=lambda one: after_death(one, running=False, cause="x"))
    assert back == 1
    assert not await ack.settle(conn, slot=0, worker=worker, settlements=[done(job)])
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
            await unique.free(conn, slot=0, job=job.id)
            assert await completion.complete(conn, place)
        assert (await keys(conn) == {}) is commits
    (new,) = await add(other)
    ((worker,),) = await ask(conn, "select worker from fastq.lease")
    await reap.reap(conn, slot=0, worker=worker, verdict=lambda one: after_death(one, running=False, cause="x"))
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


# -- people who steer


@pytest.mark.parametrize("wait", [None, 60.0])
@pytest.mark.parametrize("call", ["cancel(%s)", "cancel_jobs(queue => 'default')", "delete(%s)", "purge('default')"])
async def test_cancelled_deleted_purged(conn: Conn, call: str, wait: float | None) -> None:
    """Each frees the keys of the jobs it ends, in its transaction; those that are held for a time stay."""
    (job, timed) = await add(conn, spec(delay_s=wait), spec("timed", unique_until=60, delay_s=wait))
    params = (job.id,) if "%s" in call else ()
    async with conn.transaction(force_rollback=True):
        await ask(conn, f"select fastq.{call}", *params)
        assert await keys(conn) == {"timed": timed.id}
    assert await keys(conn) == {"k": job.id, "timed": timed.id}
    await ask(conn, f"select fastq.{call}", *params)
    assert not (await add(conn))[0].duplicate


async def kept_as_failed(conn: Conn, **options: Any) -> int:
    """Return the id of a unique job that failed."""
    job = await run(conn, **options)
    assert await settle(conn, job, failed(job.lease, meta=job.meta))
    return job.id


async def test_retried_with_its_key(conn: Conn) -> None:
    """A retry takes the key again, also where jsonb cannot read its headers; without a rival it stands in line."""
    for headers in (None, {"a": "\0", "unique": ["no", "finished"]}):
        job = await kept_as_failed(conn, headers=headers)
        assert await ask(conn, "select fastq.retry(%s)", job) == [(True,)]
        assert await keys(conn) == {"k": job}
        await ask(conn, "select fastq.delete(%s)", job)


async def test_a_retry_is_refused_while_another_job_holds_the_key(conn: Conn) -> None:
    """One sentence says so, nothing is changed; afterwards it can be retried."""
    job = await kept_as_failed(conn)
    (rival,) = await add(conn)
    with pytest.raises(fastq.FastqError) as refused, told():
        await jobs.carry_out(conn, jobs.retry(job))
    assert str(refused.value) == f"job {job} cannot be retried: its unique key k is held by job {rival.id}"
    assert await states(conn) == {job: "failed", rival.id: "ready"}
    await ask(conn, "select fastq.delete(%s)", rival.id)
    assert await jobs.carry_out(conn, jobs.retry(job))


async def test_retrying_many_leaves_those_out_whose_key_is_held(conn: Conn) -> None:
    """Of two failed jobs with one key the first is retried, of those with a rival none."""
    first = await kept_as_failed(conn)
    second = await kept_as_failed(conn)
    other = await kept_as_failed(conn, key="other")
    (rival,) = await add(conn, spec("other"))
    (plain,) = await put(conn)
    who = await hire(conn)
    await ask(conn, "select fastq.delete(%s)", rival.id)
    got = await take(conn, who)
    await ack.settle(conn, slot=0, worker=who, settlements=[failed(got.lease)])
    (rival,) = await add(conn, spec("other"))
    assert await jobs.carry_out(conn, jobs.retry_many(jobs.JobFilter())) == 2
    assert await states(conn) == {first: "ready", second: "failed", other: "failed", rival.id: "ready", plain: "ready"}
    assert await keys(conn) == {"k": first, "other": rival.id}


# -- SQL


async def test_from_sql(conn: Conn) -> None:
    """fastq.enqueue returns the holder's id; enqueue_many counts what it enqueued."""
    query = "select fastq.enqueue('t', unique_key => %s, unique_until => %s)"
    ((first,),) = await ask(conn, query, "k", "finished")
    assert await ask(conn, query, "k", "1 hour") == [(first,)]
    ((timed,),) = await ask(conn, query, "timed", "0.5")
    await ask(conn, "select fastq.enqueue('t', delay => '1 hour', unique_key => 'later', headers => '{\"a\":1}')")
    rows = await ask(conn, "select fastq.enqueue_many('t', '[{},{},{},{}]', unique_keys => '{k,null,n,n}')")
    assert rows == [(2,)]
    assert sorted(await keys(conn)) == ["k", "later", "n", "timed"]
    await ask(conn, "select fastq.enqueue_many('t', '[]', unique_keys => '{}')")
    metas = await ask(conn, "select unique_key, meta->'unique'->>1, meta->'headers' from fastq.job order by 1")
    assert metas == [
        ("k", "finished", None),
        ("later", "finished", {"a": 1}),
        ("n", "finished", None),
        ("timed", "0.5", None),
        (None, None, None),
    ]
    await conn.execute("update fastq.unique_key set expires_at = now() where job = %s", (timed,))
    assert await ask(conn, query, "timed", "started") != [(timed,)]


@pytest.mark.parametrize(
    "call",
    [
        "enqueue('t', unique_key => '')",
        "enqueue('t', unique_key => e'a\\tb')",
        "enqueue('t', unique_key => 'k', unique_until => 'sometime')",
        "enqueue('t', unique_key => 'k', unique_until => '-1 hour')",
        "enqueue('t', unique_key => 'k', unique_until => null)",
        "enqueue_many('t', '[{}]', unique_keys => '{a,b}')",
        "enqueue_many('t', '[{}]', unique_keys => array[''])",
    ],
)
async def test_what_sql_refuses(conn: Conn, call: str) -> None:
    """In words, and nothing was enqueued."""
    with pytest.raises(psycopg.errors.InvalidParameterValue, match="unique_"):
        await conn.execute(f"select fastq.{call}".encode())
    assert (await states(conn), await keys(conn)) == ({}, {})


# -- upkeep


async def test_expired_keys_are_pruned(conn: Conn) -> None:
    """Those whose time is over, no others."""
    await add(conn, spec("a"), spec("b", unique_until=60), spec("c", unique_until=60))
    await conn.execute("update fastq.unique_key set expires_at = now() where key = 'b'")
    assert await unique.prune_expired(conn, slot=0) == 1
    assert sorted(await keys(conn)) == ["a", "c"]


async def test_orphans_are_swept(conn: Conn) -> None:
    """A key is deleted whose job is nowhere, or kept; page by page; those of living jobs and young ones stay."""
    living = await add(conn, spec("ready"), spec("waits", delay_s=60.0), spec("back"), spec("runs", queue="q"))
    who = await hire(conn)
    got = await take(conn, who)
    place = ids_of(got).index(living[2].id)
    metas = [{"unique": ["ready", "finished"]}, {"unique": ["back", "finished"]}]
    back = [Settlement(lease=got.lease, ord=n, goes=Goes.READY, meta=metas[n == place]) for n in range(2)]
    await ack.settle(conn, slot=0, worker=who, settlements=back)
    await take(conn, who, lane=Lane(0, 0, "q", 4, ""))
    group = {"group_key": "g", "ordered": True}
    for key in ("head", "behind"):
        await enqueue.insert_apart(conn, Apart(spec(key, **group), LIMIT))
    await add(conn, spec("fresh"), spec("gone"), spec("kept"), spec("timed", unique_until=60))
    await conn.execute("update fastq.unique_key set taken_at = now() - interval '2 min' where key <> 'fresh'")
    await conn.execute("delete from fastq.ready where meta->'unique'->>0 in ('fresh', 'gone', 'kept', 'timed')")
    await conn.execute(
        "insert into fastq.finished (slot, id, state, priority, attempt, enqueued_ms, queue, group_key, task)"
        " select 0, job, 'failed', 4, 1, 0, 'default', '', 't' from fastq.unique_key where key = 'kept'"
    )
    swept, after = 0, ""
    for _ in range(10):
        page = await unique.sweep(conn, slot=0, after=after, limit=2)
        swept += page.keys
        if page.after is None:
            break
        after = page.after
    assert swept == 2
    assert sorted(await keys(conn)) == ["back", "behind", "fresh", "head", "ready", "runs", "timed", "waits"]
