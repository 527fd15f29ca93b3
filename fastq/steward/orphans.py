"""Says which schedules no worker declares any more: those whose code was renamed or removed."""

from __future__ import annotations

import asyncio
import logging
from functools import partial
from time import monotonic

from fastq.postgres.link import Link
from fastq.protocol import schedules
from fastq.protocol.asking import carry_out
from fastq.steward.duty import LeadersDuty
from fastq.steward.leader import Leader

log = logging.getLogger("fastq.steward")

ORPHAN_S = 600.0
"""A schedule that no worker declares for so long is reported: a restart or a deployment takes less."""
AGAIN_S = 86400.0

ENDED = (
    "schedule %s has ended: no worker has declared it since %s; one that does starts it again,"
    " `fastq schedules remove` deletes it"
)
GOES_ON = (
    "schedule %s is declared by no worker since %s, and its jobs are enqueued all the same:"
    " if its code is gone, `fastq schedules remove` ends it"
)


class Orphans(LeadersDuty):
    """Warns of each, once a day, and once more when its time is over."""

    every_s = 60.0

    def __init__(self, link: Link, leader: Leader) -> None:
        super().__init__(link, leader)
        self._warned: dict[tuple[str, bool], float] = {}

    async def run(self) -> None:
        """Wait first of all: after an outage workers need a moment to declare their schedules."""
        await asyncio.sleep(self.every_s)
        await super().run()

    async def step(self) -> float:
        """Look for them once."""
        asked = schedules.list_schedules(orphan_s=ORPHAN_S)
        found = await self._link.call(partial(carry_out, asked=asked))
        now, warned = monotonic(), {}
        for row in (row for row in found if row.orphan):
            which = (row.name, row.ended)
            warned[which] = self._warned.get(which, -AGAIN_S)
            if now - warned[which] >= AGAIN_S:
                warned[which] = now
                log.warning(ENDED if row.ended else GOES_ON, row.name, row.seen_at.isoformat(timespec="seconds"))
        self._warned = warned
        return self.every_s
