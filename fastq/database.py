"""Turns a found DSN into one that can be connected to: starts and migrates the embedded server when none is given."""

from __future__ import annotations

from typing import Any

import psycopg
from psycopg import conninfo

from fastq import embedded
from fastq.config import Dsn, DsnSource
from fastq.errors import DatabaseUnreachable, UsageError
from fastq.schema import migrator

KEEPALIVE = {"keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 3, "tcp_user_timeout": 25_000}
CONNECT_TIMEOUT_S = 10


def server(dsn: Dsn) -> str:
    """Return the connection string; starts the embedded server when it is that one.

    Raises:
        EmbeddedError: the embedded server cannot be started.

    """
    return embedded.ensure() if dsn.source is DsnSource.EMBEDDED else dsn.value


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
    ours = {"application_name": application, "connect_timeout": CONNECT_TIMEOUT_S, **KEEPALIVE}
    return {**ours, **given}


def connect(dsn: str, application: str = "fastq") -> psycopg.Connection[Any]:
    """Open a synchronous connection in autocommit mode.

    Raises:
        DatabaseUnreachable: nobody answers, or lets us in.

    """
    try:
        return psycopg.connect(**parameters(dsn, application), autocommit=True)
    except psycopg.OperationalError as exc:
        raise unreachable(exc) from None


async def connect_async(dsn: str, application: str = "fastq") -> psycopg.AsyncConnection[Any]:
    """As `connect`, asynchronous."""
    try:
        return await psycopg.AsyncConnection.connect(**parameters(dsn, application), autocommit=True)
    except psycopg.OperationalError as exc:
        raise unreachable(exc) from None


def unreachable(exc: BaseException) -> DatabaseUnreachable:
    """Return the error for a connection that could not be made; libpq's message holds no password."""
    return DatabaseUnreachable(f"cannot connect to PostgreSQL: {str(exc).strip() or type(exc).__name__}")
