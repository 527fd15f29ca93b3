"""What the database believes that a worker holds, and the mending of leases that PostgreSQL cannot take apart."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any

from psycopg import AsyncConnection

from fastq.host.board import has_keys
from fastq.protocol.claim import Claimed, Lane, Packet
from fastq.protocol.looks import look
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
        return has_keys(self.lease)


async def list_leases(conn: AsyncConnection[Any], *, shard: int, worker: int) -> list[HeldLease]:
    """Return everything the database believes this worker holds."""
    cur = await conn.execute(statement("list_leases"), {"shard": shard, "worker": worker}, binary=True)
    return [_held(shard, *row) for row in await cur.fetchall()]


async def list_all_leases(conn: AsyncConnection[Any], *, shards: Iterable[int], worker: int) -> list[HeldLease]:
    """As `list_leases`, of many shards."""
    return [_held(*row) for row in await look(conn, "list_leases", {"worker": worker}, shards, binary=True)]


def _held(
    shard: int,
    lease: int,
    segment: int,
    queue: str,
    priority: int,
    group_key: str,
    batch: bytes | None,
    start: int | None,
    first: int,
    jobs: int,
    task: str,
    enqueued_ms: int,
    meta: str | None,
    payloads: bytes | None,
    done: list[int],
) -> HeldLease:
    claimed = Claimed(lease, batch, 0, [], alive=True)
    if start is not None:
        packet = Packet(
            lease=lease,
            start=start,
            first=first or start,
            jobs=jobs or 0,
            task=task or "?",
            enqueued_ms=enqueued_ms or 0,
            meta=meta,
            payloads=payloads,
        )
        claimed.packets.append(packet)
    return HeldLease(Lane(shard, segment, queue, priority, group_key), claimed, frozenset(done))


async def repair(conn: AsyncConnection[Any], *, shard: int, worker: int, leases: Collection[int] | None = None) -> int:
    """Rewrite those of a worker's leases in which something cannot be read; returns how many there were.

    PostgreSQL takes a payload that is nested so deeply that it cannot take the batch around it apart any more.
    """
    mended = 0
    for held in await list_leases(conn, shard=shard, worker=worker):
        if held.claimed.packets or (leases is not None and held.lease not in leases):
            continue
        batch = repaired(held.claimed.batch or b"")
        if batch is not None:
            mended += 1
            params = {"shard": shard, "worker": worker, "lease": held.lease, "batch": batch}
            await conn.execute(statement("replace_batch"), params)
    return mended
