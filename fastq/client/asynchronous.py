"""Enqueueing from coroutines: those that enqueue at the same time share a statement, a commit and a wake-up."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from functools import partial
from math import inf
from typing import TypeVar

import psycopg

from fastq import sql
from fastq.backoff import full_jitter_s
from fastq.client import fate
from fastq.client.pool import AsyncPool
from fastq.client.shared import Use
from fastq.client.writing import NOTIFY_AT_LAST_S, NOTIFY_EVERY_S, Writing, layout_seen
from fastq.config import ProducerConfig
from fastq.errors import DatabaseUnreachable, EnqueueOutcomeUnknown
from fastq.job import JobSpec
from fastq.job_ids import JobIds
from fastq.postgres import database
from fastq.postgres.away import absent
from fastq.postgres.connections import Writable, in_utf8
from fastq.postgres.database import answering, as_ours
from fastq.protocol import copying, enqueue, upkeep
from fastq.protocol.asking import Asked, carry_out
from fastq.protocol.enqueue import Line, Progress
from fastq.protocol.unique import Placed

T = TypeVar("T")

BATCH_BYTES = 16 * 1024 * 1024
"""About so much is sent at once: PostgreSQL takes no parameter of a gigabyte."""

Waiting = tuple[Line, "asyncio.Future[int]", float]
"""A line, its caller, and the time until which it may be tried again."""


class AsyncClient(Writing):
    """The producer of the event loop that runs when it is made."""

    def __init__(self, dsn: str, config: ProducerConfig, *, suits: bool = False) -> None:
        super().__init__(config)
        self._loop = asyncio.get_running_loop()
        self._pool = AsyncPool(dsn, config.pool, suits=suits)
        self._waiting: deque[Waiting] = deque()
        self._flushing: asyncio.Task[None] | None = None
        self._notifying: asyncio.Task[None] | None = None
        self._rung_at = -inf
        self._unrung: set[int] = set()

    async def open(self) -> None:
        """Connect.

        Raises:
            DatabaseUnreachable: nobody answers.

        """
        async with self._pool.connection(Use.BRIEF):
            pass

    async def close(self) -> None:
        """Finish what is being sent, then disconnect. May be called twice."""
        try:
            while self._flushing is not None:
                await asyncio.wait([self._flushing])
            if self._notifying is not None:
                await asyncio.wait([self._notifying])
        finally:
            await self._pool.close()

    def connection(self, use: Use = Use.HELD) -> AbstractAsyncContextManager[database.AsyncConnection]:
        """Give a connection of the client's own, in autocommit mode.

        Raises:
            DatabaseUnreachable: none can be had.

        """
        return self._pool.connection(use)

    # -- single jobs

    def enqueue(self, spec: JobSpec) -> asyncio.Future[int]:
        """Enqueue one job together with those of other coroutines; gives its id after their common commit."""
        line = self._line(spec)
        future: asyncio.Future[int] = self._loop.create_future()
        self._waiting.append((line, future, self._loop.time() + self._retry_s if self._retry_s else 0.0))
        if self._flushing is None:
            self._flushing = self._loop.create_task(self._flush(), name="fastq-enqueue")
        return future

    async def _flush(self) -> None:
        """Send what waits, one statement and one commit at a time, until nothing waits.

        Nothing is awaited between the last look at what waits and the end, so that who comes later starts a new one.
        """
        failures = 0
        batch: list[Waiting] = []
        try:
            while batch := self._next_batch():
                failures = await self._send(batch, failures)
        except BaseException:
            _fail(batch, EnqueueOutcomeUnknown("the event loop was stopped during an enqueue"))
            _fail(self._waiting, DatabaseUnreachable("the event loop was stopped; nothing was enqueued"))
            self._waiting.clear()
            raise
        finally:
            self._flushing = None

    def _next_batch(self) -> list[Waiting]:
        """Take from the front what fits into one statement, without those whose callers were cancelled."""
        batch: list[Waiting] = []
        size = 0
        while self._waiting and len(batch) < enqueue.LINES_MOST and size < BATCH_BYTES:
            waiting = self._waiting.popleft()
            if not waiting[1].done():
                batch.append(waiting)
                size += len(waiting[0].body)
        return batch

    async def _send(self, batch: list[Waiting], failures: int) -> int:
        """Insert a batch and answer its callers; returns how often in a row the database could not be reached."""
        ring, shard = False, 0
        try:
            await self._know_layout()
            shard = self._spread.here()
            ring = self._may_ring(shard)
            lines = [line for line, _, _ in batch]
            inserting = enqueue.insert_lines(lines, shard=shard, gathered=True, ring=ring, packet=self._packet)
            ids = await self._on(Use.BRIEF, inserting)
        except fate.NodeAway as exc:
            return await self._elsewhere(batch, shard, exc)
        except DatabaseUnreachable as exc:
            self._rung_in_vain(ring, shard)
            await self._try_later(batch, exc, failures + 1)
            return failures + 1
        except Exception as exc:  # noqa: BLE001 - it is given to those who asked
            self._rung_in_vain(ring, shard)
            _fail(batch, exc)
            return 0
        for (_, future, _), job_id in zip(batch, ids, strict=True):
            if not future.done():
                future.set_result(job_id)
        if not ring and any(not line.waits for line, _, _ in batch):
            self.wake(shard)
        return 0

    async def _elsewhere(self, batch: list[Waiting], shard: int, exc: Exception) -> int:
        """Try another shard than one that is away; nothing of the batch was enqueued."""
        absent.note(shard, exc)
        if not absent.present(range(self._spread.layout.shards)):
            _fail(batch, exc)
            return 0
        return await self._send(batch, 0)

    def _may_ring(self, shard: int) -> bool:
        """Tell whether nobody has rung just now, nor is to ring for other shards; the caller does then.

        On a cluster a node's bell is heard by nobody: the coordinator's is rung by itself.
        """
        now = self._loop.time()
        if sql.on_cluster():
            return False
        if now < self._rung_at + NOTIFY_EVERY_S or self._unrung - {shard}:
            return False
        self._rung_at = now
        self._unrung.clear()
        return True

    async def _know_layout(self, theirs: Writable | None = None) -> None:
        """Learn how many shards there are, if that is not known."""
        if self._spread.fresh:
            return
        if theirs is not None:
            self._spread.learn(await layout_seen(theirs))
            return
        async with self._pool.connection(Use.BRIEF) as own:
            try:
                with answering(own):
                    self._spread.learn(await layout_seen(own))
            except psycopg.Error as exc:
                raise fate.of(exc, committing=False) from None

    async def _on(self, use: Use, asked: Asked[T]) -> T:
        """Carry out what is asked for on a connection of our own; errors say what became of the jobs."""
        async with self._pool.connection(use) as conn:
            try:
                with answering(conn):
                    async with as_ours(conn):
                        return await carry_out(conn, asked)
            except psycopg.Error as exc:
                if exc.sqlstate == fate.READ_ONLY:
                    await conn.close()  # the next one may find the new primary
                raise fate.of(exc) from None

    async def _try_later(self, batch: list[Waiting], exc: DatabaseUnreachable, failures: int) -> None:
        """Put back to the front whoever has time left, and pause; nothing of the batch was enqueued."""
        now = self._loop.time()
        patient = [waiting for waiting in batch if waiting[2] > now]
        _fail([waiting for waiting in batch if waiting[2] <= now], fate.given_up(exc))
        if patient:
            self._waiting.extendleft(reversed(patient))
            await asyncio.sleep(min(full_jitter_s(failures), min(until for _, _, until in patient) - now))

    async def enqueue_in(self, conn: Writable, spec: JobSpec) -> int:
        """Enqueue a job on the caller's connection, as part of its transaction if it has one."""
        line = self._line(spec)
        await self._know_layout(conn)
        shard = self._spread.here()
        (job_id,) = await _on_theirs(conn, enqueue.insert_lines([line], shard=shard, ring=not sql.on_cluster()))
        await self._ring_theirs(conn, shard)
        return job_id

    async def _ring_theirs(self, conn: Writable, shard: int) -> None:
        if sql.on_cluster():
            await carry_out(conn, upkeep.ring((shard,)))

    async def enqueue_apart(self, spec: JobSpec, conn: Writable | None) -> Placed:
        """Enqueue a unique or ordered job: on its own, because it may have to wait for who is just taking the key."""
        placed = await self._slowly(lambda: self._apart(spec, theirs=conn is not None), conn)
        if conn is None and not placed.duplicate and not spec.options.waits:
            self.wake(self._spread.of(spec.options))
        return placed

    async def reserve(self, spec: JobSpec, expires_s: float, conn: Writable | None) -> Placed:
        """Reserve a job; it may have to wait for who is just taking its unique key."""
        return await self._slowly(lambda: self._reservation(spec, expires_s, theirs=conn is not None), conn)

    async def _slowly(self, asked: Callable[[], Asked[T]], conn: Writable | None) -> T:
        """Carry out what may have to wait; once more if the number of shards has changed."""
        if conn is not None:
            await self._know_layout(conn)
            return await _on_theirs(conn, asked())

        async def attempt() -> T:
            await self._know_layout()
            return await self._on(Use.SLOW, asked())

        try:
            return await self._in_time(attempt)
        except fate.ShardsChanged:
            self._spread.forget()
            return await self._in_time(attempt)

    async def _in_time(self, attempt: Callable[[], Awaitable[T]]) -> T:
        """Return what `attempt` does, tried again for `retry_s` seconds while the database cannot be reached."""
        until, failures = self._loop.time() + self._retry_s, 0
        while True:
            try:
                return await attempt()
            except DatabaseUnreachable as exc:
                failures += 1
                if (left_s := until - self._loop.time()) <= 0:
                    raise fate.given_up(exc) from None
                await asyncio.sleep(min(left_s, full_jitter_s(failures)))

    # -- streams

    async def enqueue_many(self, specs: Iterable[JobSpec], conn: Writable | None, progress: Progress | None) -> JobIds:
        """Stream jobs through COPY, all or none."""
        await self._in_time(partial(self._know_layout, conn))
        packer = self._packer(theirs=conn is not None)
        if conn is not None:
            ids = await _on_theirs(conn, copying.put_jobs(specs, packer, progress=progress, ring=_may_ring_along))
            if not packer.rung:
                await carry_out(conn, upkeep.ring(packer.shards))
            return ids
        async with AsyncExitStack() as stack:
            own = await self._in_time(lambda: stack.enter_async_context(self._pool.connection(Use.HELD)))
            stack.enter_context(answering(own))
            try:
                async with as_ours(own):
                    putting = copying.put_jobs(
                        specs, packer, progress=progress, ring=partial(self._may_ring, packer.shard)
                    )
                    ids = await carry_out(own, putting)
            except psycopg.Error as exc:
                self._rung_in_vain(packer.rung, packer.shard)
                if packer.reading:  # it is not ours: the iterable raised it
                    raise
                raise fate.of(exc, committing=packer.whole) from None
        if not packer.rung:
            self.wake(*packer.shards)
        return ids

    # -- waking the fleet

    def wake(self, *shards: int) -> None:
        """Ring soon for new jobs in these shards, if no statement does so by itself."""
        self._unrung.update(shards)
        if self._notifying is None or self._notifying.done():
            self._notifying = self._loop.create_task(self._notify(), name="fastq-notify")

    def _rung_in_vain(self, rung: bool, shard: int) -> None:
        """Ring again if a statement that was to ring has failed: others may have relied on it."""
        if rung:
            self.wake(shard)

    async def _notify(self) -> None:
        while self._unrung:
            if (pause_s := self._rung_at + NOTIFY_AT_LAST_S - (now := self._loop.time())) > 0:
                await asyncio.sleep(pause_s)
                continue
            self._rung_at, shards, self._unrung = now, self._unrung, set()
            try:
                async with self._pool.connection(Use.BRIEF) as conn:
                    with answering(conn):
                        await upkeep.notify(conn, shards)
            except (psycopg.Error, DatabaseUnreachable):
                return


def _fail(batch: Iterable[Waiting], error: Exception) -> None:
    for _, future, _ in batch:
        if not future.done():
            future.set_exception(error)


async def _on_theirs(conn: Writable, asked: Asked[T]) -> T:
    """Carry out what is asked for on a caller's connection, as part of its transaction if it has one."""
    async with in_utf8(conn):
        return await carry_out(conn, asked)


def _may_ring_along() -> bool:
    """Tell whether jobs may ring by their own statement: on a cluster nobody hears a node's bell."""
    return not sql.on_cluster()
