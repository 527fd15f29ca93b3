"""The lock that one keeper per data directory holds, with the keeper's pid in the file.

Whoever holds it is the only process that may start, stop or delete the server. A pid in an unlocked file is
a dead keeper's and means nothing.
"""

from __future__ import annotations

import fcntl
import os
import signal
import time
from pathlib import Path

from fastq.embedded.files import open_file
from fastq.embedded.locks import RETRY_S, open_lock, try_lock
from fastq.errors import EmbeddedError


def claim(path: Path, *, pid: int | None) -> int | None:
    """Take the lock and write `pid` (None: nothing) to it; return the open file, None if somebody has it."""
    fd = open_lock(path)
    if not try_lock(fd, fcntl.LOCK_EX):
        os.close(fd)
        return None
    os.ftruncate(fd, 0)
    if pid is not None:
        os.pwrite(fd, str(pid).encode(), 0)
    return fd


def give_back(fd: int) -> None:
    """Release the lock, with no pid left behind."""
    os.ftruncate(fd, 0)
    os.close(fd)


def owner(path: Path) -> int | None:
    """Return the pid of the keeper; 0 if the lock is held by somebody without a pid; None if it is free."""
    try:
        fd = open_file(path, os.O_RDONLY)
    except FileNotFoundError:
        return None
    try:
        # For microseconds. A keeper that fails to claim because of it says "busy" and is tried again.
        if try_lock(fd, fcntl.LOCK_SH):
            return None
        text = os.pread(fd, 32, 0)
        return int(text) if text.isdigit() else 0
    finally:
        os.close(fd)


def take_over(path: Path, *, deadline: float) -> tuple[int, bool]:
    """Ask every keeper that comes up to stop until the lock is ours; return it, and True if there was one."""
    asked: set[int] = set()
    while (fd := claim(path, pid=None)) is None:
        pid = owner(path)
        if pid and pid not in asked:
            try:
                os.kill(pid, signal.SIGTERM)
            except ProcessLookupError:
                continue  # it has ended since we read its pid
            asked.add(pid)
        if time.monotonic() > deadline:
            raise EmbeddedError(f"the keeper of {path.parent} (pid {pid}) does not stop; see {path.parent / 'log'}")
        time.sleep(RETRY_S)
    return fd, bool(asked)
