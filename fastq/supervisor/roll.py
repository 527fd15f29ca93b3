"""A rolling replacement (HUP), one seat at a time: the decisions. Pure.

    next old worker ──SPAWN──► its successor is ready ──PROMOTE──► the old one is gone ──► next … DONE
                                     └─ died, or took too long ──► ABORT: the old ones stay

Aborting is the point of going one by one: code that cannot start does not take the fleet down.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, auto

from fastq.supervisor.seats import Seat, SeatTable, Worker


class Move(Enum):
    """What a roll wants done now."""

    WAIT = auto()
    SPAWN = auto()
    PROMOTE = auto()
    ABORT = auto()
    DONE = auto()


@dataclass(slots=True, kw_only=True)
class Roll:
    """One roll in progress: every worker that was spawned by `since` is to be replaced.

    `seat` is the one being replaced, `old` the worker in it that goes.
    """

    since: float
    ready_s: float
    seat: Seat | None = None
    old: Worker | None = None

    def next(self, table: SeatTable, now: float) -> Move:
        """Decide; for SPAWN and PROMOTE, `self.seat` says where."""
        if self.old is not None and table.workers.get(self.old.pid) is self.old:
            return self._wait_for_successor(now) if self._in_place(self.old) else Move.WAIT
        if self._heir_is_starting(now):
            return Move.WAIT
        self.seat = next((seat for seat in table.seats if self._is_old(seat)), None)
        self.old = self.seat.worker if self.seat else None
        return Move.SPAWN if self.seat else Move.DONE

    def _wait_for_successor(self, now: float) -> Move:
        assert self.seat is not None
        successor = self.seat.successor
        if successor is None:
            return Move.ABORT
        if successor.ready_at is not None:
            return Move.PROMOTE
        return Move.ABORT if now - successor.spawned_at >= self.ready_s else Move.WAIT

    def _heir_is_starting(self, now: float) -> bool:
        """Tell whether the old worker died by itself and the one that follows it is not ready yet."""
        heir = self.seat.worker if self.seat else None
        return heir is not None and heir.ready_at is None and now - heir.spawned_at < self.ready_s

    def _in_place(self, old: Worker) -> bool:
        return self.seat is not None and self.seat.worker is old and not old.leaving

    def _is_old(self, seat: Seat) -> bool:
        return seat.worker is not None and seat.worker.spawned_at <= self.since and not seat.worker.leaving
