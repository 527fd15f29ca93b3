"""The supervisor: one loop that waits for signals and deadlines, and keeps every seat served.

It has no event loop, no threads and no database connection, so that it can fork safely and has nothing to lose.
What lives here is what a signal means and the order of things; the decisions are in `policy`, `seats`, `roll`,
`drain` and `post` (pure), the effects in `fleet` and `crew`.
"""

from __future__ import annotations

import logging
import signal
import time

from fastq.config import SupervisorConfig
from fastq.errors import UsageError
from fastq.host.board import Board, Word
from fastq.host.child import ChildEntry
from fastq.observability.totals import in_words
from fastq.states import ExitCode
from fastq.supervisor import cells, drain, report
from fastq.supervisor.crew import Crew
from fastq.supervisor.drain import Drain, Limits, Order, Phase
from fastq.supervisor.fleet import Fleet
from fastq.supervisor.policy import RestartPolicy, loop_code
from fastq.supervisor.roll import Move, Roll
from fastq.supervisor.systemd import Systemd

log = logging.getLogger("fastq.supervisor")

_LONGEST_WAIT_S = 5.0


class Supervisor:
    """The parent of the workers and the steward of one host. `run` once; the int it returns is the exit code.

    `policy` and `limits` are for tests; the defaults are the documented behaviour.
    """

    def __init__(
        self,
        config: SupervisorConfig,
        board: Board,
        worker: ChildEntry[object],
        steward: ChildEntry[object],
        *,
        policy: RestartPolicy | None = None,
        limits: Limits | None = None,
    ) -> None:
        if len(board.cells) <= config.processes:
            raise UsageError(f"a board for {config.processes} processes needs more than that many cells")
        self.limits = limits or Limits(shutdown_timeout_s=config.shutdown_timeout_s)
        self.crew = Crew(board, worker, steward)
        self.fleet = Fleet(config, board, self.crew, policy or RestartPolicy(), self.limits)
        self.drain = Drain()
        self.roll: Roll | None = None
        self._board = board
        self._systemd = Systemd()
        self._codes: set[ExitCode] = set()
        self._verdict: ExitCode | None = None

    def run(self) -> int:
        """Supervise until everything has ended; return the exit code. Leaves no child behind, whatever happens."""
        try:
            self.open()
            while self.drain.phase is not Phase.DONE:
                self.step()
            self._tell_totals()
        finally:
            self.close()
        return self.exit_code

    def open(self) -> None:
        """Take the signals and start everything."""
        self.crew.open()
        self.fleet.fill(time.monotonic(), workers=True)

    def step(self) -> None:
        """Wait for the next signal or deadline and do what it asks for."""
        for signum in self.crew.signals.wait(self._patience_s(time.monotonic())):
            self._obey(signum, time.monotonic())
        now = time.monotonic()
        self._reap(now)
        self.fleet.look(now)
        if self.fleet.kill_overdue(now) and self.drain.phase is not Phase.SERVING:
            self._codes.add(ExitCode.OVERRAN)
        if self.drain.phase is Phase.SERVING:
            self._serve(now)
        while self.drain.phase is not Phase.SERVING and self._end(now):
            pass
        self.fleet.fill(now, workers=self.drain.phase is Phase.SERVING)
        self._tell_systemd(now)

    def close(self) -> None:
        """Kill what is left and give the signals back. Idempotent."""
        self.crew.close()
        self._systemd.close()

    @property
    def exit_code(self) -> int:
        """What the process exits with, as far as it is known."""
        return int(drain.exit_code(self._codes) if self._verdict is None else self._verdict)

    def _tell_systemd(self, now: float) -> None:
        self._systemd.is_alive(now)
        if self.drain.phase is not Phase.SERVING:
            self._systemd.stops()
        elif self.fleet.was_ready and self.roll is None:
            workers = [worker for worker in self.fleet.table.workers.values() if worker.ready_at is not None]
            self._systemd.is_ready(f"{len(workers)} of {len(self.fleet.table.seats)} workers run")

    def _tell_totals(self) -> None:
        """Say how the jobs of all workers ended, the steward's verdicts on those that died included."""
        totals = self.fleet.totals
        totals.observe([self._board.house])
        if self.fleet.was_ready:
            log.info("all have ended: %s", in_words(totals.sum()))

    def _patience_s(self, now: float) -> float:
        moments = [self.drain.deadline, self.fleet.post.next_fill()]
        if self.drain.phase is Phase.SERVING:
            moments.append(self.fleet.table.next_respawn())
        return min(_LONGEST_WAIT_S, self._systemd.every_s / 2, self.fleet.next_event(now), min(moments) - now)

    def _obey(self, signum: signal.Signals, now: float) -> None:
        match signum:
            case signal.SIGTERM | signal.SIGINT if self.drain.phase is Phase.SERVING:
                log.info("%s: draining for at most %.0f s", signum.name, self.limits.shutdown_timeout_s)
                self._begin_drain(now)
            case signal.SIGTERM | signal.SIGINT if now < self.drain.echo_until:
                log.debug("%s again: taken for an echo", signum.name)
            case signal.SIGTERM | signal.SIGINT | signal.SIGQUIT:
                self._force(signum, now)
            case signal.SIGUSR2 if self.drain.phase is Phase.SERVING:
                log.info("fastq.drain(): draining for at most %.0f s", self.limits.shutdown_timeout_s)
                self._begin_drain(now)
            case signal.SIGUSR1:
                self.crew.send(self.crew.all(), signal.SIGUSR1)
                for line in report.lines(self.fleet.table, self.fleet.post, self._board, now):
                    log.info("%s", line)
            case signal.SIGHUP | signal.SIGTTIN | signal.SIGTTOU if self.drain.phase is Phase.SERVING:
                self._reshape(signum, now)
            case signal.SIGWINCH if self.drain.phase is Phase.SERVING and (wanted := self._board.house[Word.SEATS]):
                self._board.house[Word.SEATS] = 0
                self._resize("fastq.resize()", wanted, now)

    def _reshape(self, signum: signal.Signals, now: float) -> None:
        table = self.fleet.table
        if signum is signal.SIGHUP:
            log.info("HUP: replacing %d workers one by one", len(table.workers))
            table.forgive(now)
            self._systemd.reloads()
            if self.roll is None:
                self.roll = Roll(since=now, ready_s=self.limits.ready_s)
            self.roll.since = now
        else:
            self._resize(signum.name[3:], len(table.seats) + (1 if signum is signal.SIGTTIN else -1), now)

    def _resize(self, why: str, seats: int, now: float) -> None:
        """Have so many seats, or as many as the board serves; who has to go, drains."""
        table, most = self.fleet.table, cells.most_seats(len(self._board.cells))
        if seats > most:
            log.warning("%s: this supervisor has room for %d seats, not for %d", why, most, seats)
        for _ in range(len(table.seats), min(seats, most)):
            table.grow()
        while len(table.seats) > max(1, seats):
            for worker in table.shrink():
                self.fleet.let_go(worker, now)
        log.info("%s: %d seats", why, len(table.seats))

    def _reap(self, now: float) -> None:
        for ended in self.fleet.reap(now, serving=self.drain.phase is Phase.SERVING):
            if self.drain.phase is not Phase.SERVING:
                self._codes.add(drain.code_of_leaver(ended.exit, was_ready=ended.was_ready))

    def _serve(self, now: float) -> None:
        table = self.fleet.table
        if self.roll is not None:
            self._roll_on(self.roll, now)
        if table.finished() and not table.workers:
            log.info("every seat is finished")
            self._begin_drain(now)
        elif looping := table.looping(now):
            records = [seat.record for seat in looping]
            self._verdict = loop_code(records, fleet_was_ready=self.fleet.was_ready)
            log.error("all seats are in a crash loop: giving up with exit code %d", self._verdict)
            self._begin_drain(now)

    def _roll_on(self, roll: Roll, now: float) -> None:
        move, seat = roll.next(self.fleet.table, now), roll.seat
        if move is Move.SPAWN and seat is not None:
            move = Move.WAIT if self.fleet.spawn(seat) else Move.ABORT
        elif move is Move.PROMOTE and seat is not None:
            self.fleet.let_go(self.fleet.table.promote(seat), now)
        if move is Move.ABORT:
            log.error("the new worker did not get ready: the roll is given up, the old workers stay")
            if seat is not None and seat.successor is not None:
                self.fleet.let_go(seat.successor, now)
                seat.successor = None
        elif move is Move.DONE:
            log.info("all workers are replaced")
        if move in (Move.ABORT, Move.DONE):
            self.roll = None

    def _begin_drain(self, now: float) -> None:
        self.roll = None
        self.drain = drain.begin(now, self.limits)
        self.fleet.term(list(self.fleet.table.workers.values()))

    def _force(self, signum: signal.Signals, now: float) -> None:
        if self.drain.phase is Phase.FORCED:
            return
        log.warning("%s: stopping at once", signum.name)
        self._verdict = ExitCode.CRASH
        self.fleet.post.wanted = False
        self.drain = drain.force(now, self.limits)
        self.crew.send(self.crew.all(), signal.SIGQUIT)

    def _end(self, now: float) -> bool:
        """Go on with the end; tell whether that led into another phase, which may be over at once."""
        before = self.drain.phase
        post, workers = self.fleet.post, self.fleet.table.workers
        self.drain, order = drain.advance(
            self.drain, self.limits, now=now, workers=len(workers), steward=post.pid is not None
        )
        match order:
            case Order.TERM_STEWARD:
                post.wanted = False
                steward = [post.pid] if post.pid else []
                self.crew.send(steward, signal.SIGTERM)
                self.crew.send(steward, signal.SIGCONT)  # a stopped one would not hear
            case Order.KILL_WORKERS | Order.KILL_STEWARD | Order.KILL_ALL:
                log.error("%d children did not stop in time and are killed", len(self.crew.all()))
                self._kill(order)
            case Order.WAIT:
                pass
        return self.drain.phase is not before

    def _kill(self, order: Order) -> None:
        self._codes.add(ExitCode.OVERRAN)
        pids = list(self.fleet.table.workers) if order is Order.KILL_WORKERS else self.crew.all()
        self.crew.send(pids, signal.SIGKILL)
