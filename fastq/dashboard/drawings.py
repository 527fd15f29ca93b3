"""The charts of the pages, from what was counted. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from markupsafe import Markup

from fastq.dashboard.charts import Series, chart
from fastq.insights.history import DAY_S, HOUR_S, MINUTE_S, Counted, TaskCounted
from fastq.insights.words import span

_LEAST_S = 10.0
_SHARES = ((0.5, "p50", "good"), (0.95, "p95", "again"), (0.99, "p99", "bad"))


def rates(rows: Sequence[Counted] | Sequence[TaskCounted], seconds: float) -> Markup:
    """Draw how many jobs ended a second, and how."""
    over = [_lasted_s(row.at, seconds) for row in rows]
    series = [
        Series(name, kind, [getattr(row, name) / lasted_s for row, lasted_s in zip(rows, over, strict=True)])
        for name, kind in (("succeeded", "good"), ("failed", "bad"), ("retried", "again"))
    ]
    return chart("Jobs per second", [row.at for row in rows if row.at], series, seconds=seconds)


def depths(rows: Sequence[Counted], seconds: float) -> Markup:
    """Draw how many jobs stood ready, and the most that ran."""
    known = [row for row in rows if row.ready is not None]
    series = [
        Series("ready", "wait", [row.ready for row in known]),
        Series("running", "run", [row.running for row in known]),
    ]
    return chart("Jobs", [row.at for row in known], series, seconds=seconds)


def arrivals(rows: Sequence[TaskCounted], known: Sequence[Counted], seconds: float) -> Markup:
    """Draw how many jobs of a queue came and went a second.

    What came is what was claimed and not given back, and by how much the queue has grown: an estimate, since depths
    are looked at three times a minute and deleted jobs are not known.
    """
    ready = {row.at: row.ready for row in known if row.ready is not None}
    over = [_lasted_s(row.at, seconds) for row in rows]
    came: list[float | None] = []
    before = None
    for row, lasted_s in zip(rows, over, strict=True):
        now = ready.get(row.at) if row.at else None
        grown = None if now is None or before is None else now - before
        came.append(None if grown is None else max(0.0, (row.claimed - row.returned - row.retried + grown) / lasted_s))
        before = now
    series = [
        Series("~ came", "wait", came),
        Series("succeeded", "good", [row.succeeded / lasted_s for row, lasted_s in zip(rows, over, strict=True)]),
        Series("failed", "bad", [row.failed / lasted_s for row, lasted_s in zip(rows, over, strict=True)]),
    ]
    return chart("Jobs per second", [row.at for row in rows if row.at], series, seconds=seconds)


def run_times(rows: Sequence[TaskCounted], seconds: float) -> Markup:
    """Draw how long runs took."""
    series = [Series(name, kind, [row.ran_s(share) for row in rows]) for share, name, kind in _SHARES]
    return chart("Run time", [row.at for row in rows if row.at], series, seconds=seconds, unit=span)


def waiting_times(rows: Sequence[TaskCounted], seconds: float) -> Markup:
    """Draw how long jobs waited from their enqueue to their claim."""
    series = [Series(name, kind, [row.waited_s(share) for row in rows]) for share, name, kind in _SHARES]
    return chart("Time in line", [row.at for row in rows if row.at], series, seconds=seconds, unit=span)


def _lasted_s(at: datetime | None, seconds: float) -> float:
    """Return how many seconds a point of a chart stands for: the present minute or hour is not over."""
    whole = MINUTE_S if seconds <= DAY_S else HOUR_S
    so_far = whole if at is None else (datetime.now(UTC) - at).total_seconds()
    return min(whole, max(_LEAST_S, so_far))
