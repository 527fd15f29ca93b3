"""OpenTelemetry: spans and metrics by its conventions for messaging, with the context carried from enqueue to run.

    fastq.integrations.otel.instrument(app)

A lease is sampled once. Of one that is not, the jobs run as if nobody looked on; of one that is, each has a span. Jobs
that were enqueued within a sampled trace carry its context in their headers (`traceparent`), as all of one call of
`enqueue_many` do, and so do their retries and next steps.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from opentelemetry import context, metrics, propagate, trace
from opentelemetry.trace import Link, SpanKind, Status, StatusCode

import fastq
from fastq.app import App
from fastq.context import Context
from fastq.flow import Flow
from fastq.integrations.sending import Sending, watch
from fastq.job import JobSpec

T = TypeVar("T")

_SYSTEM = {"messaging.system": "fastq"}
_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)


def instrument(
    app: App,
    *,
    tracer_provider: trace.TracerProvider | None = None,
    meter_provider: metrics.MeterProvider | None = None,
    most_per_lease: int = 20,
) -> None:
    """Trace and measure an app, in its producers and in its workers; call it where the app is made.

    Spans: ``send QUEUE`` around an enqueue, ``receive QUEUE`` for a lease that is sampled, ``process QUEUE`` for each
    of its jobs, as a child of the span that enqueued it and with a link to the lease's. A run that raises has the
    status error, with ``error.type``.

    Metrics: ``messaging.client.sent.messages`` and ``messaging.client.operation.duration`` of enqueues,
    ``messaging.client.consumed.messages`` of leases, ``messaging.process.duration`` of the runs that are traced.

    Args:
        app: the app.
        tracer_provider, meter_provider: by default the global ones.
        most_per_lease: so many jobs of a lease have spans, where they carry no context or all the same one.

    """
    version = fastq.__version__
    tracer = trace.get_tracer("fastq", version, tracer_provider)
    meter = metrics.get_meter("fastq", version, meter_provider)
    watching = _OpenTelemetry(tracer, _Instruments.of(meter), most_per_lease)
    watch(app, watching.sending)
    app.tracers.append(watching)


@dataclass(frozen=True, slots=True)
class _Instruments:
    sent: metrics.Counter
    sending_s: metrics.Histogram
    consumed: metrics.Counter
    processing_s: metrics.Histogram

    @classmethod
    def of(cls, meter: metrics.Meter) -> _Instruments:
        def seconds(name: str, text: str) -> metrics.Histogram:
            return meter.create_histogram(name, "s", text, explicit_bucket_boundaries_advisory=_SECONDS)

        return cls(
            sent=meter.create_counter("messaging.client.sent.messages", "{message}", "Jobs that were enqueued."),
            sending_s=seconds("messaging.client.operation.duration", "How long an enqueue took."),
            consumed=meter.create_counter("messaging.client.consumed.messages", "{message}", "Jobs that were claimed."),
            processing_s=seconds("messaging.process.duration", "How long a traced run took."),
        )


class _OpenTelemetry:
    """What `watch` and the workers call."""

    def __init__(self, tracer: trace.Tracer, instruments: _Instruments, most: int) -> None:
        self.most = most
        self._tracer = tracer
        self._instruments = instruments

    # -- enqueue

    @contextmanager
    def sending(self, spec: JobSpec | None) -> Iterator[Sending]:
        """Have a span around an enqueue, whose context the jobs carry if it is sampled."""
        known = _SYSTEM | {"messaging.operation.name": "enqueue", "messaging.operation.type": "send"}
        if spec is not None:
            known |= {"messaging.destination.name": spec.options.queue, "fastq.task": spec.task}
        name = "send" if spec is None else f"send {spec.options.queue}"
        sending, began = Sending(), time.perf_counter()
        with self._tracer.start_as_current_span(name, kind=SpanKind.PRODUCER, attributes=known) as span:
            if span.get_span_context().trace_flags.sampled:
                carrier: dict[str, str] = {}
                propagate.inject(carrier)
                sending.headers = carrier
            try:
                yield sending
            finally:
                told = {name: known[name] for name in ("messaging.system", "messaging.operation.name")}
                if spec is not None:
                    told["messaging.destination.name"] = spec.options.queue
                self._instruments.sent.add(sending.jobs, told)
                self._instruments.sending_s.record(time.perf_counter() - began, told)
            if sending.job_id is not None:
                span.set_attribute("messaging.message.id", str(sending.job_id))
            else:
                span.set_attribute("messaging.batch.message_count", sending.jobs)

    # -- run

    def received(self, queue: str, jobs: int, headers: Iterable[Mapping[str, Any]]) -> trace.SpanContext | None:
        """Return the context of a lease's span if it is sampled, or if a job of it carries a context that is."""
        known = _SYSTEM | {
            "messaging.operation.name": "claim",
            "messaging.operation.type": "receive",
            "messaging.destination.name": queue,
        }
        self._instruments.consumed.add(jobs, known)
        span = self._tracer.start_span(
            f"receive {queue}",
            context.Context(),
            kind=SpanKind.CLIENT,
            attributes=known | {"messaging.batch.message_count": jobs},
        )
        span.end()
        found = span.get_span_context()
        carried = any(_parent(each) is not None for each in headers)
        return found if found.trace_flags.sampled or carried else None

    async def running(self, received: trace.SpanContext, ctx: Context, handler: Callable[[], Awaitable[Any]]) -> Any:
        """Have a span around a run."""
        parent = _parent(ctx.headers)
        if parent is None and not received.trace_flags.sampled:
            return await handler()
        lease = trace.set_span_in_context(trace.NonRecordingSpan(received), context.Context())
        known = _SYSTEM | {
            "messaging.operation.name": "run",
            "messaging.operation.type": "process",
            "messaging.destination.name": ctx.queue,
        }
        more: dict[str, str | int] = {**known, "messaging.message.id": str(ctx.id), "fastq.task": ctx.task}
        if ctx.attempt > 1:
            more["fastq.attempt"] = ctx.attempt
        span = self._tracer.start_span(
            f"process {ctx.queue}",
            parent if parent is not None else lease,
            kind=SpanKind.CONSUMER,
            attributes=more,
            links=[Link(received)] if parent is not None and received.is_valid else None,
        )
        began, token = time.perf_counter(), context.attach(trace.set_span_in_context(span))
        try:
            return await handler()
        except BaseException as exc:
            if not isinstance(exc, Flow):
                known["error.type"] = f"{type(exc).__module__}.{type(exc).__qualname__}"
                span.set_attribute("error.type", known["error.type"])
                span.record_exception(exc)
                span.set_status(Status(StatusCode.ERROR, str(exc)[:200]))
            raise
        finally:
            context.detach(token)
            span.end()
            self._instruments.processing_s.record(time.perf_counter() - began, known)

    def carried(self, work: Callable[[], T]) -> Callable[[], T]:
        """Return `work` within the context that is current here."""
        here = context.get_current()

        def call() -> T:
            token = context.attach(here)
            try:
                return work()
            finally:
                context.detach(token)

        return call


def _parent(headers: Mapping[str, Any]) -> context.Context | None:
    """Return the context that a job carries; None if it carries none that is sampled."""
    carrier = {name: value for name, value in headers.items() if isinstance(value, str)}
    if "traceparent" not in carrier:
        return None
    found = propagate.extract(carrier, context.Context())
    carried = trace.get_current_span(found).get_span_context()
    return found if carried.is_valid and carried.trace_flags.sampled else None
