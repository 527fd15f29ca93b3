"""What an app declares: its tasks, schedules, middleware and hooks."""

from __future__ import annotations

import math
import typing
from collections.abc import Awaitable, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import fields, is_dataclass
from datetime import timedelta
from typing import Any, Concatenate, Literal, ParamSpec, TypeVar, cast, overload

from fastq.app.durations import lasting_s, positive_s
from fastq.app.tracing import Tracer
from fastq.backoff import RETRIES, Backoff, Exponential, as_backoff
from fastq.config import DEFAULT_PRIORITY, DEFAULT_QUEUE, DELAY_MOST_S, RETRIES_MOST
from fastq.context import Context
from fastq.cron import Schedule, Timing, catch_up_of
from fastq.ends.outcome import KeepPayload, RetryPolicy
from fastq.errors import UnknownTask, UsageError
from fastq.job import OnDead, Options, check_name
from fastq.producer import Producer
from fastq.task import Batching, Task, Timeouts, check_function, full_name

P = ParamSpec("P")
R = TypeVar("R")

Lifespan = Callable[[Any], AbstractAsyncContextManager[Any]]
Hook = Callable[[Context, BaseException], Any]
"""A function of the run's context and its error, plain or async."""
Middleware = Callable[[Context, Callable[[], Awaitable[Any]]], Awaitable[Any]]


_ANNOTATE = (
    " (what the lifespan yields is injected once its type is known: annotate it, as in"
    " `async def lifespan(app) -> AsyncIterator[State]`, with a class of yours)"
)


class Registry:
    """Tasks by name, and what goes with them."""

    def __init__(self, lifespan: Lifespan | None) -> None:
        self.lifespan = lifespan
        self.tasks: dict[str, Task[Any, Any]] = {}
        self.declared: dict[str, Schedule] = {}
        self.middlewares: list[Middleware] = []
        self.tracers: list[Tracer] = []
        self.failure_hooks: list[Hook] = []
        self.death_hooks: list[Hook] = []
        self._provided = _provided_types(lifespan)

    @overload
    def task(self, fn: Callable[Concatenate[Context, P], R], /) -> Task[P, R]: ...
    @overload
    def task(self, fn: Callable[P, R], /) -> Task[P, R]: ...
    @overload
    def task(
        self,
        fn: None = None,
        /,
        *,
        batch: int,
        batch_wait: float | timedelta = 0.0,
        name: str | None = None,
        queue: str = DEFAULT_QUEUE,
        priority: int = DEFAULT_PRIORITY,
        retries: int = RETRIES,
        backoff: Backoff | timedelta | float | None = None,
        timeout: float | timedelta | None = None,
        hard_timeout: float | timedelta | None = None,
        keep: float | timedelta | None = None,
        keep_failed: float | timedelta = math.inf,
        keep_payload: KeepPayload = True,
        redact: Sequence[str] = (),
    ) -> _BatchDecorator: ...

    @overload
    def task(
        self,
        fn: None = None,
        /,
        *,
        name: str | None = None,
        queue: str = DEFAULT_QUEUE,
        priority: int = DEFAULT_PRIORITY,
        retries: int = RETRIES,
        backoff: Backoff | timedelta | float | None = None,
        timeout: float | timedelta | None = None,
        hard_timeout: float | timedelta | None = None,
        keep: float | timedelta | None = None,
        keep_failed: float | timedelta = math.inf,
        keep_payload: KeepPayload = True,
        redact: Sequence[str] = (),
        ordered: bool = False,
        on_dead: OnDead = "skip",
    ) -> _Decorator: ...

    def task(
        self,
        fn: Callable[..., Any] | None = None,
        /,
        *,
        batch: int | None = None,
        batch_wait: float | timedelta = 0.0,
        name: str | None = None,
        queue: str = DEFAULT_QUEUE,
        priority: int = DEFAULT_PRIORITY,
        retries: int = RETRIES,
        backoff: Backoff | timedelta | float | None = None,
        timeout: float | timedelta | None = None,
        hard_timeout: float | timedelta | None = None,
        keep: float | timedelta | None = None,
        keep_failed: float | timedelta = math.inf,
        keep_payload: KeepPayload = True,
        redact: Sequence[str] = (),
        ordered: bool = False,
        on_dead: OnDead = "skip",
    ) -> Any:
        """Register a function as a task; usable as ``@app.task`` or ``@app.task(…)``.

        Args:
            name: the task's name in the database; module and function name by default. In a file that is run as a
                program, the module is the one that the file is when workers import it.
            batch: the function gets a list of at most so many jobs, as `BatchItem`; see docs/batches.md.
            batch_wait: for how many seconds a queue rests after a smaller batch, so that more jobs come together.
            queue: the queue its jobs go to.
            priority: 0 (first) to 9 (last).
            retries: how often a failed job is tried again: at most retries + 1 runs.
            backoff: seconds, a timedelta, `Exponential`, `Linear`, or a function of the failed attempt's number giving
                seconds. By default `Exponential()`: five retries outlast ten minutes; see docs/retries.md.
            timeout: seconds after which a run is cancelled and counts as failed; a function in a thread cannot be
                cancelled and runs on.
            hard_timeout: seconds after which the worker process that runs the job is killed, and the job charged with
                a crash.
            keep: for how long a job that succeeded is kept, with its result; deleted at once by default.
            keep_failed: for how long one that failed for good, was discarded, cancelled while it ran, or expired, is
                kept; for ever (math.inf) by default, 0 for not at all.
            keep_payload: False keeps none of the arguments of a job that has ended; it cannot be retried then. "failed"
                keeps those of jobs that did not succeed.
            redact: names of arguments that the dashboard, `fastq top` and `fastq jobs` do not show.
            ordered: whether its jobs of one group (`group_key`) run one after the other, as they were enqueued.
            on_dead: what the ordered jobs behind one that failed for good do: ``"skip"`` it, or ``"block"``: they wait
                until it is retried or deleted.

        """
        options = Options(queue=queue, priority=priority, ordered=ordered, on_dead=on_dead)
        if isinstance(retries, bool) or not isinstance(retries, int) or not 0 <= retries <= RETRIES_MOST:
            raise UsageError(f"retries must be 0 to {RETRIES_MOST}, not {retries!r}")
        policy = RetryPolicy(
            retries=retries,
            backoff=Exponential() if backoff is None else as_backoff(backoff),
            keep_s=None if keep is None else lasting_s("keep", keep),
            keep_failed_s=lasting_s("keep_failed", keep_failed),
            keep_payload=_payload_kept(keep_payload),
        )
        batching = _batching(batch, batch_wait)
        timeouts = Timeouts(soft_s=positive_s("timeout", timeout), hard_s=positive_s("hard_timeout", hard_timeout))

        def register(function: Callable[..., Any]) -> Task[Any, Any]:
            check_function("a task", function)
            task_name = check_name("a task's name", full_name(function) if name is None else name)
            if task_name in self.tasks:
                raise UsageError(f"there are two tasks named {task_name!r}; give one of them name=…")
            task: Task[Any, Any] = Task(
                cast("Producer", self),
                self.handler(function),
                name=task_name,
                options=options,
                policy=policy,
                timeouts=timeouts,
                batching=batching,
                redact=_names("redact", redact),
            )
            if self.lifespan is not None and not self._provided:
                task.arguments.hint = _ANNOTATE
            self.tasks[task_name] = task
            return task

        return register if fn is None else register(fn)

    def cron(self, expression: str, *, tz: str = "UTC", catch_up: Literal["skip", "one", "all"] = "skip") -> _Scheduler:
        """Register a function without arguments, or a task, that is enqueued by the clock: once in the whole fleet.

        Args:
            expression: minute, hour, day of month, month, day of week; with a sixth field in front, seconds.
            tz: the time zone that the expression is read in, as in ``"Europe/Athens"``.
            catch_up: what becomes of occurrences missed while nothing ran: ``"skip"``, ``"one"`` for all, ``"all"``.

        The job's ``ctx.headers["scheduled_for"]`` is the time of its occurrence, in ISO format.

        Example:
            >>> app = fastq.App()
            >>> @app.cron("0 9 * * MON-FRI", tz="Europe/Athens")
            ... @app.task(queue="reports", retries=1)
            ... async def morning() -> None: ...

        Raises:
            UsageError: the expression cannot be read, the zone is unknown, or the task has a schedule already.
            ArgumentError: the function has a parameter without a default.

        """
        if not isinstance(tz, str):
            raise UsageError(f"tz must be the name of a time zone, such as 'Europe/Athens', not {tz!r:.80}")
        timing, policy = Timing(expression=expression, tz=tz), catch_up_of(catch_up)

        def register(fn: Callable[..., Any]) -> Task[Any, Any]:
            if not isinstance(fn, Task):
                check_function("a schedule", fn)
            task: Task[Any, Any] = fn if isinstance(fn, Task) else self.task(fn)
            if task.name in self.declared:
                raise UsageError(f"{task.name} has a schedule already; make a second function that calls the first")
            where = task.job().options
            self.declared[task.name] = Schedule(
                name=task.name,
                timing=timing,
                task=task.name,
                queue=where.queue,
                priority=where.priority,
                catch_up=policy,
            )
            return task

        return register

    def middleware(self, fn: Middleware) -> Middleware:
        """Wrap every run, the first one outermost: ``async def timing(ctx, call_next): return await call_next()``."""
        self.middlewares.append(check_function("middleware", fn))
        return fn

    def on_failure(self, fn: Hook) -> Hook:
        """Call ``fn(ctx, error)`` after each failed attempt, in the worker. Best effort: not when the worker dies."""
        self.failure_hooks.append(check_function("on_failure", fn))
        return fn

    def on_dead(self, fn: Hook) -> Hook:
        """Call ``fn(ctx, error)`` when a job has failed for good or was discarded. Best effort, as `on_failure`."""
        self.death_hooks.append(check_function("on_dead", fn))
        return fn

    def handler(self, fn: Callable[..., Any]) -> Callable[..., Any]:
        """Return what workers call for a task's function: that itself, unless a subclass puts something around it."""
        return fn

    def find_task(self, name: str) -> Task[Any, Any]:
        """Return a task by its name, or by its function's name where only one task has it.

        Raises:
            UnknownTask: there is none, or more than one.

        """
        if name in self.tasks:
            return self.tasks[name]
        alike = [task for full, task in self.tasks.items() if full.rpartition(".")[2] == name]
        if len(alike) == 1:
            return alike[0]
        known = ", ".join(sorted(self.tasks)) or "none"
        raise UnknownTask(f"there is no task {name!r}; the app has: {known}")

    def injectable(self, kind: object) -> bool:
        """Tell whether a parameter annotated with `kind` is injected rather than taken from the payload."""
        return kind is Context or (isinstance(kind, type) and kind in self._provided)


def _payload_kept(kept: KeepPayload) -> KeepPayload:
    if kept is not True and kept is not False and kept != "failed":
        raise UsageError(f'keep_payload must be True, False or "failed", not {kept!r:.80}')
    return kept


def _names(what: str, names: Sequence[str]) -> tuple[str, ...]:
    """Return names, of arguments for example.

    Raises:
        UsageError: these are none; a single text is not taken for its letters.

    """
    if isinstance(names, str) or not all(isinstance(name, str) for name in names):
        raise UsageError(f"{what} takes names, as in {what}=('password',), not {names!r:.80}")
    return tuple(names)


def _batching(size: int | None, wait: float | timedelta) -> Batching | None:
    """Return how a batch handler is called; None where there is no size, and so no batch.

    Raises:
        UsageError: the size is not 1 to 10000, or there is a wait without one.

    """
    wait_s = lasting_s("batch_wait", wait)
    if not 0 <= wait_s <= DELAY_MOST_S or (wait_s and size is None):
        raise UsageError(f"batch_wait must be seconds, not negative, and beside batch=…, not {wait!r}")
    if size is None:
        return None
    if isinstance(size, bool) or not isinstance(size, int) or not 1 <= size <= 10_000:
        raise UsageError(f"batch must be 1 to 10000 jobs, not {size!r}")
    return Batching(size=size, wait_s=wait_s)


class _Decorator(typing.Protocol):
    """What ``@app.task(…)`` returns."""

    @overload
    def __call__(self, fn: Callable[Concatenate[Context, P], R], /) -> Task[P, R]: ...
    @overload
    def __call__(self, fn: Callable[P, R], /) -> Task[P, R]: ...


class _BatchDecorator(typing.Protocol):
    """What ``@app.task(batch=…)`` returns: its jobs take any arguments by name."""

    def __call__(self, fn: Callable[..., R], /) -> Task[..., R]: ...


class _Scheduler(typing.Protocol):
    """What ``@app.cron(…)`` returns."""

    @overload
    def __call__(self, fn: Task[P, R], /) -> Task[P, R]: ...
    @overload
    def __call__(self, fn: Callable[Concatenate[Context, P], R], /) -> Task[P, R]: ...
    @overload
    def __call__(self, fn: Callable[P, R], /) -> Task[P, R]: ...


def _provided_types(lifespan: Lifespan | None) -> frozenset[type]:
    """Return the types that a lifespan's annotation says it yields: the state itself and its dataclass fields."""
    if lifespan is None:
        return frozenset()
    check_function("lifespan", lifespan)
    wrapped = getattr(lifespan, "__wrapped__", lifespan)
    yields = typing.get_type_hints(wrapped).get("return")
    state = next(iter(typing.get_args(yields)), None)
    if not isinstance(state, type) or state.__module__ == "builtins":
        return frozenset()
    inner = typing.get_type_hints(state).values() if is_dataclass(state) else ()
    return frozenset({state, *(kind for kind in inner if isinstance(kind, type) and kind.__module__ != "builtins")})


def provide(state: Any, kind: type) -> Any:
    """Return the part of a lifespan's state that has the type `kind`: the state itself or one of its fields."""
    if isinstance(state, kind):
        return state
    return next(value for f in fields(state) if isinstance(value := getattr(state, f.name), kind))
