"""Finding the lanes that have jobs: all of them from the beginning, or what stands beyond those that are known."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from psycopg import AsyncConnection

from fastq.config import PRIORITIES
from fastq.protocol.claim import Lane
from fastq.sql import SEGMENTS, over_segments, statement

BEYOND_ALL = (1 << 63) - 1
"""The mark of a lane that need not be looked at."""

_BEHIND_ALL_TEXTS = "\U0010ffff"
_Place = tuple[str, int, str]
"""A queue, a priority and a group."""

_Stretch = tuple[int, str, int, str, int, str, int, str, int]
"""A segment, a place and a position from behind which, and those before which to look; as in _COLUMNS."""

_COLUMNS = ("segments", "queues", "priorities", "groups", "lows", "to_queues", "to_priorities", "to_groups", "highs")


@dataclass(slots=True)
class Window:
    """From which queue and group on discovery looks. It moves on while there are more lanes than one look shows."""

    queue: str = ""
    group_key: str = ""

    @property
    def at_start(self) -> bool:
        """Whether the next look begins with the first lane."""
        return not (self.queue or self.group_key)

    def move(self, seen: Iterable[Lane], limit: int) -> None:
        """Step behind what was seen: through the groups first, then through the queues, then back to the start."""
        groups: defaultdict[tuple[int, str, int], list[str]] = defaultdict(list)
        lines: defaultdict[int, dict[tuple[str, int], None]] = defaultdict(dict)
        for lane in seen:
            if lane.group_key is not None:
                groups[lane.segment, lane.queue, lane.priority].append(lane.group_key)
            lines[lane.segment][lane.queue, lane.priority] = None
        self.group_key = min((max(keys) for keys in groups.values() if len(keys) >= limit), default="")
        if not self.group_key:
            self.queue = min((max(pairs)[0] for pairs in lines.values() if len(pairs) >= limit), default="")


async def discover(
    conn: AsyncConnection[Any],
    *,
    slot: int,
    queues: Sequence[str],
    exclude: Iterable[str],
    unknown: Iterable[str],
    limit: int = 256,
    window: Window | None = None,
) -> list[tuple[Lane, int]]:
    """Return the lanes that have jobs, each with the position of its first job. No queues means all.

    `limit` bounds the lines (queue and priority) and the groups of each; `window` moves on to the next ones.
    """
    window = window or Window()
    params: dict[str, Any] = {
        "slot": slot,
        "unknown": list(unknown),
        "limit": limit,
        "from_queue": window.queue,
        "from_group": window.group_key,
    }
    if queues:
        text, params["queues"] = over_segments("discover_lanes_of_queues"), list(queues)
    else:
        text, params["exclude"] = over_segments("discover_lanes"), list(exclude)
    cur = await conn.execute(text, params, prepare=True)
    found = [(Lane(slot, *row[:4]), row[4], row[5]) for row in await cur.fetchall()]
    window.move((lane for lane, _, _ in found), limit)
    return [(lane, first) for lane, first, paused in found if not paused and first is not None]


async def discover_beyond(
    conn: AsyncConnection[Any],
    *,
    slot: int,
    queues: Sequence[str],
    exclude: Iterable[str],
    unknown: Iterable[str],
    known: Mapping[Lane, int],
    since: Mapping[Lane, tuple[int, int]] | None = None,
) -> list[tuple[Lane, int]]:
    """Return lanes that have jobs beyond the marks of those that are `known`, each with the position of its first job.

    At most one for each known lane, that one itself or one between it and the next; others show with the next look.
    `since` are lanes to look at again, each from behind a position up to another one, for what was committed late.
    """
    stretches: list[_Stretch] = []
    for segment in range(SEGMENTS):
        places = {_place(lane): low for lane, low in known.items() if (lane.slot, lane.segment) == (slot, segment)}
        stretches += [(segment, *start, low, *end, 0) for start, low, end in _between(places, queues, exclude)]
    for lane, (low, high) in (since or {}).items():
        if lane.slot == slot:
            stretches.append((lane.segment, *_place(lane), low, *_place(lane), high + 1))
    params: dict[str, Any] = dict(zip(_COLUMNS, map(list, zip(*stretches, strict=True)), strict=True))
    params |= {"slot": slot, "unknown": list(unknown)}
    cur = await conn.execute(over_segments("discover_beyond"), params, prepare=True)
    return [(Lane(slot, *row[:4]), row[4]) for row in await cur.fetchall()]


def _between(
    known: Mapping[_Place, int], queues: Sequence[str], exclude: Iterable[str]
) -> list[tuple[_Place, int, _Place]]:
    """Return what is to be looked at: behind which place, behind which position there, and up to before which place."""
    if queues:
        ranges = [(_before(queue), _behind(queue)) for queue in queues]
    else:
        ends = sorted(exclude, key=str.encode)
        starts = [_before(""), *map(_behind, ends)]
        ranges = list(zip(starts, [*map(_before, ends), _behind(_BEHIND_ALL_TEXTS)], strict=True))
    stretches = []
    for start, end in ranges:
        inside = sorted((place for place in known if _order(start) < _order(place) < _order(end)), key=_order)
        stretches += [(place, known.get(place, 0), to) for place, to in pairwise([start, *inside, end])]
    return stretches


def _place(lane: Lane) -> _Place:
    return lane.queue, lane.priority, lane.group_key


def _before(queue: str) -> _Place:
    return (queue, PRIORITIES[0] - 1, "")


def _behind(queue: str) -> _Place:
    return (queue, PRIORITIES[-1] + 1, "")


def _order(place: _Place) -> tuple[bytes, int, bytes]:
    """Return what the database orders by: texts byte by byte."""
    return place[0].encode(), place[1], place[2].encode()


async def read_horizon(conn: AsyncConnection[Any]) -> int:
    """Return a position: of the jobs before it, those that cannot be seen yet are about to be committed."""
    row = await (await conn.execute(statement("read_horizon"), prepare=True)).fetchone()
    if row is None:
        raise AssertionError("read_horizon always returns one row")
    return int(row[0])
