"""What the forms of the pages do: a function of a connection and the form, giving what was done, for the audit."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from math import inf
from typing import Any

import orjson
from psycopg import Connection

from fastq.config import DEFAULT_PRIORITY, DEFAULT_QUEUE
from fastq.cron import Schedule, Timing
from fastq.errors import FastqError, UsageError
from fastq.insights import search
from fastq.insights.words import number
from fastq.job import check_name
from fastq.protocol import jobs, queues, schedules, worker
from fastq.protocol.asking import Request, carry_out_sync
from fastq.protocol.jobs import Cancelled, Counted, JobFilter, states_of
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
    """Give a job that waits other arguments; one that is over is retried with them."""
    args = _arguments(form)
    (job,) = form.ids
    again = form.fields.get("action") == "retry"
    with conn.transaction():
        if again and not carry_out_sync(conn, jobs.retry(job)):
            raise UsageError(f"job {job} is none that can be retried, and was not changed")
        if not carry_out_sync(conn, jobs.edit(job, args=args)):
            raise UsageError(f"job {job} does not wait any more, and was not changed")
    return Done("job: retry, edited" if again else "job: edit", str(job), 1)


def _arguments(form: Form) -> dict[str, Any]:
    try:
        args = orjson.loads(form.fields.get("args", "").strip() or "{}")
    except orjson.JSONDecodeError as exc:
        raise UsageError(f"the arguments are no JSON: {exc}") from None
    if not isinstance(args, dict):
        raise UsageError("the arguments must be a JSON object: names and values")
    return args


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


Some = Request[Any]
"""Does something to some thousands of jobs that fit; 0 when there are no more."""

ON_ALL = ("retry", "cancel", "delete", "now", "move", "priority")


def on_all(form: Form, fit: JobFilter) -> Some:
    """Return what a mass action asks for, again and again.

    Raises:
        UsageError: it cannot be done to all that fit, or something is missing.

    """
    match form.text("action"):
        case "retry":
            return jobs.retry_many(fit, AT_ONCE)
        case "cancel":
            return jobs.cancel_many(fit, AT_ONCE)
        case "delete":
            return jobs.delete_many(fit, AT_ONCE)
        case "now":
            return jobs.edit_many(fit, AT_ONCE, now=True)
        case "move":
            return jobs.edit_many(fit, AT_ONCE, to_queue=form.text("to_queue"))
        case "priority":
            return jobs.edit_many(fit, AT_ONCE, to_priority=_whole(form, "to_priority"))
        case other:
            raise UsageError(f"{other!r} cannot be done to all that fit; what can is {', '.join(ON_ALL)}")


def some_of(conn: Connection[Any], some: Some) -> int:
    """Do it once; returns to how many jobs."""
    done = carry_out_sync(conn, some)
    return done.cancelled if isinstance(done, Cancelled) else int(done)


def meant(conn: Connection[Any], some: Some, fit: JobFilter) -> Counted:
    """Return how many jobs that is about, as far as they can be counted in no time: those that fit, in its states."""
    states = states_of(some.params["states"])
    return carry_out_sync(conn, jobs.count(replace(fit, states=states)))


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
    """Set, pause, resume, run or remove a schedule."""
    name, action = form.text("schedule"), form.text("action")
    match action:
        case "set":
            carry_out_sync(conn, schedules.put(_schedule(form)))
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


def _schedule(form: Form) -> Schedule:
    return Schedule(
        name=check_name("a schedule's name", form.text("schedule")),
        timing=Timing(expression=form.text("expression"), tz=form.fields.get("tz", "").strip() or "UTC"),
        task=check_name("a task's name", form.text("task")),
        queue=check_name("a queue's name", form.fields.get("queue", "").strip() or DEFAULT_QUEUE),
        priority=_whole(form, "priority") if form.fields.get("priority", "").strip() else DEFAULT_PRIORITY,
        args=_arguments(form),
    )


def change_host(conn: Connection[Any], form: Form) -> Done:
    """Ask the supervisors of a host to drain, or for so many processes and jobs at once; an empty field: as it is."""
    host, action = form.text("host"), form.text("action")
    match action:
        case "drain":
            worker.drain(conn, host)
        case "resize":
            processes, concurrency = (
                _whole(form, name) if form.fields.get(name, "").strip() else None
                for name in ("processes", "concurrency")
            )
            worker.resize(conn, host, processes=processes, concurrency=concurrency)
        case other:
            raise UsageError(f"there is no action {other!r}")
    return Done(f"host: {action}", host)


ACTIONS: dict[str, Act] = {
    "/jobs": change_jobs,
    "/job": edit_job,
    "/queues": change_queue,
    "/queue": change_queue,
    "/schedules": change_schedule,
    "/workers": change_host,
}
