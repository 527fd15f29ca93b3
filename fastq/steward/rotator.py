"""Keeps the ring turning: new jobs go to the next segment, emptied ones are given back."""

from __future__ import annotations

import logging
from functools import partial
from time import monotonic

from fastq.postgres.link import Link
from fastq.protocol import rotate, upkeep
from fastq.steward.duty import LeadersDuty
from fastq.steward.leader import Leader

log = logging.getLogger("fastq.steward")

_LOOK_SHARE = 0.5
"""The part of the time that may go into looking whether segments are empty. With a tenth, one late look made the next
one dearer and later, for good: a segment grows while it waits, and a look walks over all that was in it."""

_HURRY_S = 10.0
"""So long readers of a table are not waited for after they were in vain: it may be a pg_dump."""


class Rotator(LeadersDuty):
    """Has a link of its own: what is promoted or renewed must not stand in a transaction that truncates."""

    every_s = 0.5

    def __init__(self, link: Link, leader: Leader, *, shards: int) -> None:
        super().__init__(link, leader, shards=shards)
        self._look_at = 0.0
        self._hurry_until: dict[str, float] = {}

    async def step(self) -> float:
        """Move the head on, sweep, and look for emptied segments if it is time."""
        await self._advance()
        for shard in self._shards:
            await self._link.call(partial(upkeep.sweep_packets, shard=shard))
        if (started := monotonic()) >= self._look_at:
            await self._truncate()
            await self._advance()
            self._look_at = monotonic() + (monotonic() - started) / _LOOK_SHARE
        return self.every_s

    async def _advance(self) -> None:
        """Move the head on where it has grown."""
        for shard in self._shards:
            await self._link.call(partial(rotate.advance, shard=shard))

    async def _truncate(self) -> None:
        """Give emptied segments back."""
        for emptied in await self._link.call(rotate.truncatable):
            patient = monotonic() >= self._hurry_until.get(emptied.table, 0.0)
            readers_ms = rotate.READERS_MS if patient else rotate.HURRIED_MS
            if await self._link.call(partial(rotate.truncate, emptied=emptied, readers_ms=readers_ms)):
                log.debug("truncated %s", emptied.table)
            elif patient:
                self._hurry_until[emptied.table] = monotonic() + _HURRY_S
