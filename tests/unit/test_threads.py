"""The threads for synchronous handlers: how many of them take jobs."""

from __future__ import annotations

import asyncio
import threading

import pytest

from fastq.worker.threads import Threads

pytestmark = pytest.mark.unit

PATIENCE_S = 30.0


def nothing() -> None:
    """Start."""


def compute() -> int:
    """Keep the interpreter busy for some milliseconds."""
    return sum(turn * turn for turn in range(50_000))


async def wait_for_each_other(threads: Threads) -> None:
    """Return once as many functions as there are threads have run at the same time."""
    barrier = threading.Barrier(threads.size)
    await asyncio.gather(*(threads.run(lambda: barrier.wait(PATIENCE_S), nothing) for _ in range(threads.size)))


async def compute_until_one_is_left(threads: Threads) -> None:
    """Return once a single thread takes jobs."""

    async def shard() -> None:
        while threads.limit > 1:
            await threads.run(compute, nothing)

    async with asyncio.timeout(PATIENCE_S):
        await asyncio.gather(*(shard() for _ in range(2 * threads.size)))


async def test_functions_that_wait_have_all_threads() -> None:
    """They are needed at the same time, and there at the same time."""
    threads = Threads(4, least=1)
    await wait_for_each_other(threads)
    threads.close()


async def test_functions_that_compute_have_one_thread_and_give_the_others_back() -> None:
    """All threads, then one, then all again, as the work is."""
    threads = Threads(4, least=1)
    await wait_for_each_other(threads)
    await compute_until_one_is_left(threads)
    await wait_for_each_other(threads)
    threads.close()


async def test_threads_that_rest_end_with_the_others() -> None:
    """Nobody is left behind when the threads are closed."""
    threads = Threads(3, least=1)
    await wait_for_each_other(threads)
    await compute_until_one_is_left(threads)
    started = list(threads._started)
    threads.close()
    for thread in started:
        await asyncio.to_thread(thread.join, PATIENCE_S)
    assert [thread for thread in started if thread.is_alive()] == []
