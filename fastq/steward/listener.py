"""Hears the database's NOTIFY, once per host, and tells whom it concerns; and whether it hears it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Any

import psycopg

from fastq.backoff import full_jitter_s
from fastq.errors import DatabaseUnreachable
from fastq.host.board import SHARDS_MOST
from fastq.postgres import database
from fastq.postgres.database import answering
from fastq.sql import statement
from fastq.sql.naming import schema
from fastq.steward.relay import place_in
from fastq.steward.stir import Stir

log = logging.getLogger("fastq.steward")

_LOOKS = 30
_LOOK_S = 1.0
CANCEL, LEAD, GREW, HOSTS = "cancel", "lead", "shards", "hosts"
"""What a notification says that is not of new jobs: there is a mark, because a running job is cancelled or the fleet
drained; or the lead was given up; or shards were added; or one host more hears."""


def shards_in(payload: str) -> list[int]:
    """Return the shards of new jobs that a notification names; none: they may be anywhere. Anybody may have sent it."""
    names = payload.split(",")
    known = all(name.isascii() and name.isdigit() and len(name) < 5 and int(name) < SHARDS_MOST for name in names)
    return [int(name) for name in names] if known else []


class Listener:
    """Keeps one connection on LISTEN; it never opens a transaction, so that the server's queue cannot fill up."""

    def __init__(
        self,
        dsn: str,
        heard: Callable[[str, int], None],
        stir: Stir,
        *,
        lost: Callable[[], None],
        breaks: Callable[[], int],
    ) -> None:
        self._dsn = dsn
        self._heard = heard
        self._stir = stir
        self._lost = lost
        self._breaks = breaks
        """How many connections of this process broke: then this one is looked at, too."""
        self._line: list[int] = []
        """The sessions of all hosts that hear, as they were when they were looked at last."""

    async def run(self) -> None:
        """Listen until cancelled; after every reconnection tell of everything once, since notifications were missed."""
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
                    await conn.execute(f"listen {schema()}".encode())
                    await conn.execute(f"notify {schema()}, '{HOSTS}'".encode())
                    failures, self._stir.listening = 0, True
                    for missed in ("", CANCEL, LEAD, GREW):
                        self._heard(missed, 0)
                    while True:
                        with answering(conn):
                            cur = await conn.execute(statement("list_listeners"))
                            self._line = [pid for (pid,) in await cur.fetchall()]
                        await self._hear(conn)
            except (psycopg.Error, DatabaseUnreachable) as exc:
                if self._stir.listening:
                    self._stir.listening = False
                    self._lost()
                failures += 1
                if failures == 1:
                    log.warning("not listening, workers poll meanwhile: %s", str(exc).strip().partition("\n")[0])
                await asyncio.sleep(full_jitter_s(failures))

    async def _hear(self, conn: psycopg.AsyncConnection[Any]) -> None:
        """Pass notifications on, until it is time to see whether any would still come, and who else hears them."""
        breaks = self._breaks()
        for _ in range(_LOOKS):
            async for heard in conn.notifies(timeout=_LOOK_S):
                if heard.payload == HOSTS:
                    return
                self._heard(heard.payload, place_in(self._line, conn.info.backend_pid, heard.pid))
            if self._breaks() != breaks:
                return
