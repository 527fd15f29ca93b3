"""Jobs that were not begun in the time they had: kept as expired, whoever would have run them."""

from __future__ import annotations

import batches
import handlers
import pytest
from fleet import Fleet, until
from probe import Db, enqueue, states, told, wait_told

pytestmark = pytest.mark.process

SOON, LATE = 0.001, 3600.0


def is_over(db: Db) -> bool:
    """Tell whether the first job has been there for longer than it had."""
    return db.execute("select now() - min(enqueued_at) > '10 ms' from fastq.job").fetchone() == (True,)


def test_what_comes_too_late_is_not_run(dsn: str, db: Db) -> None:
    """One that has time runs; the other one is kept, and runs when somebody wants it all the same."""
    enqueue(handlers.quick.options(expires=SOON).job(n=1), handlers.quick.options(expires=LATE).job(n=2))
    until("the time to be over", lambda: is_over(db))
    with Fleet(dsn), handlers.app:
        assert wait_told(db, "quick") == ["2"]
        until("the other one to be kept", lambda: states(db) == {"expired": 1})
        (job,) = handlers.app.jobs.list_sync(state="expired")
        assert (job.args, job.attempt, job.errors) == ({"n": 1}, 0, ())
        assert handlers.app.jobs.retry_sync(job.id)
        assert sorted(wait_told(db, "quick", 2)) == ["1", "2"]


def test_a_call_of_a_batch_handler_goes_without_it(dsn: str, db: Db) -> None:
    """The others are not held up; a job of the same key can be enqueued again."""
    index = batches.index_all
    once = index.options(expires=SOON, unique_key="key")
    with batches.app:
        batches.app.enqueue_many_sync([once.job(n=1), index.options(expires=LATE).job(n=2)])
    until("the time to be over", lambda: is_over(db))
    with Fleet(dsn, target="batches:app"):
        assert wait_told(db, "together") == ["2"]
        until("the other one to be kept", lambda: states(db) == {"expired": 1})
    with batches.app:
        assert not once.enqueue_sync(n=3).duplicate


def test_from_sql(dsn: str, db: Db) -> None:
    """The time counts from the enqueue, in any language."""
    db.execute("select fastq.enqueue('handlers.quick', '{\"n\": 7}', expires => '1 ms')")
    db.execute("select fastq.enqueue('handlers.quick', '{\"n\": 8}', expires => '1 hour')")
    until("the time to be over", lambda: is_over(db))
    with Fleet(dsn):
        assert wait_told(db, "quick") == ["8"]
        until("the other one to be kept", lambda: states(db) == {"expired": 1})
    assert told(db, "quick") == ["8"]
