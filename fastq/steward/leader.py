"""Which host does what is done for the whole fleet: the one whose row stands in `fastq.leader`."""

from __future__ import annotations

import asyncio
from functools import partial
from time import monotonic

from fastq.postgres.link import Link
from fastq.protocol import upkeep

LEAD_S = 10.0


class Leader:
    """Leads while its row says so."""

    def __init__(self, link: Link, *, holder: str) -> None:
        self._link = link
        self._holder = holder
        self._until = 0.0

    @property
    def leading(self) -> bool:
        """Whether this host leads, by its own clock and with some margin."""
        return monotonic() < self._until

    async def run(self) -> None:
        """Stand for the lead and keep it, until cancelled."""
        while True:
            await self.step()
            await asyncio.sleep(LEAD_S / 4)

    async def step(self) -> None:
        """Take or keep the lead once."""
        asked = monotonic()
        won = await self._link.call(partial(upkeep.lead, holder=self._holder, lease_s=LEAD_S))
        self._until = asked + LEAD_S * 0.8 if won else 0.0

    async def resign(self) -> None:
        """Let another host lead at once."""
        if self.leading:
            self._until = 0.0
            await self._link.call(partial(upkeep.resign, holder=self._holder))
