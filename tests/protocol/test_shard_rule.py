"""The shard rule, which lets the tables be distributed: each hot statement names one shard, on every table it names."""

from __future__ import annotations

import json
import re
from typing import Any

import psycopg
import pytest

from fastq.sql import SEGMENTS, names, text_of

pytestmark = pytest.mark.protocol

HOT = (
    r"ready(?:_\d)?",
    r"packet(?:_\d)?",
    "lease",
    "scheduled",
    "finished",
    "worker",
    "progress",
    "unique_key",
    "ring",
    "allowance",
)
READ = re.compile(
    rf"\b(?:from|join|using|update|delete from)\s+fastq\.({'|'.join(HOT)})\b(?:\s+(?:as\s+)?(\w+))?", re.IGNORECASE
)
WRITTEN = re.compile(rf"\binsert into fastq\.({'|'.join(HOT)})(?:\s+as\s+\w+)?\s*\(([^)]*)\)", re.IGNORECASE)

WHOLE_TABLES = {
    "probe_writers",
    "lock_out_everybody",
    "truncate_table",
    "check_table_empty",
    "check_packets_unneeded",
    "list_truncatable_tables",
    "limit_lock_wait",
}
"""Upkeep of a segment as a whole: it is the table that is locked and truncated."""

WHOLE_FLEET = {"find_finished_anywhere"}
"""Of all shards at once, on a cluster."""

MANY_SHARDS = {"discover_beyond", "list_due_shards", "find_finished_jobs", "find_finished_anywhere"}
"""They go round shards that are given by a list, and look into one at a time."""


def hot_statements() -> list[Any]:
    """Return the statements that the rule is for."""
    return [name for name in names() if name not in WHOLE_TABLES | WHOLE_FLEET and not name.startswith("survey_")]


@pytest.mark.parametrize("name", hot_statements())
def test_every_table_is_kept_to_one_shard(name: str) -> None:
    """Wherever a hot table is named, its shard is, by equality with the parameter; rows are inserted with a shard."""
    text = text_of(name, 0)
    for table, alias in READ.findall(text):
        shard = re.compile(rf"\b{alias}\.shard = (?:%\(shard\)s|sh?\.shard)") if alias and alias != "where" else None
        assert shard is not None, f"{name} names {table} without an alias"
        needed = len(re.findall(rf"fastq\.{table}\s+(?:as\s+)?{alias}\b", text))
        assert len(shard.findall(text)) >= needed, f"{name}: {alias} ({table}) is not kept to one shard"
    for table, columns in WRITTEN.findall(text):
        assert "shard" in re.split(r"\W+", columns), f"{name} inserts into {table} without a shard"


PARTITION = """
drop view fastq.job;
alter table fastq.{table} rename to old;
create table fastq.{table} (like fastq.old including defaults) partition by list (shard);
create table fastq.{table}_s0 partition of fastq.{table} for values in (0);
create table fastq.{table}_s1 partition of fastq.{table} for values in (1);
alter table fastq.{table} add primary key ({key});
drop table fastq.old cascade;
create view fastq.job as select;
"""
KEYS = {
    "lease": "shard, id",
    "scheduled": "shard, id",
    "finished": "shard, id",
    "worker": "shard, id",
    "progress": "shard, lease, ord",
    "ring": "shard",
    "unique_key": "shard, key",
}


@pytest.fixture
def partitioned(empty_dsn: str) -> Any:
    """Give a database whose hot tables are partitioned by shard, as a cluster would shard them."""
    from fastq.schema import files, migrator

    with psycopg.connect(empty_dsn, autocommit=True) as conn:
        migrator.migrate(conn)
        for table, key in KEYS.items():
            conn.execute(PARTITION.format(table=table, key=key).encode())
        for segment in range(SEGMENTS):
            conn.execute(f"create table fastq.lease_{segment} (like fastq.lease) partition by list (shard)".encode())
            for shard in (0, 1):
                table = f"fastq.lease_{segment}"
                conn.execute(f"create table {table}_s{shard} partition of {table} for values in ({shard})".encode())
            conn.execute(f"alter table fastq.lease_{segment} add primary key (shard, id)".encode())
        conn.execute("drop table fastq.ready cascade")
        columns = (
            "segment int2 not null default 0, priority int2 not null default 4, attempt int2 not null default 0,"
            " shard int4 not null default 0, pos int8 not null default nextval('fastq.pos'), id int8,"
            " enqueued_ms int8 not null default 0, queue text collate \"C\" not null default 'default',"
            ' group_key text collate "C" not null default \'\', task text collate "C" not null,'
            " payload json not null default '{}', meta json, jobs int2, packet int8"
        )
        for table in ("ready", "ready_0", "ready_1", "ready_2", "ready_3"):
            conn.execute(f"create table fastq.{table} ({columns}) partition by list (shard)".encode())
            for shard in (0, 1):
                conn.execute(
                    f"create table fastq.{table}_s{shard} partition of fastq.{table} for values in ({shard})".encode()
                )
            conn.execute(f"alter table fastq.{table} add primary key (shard, queue, priority, group_key, pos)".encode())
        for definition in files.definitions():  # some went with their tables
            if definition.name == "functions/packet":
                conn.execute(definition.sql.encode())
        yield conn


VALUES = {
    "shard": "0",
    "processes": "1",
    "concurrency": "1",
    "max_running": "1",
    "max_running_per_group": "1",
    "rate": "1",
    "weight": "1",
    "tokens": "1",
    "filled_at": "'now'",
    "given": "'{rate}'",
    "grouped": "true",
    "worker": "1::int8",
    "lease": "'{1}'::int8[]",
    "leases": "'{1}'::int8[]",
    "acks": "'{1}'::int8[]",
    "ord": "'{0}'",
    "ords": "'{0}'::int2[]",
    "low": "0",
    "limit": "10",
    "priority": "4",
    "max_bytes": "1000",
    "packet_bytes": "65536",
    "rows": "10",
    "ring": "true",
    "most": "10",
    "lease_s": "30",
    "shards": "1",
    "blocks": "2",
    "bytes": "0",
    "workers": "'{1}'",
    "counters": "'{null}'",
    "pid": "1",
    "hot": "'{}'::text[]",
    "known": "'{}'::text[]",
    "exclude": "'{}'::text[]",
    "queues": "'{q}'::text[]",
    "delay_s": "'{0}'",
    "attempt": "'{0}'",
    "keep_s": "'{null}'",
    "meta": "'{null}'",
    "expired": "false",
    "checkpoint": "'{}'",
    "task": "'{null}'",
    "payload": "'{null}'",
    "result": "'{null}'",
    "id": "1",
    "ids": "'{1}'",
    "goes": "'{ready}'",
    "state": "'{x}'",
    "names": "'{q}'::text[]",
    "first_at": "'{now}'::timestamptz[]",
    "specs": "array['{}']",
    "spec": "'{}'",
    "values": "'{v}'",
    "stale_s": "60",
    "orphan_s": "60",
    "due_at": "now()",
    "next_at": "now()",
    "last_at": "now()",
    "occurrences": "'{q}'",
    "since": "'-infinity'",
    "states": "'{failed}'",
    "frees": "'{false}'",
    "advances": "'{null}'",
    "anew": "'{false}'",
    "recalls": "'{false}'",
    "ran_ms": "'{null}'",
    "retries": "null",
    "stuck": "'{}'",
    "job": "1",
    "days": "7",
    "expires_s": "60",
    "lines": "'q'",
    "groups": "'{g}'",
    "lows": "'{0}'",
    "age_s": "1",
    "segments": "'{0}'",
    "segment": "0",
    "priorities": "'{4}'",
    "to_queues": "'{q}'",
    "to_priority": "5",
    "arguments": "'{}'",
    "about": "'{}'",
    "every_s": "1",
    "step_s": "60",
    "counts": "'[]'",
    "tasks": "'[]'",
    "now": "false",
    "to_priorities": "'{5}'",
    "to_groups": "'{h}'",
    "highs": "'{9}'",
    "share": "5",
    **dict.fromkeys(("claimed", "succeeded", "failed", "retried", "returned", "lost", "jobs"), "1"),
    "seconds": "60",
    "span_s": "60",
    "keep_days": "90",
    "ready": "'{1}'",
    "running": "'{1}'",
    "oldest_s": "'{1}'",
}
ONE_JOB = {"lease": "1", "ord": "0::int2"}
OF_ONE_JOB = (
    "save_checkpoint",
    "tell_progress",
    "hold_lease",
    "complete_job",
    "resolve_completion",
    "free_started_key_if_leased",
    "replace_batch",
    "claim_jobs_if_worker_lives",
    "claim_jobs_of_groups_if_worker_lives",
)
SINGLE = dict.fromkeys(OF_ONE_JOB, ONE_JOB)
SINGLE["fail_due_job"] = {"meta": "'{}'"}
SINGLE["edit_job"] = {"run_at": "now()", "args": "'{}'"}
SINGLE["reserve_job"] = {"delay_s": "0", "run_at": "now()", "payload": "'{}'", "meta": "'{}'"}
EVERY_SLOT = {"register_worker", "join_shards"} | WHOLE_FLEET | MANY_SHARDS


def test_each_statement_touches_one_partition(partitioned: psycopg.Connection[Any]) -> None:
    """The planner, shown tables partitioned by shard, leaves only one shard's partition in every plan."""
    strays = []
    for name in names():
        if name in WHOLE_TABLES | EVERY_SLOT or name.startswith("survey_"):
            continue
        values = VALUES | SINGLE.get(name, {})
        text = re.sub(r"%\((\w+)\)s", lambda m, v=values: v.get(m[1], "'q'"), text_of(name, 0)).replace("%%", "%")
        ((plan,),) = partitioned.execute(f"explain (format json) {text}".encode()).fetchall()
        if re.search(r'"Relation Name": "\w+_s1"', json.dumps(plan)):
            strays.append(name)
    assert strays == []
