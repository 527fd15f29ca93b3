"""The app that the process tests run. Handlers tell what they did by rows in the table `probe`."""

from __future__ import annotations

import asyncio
import contextvars
import os
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import engines
import psycopg

import fastq


class Clock:
    """Something that the lifespan makes once per worker process."""


@dataclass
class State:
    """The application context."""

    clock: Clock
    pid: int


@asynccontextmanager
async def lifespan(app: fastq.App) -> AsyncIterator[State]:
    """Make the application context."""
    yield State(clock=Clock(), pid=os.getpid())


app = fastq.App(lifespan=lifespan)
note: contextvars.ContextVar[str] = contextvars.ContextVar("note", default="clean")


async def tell(what: str, value: object = None) -> None:
    """Write a row that the test waits for."""
    async with app.client.connection() as conn:
        await conn.execute("insert into probe (what, value, pid) values (%s, %s, %s)", [what, str(value), os.getpid()])


async def _released() -> None:
    """Wait until the test has inserted a row into `gate`."""
    while True:
        async with app.client.connection() as conn:
            if await (await conn.execute("select from gate limit 1")).fetchone() is not None:
                return
        await asyncio.sleep(0.01)


@app.task
async def quick(n: int) -> None:
    """Tell that it ran."""
    await tell("quick", n)


_LEAKED: list[bytes] = []


@app.task
async def leaking(megabytes: int) -> None:
    """Hold memory for as long as the process lives."""
    _LEAKED.append(b"x" * megabytes * 2**20)


@app.task
async def nothing(n: int) -> None:
    """Do nothing."""


@app.task
async def gated(n: int) -> None:
    """Run until the gate opens."""
    await tell("started", n)
    await _released()
    await tell("finished", n)


@app.task
async def holding(n: int) -> None:
    """Hold the event loop until the gate opens."""
    await tell("holding", n)
    with psycopg.connect(os.environ["FASTQ_DSN"], autocommit=True) as conn:
        while conn.execute("select from gate limit 1").fetchone() is None:
            time.sleep(0.01)  # noqa: ASYNC251 - that is the point
    await tell("let go", n)


@app.task
async def blocking(n: int, seconds: float) -> None:
    """Block the event loop."""
    await tell("blocking", n)
    time.sleep(seconds)  # noqa: ASYNC251 - that is the point
    await tell("unblocked", n)


@app.task(retries=2, backoff=0.0)
async def failing(ctx: fastq.Context, n: int) -> None:
    """Fail always."""
    await tell("attempt", ctx.attempt)
    raise ValueError(f"no {n}")


@app.task(retries=3, backoff=0.0)
async def third_time(ctx: fastq.Context) -> None:
    """Succeed at the third attempt."""
    await tell("attempt", f"{ctx.attempt} {ctx.retries_left} {len(ctx.errors)}")
    if ctx.attempt < 3:
        raise RuntimeError("not yet")


@app.task(retries=0, timeout=0.05)
async def endless() -> None:
    """Run longer than its timeout."""
    try:
        await asyncio.sleep(3600)
    finally:
        await tell("cleaned up")


@app.task(retries=0)
async def flow(kind: str) -> None:
    """Raise one of the flow exceptions, or worse."""
    await tell("flow", kind)
    match kind:
        case "discard":
            raise fastq.Discard("not wanted")
        case "snooze":
            raise fastq.Snooze(3600)
        case "retry":
            raise fastq.Retry(delay=3600)
        case "exit":
            raise SystemExit(3)
        case "interrupt":
            raise KeyboardInterrupt
        case "cancel":
            raise asyncio.CancelledError
        case "cancel_self":
            task = asyncio.current_task()
            assert task is not None
            task.cancel()


@app.task
def in_thread(n: int, ctx: fastq.Context) -> None:
    """Run in a thread; tell through the context's app by its own connection."""
    import psycopg

    with psycopg.connect(os.environ["FASTQ_DSN"], autocommit=True) as conn:
        conn.execute("insert into probe (what, value, pid) values ('thread', %s, %s)", [f"{n} {ctx.id}", os.getpid()])


@app.task
async def typed(at: datetime, key: UUID, clock: Clock, ctx: fastq.Context, state: State, n: int = 7) -> None:
    """Take converted and injected arguments."""
    good = isinstance(at, datetime) and isinstance(key, UUID) and state.clock is clock and ctx.state is state
    await tell("typed", f"{good} {n} {state.pid == os.getpid()}")


@app.task
async def leaves_context(value: str) -> None:
    """Set a contextvar that the next job must not see."""
    await tell("seen", note.get())
    note.set(value)


@app.task(retries=5)
async def suicide(n: int) -> None:
    """Kill its own process."""
    await tell("suicide", n)
    os.kill(os.getpid(), signal.SIGKILL)


@app.task(retries=0)
async def exactly_once(ctx: fastq.Context, n: int, die: bool) -> None:
    """Write and complete in one transaction, then perhaps die before the ack."""
    async with ctx.transaction() as conn:
        await conn.execute("insert into probe (what, value, pid) values ('once', %s, %s)", [n, os.getpid()])
    if die:
        os.kill(os.getpid(), signal.SIGKILL)


@app.task
async def chain(ctx: fastq.Context, left: int) -> None:
    """Enqueue its successor."""
    await tell("chain", left)
    if left:
        await ctx.enqueue(chain.job(left=left - 1))


other = fastq.App()


@other.middleware
async def outer(ctx: fastq.Context, call_next: Callable[[], Awaitable[Any]]) -> Any:
    """Wrap every run."""
    async with other.client.connection() as conn:
        await conn.execute("insert into probe (what, value, pid) values ('before', %s, 0)", [ctx.task])
    result = await call_next()
    async with other.client.connection() as conn:
        await conn.execute("insert into probe (what, value, pid) values ('after', %s, 0)", [result])
    return result


@other.task
async def answer() -> int:
    """Return something."""
    return 42


@app.task
async def poison(ctx: fastq.Context, n: int, bad: int) -> None:
    """Tell how often it was charged, run for a moment, and kill the process if this is the bad one."""
    await tell(f"charged {len(ctx.errors)}", n)
    if n == bad:
        os.kill(os.getpid(), signal.SIGSEGV)
    await asyncio.sleep(0.005)
    await tell("survived", n)


@app.task
async def forker(n: int) -> None:
    """Fork a child that comes back from the handler as if it were the worker."""
    child = os.fork()
    if child:
        await tell("child", child)


@app.task(retries=0, hard_timeout=0.3)
async def stubborn(n: int) -> None:
    """Never end, whatever it is asked."""
    await tell("stubborn", n)
    while True:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            continue


@app.task(retries=0, hard_timeout=0.3)
def stubborn_thread(ctx: fastq.Context, n: int) -> None:
    """Never end, in a thread."""
    time.sleep(60)


@app.task(retries=0, timeout=0.05)
def late_thread(n: int) -> None:
    """End well, but late."""
    time.sleep(0.3)


@app.task
async def pack(order: int) -> fastq.Next:
    """The first of two steps."""
    await tell("packed", order)
    return ship.next(order=order, parcel=f"P{order}")


@app.task(retries=1, backoff=0)
async def ship(ctx: fastq.Context, order: int, parcel: str) -> None:
    """The second step, which fails once."""
    await tell(f"shipped attempt {ctx.attempt} errors {len(ctx.errors)} of {ctx.id}", parcel)
    if ctx.attempt == 1:
        raise RuntimeError("no truck")


@app.task
async def again(n: int) -> fastq.Next | None:
    """A step that loops to itself, by and by."""
    await tell("again", n)
    return again.options(delay=0.01).next(n=n - 1) if n else None


@app.task(keep=60)
async def adds(a: int, b: int) -> int:
    """Return something worth keeping."""
    return a + b


@app.task(keep=60, retries=0)
def divides(a: int, b: int) -> float:
    """Return something, or fail, in a thread."""
    return a / b


@app.task(keep=60)
async def returns_what_is_no_json() -> object:
    """Return what cannot be kept."""
    return object()


@app.task(retries=2, backoff=0)
async def resumes(ctx: fastq.Context, dies: bool) -> None:
    """Go on from the last checkpoint."""
    await tell("saw", ctx.saved)
    done = (ctx.saved or {"pages": 0})["pages"]
    if done == 2:
        return
    await ctx.checkpoint({"pages": done + 1})
    if dies:
        os.kill(os.getpid(), signal.SIGKILL)
    raise RuntimeError("come back")


@app.task(retries=0)
async def alone(key: str) -> None:
    """Tell if another one with the same key runs at the same time."""
    async with app.client.connection() as conn:
        async with conn.transaction():
            await conn.execute("select pg_advisory_xact_lock(hashtext(%s))", [key])
            cur = await conn.execute("delete from busy where key = %s returning pid", [key])
            others = await cur.fetchall()
            await conn.execute("insert into busy values (%s, %s)", [key, os.getpid()])
        for (pid,) in others:
            if not _gone(pid):
                await conn.execute("insert into probe (what, value, pid) values ('clash', %s, %s)", [key, pid])
        await asyncio.sleep(0.005)
        await conn.execute("delete from busy where key = %s and pid = %s", [key, os.getpid()])
    await tell("alone", key)


def _gone(pid: int) -> bool:
    """Tell whether a process runs no more."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


hooked = fastq.App()


@hooked.task(retries=1, backoff=0)
async def hopeless(n: int) -> None:
    """Fail always."""
    raise ValueError(f"no {n}")


@hooked.on_failure
async def note_failure(ctx: fastq.Context, error: BaseException) -> None:
    """Tell of each failed attempt."""
    async with hooked.client.connection() as conn:
        await conn.execute("insert into probe (what, value) values ('failure', %s)", [f"{ctx.attempt} {error}"])
    raise RuntimeError("a broken hook harms nobody")


@hooked.on_dead
def note_death(ctx: fastq.Context, error: BaseException) -> None:
    """Tell of the end; a plain function."""
    with psycopg.connect(os.environ["FASTQ_DSN"], autocommit=True) as conn:
        conn.execute("insert into probe (what, value) values ('dead', %s)", [f"{ctx.id} {error}"])


@app.task
def enqueues_in_a_thread(n: int) -> None:
    """A plain function that enqueues."""
    quick.enqueue_sync(n=n)


@app.task
async def noted(n: int) -> None:
    """Tell of it."""
    await tell("booked", n)


@app.task(retries=2, backoff=0.01)
async def booked_by_session(n: int, how: str, ctx: fastq.Context) -> None:
    """Write through a session of SQLAlchemy's, and enqueue; its commit completes the job, whatever comes then."""
    await _book_by_session(engines.asynchronous(), n, how, ctx)


@app.task(retries=2, backoff=0.01)
async def booked_by_asyncpg(n: int, how: str, ctx: fastq.Context) -> None:
    """The same over asyncpg."""
    await _book_by_session(engines.asyncpg(), n, how, ctx)


async def _book_by_session(engine: Any, n: int, how: str, ctx: fastq.Context) -> None:
    from sqlalchemy import text
    from sqlalchemy.ext.asyncio import AsyncSession

    async with AsyncSession(engine) as session:
        await session.execute(text("insert into booked values (:n)"), {"n": n})
        await ctx.complete(session)
        await app.enqueue(noted.job(n=n), conn=session)
        if how == "raise before":
            raise ValueError(how)
        await session.commit()
    if how == "raise after":
        raise ValueError(how)


@app.task(retries=2, backoff=0.01)
def booked_by_session_in_thread(n: int, how: str, ctx: fastq.Context) -> None:
    """The same in a thread."""
    from sqlalchemy import text
    from sqlalchemy.orm import Session

    with Session(engines.synchronous()) as session:
        session.execute(text("insert into booked values (:n)"), {"n": n})
        ctx.complete_sync(session)
        app.enqueue_sync(noted.job(n=n), conn=session)
        if how == "raise before":
            raise ValueError(how)
        session.commit()
    if how == "raise after":
        raise ValueError(how)


@app.task
async def tick() -> None:
    """Take a millisecond, and tell nobody."""
    await asyncio.sleep(0.001)


@app.task
async def climbing(ctx: fastq.Context, n: int) -> None:
    """Say twice how far it has come, the second time at once; end with the gate."""
    await ctx.progress(0.25, "tents")
    await ctx.progress(0.5, f"camp {n}")
    await _released()


@app.task
def climbing_in_a_thread(ctx: fastq.Context, n: int) -> None:
    """Say how far it has come; end with the gate."""
    ctx.progress_sync(0.75, f"camp {n}")
    with psycopg.connect(os.environ["FASTQ_DSN"], autocommit=True) as conn:
        while conn.execute("select from gate limit 1").fetchone() is None:
            time.sleep(0.01)


@app.task
async def sleeps(seconds: float) -> None:
    """Take some time."""
    await asyncio.sleep(seconds)


@app.task
def in_thread_for(seconds: float) -> None:
    """Take some time in a thread."""
    time.sleep(seconds)
