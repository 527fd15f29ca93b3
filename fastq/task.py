"""A task: a function with a name and options, and the typed ways to make jobs of it."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Generic, ParamSpec, TypeVar, cast

from fastq.arguments import Arguments, BatchArguments
from fastq.ends.outcome import RetryPolicy
from fastq.errors import UsageError
from fastq.job import JobRef, JobSpec, Next, Options
from fastq.producer import Producer

P = ParamSpec("P")
R = TypeVar("R")


RESERVED_S = 60.0
"""So long a reserved job waits for its commit, unless the call says otherwise."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeouts:
    """How long a run may take, in seconds; None is for ever.

    `soft_s` cancels a coroutine and counts as a failed attempt; a function in a thread cannot be cancelled and runs to
    its end. `hard_s` kills the worker process, whatever the handler does, and counts as a crash.
    """

    soft_s: float | None = None
    hard_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Batching:
    """How many jobs a batch handler gets at most, and for how many seconds its queue rests after a smaller batch."""

    size: int
    wait_s: float = 0.0


class _Makes(Generic[P]):
    """The typed ways to make jobs: of a task with its own options, or with some of them replaced."""

    app: Producer
    name: str
    arguments: Arguments
    defaults: Options
    """The options of the jobs."""

    def job(self, *args: P.args, **kwargs: P.kwargs) -> JobSpec:
        """Return a job to be enqueued later; checks the arguments' names.

        Raises:
            ArgumentError: they do not fit the task's signature.

        """
        arguments = self.arguments
        if args or kwargs.keys() != arguments.names:
            return JobSpec(self.name, arguments.bind(args, kwargs), self.defaults)
        return JobSpec(self.name, kwargs, self.defaults)

    def next(self, *args: P.args, **kwargs: P.kwargs) -> Next:
        """Return what a handler returns to let its job go on as this task; attempts start anew.

        Example:
            ``return ship.next(order_id=7)``, or in a minute: ``return ship.options(delay=60).next(order_id=7)``

        Raises:
            ArgumentError: the arguments do not fit the task's signature.

        """
        return Next(self.job(*args, **kwargs))

    async def enqueue(self, *args: P.args, **kwargs: P.kwargs) -> JobRef:
        """Enqueue a job; returns after its commit. See `App.enqueue`."""
        return await self.app.enqueue(self.job(*args, **kwargs))

    def enqueue_sync(self, *args: P.args, **kwargs: P.kwargs) -> JobRef:
        """As `enqueue`, from synchronous code."""
        return self.app.enqueue_sync(self.job(*args, **kwargs))

    async def reserve(self, expires: float | timedelta = RESERVED_S, *args: P.args, **kwargs: P.kwargs) -> JobRef:
        """Reserve a job for `expires` seconds; it runs after `App.commit` only. See `App.reserve`."""
        return await self.app.reserve(self.job(*args, **kwargs), expires=expires)

    def reserve_sync(self, expires: float | timedelta = RESERVED_S, *args: P.args, **kwargs: P.kwargs) -> JobRef:
        """As `reserve`, from synchronous code."""
        return self.app.reserve_sync(self.job(*args, **kwargs), expires=expires)


class BoundTask(_Makes[P], Generic[P, R]):
    """A task with some options replaced, as `task.options(…)` returns it."""

    def __init__(self, task: Task[P, R], options: Options) -> None:
        self._task = task
        self.app = task.app
        self.name = task.name
        self.arguments = task.arguments
        self.defaults = options

    def options(self, **changes: Any) -> BoundTask[P, R]:
        """Replace more options; see `Task.options`."""
        if self._task.batching is not None and changes.get("timeout") is not None:
            raise UsageError(f"{self.name} handles batches: timeout=… belongs to the task, for the whole call")
        return BoundTask(self._task, self.defaults.but(**changes))


class Task(_Makes[P], Generic[P, R]):
    """A function that workers run. Calling the task calls the function, here and now."""

    def __init__(
        self,
        app: Producer,
        fn: Callable[P, R],
        *,
        name: str,
        options: Options,
        policy: RetryPolicy,
        timeouts: Timeouts,
        batching: Batching | None = None,
        redact: tuple[str, ...] = (),
    ) -> None:
        self.app = app
        self.fn = fn
        self.name = name
        self.defaults = options
        self.policy = policy
        self.timeouts = timeouts
        self.batching = batching
        self.redact = redact
        self.is_async = inspect.iscoroutinefunction(fn)
        kind = Arguments if batching is None else BatchArguments
        self.arguments = kind(cast("Callable[..., Any]", fn), app.injectable)
        self.__doc__ = fn.__doc__
        self.__wrapped__ = fn

    def __repr__(self) -> str:
        return f"<Task {self.name}>"

    def __call__(self, *args: P.args, **kwargs: P.kwargs) -> R:
        """Call the function itself; no job is made."""
        return self.fn(*args, **kwargs)

    def options(self, **changes: Any) -> BoundTask[P, R]:
        """Return the task with options replaced: queue, priority, delay, run_at, group_key, headers,
        unique_key, ordered, on_dead, retries, timeout.

        `retries` and `timeout` are the job's own, in place of the task's. A batch handler's jobs have no timeout of
        their own.

        Of the jobs with the same `unique_key` one is enqueued at a time; `unique_until` says until when it holds the
        key: ``"finished"`` (the default), ``"started"``, or seconds or a timedelta from the enqueue on.

        Example:
            ``await welcome.options(delay=60, priority=0).enqueue(user_id=7)``

        Raises:
            UsageError: an option is unknown or cannot work.

        """
        return BoundTask(self, self.defaults).options(**changes)


_Function = TypeVar("_Function")


def check_function(what: str, function: _Function) -> _Function:
    """Return what a decorator was given, if it is a function or works like one.

    Raises:
        UsageError: it is a class, a task already, an object that cannot be called, or has no name and signature.

    """
    named = hasattr(function, "__qualname__") and hasattr(function, "__module__")
    if isinstance(function, (type, Task)) or not callable(function) or (what == "a task" and not named):
        raise UsageError(f"{what} is made of a function, not of {function!r:.80}")
    try:
        inspect.signature(function)
    except (TypeError, ValueError):
        raise UsageError(f"{what} needs a function with a signature that can be read, not {function!r:.80}") from None
    return function


_STARTED = ("__main__", "__mp_main__")
"""What Python calls the module that it was started with, there and in a process that multiprocessing spawned."""


def full_name(function: Callable[..., Any]) -> str:
    """Return a function's name with its module's, under which workers know it.

    Raises:
        UsageError: it was typed into an interactive session or the like: no worker could import it.

    """
    module = function.__module__
    if module in _STARTED:
        module = _imported_as(module)
    if not module:
        raise UsageError(
            f"workers cannot import {function.__qualname__!r}: it stands in no module's file; put it into one, such as"
            " jobs.py, or give the task a name=…"
        )
    return f"{module}.{function.__qualname__}"


def _imported_as(module: str) -> str:
    """Return what the started module is called when it is imported: as `python -m` named it, or as its file."""
    started = sys.modules[module]
    spec = getattr(started, "__spec__", None)
    if spec is not None and spec.name not in _STARTED:
        return str(spec.name)
    file = Path(getattr(started, "__file__", None) or "")
    return file.stem if file.suffix == ".py" and file.stem.isidentifier() and file.stem not in _STARTED else ""
