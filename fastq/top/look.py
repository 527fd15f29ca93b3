"""What one look shows. No terminal here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from psycopg import Connection

from fastq.insights import history
from fastq.insights.survey import QueueSurvey, WorkerSurvey, survey

COUNT_MOST = 20_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Seen:
    """The fleet at a moment; `done` is how many jobs ended well by then, as far as workers have told."""

    queues: Sequence[QueueSurvey]
    workers: Sequence[WorkerSurvey]
    leader: str | None
    rates: Sequence[float]

    @property
    def ready(self) -> int:
        """How many jobs are ready."""
        return sum(queue.ready.jobs for queue in self.queues)

    @property
    def running(self) -> int:
        """How many are claimed."""
        return sum(queue.running.jobs for queue in self.queues)

    @property
    def failed(self) -> int:
        """How many failed for good."""
        return sum(queue.failed.jobs for queue in self.queues)


def look(conn: Connection[Any]) -> Seen:
    """Look at the queues, the workers and the last hour."""
    seen = survey(conn, count_most=COUNT_MOST)
    counted = history.counts(conn, seconds=history.HOUR_S)
    return Seen(
        queues=seen.queues,
        workers=seen.workers,
        leader=seen.fleet.leader,
        rates=[row.succeeded / row.span_s for row in counted],
    )


def short(value: float) -> str:
    """Return a number in few letters: 1.2M, 340k, 7."""
    for size, unit in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:.3g}{unit}"
    return f"{value:.3g}"


def span(seconds: float | None) -> str:
    """Return a time span in few letters."""
    if seconds is None:
        return "-"
    for size, unit in ((86_400, "d"), (3600, "h"), (60, "m")):
        if abs(seconds) >= 2 * size:
            return f"{seconds / size:.0f}{unit}"
    return f"{seconds:.0f}s"
