"""The transaction that a handler gets from `ctx.transaction()`: its commit also completes the job, exactly once."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, ExitStack, asynccontextmanager
from itertools import count
from typing import Any

import psycopg

from fastq.backoff import full_jitter_s
from fastq.errors import DatabaseUnreachable, LeaseLost
from fastq.postgres.database import AsyncConnection, answering, as_ours
from fastq.protocol import completion
from fastq.protocol.completion import Place

log = logging.getLogger("fastq.worker")

Connection = Callable[[], AbstractAsyncContextManager[AsyncConnection]]


@asynccontextmanager
async def completing(connection: Connection, place: Place) -> AsyncIterator[AsyncConnection]:
    """Give a connection in a transaction whose commit also completes the job.

    When the answer to the commit is lost, it finds out what became of it before it returns or raises.

    Raises:
        LeaseLost: the job was taken from this worker, or is done already; nothing was written.

    """
    committing = False
    try:
        async with connection() as conn:
            with ExitStack() as ending:
                async with conn.transaction():
                    with answering(conn):
                        await _say(conn, conn.session.begin)
                        held = await completion.hold(conn, place)
                        await _say(conn, conn.session.handover)
                    if not held:
                        raise LeaseLost("the job was taken from this worker; its transaction was not begun")
                    yield conn
                    ending.enter_context(answering(conn))  # until after the commit
                    await _say(conn, conn.session.takeover)
                    if not await completion.complete(conn, place):
                        raise LeaseLost("the job was completed by another transaction; this one was rolled back")
                    committing = True
    except (psycopg.OperationalError, psycopg.InterfaceError):
        if not (committing and await _certain(_resolve(connection, place))):
            raise


async def _say(conn: AsyncConnection, settings: str) -> None:
    if settings:
        await conn.execute(settings.encode())


async def _resolve(connection: Connection, place: Place) -> bool:
    for failures in count(1):
        try:
            async with connection() as conn:
                with answering(conn):
                    async with as_ours(conn):
                        return await completion.resolve(conn, place)
        except (psycopg.OperationalError, psycopg.InterfaceError, DatabaseUnreachable) as exc:
            if failures == 1:
                log.warning("whether a handler's transaction was committed has to wait for the database: %s", exc)
            await asyncio.sleep(full_jitter_s(failures))
    raise AssertionError("count ends never")


async def _certain(question: Any) -> bool:
    """Return the answer whatever happens: a cancelled run must not guess."""
    asking = asyncio.ensure_future(question)
    while not asking.done():
        try:
            await asyncio.shield(asking)
        except asyncio.CancelledError:
            if asking.cancelled():
                raise
    return bool(asking.result())
