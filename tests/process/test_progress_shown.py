"""Progress of jobs that run in real workers, asynchronous and in threads."""

from __future__ import annotations

import handlers
import pytest
from fleet import Fleet, until
from probe import Db, enqueue, wait_empty

pytestmark = pytest.mark.process


def shown(db: Db) -> set[tuple[float, str]]:
    """Return the progress of all jobs that show any."""
    return {
        (row[0], row[1]) for row in db.execute("select progress, note from fastq.job where progress > 0").fetchall()
    }


def test_the_last_word_is_shown_while_the_jobs_run(dsn: str, db: Db) -> None:
    """Also one that comes sooner than a second after the first; with the jobs it goes."""
    enqueue(handlers.climbing.job(n=1), handlers.climbing_in_a_thread.job(n=2))
    with Fleet(dsn):
        until("the last words", lambda: shown(db) == {(0.5, "camp 1"), (0.75, "camp 2")})
        with handlers.app:
            (found,) = handlers.app.jobs.list_sync(task="handlers.climbing")
            assert (found.progress, found.note) == (0.5, "camp 1")
        db.execute("insert into gate default values")
        wait_empty(db)
    assert db.execute("select count(*) from fastq.progress").fetchone() == (0,)
