"""Enqueueing from synchronous code, in any thread."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager, ExitStack, suppress
from math import inf
from typing import Any, TypeVar

import psycopg
from psycopg import Connection

from fastq import sql
from fastq.backoff import full_jitter_s
from fastq.client import fate
from fastq.client.pool import SyncPool
from fastq.client.shared import Use
from fastq.client.writing import NOTIFY_AT_LAST_S, NOTIFY_EVERY_S, Writing, layout_seen_sync
from fastq.config import ProducerConfig
from fastq.errors import DatabaseUnreachable
from fastq.job import JobSpec
from fastq.job_ids import JobIds
from fastq.postgres import database
from fastq.postgres.away import absent
from fastq.postgres.connections import in_utf8_sync
from fastq.postgres.database import answering, as_ours_sync
from fastq.protocol import copying, enqueue, upkeep
from fastq.protocol.asking import Asked, carry_out_sync
from fastq.protocol.enqueue import Progress
from fastq.protocol.unique import Placed

T = TypeVar("T")


class SyncClient(Writing):
    """The producer of a process's threads. Safe to share between them."""

    def __init__(self, dsn: str, config: ProducerConfig, *, suits: bool = False) -> None:
        super().__init__(config)
        self._pool = SyncPool(dsn, config.pool, suits=suits)
        self._rung_at = -inf
        self._unrung: set[int] = set()
        self._ringer: threading.Thread | None = None
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
        with self._lock:
            unrung, self._unrung = self._unrung, set()
        if unrung:
            self.wake(*unrung)
        self._pool.close()

    def connection(self, use: Use = Use.HELD) -> AbstractContextManager[database.Connection]:
        """Give a connection of the client's own, in autocommit mode."""
        return self._pool.connection(use)

    def enqueue(self, spec: JobSpec, conn: Connection[Any] | None = None) -> int:
        """Enqueue one job, in the caller's transaction if a connection is given; returns its id."""
        line = self._line(spec)
        if conn is not None:
            self._know_layout(conn)
            shard = self._spread.here()
            (job_id,) = _on_theirs(conn, enqueue.insert_lines([line], shard=shard, ring=not sql.on_cluster()))
            if sql.on_cluster():
                carry_out_sync(conn, upkeep.ring((shard,)))
            return job_id
        self._in_time(self._know_layout)
        shard = self._spread.here()
        ring = self._may_ring(shard)
        try:
            inserting = enqueue.insert_lines([line], shard=shard, ring=ring)
            (job_id,) = self._in_time(lambda: self._on(Use.BRIEF, inserting))
        except fate.NodeAway as exc:
            absent.note(shard, exc)
            if absent.present(range(self._spread.layout.shards)):
                return self.enqueue(spec)
            raise
        except BaseException:
            if ring:  # others may have relied on it
                self._ring_soon(shard)
            raise
        if not ring and not line.waits:
            self._ring_soon(shard)
        return job_id

    def _know_layout(self, theirs: Connection[Any] | None = None) -> None:
        """Learn how many shards there are, if that is not known."""
        if self._spread.fresh:
            return
        if theirs is not None:
            self._spread.learn(layout_seen_sync(theirs))
            return
        with self._pool.connection(Use.BRIEF) as own:
            try:
                with answering(own):
                    self._spread.learn(layout_seen_sync(own))
            except psycopg.Error as exc:
                raise fate.of(exc, committing=False) from None

    def enqueue_apart(self, spec: JobSpec, conn: Connection[Any] | None = None) -> Placed:
        """Enqueue a unique or ordered job; it may have to wait for who is just taking the key."""
        placed = self._slowly(lambda: self._apart(spec, theirs=conn is not None), conn)
        if conn is None and not placed.duplicate and not spec.options.waits:
            self._ring_soon(self._spread.of(spec.options))
        return placed

    def reserve(self, spec: JobSpec, expires_s: float, conn: Connection[Any] | None = None) -> Placed:
        """Reserve a job; it may have to wait for who is just taking its unique key."""
        return self._slowly(lambda: self._reservation(spec, expires_s, theirs=conn is not None), conn)

    def _slowly(self, asked: Callable[[], Asked[T]], conn: Connection[Any] | None) -> T:
        """Carry out what may have to wait; once more if the number of shards has changed."""
        if conn is not None:
            self._know_layout(conn)
            return _on_theirs(conn, asked())

        def attempt() -> T:
            self._know_layout()
            return self._on(Use.SLOW, asked())

        try:
            return self._in_time(attempt)
        except fate.ShardsChanged:
            self._spread.forget()
            return self._in_time(attempt)

    def _on(self, use: Use, asked: Asked[T]) -> T:
        """Carry out what is asked for on a connection of our own; errors say what became of the jobs."""
        with self._pool.connection(use) as own:
            try:
                with answering(own), as_ours_sync(own):
                    return carry_out_sync(own, asked)
            except psycopg.Error as exc:
                if exc.sqlstate == fate.READ_ONLY:
                    own.close()  # the next one may find the new primary
                raise fate.of(exc) from None

    def wake(self, *shards: int) -> None:
        """Wake the fleet for new jobs in these shards, if it can be reached."""
        with suppress(DatabaseUnreachable), self._pool.connection(Use.BRIEF) as own:
            _notify(own, shards)

    def enqueue_many(self, specs: Iterable[JobSpec], conn: Connection[Any] | None, progress: Progress | None) -> JobIds:
        """Stream jobs through COPY, all or none."""
        self._in_time(lambda: self._know_layout(conn))
        packer = self._packer(theirs=conn is not None)
        if conn is not None:
            ids = _on_theirs(conn, copying.put_jobs(specs, packer, progress=progress, ring=_may_ring_along))
            if not packer.rung:
                carry_out_sync(conn, upkeep.ring(packer.shards))
            return ids
        with ExitStack() as stack:
            own = self._in_time(lambda: stack.enter_context(self._pool.connection(Use.HELD)))
            stack.enter_context(answering(own))
            try:
                with as_ours_sync(own):
                    putting = copying.put_jobs(specs, packer, progress=progress, ring=_may_ring_along)
                    ids = carry_out_sync(own, putting)
            except psycopg.Error as exc:
                if packer.reading:  # it is not ours: the iterable raised it
                    raise
                raise fate.of(exc, committing=packer.whole) from None
            if not packer.rung:
                _notify(own, packer.shards)
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

    def _may_ring(self, shard: int) -> bool:
        """Tell whether nobody has woken the fleet just now, nor is to for other shards; the caller does then."""
        with self._lock:
            return not (sql.on_cluster() or self._unrung - {shard}) and self._is_due()

    def _is_due(self) -> bool:
        due = time.monotonic() - self._rung_at > NOTIFY_EVERY_S
        if due:
            self._rung_at, self._unrung = time.monotonic(), set()
        return due

    def _ring_soon(self, shard: int) -> None:
        """Have a thread wake the fleet in a moment, if no statement does so by itself."""
        with self._lock:
            self._unrung.add(shard)
            if self._ringer is not None:
                return
            self._ringer = threading.Thread(target=self._ring, name="fastq-notify")
        try:
            self._ringer.start()
        except RuntimeError:  # the interpreter is ending, and no thread can be started
            self.wake(shard)

    def _ring(self) -> None:
        """Wake the fleet for jobs whose statements did not, as long as there are some."""
        while True:
            time.sleep(NOTIFY_AT_LAST_S)
            with self._lock:
                if not (shards := self._unrung):
                    self._ringer = None
                    return
                due = self._is_due()
            if due:
                self.wake(*shards)


def _notify(conn: Connection[Any], shards: Iterable[int]) -> None:
    """Wake the fleet. The jobs are there already, whatever becomes of it."""
    with suppress(psycopg.Error), answering(conn):
        carry_out_sync(conn, upkeep.ring(shards))


def _on_theirs(conn: Connection[Any], asked: Asked[T]) -> T:
    """Carry out what is asked for on a caller's connection, as part of its transaction if it has one."""
    with in_utf8_sync(conn):
        return carry_out_sync(conn, asked)


def _may_ring_along() -> bool:
    """Tell whether jobs may ring by their own statement: on a cluster nobody hears a node's bell."""
    return not sql.on_cluster()
