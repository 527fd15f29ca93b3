"""Spans, metrics and error reports of an app, by the real SDKs with exporters that keep what they get."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
import sentry_sdk
from opentelemetry import trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON, ParentBased, Sampler, TraceIdRatioBased
from opentelemetry.trace import SpanKind, StatusCode

import fastq
from fastq import testing
from fastq.integrations import otel, sentry
from fastq.integrations import structlog as for_structlog

pytestmark = pytest.mark.process
Db = psycopg.Connection[Any]


class Observed:
    """An app that is traced, and what its spans and metrics were."""

    def __init__(self, sampler: Sampler, **options: Any) -> None:
        self.exporter = InMemorySpanExporter()
        self.provider = TracerProvider(sampler=sampler)
        self.provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.reader = InMemoryMetricReader()
        self.app = fastq.App()
        otel.instrument(
            self.app,
            tracer_provider=self.provider,
            meter_provider=MeterProvider(metric_readers=[self.reader]),
            **options,
        )
        self.tracer = self.provider.get_tracer("test")

    def spans(self, begins: str) -> list[ReadableSpan]:
        """Return the finished spans whose name begins so."""
        return [span for span in self.exporter.get_finished_spans() if span.name.startswith(begins)]

    def metrics(self) -> dict[str, Any]:
        """Return the sum, or the count of what was recorded, of each metric."""
        data = self.reader.get_metrics_data()
        assert data is not None
        found = {}
        for metric in data.resource_metrics[0].scope_metrics[0].metrics:
            found[metric.name] = sum(getattr(p, "value", getattr(p, "count", 0)) for p in metric.data.data_points)
        return found


def ids(spans: list[ReadableSpan]) -> set[int]:
    """Return the ids of spans."""
    return {span.context.span_id for span in spans if span.context}


def parents(spans: list[ReadableSpan]) -> set[int]:
    """Return the ids of their parents."""
    return {span.parent.span_id for span in spans if span.parent}


@pytest.fixture
def observed(dsn: str) -> Observed:
    """Give one that samples everything."""
    return Observed(ParentBased(ALWAYS_ON), most_per_lease=1000)


async def test_from_the_request_to_the_last_retry(observed: Observed, db: Db) -> None:
    """One trace: the request, the enqueue, both runs of the job, the job that it enqueued, the next step of that."""
    app = observed.app

    @app.task(queue="mail", retries=1, backoff=0.01)
    async def welcome(ctx: fastq.Context, n: int) -> None:
        if ctx.attempt == 1:
            raise ValueError("at first")
        await ctx.enqueue(first.job())

    @app.task
    def first() -> Any:
        assert trace.get_current_span().get_span_context().is_valid  # in a thread, too
        return second.next()

    @app.task
    async def second() -> None: ...

    async with app:
        with observed.tracer.start_as_current_span("request") as request:
            job = await welcome.enqueue(n=1)
        await testing.drain(app, retries=True, check=False)
    mine = [span for span in observed.exporter.get_finished_spans() if not span.name.startswith("receive")]
    assert {span.context.trace_id for span in mine if span.context} == {request.get_span_context().trace_id}
    (send, _) = observed.spans("send")
    runs = observed.spans("process")
    assert [span.name for span in runs] == ["process mail", "process mail", "process default", "process default"]
    assert all(span.kind is SpanKind.CONSUMER and span.links for span in runs)
    assert send.kind is SpanKind.PRODUCER
    assert dict(send.attributes or {}) == {
        "messaging.system": "fastq",
        "messaging.operation.name": "enqueue",
        "messaging.operation.type": "send",
        "messaging.destination.name": "mail",
        "messaging.message.id": str(job.id),
        "fastq.task": welcome.name,
    }
    failed, succeeded = runs[:2]
    assert parents([failed, succeeded]) == ids([send])
    assert failed.status.status_code is StatusCode.ERROR
    assert (failed.attributes or {})["error.type"] == "builtins.ValueError"
    assert failed.events[0].name == "exception"
    assert succeeded.status.status_code is StatusCode.UNSET
    assert [(span.attributes or {}).get("fastq.attempt") for span in runs] == [None, 2, None, None]


async def test_a_stream_carries_one_context(observed: Observed, db: Db) -> None:
    """Its jobs are still in packets; what a job has of headers itself stays; four metrics count them all."""
    app = observed.app

    @app.task
    async def quick(n: int) -> None: ...

    async with app:
        await app.enqueue_many(quick.job(n=n) for n in range(500))
        await app.enqueue_many([quick.options(headers={"tenant": "acme"}).job(n=500)])
        assert db.execute("select count(*) from fastq.packet").fetchone() == (1,)
        headers = db.execute("select meta -> 'headers' from fastq.ready order by pos").fetchall()
        assert [sorted(each) for (each,) in headers] == [["traceparent"], ["tenant", "traceparent"]]
        await testing.drain(app)
    first, second = observed.spans("send")
    assert (first.attributes or {})["messaging.batch.message_count"] == 500
    runs = observed.spans("process")
    assert len(runs) == 501
    assert parents(runs) == ids([first, second])
    assert observed.metrics() == {
        "messaging.client.sent.messages": 501,
        "messaging.client.operation.duration": 2,
        "messaging.client.consumed.messages": 501,
        "messaging.process.duration": 501,
    }


async def test_what_is_not_sampled_runs_as_ever(dsn: str, db: Db) -> None:
    """No header, no span, and the way of those that nobody looks at; but they are counted."""
    observed = Observed(ALWAYS_OFF)
    app, slow = observed.app, []

    @app.task
    async def quick(n: int) -> None:
        slow.append(trace.get_current_span().get_span_context().is_valid)

    async with app:
        with observed.tracer.start_as_current_span("request"):
            await app.enqueue_many(quick.job(n=n) for n in range(100))
        assert db.execute("select meta from fastq.ready").fetchall() == [(None,)]
        await testing.drain(app)
    assert observed.exporter.get_finished_spans() == ()
    assert slow == [False] * 100
    assert observed.metrics()["messaging.client.consumed.messages"] == 100


async def test_a_lease_is_sampled_as_a_whole(dsn: str, db: Db) -> None:
    """Of many leases some are traced, with all of their jobs."""
    observed = Observed(ParentBased(TraceIdRatioBased(0.5)))
    app = observed.app

    @app.task
    async def quick(n: int) -> None: ...

    sender = fastq.App()
    sender.tasks = app.tasks
    async with sender:
        for lane in range(40):
            await sender.enqueue_many(quick.options(queue=f"q{lane}").job(n=n) for n in range(10))
    await testing.drain(app)
    leases, runs = observed.spans("receive"), observed.spans("process")
    assert 0 < len(leases) < 40
    assert len(runs) == sum(int((span.attributes or {})["messaging.batch.message_count"]) for span in leases)
    assert parents(runs) == ids(leases)


async def test_few_of_a_lease(dsn: str, db: Db) -> None:
    """Of jobs that carry the same context so many are traced; those that each carry their own are, all of them."""
    observed = Observed(ParentBased(ALWAYS_ON), most_per_lease=3)
    app = observed.app

    @app.task
    async def quick(n: int) -> None: ...

    async with app:
        await app.enqueue_many(quick.options(queue="packet").job(n=n) for n in range(100))
        for n in range(20):
            await quick.enqueue(n=n)
        await testing.drain(app, concurrency=10)
    assert db.execute("select count(*) from fastq.job").fetchone() == (0,)
    assert len(observed.spans("process default")) == 20
    assert len(observed.spans("process packet")) == 3 * len(observed.spans("receive packet"))


async def test_a_tracer_that_fails_is_no_jobs_trouble(dsn: str, db: Db, caplog: pytest.LogCaptureFixture) -> None:
    """Its error is logged, and the jobs run untraced."""
    app = fastq.App()

    class Broken:
        most = 1

        def received(self, *_: Any) -> Any:
            raise RuntimeError("no tracing today")

    app.tracers.append(Broken())  # type: ignore[arg-type]

    @app.task
    async def quick(n: int) -> None: ...

    async with app:
        await app.enqueue_many(quick.job(n=n) for n in range(10))
        await testing.drain(app)
    assert db.execute("select count(*) from fastq.job").fetchone() == (0,)
    assert "no tracing today" in caplog.text


class Failing:
    """A tracer that fails somewhere, and has seen the headers of the jobs."""

    most = 100

    def __init__(self, where: str = "") -> None:
        self.where = where
        self.headers: list[Any] = []

    def received(self, _: str, jobs: int, headers: Any) -> int:
        """Trace all."""
        self.headers += list(headers)
        return jobs

    async def running(self, _: Any, __: Any, handler: Any) -> Any:
        """Fail before the handler, behind it, or keep to itself what it raised."""
        if self.where == "before":
            raise RuntimeError("before")
        try:
            found = await handler()
        except ValueError:
            if self.where == "swallows":
                return None
            raise
        if self.where == "behind":
            raise RuntimeError("behind")
        return found

    def carried(self, work: Any) -> Any:
        """Fail for what runs in a thread."""
        if self.where == "carried":
            raise RuntimeError("carried")
        return work


@pytest.mark.parametrize("where", ["before", "behind", "carried", "swallows"])
async def test_what_a_tracer_does_changes_no_end(dsn: str, db: Db, where: str) -> None:
    """Each job runs once and ends as its handler says, on the loop or in a thread."""
    app, ran = fastq.App(), []
    app.tracers += [Failing(where), Failing()]  # type: ignore[list-item]

    @app.task(keep=60)
    async def fine(n: int) -> int:
        ran.append(n)
        return n

    @app.task(keep=60)
    def threaded(n: int) -> int:
        ran.append(n)
        return n

    @app.task(retries=0)
    async def bad(n: int) -> None:
        ran.append(n)
        raise ValueError(n)

    async with app:
        for n, task in enumerate((fine, threaded, bad)):
            await task.enqueue(n=n)
        await testing.drain(app, check=False)
    assert sorted(ran) == [0, 1, 2]
    ends = db.execute("select task, state, result::text from fastq.finished order by task").fetchall()
    assert [(name.rpartition(".")[2], state, result) for name, state, result in ends] == [
        ("bad", "failed", None),
        ("fine", "succeeded", "0"),
        ("threaded", "succeeded", "1"),
    ]


async def test_two_tracers_see_the_same_headers(dsn: str) -> None:
    """The first one takes nothing away from the second."""
    app, tracers = fastq.App(), (Failing(), Failing())
    app.tracers += tracers  # type: ignore[arg-type]

    @app.task
    async def quick(n: int) -> None: ...

    async with app:
        await quick.options(headers={"a": "b"}).enqueue(n=1)
        await testing.drain(app)
    assert [tracer.headers for tracer in tracers] == [[{"a": "b"}], [{"a": "b"}]]


async def test_full_headers_carry_no_context(observed: Observed, db: Db) -> None:
    """A job whose own headers leave no room is enqueued as it is."""
    app = observed.app

    @app.task
    async def quick(n: int) -> None: ...

    full = {"a": "x" * 65_500}
    async with app:
        await quick.options(headers=full).enqueue(n=1)
    assert db.execute("select meta -> 'headers' ->> 'traceparent' from fastq.ready").fetchone() == (None,)


# -- Sentry


class Transport(sentry_sdk.transport.Transport):
    """Keeps what would be sent."""

    def __init__(self, options: Any = None) -> None:
        super().__init__(options)
        self.items: list[dict[str, Any]] = []

    def capture_envelope(self, envelope: Any) -> None:
        """Keep an envelope's events."""
        known = [item for item in envelope.items if item.headers["type"] != "client_report"]
        self.items += [json.loads(item.get_bytes()) for item in known]

    def of(self, kind: str) -> list[dict[str, Any]]:
        """Return the events of a type; errors have none."""
        return [item for item in self.items if item.get("type", "error") == kind]


@pytest.fixture
def reported() -> Iterator[Transport]:
    """Have Sentry's SDK send what happens into a list."""
    transport = Transport()
    sentry_sdk.init(
        dsn="http://public@localhost/1",
        transport=transport,
        traces_sample_rate=1.0,
        default_integrations=False,
        auto_enabling_integrations=False,
    )
    yield transport
    sentry_sdk.get_client().close()
    sentry_sdk.init()


async def test_sentry(reported: Transport, dsn: str, db: Db) -> None:
    """The trace of a request goes on in the job, with what the Queues page shows; an error is told with its job."""
    app = fastq.App()
    sentry.instrument(app)

    @app.task(queue="mail", retries=1, backoff=0.01)
    def welcome(n: int) -> None:
        if n == 1:
            raise ValueError("no")
        sentry_sdk.get_current_span().set_data("inside", True)  # type: ignore[union-attr]

    async with app:
        with sentry_sdk.start_transaction(op="http.server", name="request") as request:
            good = await welcome.enqueue(n=0)
        await welcome.enqueue(n=1)
        await testing.drain(app, retries=True, check=False)
    sent, *ran = reported.of("transaction")
    publish = next(span for span in sent["spans"] if span["op"] == "queue.publish")
    assert publish["data"]["messaging.message.id"] == str(good.id)
    assert publish["data"]["messaging.destination.name"] == "mail"
    assert publish["data"]["messaging.message.body.size"] == len(b'{"n":0}')
    (mine,) = [each for each in ran if each["contexts"]["trace"]["trace_id"] == request.trace_id]
    process = next(span for span in mine["spans"] if span["op"] == "queue.process")
    assert process["data"]["messaging.message.id"] == str(good.id)
    assert process["data"]["messaging.message.retry.count"] == 0
    assert process["data"]["messaging.message.receive.latency"] >= 0
    assert process["data"]["inside"] is True
    errors = reported.of("error")
    assert [error["exception"]["values"][0]["type"] for error in errors] == ["ValueError"] * 2
    assert [error["tags"]["fastq.attempt"] for error in errors] in ([1, 2], ["1", "2"])
    assert errors[0]["tags"]["fastq.task"] == welcome.name


async def test_sentry_without_tracing(dsn: str, db: Db) -> None:
    """Errors are told of the last run only, if so wanted; nothing is carried."""
    transport = Transport()
    sentry_sdk.init(dsn="http://public@localhost/1", transport=transport, default_integrations=False)
    try:
        app = fastq.App()
        sentry.instrument(app, retried=False)

        @app.task(retries=1, backoff=0.01)
        async def fails() -> None:
            raise ValueError("no")

        async with app:
            await fails.enqueue()
            assert db.execute("select meta from fastq.ready").fetchall() == [(None,)]
            await testing.drain(app, retries=True, check=False)
        assert len(transport.items) == 1
    finally:
        sentry_sdk.get_client().close()
        sentry_sdk.init()


# -- logs


async def test_structlog(dsn: str, db: Db) -> None:
    """Each record of a handler has its job; one that is made elsewhere has none."""
    import structlog

    records: list[dict[str, Any]] = []

    def keep(_: Any, __: str, event: Any) -> Any:
        records.append(dict(event))
        raise structlog.DropEvent

    logger = structlog.wrap_logger(logging.getLogger("test"), processors=[for_structlog.add_job, keep])
    app = fastq.App()

    @app.task(queue="mail")
    async def welcome() -> None:
        logger.info("hello", queue="mine")

    @app.task
    def in_thread() -> None:
        logger.info("hello")

    async with app:
        one, two = await welcome.enqueue(), await in_thread.enqueue()
        await testing.drain(app)
    logger.info("outside")
    *inside, outside = records
    assert sorted(inside, key=lambda each: int(each["job_id"])) == [
        {"event": "hello", "queue": "mine", "job_id": one.id, "task": welcome.name, "attempt": 1},
        {"event": "hello", "queue": "default", "job_id": two.id, "task": in_thread.name, "attempt": 1},
    ]
    assert outside == {"event": "outside"}
