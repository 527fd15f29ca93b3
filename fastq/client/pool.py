"""A few connections that many share. They are opened when they are wanted, so that an error comes at once and says why.

A connection is looked at before it is given out. One that the server has closed meanwhile is thrown away before
anything was sent through it: then it is known that nothing happened.
"""

from __future__ import annotations

import asyncio
import select
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import psycopg
from psycopg.pq import TransactionStatus

from fastq import database
from fastq.backoff import full_jitter_s
from fastq.database import Connection
from fastq.errors import DatabaseUnreachable

BUSY_S = 30.0
"""How long to wait while all connections are in use."""

_APPLICATION = "fastq producer"
_END_TRIES = 20


def _alive(conn: psycopg.BaseConnection[Any]) -> bool:
    """Tell whether the server has left an idle connection open: it has nothing to say on it but its last words.

    Sends nothing, and costs 2 µs.
    """
    if conn.closed:
        return False
    if sys.platform == "win32":
        return not select.select([conn.fileno()], [], [], 0)[0]
    poll = select.poll()
    poll.register(conn.fileno(), select.POLLIN)
    return not poll.poll(0)


def _reusable(conn: psycopg.BaseConnection[Any]) -> bool:
    return not conn.closed and conn.info.transaction_status == TransactionStatus.IDLE


def _busy(size: int) -> DatabaseUnreachable:
    return DatabaseUnreachable(f"all {size} connections of this process were in use for {BUSY_S:.0f} s")


class AsyncPool:
    """At most `size` asynchronous connections."""

    def __init__(self, dsn: str, size: int) -> None:
        self._dsn = dsn
        self._size = size
        self._places = asyncio.Semaphore(size)
        self._idle: list[database.AsyncConnection] = []
        self._closed = False
        self._ending: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[database.AsyncConnection]:
        """Give a connection in autocommit mode, to one at a time.

        Raises:
            DatabaseUnreachable: none can be made, or all were in use for BUSY_S.

        """
        try:
            async with asyncio.timeout(BUSY_S):
                await self._places.acquire()
        except TimeoutError:
            raise _busy(self._size) from None
        try:
            conn = await self._take()
            try:
                yield conn
            finally:
                await self._put_back(conn)
        finally:
            self._places.release()

    async def _take(self) -> database.AsyncConnection:
        while self._idle:
            conn = self._idle.pop()
            if _alive(conn):
                return conn
            await conn.close()
        return await database.connect_async(self._dsn, _APPLICATION)

    async def _put_back(self, conn: database.AsyncConnection) -> None:
        if _reusable(conn) and not self._closed:
            self._idle.append(conn)
            return
        if not _reusable(conn):
            ending = asyncio.create_task(self._end(conn), name="fastq-end-session")
            self._ending.add(ending)
            ending.add_done_callback(self._ending.discard)
        await conn.close()

    async def _end(self, lost: database.AsyncConnection) -> None:
        """See to it that what was cut off in the middle holds no locks on the server, where that can be reached."""
        for failures in range(1, _END_TRIES + 1):
            try:
                async with await database.connect_async(self._dsn, _APPLICATION) as conn:
                    await database.end_session(conn, lost)
                    return
            except (psycopg.Error, DatabaseUnreachable):
                await asyncio.sleep(full_jitter_s(failures))

    async def close(self) -> None:
        """Close the connections; those in use are closed when they come back. May be called twice."""
        self._closed = True
        for ending in self._ending:
            ending.cancel()
        while self._idle:
            await self._idle.pop().close()


class SyncPool:
    """At most `size` synchronous connections, for any number of threads."""

    def __init__(self, dsn: str, size: int) -> None:
        self._dsn = dsn
        self._size = size
        self._places = threading.Semaphore(size)
        self._idle: list[Connection] = []
        self._lock = threading.Lock()
        self._closed = False

    @contextmanager
    def connection(self) -> Iterator[Connection]:
        """Give a connection in autocommit mode, to one thread at a time.

        Raises:
            DatabaseUnreachable: none can be made, or all were in use for BUSY_S.

        """
        if not self._places.acquire(timeout=BUSY_S):
            raise _busy(self._size)
        try:
            conn = self._take()
            try:
                yield conn
            finally:
                self._put_back(conn)
        finally:
            self._places.release()

    def _take(self) -> Connection:
        while (conn := self._pop()) is not None:
            if _alive(conn):
                return conn
            conn.close()
        return database.connect(self._dsn, _APPLICATION)

    def _pop(self) -> Connection | None:
        with self._lock:
            return self._idle.pop() if self._idle else None

    def _put_back(self, conn: Connection) -> None:
        with self._lock:
            if not self._closed and _reusable(conn):
                self._idle.append(conn)
                return
        conn.close()

    def close(self) -> None:
        """Close the connections; those in use are closed when they come back. May be called twice."""
        with self._lock:
            self._closed = True
            idle, self._idle = self._idle, []
        for conn in idle:
            conn.close()
