"""Enqueues that belong to a web request."""

from __future__ import annotations

from collections.abc import Iterable

from fastq.app import App
from fastq.job import JobRef, JobSpec
from fastq.job_ids import JobIds
from fastq.postgres.connections import AnyAsyncConnection


class Enqueuer:
    """Enqueues in the transaction of a request: what it enqueues is there if, and only if, that commits.

    Args:
        app: the app of the tasks.
        conn: the request's session or connection; None enqueues at once, on a connection of the app's.

    """

    def __init__(self, app: App, conn: AnyAsyncConnection | None = None) -> None:
        self._app = app
        self._conn = conn

    async def enqueue(self, spec: JobSpec) -> JobRef:
        """Enqueue one job; see `App.enqueue`."""
        return await self._app.enqueue(spec, conn=self._conn)

    async def enqueue_many(self, specs: Iterable[JobSpec]) -> JobIds:
        """Enqueue many jobs; see `App.enqueue_many`."""
        return await self._app.enqueue_many(specs, conn=self._conn)
