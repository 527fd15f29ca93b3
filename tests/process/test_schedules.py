"""Schedules with real fleets: every second, over several hosts, through the death of the steward that leads."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import psycopg
import pytest
from fleet import Fleet, gone, until

pytestmark = pytest.mark.process

Db = psycopg.Connection[Any]
APP = "schedules:app"


@pytest.fixture
def db(dsn: str) -> Iterator[Db]:
    """Give a connection to a database with the table that the handlers write to."""
    with psycopg.connect(dsn, autocommit=True) as conn:
        conn.execute("create table probe (id int8 generated always as identity, what text, value text, pid int)")
        yield conn


def told(db: Db, what: str) -> list[str]:
    """Return what handlers told, in order."""
    return [row[0] for row in db.execute("select value from probe where what = %s order by id", [what]).fetchall()]


def ticks(db: Db) -> list[datetime]:
    """Return the occurrences that were run, in the order of their times."""
    return sorted(map(datetime.fromisoformat, told(db, "tick")))


def wait_ticks(db: Db, count: int) -> list[datetime]:
    """Wait until so many more occurrences were run than now."""
    so_far = len(ticks(db))
    return until(f"{count} ticks", lambda: (seen := ticks(db)) and len(seen) >= so_far + count and seen)


def leader(db: Db) -> int:
    """Return the pid of the steward that leads; the holder's name ends with its supervisor's."""
    row = until("a leader", lambda: db.execute("select holder from fastq.leader").fetchone())
    return int(until("its steward", lambda: _steward_of(int(row[0].rpartition(":")[2]))))


def _steward_of(supervisor: int) -> int | None:
    """Return the pid of a supervisor's steward, if it lives."""
    for child in Path(f"/proc/{supervisor}/task/{supervisor}/children").read_text().split():
        with suppress(OSError):
            if Path(f"/proc/{child}/comm").read_text().strip() == "fastq steward" and not gone(int(child)):
                return int(child)
    return None


def test_each_second_once_over_two_hosts(dsn: str, db: Db) -> None:
    """Two supervisors with two workers each run every second once, in the schedule's zone, and none is left out."""
    with Fleet(dsn, target=APP, processes=2) as one, Fleet(dsn, target=APP, processes=2) as two:
        one.ready(2)
        two.ready(2)
        wait_ticks(db, 5)
        assert one.stop() == two.stop() == 0
    # Those that a drain gave back count too.
    waiting = db.execute("select meta -> 'headers' ->> 'scheduled_for' from fastq.ready where task like '%tick'")
    seen = sorted([*ticks(db), *(datetime.fromisoformat(row[0]) for row in waiting.fetchall())])
    assert {b - a for a, b in pairwise(seen)} == {timedelta(seconds=1)}
    assert {tick.utcoffset() for tick in seen} <= {timedelta(hours=2), timedelta(hours=3)}


def test_a_leader_that_is_killed(dsn: str, db: Db) -> None:
    """Another host goes on within seconds; no occurrence is run twice."""
    with Fleet(dsn, target=APP) as one, Fleet(dsn, target=APP) as two:
        one.ready()
        two.ready()
        wait_ticks(db, 2)
        os.kill(leader(db), signal.SIGKILL)
        wait_ticks(db, 3)
        os.kill(leader(db), signal.SIGKILL)
        wait_ticks(db, 3)
    seen = ticks(db)
    assert len(set(seen)) == len(seen)


def test_missed_while_nothing_ran(dsn: str, db: Db) -> None:
    """The next start catches up as the schedule says, and a job of a queue with options goes there."""
    with Fleet(dsn, target=APP) as fleet:
        fleet.ready()
        assert fleet.stop() == 0
    db.execute("update fastq.cron set next_at = '2016-02-29 00:00Z' where name = 'leap'")
    with Fleet(dsn, target=APP) as fleet:
        expected = ["2016-02-29T00:00:00+00:00", "2020-02-29T00:00:00+00:00", "2024-02-29T00:00:00+00:00"]
        until("three leap days", lambda: len(told(db, "leap")) >= 3)
        assert sorted(told(db, "leap"))[:3] == expected
    assert db.execute("select spec ->> 'queue', next_at > now() from fastq.cron where name = 'leap'").fetchone() == (
        "rare",
        True,
    )


def test_a_newer_version_of_the_app(dsn: str, db: Db) -> None:
    """A changed expression holds from the start of the newer version; what another app registered stays."""
    with Fleet(dsn, target=APP) as fleet:
        fleet.ready()
        fleet.wait_line("schedule leap: added")
        assert fleet.stop() == 0
    with Fleet(dsn, target="schedules:newer") as fleet:
        fleet.wait_line("schedule leap: changed")
        assert fleet.stop() == 0
    rows = db.execute("select name, extract(day from next_at at time zone 'UTC')::int from fastq.cron order by 1")
    names = dict(rows.fetchall())
    assert names["leap"] == 28
    assert len(names) == 2
