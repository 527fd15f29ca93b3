"""The claim loop: finds lanes, claims batches, and waits when there is nothing or no room."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial
from time import monotonic
from typing import Any

from psycopg import AsyncConnection

from fastq.config import WorkerConfig
from fastq.postgres.away import ShardAway, absent
from fastq.postgres.link import Link
from fastq.protocol import claim
from fastq.protocol import worker as registry
from fastq.protocol.claim import Claimed, Lane
from fastq.protocol.shards import Shards
from fastq.protocol.worker import Standing
from fastq.sql import on_cluster
from fastq.worker.demand import Demand
from fastq.worker.density import Density
from fastq.worker.executor import Executor
from fastq.worker.intake import Intake
from fastq.worker.lanes import Groups, share_of
from fastq.worker.ledger import ACK_AFTER_S, Ledger
from fastq.worker.lookout import Lookout

log = logging.getLogger("fastq.worker")

_POLL_FIRST_S = 0.002
_HEARD = 20
"""So many times rarer a worker looks while its host hears of new jobs."""

_RELIEVED = 6
"""So many times rarer still, where another idle worker of the host looks for all: that one calls the others."""

_BURST_S = 0.1
"""So long at most a burst waits for its last jobs to end before it looks whether it is over."""

_VAIN_S = 0.064
"""Who was woken in vain while its host hears of new jobs looks again after so long, and then four times as long."""

_CONFIRM_AGAIN_S = 0.02


def _groups_for(rows: int) -> int:
    """Return how many groups to ask for so many rows: others may be at some of them, or have emptied them."""
    return 64 + 4 * rows


class Fenced(Exception):
    """The worker's row is gone: others have, or will have, its jobs. It must not run anything more."""


class Claimer:
    """Claims for one worker. `step` does one round; `run` repeats it."""

    def __init__(
        self,
        config: WorkerConfig,
        *,
        worker: int,
        link: Link,
        executor: Executor,
        ledger: Ledger,
        shards: Shards | None = None,
    ) -> None:
        self._config = config
        self._worker = worker
        self._link = link
        self._executor = executor
        self._ledger = ledger
        self.shards = Shards(config.shards) if shards is None else shards
        self.lookout = Lookout(config, link=link, known=executor.known, shards=self.shards)
        self._limits, self._lanes = self.lookout.limits, self.lookout.lanes
        self._demand = Demand(batch_size=config.batch_size, prefetch_s=config.prefetch_ms / 1000)
        self._lease_ids = range(0)
        self._density = Density()
        self._signal = asyncio.Event()
        self._poll_s = _POLL_FIRST_S
        self.intake = Intake(config, worker=worker, link=link, executor=executor, ledger=ledger, shards=self.shards)
        self.stopping = False
        self.on_idle: Callable[[int], None] = lambda _: None
        self.on_more: Callable[[], object] = lambda: None
        self.on_vain: Callable[[], object] = lambda: None
        """The doorbell rang for jobs that are none of this worker's, or that another one had first."""

        self.shards_now: Callable[[], int] = lambda: 0
        """How many shards there are by now, as far as this host knows."""
        self.on_joined: Callable[[int], object] = lambda _: None
        self.about: dict[str, Any] = {}
        """What a worker says of itself where it joins a shard."""

        self.listens: Callable[[], bool] = lambda: False
        """Whether this host hears of new jobs."""

        self.watches: Callable[[], bool] = lambda: True
        """Whether it is this one of the host's idle workers that looks for jobs of which nobody has heard."""

        executor.on_room = self._signal.set
        ledger.on_ready = self.ring

    def ring(self, shards: set[int] | None = None) -> None:
        """There may be new jobs: the doorbell rang for some shards, or for all."""
        self.lookout.ring(shards)
        self._signal.set()

    def stop(self) -> None:
        """Claim nothing more; the claim in flight is finished."""
        self.stopping = True
        self._signal.set()

    async def run(self) -> None:
        """Claim until stopped; in burst mode until nothing is left.

        Raises:
            Fenced: this worker was given up by the fleet.

        """
        while not self.stopping and await self.step():
            pass

    async def step(self) -> bool:
        """Do one round: claim, discover or wait. False when a burst has run dry."""
        if self._executor.doubted:
            await self._confirm()
            return True
        await self._grow()
        await self.intake.adopt_if_due()
        want = self._want()
        if not want:
            await self._wait_for_room()
            return True
        picked = self._lanes.pick()
        if picked is None and (guess := self.lookout.guess()) is not None:
            if await self._claim_from(*guess, want):
                return True
            self.lookout.missed()
        rung = self.lookout.rung
        if picked is None:
            await asyncio.sleep(0)  # what has just been claimed starts before a look takes its time
        await self.lookout.if_due(picked)
        picked = self._lanes.pick()
        if picked is None:
            if rung:
                self.on_vain()
            return await self._wait_for_jobs()
        await self._claim_from(*picked, want)
        return True

    @property
    def _exhausted(self) -> bool:
        """Whether this process has claimed all the jobs that it may ever run."""
        return self._config.max_jobs is not None and self.intake.claimed >= self._config.max_jobs

    def _want(self) -> int:
        free, busy = self._executor.free, self._executor.busy
        self._demand.measure(self._ledger.progress, monotonic(), busy=busy)
        want = self._demand.want(free=free, waiting=self._executor.waiting, busy=busy)
        if self._config.max_jobs is not None:
            want = min(want, self._config.max_jobs - self.intake.claimed)
        return want

    # -- database

    async def _grow(self) -> None:
        """Be known in shards that have been added since."""
        if on_cluster():
            await self._join()
        elif (count := self.shards_now()) > self.shards.count:
            joining = partial(registry.join, worker=self._worker, since=self.shards.count, shards=count)
            if not await self._link.call(joining):
                raise Fenced(f"worker {self._worker} was given up by the fleet")
            self.shards.count = count
            self.on_joined(count)

    async def _join(self) -> None:
        """Be known in the shards of a cluster that were away when this worker came, or that have been added since."""
        self.shards.missing |= set(range(self.shards.count, self.shards_now()))
        self.shards.count = max(self.shards.count, self.shards_now())
        if wanted := absent.present(self.shards.missing):
            self.shards.missing -= set(wanted) - await self._link.call(partial(self._enlist, shards=wanted))

    async def _enlist(self, conn: AsyncConnection[Any], *, shards: list[int]) -> set[int]:
        return await registry.enlist(conn, worker=self._worker, shards=shards, **self.about)

    async def _confirm(self) -> None:
        """Make sure that this worker still has its row, and with it all that it claimed."""
        ask = partial(registry.standing, worker=self._worker, shards=self.shards)
        standing = await self._link.call(ask)
        if standing is Standing.GONE:
            raise Fenced(f"worker {self._worker} was given up by the fleet")
        if standing is Standing.IN_TIME:
            self._executor.resume()
        else:
            await asyncio.sleep(_CONFIRM_AGAIN_S)

    async def _claim_from(self, lane: Lane, low: int, limit: int) -> int:
        """Claim from a lane, or together with it from the other groups of its queue and priority."""
        if self._limits.waits(lane):
            self._lanes.took(lane, low, 0, dry=True)
            return 0
        try:
            return await self._claim_there(lane, low, limit)
        except ShardAway as exc:
            absent.note(lane.shard, exc)
            self._lanes.leave(lane.shard)
            return 0

    async def _claim_there(self, lane: Lane, low: int, limit: int) -> int:
        batching = self._executor.batching.get(lane.queue)
        if batching is not None and self._config.max_jobs is None:
            limit = max(limit, batching.size)
        most = _groups_for(self._density.rows(lane.queue, limit))
        groups = () if self._limits.one_by_one(lane.queue) else self._lanes.beside(lane, most)
        jobs = await (self._claim_groups(groups, limit) if groups else self._claim(lane, low, limit))
        if jobs:
            self._poll_s = _POLL_FIRST_S
            if len(self._lanes):
                self.on_more()
        if batching is not None and batching.wait_s and 0 < jobs < batching.size:
            self._limits.rest(lane.queue, batching.wait_s)
        return jobs

    async def _claim(self, lane: Lane, low: int, limit: int) -> int:
        """Claim from a lane; returns how many jobs came."""
        take = self._limits.within(lane, claim.claim)
        rows = self._density.rows(lane.queue, limit)
        claimed = await self._ask(lane, rows, partial(take, lane=lane, low=low, limit=limit))
        jobs, _ = self.intake.accept(lane, claimed)
        self._demand.came(self._density.measure(lane.queue, jobs, claimed))
        self._lanes.took(lane, claimed.hi, jobs, dry=claimed.rows < rows and not claimed.more)
        return jobs

    async def _claim_groups(self, groups: Groups, limit: int) -> int:
        """Claim from many groups; returns how many jobs came."""
        lane = groups[0][0]
        take = self._limits.within(lane, claim.claim_groups)
        rows = self._density.rows(lane.queue, limit)
        share = share_of(rows, len(groups))
        claimed = await self._ask(lane, rows, partial(take, groups=groups, share=share, limit=limit))
        jobs, reached = self.intake.accept(lane._replace(group_key=""), claimed)
        self._demand.came(self._density.measure(lane.queue, jobs, claimed))
        self._lanes.took_groups(groups, share, reached, stopped=claimed.rows >= rows or claimed.more)
        return jobs

    async def _ask(self, lane: Lane, rows: int, statement: Callable[..., Awaitable[Claimed]]) -> Claimed:
        """Return what a claim gives; acks ride along."""
        shelf = lane.shard, lane.segment
        acks = self._ledger.take_acks(shelf)
        breaks, asked = self._link.breaks, monotonic()
        try:
            most = self._demand.soon if self._config.max_jobs is None else 0
            asking = partial(statement, rows=rows, most=most)
            claimed = await self.intake.in_time(partial(self._try, statement=asking, rows=rows, acks=list(acks)))
        except BaseException:
            self._ledger.put_back(shelf, acks)
            raise
        self._demand.claimed(monotonic() - asked)
        self._ledger.patience_s = max(ACK_AFTER_S, self._demand.distance_s)
        self._ledger.acked(acks, set(claimed.acked), sure=breaks == self._link.breaks)
        if not claimed.alive:
            raise Fenced(f"worker {self._worker} was given up by the fleet")
        return claimed

    async def _try(
        self, conn: AsyncConnection[Any], *, statement: Callable[..., Awaitable[Claimed]], rows: int, acks: list[int]
    ) -> Claimed:
        """Claim under ids of its own: the try before this one may have happened."""
        if len(self._lease_ids) <= rows:
            self._lease_ids = await claim.take_lease_ids(conn)
        lease, self._lease_ids = self._lease_ids[0], self._lease_ids[rows + 1 :]
        claimed = await statement(conn, worker=self._worker, lease=lease, acks=acks, tasks=self._executor.known.tasks)
        unused = rows + 1 - (max(claimed.leases, default=lease) - lease + 1)
        self._lease_ids = range(self._lease_ids.start - unused, self._lease_ids.stop)
        return claimed

    # -- waiting

    async def _wait_for_room(self) -> None:
        """Wait until the executor has use for more."""
        self._signal.clear()
        if self._want() or self.stopping:
            return
        if self._exhausted and self._executor.quiet:
            self.stopping = True
            return
        with suppress(TimeoutError):
            async with asyncio.timeout(0.05):
                await self._signal.wait()

    async def _wait_for_jobs(self) -> bool:
        """Wait for the doorbell, or for the poll that stands behind it; False when a burst is over."""
        if self._config.burst and self._executor.quiet and self._ledger.clean:
            await self.lookout.from_zero()  # whatever the last jobs enqueued is committed by now
            if len(self._lanes) or self._limits.pause_s is None:
                return bool(len(self._lanes))
        if self.lookout.rung or self.stopping:
            return True
        self._signal.clear()
        pause_s = self._limits.pause_s
        self.on_idle(2 if self._executor.quiet else 1)
        first_s, factor, most_s = _POLL_FIRST_S, 2, self._config.poll_interval_s
        relieved = 1
        if self._config.burst:
            most_s = min(most_s, _BURST_S)
        elif self.listens():
            first_s, factor, most_s = _VAIN_S, 4, _HEARD * most_s
            relieved = _RELIEVED if self._poll_s == most_s and pause_s is None else 1
        while relieved and not await self._woken(self._poll_s if pause_s is None else min(self._poll_s, pause_s)):
            relieved = 0 if self.watches() else relieved - 1
        self.on_idle(0)
        self._poll_s = first_s if self.lookout.rung else min(most_s, self._poll_s * factor)
        return True

    async def _woken(self, patience_s: float) -> bool:
        """Wait for the doorbell, so long at most; tell whether it rang."""
        with suppress(TimeoutError):
            async with asyncio.timeout(patience_s):
                await self._signal.wait()
                self._limits.ended()
                return True
        return False
