"""The ring of segments: where new jobs go, and how space is given back although vacuum cannot run.

The leases of a segment's jobs stand in a table of the same number; it, too, is given back when it is empty. So is that
of its packets when no row names one any more: nobody deletes them.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any, LiteralString

from psycopg import AsyncConnection
from psycopg.errors import LockNotAvailable

from fastq.protocol.looks import call, look
from fastq.sql import statement

HEAD_BYTES = 32 * 1024 * 1024
"""A head of this size is left for the next segment."""

SWEPT_BYTES = 256 * 1024 * 1024
"""A head with so many packets, one that cannot go on, has those deleted that nobody needs any more."""

SWEPT_PACKETS = 1000
"""At most so many are deleted by one statement."""

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


async def advance_all(conn: AsyncConnection[Any], *, shards: Collection[int], head_bytes: int = HEAD_BYTES) -> None:
    """As `advance`, in all shards: they have the tables in common, and go on together."""
    if len(shards) == 1:
        await advance(conn, shard=0, head_bytes=head_bytes)
    else:
        await call(conn, "advance_head_if_next_empty", {"bytes": head_bytes}, shards)


async def truncatable(conn: AsyncConnection[Any]) -> list[Emptied]:
    """Return the tables that look ready to be truncated."""
    return [Emptied(*row) for row in await (await conn.execute(statement("list_truncatable_tables"), {})).fetchall()]


async def sweepable(
    conn: AsyncConnection[Any], *, shards: Iterable[int], swept_bytes: int = SWEPT_BYTES
) -> set[tuple[int, int]]:
    """Return the shards and segments whose packets are to be swept one by one."""
    return {
        (shard, segment)
        for shard, segment in await look(conn, "list_sweepable_segments", {"bytes": swept_bytes}, shards)
    }


async def sweep(conn: AsyncConnection[Any], *, shard: int, segment: int, limit: int = SWEPT_PACKETS) -> int:
    """Delete up to `limit` packets of a segment that no row names any more; returns how many."""
    params = {"shard": shard, "segment": segment, "limit": limit}
    row = await (await conn.execute(statement("sweep_packets"), params)).fetchone()
    return 0 if row is None else int(row[0])


def _check_of(emptied: Emptied) -> LiteralString:
    if emptied.table.startswith("packet_"):
        return statement("check_packets_unneeded", emptied.segment)
    return statement("check_table_empty", table=emptied.table)


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
            look = await conn.execute(_check_of(emptied), {"segment": emptied.segment})
            if await look.fetchone() != (True,):
                return False
            await conn.execute(statement("truncate_table", table=table))
    except LockNotAvailable:
        return False
    return True
