"""An app whose jobs write down, by the database's clock, from when to when they ran."""

from __future__ import annotations

import asyncio
import os

import fastq

app = fastq.App()


@app.task(queue="limited")
async def works(n: int, ctx: fastq.Context) -> None:
    """Write a span of some milliseconds."""
    async with app.client.connection() as conn:
        (row,) = await (await conn.execute("select clock_timestamp()")).fetchall()
    await asyncio.sleep(0.002 * (1 + n % 5))
    async with app.client.connection() as conn:
        await conn.execute(
            "insert into span (job, grp, ran, pid) values (%s, %s, tstzrange(%s, clock_timestamp()), %s)",
            [ctx.id, str(n % 4), row[0], os.getpid()],
        )
