"""Batch handlers in a real worker: what comes together, what becomes of each job, and what a crash charges."""

from __future__ import annotations

from collections import Counter
from typing import Any

import batches
import pytest
from fleet import Fleet, until
from probe import Db, states, told, wait_told

pytestmark = pytest.mark.process


def put(*specs: Any) -> list[int]:
    """Enqueue jobs."""
    with batches.app as app:
        return list(app.enqueue_many_sync(specs))


def ended(db: Db) -> None:
    """Wait until nothing is left but what is kept."""
    until("the jobs to end", lambda: set(states(db)) <= {"succeeded", "failed", "discarded", "cancelled"})


def test_jobs_come_together_once_each(dsn: str, db: Db) -> None:
    """Full batches while there are enough jobs, never more than the size; others of the queue run beside them."""
    put(*(batches.index_all.job(n=n) for n in range(350)), *(batches.in_thread.job(n=n) for n in range(25)))
    with Fleet(dsn, target="batches:app"):
        ended(db)
    calls = [line.split(",") for line in told(db, "together")]
    assert sorted(int(n) for call in calls for n in call) == list(range(350))
    assert max(map(len, calls)) == 100
    assert sorted(map(int, told(db, "note"))) == list(range(25))


def test_each_job_ends_as_was_said_of_it(dsn: str, db: Db) -> None:
    """Failed, tried again, snoozed, discarded; the others succeed, and are kept as their task says."""
    kinds = ("good", "fail", "retry", "snooze", "discard", "good")
    ids = dict(zip(put(*(batches.picky.job(kind=kind) for kind in kinds)), kinds, strict=True))
    with Fleet(dsn, target="batches:app"):
        ended(db)
    rows = db.execute("select id, state, attempt, meta->'errors'->-1->>'message' from fastq.job order by id").fetchall()
    assert [(ids[job], *rest) for job, *rest in rows] == [
        ("good", "succeeded", 1, None),
        ("fail", "failed", 2, "not this one"),
        ("retry", "succeeded", 2, None),
        ("snooze", "succeeded", 1, None),
        ("discard", "discarded", 1, "no use"),
        ("good", "succeeded", 1, None),
    ]


def test_an_exception_fails_all_of_which_nothing_was_said(dsn: str, db: Db) -> None:
    """Each by its own policy."""
    put(*(batches.breaks.job(n=n) for n in range(4)))
    with Fleet(dsn, target="batches:app"):
        ended(db)
    assert states(db) == {"discarded": 1, "failed": 3}


def test_arguments_that_are_none_fail_alone(dsn: str, db: Db) -> None:
    """A payload that is no object ends its job; the neighbours run."""
    for n in range(3):
        put(batches.index_all.job(n=n))
    db.execute("update fastq.ready set payload = '[1]' where payload->>'n' = '1'")
    with Fleet(dsn, target="batches:app"):
        until("one to fail", lambda: states(db) == {"failed": 1})
    assert told(db, "together") == ["0,2"]


def test_a_crash_is_charged_to_all_in_the_call(dsn: str, db: Db) -> None:
    """They are tried again one by one: the one that kills is failed, the others run."""
    put(*(batches.kills.job(n=n) for n in range(5)))
    with Fleet(dsn, target="batches:app"):
        until("the killer to be failed", lambda: states(db) == {"failed": 1})
        ended(db)
    row = db.execute("select payload->>'n', meta->'crashes' from fastq.finished").fetchone()
    assert row == ("3", 3)
    calls = told(db, "called")
    assert calls[0] == "0,1,2,3,4"
    assert Counter(calls[1:]) == Counter({"0": 1, "1": 1, "2": 1, "4": 1, "3": 2})


def test_a_hard_timeout_is_charged_to_all_in_the_call(dsn: str, db: Db) -> None:
    """The worker is killed, and none of them has an attempt left."""
    put(*(batches.hangs.job(n=n) for n in range(3)))
    with Fleet(dsn, target="batches:app"):
        until("all to fail", lambda: states(db) == {"failed": 3})
    assert told(db, "called") == ["3"]


def test_one_job_of_a_call_is_cancelled(dsn: str, db: Db) -> None:
    """The handler sees it; the others are not disturbed."""
    _, job, _ = put(*(batches.waits.job(n=n) for n in range(3)))
    with Fleet(dsn, target="batches:app"):
        wait_told(db, "called")
        with batches.app as app:
            assert app.jobs.cancel_sync(job) == "cancelling"
        until("it to be cancelled", lambda: states(db) == {"cancelled": 1})
    assert db.execute("select id from fastq.finished").fetchone() == (job,)


def test_a_key_that_is_held_until_the_start_is_free_in_the_call(dsn: str, db: Db) -> None:
    """As for a job that runs alone."""
    task = batches.waits.options(unique_key="u", unique_until="started")
    with batches.app as app, Fleet(dsn, target="batches:app"):
        first = task.enqueue_sync(n=1)
        wait_told(db, "called")
        second = task.enqueue_sync(n=2)
        assert (first.duplicate, second.duplicate) == (False, False)
        for job in (first, second):
            app.jobs.cancel_sync(job.id)
        until("both to be cancelled", lambda: states(db) == {"cancelled": 2})


def test_a_queue_rests_so_that_more_come_together(dsn: str, db: Db) -> None:
    """After the first jobs, those that come within the wait are one batch."""
    with Fleet(dsn, target="batches:app").ready():
        put(batches.slowly.job(n=0))
        wait_told(db, "together")
        with batches.app:
            for n in range(1, 6):
                batches.slowly.enqueue_sync(n=n)
        until("no jobs left", lambda: not states(db))
    assert told(db, "together") == ["1", "5"]
