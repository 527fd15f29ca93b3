"""A hop of a few synchronous jobs that one thread runs, so that not each of them costs a way there and back.

The thread takes a job when it is about to start it, and no further one after about a millisecond. So no job ever waits
in a thread behind another: what nobody has begun is still in its batch, for whoever is free, or to be given back.
"""

from __future__ import annotations

import contextvars
from array import array
from asyncio import CancelledError
from collections.abc import Callable
from functools import partial
from time import perf_counter
from typing import Any, NamedTuple

from msgspec.structs import astuple

from fastq.host.board import Cell, split_key
from fastq.host.series import SHORT_S
from fastq.observability.runs import Look, enter
from fastq.protocol.packed import TASK
from fastq.worker.attempts import Attempts
from fastq.worker.ledger import Ledger
from fastq.worker.packet import PacketBatch
from fastq.worker.runner import Runner
from fastq.worker.threads import Threads, outcome_of

LASTS_S = 0.001


class Ended(NamedTuple):
    """A run whose end is more than an ack: what it returned, or what it raised."""

    key: int
    result: Any
    error: BaseException | None
    began: float


class Hop:
    """Jobs of one packet, run one after the other; `done` of them returned nothing, and `ended` are the others.

    They took `spent_s` in all; `longer_s` are those that took longer than SHORT_S.
    """

    def __init__(self, batch: PacketBatch, fn: Callable[..., Any], *, keeps: bool) -> None:
        self.batch = batch
        self._fn = fn
        self._keeps = keeps
        self.taken = array("q")
        self.done = 0
        self.ended: list[Ended] = []
        self.spent_s = 0.0
        self.longer_s: list[float] = []

    def run(self, running: memoryview[int], number: int, look: Look, goes_on: Callable[[], bool]) -> None:
        """Run jobs in this thread while it `goes_on`; the board has slot `number` `running` each of them."""
        context = contextvars.Context()
        context.run(enter, look)
        clock, ends_at = perf_counter, perf_counter() + LASTS_S
        while goes_on() and (pair := self.batch.take(self.taken)) is not None:
            key, arguments = pair
            running[number] = key
            began = clock()
            result, error = outcome_of(partial(self._call, context.copy(), arguments))
            if error is None and result is None and not self._keeps:
                self.done += 1
            else:
                self.ended.append(Ended(key, result, error, began))
            now = clock()
            self.spent_s += now - began
            if now - began > SHORT_S:
                self.longer_s.append(now - began)
            if now >= ends_at:
                break
        running[number] = 0

    def _call(self, context: contextvars.Context, arguments: Any) -> Any:
        return context.run(self._fn, *astuple(arguments))


class Hops:
    """Has threads run hops, and notes what becomes of their jobs."""

    def __init__(self, attempts: Attempts, *, threads: Threads, cell: Cell, ledger: Ledger) -> None:
        self._attempts = attempts
        self._threads = threads
        self._running = cell.running
        self._ledger = ledger

    async def run(
        self, runner: Runner, number: int, batch: PacketBatch, look: Look, goes_on: Callable[[], bool]
    ) -> None:
        """Have a thread run jobs of a packet in the name of slot `number`, until a moment is over, or all are taken."""
        hop = Hop(batch, runner.fn, keeps=runner.keeps)
        try:
            await self._threads.run(partial(hop.run, self._running, number, look, goes_on))
        finally:
            self._end(hop)

    def _end(self, hop: Hop) -> None:
        batch, done = hop.batch, hop.done
        series = self._ledger.counts.of(batch.lane.queue, batch.task)
        series.spent(hop.spent_s)
        for seconds in hop.longer_s:
            series.ran(seconds)
        for key, result, error, began in hop.ended:
            row = batch.row(split_key(key)[1])
            if error is None and row[TASK] is not None:
                done += self._attempts.returned(batch, key, row, result, began)
            else:  # it raised, or somebody cancelled it while nobody here knew yet that it had ended
                self._attempts.raised(batch, key, row, error or CancelledError(), began)
        batch.back(hop.taken)
        batch.left -= done
        if done and not batch.left:
            self._ledger.finished(batch)
