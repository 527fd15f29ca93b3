"""Where there are jobs to claim, and when to look for them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Collection, Mapping
from functools import partial
from time import monotonic
from typing import Any

from psycopg import AsyncConnection

from fastq.config import WorkerConfig
from fastq.postgres.away import absent
from fastq.postgres.link import Link
from fastq.protocol import discover
from fastq.protocol.claim import Lane
from fastq.protocol.discover import Window
from fastq.protocol.shards import Shards
from fastq.sql import on_cluster
from fastq.worker.known import Known
from fastq.worker.lanes import Lanes
from fastq.worker.limits import QueueLimits

RESCAN_MIN_S = 0.02
BEYOND_MIN_S = 0.003
LOOK_BACK_S = 0.05
RESCAN_SHARE = 0.05
"""Looking at everything from the beginning may cost this share of the time, and so may looking beyond what is known."""

CLUSTER_SHARE = 0.01
"""The same on a cluster, whose nodes are asked one shard after the other."""


class Lookout:
    """Finds lanes for one worker's claims. `rung`: the doorbell has rung since it last looked."""

    def __init__(self, config: WorkerConfig, *, link: Link, known: Known, shards: Shards) -> None:
        self._config = config
        self._link = link
        self._known = known
        self._shards = shards
        self._windows: defaultdict[int, Window] = defaultdict(Window)
        self._where: set[int] | None = set()
        """In which shards the doorbell says that there are new jobs; None: anywhere."""
        self._zero_at = self._beyond_at = 0.0
        self._horizon = 0
        self._back_at = 0.0
        self._backs = 0
        self.limits = QueueLimits(config.queues, shards)
        self.lanes = Lanes(self.limits.weights)
        self.rung = False
        self._share = CLUSTER_SHARE if on_cluster() else RESCAN_SHARE
        self.speaks: Callable[[], bool] = lambda: True
        """Whether this worker tells what concerns its host as a whole."""

    def ring(self, shards: set[int] | None = None) -> None:
        """Note that there may be new jobs in some shards, or anywhere."""
        self.rung = True
        self._where = None if shards is None or self._where is None else self._where | shards

    def guess(self) -> tuple[Lane, int] | None:
        """Return the lane where the doorbell's new job is most likely, if one is."""
        where = set(self._shards) if self._where is None else self._where
        guess = self.lanes.guess(min(where)) if self.rung and len(where) == 1 else None
        self.rung = self.rung and guess is None
        return guess

    def missed(self) -> None:
        """Note that the lane where a new job was guessed had none: look beyond what is known at once."""
        self.rung = True

    async def if_due(self, picked: tuple[Lane, int] | None) -> None:
        """Look for lanes: at everything, or else beyond what is known, each at its share of the time."""
        now = monotonic()
        if now >= self._zero_at or (picked is None and self._midway):
            await self.from_zero()
        elif picked is None and self.rung and self._where:
            await self.beyond(RESCAN_MIN_S, self._where)
        elif now >= self._beyond_at or (picked is None and self.rung):
            await self.beyond(
                BEYOND_MIN_S if picked is not None and picked[0].group_key else RESCAN_MIN_S, self._near(picked)
            )

    def _near(self, picked: tuple[Lane, int] | None) -> set[int] | None:
        """Return where to look beyond what is known; None: everywhere. Who has work looks there, and where it rang."""
        return None if picked is None or self._where is None else {*self._where, picked[0].shard}

    @property
    def _midway(self) -> bool:
        """Whether the last look found as many lanes as it takes, and the next one goes on behind them."""
        return not all(window.at_start for window in self._windows.values())

    async def from_zero(self) -> None:
        """Look at the lanes of all shards: at all of them, or where they are many, at the next windowful."""
        self._heed()
        await self.limits.refresh_if_due(self._link)
        started = monotonic()
        horizon, self._horizon = self._horizon, await self._link.call(discover.read_horizon)
        behind_start = self._midway
        found = await self._look()
        if not found and behind_start:
            self._windows.clear()
            found = await self._look()
        self.lanes.learn(self.limits.open(found), horizon)
        if self.speaks() and self._known.look_is_due():
            await self._look_for_strangers()
        now = monotonic()
        self._zero_at = now + max(RESCAN_MIN_S, (now - started) / self._share)
        self._beyond_at = now + RESCAN_MIN_S

    def _heed(self) -> None:
        """Look where the doorbell said, and at what it rings for from now on another time."""
        self.rung, self._where = False, set()

    async def beyond(self, pause_s: float, where: Collection[int] | None = None) -> None:
        """Look for jobs in quiet lanes, and for new lanes beside those that are known; not again within `pause_s`.

        In the shards `where`, or in all.

        Where it is time for that, also for what was committed late, behind the marks: each time within the last moment,
        every second time within twice that, every fourth within four times, and so on, which costs the same for each.
        """
        self._heed()
        started = now = monotonic()
        if not self._midway:
            known, since = self.lanes.known, {}
            if back := now >= self._back_at:
                self._backs += 1
                since = self.lanes.since(now, LOOK_BACK_S * (self._backs & -self._backs))
            shards = absent.present(self._shards if where is None else where)
            found = await self._link.call(partial(self._look_beyond, shards=shards, known=known, since=since))
            self.lanes.learn_more(self.limits.open(found))
            now = monotonic()
            if back:
                self._back_at = now + max(LOOK_BACK_S, (now - started) / self._share)
        self._beyond_at = now + max(pause_s, (now - started) / self._share)

    async def _look(self) -> list[tuple[Lane, int]]:
        found = []
        shards = absent.present(self._shards)
        fresh = {shard: self._windows[shard] for shard in shards if self._windows[shard].at_start}
        apart = [shard for shard in shards if len(fresh) == 1 or shard not in fresh]
        if len(fresh) > 1:
            found += await self._link.call(partial(self._discover_many, windows=fresh))
        for shard in apart:
            with absent.tolerated(shard):
                found += await self._link.call(partial(self._discover_shard, shard=shard))
        return found

    async def _discover_many(
        self, conn: AsyncConnection[Any], *, windows: Mapping[int, Window]
    ) -> list[tuple[Lane, int]]:
        return await discover.discover_many(conn, windows=windows, **self._kinds)

    async def _discover_shard(self, conn: AsyncConnection[Any], *, shard: int) -> list[tuple[Lane, int]]:
        return await discover.discover(conn, shard=shard, window=self._windows[shard], **self._kinds)

    async def _look_beyond(
        self,
        conn: AsyncConnection[Any],
        *,
        shards: Collection[int],
        known: Mapping[Lane, int],
        since: Mapping[Lane, tuple[int, int]],
    ) -> list[tuple[Lane, int]]:
        return await discover.discover_beyond(conn, shards=shards, known=known, since=since, **self._kinds)

    async def _look_for_strangers(self) -> None:
        """Tell of jobs in line that no claim of this worker takes, since its app has no such task."""
        look = partial(discover.unwanted, shards=self._shards, **self._kinds)
        self._known.tell(await self._link.call(look))

    @property
    def _kinds(self) -> dict[str, Any]:
        """Which jobs are looked for."""
        config = self._config
        return {
            "queues": list(config.queues),
            "exclude": config.exclude_queues,
            "tasks": self._known.tasks,
        }
