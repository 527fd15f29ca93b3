"""The seat table: who serves what, through deaths, rolls and resizing."""

from __future__ import annotations

import signal

import pytest

from fastq.supervisor.exits import Exit
from fastq.supervisor.policy import Life, Record, RestartPolicy
from fastq.supervisor.seats import Seat, SeatTable, Worker

pytestmark = pytest.mark.unit

CRASH = Life(exit=Exit(signal.SIGSEGV), clean=False, ready_s=None, progressed=False, fleet_was_ready=True)
CLEAN = Life(exit=Exit(0), clean=True, ready_s=1.0, progressed=True, fleet_was_ready=True)


def table(count: int = 2, cpus: tuple[int, ...] = ()) -> SeatTable:
    """Return a new table."""
    return SeatTable(count, cpus, RestartPolicy())


def put(seats: SeatTable, seat: Seat, pid: int, **facts: object) -> Worker:
    """Place a worker."""
    worker = Worker(**{"pid": pid, "seat": seat.number, "cell": pid, "spawned_at": 0.0} | facts)
    seats.place(seat, worker)
    return worker


def loop(seats: SeatTable, seat: Seat, times: int = 5) -> None:
    """Let the seat's workers die that often."""
    for pid in range(times):
        put(seats, seat, 1000 + pid)
        seats.bury(1000 + pid, CRASH, 0.0, burst=False)


def test_seats_go_round_the_cpus() -> None:
    """More seats than CPUs begin again at the first."""
    assert [seat.cpu for seat in table(5, (4, 6)).seats] == [4, 6, 4, 6, 4]


def test_new_seats_are_due_at_once() -> None:
    """Until they have a worker."""
    seats = table()
    put(seats, seats.seats[0], 7)
    assert seats.due(0.0) == [seats.seats[1]]


def test_crashed_seat_is_due_after_its_backoff() -> None:
    """At once first, a tenth of a second later the next time."""
    seats = table(1)
    loop(seats, seats.seats[0], 2)
    assert (seats.due(0.05), seats.next_respawn(), len(seats.due(0.1))) == ([], 0.1, 1)


def test_second_worker_of_a_seat_is_its_successor() -> None:
    """It takes over when it is promoted."""
    seats = table(1)
    old, new = (put(seats, seats.seats[0], pid) for pid in (1, 2))
    assert seats.promote(seats.seats[0]) is old
    assert (seats.seats[0].worker, seats.seats[0].successor) == (new, None)
    assert seats.bury(1, CLEAN, 0.0, burst=False) is None


def test_successor_inherits_when_the_old_one_dies_first() -> None:
    """No third worker is started."""
    seats = table(1)
    _, new = (put(seats, seats.seats[0], pid) for pid in (1, 2))
    assert seats.bury(1, CRASH, 0.0, burst=False) is None
    assert (seats.seats[0].worker, seats.due(99.0)) == (new, [])


def test_death_of_a_successor_leaves_the_seat_alone() -> None:
    """The old worker serves on, and the seat's record is clean."""
    seats = table(1)
    old, _ = (put(seats, seats.seats[0], pid) for pid in (1, 2))
    assert seats.bury(2, CRASH, 0.0, burst=False) is None
    assert (seats.seats[0].worker, seats.seats[0].record) == (old, Record())


def test_shrink_takes_the_last_seat_and_never_the_first() -> None:
    """Its workers are handed out to be let go, and still hold their cells."""
    seats = table(2)
    worker = put(seats, seats.seats[1], 5)
    assert (seats.shrink(), seats.shrink(), len(seats.seats)) == ([worker], [], 1)
    assert seats.held_cells() == {5}


def test_finished_when_every_seat_had_a_clean_end_in_burst() -> None:
    """A finished seat is never due again."""
    seats = table(2)
    for pid, seat in enumerate(seats.seats):
        put(seats, seat, pid)
        seats.bury(pid, CLEAN, 0.0, burst=True)
    assert (seats.finished(), seats.due(99.0), seats.looping(0.0)) == (True, [], [])


def test_looping_needs_all_seats() -> None:
    """One seat in a crash loop is its own trouble; all of them are everyone's."""
    seats = table(2)
    loop(seats, seats.seats[0])
    assert seats.looping(0.0) == []
    loop(seats, seats.seats[1])
    assert seats.looping(0.0) == seats.seats


def test_seat_that_got_healthy_is_not_looping() -> None:
    """A worker that has been ready for a while proves the old record stale."""
    seats = table(2)
    for seat in seats.seats:
        loop(seats, seat)
    put(seats, seats.seats[0], 1, ready_at=0.0)
    assert seats.looping(9.9) == seats.seats
    assert seats.looping(10.0) == []


def test_forgive_makes_vacant_seats_due() -> None:
    """After a deploy, the backoff of the old code is void."""
    seats = table(1)
    loop(seats, seats.seats[0])
    seats.forgive(0.0)
    assert (seats.due(0.0), seats.seats[0].record) == (seats.seats, Record())
