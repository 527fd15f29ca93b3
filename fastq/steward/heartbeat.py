"""Prolongs the life of this host's workers: one UPDATE for all of them, whatever their event loops are doing."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from contextlib import suppress
from functools import partial
from pathlib import Path
from time import monotonic, time

import orjson

from fastq.host.board import COUNTERS, Board, Cell, Word
from fastq.postgres.away import absent
from fastq.postgres.link import Link
from fastq.protocol import worker
from fastq.protocol.shards import Shards
from fastq.sql import on_cluster

log = logging.getLogger("fastq.steward")

LEAVE_MS = 5000
"""So long a worker that was given up has to notice and leave: it runs nothing that counts any more."""


class Heartbeat:
    """Renews the workers that live on the board; a stopped (frozen) one is not: others shall have its jobs."""

    def __init__(self, board: Board, link: Link, *, lease_s: float, shards: Shards) -> None:
        self._board = board
        self._link = link
        self._lease_s = lease_s
        self._shards = shards
        self._beaten_at: float | None = None
        self._steady_since = monotonic()
        self._clock_ms = 0

    @property
    def age_s(self) -> float | None:
        """Seconds since the database last took a heartbeat; None when it never did."""
        return None if self._beaten_at is None else monotonic() - self._beaten_at

    def steady(self) -> bool:
        """Tell whether the database has taken our heartbeats for half a lease without a long gap."""
        return self._beaten_at is not None and not self._gap() and monotonic() - self._steady_since > self._lease_s / 2

    def _gap(self) -> bool:
        """Tell whether the last heartbeat is so long ago that leases may have run out for want of the database."""
        return self._beaten_at is not None and monotonic() - self._beaten_at > self._lease_s / 2

    async def run(self) -> None:
        """Beat five times per lease, until cancelled."""
        while True:
            await self.step()
            await asyncio.sleep(min(5.0, self._lease_s / 5))

    async def step(self) -> None:
        """Renew once; a worker that the database no longer knows is marked as fenced."""
        cells = {
            cell[Word.WORKER_ID]: cell
            for cell in self._board.cells
            if cell.state.alive and cell[Word.WORKER_ID] and not cell[Word.STOPPED]
        }
        workers = {worker_id: self._told(cell) for worker_id, cell in cells.items()}
        joined = {worker_id: max(1, cell[Word.SHARDS]) for worker_id, cell in cells.items()}
        began = time()
        renewing = partial(worker.renew_all, shards=self._shards, workers=workers, lease_s=self._lease_s)
        alive = await self._link.call(renewing)
        for _, now_s in alive.values():
            self._clock_ms = round(((began + time()) / 2 - now_s) * 1000)
        for worker_id, cell in cells.items():
            wanted = 1 if on_cluster() else min(joined[worker_id], len(self._shards))
            listed = worker_id in alive and alive[worker_id].shards >= wanted
            if not (listed or absent.shards) and cell[Word.WORKER_ID] == worker_id and cell.state.alive:
                self._give_up(cell)
        if self._gap():
            self._steady_since = monotonic()
        self._beaten_at = monotonic()

    def _told(self, cell: Cell) -> str:
        """Return what is written of a worker, as JSON: its counters, its size, how far this host's clock is ahead."""
        told: dict[str, int | str] = {word.name.lower(): cell[word] for word in COUNTERS}
        told |= {"running": len(cell.running_jobs()), "state": cell.state.name.lower()}
        if concurrency := self._board.house[Word.CONCURRENCY]:
            told["concurrency"] = concurrency
        return orjson.dumps({**told, **_memory(cell[Word.PID]), "clock_ms": self._clock_ms}).decode()

    def _give_up(self, cell: Cell) -> None:
        """Mark a worker that the database no longer knows, and wake it; kill it if it does not leave by itself."""
        now_ms = int(monotonic() * 1000)
        if not cell[Word.FENCED]:
            log.warning("worker %s (pid %s) was given up by the fleet", cell[Word.WORKER_ID], cell[Word.PID])
            cell[Word.FENCED] = now_ms
            self._board.doorbells[cell.index].ring()
        elif now_ms - cell[Word.FENCED] > LEAVE_MS:
            log.warning("worker %s (pid %s) does not leave and is killed", cell[Word.WORKER_ID], cell[Word.PID])
            with suppress(ProcessLookupError):
                os.kill(cell[Word.PID], signal.SIGKILL)


def _memory(pid: int) -> dict[str, int]:
    """Return how many bytes a process holds, where the system tells."""
    with suppress(OSError, ValueError, IndexError):
        pages = int(Path(f"/proc/{pid}/statm").read_text("ascii").split()[1])
        return {"memory_bytes": pages * os.sysconf("SC_PAGE_SIZE")}
    return {}
