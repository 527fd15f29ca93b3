"""What the tests of worker processes see: rows that handlers wrote, and the states of jobs."""

from __future__ import annotations

from typing import Any

import handlers
import psycopg
from fleet import until

Db = psycopg.Connection[Any]


def enqueue(*specs: Any) -> list[int]:
    """Enqueue jobs of the handlers' app; the database is FASTQ_DSN's."""
    with handlers.app as app:
        return list(app.enqueue_many_sync(specs))


def told(db: Db, what: str) -> list[str]:
    """Return what handlers told, in order."""
    return [row[0] for row in db.execute("select value from probe where what = %s order by id", [what]).fetchall()]


def states(db: Db) -> dict[str, int]:
    """Return how many jobs stand in each state."""
    return dict(db.execute("select state, count(*)::int from fastq.job group by 1").fetchall())


def wait_told(db: Db, what: str, count: int = 1) -> list[str]:
    """Wait until handlers told something so many times."""
    return until(f"{count} x {what}", lambda: (seen := told(db, what)) and len(seen) >= count and seen)


def wait_empty(db: Db) -> None:
    """Wait until there is no job at all."""
    until("no jobs left", lambda: not states(db))
