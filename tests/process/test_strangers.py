"""Rows that strangers put there stop neither a worker nor a steward, whether the worker lives or dies with them."""

from __future__ import annotations

import os
import signal
from typing import Any

import handlers
import psycopg
import pytest
from fleet import Fleet, until
from probe import Db, enqueue, states, told, wait_told

pytestmark = pytest.mark.process

NESTED = '{"headers":{"a":' + "[" * 300 + "]" * 300 + "}}"
ODD: list[dict[str, Any]] = [
    {"meta": NESTED},
    {"meta": "[1]"},
    {"meta": '"text"'},
    {"meta": '{"crashes":"x"}'},
    {"meta": '{"errors":5}'},
    {"meta": '{"headers":{"a":"\\ud800"}}'},
    {"meta": '{"unique":5,"ordered":7}'},
    {"attempt": 32767},
    {"attempt": -32768},
    {"enqueued_ms": 2**63 - 1},
    {"enqueued_ms": -(2**63)},
    {"pos": 2**63 - 1},
    {"pos": -(2**63) + 1},
    {"id": 7},
    {"id": 7},
    {"id": -1},
    {"group_key": "\U0010ffff"},
    {"payload": '{"n":"\\ud800"}'},
    {"payload": "null"},
    {"payload": "[" * 3000 + "]" * 3000},
]


def insert(db: Db, row: dict[str, Any], *, task: str) -> None:
    """Insert a ready job as the owner of the schema, past every door."""
    columns = {"task": task, "payload": '{"n":1}', **row}
    names = ", ".join(columns)
    places = ", ".join("%s::json" if name in ("payload", "meta") else "%s" for name in columns)
    door = "select pg_get_constraintdef(oid) from pg_constraint where conname = 'ready_fits'"
    with db.transaction():
        fits = db.execute(f"{door} and conrelid = 'fastq.ready'::regclass".encode()).fetchone()
        assert fits is not None
        db.execute("alter table fastq.ready drop constraint ready_fits")
        db.execute(f"insert into fastq.ready_0 ({names}) values ({places})".encode(), list(columns.values()))
        shut = fits[0].replace(" NOT VALID", "")
        db.execute(f"alter table fastq.ready add constraint ready_fits {shut} not valid".encode())


@pytest.mark.parametrize("task", ["handlers.failing", "handlers.adds", "nobody.has_it"])
def test_odd_rows_cost_themselves_alone(dsn: str, db: Db, task: str) -> None:
    """Every other job runs, in the same process; what is odd is kept as failed, or waits for who knows its task."""
    for row in ODD:
        insert(db, row, task=task)
    enqueue(*[handlers.quick.job(n=n) for n in range(50)])
    with Fleet(dsn) as fleet:
        fleet.ready()
        workers = fleet.workers(db)
        wait_told(db, "quick", 50)
        kept = {"ready": len(ODD)} if task == "nobody.has_it" else {"failed": len(ODD)}
        until("the odd ones to have ended", lambda: states(db) == kept)
        assert fleet.workers(db) == workers
        assert fleet.stop() == 0
    assert db.execute("select count(*) from fastq.lease").fetchone() == (0,)


def test_a_worker_that_dies_with_odd_rows_is_reaped(dsn: str, db: Db) -> None:
    """Innocents of its lease run again in the next one; what is odd goes back as well, or is kept as failed."""
    for row in ODD[:12]:
        insert(db, row, task="handlers.gated")
    enqueue(*[handlers.gated.job(n=n) for n in range(100, 105)])
    with Fleet(dsn) as fleet:
        fleet.ready()
        (worker,) = fleet.workers(db)
        wait_told(db, "started", 16)
        os.kill(worker, signal.SIGKILL)
        fleet.wait_line(r"worker \d+ ended by SIGKILL: 16 job\(s\) given back")
        db.execute("insert into gate values (true)")
        until("the innocents to have run", lambda: {str(n) for n in range(100, 105)} <= set(told(db, "finished")))
        until("no job to be left in line", lambda: states(db).keys() <= {"failed"})
        assert fleet.stop() == 0
    rows = db.execute("select meta->'errors'->-1->>'message' from fastq.finished").fetchall()
    assert any("could not be written: Recursion limit reached" in message for (message,) in rows)


def test_what_a_constraint_refuses_is_kept_by_a_worker(dsn: str, db: Db) -> None:
    """A table that does not take one of many jobs costs neither the worker nor the others."""
    with psycopg.connect(dsn, autocommit=True) as conn:
        conn.execute("alter table fastq.scheduled add check (payload->>'n' <> '3')")
    enqueue(*[handlers.failing.job(n=n) for n in range(6)])
    with Fleet(dsn) as fleet:
        fleet.ready()
        workers = fleet.workers(db)
        until("all to have failed", lambda: states(db) == {"failed": 6})
        assert fleet.workers(db) == workers
        fleet.wait_line(r"is kept as failed, since its end cannot be written: new row for relation")
    assert sorted(told(db, "attempt")) == ["1"] * 6 + ["2"] * 5 + ["3"] * 5
