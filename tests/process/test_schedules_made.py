"""Schedules that are made at run time, by Python and by SQL, run by a fleet."""

from __future__ import annotations

import handlers
import psycopg
import pytest
from fleet import Fleet
from probe import Db, told, wait_told

import fastq

pytestmark = pytest.mark.process

EACH_SECOND = "* * * * * *"


def test_they_run_with_their_arguments(dsn: str, db: Db) -> None:
    """Both, one paused later on enqueues nothing more, one that is removed is gone."""
    with handlers.app:
        handlers.app.schedules.set_sync("by-python", EACH_SECOND, handlers.quick.job(n=1))
        db.execute("select fastq.set_schedule('by-sql', %s, 'handlers.quick', '{\"n\": 2}')", [EACH_SECOND])
        with Fleet(dsn):
            assert {"1", "2"} <= set(wait_told(db, "quick", 4))
            assert handlers.app.schedules.pause_sync("by-python")
            handlers.app.schedules.remove_sync("by-sql")
            names = [(row.name, row.standing, row.owner) for row in handlers.app.schedules.list_sync() if not row.owner]
            assert names == [("by-python", "paused", "")]
            before = len(told(db, "quick"))
            assert handlers.app.schedules.run_sync("by-python")
            wait_told(db, "quick", before + 1)
            assert handlers.app.schedules.resume_sync("by-python") is not None
            wait_told(db, "quick", before + 3)


async def test_what_cannot_be(dsn: str) -> None:
    """Options that a schedule does not have, a thing that is no job, names and expressions that cannot be."""
    async with handlers.app as app:
        schedules = app.schedules
        with pytest.raises(fastq.UsageError, match="a queue and a priority"):
            await schedules.set("x", EACH_SECOND, handlers.quick.options(delay=5).job(n=1))
        with pytest.raises(fastq.UsageError, match=r"give task\.job"):
            await schedules.set("x", EACH_SECOND, handlers.quick)  # type: ignore[arg-type]
        with pytest.raises(fastq.UsageError, match="no cron expression"):
            await schedules.set("x", "x", handlers.quick.job(n=1))
        with pytest.raises(fastq.UsageError, match="there is no schedule 'x'"):
            await schedules.pause("x")
        assert await schedules.list() == []


@pytest.mark.parametrize(
    "call",
    ["'s', '* * * * *', 't', '[]'", "'s', '* * * * *', 't', priority => 10", "'s', '* * * * *', 't', catch_up => 'x'"],
)
def test_what_sql_refuses(db: Db, call: str) -> None:
    """At once, and not when the leader comes to it."""
    with pytest.raises(psycopg.errors.InvalidParameterValue, match=r"fastq\.set_schedule"):
        db.execute(f"select fastq.set_schedule({call})".encode())
