"""What has been: rates, depths and times, from the minutes and hours that the fleet wrote down."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg import Connection

from fastq.host.series import BUCKETS, with_short
from fastq.sql import statement

MINUTE_S, HOUR_S = 60, 3600
DAY_S = 86_400
POINTS = 120
"""A chart has about so many; of a longer time each of them stands for more minutes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Counted:
    """What all workers counted in a time that began `at` and lasts `step_s`.

    `ran_us` and `waited_ms` are sums, `longer` and `waited` buckets, as in `fastq.host.series`.
    """

    at: datetime | None
    step_s: float
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


@dataclass(frozen=True, slots=True, kw_only=True)
class WholeCounted(Counted):
    """Of the fleet or of a queue: also the most jobs that were ready and ran, and how long the oldest had waited."""

    ready: int | None
    running: int | None
    oldest_s: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskCounted(Counted):
    """Of a task; of each queue apart, or of all together, which is None then."""

    queue: str | None
    task: str | None


_COUNTED = (
    *("claimed", "succeeded", "failed", "retried", "returned", "lost"),
    *("ran_us", "waited_ms", "longer", "waited"),
)
_WHOLE = ("at", *_COUNTED, "ready", "running", "oldest_s")
_TASK = ("at", "queue", "task", *_COUNTED)


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
    span_s = MINUTE_S if seconds <= minutes_s else HOUR_S
    return {"seconds": seconds, "span_s": span_s, "step_s": span_s * max(1, round(seconds / span_s / POINTS))}


def whole(conn: Connection[Any], *, seconds: float = HOUR_S, queue: str = "") -> list[WholeCounted]:
    """Return the history of the whole fleet, or of one queue, the oldest first."""
    params = {**_since(seconds), "queue": queue}
    rows = conn.execute(statement("read_history"), params).fetchall()
    return [WholeCounted(step_s=params["step_s"], **dict(zip(_WHOLE, row, strict=True))) for row in rows]


def of_task(
    conn: Connection[Any], task: str, *, seconds: float = HOUR_S, queue: str | None = None
) -> list[TaskCounted]:
    """Return the history of a task, in one queue or in all, the oldest first."""
    return _read(conn, {**_since(seconds), "by": "at", "queue": queue, "task": task})


def by_task(
    conn: Connection[Any], *, seconds: float = HOUR_S, queue: str | None = None, task: str | None = None
) -> list[TaskCounted]:
    """Return what was counted of each queue and task in that time."""
    return _read(conn, {**_since(seconds, minutes_s=2 * HOUR_S), "by": "task", "queue": queue, "task": task})


def _read(conn: Connection[Any], params: dict[str, Any]) -> list[TaskCounted]:
    rows = conn.execute(statement("read_task_history"), params).fetchall()
    return [TaskCounted(step_s=params["step_s"], **dict(zip(_TASK, row, strict=True))) for row in rows]
