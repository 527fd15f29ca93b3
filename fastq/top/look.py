"""What one look shows. No terminal here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from psycopg import Connection

from fastq.insights import history
from fastq.insights.survey import GLANCE, QueueSurvey, WorkerSurvey, survey


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
    seen = survey(conn, count_most=GLANCE)
    counted = history.whole(conn, seconds=history.HOUR_S)
    return Seen(
        queues=seen.queues,
        workers=seen.workers,
        leader=seen.fleet.leader,
        rates=[row.succeeded / row.step_s for row in counted],
    )
