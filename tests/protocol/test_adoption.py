"""Databases of the first checkouts are taken over with all that is in them."""

from __future__ import annotations

import json
import lzma
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import catalog
import psycopg
import pytest

from fastq.errors import SchemaError
from fastq.protocol.asking import carry_out_sync
from fastq.protocol.jobs import JobFilter, survey
from fastq.protocol.schedules import list_schedules
from fastq.schema import files, migrator

pytestmark = pytest.mark.protocol

Db = psycopg.Connection[Any]


SCHEMA_7 = Path(__file__).parent / "schema_7.sql.xz"


EVERYTHING = """
insert into fastq.ready_1 (pos, task, payload, meta) values (1, 't', '{"n": 1}', '{"headers": {"a": "b"}}');
insert into fastq.lease (slot, id, worker, queue, priority, group_key, batch, done)
  values (0, 7, 3, 'q', 4, '', '[[2,"t",0,1,{}],[3,"t",1,1,{}],[4,"t",0,1,{},5]]', '{0}'),
         (0, 8, 3, 'q', 4, '', '[[6,"t",0,1,{},6,null,"g"]]', '{}');
insert into fastq.lease_2 (slot, id, worker, queue, priority, group_key, batch) values (0, 9, 3, 'q', 4, '', '[]');
insert into fastq.worker (slot, id, host, pid, expires_at) values (0, 3, 'here', 1, now() + interval '1 hour');
insert into fastq.progress (slot, lease, ord, checkpoint) values (0, 7, 1, '{"page": 3}');
insert into fastq.cancellation (slot, job, lease, ord) values (0, 3, 7, 1);
insert into fastq.finished (slot, id, state, priority, attempt, enqueued_ms, queue, group_key, task, payload)
  values (0, 10, 'failed', 4, 5, 0, 'q', '', 't', '{}');
insert into fastq.queue (name, max_running, rate) values ('q', 3, 2.5);
insert into fastq.cron (name, next_at, spec) values ('daily', now(), '{}');
update fastq.ring set head = 1;
"""


CALLS = [
    """select fastq.enqueue('t', '{"n": 2}', delay => '1 hour', unique_key => 'k')""",
    """select fastq.enqueue('t', '{"n": 3}', group_key => 'g', ordered => true)""",
    """select fastq.enqueue('t', '{"n": 4}', group_key => 'g', ordered => true)""",
    """select fastq.reserve('t', '{"n": 5}', group_key => 'h', ordered => true, expires => '1 hour')""",
    """select fastq.commit(fastq.reserve('t', '{"n": 6}'))""",
]


@pytest.fixture
def old(empty_dsn: str) -> Iterator[Db]:
    """Give a database as the last of these checkouts left it, with something in every table."""
    with psycopg.connect(empty_dsn, autocommit=True) as conn:
        conn.execute(lzma.decompress(SCHEMA_7.read_bytes()))
        conn.execute(EVERYTHING.encode())
        for call in CALLS:
            conn.execute(call.encode())
        yield conn


ODD = """
insert into fastq.ready_1 (pos, task, attempt, enqueued_ms, meta) values (20, 'odd', -3, 9223372036854775807, '[1]');
insert into fastq.scheduled (slot, id, run_at, task, enqueued_ms, meta) values (0, 21, 'infinity', 'odd', -5, '5');
insert into fastq.scheduled (slot, id, run_at, task) values (0, 22, '-infinity', 'odd'), (0, 23, '22000-01-01', 'odd');
insert into fastq.scheduled (slot, id, run_at, reason, task, commit_at, commit_delay)
  values (0, 24, 'infinity', 'reserved', 'odd', '-infinity', '2000000 days');
insert into fastq.line (slot, pos, run_at, queue, group_key, task, meta)
  values (0, 25, 'infinity', 'q', 'odd', 'odd', '"x"');
insert into fastq.finished (slot, id, state, priority, attempt, enqueued_ms, queue, group_key, task, meta)
  values (0, 26, 'failed', 4, -1, -9223372036854775808, 'q', '', 'odd', '[]');
insert into fastq.lease (slot, id, worker, queue, priority, group_key, batch)
  values (0, 20, 3, 'q', 4, '', '[[27,"odd",-7,9223372036854775807,{},null,[1]],[28,"odd",1,-1,{},28,{"a":1}]]');
insert into fastq.cron (name, next_at, last_at, spec, seen_at)
  values ('odd', 'infinity', '-infinity', '[]', '-infinity');
"""


Contents = dict[str, list[str]]


def columns(conn: Db) -> dict[str, str]:
    """Return the columns of each table and sequence but those of the bookkeeping of the schema itself."""
    return dict(
        conn.execute(
            "select c.relname, string_agg(quote_ident(a.attname), ', ') from pg_class c"
            " join pg_attribute a on a.attrelid = c.oid and a.attnum > 0 and not a.attisdropped"
            " where c.relnamespace = 'fastq'::regnamespace and c.relkind in ('r', 'v', 'S')"
            " and c.relname not in ('migration', 'definition') group by 1"
        ).fetchall()
    )


def contents(conn: Db, known: dict[str, str]) -> Contents:
    """Return all rows, as far as they are in columns that are known; shards by their old name, slots."""
    renamed = conn.execute(
        "select 1 from pg_attribute where attrelid = 'fastq.ring'::regclass and attname = 'shard'"
    ).fetchone()
    found = {}
    for name, names in known.items():
        listed = re.sub(r"\bslot\b", "shard as slot", names) if renamed else names
        rows = conn.execute(f"select to_json(t)::text from (select {listed} from fastq.{name}) t".encode())
        found[name] = sorted(row[0].replace('"shards"', '"slots"') for row in rows)
    return found


def test_schema_7_is_adopted_with_all_its_jobs(old: Db, db: Db) -> None:
    """No row changes, the catalog is that of a new database, and what waited can be worked with."""
    before = contents(old, known := columns(old))
    assert {name for name, rows in before.items() if not rows} == {
        "ready_0",
        "ready_2",
        "ready_3",
        "lease_1",
        "lease_3",
    } | {
        "allowance",
        "leader",
    }
    told: list[str] = []
    migrator.migrate(old, report=told.append)
    assert told[0] == "adopted schema 7"
    assert contents(old, known) == before
    assert catalog.differ(old, db) == {}
    migrator.check_all(old)
    assert migrator.migrate(old) == 0
    held = json.loads(before["unique_key"][0])["job"]
    assert old.execute("""select fastq.enqueue('t', unique_key => 'k')""").fetchone() == (held,)
    assert old.execute("select fastq.retry(10)").fetchone() == (True,)
    assert old.execute("select fastq.purge('default')").fetchone() == (6,)
    assert old.execute("select state, count(*) from fastq.job group by 1 order by 1").fetchall() == [
        ("ready", 1),
        ("running", 3),
    ]


def test_schema_7_is_adopted_by_a_script_as_well(old: Db, db: Db) -> None:
    """What `fastq migrate --sql --dsn …` prints for it does the same."""
    before = contents(old, known := columns(old))
    old.execute(migrator.script(old).encode())
    assert contents(old, known) == before
    assert catalog.differ(old, db) == {}
    assert migrator.migrate(old) == 0


def test_rows_that_no_client_can_read_are_set_right(old: Db) -> None:
    """Times out of every client's range, negative attempts, metas that are no objects: afterwards all can be listed."""
    old.execute(ODD.encode())
    migrator.migrate(old)
    found = old.execute(
        "select id, attempt, extract(year from enqueued_at)::int, extract(year from run_at)::int, meta::text, run_at"
        " from fastq.job where task = 'odd' order by id"
    ).fetchall()
    assert [row[:5] for row in found] == [
        (20, 0, 9999, None, None),
        (21, 0, 1970, 9999, None),
        (22, 0, found[2][2], 1, None),
        (23, 0, found[3][2], 9999, None),
        (24, 0, found[4][2], 9999, None),
        (25, 0, found[5][2], 9999, None),
        (26, 0, 1970, None, None),
        (27, 0, 9999, None, None),
        (28, 1, 1970, None, '{"a":1}'),
    ]
    jobs = carry_out_sync(old, survey(JobFilter(task="odd"), 100))
    assert sorted(job.id for job in jobs) == list(range(20, 29))
    odd = next(row for row in carry_out_sync(old, list_schedules()) if row.name == "odd")
    assert (odd.next_at.year, odd.last_at, odd.standing) == (9999, None, "on")


def test_workers_of_now_and_then_refuse_what_is_not_theirs(old: Db) -> None:
    """Before the adoption this code is too new; after it the old code, which knows 7, finds a newer schema."""
    with pytest.raises(SchemaError, match=f"has fastq schema 7, this code needs {files.newest()}: run `fastq migrate`"):
        migrator.check(old)
    migrator.migrate(old)
    assert old.execute("select max(version) > 7 from fastq.migration").fetchone() == (True,)


def test_whoever_had_rights_before_the_adoption_has_them_after(old: Db) -> None:
    """Tables and functions keep their grants."""
    old.execute("grant execute on function fastq.hold_keys to pg_monitor; grant insert on fastq.lease_2 to pg_monitor")
    migrator.migrate(old)
    has = "select has_function_privilege('pg_monitor', 'fastq.hold_keys'::regproc, 'execute')"
    assert old.execute(has).fetchone() == (True,)
    assert old.execute("select has_table_privilege('pg_monitor', 'fastq.lease_2', 'insert')").fetchone() == (True,)


@pytest.mark.parametrize("version", [1, 5, 6])
def test_what_is_older_than_7_is_told_what_to_do(old: Db, version: int) -> None:
    """It is neither taken over nor touched."""
    old.execute("delete from fastq.migration where version > %s", [version])
    before = contents(old, known := columns(old))
    for refuse in (migrator.migrate, migrator.script):
        with pytest.raises(
            SchemaError, match=f"has fastq schema {version}, and this fastq takes over none before 7: run"
        ):
            refuse(old)
    assert contents(old, known) == before


def test_a_foreign_schema_7_is_refused(old: Db) -> None:
    """One whose migrations were others than those of the last checkout."""
    old.execute("update fastq.migration set checksum = 'other' where version = 4")
    with pytest.raises(SchemaError, match="different build"):
        migrator.migrate(old)
