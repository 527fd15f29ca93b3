"""What a handler may ask for by annotating a parameter with `fastq.Context`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from fastq import codec
from fastq.database import answering
from fastq.errors import UsageError
from fastq.job import JobRef, JobSpec
from fastq.producer import Producer
from fastq.protocol import unique
from fastq.protocol.completion import Place

if TYPE_CHECKING:
    from psycopg import AsyncConnection


@dataclass(slots=True, kw_only=True)
class Context:
    """One run of one job.

    Attributes:
        id: the job's id, the same over all its attempts.
        task, queue: their names.
        attempt: the number of this run, from 1.
        retries_left: how many runs may follow this one.
        errors: the records of earlier failed runs, oldest first: type, message, traceback, attempt, at.
        enqueued_at: when it was enqueued, by the database's clock.
        headers: what was given as `options(headers=…)`.
        saved: the last checkpoint, of this run or an earlier one, or None.
        state: what the app's lifespan yielded, made once per worker process.
        unique: the job's unique key and until when it is held, or None.
        deadline: the event loop's time at which the run is cancelled, or None.
        cancelled: True once this run was asked to stop.

    """

    app: Producer
    id: int
    task: str
    queue: str
    attempt: int
    retries_left: int
    errors: list[dict[str, Any]]
    headers: dict[str, Any]
    saved: Any
    enqueued_ms: int
    state: Any
    place: Place
    unique: Sequence[Any] | None = None
    deadline: float | None = None
    cancelled: bool = False
    completed: bool = field(default=False, init=False)

    @property
    def enqueued_at(self) -> datetime:
        """When the job was enqueued."""
        return datetime.fromtimestamp(self.enqueued_ms / 1000, UTC)

    async def enqueue(self, spec: JobSpec) -> JobRef:
        """Enqueue another job."""
        return await self.app.enqueue(spec)

    async def checkpoint(self, value: Any) -> None:
        """Make `value` durable: `ctx.saved` of every later attempt, should this one fail or its worker die.

        Raises:
            ArgumentError: it cannot be written as JSON.
            LeaseLost: the job was taken from this worker; nothing was written.

        """
        await self.app.save_checkpoint(self.place, codec.dumps(value).decode())
        self.saved = value

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[AsyncConnection[Any]]:
        """Give a connection whose commit also completes this job: its effects happen exactly once.

        Raises:
            LeaseLost: the job was taken from this worker; nothing was written.
            UsageError: this run has completed its job already; a job completes once.

        """
        if self.completed:
            raise UsageError(f"job {self.id} is completed already: a run has one ctx.transaction()")
        async with self.app.completing(self.place) as conn:
            yield conn
            if self.unique is not None:
                with answering(conn):
                    await unique.free(conn, slot=self.place.slot, job=self.id)
        self.completed = True
