"""Cancelling jobs that run, from anywhere: what their handlers see, and what becomes of them."""

from __future__ import annotations

import cancels
import pytest
from fleet import Fleet, until
from probe import Db, states, told, wait_told

from fastq.task import Task

pytestmark = pytest.mark.process


def begun(db: Db, task: Task, *numbers: int) -> list[int]:
    """Enqueue jobs and wait until they run; returns their ids."""
    with cancels.app as app:
        jobs = list(app.enqueue_many_sync(task.job(n=n) for n in numbers))
    wait_told(db, "started", len(numbers))
    return jobs


def cancel(*jobs: int) -> None:
    """Cancel running jobs."""
    with cancels.app as app:
        for job in jobs:
            assert app.jobs.cancel_sync(job) == "cancelling"


def ended(db: Db, job: int) -> tuple[str, int, str | None]:
    """Wait until a job is kept, and its mark gone; returns its state, its attempts, and its last error."""
    until(f"job {job} to end", lambda: set(states(db)) <= {"cancelled", "failed"})
    until("the marks to go", lambda: not db.execute("select from fastq.cancellation").fetchall())
    row = db.execute(
        "select state, attempt, meta->'errors'->-1->>'message' from fastq.finished where id = %s", [job]
    ).fetchone()
    assert row is not None
    return row


def test_a_running_job_is_cancelled(dsn: str, db: Db) -> None:
    """Its coroutine is cancelled and may clean up; it is kept as cancelled, without an error; its neighbour runs on."""
    with Fleet(dsn, target="cancels:app", processes=2):
        job, other = begun(db, cancels.sleeps, 1, 2)
        cancel(job)
        assert wait_told(db, "cleaned") == ["1"]
        until("the other to run on alone", lambda: states(db) == {"cancelled": 1, "running": 1})
        cancel(other)
        assert ended(db, job) == ("cancelled", 1, None)


def test_sql_cancels_within_a_heartbeat(dsn: str, db: Db) -> None:
    """`select fastq.cancel(id)` tells nobody; the steward finds the mark."""
    with Fleet(dsn, "--lease", "2", target="cancels:app"):
        (job,) = begun(db, cancels.sleeps, 1)
        assert db.execute("select fastq.cancel(%s)", [job]).fetchone() == ("cancelling",)
        assert ended(db, job) == ("cancelled", 1, None)


def test_a_handler_that_ends_well_has_succeeded(dsn: str, db: Db) -> None:
    """It caught the cancellation and finished: its job is done. It is asked once, and sees the flag."""
    with Fleet(dsn, target="cancels:app"):
        (job,) = begun(db, cancels.stubborn, 1)
        cancel(job)
        until("it to succeed", lambda: not states(db))
        until("its mark to go", lambda: not db.execute("select from fastq.cancellation").fetchall())
    assert told(db, "cancelled") == ["True"]


def test_a_cancelled_run_that_fails_is_not_tried_again(dsn: str, db: Db) -> None:
    """It is cancelled, with its error, although attempts are left."""
    with Fleet(dsn, target="cancels:app"):
        (job,) = begun(db, cancels.spiteful, 1)
        cancel(job)
        assert ended(db, job) == ("cancelled", 1, "I was not done")


def test_a_thread_sees_the_flag(dsn: str, db: Db) -> None:
    """A synchronous handler cannot be stopped: it looks at ctx.cancelled; raising ends its job as cancelled."""
    with Fleet(dsn, target="cancels:app"):
        done, given_up = begun(db, cancels.threaded, 0, 1)
        cancel(done, given_up)
        assert ended(db, given_up) == ("cancelled", 1, "given up")
    assert states(db) == {"cancelled": 1}


def test_a_job_whose_worker_dies_meanwhile_never_runs_again(dsn: str, db: Db) -> None:
    """What a dead worker held and somebody had cancelled is not given back, but cancelled."""
    with Fleet(dsn, target="cancels:app"):
        (job,) = begun(db, cancels.dies, 1)
        cancel(job)
        assert ended(db, job) == ("cancelled", 0, None)
    assert told(db, "started") == ["1"]


def test_a_retried_job_is_not_cancelled_once_more(dsn: str, db: Db) -> None:
    """Retrying takes the mark with it."""
    with Fleet(dsn, target="cancels:app"):
        (job,) = begun(db, cancels.sleeps, 1)
        cancel(job)
        until("it to be cancelled", lambda: states(db) == {"cancelled": 1})
        with cancels.app as app:
            assert app.jobs.retry_sync(job)
        wait_told(db, "started", 2)
        until("the marks to go", lambda: not db.execute("select from fastq.cancellation").fetchall())
        assert states(db) == {"running": 1}
        cancel(job)
        assert ended(db, job) == ("cancelled", 1, None)
