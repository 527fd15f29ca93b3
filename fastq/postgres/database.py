"""Turns a found DSN into one that can be connected to: starts and migrates the embedded server when none is given."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import time
from collections.abc import AsyncIterator, Generator, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager, nullcontext, suppress
from math import inf
from typing import Any

import psycopg
from psycopg import conninfo

from fastq.config import Dsn, DsnSource
from fastq.errors import DatabaseUnreachable, SchemaError, UsageError
from fastq.postgres import opening
from fastq.postgres.hosts import LOOK_S, Elsewhere, Hosts, elsewhere, pauses
from fastq.postgres.session import ENCODING, Session, greeting, session
from fastq.schema import migrator
from fastq.sql import statement
from fastq.sql.naming import named

log = logging.getLogger("fastq.postgres")

KEEPALIVE = {"keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 3, "tcp_user_timeout": 25_000}
CONNECT_TIMEOUT_S = 10
_CLOCKS_APART_S = 0.5
ANSWER_S = 30.0
"""How long our own statements may take; then the connection counts as deaf and is cut."""


def server(dsn: Dsn) -> str:
    """Return the connection string; starts the embedded server when it is that one.

    Raises:
        EmbeddedError: the embedded server cannot be started.

    """
    if dsn.source is not DsnSource.EMBEDDED:
        return dsn.value
    from fastq import embedded

    return embedded.ensure()


def reachable(dsn: Dsn) -> str:
    """As `server`, and bring the embedded server's schema up to date; anybody else's is migrated on demand only."""
    value = server(dsn)
    if dsn.source is DsnSource.EMBEDDED:
        with connect(value) as conn:
            migrator.migrate(conn)
    return value


def parameters(dsn: str, application: str) -> dict[str, Any]:
    """Return connection parameters: the DSN's own, and ours where it says nothing.

    Raises:
        UsageError: the DSN cannot be parsed; the message does not repeat it, since it may hold a password.

    """
    try:
        given = conninfo.conninfo_to_dict(dsn)
    except psycopg.ProgrammingError:
        raise UsageError(
            "the DSN is neither a postgresql:// URL nor key=value pairs (example: postgresql://user@host:5432/db)"
        ) from None
    if "@" in str(given.get("host") or "")[1:]:
        raise UsageError("the DSN's host has an @ in it: percent-encode the @ of the password as %40")
    ours = {"application_name": named(application), "connect_timeout": CONNECT_TIMEOUT_S, **KEEPALIVE}
    return {**ours, **given, "client_encoding": ENCODING}


def connect(dsn: str, application: str = "fastq") -> Connection:
    """Open a synchronous connection in autocommit mode.

    Raises:
        DatabaseUnreachable: nobody answers, or lets us in.
        SchemaError: the database's encoding cannot hold jobs.

    """
    hosts = Hosts(parameters(dsn, application))
    try:
        conn = opening.connect(Connection, hosts)
        try:
            _check_encoding(conn)
            conn.elsewhere = elsewhere(hosts, conn)
            _greeted(conn, conn.execute(statement("greet_server"), greeting(conn.info.backend_pid)).fetchone())
        except BaseException:
            conn.close()
            raise
    except psycopg.OperationalError as exc:
        opening.forget(exc)
        raise unreachable(exc) from None
    return conn


async def connect_async(dsn: str, application: str = "fastq") -> AsyncConnection:
    """As `connect`, asynchronous."""
    hosts = Hosts(parameters(dsn, application))
    try:
        conn = await opening.connect_async(AsyncConnection, hosts)
        try:
            _check_encoding(conn)
            conn.elsewhere = elsewhere(hosts, conn)
            conn.let_in = (conn.info.backend_pid, time.monotonic())
            answer = await conn.execute(statement("greet_server"), greeting(conn.info.backend_pid))
            _greeted(conn, await answer.fetchone())
        except BaseException:
            await conn.close()
            raise
    except psycopg.OperationalError as exc:
        opening.forget(exc)
        raise unreachable(exc) from None
    return conn


def _check_encoding(conn: Connection | AsyncConnection) -> None:
    """Refuse a database that cannot hold every character of a job: others would be lost, or stop who reads them."""
    encoding = conn.info.parameter_status("server_encoding")
    if encoding not in {None, ENCODING}:
        raise SchemaError(
            f"the database {conn.info.dbname!r} has the encoding {encoding}, and jobs need {ENCODING}; nothing was"
            f" written: use a database made by `create database … encoding '{ENCODING}' template template0`"
        )


def _greeted(conn: Connection | AsyncConnection, answer: tuple[Any, ...] | None) -> None:
    """Note what the session is like; through a pooler nothing is prepared."""
    assert answer is not None, "greet_server returns one row"
    process, theirs = answer[:2]
    conn.session = session(pooled=process != conn.info.backend_pid, theirs=theirs or {})
    if conn.session.pooled:
        conn.prepare_threshold = None


def unreachable(exc: BaseException) -> DatabaseUnreachable:
    """Return the error for a connection that could not be made; libpq's message holds no password."""
    return DatabaseUnreachable(f"cannot connect to PostgreSQL: {' '.join(str(exc).split()) or type(exc).__name__}")


class Connection(psycopg.Connection[Any]):
    """A synchronous connection that loses its patience inside `answering`.

    With an infinite patience it waits as long as no other host is the primary.
    """

    patience_s: float | None = None
    session = Session()
    elsewhere: Elsewhere | None = None
    seat: int | None = None
    """Which of the host's seats it has, where there are some."""

    def wait(self, gen: Any, *args: Any, **kwargs: Any) -> Any:
        """Wait for the server as psycopg does, if need be with a bound."""
        if self.patience_s is not None and (self.patience_s < inf or self.elsewhere is not None):
            gen = self._bounded(gen, self.patience_s)
        return super().wait(gen, *args, **kwargs)

    def _bounded(self, gen: Any, within_s: float) -> Generator[Any, int, Any]:
        """Run one of psycopg's exchanges; fail when the server has not answered in time, or another is the primary."""
        now, looks = time.monotonic(), pauses(within_s)
        until, look_at = now + within_s, now + next(looks)
        try:
            wanted = next(gen)
            while True:
                ready = yield wanted
                if not ready and time.monotonic() > until:
                    raise psycopg.OperationalError(f"the server did not answer within {within_s:.0f} s")
                if not ready and self.elsewhere is not None and time.monotonic() > look_at:
                    if self._has_moved(self.elsewhere):
                        raise psycopg.OperationalError("the server did not answer, and another one is the primary now")
                    look_at = time.monotonic() + next(looks)
                wanted = gen.send(ready)
        except StopIteration as end:
            return end.value

    def _has_moved(self, other: Elsewhere) -> bool:
        if other.left:
            return True
        try:
            with psycopg.connect(**other.ask, autocommit=True) as conn:
                _tell_of_move(self, other.found(conn))
                return True
        except psycopg.Error:
            return False


class AsyncConnection(psycopg.AsyncConnection[Any]):
    """As Connection, asynchronous."""

    patience_s: float | None = None
    session = Session()
    elsewhere: Elsewhere | None = None
    seat: int | None = None
    let_in = (0, 0.0)
    """The server's process, and when it had let us in, by time.monotonic()."""

    async def wait(self, gen: Any, *args: Any, **kwargs: Any) -> Any:
        """Wait for the server as psycopg does, if need be with a bound."""
        if self.patience_s is None or (self.patience_s == inf and self.elsewhere is None):
            return await super().wait(gen, *args, **kwargs)
        watch = Watch(self, self.patience_s)
        try:
            return await super().wait(gen, *args, **kwargs)
        finally:
            watch.cancel()


class Watch:
    """Cuts a connection on which an exchange takes too long, or whose server is not the primary any more."""

    __slots__ = ("_asking", "_conn", "_loop", "_pauses", "_timer", "_until")

    def __init__(self, conn: AsyncConnection, patience_s: float) -> None:
        self._conn = conn
        self._loop = asyncio.get_running_loop()
        self._until = self._loop.time() + patience_s
        self._pauses = pauses(patience_s)
        self._asking: asyncio.Task[None] | None = None
        self._wait()

    def cancel(self) -> None:
        """The exchange has ended."""
        self._timer.cancel()
        if self._asking is not None:
            self._asking.cancel()

    def _wait(self) -> None:
        left_s = self._until - self._loop.time()
        if self._conn.elsewhere is None or left_s < LOOK_S:
            self._timer = self._loop.call_later(left_s, _cut, self._conn)
        else:
            self._timer = self._loop.call_later(next(self._pauses), self._look, self._conn.elsewhere)

    def _look(self, other: Elsewhere) -> None:
        self._asking = self._loop.create_task(self._ask(other), name="fastq-ask-others")

    async def _ask(self, other: Elsewhere) -> None:
        moved = other.left
        if not moved:
            with suppress(psycopg.Error):
                async with await psycopg.AsyncConnection.connect(**other.ask, autocommit=True) as conn:
                    moved = True
                    _tell_of_move(self._conn, other.found(conn))
        if moved:
            _cut(self._conn)
        else:
            self._wait()


def _tell_of_move(conn: Connection | AsyncConnection, to: str) -> None:
    log.warning(
        "%s is the primary now, and %s:%d does not answer: what waits there is given up",
        to,
        conn.info.host,
        conn.info.port,
        extra={"per": to},
    )


def left_behind(conn: Connection | AsyncConnection) -> bool:
    """Tell whether another host is the primary by now, as far as this process knows."""
    return conn.elsewhere is not None and conn.elsewhere.left


def as_ours(conn: psycopg.AsyncConnection[Any]) -> AbstractAsyncContextManager[None]:
    """Let statements of ours on a connection of ours find the settings that they need: through a pooler, that may take
    a transaction.
    """
    assert isinstance(conn, AsyncConnection)
    return _ours(conn) if conn.session.transaction else nullcontext()


@asynccontextmanager
async def _ours(conn: AsyncConnection) -> AsyncIterator[None]:
    async with conn.transaction():
        await conn.execute(conn.session.transaction.encode())
        yield


@contextmanager
def as_ours_sync(conn: psycopg.Connection[Any]) -> Iterator[None]:
    """As as_ours, on a synchronous connection."""
    assert isinstance(conn, Connection)
    if not conn.session.transaction:
        yield
        return
    with conn.transaction():
        conn.execute(conn.session.transaction.encode())
        yield


async def end_session(conn: AsyncConnection, lost: AsyncConnection) -> None:
    """End the session behind a connection that was given up, if the server still has it; not through a pooler."""
    pid, opened_at = lost.let_in
    if not (lost.session.pooled or conn.session.pooled):
        age_s = time.monotonic() - opened_at - _CLOCKS_APART_S
        with answering(conn), suppress(psycopg.errors.InsufficientPrivilege):
            await conn.execute(statement("end_session"), {"pid": pid, "age_s": age_s})


@contextmanager
def answering(
    conn: psycopg.Connection[Any] | psycopg.AsyncConnection[Any], within_s: float = ANSWER_S
) -> Iterator[None]:
    """Give up on a connection of ours on which one exchange inside takes too long; it fails then as one that was lost.

    TCP cannot tell: where a pooler hangs or a proxy holds the line, the peer's kernel still answers for it.
    """
    assert isinstance(conn, Connection | AsyncConnection)
    before, conn.patience_s = conn.patience_s, within_s
    try:
        yield
    finally:
        conn.patience_s = before


def _cut(conn: AsyncConnection) -> None:
    if not conn.closed:
        with socket.socket(fileno=os.dup(conn.fileno())) as line:
            line.shutdown(socket.SHUT_RDWR)
