"""Whom new jobs concern: a notification reaches all hosts, and one of them is enough for a few jobs.

All hosts know in which order they stand for a notification. The first one wakes a worker; if none of its workers is
idle, or the one that it woke finds nothing for itself, it calls all hosts. The next two look, one after the other,
whether the jobs are still in line: then they call them, since the first may be frozen, or have taken what it could.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from time import monotonic

from fastq.postgres.link import Link
from fastq.protocol import upkeep
from fastq.protocol.shards import Shards

LOOK_AFTER_S = 0.1
"""So long each one waits for the one before it; and at most once in this time all are called."""

LOOKERS = 2
"""So many hosts look behind the first."""

FIRST_FOR_S = 1.0
"""So long after a notification what its workers find in vain is what that was about."""


def place_in(line: Sequence[int], own: int, caller: int) -> int:
    """Return the place of the session `own` in the line of all that hear a notification of the session `caller`."""
    return (line.index(own) - caller) % len(line) if own in line else 0


class Relay:
    """Calls other hosts. `wake` wakes a worker of this one, and tells whether one was idle."""

    def __init__(self, link: Link, shards: Shards, *, wake: Callable[[], bool]) -> None:
        self._link = link
        self._shards = shards
        self._wake = wake
        self._wanted = asyncio.Event()
        self._look_at: float | None = None
        self._called_at = self._first_at = 0.0
        self._vain = 0

    def vain(self, count: int) -> None:
        """So often a worker of this host has been woken and has found nothing: new jobs may be for others' workers."""
        if count > self._vain and monotonic() < self._first_at + FIRST_FOR_S:
            self._wanted.set()
        self._vain = count

    def heard(self, place: int, *, all_hands: bool) -> None:
        """There may be new jobs, and this host is in that place."""
        if all_hands:  # what workers find in vain from here on is nobody's concern
            self._first_at = 0.0
            self._wake()
        elif place == 0:
            self._first_at = monotonic()
            if not self._wake():
                self._wanted.set()
        elif place <= LOOKERS and self._look_at is None:
            self._look_at = monotonic() + place * LOOK_AFTER_S
            self._wanted.set()

    async def run(self) -> None:
        """Call where it is wanted, until cancelled."""
        while True:
            await self._wanted.wait()
            look_at = self._look_at
            self._wanted.clear()
            await asyncio.sleep(max(0.0, self._called_at + LOOK_AFTER_S - monotonic(), (look_at or 0.0) - monotonic()))
            self._look_at = None
            await self.step(look=look_at is not None)

    async def step(self, *, look: bool) -> bool:
        """Call all hosts, if they are wanted or, with `look`, if there are jobs in line; tell whether it did."""
        ask = partial(upkeep.shards_where, look="look_ready", shards=self._shards)
        if look and not await self._link.call(ask):
            return False
        self._called_at, self._first_at = monotonic(), 0.0
        await self._link.call(upkeep.call_all)
        return True
