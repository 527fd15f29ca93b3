"""The living processes: forks them, signals them, notes in their cells what becomes of them.

Effects only. When to do any of it is decided by the pure parts and ordered by `run.py`.
"""

from __future__ import annotations

import logging
import os
import signal
import time
from collections.abc import Iterable, Iterator
from contextlib import suppress

from fastq.host.board import Board, Cell, Word
from fastq.host.child import Child, ChildEntry, Kind
from fastq.states import CellState
from fastq.supervisor import cells
from fastq.supervisor.seats import Seat, Worker
from fastq.supervisor.signals import SignalPipe
from fastq.supervisor.spawn import Birth, fork, load

log = logging.getLogger("fastq.supervisor")


class Crew:
    """All child processes of one supervisor, between `open` and `close`."""

    def __init__(self, board: Board, worker: ChildEntry[object], steward: ChildEntry[object]) -> None:
        self.board = board
        self.signals = SignalPipe()
        self._worker = worker
        self._steward = steward
        self._pids: set[int] = set()
        self._lifeline: tuple[int, int] | None = None
        self._last_cell = -1

    def open(self) -> None:
        """Take the signals and tie the lifeline."""
        self._lifeline = os.pipe()
        self.signals.open()
        if names := " and ".join(signum.name for signum in self.signals.ignored):
            log.info("%s stay ignored, as they were at the start; TERM drains, a second one stops at once", names)

    def spawn_worker(self, seat: Seat, held: set[int]) -> Worker | None:
        """Fork a worker for the seat; None when there is no cell or no process to be had."""
        cell = cells.choose(self.board, held, after=self._last_cell)
        if cell is None:
            log.warning("seat %d has to wait: no free cell, the steward has yet to clean one", seat.number)
            return None
        self._last_cell = cell.index
        cells.prepare(cell, seat.cpu)
        pid = self._fork(self._worker, Kind.WORKER, seat, cell)
        if pid is None:
            cell.state = CellState.FREE
            return None
        cell[Word.PID] = pid  # the child writes it too: whoever looks first finds it
        log.info("worker %d started in seat %d", pid, seat.number)
        return Worker(pid=pid, seat=seat.number, cell=cell.index, spawned_at=time.monotonic())

    def spawn_steward(self) -> int | None:
        """Fork the steward."""
        pid = self._fork(self._steward, Kind.STEWARD, None, None)
        if pid is not None:
            log.info("steward %d started", pid)
        return pid

    def send(self, pids: Iterable[int], signum: signal.Signals) -> None:
        """Signal children that have not been reaped yet, so that their pids are still theirs."""
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signum)

    def all(self) -> list[int]:
        """Return the pids of all living children."""
        return sorted(self._pids)

    def changes(self) -> Iterator[tuple[int, int]]:
        """Yield (pid, wait status) of children that ended, were stopped or went on. Never blocks.

        Every child of the process is waited for, also those that are not ours: as PID 1 of a container the
        supervisor inherits orphans.
        """
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG | os.WUNTRACED | os.WCONTINUED)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if pid not in self._pids:
                continue
            if os.WIFEXITED(status) or os.WIFSIGNALED(status):
                self._pids.discard(pid)
            yield pid, status

    def close(self) -> None:
        """Leave no child behind: kill and wait for what is left. Idempotent."""
        self.send(self._pids, signal.SIGKILL)
        while self._pids:
            with suppress(ChildProcessError):
                os.waitpid(self._pids.pop(), 0)
        self.signals.close()
        for fd in self._lifeline or ():
            os.close(fd)
        self._lifeline = None

    def _fork(self, entry: ChildEntry[object], kind: Kind, seat: Seat | None, cell: Cell | None) -> int | None:
        assert self._lifeline is not None, "open() first"
        lifeline, keep = self._lifeline
        child = Child(
            kind=kind,
            cell_index=cell.index if cell else None,
            board=self.board,
            lifeline_fd=lifeline,
            config=entry.config,
        )
        birth = Birth(
            name=f"fastq {kind} {seat.number}" if seat else f"fastq {kind}",
            close_fds=(keep, *self.signals.fds()),
            cpu=seat.cpu if seat else None,
        )
        try:
            pid = fork(lambda: _be(entry, child), birth)
        except OSError as error:
            log.error("no %s could be forked: %s", kind, error)  # noqa: TRY400  # the message is the system's
            return None
        self._pids.add(pid)
        return pid


def _be(entry: ChildEntry[object], child: Child[object]) -> int:
    if child.cell_index is not None:
        child.cell[Word.PID] = os.getpid()
    code = load(entry.path)(child)
    if not isinstance(code, int):
        raise TypeError(f"{entry.path} must return an exit code, not {code!r}")
    return code
