"""SQLAlchemy's engines on the test's database, made when first used: importing it costs a second of CPU."""

from __future__ import annotations

import os
from functools import cache
from typing import TYPE_CHECKING

import psycopg

if TYPE_CHECKING:
    from sqlalchemy import Engine
    from sqlalchemy.ext.asyncio import AsyncEngine


@cache
def synchronous() -> Engine:
    """Return the engine for threads."""
    from sqlalchemy import create_engine

    return create_engine("postgresql+psycopg://", creator=lambda: psycopg.connect(os.environ["FASTQ_DSN"]))


@cache
def asyncpg() -> AsyncEngine:
    """Return one for coroutines, over asyncpg."""
    from sqlalchemy.engine import URL
    from sqlalchemy.ext.asyncio import create_async_engine

    given = psycopg.conninfo.conninfo_to_dict(os.environ["FASTQ_DSN"])
    url = URL.create("postgresql+asyncpg", database=str(given["dbname"]), username=str(given["user"]))
    where = {"host": given["host"], "port": int(given["port"] or 5432)}
    return create_async_engine(url, connect_args=where)


@cache
def asynchronous() -> AsyncEngine:
    """Return the engine for coroutines."""
    from sqlalchemy.ext.asyncio import create_async_engine

    async def connect() -> psycopg.AsyncConnection[tuple[object, ...]]:
        return await psycopg.AsyncConnection.connect(os.environ["FASTQ_DSN"])

    return create_async_engine("postgresql+psycopg://", async_creator=connect)
