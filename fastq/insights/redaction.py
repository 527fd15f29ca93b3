"""Arguments that nobody shall see: those that a task names in ``redact=``, and what whoever shows jobs adds to them."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from msgspec.structs import replace
from psycopg import Connection

from fastq.protocol.asking import carry_out_sync
from fastq.protocol.jobs import JobInfo
from fastq.protocol.tasks import redactions

HIDDEN = "•••"
NOBODY: frozenset[str] = frozenset()


def redacted(conn: Connection[Any], jobs: list[JobInfo], *, also: Collection[str] = ()) -> list[JobInfo]:
    """Return jobs whose arguments of these names, and of those that their tasks have named, are hidden."""
    of_task = carry_out_sync(conn, redactions()) if jobs else {}
    return [_without(job, of_task.get(job.task, NOBODY).union(also)) for job in jobs]


def _without(job: JobInfo, names: frozenset[str]) -> JobInfo:
    if not isinstance(job.args, Mapping) or names.isdisjoint(job.args):
        return job
    return replace(job, args={name: HIDDEN if name in names else value for name, value in job.args.items()})


def hides(job: JobInfo) -> bool:
    """Tell whether an argument of a job is hidden: it can be neither edited nor copied then."""
    return isinstance(job.args, Mapping) and HIDDEN in job.args.values()
