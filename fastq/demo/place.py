"""Where the demo happens: a temporary directory with a PostgreSQL of its own. Nothing of it stays."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import Any

from fastq import embedded
from fastq.embedded.binaries import ADVICE, INSTALL
from fastq.errors import EmbeddedError, FastqError

_STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_REMOVALS_MOST = 5


class DemoPlace:
    """A directory and, between `open` and `close`, a server in it. With `keep` the directory stays."""

    def __init__(self, *, keep: bool = False) -> None:
        self._keep = keep
        self.base = Path(tempfile.mkdtemp(prefix="fastq-demo-"))
        self.dsn = ""
        if os.geteuid() == 0:
            self.base.chmod(0o755)  # the server runs as another user, who must get through

    def open(self) -> str:
        """Start the server; returns how to reach it. A Ctrl-C meanwhile counts afterwards, when it can be stopped."""
        with postponed():
            try:
                self.dsn = embedded.ensure(self.base)
            except EmbeddedError as error:  # a DSN would not help: the demo is not for anybody's database
                raise EmbeddedError(str(error).replace(ADVICE, INSTALL)) from None
        return self.dsn

    def close(self) -> None:
        """Stop the server and remove the directory. May be called twice."""
        with suppress(FastqError):
            embedded.stop(self.base)
        embedded.release(self.base)
        if self._keep:
            return
        for _ in range(_REMOVALS_MOST):  # a server that was just starting may write while we remove
            shutil.rmtree(self.base, ignore_errors=True)
            if not self.base.exists():
                return
            with suppress(FastqError):
                embedded.stop(self.base)


@contextmanager
def stoppable() -> Iterator[None]:
    """Let TERM and HUP end the block as Ctrl-C does, so that it cleans up."""
    with _handling(_interrupt, _STOPPING[1:]):
        yield


@contextmanager
def postponed() -> Iterator[None]:
    """Let INT, TERM and HUP wait for the end of the block."""
    came: list[int] = []

    def note(signum: int, _frame: FrameType | None) -> None:
        came.append(signum)

    with _handling(note, _STOPPING):
        yield
    if came:
        raise KeyboardInterrupt


@contextmanager
def ignored() -> Iterator[None]:
    """Let INT, TERM and HUP do nothing inside the block: cleaning up is what they ask for."""
    with _handling(signal.SIG_IGN, _STOPPING):
        yield


@contextmanager
def _handling(
    handler: Callable[[int, FrameType | None], Any] | signal.Handlers, which: tuple[int, ...]
) -> Iterator[None]:
    before = {signum: signal.signal(signum, handler) for signum in which}
    try:
        yield
    finally:
        for signum, old in before.items():
            signal.signal(signum, old)


def _interrupt(_signum: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt
