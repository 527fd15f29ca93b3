"""Hears the database's NOTIFY, once per host, and rings the doorbells of its workers, or tells of cancelled jobs."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable

import psycopg

from fastq.backoff import full_jitter_s
from fastq.errors import DatabaseUnreachable
from fastq.postgres import database
from fastq.postgres.database import answering

log = logging.getLogger("fastq.steward")

_PROBE_S = 30.0
CANCEL = "cancel"
"""What a notification says that is not of new jobs, but of a mark: a running job is cancelled, or the fleet drained."""


class Listener:
    """Keeps one connection on LISTEN; it never opens a transaction, so that the server's queue cannot fill up."""

    def __init__(self, dsn: str, ring: Callable[[], None], cancel: Callable[[], None]) -> None:
        self._dsn = dsn
        self._ring = ring
        self._cancel = cancel

    async def run(self) -> None:
        """Listen until cancelled; after every reconnection ring once, since notifications were missed."""
        failures = 0
        while True:
            try:
                conn = await database.connect_async(self._dsn, "fastq listener")
                async with conn:
                    if conn.session.pooled:
                        log.warning(
                            "a pooler is in between, NOTIFY does not come through, workers poll: see --listen-dsn"
                        )
                        await asyncio.Event().wait()
                    await conn.execute("listen fastq")
                    failures = 0
                    self._ring()
                    self._cancel()
                    while True:
                        async for heard in conn.notifies(timeout=_PROBE_S):
                            (self._cancel if heard.payload == CANCEL else self._ring)()
                        with answering(conn):
                            await conn.execute("select 1")
            except (psycopg.Error, DatabaseUnreachable) as exc:
                failures += 1
                if failures == 1:
                    log.warning("not listening, workers poll meanwhile: %s", str(exc).strip().partition("\n")[0])
                await asyncio.sleep(full_jitter_s(failures))
