"""Settling claimed jobs: moving them out of their leases to wherever they go.

`settle` is the statement. `settle_each` does the same for jobs of strangers: what cannot be written costs that job
alone, which is then kept as failed, with the reason, in the first form that can be written.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import orjson
from psycopg import AsyncConnection
from psycopg.errors import UniqueViolation

from fastq.ends.outcome import MOST_ATTEMPT, plainer
from fastq.ends.settlement import Settlement
from fastq.protocol.leases import repair
from fastq.protocol.ordered import advances
from fastq.protocol.refusal import apart, is_refusal, reason_of
from fastq.sql import statement
from fastq.states import Goes

Place = tuple[int, int]
"""A lease, and the place of a job in it."""

Note = Callable[[Settlement, BaseException, Settlement | None], None]
"""Is called with a settlement that could not be written, why, and what was written instead, if anything could."""

_LAST = (Goes.FINISHED, Goes.DONE)


def frees_key(settlement: Settlement) -> bool:
    """Tell whether a job that goes there gives its unique key back."""
    return settlement.goes in _LAST and settlement.meta is not None and "unique" in settlement.meta


async def settle(
    conn: AsyncConnection[Any], *, shard: int, worker: int, settlements: Sequence[Settlement]
) -> set[Place]:
    """Move jobs out of their leases; returns the places of those that moved, the others were lost."""
    params: dict[str, Any] = {
        "shard": shard,
        "worker": worker,
        "lease": [s.lease for s in settlements],
        "ord": [s.ord for s in settlements],
        "goes": [s.goes.value for s in settlements],
        "state": [str(s.state) for s in settlements],
        "delay_s": [float(s.delay_s) for s in settlements],
        "attempt": [min(max(0, s.attempt), MOST_ATTEMPT) for s in settlements],
        "meta": [None if s.meta is None else orjson.dumps(s.meta).decode() for s in settlements],
        "keep_s": [s.keep_s for s in settlements],
        "task": [s.task for s in settlements],
        "payload": [s.payload for s in settlements],
        "result": [s.result for s in settlements],
        "frees": [frees_key(s) for s in settlements],
        "advances": [advances(s) for s in settlements],
        "anew": [s.anew for s in settlements],
        "ran_ms": [s.ran_ms for s in settlements],
        "recalls": [s.recalls for s in settlements],
    }
    cur = await conn.execute(statement("settle_jobs_if_leased"), params)
    return {(row[0], row[1]) for row in await cur.fetchall()}


STUCK_MOST = 100
"""If so many jobs of one call can be written in no form, it is not them that are at fault."""


async def settle_each(
    conn: AsyncConnection[Any], *, shard: int, worker: int, settlements: Sequence[Settlement], note: Note
) -> set[Place]:
    """As `settle`, but what is refused costs the job alone. What cannot be written in any form stays in its lease.

    Raises:
        Exception: STUCK_MOST jobs cannot be written: why.

    """
    write = _Write(conn, shard, worker, note)
    await write.all(settlements)
    return write.moved


class _Write:
    """One call of `settle_each`."""

    def __init__(self, conn: AsyncConnection[Any], shard: int, worker: int, note: Note) -> None:
        self._conn = conn
        self._shard = shard
        self._worker = worker
        self._note = note
        self.moved: set[Place] = set()
        self._stuck = 0

    async def all(self, settlements: Sequence[Settlement]) -> None:
        """Write all of them at once; if they are refused, look whether their leases are at fault, then halve them."""
        if await self._try(settlements) is None:
            return
        leases = sorted({settlement.lease for settlement in settlements})
        await repair(self._conn, shard=self._shard, worker=self._worker, leases=leases)
        rest = [settlements]
        while rest:
            part = rest.pop()
            why = await self._try(part)
            if why is not None and len(part) == 1:
                await self._plainer(part[0], why)
            elif why is not None:
                half = len(part) // 2
                rest += [part[half:], part[:half]]

    async def _try(self, settlements: Sequence[Settlement]) -> Exception | None:
        """Write some settlements, all or none; return why they were refused."""
        try:
            async with apart(self._conn):
                self.moved |= await settle(self._conn, shard=self._shard, worker=self._worker, settlements=settlements)
        except Exception as exc:
            if not is_refusal(exc):
                raise
            return exc
        return None

    async def _plainer(self, settlement: Settlement, why: Exception) -> None:
        for plain in plainer(settlement, reason_of(why), taken=isinstance(why, UniqueViolation)):
            if await self._try([plain]) is None:
                self._note(settlement, why, plain)
                return
        self._stuck += 1
        if self._stuck >= STUCK_MOST:
            raise why
        self._note(settlement, why, None)
