"""What finished and was not yet written to the database: leases to acknowledge, jobs to settle.

Acks ride on the next claim (`take_acks`), or go alone when none comes within a few milliseconds. What the database
refuses because the lease is gone is counted as lost and never tried again.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict, deque
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from itertools import islice
from time import monotonic

from fastq.ends.settlement import Settlement
from fastq.host.board import Cell, Word
from fastq.host.series import Count
from fastq.observability.outcry import cry
from fastq.postgres.away import absent
from fastq.postgres.link import Link
from fastq.protocol import ack, unique
from fastq.protocol.completion import Place
from fastq.protocol.ordered import advances
from fastq.protocol.settle import Place as JobPlace
from fastq.protocol.settle import settle_each
from fastq.states import Goes, JobState
from fastq.worker.batch import Batch
from fastq.worker.counts import Counts

log = logging.getLogger("fastq.worker")

ACK_AFTER_S = 0.003
"""So long, or as long as a claim takes, an ack waits for one to ride on: a trip of its own would be in its way."""

PART_AFTER_S = 0.1
REMEMBERED = 10_000
"""Of so many acknowledged leases it is known that they were, should a crash of the server undo it."""

SETTLED_MOST = 1000
SETTLED_BYTES = 8 * 1024 * 1024
"""About so much is settled by one statement: results may be large."""

STUCK_AGAIN_S = 10.0

Shelf = tuple[int, int]
"""A shard and a segment: where leases stand."""

Entry = tuple[Batch, Settlement]


class Ledger:
    """Collects outcomes and writes them in bulk."""

    def __init__(self, link: Link, cell: Cell, worker: int) -> None:
        self._link = link
        self._cell = cell
        self._worker = worker
        self._finished: defaultdict[Shelf, dict[int, Batch]] = defaultdict(dict)
        self._settling: defaultdict[int, deque[Entry]] = defaultdict(deque)
        self._stuck: list[Entry] = []
        self._acking: set[int] = set()
        self._acked: deque[int] = deque(maxlen=REMEMBERED)
        self._dirty = asyncio.Event()
        self._writing = asyncio.Lock()
        self._finished_jobs = 0
        self.open: dict[int, Batch] = {}
        self.counts = Counts(cell)
        self.patience_s = ACK_AFTER_S
        self.on_ready: Callable[[], None] = lambda: None

    @property
    def progress(self) -> int:
        """How many jobs have finished, of whole batches and of open ones."""
        return self._finished_jobs + sum(batch.size - batch.left for batch in self.open.values())

    def knows(self, lease: int) -> bool:
        """Tell whether a lease is open here, or finished and not surely acknowledged."""
        return lease in self.open or lease in self._acking or any(lease in acks for acks in self._finished.values())

    async def acked_before(self, shard: int, lease: int) -> bool:
        """Acknowledge a lease once more that came back in a crash of the server; False if it never was."""
        if lease not in self._acked:
            return False
        await self._link.call(partial(ack.ack, shard=shard, worker=self._worker, leases=[lease]))
        return True

    @property
    def clean(self) -> bool:
        """Whether everything was written to the database."""
        return not (any(self._settling.values()) or any(self._finished.values()) or self._writing.locked())

    def opened(self, batch: Batch) -> None:
        """Note a batch that was claimed."""
        self.open[batch.lease] = batch
        self._cell.words[Word.CLAIMED] += batch.size
        self.counts.claimed(batch)

    def finished(self, batch: Batch) -> None:
        """Note a batch whose jobs are all finished."""
        del self.open[batch.lease]
        self._finished_jobs += batch.size
        self._cell.words[Word.SUCCEEDED] += batch.size - len(batch.settled)
        self.counts.acked(batch, Count.SUCCEEDED)
        self._finished[batch.lane.shard, batch.lane.segment][batch.lease] = batch
        self._dirty.set()

    def settle(self, batch: Batch, settlement: Settlement, error: BaseException | None = None) -> None:
        """Note a job that goes elsewhere than away, and say so; its batch is finished only after that was written.

        `error` is what its run raised, for the log.
        """
        batch.settled.add(settlement.ord)
        self._settling[batch.lane.shard].append((batch, settlement))
        self._dirty.set()
        if settlement.goes is not Goes.READY:
            cry(log, batch.job_at(settlement.ord), settlement, error=error, queue=batch.lane.queue)

    async def start_unique(self, batch: Batch, ordinal: int, job: int) -> bool:
        """Give a key back that is held until its job starts; False when the lease is gone: it must not start then."""
        place = Place(batch.lane.shard, batch.lease, ordinal)
        return await self._link.call(partial(unique.free_started, place=place, worker=self._worker, job=job))

    def dropped(self, batch: Batch, jobs: int) -> None:
        """Note that some jobs of a batch will not be run here, and that nothing will be written about them."""
        batch.left -= jobs
        if not batch.left:
            del self.open[batch.lease]

    def take_acks(self, shelf: Shelf) -> dict[int, Batch]:
        """Take the leases to acknowledge, to let them ride on a claim; say `acked` or `put_back` afterwards."""
        acks = self._finished.pop(shelf, {})
        self._acking.update(acks)
        return acks

    def put_back(self, shelf: Shelf, acks: dict[int, Batch]) -> None:
        """Keep acks for later, whose statement may not have happened."""
        self._acking.difference_update(acks)
        self._finished[shelf].update(acks)
        self._dirty.set()

    def acked(self, sent: dict[int, Batch], ours: set[int], *, sure: bool) -> None:
        """Note which leases were still ours. `sure` is False when an earlier try may have deleted them."""
        self._acking.difference_update(sent)
        self._acked.extend(sent)
        if len(ours) == len(sent) or not sure:
            return
        for lease, batch in sent.items():
            if lease not in ours and (jobs := batch.size - len(batch.settled)):
                self.counts.acked(batch, Count.LOST)
                self._lost(jobs)

    def _lost(self, jobs: int) -> None:
        self._cell.words[Word.LOST] += jobs
        log.warning(
            "the outcome of %s job(s) was refused: their lease had been taken from this worker",
            jobs,
            extra={"per": "lost"},
        )

    async def run(self) -> None:
        """Write what no claim took along, until cancelled."""
        parts_at = stuck_at = monotonic()
        while True:
            if monotonic() >= stuck_at:
                self._try_stuck()
                stuck_at = monotonic() + STUCK_AGAIN_S
            with suppress(TimeoutError):
                async with asyncio.timeout(PART_AFTER_S):
                    await self._dirty.wait()
            if self._dirty.is_set():
                self._dirty.clear()
                if not any(self._settling.values()):
                    await asyncio.sleep(self.patience_s)
                await self.flush()
            if absent.shards and not self.clean:
                self._dirty.set()
            if monotonic() >= parts_at:
                await self.flush_parts()
                parts_at = monotonic() + PART_AFTER_S

    async def flush(self) -> None:
        """Write everything that is due now."""
        async with self._writing:
            for shard, waiting in list(self._settling.items()):
                with absent.tolerated(shard):
                    while waiting and absent.present((shard,)):
                        await self._flush_settlements(shard)
            for shelf in list(self._finished):
                with absent.tolerated(shelf[0]):
                    if absent.present(shelf[:1]) and (acks := self.take_acks(shelf)):
                        await self._flush_acks(shelf, acks)

    async def _flush_acks(self, shelf: Shelf, acks: dict[int, Batch]) -> None:
        breaks = self._link.breaks
        try:
            ours = await self._link.call(partial(ack.ack, shard=shelf[0], worker=self._worker, leases=list(acks)))
        except BaseException:
            self.put_back(shelf, acks)
            raise
        self.acked(acks, ours, sure=breaks == self._link.breaks)

    async def _flush_settlements(self, shard: int) -> None:
        waiting = self._settling[shard]
        taken = _handful(waiting)
        breaks = self._link.breaks
        instead: dict[JobPlace, Settlement | None] = {}

        def note(tried: Settlement, why: BaseException, written: Settlement | None) -> None:
            instead[tried.lease, tried.ord] = written
            self._refused(tried, why, written)

        settlements = [settlement for _, settlement in taken]
        moved = await self._link.call(
            partial(settle_each, shard=shard, worker=self._worker, settlements=settlements, note=note)
        )
        for batch, settlement in taken:
            waiting.popleft()
            place = settlement.lease, settlement.ord
            written = instead.get(place, settlement)
            if written is None:
                self._stuck.append((batch, settlement))
                continue
            lost = place not in moved and breaks == self._link.breaks
            count = Count.LOST if lost else _counter(written)
            self.counts.of(batch.lane.queue, batch.task_of(settlement.ord)).add(count)
            if lost:
                self._lost(1)
            else:
                self._cell.words[Word[count.name]] += 1
            batch.left -= 1
            if not batch.left:
                self.finished(batch)
        if any(map(advances, settlements)):
            self.on_ready()

    def _refused(self, tried: Settlement, why: BaseException, written: Settlement | None) -> None:
        """Say what became of a job whose end cannot be written."""
        self._cell.words[Word.REFUSED] += 1
        if written is not None:
            text = "job %s is kept as failed, since its end cannot be written: %s"
        else:
            text = "the end of job %s cannot be written in any form, which is tried again: %s"
        log.error(text, tried.id, why, extra={"per": "refused"})

    def _try_stuck(self) -> None:
        """Have another try at what could not be written in any form: a trigger, or a constraint, may be gone."""
        for batch, settlement in self._stuck:
            self._settling[batch.lane.shard].append((batch, settlement))
            self._dirty.set()
        self._stuck.clear()

    async def flush_all(self) -> None:
        """Write everything that has finished, of open batches too."""
        await self.flush()
        await self.flush_parts(older_s=0.0)

    async def flush_parts(self, older_s: float = PART_AFTER_S) -> None:
        """Say which jobs are done in batches that a slow neighbour holds open, so that a crash does not repeat them."""
        running = {abs(key) for key in self._cell.running if key}
        by_shard: defaultdict[int, list[tuple[int, int]]] = defaultdict(list)
        old = monotonic() - older_s
        for batch in self.open.values():
            if batch.claimed_at > old:
                continue
            done = batch.newly_done(running)
            batch.acked.update(done)
            by_shard[batch.lane.shard] += [(batch.lease, ordinal) for ordinal in done]
        for shard, jobs in by_shard.items():
            with absent.tolerated(shard):
                if jobs:
                    await self._link.call(partial(ack.ack_jobs, shard=shard, worker=self._worker, jobs=jobs))


def _handful(waiting: deque[Entry]) -> list[Entry]:
    """Return the first of what waits, as much as one statement takes."""
    taken, size = [], 0
    for entry in islice(waiting, SETTLED_MOST):
        taken.append(entry)
        size += len(entry[1].payload or "") + len(entry[1].result or "")
        if size > SETTLED_BYTES:
            break
    return taken


def _counter(settlement: Settlement) -> Count:
    """Return which counter a settled job belongs to."""
    match settlement.goes:
        case Goes.READY:
            return Count.RETURNED
        case Goes.SCHEDULED:
            return Count.RETRIED
        case Goes.DONE:
            return Count.SUCCEEDED
        case Goes.FINISHED:
            return Count.FAILED if settlement.state != JobState.SUCCEEDED else Count.SUCCEEDED
