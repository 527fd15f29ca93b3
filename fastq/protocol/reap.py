"""Giving back what a dead worker held. Any steward may do it; a lock on the worker's row lets one do it at a time."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any

import orjson
from psycopg import AsyncConnection

from fastq.ends import meta
from fastq.ends.settlement import LeasedJob, Settlement
from fastq.protocol import ordered
from fastq.protocol.leases import repair
from fastq.protocol.looks import look
from fastq.protocol.refusal import BY_THE_SERVER
from fastq.protocol.settle import Note, settle_each
from fastq.sql import statement
from fastq.states import Goes

Verdict = Callable[[LeasedJob], Settlement]
"""Says where an unfinished job of a dead worker goes: `fastq.ends.outcome.conclude`."""


def _unheard(tried: Settlement, why: BaseException, written: Settlement | None) -> None:
    """Take no note."""


async def expired_workers(conn: AsyncConnection[Any], *, shards: Iterable[int]) -> list[tuple[int, int]]:
    """Return shards and the workers whose time has run out there."""
    return [(shard, worker) for shard, worker in await look(conn, "list_expired_workers", {}, shards)]


async def reap(
    conn: AsyncConnection[Any],
    *,
    shard: int,
    worker: int,
    verdict: Verdict,
    expired: bool = False,
    may: Callable[[], bool] = lambda: True,
    note: Note = _unheard,
) -> int | None:
    """Settle all unfinished jobs of a dead worker and delete its leases and its row, in one transaction.

    `expired`: only if its time has run out and it was not renewed since. `may` is asked once the worker's row is
    locked, when nothing is left to wait for. Returns how many jobs went back; None when nothing was reaped.

    A job that cannot be written in any form is reported to `note` and stays, with its lease and the worker's row, for
    the next time; all others go.
    """
    who = {"shard": shard, "worker": worker}
    stuck: set[int] = set()

    def noted(tried: Settlement, why: BaseException, written: Settlement | None) -> None:
        if written is None:
            stuck.add(tried.lease)
        note(tried, why, written)

    async with conn.transaction():
        locked = await (await conn.execute(statement("lock_worker"), {**who, "expired": expired})).fetchone()
        if locked is None or not may():
            return None
        leases = [row[0] for row in await (await conn.execute(statement("lock_leases"), who)).fetchall()]
        jobs = [verdict(job) for job in await _unfinished(conn, who, leases, noted)]
        moved = await settle_each(conn, **who, settlements=jobs, note=noted) if jobs else ()
        await _advance_completed(conn, who)
        await conn.execute(statement("delete_leases"), {**who, "stuck": list(stuck)})
        await conn.execute(statement("delete_worker"), who)
    return len(moved)


async def _unfinished(
    conn: AsyncConnection[Any], who: dict[str, int], leases: list[int], note: Note
) -> list[LeasedJob]:
    """Return the unfinished jobs of a worker, also where a lease has to be mended for that, without those of no use."""
    with suppress(*BY_THE_SERVER):
        return await _listed(conn, who, leases)
    await repair(conn, shard=who["shard"], worker=who["worker"])
    jobs = []
    for lease in leases:
        try:
            jobs += await _listed(conn, who, [lease])
        except BY_THE_SERVER as exc:
            note(Settlement(lease=lease, ord=0, goes=Goes.READY), exc, None)
    return jobs


async def _listed(conn: AsyncConnection[Any], who: dict[str, int], leases: list[int]) -> list[LeasedJob]:
    async with conn.transaction():
        cur = await conn.execute(statement("list_leased_jobs"), {**who, "leases": leases})
        return [_leased(row) for row in await cur.fetchall()]


def _leased(row: tuple[Any, ...]) -> LeasedJob:
    lease, ordinal, job, task, attempt, meta_text, checkpoint, retries, cancelled, queue = row
    rare, unreadable = None, ""
    try:
        rare = None if meta_text is None else meta.read(orjson.loads(meta_text))
        if checkpoint is not None:
            rare = {**(rare or {}), "checkpoint": orjson.loads(checkpoint)}
        if retries is not None:
            rare = {**(rare or {}), "retries": retries}
    except orjson.JSONDecodeError as exc:
        unreadable = f"the meta cannot be decoded: {exc}"
    return LeasedJob(
        lease=lease,
        ord=ordinal,
        id=job,
        task=task,
        attempt=attempt,
        meta=rare,
        cancelled=cancelled,
        queue=queue,
        unreadable=unreadable or (rare or {}).get("unreadable", ""),
    )


async def _advance_completed(conn: AsyncConnection[Any], who: dict[str, int]) -> None:
    """Let lines go on whose heads completed; where one of them cannot, that is left to the leader."""
    with suppress(*BY_THE_SERVER):
        async with conn.transaction():
            await ordered.advance_completed(conn, **who)
