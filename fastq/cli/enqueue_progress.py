"""The line on a terminal that shows how a long enqueue goes."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TextIO

_EVERY_S = 0.1
_WIDTH = 24


def describe(jobs: int, elapsed_s: float, share: float | None) -> str:
    """Return `  431,000 jobs   312,000/s   43 % ━━━━━━━━━━────`; no bar where the end is not known."""
    text = f"{jobs:>13,} jobs {jobs / max(elapsed_s, 1e-9):>11,.0f}/s"
    if share is None:
        return text
    full = int(min(share, 1.0) * _WIDTH)
    return f"{text} {min(share, 1.0):>5.0%} {'━' * full}{'─' * (_WIDTH - full)}"


class Progress:
    """Draws on a terminal at most ten times a second; is silent elsewhere, and when the terminal goes away."""

    def __init__(self, stream: TextIO, *, share: Callable[[], float | None]) -> None:
        self._stream = stream
        self._share = share
        self._on = stream.isatty()
        self._started = self._drawn = time.monotonic()

    def __call__(self, jobs: int) -> None:
        """Note how many jobs were sent so far."""
        now = time.monotonic()
        if self._on and now - self._drawn >= _EVERY_S:
            self._drawn = now
            self._write(f"\r\x1b[K{describe(jobs, now - self._started, self._share())}")

    def clear(self) -> None:
        """Make room for a line of text."""
        if self._on:
            self._write("\r\x1b[K")

    @property
    def elapsed_s(self) -> float:
        """Seconds since the start."""
        return time.monotonic() - self._started

    def _write(self, text: str) -> None:
        try:
            self._stream.write(text)
            self._stream.flush()
        except OSError:
            self._on = False
