"""fastq: `fastq worker`, and `await task.enqueue()`."""

from __future__ import annotations

import asyncio
import os

import pinged
import uvloop

import fastq

app = fastq.App(os.environ[pinged.DSN_VARIABLE])


@app.task
async def ping(t0_ns: int) -> None:
    """Say that it runs."""
    pinged.started(t0_ns)


async def main() -> None:
    async with app:
        await pinged.send(ping.enqueue)


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main())
