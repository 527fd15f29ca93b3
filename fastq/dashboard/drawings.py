"""The charts of the pages, from what was counted. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from markupsafe import Markup

from fastq.dashboard.charts import Series, chart
from fastq.insights.history import Counted, WholeCounted
from fastq.insights.words import span

_LEAST_S = 10.0
_ENDS = (("succeeded", "good"), ("failed", "bad"), ("retried", "again"))
_SHARES = ((0.5, "p50", "good"), (0.95, "p95", "again"), (0.99, "p99", "bad"))


def rates(rows: Sequence[Counted], seconds: float) -> Markup:
    """Draw how many jobs ended a second, and how."""
    return chart("Jobs per second", _times(rows), _ended(rows), seconds=seconds)


def _ended(rows: Sequence[Counted]) -> list[Series]:
    return [Series(name, kind, [getattr(row, name) / _lasted_s(row) for row in rows]) for name, kind in _ENDS]


def depths(rows: Sequence[WholeCounted], seconds: float) -> Markup:
    """Draw the most jobs that stood ready, and that ran."""
    known = [row for row in rows if row.ready is not None]
    series = [
        Series("ready", "wait", [row.ready for row in known]),
        Series("running", "run", [row.running for row in known]),
    ]
    return chart("Jobs", _times(known), series, seconds=seconds)


def arrivals(rows: Sequence[WholeCounted], seconds: float) -> Markup:
    """Draw how many jobs of a queue came and went a second.

    What came is what was claimed and had not been there before, and by how much the queue has grown: an estimate, since
    depths are looked at three times a minute and deleted jobs are not known.
    """
    came: list[float | None] = []
    before = None
    for row in rows:
        grown = None if row.ready is None or before is None else row.ready - before
        claimed = row.claimed - row.returned - row.retried
        came.append(None if grown is None else max(0.0, (claimed + grown) / _lasted_s(row)))
        before = row.ready
    return chart("Jobs per second", _times(rows), [Series("~ came", "wait", came), *_ended(rows)], seconds=seconds)


def run_times(rows: Sequence[Counted], seconds: float) -> Markup:
    """Draw how long runs took."""
    series = [Series(name, kind, [row.ran_s(share) for row in rows]) for share, name, kind in _SHARES]
    return chart("Run time", _times(rows), series, seconds=seconds, unit=span)


def waiting_times(rows: Sequence[Counted], seconds: float) -> Markup:
    """Draw how long jobs waited from their enqueue to their claim."""
    series = [Series(name, kind, [row.waited_s(share) for row in rows]) for share, name, kind in _SHARES]
    return chart("Time in line", _times(rows), series, seconds=seconds, unit=span)


def _times(rows: Sequence[Counted]) -> list[datetime]:
    return [row.at for row in rows if row.at is not None]


def _lasted_s(row: Counted) -> float:
    """Return how many seconds a point stands for: the present minute or hour is not over."""
    so_far = row.step_s if row.at is None else (datetime.now(UTC) - row.at).total_seconds()
    return min(row.step_s, max(_LEAST_S, so_far))
