"""What comes into a worker: claimed batches, decoded, and leases that the database holds for it without its knowing."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from time import monotonic
from typing import Any, NamedTuple, TypeVar

import msgspec
from psycopg import AsyncConnection

from fastq.app.tracing import most_of, traces
from fastq.config import WorkerConfig
from fastq.ends.ending import Unreadable
from fastq.ends.outcome import conclude
from fastq.postgres.link import Link
from fastq.protocol import leases, packed
from fastq.protocol.claim import Claimed, Lane, Packet
from fastq.protocol.leases import HeldLease
from fastq.protocol.shards import Shards
from fastq.worker.batch import Batch
from fastq.worker.executor import Executor
from fastq.worker.ledger import Ledger
from fastq.worker.packet import PacketBatch, headers_of, rows_of

log = logging.getLogger("fastq.worker")
T = TypeVar("T")

_ADOPT_EVERY_S = 10.0


class Accepted(NamedTuple):
    """How many jobs came; and where a claim was of many groups, of each row group, last position and jobs, in order."""

    jobs: int
    reached: list[tuple[str, int, int]]


class Intake:
    """Feeds the executor. `claimed` counts the jobs that came."""

    def __init__(
        self,
        config: WorkerConfig,
        *,
        worker: int,
        link: Link,
        executor: Executor,
        ledger: Ledger,
        shards: Shards,
    ) -> None:
        self._config = config
        self._worker = worker
        self._link = link
        self._executor = executor
        self._ledger = ledger
        self._shards = shards
        self._breaks = link.breaks
        self._adopt_at = monotonic() + _ADOPT_EVERY_S
        self.claimed = 0
        self._claimed_then = -1

    async def in_time(self, operation: Callable[[AsyncConnection[Any]], Awaitable[T]]) -> T:
        """Return what the database says we hold; an answer that was long on its way is confirmed before it counts."""
        asked = monotonic()
        answer = await self._link.call(operation)
        if monotonic() - asked > self._config.lease_s / 2:
            self._executor.doubt()
        return answer

    def accept(self, lane: Lane, claimed: Claimed) -> Accepted:
        """Decode what was claimed, feed it to the executor, and return what came.

        A job that cannot be decoded fails, alone and at once.
        """
        jobs, reached = 0, claimed.reached
        if claimed.batch is not None:
            rows, bad = packed.decode(claimed.batch)
            self._executor.known.met(rows[-1][packed.TASK])
            batch = Batch(lane, claimed.lease, rows, monotonic())
            if tracers := self._executor.tracers:
                batch.traced = traces(tracers, lane.queue, len(rows), batch.headers)
                batch.traces_left = None if any(True for _ in batch.headers) else most_of(batch.traced)
            self._take(batch, bad)
            jobs = len(rows)
            if len(rows[-1]) > packed.GROUP:
                reached = [*reached, *((row[packed.GROUP], row[packed.POS], 1) for row in rows)]
        for packet in claimed.packets:
            self._open(lane._replace(group_key=packet.group_key) if packet.group_key else lane, packet)
            jobs += packet.jobs
        return Accepted(jobs, reached)

    def _open(self, lane: Lane, packet: Packet, done: frozenset[int] = frozenset()) -> None:
        """Take the jobs of a packet: decoded in one call, if their task wants no more and all of them fit."""
        open_many = self._executor.opener_of(packet.task)
        tracers = self._executor.tracers
        traced = traces(tracers, lane.queue, packet.jobs, headers_of(packet)) if tracers else ()
        if open_many is not None and packet.meta is None and packet.payloads is not None and not traced:
            start = packet.first - packet.start
            with suppress(msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
                arguments = open_many(packet.payloads)
                if start or len(arguments) != packet.jobs:
                    arguments = arguments[start : start + packet.jobs] if start >= 0 else []
                if len(arguments) == packet.jobs:
                    self._executor.known.met(packet.task)
                    self._take(PacketBatch(lane, packet, arguments, monotonic()), {}, done)
                    return
        rows, bad = rows_of(packet)
        batch = Batch(lane, packet.lease, rows, monotonic())
        batch.traced, batch.traces_left = traced, most_of(traced)
        self._take(batch, bad, done)

    def _take(self, batch: Batch, bad: dict[int, str], done: frozenset[int] = frozenset()) -> None:
        self.claimed += batch.size
        self._ledger.opened(batch)
        for key, row in batch.skim(bad.keys() - done) if bad else ():
            job = batch.job(key, row)
            self._ledger.settle(batch, conclude(job, Unreadable(bad[job.ord])))
        if done:
            batch.leave_out(done)
        if batch.left:
            self._executor.feed(batch)
        else:
            self._ledger.finished(batch)

    async def adopt_if_due(self) -> None:
        """Find leases whose claim committed while the connection broke, and run their jobs."""
        now = monotonic()
        if self._breaks == self._link.breaks and (now < self._adopt_at or self.claimed == self._claimed_then):
            return
        self._breaks, self._adopt_at, self._claimed_then = self._link.breaks, now + _ADOPT_EVERY_S, self.claimed
        held = await self.in_time(partial(leases.list_all_leases, shards=self._shards, worker=self._worker))
        self._drop_lost({lease.lease for lease in held})
        # Judged before the next await: what is acknowledged meanwhile must not look unknown.
        for found in [lease for lease in held if not self._ledger.knows(lease.lease)]:
            await self._adopt(found)

    def _drop_lost(self, held: set[int]) -> None:
        """Let go of jobs that wait here under a lease which is gone: a crash of the database has undone their claim."""
        for batch in [batch for lease, batch in self._ledger.open.items() if lease not in held]:
            if jobs := len(batch.take_rest()):
                log.warning("letting go of %s job(s): the database has lost their claim, others may have them", jobs)
                self._ledger.dropped(batch, jobs)

    async def _adopt(self, found: HeldLease) -> None:
        if await self._ledger.acked_before(found.lane.shard, found.lease):
            return
        if not found.has_keys:
            return
        log.warning("adopting lease %s, whose claim was cut off from its answer", found.lease)
        for packet in found.claimed.packets:
            self._open(found.lane, packet, found.done)
            return
        text = found.claimed.batch or b""
        if (mended := packed.repaired(text)) is not None:
            mend = partial(leases.repair, shard=found.lane.shard, worker=self._worker, leases=[found.lease])
            await self._link.call(mend)
        rows, bad = packed.decode(mended or text)
        self._take(Batch(found.lane, found.lease, rows, monotonic()), bad | packed.unreadable(rows), found.done)
