"""Operations that are cut off: their connection breaks at the n-th exchange with the server."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from time import monotonic
from typing import Any

import psycopg
from psycopg import AsyncConnection
from scene import DEADLINE_S, Conn, ask

CutOff = (psycopg.OperationalError, psycopg.InterfaceError)


class Doomed(AsyncConnection[Any]):
    """Breaks at exchange `at`, counted from 1: before it is sent, or when it has happened but was not answered."""

    at = 0
    happens = False

    async def wait(self, gen: Any, interval: float = 0.1) -> Any:
        """Wait as ever, but for the last time."""
        self.at -= 1
        if self.at:
            return await super().wait(gen, interval)
        if self.happens:
            await super().wait(gen, interval)
        self.pgconn.finish()
        raise psycopg.OperationalError("the connection was cut")


async def cut(watch: Conn, dsn: str, work: Callable[[Conn], Awaitable[Any]], *, at: int, happens: bool) -> bool:
    """Do `work` on a connection that breaks; True if it was through before. Returns when the server has noticed."""
    conn = await Doomed.connect(dsn, autocommit=True)
    pid, conn.at, conn.happens = conn.info.backend_pid, at, happens
    try:
        await work(conn)
    except CutOff:
        through = False
    else:
        through = True
    await conn.close()
    deadline = monotonic() + DEADLINE_S
    while await ask(watch, "select from pg_stat_activity where pid = %s", pid):
        assert monotonic() < deadline, "the server does not notice that a client is gone"
        await asyncio.sleep(0.001)
    return through
