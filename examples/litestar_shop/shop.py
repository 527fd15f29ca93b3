"""Litestar and SQLAlchemy: a request enqueues in its session. Run: uvicorn shop:api; worker: fastq worker shop:app."""

import os
from collections.abc import AsyncIterator
from dataclasses import dataclass
from functools import cache

from litestar import Litestar, post
from litestar.di import NamedDependency
from litestar.params import JSONBody
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, create_async_engine

import fastq
from fastq.integrations.litestar import Enqueuer, FastqPlugin

app = fastq.App()


@app.task(queue="mail", retries=5)
async def welcome(email: str) -> None:
    """Write a letter."""


@cache
def engine() -> AsyncEngine:
    return create_async_engine(os.environ["SHOP_DB"])


async def session() -> AsyncIterator[AsyncSession]:
    async with AsyncSession(engine()) as opened, opened.begin():
        yield opened


@dataclass
class SignUp:
    email: str


@post("/accounts")
async def sign_up(
    data: JSONBody[SignUp], db_session: NamedDependency[AsyncSession], jobs: NamedDependency[Enqueuer]
) -> str:
    await db_session.execute(text("insert into account (email) values (:email)"), {"email": data.email})
    await jobs.enqueue(welcome.job(email=data.email))
    if "@" not in data.email:
        raise ValueError("no address")
    return data.email


api = Litestar([sign_up], dependencies={"db_session": session}, plugins=[FastqPlugin(app, session="db_session")])
