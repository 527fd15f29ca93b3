"""Makes jobs ready whose time has come."""

from __future__ import annotations

from functools import partial
from math import inf
from time import monotonic

from fastq.postgres.link import Link
from fastq.protocol import upkeep
from fastq.steward.duty import LeadersDuty
from fastq.steward.leader import Leader

_AT_ONCE = 2500
"""Jobs per statement: no dearer each than with 20,000, and workers have the first of them in a few ms."""

_RESCAN_SHARE = 0.05
"""The part of the time that may go into looking for due jobs from the beginning. Each such look takes 20 ms once there
are 200,000 promoted jobs that vacuum may not remove yet."""


class Promoter(LeadersDuty):
    """Promotes due jobs within `every_s` of their time."""

    every_s = 0.05
    quiet_s = 0.5

    def __init__(self, link: Link, leader: Leader, *, shards: int) -> None:
        super().__init__(link, leader, shards=shards)
        self._marks = [upkeep.FROM_THE_BEGINNING] * shards
        self._rescan_at = [0.0] * shards

    async def step(self) -> float:
        """Promote what is due; returns how long nothing can be due."""
        pause_s, moved, self.due_s = self.every_s, 0, inf
        for shard in self._shards:
            done = await self._promote(shard)
            moved += done.jobs
            if done.next_due_s is not None:
                self.due_s = min(self.due_s, max(0.0, done.next_due_s))
        if moved:
            await self._link.call(upkeep.notify)
            return 0.0
        return min(pause_s, self.due_s)

    async def _promote(self, shard: int) -> upkeep.Promoted:
        """Promote a batch, from the mark on; or from the beginning, where somebody may have committed behind it."""
        started = monotonic()
        rescan = started >= self._rescan_at[shard]
        since = upkeep.FROM_THE_BEGINNING if rescan else self._marks[shard]
        done = await self._link.call(partial(upkeep.promote, shard=shard, limit=_AT_ONCE, since=since))
        if rescan:
            self._rescan_at[shard] = monotonic() + (monotonic() - started) / _RESCAN_SHARE
        self._marks[shard] = done.mark
        return done
