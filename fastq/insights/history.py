"""What has been: rates and depths over time, from the minutes and hours that the fleet wrote down."""

from __future__ import annotations

from datetime import datetime
from typing import Any, NamedTuple

from psycopg import Connection

from fastq.sql import statement

MINUTE_S, HOUR_S = 60, 3600
DAY_S = 86_400


class Counted(NamedTuple):
    """What all workers counted in one minute or hour, and how many jobs there were; of one queue the latter only."""

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


def _since(seconds: float) -> dict[str, Any]:
    """Return the parameters for the last so many seconds: minutes up to a day, hours beyond."""
    return {"seconds": seconds, "span_s": MINUTE_S if seconds <= DAY_S else HOUR_S}


def counts(conn: Connection[Any], *, seconds: float = HOUR_S, queue: str = "") -> list[Counted]:
    """Return the history of the whole fleet, or of one queue, the oldest first."""
    rows = conn.execute(statement("read_history"), {**_since(seconds), "queue": queue}).fetchall()
    return [Counted(*row) for row in rows]
