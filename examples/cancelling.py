"""A job that is cancelled while it runs, from any process of any host.

fastq migrate
cd examples && fastq worker cancelling:app    # in one terminal
python examples/cancelling.py                 # in another
"""

from __future__ import annotations

import asyncio

import fastq

app = fastq.App()


@app.task
async def export(pages: int, ctx: fastq.Context) -> None:
    """Write many pages; clean up when the job is cancelled."""
    try:
        for page in range(pages):
            await ctx.checkpoint(page)
            await asyncio.sleep(0.05)
    except asyncio.CancelledError:
        print(f"stopped after page {ctx.saved}, cancelled: {ctx.cancelled}")
        raise


async def main() -> None:
    """Start an export, think again, and wait until it has stopped."""
    async with app:
        job = await export.enqueue(pages=100_000)
        await until(job, "running")
        print(await app.jobs.cancel(job.id))
        await until(job, "cancelled")
        print(f"job {job.id} is cancelled")


async def until(job: fastq.JobRef, state: str) -> None:
    """Wait until a job is in a state."""
    found = await app.jobs.get(job.id)
    while found is not None and found.state != state:
        await asyncio.sleep(0.01)
        found = await app.jobs.get(job.id)


if __name__ == "__main__":
    asyncio.run(main())
