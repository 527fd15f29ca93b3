"""Claiming: take a batch of one lane, or of many groups, under a lease."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from psycopg import AsyncConnection

from fastq.sql import statement

LEASE_IDS = 65536

MAX_BATCH_BYTES = 4 * 1024 * 1024
"""A claimed batch ends before it passes this size, as payloads lie on disk."""


@dataclass(frozen=True, slots=True)
class Lane:
    """One line of jobs: claims take from one lane at a time, in order of position."""

    shard: int
    segment: int
    queue: str
    priority: int
    group_key: str


@dataclass(frozen=True, slots=True)
class Tasks:
    """The tasks whose jobs are wanted: a few that are compared first, or None for any task, and all others."""

    hot: Sequence[str] | None
    known: Sequence[str] = ()

    @property
    def params(self) -> dict[str, Any]:
        """As the statements take them."""
        return {"hot": None if self.hot is None else list(self.hot), "known": list(self.known)}


ANY_TASK = Tasks(None)


@dataclass(slots=True)
class Claimed:
    """What a claim gave: `batch` is None when there was nothing; `acked` are the leases that were still ours.

    `hi` is the position up to which a lane was claimed, or how many jobs there were to be had of many groups; `cut`
    tells that a lane has more jobs, which would have made the batch too large.
    """

    lease: int
    batch: bytes | None
    hi: int
    acked: list[int]
    alive: bool
    cut: bool = False


async def take_lease_ids(conn: AsyncConnection[Any]) -> range:
    """Return a block of ids for leases, given to nobody else, ever."""
    row = await (await conn.execute(statement("take_lease_ids"))).fetchone()
    if row is None:
        raise AssertionError("take_lease_ids always returns one row")
    return range(row[0], row[0] + LEASE_IDS)


async def claim(
    conn: AsyncConnection[Any],
    *,
    lane: Lane,
    worker: int,
    lease: int,
    low: int,
    limit: int,
    acks: list[int],
    tasks: Tasks = ANY_TASK,
) -> Claimed:
    """Take up to `limit` jobs of a lane beyond position `low`, and on the way acknowledge leases of its segment.

    `lease` is a fresh id from `take_lease_ids`; one whose claim may have happened must not be used again.
    """
    params = {
        "shard": lane.shard,
        "worker": worker,
        "lease": lease,
        "queue": lane.queue,
        "priority": lane.priority,
        "group_key": lane.group_key,
        "low": low,
        "limit": limit,
        "acks": sorted(acks),
        **tasks.params,
        "max_bytes": MAX_BATCH_BYTES,
    }
    cur = await conn.execute(statement("claim_jobs_if_worker_lives", lane.segment), params, prepare=True, binary=True)
    row = await cur.fetchone()
    if row is None:
        raise AssertionError("a claim always returns one row")
    return Claimed(row[0] or 0, row[1], row[2] or 0, row[3], row[4], bool(row[5]))


async def claim_groups(
    conn: AsyncConnection[Any],
    *,
    groups: Sequence[tuple[Lane, int]],
    share: int,
    worker: int,
    lease: int,
    limit: int,
    acks: list[int],
    tasks: Tasks = ANY_TASK,
) -> Claimed:
    """As claim, but from lanes that differ by their group alone, each with its mark: up to `share` jobs of each."""
    lane = groups[0][0]
    params = {
        "shard": lane.shard,
        "worker": worker,
        "lease": lease,
        "queue": lane.queue,
        "priority": lane.priority,
        "groups": [other.group_key for other, _ in groups],
        "lows": [low for _, low in groups],
        "share": share,
        "limit": limit,
        "acks": sorted(acks),
        **tasks.params,
        "max_bytes": MAX_BATCH_BYTES,
    }
    text = statement("claim_jobs_of_groups_if_worker_lives", lane.segment)
    row = await (await conn.execute(text, params, prepare=True, binary=True)).fetchone()
    if row is None:
        raise AssertionError("a claim always returns one row")
    return Claimed(row[0] or 0, row[1], row[2], row[3], row[4])
