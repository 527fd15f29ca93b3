"""The contract for every other language: fastq.enqueue, fastq.enqueue_many, and the view fastq.job."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest
from scene import LANE, Conn, ask, failed, hire, jobs_of, later, put, states, take

from fastq.protocol import ack
from fastq.protocol.claim import Lane
from fastq.protocol.settle import settle

pytestmark = pytest.mark.protocol


async def test_enqueue_with_the_least(conn: Conn) -> None:
    """A task's name is enough; the id is that of the job."""
    ((job,),) = await ask(conn, "select fastq.enqueue('t')")
    ((place, task, attempt, enqueued_ms, payload),) = jobs_of(await take(conn, await hire(conn)))
    assert (place, task, attempt, payload) == (job, "t", 0, {})
    assert await ask(conn, "select abs(extract(epoch from now()) * 1000 - %s) < 60000", enqueued_ms) == [(True,)]


async def test_enqueue_with_everything(conn: Conn) -> None:
    """All arguments can be given by name."""
    await conn.execute("update fastq.ring set head = 2")
    ((job,),) = await ask(
        conn,
        "select fastq.enqueue(task => 'it''s', payload => '{\"a\": \"\\u0000\"}', queue => 'mail', priority => 0,"
        " group_key => 'g', headers => '{\"h\": \"\\u0000\"}')",
    )
    rows = await ask(conn, "select segment, pos, queue, priority, group_key from fastq.ready")
    assert rows == [(2, job, "mail", 0, "g")]
    ((_, task, _, _, payload, _, meta),) = jobs_of(await take(conn, await hire(conn), lane=Lane(0, 2, "mail", 0, "g")))
    assert (task, payload, meta) == ("it's", {"a": "\0"}, {"headers": {"h": "\0"}})


@pytest.mark.parametrize(
    ("when", "state", "in_s"),
    [
        ("delay => interval '90 seconds'", "scheduled", 90),
        ("run_at => now() + interval '2 hours'", "scheduled", 7200),
        ("run_at => now() + interval '1 hour', delay => interval '9 hours'", "scheduled", 3600),
        ("delay => interval '0'", "ready", None),
        ("run_at => now() - interval '1 day'", "ready", None),
        ("delay => null, run_at => null", "ready", None),
    ],
)
async def test_enqueue_for_later(conn: Conn, when: str, state: str, in_s: int | None) -> None:
    """`run_at` goes before `delay`; what is due already goes into line at once."""
    async with conn.transaction():
        ((job,),) = await ask(conn, f"select fastq.enqueue('t', {when}, headers => '{{}}')")
        assert await states(conn) == {job: state}
        rows = await ask(conn, "select extract(epoch from run_at - now())::int from fastq.job")
    assert rows == [(in_s,)]


@pytest.mark.parametrize("payload", ["'[]'", "'1'", "'null'", "'\"a\"'", "null"])
async def test_only_objects_are_arguments(conn: Conn, payload: str) -> None:
    """A payload that is no object is refused, in words, and nothing was enqueued."""
    with pytest.raises(psycopg.errors.InvalidParameterValue, match="must be a json object"):
        await conn.execute(f"select fastq.enqueue('t', {payload})")
    assert await states(conn) == {}


async def test_the_payload_limit(conn: Conn) -> None:
    """The setting says how large a payload may be."""
    await conn.execute("update fastq.setting set value = '20' where name = 'payload_limit_bytes'")
    await ask(conn, "select fastq.enqueue('t', %s)", '{"a":"' + "x" * 12 + '"}')
    for letters in ("x" * 12, "x" * 10 + "é"):
        with pytest.raises(psycopg.errors.InvalidParameterValue, match="21 bytes"):
            await ask(conn, "select fastq.enqueue('t', %s)", '{"a":"' + letters + '" }')


@pytest.mark.parametrize("priority", [-1, 10])
async def test_priorities_have_bounds(conn: Conn, priority: int) -> None:
    """0 to 9, now and later."""
    for delay in ("0", "1 hour"):
        with pytest.raises(psycopg.errors.CheckViolation):
            await ask(conn, "select fastq.enqueue('t', priority => %s, delay => %s::interval)", priority, delay)


async def test_enqueue_in_a_transaction(conn: Conn, other: Conn) -> None:
    """Rolled back with the caller's transaction, and announced with its commit only."""
    await other.execute("listen fastq")
    async with conn.transaction(force_rollback=True):
        await ask(conn, "select fastq.enqueue('t')")
    async with conn.transaction():
        await ask(conn, "select fastq.enqueue('t')")
        await ask(conn, "select fastq.enqueue('t')")
    heard = [note.payload async for note in other.notifies(timeout=5, stop_after=1)]
    assert heard == ["0"]
    assert len(await states(conn)) == 2


async def test_enqueue_many(conn: Conn) -> None:
    """An array of payloads becomes as many jobs, in its order; the number comes back."""
    await conn.execute("update fastq.ring set head = 1")
    rows = await ask(conn, """select fastq.enqueue_many('t', '[{"n":0}, {"n":"\\u0000"}, {"n":2}]', 'mail', 2)""")
    assert rows == [(3,)]
    got = jobs_of(await take(conn, await hire(conn), lane=Lane(0, 1, "mail", 2, "")))
    assert [row[4]["n"] for row in got] == [0, "\0", 2]
    assert await ask(conn, "select fastq.enqueue_many('t', '[]')") == [(0,)]


@pytest.mark.parametrize("payloads", ["'[{}, 1]'", "'[{}, null]'", "'{}'"])
async def test_enqueue_many_takes_objects_only(conn: Conn, payloads: str) -> None:
    """One payload that is no object refuses the whole array."""
    with pytest.raises(psycopg.DataError):
        await conn.execute(f"select fastq.enqueue_many('t', {payloads})")
    assert await states(conn) == {}


async def test_enqueue_many_keeps_the_payload_limit(conn: Conn) -> None:
    """The limit is the same for one job and for many."""
    await conn.execute("update fastq.setting set value = '20' where name = 'payload_limit_bytes'")
    with pytest.raises(psycopg.errors.InvalidParameterValue):
        await ask(conn, """select fastq.enqueue_many('t', '[{}, {"a":"1234567890123"}]')""")


# -- the view


async def test_the_view_shows_every_state(conn: Conn) -> None:
    """Each job is one row, wherever it stands, with what is known of it there."""
    await conn.execute(
        "insert into fastq.scheduled (shard, id, run_at, reason, task) values (0, 1, now(), 'reserved', 't')"
    )
    ((scheduled,),) = await ask(conn, "select fastq.enqueue('t', delay => interval '1 hour')")
    places = await put(conn, *['{"a":1}'] * 6, attempt=1, lane=LANE)
    who = await hire(conn)
    lease = (await take(conn, who, limit=5)).lease
    settlements = [
        later(lease, 1, attempt=2),
        failed(lease, 2, attempt=2, keep_s=60.0),
        failed(lease, 3, state="discarded"),
    ]
    await settle(conn, shard=0, worker=who, settlements=settlements)
    await ack.ack_jobs(conn, shard=0, worker=who, jobs=[(lease, 4)])
    assert await states(conn) == {
        1: "reserved",
        scheduled: "scheduled",
        places[0]: "running",
        places[1]: "retrying",
        places[2]: "failed",
        places[3]: "discarded",
        places[5]: "ready",
    }
    known = await ask(
        conn,
        "select state, run_at is not null, claimed_at is not null, finished_at is not null, worker, attempt,"
        " payload->>'a', enqueued_at between now() - interval '1 min' and now() + interval '1 min'"
        " from fastq.job where id >= %s order by id",
        places[0],
    )
    assert known == [
        ("running", False, True, False, who, 1, "1", True),
        ("retrying", True, False, False, None, 2, "1", True),
        ("failed", False, False, True, None, 2, "1", True),
        ("discarded", False, False, True, None, 1, "1", True),
        ("ready", False, False, False, None, 1, "1", True),
    ]


async def test_the_view_shows_a_returned_job_under_its_id(conn: Conn) -> None:
    """A job's id is the same in every state, also where its position is another."""
    (place,) = await put(conn)
    who = await hire(conn)
    seen: list[Any] = []
    for _ in range(2):
        got = await take(conn, who)
        seen += (await states(conn)).items()
        await settle(conn, shard=0, worker=who, settlements=[later(got.lease)])
        await conn.execute(
            "with s as (delete from fastq.scheduled returning id)"
            " insert into fastq.ready_0 (id, task) select id, 't' from s"
        )
        seen += (await states(conn)).items()
    assert seen == [(place, "running"), (place, "ready")] * 2
