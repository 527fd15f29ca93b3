"""The lease: a shared lock on BASE/lease that says "I use this server".

The kernel drops it at exit and at kill -9, and a forked worker keeps its parent's alive, so there is no list
of users to go stale. It is given up by closing the file, never by LOCK_UN: the lock belongs to the open file
that all forks share, and LOCK_UN in one of them would take it from all.
"""

from __future__ import annotations

import fcntl
import os
from dataclasses import dataclass
from pathlib import Path

from fastq.embedded.locks import is_file_at, open_lock, try_lock, wait_lock
from fastq.embedded.paths import Paths


@dataclass(frozen=True, kw_only=True, slots=True)
class Lease:
    """A held lease. It lasts until `release(base)`, or until this process and all its forks are gone."""

    base: Path
    fd: int


_held: dict[Path, Lease] = {}


def held(paths: Paths) -> Lease | None:
    """Return this process's lease, unless the file was deleted under it."""
    lease = _held.get(paths.base)
    return lease if lease is not None and is_file_at(lease.fd, paths.lease) else None


def take(paths: Paths, *, deadline: float) -> Lease:
    """Take the lease, or return the one we have. Waits while a keeper is stopping the server."""
    if (lease := held(paths)) is not None:
        return lease
    drop(paths)
    fd = open_lock(paths.lease)
    try:
        wait_lock(fd, fcntl.LOCK_SH, deadline=deadline, path=paths.lease)
    except BaseException:
        os.close(fd)
        raise
    # Two threads may both come here; the second one's file is closed again and it gets the first one's lease.
    lease = _held.setdefault(paths.base, Lease(base=paths.base, fd=fd))
    if lease.fd != fd:
        os.close(fd)
    return lease


def drop(paths: Paths) -> None:
    """Give the lease up in this process; its forks keep theirs."""
    lease = _held.pop(paths.base, None)
    if lease is not None:
        os.close(lease.fd)


class IdleWatch:
    """The keeper's view of the lease: has nobody held it for the grace period?"""

    def __init__(self, paths: Paths, *, grace_s: float) -> None:
        self._paths = paths
        self._grace_s = grace_s
        self._fd = open_lock(paths.lease)
        self._idle_since: float | None = None

    def is_over(self, now: float) -> bool:
        """Say whether the server should stop. Once True, the lock is ours and newcomers wait for `close`."""
        if not is_file_at(self._fd, self._paths.lease):
            return True  # the directory was deleted: nobody can find this server any more
        if self._paths.stay.exists() or not try_lock(self._fd, fcntl.LOCK_EX):
            self._idle_since = None
            return False
        if self._idle_since is None:
            self._idle_since = now
        if now - self._idle_since >= self._grace_s:
            # Not unlocked: a starter that comes now gets its lease when we are gone, and starts a server.
            return True
        fcntl.flock(self._fd, fcntl.LOCK_UN)  # no fork shares this open file
        return False

    def close(self) -> None:
        """Let newcomers in."""
        os.close(self._fd)
