"""A connection that a long-lived process owns: it reconnects with full jitter, for as long as it takes."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any, ClassVar, TypeVar

import psycopg
from psycopg import AsyncConnection

from fastq.backoff import full_jitter_s
from fastq.errors import DatabaseUnreachable, EmbeddedError
from fastq.postgres import away, database

log = logging.getLogger("fastq.postgres.link")
T = TypeVar("T")

_OURS_TO_FIX = (
    psycopg.ProgrammingError,
    psycopg.DataError,
    psycopg.IntegrityError,
    psycopg.NotSupportedError,
    psycopg.errors.StatementTooComplex,
)
"""Errors that trying again cannot mend: a bug here, or a schema that does not fit."""


class Link:
    """One connection that outlives the server's restarts.

    One operation at a time. Behind a pooler each is one transaction that brings its settings along.
    `breaks` counts lost connections: a caller that sees it change knows that a statement of its may have happened
    without an answer.
    """

    _warned: ClassVar = False

    def __init__(
        self, dsn: str, application: str, setup: str = "", revive: Callable[[], Awaitable[object]] | None = None
    ) -> None:
        self._dsn = dsn
        self._application = application
        self._setup = setup
        self._revive = revive
        self._conn: database.AsyncConnection | None = None
        self._lost: database.AsyncConnection | None = None
        self._turn = asyncio.Lock()
        self.breaks = 0
        self.answer_s = database.ANSWER_S

    async def open(self) -> database.AsyncConnection:
        """Connect once, without retries.

        Raises:
            DatabaseUnreachable: nobody answers.

        """
        conn = await database.connect_async(self._dsn, self._application)
        if self._setup and not conn.session.pooled:
            await conn.execute(self._setup.encode())
        if conn.session.pooled and not Link._warned:
            Link._warned = True
            log.info("a pooler is in between: settings go along with each transaction, nothing is prepared")
        if self._lost is not None:
            await database.end_session(conn, self._lost)
            self._lost = None
        self._conn = conn
        return conn

    async def open_or_kept(self) -> database.AsyncConnection:
        """Return the connection, opened anew if it was lost."""
        if self._conn is None or self._conn.closed:
            return await self.open()
        return self._conn

    async def close(self) -> None:
        """Close the connection; may be called twice."""
        conn, self._conn = self._conn, None
        if conn is not None:
            await conn.close()

    async def rest(self) -> None:
        """Close the connection until it is wanted again, unless it is at work."""
        if not self._turn.locked():
            await self.close()

    async def call(self, operation: Callable[[AsyncConnection[Any]], Awaitable[T]]) -> T:
        """Run `operation` on the connection, again after every failure that a new connection or time may mend."""
        failures = 0
        while True:
            try:
                return await self._run(operation)
            except _OURS_TO_FIX:
                raise
            except (psycopg.Error, DatabaseUnreachable) as exc:
                if away.of_a_node(exc, self._conn):
                    raise away.ShardAway(str(exc)) from exc
                failures += 1
                self.breaks += 1
                if failures == 1 or failures % 20 == 0:
                    log.warning(
                        "database trouble (%s), trying again: %s", failures, str(exc).strip().partition("\n")[0]
                    )
                wrong = isinstance(exc, psycopg.errors.ReadOnlySqlTransaction) or away.of_wrong_node(exc)
                await self._drop(wrong_server=wrong)
                await asyncio.sleep(full_jitter_s(failures))
                await self._try_revive()

    async def _run(self, operation: Callable[[AsyncConnection[Any]], Awaitable[T]]) -> T:
        async with self._turn:  # no statement may fall into another operation's transaction, nor into its patience
            conn = await self.open_or_kept()
            with database.answering(conn, self.answer_s):
                local = filter(None, (conn.session.transaction, self._setup.replace("set ", "set local ")))
                settings = "; ".join(local) if conn.session.pooled else ""
                if not settings:
                    return await operation(conn)
                async with conn.transaction():
                    await conn.execute(settings.encode())
                    return await operation(conn)

    async def _try_revive(self) -> None:
        """Start a server that is ours to start."""
        if self._revive is not None and self._conn is None:
            try:
                await self._revive()
            except EmbeddedError as exc:
                log.warning("%s", exc)

    async def _drop(self, *, wrong_server: bool) -> None:
        """Close a connection that is of no more use; a read-only server may have handed over to another one."""
        conn = self._conn
        if conn is not None and (wrong_server or conn.closed or conn.broken):
            self._lost = None if wrong_server else conn
            await self.close()
