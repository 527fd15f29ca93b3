"""What a peer's program is told on stdin, and how it answers: the same for all of them."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

EMAIL = "someone@example.com12"
"""With it the JSON of a job's arguments is 51 bytes long, as in `fastq bench`."""

BATCH = 1000


@dataclass
class Orders:
    dsn: str
    what: str
    jobs: int
    concurrency: int
    batch_size: int


class Ran:
    """How many jobs were run, and when the last one was."""

    def __init__(self) -> None:
        self.jobs = 0
        self.last_at = 0.0

    def one(self) -> None:
        self.jobs += 1
        self.last_at = time.monotonic()


ran = Ran()


def say(**words: object) -> None:
    print(json.dumps(words), flush=True)


def payloads(jobs: int) -> list[dict[str, object]]:
    return [{"user_id": 1_000_000 + number, "email": EMAIL} for number in range(jobs)]


async def go() -> None:
    """Say that all is set, and wait for the line that begins it."""
    say(ready=True)
    await asyncio.to_thread(sys.stdin.readline)


def main(ways: dict[str, Callable[[Orders], Awaitable[None]]]) -> None:
    """Do what the first line says; tell how many jobs that were, from when to when."""
    orders = Orders(**json.loads(sys.stdin.readline()))
    started = time.monotonic()
    asyncio.run(ways[orders.what](orders))  # type: ignore[arg-type]
    say(jobs=ran.jobs, last_at=ran.last_at or started)
    sys.stdin.read()
