"""What deletes, cancels, retries and prunes many jobs at once does work in proportion, whatever the statistics say."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import psycopg
import pytest
from psycopg import conninfo

from fastq.sql import BY_INDEX, statement
from fastq.steward.main import SETUP

pytestmark = pytest.mark.protocol

ROWS = 4000
BATCH = 1000
MOST_PER_ROW = 60
"""Rows that all nodes of all plans may handle for each job; the square would be 4,000."""

EXPLAIN = """
load 'auto_explain';
set auto_explain.log_min_duration = 0;
set auto_explain.log_analyze = on;
set auto_explain.log_timing = off;
set auto_explain.log_nested_statements = on;
set auto_explain.log_format = json;
set auto_explain.log_level = notice;
"""
TABLES = ("ready_0", "ready_1", "scheduled", "finished", "line", "head", "unique_key", "committed", "cancellation")


def burst_of(rows: int, behind: int = 0) -> str:
    """Return the inserts of so many rows into each table."""
    numbers = f"generate_series({behind} + 1, {behind} + {rows}) n"
    return f"""
select setval('fastq.pos', 1024000000);
insert into fastq.ready_0 (pos, id, task, meta)
select n, n, 't', json_build_object('unique', json_build_array('k' || n, 'finished')) from {numbers};
insert into fastq.ready_1 (pos, queue, group_key, task) select 1000000 + n, 'other', 'g' || n % 50, 't' from {numbers};
insert into fastq.scheduled (shard, id, run_at, reason, task)
select 0, 2000000 + n, now() - interval '1 s', case n % 2 when 0 then 'reserved' else 'scheduled' end, 't'
from {numbers};
insert into fastq.finished
  (shard, id, state, priority, attempt, enqueued_ms, queue, group_key, task, payload, meta, expires_at)
select 0, 3000000 + n, 'failed', 4, 1, 1, 'default', '', 't', '{{}}',
       json_build_object('unique', json_build_array('f' || n, 'finished')), now() - interval '1 s' from {numbers};
insert into fastq.line (shard, pos, queue, group_key, task, enqueued_ms, reserved)
select 0, 4000000 + n, 'lined', 'g' || n % 50, 't', 1, false from {numbers};
insert into fastq.head (shard, queue, group_key, job) select 0, 'x', 'g' || n, n from {numbers};
insert into fastq.unique_key (shard, key, job, held_until, queue)
select 0, 'k' || n, n, 'finished', 'default' from {numbers};
insert into fastq.unique_key (shard, key, job, held_until, expires_at, queue)
select 0, 'x' || n, 5000000 + n, 'finished', now() - interval '1 s', 'default' from {numbers};
insert into fastq.committed (shard, id, committed_at) select 0, n, now() - interval '90 days' from {numbers};
"""


@pytest.fixture(params=["empty", "few", "never", "early"])
def burst(request: pytest.FixtureRequest, server: str, template: str) -> Iterator[psycopg.Connection[Any]]:
    """Give a database into which many jobs came, which had none, or a few, when it was analyzed or planned for."""
    name = f"bulk_{uuid4().hex[:12]}"
    with psycopg.connect(server, autocommit=True) as conn:
        conn.execute(f"create database {name} template {template}".encode())
    with psycopg.connect(conninfo.make_conninfo(server, dbname=name), autocommit=True) as conn:
        for table in TABLES:
            conn.execute(f"alter table fastq.{table} set (autovacuum_enabled = off)".encode())
        if request.param in ("empty", "few"):
            conn.execute(burst_of(5).encode())
            nothing = f"delete from fastq.{'; delete from fastq.'.join(TABLES)}".encode()
            conn.execute(nothing if request.param == "empty" else b"select")
            conn.execute("vacuum analyze")
            conn.execute(nothing)
        if request.param == "early":  # what plans a session keeps that ran all this when there was nothing
            conn.execute("set plan_cache_mode = force_generic_plan")
            for query, _ in WAYS.values():
                conn.execute(query.encode())
        conn.execute(burst_of(ROWS, behind=10).encode())
        yield conn
    with psycopg.connect(server, autocommit=True) as conn:
        conn.execute(f"drop database {name} with (force)".encode())


def work(conn: psycopg.Connection[Any], query: str, params: dict[str, Any]) -> tuple[int, int]:
    """Return what a query gives, and how many rows the nodes of its plans handled, those inside functions too."""
    handled = 0

    def hear(notice: psycopg.errors.Diagnostic) -> None:
        nonlocal handled
        text = notice.message_primary or ""
        if "plan:" in text:
            handled += _handled(json.loads(text.partition("plan:")[2])["Plan"])

    conn.execute(EXPLAIN)
    conn.add_notice_handler(hear)
    try:
        cur = conn.execute(query.encode(), params)
        return (cur.rowcount if cur.rowcount > 1 else cur.fetchall()[0][0]), handled
    finally:
        conn.remove_notice_handler(hear)


def _handled(node: dict[str, Any]) -> int:
    removed = sum(count for what, count in node.items() if what.startswith("Rows Removed by"))
    here = (node["Actual Rows"] + removed) * node["Actual Loops"]
    return int(here) + sum(_handled(child) for child in node.get("Plans", []))


WAYS = {
    "delete_all": ("select fastq.delete_jobs()", 5 * ROWS),
    "delete_a_task": ("select fastq.delete_jobs(task => 't', queue => 'other')", ROWS),
    "purge": ("select fastq.purge('default')", 2 * ROWS),
    "cancel_all": ("select cancelled from fastq.cancel_jobs()", 4 * ROWS),
    "retry_all": ("select fastq.retry_jobs()", ROWS),
}


@pytest.mark.parametrize("way", WAYS)
def test_in_proportion_to_the_jobs(burst: psycopg.Connection[Any], way: str) -> None:
    """Each of them handles a few rows for a job, and not all jobs for each."""
    query, jobs = WAYS[way]
    done, handled = work(burst, query, {})
    assert done == jobs
    assert jobs <= handled <= MOST_PER_ROW * jobs


UPKEEP = {
    "prune_finished_jobs": {"limit": BATCH},
    "prune_expired_keys": {"limit": BATCH},
    "prune_committed_jobs": {"limit": BATCH, "days": 7},
    "expire_reserved_jobs": {"limit": BATCH},
}


@pytest.mark.parametrize("name", UPKEEP)
def test_upkeep_in_proportion_to_its_batch(burst: psycopg.Connection[Any], name: str) -> None:
    """What the leader deletes in batches handles a few rows for each, however many there are."""
    burst.execute(SETUP.encode())
    done, handled = work(burst, statement(name), {"shard": 0, **UPKEEP[name]})
    assert done == BATCH
    assert handled <= MOST_PER_ROW * BATCH


def test_a_few_of_many_cost_little(burst: psycopg.Connection[Any]) -> None:
    """A limit of ten jobs is not paid for with a look at all of them."""
    done, handled = work(burst, "select fastq.delete_jobs(states => array['ready'], most => 10)", {})
    assert (done, handled < 2000) == (10, True)


MOST_OF_LEASE = 120
"""So many for each job of a lease, whose fields are rows too; the square would be 20,000."""

LEASE = """
insert into fastq.worker (shard, id, host, pid, expires_at) select 0, 1, 'h', 1, now() + interval '1 hour';
insert into fastq.lease (shard, id, worker, queue, priority, group_key, batch)
select 0, 1, 1, 'default', 4, '',
       convert_to(json_agg(json_build_array(n, 't', 0, 1, n, n, null))::text, 'UTF8') from generate_series(1, 500) n;
insert into fastq.progress (shard, lease, ord, completed) select 0, 1, n, true from generate_series(250, 499) n;
"""
NOTHING = {
    **dict.fromkeys(("task", "payload", "result")),
    **dict.fromkeys(("advances", "anew", "recalls"), False),
    **dict.fromkeys(("delay_s", "keep_s", "ran_ms"), 0),
    "goes": "done",
    "state": "succeeded",
    "attempt": 1,
    "meta": "{}",
    "frees": True,
}


def test_settling_in_proportion_to_the_jobs(burst: psycopg.Connection[Any]) -> None:
    """The jobs of one lease are taken apart once, and not once for each of them that ends."""
    burst.execute(LEASE.encode())
    burst.execute(BY_INDEX.encode())
    each = {name: [value] * 500 for name, value in NOTHING.items()}
    params = {"shard": 0, "worker": 1, "lease": [1] * 500, "ord": list(range(500)), **each}
    done, handled = work(burst, statement("settle_jobs_if_leased"), params)
    assert done == 500
    assert 500 <= handled <= MOST_OF_LEASE * 500


def test_lines_go_on_in_proportion_to_the_jobs(burst: psycopg.Connection[Any]) -> None:
    """So are those of a dead worker whose ordered jobs had completed."""
    burst.execute(LEASE.encode())
    burst.execute(BY_INDEX.encode())
    done, handled = work(burst, statement("advance_completed_lines"), {"shard": 0, "worker": 1})
    assert done == 0
    assert 500 <= handled <= MOST_OF_LEASE * 500
