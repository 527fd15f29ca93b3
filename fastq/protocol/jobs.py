"""Finding, listing and steering jobs: one request each, carried out on any connection.

And the marks of running jobs that somebody wants to end, as the steward needs them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Literal, NamedTuple, cast

import orjson
from psycopg import AsyncConnection

from fastq import codec
from fastq.config import DEFAULT_PRIORITY, DEFAULT_QUEUE
from fastq.errors import FastqError, UsageError
from fastq.job import Job, Options
from fastq.protocol.asking import Request, Row, only
from fastq.protocol.looks import look
from fastq.sql import statement
from fastq.states import JobState

MARKS_MOST = 1000
"""So many marks are read or swept at a time."""

Cancelling = Literal["cancelled", "cancelling"]
_LEVELS = 200
_SURROGATE = re.compile(r"\\u[dD][89a-fA-F]..")
_WAITING = (JobState.READY, JobState.SCHEDULED, JobState.RETRYING, JobState.RESERVED, JobState.WAITING)
_KEPT = (JobState.FAILED, JobState.DISCARDED, JobState.CANCELLED, JobState.EXPIRED)


class JobInfo(Job, frozen=True, kw_only=True):
    """A job with all that is known of it.

    Attributes:
        args: its arguments; empty when they cannot be read, or were not kept.
        started_at, duration_s: when the last run of one that is kept started, and how many seconds it took; None where
            it did not run, or its worker died with it.
        claimed_at: when the batch it runs in was claimed; it may still wait in its worker's memory.
        expires_at: until when it is kept; None is for ever.
        worker: the id of the worker that has claimed it.
        result: what it returned, where that is kept.
        crashes: how many workers died while they ran it, since it last ended by itself.
        cancelling: whether it runs and somebody has cancelled it.
        progress, note: how far a running one says that it has come, from 0 to 1, and a few words.
        checkpoint: what its handler has saved by `ctx.checkpoint`; None where nothing.
        unique_key: the unique key that it was enqueued with, or None.
        unique_until: until when it holds the key: "finished", "started", or a time.

    """

    group_key: str = ""
    started_at: datetime | None = None
    duration_s: float | None = None
    claimed_at: datetime | None = None
    expires_at: datetime | None = None
    worker: int | None = None
    result: Any = None
    crashes: int = 0
    cancelling: bool = False
    progress: float | None = None
    note: str | None = None
    checkpoint: Any = None
    unique_key: str | None = None
    unique_until: str | float | None = None


class Cancelled(NamedTuple):
    """How many jobs were cancelled at once, and how many run and will be ended by their workers."""

    cancelled: int
    cancelling: int


@dataclass(frozen=True, slots=True, kw_only=True)
class JobFilter:
    """Which jobs: those that fit everything given.

    Attributes:
        states: in one of these states; empty is any.
        queue, task: of this queue, of the task with this full name.
        error: this text occurs in the type, the message or the traceback of one of its errors.

    """

    states: tuple[JobState, ...] = ()
    queue: str | None = None
    task: str | None = None
    error: str | None = None

    def __bool__(self) -> bool:
        """Tell whether it leaves anything out."""
        return bool(self.states) or any(value is not None for value in (self.queue, self.task, self.error))

    def within(self, what: str, states: Sequence[JobState]) -> JobFilter:
        """Return the filter for what can only be done in some states.

        Raises:
            UsageError: another state was asked for.

        """
        if wrong := [state for state in self.states if state not in states]:
            raise UsageError(f"{_names(wrong)} jobs cannot be {what}; those that can are {_names(states)}")
        return JobFilter(states=self.states or tuple(states), queue=self.queue, task=self.task, error=self.error)

    def params(self, limit: int | None) -> dict[str, Any]:
        """Return the parameters of a statement."""
        states = [state.value for state in self.states or JobState]
        return {"states": states, "queue": self.queue, "task": self.task, "error": self.error, "limit": limit}


def _names(states: Iterable[JobState]) -> str:
    return ", ".join(state.value for state in states)


def states_of(given: str | Iterable[str] | None) -> tuple[JobState, ...]:
    """Return one state or several by their names.

    Raises:
        UsageError: there is no such state.

    """
    try:
        return tuple(JobState(name) for name in ([given] if isinstance(given, str) else given or ()))
    except (TypeError, ValueError) as exc:
        raise UsageError(f"{exc}; there are {_names(JobState)}") from None


def of(job: int) -> dict[str, Any]:
    """Return the parameters of a statement about one job.

    Raises:
        UsageError: that is no id.

    """
    if not isinstance(job, int) or not 0 < job < 2**63:
        raise UsageError(f"a job's id is a number greater than 0, not {job!r:.40}")
    return {"id": job}


# -- one job


def find(job: int) -> Request[JobInfo | None]:
    """Ask for a job by its id; None when it is gone."""
    return Request("find_job", of(job), lambda rows: _info(rows[0]) if rows else None)


def retry(job: int) -> Request[bool]:
    """Put a job that failed, expired, was discarded or cancelled back into line; False when it is not one."""
    return Request("retry_job", of(job), lambda rows: bool(only(rows)))


def cancel(job: int) -> Request[Cancelling | None]:
    """Cancel a job; None when it ended otherwise, or is gone."""
    return Request("cancel_job", of(job), lambda rows: cast("Cancelling | None", only(rows)))


def delete(job: int) -> Request[bool]:
    """Delete a job; False when it is gone.

    Raises:
        FastqError: it runs.

    """

    def read(rows: list[Row]) -> bool:
        if only(rows) == JobState.RUNNING:
            raise FastqError(f"job {job} is running and cannot be deleted: cancel it, or wait until it ends")
        return only(rows) is not None

    return Request("delete_job", of(job), read)


def edit(
    job: int,
    *,
    args: Mapping[str, Any] | None = None,
    queue: str | None = None,
    priority: int | None = None,
    run_at: datetime | None = None,
) -> Request[bool]:
    """Change a job that waits; False when it does not wait (any more).

    Raises:
        UsageError: a job cannot be like that, or nothing is to be changed.

    """
    if args is None and queue is None and priority is None and run_at is None:
        raise UsageError("give what is to be changed: args, queue, priority or run_at")
    Options(
        queue=DEFAULT_QUEUE if queue is None else queue,
        priority=DEFAULT_PRIORITY if priority is None else priority,
        run_at=run_at,
    )
    body = None if args is None else codec.encode(dict(args)).decode()
    return Request("edit_job", {**of(job), "args": body, "queue": queue, "priority": priority, "run_at": run_at}, only)


# -- many jobs


def survey(wanted: JobFilter, limit: int, *, scan: int | None = None) -> Request[list[JobInfo]]:
    """Ask for at most `limit` jobs: those that run, are ready, wait, and are kept, in this order.

    `scan`: look for a queue, a task or an error among so many rows of each table at most.
    """
    if isinstance(limit, bool) or not isinstance(limit, int) or not 0 <= limit < 2**31:
        raise UsageError(f"limit must be a number of jobs and not negative, not {limit!r:.80}")
    return Request("survey_jobs", {**wanted.params(limit), "scan": scan}, lambda rows: [_info(row) for row in rows])


def retry_many(wanted: JobFilter, limit: int | None = None) -> Request[int]:
    """Put all kept jobs that fit back into line, at most `limit`."""
    return Request("retry_jobs", wanted.within("retried", _KEPT).params(limit), only)


def cancel_many(wanted: JobFilter, limit: int | None = None) -> Request[Cancelled]:
    """Cancel all jobs that fit, at most `limit`."""
    wanted = wanted.within("cancelled", (*_WAITING, JobState.RUNNING))
    return Request("cancel_jobs", wanted.params(limit), lambda rows: Cancelled(*rows[0]))


def delete_many(wanted: JobFilter, limit: int | None = None) -> Request[int]:
    """Delete all jobs that fit and do not run, at most `limit`."""
    wanted = wanted.within("deleted", [state for state in JobState if state is not JobState.RUNNING])
    return Request("delete_jobs", wanted.params(limit), only)


def edit_many(
    wanted: JobFilter,
    limit: int | None = None,
    *,
    to_queue: str | None = None,
    to_priority: int | None = None,
    now: bool = False,
) -> Request[int]:
    """Change all jobs that fit and wait, about `limit`; returns how many, 0 when all are as they shall be.

    Raises:
        UsageError: a job cannot be like that, or nothing is to be changed.

    """
    if to_queue is None and to_priority is None and not now:
        raise UsageError("give what is to be changed: to_queue, to_priority or now")
    Options(
        queue=DEFAULT_QUEUE if to_queue is None else to_queue,
        priority=DEFAULT_PRIORITY if to_priority is None else to_priority,
    )
    wanted = wanted.within("changed", (JobState.READY, JobState.SCHEDULED, JobState.RETRYING))
    changes = {"to_queue": to_queue, "to_priority": to_priority, "now": now}
    return Request("edit_jobs", {**wanted.params(limit), **changes}, only)


class Counted(NamedTuple):
    """How many jobs fit; `more`: at least so many."""

    jobs: int
    more: bool


def count(wanted: JobFilter, cap: int = 20_000) -> Request[Counted]:
    """Ask how many jobs fit that do not run, looking at no more than `cap` rows of a table; of errors at fewer."""
    cap = cap if wanted.error is None else min(cap, 1000)
    return Request("survey_count", {**wanted.params(None), "cap": cap}, lambda rows: Counted(*rows[0]))


# -- running jobs that somebody wants to end


class Mark(NamedTuple):
    """A running job that somebody has cancelled."""

    worker: int
    lease: int
    ord: int
    job: int


async def cancellations(conn: AsyncConnection[Any], *, shards: Iterable[int], workers: list[int]) -> list[Mark]:
    """Return the marked jobs that some workers hold."""
    params = {"workers": workers, "limit": MARKS_MOST}
    return [Mark(*row[1:]) for row in await look(conn, "list_cancellations", params, shards)]


async def sweep_cancellations(conn: AsyncConnection[Any], *, limit: int = MARKS_MOST) -> int:
    """Deal with the marks of jobs that left their lease, at most `limit`; returns how many there were."""
    cur = await conn.execute(statement("sweep_cancellations"), {"limit": limit})
    return int(((await cur.fetchone()) or (0,))[0])


# -- rows


def _info(row: Row) -> JobInfo:
    job, state, queue, priority, group_key, task, attempt, enqueued_at, run_at, *rest = row
    claimed_at, finished_at, expires_at, worker, payload, result, meta, cancelling, ran_ms, progress, note, saved = rest
    args, rarer = _decoded(payload), _Rarer(_decoded(meta))
    return JobInfo(
        id=job,
        task=task,
        queue=queue,
        state=state,
        attempt=attempt,
        args=args if isinstance(args, dict) else {},
        priority=priority,
        enqueued_at=enqueued_at,
        run_at=run_at,
        finished_at=finished_at,
        started_at=None if None in (finished_at, ran_ms) else finished_at - timedelta(milliseconds=ran_ms),
        duration_s=None if ran_ms is None else ran_ms / 1000,
        errors=rarer.errors,
        headers=rarer.headers,
        group_key=group_key,
        claimed_at=claimed_at,
        expires_at=expires_at,
        worker=worker,
        result=_decoded(result),
        crashes=rarer.crashes,
        cancelling=cancelling,
        progress=progress,
        note=note,
        checkpoint=_decoded(saved) if saved is not None else rarer.checkpoint,
        unique_key=rarer.unique[0],
        unique_until=rarer.unique[1],
    )


class _Rarer:
    """What stands in a job's meta, as far as it is what it should be: the column takes any JSON."""

    def __init__(self, meta: Any) -> None:
        known = meta if isinstance(meta, dict) else {}
        errors, headers, crashes = known.get("errors"), known.get("headers"), known.get("crashes")
        unique = known.get("unique")
        self.errors = tuple(e for e in errors if isinstance(e, dict)) if isinstance(errors, list) else ()
        self.headers = headers if isinstance(headers, dict) else None
        self.checkpoint = known.get("checkpoint")
        self.crashes = crashes if isinstance(crashes, int) else 0
        self.unique = unique if isinstance(unique, list) and len(unique) == 2 else (None, None)


def _decoded(text: str | None) -> Any:
    """Return what a JSON text says: with ? for lone surrogates, which PostgreSQL takes.

    None if nobody can read it, or it nests so deeply that nobody could write it again.
    """
    if text is None:
        return None
    for attempt in (text, _SURROGATE.sub("?", text)):
        try:
            return orjson.loads(attempt) if codec.nests_at_most(_LEVELS, attempt.encode()) else None
        except ValueError:
            continue
    return None
