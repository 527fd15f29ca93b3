"""SQLAlchemy's engines on the test's database, made when first used."""

from __future__ import annotations

import os
from functools import cache

import psycopg
from sqlalchemy import Engine, create_engine
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine


@cache
def synchronous() -> Engine:
    """Return the engine for threads."""
    return create_engine("postgresql+psycopg://", creator=lambda: psycopg.connect(os.environ["FASTQ_DSN"]))


@cache
def asynchronous() -> AsyncEngine:
    """Return the engine for coroutines."""

    async def connect() -> psycopg.AsyncConnection[tuple[object, ...]]:
        return await psycopg.AsyncConnection.connect(os.environ["FASTQ_DSN"])

    return create_async_engine("postgresql+psycopg://", async_creator=connect)
