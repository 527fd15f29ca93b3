"""Lets ordered groups go on whose head ended while a producer was at them, and mends what should never be broken."""

from __future__ import annotations

import asyncio
import logging
from functools import partial
from time import monotonic

from fastq.link import Link
from fastq.protocol import ordered
from fastq.steward.leader import Leader

log = logging.getLogger("fastq.steward")

_ADVANCE_EVERY_S = 0.1
_MEND_EVERY_S = 10.0


class Lines:
    """What the leader does for ordered groups; every duty is safe to do twice."""

    def __init__(self, link: Link, leader: Leader, *, shards: int) -> None:
        self._link = link
        self._leader = leader
        self._after = [("", "")] * shards
        self._mend_at = 0.0

    async def run(self) -> None:
        """Look after the lines, until cancelled."""
        while True:
            if self._leader.leading:
                await self.advance()
                if monotonic() >= self._mend_at:
                    await self.mend()
                    self._mend_at = monotonic() + _MEND_EVERY_S
            await asyncio.sleep(_ADVANCE_EVERY_S)

    async def advance(self) -> None:
        """Let lines go on that were left to the leader."""
        for shard in range(len(self._after)):
            await self._link.call(partial(ordered.advance_idle, shard=shard))

    async def mend(self) -> None:
        """Look at the next few lines."""
        for shard, after in enumerate(self._after):
            found = await self._link.call(partial(ordered.mend, shard=shard, after=after))
            self._after[shard] = found.after or ("", "")
            if found.lines:
                log.warning("%s ordered group(s) had no living head: they go on", found.lines)
