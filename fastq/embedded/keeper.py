"""The keeper: the process that owns one server. Parent of the postmaster, watcher of the lease.

Its life: claim keeper.lock, prepare the cluster, start postgres, report "ready" on stdout, then look ten
times a second whether the server lives and whether anybody still leases it. It ends on SIGTERM (`stop`), when
nobody has had a lease for the grace period, or when the server does not stay up. Killed with -9, it takes the
server along (on Linux).

Reports, one per life: "ready", "busy" (another keeper is at work), or "error" and the reason below it.
"""

from __future__ import annotations

import os
import select
import signal
import time
from contextlib import suppress
from types import FrameType

from fastq.embedded import cluster, keeper_lock, log
from fastq.embedded.lease import IdleWatch
from fastq.embedded.paths import Paths
from fastq.embedded.ping import ping
from fastq.embedded.postmaster import Postmaster
from fastq.errors import EmbeddedError

STARTING_POLL_S = 0.002
POLL_S = 0.1
TRIM_EVERY_S = 60.0
DEFAULT_GRACE_S = 2.0
STDOUT, STDERR = 1, 2


def grace_s() -> float:
    """Return how long a server without users stays up: $FASTQ_PG_GRACE in seconds."""
    text = os.environ.get("FASTQ_PG_GRACE", "")
    try:
        return float(text) if text else DEFAULT_GRACE_S
    except ValueError:
        raise EmbeddedError(f"FASTQ_PG_GRACE is a number of seconds, not {text!r}") from None


class Keeper:
    """open / step until False / close."""

    def __init__(self, paths: Paths, lock_fd: int, *, grace: float) -> None:
        self._paths = paths
        self._lock_fd = lock_fd
        self._watch = IdleWatch(paths, grace_s=grace)
        self._server: Postmaster | None = None
        self._stop_asked = False
        self._ready = False
        self._trim_at = 0.0
        # Signals become bytes in a pipe, so that a death or a SIGTERM ends the wait at once.
        self._wake_read, self._wake_write = os.pipe()

    def open(self) -> None:
        """Take the signals, prepare the data directory and start the server."""
        for fd in (self._wake_read, self._wake_write):
            os.set_blocking(fd, False)
        signal.set_wakeup_fd(self._wake_write, warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._ask_stop)
        signal.signal(signal.SIGCHLD, _ignore)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        # The starter may have blocked signals to read them as data; a mask survives exec.
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        server = Postmaster(cluster.prepare(self._paths), self._paths)
        server.start()
        self._server = server

    def _ask_stop(self, _number: int, _frame: FrameType | None) -> None:
        self._stop_asked = True

    def run(self) -> None:
        """Serve until there is a reason to end."""
        while self.step():
            select.select([self._wake_read], [], [], POLL_S if self._ready else STARTING_POLL_S)
            drain(self._wake_read)
        log.note("stopping: asked to" if self._stop_asked else "stopping: nobody uses the server")

    def step(self) -> bool:
        """Look at everything once; return False when it is time to end."""
        assert self._server is not None, "step before open"
        if self._stop_asked:
            return False
        self._server.restart_if_dead()
        now = time.monotonic()
        if not self._ready and ping(self._paths.socket).ready:
            self._ready = True
            report("ready")
        if now >= self._trim_at:
            self._trim_at = now + TRIM_EVERY_S
            log.trim(self._paths.log)
        return not self._watch.is_over(now)

    def close(self) -> None:
        """Stop the server, then let others in: first a new keeper, then those who wait for a lease."""
        if self._server is not None:
            self._server.stop()
        keeper_lock.give_back(self._lock_fd)
        self._watch.close()
        signal.set_wakeup_fd(-1)
        os.close(self._wake_read)
        os.close(self._wake_write)


def keep(base: str, *, detach: bool) -> int:
    """Be the keeper of `base`; return the exit status. `detach`: go on as a child of PID 1."""
    if detach and os.fork() != 0:
        os._exit(0)
    os.umask(0o077)
    try:
        paths = Paths.of(base)
        lock_fd = keeper_lock.claim(paths.keeper_lock, pid=os.getpid())
        if lock_fd is None:
            report("busy")
            return 0
        serve(paths, lock_fd)
    except (EmbeddedError, OSError) as error:
        log.note(f"giving up: {error}")
        report(f"error\n{error}")
        return 1
    return 0


def serve(paths: Paths, lock_fd: int) -> None:
    """Run one keeper from open to close."""
    keeper = Keeper(paths, lock_fd, grace=grace_s())
    try:
        keeper.open()
        keeper.run()
    finally:
        keeper.close()


def report(text: str) -> None:
    """Tell the starter and close the pipe to it. If it is gone, so be it: the server is up."""
    with suppress(OSError):
        os.write(STDOUT, f"{text}\n".encode())
    os.dup2(STDERR, STDOUT)


def drain(fd: int) -> None:
    """Empty the wake-up pipe."""
    with suppress(BlockingIOError):
        while os.read(fd, 512):
            pass


def _ignore(_number: int, _frame: FrameType | None) -> None:
    """Let the wake-up pipe do its work: SIG_IGN would reap the server behind our back."""
