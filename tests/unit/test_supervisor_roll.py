"""The rolling replacement: which move is next."""

from __future__ import annotations

import signal

import pytest

from fastq.supervisor.exits import Exit
from fastq.supervisor.policy import Life, RestartPolicy
from fastq.supervisor.roll import Move, Roll
from fastq.supervisor.seats import SeatTable, Worker

pytestmark = pytest.mark.unit

DEAD = Life(exit=Exit(signal.SIGKILL), clean=False, ready_s=None, progressed=False, fleet_was_ready=True)


class Stage:
    """Two seats with an old worker each, and a roll since 10."""

    def __init__(self) -> None:
        self.table = SeatTable(2, (), RestartPolicy())
        self.roll = Roll(since=10.0, ready_s=60.0)
        self.spawn(0, 1, 0.0).ready_at = 1.0
        self.spawn(1, 2, 0.0).ready_at = 1.0

    def spawn(self, seat: int, pid: int, at: float) -> Worker:
        """Put a worker into the seat."""
        worker = Worker(pid=pid, seat=seat, cell=pid, spawned_at=at)
        self.table.place(self.table.seats[seat], worker)
        return worker

    def move(self, now: float = 11.0) -> tuple[Move, int | None]:
        """Return the next move and its seat."""
        return self.roll.next(self.table, now), self.roll.seat.number if self.roll.seat else None

    def bury(self, pid: int) -> None:
        """Let a worker die."""
        self.table.bury(pid, DEAD, 12.0, burst=False)


def test_whole_roll() -> None:
    """Spawn, wait until ready, promote, wait until gone, next; done after the last."""
    stage = Stage()
    for seat, old, new in ((0, 1, 3), (1, 2, 4)):
        assert stage.move() == (Move.SPAWN, seat)
        successor = stage.spawn(seat, new, 11.0)
        assert stage.move() == (Move.WAIT, seat)
        successor.ready_at = 12.0
        assert stage.move() == (Move.PROMOTE, seat)
        stage.table.promote(stage.table.seats[seat]).kill_at = 50.0
        assert stage.move() == (Move.WAIT, seat)
        stage.bury(old)
    assert stage.move() == (Move.DONE, None)


def test_successor_that_dies_aborts() -> None:
    """The old worker is still in place."""
    stage = Stage()
    stage.move()
    stage.spawn(0, 3, 11.0)
    stage.bury(3)
    assert stage.move() == (Move.ABORT, 0)


def test_successor_that_does_not_get_ready_aborts() -> None:
    """A minute is the patience of a roll."""
    stage = Stage()
    stage.move()
    stage.spawn(0, 3, 11.0)
    assert stage.move(70.9) == (Move.WAIT, 0)
    assert stage.move(71.0) == (Move.ABORT, 0)


def test_old_one_that_dies_first_is_waited_for_by_its_heir() -> None:
    """The next seat is touched only when this one serves again."""
    stage = Stage()
    stage.move()
    successor = stage.spawn(0, 3, 11.0)
    stage.bury(1)
    assert stage.move() == (Move.WAIT, 0)
    successor.ready_at = 12.0
    assert stage.move() == (Move.SPAWN, 1)


def test_second_hup_replaces_what_the_first_one_made() -> None:
    """Moving `since` is all that it takes."""
    stage = Stage()
    for seat, pid in ((0, 1), (1, 2)):
        stage.bury(pid)
        stage.spawn(seat, pid + 2, 11.0).ready_at = 12.0
    assert stage.move() == (Move.DONE, None)
    stage.roll.since = 13.0
    assert stage.move() == (Move.SPAWN, 0)


def test_reused_pid_is_not_taken_for_the_old_worker() -> None:
    """A pid that is in use again belongs to somebody else."""
    stage = Stage()
    stage.move()
    stage.bury(1)
    stage.spawn(0, 1, 11.0).ready_at = 12.0
    assert stage.move() == (Move.SPAWN, 1)
