"""Enqueueing from synchronous code, in any thread."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, ExitStack, suppress
from typing import Any, TypeVar

import psycopg
from psycopg import Connection

from fastq import database
from fastq.backoff import full_jitter_s
from fastq.client import fate
from fastq.client.pool import SyncPool, Use
from fastq.config import ProducerConfig
from fastq.connections import in_utf8_sync
from fastq.database import answering, as_ours_sync
from fastq.errors import DatabaseUnreachable
from fastq.job import JobIds, JobSpec
from fastq.protocol import copying, enqueue, reserve, unique
from fastq.protocol.asking import ask_sync
from fastq.protocol.enqueue import Apart, Line, Progress
from fastq.protocol.jobs import carry_out_sync
from fastq.protocol.packing import Packer
from fastq.protocol.unique import Placed

NOTIFY_EVERY_S = 0.002
"""At most one NOTIFY in this time from one process; the workers' poll covers what is skipped."""

T = TypeVar("T")


class SyncClient:
    """The producer of a process's threads. Safe to share between them."""

    def __init__(self, dsn: str, config: ProducerConfig) -> None:
        self._pool = SyncPool(dsn, config.pool)
        self._limit_bytes = config.payload_limit_bytes
        self._retry_s = config.enqueue_retry_s
        self._notified_at = 0.0
        self._lock = threading.Lock()

    def open(self) -> None:
        """Connect.

        Raises:
            DatabaseUnreachable: nobody answers.

        """
        with self._pool.connection(Use.BRIEF):
            pass

    def close(self) -> None:
        """Disconnect. May be called twice."""
        self._pool.close()

    def connection(self, use: Use = Use.HELD) -> AbstractContextManager[database.Connection]:
        """Give a connection of the client's own, in autocommit mode."""
        return self._pool.connection(use)

    def enqueue(self, spec: JobSpec, conn: Connection[Any] | None = None) -> int:
        """Enqueue one job, in the caller's transaction if a connection is given; returns its id."""
        line = Line(spec, self._limit_bytes)
        if conn is None:
            return self._in_time(lambda: self._on(Use.BRIEF, lambda own: self._insert(own, line)))
        with in_utf8_sync(conn):
            (job_id,) = enqueue.insert_lines_sync(conn, [line], ring=True)
        return job_id

    def _insert(self, conn: Connection[Any], line: Line) -> int:
        (job_id,) = enqueue.insert_lines_sync(conn, [line], ring=self._may_ring())
        return job_id

    def enqueue_apart(self, spec: JobSpec, conn: Connection[Any] | None = None) -> Placed:
        """Enqueue a unique or ordered job; it may have to wait for who is just taking the key."""
        apart = Apart(spec, self._limit_bytes)
        if conn is None:
            placed = self._apart_in_time(lambda own: enqueue.insert_apart_sync(own, apart, patience=unique.PATIENCE))
            if not placed.duplicate and not spec.options.waits:
                self.wake()
            return placed
        with in_utf8_sync(conn):
            placed = enqueue.insert_apart_sync(conn, apart)
        if not placed.duplicate and not spec.options.waits:
            ask_sync(conn, "notify_workers")
        return placed

    def reserve(self, spec: JobSpec, expires_s: float, conn: Connection[Any] | None = None) -> Placed:
        """Reserve a job; it may have to wait for who is just taking its unique key."""
        body = enqueue.payload(spec, self._limit_bytes)
        if conn is not None:
            with in_utf8_sync(conn):
                return carry_out_sync(conn, reserve.reserve(spec, body, expires_s=expires_s))
        request = reserve.reserve(spec, body, expires_s=expires_s, patience=unique.PATIENCE)
        return self._apart_in_time(lambda own: carry_out_sync(own, request))

    def _apart_in_time(self, attempt: Callable[[Connection[Any]], Placed]) -> Placed:
        return self._in_time(lambda: self._on(Use.SLOW, attempt))

    def _on(self, use: Use, attempt: Callable[[Connection[Any]], T]) -> T:
        """Return what `attempt` does on a connection; its errors say what became of the jobs."""
        with self._pool.connection(use) as own:
            try:
                with answering(own), as_ours_sync(own):
                    return attempt(own)
            except psycopg.Error as exc:
                if exc.sqlstate == fate.READ_ONLY:
                    own.close()  # the next one may find the new primary
                raise fate.of(exc) from None

    def wake(self) -> None:
        """Wake the fleet, if it can be reached."""
        with suppress(DatabaseUnreachable), self._pool.connection(Use.BRIEF) as own:
            self._notify(own)

    def enqueue_many(self, specs: Iterable[JobSpec], conn: Connection[Any] | None, progress: Progress | None) -> JobIds:
        """Stream jobs through COPY, all or none."""
        patience = unique.PATIENCE if conn is None else None
        text = Packer(shard=0, limit_bytes=self._limit_bytes, patience=patience)
        if conn is not None:
            with in_utf8_sync(conn):
                ids = copying.put_jobs_sync(conn, specs, text, shard=0, progress=progress)
            ask_sync(conn, "notify_workers")
            return ids
        with ExitStack() as stack:
            own = self._in_time(lambda: stack.enter_context(self._pool.connection(Use.HELD)))
            stack.enter_context(answering(own))
            try:
                with as_ours_sync(own):
                    ids = copying.put_jobs_sync(own, specs, text, shard=0, progress=progress)
            except psycopg.Error as exc:
                if text.reading:  # it is not ours: the iterable raised it
                    raise
                raise fate.of(exc, committing=text.whole) from None
            self._notify(own, always=True)
        return ids

    def _in_time(self, attempt: Callable[[], T]) -> T:
        """Return what `attempt` does, tried again for `retry_s` seconds while the database cannot be reached."""
        until, failures = time.monotonic() + self._retry_s, 0
        while True:
            try:
                return attempt()
            except DatabaseUnreachable as exc:
                failures += 1
                if (left_s := until - time.monotonic()) <= 0:
                    raise fate.given_up(exc) from None
                time.sleep(min(left_s, full_jitter_s(failures)))

    def _may_ring(self) -> bool:
        """Tell whether nobody has woken the fleet just now; the caller does then."""
        with self._lock:
            due = time.monotonic() - self._notified_at > NOTIFY_EVERY_S
            if due:
                self._notified_at = time.monotonic()
        return due

    def _notify(self, conn: Connection[Any], *, always: bool = False) -> None:
        """Wake the fleet unless that was just done. The jobs are there already, whatever becomes of it."""
        if always or self._may_ring():
            with suppress(psycopg.Error), answering(conn):
                ask_sync(conn, "notify_workers")
