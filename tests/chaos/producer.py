"""A process that enqueues under faults and writes down what it was told, in a file that no database fault reaches.

A line is `<mark> <first number> <how many> …`: I intended, A acknowledged (written after the ack), D a duplicate, U the
outcome is unknown, R refused: the call said that nothing was enqueued, whatever the reason.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import psycopg
import uvloop

import fastq
from chaos import ruled
from chaos.jobs import RUNS, TASKS, app
from chaos.kinds import kind_of
from fastq.errors import EnqueueOutcomeUnknown, FastqError

PATIENCE_S = 60.0
_CALLERS = 12
_THREADS = 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """What one producer does: numbers from `first` on, until told to stop or after `jobs` of them."""

    first: int
    jobs: int
    rate: float
    seed: int
    sync: bool


class Producer:
    """Takes numbers, makes jobs of them, writes down what became of it."""

    def __init__(self, plan: Plan) -> None:
        self.rng = random.Random(plan.seed)
        self.stopping = False
        self.first = plan.first
        self._plan = plan
        self._next = plan.first
        self._missed = 0
        self._began = time.monotonic()
        path = Path(os.environ[RUNS]) / f"acks-{plan.first}-{os.getpid()}.log"
        self._file = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)

    def write(self, mark: str, first: int, count: int, why: str = "") -> None:
        """Append one line."""
        why = why.replace("\n", " ")[:200]
        os.write(self._file, f"{mark} {first} {count} {time.monotonic():.6f} {why}\n".encode())

    def take(self, count: int) -> range | None:
        """Return the next numbers, an empty range while the rate is kept up, None at the end."""
        taken = self._next - self._plan.first
        still = self._plan.jobs - taken + self._missed
        if self.stopping or (self._plan.jobs and still <= 0):
            return None
        if taken > self._plan.rate * (time.monotonic() - self._began):
            return range(0)
        if self._plan.jobs:
            count = min(count, still)
        numbers = range(self._next, self._next + count)
        self._next += count
        self.write("I", numbers.start, count)
        return numbers

    def told(self, numbers: range, exc: BaseException | None) -> None:
        """Write down the outcome of a call."""
        self._missed += 0 if exc is None else len(numbers)
        if exc is None:
            self.write("A", numbers.start, len(numbers))
        else:
            self.write(mark_of(exc), numbers.start, len(numbers), f"{type(exc).__name__}: {exc}")

    def size(self) -> int:
        """Return for how many jobs the next call is: mostly one."""
        dice = self.rng.random()
        return 1 if dice < 0.85 else self.rng.randint(2, 6) if dice < 0.93 else self.rng.randint(50, 400)


class RolledBack(FastqError):
    """A transaction of our own broke before its commit was sent."""


def mark_of(exc: BaseException) -> str:
    """Return what an error says: every error of fastq's but one says that nothing was enqueued."""
    return "R" if isinstance(exc, FastqError) and not isinstance(exc, EnqueueOutcomeUnknown) else "U"


def spec(number: int, rng: random.Random) -> fastq.JobSpec:
    """Return the job of a number; some wait for a time."""
    task: Any = TASKS[kind_of(number)]
    if rng.random() < 0.03:
        task = task.options(delay=rng.choice((0.1, 0.5, 1.5)))
    job: fastq.JobSpec = task.job(number=number)
    return job


# -- asynchronous


async def produce(producer: Producer) -> None:
    """Enqueue from several coroutines at once, singly, in bulk, and in transactions of the caller's own."""
    async with app:
        others = asyncio.create_task(ruled.produce(producer))
        await asyncio.gather(*(_caller(producer) for _ in range(_CALLERS)))
        producer.stopping = True
        await others


async def _caller(producer: Producer) -> None:
    while (numbers := producer.take(producer.size())) is not None:
        if not numbers:
            await asyncio.sleep(0.005)
            continue
        failed: BaseException | None = None
        try:
            await asyncio.wait_for(_call(numbers, producer.rng)(), PATIENCE_S)
        except (FastqError, psycopg.Error, TimeoutError) as exc:
            failed = exc
        producer.told(numbers, failed)
        if failed is not None:
            await asyncio.sleep(0.05)


def _call(numbers: range, rng: random.Random) -> Callable[[], Awaitable[object]]:
    specs = [spec(number, rng) for number in numbers]
    if len(specs) == 1:
        return lambda: app.enqueue(specs[0])
    if len(specs) < 10:
        return lambda: _in_transaction(specs)
    return lambda: app.enqueue_many(specs)


async def _in_transaction(specs: list[fastq.JobSpec]) -> None:
    async with app.client.connection() as conn:
        committing = False
        try:
            async with conn.transaction():
                for job in specs:
                    await app.enqueue(job, conn=conn)
                committing = True
        except psycopg.Error as exc:
            kind = EnqueueOutcomeUnknown if committing else RolledBack
            raise kind(f"in a transaction of our own: {exc}") from exc


# -- synchronous


def produce_sync(producer: Producer) -> None:
    """Enqueue from several threads."""
    from concurrent.futures import ThreadPoolExecutor
    from threading import Lock

    lock = Lock()
    with app, ThreadPoolExecutor(_THREADS) as pool:
        for done in [pool.submit(_thread, producer, lock) for _ in range(_THREADS)]:
            done.result()


def _thread(producer: Producer, lock: Any) -> None:
    while True:
        with lock:
            numbers = producer.take(producer.size())
            specs = [spec(number, producer.rng) for number in numbers or ()]
        if numbers is None:
            return
        if not numbers:
            time.sleep(0.005)
            continue
        failed: BaseException | None = None
        try:
            if len(specs) == 1:
                app.enqueue_sync(specs[0])
            else:
                app.enqueue_many_sync(specs)
        except (FastqError, psycopg.Error) as exc:
            failed = exc
        producer.told(numbers, failed)
        if failed is not None:
            time.sleep(0.05)


@click.command()
@click.option("--first", type=int, required=True)
@click.option("--jobs", type=int, default=0)
@click.option("--rate", type=float, default=1000.0)
@click.option("--seed", type=int, default=0)
@click.option("--sync", is_flag=True)
def main(**options: Any) -> None:
    """Produce until TERM, or until all jobs are enqueued."""
    plan = Plan(**options)
    producer = Producer(plan)

    def stop(_signum: int, _frame: object) -> None:
        producer.stopping = True

    signal.signal(signal.SIGTERM, stop)
    if plan.sync:
        produce_sync(producer)
    else:
        uvloop.run(produce(producer))


if __name__ == "__main__":
    main()
