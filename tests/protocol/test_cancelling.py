"""Cancelled jobs inside a worker: those that wait there never start, and the letter box that tells of them."""

from __future__ import annotations

import asyncio
from functools import partial
from time import monotonic

import orjson
import pytest
from scene import LANE, Conn, put, states, take

import fastq
from fastq.host.board import Board, running_key
from fastq.protocol import ack
from fastq.testing.crew import assembled
from fastq.worker.batch import Batch
from fastq.worker.threads import Threads

pytestmark = pytest.mark.protocol


async def test_a_job_that_waits_in_a_worker_never_runs(dsn: str, conn: Conn) -> None:
    """Of three claimed together the second is cancelled while the first runs; the others run."""
    app, ran, begun, go = fastq.App(dsn), [], asyncio.Event(), asyncio.Event()

    @app.task(name="t")
    async def t(n: int) -> None:
        ran.append(n)
        begun.set()
        await go.wait()

    jobs = await put(conn, '{"n": 1}', '{"n": 2}', '{"n": 3}')
    async with assembled(app, None) as crew, crew.hire(Threads(1), 1) as hand:
        claimed = await take(conn, hand.worker)
        assert claimed.batch is not None
        batch = Batch(LANE, claimed.lease, orjson.loads(claimed.batch), monotonic())
        hand.ledger.opened(batch)
        hand.executor.feed(batch)
        await begun.wait()
        for _ in "12":  # a second letter changes nothing
            hand.executor.running.cancel(running_key(claimed.lease, 1))
        hand.executor.running.cancel(running_key(claimed.lease + 1, 1))
        go.set()
        async with asyncio.timeout(10):
            while hand.ledger.open:
                await hand.ledger.flush()
                await asyncio.sleep(0)
        await hand.stop()
        await crew.link.call(partial(ack.ack, shard=0, worker=hand.worker, leases=[batch.lease]))
    assert ran == [1, 3]
    assert await states(conn) == {jobs[1]: "cancelled"}


def test_a_letter_lies_there_once_until_it_is_taken() -> None:
    """The same key is put in once; a full box says so; taking empties it."""
    (cell,) = Board(cells=1, running=1).cells
    assert cell.collect() == []
    assert all(cell.post(7) for _ in range(100))
    assert cell.collect() == [7]
    assert [cell.post(key) for key in range(1, 34)] == [True] * 32 + [False]
    assert cell.collect() == list(range(1, 33))
    assert cell.post(33)
