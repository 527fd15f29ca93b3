"""An application that the test of schemas runs twice in one database, in the schema that its environment names."""

from __future__ import annotations

import asyncio
import os
import sys

import fastq

app = fastq.App(schema=os.environ.get("SCHEMA_OF_APP"))


async def note(ctx: fastq.Context, what: str) -> None:
    """Write down what ran, with the run's end."""
    async with ctx.transaction() as conn:
        await conn.execute("insert into public.seen (app, what) values (%s, %s)", [os.environ["WHO"], what])


@app.task(keep=3600)
async def plain(ctx: fastq.Context, n: int) -> int:
    """Run, keep a result."""
    await note(ctx, "plain")
    return n


@app.task(retries=1, backoff=0.01)
async def failing(ctx: fastq.Context) -> None:
    """Fail once."""
    if ctx.attempt == 1:
        raise ValueError
    await note(ctx, "failing")


@app.task
async def first(ctx: fastq.Context) -> None:
    """Use what a running job has, and enqueue two more, one by the function of the database."""
    await ctx.progress(0.5, "half")
    await ctx.checkpoint({"at": 1})
    await ctx.enqueue(second.job())
    async with ctx.transaction() as conn:
        await conn.execute(f"select {os.environ['WHO']}.enqueue('two_apps.second')".encode())


@app.task
async def second(ctx: fastq.Context) -> None:
    """Run."""
    await note(ctx, "second")


@app.task
async def quiet(text: str) -> None:
    """Do nothing."""


@app.task(ordered=True, retries=1, backoff=0.01)
async def in_line(ctx: fastq.Context) -> None:
    """Fail once, while others wait."""
    if ctx.attempt == 1:
        raise ValueError
    await note(ctx, "in line")


@app.cron("* * * * * *")
async def tick(ctx: fastq.Context) -> None:
    """Be there by the clock."""
    await note(ctx, "tick")


async def main() -> None:
    """Enqueue in each way."""
    async with app:
        job = await plain.enqueue(n=7)
        await app.enqueue_many([plain.job(n=n) for n in range(30)])
        await app.enqueue_many([quiet.job(text=f"{n:05}" * 1000) for n in range(2000)])  # more than one statement: COPY
        await app.enqueue_many([failing.job(), first.job(), second.options(delay=0.05).job()])
        for _ in range(2):
            await second.options(unique_key="once", delay=0.5).enqueue()
        for _ in range(3):
            await in_line.options(group_key="g").enqueue()
        print(await job.result(timeout=30))


def main_sync() -> None:
    """Enqueue from synchronous code."""
    with app:
        second.enqueue_sync()
        app.enqueue_many_sync([quiet.job(text=f"{n:05}" * 1000) for n in range(2000)])


if __name__ == "__main__":
    if sys.argv[1:]:
        main_sync()
    else:
        asyncio.run(main())
