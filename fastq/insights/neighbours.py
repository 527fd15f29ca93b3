"""The line that a job stands in: who runs before it, and who after it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from psycopg import Connection

from fastq.protocol.jobs import JobInfo
from fastq.sql import statement

MOST = 1000
SHOWN = 5


@dataclass(frozen=True, slots=True)
class Neighbours:
    """The ids of a few jobs before and behind one in its ordered group; `ahead` is how many are before it in all."""

    before: list[int]
    behind: list[int]
    ahead: int
    exact: bool


def neighbours(conn: Connection[Any], job: JobInfo) -> Neighbours | None:
    """Return the neighbours of a job; None where it stands in no line."""
    if not job.group_key:
        return None
    params = {"queue": job.queue, "group_key": job.group_key, "limit": MOST}
    line = [row[0] for row in conn.execute(statement("survey_line"), params).fetchall()]
    if not line:
        return None
    place = line.index(job.id) if job.id in line else len(line)
    before = line[max(0, place - SHOWN) : place]
    return Neighbours(before, line[place + 1 :][:SHOWN], place, exact=job.id in line or len(line) < MOST)
