"""The protocol as functions: they are what their headers declare, and a worker can be written with nothing else."""

from __future__ import annotations

import json
from importlib.resources import files
from typing import Any

import psycopg
import pytest
from psycopg import sql

from fastq.sql import BY_INDEX, SEGMENTS, function_of, names, numbered, text_of

pytestmark = pytest.mark.protocol

Db = psycopg.Connection[Any]
FUNCTIONS = [name for name in names() if function_of(name) is not None]
SHORT = {
    "bigint": "int8",
    "integer": "int4",
    "smallint": "int2",
    "boolean": "bool",
    "double precision": "float8",
    "timestamp with time zone": "timestamptz",
}
ACTIONS = {
    "take_lease_ids",
    "register_worker",
    "renew_workers",
    "put_jobs",
    "put_packets",
    "discover_lanes",
    "claim_jobs",
    "claim_jobs_of_groups",
    "ack_leases",
    "ack_jobs",
    "settle_jobs",
    "promote_due_jobs",
    "hold_lease",
    "complete_job",
    "save_checkpoint",
    "tell_progress",
    "free_key",
    "list_expired_workers",
    "lock_worker",
    "lock_leases",
    "list_leased_jobs",
    "advance_completed_lines",
    "delete_leases",
    "delete_worker",
    "advance_head",
    "sweep_packets",
} | {
    "count_leased",
    "count_running",
    "discover_lanes_of_queues",
    "enlist_worker",
    "expire_reserved_jobs",
    "fail_due_job",
    "find_worker",
    "free_started_key",
    "list_cancellations",
    "list_leases",
    "list_unwanted_tasks",
    "replace_batch",
    "resolve_completion",
    "survey_count",
    "survey_failures",
    "survey_held",
    "survey_jobs",
    "survey_ready",
    "survey_running",
    "survey_waiting",
    "sweep_orphaned_keys",
    "take_positions",
}
CLAIM = {"limit": 10, "most": 10, "rows": 10, "acks": [], "max_bytes": 1 << 22, "packet_bytes": 1 << 16}


def call(db: Db, function: str, **params: Any) -> list[dict[str, Any]]:
    """Call a function with named parameters, as any client in any language can."""
    named = sql.SQL(", ").join(
        sql.SQL("{} => {}").format(sql.Identifier(f"p_{name}"), sql.Placeholder(name)) for name in params
    )
    query = sql.SQL("select * from fastq.{}({})").format(sql.Identifier(function), named)
    cur = db.cursor(row_factory=psycopg.rows.dict_row)
    return cur.execute(query, params).fetchall()


def short(kind: str) -> str:
    """Return a type's name as the headers write it."""
    bare = kind.removesuffix("[]")
    return SHORT.get(bare, bare) + kind[len(bare) :]


def test_every_hot_action_is_a_function() -> None:
    """What a worker needs, and nothing is left out by a header that cannot be read."""
    found = [function.name for name in FUNCTIONS if (function := function_of(name)) is not None]
    assert sorted(found) == sorted(ACTIONS)


@pytest.mark.parametrize("name", FUNCTIONS)
def test_its_header_declares_what_its_text_has(db: Db, name: str) -> None:
    """Parameters and columns have the names and types that the server finds in the text; the shard comes first."""
    function = function_of(name)
    assert function is not None
    raw, order = numbered(text_of(name, 0))
    db.execute(b"prepare p as " + raw)
    row = db.execute("select parameter_types::text[] from pg_prepared_statements where name = 'p'").fetchone()
    assert row is not None
    found = dict(zip(order, map(short, row[0]), strict=True))
    assert dict(function.params) == found
    assert "shard" not in found or function.params[0][0] == "shard"
    described = db.pgconn.describe_prepared(b"p")
    oids = [described.ftype(place) for place in range(described.nfields)]
    kinds = [db.execute("select format_type(%s, null)", [oid]).fetchone() for oid in oids]
    columns = [described.fname(place) for place in range(described.nfields)]
    assert function.columns == tuple(
        ((column or b"").decode(), short(kind[0])) for column, kind in zip(columns, kinds, strict=True) if kind
    )


def start(db: Db, lease_s: float = 60.0) -> dict[str, Any]:
    """Register a worker; returns who it is."""
    ((worker),) = call(db, "register_worker", host="elsewhere", pid=1, name="", lease_s=lease_s, shards=1, about=None)
    return {"shard": 0, "worker": worker["id"]}


def claim(db: Db, who: dict[str, Any], **more: Any) -> list[dict[str, Any]]:
    """Find a lane with jobs of task t, and claim from it."""
    where = {"from_queue": "", "from_group": "", "exclude": [], "hot": ["t"], "known": [], "limit": 100}
    lanes = [
        lane
        for segment in range(SEGMENTS)
        for lane in call(db, f"discover_lanes_{segment}", shard=0, **where)
        if not lane["paused"]
    ]
    lane = lanes[0]
    ((first),) = call(db, "take_lease_ids")
    return call(
        db,
        f"claim_jobs_{lane['segment']}",
        **who,
        lease=first["first"],
        queue=lane["queue"],
        priority=lane["priority"],
        group_key=lane["group_key"],
        low=lane["pos"] - 1,
        **{**CLAIM, **more},
        hot=["t"],
        known=[],
    )


def settlement(lease: int, ord_: int, **what: Any) -> dict[str, Any]:
    """Return the arrays that settle one job: it is tried again in a moment, unless `what` says otherwise."""
    one = {
        "lease": lease,
        "ord": ord_,
        "goes": "scheduled",
        "state": "retrying",
        "delay_s": 0.0,
        "attempt": 1,
        "meta": None,
        "keep_s": None,
        "task": None,
        "payload": None,
        "result": None,
        "frees": False,
        "advances": None,
        "anew": False,
        "recalls": False,
        "ran_ms": None,
    }
    return {name: [value] for name, value in (one | what).items()}


def states(db: Db) -> dict[str, int]:
    """Return how many jobs are in each state."""
    return dict(db.execute("select state, count(*)::int from fastq.job group by 1").fetchall())


def test_a_worker_of_functions(db: Db) -> None:
    """One job succeeds, one is tried again and fails; a packet is taken in part; then the worker leaves."""
    for n in range(2):
        db.execute("select fastq.enqueue('t', json_build_object('n', %s::int))", [n])
    who = start(db)
    (batch,) = claim(db, who)
    jobs = json.loads(batch["batch"])
    assert [(job[1], job[4]) for job in jobs] == [("t", {"n": 0}), ("t", {"n": 1})]
    assert call(db, "ack_jobs", **who, leases=[batch["id"]], ords=[0]) == [{"id": batch["id"]}]
    (moved,) = call(db, "settle_jobs", **who, **settlement(batch["id"], 1))
    assert (moved["lease"], moved["ord"]) == (batch["id"], 1)
    assert states(db) == {"retrying": 1}
    call(db, "ack_leases", **who, acks=[batch["id"]])
    assert call(db, "promote_due_jobs", shard=0, since="-infinity", limit=10)[0]["promoted"] == 1

    (again,) = claim(db, who)
    assert json.loads(again["batch"])[0][2] == 1  # the attempt that it has behind it
    failed = settlement(again["id"], 0, goes="finished", state="failed", keep_s=60.0, attempt=2)
    call(db, "settle_jobs", **who, **failed)
    call(db, "ack_leases", **who, acks=[again["id"]])
    assert states(db) == {"failed": 1}

    assert call(db, "put_packets", shard=0, lines="3\tdefault\t4\tt\t\t\t[{},{},{}]", ring=True)
    (part,) = claim(db, who, limit=2, most=0)
    assert (part["jobs"], json.loads(part["batch"]), part["more"]) == (2, [{}, {}, {}], True)
    call(db, "ack_leases", **who, acks=[part["id"]])
    (rest,) = claim(db, who)
    call(db, "ack_leases", **who, acks=[rest["id"]])
    assert states(db) == {"failed": 1}
    assert call(db, "delete_worker", **who) == [{"id": who["worker"]}]


def test_a_reaper_of_functions(db: Db) -> None:
    """What a dead worker held goes back into line; the dead one gets nothing any more."""
    assert call(db, "put_jobs", shard=0, lines="default\t4\tt\t\t\t{}", ring=False)
    who = start(db, lease_s=0.0)
    assert claim(db, who)[0]["id"] is None  # its time has run out
    call(db, "renew_workers", shard=0, workers=[who["worker"]], counters=["{}"], lease_s=60.0)
    (batch,) = claim(db, who)
    call(db, "renew_workers", shard=0, workers=[who["worker"]], counters=["{}"], lease_s=-1.0)
    assert call(db, "list_expired_workers", shard=0) == [{"id": who["worker"]}]
    with db.transaction():
        assert call(db, "lock_worker", **who, expired=True) == [{"id": who["worker"]}]
        leases = [row["id"] for row in call(db, "lock_leases", **who)]
        (job,) = call(db, "list_leased_jobs", **who, leases=leases)
        assert (job["lease"], job["task"]) == (batch["id"], "t")
        back = settlement(job["lease"], job["ord"], goes="ready", state="ready", attempt=0)
        assert len(call(db, "settle_jobs", **who, **back)) == 1
        call(db, "advance_completed_lines", **who)
        call(db, "delete_leases", **who, stuck=[])
        call(db, "delete_worker", **who)
    assert states(db) == {"ready": 1}
    assert call(db, "ack_leases", **who, acks=[batch["id"]]) == []


def test_what_is_settled_is_durable_whatever_the_session_says(db: Db) -> None:
    """The statement turns synchronous_commit on for its transaction; inside the function that must outlast the call."""
    call(db, "put_jobs", shard=0, lines="default\t4\tt\t\t\t{}", ring=False)
    who = start(db)
    (batch,) = claim(db, who)
    db.execute("set synchronous_commit = off")
    with db.transaction():
        call(db, "settle_jobs", **who, **settlement(batch["id"], 0))
        assert db.execute("show synchronous_commit").fetchone() == ("on",)
    assert db.execute("show synchronous_commit").fetchone() == ("off",)


def test_its_plan_stays_right(db: Db) -> None:
    """A plan that was kept while the tables were empty walks their indexes; the session has no settings of its own."""
    who = start(db)
    for table in ("ready_0", "lease_0"):
        db.execute(f"alter table fastq.{table} set (autovacuum_enabled = off)".encode())
    call(db, "put_jobs", shard=0, lines="default\t4\tt\t\t\t{}", ring=False)
    for _ in range(7):  # the server would choose between its plans after five times
        call(db, "claim_jobs_0", **who, **EMPTY_LANE)
        call(db, "ack_leases", **who, acks=[1])
    db.execute("insert into fastq.ready_0 (task) select 't' from generate_series(1, 50000)")
    with db.transaction(force_rollback=True):
        (found,) = claim(db, who)
        call(db, "ack_leases", **who, acks=[found["id"]])
        read = db.execute(
            "select relname, seq_scan, idx_tup_fetch from pg_stat_xact_user_tables"
            " where relname in ('ready_0', 'lease_0')"
        ).fetchall()
    for table, sequential, fetched in read:
        assert (sequential, fetched < 50) == (0, True), table
    for table in ("ready_0", "lease_0"):
        db.execute(f"alter table fastq.{table} reset (autovacuum_enabled)".encode())


EMPTY_LANE = {
    **CLAIM,
    "lease": 1 << 40,
    "queue": "none",
    "priority": 4,
    "group_key": "",
    "low": 0,
    "hot": ["t"],
    "known": [],
}


def test_they_bring_their_settings_along(db: Db) -> None:
    """Each has all settings that a worker's session has for its statements."""
    wanted = {part.strip().removeprefix("set ").replace(" = ", "=") for part in BY_INDEX.split(";")}
    rows = db.execute(
        "select p.proname, p.proconfig from pg_proc p join fastq.definition d on d.name like 'protocol/%'"
        " and 'function ' || p.proname = any (d.makes) where p.pronamespace = 'fastq'::regnamespace"
    ).fetchall()
    texts = [(files("fastq.sql") / f"{name}.sql").read_text("utf-8") for name in FUNCTIONS]
    of_segments = [text for text in texts if "{segment}" in text]
    assert len(rows) == len(FUNCTIONS) + len(of_segments) * (SEGMENTS - 1)
    assert [name for name, config in rows if set(config) != wanted] == []
