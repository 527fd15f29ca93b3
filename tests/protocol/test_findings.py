"""Each finding of `fastq doctor` that SQL can bring about, brought about."""

from __future__ import annotations

import psycopg
import pytest

from fastq.insights import facts
from fastq.insights.doctor import diagnose
from fastq.postgres import database

pytestmark = pytest.mark.protocol

WORKER = (
    "insert into fastq.worker (shard, id, host, pid, expires_at, about, counters)"
    " values (0, {id}, 'h', 1, now() + '{left}', '{about}', '{told}')"
)
LEADER = "insert into fastq.leader (name, holder, expires_at) values ('steward', 'h:1', now() + interval '1 hour')"
ALIVE = [WORKER.format(id=1, left="1 hour", about="{}", told="{}"), LEADER, "set application_name = 'fastq listener'"]
TASK = "insert into fastq.task (name, owner) values ('t', 'a')"
READY = "insert into fastq.ready_0 (task) values ('t')"
CRON = (
    "insert into fastq.cron (name, next_at, spec, owner, seen_at, paused)"
    " values ('s', {next}, '{{}}', 'a', now() - interval '{ago}', {paused})"
)
OLD = "insert into fastq.ready_0 (task, enqueued_ms) values ('t', extract(epoch from now()) * 1000 - 3600000)"
FAILED = (
    "insert into fastq.finished (shard, id, state, priority, attempt, enqueued_ms, queue, group_key, task, payload)"
    " values (0, 5, 'failed', 4, 1, 1, 'q', '', 't', '{}')"
)

BROUGHT = {
    "F101": ["update fastq.definition set checksum = 'x' where name = 'functions/pause'"],
    "F116": [*ALIVE, WORKER.format(id=2, left="1 hour", about="{}", told='{"clock_ms": 90000}').replace("'h'", "'h2'")],
    "F140": [TASK, READY],
    "F141": [*ALIVE, WORKER.format(id=2, left="-1 minute", about="{}", told="{}")],
    "F142": [ALIVE[0], "set application_name = 'fastq listener'"],
    "F143": ALIVE[:2],
    "F144": [*ALIVE, *(WORKER.format(id=n, left="1 hour", about=f'{{"version": "{n}"}}', told="{}") for n in (2, 3))],
    "F150": [*ALIVE, TASK, READY, "select fastq.pause('default')"],
    "F151": [*ALIVE, TASK, OLD],
    "F152": ["insert into fastq.queue (name, max_running) values ('q', 0)"],
    "F153": [WORKER.format(id=1, left="1 hour", about='{"queues": ["mail"]}', told="{}"), *ALIVE[1:], TASK, READY],
    "F154": [*ALIVE, READY],
    "F160": [FAILED],
    "F161": [CRON.format(next="now() + interval '1 hour'", ago="1 hour", paused="false")],
    "F162": [CRON.format(next="now() + interval '1 hour'", ago="1 second", paused="true")],
    "F163": [*ALIVE, CRON.format(next="now() - interval '1 hour'", ago="1 second", paused="false")],
}


@pytest.mark.parametrize("code", BROUGHT)
def test_a_finding(dsn: str, code: str) -> None:
    """It is found in a real database, and no other; what was changed of the schema is put back."""
    with psycopg.connect(dsn, autocommit=True) as conn, database.connect(dsn) as looking:
        kept = conn.execute("select checksum from fastq.definition where name = 'functions/pause'").fetchone()
        try:
            for statement in BROUGHT[code]:
                conn.execute(statement.encode())
            found = {each.code for each in diagnose(facts.look(looking))} - {"F111", "F114", "F120"}
        finally:
            conn.execute("update fastq.definition set checksum = %s where name = 'functions/pause'", kept)
    assert found == {code}
