"""What a running job makes durable: its completion in the handler's own transaction, and its checkpoints."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from psycopg import AsyncConnection

from fastq.protocol.asking import Request, Steps, Work, is_there
from fastq.sql import statement


@dataclass(frozen=True, slots=True)
class Place:
    """Where a running job stands: `ord` is its place in the lease."""

    shard: int
    lease: int
    ord: int


async def hold(conn: AsyncConnection[Any], place: Place) -> bool:
    """Keep the lease from being reaped until the transaction ends; False when it is gone, or the job is done."""
    cur = await conn.execute(statement("hold_lease"), asdict(place))
    return await cur.fetchone() is not None


async def complete(conn: AsyncConnection[Any], place: Place) -> bool:
    """Write down that the job is done, in the same transaction; False when it was done before."""
    cur = await conn.execute(statement("complete_job"), asdict(place))
    return await cur.fetchone() is not None


def complete_in(place: Place, *, frees: int | None = None) -> Work[bool]:
    """Hold and complete in a transaction that is not ours; False when the job was taken away, or is done already.

    `frees`: the id of a job that gives back its unique key with that.
    """

    def steps() -> Steps[bool]:
        for name in ("hold_lease", "complete_job"):
            if not (yield Request(name, asdict(place), is_there)):
                return False
        if frees is not None:
            yield free(place, frees)
        return True

    return Work(steps, whole=False)


def free(place: Place, job: int) -> Request[bool]:
    """Give a job's unique key back, unless it is held for a time, in the transaction that completes the job."""
    return Request("free_key", {"shard": place.shard, "job": job}, is_there)


async def resolve(conn: AsyncConnection[Any], place: Place) -> bool:
    """Tell whether the job was completed, after waiting for a transaction of its that may still be committing."""
    row = await (await conn.execute(statement("resolve_completion"), asdict(place))).fetchone()
    return row is not None and bool(row[0])


def tell_progress(place: Place, share: float, note: str) -> Request[bool]:
    """Show how far the job has come, a share from 0 to 1 and a few words. False when the lease is gone."""
    return Request("tell_progress", {**asdict(place), "share": share, "note": note}, is_there)


def save_checkpoint(place: Place, value: str, *, retries: int | None = None) -> Request[bool]:
    """Keep a checkpoint, as JSON, for the job's next attempt, and if given the retries that it has from now on.

    On any connection, in its transaction. False when the lease is gone.
    """
    return Request("save_checkpoint", {**asdict(place), "checkpoint": value, "retries": retries}, is_there)
