"""What has been: rates and depths over time, from the minutes and hours that the fleet wrote down."""

from __future__ import annotations

from datetime import datetime
from typing import Any, NamedTuple

from psycopg import Connection

from fastq.sql import statement

MINUTE_S, HOUR_S = 60, 3600
DAY_S = 86_400


class Counted(NamedTuple):
    """What all workers counted in one minute or hour, or what stood in one queue: then all but the last three are 0."""

    at: datetime
    span_s: int
    claimed: int
    succeeded: int
    failed: int
    retried: int
    returned: int
    lost: int
    ready: int | None
    running: int | None
    oldest_s: float | None


class Depth(NamedTuple):
    """How many jobs stood in all queues at a time."""

    at: datetime
    ready: int | None
    running: int | None
    oldest_s: float | None


def _since(seconds: float) -> dict[str, Any]:
    """Return the parameters for the last so many seconds: minutes up to a day, hours beyond."""
    return {"seconds": seconds, "span_s": MINUTE_S if seconds <= DAY_S else HOUR_S}


def counts(conn: Connection[Any], *, seconds: float = HOUR_S, queue: str = "") -> list[Counted]:
    """Return the history of the whole fleet, or of one queue, the oldest first."""
    rows = conn.execute(statement("read_history"), {**_since(seconds), "queue": queue}).fetchall()
    return [Counted(*row) for row in rows]


def depths(conn: Connection[Any], *, seconds: float = HOUR_S) -> list[Depth]:
    """Return how many jobs stood in all queues together, the oldest first."""
    return [Depth(*row) for row in conn.execute(statement("read_depths"), _since(seconds)).fetchall()]
