"""The driver's connection inside what callers hold: Django's connections, SQLAlchemy's connections and sessions.

Their transaction is begun in their own way first, so that they know of it and their commit is a commit. It has its
settings again after whatever is done on it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any, Protocol

import psycopg
from psycopg import AsyncCursor, Connection, Cursor
from psycopg.pq import Conninfo, TransactionStatus

from fastq.errors import UsageError
from fastq.postgres.foreign import ForeignConnection, foreign
from fastq.postgres.session import ENCODING

LIBPQ = frozenset(option.keyword.decode() for option in Conninfo.get_defaults())
"""What may stand in a DSN."""


class Holder(Protocol):
    """Django's connection, SQLAlchemy's Connection or Session: something with a connection in it."""

    @property
    def connection(self) -> Any:
        """The one, or a function that gives it."""
        ...


class AsyncHolder(Protocol):
    """SQLAlchemy's AsyncConnection or AsyncSession."""

    async def run_sync(self, fn: Callable[..., Any], /) -> Any:
        """Run a function on the synchronous one inside."""
        ...


class Asyncpg(Protocol):
    """A connection of asyncpg's, or of a pool of its."""

    async def fetch(self, query: str, *args: Any) -> Any:
        """Return the rows of a statement."""
        ...


AnyAsyncConnection = psycopg.AsyncConnection[Any] | AsyncHolder | Asyncpg

AnyConnection = psycopg.Connection[Any] | Holder
Writable = psycopg.AsyncConnection[Any] | ForeignConnection
"""What is written on: psycopg's, or asyncpg's in our words."""


def inside(conn: AnyConnection) -> psycopg.Connection[Any]:
    """Return psycopg's connection inside `conn`, with the holder's transaction begun.

    Raises:
        UsageError: there is none.

    """
    found = conn if isinstance(conn, psycopg.Connection) else _driver(conn)
    if not isinstance(found, psycopg.Connection):
        raise _not_one(conn)
    return found


async def inside_async(conn: AnyAsyncConnection) -> Writable:
    """As `inside`, of an asynchronous one."""
    if isinstance(conn, psycopg.AsyncConnection):
        return conn
    run_sync = getattr(conn, "run_sync", None)
    found = conn if run_sync is None else await run_sync(_driver)
    if isinstance(found, psycopg.AsyncConnection):
        return found
    if (other := foreign(found)) is None:
        raise _not_one(conn)
    return other


def _driver(holder: Any) -> Any:
    """Return the driver's connection inside a holder of either kind."""
    if hasattr(holder, "ensure_connection"):  # Django
        holder.ensure_connection()
        return holder.connection
    connection = getattr(holder, "connection", None)
    if callable(connection):  # a session: its connection has begun by then
        holder = connection()
    elif hasattr(holder, "in_transaction") and not holder.in_transaction():
        holder.exec_driver_sql("select 1")  # begins, as any statement does
    found = getattr(getattr(holder, "connection", None), "driver_connection", None)
    if foreign(found) is not None:
        holder.exec_driver_sql("select 1")  # for asyncpg SQLAlchemy begins no sooner than with its first statement
    return found


def _not_one(conn: object) -> UsageError:
    return UsageError(
        f"conn is {conn!r:.100}: it must be a connection of psycopg's, Django's or SQLAlchemy's, or a session,"
        " asynchronous in asynchronous calls, where it may be asyncpg's; nothing was enqueued"
    )


# -- transactions on it


@asynccontextmanager
async def all_or_none(conn: Writable) -> AsyncIterator[None]:
    """Give a transaction, or a savepoint in the caller's.

    psycopg's transaction() commits what it began itself. A connection that is not in autocommit mode begins with its
    first statement, here one of nothing, so that the commit is left to the caller.
    """
    if isinstance(conn, ForeignConnection):
        async with conn.transaction():
            yield
        return
    if not conn.autocommit and conn.info.transaction_status == TransactionStatus.IDLE:
        await AsyncCursor(conn).execute(b"")
    async with conn.transaction():
        yield


@contextmanager
def all_or_none_sync(conn: Connection[Any]) -> Iterator[None]:
    """As all_or_none, on a synchronous connection."""
    if not conn.autocommit and conn.info.transaction_status == TransactionStatus.IDLE:
        Cursor(conn).execute(b"")
    with conn.transaction():
        yield


@asynccontextmanager
async def in_utf8(conn: Writable) -> AsyncIterator[None]:
    """Let jobs be written on a caller's connection whose client encoding cannot hold every character."""
    if isinstance(conn, ForeignConnection):  # asyncpg speaks nothing else
        yield
        return
    theirs = conn.info.parameter_status("client_encoding")
    if theirs == ENCODING:
        yield
        return
    async with all_or_none(conn):  # with its end, or its savepoint's, the encoding goes
        await AsyncCursor(conn).execute(f"set local client_encoding = '{ENCODING}'".encode())
        yield
        await AsyncCursor(conn).execute(f"set local client_encoding = '{theirs}'".encode())


@contextmanager
def in_utf8_sync(conn: Connection[Any]) -> Iterator[None]:
    """As in_utf8, on a synchronous connection."""
    theirs = conn.info.parameter_status("client_encoding")
    if theirs == ENCODING:
        yield
        return
    with all_or_none_sync(conn):
        Cursor(conn).execute(f"set local client_encoding = '{ENCODING}'".encode())
        yield
        Cursor(conn).execute(f"set local client_encoding = '{theirs}'".encode())
