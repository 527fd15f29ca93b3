"""Spreads the tables over a cluster of Citus, and makes the functions by which its nodes do the work.

See functions/cluster.sql: a function whose first argument is a shard becomes a caller of the same function in the
schema of that shard, and Citus carries the call to the shard's node. Safe to run again: after each migration, and after
shards were added.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import psycopg
from psycopg import Connection

from fastq.errors import UsageError
from fastq.schema import files
from fastq.sql.naming import named, schema

# fmt: off
SPREAD = (
    "worker", "lease", "packet", "scheduled", "ready", "allowance", "cancellation", "committed", "finished",
    "head", "line", "progress", "ring", "unique_key",
)
# fmt: on
COPIED = ("queue", "setting", "template")
PARTS = 32
"""Into so many pieces Citus cuts each table; a shard is in one of them, which moves as a whole."""

FOR_ONE_SHARD = "p.proargnames[1] in ('p_shard', 'shard', 's') and p.proargtypes[0] = 'int4'::regtype"
NOT_ON_NODES = ("install", "placed_tables", "home_of", "goes_alone", "check_ties")
# fmt: off
ENTRANCES = (
    "find", "show", "delete", "cancel", "retry", "edit", "commit_reserved", "abandon", "enqueue", "enqueue_many",
    "reserve", "delete_jobs", "cancel_jobs", "retry_jobs", "edit_jobs", "sweep_cancellations", "survey_jobs",
    "survey_count", "survey_waiting", "survey_running", "survey_held", "survey_failures",
)
# fmt: on
Report = Callable[[str], None]


def is_spread(conn: Connection[Any]) -> bool:
    """Tell whether a database's tables are spread over a cluster."""
    row = conn.execute(named("select exists (select from fastq.setting where name = 'citus')")).fetchone()
    return row is not None and bool(row[0])


def spread(conn: Connection[Any], report: Report) -> None:
    """Do all of it, on a connection in autocommit mode to the coordinator.

    Raises:
        UsageError: there is no Citus here.

    """
    if conn.execute("select from pg_extension where extname = 'citus'").fetchone() is None:
        raise UsageError("--citus needs the extension in this database: `create extension citus`, and nodes")
    conn.execute("set client_min_messages = warning")
    _place_tables(conn, report)
    _write_templates(conn)
    _make_callers(conn)
    conn.execute(
        named("insert into fastq.setting (name, value) values ('citus', 'true') on conflict (name) do nothing")
    )
    for (shard,) in conn.execute(named("select * from fastq.all_shards()")).fetchall():
        conn.execute(named("select fastq.install(%s)"), [shard])
        report(f"made the functions of shard {shard}")


def _place_tables(conn: Connection[Any], report: Report) -> None:
    placed = {name for (name,) in conn.execute(named(_PLACED)).fetchall()}
    if placed >= {*SPREAD, *COPIED}:
        return
    conn.execute(
        named("drop view if exists fastq.job")
    )  # Citus takes it along with each table, and then round in circles
    for name in (name for name in COPIED if name not in placed):
        conn.execute("select create_reference_table(%s::regclass)", [f"{schema()}.{name}"])
        report(f"copied {name} to all nodes")
    for name in (name for name in SPREAD if name not in placed):
        along, parts = ("none", PARTS) if name == "worker" else (f"{schema()}.worker", None)
        conn.execute(_SPREAD, {"name": f"{schema()}.{name}", "parts": parts, "along": along})
        report(f"spread {name}")
    for definition in files.definitions():
        if definition.name.startswith("views/"):
            conn.execute(named(definition.sql).encode())


def _write_templates(conn: Connection[Any]) -> None:
    texts = [each for each in files.definitions() if not each.name.startswith("views/")]
    with conn.transaction():
        conn.execute(named("delete from fastq.template"))
        for number, each in enumerate(texts):
            row = [number, each.name, named(each.sql)]
            conn.execute(named("insert into fastq.template (n, name, sql) values (%s, %s, %s)"), row)


def _make_callers(conn: Connection[Any]) -> None:
    """Let all functions know their nodes; make callers of those that a shard is named to, and of the entrances."""
    own = "p.pronamespace = 'fastq'::regnamespace"
    names = {"not_on_nodes": list(NOT_ON_NODES), "entrances": list(ENTRANCES)}
    for_one = f"{own} and {FOR_ONE_SHARD} and p.proname <> all (%(not_on_nodes)s) and p.proname not like 'at\\_%%'"
    for condition, prefixed in ((f"{own} and p.proname = any (%(entrances)s)", "true"), (for_one, "false")):
        query = f"select p.oid, fastq.dispatcher_of(p.oid::regprocedure, {prefixed}) from pg_proc p where {condition}"  # noqa: S608 - our own text
        for _, text in conn.execute(named(query).encode(), names).fetchall():
            conn.execute(text.encode())
    conn.execute(named(files.entrances()).encode())
    query = (
        f"select p.oid::regprocedure::text, p.proname, p.proargnames[1], ({FOR_ONE_SHARD}) from pg_proc p where {own}"  # noqa: S608 - our own text
    )
    for signature, name, first, for_shard in conn.execute(named(query).encode()).fetchall():
        if for_shard and name not in NOT_ON_NODES[1:]:
            force = name != "install"
            conn.execute(named(_CALLER), {"signature": signature, "first": first, "force": force})
        else:
            try:
                conn.execute("select create_distributed_function(%s::regprocedure)", [signature])
            except psycopg.errors.FeatureNotSupported:  # it is in a circle with a table: for shards
                continue


_PLACED = """
select c.relname::text from pg_dist_partition p join pg_class c on c.oid = p.logicalrelid
where c.relnamespace = 'fastq'::regnamespace
"""
_SPREAD = """
select create_distributed_table(%(name)s::regclass, 'shard', shard_count => %(parts)s::int, colocate_with => %(along)s)
"""
_CALLER = """
select create_distributed_function(%(signature)s::regprocedure, %(first)s, colocate_with => 'fastq.worker',
                                   force_delegation => %(force)s)
"""
