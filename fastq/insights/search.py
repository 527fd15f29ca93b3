"""Searching for jobs by what a person types: words with a name are conditions, any other is looked for in the errors.

    state:failed queue:mail task:app.send group:acme key:welcome-7 error:timeout args.user_id:7 since:2h worker:3 12345

The states, queue, task and error go to the database, which looks at no more than ROWS rows of a table; the rest is
looked at in the newest SCAN jobs of what fits those.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

from psycopg import Connection

from fastq.errors import UsageError
from fastq.insights.redaction import redacted
from fastq.insights.words import number
from fastq.protocol import jobs
from fastq.protocol.asking import carry_out_sync
from fastq.protocol.jobs import JobFilter, JobInfo, states_of
from fastq.states import JobState

SCAN = 2000
"""So many jobs are looked at where a condition is none of the database's; and so many for their errors."""

ROWS = 20_000

_WORD = re.compile(r'(?:([\w.]+):)?(?:"([^"]*)"|(\S+))')
_SPAN = re.compile(r"(\d+)([smhd])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Search:
    """What to look for; everything given has to fit."""

    wanted: JobFilter = field(default_factory=JobFilter)
    id: int | None = None
    group: str | None = None
    key: str | None = None
    worker: int | None = None
    since: datetime | None = None
    args: tuple[tuple[str, str], ...] = ()

    @property
    def scans(self) -> bool:
        """Whether a condition is none of the database's."""
        others = (self.group, self.key, self.worker, self.since)
        return any(value is not None for value in others) or bool(self.args)

    def fits(self, job: JobInfo) -> bool:
        """Tell whether a job is one that the database's conditions let through wrongly."""
        if self.group is not None and job.group_key != self.group:
            return False
        if self.key is not None and job.unique_key != self.key:
            return False
        if self.worker is not None and job.worker != self.worker:
            return False
        if self.since is not None and (job.enqueued_at is None or job.enqueued_at < self.since):
            return False
        return all(_text(_at(job.args, path)) == value for path, value in self.args)


@dataclass(frozen=True, slots=True)
class Found:
    """Jobs, and whether there may be more that were not looked at."""

    jobs: list[JobInfo]
    cut: bool


def parse(text: str, *, states: str | None = None, now: datetime | None = None) -> Search:
    """Return what somebody typed.

    Raises:
        UsageError: it cannot be read; the message says which word.

    """
    found = Search(wanted=JobFilter(states=states_of(states.split(",") if states else None)))
    for name, value in _words(text):
        found = _with(found, name, value, now or datetime.now(UTC))
    return found


def _words(text: str) -> Iterator[tuple[str, str]]:
    for name, quoted, plain in _WORD.findall(text):
        yield name, quoted or plain


def _with(found: Search, name: str, value: str, now: datetime) -> Search:
    """Add one condition."""
    if name in ("", "id") and (job := number(value)) is not None:
        return replace(found, id=job)
    if name in ("", "state", "queue", "task", "error"):
        return replace(found, wanted=_narrower(found.wanted, name, value))
    if name == "group":
        return replace(found, group=value)
    if name == "key":
        return replace(found, key=value)
    if name == "worker" and (worker := number(value)) is not None:
        return replace(found, worker=worker, wanted=replace(found.wanted, states=(JobState.RUNNING,)))
    if name.startswith("args.") and len(name) > len("args."):
        return replace(found, args=(*found.args, (name.removeprefix("args."), value)))
    if name == "since" and (span := _SPAN.fullmatch(value)):
        return replace(found, since=now - timedelta(**{_UNITS[span[2]]: min(int(span[1]), 10**6)}))
    raise UsageError(
        f"{name}:{value} is no condition: there are id, state, queue, task, error, group, key, worker, since (2h)"
        " and args.NAME"
    )


def _narrower(wanted: JobFilter, name: str, value: str) -> JobFilter:
    """Add a condition that the database looks for."""
    if name == "state":
        return replace(wanted, states=states_of(value.split(",")))
    if name == "queue":
        return replace(wanted, queue=value)
    if name == "task":
        return replace(wanted, task=value)
    return replace(wanted, error=value)


def run(conn: Connection[Any], search: Search, *, limit: int = 100, redact: Collection[str] = ()) -> Found:
    """Return at most `limit` jobs that fit; arguments with these names are hidden, and never found."""
    if search.id is not None:
        job = carry_out_sync(conn, jobs.find(search.id)) if 0 < search.id < 2**63 else None
        return Found(redacted(conn, [job] if job is not None else [], also=redact), cut=False)
    most, rows = SCAN if search.scans else limit + 1, ROWS if search.wanted.error is None else SCAN
    looked_at = carry_out_sync(conn, jobs.survey(search.wanted, most, scan=rows))
    seen = redacted(conn, looked_at, also=redact)
    fit = [job for job in seen if search.fits(job)]
    cut = len(fit) > limit or len(seen) == most or _more(conn, search.wanted, rows)
    return Found(fit[:limit], cut)


def _more(conn: Connection[Any], wanted: JobFilter, rows: int) -> bool:
    """Tell whether there are rows that were not looked at."""
    if wanted.queue is None and wanted.task is None and wanted.error is None:
        return False
    return carry_out_sync(conn, jobs.count(JobFilter(states=wanted.states), cap=rows)).more


def _at(value: Any, path: str) -> Any:
    """Return what stands at a dotted path of some arguments; None where there is nothing."""
    for name in path.split("."):
        if isinstance(value, dict):
            value = value.get(name)
        elif isinstance(value, list) and name.isdigit() and int(name) < len(value):
            value = value[int(name)]
        else:
            return None
    return value


def _text(value: Any) -> str:
    """Return a value as people type it."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    return str(value)
