"""Handlers whose transaction is undone without their doing, and one that has itself to blame."""

from __future__ import annotations

import os
from typing import Any

import psycopg

import fastq

app = fastq.App()


def beside() -> psycopg.Connection[Any]:
    """Return a connection of somebody else's."""
    return psycopg.connect(os.environ["FASTQ_DSN"], autocommit=True)


def tell(ctx: fastq.Context, what: str) -> int:
    """Note a run, and return how many of its kind there were before."""
    with beside() as conn:
        before = conn.execute("select count(*) from probe where what = %s", [what]).fetchone()
        conn.execute("insert into probe (what, value) values (%s, %s)", [what, str(ctx.attempt)])
    return before[0] if before else 0


@app.task(retries=0)
async def skewed(ctx: fastq.Context) -> None:
    """Read what another transaction writes, and write what that one reads; it is first to commit, three times."""
    runs = tell(ctx, "skewed")
    async with ctx.transaction() as conn:
        await conn.execute("select count(*) from skew where side = 1")
        await conn.execute("insert into skew values (2)")
        if runs < 3:
            with beside() as other, other.transaction():
                other.execute("select count(*) from skew where side = 2")
                other.execute("insert into skew values (1)")


@app.task(retries=0)
async def ended(ctx: fastq.Context) -> None:
    """Lose the session once everything was done, three times."""
    runs = tell(ctx, "ended")
    async with ctx.transaction() as conn:
        await conn.execute("insert into skew values (3)")
        if runs < 3:
            with beside() as other:
                other.execute("select pg_terminate_backend(%s, 10000)", [conn.info.backend_pid])


@app.task(retries=0)
async def its_own(ctx: fastq.Context) -> None:
    """Lose the session, and go on with it."""
    tell(ctx, "its_own")
    async with ctx.transaction() as conn:
        with beside() as other:
            other.execute("select pg_terminate_backend(%s, 10000)", [conn.info.backend_pid])
        await conn.execute("insert into skew values (4)")


@app.task(retries=0)
async def never(ctx: fastq.Context) -> None:
    """Lose the session at the end of each run."""
    tell(ctx, "never")
    async with ctx.transaction() as conn:
        with beside() as other:
            other.execute("select pg_terminate_backend(%s, 10000)", [conn.info.backend_pid])
