"""The life of a worker row: registered, renewed by the steward, deleted on a clean exit."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any, NamedTuple

import orjson
from psycopg import AsyncConnection, Connection

from fastq.postgres.away import absent
from fastq.protocol.asking import Request, carry_out_sync, only
from fastq.protocol.looks import call, look
from fastq.protocol.shards import Shards
from fastq.sql import on_cluster, statement


async def register(
    conn: AsyncConnection[Any],
    *,
    host: str,
    pid: int,
    name: str,
    lease_s: float,
    shards: int,
    about: Mapping[str, Any] | None = None,
) -> int:
    """Announce this process in every shard, with what it tells `about` itself; returns its id, never used before.

    On a cluster those shards are left out that are away.
    """
    if on_cluster():
        ((worker, _),) = await (await conn.execute(statement("take_worker_id"))).fetchall()
        await enlist(
            conn, worker=worker, host=host, pid=pid, name=name, lease_s=lease_s, shards=range(shards), about=about
        )
        return int(worker)
    told = None if about is None else orjson.dumps(about).decode()
    params = {"host": host, "pid": pid, "name": name, "lease_s": lease_s, "shards": shards, "about": told}
    row = await (await conn.execute(statement("register_worker"), params)).fetchone()
    if row is None:
        raise AssertionError("register_worker inserts at least one row")
    return int(row[0])


async def enlist(
    conn: AsyncConnection[Any],
    *,
    worker: int,
    host: str,
    pid: int,
    name: str,
    lease_s: float,
    shards: Iterable[int],
    about: Mapping[str, Any] | None,
) -> set[int]:
    """Announce a worker in some shards of a cluster; returns those that are away."""
    told = None if about is None else orjson.dumps(about).decode()
    params = {"worker": worker, "host": host, "pid": pid, "name": name, "lease_s": lease_s, "about": told}
    wanted = set(shards)
    await look(conn, "enlist_worker", params, sorted(wanted))
    known = await look(conn, "find_worker", {"worker": worker}, sorted(wanted))
    return wanted - {shard for shard, _ in known}


async def renew(conn: AsyncConnection[Any], *, shard: int, workers: dict[int, str], lease_s: float) -> dict[int, float]:
    """Prolong workers, given by id with their counters as JSON; returns those still listed, with the server's time."""
    if not workers:
        return {}
    params = {"shard": shard, "workers": list(workers), "counters": list(workers.values()), "lease_s": lease_s}
    cur = await conn.execute(statement("renew_workers_if_alive"), params, prepare=True)
    return dict(await cur.fetchall())


class Renewed(NamedTuple):
    """In how many shards a worker is still listed, and the server's time."""

    shards: int
    now_s: float


async def renew_all(
    conn: AsyncConnection[Any], *, shards: Shards, workers: dict[int, str], lease_s: float
) -> dict[int, Renewed]:
    """As `renew`, in many shards."""
    if not workers:
        return {}
    if len(shards) == 1:
        alive = await renew(conn, shard=0, workers=workers, lease_s=lease_s)
        return {worker: Renewed(1, now_s) for worker, now_s in alive.items()}
    params = {"workers": list(workers), "counters": list(workers.values()), "lease_s": lease_s}
    times = [(worker, now_s) for _, worker, now_s in await call(conn, "renew_workers_if_alive", params, shards)]
    seen = Counter(worker for worker, _ in times)
    return {worker: Renewed(seen[worker], now_s) for worker, now_s in times}


@dataclass(frozen=True, slots=True, kw_only=True)
class Resize:
    """An order for so many `processes`, each with so many jobs at once; 0: as it is. Later ones have higher numbers."""

    number: int
    processes: int
    concurrency: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Orders:
    """What somebody has asked of a supervisor."""

    draining: bool
    resize: Resize | None


async def orders(conn: AsyncConnection[Any], *, workers: list[int]) -> Orders:
    """Return what the supervisor of some workers was asked for: their rows in shard 0 say so."""
    cur = await conn.execute(statement("list_orders"), {"shard": 0, "workers": workers}, prepare=True)
    rows = await cur.fetchall()
    resizes = [
        Resize(number=_told(number, 1 << 62), processes=_told(processes, 1024), concurrency=_told(concurrency, 10_000))
        for _, number, processes, concurrency in rows
    ]
    return Orders(
        draining=any(row[0] for row in rows),
        resize=max(resizes, key=lambda order: order.number, default=None),
    )


def _told(text: str | None, most: int) -> int:
    """Return a number as it stands in a row, where anything may stand; 0 if it is none up to `most`."""
    number = int(text) if text and text.isascii() and text.isdigit() and len(text) < 20 else 0
    return number if number <= most else 0


def resize(conn: Connection[Any], host: str | None, *, processes: int | None, concurrency: int | None) -> int:
    """Ask the supervisors of a host, or of all, for so many processes and jobs at once; returns how many workers."""
    params = {"host": host, "processes": processes, "concurrency": concurrency}
    return int(carry_out_sync(conn, Request("resize_workers", params, only)))


def drain(conn: Connection[Any], host: str | None) -> int:
    """Ask the supervisors of a host, or of all, to drain; returns how many workers were asked."""
    return int(carry_out_sync(conn, Request("drain_workers", {"host": host}, only)))


class Standing(Enum):
    """How a worker stands with the fleet."""

    IN_TIME = "in time"
    LATE = "late"
    GONE = "gone"


async def standing(conn: AsyncConnection[Any], *, worker: int, shards: Shards) -> Standing:
    """Tell how a worker stands, by its worst shard; a late one may still be renewed, or reaped."""
    rows = await look(conn, "find_worker", {"worker": worker}, shards)
    if len(rows) < len(absent.present(shards)):
        return Standing.GONE
    return Standing.IN_TIME if all(in_time for _, in_time in rows) else Standing.LATE


async def join(conn: AsyncConnection[Any], *, worker: int, since: int, shards: int) -> bool:
    """Announce a worker in the shards from `since` on, as it stands in the first; False if it was given up."""
    cur = await conn.execute(statement("join_shards"), {"shard": 0, "worker": worker, "since": since, "shards": shards})
    return cur.rowcount > 0


async def unregister(conn: AsyncConnection[Any], *, worker: int, shards: Shards) -> bool:
    """Delete a worker's rows; False if one stays, because leases are left there: they are to be reaped."""
    left = 0
    for shard in absent.present(shards):
        who = {"shard": shard, "worker": worker}
        async with conn.transaction():
            there = (await conn.execute(statement("lock_worker"), {**who, "expired": False})).rowcount
            left += there - (await conn.execute(statement("delete_worker"), who)).rowcount
    return not left
