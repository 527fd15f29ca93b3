"""What all workers of a host have counted, those that are gone included. Pure.

Cells are cleared and used again, counters must never go back: `Totals` keeps for each cell what its earlier workers had
counted. Call `observe` before each look, with each heartbeat, and before a dead cell is cleared; what a worker counts
after the last look and before its cell is cleared is missing from the totals, never counted twice.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from operator import add

from fastq.host.board import COUNTERS, Cell, Word
from fastq.host.series import OTHERS, Counted, Key, read

SERIES_MOST = 256

Reading = dict[Key | None, list[int]]
"""The counters of a cell, under None, and of each queue and task in it."""


@dataclass(slots=True)
class _Seen:
    """The totals of one cell: of the workers it had before, and of the one it has."""

    pid: int = 0
    before: Reading = field(default_factory=dict)
    now: Reading = field(default_factory=dict)

    def observe(self, pid: int, reading: Reading) -> None:
        """Take a new reading: of the same worker, or of another one, which starts from nothing.

        A cell that is being cleared may be read half-way: pid 0, or some counts gone. Then the earlier reading is kept
        as the past and what is left of the cell is not a worker's count.
        """
        if pid != self.pid:
            self.before, self.now = dict(_added(self.before, self.now)), {}
            self.pid = pid
        if pid:
            for key, counts in reading.items():
                old = self.now.get(key)
                self.now[key] = counts if old is None else list(map(max, counts, old))

    def totals(self) -> Reading:
        return dict(_added(self.before, self.now))


def _added(*readings: Reading) -> Iterator[tuple[Key | None, list[int]]]:
    for key in dict.fromkeys(key for reading in readings for key in reading):
        parts = [reading[key] for reading in readings if key in reading]
        yield key, parts[0] if len(parts) == 1 else [sum(counts) for counts in zip(*parts, strict=True)]


class Totals:
    """Counters that only grow, of cells that are cleared and used again.

    Of queues and tasks no more than SERIES_MOST are told apart: the names may be anybody's.
    """

    def __init__(self) -> None:
        self._seen: dict[int, _Seen] = {}
        self._keys: set[Key] = {OTHERS}
        self._short: dict[Key, int] = {}

    def observe(self, cells: Iterable[Cell]) -> None:
        """Take a reading of all cells that are, or ever were, in use."""
        for cell in cells:
            if cell.index not in self._seen and not cell[Word.PID]:
                continue
            seen = self._seen.setdefault(cell.index, _Seen())
            pid = cell[Word.PID]
            reading: Reading = {None: [cell[word] for word in COUNTERS], **self._read(cell)}
            seen.observe(pid if pid == cell[Word.PID] else 0, reading)  # cleared while it was read: not this worker's

    def _read(self, cell: Cell) -> Reading:
        """Return the series of a cell; those that are one too many, together."""
        found: Reading = {}
        for key, counts in read(cell.series):
            if len(self._keys) < SERIES_MOST:
                self._keys.add(key)
            known = key if key in self._keys else OTHERS
            found[known] = list(map(add, found[known], counts)) if known in found else counts
        return found

    def sum(self) -> dict[Word, int]:
        """Return the totals of all cells together."""
        totals = list(self.by_cell().values())
        return {word: sum(counts[word] for counts in totals) for word in COUNTERS}

    def by_cell(self) -> dict[int, dict[Word, int]]:
        """Return the totals of every cell that was ever in use."""
        zeros = [0] * len(COUNTERS)
        return {
            index: dict(zip(COUNTERS, seen.totals().get(None, zeros), strict=True))
            for index, seen in sorted(self._seen.items())
        }

    def series(self) -> dict[Key, Counted]:
        """Return the totals of each queue and task, of all cells together."""
        sums = _added(*(seen.totals() for seen in self._seen.values()))
        found = {key: Counted(counts, self._short.get(key, 0)) for key, counts in sums if key is not None}
        self._short = {key: counted.ran[0] for key, counted in found.items()}
        return found


_ENDS = (Word.SUCCEEDED, Word.FAILED, Word.RETRIED, Word.RETURNED, Word.LOST)


def in_words(counts: Mapping[Word, int]) -> str:
    """Return how jobs ended, as a drain says it: "12 succeeded, 1 failed, 0 retried, 3 returned, 0 lost"."""
    return ", ".join(f"{counts[word]:,} {word.name.lower()}" for word in _ENDS)
