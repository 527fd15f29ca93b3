"""Acknowledging: leases whose jobs are all finished, and single jobs of those that a slow neighbour keeps open."""

from __future__ import annotations

from typing import Any

from psycopg import AsyncConnection

from fastq.sql import statement


async def ack(conn: AsyncConnection[Any], *, shard: int, worker: int, leases: list[int]) -> set[int]:
    """Delete leases whose jobs are all finished; returns those that were still ours."""
    params = {"shard": shard, "worker": worker, "acks": sorted(leases)}
    cur = await conn.execute(statement("ack_leases"), params, prepare=True)
    return {row[0] for row in await cur.fetchall()}


async def ack_jobs(conn: AsyncConnection[Any], *, shard: int, worker: int, jobs: list[tuple[int, int]]) -> set[int]:
    """Mark (lease, ordinal) pairs as done; returns the leases that were still ours."""
    params = {
        "shard": shard,
        "worker": worker,
        "leases": [lease for lease, _ in jobs],
        "ords": [ordinal for _, ordinal in jobs],
    }
    cur = await conn.execute(statement("ack_jobs"), params, prepare=True)
    return {row[0] for row in await cur.fetchall()}
