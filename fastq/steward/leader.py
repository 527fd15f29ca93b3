"""What one host does for the whole fleet: promotes due jobs, keeps the ring turning, prunes kept jobs."""

from __future__ import annotations

import asyncio
import logging
from functools import partial
from time import monotonic

from fastq.link import Link
from fastq.protocol import jobs, reserve, rotate, unique, upkeep

log = logging.getLogger("fastq.steward")

LEAD_S = 10.0
PROMOTE_EVERY_S = 0.05
_PROMOTE_AT_ONCE = 2500
"""Jobs per statement: no dearer each than with 20,000, and workers have the first of them in a few ms."""

_RESCAN_SHARE = 0.05
"""The part of the time that may go into looking for due jobs from the beginning. Each such look takes 20 ms once there
are 200,000 promoted jobs that vacuum may not remove yet."""

_ROTATE_EVERY_S = 0.5
_LOOK_SHARE = 0.5
"""The part of the time that may go into looking whether segments are empty. With a tenth, one late look made the next
one dearer and later, for good: a segment grows while it waits, and a look walks over all that was in it."""

_HURRY_S = 10.0
"""So long readers of a table are not waited for after they were in vain: it may be a pg_dump."""

_PRUNE_EVERY_S = 10.0
_EXPIRE_EVERY_S = 1.0


class Leader:
    """Leads while its row in `fastq.leader` says so. Every duty is safe to do twice: a late handover harms nothing.

    Turning the ring has a link of its own: what is promoted or renewed must not stand in a transaction that truncates.
    """

    def __init__(self, link: Link, ring: Link, *, holder: str, shards: int) -> None:
        self._link = link
        self._ring = ring
        self._holder = holder
        self._shards = shards
        self._until = 0.0
        self._marks = [upkeep.FROM_THE_BEGINNING] * shards
        self._rescan_at = [0.0] * shards
        self._swept_to = [""] * shards
        self._hurry_until: dict[str, float] = {}

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

    async def run_promote(self) -> None:
        """Promote due jobs within PROMOTE_EVERY_S of their time, until cancelled."""
        while True:
            pause_s = await self.promote() if self.leading else PROMOTE_EVERY_S
            await asyncio.sleep(pause_s)

    async def promote(self) -> float:
        """Promote what is due; returns how long nothing can be due."""
        pause_s, moved = PROMOTE_EVERY_S, 0
        for shard in range(self._shards):
            done = await self._promote(shard)
            moved += done.jobs
            if done.next_due_s is not None:
                pause_s = min(pause_s, max(0.0, done.next_due_s))
        if moved:
            await self._link.call(upkeep.notify)
            return 0.0
        return pause_s

    async def _promote(self, shard: int) -> upkeep.Promoted:
        """Promote a batch, from the mark on; or from the beginning, where somebody may have committed behind it."""
        started = monotonic()
        rescan = started >= self._rescan_at[shard]
        since = upkeep.FROM_THE_BEGINNING if rescan else self._marks[shard]
        done = await self._link.call(partial(upkeep.promote, shard=shard, limit=_PROMOTE_AT_ONCE, since=since))
        if rescan:
            self._rescan_at[shard] = monotonic() + (monotonic() - started) / _RESCAN_SHARE
        self._marks[shard] = done.mark
        return done

    async def run_rotate(self) -> None:
        """Turn the ring until cancelled."""
        look_at = 0.0
        while True:
            if self.leading:
                await self._advance()
                await self._sweep()
                if (started := monotonic()) >= look_at:
                    await self._truncate()
                    await self._advance()
                    look_at = monotonic() + (monotonic() - started) / _LOOK_SHARE
            await asyncio.sleep(_ROTATE_EVERY_S)

    async def _truncate(self) -> None:
        """Give emptied segments back."""
        for emptied in await self._ring.call(rotate.truncatable):
            patient = monotonic() >= self._hurry_until.get(emptied.table, 0.0)
            readers_ms = rotate.READERS_MS if patient else rotate.HURRIED_MS
            if await self._ring.call(partial(rotate.truncate, emptied=emptied, readers_ms=readers_ms)):
                log.debug("truncated %s", emptied.table)
            elif patient:
                self._hurry_until[emptied.table] = monotonic() + _HURRY_S

    async def _advance(self) -> None:
        """Move the head on where it has grown."""
        for shard in range(self._shards):
            await self._ring.call(partial(rotate.advance, shard=shard))

    async def _sweep(self) -> None:
        """Delete packets of which no job is left."""
        for shard in range(self._shards):
            await self._ring.call(partial(upkeep.sweep_packets, shard=shard))

    async def sweep(self) -> int:
        """Let the marks of cancelled jobs follow those that left their worker; returns how many did."""
        return await self._link.call(jobs.sweep_cancellations) if self.leading else 0

    async def prune(self, shard: int) -> None:
        """Delete kept jobs and unique keys whose time is over; look whether the next keys still have their jobs."""
        while await self._link.call(partial(upkeep.prune, shard=shard)):
            pass
        while await self._link.call(partial(unique.prune_expired, shard=shard)):
            pass
        while await self._link.call(partial(reserve.prune, shard=shard)):
            pass
        swept = await self._link.call(partial(unique.sweep, shard=shard, after=self._swept_to[shard]))
        if swept.keys:
            log.warning("deleted %s unique key(s) whose jobs are gone", swept.keys)
        self._swept_to[shard] = swept.after or ""

    async def run_expire(self) -> None:
        """Delete reservations whose time is over, about every second, until cancelled."""
        while True:
            if self.leading:
                for shard in range(self._shards):
                    while await self._link.call(partial(reserve.expire, shard=shard)):
                        pass
            await asyncio.sleep(_EXPIRE_EVERY_S)

    async def run_prune(self) -> None:
        """Delete what is over its time, until cancelled."""
        while True:
            if self.leading:
                for shard in range(self._shards):
                    await self.prune(shard)
            await asyncio.sleep(_PRUNE_EVERY_S)
