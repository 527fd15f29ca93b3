"""`app.schedules`: the schedules that the app declares, and what can be done with all that the database has."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import Literal, TypeVar

from fastq import codec
from fastq.client import AsyncClient, SyncClient, Use
from fastq.cron import Schedule, Timing, catch_up_of
from fastq.errors import UsageError
from fastq.job import JobSpec, Options, check_name
from fastq.postgres.database import as_ours, as_ours_sync
from fastq.protocol import schedules
from fastq.protocol.asking import Asked, carry_out, carry_out_sync
from fastq.protocol.refusal import as_our_errors
from fastq.protocol.schedules import ScheduleRow

__all__ = ["ScheduleRow", "Schedules"]

T = TypeVar("T")
Rows = list[ScheduleRow]
Policy = Literal["skip", "one", "all"]


class Schedules(Mapping[str, Schedule]):
    """The schedules that an app declares by `@app.cron`, by name; and methods for all that stand in its database.

    Each method has a synchronous twin, such as `set_sync`. They raise what those of `app.jobs` raise.

    Example:
        >>> async with app:
        ...     await app.schedules.set("report-42", "0 7 * * MON", report.job(customer=42), tz="Europe/Athens")
        ...     await app.schedules.pause("report-42")

    """

    def __init__(
        self,
        declared: Mapping[str, Schedule],
        client: Callable[[], AsyncClient],
        sync_client: Callable[[], SyncClient],
    ) -> None:
        self._declared = declared
        self._client = client
        self._sync_client = sync_client

    def __getitem__(self, name: str) -> Schedule:
        return self._declared[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._declared)

    def __len__(self) -> int:
        return len(self._declared)

    async def set(
        self, name: str, expression: str, job: JobSpec, *, tz: str = "UTC", catch_up: Policy = "skip"
    ) -> datetime:
        """Make a schedule, or change one that was made so: it lives in the database until somebody removes it.

        Args:
            name: its name, unique in the database.
            expression: when, as in `App.cron`.
            job: what is enqueued: ``task.job(…)``, or ``task.options(queue=…, priority=…).job(…)``.
            tz: the time zone that the expression is read in.
            catch_up: what becomes of missed occurrences, as in `App.cron`.

        Returns:
            Its next occurrence.

        Raises:
            UsageError: the name, the expression, the zone or an option cannot be.
            FastqError: workers declare a schedule of that name.

        """
        return await self._ask(schedules.put(_schedule(name, expression, job, tz, catch_up)))

    async def list(self) -> Rows:
        """Return all schedules that the database has, by name."""
        return await self._ask(schedules.list_schedules())

    async def pause(self, name: str) -> bool:
        """Let a schedule enqueue nothing until it is resumed; False if it was paused already.

        Raises:
            UsageError: there is none of that name.

        """
        return await self._ask(schedules.pause(name))

    async def resume(self, name: str) -> datetime | None:
        """Let a schedule go on with its first occurrence from now, and return that; None if it was not paused.

        Raises:
            UsageError: there is none of that name.

        """
        return await self._ask(schedules.resume(name))

    async def run(self, name: str) -> int:
        """Enqueue a job of a schedule now, beside its occurrences; returns the job's id.

        Raises:
            UsageError: there is none of that name.

        """
        return await self._ask(schedules.run(name))

    async def remove(self, name: str) -> None:
        """Delete a schedule that no worker declares.

        Raises:
            UsageError: there is none of that name, or workers declare it.

        """
        await self._ask(schedules.remove(name))

    # -- the synchronous twins

    def set_sync(
        self, name: str, expression: str, job: JobSpec, *, tz: str = "UTC", catch_up: Policy = "skip"
    ) -> datetime:
        """As `set`."""
        return self._ask_sync(schedules.put(_schedule(name, expression, job, tz, catch_up)))

    def list_sync(self) -> Rows:
        """As `list`."""
        return self._ask_sync(schedules.list_schedules())

    def pause_sync(self, name: str) -> bool:
        """As `pause`."""
        return self._ask_sync(schedules.pause(name))

    def resume_sync(self, name: str) -> datetime | None:
        """As `resume`."""
        return self._ask_sync(schedules.resume(name))

    def run_sync(self, name: str) -> int:
        """As `run`."""
        return self._ask_sync(schedules.run(name))

    def remove_sync(self, name: str) -> None:
        """As `remove`."""
        self._ask_sync(schedules.remove(name))

    # -- asking

    async def _ask(self, asked: Asked[T]) -> T:
        async with self._client().connection(Use.SLOW) as conn:
            with as_our_errors():
                async with as_ours(conn):
                    return await carry_out(conn, asked)

    def _ask_sync(self, asked: Asked[T]) -> T:
        with self._sync_client().connection(Use.SLOW) as conn, as_our_errors(), as_ours_sync(conn):
            return carry_out_sync(conn, asked)


def _schedule(name: str, expression: str, job: JobSpec, tz: str, catch_up: str) -> Schedule:
    if not isinstance(job, JobSpec):
        raise UsageError(f"a schedule enqueues a job: give task.job(…), not {job!r:.80}")
    options = job.options
    if options != Options(queue=options.queue, priority=options.priority):
        raise UsageError("the jobs of a schedule have a queue and a priority; no other option can be given")
    return Schedule(
        name=check_name("a schedule's name", name),
        timing=Timing(expression=expression, tz=tz),
        task=job.task,
        queue=options.queue,
        priority=options.priority,
        catch_up=catch_up_of(catch_up),
        args=codec.loads(codec.dumps(job.args)),
    )
