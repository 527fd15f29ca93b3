"""A standby takes over: fleet and producers follow at once, also from a server that is frozen, and lose nothing."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import handlers
import psycopg
import pytest
from chaos.cluster import Cluster
from fleet import Fleet, until
from probe import states, told

import fastq
from fastq.schema import migrator

pytestmark = [pytest.mark.process, pytest.mark.timeout(180)]


@pytest.fixture
def cluster() -> Iterator[Cluster]:
    """Give a primary and its synchronous standby, with a schema and the tables that the handlers write to."""
    folder = Path(tempfile.mkdtemp(prefix="fastq-test-"))
    folder.chmod(0o755)
    made = Cluster(folder, standby=True)
    try:
        made.open()
        with psycopg.connect(made.dsn(), autocommit=True) as conn:
            migrator.migrate(conn)
            conn.execute("create table probe (id int8 generated always as identity, what text, value text, pid int)")
        yield made
    finally:
        for server in made.servers:
            server.kill()
        shutil.rmtree(folder)


class Producer:
    """Enqueues one job after the other in a thread of its own; `acked` are those that it was told of as enqueued."""

    def __init__(self, dsn: str, first: int, produce: Callable[[Producer, fastq.App], None]) -> None:
        self.acked: list[int] = []
        self.stop = False
        self._numbers = iter(range(first, first + 1_000_000))
        app = fastq.App(dsn, enqueue_retry_s=120)
        self.task = app.task(name="handlers.quick")(handlers.quick.fn)
        self._thread = threading.Thread(target=produce, args=(self, app))
        self._thread.start()

    def synchronously(self, app: fastq.App) -> None:
        """Produce from synchronous code."""
        with app:
            while not self.stop:
                number = next(self._numbers)
                with suppress(fastq.EnqueueOutcomeUnknown):
                    self.task.enqueue_sync(n=number)
                    self.acked.append(number)

    def asynchronously(self, app: fastq.App) -> None:
        """Produce from a coroutine."""

        async def produce() -> None:
            async with app:
                while not self.stop:
                    number = next(self._numbers)
                    with suppress(fastq.EnqueueOutcomeUnknown):
                        await self.task.enqueue(n=number)
                        self.acked.append(number)

        asyncio.run(produce())

    def end(self) -> None:
        """Stop after the one that is on its way."""
        self.stop = True
        self._thread.join()


@pytest.mark.parametrize("frozen", [True, False], ids=["frozen", "killed"])
def test_all_follow_the_primary(cluster: Cluster, monkeypatch: pytest.MonkeyPatch, frozen: bool) -> None:
    """Whoever waits for a frozen server asks the others, and gives it up when one of them is the primary."""
    monkeypatch.setenv("FASTQ_DSN", cluster.dsn())
    with Fleet(cluster.dsn(), "--lease", "10", processes=2) as fleet:
        fleet.ready(2)
        producers = [
            Producer(cluster.dsn(), 0, Producer.synchronously),
            Producer(cluster.dsn(), 1_000_000, Producer.asynchronously),
        ]
        try:
            until("some to be enqueued", lambda: all(len(producer.acked) > 20 for producer in producers))
            cluster.fail_over(frozen=frozen)
            before = [len(producer.acked) for producer in producers]
            if frozen:
                fleet.wait_line("is the primary now, and .* does not answer")
            until("more", lambda: all(len(p.acked) > n + 20 for p, n in zip(producers, before, strict=True)))
        finally:
            for producer in producers:
                producer.end()
        acked = {str(number) for producer in producers for number in producer.acked}
        with psycopg.connect(cluster.dsn(), autocommit=True, connect_timeout=2) as db:
            until("all to end", lambda: not states(db))
            assert acked <= set(told(db, "quick"))
        assert fleet.stop() == 0
