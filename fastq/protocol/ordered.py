"""Ordered groups: one job of a line at a time, the next one when it has ended. The rules stand in migration 0008.

A producer puts its jobs into their lines and begins those that have no head; whoever ends a line's head lets the line
go on in the same transaction: a settlement or a reap here, cancelling and deleting in SQL. The leader does what could
not be done without waiting.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Any

from psycopg import AsyncConnection

from fastq.ends.settlement import Settlement
from fastq.protocol.asking import Request, is_there
from fastq.sql import statement
from fastq.states import Goes, JobState

Line = tuple[str, str]
"""A queue and a group."""


def begin(*, shard: int, lines: Collection[Line]) -> Request[bool]:
    """Let the transaction that put jobs into these lines begin those that have no head, and hold the others."""
    params = {"shard": shard, "queues": [queue for queue, _ in lines], "groups": [group for _, group in lines]}
    return Request("begin_lines", params, is_there)


def advances(settlement: Settlement) -> bool | None:
    """Tell whether a line goes on with this settlement of its head; None: the job is not ordered."""
    on_dead = (settlement.meta or {}).get("ordered")
    if on_dead is None:
        return None
    if settlement.goes in (Goes.READY, Goes.SCHEDULED):
        return False
    return not (settlement.state == JobState.FAILED and on_dead == "block")


async def advance_completed(conn: AsyncConnection[Any], *, shard: int, worker: int) -> int:
    """Let lines go on whose heads completed in their own transactions, unsettled by a worker that is gone."""
    cur = await conn.execute(statement("advance_completed_lines"), {"shard": shard, "worker": worker})
    return int((await cur.fetchone() or (0,))[0])


async def advance_idle(conn: AsyncConnection[Any], *, shard: int, limit: int = 1000) -> int:
    """Let lines go on that were left to the leader; returns how many did."""
    cur = await conn.execute(statement("advance_idle_lines"), {"shard": shard, "limit": limit}, prepare=True)
    return int((await cur.fetchone() or (0,))[0])


@dataclass(frozen=True, slots=True)
class Mended:
    """How many lines were mended, and from which queue and group to look on; None: the last was seen."""

    lines: int
    after: tuple[str, str] | None


async def mend(
    conn: AsyncConnection[Any], *, shard: int, after: tuple[str, str] = ("", ""), limit: int = 500
) -> Mended:
    """Look at some lines whether each has a head that lives; those without go on with the next `advance_idle`."""
    params = {"shard": shard, "from_queue": after[0], "from_group": after[1], "limit": limit}
    row = await (await conn.execute(statement("mend_lines"), params)).fetchone()
    if row is None:
        raise AssertionError("mend_lines always returns one row")
    return Mended(row[0], None if row[1] is None else (row[1], row[2]))
