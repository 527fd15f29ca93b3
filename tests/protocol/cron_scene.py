"""Schedules in the database, and the steward's clockwork."""

from __future__ import annotations

from typing import Any

import pytest
from scene import Conn, ask

from fastq.cron import Schedule, Timing
from fastq.postgres.link import Link
from fastq.protocol import cron
from fastq.steward.cron import Cron
from fastq.steward.leader import Leader

OWNER = "jobs:app"


def schedule(expression: str = "0 * * * *", **changes: Any) -> Schedule:
    """Return a schedule of the task t."""
    tz = changes.pop("tz", "UTC")
    timing = Timing(expression=expression, tz=tz)
    return Schedule(**{"name": "s", "timing": timing, "task": "t", "queue": "q", "priority": 3, **changes})


async def register(conn: Conn, *schedules: Schedule, owner: str = OWNER, stale_s: float = 60.0) -> dict[str, str]:
    """Register and return what changed, by name."""
    return {c.name: c.what for c in await cron.register(conn, schedules, owner=owner, stale_s=stale_s)}


async def make_due(conn: Conn, ago: str = "0 s") -> None:
    """Move every schedule's next occurrence to the whole hour before `ago`."""
    await conn.execute("update fastq.cron set next_at = date_trunc('hour', now() - %s::interval)", (ago,))


async def enqueued(conn: Conn) -> list[str]:
    """Return the occurrences of the enqueued jobs in line."""
    rows = await ask(conn, "select meta -> 'headers' ->> 'scheduled_for' from fastq.ready order by pos")
    return [row[0] for row in rows]


async def row(conn: Conn) -> tuple[Any, ...]:
    """Return next_at, last_at and the queue of the only schedule."""
    ((found),) = await ask(conn, "select next_at, last_at, spec ->> 'queue' from fastq.cron")
    return found


@pytest.fixture
async def link(dsn: str) -> Any:
    """Give the steward's connection."""
    opened = Link(dsn, "fastq test")
    yield opened
    await opened.close()


@pytest.fixture
def clockwork(link: Link) -> Cron:
    """Give the steward's clockwork."""
    return Cron(link, Leader(link, holder="test"))
