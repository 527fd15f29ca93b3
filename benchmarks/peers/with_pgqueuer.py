"""PgQueuer over asyncpg, the faster of its drivers: jobs enqueued in batches, dequeued in batches, in drain mode."""

from __future__ import annotations

import json
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import asyncpg
import orders
from orders import Orders
from pgqueuer.db import AsyncpgDriver
from pgqueuer.models import Job
from pgqueuer.qm import QueueManager
from pgqueuer.queries import Queries
from pgqueuer.types import QueueExecutionMode
from psycopg import conninfo

NAMES = {"host": "host", "port": "port", "user": "user", "password": "password", "dbname": "database"}


@asynccontextmanager
async def driver(given: Orders) -> AsyncIterator[AsyncpgDriver]:
    """Give a connection; asyncpg knows no key=value strings."""
    parts = conninfo.conninfo_to_dict(given.dsn)
    known: dict[str, Any] = {NAMES[name]: value for name, value in parts.items() if name in NAMES}
    connection = await asyncpg.connect(**known)
    try:
        yield AsyncpgDriver(connection)
    finally:
        await connection.close()


async def prepare(given: Orders) -> None:
    async with driver(given) as opened:
        await Queries(opened).install()
        await orders.go()


async def enqueue(given: Orders) -> None:
    payloads: list[bytes | None] = [json.dumps(payload).encode() for payload in orders.payloads(given.jobs)]
    async with driver(given) as opened:
        queries = Queries(opened)
        await orders.go()
        for first in range(0, given.jobs, orders.BATCH):
            batch = payloads[first : first + orders.BATCH]
            await queries.enqueue(["noop"] * len(batch), batch, [0] * len(batch))
            for _ in batch:
                orders.ran.one()


async def drain(given: Orders) -> None:
    async with driver(given) as opened:
        manager = QueueManager(Queries(opened))

        @manager.entrypoint("noop")
        async def noop(job: Job) -> None:
            json.loads(job.payload or b"{}")
            orders.ran.one()

        await orders.go()
        await manager.run(
            dequeue_timeout=timedelta(seconds=1),
            batch_size=given.batch_size,
            mode=QueueExecutionMode.drain,
        )


if __name__ == "__main__":
    logging.disable(logging.WARNING)
    orders.main({"prepare": prepare, "enqueue": enqueue, "drain": drain})
