"""What somebody has asked of this host's supervisor by `fastq.drain()` or `fastq.resize()`, or `fastq fleet …`."""

from __future__ import annotations

import asyncio
import os
import signal

from fastq.host.board import Board, Word
from fastq.postgres.link import Link
from fastq.protocol import worker

_HEARD = 6
"""So many times rarer it looks while this host hears notifications, which tell of orders."""


class Orders:
    """Looks for orders to its workers when a notification tells of one, and as often as the heart beats."""

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
        """Look once; tell whether the supervisor was asked to drain. It may be asked again: it drains once."""
        ids = [cell[Word.WORKER_ID] for cell in self._board.cells if cell.state.alive and cell[Word.WORKER_ID]]
        if not ids:
            return False
        orders = await self._link.call(lambda conn: worker.orders(conn, workers=ids))
        if orders.resize is not None:
            self._resize(orders.resize)
        return orders.draining and self._signal(signal.SIGUSR2)

    def _resize(self, order: worker.Resize) -> None:
        """Pass an order on, once: the board knows the last one, whichever steward has read it."""
        house = self._board.house
        if order.number <= house[Word.ORDER]:
            return
        house[Word.ORDER] = order.number
        if order.concurrency:
            house[Word.CONCURRENCY] = order.concurrency
            self._board.ring_workers()
        if order.processes:
            house[Word.SEATS] = order.processes
            self._signal(signal.SIGWINCH)

    def _signal(self, signum: signal.Signals) -> bool:
        alive = os.getppid() == self._supervisor
        if alive:
            os.kill(self._supervisor, signum)
        return alive
