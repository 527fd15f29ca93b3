"""Makes jobs ready whose time has come."""

from __future__ import annotations

from functools import partial
from math import inf
from time import monotonic

from fastq.postgres.away import absent
from fastq.postgres.link import Link
from fastq.protocol import upkeep
from fastq.protocol.shards import Shards
from fastq.sql import on_cluster
from fastq.steward.duty import LeadersDuty
from fastq.steward.leader import Leader

_AT_ONCE = 2500
"""Jobs per statement: no dearer each than with 20,000, and workers have the first of them in a few ms."""

ON_CLUSTER_S = 0.5
"""So often it looks there, where that takes a statement for each shard."""

_RESCAN_SHARE = 0.05
"""The part of the time that may go into looking for due jobs from the beginning. Each such look takes 20 ms once there
are 200,000 promoted jobs that vacuum may not remove yet."""


class Promoter(LeadersDuty):
    """Promotes due jobs within `every_s` of their time."""

    every_s = 0.05
    quiet_s = 0.5

    def __init__(self, link: Link, leader: Leader, *, shards: Shards) -> None:
        super().__init__(link, leader, shards=shards)
        self._marks: dict[int, str] = {}
        self._rescan_at = 0.0

    async def step(self) -> float:
        """Promote what is due; returns how long nothing can be due."""
        started, self.due_s = monotonic(), inf
        rescan = started >= self._rescan_at
        since = {shard: self._since(shard, rescan=rescan) for shard in self._shards}
        moved = [shard for shard in await self._due(since) if await self._promote(shard, since[shard])]
        if rescan:  # from the beginning, since somebody may have committed behind a mark
            self._rescan_at = monotonic() + (monotonic() - started) / _RESCAN_SHARE
        if moved:
            await self._link.call(partial(upkeep.notify, shards=moved))
            return 0.0
        return min(ON_CLUSTER_S if on_cluster() else self.every_s, self.due_s)

    def _since(self, shard: int, *, rescan: bool) -> str:
        mark = self._marks.get(shard)
        return upkeep.FROM_THE_BEGINNING if rescan or mark is None else mark

    async def _due(self, since: dict[int, str]) -> list[int]:
        """Return the shards where jobs are due; a single one unasked."""
        if len(since) == 1 or on_cluster():
            return absent.present(since)
        next_due = await self._link.call(partial(upkeep.due_shards, since=since))
        self.due_s = min([due_s for due_s in next_due.values() if due_s > 0], default=inf)
        return [shard for shard, due_s in next_due.items() if due_s <= 0]

    async def _promote(self, shard: int, since: str) -> int:
        """Promote a batch from a mark on; returns how many jobs that was."""
        with absent.tolerated(shard):
            done = await self._link.call(partial(upkeep.promote, shard=shard, limit=_AT_ONCE, since=since))
            self._marks[shard] = done.mark
            if done.next_due_s is not None:
                self.due_s = min(self.due_s, max(0.0, done.next_due_s))
            return done.jobs
        return 0
