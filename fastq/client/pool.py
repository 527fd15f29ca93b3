"""A few connections that many share. They are opened when they are wanted, so that an error comes at once and says why,
and closed when nobody has wanted them for a while.

A connection is looked at before it is given out. One that the server has closed meanwhile is thrown away before
anything was sent through it: then it is known that nothing happened.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager, nullcontext, suppress
from math import inf

import psycopg

from fastq.backoff import full_jitter_s
from fastq.client.idle import Idle, alive, reusable
from fastq.client.shared import Shared, Use, busy
from fastq.config import PoolConfig
from fastq.errors import DatabaseUnreachable
from fastq.postgres import database
from fastq.postgres.database import Connection
from fastq.schema import migrator

BUSY_S = 30.0
"""How long to wait while all connections are in use."""

_SEAT_S = 0.01
"""So often it is looked whether there is a seat."""

_APPLICATION = "fastq producer"
_END_TRIES = 20


def _busy(most: int) -> DatabaseUnreachable:
    return busy(most, "this process", BUSY_S)


class AsyncPool:
    """The asynchronous connections of one event loop."""

    def __init__(self, dsn: str, config: PoolConfig, *, suits: bool = False) -> None:
        self._dsn = dsn
        self._most = config.most
        self._places = [asyncio.Semaphore(config.most - use) for use in Use]
        self._idle: Idle[database.AsyncConnection] = Idle(config)
        self._shared = Shared(config.seats)
        self._timer: asyncio.TimerHandle | None = None
        self._closed = False
        self._suits = suits
        """Whether the schema has been seen to suit this code: before the first enqueue, or by a worker at its start."""
        self._closing: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def connection(self, use: Use) -> AsyncIterator[database.AsyncConnection]:
        """Give a connection in autocommit mode, to one at a time.

        Raises:
            DatabaseUnreachable: none can be made, or all were in use for BUSY_S.

        """
        taken: list[asyncio.Semaphore] = []
        try:
            places = self._places[use::-1]
            try:
                async with asyncio.timeout(BUSY_S) if any(place.locked() for place in places) else nullcontext():
                    for place in places:
                        await place.acquire()
                        taken.append(place)
            except TimeoutError:
                raise _busy(self._most) from None
            conn = await self._take(use)
            try:
                if not self._suits:
                    await self._check(conn)
                yield conn
            finally:
                await self._put_back(conn)
        finally:
            for place in taken:
                place.release()

    async def _take(self, use: Use) -> database.AsyncConnection:
        until, fits = time.monotonic() + BUSY_S, self._shared.fits(use)
        while True:
            while (conn := self._idle.take(fits)) is not None:
                if alive(conn) and not database.left_behind(conn):
                    return conn
                await self._let_go(conn)
            may, seat = self._shared.take(use)
            if may:
                return await self._open(seat)
            if time.monotonic() >= until:
                raise self._shared.busy(BUSY_S)
            await asyncio.sleep(_SEAT_S)

    async def _open(self, seat: int | None) -> database.AsyncConnection:
        try:
            conn = await database.connect_async(self._dsn, _APPLICATION)
        except BaseException:
            self._shared.give(seat)
            raise
        conn.patience_s, conn.seat = inf, seat
        return conn

    async def _put_back(self, conn: database.AsyncConnection) -> None:
        if reusable(conn) and not self._closed:
            self._idle.put(conn)
            self._watch()
            return
        if not reusable(conn):
            self._spawn(self._end(conn), "fastq-end-session")
        await self._let_go(conn)

    async def _let_go(self, conn: database.AsyncConnection) -> None:
        try:
            await conn.close()
        finally:
            self._shared.give(conn.seat)

    async def _end(self, lost: database.AsyncConnection) -> None:
        """See to it that what was cut off in the middle holds no locks on the server, where that can be reached."""
        for failures in range(1, _END_TRIES + 1):
            try:
                async with await database.connect_async(self._dsn, _APPLICATION) as conn:
                    await database.end_session(conn, lost)
                    return
            except (psycopg.Error, DatabaseUnreachable):
                await asyncio.sleep(full_jitter_s(failures))

    async def _check(self, conn: database.AsyncConnection) -> None:
        """See whether the schema suits this code."""
        try:
            with database.answering(conn):
                await migrator.check_producer_async(conn)
        except psycopg.OperationalError as exc:
            raise database.unreachable(exc) from None
        self._suits = True

    def _watch(self) -> None:
        """See to it that what nobody wants any more is closed."""
        if self._timer is None and (next_s := self._idle.next_s) is not None:
            self._timer = asyncio.get_running_loop().call_later(next_s, self._look)

    def _look(self) -> None:
        self._timer = None
        self._spawn(self._give_back(), "fastq-give-back")

    async def _give_back(self) -> None:
        for conn in self._idle.take_old():
            await self._let_go(conn)
        self._watch()

    def _spawn(self, work: Coroutine[None, None, None], name: str) -> None:
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)

    async def close(self) -> None:
        """Close the connections; those in use are closed when they come back. May be called twice."""
        self._closed = True
        if self._timer is not None:
            self._timer.cancel()
        for closing in self._closing:
            closing.cancel()
        for conn in self._idle.take_all():
            await self._let_go(conn)


class SyncPool:
    """Synchronous connections, for any number of threads."""

    def __init__(self, dsn: str, config: PoolConfig, *, suits: bool = False) -> None:
        self._dsn = dsn
        self._most = config.most
        self._places = [threading.Semaphore(config.most - use) for use in Use]
        self._idle: Idle[Connection] = Idle(config)
        self._shared = Shared(config.seats)
        self._lock = threading.Lock()
        self._timer: threading.Timer | None = None
        self._closed = False
        self._suits = suits

    @contextmanager
    def connection(self, use: Use) -> Iterator[Connection]:
        """Give a connection in autocommit mode, to one thread at a time.

        Raises:
            DatabaseUnreachable: none can be made, or all were in use for BUSY_S.

        """
        taken = self._acquire(use)
        try:
            conn = self._take(use)
            try:
                if not self._suits:
                    self._check(conn)
                yield conn
            finally:
                self._put_back(conn)
        finally:
            for place in taken:
                place.release()

    def _acquire(self, use: Use) -> list[threading.Semaphore]:
        until = time.monotonic() + BUSY_S
        taken: list[threading.Semaphore] = []
        for place in self._places[use::-1]:
            if not place.acquire(timeout=max(0.0, until - time.monotonic())):
                for other in taken:
                    other.release()
                raise _busy(self._most)
            taken.append(place)
        return taken

    def _take(self, use: Use) -> Connection:
        until, fits = time.monotonic() + BUSY_S, self._shared.fits(use)
        while True:
            while (conn := self._pop(fits)) is not None:
                if alive(conn) and not database.left_behind(conn):
                    return conn
                self._let_go(conn)
            may, seat = self._shared.take(use)
            if may:
                return self._open(seat)
            if time.monotonic() >= until:
                raise self._shared.busy(BUSY_S)
            time.sleep(_SEAT_S)

    def _open(self, seat: int | None) -> Connection:
        try:
            conn = database.connect(self._dsn, _APPLICATION)
        except BaseException:
            self._shared.give(seat)
            raise
        conn.patience_s, conn.seat = inf, seat
        return conn

    def _let_go(self, conn: Connection) -> None:
        try:
            conn.close()
        finally:
            self._shared.give(conn.seat)

    def _check(self, conn: Connection) -> None:
        """See whether the schema suits this code."""
        try:
            with database.answering(conn):
                migrator.check_producer(conn)
        except psycopg.OperationalError as exc:
            raise database.unreachable(exc) from None
        self._suits = True

    def _pop(self, fits: Callable[[Connection], bool]) -> Connection | None:
        with self._lock:
            return self._idle.take(fits)

    def _put_back(self, conn: Connection) -> None:
        with self._lock:
            if not self._closed and reusable(conn):
                self._idle.put(conn)
                self._watch()
                return
        self._let_go(conn)

    def _watch(self) -> None:
        """See to it that what nobody wants any more is closed: by a thread, as there is no event loop."""
        if self._timer is None and (next_s := self._idle.next_s) is not None:
            timer = threading.Timer(next_s, self._give_back)
            timer.daemon = True
            with suppress(RuntimeError):  # the interpreter is ending, and no thread can be started
                timer.start()
                self._timer = timer

    def _give_back(self) -> None:
        with self._lock:
            old = self._idle.take_old()
            self._timer = None
            if not self._closed:
                self._watch()
        for conn in old:
            self._let_go(conn)

    def close(self) -> None:
        """Close the connections; those in use are closed when they come back. May be called twice."""
        with self._lock:
            self._closed = True
            idle = self._idle.take_all()
            if self._timer is not None:
                self._timer.cancel()
        for conn in idle:
            self._let_go(conn)
