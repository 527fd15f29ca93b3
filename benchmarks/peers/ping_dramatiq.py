"""dramatiq with dramatiq-pg: `dramatiq`, and `actor.send()`, which knows no coroutines."""

from __future__ import annotations

import asyncio
import os

import dramatiq
import pinged
import psycopg
from dramatiq_pg import PostgresBroker, generate_init_sql

dramatiq.set_broker(PostgresBroker(url=os.environ[pinged.DSN_VARIABLE], results=None))


@dramatiq.actor
def ping(t0_ns: int) -> None:
    """Say that it runs."""
    pinged.started(t0_ns)


async def send(t0_ns: int) -> None:
    ping.send(t0_ns)


if __name__ == "__main__":
    with psycopg.connect(os.environ[pinged.DSN_VARIABLE], autocommit=True) as conn:
        if conn.execute("select to_regnamespace('dramatiq') is null").fetchone() == (True,):
            conn.execute(generate_init_sql())
    asyncio.run(pinged.send(send))
