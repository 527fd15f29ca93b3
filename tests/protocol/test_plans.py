"""The hot statements' plans on large tables, whatever the statistics say: they walk their index and nothing else."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from psycopg import conninfo

from fastq.protocol.claim import Lane
from fastq.protocol.stretches import BEYOND_ALL, again, beyond
from fastq.protocol.stretches import params as params_of
from fastq.sql import SEGMENTS, text_of
from fastq.worker.main import SETUP

pytestmark = pytest.mark.protocol

ROWS = 120_000
BATCH = 500
BUSY = "default"
DEAD = (10_000, 50_000)
"""Between these positions no job is alive in BUSY; nobody has vacuumed there."""


@pytest.fixture(scope="module", params=["never", "stale", "fresh"])
def large(request: pytest.FixtureRequest, server: str, template: str) -> Iterator[psycopg.Connection[Any]]:
    """Give a database with large tables that were analyzed never, while they were empty, or just now."""
    name = f"plans_{uuid4().hex[:12]}"
    with psycopg.connect(server, autocommit=True) as conn:
        conn.execute(f"create database {name} template {template}".encode())
    with psycopg.connect(conninfo.make_conninfo(server, dbname=name), autocommit=True) as conn:
        for table in ("ready_0", "ready_1", "scheduled", "lease_0", "unique_key"):
            conn.execute(f"alter table fastq.{table} set (autovacuum_enabled = off)".encode())
        if request.param == "stale":
            conn.execute("vacuum analyze")
        conn.execute(
            "insert into fastq.ready_0 (pos, queue, group_key, task, payload) select n, case when n % 100 = 0 then"
            f" 'q' || n % 5000 else '{BUSY}' end, case when n % 10 = 1 then 'g' || n % 40 else '' end, 't',"
            f" json_build_object('n', n) from generate_series(1, {ROWS}) n"
        )
        conn.execute(f"delete from fastq.ready_0 where queue = '{BUSY}' and pos > %s and pos <= %s", DEAD)
        conn.execute(
            "insert into fastq.scheduled (shard, id, run_at, task)"
            " select 0, n, now() + (n - 1000) * interval '1 s', 't'"
            f" from generate_series(1, {ROWS}) n"
        )
        conn.execute(
            "insert into fastq.lease (shard, id, worker, queue, priority, group_key, batch)"
            " select 0, n, n / 100 + 1, 'q', 4, '', '[[1,\"t\",0,1,{}]]'::bytea from generate_series(1, 5000) n"
        )
        conn.execute(
            "insert into fastq.unique_key (shard, key, job, queue, taken_at) select 0, 'k' || n, n, 'default',"
            f" now() - interval '1 hour' from generate_series(1, {ROWS}) n"
        )
        conn.execute("select setval('fastq.pos', 1024000000)")
        conn.execute(
            "insert into fastq.worker (shard, id, host, pid, expires_at)"
            " values (0, 1, 'h', 1, now() + interval '1 day')"
        )
        if request.param == "fresh":
            conn.execute("analyze")
        yield conn
    with psycopg.connect(server, autocommit=True) as conn:
        conn.execute(f"drop database {name} with (force)".encode())


def explain(
    conn: psycopg.Connection[Any],
    query: str,
    params: dict[str, Any],
    mode: str,
    between: Callable[[], None] | None = None,
) -> list[dict[str, Any]]:
    """Return the nodes of the plan that a statement gets that was prepared long ago; it is run, and rolled back."""
    names = list(dict.fromkeys(re.findall(r"%\((\w+)\)s", query)))
    text = re.sub(r"%\((\w+)\)s", lambda m: f"${names.index(m[1]) + 1}", query).replace("%%", "%")
    values = [params[name] for name in names]
    kinds = ["int8" if isinstance(v, int) else "unknown" for v in values]
    literals = [
        str(v) if isinstance(v, int) else "'{}'" if v == [] else "'" + v.replace("'", "''") + "'" for v in values
    ]
    conn.execute("deallocate all")
    conn.execute(SETUP.encode())
    with conn.transaction(force_rollback=True):
        conn.execute(f"set local plan_cache_mode = {mode}".encode())
        conn.execute(f"prepare p ({', '.join(kinds)}) as {text}".encode())
        for _ in range(7):  # the server chooses between its plans after five times
            conn.execute(f"explain execute p ({', '.join(literals)})".encode())
        if between is not None:
            between()
        cur = conn.execute(f"explain (analyze, buffers, format json) execute p ({', '.join(literals)})".encode())
        ((found,),) = cur.fetchall()
    return list(nodes(found[0]["Plan"]))


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield a plan's nodes."""
    yield plan
    for child in plan.get("Plans", []):
        yield from nodes(child)


def check(plan: list[dict[str, Any]], table: str, *, most_rows: int, most_pages: int | None = None) -> None:
    """Assert that a table is read by its index or by address alone, and no more rows and pages than allowed.

    Rows do not tell all: before PostgreSQL 18 a scan can walk an index to its end for rows that it does not return.
    """
    scans = [node for node in plan if node.get("Relation Name") == table and "Scan" in node["Node Type"]]
    assert scans
    for scan in scans:
        assert scan["Node Type"] in ("Index Scan", "Index Only Scan", "Tid Scan"), scan
        read = (scan["Actual Rows"] + scan.get("Rows Removed by Filter", 0)) * scan["Actual Loops"]
        assert read <= most_rows, scan
        if "Index" in scan["Node Type"]:
            pages = scan["Shared Hit Blocks"] + scan["Shared Read Blocks"]
            assert pages <= (50 + 4 * most_rows if most_pages is None else most_pages), scan
    assert not [node for node in plan if "Sort" in node["Node Type"] and node["Actual Rows"] > BATCH]


def all_segments(name: str) -> str:
    """Return the text of a statement for all segments at once, as `fastq.sql.over_segments` joins them."""
    return "\nunion all\n".join(f"({text_of(name, segment)})" for segment in range(SEGMENTS))


def array(values: list[Any]) -> str:
    """Return an array as a literal's text."""
    return "{" + ",".join("null" if value is None else f'"{value}"' for value in values) + "}"


DISCOVER = {"shard": 0, "hot": "{t}", "known": "{u}", "exclude": [], "limit": 256, "from_queue": "", "from_group": ""}
CLAIM = {
    "shard": 0,
    "worker": 1,
    "lease": 1 << 40,
    "queue": BUSY,
    "priority": 4,
    "group_key": "",
    "low": 0,
    "limit": BATCH,
    "rows": BATCH,
    "most": BATCH,
    "packet_bytes": 65536,
    "acks": [],
    "hot": "{t}",
    "known": "{u}",
    "max_bytes": 4_000_000,
}

MODES = pytest.mark.parametrize("mode", ["force_generic_plan", "auto"])


@MODES
@pytest.mark.parametrize(
    ("queue", "group", "low", "rows", "pages"),
    [(BUSY, "", 0, 500, 60), (BUSY, "", ROWS - 900, 500, 60), (BUSY, "g1", 0, 500, 900), ("q500", "", 0, 24, 60)],
)
def test_claim(
    large: psycopg.Connection[Any], mode: str, queue: str, group: str, low: int, rows: int, pages: int
) -> None:
    """A claim reads as many rows as it takes, out of the index from `low` on, with the plan made for any parameters."""
    params = CLAIM | {"queue": queue, "group_key": group, "low": low, "acks": "{11,13,15}"}
    plan = explain(large, text_of("claim_jobs_if_worker_lives", 0), params, mode)
    check(plan, "ready_0", most_rows=rows, most_pages=pages)
    check(plan, "lease_0", most_rows=5)
    assert any(node["Actual Rows"] == rows for node in plan if node.get("Relation Name") == "ready_0")
    conditions = [
        node["Index Cond"]
        for node in plan
        if node.get("Relation Name") == "ready_0" and "packet" not in node.get("Index Cond", "packet")
    ]
    assert conditions
    for condition in conditions:
        assert all(f"({column} " in condition for column in ("shard", "queue", "priority", "group_key", "pos")), (
            condition
        )


@MODES
def test_claim_of_groups(large: psycopg.Connection[Any], mode: str) -> None:
    """A claim of many groups reads of each what it takes, out of the index from the group's mark on."""
    groups = {"groups": "{" + ",".join(f"g{n}" for n in (1, 11, 21, 31)) + "}", "lows": "{0,500,0,119000}", "share": 50}
    text = text_of("claim_jobs_of_groups_if_worker_lives", 0)
    plan = explain(large, text, {**CLAIM, **groups, "limit": 200}, mode)
    check(plan, "ready_0", most_rows=200)
    conditions = [
        n["Index Cond"]
        for n in plan
        if n.get("Relation Name") == "ready_0" and "packet" not in n.get("Index Cond", "packet")
    ]
    assert conditions
    for condition in conditions:
        assert all(f"({column} " in condition for column in ("shard", "queue", "priority", "group_key", "pos")), (
            condition
        )


@MODES
def test_acks_on_the_way(large: psycopg.Connection[Any], mode: str) -> None:
    """Leases are found by their ids, or between them, also where there are thousands."""
    params = {"shard": 0, "worker": 1, "acks": "{11,13,15}"}
    check(explain(large, text_of("ack_leases"), params, mode), "lease_0", most_rows=5)
    params = {"shard": 0, "worker": 1, "leases": "{11,13,15}", "ords": "{0,0,0}"}
    check(explain(large, text_of("ack_jobs"), params, mode), "lease_0", most_rows=5)


@MODES
def test_discover(large: psycopg.Connection[Any], mode: str) -> None:
    """One probe per lane: as many rows are read as there are lanes."""
    plan = explain(large, all_segments("discover_lanes"), DISCOVER, mode)
    check(plan, "ready_0", most_rows=200)


@MODES
def test_discover_of_queues(large: psycopg.Connection[Any], mode: str) -> None:
    """The same for workers with a list of queues."""
    params = {"shard": 0, "hot": "{t}", "known": "{u}", "queues": "{default,q100,none}", "limit": 256, "from_group": ""}
    check(explain(large, all_segments("discover_lanes_of_queues"), params, mode), "ready_0", most_rows=20)


def group(key: str, segment: int = 0) -> Lane:
    """Return a group's lane."""
    return Lane(0, segment, BUSY, 4, key)


@MODES
def test_discover_beyond(large: psycopg.Connection[Any], mode: str) -> None:
    """One probe per stretch: what lies before it is not walked over, nor what lies behind where nothing is alive."""
    stretches = [
        *beyond({group("g1"): BEYOND_ALL, group("g5"): 1_000_000, group("g1", 3): 9}, [0], [], []),
        *again({group(""): (DEAD[0], DEAD[0] + 300)}, [0]),
    ]
    params = {
        "shard": 0,
        "hot": "{t}",
        "known": "{u}",
        **{name: array(values) for name, values in params_of(stretches).items()},
    }
    check(explain(large, all_segments("discover_beyond"), params, mode), "ready_0", most_rows=len(stretches))


@MODES
def test_promote(large: psycopg.Connection[Any], mode: str) -> None:
    """Promotion reads the due jobs that it moves, and one that is next."""
    plan = explain(large, text_of("promote_due_jobs"), {"shard": 0, "limit": 100, "since": "-infinity"}, mode)
    check(plan, "scheduled", most_rows=100)


@MODES
def test_settle(large: psycopg.Connection[Any], mode: str) -> None:
    """Settling touches the leases it names."""
    params = {
        "shard": 0,
        "worker": 1,
        "lease": "{50}",
        "ord": "{0}",
        "goes": "{ready}",
        "state": "{''}",
        "delay_s": "{0}",
        "attempt": "{0}",
        "meta": "{null}",
        "keep_s": "{null}",
        "task": "{null}",
        "payload": "{null}",
        "result": "{null}",
        "frees": "{true}",
        "advances": "{false}",
        "anew": "{false}",
        "recalls": "{false}",
        "ran_ms": "{null}",
    }
    plan = explain(large, text_of("settle_jobs_if_leased"), params, mode)
    check(plan, "lease_0", most_rows=1)
    check(plan, "unique_key", most_rows=1)


@MODES
@pytest.mark.parametrize("name", ["free_key", "free_started_key_if_leased"])
def test_free_a_key(large: psycopg.Connection[Any], mode: str, name: str) -> None:
    """A key is found by its job."""
    params = {"shard": 0, "worker": 1, "lease": 50, "ord": 0, "job": 77}
    check(explain(large, text_of(name), params, mode), "unique_key", most_rows=1)


@MODES
def test_sweep_keys(large: psycopg.Connection[Any], mode: str) -> None:
    """The sweep reads one page of keys, and looks for each job by keys."""
    plan = explain(large, text_of("sweep_orphaned_keys"), {"shard": 0, "after": "k", "limit": 100}, mode)
    for table, most in (("unique_key", 100), ("scheduled", 100), ("ready_0", 100)):
        check(plan, table, most_rows=most)


# -- plans made for an empty table


EARLY = {
    "claim_jobs_if_worker_lives": ("ready_0", CLAIM),
    "claim_jobs_of_groups_if_worker_lives": ("ready_0", {**CLAIM, "groups": '{""}', "lows": "{0}", "share": 500}),
    "discover_lanes": ("ready_0", DISCOVER),
    "promote_due_jobs": ("scheduled", {"shard": 0, "limit": 500, "since": "-infinity"}),
}


@MODES
@pytest.mark.parametrize("name", EARLY)
def test_a_plan_from_when_the_table_was_empty(db: psycopg.Connection[Any], name: str, mode: str) -> None:
    """A worker that waited on an empty, vacuumed segment claims by the index when many jobs come at once."""
    table, params = EARLY[name]
    db.execute("vacuum analyze fastq.ready_0")
    db.execute("vacuum analyze fastq.scheduled")
    db.execute(
        "insert into fastq.worker (shard, id, host, pid, expires_at) values (0, 1, 'h', 1, now() + interval '1 hour')"
    )

    def fill() -> None:
        db.execute(
            "insert into fastq.ready_0 (pos, queue, task) select n, %s, 't' from generate_series(1, 50000) n", [BUSY]
        )
        db.execute(
            "insert into fastq.scheduled (shard, run_at, task) select 0, now(), 't' from generate_series(1, 50000)"
        )

    plan = explain(db, text_of(name, 0), params, mode, between=fill)
    check(plan, table, most_rows=501)
    assert any(node["Actual Rows"] == 500 for node in plan if node.get("Relation Name") == table) or "lanes" in name
