"""When a schedule is due: cron expressions in a time zone, and what becomes of missed occurrences. No I/O.

An expression whose hour field names hours is read off the wall clock: a local time that a zone skips is due at the next
instant that exists, and one that it repeats is due the first time only. With every hour in the field, as in
``*/5 * * * *``, elapsed time counts: a change of the clocks makes neither a gap nor a second run.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, tzinfo
from enum import StrEnum
from functools import lru_cache
from itertools import islice, takewhile
from typing import Any, Self
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError

from fastq.errors import UsageError

CATCH_UP_MOST = 1000
"""Missed occurrences that are enqueued in one pass; the next pass goes on from there."""

LATE_S = 60.0
"""An occurrence that is found due so many seconds later was not missed: a host died, another one took over."""

UNKNOWN = datetime(1970, 1, 1, tzinfo=UTC)
"""What stands for the first occurrence of a schedule that was made in SQL, which cannot work it out."""

NEVER = datetime(9999, 12, 30, tzinfo=UTC)
"""What stands for the next occurrence of an expression that has none."""

_SOME_TIME = datetime(2000, 1, 1, tzinfo=UTC)
_WINDOWS_S = (60, 3600, 86400, 32 * 86400, 367 * 86400)
_NICKNAMES = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * 0",
    "@monthly": "0 0 1 * *",
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
}


class CatchUp(StrEnum):
    """What becomes of occurrences that nobody enqueued in time."""

    SKIP = "skip"
    ONE = "one"
    ALL = "all"


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """A cron expression of five fields, or six with seconds first, in a time zone.

    Raises:
        UsageError: the expression cannot be read or never comes true, or there is no such zone.

    """

    expression: str
    tz: str = "UTC"

    def __post_init__(self) -> None:
        """Refuse what cannot work, in one sentence."""
        zone = _zone(self.tz)
        try:
            CronSim(_fields(self.expression), _SOME_TIME)
        except (CronSimError, AttributeError, AssertionError, TypeError) as exc:
            raise UsageError(f"{self.expression!r} is no cron expression: {str(exc) or 'cannot be read'}") from None
        if next(_instants(self.expression, zone, _SOME_TIME), None) is None:
            raise UsageError(f"{self.expression!r} never comes true")

    def after(self, instant: datetime) -> Iterator[datetime]:
        """Yield the occurrences after an instant, in UTC; none for an expression that has no more."""
        return _instants(self.expression, _zone(self.tz), instant)

    def next_after(self, instant: datetime) -> datetime:
        """Return the first occurrence after an instant, in UTC; NEVER when there is none."""
        return next(self.after(instant), NEVER)

    def newest(self, since: datetime, now: datetime) -> datetime:
        """Return the last occurrence after `since` and not after `now`; `since` when there is none."""
        for window_s in _WINDOWS_S:
            start = max(since, now - timedelta(seconds=window_s))
            found = deque(takewhile(lambda at: at <= now, self.after(start)), maxlen=1)
            if found:
                return found[0]
            if start == since:
                break
        return since

    def local(self, instant: datetime) -> datetime:
        """Return an instant as the schedule's own zone writes it."""
        return instant.astimezone(_zone(self.tz))


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """A task that is enqueued with `args` at the times of `timing`. `name` is unique in the database."""

    name: str
    timing: Timing
    task: str
    queue: str
    priority: int
    catch_up: CatchUp = CatchUp.SKIP
    args: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def of(cls, name: str, spec: Mapping[str, Any]) -> Self:
        """Return what `spec` was made of.

        Raises:
            UsageError: it was written by a fastq that knows more than this one.

        """
        try:
            return cls(
                name=name,
                timing=Timing(expression=str(spec["expression"]), tz=str(spec["tz"])),
                task=str(spec["task"]),
                queue=str(spec["queue"]),
                priority=int(spec["priority"]),
                catch_up=CatchUp(str(spec["catch_up"])),
                args=dict(spec.get("args") or {}),
            )
        except (AttributeError, KeyError, TypeError, ValueError) as exc:
            raise UsageError(f"the schedule {name!r} cannot be read: {exc!r}") from None

    @property
    def spec(self) -> dict[str, Any]:
        """What the database keeps of it."""
        spec: dict[str, Any] = {
            "expression": self.timing.expression,
            "tz": self.timing.tz,
            "task": self.task,
            "queue": self.queue,
            "priority": self.priority,
            "catch_up": self.catch_up.value,
        }
        return {**spec, "args": dict(self.args)} if self.args else spec

    def plan(self, due_at: datetime, now: datetime) -> Plan:
        """Decide what to enqueue, given the occurrence that was due first and the database's time."""
        if due_at == UNKNOWN:
            return Plan(occurrences=(), next_at=self.timing.next_after(now))
        if self.catch_up is CatchUp.ALL:
            missed = takewhile(lambda at: at <= now, self.timing.after(due_at))
            occurrences = (due_at, *islice(missed, CATCH_UP_MOST - 1))
            return Plan(occurrences=occurrences, next_at=self.timing.next_after(occurrences[-1]))
        newest = self.timing.newest(due_at, now)
        wanted = self.catch_up is CatchUp.ONE or (now - newest).total_seconds() <= LATE_S
        return Plan(occurrences=(newest,) if wanted else (), next_at=self.timing.next_after(now))


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The occurrences to enqueue now, and the one to wait for."""

    occurrences: tuple[datetime, ...]
    next_at: datetime


def catch_up_of(value: str) -> CatchUp:
    """Return the policy of that name.

    Raises:
        UsageError: there is none.

    """
    try:
        return CatchUp(value)
    except ValueError:
        raise UsageError(f"catch_up must be 'skip', 'one' or 'all', not {value!r}") from None


@lru_cache(256)
def _zone(name: str) -> tzinfo:
    if name == "UTC":
        return UTC
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError, TypeError):
        raise UsageError(
            f"there is no time zone {name!r} on this host; names are as in 'Europe/Athens', and where the system has"
            " none of them, `pip install tzdata` brings them"
        ) from None


def _fields(expression: str) -> str:
    """Return an expression with all six fields; with six, cronsim adds no rule of its own about clock changes."""
    full = _NICKNAMES.get(expression.strip().lower(), expression)
    return f"0 {full}" if len(full.split()) == 5 else full


def _instants(expression: str, zone: tzinfo, after: datetime) -> Iterator[datetime]:
    """Yield the occurrences after an instant."""
    fields = _fields(expression)
    local = after.astimezone(zone)
    if CronSim(fields, _SOME_TIME).hours >= set(range(24)):
        yield from (at.astimezone(UTC) for at in CronSim(fields, local))
        return
    last = after
    for wall in CronSim(fields, local.replace(tzinfo=None)):
        at = _exists(wall, zone)
        if at > last:  # the same instant for all that one gap skips; an earlier one inside an hour that repeats
            yield at
            last = at


def _exists(wall: datetime, zone: tzinfo) -> datetime:
    """Return the first instant at which a zone's clocks show `wall`, or have jumped over it."""
    at = wall.replace(tzinfo=zone).astimezone(UTC)
    while at.astimezone(zone).replace(tzinfo=None) != wall:
        wall = wall.replace(second=0) + timedelta(minutes=1)
        at = wall.replace(tzinfo=zone).astimezone(UTC)
    return at
