"""How far a part of the demo is, in words: so many of so many, at what rate."""

from __future__ import annotations

from types import TracebackType
from typing import IO, Self

from fastq.terminal import progress

_WHAT_WIDTH = 16
_ELSEWHERE_EVERY_S = 2.0


class DemoProgress:
    """The progress of one piece of work of `total` parts. Use as a context manager; call `at` as often as you like."""

    def __init__(self, what: str, total: int, stream: IO[str]) -> None:
        self._what = what
        self._total = total
        self._line = progress.Progress(stream, elsewhere_every_s=_ELSEWHERE_EVERY_S)

    def __enter__(self) -> Self:
        """Show that it begins."""
        self.at(0)
        return self

    def __exit__(self, kind: type[BaseException] | None, _exc: BaseException | None, _tb: TracebackType | None) -> None:
        """Show how far it came, and leave the line."""
        self._line.leave()

    def at(self, done: int, note: str = "") -> None:
        """Say that `done` parts are done; shown when it is time to."""
        words = so_far(done, self._total, self._line.elapsed_s, note)
        self._line.show(self._what, words, done / self._total if self._total else 1.0)


def so_far(done: int, total: int, elapsed_s: float, note: str) -> str:
    """Return `600/2,000  300/s  2 errors`."""
    rate = f"{done / elapsed_s:,.0f}/s" if done and elapsed_s else ""
    return "  ".join(filter(None, [f"{done:,}/{total:,}", rate, note]))
