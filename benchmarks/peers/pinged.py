"""What the jobs of a latency comparison do, and what their sender does: the same for all libraries."""

from __future__ import annotations

import asyncio
import json
import os
import random
import sys
import time
from collections.abc import Awaitable, Callable

NOTES_VARIABLE, DSN_VARIABLE = "PINGED_NOTES", "PINGED_DSN"


def started(t0_ns: int) -> None:
    """Note how long after its enqueue was called a job started."""
    line = f"{time.monotonic_ns() - t0_ns}\n".encode()
    notes = os.open(os.environ[NOTES_VARIABLE], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(notes, line)
    os.close(notes)


async def send(enqueue: Callable[[int], Awaitable[object]]) -> None:
    """Do what the command line says: so many jobs at odd times, or so many one after the other, with their price."""
    what, count = sys.argv[1], int(sys.argv[2])
    for _ in range(20):
        await enqueue(time.monotonic_ns())
    if what == "latency":
        for _ in range(count):
            await asyncio.sleep(random.uniform(0.02, 0.06))
            await enqueue(time.monotonic_ns())
        return
    cpu_s, began = time.process_time(), time.monotonic()
    for _ in range(count):
        await enqueue(time.monotonic_ns())
    took_s, cpu_s = time.monotonic() - began, time.process_time() - cpu_s
    print(json.dumps({"jobs_per_s": count / took_s, "cpu_us": cpu_s / count * 1e6}))
