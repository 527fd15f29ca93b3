"""Enqueues that belong to a web request: in its session, or collected until it has gone well."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any, ParamSpec

from fastq.app import App
from fastq.job import JobRef, JobSpec
from fastq.job_ids import JobIds
from fastq.postgres.connections import AnyAsyncConnection
from fastq.task import BoundTask, Task

P = ParamSpec("P")


class Enqueuer:
    """Enqueues in the transaction of a request: what it enqueues is there if, and only if, that commits.

    Args:
        app: the app of the tasks.
        conn: the request's session or connection; None enqueues at once, on a connection of the app's.

    """

    def __init__(self, app: App, conn: AnyAsyncConnection | None = None) -> None:
        self._app = app
        self._conn = conn
        self._later: list[JobSpec] = []

    async def enqueue(self, spec: JobSpec) -> JobRef:
        """Enqueue one job; see `App.enqueue`."""
        return await self._app.enqueue(spec, conn=self._conn)

    async def enqueue_many(self, specs: Iterable[JobSpec]) -> JobIds:
        """Enqueue many jobs; see `App.enqueue_many`."""
        return await self._app.enqueue_many(specs, conn=self._conn)

    def add_task(self, task: Task[P, Any] | BoundTask[P, Any], /, *args: P.args, **kwargs: P.kwargs) -> None:
        """Enqueue a job when the request's function has returned: as `BackgroundTasks.add_task`, but durable."""
        self._later.append(task.job(*args, **kwargs))

    async def flush(self) -> None:
        """Enqueue what was added."""
        later, self._later = self._later, []
        if later:
            await self.enqueue_many(later)


@asynccontextmanager
async def enqueueing(app: App, conn: AnyAsyncConnection | None) -> AsyncIterator[Enqueuer]:
    """Give an Enqueuer, and enqueue in the end what was added to it; nothing of that where the request failed."""
    enqueuer = Enqueuer(app, conn)
    yield enqueuer
    await enqueuer.flush()
