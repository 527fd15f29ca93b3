"""Workers and producers whose database is migrated by a later fastq while they are at work."""

from __future__ import annotations

import os
import signal

import handlers
import psycopg
import pytest
from fleet import Fleet
from probe import Db, enqueue, states, wait_empty, wait_told

import fastq
from fastq.errors import SchemaError
from fastq.schema import files, migrator
from fastq.schema.files import Migration

pytestmark = pytest.mark.process


class Later:
    """A fastq that has one migration more than this one."""

    def __init__(self, dsn: str, patch: pytest.MonkeyPatch) -> None:
        self._dsn, self._patch = dsn, patch

    def migrate(self, sql: str) -> None:
        """Do what `fastq migrate` of the later fastq does."""
        more = Migration(version=files.newest() + 1, name="more", sql=sql)
        with self._patch.context() as patch, psycopg.connect(self._dsn, autocommit=True) as conn:
            patch.setattr("fastq.schema.plan.migrations", lambda: (*files.migrations(), more))
            patch.setattr("fastq.schema.plan.newest", lambda: more.version)
            assert migrator.migrate(conn) == 1


@pytest.fixture
def later(dsn: str, monkeypatch: pytest.MonkeyPatch) -> Later:
    """Give the later fastq."""
    return Later(dsn, monkeypatch)


def test_a_migration_that_suits_stops_nobody(dsn: str, db: Db, later: Later) -> None:
    """Workers and an open producer go on under it; both start on it, and the workers' replacements, too."""
    with Fleet(dsn) as fleet, handlers.app as app:
        (worker,) = fleet.ready().workers(db)
        later.migrate(f"-- Suits: {files.newest()}\ncreate table fastq.later (n int4);")
        app.enqueue_sync(handlers.quick.job(n=1))
        wait_told(db, "quick", 1)
        assert fleet.workers(db) == [worker]
        os.kill(worker, signal.SIGTERM)
        fleet.ready(2)
        assert fleet.stop() == 0
    with Fleet(dsn) as fleet:
        enqueue(handlers.quick.job(n=2))
        wait_told(db, "quick", 2)
        assert fleet.stop() == 0


def test_one_that_does_not_suit_lets_nobody_start(dsn: str, db: Db, later: Later) -> None:
    """Who is at work goes on as long as all that it uses is there; a producer says why before it enqueues anything."""
    with Fleet(dsn) as fleet, handlers.app as app:
        (worker,) = fleet.ready().workers(db)
        later.migrate("create table fastq.later (n int4);")
        app.enqueue_sync(handlers.quick.job(n=1))
        wait_told(db, "quick", 1)
        wait_empty(db)
        with pytest.raises(SchemaError, match="upgrade fastq on this host"), fastq.App(dsn):
            pytest.fail("it is open")
        assert states(db) == {}
        os.kill(worker, signal.SIGTERM)
        assert fleet.process.wait(30) == 4
    assert any("upgrade fastq on this host" in line for line in fleet.lines)


def test_workers_whose_database_was_migrated_under_them_leave_with_4(dsn: str, db: Db, later: Later) -> None:
    """As those of an earlier checkout do: they say why, nothing is lost, and nobody tries again for ever."""
    with Fleet(dsn, "--lease", "5") as fleet:
        fleet.ready()
        later.migrate("alter table fastq.ready rename column priority to urgency;")
        assert fleet.process.wait(90) == 4
    assert any("has been migrated under this worker" in line for line in fleet.lines)
    assert any("upgrade fastq" in line for line in fleet.lines)
