"""The ring of segments: where new jobs go, and how space is given back although vacuum cannot run.

The leases of a segment's jobs stand in a table of the same number; it, too, is given back when it is empty.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from psycopg import AsyncConnection
from psycopg.errors import LockNotAvailable

from fastq.sql import statement

HEAD_BYTES = 32 * 1024 * 1024
"""A head of this size is left for the next segment."""

READERS_MS, HURRIED_MS = 50, 1
"""So long readers are waited for, and kept waiting in their turn."""


@dataclass(frozen=True, slots=True)
class Emptied:
    """A table of a segment that looks ready to be truncated."""

    table: str
    segment: int


async def advance(conn: AsyncConnection[Any], *, shard: int, head_bytes: int = HEAD_BYTES) -> int | None:
    """Move the head on if it is large and the next segment is free; returns the new head."""
    params = {"shard": shard, "bytes": head_bytes}
    row = await (await conn.execute(statement("advance_head_if_next_empty"), params)).fetchone()
    return None if row is None else int(row[0])


async def truncatable(conn: AsyncConnection[Any]) -> list[Emptied]:
    """Return the tables that look ready to be truncated."""
    return [Emptied(*row) for row in await (await conn.execute(statement("list_truncatable_tables"), {})).fetchall()]


async def truncate(conn: AsyncConnection[Any], emptied: Emptied, *, readers_ms: int = READERS_MS) -> bool:
    """Truncate a table if nobody uses it and it is empty; False otherwise. Waits for no writer, hardly for readers."""
    table = emptied.table
    try:
        async with conn.transaction(force_rollback=True):  # which lets go of the lock, inside another transaction too
            await conn.execute(statement("probe_writers", table=table))
        async with conn.transaction():
            await conn.execute(statement("limit_lock_wait"), {"ms": readers_ms})
            await conn.execute(statement("lock_out_everybody", table=table))
            # A new statement has a new snapshot: everything that committed before we got the lock is visible now.
            look = await conn.execute(statement("check_table_empty", table=table), {"segment": emptied.segment})
            if await look.fetchone() != (True,):
                return False
            await conn.execute(statement("truncate_table", table=table))
    except LockNotAvailable:
        return False
    return True
