"""The ring of segments: where new jobs go, and how space is given back although vacuum cannot run."""

from __future__ import annotations

from typing import Any

from psycopg import AsyncConnection
from psycopg.errors import LockNotAvailable

from fastq.sql import statement

HEAD_BYTES = 64 * 1024 * 1024
"""A head of this size is left for the next segment."""


async def advance(conn: AsyncConnection[Any], *, slot: int, head_bytes: int = HEAD_BYTES) -> int | None:
    """Move the head on if it is large and the next segment is free; returns the new head."""
    params = {"slot": slot, "bytes": head_bytes}
    row = await (await conn.execute(statement("advance_head_if_next_empty"), params)).fetchone()
    return None if row is None else int(row[0])


async def truncatable(conn: AsyncConnection[Any]) -> list[int]:
    """Return the segments that look ready to be truncated."""
    cur = await conn.execute(statement("list_truncatable_segments"), {})
    return [row[0] for row in await cur.fetchall()]


async def truncate(conn: AsyncConnection[Any], *, segment: int) -> bool:
    """Truncate a segment if nobody uses it and it is empty; False otherwise. Waits for nobody."""
    try:
        async with conn.transaction():
            await conn.execute(statement("lock_segment", segment))
            # A new statement has a new snapshot: everything that committed before we got the lock is visible now.
            row = await (await conn.execute(statement("check_segment_empty", segment))).fetchone()
            if row is None or not row[0]:
                return False
            await conn.execute(statement("truncate_segment", segment))
    except LockNotAvailable:
        return False
    return True
