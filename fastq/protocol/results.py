"""How a kept job ended."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from psycopg import AsyncConnection

from fastq import codec
from fastq.sql import statement
from fastq.states import JobState


@dataclass(frozen=True, slots=True, kw_only=True)
class Ending:
    """The state a job ended in, what its handler returned, and its last error's record."""

    state: JobState
    result: Any
    error: dict[str, Any] | None


async def find_ending(conn: AsyncConnection[Any], *, slot: int, job: int) -> Ending | None:
    """Return how a job ended; None while it has not, or when it was not kept."""
    row = await (await conn.execute(statement("find_finished_job"), {"slot": slot, "id": job}, prepare=True)).fetchone()
    if row is None:
        return None
    state, result, meta = row
    errors = [] if meta is None else codec.loads(meta).get("errors", [])
    return Ending(
        state=JobState(state),
        result=None if result is None else codec.loads(result),
        error=errors[-1] if errors else None,
    )
