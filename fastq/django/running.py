"""How workers run a task of Django's: with its signals and its context, between two looks at Django's connections."""

from __future__ import annotations

import os
import platform
import traceback
from collections.abc import Callable
from datetime import UTC, datetime
from inspect import iscoroutinefunction
from typing import Any

from asgiref.sync import sync_to_async

from fastq.context import Context
from fastq.django import results
from fastq.django.compat import TaskResult, TaskResultStatus, normalize_json, task_finished, task_started
from fastq.django.databases import with_fresh_connections
from fastq.django.tasks import Task, TaskContext
from fastq.flow import Flow


def handler_of(task: Task, sender: type) -> Callable[..., Any]:
    """Return the function that workers call for the jobs of a task; `sender` is the sender of its signals."""
    if iscoroutinefunction(task.func):

        async def run_async(ctx: Context, args: list[Any] = [], kwargs: dict[str, Any] = {}) -> Any:  # noqa: B006
            run = _Run(ctx, task, args, kwargs, sender)
            await sync_to_async(run.started)()
            try:
                value = await task.func(*run.args, **kwargs)
                kept = normalize_json(value)
            except BaseException as exc:
                await sync_to_async(run.raised)(exc)
                raise
            await sync_to_async(run.succeeded)(kept)
            return results.kept_of(kept, run.worker)

        return with_fresh_connections(run_async)

    def run_sync(ctx: Context, args: list[Any] = [], kwargs: dict[str, Any] = {}) -> Any:  # noqa: B006
        run = _Run(ctx, task, args, kwargs, sender)
        run.started()
        try:
            kept = normalize_json(task.func(*run.args, **kwargs))
        except BaseException as exc:
            run.raised(exc)
            raise
        run.succeeded(kept)
        return results.kept_of(kept, run.worker)

    return with_fresh_connections(run_sync)


class _Run:
    """One run, and what Django hears of it. What a receiver raises is logged, and not the job's trouble."""

    def __init__(self, ctx: Context, task: Task, args: list[Any], kwargs: dict[str, Any], sender: type) -> None:
        self.worker = f"{platform.node()}:{os.getpid()}"
        self._ctx = ctx
        self._sender = sender
        self.result: TaskResult = results.running(ctx, task, args, kwargs, at=datetime.now(UTC), worker=self.worker)
        context = (TaskContext(task_result=self.result, job=ctx),) if task.takes_context else ()
        self.args = (*context, *args)

    def started(self) -> None:
        """Tell that it begins."""
        task_started.send_robust(sender=self._sender, task_result=self.result)

    def succeeded(self, value: Any) -> None:
        """Tell that it went well."""
        object.__setattr__(self.result, "_return_value", value)
        self._finished(TaskResultStatus.SUCCESSFUL)

    def raised(self, error: BaseException) -> None:
        """Tell that the task has failed, unless it will be tried again."""
        if isinstance(error, Flow) or self._ctx.retries_left > 0 or self._ctx.cancelled:
            return
        self.result.errors.append(results.failed(error, "".join(traceback.format_exception(error))))
        self._finished(TaskResultStatus.FAILED)

    def _finished(self, status: TaskResultStatus) -> None:
        object.__setattr__(self.result, "finished_at", datetime.now(UTC))
        object.__setattr__(self.result, "status", status)
        task_finished.send_robust(sender=self._sender, task_result=self.result)
