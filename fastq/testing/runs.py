"""What ran in a test, and how it is written down: by a middleware around all others, and a hook for failures."""

from __future__ import annotations

import asyncio
import copy
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any

from fastq.app import App
from fastq.context import Context
from fastq.flow import Flow, Retry
from fastq.task import Task


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """One run of one job that has ended.

    Attributes:
        id, task, queue, attempt: as its context had them.
        result: what the handler returned.
        error: what it raised, or None.
        failed: whether that is an unwanted end: Snooze, Discard, and Retry with a run left, are wanted ones.

    """

    id: int
    task: str
    queue: str
    attempt: int
    result: Any = None
    error: BaseException | None = None
    failed: bool = False


@dataclass(slots=True)
class Runs:
    """What one `drain` ran, in the order in which the runs ended; `running` are jobs that have not, or were cut off."""

    ended: list[Run] = field(default_factory=list)
    running: dict[int, str] = field(default_factory=dict)
    changed: asyncio.Event = field(default_factory=asyncio.Event, repr=False)

    def __len__(self) -> int:
        return len(self.ended)

    @property
    def tasks(self) -> list[str]:
        """The names of the tasks that ran, one for each run."""
        return [run.task for run in self.ended]

    @property
    def failures(self) -> list[Run]:
        """The last runs of those jobs whose last run failed."""
        last = {run.id: run for run in self.ended}
        return [run for run in last.values() if run.failed]

    def of(self, task: Task[Any, Any]) -> list[Run]:
        """Return the runs of one task."""
        return [run for run in self.ended if run.task == task.name]

    def check(self) -> None:
        """Raise the errors of all failures, as an exception group."""
        errors = []
        for run in self.failures:
            assert run.error is not None
            run.error.add_note(f"in job {run.id} of {run.task}, attempt {run.attempt}")
            errors.append(run.error)
        if errors:
            raise BaseExceptionGroup(f"{len(errors)} job(s) failed", errors)

    def watching(self, app: App) -> App:
        """Return a copy of an app whose runs are noted here."""
        watched = copy.copy(app)
        watched.middlewares = [self._run, *app.middlewares]
        watched.failure_hooks = [self._failed, *app.failure_hooks]
        return watched

    async def _run(self, ctx: Context, call_next: Callable[[], Awaitable[Any]]) -> Any:
        """Note how a run ended; a middleware."""
        self.running[ctx.id] = ctx.task
        try:
            result = await call_next()
        except asyncio.CancelledError:
            raise  # cut off, it goes back into line; if it was the handler's own doing, the hook is called
        except BaseException as exc:
            self._note(ctx, error=None if ctx.completed else exc)
            raise
        self._note(ctx, result=result)
        return result

    async def _failed(self, ctx: Context, error: BaseException) -> None:
        """Note a failure outside the handler, of arguments that do not fit for example; a hook."""
        if not any(run.error is error for run in self.ended):
            self._note(ctx, error=error)

    def _note(self, ctx: Context, *, result: Any = None, error: BaseException | None = None) -> None:
        self.running.pop(ctx.id, None)
        last = isinstance(error, Retry) and not (ctx.retries_left or error.extra_retries)
        wanted = isinstance(error, Flow) and not last
        self.ended.append(
            Run(
                id=ctx.id,
                task=ctx.task,
                queue=ctx.queue,
                attempt=ctx.attempt,
                result=result,
                error=error,
                failed=error is not None and not wanted,
            )
        )
        self.changed.set()
