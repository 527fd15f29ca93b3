"""Which host does what is done for the whole fleet: the one whose row stands in `fastq.leader`."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from time import monotonic

from fastq.postgres.link import Link
from fastq.protocol import upkeep
from fastq.steward.stir import Stir

LEAD_S = 10.0
_SPREAD_S = 1.0
"""Those that wait for the lead do not all stand for it in the same moment."""


class Leader:
    """Leads while its row says so. `rung`: the lead was given up. `duties`: links to close while another leads."""

    def __init__(self, link: Link, *, holder: str, stir: Stir | None = None, duties: Sequence[Link] = ()) -> None:
        self._link = link
        self._holder = holder
        self._duties = duties
        self._until = 0.0
        self.stir = stir or Stir()
        self.rung = asyncio.Event()
        self._won = asyncio.Event()

    @property
    def leading(self) -> bool:
        """Whether this host leads, by its own clock and with some margin."""
        return monotonic() < self._until

    async def led(self) -> None:
        """Wait until this host leads."""
        while not self.leading:
            self._won.clear()
            await self._won.wait()

    async def run(self) -> None:
        """Stand for the lead and keep it, until cancelled; while another host leads, look again when its time is up."""
        while True:
            self.rung.clear()
            left_s = await self.step()
            pause_s = LEAD_S / 4 if left_s is None else min(LEAD_S, max(0.0, left_s) + random.uniform(0, _SPREAD_S))  # noqa: S311
            with suppress(TimeoutError):
                async with asyncio.timeout(pause_s):
                    await self.rung.wait()

    async def step(self) -> float | None:
        """Take or keep the lead once; for how many seconds another host has it, None if this one."""
        asked = monotonic()
        stand = await self._link.call(partial(upkeep.lead, holder=self._holder, lease_s=LEAD_S))
        self._until = asked + LEAD_S * 0.8 if stand.won else 0.0
        if stand.won:
            self._won.set()
        else:
            for link in self._duties:
                await link.rest()
        return None if stand.won else stand.left_s or 0.0

    async def resign(self) -> None:
        """Let another host lead at once; also where this one won the lead and was stopped before it heard so."""
        self._until = 0.0
        await self._link.call(partial(upkeep.resign, holder=self._holder))
