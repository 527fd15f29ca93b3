"""What a running job makes durable: its completion in the handler's own transaction, and its checkpoints."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from psycopg import AsyncConnection

from fastq.sql import statement


@dataclass(frozen=True, slots=True)
class Place:
    """Where a running job stands: `ord` is its place in the lease."""

    slot: int
    lease: int
    ord: int


async def hold(conn: AsyncConnection[Any], place: Place) -> bool:
    """Keep the lease from being reaped until the transaction ends; False when it is gone, or the job is done."""
    cur = await conn.execute(statement("hold_lease"), asdict(place))
    return await cur.fetchone() is not None


async def complete(conn: AsyncConnection[Any], place: Place) -> bool:
    """Write down that the job is done, in the same transaction; False when it was done before."""
    cur = await conn.execute(statement("complete_job"), asdict(place))
    return await cur.fetchone() is not None


async def resolve(conn: AsyncConnection[Any], place: Place) -> bool:
    """Tell whether the job was completed, after waiting for a transaction of its that may still be committing."""
    row = await (await conn.execute(statement("resolve_completion"), asdict(place))).fetchone()
    return row is not None and bool(row[0])


async def save_checkpoint(conn: AsyncConnection[Any], place: Place, value: str) -> bool:
    """Keep a checkpoint, as JSON, for the job's next attempt; False when the lease is gone."""
    cur = await conn.execute(statement("save_checkpoint"), {**asdict(place), "checkpoint": value})
    return await cur.fetchone() is not None
