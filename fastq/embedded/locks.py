"""flock(2) on files that are never deleted: taking, waiting with a deadline, looking."""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path

from fastq.embedded.files import open_file
from fastq.errors import EmbeddedError

RETRY_S = 0.005


def open_lock(path: Path) -> int:
    """Open the lock file, creating it if need be. Not inherited over exec; a fork shares the lock."""
    return open_file(path, os.O_RDWR | os.O_CREAT)


def try_lock(fd: int, mode: int) -> bool:
    """Take the lock (fcntl.LOCK_SH or LOCK_EX) if that needs no waiting."""
    try:
        fcntl.flock(fd, mode | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def wait_lock(fd: int, mode: int, *, deadline: float, path: Path) -> None:
    """Take the lock before `deadline` (time.monotonic), or raise. Retries: flock itself knows no time-out."""
    while not try_lock(fd, mode):
        if time.monotonic() > deadline:
            raise EmbeddedError(f"{path} is locked by a process that does not finish; `fuser {path}` names it")
        time.sleep(RETRY_S)


def is_file_at(fd: int, path: Path) -> bool:
    """Say whether `path` still names the open file: a lock on a deleted file locks nobody out."""
    try:
        return os.path.samestat(os.fstat(fd), path.stat())
    except FileNotFoundError:
        return False
