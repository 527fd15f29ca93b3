"""Tells the workers of this host which of their jobs somebody has cancelled: by their letter boxes on the board."""

from __future__ import annotations

import asyncio
from functools import partial

from fastq.host.board import Board, Word, has_keys, running_key
from fastq.postgres.link import Link
from fastq.protocol import jobs
from fastq.protocol.shards import Shards
from fastq.steward.leader import Leader

_HEARD = 6
"""So many times rarer it looks while this host hears notifications, which tell of marks."""

_AGAIN_S = 0.25
"""So soon it looks again after it saw a mark: its job may have been on its way to the worker, or the box full."""


class Canceller:
    """Looks when a notification tells of a cancelled job, and as often as the heart beats."""

    def __init__(self, board: Board, link: Link, leader: Leader, *, lease_s: float, shards: Shards) -> None:
        self._board = board
        self._link = link
        self._leader = leader
        self._every_s = min(5.0, lease_s / 5)
        self._shards = shards
        self.rung = asyncio.Event()

    async def run(self) -> None:
        """Look again and again, until cancelled."""
        while True:
            self.rung.clear()
            heard = self._leader.stir.listening
            pause_s = _AGAIN_S if await self.step() else _HEARD * self._every_s if heard else self._every_s
            try:
                await asyncio.wait_for(self.rung.wait(), pause_s)
            except TimeoutError:
                continue

    async def step(self) -> int:
        """Look once; returns how many marks there were: of this host's jobs, where it leads, of those that moved."""
        cells = {cell[Word.WORKER_ID]: cell for cell in self._board.cells if cell.state.working}
        look = partial(jobs.cancellations, shards=self._shards, workers=list(cells))
        found = await self._link.call(look) if cells else ()
        marks = [mark for mark in found if has_keys(mark.lease)]  # of others nothing runs: no worker has them
        for mark in marks:
            cell = cells[mark.worker]
            if cell[Word.WORKER_ID] == mark.worker:
                cell.post(running_key(mark.lease, mark.ord))
                self._board.doorbells[cell.index].ring()
        swept = await self._link.call(jobs.sweep_cancellations) if self._leader.leading else 0
        return len(marks) + swept
