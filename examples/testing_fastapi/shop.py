"""A FastAPI application that enqueues in its own transactions. Run: uvicorn shop:api; worker: fastq worker shop:app."""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Annotated

import psycopg
from fastapi import Depends, FastAPI
from pydantic import BaseModel

import fastq

TABLES = """
create table if not exists account (id serial primary key, email text not null);
create table if not exists letter (account_id int not null, text text not null);
"""

app = fastq.App()


@app.task(queue="mail", retries=5)
async def welcome(ctx: fastq.Context, account_id: int, email: str) -> str:
    if "@" not in email:
        raise fastq.Discard(f"{email} is no address")
    text = f"Welcome, {email.partition('@')[0]}!"
    async with ctx.transaction() as conn:
        await conn.execute("insert into letter values (%s, %s)", [account_id, text])
    return text


@asynccontextmanager
async def lifespan(_: FastAPI) -> AsyncIterator[None]:
    async with app:
        yield


api = FastAPI(lifespan=lifespan)


async def connection() -> AsyncIterator[psycopg.AsyncConnection]:
    async with await psycopg.AsyncConnection.connect(os.environ["FASTQ_DSN"]) as conn:
        yield conn  # commits when the request has been answered, or rolls back


class SignUp(BaseModel):
    email: str


@api.post("/accounts", status_code=201)
async def sign_up(body: SignUp, conn: Annotated[psycopg.AsyncConnection, Depends(connection, scope="function")]) -> int:
    cursor = await conn.execute("insert into account (email) values (%s) returning id", [body.email])
    row = await cursor.fetchone()
    assert row is not None
    await app.enqueue(welcome.job(account_id=row[0], email=body.email), conn=conn)
    return int(row[0])
