"""Seeing and steering schedules: make, list, pause, run and remove them, find those that nobody declares any more."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

import orjson

from fastq.cron import Schedule
from fastq.errors import UsageError
from fastq.protocol.asking import Request, Row, Steps, Work, is_there, only
from fastq.protocol.cron import STALE_S, schedule_of

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

    `owner` is the app that declares it, "" of one that was made at run time. `orphan`: no worker has declared it for a
    minute, `ended`: nor for the time that schedules last without one. `args` is what its jobs get, as JSON.
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
    args: str | None = None

    @property
    def standing(self) -> ScheduleStanding:
        """What matters most about it."""
        if self.ended:
            return ScheduleStanding.ENDED
        return (
            ScheduleStanding.PAUSED if self.paused else ScheduleStanding.ORPHAN if self.orphan else ScheduleStanding.ON
        )


def _rows(rows: list[Row]) -> list[ScheduleRow]:
    return [ScheduleRow(*row) for row in rows]


def list_schedules(*, orphan_s: float = STALE_S) -> Request[list[ScheduleRow]]:
    """Return all schedules by name; orphans are those that no worker has declared for so long."""
    return Request("list_schedules", {"orphan_s": orphan_s, "limit": MOST}, _rows)


def put(schedule: Schedule) -> Work[datetime]:
    """Make a schedule, or change one that was made so; returns its next occurrence if it is new.

    Raises (from PostgreSQL, object_in_use): workers declare one of that name.
    """
    spec = orjson.dumps(schedule.spec).decode()

    def steps() -> Steps[datetime]:
        next_at: datetime = schedule.timing.next_after((yield Request("read_clock", {}, only)))
        yield Request("set_schedule", {"name": schedule.name, "next_at": next_at, "spec": spec}, only)
        return next_at

    return Work(steps)


def pause(name: str) -> Work[bool]:
    """Let a schedule enqueue nothing until it is resumed; False if it was paused already.

    Raises:
        UsageError: there is none of that name.

    """

    def steps() -> Steps[bool]:
        done: bool = yield Request("pause_schedule", {"name": name}, is_there)
        if not done:
            yield _find(name)
        return done

    return Work(steps)


def resume(name: str) -> Work[datetime | None]:
    """Let a schedule go on with its first occurrence from now, and return that; None if it was not paused.

    Raises:
        UsageError: there is none of that name, or it cannot be read by this fastq.

    """

    def steps() -> Steps[datetime | None]:
        while True:
            found: _Found = yield _find(name)
            if not found.paused:
                return None
            next_at = schedule_of(name, found.spec).timing.next_after(found.now)
            changes = {"name": name, "next_at": next_at, "spec": found.spec}
            if (yield Request("resume_schedule", changes, is_there)):
                return next_at

    return Work(steps, whole=False)


def run(name: str) -> Work[int]:
    """Enqueue a job of a schedule now, beside its occurrences; returns the job's id.

    Raises:
        UsageError: there is none of that name.

    """

    def steps() -> Steps[int]:
        yield _find(name)
        job: int = yield Request("run_schedule", {"name": name}, only)
        return job

    return Work(steps)


def remove(name: str) -> Work[None]:
    """Delete a schedule that no worker declares.

    Raises:
        UsageError: there is none of that name, or workers declare it: it would be back in a moment.

    """

    def steps() -> Steps[None]:
        if not (yield Request("remove_schedule_if_orphan", {"name": name, "orphan_s": STALE_S}, is_there)):
            found: _Found = yield _find(name)
            raise UsageError(
                f"workers of {found.owner} declare the schedule {name!r}, or did within the last minute: take it out of"
                " the code, or pause it"
            )

    return Work(steps)


@dataclass(frozen=True, slots=True)
class _Found:
    spec: str
    paused: bool
    owner: str
    now: datetime


def _find(name: str) -> Request[_Found]:
    def read(rows: list[Row]) -> _Found:
        if not rows:
            raise UsageError(f"there is no schedule {name!r}; `fastq schedules list` shows all")
        return _Found(*rows[0])

    return Request("find_schedule", {"name": name}, read)
