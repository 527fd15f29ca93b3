"""FastAPI and SQLAlchemy: a request enqueues in its session. Run: uvicorn shop:api; worker: fastq worker shop:app."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import cache
from typing import Annotated

from fastapi import Depends, FastAPI, HTTPException
from pydantic import BaseModel
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, create_async_engine
from sqlalchemy.orm import DeclarativeBase, Mapped, mapped_column

import fastq
from fastq.integrations.fastapi import Enqueuer, enqueuer, lifespan


class Base(DeclarativeBase): ...


class Account(Base):
    __tablename__ = "account"
    id: Mapped[int] = mapped_column(primary_key=True)
    email: Mapped[str]
    welcomed: Mapped[bool] = mapped_column(default=False)


@cache
def engine() -> AsyncEngine:
    return create_async_engine(os.environ["SHOP_DB"])  # postgresql+asyncpg://… or postgresql+psycopg://…


app = fastq.App()


@app.task(queue="mail", retries=5)
async def welcome(ctx: fastq.Context, account_id: int) -> None:
    """Exactly once: what it writes and the job's end are one commit."""
    async with AsyncSession(engine()) as session:
        account = await session.get_one(Account, account_id)
        account.welcomed = True
        await ctx.complete(session)
        await session.commit()


@app.task
async def count(what: str) -> None:
    """Something that may be done later."""


async def session() -> AsyncIterator[AsyncSession]:
    async with AsyncSession(engine()) as opened, opened.begin():
        yield opened  # commits when the request's function has returned, or rolls back


@asynccontextmanager
async def tables(_: FastAPI) -> AsyncIterator[None]:
    async with engine().begin() as conn:
        await conn.run_sync(Base.metadata.create_all)
    yield
    await engine().dispose()


Session = Annotated[AsyncSession, Depends(session, scope="function")]
Jobs = Annotated[Enqueuer, enqueuer(app, session)]
api = FastAPI(lifespan=lifespan(app, inside=tables))


class SignUp(BaseModel):
    email: str


@api.post("/accounts", status_code=201)
async def sign_up(body: SignUp, session: Session, jobs: Jobs) -> int:
    account = Account(email=body.email)
    session.add(account)
    await session.flush()
    await jobs.enqueue(welcome.job(account_id=account.id))
    jobs.add_task(count, what="accounts")  # as BackgroundTasks, but it outlives the process
    if "@" not in body.email:
        raise HTTPException(422, "no address")  # neither the account nor a job is there after this
    return account.id
