"""Schedules that no worker declares any more, and rows that strangers wrote."""

from __future__ import annotations

import psycopg
import pytest
from cron_scene import enqueued, make_due, register, schedule
from scene import Conn

from fastq.cron import CatchUp
from fastq.postgres.link import Link
from fastq.protocol import cron
from fastq.steward.cron import Cron
from fastq.steward.leader import Leader
from fastq.steward.orphans import Orphans

pytestmark = pytest.mark.protocol


async def last_seen(conn: Conn, ago: str) -> None:
    """Let it be so long ago that a worker declared the schedules."""
    await conn.execute("update fastq.cron set seen_at = now() - %s::interval", (ago,))


async def test_an_orphan_ends_after_a_week_and_starts_again_when_it_is_declared(conn: Conn, clockwork: Cron) -> None:
    """Until then it goes on, as there may be an app that comes back; and what it comes back to is not lost."""
    await register(conn, schedule(catch_up=CatchUp.ONE))
    await make_due(conn)
    await last_seen(conn, "6 days 23 hours")
    await clockwork.step()
    assert len(await enqueued(conn)) == 1
    await make_due(conn)
    await last_seen(conn, "7 days 1 second")
    assert await clockwork.step() == Cron.every_s
    assert len(await enqueued(conn)) == 1
    assert await register(conn, schedule(catch_up=CatchUp.ONE)) == {}
    await clockwork.step()
    assert len(await enqueued(conn)) == 2


@pytest.mark.parametrize(("setting", "ago", "lives"), [("3600", "61 min", 0), ("0", "1 min", 1), ('"x"', "1 day", 1)])
async def test_a_setting_says_how_long(conn: Conn, clockwork: Cron, setting: str, ago: str, lives: int) -> None:
    """In seconds, and not less than two minutes; what is no number counts as none."""
    await conn.execute("insert into fastq.setting values ('schedules_last_s', %s)", (setting,))
    await register(conn, schedule(catch_up=CatchUp.ONE))
    await make_due(conn)
    await last_seen(conn, ago)
    await clockwork.step()
    assert len(await enqueued(conn)) == lives


async def test_what_was_made_by_hand_has_no_end(conn: Conn, clockwork: Cron) -> None:
    """A row without an owner was never declared by anybody."""
    await register(conn, schedule(catch_up=CatchUp.ONE))
    await conn.execute("update fastq.cron set owner = ''")
    await make_due(conn)
    await last_seen(conn, "10 years")
    await clockwork.step()
    assert len(await enqueued(conn)) == 1


async def test_orphans_are_told_of_once_a_day(conn: Conn, link: Link, caplog: pytest.LogCaptureFixture) -> None:
    """Once when they are found, once when they end; those that are declared, or were until a moment ago, never."""
    await register(conn, schedule(name="jobs.orphan"), schedule(name="jobs.fine"))
    orphans = Orphans(link, Leader(link, holder="test"))
    for ago, count in (("5 min", 0), ("11 min", 1), ("12 min", 1), ("8 days", 2), ("9 days", 2)):
        await conn.execute("update fastq.cron set seen_at = now() - %s::interval where name = 'jobs.orphan'", (ago,))
        await orphans.step()
        assert caplog.text.count("schedule jobs.orphan ") == count, ago
    assert "declared by no worker since" in caplog.text
    assert "schedule jobs.orphan has ended: no worker has declared it since" in caplog.text
    assert "jobs.fine" not in caplog.text


@pytest.mark.parametrize(
    "spec",
    [
        "[1]",
        "5",
        '{"task": "\\u0000"}',
        '{"task": "\\ud800"}',
        '{"expression": "0 * * * *", "tz": "UTC", "task": "t", "queue": "q", "priority": 99, "catch_up": "one"}',
        '{"expression": "0 * * * *", "tz": "UTC", "task": "\\u0000", "queue": "q", "priority": 3, "catch_up": "one"}',
    ],
)
async def test_a_spec_of_a_strangers_costs_its_schedule_alone(
    conn: Conn, clockwork: Cron, caplog: pytest.LogCaptureFixture, spec: str
) -> None:
    """Whatever stands there, the others go on, and it is told of once."""
    await register(conn, schedule(name="good", catch_up=CatchUp.ONE))
    await conn.execute("insert into fastq.cron (name, next_at, spec) values ('bad', now(), %s)", (spec,))
    for _ in range(2):
        await make_due(conn)
        await clockwork.step()
    assert len(await enqueued(conn)) == 2
    assert caplog.text.count("schedule bad stands still") == 1


@pytest.mark.parametrize("when", ["infinity", "-infinity", "0001-01-01 BC", "20000-01-01"])
async def test_a_time_that_no_client_can_read_is_refused(conn: Conn, when: str) -> None:
    """The steward that leads has to read it every second."""
    for column in ("next_at", "last_at", "seen_at"):
        values = {"next_at": "now()", "last_at": "null", "seen_at": "now()"} | {column: f"'{when}'"}
        columns, given = ", ".join(values), ", ".join(values.values())
        insert = f"insert into fastq.cron (name, spec, {columns}) values ('s', '{{}}', {given})"
        with pytest.raises(psycopg.errors.CheckViolation):
            await conn.execute(insert)


async def test_a_paused_schedule_enqueues_nothing(conn: Conn, clockwork: Cron, other: Conn) -> None:
    """Neither what is due, nor what a leader found due a moment before; declaring it again does not resume it."""
    await register(conn, schedule(catch_up=CatchUp.ONE))
    await make_due(conn)
    (found,) = (await cron.due(conn)).schedules
    await conn.execute("update fastq.cron set paused = true")
    assert not await cron.enqueue(other, found, found.schedule.plan(found.due_at, found.now))
    await register(conn, schedule(catch_up=CatchUp.ONE, queue="other"))
    await clockwork.step()
    assert await enqueued(conn) == []
