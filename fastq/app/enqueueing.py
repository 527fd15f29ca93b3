"""The ways to enqueue: one job or a stream, at once or in two phases, asynchronously or not."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from datetime import timedelta
from typing import TypeVar

from fastq.app.connected import Connected
from fastq.app.durations import positive_s
from fastq.client import Use
from fastq.config import DELAY_MOST_S
from fastq.errors import ReservationGone, UsageError
from fastq.job import JobRef, JobSpec, check_spec
from fastq.job_ids import JobIds
from fastq.postgres import database
from fastq.postgres.connections import AnyAsyncConnection, AnyConnection, in_utf8, in_utf8_sync, inside, inside_async
from fastq.protocol import reserve
from fastq.protocol.asking import Request, carry_out, carry_out_sync
from fastq.protocol.enqueue import payload
from fastq.protocol.refusal import as_our_errors
from fastq.task import RESERVED_S

T = TypeVar("T")


class Enqueueing(Connected):
    """What an app offers to producers."""

    def encode(self, spec: JobSpec) -> bytes:
        """Return a job's arguments as JSON.

        Raises:
            ArgumentError, PayloadTooLarge: they cannot be written, or are too large.

        """
        return payload(spec, self.payload_limit_bytes)

    def _ref(self, spec: JobSpec, job: int, duplicate: bool = False) -> JobRef:  # noqa: ARG002 - for those who know it
        return JobRef(job, duplicate)

    # -- enqueue

    async def enqueue(self, spec: JobSpec, *, conn: AnyAsyncConnection | None = None) -> JobRef:
        """Enqueue one job.

        Without `conn`, concurrent calls are gathered into one statement and one commit, and each returns after that
        commit. With `conn`, the job is part of that connection's transaction: visible with it, rolled back with it. It
        may be psycopg's, asyncpg's, SQLAlchemy's AsyncConnection or AsyncSession over either; in synchronous calls
        psycopg's, SQLAlchemy's Connection or Session over it, or Django's.

        A job whose unique key another one holds is not enqueued: the answer has `duplicate` set and the holder's id. A
        key that an open transaction is just taking is waited for, 20 seconds at most without `conn`.

        Raises:
            PayloadTooLarge, ArgumentError: nothing was enqueued; a transaction of yours is still usable.
            DatabaseUnreachable: no connection could be had, or the server takes no writes now; nothing was enqueued.
            SchemaError, FastqError: PostgreSQL refused the job; nothing was enqueued.
            EnqueueOutcomeUnknown: the connection broke before the commit was answered; the job may or may not be there.
            psycopg.Error: only with `conn`: what PostgreSQL said, and your transaction is what it is after any error;
                with asyncpg its own errors.

        A caller that is cancelled while it waits may have enqueued its job or not.

        """
        check_spec(spec)
        own = None if conn is None else await inside_async(conn)
        if spec.options.apart:
            return self._ref(spec, *await self.client.enqueue_apart(spec, own))
        if own is not None:
            return self._ref(spec, await self.client.enqueue_in(own, spec))
        return self._ref(spec, await self.client.enqueue(spec))

    async def enqueue_many(
        self,
        specs: Iterable[JobSpec],
        *,
        conn: AnyAsyncConnection | None = None,
        progress: Callable[[int], None] | None = None,
    ) -> JobIds:
        """Enqueue any number of jobs, of any tasks and queues, all or none; a generator is streamed, memory stays flat.

        Args:
            specs: what ``task.job(…)`` returns, in the order in which they shall stand in line.
            conn: a connection whose transaction they shall be part of.
            progress: called with the number sent so far, about every thousand jobs.

        Returns:
            The ids, in order; for jobs whose unique key is held the holder's, and `duplicates` says which they are.

        Raises:
            As `enqueue`; and whatever the iterable raises: nothing was enqueued then. With `enqueue_retry_s` only the
            connection is waited for: what has been read from the iterable cannot be read again.

        """
        _check_iterable(specs)
        own = None if conn is None else await inside_async(conn)
        return await self.client.enqueue_many(specs, own, progress)

    # -- two-phase

    async def reserve(
        self, spec: JobSpec, *, expires: float | timedelta = RESERVED_S, conn: AnyAsyncConnection | None = None
    ) -> JobRef:
        """Enqueue a job that does not run before `commit`; without that it is deleted after `expires` seconds.

        A delay of the job counts from the commit. As to its unique key, `conn`, and what is raised, see `enqueue`.

        Example:
            ``ref = await app.reserve(charge.job(order=7), expires=60)``, and after the bank has answered
            ``await app.commit(ref)``

        """
        check_spec(spec)
        own = None if conn is None else await inside_async(conn)
        return self._ref(spec, *await self.client.reserve(spec, _reserved_s(expires), own))

    async def commit(self, job: JobRef | int, *, conn: AnyAsyncConnection | None = None) -> bool:
        """Let a reserved job run. May be repeated: False says that it was committed before.

        False also where `reserve` said that another job holds the key: there is nothing to commit then.

        Raises:
            ReservationGone: it expired, or was abandoned or deleted; a transaction of yours is still usable.
            DatabaseUnreachable: it may be committed or not: commit it again.

        """
        if isinstance(job, JobRef) and job.duplicate:
            return False
        return _committed(job, await self._carry_out(reserve.commit(_id_of(job)), conn))

    async def abandon(self, job: JobRef | int, *, conn: AnyAsyncConnection | None = None) -> bool:
        """Delete a reserved job; False when there is none: it was committed, had expired, or was abandoned."""
        if isinstance(job, JobRef) and job.duplicate:
            return False
        return await self._carry_out(reserve.abandon(_id_of(job)), conn)

    async def _carry_out(self, request: Request[T], conn: AnyAsyncConnection | None) -> T:
        if conn is not None:
            theirs = await inside_async(conn)
            async with in_utf8(theirs):
                return await carry_out(theirs, request)
        async with self.client.connection(Use.SLOW) as own:
            with as_our_errors(), database.answering(own):
                async with database.as_ours(own):
                    return await carry_out(own, request)

    def reserve_sync(
        self, spec: JobSpec, *, expires: float | timedelta = RESERVED_S, conn: AnyConnection | None = None
    ) -> JobRef:
        """As `reserve`, from synchronous code and any thread."""
        own = None if conn is None else inside(conn)
        check_spec(spec)
        return self._ref(spec, *self.sync_client.reserve(spec, _reserved_s(expires), own))

    def commit_sync(self, job: JobRef | int, *, conn: AnyConnection | None = None) -> bool:
        """As `commit`, from synchronous code and any thread."""
        if isinstance(job, JobRef) and job.duplicate:
            return False
        return _committed(job, self._carry_out_sync(reserve.commit(_id_of(job)), conn))

    def abandon_sync(self, job: JobRef | int, *, conn: AnyConnection | None = None) -> bool:
        """As `abandon`, from synchronous code and any thread."""
        if isinstance(job, JobRef) and job.duplicate:
            return False
        return self._carry_out_sync(reserve.abandon(_id_of(job)), conn)

    def _carry_out_sync(self, request: Request[T], conn: AnyConnection | None) -> T:
        if conn is not None:
            theirs = inside(conn)
            with in_utf8_sync(theirs):
                return carry_out_sync(theirs, request)
        with (
            self.sync_client.connection(Use.SLOW) as own,
            as_our_errors(),
            database.answering(own),
            database.as_ours_sync(own),
        ):
            return carry_out_sync(own, request)

    # -- enqueue, from synchronous code

    def enqueue_sync(self, spec: JobSpec, *, conn: AnyConnection | None = None) -> JobRef:
        """As `enqueue`, from synchronous code and any thread."""
        check_spec(spec)
        own = None if conn is None else inside(conn)
        if spec.options.apart:
            return self._ref(spec, *self.sync_client.enqueue_apart(spec, own))
        return self._ref(spec, self.sync_client.enqueue(spec, own))

    def enqueue_many_sync(
        self,
        specs: Iterable[JobSpec],
        *,
        conn: AnyConnection | None = None,
        progress: Callable[[int], None] | None = None,
    ) -> JobIds:
        """As `enqueue_many`, from synchronous code and any thread."""
        _check_iterable(specs)
        own = None if conn is None else inside(conn)
        return self.sync_client.enqueue_many(specs, own, progress)


def _check_iterable(specs: object) -> None:
    if not isinstance(specs, Iterable):
        raise UsageError(f"enqueue_many takes jobs, such as a list of task.job(…), not {specs!r:.80}")


def _reserved_s(expires: float | timedelta) -> float:
    seconds = positive_s("expires", expires)
    if seconds is None or seconds > DELAY_MOST_S:
        raise UsageError(f"expires must be seconds greater than 0, at most 100 years, not {expires!r}")
    return seconds


def _id_of(job: JobRef | int) -> int:
    number = job.id if isinstance(job, JobRef) else job
    if not isinstance(number, int) or not 0 < number < 2**63:
        raise UsageError(f"a reservation is a JobRef or its id, not {job!r:.40}")
    return number


def _committed(job: JobRef | int, answer: reserve.Answer) -> bool:
    if answer == "gone":
        raise ReservationGone(
            f"reservation {_id_of(job)} is gone: it expired, or was abandoned or deleted; its job is not enqueued"
        )
    return answer == "committed"
