"""What a worker counts of each queue and task, on the board: how the jobs ended, how long they waited and ran.

Times are counted in buckets: bucket n has those from 2^(n-1) up to 2^n ms, the last one all that are longer. Most runs
are shorter than a millisecond, and are not counted one by one: they are those that no bucket has (`Counted.ran`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import IntEnum

BUCKETS = 24
SERIES = 64
"""So many queues and tasks are told apart in one process; what is beyond is counted together, as OTHERS."""

SHORT_S = 0.001
"""A run that is no longer is in no bucket."""

LONGEST_MS = 1 << 30
"""A wait counts as twelve days at most: a row may say that it was enqueued at any time."""

Key = tuple[str, str]
"""A queue and a task."""

OTHERS: Key = ("", "")


class Count(IntEnum):
    """The counters of a series, as they stand in its words; the buckets of runs and of waits follow them."""

    CLAIMED = 0
    SUCCEEDED = 1
    FAILED = 2
    RETRIED = 3
    RETURNED = 4
    LOST = 5
    RAN_US = 6
    WAITED_MS = 7


ENDS = (Count.SUCCEEDED, Count.FAILED, Count.RETRIED)
WORDS = len(Count) + 2 * BUCKETS
_RAN, _WAITED = len(Count), len(Count) + BUCKETS
_NAME_BYTES = 512
_STRIDE = 1 + _NAME_BYTES // 8 + WORDS
TABLE_WORDS = 1 + SERIES * _STRIDE
"""How many words of the board hold the series of one worker."""


@dataclass(frozen=True, slots=True)
class Counted:
    """The words of a series, read; it is known that at least `short` runs were in the first bucket."""

    words: Sequence[int]
    short: int = 0

    def __getitem__(self, count: Count) -> int:
        """Return one of the counters."""
        return self.words[count]

    @property
    def ran(self) -> Sequence[int]:
        """How many runs are in each bucket; those of the first one are what ended and is in no other."""
        first, *longer = with_short(self.longer, sum(self.words[end] for end in ENDS))
        return [max(first, self.short), *longer]  # a long run is counted before its end is: it takes nothing away

    @property
    def longer(self) -> Sequence[int]:
        """As `ran`, with nothing in the first bucket."""
        return self.words[_RAN:_WAITED]

    @property
    def waited(self) -> Sequence[int]:
        """How many jobs are in each bucket of the time from enqueue to claim; none that was put back or had a delay."""
        return self.words[_WAITED:]

    def __sub__(self, before: Counted) -> Counted:
        """Return what was counted since then."""
        return Counted([new - old for new, old in zip(self.words, before.words, strict=True)])


def with_short(longer: Sequence[int], ended: int) -> list[int]:
    """Return the buckets of all runs, of which so many `ended`, from those of the longer ones."""
    return [max(0, ended - sum(longer)), *longer[1:]]


NOTHING = Counted([0] * WORDS)


class Series:
    """The counters of one queue and task."""

    __slots__ = ("words",)

    def __init__(self, words: memoryview[int]) -> None:
        self.words = words

    def add(self, count: Count, jobs: int = 1) -> None:
        """Count jobs."""
        self.words[count] += jobs

    def ran(self, seconds: float, jobs: int = 1) -> None:
        """Count runs that took so long each, longer than SHORT_S."""
        self.words[_RAN + bucket_of(int(seconds * 1000))] += jobs

    def spent(self, seconds: float) -> None:
        """Add to the time that all runs took."""
        self.words[Count.RAN_US] += int(seconds * 1e6)

    def waited(self, ms: int, jobs: int = 1) -> None:
        """Count jobs that waited so long each before they were claimed."""
        self.words[_WAITED + bucket_of(ms)] += jobs
        self.words[Count.WAITED_MS] += min(max(0, ms), LONGEST_MS) * jobs


def bucket_of(ms: int) -> int:
    """Return the bucket of a time."""
    return min(ms.bit_length(), BUCKETS - 1) if ms > 0 else 0


class SeriesTable:
    """All series of one worker. Only it, or the steward in the house's cell, opens new ones."""

    def __init__(self, words: memoryview[int]) -> None:
        self._words = words
        self._known = {key: Series(_at(words, place)) for place, key in _named(words)}

    def of(self, queue: str, task: str | None) -> Series:
        """Return the series of a queue and a task."""
        key = (queue, task or "")
        return self._known.get(key) or self._open(key)

    def _open(self, key: Key) -> Series:
        used = self._words[0]
        name = "\0".join(key).encode(errors="replace")
        if used >= SERIES - (key != OTHERS) or len(name) > _NAME_BYTES:
            return self.of(*OTHERS)
        start = 1 + used * _STRIDE
        self._words[start] = len(name)
        padded = name.ljust(_NAME_BYTES, b"\0")
        self._words[start + 1 : start + 1 + _NAME_BYTES // 8] = memoryview(padded).cast("q")
        self._words[0] = used + 1  # the name is there before anybody looks for it
        found = self._known[key] = Series(_at(self._words, used))
        return found


def read(words: memoryview[int]) -> Iterator[tuple[Key, list[int]]]:
    """Yield each series of a worker and its words."""
    for place, key in _named(words):
        yield key, _at(words, place).tolist()


def _at(words: memoryview[int], place: int) -> memoryview[int]:
    end = 1 + (place + 1) * _STRIDE
    return words[end - WORDS : end]


def _named(words: memoryview[int]) -> Iterator[tuple[int, Key]]:
    for place in range(words[0]):
        start = 1 + place * _STRIDE
        written = words[start + 1 : start + 1 + _NAME_BYTES // 8].tobytes()[: words[start]]
        queue, _, task = written.decode(errors="replace").partition("\0")
        yield place, (queue, task)
