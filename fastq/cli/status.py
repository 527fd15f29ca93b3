"""`fastq status`: how many jobs are in which state, and the workers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from fastq.cli.options import dsn_option, json_option
from fastq.cli.tables import counts, queue_table, size, worker_table
from fastq.terminal.safe import safe_line
from fastq.terminal.speech import answer
from fastq.terminal.table import Table, display

if TYPE_CHECKING:
    from fastq.insights.survey import FleetSurvey, Survey


@click.command()
@dsn_option
@json_option
def status(dsn: str | None, json: bool) -> None:
    """Show how many jobs are in which state, and the workers. Fast at any backlog: ~ marks an estimate.

    \b
    exit: 0, 3 database unreachable, 4 schema missing or wrong
    """
    import psycopg

    from fastq import codec
    from fastq.config import find_dsn
    from fastq.errors import FastqError
    from fastq.insights.survey import survey
    from fastq.postgres import database
    from fastq.schema import migrator

    with database.connect(database.reachable(find_dsn(dsn)), "fastq status") as conn:
        migrator.check(conn)
        try:
            with database.as_ours_sync(conn):
                seen = survey(conn)
        except psycopg.Error as exc:
            raise FastqError(f"PostgreSQL did not answer: {str(exc).strip()}") from None
    answer(codec.dumps(as_dict(seen))) if json else display(*_parts(seen))


def as_dict(seen: Survey) -> dict[str, Any]:
    """Return a survey for machines. `exact` is false where a queue's numbers are estimates."""
    from dataclasses import asdict

    queues = [
        {
            "name": q.name,
            "paused": q.paused,
            **{state: count.jobs for state, count in counts(q).items()},
            "oldest_s": q.oldest_s,
            "exact": all(count.exact for count in counts(q).values()),
        }
        for q in seen.queues
    ]
    fleet = asdict(seen.fleet)
    sizes = {name: fleet.pop(f"{name}_bytes") for name in ("ready", "lease", "scheduled", "finished")}
    return {**fleet, "queues": queues, "workers": [asdict(worker) for worker in seen.workers], "bytes": sizes}


def _parts(seen: Survey) -> Iterator[str | Table]:
    if seen.queues:
        yield queue_table(seen.queues)
    if seen.workers:
        yield worker_table(seen.workers)
    yield _fleet_lines(seen.fleet)
    if hint := _advice(seen):
        yield hint


def _advice(seen: Survey) -> str:
    """Return what to type next where nothing goes on, or nothing can."""
    ready = any(q.ready.jobs for q in seen.queues)
    if not seen.queues and not seen.workers:
        return "No jobs, no workers. Enqueue one: `fastq enqueue MODULE:app TASK`; run it: `fastq worker MODULE:app`."
    if ready and not seen.workers:
        return "Jobs wait and no worker runs: start one with `fastq worker MODULE:app`."
    if not seen.queues:
        return "No jobs: the workers wait. Enqueue one with `fastq enqueue MODULE:app TASK`."
    return ""


def _away(fleet: FleetSurvey) -> Iterator[str]:
    """Say which shards are not in these numbers."""
    if fleet.away:
        yield f"away    shards {', '.join(map(str, fleet.away))}: their node does not answer, their jobs do not count"


def _fleet_lines(fleet: FleetSurvey) -> str:
    sizes = {
        "ready": fleet.ready_bytes,
        "lease": fleet.lease_bytes,
        "scheduled": fleet.scheduled_bytes,
        "finished": fleet.finished_bytes,
    }
    return "\n".join(
        [
            f"leader  {safe_line(fleet.leader or 'none')}",
            f"schema  {fleet.schema}, {fleet.shards} shard{'s' * (fleet.shards != 1)}",
            *_away(fleet),
            "tables  " + ", ".join(f"{name} {size(value)}" for name, value in sizes.items()),
        ]
    )
