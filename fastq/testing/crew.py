"""A worker inside the test's process: the parts of the real one, put together without a supervisor and a steward.

No process can be killed here, so hard timeouts are not kept, and nobody prolongs the worker's lease: it is long enough.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from socket import gethostname
from typing import Any

from fastq.app import App
from fastq.config import WorkerConfig, find_dsn
from fastq.host.board import Cell, words_of
from fastq.postgres import database
from fastq.postgres.link import Link
from fastq.protocol import worker as registry
from fastq.protocol.shards import Shards
from fastq.schema import migrator
from fastq.testing.runs import Runs
from fastq.worker.claimer import Claimer
from fastq.worker.executor import Executor
from fastq.worker.ledger import Ledger
from fastq.worker.threads import Threads

NAME = "fastq testing"
STATE_OF_LIFESPAN: Any = object()
"""Stands for: enter the app's lifespan, as a worker does."""

_LEASE_S = 3600.0
_GRACE_S = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Hand:
    """One worker: registered, with an executor, and with nothing claimed yet."""

    worker: int
    ledger: Ledger
    executor: Executor

    async def stop(self) -> None:
        """End what runs."""
        self.executor.give_back()
        if not await self.executor.finish(_GRACE_S):
            await self.executor.cancel(_GRACE_S)


@dataclass(frozen=True, slots=True, kw_only=True)
class InProcessFleet:
    """An app that is served, and the database it is served from."""

    app: App
    state: Any
    link: Link
    shards: int
    runs: Runs

    @asynccontextmanager
    async def hire(self, threads: Threads, concurrency: int) -> AsyncIterator[Hand]:
        """Register a worker, until the end."""
        enlist = partial(
            registry.register, host=gethostname(), pid=os.getpid(), name=NAME, lease_s=_LEASE_S, shards=self.shards
        )
        worker = await self.link.call(enlist)
        cell = Cell(0, memoryview(bytearray(8 * words_of(concurrency))).cast("q"))
        ledger = Ledger(self.link, cell, worker)
        executor = Executor(
            self.runs.watching(self.app),
            self.state,
            concurrency=concurrency,
            threads=threads,
            cell=cell,
            ledger=ledger,
        )
        try:
            yield Hand(worker=worker, ledger=ledger, executor=executor)
        finally:
            await self.link.call(partial(registry.unregister, worker=worker, shards=Shards(self.shards)))

    async def burst(self, config: WorkerConfig, threads: Threads) -> None:
        """Run every ready job, and those that they make ready, until a look at all lanes finds none."""
        async with self.hire(threads, config.concurrency) as hand:
            writing = asyncio.create_task(hand.ledger.run(), name="fastq-ledger")
            try:
                while await self._look(config, hand, writing):
                    pass
            finally:
                await hand.stop()
                await hand.ledger.flush()
                writing.cancel()
                await asyncio.gather(writing, return_exceptions=True)

    async def _look(self, config: WorkerConfig, hand: Hand, writing: asyncio.Task[None]) -> bool:
        """Run what a new claimer finds; False when that was nothing.

        A claimer whose lanes have run dry ends without looking for the lanes that its jobs have opened meanwhile.
        """
        before = len(self.runs)
        claimer = Claimer(config, worker=hand.worker, link=self.link, executor=hand.executor, ledger=hand.ledger)
        claiming = asyncio.create_task(claimer.run(), name="fastq-claimer")
        try:
            done, _ = await asyncio.wait({claiming, writing}, return_when=asyncio.FIRST_COMPLETED)
            for core in done:
                core.result()
        finally:
            claimer.stop()
            await asyncio.wait({claiming})
        return len(self.runs) > before


@asynccontextmanager
async def assembled(app: App, state: Any) -> AsyncIterator[InProcessFleet]:
    """Serve an app as a worker does: its database, its lifespan. A test that has it open finds it open afterwards."""
    dsn, shards = await asyncio.to_thread(_find, app)
    async with AsyncExitStack() as stack:
        link = Link(dsn, NAME)
        stack.push_async_callback(link.close)
        await link.open()
        await stack.enter_async_context(app.serving(dsn))
        if state is STATE_OF_LIFESPAN:
            state = await stack.enter_async_context(app.lifespan(app)) if app.lifespan else None
        yield InProcessFleet(app=app, state=state, link=link, shards=shards, runs=Runs())


def _find(app: App) -> tuple[str, int]:
    """Return the DSN of the app's database and its number of shards.

    Raises:
        DatabaseUnreachable, SchemaError: there is none, or none of fastq's.

    """
    dsn = database.reachable(find_dsn(app.dsn))
    with database.connect(dsn, NAME) as conn:
        migrator.check(conn)
        return dsn, migrator.shards(conn)
