"""The backend of Django's tasks: they are jobs of fastq, in the database that Django uses anyway."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import timedelta
from functools import partial
from typing import Any, TypeVar

from django.core import checks
from django.core.exceptions import ImproperlyConfigured
from django.db import DEFAULT_DB_ALIAS, connections, transaction
from django.utils.module_loading import autodiscover_modules

import fastq
from fastq.backoff import Exponential, as_backoff
from fastq.django import running
from fastq.django.compat import BaseTaskBackend, TaskResult, TaskResultDoesNotExist, normalize_json, task_enqueued
from fastq.django.jobs import App, app_in
from fastq.django.results import arguments_of, result_of, to_come
from fastq.django.tasks import Task
from fastq.ends.outcome import RetryPolicy
from fastq.job import JobSpec
from fastq.postgres.connections import in_utf8_sync, inside
from fastq.protocol import jobs
from fastq.protocol.asking import Request, carry_out_sync
from fastq.protocol.jobs import JobInfo
from fastq.states import JobState
from fastq.task import Timeouts

T = TypeVar("T")

KEEP_S = 7 * 86400.0
"""So long a task that succeeded is kept with its result, unless the option KEEP says otherwise."""

_WAYS = ("in_transaction", "on_commit", "at_once")
_OPTIONS = {"DATABASE", "ENQUEUE", "KEEP", "RETRIES"}
_RESERVED_S = 86400.0
"""So long a task waits for the commit of a transaction in another database."""


class Backend(BaseTaskBackend):
    """Django's tasks as jobs.

    Its OPTIONS:
        DATABASE: the alias of the database with fastq's schema, "default" by default.
        ENQUEUE: "in_transaction", the default: a task is part of the transaction that is open in that database, and
            there if it commits; "on_commit": it may run once the open transaction of the default database has
            committed, for jobs that are in another; "at_once": it is there at once, whatever becomes of it.
        KEEP: for how many seconds a task that succeeded is kept with its result; seven days by default.
        RETRIES: how often a task that raises is tried again, unless `@task(retries=…)` says; 0 by default.

    """

    task_class = Task
    supports_defer = True
    supports_async_task = True
    supports_get_result = True
    supports_priority = True

    def __init__(self, alias: str, params: dict[str, Any]) -> None:
        super().__init__(alias, params)
        if unknown := self.options.keys() - _OPTIONS:
            raise ImproperlyConfigured(f"TASKS[{alias!r}] has unknown OPTIONS {sorted(unknown)}: {sorted(_OPTIONS)}")
        self.database: str = self.options.get("DATABASE", DEFAULT_DB_ALIAS)
        self.way: str = self.options.get("ENQUEUE", "in_transaction")
        if self.way not in _WAYS:
            raise ImproperlyConfigured(f"TASKS[{alias!r}]: ENQUEUE is one of {', '.join(_WAYS)}, not {self.way!r}")

    @property
    def app(self) -> App:
        """The app that the jobs belong to."""
        return app_in(self.database)

    # -- tasks

    def validate_task(self, task: Task) -> None:
        """Refuse what cannot be a task, and let workers know what is one."""
        super().validate_task(task)
        if isinstance(task, Task):
            task.options()
            known = self.app.tasks.get(task.module_path)
            if not isinstance(known, _Known) or known.of_django.func is not task.func:
                self.app.tasks[task.module_path] = self._known(task)

    def _known(self, task: Task) -> _Known:
        """Return what workers run for the jobs of a task."""
        retries = self.options.get("RETRIES", 0) if task.retries is None else task.retries
        policy = RetryPolicy(
            retries=retries,
            backoff=Exponential() if task.backoff is None else as_backoff(task.backoff),
            keep_s=self._keep_s(),
        )
        return _Known(
            self.app,
            running.handler_of(task, type(self)),
            name=task.module_path,
            options=task.options(),
            policy=policy,
            timeouts=Timeouts(soft_s=task.timeout),
            of_django=task,
        )

    def _keep_s(self) -> float:
        keep = self.options.get("KEEP", KEEP_S)
        return keep.total_seconds() if isinstance(keep, timedelta) else float(keep)

    # -- enqueue

    def enqueue(self, task: Task, args: Any, kwargs: Any) -> TaskResult:
        """Enqueue a task; returns its result, which is still to come."""
        self.validate_task(task)
        ref = self._put([_spec(task, args, kwargs)])[0]
        result = result_of(self._found(ref), task)
        task_enqueued.send(sender=type(self), task_result=result)
        return result

    def enqueue_many(self, task: Task, calls: Iterable[Mapping[str, Any]]) -> list[TaskResult]:
        """Enqueue a task once for each mapping of arguments by name, all or none; returns their results."""
        self.validate_task(task)
        specs = [_spec(task, (), dict(call)) for call in calls]
        ids = self._put(specs)
        found = [to_come(job, task, spec.args) for job, spec in zip(ids, specs, strict=True)]
        for result in found:
            task_enqueued.send(sender=type(self), task_result=result)
        return found

    def _put(self, specs: list[JobSpec]) -> Sequence[int]:
        """Enqueue jobs as ENQUEUE says; returns their ids."""
        if self.way == "on_commit" and connections[DEFAULT_DB_ALIAS].in_atomic_block:
            refs = [self.app.reserve_sync(spec, expires=_RESERVED_S) for spec in specs]
            for ref in refs:
                transaction.on_commit(partial(self.app.commit_sync, ref))
            return [ref.id for ref in refs]
        if self.way == "at_once":
            return self.app.enqueue_at_once(specs)
        if len(specs) == 1:
            return [self.app.enqueue_sync(specs[0]).id]
        return self.app.enqueue_many_sync(specs)

    def _found(self, job: int) -> JobInfo:
        """Return a job that was just enqueued; where it ran meanwhile and is gone, as good as it was."""
        return self._ask(jobs.find(job)) or JobInfo(id=job, task="", queue="", state=JobState.READY, attempt=0, args={})

    def _ask(self, request: Request[T]) -> T:
        """Ask on Django's connection, which sees what its transaction has written."""
        conn = inside(connections[self.database])
        with in_utf8_sync(conn):
            return carry_out_sync(conn, request)

    # -- results

    def get_result(self, result_id: str) -> TaskResult:
        """Return the result of a task by its id.

        Raises:
            TaskResultDoesNotExist: there is none, or it is kept no longer.

        """
        number = int(result_id) if str(result_id).isdecimal() else 0
        job = self._ask(jobs.find(number)) if 0 < number < 2**63 else None
        task = None if job is None else self._task(job.task)
        if job is None or task is None:
            raise TaskResultDoesNotExist(result_id)
        return result_of(job, task)

    def _task(self, name: str) -> Task | None:
        """Return the task of a job, whose module may not have been imported here yet; a row imports nothing else."""
        if name not in self.app.tasks:
            autodiscover_modules("tasks")
        known = self.app.tasks.get(name)
        return known.of_django if isinstance(known, _Known) else None

    def check(self, **kwargs: Any) -> list[checks.CheckMessage]:
        """Say what is wrong with the settings."""
        from fastq.django.checks import check_backend

        return check_backend(self)


class _Known(fastq.Task[Any, Any]):
    """A task of Django's, as workers know it."""

    def __init__(self, app: App, fn: Callable[..., Any], *, of_django: Task, **options: Any) -> None:
        super().__init__(app, fn, **options)
        self.of_django = of_django
        self.__doc__ = of_django.func.__doc__


def _spec(task: Task, args: Any, kwargs: Any) -> JobSpec:
    return JobSpec(
        task.module_path, arguments_of(normalize_json(list(args)), normalize_json(dict(kwargs))), task.options()
    )
