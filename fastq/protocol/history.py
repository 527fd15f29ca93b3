"""Writing the history: what a host's workers counted, and how many jobs stand in each queue."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from psycopg import AsyncConnection

from fastq.sql import over_segments, statement

KEPT_DAYS = 90
"""So long the hours are kept."""

COUNTED = ("claimed", "succeeded", "failed", "retried", "returned", "lost")
_COUNT_MOST, _COUNT_LEAST, _QUEUES_MOST = 20_000, 1000, 1000


@dataclass(slots=True)
class Depth:
    """One queue at a moment: `ready` counts no more than the jobs of 20,000 rows in each segment."""

    ready: int = 0
    running: int = 0
    oldest_s: float | None = None


async def record_counts(conn: AsyncConnection[Any], counts: Mapping[str, int]) -> None:
    """Add what has been counted since the last time, by the names in COUNTED, to the present minute."""
    await conn.execute(statement("record_counts"), {name: counts.get(name, 0) for name in COUNTED})


async def look(conn: AsyncConnection[Any], *, shards: int) -> dict[str, Depth]:
    """Return how many jobs stand in each queue, and in all of them under the name ""."""
    found: defaultdict[str, Depth] = defaultdict(Depth)
    for shard in range(shards):
        params = {"shard": shard, "cap": _COUNT_MOST, "floor": _COUNT_LEAST, "queues": _QUEUES_MOST}
        cur = await conn.execute(over_segments("survey_ready"), params)
        for queue, jobs, _, oldest_s in await cur.fetchall():
            depth = found[queue]
            depth.ready += jobs
            depth.oldest_s = max(filter(None, (depth.oldest_s, oldest_s)), default=None)
    for queue, jobs in await (await conn.execute(statement("survey_running"))).fetchall():
        found[queue].running += jobs
    found[""] = Depth(
        ready=sum(depth.ready for depth in found.values()),
        running=sum(depth.running for depth in found.values()),
        oldest_s=max((depth.oldest_s for depth in found.values() if depth.oldest_s is not None), default=None),
    )
    return dict(found)


async def record_depths(conn: AsyncConnection[Any], depths: Mapping[str, Depth]) -> None:
    """Note them for the present minute."""
    columns = {
        "queues": list(depths),
        "ready": [depth.ready for depth in depths.values()],
        "running": [depth.running for depth in depths.values()],
        "oldest_s": [depth.oldest_s for depth in depths.values()],
    }
    await conn.execute(statement("record_depths"), columns)


async def fold(conn: AsyncConnection[Any], *, keep_days: float = KEPT_DAYS) -> int:
    """Make hours of minutes that are older than a day, forget old hours; returns how many rows went."""
    row = await (await conn.execute(statement("fold_history"), {"keep_days": keep_days})).fetchone()
    return 0 if row is None else int(row[0])
