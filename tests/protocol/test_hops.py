"""Synchronous jobs of a packet: threads take them one by one, and what becomes of each is its own."""

from __future__ import annotations

import asyncio
import contextvars
import logging
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from time import monotonic
from typing import Any

import pytest
from packed_jobs import pack
from scene import LANE, Conn, hire, states, take

import fastq
from fastq.host.board import Board, running_key
from fastq.observability.runs import current
from fastq.postgres.link import Link
from fastq.worker.executor import Executor
from fastq.worker.ledger import Ledger
from fastq.worker.packet import PacketBatch
from fastq.worker.threads import Threads

pytestmark = pytest.mark.protocol

PATIENCE_S = 30.0


@pytest.fixture(autouse=True)
def _quiet(caplog: pytest.LogCaptureFixture) -> None:
    """Each success is a line at DEBUG, which no job takes the short way for."""
    caplog.set_level(logging.INFO, "fastq.worker")


@dataclass
class Hand:
    """A worker's ledger and executor, and the packet that it runs."""

    ledger: Ledger
    executor: Executor
    batch: PacketBatch


@asynccontextmanager
async def serving(
    dsn: str, conn: Conn, work: Callable[[int], Any], *, jobs: int, threads: int = 1, **options: Any
) -> AsyncIterator[Hand]:
    """Give a worker that runs a packet of jobs of a synchronous function."""
    app = fastq.App(dsn)
    app.task(name="t", **options)(work)
    await pack(conn, jobs)
    worker, link, (cell,) = await hire(conn), Link(dsn, "fastq test"), Board(cells=1, running=8).cells
    await link.open()
    pool, ledger = Threads(threads), Ledger(link, cell, worker)
    executor = Executor(app, None, concurrency=8, threads=pool, cell=cell, ledger=ledger)
    (packet,) = (await take(conn, worker, limit=jobs)).packets
    opener = executor.opener_of("t")
    assert opener is not None
    assert packet.payloads is not None
    batch = PacketBatch(LANE, packet, opener(packet.payloads), monotonic())
    ledger.opened(batch)
    executor.feed(batch)
    yield Hand(ledger, executor, batch)
    assert await executor.finish(PATIENCE_S)
    await ledger.flush()
    pool.close()
    await link.close()


async def until_closed(hand: Hand) -> None:
    """Wait until everything is through and written."""
    async with asyncio.timeout(PATIENCE_S):
        while hand.ledger.open:
            await hand.ledger.flush()
            await asyncio.sleep(0)


VAR: contextvars.ContextVar[str] = contextvars.ContextVar("var", default="clean")


async def test_each_ends_in_its_own_way(dsn: str, conn: Conn) -> None:
    """What one raises, or leaves in its context, harms none behind it; each knows which job it is."""
    seen: list[tuple[int, str, str]] = []

    def work(n: int) -> None:
        run = current()
        assert run is not None
        seen.append((n, VAR.get(), f"{run.task} {run.job_id}"))
        VAR.set("dirty")
        if n == 1:
            raise ValueError("one")
        if n == 2:
            next(iter(()))
        if n == 3:
            raise SystemExit(3)

    async with serving(dsn, conn, work, jobs=6, retries=0) as hand:
        await until_closed(hand)
        first = hand.batch.row(0)[0]
    assert seen == [(n, "clean", f"t {first + n}") for n in range(6)]
    assert await states(conn) == {first + n: "failed" for n in (1, 2, 3)}
    told = await (await conn.execute("select meta->'errors'->0->>'type' from fastq.finished order by id")).fetchall()
    assert [row[0] for row in told] == ["ValueError", "RuntimeError", "SystemExit"]


async def test_results_are_kept(dsn: str, conn: Conn) -> None:
    """A task that keeps its results has a row for each job."""
    async with serving(dsn, conn, lambda n: n * n, jobs=3, keep=60) as hand:
        await until_closed(hand)
    rows = await (await conn.execute("select state, result::text from fastq.finished order by id")).fetchall()
    assert rows == [("succeeded", "0"), ("succeeded", "1"), ("succeeded", "4")]


async def test_none_waits_behind_one_that_takes_long(dsn: str, conn: Conn) -> None:
    """As many as there are threads run at once: none has taken more jobs than it runs."""
    together = threading.Barrier(4)

    def work(n: int) -> None:
        if n < 4:
            together.wait(PATIENCE_S)

    async with serving(dsn, conn, work, jobs=8, threads=4) as hand:
        await until_closed(hand)
    assert await states(conn) == {}


async def test_what_a_thread_has_taken_is_not_done_before_it_says_so(dsn: str, conn: Conn) -> None:
    """While one job runs, those before it in the same hop are not marked either: they may have failed."""
    begun, go = threading.Event(), threading.Event()

    def work(n: int) -> None:
        if n == 1:
            begun.set()
            go.wait(PATIENCE_S)
        if n == 0:
            raise ValueError("zero")

    async with serving(dsn, conn, work, jobs=3, retries=0) as hand:
        await asyncio.to_thread(begun.wait, PATIENCE_S)
        assert hand.batch.waiting == 1
        await hand.ledger.flush_all()
        ((done,),) = await (
            await conn.execute("select done from fastq.lease where id = %s", [hand.batch.lease])
        ).fetchall()
        assert done == []
        go.set()
        await until_closed(hand)
    assert list((await states(conn)).values()) == ["failed"]


async def test_one_that_waits_is_cancelled_and_never_starts(dsn: str, conn: Conn) -> None:
    """It is struck off while a job before it runs; one that runs ends, and what follows goes on."""
    ran: list[int] = []
    begun, go = threading.Event(), threading.Event()

    def work(n: int) -> None:
        ran.append(n)
        if n == 0:
            begun.set()
            go.wait(PATIENCE_S)

    async with serving(dsn, conn, work, jobs=4) as hand:
        await asyncio.to_thread(begun.wait, PATIENCE_S)
        for ordinal in (0, 2):
            hand.executor.running.cancel(running_key(hand.batch.lease, ordinal))
        go.set()
        await until_closed(hand)
        first = hand.batch.row(0)[0]
    assert ran == [0, 1, 3]
    assert await states(conn) == {first + 2: "cancelled"}


async def test_a_drain_gives_back_what_has_not_begun(dsn: str, conn: Conn) -> None:
    """The job that runs is waited for; the hop takes none after it."""
    begun, go = threading.Event(), threading.Event()

    def work(n: int) -> None:
        begun.set()
        go.wait(PATIENCE_S)

    async with serving(dsn, conn, work, jobs=5) as hand:
        await asyncio.to_thread(begun.wait, PATIENCE_S)
        ending = asyncio.create_task(hand.executor.finish(PATIENCE_S))
        await asyncio.sleep(0)
        go.set()
        assert await ending
        assert (hand.batch.waiting, hand.executor.give_back()) == (4, 4)
        await until_closed(hand)
        first = hand.batch.row(0)[0]
    assert await states(conn) == {first + n: "ready" for n in range(1, 5)}
