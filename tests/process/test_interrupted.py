"""A transaction that is undone between statements of ours costs no attempt; what is the handler's own does."""

from __future__ import annotations

import interrupted
import psycopg
import pytest
from fleet import Fleet, until
from probe import Db, states, told

from fastq.ends.outcome import MOST_INTERRUPTED

pytestmark = pytest.mark.process


@pytest.fixture(autouse=True)
def skew(dsn: str, db: Db) -> None:
    """A table to be in each other's way, in a database where transactions are serializable."""
    db.execute("create table skew (side int)")
    name = psycopg.conninfo.conninfo_to_dict(dsn)["dbname"]
    db.execute(f"alter database {name} set default_transaction_isolation = 'serializable'".encode())


@pytest.mark.parametrize("kind", ["skewed", "ended"])
def test_a_transaction_that_is_undone_at_its_end_costs_no_attempt(dsn: str, db: Db, kind: str) -> None:
    """Not serializable, or its session was ended: the job runs again in its first attempt, its work is there once."""
    with interrupted.app as app:
        app.enqueue_many_sync([getattr(interrupted, kind).job()])
    with Fleet(dsn, target="interrupted:app") as fleet:
        until("it to have run four times", lambda: len(told(db, kind)) == 4)
        until("no job to be left", lambda: not states(db))
        assert fleet.stop() == 0
    assert told(db, kind) == ["1"] * 4
    side = {"skewed": 2, "ended": 3}[kind]
    assert db.execute("select count(*) from skew where side = %s", [side]).fetchone() == (1,)


def test_a_statement_of_the_handlers_that_fails_is_its_own(dsn: str, db: Db) -> None:
    """Without retries the job has failed."""
    with interrupted.app as app:
        app.enqueue_many_sync([interrupted.its_own.job()])
    with Fleet(dsn, target="interrupted:app"):
        until("it to fail", lambda: states(db) == {"failed": 1})
    assert told(db, "its_own") == ["1"]


def test_a_transaction_that_is_always_undone_fails_in_the_end(dsn: str, db: Db) -> None:
    """After so many runs that did not count it is a failure as any other."""
    with interrupted.app as app:
        app.enqueue_many_sync([interrupted.never.job()])
    with Fleet(dsn, target="interrupted:app"):
        until("it to fail", lambda: states(db) == {"failed": 1})
    assert told(db, "never") == ["1"] * (MOST_INTERRUPTED + 1)
    row = db.execute(
        "select attempt, json_array_length(meta->'errors'), meta->>'interrupted' from fastq.job"
    ).fetchone()
    assert row == (1, 1, None)
