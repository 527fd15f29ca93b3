"""What the forms of the pages do: a function of a connection and the form, giving what was done, for the audit."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from math import inf
from typing import Any

import orjson
from psycopg import Connection

from fastq.errors import FastqError, UsageError
from fastq.insights import search
from fastq.insights.words import number
from fastq.protocol import jobs, queues, schedules, worker
from fastq.protocol.asking import Request, carry_out_sync
from fastq.protocol.jobs import JobFilter
from fastq.protocol.limits import set_queue

AT_ONCE = 5000
"""So many jobs are changed by one statement of a mass action."""


@dataclass(frozen=True, slots=True)
class Form:
    """The fields of a form; `ids` are the jobs that were chosen."""

    fields: Mapping[str, str]
    ids: Sequence[int] = ()

    def text(self, name: str) -> str:
        """Return a field that must be there.

        Raises:
            UsageError: it is empty.

        """
        if not (value := self.fields.get(name, "").strip()):
            raise UsageError(f"{name} is missing")
        return value


@dataclass(frozen=True, slots=True)
class Done:
    """What was done to what, and how many jobs that were."""

    action: str
    target: str
    jobs: int | None = None


Act = Callable[[Connection[Any], Form], Done]


# -- chosen jobs


def _each(conn: Connection[Any], form: Form, request: Callable[[int], Request[Any]]) -> int:
    """Do something to each of the chosen jobs; returns to how many it was done. What one refuses is that one's."""
    done = 0
    refused: FastqError | None = None
    for job in form.ids:
        try:
            done += bool(carry_out_sync(conn, request(job)))
        except FastqError as exc:
            refused = exc
    if refused is not None and not done:
        raise refused
    return done


def _chosen(form: Form) -> str:
    return ", ".join(map(str, form.ids[:5])) + ", …" * (len(form.ids) > 5)


def change_jobs(conn: Connection[Any], form: Form) -> Done:
    """Retry, cancel, delete, move or hasten the chosen jobs."""
    if not form.ids:
        raise UsageError("no job is chosen")
    match form.text("action"):
        case "retry":
            done = _each(conn, form, jobs.retry)
        case "cancel":
            done = _each(conn, form, jobs.cancel)
        case "delete":
            done = _each(conn, form, jobs.delete)
        case "now":
            now = datetime.now(UTC)
            done = _each(conn, form, lambda job: jobs.edit(job, run_at=now))
        case "move":
            queue = form.text("queue")
            done = _each(conn, form, lambda job: jobs.edit(job, queue=queue))
        case "priority":
            priority = _whole(form, "priority")
            done = _each(conn, form, lambda job: jobs.edit(job, priority=priority))
        case other:
            raise UsageError(f"there is no action {other!r}")
    return Done(f"jobs: {form.fields['action']}", _chosen(form), done)


def edit_job(conn: Connection[Any], form: Form) -> Done:
    """Give a job that waits other arguments."""
    try:
        args = orjson.loads(form.text("args"))
    except orjson.JSONDecodeError as exc:
        raise UsageError(f"the arguments are no JSON: {exc}") from None
    if not isinstance(args, dict):
        raise UsageError("the arguments must be a JSON object: names and values")
    (job,) = form.ids
    if not carry_out_sync(conn, jobs.edit(job, args=args)):
        raise UsageError(f"job {job} does not wait any more, and was not changed")
    return Done("job: edit", str(job), 1)


# -- all jobs that fit


def wanted(fields: Mapping[str, str]) -> JobFilter:
    """Return the filter of a mass action: what the database itself can look for.

    Raises:
        UsageError: the search has a condition that it cannot, or is for everything.

    """
    found = search.parse(fields.get("q", ""), states=fields.get("state") or None)
    if found.scans or found.id is not None:
        raise UsageError("for all that fit, search by state, queue, task and error; choose single jobs otherwise")
    if not found.wanted:
        raise UsageError("this would be for all jobs there are: search for something first")
    return found.wanted


def some_of(conn: Connection[Any], action: str, fit: JobFilter) -> int:
    """Do something to at most AT_ONCE jobs that fit; returns to how many, 0 when there are no more."""
    match action:
        case "retry":
            return carry_out_sync(conn, jobs.retry_many(fit, AT_ONCE))
        case "cancel":
            return carry_out_sync(conn, jobs.cancel_many(fit, AT_ONCE)).cancelled
        case "delete":
            return carry_out_sync(conn, jobs.delete_many(fit, AT_ONCE))
    raise UsageError(f"{action!r} cannot be done to all that fit")


# -- the rest


def _whole(form: Form, name: str) -> int:
    found = number(value := form.text(name))
    if found is None:
        raise UsageError(f"{name} must be a number, not {value!r:.20}")
    return found


def change_queue(conn: Connection[Any], form: Form) -> Done:
    """Pause, resume or purge a queue, or set its limits; an empty field takes a limit away."""
    queue, action = form.text("queue"), form.text("action")
    match action:
        case "pause":
            queues.pause(conn, queue)
        case "resume":
            queues.resume(conn, queue)
        case "purge":
            return Done("queue: purge", queue, queues.purge(conn, queue))
        case "limits":
            set_queue(conn, queue, **_limits(form))
        case other:
            raise UsageError(f"there is no action {other!r}")
    return Done(f"queue: {action}", queue)


def _limits(form: Form) -> dict[str, float | None]:
    given: dict[str, float | None] = {}
    for name in ("max_running", "max_running_per_group", "weight"):
        given[name] = _whole(form, name) if form.fields.get(name, "").strip() else None
    rate = form.fields.get("rate", "").strip()
    try:
        given["rate"] = float(rate) if rate else None
    except ValueError:
        raise UsageError(f"rate must be a number of jobs per second, not {rate!r:.20}") from None
    if not 0 <= (given["rate"] or 0.0) < inf:
        raise UsageError(f"rate must be 0 or more, not {rate}")
    return given


def change_schedule(conn: Connection[Any], form: Form) -> Done:
    """Pause, resume or remove a schedule."""
    name, action = form.text("schedule"), form.text("action")
    match action:
        case "pause":
            carry_out_sync(conn, schedules.pause(name))
        case "resume":
            carry_out_sync(conn, schedules.resume(name))
        case "run":
            carry_out_sync(conn, schedules.run(name))
        case "remove":
            carry_out_sync(conn, schedules.remove(name))
        case other:
            raise UsageError(f"there is no action {other!r}")
    return Done(f"schedule: {action}", name)


def drain_host(conn: Connection[Any], form: Form) -> Done:
    """Ask the supervisors of a host to drain."""
    host = form.text("host")
    worker.drain(conn, host)
    return Done("host: drain", host)


ACTIONS: dict[str, Act] = {
    "/jobs": change_jobs,
    "/job": edit_job,
    "/queues": change_queue,
    "/schedules": change_schedule,
    "/workers": drain_host,
}
