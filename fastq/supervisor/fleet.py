"""The seats, the steward's post and the processes in them, kept true to each other.

Joins the pure tables with the crew that acts: fills what is vacant, buries what died, sees who got ready, lets
workers go. Whether the fleet should be filled at all is up to `run.py`.
"""

from __future__ import annotations

import logging
import math
import os
import signal
from dataclasses import dataclass

from fastq.config import SupervisorConfig
from fastq.host.board import Board, Word
from fastq.observability.totals import Totals
from fastq.supervisor import cells
from fastq.supervisor.crew import Crew
from fastq.supervisor.drain import Limits
from fastq.supervisor.exits import Exit
from fastq.supervisor.policy import Life, RestartPolicy, Verdict
from fastq.supervisor.post import Post
from fastq.supervisor.seats import Seat, SeatTable, Worker

log = logging.getLogger("fastq.supervisor")

_RETRY_S = 0.1
_SHORTEST_LOOK_S = 0.02
_LONGEST_LOOK_S = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Ended:
    """A worker that is gone, and whether it had ever been ready."""

    exit: Exit
    was_ready: bool


class Fleet:
    """Everything alive under one supervisor, between `open` and `close`."""

    def __init__(
        self,
        config: SupervisorConfig,
        board: Board,
        crew: Crew,
        policy: RestartPolicy,
        limits: Limits,
    ) -> None:
        self.board = board
        self.crew = crew
        self.table = SeatTable(config.processes, config.cpus, policy)
        self.post = Post()
        self.totals = Totals()
        self.was_ready = False
        self._burst = config.burst
        self._limits = limits

    def fill(self, now: float, *, workers: bool) -> None:
        """Start what is due: the steward, and workers if they are wanted."""
        if self.post.due(now):
            pid = self.crew.spawn_steward()
            if pid is None:
                self.post.retry(now)
            else:
                self.post.take(pid, now)
        for seat in self.table.due(now) if workers else ():
            if not self.spawn(seat):
                seat.respawn_at = now + _RETRY_S

    def spawn(self, seat: Seat) -> bool:
        """Start a worker in the seat, or beside the one that is there; tell whether there is one."""
        worker = self.crew.spawn_worker(seat, self.table.held_cells())
        if worker is not None:
            self.table.place(seat, worker)
        return worker is not None

    def reap(self, now: float, *, serving: bool) -> list[Ended]:
        """Take note of every child that changed; return the workers that ended."""
        ended = []
        for pid, status in self.crew.changes():
            if os.WIFSTOPPED(status) or os.WIFCONTINUED(status):
                self._mark_stopped(pid, os.WIFSTOPPED(status))
            elif pid == self.post.pid:
                self._bury_steward(pid, Exit(status), now)
            elif pid in self.table.workers:
                ended.append(self._bury_worker(self.table.workers[pid], Exit(status), now, serving=serving))
        return ended

    def look(self, now: float) -> None:
        """See which starting workers have become ready."""
        for worker in self.table.workers.values():
            if worker.ready_at is None and cells.was_ready(self.board.cells[worker.cell]):
                worker.ready_at, self.was_ready = now, True
                log.info("worker %d is ready after %.2f s", worker.pid, now - worker.spawned_at)

    def let_go(self, worker: Worker, now: float) -> None:
        """Ask one worker to drain; it will be killed if it stays too long."""
        worker.kill_at = min(worker.kill_at, now + self._limits.leave_s)
        self.term([worker])

    def term(self, workers: list[Worker]) -> None:
        """Send TERM; a stopped worker is sent on its way too, or it could never drain."""
        self.crew.send((worker.pid for worker in workers), signal.SIGTERM)
        self.crew.send((worker.pid for worker in workers if worker.stopped), signal.SIGCONT)

    def kill_overdue(self, now: float) -> bool:
        """Kill the workers that were asked to go and did not; tell whether there were any."""
        overdue = [worker for worker in self.table.workers.values() if worker.kill_at <= now]
        for worker in overdue:
            log.error("worker %d did not drain in time and is killed", worker.pid)
            worker.kill_at = math.nextafter(math.inf, 0)  # still leaving, killed once
        self.crew.send((worker.pid for worker in overdue), signal.SIGKILL)
        return bool(overdue)

    def next_event(self, now: float) -> float:
        """Return how long nothing has to be done here, unless a signal comes."""
        starting = [now - worker.spawned_at for worker in self.table.workers.values() if worker.ready_at is None]
        look_s = max(_SHORTEST_LOOK_S, min(starting) / 10) if starting else math.inf
        leaving = min((worker.kill_at for worker in self.table.workers.values()), default=math.inf)
        return min(min(look_s, _LONGEST_LOOK_S) if starting else math.inf, leaving - now)

    def _mark_stopped(self, pid: int, stopped: bool) -> None:
        worker = self.table.workers.get(pid)
        if worker is not None:
            worker.stopped = stopped
            self.board.cells[worker.cell][Word.STOPPED] = int(stopped)
        log.warning("child %d %s", pid, "was stopped" if stopped else "goes on")

    def _bury_steward(self, pid: int, end: Exit, now: float) -> None:
        delay_s = self.post.vacate(now)
        self.board.house[Word.LISTENS] = 0  # nobody hears of new jobs meanwhile: workers look by themselves
        self.board.ring_workers()
        if self.post.wanted:
            log.error("steward %d is gone: %s; the next one comes in %.1f s", pid, end, delay_s)
        else:
            log.info("steward %d is gone: %s", pid, end)

    def _bury_worker(self, worker: Worker, end: Exit, now: float, *, serving: bool) -> Ended:
        cell = self.board.cells[worker.cell]
        was_ready = worker.ready_at is not None or cells.was_ready(cell)
        progressed = cells.progressed(cell)
        self.totals.observe([cell])  # before it is called dead: then the steward may clear it
        clean = cells.close(self.board, cell, end)
        self.was_ready |= was_ready or clean
        life = Life(
            exit=end,
            clean=clean,
            ready_s=(worker.ready_for(now) or 0.0) if was_ready else None,
            progressed=progressed,
            fleet_was_ready=self.was_ready,
        )
        follows = self.table.bury(worker.pid, life, now, burst=self._burst)
        _announce(worker, life, follows if serving else None, self.table.policy)
        return Ended(exit=end, was_ready=was_ready)


def _announce(worker: Worker, life: Life, follows: tuple[Seat, Verdict] | None, policy: RestartPolicy) -> None:
    if life.clean:
        log.info("worker %d of seat %d is done", worker.pid, worker.seat)
        return
    log.error("worker %d of seat %d died: %s", worker.pid, worker.seat, life.exit)
    if follows is None:
        return
    seat, verdict = follows
    if seat.record.strikes >= policy.max_strikes:
        log.error("seat %d is in a crash loop: %d quick deaths in a row", seat.number, seat.record.strikes)
    log.info("seat %d gets its next worker in %.1f s", seat.number, verdict.delay_s)
