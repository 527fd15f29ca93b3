"""Pausing, resuming and purging queues, and the same by SQL."""

from __future__ import annotations

from typing import Any

import psycopg
import pytest
from scene import Conn, ask, hire, ids_of, put, states, take

from fastq.protocol import queues
from fastq.protocol.claim import Lane

pytestmark = pytest.mark.protocol

MAIL = Lane(0, 0, "mail", 4, "")


async def test_a_paused_queue_gives_nothing_until_it_is_resumed(conn: Conn, db: psycopg.Connection[Any]) -> None:
    """Other queues go on; both say whether they changed anything; who waits is woken."""
    who = await hire(conn)
    placed, others = await put(conn, lane=MAIL), await put(conn)
    assert (queues.pause(db, "mail"), queues.pause(db, "mail")) == (True, False)
    assert ids_of(await take(conn, who, lane=MAIL)) == []
    assert ids_of(await take(conn, who)) == others
    await conn.execute("listen fastq")
    assert (queues.resume(db, "mail"), queues.resume(db, "mail"), queues.resume(db, "none")) == (True, False, False)
    assert [note.payload async for note in conn.notifies(timeout=5, stop_after=1)] == [""]
    assert ids_of(await take(conn, who, lane=MAIL)) == placed


async def test_pausing_keeps_the_queues_other_settings(conn: Conn, db: psycopg.Connection[Any]) -> None:
    """Its row is changed, not replaced."""
    await conn.execute("insert into fastq.queue (name, weight) values ('mail', 7)")
    assert queues.pause(db, "mail") is True
    assert await ask(conn, "select paused, weight from fastq.queue") == [(True, 7)]


async def test_a_purge_deletes_what_waits(conn: Conn, db: psycopg.Connection[Any]) -> None:
    """In every segment and priority, with or without a time; what runs, is kept or is of other queues stays."""
    (running,) = await put(conn, lane=MAIL)
    await take(conn, await hire(conn), lane=MAIL)
    for segment in range(4):
        await put(conn, lane=Lane(0, segment, "mail", segment, f"g{segment}"))
    await conn.execute(
        "insert into fastq.scheduled (shard, run_at, reason, queue, task)"
        " select 0, now(), r, 'mail', 't' from unnest(array['scheduled', 'retrying', 'reserved']) r"
    )
    (elsewhere,) = await put(conn)
    await conn.execute(
        "insert into fastq.finished (shard, id, state, priority, attempt, enqueued_ms, queue, group_key, task)"
        " values (0, 1, 'failed', 4, 1, 0, 'mail', '', 't')"
    )
    assert (queues.purge(db, "mail"), queues.purge(db, "mail")) == (7, 0)
    assert await states(conn) == {running: "running", elsewhere: "ready", 1: "failed"}


async def test_the_functions_take_names(conn: Conn) -> None:
    """As docs/queues.md and docs/jobs.md write them."""
    for call, answer in (
        ("pause(queue => 'mail')", True),
        ("resume(queue => 'mail')", True),
        ("purge(queue => 'mail')", 0),
        ("retry(job => 1)", False),
        ("cancel(job => 1)", None),
        ("delete(job => 1)", None),
        ("retry_jobs(queue => 'mail', most => 10)", 0),
        ("delete_jobs(states => '{failed}', task => 't')", 0),
    ):
        assert await ask(conn, f"select fastq.{call}") == [(answer,)]
    assert await ask(conn, "select * from fastq.cancel_jobs(task => 't')") == [(0, 0)]
    assert await ask(conn, "select state from fastq.find(7)") == []
