"""Unique keys: what people, SQL and the leader do with jobs that hold one."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest
from scene import Conn, ask, failed, hire, ids_of, put, states, take
from unique_jobs import LIMIT, add, keys, run, settle, spec

import fastq
from fastq.ends.settlement import Settlement
from fastq.protocol import enqueue, jobs, unique
from fastq.protocol import settle as settling
from fastq.protocol.asking import carry_out
from fastq.protocol.claim import Lane
from fastq.protocol.enqueue import Apart
from fastq.protocol.refusal import as_our_errors
from fastq.states import Goes

pytestmark = pytest.mark.protocol


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
    with pytest.raises(fastq.FastqError) as refused, as_our_errors():
        await carry_out(conn, jobs.retry(job))
    assert str(refused.value) == f"job {job} cannot be retried: its unique key k is held by job {rival.id}"
    assert await states(conn) == {job: "failed", rival.id: "ready"}
    await ask(conn, "select fastq.delete(%s)", rival.id)
    assert await carry_out(conn, jobs.retry(job))


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
    await settling.settle(conn, shard=0, worker=who, settlements=[failed(got.lease)])
    (rival,) = await add(conn, spec("other"))
    assert await carry_out(conn, jobs.retry_many(jobs.JobFilter())) == 2
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
    assert await unique.prune_expired(conn, shard=0) == 1
    assert sorted(await keys(conn)) == ["a", "c"]


async def test_orphans_are_swept(conn: Conn) -> None:
    """A key is deleted whose job is nowhere, or kept; page by page; those of living jobs and young ones stay."""
    living = await add(conn, spec("ready"), spec("waits", delay_s=60.0), spec("back"), spec("runs", queue="q"))
    who = await hire(conn)
    got = await take(conn, who)
    place = ids_of(got).index(living[2].id)
    metas = [{"unique": ["ready", "finished"]}, {"unique": ["back", "finished"]}]
    back = [Settlement(lease=got.lease, ord=n, goes=Goes.READY, meta=metas[n == place]) for n in range(2)]
    await settling.settle(conn, shard=0, worker=who, settlements=back)
    await take(conn, who, lane=Lane(0, 0, "q", 4, ""))
    group = {"group_key": "g", "ordered": True}
    for key in ("head", "behind"):
        await carry_out(conn, enqueue.insert_apart(Apart(spec(key, **group), LIMIT)))
    await add(conn, spec("fresh"), spec("gone"), spec("kept"), spec("timed", unique_until=60))
    await conn.execute("update fastq.unique_key set taken_at = now() - interval '2 min' where key <> 'fresh'")
    await conn.execute("delete from fastq.ready where meta->'unique'->>0 in ('fresh', 'gone', 'kept', 'timed')")
    await conn.execute(
        "insert into fastq.finished (shard, id, state, priority, attempt, enqueued_ms, queue, group_key, task)"
        " select 0, job, 'failed', 4, 1, 0, 'default', '', 't' from fastq.unique_key where key = 'kept'"
    )
    swept, after = 0, ""
    for _ in range(10):
        page = await unique.sweep(conn, shard=0, after=after, limit=2)
        swept += page.keys
        if page.after is None:
            break
        after = page.after
    assert swept == 2
    assert sorted(await keys(conn)) == ["back", "behind", "fresh", "head", "ready", "runs", "timed", "waits"]
