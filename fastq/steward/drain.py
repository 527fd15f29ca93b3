"""Has the supervisor of this host drain when somebody has asked for it by `fastq.drain()` or `fastq fleet drain`."""

from __future__ import annotations

import asyncio
import logging
import os
import signal

from fastq.host.board import Board, Word
from fastq.postgres.link import Link
from fastq.protocol import worker

log = logging.getLogger("fastq.steward")


_HEARD = 6
"""So many times rarer it looks while this host hears notifications, which tell of marks."""


class Drainer:
    """Looks for the mark of its workers when a notification tells of it, and as often as the heart beats."""

    def __init__(self, board: Board, link: Link, *, supervisor: int, lease_s: float) -> None:
        self._board = board
        self._link = link
        self._supervisor = supervisor
        self._every_s = min(5.0, lease_s / 5)
        self.rung = asyncio.Event()

    async def run(self) -> None:
        """Look again and again, until cancelled."""
        while True:
            self.rung.clear()
            await self.step()
            try:
                pause_s = _HEARD * self._every_s if self._board.house[Word.LISTENS] else self._every_s
                await asyncio.wait_for(self.rung.wait(), pause_s)
            except TimeoutError:
                continue

    async def step(self) -> bool:
        """Look once; tell whether the supervisor was asked. It may be asked again: it drains once."""
        ids = [cell[Word.WORKER_ID] for cell in self._board.cells if cell.state.alive and cell[Word.WORKER_ID]]
        if not ids or not await self._link.call(lambda conn: worker.draining(conn, workers=ids)):
            return False
        if os.getppid() == self._supervisor:
            os.kill(self._supervisor, signal.SIGUSR2)
        return True
