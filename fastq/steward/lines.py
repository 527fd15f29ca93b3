"""Lets ordered groups go on whose head ended while a producer was at them, and mends what should never be broken."""

from __future__ import annotations

import logging
from functools import partial
from time import monotonic

from fastq.postgres.away import absent
from fastq.postgres.link import Link
from fastq.protocol import ordered
from fastq.protocol.shards import Shards
from fastq.steward.duty import LeadersDuty
from fastq.steward.leader import Leader

log = logging.getLogger("fastq.steward")

_MEND_EVERY_S = 10.0


class OrderedLines(LeadersDuty):
    """What the leader does for ordered groups."""

    every_s = 0.1
    quiet_s = 2.0

    def __init__(self, link: Link, leader: Leader, *, shards: Shards) -> None:
        super().__init__(link, leader, shards=shards)
        self._after: dict[int, tuple[str, str]] = {}
        self._mend_at = 0.0

    async def step(self) -> float:
        """Let lines go on; look at some of them, if it is time."""
        await self.advance()
        if monotonic() >= self._mend_at:
            await self.mend()
            self._mend_at = monotonic() + _MEND_EVERY_S
        return self.every_s

    async def advance(self) -> None:
        """Let lines go on that were left to the leader."""
        for shard in await self._shards_where("look_idle_lines"):
            with absent.tolerated(shard):
                await self._link.call(partial(ordered.advance_idle, shard=shard))

    async def mend(self) -> None:
        """Look at the next few lines."""
        for shard in await self._shards_where("look_lines"):
            after = self._after.get(shard, ("", ""))
            with absent.tolerated(shard):
                found = await self._link.call(partial(ordered.mend, shard=shard, after=after))
                self._after[shard] = found.after or ("", "")
                if found.lines:
                    log.warning("%s ordered group(s) had no living head: they go on", found.lines)
