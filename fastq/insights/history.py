"""What has been: rates, depths and times, from the minutes and hours that the fleet wrote down."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple

from psycopg import Connection

from fastq.host.series import BUCKETS, with_short
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


class TaskCounted(NamedTuple):
    """What the workers counted of some queue and task, or of several together, which are None then; as is `at`.

    `ran_us` and `waited_ms` are sums. `longer` and `waited` are buckets, as in `fastq.host.series`.
    """

    at: datetime | None
    queue: str | None
    task: str | None
    claimed: int
    succeeded: int
    failed: int
    retried: int
    returned: int
    lost: int
    ran_us: int
    waited_ms: int
    longer: Sequence[int]
    waited: Sequence[int]

    @property
    def ended(self) -> int:
        """How many runs there were."""
        return self.succeeded + self.failed + self.retried

    @property
    def ran(self) -> Sequence[int]:
        """The buckets of all runs."""
        return with_short([*self.longer, *[0] * (BUCKETS - len(self.longer))], self.ended)

    def ran_s(self, share: float) -> float | None:
        """Return how long that share of the runs took at most; None without any."""
        return quantile_s(self.ran, share)

    def waited_s(self, share: float) -> float | None:
        """Return how long that share of the jobs waited at most, from their enqueue to their claim."""
        return quantile_s(self.waited, share)


def quantile_s(buckets: Sequence[int], share: float) -> float | None:
    """Return below how many seconds that share of what was counted is: within its bucket by a straight line."""
    total = sum(buckets)
    if not total:
        return None
    left = share * total
    for place, jobs in enumerate(buckets):
        if jobs and left <= jobs:
            low = 0.0 if not place else 2.0 ** (place - 1)
            return (low + (2.0**place - low) * left / jobs) / 1000
        left -= jobs
    return 2.0 ** (len(buckets) - 1) / 1000


def _since(seconds: float, *, minutes_s: float = DAY_S) -> dict[str, Any]:
    """Return the parameters for the last so many seconds: minutes up to `minutes_s`, hours beyond."""
    return {"seconds": seconds, "span_s": MINUTE_S if seconds <= minutes_s else HOUR_S}


def counts(conn: Connection[Any], *, seconds: float = HOUR_S, queue: str = "") -> list[Counted]:
    """Return the history of the whole fleet, or of one queue, the oldest first."""
    rows = conn.execute(statement("read_history"), {**_since(seconds), "queue": queue}).fetchall()
    return [Counted(*row) for row in rows]


def by_time(
    conn: Connection[Any], *, seconds: float = HOUR_S, queue: str | None = None, task: str | None = None
) -> list[TaskCounted]:
    """Return the history of a queue, of a task, of both or of all, the oldest first."""
    return _read(conn, "at", seconds, queue, task)


def by_task(
    conn: Connection[Any], *, seconds: float = HOUR_S, queue: str | None = None, task: str | None = None
) -> list[TaskCounted]:
    """Return what was counted of each queue and task in that time."""
    return _read(conn, "task", seconds, queue, task, minutes_s=2 * HOUR_S)


def _read(
    conn: Connection[Any], by: str, seconds: float, queue: str | None, task: str | None, *, minutes_s: float = DAY_S
) -> list[TaskCounted]:
    params = {**_since(seconds, minutes_s=minutes_s), "by": by, "queue": queue, "task": task}
    return [TaskCounted(*row) for row in conn.execute(statement("read_task_history"), params).fetchall()]
