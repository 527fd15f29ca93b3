"""What all workers of a host have counted, those that are gone included. Pure.

Cells are cleared and used again, counters must never go back: `Totals` keeps for each cell what its earlier workers had
counted. Call `observe` before each look, with each heartbeat, and before a dead cell is cleared; what a worker counts
after the last look and before its cell is cleared is missing from the totals, never counted twice.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from fastq.host.board import COUNTERS, Cell, Word


@dataclass(slots=True)
class _Seen:
    """The totals of one cell: of the workers it had before, and of the one it has."""

    pid: int = 0
    before: list[int] = field(default_factory=lambda: [0] * len(COUNTERS))
    now: list[int] = field(default_factory=lambda: [0] * len(COUNTERS))

    def observe(self, pid: int, counts: list[int]) -> None:
        """Take a new reading: of the same worker, or of another one, which starts from nothing.

        A cell that is being cleared may be read half-way: pid 0, or some counts gone. Then the earlier reading is kept
        as the past and what is left of the cell is not a worker's count.
        """
        if pid != self.pid:
            self.before, self.now = self.totals(), [0] * len(counts)
            self.pid = pid
        if pid:
            self.now = [max(new, old) for new, old in zip(counts, self.now, strict=True)]

    def totals(self) -> list[int]:
        return [old + new for old, new in zip(self.before, self.now, strict=True)]


class Totals:
    """Counters that only grow, of cells that are cleared and used again."""

    def __init__(self) -> None:
        self._seen: dict[int, _Seen] = {}

    def observe(self, cells: Iterable[Cell]) -> None:
        """Take a reading of all cells that are, or ever were, in use."""
        for cell in cells:
            if cell.index not in self._seen and not cell[Word.PID]:
                continue
            seen = self._seen.setdefault(cell.index, _Seen())
            pid, counts = cell[Word.PID], [cell[word] for word in COUNTERS]
            seen.observe(pid if pid == cell[Word.PID] else 0, counts)  # cleared while it was read: not this worker's

    def sum(self) -> dict[Word, int]:
        """Return the totals of all cells together."""
        totals = [seen.totals() for seen in self._seen.values()]
        return {word: sum(counts[place] for counts in totals) for place, word in enumerate(COUNTERS)}

    def by_cell(self) -> dict[int, dict[Word, int]]:
        """Return the totals of every cell that was ever in use."""
        return {index: dict(zip(COUNTERS, seen.totals(), strict=True)) for index, seen in sorted(self._seen.items())}


_ENDS = (Word.SUCCEEDED, Word.FAILED, Word.RETRIED, Word.RETURNED, Word.LOST)


def in_words(counts: Mapping[Word, int]) -> str:
    """Return how jobs ended, as a drain says it: "12 succeeded, 1 failed, 0 retried, 3 returned, 0 lost"."""
    return ", ".join(f"{counts[word]:,} {word.name.lower()}" for word in _ENDS)
