"""Finding the lanes that have jobs: all of them from the beginning, or what stands beyond those that are known."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, LiteralString

from psycopg import AsyncConnection, AsyncRawCursor
from psycopg.rows import tuple_row

from fastq.protocol import stretches
from fastq.protocol.claim import ANY_TASK, Lane, Tasks
from fastq.protocol.looks import ONLY_SEGMENT, look
from fastq.sql import numbered, on_cluster, over_segments, statement


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
    shard: int,
    queues: Sequence[str],
    exclude: Iterable[str],
    tasks: Tasks = ANY_TASK,
    limit: int = 256,
    window: Window | None = None,
) -> list[tuple[Lane, int]]:
    """Return the lanes that have jobs, each with the position of its first job. No queues means all.

    `limit` bounds the lines (queue and priority) and the groups of each; `window` moves on to the next ones.
    """
    window = window or Window()
    params = {
        "shard": shard,
        "from_queue": window.queue,
        "from_group": window.group_key,
        "limit": limit,
        **tasks.params,
    }
    name = _lanes_of(queues, exclude, params)
    text = statement(name, ONLY_SEGMENT) if on_cluster() else over_segments(name)
    found = [(Lane(shard, *row[:4]), row[4], row[5]) for row in await _look(conn, text, params)]
    window.move((lane for lane, _, _ in found), limit)
    return [(lane, first) for lane, first, paused in found if not paused and first is not None]


async def discover_many(
    conn: AsyncConnection[Any],
    *,
    windows: Mapping[int, Window],
    queues: Sequence[str],
    exclude: Iterable[str],
    tasks: Tasks = ANY_TASK,
    limit: int = 256,
) -> list[tuple[Lane, int]]:
    """As `discover`, of many shards, each of whose windows is at its start."""
    params = {"from_queue": "", "from_group": "", "limit": limit, **tasks.params}
    name = _lanes_of(queues, exclude, params)
    found = [(Lane(*row[:5]), row[5], row[6]) for row in await look(conn, name, params, windows, segments=True)]
    for shard, window in windows.items():
        window.move((lane for lane, _, _ in found if lane.shard == shard), limit)
    return [(lane, first) for lane, first, paused in found if not paused and first is not None]


def _lanes_of(queues: Sequence[str], exclude: Iterable[str], params: dict[str, Any]) -> str:
    """Return the name of the statement that finds lanes, and add to its parameters which queues are meant."""
    if queues:
        params["queues"] = list(queues)
        return "discover_lanes_of_queues"
    params["exclude"] = list(exclude)
    return "discover_lanes"


async def discover_beyond(
    conn: AsyncConnection[Any],
    *,
    shards: Collection[int],
    queues: Sequence[str],
    exclude: Iterable[str],
    tasks: Tasks = ANY_TASK,
    known: Mapping[Lane, int],
    since: Mapping[Lane, tuple[int, int]] | None = None,
) -> list[tuple[Lane, int]]:
    """Return lanes that have jobs beyond the marks of those that are `known`, each with the position of its first job.

    One for each stretch at most, a known lane or what lies between two; others show with the next look.
    `since` are lanes to look at again, each from behind a position up to another one, for what was committed late.
    """
    if on_cluster():  # a range of a list is nothing that a node would take: look at all of the shard
        everything = {shard: Window() for shard in shards}
        return await discover_many(conn, windows=everything, queues=queues, exclude=exclude, tasks=tasks)
    looks = [*stretches.beyond(known, shards, queues, exclude), *stretches.again(since or {}, shards)]
    params = {**tasks.params, **stretches.params(looks)}
    return [(Lane(*row[:5]), row[5]) for row in await _look(conn, over_segments("discover_beyond"), params)]


async def _look(conn: AsyncConnection[Any], text: LiteralString, params: Mapping[str, Any]) -> list[tuple[Any, ...]]:
    raw, order = numbered(text)
    cur = AsyncRawCursor(conn, row_factory=tuple_row)
    return await (await cur.execute(raw, [params[name] for name in order], prepare=True)).fetchall()


async def read_horizon(conn: AsyncConnection[Any]) -> int:
    """Return a position: of the jobs before it, those that cannot be seen yet are about to be committed.

    On a cluster each node gives out positions of its own: there is none.
    """
    if on_cluster():
        return 0
    row = await (await conn.execute(statement("read_horizon"), prepare=True)).fetchone()
    if row is None:
        raise AssertionError("read_horizon always returns one row")
    return int(row[0])


async def unwanted(
    conn: AsyncConnection[Any],
    *,
    shards: Iterable[int],
    queues: Iterable[str],
    exclude: Iterable[str],
    tasks: Tasks,
    limit: int = 500,
) -> set[str]:
    """Return the tasks of others among the first jobs of each segment of some shards."""
    names = {*(tasks.hot or ()), *tasks.known}
    params = {"queues": list(queues), "exclude": list(exclude), "names": list(names), "limit": limit}
    return {task for _, task in await look(conn, "list_unwanted_tasks", params, shards, segments=True)}
