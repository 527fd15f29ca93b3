"""Takes readings around a measured stretch: time, WAL, CPU of server, workers and machine.

The server's CPU is that of the whole PostgreSQL: postmaster, every child of it, and, by the postmaster's account, the
children that ended meanwhile; less the bench's own connection. So is its WAL. Whatever else the server does at the same
time counts too. Known only where the server's processes are processes of this host, and this host is a Linux.
"""

from __future__ import annotations

import time
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import psycopg
from psycopg import Connection

from fastq.bench import proc
from fastq.bench.proc import HostCpu, Stat
from fastq.bench.statements import statement

_SAME_START_S = 5.0
N = TypeVar("N", int, float)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """The meters at one moment; None where something cannot be known."""

    at: float
    wal_bytes: int | None
    server_cpu_s: float | None
    worker_cpu_s: tuple[float | None, ...]
    host: HostCpu | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Spent:
    """What a stretch took: wall seconds, WAL bytes, CPU seconds; `host_busy` is the used share of all CPUs, 0 to 1."""

    wall_s: float
    wal_bytes: int | None
    server_cpu_s: float | None
    worker_cpu_s: float | None
    host_busy: float | None

    def per_job(self, jobs: int) -> dict[str, float | None]:
        """Return the figures per job that a result shows."""
        return {
            "wal_bytes_per_job": None if self.wal_bytes is None else self.wal_bytes / jobs,
            "server_cpu_us_per_job": None if self.server_cpu_s is None else self.server_cpu_s / jobs * 1e6,
            "worker_cpu_us_per_job": None if self.worker_cpu_s is None else self.worker_cpu_s / jobs * 1e6,
            "cpu_us_per_job": None
            if (both := _added([self.server_cpu_s, self.worker_cpu_s])) is None
            else both / jobs * 1e6,
        }


class Meter:
    """Reads the meters through one connection."""

    def __init__(self, conn: Connection[Any]) -> None:
        self._conn = conn
        self._backend = self._own_backend()

    def read(self, workers: Collection[int] = ()) -> Reading:
        """Read everything; `workers` are process ids of this host."""
        stats = [proc.stat(pid) for pid in workers]
        return Reading(
            at=time.monotonic(),
            wal_bytes=self._wal_bytes(),
            server_cpu_s=self._server_cpu_s(),
            worker_cpu_s=tuple(None if stat is None else stat.cpu_s for stat in stats),
            host=proc.host_cpu(),
        )

    def _wal_bytes(self) -> int | None:
        try:
            row = self._conn.execute(statement("read_wal")).fetchone()
        except psycopg.Error:
            return None
        return None if row is None else int(row[0])

    def _server_cpu_s(self) -> float | None:
        if self._backend is None or (own := proc.stat(self._backend.pid)) is None:
            return None
        postmaster = proc.stat(own.parent)
        while postmaster is not None:
            alive = sum(child.cpu_s for child in proc.children(postmaster.pid))
            before, postmaster = postmaster, proc.stat(own.parent)
            # A child that ends between the two looks is in neither; its parent's account of the dead moves then.
            if postmaster is not None and postmaster.children_cpu_s == before.children_cpu_s:
                return postmaster.cpu_s + postmaster.children_cpu_s + alive - own.cpu_s
        return None

    def _own_backend(self) -> Stat | None:
        """Return the process of this connection, if it is one of this host: same id, same start, a postgres."""
        row = self._conn.execute(statement("read_backend")).fetchone()
        boot = proc.boot_time()
        if row is None or row[1] is None or boot is None:
            return None
        found = proc.stat(int(row[0]))
        if found is None or "postgres" not in found.name:
            return None
        return found if abs(boot + found.started_at - float(row[1])) < _SAME_START_S else None


def between(before: Reading, after: Reading) -> Spent:
    """Return what was spent from one reading to the next. Pure."""
    return Spent(
        wall_s=after.at - before.at,
        wal_bytes=_less(after.wal_bytes, before.wal_bytes),
        server_cpu_s=_less(after.server_cpu_s, before.server_cpu_s),
        worker_cpu_s=_sum_of_differences(before.worker_cpu_s, after.worker_cpu_s),
        host_busy=_host_busy(before.host, after.host),
    )


def total(parts: Sequence[Spent]) -> Spent:
    """Return what was spent in several stretches together; unknown where it is unknown in one of them. Pure."""
    wall_s = sum(part.wall_s for part in parts)
    busy = _added([None if part.host_busy is None else part.host_busy * part.wall_s for part in parts])
    return Spent(
        wall_s=wall_s,
        wal_bytes=_added([part.wal_bytes for part in parts]),
        server_cpu_s=_added([part.server_cpu_s for part in parts]),
        worker_cpu_s=_added([part.worker_cpu_s for part in parts]),
        host_busy=None if busy is None or not wall_s else busy / wall_s,
    )


def _added(values: Sequence[N | None]) -> N | None:
    known = [value for value in values if value is not None]
    return sum(known[1:], known[0]) if known and len(known) == len(values) else None


def _less(after: N | None, before: N | None) -> N | None:
    return None if after is None or before is None else after - before


def _sum_of_differences(before: tuple[float | None, ...], after: tuple[float | None, ...]) -> float | None:
    spent = [_less(late, early) for early, late in zip(before, after, strict=True)]
    known = [value for value in spent if value is not None]
    return sum(known) if known and len(known) == len(spent) else None


def _host_busy(before: HostCpu | None, after: HostCpu | None) -> float | None:
    if before is None or after is None or after.total_s <= before.total_s:
        return None
    return (after.busy_s - before.busy_s) / (after.total_s - before.total_s)
