"""So many log lines of one kind and no more: a hundred thousand jobs that fail alike must not fill a disk.

A record made with ``extra={"per": key}`` is one of many. Of each message and key the first few within some seconds
pass; the others are counted, and reported in one line when the time is over.
"""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from time import monotonic

MOST = 5
EVERY_S = 10.0
MOST_KINDS = 1000
"""Kinds of lines that are told apart at once: some keys come from rows, which may say anything."""

Kind = tuple[int, str, str]
"""Level, message before its arguments are filled in, and key."""


@dataclass(slots=True)
class _Window:
    """One kind of line within one stretch of time."""

    since: float
    passed: int = 0
    held: int = 0
    last: str = ""


class Throttle(logging.Filter):
    """The filter of one logger. `tell` reports what was held back, once its time is over."""

    def __init__(
        self,
        log: logging.Logger,
        *,
        most: int = MOST,
        every_s: float = EVERY_S,
        most_kinds: int = MOST_KINDS,
        clock: Callable[[], float] = monotonic,
    ) -> None:
        super().__init__()
        self._log = log
        self._most = most
        self._every_s = every_s
        self._most_kinds = most_kinds
        self._clock = clock
        self._windows: dict[Kind, _Window] = {}
        self._tell_at = 0.0
        self._lock = threading.Lock()

    def filter(self, record: logging.LogRecord) -> bool:
        """Let a record pass, or count it."""
        per = record.__dict__.pop("per", None)
        if per is None:
            return True
        now = self._clock()
        if now >= self._tell_at:
            self.tell()
        with self._lock:
            window = self._window((record.levelno, str(record.msg), str(per)), now)
            if window.passed < self._most:
                window.passed += 1
                return True
            window.held += 1
            window.last = record.getMessage()
            return False

    def _window(self, kind: Kind, now: float) -> _Window:
        if kind not in self._windows and len(self._windows) >= self._most_kinds:
            kind = (kind[0], "", "others")
        return self._windows.setdefault(kind, _Window(since=now))

    def tell(self, *, all: bool = False) -> None:  # noqa: A002 - reads as what it does
        """Report what was held back in windows that are over, or in all of them."""
        now = self._clock()
        self._tell_at = now + self._every_s / 10
        with self._lock:
            over = {k: w for k, w in self._windows.items() if all or now - w.since >= self._every_s}
            for kind in over:
                del self._windows[kind]
        for (level, _, per), window in over.items():
            if window.held:
                text = "%s: %s more like this within %.0f s, the last one: %s"
                said = {"task": per, "held_back": window.held}
                self._log.log(level, text, per, window.held, now - window.since, window.last, extra=said)

    async def run(self) -> None:
        """Report in time, until cancelled."""
        while True:
            await asyncio.sleep(self._every_s / 10)
            self.tell()


@asynccontextmanager
async def throttled(log: logging.Logger) -> AsyncIterator[Throttle]:
    """Throttle a logger until the end, and then report the rest."""
    throttle = Throttle(log)
    log.addFilter(throttle)
    telling = asyncio.create_task(throttle.run(), name="fastq-throttle")
    try:
        yield throttle
    finally:
        telling.cancel()
        await asyncio.gather(telling, return_exceptions=True)
        log.removeFilter(throttle)
        throttle.tell(all=True)
