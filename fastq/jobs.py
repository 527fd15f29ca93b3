"""`app.jobs`: look at jobs, retry, cancel and delete them, one by its id or all that fit. What users call."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, TypeVar

from fastq.client import AsyncClient, SyncClient, Use, waiting
from fastq.errors import UsageError
from fastq.postgres.database import as_ours, as_ours_sync
from fastq.protocol import jobs, results
from fastq.protocol.asking import Request, carry_out, carry_out_sync
from fastq.protocol.jobs import Cancelled, Cancelling, JobFilter, JobInfo, states_of
from fastq.protocol.refusal import as_our_errors
from fastq.protocol.results import Outcomes
from fastq.states import JobState

__all__ = ["Cancelled", "Cancelling", "JobInfo", "JobState", "Jobs"]

LIMIT = 100
States = str | Iterable[str] | None
Found = list[JobInfo]
Results = list[Any]
T = TypeVar("T")


class Jobs:
    """The jobs of an open app. Each method has a synchronous twin, such as `get_sync`, for use from any thread.

    States are `fastq.states.JobState`, or their names: ready, running, scheduled, retrying, reserved, succeeded,
    failed, discarded, cancelled, expired. A job that succeeded is gone, unless its task keeps it.

    All methods raise `DatabaseUnreachable` when the connection cannot be had or breaks (whoever asked for a change
    looks again), `SchemaError` when the schema is missing or too old, `FastqError` for what else PostgreSQL refuses.

    Example:
        >>> async with app:
        ...     job = await welcome.enqueue(user_id=7)
        ...     found = await app.jobs.get(job.id)
        ...     if found is not None and found.state == "failed":
        ...         print(found.errors[-1]["message"])
        ...         await app.jobs.retry(job.id)

    """

    def __init__(self, client: Callable[[], AsyncClient], sync_client: Callable[[], SyncClient]) -> None:
        self._client = client
        self._sync_client = sync_client

    async def get(self, job: int) -> JobInfo | None:
        """Return a job in the state it is in at this moment; None when it is gone."""
        return await self._ask(jobs.find(job))

    async def list(
        self,
        *,
        state: States = None,
        queue: str | None = None,
        task: str | None = None,
        error: str | None = None,
        limit: int = LIMIT,
    ) -> Found:
        """Return at most `limit` jobs that fit: running, ready, waiting for a time, kept, in this order.

        Args:
            state: one state or several; any by default.
            queue: the queue's name.
            task: the task's full name.
            error: a text that occurs in the type, the message or the traceback of one of its errors.
            limit: how many at most.

        """
        return await self._ask(jobs.survey(_filter(state, queue, task, error), limit))

    async def retry(self, job: int) -> bool:
        """Put a job that failed, expired, was discarded or cancelled back into line, with all attempts and its errors.

        Returns False when it is not such a job (any more): of two calls at the same time one returns True.
        """
        return await self._ask(jobs.retry(job))

    async def retry_many(
        self,
        *,
        state: States = None,
        queue: str | None = None,
        task: str | None = None,
        error: str | None = None,
        limit: int | None = None,
        everything: bool = False,
    ) -> int:
        """Retry all failed, expired, discarded and cancelled jobs that fit, the oldest first; returns how many.

        Args:
            state, queue, task, error: as in `list`.
            limit: how many at most; first ten, then the rest.
            everything: has to be True where nothing else is given.

        """
        return await self._ask(jobs.retry_many(_filter(state, queue, task, error, everything=everything), limit))

    async def cancel(self, job: int) -> Cancelling | None:
        """Cancel a job.

        Returns:
            "cancelled": it waited, and is kept as cancelled now, or was so before. It will not run.
            "cancelling": it runs, or waits in a worker's memory; the worker is asked to end it.
            None: it ended otherwise, or is gone.

        """
        return await self._ask(jobs.cancel(job))

    async def cancel_many(
        self,
        *,
        state: States = None,
        queue: str | None = None,
        task: str | None = None,
        error: str | None = None,
        limit: int | None = None,
        everything: bool = False,
    ) -> Cancelled:
        """Cancel all jobs that fit and wait or run; returns how many of each. Arguments: `retry_many`."""
        return await self._ask(jobs.cancel_many(_filter(state, queue, task, error, everything=everything), limit))

    async def delete(self, job: int) -> bool:
        """Delete a job, with nothing kept of it; False when it is gone already.

        Raises:
            FastqError: it runs.

        """
        return await self._ask(jobs.delete(job))

    async def delete_many(
        self,
        *,
        state: States = None,
        queue: str | None = None,
        task: str | None = None,
        error: str | None = None,
        limit: int | None = None,
        everything: bool = False,
    ) -> int:
        """Delete all jobs that fit and do not run; returns how many. Arguments: `retry_many`."""
        return await self._ask(jobs.delete_many(_filter(state, queue, task, error, everything=everything), limit))

    async def edit(
        self,
        job: int,
        *,
        args: Mapping[str, Any] | None = None,
        queue: str | None = None,
        priority: int | None = None,
        run_at: datetime | None = None,
    ) -> bool:
        """Change a job that waits; False when it does not wait (any more).

        Args:
            job: its id.
            args: its arguments, all of them, by name.
            queue: another queue.
            priority: 0 (first) to 9 (last).
            run_at: when it runs, an aware datetime; one that is past is now.

        Raises:
            UsageError: a job cannot be like that, or nothing was given.
            FastqError: it stands in an ordered group, and keeps its queue and its priority.

        """
        return await self._ask(jobs.edit(job, args=args, queue=queue, priority=priority, run_at=run_at))

    async def edit_many(
        self,
        *,
        state: States = None,
        queue: str | None = None,
        task: str | None = None,
        error: str | None = None,
        to_queue: str | None = None,
        to_priority: int | None = None,
        now: bool = False,
        limit: int | None = None,
        everything: bool = False,
    ) -> int:
        """Change all jobs that fit and are ready or wait for a time; returns how many.

        Args:
            state, queue, task, error, everything: as in `retry_many`.
            to_queue: the queue that they are moved to.
            to_priority: their new priority.
            now: let those run now that wait for a time.
            limit: about how many at most: packets of jobs are changed as a whole.

        """
        wanted = _filter(state, queue, task, error, everything=everything)
        return await self._ask(jobs.edit_many(wanted, limit, to_queue=to_queue, to_priority=to_priority, now=now))

    async def result(self, job: int, timeout: float | None = None) -> Any:
        """Wait until a job has ended; return what its handler returned. Its task has to keep its jobs (``keep=…``).

        Raises:
            JobFailed: it failed for good, was discarded or cancelled, or expired.
            JobGone: it is not there: it was deleted, or has ended and is not kept.
            TimeoutError: it had not ended within `timeout` seconds.

        """
        return (await self._results([job], timeout))[job]

    async def results(
        self, jobs: Iterable[int], timeout: float | None = None, *, return_exceptions: bool = False
    ) -> Results:
        """Wait until jobs have ended; return what their handlers returned, in the order of `jobs`.

        One statement asks for all of them. With `return_exceptions` a job's JobFailed or JobGone stands in its place.

        Raises:
            JobFailed, JobGone: as of `result`, for the first job that is seen to have ended so.
            TimeoutError: they had not all ended within `timeout` seconds.

        """
        wanted = [*jobs]
        found = await self._results(wanted, timeout, return_exceptions=return_exceptions)
        return [found[job] for job in wanted]

    async def _results(
        self, wanted: Sequence[int], timeout: float | None, *, return_exceptions: bool = False
    ) -> Outcomes:
        asking = results.waiting(wanted, return_exceptions=return_exceptions)
        return await waiting.wait(asking, lambda asked: self._ask(asked, Use.BRIEF), timeout)

    # -- the synchronous twins

    def result_sync(self, job: int, timeout: float | None = None) -> Any:
        """As `result`."""
        return self._results_sync([job], timeout)[job]

    def results_sync(
        self, jobs: Iterable[int], timeout: float | None = None, *, return_exceptions: bool = False
    ) -> Results:
        """As `results`."""
        wanted = [*jobs]
        found = self._results_sync(wanted, timeout, return_exceptions=return_exceptions)
        return [found[job] for job in wanted]

    def _results_sync(
        self, wanted: Sequence[int], timeout: float | None, *, return_exceptions: bool = False
    ) -> Outcomes:
        asking = results.waiting(wanted, return_exceptions=return_exceptions)
        what = f"job {wanted[0]}" if len(wanted) == 1 else f"{len(wanted):,} jobs"
        return waiting.wait_sync(asking, lambda asked: self._ask_sync(asked, Use.BRIEF), timeout, what)

    def get_sync(self, job: int) -> JobInfo | None:
        """As `get`."""
        return self._ask_sync(jobs.find(job))

    def list_sync(
        self,
        *,
        state: States = None,
        queue: str | None = None,
        task: str | None = None,
        error: str | None = None,
        limit: int = LIMIT,
    ) -> Found:
        """As `list`."""
        return self._ask_sync(jobs.survey(_filter(state, queue, task, error), limit))

    def retry_sync(self, job: int) -> bool:
        """As `retry`."""
        return self._ask_sync(jobs.retry(job))

    def retry_many_sync(
        self,
        *,
        state: States = None,
        queue: str | None = None,
        task: str | None = None,
        error: str | None = None,
        limit: int | None = None,
        everything: bool = False,
    ) -> int:
        """As `retry_many`."""
        return self._ask_sync(jobs.retry_many(_filter(state, queue, task, error, everything=everything), limit))

    def cancel_sync(self, job: int) -> Cancelling | None:
        """As `cancel`."""
        return self._ask_sync(jobs.cancel(job))

    def cancel_many_sync(
        self,
        *,
        state: States = None,
        queue: str | None = None,
        task: str | None = None,
        error: str | None = None,
        limit: int | None = None,
        everything: bool = False,
    ) -> Cancelled:
        """As `cancel_many`."""
        return self._ask_sync(jobs.cancel_many(_filter(state, queue, task, error, everything=everything), limit))

    def edit_sync(
        self,
        job: int,
        *,
        args: Mapping[str, Any] | None = None,
        queue: str | None = None,
        priority: int | None = None,
        run_at: datetime | None = None,
    ) -> bool:
        """As `edit`."""
        return self._ask_sync(jobs.edit(job, args=args, queue=queue, priority=priority, run_at=run_at))

    def edit_many_sync(
        self,
        *,
        state: States = None,
        queue: str | None = None,
        task: str | None = None,
        error: str | None = None,
        to_queue: str | None = None,
        to_priority: int | None = None,
        now: bool = False,
        limit: int | None = None,
        everything: bool = False,
    ) -> int:
        """As `edit_many`."""
        wanted = _filter(state, queue, task, error, everything=everything)
        return self._ask_sync(jobs.edit_many(wanted, limit, to_queue=to_queue, to_priority=to_priority, now=now))

    def delete_sync(self, job: int) -> bool:
        """As `delete`."""
        return self._ask_sync(jobs.delete(job))

    def delete_many_sync(
        self,
        *,
        state: States = None,
        queue: str | None = None,
        task: str | None = None,
        error: str | None = None,
        limit: int | None = None,
        everything: bool = False,
    ) -> int:
        """As `delete_many`."""
        return self._ask_sync(jobs.delete_many(_filter(state, queue, task, error, everything=everything), limit))

    # -- asking

    async def _ask(self, request: Request[T], use: Use = Use.SLOW) -> T:
        async with self._client().connection(use) as conn:
            with as_our_errors():
                async with as_ours(conn):
                    return await carry_out(conn, request)

    def _ask_sync(self, request: Request[T], use: Use = Use.SLOW) -> T:
        with self._sync_client().connection(use) as conn, as_our_errors(), as_ours_sync(conn):
            return carry_out_sync(conn, request)


def _filter(
    state: States, queue: str | None, task: str | None, error: str | None, *, everything: bool = True
) -> JobFilter:
    wanted = JobFilter(states=states_of(state), queue=queue, task=task, error=error)
    if not wanted and not everything:
        raise UsageError("this is for all jobs there are: give state, queue, task or error, or everything=True")
    return wanted
