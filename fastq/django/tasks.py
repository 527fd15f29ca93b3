"""Django's tasks with fastq's options, and what they are to fastq."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from datetime import timedelta
from typing import Any

from fastq.backoff import Backoff
from fastq.config import DEFAULT_PRIORITY
from fastq.context import Context
from fastq.django import compat
from fastq.job import Options

_OURS = ("retries", "backoff", "timeout", "unique_key", "group_key", "expires")


@dataclass(frozen=True, slots=True, kw_only=True)
class Task(compat.Task):
    """A task of Django's with fastq's options, given to `@task(…)` or to `using(…)`.

    Attributes:
        retries: how often it is tried again; by default as often as the backend's option RETRIES says.
        backoff: how long it waits before; for `@task(…)` only.
        timeout: seconds after which a run is cancelled.
        unique_key: of the jobs with the same one, only one is enqueued at a time.
        group_key: the group, such as a tenant, for fairness and limits.
        expires: seconds after which it is not begun any more.

    """

    retries: int | None = None
    backoff: Backoff | timedelta | float | None = None
    timeout: float | None = None
    unique_key: str | None = None
    group_key: str = ""
    expires: float | None = None

    def using(self, **changes: Any) -> Task:
        """Return this task with some of its options replaced: Django's, and fastq's."""
        if unknown := changes.keys() - {field.name for field in fields(self)} | changes.keys() & {"func"}:
            raise TypeError(f"using() takes Django's options and {', '.join(_OURS)}, not {', '.join(sorted(unknown))}")
        return replace(self, **{name: value for name, value in changes.items() if value is not None})

    def enqueue_many(self, calls: Any) -> list[Any]:
        """Enqueue the task once for each mapping of arguments, all or none; returns their results."""
        return self.get_backend().enqueue_many(self, calls)

    def options(self) -> Options:
        """Return what it is to fastq."""
        return Options(
            queue=self.queue_name,
            priority=priority_of(self.priority),
            run_at=self.run_after,
            group_key=self.group_key,
            unique_key=self.unique_key,
            retries=self.retries,
            timeout_s=self.timeout,
            expires_s=self.expires,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskContext(compat.TaskContext):
    """What a task gets that takes a context: Django's, and `job`, the `fastq.Context` of this run."""

    job: Context


def priority_of(priority: int) -> int:
    """Return fastq's priority, 0 (first) to 9, for one of Django's, -100 to 100 (first)."""
    if priority > 0:
        return DEFAULT_PRIORITY - max(1, round(priority * DEFAULT_PRIORITY / 100))
    if priority < 0:
        return DEFAULT_PRIORITY + max(1, round(-priority * (9 - DEFAULT_PRIORITY) / 100))
    return DEFAULT_PRIORITY
