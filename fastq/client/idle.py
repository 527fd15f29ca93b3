"""The idle connections of a pool, and whether one can be used again. Opens and closes none."""

from __future__ import annotations

import select
import sys
import time
from collections.abc import Callable
from typing import Any, Generic, TypeVar

import psycopg
from psycopg.pq import TransactionStatus

from fastq.config import PoolConfig

C = TypeVar("C", bound=psycopg.BaseConnection[Any])


class Idle(Generic[C]):
    """The last one in is the first one out, so that those that are one too many grow old."""

    def __init__(self, config: PoolConfig) -> None:
        self._config = config
        self._idle: list[tuple[C, float]] = []

    def put(self, conn: C) -> None:
        """Add one."""
        self._idle.append((conn, time.monotonic()))

    def take(self, fits: Callable[[C], bool] = lambda _: True) -> C | None:
        """Return the last one that fits, which the server may have closed meanwhile; None if there is none."""
        for place in range(len(self._idle) - 1, -1, -1):
            if fits(self._idle[place][0]):
                return self._idle.pop(place)[0]
        return None

    def take_old(self) -> list[C]:
        """Return those that nobody has wanted for too long, but leave as many as shall stay."""
        until = time.monotonic() - self._config.idle_s
        old = sum(since <= until for _, since in self._idle)
        return self._take_first(min(old, len(self._idle) - self._config.keep))

    def take_all(self) -> list[C]:
        """Return all."""
        return self._take_first(len(self._idle))

    def _take_first(self, number: int) -> list[C]:
        taken, self._idle = self._idle[:number], self._idle[number:]
        return [conn for conn, _ in taken]

    @property
    def next_s(self) -> float | None:
        """In how many seconds the next one will have been idle for too long; None if all shall stay."""
        if len(self._idle) <= self._config.keep:
            return None
        return max(0.0, self._idle[0][1] + self._config.idle_s - time.monotonic())


def alive(conn: psycopg.BaseConnection[Any]) -> bool:
    """Tell whether the server has left an idle connection open: it has nothing to say on it but its last words.

    Sends nothing, and costs 2 µs.
    """
    if conn.closed:
        return False
    if sys.platform == "win32":
        return not select.select([conn.fileno()], [], [], 0)[0]
    poll = select.poll()
    poll.register(conn.fileno(), select.POLLIN)
    return not poll.poll(0)


def reusable(conn: psycopg.BaseConnection[Any]) -> bool:
    """Tell whether a connection that comes back is open and in no transaction."""
    return not conn.closed and conn.info.transaction_status == TransactionStatus.IDLE
