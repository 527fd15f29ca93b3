"""One line on the terminal that says what the bench is doing. Silent where stderr is no terminal."""

from __future__ import annotations

import sys
from collections.abc import Callable

from fastq.terminal import progress


class BenchProgress:
    """Rewrites one line on stderr."""

    def __init__(self) -> None:
        self._line = progress.Progress(sys.stderr)

    def say(self, text: str) -> None:
        """Show what is being done now."""
        self._line.show(text)

    def counting(self, text: str, total: int) -> Callable[[int], None]:
        """Return a callback for long work that shows how far it is."""

        def count(done: int) -> None:
            self._line.show(text, f"{done:,} of {total:,}", done / total)

        return count

    def clear(self) -> None:
        """Remove the line; may be called twice."""
        self._line.clear()
