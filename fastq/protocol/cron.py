"""Schedules in the database: workers register them, the leader enqueues their occurrences."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson
from psycopg import AsyncConnection

from fastq.config import PAYLOAD_LIMIT_BYTES
from fastq.cron import Plan, Schedule
from fastq.errors import UsageError
from fastq.job import JobSpec, Options
from fastq.protocol.asking import carry_out
from fastq.protocol.enqueue import Line, insert_lines
from fastq.sql import on_cluster, statement

STALE_S = 60.0
"""A schedule is deleted when workers of its app are there and none of them has named it for so long."""


@dataclass(frozen=True, slots=True)
class Changed:
    """What a registration did to one schedule: added, changed or removed."""

    name: str
    what: str


@dataclass(frozen=True, slots=True)
class DueSchedule:
    """A schedule whose time has come; `spec` is its JSON as it was read, `now` the database's time."""

    name: str
    due_at: datetime
    spec: str
    now: datetime

    @property
    def schedule(self) -> Schedule:
        """The schedule itself.

        Raises:
            UsageError: it cannot be read here.

        """
        return schedule_of(self.name, self.spec)


@dataclass(frozen=True, slots=True)
class Due:
    """The schedules that are due, and in how many seconds the next one is (None: there is none)."""

    schedules: tuple[DueSchedule, ...]
    next_due_s: float | None


def schedule_of(name: str, spec: str) -> Schedule:
    """Return the schedule that a row holds.

    Raises:
        UsageError: it cannot be read here.

    """
    try:
        return Schedule.of(name, orjson.loads(spec))
    except orjson.JSONDecodeError as exc:
        raise UsageError(f"the schedule {name!r} cannot be read: {exc}") from None


async def register(
    conn: AsyncConnection[Any], schedules: Collection[Schedule], *, owner: str, stale_s: float = STALE_S
) -> list[Changed]:
    """Make known what an app's code says; to be called again every `stale_s` / 2, or others may think it is gone.

    The next occurrence of a new schedule, or of one with a new expression or zone, counts from the database's time.
    """
    row = await (await conn.execute(statement("read_clock"))).fetchone()
    if row is None:
        raise AssertionError("read_clock always returns one row")
    params = {
        "owner": owner,
        "stale_s": stale_s,
        "names": [s.name for s in schedules],
        "first_at": [s.timing.next_after(row[0]) for s in schedules],
        "specs": [orjson.dumps(s.spec).decode() for s in schedules],
    }
    cur = await conn.execute(statement("register_schedules"), params)
    return [Changed(*found) for found in await cur.fetchall()]


async def due(conn: AsyncConnection[Any]) -> Due:
    """Return the schedules whose time has come."""
    rows = await (await conn.execute(statement("list_due_schedules"), prepare=True)).fetchall()
    return Due(tuple(DueSchedule(*row[:4]) for row in rows if row[0] is not None), rows[0][4])


async def enqueue(conn: AsyncConnection[Any], found: DueSchedule, plan: Plan, *, shard: int = 0) -> bool:
    """Enqueue what was planned and go on to the next occurrence; False when somebody else did, or changed the spec."""
    schedule = found.schedule
    if on_cluster():
        return await _enqueue_by_steps(conn, found, plan, shard)
    params = {
        "shard": shard,
        "name": found.name,
        "due_at": found.due_at,
        "spec": found.spec,
        "next_at": plan.next_at,
        "last_at": max(plan.occurrences, default=None),
        "occurrences": [schedule.timing.local(at).isoformat() for at in plan.occurrences],
        "queue": schedule.queue,
        "priority": schedule.priority,
        "task": schedule.task,
        "arguments": orjson.dumps(schedule.args).decode(),
    }
    return await (await conn.execute(statement("enqueue_occurrences_if_due"), params)).fetchone() is not None


async def _enqueue_by_steps(conn: AsyncConnection[Any], found: DueSchedule, plan: Plan, shard: int) -> bool:
    """As `enqueue`, where the schedule and the jobs are on different servers: by two statements of one transaction."""
    schedule = found.schedule
    due = {
        "name": found.name,
        "due_at": found.due_at,
        "spec": found.spec,
        "next_at": plan.next_at,
        "last_at": max(plan.occurrences, default=None),
    }
    times = [schedule.timing.local(at).isoformat() for at in plan.occurrences]
    options = [Options(queue=schedule.queue, priority=schedule.priority, headers={"scheduled_for": at}) for at in times]
    lines = [Line(JobSpec(schedule.task, dict(schedule.args), each), PAYLOAD_LIMIT_BYTES) for each in options]
    async with conn.transaction():
        if await (await conn.execute(statement("advance_schedule_if_due"), due)).fetchone() is None:
            return False
        if lines:
            await carry_out(conn, insert_lines(lines, shard=shard))
    return True
