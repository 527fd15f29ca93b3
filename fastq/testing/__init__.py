"""Testing an application's jobs: run them without a worker process, see what was enqueued, a database per test.

    drain            runs every ready job of the database, in this process
    run_job          runs one job, and returns what its handler returns or raises what it raises
    assert_enqueued  finds a job that was enqueued, also in a transaction that is not committed
    plugin           the fixtures that pytest finds by itself: `fastq_dsn` and what stands behind it

Nothing here is a fake: the database is a PostgreSQL, and claims, runs and acknowledgements are the worker's own code.
The names are loaded on first use, since pytest imports the plugin in every project that has fastq installed.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fastq.testing.databases import clear as clear
    from fastq.testing.databases import database as database
    from fastq.testing.databases import migrate as migrate
    from fastq.testing.databases import server as server
    from fastq.testing.databases import template as template
    from fastq.testing.draining import drain as drain
    from fastq.testing.draining import drain_sync as drain_sync
    from fastq.testing.jobs import assert_enqueued as assert_enqueued
    from fastq.testing.jobs import enqueued as enqueued
    from fastq.testing.rehearsal import run_job as run_job
    from fastq.testing.rehearsal import run_job_sync as run_job_sync
    from fastq.testing.runs import Run as Run
    from fastq.testing.runs import Runs as Runs

_HOMES = {
    "assert_enqueued": "jobs",
    "clear": "databases",
    "database": "databases",
    "drain": "draining",
    "drain_sync": "draining",
    "enqueued": "jobs",
    "migrate": "databases",
    "run_job": "rehearsal",
    "run_job_sync": "rehearsal",
    "Run": "runs",
    "Runs": "runs",
    "server": "databases",
    "template": "databases",
}

__all__ = sorted(_HOMES)  # noqa: PLE0605


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'fastq.testing' has no attribute {name!r}")
    return getattr(import_module(f"fastq.testing.{_HOMES[name]}"), name)
