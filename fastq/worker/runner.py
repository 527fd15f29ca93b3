"""How one task is run: made once per task when the worker starts, so that the hot path decides nothing twice."""

from __future__ import annotations

import asyncio
import functools
import logging
from collections.abc import Awaitable, Callable
from typing import Any

import msgspec

from fastq.app import App, provide
from fastq.context import Context
from fastq.ends.outcome import RetryPolicy
from fastq.errors import UsageError
from fastq.task import Task, Timeouts

log = logging.getLogger("fastq.worker")


_decode_objects = msgspec.json.Decoder(list[dict[str, Any]]).decode


class Runner:
    """A task made ready to run.

    `plain` tells that the handler wants nothing but its payload: no context, no timeout, no middleware. Then
    ``fn(*astuple(open(payload)))`` is all there is to a run, which is awaited if it is `fast`: a coroutine function.
    """

    __slots__ = (
        "_app",
        "_state",
        "batch",
        "fast",
        "fn",
        "hard_s",
        "is_async",
        "keeps",
        "open",
        "open_many",
        "plain",
        "policy",
        "soft_s",
        "task",
        "threaded",
    )

    def __init__(self, task: Task[Any, Any], app: App, state: Any) -> None:
        self.task = task
        self.fn: Callable[..., Any] = task.fn
        self.is_async = task.is_async
        self.open = task.arguments.opener
        self.policy: RetryPolicy = task.policy
        self.soft_s, self.hard_s = task.timeouts.soft_s, task.timeouts.hard_s
        self._app = app
        self._state = state
        for wanted in task.arguments.injected:
            if wanted.type is not Context and state is None:
                raise UsageError(f"{task.name} wants a {wanted.type.__name__}, but the lifespan yielded nothing")
        self.plain = task.arguments.by_place and task.timeouts == Timeouts() and not app.middlewares
        self.fast = self.plain and task.is_async
        self.batch = 0 if task.batching is None else task.batching.size
        self.threaded = self.plain and not task.is_async and not self.batch
        self.keeps = task.policy.keep_s is not None
        self.open_many = _decode_objects if self.batch else task.arguments.many_opener if self.plain else None

    def context(self, **job: Any) -> Context:
        """Return the context of one run."""
        return Context(app=self._app, state=self._state, **job)

    def arguments(self, payload: Any, ctx: Context) -> dict[str, Any]:
        """Return the handler's arguments by name, converted and injected.

        Raises:
            msgspec.ValidationError: the payload does not fit the signature.

        """
        given = self.task.arguments.open(payload)
        for wanted in self.task.arguments.injected:
            given[wanted.name] = ctx if wanted.type is Context else provide(self._state, wanted.type)
        return given

    async def run(self, arguments: dict[str, Any], ctx: Context, in_thread: Callable[..., Awaitable[Any]]) -> Any:
        """Run the handler inside the app's middlewares and within its timeout."""

        async def call() -> Any:
            if self.is_async:
                return await self.fn(**arguments)
            work: Callable[[], Any] = functools.partial(self.fn, **arguments)
            for trace in ctx.traced:
                work = trace.carried(work)
            return await in_thread(work)

        handler: Callable[[], Awaitable[Any]] = call
        for middleware in reversed(self._app.middlewares):
            handler = functools.partial(middleware, ctx, handler)
        for trace in ctx.traced:
            handler = functools.partial(trace.run, ctx, handler)
        try:
            return await _in_time(handler, ctx)
        finally:
            if ctx.teller is not None:
                await ctx.teller.ended()


async def _in_time(handler: Callable[[], Awaitable[Any]], ctx: Context) -> Any:
    """Return what the handler returns within its timeout, if it has one."""
    if ctx.timeout_s is None:
        return await handler()
    ctx.deadline = asyncio.get_running_loop().time() + ctx.timeout_s
    try:
        async with asyncio.timeout_at(ctx.deadline) as scope:
            result = await handler()
    except TimeoutError:
        if scope.expired():
            raise TimeoutError(f"ran longer than its timeout of {ctx.timeout_s} s") from None
        raise
    if scope.expired():
        text = "job %s of %s ended well, but after its timeout of %s s"
        log.warning(text, ctx.id, ctx.task, ctx.timeout_s, extra={"per": ctx.task})
    return result


PayloadMisfit = msgspec.ValidationError
"""What `Runner.open` raises when a payload does not fit; such a job fails at once, since no retry can help."""
