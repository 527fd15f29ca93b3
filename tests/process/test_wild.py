"""Whatever a handler, a middleware or a hook raises ends its job, and nothing else."""

from __future__ import annotations

import psycopg
import pytest
import wild
from fleet import Fleet, until
from probe import Db, states

pytestmark = pytest.mark.process


def ends(db: Db) -> dict[tuple[str, str], str]:
    """Return the type of the last error of each failed job, by its task and the kind that it was to raise."""
    rows = db.execute(
        "select task, coalesce(payload->>'kind', ''), meta->'errors'->-1->>'type' from fastq.job where state = 'failed'"
    ).fetchall()
    return {(task.removeprefix("wild."), kind): error for task, kind, error in rows}


def shown(kind: str) -> str:
    """Return the type that stands in the record: no coroutine can raise StopIteration, Python makes another of it."""
    return "RuntimeError" if kind == "StopIteration" else kind


def test_whatever_a_handler_raises_is_its_jobs_failure(dsn: str, db: Db) -> None:
    """On the event loop, in threads and in batches, up to what ends an interpreter; the worker lives on."""
    tasks = [wild.in_thread, wild.on_loop, wild.many_in_thread, wild.many_on_loop]
    with wild.app as app:
        app.enqueue_many_sync(task.job(kind=kind) for kind in wild.KINDS for task in tasks)
        app.enqueue_many_sync([wild.empty.job()])
    with Fleet(dsn, target="wild:app") as fleet:
        fleet.ready()
        (worker,) = fleet.workers(db)
        until("all to have failed", lambda: states(db) == {"failed": len(tasks) * len(wild.KINDS) + 1})
        assert fleet.workers(db) == [worker]
        assert fleet.stop() == 0
    expected = {(task.name.removeprefix("wild."), kind): shown(kind) for task in tasks for kind in wild.KINDS}
    assert ends(db) == {**expected, ("empty", ""): "RuntimeError"}


def test_an_empty_iterator_is_told_of(dsn: str, db: Db) -> None:
    """A bare next() in a thread fails its job with a sentence and the place; it does not run for ever."""
    with wild.app as app:
        app.enqueue_many_sync([wild.empty.job()])
    with Fleet(dsn, target="wild:app"):
        until("it to fail", lambda: states(db) == {"failed": 1})
    row = db.execute("select meta->'errors'->0->>'message', meta->'errors'->0->>'traceback' from fastq.job").fetchone()
    assert row is not None
    assert row[0] == "the function raised StopIteration, as next() does on an iterator that is empty"
    assert "next(iter(()))" in row[1]


def test_whatever_middleware_and_hooks_raise_harms_nobody(dsn: str, db: Db) -> None:
    """The job fails by its middleware's error; hooks are told of and waited for when the worker drains."""
    with psycopg.connect(dsn) as conn, wild.wrapped as app:
        for kind in wild.KINDS:
            app.enqueue_sync(wild.calm.options(headers={"kind": kind}).job(kind=kind), conn=conn)
    with Fleet(dsn, target="wild:wrapped") as fleet:
        fleet.ready()
        (worker,) = fleet.workers(db)
        until("all to have failed", lambda: states(db) == {"failed": len(wild.KINDS)})
        assert fleet.workers(db) == [worker]
        assert fleet.stop() == 0
        fleet.wait_line(f"{2 * len(wild.KINDS) - 5} more like this within .* a hook failed for job")
    assert ends(db) == {("calm", kind): shown(kind) for kind in wild.KINDS}
