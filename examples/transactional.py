"""A job that exists if, and only if, the row it is about does; and a handler that writes exactly once.

export DATABASE_URL=postgresql://localhost/shop
fastq migrate
python transactional.py            one order is placed, one is rolled back
fastq worker transactional:app     ships the one that was placed
"""

import asyncio
import os

import psycopg

import fastq

app = fastq.App()


@app.task
async def ship(ctx: fastq.Context, order_id: int) -> None:
    async with ctx.transaction() as conn:  # its commit completes the job
        await conn.execute("update shop_order set shipped = true where id = %s", [order_id])
    print(f"shipped order {order_id}")


class OutOfStock(Exception):
    """There is nothing left to sell."""


async def place_order(conn: psycopg.AsyncConnection, what: str, stock: int) -> int:
    async with conn.transaction():
        cursor = await conn.execute("insert into shop_order (what) values (%s) returning id", [what])
        row = await cursor.fetchone()
        assert row is not None
        await app.enqueue(ship.job(order_id=row[0]), conn=conn)
        if not stock:
            raise OutOfStock(what)  # the order and its job are rolled back together
    return int(row[0])


async def main() -> None:
    async with app, await psycopg.AsyncConnection.connect(os.environ["DATABASE_URL"], autocommit=True) as conn:
        await conn.execute(
            "create table if not exists shop_order (id serial primary key, what text, shipped bool default false)"
        )
        print(f"placed order {await place_order(conn, 'a lamp', stock=3)}")
        try:
            await place_order(conn, "a chair", stock=0)
        except OutOfStock as exc:
            print(f"no {exc} left: neither order nor job")


if __name__ == "__main__":
    asyncio.run(main())
