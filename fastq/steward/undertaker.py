"""Gives back what dead workers held: at once for those of this host, after their lease for those of dead hosts."""

from __future__ import annotations

import asyncio
import logging
import os
from functools import partial

from fastq.board import Board, Cell, Word
from fastq.link import Link
from fastq.outcome import after_death, death_of
from fastq.protocol import reap, upkeep
from fastq.settlement import LeasedJob, Settlement
from fastq.states import CellState

log = logging.getLogger("fastq.steward")

_LIVING = (CellState.RUNNING, CellState.DRAINING)


class Undertaker:
    """Reaps cells that the supervisor marked dead, and workers of any host whose time has run out."""

    def __init__(self, board: Board, link: Link, *, lease_s: float, slots: int) -> None:
        self._board = board
        self._link = link
        self._lease_s = lease_s
        self._slots = slots
        self.rung = asyncio.Event()
        self.orphaned = False

    async def run(self) -> None:
        """Reap whenever the supervisor rings, until cancelled."""
        while True:
            await self.step()
            self.rung.clear()
            try:
                await asyncio.wait_for(self.rung.wait(), 1.0)
            except TimeoutError:
                continue

    async def run_expired(self) -> None:
        """Look for workers of dead hosts four times per lease, until cancelled."""
        while True:
            await asyncio.sleep(min(5.0, self._lease_s / 4))
            await self.step_expired()

    async def step(self) -> None:
        """Reap all dead cells of this host."""
        if self.orphaned:
            self._find_dead()
        for cell in self._board.cells:
            if cell.state is CellState.DEAD:
                await self._reap_cell(cell)

    async def _reap_cell(self, cell: Cell) -> None:
        worker_id, running = cell[Word.WORKER_ID], set(cell.running_jobs())
        cause = death_of(cell[Word.EXIT_STATUS])
        if worker_id:
            back = 0
            for slot in range(self._slots):
                back += await self._reap(slot, worker_id, running, cause)
            log.info(
                "worker %s ended by %s: %s job(s) given back, %s of them ran", worker_id, cause, back, len(running)
            )
        cell.clear()
        cell.state = CellState.FREE

    async def _reap(self, slot: int, worker_id: int, running: set[tuple[int, int]] | None, cause: str) -> int:
        """Reap one worker; `running` None means that nobody knows what ran, so everything is charged."""

        def verdict(job: LeasedJob) -> Settlement:
            return after_death(job, running=running is None or (job.lease, job.ord) in running, cause=cause)

        back = await self._link.call(partial(reap.reap, slot=slot, worker=worker_id, verdict=verdict))
        if back:
            await self._link.call(upkeep.notify)
            self._board.ring_workers()
        return back or 0

    async def step_expired(self) -> None:
        """Reap every worker whose time has run out, of whatever host."""
        for slot in range(self._slots):
            expired = await self._link.call(partial(reap.expired_workers, slot=slot))
            for worker_id in expired:
                back = await self._reap(slot, worker_id, None, "the end of its lease")
                log.warning("worker %s stopped renewing its lease: %s job(s) given back", worker_id, back)

    def _find_dead(self) -> None:
        """Without a supervisor nobody reports deaths: look for processes that are gone."""
        for cell in self._board.cells:
            if cell.state in _LIVING and not _exists(cell[Word.PID]):
                cell.state = CellState.DEAD


def _exists(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
