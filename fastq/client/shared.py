"""What connections are wanted for, and how many of them all processes of a host may have."""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum
from math import inf

from fastq.errors import DatabaseUnreachable
from fastq.host.seats import Seats
from fastq.postgres.database import AsyncConnection, Connection


class Use(IntEnum):
    """What a connection is wanted for, as the number of connections that this use leaves to those before it.

    Whoever holds one while their own code runs may want another one for a statement, and whoever waits for a lock must
    not keep back those who wait for nobody. As each use leaves something to the ones before it, none waits for ever.
    """

    BRIEF = 0
    """One statement that waits for nobody."""

    SLOW = 1
    """One statement that may have to wait for somebody's lock, or that is about many jobs."""

    HELD = 2
    """The caller's code runs meanwhile."""


def busy(most: int, whose: str, waited_s: float) -> DatabaseUnreachable:
    """Return the error for whoever waited in vain."""
    return DatabaseUnreachable(f"all {most} connections of {whose} were in use for {waited_s:.0f} s")


class Shared:
    """The connections that the processes of a host share: one for each seat; without seats, any number.

    The last seats are left to brief uses.
    """

    def __init__(self, seats: Seats | None) -> None:
        self._seats = seats

    def take(self, use: Use) -> tuple[bool, int | None]:
        """Return whether a connection may be opened, and in which seat."""
        if self._seats is None:
            return True, None
        seat = self._seats.take(leave=int(use))
        return seat is not None, seat

    def fits(self, use: Use) -> Callable[[AsyncConnection | Connection], bool]:
        """Return what tells whether a connection that is open is for this use, too."""
        end = inf if self._seats is None else self._seats.count - use
        return lambda conn: (conn.seat or 0) < end

    def give(self, seat: int | None) -> None:
        """Give back the seat of a connection that is closed."""
        if self._seats is not None and seat is not None:
            self._seats.give(seat)

    def busy(self, waited_s: float) -> DatabaseUnreachable:
        """Return the error for whoever got no seat."""
        return busy(0 if self._seats is None else self._seats.count, "this host's handlers", waited_s)
