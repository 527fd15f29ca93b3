"""Which run a log line was written in: the job, as every record made inside a handler can tell it.

A shard sets its context variable once, to a function that looks up what it is running: a job costs nothing. What a
handler starts and may outlive it, tasks and threads, keeps the run that it was started in.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from contextvars import ContextVar, copy_context
from dataclasses import dataclass
from typing import Any, TypeVar

T = TypeVar("T")
NAMES = ("job_id", "task", "queue", "attempt")


@dataclass(frozen=True, slots=True, kw_only=True)
class CurrentRun:
    """One run of a job; or one call of a batch handler, with the first of its `jobs`."""

    job_id: int
    task: str
    queue: str
    attempt: int
    jobs: int = 1

    @property
    def fields(self) -> dict[str, int | str]:
        """What a log line tells of it, by name."""
        fields: dict[str, int | str] = {
            "job_id": self.job_id,
            "task": self.task,
            "queue": self.queue,
            "attempt": self.attempt,
        }
        return fields if self.jobs == 1 else {**fields, "jobs": self.jobs}


Look = Callable[[], CurrentRun | None]

_look: ContextVar[Look] = ContextVar("fastq_run", default=lambda: None)


def current() -> CurrentRun | None:
    """Return the run that this code belongs to; None outside of any."""
    return _look.get()()


def enter(look: Look) -> None:
    """Let `look` tell which run the present context belongs to, from now on."""
    _look.set(look)


def kept(work: Callable[[], T]) -> Callable[[], T]:
    """Return `work`, to be called in a context of its own, which will belong to the present run for good."""
    run = current()

    def call() -> T:
        _look.set(lambda: run)
        return work()

    return call


def task_factory(loop: asyncio.AbstractEventLoop, coro: Any, **options: Any) -> asyncio.Task[Any]:
    """Make a task as a loop does without a factory; one that a handler starts belongs to the handler's run for good."""
    if options.get("context") is None and (run := current()) is not None:
        options["context"] = copy_context()
        options["context"].run(_look.set, lambda: run)
    return asyncio.Task(coro, loop=loop, **options)


class LogFields(logging.Filter):
    """Gives every record the run that it was made in: `job_id`, `task`, `queue`, `attempt`; None outside of any.

    fastq's own log lines have them without it. It is for handlers of yours:

        handler.addFilter(fastq.LogFields())
        handler.setFormatter(logging.Formatter("%(message)s [job %(job_id)s of %(task)s]"))
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Let every record pass. What its `extra=` says already stays."""
        run = current()
        for name in NAMES:
            record.__dict__.setdefault(name, getattr(run, name, None))
        return True
