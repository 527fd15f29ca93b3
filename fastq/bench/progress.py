"""One line on the terminal that says what the bench is doing. Silent where stderr is no terminal."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable

_EVERY_S = 0.1


class Progress:
    """Rewrites one line on stderr."""

    def __init__(self, *, shown: bool | None = None) -> None:
        self._shown = sys.stderr.isatty() if shown is None else shown
        self._said_at = 0.0

    def say(self, text: str) -> None:
        """Show what is being done now."""
        if self._shown:
            sys.stderr.write(f"\r\x1b[K{text}")
            sys.stderr.flush()

    def counting(self, text: str, total: int) -> Callable[[int], None]:
        """Return a callback for long work that shows how far it is."""

        def count(done: int) -> None:
            now = time.monotonic()
            if now - self._said_at >= _EVERY_S:
                self._said_at = now
                self.say(f"{text} {done:,} of {total:,}")

        return count

    def clear(self) -> None:
        """Remove the line; may be called twice."""
        if self._shown:
            sys.stderr.write("\r\x1b[K")
            sys.stderr.flush()
