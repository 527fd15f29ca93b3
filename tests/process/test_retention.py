"""What is kept of a job that has ended: everything, failed ones, nothing; with or without arguments; for how long."""

from __future__ import annotations

import kept
import pytest
from fleet import Fleet, until
from probe import Db

pytestmark = pytest.mark.process


def test_each_task_keeps_what_it_says(dsn: str, db: Db) -> None:
    """And what is over its time is deleted by the leader."""
    with kept.app as app:
        app.enqueue_many_sync(task.job(n=1) for task in app.tasks.values())
        app.enqueue_many_sync([kept.with_payload_if_it_fails.job(n=0)])
    with Fleet(dsn, target="kept:app"):
        until(
            "what is not kept to be pruned",
            lambda: (
                (
                    db.execute(
                        "select count(*) filter (where state in ('succeeded', 'failed')), count(*) from fastq.job"
                    )
                ).fetchone()
                == (6, 6)
            ),
        )
    rows = db.execute(
        "select task, state, payload::text, result::text, expires_at is null,"
        " expires_at between now() and now() + interval '61 s' from fastq.finished order by task, state"
    ).fetchall()
    assert rows == [
        ("kept.fails", "failed", '{"n":1}', None, True, None),
        ("kept.fails_without_payload", "failed", None, None, False, True),
        ("kept.for_ever", "succeeded", '{"n":1}', "2", True, None),
        ("kept.with_payload_if_it_fails", "failed", '{"n":0}', None, True, None),
        ("kept.with_payload_if_it_fails", "succeeded", None, "1", False, True),
        ("kept.without_payload", "succeeded", None, "2", False, True),
    ]


def test_what_has_no_payload_is_shown_and_not_retried(dsn: str, db: Db) -> None:
    """There is nothing to run it with."""
    with kept.app as app:
        (job,) = app.enqueue_many_sync([kept.fails_without_payload.job(n=1)])
        with Fleet(dsn, target="kept:app"):
            until("it to fail", lambda: db.execute("select 1 from fastq.finished").fetchone())
        found = app.jobs.get_sync(job)
        assert found is not None
        assert (found.state, found.args, found.errors[-1]["message"]) == ("failed", {}, "no")
        assert app.jobs.retry_sync(job) is False
        assert app.jobs.delete_sync(job) is True
