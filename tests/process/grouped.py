"""An app whose jobs write down when they begin and end, group by group, and end in many ways."""

from __future__ import annotations

import os
import signal

import fastq

MORTAL = ("g0", "g1")

app = fastq.App()


async def note(what: str, group: str, n: int) -> None:
    """Write a row; rows are numbered in the order in which they are written."""
    async with app.client.connection() as conn:
        await conn.execute(
            "insert into note (what, grp, n, pid) values (%s, %s, %s, %s)", [what, group, n, os.getpid()]
        )


@app.task(queue="tenants")
async def nothing() -> None:
    """Do nothing."""


@app.task(queue="tenants")
async def lone() -> None:
    """Count the tenant's jobs that are still ready."""
    async with app.client.connection() as conn:
        cur = await conn.execute(
            "select coalesce(sum(coalesce(jobs, 1)), 0) from fastq.ready where queue = 'tenants' and group_key = 'big'"
        )
        (left,) = await cur.fetchone() or (0,)
    await note("left", "small", left)


@app.task(queue="lines", ordered=True, retries=5, backoff=0.01)
async def step(group: str, n: int, ctx: fastq.Context) -> None:
    """Go one step; some come to an end only at the second try, some of those in a mortal group kill their worker."""
    await note("begin", group, n)
    if ctx.attempt == 1 and n % 9 == 3 and group in MORTAL:
        os.kill(os.getpid(), signal.SIGKILL)
    try:
        if ctx.attempt == 1 and n % 9 == 6:
            raise RuntimeError("once more")
        if n % 5 == 4:
            async with ctx.transaction() as conn:
                await conn.execute("insert into note (what, grp, n) values ('own', %s, %s)", [group, n])
            if n % 9 == 0 and group in MORTAL:
                os.kill(os.getpid(), signal.SIGKILL)
        if n % 9 == 8:
            raise fastq.Discard("on purpose")
    finally:
        await note("end", group, n)
