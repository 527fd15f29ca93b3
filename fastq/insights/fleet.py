"""The hosts of the fleet, from what their workers and stewards have told."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from psycopg import Connection

from fastq.insights.survey import WorkerSurvey, workers


@dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """One host: its workers, their versions, `running` jobs of `concurrency`; `late` ones have not renewed in time."""

    name: str
    leads: bool
    workers: int
    late: int
    versions: tuple[str, ...]
    running: int
    concurrency: int
    memory_bytes: int


def hosts(conn: Connection[Any]) -> list[Host]:
    """Return all hosts that have workers, by name."""
    found, fleet = workers(conn)
    leader = (fleet.leader or "").rpartition(":")[0]
    names = sorted({worker.host for worker in found})
    return [_host(name, [worker for worker in found if worker.host == name], leads=name == leader) for name in names]


def _host(name: str, of_it: list[WorkerSurvey], *, leads: bool) -> Host:
    return Host(
        name=name,
        leads=leads,
        workers=len(of_it),
        late=sum(worker.left_s <= 0 for worker in of_it),
        versions=tuple(sorted({str(worker.about["version"]) for worker in of_it if "version" in worker.about})),
        running=sum(_number((worker.counters or {}).get("running")) for worker in of_it),
        concurrency=sum(worker.concurrency or 0 for worker in of_it),
        memory_bytes=sum(_number((worker.counters or {}).get("memory_bytes")) for worker in of_it),
    )


def _number(value: object) -> int:
    return value if isinstance(value, int) else 0
