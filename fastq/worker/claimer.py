"""The claim loop: finds lanes, claims batches, and waits when there is nothing or no room."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from functools import partial
from time import monotonic
from typing import Any

from psycopg import AsyncConnection

from fastq.config import WorkerConfig
from fastq.link import Link
from fastq.protocol import claim, discover
from fastq.protocol import worker as registry
from fastq.protocol.claim import Claimed, Lane
from fastq.protocol.discover import Window
from fastq.protocol.worker import Standing
from fastq.worker.demand import Demand
from fastq.worker.density import Density
from fastq.worker.executor import Executor
from fastq.worker.intake import Intake
from fastq.worker.lanes import Groups, Lanes, share_of
from fastq.worker.ledger import ACK_AFTER_S, Ledger
from fastq.worker.limits import Limits

log = logging.getLogger("fastq.worker")

RESCAN_MIN_S = 0.02
MEET_MIN_S = 0.003
LOOK_BACK_S = 0.05
RESCAN_SHARE = 0.05
"""Looking at everything from the beginning may cost this share of the time, and so may looking beyond what is known."""

_POLL_FIRST_S = 0.002
_CONFIRM_AGAIN_S = 0.02


class Fenced(Exception):
    """The worker's row is gone: others have, or will have, its jobs. It must not run anything more."""


class Claimer:
    """Claims for one worker. `step` does one round; `run` repeats it."""

    def __init__(self, config: WorkerConfig, *, worker: int, link: Link, executor: Executor, ledger: Ledger) -> None:
        self._config = config
        self._worker = worker
        self._link = link
        self._executor = executor
        self._ledger = ledger
        self._limits = Limits(config.queues)
        self._lanes = Lanes(self._limits.weights)
        self._demand = Demand(batch_size=config.batch_size, prefetch_s=config.prefetch_ms / 1000)
        self._windows = [Window() for _ in range(config.shards)]
        self._lease_ids = range(0)
        self._density = Density()
        self._signal = asyncio.Event()
        self._rung = False
        self._poll_s = _POLL_FIRST_S
        self._rescan_at = self._meet_at = 0.0
        self._horizon = 0
        self._back_at = 0.0
        self._backs = 0
        self.intake = Intake(config, worker=worker, link=link, executor=executor, ledger=ledger)
        self.stopping = False
        self.on_idle: Callable[[int], None] = lambda _: None
        self.on_more: Callable[[], object] = lambda: None
        executor.on_room = self._signal.set
        ledger.on_ready = self.ring

    def ring(self) -> None:
        """There may be new jobs: the doorbell rang."""
        self._rung = True
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
        await self.intake.adopt_if_due()
        want = self._want()
        if not want:
            await self._wait_for_room()
            return True
        picked = self._lanes.pick()
        if picked is None and self._rung and (hunch := self._lanes.hunch()) is not None:
            self._rung = False
            if await self._claim_from(*hunch, want):
                return True
            self._meet_at = 0.0
        await self._look_if_due(picked)
        picked = self._lanes.pick()
        if picked is None:
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

    async def _confirm(self) -> None:
        """Make sure that this worker still has its row, and with it all that it claimed."""
        ask = partial(registry.standing, worker=self._worker, shards=self._config.shards)
        standing = await self._link.call(ask)
        if standing is Standing.GONE:
            raise Fenced(f"worker {self._worker} was given up by the fleet")
        if standing is Standing.IN_TIME:
            self._executor.trust()
        else:
            await asyncio.sleep(_CONFIRM_AGAIN_S)

    async def _look_if_due(self, picked: tuple[Lane, int] | None) -> None:
        """Look for lanes: at everything, or else beyond what is known, each at its share of the time."""
        now = monotonic()
        if now >= self._rescan_at:
            await self._discover()
        elif now >= self._meet_at or (picked is None and self._rung):
            await self._meet(MEET_MIN_S if picked is not None and picked[0].group_key else RESCAN_MIN_S)

    async def _discover(self) -> None:
        """Look at the lanes of all shards: at all of them, or where they are many, at the next windowful."""
        self._rung = False
        await self._limits.refresh_if_due(self._link)
        started = monotonic()
        horizon, self._horizon = self._horizon, await self._link.call(discover.read_horizon)
        behind_start = any(not window.at_start for window in self._windows)
        found = await self._look()
        if not found and behind_start:
            self._windows = [Window() for _ in self._windows]
            found = await self._look()
        self._lanes.learn(self._limits.open(found), horizon)
        if self._executor.known.look_is_due():
            await self._look_for_strangers()
        now = monotonic()
        self._rescan_at = now + max(RESCAN_MIN_S, (now - started) / RESCAN_SHARE)
        self._meet_at = now + RESCAN_MIN_S

    async def _meet(self, pause_s: float) -> None:
        """Look for jobs in quiet lanes, and for new lanes beside those that are known; not again within `pause_s`.

        Where it is time for that, also for what was committed late, behind the marks: each time within the last moment,
        every second time within twice that, every fourth within four times, and so on, which costs the same for each.
        """
        self._rung = False
        started = now = monotonic()
        if all(window.at_start for window in self._windows):
            known, since = self._lanes.known, {}
            if back := now >= self._back_at:
                self._backs += 1
                since = self._lanes.since(now, LOOK_BACK_S * (self._backs & -self._backs))
            for shard in range(self._config.shards):
                found = await self._link.call(partial(self._beyond, shard=shard, known=known, since=since))
                self._lanes.meet(self._limits.open(found))
            now = monotonic()
            if back:
                self._back_at = now + max(LOOK_BACK_S, (now - started) / RESCAN_SHARE)
        self._meet_at = now + max(pause_s, (now - started) / RESCAN_SHARE)

    async def _look(self) -> list[tuple[Lane, int]]:
        found = []
        for shard in range(self._config.shards):
            found += await self._link.call(partial(self._discover_shard, shard=shard))
        return found

    async def _discover_shard(self, conn: AsyncConnection[Any], *, shard: int) -> list[tuple[Lane, int]]:
        return await discover.discover(conn, shard=shard, window=self._windows[shard], **self._kinds)

    async def _beyond(
        self,
        conn: AsyncConnection[Any],
        *,
        shard: int,
        known: Mapping[Lane, int],
        since: Mapping[Lane, tuple[int, int]],
    ) -> list[tuple[Lane, int]]:
        return await discover.discover_beyond(conn, shard=shard, known=known, since=since, **self._kinds)

    async def _look_for_strangers(self) -> None:
        """Tell of jobs in line that no claim of this worker takes, since its app has no such task."""
        for shard in range(self._config.shards):
            look = partial(discover.unwanted, shard=shard, **self._kinds)
            self._executor.known.tell(await self._link.call(look))

    @property
    def _kinds(self) -> dict[str, Any]:
        """Which jobs are looked for."""
        config = self._config
        return {
            "queues": list(config.queues),
            "exclude": config.exclude_queues,
            "tasks": self._executor.known.tasks,
        }

    async def _claim_from(self, lane: Lane, low: int, limit: int) -> int:
        """Claim from a lane, or together with it from the other groups of its queue and priority."""
        if self._limits.waits(lane):
            self._lanes.took(lane, low, 0, dry=True)
            return 0
        batching = self._executor.batching.get(lane.queue)
        if batching is not None and self._config.max_jobs is None:
            limit = max(limit, batching.size)
        groups = () if self._limits.one_by_one(lane.queue) else self._lanes.beside(lane)
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
        jobs, reached = self.intake.accept(replace(lane, group_key=""), claimed)
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
            await self._discover()  # whatever the last jobs enqueued is committed by now
            if len(self._lanes) or self._limits.pause_s is None:
                return bool(len(self._lanes))
        if self._rung or self.stopping:
            return True
        self._signal.clear()
        pause_s = self._limits.pause_s
        self.on_idle(2 if self._executor.quiet else 1)
        with suppress(TimeoutError):
            async with asyncio.timeout(self._poll_s if pause_s is None else min(self._poll_s, pause_s)):
                await self._signal.wait()
                self._limits.ended()
        self.on_idle(0)
        self._poll_s = _POLL_FIRST_S if self._rung else min(self._config.poll_interval_s, self._poll_s * 2)
        return True
