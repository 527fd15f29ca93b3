"""An app with schedules, and a newer version of it. Handlers tell by rows in the table `probe`."""

from __future__ import annotations

import os

import fastq

app = fastq.App()
newer = fastq.App()


async def _tell(owner: fastq.App, what: str, value: object) -> None:
    async with owner.client.connection() as conn:
        await conn.execute("insert into probe (what, value, pid) values (%s, %s, %s)", [what, str(value), os.getpid()])


@app.cron("* * * * * *", tz="Europe/Athens", catch_up="all")
async def tick(ctx: fastq.Context) -> None:
    """Tell which second this is for."""
    await _tell(app, "tick", ctx.headers["scheduled_for"])


@app.cron("0 0 29 2 *", catch_up="all")
@app.task(queue="rare", name="leap")
async def leap(ctx: fastq.Context) -> None:
    """Tell which leap day this is for."""
    await _tell(app, "leap", ctx.headers["scheduled_for"])


@newer.cron("0 0 28 2 *")
@newer.task(name="leap")
async def no_leap() -> None:
    """Be the newer version of the schedule."""
