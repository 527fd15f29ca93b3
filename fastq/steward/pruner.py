"""Deletes what is over its time: kept jobs, unique keys, old commits, and reservations that nobody committed."""

from __future__ import annotations

import logging
from functools import partial

from fastq.postgres.away import absent
from fastq.postgres.link import Link
from fastq.protocol import reserve, unique, upkeep
from fastq.protocol.shards import Shards
from fastq.steward.duty import LeadersDuty
from fastq.steward.leader import Leader

log = logging.getLogger("fastq.steward")


class Pruner(LeadersDuty):
    """Deletes kept jobs and unique keys whose time is over; looks whether the next keys still have their jobs."""

    every_s = 10.0

    def __init__(self, link: Link, leader: Leader, *, shards: Shards) -> None:
        super().__init__(link, leader, shards=shards)
        self._swept_to: dict[int, str] = {}
        self._spread = 1

    async def step(self) -> float:
        """Delete all there is, in batches; let tied jobs use all shards, if none are there at the moment."""
        for shard in await self._shards_where("look_prunable"):
            with absent.tolerated(shard):
                await self._prune(shard)
        if self._spread < (count := len(self._shards)) and await self._link.call(upkeep.spread_ties):
            self._spread = count
        return self.every_s

    async def _prune(self, shard: int) -> None:
        for prune in (upkeep.prune, unique.prune_expired, reserve.prune):
            while await self._link.call(partial(prune, shard=shard)):
                pass
        swept = await self._link.call(partial(unique.sweep, shard=shard, after=self._swept_to.get(shard, "")))
        if swept.keys:
            log.warning("deleted %s unique key(s) whose jobs are gone", swept.keys)
        self._swept_to[shard] = swept.after or ""


class Reservations(LeadersDuty):
    """Deletes reservations whose time is over."""

    quiet_s = 5.0

    async def step(self) -> float:
        """Delete all there are, in batches."""
        for shard in await self._shards_where("look_late_reservations"):
            with absent.tolerated(shard):
                while await self._link.call(partial(reserve.expire, shard=shard)):
                    pass
        return self.every_s
