"""What callers do with the server: hold, ensure, start_detached, stop, reset. See the package's docstring.

Any number of processes may do any of these at once. `ensure` holds a lease before it looks, so that the
server it sees cannot be stopped for want of users; `stop` and `reset` take the keeper's lock, so that nothing
starts meanwhile.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from fastq.embedded import binaries, cluster, keeper_lock, lease
from fastq.embedded.directories import judge, make_base
from fastq.embedded.files import open_file
from fastq.embedded.identity import identity_for
from fastq.embedded.launch import Outcome, launch
from fastq.embedded.lease import Lease
from fastq.embedded.locks import open_lock, wait_lock
from fastq.embedded.paths import Paths, major_of
from fastq.embedded.ping import ping
from fastq.errors import EmbeddedError

Base = str | os.PathLike[str] | None

HOLD_TIMEOUT_S = 75.0  # a server that is being stopped gets 60 s for it
STOP_TIMEOUT_S = 90.0
POLL_S = 0.01
MAX_KEEPER_DEATHS = 3


def hold(base: Base = None) -> Lease:
    """Take the lease on `base` for this process and its future forks; start nothing. Idempotent."""
    with explained(paths := Paths.of(base)):
        make_base(paths, identity_for(paths.data()))
        return lease.take(paths, deadline=time.monotonic() + HOLD_TIMEOUT_S)


def release(base: Base = None) -> None:
    """Give the lease up; the server stops some seconds after the last one is gone. Idempotent."""
    lease.drop(Paths.of(base))


def ensure(base: Base = None, timeout_s: float = 60.0) -> str:
    """Hold the lease, start the server if it is not running, and return a libpq conninfo string for it.

    Processes that were not forked from the caller (multiprocessing's "spawn") call this themselves. After a
    lost connection, call it again: it starts a server that was killed together with its keeper.
    Raises EmbeddedError if there is no server after `timeout_s`.
    """
    deadline = time.monotonic() + timeout_s
    with explained(paths := Paths.of(base)):
        held_before = lease.held(paths) is not None
        make_base(paths, identity_for(paths.data()))
        lease.take(paths, deadline=deadline)
        try:
            if not is_up(paths):
                start(paths, deadline=deadline)
        except BaseException:
            if not held_before:
                lease.drop(paths)
            raise
        return paths.dsn


def is_up(paths: Paths) -> bool:
    """Say whether the server answers and has a keeper: one without is an orphan, to be replaced."""
    return bool(keeper_lock.owner(paths.keeper_lock)) and ping(paths.socket).ready


def start(paths: Paths, *, deadline: float) -> None:
    """Have a keeper started, by us or by whoever is at it already, and return when the server is ready."""
    fd = open_lock(paths.start_lock)
    try:
        wait_lock(fd, fcntl.LOCK_EX, deadline=deadline, path=paths.start_lock)
        died = 0
        while not is_up(paths):
            if time.monotonic() > deadline:
                raise EmbeddedError(f"PostgreSQL is not ready in time ({ping(paths.socket).message}), see {paths.log}")
            # A keeper may be at work although we hold the lock: its starter was killed, or it is ending.
            if keeper_lock.owner(paths.keeper_lock) is None:
                report = launch(paths, cluster.choose(paths)[1], deadline=deadline)
                if report.outcome is Outcome.READY:
                    return
                died += report.outcome is Outcome.DIED  # once may be a kill or somebody's `stop`: try again
                if report.outcome is Outcome.ERROR or died == MAX_KEEPER_DEATHS:
                    raise EmbeddedError(report.text)
            time.sleep(POLL_S)
    finally:
        os.close(fd)


def start_detached(base: Base = None) -> str:
    """Start a server that stays up after this process is gone, until `stop`; return its conninfo string.

    The wish is a file in the directory, so a keeper that is restarted after a kill honours it too.
    """
    held_before = lease.held(paths := Paths.of(base)) is not None
    dsn = ensure(base)
    with explained(paths):
        os.close(open_file(paths.stay, os.O_WRONLY | os.O_CREAT))
    if not held_before:
        lease.drop(paths)
    return dsn


def stop(base: Base = None) -> bool:
    """Stop the server now, whoever uses it, and return when it is gone: True if there was one."""
    with explained(paths := Paths.of(base)), stopped(paths) as was_running:
        return was_running


def reset(base: Base = None) -> bool:
    """Stop the server and delete its data directories, jobs and all; True if there was one."""
    with explained(paths := Paths.of(base)), stopped(paths):
        doomed = [*paths.base.glob("pg[0-9][0-9]"), *paths.base.glob("init-*"), *paths.base.glob("reset-*")]
        for directory in doomed:
            # First out of the way, in one step: half a data directory must not pass for one.
            gone = directory.rename(paths.base / f"reset-{os.getpid()}-{directory.name}")
            shutil.rmtree(gone)
        return bool(doomed)


def program(name: str, base: Base = None) -> Path:
    """Return the path of a PostgreSQL program (psql, pg_dump) of the version that `base` has."""
    data = Paths.of(base).data()
    found = binaries.find(major=major_of(data) if data else None, identity=identity_for(data))
    path = found.directory / name
    if not path.exists():
        raise EmbeddedError(f"{found.directory} has no {name}")
    return path


@contextmanager
def stopped(paths: Paths) -> Iterator[bool]:
    """Stop keeper and server and let none start inside the block; yields whether there was one."""
    if not paths.base.is_dir():
        yield False
        return
    judge(paths.base)
    paths.stay.unlink(missing_ok=True)
    fd, had_keeper = keeper_lock.take_over(paths.keeper_lock, deadline=time.monotonic() + STOP_TIMEOUT_S)
    try:
        data = paths.data()
        orphan = data is not None and cluster.clear(data, paths)
        yield had_keeper or orphan
    finally:
        keeper_lock.give_back(fd)


@contextmanager
def explained(paths: Paths) -> Iterator[None]:
    """Turn the operating system's refusals into a sentence that says what to choose."""
    try:
        yield
    except OSError as error:
        where = error.filename or paths.base
        raise EmbeddedError(
            f"cannot use {paths.base} for the embedded PostgreSQL ({where}: {error.strerror}): "
            "set FASTQ_HOME to a directory this user owns, or FASTQ_DSN to a PostgreSQL server"
        ) from error
