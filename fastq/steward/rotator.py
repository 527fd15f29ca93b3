"""Keeps the ring turning: new jobs go to the next segment, emptied ones are given back; what does not turn is swept."""

from __future__ import annotations

import logging
from functools import partial
from itertools import product
from time import monotonic

from fastq.postgres.away import absent
from fastq.postgres.link import Link
from fastq.protocol import rotate
from fastq.protocol.shards import Shards
from fastq.sql import on_cluster
from fastq.steward.duty import LeadersDuty
from fastq.steward.leader import Leader

log = logging.getLogger("fastq.steward")

_LOOK_SHARE = 0.5
"""The part of the time that may go into looking whether segments are empty. With a tenth, one late look made the next
one dearer and later, for good: a segment grows while it waits, and a look walks over all that was in it."""

_SWEEP_EVERY_S, _SWEEP_AT_LAST_S, _SWEEP_SHARE = 5.0, 30.0, 0.05
"""At most so often and at least so often it is swept, in between for this part of the time: a sweep looks at all of a
segment's packets, and its link may wait for a server that is away."""

_SWEEPS_MOST = 20
"""Statements in one sweep of a segment: it does not run after workers who go on."""

SCHEDULED = 4
"""The segment of the packets of scheduled jobs."""

_HURRY_S = 10.0
"""So long readers of a table are not waited for after they were in vain: it may be a pg_dump."""


class Rotator(LeadersDuty):
    """Has a link of its own: what is promoted or renewed must not stand in a transaction that truncates."""

    every_s = 0.5
    quiet_s = 4.0

    def __init__(self, link: Link, leader: Leader, *, shards: Shards) -> None:
        super().__init__(link, leader, shards=shards)
        self._look_at = 0.0
        self._sweep_at = 0.0
        self._stuck: set[tuple[int, int]] = set()
        self._hurry_until: dict[str, float] = {}

    async def step(self) -> float:
        """Move the head on, and if it is time look for emptied segments, or sweep. On a cluster it only sweeps."""
        if not on_cluster():
            await self._turn()
        if (started := monotonic()) >= self._sweep_at:
            await self._sweep()
            rest_s = (monotonic() - started) / _SWEEP_SHARE
            self._sweep_at = monotonic() + min(max(_SWEEP_EVERY_S, rest_s), _SWEEP_AT_LAST_S)
        return self.every_s

    async def _turn(self) -> None:
        await self._advance()
        if (started := monotonic()) >= self._look_at:
            await self._truncate()
            await self._advance()
            self._look_at = monotonic() + (monotonic() - started) / _LOOK_SHARE

    async def _advance(self) -> None:
        """Move the head on where it has grown."""
        await self._link.call(partial(rotate.advance_all, shards=self._shards))

    async def _sweep(self) -> None:
        """Delete the packets that nobody needs, where they were not truncated since the last time."""
        if on_cluster():  # nothing is truncated there: each packet goes by itself
            stuck = self._stuck = set(product(absent.present(self._shards), (0, SCHEDULED)))
        else:
            stuck = await self._link.call(partial(rotate.sweepable, shards=self._shards))
        for shard, segment in sorted(stuck & self._stuck):
            swept = partial(rotate.sweep, shard=shard, segment=segment)
            with absent.tolerated(shard):
                for _ in range(_SWEEPS_MOST):
                    if await self._link.call(swept) < rotate.SWEPT_PACKETS:
                        break
        self._stuck = stuck

    async def _truncate(self) -> None:
        """Give emptied segments back."""
        for emptied in await self._link.call(rotate.truncatable):
            patient = monotonic() >= self._hurry_until.get(emptied.table, 0.0)
            readers_ms = rotate.READERS_MS if patient else rotate.HURRIED_MS
            if await self._link.call(partial(rotate.truncate, emptied=emptied, readers_ms=readers_ms)):
                log.debug("truncated %s", emptied.table)
            elif patient:
                self._hurry_until[emptied.table] = monotonic() + _HURRY_S
