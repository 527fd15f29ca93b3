"""What each page shows: a function of a connection and the query, giving what its template wants."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from psycopg import Connection

from fastq import codec
from fastq.dashboard.charts import Series, chart
from fastq.errors import FastqError, UsageError
from fastq.insights import doctor, facts, history, search
from fastq.insights.redaction import hides, redacted
from fastq.insights.survey import GLANCE, Survey, survey, workers
from fastq.insights.words import number
from fastq.protocol import audit, jobs
from fastq.protocol.asking import carry_out_sync
from fastq.protocol.jobs import JobInfo
from fastq.protocol.limits import list_settings
from fastq.protocol.schedules import list_schedules
from fastq.states import JobState

PER_PAGE = 50
SPANS = {"1h": 3600.0, "6h": 6 * 3600.0, "24h": 86_400.0, "7d": 7 * 86_400.0}

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


def overview(conn: Connection[Any], query: Query) -> dict[str, Any]:
    """Rates, depths, what is wrong."""
    span = query.get("span", "1h")
    seconds = SPANS.get(span, 3600.0)
    seen = facts.look(conn, count_most=GLANCE)
    counted = history.counts(conn, seconds=seconds)
    return {
        "fleet": _overview(seen.survey),
        "findings": [found for found in doctor.diagnose(seen) if found.level is not doctor.Level.NOTE],
        "span": span,
        "spans": list(SPANS),
        "rates": chart(
            "Jobs per second",
            [row.at for row in counted],
            [
                Series("succeeded", "good", [row.succeeded / row.span_s for row in counted]),
                Series("failed", "bad", [row.failed / row.span_s for row in counted]),
                Series("retried", "again", [row.retried / row.span_s for row in counted]),
            ],
            seconds=seconds,
        ),
        "depths": chart(
            "Jobs",
            [row.at for row in counted],
            [
                Series("ready", "wait", [row.ready for row in counted]),
                Series("running", "run", [row.running for row in counted]),
            ],
            seconds=seconds,
        ),
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


def job_list(conn: Connection[Any], query: Query) -> dict[str, Any]:
    """Jobs that fit what somebody typed."""
    text, state = query.get("q", ""), query.get("state", "")
    shown: dict[str, Any] = {"q": text, "state": state, "states": [each.value for each in JobState], "error": ""}
    try:
        found = search.run(conn, search.parse(text, states=state or None), limit=PER_PAGE, redact=_secret(query))
    except UsageError as exc:
        return {**shown, "error": str(exc), "rows": [], "cut": False, "scan": search.SCAN}
    return {**shown, "rows": found.jobs, "cut": found.cut, "scan": search.SCAN}


def job(conn: Connection[Any], query: Query) -> dict[str, Any]:
    """One job and all that is known of it."""
    wanted = number(query.get("id", ""))
    found = carry_out_sync(conn, jobs.find(wanted)) if wanted is not None and 0 < wanted < 2**63 else None
    if found is None:
        raise NotThere(f"job {query.get('id', '')} is gone: it succeeded, was deleted, or never was")
    (found,) = redacted(conn, [found], also=_secret(query))
    return {
        "job": found,
        "args": pretty(found.args),
        "hides": hides(found),
        "result": None if found.result is None else pretty(found.result),
        "call": call_of(found),
        "waits": found.state in ("ready", "scheduled", "retrying", "waiting"),
        "over": found.state in ("failed", "discarded", "cancelled", "expired"),
        "timeline": _timeline(found),
    }


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


def queue_list(conn: Connection[Any], query: Query) -> dict[str, Any]:  # noqa: ARG001 - as all pages
    """Queues with their numbers and limits."""
    limits = {each.name: each for each in list_settings(conn)}
    return {"queues": survey(conn, count_most=GLANCE).queues, "limits": limits}


def schedule_list(conn: Connection[Any], query: Query) -> dict[str, Any]:  # noqa: ARG001 - as all pages
    """Schedules, and when each comes next."""
    return {"schedules": carry_out_sync(conn, list_schedules())}


def worker_list(conn: Connection[Any], query: Query) -> dict[str, Any]:  # noqa: ARG001 - as all pages
    """Hosts and their workers."""
    found, fleet = workers(conn)
    hosts: dict[str, list[Any]] = {}
    for worker in found:
        hosts.setdefault(worker.host, []).append(worker)
    return {"hosts": hosts, "leader": fleet.leader}


def findings(conn: Connection[Any], query: Query) -> dict[str, Any]:  # noqa: ARG001 - as all pages
    """What is wrong, why, and what to type."""
    return {"findings": doctor.diagnose(facts.look(conn, count_most=GLANCE))}


def audit_list(conn: Connection[Any], query: Query) -> dict[str, Any]:  # noqa: ARG001 - as all pages
    """Who changed what."""
    return {"entries": audit.last(conn)}


PAGES = {
    "/": Page("overview.html", "Overview", overview, key="o"),
    "/jobs": Page("jobs.html", "Jobs", job_list, key="j"),
    "/queues": Page("queues.html", "Queues", queue_list, key="q"),
    "/schedules": Page("schedules.html", "Schedules", schedule_list, key="s"),
    "/workers": Page("workers.html", "Workers", worker_list, key="w"),
    "/doctor": Page("doctor.html", "Doctor", findings, key="d"),
    "/audit": Page("audit.html", "Changes", audit_list, key="a"),
    "/job": Page("job.html", "Job", job),
}
MENU = [path for path, page in PAGES.items() if page.key]
