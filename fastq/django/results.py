"""What Django is told of a job: its TaskResult."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

from fastq.context import Context
from fastq.django.compat import TaskError, TaskResult, TaskResultStatus
from fastq.django.tasks import Task
from fastq.job import at_ms
from fastq.protocol.jobs import JobInfo
from fastq.states import JobState

_STATUS = {
    JobState.RUNNING: TaskResultStatus.RUNNING,
    JobState.SUCCEEDED: TaskResultStatus.SUCCESSFUL,
    JobState.FAILED: TaskResultStatus.FAILED,
    JobState.DISCARDED: TaskResultStatus.FAILED,
    JobState.CANCELLED: TaskResultStatus.FAILED,
    JobState.EXPIRED: TaskResultStatus.FAILED,
}
"""What waits, for whatever reason, is ready to Django."""


def arguments_of(args: Any, kwargs: Any) -> dict[str, Any]:
    """Return the payload of a job from the arguments of a call; those that are empty are left out."""
    return {name: value for name, value in (("args", args), ("kwargs", kwargs)) if value}


def kept_of(value: Any, worker: str) -> dict[str, Any]:
    """Return what is kept of a run that succeeded."""
    return {"value": value, "worker": worker}


def result_of(job: JobInfo, task: Task) -> TaskResult:
    """Return a job as Django's result of `task`."""
    status = _STATUS.get(JobState(job.state), TaskResultStatus.READY)
    kept = job.result if isinstance(job.result, dict) else {}
    workers = [*_workers(job), kept.get("worker") or ""] if status == TaskResultStatus.SUCCESSFUL else [*_workers(job)]
    if status == TaskResultStatus.RUNNING and job.worker is not None:
        workers.append(str(job.worker))
    first, last = _times(job)
    result = TaskResult(
        task=task,
        id=str(job.id),
        status=status,
        enqueued_at=job.enqueued_at,
        started_at=first,
        finished_at=job.finished_at if status in (TaskResultStatus.SUCCESSFUL, TaskResultStatus.FAILED) else None,
        last_attempted_at=last,
        args=job.args.get("args", []),
        kwargs=job.args.get("kwargs", {}),
        backend=task.backend,
        errors=[_error(record) for record in job.errors],
        worker_ids=workers,
    )
    object.__setattr__(result, "_return_value", kept.get("value"))
    return result


def to_come(job: int, task: Task, arguments: dict[str, Any]) -> TaskResult:
    """Return the result of a job that was enqueued just now, and not looked at."""
    at = datetime.now(UTC)
    found = JobInfo(
        id=job, task=task.module_path, queue="", state=JobState.READY, attempt=0, args=arguments, enqueued_at=at
    )
    return result_of(found, task)


def running(
    ctx: Context, task: Task, args: list[Any], kwargs: dict[str, Any], *, at: datetime, worker: str
) -> TaskResult:
    """Return the result of a job whose run begins now, in this process."""
    return TaskResult(
        task=task,
        id=str(ctx.id),
        status=TaskResultStatus.RUNNING,
        enqueued_at=at_ms(ctx.enqueued_ms),
        started_at=at,
        finished_at=None,
        last_attempted_at=at,
        args=args,
        kwargs=kwargs,
        backend=task.backend,
        errors=[_error(record) for record in ctx.errors],
        worker_ids=[*(str(record.get("worker", "")) for record in ctx.errors), worker],
    )


def failed(error: BaseException, text: str) -> TaskError:
    """Return what Django keeps of an error."""
    return TaskError(exception_class_path=f"{type(error).__module__}.{type(error).__qualname__}", traceback=text)


def _workers(job: JobInfo) -> Iterator[str]:
    for record in job.errors:
        yield str(record.get("worker", ""))


def _error(record: dict[str, Any]) -> TaskError:
    path = f"{record.get('module') or 'builtins'}.{record.get('type') or 'Exception'}"
    return TaskError(exception_class_path=path, traceback=record.get("traceback") or record.get("message") or "")


def _times(job: JobInfo) -> tuple[datetime | None, datetime | None]:
    """Return when the first run and the last one started; of runs that failed, when they ended is known."""
    ends = [at for record in job.errors if (at := _at(record)) is not None]
    last = job.started_at or job.claimed_at or (ends[-1] if ends else None)
    first = ends[0] if len(ends) > 1 or (ends and job.started_at is None) else last
    return _not_before(job, first), _not_before(job, last)


def _at(record: dict[str, Any]) -> datetime | None:
    """Return when a run failed, if its record says so in a way that can be read: anybody may have written it."""
    try:
        at = datetime.fromisoformat(record["at"])
    except (KeyError, TypeError, ValueError):
        return None
    return at if at.tzinfo is not None else at.replace(tzinfo=UTC)


def _not_before(job: JobInfo, at: datetime | None) -> datetime | None:
    """Return a time that another host's clock may have taken before the job was enqueued by the database's."""
    return at if at is None or job.enqueued_at is None else max(at, job.enqueued_at)
