"""Sentry: errors of jobs, and the spans that fill its Queues page.

    sentry_sdk.init(dsn=…, traces_sample_rate=0.01)
    fastq.integrations.sentry.instrument(app)

A lease is sampled once, by `traces_sample_rate`. Of one that is not, the jobs run as if nobody looked on. Errors are
told of all jobs.
"""

from __future__ import annotations

import random
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Any, TypeVar

import sentry_sdk

from fastq.app import App
from fastq.context import Context
from fastq.flow import Flow
from fastq.integrations.sending import Sending, watch
from fastq.job import JobSpec

T = TypeVar("T")


def instrument(app: App, *, retried: bool = True, most_per_lease: int = 20) -> None:
    """Tell Sentry of an app's errors and, where tracing is on, of its enqueues and runs.

    Args:
        app: the app.
        retried: also tell of errors of runs that are tried again; False tells of the last one only.
        most_per_lease: so many jobs of a lease are traced, where they carry no context or all the same one.

    """
    watching = _Sentry(app, retried=retried, most=most_per_lease)
    watch(app, watching.sending)
    app.tracers.append(watching)
    app.on_failure(watching.failed)


class _Sentry:
    """What `watch`, the workers and the hooks call."""

    def __init__(self, app: App, *, retried: bool, most: int) -> None:
        self.most = most
        self._app = app
        self._retried = retried

    # -- errors

    def failed(self, ctx: Context, error: BaseException) -> None:
        """Tell of an error, with what is known of the job."""
        if isinstance(error, Flow) or (ctx.retries_left and not self._retried):
            return
        with sentry_sdk.new_scope() as scope:
            scope.set_transaction_name(ctx.task)
            for name, value in (("task", ctx.task), ("queue", ctx.queue), ("attempt", ctx.attempt)):
                scope.set_tag(f"fastq.{name}", value)
            known = {
                "id": ctx.id,
                "attempt": ctx.attempt,
                "retries_left": ctx.retries_left,
                "headers": dict(ctx.headers),
            }
            scope.set_context("fastq job", known)
            scope.capture_exception(error)

    # -- enqueue

    @contextmanager
    def sending(self, spec: JobSpec | None) -> Iterator[Sending]:
        """Have a span around an enqueue within a trace that is sampled; the jobs carry its context."""
        sending = Sending()
        current = sentry_sdk.get_current_span()
        if current is None or not current.sampled:
            yield sending
            return
        name = "jobs" if spec is None else spec.task
        with sentry_sdk.start_span(op="queue.publish", name=name) as span:
            sending.headers = {
                key: value
                for key, value in (
                    ("sentry-trace", sentry_sdk.get_traceparent()),
                    ("baggage", sentry_sdk.get_baggage()),
                )
                if value
            }
            yield sending
            if spec is not None:
                span.set_data("messaging.destination.name", spec.options.queue)
                span.set_data("messaging.message.id", str(sending.job_id))
                span.set_data("messaging.message.body.size", len(self._app.encode(spec)))

    # -- run

    def received(self, queue: str, jobs: int, headers: Iterable[Mapping[str, Any]]) -> bool | None:  # noqa: ARG002 - of Tracer
        """Return whether a lease is sampled; None: none of its jobs is traced."""
        options = sentry_sdk.get_client().options
        rate = options.get("traces_sample_rate")
        if options.get("traces_sampler") is None and not rate:
            return None
        if options.get("traces_sampler") is not None or random.random() < float(rate or 0):  # noqa: S311 - a sample
            return True
        return False if any("sentry-trace" in each for each in headers) else None

    async def running(self, received: bool, ctx: Context, handler: Callable[[], Awaitable[Any]]) -> Any:
        """Have a transaction around a run, which goes on with the trace that its job carries."""
        carried: dict[str, Any] = {
            name: ctx.headers[name] for name in ("sentry-trace", "baggage") if name in ctx.headers
        }
        if not received and not carried:
            return await handler()
        with sentry_sdk.isolation_scope() as scope:
            scope.clear_breadcrumbs()
            transaction = sentry_sdk.continue_trace(carried, op="queue.task", name=ctx.task, source="task")
            if not carried and sentry_sdk.get_client().options.get("traces_sampler") is None:
                transaction.sampled = True  # decided for the lease
            with (
                sentry_sdk.start_transaction(transaction) as begun,
                sentry_sdk.start_span(op="queue.process", name=ctx.task) as span,
            ):
                _describe(span, ctx)
                try:
                    return await handler()
                except BaseException as exc:
                    status = "ok" if isinstance(exc, Flow) else "internal_error"
                    span.set_status(status)
                    begun.set_status(status)
                    raise

    def carried(self, work: Callable[[], T]) -> Callable[[], T]:
        """Return `work` within the scopes that are current here."""
        isolation, current = sentry_sdk.get_isolation_scope(), sentry_sdk.get_current_scope()

        def call() -> T:
            with sentry_sdk.scope.use_isolation_scope(isolation), sentry_sdk.scope.use_scope(current):
                return work()

        return call


def _describe(span: Any, ctx: Context) -> None:
    """Say what the Queues page shows."""
    waited = datetime.now(UTC) - ctx.enqueued_at
    span.set_data("messaging.system", "fastq")
    span.set_data("messaging.destination.name", ctx.queue)
    span.set_data("messaging.message.id", str(ctx.id))
    span.set_data("messaging.message.retry.count", ctx.attempt - 1)
    span.set_data("messaging.message.receive.latency", round(max(0.0, waited.total_seconds()) * 1000, 3))
