"""Two-phase enqueue: reserve a job, then commit it or abandon it; a reservation whose time is over is deleted.

reserve ──► scheduled (reserved) ──commit──► ready, or scheduled for its own time
                 ├── abandon ──► gone
                 └── expiry ───► gone
"""

from __future__ import annotations

from typing import Any, Literal, cast

from psycopg import AsyncConnection

from fastq.job import JobSpec
from fastq.protocol.asking import Request
from fastq.protocol.unique import Placed
from fastq.sql import statement

REMEMBERED_DAYS = 7
"""So long it is known that a reservation was committed."""

Answer = Literal["committed", "before", "gone"]


def reserve(
    spec: JobSpec, payload: bytes, *, expires_s: float, shard: int = 0, patience: str | None = None
) -> Request[Placed]:
    """Reserve a job for `expires_s` seconds, unless its unique key is held; who holds it is the answer."""
    options = spec.options
    params = {
        "shard": shard,
        "expires_s": expires_s,
        "delay_s": options.delay_s,
        "run_at": options.run_at,
        "queue": options.queue,
        "priority": options.priority,
        "group_key": options.group_key,
        "task": spec.task,
        "payload": payload.decode(),
        "meta": options.meta().decode() or None,
        "key": options.unique_key,
        "until": str(options.unique_until),
        "patience": patience,
    }
    return Request("reserve_job", params, lambda rows: Placed(*rows[0]))


def commit(job: int) -> Request[Answer]:
    """Put a reserved job into line; "gone" when its time is over, or it was abandoned or deleted."""
    return Request("commit_job", {"id": job}, lambda rows: cast("Answer", rows[0][0]))


def abandon(job: int) -> Request[bool]:
    """Delete a reserved job; False when there is no such reservation (any more)."""
    return Request("abandon_job", {"id": job}, lambda rows: bool(rows[0][0]))


# -- upkeep


async def expire(conn: AsyncConnection[Any], *, shard: int, limit: int = 1000) -> int:
    """Delete reserved jobs whose time is over; returns how many."""
    return (await conn.execute(statement("expire_reserved_jobs"), {"shard": shard, "limit": limit})).rowcount


async def prune(conn: AsyncConnection[Any], *, shard: int, limit: int = 5000) -> int:
    """Forget old commits; returns how many."""
    params = {"shard": shard, "limit": limit, "days": REMEMBERED_DAYS}
    return (await conn.execute(statement("prune_committed_jobs"), params)).rowcount
