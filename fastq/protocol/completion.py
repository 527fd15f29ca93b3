"""What a running job makes durable: its completion in the handler's own transaction, and its checkpoints."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from psycopg import AsyncConnection, Connection

from fastq.protocol.asking import ask, ask_sync
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


async def complete_in(conn: AsyncConnection[Any], place: Place) -> bool:
    """Hold and complete in a transaction that is not ours; False when the job was taken away, or is done already."""
    return bool(await ask(conn, "hold_lease", asdict(place))) and bool(await ask(conn, "complete_job", asdict(place)))


def complete_in_sync(conn: Connection[Any], place: Place) -> bool:
    """As complete_in, on a synchronous connection."""
    return bool(ask_sync(conn, "hold_lease", asdict(place))) and bool(ask_sync(conn, "complete_job", asdict(place)))


async def resolve(conn: AsyncConnection[Any], place: Place) -> bool:
    """Tell whether the job was completed, after waiting for a transaction of its that may still be committing."""
    row = await (await conn.execute(statement("resolve_completion"), asdict(place))).fetchone()
    return row is not None and bool(row[0])


async def save_checkpoint(conn: AsyncConnection[Any], place: Place, value: str, *, retries: int | None = None) -> bool:
    """Keep a checkpoint, as JSON, for the job's next attempt, and if given the retries that it has from now on.

    On any connection, in its transaction. False when the lease is gone.
    """
    return bool(await ask(conn, "save_checkpoint", _checkpoint(place, value, retries)))


def save_checkpoint_sync(conn: Connection[Any], place: Place, value: str, *, retries: int | None = None) -> bool:
    """As save_checkpoint, on a synchronous connection."""
    return bool(ask_sync(conn, "save_checkpoint", _checkpoint(place, value, retries)))


def _checkpoint(place: Place, value: str, retries: int | None) -> dict[str, Any]:
    return {**asdict(place), "checkpoint": value, "retries": retries}
