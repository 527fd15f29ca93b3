"""Seeing and steering schedules: list them, pause, resume and remove them, find those that nobody declares any more."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from psycopg import AsyncConnection, Connection

from fastq.errors import UsageError
from fastq.protocol.cron import STALE_S, schedule_of
from fastq.sql import statement

MOST = 10_000


class ScheduleStanding(StrEnum):
    """How a schedule stands."""

    ON = "on"
    PAUSED = "paused"
    ORPHAN = "orphan"
    ENDED = "ended"


@dataclass(frozen=True, slots=True)
class ScheduleRow:
    """A schedule as it stands in the database; what its spec lacks is None.

    `orphan`: no worker has declared it for a minute, `ended`: nor for the time that schedules last without one.
    """

    name: str
    expression: str | None
    tz: str | None
    task: str | None
    queue: str | None
    catch_up: str | None
    next_at: datetime
    last_at: datetime | None
    owner: str
    seen_at: datetime
    paused: bool
    orphan: bool
    ended: bool

    @property
    def standing(self) -> ScheduleStanding:
        """What matters most about it."""
        if self.ended:
            return ScheduleStanding.ENDED
        return (
            ScheduleStanding.PAUSED if self.paused else ScheduleStanding.ORPHAN if self.orphan else ScheduleStanding.ON
        )


def _all(orphan_s: float) -> dict[str, float]:
    return {"orphan_s": orphan_s, "limit": MOST}


def list_schedules(conn: Connection[Any]) -> list[ScheduleRow]:
    """Return all schedules by name."""
    return [ScheduleRow(*row) for row in conn.execute(statement("list_schedules"), _all(STALE_S)).fetchall()]


async def orphans(conn: AsyncConnection[Any], *, orphan_s: float) -> list[ScheduleRow]:
    """Return the schedules that no worker has declared for so long."""
    cur = await conn.execute(statement("list_schedules"), _all(orphan_s))
    return [row for row in (ScheduleRow(*found) for found in await cur.fetchall()) if row.orphan]


def pause(conn: Connection[Any], name: str) -> bool:
    """Let a schedule enqueue nothing until it is resumed; False if it was paused already.

    Raises:
        UsageError: there is none of that name.

    """
    done = conn.execute(statement("pause_schedule"), {"name": name}).fetchone() is not None
    if not done:
        _find(conn, name)
    return done


def resume(conn: Connection[Any], name: str) -> datetime | None:
    """Let a schedule go on with its first occurrence from now, and return that; None if it was not paused.

    Raises:
        UsageError: there is none of that name, or it cannot be read by this fastq.

    """
    while (found := _find(conn, name)).paused:
        next_at = schedule_of(name, found.spec).timing.next_after(found.now)
        changes = {"name": name, "next_at": next_at, "spec": found.spec}
        if conn.execute(statement("resume_schedule"), changes).fetchone() is not None:
            return next_at
    return None


def run(conn: Connection[Any], name: str) -> int:
    """Enqueue a job of a schedule now, beside its occurrences; returns the job's id.

    Raises:
        UsageError: there is none of that name.

    """
    row = conn.execute(statement("run_schedule"), {"name": name}).fetchone()
    if row is None:
        _find(conn, name)
        raise AssertionError("a schedule that is there has been run")
    return int(row[0])


def remove(conn: Connection[Any], name: str) -> None:
    """Delete a schedule that no worker declares.

    Raises:
        UsageError: there is none of that name, or workers declare it: it would be back in a moment.

    """
    if conn.execute(statement("remove_schedule_if_orphan"), {"name": name, "orphan_s": STALE_S}).fetchone() is None:
        owner = _find(conn, name).owner
        raise UsageError(
            f"workers of {owner} declare the schedule {name!r}, or did within the last minute: take it out of the code,"
            " or pause it"
        )


@dataclass(frozen=True, slots=True)
class _Found:
    spec: str
    paused: bool
    owner: str
    now: datetime


def _find(conn: Connection[Any], name: str) -> _Found:
    row = conn.execute(statement("find_schedule"), {"name": name}).fetchone()
    if row is None:
        raise UsageError(f"there is no schedule {name!r}; `fastq schedules list` shows all")
    return _Found(*row)
