"""Keeps the history: each host adds what its workers counted; the leader notes the queues' depths, and prunes."""

from __future__ import annotations

import asyncio
from functools import partial
from time import monotonic

from fastq.host.board import Board, Word
from fastq.host.series import NOTHING, Counted, Key
from fastq.observability.totals import Totals
from fastq.postgres.link import Link
from fastq.protocol import history
from fastq.protocol.history import Depth
from fastq.protocol.shards import Shards
from fastq.steward.duty import LeadersDuty
from fastq.steward.leader import Leader

_EVERY_S = 10.0
_PRUNE_EVERY_S = 600.0
_EMPTY_S = 3600.0
"""For so long it is noted of a queue that it is empty."""


class Historian:
    """Adds this host's counters to the fleet's minutes: a row of each queue and task, whatever the number of jobs."""

    def __init__(self, board: Board, totals: Totals, link: Link) -> None:
        self._board = board
        self._totals = totals
        self._link = link
        first = not board.house[Word.STEWARDS]
        board.house[Word.STEWARDS] += 1
        self._written = {} if first else self._counts()  # of the first one workers may be ahead

    def _counts(self) -> dict[Key, Counted]:
        self._totals.observe([*self._board.cells, self._board.house])
        return self._totals.series()

    async def run(self) -> None:
        """Write every ten seconds until cancelled."""
        while True:
            await asyncio.sleep(_EVERY_S)
            await self.step()

    async def step(self) -> None:
        """Write what was counted since the last time, if anything was."""
        counts = self._counts()
        fresh = {key: counted - self._written.get(key, NOTHING) for key, counted in counts.items()}
        if changed := {key: counted for key, counted in fresh.items() if any(counted.words)}:
            await self._link.call(partial(history.record_counts, counts=changed))
        self._written = counts


class Depths(LeadersDuty):
    """Notes how many jobs stand in each queue, and forgets what is old."""

    every_s = 20.0

    def __init__(self, link: Link, leader: Leader, *, shards: Shards) -> None:
        super().__init__(link, leader, shards=shards)
        self._prune_at = 0.0
        self._had_jobs: dict[str, float] = {}

    async def run(self) -> None:
        """Begin after a while: whoever has just started has jobs to run."""
        await asyncio.sleep(self.every_s)
        await super().run()

    async def step(self) -> float:
        """Look and write."""
        depths = await self._link.call(partial(history.look, shards=self._shards))
        await self._link.call(partial(history.record_depths, depths=self._with_empty(depths)))
        if monotonic() >= self._prune_at:
            await self._link.call(history.prune)
            self._prune_at = monotonic() + _PRUNE_EVERY_S
        return self.every_s

    def _with_empty(self, depths: dict[str, Depth]) -> dict[str, Depth]:
        """Return the depths also of the queues that have become empty, of which no row tells."""
        now = monotonic()
        had = {name: at for name, at in self._had_jobs.items() if now - at < _EMPTY_S}
        self._had_jobs = {**had, **dict.fromkeys(depths, now)}
        return {**dict.fromkeys(self._had_jobs, Depth()), **depths}
