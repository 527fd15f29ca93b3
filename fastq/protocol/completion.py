"""Completing a job in the handler's own transaction: its effects and its completion commit together or not at all."""

from __future__ import annotations

from typing import Any

from psycopg import AsyncConnection

from fastq.sql import statement


async def hold(conn: AsyncConnection[Any], *, slot: int, lease: int) -> bool:
    """Keep the lease from being reaped until the transaction ends; False when it is gone already."""
    cur = await conn.execute(statement("hold_lease"), {"slot": slot, "lease": lease})
    return await cur.fetchone() is not None


async def complete(conn: AsyncConnection[Any], *, slot: int, lease: int, ordinal: int) -> None:
    """Write down that the job is done, in the same transaction."""
    await conn.execute(statement("complete_job"), {"slot": slot, "lease": lease, "ord": ordinal})


async def forget(conn: AsyncConnection[Any], *, slot: int, leases: list[int]) -> None:
    """Delete what was written down for leases that are acknowledged."""
    await conn.execute(statement("delete_progress"), {"slot": slot, "leases": leases})
