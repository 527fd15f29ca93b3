"""What the steward does again and again, one class each. One that fails is tried again, and disturbs no other."""

from __future__ import annotations

import asyncio
import logging
from abc import ABC, abstractmethod
from collections.abc import Iterable
from functools import partial
from math import inf
from time import monotonic
from typing import Protocol

from fastq.postgres.link import Link
from fastq.protocol import upkeep
from fastq.protocol.refusal import is_refusal
from fastq.protocol.shards import Shards
from fastq.steward.leader import Leader

log = logging.getLogger("fastq.steward")

AGAIN_S = 0.5
AGAIN_MOST_S = 30.0
WELL_S = 60.0
"""A duty that went well for so long starts anew with the short pause, and is not failing any more."""


class Endless(Protocol):
    """Whatever runs until it is cancelled."""

    async def run(self) -> None:
        """Run until cancelled."""
        ...


class Duties:
    """Keeps duties up, and knows which of them fail."""

    def __init__(self, *, again_s: float = AGAIN_S) -> None:
        self._again_s = again_s
        self._failed: dict[str, tuple[float, str]] = {}

    @property
    def failing(self) -> list[str]:
        """A sentence for each duty that failed and has not been well for WELL_S since."""
        now = monotonic()
        return [f"{name} failed: {why}" for name, (until, why) in sorted(self._failed.items()) if now < until]

    async def keep_up(self, duty: Endless) -> None:
        """Run a duty, again and again if a value that PostgreSQL or Python does not take ends it, at growing intervals.

        Anything else, a missing grant or a schema that does not fit, is let out: the steward ends loudly.
        """
        name, pause_s = type(duty).__name__.lower(), self._again_s
        while True:
            started = monotonic()
            try:
                return await duty.run()
            except Exception as exc:
                if not is_refusal(exc):
                    raise
                pause_s = self._again_s if monotonic() - started > WELL_S else min(pause_s, AGAIN_MOST_S)
                self._failed[name] = (monotonic() + pause_s + WELL_S, f"{type(exc).__name__}: {str(exc).strip():.300}")
                log.exception("%s failed and is tried again in %.3g s", name, pause_s, extra={"per": name})
            await asyncio.sleep(pause_s)
            pause_s *= 2


class LeadersDuty(ABC):
    """What one host does for the whole fleet. Each is safe to do twice: a late handover of the lead harms nothing."""

    every_s = 1.0
    """How long to wait before the next step."""

    quiet_s = 0.0
    """As `every_s`, while nothing happens in the fleet; 0: the same."""

    due_s = inf
    """In how many seconds there will be something to do, as the last step has seen."""

    def __init__(self, link: Link, leader: Leader, *, shards: Shards | None = None) -> None:
        self._link = link
        self._leader = leader
        self._shards = Shards() if shards is None else shards

    async def run(self) -> None:
        """Take a step whenever it is time for the next one and this host leads."""
        while True:
            await self._leader.led()
            pause_s = await self.step()
            if pause_s < self.every_s or self.quiet_s <= self.every_s:
                await asyncio.sleep(pause_s)
            else:
                await self._leader.stir.pause(pause_s, quiet_s=min(self.quiet_s, self.due_s))

    async def _shards_where(self, look: str) -> Iterable[int]:
        """Return the shards in which there is something to do, as a look at all of them says; a single one unasked."""
        if self._shards.count == 1:
            return self._shards
        return await self._link.call(partial(upkeep.shards_where, look=look, shards=self._shards))

    @abstractmethod
    async def step(self) -> float:
        """Do it once; returns in how many seconds it is to be done again."""
