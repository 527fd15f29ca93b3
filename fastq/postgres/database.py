"""Turns a found DSN into one that can be connected to: starts and migrates the embedded server when none is given."""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections.abc import AsyncIterator, Generator, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager, nullcontext, suppress
from typing import Any

import psycopg
from psycopg import conninfo

from fastq.config import Dsn, DsnSource
from fastq.errors import DatabaseUnreachable, SchemaError, UsageError
from fastq.postgres.session import ENCODING, Session, greeting, session
from fastq.schema import migrator
from fastq.sql import statement

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
    ours = {"application_name": application, "connect_timeout": CONNECT_TIMEOUT_S, **KEEPALIVE}
    return {**ours, **given, "client_encoding": ENCODING}


def connect(dsn: str, application: str = "fastq") -> Connection:
    """Open a synchronous connection in autocommit mode.

    Raises:
        DatabaseUnreachable: nobody answers, or lets us in.
        SchemaError: the database's encoding cannot hold jobs.

    """
    try:
        conn = Connection.connect(**parameters(dsn, application), autocommit=True)
        try:
            _check_encoding(conn)
            _greeted(conn, conn.execute(statement("greet_server"), greeting(conn.info.backend_pid)).fetchone())
        except BaseException:
            conn.close()
            raise
    except psycopg.OperationalError as exc:
        raise unreachable(exc) from None
    return conn


async def connect_async(dsn: str, application: str = "fastq") -> AsyncConnection:
    """As `connect`, asynchronous."""
    try:
        conn = await AsyncConnection.connect(**parameters(dsn, application), autocommit=True)
        try:
            _check_encoding(conn)
            conn.let_in = (conn.info.backend_pid, time.monotonic())
            answer = await conn.execute(statement("greet_server"), greeting(conn.info.backend_pid))
            _greeted(conn, await answer.fetchone())
        except BaseException:
            await conn.close()
            raise
    except psycopg.OperationalError as exc:
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
    """A synchronous connection that loses its patience inside `answering`."""

    patience_s: float | None = None
    session = Session()

    def wait(self, gen: Any, *args: Any, **kwargs: Any) -> Any:
        """Wait for the server as psycopg does, if need be with a bound."""
        return super().wait(gen if self.patience_s is None else _bounded(gen, self.patience_s), *args, **kwargs)


class AsyncConnection(psycopg.AsyncConnection[Any]):
    """As Connection, asynchronous."""

    patience_s: float | None = None
    session = Session()
    let_in = (0, 0.0)
    """The server's process, and when it had let us in, by time.monotonic()."""

    async def wait(self, gen: Any, *args: Any, **kwargs: Any) -> Any:
        """Wait for the server as psycopg does, if need be with a bound."""
        if self.patience_s is None:
            return await super().wait(gen, *args, **kwargs)
        watch = asyncio.get_running_loop().call_later(self.patience_s, _cut, self)
        try:
            return await super().wait(gen, *args, **kwargs)
        finally:
            watch.cancel()


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


def _bounded(gen: Any, within_s: float) -> Generator[Any, int, Any]:
    """Run one of psycopg's exchanges; fail when the server has not answered in time."""
    until = time.monotonic() + within_s
    try:
        wanted = next(gen)
        while True:
            ready = yield wanted
            if not ready and time.monotonic() > until:
                raise psycopg.OperationalError(f"the server did not answer within {within_s:.0f} s")
            wanted = gen.send(ready)
    except StopIteration as end:
        return end.value


def _cut(conn: AsyncConnection) -> None:
    if not conn.closed:
        with socket.socket(fileno=os.dup(conn.fileno())) as line:
            line.shutdown(socket.SHUT_RDWR)
