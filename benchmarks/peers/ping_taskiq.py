"""taskiq with taskiq-postgres over asyncpg: `taskiq worker`, and `await task.kiq()`."""

from __future__ import annotations

import asyncio
import os

import pinged
import uvloop
from psycopg import conninfo
from taskiq_pg.asyncpg import AsyncpgBroker


def url() -> str:
    """Return the DSN as asyncpg takes it."""
    parts = conninfo.conninfo_to_dict(os.environ[pinged.DSN_VARIABLE])
    return f"postgresql://{parts['user']}@/{parts['dbname']}?host={parts['host']}&port={parts['port']}"


broker = AsyncpgBroker(url())


@broker.task
async def ping(t0_ns: int) -> None:
    """Say that it runs."""
    pinged.started(t0_ns)


async def main() -> None:
    await broker.startup()
    await pinged.send(ping.kiq)
    await broker.shutdown()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())
