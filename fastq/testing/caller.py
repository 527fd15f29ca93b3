"""Driving an event loop from synchronous code, in a thread beside it.

Synchronous handlers run in the thread that called, so that they see what is a thread's own: Django's connection and the
transaction that a test has open on it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from threading import current_thread
from typing import Any, TypeVar

from fastq.errors import UsageError
from fastq.worker.threads import Threads

T = TypeVar("T")


class CallerThread(Threads):
    """One thread for synchronous handlers: the one that calls `serve`."""

    def __init__(self) -> None:
        super().__init__(1)
        self._task = asyncio.current_task()

    def _start(self) -> None:
        self._started.append(current_thread())

    def serve(self) -> None:
        """Run handlers until closed. Interrupted, it cancels what the loop runs."""
        try:
            self._serve(0)
        except BaseException:
            with suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._task.cancel)  # type: ignore[union-attr]
            raise

    def close(self) -> None:
        """Let `serve` return."""
        self._queue.put(None)


def beside(main: Callable[[Threads], Coroutine[Any, Any, T]], instead: str) -> T:
    """Run `main` in an event loop of its own; returns what it returns. `instead` is what coroutines should call.

    Raises:
        UsageError: this thread runs an event loop already.

    """
    with suppress(RuntimeError):
        asyncio.get_running_loop()
        raise UsageError(f"an event loop runs in this thread: use `await {instead}(…)`")
    given: Future[CallerThread] = Future()

    async def run() -> T:
        threads = CallerThread()
        given.set_result(threads)
        try:
            return await main(threads)
        finally:
            threads.close()

    with ThreadPoolExecutor(1, "fastq-testing") as pool:
        outcome = pool.submit(lambda: asyncio.run(run()))
        given.result().serve()
        return outcome.result()
