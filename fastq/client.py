"""The producer's side of the database: pools, the gathering of concurrent enqueues, the debounced wake-up."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any

import psycopg
from psycopg import AsyncConnection, Connection
from psycopg_pool import AsyncConnectionPool, ConnectionPool, PoolTimeout

from fastq import database
from fastq.errors import DatabaseUnreachable, EnqueueOutcomeUnknown, LeaseLost, NotOpen
from fastq.job import JobIds, JobSpec
from fastq.protocol import completion, enqueue, upkeep
from fastq.protocol.enqueue import Line, Progress
from fastq.sql import statement

NOTIFY_EVERY_S = 0.002
"""At most one NOTIFY in this time from one process: it holds a cluster-wide lock while it commits."""

_POOL_MOST = 4
_POOL_TIMEOUT_S = 30.0


def _outcome_unknown(exc: psycopg.OperationalError) -> EnqueueOutcomeUnknown:
    return EnqueueOutcomeUnknown(f"the connection broke during an enqueue, which may or may not have happened: {exc}")


class AsyncClient:
    """A pool of asynchronous connections, and what is shared between the coroutines that enqueue through it."""

    def __init__(self, dsn: str, *, limit_bytes: int, warm: bool = True) -> None:
        params = database.parameters(dsn, "fastq producer")
        self._warm = warm
        self._pool = AsyncConnectionPool(
            kwargs={**params, "autocommit": True},
            min_size=1 if warm else 0,
            max_size=_POOL_MOST,
            timeout=_POOL_TIMEOUT_S,
            open=False,
            reconnect_timeout=60.0,
        )
        self._limit_bytes = limit_bytes
        self._waiting: list[tuple[Line, asyncio.Future[int]]] = []
        self._flushes: set[asyncio.Task[None]] = set()
        self._notifying: asyncio.Task[None] | None = None
        self._notify_again = False

    async def open(self) -> None:
        """Open the pool; fails at once when the database cannot be reached."""
        await self._pool.open()
        if not self._warm:
            return
        try:
            await self._pool.wait(timeout=database.CONNECT_TIMEOUT_S)
        except PoolTimeout:
            await self._pool.close()
            raise DatabaseUnreachable(
                "cannot connect to PostgreSQL: no answer to the pool's first connection"
            ) from None

    async def close(self) -> None:
        """Finish what is being sent, then close the pool. May be called twice."""
        while self._flushes:
            await asyncio.gather(*self._flushes, return_exceptions=True)
        if self._notifying is not None:
            await asyncio.gather(self._notifying, return_exceptions=True)
        await self._pool.close()

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[AsyncConnection[Any]]:
        """Give a pooled connection.

        Raises:
            DatabaseUnreachable: none could be had in time.

        """
        try:
            conn = await self._pool.getconn()
        except (PoolTimeout, psycopg.OperationalError) as exc:
            raise database.unreachable(exc) from None
        try:
            yield conn
        finally:
            await self._pool.putconn(conn)

    async def enqueue(self, spec: JobSpec) -> int:
        """Enqueue one job together with those of other coroutines; returns its id after their common commit."""
        line = Line(spec, self._limit_bytes)
        loop = asyncio.get_running_loop()
        future: asyncio.Future[int] = loop.create_future()
        self._waiting.append((line, future))
        if not self._flushes:
            flush = loop.create_task(self._flush(), name="fastq-enqueue")
            self._flushes.add(flush)
            flush.add_done_callback(self._flushes.discard)
        return await future

    async def _flush(self) -> None:
        """Send what waits, one statement and one commit at a time, until nothing waits."""
        while self._waiting:
            batch, self._waiting = self._waiting[: enqueue.LINES_MOST], self._waiting[enqueue.LINES_MOST :]
            try:
                async with self.connection() as conn:
                    ids = await self._insert(conn, [line for line, _ in batch])
            except BaseException as exc:
                error = exc if isinstance(exc, Exception) else DatabaseUnreachable("the event loop stopped")
                for _, future in batch:
                    if not future.done():
                        future.set_exception(error)
                if not isinstance(exc, Exception):
                    raise
                continue
            for (_, future), job_id in zip(batch, ids, strict=True):
                if not future.done():
                    future.set_result(job_id)
            if any(not line.waits for line, _ in batch):
                self.wake()

    async def _insert(self, conn: AsyncConnection[Any], lines: list[Line]) -> list[int]:
        try:
            return await enqueue.insert_lines(conn, lines)
        except psycopg.OperationalError as exc:
            raise _outcome_unknown(exc) from exc

    async def enqueue_in(self, conn: AsyncConnection[Any], specs: list[JobSpec]) -> list[int]:
        """Enqueue jobs on the caller's connection, as part of its transaction if it has one."""
        lines = [Line(spec, self._limit_bytes) for spec in specs]
        ids: list[int] = []
        for i in range(0, len(lines), enqueue.LINES_MOST):
            ids += await enqueue.insert_lines(conn, lines[i : i + enqueue.LINES_MOST])
        await conn.execute(statement("notify_workers"))
        return ids

    async def enqueue_many(
        self, specs: Iterable[JobSpec], conn: AsyncConnection[Any] | None, progress: Progress | None
    ) -> JobIds:
        """Stream jobs through COPY, all or none."""
        text = enqueue.CopyText(slot=0, limit_bytes=self._limit_bytes)
        if conn is not None:
            ids = await enqueue.copy_jobs(conn, specs, text, slot=0, progress=progress)
            await conn.execute(statement("notify_workers"))
            return ids
        async with self.connection() as own:
            try:
                ids = await enqueue.copy_jobs(own, specs, text, slot=0, progress=progress)
            except psycopg.OperationalError as exc:
                raise _outcome_unknown(exc) from exc
        self.wake()
        return ids

    def wake(self) -> None:
        """Send a NOTIFY soon; calls within NOTIFY_EVERY_S share one."""
        if self._notifying is None or self._notifying.done():
            self._notifying = asyncio.get_running_loop().create_task(self._notify(), name="fastq-notify")
        else:
            self._notify_again = True

    async def _notify(self) -> None:
        while True:
            self._notify_again = False
            try:
                async with self.connection() as conn:
                    await upkeep.notify(conn)
            except (psycopg.Error, DatabaseUnreachable):
                return
            await asyncio.sleep(NOTIFY_EVERY_S)
            if not self._notify_again:
                return

    @asynccontextmanager
    async def completing(self, job: tuple[int, int, int]) -> AsyncIterator[AsyncConnection[Any]]:
        """Give a connection in a transaction whose commit also completes the job (slot, lease, ordinal).

        Raises:
            LeaseLost: the lease is gone; nothing was written.

        """
        slot, lease, ordinal = job
        async with self.connection() as conn, conn.transaction():
            if not await completion.hold(conn, slot=slot, lease=lease):
                raise LeaseLost("the job's lease was taken from this worker; its transaction was not begun")
            yield conn
            await completion.complete(conn, slot=slot, lease=lease, ordinal=ordinal)


class SyncClient:
    """A pool of synchronous connections for producers without an event loop. Safe to share between threads."""

    def __init__(self, dsn: str, *, limit_bytes: int) -> None:
        params = database.parameters(dsn, "fastq producer")
        self._pool = ConnectionPool(
            kwargs={**params, "autocommit": True},
            min_size=1,
            max_size=_POOL_MOST,
            timeout=_POOL_TIMEOUT_S,
            open=False,
            reconnect_timeout=60.0,
        )
        self._limit_bytes = limit_bytes
        self._notified_at = 0.0
        self._lock = threading.Lock()

    def open(self) -> None:
        """Open the pool; fails at once when the database cannot be reached."""
        self._pool.open()
        try:
            self._pool.wait(timeout=database.CONNECT_TIMEOUT_S)
        except PoolTimeout:
            self._pool.close()
            raise DatabaseUnreachable(
                "cannot connect to PostgreSQL: no answer to the pool's first connection"
            ) from None

    def close(self) -> None:
        """Close the pool. May be called twice."""
        self._pool.close()

    def enqueue(self, specs: list[JobSpec], conn: Connection[Any] | None = None) -> list[int]:
        """Enqueue a few jobs, in the caller's transaction if a connection is given."""
        lines = [Line(spec, self._limit_bytes) for spec in specs]
        if conn is not None:
            return self._insert(conn, lines, theirs=True)
        with self._pool.connection() as own:
            try:
                return self._insert(own, lines, theirs=False)
            except psycopg.OperationalError as exc:
                raise _outcome_unknown(exc) from exc

    def _insert(self, conn: Connection[Any], lines: list[Line], *, theirs: bool) -> list[int]:
        ids: list[int] = []
        with conn.transaction():
            for i in range(0, len(lines), enqueue.LINES_MOST):
                ids += enqueue.insert_lines_sync(conn, lines[i : i + enqueue.LINES_MOST])
        self._notify(conn, always=theirs)
        return ids

    def enqueue_many(self, specs: Iterable[JobSpec], conn: Connection[Any] | None, progress: Progress | None) -> JobIds:
        """Stream jobs through COPY, all or none."""
        text = enqueue.CopyText(slot=0, limit_bytes=self._limit_bytes)
        if conn is not None:
            ids = enqueue.copy_jobs_sync(conn, specs, text, slot=0, progress=progress)
            self._notify(conn, always=True)
            return ids
        with self._pool.connection() as own:
            try:
                ids = enqueue.copy_jobs_sync(own, specs, text, slot=0, progress=progress)
            except psycopg.OperationalError as exc:
                raise _outcome_unknown(exc) from exc
            self._notify(own, always=True)
        return ids

    def _notify(self, conn: Connection[Any], *, always: bool) -> None:
        """Wake the fleet unless that was just done; the workers' poll covers what is skipped."""
        with self._lock:
            due = always or time.monotonic() - self._notified_at > NOTIFY_EVERY_S
            if due:
                self._notified_at = time.monotonic()
        if due:
            conn.execute(statement("notify_workers"))


def needs_open(what: str) -> NotOpen:
    """Return the error for a call on a closed app."""
    return NotOpen(f"{what}: the app is not open; use `async with app:` (or `with app:` in synchronous code)")
