"""The app of the tests of a cluster."""

from __future__ import annotations

import fastq

app = fastq.App()


@app.task
async def noop(n: int) -> None:
    """Do nothing."""


@app.task(retries=2, backoff=0.05)
async def flaky(n: int, ctx: fastq.Context) -> None:
    """Fail the first time."""
    if ctx.attempt < 2:
        raise ValueError(n)


@app.task
async def book(n: int, ctx: fastq.Context) -> None:
    """Write a row once."""
    async with ctx.transaction() as conn:
        await conn.execute("insert into booked (n) values (%s)", [n])


@app.task(keep=60)
async def adds(a: int, b: int) -> int:
    """Return the sum."""
    return a + b


@app.task(retries=0)
async def bad(n: int) -> None:
    """Fail for good."""
    raise ValueError(n)


@app.task(queue="few")
async def few(n: int, ctx: fastq.Context) -> None:
    """Write down from when to when it ran."""
    async with app.client.connection() as conn:
        (began,) = await (await conn.execute("select clock_timestamp()")).fetchone() or (None,)
        await conn.execute("select pg_sleep(0.01)")
        (ended,) = await (await conn.execute("select clock_timestamp()")).fetchone() or (None,)
        await conn.execute("insert into span (job, ran) values (%s, tstzrange(%s, %s))", [ctx.id, began, ended])
