"""The ids of a stream of jobs."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from itertools import chain
from typing import Any


class JobIds(Sequence[int]):
    """The ids of jobs enqueued together, in order, kept as ranges: a million ids take some 60 kB.

    For a job that was not enqueued, since another one held its unique key, the id is that of the holder.
    """

    __slots__ = ("_begins", "_holders", "_length", "_ranges")

    def __init__(self) -> None:
        self._ranges: list[Sequence[int]] = []
        self._begins: list[int] = []  # the place of each one's first id
        self._length = 0
        self._holders: dict[int, int] = {}

    @property
    def duplicates(self) -> list[int]:
        """The places in the list of the jobs that were not enqueued."""
        return sorted(self._holders)

    def replace(self, place: int, holder: int) -> None:
        """Put the id of the job that holds the key of the one at a place."""
        self._holders[place] = holder

    def add(self, ids: Sequence[int]) -> None:
        """Append ids; adjoining ranges become one."""
        if not ids:
            return
        last = self._ranges[-1] if self._ranges else None
        if isinstance(last, range) and isinstance(ids, range) and last.stop == ids.start:
            self._ranges[-1] = range(last.start, ids.stop)
        else:
            self._ranges.append(ids)
            self._begins.append(self._length)
        self._length += len(ids)

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[int]:
        everything = chain.from_iterable(self._ranges)
        if not self._holders:
            yield from everything
            return
        for place, job in enumerate(everything):
            yield self._holders.get(place, job)

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(self._length))]
        place = index + self._length if index < 0 else index
        if not 0 <= place < self._length:
            raise IndexError(f"job {index} of {self._length}")
        if place in self._holders:
            return self._holders[place]
        at = bisect_right(self._begins, place) - 1
        return self._ranges[at][place - self._begins[at]]

    def __repr__(self) -> str:
        return f"<JobIds of {self._length} jobs>"
