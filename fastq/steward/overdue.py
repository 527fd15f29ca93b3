"""Ends worker processes that run a job past its hard timeout: nothing else can end a handler that will not stop."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from contextlib import suppress
from time import monotonic

from fastq.host.board import Board, Cell, Word, split_key

log = logging.getLogger("fastq.steward")

LOOK_EVERY_S = 0.1


class Overdue:
    """Looks at the deadlines on the board. The reaper charges the overdue job alone."""

    def __init__(self, board: Board) -> None:
        self._board = board

    async def run(self) -> None:
        """Look at every worker of this host again and again, until cancelled."""
        while True:
            self.step()
            await asyncio.sleep(LOOK_EVERY_S)

    def step(self) -> None:
        """Kill every worker that runs an overdue job."""
        now_ms = int(monotonic() * 1000)
        for cell in self._board.cells:
            if cell.state.working and not cell[Word.OVERDUE] and (key := _overdue(cell, now_ms)):
                cell[Word.OVERDUE] = key
                lease, ordinal = split_key(key)
                log.warning(
                    "worker %s (pid %s) is killed: job %s of its lease %s runs past its hard timeout",
                    cell[Word.WORKER_ID],
                    cell[Word.PID],
                    ordinal,
                    lease,
                )
                with suppress(ProcessLookupError):
                    os.kill(cell[Word.PID], signal.SIGKILL)


def _overdue(cell: Cell, now_ms: int) -> int:
    """Return the key of a running job whose deadline has passed, or 0."""
    if not any(cell.deadlines):
        return 0
    due = (key for key, deadline_ms in zip(cell.running, cell.deadlines, strict=True) if 0 < deadline_ms < now_ms)
    return next((key for key in due if key > 0), 0)
