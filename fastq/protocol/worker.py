"""The life of a worker row: registered, renewed by the steward, deleted on a clean exit."""

from __future__ import annotations

from typing import Any

from psycopg import AsyncConnection

from fastq.sql import statement


async def register(conn: AsyncConnection[Any], *, host: str, pid: int, name: str, lease_s: float, slots: int) -> int:
    """Announce this process in every slot; returns its worker id, never used before."""
    params = {"host": host, "pid": pid, "name": name, "lease_s": lease_s, "slots": slots}
    row = await (await conn.execute(statement("register_worker"), params)).fetchone()
    if row is None:
        raise AssertionError("register_worker inserts at least one row")
    return int(row[0])


async def renew(conn: AsyncConnection[Any], *, slot: int, workers: dict[int, str], lease_s: float) -> set[int]:
    """Prolong workers, given by id with their counters as JSON; returns those that were still alive."""
    if not workers:
        return set()
    params = {"slot": slot, "workers": list(workers), "counters": list(workers.values()), "lease_s": lease_s}
    cur = await conn.execute(statement("renew_workers_if_alive"), params, prepare=True)
    return {row[0] for row in await cur.fetchall()}


async def is_alive(conn: AsyncConnection[Any], *, worker: int, slots: int) -> bool:
    """Tell whether the fleet still counts on a worker, in every slot."""
    for slot in range(slots):
        cur = await conn.execute(statement("find_live_worker"), {"slot": slot, "worker": worker})
        if await cur.fetchone() is None:
            return False
    return True


async def unregister(conn: AsyncConnection[Any], *, worker: int, slots: int) -> None:
    """Delete a worker's rows, except where it still holds leases: those are reaped when it is gone."""
    for slot in range(slots):
        who = {"slot": slot, "worker": worker}
        async with conn.transaction():
            await conn.execute(statement("lock_worker"), who)
            await conn.execute(statement("delete_worker"), who)
