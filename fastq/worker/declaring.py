"""A worker tells the database its app's tasks and schedules when it starts; one of each host again and again.

Again, because of deployments: while two versions of an app run, either's schedules may hold; when one of them is gone,
those of the other do, within a minute.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from itertools import count
from math import inf
from typing import Any

import psycopg
from psycopg import AsyncConnection

from fastq.app import App
from fastq.postgres.link import Link
from fastq.protocol import cron, tasks

log = logging.getLogger("fastq.worker")

EVERY_S = cron.STALE_S / 3
_ROUNDS, _RARELY_S = 10, 600.0
"""An app without schedules looks so many times whether those that it once had are to be deleted, and then rarely."""


@asynccontextmanager
async def declared(link: Link, app: App, *, target: str, speaks: Callable[[], bool]) -> AsyncIterator[None]:
    """Register an app's tasks and schedules, and again and again while this worker `speaks` for its host."""
    owner = target if ":" in target else f"{target}:app"
    register = partial(_register, app=app, owner=owner)
    _tell(await link.call(register))
    rounds = inf if app.declared else _ROUNDS
    keeping = asyncio.create_task(_keep(link, register, rounds, speaks), name="fastq-declaring")
    try:
        yield
    finally:
        keeping.cancel()
        await asyncio.gather(keeping, return_exceptions=True)


async def _register(conn: AsyncConnection[Any], *, app: App, owner: str) -> list[cron.Changed]:
    await tasks.register(conn, {name: task.redact for name, task in app.tasks.items()}, owner=owner)
    return await cron.register(conn, app.declared.values(), owner=owner)


async def _keep(link: Link, register: partial[Any], rounds: float, speaks: Callable[[], bool]) -> None:
    for done in count():
        await asyncio.sleep(EVERY_S if done < rounds else _RARELY_S)
        if not speaks():
            continue
        try:
            _tell(await link.call(register))
        except psycopg.Error as exc:
            log.error("schedules could not be registered again: %s", exc)  # noqa: TRY400 - what PostgreSQL says


def _tell(changes: list[cron.Changed]) -> None:
    for change in changes:
        log.info("schedule %s: %s", change.name, change.what)
