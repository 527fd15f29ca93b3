"""A small shop: an application that the tests of `fastq.testing` drain, run and look into."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg

import fastq

Db = psycopg.Connection[Any]


@dataclass(frozen=True)
class Address:
    """Where a parcel goes."""

    street: str
    number: int


class Shop:
    """An application with a few tasks that write down what they did."""

    def __init__(self, **options: Any) -> None:
        self.app = app = fastq.App(**options)
        self.done: list[Any] = []

        @app.task(queue="mail")
        async def welcome(user_id: int, template: str = "hello") -> str:
            self.done.append(user_id)
            return f"{template} {user_id}"

        @app.task
        async def order(items: int) -> None:
            self.done.append(f"order of {items}")
            for item in range(items):
                await ship.enqueue(item=item)

        @app.task
        def ship(item: int) -> int:
            self.done.append((item, threading.get_ident()))
            return item

        @app.task(retries=2, backoff=3600)
        async def flaky(ctx: fastq.Context, good_at: int = 99) -> int:
            self.done.append(ctx.attempt)
            if ctx.attempt < good_at:
                raise ZeroDivisionError(f"attempt {ctx.attempt}")
            return ctx.attempt

        @app.task
        async def send(to: Address, at: datetime) -> tuple[Address, datetime]:
            return to, at

        @app.task
        async def book(ctx: fastq.Context, cents: int) -> None:
            async with ctx.transaction() as conn:
                await conn.execute("insert into booking values (%s)", [cents])

        @app.task
        async def hang() -> None:
            self.done.append("hanging")
            await asyncio.Event().wait()

        self.welcome, self.order, self.ship, self.flaky = welcome, order, ship, flaky
        self.send, self.book, self.hang = send, book, hang


def states(db: Db) -> list[str]:
    """Return the states of all jobs."""
    return [row[0] for row in db.execute("select state from fastq.job order by id")]
