"""What each page shows: a function of a connection and the query, giving what its template wants."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from psycopg import Connection

from fastq import codec
from fastq.dashboard import drawings
from fastq.errors import FastqError, UsageError
from fastq.insights import doctor, facts, history, search
from fastq.insights.neighbours import neighbours
from fastq.insights.redaction import hides, redacted
from fastq.insights.survey import GLANCE, QueueSurvey, Survey, held, survey, workers
from fastq.insights.words import number
from fastq.protocol import audit, jobs
from fastq.protocol.asking import carry_out_sync
from fastq.protocol.jobs import JobInfo
from fastq.protocol.limits import list_settings
from fastq.protocol.schedules import list_schedules
from fastq.states import JobState

PER_PAGE = 50
SPANS = {"15m": 900.0, "1h": 3600.0, "6h": 6 * 3600.0, "24h": 86_400.0, "7d": 7 * 86_400.0}
WAITING = (JobState.READY, JobState.SCHEDULED, JobState.RETRYING, JobState.WAITING)
OVER = (JobState.FAILED, JobState.DISCARDED, JobState.CANCELLED, JobState.EXPIRED)

Query = Mapping[str, str]
Show = Callable[[Connection[Any], Query], dict[str, Any]]


class NotThere(FastqError):
    """There is no such thing (any more)."""


@dataclass(frozen=True, slots=True)
class Page:
    """A page: the file of its template, its name in the menu, and what it shows."""

    template: str
    title: str
    show: Show
    live: bool = True
    key: str = ""
    """The second key of its shortcut, after g."""

    statements: int = 6
    """About so many it takes, with what a connection needs around them."""


@dataclass(frozen=True, slots=True)
class Overview:
    """The fleet in numbers."""

    ready: int
    running: int
    later: int
    failed: int
    exact: bool
    oldest_s: float | None
    workers: int
    late: int
    queues: list[Any] = field(default_factory=list)


def _span(query: Query) -> tuple[dict[str, Any], float]:
    """Return what the choice of a time span shows, and its seconds."""
    span = query.get("span", "1h")
    return {"span": span, "spans": list(SPANS)}, SPANS.get(span, SPANS["1h"])


# -- the whole


def overview(conn: Connection[Any], query: Query) -> dict[str, Any]:
    """Rates, depths, times, what is wrong."""
    shown, seconds = _span(query)
    seen = facts.look(conn, count_most=GLANCE)
    rows = history.whole(conn, seconds=seconds)
    return {
        **shown,
        "fleet": _overview(seen.survey),
        "findings": [found for found in doctor.diagnose(seen) if found.level is not doctor.Level.NOTE],
        "charts": [
            drawings.rates(rows, seconds),
            drawings.depths(rows, seconds),
            drawings.run_times(rows, seconds),
            drawings.waiting_times(rows, seconds),
        ],
    }


def _overview(seen: Survey) -> Overview:
    def total(*names: str) -> int:
        return sum(getattr(queue, name).jobs for queue in seen.queues for name in names)

    counts = [getattr(q, name) for q in seen.queues for name in ("ready", "scheduled", "retrying", "failed")]
    return Overview(
        ready=total("ready"),
        running=total("running"),
        later=total("scheduled", "retrying", "waiting"),
        failed=total("failed"),
        exact=all(count.exact for count in counts),
        oldest_s=max((q.oldest_s for q in seen.queues if q.oldest_s is not None), default=None),
        workers=sum(worker.left_s > 0 for worker in seen.workers),
        late=sum(worker.left_s <= 0 for worker in seen.workers),
        queues=sorted(seen.queues, key=lambda q: (-q.ready.jobs, q.name))[:10],
    )


def findings(conn: Connection[Any], query: Query) -> dict[str, Any]:  # noqa: ARG001 - as all pages
    """What is wrong, why, and what to type."""
    return {"findings": doctor.diagnose(facts.look(conn, count_most=GLANCE))}


def audit_list(conn: Connection[Any], query: Query) -> dict[str, Any]:  # noqa: ARG001 - as all pages
    """Who changed what."""
    return {"entries": audit.last(conn)}


# -- jobs


def job_list(conn: Connection[Any], query: Query) -> dict[str, Any]:
    """Jobs that fit what somebody typed."""
    text, state = query.get("q", ""), query.get("state", "")
    shown: dict[str, Any] = {"q": text, "state": state, "states": [each.value for each in JobState], "error": ""}
    try:
        wanted = search.parse(text, states=state or None)
        found = search.run(conn, wanted, limit=PER_PAGE, redact=_secret(query))
    except UsageError as exc:
        return {**shown, "error": str(exc), "rows": [], "cut": False, "scanned": False, "scan": search.SCAN}
    return {**shown, "rows": found.jobs, "cut": found.cut, "scanned": wanted.scans, "scan": search.SCAN}


def job(conn: Connection[Any], query: Query) -> dict[str, Any]:
    """One job and all that is known of it."""
    wanted = number(query.get("id", ""))
    found = carry_out_sync(conn, jobs.find(wanted)) if wanted is not None and 0 < wanted < 2**63 else None
    if found is None:
        raise NotThere(f"job {query.get('id', '')} is gone: it succeeded, was deleted, or never was")
    (found,) = redacted(conn, [found], also=_secret(query))
    return {
        "job": found,
        "host": None if found.worker is None else _worker(conn, found.worker),
        "line": neighbours(conn, found),
        "args": pretty(found.args),
        "hides": hides(found),
        "result": None if found.result is None else pretty(found.result),
        "checkpoint": None if found.checkpoint is None else pretty(found.checkpoint),
        "headers": None if not found.headers else pretty(found.headers),
        "call": call_of(found),
        "waits": found.state in WAITING,
        "over": found.state in OVER,
        "timeline": _timeline(found),
    }


def _worker(conn: Connection[Any], worker: int) -> Any:
    return next((each for each in workers(conn)[0] if each.id == worker), None)


def _timeline(found: JobInfo) -> list[tuple[str, Any]]:
    moments = [
        ("enqueued", found.enqueued_at),
        ("runs at", found.run_at),
        ("claimed", found.claimed_at),
        ("started", found.started_at),
        ("ended", found.finished_at),
        ("kept until", found.expires_at),
    ]
    return [(name, at) for name, at in moments if at is not None]


def pretty(value: Any) -> str:
    """Return a value as JSON that can be read."""
    import json

    return json.dumps(codec.loads(codec.dumps(value)), indent=2, ensure_ascii=False)


def _secret(query: Query) -> list[str]:
    """Return the names of arguments that this site does not show."""
    return [*filter(None, query.get("redact", "").split(","))]


def call_of(found: JobInfo) -> str:
    """Return what a programmer would type to enqueue the same."""
    name = found.task.rpartition(".")[2]
    args = ", ".join(f"{key}={value!r}" for key, value in found.args.items())
    options = f".options(queue={found.queue!r})" if found.queue != "default" else ""
    return f"await {name}{options}.enqueue({args})"


# -- tasks and queues


def task_list(conn: Connection[Any], query: Query) -> dict[str, Any]:
    """What was counted of each queue and task."""
    shown, seconds = _span(query)
    rows = sorted(history.by_task(conn, seconds=seconds), key=lambda row: (-row.ended, row.task or ""))
    return {**shown, "rows": rows, "seconds": seconds}


def task(conn: Connection[Any], query: Query) -> dict[str, Any]:
    """One task, of one queue or of all, over time."""
    shown, seconds = _span(query)
    name, queue = query.get("task", ""), query.get("queue") or None
    rows = history.of_task(conn, name, seconds=seconds, queue=queue)
    charts = [draw(rows, seconds) for draw in (drawings.rates, drawings.run_times, drawings.waiting_times)]
    total = history.by_task(conn, seconds=seconds, queue=queue, task=name)
    return {**shown, "task": name, "queue": queue, "rows": total, "seconds": seconds, "charts": charts}


def queue_list(conn: Connection[Any], query: Query) -> dict[str, Any]:  # noqa: ARG001 - as all pages
    """Queues with their numbers and limits."""
    limits = {each.name: each for each in list_settings(conn)}
    return {"queues": survey(conn, count_most=GLANCE).queues, "limits": limits}


def queue(conn: Connection[Any], query: Query) -> dict[str, Any]:
    """One queue over time, and its limits."""
    shown, seconds = _span(query)
    name = query.get("name", "")
    rows = history.whole(conn, seconds=seconds, queue=name)
    seen = {each.name: each for each in survey(conn, count_most=GLANCE).queues}
    return {
        **shown,
        "queue": seen.get(name) or QueueSurvey.empty(name),
        "limit": next((each for each in list_settings(conn) if each.name == name), None),
        "rows": history.by_task(conn, seconds=seconds, queue=name),
        "seconds": seconds,
        "charts": [
            drawings.arrivals(rows, seconds),
            drawings.depths(rows, seconds),
            drawings.run_times(rows, seconds),
            drawings.waiting_times(rows, seconds),
        ],
    }


# -- schedules and workers


def schedule_list(conn: Connection[Any], query: Query) -> dict[str, Any]:  # noqa: ARG001 - as all pages
    """Schedules, and when each comes next."""
    return {"schedules": carry_out_sync(conn, list_schedules())}


def worker_list(conn: Connection[Any], query: Query) -> dict[str, Any]:  # noqa: ARG001 - as all pages
    """Hosts and their workers."""
    found, fleet = workers(conn)
    hosts: dict[str, list[Any]] = {}
    for worker in found:
        hosts.setdefault(worker.host, []).append(worker)
    return {"hosts": hosts, "leader": fleet.leader, "held": held(conn)}


PAGES = {
    "/": Page("overview.html", "Overview", overview, key="o", statements=26),
    "/jobs": Page("jobs.html", "Jobs", job_list, key="j"),
    "/queues": Page("queues.html", "Queues", queue_list, key="q", statements=14),
    "/tasks": Page("tasks.html", "Tasks", task_list, key="t"),
    "/schedules": Page("schedules.html", "Schedules", schedule_list, key="s"),
    "/workers": Page("workers.html", "Workers", worker_list, key="w"),
    "/doctor": Page("doctor.html", "Doctor", findings, key="d", statements=25),
    "/audit": Page("audit.html", "Changes", audit_list, key="a"),
    "/job": Page("job.html", "Job", job),
    "/queue": Page("queue.html", "Queue", queue, statements=16),
    "/task": Page("task.html", "Task", task),
}
MENU = [path for path, page in PAGES.items() if page.key]
