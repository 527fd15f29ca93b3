"""What a handler may ask for by annotating a parameter with `fastq.Context`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from fastq import codec
from fastq.connections import AnyAsyncConnection, AnyConnection, inside, inside_async
from fastq.database import answering
from fastq.errors import LeaseLost, UsageError
from fastq.job import JobRef, JobSpec, at_ms
from fastq.producer import Producer
from fastq.protocol import completion, unique
from fastq.protocol.completion import Place

if TYPE_CHECKING:
    from psycopg import AsyncConnection

_TAKEN = "the job was taken from this worker, or is done already: roll back what this run has written"


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
        timeout_s: after how many seconds the run is cancelled, or None.
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
    timeout_s: float | None = None
    deadline: float | None = None
    cancelled: bool = False
    completed: bool = field(default=False, init=False)
    completing: bool = field(default=False, init=False)

    @property
    def enqueued_at(self) -> datetime:
        """When the job was enqueued."""
        return at_ms(self.enqueued_ms)

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
        self._check_open()
        async with self.app.completing(self.place) as conn:
            yield conn
            if self.unique is not None:
                with answering(conn):
                    await unique.free(conn, slot=self.place.slot, job=self.id)
        self.completed = True

    async def complete(self, conn: AnyAsyncConnection) -> None:
        """Complete this job in a transaction of yours: psycopg's, or SQLAlchemy's AsyncConnection or AsyncSession.

        Call it before the commit, and commit before the handler returns: then the job's effects happen exactly once. A
        handler that returns has succeeded, also when it rolled back.

        Raises:
            LeaseLost: the job was taken from this worker, or is done already: roll back.
            UsageError: this run has completed its job already, or `conn` holds no connection of psycopg's.

        """
        self._check_open()
        own = await inside_async(conn)
        if not await completion.complete_in(own, self.place):
            raise LeaseLost(_TAKEN)
        if self.unique is not None:
            await unique.free(own, slot=self.place.slot, job=self.id)
        self.completing = True

    def complete_sync(self, conn: AnyConnection) -> None:
        """As `complete`, in a synchronous handler; also in Django's transaction."""
        self._check_open()
        own = inside(conn)
        if not completion.complete_in_sync(own, self.place):
            raise LeaseLost(_TAKEN)
        if self.unique is not None:
            unique.free_sync(own, slot=self.place.slot, job=self.id)
        self.completing = True

    def _check_open(self) -> None:
        if self.completed or self.completing:
            raise UsageError(f"job {self.id} is completed already: a run completes its job once")
