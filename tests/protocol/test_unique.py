"""Unique keys: who gets one, and who is given the holder's id instead."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from psycopg import AsyncConnection, Connection
from scene import Conn, ask, states, until_blocked
from unique_jobs import LIMIT, add, keys, lines, run, settle, spec

import fastq
from fastq.ends.outcome import done
from fastq.errors import UsageError
from fastq.job import JobSpec, Options
from fastq.protocol import copying, unique
from fastq.protocol.asking import carry_out, carry_out_sync
from fastq.protocol.packing import Packer
from fastq.protocol.unique import Placed

pytestmark = pytest.mark.protocol


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
            await carry_out(other, unique.insert(lines(spec()), patience="10ms"))
    assert await ask(other, "show lock_timeout") == [("0",)]


# -- streams


async def copy(conn: Conn, specs: Iterable[JobSpec]) -> Any:
    """Enqueue a stream."""
    return await carry_out(conn, copying.copy_jobs(specs, Packer(shard=0, limit_bytes=LIMIT)))


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
    text = Packer(shard=0, limit_bytes=LIMIT)
    with Connection.connect(dsn, autocommit=True) as conn:
        (held,) = carry_out_sync(conn, unique.insert(lines(spec("b"))))
        ids = carry_out_sync(conn, copying.copy_jobs([spec(x) for x in ("a", "b", None, "a")], text))
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
