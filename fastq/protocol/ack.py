"""Ending a claim: acknowledge leases, mark single jobs done, settle jobs that failed, wait or go back."""

from __future__ import annotations

from typing import Any

import orjson
from psycopg import AsyncConnection

from fastq.protocol.ordered import advances
from fastq.settlement import Settlement
from fastq.sql import statement
from fastq.states import Goes

_LAST = (Goes.FINISHED, Goes.DONE)


async def ack(conn: AsyncConnection[Any], *, slot: int, worker: int, leases: list[int]) -> set[int]:
    """Delete leases whose jobs are all finished; returns those that were still ours."""
    params = {"slot": slot, "worker": worker, "leases": sorted(leases)}
    cur = await conn.execute(statement("ack_leases"), params, prepare=True)
    return {row[0] for row in await cur.fetchall()}


async def ack_jobs(conn: AsyncConnection[Any], *, slot: int, worker: int, jobs: list[tuple[int, int]]) -> set[int]:
    """Mark (lease, ordinal) pairs as done; returns the leases that were still ours."""
    params = {
        "slot": slot,
        "worker": worker,
        "leases": [lease for lease, _ in jobs],
        "ords": [ordinal for _, ordinal in jobs],
    }
    cur = await conn.execute(statement("ack_jobs"), params, prepare=True)
    return {row[0] for row in await cur.fetchall()}


def frees_key(settlement: Settlement) -> bool:
    """Tell whether a job that goes there gives its unique key back."""
    return settlement.goes in _LAST and settlement.meta is not None and "unique" in settlement.meta


async def settle(
    conn: AsyncConnection[Any], *, slot: int, worker: int, settlements: list[Settlement]
) -> set[tuple[int, int]]:
    """Move jobs out of their leases; returns the (lease, ordinal) pairs that moved, the others were lost."""
    params: dict[str, Any] = {
        "slot": slot,
        "worker": worker,
        "lease": [s.lease for s in settlements],
        "ord": [s.ord for s in settlements],
        "goes": [s.goes.value for s in settlements],
        "state": [str(s.state) for s in settlements],
        "delay_s": [float(s.delay_s) for s in settlements],
        "attempt": [s.attempt for s in settlements],
        "meta": [None if s.meta is None else orjson.dumps(s.meta).decode() for s in settlements],
        "keep_s": [s.keep_s for s in settlements],
        "task": [s.task for s in settlements],
        "payload": [s.payload for s in settlements],
        "result": [s.result for s in settlements],
        "frees": [frees_key(s) for s in settlements],
        "advances": [advances(s) for s in settlements],
    }
    cur = await conn.execute(statement("settle_jobs_if_leased"), params)
    return {(row[0], row[1]) for row in await cur.fetchall()}
