"""What looks on while jobs run: spans of OpenTelemetry's, transactions of Sentry's. See `fastq.integrations`."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, NamedTuple, Protocol, TypeVar

from fastq.context import Context

T = TypeVar("T")

log = logging.getLogger("fastq.worker")


class Tracer(Protocol):
    """Decides once for each lease whether its jobs are traced, so that those that are not cost nothing.

    `most`: so many jobs of a lease are traced, where they carry no context or all the same one.
    """

    most: int

    def received(self, queue: str, jobs: int, headers: Iterable[Mapping[str, Any]]) -> Any:
        """Return what `running` gets of a lease whose jobs are to be traced, else None.

        `headers` are those of its jobs that have some.
        """
        ...

    async def running(self, received: Any, ctx: Context, handler: Callable[[], Awaitable[Any]]) -> Any:
        """Call the handler of one job, within a span of its own; return or raise what it does."""
        ...

    def carried(self, work: Callable[[], T]) -> Callable[[], T]:
        """Return `work`, to be called in a thread within the span that is the current one here."""
        ...


class Trace(NamedTuple):
    """One tracer, and what it has received."""

    tracer: Tracer
    received: Any

    async def run(self, ctx: Context, handler: Callable[[], Awaitable[Any]]) -> Any:
        """Call the handler of a job as `running` does; whatever the tracer does, what the handler did counts."""
        ends: list[_End] = []

        async def seen() -> Any:
            try:
                ends.append(_End(await handler(), None))
            except BaseException as exc:
                ends.append(_End(None, exc))
                raise
            return ends[0].value

        try:
            await self.tracer.running(self.received, ctx, seen)
        except Exception as exc:
            if not ends or ends[0].error is not exc:
                log.exception("a tracer failed: its job goes on", extra={"per": "tracer"})
        if not ends:
            return await handler()
        if ends[0].error is not None:
            raise ends[0].error
        return ends[0].value

    def carried(self, work: Callable[[], T]) -> Callable[[], T]:
        """Return `work` as the tracer wants it called in a thread; as it is, if the tracer fails."""
        try:
            return self.tracer.carried(work)
        except Exception:
            log.exception("a tracer failed: its job goes on", extra={"per": "tracer"})
            return work


class _End(NamedTuple):
    """What a handler returned or raised."""

    value: Any
    error: BaseException | None


def traces(tracers: Iterable[Tracer], queue: str, jobs: int, headers: Iterable[Mapping[str, Any]]) -> tuple[Trace, ...]:
    """Return who traces the jobs of a lease; nobody, most of the time, and nobody who fails to say."""
    found, some = [], tuple(headers)
    for tracer in tracers:
        try:
            if (received := tracer.received(queue, jobs, some)) is not None:
                found.append(Trace(tracer, received))
        except Exception:
            log.exception("a tracer failed: the jobs run untraced", extra={"per": "tracer"})
    return tuple(found)


def most_of(traced: Iterable[Trace]) -> int | None:
    """Return how many jobs of a lease are traced; None where nobody traces any."""
    return max((trace.tracer.most for trace in traced), default=None)
