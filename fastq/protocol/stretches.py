"""What lies beyond the lanes that are known, cut into stretches that one short scan of the index covers each. Pure.

A stretch begins behind a position in a lane, and ends before a position of the same lane, a group of the same line, a
priority of the same queue, or a queue: PostgreSQL of any version knows such an end of an index scan.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from itertools import pairwise, product
from typing import Any, NamedTuple

from psycopg.types.numeric import Int8

from fastq.config import PRIORITIES
from fastq.protocol.claim import Lane
from fastq.sql import SEGMENTS

BEYOND_ALL = (1 << 63) - 1
"""The mark of a lane that need not be looked at."""

_BEFORE_ALL = -BEYOND_ALL
_BEHIND_ALL_TEXTS = "\U0010ffff"
_COLUMNS = (
    "shards",
    "segments",
    "queues",
    "priorities",
    "groups",
    "lows",
    "to_queues",
    "to_priorities",
    "to_groups",
    "highs",
)


class _Place(NamedTuple):
    """Where a lane stands in the order of the key; texts are ordered by code points here as there."""

    queue: str
    priority: int
    group: str


class Stretch(NamedTuple):
    """Behind which position of which lane to look, and up to before what: one of the last four, the others are None."""

    shard: int
    segment: int
    start: _Place
    low: int
    queue: str | None = None
    priority: int | None = None
    group: str | None = None
    high: int | None = None


def beyond(
    known: Mapping[Lane, int], shards: Iterable[int], queues: Sequence[str], exclude: Iterable[str]
) -> Iterator[Stretch]:
    """Yield what lies in some shards behind the marks of known lanes, and between those lanes. No queues means all."""
    if queues:
        ranges = [(_before(queue), _behind(queue)) for queue in queues]
    else:
        ends = sorted(exclude)
        starts = [_before(""), *map(_behind, ends)]
        ranges = list(zip(starts, [*map(_before, ends), _before(_BEHIND_ALL_TEXTS)], strict=True))
    marked: defaultdict[tuple[int, int], dict[_Place, int]] = defaultdict(dict)
    for lane, low in known.items():
        marked[lane.shard, lane.segment][_place(lane)] = low
    for home in product(shards, range(SEGMENTS)):
        marks = marked[home]
        for start, end in ranges:
            inside = sorted(place for place in marks if start < place < end)
            for one, other in pairwise([start, *inside, end]):
                yield from _between(home, one, marks.get(one, _BEFORE_ALL), other)


def _between(home: tuple[int, int], start: _Place, low: int, end: _Place) -> Iterator[Stretch]:
    """Yield what lies behind a position in a lane and before another lane: up to its queue, its priority, its group."""
    if start.queue != end.queue:
        yield Stretch(*home, start, low, queue=end.queue)
        start, low = _before(end.queue), _BEFORE_ALL
    if start.priority != end.priority:
        yield Stretch(*home, start, low, priority=end.priority)
        start, low = end._replace(group=""), _BEFORE_ALL
    if start.group != end.group:
        yield Stretch(*home, start, low, group=end.group)


def again(since: Mapping[Lane, tuple[int, int]], shards: Collection[int]) -> Iterator[Stretch]:
    """Yield parts of lanes in some shards, each from behind a position up to another one."""
    for lane, (low, high) in since.items():
        if lane.shard in shards:
            yield Stretch(lane.shard, lane.segment, _place(lane), low, high=min(high + 1, BEYOND_ALL))


def params(stretches: Iterable[Stretch]) -> dict[str, list[Any]]:
    """Return the arrays of discover_beyond."""
    rows = [(one.shard, one.segment, *one.start, Int8(one.low), *one[4:]) for one in stretches]
    return dict(zip(_COLUMNS, map(list, zip(*rows, strict=True)), strict=True))


def _place(lane: Lane) -> _Place:
    return _Place(lane.queue, lane.priority, lane.group_key)


def _before(queue: str) -> _Place:
    return _Place(queue, PRIORITIES[0] - 1, "")


def _behind(queue: str) -> _Place:
    return _Place(queue, PRIORITIES[-1] + 1, "")
