"""Giving back what a dead worker held. Any steward may do it; a lock on the worker's row lets one do it at a time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson
from psycopg import AsyncConnection

from fastq.protocol import ordered
from fastq.protocol.ack import settle
from fastq.settlement import LeasedJob, Settlement
from fastq.sql import statement

Verdict = Callable[[LeasedJob], Settlement]
"""Says where an unfinished job of a dead worker goes: `fastq.outcome.after_death`."""


def _leased(row: tuple[Any, ...]) -> LeasedJob:
    lease, ordinal, job, task, attempt, meta_text, checkpoint, cancelled = row
    meta = None if meta_text is None else orjson.loads(meta_text)
    if checkpoint is not None:
        meta = {**(meta or {}), "checkpoint": orjson.loads(checkpoint)}
    return LeasedJob(lease=lease, ord=ordinal, id=job, task=task, attempt=attempt, meta=meta, cancelled=cancelled)


async def expired_workers(conn: AsyncConnection[Any], *, slot: int) -> list[int]:
    """Return the workers whose time has run out."""
    cur = await conn.execute(statement("list_expired_workers"), {"slot": slot}, prepare=True)
    return [row[0] for row in await cur.fetchall()]


async def reap(
    conn: AsyncConnection[Any],
    *,
    slot: int,
    worker: int,
    verdict: Verdict,
    expired: bool = False,
    may: Callable[[], bool] = lambda: True,
) -> int | None:
    """Settle all unfinished jobs of a dead worker and delete its leases and its row, in one transaction.

    `expired`: only if its time has run out and it was not renewed since. `may` is asked once the worker's row is
    locked, when nothing is left to wait for. Returns how many jobs went back; None when nothing was reaped.
    """
    who = {"slot": slot, "worker": worker}
    async with conn.transaction():
        locked = await (await conn.execute(statement("lock_worker"), {**who, "expired": expired})).fetchone()
        if locked is None or not may():
            return None
        await conn.execute(statement("lock_leases"), who)
        rows = await (await conn.execute(statement("list_leased_jobs"), who)).fetchall()
        jobs = [_leased(row) for row in rows]
        moved = await settle(conn, slot=slot, worker=worker, settlements=[verdict(job) for job in jobs]) if jobs else ()
        await ordered.advance_completed(conn, slot=slot, worker=worker)
        await conn.execute(statement("delete_leases"), who)
        await conn.execute(statement("delete_worker"), who)
    return len(moved)
