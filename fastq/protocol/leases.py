"""What the database believes that a worker holds, and the mending of leases that PostgreSQL cannot take apart."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from psycopg import AsyncConnection

from fastq.board import KEY_ORDINAL_BITS
from fastq.protocol.claim import Claimed, Lane
from fastq.protocol.packed import repaired
from fastq.sql import statement


@dataclass(frozen=True, slots=True)
class HeldLease:
    """A lease that the database believes a worker holds; `done` are the ordinals of its finished jobs."""

    lane: Lane
    claimed: Claimed
    done: frozenset[int]

    @property
    def lease(self) -> int:
        """Its id."""
        return self.claimed.lease

    @property
    def has_keys(self) -> bool:
        """Whether its jobs can have keys on the board: leases that fastq made do."""
        return 0 < self.lease < 1 << (63 - KEY_ORDINAL_BITS)


async def list_leases(conn: AsyncConnection[Any], *, shard: int, worker: int) -> list[HeldLease]:
    """Return everything the database believes this worker holds."""
    cur = await conn.execute(statement("list_leases"), {"shard": shard, "worker": worker}, binary=True)
    return [
        HeldLease(Lane(shard, *row[1:5]), Claimed(row[0], row[5], 0, [], alive=True), frozenset(row[6]))
        for row in await cur.fetchall()
    ]


async def repair(conn: AsyncConnection[Any], *, shard: int, worker: int, leases: Collection[int] | None = None) -> int:
    """Rewrite those of a worker's leases in which something cannot be read; returns how many there were.

    PostgreSQL takes a payload that is nested so deeply that it cannot take the batch around it apart any more.
    """
    mended = 0
    for held in await list_leases(conn, shard=shard, worker=worker):
        if leases is not None and held.lease not in leases:
            continue
        batch = repaired(held.claimed.batch or b"")
        if batch is not None:
            mended += 1
            params = {"shard": shard, "worker": worker, "lease": held.lease, "batch": batch}
            await conn.execute(statement("replace_batch"), params)
    return mended
