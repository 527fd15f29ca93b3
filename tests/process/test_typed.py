"""Typed arguments through a real worker, and jobs enqueued by jobs."""

from __future__ import annotations

from datetime import date
from typing import Any

import psycopg
import pytest
import typed
from fleet import Fleet, until
from probe import Db, states, told, wait_empty, wait_told

pytestmark = pytest.mark.process


def put(*specs: Any) -> None:
    """Enqueue jobs."""
    with typed.app as app:
        app.enqueue_many_sync(specs)


def test_arguments_arrive_as_they_were(dsn: str, db: Db) -> None:
    """Dataclasses, enums, times, UUIDs, decimals, bytes, sets, tuples, nested and optional: equal, and of the type."""
    put(typed.takes.job(**typed.VALUES), typed.plainly.job(order=typed.VALUES["order"], raw=typed.VALUES["raw"]))
    with Fleet(dsn, target="typed:app"):
        wait_told(db, "plainly")
        wait_empty(db)
    assert told(db, "differs") == []
    assert len(told(db, "got")) == len(typed.VALUES)
    assert told(db, "plainly") == ["True"]


def test_pydantic_models(dsn: str, db: Db) -> None:
    """Also in lists and in themselves."""
    pytest.importorskip("pydantic")
    boss = typed.Person(name="B", born=date(1960, 1, 1))
    head = typed.Person(name="A", born=date(1990, 1, 1), boss=boss)
    put(typed.hires.job(people=[boss, head], head=head))
    with Fleet(dsn, target="typed:app"):
        (line,) = wait_told(db, "hired")
    assert line == f"{boss!r} ['Person', 'Person'] datetime.date(1960, 1, 1)"


@pytest.mark.parametrize(
    ("change", "where"),
    [
        ({"level": 9}, "$.level"),
        ({"raw": "not base64!"}, "$.raw"),
        ({"either": 1.5}, "$.either"),
        ({"order": {"id": "no uuid", "at": "2026-11-21T09:30:00Z", "lines": []}}, "$.order.id"),
        ({"by_number": {"1": "ten"}}, "$.by_number"),
    ],
)
def test_what_does_not_fit_names_the_argument(dsn: str, db: Db, change: dict[str, Any], where: str) -> None:
    """The job fails at once, without a retry, and its error says where."""
    put(typed.takes.job(**{**typed.VALUES, **change}))
    with Fleet(dsn, target="typed:app"):
        until("it to fail", lambda: states(db) == {"failed": 1})
    row = db.execute("select attempt, meta->'errors'->0->>'message' from fastq.finished").fetchone()
    assert row is not None
    assert row[0] == 1
    assert where in row[1]


def test_jobs_enqueue_jobs(dsn: str, db: Db) -> None:
    """From a thread with headers; in the job's own transaction, with it or not at all; beside it, in any case."""
    put(typed.nests.job(n=2), typed.nests.job(n=3))
    with Fleet(dsn, target="typed:app"):
        until("one to fail", lambda: states(db) == {"failed": 1})
    assert sorted(told(db, "notes")) == ["103 False", "2 False", "2 False", "2 True"]
    assert told(db, "plainly") == ["True"]


def test_many_tasks_and_queues_are_enqueued_together_or_not_at_all(dsn: str, db: Db) -> None:
    """In list order, each to its own queue, priority and time; an error in the middle enqueues none."""
    order = typed.VALUES["order"]

    def specs() -> Any:
        yield typed.notes.job(n=1)
        yield typed.in_thread.options(priority=0).job(order=order)
        yield typed.notes.options(queue="third", delay=60, headers={"h": 1}).job(n=2)
        yield typed.plainly.options(group_key="g").job(order=order, raw=b"")

    def broken() -> Any:
        yield from specs()
        raise LookupError("no more")

    with typed.app as app:
        with pytest.raises(LookupError):
            app.enqueue_many_sync(broken())
        with psycopg.connect(dsn) as mine:
            app.enqueue_many_sync(specs(), conn=mine)
            mine.rollback()
        assert states(db) == {}
        ids = app.enqueue_many_sync(specs())
    rows = db.execute("select id, task, queue, priority, state, group_key from fastq.job").fetchall()
    assert sorted(rows, key=lambda row: list(ids).index(row[0])) == [
        (ids[0], "typed.notes", "default", 4, "ready", ""),
        (ids[1], "typed.in_thread", "other", 0, "ready", ""),
        (ids[2], "typed.notes", "third", 4, "scheduled", ""),
        (ids[3], "typed.plainly", "default", 4, "ready", "g"),
    ]
