"""The app: tasks, the ways to enqueue their jobs, and what running jobs need of it. What users import."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager, suppress
from typing import Any

import psycopg
from psycopg import AsyncConnection

from fastq.app.completing import completing
from fastq.app.enqueueing import Enqueueing
from fastq.app.registry import Lifespan, Registry
from fastq.client import Use
from fastq.config import (
    CHECKPOINT_LIMIT_BYTES,
    CONNECTION_IDLE_S,
    CONNECTIONS_MOST,
    PACKET_BYTES,
    PACKET_JOBS,
    PAYLOAD_LIMIT_BYTES,
    RESULT_LIMIT_BYTES,
    KeptConfig,
    PacketConfig,
    PoolConfig,
    ProducerConfig,
)
from fastq.errors import FastqError, UsageError
from fastq.job import JobRef, JobSpec
from fastq.jobs import Jobs
from fastq.postgres.database import answering, as_ours, as_ours_sync
from fastq.protocol import completion
from fastq.protocol.asking import carry_out, carry_out_sync
from fastq.protocol.completion import Place
from fastq.schedules import Schedules
from fastq.sql.naming import use_schema_of_app


class App(Registry, Enqueueing):
    """Tasks and the database their jobs live in.

    Args:
        dsn: a PostgreSQL connection string; without one FASTQ_DSN, DATABASE_URL, PGHOST… and then the embedded server.
        schema: the name of the schema there, if it is not `fastq`. A process works in one: several apps in it name the
            same one, or none; ``fastq … --schema`` comes first, FASTQ_SCHEMA last. See docs/databases.md.
        lifespan: ``async def lifespan(app) -> AsyncIterator[State]: …; yield state``, wrapped in
            ``contextlib.asynccontextmanager`` and entered once per worker process; what it yields is ``ctx.state``.
        payload_limit_bytes: the largest JSON of one job's arguments.
        enqueue_retry_s: for how many seconds an enqueue is tried again while no server can be reached, or it is
            starting up or read-only. 0, the default: the error comes at once. What may be there is never sent again.
        max_connections: how many connections enqueues and handlers' transactions may use at once, in each process for
            synchronous calls and in each event loop for asynchronous ones; see docs/pooler.md.
        checkpoint_limit_bytes: the largest JSON of a checkpoint.
        result_limit_bytes: the largest JSON of a result, where results are kept; see docs/retention.md.
        packet_jobs: how many jobs that are enqueued together are stored as one row; see docs/packets.md.
        packet_bytes: how large the JSON of their arguments may be in all.
        connection_idle_s: for how many seconds one that nobody wants stays open. An app that was opened by `async with`
            or `with` keeps one all the same, a worker none.

    Example:
        >>> app = fastq.App()
        >>> @app.task(queue="mail", retries=5)
        ... async def welcome(user_id: int) -> None: ...

    """

    def __init__(
        self,
        dsn: str | None = None,
        *,
        schema: str | None = None,
        lifespan: Lifespan | None = None,
        payload_limit_bytes: int = PAYLOAD_LIMIT_BYTES,
        enqueue_retry_s: float = 0.0,
        max_connections: int = CONNECTIONS_MOST,
        connection_idle_s: float = CONNECTION_IDLE_S,
        checkpoint_limit_bytes: int = CHECKPOINT_LIMIT_BYTES,
        result_limit_bytes: int = RESULT_LIMIT_BYTES,
        packet_jobs: int = PACKET_JOBS,
        packet_bytes: int = PACKET_BYTES,
    ) -> None:
        if dsn is not None and not isinstance(dsn, str):
            raise UsageError(f"dsn must be a connection string or None, not {type(dsn).__name__}")
        if schema is not None:
            use_schema_of_app(schema)
        Registry.__init__(self, lifespan)
        pool = PoolConfig(most=max_connections, idle_s=connection_idle_s)
        packet = PacketConfig(jobs=packet_jobs, size_bytes=packet_bytes)
        producer = ProducerConfig(
            payload_limit_bytes=payload_limit_bytes, enqueue_retry_s=enqueue_retry_s, packet=packet, pool=pool
        )
        Enqueueing.__init__(self, dsn, producer)
        self.kept = KeptConfig(checkpoint_limit_bytes=checkpoint_limit_bytes, result_limit_bytes=result_limit_bytes)

    @property
    def jobs(self) -> Jobs:
        """Look at jobs, wait for them and steer them: `get`, `list`, `result`, `retry`, `cancel`, `delete`."""
        return Jobs(lambda: self.client, lambda: self.sync_client)

    @property
    def schedules(self) -> Schedules:
        """The schedules that the app declares; and all of its database, to `set`, `list`, `pause`, `run`, `remove`."""
        return Schedules(self.declared, lambda: self.client, lambda: self.sync_client)

    def completing(self, place: Place) -> AbstractAsyncContextManager[AsyncConnection[Any]]:
        """Give a connection whose commit also completes a running job; see `Context.transaction`."""
        return completing(self.client.connection, place)

    def _ref(self, spec: JobSpec, job: int, duplicate: bool = False) -> JobRef:
        task = self.tasks.get(spec.task)
        return JobRef(job, duplicate, None if task is None or task.policy.keep_s is None else self.jobs)

    async def tell_progress(self, place: Place, share: float, note: str) -> None:
        """Show how far a running job has come, if the database is there; see `Context.progress`."""
        with suppress(psycopg.Error, FastqError):
            async with self.client.connection(Use.BRIEF) as conn:
                with answering(conn):
                    async with as_ours(conn):
                        await carry_out(conn, completion.tell_progress(place, share, note))

    def tell_progress_sync(self, place: Place, share: float, note: str) -> None:
        """As `tell_progress`, from synchronous code."""
        with (
            suppress(psycopg.Error, FastqError),
            self.sync_client.connection(Use.BRIEF) as conn,
            answering(conn),
            as_ours_sync(conn),
        ):
            carry_out_sync(conn, completion.tell_progress(place, share, note))

    async def save_checkpoint(self, place: Place, value: str, retries: int | None) -> bool:
        """Keep a running job's checkpoint; see `Context.checkpoint`."""
        async with self.client.connection(Use.BRIEF) as conn:
            with answering(conn):
                async with as_ours(conn):
                    return await carry_out(conn, completion.save_checkpoint(place, value, retries=retries))

    def save_checkpoint_sync(self, place: Place, value: str, retries: int | None) -> bool:
        """As `save_checkpoint`, from synchronous code."""
        with self.sync_client.connection(Use.BRIEF) as conn, answering(conn), as_ours_sync(conn):
            return carry_out_sync(conn, completion.save_checkpoint(place, value, retries=retries))
