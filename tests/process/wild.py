"""Handlers, middleware and hooks that raise whatever Python has."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

import fastq


class Wild(BaseException):
    """What nobody expects to be raised."""


KINDS = {
    "StopIteration": StopIteration,
    "StopAsyncIteration": StopAsyncIteration,
    "GeneratorExit": GeneratorExit,
    "KeyboardInterrupt": KeyboardInterrupt,
    "SystemExit": SystemExit,
    "CancelledError": asyncio.CancelledError,
    "Wild": Wild,
}

app = fastq.App()
wrapped = fastq.App()


@app.task(retries=0)
def in_thread(kind: str) -> None:
    """Raise in a thread."""
    raise KINDS[kind]


@app.task(retries=0)
def empty() -> None:
    """Take the first of nothing."""
    next(iter(()))


@app.task(retries=0)
async def on_loop(kind: str) -> None:
    """Raise on the event loop."""
    raise KINDS[kind]


@app.task(retries=0, batch=3)
def many_in_thread(jobs: list[fastq.BatchItem]) -> None:
    """Raise for all of a batch, in a thread."""
    raise KINDS[jobs[0].args["kind"]]


@app.task(retries=0, batch=3)
async def many_on_loop(jobs: list[fastq.BatchItem]) -> None:
    """Raise for all of a batch, on the event loop."""
    raise KINDS[jobs[0].args["kind"]]


@wrapped.task(retries=0)
async def calm(kind: str) -> None:
    """Do nothing: the middleware raises."""


@wrapped.middleware
async def wild(ctx: fastq.Context, call_next: Callable[[], Awaitable[Any]]) -> Any:
    """Raise what the job says."""
    raise KINDS[ctx.headers["kind"]]


@wrapped.on_failure
async def wild_hook(ctx: fastq.Context, error: BaseException) -> None:
    """Raise it again, in a hook."""
    raise KINDS[ctx.headers["kind"]]


@wrapped.on_dead
def wild_hook_in_thread(ctx: fastq.Context, error: BaseException) -> None:
    """Raise it again, in a hook that runs in a thread."""
    raise KINDS[ctx.headers["kind"]]
