"""`fastq status`: how many jobs stand where, and who works on them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import click

from fastq.cli.options import dsn_option, json_option
from fastq.terminal.safe import safe_line
from fastq.terminal.speech import answer, say

if TYPE_CHECKING:
    from fastq.protocol.survey import Count, Fleet, QueueSurvey, Survey, WorkerSurvey

_DURATIONS = ((1, 0.001, "{:.0f} ms"), (120, 1, "{:.0f} s"), (7200, 60, "{:.0f} min"), (172800, 3600, "{:.1f} h"))
_COUNTERS = ("claimed", "succeeded", "failed", "retried", "returned", "lost")


@click.command()
@dsn_option
@json_option
def status(dsn: str | None, json: bool) -> None:
    """Show how many jobs stand where, and who works on them. Fast at any backlog: ~ marks an estimate.

    \b
    exit: 0, 3 database unreachable, 4 schema missing or wrong
    """
    import psycopg

    from fastq import codec, database
    from fastq.config import find_dsn
    from fastq.errors import FastqError
    from fastq.protocol.survey import survey
    from fastq.schema import migrator

    with database.connect(database.reachable(find_dsn(dsn)), "fastq status") as conn:
        migrator.check(conn)
        try:
            with database.as_ours_sync(conn):
                seen = survey(conn)
        except psycopg.Error as exc:
            raise FastqError(f"PostgreSQL did not answer: {str(exc).strip()}") from None
    answer(codec.dumps(as_dict(seen))) if json else say(render(seen))


def as_dict(seen: Survey) -> dict[str, Any]:
    """Return a survey for machines. `exact` is false where a queue's numbers are estimates."""
    from dataclasses import asdict

    queues = [
        {
            "name": q.name,
            "paused": q.paused,
            **{state: count.jobs for state, count in _counts(q).items()},
            "oldest_s": q.oldest_s,
            "exact": all(count.exact for count in _counts(q).values()),
        }
        for q in seen.queues
    ]
    fleet = asdict(seen.fleet)
    sizes = {name: fleet.pop(f"{name}_bytes") for name in ("ready", "lease", "scheduled", "finished")}
    return {**fleet, "queues": queues, "workers": [asdict(worker) for worker in seen.workers], "bytes": sizes}


def render(seen: Survey) -> str:
    """Return a survey for people."""
    parts = []
    if seen.queues:
        parts.append(queue_table(seen.queues))
    if seen.workers:
        columns = ("HOST", "PID", "NAME", "SINCE", "LEASE LEFT", "RUNNING", *map(str.upper, _COUNTERS))
        parts.append(table(columns, [_worker_row(w) for w in seen.workers], left=(0, 2)))
    parts.append(_fleet_lines(seen.fleet))
    if hint := advice(seen):
        parts.append(hint)
    return "\n\n".join(parts)


def advice(seen: Survey) -> str:
    """Return what to type next where nothing goes on, or nothing can."""
    ready = any(q.ready.jobs for q in seen.queues)
    if not seen.queues and not seen.workers:
        return "No jobs, no workers. Enqueue one: `fastq enqueue MODULE:app TASK`; run it: `fastq worker MODULE:app`."
    if ready and not seen.workers:
        return "Jobs wait and no worker runs: start one with `fastq worker MODULE:app`."
    if not seen.queues:
        return "No jobs: the workers wait. Enqueue one with `fastq enqueue MODULE:app TASK`."
    return ""


def _counts(queue: QueueSurvey) -> dict[str, Count]:
    return {
        "ready": queue.ready,
        "running": queue.running,
        "scheduled": queue.scheduled,
        "retrying": queue.retrying,
        "waiting": queue.waiting,
        "failed": queue.failed,
        "kept": queue.kept,
    }


def queue_table(queues: Sequence[QueueSurvey]) -> str:
    """Return the queues for people; jobs of ordered groups, and kept ones, have their column where there are some."""
    some = {state for queue in queues for state, count in _counts(queue).items() if count.jobs}
    states = [state for state in _counts(queues[0]) if state in some or state not in ("waiting", "kept")]
    header = ("QUEUE", *map(str.upper, states), "OLDEST READY")
    return table(header, [_queue_row(queue, states) for queue in queues])


def _queue_row(queue: QueueSurvey, states: list[str]) -> list[str]:
    name = queue.name + (" (paused)" if queue.paused else "")
    counts = _counts(queue)
    return [name, *(_number(counts[state]) for state in states), duration(queue.oldest_s)]


def _number(count: Count) -> str:
    if not count.jobs:
        return "-"
    return f"{count.jobs:,}" if count.exact else f"~{float(f'{count.jobs:.2g}'):,.0f}"


def _worker_row(worker: WorkerSurvey) -> list[str]:
    told = worker.counters if isinstance(worker.counters, dict) else {}
    counts = (told.get(name) for name in ("running", *_COUNTERS))
    numbers = [f"{count:,}" if isinstance(count, int) else "?" for count in counts]
    left = "expired" if worker.left_s <= 0 else duration(worker.left_s)
    return [worker.host, str(worker.pid), worker.name or "-", duration(worker.age_s), left, *numbers]


def _fleet_lines(fleet: Fleet) -> str:
    sizes = {
        "ready": fleet.ready_bytes,
        "lease": fleet.lease_bytes,
        "scheduled": fleet.scheduled_bytes,
        "finished": fleet.finished_bytes,
    }
    return "\n".join(
        [
            f"leader  {safe_line(fleet.leader or 'none')}",
            f"schema  {fleet.schema}, {fleet.slots} slot{'s' * (fleet.slots != 1)}",
            "tables  " + ", ".join(f"{name} {size(value)}" for name, value in sizes.items()),
        ]
    )


def table(header: Sequence[str], rows: Sequence[Sequence[str]], *, left: Sequence[int] = (0,)) -> str:
    """Return aligned columns: texts (`left`) to the left, numbers to the right."""
    lines = []
    safe_rows = [header, *([safe_line(cell) for cell in row] for row in rows)]
    widths = [max(map(len, column)) for column in zip(*safe_rows, strict=True)]
    for row in safe_rows:
        padded = enumerate(zip(row, widths, strict=True))
        cells = [cell.ljust(width) if i in left else cell.rjust(width) for i, (cell, width) in padded]
        lines.append("  ".join(cells).rstrip())
    return "\n".join(lines)


def duration(seconds: float | None) -> str:
    """Return `850 ms`, `12 s`, `5 min`, `3.2 h`, `4.0 d`."""
    if seconds is None:
        return "-"
    for most, unit_s, form in _DURATIONS:
        if seconds < most:
            return form.format(max(0.0, seconds) / unit_s)
    return f"{seconds / 86400:.1f} d"


def size(count: float) -> str:
    """Return bytes as `8.0 kB`, `1.2 GB`."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1024:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} TB"
