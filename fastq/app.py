"""The app: a registry of tasks, and the ways to enqueue their jobs. What users import."""

from __future__ import annotations

import asyncio
import math
import typing
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import fields, is_dataclass
from datetime import timedelta
from typing import Any, Concatenate, Literal, ParamSpec, Self, TypeVar, overload

from psycopg import AsyncConnection, Connection

from fastq import database
from fastq.backoff import Backoff, Exponential, as_backoff
from fastq.client import AsyncClient, SyncClient, needs_open
from fastq.completing import completing
from fastq.config import DEFAULT_PRIORITY, DEFAULT_QUEUE, PAYLOAD_LIMIT_BYTES, find_dsn
from fastq.context import Context
from fastq.cron import Schedule, Timing, catch_up_of
from fastq.errors import JobFailed, LeaseLost, ReservationGone, UnknownTask, UsageError
from fastq.job import JobIds, JobRef, JobSpec, OnDead, Options, check_name
from fastq.jobs import Jobs, told
from fastq.outcome import MOST_DELAY_S, RetryPolicy
from fastq.protocol import completion, reserve
from fastq.protocol.completion import Place
from fastq.protocol.enqueue import payload
from fastq.protocol.jobs import Request, carry_out, carry_out_sync
from fastq.protocol.results import find_ending
from fastq.states import JobState
from fastq.task import RESERVED_S, Batching, Task, Timeouts, full_name

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")

Lifespan = Callable[["App"], AbstractAsyncContextManager[Any]]
_RESULT_PAUSE_S = (0.005, 0.25)
Hook = Callable[[Context, BaseException], Any]
"""A function of the run's context and its error, plain or async."""
Middleware = Callable[[Context, Callable[[], Awaitable[Any]]], Awaitable[Any]]


def _positive_s(name: str, value: float | timedelta | None) -> float | None:
    """Return a duration in seconds.

    Raises:
        UsageError: it is not greater than 0.

    """
    seconds = value.total_seconds() if isinstance(value, timedelta) else value
    if seconds is not None and not 0 < seconds < float("inf"):
        raise UsageError(f"{name} must be greater than 0 seconds, not {value!r}")
    return seconds


def _batching(size: int | None, wait: float | timedelta) -> Batching | None:
    """Return how a batch handler is called; None where there is no size, and so no batch.

    Raises:
        UsageError: the size is not 1 to 10000, or there is a wait without one.

    """
    wait_s = wait.total_seconds() if isinstance(wait, timedelta) else wait
    if not 0 <= wait_s <= MOST_DELAY_S or (wait_s and size is None):
        raise UsageError(f"batch_wait must be seconds, not negative, and beside batch=…, not {wait!r}")
    if size is None:
        return None
    if not isinstance(size, int) or not 1 <= size <= 10_000:
        raise UsageError(f"batch must be 1 to 10000 jobs, not {size!r}")
    return Batching(size=size, wait_s=wait_s)


def _lasting_s(name: str, value: float | timedelta) -> float:
    """Return for how many seconds something is kept; infinity is for ever.

    Raises:
        UsageError: it is negative or no number.

    """
    seconds = value.total_seconds() if isinstance(value, timedelta) else value
    if not seconds >= 0:
        raise UsageError(f"{name} must be seconds and not negative, or math.inf, not {value!r}")
    return float(seconds) if seconds <= MOST_DELAY_S else math.inf


class App:
    """Tasks and the database their jobs live in.

    Args:
        dsn: a PostgreSQL connection string; without one FASTQ_DSN, DATABASE_URL, PGHOST… and then the embedded server.
        lifespan: ``async def lifespan(app): …; yield state``, entered once per worker process (wrapped in
            ``contextlib.asynccontextmanager``); what it yields is ``ctx.state``.
        payload_limit_bytes: the largest JSON of one job's arguments.
        enqueue_retry_s: for how many seconds an enqueue is tried again while no server can be reached, or it is
            starting up or read-only. 0, the default: the error comes at once. What may be there is never sent again.

    Example:
        >>> app = fastq.App()
        >>> @app.task(queue="mail", retries=5)
        ... async def welcome(user_id: int) -> None: ...

    """

    def __init__(
        self,
        dsn: str | None = None,
        *,
        lifespan: Lifespan | None = None,
        payload_limit_bytes: int = PAYLOAD_LIMIT_BYTES,
        enqueue_retry_s: float = 0.0,
    ) -> None:
        if not 0 <= enqueue_retry_s < math.inf:
            raise UsageError(f"enqueue_retry_s must be a number of seconds and not negative, not {enqueue_retry_s!r}")
        self.dsn = dsn
        self.lifespan = lifespan
        self.payload_limit_bytes = payload_limit_bytes
        self.enqueue_retry_s = enqueue_retry_s
        self.tasks: dict[str, Task[Any, Any]] = {}
        self.schedules: dict[str, Schedule] = {}
        self.middlewares: list[Middleware] = []
        self.failure_hooks: list[Hook] = []
        self.death_hooks: list[Hook] = []
        self._provided = _provided_types(lifespan)
        self._async_client: AsyncClient | None = None
        self._sync_client: SyncClient | None = None

    # -- tasks

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
        retries: int = 3,
        backoff: Backoff | float | None = None,
        timeout: float | timedelta | None = None,
        hard_timeout: float | timedelta | None = None,
        keep: float | timedelta | None = None,
        keep_failed: float | timedelta = math.inf,
        keep_payload: bool = True,
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
        retries: int = 3,
        backoff: Backoff | float | None = None,
        timeout: float | timedelta | None = None,
        hard_timeout: float | timedelta | None = None,
        keep: float | timedelta | None = None,
        keep_failed: float | timedelta = math.inf,
        keep_payload: bool = True,
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
        retries: int = 3,
        backoff: Backoff | float | None = None,
        timeout: float | timedelta | None = None,
        hard_timeout: float | timedelta | None = None,
        keep: float | timedelta | None = None,
        keep_failed: float | timedelta = math.inf,
        keep_payload: bool = True,
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
            backoff: seconds, or a function of the attempt's number giving seconds; exponential with jitter by default.
            timeout: seconds after which a run is cancelled and counts as failed; a function in a thread cannot be
                cancelled and runs on.
            hard_timeout: seconds after which the worker process that runs the job is killed, and the job charged with
                a crash.
            keep: for how long a job that succeeded is kept, with its result; deleted at once by default.
            keep_failed: for how long one that failed for good, was discarded, or cancelled while it ran, is kept; for
                ever (math.inf) by default, 0 for not at all.
            keep_payload: False keeps none of the arguments of a job that has ended; it cannot be retried then.
            ordered: whether its jobs of one group (`group_key`) run one after the other, as they were enqueued.
            on_dead: what the ordered jobs behind one that failed for good do: ``"skip"`` it, or ``"block"``: they wait
                until it is retried or deleted.

        """
        options = Options(queue=queue, priority=priority, ordered=ordered, on_dead=on_dead)
        if not isinstance(retries, int) or not 0 <= retries <= 10_000:
            raise UsageError(f"retries must be 0 to 10000, not {retries!r}")
        policy = RetryPolicy(
            retries=retries,
            backoff=Exponential() if backoff is None else as_backoff(backoff),
            keep_s=None if keep is None else _lasting_s("keep", keep),
            keep_failed_s=_lasting_s("keep_failed", keep_failed),
            keep_payload=keep_payload,
        )
        batching = _batching(batch, batch_wait)
        timeouts = Timeouts(soft_s=_positive_s("timeout", timeout), hard_s=_positive_s("hard_timeout", hard_timeout))

        def register(function: Callable[..., Any]) -> Task[Any, Any]:
            task_name = check_name("a task's name", name or full_name(function))
            if task_name in self.tasks:
                raise UsageError(f"there are two tasks named {task_name!r}; give one of them name=…")
            task: Task[Any, Any] = Task(
                self,
                function,
                name=task_name,
                options=options,
                policy=policy,
                timeouts=timeouts,
                batching=batching,
            )
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
        timing, policy = Timing(expression=expression, tz=tz), catch_up_of(catch_up)

        def register(fn: Callable[..., Any]) -> Task[Any, Any]:
            task: Task[Any, Any] = fn if isinstance(fn, Task) else self.task(fn)
            if task.name in self.schedules:
                raise UsageError(f"{task.name} has a schedule already; make a second function that calls the first")
            where = task.job().options
            self.schedules[task.name] = Schedule(
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
        self.middlewares.append(fn)
        return fn

    def on_failure(self, fn: Hook) -> Hook:
        """Call ``fn(ctx, error)`` after each failed attempt, in the worker. Best effort: not when the worker dies."""
        self.failure_hooks.append(fn)
        return fn

    def on_dead(self, fn: Hook) -> Hook:
        """Call ``fn(ctx, error)`` when a job has failed for good or was discarded. Best effort, as `on_failure`."""
        self.death_hooks.append(fn)
        return fn

    def encode(self, spec: JobSpec) -> bytes:
        """Return a job's arguments as JSON.

        Raises:
            ArgumentError, PayloadTooLarge: they cannot be written, or are too large.

        """
        return payload(spec, self.payload_limit_bytes)

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

    # -- open and close

    async def __aenter__(self) -> Self:
        """Open the pool for asynchronous enqueues."""
        dsn = await asyncio.to_thread(database.reachable, find_dsn(self.dsn))
        client = AsyncClient(dsn, limit_bytes=self.payload_limit_bytes, retry_s=self.enqueue_retry_s)
        await client.open()
        self._async_client = client
        return self

    async def __aexit__(self, *exc: object) -> None:
        """Send what waits and close the pool."""
        if self._async_client is not None:
            await self._async_client.close()
            self._async_client = None

    @asynccontextmanager
    async def serving(self, dsn: str) -> AsyncIterator[Self]:
        """Open the app inside a worker: the same database, connections only when a handler wants one."""
        clients = self._async_client, self._sync_client
        mine = AsyncClient(dsn, limit_bytes=self.payload_limit_bytes, retry_s=self.enqueue_retry_s, warm=False)
        sync = SyncClient(dsn, limit_bytes=self.payload_limit_bytes, retry_s=self.enqueue_retry_s)
        self._async_client, self._sync_client = mine, sync
        try:
            yield self
        finally:
            self._async_client, self._sync_client = clients
            await mine.close()
            sync.close()

    def __enter__(self) -> Self:
        """Open the pool for synchronous enqueues."""
        dsn = database.reachable(find_dsn(self.dsn))
        client = SyncClient(dsn, limit_bytes=self.payload_limit_bytes, retry_s=self.enqueue_retry_s)
        client.open()
        self._sync_client = client
        return self

    def __exit__(self, *exc: object) -> None:
        """Close the pool."""
        if self._sync_client is not None:
            self._sync_client.close()
            self._sync_client = None

    @property
    def client(self) -> AsyncClient:
        """The open asynchronous client.

        Raises:
            NotOpen: the app is not open.

        """
        if self._async_client is None:
            raise needs_open("an asynchronous call")
        return self._async_client

    @property
    def sync_client(self) -> SyncClient:
        """The open synchronous client.

        Raises:
            NotOpen: the app is not open.

        """
        if self._sync_client is None:
            raise needs_open("a synchronous call")
        return self._sync_client

    @property
    def jobs(self) -> Jobs:
        """Look at jobs and steer them: `get`, `list`, `retry`, `cancel`, `delete`."""
        return Jobs(lambda: self.client, lambda: self.sync_client)

    def completing(self, place: Place) -> AbstractAsyncContextManager[AsyncConnection[Any]]:
        """Give a connection whose commit also completes a running job; see `Context.transaction`."""
        return completing(self.client.connection, place)

    def _ref(self, spec: JobSpec, job: int, duplicate: bool = False) -> JobRef:
        task = self.tasks.get(spec.task)
        return JobRef(job, duplicate, None if task is None or task.policy.keep_s is None else self.result_of)

    async def result_of(self, job: int, timeout_s: float | None = None) -> Any:
        """Wait until a job has ended; return what its handler returned. See `JobRef.result`."""
        pause_s = _RESULT_PAUSE_S[0]
        async with asyncio.timeout(timeout_s):
            while True:
                async with self.client.connection() as conn:
                    ending = await find_ending(conn, slot=0, job=job)
                if ending is not None:
                    break
                await asyncio.sleep(pause_s)
                pause_s = min(_RESULT_PAUSE_S[1], pause_s * 1.5)
        if ending.state is JobState.SUCCEEDED:
            return ending.result
        why = f": {ending.error['type']}: {ending.error['message']}" if ending.error else ""
        raise JobFailed(f"job {job} {ending.state}{why}", state=ending.state, error=ending.error)

    async def save_checkpoint(self, place: Place, value: str) -> None:
        """Keep a running job's checkpoint; see `Context.checkpoint`."""
        async with self.client.connection() as conn:
            if not await completion.save_checkpoint(conn, place, value):
                raise LeaseLost("the job was taken from this worker; its checkpoint was not written")

    # -- enqueue

    async def enqueue(self, spec: JobSpec, *, conn: AsyncConnection[Any] | None = None) -> JobRef:
        """Enqueue one job.

        Without `conn`, concurrent calls are gathered into one statement and one commit, and each returns after that
        commit. With `conn`, the job is part of that connection's transaction: visible with it, rolled back with it.

        A job whose unique key another one holds is not enqueued: the answer has `duplicate` set and the holder's id. A
        key that an open transaction is just taking is waited for, 20 seconds at most without `conn`.

        Raises:
            PayloadTooLarge, ArgumentError: nothing was enqueued; a transaction of yours is still usable.
            DatabaseUnreachable: no connection could be had, or the server takes no writes now; nothing was enqueued.
            SchemaError, FastqError: PostgreSQL refused the job; nothing was enqueued.
            EnqueueOutcomeUnknown: the connection broke before the commit was answered; the job may or may not be there.
            psycopg.Error: only with `conn`: what PostgreSQL said, and your transaction is what it is after any error.

        A caller that is cancelled while it waits may have enqueued its job or not.

        """
        if spec.options.apart:
            return self._ref(spec, *await self.client.enqueue_apart(spec, conn))
        if conn is not None:
            return self._ref(spec, await self.client.enqueue_in(conn, spec))
        return self._ref(spec, await self.client.enqueue(spec))

    async def enqueue_many(
        self,
        specs: Iterable[JobSpec],
        *,
        conn: AsyncConnection[Any] | None = None,
        progress: Callable[[int], None] | None = None,
    ) -> JobIds:
        """Enqueue any number of jobs, of any tasks and queues, all or none; a generator is streamed, memory stays flat.

        Args:
            specs: what ``task.job(…)`` returns, in the order in which they shall stand in line.
            conn: a connection whose transaction they shall be part of.
            progress: called with the number sent so far, about every thousand jobs.

        Returns:
            The ids, in order; for jobs whose unique key is held the holder's, and `duplicates` says which they are.

        Raises:
            As `enqueue`; and whatever the iterable raises: nothing was enqueued then. With `enqueue_retry_s` only the
            connection is waited for: what has been read from the iterable cannot be read again.

        """
        return await self.client.enqueue_many(specs, conn, progress)

    # -- two-phase

    async def reserve(
        self, spec: JobSpec, *, expires: float | timedelta = RESERVED_S, conn: AsyncConnection[Any] | None = None
    ) -> JobRef:
        """Enqueue a job that does not run before `commit`; without that it is deleted after `expires` seconds.

        A delay of the job counts from the commit. As to its unique key, `conn`, and what is raised, see `enqueue`.

        Example:
            ``ref = await app.reserve(charge.job(order=7), expires=60)``, and after the bank has answered
            ``await app.commit(ref)``

        """
        return self._ref(spec, *await self.client.reserve(spec, _reserved_s(expires), conn))

    async def commit(self, job: JobRef | int, *, conn: AsyncConnection[Any] | None = None) -> bool:
        """Let a reserved job run. May be repeated: False says that it was committed before.

        False also where `reserve` said that another job holds the key: there is nothing to commit then.

        Raises:
            ReservationGone: it expired, or was abandoned or deleted; a transaction of yours is still usable.
            DatabaseUnreachable: it may be committed or not: commit it again.

        """
        if isinstance(job, JobRef) and job.duplicate:
            return False
        return _committed(job, await self._carry_out(reserve.commit(_id_of(job)), conn))

    async def abandon(self, job: JobRef | int, *, conn: AsyncConnection[Any] | None = None) -> bool:
        """Delete a reserved job; False when there is none: it was committed, had expired, or was abandoned."""
        if isinstance(job, JobRef) and job.duplicate:
            return False
        return await self._carry_out(reserve.abandon(_id_of(job)), conn)

    async def _carry_out(self, request: Request[T], conn: AsyncConnection[Any] | None) -> T:
        if conn is not None:
            return await carry_out(conn, request)
        async with self.client.connection() as own:
            with told(), database.answering(own):
                return await carry_out(own, request)

    def reserve_sync(
        self, spec: JobSpec, *, expires: float | timedelta = RESERVED_S, conn: Connection[Any] | None = None
    ) -> JobRef:
        """As `reserve`, from synchronous code and any thread."""
        return JobRef(*self.sync_client.reserve(spec, _reserved_s(expires), conn))

    def commit_sync(self, job: JobRef | int, *, conn: Connection[Any] | None = None) -> bool:
        """As `commit`, from synchronous code and any thread."""
        if isinstance(job, JobRef) and job.duplicate:
            return False
        return _committed(job, self._carry_out_sync(reserve.commit(_id_of(job)), conn))

    def abandon_sync(self, job: JobRef | int, *, conn: Connection[Any] | None = None) -> bool:
        """As `abandon`, from synchronous code and any thread."""
        if isinstance(job, JobRef) and job.duplicate:
            return False
        return self._carry_out_sync(reserve.abandon(_id_of(job)), conn)

    def _carry_out_sync(self, request: Request[T], conn: Connection[Any] | None) -> T:
        if conn is not None:
            return carry_out_sync(conn, request)
        with self.sync_client.connection() as own, told(), database.answering(own):
            return carry_out_sync(own, request)

    # -- enqueue, from synchronous code

    def enqueue_sync(self, spec: JobSpec, *, conn: Connection[Any] | None = None) -> JobRef:
        """As `enqueue`, from synchronous code and any thread."""
        if spec.options.apart:
            return JobRef(*self.sync_client.enqueue_apart(spec, conn))
        return JobRef(self.sync_client.enqueue(spec, conn))

    def enqueue_many_sync(
        self,
        specs: Iterable[JobSpec],
        *,
        conn: Connection[Any] | None = None,
        progress: Callable[[int], None] | None = None,
    ) -> JobIds:
        """As `enqueue_many`, from synchronous code and any thread."""
        return self.sync_client.enqueue_many(specs, conn, progress)


def _reserved_s(expires: float | timedelta) -> float:
    seconds = _positive_s("expires", expires)
    if seconds is None or seconds > MOST_DELAY_S:
        raise UsageError(f"expires must be seconds greater than 0, at most 100 years, not {expires!r}")
    return seconds


def _id_of(job: JobRef | int) -> int:
    number = job.id if isinstance(job, JobRef) else job
    if not isinstance(number, int) or not 0 < number < 2**63:
        raise UsageError(f"a reservation is a JobRef or its id, not {job!r:.40}")
    return number


def _committed(job: JobRef | int, answer: reserve.Answer) -> bool:
    if answer == "gone":
        raise ReservationGone(
            f"reservation {_id_of(job)} is gone: it expired, or was abandoned or deleted; its job is not enqueued"
        )
    return answer == "committed"


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
