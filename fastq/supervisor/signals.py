"""Signals as data: a pipe that the C handler writes signal numbers into, and a poll that reads them.

No Python code runs in a handler, so nothing can be interrupted half-way. What a signal means is decided in
`run.py`.
"""

from __future__ import annotations

import faulthandler
import math
import os
import select
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType

WATCHED = (
    signal.SIGTERM,
    signal.SIGINT,
    signal.SIGQUIT,
    signal.SIGHUP,
    signal.SIGUSR1,
    signal.SIGUSR2,
    signal.SIGTTIN,
    signal.SIGTTOU,
    signal.SIGWINCH,
    signal.SIGCHLD,
)
# A terminal sends these to the whole process group; only the supervisor may act on them.
IGNORED_IN_CHILDREN = (signal.SIGINT, signal.SIGHUP, signal.SIGTTIN, signal.SIGTTOU)
# A shell has its background jobs ignore these: Ctrl-C and Ctrl-\\ at its terminal are for others. So they stay ignored.
_LEFT_IGNORED = (signal.SIGINT, signal.SIGQUIT)
_STDERR_FD = 2

_Handler = Callable[[int, FrameType | None], object] | int


def _nothing(_signum: int, _frame: FrameType | None) -> None:
    """Stand where a handler must be for the wake-up pipe to be written."""


class SignalPipe:
    """The watched signals of this process, in order of arrival, between `open` and `close`.

    `ignored` are those that the process was started with as ignored, and that it does not take over.
    """

    def __init__(self) -> None:
        self.ignored: tuple[signal.Signals, ...] = ()
        self._fds: tuple[int, int] | None = None
        self._before: dict[signal.Signals, _Handler] = {}
        self._wakeup_before = -1
        self._poll = select.poll()

    def open(self) -> None:
        """Take over the watched signals. Main thread only."""
        read_fd, write_fd = os.pipe()
        os.set_blocking(read_fd, False)
        os.set_blocking(write_fd, False)
        self._fds = (read_fd, write_fd)
        self._poll.register(read_fd, select.POLLIN)
        self._wakeup_before = signal.set_wakeup_fd(write_fd, warn_on_full_buffer=False)
        self.ignored = tuple(signum for signum in _LEFT_IGNORED if signal.getsignal(signum) is signal.SIG_IGN)
        for signum in WATCHED:
            if signum not in self.ignored:
                self._before[signum] = signal.signal(signum, _nothing) or signal.SIG_DFL
        signal.pthread_sigmask(signal.SIG_UNBLOCK, WATCHED)

    def wait(self, timeout_s: float) -> list[signal.Signals]:
        """Return the signals that came, after at most `timeout_s`; [] when none did."""
        assert self._fds is not None, "open() first"
        self._poll.poll(math.ceil(max(0.0, timeout_s) * 1000))
        arrived = b""
        with suppress(BlockingIOError):
            while chunk := os.read(self._fds[0], 4096):
                arrived += chunk
        return [signal.Signals(number) for number in arrived]

    def fds(self) -> tuple[int, ...]:
        """Return the descriptors that a child must close."""
        return self._fds or ()

    def close(self) -> None:
        """Give the signals back to whoever had them. Idempotent."""
        if self._fds is None:
            return
        signal.set_wakeup_fd(self._wakeup_before)
        for signum, handler in self._before.items():
            signal.signal(signum, handler)
        for fd in self._fds:
            os.close(fd)
        self._fds = None


@contextmanager
def held_back() -> Iterator[set[int]]:
    """Hold the watched signals back around a fork.

    A signal that reached the child before it let go of the wake-up pipe would be written into the pipe which it
    still shares with its parent, and the supervisor would believe that it was meant itself. Yields the mask that
    the child has to restore.
    """
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, WATCHED)
    try:
        yield {int(signum) for signum in mask}
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)


def reset_in_child(mask: set[int]) -> None:
    """Let go of the parent's handlers, in the child, before any code of its own runs.

    Until its entry installs a handler, TERM and QUIT kill the child (it has claimed nothing yet) and USR1 shows
    where it hangs.
    """
    signal.set_wakeup_fd(-1)
    for signum in WATCHED:
        signal.signal(signum, signal.SIG_IGN if signum in IGNORED_IN_CHILDREN else signal.SIG_DFL)
    faulthandler.register(signal.SIGUSR1, file=_STDERR_FD, all_threads=True)
    signal.pthread_sigmask(signal.SIG_SETMASK, mask)
