"""So many of something that all processes of a host share, such as connections: whoever has a seat may have one.

A seat is a byte of a file without a name, and whoever has locked it has it. The kernel frees it when its process dies.
"""

from __future__ import annotations

import fcntl
import os
import threading
from contextlib import suppress


class Seats:
    """`count` seats, made before the processes are forked. Safe to share between threads, too."""

    def __init__(self, count: int) -> None:
        self.count = count
        self._fd = _nameless()
        self._mine: set[int] = set()
        self._lock = threading.Lock()

    def take(self, *, leave: int = 0) -> int | None:
        """Take the first free seat, but none of the last `leave` ones; None if all are taken."""
        with self._lock:
            for seat in range(self.count - leave):
                if seat not in self._mine and self._locked(seat):
                    self._mine.add(seat)
                    return seat
        return None

    def give(self, seat: int) -> None:
        """Give a seat of this process back."""
        with self._lock:
            self._mine.remove(seat)
            fcntl.lockf(self._fd, fcntl.LOCK_UN, 1, seat)

    def _locked(self, seat: int) -> bool:
        with suppress(BlockingIOError, PermissionError):
            fcntl.lockf(self._fd, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, seat)
            return True
        return False


def _nameless() -> int:
    """Open a file that has no name. It is never closed: a process that closes it gives up all its seats."""
    if hasattr(os, "memfd_create"):
        return os.memfd_create("fastq seats")
    import tempfile

    fd, name = tempfile.mkstemp()
    os.unlink(name)  # noqa: PTH108 - light
    return fd
