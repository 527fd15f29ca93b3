"""The history of a real fleet adds up to what its workers did."""

from __future__ import annotations

import handlers
import psycopg
import pytest
from fleet import Fleet, until
from probe import Db, enqueue, states

from fastq.insights import history

pytestmark = pytest.mark.process


def test_it_adds_up_to_what_the_workers_counted(dsn: str, db: Db) -> None:
    """Over two fleets, one after the other: what succeeded, failed and was tried again, each once."""
    for turn in (1, 2):
        enqueue(*(handlers.nothing.job(n=n) for n in range(700)), *(handlers.failing.job(n=n) for n in range(3)))
        with Fleet(dsn, processes=2) as fleet:
            until("all to end", lambda turn=turn: states(db) == {"failed": 3 * turn})
            assert fleet.stop() == 0
    counts = "select sum(succeeded)::int, sum(failed)::int, sum(retried)::int from fastq.history where queue = ''"
    assert db.execute(f"{counts} and span_s = 60").fetchall() == [(1400, 6, 12)]
    with psycopg.connect(dsn) as conn:
        found = {row.task: row for row in history.by_task(conn)}
    assert set(found) == {"handlers.nothing", "handlers.failing"}
    well, ill = found["handlers.nothing"], found["handlers.failing"]
    assert (well.claimed, well.succeeded, sum(well.ran), sum(well.waited)) == (1400, 1400, 1400, 1400)
    assert (ill.claimed, ill.failed, ill.retried, sum(ill.ran), sum(ill.waited)) == (18, 6, 12, 18, 6)


def test_how_long_runs_took(dsn: str, db: Db) -> None:
    """In a coroutine, in a thread, with a context and in a batch: each run is in the bucket of its time."""
    takes = 0.02
    enqueue(*(handlers.sleeps.job(seconds=takes) for _ in range(20)))
    enqueue(*(handlers.in_thread_for.job(seconds=takes) for _ in range(20)))
    with Fleet(dsn) as fleet:
        until("all to end", lambda: states(db) == {})
        assert fleet.stop() == 0
    with psycopg.connect(dsn) as conn:
        found = {row.task: row for row in history.by_task(conn)}
    for task in ("handlers.sleeps", "handlers.in_thread_for"):
        row = found[task]
        assert row.succeeded == sum(row.ran[5:]) == 20, (task, row)
        assert 20 * (takes - 0.001) * 1e6 <= row.ran_us  # uvloop's timers count in milliseconds
