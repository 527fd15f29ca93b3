"""PgQueuer over asyncpg: `await queries.enqueue()`. Its workers are not compared: they look once in a second."""

from __future__ import annotations

import asyncio
import os

import asyncpg
import pinged
import uvloop
from pgqueuer.db import AsyncpgDriver
from pgqueuer.queries import Queries
from psycopg import conninfo


async def main() -> None:
    parts = conninfo.conninfo_to_dict(os.environ[pinged.DSN_VARIABLE])
    connection = await asyncpg.connect(
        host=parts["host"], port=parts["port"], user=parts["user"], database=parts["dbname"]
    )
    queries = Queries(AsyncpgDriver(connection))
    await queries.install()
    await pinged.send(lambda t0_ns: queries.enqueue("ping", f'{{"t0_ns":{t0_ns}}}'.encode()))
    await connection.close()


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())
