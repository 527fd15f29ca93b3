"""Unique jobs: at most one job holds a key at a time. Whoever enqueues another one gets the holder's id.

A key is taken with the job, in the same transaction, and given back with the job's end: by the statement that settles
it (`protocol.ack`), or by the transaction that completes it. What was left behind all the same is pruned by the leader.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

from psycopg import AsyncConnection

from fastq.job import JobSpec, Options
from fastq.protocol.asking import Request
from fastq.protocol.completion import Place
from fastq.sql import statement

PATIENCE = "20s"
"""So long an enqueue with a connection of its own waits for others who are just taking the same key."""


class Placed(NamedTuple):
    """The job that holds the key now, and whether that is another one than was to be enqueued."""

    id: int
    duplicate: bool


def line(spec: JobSpec, payload: bytes) -> str:
    """Return a job as the line that put_lines takes; it gets the next id."""
    return f"\t{fields(spec.task, spec.options)}{payload.decode()}"


def fields(task: str, options: Options) -> str:
    """Return the fields between the id and the payload, each with its tab."""
    until = options.unique_until
    delay = "" if options.delay_s is None else repr(options.delay_s)
    run_at = "" if options.run_at is None else options.run_at.isoformat()
    named = (options.unique_key or "", until if isinstance(until, str) else f"{until:.6f}", delay, run_at)
    rest = (options.queue, options.priority, task, options.group_key, options.meta().decode())
    return "".join(f"{field}\t" for field in (*named, *rest))


def insert(lines: list[str], *, shard: int = 0, patience: str | None = None) -> Request[list[Placed]]:
    """Enqueue the jobs whose keys are free, at most 1024; gives for each line, in order, who holds its key.

    `patience` bounds how long another's open transaction is waited for, like "20s".
    """
    params = {"shard": shard, "lines": "\n".join(lines), "patience": patience}
    return Request("put_lines", params, lambda rows: [Placed(*row) for row in rows])


async def free_started(conn: AsyncConnection[Any], *, place: Place, worker: int, job: int) -> bool:
    """Give a key back that is held until its job starts; False when the lease is gone: it must not start."""
    params = {**asdict(place), "worker": worker, "job": job}
    cur = await conn.execute(statement("free_started_key_if_leased"), params, prepare=True)
    return await cur.fetchone() is not None


# -- upkeep


@dataclass(frozen=True, slots=True)
class Swept:
    """How many keys of jobs that are gone were deleted, and the key to go on behind; None: that was the last."""

    keys: int
    after: str | None


async def prune_expired(conn: AsyncConnection[Any], *, shard: int, limit: int = 5000) -> int:
    """Delete keys whose time is over; returns how many."""
    return (await conn.execute(statement("prune_expired_keys"), {"shard": shard, "limit": limit})).rowcount


async def sweep(conn: AsyncConnection[Any], *, shard: int, after: str, limit: int = 1000) -> Swept:
    """Look at `limit` keys behind `after`; delete those that are held by jobs that are gone."""
    params = {"shard": shard, "after": after, "limit": limit}
    row = await (await conn.execute(statement("sweep_orphaned_keys"), params)).fetchone()
    if row is None:
        raise AssertionError("sweep_orphaned_keys always returns one row")
    return Swept(row[0], row[1])
