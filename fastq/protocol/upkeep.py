"""What keeps the tables in order: promote due jobs, prune kept ones, lead the fleet, wake it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import orjson
from psycopg import AsyncConnection

from fastq.ends.failure import record
from fastq.protocol import looks
from fastq.protocol.asking import Request, carry_out, is_there
from fastq.protocol.refusal import BY_THE_SERVER, apart, reason_of
from fastq.sql import statement

FROM_THE_BEGINNING = "-infinity"


@dataclass(frozen=True, slots=True)
class Promoted:
    """How many jobs were promoted, in how many seconds the next is due (None: nothing waits), and the next `since`."""

    jobs: int
    next_due_s: float | None
    mark: str


async def promote(
    conn: AsyncConnection[Any], *, shard: int, limit: int = 5000, since: str = FROM_THE_BEGINNING
) -> Promoted:
    """Move jobs whose time has come, at `since` or later, into ready.

    Of jobs that are refused there ever fewer are tried at once, until the one is found: it is kept as failed.
    """
    try:
        async with apart(conn):
            return await _promote(conn, shard=shard, limit=limit, since=since)
    except BY_THE_SERVER as exc:
        if limit > 1:
            return await promote(conn, shard=shard, limit=limit // 2, since=since)
        told = record("NotWritten", f"due, and could not be put into line: {reason_of(exc)}", 0)
        params = {"shard": shard, "since": since, "meta": orjson.dumps({"errors": [told]}).decode()}
        await conn.execute(statement("fail_due_job"), params)
        return Promoted(1, None, since)


async def _promote(conn: AsyncConnection[Any], *, shard: int, limit: int, since: str) -> Promoted:
    params = {"shard": shard, "limit": limit, "since": since}
    cur = await conn.execute(statement("promote_due_jobs"), params, prepare=True)
    row = await cur.fetchone()
    if row is None:
        raise AssertionError("promote_due_jobs always returns one row")
    return Promoted(row[0], row[1], row[2])


async def due_shards(conn: AsyncConnection[Any], *, since: Mapping[int, str]) -> dict[int, float]:
    """Return of the shards where jobs wait for a time in how many seconds the next one is due; see `promote`."""
    params = {"shards": list(since), "since": list(since.values())}
    return dict(await (await conn.execute(statement("list_due_shards"), params, prepare=True)).fetchall())


async def shards_where(conn: AsyncConnection[Any], *, look: str, shards: Iterable[int]) -> list[int]:
    """Return the shards in which a look finds something."""
    return sorted({row[0] for row in await looks.look(conn, look, {}, shards)})


async def spread_ties(conn: AsyncConnection[Any]) -> bool:
    """Spread tied jobs over all shards, if there are none at the moment; tells whether they are."""
    row = await (await conn.execute(statement("spread_ties"))).fetchone()
    return bool(row and row[0])


async def prune(conn: AsyncConnection[Any], *, shard: int, limit: int = 5000) -> int:
    """Delete kept jobs whose time is over; returns how many."""
    return (await conn.execute(statement("prune_finished_jobs"), {"shard": shard, "limit": limit})).rowcount


class Stand(NamedTuple):
    """Whether a host leads, and if not for how many seconds another one does; None if that has just changed."""

    won: bool
    left_s: float | None


async def lead(conn: AsyncConnection[Any], *, holder: str, lease_s: float) -> Stand:
    """Become or stay leader, unless another host leads."""
    cur = await conn.execute(statement("take_leadership_if_vacant"), {"holder": holder, "lease_s": lease_s})
    row = await cur.fetchone()
    if row is None:
        raise AssertionError("take_leadership_if_vacant always returns one row")
    return Stand(*row)


async def resign(conn: AsyncConnection[Any], *, holder: str) -> None:
    """Stop leading at once."""
    await conn.execute(statement("resign_leadership"), {"holder": holder})


def ring(shards: Iterable[int] = ()) -> Request[bool]:
    """Wake the workers of every host, with the commit of the transaction that asks for it. A hint; they poll behind it.

    `shards` is where new jobs are; none: they may be anywhere.
    """
    return Request("notify_workers", {"shards": ",".join(map(str, sorted(shards)))}, is_there)


ALL_HANDS = "!"
"""At the end of a notification: all hosts are to wake a worker."""


async def call_all(conn: AsyncConnection[Any]) -> None:
    """Wake a worker of each host."""
    await carry_out(conn, Request("notify_workers", {"shards": ALL_HANDS}, is_there))


async def notify(conn: AsyncConnection[Any], shards: Iterable[int] = ()) -> None:
    """Ring."""
    await carry_out(conn, ring(shards))
