"""Writing the history: what a host's workers counted, and how many jobs stand in each queue."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from psycopg import AsyncConnection

from fastq.host.series import Count, Counted, Key
from fastq.protocol import looks
from fastq.sql import statement

KEPT_DAYS = 90
"""So long the hours are kept."""

_COUNT_MOST, _COUNT_LEAST, _QUEUES_MOST = 20_000, 1000, 1000


@dataclass(slots=True)
class Depth:
    """One queue at a moment: `ready` counts no more than the jobs of 20,000 rows in each segment."""

    ready: int = 0
    running: int = 0
    oldest_s: float | None = None


async def record_counts(conn: AsyncConnection[Any], counts: Mapping[Key, Counted]) -> None:
    """Add what has been counted since the last time of each queue and task to the present minute."""
    rows = [
        {
            "queue": queue,
            "task": task,
            **{count.name.lower(): counted[count] for count in Count},
            "ran": _trimmed(counted.longer),
            "waited": _trimmed(counted.waited),
        }
        for (queue, task), counted in sorted(counts.items())
    ]
    await conn.execute(statement("record_counts"), {"counts": orjson.dumps(rows).decode()})


def _trimmed(buckets: Sequence[int]) -> list[int]:
    """Return buckets without the empty ones at the end."""
    used = max((place for place, jobs in enumerate(buckets, 1) if jobs), default=0)
    return list(buckets[:used])


async def look(conn: AsyncConnection[Any], *, shards: Iterable[int]) -> dict[str, Depth]:
    """Return how many jobs stand in each queue, and in all of them under the name ""."""
    found: defaultdict[str, Depth] = defaultdict(Depth)
    params = {"cap": _COUNT_MOST, "floor": _COUNT_LEAST, "queues": _QUEUES_MOST}
    for _, queue, jobs, _, oldest_s in await looks.look(conn, "survey_ready", params, shards, segments=True):
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


async def prune(conn: AsyncConnection[Any], *, keep_days: float = KEPT_DAYS) -> int:
    """Forget minutes that are older than a day, and old hours; returns how many rows went."""
    row = await (await conn.execute(statement("prune_history"), {"keep_days": keep_days})).fetchone()
    return 0 if row is None else int(row[0])
